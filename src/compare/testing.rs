//! Runs made by hand for tests of comparison.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{ExampleMeta, RunResults};
use crate::model::{
    Digest, Direction, ExampleId, Failure, FailureKind, GatePolicy, GraderInfo, GraderKind, MetricPolicy, MetricRole,
    RunHeader, RunId, RunStatus, RunTotals, Scale, Score, Scored, TargetInfo, TargetOutcome, Unscored, UnscoredReason,
    Usage,
};

/// A complete run without examples, graded by the named graders.
pub(super) fn run(name: &str, graders: &[(&str, Scale)]) -> RunResults {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let header = RunHeader {
        format: 1,
        id: RunId::new(name),
        suite: "suite".into(),
        created_at: Timestamp::UNIX_EPOCH,
        dataset: "set@1".into(),
        dataset_digest: digest("set"),
        examples: 0,
        trials: 1,
        target: TargetInfo {
            kind: "recorded".into(),
            name: name.into(),
            digest: digest(name),
            settings: BTreeMap::from([("model".to_owned(), Value::from(name))]),
        },
        graders: graders
            .iter()
            .map(|(grader, scale)| GraderInfo {
                name: (*grader).into(),
                kind: GraderKind::Judge,
                component: (*grader).into(),
                version: "1".into(),
                digest: digest(grader),
                scale: scale.clone(),
                direction: Direction::Higher,
                draws: 1,
                model: None,
            })
            .collect(),
        seed: 7,
        price_digest: digest("prices"),
        tool_version: "0".into(),
        git_commit: None,
        tags: BTreeMap::new(),
        example_blobs: Vec::new(),
        until_decided: None,
        design: None,
    };
    RunResults { header, totals: RunTotals::default(), status: RunStatus::Complete, examples: BTreeMap::new() }
}

/// Adds one cell.
pub(super) fn put(run: &mut RunResults, example: &str, trial: u32, grader: &str, scored: Scored) {
    let example = run.examples.entry(ExampleId::from(example)).or_default();
    let trial = example.trials.or_default(trial);
    let draws = trial.scores.or_default(grader);
    draws.insert(draws.len() as u32, scored);
}

/// A yes or no.
pub(super) fn pass(pass: bool) -> Scored {
    Ok(Score::pass(pass, ""))
}

/// A number.
pub(super) fn number(value: f64) -> Scored {
    Ok(Score::number(value, "").unwrap())
}

/// No score.
pub(super) fn unscored(reason: UnscoredReason) -> Scored {
    Err(Unscored::new(reason, ""))
}

/// Sets how the target of a trial ended.
pub(super) fn output(run: &mut RunResults, example: &str, trial: u32, latency_ms: f64, cost_usd: f64) {
    let outcome = TargetOutcome::Output {
        digest: Digest::of(b"out"),
        latency_ms: Some(latency_ms),
        cost_usd: Some(cost_usd),
        usage: Usage { input: Some(100), output: Some(20), ..Usage::default() },
    };
    run.examples.entry(ExampleId::from(example)).or_default().trials.or_default(trial).target = Some(outcome);
}

/// Makes the target of a trial fail.
pub(super) fn fail(run: &mut RunResults, example: &str, trial: u32) {
    let outcome = TargetOutcome::Failed { failure: Failure::new(FailureKind::Timeout, "late") };
    run.examples.entry(ExampleId::from(example)).or_default().trials.or_default(trial).target = Some(outcome);
}

/// A run of one yes-or-no grader `ok`, one trial per example `e000`, `e001`, ...
pub(super) fn binary(name: &str, passes: impl IntoIterator<Item = bool>) -> RunResults {
    let mut results = run(name, &[("ok", Scale::Binary)]);
    for (index, value) in passes.into_iter().enumerate() {
        put(&mut results, &format!("e{index:03}"), 0, "ok", pass(value));
    }
    results
}

/// A policy that gates the named metrics at a margin.
pub(super) fn gate(metrics: &[&str], margin: f64) -> GatePolicy {
    let demanded = MetricPolicy { role: MetricRole::Gate, margin: Some(margin), ..MetricPolicy::default() };
    GatePolicy {
        metrics: metrics.iter().map(|name| ((*name).to_owned(), demanded.clone())).collect(),
        ..GatePolicy::default()
    }
}

/// Meta data of `e000`, ... with one dimension.
pub(super) fn metas(n: usize, dimension: &str, value: impl Fn(usize) -> String) -> Vec<ExampleMeta> {
    (0..n)
        .map(|index| ExampleMeta {
            id: ExampleId::new(format!("e{index:03}")),
            cluster: format!("e{index:03}"),
            weight: 1.0,
            stratum: None,
            probability: None,
            diverse: false,
            dimensions: BTreeMap::from([(dimension.to_owned(), value(index))]),
        })
        .collect()
}
