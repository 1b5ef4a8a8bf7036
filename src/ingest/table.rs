//! Tables as rows of objects: CSV with a head line, and Parquet. What a row means is the platform's file.
//!
//! A cell of a CSV file that holds a JSON object or list is parsed, since exports put nested fields there; every
//! other cell stays text, and an empty one is left out.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::dataset::{Place, Table, parquet_columns};

use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::json::container;
use super::open::{Head, Opened};
use super::rows::OnRow;

/// The first and last bytes of a Parquet file.
pub(super) const PARQUET: &[u8] = b"PAR1";

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// Values between delimiters.
    Delimited(u8),
    /// Apache Parquet.
    Parquet,
}

/// The form of a table; `None` when the bytes begin as JSON, or as no table.
pub(super) fn form(head: &Head<'_>) -> Option<Form> {
    if head.bytes.starts_with(PARQUET) {
        return Some(Form::Parquet);
    }
    let bytes = head.trimmed();
    // A line torn by log rotation is followed by lines that are whole JSON.
    let json = |line: &[u8]| line.trim_ascii_start().starts_with(b"{") && line.trim_ascii_end().ends_with(b"}");
    if matches!(bytes.first(), None | Some(b'{' | b'[' | 0..=8)) || bytes.split(|b| *b == b'\n').skip(1).any(json) {
        return None;
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delimiter = [b'\t', b','].into_iter().find(|delimiter| line.contains(delimiter))?;
    std::str::from_utf8(line).ok().map(|_| Form::Delimited(delimiter))
}

/// Names of the columns of a table, as far as its beginning says; empty for anything else.
pub(super) fn columns(head: &Head<'_>) -> Vec<String> {
    match form(head) {
        None => Vec::new(),
        Some(Form::Parquet) => parquet_columns(head.bytes),
        Some(Form::Delimited(delimiter)) => {
            let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(head.trimmed());
            reader.headers().map(|names| names.iter().map(|name| name.trim().to_owned()).collect()).unwrap_or_default()
        }
    }
}

/// Gives every row of a table to `row`.
pub(super) fn each(form: Form, opened: Opened, gate: &mut Gate<'_>, row: &mut OnRow<'_>) -> Result<(), IngestError> {
    match form {
        Form::Parquet => parquet(opened, gate, row),
        Form::Delimited(delimiter) => delimited(delimiter, opened, gate, row),
    }
}

fn parquet(mut opened: Opened, gate: &mut Gate<'_>, row: &mut OnRow<'_>) -> Result<(), IngestError> {
    let file = opened.file.clone();
    let mut bytes = Vec::new();
    let unreadable = |cause: String| IngestError::Unreadable { file: file.clone(), form: "Parquet", cause };
    opened.read_to_end(&mut bytes).map_err(|error| unreadable(format!("it breaks off: {error}")))?;
    // What it holds stands at its end: of half a file nothing can be read.
    let table = Table::open(&bytes).map_err(unreadable)?;
    drop(bytes);
    for index in 0..table.height() {
        let line = index as u64 + 1;
        match table.row(index, Place { file: Path::new(&file), line }) {
            Ok(value) => row(value, Some(line), gate)?,
            Err(error) => {
                gate.reject(Problem::new(format!("`{}`", error.field), error.found, error.expected), Some(line), &[])?;
            }
        }
    }
    Ok(())
}

fn delimited(delimiter: u8, opened: Opened, gate: &mut Gate<'_>, row: &mut OnRow<'_>) -> Result<(), IngestError> {
    let limit = gate.options.max_record_bytes;
    let read = Rc::new(Cell::new(0));
    let bounded = Bounded { inner: opened, read: Rc::clone(&read), limit };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(bounded);
    let names: Vec<String> = match reader.headers() {
        Ok(head) => head.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect(),
        Err(error) => return gate.reject(problem_of(&error, 0), Some(1), &[]),
    };
    let mut record = csv::StringRecord::new();
    loop {
        read.set(0);
        let before = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let line = record.position().map_or(before, csv::Position::line);
                row(object_of(&names, &record), Some(line), gate)?;
            }
            Err(error) => {
                let line = error.position().map_or(before, csv::Position::line);
                let ends = matches!(error.kind(), csv::ErrorKind::Io(_));
                gate.reject(problem_of(&error, names.len()), Some(line), record.as_slice().as_bytes())?;
                if ends {
                    return Ok(());
                }
            }
        }
    }
}

