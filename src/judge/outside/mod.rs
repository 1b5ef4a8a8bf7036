//! Graders that are neither code of ours nor a rubric: a program, a web service, embeddings, the detectors of redaction.
//!
//! In a configuration they are scorers like the others: `scorer = "command"`. One row per grader in [`OUTSIDE`].

mod command;
#[cfg(test)]
mod docs_tests;
mod embedding;
mod leaks;
mod reply;
mod webhook;

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Grade, Graded};
use crate::model::{Digest, Direction, Scale, Scored, Spend, Unscored, UnscoredReason};
use crate::provider::{Client, ModelHandle};
use crate::sys::text::one_line;
use crate::sys::{Clock, Env};

/// What such graders are built with.
pub struct Surroundings<'a> {
    /// Where keys and variables come from.
    pub env: &'a Env,
    /// Connections.
    pub http: &'a reqwest::Client,
    /// Time, for `Retry-After` as a date.
    pub clock: Arc<dyn Clock>,
    /// Folder that relative paths start from.
    pub base: &'a Path,
    /// Models that embed, by the name they have in the configuration.
    pub embedders: &'a dyn Fn(&str) -> Result<ModelHandle, String>,
}

/// A grader with what a run's header says of it.
pub struct Outside {
    /// The grader.
    pub grade: Arc<dyn Grade>,
    /// Values it can give.
    pub scale: Scale,
    /// Which way is better.
    pub direction: Direction,
    /// Digest of what it is beside its options: files, an endpoint.
    pub digest: Option<Digest>,
    /// The model it asks.
    pub model: Option<String>,
}

/// One row of the table.
pub struct OutsideInfo {
    /// Name in the configuration: `scorer = "NAME"`.
    pub name: &'static str,
    /// Version of its rule; a changed finding needs a changed version.
    pub version: &'static str,
    /// One sentence for help and the reference.
    pub summary: &'static str,
    /// A working set of options as TOML, one `key = value` per line.
    pub sample: &'static str,
    /// JSON Schema of the options, closed.
    pub schema: fn() -> Value,
    /// What is wrong with options that fit the schema, as far as it can be told without the machine.
    pub check: fn(&Value) -> Result<(), String>,
    /// Builds it; says what is wrong, naming the key.
    pub build: fn(&Value, &Surroundings<'_>) -> Result<Outside, String>,
}

/// All of them, sorted by name. No name is that of a scorer.
pub const OUTSIDE: &[OutsideInfo] = &[command::COMMAND, embedding::EMBEDDING, leaks::LEAKS, webhook::WEBHOOK];

/// Looks one up by name.
pub fn find_outside(name: &str) -> Option<&'static OutsideInfo> {
    OUTSIDE.iter().find(|info| info.name == name)
}

fn schema_of<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

fn read<T: DeserializeOwned>(options: &Value) -> Result<T, String> {
    T::deserialize(options).map_err(|error| one_line(&error.to_string(), 300))
}

fn fault(detail: impl Into<String>) -> Unscored {
    Unscored::new(UnscoredReason::ScorerFault, detail)
}

fn free(scored: Scored, took_ms: u64) -> Graded {
    Graded { scored, spend: Spend::default(), cached: false, took_ms, fatal: None }
}

/// A client in the words of a digest.
fn endpoint_of(client: &Client) -> String {
    format!("{} {}", client.endpoint(), client.identity())
}
