//! How many labels there are, by whom, and how far people agree.
//!
//! The unit is one output (or one example) under one name. Numbers are compared by distance, everything else as same or
//! not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::model::Example;
use crate::stats::{Metric, Weighting, cohen_kappa, krippendorff_alpha, percent};

/// Labels under one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelReport {
    /// Name.
    pub name: String,
    /// How many labels.
    pub labels: u64,
    /// How many outputs have one.
    pub items: u64,
    /// How many outputs have those of several people.
    pub shared: u64,
    /// Values of each person, counted.
    pub annotators: BTreeMap<String, BTreeMap<String, u64>>,
    /// Krippendorff's alpha over the shared outputs; `None` where it is not defined (nobody overlaps, nothing varies).
    pub alpha: Option<f64>,
    /// How values are compared: `nominal` or `interval`.
    pub metric: &'static str,
    /// Each two people who share outputs.
    pub pairs: Vec<PairAgreement>,
    /// Outputs on which people differ.
    pub disagreements: Vec<Disagreement>,
}

/// Two people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairAgreement {
    /// One.
    pub left: String,
    /// The other.
    pub right: String,
    /// Outputs both labelled.
    pub items: u64,
    /// Share on which they say the same.
    pub same: Option<f64>,
    /// Cohen's kappa, by squared steps for numbers; `None` where it is not defined.
    pub kappa: Option<f64>,
}

/// One output on which people differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Disagreement {
    /// Example.
    pub example: String,
    /// Variant of the output.
    pub variant: Option<String>,
    /// Trial of the output; absent when the example itself was labelled.
    pub trial: Option<u32>,
    /// Person and value.
    pub said: Vec<(String, String)>,
}

/// What is labelled: example, variant, trial.
type Item = (String, Option<String>, Option<u32>);

/// Reports on every name, or on one.
pub fn report(examples: &[Example], only: Option<&str>) -> Vec<LabelReport> {
    let mut names: BTreeMap<&str, BTreeMap<Item, BTreeMap<String, &Value>>> = BTreeMap::new();
    for example in examples {
        for label in example.labels.iter().filter(|label| only.is_none_or(|only| label.name == only)) {
            let item = (example.id.to_string(), label.variant.clone(), label.trial);
            let who = label.annotator.clone().unwrap_or_else(|| "(unnamed)".to_owned());
            names.entry(&label.name).or_default().entry(item).or_default().insert(who, &label.value);
        }
    }
    names.into_iter().map(|(name, items)| report_of(name, &items)).collect()
}

fn report_of(name: &str, items: &BTreeMap<Item, BTreeMap<String, &Value>>) -> LabelReport {
    let numbers: Option<Vec<f64>> = items.values().flat_map(BTreeMap::values).map(|value| value.as_f64()).collect();
    let scale = Categories::of(items, numbers.is_some());
    let rated: Vec<BTreeMap<&str, usize>> = items
        .values()
        .map(|said| said.iter().map(|(who, value)| (who.as_str(), scale.index(value))).collect())
        .collect();
    let mut annotators: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (who, value) in items.values().flatten() {
        *annotators.entry(who.clone()).or_default().entry(shown(value)).or_default() += 1;
    }
    let ratings: Vec<Vec<usize>> = rated.iter().map(|said| said.values().copied().collect()).collect();
    let metric = if scale.numeric { Metric::Interval } else { Metric::Nominal };
    let disagreements =
        items.iter().filter(|(_, said)| said.values().collect::<Vec<_>>().windows(2).any(|two| two[0] != two[1]));
    LabelReport {
        name: name.to_owned(),
        labels: items.values().map(|said| said.len() as u64).sum(),
        items: items.len() as u64,
        shared: items.values().filter(|said| said.len() > 1).count() as u64,
        alpha: krippendorff_alpha(&ratings, &scale.values, metric),
        metric: if scale.numeric { "interval" } else { "nominal" },
        pairs: pairs(&rated, &scale, annotators.keys()),
        annotators,
        disagreements: disagreements
            .map(|((example, variant, trial), said)| Disagreement {
                example: example.clone(),
                variant: variant.clone(),
                trial: *trial,
                said: said.iter().map(|(who, value)| (who.clone(), shown(value))).collect(),
            })
            .collect(),
    }
}

