//! Values out of a case's input; every error names the key and what was found there.

use std::collections::BTreeSet;

use serde_json::Value;

/// Greatest count that a case may ask for: a mistyped size must not keep a machine busy for hours.
const MOST: u64 = 1_000_000_000;

/// What stands at a key; null when nothing does.
pub(super) fn at<'a>(input: &'a Value, key: &str) -> &'a Value {
    input.get(key).unwrap_or(&Value::Null)
}

/// A number that must be there.
pub(super) fn number(input: &Value, key: &str) -> Result<f64, String> {
    maybe_number(input, key)?.ok_or_else(|| format!("`{key}` is missing"))
}

/// A number, or `None` for null and for no such key.
pub(super) fn maybe_number(input: &Value, key: &str) -> Result<Option<f64>, String> {
    match at(input, key) {
        Value::Null => Ok(None),
        value => value.as_f64().map(Some).ok_or_else(|| format!("`{key}` is {value}, which is no number")),
    }
}

/// A whole number from 0 on.
pub(super) fn count(input: &Value, key: &str) -> Result<u64, String> {
    let value = at(input, key);
    let whole = value.as_f64().filter(|value| *value >= 0.0 && value.fract() == 0.0 && *value <= MOST as f64);
    match (value, whole) {
        (Value::Null, _) => Err(format!("`{key}` is missing")),
        (_, Some(whole)) => Ok(whole as u64),
        (value, None) => Err(format!("`{key}` is {value}, no whole number from 0 to {MOST}")),
    }
}

/// A part and its whole, which it must not exceed.
pub(super) fn part(input: &Value, part: &str, whole: &str) -> Result<(u64, u64), String> {
    let (k, n) = (count(input, part)?, count(input, whole)?);
    if k > n { Err(format!("`{part}` is {k}, more than `{whole}`, {n}")) } else { Ok((k, n)) }
}

/// A probability strictly between 0 and 1.
pub(super) fn probability(input: &Value, key: &str) -> Result<f64, String> {
    let value = number(input, key)?;
    if value > 0.0 && value < 1.0 { Ok(value) } else { Err(format!("`{key}` is {value}, not between 0 and 1")) }
}

/// The two-sided level `conf`; 0.95 when the case names none.
pub(super) fn level(input: &Value) -> Result<f64, String> {
    if at(input, "conf").is_null() { Ok(0.95) } else { probability(input, "conf") }
}

/// A list that must be there.
pub(super) fn list<'a>(input: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    match at(input, key) {
        Value::Null => Err(format!("`{key}` is missing")),
        value => value.as_array().ok_or_else(|| format!("`{key}` is no list")),
    }
}

/// Numbers that must all be there.
pub(super) fn numbers(input: &Value, key: &str) -> Result<Vec<f64>, String> {
    let numbers = list(input, key)?.iter().map(|value| value.as_f64().ok_or(value));
    numbers.collect::<Result<_, _>>().map_err(|value| format!("`{key}` holds {value}, which is no number"))
}

/// Numbers of which some may be null.
pub(super) fn maybe_numbers(input: &Value, key: &str) -> Result<Vec<Option<f64>>, String> {
    let read = |value: &Value| match value {
        Value::Null => Ok(None),
        value => value.as_f64().map(Some).ok_or_else(|| format!("`{key}` holds {value}, which is no number")),
    };
    list(input, key)?.iter().map(read).collect()
}

/// Lists of numbers, or of whatever else the type reads.
pub(super) fn nested<T: serde::de::DeserializeOwned>(input: &Value, key: &str) -> Result<T, String> {
    serde_json::from_value(at(input, key).clone()).map_err(|error| format!("`{key}`: {error}"))
}

/// A word.
pub(super) fn word<'a>(input: &'a Value, key: &str) -> Result<&'a str, String> {
    at(input, key).as_str().ok_or_else(|| format!("`{key}` is no text"))
}

/// The error for a word that no code answers.
pub(super) fn not_read(input: &Value, key: &str) -> String {
    format!("`{key}` is {}, which is not read", at(input, key))
}

/// Two lists that must be equally long.
pub(super) fn same_length<A, B>(left: (&str, &[A]), right: (&str, &[B])) -> Result<(), String> {
    let lengths = (left.1.len(), right.1.len());
    if lengths.0 == lengths.1 {
        return Ok(());
    }
    Err(format!("`{}` has {} values and `{}` has {}", left.0, lengths.0, right.0, lengths.1))
}

/// Names as numbers in the order of the names, with the names; every value its own, nameless, where there are none.
/// Numbers stand in the order of numbers, before texts.
pub(super) fn names(input: &Value, key: &str, n: usize) -> Result<(Vec<usize>, Vec<String>), String> {
    if at(input, key).is_null() {
        return Ok(((0..n).collect(), Vec::new()));
    }
    let items = list(input, key)?;
    if items.len() != n {
        return Err(format!("`{key}` names {} values of {n}", items.len()));
    }
    let texts: Vec<String> =
        items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
    let distinct: BTreeSet<&String> = texts.iter().collect();
    let mut order: Vec<&String> = distinct.into_iter().collect();
    order.sort_by(|left, right| match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(left), Ok(right)) if items.iter().all(Value::is_number) => left.total_cmp(&right),
        _ => left.cmp(right),
    });
    let places: std::collections::BTreeMap<&String, usize> =
        order.iter().enumerate().map(|(place, name)| (*name, place)).collect();
    let groups = texts.iter().filter_map(|text| places.get(text).copied()).collect();
    Ok((groups, order.into_iter().cloned().collect()))
}

/// [`names`] without the names.
pub(super) fn groups(input: &Value, key: &str, n: usize) -> Result<Vec<usize>, String> {
    Ok(names(input, key, n)?.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_follow_the_order_of_names() {
        let named = |value: Value| groups(&json!({ "cluster": value }), "cluster", 3);
        assert_eq!(named(json!([10, 2, 10])).unwrap(), [1, 0, 1]);
        assert_eq!(named(json!(["b", "a", "b"])).unwrap(), [1, 0, 1]);
        assert_eq!(named(json!(null)).unwrap(), [0, 1, 2]);
        assert!(named(json!([1])).is_err());
    }
}
