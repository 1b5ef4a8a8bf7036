//! A server under test: one request per trial.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::foreign::{Places, read_output};
use super::template::{Template, context_of, json_path};
use super::{BuildContext, Target, TargetCall, TargetReply, options};
use crate::model::{Digest, Digester, Example, Failure, FailureKind, Output, Spend, TargetInfo, canonical_json};
use crate::sys::{
    BODY_LIMIT, Clock, SecretText, Secrets, failure_of_status, failure_of_transport, header, new_run_id, read_body,
    retry_after_ms, shown,
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
    /// JSON pointer to the steps: a list of spans.
    trace: Option<String>,
    /// JSON pointer to the tokens.
    usage: Option<String>,
    /// JSON pointer to the cost in US dollars.
    cost_usd: Option<String>,
    /// JSON pointer to the time taken in milliseconds; measured when absent.
    latency_ms: Option<String>,
    /// JSON pointer to an error; a reply that has something there is a failure of the target.
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Get,
    #[default]
    Post,
    Put,
}

pub(super) fn schema() -> Value {
    schemars::schema_for!(Options).to_value()
}

pub(super) fn build(value: &Value, context: &BuildContext<'_>) -> Result<Box<dyn Target>, String> {
    let read: Options = options(value)?;
    let shown_url = check_url(&read.url)?;
    let body = match (&read.body, read.method) {
        (None, Verb::Get) => None,
        (None, _) => Some(Body::Table(json!({"input": "{{json input}}"}))),
        (Some(Value::String(text)), _) => Some(Body::Text(Template::json(text).map_err(|e| format!("`body`: {e}"))?)),
        (Some(table), _) => Some(Body::Table(table.clone())),
    };
    if let Some(Body::Table(table)) = &body {
        check_templates(table).map_err(|error| format!("`body`: {error}"))?;
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
    let places = Places {
        output: pointer("output", read.output)?,
        trace: pointer("trace", read.trace)?,
        usage: pointer("usage", read.usage)?,
        cost_usd: pointer("cost_usd", read.cost_usd)?,
        latency_ms: pointer("latency_ms", read.latency_ms)?,
        error: pointer("error", read.error)?,
    };
    // The options hold names of variables, not their values: no secret enters the digest.
    let digest = Digester::new().part("kind", b"http").part("options", canonical_json(value).as_bytes()).finish();
    Ok(Box::new(HttpTarget {
        name: context.name.to_owned(),
        url: Template::url(&read.url).map_err(|error| format!("`url`: {error}"))?,
        shown_url,
        verb: read.method,
        headers,
        secrets,
        body,
        places,
        digest,
        http: context.http.clone(),
        clock: Arc::clone(&context.clock),
    }))
}

/// Templates may fill path and query, never the host: an example must not choose who is called.
fn check_url(url: &str) -> Result<String, String> {
    let fixed = url.split("{{").next().unwrap_or_default();
    let parsed = Url::parse(fixed)
        .map_err(|error| format!("`url` is no HTTP address ({error}): give one like `https://host/path`"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err("`url` must begin with `http://` or `https://`".to_owned());
    }
    let host_ends = fixed.splitn(4, '/').count() == 4 || fixed.contains('?');
    if fixed.len() != url.len() && !host_ends {
        return Err("`url` has a template in its host; only path and query may hold templates".to_owned());
    }
    Ok(shown(&parsed))
}

fn pointer(name: &str, place: Option<String>) -> Result<Option<String>, String> {
    match place {
        Some(place) if !place.is_empty() && !place.starts_with('/') => {
            Err(format!("`{name}` must be a JSON pointer like `/a/b`, found `{place}`; write `/{place}`"))
        }
        place => Ok(place),
    }
}

enum Body {
    Text(Template),
    Table(Value),
}

fn check_templates(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => Template::plain(text).map(|_| ()),
        Value::Array(items) => items.iter().try_for_each(check_templates),
        Value::Object(fields) => fields.values().try_for_each(check_templates),
        _ => Ok(()),
    }
}

/// A table with its texts filled in. JSON by construction, whatever the example holds.
fn fill(value: &Value, example: &Example, trial: u32) -> Result<Value, Failure> {
    Ok(match value {
        Value::String(text) => match json_path(text) {
            Some(path) => value_at(&path, example, trial)?,
            None if !text.contains("{{") => value.clone(),
            None => {
                let template = Template::plain(text).map_err(|error| Failure::new(FailureKind::BadRequest, error))?;
                Value::String(template.render(example, trial)?)
            }
        },
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, example, trial)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let filled = fields.iter().map(|(name, item)| Ok((name.clone(), fill(item, example, trial)?)));
            Value::Object(filled.collect::<Result<Map<_, _>, Failure>>()?)
        }
        other => other.clone(),
    })
}

fn value_at(path: &[String], example: &Example, trial: u32) -> Result<Value, Failure> {
    let context = context_of(example, trial);
    let found = path.iter().try_fold(&context, |value, step| match value {
        Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
        other => other.get(step),
    });
    found.cloned().ok_or_else(|| {
        let text = format!("the body cannot be filled in for example `{}`: it has no `{}`", example.id, path.join("."));
        Failure::new(FailureKind::BadRequest, text)
    })
}

