//! `assize ci`: run, compare with the baseline, gate, write the reports. One command, one exit code.

use std::path::PathBuf;

use super::baseline::{self, Against, Wish};
use super::bundles;
use super::compare::{self, Compared};
use super::decide::Until;
use super::exit::{Done, Exit};
use super::github;
use super::outputs;
use super::project::{Project, World};
use super::run::{self, How, RunDone, Watch};
use crate::model::CancelReason;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Suite.
    pub suite: Option<String>,
    /// How the candidate is run.
    pub how: How,
    /// Baseline, as typed.
    pub baseline: Option<String>,
    /// Folder of bundles in which the baseline is looked for.
    pub bundles: Option<PathBuf>,
    /// Bundle that the candidate's run is written to.
    pub export: Option<PathBuf>,
    /// Differences allowed by name.
    pub allow: Vec<String>,
    /// Reports, as typed.
    pub reports: Vec<String>,
}

/// What came of it.
pub struct CiDone {
    /// The baseline's run, when it was run now.
    pub baseline: Option<RunDone>,
    /// The candidate's run.
    pub candidate: RunDone,
    /// The comparison; absent after a dry run or a run that stopped.
    pub compared: Option<Compared>,
    /// Which baseline was chosen and why, in words; absent when it was run now.
    pub told: Option<String>,
    /// Workflow commands for the log of GitHub Actions.
    pub annotations: Option<String>,
    /// What else went wrong.
    pub warnings: Vec<String>,
    /// How the command ends.
    pub exit: Exit,
}

impl CiDone {
    /// A command that ends without a comparison.
    fn without(candidate: RunDone, told: Option<String>, warnings: Vec<String>, exit: Exit) -> Self {
        Self { baseline: None, candidate, compared: None, told, annotations: None, warnings, exit }
    }
}

/// Runs the candidate and compares it. `on_baseline` is told which run it is compared with, before anything is spent.
pub async fn ci(
    project: &Project,
    world: &World,
    ask: Ask,
    (watch, on_baseline): (&Watch<'_>, &(dyn Fn(&str) + Sync)),
) -> Done<CiDone> {
    let suite = project.suite(ask.suite.as_deref())?;
    compare::check_allowances(&ask.allow)?;
    let folder = project.path(&project.config.reports);
    let wanted = if ask.reports.is_empty() {
        outputs::plan_in(&folder, &format!("ci-{}", suite.name), &["html", "markdown", "junit"])?
    } else {
        outputs::plan(&ask.reports, &world.here)?
    };
    if let Some(file) = &ask.export {
        bundles::check_place(world, file)?;
    }
    let mut warnings = Vec::new();
    let wish = Wish { typed: ask.baseline.as_deref(), bundles: ask.bundles.as_deref() };
    let against = baseline::find(project, world, suite, wish, &mut warnings).await?;
    let mut told = None;
    let (baseline_run, baseline) = match against {
        Against::Run { id, told: words } => {
            on_baseline(&words);
            told = Some(words);
            (None, Some(id))
        }
        Against::Target(target) => {
            // The baseline is run whole: what it is looked at against would have to be there first.
            let how = How { target: Some(target), until_decided: None, ..ask.how.clone() };
            let done = run_one(project, world, &ask, how, watch).await?;
            if let Some(exit) = stopped(&done) {
                return Ok(CiDone::without(done, told, warnings, exit));
            }
            let id = done.run.clone();
            (Some(done), id)
        }
    };
    let mut how = ask.how.clone();
    if let Some(until) = &mut how.until_decided {
        *until = Until { baseline: baseline.as_ref().map(|id| id.as_str().to_owned()), allow: ask.allow.clone() };
    }
    let candidate = run_one(project, world, &ask, how, watch).await?;
    let ids = baseline.zip(candidate.run.clone());
    let (Some((baseline, candidate_id)), None) = (ids, stopped(&candidate)) else {
        let exit = stopped(&candidate).unwrap_or(Exit::Pass);
        return Ok(CiDone { baseline: baseline_run, ..CiDone::without(candidate, told, warnings, exit) });
    };
    let store = project.store(&world.env).await?;
    let pair = (&baseline, &candidate_id);
    let words = told.clone();
    let compared = compare::compare_runs(project, world, store.as_ref(), pair, &ask.allow, &wanted, words).await?;
    if let Some(file) = &ask.export {
        bundles::export(project, world, candidate_id.as_str(), None, file).await?;
    }
    let github = github::tell(project, world, &compared);
    warnings.extend(github.warning);
    let exit = worse(compared.exit, candidate.exit);
    let annotations = github.annotations;
    Ok(CiDone { baseline: baseline_run, candidate, compared: Some(compared), told, annotations, warnings, exit })
}

async fn run_one(project: &Project, world: &World, ask: &Ask, how: How, watch: &Watch<'_>) -> Done<RunDone> {
    let ask = run::Ask { suite: ask.suite.clone(), how, compared: true, ..run::Ask::default() };
    run::run(project, world, ask, watch).await
}

/// The exit of a run that gives nothing to compare; a dry run or a run stopped before its end.
fn stopped(done: &RunDone) -> Option<Exit> {
    done.stop.as_ref().filter(|stop| !matches!(stop, CancelReason::Decided { .. })).map(|_| done.exit)
}

/// A failed gate and a failed instrument outrank an open finding, and that outranks a pass.
fn worse(left: Exit, right: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Pass => 0,
        Exit::Inconclusive => 1,
        Exit::GateFailed => 2,
        Exit::Instrument => 3,
        Exit::Usage | Exit::BudgetSpent | Exit::Interrupted => 4,
    };
    if rank(left) >= rank(right) { left } else { right }
}
