//! `assize compare A B C`: all pairs of several runs, ranked, and their reports.

use anyhow::anyhow;

use super::bundles;
use super::compare::policy_of;
use super::exit::{Done, Exit, Failed};
use super::findings;
use super::outputs::{self, Wanted, Written};
use super::project::{Project, World};
use super::refs::find_run;
use super::standing::weigh;
use crate::compare::{self, ExampleMeta, Matrix};
use crate::model::RunId;
use crate::report;
use crate::store::Store;

/// What is asked.
pub struct Ask<'a> {
    /// Runs, as typed; the first is what the others are set against.
    pub runs: &'a [String],
    /// Suite, for `baseline` and `latest`.
    pub suite: Option<&'a str>,
    /// Differences allowed by name.
    pub allow: &'a [String],
    /// Reports, as typed.
    pub reports: &'a [String],
}

/// The matrix with its reports.
pub struct Many {
    /// Findings.
    pub matrix: Matrix,
    /// Reports written.
    pub written: Vec<Written>,
    /// How the command ends.
    pub exit: Exit,
}

/// Compares runs of the store.
pub async fn compare_many(project: &Project, world: &World, ask: Ask<'_>) -> Done<Many> {
    let wanted = plan(ask.reports, world)?;
    let words: Vec<&str> = ask.runs.iter().map(String::as_str).collect();
    let (store, names) = bundles::open(project, world, &words).await?;
    let mut ids: Vec<RunId> = Vec::new();
    for (typed, name) in ask.runs.iter().zip(&names) {
        let id = find_run(project, store.as_ref(), name, ask.suite).await?;
        if ids.contains(&id) {
            return Err(Failed::usage(anyhow!("run `{}` is named twice (`{typed}`); name each once", id.short())));
        }
        ids.push(id);
    }
    compare_runs(project, world, store.as_ref(), &ids, ask.allow, &wanted).await
}

/// Parses reports as typed; several runs have not every form.
pub fn plan(typed: &[String], world: &World) -> Done<Vec<Wanted>> {
    let wanted = outputs::plan(typed, &world.here)?;
    let forms = report::MATRIX_FORMS;
    match wanted.iter().map(Wanted::form).find(|form| !forms.contains(form)) {
        Some(form) => {
            let known = forms.join(", ");
            Err(Failed::usage(anyhow!("a report of more than two runs has no form `{form}`; there is {known}")))
        }
        None => Ok(wanted),
    }
}

/// Compares known runs.
pub async fn compare_runs(
    project: &Project,
    world: &World,
    store: &dyn Store,
    ids: &[RunId],
    allow: &[String],
    wanted: &[Wanted],
) -> Done<Many> {
    let mut runs = Vec::new();
    let mut metas: Vec<ExampleMeta> = Vec::new();
    let mut known = std::collections::HashSet::new();
    for id in ids {
        let loaded = findings::load(store, id).await?;
        metas.extend(
            std::sync::Arc::unwrap_or_clone(loaded.metas).into_iter().filter(|meta| known.insert(meta.id.clone())),
        );
        runs.push(loaded.results);
    }
    let suite = runs.last().map(|run| run.header.suite.clone()).unwrap_or_default();
    let mut policy = policy_of(project, world, &suite)?;
    weigh(&mut policy, project, runs.iter().map(|run| &run.header))?;
    let matrix = compare::compare_many(&runs, &metas, &policy, allow);
    let now = world.clock.now();
    let written = outputs::write_with(wanted, |form| report::matrix_report(form, &matrix, now))?;
    let exit = if matrix.comparable { Exit::Pass } else { Exit::Instrument };
    Ok(Many { matrix, written, exit })
}
