//! How many tool calls failed, by the status of their spans.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::calls::calls_of;
use super::material::{expected_found, quote};
use super::options::{check_amount, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Direction, Scale, Score, ScoreInput, Scored, Span, Trace, Unscored, UnscoredReason};

pub(super) const TOOL_ERRORS: ScorerInfo = ScorerInfo {
    name: "tool_errors",
    version: "2",
    summary: "Gives the share or the number of tool calls that failed, or passes up to a limit.",
    sample: "measure = \"share\"\nat_most = 0.1",
    schema: schema_of::<ErrorOptions>,
    build: build_errors,
};

/// What is given of the failed calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Failed {
    /// Their share of all calls, 0 to 1.
    #[default]
    Share,
    /// Their number.
    Count,
}

/// Which failed calls count, and how many are allowed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ErrorOptions {
    /// What is given.
    #[serde(default)]
    measure: Failed,
    /// Pass up to this share or number; without it the figure is the score, less is better.
    at_most: Option<f64>,
    /// Only calls of these tools count.
    tools: Option<BTreeSet<String>>,
    /// Whether only failed calls count after which the same tool was never called with success.
    #[serde(default)]
    unrecovered: bool,
}

fn build_errors(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: ErrorOptions = read(options)?;
    check_amount("at_most", options.at_most)?;
    if options.measure == Failed::Share && options.at_most.is_some_and(|limit| limit > 1.0) {
        return Err(
            "`at_most` is a share and lies between 0 and 1: set `measure = \"count\"` to limit a number".to_owned()
        );
    }
    if options.tools.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err("`tools` is empty: name at least one tool or leave it out".to_owned());
    }
    Ok(Box::new(options))
}

impl ErrorOptions {
    fn spans<'a>(&self, trace: &'a Trace) -> Vec<&'a Span> {
        let chosen = |span: &&Span| match (&self.tools, &span.tool) {
            (None, _) => true,
            (Some(tools), Some(tool)) => tools.contains(&tool.name),
            (Some(tools), None) => tools.contains(&span.name),
        };
        trace.tool_spans().filter(chosen).collect()
    }
}

fn tool_name(span: &Span) -> &str {
    span.tool.as_ref().map_or(span.name.as_str(), |tool| tool.name.as_str())
}

impl Scorer for ErrorOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let requested = calls_of(input.output)?;
        let trace = input.output.trace.as_deref();
        let spans = trace.map(|trace| self.spans(trace)).unwrap_or_default();
        let traced = trace.is_some_and(|trace| trace.tool_spans().next().is_some());
        if !traced && !requested.is_empty() {
            return Err(Unscored::not_applicable(
                "the trace has tool calls but no tool spans: how they ended is unknown",
            ));
        }
        if spans.is_empty() && self.measure == Failed::Share {
            return Err(Unscored::not_applicable("no tool was called, so there is no share of failed calls"));
        }
        let recovered = |place: usize, span: &Span| {
            let later = spans.iter().skip(place + 1);
            later.filter(|other| tool_name(other) == tool_name(span)).any(|other| !other.failed())
        };
        let all: Vec<(usize, &Span)> = spans.iter().copied().enumerate().filter(|(_, span)| span.failed()).collect();
        let mended = all.iter().filter(|(place, span)| recovered(*place, span)).count();
        let counts = |(place, span): &(usize, &Span)| !self.unrecovered || !recovered(*place, span);
        let failed: Vec<&Span> = all.into_iter().filter(counts).map(|(_, span)| span).collect();
        let figure = match self.measure {
            Failed::Share => failed.len() as f64 / spans.len() as f64,
            Failed::Count => failed.len() as f64,
        };
        let mut found = match (self.unrecovered, mended) {
            (false, 0) => format!("{} of {} failed", failed.len(), spans.len()),
            (false, _) => format!("{} of {} failed ({mended} of them made good later)", failed.len(), spans.len()),
            (true, _) => format!("{} of {} failed for good ({mended} made good later)", failed.len(), spans.len()),
        };
        if let Some(first) = failed.first() {
            let message = first.error.as_ref().and_then(|error| error.message.as_deref().or(error.kind.as_deref()));
            let cause = message.map(|text| format!(": {}", quote(text))).unwrap_or_default();
            found.push_str(&format!(", first {}{cause}", quote(tool_name(first))));
        }
        let score = match self.at_most {
            Some(limit) => {
                let unit = if self.measure == Failed::Share { "a share of failed calls of" } else { "failed calls:" };
                Some(Score::pass(figure <= limit, expected_found(&format!("{unit} at most {limit}"), &found)))
            }
            None => Score::number(figure, found),
        };
        let mut score = score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the figure is not finite"))?;
        score.evidence = failed.iter().take(20).map(|span| span.span_id.to_string()).collect();
        Ok(score)
    }

    fn scale(&self) -> Scale {
        match (self.at_most, self.measure) {
            (Some(_), _) => Scale::Binary,
            (None, Failed::Share) => Scale::Number { min: Some(0.0), max: Some(1.0) },
            (None, Failed::Count) => Scale::Number { min: Some(0.0), max: None },
        }
    }

    fn direction(&self) -> Direction {
        if self.at_most.is_some() { Direction::Higher } else { Direction::Lower }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{build_error, number_of_calls, score_calls, trip};
    use super::*;

    #[test]
    fn failed_calls_are_a_share_or_a_number() {
        let errors = |options: Value| number_of_calls("tool_errors", options, Value::Null, &trip());
        assert!((errors(json!({})) - 1.0 / 3.0).abs() < 1e-12);
        assert!((errors(json!({"measure": "count"})) - 1.0).abs() < 1e-12);
        assert!((errors(json!({"tools": ["search"]})) - 0.5).abs() < 1e-12);
        assert!(errors(json!({"at_most": 0.3})) < 0.5 && errors(json!({"at_most": 0.34})) > 0.5);
        assert!(score_calls("tool_errors", json!({}), Value::Null, &[]).is_err());
        assert!(number_of_calls("tool_errors", json!({"measure": "count"}), Value::Null, &[]).abs() < 1e-12);
        let score = score_calls("tool_errors", json!({}), Value::Null, &trip()).unwrap();
        assert_eq!(score.evidence.len(), 1);
    }

    #[test]
    fn a_failed_call_is_made_good_by_a_later_one_of_the_same_tool() {
        let calls = [("search", json!({}), true), ("pay", json!({}), true), ("search", json!({}), false)];
        let count = |unrecovered: bool| {
            let options = json!({"measure": "count", "unrecovered": unrecovered});
            number_of_calls("tool_errors", options, Value::Null, &calls)
        };
        assert!((count(false) - 2.0).abs() < 1e-12 && (count(true) - 1.0).abs() < 1e-12);
        let told = score_calls("tool_errors", json!({}), Value::Null, &calls).unwrap().explanation.unwrap();
        assert!(told.contains("2 of 3 failed (1 of them made good later), first `search`"), "{told}");
    }

    #[test]
    fn a_share_has_its_bounds() {
        assert!(build_error("tool_errors", json!({"at_most": 3})).contains("`measure"));
    }
}
