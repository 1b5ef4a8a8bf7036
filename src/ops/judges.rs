//! `assize judge`: list, show, check and calibrate judges.

use serde::Serialize;

use super::build::load_judge;
pub use super::correct::Corrected;
use super::correct::correct;
use super::exit::{Done, Exit, Failed};
use super::project::{Project, World};
use super::services::Services;
use crate::judge::{self, CalibrateOptions, CatalogueError, Labelled, Origin, Severity};
use crate::rubric::JudgeSpec;
use crate::stats::{Confusion, Interval, wilson};
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
    /// Whether it is the user's own.
    pub own: bool,
    /// Labelled examples it carries.
    pub calibration_examples: usize,
}

/// A judge in full.
#[derive(Debug, Serialize)]
pub struct Full {
    /// As in the list.
    #[serde(flatten)]
    pub listed: Listed,
    /// Digest of its rubric.
    pub digest: String,
    /// The rubric as the model gets it.
    pub rubric: String,
    /// Material it needs.
    pub inputs: Vec<String>,
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
    /// Label of people, label of the judge, how often.
    pub confusion: Vec<(String, String, u64)>,
    /// Unscored draws by reason.
    pub unscored: Vec<(String, u64)>,
    /// Examples on which they differ: id, people, judge, the people's reason.
    pub disagreements: Vec<(String, String, String, String)>,
    /// US dollars spent.
    pub cost_usd: f64,
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
            own: matches!(entry.origin, Origin::User(_)),
            calibration_examples: 0,
        },
    };
    Ok(entries.iter().map(row).collect())
}

/// One judge.
pub fn show(project: &Project, name: &str) -> Done<Full> {
    let (spec, own) = spec(project, name)?;
    Ok(Full {
        listed: listed(&spec, own),
        digest: spec.digest().to_string(),
        rubric: spec.rubric.clone(),
        inputs: spec.inputs.iter().map(ToString::to_string).collect(),
    })
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
    Ok(Calibrated {
        judge: name.to_owned(),
        model: handle.model,
        accuracy: share(report.accuracy),
        sensitivity: binary.then(|| share(report.true_pass)),
        specificity: binary.then(|| share(report.true_fail)),
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
        own,
        calibration_examples: spec.calibration.len(),
    }
}

fn folder(project: &Project) -> std::path::PathBuf {
    project.path(&project.config.judges)
}
