//! How long the output is, and why the model stopped writing it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{expected_found, quote};
use super::options::{check_bounds, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Direction, Output, Scale, Score, ScoreInput, Scored, SpanKind, Trace, Unscored, UnscoredReason};

pub(super) const LENGTH: ScorerInfo = ScorerInfo {
    name: "length",
    version: "1",
    summary: "Gives the length of the output in characters, words or lines, or passes between limits.",
    sample: "unit = \"words\"\nmin = 5\nmax = 200",
    schema: schema_of::<LengthOptions>,
    build: build_length,
};

pub(super) const FINISH_REASON: ScorerInfo = ScorerInfo {
    name: "finish_reason",
    version: "1",
    summary: "Passes when the model stopped for an allowed reason, by default any but a length limit or a filter.",
    sample: "allowed = [\"stop\", \"end_turn\"]",
    schema: schema_of::<FinishOptions>,
    build: build_finish,
};

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// Unicode characters, white space at both ends left out.
    #[default]
    Chars,
    /// Runs of characters other than white space.
    Words,
    /// Lines that are not blank.
    Lines,
}

/// Which way is better for a length without limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Better {
    /// Less is better.
    #[default]
    Lower,
    /// More is better.
    Higher,
}

/// What is counted, and between which limits.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LengthOptions {
    /// What is counted.
    #[serde(default)]
    unit: Unit,
    /// Pass from this length up; with neither limit the length is the score.
    min: Option<u64>,
    /// Pass up to this length.
    max: Option<u64>,
    /// Which way is better for a length without limits.
    better: Option<Better>,
}

fn build_length(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: LengthOptions = read(options)?;
    check_bounds(("min", "max"), options.min, options.max)?;
    if options.limited() && options.better.is_some() {
        return Err("`better` means nothing with `min` or `max`, where passing is better: leave it out".to_owned());
    }
    Ok(Box::new(options))
}

impl LengthOptions {
    fn limited(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }
}

impl Scorer for LengthOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let text = input.output.text();
        let (count, unit) = match self.unit {
            Unit::Chars => (text.trim().chars().count(), "characters"),
            Unit::Words => (text.split_whitespace().count(), "words"),
            Unit::Lines => (text.lines().filter(|line| !line.trim().is_empty()).count(), "lines"),
        };
        let count = count as u64;
        let wanted = match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => {
                return Score::number(count as f64, format!("{count} {unit}"))
                    .ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the length is not finite"));
            }
        };
        let pass = self.min.is_none_or(|min| count >= min) && self.max.is_none_or(|max| count <= max);
        Ok(Score::pass(pass, expected_found(&format!("{wanted} {unit}"), &format!("{count} in {}", quote(&text)))))
    }

    fn scale(&self) -> Scale {
        if self.limited() { Scale::Binary } else { Scale::Number { min: Some(0.0), max: None } }
    }

    fn direction(&self) -> Direction {
        if self.limited() || self.better == Some(Better::Higher) { Direction::Higher } else { Direction::Lower }
    }
}

/// Reasons that mean the answer was cut off or kept back, in the words of the providers.
const BAD_REASONS: &[&str] = &[
    "blocklist",
    "content_filter",
    "content_filtered",
    "error",
    "guardrail_intervened",
    "image_safety",
    "language",
    "length",
    "malformed_function_call",
    "max_length",
    "max_output_tokens",
    "max_tokens",
    "model_context_window_exceeded",
    "prohibited_content",
    "recitation",
    "refusal",
    "safety",
    "spii",
];

/// Which reasons are fine.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FinishOptions {
    /// Reasons that pass, in either case; without it every reason but those that say cut off, filtered or refused.
    allowed: Option<Vec<String>>,
}

fn build_finish(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: FinishOptions = read(options)?;
    if options.allowed.as_ref().is_some_and(Vec::is_empty) {
        return Err("`allowed` is empty, so nothing could pass: name a reason or leave it out".to_owned());
    }
    Ok(Box::new(options))
}

impl Scorer for FinishOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let reasons = finish_reasons(input.output);
        if reasons.is_empty() {
            return Err(Unscored::not_applicable(
                "why the model stopped is unknown: neither `finish_reason` in the output's metadata nor a model span \
                 states it",
            ));
        }
        let fine = |reason: &String| match &self.allowed {
            Some(allowed) => allowed.iter().any(|known| known.eq_ignore_ascii_case(reason)),
            None => !BAD_REASONS.contains(&reason.to_ascii_lowercase().as_str()),
        };
        let wanted = match &self.allowed {
            Some(allowed) => format!("to stop for {}", allowed.join(" or ")),
            None => "an answer that is neither cut off nor filtered".to_owned(),
        };
        Ok(Score::pass(reasons.iter().all(fine), expected_found(&wanted, &quote(&reasons.join(", ")))))
    }
}

