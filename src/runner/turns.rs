//! Two runs side by side: whose target is called next, so that time of day and load fall on both alike.
//!
//! Calls go in pairs, one of each run; which of the two goes first is drawn by the seed. Neither run gets further ahead
//! than one call, unless the other has ended.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::model::Digester;

/// What two runs share.
struct Turns {
    seed: u64,
    /// Calls of both together.
    slots: Arc<Semaphore>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    started: [u64; 2],
    ended: [bool; 2],
}

/// The side of one of two runs. When it is dropped, the other goes on alone.
pub struct Lane {
    turns: Arc<Turns>,
    side: usize,
}

impl fmt::Debug for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lane({})", self.side)
    }
}

impl Lane {
    /// The lanes of two runs that make at most so many calls at once, together.
    pub fn pair(seed: u64, at_once: usize) -> (Arc<Self>, Arc<Self>) {
        let slots = Arc::new(Semaphore::new(at_once.max(1)));
        let turns = Arc::new(Turns { seed, slots, state: Mutex::default(), changed: Notify::new() });
        let lane = |side| Arc::new(Self { turns: Arc::clone(&turns), side });
        (lane(0), lane(1))
    }

    /// Waits for this side's turn, then for a free place.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            // Made before the state is read, so that no change in between is missed.
            let changed = self.turns.changed.notified();
            if self.take() {
                break;
            }
            changed.await;
        }
        self.turns.changed.notify_waiters();
        Arc::clone(&self.turns.slots).acquire_owned().await.ok()
    }

    fn take(&self) -> bool {
        let mut state = self.turns.state();
        let [first, second] = state.started;
        let (mine, other) = if self.side == 0 { (first, second) } else { (second, first) };
        let other_ended = state.ended.get(1 - self.side).copied().unwrap_or(true);
        let my_turn = if first_of(self.turns.seed, mine) == self.side { other >= mine } else { other > mine };
        let may = my_turn || other_ended;
        if let Some(count) = state.started.get_mut(self.side).filter(|_| may) {
            *count += 1;
        }
        may
    }
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(ended) = self.turns.state().ended.get_mut(self.side) {
            *ended = true;
        }
        self.turns.changed.notify_waiters();
    }
}

/// Which side goes first in a pair.
fn first_of(seed: u64, pair: u64) -> usize {
    let digest = Digester::new().part("seed", &seed.to_le_bytes()).part("pair", &pair.to_le_bytes()).finish();
    digest.short().bytes().next_back().map_or(0, |byte| usize::from(byte % 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sides_take_turns_by_the_seed_and_the_last_goes_on_alone() {
        let (left, right) = Lane::pair(7, 1);
        let told = Arc::new(Mutex::new(Vec::new()));
        let go = |lane: Arc<Lane>, calls: usize| {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                for _ in 0..calls {
                    let _place = lane.turn().await;
                    told.lock().unwrap().push(lane.side);
                    tokio::task::yield_now().await;
                }
            })
        };
        let (left, right) = (go(left, 60), go(right, 40));
        left.await.unwrap();
        right.await.unwrap();
        let told = told.lock().unwrap().clone();
        assert_eq!(told.len(), 100);
        for (pair, both) in told.chunks(2).take(39).enumerate() {
            assert_eq!(both.iter().sum::<usize>(), 1, "pair {pair} has one of each");
        }
        let firsts = (0..1000).filter(|pair| first_of(7, *pair) == 0).count();
        assert!((400..600).contains(&firsts), "{firsts}");
        assert!(told[80..].iter().all(|side| *side == 0), "the longer run goes on alone");
    }
}
