//! Limits of a run: money, with what is in flight held back; time; and the share of failures that is borne.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::{
    Event, Failure, FailureKind, GraderInfo, GraderKind, RunTotals, Spend, TargetOutcome, UnscoredReason,
};
use crate::provider::Thrift;

/// Failures below which their share is not looked at: a few in a row at the start say little.
const FEWEST_FAILURES: u64 = 10;

/// Limits. `None` is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budget {
    /// US dollars of target and judges together, over all sittings of the run. Calls without a known price count
    /// nothing: whoever sets a limit should have prices.
    pub max_cost_usd: Option<f64>,
    /// Greatest part of `max_cost_usd` that judges may take, in (0, 1].
    pub judge_share: Option<f64>,
    /// Time of this sitting.
    pub max_time: Option<Duration>,
    /// Share of trials that may fail, and of judge cells that the instrument may leave unscored, in [0, 1]. Looked at
    /// while the run goes on, from the tenth failure.
    pub max_failures: Option<f64>,
    /// Trials, or judge cells, that may fail one after another for want of an answer. More than are under way at a
    /// time, or one short outage would end a run.
    pub max_silence: Option<u64>,
    /// What one target call costs at most, as far as it can be told beforehand; 0 for recorded outputs. Unknown: the
    /// first call goes alone and shows it.
    pub target_call_usd: Option<f64>,
    /// What one judge call costs at most, as far as it can be told beforehand.
    pub judge_call_usd: Option<f64>,
}

/// US dollars that were spent in this sitting and stand in no finding: answers that were billed and of no use. The sum
/// only grows; a limit of money counts it.
#[derive(Clone, Default)]
pub struct Lost(Option<Arc<dyn Fn() -> f64 + Send + Sync>>);

impl Lost {
    /// Told by a function that may be called often.
    pub fn told_by(sum: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sum)))
    }

    fn usd(&self) -> f64 {
        self.0.as_ref().map_or(0.0, |sum| sum())
    }
}

impl fmt::Debug for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lost({})", self.usd())
    }
}

/// Who is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payee {
    Target,
    Judge,
}

/// The dearest calls that earlier sittings made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dearest {
    pub(super) target: Option<f64>,
    pub(super) judge: Option<f64>,
}

impl Dearest {
    /// Takes an event of the journal.
    pub(super) fn push(&mut self, event: &Event) {
        let (dearest, spend) = match event {
            Event::TargetFinished { spend, .. } => (&mut self.target, spend),
            Event::ScoreFinished { spend, .. } => (&mut self.judge, spend),
            _ => return,
        };
        if spend.calls > 0 {
            *dearest = Some(dearest.unwrap_or(0.0).max(spend.cost_usd));
        }
    }
}

/// What was spent and what is held back for calls in flight.
pub(super) struct Ledger {
    limit: Option<f64>,
    judge_limit: Option<f64>,
    lost: Lost,
    thrift: Thrift,
    books: Mutex<Books>,
    settled: Notify,
}

#[derive(Default)]
struct Books {
    target: Account,
    judge: Account,
}

#[derive(Default)]
struct Account {
    spent: f64,
    held: f64,
    in_flight: u32,
    /// The dearest call seen or foretold.
    dearest: Option<f64>,
}

/// No call of this kind fits the budget any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spent;

/// Money held back for one call. Dropped without being settled (the call was dropped), it is free again.
pub(super) struct Hold<'a> {
    ledger: &'a Ledger,
    payee: Payee,
    amount: f64,
}

enum Answer {
    Granted(f64),
    Wait,
    Spent,
}

impl Ledger {
    /// A ledger that goes on from what earlier sittings spent, and from their dearest calls.
    pub(super) fn new(budget: &Budget, totals: &RunTotals, seen: Dearest) -> Self {
        let limit = budget.max_cost_usd;
        let judge_limit = limit.zip(budget.judge_share).map(|(limit, share)| limit * share);
        let account = |spend: &Spend, foretold: Option<f64>, seen: Option<f64>| {
            let dearest = foretold.into_iter().chain(seen).reduce(f64::max);
            Account { spent: spend.cost_usd, dearest, ..Account::default() }
        };
        let books = Books {
            target: account(&totals.target_spend, budget.target_call_usd, seen.target),
            judge: account(&totals.judge_spend, budget.judge_call_usd, seen.judge),
        };
        Self {
            limit,
            judge_limit,
            lost: Lost::default(),
            thrift: Thrift::default(),
            books: Mutex::new(books),
            settled: Notify::new(),
        }
    }