/// Why the model stopped for the last time: what the output's metadata says, else the last model span of the trace
/// that says it, those below evaluators left out. Empty when nothing is said.
pub(super) fn finish_reasons(output: &Output) -> Vec<String> {
    let stated = ["finish_reason", "finish_reasons", "stop_reason"].iter().find_map(|key| output.metadata.get(*key));
    let texts: Vec<String> = match stated {
        Some(Value::String(reason)) => vec![reason.clone()],
        Some(Value::Array(reasons)) => reasons.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => output.trace.as_deref().map(last_reasons).unwrap_or_default(),
    };
    texts.into_iter().filter(|text| !text.trim().is_empty()).collect()
}

fn last_reasons(trace: &Trace) -> Vec<String> {
    let mut last: Option<(i64, &Vec<String>)> = None;
    // Depth of the evaluator that the walk is inside of.
    let mut evaluator: Option<usize> = None;
    for (depth, span) in trace.outline() {
        if evaluator.is_some_and(|above| depth <= above) {
            evaluator = None;
        }
        if evaluator.is_none() && span.kind == SpanKind::Evaluator {
            evaluator = Some(depth);
        }
        let counts = evaluator.is_none() && span.kind == SpanKind::Model && !span.finish_reasons.is_empty();
        if counts && last.is_none_or(|(start, _)| span.start_ns >= start) {
            last = Some((span.start_ns, &span.finish_reasons));
        }
    }
    last.map(|(_, reasons)| reasons.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::tests::{build, build_error, number, passes, score_output, span};
    use super::*;
    use crate::model::{Span, TraceId};

    #[test]
    fn lengths_are_counted_or_limited() {
        let text = json!(" Grüße,\n\n  wie geht es? ");
        let count = |unit: &str| number("length", json!({ "unit": unit }), text.clone(), Value::Null);
        assert!((count("chars") - 22.0).abs() < 1e-12, "{}", count("chars"));
        assert!((count("words") - 4.0).abs() < 1e-12);
        assert!((count("lines") - 2.0).abs() < 1e-12);
        assert!(passes("length", json!({"unit": "words", "min": 4, "max": 4}), text.clone(), Value::Null));
        assert!(!passes("length", json!({"max": 21}), text, Value::Null));
        assert!(build_error("length", json!({"min": 5, "max": 4})).contains("`min`"));
        assert_eq!(build("length", json!({})).direction(), Direction::Lower);
        assert_eq!(build("length", json!({"max": 4})).direction(), Direction::Higher);
    }

    fn stopped(reason: &str) -> Output {
        let mut output = Output::of_text("x");
        output.metadata.insert("finish_reason".to_owned(), json!(reason));
        output
    }

    #[test]
    fn reasons_pass_or_fail_in_either_case() {
        let pass = |options: Value, reason: &str| {
            score_output("finish_reason", options, &stopped(reason)).map(|score| score.value.number() == Some(1.0))
        };
        assert_eq!(pass(json!({}), "stop"), Ok(true));
        assert_eq!(pass(json!({}), "MAX_TOKENS"), Ok(false));
        assert_eq!(pass(json!({"allowed": ["STOP"]}), "stop"), Ok(true));
        assert_eq!(pass(json!({"allowed": ["stop"]}), "tool_calls"), Ok(false));
        assert!(pass(json!({}), " ").is_err());
    }

    #[test]
    fn the_last_model_span_outside_evaluators_counts() {
        let model = |id: &str, parent: &str, start: i64, reason: &str| Span {
            parent_id: Some(parent.into()),
            finish_reasons: vec![reason.to_owned()],
            ..span(id, SpanKind::Model, start)
        };
        let spans = vec![
            span("root", SpanKind::Agent, 0),
            model("m1", "root", 1, "tool_calls"),
            model("m2", "root", 2, "length"),
            Span { parent_id: Some("root".into()), ..span("eval", SpanKind::Evaluator, 3) },
            model("m3", "eval", 4, "stop"),
        ];
        let trace = Trace { id: TraceId::new("t"), session_id: None, spans, faults: Vec::new() };
        let output = Output { trace: Some(Arc::new(trace)), ..Output::of_text("x") };
        assert_eq!(finish_reasons(&output), ["length"]);
    }
}
