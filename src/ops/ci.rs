//! `assize ci`: run, compare with the baseline, gate, write the reports. One command, one exit code.

use super::compare::{self, Compared};
use super::decide::Until;
use super::exit::{Done, Exit, Failed};
use super::outputs;
use super::project::{Project, World};
use super::refs::{find_run, no_baseline};
use super::run::{self, How, RunDone, Watch};
use crate::model::{CancelReason, RunId};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Suite.
    pub suite: Option<String>,
    /// How the candidate is run.
    pub how: How,
    /// Baseline, as typed.
    pub baseline: Option<String>,
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
    /// How the command ends.
    pub exit: Exit,
}

/// The run to compare with: one that is there, or a target to run now.
enum Against {
    Run(RunId),
    Target(String),
}

/// Runs the candidate and compares it.
pub async fn ci(project: &Project, world: &World, ask: Ask, watch: &Watch<'_>) -> Done<CiDone> {
    let suite = project.suite(ask.suite.as_deref())?;
    compare::check_allowances(&ask.allow)?;
    let folder = project.path(&project.config.reports);
    let wanted = if ask.reports.is_empty() {
        outputs::plan_in(&folder, &format!("ci-{}", suite.name), &["html", "markdown", "junit"])?
    } else {
        outputs::plan(&ask.reports, &world.here)?
    };
    let against = against(project, world, &ask).await?;
    let (baseline_run, baseline) = match against {
        Against::Run(id) => (None, Some(id)),
        Against::Target(target) => {
            // The baseline is run whole: what it is looked at against would have to be there first.
            let how = How { target: Some(target), until_decided: None, ..ask.how.clone() };
            let done = run_one(project, world, &ask, how, watch).await?;
            if let Some(exit) = stopped(&done) {
                return Ok(CiDone { baseline: None, candidate: done, compared: None, exit });
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
        return Ok(CiDone { baseline: baseline_run, candidate, compared: None, exit });
    };
    let store = project.store(&world.env).await?;
    let pair = (&baseline, &candidate_id);
    let compared = compare::compare_runs(project, world, store.as_ref(), pair, &ask.allow, &wanted).await?;
    let exit = worse(compared.exit, candidate.exit);
    Ok(CiDone { baseline: baseline_run, candidate, compared: Some(compared), exit })
}

async fn run_one(project: &Project, world: &World, ask: &Ask, how: How, watch: &Watch<'_>) -> Done<RunDone> {
    let ask = run::Ask { suite: ask.suite.clone(), how, compared: true, ..run::Ask::default() };
    run::run(project, world, ask, watch).await
}

async fn against(project: &Project, world: &World, ask: &Ask) -> Done<Against> {
    let suite = project.suite(ask.suite.as_deref())?;
    if let Some(target) = ask.baseline.as_deref().and_then(|text| text.strip_prefix("target:")) {
        return Ok(Against::Target(target.to_owned()));
    }
    let store = project.store(&world.env).await?;
    if let Some(wanted) = &ask.baseline {
        return find_run(project, store.as_ref(), wanted, Some(&suite.name)).await.map(Against::Run);
    }
    match store.baseline(&suite.name).await.map_err(Failed::instrument)? {
        Some(baseline) => Ok(Against::Run(baseline.run)),
        None => suite.baseline.clone().map(Against::Target).ok_or_else(|| no_baseline(&suite.name)),
    }
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
