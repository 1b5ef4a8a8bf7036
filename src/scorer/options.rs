//! Options of scorers: their JSON Schema, and reading them with messages that name the key.
//!
//! Knows nothing of any one scorer.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::sys::text::one_line;

/// The JSON Schema of a struct of options: without references, so that it can stand inside a larger schema, and
/// without `null`, which TOML cannot write and which would switch a limit off in silence.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Value::Object(map) = &mut schema {
        // The name of a private struct means nothing to a reader.
        map.remove("title");
    }
    forbid_null(&mut schema);
    schema
}

/// Reads options; the message names the key that is wrong. `null` stands for no options at all.
pub(super) fn read<T: DeserializeOwned + JsonSchema>(options: &Value) -> Result<T, String> {
    let empty = Value::Object(Map::new());
    let options = if options.is_null() { &empty } else { options };
    if let Some((key, _)) = options.as_object().and_then(|map| map.iter().find(|(_, value)| value.is_null())) {
        return Err(format!("`{key}` has no value: give it one or leave the key out"));
    }
    T::deserialize(options).map_err(|error| {
        let message = error.to_string();
        if message.starts_with("unknown field") || message.starts_with("missing field") {
            return message;
        }
        // Only the schema knows where the fault is; serde's message is kept where the schema sees none.
        faults(&schema_of::<T>(), options).unwrap_or(message)
    })
}

/// A number between 0 and 1, ends included.
pub(super) fn check_share(key: &str, value: Option<f64>) -> Result<(), String> {
    match value {
        Some(number) if !(0.0..=1.0).contains(&number) => {
            Err(format!("`{key}` must lie between 0 and 1, found `{number}`"))
        }
        _ => Ok(()),
    }
}

/// A number that is finite and not negative.
pub(super) fn check_amount(key: &str, value: Option<f64>) -> Result<(), String> {
    match value {
        Some(number) if !number.is_finite() || number < 0.0 => {
            Err(format!("`{key}` must be a finite number from 0 up, found `{number}`"))
        }
        _ => Ok(()),
    }
}

/// A limit on lengths where time grows with their product.
pub(super) fn check_limit(key: &str, limit: usize) -> Result<(), String> {
    const MOST: usize = 100_000;
    if (1..=MOST).contains(&limit) {
        return Ok(());
    }
    Err(format!("`{key}` must lie between 1 and {MOST}, found `{limit}`: time grows with its square"))
}

/// Two bounds that leave room between them.
pub(super) fn check_bounds<T: PartialOrd + std::fmt::Display>(
    keys: (&str, &str),
    least: Option<T>,
    greatest: Option<T>,
) -> Result<(), String> {
    match (least, greatest) {
        (Some(least), Some(greatest)) if least > greatest => {
            Err(format!("`{}` is {least} and `{}` is {greatest}: nothing can lie between them", keys.0, keys.1))
        }
        _ => Ok(()),
    }
}

fn faults(schema: &Value, options: &Value) -> Option<String> {
    let validator = jsonschema::validator_for(schema).ok()?;
    let error = validator.iter_errors(options).next()?;
    let path = error.instance_path().to_string();
    let key = path.trim_start_matches('/').replace('/', ".");
    let message = one_line(&error.to_string(), 200);
    Some(if key.is_empty() { message } else { format!("`{key}`: {message}") })
}

fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Object(map) => {
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(values)) = map.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = choices.as_mut_slice() {
                    let only = std::mem::take(only);
                    map.remove("anyOf");
                    for (key, value) in only {
                        map.entry(key).or_insert(value);
                    }
                }
            }
            map.values_mut().for_each(forbid_null);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        /// The one.
        One,
        /// The other.
        Other,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Options {
        /// A limit.
        at_most: Option<f64>,
        /// A mode.
        mode: Option<Mode>,
    }

    #[test]
    fn schemas_are_closed_described_and_free_of_null_and_references() {
        let schema = schema_of::<Options>();
        let text = schema.to_string();
        assert!(!text.contains("null") && !text.contains("$ref") && !text.contains("$defs"), "{text}");
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["at_most"]["type"], json!("number"));
        assert_eq!(schema["properties"]["mode"]["description"], json!("A mode."));
        assert!(jsonschema::is_valid(&schema, &json!({"mode": "other"})));
        assert!(!jsonschema::is_valid(&schema, &json!({"mode": "third"})));
    }

    #[test]
    fn a_wrong_option_is_named() {
        let wrong = |options: Value| read::<Options>(&options).unwrap_err();
        assert!(wrong(json!({"at_most": "2"})).starts_with("`at_most`: "), "{}", wrong(json!({"at_most": "2"})));
        assert!(wrong(json!({"atmost": 2})).contains("`atmost`"));
        assert!(wrong(json!({"at_most": null})).starts_with("`at_most` has no value"));
        assert!(wrong(json!([1])).contains("object"), "{}", wrong(json!([1])));
        let read = read::<Options>(&Value::Null).unwrap();
        assert!(read.at_most.is_none() && read.mode.is_none());
    }
}
