//! How much is asked of an endpoint at a time: a concurrency limit that adapts, and buckets per minute.
//!
//! What the server says is left of its own limits is kept to as well: calls wait for its reset instead of being refused.
//!
//! The limit is halved when the server refuses for rate and grows again with every answer (additive increase,
//! multiplicative decrease). A wait the server asks for holds for the whole endpoint, not only for the call that was
//! told. Nothing here retries.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::allowance::Allowance;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// What an endpoint bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most calls at a time.
    pub max_concurrency: u32,
    /// Most calls per minute.
    pub requests_per_minute: Option<u32>,
    /// Most tokens per minute, read and written.
    pub tokens_per_minute: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_concurrency: 32, requests_per_minute: None, tokens_per_minute: None }
    }
}

/// Share of a minute's allowance that may be used at once: servers refill continuously, and a full minute's burst
/// followed by a full minute's refill would be twice what they allow.
const BURST: f64 = 1.0 / 6.0;

/// Guards one endpoint.
pub(super) struct Gate {
    permits: Semaphore,
    state: Mutex<State>,
    max: u32,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

struct State {
    /// Calls at a time; its whole part counts.
    limit: f64,
    /// Permits to take away as soon as they come back.
    debt: usize,
    /// Number of cuts so far: calls sent before the last cut do not cause another one.
    cuts: u64,
    paused_until: Option<Instant>,
    in_flight: u32,
    /// What the server said is left, of calls and of tokens.
    told: [Option<Told>; 2],
}

/// What is left until a moment, less what has been sent since it was said.
#[derive(Clone, Copy)]
struct Told {
    remaining: f64,
    until: Instant,
}

/// The right to make one call.
pub(super) struct Permit<'a> {
    gate: &'a Gate,
    permit: Option<SemaphorePermit<'a>>,
    cuts: u64,
    estimate: u64,
}

impl Gate {
    pub fn new(limits: Limits) -> Self {
        let max = limits.max_concurrency.max(1);
        Self {
            permits: Semaphore::new(max as usize),
            state: Mutex::new(State {
                limit: f64::from(max),
                debt: 0,
                cuts: 0,
                paused_until: None,
                in_flight: 0,
                told: [None; 2],
            }),
            max,
            requests: limits.requests_per_minute.map(Bucket::per_minute),
            tokens: limits.tokens_per_minute.map(Bucket::per_minute),
        }
    }

