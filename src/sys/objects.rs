//! Objects in S3-compatible storage: list, get, put, delete, with checks of length and checksum and with retries.
//!
//! Requests are signed without IO by a library and sent by the house's HTTP client. Knows keys and bytes, not what the
//! objects are. Keys of the account come from the environment.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use reqwest::{Method, Response, StatusCode, Url};
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use sha2::{Digest as _, Sha256};

use super::http::{client, failure_of_status, failure_of_transport, retry_after_ms};
use super::{Clock, Env, RetryPolicy, SystemClock};
use crate::model::{Digest, Failure, FailureKind};

/// How long a signed address is good.
const SIGNED_FOR: Duration = Duration::from_secs(900);
/// Time limit of one transfer.
const TRANSFER: Duration = Duration::from_secs(600);
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Where a bucket is; what is absent comes from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Options {
    /// Address of the service; Amazon's own by region when absent.
    pub endpoint: Option<String>,
    /// Region; `us-east-1` when absent.
    pub region: Option<String>,
}

/// A folder in a bucket, as `s3://BUCKET/PREFIX` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Place {
    /// The bucket.
    pub bucket: String,
    /// Prefix of the keys, without a slash at either end; may be empty.
    pub prefix: String,
}

impl S3Place {
    /// Reads `s3://BUCKET/PREFIX`; `None` when the text is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/').to_owned();
        (!bucket.is_empty()).then(|| Self { bucket: bucket.to_owned(), prefix })
    }
}

/// An object as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its length, bytes.
    pub size: u64,
}

/// A request to the storage failed for good.
#[derive(Debug, thiserror::Error)]
#[error("{failure}; {mend}")]
pub struct ObjectError {
    failure: Failure,
    mend: &'static str,
}

impl ObjectError {
    fn new(failure: Failure) -> Self {
        let mend = match failure.kind {
            FailureKind::Auth => {
                "check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, the region, and that they may use the bucket"
            }
            FailureKind::NotFound => "check the names of the bucket and of the object, and the endpoint",
            FailureKind::Connection | FailureKind::Timeout => "check the endpoint and the network",
            _ => "try again later, or check what the service says",
        };
        Self { failure, mend }
    }

    /// Whether the object or bucket is not there.
    pub fn is_missing(&self) -> bool {
        self.failure.kind == FailureKind::NotFound
    }
}

/// One bucket of one service.
pub struct Objects {
    http: reqwest::Client,
    bucket: Bucket,
    keys: Option<Credentials>,
    retry: RetryPolicy,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Objects({})", self.bucket.base_url())
    }
}

impl Objects {
    /// The bucket; nothing is asked of it yet. Without keys in the environment requests are not signed, which is
    /// enough for a public bucket.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn open(bucket: &str, options: &S3Options, env: &Env) -> Result<Self, ObjectError> {
        let wrong = |text: String| ObjectError::new(Failure::new(FailureKind::BadRequest, text));
        let say = |found: Option<&str>| found.map(str::to_owned);
        let region = options.region.clone().or_else(|| say(env.get("AWS_REGION")));
        let region = region.or_else(|| say(env.get("AWS_DEFAULT_REGION"))).unwrap_or_else(|| "us-east-1".to_owned());
        let named = options.endpoint.clone().or_else(|| say(env.get("AWS_ENDPOINT_URL_S3")));
        let named = named.or_else(|| say(env.get("AWS_ENDPOINT_URL")));
        // Other services often have no name per bucket; Amazon wants one, but certificates do not cover dots.
        let style = if named.is_some() || bucket.contains('.') { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let endpoint = named.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let address: Url =
            endpoint.parse().map_err(|error| wrong(format!("endpoint `{endpoint}` is no address: {error}")))?;
        let bucket = Bucket::new(address, style, bucket.to_owned(), region)
            .map_err(|error| wrong(format!("bucket `{bucket}` at `{endpoint}` cannot be used: {error}")))?;
        let keys = env.get("AWS_ACCESS_KEY_ID").zip(env.secret("AWS_SECRET_ACCESS_KEY")).map(|(key, secret)| {
            use secrecy::ExposeSecret;
            match env.secret("AWS_SESSION_TOKEN") {
                Some(token) => Credentials::new_with_token(key, secret.expose_secret(), token.expose_secret()),
                None => Credentials::new(key, secret.expose_secret()),
            }
        });
        let http = client().map_err(|error| wrong(error.to_string()))?;
        let retry = RetryPolicy { attempt_timeout: TRANSFER, ..RetryPolicy::default() };
        Ok(Self { http, bucket, keys, retry })
    }

