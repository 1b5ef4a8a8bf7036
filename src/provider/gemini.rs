//! `generateContent`: the wire format of Google's Gemini.
//!
//! Source: the public API reference of `POST /v1beta/models/MODEL:generateContent`. The model's name is a part of the
//! address. Streaming, tools and pictures are not used here.

use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Attempted;
use super::ladder::{Complaint, with_instruction};
use super::speaker::Format;
use super::wire::Wire;
use crate::model::{
    AnswerFormat, ChatMessage, ChatReply, ChatRequest, Failure, FailureKind, FinishReason, Role, TokenChance, Usage,
};

/// How a structured answer is asked for, best first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Structured {
    /// `responseJsonSchema`: JSON Schema as it is.
    JsonSchema,
    /// `responseSchema`: the older subset of OpenAPI.
    OpenApi,
    /// `responseMimeType` alone, the schema in words.
    Mime,
    /// The schema in words.
    Words,
}

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Takes {
    structured: Structured,
    temperature: bool,
    seed: bool,
    logprobs: bool,
}

/// `generateContent`.
pub(super) struct GenerateContent;

impl Format for GenerateContent {
    type Takes = Takes;
    const NAME: &'static str = "gemini";

    fn top(_wire: &Wire) -> Takes {
        Takes { structured: Structured::JsonSchema, temperature: true, seed: true, logprobs: true }
    }

    fn without(takes: Takes, name: &str) -> Option<Takes> {
        match name {
            "temperature" => Some(Takes { temperature: false, ..takes }),
            "seed" => Some(Takes { seed: false, ..takes }),
            "logprobs" => Some(Takes { logprobs: false, ..takes }),
            "structured" => Some(Takes { structured: Structured::Words, ..takes }),
            _ => None,
        }
    }

    fn url(wire: &Wire, request: &ChatRequest) -> Url {
        let mut url = wire.url.clone();
        // `models/x` and `tunedModels/x` are names too; the colon belongs to the last step.
        let name = request.model.strip_prefix("models/").unwrap_or(&request.model);
        let call = format!("{name}:generateContent");
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(call.split('/'));
        }
        url
    }

    fn body(request: &ChatRequest, takes: Takes) -> Value {
        body_of(request, takes)
    }

    fn step_down(takes: Takes, complaint: &Complaint, body: &Value) -> Option<(Takes, &'static str)> {
        let sent = |name: &str| body.get("generationConfig").is_some_and(|config| config.get(name).is_some());
        // Unknown fields are named in words: `Unknown name "responseJsonSchema" at 'generation_config'`.
        let about = |name: &str, snake: &str| {
            sent(name) && (complaint.is_about(&name.to_lowercase()) || complaint.is_about(snake))
        };
        let next = match takes.structured {
            Structured::JsonSchema if about("responseJsonSchema", "response_json_schema") => {
                Some((Structured::OpenApi, "sending `responseSchema` instead of `responseJsonSchema`"))
            }
            Structured::OpenApi if about("responseSchema", "response_schema") => {
                Some((Structured::Mime, "telling the schema in words instead of `responseSchema`"))
            }
            Structured::Mime | Structured::OpenApi | Structured::JsonSchema
                if about("responseMimeType", "response_mime_type")
                    || (sent("responseMimeType") && complaint.says("json mode")) =>
            {
                Some((Structured::Words, "asking for JSON in words instead of `responseMimeType`"))
            }
            _ => None,
        };
        if let Some((structured, change)) = next {
            return Some((Takes { structured, ..takes }, change));
        }
        if !complaint.refuses() && !complaint.says("not enabled") {
            return None;
        }
        if takes.logprobs && sent("responseLogprobs") && complaint.mentions("logprobs") {
            return Some((Takes { logprobs: false, ..takes }, "asking for no log-probabilities"));
        }
        if takes.temperature && about("temperature", "temperature") {
            return Some((Takes { temperature: false, ..takes }, "leaving out `temperature`"));
        }
        (takes.seed && about("seed", "seed")).then_some((Takes { seed: false, ..takes }, "leaving out `seed`"))
    }

    fn is_refusal(status: StatusCode) -> bool {
        status.as_u16() == 400
    }

    fn read(wire: &Wire, reply: Value) -> Attempted {
        let usage = reply.get("usageMetadata").and_then(|usage| Tokens::deserialize(usage).ok());
        let usage = usage.map(|tokens| tokens.usage()).unwrap_or_default();
        match read_candidate(wire, reply, &usage) {
            Ok(reply) => Attempted::of(Ok(reply)),
            Err(failure) => Attempted::billed(failure, usage),
        }
    }

    fn name_failure(mut failure: Failure, complaint: &Complaint) -> Failure {
        if complaint.says("api key not valid") || complaint.says("api key expired") {
            // Comes as 400.
            failure.kind = FailureKind::Auth;
        }
        failure
    }
}

