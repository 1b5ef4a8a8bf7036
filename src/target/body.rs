//! What is sent to a server: addresses and bodies filled in with the example. Knows no connection.

use reqwest::Url;
use serde_json::{Map, Value};

use super::template::{Template, json_path};
use crate::model::{Failure, FailureKind};
use crate::sys::shown;

/// Templates may fill path and query, never the host: an example must not choose who is called.
pub(super) fn check_url(name: &str, url: &str) -> Result<String, String> {
    let fixed = url.split("{{").next().unwrap_or_default();
    let parsed = Url::parse(fixed)
        .map_err(|error| format!("`{name}` is no HTTP address ({error}): give one like `https://host/path`"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("`{name}` must begin with `http://` or `https://`"));
    }
    let host_ends = fixed.splitn(4, '/').count() == 4 || fixed.contains('?');
    if fixed.len() != url.len() && !host_ends {
        return Err(format!("`{name}` has a template in its host; only path and query may hold templates"));
    }
    Ok(shown(&parsed))
}

/// A JSON pointer of the options.
pub(super) fn pointer(name: &str, place: Option<String>) -> Result<Option<String>, String> {
    match place {
        Some(place) if !place.is_empty() && !place.starts_with('/') => {
            Err(format!("`{name}` must be a JSON pointer like `/a/b`, found `{place}`; write `/{place}`"))
        }
        place => Ok(place),
    }
}

/// A body: one text that becomes JSON, or a table whose texts are templates.
pub(super) enum Body {
    Text(Template),
    Table(Value),
}

pub(super) fn check_templates(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => Template::plain(text).map(|_| ()),
        Value::Array(items) => items.iter().try_for_each(check_templates),
        Value::Object(fields) => fields.values().try_for_each(check_templates),
        _ => Ok(()),
    }
}

/// A table with its texts filled in. JSON by construction, whatever the example holds.
pub(super) fn fill(value: &Value, context: &Value) -> Result<Value, Failure> {
    Ok(match value {
        Value::String(text) => match json_path(text) {
            Some(path) => value_at(&path, context)?,
            None if !text.contains("{{") => value.clone(),
            None => {
                let template = Template::plain(text).map_err(|error| Failure::new(FailureKind::BadRequest, error))?;
                Value::String(template.render(context)?)
            }
        },
        Value::Array(items) => Value::Array(items.iter().map(|item| fill(item, context)).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let filled = fields.iter().map(|(name, item)| Ok((name.clone(), fill(item, context)?)));
            Value::Object(filled.collect::<Result<Map<_, _>, Failure>>()?)
        }
        other => other.clone(),
    })
}

fn value_at(path: &[String], context: &Value) -> Result<Value, Failure> {
    let found = path.iter().try_fold(context, |value, step| match value {
        Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
        other => other.get(step),
    });
    found.cloned().ok_or_else(|| {
        let id = context.get("id").and_then(Value::as_str).unwrap_or_default();
        let text = format!("the body cannot be filled in for example `{id}`: it has no `{}`", path.join("."));
        Failure::new(FailureKind::BadRequest, text)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_filled_in_whatever_the_example_holds() {
        let context = json!({
            "id": "e1", "input": {"messages": [{"role": "user", "content": "a\"b"}]}, "metadata": {"n": 3},
        });
        let table = json!({
            "messages": "{{json input.messages}}", "first": "say {{input.messages.[0].content}}",
            "n": "{{json metadata.n}}", "fixed": true, "list": ["{{id}}", 1],
        });
        let expected = json!({
            "messages": [{"role": "user", "content": "a\"b"}], "first": "say a\"b", "n": 3, "fixed": true,
            "list": ["e1", 1],
        });
        assert_eq!(fill(&table, &context).unwrap(), expected);
        let failure = fill(&json!("{{json input.tools}}"), &context).unwrap_err();
        assert!(failure.message.contains("`e1`: it has no `input.tools`"), "{failure}");
    }

    #[test]
    fn an_example_cannot_choose_the_host() {
        assert_eq!(check_url("url", "https://h.test/a?q={{input}}").unwrap(), "https://h.test/a");
        assert!(check_url("url", "https://{{input}}/a").is_err());
        assert!(check_url("url", "https://h{{input}}/a").unwrap_err().contains("host"));
        assert!(check_url("url", "ftp://h/a").is_err());
    }
}