    /// Waits for a place, for the end of a pause and for the buckets. `jitter` from [0, 1) spreads the calls that
    /// wait for the same pause over `spread`. Gives the wait back when a pause would outlast `latest`.
    ///
    /// Fair: calls get their places in the order they came. Dropping the future gives everything back but tokens of
    /// the buckets.
    pub async fn enter(
        &self,
        estimate: u64,
        latest: Instant,
        spread: Duration,
        jitter: f64,
    ) -> Result<Permit<'_>, Duration> {
        let permit = self.permits.acquire().await.ok();
        // From here on the guard gives the place back, whatever happens to this future.
        let mut entered = Permit { gate: self, permit, cuts: 0, estimate };
        self.state().in_flight += 1;
        while let Some(until) = self.pause() {
            if until > latest {
                return Err(until.saturating_duration_since(Instant::now()));
            }
            sleep_until(until + spread.mul_f64(jitter.clamp(0.0, 1.0))).await;
        }
        if let Some(requests) = &self.requests {
            requests.take(1.0).await;
        }
        if let Some(tokens) = &self.tokens {
            tokens.take(estimate as f64).await;
        }
        while let Some(until) = self.book(estimate) {
            if until > latest {
                return Err(until.saturating_duration_since(Instant::now()));
            }
            sleep_until(until + spread.mul_f64(jitter.clamp(0.0, 1.0))).await;
        }
        entered.cuts = self.state().cuts;
        Ok(entered)
    }

    /// A place for a call that need not be made: only where one is free at once, the server has not pushed back, nobody
    /// rests and the buckets hold enough.
    pub fn spare(&self, estimate: u64) -> Option<Permit<'_>> {
        if self.pause().is_some() || self.state().limit < f64::from(self.max) {
            return None;
        }
        let permit = self.permits.try_acquire().ok()?;
        self.state().in_flight += 1;
        let mut entered = Permit { gate: self, permit: Some(permit), cuts: 0, estimate };
        let has_room = |bucket: &Option<Bucket>, amount: f64| bucket.as_ref().is_none_or(|bucket| bucket.holds(amount));
        if !has_room(&self.requests, 1.0) || !has_room(&self.tokens, estimate as f64) || self.book(estimate).is_some() {
            return None;
        }
        // Booked without waiting: should another call have come in between, the next one waits for both.
        let _ = self.requests.as_ref().map(|bucket| bucket.book(1.0));
        let _ = self.tokens.as_ref().map(|bucket| bucket.book(estimate as f64));
        entered.cuts = self.state().cuts;
        Some(entered)
    }

    /// Takes one call and its tokens from what the server said is left; the moment to wait for when that is too
    /// little. After the reset nothing is known until the server says more, and calls go on.
    fn book(&self, estimate: u64) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.state();
        for told in &mut state.told {
            *told = told.filter(|told| told.until > now);
        }
        let amounts = [1.0, estimate as f64];
        let short =
            state.told.iter().zip(amounts).filter_map(|(told, amount)| told.filter(|told| told.remaining < amount));
        if let Some(until) = short.map(|told| told.until).max() {
            return Some(until);
        }
        for (told, amount) in state.told.iter_mut().zip(amounts) {
            if let Some(told) = told {
                told.remaining -= amount;
            }
        }
        None
    }

    /// Notes what a server said is left. Calls under way were sent before it was said and may not be counted in it.
    pub fn heed(&self, allowance: &Allowance) {
        let mut state = self.state();
        let others = f64::from(state.in_flight.saturating_sub(1));
        let now = Instant::now();
        for (told, (left, sent)) in state.told.iter_mut().zip([(allowance.requests, others), (allowance.tokens, 0.0)]) {
            if let Some(left) = left {
                *told = Some(Told { remaining: left.remaining - sent, until: now + left.reset });
            }
        }
    }

    /// Calls allowed at a time, now.
    pub fn limit(&self) -> u32 {
        self.state().limit as u32
    }

    /// Calls that hold a place, now.
    pub fn in_flight(&self) -> u32 {
        self.state().in_flight
    }

    /// Greatest number of calls at a time.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// How long the endpoint still rests.
    pub fn paused_for(&self) -> Duration {
        self.pause().map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    fn pause(&self) -> Option<Instant> {
        let mut state = self.state();
        let until = state.paused_until?;
        if until <= Instant::now() {
            state.paused_until = None;
        }
        state.paused_until
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets nobody through for a while. The longest wish holds.
    pub fn rest(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut state = self.state();
        state.paused_until = Some(state.paused_until.map_or(until, |already| already.max(until)));
    }
}

impl Permit<'_> {
    /// The call was answered: the limit grows, by a twentieth of its greatest value per round of calls.
    pub fn answered(&self, tokens: Option<u64>) {
        if let (Some(bucket), Some(used)) = (&self.gate.tokens, tokens) {
            bucket.correct(used as f64 - self.estimate as f64);
        }
        let mut state = self.gate.state();
        let max = f64::from(self.gate.max);
        if state.limit >= max {
            return;
        }
        let before = state.limit as usize;
        state.limit = (state.limit + (max / 20.0).max(1.0) / state.limit).min(max);
        let grown = state.limit as usize - before;
        let owed = grown.min(state.debt);
        state.debt -= owed;
        self.gate.permits.add_permits(grown - owed);
    }

    /// The call was refused for rate: the limit is halved, once for all calls that were under way together.
    pub fn throttled(&self) {
        let mut state = self.gate.state();
        if state.cuts != self.cuts {
            return;
        }
        state.cuts += 1;
        let before = state.limit as usize;
        state.limit = (state.limit / 2.0).floor().max(1.0);
        let less = before - state.limit as usize;
        state.debt += less - self.gate.permits.forget_permits(less);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if state.debt > 0 {
            state.debt -= 1;
            if let Some(permit) = self.permit.take() {
                permit.forget();
            }
        }
    }
}

/// Allowance that fills continuously. Takes are booked at once and waited for, so they are served in order, and one
/// that is larger than the bucket is served too.
struct Bucket {
    per_second: f64,
    most: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    fn per_minute(allowance: u32) -> Self {
        let allowance = f64::from(allowance.max(1));
        let most = (allowance * BURST).max(1.0);
        Self { per_second: allowance / 60.0, most, state: Mutex::new((most, Instant::now())) }
    }

    async fn take(&self, amount: f64) {
        let ready = self.book(amount);
        sleep_until(ready).await;
    }

    /// Books an amount and gives the moment from which it may be used.
    fn book(&self, amount: f64) -> Instant {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let filled = now.saturating_duration_since(state.1).as_secs_f64() * self.per_second;
        let level = (state.0 + filled).min(self.most) - amount;
        *state = (level, now);
        now + Duration::from_secs_f64((-level / self.per_second).max(0.0))
    }

