//! Events of an Inspect sample as spans: model calls, tool calls, steps, subtasks; messages where there are no events.
//!
//! Newer logs mark spans by `span_begin` and `span_end`, older ones by steps without ids. A tool call is both an event
//! and a span there; it becomes one span, below which stands what the tool did.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Map, Value, json};

use crate::dataset::formats::{InspectSample, usage_of};
use crate::model::{SpanKind, SpanStatus};

use super::inspect::{Place, time};
use super::raw::RawSpan;

/// Events inside events are entered this deep.
const DEPTH: usize = 8;

/// A span of a tool that a tool event stands for.
struct Merged {
    /// What the event is called.
    event: String,
    /// The span above it, as the log calls it.
    parent: Option<String>,
}

/// The spans of a sample, as they are gathered.
pub(super) struct Events<'a> {
    place: &'a Place<'a>,
    sample: &'a InspectSample,
    root: String,
    start_ns: i64,
    /// Spans so far, the root left out.
    pub(super) spans: Vec<RawSpan>,
    /// Time of the first event, nanoseconds since 1970.
    pub(super) first_ns: Option<i64>,
    /// Latest time that any event says.
    pub(super) last_ns: Option<i64>,
    /// Events that are no spans, by kind.
    pub(super) ignored: BTreeMap<String, u64>,
    /// Place in `spans` of what the log calls a span.
    begun: HashMap<String, usize>,
    /// Spans of tools that a tool event stands for, by the log's id.
    merged: HashMap<String, Merged>,
    /// Steps of older logs that have not ended.
    steps: Vec<usize>,
    count: usize,
}

impl<'a> Events<'a> {
    pub(super) fn new(place: &'a Place<'a>, sample: &'a InspectSample, root: &str, start_ns: i64) -> Self {
        Self {
            place,
            sample,
            root: root.to_owned(),
            start_ns,
            spans: Vec::new(),
            first_ns: None,
            last_ns: None,
            ignored: BTreeMap::new(),
            begun: HashMap::new(),
            merged: HashMap::new(),
            steps: Vec::new(),
            count: 0,
        }
    }

    /// Reads all events; without any, the messages.
    pub(super) fn read(&mut self) {
        let sample = self.sample;
        match sample.fields.get("events").and_then(Value::as_array).filter(|events| !events.is_empty()) {
            Some(events) => {
                self.merged = merged_tools(events);
                self.all(events, None, 0);
            }
            None => self.messages(),
        }
    }

    fn all(&mut self, events: &[Value], parent: Option<&str>, depth: usize) {
        for event in events.iter().filter_map(Value::as_object) {
            self.count += 1;
            let local = local_of(event).map_or_else(|| format!("event-{}", self.count), str::to_owned);
            self.event(event, &local, parent, depth);
        }
    }

    fn event(&mut self, event: &Map<String, Value>, local: &str, parent: Option<&str>, depth: usize) {
        let start = event.get("timestamp").and_then(time).unwrap_or(self.start_ns);
        self.first_ns = Some(self.first_ns.map_or(start, |first| first.min(start)));
        self.seen(Some(start));
        match text(event, "event").unwrap_or_default() {
            "span_begin" => self.begin(event, start, parent),
            "span_end" => self.end(event, start),
            "step" => self.step(event, local, start, parent),
            "model" => {
                let span = self.model(event, local, start, parent);
                self.spans.push(span);
            }
            "tool" => {
                let span = self.tool(event, local, start, parent);
                let own = span.span_id.clone();
                self.spans.push(span);
                self.inside(event, &own, depth);
            }
            "subtask" => {
                let name = text(event, "name").unwrap_or("subtask").to_owned();
                let mut span = self.child(local, SpanKind::Step, name, start, event, parent);
                self.set(&mut span, "input.value", event.get("input"));
                self.set(&mut span, "output.value", event.get("result"));
                span.end_ns = self.end_of(event, start);
                let own = span.span_id.clone();
                self.spans.push(span);
                self.inside(event, &own, depth);
            }
            // The sample says the same again, once for all.
            "sample_init" | "score" | "error" | "sample_limit" => {}
            other => *self.ignored.entry(other.chars().take(40).collect()).or_default() += 1,
        }
    }

