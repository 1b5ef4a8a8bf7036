//! `assize judge`: list, show, check and calibrate judges.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

pub use super::agreement::{Coefficient, People, Policy, Share, Threshold};
use super::agreement::{beyond_chance, people, policies, threshold};
use super::build::load_judge;
use super::calibrations::{Calibrations, Entry, FILE, MOST_ANCHORS, Skill};
pub use super::correct::Corrected;
use super::correct::correct;
use super::datasets::open;
use super::exit::{Done, Exit, Failed};
use super::project::{Project, World};
use super::quarantine::today;
use super::services::Services;
pub use super::standing::Standing;
use super::standing::standing_of;
use crate::judge::{self, CalibrateOptions, CatalogueError, Grade, Labelled, Origin, Severity};
use crate::model::{GraderInfo, Scale};
use crate::rubric::{Criterion, JudgeSpec, Method, RubricScale};
use crate::stats::Confusion;
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
    /// How it comes to its score, where that is not one question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
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

/// What a calibration gives: one set of figures, or one for each criterion.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Calibration {
    /// Of a judge of one score.
    One(Box<Calibrated>),
    /// Of a judge of several criteria.
    Each(CalibratedCriteria),
}

/// A judge of several criteria, each held against labels of its own.
#[derive(Debug, Serialize)]
pub struct CalibratedCriteria {
    /// Judge.
    pub judge: String,
    /// Model.
    pub model: String,
    /// Those with labels, in the judge's order; the first carries what the shared asks cost.
    pub criteria: Vec<Calibrated>,
    /// Those without, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_labels: Vec<(String, String)>,
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
    /// Agreement beyond chance: Cohen's kappa, Gwet's AC1 and Krippendorff's alpha of labels; correlations and alpha of
    /// numbers; what is not defined (nothing varies) is left out.
    pub beyond_chance: Vec<Coefficient>,
    /// What people reach among themselves; only where examples have findings of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people: Option<People>,
    /// The figures under other ways to count examples without a score; empty where every example has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// A cut of the judge's numbers, where people's have two values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Examples of the dataset that say nothing about the judge, by reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: LeftOut,
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
        method: spec.method.words(),
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

/// What is calibrated, on what.
#[derive(Clone, Debug, Default)]
pub struct CalibrateAsk {
    /// Judge.
    pub judge: String,
    /// Model alias.
    pub model: String,
    /// Run to correct.
    pub run: Option<String>,
    /// Dataset with labels of people; the judge's own examples when absent.
    pub dataset: Option<String>,
    /// Name of the labels; that of the judge when absent.
    pub label: Option<String>,
    /// Variant of the recorded outputs.
    pub variant: Option<String>,
}

/// Asks a judge about its labelled examples, or those of a dataset, and corrects what it says of a run.
pub async fn calibrate(project: &Project, world: &World, ask: &CalibrateAsk) -> Done<Calibration> {
    let services = Services::open(project, world, false, None).await?;
    let judge = any_judge(project, &services, &ask.judge, &ask.model)?;
    let model = judge.model().name.clone();
    if let Method::Criteria(criteria) = judge.spec().method.clone() {
        let found = by_criterion(project, world, ask, (judge, &criteria)).await?;
        return Ok(Calibration::Each(found));
    }
    let spec = judge.spec().clone();
    let subject = Subject { judge: &judge, spec: &spec, info: judge.info("", 1), model: &model, criterion: None };
    let labels = labelled(project, &spec, ask)?;
    subject.calibrate(project, world, ask, labels).await.map(|found| Calibration::One(Box::new(found)))
}

/// One criterion after another. They share their asks, so that the second one finds what the first one asked.
async fn by_criterion(
    project: &Project,
    world: &World,
    ask: &CalibrateAsk,
    (judge, criteria): (judge::Judge, &[Criterion]),
) -> Done<CalibratedCriteria> {
    if ask.run.is_some() {
        return Err(Failed::usage(anyhow::anyhow!(
            "`--run` corrects the figure of a judge of one score, and `{}` has several criteria; calibrate without it",
            ask.judge
        )));
    }
    let (spec, model) = (judge.spec().clone(), judge.model().name.clone());
    let graders = Arc::new(judge).graders(&spec.name, spec.draws);
    let mut done = CalibratedCriteria {
        judge: spec.name.clone(),
        model: model.clone(),
        criteria: Vec::new(),
        without_labels: Vec::new(),
    };
    for (criterion, (info, grader)) in criteria.iter().zip(graders) {
        let own = spec.of_criterion(criterion);
        let labels = match labelled_criterion(project, &own, (&spec, criterion), ask) {
            Ok(labels) => labels,
            Err(failed) => {
                done.without_labels.push((criterion.name.clone(), failed.error.to_string()));
                continue;
            }
        };
        let judge = grader.as_ref();
        let subject = Subject { judge, spec: &own, info, model: &model, criterion: Some(criterion.name.as_str()) };
        done.criteria.push(subject.calibrate(project, world, ask, labels).await?);
    }
    match done.without_labels.first() {
        Some((_, why)) if done.criteria.is_empty() => Err(Failed::usage(anyhow::anyhow!(
            "no criterion of `{}` has labels that can be used; of the first: {why}; labels are named `{}.CRITERION` or \
             `CRITERION`, and stand in `calibration.jsonl` as an object with one for each criterion",
            spec.name,
            spec.name
        ))),
        _ => Ok(done),
    }
}

/// Labels of one criterion: those named `JUDGE.CRITERION`, else those named `CRITERION` alone.
fn labelled_criterion(
    project: &Project,
    own: &JudgeSpec,
    (spec, criterion): (&JudgeSpec, &Criterion),
    ask: &CalibrateAsk,
) -> Done<(Vec<Labelled>, LeftOut)> {
    let named = |label: String| CalibrateAsk { label: Some(label), ..ask.clone() };
    let judge = ask.label.as_deref().unwrap_or(&spec.name);
    let found = labelled(project, own, &named(format!("{judge}.{}", criterion.name)));
    match found {
        Err(_) if ask.dataset.is_some() && ask.label.is_none() => {
            labelled(project, own, &named(criterion.name.clone())).or(found)
        }
        found => found,
    }
}

/// What is held against labels: a judge of one score, or one criterion of a judge of several.
struct Subject<'a> {
    judge: &'a dyn Grade,
    spec: &'a JudgeSpec,
    info: GraderInfo,
    model: &'a str,
    criterion: Option<&'a str>,
}

