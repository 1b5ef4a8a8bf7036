//! A model server for tests: answers in the shapes of OpenAI, Anthropic, Gemini and Bedrock, and fails on purpose.
//!
//! Every choice (answer, fault) is a function of the seed, the prompt and how often that prompt was asked before, so
//! a test that passes once passes always, whatever the order in which concurrent calls arrive.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Response, Uri};
use axum::routing::any;
use futures::StreamExt;
use serde_json::{Value, json};

mod line;
mod shape;

use line::{Line, Lines};
use shape::{Shape, Twist};

/// A way to fail.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A status with an error body that echoes the key it was sent.
    Status(u16),
    /// 429, with `Retry-After` in seconds where given.
    RateLimited(Option<f64>),
    /// 529 as Anthropic sends it.
    Overloaded,
    /// 429 that waiting does not help.
    NoQuota,
    /// The connection is reset before anything is answered.
    Reset,
    /// Nothing is answered.
    Hang,
    /// The body ends in the middle.
    Truncated,
    /// 200 with a body that is not JSON.
    NotJson,
    /// 200 with JSON that is no completion.
    WrongShape,
    /// A body that says it is longer than anyone should read.
    Huge,
    /// No choices, billed.
    EmptyChoices,
    /// A structured answer that does not fit its schema.
    WrongSchema,
    /// A structured answer that is not JSON.
    BrokenJson,
    /// The model refuses.
    Refusal,
    /// The content filter cuts in.
    ContentFilter,
    /// The prompt does not pass the content filter: 400.
    PromptFiltered,
    /// The length limit cuts the answer.
    Length,
}

/// How a server behaves.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Seed of all choices.
    pub seed: u64,
    /// Faults of the first requests, in order of arrival; `None` answers.
    pub script: Vec<Option<Fault>>,
    /// Faults by chance after the script: each with its probability.
    pub chances: Vec<(Fault, f64)>,
    /// Time before an answer.
    pub latency: Duration,
    /// Parameters that are refused with 400 and their name.
    pub refuses: Vec<&'static str>,
    /// The only key that is taken; any when `None`.
    pub key: Option<&'static str>,
    /// More calls at a time than this are refused for rate.
    pub most_at_a_time: Option<u32>,
    /// What structured answers hold, in place of values made up from the schema.
    pub answer: Option<Value>,
    /// Several of them, drawn by the prompt; they come before `answer`.
    pub answers: Vec<Value>,
    /// The whole body of every answer, word for word.
    pub reply: Option<Value>,
    /// Choices of chat completions, word for word, for prompts that hold a text; they come before all other answers.
    pub choices: Vec<(String, Value)>,
    /// Chances of tokens, in OpenAI's form, that go with every answer.
    pub tokens: Option<Value>,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path.
    pub path: String,
    /// Query.
    pub query: Option<String>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; null when it was not JSON.
    pub body: Value,
    /// When it arrived.
    pub at: Instant,
    /// How it was made to fail; `None` when it was answered as it should be.
    pub fault: Option<Fault>,
}

impl Seen {
    /// Whether a real service would bill it: a model has written something.
    pub fn is_billed(&self) -> bool {
        use Fault::{BrokenJson, ContentFilter, EmptyChoices, Length, Refusal, Truncated, WrongSchema};
        match &self.fault {
            None => true,
            Some(fault) => {
                matches!(fault, BrokenJson | ContentFilter | EmptyChoices | Length | Refusal | Truncated | WrongSchema)
            }
        }
    }

    /// A header as text; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

struct Server {
    plan: Plan,
    seen: Mutex<Vec<Seen>>,
    asked: Mutex<HashMap<u64, u32>>,
    under_way: Mutex<(u32, u32)>,
}

/// A running server; stopped when dropped.
pub struct Mock {
    address: SocketAddr,
    server: Arc<Server>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mock {
    /// Starts a server on a free port of the loopback.
    pub async fn start(plan: Plan) -> Self {
        let lines = Lines::bind().await;
        let address = lines.address();
        let server =
            Arc::new(Server { plan, seen: Mutex::default(), asked: Mutex::default(), under_way: Mutex::default() });
        let router = Router::new().fallback(any(answer)).with_state(Arc::clone(&server));
        let task = tokio::spawn(async move {
            axum::serve(lines, router.into_make_service_with_connect_info::<Line>()).await.unwrap();
        });
        Self { address, server, task }
    }

    /// Address without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Base address for providers that speak chat completions.
    pub fn openai_url(&self) -> String {
        format!("{}/v1", self.url())
    }

    /// What arrived so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.server.seen.lock().unwrap().clone()
    }

