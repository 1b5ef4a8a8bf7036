//! Files to rows: JSONL, JSON, CSV (each also compressed) and Parquet, one callback per row.
//!
//! A row that cannot be read is handed over as an error with its line and the next one follows. What the fields
//! mean is not known here.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::{DatasetError, Place, RowError, shown};
use super::parquet;
use crate::sys::files;

/// How a file of rows is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object per line.
    Jsonl,
    /// A JSON array of objects, or an object that holds one.
    Json,
    /// Comma-separated with a head line; tab-separated when the name says `.tsv`.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl FileFormat {
    /// The format a file's name says, `.gz` and `.zst` set aside; `None` when it says none.
    pub fn of_name(path: &Path) -> Option<Self> {
        match ending(path).as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "json" => Some(Self::Json),
            "csv" | "tsv" => Some(Self::Csv),
            "parquet" | "pq" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// The word used in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "JSONL",
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
        }
    }
}

/// Last ending of a name in lower case, compression set aside.
fn ending(path: &Path) -> String {
    let lower = |text: Option<&std::ffi::OsStr>| text.and_then(|t| t.to_str()).unwrap_or_default().to_lowercase();
    let last = lower(path.extension());
    if last == "gz" || last == "zst" {
        return lower(path.file_stem().map(Path::new).and_then(Path::extension));
    }
    last
}

/// Bounds on what is taken into memory, after decompression.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one row; a longer one is rejected and skipped.
    pub row_bytes: usize,
    /// Bytes of a file that can only be read whole (JSON, Parquet); a longer one is refused.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { row_bytes: 64 << 20, file_bytes: 2 << 30 }
    }
}

/// One row that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// One-based line where it begins, or its number where the format has no lines.
    pub line: u64,
    /// Its fields: always an object.
    pub fields: Value,
    /// Whether all values are text because the format knows nothing else (CSV).
    pub untyped: bool,
}

/// Takes rows and row errors in the order of the file; its own error stops the reading.
pub type OnRow<'a> = dyn FnMut(Result<Row, RowError>) -> Result<(), DatasetError> + 'a;

/// Reads a file and hands over every row.
///
/// # Errors
/// The file cannot be opened, decompressed or is not of its format as a whole.
pub fn read_rows(
    path: &Path,
    format: Option<FileFormat>,
    pointer: Option<&str>,
    limits: Limits,
    on_row: &mut OnRow<'_>,
) -> Result<(), DatasetError> {
    let format = format.or_else(|| FileFormat::of_name(path)).ok_or_else(|| DatasetError::Format {
        file: path.to_owned(),
        format: "a dataset",
        cause: "its name ends in none of `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, `.parquet` (with or without \
                `.gz` or `.zst`), and its content is of no format of another tool; rename it or name the format"
            .to_owned(),
    })?;
    match format {
        FileFormat::Jsonl => read_lines(path, files::open(path)?, limits, on_row),
        FileFormat::Json => read_json(path, pointer, limits, on_row),
        FileFormat::Csv => read_csv(path, limits, on_row),
        FileFormat::Parquet => parquet::read(path, &read_whole(path, limits, format)?, on_row),
    }
}

fn format_error(path: &Path, format: FileFormat, cause: impl Into<String>) -> DatasetError {
    DatasetError::Format { file: path.to_owned(), format: format.as_str(), cause: cause.into() }
}

fn read_error(path: &Path, cause: std::io::Error) -> DatasetError {
    files::FileError::new("read", path, cause).into()
}

/// Reads a file whole, within the limit.
pub(super) fn read_whole(path: &Path, limits: Limits, format: FileFormat) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    let mut reader = files::open(path)?.take(limits.file_bytes.saturating_add(1));
    reader.read_to_end(&mut bytes).map_err(|cause| read_error(path, cause))?;
    if bytes.len() as u64 > limits.file_bytes {
        let cause = format!(
            "it is longer than {} bytes and this format must be read whole; write it as JSONL",
            limits.file_bytes
        );
        return Err(format_error(path, format, cause));
    }
    Ok(bytes)
}

