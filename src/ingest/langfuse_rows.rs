//! What the fields of Langfuse's rows mean: an observation, a score, what is said of a trace as a whole.
//!
//! Two spellings (`traceId`, `trace_id`), values that may be JSON in a text, times without a zone (they are UTC).
//! `latency` is not read: its unit changed. Whatever has no meaning here stays an attribute under `langfuse.`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::{Native, ScoreOrigin, SessionId, Source, SpanId, SpanStatus, TraceId, TraceScore};

use super::dialect::{flatten, number, score_origin, usage_of_buckets};
use super::error::Problem;
use super::ids;
use super::json::{describe, structured};
use super::raw::{Attributes, RawSpan};
use super::times::{self, Unit};

/// The platform's name in [`Native`].
pub(super) const PLATFORM: &str = "langfuse";

/// Fields that repeat others, belong to the bookkeeping of the server, or cannot be trusted.
const LEFT_OUT: &[&str] = &[
    "createdAt",
    "updatedAt",
    "latency",
    "inputUsage",
    "outputUsage",
    "totalUsage",
    "promptTokens",
    "completionTokens",
    "totalTokens",
    "inputCost",
    "outputCost",
    "calculatedInputCost",
    "calculatedOutputCost",
    "calculatedTotalCost",
    "internalModel",
    "internalModelId",
    "htmlPath",
    "scores",
    "observations",
    "corrections",
    "traceTimestamp",
];

/// The fields of a row under the names of the interface (`traceId`, not `trace_id`).
pub(super) struct Fields(BTreeMap<String, Value>);

impl Fields {
    pub(super) fn new(map: Map<String, Value>) -> Self {
        Self(map.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (camel(&key), value)).collect())
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    /// A text that says something; numbers count as text.
    fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn needed(&mut self, key: &str) -> Result<String, Problem> {
        let found = self.0.get(key).map_or_else(|| "missing".to_owned(), describe);
        self.text(key).ok_or_else(|| Problem::new(format!("`{key}`"), found, "a text that is not empty"))
    }

    fn time(&mut self, key: &str) -> Result<Option<i64>, Problem> {
        times::read(self.take(key).as_ref(), key, Unit::Unsaid)
    }

    /// An object, whether it comes as one or as JSON in a text.
    fn object(&mut self, key: &str) -> Map<String, Value> {
        match self.take(key).map(structured) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(flag) => Some(flag),
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_u64().map(|number| number != 0),
            _ => None,
        }
    }
}

/// `parent_observation_id` as `parentObservationId`.
fn camel(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    let mut upper = false;
    for letter in key.chars() {
        match (letter, upper) {
            ('_', _) => upper = !name.is_empty(),
            (letter, true) => {
                name.extend(letter.to_uppercase());
                upper = false;
            }
            (letter, false) => name.push(letter),
        }
    }
    name
}

/// The beginning of a row for an error message: which one it is.
pub(super) fn excerpt(map: &Map<String, Value>) -> String {
    let keys = ["id", "traceId", "trace_id", "name", "type", "startTime", "start_time"];
    let named: Map<String, Value> =
        keys.iter().filter_map(|key| Some(((*key).to_owned(), map.get(*key)?.clone()))).collect();
    Value::Object(named).to_string()
}

/// Reads one observation.
pub(super) fn observation(mut fields: Fields) -> Result<RawSpan, Problem> {
    let (id, trace) = (fields.needed("id")?, fields.needed("traceId")?);
    let start_ns = fields.time("startTime")?;
    let parent = fields.text("parentObservationId");
    let is_root = fields.flag("isRootObservation").unwrap_or(false);
    let mut raw = RawSpan {
        trace_id: ids::native_trace(PLATFORM, &trace),
        span_id: ids::native_span(PLATFORM, &trace, &id),
        // Decisive: the root of an application may name a parent outside of it.
        parent_id: parent.as_deref().filter(|_| !is_root).map(|parent| ids::native_span(PLATFORM, &trace, parent)),
        name: fields.text("name").unwrap_or_default(),
        start_ns: start_ns.ok_or_else(|| Problem::new("`startTime`", "missing", "a time"))?,
        end_ns: fields.time("endTime")?,
        status_message: fields.text("statusMessage"),
        native: Some(Native {
            platform: PLATFORM.to_owned(),
            trace,
            span: Some(id),
            project: fields.text("projectId"),
        }),
        ..RawSpan::default()
    };
    if let Some(parent) = parent.filter(|_| is_root) {
        raw.keep("langfuse.observation.foreign_parent", Value::from(parent));
    }
    level(&mut fields, &mut raw);
    usage(&mut fields, &mut raw);
    cost(&mut fields, &mut raw);
    let content = (fields.take("input"), fields.take("output"));
    tracer(&mut fields, &mut raw, &content);
    let input = content.0.map(|input| without_tools(input, &mut raw));
    for (side, value) in [("input", input), ("output", content.1)] {
        if let Some(value) = value {
            raw.keep(&format!("langfuse.observation.{side}"), value);
        }
    }
    Whole::of(&mut fields).share(&mut raw);
    named(&mut fields, &mut raw);
    raw.attributes = flatten(std::mem::take(&mut raw.attributes));
    Ok(raw)
}

