//! Responses: the newer wire format of OpenAI.
//!
//! Source: the public API reference of `POST /v1/responses`. Nothing is stored at the server, and no earlier answer
//! is continued: every question is whole. Streaming, hosted tools and pictures are not used here.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Attempted;
use super::ladder::{Complaint, with_instruction};
use super::openai::{self, chances};
use super::speaker::Format;
use super::wire::Wire;
use crate::model::{AnswerFormat, ChatReply, ChatRequest, Failure, FailureKind, FinishReason, TokenChance, Usage};
use crate::sys::text::one_line;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Takes {
    /// Whether answers are bound to a schema; else it is told in words.
    schema: bool,
    temperature: bool,
    logprobs: bool,
}

/// Responses.
pub(super) struct Responses;

impl Format for Responses {
    type Takes = Takes;
    const NAME: &'static str = "openai_responses";
    const NEVER: &'static [&'static str] = &["seed"];

    fn top(_wire: &Wire) -> Takes {
        Takes { schema: true, temperature: true, logprobs: true }
    }

    fn without(takes: Takes, name: &str) -> Option<Takes> {
        match name {
            "temperature" => Some(Takes { temperature: false, ..takes }),
            "logprobs" => Some(Takes { logprobs: false, ..takes }),
            "structured" => Some(Takes { schema: false, ..takes }),
            "seed" => Some(takes),
            _ => None,
        }
    }

    fn body(request: &ChatRequest, takes: Takes) -> Value {
        let worded = (!takes.schema).then(|| with_instruction(&request.messages, &request.answer));
        let messages = worded.as_ref().unwrap_or(&request.messages);
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(request.model));
        body.insert("input".to_owned(), messages.iter().map(openai::message).collect());
        body.insert("store".to_owned(), json!(false));
        if let (AnswerFormat::Json { name, schema }, true) = (&request.answer, takes.schema) {
            let format = json!({"type": "json_schema", "name": name, "strict": true, "schema": schema});
            body.insert("text".to_owned(), json!({"format": format}));
        }
        if let Some(temperature) = request.temperature.filter(|_| takes.temperature) {
            body.insert("temperature".to_owned(), json!(temperature));
        }
        if let Some(most) = request.max_tokens {
            body.insert("max_output_tokens".to_owned(), json!(most));
        }
        if let Some(most) = request.top_logprobs.filter(|_| takes.logprobs) {
            body.insert("include".to_owned(), json!(["message.output_text.logprobs"]));
            body.insert("top_logprobs".to_owned(), json!(most));
        }
        // Last, so that the user's word holds over ours.
        body.extend(request.extra.clone());
        Value::Object(body)
    }

    fn step_down(takes: Takes, complaint: &Complaint, body: &Value) -> Option<(Takes, &'static str)> {
        let about = |name: &str| body.get(name).is_some() && complaint.is_about(name);
        let about_format =
            about("text") || ["json_schema", "structured outputs"].iter().any(|phrase| complaint.says(phrase));
        if takes.schema && body.get("text").is_some() && about_format {
            return Some((Takes { schema: false, ..takes }, "asking for JSON in words instead of `text.format`"));
        }
        if !complaint.refuses() {
            return None;
        }
        if takes.temperature && about("temperature") {
            return Some((Takes { temperature: false, ..takes }, "leaving out `temperature`"));
        }
        (takes.logprobs && (about("top_logprobs") || about("include") || complaint.says("logprobs")))
            .then_some((Takes { logprobs: false, ..takes }, "asking for no log-probabilities"))
    }

    fn is_refusal(status: StatusCode) -> bool {
        matches!(status.as_u16(), 400 | 422)
    }

    fn read(wire: &Wire, reply: Value) -> Attempted {
        let usage = reply.get("usage").and_then(|usage| Tokens::deserialize(usage).ok());
        let usage = usage.map(|tokens| tokens.usage()).unwrap_or_default();
        match read_output(wire, reply, &usage) {
            Ok(answered) => Attempted::answered(answered),
            Err(failure) => Attempted::billed(failure, usage),
        }
    }

    fn name_failure(failure: Failure, complaint: &Complaint) -> Failure {
        openai::name_failure(failure, complaint)
    }
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    incomplete_details: Option<Incomplete>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    output: Vec<Item>,
}

