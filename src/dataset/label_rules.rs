//! Mapped labels: what people said about a row, who said it and why.
//!
//! One field gives one label, several fields one per annotator, `each` one per element of a list.

use serde_json::Value;

use super::error::{DatasetError, Place, RowError, shown};
use super::field::{Field, typed};
use super::mapping::{FieldMapping, FieldRef, FieldRule, LabelRef, LabelRule};
use super::rows::Row;
use crate::model::Label;

/// One mapped label, compiled.
pub struct LabelField {
    name: String,
    /// The list whose elements give one label each.
    each: Option<Field>,
    value: Field,
    reason: Option<Field>,
    annotator: Option<Field>,
    /// Who said it, where only the field's name tells several apart.
    annotator_name: Option<String>,
}

impl LabelField {
    /// All labels of a mapping.
    ///
    /// # Errors
    /// [`DatasetError::Mapping`] names the key that is wrong.
    pub fn all(mapping: &FieldMapping) -> Result<Vec<Self>, DatasetError> {
        let each = mapping.labels.iter().flat_map(|(name, refs)| {
            let refs = refs.as_slice();
            refs.iter().map(move |label| Self::new(name, label, refs.len() > 1))
        });
        each.collect()
    }

    fn new(name: &str, label: &LabelRef, several: bool) -> Result<Self, DatasetError> {
        let key = format!("labels.{name}");
        let rule = match label {
            LabelRef::Path(path) => LabelRule { field: Some(path.clone()), ..LabelRule::default() },
            LabelRef::Rule(rule) => (**rule).clone(),
        };
        let LabelRule { each, field, fields, value, regex, offset, optional, reason, annotator } = rule;
        let value = FieldRef::Rule(Box::new(FieldRule { field, fields, value, regex, offset, optional }));
        let value = Field::new(&key, &value)?;
        let part = |part: &str, field: Option<FieldRef>| {
            field.map(|field| Field::new(&format!("{key}.{part}"), &field)).transpose()
        };
        let annotator = part("annotator", annotator)?;
        // Several fields for one question are several annotators; the field's name is what is known of them.
        let annotator_name = (several && annotator.is_none()).then(|| value.shown_path().to_owned());
        let each = each
            .map(|path| FieldRef::Rule(Box::new(FieldRule { field: Some(path), optional, ..FieldRule::default() })));
        Ok(Self {
            name: name.to_owned(),
            each: part("each", each)?,
            value,
            reason: part("reason", reason)?,
            annotator,
            annotator_name,
        })
    }

    /// The field of the row itself that the label depends on.
    pub fn outer(&self) -> &Field {
        self.each.as_ref().unwrap_or(&self.value)
    }

    /// Adds the labels of a row.
    ///
    /// # Errors
    /// A field is missing or not what it should be.
    pub fn take(&self, row: &Row, place: Place<'_>, labels: &mut Vec<Label>) -> Result<(), RowError> {
        let Some(each) = &self.each else {
            labels.extend(self.one(row, place)?);
            return Ok(());
        };
        let items = match each.take(row, place)? {
            None => return Ok(()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(RowError::new(place, each.shown_path(), &shown(&other), "a list")),
        };
        for (index, fields) in items.into_iter().enumerate() {
            let item = Row { line: row.line, fields, untyped: row.untyped };
            let label = self.one(&item, place).map_err(|error| RowError {
                field: format!("{}.{index}.{}", each.shown_path(), error.field),
                ..error
            })?;
            labels.extend(label);
        }
        Ok(())
    }

    fn one(&self, row: &Row, place: Place<'_>) -> Result<Option<Label>, RowError> {
        let Some(value) = self.value.take(row, place)? else { return Ok(None) };
        let text = |field: &Option<Field>| field.as_ref().map_or(Ok(None), |field| field.text(row, place));
        let annotator = text(&self.annotator)?.or_else(|| self.annotator_name.clone());
        Ok(Some(Label {
            name: self.name.clone(),
            value: typed(value, row),
            annotator,
            reason: text(&self.reason)?,
            ..Label::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn labels(mapping: &str, fields: Value) -> Result<Vec<Label>, RowError> {
        let mapping: FieldMapping = toml::from_str(mapping).unwrap();
        let row = Row { line: 3, fields, untyped: false };
        let mut labels = Vec::new();
        for label in LabelField::all(&mapping).unwrap() {
            label.take(&row, Place { file: Path::new("f"), line: 3 }, &mut labels)?;
        }
        Ok(labels)
    }

    #[test]
    fn steps_counted_from_one_become_places_counted_from_zero() {
        let mapping = r#"
            [labels.failure]
            each = "failures"
            fields = { step = { field = "step_number", offset = -1 }, agent = "agent" }
            reason = "why"
            annotator = { value = "authors" }
        "#;
        let found = labels(
            mapping,
            json!({"failures": [
            {"step_number": 3, "agent": "a", "why": "w1"}, {"step_number": "7", "agent": "b", "why": "w2"}]}),
        )
        .unwrap();
        let said: Vec<&Value> = found.iter().map(|label| &label.value).collect();
        assert_eq!(said, [&json!({"step": 2, "agent": "a"}), &json!({"step": 6, "agent": "b"})]);
        assert_eq!((found[1].reason.as_deref(), found[1].annotator.as_deref()), (Some("w2"), Some("authors")));
        let error = labels(mapping, json!({"failures": [{"step_number": 0, "agent": "a", "why": "w"}]})).unwrap_err();
        assert_eq!(
            (error.field.as_str(), error.expected.as_str()),
            ("failures.0.step_number", "a whole number from 1 up")
        );
    }

    #[test]
    fn several_fields_are_several_annotators() {
        let found = labels(
            "[labels]\nkind = ['a1', 'a2', { field = 'a3', annotator = 'who' }]",
            json!({
            "a1": "x", "a2": null, "a3": "z", "who": "Ann"}),
        )
        .unwrap();
        let said: Vec<(Option<&str>, &Value)> = found.iter().map(|l| (l.annotator.as_deref(), &l.value)).collect();
        assert_eq!(said, [(Some("a1"), &json!("x")), (Some("Ann"), &json!("z"))]);
    }
}
