//! Small tools for foreign JSON: parsing that keeps long integers, keys with several spellings, words for errors.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::error::Problem;

/// Parses one JSON value; the error names line and column inside the record.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let found = match error.classify() {
            serde_json::error::Category::Eof => format!("cut off ({error})"),
            _ => format!("not JSON ({error})"),
        };
        Problem::new("record", found, "one complete JSON value in UTF-8")
    })
}

/// The same text with each half of a surrogate pair that has no other half replaced by `\ufffd`, and how many there
/// were. JavaScript and Python tracers cut strings in the middle of a character; no JSON parser for UTF-8 takes that.
pub(crate) fn replace_half_characters(bytes: &[u8]) -> (Vec<u8>, u64) {
    let unit = |at: usize| -> Option<u16> {
        let escape = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
    };
    let mut replaced = Vec::with_capacity(bytes.len());
    let (mut at, mut count) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        // An escape is taken whole, so that the second of two backslashes does not begin another.
        let length = match (byte, unit(at)) {
            (b'\\', Some(0xd800..=0xdbff)) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            (b'\\', Some(0xd800..=0xdfff)) => {
                replaced.extend_from_slice(b"\\ufffd");
                (at, count) = (at + 6, count + 1);
                continue;
            }
            (b'\\', _) => 2,
            _ => 1,
        };
        replaced.extend_from_slice(bytes.get(at..at + length).or_else(|| bytes.get(at..)).unwrap_or_default());
        at += length;
    }
    (replaced, count)
}

/// Replaces the halves of characters in texts that hold JSON of their own, as messages in an attribute do: else the
/// whole text would be no JSON. Answers how many there were.
pub(crate) fn mend_inner_json<'a>(values: impl IntoIterator<Item = &'a mut Value>) -> u64 {
    let mut count = 0;
    for value in values {
        match value {
            Value::String(text) if may_hold_halves(text) => count += mend_text(text),
            Value::Array(items) => count += mend_inner_json(items),
            Value::Object(map) => count += mend_inner_json(map.values_mut()),
            _ => {}
        }
    }
    count
}

/// Every text of every span is asked this: one look for what nearly none holds.
fn may_hold_halves(text: &str) -> bool {
    memchr::memmem::find_iter(text.as_bytes(), b"\\u")
        .any(|at| matches!(text.as_bytes().get(at + 2), Some(b'd' | b'D')))
}

fn mend_text(text: &mut String) -> u64 {
    if !text.trim_start().starts_with(['{', '[']) {
        return 0;
    }
    let (mended, count) = replace_half_characters(text.as_bytes());
    match String::from_utf8(mended) {
        Ok(mended) if count > 0 => {
            *text = mended;
            count
        }
        _ => 0,
    }
}

/// The same text with each integer of twenty digits or more put in quotes.
///
/// Some tracers write 128-bit ids as JSON numbers. `serde_json` would round them to a double; asking it for
/// arbitrary precision would change numbers for the whole program.
pub(crate) fn quote_long_integers(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut quoted: Vec<u8> = Vec::new();
    let mut copied = 0;
    let (mut in_text, mut escaped) = (false, false);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if in_text {
            (in_text, escaped) = (escaped || *byte != b'"', !escaped && *byte == b'\\');
            at += 1;
            continue;
        }
        if !byte.is_ascii_digit() {
            in_text = *byte == b'"';
            at += 1;
            continue;
        }
        let number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
        let rest = bytes.get(at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !number(byte)).unwrap_or(rest.len());
        let digits = rest.get(..length).unwrap_or_default();
        let negative = at > 0 && bytes.get(at - 1) == Some(&b'-');
        if length >= 20 && !negative && digits.iter().all(u8::is_ascii_digit) {
            quoted.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
            quoted.push(b'"');
            quoted.extend_from_slice(digits);
            quoted.push(b'"');
            copied = at + length;
        }
        at += length;
    }
    if quoted.is_empty() {
        return Cow::Borrowed(bytes);
    }
    quoted.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    Cow::Owned(quoted)
}

/// Takes the first of several keys that is present and not null.
pub(crate) fn take(map: &mut Map<String, Value>, keys: &[&str]) -> Option<Value> {
    keys.iter().find_map(|key| map.remove(*key).filter(|value| !value.is_null()))
}

/// Takes a list under one of several keys; absent is empty, another type is a problem.
pub(crate) fn take_list(map: &mut Map<String, Value>, keys: &[&str]) -> Result<Vec<Value>, Problem> {
    match take(map, keys) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(Problem::new(field(keys), describe(&other), "a list")),
    }
}

