//! Time, as an argument.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use crate::model::RunId;

/// Tells the time. Passed in wherever a time is recorded, so that tests and snapshots hold still.
pub trait Clock: Send + Sync {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one door to the clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that starts at a moment and advances by a fixed step each time it is read.
#[derive(Debug)]
pub struct FixedClock {
    next: Mutex<Timestamp>,
    step: SignedDuration,
}

impl FixedClock {
    /// Starts at `start` and advances by `step` at each reading.
    pub fn new(start: Timestamp, step: SignedDuration) -> Self {
        Self { next: Mutex::new(start), step }
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = *next;
        *next = now.checked_add(self.step).unwrap_or(now);
        now
    }
}

/// A fresh run id: a UUID of version 7 at the clock's time.
pub fn new_run_id(clock: &dyn Clock) -> RunId {
    let now = clock.now();
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    let stamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
    RunId::new(uuid::Uuid::new_v7(stamp).to_string())
}
