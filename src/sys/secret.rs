//! Secrets on their way from the environment into requests, and out of everything that is shown.
//!
//! Knows no service. Keys are scrubbed from what a server echoes, and headers that carry them do not print.

use reqwest::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::Env;

/// A key shorter than this is a placeholder (`ollama`, `none`): replacing it in an error would hide ordinary words.
const SHORTEST_SECRET: usize = 8;
/// Replies are the material to be judged: only what must be a real key is cut out of them.
const SHORTEST_SECRET_IN_REPLY: usize = 20;

/// A text of the configuration that may live in the environment: `"text"`, or `{ env = "NAME", prefix = "Bearer " }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SecretText {
    /// The text itself; not for secrets, since the configuration is shown and kept.
    Plain(String),
    /// A variable of the environment.
    Variable(EnvironmentText),
}

/// A text taken from a variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentText {
    /// Name of the variable.
    pub env: String,
    /// What to put before its value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

impl SecretText {
    /// The text, and whether it is a secret; the name of the variable when that is not set.
    pub fn resolve(&self, env: &Env) -> Result<(SecretString, bool), String> {
        match self {
            Self::Plain(text) => Ok((SecretString::from(text.as_str()), false)),
            Self::Variable(EnvironmentText { env: name, prefix }) => {
                let value = env.secret(name).ok_or_else(|| name.clone())?;
                Ok((SecretString::from(format!("{prefix}{}", value.expose_secret())), true))
            }
        }
    }

    /// The secret part alone, for scrubbing.
    fn secret(&self, env: &Env) -> Option<SecretString> {
        match self {
            Self::Plain(_) => None,
            Self::Variable(variable) => env.secret(&variable.env),
        }
    }
}

/// Secrets that must not be seen in anything that leaves this process as text.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<SecretString>);

impl Secrets {
    pub(crate) fn add(&mut self, secret: SecretString) {
        self.0.push(secret);
    }

    /// Adds what a text takes from the environment.
    pub(crate) fn add_text(&mut self, text: &SecretText, env: &Env) {
        self.0.extend(text.secret(env));
    }

    /// The text with every secret replaced.
    pub(crate) fn scrub(&self, text: &str) -> String {
        self.scrub_longer(text, SHORTEST_SECRET)
    }

    /// A model's reply with every real key replaced.
    pub(crate) fn scrub_reply(&self, text: String) -> String {
        if self.0.iter().any(|secret| is_in(secret, &text, SHORTEST_SECRET_IN_REPLY)) {
            return self.scrub_longer(&text, SHORTEST_SECRET_IN_REPLY);
        }
        text
    }

    fn scrub_longer(&self, text: &str, shortest: usize) -> String {
        let mut clean = text.to_owned();
        for secret in &self.0 {
            if is_in(secret, &clean, shortest) {
                clean = clean.replace(secret.expose_secret(), "[secret]");
            }
        }
        clean
    }
}

fn is_in(secret: &SecretString, text: &str, shortest: usize) -> bool {
    secret.expose_secret().len() >= shortest && text.contains(secret.expose_secret())
}

/// A header from its texts; the value is marked so that debug output leaves it out.
pub(crate) fn header(name: &str, value: &SecretString) -> Result<(HeaderName, HeaderValue), String> {
    let header = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not a header name"))?;
    let mut value = HeaderValue::try_from(value.expose_secret())
        .map_err(|_| format!("the value of header `{name}` has characters that a header cannot carry"))?;
    value.set_sensitive(true);
    Ok((header, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_out_of_what_a_server_echoes() {
        let mut secrets = Secrets::default();
        secrets.add(SecretString::from("sk-0123456789abcdef0123"));
        secrets.add(SecretString::from("none"));
        assert_eq!(secrets.scrub("bad key sk-0123456789abcdef0123, none"), "bad key [secret], none");
        assert_eq!(secrets.scrub_reply("x sk-0123456789abcdef0123".to_owned()), "x [secret]");
    }

    #[test]
    fn header_values_come_from_the_environment() {
        let text: SecretText = serde_json::from_str(r#"{"env": "TOKEN", "prefix": "Bearer "}"#).unwrap();
        let (value, secret) = text.resolve(&Env::of_pairs(&[("TOKEN", "abc")])).unwrap();
        assert_eq!((value.expose_secret(), secret), ("Bearer abc", true));
        assert_eq!(text.resolve(&Env::default()).unwrap_err(), "TOKEN");
    }
}
