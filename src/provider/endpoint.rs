//! An endpoint as it is configured: where it is, whose key opens it, how much it bears.
//!
//! Turns such options into the way there. What is said on that way is the wire formats' affair.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::batch::Pace;
use super::wire::{TimedOut, Wire};
use super::{CassetteError, ChatModel, Hedge, Limits, ProviderInfo, find};
use crate::sys::{Authorities, Clock, Env, SecretText, Secrets, header, http_client_trusting};

/// Asks that may wait for batches at a time.
pub const BATCH_CONCURRENCY: u32 = 20_000;

/// Options of one endpoint, beside the name of its provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointOptions {
    /// Address up to and including the version (`https://host/v1`); the provider's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Variable of the environment that holds the key; the provider's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Further headers: name to text, or to `{ env = "NAME", prefix = "..." }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, SecretText>,
    /// File of recorded answers (`replay` only), relative to the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cassette: Option<String>,
    /// Program and arguments that answer, one by one (`command` only); a path (with `/`) is relative to the
    /// configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variables of the environment that the program gets (`command` only).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_env: Vec<String>,
    /// Ask in batches, at half the price and within a day (`anthropic`, `openai`, `openai_responses`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub batch: bool,
    /// When a batch is worth it and how often it is looked after; tests have less time than people.
    #[serde(skip)]
    #[schemars(skip)]
    pub pace: Pace,
    /// What the models here do not take, so that it is not even tried: `temperature`, `seed`, `logprobs`,
    /// `structured` (answers bound to a schema; it is told in words then).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// File of certificate authorities (PEM) that are trusted here beside the system's, relative to the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// A second, identical request where the first is slow; may double what a question costs. Off when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// Most calls at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_concurrency: Option<u32>,
    /// Most calls per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<u32>,
    /// Most tokens per minute, read and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u32>,
}

impl EndpointOptions {
    /// JSON Schema of these options, closed.
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }

    /// How much the endpoint bears.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        // Whoever waits for a batch burdens no server.
        let max_concurrency = if self.batch { BATCH_CONCURRENCY } else { default.max_concurrency };
        Limits {
            max_concurrency: self.max_concurrency.unwrap_or(max_concurrency),
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
        }
    }

    /// Builds the named provider at this endpoint. Reads the key, so call it when calls will be made.
    pub fn build(&self, provider: &str, context: &BuildContext<'_>) -> Result<Arc<dyn ChatModel>, ProviderError> {
        let info = find(provider).ok_or_else(|| ProviderError::NoSuchProvider {
            wanted: provider.to_owned(),
            known: super::PROVIDERS.iter().map(|info| info.name).collect::<Vec<_>>().join("`, `"),
        })?;
        if self.hedge.is_some() && (self.batch || self.cassette.is_some()) {
            let cause = "`hedge` sends a live request a second time; take it away, or `batch` and `cassette`";
            return Err(ProviderError::BadOption { endpoint: context.endpoint.to_owned(), cause: cause.to_owned() });
        }
        (info.build)(info, self, context)
    }

    /// The authorities of `ca_file`; `None` where there is no such option.
    fn authorities(&self, base: &Path) -> Result<Option<Authorities>, String> {
        let Some(file) = &self.ca_file else { return Ok(None) };
        Authorities::read(&base.join(file)).map(Some).map_err(|error| format!("`ca_file`: {error}"))
    }
}

/// What a provider is built with.
pub struct BuildContext<'a> {
    /// Name of the endpoint in the configuration.
    pub endpoint: &'a str,
    /// Where keys come from.
    pub env: &'a Env,
    /// Connections, shared by all endpoints.
    pub http: &'a reqwest::Client,
    /// Time, for `Retry-After` as a date.
    pub clock: Arc<dyn Clock>,
    /// Folder that relative paths start from.
    pub base: &'a Path,
    /// Folder of what must outlive the process: batches under way.
    pub state: &'a Path,
}

/// An endpoint could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No such row in the table.
    #[error("no provider `{wanted}`; there are `{known}`")]
    NoSuchProvider {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// A variable that must hold a secret is not set.
    #[error("endpoint `{endpoint}` needs `{variable}`, which is not set; run `export {variable}=...` first")]
    MissingKey {
        /// Endpoint.
        endpoint: String,
        /// Variable.
        variable: String,
    },
    /// An option is missing or cannot be used.
    #[error("endpoint `{endpoint}`: {cause}")]
    BadOption {
        /// Endpoint.
        endpoint: String,
        /// Which option, and what is wrong.
        cause: String,
    },
    /// The recorded answers cannot be read.
    #[error("endpoint `{endpoint}`: {cause}")]
    Cassette {
        /// Endpoint.
        endpoint: String,
        /// Why.
        #[source]
        cause: CassetteError,
    },
}