fn read_lines(
    path: &Path,
    mut reader: impl BufRead,
    limits: Limits,
    on_row: &mut OnRow<'_>,
) -> Result<(), DatasetError> {
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        let Some(whole) = next_line(&mut reader, &mut bytes, limits.row_bytes).map_err(|c| read_error(path, c))? else {
            return Ok(());
        };
        line += 1;
        let place = Place { file: path, line };
        if line == 1 {
            strip_mark(&mut bytes);
        }
        if !whole {
            let expected = format!("at most {} bytes", limits.row_bytes);
            on_row(Err(RowError::new(place, "", "a longer line", expected)))?;
        } else if !bytes.iter().all(u8::is_ascii_whitespace) {
            on_row(object_of(&bytes, place).map(|fields| Row { line, fields, untyped: false }))?;
        }
    }
}

/// Reads up to a line break into `line`, keeping at most `limit` bytes. `None` at the end of the file, else whether
/// the line was kept whole.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>, limit: usize) -> std::io::Result<Option<bool>> {
    let (mut any, mut whole) = (false, true);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        whole = whole && line.len() + part.len() <= limit;
        if whole {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(whole));
        }
    }
}

/// Drops the byte order mark that some editors put before the first line.
fn strip_mark(bytes: &mut Vec<u8>) {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
}

/// One line of JSON as an object.
pub(super) fn object_of(bytes: &[u8], place: Place<'_>) -> Result<Value, RowError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        RowError::new(place, "", &format!("bytes that are not UTF-8 at byte {}", error.valid_up_to() + 1), "UTF-8 text")
    })?;
    match serde_json::from_str(text) {
        Ok(fields @ Value::Object(_)) => Ok(fields),
        Ok(other) => Err(RowError::new(place, "", &shown(&other), "a JSON object")),
        Err(error) => {
            let cause = without_line(&error);
            let start: String = text.trim_start().chars().take(40).collect();
            Err(RowError::new(place, "", &format!("`{start}` ({cause})"), "one JSON object on the line"))
        }
    }
}

/// The parser's word with the column only: its line is always 1 here, ours is the file's.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((cause, _)) => format!("{cause} at column {}", error.column()),
        None => text,
    }
}

