//! Datasets of Pydantic Evals: `cases` with `inputs` and `expected_output`, in YAML or JSON.

use std::path::Path;

use serde_json::Value;

use super::FormatInfo;
use super::shape;
use super::sketch::Sketch;
use crate::dataset::error::{DatasetError, Place, RowError};
use crate::dataset::rows::{Limits, OnRow};
use crate::model::Example;

/// The row of this format.
pub(super) const FORMAT: FormatInfo = FormatInfo {
    name: "pydantic_evals",
    summary: "datasets of Pydantic Evals, YAML or JSON: `cases` with `inputs` and `expected_output`",
    recognise,
    open,
    examples,
    number_trials: false,
};

fn recognise(sketch: &Sketch) -> Option<String> {
    let case = sketch.value.get("cases")?.as_array()?.first()?;
    case.get("inputs").is_some().then(|| "`cases` with `inputs`".to_owned())
}

fn open(path: &Path, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    match shape::take(&mut shape::document(path, limits)?, &["cases"]) {
        Some(Value::Array(cases)) => shape::list_rows(path, cases, on_row),
        _ => Err(DatasetError::Format {
            file: path.to_owned(),
            format: "a dataset of Pydantic Evals",
            cause: "there is no list at `cases`".to_owned(),
        }),
    }
}

fn examples(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    let input = shape::need(&mut row, &["inputs"], place, "the case's inputs")?;
    let name = shape::take(&mut row, &["name"]);
    let mut example = shape::example(name.as_ref(), input);
    example.reference = shape::take(&mut row, &["expected_output"]);
    shape::keep_rest(&mut example, row);
    Ok(vec![example])
}
