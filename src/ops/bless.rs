//! `assize bless`: the only way a baseline moves. Who, when and why are kept; nothing is overwritten.

use anyhow::anyhow;

use super::exit::{Done, Failed};
use super::project::{Project, World};
use super::refs::find_run;
use super::trail;
use crate::model::RunStatus;
use crate::store::Baseline;

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
    let store = project.store(&world.env).await?;
    let id = find_run(project, store.as_ref(), &ask.run, ask.suite.as_deref()).await?;
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
