//! What changed from one dataset version to another, example by example.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::DatasetError;
use super::reader::DatasetReader;
use crate::model::{Example, ExampleId, canonical_json};

/// An example that is in both versions and differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedExample {
    /// Id.
    pub id: ExampleId,
    /// Fields that differ, entries of maps by their own name: `reference`, `dimensions.tier`, `recorded`.
    pub fields: Vec<String>,
}

/// The difference of two versions; ids in the order of the version they are in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetDiff {
    /// Ids only the newer version has.
    pub added: Vec<ExampleId>,
    /// Ids only the older version has.
    pub removed: Vec<ExampleId>,
    /// Examples that differ.
    pub changed: Vec<ChangedExample>,
    /// How many are the same in both.
    pub unchanged: u64,
    /// What differs beside the examples: `description`, `design`, `slices`, `splits`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub head: Vec<String>,
}

impl DatasetDiff {
    /// Whether both hold the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.head.is_empty()
    }

    /// The counts in one line.
    pub fn summary(&self) -> String {
        let (added, removed, changed) = (self.added.len(), self.removed.len(), self.changed.len());
        format!("{added} added, {removed} removed, {changed} changed, {} unchanged", self.unchanged)
    }
}

/// Compares two datasets, holding one example of each at a time. Lineage is not compared: a moved file changes
/// nothing.
///
/// # Errors
/// An example cannot be read.
pub fn diff(older: &DatasetReader, newer: &DatasetReader) -> Result<DatasetDiff, DatasetError> {
    let (before, after) = (older.header(), newer.header());
    let head = [
        ("description", before.description == after.description),
        ("design", before.design == after.design),
        ("slices", before.slices == after.slices),
        ("splits", before.splits == after.splits),
    ];
    let head = head.into_iter().filter(|(_, same)| !same).map(|(name, _)| name.to_owned()).collect();
    let mut found = DatasetDiff { head, ..DatasetDiff::default() };
    for example in older.iter() {
        let example = example?;
        let Some(other) = newer.find(&example.id)? else {
            found.removed.push(example.id);
            continue;
        };
        let fields = changed_fields(&example, &other)?;
        if fields.is_empty() {
            found.unchanged += 1;
        } else {
            found.changed.push(ChangedExample { id: example.id, fields });
        }
    }
    for example in newer.iter() {
        let example = example?;
        if older.position(&example.id).is_none() {
            found.added.push(example.id);
        }
    }
    Ok(found)
}

fn changed_fields(older: &Example, newer: &Example) -> Result<Vec<String>, DatasetError> {
    let (older, newer) = (fields_of(older)?, fields_of(newer)?);
    let mut names = Vec::new();
    for (name, value) in &older {
        if newer.iter().all(|(other, same)| other != name || same != value) {
            names.push(name.clone());
        }
    }
    names.extend(newer.iter().filter(|(name, _)| older.iter().all(|(other, _)| other != name)).map(|(n, _)| n.clone()));
    names.sort();
    Ok(names)
}

/// Fields of an example by name, those of maps one by one, in the form that the digest uses.
fn fields_of(example: &Example) -> Result<Vec<(String, String)>, DatasetError> {
    let line = super::lines::line_of_example(example)?;
    let Ok(Value::Object(map)) = serde_json::from_str(&line) else { return Ok(Vec::new()) };
    let mut fields = Vec::new();
    for (name, value) in map {
        match value {
            Value::Object(entries) if name == "dimensions" || name == "metadata" => {
                fields.extend(entries.iter().map(|(key, value)| (format!("{name}.{key}"), canonical_json(value))));
            }
            _ if name == "lineage" => {}
            other => fields.push((name, canonical_json(&other))),
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::sys::FixedClock;

    fn reader(examples: Vec<Example>) -> DatasetReader {
        let clock = FixedClock::new(Timestamp::UNIX_EPOCH, SignedDuration::ZERO);
        DatasetReader::of_examples("d", examples, &clock).unwrap()
    }

    #[test]
    fn added_removed_and_changed_fields_are_found() {
        let example = |id: &str| Example::new(id.into(), json!({"q": id}));
        let mut edited = example("b");
        edited.reference = Some(json!(1));
        edited.dimensions.insert("tier".into(), "pro".into());
        edited.tags.insert("hard".into());
        edited.split = Some("dev".into());
        edited.expected_calls = Some(Vec::new());
        edited.labels.push(crate::model::Label { name: "ok".into(), value: json!(1), ..Default::default() });
        let mut moved = example("c");
        moved.lineage.line = Some(9);
        let older = reader(vec![example("a"), example("b"), example("c")]);
        let newer = reader(vec![moved, edited, example("d")]);
        let found = diff(&older, &newer).unwrap();
        assert_eq!((found.added, found.removed, found.unchanged), (vec!["d".into()], vec!["a".into()], 1));
        assert_eq!(
            found.changed[0].fields,
            ["dimensions.tier", "expected_calls", "labels", "reference", "split", "tags"]
        );
        let same = diff(&older, &older).unwrap();
        assert!(same.is_empty());
        assert_eq!(same.summary(), "0 added, 0 removed, 0 changed, 3 unchanged");
    }
}
