//! Examples that come out differently when nothing has changed: how often, and whether agent or judge wavers.
//!
//! Looks at yes-or-no metrics of runs of one target over the same task. Says what is; what is done about it
//! (quarantine) is somebody's decision.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunResults;
use crate::model::{Digest, ExampleId, GraderInfo, Scale, TargetOutcome};
use crate::stats::{Estimate, mean_cr2};

/// Who wavers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlipSource {
    /// The target gave different outputs.
    Target,
    /// The grader said different things about the same output.
    Grader,
    /// Both.
    Both,
}

impl FlipSource {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Grader => "grader",
            Self::Both => "target and grader",
        }
    }
}

/// One example on one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlakyRow {
    /// Metric.
    pub metric: String,
    /// Example.
    pub example: ExampleId,
    /// Runs that scored it.
    pub runs: u64,
    /// Trials with a plain yes or no.
    pub trials: u64,
    /// Trials that passed.
    pub passes: u64,
    /// Chance that two trials disagree, without bias: `2 k (n - k) / (n (n - 1))`.
    pub flip_rate: f64,
    /// The same for two trials of one run; absent where runs have one trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_runs: Option<f64>,
    /// Share of runs after the first in which most trials said the opposite of those of the run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between_runs: Option<f64>,
    /// Who wavers.
    pub source: FlipSource,
}

/// All examples of one metric that wavered, most first, and what that makes of the metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Flaky {
    /// Metric.
    pub metric: String,
    /// Runs looked at.
    pub runs: u64,
    /// Examples with at least two trials.
    pub examples: u64,
    /// Mean chance that two trials of an example disagree: the share that changes sides when nothing has changed.
    pub flip_rate: Estimate,
    /// Examples whose flip rate is at least the threshold.
    pub rows: Vec<FlakyRow>,
}

/// What the trials of one example said.
#[derive(Default)]
struct Tally {
    /// Trials and passes of each run, oldest first.
    runs: Vec<(u64, u64)>,
    /// What was said about each output.
    outputs: BTreeMap<Digest, BTreeSet<bool>>,
    /// Whether draws on one output disagreed.
    split: bool,
}

/// Flip rates over `runs`, oldest first. They must be of one target over one task; runs whose grader of a metric is
/// another than in the newest do not count for it.
///
/// `threshold`: least flip rate that makes an example flaky. An example with a single trial says nothing.
pub fn flaky(runs: &[RunResults], threshold: f64) -> Vec<Flaky> {
    let Some(newest) = runs.last() else { return Vec::new() };
    let binary = newest.header.graders.iter().filter(|grader| grader.scale == Scale::Binary);
    binary.map(|grader| of_metric(runs, grader, threshold)).collect()
}

fn of_metric(runs: &[RunResults], grader: &GraderInfo, threshold: f64) -> Flaky {
    let same = |run: &&RunResults| {
        run.header.graders.iter().any(|other| other.name == grader.name && other.digest == grader.digest)
    };
    let runs: Vec<&RunResults> = runs.iter().filter(same).collect();
    let mut tallies: BTreeMap<&ExampleId, Tally> = BTreeMap::new();
    for run in &runs {
        for (id, example) in &run.examples {
            let (mut trials, mut passes) = (0, 0);
            let tally = tallies.entry(id).or_default();
            for trial in example.trials.values() {
                let Some(draws) = trial.scores.get(grader.name.as_str()) else { continue };
                let said: Vec<bool> = draws
                    .values()
                    .flatten()
                    .filter_map(|score| score.value.number())
                    .map(|value| value >= 0.5)
                    .collect();
                if said.is_empty() {
                    continue;
                }
                tally.split |= said.contains(&true) && said.contains(&false);
                if let Some(TargetOutcome::Output { digest, .. }) = &trial.target {
                    tally.outputs.entry(digest.clone()).or_default().extend(&said);
                }
                let yes = said.iter().filter(|pass| **pass).count();
                // A split vote is half a pass; it counts for the side that has more, and for yes on a tie.
                trials += 1;
                passes += u64::from(2 * yes >= said.len());
            }
            if trials > 0 {
                tally.runs.push((trials, passes));
            }
        }
    }
    let mut rates = Vec::new();
    let mut rows = Vec::new();
    for (id, tally) in &tallies {
        let Some(row) = row(grader, id, tally) else { continue };
        rates.push(row.flip_rate);
        if row.flip_rate > 0.0 && row.flip_rate >= threshold {
            rows.push(row);
        }
    }
    rows.sort_by(|a, b| b.flip_rate.total_cmp(&a.flip_rate).then_with(|| a.example.cmp(&b.example)));
    let clusters: Vec<usize> = (0..rates.len()).collect();
    let mut flip_rate = mean_cr2(&rates, &clusters, Some((0.0, 1.0)), 0.95);
    if let Some(interval) = &mut flip_rate.interval {
        (interval.lo, interval.hi) = (interval.lo.max(0.0), interval.hi.min(1.0));
    }
    Flaky { metric: grader.name.clone(), runs: runs.len() as u64, examples: rates.len() as u64, flip_rate, rows }
}

