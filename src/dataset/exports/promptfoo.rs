//! Test cases of promptfoo: a JSON list for `tests: file://tests.json`.
//!
//! The reference becomes the variable `reference`, not an assertion: by which rule to compare is for the user to say
//! once, in `defaultTest` (`assert: [{type: equals, value: "{{reference}}"}]`).

use serde_json::{Map, Value, json};

use super::{ExportInfo, Exported, foreign};
use crate::dataset::error::DatasetError;
use crate::model::Example;

pub(super) const PROMPTFOO: ExportInfo = ExportInfo {
    name: "promptfoo",
    summary: "test cases of promptfoo as JSON; the reference is the variable `reference`",
    leaves_out: "recorded outputs, labels, sampling weights",
    extension: "json",
    attachments: false,
    render,
};

fn render(exported: &Exported<'_>) -> Result<Vec<u8>, DatasetError> {
    foreign::document(&exported.examples.iter().map(test).collect())
}

fn test(example: &Example) -> Value {
    let mut vars = match foreign::object("input", &example.input) {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    if let Some(reference) = &example.reference {
        vars.entry("reference").or_insert_with(|| reference.clone());
    }
    json!({ "description": example.id, "vars": vars, "metadata": foreign::metadata(example) })
}