    /// Objects whose keys begin with a prefix, sorted by key, page after page.
    ///
    /// # Errors
    /// When the service refuses or stays away.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, ObjectError> {
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut action = ListObjectsV2::new(&self.bucket, self.keys.as_ref());
            action.with_prefix(prefix.to_owned());
            if let Some(token) = &token {
                action.with_continuation_token(token.clone());
            }
            let what = format!("listing `{prefix}` in bucket `{}`", self.bucket.name());
            let body = self.asked(&what, Method::GET, &mut action, None, text).await?;
            let page = ListObjectsV2::parse_response(&body).map_err(|error| {
                ObjectError::new(Failure::new(FailureKind::BadReply, format!("{what}: not a list of objects: {error}")))
            })?;
            found.extend(
                page.contents.into_iter().map(|object| Object { key: object.key, size: object.size.unwrap_or(0) }),
            );
            match page.next_continuation_token {
                // A service that repeats its own token would be asked for ever.
                Some(next) if token.as_deref() != Some(next.as_str()) => token = Some(next),
                _ => break,
            }
        }
        found.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(found)
    }

    /// Brings an object into a file, whole or not at all: its length, and its checksum where the service keeps one,
    /// must be right.
    ///
    /// # Errors
    /// When the service refuses or stays away, or the file cannot be written.
    pub async fn fetch(&self, object: &Object, to: &Path) -> Result<(), ObjectError> {
        let what = format!("getting `{}` from bucket `{}`", object.key, self.bucket.name());
        let mut action = self.bucket.get_object(self.keys.as_ref(), &object.key);
        action.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
        let read = async |response: Response| -> Result<(), Failure> {
            receive(response, object.size, to)
                .await
                .map_err(|failure| Failure::new(failure.kind, format!("{what}: {}", failure.message)))
        };
        self.asked(&what, Method::GET, &mut action, None, read).await
    }

    /// Puts an object there unless one of that key is there; `false` when it was. The service checks what it got.
    ///
    /// # Errors
    /// When the service refuses or stays away.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<bool, ObjectError> {
        let what = format!("putting `{key}` into bucket `{}`", self.bucket.name());
        let mut action = self.bucket.put_object(self.keys.as_ref(), key);
        action.headers_mut().insert(CHECKSUM, STANDARD.encode(Sha256::digest(&bytes)));
        action.headers_mut().insert("if-none-match", "*");
        match self.asked(&what, Method::PUT, &mut action, Some(bytes), async |_| Ok(())).await {
            Ok(()) => Ok(true),
            Err(error) if error.failure.message.contains(" answered 412") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// When the service refuses or stays away.
    pub async fn remove(&self, key: &str) -> Result<(), ObjectError> {
        let what = format!("deleting `{key}` from bucket `{}`", self.bucket.name());
        let mut action = self.bucket.delete_object(self.keys.as_ref(), key);
        match self.asked(&what, Method::DELETE, &mut action, None, async |_| Ok(())).await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends a signed request until it succeeds or there is no use in trying again.
    async fn asked<'a, T>(
        &'a self,
        what: &str,
        method: Method,
        action: &mut impl S3Action<'a>,
        body: Option<Bytes>,
        read: impl AsyncFn(Response) -> Result<T, Failure>,
    ) -> Result<T, ObjectError> {
        let headers: Vec<(String, String)> =
            action.headers_mut().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut attempt = 1;
        loop {
            let mut request =
                self.http.request(method.clone(), action.sign(SIGNED_FOR)).timeout(self.retry.attempt_timeout);
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            if let Some(bytes) = &body {
                request = request.header(reqwest::header::CONTENT_LENGTH, bytes.len()).body(bytes.clone());
            }
            let failure = match request.send().await {
                Err(error) => failure_of_transport(what, &error),
                Ok(response) if response.status().is_success() => match read(response).await {
                    Ok(done) => return Ok(done),
                    Err(failure) => failure,
                },
                Ok(response) => refused(what, response).await,
            };
            let Some(wait) = self.retry.delay(attempt, &failure, jitter(what, attempt)) else {
                return Err(ObjectError::new(failure));
            };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

async fn refused(what: &str, response: Response) -> Failure {
    let status = response.status();
    let wait = retry_after_ms(response.headers(), SystemClock.now());
    let body = response.text().await.unwrap_or_default();
    // The message stands in an XML element; the rest is ids.
    let message = body.split("<Message>").nth(1).and_then(|rest| rest.split("</Message>").next()).unwrap_or(&body);
    let mut failure = failure_of_status(what, status, message);
    // Two writers of one key at the same moment: one of them is told to come again.
    if status == StatusCode::CONFLICT {
        failure.kind = FailureKind::Server;
    }
    failure.retry_after_ms(wait)
}

async fn text(response: Response) -> Result<String, Failure> {
    response.text().await.map_err(|error| failure_of_transport("reading the answer", &error))
}

/// Streams a body into a file that appears only when it is whole.
async fn receive(response: Response, size: u64, to: &Path) -> Result<(), Failure> {
    let stated = response.headers().get(CHECKSUM).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let broken = |text: String| Failure::new(FailureKind::Connection, text);
    let disk = |error: &dyn std::fmt::Display| {
        Failure::new(FailureKind::BadRequest, format!("cannot write `{}`: {error}", to.display()))
    };
    let folder = to.parent().unwrap_or(Path::new("."));
    super::files::create_folder(folder).map_err(|error| disk(&error.cause))?;
    let mut file =
        tempfile::Builder::new().prefix(".get-").suffix(".tmp").tempfile_in(folder).map_err(|error| disk(&error))?;
    let (mut hasher, mut length) = (Sha256::new(), 0_u64);
    let mut body = response.bytes_stream();
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|error| broken(error.to_string()))?;
        hasher.update(&bytes);
        length += bytes.len() as u64;
        file.write_all(&bytes).map_err(|error| disk(&error))?;
    }
    if length != size {
        return Err(broken(format!("{length} bytes came, {size} were listed")));
    }
    // A checksum of parts, as multipart uploads have, ends with their number and says nothing about the whole.
    if stated.is_some_and(|stated| !stated.contains('-') && stated != STANDARD.encode(hasher.finalize())) {
        return Err(broken("the checksum is wrong".to_owned()));
    }
    file.persist(to).map_err(|error| disk(&error.error))?;
    Ok(())
}

fn jitter(what: &str, attempt: u32) -> f64 {
    let digest = Digest::of(format!("{what} {attempt}").as_bytes());
    let head = digest.as_str().get(3..11).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0);
    f64::from(head) / f64::from(u32::MAX)
}

