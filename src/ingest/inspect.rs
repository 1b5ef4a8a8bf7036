//! Logs of Inspect AI as traces: each sample is a trace, its events are spans, its scores are scores of the trace.
//!
//! Opening a log and putting its references back is `dataset::formats`'; what an event means is `inspect_events`'.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::dataset::formats::{InspectLog, InspectSample, is_inspect_log};
use crate::model::{Native, ScoreOrigin, SpanKind, SpanStatus, TraceId, TraceScore};

use super::SourceInfo;
use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::ids::{native_span, native_trace};
use super::inspect_events::{Events, message, reply_text};
use super::json::describe;
use super::open::{Head, Opened};
use super::raw::{Attributes, RawSpan};
use super::times::{self, Unit};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "inspect",
    summary: "Inspect AI logs, `.eval` or JSON: samples as traces, events as spans, scores",
    recognise,
    read,
    row: None,
};

/// Name of the platform in native ids.
pub(super) const PLATFORM: &str = "inspect";

fn recognise(head: &Head<'_>) -> Option<String> {
    is_inspect_log(head.bytes)
}

fn read(mut opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let limit = gate.options.max_record_bytes as u64;
    let mut log = match InspectLog::open(&mut opened, limit) {
        Ok(log) => log,
        Err(cause) => return gate.reject(Problem::new("log", cause, "a whole log of Inspect"), None, &[]),
    };
    let run = Run::of(&log.head);
    let mut samples = 0;
    while let Some((name, sample)) = log.next_sample() {
        samples += 1;
        match sample {
            Ok(sample) => run.sample(&name, &sample, gate)?,
            Err(cause) => gate.reject(Problem::new(format!("`{name}`"), cause, "a whole sample"), None, &[])?,
        }
    }
    if samples == 0 {
        gate.ignore("logs without samples", 1);
    }
    Ok(())
}

/// What is the same for every sample of a log.
pub(super) struct Run {
    /// Distinguishes this run of a task from all others.
    id: String,
    task: String,
    model: String,
    resource: Arc<Attributes>,
    /// When the task was started; stands in for samples without times.
    created_ns: i64,
}

impl Run {
    fn of(head: &Value) -> Self {
        let text = |path: &str| head.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let run = ["/eval/eval_id", "/eval/run_id", "/eval/task_id"].iter().filter_map(|path| text(path));
        let task = text("/eval/task").unwrap_or_else(|| "task".to_owned());
        let model = text("/eval/model").unwrap_or_default();
        let said = [
            ("service.name", "/eval/task"),
            ("service.version", "/eval/revision/commit"),
            ("inspect.task", "/eval/task"),
            ("inspect.task_version", "/eval/task_version"),
            ("inspect.model", "/eval/model"),
            ("inspect.eval_id", "/eval/eval_id"),
            ("inspect.run_id", "/eval/run_id"),
            ("inspect.task_id", "/eval/task_id"),
            ("inspect.dataset", "/eval/dataset/name"),
            ("inspect.status", "/status"),
            ("inspect.version", "/eval/packages/inspect_ai"),
        ];
        let value = |path: &str| head.pointer(path).filter(|value| !value.is_null()).cloned();
        let resource: Attributes =
            said.iter().filter_map(|(key, path)| Some(((*key).to_owned(), value(path)?))).collect();
        let resource = Arc::new(resource);
        let created = ["/eval/created", "/stats/started_at"].iter().filter_map(|path| head.pointer(path));
        let created_ns = created.filter_map(time).next().unwrap_or(0);
        Self { id: run.collect::<Vec<_>>().join("/"), task, model, resource, created_ns }
    }

