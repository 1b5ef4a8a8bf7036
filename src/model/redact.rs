//! What is to be taken out of foreign data before it is first written: the policy, as configured, and the account of
//! what was done. Data only; the rules are in `redact`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done with something that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedactAction {
    /// It stays as it is.
    Keep,
    /// Its name stands in its place: `[email]`.
    Mask,
    /// A keyed digest stands in its place, the same for the same value everywhere: `[email:7f3a9c21d0b4]`. Needs a key
    /// in the variable that `key_env` names; without one it is masked.
    Pseudonym,
    /// The whole field goes; of a pattern, the whole text it was found in.
    Drop,
}

/// What is taken out of traces and imported examples before anything is written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactPolicy {
    /// Keys, tokens, private keys, passwords beside their name, credentials in addresses. Default `mask`.
    pub secrets: Option<RedactAction>,
    /// E-mail addresses, telephone numbers, payment cards, IBANs, IP addresses. Default `keep`.
    pub personal: Option<RedactAction>,
    /// Variable that holds the key of pseudonyms. Default `ASSIZE_REDACT_KEY`.
    pub key_env: Option<String>,
    /// What is done with one kind, whatever its group says: `email`, `phone`, `card`, `iban`, `ip`, `us_ssn`, `jwt`, ...
    #[serde(default)]
    pub kinds: BTreeMap<String, RedactAction>,
    /// What is done with fields, by name: `user.email`, `*.password`, `user_id`. `*` stands for any text; a name fits
    /// at the end of a longer path too. `keep` protects a field from everything else.
    #[serde(default)]
    pub fields: BTreeMap<String, RedactAction>,
    /// Your own patterns.
    #[serde(default)]
    pub patterns: Vec<RedactPattern>,
    /// What is never taken out.
    #[serde(default)]
    pub allow: RedactAllow,
    /// A program or service that finds more, such as names of people.
    pub detector: Option<RedactDetector>,
}

/// A pattern of the user's own.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactPattern {
    /// Name that stands in the place of what is found.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Regular expression.
    #[schemars(length(min = 1))]
    pub pattern: String,
    /// Group of the expression that is taken out; all of the match when left out.
    pub group: Option<usize>,
    /// What is done. Default `mask`.
    pub action: Option<RedactAction>,
}

/// What is never taken out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactAllow {
    /// Exact values, whatever their case.
    #[serde(default)]
    pub values: Vec<String>,
    /// Domains of e-mail addresses, with those below them.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Fields, as under `fields`.
    #[serde(default)]
    pub fields: Vec<String>,
}

/// What happens when the detector does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDetectorError {
    /// Reading stops; what was not looked at is not written.
    #[default]
    Stop,
    /// The rows it should have looked at are turned away, without their content.
    Reject,
    /// They are written with what the other rules found, and counted.
    Continue,
}

/// How texts are put to a detector and its findings are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetectorForm {
    /// `{"texts": [...]}` to `{"results": [[{"start": 0, "end": 3, "kind": "person"}], ...]}`, places in characters.
    #[default]
    Plain,
    /// Presidio's analyzer: `{"text": [...], "language": "en"}` to a list of findings for each text.
    Presidio,
}

/// A program or service that finds what patterns cannot. Either `url` or `command`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactDetector {
    /// Address that takes a batch of texts by POST.
    pub url: Option<String>,
    /// Program and arguments; it reads one batch as a line of JSON and writes one line, for as long as it is asked.
    pub command: Option<Vec<String>>,
    /// How texts and findings are written. Default `plain`.
    #[serde(default)]
    pub form: DetectorForm,
    /// Language told to the detector. Default `en`.
    pub language: Option<String>,
    /// Variable whose value is sent as bearer token.
    pub key_env: Option<String>,
    /// Least confidence, where the detector gives one. Default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_score: Option<f64>,
    /// Most texts of one batch. Default 64.
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: Option<usize>,
    /// Time limit of one batch, such as `30s`. Default `30s`.
    pub timeout: Option<String>,
    /// What is done with what it finds. Default: as `personal` says, else `mask`.
    pub action: Option<RedactAction>,
    /// What happens when it does not answer. Default `stop`.
    #[serde(default)]
    pub on_error: OnDetectorError,
}

/// How much was taken out, by rule and by field. Never holds a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redactions {
    /// By rule: a kind, the name of a pattern, or a field rule as `field:NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, u64>,
    /// By the field it was found in: `messages_in`, `tool.arguments`, the key of an attribute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, u64>,
}

/// Fields told apart; attribute keys are foreign and may be without number.
const MOST_FIELDS: usize = 200;

impl Redactions {
    /// Counts one.
    pub fn note(&mut self, rule: &str, field: &str) {
        *self.rules.entry(rule.to_owned()).or_default() += 1;
        *self.place(field) += 1;
    }

    fn place(&mut self, field: &str) -> &mut u64 {
        let known = self.fields.len() < MOST_FIELDS || self.fields.contains_key(field);
        self.fields.entry(if known { field } else { "other fields" }.to_owned()).or_default()
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.rules.values().sum()
    }

    /// Whether nothing was taken out.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Adds another account.
    pub fn merge(&mut self, other: &Self) {
        for (rule, count) in &other.rules {
            *self.rules.entry(rule.clone()).or_default() += count;
        }
        for (field, count) in &other.fields {
            *self.place(field) += count;
        }
    }
}
