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
    /// `/v1/responses`.
    Responses,
    /// `/v1beta/models/MODEL:generateContent`.
    Gemini,
    /// `/model/MODEL/converse`.
    Bedrock,
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
            "/v1/responses" => Self::Responses,
            path if path.ends_with(":generateContent") => Self::Gemini,
            path if path.ends_with("/converse") => Self::Bedrock,
            path if path.ends_with("/chat/completions") => Self::OpenAi,
            _ => Self::App,
        }
    }

    pub fn error(self, code: &str, message: &str) -> Value {
        match self {
            Self::Anthropic => json!({"type": "error", "error": {"type": code, "message": message}}),
            Self::Gemini => json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}),
            Self::Bedrock => json!({"message": message}),
            _ => json!({"error": {"message": message, "type": "error", "param": null, "code": code}}),
        }
    }

    pub fn refused_parameter(self, name: &str) -> Value {
        let message = format!("Unsupported parameter: '{name}' is not supported with this model.");
        match self {
            Self::Anthropic => {
                json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}})
            }
            Self::Gemini => {
                let message = format!("Invalid JSON payload received. Unknown name \"{name}\" at 'generation_config'");
                json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})
            }
            Self::Bedrock => json!({"message": format!("This model doesn't support {name}: unsupported")}),
            _ => json!({"error": {"message": message, "type": "invalid_request_error", "param": name,
                "code": "unsupported_parameter"}}),
        }
    }

    pub fn reply(self, request: &Value, prompt: u64, twist: Twist, answer: Option<&Value>) -> Value {
        match self {
            Self::OpenAi => openai(request, prompt, twist, answer),
            Self::Anthropic => anthropic(request, prompt, twist, answer),
            Self::Responses => responses(request, prompt, twist, answer),
            Self::Gemini => gemini(request, prompt, twist, answer),
            Self::Bedrock => bedrock(request, prompt, twist, answer),
            Self::App => json!({"output": answer.cloned().unwrap_or_else(|| json!({"echo": request})),
                "usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
        }
    }
}

impl Shape {
    /// A reply with chances of tokens, given in OpenAI's form.
    pub fn with_tokens(self, mut reply: Value, tokens: Option<&Value>) -> Value {
        let Some(tokens) = tokens else { return reply };
        match self {
            Self::OpenAi => reply["choices"][0]["logprobs"] = json!({"content": tokens}),
            Self::Responses => reply["output"][1]["content"][0]["logprobs"] = tokens.clone(),
            Self::Gemini => {
                let token = |one: &Value| json!({"token": one["token"], "logProbability": one["logprob"]});
                let list = |list: &Value| list.as_array().unwrap().iter().map(token).collect::<Vec<_>>();
                let tops =
                    tokens.as_array().unwrap().iter().map(|one| json!({"candidates": list(&one["top_logprobs"])}));
                reply["candidates"][0]["logprobsResult"] =
                    json!({"chosenCandidates": list(tokens), "topCandidates": tops.collect::<Vec<_>>()});
            }
            _ => {}
        }
        reply
    }
}

/// What identifies a prompt: everything that is said, not how it is asked.
pub fn prompt(body: &Value) -> String {
    let said = ["system", "messages", "input", "contents"].map(|name| body.get(name));
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

fn responses(request: &Value, prompt: u64, twist: Twist, answer: Option<&Value>) -> Value {
    let schema = request.pointer("/text/format/schema");
    let text = text(schema, schema.is_some(), prompt, twist, answer);
    let said = |part: Value| {
        json!([{"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}])
    };
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let (output, status, incomplete) = match twist {
        Twist::Refusal => (said(json!({"type": "refusal", "refusal": "I cannot help."})), "completed", Value::Null),
        Twist::Empty => (json!([]), "completed", Value::Null),
        Twist::ContentFilter => (json!([]), "incomplete", json!({"reason": "content_filter"})),
        Twist::Length => (said(part("half of")), "incomplete", json!({"reason": "max_output_tokens"})),
        _ => (said(part(&text)), "completed", Value::Null),
    };
    json!({
        "id": format!("resp_{prompt:x}"), "object": "response", "model": snapshot(request), "status": status,
        "error": null, "incomplete_details": incomplete, "output": output,
        "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120},
    })
}

fn gemini(request: &Value, prompt: u64, twist: Twist, answer: Option<&Value>) -> Value {
    let config = &request["generationConfig"];
    let schema = config.get("responseJsonSchema").or_else(|| config.get("responseSchema"));
    let wants_json = config.get("responseMimeType").is_some();
    let text = text(schema, wants_json, prompt, twist, answer);
    let content =
        |text: &str| json!({"role": "model", "parts": [{"text": "Let me think.", "thought": true}, {"text": text}]});
    let candidate = match twist {
        Twist::Empty => json!({"finishReason": "STOP", "index": 0}),
        Twist::Refusal | Twist::ContentFilter => json!({"finishReason": "SAFETY", "index": 0}),
        Twist::Length => json!({"content": content("half of"), "finishReason": "MAX_TOKENS", "index": 0}),
        _ => json!({"content": content(&text), "finishReason": "STOP", "index": 0}),
    };
    json!({
        "candidates": [candidate], "modelVersion": "test-model-2026-01-01",
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 15, "thoughtsTokenCount": 5,
            "cachedContentTokenCount": 40, "totalTokenCount": 120},
    })
}

fn bedrock(request: &Value, prompt: u64, twist: Twist, answer: Option<&Value>) -> Value {
    let tool = request.pointer("/toolConfig/tools/0/toolSpec");
    let schema = tool.and_then(|tool| tool.pointer("/inputSchema/json"));
    let text = text(schema, schema.is_some(), prompt, twist, answer);
    let block = match tool {
        Some(tool) if twist != Twist::BrokenJson => {
            let input: Value = serde_json::from_str(&text).unwrap();
            json!({"toolUse": {"toolUseId": "t1", "name": tool["name"], "input": input}})
        }
        _ => json!({"text": text}),
    };
    let (content, stop) = match twist {
        Twist::Refusal | Twist::ContentFilter => (json!([]), "content_filtered"),
        Twist::Empty => (json!([]), "end_turn"),
        Twist::Length => (json!([{"text": "half of"}]), "max_tokens"),
        _ => (json!([block]), if tool.is_some() { "tool_use" } else { "end_turn" }),
    };
    json!({
        "output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop,
        "usage": {"inputTokens": 60, "outputTokens": 20, "totalTokens": 120, "cacheReadInputTokens": 30,
            "cacheWriteInputTokens": 10}, "metrics": {"latencyMs": 1},
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
