//! A dialogue in the chat format of OpenAI as a trace: one agent span, a model span per answer, a tool span per call.
//!
//! Times are unknown in such recordings: starts are only counted up (0, 1, 2 nanoseconds) to keep the order, and no
//! span has an end, so no latency can be made of them. Model spans hold what is new since the answer before, not the
//! whole conversation again: the sum would be quadratic in the number of turns.

use serde_json::Value;

use super::error::shown;
use crate::model::{AgentRef, Message, Part, Source, Span, SpanId, SpanKind, ToolUse, Trace, TraceId};

/// What is wrong with a dialogue, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogueFault {
    /// Where, to be put behind the field's path: `.3.role`, or nothing for the whole.
    pub at: String,
    /// What was there.
    pub found: String,
    /// What should have been.
    pub expected: &'static str,
}

/// The trace of a list of messages: `role`, `content` (text, null or parts), `tool_calls` with arguments as JSON
/// text, `tool_call_id` on results; the older `function_call` and role `function` as well. A `name` beside an answer
/// is the agent's.
///
/// # Errors
/// The value is not a list of objects with a `role`, or is empty.
pub fn trace_of_messages(messages: &Value, id: TraceId) -> Result<Trace, DialogueFault> {
    let fault = |at: String, found: &Value, expected| Err(DialogueFault { at, found: shown(found), expected });
    let Value::Array(items) = messages else {
        return fault(String::new(), messages, "a list of chat messages");
    };
    if items.is_empty() {
        return fault(String::new(), messages, "at least one chat message");
    }
    let mut builder = Builder::new(id);
    for (index, item) in items.iter().enumerate() {
        if !item.is_object() {
            return fault(format!(".{index}"), item, "a chat message: an object with `role` and `content`");
        }
        match item.get("role").and_then(Value::as_str) {
            Some(role) => builder.push(message_of(role, item), item.get("name").and_then(Value::as_str)),
            None => return fault(format!(".{index}.role"), item, "a role such as `user` or `assistant`"),
        }
    }
    Ok(builder.finish())
}

struct Builder {
    root: Span,
    spans: Vec<Span>,
    /// Messages since the last answer.
    news: Vec<Message>,
    /// Tool spans whose result has not come, oldest first: call id and place in `spans`.
    waiting: Vec<(Option<String>, usize)>,
    answered: bool,
}

impl Builder {
    fn new(id: TraceId) -> Self {
        let root = span(&id, 0, SpanKind::Agent, "agent");
        Self { root, spans: Vec::new(), news: Vec::new(), waiting: Vec::new(), answered: false }
    }

    /// Takes a message; `speaker` is the agent or tool that the recording names.
    fn push(&mut self, message: Message, speaker: Option<&str>) {
        if message.role == "assistant" {
            self.answer(message, speaker);
            return;
        }
        for part in &message.parts {
            if let Part::ToolResult { id, result } = part {
                self.result(id.as_deref(), result, speaker);
            }
        }
        if !self.answered {
            self.root.messages_in.push(message.clone());
        }
        self.news.push(message);
    }

    fn answer(&mut self, message: Message, speaker: Option<&str>) {
        self.answered = true;
        let calls: Vec<ToolUse> = message.parts.iter().filter_map(tool_use).collect();
        let mut model = self.child(SpanKind::Model, "chat");
        model.agent = speaker.map(|name| AgentRef { name: Some(name.to_owned()), ..AgentRef::default() });
        model.messages_in = std::mem::take(&mut self.news);
        if !message.plain_text().trim().is_empty() {
            self.root.messages_out = vec![message.clone()];
        }
        model.messages_out = vec![message];
        self.spans.push(model);
        self.waiting.clear();
        for call in calls {
            self.waiting.push((call.call_id.clone(), self.spans.len()));
            self.tool(call);
        }
    }

    fn tool(&mut self, call: ToolUse) {
        let mut tool = self.child(SpanKind::Tool, &call.name);
        tool.tool = Some(call);
        self.spans.push(tool);
    }

