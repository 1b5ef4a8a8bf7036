//! Messages that came as events: span events, or log records that name their span.
//!
//! Up to OpenTelemetry 1.36 each message was an event of its own (`gen_ai.user.message`, `gen_ai.choice`), later one
//! event holds all (`gen_ai.client.inference.operation.details`); Traceloop-style tracers wrote
//! `gen_ai.content.prompt`. Attributes of the span are believed before events.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{Digest, Message, PromptRef, Span};

use super::super::json::structured;
use super::super::raw::{EVENTS_KEY, Event, events_value};
use super::{bag, messages, prompt_digest};

const DETAILS: &str = "gen_ai.client.inference.operation.details";

/// Whether a log record of this name may say something about a span.
pub(crate) fn is_message_event(name: &str) -> bool {
    !message_fields(name).is_empty()
}

/// The fields of a span that messages of an event of this name belong to; none when it holds no messages.
pub(crate) fn message_fields(name: &str) -> &'static [&'static str] {
    match name {
        DETAILS => &["messages_in", "messages_out"],
        "gen_ai.choice" | "gen_ai.content.completion" => &["messages_out"],
        "gen_ai.content.prompt" => &["messages_in"],
        _ if role_of(name).is_some() => &["messages_in"],
        _ => &[],
    }
}

fn role_of(name: &str) -> Option<&'static str> {
    match name {
        "gen_ai.system.message" => Some("system"),
        "gen_ai.user.message" => Some("user"),
        "gen_ai.assistant.message" => Some("assistant"),
        "gen_ai.tool.message" => Some("tool"),
        _ => None,
    }
}

/// The attribute that names the log records that are part of a span, in their order, so that each joins once.
pub(crate) const JOINED_KEY: &str = "assize.log_records";

/// Makes messages of a span's events; those nothing was made from are kept in an attribute.
///
/// The order in which events are handed in does not matter. For log records see [`join`].
pub(crate) fn apply(span: &mut Span, mut events: Vec<Event>) {
    let order = |event: &Event| (event.time_ns, rank(&event.name), serde_json::to_string(event).unwrap_or_default());
    events.sort_by_cached_key(order);
    events.dedup();
    let (no_in, no_out) = (span.messages_in.is_empty(), span.messages_out.is_empty());
    let mut left = Vec::new();
    for event in events {
        if !take(span, &event, no_in, no_out) {
            left.push(event);
        }
    }
    if no_in {
        add_prompt_digest(span);
    }
    keep(span, &left);
}

/// Keeps events that no field was made from.
fn keep(span: &mut Span, left: &[Event]) {
    if left.is_empty() {
        return;
    }
    let Value::Array(new) = events_value(left) else { return };
    let entry = span.attributes.entry(EVENTS_KEY.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
    // Where the span itself has an attribute of that name that is no list, the attribute stays.
    if let Value::Array(kept) = entry {
        let known: HashSet<String> = kept.iter().map(Value::to_string).collect();
        kept.extend(new.into_iter().filter(|event| !known.contains(&event.to_string())));
    }
}

/// A log record that is part of a span. Its order among others is that of the fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Joined {
    time_ns: Option<i64>,
    rank: u8,
    name: String,
    /// What tells it from others of the same span.
    digest: String,
    /// How many messages were made of it.
    #[serde(rename = "in")]
    messages_in: usize,
    #[serde(rename = "out")]
    messages_out: usize,
}

impl Joined {
    fn of(event: &Event) -> Self {
        let (time_ns, rank, name) = (event.time_ns, rank(&event.name), event.name.clone());
        Self { time_ns, rank, name, digest: identity(event), messages_in: 0, messages_out: 0 }
    }
}

/// What tells an event from others of the same span: a digest of its content and time.
pub(crate) fn identity(event: &Event) -> String {
    let digest = Digest::of_json(&serde_json::to_value(event).unwrap_or_default());
    digest.hex().and_then(|hex| hex.get(..16)).unwrap_or_default().to_owned()
}

/// What was made of one log record.
type Made = (Joined, Vec<Message>, Vec<Message>);

