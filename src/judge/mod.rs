//! Judges: a rubric asked of a model. One struct for all of them, so that all share hygiene, cache, digest and tests.
//!
//! A new judge is a folder in `judges/`, not code.

mod calibrate;
mod catalogue;
mod check;
#[expect(clippy::module_inception, reason = "the struct of this module, under its own name")]
mod judge;

#[cfg(test)]
mod catalogue_tests;
#[cfg(test)]
mod hostile;

use async_trait::async_trait;

use crate::model::{ScoreInput, Scored, Spend};
use crate::provider::OnNotice;

pub use calibrate::{CalibrateOptions, CalibrationReport, Labelled, NumberAgreement, Row, Tally, calibrate};
pub use catalogue::{CatalogueError, Entry, JudgeFiles, Origin, find, list, shipped};
pub use check::{Finding, Severity, check};
pub use judge::{Judge, JudgeModel, PromptSize};

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

/// Grades by asking; implemented by [`Judge`](self) and by doubles in tests of the runner.
#[async_trait]
pub trait Grade: Send + Sync {
    /// Grades one output, one draw.
    async fn grade(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>) -> Graded;
}
