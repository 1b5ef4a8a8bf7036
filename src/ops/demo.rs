//! `assize demo`: the whole loop on data that ships with the program. No key, no network.
//!
//! It writes a project like any user's and runs the same use cases on it; nothing in it is special but the recorded
//! answers of the judge.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::compare::{self, Compared};
use super::exit::{Done, Failed};
use super::ingest::{self, IngestReport};
use super::project::{Project, World};
use super::run::{self, How, RunDone, Watch};
use super::sample::{self, SampleReport};
use crate::sys::files;

const FILES: &[(&str, &[u8])] = &[
    ("assize.toml", include_bytes!("../../datasets/demo/assize.toml")),
    ("traces-1.8.jsonl.gz", include_bytes!("../../datasets/demo/traces-1.8.jsonl.gz")),
    ("traces-2.0.jsonl.gz", include_bytes!("../../datasets/demo/traces-2.0.jsonl.gz")),
];

/// Recorded answers of the judge; unpacked, because a cassette is read line by line in any order.
const CASSETTE: &[u8] = include_bytes!("../../datasets/demo/cassette.jsonl.gz");

/// What the demo did, step by step.
pub struct Demo {
    /// Folder of the project.
    pub folder: PathBuf,
    /// Traces read.
    pub ingested: IngestReport,
    /// Dataset made.
    pub sampled: SampleReport,
    /// Both runs, baseline first.
    pub runs: Vec<RunDone>,
    /// The comparison.
    pub compared: Compared,
    /// The HTML report.
    pub report: PathBuf,
}

/// Runs the demo in a folder; one left by an earlier demo is used again.
pub async fn demo(world: &World, folder: &Path, watch: &Watch<'_>) -> Done<Demo> {
    let folder = world.here.join(folder);
    let report = folder.join("report.html");
    for (name, bytes) in FILES {
        files::write_atomic(&folder.join(name), bytes).map_err(Failed::usage)?;
    }
    let mut cassette = Vec::new();
    GzDecoder::new(CASSETTE).read_to_end(&mut cassette).map_err(Failed::instrument)?;
    files::write_atomic(&folder.join("cassette.jsonl"), &cassette).map_err(Failed::usage)?;
    let project = Project::find(Some(&folder.join("assize.toml")), &folder)?;
    // The demo is the same for everyone: a store named in the environment is somebody's own.
    let world = World { env: Default::default(), here: folder.clone(), ..world.clone() };
    let sources = FILES.iter().map(|(name, _)| *name).filter(|name| name.starts_with("traces"));
    let ask = ingest::Ask { sources: sources.map(str::to_owned).collect(), ..ingest::Ask::default() };
    let ingested = ingest::ingest(&project, &world, ask, &|_| {}, &|_| {}).await?;
    let ask = sample::Ask {
        name: "support".to_owned(),
        key: Some("ticket.id".to_owned()),
        variant: Some("service.version".to_owned()),
        stratify: vec!["ticket.intent".to_owned()],
        dimensions: vec!["customer.tier".to_owned(), "ticket.channel".to_owned()],
        // What ships is whole, whatever the clock says.
        include_open: true,
        ..sample::Ask::default()
    };
    let sampled = sample::sample(&project, &world, ask).await?;
    let mut runs = Vec::new();
    for target in ["v1.8", "v2.0"] {
        let how = How { target: Some(target.to_owned()), ..How::default() };
        let ask = run::Ask { suite: Some("support".to_owned()), how, ..run::Ask::default() };
        runs.push(run::run(&project, &world, ask, watch).await?);
    }
    let ids: Vec<String> = runs.iter().filter_map(|done| done.run.as_ref().map(ToString::to_string)).collect();
    let [baseline, candidate] = ids.as_slice() else {
        return Err(Failed::instrument(anyhow::anyhow!("the demo's runs were not journaled")));
    };
    let reports = [format!("html={}", report.display())];
    let ask = compare::Ask { baseline, candidate, suite: Some("support"), allow: &[], reports: &reports };
    let compared = compare::compare(&project, &world, ask).await?;
    Ok(Demo { folder, ingested, sampled, runs, compared, report })
}
