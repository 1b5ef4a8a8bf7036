//! The right to write a run: taken before the first entry, renewed while it runs, given back at its end.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::control::Halt;
use super::{Options, RunError};
use crate::model::RunId;
use crate::store::{Store, StoreError};
use crate::sys::Clock;

/// Wait between two tries to get a right that another holds.
const POLL: Duration = Duration::from_millis(250);

/// The right to write one run. Dropped, it is renewed no more and ends by itself.
pub(super) struct Lease {
    store: Arc<dyn Store>,
    run: RunId,
    holder: String,
    renewals: JoinSet<()>,
}

impl Lease {
    /// Takes the right; waits for another holder as long as the options say.
    pub(super) async fn take(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        run: &RunId,
        options: &Options,
        force: bool,
    ) -> Result<Self, RunError> {
        let deadline = Instant::now() + options.claim_wait;
        // Process numbers repeat, on other machines and after a restart; together with the moment they do not.
        let holder = format!("{} since {:.9}", options.holder, clock.now());
        loop {
            let now = clock.now();
            let until = end_of(now, options.lease);
            // At the end of time every other lease has ended.
            let seen = if force { Timestamp::MAX } else { now };
            if store.claim(run, &holder, seen, until).await? {
                break;
            }
            if Instant::now() >= deadline {
                return Err(RunError::Claimed { run: run.clone(), lease_s: options.lease.as_secs() });
            }
            tokio::time::sleep(POLL.min(deadline - Instant::now())).await;
        }
        Ok(Self { store, run: run.clone(), holder, renewals: JoinSet::new() })
    }

    /// Keeps the right while the run goes on. Losing it stops the run at once: someone else writes now.
    pub(super) fn keep(&mut self, clock: Arc<dyn Clock>, lease: Duration, halt: Arc<Halt>) {
        let (store, run, holder) = (Arc::clone(&self.store), self.run.clone(), self.holder.clone());
        self.renewals.spawn(async move {
            loop {
                tokio::time::sleep(lease / 3).await;
                let now = clock.now();
                // A failed renewal is no loss yet: the next may succeed, and the store refuses a second writer.
                if let Ok(false) = store.claim(&run, &holder, now, end_of(now, lease)).await {
                    halt.fail_now(RunError::Store(StoreError::Conflict { run }));
                    return;
                }
            }
        });
    }

    /// Gives the right back.
    pub(super) async fn give_back(mut self) {
        self.renewals.shutdown().await;
        // It would end by itself; a failure here only makes the next holder wait.
        let _ = self.store.release(&self.run, &self.holder).await;
    }
}

fn end_of(now: Timestamp, lease: Duration) -> Timestamp {
    let lease = SignedDuration::try_from(lease).unwrap_or(SignedDuration::MAX);
    now.checked_add(lease).unwrap_or(Timestamp::MAX)
}
