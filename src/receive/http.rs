//! OTLP over HTTP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, as the OTLP specification ("OTLP/HTTP") says.
//!
//! Protobuf and JSON by content type, gzip, deflate and zstd by content encoding. What was turned away is said in the
//! answer's `partial_success`; a body that is no OTLP is answered by 400, too much at once by 503 with `Retry-After`.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::{DecodeError, Message};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::inbox::{Inbox, Refused};
use super::parcel::Parcel;
use crate::ingest::{FileSummary, Request, RequestError, Sink};

/// Longest wait for open connections when stopping.
const LINGER: Duration = Duration::from_secs(3);

/// Reads one request into a sink, with the project's prices and redaction.
pub type ReadFn =
    Arc<dyn Fn(Request<'_>, &str, &mut dyn Sink) -> Result<FileSummary, RequestError> + Send + Sync + 'static>;

/// What answers requests; cheap to clone.
#[derive(Clone)]
pub struct Receiver {
    /// Where things go.
    pub inbox: Inbox,
    /// How they are read.
    pub read: ReadFn,
    /// What a sender must show as `Authorization: Bearer …`; nothing when absent.
    pub token: Option<SecretString>,
    /// Most bytes of a body, before and after decompression.
    pub max_body: usize,
}

/// Why a request was not taken, before it has a form.
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

impl Receiver {
    /// Reads a request, makes it durable and says how many rows were turned away, with the first reason.
    pub(super) async fn take(&self, from: &str, asked: Asked) -> Result<(u64, String), Denied> {
        let (read, from) = (Arc::clone(&self.read), from.to_owned());
        // Reading a large request takes a while: it must not stand in the way of others.
        let reading = tokio::task::spawn_blocking(move || {
            let mut parcel = Parcel::default();
            let body;
            let request = match asked {
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
            Ok((parcel, summary.rejected))
        });
        let (parcel, rejected) = reading.await.map_err(|_| Denied::Later("reading failed".to_owned()))??;
        let Parcel { items, first_rejection } = parcel;
        if !items.is_empty() {
            self.inbox.submit(items).await.map_err(|refused| match refused {
                Refused::Full => Denied::Later("too many requests wait".to_owned()),
                Refused::Broken(cause) => Denied::Later(cause),
            })?;
        }
        Ok((rejected, first_rejection.unwrap_or_default()))
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
    let limit = DefaultBodyLimit::max(receiver.max_body);
    Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/logs", post(logs))
        .route("/v1/metrics", post(metrics))
        .route("/health", get(|| async { "ok\n" }))
        .layer(limit)
        .with_state(receiver)
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

async fn traces(
    State(receiver): State<Receiver>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&receiver, peer, &headers, body, |body| ExportTraceServiceRequest::decode(body).map(Request::Traces)).await
}

async fn logs(
    State(receiver): State<Receiver>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&receiver, peer, &headers, body, |body| ExportLogsServiceRequest::decode(body).map(Request::Logs)).await
}

/// Metrics are of no use here; refusing them would make senders retry for nothing.
async fn metrics(State(receiver): State<Receiver>, headers: HeaderMap) -> Response {
    let json = is_json(&headers).unwrap_or(false);
    if receiver.allows(bearer(&headers)) {
        accepted(json, 0, String::new())
    } else {
        denied(json, Denied::Unauthorized)
    }
}

async fn answer(
    receiver: &Receiver,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Bytes,
    decode: fn(&[u8]) -> Result<Request<'static>, DecodeError>,
) -> Response {
    let Some(json) = is_json(headers) else {
        let kinds = "content type is not known; expected `application/x-protobuf` or `application/json`";
        return denied(true, Denied::Unsupported(kinds.to_owned()));
    };
    if !receiver.allows(bearer(headers)) {
        return denied(json, Denied::Unauthorized);
    }
    let from = format!("otlp://{peer}");
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).map(str::to_lowercase);
    let limit = receiver.max_body;
    let plain = tokio::task::spawn_blocking(move || unpack(&body, encoding.as_deref(), limit)).await;
    let asked = match plain.unwrap_or_else(|_| Err(Denied::Later("reading failed".to_owned()))) {
        Ok(body) if json => Ok(Asked::Json(body)),
        Ok(body) => decode(&body)
            .map(Asked::Decoded)
            .map_err(|error| Denied::Malformed(format!("body is not an OTLP export request in protobuf ({error})"))),
        Err(denied) => Err(denied),
    };
    let taken = match asked {
        Ok(asked) => receiver.take(&from, asked).await,
        Err(denied) => Err(denied),
    };
    match taken {
        Ok((rejected, why)) => accepted(json, rejected, why),
        Err(why) => denied(json, why),
    }
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

/// Unpacks a body; a small one that unpacks to more than `limit` is refused before it is whole in memory.
fn unpack(body: &Bytes, encoding: Option<&str>, limit: usize) -> Result<Bytes, Denied> {
    let mut plain = Vec::new();
    let most = limit as u64 + 1;
    let read = match encoding {
        None | Some("" | "identity") => return Ok(body.clone()),
        Some("gzip") => flate2::read::MultiGzDecoder::new(body.as_ref()).take(most).read_to_end(&mut plain),
        Some("deflate") => flate2::read::ZlibDecoder::new(body.as_ref()).take(most).read_to_end(&mut plain),
        Some("zstd") => zstd::stream::read::Decoder::new(body.as_ref())
            .and_then(|decoder| decoder.take(most).read_to_end(&mut plain)),
        Some(other) => {
            let other = crate::sys::text::one_line(other, 40);
            return Err(Denied::Unsupported(format!("content encoding `{other}` is not known; expected gzip")));
        }
    };
    match read {
        Ok(read) if read > limit => Err(Denied::TooLarge(limit)),
        Ok(_) => Ok(plain.into()),
        Err(error) => Err(Denied::Malformed(format!("body cannot be unpacked ({error})"))),
    }
}

fn accepted(json: bool, rejected: u64, why: String) -> Response {
    let count = i64::try_from(rejected).unwrap_or(i64::MAX);
    if json {
        let body = match rejected {
            0 => json!({}),
            _ => json!({"partialSuccess": {"rejectedSpans": count.to_string(), "errorMessage": why}}),
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
    use std::io::Write;

    use super::*;

    #[test]
    fn bodies_are_unpacked_within_bounds() {
        let packed = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).unwrap();
            Bytes::from(encoder.finish().unwrap())
        };
        let small = packed(b"hello");
        assert_eq!(unpack(&small, Some("gzip"), 5).ok().unwrap(), "hello");
        assert!(matches!(unpack(&packed(&[0; 100_000]), Some("gzip"), 99_999), Err(Denied::TooLarge(99_999))));
        assert!(matches!(unpack(&small.slice(..8), Some("gzip"), 99), Err(Denied::Malformed(_))));
        assert!(matches!(unpack(&small, Some("br"), 99), Err(Denied::Unsupported(_))));
        let zipped = Bytes::from(zstd::encode_all(&b"hello"[..], 1).unwrap());
        assert_eq!(unpack(&zipped, Some("zstd"), 99).ok().unwrap(), "hello");
        assert_eq!(unpack(&Bytes::from_static(b"x"), None, 0).ok().unwrap(), "x");
    }
}
