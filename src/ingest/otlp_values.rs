//! OTLP's attribute values in JSON, brought to plain JSON.

use serde_json::{Map, Number, Value};

use super::error::Problem;
use super::json::{describe, take};
use super::raw::Attributes;

/// Reads attributes: OTLP's list of `{key, value}`, or a plain map as SDK dumps write it.
pub(crate) fn attributes(value: Option<Value>, field: &str) -> Result<Attributes, Problem> {
    match value {
        None | Some(Value::Null) => Ok(Attributes::new()),
        Some(Value::Object(map)) => Ok(map.into_iter().collect()),
        Some(Value::Array(items)) => items.into_iter().map(|item| pair(item, field)).collect(),
        Some(other) => {
            Err(Problem::new(format!("`{field}`"), describe(&other), "a list of `{key, value}` or an object"))
        }
    }
}

fn pair(item: Value, field: &str) -> Result<(String, Value), Problem> {
    let expected = "`{\"key\": text, \"value\": {\"stringValue\": …}}`";
    match item {
        Value::Object(mut map) => match map.remove("key") {
            Some(Value::String(key)) => Ok((key, map.remove("value").map_or(Value::Null, any_value))),
            Some(other) => Err(Problem::new(format!("`{field}[].key`"), describe(&other), expected)),
            None => Err(Problem::new(format!("`{field}[].key`"), "missing", expected)),
        },
        other => Err(Problem::new(format!("`{field}[]`"), describe(&other), expected)),
    }
}

/// Brings an `AnyValue` to plain JSON. What is not an `AnyValue` is kept as it is; bytes stay base64 text.
///
/// Depth is bounded by the JSON parser.
pub(crate) fn any_value(value: Value) -> Value {
    let Value::Object(mut map) = value else { return value };
    if map.is_empty() {
        return Value::Null;
    }
    if map.len() > 1 {
        return Value::Object(map);
    }
    if let Some(text) = take(&mut map, &["stringValue", "string_value", "bytesValue", "bytes_value"]) {
        return text;
    }
    if let Some(flag) = take(&mut map, &["boolValue", "bool_value"]) {
        return flag;
    }
    if let Some(number) = take(&mut map, &["intValue", "int_value"]) {
        return integer(number);
    }
    if let Some(number) = take(&mut map, &["doubleValue", "double_value"]) {
        return double_value(number);
    }
    if let Some(list) = take(&mut map, &["arrayValue", "array_value"]) {
        return Value::Array(values(list).into_iter().map(any_value).collect());
    }
    if let Some(list) = take(&mut map, &["kvlistValue", "kvlist_value"]) {
        let object: Map<String, Value> = values(list).into_iter().filter_map(|item| pair(item, "").ok()).collect();
        return Value::Object(object);
    }
    Value::Object(map)
}

fn values(list: Value) -> Vec<Value> {
    match list {
        Value::Object(mut map) => match map.remove("values") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

pub(super) fn integer(value: Value) -> Value {
    match value {
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::String(text),
        },
        other => other,
    }
}

/// "NaN" and "Infinity" have no number in JSON and stay text.
pub(super) fn double_value(value: Value) -> Value {
    match value {
        Value::String(text) => double(&text).unwrap_or(Value::String(text)),
        other => other,
    }
}

fn double(text: &str) -> Option<Value> {
    text.trim().parse().ok().and_then(Number::from_f64).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_all_kinds_become_plain() {
        let value = json!({"kvlistValue": {"values": [
            {"key": "s", "value": {"stringValue": "x"}},
            {"key": "i", "value": {"intValue": "-7"}},
            {"key": "j", "value": {"int_value": 7}},
            {"key": "d", "value": {"doubleValue": "1.5"}},
            {"key": "n", "value": {"doubleValue": "NaN"}},
            {"key": "b", "value": {"boolValue": true}},
            {"key": "y", "value": {"bytesValue": "AAE="}},
            {"key": "e", "value": {}},
            {"key": "a", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "2"}]}}},
            {"key": "m"},
        ]}});
        let plain = json!({"s": "x", "i": -7, "j": 7, "d": 1.5, "n": "NaN", "b": true, "y": "AAE=", "e": null,
            "a": [1, "2"], "m": null});
        assert_eq!(any_value(value), plain);
        let list = json!([{"key": "a", "value": {"intValue": "1"}}]);
        assert_eq!(attributes(Some(list), "x"), attributes(Some(json!({"a": 1})), "x"));
    }

    #[test]
    fn attributes_of_the_wrong_type_are_named() {
        for (bad, found) in
            [(json!(3), "the number 3"), (json!([3]), "the number 3"), (json!([{"key": 1}]), "the number 1")]
        {
            let problem = attributes(Some(bad), "attributes").unwrap_err();
            assert_eq!(problem.found, found);
            assert!(problem.field.starts_with("`attributes"), "{problem:?}");
        }
    }

    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let key = prop_oneof!["key", "value", "values", "[a-z]Value", "stringValue", "kvlistValue", "arrayValue"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z0-9{}\\[\\]]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(value in any_json()) {
            any_value(value.clone());
            let _ = attributes(Some(value), "attributes");
        }
    }
}
