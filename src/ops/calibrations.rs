//! What calibrations said of judges: `calibrations.toml` beside the configuration.
//!
//! A file and not the store, so that a fresh CI runner knows it as well. An entry holds for exactly the judge that was
//! asked: with another rubric, model or parameter its digest differs, and nothing is known of it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::committed;
use super::exit::Done;
use super::project::Project;
use super::standing::Standing;
use crate::model::{Digest, GraderInfo};
use crate::stats::{Confusion, FEWEST_LABELS};

/// Name of the file.
pub const FILE: &str = "calibrations.toml";

const HEAD: &str = "# How judges did against labels of people. Written by `assize judge calibrate`; commit it. A metric whose judge\n\
                    # is no better than chance neither passes nor fails a gate.\n";

/// One calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Judge.
    pub judge: String,
    /// Which of its criteria; absent for a judge of one score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criterion: Option<String>,
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
    /// The model that answered, by its own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// The dataset whose labels were used; absent for the judge's own examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// What a vote of the judge is worth in a panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<Skill>,
    /// How it errs; yes-or-no judges only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub errors: Option<Confusion>,
    /// Whether it is better than chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// The figures behind that, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// What it said of each example, to see later whether it still does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub anchors: BTreeMap<String, String>,
}

/// Days after which a calibration is old: hosted models change under their names.
pub const LASTS_DAYS: i64 = 90;
/// Examples of which the judge's answer is kept.
pub const MOST_ANCHORS: usize = 200;

impl Entry {
    /// What there is one calibration of: judge, criterion, model.
    fn key(&self) -> (&str, Option<&str>, &str) {
        (&self.judge, self.criterion.as_deref(), &self.model)
    }

    /// Whether it is about the criterion that a grader stands for, where it is about one.
    fn is_about(&self, info: &GraderInfo) -> bool {
        let ends =
            |criterion: &String| info.name.strip_suffix(criterion.as_str()).is_some_and(|rest| rest.ends_with('.'));
        self.criterion.as_ref().is_none_or(ends)
    }

    /// Days since then.
    pub fn age_days(&self, today: Date) -> i64 {
        today.duration_since(self.on).as_hours() / 24
    }

    /// Whether it is too old to be relied on.
    pub fn is_expired(&self, today: Date) -> bool {
        self.age_days(today) > LASTS_DAYS
    }
}

/// What a vote is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct Skill {
    /// Labels that the judge agreed with.
    pub agreeing: u64,
    /// Mean of the squared differences from people's numbers; absent for judges without numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_square: Option<f64>,
    /// How many scores could have been given; absent for scales of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<u64>,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibrations {
    /// The latest calibration of each judge with each model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibration: Vec<Entry>,
}

impl Calibrations {
    /// Reads the file of a project; without one nothing is known of any judge.
    pub fn read(project: &Project) -> Done<Self> {
        committed::read(project, FILE, "mend it, or take it away and calibrate again")
    }

    /// What is worth knowing of the judges of a run: calibrations that are old, or were of another judge. A judge that was
    /// never calibrated is no news.
    pub fn notes(&self, graders: &[GraderInfo], today: Date) -> Vec<String> {
        let of = |info: &GraderInfo| {
            let model = info.model.as_deref().unwrap_or_default();
            let same = |entry: &&Entry| entry.judge == info.component && entry.model == model && entry.is_about(info);
            let entry = self.calibration.iter().find(same)?;
            let again = format!("run `assize judge calibrate {}` again", info.component);
            if entry.digest != info.digest {
                return Some(format!(
                    "judge `{}` has changed since it was calibrated on {}; {again}",
                    info.component, entry.on
                ));
            }
            let age = entry.age_days(today);
            entry
                .is_expired(today)
                .then(|| format!("judge `{}` was calibrated {age} days ago; {again}", info.component))
        };
        graders.iter().filter_map(of).collect()
    }

    /// Takes an entry in, in place of the last one of the same judge and model.
    pub fn put(&mut self, entry: Entry) {
        self.calibration.retain(|other| other.key() != entry.key());
        self.calibration.push(entry);
        self.calibration.sort_by(|left, right| left.key().cmp(&right.key()));
    }

    /// Writes the file.
    pub fn write(&self, project: &Project) -> Done<()> {
        committed::write(project, FILE, HEAD, self)
    }
}

