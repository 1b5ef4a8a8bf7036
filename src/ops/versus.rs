//! `assize versus`: two variants of one suite, run side by side and compared. One command, one verdict, one report.
//!
//! Both runs try the same examples in the same seeded order and take turns call by call, so that the time of day and the
//! load of servers fall on both alike. Each is a run like any other: journaled, resumed and reported by itself.

use anyhow::anyhow;

use super::compare::{self, Compared};
use super::exit::{Done, Exit, Failed};
use super::outputs;
use super::project::{Project, World};
use super::run::{self, Around, Begun, How, Planned, Watch};
use super::services::Services;
use crate::config::Suite;
use crate::model::{CancelReason, RunId};
use crate::runner::{Lane, Order, RunOutcome};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Suite.
    pub suite: Option<String>,
    /// Target that is compared against; the suite's baseline when absent.
    pub baseline: Option<String>,
    /// Target that is judged; the suite's candidate when absent.
    pub candidate: Option<String>,
    /// How both are run.
    pub how: How,
    /// Differences allowed by name.
    pub allow: Vec<String>,
    /// Reports, as typed.
    pub reports: Vec<String>,
}

/// One of the two runs.
pub struct Side {
    /// The plan it was made by.
    pub planned: Planned,
    /// The run; absent after a dry run.
    pub run: Option<RunId>,
    /// Why it stopped before its end.
    pub stop: Option<CancelReason>,
}

/// What came of it.
pub struct VersusDone {
    /// Baseline and candidate.
    pub sides: [Side; 2],
    /// The comparison; absent after a dry run or when one of the runs stopped.
    pub compared: Option<Compared>,
    /// What else went wrong.
    pub warnings: Vec<String>,
    /// How the command ends.
    pub exit: Exit,
}

/// Runs both and compares them.
pub async fn versus(project: &Project, world: &World, ask: Ask, watch: &Watch<'_>) -> Done<VersusDone> {
    let suite = project.suite(ask.suite.as_deref())?;
    let (baseline, candidate) = names(suite, &ask)?;
    compare::check_allowances(&ask.allow)?;
    let wanted = if ask.reports.is_empty() {
        let folder = project.path(&project.config.reports);
        outputs::plan_in(&folder, &format!("versus-{}", suite.name), &["html", "markdown"])?
    } else {
        outputs::plan(&ask.reports, &world.here)?
    };
    let store = project.store(&world.env).await?;
    let services = Services::open(project, world, ask.how.no_cache, ask.how.record.as_ref()).await?;
    let around = Around { compared: true, ..Around::default() };
    let how = |target: String| How { target: Some(target), ..ask.how.clone() };
    let parts = (store.as_ref(), &services);
    let left = run::prepare(project, world, parts, suite, how(baseline), around).await?;
    let right = run::prepare(project, world, parts, suite, how(candidate), around).await?;
    let mut warnings = left.warnings.clone();
    warnings.extend(right.warnings.iter().filter(|warning| !left.warnings.contains(warning)).cloned());
    (watch.on_plan)(&left.planned);
    (watch.on_plan)(&right.planned);
    let plans = [left.planned.clone(), right.planned.clone()];
    if ask.how.dry_run {
        let sides = plans.map(|planned| Side { planned, run: None, stop: None });
        return Ok(VersusDone { sides, compared: None, warnings, exit: Exit::Pass });
    }
    let at_once = suite.concurrency.targets as usize;
    let Begun { job: mut left, .. } = run::begin(project, world, (&store, &services), left, watch).await?;
    let Begun { job: mut right, .. } = run::begin(project, world, (&store, &services), right, watch).await?;
    let (first, second) = Lane::pair(suite.seed, at_once);
    for (job, lane) in [(&mut left, first), (&mut right, second)] {
        job.options.lane = Some(lane);
        job.options.order = Order::Shuffled;
    }
    let (left, right) = tokio::join!(run::carry_out(left), run::carry_out(right));
    let ((left, told), (right, more)) = (left?, right?);
    warnings.extend(services.warnings().into_iter().chain(told).chain(more));
    let stopped = [&left, &right].into_iter().find(|outcome| outcome.stop.is_some()).map(how_it_ends);
    let pair = (left.run.clone(), right.run.clone());
    let [planned, other] = plans;
    let sides = [
        Side { planned, run: Some(left.run), stop: left.stop },
        Side { planned: other, run: Some(right.run), stop: right.stop },
    ];
    if let Some(exit) = stopped {
        return Ok(VersusDone { sides, compared: None, warnings, exit });
    }
    let pair = (&pair.0, &pair.1);
    let compared = compare::compare_runs(project, world, store.as_ref(), pair, &ask.allow, &wanted, None).await?;
    warnings.extend(compare::unscored_causes(&compared.details));
    let exit = compared.exit;
    Ok(VersusDone { sides, compared: Some(compared), warnings, exit })
}

fn how_it_ends(outcome: &RunOutcome) -> Exit {
    run::exit_of(outcome, Exit::Pass)
}

/// Baseline and candidate by name. Without names: those of the suite, or its two targets.
fn names(suite: &Suite, ask: &Ask) -> Done<(String, String)> {
    let known: Vec<&String> = suite.targets.keys().collect();
    let list = || known.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let candidate = ask.candidate.clone().unwrap_or_else(|| suite.candidate.clone());
    let only_other = || {
        let mut others = known.iter().filter(|name| ***name != candidate);
        others.next().filter(|_| known.len() == 2).map(|name| (*name).clone())
    };
    let baseline = ask.baseline.clone().or_else(|| suite.baseline.clone()).or_else(only_other);
    let fail = |text: String| Err(Failed::usage(anyhow!(text)));
    let Some(baseline) = baseline else {
        return fail(format!("which two? `assize versus BASELINE CANDIDATE`; suite `{}` has {}", suite.name, list()));
    };
    for name in [&baseline, &candidate] {
        if !suite.targets.contains_key(name) {
            return fail(format!("suite `{}` has no target `{name}`; there is {}", suite.name, list()));
        }
    }
    if baseline == candidate {
        return fail(format!("`{baseline}` would be compared with itself; there is {}", list()));
    }
    Ok((baseline, candidate))
}