/// Levels are of logs; only an error says how the step went.
fn level(fields: &mut Fields, raw: &mut RawSpan) {
    match fields.text("level").as_deref() {
        Some("ERROR") => raw.status = SpanStatus::Error,
        Some("DEFAULT") | None => {}
        Some(other) => raw.keep("langfuse.observation.level", Value::from(other)),
    }
}

fn usage(fields: &mut Fields, raw: &mut RawSpan) {
    let older = fields.object("usage");
    let mut buckets = fields.object("usageDetails");
    let counts_tokens = older.get("unit").and_then(Value::as_str).is_none_or(|unit| unit == "TOKENS");
    if buckets.is_empty() && counts_tokens {
        buckets = older;
    } else if !counts_tokens {
        raw.keep("langfuse.observation.usage", Value::Object(older));
    }
    raw.usage = Some(usage_of_buckets(&buckets)).filter(|usage| !usage.is_unknown());
    if !buckets.is_empty() {
        raw.keep("langfuse.observation.usage_details", Value::Object(buckets));
    }
}

/// The stated cost. Zero without details is how Langfuse writes that it knows none.
fn cost(fields: &mut Fields, raw: &mut RawSpan) {
    let details = fields.object("costDetails");
    let total = fields.take("totalCost").or_else(|| fields.0.get("calculatedTotalCost").cloned());
    let total = total.as_ref().and_then(number).filter(|cost| *cost > 0.0 || *cost == 0.0 && !details.is_empty());
    raw.cost_usd = total.or_else(|| details.get("total").and_then(number).filter(|cost| *cost >= 0.0));
    if !details.is_empty() {
        raw.keep("langfuse.observation.cost_details", Value::Object(details));
    }
}

/// Spans that reached Langfuse over OpenTelemetry bring their own attributes along inside the metadata. They say more
/// than the columns made from them; what repeats input or output word for word is left out.
fn tracer(fields: &mut Fields, raw: &mut RawSpan, content: &(Option<Value>, Option<Value>)) {
    let mut metadata = match fields.take("metadata").map(structured) {
        Some(Value::Object(map)) => map,
        other => {
            raw.keep("langfuse.observation.metadata", other.into());
            return;
        }
    };
    let mut object = |key: &str| match metadata.remove(key).map(structured) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (attributes, resource, scope) = (object("attributes"), object("resourceAttributes"), object("scope"));
    let echo = |value: &Value| Some(value) == content.0.as_ref() || Some(value) == content.1.as_ref();
    raw.attributes.extend(attributes.into_iter().filter(|(_, value)| value.is_object() || !echo(value)));
    Arc::make_mut(&mut raw.resource).extend(resource);
    super::span_json::keep_scope(raw, &scope);
    for (key, value) in metadata {
        raw.keep(&format!("langfuse.observation.metadata.{key}"), value);
    }
}

/// Langfuse's handler for LangChain writes the tools on offer behind the messages, as messages of a tool. They are
/// kept apart, where OpenTelemetry has them.
fn without_tools(input: Value, raw: &mut RawSpan) -> Value {
    let offered = |item: &Value| {
        item.get("role") == Some(&Value::from("tool"))
            && item.get("tool_call_id").is_none()
            && item.pointer("/content/function/name").is_some()
    };
    match structured(input.clone()) {
        Value::Array(items) if items.iter().any(offered) => {
            let (tools, rest): (Vec<Value>, Vec<Value>) = items.into_iter().partition(offered);
            raw.keep("gen_ai.tool.definitions", tools.iter().filter_map(|tool| tool.get("content").cloned()).collect());
            Value::Array(rest)
        }
        _ => input,
    }
}

