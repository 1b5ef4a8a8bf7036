//! Failure modes that the spans of a trace show: how many, or none allowed. What counts as one is `diagnose`'s.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::material::expected_found;
use super::options::{check_amount, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::diagnose::{Counts, Detector, Diagnosis, Finding, Rules, Severity, diagnose};
use crate::model::{Direction, Scale, Score, ScoreInput, Scored, Unscored, UnscoredReason};

/// Spans that a finding names as evidence.
const EVIDENCE: usize = 20;
/// Findings that the details of a score list.
const LISTED: usize = 100;

pub(super) const FAILURE_MODES: ScorerInfo = ScorerInfo {
    name: "failure_modes",
    version: "1",
    summary: "Finds loops, races, lost handoffs, made-up results and other failures in the spans of a trace.",
    sample: "detectors = [\"tool_loop\", \"fabricated_tool_output\"]\nat_most = 0",
    schema: schema_of::<ModeOptions>,
    build: build_modes,
};

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Measure {
    /// Findings of the detectors.
    #[default]
    Findings,
    /// Calls beyond the first of the same tool with the same arguments, retries left out.
    LoopCount,
    /// Calls made again after an error.
    RetryCount,
    /// Calls of tools.
    ToolCalls,
    /// Calls of models.
    LlmCalls,
    /// Agents that took part.
    Agents,
    /// Levels of the tree of spans.
    MaxDepth,
}

/// Which detectors count, what is measured, and how much of it is allowed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ModeOptions {
    /// Detectors that count; without it all of them.
    detectors: Option<BTreeSet<Detector>>,
    /// Least severity that counts.
    #[serde(default)]
    severity: Severity,
    /// What is measured.
    #[serde(default)]
    measure: Measure,
    /// Pass up to this number; without it the number is the score, less is better.
    at_most: Option<f64>,
    /// Limits of the detectors, and what only you know of your tools.
    #[serde(default)]
    rules: Rules,
}

fn build_modes(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: ModeOptions = read(options)?;
    check_amount("at_most", options.at_most)?;
    options.rules.check().map_err(|fault| format!("`rules`: {fault}"))?;
    if options.detectors.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err("`detectors` is empty: name at least one or leave it out".to_owned());
    }
    if options.measure != Measure::Findings && options.detectors.is_some() {
        return Err("`detectors` has no effect unless `measure = \"findings\"`: leave one of them out".to_owned());
    }
    Ok(Box::new(options))
}

impl ModeOptions {
    fn counts(&self, finding: &Finding) -> bool {
        let wanted = self.detectors.as_ref().is_none_or(|wanted| wanted.contains(&finding.detector));
        wanted && finding.severity >= self.severity
    }

    /// That nothing can be said, because all that is asked for is not recorded.
    fn blind(&self, diagnosis: &Diagnosis) -> bool {
        let known = |wanted: &BTreeSet<Detector>| wanted.iter().any(|one| !diagnosis.unknown.contains(one));
        self.measure == Measure::Findings && self.detectors.as_ref().is_some_and(|wanted| !known(wanted))
    }

    fn figure(&self, found: &[&Finding], counts: &Counts) -> u64 {
        match self.measure {
            Measure::Findings => found.len() as u64,
            Measure::LoopCount => counts.loop_count,
            Measure::RetryCount => counts.retry_count,
            Measure::ToolCalls => counts.tool_calls,
            Measure::LlmCalls => counts.llm_calls,
            Measure::Agents => counts.agents,
            Measure::MaxDepth => counts.max_depth,
        }
    }

    fn unit(&self) -> &'static str {
        match self.measure {
            Measure::Findings => "failures found",
            Measure::LoopCount => "repeated calls",
            Measure::RetryCount => "retries",
            Measure::ToolCalls => "tool calls",
            Measure::LlmCalls => "model calls",
            Measure::Agents => "agents",
            Measure::MaxDepth => "levels of spans",
        }
    }
}