struct HttpTarget {
    name: String,
    url: Template,
    shown_url: String,
    verb: Verb,
    headers: HeaderMap,
    secrets: Secrets,
    body: Option<Body>,
    places: Places,
    digest: Digest,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Target for HttpTarget {
    fn info(&self) -> TargetInfo {
        let settings = BTreeMap::from([("url".to_owned(), json!(self.shown_url))]);
        TargetInfo { kind: "http".to_owned(), name: self.name.clone(), digest: self.digest.clone(), settings }
    }

    async fn run(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let (trace_id, traceparent) = traceparent(self.clock.as_ref());
        let what = format!("target `{}` ({})", self.name, self.shown_url);
        let mut request = self.request(call)?.timeout(call.timeout).headers(self.headers.clone());
        if let Ok(value) = HeaderValue::from_str(&traceparent) {
            request = request.header("traceparent", value);
        }
        let started = Instant::now();
        let sent = request.send().await;
        let response = sent.map_err(|error| self.clean(failure_of_transport(&what, &error)))?;
        let status = response.status();
        let wait = retry_after_ms(response.headers(), self.clock.now());
        let body = read_body(&what, response, BODY_LIMIT).await;
        let took_ms = started.elapsed().as_secs_f64() * 1000.0;
        if !status.is_success() {
            let text = self.secrets.scrub(&String::from_utf8_lossy(&body.unwrap_or_default()));
            return Err(failure_of_status(&what, status, &text).retry_after_ms(wait));
        }
        let body = body.map_err(|failure| self.clean(failure))?;
        let mut output = self.read(&what, &body, &trace_id).map_err(|failure| self.clean(failure))?;
        output.latency_ms = output.latency_ms.or(Some(took_ms));
        output.metadata.insert("trace_id".to_owned(), json!(trace_id));
        let mut spend = Spend::of_call(output.usage.clone(), output.cost_usd);
        if output.cost_usd.is_none() && output.usage.is_unknown() {
            // An application that says nothing of tokens or money is not a model call without a price.
            spend.unpriced_calls = 0;
        }
        Ok(TargetReply { output, spend, cached: false })
    }
}

impl HttpTarget {
    fn request(&self, call: &TargetCall<'_>) -> Result<reqwest::RequestBuilder, Failure> {
        let bad = |text: String| Failure::new(FailureKind::BadRequest, format!("target `{}`: {text}", self.name));
        let url = self.url.render(call.example, call.trial)?;
        let url = Url::parse(&url).map_err(|error| bad(format!("the filled in address is none: {error}")))?;
        let method = match self.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
        };
        let request = self.http.request(method, url);
        Ok(match &self.body {
            None => request,
            Some(Body::Table(table)) => request.json(&fill(table, call.example, call.trial)?),
            Some(Body::Text(template)) => {
                let text = template.render(call.example, call.trial)?;
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
                    return Err(bad(format!("the filled in body is not JSON: {error}")));
                }
                request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(text)
            }
        })
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

/// A fresh trace id and the header of the W3C trace context (level 1) that carries it, sampled: the spans which the
/// application makes for this trial can be found again by it.
pub(super) fn traceparent(clock: &dyn Clock) -> (String, String) {
    let trace_id: String = new_run_id(clock).as_str().chars().filter(char::is_ascii_hexdigit).collect();
    let span_id = Digest::of(trace_id.as_bytes()).as_str().chars().skip(3).take(16).collect::<String>();
    let header = format!("00-{trace_id}-{span_id}-01");
    (trace_id, header)
}

/// A text of the configuration or of the environment, and whether it is a secret.
pub(super) fn resolved(
    what: &str,
    text: &SecretText,
    context: &BuildContext<'_>,
    secrets: &mut Secrets,
) -> Result<String, String> {
    let missing = |name| format!("{what} needs `{name}`, which is not set; run `export {name}=...` first");
    let (value, _) = text.resolve(context.env).map_err(missing)?;
    secrets.add_text(text, context.env);
    Ok(value.expose_secret().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::SystemClock;

    #[test]
    fn bodies_are_filled_in_whatever_the_example_holds() {
        let mut example = Example::new("e1".into(), json!({"messages": [{"role": "user", "content": "a\"b"}]}));
        example.metadata.insert("n".to_owned(), json!(3));
        let table = json!({
            "messages": "{{json input.messages}}", "first": "say {{input.messages.[0].content}}",
            "n": "{{json metadata.n}}", "fixed": true, "list": ["{{id}}", 1],
        });
        let expected = json!({
            "messages": [{"role": "user", "content": "a\"b"}], "first": "say a\"b", "n": 3, "fixed": true,
            "list": ["e1", 1],
        });
        assert_eq!(fill(&table, &example, 0).unwrap(), expected);
        let failure = fill(&json!("{{json input.tools}}"), &example, 0).unwrap_err();
        assert!(failure.message.contains("`e1`: it has no `input.tools`"), "{failure}");
    }

    #[test]
    fn an_example_cannot_choose_the_host() {
        assert_eq!(check_url("https://h.test/a?q={{input}}").unwrap(), "https://h.test/a");
        assert!(check_url("https://{{input}}/a").is_err());
        assert!(check_url("https://h{{input}}/a").unwrap_err().contains("host"));
        assert!(check_url("ftp://h/a").is_err());
    }

    #[test]
    fn trace_context_has_its_form() {
        let (trace_id, header) = traceparent(&SystemClock);
        let parts: Vec<_> = header.split('-').collect();
        assert_eq!((parts[0], parts[1], parts[3]), ("00", trace_id.as_str(), "01"));
        assert_eq!((parts[1].len(), parts[2].len()), (32, 16));
        assert_ne!(traceparent(&SystemClock).0, trace_id);
    }
}
