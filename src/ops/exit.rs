//! How a command ends: an outcome first, a number last. The only place that knows the numbers.

/// How a command ends. A public promise: the numbers never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; every gate passed.
    Pass,
    /// A gate failed.
    GateFailed,
    /// The command line or the configuration is wrong, or nothing was selected.
    Usage,
    /// The instrument failed: store, judge, network, too many unscored, runs that cannot be compared.
    Instrument,
    /// The evidence does not decide.
    Inconclusive,
    /// The budget of money or time was spent before the end.
    BudgetSpent,
    /// Interrupted by the user.
    Interrupted,
}

impl Exit {
    /// Every outcome, with its meaning for the table in the README.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Pass, "done; every gate passed"),
        (Self::GateFailed, "a gate failed"),
        (Self::Usage, "usage, configuration, or nothing selected"),
        (Self::Instrument, "the instrument failed: store, judge, network, too many unscored, not comparable"),
        (Self::Inconclusive, "inconclusive: the evidence does not decide"),
        (Self::BudgetSpent, "the budget was spent before the end"),
        (Self::Interrupted, "interrupted"),
    ];

    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::GateFailed => 1,
            Self::Usage => 2,
            Self::Instrument => 3,
            Self::Inconclusive => 4,
            Self::BudgetSpent => 5,
            Self::Interrupted => 130,
        }
    }
}

/// An error with the way the command ends because of it.
#[derive(Debug)]
pub struct Failed {
    /// How the command ends.
    pub exit: Exit,
    /// What is wrong and how to mend it.
    pub error: anyhow::Error,
}

impl Failed {
    /// The user's words or files are wrong.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    /// Something the program depends on failed.
    pub fn instrument(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Instrument, error: error.into() }
    }
}

/// Result of a use case.
pub type Done<T> = Result<T, Failed>;
