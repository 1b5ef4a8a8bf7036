//! Scores as flat rows, one per example and metric: CSV for spreadsheets, JSON lines for programs, Parquet for data frames
//! and query engines. The same columns in all three; docs/formats.md describes them.
//!
//! Values are those of the list of examples: reduced over trials and draws. Single cells are in the store and in bundles.

use polars::prelude::{Column, DataFrame, ParquetCompression, ParquetWriter};
use schemars::JsonSchema;
use serde::Serialize;

use super::moves::{self, MetricFacts};
use super::{Material, ReportError, Subject, words};
use crate::compare::ExampleRow;
use crate::dataset::labels::guarded;
use crate::model::{Direction, MetricRole};
use crate::sys::text::for_terminal;

/// One example under one metric.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FlatRow {
    /// Suite.
    pub suite: String,
    /// Run compared against; absent in a run's own report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline_run: Option<String>,
    /// Run, or candidate.
    pub run: String,
    /// Its target.
    pub target: String,
    /// Example.
    pub example: String,
    /// Grader.
    pub metric: String,
    /// `gate` or `inform`.
    pub role: &'static str,
    /// `higher` or `lower`: which way is better.
    pub better: &'static str,
    /// Value in the baseline; absent when unscored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Value in the run; absent when unscored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Value less that of the baseline, where both are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// Whether trials of the run disagree on a yes-or-no metric of this example.
    pub flaky: bool,
    /// Dimensions of the example, as JSON.
    pub dimensions: String,
}

/// Columns in their order.
const COLUMNS: [&str; 13] = [
    "suite",
    "baseline_run",
    "run",
    "target",
    "example",
    "metric",
    "role",
    "better",
    "baseline",
    "value",
    "difference",
    "flaky",
    "dimensions",
];

/// CSV: no cell that a spreadsheet would run, no character that a terminal would obey. For people; the other forms are exact.
pub(super) fn csv(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    let fail = |error: csv::Error| ReportError { form: "csv", cause: error.to_string() };
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let cell = |text: &str| guarded(&for_terminal(text));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(fail)?;
    for row in rows(material) {
        let cells = [
            cell(&row.suite),
            cell(&row.baseline_run.unwrap_or_default()),
            cell(&row.run),
            cell(&row.target),
            cell(&row.example),
            cell(&row.metric),
            row.role.to_owned(),
            row.better.to_owned(),
            number(row.baseline),
            number(row.value),
            number(row.difference),
            row.flaky.to_string(),
            cell(&row.dimensions),
        ];
        writer.write_record(&cells).map_err(fail)?;
    }
    writer.into_inner().map_err(|error| ReportError { form: "csv", cause: error.to_string() })
}

/// JSON lines.
pub(super) fn jsonl(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    let mut bytes = Vec::new();
    for row in rows(material) {
        let done = serde_json::to_writer(&mut bytes, &row);
        done.map_err(|error| ReportError { form: "jsonl", cause: error.to_string() })?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Parquet.
pub(super) fn parquet(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    let fail = |cause: String| ReportError { form: "parquet", cause };
    let rows: Vec<FlatRow> = rows(material).collect();
    let texts = |name: &str, of: fn(&FlatRow) -> Option<&str>| {
        Column::new(name.into(), rows.iter().map(of).collect::<Vec<Option<&str>>>())
    };
    let numbers = |name: &str, of: fn(&FlatRow) -> Option<f64>| {
        Column::new(name.into(), rows.iter().map(of).collect::<Vec<Option<f64>>>())
    };
    let columns = vec![
        texts("suite", |row| Some(&row.suite)),
        texts("baseline_run", |row| row.baseline_run.as_deref()),
        texts("run", |row| Some(&row.run)),
        texts("target", |row| Some(&row.target)),
        texts("example", |row| Some(&row.example)),
        texts("metric", |row| Some(&row.metric)),
        texts("role", |row| Some(row.role)),
        texts("better", |row| Some(row.better)),
        numbers("baseline", |row| row.baseline),
        numbers("value", |row| row.value),
        numbers("difference", |row| row.difference),
        Column::new("flaky".into(), rows.iter().map(|row| row.flaky).collect::<Vec<bool>>()),
        texts("dimensions", |row| Some(&row.dimensions)),
    ];
    let mut frame = DataFrame::new(rows.len(), columns).map_err(|error| fail(error.to_string()))?;
    let mut bytes = Vec::new();
    let writer = ParquetWriter::new(&mut bytes).with_compression(ParquetCompression::Zstd(None));
    writer.finish(&mut frame).map_err(|error| fail(error.to_string()))?;
    Ok(bytes)
}

fn rows<'a>(material: &'a Material<'_>) -> impl Iterator<Item = FlatRow> + 'a {
    let (examples, baseline_run) = match &material.subject {
        Subject::Run(view) => (&view.examples, None),
        Subject::Comparison(view) => (&view.examples, Some(view.baseline.id.as_str())),
    };
    let facts = moves::facts(&material.subject);
    let mut metrics: Vec<(String, MetricFacts)> = facts.into_iter().collect();
    metrics.sort_by(|(left, a), (right, b)| (a.place, left).cmp(&(b.place, right)));
    let run = words::main_run(&material.subject);
    examples.iter().flat_map(move |row| {
        let dimensions = serde_json::to_string(&row.dimensions).unwrap_or_default();
        let one = |(name, facts): &(String, MetricFacts)| {
            let there = row.candidate.contains_key(name) || row.baseline.contains_key(name);
            there.then(|| {
                let (baseline, value) = values(row, name);
                FlatRow {
                    suite: run.suite.clone(),
                    baseline_run: baseline_run.map(str::to_owned),
                    run: run.id.as_str().to_owned(),
                    target: run.target.name.clone(),
                    example: row.id.as_str().to_owned(),
                    metric: name.clone(),
                    role: if facts.role == MetricRole::Gate { "gate" } else { "inform" },
                    better: if facts.direction == Direction::Higher { "higher" } else { "lower" },
                    baseline,
                    value,
                    difference: baseline.zip(value).map(|(before, after)| after - before),
                    flaky: row.flaky,
                    dimensions: dimensions.clone(),
                }
            })
        };
        metrics.iter().filter_map(one).collect::<Vec<_>>()
    })
}

fn values(row: &ExampleRow, metric: &str) -> (Option<f64>, Option<f64>) {
    let of = |side: &std::collections::BTreeMap<String, Option<f64>>| {
        side.get(metric).copied().flatten().filter(|value| value.is_finite())
    };
    (of(&row.baseline), of(&row.candidate))
}
