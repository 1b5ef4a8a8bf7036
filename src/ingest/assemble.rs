//! Gathers what the sources hand out, over any number of files, and puts traces together.
//!
//! The rules of a trace are [`crate::model::assemble`]; added here is the join of events that came as log records.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::model::{Part, REVISION_KEY, Source, Span, SpanId, Trace, TraceId, assemble};

use super::admit::Sink;
use super::dialect::{event_identity, join_events};
use super::error::{Rejected, SinkError};
use super::raw::{Event, LogEvent};

/// What an [`Assembler`] had gathered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// Traces sorted by (start, id).
    pub traces: Vec<Trace>,
    /// Spans left out because an equal one was met before.
    pub duplicates: u64,
    /// Log records that name a span which was not there yet; they keep waiting.
    pub unjoined: u64,
    /// Rows the sources turned away, in the order met.
    pub rejected: Vec<Rejected>,
}

/// What an [`Assembler`] held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Spans with the events that were there for them, in the order met.
    pub spans: Vec<Span>,
    /// Log records that name a span which was not there yet; they keep waiting.
    pub unjoined: u64,
    /// Rows the sources turned away, in the order met.
    pub rejected: Vec<Rejected>,
}

/// Takes spans and events in any order. The traces it gives depend on what was taken, not on order or files.
///
/// Everything taken is held until [`Assembler::drain`]; [`Assembler::weight`] says about how many bytes that is, so
/// that a caller can write what it has to the lake before memory runs out. Log records wait for their spans over
/// drains; spans do not wait for log records, so read log files first where an export is drained in parts.
#[derive(Debug, Default)]
pub struct Assembler {
    spans: Vec<Span>,
    events: HashMap<(TraceId, SpanId), Waiting>,
    rejected: Vec<Rejected>,
    weight: usize,
}

/// Events of one span that wait for it.
#[derive(Debug, Default)]
struct Waiting {
    events: Vec<(Event, Source)>,
    /// What tells them apart: one that is sent again is the same.
    known: HashSet<String>,
}

/// Joins log records to spans of a trace that was written before; gives back those whose span is not in it, and how
/// many were new. A span that gained something is a newer report of itself.
pub fn join_late(trace: &mut Trace, events: Vec<LogEvent>) -> (Vec<LogEvent>, usize) {
    let places: HashMap<SpanId, usize> =
        trace.spans.iter().enumerate().map(|(at, span)| (span.span_id.clone(), at)).collect();
    let (theirs, waiting): (Vec<_>, Vec<_>) =
        events.into_iter().partition(|event| event.trace_id == trace.id && places.contains_key(&event.span_id));
    let mut by_place: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
    for event in theirs {
        if let Some(place) = places.get(&event.span_id) {
            by_place.entry(*place).or_default().push(event.event);
        }
    }
    let mut joined = 0;
    for (place, events) in by_place {
        let Some(span) = trace.spans.get_mut(place) else { continue };
        let new = join_events(span, events);
        if new > 0 {
            let revision = span.attributes.get(REVISION_KEY).and_then(Value::as_i64).unwrap_or(0);
            span.attributes.insert(REVISION_KEY.to_owned(), Value::from(revision.saturating_add(1)));
        }
        joined += new;
    }
    (waiting, joined)
}

impl Assembler {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// About how many bytes of spans are held.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Spans held.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether no span is held.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The spans held, in the order met.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Takes a span.
    pub fn add(&mut self, span: Span) {
        self.weight += weight(&span);
        self.spans.push(span);
    }

    /// Takes an event for a span that may come later.
    pub fn add_event(&mut self, event: LogEvent) {
        let waiting = self.events.entry((event.trace_id, event.span_id)).or_default();
        if waiting.known.insert(event_identity(&event.event)) {
            waiting.events.push((event.event, event.source));
        }
    }

    /// Gives the traces of the spans held and lets go of them; events whose span is not there keep waiting.
    pub fn drain(&mut self) -> Gathered {
        let Taken { spans, unjoined, rejected } = self.take();
        let assembled = assemble(spans);
        Gathered { traces: assembled.traces, duplicates: assembled.duplicates, unjoined, rejected }
    }

    /// The same before the spans are put together, for those who do that elsewhere.
    pub fn take(&mut self) -> Taken {
        if !self.events.is_empty() {
            self.join();
        }
        self.weight = 0;
        Taken {
            spans: std::mem::take(&mut self.spans),
            unjoined: self.events.values().map(|waiting| waiting.events.len() as u64).sum(),
            rejected: std::mem::take(&mut self.rejected),
        }
    }

    fn join(&mut self) {
        let mut joined = Vec::new();
        for span in &mut self.spans {
            let key = (span.trace_id.clone(), span.span_id.clone());
            if let Some(waiting) = self.events.get(&key) {
                join_events(span, waiting.events.iter().map(|(event, _)| event.clone()).collect());
                joined.push(key);
            }
        }
        for key in joined {
            self.events.remove(&key);
        }
    }

