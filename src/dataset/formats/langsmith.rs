//! Examples of a LangSmith dataset: `inputs`, `outputs` (the expected ones) and `metadata`.

use serde_json::Value;

use super::FormatInfo;
use super::shape;
use super::sketch::Sketch;
use crate::dataset::error::{Place, RowError};
use crate::model::{Example, TraceId};

/// The row of this format.
pub(super) const FORMAT: FormatInfo = FormatInfo {
    name: "langsmith",
    summary: "examples of a LangSmith dataset: `inputs`, expected `outputs`, `metadata`",
    recognise,
    open: shape::rows,
    examples,
    number_trials: false,
};

fn recognise(sketch: &Sketch) -> Option<String> {
    if sketch.any(&["run_type", "trace_id"]).is_some() {
        return None;
    }
    if sketch.has(&["inputs", "outputs"]) {
        return Some("rows with `inputs` and `outputs`".to_owned());
    }
    sketch.has(&["inputs", "dataset_id"]).then(|| "rows with `inputs` and `dataset_id`".to_owned())
}

fn examples(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    let input = shape::opened(shape::need(&mut row, &["inputs"], place, "the example's inputs")?);
    let id = shape::take(&mut row, &["id", "example_id"]);
    let mut example = shape::example(id.as_ref(), input);
    example.reference =
        shape::take(&mut row, &["outputs"]).map(shape::opened).filter(|value| !shape::is_nothing(value));
    if let Some(run) = shape::take_text(&mut row, &["source_run_id"]) {
        // The run's digits are the trace's where the run is a root, which examples are made from.
        example.lineage.traces.push(TraceId::new(run.replace('-', "")));
    }
    for name in ["dataset_id", "created_at", "modified_at", "name", "runs", "attachment_urls"] {
        shape::take(&mut row, &[name]);
    }
    shape::keep_rest(&mut example, row);
    if let Some(Value::Array(splits)) = example.metadata.remove("dataset_split") {
        let first = splits.first().and_then(Value::as_str).map(str::to_owned);
        example.dimensions.extend(first.map(|split| ("split".to_owned(), split)));
    }
    Ok(vec![example])
}
