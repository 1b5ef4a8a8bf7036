//! Samples of OpenAI Evals: JSON lines with `input` as chat messages and `ideal`.

use serde_json::{Value, json};

use super::{ExportInfo, Exported, foreign};
use crate::dataset::error::DatasetError;
use crate::model::Example;

pub(super) const OPENAI_EVALS: ExportInfo = ExportInfo {
    name: "openai-evals",
    summary: "samples of OpenAI Evals as JSON lines: `input` as messages, `ideal`",
    leaves_out: "recorded outputs, labels, sampling weights",
    extension: "jsonl",
    attachments: false,
    render,
};

fn render(exported: &Exported<'_>) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    for example in exported.examples {
        bytes.extend_from_slice(sample(example).to_string().as_bytes());
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn sample(example: &Example) -> Value {
    let mut sample = json!({ "input": foreign::messages(&example.input), "metadata": foreign::metadata(example) });
    if let Some(reference) = &example.reference {
        // Evals takes a text, or a list of texts of which any will do.
        let text = |value: &Value| match value {
            Value::String(text) => json!(text),
            other => json!(other.to_string()),
        };
        sample["ideal"] = match reference {
            Value::Array(items) if items.iter().all(Value::is_string) => reference.clone(),
            other => text(other),
        };
    }
    sample
}
