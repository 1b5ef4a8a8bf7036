//! Dataset items of Langfuse: a JSON list of bodies for `POST /api/public/dataset-items`.
//!
//! Ids are made of dataset and example, so that sending a later version updates the items in place.

use serde_json::{Value, json};

use super::{ExportInfo, Exported, foreign};
use crate::dataset::error::DatasetError;
use crate::model::Example;

pub(super) const LANGFUSE: ExportInfo = ExportInfo {
    name: "langfuse",
    summary: "dataset items of Langfuse as JSON, each a body of its API",
    leaves_out: "recorded outputs, labels, sampling weights",
    extension: "json",
    attachments: false,
    render,
};

fn render(exported: &Exported<'_>) -> Result<Vec<u8>, DatasetError> {
    foreign::document(&exported.examples.iter().map(|example| item(&exported.header.name, example)).collect())
}

fn item(dataset: &str, example: &Example) -> Value {
    let mut item = json!({
        "datasetName": dataset,
        "id": format!("{dataset}/{}", example.id),
        "input": example.input,
        "expectedOutput": example.reference,
        "metadata": foreign::metadata(example),
        "status": "ACTIVE",
    });
    if let [trace] = example.lineage.traces.as_slice() {
        item["sourceTraceId"] = json!(trace);
    }
    item
}
