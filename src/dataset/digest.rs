//! The identity of a dataset: one digest of the task, one of what is recorded, labelled, tagged and split.
//!
//! Both are folds over one digest per example, sorted by id, so that the order of examples does not matter and a
//! version can be checked line by line in bounded memory. Lineage enters neither: a moved file is the same data.

use serde_json::Value;

use crate::model::{Digest, Digester, Example, ExampleId, canonical_json};

/// Domain tag of the task digest; changing the rule needs a new tag.
const TASK: &str = "assize.dataset.task.1";
/// Domain tag of the digest of recorded outputs and labels.
const RECORDED: &str = "assize.dataset.recorded.1";

/// Gathers examples in any order and gives both digests. Holds an id and two digests per example.
#[derive(Default)]
pub struct TaskDigester {
    parts: Vec<(ExampleId, Digest, Digest)>,
}

impl TaskDigester {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one example.
    pub fn push(&mut self, example: &Example) {
        self.parts.push((example.id.clone(), task_of(example), recorded_of(example)));
    }

    /// The digest of the task and the digest of recorded outputs and labels.
    pub fn finish(mut self) -> (Digest, Digest) {
        self.parts.sort();
        let mut task = Digester::new().part("rule", TASK.as_bytes());
        let mut recorded = Digester::new().part("rule", RECORDED.as_bytes());
        for (id, task_part, recorded_part) in &self.parts {
            task.add(id.as_str(), task_part.as_str().as_bytes());
            recorded.add(id.as_str(), recorded_part.as_str().as_bytes());
        }
        (task.finish(), recorded.finish())
    }
}

/// Both digests of examples at hand: the task's, then that of recorded outputs and labels.
pub fn digest_of<'a>(examples: impl IntoIterator<Item = &'a Example>) -> (Digest, Digest) {
    let mut digester = TaskDigester::new();
    for example in examples {
        digester.push(example);
    }
    digester.finish()
}

/// The id of an example that names none: a digest of its input, so that the same input keeps its id in every
/// version and file. Sixteen hexadecimal digits: a clash among ten million inputs has a chance of 1 in 400,000.
pub fn content_id(input: &Value) -> ExampleId {
    id_of_input(&Digest::of_json(input))
}

/// The id of an example by the digest of its input.
pub fn id_of_input(digest: &Digest) -> ExampleId {
    ExampleId::new(format!("in-{}", digest.as_str().get(3..19).unwrap_or_default()))
}

/// Metadata belongs to the task: templates and scorers read it, so an edit there changes what is measured.
///
/// A reference that is null is the same as none, since it is read back as none.
fn task_of(example: &Example) -> Digest {
    let mut parts = Digester::new();
    parts.add("id", example.id.as_str().as_bytes());
    parts.add("input", canonical_json(&example.input).as_bytes());
    if let Some(reference) = example.reference.as_ref().filter(|reference| !reference.is_null()) {
        parts.add("reference", canonical_json(reference).as_bytes());
    }
    if let Some(calls) = &example.expected_calls {
        parts.add("expected_calls", canonical(calls).as_bytes());
    }
    for attachment in &example.attachments {
        parts.add("attachment", canonical(attachment).as_bytes());
    }
    for (name, value) in &example.dimensions {
        parts.add("dimension", name.as_bytes());
        parts.add("is", value.as_bytes());
    }
    for (name, value) in &example.metadata {
        parts.add("metadata", name.as_bytes());
        parts.add("is", canonical_json(value).as_bytes());
    }
    for (name, value) in [("cluster", &example.cluster), ("stratum", &example.stratum)] {
        if let Some(value) = value {
            parts.add(name, value.as_bytes());
        }
    }
    if let Some(probability) = example.inclusion_probability {
        parts.add("inclusion_probability", &probability.to_bits().to_le_bytes());
    }
    if let Some(represents) = example.represents {
        parts.add("represents", &represents.to_le_bytes());
    }
    parts.finish()
}

