//! A second, identical request where the first one is slow: the first good answer counts.
//!
//! Off unless an endpoint asks for it, for it can double what a question costs. It takes a place that nobody else
//! wants, and none while the server pushes back or money is short. What became of the slower one is never known: it
//! counts as a call without a price.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::tally::count;
use super::{Client, estimate};
use crate::model::ChatRequest;
use crate::provider::limits::Permit;
use crate::provider::{AskKey, Attempted};

/// Answers whose times are remembered.
const REMEMBERED: usize = 200;
/// Answers below which a share of them says nothing.
const FEWEST: usize = 20;

/// When a second request is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// A time (`8s`), or a percentile of the times of the endpoint's answers so far (`p95`; not before twenty of them).
    pub after: After,
}

/// How long the first request is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum After {
    /// As long as this.
    Time(Duration),
    /// As long as this share of the answers took, in percent from 1 to 99.
    Percentile(u8),
}

impl TryFrom<String> for After {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let percent = text.strip_prefix('p').and_then(|number| number.parse::<u8>().ok());
        if let Some(percent) = percent.filter(|percent| (1..=99).contains(percent)) {
            return Ok(Self::Percentile(percent));
        }
        let span = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        let span = span.filter(|span| !span.is_zero());
        span.map(Self::Time).ok_or_else(|| {
            format!("`hedge.after`: expected a time such as `8s` or a percentile such as `p95`, found `{text}`")
        })
    }
}

impl From<After> for String {
    fn from(after: After) -> Self {
        match after {
            After::Time(span) => format!("{}ms", span.as_millis()),
            After::Percentile(percent) => format!("p{percent}"),
        }
    }
}

/// Whether money is short, told by whoever counts it: then nothing is asked that need not be. Shared by all clones.
#[derive(Clone, Debug, Default)]
pub struct Thrift(Arc<AtomicBool>);

impl Thrift {
    /// Notes whether money is short.
    pub fn set(&self, is_short: bool) {
        self.0.store(is_short, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_short(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// When a client hedges, and what it knows for that.
pub(super) struct Hedging {
    after: After,
    thrift: Thrift,
    times: Mutex<VecDeque<u64>>,
}

impl Hedging {
    pub(super) fn new(hedge: &Hedge, thrift: Thrift) -> Self {
        Self { after: hedge.after, thrift, times: Mutex::default() }
    }

    fn note(&self, took_ms: u64) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() == REMEMBERED {
            times.pop_front();
        }
        times.push_back(took_ms);
    }

    /// How long the first request is waited for; `None` where nothing is known yet.
    fn delay(&self) -> Option<Duration> {
        let percent = match self.after {
            After::Time(span) => return Some(span),
            After::Percentile(percent) => usize::from(percent),
        };
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() < FEWEST {
            return None;
        }
        let mut sorted: Vec<u64> = times.iter().copied().collect();
        sorted.sort_unstable();
        // The least time that so many percent of the answers do not exceed.
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).map(|ms| Duration::from_millis((*ms).max(1)))
    }
}

/// What a request came to, and what became of its twin.
pub(super) struct Sent<'a> {
    pub(super) attempted: Attempted,
    pub(super) permit: Permit<'a>,
    pub(super) took_ms: u64,
    pub(super) twin: Twin<'a>,
}

/// The other one of two identical requests.
pub(super) enum Twin<'a> {
    /// There was none.
    None,
    /// It was dropped before it was answered; it may be billed.
    Dropped,
    /// It failed first, or as well.
    Failed(Box<Attempted>, Permit<'a>),
}

impl Client {
    /// Sends a request, and a second one where the first is slow and a second may be sent.
    pub(super) async fn send<'a>(&'a self, request: &ChatRequest, key: &AskKey, permit: Permit<'a>) -> Sent<'a> {
        let limit = self.retry.attempt_timeout;
        let delay = self.hedging.as_ref().and_then(Hedging::delay).filter(|delay| *delay < limit);
        let sent = match delay {
            None => {
                let (attempted, took_ms) = self.timed(request, key, limit).await;
                Sent { attempted, permit, took_ms, twin: Twin::None }
            }
            Some(delay) => self.raced(request, key, permit, delay).await,
        };
        if let Some(hedging) = self.hedging.as_ref().filter(|_| sent.attempted.result.is_ok()) {
            hedging.note(sent.took_ms);
        }
        sent
    }

    async fn raced<'a>(&'a self, request: &ChatRequest, key: &AskKey, permit: Permit<'a>, delay: Duration) -> Sent<'a> {
        let limit = self.retry.attempt_timeout;
        let mut first = pin!(self.timed(request, key, limit));
        tokio::select! {
            biased;
            (attempted, took_ms) = &mut first => return Sent { attempted, permit, took_ms, twin: Twin::None },
            () = sleep(delay) => {}
        }
        let short = self.hedging.as_ref().is_some_and(|hedging| hedging.thrift.is_short());
        let Some(spare) = self.gate.spare(estimate(request)).filter(|_| !short) else {
            let (attempted, took_ms) = first.await;
            return Sent { attempted, permit, took_ms, twin: Twin::None };
        };
        count(&self.counters.attempts);
        count(&self.counters.hedged);
        let mut second = pin!(self.timed(request, key, limit.saturating_sub(delay)));
        let (one, other, mine, theirs) = tokio::select! {
            biased;
            one = &mut first => (one, None, permit, spare),
            one = &mut second => (one, Some(()), spare, permit),
        };
        if one.0.result.is_ok() {
            return Sent { attempted: one.0, permit: mine, took_ms: one.1, twin: Twin::Dropped };
        }
        let (attempted, took_ms) = match other {
            None => second.await,
            Some(()) => first.await,
        };
        Sent { attempted, permit: theirs, took_ms, twin: Twin::Failed(Box::new(one.0), mine) }
    }

    async fn timed(&self, request: &ChatRequest, key: &AskKey, limit: Duration) -> (Attempted, u64) {
        let sent = Instant::now();
        let attempted = self.model.attempt_for(request, key, limit).await.checked(request, &self.endpoint);
        (attempted, u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_is_a_time_or_a_percentile() {
        let read = |text: &str| After::try_from(text.to_owned());
        assert_eq!(read("8s"), Ok(After::Time(Duration::from_secs(8))));
        assert_eq!(read("250ms"), Ok(After::Time(Duration::from_millis(250))));
        assert_eq!(read("p95"), Ok(After::Percentile(95)));
        for wrong in ["", "0s", "-1s", "p0", "p100", "95", "soon", "p"] {
            assert!(read(wrong).is_err_and(|error| error.contains("`8s`") && error.contains("`p95`")), "{wrong}");
        }
        assert_eq!(After::try_from(String::from(After::Percentile(50))), Ok(After::Percentile(50)));
    }

    #[test]
    fn a_percentile_is_known_from_the_twentieth_answer_on() {
        let hedging = Hedging::new(&Hedge { after: After::Percentile(95) }, Thrift::default());
        for ms in 1..20 {
            hedging.note(ms);
            assert_eq!(hedging.delay(), None);
        }
        hedging.note(20);
        assert_eq!(hedging.delay(), Some(Duration::from_millis(19)), "19 of 20 are 95 %");
        (0..REMEMBERED).for_each(|_| hedging.note(7));
        assert_eq!(hedging.delay(), Some(Duration::from_millis(7)), "old times are forgotten");
    }
}
