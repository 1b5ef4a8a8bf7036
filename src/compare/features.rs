//! What is known of examples beyond their dimensions: input, traces, cost, findings of other graders.
//!
//! A feature says the same of an example whichever run is called the baseline: a tool was called in *either* run, a cost
//! is the *mean* of both. Sliced by what one run did, an unchanged system would seem to change, because whatever was
//! unlucky once is luckier the next time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{Condition, Origin, RunResults, words};
use crate::diagnose::{Rules, diagnose};
use crate::model::{Example, ExampleId, Output, ScoreValue, Span, SpanKind, TargetOutcome, Trace};

/// Names of agents in a path.
const PATH: usize = 8;
/// Characters of a value.
const VALUE: usize = 80;
/// Fewest examples with a number for it to be put into ranges.
const BINNED: usize = 40;
/// Ranges of a number.
const BINS: usize = 4;
/// Beginning of the dimension of a grader's findings.
const SCORE: &str = "score.";

/// Features of the examples of two runs.
#[derive(Clone, Debug, Default)]
pub struct Features {
    conditions: Vec<Condition>,
    /// By dimension, then value.
    places: HashMap<String, HashMap<String, u32>>,
    of: HashMap<ExampleId, Vec<u32>>,
}

impl Features {
    /// Features of one example.
    pub(super) fn of(&self, id: &ExampleId) -> impl Iterator<Item = &Condition> {
        let places = self.of.get(id).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| self.conditions.get(*place as usize))
    }

    fn add(&mut self, id: &ExampleId, dimension: &str, value: &str, origin: Origin) {
        let end = value.char_indices().nth(VALUE).map_or(value.len(), |(end, _)| end);
        let value = value.get(..end).unwrap_or(value);
        let known = self.places.get(dimension).and_then(|values| values.get(value)).copied();
        let place = known.unwrap_or_else(|| {
            let next = self.conditions.len() as u32;
            self.conditions.push(Condition { dimension: dimension.to_owned(), value: value.to_owned(), origin });
            self.places.entry(dimension.to_owned()).or_default().insert(value.to_owned(), next);
            next
        });
        match self.of.get_mut(id) {
            Some(mine) if mine.contains(&place) => {}
            Some(mine) => mine.push(place),
            None => {
                self.of.insert(id.clone(), vec![place]);
            }
        }
    }
}

/// Whether a dimension is the findings of this metric, which would explain it by itself.
pub(super) fn is_own(dimension: &str, metric: &str) -> bool {
    dimension.strip_prefix(SCORE) == Some(metric)
}

/// Which run an output is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The run compared against.
    Baseline,
    /// The run being judged.
    Candidate,
}

/// Folds examples and outputs one by one, so that they need not be in memory at once.
#[derive(Clone, Debug, Default)]
pub struct FeatureFold {
    inputs: BTreeMap<ExampleId, Facts>,
    sides: [BTreeMap<ExampleId, Seen>; 2],
}

/// What the example itself says.
#[derive(Clone, Debug, Default)]
struct Facts {
    input_chars: f64,
    metadata: Vec<(String, String)>,
}

/// What the outputs of one run say of an example, over its trials.
#[derive(Clone, Debug, Default)]
struct Seen {
    tools: BTreeSet<String>,
    errors: BTreeSet<String>,
    failures: BTreeSet<String>,
    paths: BTreeSet<String>,
    models: BTreeSet<String>,
    attributes: BTreeSet<(String, String)>,
    steps: Mean,
    output_chars: Mean,
}

/// A running mean.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1.0;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

impl FeatureFold {
    /// An empty fold.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an example; a second time changes nothing.
    pub fn push_example(&mut self, example: &Example) {
        let facts = || Facts {
            input_chars: example.input_text().chars().count() as f64,
            metadata: example
                .metadata
                .iter()
                .filter_map(|(key, value)| Some((format!("metadata.{key}"), word(value)?)))
                .collect(),
        };
        self.inputs.entry(example.id.clone()).or_insert_with(facts);
    }

