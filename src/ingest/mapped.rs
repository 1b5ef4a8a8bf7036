//! Rows of any table of spans or of whole interactions as traces, by a mapping that says which field is what.
//!
//! Fields are written as in the mappings of datasets: names, dotted paths, JSON pointers, or tables with a regular
//! expression or a fixed value. A row without a span id is a whole interaction; one with `messages` is its dialogue.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dataset::{DatasetError, Field, FieldRef, Place, Row, RowError, trace_of_messages};
use crate::model::{Digest, Native, Span, SpanKind, SpanStatus, TraceId, Usage};

use super::SourceInfo;
use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::ids::{native_span, native_trace};
use super::json::describe;
use super::open::Opened;
use super::raw::RawSpan;
use super::rows;
use super::times::{self, Unit};

/// The row of this source. Nothing is recognised: the mapping asks for it.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "mapped",
    summary: "rows of spans or interactions as JSON lines, JSON, CSV or Parquet, by a mapping (`--map`)",
    recognise: |_| None,
    read,
    row: None,
};

const PLATFORM: &str = "mapped";

/// Which field of a row of spans or interactions is what. Rows may lack any field; what no row has is reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceMapping {
    /// JSON pointer to the list of rows in each record, where a record is not a row itself: `/data/spans`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// Id of the trace, of any form. Without it each row is a trace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<FieldRef>,
    /// Id of the span, of any form. Without it each row is a whole interaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<FieldRef>,
    /// Id of the span above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<FieldRef>,
    /// Name of the span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<FieldRef>,
    /// Kind of the span, in a word of `kinds` or one of `agent`, `model`, `tool`, `retrieval`, `handoff`, `guardrail`,
    /// `evaluator`, `step`, `other`. Without it: `model` where a model or tokens are said, else `agent` for
    /// interactions and `step` for spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FieldRef>,
    /// What the words of the file mean: `{ llm = "model", function = "tool" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, SpanKind>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<FieldRef>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<FieldRef>,
    /// Unit of times that are plain numbers, since 1970. Without it, told by magnitude.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<TimeUnit>,
    /// How long it took, instead of `end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<FieldRef>,
    /// Unit of `duration`; milliseconds without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_unit: Option<TimeUnit>,
    /// What went in: text, an object, or chat messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<FieldRef>,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<FieldRef>,
    /// A whole dialogue in the chat format of OpenAI; its turns and tool calls become spans below the row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<FieldRef>,
    /// Model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<FieldRef>,
    /// Provider of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<FieldRef>,
    /// Tokens read, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<FieldRef>,
    /// Tokens written, reasoning included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<FieldRef>,
    /// The part of the tokens read that came from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<FieldRef>,
    /// Cost, US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<FieldRef>,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<FieldRef>,
    /// Session or conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<FieldRef>,
    /// Error text; a row that has one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FieldRef>,
    /// Name of the tool of a tool span; the span's name without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<FieldRef>,
    /// Further attributes: name to field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, FieldRef>,
    /// Attributes of the process, such as `"service.version"`: name to field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource: BTreeMap<String, FieldRef>,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TimeUnit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanos,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
}

impl TimeUnit {
    fn nanos(self) -> f64 {
        match self {
            Self::Nanos => 1.0,
            Self::Micros => 1e3,
            Self::Millis => 1e6,
            Self::Seconds => 1e9,
        }
    }
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let Some(mapping) = gate.options.map else {
        let problem = Problem::new("mapping", "none", "a mapping of fields; give one with `--map`");
        return gate.reject(problem, None, &[]);
    };
    let mut reader = match Reader::new(mapping, &opened.file) {
        Ok(reader) => reader,
        Err(error) => return gate.reject(Problem::new("mapping", error.to_string(), "a sound mapping"), None, &[]),
    };
    rows::each_with(opened, gate, &[], &mut |record, line, gate| reader.record(record, line, gate))?;
    reader.finish(gate)
}

/// One field of the mapping and whether any row had it.
struct Mapped {
    field: Field,
    met: bool,
}

