//! Pulling a configured source: its options, keys and place become a pull; its rows go to the taker.

use std::path::PathBuf;

use anyhow::anyhow;

use super::exit::{Done, Failed};
use super::intake::Taker;
use super::project::{Project, World};
use crate::ingest::api::{self, ApiOptions, PlatformInfo, Pull, PullFailed, PullProgress, PullSummary};
use crate::ingest::{FileSummary, ReadOptions};
use crate::sys;

/// How platforms are pulled.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// Beginning of a window for this pull alone.
    pub since: Option<String>,
    /// End of such a window.
    pub until: Option<String>,
    /// Most rows of each source.
    pub limit: Option<u64>,
    /// Forget the places of earlier pulls.
    pub restart: bool,
}

/// Pulls one source. The inner error is one of this source alone: others can still be read.
pub(super) async fn pull(
    project: &Project,
    world: &World,
    name: &str,
    how: &How,
    options: &ReadOptions<'_>,
    taker: &mut Taker<'_>,
    on_progress: &dyn Fn(&PullProgress<'_>),
) -> Done<Result<(FileSummary, PullSummary), anyhow::Error>> {
    let http = sys::http_client().map_err(Failed::instrument)?;
    let (platform, settings) = settings(project, name).map_err(|message| Failed::usage(anyhow!(message)))?;
    let asked = Pull {
        name,
        platform,
        options: &settings,
        since: how.since.as_deref(),
        until: how.until.as_deref(),
        limit: how.limit,
        restart: how.restart,
        checkpoints: checkpoints(project),
        http,
        clock: world.clock.clone(),
        env: world.env.clone(),
        on_progress,
    };
    match api::pull(&asked, options, taker).await {
        Ok(done) => Ok(Ok(done)),
        Err(error @ (PullFailed::Taker(_) | PullFailed::Checkpoint(_))) => Err(Failed::instrument(error)),
        Err(error) => Ok(Err(anyhow!(error))),
    }
}

/// Asks a source one cheap question.
pub(super) async fn probe(
    project: &Project,
    world: &World,
    name: &str,
    http: &reqwest::Client,
) -> Result<String, String> {
    let (platform, settings) = settings(project, name)?;
    let asked = Pull {
        name,
        platform,
        options: &settings,
        since: None,
        until: None,
        limit: None,
        restart: false,
        checkpoints: checkpoints(project),
        http: http.clone(),
        clock: world.clock.clone(),
        env: world.env.clone(),
        on_progress: &|_| {},
    };
    asked.probe().await.map(|found| format!("{} {found}", platform.name))
}

fn settings(project: &Project, name: &str) -> Result<(&'static PlatformInfo, ApiOptions), String> {
    let config = project.config.sources.get(name).ok_or_else(|| format!("no source `{name}`"))?;
    let platform = api::find(&config.kind).ok_or_else(|| format!("no platform `{}`", config.kind))?;
    let options = serde_json::from_value(serde_json::Value::Object(config.options.clone()));
    Ok((platform, options.map_err(|error| format!("source `{name}`: {error}"))?))
}

/// Beside what was pulled: whoever copies or deletes the lake copies or deletes the places with it.
fn checkpoints(project: &Project) -> PathBuf {
    project.state_folder().join("checkpoints")
}
