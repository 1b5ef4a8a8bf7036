//! A server under test: one request per trial; answers whole, as a stream of events, or by asking for a job's state.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::body::{Body, check_templates, check_url, fill, pointer};
use super::foreign::{Places, read_output};
use super::poll::{Get, Poll, PollOptions};
use super::sse::{Events, Joined};
use super::stage::{TraceIds, context_of};
use super::template::Template;
use super::{BuildContext, Target, TargetCall, TargetReply, options};
use crate::model::{Digest, Digester, Failure, FailureKind, Output, Spend, TargetInfo, canonical_json};
use crate::sys::{
    BODY_LIMIT, Clock, SecretText, Secrets, failure_of_status, failure_of_transport, header, new_run_id, read_body,
    retry_after_ms,
};

pub(super) const SAMPLE: &str = r#"url = "http://localhost:8000/answer"
headers = { Authorization = { env = "APP_TOKEN", prefix = "Bearer " } }
body = { question = "{{input}}" }
output = "/answer"
usage = "/usage"
"#;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Address; may hold templates behind the host (`https://host/ask?q={{input}}`).
    url: String,
    /// Method of the request.
    #[serde(default)]
    method: Verb,
    /// Headers: name to text, or to `{ env = "NAME", prefix = "..." }`.
    #[serde(default)]
    headers: BTreeMap<String, SecretText>,
    /// Body: a table whose texts are templates (`{{json input}}` alone stands for a whole value), or one text that
    /// becomes JSON when it is filled in. `{"input": ...}` when absent.
    body: Option<Value>,
    /// JSON pointer to the output. When absent, `/output` where there is one, else the whole reply.
    output: Option<String>,
    /// JSON pointer to the steps: a list of spans, or OTLP in JSON.
    trace: Option<String>,
    /// JSON pointer to the tokens.
    usage: Option<String>,
    /// JSON pointer to the cost in US dollars.
    cost_usd: Option<String>,
    /// JSON pointer to the time taken in milliseconds; measured when absent.
    latency_ms: Option<String>,
    /// JSON pointer to an error; a reply that has something there is a failure of the target.
    error: Option<String>,
    /// The reply is a stream of server-sent events whose texts are joined.
    stream: Option<StreamOptions>,
    /// The reply is about a job whose result comes later.
    poll: Option<PollOptions>,
    /// Header that names the trial, so that the server can tell a repeated request: any failure may then be tried again.
    idempotency_header: Option<String>,
    /// Which failures are tried again.
    #[serde(default)]
    retry: Retry,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    /// JSON pointer to the text in an event, such as `/choices/0/delta/content`; empty for events of plain text.
    delta: String,
    /// Data that ends the stream, such as `[DONE]`. A stream that ends without it has broken off.
    done: Option<String>,
}

/// Which failures are tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Retry {
    /// Those that can have had no effect: no connection, 429, 503. All of them with GET, PUT, or an idempotency header.
    #[default]
    Safe,
    /// All that may pass.
    All,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Get,
    #[default]
    Post,
    Put,
    Patch,
    Delete,
}

pub(super) fn schema() -> Value {
    schemars::schema_for!(Options).to_value()
}

