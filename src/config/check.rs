//! Checks a JSON value against a JSON Schema and says what is wrong in words a person can act on.
//!
//! The schema library finds the faults; this file gives each its line, names the nearest known key for an unknown
//! one, and lists what was allowed. What follows from a fault is not looked at here: see `faults`.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::place::below;
use crate::sys::text;

/// A fault of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// JSON pointer, from the checked value, to what is wrong: a missing key by where it should be.
    pub(super) at: String,
    /// What is wrong, what was expected, and the mend.
    pub(super) message: String,
    /// Whether the key should not be there, should be and is not, or has a value that does not fit.
    pub(super) kind: FaultKind,
}

/// What is the matter with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    Unknown,
    Missing,
    Unfit,
}

/// All faults of `value`. `besides` are keys that are read elsewhere but belong to the same table of the document;
/// they are offered as the nearest key too.
pub(super) fn check(schema: &Value, value: &Value, besides: &[&str]) -> Vec<Fault> {
    match Validator::new(schema) {
        Ok(validator) => {
            validator.iter_errors(value).flat_map(|error| describe(&error, schema, value, besides)).collect()
        }
        Err(error) => {
            let message = format!("the schema of this table is broken, which is a bug of assize: {error}");
            vec![Fault { at: String::new(), message, kind: FaultKind::Unfit }]
        }
    }
}

fn describe(error: &ValidationError<'_>, schema: &Value, root: &Value, besides: &[&str]) -> Vec<Fault> {
    let at = error.instance_path().to_string();
    let problem = |at: &str, message: String| Fault { at: at.to_owned(), message, kind: FaultKind::Unfit };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let mut known = known_keys(schema, root, &at);
            if at.is_empty() {
                known.extend(besides.iter().map(|key| (*key).to_owned()));
            }
            let inside = keys_inside(schema, root, &at);
            let tell = |key: &String| Fault {
                at: below(&at, key),
                message: format!("unknown key{}", key_suggestion(key, &known, &inside)),
                kind: FaultKind::Unknown,
            };
            unexpected.iter().map(tell).collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or("?");
            let message = format!("lacks the key `{name}`");
            vec![Fault { at: below(&at, name), message, kind: FaultKind::Missing }]
        }
        ValidationErrorKind::Type { kind } => {
            let found = shown(error.instance());
            vec![problem(&at, format!("expected {}, found {found}", type_words(kind)))]
        }
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            vec![problem(&at, not_on_menu(error.instance(), options.iter().collect()))]
        }
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            choice(error, context, (schema, root, besides))
        }
        _ => vec![problem(&at, first_line(&error.to_string()))],
    }
}

/// The faults of a value that fits none of several schemas: against what it was meant to be, where its form shows that,
/// else what there is to choose from.
fn choice(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'_>>],
    (schema, root, besides): (&Value, &Value, &[&str]),
) -> Vec<Fault> {
    let at = error.instance_path().to_string();
    let unfit = |message: String| vec![Fault { at: at.clone(), message, kind: FaultKind::Unfit }];
    let constants = constants_of(context);
    if !constants.is_empty() && error.instance().is_string() {
        return unfit(not_on_menu(error.instance(), constants));
    }
    // A choice of whose form the value is has other faults than its form.
    let other_form = |inner: &ValidationError<'_>| {
        let same_place = inner.instance_path() == error.instance_path();
        same_place && matches!(inner.kind(), ValidationErrorKind::Type { .. } | ValidationErrorKind::Constant { .. })
    };
    let meant = context.iter().find(|branch| !branch.is_empty() && !branch.iter().any(other_form));
    if let Some(branch) = meant {
        return branch.iter().flat_map(|inner| describe(inner, schema, root, besides)).collect();
    }
    let mut forms: Vec<String> = context
        .iter()
        .flatten()
        .filter_map(|inner| match inner.kind() {
            ValidationErrorKind::Type { kind } => Some(type_words(kind)).filter(|words| !words.is_empty()),
            _ => None,
        })
        .collect();
    if !constants.is_empty() {
        forms.push(format!("one of {}", listed(&texts_of(&constants))));
    }
    forms.dedup();
    match forms.is_empty() {
        true => unfit(format!("does not fit: {}", first_line(&error.to_string()))),
        false => unfit(format!("expected {}, found {}", forms.join(" or "), shown(error.instance()))),
    }
}