    /// Adds the output of one trial.
    pub fn push_output(&mut self, side: Side, id: &ExampleId, output: &Output) {
        let [baseline, candidate] = &mut self.sides;
        let seen = match side {
            Side::Baseline => baseline,
            Side::Candidate => candidate,
        };
        let seen = seen.entry(id.clone()).or_default();
        seen.output_chars.add(output.text().chars().count() as f64);
        if let Some(trace) = &output.trace {
            seen.trace(trace);
        }
    }

    /// Features of all examples, with what the journals of both runs say of cost, time and findings.
    pub fn finish(self, baseline: &RunResults, candidate: &RunResults) -> Features {
        let mut features = Features::default();
        let mut numbers: BTreeMap<(&str, Origin), Vec<(&ExampleId, f64)>> = BTreeMap::new();
        for (id, facts) in &self.inputs {
            numbers.entry(("input_chars", Origin::Example)).or_default().push((id, facts.input_chars));
            for (key, value) in &facts.metadata {
                features.add(id, key, value, Origin::Example);
            }
        }
        let [before, after] = &self.sides;
        for (id, left) in before {
            let Some(right) = after.get(id) else { continue };
            both(&mut features, id, left, right);
            for (name, value) in [
                ("steps", mean(left.steps.value(), right.steps.value())),
                ("output_chars", mean(left.output_chars.value(), right.output_chars.value())),
            ] {
                numbers.entry((name, Origin::Trace)).or_default().extend(value.map(|value| (id, value)));
            }
        }
        let mut dimensions: HashMap<&str, String> = HashMap::new();
        for (id, left) in &baseline.examples {
            let Some(right) = candidate.examples.get(id) else { continue };
            let sides = [left, right];
            for (name, read) in MEASURES {
                let of = |side: &super::ExampleResult| {
                    let mut mean = Mean::default();
                    side.trials.values().filter_map(|trial| read(trial.target.as_ref()?)).for_each(|v| mean.add(v));
                    mean.value()
                };
                let value = mean(of(left), of(right));
                numbers.entry((name, Origin::Outcome)).or_default().extend(value.map(|value| (id, value)));
            }
            for trial in sides.iter().flat_map(|side| side.trials.values()) {
                if let Some(TargetOutcome::Failed { failure }) = &trial.target {
                    features.add(id, "target_failure", failure.kind.as_str(), Origin::Outcome);
                }
                for (grader, draws) in trial.scores.iter() {
                    let dimension = dimensions.entry(grader.as_ref()).or_insert_with(|| format!("{SCORE}{grader}"));
                    for label in draws.values().flatten().filter_map(|score| label(&score.value)) {
                        features.add(id, dimension, label, Origin::Outcome);
                    }
                }
            }
        }
        for ((name, origin), values) in numbers {
            bin(&mut features, name, origin, &values);
        }
        features
    }
}

type Read = fn(&TargetOutcome) -> Option<f64>;

/// Numbers of an outcome that slices are made of.
const MEASURES: [(&str, Read); 3] = [
    ("latency_ms", |outcome| match outcome {
        TargetOutcome::Output { latency_ms, .. } => *latency_ms,
        TargetOutcome::Failed { .. } => None,
    }),
    ("cost_usd", |outcome| match outcome {
        TargetOutcome::Output { cost_usd, .. } => *cost_usd,
        TargetOutcome::Failed { .. } => None,
    }),
    ("tokens", |outcome| match outcome {
        TargetOutcome::Output { usage, .. } => usage.total().map(|count| count as f64),
        TargetOutcome::Failed { .. } => None,
    }),
];

