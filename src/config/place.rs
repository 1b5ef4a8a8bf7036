//! TOML as JSON, with the line of every key and value remembered.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::Problem;

/// A line, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
}

/// Where each value of a document stands, by JSON pointer.
#[derive(Clone, Debug, Default)]
pub struct Places {
    by_pointer: BTreeMap<String, Place>,
}

impl Places {
    /// The line of the value at a pointer, or of the nearest value around it; 0 when there is none.
    pub fn line(&self, pointer: &str) -> usize {
        let mut rest = pointer;
        loop {
            if let Some(place) = self.by_pointer.get(rest) {
                return place.line;
            }
            match rest.rfind('/') {
                Some(cut) => rest = &rest[..cut],
                None => return 0,
            }
        }
    }
}

/// A pointer as people write it: `/suites/support/graders/1/scorer` becomes `suites.support.graders[1].scorer`.
pub fn readable(pointer: &str) -> String {
    let mut text = String::new();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{step}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&step);
        }
    }
    text
}

/// The pointer to a key of the table at a pointer.
pub(super) fn below(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Parses TOML; a syntax error is one problem with its line.
pub fn parse(text: &str) -> Result<(Value, Places), Problem> {
    let table = DeTable::parse(text).map_err(|error| Problem {
        line: error.span().map_or(0, |span| line_of(text, span.start)),
        path: String::new(),
        message: format!("not valid TOML: {}", error.message().trim().replace('\n', ", ")),
    })?;
    let mut places = Places::default();
    let value = object(table.get_ref(), "", text, &mut places)?;
    Ok((value, places))
}

fn object(table: &DeTable<'_>, pointer: &str, text: &str, places: &mut Places) -> Result<Value, Problem> {
    let mut map = Map::new();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let pointer = below(pointer, name);
        places.by_pointer.insert(pointer.clone(), Place { line: line_of(text, key.span().start) });
        map.insert(name.to_owned(), convert(value.get_ref(), &pointer, text, places)?);
    }
    Ok(Value::Object(map))
}

fn convert(value: &DeValue<'_>, pointer: &str, text: &str, places: &mut Places) -> Result<Value, Problem> {
    let wrong = |message: String| Problem { line: places.line(pointer), path: readable(pointer), message };
    Ok(match value {
        DeValue::String(string) => Value::String(string.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Integer(integer) => {
            let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
            Value::Number(parsed.map_err(|error| wrong(format!("not a whole number of 64 bits: {error}")))?.into())
        }
        DeValue::Float(float) => {
            let parsed: f64 = float.as_str().parse().map_err(|error| wrong(format!("not a number: {error}")))?;
            let number = Number::from_f64(parsed).ok_or_else(|| wrong("expected a finite number".to_owned()))?;
            Value::Number(number)
        }
        DeValue::Array(items) => {
            let mut list = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let below = format!("{pointer}/{index}");
                places.by_pointer.insert(below.clone(), Place { line: line_of(text, item.span().start) });
                list.push(convert(item.get_ref(), &below, text, places)?);
            }
            Value::Array(list)
        }
        DeValue::Table(table) => object(table, pointer, text, places)?,
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_pointer() {
        let text = "[a]\nb = 1\n[[a.c]]\nd = 'x'\n[[a.c]]\nd = 'y'\n";
        let (value, places) = parse(text).unwrap();
        assert_eq!(value.pointer("/a/c/1/d").and_then(Value::as_str), Some("y"));
        assert_eq!(places.line("/a/b"), 2);
        assert_eq!(places.line("/a/c/1/d"), 6);
        assert_eq!(places.line("/a/b/nothing/here"), 2);
        assert_eq!(readable("/a/c/1/d"), "a.c[1].d");
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let problem = parse("a = 1\nb = \n").unwrap_err();
        assert_eq!(problem.line, 2, "{problem:?}");
    }
}
