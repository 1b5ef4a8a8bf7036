//! What holds the shipped judges to the catalogue's rules: enough labelled examples, balanced, hard, reasoned, all
//! different; rubrics with the parts an annotator guide needs; a page of documentation that is up to date.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Labelled, shipped};
use crate::model::ScoreInput;
use crate::rubric::{
    CalibrationExample, FAMILIES, InputName, JudgeSpec, Material, RubricScale, Wanted, render, reply_schema,
};

/// Fewest judges, and fewest examples of each.
const JUDGES: usize = 30;
const EXAMPLES: usize = 20;

fn specs() -> Vec<JudgeSpec> {
    shipped().iter().map(|files| files.parse().unwrap_or_else(|problems| panic!("{}", problems[0]))).collect()
}

fn tagged<'a>(spec: &'a JudgeSpec, tag: &'a str) -> impl Iterator<Item = &'a CalibrationExample> {
    spec.calibration.iter().filter(move |example| example.tags.iter().any(|found| found == tag))
}

/// Labelled examples of each permitted score.
fn counts(spec: &JudgeSpec) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = match &spec.scale {
        RubricScale::Binary { .. } => [("pass".to_owned(), 0), ("fail".to_owned(), 0)].into(),
        RubricScale::Labels(labels) => labels.iter().map(|label| (label.label.clone(), 0)).collect(),
        RubricScale::Number { .. } => spec.scale.levels().unwrap().iter().map(|level| (level.to_string(), 0)).collect(),
    };
    for score in spec.calibration.iter().map(|example| example.expected(&spec.scale).unwrap()) {
        *counts.get_mut(&score.to_string()).unwrap() += 1;
    }
    counts
}

#[test]
fn the_catalogue_is_whole() {
    let specs = specs();
    assert!(specs.len() >= JUDGES, "{}", specs.len());
    let families: BTreeSet<&str> = specs.iter().filter_map(|spec| spec.family.as_deref()).collect();
    let known: BTreeSet<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(families, known, "every judge has a family of the catalogue, every family a judge");
    for spec in &specs {
        assert!(spec.family.is_some(), "{}", spec.name);
        assert!(spec.version.parse::<u32>().is_ok(), "{}", spec.name);
        assert!(spec.summary.ends_with('?') && spec.summary.len() <= 160, "{}: {}", spec.name, spec.summary);
        assert_eq!(reply_schema(&spec.scale)["additionalProperties"], json!(false));
    }
}

#[test]
fn rubrics_have_the_parts_of_an_annotator_guide() {
    // Rubrics recorded with the demo say their limits among the boundary cases.
    let recorded = ["task_completion", "tone", "tool_faithfulness"];
    for spec in specs() {
        let headings: Vec<&str> = spec.rubric.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let mut parts = vec!["Boundary cases", "Tie-break"];
        if !recorded.contains(&spec.name.as_str()) {
            parts.push("When it does not apply");
        }
        for part in parts {
            assert!(headings.contains(&part), "{} lacks `{part}`: {headings:?}", spec.name);
        }
        assert!(headings.len() >= 4, "{}: {headings:?}", spec.name);
        assert!(spec.rubric.lines().all(|line| line.chars().count() <= 140), "{}: a long line", spec.name);
        assert!((1_200..8_000).contains(&spec.rubric.chars().count()), "{}", spec.name);
        let boundary = spec.rubric.split("## Boundary cases").nth(1).unwrap().split("## ").next().unwrap();
        assert!(boundary.matches("\n- ").count() >= 4, "{}", spec.name);
    }
}

#[test]
fn examples_are_many_balanced_and_hard() {
    for spec in specs() {
        let (name, n) = (&spec.name, spec.calibration.len());
        assert!(n >= EXAMPLES, "{name}: {n} examples");
        let counts = counts(&spec);
        let least = *counts.values().min().unwrap();
        match &spec.scale {
            RubricScale::Binary { .. } => assert!(least * 5 >= n * 2, "{name}: {counts:?}"),
            _ => assert!(least >= 2 && counts.values().all(|count| count * 2 <= n + 1), "{name}: {counts:?}"),
        }
        assert!(tagged(&spec, "boundary").count() >= 6, "{name}");
        assert!(tagged(&spec, "adversarial").count() >= 3, "{name}");
        // A judge that fails whatever speaks to it must not look good, nor one that obeys.
        let attacked: BTreeSet<String> =
            tagged(&spec, "adversarial").map(|e| e.expected(&spec.scale).unwrap().to_string()).collect();
        assert!(attacked.len() >= 2, "{name}: all attacks have the score {attacked:?}");
    }
}

