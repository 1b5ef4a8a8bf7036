//! Finding the JSON in an output: the value itself, the text as JSON, or JSON inside prose and code fences.

use std::borrow::Cow;

use serde_json::Value;

use super::material::quote;
use crate::model::Output;

/// Places in a text at which JSON is tried. Hostile text may open a bracket at every character, and each try may
/// read to the end.
const MAX_TRIES: usize = 64;

/// The JSON an output holds, or what stands there instead. `extract` also looks inside prose: the first fenced block
/// that is JSON, else the longest object or array (the first of those of equal length).
pub(super) fn find_json(output: &Output, extract: bool) -> Result<Cow<'_, Value>, String> {
    let text = match &output.value {
        Value::String(text) => text,
        Value::Null => return Err("no output".to_owned()),
        structured => return Ok(Cow::Borrowed(structured)),
    };
    match serde_json::from_str(text.trim()) {
        Ok(value) => Ok(Cow::Owned(value)),
        Err(error) => {
            let inside = if extract { fenced(text).or_else(|| embedded(text)) } else { None };
            inside.map(Cow::Owned).ok_or_else(|| match (text.trim().is_empty(), extract) {
                (true, _) => "an empty text".to_owned(),
                (_, true) => format!("no JSON object or array in {}", quote(text)),
                (_, false) => format!("{error} in {}", quote(text)),
            })
        }
    }
}

fn fenced(text: &str) -> Option<Value> {
    blocks(text).find_map(|body| serde_json::from_str(body.trim()).ok().filter(is_structured))
}

/// What stands between code fences, without the word that names a language; the first of very many.
pub(super) fn blocks(text: &str) -> impl Iterator<Item = &str> {
    // Every other part lies between an opening and a closing fence; the first line of it names a language.
    text.split("```").skip(1).step_by(2).take(MAX_TRIES).map(|block| match block.split_once('\n') {
        Some((head, body)) if head.trim().chars().all(|c| c.is_ascii_alphanumeric()) => body,
        _ => block,
    })
}

/// The output as text, or where `extract` is set and it has a code fence, what stands in the first of them.
pub(super) fn text_or_block(output: &Output, extract: bool) -> String {
    let text = output.text();
    let block = if extract { blocks(&text).next().map(str::to_owned) } else { None };
    block.unwrap_or(text)
}

fn embedded(text: &str) -> Option<Value> {
    let mut best: Option<(usize, Value)> = None;
    let mut from = 0;
    for _ in 0..MAX_TRIES {
        let Some(rest) = text.get(from..) else { break };
        let Some(offset) = rest.find(['{', '[']) else { break };
        let start = from + offset;
        let mut values = serde_json::Deserializer::from_str(rest.get(offset..)?).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let length = values.byte_offset();
                if best.as_ref().is_none_or(|(longest, _)| length > *longest) {
                    best = Some((length, value));
                }
                from = start + length.max(1);
            }
            _ => from = start + 1,
        }
    }
    best.map(|(_, value)| value)
}

fn is_structured(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn found(text: &str) -> Option<Value> {
        find_json(&Output::of_text(text), true).ok().map(Cow::into_owned)
    }

    #[test]
    fn json_is_found_in_prose_and_fences() {
        assert_eq!(found("Sure! ```json\n{\"a\": 1}\n``` Bye."), Some(json!({"a": 1})));
        assert_eq!(found("```\n[1, 2]\n```"), Some(json!([1, 2])));
        assert_eq!(found("``` {\"a\": 2} ```"), Some(json!({"a": 2})));
        assert_eq!(found("See [1] and {\"a\": {\"b\": [2]}} {x}"), Some(json!({"a": {"b": [2]}})));
        assert_eq!(found("```python\nprint()\n```\n```json\n{}\n```"), Some(json!({})));
        assert_eq!(found("Use {braces} and [brackets]."), None);
        assert_eq!(find_json(&Output::of_text("x {\"a\":1}"), false).ok(), None);
    }

    #[test]
    fn hostile_brackets_are_given_up_on() {
        assert_eq!(found(&"[".repeat(1_000_000)), None);
        assert_eq!(found(&"{\"a\":".repeat(200_000)), None);
        assert_eq!(found(&"```".repeat(100_000)), None);
    }

    proptest! {
        #[test]
        fn json_survives_being_wrapped(words in "[a-z ]{0,20}", key in "[a-z]{1,8}", number in any::<i32>()) {
            let value = json!({ key: [number, "]}{["] });
            prop_assert_eq!(found(&format!("{words} {value} {words}")), Some(value.clone()));
            prop_assert_eq!(found(&format!("{words}\n```json\n{value}\n```\n{words}")), Some(value));
        }
    }
}
