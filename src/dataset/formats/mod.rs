//! Dataset files of other tools: by what each is recognised, how it is cut into rows, and what a row means.
//!
//! Adding a format is one file and one row of [`FORMATS`]. Rows of no format keep their usual names; see `native`.

mod adk;
mod deepeval;
mod inspect;
mod inspect_log;
mod langfuse;
mod langsmith;
mod openai_evals;
mod promptfoo;
mod promptfoo_tests;
mod pydantic_evals;
mod ragas;
mod shape;
mod sketch;

use std::path::Path;

use serde_json::Value;

use super::error::{DatasetError, Place, RowError, did_you_mean};
use super::rows::{Limits, OnRow};
use crate::model::Example;
use crate::sys::text;

pub use inspect_log::{InspectLog, InspectSample, is_inspect_log, usage_of};
use sketch::Sketch;

/// A format that can be read.
#[derive(Clone, Copy)]
pub struct FormatInfo {
    /// Name, as given by a user who does not want it recognised.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// Says why the file is of this format; `None` when it is not.
    recognise: fn(&Sketch) -> Option<String>,
    /// Cuts the file into rows.
    open: fn(&Path, Limits, &mut OnRow<'_>) -> Result<(), DatasetError>,
    /// The examples in a row: usually one.
    examples: fn(Value, Place<'_>) -> Result<Vec<Example>, RowError>,
    /// Whether rows that share an id are trials in the order of the file.
    pub(super) number_trials: bool,
}

impl FormatInfo {
    /// Cuts the file into rows.
    pub(super) fn open(&self, path: &Path, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
        (self.open)(path, limits, on_row)
    }

    /// The examples in a row.
    pub(super) fn examples(&self, row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
        (self.examples)(row, place)
    }
}

/// All formats, the most specific first: the first that recognises a file reads it.
pub const FORMATS: &[FormatInfo] = &[
    inspect::FORMAT,
    promptfoo::FORMAT,
    promptfoo_tests::FORMAT,
    openai_evals::LOG,
    openai_evals::SAMPLES,
    adk::FORMAT,
    pydantic_evals::FORMAT,
    langsmith::FORMAT,
    langfuse::FORMAT,
    deepeval::FORMAT,
    ragas::FORMAT,
];

/// The name that asks for the usual names of fields, whatever the content looks like.
pub const USUAL_NAMES: &str = "rows";

/// The format of that name; `None` for [`USUAL_NAMES`].
///
/// # Errors
/// There is none; the error lists what there is.
pub fn find(name: &str) -> Result<Option<&'static FormatInfo>, DatasetError> {
    if name == USUAL_NAMES {
        return Ok(None);
    }
    let names = || FORMATS.iter().map(|format| format.name).chain([USUAL_NAMES]);
    let found = FORMATS.iter().find(|format| format.name == name);
    found.map(Some).ok_or_else(|| DatasetError::UnknownFormat {
        name: text::one_line(name, 80),
        hint: did_you_mean(name, names()),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

/// The format a file's content shows, and why; `None` when it shows none.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn recognise(path: &Path, limits: Limits) -> Result<Option<(&'static FormatInfo, String)>, DatasetError> {
    let Some(sketch) = Sketch::of_file(path, limits)? else { return Ok(None) };
    Ok(FORMATS.iter().find_map(|format| (format.recognise)(&sketch).map(|why| (format, why))))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