/// The values that were given, in order.
struct Categories {
    names: Vec<String>,
    values: Vec<f64>,
    numeric: bool,
}

impl Categories {
    fn of(items: &BTreeMap<Item, BTreeMap<String, &Value>>, numeric: bool) -> Self {
        let all: BTreeSet<String> = items.values().flat_map(BTreeMap::values).map(|value| shown(value)).collect();
        let mut names: Vec<String> = all.into_iter().collect();
        let value = |name: &String| name.parse::<f64>().unwrap_or(0.0);
        if numeric {
            names.sort_by(|a, b| value(a).total_cmp(&value(b)));
        }
        let values =
            names.iter().enumerate().map(|(place, name)| if numeric { value(name) } else { place as f64 }).collect();
        Self { names, values, numeric }
    }

    fn index(&self, value: &Value) -> usize {
        let name = shown(value);
        self.names.iter().position(|known| *known == name).unwrap_or(0)
    }
}

fn pairs<'a>(
    rated: &[BTreeMap<&str, usize>],
    scale: &Categories,
    annotators: impl Iterator<Item = &'a String>,
) -> Vec<PairAgreement> {
    let annotators: Vec<&String> = annotators.collect();
    let weighting = if scale.numeric { Weighting::Quadratic } else { Weighting::None };
    let mut found = Vec::new();
    for (place, left) in annotators.iter().enumerate() {
        for right in annotators.iter().skip(place + 1) {
            let both: Vec<(usize, usize)> =
                rated.iter().filter_map(|said| Some((*said.get(left.as_str())?, *said.get(right.as_str())?))).collect();
            if !both.is_empty() {
                found.push(PairAgreement {
                    left: (*left).clone(),
                    right: (*right).clone(),
                    items: both.len() as u64,
                    same: percent(&both),
                    kappa: cohen_kappa(&both, scale.names.len(), weighting),
                });
            }
        }
    }
    found
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bool(true) => "pass".to_owned(),
        Value::Bool(false) => "fail".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Label;

    fn labelled(id: &str, said: &[(&str, Value)]) -> Example {
        let mut example = Example::new(id.into(), json!("q"));
        for (who, value) in said {
            let annotator = Some((*who).to_owned());
            example.labels.push(Label { name: "ok".into(), value: value.clone(), annotator, ..Label::default() });
        }
        example
    }

    #[test]
    fn agreement_is_counted_by_output_and_by_pair() {
        let (yes, no) = (json!(true), json!(false));
        let examples = [
            labelled("a", &[("ann", yes.clone()), ("bob", yes.clone())]),
            labelled("b", &[("ann", no.clone()), ("bob", yes.clone())]),
            labelled("c", &[("ann", no.clone()), ("bob", no.clone()), ("cyd", no)]),
            labelled("d", &[("cyd", yes)]),
        ];
        let found = &report(&examples, None)[0];
        assert_eq!((found.labels, found.items, found.shared), (8, 4, 3));
        assert_eq!(found.annotators["ann"], [("fail".to_owned(), 2), ("pass".to_owned(), 1)].into());
        assert_eq!(found.disagreements.len(), 1);
        assert_eq!(found.disagreements[0].said[0], ("ann".to_owned(), "fail".to_owned()));
        let pair = &found.pairs[0];
        assert_eq!((pair.items, pair.same), (3, Some(2.0 / 3.0)));
        assert!((pair.kappa.unwrap() - 0.4).abs() < 1e-12);
        assert!(found.alpha.is_some_and(|alpha| (-1.0..1.0).contains(&alpha)));
    }

    #[test]
    fn numbers_are_compared_by_distance() {
        let near =
            [labelled("a", &[("x", json!(1)), ("y", json!(2))]), labelled("b", &[("x", json!(10)), ("y", json!(9))])];
        let found = &report(&near, Some("ok"))[0];
        assert_eq!(found.metric, "interval");
        assert!(found.alpha.unwrap() > 0.9, "{:?}", found.alpha);
        assert!(report(&near, Some("other")).is_empty());
    }
}
