//! What is asked of a chat model and what it answers, free of any provider's wire format.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Usage;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions.
    System,
    /// The asking side.
    User,
    /// The model.
    Assistant,
}

/// One message of plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// The form the answer must have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnswerFormat {
    /// Free text.
    Text,
    /// JSON that fits a schema, by the provider's own means (JSON schema response, or a forced tool call).
    Json {
        /// A short name of the schema: letters, digits, `_`.
        name: String,
        /// JSON Schema; objects closed with `additionalProperties: false`, every property required.
        schema: Value,
    },
}

/// One question to a model. Its digest, with the judge and the draw, is the key of the reply cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// Model name as the provider knows it.
    pub model: String,
    /// The conversation.
    pub messages: Vec<ChatMessage>,
    /// Form of the answer.
    pub answer: AnswerFormat,
    /// Sampling temperature; left out where unset, since some models refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Most tokens to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Seed, where the provider takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How many likely tokens to tell at each place of the answer, with their log-probabilities; none when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u8>,
    /// Further fields of the provider's body, verbatim (`reasoning_effort`, ...).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It was done.
    Stop,
    /// The length limit.
    Length,
    /// A tool call (also how forced structured answers end).
    ToolCall,
    /// The content filter.
    ContentFilter,
    /// It refused.
    Refusal,
    /// Anything else, or nothing said.
    Other,
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatReply {
    /// The text, or the JSON text of a structured answer (whichever channel carried it).
    pub text: String,
    /// Why it stopped.
    pub finish: FinishReason,
    /// The model that answered, where said: often a dated snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens, as billed.
    #[serde(default)]
    pub usage: Usage,
    /// The tokens of the answer with their chances, where they were asked for and offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<TokenChance>>,
}

/// One token of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenChance {
    /// Its text.
    pub text: String,
    /// Natural logarithm of its probability, at most 0.
    pub logprob: f64,
    /// The likeliest tokens at this place with their log-probabilities, likeliest first; its own may be among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<(String, f64)>,
}
