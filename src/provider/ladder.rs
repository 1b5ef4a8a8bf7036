//! What a server turned out not to take, remembered per model so that it is found out once and not at every call.
//!
//! Servers with the same wire format differ in the parameters they take, and so do models at one server. A refusal
//! that names a parameter leads one rung down and is told as a note; a refusal of anything else stays a failure.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::model::{AnswerFormat, ChatMessage, Failure, FailureKind, Role};
use crate::sys::text::one_line;

/// What is known of the models at one endpoint.
pub(super) struct Ladder<C> {
    top: C,
    learned: Mutex<HashMap<String, C>>,
}

impl<C: Clone + PartialEq> Ladder<C> {
    /// Nothing is known: every model is thought to take everything.
    pub fn new(top: C) -> Self {
        Self { top, learned: Mutex::new(HashMap::new()) }
    }

    /// What to send to a model.
    pub fn of(&self, model: &str) -> C {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.get(model).unwrap_or(&self.top).clone()
    }

    /// Notes that `used` was refused and `next` comes instead. `false` when another call found out first: then what
    /// that call learned holds, and nobody is told twice.
    pub fn learn(&self, model: &str, used: &C, next: C) -> bool {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.get(model).unwrap_or(&self.top) != used {
            return false;
        }
        learned.insert(model.to_owned(), next);
        true
    }
}

/// What a server says it does not like.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// Parameters named in fields made for that (`param`, the last step of `loc`).
    named: Vec<String>,
    /// `code` and `type`, lower case.
    codes: Vec<String>,
    /// The words, lower case.
    words: String,
    /// The words as they came, for the note.
    shown: String,
}

/// Phrases with which servers say that a parameter is not taken at all, as opposed to badly valued.
const REFUSALS: &[&str] = &[
    "unsupported",
    "not support",
    "unknown",
    "unrecognized",
    "unexpected",
    "not permitted",
    "not allowed",
    "not available",
    "unavailable",
    "extra input",
    "extra_forbidden",
    "deprecated",
    "only the default",
    "incompatible",
    "invalid parameter",
    "may not be",
    "cannot be",
];

impl Complaint {
    /// Reads an error body in the forms of OpenAI, Anthropic, vLLM and FastAPI.
    pub fn read(body: &Value) -> Self {
        let error = body.get("error").filter(|error| error.is_object()).unwrap_or(body);
        let mut complaint = Self::default();
        for key in ["code", "type"] {
            complaint.codes.extend(error.get(key).and_then(Value::as_str).map(str::to_lowercase));
        }
        complaint.named.extend(error.get("param").and_then(Value::as_str).map(str::to_owned));
        let mut words = Vec::new();
        let plain = [error.get("message"), body.get("message"), body.get("error"), body.get("detail")];
        words.extend(plain.into_iter().flatten().find_map(Value::as_str).map(str::to_owned));
        // FastAPI echoes the whole input beside the complaint: only the place and the message are read.
        let details = body.get("detail").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for detail in details {
            let place = detail.get("loc").and_then(Value::as_array);
            let steps = place.into_iter().flatten().filter_map(Value::as_str).filter(|step| *step != "body");
            complaint.named.extend(steps.take(1).map(str::to_owned));
            complaint.codes.extend(detail.get("type").and_then(Value::as_str).map(str::to_lowercase));
            words.extend(detail.get("msg").and_then(Value::as_str).map(str::to_owned));
        }
        complaint.shown = words.join("; ");
        complaint.words = complaint.shown.to_lowercase().replace("response format", "response_format");
        complaint
    }

    /// Whether it is about a parameter: by the field made for that, else by a word of the message.
    pub fn is_about(&self, parameter: &str) -> bool {
        if !self.named.is_empty() {
            return self.named.iter().any(|named| {
                named.strip_prefix(parameter).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            });
        }
        self.says(parameter)
    }

