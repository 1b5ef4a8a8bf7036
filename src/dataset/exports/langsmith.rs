//! Examples of LangSmith: a JSON list for its upload and for `POST /api/v1/examples/bulk`, which wants a `dataset_id`
//! besides.
//!
//! Ids are made of dataset and example, so that sending a later version updates the examples in place.

use serde_json::{Value, json};

use super::{ExportInfo, Exported, foreign};
use crate::dataset::error::DatasetError;
use crate::model::Example;

pub(super) const LANGSMITH: ExportInfo = ExportInfo {
    name: "langsmith",
    summary: "examples of LangSmith as JSON: `inputs`, `outputs`, `metadata`, `split`",
    leaves_out: "recorded outputs, labels, sampling weights",
    extension: "json",
    attachments: false,
    render,
};

fn render(exported: &Exported<'_>) -> Result<Vec<u8>, DatasetError> {
    foreign::document(&exported.examples.iter().map(|found| example(&exported.header.name, found)).collect())
}

fn example(dataset: &str, example: &Example) -> Value {
    let mut row = json!({
        "id": uuid_of(dataset, example),
        "inputs": foreign::object("input", &example.input),
        "metadata": foreign::metadata(example),
    });
    if let Some(reference) = &example.reference {
        row["outputs"] = foreign::object("output", reference);
    }
    if let Some(split) = &example.split {
        row["split"] = json!(split);
    }
    row
}

/// A UUID of our own rule (version 8) from a hash of both names.
fn uuid_of(dataset: &str, example: &Example) -> String {
    let hash = blake3::Hasher::new()
        .update(b"assize.langsmith.1")
        .update(&(dataset.len() as u64).to_le_bytes())
        .update(dataset.as_bytes())
        .update(example.id.as_str().as_bytes())
        .finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.as_bytes()).for_each(|(byte, hashed)| *byte = *hashed);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
