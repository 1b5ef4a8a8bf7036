//! One mapped field: where it is in a row, and how its value is taken out and checked.
//!
//! Which field is what in an example is `extract`'s.

use std::cell::Cell;
use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::error::{DatasetError, Place, RowError, shown};
use super::mapping::{FieldRef, RowFilter};
use super::native;
use super::path::FieldPath;
use super::rows::Row;

/// One condition of `where`, compiled.
pub struct Condition {
    /// The field it is about.
    pub field: Field,
    negated: bool,
    values: Vec<String>,
}

/// One mapped field.
pub struct Field {
    /// Key of the mapping, dotted: `dimensions.user`.
    key: String,
    /// The last part of the key.
    pub name: String,
    from: Origin,
    regex: Option<Regex>,
    offset: Option<i64>,
    /// Whether rows may lack it.
    pub optional: bool,
    met: Cell<bool>,
}

/// Where a field's value comes from.
enum Origin {
    Path(FieldPath),
    Object(Vec<Field>),
    Fixed(Value),
}

impl Field {
    /// Checks and compiles a field of the mapping; `key` is where it stands, for messages.
    pub fn new(key: &str, field: &FieldRef) -> Result<Self, DatasetError> {
        let fail = |cause: String| DatasetError::Mapping { key: key.to_owned(), cause };
        let path = |text: &str| FieldPath::parse(text).map(Origin::Path).map_err(fail);
        let name = key.split_once('.').map_or(key, |(_, name)| name).to_owned();
        let (from, regex, offset, optional) = match field {
            FieldRef::Path(text) => (path(text)?, None, None, false),
            FieldRef::Rule(rule) => {
                let from = match (&rule.field, rule.fields.is_empty(), &rule.value) {
                    (Some(text), true, None) => path(text)?,
                    (None, false, None) => Origin::Object(
                        rule.fields
                            .iter()
                            .map(|(part, field)| {
                                Self::new(&format!("{key}.{part}"), field).map(|f| Self { name: part.clone(), ..f })
                            })
                            .collect::<Result<_, _>>()?,
                    ),
                    (None, true, Some(value)) => Origin::Fixed(value.clone()),
                    _ => return Err(fail("give exactly one of `field`, `fields` and `value`".to_owned())),
                };
                let regex =
                    rule.regex.as_ref().map(|text| Regex::new(text).map_err(|e| fail(e.to_string()))).transpose()?;
                if regex.is_some() && !matches!(from, Origin::Path(_)) {
                    return Err(fail("`regex` needs `field`".to_owned()));
                }
                if rule.offset.is_some() && !matches!(from, Origin::Path(_)) {
                    return Err(fail("`offset` needs `field`".to_owned()));
                }
                (from, regex, rule.offset, rule.optional)
            }
        };
        Ok(Self { key: key.to_owned(), name, from, regex, offset, optional, met: Cell::new(false) })
    }

    /// The path for messages: as written, or the key where there is none.
    pub fn shown_path(&self) -> &str {
        match &self.from {
            Origin::Path(path) => path.as_str(),
            Origin::Object(_) | Origin::Fixed(_) => &self.key,
        }
    }

    /// Key and path when it is not optional and no row noted so far has it.
    pub fn never_met(&self) -> Option<(String, String)> {
        match &self.from {
            Origin::Path(path) => {
                (!self.optional && !self.met.get()).then(|| (self.key.clone(), path.as_str().to_owned()))
            }
            Origin::Object(parts) => parts.iter().find_map(Self::never_met),
            Origin::Fixed(_) => None,
        }
    }

    /// Whether this row or an earlier one has the field.
    pub fn note(&self, row: &Row) -> bool {
        let met = match &self.from {
            Origin::Path(path) => self.met.get() || path.get(&row.fields).is_some(),
            Origin::Object(parts) => parts.iter().filter(|part| !part.note(row)).count() == 0,
            Origin::Fixed(_) => true,
        };
        self.met.set(met);
        met
    }

    /// Whether this row has the field.
    pub fn is_in(&self, row: &Row) -> bool {
        match &self.from {
            Origin::Path(path) => path.get(&row.fields).is_some(),
            Origin::Object(parts) => parts.iter().any(|part| part.is_in(row)),
            Origin::Fixed(_) => true,
        }
    }

    /// Whether this row says something under the field: a fixed value is said by no row.
    pub fn is_said_by(&self, row: &Row) -> bool {
        match &self.from {
            Origin::Path(path) => path.get(&row.fields).is_some_and(|value| !value.is_null()),
            Origin::Object(parts) => parts.iter().any(|part| part.is_said_by(row)),
            Origin::Fixed(_) => false,
        }
    }

    /// The field's value; `None` for null, for empty CSV cells, and for absent optional fields.
    pub fn take(&self, row: &Row, place: Place<'_>) -> Result<Option<Value>, RowError> {
        let path = match &self.from {
            Origin::Fixed(value) => return Ok(Some(value.clone())),
            Origin::Object(parts) => {
                let mut map = Map::new();
                for part in parts {
                    if let Some(value) = part.take(row, place)? {
                        map.insert(part.name.clone(), value);
                    }
                }
                return Ok((!map.is_empty()).then_some(Value::Object(map)));
            }
            Origin::Path(path) => path,
        };
        let Some(found) = path.get(&row.fields) else {
            if self.optional {
                return Ok(None);
            }
            let expected = format!("a value for `{}` (`optional = true` takes rows without it)", self.key);
            return Err(RowError::new(place, path.as_str(), "no such field", expected));
        };
        let value = found.into_owned();
        if value.is_null() || (row.untyped && value.as_str() == Some("")) {
            return Ok(None);
        }
        match self.matched(value, path, place)? {
            Some(value) => self.moved(value, path, place).map(Some),
            None => Ok(None),
        }
    }

