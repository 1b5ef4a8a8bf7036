//! One endpoint that speaks a wire format: the attempt that all formats have in common.
//!
//! A format says how a question is written, how an answer is read and what to leave out after a refusal. Sending,
//! and remembering what a model does not take, is here once. Retries are not: the client has them.

use std::marker::PhantomData;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::time::Instant;

use super::ladder::{Complaint, Ladder};
use super::wire::Wire;
use super::{AskKey, Attempted, ChatModel};
use crate::model::{ChatReply, ChatRequest, Digest, Failure, FailureKind};
use crate::sys::shown;

/// What tells one wire format from another.
pub(super) trait Format: Send + Sync + 'static {
    /// What a model takes; it only ever gets less.
    type Takes: Copy + PartialEq + Send + Sync;
    /// Name of the format, a part of the cache key.
    const NAME: &'static str;
    /// Parameters of a request that no server of this format takes (`seed`, `logprobs`).
    const NEVER: &'static [&'static str] = &[];

    /// What a model is thought to take before anything is known.
    fn top(wire: &Wire) -> Self::Takes;

    /// The same without a named parameter (`temperature`, `seed`, `logprobs`, `structured`); `None` when the format
    /// does not know the name.
    fn without(takes: Self::Takes, name: &str) -> Option<Self::Takes>;

    /// Where a question goes; the endpoint's address unless the model's name is a part of it.
    fn url(wire: &Wire, _request: &ChatRequest) -> Url {
        wire.url.clone()
    }

    /// The body of a question.
    fn body(request: &ChatRequest, takes: Self::Takes) -> Value;

    /// The rung below for a refusal, with what changes; `None` when it is about something else.
    fn step_down(takes: Self::Takes, complaint: &Complaint, body: &Value) -> Option<(Self::Takes, &'static str)>;

    /// Whether a status may mean that a parameter is not taken.
    fn is_refusal(status: StatusCode) -> bool;

    /// Reads an answer that came with a status of success.
    fn read(wire: &Wire, reply: Value) -> Attempted;

    /// Tells failures apart that have the same status.
    fn name_failure(failure: Failure, complaint: &Complaint) -> Failure;
}

/// One endpoint that speaks the format `F`.
pub(super) struct Speaker<F: Format> {
    wire: Wire,
    ladder: Ladder<F::Takes>,
    /// Models of which it was said that a parameter is never taken.
    told: Ladder<bool>,
    format: PhantomData<F>,
}

impl<F: Format> Speaker<F> {
    /// An endpoint whose models are thought to take `top`.
    pub fn new(wire: Wire, top: F::Takes) -> Self {
        Self { wire, ladder: Ladder::new(top), told: Ladder::new(false), format: PhantomData }
    }

    /// Said once per model: a run that relies on such a parameter should know.
    fn note_never(&self, request: &ChatRequest) -> Option<Failure> {
        let asked = |name: &&&str| match **name {
            "seed" => request.seed.is_some(),
            "logprobs" => request.top_logprobs.is_some(),
            _ => false,
        };
        let names: Vec<_> = F::NEVER.iter().filter(asked).map(|name| format!("`{name}`")).collect();
        if names.is_empty() || !self.told.learn(&request.model, &false, true) {
            return None;
        }
        let text = format!(
            "{}: model `{}` takes no {}, so it is left out; remove it from the model's parameters",
            self.wire.what(),
            request.model,
            names.join(" and no ")
        );
        Some(Failure::new(FailureKind::BadRequest, text))
    }
}

#[async_trait]
impl<F: Format> ChatModel for Speaker<F> {
    async fn attempt(&self, request: &ChatRequest, timeout: Duration) -> Result<ChatReply, Failure> {
        let key = AskKey { asker: Digest::of(b""), draw: 0 };
        self.attempt_for(request, &key, timeout).await.result
    }

    async fn attempt_for(&self, request: &ChatRequest, _key: &AskKey, timeout: Duration) -> Attempted {
        let deadline = Instant::now() + timeout;
        let url = F::url(&self.wire, request);
        let mut notes = Vec::from_iter(self.note_never(request));
        loop {
            let takes = self.ladder.of(&request.model);
            let body = F::body(request, takes);
            let left = deadline.saturating_duration_since(Instant::now());
            let refused = match self.wire.post_to(&url, &body, left).await {
                Ok((reply, allowance)) => return Attempted { notes, allowance, ..F::read(&self.wire, reply) },
                Err(refused) => refused,
            };
            let allowance = refused.allowance;
            let Some((status, answer)) = refused.answer else {
                return Attempted { notes, allowance, ..Attempted::of(Err(refused.failure)) };
            };
            let complaint = Complaint::read(&answer);
            let next = F::is_refusal(status).then(|| F::step_down(takes, &complaint, &body)).flatten();
            let Some((next, change)) = next else {
                let failure = F::name_failure(refused.failure, &complaint);
                return Attempted { notes, allowance, ..Attempted::of(Err(failure)) };
            };
            if self.ladder.learn(&request.model, &takes, next) {
                notes.push(complaint.note(&self.wire.what(), &request.model, change));
            }
        }
    }

    fn identity(&self) -> String {
        format!("{} {}", F::NAME, shown(&self.wire.url))
    }
}
