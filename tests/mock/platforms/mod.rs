//! Fakes of the platforms that traces are pulled from: each checks keys, windows, page limits and parameters as the
//! platform documents them, and fails on purpose when told to.
//!
//! What a fake holds are rows built from the documented form of the platform, `COUNT` traces of two spans each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::{Value, json};

pub mod by_id;
pub mod by_page;
pub mod clickhouse;
pub mod langfuse;

/// Traces that each fake holds.
pub const COUNT: usize = 7;
/// When the first trace begins: 2025-03-01T08:00:00Z. The others follow at one-minute distance.
pub const FIRST: i64 = 1_740_816_000;
/// The one key that opens every fake, and the second where there are two.
pub const KEY: &str = "key-0123456789abcdef-public";
pub const SECRET: &str = "sec-fedcba9876543210-private";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Ask {
    pub post: bool,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: BTreeMap<String, String>,
    pub text: String,
    pub at: Instant,
    /// Address of the fake itself.
    pub host: String,
}

impl Ask {
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Path and method in one text.
    pub fn route(&self) -> (bool, Vec<&str>) {
        (self.post, self.path.split('/').filter(|part| !part.is_empty()).collect())
    }

    pub fn bearer(&self, token: &str) -> bool {
        self.header("authorization") == format!("Bearer {token}")
    }

    pub fn basic(&self, user: &str, password: &str) -> bool {
        use base64::Engine;
        let coded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.header("authorization") == format!("Basic {coded}")
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(body: Value) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    pub fn lines(rows: &[Value]) -> Self {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        Self { status: 200, headers: Vec::new(), body: text.into_bytes() }
    }

    pub fn refuse(status: u16, why: &str) -> Self {
        Self { status, ..Self::json(json!({"error": why})) }
    }

    /// No such path, or not by that method.
    pub fn nowhere() -> Self {
        Self::refuse(404, "not found")
    }
}

/// A platform: checks the key, then answers.
pub trait Platform: Send + Sync + 'static {
    /// Whether the request carries the key.
    fn opens(&self, ask: &Ask) -> bool;
    /// Answers a request with the right key.
    fn answer(&self, ask: &Ask) -> Reply;
    /// What a pull of everything must hand to the reader.
    fn expected(&self) -> Vec<Value>;
    /// Options of the source, beside `url`, as TOML.
    fn options(&self) -> &'static str;
}

/// A way to fail.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 429 with `Retry-After` in seconds.
    TooMany(f64),
    /// 500 with a body that echoes the key.
    Server,
    /// The right answer under 207.
    Partial,
    /// The key is refused from now on, with a body that echoes it.
    Expired,
    /// The first answer of that path again.
    Circle,
    /// JSON of another shape.
    WrongShape,
    /// No JSON.
    NotJson,
    /// The right answer, after so many milliseconds.
    Slow(u64),
    /// A body of more than a MiB.
    Huge,
    /// The body breaks off.
    CutOff,
}

struct Inner {
    platform: Mutex<Arc<dyn Platform>>,
    asks: Mutex<Vec<Ask>>,
    /// Faults by the number of the request among those with the right key, from 0.
    faults: Mutex<VecDeque<(usize, Fault)>>,
    expired: Mutex<bool>,
    first: Mutex<BTreeMap<String, Reply>>,
    host: String,
}