/// Waits for something asynchronous from code that is not: inside the program's runtime without stopping its other
/// work, else in a runtime of its own.
///
/// # Errors
/// When no runtime can be had.
pub fn wait<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => Ok(tokio::task::block_in_place(|| runtime.block_on(work))),
        Err(_) => Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let place = |bucket: &str, prefix: &str| Some(S3Place { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        assert_eq!(S3Place::parse("s3://b"), place("b", ""));
        assert_eq!(S3Place::parse("s3://b/"), place("b", ""));
        assert_eq!(S3Place::parse("s3://b/x/y/"), place("b", "x/y"));
        assert_eq!(S3Place::parse("s3:///x"), None);
        assert_eq!(S3Place::parse("lake"), None);
    }

    #[test]
    fn the_secret_is_never_printed_and_the_address_is_told_when_wrong() {
        let env = Env::of_pairs(&[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hush")]);
        let objects = Objects::open("b", &S3Options::default(), &env).unwrap();
        assert_eq!(format!("{objects:?}"), "Objects(https://b.s3.us-east-1.amazonaws.com/)");
        assert!(!format!("{:?}", objects.keys).contains("hush"));
        let options = S3Options { endpoint: Some("nowhere".to_owned()), region: None };
        let text = Objects::open("b", &options, &env).unwrap_err().to_string();
        assert!(text.contains("endpoint `nowhere` is no address"), "{text}");
    }
}
