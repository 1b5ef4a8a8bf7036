//! Message batches of Anthropic: requests are sent in one body, results read as lines.
//!
//! Source: the public API reference of `POST /v1/messages/batches`, `GET /v1/messages/batches/ID` and
//! `GET /v1/messages/batches/ID/results`.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answered, BatchService};
use crate::model::{ChatRequest, Failure};
use crate::provider::anthropic::Messages;
use crate::provider::speaker::Format;
use crate::provider::wire::Wire;

const TIMEOUT: Duration = Duration::from_secs(300);

/// Message batches.
pub(in crate::provider) struct AnthropicBatches {
    wire: Wire,
    takes: <Messages as Format>::Takes,
}

#[derive(Deserialize)]
struct Batch {
    id: String,
    #[serde(default)]
    processing_status: String,
}

#[derive(Deserialize)]
struct Line {
    custom_id: String,
    result: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: Value,
}

impl AnthropicBatches {
    /// Batches at the endpoint whose live calls go along `wire`.
    pub fn new(wire: Wire, takes: <Messages as Format>::Takes) -> Self {
        Self { wire, takes }
    }

    fn below(&self, steps: &[&str]) -> Url {
        let mut url = self.wire.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push("batches").extend(steps);
        }
        url
    }

    fn read(&self, value: Value) -> Result<Batch, Failure> {
        serde_json::from_value(value)
            .map_err(|error| self.wire.bad_reply(&format!("an odd answer about a batch: {error}")))
    }
}

#[async_trait]
impl BatchService for AnthropicBatches {
    fn body(&self, request: &ChatRequest) -> Value {
        Messages::body(request, self.takes)
    }

    async fn submit(&self, questions: &[(String, Value)]) -> Result<String, Failure> {
        let requests: Vec<Value> =
            questions.iter().map(|(name, body)| json!({"custom_id": name, "params": body})).collect();
        let made = self.wire.post_to(&self.below(&[]), &json!({"requests": requests}), TIMEOUT).await;
        Ok(self.read(made.map_err(|refused| refused.failure)?.0)?.id)
    }

    async fn ended(&self, batch: &str) -> Result<bool, Failure> {
        let found = self.wire.get(&self.below(&[batch]), TIMEOUT).await.map_err(|refused| refused.failure)?;
        Ok(self.read(found)?.processing_status == "ended")
    }

    async fn collect(&self, batch: &str) -> Result<HashMap<String, Answered>, Failure> {
        // The address in `results_url` is not followed: the key must not go where a reply says.
        let address = self.below(&[batch, "results"]);
        let text = self.wire.get_text(&address, TIMEOUT).await.map_err(|refused| refused.failure)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let read = |line: Line| {
            let answered = match line.result.kind.as_str() {
                "succeeded" => Answered::Reply(Box::new(Messages::read(&self.wire, line.result.message))),
                _ => Answered::Failed,
            };
            (line.custom_id, answered)
        };
        Ok(lines.map(read).collect())
    }
}
