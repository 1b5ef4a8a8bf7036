//! One exchange with a platform: keys, waiting one's turn, retries, bounded bodies, words for what went wrong.
//!
//! Knows no platform. Keys never leave in errors, and go to no other host.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, LINK};
use reqwest::{Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::driver::{Pull, PullFailed, Stop, fingerprint};
use super::pager::{Answer, Body, Request};
use super::{KeyInfo, Keys, header as secret_header};
use crate::model::{Failure, FailureKind};
use crate::sys::{
    BODY_LIMIT, RetryPolicy, Secrets, failure_of_status, failure_of_transport, header, read_body, retry_after_ms, shown,
};

/// A wait longer than this is not sat out: the place is kept, and the user can come back.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// The way to one platform.
pub(super) struct Wire<'a> {
    pull: &'a Pull<'a>,
    base: Url,
    headers: HeaderMap,
    secrets: Secrets,
    keys: Keys,
    /// Variables of the keys, for advice.
    variables: Vec<String>,
    retry: RetryPolicy,
    between: Duration,
    next: Option<Instant>,
    limit: usize,
    /// Requests sent, retries among them.
    pub requests: u64,
    /// Of those, second and later attempts.
    pub retries: u64,
    /// Answers that said they are only a part.
    pub partial: u64,
}

/// The address that paths are put behind.
pub(super) fn base(url: &str) -> Result<Url, String> {
    let parsed =
        Url::parse(url).map_err(|error| format!("`url` is no HTTP address ({error}): give one like `https://host`"))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.cannot_be_a_base() {
        return Err("`url` must begin with `http://` or `https://`".to_owned());
    }
    if parsed.password().is_some() {
        return Err("`url` holds a password; name the variable it is in with `key_env` instead".to_owned());
    }
    Ok(parsed)
}

impl<'a> Wire<'a> {
    pub fn open(pull: &'a Pull<'a>) -> Result<Self, PullFailed> {
        let bad = |cause: String| PullFailed::Options { name: pull.name.to_owned(), cause };
        let options = pull.options;
        let address = options.url.as_deref().or(pull.platform.url).ok_or_else(|| bad("`url` is missing".to_owned()))?;
        let base = base(address).map_err(bad)?;
        let mut wire = Self {
            pull,
            base,
            headers: HeaderMap::new(),
            secrets: Secrets::default(),
            keys: Keys::default(),
            variables: Vec::new(),
            retry: RetryPolicy {
                max_attempts: options.max_attempts.unwrap_or(6),
                attempt_timeout: options.timeout().map_err(bad)?,
                ..RetryPolicy::default()
            },
            between: Duration::from_secs(60)
                / options.requests_per_minute.unwrap_or(pull.platform.requests_per_minute).max(1),
            next: None,
            limit: options.max_page_mib.map_or(BODY_LIMIT, |mib| (mib as usize) << 20),
            requests: 0,
            retries: 0,
            partial: 0,
        };
        for info in pull.platform.keys {
            wire.take_key(info)?;
        }
        for (name, value) in (pull.platform.headers)(&wire.keys, options) {
            wire.add(name, &value).map_err(bad)?;
        }
        for (name, text) in &options.headers {
            let missing = |variable| PullFailed::MissingKey { name: pull.name.to_owned(), variable };
            let (value, secret) = text.resolve(&pull.env).map_err(missing)?;
            wire.add(name, &value).map_err(bad)?;
            if secret {
                wire.secrets.add_text(text, &pull.env);
            }
        }
        Ok(wire)
    }

