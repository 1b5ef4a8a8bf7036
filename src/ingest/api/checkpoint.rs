//! Where a pull stands: what was asked, the place in the pages, the newest trace. One small file per source.
//!
//! Written only after what came before it is kept, so that a pull that was killed asks again for some rows and
//! never loses any; the lake knows what it has. Holds no secret: options name variables, not their values.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Digest;
use crate::sys::files::{self, FileError};

/// Version of the file's form.
const FORMAT: u32 = 1;

/// The place a pull has come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Version of this form.
    pub format: u32,
    /// Platform.
    pub platform: String,
    /// What was asked; another question does not go on from this place.
    pub query: Digest,
    /// Beginning of the window; absent when it is open.
    pub since: Option<Timestamp>,
    /// End of the window.
    pub until: Timestamp,
    /// Where the pager stands; absent when the window is finished.
    pub place: Option<Value>,
    /// Beginning of the newest span that came, in any pull of this question.
    pub newest: Option<Timestamp>,
    /// Rows of this window so far.
    pub rows: u64,
    /// When this was written.
    pub at: Timestamp,
}

/// What a pull sets out to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    pub since: Option<Timestamp>,
    pub until: Timestamp,
    pub place: Option<Value>,
    pub newest: Option<Timestamp>,
    pub rows: u64,
    /// In words.
    pub how: String,
}

/// What decides where to start.
pub(super) struct Asked<'a> {
    pub query: &'a Digest,
    pub since: Option<Timestamp>,
    pub until: Timestamp,
    pub overlap: Duration,
    pub restart: bool,
}

impl Checkpoint {
    /// Reads the file; nothing when there is none. One that cannot be understood counts as none, with the reason:
    /// the pull begins anew, which costs time and loses nothing.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, String> {
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read_text(path).map_err(|error| error.to_string())?;
        match serde_json::from_str::<Self>(&text) {
            Ok(found) if found.format == FORMAT => Ok(Some(found)),
            Ok(found) => Err(format!("the checkpoint has form {}, this program knows {FORMAT}", found.format)),
            Err(error) => Err(format!("the checkpoint is unreadable ({error})")),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), FileError> {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        files::write_atomic(path, text.as_bytes())
    }

    pub(super) fn of(platform: &str, query: Digest, start: &Start, at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            platform: platform.to_owned(),
            query,
            since: start.since,
            until: start.until,
            place: start.place.clone(),
            newest: start.newest,
            rows: start.rows,
            at,
        }
    }
}

impl Start {
    /// Goes on where an interrupted pull stopped, or behind the newest trace of a finished one, or begins anew.
    pub(super) fn decide(found: Result<Option<Checkpoint>, String>, asked: &Asked<'_>) -> Self {
        let anew =
            |how: String| Self { since: asked.since, until: asked.until, place: None, newest: None, rows: 0, how };
        let before = match found {
            _ if asked.restart => return anew("began anew, as asked".to_owned()),
            Err(why) => return anew(format!("began anew: {why}")),
            Ok(None) => return anew("first pull".to_owned()),
            Ok(Some(before)) if before.query != *asked.query => {
                return anew("began anew: what is asked has changed since the last pull".to_owned());
            }
            Ok(Some(before)) => before,
        };
        if let Some(place) = before.place {
            return Self {
                since: before.since,
                until: before.until,
                place: Some(place),
                newest: before.newest,
                rows: before.rows,
                how: format!("resumed after {} rows", before.rows),
            };
        }
        let Some(newest) = before.newest else { return anew("nothing came before; asked again".to_owned()) };
        let from = newest.checked_sub(asked.overlap).unwrap_or(newest);
        Self {
            since: Some(asked.since.map_or(from, |since| since.max(from))),
            newest: Some(newest),
            ..anew(format!("continued from {from}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_start_goes_on_from_what_it_finds() {
        let query = Digest::of(b"q");
        let until = time("2026-11-21T12:00:00Z");
        let asked = Asked { query: &query, since: None, until, overlap: Duration::from_secs(3600), restart: false };
        let first = Start::decide(Ok(None), &asked);
        assert_eq!((first.since, first.until, first.place.is_none()), (None, until, true));
        let newest = Some(time("2026-11-20T10:00:00Z"));
        let cut = Start { place: Some(json!({"cursor": "c"})), newest, rows: 7, ..first };
        let cut = Checkpoint::of("langfuse", query.clone(), &cut, until);
        let later = Asked { until: time("2026-11-22T00:00:00Z"), ..asked };
        let resumed = Start::decide(Ok(Some(cut.clone())), &later);
        assert_eq!((resumed.until, resumed.place, resumed.rows), (until, cut.place.clone(), 7));
        let finished = Checkpoint { place: None, ..cut.clone() };
        let next = Start::decide(Ok(Some(finished.clone())), &later);
        assert_eq!((next.since, next.until), (Some(time("2026-11-20T09:00:00Z")), later.until));
        for (found, asked) in [
            (Ok(Some(finished.clone())), Asked { query: &Digest::of(b"other"), ..later }),
            (Ok(Some(finished)), Asked { restart: true, query: &query, since: None, ..later }),
            (Err("broken".to_owned()), Asked { query: &query, since: None, ..later }),
        ] {
            let start = Start::decide(found, &asked);
            assert_eq!((start.since, start.place), (None, None), "{}", start.how);
            assert!(start.how.starts_with("began anew"), "{}", start.how);
        }
    }

    #[test]
    fn files_come_back_as_they_were_and_others_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints/x.json");
        assert_eq!(Checkpoint::read(&path), Ok(None));
        let until = time("2026-11-21T12:00:00Z");
        let start = Start { since: None, until, place: Some(json!([1])), newest: None, rows: 1, how: String::new() };
        let saved = Checkpoint::of("weave", Digest::of(b"q"), &start, until);
        saved.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path), Ok(Some(saved)));
        std::fs::write(&path, "{").unwrap();
        assert!(Checkpoint::read(&path).unwrap_err().contains("unreadable"));
    }
}
