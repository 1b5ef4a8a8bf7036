//! The one door from the sources to whoever takes the spans: everything that is read passes `Gate`.
//!
//! Here the vocabulary is applied, secrets are taken out, giant fields are shortened, prices are filled in, and counts
//! are kept. What must hold for every span before it is stored belongs here and nowhere else. Where a detector is
//! asked too, what is read waits in `hold` until a batch has been looked at.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::{Message, PRICED_KEY, Part, Redactions, Source, Span, SpanKind, TraceScore, Usage};
use crate::redact::Redactor;

use super::dialect;
use super::error::{IngestError, Problem, SinkError};
use super::hold::{Held, Hold};
use super::item::Item;
use super::json::mend_inner_json;
use super::raw::{Attributes, EVENTS_KEY, Event, LogEvent, RawSpan};
use super::{FileSummary, ReadOptions, Rejected};

/// The attribute that lists shortened fields: `[{"field": …, "bytes": …}]` with their original length.
pub const TRUNCATED_KEY: &str = "assize.truncated";

/// What is nested deeper than this is kept as text: parsers of JSON, the one behind the lake among them, stop at 128
/// levels, and a span adds some of its own.
const DEEPEST: usize = 64;

/// Takes what is read. An error stops the reading.
pub trait Sink {
    /// A span, mapped and shortened; spans of one trace come in any order.
    fn span(&mut self, span: Span) -> Result<(), SinkError>;
    /// An event that came as a log record and may belong to a span of the same ingest.
    fn log_event(&mut self, event: LogEvent) -> Result<(), SinkError>;
    /// A score that someone else gave; thrown away where nobody wants it.
    fn score(&mut self, score: TraceScore) -> Result<(), SinkError> {
        drop(score);
        Ok(())
    }
    /// A row that was not taken.
    fn rejected(&mut self, rejected: Rejected) -> Result<(), SinkError>;
    /// Makes everything handed over so far durable, where that means something.
    fn keep(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Where a source puts what it reads.
pub(crate) struct Gate<'a> {
    pub(crate) options: &'a ReadOptions<'a>,
    pub(crate) summary: FileSummary,
    sink: &'a mut dyn Sink,
    hold: Hold,
    /// The last resource and what became of it: the spans of one process come together and share theirs.
    resource: Option<Shared>,
}

/// What became of a resource.
struct Shared {
    before: Arc<Attributes>,
    after: Arc<Attributes>,
    found: Redactions,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(options: &'a ReadOptions<'a>, summary: FileSummary, sink: &'a mut dyn Sink) -> Self {
        Self { options, summary, sink, hold: Hold::default(), resource: None }
    }

    /// Lets one span in.
    pub(crate) fn admit(&mut self, mut raw: RawSpan, line: Option<u64>) -> Result<(), IngestError> {
        let events = raw.events.iter_mut().flat_map(values_of);
        self.ignore(HALVES, mend_inner_json(raw.attributes.values_mut().chain(events)));
        for score in dialect::take_scores(&mut raw) {
            self.admit_score(score, line)?;
        }
        let mut span = dialect::span_of(raw);
        span.source.file = Some(self.summary.file.clone());
        span.source.line = line;
        if span.usage.is_unknown() {
            // Parts of a count that is not known say nothing.
            span.usage = Usage::default();
        }
        if let Some(redact) = self.options.redact {
            let resource = std::mem::take(&mut span.resource);
            let mut found = Redactions::default();
            redact_kept_events(redact, &mut span, &mut found);
            redact.span(&mut span, &mut found);
            if !found.is_empty() {
                dialect::digest_prompt_again(&mut span);
                self.summary.redacted.merge(&found);
            }
            span.resource = self.redact_resource(redact, resource);
            if redact.detector().is_some() {
                return self.pass(Held::Span(Box::new(span)));
            }
        }
        self.hand_on_span(span)
    }

    fn redact_resource(&mut self, redact: &Redactor, before: Arc<Attributes>) -> Arc<Attributes> {
        let known = self.resource.take().filter(|known| Arc::ptr_eq(&known.before, &before));
        let known = known.unwrap_or_else(|| {
            let (mut after, mut found) = (Arc::clone(&before), Redactions::default());
            redact.shared(&mut after, &mut found);
            Shared { before, after, found }
        });
        self.summary.redacted.merge(&known.found);
        Arc::clone(&self.resource.insert(known).after)
    }

