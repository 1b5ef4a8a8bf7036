//! What to put before people: which outputs, in which order, how much of each, and who gets which.
//!
//! A blind sheet shows neither variant nor reference nor what others said, in an order that says nothing. The key of an
//! item survives any sorting of the sheet.

use std::collections::{BTreeMap, BTreeSet};

use crate::dataset::conversation::readable;
use crate::dataset::error::DatasetError;
use crate::dataset::select::hash_unit;
use crate::model::{Digest, Digester, Example, Label, Recorded};

/// What is asked of a queue.
#[derive(Clone, Debug, Default)]
pub struct QueueAsk {
    /// Name the labels will have, usually a judge's.
    pub name: String,
    /// The question in words.
    pub question: String,
    /// Values it takes, as a person reads them.
    pub allowed: String,
    /// How many outputs; all when absent.
    pub count: Option<usize>,
    /// Seed of choice and order.
    pub seed: u64,
    /// How many people look at each output.
    pub overlap: usize,
    /// Who; nobody in particular when empty.
    pub annotators: Vec<String>,
    /// Hide variant, reference and labels, and shuffle.
    pub blind: bool,
}

/// One row of a sheet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueRow {
    /// Key of the item.
    pub key: String,
    /// Name of the label.
    pub name: String,
    /// The question.
    pub question: String,
    /// Values it takes.
    pub allowed: String,
    /// Example; absent when blind, and so are the next four.
    pub example: Option<String>,
    /// Variant of the output.
    pub variant: Option<String>,
    /// Trial of the output.
    pub trial: Option<u32>,
    /// The reference.
    pub reference: Option<String>,
    /// Labels of this name that are there already.
    pub labels: Option<String>,
    /// The input, for people.
    pub input: String,
    /// The output, for people; empty when the example itself is asked about.
    pub output: String,
    /// Who is asked; empty when that is open.
    pub annotator: String,
}

impl QueueRow {
    /// The cell of a column; `value` and `reason` are empty, to be filled.
    pub(super) fn cell(&self, column: &str) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match column {
            "key" => self.key.clone(),
            "name" => self.name.clone(),
            "question" => self.question.clone(),
            "allowed" => self.allowed.clone(),
            "example" => text(&self.example),
            "variant" => text(&self.variant),
            "trial" => self.trial.map(|trial| trial.to_string()).unwrap_or_default(),
            "reference" => text(&self.reference),
            "labels" => text(&self.labels),
            "input" => self.input.clone(),
            "output" => self.output.clone(),
            "annotator" => self.annotator.clone(),
            _ => String::new(),
        }
    }
}

/// A queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queue {
    /// Rows, one per output and person.
    pub rows: Vec<QueueRow>,
    /// How many outputs.
    pub items: usize,
    /// Outputs left out because enough people have labelled them.
    pub labelled: usize,
    /// Outputs left out by the count.
    pub left: usize,
}

/// The key of an output in the queue of a name: the same whenever example, variant, trial and output are the same. It
/// begins with a letter, so that no spreadsheet takes it for a number.
pub fn item_key(name: &str, example: &Example, recorded: Option<&Recorded>) -> String {
    let mut digester = Digester::new().part("name", name.as_bytes()).part("example", example.id.as_str().as_bytes());
    if let Some(recorded) = recorded {
        digester.add("variant", recorded.variant.as_deref().unwrap_or_default().as_bytes());
        digester.add("trial", &recorded.trial.to_le_bytes());
        digester.add("output", Digest::of_json(&recorded.output.value).as_str().as_bytes());
    }
    format!("k-{}", digester.finish().as_str().get(3..19).unwrap_or_default())
}

struct Item<'a> {
    key: String,
    example: &'a Example,
    recorded: Option<&'a Recorded>,
    /// Labels of this name that are there already.
    labels: Vec<&'a Label>,
}

impl Item<'_> {
    fn annotators(&self) -> BTreeSet<&str> {
        self.labels.iter().map(|label| label.annotator.as_deref().unwrap_or_default()).collect()
    }
}

