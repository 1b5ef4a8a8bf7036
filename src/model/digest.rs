//! Content digests: the identity of datasets, judges, requests and blobs.
//!
//! A digest says "same content", never "same moment" or "same place". BLAKE3, 32 bytes, shown as `b3:` and hex.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A BLAKE3 digest as `b3:` followed by 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of a byte string.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("b3:{}", blake3::hash(bytes).to_hex()))
    }

    /// The digest of a JSON value whatever the order of its keys.
    pub fn of_json(value: &Value) -> Self {
        Self::of(canonical_json(value).as_bytes())
    }

    /// A digest that was written down; `None` when the text has not the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let digest = Self(text.to_owned());
        digest.hex().is_some().then_some(digest)
    }

    /// The whole digest, prefix included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits, when it has the form it should: one that was read from a foreign file may hold
    /// anything, and must not become a file name unseen.
    pub fn hex(&self) -> Option<&str> {
        let hex = self.0.strip_prefix("b3:")?;
        let plain = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        plain.then_some(hex)
    }

    /// The first twelve hexadecimal digits: for people, never for comparing.
    pub fn short(&self) -> &str {
        self.0.get(3..15).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Folds named parts into one digest. Lengths are mixed in, so `("ab", "c")` and `("a", "bc")` differ.
#[derive(Default)]
pub struct Digester(blake3::Hasher);

impl Digester {
    /// An empty digester.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one named part.
    #[must_use]
    pub fn part(mut self, name: &str, bytes: &[u8]) -> Self {
        self.add(name, bytes);
        self
    }

    /// Adds one named part in place, for loops.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        self.0.update(&(name.len() as u64).to_le_bytes());
        self.0.update(name.as_bytes());
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The digest of all parts in the order they were added.
    pub fn finish(self) -> Digest {
        Digest(format!("b3:{}", self.0.finalize().to_hex()))
    }
}

/// JSON with sorted keys and no white space: the form that is digested.
///
/// Numbers keep the form `serde_json` gives them, so `1` and `1.0` differ; that is wanted, because a provider may
/// treat them differently.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            text.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                if let Some(item) = map.get(key) {
                    write_canonical(item, text);
                }
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn key_order_does_not_change_the_digest() {
        let left: Value = serde_json::from_str(r#"{"a":1,"b":{"x":[1,2],"y":null}}"#).unwrap();
        let right: Value = serde_json::from_str(r#"{"b":{"y":null,"x":[1,2]},"a":1}"#).unwrap();
        assert_eq!(Digest::of_json(&left), Digest::of_json(&right));
        assert_ne!(Digest::of_json(&left), Digest::of_json(&json!({"a": 1})));
    }

    #[test]
    fn only_a_whole_digest_has_digits() {
        assert_eq!(Digest::of(b"x").hex().map(str::len), Some(64));
        for odd in ["", "b3:", "b3:../../../etc/passwd", "sha256:00"] {
            let digest: Digest = serde_json::from_value(odd.into()).unwrap();
            assert_eq!(digest.hex(), None, "{odd}");
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        let left = Digester::new().part("a", b"bc").finish();
        let right = Digester::new().part("ab", b"c").finish();
        assert_ne!(left, right);
    }
}
