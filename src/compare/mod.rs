//! From two journals to one verdict: fold, pair, estimate, describe, gate.
//!
//! Pure rules. The comparison is computed once, here; terminal, HTML, Markdown, JUnit and JSON render it and decide
//! nothing. Nothing here reads a store or a file.

mod breakdown;
mod change;
mod comparable;
#[expect(clippy::module_inception, reason = "the use case of the module is its name")]
mod compare;
mod contrast;
mod distribution;
#[cfg(test)]
mod fixtures;
mod gate;
mod looking;
mod measure;
mod pair;
mod results;
mod rows;
mod slices;
mod summarize;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod view;
mod words;

pub use breakdown::{BreakdownFold, breakdown};
pub use comparable::comparability;
pub use compare::compare;
pub use results::{ExampleResult, Fold, FoldError, RunResults, TrialResult, count};
pub use summarize::summarize;
pub use view::{
    Breakdown, BreakdownSide, Comparability, Comparison, Details, Difference, Discordance, ExampleDetail, ExampleMeta,
    ExampleRow, MetricComparison, MetricSummary, Missing, Pairing, RunCard, RunView, ScoreDetail, SliceComparison,
    SliceSummary, TrialDetail,
};