impl Seen {
    fn trace(&mut self, trace: &Trace) {
        let evaluators = trace.evaluator_spans();
        let own = || trace.spans.iter().filter(|span| !evaluators.contains(&span.span_id));
        self.steps.add(own().count() as f64);
        self.tools.extend(trace.tools_used().into_iter().map(|tool| tool.name));
        self.errors.extend(own().filter(|span| span.failed()).map(error_kind));
        let failures = diagnose(trace, &Rules::default()).findings;
        self.failures.extend(failures.iter().map(|finding| finding.detector.as_str().to_owned()));
        self.models.extend(own().filter_map(|span| {
            let model = span.model.as_ref()?;
            model.response.clone().or_else(|| model.request.clone())
        }));
        let mut path: Vec<&str> = Vec::new();
        for (_, span) in trace.outline() {
            let agent = span.agent_name().or((span.kind == SpanKind::Agent).then_some(span.name.as_str()));
            if let Some(agent) = agent.filter(|agent| !evaluators.contains(&span.span_id) && path.last() != Some(agent))
            {
                path.push(agent);
            }
        }
        if !path.is_empty() {
            path.truncate(PATH);
            self.paths.insert(path.join(" > "));
        }
        let root = trace.root().map(|root| &root.attributes);
        let words = root.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), word(value)?)));
        self.attributes.extend(words);
    }
}

/// What kind of error a failed span met.
fn error_kind(span: &Span) -> String {
    let kind = span.error.as_ref().and_then(|error| error.kind.clone());
    kind.unwrap_or_else(|| format!("error in {}", span.name))
}

/// Features that two sides give together.
fn both(features: &mut Features, id: &ExampleId, left: &Seen, right: &Seen) {
    let sets = [
        ("tool", &left.tools, &right.tools),
        ("error", &left.errors, &right.errors),
        ("failure_mode", &left.failures, &right.failures),
        ("agents", &left.paths, &right.paths),
        ("model", &left.models, &right.models),
    ];
    for (name, left, right) in sets {
        for value in left.union(right) {
            features.add(id, name, value, Origin::Trace);
        }
        // A model that differs everywhere is what was changed, not where the change sits.
        if name != "model" && !(left.is_empty() && right.is_empty()) {
            let same = if left == right { "the same in both runs" } else { "not the same in both runs" };
            features.add(id, &format!("{name} set"), same, Origin::Trace);
        }
    }
    // Only what both runs say is an attribute of the example, not of one run's configuration.
    for (key, value) in left.attributes.intersection(&right.attributes) {
        features.add(id, key, value, Origin::Trace);
    }
}

/// A value short enough to slice by: a word or a truth value.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::Bool(yes) => Some(yes.to_string()),
        Value::String(text) if !text.is_empty() && text.chars().count() <= VALUE && !text.contains('\n') => {
            Some(text.clone())
        }
        _ => None,
    }
}

fn label(value: &ScoreValue) -> Option<&str> {
    match value {
        ScoreValue::Pass { pass: true } => Some("pass"),
        ScoreValue::Pass { pass: false } => Some("fail"),
        ScoreValue::Label { label, .. } => Some(label),
        ScoreValue::Number { .. } => None,
    }
}

fn mean(left: Option<f64>, right: Option<f64>) -> Option<f64> {
    Some(0.5 * (left? + right?)).filter(|value| value.is_finite())
}

