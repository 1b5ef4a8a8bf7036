//! One HTTP exchange with a model server: send JSON, read JSON, never show a key.
//!
//! Knows nothing of chat. Bodies are bounded, keys are scrubbed from everything a server echoes, and addresses are
//! shown without user, password and query.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde_json::Value;

use super::allowance::Allowance;
use crate::model::{Failure, FailureKind};
use crate::sys::text::one_line;
use crate::sys::{
    Authorities, BODY_LIMIT, Clock, Secrets, failure_of_status, failure_of_transport, http_client_without_pool,
    read_body, retry_after_ms, shown,
};

/// Questions that timed out. A connection whose other end went away without a word looks alive, and a call on it only
/// times out; so might each of its retries, on the next such connection. The same question goes over a new one.
#[derive(Default)]
pub(super) struct TimedOut {
    questions: Mutex<HashSet<u64>>,
    /// Keeps no connection; made when it is first needed.
    fresh: OnceLock<reqwest::Client>,
    trusted: Option<Authorities>,
}

/// Questions that are remembered; more are not asked again at a time.
const REMEMBERED: usize = 10_000;

impl TimedOut {
    /// Nothing timed out yet; new connections trust these authorities, too.
    pub fn trusting(trusted: Option<Authorities>) -> Self {
        Self { trusted, ..Self::default() }
    }

    fn questions(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, url: &Url, body: &Value) {
        let mut questions = self.questions();
        if questions.len() < REMEMBERED {
            questions.insert(place_of(url, body));
        }
    }

    /// Whether this question timed out when it was last asked; it is forgotten with the answer.
    fn take(&self, url: &Url, body: &Value) -> bool {
        let mut questions = self.questions();
        !questions.is_empty() && questions.remove(&place_of(url, body))
    }
}

fn place_of(url: &Url, body: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    (url.as_str(), body.to_string()).hash(&mut hasher);
    hasher.finish()
}

/// The way to one endpoint.
#[derive(Clone)]
pub(super) struct Wire {
    /// Name of the endpoint in the configuration.
    pub endpoint: String,
    /// Where requests go.
    pub url: Url,
    /// Connections.
    pub http: reqwest::Client,
    /// Questions for which those that are kept may be dead.
    pub timed_out: Arc<TimedOut>,
    /// Time, for `Retry-After` as a date.
    pub clock: Arc<dyn Clock>,
    /// Headers, keys among them.
    pub headers: HeaderMap,
    /// What must never be shown.
    pub secrets: Secrets,
    /// Variable that holds the key, for advice.
    pub key_variable: Option<String>,
}

/// An exchange that failed, with the server's JSON where it sent some.
pub(super) struct Refused {
    /// The failure.
    pub failure: Failure,
    /// Status and error body, scrubbed, when a server answered in JSON.
    pub answer: Option<(StatusCode, Value)>,
    /// What is left of the server's limits.
    pub allowance: Allowance,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, answer: None, allowance: Allowance::default() }
    }
}

impl Wire {
    /// What messages call this endpoint.
    pub fn what(&self) -> String {
        format!("endpoint `{}` ({})", self.endpoint, shown(&self.url))
    }

    /// Sends a body to the endpoint's address and reads the JSON of a successful answer.
    pub async fn post(&self, body: &Value, timeout: Duration) -> Result<Value, Refused> {
        self.post_to(&self.url, body, timeout).await.map(|(reply, _)| reply)
    }

    /// Sends a body to an address at the endpoint and reads the JSON of a successful answer, with what it says of the
    /// server's limits.
    pub async fn post_to(&self, url: &Url, body: &Value, timeout: Duration) -> Result<(Value, Allowance), Refused> {
        let http = if self.timed_out.take(url, body) { self.fresh() } else { &self.http };
        let sent = self.send(http.post(url.clone()).json(body), timeout).await;
        if sent.as_ref().is_err_and(|refused| refused.failure.kind == FailureKind::Timeout) {
            self.timed_out.remember(url, body);
        }
        let (bytes, allowance) = sent?;
        Ok((self.json(&bytes)?, allowance))
    }

