//! `assize bundle`: finished runs as files, and files in the place of runs wherever a run is named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use serde::Serialize;

use super::datasets;
use super::exit::{Done, Failed};
use super::outputs::plain_file;
use super::project::{Project, World};
use super::refs::find_run;
use super::trail;
use crate::model::{Digest, Event, JournalEntry, RunHeader, RunId, RunStatus, TargetOutcome};
use crate::store::{BUNDLE_FORMAT, Baseline, Bundle, Manifest, Shelf, Store};
use crate::sys::files;

/// Ending of the names of bundles.
pub const ENDING: &str = "assize";
/// Entries read at once.
const PAGE: u32 = 5_000;
/// Contents kept at once.
const BATCH: usize = 256;

/// A bundle written.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// Run.
    pub run: RunId,
    /// File.
    pub file: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Digest of the file.
    pub digest: Digest,
    /// Entries of the journal.
    pub entries: u64,
    /// Contents: examples and outputs.
    pub contents: u64,
    /// Whether the dataset's manifest is in it.
    pub dataset: bool,
}

/// A bundle taken into the store.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// Run.
    pub run: RunId,
    /// Suite.
    pub suite: String,
    /// Entries of the journal.
    pub entries: u64,
    /// Whether the store had the run already.
    pub already: bool,
    /// The blessing that the file tells of. It moves no baseline: only `bless` does.
    pub blessing: Option<Baseline>,
}

/// Writes a finished run to a file.
pub async fn export(
    project: &Project,
    world: &World,
    wanted: &str,
    suite: Option<&str>,
    file: &Path,
) -> Done<Exported> {
    let file = check_place(world, file)?;
    let store = project.store(&world.env).await?;
    let id = find_run(project, store.as_ref(), wanted, suite).await?;
    let bundle = gather(project, store.as_ref(), &id).await?;
    let bytes = bundle.write().map_err(|error| Failed::usage(anyhow!("run `{}`: {error}", id.short())))?;
    files::write_atomic(&file, &bytes).map_err(Failed::usage)?;
    Ok(Exported {
        run: id,
        bytes: bytes.len() as u64,
        digest: Digest::of(&bytes),
        entries: bundle.entries.len() as u64,
        contents: bundle.contents.len() as u64,
        dataset: bundle.manifest.dataset.is_some(),
        file,
    })
}

/// Finds out whether a bundle could be written there, before anything is spent.
pub(super) fn check_place(world: &World, file: &Path) -> Done<PathBuf> {
    let file = world.here.join(file);
    plain_file(&file)?;
    files::check_writable(&file).map_err(Failed::usage)?;
    Ok(file)
}

/// Reads a run whole: journal, examples, outputs.
async fn gather(project: &Project, store: &dyn Store, id: &RunId) -> Done<Bundle> {
    let summary = store.find_run(id.as_str()).await.map_err(Failed::instrument)?;
    if summary.status == RunStatus::Open {
        return Err(Failed::usage(anyhow!(
            "run `{0}` is not finished, so it makes no bundle; go on with `assize run --resume {0}`",
            id.short()
        )));
    }
    let entries = journal(store, id).await?;
    let mut bundle = Bundle {
        manifest: Manifest {
            format: BUNDLE_FORMAT,
            dataset: dataset_of(project, &summary.header),
            blessing: blessing_of(store, &summary.header).await?,
            header: summary.header,
            status: summary.status,
            totals: summary.totals,
        },
        entries,
        contents: Default::default(),
    };
    for digest in named(&bundle) {
        let bytes = store.get_blob(&digest).await.map_err(Failed::instrument)?;
        let bytes = bytes.ok_or_else(|| Failed::instrument(anyhow!("the store lacks `{digest}` of run `{id}`")))?;
        bundle.contents.insert(digest, bytes);
    }
    Ok(bundle)
}