    fn inside(&mut self, event: &Map<String, Value>, own: &str, depth: usize) {
        if let Some(inner) = event.get("events").and_then(Value::as_array).filter(|_| depth < DEPTH) {
            self.all(inner, Some(own), depth + 1);
        }
    }

    fn seen(&mut self, at: Option<i64>) {
        self.last_ns = self.last_ns.max(at);
    }

    /// The end of an event: said, or its start and the time it worked.
    fn end_of(&mut self, event: &Map<String, Value>, start: i64) -> Option<i64> {
        let worked = || {
            let seconds = event.get("working_time").and_then(Value::as_f64).filter(|s| (0.0..1e9).contains(s))?;
            start.checked_add((seconds * 1e9) as i64)
        };
        let end = event.get("completed").and_then(time).or_else(worked);
        self.seen(end);
        end
    }

    /// A span below the one the event names, else below the open step, else below the root.
    fn child(
        &self,
        local: &str,
        kind: SpanKind,
        name: String,
        start: i64,
        event: &Map<String, Value>,
        parent: Option<&str>,
    ) -> RawSpan {
        let mut span = self.place.span(local, kind, name, start);
        let key =
            if event.get("event").and_then(Value::as_str) == Some("span_begin") { "parent_id" } else { "span_id" };
        let named = text(event, key).and_then(|id| self.above(id, local));
        let open = self.steps.last().and_then(|place| self.spans.get(*place)).map(|span| span.span_id.clone());
        let above = parent.map(str::to_owned).or(named).or(open);
        span.parent_id = Some(above.unwrap_or_else(|| self.root.clone()));
        span
    }

    /// The span that the log calls so; for a tool event inside its own span, the one above that.
    fn above(&self, id: &str, local: &str) -> Option<String> {
        match self.merged.get(id) {
            Some(merged) if merged.event == local => merged.parent.as_deref().map(|parent| self.place.id(parent)),
            Some(merged) => Some(self.place.id(&merged.event)),
            None => Some(self.place.id(id)),
        }
    }