    /// Holds a thing until the detector has seen it, or hands it on where there is none.
    fn pass(&mut self, held: Held) -> Result<(), IngestError> {
        match self.options.redact.filter(|redact| redact.detector().is_some()) {
            None => self.hand_on(held),
            Some(redact) => {
                self.hold.add(held, redact);
                if self.hold.is_full() { self.release() } else { Ok(()) }
            }
        }
    }

    fn release(&mut self) -> Result<(), IngestError> {
        let Some(redact) = self.options.redact else { return Ok(()) };
        let looked_at = self.hold.look(redact, &mut self.summary);
        let looked_at = looked_at.map_err(|cause| IngestError::Detector { file: self.summary.file.clone(), cause })?;
        looked_at.into_iter().try_for_each(|held| self.hand_on(held))
    }

    /// Ends a reading that may have failed. What was let in before it did is handed on like the rest, once the
    /// detector has seen it; where the detector or the sink itself failed nothing more is.
    ///
    /// # Errors
    /// That of the reading; else, and before it, that of handing on.
    pub(crate) fn end(self, read: Result<(), IngestError>) -> Result<FileSummary, IngestError> {
        match read {
            Err(error @ (IngestError::Sink { .. } | IngestError::Detector { .. })) => Err(error),
            read => {
                let summary = self.finish()?;
                read.map(|()| summary)
            }
        }
    }

    /// Hands on what is still held and gives the account. Nothing may be read after it.
    pub(crate) fn finish(mut self) -> Result<FileSummary, IngestError> {
        self.release()?;
        Ok(self.summary)
    }

    fn hand_on(&mut self, held: Held) -> Result<(), IngestError> {
        match held {
            Held::Span(span) => self.hand_on_span(*span),
            Held::Event(event) => self.hand_on_event(*event),
            Held::Score(score) => {
                self.summary.scores += 1;
                let taken = self.sink.score(*score);
                self.stop_on(taken)
            }
            Held::Rejected(rejected) => {
                self.summary.rejected += 1;
                let taken = self.sink.rejected(rejected);
                self.stop_on(taken)
            }
        }
    }

    fn hand_on_span(&mut self, mut span: Span) -> Result<(), IngestError> {
        let shortened = shorten_span(&mut span, self.options.max_field_bytes);
        let billed = span.kind == SpanKind::Tool || (span.kind == SpanKind::Model && !span.usage.is_unknown());
        if billed && span.cost_usd.is_none() {
            span.cost_usd = self.options.price.and_then(|price| price(&span)).filter(|cost| cost.is_finite());
            if span.cost_usd.is_some() {
                span.attributes.insert(PRICED_KEY.to_owned(), Value::Bool(true));
            }
        }
        let dialect = span.source.dialect.as_deref().unwrap_or_default();
        match self.summary.dialects.get_mut(dialect) {
            Some(count) => *count += 1,
            None => {
                self.summary.dialects.insert(dialect.to_owned(), 1);
            }
        }
        self.summary.spans += 1;
        self.summary.shortened += shortened;
        let taken = self.sink.span(span);
        self.stop_on(taken)
    }

    /// Lets one event in that came apart from its span.
    pub(crate) fn admit_event(&mut self, mut event: LogEvent, line: Option<u64>) -> Result<(), IngestError> {
        self.ignore(HALVES, mend_inner_json(values_of(&mut event.event)));
        event.source = Source { file: Some(self.summary.file.clone()), line, ..Source::default() };
        if let Some(redact) = self.options.redact {
            redact_event(redact, &mut event.event, &mut self.summary.redacted);
        }
        self.pass(Held::Event(Box::new(event)))
    }