/// Chance that two of `n` trials disagree, `k` of which passed.
fn disagreement(n: u64, k: u64) -> Option<f64> {
    (n > 1).then(|| 2.0 * k as f64 * (n - k) as f64 / (n as f64 * (n - 1) as f64))
}

fn row(grader: &GraderInfo, id: &ExampleId, tally: &Tally) -> Option<FlakyRow> {
    let (trials, passes) = tally.runs.iter().fold((0, 0), |all, run| (all.0 + run.0, all.1 + run.1));
    let flip_rate = disagreement(trials, passes)?;
    let within: Vec<f64> = tally.runs.iter().filter_map(|(n, k)| disagreement(*n, *k)).collect();
    let within_runs = (!within.is_empty()).then(|| within.iter().sum::<f64>() / within.len() as f64);
    let sides: Vec<bool> = tally.runs.iter().map(|(n, k)| 2 * k >= *n).collect();
    let turns = sides.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let between_runs = (sides.len() > 1).then(|| turns as f64 / (sides.len() - 1) as f64);
    let by_grader = tally.split || tally.outputs.values().any(|said| said.len() > 1);
    let by_target = {
        let sure: BTreeSet<bool> =
            tally.outputs.values().filter(|said| said.len() == 1).filter_map(|said| said.first().copied()).collect();
        sure.len() > 1
    };
    let source = match (by_target, by_grader) {
        (true, true) => FlipSource::Both,
        (false, true) => FlipSource::Grader,
        _ => FlipSource::Target,
    };
    Some(FlakyRow {
        metric: grader.name.clone(),
        example: id.clone(),
        runs: tally.runs.len() as u64,
        trials,
        passes,
        flip_rate,
        within_runs,
        between_runs,
        source,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{pass, put, run};
    use super::*;
    use crate::model::Usage;

    fn said(results: &mut RunResults, example: &str, trial: u32, output: &str, passes: &[bool]) {
        for value in passes {
            put(results, example, trial, "ok", pass(*value));
        }
        let outcome = TargetOutcome::Output {
            digest: Digest::of(output.as_bytes()),
            latency_ms: None,
            cost_usd: None,
            usage: Usage::default(),
        };
        let example = results.examples.get_mut(&ExampleId::from(example)).unwrap();
        example.trials.get_mut(&trial).unwrap().target = Some(outcome);
    }

    #[test]
    fn who_wavers_is_told_apart() {
        let mut one = run("a", &[("ok", Scale::Binary)]);
        let mut two = one.clone();
        for (example, first, second) in [("steady", "x", "x"), ("agent", "x", "y"), ("judge", "x", "x")] {
            said(&mut one, example, 0, first, &[true]);
            said(&mut two, example, 0, second, &[example == "steady"]);
        }
        said(&mut one, "votes", 0, "x", &[true, false, true]);
        said(&mut two, "votes", 0, "x", &[true, true, false]);
        let found = &flaky(&[one, two], 0.1)[0];
        assert_eq!((found.runs, found.examples, found.flip_rate.estimate), (2, 4, Some(0.5)));
        let rows: Vec<_> = found.rows.iter().map(|row| (row.example.as_str(), row.flip_rate, row.source)).collect();
        assert_eq!(rows, [("agent", 1.0, FlipSource::Target), ("judge", 1.0, FlipSource::Grader)]);
        assert_eq!((found.rows[0].within_runs, found.rows[0].between_runs), (None, Some(1.0)));
    }

    #[test]
    fn one_trial_or_another_grader_says_nothing() {
        assert_eq!(flaky(&[], 0.1), []);
        let mut one = run("a", &[("ok", Scale::Binary)]);
        said(&mut one, "e", 0, "x", &[true]);
        let alone = &flaky(std::slice::from_ref(&one), 0.1)[0];
        assert_eq!((alone.examples, alone.rows.len(), alone.flip_rate.estimate), (0, 0, None));
        let mut two = one.clone();
        two.header.graders[0].digest = Digest::of(b"another rubric");
        said(&mut two, "e", 1, "y", &[false]);
        let apart = &flaky(&[one, two], 0.1)[0];
        assert_eq!((apart.runs, apart.rows[0].trials), (1, 2), "only the newest rubric counts");
    }

    proptest! {
        #[test]
        fn the_flip_rate_is_the_share_of_pairs_that_differ(outcomes in proptest::collection::vec(any::<bool>(), 2..12)) {
            let mut results = run("a", &[("ok", Scale::Binary)]);
            for (trial, value) in outcomes.iter().enumerate() {
                said(&mut results, "e", trial as u32, &trial.to_string(), &[*value]);
            }
            let (mut differ, mut pairs) = (0, 0);
            for (index, left) in outcomes.iter().enumerate() {
                for right in &outcomes[index + 1..] {
                    pairs += 1;
                    differ += u32::from(left != right);
                }
            }
            let found = &flaky(&[results], 0.0)[0];
            let rate = found.rows.first().map_or(0.0, |row| row.flip_rate);
            prop_assert!((rate - f64::from(differ) / f64::from(pairs)).abs() < 1e-12);
        }
    }
}
