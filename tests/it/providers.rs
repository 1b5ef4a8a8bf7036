//! Providers and targets against a model server that fails on purpose.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use assize::model::{AnswerFormat, ChatMessage, ChatRequest, Digest, FailureKind, Role};
use assize::provider::{AskKey, BuildContext, ChatModel, Client, ClientBuilder, EndpointOptions, Notice};
use assize::sys::{Env, RetryPolicy, SystemClock, http_client};
use serde_json::{Map, json};

use crate::mock::Mock;

mod faults;
mod formats;
mod memory;
mod targets;
mod wire;

/// A key as long as real ones, so that it must be scrubbed wherever it turns up.
const KEY: &str = "sk-test-0123456789abcdefghijklmnop";

fn model_at(provider: &str, base_url: String) -> Arc<dyn ChatModel> {
    built(provider, base_url, |_| {}).unwrap()
}

fn built(
    provider: &str,
    base_url: String,
    change: impl FnOnce(&mut EndpointOptions),
) -> Result<Arc<dyn ChatModel>, String> {
    let env = Env::of_pairs(&[
        ("OPENAI_API_KEY", KEY),
        ("ANTHROPIC_API_KEY", KEY),
        ("AZURE_OPENAI_API_KEY", KEY),
        ("AWS_BEARER_TOKEN_BEDROCK", KEY),
        ("GEMINI_API_KEY", KEY),
    ]);
    let http = http_client().unwrap();
    let base = std::path::Path::new(".");
    let clock = Arc::new(SystemClock);
    let context = BuildContext { endpoint: "mock", env: &env, http: &http, clock, base, state: base };
    let mut options = EndpointOptions { base_url: Some(base_url), ..EndpointOptions::default() };
    change(&mut options);
    options.build(provider, &context).map_err(|error| error.to_string())
}

fn openai(mock: &Mock) -> ClientBuilder {
    quick(Client::builder(model_at("openai", mock.openai_url())))
}

fn anthropic(mock: &Mock) -> ClientBuilder {
    quick(Client::builder(model_at("anthropic", mock.url())))
}

/// Waits of tests: short, but of the same kind. An attempt has time enough for a machine under load.
const QUICK: RetryPolicy = RetryPolicy {
    max_attempts: 4,
    base: Duration::from_millis(2),
    cap: Duration::from_millis(20),
    attempt_timeout: Duration::from_secs(10),
};

fn quick(builder: ClientBuilder) -> ClientBuilder {
    builder.endpoint("mock").retry(QUICK)
}

fn request(text: &str) -> ChatRequest {
    ChatRequest {
        model: "test-model".to_owned(),
        messages: vec![
            ChatMessage { role: Role::System, content: "You judge.".to_owned() },
            ChatMessage { role: Role::User, content: text.to_owned() },
        ],
        answer: AnswerFormat::Json {
            name: "verdict".to_owned(),
            schema: json!({"type": "object", "additionalProperties": false, "required": ["pass", "grade"],
                "properties": {"pass": {"type": "boolean"}, "grade": {"enum": ["good", "bad"]}}}),
        },
        temperature: Some(0.0),
        max_tokens: Some(100),
        seed: None,
        top_logprobs: None,
        extra: Map::new(),
    }
}

fn key(draw: u32) -> AskKey {
    AskKey { asker: Digest::of(b"judge"), draw }
}

/// Takes notices down.
#[derive(Default)]
struct Told(Mutex<Vec<Notice>>);

impl Told {
    fn kinds(&self) -> Vec<FailureKind> {
        self.0.lock().unwrap().iter().map(|notice| notice.failure.kind).collect()
    }

    fn texts(&self) -> String {
        self.0.lock().unwrap().iter().map(|notice| format!("{}\n", notice.failure)).collect()
    }
}
