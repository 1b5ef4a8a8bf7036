//! A store of bundles that were read, before another store or none: runs out of files, compared without a database.
//!
//! Only reads come from the bundles. What is written goes to the store behind, and is refused where there is none.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::audit::{AuditEntry, AuditRecord};
use super::{
    Baseline, Bundle, OutboxAdded, OutboxEntry, OutboxMark, OutboxPut, OutboxState, RunSummary, Store, StoreError,
};
use crate::model::{Digest, JournalEntry, RunId};

/// Bundles in memory, with the store behind them.
pub struct Shelf {
    bundles: Vec<Bundle>,
    behind: Option<Arc<dyn Store>>,
}

impl Shelf {
    /// Puts bundles before a store.
    pub fn new(bundles: Vec<Bundle>, behind: Option<Arc<dyn Store>>) -> Self {
        Self { bundles, behind }
    }

    fn bundle(&self, run: &RunId) -> Option<&Bundle> {
        self.bundles.iter().find(|bundle| bundle.manifest.header.id == *run)
    }

    fn behind(&self, action: &'static str) -> Result<&dyn Store, StoreError> {
        let cause = || "only bundles are open, and no store".to_owned();
        self.behind.as_deref().ok_or_else(|| StoreError::Failed { action, cause: cause() })
    }
}

#[async_trait]
impl Store for Shelf {
    async fn append(&self, run: &RunId, entries: &[JournalEntry]) -> Result<(), StoreError> {
        match self.bundle(run) {
            Some(_) => Err(StoreError::Conflict { run: run.clone() }),
            None => self.behind("write")?.append(run, entries).await,
        }
    }

    async fn replay(&self, run: &RunId, from: u64, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        let Some(bundle) = self.bundle(run) else { return self.behind("replay")?.replay(run, from, limit).await };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(bundle.entries.iter().skip(from).take(limit as usize).cloned().collect())
    }

    async fn put_blobs(&self, blobs: &[(Digest, Vec<u8>)]) -> Result<(), StoreError> {
        self.behind("keep outputs")?.put_blobs(blobs).await
    }

    async fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(bytes) = self.bundles.iter().find_map(|bundle| bundle.contents.get(digest)) {
            return Ok(Some(bytes.clone()));
        }
        match &self.behind {
            Some(store) => store.get_blob(digest).await,
            None => Ok(None),
        }
    }

    async fn runs(&self, suite: Option<&str>, limit: u32) -> Result<Vec<RunSummary>, StoreError> {
        let mut runs = match &self.behind {
            Some(store) => store.runs(suite, limit).await?,
            None => Vec::new(),
        };
        let known: Vec<RunId> = runs.iter().map(|run| run.header.id.clone()).collect();
        let ours = self.bundles.iter().map(Bundle::summary);
        runs.extend(
            ours.filter(|run| suite.is_none_or(|suite| run.header.suite == suite) && !known.contains(&run.header.id)),
        );
        runs.sort_by(|a, b| (b.header.created_at, &b.header.id).cmp(&(a.header.created_at, &a.header.id)));
        runs.truncate(limit as usize);
        Ok(runs)
    }

    async fn find_run(&self, wanted: &str) -> Result<RunSummary, StoreError> {
        if let Some(bundle) = self.bundle(&RunId::from(wanted)) {
            return Ok(bundle.summary());
        }
        match &self.behind {
            Some(store) => store.find_run(wanted).await,
            None => {
                Err(StoreError::NoSuchRun { wanted: wanted.to_owned(), hint: ": only bundles are open".to_owned() })
            }
        }
    }

    async fn claim(&self, run: &RunId, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        self.behind("claim a run")?.claim(run, holder, now, until).await
    }

    async fn release(&self, run: &RunId, holder: &str) -> Result<(), StoreError> {
        self.behind("release a run")?.release(run, holder).await
    }

    async fn bless(&self, baseline: &Baseline) -> Result<(), StoreError> {
        self.behind("bless a run")?.bless(baseline).await
    }

    async fn baseline(&self, suite: &str) -> Result<Option<Baseline>, StoreError> {
        Ok(self.blessings(suite).await?.into_iter().next())
    }

    async fn blessings(&self, suite: &str) -> Result<Vec<Baseline>, StoreError> {
        let mut all = match &self.behind {
            Some(store) => store.blessings(suite).await?,
            None => Vec::new(),
        };
        let told = self.bundles.iter().filter_map(|bundle| bundle.manifest.blessing.as_ref());
        // The store's own word comes first: what a file says of blessings moves no baseline here.
        let told: Vec<Baseline> = told.filter(|one| one.suite == suite && !all.contains(one)).cloned().collect();
        all.extend(told);
        Ok(all)
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<AuditRecord, StoreError> {
        self.behind("write the audit trail")?.audit(entry).await
    }

    async fn audit_trail(&self, from: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.behind("read the audit trail")?.audit_trail(from, limit).await
    }

    async fn outbox_put(&self, sink: &str, entries: &[OutboxPut], now: Timestamp) -> Result<OutboxAdded, StoreError> {
        self.behind("fill the outbox")?.outbox_put(sink, entries, now).await
    }

    async fn outbox_list(&self, sink: &str, state: OutboxState, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        self.behind("read the outbox")?.outbox_list(sink, state, limit).await
    }

    async fn outbox_get(&self, sink: &str, key: &str) -> Result<Option<OutboxEntry>, StoreError> {
        self.behind("read the outbox")?.outbox_get(sink, key).await
    }

    async fn outbox_mark(&self, sink: &str, marks: &[OutboxMark], now: Timestamp) -> Result<(), StoreError> {
        self.behind("write the outbox")?.outbox_mark(sink, marks, now).await
    }

    async fn outbox_again(&self, sink: &str) -> Result<u64, StoreError> {
        self.behind("write the outbox")?.outbox_again(sink).await
    }

    async fn outbox_count(&self, sink: &str) -> Result<Vec<(OutboxState, u64)>, StoreError> {
        self.behind("read the outbox")?.outbox_count(sink).await
    }

    async fn close(&self) {
        if let Some(store) = &self.behind {
            store.close().await;
        }
    }
}
