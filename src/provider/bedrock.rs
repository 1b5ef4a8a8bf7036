//! Converse: the wire format of Amazon Bedrock, one for the models of many makers.
//!
//! Source: the public API reference of `POST /model/MODEL/converse`. Opened by a Bedrock API key, which travels as a
//! bearer token: signing with access keys would need the whole of AWS's credential chain, and a key costs one variable.

use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Attempted;
use super::ladder::{Complaint, with_instruction};
use super::speaker::Format;
use super::wire::Wire;
use crate::model::{
    AnswerFormat, ChatMessage, ChatReply, ChatRequest, Failure, FailureKind, FinishReason, Role, Usage,
};

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Takes {
    structured: Structured,
    temperature: bool,
    system: bool,
}

/// How a structured answer is asked for, best first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Structured {
    /// A tool that must be called.
    Forced,
    /// A tool that may be called, and words that say so.
    Offered,
    /// The schema in words.
    Words,
}

/// Converse.
pub(super) struct Converse;

impl Format for Converse {
    type Takes = Takes;
    const NAME: &'static str = "bedrock";
    const NEVER: &'static [&'static str] = &["seed", "logprobs"];

    fn top(_wire: &Wire) -> Takes {
        Takes { structured: Structured::Forced, temperature: true, system: true }
    }

    fn without(takes: Takes, name: &str) -> Option<Takes> {
        match name {
            "temperature" => Some(Takes { temperature: false, ..takes }),
            "structured" => Some(Takes { structured: Structured::Words, ..takes }),
            "seed" | "logprobs" => Some(takes),
            _ => None,
        }
    }

    fn url(wire: &Wire, request: &ChatRequest) -> Url {
        let mut url = wire.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // One step: names hold colons, and profiles are addresses with slashes of their own.
            path.pop_if_empty().extend(["model", request.model.as_str(), "converse"]);
        }
        url
    }

    fn body(request: &ChatRequest, takes: Takes) -> Value {
        body_of(request, takes)
    }

    fn step_down(takes: Takes, complaint: &Complaint, body: &Value) -> Option<(Takes, &'static str)> {
        let about_tools =
            body.get("toolConfig").is_some() && (complaint.mentions("tool use") || complaint.mentions("toolconfig"));
        let about_choice = body.get("toolConfig").is_some() && complaint.mentions("toolchoice");
        if takes.structured == Structured::Forced && (about_choice || about_tools && complaint.mentions("choice")) {
            let change = "offering the answer's tool instead of forcing it";
            return Some((Takes { structured: Structured::Offered, ..takes }, change));
        }
        if takes.structured != Structured::Words && (about_tools || about_choice) {
            let change = "asking for JSON in words instead of a tool";
            return Some((Takes { structured: Structured::Words, ..takes }, change));
        }
        if takes.system && body.get("system").is_some() && complaint.mentions("system message") {
            let change = "sending system messages as the first words of the user";
            return Some((Takes { system: false, ..takes }, change));
        }
        (takes.temperature && complaint.refuses() && complaint.mentions("temperature"))
            .then_some((Takes { temperature: false, ..takes }, "leaving out `temperature`"))
    }

    fn is_refusal(status: StatusCode) -> bool {
        status.as_u16() == 400
    }

    fn read(wire: &Wire, reply: Value) -> Attempted {
        let usage = reply.get("usage").and_then(|usage| Tokens::deserialize(usage).ok());
        let usage = usage.map(|tokens| tokens.usage()).unwrap_or_default();
        match read_message(wire, reply, &usage) {
            Ok(answered) => Attempted::answered(answered),
            Err(failure) => Attempted::billed(failure, usage),
        }
    }

    fn name_failure(mut failure: Failure, complaint: &Complaint) -> Failure {
        if complaint.mentions("security token") || complaint.mentions("api key is invalid") {
            failure.kind = FailureKind::Auth;
        }
        failure
    }
}