    /// How many requests arrived so far.
    pub fn count(&self) -> usize {
        self.server.seen.lock().unwrap().len()
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> u32 {
        self.server.under_way.lock().unwrap().0
    }

    /// How many requests a real service would have billed.
    pub fn billed(&self) -> usize {
        self.server.seen.lock().unwrap().iter().filter(|seen| seen.is_billed()).count()
    }

    /// How many requests arrived at a path.
    pub fn count_at(&self, path: &str) -> usize {
        self.server.seen.lock().unwrap().iter().filter(|seen| seen.path == path).count()
    }

    /// The most requests that were under way at a time.
    pub fn most_at_a_time(&self) -> u32 {
        self.server.under_way.lock().unwrap().1
    }
}

/// Counts a request as under way as long as it lives.
struct UnderWay<'a>(&'a Server, u32);

impl<'a> UnderWay<'a> {
    fn begin(server: &'a Server) -> Self {
        let mut counts = server.under_way.lock().unwrap();
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        Self(server, counts.0)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.lock().unwrap().0 -= 1;
    }
}

async fn answer(
    State(server): State<Arc<Server>>,
    ConnectInfo(line): ConnectInfo<Line>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let under_way = UnderWay::begin(&server);
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let shape = Shape::of_path(uri.path());
    let index = {
        let mut seen = server.seen.lock().unwrap();
        let query = uri.query().map(str::to_owned);
        let (path, headers, body) = (uri.path().to_owned(), headers.clone(), body.clone());
        seen.push(Seen { path, query, headers, body, at: Instant::now(), fault: None });
        seen.len() - 1
    };
    let fails = |fault: Option<Fault>| server.seen.lock().unwrap()[index].fault = fault;
    let prompt = hash(&(server.plan.seed, shape::prompt(&body)));
    let attempt = {
        let mut asked = server.asked.lock().unwrap();
        let count = asked.entry(prompt).or_default();
        *count += 1;
        *count
    };
    if let Some(refusal) = refuse(&server.plan, shape, &headers, &body) {
        fails(Some(Fault::Status(refusal.status().as_u16())));
        return refusal;
    }
    if server.plan.most_at_a_time.is_some_and(|most| under_way.1 > most) {
        fails(Some(Fault::RateLimited(None)));
        return respond(429, &shape.error("rate_limit_exceeded", "slow down"));
    }
    let fault = server.plan.fault(index, prompt, attempt);
    fails(fault.clone());
    tokio::time::sleep(server.plan.latency).await;
    match fault {
        Some(fault) => fail(fault, &server.plan, shape, &line, &headers, &body, prompt).await,
        None => {
            if let Some(reply) = &server.plan.reply {
                return respond(200, reply);
            }
            let mut reply = shape.reply(&body, prompt, Twist::None, server.plan.answer(prompt));
            if let Some(choice) = server.plan.choice(&body) {
                reply["choices"][0] = choice.clone();
            }
            respond(200, &shape.with_tokens(reply, server.plan.tokens.as_ref()))
        }
    }
}

impl Plan {
    fn answer(&self, prompt: u64) -> Option<&Value> {
        match self.answers.len() as u64 {
            0 => self.answer.as_ref(),
            many => self.answers.get(usize::try_from(hash(&(prompt, "answer")) % many).unwrap()),
        }
    }

    fn choice(&self, body: &Value) -> Option<&Value> {
        let said = if self.choices.is_empty() { String::new() } else { shape::prompt(body) };
        self.choices.iter().find(|(text, _)| said.contains(text.as_str())).map(|(_, choice)| choice)
    }

