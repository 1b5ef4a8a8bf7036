//! Files that hold one JSON value per row: lines, documents, or one array; compressed or not.
//!
//! What a row means is the platform's file; here are only cutting, parsing and turning away what is broken.

use serde_json::Value;

use super::admit::Gate;
use super::error::IngestError;
use super::json::{parse, replace_half_characters};
use super::open::Opened;
use super::parallel::each_record;

/// Reads one row; `line` is where it begins, where there are lines. Turns away what it cannot use by `Gate::reject`.
pub(super) type RowFn = fn(Value, Option<u64>, &mut Gate<'_>) -> Result<(), IngestError>;

/// Gives every row of a file to `row`. A list as a record is that many rows.
pub(super) fn each(opened: Opened, gate: &mut Gate<'_>, row: RowFn) -> Result<(), IngestError> {
    each_record(opened, gate, |bytes, line, gate| match value(bytes, gate) {
        Ok(Value::Array(items)) => items.into_iter().try_for_each(|item| row(item, line, gate)),
        Ok(value) => row(value, line, gate),
        Err(problem) => gate.reject(problem, line, bytes),
    })
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
