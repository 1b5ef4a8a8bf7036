//! OTLP over HTTP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, as the OTLP specification ("OTLP/HTTP") says.
//!
//! Protobuf and JSON by content type, gzip, deflate and zstd by content encoding. What was turned away is said in the
//! answer's `partial_success`; a body that is no OTLP is answered by 400, too much at once by 503 with `Retry-After`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::{DecodeError, Message};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::body;
use super::budget::{Budget, Share};
use super::inbox::{Inbox, Refused};
use super::parcel::Parcel;
use crate::ingest::{FileSummary, METRIC_POINTS, Request, RequestError, Sink};

/// Longest wait for open connections when stopping.
const LINGER: Duration = Duration::from_secs(3);

/// Why measurements are not kept.
const NO_METRICS: &str = "traces and logs are kept here, metrics are not; send them elsewhere";

/// Reads one request into a sink, with the project's prices and redaction.
pub type ReadFn =
    Arc<dyn Fn(Request<'_>, &str, &mut dyn Sink) -> Result<FileSummary, RequestError> + Send + Sync + 'static>;

/// Counts what a request gave.
pub type TakenFn = Arc<dyn Fn(&FileSummary) + Send + Sync + 'static>;

/// What answers requests; cheap to clone.
#[derive(Clone)]
pub struct Receiver {
    /// Where things go.
    pub inbox: Inbox,
    /// How they are read.
    pub read: ReadFn,
    /// Told of every request that is on disk.
    pub taken: TakenFn,
    /// What a sender must show as `Authorization: Bearer …`; nothing when absent.
    pub token: Option<SecretString>,
    /// Most bytes of a body, before and after decompression.
    pub max_body: usize,
    /// Bytes that requests may take together.
    pub budget: Budget,
}

/// Why a request was not taken, before it has a form.
#[derive(Debug)]
pub(super) enum Denied {
    Unauthorized,
    Malformed(String),
    TooLarge(usize),
    Unsupported(String),
    Later(String),
}

/// The content of a request before it is read.
pub(super) enum Asked {
    Json(Bytes),
    Decoded(Request<'static>),
}

/// What a path takes, which its answer speaks of.
#[derive(Clone, Copy)]
enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    /// Reads a body in protobuf.
    fn decode(self, body: &[u8]) -> Result<Request<'static>, DecodeError> {
        match self {
            Self::Logs => ExportLogsServiceRequest::decode(body).map(Request::Logs),
            Self::Metrics => ExportMetricsServiceRequest::decode(body).map(Request::Metrics),
            Self::Traces => ExportTraceServiceRequest::decode(body).map(Request::Traces),
        }
    }

    /// The name of the count of rows turned away, in JSON.
    fn rejected(self) -> &'static str {
        match self {
            Self::Traces => "rejectedSpans",
            Self::Logs => "rejectedLogRecords",
            Self::Metrics => "rejectedDataPoints",
        }
    }
}

/// The name of a sender: its address without the port, which is another with every connection.
pub(super) fn sender(scheme: &str, address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("{scheme}://{address}"),
        IpAddr::V6(address) => format!("{scheme}://[{address}]"),
    }
}

impl Receiver {
    /// Reads a request, makes it durable and says how many rows were turned away, with the first reason. `open` makes
    /// the request of what came; it may take a while.
    pub(super) async fn take(
        &self,
        from: String,
        mut share: Share,
        open: impl FnOnce(&mut Share) -> Result<Asked, Denied> + Send + 'static,
    ) -> Result<(u64, String), Denied> {
        let read = Arc::clone(&self.read);
        // Reading a large request takes a while: it must not stand in the way of others.
        let reading = tokio::task::spawn_blocking(move || {
            let mut parcel = Parcel::default();
            let body;
            let request = match open(&mut share)? {
                Asked::Decoded(request) => request,
                Asked::Json(json) => {
                    body = json;
                    Request::Json(&body)
                }
            };
            let summary = read(request, &from, &mut parcel).map_err(|error| match error {
                RequestError::Malformed { .. } => Denied::Malformed(error.to_string()),
                RequestError::Ingest(error) => Denied::Later(error.to_string()),
            })?;
            // The share goes along: a sender that goes away in between does not make room yet.
            Ok::<_, Denied>((parcel, summary, share))
        });
        let (parcel, summary, share) = reading.await.map_err(|_| Denied::Later("reading failed".to_owned()))??;
        let Parcel { items, first_rejection } = parcel;
        if !items.is_empty() {
            self.inbox.submit(items, share).await.map_err(|refused| match refused {
                Refused::Full => Denied::Later("too many requests wait".to_owned()),
                Refused::Broken(cause) => Denied::Later(cause),
            })?;
        }
        (self.taken)(&summary);
        // Measurements are of no use here. That is said rather than refused: a refusal would be sent again.
        let points = summary.ignored.get(METRIC_POINTS).copied().unwrap_or(0);
        let why = first_rejection.or_else(|| (points > 0).then(|| NO_METRICS.to_owned()));
        Ok((summary.rejected + points, why.unwrap_or_default()))
    }

    /// Whether an `Authorization` header will do.
    pub(super) fn allows(&self, said: Option<&str>) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = said.and_then(|said| said.strip_prefix("Bearer ")).unwrap_or_default();
        // Digests of equal length are compared, so that the time taken tells nothing about the token.
        blake3::hash(shown.as_bytes()) == blake3::hash(token.expose_secret().as_bytes())
    }
}

/// The routes.
pub(super) fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/v1/traces", signal_route(Signal::Traces))
        .route("/v1/logs", signal_route(Signal::Logs))
        .route("/v1/metrics", signal_route(Signal::Metrics))
        .route_layer(from_fn_with_state(receiver.clone(), let_in))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(receiver)
}

