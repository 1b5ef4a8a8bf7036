//! Merges rows that share an id into one example.
//!
//! What belongs to the example must agree from row to row; what belongs to the recording is added as a further
//! variant or trial. A row that does not fit is turned away whole, naming the row it collides with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::error::{Place, RowError, shown};
use crate::model::{Example, ExampleId, Recorded};

/// A row's place, kept small: index of the file and line.
type Origin = (usize, u64);

/// A recording's name within a dataset: place of the example, variant, trial.
type RecordingKey = (usize, Option<String>, u32);

/// Gathers examples row by row, over one or several files.
#[derive(Default)]
pub struct Assembler {
    files: Vec<PathBuf>,
    examples: Vec<Example>,
    origins: Vec<Origin>,
    places: HashMap<ExampleId, usize>,
    recordings: HashMap<RecordingKey, Origin>,
    /// Next trial of an id and variant, where trials are numbered by order.
    next_trial: HashMap<(usize, Option<String>), u32>,
}

impl Assembler {
    /// Begins a file; rows that follow come from it.
    pub fn begin_file(&mut self, path: &Path) {
        self.files.push(path.to_owned());
    }

    /// Takes one row's example. With `number_trials`, its recordings get the next free trial of their variant.
    ///
    /// # Errors
    /// It contradicts an earlier row with the same id, or repeats its variant and trial.
    pub fn add(&mut self, mut example: Example, place: Place<'_>, number_trials: bool) -> Result<(), RowError> {
        let known = self.places.get(&example.id).copied();
        let slot = known.unwrap_or(self.examples.len());
        let mut numbered = HashMap::new();
        if number_trials {
            for recorded in &mut example.recorded {
                let key = (slot, recorded.variant.clone());
                let next = numbered.entry(key.clone()).or_insert(*self.next_trial.get(&key).unwrap_or(&0));
                recorded.trial = *next;
                *next += 1;
            }
        }
        self.check(&example, known, place)?;
        let origin = (self.files.len().saturating_sub(1), place.line);
        for recorded in &example.recorded {
            self.recordings.insert((slot, recorded.variant.clone(), recorded.trial), origin);
        }
        self.next_trial.extend(numbered);
        match known.and_then(|slot| self.examples.get_mut(slot)) {
            Some(first) => merge(first, example),
            None => {
                self.places.insert(example.id.clone(), slot);
                self.origins.push(origin);
                self.examples.push(example);
            }
        }
        Ok(())
    }

    /// The examples in the order in which their ids were first met, recordings sorted by variant and trial.
    pub fn finish(mut self) -> Vec<Example> {
        for example in &mut self.examples {
            example.recorded.sort_by(|left, right| (&left.variant, left.trial).cmp(&(&right.variant, right.trial)));
        }
        self.examples
    }

    fn check(&self, example: &Example, known: Option<usize>, place: Place<'_>) -> Result<(), RowError> {
        self.check_recordings(&example.recorded, known, place)?;
        let Some((first, origin)) = known.and_then(|slot| self.examples.get(slot).zip(self.origins.get(slot))) else {
            return Ok(());
        };
        if example.recorded.is_empty() && first.recorded.is_empty() && example.labels.is_empty() {
            let expected =
                "an id of its own; map `variant` or `trial` if rows with one id are recordings of one example";
            let found = format!("id `{}`, which {} has too", example.id, self.place_text(*origin));
            return Err(RowError::new(place, "id", &found, expected));
        }
        match first_conflict(first, example) {
            None => Ok(()),
            Some((field, found)) => {
                let there = self.place_text(*origin);
                let mend = "; map fields that differ between recordings under `output_metadata`";
                let expected = format!("what {there} says for the same id `{}`{mend}", shorten(example.id.as_str()));
                Err(RowError::new(place, &field, &found, expected))
            }
        }
    }

