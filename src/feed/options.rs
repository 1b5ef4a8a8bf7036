//! Options of a place that things are sent to: one struct, of which each takes its part.
//!
//! Secrets are named by their variable of the environment, never written.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sys::SecretText;

/// Options of one sink or alarm, beside its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeedOptions {
    /// Address (`https://host`); the platform's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Variable of the environment that holds the address, where whoever knows it may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_env: Option<String>,
    /// Project, by the name or id the platform knows it under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Workspace, tenant or organisation around the project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// User the password belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Environment that scores are filed under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Version of the platform's interface; found out when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// `protobuf` or `json`. Default `protobuf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Variable of the environment that holds the key; the platform's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Variable that holds the second key, where the platform has two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// Further headers: name to text, or to `{ env = "NAME", prefix = "..." }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, SecretText>,
    /// Only these metrics; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// Further labels of what is sent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Time between two notices that the same thing fires again, such as `6h`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<String>,
    /// `critical`, `error`, `warning` or `info`. Default `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Page that a notice points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Entries sent at a time; the platform's own limit is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: Option<u32>,
    /// Most requests per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600_000))]
    pub requests_per_minute: Option<u32>,
    /// Time limit of one request, such as `30s`. Default `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Most attempts of one request. Default 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: Option<u32>,
}

/// Options that every place takes.
const COMMON: &[&str] = &["headers", "requests_per_minute", "timeout", "max_attempts"];

/// JSON Schema of the options that one kind takes, closed.
pub(super) fn schema(takes: &[&str], requires: &[&str]) -> Value {
    let mut schema = schemars::schema_for!(FeedOptions).to_value();
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

impl FeedOptions {
    /// Time limit of one request.
    pub(super) fn timeout(&self) -> Result<Duration, String> {
        self.timeout.as_deref().map_or(Ok(Duration::from_secs(30)), |text| duration("timeout", text))
    }

    /// Time between two notices of the same thing.
    pub(super) fn cooldown(&self) -> Result<Duration, String> {
        self.cooldown.as_deref().map_or(Ok(Duration::ZERO), |text| duration("cooldown", text))
    }

    /// Whether a metric is wanted.
    pub fn wants(&self, metric: &str) -> bool {
        self.metrics.is_empty() || self.metrics.iter().any(|wanted| wanted == metric)
    }

    /// The project, which the platform cannot do without.
    pub(super) fn project(&self, what: &str) -> Result<&str, String> {
        self.project.as_deref().ok_or_else(|| format!("`project` is missing: {what}"))
    }
}

fn duration(name: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{name}` must be a time such as `90s`, `5m` or `2h`, found `{text}`");
    let parsed = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    parsed.ok_or_else(wrong)
}