    /// The same, counting what is spent beside all findings.
    pub(super) fn with_lost(self, lost: Lost) -> Self {
        Self { lost, ..self }
    }

    /// The same, telling others when money is short.
    pub(super) fn with_thrift(self, thrift: Thrift) -> Self {
        thrift.set(self.limit.is_some());
        Self { thrift, ..self }
    }

    /// Money is short where all that is in flight could not be paid for once more, or nobody knows what it costs.
    fn note_thrift(&self, books: &Books) {
        let Some(limit) = self.limit else { return };
        let open = |account: &Account| account.dearest.is_none() && account.in_flight > 0;
        let (target, judge) = (&books.target, &books.judge);
        let after_all = limit - self.lost.usd() - target.spent - judge.spent - 2.0 * (target.held + judge.held);
        let judge_after_all = self.judge_limit.map(|limit| limit - judge.spent - 2.0 * judge.held);
        let is_spent = after_all <= 0.0 || judge_after_all.is_some_and(|left| left <= 0.0);
        self.thrift.set(is_spent || open(target) || open(judge));
    }

    /// Holds money back for one call. Waits while calls in flight may turn out cheaper than was held for them.
    pub(super) async fn hold(&self, payee: Payee) -> Result<Hold<'_>, Spent> {
        loop {
            // Made before the books are read, so that no settlement in between is missed.
            let settled = self.settled.notified();
            match self.ask(payee) {
                Answer::Granted(amount) => return Ok(Hold { ledger: self, payee, amount }),
                Answer::Wait => settled.await,
                Answer::Spent => return Err(Spent),
            }
        }
    }

    fn ask(&self, payee: Payee) -> Answer {
        let Some(limit) = self.limit else { return Answer::Granted(0.0) };
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let in_flight = books.target.in_flight + books.judge.in_flight;
        let judge_in_flight = books.judge.in_flight;
        let lost = self.lost.usd();
        let room = limit - lost - books.target.spent - books.target.held - books.judge.spent - books.judge.held;
        let judge_room = self.judge_limit.map(|limit| limit - books.judge.spent - books.judge.held);
        let account = books.account(payee);
        // Nobody knows what such a call costs: one goes alone and shows it.
        if account.dearest.is_none() && account.in_flight > 0 {
            return Answer::Wait;
        }
        let amount = account.dearest.unwrap_or(0.0);
        let fits = |room: f64| if account.dearest == Some(0.0) { room >= 0.0 } else { room > 0.0 && amount <= room };
        if payee == Payee::Judge && judge_room.is_some_and(|room| !fits(room)) {
            return if judge_in_flight > 0 { Answer::Wait } else { Answer::Spent };
        }
        if !fits(room) {
            return if in_flight > 0 { Answer::Wait } else { Answer::Spent };
        }
        account.in_flight += 1;
        account.held += amount;
        self.note_thrift(&books);
        Answer::Granted(amount)
    }

    fn settle(&self, payee: Payee, amount: f64, spend: Option<&Spend>) {
        if self.limit.is_none() {
            return;
        }
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let account = books.account(payee);
        account.in_flight = account.in_flight.saturating_sub(1);
        // Sums of what was added and taken away may miss zero by a rounding; nothing in flight holds nothing.
        account.held = if account.in_flight == 0 { 0.0 } else { account.held - amount };
        if let Some(spend) = spend {
            account.spent += spend.cost_usd;
            // An answer from the cache says nothing about the price.
            if spend.calls > 0 {
                account.dearest = Some(account.dearest.unwrap_or(0.0).max(spend.cost_usd));
            }
        }
        self.note_thrift(&books);
        drop(books);
        self.settled.notify_waiters();
    }
}

impl Books {
    fn account(&mut self, payee: Payee) -> &mut Account {
        match payee {
            Payee::Target => &mut self.target,
            Payee::Judge => &mut self.judge,
        }
    }
}