    fn check_recordings(&self, new: &[Recorded], known: Option<usize>, place: Place<'_>) -> Result<(), RowError> {
        let mut within = HashSet::new();
        for recorded in new {
            let key = (known.unwrap_or(usize::MAX), recorded.variant.clone(), recorded.trial);
            let earlier = self.recordings.get(&key).map(|origin| self.place_text(*origin));
            let again = if within.insert(key) { earlier } else { Some("the same row".to_owned()) };
            if let Some(there) = again {
                let variant = recorded.variant.as_deref().map_or("no variant".to_owned(), |v| format!("variant `{v}`"));
                let found = format!("{variant} and trial {} again, as {there} has for the same id", recorded.trial);
                let expected = "one row per id, variant and trial; map `trial`, or set `number_trials = true`";
                return Err(RowError::new(place, "id", &found, expected));
            }
        }
        Ok(())
    }

    fn place_text(&self, (file, line): Origin) -> String {
        let file = self.files.get(file).map_or(Path::new("?"), PathBuf::as_path);
        Place { file, line }.short()
    }
}

fn shorten(text: &str) -> String {
    crate::sys::text::one_line(text, 80)
}

/// The first field in which a later row contradicts the example, with what the row has there.
fn first_conflict(first: &Example, later: &Example) -> Option<(String, String)> {
    if later.input != first.input {
        return Some(("input".to_owned(), shown(&later.input)));
    }
    if let (Some(known), Some(new)) = (&first.reference, &later.reference)
        && known != new
    {
        return Some(("reference".to_owned(), shown(new)));
    }
    if let (Some(known), Some(new)) = (&first.cluster, &later.cluster)
        && known != new
    {
        return Some(("cluster".to_owned(), format!("`{new}`")));
    }
    if let (Some(known), Some(new)) = (&first.expected_calls, &later.expected_calls)
        && known != new
    {
        return Some(("expected_calls".to_owned(), format!("{} calls", new.len())));
    }
    if !later.attachments.is_empty() && !first.attachments.is_empty() && later.attachments != first.attachments {
        return Some(("attachments".to_owned(), format!("{} attachments", later.attachments.len())));
    }
    if let (Some(known), Some(new)) = (&first.split, &later.split)
        && known != new
    {
        return Some(("split".to_owned(), format!("`{new}`")));
    }
    if let (Some(known), Some(new)) = (first.inclusion_probability, later.inclusion_probability)
        && known.total_cmp(&new).is_ne()
    {
        return Some(("inclusion_probability".to_owned(), format!("`{new}`")));
    }
    let dimension = entry_conflict("dimensions", &first.dimensions, &later.dimensions, |value| format!("`{value}`"));
    dimension.or_else(|| entry_conflict("metadata", &first.metadata, &later.metadata, shown)).or_else(|| {
        let clash = |new: &&crate::model::Label| {
            first.labels.iter().any(|known| new.replaces(known) && known.value != new.value)
        };
        later.labels.iter().find(clash).map(|label| (format!("labels.{}", label.name), shown(&label.value)))
    })
}

fn entry_conflict<T: PartialEq>(
    field: &str,
    first: &BTreeMap<String, T>,
    later: &BTreeMap<String, T>,
    show: impl Fn(&T) -> String,
) -> Option<(String, String)> {
    let clash = later.iter().find(|(name, value)| first.get(*name).is_some_and(|known| known != *value));
    clash.map(|(name, value)| (format!("{field}.{name}"), show(value)))
}