pub(super) fn build(value: &Value, context: &BuildContext<'_>) -> Result<Box<dyn Target>, String> {
    let read: Options = options(value)?;
    let shown_url = check_url("url", &read.url)?;
    let body = match (&read.body, read.method) {
        (None, Verb::Get | Verb::Delete) => None,
        (None, _) => Some(Body::Table(json!({"input": "{{json input}}"}))),
        (Some(Value::String(text)), _) => Some(Body::Text(Template::json(text).map_err(|e| format!("`body`: {e}"))?)),
        (Some(table), _) => Some(Body::Table(table.clone())),
    };
    if let Some(Body::Table(table)) = &body {
        check_templates(table).map_err(|error| format!("`body`: {error}"))?;
    }
    if read.stream.is_some() && read.poll.is_some() {
        return Err("`stream` and `poll` exclude each other; keep one".to_owned());
    }
    let mut headers = HeaderMap::new();
    let mut secrets = Secrets::default();
    for (name, text) in &read.headers {
        let missing = |name| format!("`headers` needs `{name}`, which is not set; run `export {name}=...` first");
        let (value, _) = text.resolve(context.env).map_err(missing)?;
        let (name, value) = header(name, &value).map_err(|error| format!("`headers`: {error}"))?;
        headers.insert(name, value);
        secrets.add_text(text, context.env);
    }
    let named = |name: &String| {
        HeaderName::try_from(name.as_str()).map_err(|_| format!("`idempotency_header`: `{name}` is no header name"))
    };
    let idempotency = read.idempotency_header.as_ref().map(named).transpose()?;
    let harmless = matches!(read.method, Verb::Get | Verb::Put) || idempotency.is_some();
    let places = Places {
        output: pointer("output", read.output)?,
        trace: pointer("trace", read.trace)?,
        usage: pointer("usage", read.usage)?,
        cost_usd: pointer("cost_usd", read.cost_usd)?,
        latency_ms: pointer("latency_ms", read.latency_ms)?,
        error: pointer("error", read.error)?,
    };
    if let Some(stream) = &read.stream {
        pointer("stream.delta", Some(stream.delta.clone()))?;
    }
    // The options hold names of variables, not their values: no secret enters the digest.
    let digest = Digester::new().part("kind", b"http").part("options", canonical_json(value).as_bytes()).finish();
    Ok(Box::new(HttpTarget {
        name: context.name.to_owned(),
        url: Template::url(&read.url).map_err(|error| format!("`url`: {error}"))?,
        settings: settings(&shown_url, value),
        shown_url,
        verb: read.method,
        headers,
        secrets,
        body,
        places,
        digest,
        stream: read.stream,
        poll: read.poll.map(Poll::of).transpose()?,
        idempotency,
        repeatable: harmless || read.retry == Retry::All,
        mark: new_run_id(context.clock.as_ref()).as_str().to_owned(),
        http: context.http.clone(),
        clock: Arc::clone(&context.clock),
    }))
}

/// What of the options is worth showing: the address, and fixed fields of the body such as a model's name.
fn settings(url: &str, options: &Value) -> BTreeMap<String, Value> {
    let mut settings = BTreeMap::from([("url".to_owned(), json!(url))]);
    if let Some(fields) = options.get("body").and_then(Value::as_object) {
        for (name, value) in fields {
            let shown = match value {
                Value::String(text) => json!(crate::sys::text::one_line(text, 120)),
                Value::Object(_) | Value::Array(_) => json!(Digest::of(canonical_json(value).as_bytes()).short()),
                other => other.clone(),
            };
            settings.insert(format!("body.{name}"), shown);
        }
    }
    settings
}

struct HttpTarget {
    name: String,
    url: Template,
    shown_url: String,
    settings: BTreeMap<String, Value>,
    verb: Verb,
    headers: HeaderMap,
    secrets: Secrets,
    body: Option<Body>,
    places: Places,
    digest: Digest,
    stream: Option<StreamOptions>,
    poll: Option<Poll>,
    idempotency: Option<HeaderName>,
    /// Whether a request that may have taken effect may be sent again.
    repeatable: bool,
    /// What tells the requests of this run from those of others.
    mark: String,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Target for HttpTarget {
    fn info(&self) -> TargetInfo {
        let settings = self.settings.clone();
        TargetInfo { kind: "http".to_owned(), name: self.name.clone(), digest: self.digest.clone(), settings }
    }

    async fn run(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let ids = TraceIds::of(call, self.clock.as_ref());
        let started = Instant::now();
        let mut output = self.ask(call, &ids, started).await.map_err(|failure| self.clean(failure))?;
        output.latency_ms = output.latency_ms.or_else(|| Some(millis(started)));
        output.metadata.insert("trace_id".to_owned(), json!(ids.trace));
        let mut spend = Spend::of_call(output.usage.clone(), output.cost_usd);
        if output.cost_usd.is_none() && output.usage.is_unknown() {
            // An application that says nothing of tokens or money is not a model call without a price.
            spend.unpriced_calls = 0;
        }
        Ok(TargetReply { output, spend, cached: false })
    }
}

/// Questions about a job that was submitted.
struct Asking<'a> {
    target: &'a HttpTarget,
    what: &'a str,
    deadline: Instant,
}

