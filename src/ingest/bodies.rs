//! Requests to models and answers of models as recorders keep them: OpenAI's chat and responses, Anthropic's messages,
//! Gemini's contents, LangChain's generations and serialised objects.
//!
//! Brought to shapes `dialect` reads as messages; what a body says beside them (model, tokens, why it stopped) goes to
//! its own attribute, and the rest stays below `input.` and `output.`. Anything else is passed on as it is.

use serde_json::{Map, Value, json};

use super::json::{at, is_empty, structured, words};
use super::platform::{Cache, count_tokens, has_tokens};
use super::raw::RawSpan;

/// LangChain objects inside of each other are looked into this deep.
const DEPTH: usize = 12;

/// Passes on what went into a step.
pub(super) fn put_input(raw: &mut RawSpan, value: Option<Value>) {
    let Some(value) = value.map(structured) else { return };
    let mut value = plain(value, DEPTH);
    if let Value::Object(map) = &mut value
        && let Some(messages) = request(map)
    {
        let model = map.remove("model").as_ref().and_then(words);
        if !raw.attributes.contains_key("gen_ai.request.model") {
            raw.set("gen_ai.request.model", model);
        }
        keep_rest(raw, "input", std::mem::replace(map, messages));
    }
    raw.set("input.value", Some(value));
}

/// Passes on what came out of a step. Tokens that are known already are believed before those of the body.
pub(super) fn put_output(raw: &mut RawSpan, value: Option<Value>) {
    let Some(value) = value.map(structured) else { return };
    put_reasons(raw, finish_reasons(&value, DEPTH));
    let mut value = plain(value, DEPTH);
    if let Value::Object(map) = &mut value
        && let Some(messages) = answer(map)
    {
        raw.set("gen_ai.response.model", ["model", "modelVersion"].iter().find_map(|key| map.remove(*key)));
        raw.set("gen_ai.response.id", map.remove("id"));
        for key in ["usage", "usageMetadata", "usage_metadata"] {
            let Some(Value::Object(usage)) = map.remove(key) else { continue };
            if !has_tokens(raw) {
                count_body_tokens(raw, &usage);
            }
        }
        keep_rest(raw, "output", std::mem::replace(map, messages));
    }
    raw.set("output.value", Some(value));
}

/// Counts tokens as a provider's own body states them. Only Anthropic leaves cached tokens out of the input.
pub(super) fn count_body_tokens(raw: &mut RawSpan, usage: &Map<String, Value>) -> bool {
    let anthropic = usage.contains_key("input_tokens")
        && ["cache_read_input_tokens", "cache_creation_input_tokens"].iter().any(|key| usage.contains_key(*key));
    count_tokens(raw, usage, if anthropic { Cache::Outside } else { Cache::Inside })
}

fn put_reasons(raw: &mut RawSpan, reasons: Vec<Value>) {
    if !reasons.is_empty() {
        raw.attributes.entry("gen_ai.response.finish_reasons".to_owned()).or_insert(Value::Array(reasons));
    }
}

fn keep_rest(raw: &mut RawSpan, side: &str, rest: Map<String, Value>) {
    let said = rest.into_iter().filter(|(key, value)| !is_empty(value) && key != "value" && key != "mime_type");
    for (key, value) in said {
        raw.attributes.entry(format!("{side}.{key}")).or_insert(value);
    }
}

