//! One page over HTTP, `/metrics`, for who scrapes it. Knows nothing of what is on it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use secrecy::{ExposeSecret, SecretString};

/// Makes the page; says in words why it cannot.
pub type PageFn = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + Send + Sync>;

/// The content type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Page {
    make: PageFn,
    token: Option<SecretString>,
}

/// Serves the page until `stop` is done. Where there is a token, whoever scrapes must show it.
///
/// # Errors
/// When the listener breaks.
pub async fn serve_page(
    listener: tokio::net::TcpListener,
    make: PageFn,
    token: Option<SecretString>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/metrics", get(answer))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(Page { make, token });
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

async fn answer(State(page): State<Page>, headers: HeaderMap) -> Response {
    if let Some(token) = &page.token {
        let said = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = said.and_then(|said| said.strip_prefix("Bearer ")).unwrap_or_default();
        // Digests of equal length are compared, so that the time taken tells nothing about the token.
        if blake3::hash(shown.as_bytes()) != blake3::hash(token.expose_secret().as_bytes()) {
            let mend = "token is missing or wrong; send `Authorization: Bearer …`\n";
            return (StatusCode::UNAUTHORIZED, mend).into_response();
        }
    }
    match (page.make)().await {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
