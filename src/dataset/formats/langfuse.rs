//! Items of a Langfuse dataset: `input`, `expectedOutput`, `metadata`, and the trace an item was made from.

use serde_json::Value;

use super::FormatInfo;
use super::shape;
use super::sketch::Sketch;
use crate::dataset::error::{Place, RowError};
use crate::model::{Example, TraceId};

/// The row of this format.
pub(super) const FORMAT: FormatInfo = FormatInfo {
    name: "langfuse",
    summary: "items of a Langfuse dataset: `input`, `expectedOutput`, `sourceTraceId`; archived ones are left out",
    recognise,
    open: shape::rows,
    examples,
    number_trials: false,
};

const EXPECTED: &[&str] = &["expectedOutput", "expected_output"];
const OWN: &[&str] = &["datasetId", "dataset_id", "datasetName", "dataset_name"];
const TRACE: &[&str] = &["sourceTraceId", "source_trace_id"];

fn recognise(sketch: &Sketch) -> Option<String> {
    let own = sketch.any(OWN).or_else(|| sketch.any(TRACE))?;
    let fits = sketch.any(EXPECTED).is_some() && sketch.has(&["input"]);
    fits.then(|| format!("rows with `input`, an expected output and `{own}`"))
}

fn examples(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    if shape::take_text(&mut row, &["status"]).as_deref() == Some("ARCHIVED") {
        return Ok(Vec::new());
    }
    let input = shape::opened(shape::need(&mut row, &["input"], place, "the item's input")?);
    let id = shape::take(&mut row, &["id"]);
    let mut example = shape::example(id.as_ref(), input);
    example.reference = shape::take(&mut row, EXPECTED).map(shape::opened).filter(|value| !shape::is_nothing(value));
    example.lineage.traces.extend(shape::take_text(&mut row, TRACE).map(TraceId::new));
    for name in OWN.iter().chain(&["projectId", "createdAt", "updatedAt", "created_at", "updated_at"]) {
        shape::take(&mut row, &[name]);
    }
    shape::keep_rest(&mut example, row);
    Ok(vec![example])
}
