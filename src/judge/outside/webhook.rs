//! A web service that scores: the cell as JSON by POST, the finding as JSON in the answer. Classifiers behind HTTP too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::Url;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::command::time_of;
use super::reply::{Answer, question};
use super::{Outside, OutsideInfo, Surroundings, free, read, schema_of};
use crate::judge::{Grade, Graded};
use crate::model::{Failure, FailureKind, ScoreInput, Unscored, UnscoredReason};
use crate::provider::{Notice, OnNotice};
use crate::sys::{
    Clock, RetryPolicy, SecretText, Secrets, failure_of_status, failure_of_transport, header, read_body,
    retry_after_ms, shown,
};

pub(super) const WEBHOOK: OutsideInfo = OutsideInfo {
    name: "webhook",
    version: "1",
    summary: "Asks a web service: the cell as JSON by POST, the finding as JSON in the answer.",
    sample: "url = \"https://scores.example/check\"\nanswer = { gives = \"number\", min = 0.0, max = 1.0, at = \"/result/score\" }",
    schema: schema_of::<Options>,
    check: |options| check(&read(options)?).map(|_| ()),
    build,
};

/// Most bytes of an answer.
const ANSWER_LIMIT: usize = 4 << 20;

/// What the service is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Sends {
    /// The whole cell: example, output, trace.
    #[default]
    Cell,
    /// `{"inputs": TEXT}` with the output as text, as servers of classifiers take it.
    Inputs,
    /// `{"input": TEXT}` with the output as text, as moderation endpoints take it.
    Input,
}

/// The service, and how it is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Where to: `https://...`.
    url: String,
    /// Further headers: name to text, or to `{ env = "NAME", prefix = "Bearer " }`.
    #[serde(default)]
    headers: BTreeMap<String, SecretText>,
    /// What it is sent.
    #[serde(default)]
    sends: Sends,
    /// How an answer is read.
    #[serde(default)]
    answer: Answer,
    /// Time limit of one attempt, such as `30s`. Default `30s`.
    timeout: Option<String>,
    /// Most attempts of one call. Default 3.
    #[schemars(range(min = 1, max = 20))]
    max_attempts: Option<u32>,
}

fn check(options: &Options) -> Result<Url, String> {
    let url = Url::parse(&options.url).map_err(|error| format!("`url` is no HTTP address ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("`url` must begin with `http://` or `https://`".to_owned());
    }
    time_of(options.timeout.as_deref())?;
    options.answer.check()?;
    Ok(url)
}

struct Service {
    url: Url,
    headers: HeaderMap,
    secrets: Secrets,
    sends: Sends,
    answer: Answer,
    retry: RetryPolicy,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    who: String,
}

fn build(options: &Value, around: &Surroundings<'_>) -> Result<Outside, String> {
    let options: Options = read(options)?;
    let url = check(&options)?;
    let mut headers = HeaderMap::new();
    let mut secrets = Secrets::default();
    for (name, text) in &options.headers {
        let missing = |name| format!("`headers` needs `{name}`, which is not set; run `export {name}=...` first");
        let (value, _) = text.resolve(around.env).map_err(missing)?;
        let (name, value) = header(name, &value).map_err(|error| format!("`headers`: {error}"))?;
        headers.insert(name, value);
        secrets.add_text(text, around.env);
    }
    let retry = RetryPolicy {
        max_attempts: options.max_attempts.unwrap_or(3),
        attempt_timeout: time_of(options.timeout.as_deref())?,
        ..RetryPolicy::default()
    };
    let (scale, direction) = (options.answer.scale(), options.answer.direction());
    let service = Service {
        who: format!("service `{}`", shown(&url)),
        url,
        headers,
        secrets,
        sends: options.sends,
        answer: options.answer,
        retry,
        http: around.http.clone(),
        clock: Arc::clone(&around.clock),
    };
    Ok(Outside { grade: Arc::new(service), scale, direction, digest: None, model: None })
}

impl Service {
    async fn attempt(&self, body: &Value, timeout: Duration) -> Result<Vec<u8>, Failure> {
        let sent =
            self.http.post(self.url.clone()).headers(self.headers.clone()).json(body).timeout(timeout).send().await;
        let response = sent.map_err(|error| failure_of_transport(&self.who, &error.without_url()))?;
        let (status, wait) = (response.status(), retry_after_ms(response.headers(), self.clock.now()));
        let bytes = read_body(&self.who, response, ANSWER_LIMIT).await?;
        if status.is_success() {
            return Ok(bytes);
        }
        Err(failure_of_status(&self.who, status, &String::from_utf8_lossy(&bytes)).retry_after_ms(wait))
    }
}

#[async_trait]
impl Grade for Service {
    async fn grade(&self, input: &ScoreInput<'_>, _draw: u32, on_notice: OnNotice<'_>) -> Graded {
        let started = Instant::now();
        let body = match self.sends {
            Sends::Cell => question(input, 0),
            Sends::Inputs => json!({ "inputs": input.output.text() }),
            Sends::Input => json!({ "input": input.output.text() }),
        };
        let mut attempt = 1;
        let scored = loop {
            let mut failure = match self.attempt(&body, self.retry.attempt_timeout).await {
                Ok(bytes) => break self.answer.read(&self.who, &bytes),
                Err(failure) => failure,
            };
            failure.message = self.secrets.scrub(&failure.message);
            // Cells of one run ask apart from each other by the work of their trials; half the bound spreads them enough.
            let wait = self.retry.delay(attempt, &failure, 0.5);
            on_notice(Notice { attempt, failure: failure.clone(), retry_in: wait });
            let Some(wait) = wait else { break Err(unscored(&failure)) };
            tokio::time::sleep(wait).await;
            attempt += 1;
        };
        free(scored, u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Why there is no score when a call failed for good.
pub(super) fn unscored(failure: &Failure) -> Unscored {
    let reason = match failure.kind {
        FailureKind::Timeout => UnscoredReason::Timeout,
        FailureKind::RateLimited => UnscoredReason::RateLimited,
        FailureKind::BadReply => UnscoredReason::ReplyUnreadable,
        FailureKind::NotRecorded => UnscoredReason::NotRecorded,
        _ => UnscoredReason::ProviderFailed,
    };
    Unscored::new(reason, failure.message.clone())
}
