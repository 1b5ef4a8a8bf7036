//! The bodies of the wire formats, filled in from the request.

use serde_json::{Map, Value, json};

use super::{hash, unit};

/// Who is spoken like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// `/v1/chat/completions`.
    OpenAi,
    /// `/v1/messages`.
    Anthropic,
    /// Anything else: an application that answers `{"output": ...}`.
    App,
}

/// What is wrong with a reply that is a reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Twist {
    None,
    Empty,
    WrongSchema,
    BrokenJson,
    Refusal,
    ContentFilter,
    Length,
}

impl Shape {
    pub fn of_path(path: &str) -> Self {
        match path {
            "/v1/chat/completions" => Self::OpenAi,
            "/v1/messages" => Self::Anthropic,
            _ => Self::App,
        }
    }

    pub fn error(self, code: &str, message: &str) -> Value {
        match self {
            Self::Anthropic => json!({"type": "error", "error": {"type": code, "message": message}}),
            _ => json!({"error": {"message": message, "type": "error", "param": null, "code": code}}),
        }
    }

    pub fn refused_parameter(self, name: &str) -> Value {
        let message = format!("Unsupported parameter: '{name}' is not supported with this model.");
        match self {
            Self::Anthropic => {
                json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}})
            }
            _ => json!({"error": {"message": message, "type": "invalid_request_error", "param": name,
                "code": "unsupported_parameter"}}),
        }
    }

    pub fn reply(self, request: &Value, prompt: u64, twist: Twist, answer: Option<&Value>) -> Value {
        match self {
            Self::OpenAi => openai(request, prompt, twist, answer),
            Self::Anthropic => anthropic(request, prompt, twist, answer),
            Self::App => json!({"output": answer.cloned().unwrap_or_else(|| json!({"echo": request})),
                "usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
        }
    }
}

/// What identifies a prompt: everything that is said, not how it is asked.
pub fn prompt(body: &Value) -> String {
    let said = [body.get("system"), body.get("messages"), body.get("input")];
    said.into_iter().flatten().map(Value::to_string).collect()
}

fn openai(request: &Value, prompt: u64, twist: Twist, answer: Option<&Value>) -> Value {
    let schema = request.pointer("/response_format/json_schema/schema");
    let wants_json =
        schema.is_some() || request.pointer("/response_format/type").is_some_and(|kind| kind == "json_object");
    let text = text(schema, wants_json, prompt, twist, answer);
    let (content, refusal, finish) = match twist {
        Twist::Refusal => (Value::Null, json!("I cannot help with that."), "stop"),
        Twist::ContentFilter => (Value::Null, Value::Null, "content_filter"),
        Twist::Length => (json!(text.get(..text.len() / 2)), Value::Null, "length"),
        _ => (json!(text), Value::Null, "stop"),
    };
    let message = json!({"role": "assistant", "content": content, "refusal": refusal});
    let choice = json!({"index": 0, "message": message, "finish_reason": finish});
    let choices = if twist == Twist::Empty { json!([]) } else { json!([choice]) };
    json!({
        "id": format!("chatcmpl-{prompt:x}"), "object": "chat.completion", "model": snapshot(request),
        "choices": choices,
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 5}},
    })
}

fn anthropic(request: &Value, prompt: u64, twist: Twist, answer: Option<&Value>) -> Value {
    let tool = request.pointer("/tools/0");
    let schema = tool.and_then(|tool| tool.get("input_schema"));
    let text = text(schema, schema.is_some(), prompt, twist, answer);
    let block = match tool {
        Some(tool) if twist != Twist::BrokenJson => {
            let input: Value = serde_json::from_str(&text).unwrap();
            json!({"type": "tool_use", "id": "toolu_1", "name": tool["name"], "input": input})
        }
        _ => json!({"type": "text", "text": text}),
    };
    let (content, stop) = match twist {
        Twist::Refusal | Twist::ContentFilter => (json!([]), "refusal"),
        Twist::Empty => (json!([]), "end_turn"),
        Twist::Length => (json!([{"type": "text", "text": "half of"}]), "max_tokens"),
        _ => (json!([block]), if tool.is_some() { "tool_use" } else { "end_turn" }),
    };
    json!({
        "id": format!("msg_{prompt:x}"), "type": "message", "role": "assistant", "model": snapshot(request),
        "content": content, "stop_reason": stop, "stop_sequence": null,
        "usage": {"input_tokens": 60, "output_tokens": 20, "cache_read_input_tokens": 30,
            "cache_creation_input_tokens": 10},
    })
}

fn snapshot(request: &Value) -> String {
    format!("{}-2026-01-01", request["model"].as_str().unwrap_or("unnamed"))
}

fn text(schema: Option<&Value>, wants_json: bool, prompt: u64, twist: Twist, answer: Option<&Value>) -> String {
    match (twist, schema, answer) {
        (Twist::WrongSchema, ..) => json!({"unexpected": prompt}).to_string(),
        (Twist::BrokenJson, ..) => "{\"pass\": tr".to_owned(),
        (_, _, Some(Value::String(answer))) if !wants_json => answer.clone(),
        (_, _, Some(answer)) => answer.to_string(),
        (_, Some(schema), None) => fill(schema, prompt).to_string(),
        (_, None, None) if wants_json => json!({"pass": unit(prompt) < 0.5}).to_string(),
        _ => format!("answer {prompt:x}"),
    }
}

/// A value that fits a schema; which one, is drawn from the prompt.
fn fill(schema: &Value, draw: u64) -> Value {
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        return choices[usize::try_from(draw % choices.len() as u64).unwrap()].clone();
    }
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let (low, high) = (bound("minimum").unwrap_or(0.0), bound("maximum").unwrap_or(10.0));
    let kind = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match kind.unwrap_or("object") {
        "boolean" => json!(unit(draw) < 0.7),
        "integer" => json!((low + unit(draw) * (high - low + 1.0)).floor().min(high) as i64),
        "number" => json!(low + unit(draw) * (high - low)),
        "string" => json!(format!("text {:x}", draw & 0xffff)),
        "array" => match schema.get("items") {
            Some(items) => json!([fill(items, hash(&(draw, "item")))]),
            None => json!([]),
        },
        "null" => Value::Null,
        _ => {
            let fields = schema.get("properties").and_then(Value::as_object);
            let filled =
                fields.into_iter().flatten().map(|(name, field)| (name.clone(), fill(field, hash(&(draw, name)))));
            Value::Object(filled.collect::<Map<_, _>>())
        }
    }
}
