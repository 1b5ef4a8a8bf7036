//! Finding JSON objects in a model's text: whole, in code fences, amid prose, or slightly broken.
//!
//! Knows nothing of scores. Never recurses deeper than `serde_json` allows and does bounded work on any text.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Longest text that is searched; a reply beyond is no reply to a question that asked for a small object.
const MAX_CHARS: usize = 400_000;

/// Most starts that are tried.
const MAX_STARTS: usize = 1_000;

/// An object as its pairs in order, so that a key given twice is seen twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs(pub Vec<(String, Value)>);

impl Pairs {
    /// All values of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value)
    }
}

impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, Value>()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The complete objects of a text in order, none inside another, and what of the text is outside them. A single
/// object inside a wrapper with one key is unwrapped.
pub fn objects(text: &str) -> (Vec<Pairs>, String) {
    let (found, outside) = whole_objects(text);
    (found.into_iter().map(unwrap).collect(), outside)
}

/// The same without unwrapping.
pub fn whole_objects(text: &str) -> (Vec<Pairs>, String) {
    let mut found = Vec::new();
    let mut outside = String::new();
    if text.len() > MAX_CHARS {
        return (found, outside);
    }
    let mut from = 0;
    let mut kept = 0;
    for _ in 0..MAX_STARTS {
        let Some(rest) = text.get(from..) else { break };
        let Some(offset) = rest.find('{') else { break };
        let start = from + offset;
        let mut stream = serde_json::Deserializer::from_str(text.get(start..).unwrap_or("")).into_iter::<Pairs>();
        match stream.next() {
            Some(Ok(pairs)) => {
                found.push(pairs);
                outside.push_str(text.get(kept..start).unwrap_or(""));
                from = start + stream.byte_offset().max(1);
                kept = from;
            }
            _ => from = start + 1,
        }
    }
    outside.push_str(text.get(kept..).unwrap_or(""));
    (found, outside)
}

/// The object of a text that is one but for raw line breaks in strings, commas before closing brackets, or missing
/// closing brackets at its end. `None` when it ends inside a string: what is missing then is not only form.
pub fn mend(text: &str) -> Option<Pairs> {
    let start = text.find('{')?;
    let body = text.get(start..).filter(|body| body.len() <= MAX_CHARS)?;
    let mut mended = String::with_capacity(body.len() + 8);
    let mut open: Vec<char> = Vec::new();
    let mut in_string = false;
    let mut escaped = false;
    for character in body.chars() {
        if in_string {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            match character {
                '\n' => mended.push_str("\\n"),
                '\r' => {}
                '\t' => mended.push_str("\\t"),
                other => mended.push(other),
            }
            continue;
        }
        match character {
            '"' => in_string = true,
            '{' => open.push('}'),
            '[' => open.push(']'),
            '}' | ']' => {
                if open.pop() != Some(character) {
                    return None;
                }
                drop_trailing_comma(&mut mended);
            }
            _ => {}
        }
        mended.push(character);
        if open.is_empty() {
            break;
        }
    }
    if in_string {
        return None;
    }
    drop_trailing_comma(&mut mended);
    mended.extend(open.iter().rev());
    serde_json::from_str(&mended).ok().map(unwrap)
}

fn drop_trailing_comma(text: &mut String) {
    let kept = text.trim_end().len();
    if text.get(..kept).is_some_and(|text| text.ends_with(',')) {
        text.truncate(kept - 1);
    }
}

/// `{"answer": {...}}` stands for its inner object.
fn unwrap(pairs: Pairs) -> Pairs {
    match pairs.0.as_slice() {
        [(_, Value::Object(inner))] => Pairs(inner.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
        _ => pairs,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_found_in_order_and_not_inside_others() {
        let (found, outside) = objects("a {\"x\": {\"y\": 1}, \"z\": 2} b {broken {\"w\": 3}");
        assert_eq!(outside, "a  b {broken ");
        let keys: Vec<&str> = found.iter().flat_map(|pairs| pairs.0.iter().map(|(key, _)| key.as_str())).collect();
        assert_eq!(keys, ["x", "z", "w"]);
    }

    #[test]
    fn a_repeated_key_is_seen_twice() {
        let (found, _) = objects(r#"{"score": "fail", "score": "pass"}"#);
        assert_eq!(found[0].all("score").count(), 2);
    }

    #[test]
    fn small_faults_of_form_are_mended() {
        let mended =
            mend("Sure:\n{\"reasoning\": \"two\nlines\", \"evidence\": [\"a\",], \"score\": \"pass\",").unwrap();
        assert_eq!(mended.all("score").next(), Some(&json!("pass")));
        assert_eq!(mended.all("reasoning").next(), Some(&json!("two\nlines")));
        assert_eq!(mend(r#"{"reasoning": "cut off in the mid"#), None);
        assert_eq!(mend(r#"{"a": ["x"}"#), None);
    }

    #[test]
    fn deep_nesting_is_no_trouble() {
        assert!(objects(&"{\"a\":".repeat(50_000)).0.is_empty());
        assert!(mend(&"{\"a\":[".repeat(20_000)).is_none());
    }
}
