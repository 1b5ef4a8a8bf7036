//! Our own form: one example per line, everything in it. What `assize dataset import` reads without a mapping.

use super::{ExportInfo, Exported};
use crate::dataset::error::DatasetError;
use crate::dataset::lines::line_of_example;

pub(super) const JSONL: ExportInfo = ExportInfo {
    name: "jsonl",
    summary: "JSON lines, everything kept; `assize schema dataset.example` describes a line",
    leaves_out: "",
    extension: "jsonl",
    attachments: true,
    render,
};

fn render(exported: &Exported<'_>) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    for example in exported.examples {
        bytes.extend_from_slice(line_of_example(example)?.as_bytes());
        bytes.push(b'\n');
    }
    Ok(bytes)
}