/// Puts a number into ranges that hold about equally many examples.
fn bin(features: &mut Features, name: &str, origin: Origin, values: &[(&ExampleId, f64)]) {
    if values.len() < BINNED {
        return;
    }
    let mut sorted: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    sorted.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = (1..BINS).filter_map(|part| sorted.get(sorted.len() * part / BINS).copied()).collect();
    edges.dedup();
    // With many ties a range can be empty at the top.
    edges.retain(|edge| sorted.last().is_some_and(|last| edge < last));
    let range = |place: usize| {
        let edge = |place: usize| edges.get(place).map(|edge| words::plain(*edge));
        match (place.checked_sub(1).and_then(edge), edge(place)) {
            (None, Some(high)) => Some(format!("up to {high}")),
            (Some(low), Some(high)) => Some(format!("{low} to {high}")),
            (Some(low), None) => Some(format!("over {low}")),
            (None, None) => None,
        }
    };
    let ranges: Vec<Option<String>> = (0..=edges.len()).map(range).collect();
    for (id, value) in values {
        let place = edges.iter().take_while(|edge| value > edge).count();
        let Some(Some(range)) = ranges.get(place) else { continue };
        features.add(id, name, range, origin);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{output, pass, put, run};
    use super::*;
    use crate::model::Scale;

    fn traced(tool: &str) -> Output {
        let trace = json!({"id": "t", "spans": [
            {"trace_id": "t", "span_id": "a", "kind": "agent", "name": "planner", "start_ns": 0, "source": {},
             "attributes": {"region": "eu", "count": 3}},
            {"trace_id": "t", "span_id": "b", "parent_id": "a", "kind": "tool", "name": "call", "start_ns": 1,
             "tool": {"name": tool}, "status": "error", "source": {}},
        ]});
        Output { trace: Some(std::sync::Arc::new(serde_json::from_value(trace).unwrap())), ..Output::of_text("hi") }
    }

    fn found(features: &Features, id: &str) -> Vec<String> {
        let mut all: Vec<String> =
            features.of(&ExampleId::from(id)).map(|c| format!("{}={}", c.dimension, c.value)).collect();
        all.sort();
        all
    }

    /// Whichever run is called the baseline, the features are the same: what makes slices by them honest.
    #[test]
    fn swapping_the_runs_changes_nothing() {
        let (mut one, mut other) = (run("a", &[("ok", Scale::Binary)]), run("b", &[("ok", Scale::Binary)]));
        for index in 0..60 {
            let id = format!("e{index}");
            put(&mut one, &id, 0, "ok", pass(index % 2 == 0));
            put(&mut other, &id, 0, "ok", pass(index % 3 == 0));
            output(&mut one, &id, 0, f64::from(index), 0.5);
            output(&mut other, &id, 0, 2.0 * f64::from(index), 0.25);
        }
        let fold = |swapped: bool| {
            let mut fold = FeatureFold::new();
            let sides = if swapped { [Side::Candidate, Side::Baseline] } else { [Side::Baseline, Side::Candidate] };
            for index in 0..60 {
                let id = ExampleId::new(format!("e{index}"));
                fold.push_output(sides[0], &id, &traced(if index < 30 { "search" } else { "book" }));
                fold.push_output(sides[1], &id, &traced("search"));
            }
            if swapped { fold.finish(&other, &one) } else { fold.finish(&one, &other) }
        };
        let (plain, swapped) = (fold(false), fold(true));
        for index in 0..60 {
            assert_eq!(found(&plain, &format!("e{index}")), found(&swapped, &format!("e{index}")));
        }
        let last = found(&plain, "e59");
        for wanted in [
            "agents=planner",
            "error=error in call",
            "region=eu",
            "score.ok=fail",
            "tool set=not the same in both runs",
            "tool=book",
            "tool=search",
        ] {
            assert!(last.iter().any(|feature| feature == wanted), "{wanted} in {last:?}");
        }
        assert!(last.iter().any(|feature| feature.starts_with("latency_ms=over ")), "{last:?}");
        assert!(!last.iter().any(|feature| feature.starts_with("cost_usd")), "one value makes no range: {last:?}");
    }

    #[test]
    fn ranges_share_the_examples_and_ties_stay_together() {
        let ids: Vec<ExampleId> = (0..100).map(|index| ExampleId::new(format!("e{index:02}"))).collect();
        let mut features = Features::default();
        let values: Vec<(&ExampleId, f64)> = ids.iter().zip((0..100).map(|i| f64::from(i).max(30.0))).collect();
        bin(&mut features, "steps", Origin::Trace, &values);
        let count = |wanted: &str| ids.iter().filter(|id| features.of(id).any(|c| c.value == wanted)).count();
        assert_eq!((count("up to 30"), count("30 to 50"), count("50 to 75"), count("over 75")), (31, 20, 25, 24));
        let mut none = Features::default();
        bin(&mut none, "steps", Origin::Trace, &values[..10]);
        assert_eq!(none.conditions.len(), 0);
    }
}