/// Adds a later row to its example; what the first row did not say is taken from the later one.
fn merge(first: &mut Example, later: Example) {
    first.reference = first.reference.take().or(later.reference);
    first.cluster = first.cluster.take().or(later.cluster);
    first.stratum = first.stratum.take().or(later.stratum);
    first.inclusion_probability = first.inclusion_probability.or(later.inclusion_probability);
    first.represents = first.represents.or(later.represents);
    first.split = first.split.take().or(later.split);
    first.expected_calls = first.expected_calls.take().or(later.expected_calls);
    if first.attachments.is_empty() {
        first.attachments = later.attachments;
    }
    first.tags.extend(later.tags);
    for (name, value) in later.dimensions {
        first.dimensions.entry(name).or_insert(value);
    }
    for (name, value) in later.metadata {
        first.metadata.entry(name).or_insert(value);
    }
    for label in later.labels {
        if !first.labels.contains(&label) {
            first.labels.push(label);
        }
    }
    first.recorded.extend(later.recorded);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Output;

    type Edit = fn(&mut Example);

    fn row(id: &str, variant: Option<&str>, trial: u32) -> Example {
        let mut example = Example::new(ExampleId::new(id), json!(format!("input of {id}")));
        let output = Output::of_text("o");
        example.recorded.push(Recorded { variant: variant.map(str::to_owned), trial, output });
        example
    }

    fn assembler() -> Assembler {
        let mut assembler = Assembler::default();
        assembler.begin_file(Path::new("f.csv"));
        assembler
    }

    fn at(line: u64) -> Place<'static> {
        Place { file: Path::new("f.csv"), line }
    }

    #[test]
    fn variants_and_trials_of_one_id_are_one_example() {
        let mut assembler = assembler();
        for (line, (variant, trial)) in [(Some("b"), 0), (Some("a"), 1), (Some("a"), 0)].into_iter().enumerate() {
            assembler.add(row("x", variant, trial), at(line as u64), false).unwrap();
        }
        let examples = assembler.finish();
        assert_eq!(examples.len(), 1);
        let order: Vec<_> = examples[0].recorded.iter().map(|r| (r.variant.as_deref().unwrap(), r.trial)).collect();
        assert_eq!(order, [("a", 0), ("a", 1), ("b", 0)]);
    }

    #[test]
    fn the_same_variant_and_trial_twice_names_both_lines() {
        let mut assembler = assembler();
        assembler.add(row("x", Some("a"), 0), at(2), false).unwrap();
        let error = assembler.add(row("x", Some("a"), 0), at(9), false).unwrap_err().to_string();
        assert!(error.contains("`f.csv` line 9") && error.contains("`f.csv` line 2"), "{error}");
        assert_eq!(assembler.finish()[0].recorded.len(), 1);
    }

    #[test]
    fn a_plain_id_twice_names_both_lines() {
        let mut assembler = assembler();
        assembler.add(Example::new(ExampleId::new("x"), json!("q")), at(2), false).unwrap();
        let error = assembler.add(Example::new(ExampleId::new("x"), json!("q")), at(3), false).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("`f.csv` line 2"), "{error}");
    }

    #[test]
    fn repeated_rows_can_be_numbered() {
        let mut assembler = assembler();
        for line in 1..4 {
            assembler.add(row("x", None, 0), at(line), true).unwrap();
        }
        let trials: Vec<u32> = assembler.finish()[0].recorded.iter().map(|recorded| recorded.trial).collect();
        assert_eq!(trials, [0, 1, 2]);
    }

    #[test]
    fn contradictions_name_the_field_and_both_lines_and_change_nothing() {
        let mut assembler = assembler();
        let mut first = row("x", None, 0);
        first.reference = Some(json!("r"));
        first.dimensions.insert("tier".into(), "free".into());
        assembler.add(first.clone(), at(1), false).unwrap();
        let edits: [(&str, Edit); 3] = [
            ("input", |e| e.input = json!("other")),
            ("reference", |e| e.reference = Some(json!("other"))),
            ("dimensions.tier", |e| drop(e.dimensions.insert("tier".into(), "pro".into()))),
        ];
        for (field, edit) in edits {
            let mut later = row("x", None, 1);
            edit(&mut later);
            let error = assembler.add(later, at(5), false).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.to_string().contains("`f.csv` line 1"), "{error}");
        }
        assert_eq!(assembler.finish(), [first]);
    }
}
