//! Servers that take a job and give its result later: where its state stands, which words end it, how often to ask.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::body::{check_url, pointer};
use super::template::Template;
use crate::model::{Failure, FailureKind};
use crate::sys::text::one_line;

/// A state that is asked for too often helps nobody.
const SHORTEST: Duration = Duration::from_millis(20);
/// Failures in a row to ask for the state that are borne: asking again does no harm.
const BORNE: u32 = 3;

/// How the result of a job is waited for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PollOptions {
    /// Address of the job's state; `{{reply.id}}` and the like are what the first answer said.
    url: Option<String>,
    /// JSON pointer to that address in the first answer instead; it must be at the same host.
    location: Option<String>,
    /// JSON pointer to the state.
    status: String,
    /// States of a job that has ended well.
    #[schemars(length(min = 1))]
    done: Vec<String>,
    /// States of a job that has failed.
    #[serde(default)]
    failed: Vec<String>,
    /// Seconds between two questions. Default 1.
    #[schemars(range(min = 0.0))]
    interval_s: Option<f64>,
    /// Address of the result, when it is another than that of the state.
    result: Option<String>,
}

/// Asks an address of the server for JSON.
#[async_trait]
pub(super) trait Get: Send + Sync {
    async fn get(&self, url: Url) -> Result<Value, Failure>;
}

/// The same, checked.
pub(super) struct Poll {
    url: Option<Template>,
    location: Option<String>,
    status: String,
    done: Vec<String>,
    failed: Vec<String>,
    interval: Duration,
    result: Option<Template>,
}

impl Poll {
    pub fn of(options: PollOptions) -> Result<Self, String> {
        let template = |name: &str, url: &Option<String>| -> Result<Option<Template>, String> {
            let Some(url) = url else { return Ok(None) };
            check_url(name, url)?;
            Template::url(url).map(Some).map_err(|error| format!("`{name}`: {error}"))
        };
        if options.url.is_some() == options.location.is_some() {
            return Err("`poll` needs either `url` or `location`".to_owned());
        }
        let seconds = options.interval_s.unwrap_or(1.0);
        let interval = Duration::try_from_secs_f64(seconds).map_err(|error| format!("`poll.interval_s`: {error}"))?;
        Ok(Self {
            url: template("poll.url", &options.url)?,
            location: pointer("poll.location", options.location)?,
            status: pointer("poll.status", Some(options.status))?.unwrap_or_default(),
            done: options.done,
            failed: options.failed,
            interval: interval.max(SHORTEST),
            result: template("poll.result", &options.result)?,
        })
    }

    /// Asks until the job has ended; gives the answer that holds the result.
    pub async fn wait(
        &self,
        what: &str,
        context: &Value,
        submitted: &Value,
        at: &Url,
        deadline: Instant,
        server: &dyn Get,
    ) -> Result<Value, Failure> {
        let mut context = context.clone();
        context["reply"] = submitted.clone();
        let address = self.address(what, &context, submitted, at)?;
        let mut last = self.state(submitted);
        let mut failures = 0;
        loop {
            if Instant::now() + self.interval >= deadline {
                let last = last.unwrap_or_else(|| "nothing".to_owned());
                let text =
                    format!("{what}: the job was not done in time; its last state was `{}`", one_line(&last, 60));
                return Err(Failure::new(FailureKind::Timeout, text).not_repeated());
            }
            tokio::time::sleep(self.interval).await;
            let answer = match server.get(address.clone()).await {
                Ok(answer) => answer,
                Err(failure) if failure.kind.is_transient() && failures < BORNE => {
                    failures += 1;
                    continue;
                }
                Err(failure) => return Err(failure.not_repeated()),
            };
            failures = 0;
            let state = self.state(&answer);
            let is = |words: &[String]| state.as_ref().is_some_and(|state| words.contains(state));
            if is(&self.failed) {
                let text = format!("{what}: the job failed: {}", one_line(&answer.to_string(), 300));
                return Err(Failure::new(FailureKind::TargetError, text));
            }
            if is(&self.done) {
                let Some(result) = &self.result else { return Ok(answer) };
                return server.get(parse(what, &result.render(&context)?)?).await;
            }
            last = state;
        }
    }

    fn state(&self, answer: &Value) -> Option<String> {
        let state = answer.pointer(&self.status)?;
        Some(state.as_str().map_or_else(|| state.to_string(), str::to_owned))
    }

    fn address(&self, what: &str, context: &Value, submitted: &Value, at: &Url) -> Result<Url, Failure> {
        if let Some(url) = &self.url {
            return parse(what, &url.render(context)?);
        }
        let bad = |text: String| Failure::new(FailureKind::BadReply, format!("{what}: {text}")).not_repeated();
        let place = self.location.as_deref().unwrap_or_default();
        let said = submitted.pointer(place).and_then(Value::as_str);
        let said = said.ok_or_else(|| bad(format!("the first answer has no address at `{place}`")))?;
        let address = at.join(said).map_err(|error| bad(format!("`{place}` holds no address: {error}")))?;
        // Headers with keys go along: a reply must not choose who gets them.
        if address.origin() != at.origin() {
            return Err(bad(format!("`{place}` leads to another host, which is not followed")));
        }
        Ok(address)
    }
}

fn parse(what: &str, url: &str) -> Result<Url, Failure> {
    let bad = |error| Failure::new(FailureKind::BadRequest, format!("{what}: the filled in address is none: {error}"));
    Url::parse(url).map_err(bad)
}
