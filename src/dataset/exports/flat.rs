//! One row per example for spreadsheets and data frames: CSV and Parquet with the same columns.
//!
//! Columns, those that no example needs left out: `id`, `input`, `reference`, `cluster`, `stratum`, `split`,
//! `inclusion_probability`, `dimensions.NAME`, and as JSON in a cell `tags`, `expected_calls`, `attachments`,
//! `dimensions`, `metadata`, `labels`, `recorded`, `lineage`. A value that is not plain text (a number, a conversation,
//! an empty text, a text a spreadsheet would run as a formula) stands as JSON in `input_json`, `reference_json` and so
//! on instead. Import puts it all back, so the digest of the task is the same.

use std::collections::BTreeMap;

use polars::prelude::{Column, DataFrame, NamedFrom, ParquetCompression, ParquetWriter, Series};
use serde::Serialize;
use serde_json::Value;

use super::{ExportInfo, Exported};
use crate::dataset::error::DatasetError;
use crate::dataset::labels::is_formula;
use crate::dataset::native::JSON_COLUMNS;
use crate::model::Example;

pub(super) const CSV: ExportInfo = ExportInfo {
    name: "csv",
    summary: "one row per example for spreadsheets; lists and objects as JSON in a cell",
    leaves_out: "",
    extension: "csv",
    attachments: true,
    render: csv,
};

pub(super) const PARQUET: ExportInfo = ExportInfo {
    name: "parquet",
    summary: "the columns of `csv` as Parquet, for data frames and query engines",
    leaves_out: "",
    extension: "parquet",
    attachments: true,
    render: parquet,
};

/// Columns in the order in which they stand; those of dimensions come after, by name.
const ORDER: &[&str] = &[
    "id",
    "id_json",
    "input",
    "input_json",
    "reference",
    "reference_json",
    "cluster",
    "cluster_json",
    "stratum",
    "stratum_json",
    "split",
    "inclusion_probability",
    "tags",
    "expected_calls",
    "attachments",
    "dimensions",
    "metadata",
    "labels",
    "recorded",
    "lineage",
];

type Row = BTreeMap<String, String>;

fn row_of(example: &Example) -> Row {
    let mut row = Row::new();
    let text = |text: &Option<String>| text.clone().map(Value::String);
    let plain = [
        Some(Value::String(example.id.as_str().to_owned())),
        Some(example.input.clone()),
        example.reference.clone().filter(|reference| !reference.is_null()),
        text(&example.cluster),
        text(&example.stratum),
    ];
    for (name, value) in JSON_COLUMNS.iter().zip(plain) {
        match value {
            Some(Value::String(text)) if is_plain(&text) => drop(row.insert((*name).to_owned(), text)),
            Some(other) => drop(row.insert(format!("{name}_json"), other.to_string())),
            None => {}
        }
    }
    row.extend(example.split.clone().map(|split| ("split".to_owned(), split)));
    row.extend(example.inclusion_probability.map(|p| ("inclusion_probability".to_owned(), p.to_string())));
    let mut odd = BTreeMap::new();
    for (name, value) in &example.dimensions {
        if is_plain(value) && name.trim() == name && !name.is_empty() {
            row.insert(format!("dimensions.{name}"), value.clone());
        } else {
            odd.insert(name, value);
        }
    }
    let mut cell = |name: &str, empty: bool, value: Option<String>| {
        if let Some(value) = value.filter(|_| !empty) {
            row.insert(name.to_owned(), value);
        }
    };
    cell("dimensions", odd.is_empty(), json(&odd));
    cell("tags", example.tags.is_empty(), json(&example.tags));
    cell("expected_calls", example.expected_calls.is_none(), json(&example.expected_calls));
    cell("attachments", example.attachments.is_empty(), json(&example.attachments));
    cell("metadata", example.metadata.is_empty(), json(&example.metadata));
    cell("labels", example.labels.is_empty(), json(&example.labels));
    cell("recorded", example.recorded.is_empty(), json(&example.recorded));
    cell("lineage", example.lineage == crate::model::Lineage::default(), json(&example.lineage));
    row
}

/// Whether a text survives a cell: an empty one would read as absent, a formula would be run.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !is_formula(text)
}

fn json(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

/// Names of the columns that any example needs, with every example's cells.
fn table(examples: &[Example]) -> (Vec<String>, Vec<Row>) {
    let rows: Vec<Row> = examples.iter().map(row_of).collect();
    let mut names: Vec<String> = ORDER.iter().map(|name| (*name).to_owned()).collect();
    let used: std::collections::BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    names.retain(|name| used.contains(name) || name == "id" || name == "input");
    names.extend(used.into_iter().filter(|name| name.starts_with("dimensions.")).cloned());
    (names, rows)
}

fn csv(exported: &Exported<'_>) -> Result<Vec<u8>, DatasetError> {
    let fail = |cause: String| DatasetError::Format { file: "export.csv".into(), format: "CSV", cause };
    let (names, rows) = table(exported.examples);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&names).map_err(|error| fail(error.to_string()))?;
    for row in &rows {
        let cells = names.iter().map(|name| row.get(name).map_or("", String::as_str));
        writer.write_record(cells).map_err(|error| fail(error.to_string()))?;
    }
    writer.into_inner().map_err(|error| fail(error.to_string()))
}

fn parquet(exported: &Exported<'_>) -> Result<Vec<u8>, DatasetError> {
    let fail = |cause: String| DatasetError::Format { file: "export.parquet".into(), format: "Parquet", cause };
    let (names, rows) = table(exported.examples);
    let column = |name: &String| -> Column {
        if name == "inclusion_probability" {
            let numbers: Vec<Option<f64>> = exported.examples.iter().map(|e| e.inclusion_probability).collect();
            return Series::new(name.as_str().into(), numbers).into();
        }
        let texts: Vec<Option<&str>> = rows.iter().map(|row| row.get(name).map(String::as_str)).collect();
        Series::new(name.as_str().into(), texts).into()
    };
    let mut frame =
        DataFrame::new(rows.len(), names.iter().map(column).collect()).map_err(|error| fail(error.to_string()))?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .finish(&mut frame)
        .map_err(|error| fail(error.to_string()))?;
    Ok(bytes)
}
