//! Datasets in the forms other tools read: the table of exports, one file per form.
//!
//! Each says what it cannot carry. Import is the other way round and stands in `import`.

mod flat;
mod foreign;
mod langfuse;
mod langsmith;
mod native;
mod openai_evals;
mod promptfoo;

use super::error::DatasetError;
use crate::model::{DatasetHeader, Example};

/// What is exported.
pub struct Exported<'a> {
    /// Head of the version or its part.
    pub header: &'a DatasetHeader,
    /// Its examples.
    pub examples: &'a [Example],
}

/// One row of the table of exports.
pub struct ExportInfo {
    /// Name, as `--format` takes it.
    pub name: &'static str,
    /// One sentence for help.
    pub summary: &'static str,
    /// What it cannot carry; empty when an import gives the same dataset back.
    pub leaves_out: &'static str,
    /// Usual ending of its files.
    pub extension: &'static str,
    /// Whether attachments are copied beside the file.
    pub attachments: bool,
    /// The bytes of the file.
    pub render: fn(&Exported<'_>) -> Result<Vec<u8>, DatasetError>,
}

/// All exports, our own first.
pub const EXPORTS: &[ExportInfo] = &[
    native::JSONL,
    flat::CSV,
    flat::PARQUET,
    promptfoo::PROMPTFOO,
    openai_evals::OPENAI_EVALS,
    langfuse::LANGFUSE,
    langsmith::LANGSMITH,
];

/// Looks an export up by name.
pub fn find(name: &str) -> Option<&'static ExportInfo> {
    EXPORTS.iter().find(|info| info.name == name)
}

#[cfg(test)]
mod tests;
