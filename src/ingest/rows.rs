//! Files that hold one object per row: JSON lines, documents or one array, CSV, Parquet; compressed or not.
//!
//! What a row means is the platform's file; here are only cutting, parsing and turning away what is broken.

use serde_json::Value;

use super::admit::Gate;
use super::error::IngestError;
use super::json::{parse, replace_half_characters};
use super::open::{Head, Opened};
use super::records::{Records, Step};
use super::table;

/// Reads one row; `line` is where it begins, where there are lines. Turns away what it cannot use by `Gate::reject`.
pub(super) type RowFn = fn(Value, Option<u64>, &mut Gate<'_>) -> Result<(), IngestError>;

/// The same for readers that carry something from row to row.
pub(super) type OnRow<'a> = dyn FnMut(Value, Option<u64>, &mut Gate<'_>) -> Result<(), IngestError> + 'a;

/// Gives every row of a file to `row`. A list as a record is that many rows. Cells of CSV files are text, but for
/// those that hold a JSON object or list; see `table`.
pub(super) fn each(opened: Opened, gate: &mut Gate<'_>, row: RowFn) -> Result<(), IngestError> {
    each_with(opened, gate, &mut |value, line, gate| row(value, line, gate))
}

/// [`each`] for a reader that carries something from row to row.
pub(super) fn each_with(opened: Opened, gate: &mut Gate<'_>, row: &mut OnRow<'_>) -> Result<(), IngestError> {
    if let Some(form) = table::form(&opened.head()) {
        return table::each(form, opened, gate, row);
    }
    let head = opened.head().bytes.to_vec();
    let head = Head { bytes: &head, whole: opened.head().whole };
    let mut records = Records::new(opened, head, gate.options.max_record_bytes);
    let mut buffer = Vec::new();
    loop {
        match records.next(&mut buffer) {
            Step::End => return Ok(()),
            Step::Bad(line, problem) => gate.reject(problem, Some(line), &buffer)?,
            Step::Record(line) => match value(&buffer, gate) {
                Ok(Value::Array(items)) => {
                    for item in items {
                        row(item, Some(line), gate)?;
                    }
                }
                Ok(value) => row(value, Some(line), gate)?,
                Err(problem) => gate.reject(problem, Some(line), &buffer)?,
            },
        }
    }
}

fn value(bytes: &[u8], gate: &mut Gate<'_>) -> Result<Value, super::error::Problem> {
    parse(bytes).or_else(|problem| match replace_half_characters(bytes) {
        (_, 0) => Err(problem),
        (whole, count) => {
            gate.ignore("halves of characters, replaced", count);
            parse(&whole)
        }
    })
}