/// Outputs of an example, or the example itself when it has none.
pub(super) fn things(example: &Example) -> Vec<Option<&Recorded>> {
    if example.recorded.is_empty() { vec![None] } else { example.recorded.iter().map(Some).collect() }
}

/// Whether a label is about a recorded output, or about the example itself.
pub(super) fn is_about(label: &Label, recorded: Option<&Recorded>) -> bool {
    match recorded {
        Some(recorded) => label.trial == Some(recorded.trial) && label.variant == recorded.variant,
        None => label.trial.is_none() && label.variant.is_none(),
    }
}

/// Makes a queue.
///
/// # Errors
/// More people per output than there are people, or nothing is left to label.
pub fn queue(examples: &[Example], ask: &QueueAsk) -> Result<Queue, DatasetError> {
    let nothing = |cause: String| Err(DatasetError::NothingSelected { cause });
    let overlap = ask.overlap.max(1);
    if !ask.annotators.is_empty() && overlap > ask.annotators.len() {
        return nothing(format!("`--overlap {overlap}` asks for more people than the {} named", ask.annotators.len()));
    }
    let mut items: Vec<Item<'_>> = Vec::new();
    let mut labelled = 0;
    for example in examples {
        for recorded in things(example) {
            let labels = example.labels.iter().filter(|label| label.name == ask.name && is_about(label, recorded));
            let key = item_key(&ask.name, example, recorded);
            let item = Item { key, example, recorded, labels: labels.collect() };
            if item.annotators().len() < overlap { items.push(item) } else { labelled += 1 }
        }
    }
    if items.is_empty() {
        return nothing(format!("all {labelled} outputs have {overlap} labels `{}` already", ask.name));
    }
    let place: BTreeMap<String, usize> =
        items.iter().enumerate().map(|(index, item)| (item.key.clone(), index)).collect();
    items.sort_by(|a, b| {
        let hash = |item: &Item<'_>| hash_unit(ask.seed, &format!("assize.queue/{}", item.key));
        hash(a).total_cmp(&hash(b)).then_with(|| a.key.cmp(&b.key))
    });
    let left = items.len().saturating_sub(ask.count.unwrap_or(usize::MAX));
    items.truncate(ask.count.unwrap_or(usize::MAX));
    let mut rows: Vec<(usize, QueueRow)> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        // Blind sheets keep the order of the hash; others are easier to read in the order of the dataset.
        let order = if ask.blind { index } else { place.get(&item.key).copied().unwrap_or(index) };
        for annotator in people(item, index, overlap, &ask.annotators) {
            rows.push((order, row(item, ask, annotator)));
        }
    }
    rows.sort_by(|a, b| (&a.1.annotator, a.0).cmp(&(&b.1.annotator, b.0)));
    Ok(Queue { items: items.len(), rows: rows.into_iter().map(|(_, row)| row).collect(), labelled, left })
}

/// Who is asked about an item: those who have not said yet, taken round and round so that all get as much.
fn people(item: &Item<'_>, index: usize, overlap: usize, annotators: &[String]) -> Vec<String> {
    let done = item.annotators();
    let needed = overlap.saturating_sub(done.len());
    if annotators.is_empty() {
        return vec![String::new(); needed];
    }
    let start = index * overlap % annotators.len();
    let round = annotators.iter().cycle().skip(start).take(annotators.len());
    round.filter(|annotator| !done.contains(annotator.as_str())).take(needed).cloned().collect()
}

