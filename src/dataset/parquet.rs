//! Parquet files to rows.
//!
//! Decoding is left to polars; here its values become JSON. Types without a JSON form are an error that names the
//! column, never a guess.

use std::io::Cursor;
use std::path::Path;

use polars::prelude::{AnyValue, Column, DataFrame, ParquetReader, SerReader, TimeUnit};
use serde_json::{Map, Number, Value};

use super::error::{DatasetError, Place, RowError};
use super::rows::{OnRow, Row};

/// Hands over the rows of a Parquet file, numbered from 1.
///
/// # Errors
/// The bytes are not Parquet, or are damaged.
pub fn read(path: &Path, bytes: &[u8], on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let table =
        Table::open(bytes).map_err(|cause| DatasetError::Format { file: path.to_owned(), format: "Parquet", cause })?;
    for index in 0..table.height() {
        let line = index as u64 + 1;
        let row = table.row(index, Place { file: path, line });
        on_row(row.map(|fields| Row { line, fields, untyped: false }))?;
    }
    Ok(())
}

/// A Parquet file in memory, for readers of rows that are not examples as well.
pub struct Table {
    frame: DataFrame,
}

impl Table {
    /// Decodes a whole file.
    ///
    /// # Errors
    /// A sentence when the bytes are not Parquet, or are damaged.
    pub fn open(bytes: &[u8]) -> Result<Self, String> {
        Ok(Self { frame: decode(bytes)? })
    }

    /// How many rows there are.
    pub fn height(&self) -> usize {
        self.frame.height()
    }

    /// One row as an object, counted from 0.
    ///
    /// # Errors
    /// A value of a type without a JSON form; the error names the column.
    pub fn row(&self, index: usize, place: Place<'_>) -> Result<Value, RowError> {
        row_of(self.frame.columns(), index, place)
    }
}

/// Names of the columns of a Parquet file, read from its end; empty when it is damaged.
pub fn parquet_columns(bytes: &[u8]) -> Vec<String> {
    if !bytes.starts_with(MAGIC) || !bytes.ends_with(MAGIC) || bytes.len() < 12 {
        return Vec::new();
    }
    let names = std::panic::catch_unwind(|| {
        let schema = ParquetReader::new(Cursor::new(bytes)).schema().ok()?;
        Some(schema.iter_names().map(ToString::to_string).collect())
    });
    names.ok().flatten().unwrap_or_default()
}

/// The first and last bytes of every Parquet file.
const MAGIC: &[u8] = b"PAR1";

fn decode(bytes: &[u8]) -> Result<DataFrame, String> {
    if !bytes.starts_with(MAGIC) || !bytes.ends_with(MAGIC) || bytes.len() < 12 {
        return Err("it does not begin and end with `PAR1`; it is another format or was cut off".to_owned());
    }
    // The decoder trusts sizes and offsets in the file and panics on some damaged ones; foreign data must not.
    let attempt = std::panic::catch_unwind(|| ParquetReader::new(Cursor::new(bytes)).finish());
    match attempt {
        Ok(Ok(frame)) => Ok(frame),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the decoder gave up on it; it is damaged".to_owned()),
    }
}

fn row_of(columns: &[Column], index: usize, place: Place<'_>) -> Result<Value, RowError> {
    let mut fields = Map::with_capacity(columns.len());
    for column in columns {
        let name = column.name().as_str();
        let cell = column.get(index).map_err(|error| error.to_string()).and_then(|value| json_of(&value));
        match cell {
            Ok(value) => drop(fields.insert(name.to_owned(), value)),
            Err(found) => return Err(RowError::new(place, name, &found, "text, numbers, lists or structs")),
        }
    }
    Ok(Value::Object(fields))
}

