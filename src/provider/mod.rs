//! Chat models: one file per wire format, and one client that all of them are asked through.
//!
//! A wire format does one attempt and tells failures apart. Everything that is common (concurrency and rate limits,
//! the one retry layer, cache, recording, money) is in [`Client`], once. Nothing here knows what a judge is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::model::{AnswerFormat, ChatMessage, ChatReply, ChatRequest, Digest, Failure, FailureKind, Spend, Usage};
use crate::sys::text::one_line;

mod allowance;
mod anthropic;
mod batch;
mod bedrock;
mod cache;
mod cassette;
mod client;
mod command;
mod embed;
mod endpoint;
mod flight;
mod gemini;
mod ladder;
mod limits;
mod openai;
mod replay;
mod responses;
mod speaker;
mod table;
mod wire;

pub use allowance::Allowance;
pub use batch::Pace;
pub use cache::{CacheChoice, CacheEntry, CacheError, CacheShare, CacheStats, CacheUse, Pruned, ReplyCache};
pub use cassette::{Cassette, CassetteError, Recorder, Recording};
pub use client::{Client, ClientBuilder, ClientStats, Hedge, PriceFn, Thrift};
pub use embed::Embedder;
pub use endpoint::{BATCH_CONCURRENCY, BuildContext, EndpointOptions, ProviderError};
pub use limits::Limits;
pub use replay::Replay;
pub use table::{PROVIDERS, ProviderInfo, find};

/// One wire format at one endpoint. One attempt per call; no retry, no cache.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// Sends one request and reads one reply within `timeout`.
    async fn attempt(&self, request: &ChatRequest, timeout: Duration) -> Result<ChatReply, Failure>;

    /// The same with all that is known beside the reply. The key matters to models that answer from a recording.
    async fn attempt_for(&self, request: &ChatRequest, _key: &AskKey, timeout: Duration) -> Attempted {
        Attempted::of(self.attempt(request, timeout).await)
    }

    /// What of the endpoint can change an answer (wire format and address, never a key): a part of the cache key.
    fn identity(&self) -> String {
        String::new()
    }

    /// How long an answer may take, where that is longer than any time limit of a call (batches).
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Whether answers need no server and cost nothing. Such a model can say beforehand whether it knows a model
    /// name; a live one gives `None` and is asked a tiny question instead.
    fn knows(&self, _model: &str) -> Option<Result<(), Failure>> {
        None
    }
}

/// One attempt with all that is known beside its reply.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// The reply or the failure.
    pub result: Result<ChatReply, Failure>,
    /// Tokens of a reply that was billed and could not be used; `None` when there was none or nothing was said.
    pub wasted: Option<Usage>,
    /// The tool that was called, where the reply is the input of one.
    pub called: Option<String>,
    /// What was tried and dropped on the way: a parameter that the server refused.
    pub notes: Vec<Failure>,
    /// What the server said is left of its limits.
    pub allowance: Allowance,
    /// Whether it came from a batch, which costs less.
    pub batched: bool,
    /// Milliseconds of the original call when the reply is a recorded one, which costs nothing.
    pub recorded_ms: Option<u64>,
}

impl Attempted {
    /// An attempt of which nothing but its result is known.
    pub fn of(result: Result<ChatReply, Failure>) -> Self {
        Self {
            result,
            wasted: None,
            called: None,
            notes: Vec::new(),
            allowance: Allowance::default(),
            batched: false,
            recorded_ms: None,
        }
    }

    /// A reply, and the tool whose input it is.
    fn answered((reply, called): (ChatReply, Option<String>)) -> Self {
        Self { called, ..Self::of(Ok(reply)) }
    }

    /// The input of a tool that was not offered is no answer, whatever it holds: who calls `send_email` with a score in
    /// it has not judged. Servers that leave the name out are taken at their word.
    fn checked(self, request: &ChatRequest, endpoint: &str) -> Self {
        let offered = match &request.answer {
            AnswerFormat::Json { name, .. } => Some(name),
            AnswerFormat::Text => None,
        };
        let (Some(called), Ok(reply)) = (self.called.as_ref().filter(|called| Some(*called) != offered), &self.result)
        else {
            return self;
        };
        let message =
            format!("endpoint `{endpoint}`: the reply calls tool `{}`, which was not offered", one_line(called, 60));
        let (usage, notes, allowance) = (reply.usage.clone(), self.notes, self.allowance);
        let failed = Self::billed(Failure::new(FailureKind::BadReply, message), usage);
        Self { notes, allowance, batched: self.batched, ..failed }
    }

    /// A reply that cannot be used and was billed all the same, as far as it said so.
    fn billed(failure: Failure, usage: Usage) -> Self {
        Self { wasted: (!usage.is_unknown()).then_some(usage), ..Self::of(Err(failure)) }
    }
}

/// Something about a call worth telling the run: an attempt failed, a wait began, a parameter was dropped.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Why it failed.
    pub failure: Failure,
    /// When the next attempt comes; `None` when it was the last.
    pub retry_in: Option<Duration>,
}

/// Takes notices while a call is under way.
pub type OnNotice<'a> = &'a (dyn Fn(Notice) + Send + Sync);

/// What makes a question distinct beyond its request: the same request drawn twice must be asked twice, and a
/// changed judge must not be answered from the cache of the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskKey {
    /// Digest of who asks (a judge, a target).
    pub asker: Digest,
    /// Draw or trial number.
    pub draw: u32,
}

/// An answer with what it cost.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The reply.
    pub reply: ChatReply,
    /// What it cost now: nothing when it came from the cache or a cassette. Earlier attempts of the same ask that
    /// were billed for an unusable reply are in it.
    pub spend: Spend,
    /// Whether it came from the cache, or from an identical ask that was already under way.
    pub cached: bool,
    /// Milliseconds of the attempt that succeeded; of the original attempt when cached or recorded.
    pub took_ms: u64,
}

/// A model of the configuration: where to ask, under which name, with which parameters.
#[derive(Clone)]
pub struct ModelHandle {
    /// Asks the endpoint.
    pub client: Arc<Client>,
    /// Model name as the provider knows it.
    pub model: String,
    /// Sampling temperature; left out where unset.
    pub temperature: Option<f64>,
    /// Most tokens to write.
    pub max_tokens: Option<u32>,
    /// Seed, where the provider takes one.
    pub seed: Option<u64>,
    /// Further fields of the provider's body, verbatim.
    pub extra: Map<String, Value>,
}

impl ModelHandle {
    /// A model with the provider's own parameters.
    pub fn new(client: Arc<Client>, model: impl Into<String>) -> Self {
        Self { client, model: model.into(), temperature: None, max_tokens: None, seed: None, extra: Map::new() }
    }

    /// A request with this model's parameters.
    pub fn request(&self, messages: Vec<ChatMessage>, answer: AnswerFormat) -> ChatRequest {
        ChatRequest {
            model: self.model.clone(),
            messages,
            answer,
            temperature: self.temperature,
            max_tokens: self.max_tokens,
            seed: self.seed,
            top_logprobs: None,
            extra: self.extra.clone(),
        }
    }
}
