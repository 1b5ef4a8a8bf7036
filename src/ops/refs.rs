//! Which run is meant: an id, a part of one, `latest`, or `baseline`.

use anyhow::anyhow;

use super::exit::{Done, Failed};
use super::project::Project;
use crate::model::RunId;
use crate::store::{Store, StoreError};

/// Finds a run by what was typed. `suite` is needed for `latest` and `baseline` unless there is only one.
pub async fn find_run(project: &Project, store: &dyn Store, wanted: &str, suite: Option<&str>) -> Done<RunId> {
    match wanted {
        "latest" => {
            let suite = suite_name(project, suite);
            let runs = store.runs(suite.as_deref(), 1).await.map_err(Failed::instrument)?;
            let run = runs.into_iter().next();
            run.map(|run| run.header.id)
                .ok_or_else(|| Failed::usage(anyhow!("no run in the store yet; `assize run` makes one")))
        }
        "baseline" => {
            let suite = project.suite(suite).map(|suite| suite.name.clone())?;
            match store.baseline(&suite).await.map_err(Failed::instrument)? {
                Some(baseline) => Ok(baseline.run),
                None => Err(no_baseline(&suite)),
            }
        }
        id => match store.find_run(id).await {
            Ok(run) => Ok(run.header.id),
            Err(error @ StoreError::NoSuchRun { .. }) => Err(Failed::usage(error)),
            Err(error) => Err(Failed::instrument(error)),
        },
    }
}

/// The error of a suite that has no baseline, with the two ways out.
pub fn no_baseline(suite: &str) -> Failed {
    Failed::usage(anyhow!(
        "suite `{suite}` has no baseline yet. On a first run: `assize run {suite}` on the branch that holds what is good \
         now, then `assize bless latest -m WHY`; or name a target as `baseline` in the suite; or compare with another run: \
         `--baseline RUN`, `FILE.assize` or `merge-base`"
    ))
}

fn suite_name(project: &Project, named: Option<&str>) -> Option<String> {
    named.map(str::to_owned).or_else(|| project.suite(None).ok().map(|suite| suite.name.clone()))
}