/// The columns that have a name in Langfuse's own vocabulary, and those that have none.
fn named(fields: &mut Fields, raw: &mut RawSpan) {
    let model = fields.text("providedModelName").or_else(|| fields.text("model"));
    raw.keep("langfuse.observation.model.name", model.into());
    for (field, key) in [
        ("modelParameters", "model.parameters"),
        ("promptName", "prompt.name"),
        ("promptVersion", "prompt.version"),
        ("completionStartTime", "completion_start_time"),
    ] {
        if let Some(value) = fields.take(field) {
            let empty = structured(value.clone()).as_object().is_some_and(Map::is_empty);
            if !empty {
                raw.keep(&format!("langfuse.observation.{key}"), value);
            }
        }
    }
    if let Some(kind) = fields.text("type") {
        raw.attributes.insert("langfuse.observation.type".to_owned(), Value::from(kind.to_lowercase()));
    }
    for (key, value) in std::mem::take(&mut fields.0) {
        let empty = value.as_object().is_some_and(Map::is_empty) || value == "{}" || value == "[]";
        if !empty && !LEFT_OUT.contains(&key.as_str()) {
            raw.keep(&format!("langfuse.observation.{key}"), value);
        }
    }
}

/// What is said of a trace as a whole: in a row of its own, or in the columns of its observations.
pub(super) struct Whole {
    native: String,
    project: Option<String>,
    name: Option<String>,
    start_ns: Option<i64>,
    shared: Attributes,
    input: Option<Value>,
    output: Option<Value>,
    metadata: Fields,
}

/// Reads the row of a trace.
pub(super) fn whole(mut fields: Fields) -> Result<Whole, Problem> {
    let native = fields.needed("id")?;
    let name = fields.text("name");
    let start_ns = fields.time("timestamp")?;
    let (input, output) = (fields.take("input").map(undumped), fields.take("output").map(undumped));
    let mut whole = Whole::of(&mut fields);
    whole.shared.remove("langfuse.trace.name");
    Ok(Whole {
        native,
        project: fields.text("projectId"),
        shared: whole.shared,
        name,
        start_ns,
        input,
        output,
        metadata: fields,
    })
}

/// The page of a trace writes its content as JSON whatever it is, so that even a text comes in quotes.
fn undumped(value: Value) -> Value {
    let quoted = value.as_str().filter(|text| text.starts_with('"'));
    match quoted.and_then(|text| serde_json::from_str(text).ok()) {
        Some(text) => Value::String(text),
        None => value,
    }
}

impl Whole {
    /// What every span of a trace may be asked for.
    fn of(fields: &mut Fields) -> Self {
        let mut shared = Attributes::new();
        for (field, key) in [
            ("sessionId", "langfuse.session.id"),
            ("userId", "langfuse.user.id"),
            ("environment", "langfuse.environment"),
            ("release", "langfuse.release"),
            ("version", "langfuse.version"),
            ("traceName", "langfuse.trace.name"),
        ] {
            if let Some(text) = fields.text(field) {
                shared.insert(key.to_owned(), Value::from(text));
            }
        }
        let tags = fields.take("tags").or_else(|| fields.take("traceTags")).map(structured);
        if let Some(Value::Array(tags)) = tags.filter(|tags| tags.as_array().is_some_and(|tags| !tags.is_empty())) {
            shared.insert("langfuse.trace.tags".to_owned(), Value::Array(tags));
        }
        Self {
            native: String::new(),
            project: None,
            name: None,
            start_ns: None,
            shared,
            input: None,
            output: None,
            metadata: Fields(BTreeMap::new()),
        }
    }

    /// The id of the trace in Langfuse.
    pub(super) fn native_trace(&self) -> &str {
        &self.native
    }

    /// Gives a span what it does not say itself.
    pub(super) fn share(&self, span: &mut RawSpan) {
        for (key, value) in &self.shared {
            span.keep(key, value.clone());
        }
    }

