//! Labelled examples of a judge: `calibration.jsonl`, one JSON object per line.
//!
//! Written by hand, so the trace is compact; it is turned into the same [`Trace`] that production traces are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::method::Criterion;
use super::scale::RubricScale;
use super::spec::{SpecProblem, did_you_mean};
use crate::model::{
    AgentRef, Example, ExampleId, Finite, Message, Output, Part, ScoreValue, Span, SpanError, SpanId, SpanKind,
    SpanStatus, ToolUse, Trace, TraceId,
};

const FILE: &str = "calibration.jsonl";

/// One step of a compact trace: a tool call, something thought or said, or a handoff.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationStep {
    /// Who acts; the one before when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Name of the tool that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Its arguments; without a tool, what is passed on in the handoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// Its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Its error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Text that the agent thinks and nobody is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinks: Option<String>,
    /// Text that the agent says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// Text that the user says in the course of the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The agent that takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<String>,
}

/// One labelled example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationExample {
    /// Unique in the file.
    pub id: String,
    /// What the agent was asked.
    pub input: Value,
    /// What it gave back.
    pub output: Value,
    /// The expected answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Value>,
    /// Its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Vec<CalibrationStep>>,
    /// Tools that were available: text, or a list of names or objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Value>,
    /// Standing instructions the agent worked under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Value>,
    /// Metadata of the example.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
    /// Dimensions of the example.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
    /// The right score: `pass` or `fail`, a label, or a number; of a judge of several criteria an object with one for each
    /// criterion that is labelled.
    pub label: Value,
    /// Why it is the right one.
    #[serde(default)]
    pub reason: String,
    /// What it tests: `boundary`, `adversarial`, `padding`, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

const FIELDS: &[&str] = &[
    "id",
    "input",
    "output",
    "reference",
    "trace",
    "tools",
    "instructions",
    "metadata",
    "dimensions",
    "label",
    "reason",
    "tags",
];

impl CalibrationExample {
    /// The example and the output as a run would hold them.
    pub fn to_graded(&self) -> (Example, Output) {
        let mut example = Example::new(ExampleId::new(&self.id), self.input.clone());
        example.reference = self.reference.clone();
        example.dimensions = self.dimensions.clone();
        example.metadata = self.metadata.clone();
        for (name, value) in [("tools", &self.tools), ("instructions", &self.instructions)] {
            if let Some(value) = value {
                example.metadata.insert(name.to_owned(), value.clone());
            }
        }
        let trace = self.trace.as_ref().map(|steps| Arc::new(trace_of_steps(&self.id, steps)));
        (example, Output { value: self.output.clone(), trace, ..Output::default() })
    }

    /// The label as a score of the scale; `None` when it is not on the menu.
    pub fn expected(&self, scale: &RubricScale) -> Option<ScoreValue> {
        parse_label(scale, &self.label)
    }
}

/// A person's label as a score of the scale; `None` when it is not on the menu. Exact after trimming and case
/// folding; numbers must lie on the scale.
pub fn parse_label(scale: &RubricScale, label: &Value) -> Option<ScoreValue> {
    match (scale, label) {
        (RubricScale::Binary { .. }, Value::Bool(pass)) => Some(ScoreValue::Pass { pass: *pass }),
        (RubricScale::Binary { .. }, Value::String(word)) => match word.trim().to_lowercase().as_str() {
            "pass" => Some(ScoreValue::Pass { pass: true }),
            "fail" => Some(ScoreValue::Pass { pass: false }),
            _ => None,
        },
        (RubricScale::Labels(labels), Value::String(word)) => {
            let typed = word.trim().to_lowercase();
            let hit = labels.iter().find(|label| label.label.to_lowercase() == typed)?;
            Some(ScoreValue::Label { label: hit.label.clone(), number: hit.value.and_then(Finite::new) })
        }
        (RubricScale::Number { min, max, .. }, Value::Number(number)) => {
            let number = number.as_f64().filter(|number| min <= number && number <= max)?;
            Finite::new(number).map(|number| ScoreValue::Number { number })
        }
        _ => None,
    }
}

