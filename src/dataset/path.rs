//! Where a field is in a row: a name, a dotted path or a JSON pointer.
//!
//! Knows JSON values only. Text that holds JSON is entered when the path goes on inside it, because many exports
//! keep objects as strings.

use std::borrow::Cow;

use serde_json::Value;

/// A parsed path. A name with dots is tried as one whole name first, since CSV columns may contain dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    text: String,
    steps: Vec<String>,
}

impl FieldPath {
    /// Reads a path: `name`, `a.b.0.c`, or `/a/b/0/c` (RFC 6901, with `~1` for `/` and `~0` for `~`).
    ///
    /// # Errors
    /// A sentence when a step is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let steps: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect(),
            None => text.split('.').map(str::to_owned).collect(),
        };
        if text.is_empty() || (steps.iter().any(String::is_empty) && !text.starts_with('/')) {
            return Err(format!(
                "`{text}` is not a field path; expected a name, a dotted path such as `info.task.user_id`, or a JSON \
                 pointer such as `/info/task/user_id`"
            ));
        }
        Ok(Self { text: text.to_owned(), steps })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last step: the natural name of what the path points at.
    pub fn last(&self) -> &str {
        self.steps.last().map_or(self.text.as_str(), String::as_str)
    }

    /// The value in a row; `None` when the row has no such field, `Some(null)` when it has and it is null.
    pub fn get<'a>(&self, row: &'a Value) -> Option<Cow<'a, Value>> {
        if let Some(whole) = row.as_object().and_then(|map| map.get(&self.text)) {
            return Some(Cow::Borrowed(whole));
        }
        let (first, rest) = self.steps.split_first()?;
        descend(step(row, first)?, rest)
    }
}

fn descend<'a>(value: &'a Value, steps: &[String]) -> Option<Cow<'a, Value>> {
    let Some((first, rest)) = steps.split_first() else { return Some(Cow::Borrowed(value)) };
    if let Value::String(text) = value {
        let inner: Value = serde_json::from_str(text).ok().filter(|inner: &Value| !inner.is_string())?;
        return descend(&inner, steps).map(|found| Cow::Owned(found.into_owned()));
    }
    descend(step(value, first)?, rest)
}

fn step<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn get(row: &Value, path: &str) -> Option<Value> {
        FieldPath::parse(path).unwrap().get(row).map(Cow::into_owned)
    }

    #[test]
    fn names_dots_pointers_and_json_in_text_are_followed() {
        let row = json!({"a": {"b": [10, {"c": "x"}]}, "a.b": "whole", "t": "{\"k\": {\"n\": 1}}", "s/l": null});
        assert_eq!(get(&row, "a.b"), Some(json!("whole")));
        assert_eq!(get(&row, "/a/b/0"), Some(json!(10)));
        assert_eq!(get(&row, "a.b.1.c"), Some(json!("x")));
        assert_eq!(get(&row, "t.k.n"), Some(json!(1)));
        assert_eq!(get(&row, "/s~1l"), Some(Value::Null));
        assert_eq!(get(&row, "a.x"), None);
        assert_eq!(get(&row, "t.k.n.m"), None);
    }

    #[test]
    fn empty_steps_are_refused() {
        assert!(FieldPath::parse("").is_err());
        assert!(FieldPath::parse("a..b").unwrap_err().contains("`a..b`"));
    }

    proptest! {
        #[test]
        fn no_path_panics(path in ".{0,30}", text in ".{0,30}") {
            if let Ok(path) = FieldPath::parse(&path) {
                let row = json!({"a": [text.clone()], text.clone(): text});
                let _ = path.get(&row);
            }
        }
    }
}