impl Scorer for ModeOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let trace = input.output.trace.as_deref().filter(|trace| !trace.spans.is_empty());
        let trace = trace
            .ok_or_else(|| Unscored::not_applicable("the output has no trace: what happened on the way is unknown"))?;
        let diagnosis = diagnose(trace, &self.rules);
        if self.blind(&diagnosis) {
            return Err(Unscored::not_applicable(
                "the trace has no spans of tools: whether calls ran and what they gave is unknown",
            ));
        }
        let found: Vec<&Finding> = diagnosis.findings.iter().filter(|finding| self.counts(finding)).collect();
        let figure = self.figure(&found, &diagnosis.counts);
        let words = match self.measure {
            Measure::Findings => told(&found),
            _ => format!("{figure} {}", self.unit()),
        };
        let score = match self.at_most {
            Some(limit) => {
                let expected = format!("at most {limit} {}", self.unit());
                Some(Score::pass(figure as f64 <= limit, expected_found(&expected, &words)))
            }
            None => Score::number(figure as f64, words),
        };
        let mut score = score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the figure is not finite"))?;
        if self.measure == Measure::Findings {
            score.evidence = found.iter().flat_map(|finding| finding.spans.iter().cloned()).take(EVIDENCE).collect();
            score.details = json!({ "findings": found.iter().take(LISTED).collect::<Vec<_>>() });
        }
        Ok(score)
    }

    fn scale(&self) -> Scale {
        if self.at_most.is_some() { Scale::Binary } else { Scale::Number { min: Some(0.0), max: None } }
    }

    fn direction(&self) -> Direction {
        if self.at_most.is_some() { Direction::Higher } else { Direction::Lower }
    }
}

/// The findings by detector and subtype, with how often.
fn told(found: &[&Finding]) -> String {
    let mut kinds: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for finding in found {
        *kinds.entry((finding.detector.as_str(), finding.subtype.as_ref())).or_default() += 1;
    }
    if kinds.is_empty() {
        return "none".to_owned();
    }
    let word = |((detector, subtype), count): (&(&str, &str), &usize)| {
        let times = if *count == 1 { String::new() } else { format!(" × {count}") };
        format!("{detector} ({subtype}){times}")
    };
    kinds.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{build_error, calls_pass, number_of_calls, score_calls};
    use super::*;

    fn looping() -> Vec<(&'static str, Value, bool)> {
        (0..4).map(|_| ("search", json!({"q": "x"}), false)).collect()
    }

    #[test]
    fn a_loop_is_found_named_and_allowed_where_it_may_be() {
        let score = score_calls("failure_modes", json!({"at_most": 0}), Value::Null, &looping()).unwrap();
        assert!(
            score.explanation.as_deref().unwrap_or_default().contains("tool_loop (identical_no_progress)"),
            "{score:?}"
        );
        assert_eq!(score.evidence.len(), 4);
        assert_eq!(score.details["findings"][0]["severity"], "medium");
        let passes = |options: Value| calls_pass("failure_modes", options, Value::Null, &looping());
        assert!(!passes(json!({"at_most": 0})));
        assert!(passes(json!({"at_most": 0, "detectors": ["timeout"]})));
        assert!(passes(json!({"at_most": 0, "severity": "high"})));
        assert!(passes(json!({"at_most": 0, "rules": {"allow_repeat": ["search"]}})));
        let loops = number_of_calls("failure_modes", json!({"measure": "loop_count"}), Value::Null, &looping());
        assert!((loops - 3.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_recorded_is_no_success() {
        let ask = json!({"detectors": ["fabricated_tool_output"], "at_most": 0});
        let unscored = score_calls("failure_modes", ask.clone(), Value::Null, &[]).unwrap_err();
        assert!(unscored.detail.contains("no spans of tools"), "{unscored:?}");
        assert!(calls_pass("failure_modes", ask, Value::Null, &looping()));
    }

    #[test]
    fn wrong_options_are_named() {
        let wrong = |options: Value| build_error("failure_modes", options);
        assert!(wrong(json!({"rules": {"identical_n": 1}})).contains("`identical_n`"));
        assert!(wrong(json!({"rules": {"ctx_ratio": 2}})).contains("`ctx_ratio`"));
        assert!(wrong(json!({"detectors": []})).contains("empty"));
        assert!(wrong(json!({"detectors": ["loops"]})).contains("loops"));
        assert!(wrong(json!({"measure": "agents", "detectors": ["timeout"]})).contains("`detectors`"));
    }
}