/// Takes an object under one of several keys; absent is empty, another type is a problem.
pub(crate) fn take_object(map: &mut Map<String, Value>, keys: &[&str]) -> Result<Map<String, Value>, Problem> {
    match take(map, keys) {
        None => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(other) => Err(Problem::new(field(keys), describe(&other), "an object")),
    }
}

/// Takes a text under one of several keys; numbers count as text, other types are a problem.
pub(crate) fn take_text(map: &mut Map<String, Value>, keys: &[&str]) -> Result<Option<String>, Problem> {
    match take(map, keys) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(Problem::new(field(keys), describe(&other), "a text")),
    }
}

/// Takes a text that must be there and say something.
pub(crate) fn need_text(map: &mut Map<String, Value>, keys: &[&str], expected: &str) -> Result<String, Problem> {
    let text = take_text(map, keys)?.filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| Problem::new(field(keys), "missing", expected))
}

/// Takes words under one of several keys, whatever their type: a container as its JSON. Blank is absent.
pub(crate) fn take_words(map: &mut Map<String, Value>, keys: &[&str]) -> Option<String> {
    take(map, keys).as_ref().and_then(words)
}

/// A value in its own words: a text as it is, a container as its JSON; nothing for what says nothing.
pub(crate) fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.clone()),
        value if is_empty(value) => None,
        other => Some(other.to_string()),
    }
}

/// Whether a value says nothing: null, blank, or a container without content.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A finite number, also out of a text; truth values are no numbers.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// What stands under a key of dotted segments: under the key itself where there is one, else inside of objects.
pub(crate) fn at<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let inside = || {
        let (first, rest) = path.split_once('.')?;
        at(map.get(first)?.as_object()?, rest)
    };
    map.get(path).or_else(inside).filter(|value| !value.is_null())
}

/// How an error names a field that has several spellings: by the first.
pub(crate) fn field(keys: &[&str]) -> String {
    format!("`{}`", keys.first().copied().unwrap_or_default())
}

/// A value in a few words, for "found".
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("the truth value {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => {
            let head: String = text.chars().take(60).collect();
            format!("the text `{head}` of {} bytes", text.len())
        }
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(map) => {
            let keys: Vec<&str> = map.keys().take(8).map(String::as_str).collect();
            format!("an object with keys {}", if keys.is_empty() { "(none)".to_owned() } else { keys.join(", ") })
        }
    }
}

/// The JSON value a text holds when it is an object or a list; anything else stays the text it is.
pub(crate) fn structured(value: Value) -> Value {
    match &value {
        Value::String(text) => container(text).unwrap_or(value),
        _ => value,
    }
}

/// Parses a text that holds a JSON object or list.
pub(crate) fn container(text: &str) -> Option<Value> {
    let trimmed = text.trim();
    let opens =
        trimmed.starts_with('{') && trimmed.ends_with('}') || trimmed.starts_with('[') && trimmed.ends_with(']');
    if opens { serde_json::from_str(trimmed).ok() } else { None }
}

/// The JSON that Python's way to print a dictionary or list stands for: `{'a': True}`. Python tracers write arguments
/// so; anything that is not plainly such a text is nothing.
pub(crate) fn python_container(text: &str) -> Option<Value> {
    let mut json = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut word = String::new();
    while let Some(next) = rest.next() {
        if next.is_alphanumeric() || matches!(next, '_' | '.' | '+' | '-') {
            word.push(next);
            continue;
        }
        json.push_str(python_word(&std::mem::take(&mut word))?);
        match next {
            '\'' | '"' => json.push_str(&python_text(next, &mut rest)?),
            '(' => json.push('['),
            ')' => json.push(']'),
            other => json.push(other),
        }
    }
    if word.is_empty() { container(&json) } else { None }
}

fn python_word(word: &str) -> Option<&str> {
    match word {
        "True" => Some("true"),
        "False" => Some("false"),
        "None" => Some("null"),
        // A number, or nothing; other words are names of things that are no JSON.
        number => (number.is_empty() || number.parse::<f64>().is_ok_and(f64::is_finite)).then_some(number),
    }
}

