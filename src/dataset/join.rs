//! Rows of a second file that belong to rows of the first: labels kept apart, tasks beside their runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{DatasetError, Place, RowError, shown};
use super::mapping::JoinRule;
use super::native::scalar_text;
use super::path::FieldPath;
use super::rows::{Limits, Row, read_rows};

/// A second file in memory, by key.
pub struct Join {
    name: String,
    file: PathBuf,
    key: FieldPath,
    rows: HashMap<String, Value>,
    optional: bool,
}

impl Join {
    /// Reads the second file, which stands beside `first`.
    ///
    /// # Errors
    /// It cannot be read, a row has no key, or two have the same where only one may.
    pub fn open(rule: &JoinRule, first: &Path, limits: Limits) -> Result<Self, DatasetError> {
        let wrong = |key: &str, cause: String| DatasetError::Mapping { key: format!("join.{key}"), cause };
        let path = |key: &str, text: &str| FieldPath::parse(text).map_err(|cause| wrong(key, cause));
        let key = path("key", &rule.key)?;
        let on = rule.on.as_ref().map_or(Ok(key.clone()), |on| path("on", on))?;
        if rule.name.is_empty() || rule.name.contains(['.', '/']) {
            return Err(wrong("as", format!("`{}` is no plain name of a field", rule.name)));
        }
        let file = first.parent().unwrap_or(Path::new("")).join(&rule.file);
        let mut rows = HashMap::new();
        read_rows(&file, None, rule.rows.as_deref(), limits, &mut |row| {
            let row = row?;
            let place = Place { file: &file, line: row.line };
            let found = on.get(&row.fields).and_then(|value| scalar_text(&value));
            let id = found.ok_or_else(|| {
                RowError::new(place, on.as_str(), &shown(&row.fields), "text or a number that the rows are joined by")
            })?;
            match (rows.get_mut(&id), rule.many) {
                (None, true) => drop(rows.insert(id, Value::Array(vec![row.fields]))),
                (None, false) => drop(rows.insert(id, row.fields)),
                (Some(Value::Array(list)), true) => list.push(row.fields),
                (Some(_), _) => {
                    let expected = "each key once (`many = true` takes all rows of a key as a list)";
                    return Err(RowError::new(place, on.as_str(), &format!("`{id}` again"), expected).into());
                }
            }
            Ok(())
        })?;
        Ok(Self { name: rule.name.clone(), file, key, rows, optional: rule.optional })
    }

    /// Puts the row of the second file into the row of the first.
    ///
    /// # Errors
    /// There is none, and there must be.
    pub fn apply(&self, row: &mut Row, place: Place<'_>) -> Result<(), RowError> {
        let id = self.key.get(&row.fields).and_then(|value| scalar_text(&value));
        let found = id.as_ref().and_then(|id| self.rows.get(id));
        match (found, row.fields.as_object_mut()) {
            (Some(found), Some(map)) => drop(map.insert(self.name.clone(), found.clone())),
            _ if self.optional => {}
            _ => {
                let found = id.map_or("nothing".to_owned(), |id| format!("`{id}`"));
                let expected =
                    format!("a key that `{}` has (`optional = true` takes rows without it)", self.file.display());
                return Err(RowError::new(place, self.key.as_str(), &found, expected));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sys::files;

    fn joined(labels: &str, rule: &str, id: Value) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        files::write_atomic(&folder.path().join("labels.json"), labels.as_bytes()).unwrap();
        let rule: JoinRule = toml::from_str(&format!("file = 'labels.json'\nas = 'note'\nkey = 'id'\n{rule}")).unwrap();
        let first = folder.path().join("rows.json");
        let join = Join::open(&rule, &first, Limits::default()).map_err(|error| error.to_string())?;
        let mut row = Row { line: 1, fields: json!({"id": id}), untyped: false };
        join.apply(&mut row, Place { file: &first, line: 1 }).map_err(|error| error.to_string())?;
        Ok(row.fields["note"].take())
    }

    #[test]
    fn rows_meet_by_key_whatever_its_type() {
        let labels = r#"[{"task": 1, "x": "a"}, {"task": "2", "x": "b"}]"#;
        assert_eq!(joined(labels, "on = 'task'", json!("1")), Ok(json!({"task": 1, "x": "a"})));
        assert_eq!(joined(labels, "on = 'task'", json!(2)), Ok(json!({"task": "2", "x": "b"})));
        assert_eq!(joined(labels, "on = 'task'\noptional = true", json!(3)), Ok(Value::Null));
        assert!(joined(labels, "on = 'task'", json!(3)).unwrap_err().contains("found `3`, expected a key that"));
    }

    #[test]
    fn several_rows_of_a_key_are_a_list_or_an_error() {
        let labels = r#"[{"id": 1, "x": "a"}, {"id": 1, "x": "b"}]"#;
        assert_eq!(joined(labels, "many = true", json!(1)).unwrap().as_array().unwrap().len(), 2);
        assert!(joined(labels, "", json!(1)).unwrap_err().contains("`1` again"));
        assert!(joined(r#"[{"x": 1}]"#, "", json!(1)).unwrap_err().contains("labels.json"));
    }
}
