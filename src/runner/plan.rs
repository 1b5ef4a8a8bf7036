//! What a run will do, told before it does it: trials, cells, calls, and a range of tokens and money.

use serde::Serialize;

use super::{Examples, Progress};
use crate::model::{Example, GraderKind};

/// A quantity that is known as a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantity {
    /// Least.
    pub low: f64,
    /// Most.
    pub high: f64,
}

/// What one call will take, as far as it can be told beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CallEstimate {
    /// Tokens, in and out together.
    pub tokens: Quantity,
    /// US dollars; `None` without a price.
    pub cost_usd: Option<Quantity>,
}

/// What many calls will take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CallRange {
    /// Calls that will be made.
    pub calls: u64,
    /// Tokens of them all.
    pub tokens: Quantity,
    /// US dollars of those with a price.
    pub cost_usd: Quantity,
    /// Whether some calls have no price: the sum is then a lower bound.
    pub unpriced: bool,
}

/// One grader in a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraderPlan {
    /// Name.
    pub name: String,
    /// Scorer or judge.
    pub kind: GraderKind,
    /// Cells planned.
    pub cells: u64,
    /// Cells that have an outcome already.
    pub cells_done: u64,
    /// What a judge's remaining calls will take; `None` until estimated, and for scorers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<CallRange>,
}

/// What a run will do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Trials planned.
    pub trials: u64,
    /// Trials whose target has ended already: the rest are calls of the target.
    pub trials_done: u64,
    /// Cells planned.
    pub cells: u64,
    /// Cells that have an outcome already.
    pub cells_done: u64,
    /// Graders, in the suite's order.
    pub graders: Vec<GraderPlan>,
    /// What the target's remaining calls will take; `None` until estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<CallRange>,
}

/// Tells what one call about an example will take: of the target (`None`), or of a judge by name. `None` when nothing
/// can be said, or when the call costs nothing.
pub type EstimateCall<'a> = &'a dyn Fn(&Example, Option<&str>) -> Option<CallEstimate>;

impl Plan {
    /// The plan of a run that got as far as `progress` (nowhere: [`Progress::fresh`]).
    pub fn of(progress: &Progress) -> Self {
        let totals = progress.totals();
        let graders = progress.header().graders.iter().enumerate().map(|(place, info)| GraderPlan {
            name: info.name.clone(),
            kind: info.kind,
            cells: totals.trials_planned * u64::from(info.draws),
            cells_done: progress.grader_cells_done(place),
            range: None,
        });
        Self {
            trials: totals.trials_planned,
            trials_done: totals.trials_ok + totals.trials_failed,
            cells: totals.cells_planned,
            cells_done: totals.cells_done(),
            graders: graders.collect(),
            target: None,
        }
    }

    /// Calls of the target that are left.
    pub fn target_calls(&self) -> u64 {
        self.trials.saturating_sub(self.trials_done)
    }

    /// Calls of judges that are left, repair asks and retries not counted.
    pub fn judge_calls(&self) -> u64 {
        self.graders.iter().filter(|grader| grader.kind == GraderKind::Judge).map(GraderPlan::calls).sum()
    }

    /// Adds ranges of tokens and money: the mean over at most `sample` examples, evenly spread over the dataset, times
    /// the calls that are left. Reads only those examples.
    ///
    /// # Errors
    ///
    /// The word of the dataset about an example that cannot be read.
    pub fn estimate(&mut self, examples: &dyn Examples, sample: usize, call: EstimateCall<'_>) -> Result<(), String> {
        let taken = sample.clamp(1, examples.len().max(1));
        let mut target = Means::default();
        let mut judges: Vec<Means> = self.graders.iter().map(|_| Means::default()).collect();
        for step in 0..taken.min(examples.len()) {
            let example = examples.load(step * examples.len() / taken)?;
            target.push(call(&example, None));
            for (grader, means) in self.graders.iter().zip(&mut judges) {
                if grader.kind == GraderKind::Judge {
                    means.push(call(&example, Some(&grader.name)));
                }
            }
        }
        self.target = Some(target.times(self.target_calls()));
        for (grader, means) in self.graders.iter_mut().zip(&judges) {
            grader.range = (grader.kind == GraderKind::Judge).then(|| means.times(grader.calls()));
        }
        Ok(())
    }

    /// Target and judges together; `None` until estimated.
    pub fn total(&self) -> Option<CallRange> {
        let mut total = self.target?;
        for range in self.graders.iter().filter_map(|grader| grader.range) {
            total.calls += range.calls;
            total.tokens = total.tokens.plus(range.tokens);
            total.cost_usd = total.cost_usd.plus(range.cost_usd);
            total.unpriced |= range.unpriced;
        }
        Some(total)
    }
}

impl GraderPlan {
    /// Cells that are left.
    pub fn calls(&self) -> u64 {
        self.cells.saturating_sub(self.cells_done)
    }
}

impl Quantity {
    fn plus(self, other: Self) -> Self {
        Self { low: self.low + other.low, high: self.high + other.high }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { low: self.low * factor, high: self.high * factor }
    }
}

/// Sums over sampled examples.
#[derive(Default)]
struct Means {
    examples: u64,
    tokens: Quantity,
    cost_usd: Quantity,
    unpriced: bool,
}

impl Means {
    fn push(&mut self, estimate: Option<CallEstimate>) {
        self.examples += 1;
        let Some(estimate) = estimate else { return };
        self.tokens = self.tokens.plus(estimate.tokens);
        match estimate.cost_usd {
            Some(cost) => self.cost_usd = self.cost_usd.plus(cost),
            None => self.unpriced = true,
        }
    }

    fn times(&self, calls: u64) -> CallRange {
        let factor = calls as f64 / self.examples.max(1) as f64;
        CallRange {
            calls,
            tokens: self.tokens.scaled(factor),
            cost_usd: self.cost_usd.scaled(factor),
            unpriced: self.unpriced && calls > 0,
        }
    }
}