impl Hold<'_> {
    /// The call ended and cost this.
    pub(super) fn settle(self, spend: &Spend) {
        self.ledger.settle(self.payee, self.amount, Some(spend));
        std::mem::forget(self);
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.ledger.settle(self.payee, self.amount, None);
    }
}

/// Looks at the share of failures as they are journaled.
pub(super) struct FailureWatch {
    limit: Option<f64>,
    silence: Option<u64>,
    judges: BTreeSet<String>,
    trials: Tally,
    cells: Tally,
}

#[derive(Default)]
struct Tally {
    done: u64,
    failed: u64,
    /// Failures for want of an answer since something last answered.
    in_a_row: u64,
}

impl FailureWatch {
    /// A watch over trials and over the cells of those graders that are judges.
    pub(super) fn new(budget: &Budget, graders: &[GraderInfo]) -> Self {
        let judges = graders.iter().filter(|grader| grader.kind == GraderKind::Judge);
        let judges = judges.map(|grader| grader.name.clone()).collect();
        let (limit, silence) = (budget.max_failures, budget.max_silence);
        Self { limit, silence, judges, trials: Tally::default(), cells: Tally::default() }
    }

    /// Takes an event; gives the failure to stop for when there are too many.
    pub(super) fn push(&mut self, event: &Event) -> Option<Failure> {
        match event {
            Event::TargetFinished { outcome: TargetOutcome::Failed { failure }, .. } => {
                self.trials.failed(failure.kind.is_transient());
                self.trials.too_many("trials", self.limit, self.silence, failure)
            }
            Event::TargetFinished { .. } => {
                self.trials.answered();
                None
            }
            Event::ScoreFinished { cell, scored, .. } if self.judges.contains(&cell.grader) => match scored {
                Err(unscored) if unscored.reason.is_instrument_failure() => {
                    self.cells.failed(is_silence(unscored.reason));
                    let last = format!("{}: {}", unscored.reason.as_str(), unscored.detail);
                    let last = Failure::new(FailureKind::Server, last);
                    self.cells.too_many("judge cells", self.limit, self.silence, &last)
                }
                Err(_) => None,
                Ok(_) => {
                    self.cells.answered();
                    None
                }
            },
            _ => None,
        }
    }
}

/// Whether a judge's cell has no score because its provider gave no answer.
fn is_silence(reason: UnscoredReason) -> bool {
    matches!(reason, UnscoredReason::Timeout | UnscoredReason::RateLimited | UnscoredReason::ProviderFailed)
}

impl Tally {
    fn answered(&mut self) {
        self.done += 1;
        self.in_a_row = 0;
    }

    fn failed(&mut self, in_silence: bool) {
        self.done += 1;
        self.failed += 1;
        self.in_a_row = if in_silence { self.in_a_row + 1 } else { 0 };
    }

