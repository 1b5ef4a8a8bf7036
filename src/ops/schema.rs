//! `assize schema`: JSON Schemas of all that is written by hand or printed as JSON, made from the code, and the versions of
//! all formats. `docs/formats.md` tells their history.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::calibrations::Calibrations;
use super::exit::{Done, Failed};
use super::quarantine::Quarantine;
use super::sample::SampleSpec;
use crate::compare::{Comparison, Matrix, RunView};
use crate::config::Raw;
use crate::dataset::{DATASET_FORMAT, FieldMapping};
use crate::feed::{self, alarm};
use crate::ingest::TraceMapping;
use crate::ingest::api;
use crate::model::{DatasetHeader, Example, JournalEntry, RunHeader};
use crate::provider::EndpointOptions;
use crate::report::FlatRow;
use crate::store::{AuditRecord, BUNDLE_FORMAT, BundleLine};
use crate::{judge, scorer, target};

/// A format that outlives the program that wrote it.
pub struct FormatInfo {
    /// Name.
    pub name: &'static str,
    /// Version that is written. Every earlier one is read, a later one is refused.
    pub version: u32,
    /// Name of its schema; absent where there is none.
    pub schema: Option<&'static str>,
}

/// All formats, sorted by name.
pub const FORMATS: &[FormatInfo] = &[
    FormatInfo { name: "audit", version: 1, schema: Some("audit.record") },
    FormatInfo { name: "bundle", version: BUNDLE_FORMAT, schema: Some("bundle.line") },
    FormatInfo { name: "calibrations", version: 1, schema: Some("calibrations") },
    FormatInfo { name: "cassette", version: 1, schema: None },
    FormatInfo { name: "config", version: 1, schema: Some("config") },
    FormatInfo { name: "dataset", version: DATASET_FORMAT, schema: Some("dataset.header") },
    FormatInfo { name: "journal", version: RunHeader::FORMAT, schema: Some("journal.entry") },
    FormatInfo { name: "judge", version: 1, schema: None },
    FormatInfo { name: "lake", version: 1, schema: None },
    FormatInfo { name: "quarantine", version: 1, schema: Some("quarantine") },
    FormatInfo { name: "report.comparison", version: 1, schema: Some("report.comparison") },
    FormatInfo { name: "report.matrix", version: 1, schema: Some("report.matrix") },
    FormatInfo { name: "report.row", version: 1, schema: Some("report.row") },
    FormatInfo { name: "report.run", version: 1, schema: Some("report.run") },
];

/// Names of all schemas.
pub fn names() -> Vec<String> {
    let fixed = [
        "audit.record",
        "bundle.line",
        "calibrations",
        "config",
        "dataset.example",
        "dataset.header",
        "journal.entry",
        "mapping",
        "mapping.traces",
        "provider",
        "quarantine",
        "report.comparison",
        "report.matrix",
        "report.row",
        "report.run",
        "sample",
    ]
    .map(str::to_owned);
    let scorers = scorer::SCORERS.iter().map(|info| info.name).chain(judge::OUTSIDE.iter().map(|info| info.name));
    let scorers = scorers.map(|name| format!("scorer.{name}"));
    let targets = target::TARGETS.iter().map(|info| format!("target.{}", info.name));
    let sources = api::PLATFORMS.iter().map(|info| format!("source.{}", info.name));
    let sinks = feed::SINKS.iter().map(|info| format!("sink.{}", info.name));
    let alarms = alarm::ALARMS.iter().map(|info| format!("alarm.{}", info.name));
    fixed.into_iter().chain(alarms).chain(scorers).chain(sinks).chain(sources).chain(targets).collect()
}

/// One schema. Those of components carry their summary and a working sample.
pub fn schema(name: &str) -> Done<Value> {
    let dressed = |mut schema: Value, summary: &str, sample: &str| {
        if let Some(map) = schema.as_object_mut() {
            map.insert("description".to_owned(), json!(summary));
            map.insert("x-sample".to_owned(), json!(sample));
        }
        schema
    };
    let found = match name {
        "audit.record" => Some(schemars::schema_for!(AuditRecord).to_value()),
        "bundle.line" => Some(schemars::schema_for!(BundleLine).to_value()),
        "calibrations" => Some(schemars::schema_for!(Calibrations).to_value()),
        "config" => Some(Raw::schema()),
        "dataset.example" => Some(example()),
        "dataset.header" => Some(schemars::schema_for!(DatasetHeader).to_value()),
        "journal.entry" => Some(schemars::schema_for!(JournalEntry).to_value()),
        "mapping" => Some(schemars::schema_for!(FieldMapping).to_value()),
        "mapping.traces" => Some(schemars::schema_for!(TraceMapping).to_value()),
        "provider" => Some(EndpointOptions::schema()),
        "quarantine" => Some(schemars::schema_for!(Quarantine).to_value()),
        "report.row" => Some(schemars::schema_for!(FlatRow).to_value()),
        "report.comparison" => Some(schemars::schema_for!(Comparison).to_value()),
        "report.matrix" => Some(schemars::schema_for!(Matrix).to_value()),
        "sample" => Some(SampleSpec::schema()),
        "report.run" => Some(schemars::schema_for!(RunView).to_value()),
        other => match other.split_once('.') {
            Some(("scorer", name)) => scorer::find(name)
                .map(|info| dressed((info.schema)(), info.summary, info.sample))
                .or_else(|| judge::find_outside(name).map(|info| dressed((info.schema)(), info.summary, info.sample))),
            Some(("target", name)) => {
                target::find(name).map(|info| dressed((info.schema)(), info.summary, info.sample))
            }
            Some(("source", name)) => api::find(name).map(|info| dressed(info.schema(), info.summary, info.sample)),
            Some(("sink", name)) => feed::find(name).map(|info| dressed(info.schema(), info.summary, info.sample)),
            Some(("alarm", name)) => alarm::find(name).map(|info| dressed(info.schema(), info.summary, info.sample)),
            _ => None,
        },
    };
    found.ok_or_else(|| Failed::usage(anyhow!("no schema `{name}`; there is {}", names().join(", "))))
}

/// A line of `examples.jsonl` as people write it: only the input is needed, the id is made of it.
fn example() -> Value {
    let mut schema = schemars::schema_for!(Example).to_value();
    if let Some(map) = schema.as_object_mut() {
        map.insert("required".to_owned(), json!(["input"]));
    }
    schema
}
