//! Whether the output is JSON, and whether it fits a schema.

use jsonschema::Validator;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::json_text::find_json;
use super::material::{expected_found, quote_value};
use super::options::{read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored};
use crate::sys::text::one_line;

pub(super) const JSON_VALID: ScorerInfo = ScorerInfo {
    name: "json_valid",
    version: "1",
    summary: "Passes when the output is JSON.",
    sample: "root = \"object\"\nextract = true",
    schema: schema_of::<ValidOptions>,
    build: build_valid,
};

pub(super) const JSON_SCHEMA: ScorerInfo = ScorerInfo {
    name: "json_schema",
    version: "1",
    summary: "Passes when the output is JSON that fits a JSON Schema.",
    sample: "schema = { type = \"object\", required = [\"id\"], properties = { id = { type = \"integer\" } } }",
    schema: schema_of::<SchemaOptions>,
    build: build_schema,
};

/// Problems that an explanation lists.
const SHOWN: usize = 5;

/// What the outermost value must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Root {
    /// Anything, a bare number or text among them.
    #[default]
    Any,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// What counts as JSON.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ValidOptions {
    /// What the outermost value must be.
    #[serde(default)]
    root: Root,
    /// Whether JSON inside prose or a code fence counts.
    #[serde(default)]
    extract: bool,
}

fn build_valid(options: &Value) -> Result<Box<dyn Scorer>, String> {
    read::<ValidOptions>(options).map(|options| Box::new(options) as Box<dyn Scorer>)
}

impl Scorer for ValidOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let wanted = match self.root {
            Root::Any => "JSON",
            Root::Object => "a JSON object",
            Root::Array => "a JSON array",
        };
        let found = match find_json(input.output, self.extract) {
            Ok(found) => found,
            Err(problem) => return Ok(Score::pass(false, expected_found(wanted, &problem))),
        };
        let pass = match self.root {
            Root::Any => true,
            Root::Object => found.is_object(),
            Root::Array => found.is_array(),
        };
        Ok(Score::pass(pass, expected_found(wanted, &quote_value(&found))))
    }
}

/// The schema, and where to look for the JSON.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SchemaOptions {
    /// The JSON Schema: a table, or its text as JSON. Drafts 4 to 2020-12, told by `$schema`; `$ref` reaches only
    /// inside the schema.
    schema: Value,
    /// Whether JSON inside prose or a code fence counts.
    #[serde(default)]
    extract: bool,
    /// Whether `format` (`date-time`, `email`, `uri`, ...) is checked.
    #[serde(default = "yes")]
    check_formats: bool,
}

fn yes() -> bool {
    true
}

struct Fits {
    extract: bool,
    validator: Validator,
}

fn build_schema(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: SchemaOptions = read(options)?;
    let validator = validator_of(options.schema, options.check_formats)?;
    Ok(Box::new(Fits { extract: options.extract, validator }))
}

/// What holds values against the schema of an option `schema`: a table, or JSON as text.
pub(super) fn validator_of(schema: Value, check_formats: bool) -> Result<Validator, String> {
    let schema = match schema {
        Value::String(text) => {
            serde_json::from_str(&text).map_err(|error| format!("`schema` is a text that is no JSON: {error}"))?
        }
        table => table,
    };
    if !schema.is_object() && !schema.is_boolean() {
        return Err(format!("`schema` must be a table or JSON text of an object, found {}", quote_value(&schema)));
    }
    jsonschema::options()
        .should_validate_formats(check_formats)
        .build(&schema)
        .map_err(|error| format!("`schema` is no valid JSON Schema: {}", problem(&error)))
}

impl Scorer for Fits {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let wanted = "JSON that fits the schema";
        let found = match find_json(input.output, self.extract) {
            Ok(found) => found,
            Err(problem) => return Ok(Score::pass(false, expected_found(wanted, &problem))),
        };
        let mut errors = self.validator.iter_errors(&found);
        let first: Vec<_> = errors.by_ref().take(SHOWN).collect();
        if first.is_empty() {
            return Ok(Score::pass(true, expected_found(wanted, &quote_value(&found))));
        }
        let more = if errors.next().is_some() { "; and more" } else { "" };
        let problems: Vec<String> = first.iter().map(problem).collect();
        let mut score = Score::pass(false, expected_found(wanted, &format!("{}{more}", problems.join("; "))));
        score.details = json!({ "problems": problems });
        Ok(score)
    }
}