struct Reader<'a> {
    mapping: &'a TraceMapping,
    file: String,
    fields: BTreeMap<String, Mapped>,
    rows: u64,
    /// Fields of the first rows, for the message about fields that no row has.
    known: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(mapping: &'a TraceMapping, file: &str) -> Result<Self, DatasetError> {
        let single = [
            ("trace_id", &mapping.trace_id),
            ("span_id", &mapping.span_id),
            ("parent_id", &mapping.parent_id),
            ("name", &mapping.name),
            ("kind", &mapping.kind),
            ("start", &mapping.start),
            ("end", &mapping.end),
            ("duration", &mapping.duration),
            ("input", &mapping.input),
            ("output", &mapping.output),
            ("messages", &mapping.messages),
            ("model", &mapping.model),
            ("provider", &mapping.provider),
            ("input_tokens", &mapping.input_tokens),
            ("output_tokens", &mapping.output_tokens),
            ("cached_tokens", &mapping.cached_tokens),
            ("cost", &mapping.cost),
            ("user", &mapping.user),
            ("session", &mapping.session),
            ("error", &mapping.error),
            ("tool", &mapping.tool),
        ];
        let single = single.into_iter().filter_map(|(key, field)| Some((key.to_owned(), field.as_ref()?)));
        let named = |table: &str, fields: &'a BTreeMap<String, FieldRef>| {
            let table = table.to_owned();
            fields.iter().map(move |(name, field)| (format!("{table}.{name}"), field))
        };
        let all = single.chain(named("attributes", &mapping.attributes)).chain(named("resource", &mapping.resource));
        let compile = |(key, field): (String, &FieldRef)| {
            let field = Field::new(&key, field)?;
            Ok((key, Mapped { field, met: false }))
        };
        let fields = all.map(compile).collect::<Result<_, DatasetError>>()?;
        Ok(Self { mapping, file: file.to_owned(), fields, rows: 0, known: Vec::new() })
    }

    fn record(&mut self, mut record: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
        let Some(pointer) = &self.mapping.rows else { return self.row(record, line, gate) };
        match record.pointer_mut(pointer).map(Value::take) {
            Some(Value::Array(items)) => items.into_iter().try_for_each(|item| self.row(item, line, gate)),
            Some(row @ Value::Object(_)) => self.row(row, line, gate),
            other => {
                let found = other.as_ref().map_or("nothing".to_owned(), describe);
                gate.reject(Problem::new(format!("`{pointer}`"), found, "a list of rows"), line, &[])
            }
        }
    }

    fn row(&mut self, fields: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
        self.rows += 1;
        let text = |fields: &Value| fields.to_string().into_bytes();
        let Some(map) = fields.as_object() else {
            return gate.reject(Problem::new("row", describe(&fields), "an object"), line, &text(&fields));
        };
        if self.known.is_empty() {
            self.known = map.keys().take(40).cloned().collect();
        }
        let row = Row { line: line.unwrap_or(self.rows), fields, untyped: false };
        for mapped in self.fields.values_mut().filter(|mapped| !mapped.met) {
            mapped.met = mapped.field.note(&row);
        }
        if !self.fields.values().any(|mapped| mapped.field.is_said_by(&row)) {
            let problem =
                Problem::new("row", "none of the mapped fields", "a row in which at least one says something");
            return gate.reject(problem, line, &text(&row.fields));
        }
        match self.spans(&row) {
            Ok(spans) => spans.into_iter().try_for_each(|span| gate.admit(span, line)),
            Err(problem) => gate.reject(problem, line, &text(&row.fields)),
        }
    }

    /// A field that no row has is a slip of the mapping; it is said once.
    fn finish(&self, gate: &mut Gate<'_>) -> Result<(), IngestError> {
        let unmet = self.fields.iter().filter(|(_, mapped)| self.rows > 0 && !mapped.met && !mapped.field.optional);
        for (key, mapped) in unmet {
            let known: Vec<String> = self.known.iter().map(|name| format!("`{name}`")).collect();
            let found = format!("mapped to `{}`, which no row has", mapped.field.shown_path());
            let expected = format!("a field of the rows, which begin with {}", known.join(", "));
            gate.reject(Problem::new(format!("`{key}` of the mapping"), found, expected), None, &[])?;
        }
        Ok(())
    }

    fn take(&self, key: &str, row: &Row) -> Result<Option<Value>, Problem> {
        let Some(mapped) = self.fields.get(key).filter(|mapped| mapped.field.is_in(row)) else { return Ok(None) };
        mapped.field.take(row, Place { file: Path::new(&self.file), line: row.line }).map_err(problem_of)
    }

    fn text(&self, key: &str, row: &Row) -> Result<Option<String>, Problem> {
        Ok(match self.take(key, row)? {
            Some(Value::String(text)) => Some(text).filter(|text| !text.trim().is_empty()),
            Some(scalar @ (Value::Number(_) | Value::Bool(_))) => Some(scalar.to_string()),
            Some(other) => return Err(Problem::new(format!("`{key}`"), describe(&other), "text or a number")),
            None => None,
        })
    }

    fn number(&self, key: &str, row: &Row) -> Result<Option<f64>, Problem> {
        let Some(value) = self.take(key, row)? else { return Ok(None) };
        let number = match &value {
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        let number = number.filter(|number: &f64| number.is_finite() && *number >= 0.0);
        number.map(Some).ok_or_else(|| Problem::new(format!("`{key}`"), describe(&value), "a number from 0 up"))
    }

    fn time(&self, key: &str, row: &Row) -> Result<Option<i64>, Problem> {
        let Some(value) = self.take(key, row)? else { return Ok(None) };
        let plain = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match (plain, self.mapping.unit) {
            (Some(count), Some(unit)) => nanos(&value, count, unit)
                .map(Some)
                .ok_or_else(|| Problem::new(format!("`{key}`"), describe(&value), "a time between 1970 and 2262")),
            _ => times::read(Some(&value), key, Unit::Unsaid),
        }
    }

    fn spans(&self, row: &Row) -> Result<Vec<RawSpan>, Problem> {
        let native_id = self.text("trace_id", row)?;
        let own = Digest::of_json(&row.fields);
        let trace = native_id.unwrap_or_else(|| own.as_str().to_owned());
        let span_native = self.text("span_id", row)?;
        let trace_id = native_trace(PLATFORM, &trace);
        let local = span_native.clone().unwrap_or_else(|| own.as_str().to_owned());
        let span = |id: &str| native_span(PLATFORM, &trace_id, id);
        let mut raw = RawSpan { span_id: span(&local), trace_id: trace_id.clone(), ..RawSpan::default() };
        raw.parent_id = self.text("parent_id", row)?.filter(|parent| *parent != local).map(|parent| span(&parent));
        raw.native = Some(Native { platform: PLATFORM.to_owned(), trace, span: span_native, project: None });
        self.moment(&mut raw, row)?;
        self.content(&mut raw, row)?;
        self.say(&mut raw, row)?;
        let Some(messages) = self.take("messages", row)? else { return Ok(vec![raw]) };
        raw.kind = Some(SpanKind::Agent);
        self.dialogue(raw, &super::json::structured(messages))
    }

    fn moment(&self, raw: &mut RawSpan, row: &Row) -> Result<(), Problem> {
        raw.start_ns = self.time("start", row)?.unwrap_or(0);
        raw.end_ns = self.time("end", row)?;
        if let Some(took) = self.number("duration", row)?.filter(|_| raw.end_ns.is_none()) {
            let unit = self.mapping.duration_unit.unwrap_or(TimeUnit::Millis);
            raw.end_ns = raw.start_ns.checked_add((took * unit.nanos()) as i64);
        }
        Ok(())
    }

    fn content(&self, raw: &mut RawSpan, row: &Row) -> Result<(), Problem> {
        let model = self.text("model", row)?;
        let count =
            |key: &str| -> Result<Option<u64>, Problem> { Ok(self.number(key, row)?.map(|count| count as u64)) };
        let usage = Usage {
            input: count("input_tokens")?,
            output: count("output_tokens")?,
            cache_read: count("cached_tokens")?,
            ..Usage::default()
        };
        let speaks = model.is_some() || !usage.is_unknown();
        let kind = match self.text("kind", row)? {
            Some(word) => self.kind(&word),
            None if speaks => SpanKind::Model,
            None if self.mapping.span_id.is_none() => SpanKind::Agent,
            None => SpanKind::Step,
        };
        raw.kind = Some(kind);
        raw.usage = Some(usage);
        raw.cost_usd = self.number("cost", row)?;
        let name = self.text("name", row)?.or_else(|| model.clone());
        raw.name = name.unwrap_or_else(|| kind.as_str().to_owned());
        let mut set =
            |key: &str, value: Option<Value>| drop(value.map(|value| raw.attributes.insert(key.to_owned(), value)));
        set("gen_ai.request.model", model.map(Value::String));
        set("gen_ai.provider.name", self.text("provider", row)?.map(Value::String));
        set("gen_ai.tool.name", self.text("tool", row)?.map(Value::String));
        set("input.value", self.take("input", row)?);
        set("output.value", self.take("output", row)?);
        set("user.id", self.text("user", row)?.map(Value::String));
        set("session.id", self.text("session", row)?.map(Value::String));
        Ok(())
    }

    fn say(&self, raw: &mut RawSpan, row: &Row) -> Result<(), Problem> {
        if let Some(error) = self.text("error", row)? {
            raw.status = SpanStatus::Error;
            raw.status_message = Some(error);
        }
        for name in self.mapping.attributes.keys() {
            raw.attributes.extend(self.take(&format!("attributes.{name}"), row)?.map(|value| (name.clone(), value)));
        }
        for name in self.mapping.resource.keys() {
            let said = self.take(&format!("resource.{name}"), row)?.map(|value| (name.clone(), value));
            Arc::make_mut(&mut raw.resource).extend(said);
        }
        Ok(())
    }

    fn kind(&self, word: &str) -> SpanKind {
        let said = self.mapping.kinds.get(word).copied();
        said.or_else(|| serde_json::from_value(json!(word.to_lowercase())).ok()).unwrap_or(SpanKind::Other)
    }

    /// The row's span with the spans of its dialogue below.
    fn dialogue(&self, mut root: RawSpan, messages: &Value) -> Result<Vec<RawSpan>, Problem> {
        let trace = trace_of_messages(messages, TraceId::new(root.trace_id.clone()))
            .map_err(|fault| Problem::new(format!("`messages{}`", fault.at), fault.found, fault.expected))?;
        let mut turns = trace.spans.into_iter();
        if let Some(first) = turns.next() {
            root.keep("gen_ai.input.messages", json!(first.messages_in));
            root.keep("gen_ai.output.messages", json!(first.messages_out));
        }
        let model = root.attributes.get("gen_ai.request.model").cloned();
        let mut spans = vec![root.clone()];
        for turn in turns {
            let mut raw = self.turn(&root, turn);
            if raw.kind == Some(SpanKind::Model) {
                raw.attributes.extend(model.clone().map(|model| ("gen_ai.request.model".to_owned(), model)));
            }
            spans.push(raw);
        }
        // Tokens are counted on model spans only: where there is one call, they are its own.
        let mut calls = spans.iter_mut().filter(|span| span.kind == Some(SpanKind::Model));
        if let (Some(only), None) = (calls.next(), calls.next()) {
            (only.usage, only.cost_usd) = (root.usage.clone(), root.cost_usd);
            if let Some(first) = spans.first_mut() {
                (first.usage, first.cost_usd) = (None, None);
            }
        }
        Ok(spans)
    }

    fn turn(&self, root: &RawSpan, turn: Span) -> RawSpan {
        let local = format!("{}/{}", root.span_id, turn.span_id);
        let mut raw = RawSpan {
            trace_id: root.trace_id.clone(),
            span_id: native_span(PLATFORM, &root.trace_id, &local),
            parent_id: Some(root.span_id.clone()),
            name: turn.name,
            start_ns: root.start_ns.saturating_add(turn.start_ns),
            kind: Some(turn.kind),
            native: root.native.clone(),
            resource: root.resource.clone(),
            ..RawSpan::default()
        };
        raw.keep("gen_ai.input.messages", json!(turn.messages_in));
        raw.keep("gen_ai.output.messages", json!(turn.messages_out));
        if let Some(tool) = turn.tool {
            raw.keep("gen_ai.tool.name", json!(tool.name));
            raw.keep("gen_ai.tool.call.id", json!(tool.call_id));
            raw.keep("gen_ai.tool.call.arguments", tool.arguments.unwrap_or_default());
            raw.keep("gen_ai.tool.call.result", tool.result.unwrap_or_default());
        }
        raw
    }
}

fn problem_of(error: RowError) -> Problem {
    Problem::new(format!("`{}`", error.field), error.found, error.expected)
}

/// A count of units since 1970 as nanoseconds; whole counts keep all their digits.
fn nanos(value: &Value, count: f64, unit: TimeUnit) -> Option<i64> {
    let whole = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
    if let Some(whole) = whole {
        return whole.checked_mul(unit.nanos() as i64).filter(|nanos| *nanos >= 0);
    }
    // Whole units first, so that the fraction keeps its precision.
    let nanos = (count.trunc() as i64).checked_mul(unit.nanos() as i64)?;
    nanos.checked_add((count.fract() * unit.nanos()).round() as i64).filter(|nanos| *nanos >= 0)
}

#[cfg(test)]
#[path = "mapped_tests.rs"]
mod tests;
