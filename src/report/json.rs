//! The findings as JSON: the view itself under a named, versioned schema.
//!
//! Holds every row; opened examples (outputs, traces) are not part of it, they are in the store.

use jiff::Timestamp;
use serde::Serialize;

use super::{Material, ReportError, Subject};

/// The envelope: `$schema` and `made_at`, then the fields of `RunView` or `Comparison`.
#[derive(Serialize)]
struct Document<'a, T> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    made_at: Timestamp,
    #[serde(flatten)]
    view: &'a T,
}

/// Name of the schema of a run's document.
const RUN_SCHEMA: &str = "assize-run-v1.schema.json";
/// Name of the schema of a comparison's document.
const COMPARISON_SCHEMA: &str = "assize-comparison-v1.schema.json";

/// Renders pretty-printed JSON with a line break at its end.
pub(super) fn render(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    let made_at = material.made_at;
    let written = match material.subject {
        Subject::Run(view) => serde_json::to_vec_pretty(&Document { schema: RUN_SCHEMA, made_at, view }),
        Subject::Comparison(view) => serde_json::to_vec_pretty(&Document { schema: COMPARISON_SCHEMA, made_at, view }),
    };
    let mut bytes = written.map_err(|error| ReportError { form: "json", cause: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}
