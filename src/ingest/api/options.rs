//! Options of a platform to pull from: one struct, of which each platform takes its part.
//!
//! Secrets are named by their variable of the environment, never written.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Digest, Digester, canonical_json};
use crate::sys::{SecretText, moment};

/// Options of one source, beside its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiOptions {
    /// Address of the platform (`https://host`); the platform's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Project, by the name or id the platform knows it under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Workspace, tenant or organisation around the project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// User the password belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Table, with its database where that is not the user's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Version of the platform's interface; found out when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Variable of the environment that holds the key; the platform's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Variable that holds the second key, where the platform has two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// Further headers: name to text, or to `{ env = "NAME", prefix = "..." }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, SecretText>,
    /// What is wanted, in the platform's own language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Fields to ask for beside those that are always asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Ids of the traces, where the platform cannot list them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace_ids: Vec<String>,
    /// Whether scores, feedback and annotations are pulled as well. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<bool>,
    /// Beginning of the first pull: a time, a date, or how far back (`7d`). Everything there is when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How far before the newest trace the next pull begins, for spans that arrive late. Default `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// Rows asked for at a time; the platform's own limit is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub page_size: Option<u32>,
    /// Longest answer that is read, MiB. Default 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_page_mib: Option<u32>,
    /// Most requests per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub requests_per_minute: Option<u32>,
    /// Time limit of one request, such as `60s`. Default `60s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Most attempts of one request. Default 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: Option<u32>,
    /// Rows after which what came is written and the place is kept; at the latest after a minute. Default 20000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub flush_rows: Option<u32>,
}

/// Options that every platform takes.
const COMMON: &[&str] = &[
    "url",
    "headers",
    "since",
    "overlap",
    "page_size",
    "max_page_mib",
    "requests_per_minute",
    "timeout",
    "max_attempts",
    "flush_rows",
];

/// JSON Schema of the options a platform takes, closed.
pub(super) fn schema(takes: &[&str], requires: &[&str]) -> Value {
    let mut schema = schemars::schema_for!(ApiOptions).to_value();
    if let Some(map) = schema.as_object_mut() {
        if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
            properties.retain(|name, _| COMMON.contains(&name.as_str()) || takes.contains(&name.as_str()));
        }
        if !requires.is_empty() {
            map.insert("required".to_owned(), requires.iter().copied().collect());
        }
    }
    schema
}

impl ApiOptions {
    /// Time limit of one request.
    pub(super) fn timeout(&self) -> Result<Duration, String> {
        self.timeout.as_deref().map_or(Ok(Duration::from_secs(60)), |text| duration("timeout", text))
    }

    /// How far the next pull goes back behind the newest trace.
    pub(super) fn overlap(&self) -> Result<Duration, String> {
        self.overlap.as_deref().map_or(Ok(Duration::from_secs(3600)), |text| duration("overlap", text))
    }

    /// Where a first pull begins.
    pub(super) fn since(&self, now: Timestamp) -> Result<Option<Timestamp>, String> {
        self.since.as_deref().map(|text| moment("since", text, now)).transpose()
    }

    /// What decides which rows come: the identity of a place. How fast they come is no part of it.
    pub(super) fn digest(&self, platform: &str, window: &str) -> Digest {
        let rows = Self {
            headers: BTreeMap::new(),
            key_env: None,
            secret_env: None,
            overlap: None,
            max_page_mib: None,
            requests_per_minute: None,
            timeout: None,
            max_attempts: None,
            flush_rows: None,
            // Addresses may carry a user and a password; a digest of them would still be a trace of a secret.
            url: self.url.as_deref().map(plain_url),
            ..self.clone()
        };
        let rows = serde_json::to_value(rows).unwrap_or(Value::Null);
        Digester::new()
            .part("platform", platform.as_bytes())
            .part("options", canonical_json(&rows).as_bytes())
            .part("window", window.as_bytes())
            .finish()
    }
}

fn plain_url(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(|_| url.to_owned(), |url| crate::sys::shown(&url))
}

fn duration(name: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{name}` must be a time such as `90s`, `5m` or `2h`, found `{text}`");
    let parsed = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    parsed.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_knows_what_is_asked_and_not_how_fast() {
        let options = ApiOptions { project: Some("p".to_owned()), ..ApiOptions::default() };
        let digest = |options: &ApiOptions| options.digest("langfuse", "");
        let faster = ApiOptions { requests_per_minute: Some(9), key_env: Some("K".to_owned()), ..options.clone() };
        assert_eq!(digest(&options), digest(&faster));
        let other = ApiOptions { project: Some("q".to_owned()), ..options.clone() };
        assert_ne!(digest(&options), digest(&other));
        assert_ne!(digest(&options), options.digest("langfuse", "7d"));
    }
}
