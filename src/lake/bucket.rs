//! A lake in a bucket: a folder here that mirrors it, part by part.
//!
//! Parts never change and are named by their content, so a part is either here or not. Before days are read, those of
//! their parts that are missing are fetched and those that the bucket has no more are dropped. A new part is in the
//! bucket before it is here, so a mirror never holds what the bucket does not, and may be deleted at any time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;

use crate::sys::files;
use crate::sys::objects::{Object, ObjectError, Objects, wait};

use super::parts::{Table, date_of};
use super::{Lake, LakeError};

/// Parts fetched at once.
const TOGETHER: usize = 8;

/// The bucket behind a lake.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(super) objects: Objects,
    /// Before every key; empty or ending with a slash.
    pub(super) prefix: String,
}

impl Lake {
    /// The lake under a prefix of a bucket, mirrored in a folder.
    pub fn in_bucket(mirror: impl Into<PathBuf>, objects: Objects, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { root: mirror.into(), remote: Some(Arc::new(Remote { objects, prefix })) }
    }

    /// Finds out whether the bucket answers; fetches nothing.
    ///
    /// # Errors
    /// When it does not.
    pub fn reach(&self) -> Result<(), LakeError> {
        self.pull(Table::Spans, Some(Date::MAX), Some(Date::MIN))
    }

    /// Makes the mirror hold what the bucket has of these days.
    pub(super) fn pull(&self, table: Table, first: Option<Date>, last: Option<Date>) -> Result<(), LakeError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let within = |date: Date| first.is_none_or(|first| first <= date) && last.is_none_or(|last| date <= last);
        let folder = self.root.join(table.name());
        let head = format!("{}{}/", remote.prefix, table.name());
        let listed = self.remotely(remote.objects.list(&head))?;
        let mut there = BTreeSet::new();
        let mut missing = Vec::new();
        for object in listed {
            let Some(path) = place(&folder, object.key.get(head.len()..).unwrap_or_default(), within) else { continue };
            if path.metadata().map(|meta| meta.len()).ok() != Some(object.size) {
                missing.push((object, path.clone()));
            }
            there.insert(path);
        }
        self.remotely(fetch(&remote.objects, missing))?;
        for day in files::list_folder(&folder)?.into_iter().filter(|day| date_of(day).is_some_and(within)) {
            for part in files::list_folder(&day)? {
                if part.extension().is_some_and(|end| end == "parquet") && !there.contains(&part) {
                    discard(&part)?;
                }
            }
        }
        Ok(())
    }

    /// Puts a part that is not in its place yet into the bucket; nothing for a lake in a folder.
    pub(super) fn push(&self, part: &Path, file: &Path) -> Result<(), LakeError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let bytes = files::read_bytes(file)?;
        self.remotely(remote.objects.put(&self.key(remote, part), bytes.into())).map(|_| ())
    }

    /// Removes a part, from the bucket first.
    pub(super) fn retire(&self, part: &Path) -> Result<(), LakeError> {
        if let Some(remote) = &self.remote {
            self.remotely(remote.objects.remove(&self.key(remote, part)))?;
        }
        discard(part)
    }

    fn key(&self, remote: &Remote, part: &Path) -> String {
        let inside = part.strip_prefix(&self.root).unwrap_or(part);
        let steps: Vec<_> = inside.iter().map(|step| step.to_string_lossy()).collect();
        format!("{}{}", remote.prefix, steps.join("/"))
    }

    pub(super) fn remotely<T>(&self, work: impl Future<Output = Result<T, ObjectError>>) -> Result<T, LakeError> {
        Ok(wait(work).map_err(|error| LakeError::unwritable(&self.root, error))??)
    }
}

async fn fetch(objects: &Objects, missing: Vec<(Object, PathBuf)>) -> Result<(), ObjectError> {
    let fetched = missing.into_iter().map(|(object, path)| async move {
        match objects.fetch(&object, &path).await {
            // A compaction removed it after the list was made; its spans are in another part of a later list.
            Err(error) if error.is_missing() => Ok(()),
            done => done,
        }
    });
    futures::stream::iter(fetched).buffer_unordered(TOGETHER).try_collect().await
}

fn discard(part: &Path) -> Result<(), LakeError> {
    match std::fs::remove_file(part) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(files::FileError::new("delete", part, cause).into())
        }
        _ => Ok(()),
    }
}

/// Where an object belongs in the mirror; `None` when it is no part of these days. Keys are foreign: only names that
/// this program could have made become paths.
fn place(folder: &Path, key: &str, within: impl Fn(Date) -> bool) -> Option<PathBuf> {
    let (day, name) = key.split_once('/')?;
    let stem = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    let plain = !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let folder = folder.join(day);
    (plain && !day.contains(['\\', ':']) && date_of(&folder).is_some_and(within)).then(|| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_parts_become_paths() {
        let place = |key: &str| place(Path::new("m"), key, |_| true).map(|path| path.display().to_string());
        assert_eq!(place("day=2026-11-21/part-0a.parquet").as_deref(), Some("m/day=2026-11-21/part-0a.parquet"));
        for key in [
            "part-0a.parquet",
            "day=2026-11-21/../part-0a.parquet",
            "day=2026-11-21/part-../x.parquet",
            "../part-0a.parquet",
            "day=x/part-0a.parquet",
            "day=2026-11-21/part-.parquet",
            "day=2026-11-21/other.parquet",
        ] {
            assert_eq!(place(key), None, "{key}");
        }
    }
}
