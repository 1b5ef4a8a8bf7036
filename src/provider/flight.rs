//! Identical asks that are under way at the same time become one.
//!
//! Datasets hold duplicates, and the cache knows an answer only once it is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::model::Digest;

type Cell<T> = Arc<OnceCell<T>>;

/// What is under way, by key.
pub(super) struct Flights<T> {
    under_way: Mutex<HashMap<Digest, Cell<T>>>,
}

impl<T: Clone> Flights<T> {
    pub fn new() -> Self {
        Self { under_way: Mutex::new(HashMap::new()) }
    }

    /// Does the work, or waits for the one who already does it. Says whether the work was done here.
    ///
    /// When the one who does it is cancelled, one of those who wait takes over.
    pub async fn share(&self, key: &Digest, work: impl Future<Output = T>) -> (T, bool) {
        let seat = Seat { flights: self, key, cell: self.lock().entry(key.clone()).or_default().clone() };
        let mut done_here = false;
        let value = seat.cell.get_or_init(|| async {
            done_here = true;
            work.await
        });
        let value = value.await.clone();
        (value, done_here)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Cell<T>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place at a cell; the last one to leave removes it.
struct Seat<'a, T: Clone> {
    flights: &'a Flights<T>,
    key: &'a Digest,
    cell: Cell<T>,
}

impl<T: Clone> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        // The map's own hold and this one. A finished cell goes at once, so that a later ask looks into the cache.
        let last = Arc::strong_count(&self.cell) <= 2;
        let is_ours = under_way.get(self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
        if is_ours && (last || self.cell.initialized()) {
            under_way.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn identical_work_is_done_once_and_again_later() {
        let flights = Flights::new();
        let key = Digest::of(b"k");
        let done = AtomicU32::new(0);
        let work = || async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            done.fetch_add(1, Ordering::Relaxed)
        };
        let both = futures::future::join_all((0..10).map(|_| flights.share(&key, work()))).await;
        assert_eq!(both.iter().filter(|(_, here)| *here).count(), 1);
        assert!(both.iter().all(|(value, _)| *value == 0));
        assert_eq!(flights.share(&key, work()).await, (1, true));
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_cancelled_leader_is_replaced() {
        let flights = Flights::new();
        let key = Digest::of(b"k");
        let slow = |value: u32| async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            value
        };
        let leader = tokio::time::timeout(Duration::from_millis(10), flights.share(&key, slow(1)));
        let (leader, follower) = tokio::join!(leader, flights.share(&key, slow(2)));
        assert!(leader.is_err());
        assert_eq!(follower, (2, true));
        assert!(flights.lock().is_empty());
    }
}
