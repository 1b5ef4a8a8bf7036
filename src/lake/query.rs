//! SQL over the tables of a lake, and its answers.
//!
//! The engine is Polars' SQL; this gives it the tables a query names, and says in plain words what is wrong with one.

use std::io::Write;
use std::path::PathBuf;

use polars::error::PolarsError;
use polars::prelude::{
    AnyValue, CsvWriter, DataFrame, DataType, IntoColumn, NamedFrom, ParquetWriter, PolarsResult, SerWriter, Series,
    TimeUnit,
};
use polars::sql::SQLContext;
use serde_json::{Map, Number, Value};

use super::parts::blame;
use super::schema::{TABLES, TableInfo};
use super::{Lake, LakeError, TraceFilter};
use crate::dataset::labels;
use crate::sys::text::nearest;

/// What a query found.
#[derive(Clone, Debug)]
pub struct Answer {
    table: DataFrame,
}

impl Lake {
    /// Answers a `SELECT` over the tables in [`TABLES`]. The bounds of `within` limit the days that are read: traces
    /// and spans that began between them, scores of these days.
    ///
    /// # Errors
    /// [`LakeError::Sql`] when the query is not understood; else when a part cannot be read.
    pub fn query(&self, sql: &str, within: &TraceFilter) -> Result<Answer, LakeError> {
        self.retrying(|| self.query_once(sql, within))
    }

    fn query_once(&self, sql: &str, within: &TraceFilter) -> Result<Answer, LakeError> {
        only_select(sql)?;
        let named: Vec<&TableInfo> = TABLES.iter().filter(|table| names(sql, table.name)).collect();
        let mut context = SQLContext::new();
        let mut parts = Vec::new();
        let unreadable = |error: PolarsError| LakeError::unreadable(self.root(), &error);
        if named.iter().any(|table| table.name != "scores") {
            let views = self.views(within)?;
            for table in &named {
                let view = match table.name {
                    "spans" => views.spans(),
                    "traces" => views.traces(),
                    "sessions" => views.sessions(),
                    "attributes" => views.attributes(),
                    _ => continue,
                };
                context.register(table.name, view.map_err(unreadable)?);
            }
            parts = views.parts;
        }
        if named.iter().any(|table| table.name == "scores") {
            let (first, last) = super::parts::window(within, 0);
            let (view, more) = self.scores_view(first, last)?;
            context.register("scores", view);
            parts.extend(more);
        }
        let table = context.execute(sql).and_then(|frame| frame.collect());
        table.map(|table| Answer { table }).map_err(|error| self.explain(&error, &named, &parts))
    }

    /// What is wrong, in words for whoever wrote the query.
    fn explain(&self, error: &PolarsError, named: &[&TableInfo], parts: &[PathBuf]) -> LakeError {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let gone = || parts.iter().find(|part| !part.exists()).map(|part| LakeError::Moved { part: part.clone() });
        match error {
            PolarsError::ColumnNotFound(_) => LakeError::Sql(no_column(first, named)),
            PolarsError::SQLInterface(_) if first.contains("was not found") => LakeError::Sql(no_table(first)),
            PolarsError::IO { .. } => gone().unwrap_or_else(|| blame(parts, error)),
            _ => gone().unwrap_or_else(|| LakeError::Sql(format!("the query cannot be answered: {first}"))),
        }
    }
}

/// Refuses what would change a table or read a file: the engine knows both, a lake is asked.
fn only_select(sql: &str) -> Result<(), LakeError> {
    let begins = sql.trim_start_matches(|character: char| character.is_whitespace() || character == '(');
    let word: String = begins.chars().take_while(|character| character.is_alphabetic()).collect();
    if !["select", "with"].contains(&word.to_lowercase().as_str()) {
        let said = if word.is_empty() { "nothing".to_owned() } else { format!("`{word}`") };
        let cause = format!(
            "a query begins with SELECT or WITH, found {said}; `assize ingest` and `assize lake` change the lake"
        );
        return Err(LakeError::Sql(cause));
    }
    const FILES: &[&str] =
        &["read_csv", "read_parquet", "read_ipc", "read_json", "read_ndjson", "scan_csv", "scan_parquet"];
    match FILES.iter().find(|function| names(sql, function)) {
        Some(function) => {
            Err(LakeError::Sql(format!("`{function}` reads files; only the tables of the lake are asked")))
        }
        None => Ok(()),
    }
}

