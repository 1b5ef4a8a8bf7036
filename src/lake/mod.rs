//! The lake: spans in Parquet files, partitioned by day, open to any engine that reads Parquet.
//!
//! `<root>/spans/day=YYYY-MM-DD/part-<digest>.parquet`, one row per span; `schema` documents the columns. The day is
//! that of the root's start in UTC, so a trace lies in one folder; spans that arrive later join their trace's folder
//! when near in time and are joined on reading otherwise. Parts are only ever added, whole or not at all; a span whose
//! content is there is not written again, so ingesting an export twice changes nothing.
//!
//! Knows spans and files. Where spans come from is `ingest`; which traces become examples is `dataset`.

mod bucket;
mod claim;
mod columns;
mod compact;
mod encode;
mod error;
mod filter;
mod list;
mod narrow;
mod parts;
mod query;
mod read;
mod remove;
mod schema;
mod scores;
mod select;
mod settle;
mod stats;
mod views;
mod write;

#[cfg(test)]
mod old_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use compact::Compacted;
pub use error::LakeError;
pub use filter::TraceFilter;
pub use list::TraceRow;
pub use narrow::{NarrowTrace, narrow_dimension};
pub use query::Answer;
pub use read::Traces;
pub use remove::{Removed, Whose};
pub use schema::{ColumnInfo, TABLES, TableInfo, markdown};
pub use stats::LakeStats;

/// A folder of traces. Cheap to make; touches no file until it is used. Reading a lake that does not exist yet finds
/// nothing.
#[derive(Clone, Debug)]
pub struct Lake {
    root: PathBuf,
    /// The bucket that the folder mirrors.
    remote: Option<Arc<bucket::Remote>>,
}

/// What a writing did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Spans written.
    pub added: u64,
    /// Spans left out because they are there with the same content.
    pub already_there: u64,
    /// New files.
    pub parts: Vec<PathBuf>,
}

impl Lake {
    /// The lake in a folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), remote: None }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
