//! `assize report --index`: the page over many runs, made from the store. It compares nothing.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::bundles;
use super::compare::{policy_of, two_runs};
use super::exit::{Done, Failed};
use super::findings;
use super::outputs::plain_file;
use super::project::{Project, World};
use super::refs::find_run;
use crate::compare::summarize;
use crate::model::RunStatus;
use crate::report::{self, IndexedRun};
use crate::sys::files;

/// Name of the page in the folder of reports.
const PAGE: &str = "index.html";

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Only this suite.
    pub suite: Option<String>,
    /// Latest runs of it, or of all.
    pub last: u32,
    /// File; in the folder of reports when absent.
    pub path: Option<PathBuf>,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Indexed {
    /// The page.
    pub path: PathBuf,
    /// Runs in it.
    pub runs: usize,
    /// Runs that were left out, with the reason.
    pub left_out: Vec<String>,
}

/// Writes the page.
pub async fn index(project: &Project, world: &World, ask: &Ask) -> Done<Indexed> {
    let path = match &ask.path {
        Some(path) => world.here.join(path),
        None => project.path(&project.config.reports).join(PAGE),
    };
    plain_file(&path)?;
    files::check_writable(&path).map_err(Failed::usage)?;
    let store = project.store(&world.env).await?;
    let found = store.runs(ask.suite.as_deref(), ask.last).await.map_err(Failed::instrument)?;
    let (mut runs, mut left_out) = (Vec::new(), Vec::new());
    for run in found {
        let (id, suite) = (run.header.id, run.header.suite);
        if run.status == RunStatus::Open {
            left_out.push(format!("run {}: it has not ended", id.short()));
            continue;
        }
        let loaded = findings::load(store.as_ref(), &id).await?;
        let mut view = summarize(&loaded.results, &loaded.metas, &policy_of(project, world, &suite)?);
        view.examples = Vec::new();
        runs.push(IndexedRun { view, link: link(&path, id.short()) });
    }
    let count = runs.len();
    let page = report::index(runs, world.clock.now()).map_err(Failed::instrument)?;
    files::write_atomic(&path, &page).map_err(Failed::instrument)?;
    Ok(Indexed { path, runs: count, left_out })
}

/// A run's own report, where it stands beside the page under the name that `report --open` gives it.
fn link(page: &Path, run: &str) -> Option<String> {
    let name = run_report(run);
    page.with_file_name(&name).is_file().then_some(name)
}

/// Where the report of a run, or of two as `BASE..CANDIDATE`, goes when nobody says where.
///
/// # Errors
/// When there is no such run.
pub async fn place(project: &Project, world: &World, subject: &str, suite: Option<&str>) -> Done<PathBuf> {
    let typed = two_runs(subject).map_or_else(|| vec![subject], |(base, candidate)| vec![base, candidate]);
    let (store, typed) = bundles::open(project, world, &typed).await?;
    let mut names = Vec::new();
    for typed in &typed {
        names.push(find_run(project, store.as_ref(), typed, suite).await?.short().to_owned());
    }
    Ok(project.path(&project.config.reports).join(run_report(&names.join(".."))))
}

fn run_report(run: &str) -> String {
    format!("run-{run}.html")
}