    /// Gives the root what is said of the trace alone: its content where the root has none, or else beside its own.
    pub(super) fn fill(self, root: &mut RawSpan) {
        for (side, value) in [("input", self.input), ("output", self.output)] {
            let (own, of_trace) = (format!("langfuse.observation.{side}"), format!("langfuse.trace.{side}"));
            let Some(value) = value else { continue };
            match root.attributes.get(&own) {
                None => root.keep(&own, value),
                Some(same) if structured(same.clone()) == structured(value.clone()) => {}
                Some(_) => root.keep(&of_trace, value),
            }
        }
        if let Some(name) = self.name.filter(|name| *name != root.name) {
            root.keep("langfuse.trace.name", Value::from(name));
        }
        metadata(self.metadata, root);
    }

    /// The step that stands for the trace; it lasts as long as the spans below it.
    pub(super) fn step(self, id: String, below: &[RawSpan]) -> RawSpan {
        let first = below.iter().map(|span| span.start_ns).chain(self.start_ns).min();
        let mut step = RawSpan {
            trace_id: ids::native_trace(PLATFORM, &self.native),
            span_id: id,
            name: self.name.clone().unwrap_or_default(),
            start_ns: first.unwrap_or_default(),
            end_ns: below.iter().filter_map(|span| span.end_ns).max(),
            kind: Some(crate::model::SpanKind::Step),
            native: Some(Native {
                platform: PLATFORM.to_owned(),
                trace: self.native.clone(),
                span: None,
                project: self.project.clone(),
            }),
            ..RawSpan::default()
        };
        self.share(&mut step);
        self.fill(&mut step);
        step
    }
}

/// The metadata of a trace, without what its tracer said, which the spans say themselves.
fn metadata(mut fields: Fields, root: &mut RawSpan) {
    match fields.take("metadata").map(structured) {
        Some(Value::Object(map)) => {
            for (key, value) in map {
                if !matches!(key.as_str(), "attributes" | "resourceAttributes" | "scope") {
                    root.keep(&format!("langfuse.trace.metadata.{key}"), value);
                }
            }
        }
        other => root.keep("langfuse.trace.metadata", other.into()),
    }
    for key in ["public", "bookmarked"] {
        if fields.flag(key) == Some(true) {
            root.keep(&format!("langfuse.trace.{key}"), Value::Bool(true));
        }
    }
}

/// Reads one score; `None` for scores of experiments, which belong to no trace.
pub(super) fn score(mut fields: Fields) -> Result<Option<TraceScore>, Problem> {
    let trace = fields.text("traceId");
    let session_id = fields.text("sessionId").map(SessionId::new);
    let name = fields.needed("name")?;
    let at_ns = fields.time("timestamp")?.or(fields.time("createdAt")?);
    if trace.is_none() && session_id.is_none() {
        return Ok(None);
    }
    let kind = fields.text("dataType").unwrap_or_default();
    let word = fields.text("longStringValue").or_else(|| fields.text("stringValue"));
    let value = fields.take("value");
    let said = value.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    // A category's number is its place in a list, a text's is always zero.
    let value = value.as_ref().filter(|_| matches!(kind.as_str(), "NUMERIC" | "BOOLEAN" | "")).and_then(truth);
    let observation = fields.text("observationId");
    Ok(Some(TraceScore {
        span_id: trace
            .as_deref()
            .zip(observation.as_deref())
            .map(|(trace, observation)| SpanId::new(ids::native_span(PLATFORM, trace, observation))),
        trace_id: trace.as_deref().map(|trace| TraceId::new(ids::native_trace(PLATFORM, trace))),
        session_id,
        label: word.or_else(|| said.filter(|_| value.is_none())),
        value,
        comment: fields.text("comment"),
        origin: match fields.text("source").as_deref() {
            Some("ANNOTATION") => ScoreOrigin::Annotator,
            Some("EVAL") => ScoreOrigin::Evaluator,
            _ => score_origin("", &name).unwrap_or_default(),
        },
        author: fields.text("authorUserId"),
        name,
        at_ns,
        source: Source {
            native: trace.map(|trace| Native {
                platform: PLATFORM.to_owned(),
                trace,
                span: observation,
                project: fields.text("projectId"),
            }),
            ..Source::default()
        },
    }))
}

/// A number, also as a word for true or false.
fn truth(value: &Value) -> Option<f64> {
    match value.as_str().map(str::to_lowercase).as_deref() {
        Some("true") => Some(1.0),
        Some("false") => Some(0.0),
        _ => number(value),
    }
}
