//! The provider without a server: answers from a cassette, the same every time, for nothing.
//!
//! Carries checks in CI, the demo and tests. What is not recorded fails as [`FailureKind::NotRecorded`]; no answer
//! is ever made up.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::cassette::request_digest;
use super::{AskKey, Attempted, Cassette, ChatModel};
use crate::model::{ChatReply, ChatRequest, Digest, Failure, FailureKind};

/// Answers from a cassette.
pub struct Replay {
    cassette: Arc<Cassette>,
}

impl Replay {
    /// Answers from this cassette.
    pub fn new(cassette: Arc<Cassette>) -> Self {
        Self { cassette }
    }

    fn missing(&self, request: &ChatRequest, key: &AskKey) -> Failure {
        let digest = request_digest(request);
        let known = if self.cassette.has_other_draw(request) {
            "other draws of this request are there"
        } else if self.cassette.models().any(|model| model == request.model) {
            "prompt, parameters or example changed since it was recorded"
        } else {
            "nothing is recorded for this model"
        };
        Failure::new(
            FailureKind::NotRecorded,
            format!(
                "no answer recorded in `{name}` for request {digest}, model `{model}`, draw {draw}: {known}; record it \
                 by running once with a live provider and `--record {name}`",
                name = self.cassette.name().display(),
                model = request.model,
                draw = key.draw,
            ),
        )
    }
}

#[async_trait]
impl ChatModel for Replay {
    /// Without a key the first draw of any asker is given.
    async fn attempt(&self, request: &ChatRequest, timeout: Duration) -> Result<ChatReply, Failure> {
        let key = AskKey { asker: Digest::of(b""), draw: 0 };
        self.attempt_for(request, &key, timeout).await.result
    }

    async fn attempt_for(&self, request: &ChatRequest, key: &AskKey, _timeout: Duration) -> Attempted {
        match self.cassette.find(request, key) {
            Ok(Some(found)) => Attempted { recorded_ms: Some(found.took_ms), ..Attempted::of(Ok(found.reply)) },
            Ok(None) => Attempted::of(Err(self.missing(request, key))),
            Err(error) => Attempted::of(Err(Failure::new(FailureKind::NotRecorded, error.to_string()))),
        }
    }

    fn identity(&self) -> String {
        "replay".to_owned()
    }

    fn knows(&self, model: &str) -> Option<Result<(), Failure>> {
        if self.cassette.models().any(|known| known == model) {
            return Some(Ok(()));
        }
        let known: Vec<_> = self.cassette.models().collect();
        let known = if known.is_empty() { "nothing".to_owned() } else { format!("`{}`", known.join("`, `")) };
        let name = self.cassette.name().display();
        let text = format!(
            "nothing is recorded in `{name}` for model `{model}`, only for {known}; record it by running once with a \
             live provider and `--record {name}`"
        );
        Some(Err(Failure::new(FailureKind::NotRecorded, text)))
    }
}