fn body_of(request: &ChatRequest, takes: Takes) -> Value {
    let in_words = matches!(takes.structured, Structured::Mime | Structured::Words);
    let worded = in_words.then(|| with_instruction(&request.messages, &request.answer));
    let messages = worded.as_ref().unwrap_or(&request.messages);
    let mut body = Map::new();
    let system: Vec<Value> = messages.iter().filter(|message| message.role == Role::System).map(part).collect();
    if !system.is_empty() {
        body.insert("systemInstruction".to_owned(), json!({"parts": system}));
    }
    let said = messages.iter().filter(|message| message.role != Role::System);
    body.insert("contents".to_owned(), said.map(content).collect());
    let mut config = Map::new();
    if let AnswerFormat::Json { schema, .. } = &request.answer {
        if takes.structured != Structured::Words {
            config.insert("responseMimeType".to_owned(), json!("application/json"));
        }
        match takes.structured {
            Structured::JsonSchema => config.insert("responseJsonSchema".to_owned(), schema.clone()),
            Structured::OpenApi => config.insert("responseSchema".to_owned(), open_api(schema)),
            Structured::Mime | Structured::Words => None,
        };
    }
    if let Some(temperature) = request.temperature.filter(|_| takes.temperature) {
        config.insert("temperature".to_owned(), json!(temperature));
    }
    if let Some(most) = request.max_tokens {
        config.insert("maxOutputTokens".to_owned(), json!(most));
    }
    if let Some(seed) = request.seed.filter(|_| takes.seed) {
        // The field is a signed 32-bit number.
        config.insert("seed".to_owned(), json!(seed % (1 << 31)));
    }
    if let Some(most) = request.top_logprobs.filter(|_| takes.logprobs) {
        config.insert("responseLogprobs".to_owned(), json!(true));
        config.insert("logprobs".to_owned(), json!(most));
    }
    // Last, so that the user's word holds over ours; what goes into `generationConfig` is merged there.
    for (name, value) in &request.extra {
        match (name.as_str(), value) {
            ("generationConfig", Value::Object(more)) => config.extend(more.clone()),
            _ => {
                body.insert(name.clone(), value.clone());
            }
        }
    }
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }
    Value::Object(body)
}

fn part(message: &ChatMessage) -> Value {
    json!({"text": message.content})
}

fn content(message: &ChatMessage) -> Value {
    let role = if message.role == Role::Assistant { "model" } else { "user" };
    json!({"role": role, "parts": [part(message)]})
}

/// A schema as the older field takes it: one type each, `nullable` for null, choices of text only.
fn open_api(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "additionalProperties" | "$schema"));
            let mut kept: Map<_, _> = kept.map(|(name, value)| (name.clone(), open_api(value))).collect();
            one_type(&mut kept);
            text_choices(&mut kept);
            Value::Object(kept)
        }
        Value::Array(items) => items.iter().map(open_api).collect(),
        other => other.clone(),
    }
}

/// Turns `["string", "null"]` into a string that may be null.
fn one_type(schema: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = schema.get("type") else { return };
    let nullable = types.iter().any(|kind| kind == "null");
    let Some(first) = types.iter().find(|kind| *kind != "null").cloned() else { return };
    schema.insert("type".to_owned(), first);
    if nullable {
        schema.insert("nullable".to_owned(), json!(true));
    }
}