    /// Reads JSON from an address at the endpoint.
    pub async fn get(&self, url: &Url, timeout: Duration) -> Result<Value, Refused> {
        let (bytes, _) = self.send(self.http.get(url.clone()), timeout).await?;
        Ok(self.json(&bytes)?)
    }

    /// Reads text from an address at the endpoint.
    pub async fn get_text(&self, url: &Url, timeout: Duration) -> Result<String, Refused> {
        let (bytes, _) = self.send(self.http.get(url.clone()), timeout).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sends a form of fields and one file, called `file`, and reads the JSON of a successful answer.
    pub async fn upload(
        &self,
        url: &Url,
        fields: &[(&'static str, &'static str)],
        name: &'static str,
        content: Vec<u8>,
        timeout: Duration,
    ) -> Result<Value, Refused> {
        let form = fields.iter().fold(Form::new(), |form, (name, value)| form.text(*name, *value));
        let form = form.part("file", Part::bytes(content).file_name(name));
        let (bytes, _) = self.send(self.http.post(url.clone()).multipart(form), timeout).await?;
        Ok(self.json(&bytes)?)
    }

    /// Keeps no connections; where no second client can be made, the first one has to do.
    fn fresh(&self) -> &reqwest::Client {
        let made = || http_client_without_pool(self.timed_out.trusted.as_ref()).unwrap_or_else(|_| self.http.clone());
        self.timed_out.fresh.get_or_init(made)
    }

    /// The bytes of a successful answer.
    async fn send(&self, request: RequestBuilder, timeout: Duration) -> Result<(Vec<u8>, Allowance), Refused> {
        let what = self.what();
        let sent = request.headers(self.headers.clone()).timeout(timeout).send();
        let response = sent.await.map_err(|error| self.clean(self.mended(failure_of_transport(&what, &error))))?;
        let status = response.status();
        let wait = retry_after_ms(response.headers(), self.clock.now());
        let allowance = Allowance::read(response.headers(), self.clock.now());
        let read = read_body(&what, response, BODY_LIMIT).await;
        if status.is_success() {
            return Ok((read.map_err(|failure| self.clean(failure))?, allowance));
        }
        // The status alone says enough when the error's own body is broken.
        let text = self.secrets.scrub(&String::from_utf8_lossy(&read.unwrap_or_default()));
        let mut failure = failure_of_status(&what, status, &text).retry_after_ms(wait);
        if let (FailureKind::Auth, Some(variable)) = (failure.kind, &self.key_variable) {
            failure.message.push_str(&format!("; check the key in `{variable}`"));
        }
        Err(Refused { failure, answer: serde_json::from_str(&text).ok().map(|value| (status, value)), allowance })
    }

    fn json(&self, bytes: &[u8]) -> Result<Value, Failure> {
        serde_json::from_slice(bytes).map_err(|error| self.not_json(bytes, &error))
    }

    /// An unreadable reply of this endpoint.
    pub fn bad_reply(&self, cause: &str) -> Failure {
        Failure::new(FailureKind::BadReply, format!("{}: {}", self.what(), self.secrets.scrub(cause)))
    }

    fn not_json(&self, bytes: &[u8], error: &serde_json::Error) -> Failure {
        // Scrubbed before it is cut, and only the head is shown: a cut through a key would show a part of it.
        let text = self.secrets.scrub(&String::from_utf8_lossy(bytes.get(..4096).unwrap_or(bytes)));
        let excerpt = one_line(&text.chars().take(120).collect::<String>(), 120);
        self.bad_reply(&format!("the reply is not JSON ({error}): {excerpt}"))
    }

    /// The mend for a certificate that is not trusted: the way to the endpoint is configured here.
    fn mended(&self, mut failure: Failure) -> Failure {
        if failure.kind == FailureKind::Untrusted {
            failure.message.push_str(&format!(
                "; where its authority is known to you, name that one's certificate: `ca_file = \"authority.pem\"` in \
                 `[providers.{}]`",
                self.endpoint
            ));
        }
        failure
    }

    fn clean(&self, mut failure: Failure) -> Failure {
        failure.message = self.secrets.scrub(&failure.message);
        failure
    }
}
