//! One HTTP exchange with a model server: send JSON, read JSON, never show a key.
//!
//! Knows nothing of chat. Bodies are bounded, keys are scrubbed from everything a server echoes, and addresses are
//! shown without user, password and query.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Failure, FailureKind};
use crate::sys::text::one_line;
use crate::sys::{Clock, Env, failure_of_status, failure_of_transport, retry_after_ms};

/// The longest body that is read.
pub(crate) const BODY_LIMIT: usize = 64 << 20;

/// A key shorter than this is a placeholder (`ollama`, `none`): replacing it in an error would hide ordinary words.
const SHORTEST_SECRET: usize = 8;
/// Replies are the material to be judged: only what must be a real key is cut out of them.
const SHORTEST_SECRET_IN_REPLY: usize = 20;

/// A text of the configuration that may live in the environment: `"text"`, or `{ env = "NAME", prefix = "Bearer " }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SecretText {
    /// The text itself; not for secrets, since the configuration is shown and kept.
    Plain(String),
    /// A variable of the environment.
    Variable(EnvironmentText),
}

/// A text taken from a variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentText {
    /// Name of the variable.
    pub env: String,
    /// What to put before its value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

impl SecretText {
    /// The text, and whether it is a secret; the name of the variable when that is not set.
    pub fn resolve(&self, env: &Env) -> Result<(SecretString, bool), String> {
        match self {
            Self::Plain(text) => Ok((SecretString::from(text.as_str()), false)),
            Self::Variable(EnvironmentText { env: name, prefix }) => {
                let value = env.secret(name).ok_or_else(|| name.clone())?;
                Ok((SecretString::from(format!("{prefix}{}", value.expose_secret())), true))
            }
        }
    }

    /// The secret part alone, for scrubbing.
    fn secret(&self, env: &Env) -> Option<SecretString> {
        match self {
            Self::Plain(_) => None,
            Self::Variable(variable) => env.secret(&variable.env),
        }
    }
}

/// Secrets that must not be seen in anything that leaves this process as text.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<SecretString>);

impl Secrets {
    pub(crate) fn add(&mut self, secret: SecretString) {
        self.0.push(secret);
    }

    /// Adds what a text takes from the environment.
    pub(crate) fn add_text(&mut self, text: &SecretText, env: &Env) {
        self.0.extend(text.secret(env));
    }

    /// The text with every secret replaced.
    pub(crate) fn scrub(&self, text: &str) -> String {
        self.scrub_longer(text, SHORTEST_SECRET)
    }

    /// A model's reply with every real key replaced.
    pub(crate) fn scrub_reply(&self, text: String) -> String {
        if self.0.iter().any(|secret| is_in(secret, &text, SHORTEST_SECRET_IN_REPLY)) {
            return self.scrub_longer(&text, SHORTEST_SECRET_IN_REPLY);
        }
        text
    }

    fn scrub_longer(&self, text: &str, shortest: usize) -> String {
        let mut clean = text.to_owned();
        for secret in &self.0 {
            if is_in(secret, &clean, shortest) {
                clean = clean.replace(secret.expose_secret(), "[secret]");
            }
        }
        clean
    }
}

fn is_in(secret: &SecretString, text: &str, shortest: usize) -> bool {
    secret.expose_secret().len() >= shortest && text.contains(secret.expose_secret())
}

/// Reads a response up to a limit; a longer or broken body is a failure.
pub(crate) async fn read_body(what: &str, mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Failure> {
    let too_long = || {
        Failure::new(FailureKind::BadReply, format!("{what} sent a body of more than {} MiB", limit.div_ceil(1 << 20)))
    };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken_body(what, &error))? {
        if body.len() + chunk.len() > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A body that breaks off is an unreadable reply, whatever the transport calls it: it may have been billed.
fn broken_body(what: &str, error: &reqwest::Error) -> Failure {
    let mut failure = failure_of_transport(what, error);
    if failure.kind == FailureKind::Connection {
        failure.kind = FailureKind::BadReply;
    }
    failure
}

/// An address as it may be shown: without user, password, query and fragment.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for addresses that cannot carry a user, and then there is none to hide.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// A header from its texts; the value is marked so that debug output leaves it out.
pub(crate) fn header(name: &str, value: &SecretString) -> Result<(HeaderName, HeaderValue), String> {
    let header = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not a header name"))?;
    let mut value = HeaderValue::try_from(value.expose_secret())
        .map_err(|_| format!("the value of header `{name}` has characters that a header cannot carry"))?;
    value.set_sensitive(true);
    Ok((header, value))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_out_of_what_a_server_echoes() {
        let mut secrets = Secrets::default();
        secrets.add(SecretString::from("sk-0123456789abcdef0123"));
        secrets.add(SecretString::from("none"));
        assert_eq!(secrets.scrub("bad key sk-0123456789abcdef0123, none"), "bad key [secret], none");
        assert_eq!(secrets.scrub_reply("x sk-0123456789abcdef0123".to_owned()), "x [secret]");
    }

    #[test]
    fn shown_addresses_carry_no_secret() {
        let url = Url::parse("https://me:pw@host.test/v1/chat?key=abc#x").unwrap();
        assert_eq!(shown(&url), "https://host.test/v1/chat");
    }

    #[test]
    fn header_values_come_from_the_environment() {
        let text: SecretText = serde_json::from_str(r#"{"env": "TOKEN", "prefix": "Bearer "}"#).unwrap();
        let (value, secret) = text.resolve(&Env::of_pairs(&[("TOKEN", "abc")])).unwrap();
        assert_eq!((value.expose_secret(), secret), ("Bearer abc", true));
        assert_eq!(text.resolve(&Env::default()).unwrap_err(), "TOKEN");
    }
}