/// A fault that a schema finds, with its place.
pub(super) fn problem(error: &jsonschema::ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    let place = if path.is_empty() { "at the root".to_owned() } else { format!("at `{}`", one_line(&path, 80)) };
    format!("{place}: {}", one_line(&error.to_string(), 160))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{build_error, passes, score};
    use super::*;

    #[test]
    fn validity_knows_roots_and_fences() {
        assert!(passes("json_valid", json!({}), json!("{\"a\": 1}"), Value::Null));
        assert!(passes("json_valid", json!({}), json!("42"), Value::Null));
        assert!(!passes("json_valid", json!({"root": "object"}), json!("42"), Value::Null));
        assert!(!passes("json_valid", json!({}), json!("{\"a\": NaN}"), Value::Null));
        assert!(!passes("json_valid", json!({}), json!(""), Value::Null));
        assert!(!passes("json_valid", json!({}), Value::Null, Value::Null));
        assert!(passes("json_valid", json!({}), json!({"a": 1}), Value::Null));
        assert!(!passes("json_valid", json!({}), json!("ok: {}"), Value::Null));
        assert!(passes("json_valid", json!({"extract": true}), json!("ok: {}"), Value::Null));
    }

    #[test]
    fn schema_problems_are_listed_with_their_paths() {
        let schema = json!({"type": "object", "required": ["id"], "properties": {
            "id": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}}});
        let options = json!({ "schema": schema.to_string() });
        assert!(passes("json_schema", options.clone(), json!("{\"id\": 1}"), Value::Null));
        let found = score("json_schema", options, json!({"id": "x", "tags": ["a", 2]}), Value::Null).unwrap();
        let told = found.explanation.unwrap();
        assert!(told.contains("at `/id`: ") && told.contains("at `/tags/1`: "), "{told}");
        assert_eq!(found.details["problems"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn many_problems_are_cut_short() {
        let options = json!({"schema": {"items": {"type": "string"}}});
        let found = score("json_schema", options, json!(vec![1; 1000]), Value::Null).unwrap();
        let told = found.explanation.unwrap();
        assert!(told.ends_with("; and more") && told.len() < 2000, "{told}");
    }

    #[test]
    fn formats_are_checked_unless_told_otherwise() {
        let schema = json!({"type": "string", "format": "date-time"});
        assert!(!passes("json_schema", json!({"schema": schema}), json!("\"soon\""), Value::Null));
        let lax = json!({"schema": schema, "check_formats": false});
        assert!(passes("json_schema", lax, json!("\"soon\""), Value::Null));
    }

    #[test]
    fn a_schema_may_refer_to_itself() {
        let tree = json!({"schema": {"type": "object", "properties": {"next": {"$ref": "#"}}}});
        assert!(passes("json_schema", tree.clone(), json!({"next": {"next": {}}}), Value::Null));
        assert!(!passes("json_schema", tree, json!({"next": {"next": 1}}), Value::Null));
        let circle = (super::super::find("json_schema").unwrap().build)(&json!({"schema": {"$ref": "#"}}));
        assert!(circle.is_err() || passes("json_schema", json!({"schema": {"$ref": "#"}}), json!({}), Value::Null));
    }

    #[test]
    fn schemas_that_cannot_work_are_refused() {
        assert!(build_error("json_schema", json!({"schema": {"type": "strin"}})).starts_with("`schema`"));
        assert!(build_error("json_schema", json!({"schema": "{"})).contains("no JSON"));
        assert!(build_error("json_schema", json!({"schema": 3})).contains("table"));
        let far = build_error("json_schema", json!({"schema": {"$ref": "https://example.com/schema.json"}}));
        assert!(far.starts_with("`schema` is no valid JSON Schema"), "{far}");
    }
}
