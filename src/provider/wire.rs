//! One HTTP exchange with a model server: send JSON, read JSON, never show a key.
//!
//! Knows nothing of chat. Bodies are bounded, keys are scrubbed from everything a server echoes, and addresses are
//! shown without user, password and query.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use crate::model::{Failure, FailureKind};
use crate::sys::text::one_line;
use crate::sys::{
    BODY_LIMIT, Clock, Secrets, failure_of_status, failure_of_transport, read_body, retry_after_ms, shown,
};

/// The way to one endpoint.
pub(super) struct Wire {
    /// Name of the endpoint in the configuration.
    pub endpoint: String,
    /// Where requests go.
    pub url: Url,
    /// Connections.
    pub http: reqwest::Client,
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
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, answer: None }
    }
}

impl Wire {
    /// What messages call this endpoint.
    pub fn what(&self) -> String {
        format!("endpoint `{}` ({})", self.endpoint, shown(&self.url))
    }

    /// Sends a body and reads the JSON of a successful answer.
    pub async fn post(&self, body: &Value, timeout: Duration) -> Result<Value, Refused> {
        let what = self.what();
        let sent = self.http.post(self.url.clone()).headers(self.headers.clone()).timeout(timeout).json(body).send();
        let response = sent.await.map_err(|error| self.clean(failure_of_transport(&what, &error)))?;
        let status = response.status();
        let wait = retry_after_ms(response.headers(), self.clock.now());
        let read = read_body(&what, response, BODY_LIMIT).await;
        if status.is_success() {
            let bytes = read.map_err(|failure| self.clean(failure))?;
            return serde_json::from_slice(&bytes).map_err(|error| self.not_json(&bytes, &error).into());
        }
        // The status alone says enough when the error's own body is broken.
        let text = self.secrets.scrub(&String::from_utf8_lossy(&read.unwrap_or_default()));
        let mut failure = failure_of_status(&what, status, &text).retry_after_ms(wait);
        if let (FailureKind::Auth, Some(variable)) = (failure.kind, &self.key_variable) {
            failure.message.push_str(&format!("; check the key in `{variable}`"));
        }
        Err(Refused { failure, answer: serde_json::from_str(&text).ok().map(|value| (status, value)) })
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

    fn clean(&self, mut failure: Failure) -> Failure {
        failure.message = self.secrets.scrub(&failure.message);
        failure
    }
}