/// Takes the messages out of a request; `None` where it is none.
fn request(map: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    let mut messages = Map::new();
    if map.get("messages").is_some_and(|list| list.is_array() || list.is_object()) {
        for key in ["system", "messages"] {
            messages.extend(map.remove(key).filter(|value| !is_empty(value)).map(|value| (key.to_owned(), value)));
        }
        return Some(messages);
    }
    if map.get("contents").is_some_and(Value::is_array) {
        let system = ["systemInstruction", "system_instruction"].iter().find_map(|key| map.remove(*key));
        let mut list: Vec<Value> = system.iter().map(|content| gemini(content, "system")).collect();
        if let Some(Value::Array(contents)) = map.remove("contents") {
            list.extend(contents.iter().map(|content| gemini(content, "user")));
        }
        return Some(Map::from_iter([("messages".to_owned(), Value::Array(list))]));
    }
    // OpenAI's responses take `input`; so may anything, therefore the model must be named as well.
    let input = map.get("input").filter(|input| input.is_string() || input.is_array())?;
    if !map.contains_key("model") || input.as_array().is_some_and(|items| !items.iter().any(Value::is_object)) {
        return None;
    }
    let mut list = Vec::new();
    if let Some(instructions) = map.remove("instructions").filter(|value| !is_empty(value)) {
        list.push(json!({"role": "system", "content": instructions}));
    }
    match map.remove("input") {
        Some(Value::Array(items)) => list.extend(items.into_iter().filter_map(response_item)),
        Some(text) => list.push(json!({"role": "user", "content": text})),
        None => {}
    }
    Some(Map::from_iter([("messages".to_owned(), Value::Array(list))]))
}

/// Takes the messages out of an answer; `None` where it is none.
fn answer(map: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    let wrapped = |list: Vec<Value>| Some(Map::from_iter([("messages".to_owned(), Value::Array(list))]));
    if let Some(Value::Array(choices)) = map.get("choices") {
        let message = |choice: &Value| {
            let text = || Some(json!({"role": "assistant", "content": choice.get("text")?.as_str()?}));
            choice.get("message").filter(|message| message.is_object()).cloned().or_else(text)
        };
        let list: Option<Vec<Value>> = choices.iter().map(message).collect();
        let list = list.filter(|list| !list.is_empty())?;
        map.remove("choices");
        return wrapped(list);
    }
    if let Some(Value::Array(candidates)) = map.get("candidates") {
        let list = candidates.iter().filter_map(|one| one.get("content")).map(|content| gemini(content, "assistant"));
        let list = list.collect();
        map.remove("candidates");
        return wrapped(list);
    }
    let is_response = map.get("object").and_then(Value::as_str) == Some("response") || map.contains_key("usage");
    if is_response && map.get("output").is_some_and(Value::is_array) {
        let Some(Value::Array(items)) = map.remove("output") else { return None };
        return wrapped(items.into_iter().filter_map(response_item).collect());
    }
    if map.get("messages").is_some_and(Value::is_array) {
        return Some(Map::from_iter([("messages".to_owned(), map.remove("messages")?)]));
    }
    // Anthropic's answer is itself a message.
    if map.get("type").and_then(Value::as_str) == Some("message") && map.contains_key("content") {
        let role = map.remove("role").unwrap_or_else(|| Value::from("assistant"));
        let content = map.remove("content")?;
        map.remove("type");
        return wrapped(vec![json!({"role": role, "content": content})]);
    }
    None
}

/// One item of OpenAI's responses as a message; `None` for what is none.
fn response_item(item: Value) -> Option<Value> {
    let text = |key: &str| item.get(key).cloned().unwrap_or_default();
    match item.get("type").and_then(Value::as_str) {
        Some("function_call" | "custom_tool_call") => {
            let arguments = if item.get("arguments").is_some() { text("arguments") } else { text("input") };
            let call = json!({"id": text("call_id"), "name": text("name"), "arguments": arguments});
            Some(json!({"role": "assistant", "tool_calls": [call]}))
        }
        Some("function_call_output" | "custom_tool_call_output") => {
            Some(json!({"role": "tool", "tool_call_id": text("call_id"), "content": text("output")}))
        }
        Some("reasoning") => {
            let thoughts = item.get("summary").and_then(Value::as_array)?;
            let thoughts: Vec<&str> = thoughts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            let thoughts = thoughts.join("\n");
            (!thoughts.is_empty()).then(|| json!({"role": "assistant", "reasoning_content": thoughts}))
        }
        _ if item.get("role").is_some() => Some(item),
        // Calls of the provider's own tools: kept as a part nobody reads.
        Some(_) => Some(json!({"role": "assistant", "content": [item]})),
        None => None,
    }
}

