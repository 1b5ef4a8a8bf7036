//! Sheets for people: CSV that spreadsheets open without running anything in it, and JSON lines.
//!
//! A cell that a spreadsheet would take for a formula gets an apostrophe in front, and loses it when the sheet comes
//! back.

use std::path::Path;

use serde_json::Value;

use super::queue::QueueRow;
use crate::dataset::error::{DatasetError, RowError};
use crate::dataset::rows::{Limits, Row, read_rows};

/// Whether a spreadsheet would take a text for a formula: it begins with `=`, `+`, `-`, `@`, a tab or a line break.
/// A plain number is none.
pub fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) && text.parse::<f64>().is_err()
}

/// The text as it may stand in a cell: with an apostrophe in front where a spreadsheet would run it.
pub fn guarded(text: &str) -> String {
    // A text that looks guarded already gets a second mark, so that the first is its own when it comes back.
    let looks_guarded = text.strip_prefix('\'').is_some_and(|rest| is_formula(rest) || rest.starts_with('\''));
    if is_formula(text) || looks_guarded { format!("'{text}") } else { text.to_owned() }
}

fn unguarded(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if is_formula(rest) || rest.starts_with('\'') => rest,
        _ => text,
    }
}

/// Columns of a sheet, in order; those of a blind one first.
const BLIND: &[&str] = &["key", "name", "question", "allowed", "input", "output", "value", "reason", "annotator"];
const OPEN: &[&str] = &[
    "key",
    "name",
    "question",
    "allowed",
    "example",
    "variant",
    "trial",
    "input",
    "output",
    "reference",
    "labels",
    "value",
    "reason",
    "annotator",
];

fn columns(rows: &[QueueRow]) -> &'static [&'static str] {
    if rows.iter().all(|row| row.example.is_none()) { BLIND } else { OPEN }
}

/// The sheet as CSV.
///
/// # Errors
/// None that is met in practice: writing to memory.
pub fn write_csv(rows: &[QueueRow]) -> Result<Vec<u8>, DatasetError> {
    let fail = |cause: String| DatasetError::Format { file: "queue.csv".into(), format: "CSV", cause };
    let columns = columns(rows);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns).map_err(|error| fail(error.to_string()))?;
    for row in rows {
        let cells = columns.iter().map(|column| guarded(&row.cell(column)));
        writer.write_record(cells).map_err(|error| fail(error.to_string()))?;
    }
    writer.into_inner().map_err(|error| fail(error.to_string()))
}

/// The sheet as JSON lines; nothing is guarded, since nothing runs it.
pub fn write_jsonl(rows: &[QueueRow]) -> Vec<u8> {
    let columns = columns(rows);
    let mut bytes = Vec::new();
    for row in rows {
        let object: serde_json::Map<String, Value> =
            columns.iter().map(|column| ((*column).to_owned(), Value::String(row.cell(column)))).collect();
        bytes.extend_from_slice(Value::Object(object).to_string().as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// Reads a sheet, CSV or JSON lines by its name; guards of CSV cells are taken off.
///
/// # Errors
/// The file cannot be read as a whole. A bad row is handed over as its error.
pub fn read_sheet(path: &Path, mut take: impl FnMut(Result<Row, RowError>)) -> Result<(), DatasetError> {
    let mut any = false;
    read_rows(path, None, None, Limits::default(), &mut |row| {
        any = true;
        take(row.map(|mut row| {
            if let (true, Some(map)) = (row.untyped, row.fields.as_object_mut()) {
                for value in map.values_mut() {
                    if let Value::String(text) = value {
                        *text = unguarded(text).to_owned();
                    }
                }
            }
            row
        }));
        Ok(())
    })?;
    if any { Ok(()) } else { Err(DatasetError::Empty { file: path.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_are_guarded_and_numbers_are_not() {
        for text in ["=1+1", "+cmd", "-x", "@SUM(A1)", "\t=1", "'=1", "''"] {
            assert!(guarded(text).starts_with('\''), "{text}");
        }
        for text in ["-1.5", "+3", "plain", "it's", "'tis"] {
            assert_eq!(guarded(text), text);
        }
    }

    proptest! {
        #[test]
        fn guards_come_off_as_they_went_on(text in "['=+@\\-a1\\t]{0,6}") {
            prop_assert!(!is_formula(&guarded(&text)));
            let guarded = guarded(&text);
            prop_assert_eq!(unguarded(&guarded), text);
        }
    }
}
