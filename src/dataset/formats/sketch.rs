//! What a file looks like without its mass: its first document with every list cut to its first element.
//!
//! Formats are recognised by it. Reads a file of any length in little memory; knows no format.

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::super::error::DatasetError;
use super::super::rows::{FileFormat, Limits};
use super::shape;
use crate::sys::{archive, files};

/// Levels of nesting that are kept.
const DEPTH: usize = 8;
/// Fields of one object that are kept.
const FIELDS: usize = 200;
/// Characters of one text that are kept.
const CHARS: usize = 80;

/// Names under which rows are wrapped in an object.
const WRAPPERS: &[&str] = &["data", "examples", "items", "rows", "goldens", "test_cases"];

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One document, or one per line.
    Json,
    /// Rows with columns: CSV or Parquet. The sketch is an object of the columns.
    Table,
    /// A YAML document.
    Yaml,
    /// A zip archive. The sketch is an object of the entries' names.
    Archive,
}

/// A file without its mass.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sketch {
    pub(super) form: Form,
    pub(super) value: Value,
}

impl Sketch {
    /// Looks at a file; `None` when it has no structure to be recognised by.
    ///
    /// # Errors
    /// The file cannot be opened, or is a broken archive or YAML document.
    pub(super) fn of_file(path: &Path, limits: Limits) -> Result<Option<Self>, DatasetError> {
        let mut reader = files::open(path)?;
        let head = reader.fill_buf().unwrap_or_default();
        if head.starts_with(archive::MAGIC) {
            let archive = archive::Archive::open(&mut reader, limits.row_bytes as u64);
            let names = archive.map(|archive| archive.names()).map_err(|error| DatasetError::Format {
                file: path.to_owned(),
                format: "a zip archive",
                cause: error.to_string(),
            })?;
            let fields = names.into_iter().map(|name| (name, Value::Null));
            return Ok(Some(Self { form: Form::Archive, value: Value::Object(fields.collect()) }));
        }
        let first = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().first().copied();
        let named = FileFormat::of_name(path);
        let yaml = shape::is_yaml(path);
        let json = matches!(first, Some(b'{' | b'[')) && !matches!(named, Some(FileFormat::Csv | FileFormat::Parquet));
        if json && !yaml {
            let skipped = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            reader.consume(skipped);
            let value = of_json(reader.take(limits.file_bytes));
            let value = value.map(|value| if named == Some(FileFormat::Jsonl) { value } else { unwrapped(value) });
            return Ok(value.map(|value| Self { form: Form::Json, value }));
        }
        let (form, value) = match named {
            _ if yaml => (Form::Yaml, Some(pruned(&shape::document(path, limits)?))),
            Some(FileFormat::Parquet) => (Form::Table, Some(shape::columns(path, limits)?)),
            Some(FileFormat::Csv) => (Form::Table, shape::first_row(path, limits)),
            _ => return Ok(None),
        };
        Ok(value.map(|value| Self { form, value }))
    }

    /// The first row: the first element where the document is a list, else the document.
    pub(super) fn row(&self) -> &Value {
        match &self.value {
            Value::Array(items) => items.first().unwrap_or(&Value::Null),
            other => other,
        }
    }

    /// Whether the first row has all of these fields.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.row().get(*name).is_some())
    }

    /// The first of these fields that the first row has.
    pub(super) fn any<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        names.iter().find(|name| self.row().get(**name).is_some()).copied()
    }
}

fn of_json(reader: impl Read) -> Option<Value> {
    let first = RefCell::new(None);
    let mut json = serde_json::Deserializer::from_reader(reader);
    let whole = Pruned { depth: DEPTH, first: Some(&first) }.deserialize(&mut json);
    // A list at the root is left after its first element, which the parser takes for an error.
    first.take().or_else(|| whole.ok())
}

/// The list of rows that an interface or an export wraps in an object.
fn unwrapped(mut value: Value) -> Value {
    let is_rows = |list: &Value| list.pointer("/0").is_some_and(Value::is_object);
    let name = WRAPPERS.iter().find(|name| value.get(**name).is_some_and(is_rows));
    match name.and_then(|name| value.get_mut(*name)) {
        Some(rows) => rows.take(),
        None => value,
    }
}

fn pruned(value: &Value) -> Value {
    Pruned { depth: DEPTH, first: None }.deserialize(value).unwrap_or_default()
}

#[derive(Clone, Copy)]
struct Pruned<'a> {
    depth: usize,
    /// Takes the sketch of a list at the root as soon as it is known.
    first: Option<&'a RefCell<Option<Value>>>,
}

impl Pruned<'_> {
    fn below(self) -> Self {
        Self { depth: self.depth.saturating_sub(1), first: None }
    }
}

impl<'de> DeserializeSeed<'de> for Pruned<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth == 0 {
            return IgnoredAny::deserialize(deserializer).map(|_| Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pruned<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.chars().take(CHARS).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let first: Vec<Value> = items.next_element_seed(self.below())?.into_iter().collect();
        if let Some(place) = self.first {
            place.replace(Some(Value::Array(first)));
            return Err(A::Error::custom("the first element is enough"));
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(first))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if map.len() < FIELDS {
                map.insert(name, entries.next_value_seed(self.below())?);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn sketch(text: &str) -> Option<Value> {
        of_json(text.as_bytes())
    }

    #[test]
    fn lists_are_cut_to_their_first_element() {
        assert_eq!(sketch(r#"{"a": [{"b": [1, 2]}, 3], "c": null}"#), Some(json!({"a": [{"b": [1]}], "c": null})));
        assert_eq!(sketch(r#"[{"a": 1}, this is never read"#), Some(json!([{"a": 1}])));
        assert_eq!(sketch("{\"a\": 1}\n{\"b\": 2}"), Some(json!({"a": 1})));
        assert_eq!(sketch("[]"), Some(json!([])));
        assert_eq!(sketch(r#"{"a": "#), None);
    }

    #[test]
    fn what_is_deep_or_long_is_cut() {
        let deep = format!("{}1{}", "{\"a\":".repeat(20), "}".repeat(20));
        let mut value = sketch(&deep).unwrap();
        for _ in 0..DEPTH {
            value = value["a"].take();
        }
        assert_eq!(value, Value::Null);
        assert_eq!(sketch(&format!("{{\"a\": \"{}\"}}", "x".repeat(500))).unwrap()["a"].as_str().unwrap().len(), CHARS);
    }

    proptest! {
        #[test]
        fn any_text_is_sketched_or_not(text in "[\\[\\]{}\",:a1 ]{0,80}") {
            let _ = sketch(&text);
        }
    }
}