    /// Takes out the events that still wait, sorted by the span they wait for, those of one span in the order added.
    pub fn waiting(&mut self) -> Vec<LogEvent> {
        let mut waiting: Vec<_> = std::mem::take(&mut self.events).into_iter().collect();
        waiting.sort_by(|a, b| a.0.cmp(&b.0));
        let of_span = |((trace_id, span_id), waiting): ((TraceId, SpanId), Waiting)| {
            waiting.events.into_iter().map(move |(event, source)| LogEvent {
                trace_id: trace_id.clone(),
                span_id: span_id.clone(),
                event,
                source,
            })
        };
        waiting.into_iter().flat_map(of_span).collect()
    }
}

impl Sink for Assembler {
    fn span(&mut self, span: Span) -> Result<(), SinkError> {
        self.add(span);
        Ok(())
    }

    fn log_event(&mut self, event: LogEvent) -> Result<(), SinkError> {
        self.add_event(event);
        Ok(())
    }

    fn rejected(&mut self, rejected: Rejected) -> Result<(), SinkError> {
        self.rejected.push(rejected);
        Ok(())
    }
}

/// About how many bytes a span takes in memory: its content and a flat sum for the rest.
fn weight(span: &Span) -> usize {
    const FLAT: usize = 1024;
    let parts = span.messages_in.iter().chain(&span.messages_out).flat_map(|message| &message.parts);
    let spoken: usize = parts.map(part_weight).sum();
    let raw = span.input.iter().chain(&span.output);
    let tool = span.tool.iter().flat_map(|tool| tool.arguments.iter().chain(&tool.result));
    let values: usize = raw.chain(tool).map(value_weight).sum();
    let attributes: usize = span.attributes.iter().map(|(key, value)| PAIR + key.len() + value_weight(value)).sum();
    FLAT + span.name.len() + spoken + values + attributes
}

/// An entry of a map beside its content.
const PAIR: usize = 64;

impl LogEvent {
    /// About how many bytes it takes in memory.
    pub fn weight(&self) -> usize {
        const FLAT: usize = 256;
        let attributes: usize =
            self.event.attributes.iter().map(|(key, value)| PAIR + key.len() + value_weight(value)).sum();
        FLAT + self.event.name.len() + attributes + self.event.body.as_ref().map_or(0, value_weight)
    }
}

fn part_weight(part: &Part) -> usize {
    let content = match part {
        Part::Text { content } | Part::Reasoning { content } => content.len(),
        Part::ToolCall { name, arguments, .. } => name.len() + value_weight(arguments),
        Part::ToolResult { result, .. } => value_weight(result),
        Part::Other { value } => value_weight(value),
    };
    PAIR + content
}

fn value_weight(value: &Value) -> usize {
    let size = size_of::<Value>();
    match value {
        Value::String(text) => size + text.len(),
        Value::Array(items) => size + items.iter().map(value_weight).sum::<usize>(),
        Value::Object(map) => {
            size + map.iter().map(|(key, value)| PAIR + key.len() + value_weight(value)).sum::<usize>()
        }
        _ => size,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn weight_grows_with_content_and_falls_with_draining() {
        let span: Span = serde_json::from_value(json!({"trace_id": "t", "span_id": "s", "kind": "step", "name": "x",
            "start_ns": 1, "input": {"a": ["x".repeat(10_000)]}, "attributes": {"k": "y".repeat(5_000)}}))
        .unwrap();
        let mut assembler = Assembler::new();
        assembler.add(span.clone());
        let one = assembler.weight();
        assert!((16_000..20_000).contains(&one), "{one}");
        assembler.add(span);
        assert_eq!((assembler.weight(), assembler.len()), (2 * one, 2));
        assert_eq!(assembler.drain().duplicates, 1);
        assert!(assembler.weight() == 0 && assembler.is_empty());
    }

    #[test]
    fn events_without_a_span_are_given_back_once_and_join_later() {
        let event = |span: &str, name: &str| -> LogEvent {
            serde_json::from_value(json!({"trace_id": "t", "span_id": span, "source": {"file": "f"},
                "event": {"name": name, "body": {"content": "x".repeat(1000)}}}))
            .unwrap()
        };
        let mut assembler = Assembler::new();
        let events = [event("b", "1"), event("a", "gen_ai.user.message"), event("b", "2")];
        events.iter().for_each(|event| assembler.add_event(event.clone()));
        assert_eq!(assembler.drain().unjoined, 3);
        let [one, two, three] = events;
        assert!((1000..2000).contains(&one.weight()), "{}", one.weight());
        assert_eq!(assembler.waiting(), [two.clone(), one, three]);
        assert_eq!((assembler.waiting(), assembler.drain().unjoined), (vec![], 0));
        assembler.add_event(two);
        let span: Span = serde_json::from_value(json!({"trace_id": "t", "span_id": "a", "kind": "model", "name": "x",
            "start_ns": 1}))
        .unwrap();
        assembler.add(span);
        let gathered = assembler.drain();
        assert_eq!((gathered.unjoined, gathered.traces[0].spans[0].messages_in.len()), (0, 1));
    }
}