    fn set(&self, span: &mut RawSpan, key: &str, value: Option<&Value>) {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            span.attributes.insert(key.to_owned(), self.sample.resolved(value));
        }
    }

    fn begin(&mut self, event: &Map<String, Value>, start: i64, parent: Option<&str>) {
        let Some(id) = text(event, "id").filter(|id| !self.merged.contains_key(*id)) else { return };
        let (kind, name) = kind_and_name(event);
        let span = self.child(id, kind, name, start, event, parent);
        self.begun.insert(id.to_owned(), self.spans.len());
        self.spans.push(span);
    }

    fn end(&mut self, event: &Map<String, Value>, end: i64) {
        let place = text(event, "id").and_then(|id| self.begun.get(id));
        if let Some(span) = place.and_then(|place| self.spans.get_mut(*place)) {
            span.end_ns = Some(end);
        }
    }

    fn step(&mut self, event: &Map<String, Value>, local: &str, start: i64, parent: Option<&str>) {
        if text(event, "action") == Some("end") {
            let open = self.steps.pop().and_then(|place| self.spans.get_mut(place));
            open.into_iter().for_each(|span| span.end_ns = Some(start));
            return;
        }
        let (kind, name) = kind_and_name(event);
        let span = self.child(local, kind, name, start, event, parent);
        self.steps.push(self.spans.len());
        self.spans.push(span);
    }

    fn model(&mut self, event: &Map<String, Value>, local: &str, start: i64, parent: Option<&str>) -> RawSpan {
        let model = text(event, "model").unwrap_or_default();
        let mut span = self.child(local, SpanKind::Model, format!("chat {model}"), start, event, parent);
        name_model(&mut span, model);
        span.end_ns = self.end_of(event, start);
        let input: Vec<Value> = self.sample.model_input(event).iter().map(message).collect();
        span.keep("gen_ai.input.messages", Value::Array(input));
        for key in ["temperature", "max_tokens", "seed", "top_p"] {
            self.set(
                &mut span,
                &format!("gen_ai.request.{key}"),
                event.get("config").and_then(|config| config.get(key)),
            );
        }
        for key in ["role", "cache", "retries", "pending"] {
            self.set(&mut span, &format!("inspect.{key}"), event.get(key));
        }
        if let Some(output) = event.get("output") {
            self.reply(&mut span, output, text(event, "cache") == Some("read"));
        }
        let failed = event.get("error").or_else(|| event.get("output")?.get("error")).and_then(Value::as_str);
        if let Some(error) = failed {
            span.status = SpanStatus::Error;
            span.status_message = Some(error.to_owned());
        }
        span
    }

    /// What a model answered. An answer from Inspect's cache cost nothing: its tokens stay beside, uncounted.
    fn reply(&self, span: &mut RawSpan, output: &Value, cached: bool) {
        self.set(span, "gen_ai.response.model", output.get("model"));
        let choices = output.get("choices").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let said = choices.iter().filter_map(|choice| choice.get("message"));
        let said: Vec<Value> = said.map(|answer| message(&self.sample.resolved(answer))).collect();
        span.keep("gen_ai.output.messages", Value::Array(said));
        let reasons: Vec<Value> = choices.iter().filter_map(|choice| choice.get("stop_reason").cloned()).collect();
        span.keep("gen_ai.response.finish_reasons", Value::Array(reasons));
        let usage = output.get("usage").filter(|usage| !usage.is_null());
        match usage {
            Some(usage) if cached => span.keep("inspect.cached_usage", usage.clone()),
            Some(usage) => span.usage = Some(usage_of(usage)),
            None => {}
        }
    }

    fn tool(&mut self, event: &Map<String, Value>, local: &str, start: i64, parent: Option<&str>) -> RawSpan {
        let name = text(event, "function").unwrap_or("tool").to_owned();
        let mut span = self.child(local, SpanKind::Tool, name.clone(), start, event, parent);
        span.keep("gen_ai.tool.name", Value::String(name));
        self.set(&mut span, "gen_ai.tool.call.id", event.get("id"));
        self.set(&mut span, "gen_ai.tool.call.arguments", event.get("arguments"));
        self.set(&mut span, "gen_ai.tool.call.result", event.get("result"));
        self.set(&mut span, "inspect.agent", event.get("agent"));
        span.end_ns = self.end_of(event, start);
        fail(&mut span, event.get("error"));
        span
    }

    /// A log that keeps messages only: each answer is a model call, each result a tool call, and no time is known.
    fn messages(&mut self) {
        let messages = match self.sample.field("messages") {
            Some(Value::Array(messages)) => messages,
            _ => return,
        };
        let mut news: Vec<Value> = Vec::new();
        for (index, said) in messages.iter().enumerate() {
            let Some(map) = said.as_object() else { continue };
            let start = self.start_ns.saturating_add(i64::try_from(index).unwrap_or(i64::MAX));
            let local = format!("message-{index}");
            match text(map, "role") {
                Some("assistant") => {
                    let mut span = self.child(&local, SpanKind::Model, "chat".to_owned(), start, &Map::new(), None);
                    name_model(&mut span, text(map, "model").unwrap_or(&self.place.model));
                    span.keep("gen_ai.input.messages", Value::Array(std::mem::take(&mut news)));
                    span.keep("gen_ai.output.messages", Value::Array(vec![message(said)]));
                    self.spans.push(span);
                }
                Some("tool") => {
                    let name = text(map, "function").unwrap_or("tool").to_owned();
                    let mut span = self.child(&local, SpanKind::Tool, name.clone(), start, &Map::new(), None);
                    span.keep("gen_ai.tool.name", Value::String(name));
                    span.keep("gen_ai.tool.call.id", map.get("tool_call_id").cloned().unwrap_or_default());
                    span.keep("gen_ai.tool.call.result", map.get("content").cloned().unwrap_or_default());
                    fail(&mut span, map.get("error"));
                    self.spans.push(span);
                    news.push(message(said));
                }
                _ => news.push(message(said)),
            }
        }
    }
}

fn text<'m>(map: &'m Map<String, Value>, key: &str) -> Option<&'m str> {
    map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn kind_and_name(event: &Map<String, Value>) -> (SpanKind, String) {
    let said = text(event, "type").unwrap_or_default();
    let kind = match said {
        "agent" => SpanKind::Agent,
        "handoff" => SpanKind::Handoff,
        "scorer" => SpanKind::Evaluator,
        _ => SpanKind::Step,
    };
    (kind, text(event, "name").unwrap_or(if said.is_empty() { "step" } else { said }).to_owned())
}

