//! What calibrations said of judges: `calibrations.toml` beside the configuration.
//!
//! A file and not the store, for the reason quarantine is one: a judge that is no better than chance takes its metric
//! out of the gate, and a fresh CI runner must know it as well. An entry holds for exactly the judge that was asked:
//! with another rubric, model or parameter its digest differs, and nothing is known of it.

use std::collections::BTreeMap;

use anyhow::anyhow;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::exit::{Done, Failed};
use super::project::Project;
use crate::model::{Digest, GraderInfo, GraderKind, RunHeader};
use crate::sys::files;

/// Name of the file.
pub const FILE: &str = "calibrations.toml";

const HEAD: &str = "# How judges did against labels of people. Written by `assize judge calibrate`; commit it. A metric whose judge\n\
                    # is no better than chance neither passes nor fails a gate.\n";

/// What a calibration says of a judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Credibly better than chance.
    Informative,
    /// Better than chance, but not credibly: too few labels, or too little agreement.
    Unclear,
    /// Not better than chance.
    Chance,
}

impl Standing {
    /// By a measure that chance makes 0, and the lower end of its interval.
    pub fn of(measure: Option<f64>, lower: Option<f64>) -> Self {
        match (measure, lower) {
            (Some(measure), _) if measure <= 0.0 => Self::Chance,
            (Some(_), Some(lower)) if lower > 0.0 => Self::Informative,
            _ => Self::Unclear,
        }
    }
}

/// One calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Judge.
    pub judge: String,
    /// Version of the judge.
    pub version: String,
    /// Model as the provider knows it.
    pub model: String,
    /// Digest of all that can change the judge's findings.
    pub digest: Digest,
    /// When, in UTC.
    pub on: Date,
    /// Labelled examples that the judge scored.
    pub labels: u64,
    /// What it comes to.
    pub standing: Standing,
    /// The figures behind it, in words.
    pub evidence: String,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibrations {
    /// The latest calibration of each judge with each model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibration: Vec<Entry>,
}

impl Calibrations {
    /// Reads the file of a project; without one nothing is known of any judge.
    pub fn read(project: &Project) -> Done<Self> {
        let path = project.path(FILE);
        if !path.is_file() {
            return Ok(Self::default());
        }
        let text = files::read_text(&path).map_err(Failed::usage)?;
        toml::from_str(&text).map_err(|error| {
            Failed::usage(anyhow!(
                "`{}` cannot be read: {error}; mend it, or take it away and calibrate again",
                path.display()
            ))
        })
    }

    /// Takes an entry in, in place of the last one of the same judge and model.
    pub fn put(&mut self, entry: Entry) {
        self.calibration.retain(|other| (&other.judge, &other.model) != (&entry.judge, &entry.model));
        self.calibration.push(entry);
        self.calibration.sort_by(|left, right| (&left.judge, &left.model).cmp(&(&right.judge, &right.model)));
    }

    /// Writes the file.
    pub fn write(&self, project: &Project) -> Done<()> {
        let text = toml::to_string(self).map_err(Failed::instrument)?;
        files::write_atomic(&project.path(FILE), format!("{HEAD}\n{text}").as_bytes()).map_err(Failed::usage)
    }

    /// The calibration of the judge that a run's grader is.
    fn of(&self, grader: &GraderInfo) -> Option<&Entry> {
        let judge = grader.kind == GraderKind::Judge;
        self.calibration.iter().find(|entry| judge && entry.judge == grader.component && entry.digest == grader.digest)
    }
}

/// Metrics of runs whose judge is no better than chance, each with the sentence that says so.
pub fn distrusted<'a>(
    project: &Project,
    runs: impl IntoIterator<Item = &'a RunHeader>,
) -> Done<BTreeMap<String, String>> {
    let known = Calibrations::read(project)?;
    let graders = runs.into_iter().flat_map(|header| &header.graders);
    let entries = graders.filter_map(|grader| Some((grader.name.clone(), known.of(grader)?)));
    let chance = entries.filter(|(_, entry)| entry.standing == Standing::Chance);
    Ok(chance.map(|(name, entry)| (name, sentence(entry))).collect())
}

fn sentence(entry: &Entry) -> String {
    format!(
        "judge `{}` with model `{}` is no better than chance ({}, calibrated on {}), so that this metric decides nothing; \
         mend the rubric or choose another model, and run `assize judge calibrate {}` again",
        entry.judge, entry.model, entry.evidence, entry.on, entry.judge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_what_the_measure_says_and_doubt_what_its_interval_says() {
        assert_eq!(Standing::of(Some(0.0), Some(-0.4)), Standing::Chance);
        assert_eq!(Standing::of(Some(-0.2), None), Standing::Chance);
        assert_eq!(Standing::of(Some(0.3), Some(-0.1)), Standing::Unclear);
        assert_eq!(Standing::of(Some(0.3), None), Standing::Unclear);
        assert_eq!(Standing::of(None, None), Standing::Unclear);
        assert_eq!(Standing::of(Some(0.6), Some(0.2)), Standing::Informative);
    }

    #[test]
    fn the_last_calibration_of_a_judge_and_model_counts() {
        let entry = |model: &str, standing| Entry {
            judge: "j".into(),
            version: "1".into(),
            model: model.into(),
            digest: Digest::of(b"j"),
            on: jiff::civil::date(2026, 1, 2),
            labels: 8,
            standing,
            evidence: "TPR 50 %, TNR 50 %".into(),
        };
        let mut file = Calibrations::default();
        file.put(entry("b", Standing::Chance));
        file.put(entry("a", Standing::Chance));
        file.put(entry("b", Standing::Informative));
        let names: Vec<(&str, Standing)> =
            file.calibration.iter().map(|entry| (entry.model.as_str(), entry.standing)).collect();
        assert_eq!(names, [("a", Standing::Chance), ("b", Standing::Informative)]);
        let text = toml::to_string(&file).unwrap();
        assert_eq!(toml::from_str::<Calibrations>(&text).unwrap(), file);
    }
}
