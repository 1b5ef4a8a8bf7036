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

/// What one cell of a judge, or one call of the target, will take, as far as it can be told beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CallEstimate {
    /// Calls.
    pub calls: Quantity,
    /// Tokens of them all, in and out together.
    pub tokens: Quantity,
    /// US dollars of those with a price; `None` without any.
    pub cost_usd: Option<Quantity>,
    /// Whether some of them have no price although others do.
    pub unpriced: bool,
}

/// What many calls will take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CallRange {
    /// Calls that will be made; the fewest where that is not sure.
    pub calls: u64,
    /// Most calls, where they are not sure: cascades and trees of questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_calls: Option<u64>,
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

/// Tells what one call of the target (`None`), or one cell of a judge by name, will take. `None` when nothing can be said
/// but that it is one call.
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

    /// Cells of judges that are left.
    pub fn judge_cells(&self) -> u64 {
        self.judges().map(GraderPlan::cells_left).sum()
    }

    /// Calls of judges that are left, the fewest and the most, repair asks and retries not counted: a call per cell until
    /// estimated.
    pub fn judge_calls(&self) -> (u64, u64) {
        let of = |grader: &GraderPlan| match grader.range {
            Some(range) => (range.calls, range.most_calls.unwrap_or(range.calls)),
            None => (grader.cells_left(), grader.cells_left()),
        };
        self.judges().map(of).fold((0, 0), |(least, most), (low, high)| (least + low, most + high))
    }

    /// US dollars that one cell of a judge may take; `None` until estimated, and without cells.
    pub fn judge_cell_usd(&self) -> Option<f64> {
        let cells = self.judge_cells();
        let high: f64 = self.judges().map(|grader| grader.range.map_or(0.0, |range| range.cost_usd.high)).sum();
        (cells > 0 && self.target.is_some()).then(|| high / cells as f64)
    }

    fn judges(&self) -> impl Iterator<Item = &GraderPlan> {
        self.graders.iter().filter(|grader| grader.kind == GraderKind::Judge)
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
            grader.range = (grader.kind == GraderKind::Judge).then(|| means.times(grader.cells_left()));
        }
        Ok(())
    }

    /// Target and judges together; `None` until estimated.
    pub fn total(&self) -> Option<CallRange> {
        let mut total = self.target?;
        for range in self.graders.iter().filter_map(|grader| grader.range) {
            let most = total.most_calls.unwrap_or(total.calls) + range.most_calls.unwrap_or(range.calls);
            total.calls += range.calls;
            total.most_calls = (most > total.calls).then_some(most);
            total.tokens = total.tokens.plus(range.tokens);
            total.cost_usd = total.cost_usd.plus(range.cost_usd);
            total.unpriced |= range.unpriced;
        }
        Some(total)
    }
}

impl GraderPlan {
    /// Cells that are left.
    pub fn cells_left(&self) -> u64 {
        self.cells.saturating_sub(self.cells_done)
    }
}

impl Quantity {
    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
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
    calls: Quantity,
    tokens: Quantity,
    cost_usd: Quantity,
    unpriced: bool,
}

impl Means {
    fn push(&mut self, estimate: Option<CallEstimate>) {
        self.examples += 1;
        let Some(estimate) = estimate else {
            self.calls = self.calls.plus(Quantity { low: 1.0, high: 1.0 });
            return;
        };
        self.calls = self.calls.plus(estimate.calls);
        self.tokens = self.tokens.plus(estimate.tokens);
        self.unpriced |= estimate.unpriced;
        match estimate.cost_usd {
            Some(cost) => self.cost_usd = self.cost_usd.plus(cost),
            None => self.unpriced = true,
        }
    }

    /// For so many cells.
    fn times(&self, cells: u64) -> CallRange {
        let factor = cells as f64 / self.examples.max(1) as f64;
        let calls = self.calls.scaled(factor);
        let (least, most) = (calls.low.round() as u64, calls.high.round() as u64);
        CallRange {
            calls: least,
            most_calls: (most > least).then_some(most),
            tokens: self.tokens.scaled(factor),
            cost_usd: self.cost_usd.scaled(factor),
            unpriced: self.unpriced && cells > 0,
        }
    }
}
