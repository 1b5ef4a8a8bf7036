//! Chat completions: the wire format of OpenAI that Ollama, vLLM, llama.cpp, OpenRouter and many others speak too.
//!
//! Source: the public API reference of `POST /v1/chat/completions`; deviations of other servers are noted where
//! they are handled. Streaming, tools of the application and pictures are not used here.

use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use super::Attempted;
use super::ladder::{Complaint, with_instruction};
use super::speaker::Format;
use super::wire::Wire;
use crate::model::{AnswerFormat, ChatMessage, ChatRequest, Failure, FailureKind, Role};

mod reply;

pub(super) use reply::chances;

/// How a structured answer is asked for, best first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Structured {
    /// `response_format: json_schema`, strict.
    Schema,
    /// `response_format: json_object`, the schema in words.
    Object,
    /// The schema in words.
    Words,
}

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Takes {
    structured: Structured,
    /// Whether the length limit is called `max_completion_tokens`.
    completion_tokens: bool,
    /// Whether that name was already changed: it is changed once, not to and fro.
    renamed: bool,
    temperature: bool,
    seed: bool,
    logprobs: bool,
}

/// Chat completions.
pub(super) struct ChatCompletions;

impl Format for ChatCompletions {
    type Takes = Takes;
    const NAME: &'static str = "openai";

    fn top(wire: &Wire) -> Takes {
        // OpenAI itself takes the new name for every model; most other servers know only the old one.
        let completion_tokens = wire.url.host_str() == Some("api.openai.com");
        Takes {
            structured: Structured::Schema,
            completion_tokens,
            renamed: false,
            temperature: true,
            seed: true,
            logprobs: true,
        }
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

    fn body(request: &ChatRequest, takes: Takes) -> Value {
        body_of(request, takes)
    }

    fn step_down(takes: Takes, complaint: &Complaint, body: &Value) -> Option<(Takes, &'static str)> {
        let sent = |name: &str| body.get(name).is_some();
        let about = |name: &str| sent(name) && complaint.is_about(name);
        let about_format = complaint.is_about("response_format")
            || ["json_schema", "json_object", "structured output", "structured outputs", "json mode"]
                .iter()
                .any(|phrase| complaint.says(phrase));
        if sent("response_format") && about_format {
            return match takes.structured {
                Structured::Schema => {
                    let change = "asking for `json_object` instead of a strict `json_schema`";
                    Some((Takes { structured: Structured::Object, ..takes }, change))
                }
                Structured::Object => {
                    let change = "asking for JSON in words instead of `response_format`";
                    Some((Takes { structured: Structured::Words, ..takes }, change))
                }
                // Then it is the user's own, from `extra`.
                Structured::Words => None,
            };
        }
        if !complaint.refuses() {
            return None;
        }
        if !takes.renamed && (about("max_tokens") || about("max_completion_tokens")) {
            let next = Takes { completion_tokens: !takes.completion_tokens, renamed: true, ..takes };
            let change = match next.completion_tokens {
                true => "sending `max_completion_tokens` instead of `max_tokens`",
                false => "sending `max_tokens` instead of `max_completion_tokens`",
            };
            return Some((next, change));
        }
        if takes.temperature && about("temperature") {
            return Some((Takes { temperature: false, ..takes }, "leaving out `temperature`"));
        }
        if takes.logprobs && (about("logprobs") || about("top_logprobs")) {
            return Some((Takes { logprobs: false, ..takes }, "asking for no log-probabilities"));
        }
        (takes.seed && about("seed")).then_some((Takes { seed: false, ..takes }, "leaving out `seed`"))
    }

    fn is_refusal(status: StatusCode) -> bool {
        matches!(status.as_u16(), 400 | 404 | 415 | 422 | 501)
    }

    fn read(wire: &Wire, reply: Value) -> Attempted {
        reply::read_reply(wire, reply)
    }

    fn name_failure(failure: Failure, complaint: &Complaint) -> Failure {
        name_failure(failure, complaint)
    }
}

/// Failures that only the error's code tells apart; the responses interface has the same codes.
pub(super) fn name_failure(mut failure: Failure, complaint: &Complaint) -> Failure {
    if complaint.has_code(&["insufficient_quota", "billing_hard_limit_reached"]) {
        // Comes as 429, but waiting does not help: no further call will be answered.
        failure.kind = FailureKind::Auth;
        failure.retry_after_ms = None;
    } else if complaint.has_code(&["content_filter", "content_policy_violation"]) {
        failure.kind = FailureKind::ContentFilter;
    } else if complaint.has_code(&["json_validate_failed"]) {
        // Groq: the model's own JSON did not fit the schema; another try may.
        failure.kind = FailureKind::BadReply;
    }
    failure
}

fn body_of(request: &ChatRequest, takes: Takes) -> Value {
    let mut body = Map::new();
    let in_words = matches!(request.answer, AnswerFormat::Json { .. }) && takes.structured != Structured::Schema;
    let worded;
    let messages = if in_words {
        worded = with_instruction(&request.messages, &request.answer);
        &worded
    } else {
        &request.messages
    };
    body.insert("model".to_owned(), json!(request.model));
    body.insert("messages".to_owned(), messages.iter().map(message).collect());
    if let AnswerFormat::Json { name, schema } = &request.answer {
        let format = match takes.structured {
            Structured::Schema => Some(json!({
                "type": "json_schema",
                "json_schema": {"name": name, "strict": true, "schema": schema},
            })),
            Structured::Object => Some(json!({"type": "json_object"})),
            Structured::Words => None,
        };
        body.extend(format.map(|format| ("response_format".to_owned(), format)));
    }
    if let Some(temperature) = request.temperature.filter(|_| takes.temperature) {
        body.insert("temperature".to_owned(), json!(temperature));
    }
    if let Some(most) = request.max_tokens {
        let name = if takes.completion_tokens { "max_completion_tokens" } else { "max_tokens" };
        body.insert(name.to_owned(), json!(most));
    }
    if let Some(seed) = request.seed.filter(|_| takes.seed) {
        body.insert("seed".to_owned(), json!(seed));
    }
    if let Some(most) = request.top_logprobs.filter(|_| takes.logprobs) {
        body.insert("logprobs".to_owned(), json!(true));
        body.insert("top_logprobs".to_owned(), json!(most));
    }
    // Last, so that the user's word holds over ours.
    body.extend(request.extra.clone());
    Value::Object(body)
}

pub(super) fn message(message: &ChatMessage) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    json!({"role": role, "content": message.content})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ChatRequest {
        let text = |role, content: &str| ChatMessage { role, content: content.to_owned() };
        ChatRequest {
            model: "gpt-x".to_owned(),
            messages: vec![text(Role::System, "be brief"), text(Role::User, "hello")],
            answer: AnswerFormat::Json { name: "verdict".to_owned(), schema: json!({"type": "object"}) },
            temperature: Some(0.0),
            max_tokens: Some(50),
            seed: Some(7),
            top_logprobs: None,
            extra: Map::from_iter([("reasoning_effort".to_owned(), json!("low"))]),
        }
    }