fn row(item: &Item<'_>, ask: &QueueAsk, annotator: String) -> QueueRow {
    let example = item.example;
    let open = !ask.blind;
    let said = |label: &&Label| {
        let who = label.annotator.as_deref().unwrap_or("somebody");
        format!("{who}: {}", readable(&label.value))
    };
    QueueRow {
        key: item.key.clone(),
        name: ask.name.clone(),
        question: ask.question.clone(),
        allowed: ask.allowed.clone(),
        example: open.then(|| example.id.to_string()),
        variant: item.recorded.and_then(|recorded| recorded.variant.clone()).filter(|_| open),
        trial: item.recorded.map(|recorded| recorded.trial).filter(|_| open),
        reference: example.reference.as_ref().map(readable).filter(|_| open),
        labels: open.then(|| item.labels.iter().map(said).collect::<Vec<_>>().join("; ")),
        input: readable(&example.input),
        output: item.recorded.map(|recorded| readable(&recorded.output.value)).unwrap_or_default(),
        annotator,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{ExampleId, Output};

    pub(crate) fn examples(count: usize) -> Vec<Example> {
        let one = |n: usize| {
            let mut example = Example::new(ExampleId::new(format!("e{n}")), json!(format!("question {n}")));
            example.reference = Some(json!("the answer"));
            for variant in ["old", "new"] {
                let output = Output::of_text(format!("answer {n} of {variant}"));
                example.recorded.push(Recorded { variant: Some(variant.into()), trial: 0, output });
            }
            example
        };
        (0..count).map(one).collect()
    }

    fn ask(annotators: &[&str], overlap: usize) -> QueueAsk {
        let annotators = annotators.iter().map(|name| (*name).to_owned()).collect();
        QueueAsk { name: "ok".into(), annotators, overlap, ..QueueAsk::default() }
    }

    #[test]
    fn work_is_shared_evenly_and_each_output_is_seen_as_often_as_asked() {
        let queue = queue(&examples(15), &ask(&["ann", "bob", "cyd"], 2)).unwrap();
        assert_eq!((queue.items, queue.rows.len()), (30, 60));
        for name in ["ann", "bob", "cyd"] {
            assert_eq!(queue.rows.iter().filter(|row| row.annotator == name).count(), 20, "{name}");
        }
        let mut pairs: Vec<(&str, &str)> =
            queue.rows.iter().map(|row| (row.key.as_str(), row.annotator.as_str())).collect();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), 60, "nobody is asked twice about one output");
    }

    #[test]
    fn a_blind_sheet_hides_and_shuffles_and_an_open_one_does_not() {
        let all = examples(20);
        let blind = queue(&all, &QueueAsk { blind: true, seed: 3, ..ask(&[], 1) }).unwrap();
        let open = queue(&all, &QueueAsk { seed: 3, ..ask(&[], 1) }).unwrap();
        let hidden = |row: &QueueRow| {
            row.example.is_none() && row.variant.is_none() && row.trial.is_none() && row.reference.is_none()
        };
        assert!(blind.rows.iter().all(hidden) && !open.rows.iter().any(hidden));
        let keys = |queue: &Queue| queue.rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&blind), keys(&queue(&all, &QueueAsk { blind: true, seed: 3, ..ask(&[], 1) }).unwrap()));
        assert_ne!(keys(&blind), keys(&open));
        assert_eq!(open.rows[0].example.as_deref(), Some("e0"));
        let news = blind.rows.iter().take(20).filter(|row| row.output.ends_with("new")).count();
        assert!((4..=16).contains(&news), "variants are mixed: {news}");
    }

    #[test]
    fn what_is_labelled_is_not_asked_again() {
        let mut all = examples(3);
        let label = |annotator: &str| Label {
            name: "ok".into(),
            value: json!(true),
            annotator: Some(annotator.into()),
            variant: Some("old".into()),
            trial: Some(0),
            ..Label::default()
        };
        all[0].labels.push(label("ann"));
        let once = queue(&all, &ask(&["ann", "bob"], 1)).unwrap();
        assert_eq!((once.items, once.labelled), (5, 1));
        let twice = queue(&all, &ask(&["ann", "bob"], 2)).unwrap();
        let of_first: Vec<&str> =
            twice.rows.iter().filter(|row| row.output == "answer 0 of old").map(|row| row.annotator.as_str()).collect();
        assert_eq!(of_first, ["bob"]);
        assert!(queue(&all, &ask(&["ann"], 2)).is_err());
        let counted = queue(&all, &QueueAsk { count: Some(2), ..ask(&[], 1) }).unwrap();
        assert_eq!((counted.items, counted.left), (2, 3));
    }
}
