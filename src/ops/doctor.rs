//! `assize doctor`: what is configured, from where, and whether it really works. Finds trouble before money does.

use std::collections::BTreeSet;

use serde::Serialize;

use super::build::Builder;
use super::datasets;
use super::exit::{Done, Exit, Failed};
use super::project::{Project, World};
use super::pull;
use super::services::Services;
use crate::config::{Config, GraderUse, Others};
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

/// What was looked at so far.
#[derive(Default)]
struct Looks(Vec<Look>);

impl Looks {
    fn add(&mut self, what: &str, standing: Standing, found: impl Into<String>) {
        self.0.push(Look { what: what.to_owned(), standing, found: found.into() });
    }

    fn broken(&mut self, what: &str, error: impl ToString) {
        self.add(what, Standing::Broken, error.to_string());
    }
}

/// Looks at everything a run would need. Asks each configured model one short question unless `offline`.
pub async fn doctor(project: &Project, world: &World, offline: bool) -> Done<(Vec<Look>, Exit)> {
    let mut looks = Looks::default();
    configuration(project, &mut looks);
    store(project, world, &mut looks).await;
    folders(project, world, &mut looks);
    datasets_and_judges(project, &mut looks);
    let services = Services::open(project, world, false, None).await?;
    for suite in project.config.suites.values() {
        let what = format!("suite {}", suite.name);
        match Builder::new(project, world, &services).parts(suite, &suite.candidate) {
            Ok(parts) => {
                let found = format!("target {}, {} graders", suite.candidate, parts.graders.len());
                looks.add(&what, Standing::Ok, found);
            }
            Err(failed) => looks.broken(&what, failed.error),
        }
    }
    models(project, &services, offline, &mut looks).await;
    for name in project.config.sources.keys() {
        let what = format!("source {name}");
        if offline {
            looks.add(&what, Standing::Note, "not asked (offline)");
            continue;
        }
        match pull::probe(project, world, name, services.http()).await {
            Ok(found) => looks.add(&what, Standing::Ok, found),
            Err(message) => looks.broken(&what, message),
        }
    }
    let broken = looks.0.iter().any(|look| look.standing == Standing::Broken);
    Ok((looks.0, if broken { Exit::Instrument } else { Exit::Pass }))
}

fn configuration(project: &Project, looks: &mut Looks) {
    if project.file.is_file() {
        looks.add("configuration", Standing::Ok, project.file.display().to_string());
    } else {
        let found = format!("no `assize.toml` in `{}` or above; defaults hold", project.root.display());
        looks.add("configuration", Standing::Note, found);
    }
}

async fn store(project: &Project, world: &World, looks: &mut Looks) {
    let from = if world.env.get("ASSIZE_STORE").is_some() { "ASSIZE_STORE" } else { "configuration" };
    let store = match project.store(&world.env).await {
        Ok(store) => store,
        Err(failed) => return looks.broken("store", failed.error),
    };
    let runs = match store.runs(None, 1).await {
        Ok(runs) => runs,
        Err(error) => return looks.broken("store", error),
    };
    let newest = runs.first().map_or("no run yet".to_owned(), |run| format!("newest run {}", run.header.id.short()));
    looks.add("store", Standing::Ok, format!("from {from}; {newest}"));
    match store.audit_verify().await.map(|check| (check.records, check.broken)) {
        Ok((records, None)) => looks.add("audit trail", Standing::Ok, format!("{records} records, chain whole")),
        Ok((_, Some((seq, why)))) => looks.broken("audit trail", format!("record {seq}: {why}")),
        Err(error) => looks.broken("audit trail", error),
    }
}

fn folders(project: &Project, world: &World, looks: &mut Looks) {
    if project.lake_folder() != project.path(&project.config.lake) {
        let reached = project.lake(&world.env).and_then(|lake| lake.reach().map_err(Failed::instrument));
        match reached {
            Ok(()) => looks.add("bucket", Standing::Ok, format!("{} answers", project.config.lake)),
            Err(failed) => looks.broken("bucket", failed.error),
        }
    }
    for (what, path) in [("lake", project.lake_folder()), ("reports", project.path(&project.config.reports))] {
        match files::check_writable(&path.join("probe")) {
            Ok(()) => looks.add(what, Standing::Ok, path.display().to_string()),
            Err(error) => looks.broken(what, error),
        }
    }
}

fn datasets_and_judges(project: &Project, looks: &mut Looks) {
    match datasets::list(project) {
        Ok(found) if found.is_empty() => {
            looks.add("datasets", Standing::Note, "none yet; `assize sample` or `assize dataset import`");
        }
        Ok(found) => {
            let names: Vec<String> = found.iter().map(crate::model::DatasetHeader::reference).collect();
            looks.add("datasets", Standing::Ok, names.join(", "));
        }
        Err(failed) => looks.broken("datasets", failed.error),
    }
    match judge::list(Some(&project.path(&project.config.judges))) {
        Ok(entries) => {
            let own = entries.iter().filter(|entry| matches!(entry.origin, judge::Origin::User(_))).count();
            looks.add("judges", Standing::Ok, format!("{} shipped, {own} of your own", entries.len() - own));
        }
        Err(error) => looks.broken("judges", error),
    }
}

/// A model that nothing uses is no obstacle to any run, whatever it lacks.
async fn models(project: &Project, services: &Services, offline: bool, looks: &mut Looks) {
    let used = used_models(&project.config);
    for (alias, config) in &project.config.models {
        let what = format!("model {alias}");
        let price = project.config.prices.find(&config.model).map_or("price unknown", |_| "price known");
        let answer = match services.model(alias) {
            Err(message) => Err(message),
            Ok(_) if offline => {
                looks.add(&what, Standing::Note, format!("{} not asked (offline); {price}", config.model));
                continue;
            }
            Ok(handle) => handle.client.smoke(&handle.model).await.map_err(|failure| failure.to_string()),
        };
        match answer {
            Ok(answered) => looks.add(&what, Standing::Ok, format!("{answered} answers; {price}")),
            Err(message) if used.contains(alias.as_str()) => looks.broken(&what, message),
            Err(message) => looks.add(&what, Standing::Note, format!("used by nothing yet; {message}")),
        }
    }
}

/// Models that a grader, a target or a sampling plan names.
fn used_models(config: &Config) -> BTreeSet<&str> {
    let suites = || config.suites.values();
    let graders = suites().flat_map(|suite| &suite.graders).flat_map(|grader| match &grader.with {
        GraderUse::Judge { model, others: Others::None, .. } => vec![model.as_str()],
        GraderUse::Judge { model, others: Others::Cascade(cascade), .. } => vec![model.as_str(), &cascade.model],
        GraderUse::Judge { others: Others::Panel(panel), .. } => {
            panel.members.iter().map(|(_, model, _)| model.as_str()).collect()
        }
        GraderUse::Scorer { .. } => Vec::new(),
    });
    let targets = suites().flat_map(|suite| suite.targets.values());
    let targets = targets.filter_map(|target| target.options.get("model")?.as_str());
    let samples = config.samples.values().filter_map(|plan| plan.get("embedder")?.as_str());
    graders.chain(targets).chain(samples).collect()
}