    /// Whether a word or phrase occurs in the message, not as a part of a longer word.
    pub fn says(&self, phrase: &str) -> bool {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        self.words.match_indices(phrase).any(|(at, _)| {
            let before = self.words.get(..at).and_then(|text| text.chars().next_back());
            let after = self.words.get(at + phrase.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    }

    /// Whether a phrase occurs in the message at all, within longer words too.
    pub fn mentions(&self, phrase: &str) -> bool {
        self.words.contains(phrase)
    }

    /// Whether the parameter is refused as such, not for its value.
    pub fn refuses(&self) -> bool {
        let codes = ["unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"];
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
            || REFUSALS.iter().any(|phrase| self.words.contains(phrase))
    }

    /// Whether `code` or `type` is one of these.
    pub fn has_code(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    /// The note for the run: what was dropped, in the server's own words.
    pub fn note(&self, what: &str, model: &str, change: &str) -> Failure {
        let words = one_line(&self.shown, 200);
        let text = format!("{what}: model `{model}` refused a parameter, {change} from now on; it said: {words}");
        Failure::new(FailureKind::BadRequest, text)
    }
}

/// The messages with the schema told in words, for servers that enforce none. It goes to the end of the last user
/// message: some models take no second system message, and nothing after it can talk it away.
pub(super) fn with_instruction(messages: &[ChatMessage], answer: &AnswerFormat) -> Vec<ChatMessage> {
    let mut messages = messages.to_vec();
    let AnswerFormat::Json { schema, .. } = answer else { return messages };
    let instruction = format!(
        "Answer with one JSON object and nothing else: no code fence, no text around it. It must fit this JSON \
         Schema:\n{schema}"
    );
    match messages.iter_mut().rev().find(|message| message.role == Role::User) {
        Some(message) => message.content = format!("{}\n\n{instruction}", message.content),
        None => messages.push(ChatMessage { role: Role::User, content: instruction }),
    }
    messages
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn complaints_are_read_in_the_forms_servers_use() {
        let openai = Complaint::read(&json!({"error": {
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model.",
            "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}}));
        assert!(openai.is_about("max_tokens") && openai.refuses() && !openai.is_about("temperature"));
        let fastapi = Complaint::read(&json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],
            "msg": "Extra inputs are not permitted", "input": "temperature"}]}));
        assert!(fastapi.is_about("seed") && fastapi.refuses() && !fastapi.is_about("temperature"));
        let vllm = Complaint::read(&json!({"object": "error", "message": "response format is not supported"}));
        assert!(vllm.is_about("response_format") && vllm.refuses());
        let word = Complaint::read(&json!({"error": {"message": "unknown field max_tokens_total"}}));
        assert!(!word.is_about("max_tokens"));
    }

    #[test]
    fn a_bad_value_is_not_a_refusal() {
        let value = Complaint::read(&json!({"error": {"message": "Invalid 'temperature': decimal above maximum \
            value. Expected a value <= 2, but got 3 instead.", "param": "temperature",
            "code": "decimal_above_max_value"}}));
        assert!(value.is_about("temperature") && !value.refuses());
    }

    #[test]
    fn what_is_learned_is_learned_once() {
        let ladder = Ladder::new(0);
        assert!(ladder.learn("m", &0, 1));
        assert!(!ladder.learn("m", &0, 1), "a second call with the old rung tells nobody");
        assert_eq!((ladder.of("m"), ladder.of("other")), (1, 0));
    }

    #[test]
    fn the_instruction_ends_the_last_user_message() {
        let said = |role, content: &str| ChatMessage { role, content: content.to_owned() };
        let answer = AnswerFormat::Json { name: "v".to_owned(), schema: json!({"type": "object"}) };
        let messages = with_instruction(&[said(Role::System, "s"), said(Role::User, "u")], &answer);
        assert!(messages[1].content.starts_with("u\n\nAnswer with one JSON object"));
        assert!(messages[1].content.ends_with(r#"{"type":"object"}"#));
    }
}
