//! One exchange with a place that things are sent to: keys, waiting one's turn, retries, words for what went wrong.
//!
//! Keys never leave in errors, and go to no other host. This is the one retry layer of what is sent.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::options::FeedOptions;
use crate::model::{Failure, FailureKind};
use crate::sys::{
    Clock, Env, RetryPolicy, Secrets, failure_of_status, failure_of_transport, header, read_body, retry_after_ms, shown,
};

/// A wait longer than this is not sat out: what is left waits in the outbox.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Longest answer that is read, bytes.
const LONGEST_ANSWER: usize = 8 << 20;

/// A secret that a place asks for, by the variable it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Option that names another variable.
    pub option: &'static str,
    /// Variable when the option is absent.
    pub variable: &'static str,
    /// Whether it can be done without.
    pub required: bool,
}

impl KeyInfo {
    pub(super) const fn key(variable: &'static str) -> Self {
        Self { option: "key_env", variable, required: true }
    }

    pub(super) const fn secret(variable: &'static str) -> Self {
        Self { option: "secret_env", variable, required: true }
    }

    pub(super) const fn optional(self) -> Self {
        Self { required: false, ..self }
    }
}

/// The secrets of one place.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The first.
    pub key: Option<SecretString>,
    /// The second.
    pub secret: Option<SecretString>,
}

/// Headers that carry secrets.
pub type SecretHeaders = Vec<(&'static str, SecretString)>;

/// What is known of a place before it is spoken to.
#[derive(Clone)]
pub struct Door<'a> {
    /// `sink` or `alarm`.
    pub what: &'static str,
    /// Name in the configuration.
    pub name: &'a str,
    /// Kind.
    pub kind: &'static str,
    /// Address when the configuration names none.
    pub url: Option<&'static str>,
    /// Secrets.
    pub keys: &'static [KeyInfo],
    /// Requests per minute when the configuration names no other number.
    pub requests_per_minute: u32,
    /// Headers made of the secrets.
    pub headers: fn(&Keys, &FeedOptions) -> SecretHeaders,
    /// Options.
    pub options: &'a FeedOptions,
    /// Connections.
    pub http: reqwest::Client,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// Environment.
    pub env: Env,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// None.
    Empty,
    /// JSON.
    Json(Value),
    /// Bytes of a content type.
    Bytes(&'static str, Vec<u8>),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Body,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) accepts: &'static [u16],
    /// Taken twice it would count twice: tried again only where it is sure that it was not taken.
    pub(super) once: bool,
    /// The only statuses that are tried again; the usual ones when absent.
    pub(super) again: Option<&'static [u16]>,
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>, body: Body) -> Self {
        let path = path.into();
        Self { method, path, body, headers: Vec::new(), accepts: &[], once: false, again: None }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Body::Empty)
    }

    pub(super) fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path, Body::Json(body))
    }

    pub(super) fn accepting(mut self, statuses: &'static [u16]) -> Self {
        self.accepts = statuses;
        self
    }

    pub(super) fn once(mut self) -> Self {
        self.once = true;
        self
    }
}

/// An answer of success, or of a status the call accepts.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Body, bounded.
    pub body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(super) fn text(&self) -> String {
        crate::sys::text::one_line(&String::from_utf8_lossy(&self.body), 300)
    }
}

/// Why nothing came of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// The key, the address or the project is wrong (401, 403, 404): no other call would fare better.
    Refused(String),
    /// The request itself was refused (400, 413, 422): others may fare better.
    Bad(String),
    /// No answer of use after all attempts: what was to be sent may be tried later.
    Failed(String),
}

/// The way to one place.
pub struct Wire {
    name: String,
    kind: &'static str,
    base: Url,
    /// What of the address may be shown.
    address: String,
    headers: HeaderMap,
    secrets: Secrets,
    pub(super) keys: Keys,
    variables: Vec<String>,
    retry: RetryPolicy,
    between: Duration,
    next: Option<Instant>,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// Requests sent, retries among them.
    pub requests: u64,
    /// Of those, second and later attempts.
    pub retries: u64,
}

/// The address that paths are put behind.
pub(super) fn base(url: &str) -> Result<Url, String> {
    let parsed =
        Url::parse(url).map_err(|error| format!("`url` is no HTTP address ({error}): give one like `https://host`"))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.cannot_be_a_base() {
        return Err("`url` must begin with `http://` or `https://`".to_owned());
    }
    if parsed.password().is_some() {
        return Err("`url` holds a password; name a variable of the environment instead".to_owned());
    }
    Ok(parsed)
}

