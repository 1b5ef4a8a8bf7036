//! Embeddings: `POST /embeddings` in the wire format of OpenAI, which most servers of embedding models speak.
//!
//! One attempt per call. Used for choosing diverse inputs, not for scores.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::endpoint::{BuildContext, EndpointOptions, KeyHeader, ProviderError, wire};
use super::find;
use super::wire::Wire;
use crate::model::Failure;

/// An endpoint that embeds texts.
pub struct Embedder(Wire);

#[derive(Deserialize)]
struct Reply {
    data: Vec<Row>,
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
        let body = json!({ "model": model, "input": texts });
        let reply = self.0.post(&body, timeout).await.map_err(|refused| refused.failure)?;
        let reply: Reply = serde_json::from_value(reply)
            .map_err(|error| self.0.bad_reply(&format!("the reply holds no embeddings ({error})")))?;
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
        Ok(rows.into_iter().map(|(_, vector)| vector).collect())
    }
}