fn object_of(names: &[String], record: &csv::StringRecord) -> Value {
    let cells = names.iter().zip(record).filter(|(_, cell)| !cell.is_empty());
    let value = |cell: &str| container(cell).unwrap_or_else(|| Value::String(cell.to_owned()));
    Value::Object(cells.map(|(name, cell)| (name.clone(), value(cell))).collect::<Map<_, _>>())
}

fn problem_of(error: &csv::Error, columns: usize) -> Problem {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { len, .. } => {
            let expected = format!("{columns} as in the head line (a comma or quote may be missing)");
            Problem::new("row", format!("{len} columns"), expected)
        }
        csv::ErrorKind::Utf8 { .. } => Problem::new("row", "not UTF-8", "UTF-8 text; save the file as UTF-8"),
        csv::ErrorKind::Io(cause) => {
            Problem::new("stream", format!("cut off ({cause})"), "a complete file; rows before this place were read")
        }
        _ => Problem::new("row", error.to_string(), "a row of a CSV file"),
    }
}

/// A reader that gives up within a row that is too long, such as one whose quote is never closed: the parser would
/// take it into memory whole.
struct Bounded<R> {
    inner: R,
    read: Rc<Cell<usize>>,
    limit: usize,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.get() > self.limit {
            let cause = format!("a row of more than {} bytes; a quote may not be closed", self.limit);
            return Err(io::Error::other(cause));
        }
        let count = self.inner.read(buffer)?;
        self.read.set(self.read.get() + count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(bytes: &[u8]) -> Head<'_> {
        Head { bytes, whole: true }
    }

    #[test]
    fn tables_are_told_from_json() {
        assert_eq!(form(&head(b"id,name\n1,x")), Some(Form::Delimited(b',')));
        assert_eq!(form(&head(b"\xef\xbb\xbf\"id\"\t\"name\"\n")), Some(Form::Delimited(b'\t')));
        assert_eq!(form(&head(b"PAR1....")), Some(Form::Parquet));
        for json in
            [&b"{\"a\":1,\"b\":2}"[..], b"[1,2]", b"\"torn\": 1, \"b\"}\n{\"a\":1,\"b\":2}\n", b"", b"\x0a\x01,"]
        {
            assert_eq!(form(&head(json)), None, "{}", String::from_utf8_lossy(json));
        }
        assert_eq!(columns(&head(b"\xef\xbb\xbfid, \"na,me\"\n1,2")), ["id", "\"na", "me\""]);
        assert_eq!(columns(&head(b"id,\"na,me\"\n1,2")), ["id", "na,me"]);
        assert!(columns(&head(b"{\"a\":1}")).is_empty());
    }

    #[test]
    fn a_parquet_file_longer_than_the_head_says_its_columns() {
        let texts: Vec<String> =
            (0..20_000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        let mut frame = polars::df!("observation_id" => texts.clone(), "input" => texts).unwrap();
        let mut bytes = Vec::new();
        polars::prelude::ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        assert!(bytes.len() > 100_000);
        let opened = Opened::stream("x.parquet", Box::new(io::Cursor::new(bytes)));
        assert_eq!(opened.head().columns(), ["observation_id", "input"]);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_form_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = columns(&head(&bytes));
            let mut parquet = PARQUET.to_vec();
            parquet.extend(&bytes);
            parquet.extend(PARQUET);
            prop_assert!(columns(&head(&parquet)).len() < 1000);
        }
    }
}
