//! `assize schema`: JSON Schemas of all that is written by hand or printed as JSON, made from the code.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::exit::{Done, Failed};
use super::sample::SampleSpec;
use crate::compare::{Comparison, Matrix, RunView};
use crate::config::Raw;
use crate::dataset::FieldMapping;
use crate::ingest::TraceMapping;
use crate::ingest::api;
use crate::model::Example;
use crate::provider::EndpointOptions;
use crate::{judge, scorer, target};

/// Names of all schemas.
pub fn names() -> Vec<String> {
    let fixed = [
        "config",
        "dataset.example",
        "mapping",
        "mapping.traces",
        "provider",
        "report.comparison",
        "report.matrix",
        "report.run",
        "sample",
    ]
    .map(str::to_owned);
    let scorers = scorer::SCORERS.iter().map(|info| info.name).chain(judge::OUTSIDE.iter().map(|info| info.name));
    let scorers = scorers.map(|name| format!("scorer.{name}"));
    let targets = target::TARGETS.iter().map(|info| format!("target.{}", info.name));
    let sources = api::PLATFORMS.iter().map(|info| format!("source.{}", info.name));
    fixed.into_iter().chain(scorers).chain(sources).chain(targets).collect()
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
        "config" => Some(Raw::schema()),
        "dataset.example" => Some(example()),
        "mapping" => Some(schemars::schema_for!(FieldMapping).to_value()),
        "mapping.traces" => Some(schemars::schema_for!(TraceMapping).to_value()),
        "provider" => Some(EndpointOptions::schema()),
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
