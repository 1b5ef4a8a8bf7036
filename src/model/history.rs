//! What a dataset version remembers beside its examples: where it comes from, what was done, how it is split.
//!
//! Data only; the rules of splitting and freezing are `dataset`'s.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Digest;

/// The version another was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parent {
    /// Its number.
    pub version: u32,
    /// Digest of its task.
    pub digest: Digest,
    /// Digest of what it recorded.
    pub recorded_digest: Digest,
}

/// What was done to make a version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// `import`, `sample`, `split`, `thaw`, `tag`, `slice`, `label`, `attach`.
    pub name: String,
    /// Its arguments as the user gave them, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, Value>,
}

impl Operation {
    /// An operation without arguments.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), arguments: BTreeMap::new() }
    }

    /// The same with one more argument; null says nothing and is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.arguments.insert(name.to_owned(), value);
        }
        self
    }
}

/// How the examples of a dataset are divided: by a keyed hash of a unit, so that an example never moves as the dataset
/// grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Splits {
    /// Unit that is never divided: `cluster`, `id`, or the name of a dimension.
    pub by: String,
    /// Key of the hash.
    pub seed: u64,
    /// Splits with their shares in the order of the hash, the holdout first; shares add up to 1.
    pub shares: Vec<(String, f64)>,
    /// The frozen holdout; absent after a thaw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
}

/// A holdout that no later version may change. Its members are the examples that say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Frozen {
    /// Version in which it was frozen.
    pub since: u32,
    /// How many examples it holds in this version.
    pub examples: u64,
    /// Digest of their task in this version.
    pub digest: Digest,
}