impl Subject<'_> {
    async fn calibrate(
        self,
        project: &Project,
        world: &World,
        ask: &CalibrateAsk,
        (labelled, left_out): (Vec<Labelled>, LeftOut),
    ) -> Done<Calibrated> {
        let spec = self.spec;
        let options = CalibrateOptions { draws: spec.draws, concurrency: 16 };
        let report = judge::calibrate(self.judge, spec, &labelled, options, &|_| {}).await;
        if let Some(failure) = report.fatal {
            return Err(Failed::instrument(failure));
        }
        let binary = report.true_pass.n + report.true_fail.n > 0;
        let corrected = match &ask.run {
            Some(run) => {
                let store = project.store(&world.env).await?;
                let confusion = binary.then(|| errors(&report));
                Some(correct(project, store.as_ref(), run, spec, confusion).await?)
            }
            None => None,
        };
        let beyond = beyond_chance(&report, &spec.scale);
        let (standing, evidence) = standing_of(&report, &beyond);
        let kept_in = project.file.is_file().then_some(FILE);
        if kept_in.is_some() {
            self.keep(project, world, &report, (ask.dataset.as_deref(), standing, evidence))?;
        }
        Ok(Calibrated {
            judge: spec.name.clone(),
            standing,
            kept_in,
            model: self.model.to_owned(),
            accuracy: Share::of(report.accuracy),
            sensitivity: binary.then(|| Share::of(report.true_pass)),
            specificity: binary.then(|| Share::of(report.true_fail)),
            beyond_chance: beyond,
            people: people(&report, &spec.scale),
            policies: policies(&report, &spec.scale),
            threshold: threshold(&report),
            left_out,
            confusion: report
                .confusion
                .iter()
                .map(|((person, judge), n)| (person.clone(), judge.clone(), *n))
                .collect(),
            unscored: report.unscored.iter().map(|(reason, n)| (reason.as_str().to_owned(), *n)).collect(),
            disagreements: disagreements(&report),
            cost_usd: report.spend.cost_usd,
            corrected,
        })
    }

    /// Keeps how the judge did: for panels whose votes weigh by it, for corrections, for a look at drift.
    fn keep(
        &self,
        project: &Project,
        world: &World,
        report: &judge::CalibrationReport,
        (dataset, standing, evidence): (Option<&str>, Standing, String),
    ) -> Done<()> {
        let (info, pairs) = (self.info.clone(), &report.numbers.pairs);
        let numbers = matches!(info.scale, Scale::Number { .. });
        let squares = pairs.iter().map(|(person, judge)| (person - judge).powi(2)).sum::<f64>();
        let mut known = Calibrations::read(project)?;
        known.put(Entry {
            judge: info.component,
            criterion: self.criterion.map(str::to_owned),
            version: info.version,
            model: self.model.to_owned(),
            digest: info.digest,
            on: today(world),
            labels: report.accuracy.n,
            answered_by: answered_by(report, self.model),
            dataset: dataset.map(str::to_owned),
            skill: Some(Skill {
                agreeing: report.accuracy.k,
                mean_square: (!pairs.is_empty()).then(|| squares / pairs.len() as f64),
                choices: self.spec.scale.menu().filter(|_| !numbers).map(|menu| menu.len() as u64),
            }),
            errors: (report.true_pass.n + report.true_fail.n > 0).then(|| errors(report)),
            standing: Some(standing),
            evidence,
            anchors: anchors(report),
        });
        known.write(project)
    }
}

