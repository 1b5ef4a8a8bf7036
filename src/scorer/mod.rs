//! Deterministic scorers: code that scores an output, with no network, no clock and no randomness.
//!
//! One file per family and one row per scorer in [`SCORERS`]; help text, configuration reference, checks and tests
//! all walk that table. A scorer that cannot say (no reference, no trace) is *not applicable*, never 0.

mod calls;
mod contains;
mod edit;
mod exact;
mod failure_modes;
mod json;
mod json_text;
mod length;
mod material;
mod measure;
mod number;
mod options;
mod path;
mod pattern;
mod recorded;
mod refusal;
mod subset;
#[cfg(test)]
mod tests;
mod tool_errors;
mod tool_sequence;
mod tool_used;
mod words;

use serde_json::Value;

use crate::model::{Direction, Scale, ScoreInput, Scored};

/// Scores one output. Pure: the same input gives the same finding on every machine.
pub trait Scorer: Send + Sync {
    /// The finding, or why there is none. Never panics on foreign data.
    fn score(&self, input: &ScoreInput<'_>) -> Scored;

    /// Values it can give.
    fn scale(&self) -> Scale {
        Scale::Binary
    }

    /// Which way is better.
    fn direction(&self) -> Direction {
        Direction::Higher
    }
}

/// One row of the table of scorers.
pub struct ScorerInfo {
    /// Name in the configuration: `scorer = "NAME"`.
    pub name: &'static str,
    /// Version of its rule; a changed finding needs a changed version.
    pub version: &'static str,
    /// One sentence for help and the reference.
    pub summary: &'static str,
    /// A working set of options as TOML, one `key = value` per line; empty when it needs none.
    pub sample: &'static str,
    /// JSON Schema of the options, closed.
    pub schema: fn() -> Value,
    /// Builds it from options that fit the schema; says what else is wrong, naming the key.
    pub build: fn(&Value) -> Result<Box<dyn Scorer>, String>,
}

/// All scorers, sorted by name.
pub const SCORERS: &[ScorerInfo] = &[
    contains::CONTAINS,
    measure::COST,
    edit::EDIT_DISTANCE,
    exact::EXACT,
    failure_modes::FAILURE_MODES,
    length::FINISH_REASON,
    json::JSON_SCHEMA,
    subset::JSON_SUBSET,
    json::JSON_VALID,
    measure::LATENCY,
    length::LENGTH,
    number::NUMERIC,
    recorded::RECORDED_VALUE,
    refusal::REFUSAL,
    pattern::REGEX,
    words::ROUGE_L,
    words::TOKEN_F1,
    measure::TOKENS,
    tool_errors::TOOL_ERRORS,
    tool_sequence::TOOL_SEQUENCE,
    tool_used::TOOL_USED,
];

/// Looks a scorer up by name.
pub fn find(name: &str) -> Option<&'static ScorerInfo> {
    SCORERS.iter().find(|info| info.name == name)
}
