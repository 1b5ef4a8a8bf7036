//! A run made in pieces: which examples stand in a shard, and finished shards put together to one run again.
//!
//! The share of an example is a hash of its id: the same on every machine, whatever the order of the file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::anyhow;

use super::bundles::{self, Exported};
use super::exit::{Done, Failed};
use super::project::World;
use crate::compare::Fold;
use crate::dataset;
use crate::model::{Digest, Event, JournalEntry, RunHeader, RunStatus};
use crate::store::{BUNDLE_FORMAT, Bundle, Manifest};
use crate::sys::{self, files};

/// Tag of a run that is a shard, as `2/8`.
pub const TAG: &str = "assize.shard";
/// Most shards of a run.
const MOST: u32 = 1_000;

/// One of several parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    number: u32,
    of: u32,
}

impl Shard {
    /// Whether an example stands in it.
    pub fn holds(self, seed: u64, example: &str) -> bool {
        // Another key than that of `--limit`, or a limited run would fill its first shards only.
        let unit = dataset::hash_unit(seed ^ 0x5348_4152_4421_0000, example);
        let place = (unit * f64::from(self.of)) as u32;
        place.min(self.of - 1) + 1 == self.number
    }

    /// The shard that a run is, if it is one.
    pub fn of_run(header: &RunHeader) -> Option<Self> {
        header.tags.get(TAG).and_then(|text| text.parse().ok())
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) && of <= MOST => Ok(Self { number, of }),
            _ => Err(format!("expected NUMBER/OF such as `2/8`, at most {MOST}, found `{text}`")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// Puts the bundles of all shards of a run together to one bundle. No database is opened.
pub fn merge(world: &World, shards: &[PathBuf], file: &Path) -> Done<Exported> {
    let file = bundles::check_place(world, file)?;
    let parts: Vec<Bundle> = shards.iter().map(|path| bundles::read(&world.here.join(path))).collect::<Done<_>>()?;
    let named: Vec<(String, &Bundle)> = shards.iter().map(|path| path.display().to_string()).zip(&parts).collect();
    check(&named)?;
    let bundle = put_together(world, &parts)?;
    let bytes = bundle.write().map_err(|error| Failed::usage(anyhow!("the shards make no run: {error}")))?;
    files::write_atomic(&file, &bytes).map_err(Failed::usage)?;
    Ok(Exported {
        run: bundle.manifest.header.id.clone(),
        bytes: bytes.len() as u64,
        digest: Digest::of(&bytes),
        entries: bundle.entries.len() as u64,
        contents: bundle.contents.len() as u64,
        dataset: bundle.manifest.dataset.is_some(),
        file,
    })
}

/// Every shard once, each complete, all of one run.
fn check(parts: &[(String, &Bundle)]) -> Done<()> {
    let usage = |message: String| Err(Failed::usage(anyhow!(message)));
    let [(first_name, first), ..] = parts else { return usage("no shard to merge".to_owned()) };
    let mut seen: Vec<(u32, &str)> = Vec::new();
    let mut all = None;
    for (name, part) in parts {
        let header = &part.manifest.header;
        let Some(shard) = Shard::of_run(header) else {
            return usage(format!("`{name}` is no shard: `assize run --shard 1/4` makes one"));
        };
        if part.manifest.status != RunStatus::Complete {
            let id = header.id.short();
            return usage(format!("`{name}` is not complete; `assize run --resume {id}` goes on with it"));
        }
        if *all.get_or_insert(shard.of) != shard.of {
            return usage(format!("`{name}` is shard {shard}, and `{first_name}` is of another number of shards"));
        }
        if let Some((_, other)) = seen.iter().find(|(number, _)| *number == shard.number) {
            return usage(format!("`{name}` and `{other}` are both shard {shard}"));
        }
        if let Some(what) = differs(&first.manifest.header, header) {
            return usage(format!("`{name}` and `{first_name}` are no shards of one run: {what} differs"));
        }
        seen.push((shard.number, name));
    }
    let missing: Vec<String> = (1..=all.unwrap_or_default())
        .filter(|number| !seen.iter().any(|(other, _)| other == number))
        .map(|number| number.to_string())
        .collect();
    if missing.is_empty() { Ok(()) } else { usage(format!("shards are missing: {}", missing.join(", "))) }
}

/// What keeps two shards from being one run.
fn differs(left: &RunHeader, right: &RunHeader) -> Option<&'static str> {
    let looked = left.until_decided.is_some() || right.until_decided.is_some();
    let found = [
        ("the suite", left.suite != right.suite),
        ("the dataset", (&left.dataset, &left.dataset_digest) != (&right.dataset, &right.dataset_digest)),
        ("the sampling design", left.design != right.design),
        ("the number of trials", left.trials != right.trials),
        ("the target", left.target != right.target),
        ("a grader", left.graders != right.graders),
        ("the seed", left.seed != right.seed),
        ("the price table", left.price_digest != right.price_digest),
        ("the version of assize", left.tool_version != right.tool_version),
        ("the commit", left.git_commit != right.git_commit),
        ("whether it stops when it is decided", looked),
    ];
    found.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what)
}