    /// Whether an amount is there now.
    fn holds(&self, amount: f64) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = Instant::now().saturating_duration_since(state.1).as_secs_f64() * self.per_second;
        (state.0 + filled).min(self.most) >= amount
    }

    /// Books what an estimate left out, or gives back what it had too much.
    fn correct(&self, more: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = (state.0 - more).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(max: u32) -> Gate {
        Gate::new(Limits { max_concurrency: max, ..Limits::default() })
    }

    async fn enter(gate: &Gate) -> Permit<'_> {
        let latest = Instant::now() + Duration::from_secs(600);
        gate.enter(0, latest, Duration::ZERO, 0.0).await.unwrap()
    }

    async fn is_full(gate: &Gate) -> bool {
        tokio::time::timeout(Duration::from_millis(1), enter(gate)).await.is_err()
    }

    #[tokio::test]
    async fn one_burst_of_refusals_halves_once_and_places_are_withdrawn() {
        let gate = gate(8);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(enter(&gate).await);
        }
        held.iter().for_each(Permit::throttled);
        assert_eq!(gate.limit(), 4);
        held.truncate(4);
        assert!(is_full(&gate).await, "four still run, and four is the limit");
        held.truncate(3);
        let fifth = enter(&gate).await;
        fifth.throttled();
        assert_eq!(gate.limit(), 2, "a refusal after the cut is a new one");
        drop((held, fifth));
        assert_eq!(gate.in_flight(), 0);
    }

    #[tokio::test]
    async fn answers_bring_the_limit_back_and_not_beyond() {
        let gate = gate(8);
        enter(&gate).await.throttled();
        for _ in 0..100 {
            enter(&gate).await.answered(None);
        }
        assert_eq!(gate.limit(), 8);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(enter(&gate).await);
        }
        assert!(is_full(&gate).await, "exactly eight places are back");
    }

    #[tokio::test]
    async fn a_rest_holds_for_all_and_too_long_a_rest_is_refused() {
        let gate = gate(2);
        gate.rest(Duration::from_millis(30));
        let start = Instant::now();
        drop(enter(&gate).await);
        assert!(start.elapsed() >= Duration::from_millis(30));
        gate.rest(Duration::from_secs(86_400));
        let latest = Instant::now() + Duration::from_secs(600);
        assert!(gate.enter(0, latest, Duration::ZERO, 0.0).await.is_err());
        assert_eq!(gate.in_flight(), 0);
    }

    #[tokio::test]
    async fn what_the_server_says_is_left_is_kept_to_until_its_reset() {
        use super::super::allowance::Left;
        let gate = gate(8);
        let left = |remaining| Some(Left { remaining, reset: Duration::from_millis(200) });
        gate.heed(&Allowance { requests: left(2.0), tokens: None });
        let start = Instant::now();
        let first = enter(&gate).await;
        let second = enter(&gate).await;
        assert!(start.elapsed() < Duration::from_millis(150), "two are left");
        let third = enter(&gate).await;
        assert!(start.elapsed() >= Duration::from_millis(200), "the third waits for the reset");
        drop((first, second, third));
        gate.heed(&Allowance { requests: None, tokens: left(100.0) });
        let latest = Instant::now() + Duration::from_secs(60);
        let big = tokio::time::timeout(Duration::from_millis(50), gate.enter(101, latest, Duration::ZERO, 0.0)).await;
        assert!(big.is_err(), "more tokens than are left");
        assert!(gate.enter(100, latest, Duration::ZERO, 0.0).await.is_ok());
        assert_eq!(gate.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_spare_place_is_there_only_where_nothing_is_short() {
        let gate = gate(3);
        let first = enter(&gate).await;
        let spare = gate.spare(0).unwrap();
        let third = enter(&gate).await;
        assert!(gate.spare(0).is_none(), "three of three are taken");
        drop(third);
        first.throttled();
        assert!(gate.spare(0).is_none(), "the server pushed back");
        drop((first, spare));
        assert_eq!(gate.in_flight(), 0);
        let bounded = Gate::new(Limits { requests_per_minute: Some(6), ..Limits::default() });
        assert!(bounded.spare(0).is_some(), "one at once");
        assert!(bounded.spare(0).is_none(), "a second one would wait for ten seconds");
        gate.rest(Duration::from_secs(1));
        assert!(gate.spare(0).is_none());
        assert_eq!((gate.in_flight(), bounded.in_flight()), (0, 0));
    }

    #[test]
    fn a_minute_holds_what_it_may() {
        let bucket = Bucket::per_minute(60);
        let start = Instant::now();
        let last = (0..70).map(|_| bucket.book(1.0)).last().unwrap();
        let wait = last.duration_since(start).as_secs_f64();
        assert!((59.0..61.0).contains(&wait), "ten at once, then one a second: {wait}");
    }

    #[test]
    fn tokens_are_corrected_by_what_was_used() {
        let bucket = Bucket::per_minute(6000);
        let start = Instant::now();
        let wait = |ready: Instant| ready.saturating_duration_since(start).as_secs_f64();
        assert!(wait(bucket.book(1000.0)) < 0.1);
        // Estimated 1000, used 2000: the next one waits for the surplus too.
        bucket.correct(1000.0);
        let second = wait(bucket.book(1000.0));
        assert!((19.5..20.5).contains(&second), "{second}");
        bucket.correct(-1000.0);
        assert!(wait(bucket.book(1000.0)) < 20.5, "what was not used is given back");
    }
}