#[async_trait]
impl Get for Asking<'_> {
    async fn get(&self, url: Url) -> Result<Value, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let request = self.target.http.get(url).headers(self.target.headers.clone()).timeout(left);
        let response = request.send().await.map_err(|error| failure_of_transport(self.what, &error))?;
        let response = self.target.accepted(self.what, response).await?;
        json_of(self.what, &read_body(self.what, response, BODY_LIMIT).await?)
    }
}

impl HttpTarget {
    async fn ask(&self, call: &TargetCall<'_>, ids: &TraceIds, started: Instant) -> Result<Output, Failure> {
        let what = format!("target `{}` ({})", self.name, self.shown_url);
        let context = context_of(call);
        let request = self.request(&context, call, ids)?.timeout(call.timeout);
        let sent = request.send().await;
        let response = sent.map_err(|error| self.sorted(failure_of_transport(&what, &error), error.is_connect()))?;
        let first_byte_ms = millis(started);
        let response = self.accepted(&what, response).await?;
        let at = response.url().clone();
        if let Some(stream) = self.stream.as_ref().filter(|_| is_stream(&response)) {
            let read = self.read_stream(&what, response, stream, &ids.trace, started).await;
            let mut output = read.map_err(|failure| self.sorted(failure, false))?;
            output.metadata.insert("first_byte_ms".to_owned(), json!(first_byte_ms));
            return Ok(output);
        }
        let body = read_body(&what, response, BODY_LIMIT).await.map_err(|failure| self.sorted(failure, false))?;
        let Some(poll) = &self.poll else {
            return self.read(&what, &body, &ids.trace).map_err(|failure| self.sorted(failure, false));
        };
        let submitted = json_of(&what, &body)?;
        let deadline = started + call.timeout;
        let server = Asking { target: self, what: &what, deadline };
        let reply = poll.wait(&what, &context, &submitted, &at, deadline, &server).await?;
        read_output(&what, &reply, &self.places, &ids.trace)
    }

    /// A response that is no refusal.
    async fn accepted(&self, what: &str, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = retry_after_ms(response.headers(), self.clock.now());
        let body = read_body(what, response, BODY_LIMIT).await.unwrap_or_default();
        let text = self.secrets.scrub(&String::from_utf8_lossy(&body));
        let harmless = matches!(status.as_u16(), 429 | 503);
        Err(self.sorted(failure_of_status(what, status, &text).retry_after_ms(wait), harmless))
    }

    /// A failure, with what it means for another attempt.
    fn sorted(&self, failure: Failure, harmless: bool) -> Failure {
        if harmless || self.repeatable || !failure.kind.is_transient() {
            return failure;
        }
        let mut failure = failure.not_repeated();
        failure.message.push_str("; not tried again, since it may have taken effect (`retry = \"all\"` tries again)");
        failure
    }