impl Wire {
    /// Resolves address, keys and headers.
    ///
    /// # Errors
    /// Names the option or variable that is missing or wrong.
    pub fn open(door: &Door<'_>) -> Result<Self, String> {
        let options = door.options;
        let mut secrets = Secrets::default();
        let mut variables = Vec::new();
        let (base, address) = Self::address(door, &mut secrets, &mut variables)?;
        let mut wire = Self {
            name: format!("{} `{}`", door.what, door.name),
            kind: door.kind,
            base,
            address,
            headers: HeaderMap::new(),
            secrets,
            keys: Keys::default(),
            variables,
            retry: RetryPolicy {
                max_attempts: options.max_attempts.unwrap_or(6),
                attempt_timeout: options.timeout()?,
                ..RetryPolicy::default()
            },
            between: Duration::from_secs(60) / options.requests_per_minute.unwrap_or(door.requests_per_minute).max(1),
            next: None,
            http: door.http.clone(),
            clock: door.clock.clone(),
            requests: 0,
            retries: 0,
        };
        for info in door.keys {
            wire.take_key(door, info)?;
        }
        for (name, value) in (door.headers)(&wire.keys, options) {
            wire.add(name, &value)?;
        }
        for (name, text) in &options.headers {
            let (value, secret) = text.resolve(&door.env).map_err(|variable| missing(&wire.name, &variable))?;
            wire.add(name, &value)?;
            if secret {
                wire.secrets.add_text(text, &door.env);
            }
        }
        Ok(wire)
    }

    /// The address, and what of it may be shown: one that is a secret is not shown beyond its host.
    fn address(door: &Door<'_>, secrets: &mut Secrets, variables: &mut Vec<String>) -> Result<(Url, String), String> {
        let named = format!("{} `{}`", door.what, door.name);
        if let Some(variable) = &door.options.url_env {
            let secret = door.env.secret(variable).ok_or_else(|| missing(&named, variable))?;
            let url = Url::parse(secret.expose_secret().trim())
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https"))
                .ok_or_else(|| format!("{named}: `{variable}` holds no HTTP address"))?;
            secrets.add(secret);
            secrets.add(SecretString::from(url.path()));
            variables.push(variable.clone());
            let host = format!("{}://{}/…", url.scheme(), url.host_str().unwrap_or_default());
            return Ok((url, host));
        }
        if door.kind == super::statsd::SINK.name {
            // Datagrams: no request ever goes there.
            let nowhere = Url::parse("http://localhost").map_err(|error| error.to_string())?;
            return Ok((nowhere, door.options.url.clone().unwrap_or_default()));
        }
        let text = door.options.url.as_deref().or(door.url).ok_or_else(|| format!("{named}: `url` is missing"))?;
        let url = base(text).map_err(|cause| format!("{named}: {cause}"))?;
        let address = shown(&url);
        Ok((url, address))
    }

