//! Batches of OpenAI: a file of requests is uploaded, a batch made of it, files of replies and errors are read.
//!
//! Source: the public API reference of `POST /v1/files`, `POST /v1/batches`, `GET /v1/batches/ID` and
//! `GET /v1/files/ID/content`.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answered, BatchService};
use crate::model::{ChatRequest, Failure};
use crate::provider::speaker::Format;
use crate::provider::wire::Wire;

const TIMEOUT: Duration = Duration::from_secs(300);

/// Batches of one format (`/v1/chat/completions`, `/v1/responses`).
pub(in crate::provider) struct OpenAiBatches<F: Format> {
    wire: Wire,
    takes: F::Takes,
    /// The call that each request stands for.
    call: &'static str,
    format: PhantomData<F>,
}

#[derive(Deserialize)]
struct Batch {
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    output_file_id: Option<String>,
}

#[derive(Deserialize)]
struct File {
    id: String,
}

#[derive(Deserialize)]
struct Line {
    custom_id: String,
    #[serde(default)]
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    status_code: u16,
    #[serde(default)]
    body: Value,
}

impl<F: Format> OpenAiBatches<F> {
    /// Batches at the endpoint whose live calls go along `wire`.
    pub fn new(wire: Wire, takes: F::Takes, call: &'static str) -> Self {
        Self { wire, takes, call, format: PhantomData }
    }

    /// An address beside the live one.
    fn beside(&self, steps: &[&str]) -> Url {
        let mut url = self.wire.url.clone();
        let depth = self.call.trim_start_matches("/v1/").split('/').count();
        if let Ok(mut path) = url.path_segments_mut() {
            (0..depth).for_each(|_| {
                path.pop();
            });
            path.extend(steps);
        }
        url
    }

    async fn batch(&self, batch: &str) -> Result<Batch, Failure> {
        let found =
            self.wire.get(&self.beside(&["batches", batch]), TIMEOUT).await.map_err(|refused| refused.failure)?;
        self.read(found)
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, value: Value) -> Result<T, Failure> {
        serde_json::from_value(value)
            .map_err(|error| self.wire.bad_reply(&format!("an odd answer about a batch: {error}")))
    }
}

#[async_trait]
impl<F: Format> BatchService for OpenAiBatches<F> {
    fn body(&self, request: &ChatRequest) -> Value {
        F::body(request, self.takes)
    }

    async fn submit(&self, questions: &[(String, Value)]) -> Result<String, Failure> {
        let mut lines = String::new();
        for (name, body) in questions {
            lines.push_str(&json!({"custom_id": name, "method": "POST", "url": self.call, "body": body}).to_string());
            lines.push('\n');
        }
        let fields = [("purpose", "batch")];
        let address = self.beside(&["files"]);
        let sent = self.wire.upload(&address, &fields, "batch.jsonl", lines.into_bytes(), TIMEOUT);
        let file: File = self.read(sent.await.map_err(|refused| refused.failure)?)?;
        let wish = json!({"input_file_id": file.id, "endpoint": self.call, "completion_window": "24h"});
        let made = self.wire.post_to(&self.beside(&["batches"]), &wish, TIMEOUT).await;
        let batch: Batch = self.read(made.map_err(|refused| refused.failure)?.0)?;
        Ok(batch.id)
    }

    async fn ended(&self, batch: &str) -> Result<bool, Failure> {
        let batch = self.batch(batch).await?;
        Ok(matches!(batch.status.as_str(), "completed" | "failed" | "expired" | "cancelled"))
    }

    async fn collect(&self, batch: &str) -> Result<HashMap<String, Answered>, Failure> {
        // Errors are in a file of their own; a question that is not among the replies is asked live either way.
        let Some(file) = self.batch(batch).await?.output_file_id else { return Ok(HashMap::new()) };
        let address = self.beside(&["files", &file, "content"]);
        let text = self.wire.get_text(&address, TIMEOUT).await.map_err(|refused| refused.failure)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let read = |line: Line| {
            let answered = match line.response {
                Some(response) if response.status_code == 200 => {
                    Answered::Reply(Box::new(F::read(&self.wire, response.body)))
                }
                _ => Answered::Failed,
            };
            (line.custom_id, answered)
        };
        Ok(lines.map(read).collect())
    }
}