/// The rest of a quoted text, as JSON. Escapes other than the common ones are not guessed at.
fn python_text(quote: char, rest: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut text = String::new();
    loop {
        match rest.next()? {
            end if end == quote => return serde_json::to_string(&text).ok(),
            '\\' => text.push(match rest.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                same @ ('\\' | '\'' | '"') => same,
                _ => return None,
            }),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn dictionaries_that_python_printed_are_read() {
        let text =
            r#"{'city': "Par'is", 'n': [1, -2.5, None], 'deep': {'ok': True, 'no': False}, 'pair': (1, 'x\ny')}"#;
        let expected = json!({"city": "Par'is", "n": [1, -2.5, null], "deep": {"ok": true, "no": false},
            "pair": [1, "x\ny"]});
        assert_eq!(python_container(text), Some(expected));
        for other in ["rainy", "{'a': datetime(2026)}", "{'a'}", "{'a': inf}", "{'a': 'x", "{'a': b'x'}", "{1: 2}", "7"]
        {
            assert_eq!(python_container(other), None, "{other}");
        }
    }

    #[test]
    fn only_long_integers_outside_strings_are_quoted() {
        let text = br#"{"id": 100927429609276267646756448943279827607, "s":"12345678901234567890123", "e":"\"123456789012345678901", "f":1.2345678901234567890123, "n":-12345678901234567890123}"#;
        let value: Value = serde_json::from_slice(&quote_long_integers(text)).unwrap();
        assert_eq!(value["id"], json!("100927429609276267646756448943279827607"));
        assert_eq!(value["s"], json!("12345678901234567890123"));
        assert!(value["f"].is_f64() && value["n"].is_f64());
        assert!(matches!(quote_long_integers(b"[1,2,\"x\"]"), Cow::Borrowed(_)));
    }

    #[test]
    fn half_characters_are_replaced_and_whole_ones_stay() {
        let text = br#"["\ud83d\ude00", "\ud83d", "\ude00x", "\\ud83d", "\ud83d\n"]"#;
        let (replaced, count) = replace_half_characters(text);
        assert_eq!(count, 3);
        let value: Value = serde_json::from_slice(&replaced).unwrap();
        assert_eq!(value, json!(["\u{1f600}", "\u{fffd}", "\u{fffd}x", "\\ud83d", "\u{fffd}\n"]));
    }

    #[test]
    fn half_characters_are_replaced_in_json_inside_of_texts_only() {
        let mut values = [
            json!(r#"[{"role": "user", "content": "cut \ud83d"}]"#),
            json!({"deep": [r#"{"a": "\uDE00"}"#]}),
            json!(r"how to write \ud83d in JSON"),
            json!(r#"["\ud83d\ude00"]"#),
        ];
        let before = values.clone();
        assert_eq!(mend_inner_json(&mut values), 2);
        assert_eq!(container(values[0].as_str().unwrap()).unwrap()[0]["content"], json!("cut \u{fffd}"));
        assert_eq!(values[1], json!({"deep": [r#"{"a": "\ufffd"}"#]}));
        assert_eq!(values[2..], before[2..]);
    }

    #[test]
    fn only_containers_are_parsed_out_of_text() {
        assert_eq!(structured(json!("{\"a\":1}")), json!({"a": 1}));
        assert_eq!(structured(json!("2025")), json!("2025"));
        assert_eq!(structured(json!("{not json}")), json!("{not json}"));
    }

    #[test]
    fn fields_are_found_by_path_and_read_for_what_they_say() {
        let map = json!({"a": {"b": {"c": 1}}, "a.b": 2, "n": " 1.5 ", "z": null, "e": {}, "w": {"x": 1}});
        let mut map = map.as_object().cloned().unwrap();
        assert_eq!((at(&map, "a.b.c"), at(&map, "a.b"), at(&map, "z")), (Some(&json!(1)), Some(&json!(2)), None));
        assert_eq!((number(&map["n"]), number(&json!("NaN")), number(&json!(true))), (Some(1.5), None, None));
        assert_eq!((words(&map["e"]), take_words(&mut map, &["w"])), (None, Some("{\"x\":1}".to_owned())));
        assert_eq!(need_text(&mut map, &["id"], "an id").unwrap_err().found, "missing");
    }

    proptest! {
        #[test]
        fn what_json_prints_python_would_too(text in "[\\PC'\"]{0,12}", number in any::<i32>()) {
            let value = json!({"a": [text, number], "b": {}});
            if !text.contains(|character: char| character.is_control()) {
                prop_assert_eq!(python_container(&value.to_string()), Some(value));
            }
        }

        #[test]
        fn any_text_is_a_container_or_none(text in "[\\[\\]{}(),:'\"\\\\ aTrue1.-]{0,40}") {
            python_container(&text);
        }

        #[test]
        fn replacing_gives_back_what_needs_none(text in "[\\\\ud83eacf\" ]{0,60}") {
            let (replaced, count) = replace_half_characters(text.as_bytes());
            prop_assert!(count > 0 || replaced == text.as_bytes());
        }

        #[test]
        fn quoting_keeps_valid_json_valid(text in "[\\[\\]{}\":,\\\\ 0-9.e-]{0,120}") {
            let bytes = text.as_bytes();
            if serde_json::from_slice::<Value>(bytes).is_ok() {
                prop_assert!(serde_json::from_slice::<Value>(&quote_long_integers(bytes)).is_ok());
            }
        }
    }
}
