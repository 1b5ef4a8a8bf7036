//! The store: append-only journals of runs, outputs by content, baselines, the audit trail, the outbox.
//!
//! Two back ends behind one trait, one battery of conformance tests for both. Knows events, not what they mean;
//! no finding already written is ever changed.

mod audit;
mod bundle;
mod migrate;
mod outbox;
mod postgres;
mod rows;
mod shelf;
mod sql;
mod sqlite;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, JournalEntry, RunHeader, RunId, RunStatus, RunTotals};

pub use audit::{AuditCheck, AuditEntry, AuditRecord};
pub use bundle::{BUNDLE_FORMAT, Bundle, BundleError, BundleLine, Manifest};
pub use outbox::{OutboxAdded, OutboxEntry, OutboxMark, OutboxPut, OutboxState};
pub use shelf::Shelf;

/// A run as the store lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// What defines it.
    pub header: RunHeader,
    /// How it stands, from its last event.
    pub status: RunStatus,
    /// Counts of its last `run_finished`; `None` while it never finished.
    pub totals: Option<RunTotals>,
}

/// A baseline: which run a suite is compared with, and by whose word. Blessings are appended; the latest holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// Suite.
    pub suite: String,
    /// Run.
    pub run: RunId,
    /// Who blessed it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// The store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be reached or opened.
    #[error("cannot open store `{place}`: {cause}")]
    Open {
        /// Where, without password.
        place: String,
        /// The driver's word.
        cause: String,
    },
    /// An operation failed.
    #[error("store failed to {action}: {cause}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The driver's word.
        cause: String,
    },
    /// A cell or number was already journaled by someone else.
    #[error("run `{run}` is being written by another process; stop that one or wait for it")]
    Conflict {
        /// The run.
        run: RunId,
    },
    /// What is stored cannot be read.
    #[error("stored {what} cannot be read: {cause}; it may have been written by a newer version")]
    Unreadable {
        /// What.
        what: String,
        /// Why.
        cause: String,
    },
    /// No such run.
    #[error("no run `{wanted}` in the store{hint}")]
    NoSuchRun {
        /// What was asked for.
        wanted: String,
        /// What there is instead.
        hint: String,
    },
}

/// Keeps runs. Every method is safe to call from several processes at once.
#[async_trait]
pub trait Store: Send + Sync {
    /// Appends entries of one run in one transaction; all or none. The first entry of a run is `run_started`.
    /// A number or a cell that is already there is a [`StoreError::Conflict`].
    async fn append(&self, run: &RunId, entries: &[JournalEntry]) -> Result<(), StoreError>;

    /// Entries with `seq >= from`, in order, at most `limit`.
    async fn replay(&self, run: &RunId, from: u64, limit: u32) -> Result<Vec<JournalEntry>, StoreError>;

    /// Keeps contents by digest ([`Digest::of`] of the bytes); those already there stay.
    async fn put_blobs(&self, blobs: &[(Digest, Vec<u8>)]) -> Result<(), StoreError>;

    /// One content.
    async fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// Runs, newest first, of one suite or of all.
    async fn runs(&self, suite: Option<&str>, limit: u32) -> Result<Vec<RunSummary>, StoreError>;

    /// The run with this id, or the only one whose id ends or begins with the text (at least 4 characters).
    async fn find_run(&self, wanted: &str) -> Result<RunSummary, StoreError>;

    /// Takes the right to write a run until `until`; `false` when another holder has it and `now` is before its end.
    async fn claim(&self, run: &RunId, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool, StoreError>;

    /// Gives the right back.
    async fn release(&self, run: &RunId, holder: &str) -> Result<(), StoreError>;

    /// Appends a blessing.
    async fn bless(&self, baseline: &Baseline) -> Result<(), StoreError>;

    /// The latest blessing of a suite.
    async fn baseline(&self, suite: &str) -> Result<Option<Baseline>, StoreError>;

    /// All blessings of a suite, latest first.
    async fn blessings(&self, suite: &str) -> Result<Vec<Baseline>, StoreError>;

    /// Appends to the audit trail; gives the record with its place in the chain.
    async fn audit(&self, entry: &AuditEntry) -> Result<AuditRecord, StoreError>;

    /// Records of the audit trail with `seq >= from` (the first is 1), in order, at most `limit`.
    async fn audit_trail(&self, from: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;

    /// Reckons the whole chain again. A trail cut off at its end still fits: only a head noted elsewhere shows that.
    async fn audit_verify(&self) -> Result<AuditCheck, StoreError> {
        let mut chain = audit::Chain::default();
        loop {
            let page = self.audit_trail(chain.next_seq(), audit::PAGE).await?;
            let done = page.len() < audit::PAGE as usize;
            for record in page {
                chain.push(&record);
            }
            if done || chain.is_broken() {
                return Ok(chain.finish());
            }
        }
    }

    /// Puts entries into the outbox of a place: new ones and changed ones wait to be sent, others stay as they are.
    async fn outbox_put(&self, sink: &str, entries: &[OutboxPut], now: Timestamp) -> Result<OutboxAdded, StoreError>;

    /// Entries of a place in one state, the oldest change first, at most `limit`.
    async fn outbox_list(&self, sink: &str, state: OutboxState, limit: u32) -> Result<Vec<OutboxEntry>, StoreError>;

    /// One entry.
    async fn outbox_get(&self, sink: &str, key: &str) -> Result<Option<OutboxEntry>, StoreError>;

    /// Says what became of entries that were tried.
    async fn outbox_mark(&self, sink: &str, marks: &[OutboxMark], now: Timestamp) -> Result<(), StoreError>;

    /// Lets what was turned away wait again; says how many.
    async fn outbox_again(&self, sink: &str) -> Result<u64, StoreError>;

    /// Counts the entries of a place by state.
    async fn outbox_count(&self, sink: &str) -> Result<Vec<(OutboxState, u64)>, StoreError>;

    /// Ends all connections in good order. Dropping the store loses nothing, but may leave SQLite's side files.
    async fn close(&self) {}
}

/// Opens a store and brings its schema up to date: `sqlite:PATH`, a bare path, or `postgres://...`.
///
/// A SQLite file and its folder are made when they are not there, readable by their owner only. Postgres tables live
/// in the schema `assize`, or the one named by `?schema=NAME` in the address. A store written by a newer version is
/// refused. Errors never show the password.
pub async fn open(place: &str) -> Result<Arc<dyn Store>, StoreError> {
    if place.starts_with("postgres://") || place.starts_with("postgresql://") {
        return Ok(Arc::new(postgres::PostgresStore::open(place).await?));
    }
    let path = match place.strip_prefix("sqlite:") {
        Some(path) => path.strip_prefix("//").unwrap_or(path),
        None => place,
    };
    let refuse = |cause: &str| StoreError::Open { place: postgres::without_password(place), cause: cause.to_owned() };
    if path.is_empty() {
        return Err(refuse("it names no file; write `sqlite:PATH`"));
    }
    if path.contains("://") {
        return Err(refuse("it is neither a path nor `sqlite:PATH` nor `postgres://...`"));
    }
    Ok(Arc::new(sqlite::SqliteStore::open(Path::new(path)).await?))
}
