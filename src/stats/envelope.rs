//! The envelope every statistic returns: a number, its interval, and whether there is one at all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a statistic is defined, and if not, why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Defined.
    Ok,
    /// Nothing was left after pairing and filters.
    #[default]
    Empty,
    /// The variance cannot be estimated (one value, one cluster).
    Insufficient,
    /// All values are equal; intervals come from the bounded-range rule.
    ZeroVariance,
    /// All differences are zero.
    NoInformation,
    /// Not defined for these data (0/0).
    Undefined,
    /// A judge no better than chance: nothing can be corrected by it.
    JudgeUninformative,
    /// A judge of pairs that says something else when they stand the other way round.
    JudgeUnsteady,
    /// One side wins everything, so that the likelihood has no maximum.
    Separation,
    /// Groups that never met cannot be put on one scale.
    Disconnected,
    /// Too little of a judge's probability lies on labels.
    LowMass,
    /// A judge gave no label at all.
    Missing,
    /// A stratum of the sampling design has a single unit.
    SingletonStratum,
}

/// An interval with its level and method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
    /// Two-sided level, such as 0.95.
    pub level: f64,
    /// Name of the method.
    pub method: String,
}

/// A statistic: point, standard error, interval, and how much stands behind them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Whether the rest is defined.
    pub status: Status,
    /// Units of inference: examples, never trials.
    pub n: u64,
    /// Independent clusters among them; equals `n` when there are none.
    pub clusters: u64,
    /// Units left out because they had no value.
    pub n_dropped: u64,
    /// The point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<f64>,
    /// Standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se: Option<f64>,
    /// Degrees of freedom, where the method has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub df: Option<f64>,
    /// Skewness of the estimate itself, by which a bound on its long side moves out; where the method looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew: Option<f64>,
    /// Interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Name of the method.
    pub method: String,
    /// What a careful reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Interval {
    /// An interval from its ends.
    pub fn new(lo: f64, hi: f64, level: f64, method: &str) -> Self {
        Self { lo, hi, level, method: method.to_owned() }
    }
}

impl Estimate {
    /// A statistic that is not defined, with the reason.
    pub fn absent(status: Status, n: u64, clusters: u64, method: &str) -> Self {
        Self { status, n, clusters, method: method.to_owned(), ..Self::default() }
    }

    /// Adds a warning.
    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}