    fn hand_on_event(&mut self, mut event: LogEvent) -> Result<(), IngestError> {
        let mut list = Vec::new();
        let mut shortener = Shortener { limit: self.options.max_field_bytes, list: &mut list };
        for (key, value) in &mut event.event.attributes {
            shortener.value(key, value);
        }
        if let Some(body) = &mut event.event.body {
            shortener.value("body", body);
        }
        self.summary.shortened += list.len() as u64;
        if !list.is_empty() {
            event.event.attributes.insert(TRUNCATED_KEY.to_owned(), Value::Array(list));
        }
        self.summary.log_events += 1;
        let taken = self.sink.log_event(event);
        self.stop_on(taken)
    }

    /// Lets one score in that someone else gave.
    pub(crate) fn admit_score(&mut self, mut score: TraceScore, line: Option<u64>) -> Result<(), IngestError> {
        score.source.file = Some(self.summary.file.clone());
        score.source.line = line;
        score.value = score.value.filter(|value| value.is_finite());
        if score.value.is_none() && score.label.is_none() {
            self.ignore("scores without a value", 1);
            return Ok(());
        }
        if let Some(redact) = self.options.redact {
            redact.score(&mut score, &mut self.summary.redacted);
        }
        self.pass(Held::Score(Box::new(score)))
    }

    /// Hands on what passed another gate with the same options.
    pub(crate) fn pass_on(&mut self, items: Vec<Item>, summary: FileSummary) -> Result<(), IngestError> {
        self.summary.add(summary);
        for item in items {
            let taken = item.give(self.sink);
            self.stop_on(taken)?;
        }
        Ok(())
    }

    /// Has everything let in so far made durable.
    pub(crate) fn keep(&mut self) -> Result<(), IngestError> {
        self.release()?;
        let kept = self.sink.keep();
        self.stop_on(kept)
    }

    /// Turns one row away; reading goes on.
    pub(crate) fn reject(&mut self, problem: Problem, line: Option<u64>, record: &[u8]) -> Result<(), IngestError> {
        let Some(redact) = self.options.redact else {
            return self.pass(Held::Rejected(problem.at(&self.summary.file, line, record)));
        };
        let mut problem = problem;
        // What was found is foreign too; before it is cut to length, or a half of it would no longer be known.
        redact.text(&problem.field, &mut problem.found, &mut self.summary.redacted);
        let shown = redact.record(record, &mut self.summary.redacted);
        self.pass(Held::Rejected(problem.at(&self.summary.file, line, &shown)))
    }

    /// Counts what is understood and of no use here.
    pub(crate) fn ignore(&mut self, what: &str, count: u64) {
        if count > 0 {
            *self.summary.ignored.entry(what.to_owned()).or_default() += count;
        }
    }

