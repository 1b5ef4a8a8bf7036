//! `assize bless`: the only way a baseline moves. Who, when and why are kept; nothing is overwritten. `assize runs` shows
//! them.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde::Serialize;

use super::bundles;
use super::exit::{Done, Failed};
use super::project::{Project, World};
use super::refs::find_run;
use super::trail;
use crate::model::RunStatus;
use crate::store::{Baseline, RunSummary};

/// What is asked.
pub struct Ask {
    /// Run.
    pub run: String,
    /// Why.
    pub reason: String,
    /// Who, when not as git or the environment says.
    pub by: Option<String>,
    /// Suite, for `latest`.
    pub suite: Option<String>,
}

/// Blesses a complete run.
pub async fn bless(project: &Project, world: &World, ask: Ask) -> Done<Baseline> {
    if ask.reason.trim().is_empty() {
        return Err(Failed::usage(anyhow!("a blessing needs a reason: `-m \"why this run is the new baseline\"`")));
    }
    // A baseline is looked for in the store, so a run out of a file is taken in first.
    let wanted = match bundles::path_of(&ask.run, world) {
        Some(file) => bundles::import(project, world, &file).await?.run.as_str().to_owned(),
        None => ask.run,
    };
    let store = project.store(&world.env).await?;
    let id = find_run(project, store.as_ref(), &wanted, ask.suite.as_deref()).await?;
    let run = store.find_run(id.as_str()).await.map_err(Failed::instrument)?;
    if run.status != RunStatus::Complete {
        return Err(Failed::usage(anyhow!(
            "run `{}` is not complete, so it cannot be a baseline; finish it with `assize run --resume {}`",
            id.short(),
            id.short()
        )));
    }
    let by = ask.by.unwrap_or_else(|| trail::actor(project, world));
    let baseline = Baseline { suite: run.header.suite.clone(), run: id, by, at: world.clock.now(), reason: ask.reason };
    store.bless(&baseline).await.map_err(Failed::instrument)?;
    let (run, why) = (baseline.run.as_str(), &baseline.reason);
    trail::record(store.as_ref(), world, &baseline.by, "bless", run, why).await?;
    Ok(baseline)
}

/// A run as the list shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// The run.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Whether it is the baseline of its suite now.
    pub baseline: bool,
    /// Its latest blessing; a run that was a baseline keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blessing: Option<Baseline>,
}

/// Runs of the store, newest first, with who made which a baseline.
pub async fn runs(project: &Project, world: &World, suite: Option<&str>, limit: u32) -> Done<Vec<Listed>> {
    let store = project.store(&world.env).await?;
    let mut known: BTreeMap<String, Vec<Baseline>> = BTreeMap::new();
    let mut listed = Vec::new();
    for summary in store.runs(suite, limit).await.map_err(Failed::instrument)? {
        let suite = &summary.header.suite;
        if !known.contains_key(suite) {
            known.insert(suite.clone(), store.blessings(suite).await.map_err(Failed::instrument)?);
        }
        let all = known.get(suite).map(Vec::as_slice).unwrap_or_default();
        let blessing = all.iter().find(|one| one.run == summary.header.id).cloned();
        let baseline = all.first().is_some_and(|latest| latest.run == summary.header.id);
        listed.push(Listed { summary, baseline, blessing });
    }
    Ok(listed)
}