/// `provider/model`, as Inspect writes it. Models of providers that have slashes in their names keep them.
fn name_model(span: &mut RawSpan, model: &str) {
    let (provider, name) = match model.split_once('/') {
        Some((provider, name)) => (Some(provider), name),
        None => (None, model),
    };
    span.keep("gen_ai.request.model", json!(name));
    span.keep("gen_ai.provider.name", provider.map_or(Value::Null, |provider| json!(provider)));
}

fn fail(span: &mut RawSpan, error: Option<&Value>) {
    let Some(error) = error.filter(|error| !error.is_null()) else { return };
    span.status = SpanStatus::Error;
    span.status_message = error.get("message").and_then(Value::as_str).map(str::to_owned);
    span.keep("error.type", error.get("type").cloned().unwrap_or_default());
}

/// Tool events name the span they were called from, and a span of the tool's name stands beside them: the first of
/// one goes with the first of the other.
fn merged_tools(events: &[Value]) -> HashMap<String, Merged> {
    let mut calls: HashMap<(Option<&str>, &str), VecDeque<&str>> = HashMap::new();
    for event in events.iter().filter_map(Value::as_object).filter(|event| text(event, "event") == Some("tool")) {
        if let (Some(name), Some(local)) = (text(event, "function"), local_of(event)) {
            calls.entry((text(event, "span_id"), name)).or_default().push_back(local);
        }
    }
    let mut merged = HashMap::new();
    for event in events.iter().filter_map(Value::as_object) {
        if text(event, "event") != Some("span_begin") || text(event, "type") != Some("tool") {
            continue;
        }
        if let (Some(id), Some(name)) = (text(event, "id"), text(event, "name")) {
            let parent = text(event, "parent_id");
            // Newer logs put the event inside its own span, older ones beside it.
            let mut either = [Some(id), parent].into_iter();
            let call = either.find_map(|parent| calls.get_mut(&(parent, name)).and_then(VecDeque::pop_front));
            merged.extend(
                call.map(|call| (id.to_owned(), Merged { event: call.to_owned(), parent: parent.map(str::to_owned) })),
            );
        }
    }
    merged
}

/// What an event is called in the log: logs before the middle of 2025 give only tool calls an id.
fn local_of(event: &Map<String, Value>) -> Option<&str> {
    text(event, "uuid").or_else(|| text(event, "id").filter(|_| text(event, "event") == Some("tool")))
}

/// A message under the keys that `dialect` reads: Inspect names the function of a call beside its arguments, and says
/// what went wrong in a tool apart from its content.
pub(super) fn message(said: &Value) -> Value {
    let Some(map) = said.as_object() else { return said.clone() };
    let kept = ["role", "content", "tool_call_id"];
    let mut plain: Map<String, Value> =
        kept.iter().filter_map(|key| Some(((*key).to_owned(), map.get(*key)?.clone()))).collect();
    if let Some(calls) = map.get("tool_calls").and_then(Value::as_array).filter(|calls| !calls.is_empty()) {
        let call = |call: &Value| json!({"id": call["id"], "name": call["function"], "arguments": call["arguments"]});
        plain.insert("tool_calls".to_owned(), calls.iter().map(call).collect());
    }
    let empty = plain.get("content").is_none_or(|content| content.is_null() || content.as_str() == Some(""));
    if let Some(error) = map.get("error").filter(|error| empty && !error.is_null()) {
        plain.insert("content".to_owned(), error.clone());
    }
    Value::Object(plain)
}

/// The text of an answer; logs before 2025 do not repeat it beside the choices.
pub(super) fn reply_text(output: &Value) -> Option<Value> {
    let completion = output.get("completion").filter(|text| text.as_str().is_some_and(|text| !text.is_empty()));
    if let Some(text) = completion {
        return Some(text.clone());
    }
    match output.pointer("/choices/0/message/content")? {
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
            (!texts.is_empty()).then(|| Value::String(texts.join("\n")))
        }
        text => Some(text.clone()).filter(|text| text.as_str().is_some_and(|text| !text.is_empty())),
    }
}
