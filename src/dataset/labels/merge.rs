//! Labels from sheets onto examples: the same person's later word replaces the earlier; nobody else's is lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::queue::{item_key, things};
use super::value::{Answer, parse_value};
use crate::dataset::error::{Place, Rejections, RowError, shown};
use crate::dataset::native::{scalar_text, whole_number};
use crate::dataset::rows::Row;
use crate::model::{Example, ExampleId, Label};

/// What a row of a sheet is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Place of the example.
    place: usize,
    variant: Option<String>,
    trial: Option<u32>,
}

/// What became of the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Labels that are new.
    pub added: u64,
    /// Labels that took the place of an earlier one of the same person.
    pub replaced: u64,
    /// Labels that were there already.
    pub same: u64,
    /// Rows without a value: not labelled yet.
    pub blank: u64,
    /// Rows that were turned away.
    pub rejected: Rejections,
}

/// Reads rows onto examples.
pub struct Merge<'a> {
    examples: &'a mut [Example],
    ids: HashMap<ExampleId, usize>,
    /// Items by key, for each name met.
    keys: BTreeMap<String, HashMap<String, Target>>,
    answers: &'a dyn Fn(&str) -> Option<Answer>,
    name: Option<&'a str>,
    annotator: Option<&'a str>,
    seen: HashSet<(Target, String, String)>,
    done: Merged,
}

impl<'a> Merge<'a> {
    /// `answers` knows the values of a name that is a judge's. `name` and `annotator` stand for rows that say none.
    pub fn new(
        examples: &'a mut [Example],
        answers: &'a dyn Fn(&str) -> Option<Answer>,
        name: Option<&'a str>,
        annotator: Option<&'a str>,
    ) -> Self {
        let ids = examples.iter().enumerate().map(|(place, example)| (example.id.clone(), place)).collect();
        let (keys, seen, done) = (BTreeMap::new(), HashSet::new(), Merged::default());
        Self { examples, ids, keys, answers, name, annotator, seen, done }
    }

    /// Takes one row of a file.
    pub fn take(&mut self, file: &Path, row: Result<Row, RowError>) {
        let taken = row.and_then(|row| self.row(Place { file, line: row.line }, &row.fields));
        if let Err(error) = taken {
            self.done.rejected.push(error);
        }
    }

    /// What became of the rows.
    pub fn finish(self) -> Merged {
        self.done
    }

    fn row(&mut self, place: Place<'_>, fields: &Value) -> Result<(), RowError> {
        let none = Map::new();
        let fields = fields.as_object().unwrap_or(&none);
        let text =
            |name: &str| fields.get(name).and_then(scalar_text).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let found = match fields.get("value") {
            None => return Err(RowError::new(place, "value", "no such column", "a column `value` with the label")),
            Some(Value::Null) => return self.blank(),
            Some(Value::String(text)) if text.trim().is_empty() => return self.blank(),
            Some(value) => value,
        };
        let missing = |field: &str, expected: &str| RowError::new(place, field, "nothing", expected);
        let name = text("name").or_else(|| self.name.map(str::to_owned));
        let name = name.ok_or_else(|| missing("name", "the name of the label, in the sheet or as `--name`"))?;
        let annotator = text("annotator").or_else(|| self.annotator.map(str::to_owned));
        let annotator =
            annotator.ok_or_else(|| missing("annotator", "who labelled, in the sheet or as `--annotator`"))?;
        let target = self.target(place, fields, &name)?;
        let answer = (self.answers)(&name)
            .unwrap_or_else(|| text("allowed").map_or(Answer::Free, |allowed| Answer::of_list(&allowed)));
        let value = parse_value(found, &answer)
            .map_err(|expected| RowError::new(place, "value", &shown(found), format!("{expected}, for `{name}`")))?;
        if !self.seen.insert((target.clone(), name.clone(), annotator.clone())) {
            let found = format!("a second row of `{annotator}` about the same output");
            return Err(RowError::new(place, "key", &found, "one row per output and person"));
        }
        let label = Label {
            name,
            value,
            annotator: Some(annotator),
            reason: text("reason"),
            variant: target.variant,
            trial: target.trial,
        };
        self.put(target.place, label);
        Ok(())
    }

    fn blank(&mut self) -> Result<(), RowError> {
        self.done.blank += 1;
        Ok(())
    }

    fn put(&mut self, place: usize, label: Label) {
        let Some(example) = self.examples.get_mut(place) else { return };
        match example.labels.iter_mut().find(|known| label.replaces(known)) {
            Some(known) if *known == label => self.done.same += 1,
            Some(known) => {
                *known = label;
                self.done.replaced += 1;
            }
            None => {
                example.labels.push(label);
                self.done.added += 1;
            }
        }
    }