async fn journal(store: &dyn Store, id: &RunId) -> Done<Vec<JournalEntry>> {
    let mut entries = Vec::new();
    loop {
        let page = store.replay(id, entries.len() as u64, PAGE).await.map_err(Failed::instrument)?;
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}

/// Digests that a run refers to.
fn named(bundle: &Bundle) -> Vec<Digest> {
    let outputs = bundle.entries.iter().filter_map(|entry| match &entry.event {
        Event::TargetFinished { outcome: TargetOutcome::Output { digest, .. }, .. } => Some(digest.clone()),
        _ => None,
    });
    bundle.manifest.header.example_blobs.iter().cloned().chain(outputs).collect()
}

/// The manifest of the dataset version a run was made on, where it is here and still the same.
fn dataset_of(project: &Project, header: &RunHeader) -> Option<crate::model::DatasetHeader> {
    let reader = datasets::open(project, &header.dataset).ok()?;
    Some(reader.header().clone()).filter(|found| found.digest == header.dataset_digest)
}

/// The latest blessing of a run.
pub(super) async fn blessing_of(store: &dyn Store, header: &RunHeader) -> Done<Option<Baseline>> {
    let all = store.blessings(&header.suite).await.map_err(Failed::instrument)?;
    Ok(all.into_iter().find(|blessing| blessing.run == header.id))
}

/// Takes a bundle into the store. The same one again changes nothing.
pub async fn import(project: &Project, world: &World, file: &Path) -> Done<Imported> {
    let bundle = read(&world.here.join(file))?;
    let store = project.store(&world.env).await?;
    let header = bundle.manifest.header.clone();
    let already = there(store.as_ref(), &bundle).await?;
    if !already {
        let contents: Vec<(Digest, Vec<u8>)> = bundle.contents.into_iter().collect();
        for batch in contents.chunks(BATCH) {
            store.put_blobs(batch).await.map_err(Failed::instrument)?;
        }
        // The journal last and at once: a run is in the store whole or not at all.
        store.append(&header.id, &bundle.entries).await.map_err(Failed::instrument)?;
        let detail = format!("suite {}, target {}, {}", header.suite, header.target.name, header.dataset);
        let actor = trail::actor(project, world);
        trail::record(store.as_ref(), world, &actor, "import", header.id.as_str(), &detail).await?;
    }
    let entries = bundle.entries.len() as u64;
    Ok(Imported { run: header.id, suite: header.suite, entries, already, blessing: bundle.manifest.blessing })
}

/// Whether the store has the run of a bundle already; another run under the same id is an error.
async fn there(store: &dyn Store, bundle: &Bundle) -> Done<bool> {
    let id = &bundle.manifest.header.id;
    let found = store.replay(id, 0, 1).await.map_err(Failed::instrument)?;
    if found.is_empty() {
        return Ok(false);
    }
    if journal(store, id).await? == bundle.entries {
        return Ok(true);
    }
    Err(Failed::usage(anyhow!("the store has another journal under the id of run `{id}`; nothing was changed")))
}

/// Reads and checks a bundle.
pub(super) fn read(file: &Path) -> Done<Bundle> {
    let bytes = files::read_bytes(file).map_err(Failed::usage)?;
    Bundle::read(&bytes).map_err(|error| Failed::usage(anyhow!("bundle `{}`: {error}", file.display())))
}

/// What the bundles of a folder hold, those first whose names sort last; a broken one is told and left out.
pub(super) fn shelf_of(folder: &Path, warnings: &mut Vec<String>) -> Done<Vec<(PathBuf, Manifest)>> {
    if !folder.is_dir() {
        return Err(Failed::usage(anyhow!("no folder `{}`; `--bundles` names one", folder.display())));
    }
    let mut found = Vec::new();
    for file in files::list_folder(folder).map_err(Failed::usage)?.into_iter().rev() {
        if file.extension().is_none_or(|ending| ending != ENDING) {
            continue;
        }
        let bytes = files::read_bytes(&file).map_err(Failed::usage)?;
        match Bundle::peek(&bytes) {
            Ok(manifest) => found.push((file, manifest)),
            Err(error) => warnings.push(format!("bundle `{}` is left out: {error}", file.display())),
        }
    }
    Ok(found)
}

/// A file as people know it: from where they are, since what is told of it stands in comments and reports.
pub(super) fn shown(file: &Path, world: &World) -> String {
    file.strip_prefix(&world.here).unwrap_or(file).display().to_string()
}

/// The file that a word for a run means: one that ends in `.assize`, or a path to a file that is there.
pub(super) fn path_of(word: &str, world: &World) -> Option<PathBuf> {
    let path = world.here.join(word);
    let ends = path.extension().is_some_and(|ending| ending == ENDING);
    (ends || (word.contains('/') && path.is_file())).then_some(path)
}

/// The store in which runs are found, some of which may be files, and the words that name them there. Where all are
/// files, no database is opened or made.
pub(super) async fn open(project: &Project, world: &World, words: &[&str]) -> Done<(Arc<dyn Store>, Vec<String>)> {
    let mut bundles: Vec<Bundle> = Vec::new();
    let mut names = Vec::new();
    for word in words {
        match path_of(word, world) {
            Some(file) => {
                let bundle = read(&file)?;
                names.push(bundle.manifest.header.id.as_str().to_owned());
                bundles.push(bundle);
            }
            None => names.push((*word).to_owned()),
        }
    }
    if bundles.is_empty() {
        return Ok((project.store(&world.env).await?, names));
    }
    let behind = if bundles.len() < words.len() { Some(project.store(&world.env).await?) } else { None };
    Ok((Arc::new(Shelf::new(bundles, behind)), names))
}