/// Joins log records to their span, whenever they come; answers how many were new. One that was joined before is not
/// joined again, and messages stand in the order of their records, as if all had come at once.
pub(crate) fn join(span: &mut Span, events: Vec<Event>) -> usize {
    let before: Vec<Joined> =
        span.attributes.get(JOINED_KEY).and_then(|value| Vec::deserialize(value).ok()).unwrap_or_default();
    let known: HashSet<&str> = before.iter().map(|joined| joined.digest.as_str()).collect();
    let new: BTreeMap<Joined, Event> = events.into_iter().map(|event| (Joined::of(&event), event)).collect();
    let new: Vec<_> = new.into_iter().filter(|(joined, _)| !known.contains(joined.digest.as_str())).collect();
    if new.is_empty() {
        return 0;
    }
    // What the span itself says is believed before its log records.
    let met_in: usize = before.iter().map(|joined| joined.messages_in).sum();
    let met_out: usize = before.iter().map(|joined| joined.messages_out).sum();
    let (no_in, no_out) = (span.messages_in.len() == met_in, span.messages_out.len() == met_out);
    let mut made = apart(span, before);
    let (count, mut left) = (new.len(), Vec::new());
    for (mut joined, event) in new {
        let mut alone = Span::new(span.trace_id.clone(), span.span_id.clone(), span.kind, "", 0);
        if !take(&mut alone, &event, no_in, no_out) {
            left.push(event);
        }
        (joined.messages_in, joined.messages_out) = (alone.messages_in.len(), alone.messages_out.len());
        add_reasons(span, alone.finish_reasons);
        made.push((joined, alone.messages_in, alone.messages_out));
    }
    made.sort_by(|one, other| one.0.cmp(&other.0));
    let mut joined = Vec::with_capacity(made.len());
    for (record, messages_in, messages_out) in made {
        if no_in {
            span.messages_in.extend(messages_in);
        }
        if no_out {
            span.messages_out.extend(messages_out);
        }
        joined.push(record);
    }
    if no_in {
        if let Some(prompt) = span.prompt.as_mut().filter(|_| met_in > 0) {
            prompt.digest = None;
        }
        add_prompt_digest(span);
    }
    keep(span, &left);
    span.attributes.insert(JOINED_KEY.to_owned(), serde_json::to_value(&joined).unwrap_or_default());
    count
}

/// Takes the messages that were made of log records out of a span, each with its record. Messages of the span itself
/// stay.
fn apart(span: &mut Span, joined: Vec<Joined>) -> Vec<Made> {
    let sum = |count: fn(&Joined) -> usize| joined.iter().map(count).sum::<usize>();
    let (all_in, all_out) = (sum(|joined| joined.messages_in), sum(|joined| joined.messages_out));
    let whole = |messages: &mut Vec<Message>, all: usize| {
        if messages.len() == all { std::mem::take(messages).into_iter() } else { Vec::new().into_iter() }
    };
    let (mut messages_in, mut messages_out) =
        (whole(&mut span.messages_in, all_in), whole(&mut span.messages_out, all_out));
    let part = |joined: Joined| {
        let (count_in, count_out) = (joined.messages_in, joined.messages_out);
        (joined, messages_in.by_ref().take(count_in).collect(), messages_out.by_ref().take(count_out).collect())
    };
    joined.into_iter().map(part).collect()
}

/// Messages of one moment: instructions before the conversation before the answer.
fn rank(name: &str) -> u8 {
    match name {
        "gen_ai.system.message" => 0,
        "gen_ai.choice" | "gen_ai.content.completion" => 2,
        _ => 1,
    }
}

