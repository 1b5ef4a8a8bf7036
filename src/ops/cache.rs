//! `assize cache`: what the cache of answers holds, and taking a part of it out.
//!
//! The cache names askers by digest. Their names come from the runs of the store and from the judges of today; an asker
//! that neither knows has no name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::anyhow;
use serde::Serialize;

use super::exit::{Done, Failed};
use super::project::{Project, World};
use crate::model::GraderKind;
use crate::provider::{CacheChoice, CacheShare, CacheStats, Pruned, ReplyCache};
use crate::sys::moment;

/// Runs that are looked through for names, the newest.
const RUNS: u32 = 10_000;

/// What the cache holds.
#[derive(Debug, Serialize)]
pub struct Held {
    /// The file.
    pub path: PathBuf,
    /// Bytes of the file and its log on the disk.
    pub file_bytes: u64,
    /// Totals.
    #[serde(flatten)]
    pub stats: CacheStats,
    /// By who asked and which model was asked, the largest first.
    pub shares: Vec<Share>,
}

/// What one asker has of one model.
#[derive(Debug, Serialize)]
pub struct Share {
    /// The judge or target with its version, as runs name it; `None` when no run knows it.
    pub asker: Option<String>,
    /// Its digest; `None` in files of older programs.
    pub digest: Option<String>,
    /// The model.
    pub model: String,
    /// How much.
    #[serde(flatten)]
    pub stats: CacheStats,
}

/// Which answers are taken out, as typed.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Age such as `30d`, or a moment.
    pub older_than: Option<String>,
    /// Size the cache may have, such as `200MB`.
    pub max_size: Option<String>,
    /// Judge or target by name.
    pub judge: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// All there is.
    pub all: bool,
}

/// What the cache holds.
pub async fn held(project: &Project, world: &World) -> Done<Held> {
    let path = project.path(&project.config.cache);
    let file_bytes = ["", "-wal"].iter().filter_map(|end| size_of(&path, end)).sum();
    let Some(cache) = open(project, world).await? else {
        return Ok(Held { path, file_bytes, stats: CacheStats::default(), shares: Vec::new() });
    };
    let names = names(project, world).await?;
    let stats = cache.stats().await.map_err(Failed::instrument)?;
    let share = |found: CacheShare| Share {
        asker: found.asker.as_ref().and_then(|digest| names.get(digest)).map(|(name, version)| match version {
            Some(version) => format!("{name} {version}"),
            None => name.clone(),
        }),
        digest: found.asker,
        model: found.model,
        stats: found.stats,
    };
    let shares = cache.shares().await.map_err(Failed::instrument)?.into_iter().map(share).collect();
    Ok(Held { path, file_bytes, stats, shares })
}

/// Takes the chosen answers out; only counts them when not `really`.
pub async fn prune(project: &Project, world: &World, choice: Choice, really: bool) -> Done<Pruned> {
    let before = choice.older_than.map(|text| moment("--older-than", &text, world.clock.now()));
    let before = before.transpose().map_err(|message| Failed::usage(anyhow!(message)))?;
    let keep_bytes = choice.max_size.map(|text| bytes(&text)).transpose()?;
    let askers = match &choice.judge {
        Some(name) => Some(digests(project, world, name).await?),
        None => None,
    };
    if before.is_none() && keep_bytes.is_none() && askers.is_none() && choice.model.is_none() && !choice.all {
        return Err(Failed::usage(anyhow!(
            "say what to take out: `--older-than 30d`, `--max-size 200MB`, `--judge NAME`, `--model NAME` or `--all`"
        )));
    }
    let Some(cache) = open(project, world).await? else { return Ok(Pruned { done: really, ..Pruned::default() }) };
    let choice = CacheChoice { before, askers, model: choice.model, keep_bytes };
    cache.prune(&choice, really).await.map_err(Failed::instrument)
}

/// The cache, where there is one: looking makes none.
async fn open(project: &Project, world: &World) -> Done<Option<ReplyCache>> {
    let path = project.path(&project.config.cache);
    if !path.exists() {
        return Ok(None);
    }
    ReplyCache::open(&path, world.clock.clone()).await.map(Some).map_err(Failed::instrument)
}

fn size_of(path: &std::path::Path, end: &str) -> Option<u64> {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    std::fs::metadata(name).ok().map(|found| found.len())
}

/// Judges and targets of the stored runs by digest, each with its version.
async fn names(project: &Project, world: &World) -> Done<BTreeMap<String, (String, Option<String>)>> {
    let store = project.store(&world.env).await?;
    let mut names = BTreeMap::new();
    for run in store.runs(None, RUNS).await.map_err(Failed::instrument)? {
        let header = run.header;
        names.insert(header.target.digest.as_str().to_owned(), (header.target.name, None));
        for grader in header.graders.into_iter().filter(|grader| grader.kind == GraderKind::Judge) {
            names.insert(grader.digest.as_str().to_owned(), (grader.component, Some(grader.version)));
        }
    }
    Ok(names)
}

/// All digests under which a judge or target asked.
async fn digests(project: &Project, world: &World, name: &str) -> Done<Vec<String>> {
    let names = names(project, world).await?;
    let found: Vec<String> =
        names.iter().filter(|(_, (known, _))| known == name).map(|(digest, _)| digest.clone()).collect();
    if found.is_empty() {
        let mut known: Vec<&str> = names.values().map(|(name, _)| name.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        let known = if known.is_empty() { "there is no run".to_owned() } else { known.join(", ") };
        return Err(Failed::usage(anyhow!("no run has a judge or target `{name}`; known: {known}")));
    }
    Ok(found)
}

/// Reads a size: a whole number of bytes, or with `kB`, `MB` or `GB`.
fn bytes(text: &str) -> Done<u64> {
    let typed = text.trim();
    let digits = typed.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let unit = match typed.get(digits.len()..).unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kb" => Some(1_000),
        "m" | "mb" => Some(1_000_000),
        "g" | "gb" => Some(1_000_000_000),
        _ => None,
    };
    let number = digits.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.zip(unit).map(|(number, unit)| (number * f64::from(unit)) as u64).ok_or_else(|| {
        Failed::usage(anyhow!("`--max-size` is `{typed}`; expected bytes, or a number with `kB`, `MB` or `GB`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_all_their_forms() {
        let read = |text: &str| bytes(text).ok();
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("1500"), Some(1_500));
        assert_eq!(read("1.5 kB"), Some(1_500));
        assert_eq!(read("200MB"), Some(200_000_000));
        assert_eq!(read("2g"), Some(2_000_000_000));
        for wrong in ["", "MB", "-1", "1TB", "1e999", "NaN", "five"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