    fn take_key(&mut self, door: &Door<'_>, info: &KeyInfo) -> Result<(), String> {
        let second = info.option == "secret_env";
        let named = if second { &door.options.secret_env } else { &door.options.key_env };
        let variable = named.as_deref().unwrap_or(info.variable);
        // A trailing line break is what `export KEY=$(cat file)` forgets to leave behind.
        let key = door.env.secret(variable).map(|key| SecretString::from(key.expose_secret().trim()));
        match &key {
            Some(key) => self.secrets.add(key.clone()),
            // One that the user named is meant to be there, even where it can be done without.
            None if info.required || named.is_some() => return Err(missing(&self.name, variable)),
            None => {}
        }
        self.variables.push(variable.to_owned());
        if second {
            self.keys.secret = key;
        } else {
            self.keys.key = key;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, value: &SecretString) -> Result<(), String> {
        let (name, header) = header(name, value)?;
        if let Some((_, coded)) = value.expose_secret().split_once("Basic ") {
            self.secrets.add(SecretString::from(coded));
        }
        self.headers.insert(name, header);
        Ok(())
    }

    /// What messages call the place.
    pub fn what(&self) -> String {
        format!("{} ({} at {})", self.name, self.kind, self.address)
    }

    /// The text without any key.
    pub fn scrub(&self, text: &str) -> String {
        self.secrets.scrub(text)
    }

    /// The mend of a refusal.
    fn mend(&self) -> String {
        let names: Vec<String> = self.variables.iter().map(|name| format!("`{name}`")).collect();
        let key = match names.as_slice() {
            [] => "whether a key is needed".to_owned(),
            some => format!("the key in {}", some.join(" and ")),
        };
        format!("check {key}, and `url` and `project`, then push again: what is left waits in the outbox")
    }

    /// Sends until there is an answer, within the bounds of the retry policy.
    pub(super) async fn send(&mut self, call: &Call) -> Result<Reply, Stop> {
        let mut attempt = 1;
        loop {
            if let Some(next) = self.next {
                sleep_until(next).await;
            }
            self.next = Some(Instant::now() + self.between);
            let failure = match self.once(call).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            let said = self.scrub(&failure.message);
            match failure.kind {
                FailureKind::Auth | FailureKind::NotFound => {
                    return Err(Stop::Refused(format!("{said}; {}", self.mend())));
                }
                FailureKind::BadRequest => return Err(Stop::Bad(said)),
                _ => {}
            }
            let jitter = self.jitter(call, attempt);
            match self.retry.delay(attempt, &failure, jitter).filter(|_| self.may_repeat(call, &failure)) {
                Some(wait) if wait <= LONGEST_WAIT => sleep(wait).await,
                Some(wait) => {
                    return Err(Stop::Failed(format!("{} asks to wait {} s", self.what(), wait.as_secs())));
                }
                None => {
                    let tried = if attempt > 1 { format!(" ({attempt} attempts)") } else { String::new() };
                    return Err(Stop::Failed(format!("{said}{tried}")));
                }
            }
            self.retries += 1;
            attempt += 1;
        }
    }

    /// Whether a call may be made again after a failure.
    fn may_repeat(&self, call: &Call, failure: &Failure) -> bool {
        let status = status_in(&failure.message);
        if let (Some(again), Some(status)) = (call.again, status) {
            return again.contains(&status);
        }
        // Only a refusal for rate, or a connection that never was, says that nothing was taken.
        !call.once || failure.kind == FailureKind::RateLimited || status == Some(503)
    }

    /// A draw from [0, 1) that differs by call and attempt; nothing secret depends on it.
    fn jitter(&self, call: &Call, attempt: u32) -> f64 {
        let seed = format!("{} {} {attempt} {}", self.name, call.path, self.clock.now());
        let digest = blake3::hash(seed.as_bytes());
        let (head, _) = digest.as_bytes().split_at(8);
        let number = head.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        (number >> 11) as f64 / (1_u64 << 53) as f64
    }

    async fn once(&mut self, call: &Call) -> Result<Reply, Failure> {
        let mut url = self.base.clone();
        if !call.path.is_empty() {
            let path = format!("{}{}", url.path().trim_end_matches('/'), call.path);
            let (path, query) = path.split_once('?').map_or((path.as_str(), None), |(path, query)| (path, Some(query)));
            url.set_path(path);
            url.set_query(query);
        }
        let what = format!("{}: {} {}", self.what(), call.method, call.path);
        let mut ask = self.http.request(call.method.clone(), url).timeout(self.retry.attempt_timeout);
        ask = ask.headers(self.headers.clone());
        for (name, value) in &call.headers {
            ask = ask.header(*name, value);
        }
        ask = match &call.body {
            Body::Empty => ask,
            Body::Json(body) => ask.json(body),
            Body::Bytes(kind, bytes) => ask.header(CONTENT_TYPE, *kind).body(bytes.clone()),
        };
        self.requests += 1;
        let response = ask.send().await.map_err(|error| failure_of_transport(&what, &error.without_url()))?;
        let status = response.status();
        let wait = retry_after_ms(response.headers(), self.clock.now());
        let body = read_body(&what, response, LONGEST_ANSWER).await;
        if status.is_success() || call.accepts.contains(&status.as_u16()) {
            // What was answered is known by the status; a body that breaks off changes nothing about that.
            return Ok(Reply { status: status.as_u16(), body: body.unwrap_or_default() });
        }
        let text = self.scrub(&String::from_utf8_lossy(&body.unwrap_or_default()));
        Err(failure_of_status(&what, status, &text).retry_after_ms(wait))
    }
}

/// The status that a failure's message tells of.
fn status_in(message: &str) -> Option<u16> {
    let (_, rest) = message.split_once(" answered ")?;
    rest.get(..3)?.parse().ok()
}

fn missing(name: &str, variable: &str) -> String {
    format!("{name} needs `{variable}`, which is not set; run `export {variable}=...` first")
}

/// A header with a secret, where there is one.
pub(super) fn secret_header(name: &'static str, secret: &Option<SecretString>) -> SecretHeaders {
    secret.iter().map(|secret| (name, secret.clone())).collect()
}

/// `Authorization: Bearer …`.
pub(super) fn bearer(key: &Option<SecretString>) -> SecretHeaders {
    let value = |key: &SecretString| SecretString::from(format!("Bearer {}", key.expose_secret()));
    secret_header("authorization", &key.as_ref().map(value))
}

/// `Authorization: Basic …`.
pub(super) fn basic(user: Option<&SecretString>, password: Option<&SecretString>) -> SecretHeaders {
    let (Some(user), Some(password)) = (user, password) else { return Vec::new() };
    let pair = STANDARD.encode(format!("{}:{}", user.expose_secret(), password.expose_secret()));
    vec![("authorization", SecretString::from(format!("Basic {pair}")))]
}

/// A text as one segment of a path: nothing in it leads elsewhere.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_leads_nowhere_else() {
        assert_eq!(segment("tr-0a_b~1"), "tr-0a_b~1");
        assert_eq!(segment("../x?y#z"), "%2E%2E%2Fx%3Fy%23z");
    }

    #[test]
    fn the_status_is_read_from_what_is_said() {
        let failure = failure_of_status("sink `x`", reqwest::StatusCode::BAD_GATEWAY, "oops");
        assert_eq!(status_in(&failure.message), Some(502));
        assert_eq!(status_in("connection refused"), None);
    }
}