/// How a key is sent.
#[derive(Clone, Copy)]
pub(super) enum KeyHeader {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `x-api-key: KEY`.
    XApiKey,
    /// `api-key: KEY`.
    ApiKey,
    /// `x-goog-api-key: KEY`.
    Google,
}

/// The way to an endpoint: address, headers, key.
pub(super) fn wire(
    info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
    path: &[&str],
    key_header: KeyHeader,
) -> Result<Wire, ProviderError> {
    let bad = |cause: String| ProviderError::BadOption { endpoint: context.endpoint.to_owned(), cause };
    let mut secrets = Secrets::default();
    let mut headers = HeaderMap::new();
    let key_variable = options.key_env.as_deref().or(info.key_variable);
    if let Some(variable) = key_variable {
        let missing =
            || ProviderError::MissingKey { endpoint: context.endpoint.to_owned(), variable: variable.to_owned() };
        let key = context.env.secret(variable).ok_or_else(missing)?;
        // A trailing line break is what `export KEY=$(cat file)` forgets to leave behind.
        let key = SecretString::from(key.expose_secret().trim());
        let (name, value) = match key_header {
            KeyHeader::Bearer => {
                header("authorization", &SecretString::from(format!("Bearer {}", key.expose_secret())))
            }
            KeyHeader::XApiKey => header("x-api-key", &key),
            KeyHeader::ApiKey => header("api-key", &key),
            KeyHeader::Google => header("x-goog-api-key", &key),
        }
        .map_err(|_| bad(format!("the key in `{variable}` has characters that a header cannot carry")))?;
        headers.insert(name, value);
        secrets.add(key);
    }
    for (name, text) in &options.headers {
        let (value, _) = text
            .resolve(context.env)
            .map_err(|variable| ProviderError::MissingKey { endpoint: context.endpoint.to_owned(), variable })?;
        let (name, value) = header(name, &value).map_err(bad)?;
        headers.insert(name, value);
        secrets.add_text(text, context.env);
    }
    let trusted = options.authorities(context.base).map_err(bad)?;
    let http = match &trusted {
        Some(trusted) => http_client_trusting(trusted).map_err(|error| bad(error.to_string()))?,
        None => context.http.clone(),
    };
    Ok(Wire {
        endpoint: context.endpoint.to_owned(),
        url: address(info, options, path).map_err(bad)?,
        http,
        timed_out: Arc::new(TimedOut::trusting(trusted)),
        clock: Arc::clone(&context.clock),
        headers,
        secrets,
        key_variable: key_variable.map(str::to_owned),
    })
}

/// The base address with the path of the call behind it; a query (Azure's `api-version`) is kept.
fn address(info: &ProviderInfo, options: &EndpointOptions, path: &[&str]) -> Result<Url, String> {
    let base = options.base_url.as_deref().or(info.base_url);
    let base = base.ok_or_else(|| "`base_url` is missing".to_owned())?;
    let fail = |cause: &str| format!("`base_url` is no HTTP address ({cause}): give one like `https://host/v1`");
    let mut url = Url::parse(base).map_err(|error| fail(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(fail("neither `http` nor `https`"));
    }
    // `https://host` and `https://host/v1` are both what people write for an API whose path starts with `v1`.
    let last =
        url.path_segments().and_then(|mut steps| steps.rfind(|step| !step.is_empty())).unwrap_or_default().to_owned();
    let given = path.first().is_some_and(|first| *first == last);
    let rest = path.iter().skip(usize::from(given));
    url.path_segments_mut().map_err(|()| fail("no path"))?.pop_if_empty().extend(rest);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(base: &str, path: &[&str]) -> Result<String, String> {
        let info = find("anthropic").unwrap();
        let options = EndpointOptions { base_url: Some(base.to_owned()), ..EndpointOptions::default() };
        address(info, &options, path).map(|url| url.to_string())
    }

    #[test]
    fn addresses_are_joined_as_people_write_them() {
        let chat = ["chat", "completions"];
        assert_eq!(built("http://h:1/v1/", &chat).unwrap(), "http://h:1/v1/chat/completions");
        let azure = "https://x.test/openai/deployments/d?api-version=2024-10-21";
        let expected = "https://x.test/openai/deployments/d/chat/completions?api-version=2024-10-21";
        assert_eq!(built(azure, &chat).unwrap(), expected);
        for base in ["https://h.test", "https://h.test/", "https://h.test/v1"] {
            assert_eq!(built(base, &["v1", "messages"]).unwrap(), "https://h.test/v1/messages");
        }
        assert!(built("host/v1", &chat).is_err());
        assert!(built("file:///etc/passwd", &chat).is_err());
    }
}