    fn too_many(&self, what: &str, limit: Option<f64>, silence: Option<u64>, last: &Failure) -> Option<Failure> {
        let Self { done, failed, in_a_row } = self;
        let last_words = &last.message;
        let limit = limit.filter(|limit| *failed >= FEWEST_FAILURES && *failed as f64 > limit * *done as f64);
        let words = if let Some(limit) = limit {
            format!("{failed} of {done} {what} failed, more than a share of {limit}; the last: {last_words}")
        } else if silence.is_some_and(|most| *in_a_row > most) {
            format!("{in_a_row} {what} in a row got no answer; the last: {last_words}")
        } else {
            return None;
        };
        Some(Failure::new(last.kind, words))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{ExampleId, TrialKey, Usage};

    fn budget(limit: f64, call: Option<f64>) -> Budget {
        Budget { max_cost_usd: Some(limit), judge_call_usd: call, ..Budget::default() }
    }

    fn call(cost: f64) -> Spend {
        Spend::of_call(Usage::default(), Some(cost))
    }

    #[tokio::test]
    async fn money_that_bought_nothing_is_gone_all_the_same() {
        let lost = Arc::new(Mutex::new(0.0));
        let told = Arc::clone(&lost);
        let lost_money = Lost::told_by(move || *told.lock().unwrap());
        let ledger = Ledger::new(&budget(1.0, Some(0.4)), &RunTotals::default(), Dearest::default());
        let ledger = ledger.with_lost(lost_money);
        ledger.hold(Payee::Judge).await.unwrap().settle(&Spend { cost_usd: 0.3, calls: 1, ..Spend::default() });
        *lost.lock().unwrap() = 0.35;
        assert!(ledger.hold(Payee::Judge).await.is_err(), "0.3 and 0.35 are spent, 0.4 would not fit");
        *lost.lock().unwrap() = 0.25;
        assert!(ledger.hold(Payee::Judge).await.is_ok());
    }

    #[tokio::test]
    async fn money_is_short_where_what_is_in_flight_could_not_be_paid_twice() {
        let thrift = Thrift::default();
        let ledger = Ledger::new(&budget(1.0, Some(0.2)), &RunTotals::default(), Dearest::default());
        let ledger = ledger.with_thrift(thrift.clone());
        assert!(thrift.is_short(), "nothing is known yet");
        let first = ledger.hold(Payee::Judge).await.unwrap();
        let second = ledger.hold(Payee::Judge).await.unwrap();
        assert!(!thrift.is_short(), "0.4 are held, twice that is 0.8");
        let third = ledger.hold(Payee::Judge).await.unwrap();
        assert!(thrift.is_short(), "twice 0.6 is more than 1");
        first.settle(&call(0.2));
        assert!(thrift.is_short(), "0.2 are spent, 0.4 are held");
        second.settle(&call(0.0));
        assert!(!thrift.is_short());
        third.settle(&call(0.2));
        let unknown = Ledger::new(&budget(1.0, None), &RunTotals::default(), Dearest::default());
        let unknown = unknown.with_thrift(thrift.clone());
        let _first = unknown.hold(Payee::Judge).await.unwrap();
        assert!(thrift.is_short(), "nobody knows what the first call costs");
        let _free =
            Ledger::new(&Budget::default(), &RunTotals::default(), Dearest::default()).with_thrift(thrift.clone());
        assert!(!thrift.is_short(), "no limit");
    }

    #[tokio::test]
    async fn what_is_in_flight_is_held_back() {
        let ledger = Ledger::new(&budget(1.0, Some(0.4)), &RunTotals::default(), Dearest::default());
        let first = ledger.hold(Payee::Judge).await.unwrap();
        let second = ledger.hold(Payee::Judge).await.unwrap();
        // 0.8 are held: a third waits until one turns out cheaper.
        assert!(matches!(ledger.ask(Payee::Judge), Answer::Wait));
        first.settle(&call(0.1));
        let third = ledger.hold(Payee::Judge).await.unwrap();
        second.settle(&call(0.4));
        third.settle(&call(0.4));
        assert_eq!(ledger.hold(Payee::Judge).await.err(), Some(Spent));
    }

    #[tokio::test]
    async fn a_call_of_unknown_price_goes_alone() {
        let ledger = Ledger::new(&budget(1.0, None), &RunTotals::default(), Dearest::default());
        let first = ledger.hold(Payee::Judge).await.unwrap();
        assert!(matches!(ledger.ask(Payee::Judge), Answer::Wait));
        first.settle(&call(0.3));
        let _second = ledger.hold(Payee::Judge).await.unwrap();
        let _third = ledger.hold(Payee::Judge).await.unwrap();
        assert!(matches!(ledger.ask(Payee::Judge), Answer::Wait));
    }

    #[tokio::test]
    async fn a_dropped_call_gives_its_money_back_and_wakes_who_waits() {
        let ledger = Arc::new(Ledger::new(&budget(0.5, Some(0.5)), &RunTotals::default(), Dearest::default()));
        let first = ledger.hold(Payee::Judge).await.unwrap();
        let waiting = tokio::spawn({
            let ledger = Arc::clone(&ledger);
            async move { ledger.hold(Payee::Judge).await.map(|hold| hold.settle(&call(0.5))) }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn earlier_sittings_and_the_judges_share_count() {
        let totals = RunTotals { judge_spend: call(0.5), ..RunTotals::default() };
        let half = Budget { judge_share: Some(0.5), target_call_usd: Some(0.1), ..budget(1.0, Some(0.1)) };
        let ledger = Ledger::new(&half, &totals, Dearest::default());
        assert_eq!(ledger.hold(Payee::Judge).await.err(), Some(Spent));
        assert!(ledger.hold(Payee::Target).await.is_ok());
    }

    #[tokio::test]
    async fn free_calls_fit_an_empty_budget_and_none_is_no_limit() {
        let free = Budget { target_call_usd: Some(0.0), ..budget(0.0, None) };
        let ledger = Ledger::new(&free, &RunTotals::default(), Dearest::default());
        let _held = (ledger.hold(Payee::Target).await.unwrap(), ledger.hold(Payee::Target).await.unwrap());
        let ledger = Ledger::new(&Budget::default(), &RunTotals::default(), Dearest::default());
        assert!(matches!(ledger.ask(Payee::Judge), Answer::Granted(_)));
    }

    proptest! {
        #[test]
        fn a_budget_holds_while_no_call_is_dearer_than_foretold(
            limit in 0.0..2.0_f64,
            costs in proptest::collection::vec((0.0..0.1_f64, any::<bool>(), 0..6_usize), 0..120),
        ) {
            let foretold = Budget { target_call_usd: Some(0.1), ..budget(limit, Some(0.1)) };
            let ledger = Ledger::new(&foretold, &RunTotals::default(), Dearest::default());
            let mut flying: Vec<(Payee, f64, f64)> = Vec::new();
            let mut spent = 0.0;
            for (cost, is_judge, landing) in costs {
                let payee = if is_judge { Payee::Judge } else { Payee::Target };
                match ledger.ask(payee) {
                    Answer::Granted(amount) => flying.push((payee, amount, cost)),
                    Answer::Wait => prop_assert!(!flying.is_empty(), "waits for nothing"),
                    Answer::Spent => prop_assert!(flying.is_empty() && spent + 0.1 > limit),
                }
                for (payee, amount, cost) in flying.drain(..landing.min(flying.len())) {
                    ledger.settle(payee, amount, Some(&call(cost)));
                    spent += cost;
                }
                let in_the_air: f64 = flying.iter().map(|(_, _, cost)| cost).sum();
                prop_assert!(spent + in_the_air <= limit + 1e-9);
            }
        }
    }

    #[test]
    fn failures_are_borne_up_to_their_share() {
        let event = |outcome| Event::TargetFinished {
            trial: TrialKey { example: ExampleId::new("a"), trial: 0 },
            outcome,
            spend: Spend::default(),
        };
        let failed = event(TargetOutcome::Failed { failure: Failure::new(FailureKind::TargetError, "exit 1") });
        let mut watch = FailureWatch::new(&Budget { max_failures: Some(0.5), ..Budget::default() }, &[]);
        let stops: Vec<bool> = (0..12).map(|_| watch.push(&failed).is_some()).collect();
        assert_eq!(stops.iter().position(|stop| *stop), Some(9));
        assert_eq!(FailureWatch::new(&Budget::default(), &[]).push(&failed), None);
    }

    #[test]
    fn a_service_that_answers_nothing_is_taken_for_dead() {
        let ended = |kind| Event::TargetFinished {
            trial: TrialKey { example: ExampleId::new("a"), trial: 0 },
            outcome: TargetOutcome::Failed { failure: Failure::new(kind, "gone") },
            spend: Spend::default(),
        };
        let mut watch = FailureWatch::new(&Budget { max_silence: Some(3), ..Budget::default() }, &[]);
        // An error of the target's own is an answer, and silence is counted anew from there.
        for kind in [FailureKind::Timeout, FailureKind::Connection, FailureKind::Server, FailureKind::TargetError] {
            assert_eq!(watch.push(&ended(kind)), None);
        }
        let stops = (0..4).map(|_| watch.push(&ended(FailureKind::Timeout))).collect::<Vec<_>>();
        assert!(stops[..3].iter().all(Option::is_none));
        let failure = stops[3].as_ref().unwrap();
        assert!(failure.message.starts_with("4 trials in a row got no answer; the last: gone"), "{failure}");
    }
}