/// Examples on which judge and people differ: id, people, judge, the people's reason.
fn disagreements(report: &judge::CalibrationReport) -> Vec<(String, String, String, String)> {
    let one = |row: &judge::Row| {
        let found = row.found.as_ref().map(ToString::to_string).unwrap_or_default();
        (row.example.clone(), row.expected.to_string(), found, text::one_line(&row.reason, 200))
    };
    report.disagreements().map(one).collect()
}

fn any_judge(project: &Project, services: &Services, name: &str, model: &str) -> Done<judge::Judge> {
    load_judge(project, services, name, model).map_err(|message| Failed::usage(anyhow::anyhow!(message)))
}

/// A judge that gives one score, with its model.
pub(super) fn whole_judge(project: &Project, services: &Services, name: &str, model: &str) -> Done<judge::Judge> {
    let judge = any_judge(project, services, name, model)?;
    if matches!(judge.spec().method, Method::Criteria(_)) {
        return Err(Failed::usage(anyhow::anyhow!(
            "judge `{name}` gives a score for each of several criteria, and this is for judges of one score; \
             `assize judge calibrate {name}` holds each criterion against its labels"
        )));
    }
    Ok(judge)
}

/// Why examples were left out, and how many.
pub type LeftOut = Vec<(String, u64)>;

/// The labelled examples: the judge's own, or those of a dataset, with how many of those say nothing and why.
pub(super) fn labelled(project: &Project, spec: &JudgeSpec, ask: &CalibrateAsk) -> Done<(Vec<Labelled>, LeftOut)> {
    let usage = |message: String| Failed::usage(anyhow::anyhow!(message));
    let Some(dataset) = &ask.dataset else {
        let labelled = Labelled::of_spec(spec);
        if labelled.is_empty() {
            return Err(usage(format!(
                "judge `{}` has no labelled examples; add some to its `calibration.jsonl`, or name a dataset with \
                 `--dataset`",
                spec.name
            )));
        }
        return Ok((labelled, Vec::new()));
    };
    let label = ask.label.as_deref().unwrap_or(&spec.name);
    let (mut found, mut left_out) = (Vec::new(), BTreeMap::new());
    for example in open(project, dataset)?.iter() {
        match Labelled::of_example(&example.map_err(Failed::usage)?, spec, label, ask.variant.as_deref()) {
            Ok(labelled) => found.push(labelled),
            Err(why) => *left_out.entry(why.as_str().to_owned()).or_insert(0_u64) += 1,
        }
    }
    if found.is_empty() {
        let why: Vec<String> = left_out.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let why = if why.is_empty() { "it is empty".to_owned() } else { why.join(", ") };
        return Err(usage(format!("no example of `{dataset}` has a label `{label}` that can be used: {why}")));
    }
    Ok((found, left_out.into_iter().collect()))
}

/// What the judge did with what people passed and failed.
fn errors(report: &judge::CalibrationReport) -> Confusion {
    Confusion {
        true_pass: report.true_pass.k,
        false_fail: report.true_pass.n - report.true_pass.k,
        true_fail: report.true_fail.k,
        false_pass: report.true_fail.n - report.true_fail.k,
    }
}

/// The model that answered, where all answers name one and the same.
pub(super) fn answered_by(report: &judge::CalibrationReport, asked: &str) -> Option<String> {
    let mut names: Vec<&str> = report
        .rows
        .iter()
        .flat_map(|row| &row.scores)
        .map(|score| score.details.get("answered_by").and_then(|name| name.as_str()).unwrap_or(asked))
        .collect();
    names.sort_unstable();
    names.dedup();
    match names[..] {
        [one] => Some(one.to_owned()),
        _ => None,
    }
}

/// What the judge said of each example, of as many as are kept.
fn anchors(report: &judge::CalibrationReport) -> BTreeMap<String, String> {
    let found = report.rows.iter().filter_map(|row| Some((row.example.clone(), row.found.as_ref()?.to_string())));
    found.take(MOST_ANCHORS).collect()
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
