//! Judges: a rubric asked of a model. One struct for all of them, so that all share hygiene, cache, digest and tests.
//! Beside them stand graders that ask somebody else: see `outside`.
//!
//! A new judge is a folder in `judges/`, not code.

mod asking;
mod attacks;
mod calibrate;
mod cascade;
mod catalogue;
mod check;
mod condition;
mod forms;
#[expect(clippy::module_inception, reason = "the struct of this module, under its own name")]
mod judge;
mod methods;
mod on_spans;
mod outside;
mod panel;
mod probe;
mod sheets;
mod shots;

#[cfg(test)]
mod catalogue_tests;
#[cfg(test)]
mod hostile;

use async_trait::async_trait;

use crate::model::{ScoreInput, Scored, Spend};
use crate::provider::OnNotice;

pub use attacks::{Attack, attacks};
pub use calibrate::{
    CalibrateOptions, CalibrationReport, Labelled, NotLabelled, NumberAgreement, Row, Tally, calibrate,
};
pub use cascade::{Cascade, SureBy};
pub use catalogue::{CatalogueError, Entry, JudgeFiles, Origin, find, list, shipped};
pub use check::{Finding, Severity, check};
pub use judge::{Judge, JudgeModel};
pub use on_spans::{JudgeOnSpans, digest_on};
pub use outside::{OUTSIDE, Outside, OutsideInfo, Surroundings, find_outside};
pub use panel::{Member, Panel, VoteRule};
pub use probe::{Probe, family};
pub use shots::Shots;

/// What grading one cell gave.
#[derive(Clone, Debug)]
pub struct Graded {
    /// The score, or why there is none.
    pub scored: Scored,
    /// What it cost now, repair asks included.
    pub spend: Spend,
    /// Whether every answer came from the cache.
    pub cached: bool,
    /// Milliseconds of model time.
    pub took_ms: u64,
    /// The failure behind an unscored cell that every further cell would meet too (a wrong key, no such model).
    pub fatal: Option<crate::model::Failure>,
}

/// How large the questions of one cell are, and how many, for the plan of a run. Four characters to a token is a fair
/// estimate for English, and only an estimate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AskSize {
    /// The model that is asked.
    pub model: String,
    /// Characters of all messages of one question.
    pub prompt_chars: usize,
    /// Most tokens of one reply.
    pub max_output_tokens: u32,
    /// Fewest such questions; a share where not every cell asks.
    pub least: f64,
    /// Most such questions; repair asks and retries not counted.
    pub most: f64,
}

/// Grades by asking; implemented by [`Judge`](self) and by doubles in tests of the runner.
#[async_trait]
pub trait Grade: Send + Sync {
    /// Grades one output, one draw.
    async fn grade(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>) -> Graded;

    /// What one cell will ask; nothing is asked. Empty where it does not apply, or is not known.
    fn asks(&self, _input: &ScoreInput<'_>) -> Vec<AskSize> {
        Vec::new()
    }
}
