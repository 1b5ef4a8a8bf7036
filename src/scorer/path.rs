//! Paths to what an example, its output or its trace already holds (`output.metadata.reward`).

use std::borrow::Cow;

use serde_json::Value;

use crate::model::{ScoreInput, Trace};

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Root {
    OutputValue,
    OutputMetadata,
    ExampleInput,
    ExampleReference,
    ExampleCalls,
    ExampleMetadata,
    ExampleDimensions,
    Trace,
}

/// Prefixes and what they name; a path with none of them is looked up in the output's metadata.
const ROOTS: &[(&str, Root)] = &[
    ("output.value", Root::OutputValue),
    ("output.metadata", Root::OutputMetadata),
    ("example.input", Root::ExampleInput),
    ("example.reference", Root::ExampleReference),
    ("example.expected_calls", Root::ExampleCalls),
    ("example.metadata", Root::ExampleMetadata),
    ("example.dimensions", Root::ExampleDimensions),
    ("trace", Root::Trace),
];

/// A path as written, read once.
#[derive(Clone, Debug)]
pub(super) struct Path {
    written: String,
    root: Root,
    rest: String,
}

impl Path {
    /// Reads a path; `key` is the option it stands in, for the message.
    pub(super) fn parse(key: &str, written: &str) -> Result<Self, String> {
        let (root, rest) = ROOTS
            .iter()
            .find_map(|(prefix, root)| {
                let rest = written.strip_prefix(prefix)?;
                if rest.is_empty() { Some((*root, "")) } else { Some((*root, rest.strip_prefix('.')?)) }
            })
            .unwrap_or((Root::OutputMetadata, written));
        let whole =
            matches!(root, Root::OutputValue | Root::ExampleInput | Root::ExampleReference | Root::ExampleCalls);
        let stray = ["output.", "example."].iter().any(|start| rest == written && written.starts_with(start));
        if written.trim().is_empty() || stray || (rest.is_empty() && !whole) {
            let known: Vec<String> = ROOTS.iter().map(|(prefix, _)| format!("`{prefix}`")).collect();
            return Err(format!(
                "`{key}` = `{written}` names nothing: write a key of the output's metadata, or a path that starts with \
                 one of {}",
                known.join(", ")
            ));
        }
        Ok(Self { written: written.to_owned(), root, rest: rest.to_owned() })
    }

    /// The path as the user wrote it.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// What stands there; null counts as nothing.
    pub(super) fn find<'a>(&self, input: &ScoreInput<'a>) -> Option<Cow<'a, Value>> {
        let ScoreInput { example, output } = *input;
        let found = match self.root {
            Root::OutputValue => Cow::Borrowed(step(&output.value, &self.rest)?),
            Root::ExampleInput => Cow::Borrowed(step(&example.input, &self.rest)?),
            Root::ExampleReference => Cow::Borrowed(step(example.reference.as_ref()?, &self.rest)?),
            Root::ExampleCalls => {
                let calls = serde_json::to_value(example.expected_calls.as_ref()?).ok()?;
                Cow::Owned(step(&calls, &self.rest)?.clone())
            }
            Root::OutputMetadata => Cow::Borrowed(step_into(|key| output.metadata.get(key), &self.rest)?),
            Root::ExampleMetadata => Cow::Borrowed(step_into(|key| example.metadata.get(key), &self.rest)?),
            Root::ExampleDimensions => Cow::Owned(Value::String(example.dimensions.get(&self.rest)?.clone())),
            Root::Trace => in_trace(output.trace.as_deref()?, &self.rest)?,
        };
        (!found.is_null()).then_some(found)
    }
}

/// An attribute of the root, else of the first span that has it, else a dimension the trace knows by name.
fn in_trace<'a>(trace: &'a Trace, key: &str) -> Option<Cow<'a, Value>> {
    trace
        .root()
        .into_iter()
        .chain(&trace.spans)
        .find_map(|span| span.attribute(key))
        .map(Cow::Borrowed)
        .or_else(|| trace.dimension(key).map(|text| Cow::Owned(Value::String(text))))
}

/// What stands below a value at steps divided by points.
pub(super) fn step<'a>(value: &'a Value, rest: &str) -> Option<&'a Value> {
    if rest.is_empty() {
        return Some(value);
    }
    match value {
        Value::Object(map) => step_into(|key| map.get(key), rest),
        Value::Array(items) => {
            let (index, rest) = rest.split_once('.').unwrap_or((rest, ""));
            step(items.get(index.parse::<usize>().ok()?)?, rest)
        }
        _ => None,
    }
}

/// Keys may hold dots themselves (`feedback.score`): the longest key that is there wins.
fn step_into<'a>(get: impl Fn(&str) -> Option<&'a Value>, rest: &str) -> Option<&'a Value> {
    if let Some(found) = get(rest) {
        return Some(found);
    }
    rest.rmatch_indices('.').find_map(|(at, _)| {
        let (key, below) = (rest.get(..at)?, rest.get(at + 1..)?);
        step(get(key)?, below)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Example, Output};

    fn find(path: &str) -> Option<Value> {
        let mut example = Example::new("e".into(), json!({"messages": [{"role": "user"}]}));
        example.reference = Some(json!(["a", {"b": 1}]));
        example.dimensions.insert("tier".into(), "gold".into());
        example.expected_calls = Some(vec![crate::model::ExpectedCall { name: "book".into(), arguments: None }]);
        example.metadata.insert("null".into(), Value::Null);
        let mut output = Output::of_text("text");
        output.metadata.insert("feedback.score".into(), json!(4));
        output.metadata.insert("info".into(), json!({"reward": 0.5, "a.b": {"c": true}}));
        let input = ScoreInput { example: &example, output: &output };
        Path::parse("field", path).unwrap().find(&input).map(Cow::into_owned)
    }

    #[test]
    fn paths_lead_to_values() {
        assert_eq!(find("output.metadata.feedback.score"), Some(json!(4)));
        assert_eq!(find("feedback.score"), Some(json!(4)));
        assert_eq!(find("info.reward"), Some(json!(0.5)));
        assert_eq!(find("info.a.b.c"), Some(json!(true)));
        assert_eq!(find("output.value"), Some(json!("text")));
        assert_eq!(find("example.input.messages.0.role"), Some(json!("user")));
        assert_eq!(find("example.reference.1.b"), Some(json!(1)));
        assert_eq!(find("example.expected_calls"), Some(json!([{"name": "book"}])));
        assert_eq!(find("example.expected_calls.0.name"), Some(json!("book")));
        assert_eq!(find("example.dimensions.tier"), Some(json!("gold")));
        assert_eq!(find("example.metadata.null"), None);
        assert_eq!(find("output.value.x"), None);
        assert_eq!(find("trace.feedback"), None);
    }

    #[test]
    fn paths_that_name_nothing_are_refused() {
        for path in ["", "output.metadata", "output.reward", "example.reward", "trace", "output.metadata."] {
            assert!(Path::parse("field", path).is_err(), "{path}");
        }
    }
}
