//! `assize judge`: list, show, check and calibrate judges.

use std::collections::BTreeMap;

use serde::Serialize;

use super::build::load_judge;
pub use super::calibrations::Standing;
use super::calibrations::{Calibrations, Entry as Calibration, FILE};
pub use super::correct::Corrected;
use super::correct::correct;
use super::exit::{Done, Exit, Failed};
use super::project::{Project, World};
use super::quarantine::today;
use super::services::Services;
use crate::judge::{self, CalibrateOptions, CatalogueError, Labelled, Origin, Severity};
use crate::rubric::{JudgeSpec, RubricScale};
use crate::stats::{
    Confusion, Interval, Weighting, bootstrap_statistic, cohen_kappa, gwet_ac, newcombe, resamples, spearman, wilson,
};
use crate::sys::text;

/// One judge in the list.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// `binary`, `labels` or `number`.
    pub scale: &'static str,
    /// The criterion in one sentence.
    pub summary: String,
    /// What kind of judge it is: a name of the catalogue's families, or the author's own.
    pub family: Option<String>,
    /// Whether it is the user's own.
    pub own: bool,
    /// Labelled examples it carries.
    pub calibration_examples: usize,
    /// Digest of its rubric; `None` when it cannot be used.
    pub digest: Option<String>,
}

/// A judge in full.
#[derive(Debug, Serialize)]
pub struct Full {
    /// As in the list.
    #[serde(flatten)]
    pub listed: Listed,
    /// The rubric as the model gets it.
    pub rubric: String,
    /// Material it needs; where some of it is missing the judge does not apply.
    pub inputs: Vec<String>,
    /// Material it is shown where there is some.
    pub optional_inputs: Vec<String>,
    /// The scores it may give.
    pub scores: Vec<ScoreMeaning>,
    /// Labelled examples by tag, such as `boundary` and `adversarial`.
    pub example_tags: BTreeMap<String, u64>,
}

/// One score a judge may give.
#[derive(Debug, Serialize)]
pub struct ScoreMeaning {
    /// The score.
    pub score: String,
    /// When it is the right one; empty when the judge does not say.
    pub means: String,
    /// Labelled examples that have it.
    pub calibration_examples: u64,
}

/// What a check found about one judge.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Judge.
    pub judge: String,
    /// Findings: gravity, what, mend.
    pub findings: Vec<(String, String, String)>,
}

/// A share with its interval.
#[derive(Debug, Serialize)]
pub struct Share {
    /// Hits.
    pub k: u64,
    /// Of how many.
    pub n: u64,
    /// Wilson interval at 95 %; `None` without any.
    pub interval: Option<Interval>,
}

/// A coefficient with its interval.
#[derive(Debug, Serialize)]
pub struct Coefficient {
    /// `kappa`, `AC1` or `Spearman`.
    pub name: &'static str,
    /// The coefficient.
    pub estimate: f64,
    /// Bootstrap interval over the examples at 95 %; `None` where too few resamples have a coefficient.
    pub interval: Option<Interval>,
}

/// A calibration in numbers.
#[derive(Debug, Serialize)]
pub struct Calibrated {
    /// Judge.
    pub judge: String,
    /// Model.
    pub model: String,
    /// Agreement with the labels.
    pub accuracy: Share,
    /// Of what people passed, what the judge passed; binary scales only.
    pub sensitivity: Option<Share>,
    /// Of what people failed, what the judge failed; binary scales only.
    pub specificity: Option<Share>,
    /// Agreement beyond chance: Cohen's kappa and Gwet's AC1 of labels, Spearman's correlation of numbers; what is not
    /// defined (nothing varies) is left out.
    pub beyond_chance: Vec<Coefficient>,
    /// Label of people, label of the judge, how often.
    pub confusion: Vec<(String, String, u64)>,
    /// Unscored draws by reason.
    pub unscored: Vec<(String, u64)>,
    /// Examples on which they differ: id, people, judge, the people's reason.
    pub disagreements: Vec<(String, String, String, String)>,
    /// US dollars spent.
    pub cost_usd: f64,
    /// Whether the judge is better than chance.
    pub standing: Standing,
    /// The file that keeps it for gates; `None` where there is no project to keep it in.
    pub kept_in: Option<&'static str>,
    /// What the judge says of a run, raw and corrected; only when a run is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected: Option<Corrected>,
}