/// Asks for the token before anything of the body is read.
async fn let_in(State(receiver): State<Receiver>, request: HttpRequest, next: Next) -> Response {
    if receiver.allows(bearer(request.headers())) {
        return next.run(request).await;
    }
    denied(is_json(request.headers()).unwrap_or(true), Denied::Unauthorized)
}

/// Serves HTTP, and gRPC where a second listener is given, until `stop` is done and what was begun is answered.
///
/// # Errors
/// When a listener breaks.
pub async fn serve(
    http: Option<tokio::net::TcpListener>,
    grpc: Option<tokio::net::TcpListener>,
    receiver: Receiver,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let (told, heard) = tokio::sync::watch::channel(false);
    let stopped = |mut heard: tokio::sync::watch::Receiver<bool>| async move {
        // A sender that is gone means the same.
        let _ = heard.wait_for(|stop| *stop).await;
    };
    let http_side = async {
        let Some(listener) = http else { return Ok(()) };
        let service = router(receiver.clone()).into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).with_graceful_shutdown(stopped(heard.clone())).await
    };
    let grpc_side = async {
        let Some(listener) = grpc else { return Ok(()) };
        super::grpc::serve(listener, receiver.clone(), stopped(heard.clone())).await
    };
    let both = async { tokio::try_join!(http_side, grpc_side).map(|_| ()) };
    tokio::pin!(both);
    tokio::select! {
        done = &mut both => return done,
        () = stop => {}
    }
    let _ = told.send(true);
    // A client that keeps its connection open and silent must not hold the process.
    tokio::time::timeout(LINGER, both).await.unwrap_or(Ok(()))
}

/// What a path does with what is sent there.
fn signal_route(signal: Signal) -> MethodRouter<Receiver> {
    post(
        move |State(receiver): State<Receiver>,
              ConnectInfo(peer): ConnectInfo<SocketAddr>,
              headers: HeaderMap,
              body: Body| async move { answer(&receiver, peer, &headers, body, signal).await },
    )
}

async fn answer(receiver: &Receiver, peer: SocketAddr, headers: &HeaderMap, body: Body, signal: Signal) -> Response {
    let Some(json) = is_json(headers) else {
        let kinds = "content type is not known; expected `application/x-protobuf` or `application/json`";
        return denied(true, Denied::Unsupported(kinds.to_owned()));
    };
    match take(receiver, peer, headers, body, signal, json).await {
        Ok((rejected, why)) => accepted(json, signal, rejected, why),
        Err(why) => denied(json, why),
    }
}

async fn take(
    receiver: &Receiver,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
    signal: Signal,
    json: bool,
) -> Result<(u64, String), Denied> {
    let limit = receiver.max_body;
    let mut share = receiver.budget.share();
    let body = body::gather(headers, body, limit, &mut share).await?;
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).map(str::to_lowercase);
    let open = move |share: &mut Share| {
        let plain = body::unpack(body, encoding.as_deref(), limit, share)?;
        if json {
            return Ok(Asked::Json(plain));
        }
        let malformed = |error| Denied::Malformed(format!("body is not an OTLP export request in protobuf ({error})"));
        signal.decode(&plain).map(Asked::Decoded).map_err(malformed)
    };
    receiver.take(sender("otlp", peer.ip()), share, open).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
}

fn is_json(headers: &HeaderMap) -> Option<bool> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())?;
    match said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Some(true),
        "application/x-protobuf" | "application/protobuf" => Some(false),
        _ => None,
    }
}

fn accepted(json: bool, signal: Signal, rejected: u64, why: String) -> Response {
    let count = i64::try_from(rejected).unwrap_or(i64::MAX);
    if json {
        let body = match rejected {
            0 => json!({}),
            _ => json!({"partialSuccess": {signal.rejected(): count.to_string(), "errorMessage": why}}),
        };
        return with_type("application/json", body.to_string().into_bytes());
    }
    // The three responses of OTLP have the same fields under the same numbers.
    let partial = ExportTracePartialSuccess { rejected_spans: count, error_message: why };
    let message = ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) };
    with_type("application/x-protobuf", message.encode_to_vec())
}

fn with_type(kind: &'static str, body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}

/// `google.rpc.Status`: what OTLP wants in the body of a refusal.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn denied(json: bool, why: Denied) -> Response {
    // Codes of gRPC: invalid argument 3, resource exhausted 8, unavailable 14, unauthenticated 16.
    let (status, code, message) = match why {
        Denied::Unauthorized => {
            (StatusCode::UNAUTHORIZED, 16, "token is missing or wrong; send `Authorization: Bearer …`".to_owned())
        }
        Denied::Malformed(message) => (StatusCode::BAD_REQUEST, 3, message),
        Denied::TooLarge(limit) => {
            (StatusCode::PAYLOAD_TOO_LARGE, 8, format!("body is larger than {limit} bytes; send smaller batches"))
        }
        Denied::Unsupported(message) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, 3, message),
        Denied::Later(message) => (StatusCode::SERVICE_UNAVAILABLE, 14, message),
    };
    let mut response = if json {
        with_type("application/json", json!({"code": code, "message": message}).to_string().into_bytes())
    } else {
        with_type("application/x-protobuf", Status { code, message }.encode_to_vec())
    };
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_its_address_without_the_port() {
        assert_eq!(sender("otlp", "10.0.0.7".parse().unwrap()), "otlp://10.0.0.7");
        assert_eq!(sender("otlp", "::ffff:10.0.0.7".parse().unwrap()), "otlp://10.0.0.7");
        assert_eq!(sender("otlp+grpc", "::1".parse().unwrap()), "otlp+grpc://[::1]");
    }
}