/// Leaves the null out of the choices, and gives choices of numbers as their range: the field takes text only.
fn text_choices(schema: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = schema.get("enum") else { return };
    let choices: Vec<Value> = choices.iter().filter(|choice| !choice.is_null()).cloned().collect();
    let numbers: Vec<f64> = choices.iter().filter_map(Value::as_f64).collect();
    if numbers.is_empty() {
        schema.insert("enum".to_owned(), Value::Array(choices));
        return;
    }
    schema.remove("enum");
    let bounds = numbers.iter().copied().reduce(f64::min).zip(numbers.iter().copied().reduce(f64::max));
    if let Some((least, most)) = bounds {
        schema.insert("minimum".to_owned(), json!(least));
        schema.insert("maximum".to_owned(), json!(most));
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    #[serde(default)]
    candidates: Vec<Candidate>,
    #[serde(default)]
    prompt_feedback: Option<Feedback>,
    #[serde(default)]
    model_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    #[serde(default)]
    block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs_result: Option<Value>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
    /// A summary of the model's thinking: no part of the answer.
    #[serde(default)]
    thought: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tokens {
    prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
}

impl Tokens {
    /// Thinking is counted beside the candidates; ours is a part of the output.
    fn usage(self) -> Usage {
        let written =
            self.candidates_token_count.into_iter().chain(self.thoughts_token_count).reduce(u64::saturating_add);
        Usage {
            input: self.prompt_token_count,
            output: written,
            cache_read: self.cached_content_token_count,
            cache_write: None,
            reasoning: self.thoughts_token_count,
        }
    }
}

fn read_candidate(wire: &Wire, reply: Value, usage: &Usage) -> Result<ChatReply, Failure> {
    let reply: Reply =
        serde_json::from_value(reply).map_err(|error| wire.bad_reply(&format!("the reply is no content: {error}")))?;
    let answer = |text: String, finish, tokens| ChatReply {
        text: wire.secrets.scrub_reply(text),
        finish,
        model: reply.model_version.clone(),
        usage: usage.clone(),
        tokens,
    };
    let Some(candidate) = reply.candidates.first() else {
        let reason = reply.prompt_feedback.as_ref().and_then(|feedback| feedback.block_reason.as_ref());
        let blocked = reason.ok_or_else(|| wire.bad_reply("the reply has no candidates"))?;
        return Ok(answer(format!("the prompt was blocked: {blocked}"), FinishReason::ContentFilter, None));
    };
    let finish = finish_of(candidate.finish_reason.as_deref());
    let parts = candidate.content.iter().flat_map(|content| &content.parts).filter(|part| !part.thought);
    let texts: Vec<&str> = parts.filter_map(|part| part.text.as_deref()).collect();
    if texts.is_empty() && finish == FinishReason::Stop {
        return Err(wire.bad_reply("the reply has no text"));
    }
    let tokens = candidate.logprobs_result.as_ref().map(chances).filter(|tokens| !tokens.is_empty());
    Ok(answer(texts.concat(), finish, tokens))
}

/// The chosen tokens and, place by place, the likeliest ones.
fn chances(result: &Value) -> Vec<TokenChance> {
    let list = |name: &str| result.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let token = |one: &Value| {
        let text = one.get("token").and_then(Value::as_str)?;
        Some((text.to_owned(), one.get("logProbability").and_then(Value::as_f64)?))
    };
    let tops = list("topCandidates");
    let place = |(index, one): (usize, &Value)| {
        let (text, logprob) = token(one)?;
        let top = tops.get(index).and_then(|top| top.get("candidates")).and_then(Value::as_array);
        Some(TokenChance { text, logprob, top: top.into_iter().flatten().filter_map(token).collect() })
    };
    list("chosenCandidates").iter().enumerate().filter_map(place).collect()
}

fn finish_of(reason: Option<&str>) -> FinishReason {
    match reason {
        Some("STOP") => FinishReason::Stop,
        Some("MAX_TOKENS") => FinishReason::Length,
        Some("SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE") => {
            FinishReason::ContentFilter
        }
        _ => FinishReason::Other,
    }
}