fn take(span: &mut Span, event: &Event, no_in: bool, no_out: bool) -> bool {
    match event.name.as_str() {
        "exception" => take_exception(span, event),
        DETAILS => {
            let mut said = event.attributes.clone();
            // Some emitters put into the body what belongs into attributes.
            if let Some(Value::Object(body)) = &event.body {
                said.extend(body.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            let mut bag = bag::Bag::new(said);
            let found_in = super::content::messages_in(&mut bag, true);
            let (found_out, reasons) = super::content::messages_out(&mut bag, true);
            let used = no_in && !found_in.is_empty() || no_out && !found_out.is_empty();
            if no_in {
                span.messages_in.extend(found_in);
            }
            if no_out {
                span.messages_out.extend(found_out);
                add_reasons(span, reasons);
            }
            used
        }
        "gen_ai.content.prompt" if no_in => {
            let found = event.attributes.get("gen_ai.prompt").and_then(|value| text_or_messages(value, "user"));
            found.map(|found| span.messages_in.extend(found)).is_some()
        }
        "gen_ai.content.completion" if no_out => {
            let found =
                event.attributes.get("gen_ai.completion").and_then(|value| text_or_messages(value, "assistant"));
            found.map(|found| span.messages_out.extend(found)).is_some()
        }
        "gen_ai.choice" if no_out => {
            let body = body(event);
            let message = body.get("message").cloned().map(structured);
            let found = message.as_ref().and_then(|message| text_or_messages(message, "assistant"));
            let found = found.or_else(|| messages::read(&Value::Object(body.clone()), "assistant"));
            let reason = body.get("finish_reason").and_then(Value::as_str).map(str::to_owned);
            let used = found.is_some() || reason.is_some();
            span.messages_out.extend(found.unwrap_or_default());
            add_reasons(span, reason.into_iter().collect());
            used
        }
        name => match role_of(name) {
            Some(role) if no_in => {
                let mut body = body(event);
                body.insert("role".to_owned(), Value::from(role));
                let found = messages::read(&Value::Object(body), role).unwrap_or_default();
                let found: Vec<Message> = found.into_iter().filter(|message| !message.parts.is_empty()).collect();
                let used = !found.is_empty();
                span.messages_in.extend(found);
                used
            }
            _ => false,
        },
    }
}

/// The body of an event: of a log record, else the JSON some tracers put into one attribute, else the attributes.
fn body(event: &Event) -> Map<String, Value> {
    let whole = event.body.clone().or_else(|| event.attributes.get("gen_ai.event.content").cloned());
    match whole.map(structured) {
        Some(Value::Object(map)) => map,
        Some(Value::String(text)) => Map::from_iter([("content".to_owned(), Value::String(text))]),
        _ => event.attributes.iter().map(|(key, value)| (key.clone(), structured_calls(key, value))).collect(),
    }
}

fn structured_calls(key: &str, value: &Value) -> Value {
    if key == "content" { value.clone() } else { structured(value.clone()) }
}

fn text_or_messages(value: &Value, role: &str) -> Option<Vec<Message>> {
    messages::read(value, role)
        .or_else(|| value.as_str().filter(|text| !text.is_empty()).map(|text| vec![Message::text(role, text)]))
}

fn add_reasons(span: &mut Span, reasons: Vec<String>) {
    if span.finish_reasons.is_empty() {
        span.finish_reasons = reasons;
    }
}

/// What the exception says fills gaps; the event itself stays, since it also holds the stack.
fn take_exception(span: &mut Span, event: &Event) -> bool {
    let text = |key: &str| event.attributes.get(key).and_then(bag::as_text);
    let (kind, message) = (text("exception.type"), text("exception.message"));
    if kind.is_some() || message.is_some() {
        let error = span.error.get_or_insert_default();
        error.kind = error.kind.take().or(kind);
        error.message = error.message.take().or(message);
    }
    false
}

/// A prompt version for those who use no registry, from instructions that came as events.
fn add_prompt_digest(span: &mut Span) {
    if let Some(digest) = prompt_digest(&span.messages_in) {
        let prompt = span.prompt.get_or_insert_with(PromptRef::default);
        prompt.digest.get_or_insert(digest);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Part;

    fn span() -> Span {
        serde_json::from_value(json!({"trace_id": "t", "span_id": "s", "kind": "model", "name": "chat", "start_ns": 1}))
            .unwrap()
    }

    fn event(time: i64, name: &str, body: Value) -> Event {
        Event { name: name.to_owned(), time_ns: Some(time), attributes: Default::default(), body: Some(body) }
    }

    #[test]
    fn old_events_become_messages_in_order_of_time() {
        let mut events = vec![
            event(1, "gen_ai.user.message", json!({"content": "Weather?"})),
            event(1, "gen_ai.system.message", json!({"content": "Be brief."})),
            event(
                2,
                "gen_ai.assistant.message",
                json!({"tool_calls": [{"id": "c", "type": "function",
                "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}}]}),
            ),
            event(3, "gen_ai.tool.message", json!({"content": "rainy", "id": "c"})),
            event(4, "gen_ai.choice", json!({"index": 0, "finish_reason": "stop", "message": {"content": "Rain."}})),
            event(5, "custom", json!("x")),
        ];
        let mut forward = span();
        apply(&mut forward, events.clone());
        let roles: Vec<&str> = forward.messages_in.iter().map(|message| message.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool"]);
        assert_eq!(
            forward.messages_in[3].parts,
            [Part::ToolResult { id: Some("c".to_owned()), result: json!("rainy") }]
        );
        assert_eq!(forward.messages_out, [Message::text("assistant", "Rain.")]);
        assert_eq!(forward.finish_reasons, ["stop"]);
        assert_eq!(forward.attributes[EVENTS_KEY].as_array().unwrap().len(), 1);
        assert!(forward.prompt.as_ref().unwrap().digest.is_some());
        events.reverse();
        let mut backward = span();
        apply(&mut backward, events);
        assert_eq!(forward, backward);
    }

    #[test]
    fn attributes_of_the_span_come_first_and_content_may_be_off() {
        let mut span = span();
        span.messages_in = vec![Message::text("user", "from attributes")];
        apply(&mut span, vec![event(1, "gen_ai.user.message", json!({"content": "from an event"}))]);
        assert_eq!(span.messages_in.len(), 1);
        assert_eq!(span.attributes[EVENTS_KEY].as_array().unwrap().len(), 1);
        let mut silent = self::span();
        apply(
            &mut silent,
            vec![event(1, "gen_ai.choice", json!({"index": 0, "finish_reason": "stop", "message": {}}))],
        );
        assert_eq!((silent.messages_out.len(), silent.finish_reasons.as_slice()), (0, ["stop".to_owned()].as_slice()));
    }

    #[test]
    fn log_records_join_once_in_any_pieces() {
        let events = [
            event(1, "gen_ai.user.message", json!({"content": "Weather?"})),
            event(1, "gen_ai.system.message", json!({"content": "Be brief."})),
            event(2, "gen_ai.tool.message", json!({"content": "rainy", "id": "c"})),
            event(4, "gen_ai.choice", json!({"index": 0, "finish_reason": "stop", "message": {"content": "Rain."}})),
            event(5, "gen_ai.user.message", json!({})),
        ];
        let mut whole = span();
        assert_eq!(join(&mut whole, events.to_vec()), 5);
        let roles: Vec<&str> = whole.messages_in.iter().map(|message| message.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "tool"]);
        assert_eq!((whole.messages_out.len(), whole.finish_reasons.as_slice()), (1, ["stop".to_owned()].as_slice()));
        for pieces in [vec![3, 0, 1, 4, 2], vec![2, 4, 3, 1, 0], vec![0, 0, 1, 2, 3, 3, 4]] {
            let mut late = span();
            for at in pieces {
                join(&mut late, vec![events[at].clone(), events[at].clone()]);
            }
            assert_eq!(late, whole);
        }
        assert_eq!(join(&mut whole, events.to_vec()), 0);
        assert_eq!(whole.attributes[EVENTS_KEY].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_the_span_says_stays_when_log_records_come_late() {
        let mut span = span();
        span.messages_in = vec![Message::text("user", "from attributes")];
        let choice = event(4, "gen_ai.choice", json!({"index": 0, "message": {"content": "Rain."}}));
        assert_eq!(join(&mut span, vec![choice]), 1);
        assert_eq!(join(&mut span, vec![event(1, "gen_ai.user.message", json!({"content": "from a record"}))]), 1);
        assert_eq!(span.messages_in, [Message::text("user", "from attributes")]);
        assert_eq!(span.messages_out, [Message::text("assistant", "Rain.")]);
        assert_eq!(span.attributes[EVENTS_KEY].as_array().unwrap().len(), 1);
    }

    #[test]
    fn details_hold_the_whole_conversation() {
        let mut event = event(1, DETAILS, json!(null));
        event
            .attributes
            .insert("gen_ai.system_instructions".to_owned(), json!([{"type": "text", "content": "Be brief."}]));
        event.attributes.insert(
            "gen_ai.input.messages".to_owned(),
            json!([{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]),
        );
        event.attributes.insert(
            "gen_ai.output.messages".to_owned(),
            json!([{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "stop"}]),
        );
        let mut span = span();
        apply(&mut span, vec![event]);
        assert_eq!(span.messages_in, [Message::text("system", "Be brief."), Message::text("user", "Hi")]);
        assert_eq!(span.messages_out, [Message::text("assistant", "Hello")]);
        assert_eq!(span.finish_reasons, ["stop"]);
        assert!(span.attributes.is_empty());
    }

    #[test]
    fn exceptions_name_the_error() {
        let mut event = event(1, "exception", json!(null));
        event.attributes.insert("exception.type".to_owned(), json!("TimeoutError"));
        event.attributes.insert("exception.message".to_owned(), json!("too slow"));
        let mut span = span();
        apply(&mut span, vec![event]);
        let error = span.error.unwrap();
        assert_eq!((error.kind.as_deref(), error.message.as_deref()), (Some("TimeoutError"), Some("too slow")));
    }
}