/// The fixed values among the choices, however deep: an optional choice is a choice within a choice.
fn constants_of<'a>(context: &'a [Vec<ValidationError<'_>>]) -> Vec<&'a Value> {
    let of = |inner: &'a ValidationError<'_>| match inner.kind() {
        ValidationErrorKind::Constant { expected_value } => vec![&**expected_value],
        ValidationErrorKind::Enum { options } => options.as_array().into_iter().flatten().collect(),
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            constants_of(context)
        }
        _ => Vec::new(),
    };
    context.iter().flatten().flat_map(of).collect()
}

fn texts_of(options: &[&Value]) -> Vec<String> {
    options.iter().filter_map(|option| option.as_str()).map(str::to_owned).collect()
}

fn not_on_menu(found: &Value, options: Vec<&Value>) -> String {
    let options = texts_of(&options);
    let hint = found.as_str().map(|text| nearest_hint(text, &options)).unwrap_or_default();
    format!("expected one of {}, found {}{hint}", listed(&options), shown(found))
}

/// Names the nearest known key, and lists all there are.
pub(super) fn suggestion(wanted: &str, known: &[String]) -> String {
    with_list(nearest_hint(wanted, known), known)
}

fn with_list(hint: String, known: &[String]) -> String {
    match (hint.is_empty(), known.is_empty()) {
        (_, true) => hint,
        (true, false) => format!("; known here: {}", listed(known)),
        (false, false) => format!("{hint} Known here: {}", listed(known)),
    }
}

/// As [`suggestion`]; a key that belongs into a table inside is sent there. `inside` holds those as `table.key`.
fn key_suggestion(wanted: &str, known: &[String], inside: &[String]) -> String {
    let belongs = |path: &&String| path.rsplit('.').next() == Some(wanted);
    match inside.iter().find(belongs) {
        Some(path) => with_list(format!("; did you mean `{path}`?"), known),
        None => suggestion(wanted, known),
    }
}

pub(super) fn nearest_hint(wanted: &str, known: &[String]) -> String {
    let nearest = text::nearest(wanted, known.iter().map(String::as_str));
    nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

fn listed(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    let short: String = text.chars().take(60).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    let kind = match value {
        Value::Null => return "nothing".to_owned(),
        Value::Bool(_) => "true or false",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "table",
    };
    format!("{kind} `{short}{more}`")
}

fn type_words(kind: &TypeKind) -> String {
    let mut words = Vec::new();
    let mut push = |name: &str| {
        words.push(match name {
            "string" => "text in quotes",
            "integer" => "a whole number",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "a table",
            _ => return,
        });
    };
    match kind {
        TypeKind::Single(kind) => push(&kind.to_string()),
        TypeKind::Multiple(kinds) => kinds.iter().for_each(|kind| push(&kind.to_string())),
    }
    words.join(" or ")
}

/// The keys a schema knows for the object at a pointer.
fn known_keys(schema: &Value, instance: &Value, pointer: &str) -> Vec<String> {
    schema_at(schema, instance, pointer).map(keys_of).unwrap_or_default()
}

/// The keys of tables inside the object at a pointer, as `table.key`.
fn keys_inside(schema: &Value, instance: &Value, pointer: &str) -> Vec<String> {
    let here = schema_at(schema, instance, pointer).and_then(|here| here.get("properties")).and_then(Value::as_object);
    let tables = here.into_iter().flatten().map(|(name, inner)| (name, resolve(schema, inner, None)));
    tables.flat_map(|(name, table)| keys_of(table).into_iter().map(move |key| format!("{name}.{key}"))).collect()
}

fn keys_of(here: &Value) -> Vec<String> {
    let keys = here.get("properties").and_then(Value::as_object);
    keys.map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

/// The schema of the value at a pointer, following the path of the instance through properties, additional
/// properties, items and references.
fn schema_at<'a>(schema: &'a Value, instance: &Value, pointer: &str) -> Option<&'a Value> {
    let mut here = resolve(schema, schema, Some(instance));
    let mut value = Some(instance);
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        let next = match value {
            Some(Value::Array(_)) => here.get("items"),
            _ => here.get("properties").and_then(|map| map.get(&name)).or_else(|| here.get("additionalProperties")),
        };
        value = value.and_then(|value| value.pointer(&format!("/{step}")));
        here = resolve(schema, next?, value);
    }
    Some(here)
}