/// The weight of a judge's vote by its calibration.
///
/// Votes for scores that can be named weigh by the log odds of being right, which is the best rule for members that err
/// apart (Nitzan and Paroush 1982, for two scores; for more, the errors are taken to fall evenly on the others, so that
/// chance weighs 0). Numbers weigh by the inverse of the mean squared error. One label that fell as chance has it is added, so
/// that a judge without a fault among few labels does not decide alone.
///
/// # Errors
/// Nothing is known of exactly this judge, too few labels, or it is no better than chance.
pub fn weight(known: &Calibrations, info: &GraderInfo) -> Result<f64, String> {
    let model = info.model.as_deref().unwrap_or_default();
    let hint = format!("run `assize judge calibrate {}` with this model", info.component);
    let entry = known.calibration.iter().find(|entry| entry.judge == info.component && entry.digest == info.digest);
    let entry = entry.ok_or_else(|| {
        let older = known.calibration.iter().any(|entry| entry.judge == info.component && entry.model == model);
        let why = if older { "has changed since it was calibrated" } else { "was never calibrated" };
        format!("judge `{}` with model `{model}` {why}; {hint}", info.component)
    })?;
    if (entry.labels as usize) < FEWEST_LABELS {
        return Err(format!(
            "it was calibrated on {} labels; {FEWEST_LABELS} are the fewest that tell its weight",
            entry.labels
        ));
    }
    let skill =
        entry.skill.ok_or_else(|| format!("its calibration does not say how often it was right; {hint} again"))?;
    let weight = skill.weight(entry.labels);
    match weight.filter(|weight| weight.is_finite() && *weight > 1e-9) {
        Some(weight) => Ok(weight),
        None => Err(format!(
            "it was right on {} of {} labels, no better than chance; take it out",
            skill.agreeing, entry.labels
        )),
    }
}

impl Skill {
    fn weight(&self, labels: u64) -> Option<f64> {
        if let Some(square) = self.mean_square.filter(|_| self.choices.is_none()) {
            return Some(1.0 / square.max(1e-6));
        }
        let misses = labels.checked_sub(self.agreeing)?;
        let choices = self.choices.filter(|choices| *choices > 1)? as f64;
        let (hits, misses) = (self.agreeing as f64 + 1.0 / choices, misses as f64 + 1.0 - 1.0 / choices);
        Some(((choices - 1.0) * hits / misses).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Direction, GraderKind, Scale};

    fn info(digest: &[u8]) -> GraderInfo {
        GraderInfo {
            name: "g".into(),
            kind: GraderKind::Judge,
            component: "j".into(),
            version: "1".into(),
            digest: Digest::of(digest),
            scale: Scale::Binary,
            direction: Direction::Higher,
            draws: 1,
            model: Some("m".into()),
        }
    }

    fn known(labels: u64, skill: Skill) -> Calibrations {
        let mut known = Calibrations::default();
        let on = jiff::civil::date(2026, 1, 2);
        let (judge, criterion, version, model) = ("j".into(), None, "1".into(), "m".into());
        let (digest, errors, anchors) = (Digest::of(b"j"), None, BTreeMap::new());
        let (answered_by, dataset, skill) = (None, None, Some(skill));
        let (standing, evidence) = (None, String::new());
        known.put(Entry {
            judge,
            criterion,
            version,
            model,
            digest,
            on,
            labels,
            answered_by,
            dataset,
            skill,
            errors,
            standing,
            evidence,
            anchors,
        });
        known
    }

    #[test]
    fn a_vote_weighs_by_the_log_odds_of_being_right() {
        let skill = |agreeing, choices| Skill { agreeing, mean_square: None, choices: Some(choices) };
        let two = weight(&known(40, skill(30, 2)), &info(b"j")).unwrap();
        assert!((two - (30.5_f64 / 10.5).ln()).abs() < 1e-12);
        // Of five scores, one in five by chance: 10 of 50 is worth nothing, 30 of 50 something.
        assert!(weight(&known(50, skill(10, 5)), &info(b"j")).unwrap_err().contains("no better than chance"));
        assert!(weight(&known(50, skill(30, 5)), &info(b"j")).unwrap() > 1.0);
        let numbers = Skill { agreeing: 3, mean_square: Some(0.25), choices: None };
        assert_eq!(weight(&known(50, numbers), &info(b"j")).unwrap(), 4.0);
    }

    #[test]
    fn old_calibrations_and_those_of_another_judge_are_told() {
        let known = known(40, Skill { agreeing: 30, mean_square: None, choices: Some(2) });
        let notes = |digest: &[u8], today| known.notes(&[info(digest)], today);
        assert_eq!(notes(b"j", jiff::civil::date(2026, 4, 2)), Vec::<String>::new());
        assert!(notes(b"j", jiff::civil::date(2026, 4, 3))[0].contains("91 days ago"));
        assert!(notes(b"k", jiff::civil::date(2026, 1, 3))[0].contains("has changed since"));
        assert_eq!(Calibrations::default().notes(&[info(b"j")], jiff::civil::date(2026, 4, 3)), Vec::<String>::new());
    }

    #[test]
    fn nothing_is_guessed_about_a_judge_without_a_calibration() {
        let skill = Skill { agreeing: 30, mean_square: None, choices: Some(2) };
        assert!(weight(&Calibrations::default(), &info(b"j")).unwrap_err().contains("never calibrated"));
        assert!(weight(&known(40, skill), &info(b"other")).unwrap_err().contains("has changed since"));
        assert!(weight(&known(12, skill), &info(b"j")).is_err());
        let text = toml::to_string(&known(40, skill)).unwrap();
        assert_eq!(toml::from_str::<Calibrations>(&text).unwrap(), known(40, skill));
    }
}
