//! DeepEval's goldens and test cases: input, expected and actual output, contexts, tools expected and called.

use serde_json::Value;

use super::FormatInfo;
use super::shape;
use super::sketch::Sketch;
use crate::dataset::error::{Place, RowError};
use crate::model::{Example, Output, Recorded};

/// The row of this format.
pub(super) const FORMAT: FormatInfo = FormatInfo {
    name: "deepeval",
    summary: "DeepEval goldens and test cases, JSON or CSV: expected and actual output, contexts, tools",
    recognise,
    open: shape::rows,
    examples,
    number_trials: false,
};

const EXPECTED_TOOLS: &[&str] = &["expected_tools", "expectedTools"];
const TOOLS_CALLED: &[&str] = &["tools_called", "toolsCalled"];
/// Contexts in CSV files are joined by this, as DeepEval writes them.
const JOINED: char = '|';

fn recognise(sketch: &Sketch) -> Option<String> {
    let names = [
        "actual_output",
        "actualOutput",
        "retrieval_context",
        "retrievalContext",
        "expected_tools",
        "expectedTools",
        "tools_called",
        "toolsCalled",
        "source_file",
    ];
    let own = sketch.any(&names)?;
    sketch.has(&["input"]).then(|| format!("rows with `input` and `{own}`"))
}

fn examples(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    let input = shape::need(&mut row, &["input"], place, "the golden's input")?;
    let id = shape::take(&mut row, &["id"]);
    let mut example = shape::example(id.as_ref(), input);
    example.reference = shape::take(&mut row, &["expected_output", "expectedOutput"]).filter(|v| !shape::is_nothing(v));
    let tools = shape::take(&mut row, EXPECTED_TOOLS).map(|tools| shape::tool_calls(&shape::opened(tools)));
    example.metadata.extend(tools.filter(|tools| !shape::is_nothing(tools)).map(|t| ("expected_tools".to_owned(), t)));
    let called = shape::take(&mut row, TOOLS_CALLED).map(shape::opened).filter(|value| !shape::is_nothing(value));
    let said = shape::take(&mut row, &["actual_output", "actualOutput"]).filter(|value| !shape::is_nothing(value));
    // What was retrieved belongs to the output: another version of the application may retrieve something else.
    let retrieved = shape::take(&mut row, &["retrieval_context", "retrievalContext"]).map(context);
    let context_said = shape::take(&mut row, &["context"]).map(context);
    example.metadata.extend(context_said.map(|value| ("context".to_owned(), value)));
    if said.is_some() || called.is_some() {
        let mut output = Output { value: said.unwrap_or_default(), ..Output::default() };
        output.metadata.extend(retrieved.map(|value| ("retrieval_context".to_owned(), value)));
        if let Some(cost) = shape::take(&mut row, &["token_cost", "tokenCost"]).and_then(|cost| cost.as_f64()) {
            output.cost_usd = Some(cost).filter(|cost| *cost >= 0.0);
        }
        if let Some(seconds) = shape::take(&mut row, &["completion_time", "completionTime"]).and_then(|s| s.as_f64()) {
            output.latency_ms = Some(seconds * 1000.0).filter(|ms| *ms >= 0.0);
        }
        if let Some(called) = called {
            let dialogue = shape::dialogue_of_calls(&example.input, &called, &output.value);
            shape::with_dialogue(&mut output, &dialogue, &example, (None, 0), "tools_called", place)?;
        }
        example.recorded.push(Recorded { variant: None, trial: 0, output });
    } else {
        example.metadata.extend(retrieved.map(|value| ("retrieval_context".to_owned(), value)));
    }
    shape::keep_rest(&mut example, row);
    Ok(vec![example])
}

fn context(value: Value) -> Value {
    match shape::opened(value) {
        Value::String(text) if text.contains(JOINED) => text.split(JOINED).map(str::trim).collect(),
        Value::String(text) => Value::Array(vec![Value::String(text)]),
        other => other,
    }
}