/// Whether a query may mean a table: its name stands there as a word of its own.
fn names(sql: &str, table: &str) -> bool {
    let word = |character: char| character.is_alphanumeric() || character == '_';
    let text = sql.to_lowercase();
    text.match_indices(table).any(|(at, found)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|tail| tail.chars().next());
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

/// The first word in quotes of any kind.
fn quoted(text: &str) -> Option<&str> {
    let open = text.find(['"', '\'', '`'])?;
    let rest = text.get(open + 1..)?;
    rest.get(..rest.find(['"', '\'', '`'])?)
}

fn no_column(message: &str, named: &[&TableInfo]) -> String {
    let Some(wanted) = quoted(message) else { return format!("the query names a column that is not there: {message}") };
    let known = || named.iter().flat_map(|table| table.columns).map(|column| column.name);
    let mut text = format!("no column `{wanted}`");
    if let Some(near) = nearest(wanted, known()) {
        text.push_str(&format!("; did you mean `{near}`?"));
    }
    for table in named {
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        text.push_str(&format!("\nThe columns of `{}` are {}", table.name, columns.join(", ")));
    }
    text.push_str("\nAny attribute is in the table `attributes` (trace_id, span_id, key, value)");
    text
}

fn no_table(message: &str) -> String {
    let known: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
    let Some(wanted) = quoted(message) else { return format!("{message}; the tables are {}", known.join(", ")) };
    let near = nearest(wanted, known.iter().copied()).map(|near| format!("did you mean `{near}`? "));
    format!("no table `{wanted}`; {}the tables are {}", near.unwrap_or_default(), known.join(", "))
}

impl Answer {
    /// Names of the columns.
    pub fn columns(&self) -> Vec<&str> {
        self.table.get_column_names().into_iter().map(|name| name.as_str()).collect()
    }

    /// Whether each column holds numbers.
    pub fn numeric(&self) -> Vec<bool> {
        self.table.columns().iter().map(|column| column.dtype().is_primitive_numeric()).collect()
    }

    /// Types of the columns, in the words of [`TABLES`] where they have one.
    pub fn kinds(&self) -> Vec<String> {
        let word = |kind: &DataType| match kind {
            DataType::String => "text".to_owned(),
            DataType::Int64 => "long".to_owned(),
            DataType::Float64 => "double".to_owned(),
            DataType::Boolean => "bool".to_owned(),
            DataType::Datetime(TimeUnit::Nanoseconds, None) => "datetime".to_owned(),
            other => other.to_string(),
        };
        self.table.columns().iter().map(|column| word(column.dtype())).collect()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.table.height()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One row as JSON values in the order of the columns; `None` beyond the end. Times are RFC 3339.
    pub fn row(&self, at: usize) -> Option<Vec<Value>> {
        (at < self.len()).then(|| self.table.columns().iter().map(|column| json(column.get(at))).collect())
    }

    /// One row as a JSON object.
    pub fn object(&self, at: usize) -> Option<Map<String, Value>> {
        let names = self.columns().into_iter().map(str::to_owned);
        Some(names.zip(self.row(at)?).collect())
    }

    /// Writes all rows as CSV with a head. A text that a spreadsheet would run as a formula gets an apostrophe in front.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write_csv(&mut self, to: &mut dyn Write) -> Result<(), LakeError> {
        let format = Some("%Y-%m-%dT%H:%M:%S%.9fZ".into());
        let mut table = guarded(&self.table).map_err(unwritten)?;
        CsvWriter::new(to).with_datetime_format(format).finish(&mut table).map_err(unwritten)
    }

    /// Writes all rows as Parquet.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write_parquet(&mut self, to: &mut (dyn Write + Send)) -> Result<(), LakeError> {
        ParquetWriter::new(to).finish(&mut self.table).map(|_| ()).map_err(unwritten)
    }
}

/// The table with its texts as a spreadsheet may see them.
fn guarded(table: &DataFrame) -> PolarsResult<DataFrame> {
    let mut safe = table.clone();
    for column in table.columns().iter().filter(|column| column.dtype() == &DataType::String) {
        let texts: Vec<Option<String>> = column.str()?.iter().map(|text| text.map(labels::guarded)).collect();
        safe.with_column(Series::new(column.name().clone(), texts).into_column())?;
    }
    Ok(safe)
}

fn unwritten(error: PolarsError) -> LakeError {
    LakeError::Sql(format!("the answer cannot be written: {error}; lists and records fit in JSON only"))
}

fn json(value: PolarsResult<AnyValue<'_>>) -> Value {
    let Ok(value) = value else { return Value::Null };
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(flag) => Value::Bool(flag),
        AnyValue::String(text) => Value::String(text.to_owned()),
        AnyValue::StringOwned(text) => Value::String(text.to_string()),
        AnyValue::Float32(number) => Number::from_f64(f64::from(number)).map_or(Value::Null, Value::Number),
        AnyValue::Float64(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        AnyValue::Datetime(count, unit, _) | AnyValue::DatetimeOwned(count, unit, _) => {
            Value::String(instant(count, unit))
        }
        AnyValue::List(series) => Value::Array(series.iter().map(|value| json(Ok(value))).collect()),
        other => match other.extract::<i64>() {
            Some(number) if other.is_integer() => Value::from(number),
            _ => Value::String(other.to_string()),
        },
    }
}

fn instant(count: i64, unit: TimeUnit) -> String {
    let nanos = match unit {
        TimeUnit::Nanoseconds => i128::from(count),
        TimeUnit::Microseconds => i128::from(count) * 1_000,
        TimeUnit::Milliseconds => i128::from(count) * 1_000_000,
    };
    jiff::Timestamp::from_nanosecond(nanos).map_or_else(|_| count.to_string(), |time| time.to_string())
}
