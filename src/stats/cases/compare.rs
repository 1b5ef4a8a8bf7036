//! An answer against what a case expects: numbers within tolerance, everything else to the letter.

use std::fmt;

use serde_json::Value;

/// Room of a file that names none: absolute and relative.
const TOLERANCE: (f64, f64) = (1e-12, 1e-9);

/// One place where an answer is not what the case expects.
#[derive(Clone, Debug, PartialEq)]
pub struct Miss {
    /// Path of keys inside `expected`, such as `wilson[0]`.
    pub place: String,
    /// What was answered; `None` where the answer has no such key.
    pub found: Option<Value>,
    /// What the case expects.
    pub expected: Value,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, found, expected } = self;
        match found {
            Some(found) => write!(f, "{place}: got {found}, expected {expected}"),
            None => write!(f, "{place}: no answer is given, expected {expected}"),
        }
    }
}

/// All places where `found` is not what the case expects; none when it agrees.
///
/// `tolerance` is the file's; a case's own `tol` goes before it, key by key. A number agrees when
/// `|found - expected| <= abs + rel |expected|`. An expected key that the answer has not is a miss; keys of the answer
/// that nobody expects are none. The error says that the case expects nothing.
pub fn compare_case(found: &Value, case: &Value, tolerance: &Value) -> Result<Vec<Miss>, String> {
    let expected = case.get("expected").ok_or("the case has no `expected`")?;
    // Null is an answer: that the method gives none.
    if !expected.is_null() && expected.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err("`expected` is neither null nor an object with keys".to_owned());
    }
    let room = |key: &str, otherwise: f64| {
        let own = case.get("tol").and_then(|own| own.get(key)).and_then(Value::as_f64);
        own.or_else(|| tolerance.get(key).and_then(Value::as_f64)).unwrap_or(otherwise)
    };
    let room = (room("abs", TOLERANCE.0), room("rel", TOLERANCE.1));
    let mut misses = Vec::new();
    compare("", Some(found), expected, room, &mut misses);
    Ok(misses)
}

fn compare(place: &str, found: Option<&Value>, expected: &Value, room: (f64, f64), misses: &mut Vec<Miss>) {
    let agrees = match (found, expected) {
        (Some(Value::Object(left)), Value::Object(right)) => {
            let dot = if place.is_empty() { "" } else { "." };
            for (key, value) in right {
                compare(&format!("{place}{dot}{key}"), left.get(key), value, room, misses);
            }
            true
        }
        (Some(Value::Array(left)), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{place}[{index}]"), Some(left), right, room, misses);
            }
            true
        }
        (Some(Value::Number(left)), Value::Number(right)) => left
            .as_f64()
            .zip(right.as_f64())
            .is_some_and(|(left, right)| (left - right).abs() <= room.0 + room.1 * right.abs()),
        (found, expected) => found == Some(expected),
    };
    if !agrees {
        misses.push(Miss { place: place.to_owned(), found: found.cloned(), expected: expected.clone() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(found: &Value, case: &Value) -> Vec<String> {
        let misses = compare_case(found, case, &json!({ "rel": 1e-3, "abs": 0 })).unwrap();
        misses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numbers_have_room_and_words_have_none() {
        let found = json!({ "status": "ok", "n": 3, "ci": [1.0, null], "deep": { "p": 0.0 }, "more": 1 });
        let agreed = json!({ "expected": { "status": "ok", "n": 3.0, "ci": [1.0009, null], "deep": { "p": 0 } } });
        assert_eq!(places(&found, &agreed), Vec::<String>::new());
        let other = json!({ "expected": { "status": "Ok", "n": null, "ci": [1.0], "deep": { "p": 1e-9, "q": 1 } } });
        let told = places(&found, &other);
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(told.contains(&"deep.q: no answer is given, expected 1".to_owned()), "{told:?}");
    }

    #[test]
    fn a_case_may_widen_its_room_and_must_expect_something() {
        let (found, expected) = (json!({ "p": 0.5 }), json!({ "p": 0.51 }));
        let misses = |case: Value| compare_case(&found, &case, &Value::Null);
        assert_eq!(misses(json!({ "expected": expected })).unwrap().len(), 1);
        assert_eq!(misses(json!({ "expected": expected, "tol": { "abs": 0.02 } })).unwrap(), []);
        assert_eq!(misses(json!({ "expected": null })).unwrap().len(), 1);
        assert!(misses(json!({ "expected": {} })).is_err());
        assert!(misses(json!({ "input": {} })).is_err());
    }
}