#[derive(Deserialize)]
struct Incomplete {
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default, rename = "type")]
    kind: String,
    /// Parts of a message.
    #[serde(default)]
    content: Option<Vec<Part>>,
    /// Name of a function that is called.
    #[serde(default)]
    name: Option<String>,
    /// Arguments of a function call.
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    logprobs: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

impl Tokens {
    fn usage(self) -> Usage {
        Usage {
            input: self.input_tokens,
            output: self.output_tokens,
            cache_read: self.input_tokens_details.as_ref().and_then(|details| details.cached_tokens),
            cache_write: self.input_tokens_details.and_then(|details| details.cache_write_tokens),
            reasoning: self.output_tokens_details.and_then(|details| details.reasoning_tokens),
        }
    }
}

/// The reply, and the function that was called where nothing was said.
fn read_output(wire: &Wire, reply: Value, usage: &Usage) -> Result<(ChatReply, Option<String>), Failure> {
    let response: Response =
        serde_json::from_value(reply).map_err(|error| wire.bad_reply(&format!("the reply is no response: {error}")))?;
    if let Some(error) = response.error.as_ref().filter(|error| !error.is_null()) {
        return Err(failed(wire, error));
    }
    let mut finish = finish_of(&response);
    // A message comes first where there is one: calls beside it are not asked for.
    let messages = response.output.iter().filter(|item| item.kind == "message");
    let parts: Vec<&Part> = messages.flat_map(|item| item.content.iter().flatten()).collect();
    let refusal = parts.iter().find_map(|part| part.refusal.as_ref().filter(|text| !text.is_empty()));
    let call = response.output.iter().find(|item| item.kind == "function_call" && item.arguments.is_some());
    let mut called = None;
    let text = if let Some(refusal) = refusal {
        finish = FinishReason::Refusal;
        refusal.clone()
    } else if parts.iter().any(|part| part.text.is_some()) {
        parts.iter().filter_map(|part| part.text.as_deref()).collect()
    } else if let Some(call) = call {
        finish = FinishReason::ToolCall;
        called.clone_from(&call.name);
        call.arguments.clone().unwrap_or_default()
    } else if matches!(finish, FinishReason::Length | FinishReason::ContentFilter) {
        String::new()
    } else {
        return Err(wire.bad_reply("the reply has no message"));
    };
    let tokens: Vec<TokenChance> = parts.iter().filter_map(|part| part.logprobs.as_ref()).flat_map(chances).collect();
    let text = wire.secrets.scrub_reply(text);
    let tokens = (!tokens.is_empty()).then_some(tokens);
    Ok((ChatReply { text, finish, model: response.model, usage: usage.clone(), tokens }, called))
}

/// A response that says itself that it failed comes with status 200.
fn failed(wire: &Wire, error: &Value) -> Failure {
    let complaint = Complaint::read(&json!({"error": error}));
    let text = one_line(&wire.secrets.scrub(&error.to_string()), 300);
    let mut failure = wire.bad_reply(&format!("the response failed: {text}"));
    if complaint.has_code(&["rate_limit_exceeded"]) {
        failure.kind = FailureKind::RateLimited;
    } else if complaint.has_code(&["server_error"]) {
        failure.kind = FailureKind::Server;
    }
    openai::name_failure(failure, &complaint)
}

fn finish_of(response: &Response) -> FinishReason {
    let reason = response.incomplete_details.as_ref().and_then(|details| details.reason.as_deref());
    match (response.status.as_deref(), reason) {
        (_, Some("max_output_tokens")) => FinishReason::Length,
        (_, Some("content_filter")) => FinishReason::ContentFilter,
        (Some("completed"), _) => FinishReason::Stop,
        _ => FinishReason::Other,
    }
}
