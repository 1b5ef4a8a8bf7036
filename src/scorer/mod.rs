//! Deterministic scorers: code that scores an output, with no network, no clock and no randomness.
//!
//! One file per family and one row per scorer in [`SCORERS`]; help text, configuration reference, checks and tests
//! all walk that table. A scorer that cannot say (no reference, no trace) is *not applicable*, never 0.

mod aligned;
mod arguments;
mod calls;
mod contains;
mod edit;
mod exact;
mod failure_modes;
mod feedback;
mod handoffs;
mod json;
mod json_diff;
mod json_text;
mod language;
mod length;
mod markdown;
mod markup;
mod material;
mod maths;
mod measure;
mod ngrams;
mod number;
mod on_spans;
mod options;
mod path;
mod pattern;
mod readability;
mod recorded;
mod refusal;
mod retrieval;
mod script;
mod set;
mod sql;
mod subset;
#[cfg(test)]
mod tests;
mod tool_errors;
mod tool_sequence;
mod tool_used;
mod words;

use serde_json::Value;

pub use on_spans::{Chosen, OnSpans, choose, combine, combined};

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

    /// Names and versions of scorers inside it: a changed rule of one of them is a changed rule of this one.
    fn inside(&self) -> Vec<String> {
        Vec::new()
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
    ngrams::BLEU,
    ngrams::CHRF,
    retrieval::CITATIONS,
    contains::CONTAINS,
    measure::COST,
    edit::EDIT_DISTANCE,
    exact::EXACT,
    failure_modes::FAILURE_MODES,
    feedback::FEEDBACK,
    length::FINISH_REASON,
    handoffs::HANDOFFS,
    markup::HTML,
    edit::JARO_WINKLER,
    json_diff::JSON_DIFF,
    json_diff::JSON_PATH,
    json::JSON_SCHEMA,
    subset::JSON_SUBSET,
    json::JSON_VALID,
    language::LANGUAGE,
    measure::LATENCY,
    length::LENGTH,
    markdown::MARKDOWN,
    maths::MATHS,
    number::NUMERIC,
    readability::READABILITY,
    recorded::RECORDED_VALUE,
    refusal::REFUSAL,
    pattern::REGEX,
    retrieval::RETRIEVAL,
    words::ROUGE_1,
    words::ROUGE_2,
    words::ROUGE_L,
    script::SCRIPT,
    set::SET,
    sql::SQL,
    measure::STEPS,
    words::TOKEN_F1,
    measure::TOKENS,
    tool_errors::TOOL_ERRORS,
    tool_sequence::TOOL_SEQUENCE,
    tool_used::TOOL_USED,
    markup::XML,
    markup::YAML,
];

/// Looks a scorer up by name.
pub fn find(name: &str) -> Option<&'static ScorerInfo> {
    SCORERS.iter().find(|info| info.name == name)
}
