//! Work on a list, shared among the processors. Knows nothing of what the work is.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Pieces for each thread: some take longer than others.
const PIECES: usize = 4;
/// Fewer items than this are not worth a thread.
const FEW: usize = 256;

/// Does `run` with pieces of the list, on several threads when there are many items; the results are in the order of
/// the list. A panic of `run` goes on in the caller.
pub fn map_pieces<'a, T: Sync, R: Send>(items: &'a [T], run: impl Fn(&'a [T]) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    if items.len() < FEW || threads == 1 {
        return vec![run(items)];
    }
    let pieces: Vec<&'a [T]> = items.chunks(items.len().div_ceil(threads * PIECES).max(1)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(at) else { return done };
            done.push((at, run(piece)));
        }
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined =
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.flatten().chain(own).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_in_order() {
        for count in [0, 1, FEW - 1, FEW, 10_007] {
            let items: Vec<usize> = (0..count).collect();
            let done: Vec<usize> =
                map_pieces(&items, |piece| piece.iter().map(|item| item * 2).collect::<Vec<_>>()).concat();
            assert_eq!(done, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_is_not_lost() {
        let items: Vec<usize> = (0..10_000).collect();
        let run = |piece: &[usize]| assert!(!piece.contains(&9_999), "found");
        assert!(std::panic::catch_unwind(|| map_pieces(&items, run)).is_err());
    }
}
