//! ragas rows: single turns (`user_input`, `response`, `retrieved_contexts`, `reference`), dialogues, and the names
//! of its first versions (`question`, `answer` for the response, `contexts`, `ground_truth`).

use serde_json::{Map, Value, json};

use super::FormatInfo;
use super::shape;
use super::sketch::Sketch;
use crate::dataset::error::{Place, RowError};
use crate::model::{Example, Output, Recorded};

/// The row of this format.
pub(super) const FORMAT: FormatInfo = FormatInfo {
    name: "ragas",
    summary: "ragas rows: user input, response, retrieved contexts, reference; single turns or dialogues",
    recognise,
    open: shape::rows,
    examples,
    number_trials: false,
};

fn recognise(sketch: &Sketch) -> Option<String> {
    let names =
        ["response", "retrieved_contexts", "reference", "reference_contexts", "rubrics", "reference_tool_calls"];
    if sketch.has(&["user_input"]) {
        return sketch.any(&names).map(|own| format!("rows with `user_input` and `{own}`"));
    }
    let first = sketch.has(&["question", "answer", "contexts"]);
    first.then(|| "rows with `question`, `answer` and `contexts`".to_owned())
}

fn examples(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    let input = shape::opened(shape::need(&mut row, &["user_input", "question"], place, "the user's input")?);
    let dialogue = dialogue(&input);
    let (input, dialogue) = match dialogue {
        // The example is what was asked; the whole dialogue is what was recorded.
        Some(messages) => (Value::Array(until_answer(&messages)), Some(Value::Array(messages))),
        None => (input, None),
    };
    let id = shape::take(&mut row, &["id", "sample_id"]);
    let mut example = shape::example(id.as_ref(), input);
    let reference = shape::take(&mut row, &["reference", "ground_truth", "ground_truths"]);
    example.reference = reference.filter(|value| !shape::is_nothing(value));
    let calls = shape::take(&mut row, &["reference_tool_calls"]).map(|calls| shape::tool_calls(&shape::opened(calls)));
    example.metadata.extend(calls.map(|calls| ("expected_tools".to_owned(), calls)));
    let response = shape::take(&mut row, &["response", "answer"]);
    if response.is_some() || dialogue.is_some() {
        let mut output = Output { value: response.unwrap_or_default(), ..Output::default() };
        let contexts = shape::take(&mut row, &["retrieved_contexts", "contexts"]).map(shape::opened);
        output.metadata.extend(contexts.map(|contexts| ("retrieved_contexts".to_owned(), contexts)));
        if let Some(dialogue) = dialogue {
            shape::with_dialogue(&mut output, &dialogue, &example, (None, 0), "user_input", place)?;
        }
        example.recorded.push(Recorded { variant: None, trial: 0, output });
    }
    shape::keep_rest(&mut example, row);
    Ok(vec![example])
}

/// A list of ragas messages in OpenAI's chat format; `None` when it is no such list.
fn dialogue(input: &Value) -> Option<Vec<Value>> {
    let items = input.as_array().filter(|items| !items.is_empty())?;
    items.iter().map(message).collect()
}

fn message(item: &Value) -> Option<Value> {
    let role = match item.get("type").or_else(|| item.get("role")).and_then(Value::as_str)? {
        "human" | "user" => "user",
        "ai" | "assistant" => "assistant",
        other => other,
    };
    let mut map = Map::from_iter([("role".to_owned(), json!(role))]);
    map.insert("content".to_owned(), item.get("content").cloned().unwrap_or_default());
    if let Some(Value::Array(calls)) = item.get("tool_calls").map(shape::tool_calls).filter(|c| !shape::is_nothing(c)) {
        map.insert("tool_calls".to_owned(), calls.into_iter().map(|call| json!({"function": call})).collect());
    }
    Some(Value::Object(map))
}

fn until_answer(messages: &[Value]) -> Vec<Value> {
    messages.iter().take_while(|message| message["role"] != "assistant").cloned().collect()
}
