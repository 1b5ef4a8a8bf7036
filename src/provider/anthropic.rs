//! Messages: the wire format of Anthropic.
//!
//! Source: the public API reference of `POST /v1/messages`, version 2023-06-01. Structured answers come as the input
//! of a tool that the model is made to call. Streaming, caching marks and the application's own tools are not used.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Attempted;
use super::ladder::{Complaint, with_instruction};
use super::speaker::Format;
use super::wire::Wire;
use crate::model::{
    AnswerFormat, ChatMessage, ChatReply, ChatRequest, Failure, FailureKind, FinishReason, Role, Usage,
};

/// The API demands a limit; this one holds where the configuration names none.
const DEFAULT_MAX_TOKENS: u32 = 4096;

/// How a structured answer is asked for, best first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Structured {
    /// A tool that must be called.
    Forced,
    /// A tool that may be called, and words that say so.
    Offered,
    /// The schema in words.
    Words,
}

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Takes {
    structured: Structured,
    temperature: bool,
}

/// Messages.
pub(super) struct Messages;

impl Format for Messages {
    type Takes = Takes;
    const NAME: &'static str = "anthropic";
    // The API has neither.
    const NEVER: &'static [&'static str] = &["seed", "logprobs"];

    fn top(_wire: &Wire) -> Takes {
        Takes { structured: Structured::Forced, temperature: true }
    }

    fn without(takes: Takes, name: &str) -> Option<Takes> {
        match name {
            "temperature" => Some(Takes { temperature: false, ..takes }),
            "structured" => Some(Takes { structured: Structured::Words, ..takes }),
            "seed" | "logprobs" => Some(takes),
            _ => None,
        }
    }

    fn body(request: &ChatRequest, takes: Takes) -> Value {
        body_of(request, takes)
    }

    fn step_down(takes: Takes, complaint: &Complaint, body: &Value) -> Option<(Takes, &'static str)> {
        let sent = |name: &str| body.get(name).is_some();
        if !complaint.refuses() {
            return None;
        }
        if takes.structured == Structured::Forced && sent("tool_choice") && complaint.is_about("tool_choice") {
            let change = "offering the answer's tool instead of forcing it";
            return Some((Takes { structured: Structured::Offered, ..takes }, change));
        }
        let about_tools = complaint.is_about("tools") || complaint.is_about("tool_choice");
        if takes.structured != Structured::Words && sent("tools") && about_tools {
            let change = "asking for JSON in words instead of a tool";
            return Some((Takes { structured: Structured::Words, ..takes }, change));
        }
        (takes.temperature && sent("temperature") && complaint.is_about("temperature"))
            .then_some((Takes { temperature: false, ..takes }, "leaving out `temperature`"))
    }

    fn is_refusal(status: StatusCode) -> bool {
        matches!(status.as_u16(), 400 | 422)
    }

    fn read(wire: &Wire, reply: Value) -> Attempted {
        read_reply(wire, reply)
    }

    fn name_failure(mut failure: Failure, complaint: &Complaint) -> Failure {
        if complaint.has_code(&["overloaded_error", "rate_limit_error"]) {
            failure.kind = FailureKind::RateLimited;
        } else if complaint.has_code(&["billing_error"]) || complaint.says("credit balance is too low") {
            // Comes as 400; no further call will be answered either.
            failure.kind = FailureKind::Auth;
        }
        failure
    }
}

fn body_of(request: &ChatRequest, takes: Takes) -> Value {
    // A model that thinks aloud cannot be forced to call a tool: the API refuses the pair.
    let thinks =
        request.extra.get("thinking").and_then(|thinking| thinking.get("type")).is_some_and(|kind| kind != "disabled");
    let structured = match takes.structured {
        Structured::Forced if thinks => Structured::Offered,
        other => other,
    };
    let in_words = matches!(request.answer, AnswerFormat::Json { .. }) && structured != Structured::Forced;
    let worded;
    let messages = if in_words {
        worded = with_instruction(&request.messages, &request.answer);
        &worded
    } else {
        &request.messages
    };
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(request.model));
    body.insert("max_tokens".to_owned(), json!(request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)));
    let system: Vec<&str> = of_role(messages, true).map(|message| message.content.as_str()).collect();
    if !system.is_empty() {
        body.insert("system".to_owned(), json!(system.join("\n\n")));
    }
    body.insert("messages".to_owned(), of_role(messages, false).map(message).collect());
    if let Some(temperature) = request.temperature.filter(|_| takes.temperature) {
        body.insert("temperature".to_owned(), json!(temperature));
    }
    if let AnswerFormat::Json { name, schema } = &request.answer {
        let choice = match structured {
            Structured::Forced => Some(json!({"type": "tool", "name": name, "disable_parallel_tool_use": true})),
            Structured::Offered => Some(json!({"type": "auto", "disable_parallel_tool_use": true})),
            Structured::Words => None,
        };
        if let Some(choice) = choice {
            let tool = json!({"name": name, "description": "Gives the answer.", "input_schema": schema});
            body.insert("tools".to_owned(), json!([tool]));
            body.insert("tool_choice".to_owned(), choice);
        }
    }
    // Last, so that the user's word holds over ours.
    body.extend(request.extra.clone());
    Value::Object(body)
}

fn of_role(messages: &[ChatMessage], system: bool) -> impl Iterator<Item = &ChatMessage> {
    messages.iter().filter(move |message| (message.role == Role::System) == system)
}