/// All judges. One whose files are wrong is in the list with the way to its faults; it does not hide the others.
pub fn list(project: &Project) -> Done<Vec<Listed>> {
    let entries = judge::list(Some(&folder(project))).map_err(Failed::usage)?;
    let row = |entry: &judge::Entry| match spec(project, &entry.name) {
        Ok((spec, own)) => listed(&spec, own),
        Err(_) => Listed {
            name: entry.name.clone(),
            version: "?".to_owned(),
            scale: "?",
            summary: format!("cannot be used: `assize judge check {}` says why", entry.name),
            family: None,
            own: matches!(entry.origin, Origin::User(_)),
            calibration_examples: 0,
            digest: None,
        },
    };
    Ok(entries.iter().map(row).collect())
}

/// One judge.
pub fn show(project: &Project, name: &str) -> Done<Full> {
    let (spec, own) = spec(project, name)?;
    Ok(Full {
        listed: listed(&spec, own),
        rubric: spec.rubric.clone(),
        inputs: spec.inputs.iter().map(ToString::to_string).collect(),
        optional_inputs: spec.optional_inputs.iter().map(ToString::to_string).collect(),
        scores: scores(&spec),
        example_tags: tags(&spec),
    })
}

/// The scores of a scale with their sentences; a number scale gives its anchors.
fn scores(spec: &JudgeSpec) -> Vec<ScoreMeaning> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for score in spec.calibration.iter().filter_map(|example| example.expected(&spec.scale)) {
        *counts.entry(score.to_string()).or_default() += 1;
    }
    let row = |score: String, means: &str| {
        let calibration_examples = counts.get(&score).copied().unwrap_or(0);
        ScoreMeaning { score, means: means.to_owned(), calibration_examples }
    };
    match &spec.scale {
        RubricScale::Binary { pass, fail } => vec![row("pass".to_owned(), pass), row("fail".to_owned(), fail)],
        RubricScale::Labels(labels) => labels.iter().map(|l| row(l.label.clone(), &l.description)).collect(),
        RubricScale::Number { anchors, .. } => {
            anchors.iter().rev().map(|anchor| row(anchor.level.to_string(), &anchor.description)).collect()
        }
    }
}

fn tags(spec: &JudgeSpec) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for tag in spec.calibration.iter().flat_map(|example| &example.tags) {
        *counts.entry(tag.clone()).or_default() += 1;
    }
    counts
}

/// Checks the named judges, or all. Errors end the command with a usage exit.
pub fn check(project: &Project, names: &[String]) -> Done<(Vec<Checked>, Exit)> {
    let entries = judge::list(Some(&folder(project))).map_err(Failed::usage)?;
    let all: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    let mut worst = Exit::Pass;
    let mut checked = Vec::new();
    for name in if names.is_empty() { &all } else { names } {
        let findings = match judge::find(name, Some(&folder(project))).map_err(Failed::usage)?.parse() {
            Ok(spec) => judge::check(&spec)
                .into_iter()
                .map(|finding| {
                    if finding.severity == Severity::Error {
                        worst = Exit::Usage;
                    }
                    (format!("{:?}", finding.severity).to_lowercase(), finding.what, finding.mend)
                })
                .collect(),
            Err(problems) => {
                worst = Exit::Usage;
                problems.iter().map(|problem| ("error".to_owned(), problem.to_string(), String::new())).collect()
            }
        };
        checked.push(Checked { judge: name.clone(), findings });
    }
    Ok((checked, worst))
}