    /// Gives a result to the call it names, else to the oldest open call; a result nobody asked for is a call of its
    /// own, so that it is not lost.
    fn result(&mut self, id: Option<&str>, result: &Value, speaker: Option<&str>) {
        let named = self.waiting.iter().position(|(call, _)| id.is_some() && call.as_deref() == id);
        let open = named.or_else(|| (id.is_none() && !self.waiting.is_empty()).then_some(0));
        match open.map(|place| self.waiting.remove(place)) {
            Some((_, place)) => {
                if let Some(tool) = self.spans.get_mut(place).and_then(|span| span.tool.as_mut()) {
                    tool.result = Some(result.clone());
                }
            }
            None => self.tool(ToolUse {
                name: speaker.unwrap_or("unknown").to_owned(),
                call_id: id.map(str::to_owned),
                arguments: None,
                result: Some(result.clone()),
            }),
        }
    }

    fn child(&self, kind: SpanKind, name: &str) -> Span {
        let mut child = span(&self.root.trace_id, self.spans.len() + 1, kind, name);
        child.parent_id = Some(self.root.span_id.clone());
        child
    }

    fn finish(mut self) -> Trace {
        if !self.news.is_empty() && self.answered {
            // What came after the last answer (a goodbye of the user, a tool's last word) stays visible.
            let mut rest = self.child(SpanKind::Step, "after the last answer");
            rest.messages_in = std::mem::take(&mut self.news);
            self.spans.push(rest);
        }
        let mut spans = vec![self.root];
        spans.append(&mut self.spans);
        let id = spans.first().map_or_else(|| TraceId::new(""), |root| root.trace_id.clone());
        Trace { id, session_id: None, spans, faults: Vec::new() }
    }
}

fn span(trace_id: &TraceId, ordinal: usize, kind: SpanKind, name: &str) -> Span {
    let span_id = SpanId::new(format!("{ordinal:06}"));
    let start_ns = i64::try_from(ordinal).unwrap_or(i64::MAX);
    let source = Source { dialect: Some("openai_chat".to_owned()), ..Source::default() };
    Span { source, ..Span::new(trace_id.clone(), span_id, kind, name, start_ns) }
}

fn message_of(role: &str, item: &Value) -> Message {
    let mut parts = Vec::new();
    if let Some(thought) = item.get("reasoning_content").and_then(Value::as_str) {
        parts.push(Part::Reasoning { content: thought.to_owned() });
    }
    let content = item.get("content").unwrap_or(&Value::Null);
    if role == "tool" || role == "function" {
        let id = item.get("tool_call_id").and_then(Value::as_str).map(str::to_owned);
        parts.push(Part::ToolResult { id, result: result_of(content) });
        return Message { role: "tool".to_owned(), parts };
    }
    match content {
        Value::Null => {}
        Value::String(text) => parts.push(Part::Text { content: text.clone() }),
        Value::Array(items) => parts.extend(items.iter().map(part_of)),
        other => parts.push(Part::Other { value: other.clone() }),
    }
    let calls = item.get("tool_calls").and_then(Value::as_array);
    parts.extend(calls.into_iter().flatten().filter_map(|call| {
        let id = call.get("id").and_then(Value::as_str).map(str::to_owned);
        call_of(id, call.get("function").unwrap_or(call))
    }));
    parts.extend(item.get("function_call").and_then(|call| call_of(None, call)));
    Message { role: role.to_owned(), parts }
}

fn part_of(item: &Value) -> Part {
    let text = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
    match item.get("type").and_then(Value::as_str) {
        Some("text" | "input_text" | "output_text") if text("text").is_some() => {
            Part::Text { content: text("text").unwrap_or_default() }
        }
        Some("refusal") if text("refusal").is_some() => Part::Text { content: text("refusal").unwrap_or_default() },
        Some("thinking" | "reasoning") if text("text").or_else(|| text("thinking")).is_some() => {
            Part::Reasoning { content: text("text").or_else(|| text("thinking")).unwrap_or_default() }
        }
        _ => Part::Other { value: item.clone() },
    }
}

fn call_of(id: Option<String>, function: &Value) -> Option<Part> {
    let name = function.get("name").and_then(Value::as_str)?.to_owned();
    let arguments = function.get("arguments").map(json_or_text).unwrap_or_default();
    Some(Part::ToolCall { id, name, arguments })
}