/// What a label may be.
#[derive(Clone, Copy)]
pub(super) enum Labels<'a> {
    /// The scale is wrong itself.
    Any,
    /// A score of one scale.
    One(&'a RubricScale),
    /// An object with scores of criteria.
    Each(&'a [Criterion]),
}

impl Labels<'_> {
    /// What is wrong with a label: where, what is there, what should be.
    fn fault(self, label: &Value) -> Option<(String, String, String)> {
        let off = |scale: &RubricScale, at: String, label: &Value| {
            parse_label(scale, label).is_none().then(|| (at, format!("`{label}`"), super::reply::menu_text(scale)))
        };
        let criteria = match self {
            Self::Any => return None,
            Self::One(scale) => return off(scale, "label".to_owned(), label),
            Self::Each(criteria) => criteria,
        };
        let names: Vec<String> = criteria.iter().map(|criterion| format!("`{}`", criterion.name)).collect();
        let wanted = || format!("an object with a label for each of {}, or for some of them", names.join(", "));
        let Some(given) = label.as_object().filter(|given| !given.is_empty()) else {
            return Some(("label".to_owned(), format!("`{label}`"), wanted()));
        };
        given.iter().find_map(|(name, label)| {
            let at = format!("label.{name}");
            match criteria.iter().find(|criterion| criterion.name == *name) {
                Some(criterion) => off(&criterion.scale, at, label),
                None => Some((at, "no such criterion".to_owned(), wanted())),
            }
        })
    }
}

/// Reads the file; lines that are wrong are named and left out, all at once.
pub(super) fn parse_lines(text: &str, labels: Labels<'_>, problems: &mut Vec<SpecProblem>) -> Vec<CalibrationExample> {
    let mut examples = Vec::new();
    let mut ids = BTreeSet::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut problem = |at: &str, found: String, expected: &str, hint: Option<String>| {
            let expected = expected.to_owned();
            problems.push(SpecProblem { file: FILE, line: Some(index + 1), at: at.to_owned(), found, expected, hint });
        };
        let example: CalibrationExample = match serde_json::from_str(line) {
            Ok(example) => example,
            Err(error) => {
                let hint = unknown_field(line);
                problem("", error.to_string(), "an object with `id`, `input`, `output` and `label`", hint);
                continue;
            }
        };
        if !ids.insert(example.id.clone()) {
            problem("id", format!("`{}` a second time", example.id), "an id of its own for every example", None);
        }
        if let Some((at, found, expected)) = labels.fault(&example.label) {
            problem(&at, found, &expected, None);
        }
        examples.push(example);
    }
    examples
}

fn unknown_field(line: &str) -> Option<String> {
    let object: serde_json::Map<String, Value> = serde_json::from_str(line).ok()?;
    let unknown = object.keys().find(|key| !FIELDS.contains(&key.as_str()))?;
    did_you_mean(unknown, FIELDS.iter().copied())
}

/// A trace made of compact steps: one root, one agent span for each stretch of one agent, the steps below it. Times
/// are a millisecond apart, ids are counted.
pub(super) fn trace_of_steps(id: &str, steps: &[CalibrationStep]) -> Trace {
    let mut builder = Builder { trace_id: TraceId::new(id), spans: Vec::new(), agent: None };
    builder.push(SpanKind::Step, "request", None);
    for step in steps {
        builder.step(step);
    }
    Trace { id: TraceId::new(id), session_id: None, spans: builder.spans, faults: Vec::new() }
}

struct Builder {
    trace_id: TraceId,
    spans: Vec<Span>,
    agent: Option<(String, SpanId)>,
}

impl Builder {
    fn step(&mut self, step: &CalibrationStep) {
        let known = self.agent.as_ref().map_or("agent", |(name, _)| name.as_str());
        let name = step.agent.clone().unwrap_or_else(|| known.to_owned());
        if self.agent.as_ref().is_none_or(|(current, _)| *current != name) {
            let index = self.push(SpanKind::Agent, &name, Some(SpanId::new("s0")));
            if let Some(span) = self.spans.get_mut(index) {
                span.agent = Some(AgentRef { name: Some(name.clone()), ..AgentRef::default() });
                self.agent = Some((name, span.span_id.clone()));
            }
        }
        let parent = self.agent.as_ref().map(|(_, id)| id.clone());
        if step.user.is_some() || step.says.is_some() || step.thinks.is_some() {
            let index = self.push(SpanKind::Model, "chat", parent.clone());
            if let Some(span) = self.spans.get_mut(index) {
                span.messages_in = step.user.iter().map(|text| Message::text("user", text)).collect();
                let thought = step.thinks.iter().map(|text| Part::Reasoning { content: text.clone() });
                let said = step.says.iter().map(|text| Part::Text { content: text.clone() });
                // Without parts when nobody said anything yet: that keeps "not recorded" out of the transcript.
                span.messages_out =
                    vec![Message { role: "assistant".to_owned(), parts: thought.chain(said).collect() }];
            }
        }
        if let Some(tool) = &step.tool {
            let index = self.push(SpanKind::Tool, tool, parent.clone());
            if let Some(span) = self.spans.get_mut(index) {
                span.tool = Some(ToolUse {
                    name: tool.clone(),
                    call_id: None,
                    arguments: step.arguments.clone(),
                    result: step.result.clone(),
                });
                if let Some(message) = &step.error {
                    span.status = SpanStatus::Error;
                    span.error = Some(SpanError { kind: None, message: Some(message.clone()) });
                }
            }
        }
        if let Some(to) = &step.handoff {
            let index = self.push(SpanKind::Handoff, &format!("to {to}"), parent);
            if let Some(span) = self.spans.get_mut(index).filter(|_| step.tool.is_none()) {
                span.input = step.arguments.clone();
            }
        }
    }