    const TOP: Takes = Takes {
        structured: Structured::Schema,
        completion_tokens: false,
        renamed: false,
        temperature: true,
        seed: true,
        logprobs: true,
    };

    #[test]
    fn the_body_is_what_the_reference_describes() {
        let body = body_of(&request(), TOP);
        let expected = json!({
            "model": "gpt-x",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
            "response_format": {"type": "json_schema",
                "json_schema": {"name": "verdict", "strict": true, "schema": {"type": "object"}}},
            "temperature": 0.0, "max_tokens": 50, "seed": 7, "reasoning_effort": "low",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn rungs_are_taken_one_by_one_and_end() {
        let refuse = |name: &str| Complaint::read(&json!({"error": {"message": format!("unsupported: {name}")}}));
        let asked = ChatRequest { top_logprobs: Some(5), ..request() };
        let mut takes = TOP;
        let mut steps = 0;
        for name in ["response_format", "response_format", "max_tokens", "temperature", "logprobs", "seed"] {
            let (next, _) = ChatCompletions::step_down(takes, &refuse(name), &body_of(&asked, takes)).unwrap();
            takes = next;
            steps += 1;
        }
        let body = body_of(&asked, takes);
        for name in
            ["response_format", "max_tokens", "temperature", "logprobs", "seed", "max_completion_tokens", "messages"]
        {
            assert!(ChatCompletions::step_down(takes, &refuse(name), &body).is_none(), "{name}");
        }
        assert_eq!(steps, 6);
        assert_eq!(body["max_completion_tokens"], 50);
        assert!(body["messages"][1]["content"].as_str().unwrap().contains("JSON Schema"));
    }
}