/// A value as JSON; numbers that are not finite become null, moments become RFC 3339 text.
fn json_of(value: &AnyValue<'_>) -> Result<Value, String> {
    Ok(match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(yes) => Value::Bool(*yes),
        AnyValue::String(text) => Value::String((*text).to_owned()),
        AnyValue::StringOwned(text) => Value::String(text.to_string()),
        AnyValue::Float16(_) | AnyValue::Float32(_) | AnyValue::Float64(_) => {
            value.extract::<f64>().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        }
        AnyValue::UInt8(_) | AnyValue::UInt16(_) | AnyValue::UInt32(_) | AnyValue::UInt64(_) => {
            value.extract::<u64>().map_or(Value::Null, Value::from)
        }
        AnyValue::Int8(_) | AnyValue::Int16(_) | AnyValue::Int32(_) | AnyValue::Int64(_) => {
            value.extract::<i64>().map_or(Value::Null, Value::from)
        }
        AnyValue::Date(days) => day_text(*days)?,
        AnyValue::Datetime(count, unit, _) => moment_text(*count, *unit)?,
        AnyValue::DatetimeOwned(count, unit, _) => moment_text(*count, *unit)?,
        AnyValue::List(series) => {
            Value::Array(series.iter().map(|item| json_of(&item)).collect::<Result<Vec<_>, String>>()?)
        }
        AnyValue::Binary(bytes) => text_of(bytes)?,
        AnyValue::BinaryOwned(bytes) => text_of(bytes)?,
        AnyValue::Struct(..) => return json_of(&value.clone().into_static()),
        AnyValue::StructOwned(parts) => {
            let mut map = Map::new();
            for (part, field) in parts.0.iter().zip(&parts.1) {
                map.insert(field.name().to_string(), json_of(part)?);
            }
            Value::Object(map)
        }
        other => return Err(format!("a value of type {}", other.dtype())),
    })
}

fn text_of(bytes: &[u8]) -> Result<Value, String> {
    std::str::from_utf8(bytes).map(|text| Value::String(text.to_owned())).map_err(|_| "binary data".to_owned())
}

fn moment_text(count: i64, unit: TimeUnit) -> Result<Value, String> {
    let moment = match unit {
        TimeUnit::Nanoseconds => jiff::Timestamp::from_nanosecond(i128::from(count)),
        TimeUnit::Microseconds => jiff::Timestamp::from_microsecond(count),
        TimeUnit::Milliseconds => jiff::Timestamp::from_millisecond(count),
    };
    moment.map(|at| Value::String(at.to_string())).map_err(|_| format!("the moment {count}, out of range"))
}

fn day_text(days: i32) -> Result<Value, String> {
    let moment = jiff::Timestamp::from_second(i64::from(days) * 86_400);
    moment
        .map(|at| Value::String(at.to_string().chars().take_while(|c| *c != 'T').collect()))
        .map_err(|_| format!("the day {days}, out of range"))
}

#[cfg(test)]
mod tests {
    use polars::prelude::{IntoColumn, NamedFrom, ParquetWriter, Series, df};
    use serde_json::json;

    use super::*;

    fn bytes_of(frame: &mut DataFrame) -> Vec<u8> {
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(frame).unwrap();
        bytes
    }

    fn rows(bytes: &[u8]) -> Result<Vec<Result<Row, RowError>>, DatasetError> {
        let mut rows = Vec::new();
        read(Path::new("x.parquet"), bytes, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    fn sample() -> DataFrame {
        let mut frame =
            df!("id" => ["a", "b"], "n" => [1_i64, -2], "x" => [0.5, f64::NAN], "ok" => [Some(true), None]).unwrap();
        let list = Series::new("tags".into(), [Series::new("".into(), ["p", "q"]), Series::new("".into(), ["r"])]);
        let inner = df!("k" => [7_i32, 8], "t" => ["u", "v"]).unwrap();
        frame.with_column(list.into_column()).unwrap();
        frame.with_column(inner.into_struct("s".into()).into_column()).unwrap();
        frame
    }

    #[test]
    fn nested_values_become_json() {
        let rows = rows(&bytes_of(&mut sample())).unwrap();
        let first = rows[0].as_ref().unwrap();
        let expected = json!({"id": "a", "n": 1, "x": 0.5, "ok": true, "tags": ["p", "q"], "s": {"k": 7, "t": "u"}});
        assert_eq!((first.line, &first.fields), (1, &expected));
        let second = rows[1].as_ref().unwrap();
        assert_eq!((&second.fields["x"], &second.fields["ok"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn what_is_not_parquet_or_is_cut_off_is_said_to_be() {
        let error = rows(b"id,input\n1,x\n").unwrap_err().to_string();
        assert!(error.contains("`x.parquet` as Parquet") && error.contains("PAR1"), "{error}");
        let bytes = bytes_of(&mut sample());
        assert!(rows(&bytes[..bytes.len() / 2]).is_err());
    }

    #[test]
    fn damaged_bytes_never_panic_the_program() {
        let bytes = bytes_of(&mut sample());
        for position in (4..bytes.len() - 4).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x5a;
            let _ = rows(&damaged);
        }
    }

    #[test]
    fn moments_are_text() {
        assert_eq!(moment_text(1_700_000_000_000, TimeUnit::Milliseconds).unwrap(), json!("2023-11-14T22:13:20Z"));
        assert_eq!(day_text(0).unwrap(), json!("1970-01-01"));
        assert!(moment_text(i64::MAX, TimeUnit::Milliseconds).is_err());
    }
}
