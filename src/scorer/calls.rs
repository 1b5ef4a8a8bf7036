//! Tool calls an agent should make, as options and references write them, and the calls it made.
//!
//! Shared by the scorers of tool calls; gives no score itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::material::quote_value;
use super::path::Path;
use super::subset::contained;
use crate::model::{Output, ScoreInput, ToolUse, Unscored, UnscoredReason};
use crate::sys::text::one_line;

/// Where expectations stand unless the options say otherwise; the reference of examples that have none there.
const DEFAULT_SOURCE: &str = "example.expected_calls";

/// Keys under which a call keeps its name, and its arguments, in the order they are tried.
const NAME_KEYS: &[&str] = &["name", "tool", "tool_name"];
const ARGUMENT_KEYS: &[&str] = &["arguments", "args", "kwargs", "input", "parameters"];

/// Pairs of an expected and a made call that are looked at.
const MAX_PAIRS: usize = 1_000_000;

/// One call that is expected.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    /// Name of the tool, case-sensitive.
    pub name: String,
    /// Arguments that must be contained in those of the call; `None` when any will do.
    pub arguments: Option<Value>,
}

impl Expected {
    /// Whether a call is the expected one.
    pub(super) fn met_by(&self, call: &ToolUse) -> bool {
        if self.name != call.name {
            return false;
        }
        let Some(wanted) = &self.arguments else { return true };
        let none = Value::Object(Map::new());
        let given = call.arguments.as_ref().filter(|value| !value.is_null()).unwrap_or(&none);
        contained(wanted, &parsed(given))
    }

    /// The call as an explanation shows it.
    pub(super) fn shown(&self) -> String {
        let name = one_line(&self.name, 60);
        match &self.arguments {
            Some(arguments) => format!("`{name}` with {}", quote_value(arguments)),
            None => format!("`{name}`"),
        }
    }
}

/// Arguments are often JSON inside a text.
pub(super) fn parsed(value: &Value) -> Cow<'_, Value> {
    match value {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner) => Cow::Owned(inner),
            Err(_) => Cow::Borrowed(value),
        },
        other => Cow::Borrowed(other),
    }
}

/// Reads a list of names, or of objects with a name and perhaps arguments (also below `function`, as OpenAI has it).
pub(super) fn read_expected(value: &Value, arguments: bool) -> Result<Vec<Expected>, Unscored> {
    let Value::Array(items) = value else {
        return Err(Unscored::not_applicable(format!(
            "expected a list of tool calls, found {}: name the place with `expected_from` or set `tools`",
            quote_value(value)
        )));
    };
    items.iter().map(|item| read_call(item, arguments)).collect()
}

fn read_call(item: &Value, arguments: bool) -> Result<Expected, Unscored> {
    let call = item.get("function").filter(|inner| inner.is_object()).unwrap_or(item);
    let name = match call {
        Value::String(name) => Some(name.as_str()),
        other => NAME_KEYS.iter().find_map(|key| other.get(*key).and_then(Value::as_str)),
    };
    let name = name
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Unscored::not_applicable(format!("an expected tool call has no name: {}", quote_value(item))))?;
    let given = ARGUMENT_KEYS.iter().find_map(|key| call.get(*key)).filter(|value| arguments && !value.is_null());
    Ok(Expected { name: name.to_owned(), arguments: given.map(|value| parsed(value).into_owned()) })
}

/// The expected calls that stand in the data: where the options say, else in the example's own `expected_calls`, else in
/// its reference.
pub(super) fn expected_in(input: &ScoreInput<'_>, source: &Path, arguments: bool) -> Result<Vec<Expected>, Unscored> {
    let of_reference = || input.example.reference.as_ref().filter(|_| source.written() == DEFAULT_SOURCE);
    let found = source.find(input).or_else(|| of_reference().map(Cow::Borrowed)).filter(|found| !found.is_null());
    let found = found.ok_or_else(|| {
        Unscored::not_applicable(format!(
            "there are no expected tool calls at `{}`: add them or set `tools`",
            source.written()
        ))
    })?;
    read_expected(&found, arguments)
}

/// The calls the agent made.
pub(super) fn calls_of(output: &Output) -> Result<Vec<ToolUse>, Unscored> {
    let trace = output
        .trace
        .as_deref()
        .ok_or_else(|| Unscored::not_applicable("the output has no trace: its tool calls are unknown"))?;
    if trace.spans.is_empty() {
        return Err(Unscored::not_applicable("the trace has no spans: its tool calls are unknown"));
    }
    Ok(trace.tools_used())
}

/// The names of the calls made, each with how often, as an explanation shows them.
pub(super) fn shown_calls(calls: &[ToolUse]) -> String {
    if calls.is_empty() {
        return "no tool call".to_owned();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls {
        *counts.entry(&call.name).or_default() += 1;
    }
    let shown: Vec<String> = counts
        .iter()
        .map(|(name, count)| {
            let name = one_line(name, 60);
            if *count == 1 { format!("`{name}`") } else { format!("`{name}` × {count}") }
        })
        .collect();
    one_line(&format!("calls of {}", shown.join(", ")), 400)
}

/// Where expectations stand: `tools` and `expected_from` exclude each other.
pub(super) fn source_of<T>(tools: Option<&[T]>, expected_from: Option<&str>) -> Result<Path, String> {
    if tools.is_some_and(<[T]>::is_empty) {
        return Err("`tools` is empty: name at least one tool".to_owned());
    }
    if tools.is_some() && expected_from.is_some() {
        return Err("`tools` and `expected_from` are both set: keep one".to_owned());
    }
    Path::parse("expected_from", expected_from.unwrap_or(DEFAULT_SOURCE))
}

/// Refuses to match more pairs than can be matched in a moment.
pub(super) fn within_limit(expected: usize, calls: usize) -> Result<(), Unscored> {
    if expected.saturating_mul(calls) <= MAX_PAIRS {
        return Ok(());
    }
    Err(Unscored::new(
        UnscoredReason::InputTooLong,
        format!("{calls} calls against {expected} expected ones are more than {MAX_PAIRS} pairs: expect fewer"),
    ))
}