fn gemini(content: &Value, role: &str) -> Value {
    let said = content.get("role").and_then(Value::as_str).unwrap_or(role);
    let part = |part: &Value| {
        if let Some(text) = part.get("text") {
            let thought = part.get("thought").and_then(Value::as_bool) == Some(true);
            return json!({"type": if thought { "reasoning" } else { "text" }, "text": text});
        }
        if let Some(call) = ["functionCall", "function_call"].iter().find_map(|key| part.get(*key)) {
            return json!({"type": "tool_call", "id": call.get("id"), "name": call.get("name"),
                "arguments": call.get("args")});
        }
        if let Some(result) = ["functionResponse", "function_response"].iter().find_map(|key| part.get(*key)) {
            return json!({"type": "tool_call_response", "id": result.get("id"), "response": result.get("response")});
        }
        part.clone()
    };
    let parts = match content.get("parts") {
        Some(Value::Array(parts)) => parts.iter().map(part).collect(),
        Some(one) => vec![part(one)],
        None => vec![json!({"type": "text", "text": content})],
    };
    json!({"role": said, "content": parts})
}

/// LangChain's serialised objects as what they stand for: messages as messages, others as their fields.
pub(super) fn plain(value: Value, depth: usize) -> Value {
    if depth == 0 {
        return value;
    }
    match value {
        Value::Array(items) => match speaker(&items) {
            Some((role, content)) => json!({"role": role, "content": content}),
            None => Value::Array(items.into_iter().map(|item| plain(item, depth - 1)).collect()),
        },
        Value::Object(map) => plain_object(map, depth),
        other => other,
    }
}

/// The pair that LangGraph takes for a message: `["user", "hi"]`.
fn speaker(items: &[Value]) -> Option<(&str, &str)> {
    let [role, content] = items else { return None };
    let (role, content) = role.as_str().zip(content.as_str())?;
    ["user", "human", "system", "assistant", "ai"].contains(&role).then_some((role, content))
}

fn plain_object(mut map: Map<String, Value>, depth: usize) -> Value {
    if map.get("lc").is_some_and(Value::is_number) && map.get("kwargs").is_some_and(Value::is_object) {
        let class = map.get("id").and_then(Value::as_array).and_then(|path| path.last()?.as_str().map(str::to_owned));
        return match map.remove("kwargs") {
            Some(Value::Object(fields)) => message(fields, class.as_deref(), depth),
            _ => Value::Object(map),
        };
    }
    // `messages_to_dict` puts the fields below `data`.
    let kind = map.get("type").and_then(Value::as_str).and_then(role_of).is_some();
    if kind && map.len() == 2 && map.get("data").is_some_and(Value::is_object) {
        let class = map.get("type").and_then(Value::as_str).map(str::to_owned);
        if let Some(Value::Object(fields)) = map.remove("data") {
            return message(fields, class.as_deref(), depth);
        }
    }
    if let Some(Value::Array(generations)) = map.get("generations") {
        let list: Option<Vec<Value>> = flat(generations).map(|one| generation(one, depth)).collect();
        if let Some(list) = list.filter(|list| !list.is_empty()) {
            map.remove("generations");
            map.remove("type");
            map.insert("messages".to_owned(), Value::Array(list));
        }
    }
    Value::Object(map.into_iter().map(|(key, value)| (key, plain(value, depth - 1))).collect())
}

/// LangChain's generations, which stand in one list or in one list per prompt.
pub(super) fn flat(generations: &[Value]) -> impl Iterator<Item = &Value> {
    generations.iter().flat_map(|one| match one {
        Value::Array(inner) => inner.as_slice(),
        other => std::slice::from_ref(other),
    })
}

fn generation(generation: &Value, depth: usize) -> Option<Value> {
    match generation.get("message") {
        Some(message @ Value::Object(_)) => Some(plain(message.clone(), depth - 1)),
        _ => Some(json!({"role": "assistant", "content": generation.get("text")?.as_str()?})),
    }
}

fn message(mut fields: Map<String, Value>, class: Option<&str>, depth: usize) -> Value {
    let role = class.and_then(role_of).or_else(|| fields.get("type").and_then(Value::as_str).and_then(role_of));
    if let Some(role) = role.filter(|_| !fields.contains_key("role")) {
        fields.insert("role".to_owned(), Value::from(role));
    }
    if fields.get("tool_calls").is_none_or(is_empty)
        && let Some(calls) = at(&fields, "additional_kwargs.tool_calls").cloned()
    {
        fields.insert("tool_calls".to_owned(), calls);
    }
    Value::Object(fields.into_iter().map(|(key, value)| (key, plain(value, depth - 1))).collect())
}