/// A running fake; ends with the test.
pub struct Fake {
    pub url: String,
    inner: Arc<Inner>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Fake {
    pub fn start(platform: impl Platform, faults: &[(usize, Fault)]) -> Self {
        let (ready, address) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let platform: Arc<dyn Platform> = Arc::new(platform);
        let faults: VecDeque<_> = faults.iter().cloned().collect();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                let host = format!("http://{}", listener.local_addr().unwrap());
                let inner = Arc::new(Inner {
                    platform: Mutex::new(platform),
                    asks: Mutex::default(),
                    faults: Mutex::new(faults),
                    expired: Mutex::new(false),
                    first: Mutex::default(),
                    host: host.clone(),
                });
                let app = Router::new().fallback(handle).with_state(inner.clone());
                ready.send((host, inner)).unwrap();
                let end = async {
                    let _ = stopped.await;
                };
                tokio::select! {
                    served = async { axum::serve(listener, app).await } => served.unwrap(),
                    () = end => {}
                }
            });
        });
        let (url, inner) = address.recv().unwrap();
        Self { url, inner, stop: Some(stop) }
    }

    /// Everything that was asked, in order.
    pub fn asks(&self) -> Vec<Ask> {
        self.inner.asks.lock().unwrap().clone()
    }

    /// Puts another platform (or other rows) behind the same address.
    pub fn swap(&self, platform: impl Platform) {
        *self.inner.platform.lock().unwrap() = Arc::new(platform);
    }

    /// Refused keys are good again.
    pub fn renew(&self) {
        *self.inner.expired.lock().unwrap() = false;
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn handle(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let query = reqwest::Url::parse(&format!("http://x{uri}")).unwrap();
    let ask = Ask {
        post: method == Method::POST,
        path: uri.path().to_owned(),
        query: query.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned()))
            .collect(),
        text: String::from_utf8_lossy(&body).into_owned(),
        at: Instant::now(),
        host: inner.host.clone(),
    };
    inner.asks.lock().unwrap().push(ask.clone());
    let platform = inner.platform.lock().unwrap().clone();
    let refused = || Reply::refuse(401, &format!("invalid key {}", ask.header("authorization")));
    if *inner.expired.lock().unwrap() || !platform.opens(&ask) {
        return send(refused());
    }
    let number = inner.asks.lock().unwrap().len() - 1;
    let fault = {
        let mut faults = inner.faults.lock().unwrap();
        let due = faults.front().is_some_and(|(at, _)| *at <= number);
        due.then(|| faults.pop_front().unwrap().1)
    };
    let mut reply = platform.answer(&ask);
    inner.first.lock().unwrap().entry(ask.path.clone()).or_insert_with(|| reply.clone());
    match fault {
        None => {}
        Some(Fault::TooMany(seconds)) => {
            reply = Reply::refuse(429, "slow down");
            reply.headers.push(("retry-after", seconds.to_string()));
        }
        Some(Fault::Server) => reply = Reply::refuse(500, &format!("oops {}", ask.header("authorization"))),
        Some(Fault::Partial) => reply.status = 207,
        Some(Fault::Expired) => {
            *inner.expired.lock().unwrap() = true;
            reply = refused();
        }
        Some(Fault::Circle) => reply = inner.first.lock().unwrap()[&ask.path].clone(),
        Some(Fault::WrongShape) => reply = Reply::json(json!({"hello": "world", "data": 7, "key": KEY})),
        Some(Fault::NotJson) => reply.body = b"<html>gateway</html>".to_vec(),
        Some(Fault::Slow(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some(Fault::Huge) => reply.body = vec![b' '; 2 << 20],
        Some(Fault::CutOff) => return cut_off(&reply),
    }
    send(reply)
}

fn send(reply: Reply) -> Response<Body> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}

fn cut_off(reply: &Reply) -> Response<Body> {
    use futures::StreamExt;
    let half = Bytes::copy_from_slice(&reply.body[..reply.body.len() / 2]);
    let cut = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::Error::other("cut"))
    };
    let parts = futures::stream::once(async { Ok(half) }).chain(futures::stream::once(cut));
    Response::builder().header("content-length", reply.body.len().to_string()).body(Body::from_stream(parts)).unwrap()
}

/// When trace `n` begins, as an RFC 3339 time with `ms` milliseconds.
pub fn time(n: usize, ms: i64) -> String {
    jiff::Timestamp::from_millisecond((FIRST + 60 * n as i64) * 1000 + ms).unwrap().to_string()
}

/// Hexadecimal trace id of trace `n`, and span ids of its root and its call.
pub fn trace_id(n: usize) -> String {
    format!("5b8efff798038103d269b633813f{n:04x}")
}

pub fn root_id(n: usize) -> String {
    format!("a1a1a1a1a1a1{n:04x}")
}

pub fn call_id(n: usize) -> String {
    format!("b2b2b2b2b2b2{n:04x}")
}

/// A UUID of version 7 in the order of `n`.
pub fn uuid(n: usize, span: u8) -> String {
    format!("01980000-0000-7000-8000-0000{n:06x}{span:02x}")
}

/// Whether a time lies in a window that may be open on both sides.
pub fn within(time: &str, since: Option<&str>, until: Option<&str>) -> bool {
    let at: jiff::Timestamp = time.parse().unwrap();
    let parse = |text: &str| text.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{text}: {error}"));
    since.is_none_or(|since| at >= parse(since)) && until.is_none_or(|until| at < parse(until))
}

/// One page: rows from an offset, and the offset of the next, where there is one.
pub fn page(rows: &[Value], offset: usize, limit: usize) -> (Vec<Value>, Option<usize>) {
    let rest = rows.get(offset..).unwrap_or_default();
    let next = offset + limit;
    (rest.iter().take(limit).cloned().collect(), (next < rows.len()).then_some(next))
}

/// An opaque cursor that holds an offset, and back.
pub fn cursor(offset: usize) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("at:{offset}"))
}

pub fn offset(cursor: Option<&str>) -> Option<usize> {
    use base64::Engine;
    let Some(cursor) = cursor else { return Some(0) };
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(cursor).ok()?;
    String::from_utf8(bytes).ok()?.strip_prefix("at:")?.parse().ok()
}

/// A limit within what the platform allows; asking for more is refused.
pub fn limit(said: Option<u64>, most: u64, default: u64) -> Result<usize, Reply> {
    let limit = said.unwrap_or(default);
    if limit == 0 || limit > most {
        return Err(Reply::refuse(400, &format!("limit must be 1 to {most}, got {limit}")));
    }
    Ok(limit as usize)
}