fn body_of(request: &ChatRequest, takes: Takes) -> Value {
    let tool = match &request.answer {
        AnswerFormat::Json { name, schema } if takes.structured != Structured::Words => Some((name, schema)),
        _ => None,
    };
    let in_words = takes.structured != Structured::Forced;
    let worded = in_words.then(|| with_instruction(&request.messages, &request.answer));
    let messages = worded.as_ref().unwrap_or(&request.messages);
    let is_system = |message: &&ChatMessage| takes.system && message.role == Role::System;
    let mut body = Map::new();
    body.insert("messages".to_owned(), turns(messages.iter().filter(|message| !is_system(message))));
    let system: Vec<Value> =
        messages.iter().filter(is_system).map(|message| json!({"text": message.content})).collect();
    if !system.is_empty() {
        body.insert("system".to_owned(), Value::Array(system));
    }
    let mut config = Map::new();
    config.extend(request.max_tokens.map(|most| ("maxTokens".to_owned(), json!(most))));
    let temperature = request.temperature.filter(|_| takes.temperature);
    config.extend(temperature.map(|temperature| ("temperature".to_owned(), json!(temperature))));
    if !config.is_empty() {
        body.insert("inferenceConfig".to_owned(), Value::Object(config));
    }
    if let Some((name, schema)) = tool {
        let spec = json!({"name": name, "description": "Gives the answer.", "inputSchema": {"json": schema}});
        let choice = match takes.structured {
            Structured::Forced => json!({"tool": {"name": name}}),
            _ => json!({"auto": {}}),
        };
        body.insert("toolConfig".to_owned(), json!({"tools": [{"toolSpec": spec}], "toolChoice": choice}));
    }
    // Last, so that the user's word holds over ours.
    body.extend(request.extra.clone());
    Value::Object(body)
}

/// Turns must alternate and the user begins: what one side says in several messages becomes one turn of several
/// blocks.
fn turns<'a>(messages: impl Iterator<Item = &'a ChatMessage>) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let role = if message.role == Role::Assistant { "assistant" } else { "user" };
        let block = json!({"text": message.content});
        match turns.last_mut() {
            Some((last, blocks)) if *last == role => blocks.push(block),
            _ => turns.push((role, vec![block])),
        }
    }
    turns.into_iter().map(|(role, blocks)| json!({"role": role, "content": blocks})).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    #[serde(default)]
    output: Option<Output>,
    #[serde(default)]
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Block>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    tool_use: Option<ToolUse>,
}

#[derive(Deserialize)]
struct ToolUse {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    input: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tokens {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
}

impl Tokens {
    /// Cached tokens are counted beside the input; ours are a part of it.
    fn usage(self) -> Usage {
        let cached = [self.cache_read_input_tokens, self.cache_write_input_tokens].into_iter().flatten();
        Usage {
            input: self.input_tokens.map(|read| cached.fold(read, u64::saturating_add)),
            output: self.output_tokens,
            cache_read: self.cache_read_input_tokens,
            cache_write: self.cache_write_input_tokens,
            reasoning: None,
        }
    }
}

/// The reply, and the tool that was called.
fn read_message(wire: &Wire, reply: Value, usage: &Usage) -> Result<(ChatReply, Option<String>), Failure> {
    let reply: Reply =
        serde_json::from_value(reply).map_err(|error| wire.bad_reply(&format!("the reply is no message: {error}")))?;
    if reply.output.is_none() && reply.stop_reason.is_none() {
        return Err(wire.bad_reply("the reply is no message: it has neither `output` nor `stopReason`"));
    }
    let finish = finish_of(reply.stop_reason.as_deref());
    let blocks = reply.output.and_then(|output| output.message).map(|message| message.content).unwrap_or_default();
    let call = blocks.iter().find_map(|block| block.tool_use.as_ref());
    let called = call.and_then(|call| call.name.clone());
    let call = call.map(|call| call.input.to_string());
    let texts: Vec<&str> = blocks.iter().filter_map(|block| block.text.as_deref()).collect();
    let empty_is_fine = matches!(finish, FinishReason::Length | FinishReason::ContentFilter);
    let text = match call {
        Some(input) => input,
        None if texts.is_empty() && !empty_is_fine => return Err(wire.bad_reply("the reply has no content")),
        None => texts.concat(),
    };
    let text = wire.secrets.scrub_reply(text);
    Ok((ChatReply { text, finish, model: None, usage: usage.clone(), tokens: None }, called))
}

fn finish_of(reason: Option<&str>) -> FinishReason {
    match reason {
        Some("end_turn" | "stop_sequence") => FinishReason::Stop,
        Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
        Some("tool_use") => FinishReason::ToolCall,
        Some("guardrail_intervened" | "content_filtered") => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}
