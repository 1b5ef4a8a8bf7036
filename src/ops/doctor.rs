//! `assize doctor`: what is configured, from where, and whether it really works. Finds trouble before money does.

use std::path::Path;

use serde::Serialize;

use super::build::Builder;
use super::datasets;
use super::exit::{Done, Exit, Failed};
use super::project::{Project, World};
use super::pull;
use super::services::Services;
use crate::judge;
use crate::sys::files;

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Works.
    Ok,
    /// Works, with something to know.
    Note,
    /// Does not work.
    Broken,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    /// What.
    pub what: String,
    /// How it stands.
    pub standing: Standing,
    /// What was found, and the mend.
    pub found: String,
}

/// Looks at everything a run would need. Asks each configured model one short question unless `offline`.
pub async fn doctor(project: &Project, world: &World, offline: bool) -> Done<(Vec<Look>, Exit)> {
    let mut looks = Vec::new();
    let mut look = |what: &str, standing: Standing, found: String| {
        looks.push(Look { what: what.to_owned(), standing, found });
    };
    if project.file.is_file() {
        look("configuration", Standing::Ok, project.file.display().to_string());
    } else {
        let found = format!("no `assize.toml` in `{}` or above; defaults hold", project.root.display());
        look("configuration", Standing::Note, found);
    }
    let from = if world.env.get("ASSIZE_STORE").is_some() { "ASSIZE_STORE" } else { "configuration" };
    match project.store(&world.env).await {
        Ok(store) => match store.runs(None, 1).await {
            Ok(runs) => {
                let newest =
                    runs.first().map_or("no run yet".to_owned(), |run| format!("newest run {}", run.header.id.short()));
                look("store", Standing::Ok, format!("from {from}; {newest}"));
                match store.audit_verify().await {
                    Ok(check) => match check.broken {
                        None => look("audit trail", Standing::Ok, format!("{} records, chain whole", check.records)),
                        Some((seq, why)) => look("audit trail", Standing::Broken, format!("record {seq}: {why}")),
                    },
                    Err(error) => look("audit trail", Standing::Broken, error.to_string()),
                }
            }
            Err(error) => look("store", Standing::Broken, error.to_string()),
        },
        Err(failed) => look("store", Standing::Broken, failed.error.to_string()),
    }
    if project.lake_folder() != project.path(&project.config.lake) {
        let reached = project.lake(&world.env).and_then(|lake| lake.reach().map_err(Failed::instrument));
        match reached {
            Ok(()) => look("bucket", Standing::Ok, format!("{} answers", project.config.lake)),
            Err(failed) => look("bucket", Standing::Broken, failed.error.to_string()),
        }
    }
    for (what, path) in [("lake", project.lake_folder()), ("reports", project.path(&project.config.reports))] {
        match files::check_writable(&path.join("probe")) {
            Ok(()) => look(what, Standing::Ok, path.display().to_string()),
            Err(error) => look(what, Standing::Broken, error.to_string()),
        }
    }
    match datasets::list(project) {
        Ok(found) if found.is_empty() => {
            look("datasets", Standing::Note, "none yet; `assize sample` or `assize dataset import`".to_owned())
        }
        Ok(found) => {
            let names: Vec<String> = found.iter().map(crate::model::DatasetHeader::reference).collect();
            look("datasets", Standing::Ok, names.join(", "));
        }
        Err(failed) => look("datasets", Standing::Broken, failed.error.to_string()),
    }
    look_at_judges(&project.path(&project.config.judges), &mut look);
    let services = Services::open(project, world, false, None).await?;
    for suite in project.config.suites.values() {
        let what = format!("suite {}", suite.name);
        match Builder::new(project, world, &services).parts(suite, &suite.candidate) {
            Ok(parts) => {
                let found = format!("target {}, {} graders", suite.candidate, parts.graders.len());
                look(&what, Standing::Ok, found);
            }
            Err(failed) => look(&what, Standing::Broken, failed.error.to_string()),
        }
    }
    for (alias, config) in &project.config.models {
        let what = format!("model {alias}");
        let price = project.config.prices.find(&config.model).map_or("price unknown", |_| "price known");
        match services.model(alias) {
            Err(message) => look(&what, Standing::Broken, message),
            Ok(_) if offline => look(&what, Standing::Note, format!("{} not asked (offline); {price}", config.model)),
            Ok(handle) => match handle.client.smoke(&handle.model).await {
                Ok(answered) => look(&what, Standing::Ok, format!("{answered} answers; {price}")),
                Err(failure) => look(&what, Standing::Broken, failure.to_string()),
            },
        }
    }
    for name in project.config.sources.keys() {
        let what = format!("source {name}");
        if offline {
            look(&what, Standing::Note, "not asked (offline)".to_owned());
            continue;
        }
        match pull::probe(project, world, name, services.http()).await {
            Ok(found) => look(&what, Standing::Ok, found),
            Err(message) => look(&what, Standing::Broken, message),
        }
    }
    let broken = looks.iter().any(|look| look.standing == Standing::Broken);
    Ok((looks, if broken { Exit::Instrument } else { Exit::Pass }))
}

fn look_at_judges(folder: &Path, look: &mut impl FnMut(&str, Standing, String)) {
    match judge::list(Some(folder)) {
        Ok(entries) => {
            let own = entries.iter().filter(|entry| matches!(entry.origin, judge::Origin::User(_))).count();
            look("judges", Standing::Ok, format!("{} shipped, {own} of your own", entries.len() - own));
        }
        Err(error) => look("judges", Standing::Broken, error.to_string()),
    }
}
