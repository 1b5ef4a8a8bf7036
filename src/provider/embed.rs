//! Embeddings: `POST /embeddings` in the wire format of OpenAI, which most servers of embedding models speak.
//!
//! One attempt per call. As a model behind a client, it takes messages as texts and replies with their vectors as JSON,
//! so that limits, retries, cache and prices hold for embeddings, too.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::endpoint::{BuildContext, EndpointOptions, KeyHeader, ProviderError, wire};
use super::wire::Wire;
use super::{ChatModel, find};
use crate::model::{ChatReply, ChatRequest, Failure, FinishReason, Usage};
use crate::sys::shown;

/// An endpoint that embeds texts.
pub struct Embedder(Wire);

#[derive(Deserialize)]
struct Reply {
    data: Vec<Row>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Read>,
}

/// What was read; nothing is written.
#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    prompt_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vec<f32>,
}

impl Embedder {
    /// Sets up the way there. Reads the key.
    ///
    /// # Errors
    /// The provider speaks another wire format, its key is not set, or its address cannot be used.
    pub fn new(provider: &str, options: &EndpointOptions, context: &BuildContext<'_>) -> Result<Self, ProviderError> {
        let info = find(provider).filter(|info| !matches!(info.name, "anthropic" | "replay"));
        let info = info.ok_or_else(|| ProviderError::BadOption {
            endpoint: context.endpoint.to_owned(),
            cause: format!(
                "`{provider}` serves no embeddings; name a model of an endpoint that speaks OpenAI's format"
            ),
        })?;
        wire(info, options, context, &["embeddings"], KeyHeader::Bearer).map(Self)
    }

    /// One vector per text, in the order of the texts.
    ///
    /// # Errors
    /// The endpoint cannot be reached, refuses, or answers with something else.
    pub async fn embed(&self, model: &str, texts: &[&str], timeout: Duration) -> Result<Vec<Vec<f32>>, Failure> {
        self.ask(model, texts, timeout).await.map(|(vectors, _)| vectors)
    }

    /// The vectors, and the reply without them.
    async fn ask(&self, model: &str, texts: &[&str], timeout: Duration) -> Result<(Vec<Vec<f32>>, ChatReply), Failure> {
        let body = json!({ "model": model, "input": texts });
        let reply = self.0.post(&body, timeout).await.map_err(|refused| refused.failure)?;
        let reply: Reply = serde_json::from_value(reply)
            .map_err(|error| self.0.bad_reply(&format!("the reply holds no embeddings ({error})")))?;
        let usage = reply.usage.and_then(|read| read.prompt_tokens);
        let usage = usage.map(|input| Usage { input: Some(input), output: Some(0), ..Usage::default() });
        let told = ChatReply {
            text: String::new(),
            finish: FinishReason::Stop,
            model: reply.model,
            usage: usage.unwrap_or_default(),
            tokens: None,
        };
        let mut rows: Vec<(usize, Vec<f32>)> =
            reply.data.into_iter().enumerate().map(|(at, row)| (row.index.unwrap_or(at), row.embedding)).collect();
        rows.sort_by_key(|(index, _)| *index);
        let length = rows.first().map_or(0, |(_, vector)| vector.len());
        let whole = rows.iter().enumerate().all(|(at, (index, vector))| {
            *index == at && vector.len() == length && vector.iter().all(|value| value.is_finite())
        });
        if rows.len() != texts.len() || length == 0 || !whole {
            let cause = format!("asked for {} embeddings, found {} that belong together", texts.len(), rows.len());
            return Err(self.0.bad_reply(&cause));
        }
        Ok((rows.into_iter().map(|(_, vector)| vector).collect(), told))
    }
}

#[async_trait]
impl ChatModel for Embedder {
    async fn attempt(&self, request: &ChatRequest, timeout: Duration) -> Result<ChatReply, Failure> {
        let texts: Vec<&str> = request.messages.iter().map(|message| message.content.as_str()).collect();
        let (vectors, told) = self.ask(&request.model, &texts, timeout).await?;
        let text = serde_json::to_string(&vectors).map_err(|error| self.0.bad_reply(&error.to_string()))?;
        Ok(ChatReply { text, ..told })
    }

    fn identity(&self) -> String {
        format!("embeddings {}", shown(&self.0.url))
    }
}