/// Asks a judge about its labelled examples, and corrects what it says of a run.
pub async fn calibrate(
    project: &Project,
    world: &World,
    name: &str,
    model: &str,
    run: Option<&str>,
) -> Done<Calibrated> {
    let services = Services::open(project, world, false, None).await?;
    let usage = |message: String| Failed::usage(anyhow::anyhow!(message));
    let (judge, handle) = load_judge(project, &services, name, model).map_err(usage)?;
    let labelled = Labelled::of_spec(judge.spec());
    if labelled.is_empty() {
        return Err(usage(format!("judge `{name}` has no labelled examples; add some to its `calibration.jsonl`")));
    }
    let options = CalibrateOptions { draws: judge.spec().draws, concurrency: 16 };
    let report = judge::calibrate(&judge, judge.spec(), &labelled, options, &|_| {}).await;
    if let Some(failure) = report.fatal {
        return Err(Failed::instrument(failure));
    }
    let share = |tally: judge::Tally| Share { k: tally.k, n: tally.n, interval: wilson(tally.k, tally.n, 0.95) };
    let binary = report.true_pass.n + report.true_fail.n > 0;
    let word = |value: &crate::model::ScoreValue| value.to_string();
    let corrected = match run {
        Some(run) => {
            let store = project.store(&world.env).await?;
            let confusion = Confusion {
                true_pass: report.true_pass.k,
                false_fail: report.true_pass.n - report.true_pass.k,
                true_fail: report.true_fail.k,
                false_pass: report.true_fail.n - report.true_fail.k,
            };
            Some(correct(project, store.as_ref(), run, judge.spec(), binary.then_some(confusion)).await?)
        }
        None => None,
    };
    let beyond = beyond_chance(&report, &judge.spec().scale);
    let (standing, evidence) = standing(&report, &beyond);
    let kept_in = project.file.is_file().then_some(FILE);
    if kept_in.is_some() {
        let info = judge.info(name, judge.spec().draws);
        let mut known = Calibrations::read(project)?;
        known.put(Calibration {
            judge: info.component,
            version: info.version,
            model: handle.model.clone(),
            digest: info.digest,
            on: today(world),
            labels: report.accuracy.n,
            standing,
            evidence,
        });
        known.write(project)?;
    }
    Ok(Calibrated {
        judge: name.to_owned(),
        standing,
        kept_in,
        model: handle.model,
        accuracy: share(report.accuracy),
        sensitivity: binary.then(|| share(report.true_pass)),
        specificity: binary.then(|| share(report.true_fail)),
        beyond_chance: beyond,
        confusion: report.confusion.iter().map(|((person, judge), n)| (person.clone(), judge.clone(), *n)).collect(),
        unscored: report.unscored.iter().map(|(reason, n)| (reason.as_str().to_owned(), *n)).collect(),
        disagreements: report
            .disagreements()
            .map(|row| {
                let found = row.found.as_ref().map(word).unwrap_or_default();
                (row.example.clone(), word(&row.expected), found, text::one_line(&row.reason, 200))
            })
            .collect(),
        cost_usd: report.spend.cost_usd,
        corrected,
    })
}

/// Whether a judge is better than chance, with the figures that say so. A yes-or-no judge by its rates on both kinds of
/// labels (methods 1.11), others by agreement or correlation. One that always says the same is no better.
fn standing(report: &judge::CalibrationReport, beyond: &[Coefficient]) -> (Standing, String) {
    let (passes, fails) = (report.true_pass, report.true_fail);
    if passes.n > 0 && fails.n > 0 {
        let share = |tally: judge::Tally| 100.0 * tally.k as f64 / tally.n as f64;
        // The share of passes among what people passed, less that among what people failed.
        let lower = newcombe((fails.n - fails.k, fails.n), (passes.k, passes.n), 0.95).map(|interval| interval.lo);
        let informed = (share(passes) + share(fails)) / 100.0 - 1.0;
        let evidence = format!(
            "it passed {:.0} % of the {} outputs that people passed and failed {:.0} % of the {} that they failed",
            share(passes),
            passes.n,
            share(fails),
            fails.n
        );
        return (Standing::of(Some(informed), lower), evidence);
    }
    let pairs = &report.numbers.pairs;
    let flat = |of: fn(&(f64, f64)) -> f64| pairs.windows(2).all(|two| of(&two[0]).total_cmp(&of(&two[1])).is_eq());
    if pairs.len() > 1 && flat(|pair| pair.1) && !flat(|pair| pair.0) {
        return (Standing::Chance, format!("it gave all {} outputs the same score", pairs.len()));
    }
    match beyond.iter().find(|found| found.name != "AC1") {
        Some(found) => {
            let lower = found.interval.as_ref().map(|interval| interval.lo);
            let words = format!(
                "{} {:.2} over {} labels",
                found.name,
                found.estimate,
                report.accuracy.n.max(pairs.len() as u64)
            );
            (Standing::of(Some(found.estimate), lower), words)
        }
        None => (Standing::Unclear, "labels or judgements do not vary".to_owned()),
    }
}

