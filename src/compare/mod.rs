//! From two journals to one verdict: fold, pair, estimate, describe, gate.
//!
//! Pure rules. The comparison is computed once, here; terminal, HTML, Markdown, JUnit and JSON render it and decide
//! nothing. Nothing here reads a store or a file.

mod abreast;
mod beside;
mod board;
mod breakdown;
mod change;
mod comparable;
#[expect(clippy::module_inception, reason = "the use case of the module is its name")]
mod compare;
mod contrast;
mod distribution;
mod drifting;
mod explain;
#[cfg(test)]
mod explain_tests;
mod explained;
mod features;
mod few;
#[cfg(test)]
mod fixtures;
mod flaky;
mod frontier;
mod gate;
#[cfg(test)]
mod gate_tests;
mod hopeless;
mod judging;
mod judging_words;
mod looking;
mod matrix;
mod measure;
mod nearest;
#[cfg(test)]
mod odd_tests;
mod ordinal;
mod pair;
mod plan;
mod remedy;
mod repeated;
mod results;
mod roster;
mod rows;
#[cfg(test)]
mod simulation_tests;
mod slices;
mod slicing;
mod spread;
mod summarize;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod view;
mod watching;
mod words;

pub use beside::{Beside, Broken, Cells, Distrust, Estimands, More, Ordinal, Quarantine, Remedy, Waived, WithAll};
pub use breakdown::{BreakdownFold, breakdown};
pub use comparable::{comparability, is_allowance};
pub use compare::{compare, compare_with};
pub use drifting::{Charted, Drift, DriftPoint, Limits, Shift, chart};
pub use explain::explain;
pub use explained::{Condition, Contrasting, Explanation, Origin, Overlap, SliceEffect};
pub use features::{FeatureFold, Features, Side};
pub use few::Few;
pub use flaky::{Flaky, FlakyRow, FlipSource, flaky};
pub use frontier::{CostOfGood, Frontier, cost_of_good, frontier};
pub use hopeless::{Hopeless, hopeless};
pub use judging::{CascadeFacts, JudgeFacts, MassFacts, MemberFacts, MemberPair, OrderFacts, PanelFacts, judge_facts};
pub use matrix::{Matrix, MatrixMetric, PairCompared, Ranked, compare_many};
pub use nearest::Nearest;
pub use plan::{DEFAULT_POWER, Forecast, Point, Wish, forecast};
pub use repeated::{RepeatedCompared, RepeatedTrials, repeated, repeated_compared};
pub use results::{ExampleResult, Fold, FoldError, RunResults, TrialResult, count};
pub use spread::{Spread, spreads};
pub use summarize::summarize;
pub use view::{
    Blessing, Breakdown, BreakdownSide, Comparability, Comparison, Details, Difference, Discordance, ExampleDetail,
    ExampleMeta, ExampleRow, MetricComparison, MetricSummary, Missing, Pairing, RunCard, RunView, ScoreDetail,
    SliceComparison, SliceSummary, TrialDetail,
};
pub use watching::{Day, Evidenced, Seen, Watched, charts, watch};
