//! What the names in filters and designs mean: dimensions of traces, and of examples.

use std::collections::BTreeSet;

use serde_json::Value;

use super::features;
use super::native::scalar_text;
use crate::diagnose::{Counts, Rules, diagnose};
use crate::model::{Example, PRICED_KEY, Trace};

/// Names that [`trace_dimension`] knows beside those of attributes.
pub const TRACE_DIMENSIONS: &[&str] = &[
    "agent",
    "agent_version",
    "cost",
    "cost_usd",
    "day",
    "environment",
    "failure_modes",
    "latency_ms",
    "loop_count",
    "model",
    "name",
    "negative_feedback",
    "prompt_version",
    "repeated_calls",
    "retry_count",
    "session",
    "spans",
    "status",
    "tags",
    "tenant",
    "tokens",
    "tool_calls",
    "tool_errors",
    "trace_id",
    "user",
];

/// Names of the attributes of a trace that can be dimensions: those of its spans and resources with a value that is
/// not nested.
pub fn attribute_names(trace: &Trace) -> BTreeSet<&str> {
    let spans = trace.spans.iter();
    let all = spans.flat_map(|span| span.attributes.iter().chain(span.resource.iter()));
    let usable = |(name, value): &(&String, &Value)| !value.is_object() && !value.is_null() && *name != PRICED_KEY;
    all.filter(usable).map(|(name, _)| name.as_str()).collect()
}

/// A dimension of a trace: those of [`Trace::dimension`], and `cost`, `latency_ms`, `tokens`, `spans`, `day`,
/// `repeated_calls` (of a tool with the same arguments), `failure_modes` (names of the detectors that found something,
/// with commas; none where none did), the counts of [`crate::diagnose`] and `negative_feedback` (`true` or `false`, where users spoke;
/// here by attributes alone, with scores by [`super::Opinions::dimension`]).
pub fn trace_dimension(trace: &Trace, name: &str) -> Option<String> {
    let measured = match name {
        "cost" | "cost_usd" => trace.cost_usd().map(|cost| cost.to_string()),
        "latency_ms" => trace.duration_ms().map(|duration| duration.to_string()),
        "tokens" => trace.usage().total().map(|tokens| tokens.to_string()),
        "spans" => Some(trace.spans.len().to_string()),
        "repeated_calls" => Some(features::repeated_calls(trace).to_string()),
        "failure_modes" => failure_modes(trace),
        "loop_count" => Some(counts(trace).loop_count.to_string()),
        "retry_count" => Some(counts(trace).retry_count.to_string()),
        "tool_calls" => Some(counts(trace).tool_calls.to_string()),
        "tool_errors" => Some(counts(trace).tool_errors.to_string()),
        super::opinions::NEGATIVE_FEEDBACK => features::negative_feedback(trace, []).map(|said| said.to_string()),
        "day" => {
            let start = trace.spans.iter().map(|span| span.start_ns).min()?;
            let moment = jiff::Timestamp::from_nanosecond(i128::from(start)).ok()?;
            Some(moment.to_string().chars().take(10).collect())
        }
        _ => None,
    };
    measured.or_else(|| trace.dimension(name))
}

fn counts(trace: &Trace) -> Counts {
    diagnose(trace, &Rules::default()).counts
}

fn failure_modes(trace: &Trace) -> Option<String> {
    let findings = diagnose(trace, &Rules::default()).findings;
    let mut names: Vec<&str> = findings.iter().map(|finding| finding.detector.as_str()).collect();
    names.dedup();
    (!names.is_empty()).then(|| names.join(","))
}

/// What a filter can ask of an example: its dimensions, then the names of [`super::FILTER_HELP`], then metadata that is not
/// nested.
pub fn example_dimension(example: &Example, name: &str) -> Option<String> {
    if let Some(value) = example.dimensions.get(name) {
        return Some(value.clone());
    }
    let many = |count: usize| (count > 0).then(|| count.to_string());
    let label = |name: &str| {
        let label = example.labels.iter().find(|label| label.name == name)?;
        scalar_text(&label.value)
    };
    match name {
        "id" => Some(example.id.to_string()),
        "input" => Some(example.input_text()),
        "reference" => match example.reference.as_ref()? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        },
        "cluster" => Some(example.cluster_key().to_owned()),
        "stratum" => example.stratum.clone(),
        "split" => example.split.clone(),
        "tag" | "tags" => many(example.tags.len()),
        "label" | "labels" => many(example.labels.len()),
        "attachments" => Some(example.attachments.len().to_string()),
        "expected_calls" => example.expected_calls.as_ref().map(|calls| calls.len().to_string()),
        "outputs" => Some(example.recorded.len().to_string()),
        "variants" => {
            let names: BTreeSet<_> = example.recorded.iter().map(|r| r.variant.as_deref()).collect();
            Some(names.len().to_string())
        }
        "turns" => super::conversation::turns_of(&example.input).map(|turns| turns.len().to_string()),
        _ => match name.split_once('.') {
            Some(("tag", tag)) => example.tags.contains(tag).then(|| "yes".to_owned()),
            Some(("label", name)) => label(name),
            _ => None,
        }
        .or_else(|| example.metadata.get(name).and_then(scalar_text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::filter::Filter;
    use super::*;

    #[test]
    fn examples_are_looked_up_by_dimension_tag_label_and_metadata() {
        let mut example = Example::new("x".into(), json!({"messages": [{"role": "user"}, {"role": "assistant"}]}));
        example.metadata.insert("n".into(), json!(3));
        example.metadata.insert("deep".into(), json!({}));
        example.tags.insert("hard".into());
        example.labels.push(crate::model::Label { name: "ok".into(), value: json!(true), ..Default::default() });
        assert_eq!(example_dimension(&example, "n").as_deref(), Some("3"));
        assert_eq!(example_dimension(&example, "deep"), None);
        assert_eq!(example_dimension(&example, "cluster").as_deref(), Some("x"));
        let fits = |text: &str| Filter::parse(text).unwrap().matches(|name| example_dimension(&example, name));
        assert!(fits("tag=hard and tag!=easy and tags contains hard and has tag"));
        assert!(fits("label.ok=true and has label and not has reference and turns=2 and outputs<1"));
    }
}