    fn fault(&self, index: usize, prompt: u64, attempt: u32) -> Option<Fault> {
        if let Some(scripted) = self.script.get(index) {
            return scripted.clone();
        }
        let mut draw = unit(hash(&(prompt, attempt)));
        for (fault, chance) in &self.chances {
            if draw < *chance {
                return Some(fault.clone());
            }
            draw -= chance;
        }
        None
    }
}

/// Refusals that do not depend on chance: the key, the parameters.
fn refuse(plan: &Plan, shape: Shape, headers: &HeaderMap, body: &Value) -> Option<Response<Body>> {
    let sent = sent_key(headers);
    if plan.key.is_some_and(|key| key != sent) {
        return Some(respond(401, &shape.error("invalid_api_key", &format!("Incorrect API key provided: {sent}"))));
    }
    let refused = plan.refuses.iter().find(|name| match name.split_once('=') {
        // `response_format=json_schema` refuses one value of a parameter.
        Some((name, value)) => body.get(name).is_some_and(|sent| sent.get("type").is_some_and(|kind| kind == value)),
        // Gemini keeps its parameters one level down.
        None => body.get(**name).or_else(|| body.get("generationConfig")?.get(**name)).is_some(),
    })?;
    let name = refused.split('=').next().unwrap_or(refused);
    Some(respond(400, &shape.refused_parameter(name)))
}

fn sent_key(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let named = ["x-api-key", "api-key", "x-goog-api-key"].into_iter().find_map(text);
    bearer.or(named).unwrap_or_default().to_owned()
}

async fn fail(
    fault: Fault,
    plan: &Plan,
    shape: Shape,
    line: &Line,
    headers: &HeaderMap,
    body: &Value,
    prompt: u64,
) -> Response<Body> {
    let twisted = |twist| respond(200, &shape.reply(body, prompt, twist, plan.answer(prompt)));
    match fault {
        Fault::Status(status) => {
            respond(status, &shape.error("server_error", &format!("failed for key {}", sent_key(headers))))
        }
        Fault::RateLimited(wait) => {
            let mut response = respond(429, &shape.error("rate_limit_exceeded", "slow down"));
            if let Some(wait) = wait {
                response.headers_mut().insert("retry-after", wait.to_string().parse().unwrap());
            }
            response
        }
        Fault::Overloaded => respond(529, &shape.error("overloaded_error", "Overloaded")),
        Fault::NoQuota => respond(429, &shape.error("insufficient_quota", "You exceeded your current quota")),
        Fault::PromptFiltered => respond(400, &shape.error("content_filter", "The prompt was filtered")),
        Fault::Reset => {
            line.cut();
            respond(200, &Value::Null)
        }
        Fault::Hang => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            respond(200, &Value::Null)
        }
        Fault::Truncated => truncated(&shape.reply(body, prompt, Twist::None, None)),
        Fault::NotJson => raw(200, "<html>gateway</html>"),
        Fault::WrongShape => respond(200, &json!({"hello": "world", "choices": 7})),
        Fault::Huge => {
            let response = Response::builder().header("content-length", (1_u64 << 30).to_string());
            response.body(Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())).unwrap()
        }
        Fault::EmptyChoices => twisted(Twist::Empty),
        Fault::WrongSchema => twisted(Twist::WrongSchema),
        Fault::BrokenJson => twisted(Twist::BrokenJson),
        Fault::Refusal => twisted(Twist::Refusal),
        Fault::ContentFilter => twisted(Twist::ContentFilter),
        Fault::Length => twisted(Twist::Length),
    }
}

fn respond(status: u16, body: &Value) -> Response<Body> {
    raw(status, &body.to_string())
}

fn raw(status: u16, body: &str) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(body.to_owned())).unwrap()
}

/// Promises a whole body, sends half of it and breaks off.
fn truncated(body: &Value) -> Response<Body> {
    let text = body.to_string();
    let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
    // Late enough for head and first half to have left.
    let cut = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::Error::other("cut"))
    };
    let parts = futures::stream::once(async { Ok(half) }).chain(futures::stream::once(cut));
    let response = Response::builder().header("content-length", text.len().to_string());
    response.body(Body::from_stream(parts)).unwrap()
}

/// A hash that is the same in every process.
pub fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A number from [0, 1).
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
