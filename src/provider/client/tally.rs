//! What a client counts, and how it shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Client;
use crate::model::Spend;

/// What a client counts while it works.
#[derive(Default)]
pub(super) struct Counters {
    pub asks: AtomicU64,
    pub attempts: AtomicU64,
    pub answered: AtomicU64,
    pub throttled: AtomicU64,
    pub retries: AtomicU64,
    pub cache_hits: AtomicU64,
    pub shared: AtomicU64,
    pub hedged: AtomicU64,
    pub lost: Mutex<Spend>,
    pub dropped: Mutex<Spend>,
    pub record_warning: Mutex<Option<String>>,
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// How a client stands: for progress lines and the end of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientStats {
    /// Questions put to the client.
    pub asks: u64,
    /// Attempts made.
    pub attempts: u64,
    /// Attempts that gave a usable reply.
    pub answered: u64,
    /// Attempts refused for rate.
    pub throttled: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
    /// Answers from the cache.
    pub cache_hits: u64,
    /// Answers shared with an identical ask under way.
    pub shared: u64,
    /// Second, identical requests sent because the first was slow.
    pub hedged: u64,
    /// Calls under way now, those that wait for their turn within a limit included.
    pub in_flight: u32,
    /// Calls allowed at a time now.
    pub concurrency_limit: u32,
    /// Calls allowed at a time at most.
    pub max_concurrency: u32,
    /// How long the endpoint still rests because the server asked for it.
    pub resting: Duration,
    /// What asks cost that failed in the end, as far as it is known: a failure carries no spend, so totals of money
    /// add this.
    pub lost: Spend,
    /// Requests dropped for a faster twin, at the twin's price: what they may have cost beyond all totals.
    pub dropped: Spend,
}

impl Client {
    /// How it stands.
    pub fn stats(&self) -> ClientStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        ClientStats {
            asks: get(&counters.asks),
            attempts: get(&counters.attempts),
            answered: get(&counters.answered),
            throttled: get(&counters.throttled),
            retries: get(&counters.retries),
            cache_hits: get(&counters.cache_hits),
            shared: get(&counters.shared),
            hedged: get(&counters.hedged),
            in_flight: self.gate.in_flight(),
            concurrency_limit: self.gate.limit(),
            max_concurrency: self.gate.max(),
            resting: self.gate.paused_for(),
            lost: counters.lost.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            dropped: counters.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// What went wrong without failing an ask: cache or cassette cannot be written. Each is told once.
    pub fn warnings(&self) -> Vec<String> {
        let cache = self.cache.as_ref().and_then(|(cache, _)| cache.warning());
        let record = self.counters.record_warning.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cache.into_iter().chain(record).collect()
    }
}
