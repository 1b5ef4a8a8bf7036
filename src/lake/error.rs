//! What can go wrong with a lake.

use std::path::{Path, PathBuf};

use polars::error::PolarsError;

use crate::sys::files::FileError;
use crate::sys::objects::ObjectError;

/// A lake failed.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The folder does not take files.
    #[error("cannot write into lake `{}`: {cause}; make the folder writable or name another lake", folder.display())]
    Unwritable {
        /// The lake.
        folder: PathBuf,
        /// The system's word.
        cause: String,
    },
    /// A part cannot be read.
    #[error("cannot read lake part `{}`: {cause}; if it is damaged, delete it and ingest its traces again", part.display())]
    Unreadable {
        /// The part, or the folder of parts.
        part: PathBuf,
        /// The reader's word.
        cause: String,
    },
    /// A part went away while it was read: something put others in its place over and over.
    #[error("lake part `{}` went away while it was read; try again when no compaction is running", part.display())]
    Moved {
        /// The part.
        part: PathBuf,
    },
    /// Someone else tidies the lake.
    #[error("lake `{}` is being compacted or deleted from by another process; try again when it has finished", folder.display())]
    Busy {
        /// The lake.
        folder: PathBuf,
    },
    /// Someone else tidies the lake in the bucket, or did when it ended badly.
    #[error(
        "the lake is being compacted or deleted from by {by}; try again when it has finished, or, if that process is \
         gone, delete the object `{object}` first"
    )]
    Claimed {
        /// Key of the object that claims it.
        object: String,
        /// What it says.
        by: String,
    },
    /// A query cannot be answered.
    #[error("{0}")]
    Sql(String),
    /// The bucket behind the lake failed.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The folder cannot be listed.
    #[error(transparent)]
    File(#[from] FileError),
    /// No trace has this id.
    #[error("no trace `{wanted}` in lake `{}`; `assize traces ls` lists what there is", folder.display())]
    NoSuchTrace {
        /// What was asked for.
        wanted: String,
        /// The lake.
        folder: PathBuf,
    },
    /// Several traces begin so.
    #[error("`{wanted}` is the beginning of several trace ids ({found}, …); give more digits")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// Some of those found.
        found: String,
    },
}

impl LakeError {
    pub(crate) fn unreadable(part: &Path, cause: &PolarsError) -> Self {
        // The first line says what; the rest is the query plan.
        let cause = cause.to_string();
        let first = cause.lines().next().unwrap_or_default();
        Self::Unreadable { part: part.to_owned(), cause: crate::sys::text::one_line(first, 300) }
    }

    pub(crate) fn unwritable(folder: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Unwritable { folder: folder.to_owned(), cause: cause.to_string() }
    }
}