    fn take_key(&mut self, info: &KeyInfo) -> Result<(), PullFailed> {
        let options = self.pull.options;
        let second = info.option == "secret_env";
        let named = if second { &options.secret_env } else { &options.key_env };
        let variable = named.as_deref().unwrap_or(info.variable);
        // A trailing line break is what `export KEY=$(cat file)` forgets to leave behind.
        let key = self.pull.env.secret(variable).map(|key| SecretString::from(key.expose_secret().trim()));
        match &key {
            Some(key) => self.secrets.add(key.clone()),
            // One that the user named is meant to be there, even where the platform can do without.
            None if info.required || named.is_some() => {
                return Err(PullFailed::MissingKey { name: self.pull.name.to_owned(), variable: variable.to_owned() });
            }
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
        // Beside the key itself: what it is encoded into (Basic) must not be seen either.
        if let Some((_, coded)) = value.expose_secret().split_once("Basic ") {
            self.secrets.add(SecretString::from(coded));
        }
        self.headers.insert(name, header);
        Ok(())
    }

    /// Opens the next requests with a token that the platform gave.
    pub fn open_with(&mut self, token: &SecretString) -> Result<(), Stop> {
        self.secrets.add(token.clone());
        for (name, value) in secret_header("authorization", &Some(format!("Bearer {}", token.expose_secret()).into())) {
            self.add(name, &value).map_err(Stop::Said)?;
        }
        Ok(())
    }

    /// What messages call the platform.
    pub fn what(&self) -> String {
        format!("`{}` ({} at {})", self.pull.name, self.pull.platform.name, shown(&self.base))
    }

    /// The text without any key.
    pub fn scrub(&self, text: &str) -> String {
        self.secrets.scrub(text)
    }

    /// Asks until there is an answer, within the bounds of the retry policy.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, Stop> {
        let mut attempt = 1;
        loop {
            self.turn().await;
            let failure = match self.once(request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if failure.kind == FailureKind::Auth {
                return Err(Stop::Refused(self.scrub(&failure.message)));
            }
            let jitter = self.jitter(request, attempt);
            match self.retry.delay(attempt, &failure, jitter) {
                Some(wait) if wait <= LONGEST_WAIT => sleep(wait).await,
                Some(wait) => {
                    let text = format!("{} asks to wait {} s", self.what(), wait.as_secs());
                    return Err(Stop::Said(text));
                }
                None => {
                    let tried = if attempt > 1 { format!(" ({attempt} attempts)") } else { String::new() };
                    return Err(Stop::Said(self.scrub(&format!("{}{tried}", failure.message))));
                }
            }
            self.retries += 1;
            attempt += 1;
        }
    }

    /// The variables that hold the keys, in words.
    pub fn variables(&self) -> String {
        let names: Vec<String> = self.variables.iter().map(|name| format!("`{name}`")).collect();
        names.join(" and ")
    }

    /// A draw from [0, 1) that differs by request and attempt; nothing secret depends on it.
    fn jitter(&self, request: &Request, attempt: u32) -> f64 {
        let seed = format!("{} {request:?} {attempt} {}", self.pull.name, self.pull.clock.now());
        (fingerprint(seed.as_bytes()) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Waits for one's turn: requests are spread evenly, without bursts.
    async fn turn(&mut self) {
        if let Some(next) = self.next {
            sleep_until(next).await;
        }
        self.next = Some(Instant::now() + self.between);
    }

    fn address(&self, request: &Request) -> Result<Url, Failure> {
        let wrong = |what: &str| Failure::new(FailureKind::BadRequest, format!("{}: {what}", self.what()));
        if request.foreign {
            let url = Url::parse(&request.path).map_err(|_| wrong("it gave an address that is none"))?;
            // A platform spoken to in clear text may point to clear text; no other may.
            let plain = url.scheme() == "http" && self.base.scheme() == "http";
            return if url.scheme() == "https" || plain {
                Ok(url)
            } else {
                Err(wrong("it gave an address that is not HTTPS"))
            };
        }
        let mut url = self.base.clone();
        let path = format!("{}{}", url.path().trim_end_matches('/'), request.path);
        url.set_path(&path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }

    async fn once(&mut self, request: &Request) -> Result<Answer, Failure> {
        let url = self.address(request)?;
        let what = format!("{}: {} {}", self.what(), if request.post { "POST" } else { "GET" }, shown(&url));
        let client = &self.pull.http;
        let mut ask = if request.post { client.post(url) } else { client.get(url) };
        ask = ask.timeout(self.retry.attempt_timeout);
        if !request.foreign {
            ask = ask.headers(self.headers.clone());
        }
        ask = match &request.body {
            Body::Empty => ask,
            Body::Json(body) => ask.json(&self.with_key(body, request.key_field)),
            Body::Text(text) => ask.header(CONTENT_TYPE, "text/plain; charset=utf-8").body(text.clone()),
        };
        self.requests += 1;
        let response = ask.send().await.map_err(|error| failure_of_transport(&what, &error))?;
        self.read(&what, request, response).await
    }

    fn with_key(&self, body: &Value, field: Option<&str>) -> Value {
        let mut body = body.clone();
        if let (Some(field), Some(key)) = (field, &self.keys.key) {
            body[field] = Value::from(key.expose_secret());
        }
        body
    }

    async fn read(&mut self, what: &str, request: &Request, response: Response) -> Result<Answer, Failure> {
        let status = response.status();
        let link = response.headers().get(LINK).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let wait = retry_after_ms(response.headers(), self.pull.clock.now());
        let too_long = response.content_length().is_some_and(|length| length > self.limit as u64);
        let body = read_body(what, response, self.limit).await;
        if status.is_success() {
            let body = body.map_err(|mut failure| {
                if too_long || failure.message.contains("a body of more than") {
                    failure.kind = FailureKind::BadRequest;
                    failure.message.push_str("; ask for less at a time with `page_size`, or raise `max_page_mib`");
                }
                failure
            })?;
            self.partial += u64::from(status.as_u16() == 207);
            return Ok(Answer { status: status.as_u16(), link, body });
        }
        if request.accepts.contains(&status.as_u16()) {
            return Ok(Answer { status: status.as_u16(), link, body: body.unwrap_or_default() });
        }
        // The status alone says enough when the error's own body is broken.
        let text = self.scrub(&String::from_utf8_lossy(&body.unwrap_or_default()));
        Err(failure_of_status(what, status, &text).retry_after_ms(wait))
    }
}