fn message(message: &ChatMessage) -> Value {
    let role = if message.role == Role::Assistant { "assistant" } else { "user" };
    json!({"role": role, "content": message.content})
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    model: Option<String>,
    content: Vec<Value>,
    #[serde(default)]
    stop_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
}

/// The API counts cached tokens beside `input_tokens`; ours are a part of the input.
fn usage_of(tokens: &Tokens) -> Usage {
    let cached = [tokens.cache_read_input_tokens, tokens.cache_creation_input_tokens].into_iter().flatten();
    Usage {
        input: tokens.input_tokens.map(|read| cached.fold(read, u64::saturating_add)),
        output: tokens.output_tokens,
        cache_read: tokens.cache_read_input_tokens,
        cache_write: tokens.cache_creation_input_tokens,
        reasoning: None,
    }
}

fn read_reply(wire: &Wire, reply: Value) -> Attempted {
    let usage = reply.get("usage").and_then(|usage| Tokens::deserialize(usage).ok());
    let usage = usage.as_ref().map(usage_of).unwrap_or_default();
    match read_content(wire, &reply, &usage) {
        Ok(answered) => Attempted::answered(answered),
        Err(failure) => Attempted::billed(failure, usage),
    }
}

/// The reply, and the tool that was called.
fn read_content(wire: &Wire, reply: &Value, usage: &Usage) -> Result<(ChatReply, Option<String>), Failure> {
    let reply =
        Reply::deserialize(reply).map_err(|error| wire.bad_reply(&format!("the reply is no message: {error}")))?;
    let finish = finish_of(reply.stop_reason.as_deref());
    let of_type = |kind: &'static str| {
        reply.content.iter().filter(move |block| block.get("type").and_then(Value::as_str) == Some(kind))
    };
    let call = of_type("tool_use").find(|block| block.get("input").is_some());
    let called = call.and_then(|block| block.get("name")).and_then(Value::as_str).map(str::to_owned);
    let call = call.and_then(|block| block.get("input")).map(Value::to_string);
    let texts: Vec<&str> = of_type("text").filter_map(|block| block.get("text").and_then(Value::as_str)).collect();
    // A refusal or a length stop may come with no block at all, and then says enough.
    let empty_is_fine = matches!(finish, FinishReason::Length | FinishReason::ContentFilter | FinishReason::Refusal);
    let text = match call {
        Some(input) => input,
        None if texts.is_empty() && !empty_is_fine => return Err(wire.bad_reply("the reply has no content")),
        None => texts.concat(),
    };
    let text = wire.secrets.scrub_reply(text);
    Ok((ChatReply { text, finish, model: reply.model, usage: usage.clone(), tokens: None }, called))
}

fn finish_of(reason: Option<&str>) -> FinishReason {
    match reason {
        Some("end_turn" | "stop_sequence") => FinishReason::Stop,
        Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
        Some("tool_use") => FinishReason::ToolCall,
        Some("refusal") => FinishReason::Refusal,
        _ => FinishReason::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ChatRequest {
        let text = |role, content: &str| ChatMessage { role, content: content.to_owned() };
        ChatRequest {
            model: "claude-x".to_owned(),
            messages: vec![text(Role::System, "be brief"), text(Role::User, "hello"), text(Role::System, "be kind")],
            answer: AnswerFormat::Json { name: "verdict".to_owned(), schema: json!({"type": "object"}) },
            temperature: Some(0.5),
            max_tokens: None,
            seed: None,
            top_logprobs: None,
            extra: Map::new(),
        }
    }

    const TOP: Takes = Takes { structured: Structured::Forced, temperature: true };

    #[test]
    fn the_body_is_what_the_reference_describes() {
        let expected = json!({
            "model": "claude-x", "max_tokens": 4096, "system": "be brief\n\nbe kind", "temperature": 0.5,
            "messages": [{"role": "user", "content": "hello"}],
            "tools": [{"name": "verdict", "description": "Gives the answer.", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "tool", "name": "verdict", "disable_parallel_tool_use": true},
        });
        assert_eq!(body_of(&request(), TOP), expected);
    }

    #[test]
    fn thinking_goes_with_an_offered_tool() {
        let mut request = request();
        request.extra.insert("thinking".to_owned(), json!({"type": "enabled", "budget_tokens": 1024}));
        let body = body_of(&request, TOP);
        assert_eq!(body["tool_choice"]["type"], "auto");
        assert!(body["messages"][0]["content"].as_str().unwrap().contains("JSON Schema"));
    }

    #[test]
    fn a_deprecated_temperature_is_dropped_and_a_bad_limit_is_not() {
        let error = |text: &str| {
            Complaint::read(&json!({"type": "error", "error": {"type": "invalid_request_error", "message": text}}))
        };
        let body = body_of(&request(), TOP);
        let (next, _) = Messages::step_down(TOP, &error("`temperature` is deprecated for this model."), &body).unwrap();
        assert!(!next.temperature);
        let limit = error("max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens");
        assert!(Messages::step_down(TOP, &limit, &body).is_none());
        let thinking = error("Thinking may not be enabled when tool_choice forces tool use.");
        assert_eq!(Messages::step_down(TOP, &thinking, &body).unwrap().0.structured, Structured::Offered);
    }

    #[test]
    fn cached_tokens_are_a_part_of_the_input() {
        let tokens: Tokens = serde_json::from_value(json!({
            "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20,
        }))
        .unwrap();
        let usage = usage_of(&tokens);
        assert_eq!((usage.input, usage.cache_read, usage.cache_write), (Some(130), Some(100), Some(20)));
    }
}