    /// The part of a text that the expression takes.
    fn matched(&self, value: Value, path: &FieldPath, place: Place<'_>) -> Result<Option<Value>, RowError> {
        let Some(regex) = &self.regex else { return Ok(Some(value)) };
        let subject =
            native::scalar_text(&value).ok_or_else(|| RowError::new(place, path.as_str(), &shown(&value), "text"))?;
        let matched = regex.captures(&subject).and_then(|groups| groups.get(1).or_else(|| groups.get(0)));
        match matched {
            Some(part) => Ok(Some(Value::String(part.as_str().to_owned()))),
            None if self.optional => Ok(None),
            None => {
                let expected = format!("text that matches `{}`", regex.as_str());
                Err(RowError::new(place, path.as_str(), &shown(&value), expected))
            }
        }
    }

    /// A whole number moved by the offset.
    fn moved(&self, value: Value, path: &FieldPath, place: Place<'_>) -> Result<Value, RowError> {
        let Some(offset) = self.offset else { return Ok(value) };
        let moved = native::whole_number(&value).and_then(|number| number.checked_add_signed(offset));
        let expected = || format!("a whole number from {} up", offset.min(0).unsigned_abs());
        moved.map(Value::from).ok_or_else(|| RowError::new(place, path.as_str(), &shown(&value), expected()))
    }

    /// The field's value as text; `None` also for text that is empty.
    pub fn text(&self, row: &Row, place: Place<'_>) -> Result<Option<String>, RowError> {
        let Some(value) = self.take(row, place)? else { return Ok(None) };
        match native::scalar_text(&value) {
            Some(text) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
            None => Err(RowError::new(place, self.shown_path(), &shown(&value), "text, a number or a boolean")),
        }
    }
}

impl Condition {
    /// Checks and compiles one condition.
    pub fn new(filter: &RowFilter) -> Result<Self, DatasetError> {
        let fail = |cause: &str| DatasetError::Mapping { key: "where".to_owned(), cause: cause.to_owned() };
        let (negated, values) = match (&filter.equals, &filter.not_equals, &filter.among) {
            (Some(value), None, None) => (false, vec![value.clone()]),
            (None, Some(value), None) => (true, vec![value.clone()]),
            (None, None, Some(values)) => (false, values.clone()),
            _ => return Err(fail("give exactly one of `equals`, `not_equals` and `in`")),
        };
        let values: Option<Vec<String>> = values.iter().map(native::scalar_text).collect();
        let values = values.ok_or_else(|| fail("values must be text, numbers or booleans"))?;
        let field = Field::new("where", &FieldRef::Path(filter.field.clone()))?;
        Ok(Self { field, negated, values })
    }

    /// Whether the row meets it; notes whether the row has the field.
    pub fn holds(&self, row: &Row) -> bool {
        let Origin::Path(path) = &self.field.from else { return false };
        let Some(value) = path.get(&row.fields) else { return self.negated };
        self.field.met.set(true);
        native::scalar_text(&value).is_some_and(|text| self.values.contains(&text)) != self.negated
    }
}

/// The value of a field that may not be mapped.
pub fn take(field: &Option<Field>, row: &Row, place: Place<'_>) -> Result<Option<Value>, RowError> {
    field.as_ref().map_or(Ok(None), |field| field.take(row, place))
}

/// The text of a field that may not be mapped.
pub fn text(field: &Option<Field>, row: &Row, place: Place<'_>) -> Result<Option<String>, RowError> {
    field.as_ref().map_or(Ok(None), |field| field.text(row, place))
}

/// The values of several fields by name; absent ones are left out.
pub fn values(fields: &[Field], row: &Row, place: Place<'_>) -> Result<BTreeMap<String, Value>, RowError> {
    let mut map = BTreeMap::new();
    for field in fields {
        if let Some(value) = field.take(row, place)? {
            map.insert(field.name.clone(), typed(value, row));
        }
    }
    Ok(map)
}

/// A finite number that is not negative.
pub fn amount(field: &Option<Field>, row: &Row, place: Place<'_>) -> Result<Option<f64>, RowError> {
    let Some(field) = field else { return Ok(None) };
    let Some(value) = field.take(row, place)? else { return Ok(None) };
    match native::number(&value).filter(|number| *number >= 0.0) {
        Some(number) => Ok(Some(number)),
        None => Err(RowError::new(place, field.shown_path(), &shown(&value), "a number from 0 up")),
    }
}

/// A whole number from 0 up.
pub fn whole(field: &Option<Field>, row: &Row, place: Place<'_>) -> Result<Option<u64>, RowError> {
    let Some(field) = field else { return Ok(None) };
    let Some(value) = field.take(row, place)? else { return Ok(None) };
    match native::whole_number(&value) {
        Some(number) => Ok(Some(number)),
        None => Err(RowError::new(place, field.shown_path(), &shown(&value), "a whole number from 0 up")),
    }
}

/// In a format that knows only text, a text that is a number or a boolean becomes one: metadata and labels are read
/// by rules that compare and calculate. Inputs, references and outputs stay text.
pub fn typed(value: Value, row: &Row) -> Value {
    let Value::String(text) = &value else { return value };
    if !row.untyped {
        return value;
    }
    match serde_json::from_str(text.trim()) {
        Ok(scalar @ (Value::Number(_) | Value::Bool(_))) => scalar,
        _ => value,
    }
}