    /// What a row is about: by the key of a queue, or by `example`, `variant` and `trial` in a sheet made by hand.
    fn target(&mut self, place: Place<'_>, fields: &Map<String, Value>, name: &str) -> Result<Target, RowError> {
        let text = |name: &str| fields.get(name).and_then(scalar_text).filter(|text| !text.trim().is_empty());
        if let Some(key) = text("key") {
            let known = self.keys.entry(name.to_owned()).or_insert_with(|| keys_of(self.examples, name));
            return known.get(key.trim()).cloned().ok_or_else(|| {
                let expected = "a key of this dataset: the output may have changed since the queue was made, or the \
                                sheet belongs to another dataset or name";
                RowError::new(place, "key", &format!("`{key}`"), expected)
            });
        }
        let id = text("example").or_else(|| text("id"));
        let id = id.ok_or_else(|| RowError::new(place, "key", "nothing", "a `key` of a queue, or an `example`"))?;
        let found = self.ids.get(&ExampleId::new(id.as_str())).copied();
        let index = found.ok_or_else(|| {
            RowError::new(place, "example", &format!("`{id}`"), "the id of an example of the dataset")
        })?;
        let trial = match fields.get("trial").filter(|value| !value.is_null() && value.as_str() != Some("")) {
            None => None,
            Some(value) => match whole_number(value).and_then(|n| u32::try_from(n).ok()) {
                Some(trial) => Some(trial),
                None => return Err(RowError::new(place, "trial", &shown(value), "a whole number from 0 up")),
            },
        };
        let variant = text("variant");
        // A variant without a trial means its first.
        let trial = trial.or_else(|| variant.as_ref().map(|_| 0));
        let target = Target { place: index, variant, trial };
        let recorded = self.examples.get(index).map(|example| &example.recorded);
        let there = target.trial.is_none()
            || recorded.is_some_and(|all| {
                all.iter().any(|recorded| recorded.variant == target.variant && Some(recorded.trial) == target.trial)
            });
        if there {
            return Ok(target);
        }
        let found = format!("`{}`", target.variant.as_deref().unwrap_or("no variant"));
        Err(RowError::new(place, "variant", &found, "variant and trial of an output recorded for this example"))
    }
}

fn keys_of(examples: &[Example], name: &str) -> HashMap<String, Target> {
    let mut keys = HashMap::new();
    for (place, example) in examples.iter().enumerate() {
        for recorded in things(example) {
            let target = Target {
                place,
                variant: recorded.and_then(|recorded| recorded.variant.clone()),
                trial: recorded.map(|recorded| recorded.trial),
            };
            keys.insert(item_key(name, example, recorded), target);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::queue::{QueueAsk, queue};
    use super::*;
    use crate::model::{Output, Recorded, Scale};

    fn examples() -> Vec<Example> {
        let mut example = Example::new("e".into(), json!("q"));
        for variant in ["old", "new"] {
            let output = Output::of_text(variant);
            example.recorded.push(Recorded { variant: Some(variant.into()), trial: 0, output });
        }
        vec![example]
    }

    fn merge(examples: &mut [Example], rows: &[Value]) -> Merged {
        let answers = |name: &str| (name == "ok").then_some(Answer::Scale(Scale::Binary));
        let mut merge = Merge::new(examples, &answers, Some("ok"), Some("ann"));
        for (index, fields) in rows.iter().enumerate() {
            let row = Row { line: index as u64 + 2, fields: fields.clone(), untyped: true };
            merge.take(Path::new("sheet.csv"), Ok(row));
        }
        merge.finish()
    }

    #[test]
    fn labels_find_their_outputs_and_replace_only_their_own() {
        let mut all = examples();
        let queue = queue(&all, &QueueAsk { name: "ok".into(), blind: true, ..QueueAsk::default() }).unwrap();
        let rows: Vec<Value> = queue
            .rows
            .iter()
            .map(|row| json!({"key": row.key, "value": if row.output == "new" { "pass" } else { "no" }}))
            .collect();
        assert_eq!(merge(&mut all, &rows).added, 2);
        let of_new = all[0].labels.iter().find(|label| label.variant.as_deref() == Some("new")).unwrap();
        assert_eq!((&of_new.value, of_new.trial, of_new.annotator.as_deref()), (&json!(true), Some(0), Some("ann")));
        let bob = json!({"example": "e", "variant": "new", "annotator": "bob", "value": "fail", "reason": "rude"});
        let again =
            merge(&mut all, &[bob, rows[0].clone(), json!({"key": rows[1]["key"], "value": "yes", "reason": "r"})]);
        assert_eq!((again.added, again.same, again.replaced), (1, 1, 1));
        assert_eq!(all[0].labels.len(), 3);
    }

    #[test]
    fn bad_rows_say_where_and_cost_only_themselves() {
        let mut all = examples();
        let found = merge(
            &mut all,
            &[
                json!({"example": "e", "value": "pass"}),
                json!({"example": "e", "value": "perhaps"}),
                json!({"key": "k-0", "value": "pass"}),
                json!({"example": "nobody", "value": "pass"}),
                json!({"example": "e", "value": " "}),
                json!({"example": "e", "variant": "newest", "value": "pass"}),
                json!({"example": "e", "value": "fail"}),
                json!({"example": "e"}),
            ],
        );
        assert_eq!((found.added, found.blank, found.rejected.total), (1, 1, 6));
        let told: Vec<String> = found.rejected.kept.iter().map(ToString::to_string).collect();
        assert!(told[0].contains("line 3, field `value`") && told[0].contains("`pass` or `fail`"), "{}", told[0]);
        assert!(told[1].contains("line 4, field `key`"), "{}", told[1]);
        assert!(told[4].contains("second row"), "{}", told[4]);
    }
}