/// A tool's result: the text parts joined where it comes in parts, JSON where it parses.
fn result_of(content: &Value) -> Value {
    let Value::Array(items) = content else { return json_or_text(content) };
    let texts: Option<Vec<&str>> = items.iter().map(|item| item.get("text").and_then(Value::as_str)).collect();
    match texts {
        Some(texts) if !texts.is_empty() => json_or_text(&Value::String(texts.join("\n"))),
        _ => content.clone(),
    }
}

fn json_or_text(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        other => other.clone(),
    }
}

fn tool_use(part: &Part) -> Option<ToolUse> {
    match part {
        Part::ToolCall { id, name, arguments } => {
            Some(ToolUse { name: name.clone(), call_id: id.clone(), arguments: Some(arguments.clone()), result: None })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn dialogue() -> Value {
        json!([
            {"role": "system", "content": "policy"},
            {"role": "user", "content": "book a flight"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{\"to\":\"SEA\"}"}},
                {"id": "c2", "type": "function", "function": {"name": "price", "arguments": "not json"}}]},
            {"role": "tool", "tool_call_id": "c2", "content": "12"},
            {"role": "tool", "tool_call_id": "c1", "content": "[\"F1\"]"},
            {"role": "assistant", "content": [{"type": "text", "text": "Booked."}]},
            {"role": "user", "content": "bye"}
        ])
    }

    #[test]
    fn calls_meet_their_results_whatever_the_order() {
        let trace = trace_of_messages(&dialogue(), TraceId::new("t")).unwrap();
        let tools = trace.tools_used();
        assert_eq!(tools.len(), 2);
        assert_eq!((tools[0].name.as_str(), &tools[0].arguments), ("find", &Some(json!({"to": "SEA"}))));
        assert_eq!(tools[0].result, Some(json!(["F1"])));
        assert_eq!((&tools[1].arguments, &tools[1].result), (&Some(json!("not json")), &Some(json!(12))));
        assert_eq!(trace.input(), Some(json!("book a flight")));
        assert_eq!(trace.final_output(), Some(json!("Booked.")));
        assert_eq!(trace.duration_ms(), None);
        let kinds: Vec<SpanKind> = trace.spans.iter().map(|span| span.kind).collect();
        let expected =
            [SpanKind::Agent, SpanKind::Model, SpanKind::Tool, SpanKind::Tool, SpanKind::Model, SpanKind::Step];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn every_message_is_in_exactly_one_child() {
        let trace = trace_of_messages(&dialogue(), TraceId::new("t")).unwrap();
        let held: usize = trace.spans.iter().skip(1).map(|span| span.messages_in.len() + span.messages_out.len()).sum();
        assert_eq!(held, 7);
    }

    #[test]
    fn the_older_function_form_and_stray_results_are_read() {
        let old = json!([
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "done"},
            {"role": "tool", "tool_call_id": "ghost", "content": "boo"}
        ]);
        let tools = trace_of_messages(&old, TraceId::new("t")).unwrap().tools_used();
        assert_eq!(tools[0].result, Some(json!("done")));
        assert_eq!((tools[1].name.as_str(), &tools[1].result), ("unknown", &Some(json!("boo"))));
    }

    #[test]
    fn faults_say_where() {
        let fault = trace_of_messages(&json!([{"role": "user"}, {"content": "x"}]), TraceId::new("t")).unwrap_err();
        assert_eq!(fault.at, ".1.role");
        assert!(trace_of_messages(&json!([]), TraceId::new("t")).is_err());
        assert!(trace_of_messages(&json!("x"), TraceId::new("t")).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(roles in proptest::collection::vec("user|assistant|tool|x", 0..8), content in ".{0,10}") {
            let items: Vec<Value> = roles.iter().map(|role| json!({"role": role, "content": content,
                "tool_calls": [{"id": content, "function": {"name": "n", "arguments": content}}, 3]})).collect();
            let _ = trace_of_messages(&Value::Array(items), TraceId::new("t"));
        }
    }
}