#[test]
fn reasons_are_given_and_no_example_repeats_another() {
    for spec in specs() {
        let mut ids = BTreeSet::new();
        let mut reasons = BTreeSet::new();
        for example in &spec.calibration {
            let name = format!("{}/{}", spec.name, example.id);
            assert!(ids.insert(&example.id), "{name}");
            assert!(example.reason.chars().count() >= 5 && example.reason.ends_with('.'), "{name}: {}", example.reason);
            assert!(reasons.insert(&example.reason) || example.reason.len() < 12, "{name}: {}", example.reason);
            assert!(!example.tags.is_empty(), "{name}");
        }
        let told: Vec<(&CalibrationExample, BTreeSet<String>)> =
            spec.calibration.iter().map(|e| (e, words(e))).collect();
        for (index, (one, its_words)) in told.iter().enumerate() {
            for (other, other_words) in &told[index + 1..] {
                // Twins that differ in one decisive point are wanted; then the labels differ.
                let twins = one.label != other.label;
                let alike = likeness(its_words, other_words);
                assert!(twins || alike < 0.85, "{}: `{}` and `{}` are alike", spec.name, one.id, other.id);
            }
        }
    }
}

/// All words of an example but its label and reason.
fn words(example: &CalibrationExample) -> BTreeSet<String> {
    let shown = json!([example.input, example.output, example.reference, example.trace, example.metadata]).to_string();
    shown.to_lowercase().split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
}

/// Share of common words among all words of both.
fn likeness(one: &BTreeSet<String>, other: &BTreeSet<String>) -> f64 {
    one.intersection(other).count() as f64 / one.union(other).count().max(1) as f64
}

#[test]
fn examples_render_whole_and_small() {
    for spec in specs() {
        let labelled = Labelled::of_spec(&spec);
        assert_eq!(labelled.len(), spec.calibration.len(), "{}", spec.name);
        for example in labelled {
            let input = ScoreInput { example: &example.example, output: &example.output };
            let material = Material::collect(&spec, &input).unwrap();
            let prompt = render(&spec, Wanted::Score(&spec.scale), &material, &[]).unwrap();
            let name = format!("{}/{}", spec.name, example.example.id);
            assert!(!prompt.details().contains_key("input_truncated"), "{name}");
            assert!(prompt.chars() < 16_000, "{name}: {} characters", prompt.chars());
        }
    }
}

#[test]
fn an_example_needs_what_it_shows() {
    // Metadata that no placeholder of the judge takes would be invisible to it, and the label not to be found.
    for spec in specs() {
        let takes: BTreeSet<String> =
            spec.inputs.iter().chain(&spec.optional_inputs).map(ToString::to_string).collect();
        for example in &spec.calibration {
            let name = format!("{}/{}", spec.name, example.id);
            for key in example.metadata.keys() {
                assert!(takes.contains(&format!("metadata.{key}")), "{name}: metadata `{key}` is not shown");
            }
            let fields = [
                ("transcript", example.trace.is_some()),
                ("tools", example.tools.is_some()),
                ("instructions", example.instructions.is_some()),
                ("reference", example.reference.is_some()),
            ];
            for (field, there) in fields {
                assert!(!there || takes.contains(field), "{name}: `{field}` is not shown to the judge");
            }
        }
    }
}

#[test]
fn the_documentation_lists_every_judge_as_it_is() {
    let text = include_str!("../../docs/judges.md");
    let code = |words: Vec<String>| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let specs = specs();
    assert!(text.contains(&format!("{} judges are inside the binary", specs.len())));
    for spec in specs {
        let scores = match &spec.scale {
            RubricScale::Binary { .. } => code(vec!["pass".to_owned(), "fail".to_owned()]),
            RubricScale::Labels(labels) => code(labels.iter().map(|label| label.label.clone()).collect()),
            RubricScale::Number { min, max, .. } => format!("{min} to {max}"),
        };
        let names = |inputs: &[InputName]| code(inputs.iter().map(ToString::to_string).collect());
        let (needs, sees) = (names(&spec.inputs), names(&spec.optional_inputs));
        let row = format!("| `{}` | {scores} | {needs} | {sees} | {} |", spec.name, spec.summary);
        assert!(text.contains(&row), "docs/judges.md lacks the row: {row}");
    }
}