/// Takes the faults out of a value, so that what is left can be read and looked at further: what may be left out is
/// left out, what may not is replaced by something empty. Nothing but checks may ever use the result.
pub(super) fn without(faults: &[Fault], schema: &Value, mut value: Value) -> Value {
    let original = value.clone();
    for fault in faults {
        let Some((table, key)) = fault.at.rsplit_once('/') else { continue };
        let name = key.replace("~1", "/").replace("~0", "~");
        let optional = fault.kind == FaultKind::Unknown
            || schema_at(schema, &original, table).is_some_and(|table| {
                let required = table.get("required").and_then(Value::as_array);
                let known = table.get("properties").is_some_and(|keys| keys.get(&name).is_some());
                known && !required.is_some_and(|keys| keys.iter().any(|key| key == name.as_str()))
            });
        let empty = schema_at(schema, &original, &fault.at).map(|here| empty_of(schema, here, 0));
        match (value.pointer_mut(table), empty) {
            (Some(Value::Object(map)), _) if optional => {
                map.remove(&name);
            }
            (Some(Value::Object(map)), Some(empty)) => {
                map.insert(name, empty);
            }
            (Some(Value::Array(items)), Some(empty)) => {
                if let Some(item) = name.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                    *item = empty;
                }
            }
            _ => {}
        }
    }
    value
}

/// The emptiest value that a schema of ours can be read from.
fn empty_of(schema: &Value, here: &Value, depth: usize) -> Value {
    let kind = match here.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        other => other.and_then(Value::as_str),
    };
    match kind {
        Some("string") => Value::String(String::new()),
        Some("integer" | "number") => Value::from(0),
        Some("boolean") => Value::Bool(false),
        Some("array") => Value::Array(Vec::new()),
        // Tables of our schemas do not nest deeper than this.
        Some("object") if depth < 8 => {
            let required = here.get("required").and_then(Value::as_array).into_iter().flatten();
            let keys = required.filter_map(Value::as_str).filter_map(|key| {
                let below = here.get("properties").and_then(|keys| keys.get(key))?;
                Some((key.to_owned(), empty_of(schema, resolve(schema, below, None), depth + 1)))
            });
            Value::Object(keys.collect())
        }
        _ => Value::Null,
    }
}

/// Follows references, and takes of several choices the one of the value's form, else the first that is not null.
fn resolve<'a>(schema: &'a Value, node: &'a Value, value: Option<&Value>) -> &'a Value {
    let mut here = node;
    // References of our own schemas are local and do not nest deeper than this.
    for _ in 0..8 {
        if let Some(target) = here.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#')) {
            match schema.pointer(target) {
                Some(found) => here = found,
                None => return here,
            }
        } else if let Some(choices) = here.get("anyOf").and_then(Value::as_array) {
            let form =
                |choice: &Value| resolve(schema, choice, None).get("type").and_then(Value::as_str).map(str::to_owned);
            let wanted = value.and_then(form_of);
            let fits = choices.iter().find(|choice| wanted.is_some() && form(choice).as_deref() == wanted);
            match fits.or_else(|| choices.iter().find(|choice| form(choice).as_deref() != Some("null"))) {
                Some(found) => here = found,
                None => return here,
            }
        } else {
            return here;
        }
    }
    here
}

/// The name that schemas have for the form of a table, a list or a text.
fn form_of(value: &Value) -> Option<&'static str> {
    match value {
        Value::Object(_) => Some("object"),
        Value::Array(_) => Some("array"),
        Value::String(_) => Some("string"),
        _ => None,
    }
}