fn role_of(class: &str) -> Option<&'static str> {
    Some(match class {
        "HumanMessage" | "HumanMessageChunk" | "human" => "user",
        "AIMessage" | "AIMessageChunk" | "ai" => "assistant",
        "SystemMessage" | "SystemMessageChunk" | "system" => "system",
        "ToolMessage" | "ToolMessageChunk" | "FunctionMessage" | "tool" | "function" => "tool",
        _ => return None,
    })
}

/// Why the model stopped, wherever a body says so.
fn finish_reasons(value: &Value, depth: usize) -> Vec<Value> {
    const SAID: &[&str] = &[
        "finish_reason",
        "finishReason",
        "stop_reason",
        "generation_info.finish_reason",
        "message.kwargs.response_metadata.finish_reason",
        "message.kwargs.response_metadata.stop_reason",
        "kwargs.response_metadata.finish_reason",
        "response_metadata.finish_reason",
        // A JavaScript recorder keeps the last piece of a stream here.
        "finish_reason.finish_reason",
    ];
    match value {
        Value::Object(map) => {
            let listed = ["choices", "candidates", "generations"].iter().find_map(|key| map.get(*key)?.as_array());
            if let Some(list) = listed.filter(|_| depth > 0) {
                return flat(list).flat_map(|one| finish_reasons(one, 0)).collect();
            }
            let said = SAID.iter().filter_map(|path| at(map, path)).find(|said| said.is_string() && !is_empty(said));
            said.cloned().into_iter().collect()
        }
        Value::Array(items) if depth > 0 => items.iter().flat_map(|item| finish_reasons(item, 0)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::dialect::span_of;
    use super::*;
    use crate::model::{Message, Part, Span, SpanKind, Usage};

    fn call(input: Value, output: Value) -> Span {
        let mut raw = RawSpan { kind: Some(SpanKind::Model), ..RawSpan::default() };
        put_input(&mut raw, Some(input));
        put_output(&mut raw, Some(output));
        span_of(raw)
    }

    fn usage() -> Usage {
        Usage { input: Some(120), output: Some(30), cache_read: Some(100), cache_write: None, reasoning: Some(10) }
    }

    /// The same exchange as each provider's body, and as text.
    #[test]
    fn bodies_of_every_provider_give_the_same_exchange() {
        let chat = (
            json!({"model": "gpt-x", "temperature": 0, "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]}),
            json!({"id": "r1", "object": "chat.completion", "model": "gpt-x-1", "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
                "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150,
                    "prompt_tokens_details": {"cached_tokens": 100},
                    "completion_tokens_details": {"reasoning_tokens": 10}}}),
        );
        let responses = (
            json!({"model": "gpt-x", "instructions": "Be brief.", "temperature": 0,
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}),
            json!({"id": "r1", "object": "response", "model": "gpt-x-1", "finish_reason": "stop", "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}],
                "usage": {"input_tokens": 120, "output_tokens": 30, "input_tokens_details": {"cached_tokens": 100},
                    "output_tokens_details": {"reasoning_tokens": 10}}}),
        );
        let gemini = (
            json!({"model": "gpt-x", "temperature": 0, "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
            json!({"responseId": "r1", "modelVersion": "gpt-x-1", "candidates": [
                {"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "stop"}],
                "usageMetadata": {"promptTokenCount": 120, "candidatesTokenCount": 20, "thoughtsTokenCount": 10,
                    "cachedContentTokenCount": 100}}),
        );
        for (input, output) in [chat, responses, gemini] {
            for (input, output) in [(json!(input.to_string()), json!(output.to_string())), (input, output)] {
                let span = call(input, output.clone());
                let asked = [Message::text("system", "Be brief."), Message::text("user", "hi")];
                assert_eq!(span.messages_in, asked, "{output}");
                assert_eq!(span.messages_out, [Message::text("assistant", "hello")], "{output}");
                assert_eq!(span.usage, usage(), "{output}");
                assert_eq!(span.finish_reasons, ["stop"], "{output}");
                let model = span.model.unwrap();
                let models = (model.request.as_deref(), model.response.as_deref());
                assert_eq!(models, (Some("gpt-x"), Some("gpt-x-1")), "{output}");
                assert_eq!(span.attributes["input.temperature"], json!(0), "{output}");
            }
        }
    }

    #[test]
    fn anthropic_counts_cached_tokens_beside_the_input() {
        let span = call(
            json!({"model": "claude-x", "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}]}),
            json!({"id": "m", "type": "message", "role": "assistant", "model": "claude-x-1", "stop_reason": "tool_use",
                "content": [{"type": "text", "text": "hello"},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}}],
                "usage": {"input_tokens": 20, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 40,
                    "output_tokens": 30}}),
        );
        let expected = Usage { cache_read: Some(60), cache_write: Some(40), reasoning: None, ..usage() };
        assert_eq!((span.usage, span.finish_reasons), (expected, vec!["tool_use".to_owned()]));
        assert_eq!(span.messages_in.len(), 2);
        assert!(span.messages_out[0].calls_tools() && span.messages_out[0].plain_text() == "hello");
    }

    #[test]
    fn tools_of_the_responses_interface_are_calls_and_results() {
        let span = call(
            json!({"model": "gpt-x", "input": [{"role": "user", "content": "Weather?"},
                {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{\"city\":\"Paris\"}"},
                {"type": "function_call_output", "call_id": "c1", "output": "rainy"}]}),
            json!({"object": "response", "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "web_search_call", "id": "w"}]}),
        );
        let call = Part::ToolCall {
            id: Some("c1".to_owned()),
            name: "weather".to_owned(),
            arguments: json!({"city": "Paris"}),
        };
        assert_eq!(span.messages_in[1].parts, [call]);
        assert_eq!(span.messages_in[2].parts, [Part::ToolResult { id: Some("c1".to_owned()), result: json!("rainy") }]);
        assert_eq!(span.messages_out[0].parts, [Part::Reasoning { content: "hm".to_owned() }]);
    }

    #[test]
    fn langchain_objects_are_read_in_all_their_forms() {
        let lc = |class: &str, content: &str| {
            json!({"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", class],
                "kwargs": {"content": content, "additional_kwargs": {}}})
        };
        let answer = json!({"generations": [[{"text": "hello", "generation_info": {"finish_reason": "stop"},
            "type": "ChatGeneration", "message": lc("AIMessage", "hello")}]], "llm_output": {"x": 1}});
        for (input, output) in [
            (json!({"messages": [[lc("HumanMessage", "hi")]]}), answer),
            (
                json!([["user", "hi"]]),
                json!({"generations": [{"text": "hello", "generation_info": {"finish_reason": "stop"}}]}),
            ),
            (
                json!([{"type": "human", "data": {"content": "hi"}}]),
                json!({"finish_reason": "stop", "messages": [
                {"type": "ai", "content": "hello"}]}),
            ),
        ] {
            let span = call(input.clone(), output);
            assert_eq!(span.messages_in, [Message::text("user", "hi")], "{input}");
            assert_eq!(span.messages_out, [Message::text("assistant", "hello")], "{input}");
            assert_eq!(span.finish_reasons, ["stop"], "{input}");
        }
        let asks = json!({"lc": 1, "id": ["AIMessage"], "kwargs": {"content": "", "tool_calls": [],
            "additional_kwargs": {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}}});
        assert!(call(json!("x"), json!([asks])).messages_out[0].calls_tools());
    }

    fn any_body() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            "messages",
            "contents",
            "input",
            "model",
            "choices",
            "message",
            "candidates",
            "content",
            "output",
            "usage",
            "generations",
            "lc",
            "kwargs",
            "id",
            "type",
            "data",
            "parts",
            "finish_reason",
            "tool_calls",
            "role",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop_oneof!["message", "response", "human", "function_call", "[\\[{}\\]\"]{0,6}"].prop_map(Value::from),
        ];
        leaf.prop_recursive(7, 60, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key.clone(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_passed_on(input in any_body(), output in any_body()) {
            call(input, output);
        }
    }
}