    fn sample(&self, name: &str, sample: &InspectSample, gate: &mut Gate<'_>) -> Result<(), IngestError> {
        let id = match sample.fields.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            other => {
                let found = other.map_or("nothing".to_owned(), describe);
                let problem = Problem::new(format!("`id` of `{name}`"), found, "text or a number");
                return gate.reject(problem, None, &[]);
            }
        };
        let epoch = sample.fields.get("epoch").and_then(Value::as_u64).unwrap_or(1);
        let uuid = sample.fields.get("uuid").and_then(Value::as_str).map(str::to_owned);
        let native = uuid.unwrap_or_else(|| format!("{}/{id}/{epoch}", self.id));
        let place = Place::new(&native, &self.resource, self.model.clone());
        let mut root = place.span("sample", SpanKind::Agent, self.task.clone(), self.created_ns);
        self.fill(&mut root, sample, &id, epoch);
        let mut events = Events::new(&place, sample, &root.span_id, root.start_ns);
        events.read();
        // A sample's own clock runs from the first event to the last where it does not say so itself.
        if time_of(sample, "started_at").is_none() {
            root.start_ns = events.first_ns.unwrap_or(self.created_ns);
        }
        root.end_ns = time_of(sample, "completed_at").or(events.last_ns);
        let (spans, ignored) = (std::mem::take(&mut events.spans), std::mem::take(&mut events.ignored));
        gate.admit(root, None)?;
        for span in spans {
            gate.admit(span, None)?;
        }
        for (kind, count) in ignored {
            gate.ignore(&format!("Inspect events `{kind}`"), count);
        }
        scores(&place, sample, gate)
    }

    fn fill(&self, root: &mut RawSpan, sample: &InspectSample, id: &str, epoch: u64) {
        root.start_ns = time_of(sample, "started_at").unwrap_or(self.created_ns);
        let mut set =
            |key: &str, value: Option<Value>| drop(value.map(|value| root.attributes.insert(key.to_owned(), value)));
        set("gen_ai.agent.name", Some(json!(self.task)));
        set("inspect.sample.id", Some(json!(id)));
        set("inspect.sample.epoch", Some(json!(epoch)));
        set("inspect.sample.target", sample.field("target").filter(|target| target.as_str() != Some("")));
        set("inspect.sample.choices", sample.field("choices"));
        set("inspect.sample.limit", sample.field("limit"));
        set(
            "input.value",
            sample.field("input").map(|input| match input {
                Value::Array(items) => items.iter().map(message).collect(),
                text => text,
            }),
        );
        set("output.value", sample.fields.get("output").and_then(reply_text).map(|text| sample.resolved(&text)));
        if let Some(Value::Object(metadata)) = sample.field("metadata") {
            for (key, value) in metadata {
                root.attributes.insert(format!("inspect.metadata.{key}"), value);
            }
        }
        if let Some(error) = sample.field("error") {
            root.status = SpanStatus::Error;
            root.status_message = error.get("message").and_then(Value::as_str).map(str::to_owned);
        }
    }
}

/// Where the spans of one sample belong.
pub(super) struct Place<'a> {
    trace_id: String,
    native: String,
    resource: &'a Arc<Attributes>,
    /// The model of the task, for messages of a log without events.
    pub(super) model: String,
}

impl<'a> Place<'a> {
    fn new(native: &str, resource: &'a Arc<Attributes>, model: String) -> Self {
        Self { trace_id: native_trace(PLATFORM, native), native: native.to_owned(), resource, model }
    }

    /// The span id of what the log calls so.
    pub(super) fn id(&self, local: &str) -> String {
        native_span(PLATFORM, &self.trace_id, local)
    }

    /// A span of the sample.
    pub(super) fn span(&self, local: &str, kind: SpanKind, name: String, start_ns: i64) -> RawSpan {
        RawSpan {
            trace_id: self.trace_id.clone(),
            span_id: self.id(local),
            name,
            start_ns,
            resource: Arc::clone(self.resource),
            kind: Some(kind),
            native: Some(Native {
                platform: PLATFORM.to_owned(),
                trace: self.native.clone(),
                span: Some(local.to_owned()),
                project: None,
            }),
            ..RawSpan::default()
        }
    }
}

/// A time of an event or sample; `None` when absent or not to be read.
pub(super) fn time(value: &Value) -> Option<i64> {
    times::read(Some(value), "timestamp", Unit::Unsaid).ok().flatten()
}

fn time_of(sample: &InspectSample, name: &str) -> Option<i64> {
    sample.fields.get(name).and_then(time)
}

/// The scores of a sample; those of logs before scorers had names stand under `score`.
fn scores(place: &Place<'_>, sample: &InspectSample, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let scores = match sample.field("scores") {
        Some(Value::Object(scores)) => scores,
        _ => sample.field("score").map(|score| Map::from_iter([("score".to_owned(), score)])).unwrap_or_default(),
    };
    for (name, score) in scores {
        let comment = score.get("explanation").and_then(Value::as_str).map(str::to_owned);
        let parts: Vec<(String, &Value)> = match score.get("value") {
            Some(Value::Object(parts)) => parts.iter().map(|(part, value)| (format!("{name}.{part}"), value)).collect(),
            Some(Value::Array(parts)) => {
                parts.iter().enumerate().map(|(index, value)| (format!("{name}.{index}"), value)).collect()
            }
            Some(value) => vec![(name.clone(), value)],
            None => Vec::new(),
        };
        for (part, value) in parts {
            let (value, label) = number_and_word(value);
            let score = TraceScore {
                trace_id: Some(TraceId::new(place.trace_id.clone())),
                span_id: None,
                session_id: None,
                name: part,
                value,
                label,
                comment: comment.clone(),
                origin: ScoreOrigin::Evaluator,
                author: Some(name.clone()),
                at_ns: None,
                source: crate::model::Source::default(),
            };
            gate.admit_score(score, None)?;
        }
    }
    Ok(())
}

/// Inspect's letters are the numbers that its own metrics are made from.
fn number_and_word(value: &Value) -> (Option<f64>, Option<String>) {
    match value {
        Value::Number(number) => (number.as_f64(), None),
        Value::Bool(flag) => (Some(f64::from(u8::from(*flag))), None),
        Value::String(word) => {
            let number = match word.as_str() {
                "C" => Some(1.0),
                "P" => Some(0.5),
                "I" | "N" => Some(0.0),
                _ => None,
            };
            (number, Some(word.clone()))
        }
        _ => (None, None),
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