    fn stop_on(&self, taken: Result<(), SinkError>) -> Result<(), IngestError> {
        taken.map_err(|cause| IngestError::Sink { file: self.summary.file.clone(), cause })
    }
}

/// How halves of characters are counted.
pub(super) const HALVES: &str = "halves of characters, replaced";

/// All that an event says.
fn values_of(event: &mut Event) -> impl Iterator<Item = &mut Value> {
    event.attributes.values_mut().chain(&mut event.body)
}

/// Takes out of an event what the rules say. Messages are made of it later, so what holds for those holds for it as a
/// whole.
fn redact_event(redact: &Redactor, event: &mut Event, account: &mut Redactions) {
    let fields = dialect::message_fields(&event.name);
    if redact.takes_out(fields, account) {
        event.attributes.clear();
        event.body = None;
    } else if fields.is_empty() || !redact.protects(fields) {
        redact.attributes(&mut event.attributes, account);
        if let Some(body) = &mut event.body {
            redact.value("body", body, account);
        }
        redact.text("event.name", &mut event.name, account);
    }
}

/// The same for events that stayed with their span because it says its messages itself.
fn redact_kept_events(redact: &Redactor, span: &mut Span, account: &mut Redactions) {
    let Some(Value::Array(events)) = span.attributes.get_mut(EVENTS_KEY) else { return };
    for event in events.iter_mut().filter_map(Value::as_object_mut) {
        let fields = event.get("name").and_then(Value::as_str).map(dialect::message_fields).unwrap_or_default();
        if redact.takes_out(fields, account) {
            event.remove("attributes");
            event.remove("body");
        }
    }
}

/// Shortens every text of a span that is longer than `limit` bytes and lists them in an attribute.
fn shorten_span(span: &mut Span, limit: usize) -> u64 {
    let mut list = Vec::new();
    let mut shortener = Shortener { limit, list: &mut list };
    shortener.text("name", &mut span.name);
    shortener.messages("messages_in", &mut span.messages_in);
    shortener.messages("messages_out", &mut span.messages_out);
    for (field, value) in [("input", &mut span.input), ("output", &mut span.output)] {
        if let Some(value) = value {
            shortener.value(field, value);
        }
    }
    if let Some(tool) = &mut span.tool {
        shortener.text("tool.name", &mut tool.name);
        if let Some(arguments) = &mut tool.arguments {
            shortener.value("tool.arguments", arguments);
        }
        if let Some(result) = &mut tool.result {
            shortener.value("tool.result", result);
        }
    }
    if let Some(message) = span.error.as_mut().and_then(|error| error.message.as_mut()) {
        shortener.text("error.message", message);
    }
    for (key, value) in &mut span.attributes {
        shortener.value(key, value);
    }
    if !span.resource.values().all(|value| fits(value, limit, DEEPEST)) {
        for (key, value) in Arc::make_mut(&mut span.resource) {
            shortener.value(key, value);
        }
    }
    let count = list.len() as u64;
    if count > 0 {
        span.attributes.insert(TRUNCATED_KEY.to_owned(), Value::Array(list));
    }
    count
}

/// Whether a value stays as it is.
fn fits(value: &Value, limit: usize, levels: usize) -> bool {
    match value {
        Value::String(text) => text.len() <= limit,
        Value::Array(items) => levels > 0 && items.iter().all(|item| fits(item, limit, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|item| fits(item, limit, levels - 1)),
        _ => true,
    }
}

struct Shortener<'a> {
    limit: usize,
    list: &'a mut Vec<Value>,
}

impl Shortener<'_> {
    fn text(&mut self, field: &str, text: &mut String) {
        if text.len() <= self.limit {
            return;
        }
        self.list.push(json!({"field": field, "bytes": text.len()}));
        let head = floor_boundary(text, self.limit - self.limit / 3);
        let tail = ceil_boundary(text, text.len() - self.limit / 3);
        let (start, end) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
        *text = format!("{start} […{} bytes left out by assize…] {end}", tail - head);
    }

    fn value(&mut self, field: &str, value: &mut Value) {
        self.value_within(field, value, DEEPEST);
    }

    fn value_within(&mut self, field: &str, value: &mut Value, levels: usize) {
        if levels == 0 && (value.is_array() || value.is_object()) {
            *value = Value::String(value.to_string());
        }
        match value {
            Value::String(text) => self.text(field, text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value_within(field, item, levels - 1)),
            Value::Object(map) => map.values_mut().for_each(|item| self.value_within(field, item, levels - 1)),
            _ => {}
        }
    }

    fn messages(&mut self, field: &str, messages: &mut [Message]) {
        for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
            match part {
                Part::Text { content } | Part::Reasoning { content } => self.text(field, content),
                Part::ToolCall { arguments, .. } => self.value(field, arguments),
                Part::ToolResult { result, .. } => self.value(field, result),
                Part::Other { value } => self.value(field, value),
            }
        }
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while at > 0 && !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(text: &str, mut at: usize) -> usize {
    while at < text.len() && !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nested_too_deep_to_be_read_back_is_kept_as_text() {
        let mut value = (0..200).fold(json!("x"), |inner, _| json!({"a": [inner]}));
        Shortener { limit: 10_000, list: &mut Vec::new() }.value("x", &mut value);
        let text = value.to_string();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(text.contains("\\\"a\\\":["), "{text}");
    }

    #[test]
    fn giant_text_keeps_head_and_tail_and_is_listed() {
        let mut list = Vec::new();
        let mut text = format!("{}é{}", "a".repeat(65), "b".repeat(100));
        Shortener { limit: 99, list: &mut list }.text("x", &mut text);
        assert_eq!(
            text,
            format!("{} […68 bytes left out by assize…] {}", "a".repeat(65) + "", "b".repeat(33)).replace("68", "69")
        );
        assert_eq!(list, [json!({"field": "x", "bytes": 167})]);
    }
}