/// Draws of the bootstrap; their seed is fixed, so that the same findings have the same interval.
const RESAMPLES: u32 = 1_000;

fn beyond_chance(report: &judge::CalibrationReport, scale: &RubricScale) -> Vec<Coefficient> {
    // All that could have been said, for chance depends on it.
    let names: Vec<&str> = match scale {
        RubricScale::Binary { .. } => vec!["pass", "fail"],
        RubricScale::Labels(labels) => labels.iter().map(|label| label.label.as_str()).collect(),
        RubricScale::Number { .. } => Vec::new(),
    };
    let place = |name: &String| names.iter().position(|other| other == name);
    let counted = report.confusion.iter().filter_map(|((person, judge), n)| Some((place(person)?, place(judge)?, *n)));
    let labels: Vec<(usize, usize)> =
        counted.flat_map(|(person, judge, n)| (0..n).map(move |_| (person, judge))).collect();
    let kappa = |pairs: &[(usize, usize)]| cohen_kappa(pairs, names.len(), Weighting::None);
    let ac1 = |pairs: &[(usize, usize)]| {
        let items: Vec<Vec<usize>> = pairs.iter().map(|(person, judge)| vec![*person, *judge]).collect();
        gwet_ac(&items, names.len(), Weighting::None)
    };
    // Labels with values are numbers, too; they are told as labels.
    let numbers: &[(f64, f64)] = if labels.is_empty() { &report.numbers.pairs } else { &[] };
    [coefficient("kappa", &labels, kappa), coefficient("AC1", &labels, ac1), coefficient("Spearman", numbers, spearman)]
        .into_iter()
        .flatten()
        .collect()
}

fn coefficient<T: Copy>(name: &'static str, pairs: &[T], of: impl Fn(&[T]) -> Option<f64>) -> Option<Coefficient> {
    let places: Vec<usize> = (0..pairs.len()).collect();
    let found = bootstrap_statistic(&places, resamples(pairs.len(), RESAMPLES, 0), 0.95, |items| {
        of(&items.iter().filter_map(|item| pairs.get(*item).copied()).collect::<Vec<T>>())
    });
    Some(Coefficient { name, estimate: found.estimate?, interval: found.percentile })
}

fn spec(project: &Project, name: &str) -> Done<(JudgeSpec, bool)> {
    let files = judge::find(name, Some(&folder(project))).map_err(Failed::usage)?;
    let own = matches!(files.origin, Origin::User(_));
    let spec = files.parse().map_err(|problems| Failed::usage(CatalogueError::wrong(name, problems)))?;
    Ok((spec, own))
}

fn listed(spec: &JudgeSpec, own: bool) -> Listed {
    Listed {
        name: spec.name.clone(),
        version: spec.version.clone(),
        scale: spec.scale.kind(),
        summary: spec.summary.clone(),
        family: spec.family.clone(),
        own,
        calibration_examples: spec.calibration.len(),
        digest: Some(spec.digest().to_string()),
    }
}

fn folder(project: &Project) -> std::path::PathBuf {
    project.path(&project.config.judges)
}