fn put_together(world: &World, parts: &[Bundle]) -> Done<Bundle> {
    let none = || Failed::usage(anyhow!("no shard to merge"));
    let first = parts.iter().min_by_key(|part| part.manifest.header.created_at).ok_or_else(none)?;
    let mut header = first.manifest.header.clone();
    header.id = sys::new_run_id(world.clock.as_ref());
    header.tags.remove(TAG);
    header.examples = parts.iter().map(|part| part.manifest.header.examples).sum();
    header.example_blobs = parts.iter().flat_map(|part| part.manifest.header.example_blobs.clone()).collect();
    // What happened, in the order in which it did; beginnings and ends of the shards are none of the whole.
    let mut happened: Vec<&JournalEntry> =
        parts.iter().flat_map(|part| &part.entries).filter(|entry| is_work(entry)).collect();
    happened.sort_by_key(|entry| entry.at);
    let last = parts.iter().flat_map(|part| part.entries.last()).map(|entry| entry.at).max();
    let started = Event::RunStarted { header: Box::new(header.clone()) };
    let mut entries = vec![JournalEntry { seq: 0, at: header.created_at, event: started }];
    entries.extend(happened.into_iter().cloned());
    let mut fold = Fold::new();
    for (seq, entry) in entries.iter_mut().enumerate() {
        entry.seq = seq as u64;
        fold.push(entry.clone()).map_err(Failed::instrument)?;
    }
    let totals = fold.totals().cloned().unwrap_or_default();
    let finished = Event::RunFinished { totals: totals.clone(), complete: true };
    let at = last.unwrap_or(header.created_at);
    entries.push(JournalEntry { seq: entries.len() as u64, at, event: finished });
    let manifest = Manifest {
        format: BUNDLE_FORMAT,
        dataset: first.manifest.dataset.clone(),
        blessing: None,
        header,
        status: RunStatus::Complete,
        totals: Some(totals),
    };
    let contents = parts.iter().flat_map(|part| part.contents.clone()).collect();
    Ok(Bundle { manifest, entries, contents })
}

fn is_work(entry: &JournalEntry) -> bool {
    matches!(entry.event, Event::AttemptFailed { .. } | Event::TargetFinished { .. } | Event::ScoreFinished { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_stands_in_exactly_one_shard() {
        let shards: Vec<Shard> = (1..=4).map(|number| Shard { number, of: 4 }).collect();
        let mut sizes = [0_u32; 4];
        for example in 0..2000 {
            let id = format!("q-{example}");
            let holders: Vec<usize> = (0..4).filter(|at| shards[*at].holds(7, &id)).collect();
            assert_eq!(holders.len(), 1, "{id}");
            sizes[holders[0]] += 1;
        }
        assert!(sizes.iter().all(|size| (400..600).contains(size)), "{sizes:?}");
    }

    #[test]
    fn words_for_shards() {
        assert_eq!("2/8".parse::<Shard>().unwrap().to_string(), "2/8");
        for odd in ["0/4", "5/4", "1/0", "1", "a/b", "1/2/3", "-1/4", "1/100000"] {
            assert!(odd.parse::<Shard>().is_err(), "{odd}");
        }
    }
}
