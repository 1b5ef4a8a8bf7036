//! Files that hold one object per row: JSON lines, documents or one array, CSV, Parquet; compressed or not.
//!
//! What a row means is the platform's file; here are only cutting, parsing and turning away what is broken.

use serde_json::Value;

use super::admit::{Gate, HALVES};
use super::error::{IngestError, Problem};
use super::json::{parse, replace_half_characters};
use super::open::{Head, Opened};
use super::parallel::each_record;
use super::records::{Records, Step};
use super::table;

/// Reads one row; `line` is where it begins, where there are lines. Turns away what it cannot use by `Gate::reject`.
pub(super) type RowFn = fn(Value, Option<u64>, &mut Gate<'_>) -> Result<(), IngestError>;

/// The same for readers that carry something from row to row.
pub(super) type OnRow<'a> = dyn FnMut(Value, Option<u64>, &mut Gate<'_>) -> Result<(), IngestError> + 'a;

/// Gives every row of a file to `row`, on several threads. A list as a record is that many rows.
/// Cells of CSV files are text, but for those that hold a JSON object or list; see `table`.
pub(super) fn each(opened: Opened, gate: &mut Gate<'_>, row: RowFn) -> Result<(), IngestError> {
    each_in(opened, gate, &[], row)
}

/// As [`each`], where a record may also be an answer of the platform's interface, saved whole: the rows are then the
/// list under one of `lists`.
pub(super) fn each_in(opened: Opened, gate: &mut Gate<'_>, lists: &[&str], row: RowFn) -> Result<(), IngestError> {
    if let Some(form) = table::form(&opened.head()) {
        return table::each(form, opened, gate, &mut |value, line, gate| row(value, line, gate));
    }
    each_record(opened, gate, |bytes, line, gate| match value(bytes, gate) {
        Ok(value) => rows_of(value, lists).into_iter().try_for_each(|value| row(value, line, gate)),
        Err(problem) => gate.reject(problem, line, bytes),
    })
}

/// As [`each_in`], one row after the other, for readers that carry something from row to row.
pub(super) fn each_with(
    opened: Opened,
    gate: &mut Gate<'_>,
    lists: &[&str],
    row: &mut OnRow<'_>,
) -> Result<(), IngestError> {
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
                Ok(value) => {
                    rows_of(value, lists).into_iter().try_for_each(|value| row(value, Some(line), gate))?;
                }
                Err(problem) => gate.reject(problem, Some(line), &buffer)?,
            },
        }
    }
}

fn rows_of(mut value: Value, lists: &[&str]) -> Vec<Value> {
    let inside = value.as_object_mut().and_then(|map| {
        let key = lists.iter().find(|key| map.get(**key).is_some_and(Value::is_array))?;
        map.remove(*key)
    });
    match inside.unwrap_or(value) {
        Value::Array(rows) => rows,
        row => vec![row],
    }
}

fn value(bytes: &[u8], gate: &mut Gate<'_>) -> Result<Value, Problem> {
    parse(bytes).or_else(|problem| match replace_half_characters(bytes) {
        (_, 0) => Err(problem),
        (whole, count) => {
            gate.ignore(HALVES, count);
            parse(&whole)
        }
    })
}