fn recorded_of(example: &Example) -> Digest {
    let mut parts = Digester::new();
    // The order in which variants were imported says nothing; their content does.
    let mut recorded: Vec<String> = example.recorded.iter().map(canonical).collect();
    recorded.sort();
    for text in &recorded {
        parts.add("recorded", text.as_bytes());
    }
    let mut labels: Vec<String> = example.labels.iter().map(canonical).collect();
    labels.sort();
    for text in &labels {
        parts.add("label", text.as_bytes());
    }
    for tag in &example.tags {
        parts.add("tag", tag.as_bytes());
    }
    if let Some(split) = &example.split {
        parts.add("split", split.as_bytes());
    }
    parts.finish()
}

/// Data structures without maps keyed by anything but text always serialise; a failure would digest as null.
fn canonical<T: serde::Serialize + ?Sized>(value: &T) -> String {
    canonical_json(&serde_json::to_value(value).unwrap_or(Value::Null))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::{Attachment, Label, Output, Recorded};

    type Edit = fn(&mut Example);

    fn example(id: &str) -> Example {
        let mut example = Example::new(ExampleId::new(id), json!({"q": id, "a": [1, 2.5]}));
        example.reference = Some(json!("yes"));
        example
    }

    fn attachment() -> Attachment {
        Attachment { name: "a.png".into(), media_type: None, digest: Digest::of(b"x"), bytes: 1 }
    }

    #[test]
    fn every_part_of_the_task_counts_and_nothing_else() {
        let base = example("a");
        let (task, recorded) = digest_of([&base]);
        let edits: [(&str, Edit); 11] = [
            ("id", |e| e.id = ExampleId::new("b")),
            ("input", |e| e.input = json!("other")),
            ("reference", |e| e.reference = None),
            ("dimensions", |e| drop(e.dimensions.insert("tier".into(), "free".into()))),
            ("cluster", |e| e.cluster = Some("c".into())),
            ("stratum", |e| e.stratum = Some("s".into())),
            ("probability", |e| e.inclusion_probability = Some(0.5)),
            ("represents", |e| e.represents = Some(3)),
            ("metadata", |e| drop(e.metadata.insert("k".into(), json!(1)))),
            ("expected calls, even none", |e| e.expected_calls = Some(Vec::new())),
            ("attachments", |e| e.attachments.push(attachment())),
        ];
        for (what, edit) in edits {
            let mut edited = base.clone();
            edit(&mut edited);
            assert_ne!(digest_of([&edited]).0, task, "{what}");
        }
        let mut told = base.clone();
        told.recorded.push(Recorded { variant: None, trial: 0, output: Output::of_text("out") });
        told.lineage.line = Some(3);
        let with_output = digest_of([&told]);
        assert_eq!(with_output.0, task);
        assert_ne!(with_output.1, recorded);
        let beside: [(&str, Edit); 3] = [
            ("labels", |e| e.labels.push(Label { name: "ok".into(), value: json!(true), ..Label::default() })),
            ("tags", |e| e.tags.extend(["hard".to_owned()])),
            ("split", |e| e.split = Some("dev".into())),
        ];
        for (what, edit) in beside {
            let mut edited = told.clone();
            edit(&mut edited);
            let after = digest_of([&edited]);
            assert!(after.0 == task && after.1 != with_output.1, "{what}");
        }
    }

    /// Versions on disk must keep matching their digests: what a version without the later fields digests to is fixed.
    #[test]
    fn examples_without_later_fields_keep_their_digest() {
        let (task, recorded) = digest_of([&example("a")]);
        assert_eq!((task.short(), recorded.short()), ("5a117d00c9e3", "0d0421253c15"));
    }

    #[test]
    fn content_ids_follow_content_whatever_the_order_of_keys() {
        assert_eq!(content_id(&json!({"a": 1, "b": 2})), content_id(&json!({"b": 2, "a": 1})));
        assert_ne!(content_id(&json!("a")), content_id(&json!("b")));
        assert_eq!(content_id(&json!("a")).as_str().len(), 19);
    }

    proptest! {
        #[test]
        fn the_order_of_examples_does_not_matter(ids in proptest::collection::btree_set("[a-z]{1,6}", 1..20), seed in any::<u64>()) {
            let mut examples: Vec<Example> = ids.iter().map(|id| example(id)).collect();
            let before = digest_of(&examples);
            examples.sort_by_key(|e| blake3::hash(format!("{seed}{}", e.id).as_bytes()).to_hex().to_string());
            prop_assert_eq!(before, digest_of(&examples));
        }
    }
}