    fn push(&mut self, kind: SpanKind, name: &str, parent_id: Option<SpanId>) -> usize {
        let index = self.spans.len();
        let start_ns = i64::try_from(index).unwrap_or(0) * 1_000_000;
        let span_id = SpanId::new(format!("s{index}"));
        self.spans.push(Span {
            parent_id,
            end_ns: Some(start_ns + 1_000_000),
            ..Span::new(self.trace_id.clone(), span_id, kind, name, start_ns)
        });
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary() -> RubricScale {
        RubricScale::Binary { pass: String::new(), fail: String::new() }
    }

    #[test]
    fn a_compact_trace_becomes_a_trace() {
        let line = r#"{"id": "a", "input": "book it", "output": "done", "label": "fail", "tools": ["book"],
            "trace": [{"agent": "planner", "says": "on it", "handoff": "booker"},
                      {"agent": "booker", "tool": "book", "arguments": {"seat": 1}, "error": "full"}]}"#;
        let example: CalibrationExample = serde_json::from_str(line).unwrap();
        let (example, output) = example.to_graded();
        assert_eq!(example.metadata["tools"], serde_json::json!(["book"]));
        let trace = output.trace.unwrap();
        let kinds: Vec<SpanKind> = trace.outline().iter().map(|(_, span)| span.kind).collect();
        use SpanKind::{Agent, Handoff, Model, Step, Tool};
        assert_eq!(kinds, [Step, Agent, Model, Handoff, Agent, Tool]);
        assert!(trace.spans.iter().any(Span::failed));
        assert_eq!(trace.tools_used().len(), 1);
    }

    #[test]
    fn thoughts_and_what_is_passed_on_are_shown() {
        let steps: Vec<CalibrationStep> = serde_json::from_str(
            r#"[{"agent": "front", "thinks": "billing owns this", "says": "one moment"},
                {"handoff": "billing", "arguments": {"order": 7}}]"#,
        )
        .unwrap();
        let text = super::super::transcript(&trace_of_steps("t", &steps), 10_000).text;
        for line in ["front thinks: billing owns this", "front says: one moment", "to billing", r#"input: {"order":7}"#]
        {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn all_wrong_lines_are_named_at_once() {
        let text = "{\"id\":\"a\",\"input\":1,\"output\":2,\"label\":\"good\"}\n\nnot json\n\
            {\"id\":\"a\",\"input\":1,\"output\":2,\"lable\":\"pass\"}\n{\"id\":\"a\",\"input\":1,\"output\":2,\"label\":\"pass\"}";
        let mut problems = Vec::new();
        let examples = parse_lines(text, Labels::One(&binary()), &mut problems);
        assert_eq!(examples.len(), 2);
        let lines: Vec<_> = problems.iter().filter_map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 3, 4, 5]);
        assert_eq!(problems[2].hint.as_deref(), Some("did you mean `label`?"));
    }

    #[test]
    fn labels_of_criteria_are_held_against_the_scale_of_each() {
        let criterion = |name: &str, scale| Criterion {
            name: name.to_owned(),
            summary: String::new(),
            scale,
            direction: crate::model::Direction::Higher,
        };
        let stars = RubricScale::Number { min: 1.0, max: 5.0, step: Some(1.0), anchors: Vec::new() };
        let criteria = [criterion("accuracy", stars), criterion("tone", binary())];
        let line = |id: u32, label: &str| format!(r#"{{"id": "{id}", "input": 1, "output": 2, "label": {label}}}"#);
        let labels = [
            r#"{"accuracy": 4, "tone": "pass"}"#,
            r#"{"tone": "fail"}"#,
            r#""pass""#,
            r#"{"accuracy": 9}"#,
            r#"{"style": "pass"}"#,
            "{}",
        ];
        let text: Vec<String> = (0..).zip(labels).map(|(id, label)| line(id, label)).collect();
        let mut problems = Vec::new();
        parse_lines(&text.join("\n"), Labels::Each(&criteria), &mut problems);
        let found: Vec<_> = problems.iter().map(|problem| (problem.line.unwrap(), problem.at.as_str())).collect();
        assert_eq!(found, [(3, "label"), (4, "label.accuracy"), (5, "label.style"), (6, "label")]);
    }
}