    fn request(
        &self,
        context: &Value,
        call: &TargetCall<'_>,
        ids: &TraceIds,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let bad = |text: String| Failure::new(FailureKind::BadRequest, format!("target `{}`: {text}", self.name));
        let url = self.url.render(context)?;
        let url = Url::parse(&url).map_err(|error| bad(format!("the filled in address is none: {error}")))?;
        let method = match self.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        };
        let mut request = self.http.request(method, url).headers(self.headers.clone());
        if let Ok(value) = HeaderValue::from_str(&ids.traceparent()) {
            request = request.header("traceparent", value);
        }
        if let Some(name) = &self.idempotency {
            // The same for all attempts of a trial and another for each trial of each run.
            let key = Digest::of(format!("{} {} {}", self.mark, call.example.id, call.trial).as_bytes());
            request = request.header(name, key.short());
        }
        Ok(match &self.body {
            None => request,
            Some(Body::Table(table)) => request.json(&fill(table, context)?),
            Some(Body::Text(template)) => {
                let text = template.render(context)?;
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
                    return Err(bad(format!("the filled in body is not JSON: {error}")));
                }
                request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(text)
            }
        })
    }

    async fn read_stream(
        &self,
        what: &str,
        mut response: Response,
        stream: &StreamOptions,
        trace_id: &str,
        started: Instant,
    ) -> Result<Output, Failure> {
        let (mut events, mut joined) = (Events::default(), Joined::default());
        let (mut bytes, mut first_text_ms) = (0, None);
        let done = stream.done.as_deref();
        let mut take = |joined: &mut Joined, data: &str| {
            if joined.take(data, &stream.delta, done) {
                first_text_ms.get_or_insert_with(|| millis(started));
            }
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| failure_of_transport(what, &error))? {
            bytes += chunk.len();
            if bytes > BODY_LIMIT {
                let text = format!("{what} sent a stream of more than {} MiB", BODY_LIMIT >> 20);
                return Err(Failure::new(FailureKind::TargetError, text));
            }
            events.push(&chunk).iter().for_each(|data| take(&mut joined, data));
            if joined.done {
                break;
            }
        }
        if let Some(data) = events.end() {
            take(&mut joined, &data);
        }
        let Joined { text, any, done: ended, rest } = joined;
        // Whatever else the events said is read as a reply is, with the text in place of the output.
        let places = Places { output: Some("/output".to_owned()), ..self.places.clone() };
        let mut reply = if rest.is_object() { rest } else { json!({}) };
        reply["output"] = Value::String(text);
        let mut output = read_output(what, &reply, &places, trace_id)?;
        if done.is_some() && !ended {
            let text = format!("{what}: the stream broke off before `{}`", stream.done.as_deref().unwrap_or_default());
            return Err(Failure::new(FailureKind::BadReply, text));
        }
        if !any {
            let text = format!("{what}: the stream held no text at `{}`", stream.delta);
            return Err(Failure::new(FailureKind::TargetError, text));
        }
        if let Some(ms) = first_text_ms {
            output.metadata.insert("first_text_ms".to_owned(), json!(ms));
        }
        Ok(output)
    }

    fn read(&self, what: &str, body: &[u8], trace_id: &str) -> Result<Output, Failure> {
        match serde_json::from_slice::<Value>(body) {
            Ok(reply) => read_output(what, &reply, &self.places, trace_id),
            Err(error) if self.places.output.is_some() => {
                Err(Failure::new(FailureKind::BadReply, format!("{what}: the reply is not JSON: {error}")))
            }
            Err(_) => match std::str::from_utf8(body) {
                Ok(text) => Ok(Output::of_text(text)),
                Err(_) => {
                    Err(Failure::new(FailureKind::BadReply, format!("{what}: the reply is neither JSON nor text")))
                }
            },
        }
    }

    fn clean(&self, mut failure: Failure) -> Failure {
        failure.message = self.secrets.scrub(&failure.message);
        failure
    }
}

fn json_of(what: &str, body: &[u8]) -> Result<Value, Failure> {
    let bad = |error| Failure::new(FailureKind::BadReply, format!("{what}: the reply is not JSON: {error}"));
    serde_json::from_slice(body).map_err(bad)
}

/// A server may answer a wish for a stream with an error in plain JSON.
fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    !kind.starts_with("application/json")
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
