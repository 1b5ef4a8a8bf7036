//! The HTTP client and the reading of its failures.
//!
//! Knows status codes and transport errors, not what is asked of whom.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::model::{Failure, FailureKind};

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct HttpError(String);

/// A client with connection reuse, ring for TLS and the system's certificates. Proxies come from the environment.
pub fn client() -> Result<reqwest::Client, HttpError> {
    client_keeping(usize::MAX, None)
}

/// The same that trusts further authorities.
pub fn client_trusting(authorities: &Authorities) -> Result<reqwest::Client, HttpError> {
    client_keeping(usize::MAX, Some(authorities))
}

/// The same without connection reuse: for calls where connections that were kept may be dead.
pub fn client_without_pool(authorities: Option<&Authorities>) -> Result<reqwest::Client, HttpError> {
    client_keeping(0, authorities)
}

/// Certificate authorities that are trusted beside those of the system.
#[derive(Clone, Debug)]
pub struct Authorities(Vec<reqwest::Certificate>);

impl Authorities {
    /// Reads a file of certificates in PEM.
    ///
    /// # Errors
    /// It cannot be read, or holds no certificate in PEM.
    pub fn read(path: &Path) -> Result<Self, HttpError> {
        let fail = |cause: String| HttpError(format!("`{}`: {cause}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let wanted = "give the authority's certificate as a PEM file, which holds `-----BEGIN CERTIFICATE-----`";
        let found: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let found = found.map_err(|error| fail(format!("no PEM ({error}); {wanted}")))?;
        if found.is_empty() {
            return Err(fail(format!("no certificate in it; {wanted}")));
        }
        let mut known = RootCertStore::empty();
        let mut certificates = Vec::new();
        for (place, one) in found.into_iter().enumerate() {
            let whole = reqwest::Certificate::from_der(&one).map_err(|error| error.to_string());
            // Looked at here, where file and place are known.
            known.add(one).map_err(|error| fail(format!("certificate {} cannot be used: {error}", place + 1)))?;
            certificates.push(whole.map_err(fail)?);
        }
        Ok(Self(certificates))
    }
}

fn client_keeping(idle: usize, authorities: Option<&Authorities>) -> Result<reqwest::Client, HttpError> {
    // Installing twice is an error of no consequence: the first one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder();
    let builder = match authorities {
        Some(Authorities(certificates)) => builder.tls_certs_merge(certificates.iter().cloned()),
        None => builder,
    };
    builder
        .user_agent(concat!("assize/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(idle)
        // A peer that is gone without a word is found out while a call waits, long before the call's own limit.
        .tcp_keepalive(Duration::from_secs(15))
        .tcp_keepalive_interval(Duration::from_secs(5))
        .tcp_keepalive_retries(3)
        .tcp_nodelay(true)
        .redirect(same_host_only())
        .build()
        .map_err(|error| HttpError(error.to_string()))
}

/// Follows redirects within one host. A key sent in a header of its own (`x-api-key`) would go along to any other.
fn same_host_only() -> Policy {
    Policy::custom(|attempt| {
        let same = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
        if same && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
    })
}

/// The wait a server asks for: `retry-after-ms`, or `Retry-After` in seconds or as a date. A date is meant by the
/// server's clock: where the answer says what that shows (`Date`), ours has no part in it, however wrong it is.
pub fn retry_after_ms(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let exact = headers.get("retry-after-ms").and_then(|value| value.to_str().ok());
    if let Some(ms) = exact.and_then(|text| text.trim().parse::<f64>().ok()) {
        return (ms.is_finite() && ms >= 0.0).then_some(ms as u64);
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 1000.0) as u64);
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let theirs = headers.get(DATE).and_then(|value| jiff::fmt::rfc2822::parse(value.to_str().ok()?.trim()).ok());
    let now = theirs.map_or(now, |theirs| theirs.timestamp());
    let wait = date.as_millisecond().saturating_sub(now.as_millisecond());
    u64::try_from(wait).ok().or(Some(0))
}

/// The failure a status code means; the message carries the start of the body.
pub fn failure_of_status(what: &str, status: StatusCode, body: &str) -> Failure {
    let kind = match status.as_u16() {
        401 | 403 => FailureKind::Auth,
        404 => FailureKind::NotFound,
        408 | 504 => FailureKind::Timeout,
        429 | 529 => FailureKind::RateLimited,
        500.. => FailureKind::Server,
        _ => FailureKind::BadRequest,
    };
    let excerpt = super::text::one_line(body, 300);
    Failure::new(kind, format!("{what} answered {}: {excerpt}", status.as_u16()))
}

/// The failure a transport error means.
pub fn failure_of_transport(what: &str, error: &reqwest::Error) -> Failure {
    let kind = if is_untrusted(error) {
        FailureKind::Untrusted
    } else if error.is_timeout() {
        FailureKind::Timeout
    } else if error.is_decode() || error.is_body() {
        FailureKind::BadReply
    } else if error.is_builder() {
        FailureKind::BadRequest
    } else {
        FailureKind::Connection
    };
    // The outer message only says "error sending request"; the cause is what helps.
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Failure::new(kind, format!("{what}: {cause}"))
}

/// Whether the server showed a certificate that is not trusted: no further attempt will change that.
fn is_untrusted(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        // The TLS library's own words: errors of input and output are wrapped around its error, so that it cannot be
        // told by its type.
        if cause.to_string().starts_with("invalid peer certificate") {
            return true;
        }
        next = cause.source();
    }
    false
}

/// The longest body that is read.
pub(crate) const BODY_LIMIT: usize = 64 << 20;

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

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_read_in_all_forms() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let read = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            retry_after_ms(&headers, now)
        };
        assert_eq!(read("retry-after", "2"), Some(2000));
        assert_eq!(read("retry-after", "0.5"), Some(500));
        assert_eq!(read("retry-after-ms", "250"), Some(250));
        assert_eq!(read("retry-after", "Sat, 21 Nov 2026 10:00:03 GMT"), Some(3000));
        assert_eq!(read("retry-after", "Sat, 21 Nov 2026 09:00:00 GMT"), Some(0));
        assert_eq!(read("retry-after", "soon"), None);
        // Our clock was set back by a year: the server's own tells what it means.
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("Sat, 20 Nov 2027 10:00:03 GMT"));
        assert!(retry_after_ms(&headers, now) > Some(1_000_000));
        headers.insert("date", HeaderValue::from_static("Sat, 20 Nov 2027 10:00:01 GMT"));
        assert_eq!(retry_after_ms(&headers, now), Some(2000));
    }

    #[test]
    fn shown_addresses_carry_no_secret() {
        let url = Url::parse("https://me:pw@host.test/v1/chat?key=abc#x").unwrap();
        assert_eq!(shown(&url), "https://host.test/v1/chat");
    }
}