fn read_json(path: &Path, pointer: Option<&str>, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    let mut bytes = read_whole(path, limits, FileFormat::Json)?;
    strip_mark(&mut bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let root: Value = match serde_json::from_slice(&bytes) {
        Ok(root) => root,
        Err(error) => {
            // Many files of JSON lines are named `.json`.
            let first = bytes.split(|byte| *byte == b'\n').find(|line| !line.iter().all(u8::is_ascii_whitespace));
            if first.is_some_and(|line| serde_json::from_slice::<Map<String, Value>>(line).is_ok()) {
                return read_lines(path, bytes.as_slice(), limits, on_row);
            }
            return Err(format_error(path, FileFormat::Json, error.to_string()));
        }
    };
    drop(bytes);
    for (index, item) in rows_of(path, pointer, root)?.into_iter().enumerate() {
        let line = index as u64 + 1;
        on_row(match item {
            fields @ Value::Object(_) => Ok(Row { line, fields, untyped: false }),
            other => Err(RowError::new(Place { file: path, line }, "", &shown(&other), "a JSON object")),
        })?;
    }
    Ok(())
}

/// The list of rows in a JSON document: at the pointer, at the root, or the only list of objects one level below. An
/// object at the pointer is one row.
fn rows_of(path: &Path, pointer: Option<&str>, mut root: Value) -> Result<Vec<Value>, DatasetError> {
    let fail = |cause: String| Err(format_error(path, FileFormat::Json, cause));
    if let Some(pointer) = pointer {
        return match root.pointer_mut(pointer).map(Value::take) {
            Some(Value::Array(rows)) => Ok(rows),
            Some(row @ Value::Object(_)) => Ok(vec![row]),
            Some(other) => fail(format!("at `{pointer}` there is {}; expected a list of objects", shown(&other))),
            None => fail(format!("there is nothing at `{pointer}`; the root is {}", shown(&root))),
        };
    }
    match root {
        Value::Array(rows) => Ok(rows),
        Value::Object(map) => {
            let is_rows = |value: &Value| value.as_array().is_some_and(|list| list.iter().any(Value::is_object));
            let lists: Vec<&String> = map.iter().filter(|(_, value)| is_rows(value)).map(|(key, _)| key).collect();
            match lists.as_slice() {
                [] => fail("the root is an object without a list of objects; name the list with `rows`".to_owned()),
                [_] => Ok(map
                    .into_iter()
                    .find(|(_, v)| is_rows(v))
                    .and_then(|(_, v)| match v {
                        Value::Array(rows) => Some(rows),
                        _ => None,
                    })
                    .unwrap_or_default()),
                several => {
                    let names: Vec<String> = several.iter().map(|name| format!("`/{name}`")).collect();
                    fail(format!("several lists could be the rows: {}; choose one with `rows`", names.join(", ")))
                }
            }
        }
        other => fail(format!("the root is {}; expected a list of objects", shown(&other))),
    }
}

fn read_csv(path: &Path, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    let delimiter = if ending(path) == "tsv" { b'\t' } else { b',' };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(files::open(path)?);
    let head = csv_head(path, &mut reader)?;
    let mut record = csv::StringRecord::new();
    loop {
        let before = reader.position().line();
        let row = match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let line = record.position().map_or(before, csv::Position::line);
                if record.as_slice().len() > limits.row_bytes {
                    let expected = format!("at most {} bytes", limits.row_bytes);
                    Err(RowError::new(Place { file: path, line }, "", "a longer row", expected))
                } else {
                    let fields = head.iter().zip(&record).map(|(n, v)| (n.clone(), Value::String(v.to_owned())));
                    Ok(Row { line, fields: Value::Object(fields.collect()), untyped: true })
                }
            }
            Err(error) => Err(csv_error(path, before, &head, error)?),
        };
        on_row(row)?;
    }
}

fn csv_head(path: &Path, reader: &mut csv::Reader<impl Read>) -> Result<Vec<String>, DatasetError> {
    let fail = |cause: String| format_error(path, FileFormat::Csv, cause);
    let head = match reader.headers() {
        Ok(head) => head,
        Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
            return Err(fail("its head line is not UTF-8; save the file as UTF-8".to_owned()));
        }
        Err(error) => return Err(fail(error.to_string())),
    };
    let mut names: Vec<String> = Vec::with_capacity(head.len());
    for (index, name) in head.iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}').trim();
        let name = if name.is_empty() { format!("column {}", index + 1) } else { name.to_owned() };
        if names.contains(&name) {
            return Err(fail(format!("column `{name}` occurs twice in the head line; rename one")));
        }
        names.push(name);
    }
    Ok(names)
}

/// A bad record as a row error; anything else stops the file.
fn csv_error(path: &Path, before: u64, head: &[String], error: csv::Error) -> Result<RowError, DatasetError> {
    let file: PathBuf = path.to_owned();
    let line = error.position().map_or(before, csv::Position::line);
    let place = Place { file: &file, line };
    match error.into_kind() {
        csv::ErrorKind::UnequalLengths { len, .. } => {
            let expected = format!("{} as in the head line (a comma or quote may be missing)", head.len());
            Ok(RowError::new(place, "", &format!("{len} columns"), expected))
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            let field = head.get(err.field()).map_or("", String::as_str);
            Ok(RowError::new(place, field, "bytes that are not UTF-8", "UTF-8 text"))
        }
        csv::ErrorKind::Io(cause) => Err(read_error(path, cause)),
        other => Err(format_error(path, FileFormat::Csv, format!("{other:?}"))),
    }
}
