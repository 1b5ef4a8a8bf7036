//! Calling the target of one trial: attempts, waits, time limits.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::budget::Payee;
use super::dispatch::panic_words;
use super::execute::Bench;
use crate::model::{CancelReason, Digester, Event, Example, Failure, FailureKind, TrialKey};
use crate::provider::Notice;
use crate::sys::RetryPolicy;
use crate::target::{Stage, TargetCall, TargetReply};

/// How a target's trial ended for now.
pub(super) enum Asked {
    /// It gave an output.
    Replied(Box<TargetReply>),
    /// It failed for good.
    Failed(Failure),
    /// The run stops before this trial's end; it is not journaled and a resumed run tries it again.
    Left,
}

/// Runs attempts until one succeeds, the failure is for good, or the run stops.
pub(super) async fn ask(bench: &Bench, key: &TrialKey, example: &Example) -> Asked {
    let slot = tokio::select! {
        biased;
        () = bench.halt.stopping() => return Asked::Left,
        slot = bench.target_slots.acquire() => slot,
    };
    // The semaphore is never closed; without it there is no bound, and nothing must be asked.
    let Ok(_slot) = slot else { return Asked::Left };
    let _turn = match &bench.lane {
        None => None,
        Some(lane) => tokio::select! {
            biased;
            () = bench.halt.stopping() => return Asked::Left,
            turn = lane.turn() => turn,
        },
    };
    let mut attempt = 1;
    let retry = limits(bench);
    loop {
        let failure = match attempt_once(bench, key, example, attempt, retry.attempt_timeout).await {
            Asked::Failed(failure) => failure,
            ended => return ended,
        };
        let retried = bench.target.retried_by_runner();
        let delay = match retried {
            true => retry.delay(attempt, &failure, jitter(bench.seed, key, attempt)),
            false => None,
        };
        if retried {
            bench.outbox.notice(attempt_failed(key, None, attempt, failure.clone(), delay));
        }
        if failure.kind.stops_the_run() {
            bench.halt.stop(CancelReason::Fatal { failure });
            return Asked::Left;
        }
        let Some(delay) = delay else { return Asked::Failed(failure) };
        tokio::select! {
            () = bench.halt.stopping() => return Asked::Left,
            () = tokio::time::sleep(delay) => {}
        }
        attempt += 1;
    }
}

/// The event of a failed attempt.
pub(super) fn attempt_failed(
    key: &TrialKey,
    grader: Option<&str>,
    attempt: u32,
    failure: Failure,
    retry_in: Option<Duration>,
) -> Event {
    let retry_in_ms = retry_in.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    Event::AttemptFailed { trial: key.clone(), grader: grader.map(str::to_owned), attempt, failure, retry_in_ms }
}

/// The run's limits, with those that the target has of its own.
fn limits(bench: &Bench) -> RetryPolicy {
    let (timeout, attempts) = bench.target.limits();
    let RetryPolicy { max_attempts, attempt_timeout, .. } = bench.retry;
    RetryPolicy {
        max_attempts: attempts.unwrap_or(max_attempts),
        attempt_timeout: timeout.unwrap_or(attempt_timeout),
        ..bench.retry
    }
}

async fn attempt_once(bench: &Bench, key: &TrialKey, example: &Example, attempt: u32, timeout: Duration) -> Asked {
    let hold = tokio::select! {
        biased;
        () = bench.halt.stopping() => return Asked::Left,
        hold = bench.ledger.hold(Payee::Target) => hold,
    };
    let Ok(hold) = hold else {
        bench.halt.stop(CancelReason::BudgetSpent);
        return Asked::Left;
    };
    let on_notice = |notice: Notice| {
        bench.outbox.notice(attempt_failed(key, None, notice.attempt, notice.failure, notice.retry_in));
    };
    let stage = &Stage::BARE;
    let call = TargetCall { example, trial: key.trial, attempt, timeout, on_notice: &on_notice, stage };
    let running = AssertUnwindSafe(bench.target.run(&call)).catch_unwind();
    let ended = if bench.target.retried_by_runner() {
        // The target keeps the limit itself and knows what it waited for; this is for one that does not.
        let grace = timeout.mul_f64(0.1) + Duration::from_millis(50) + bench.target.overtime();
        tokio::time::timeout(timeout.saturating_add(grace), running).await
    } else {
        Ok(running.await)
    };
    match ended {
        Ok(Ok(Ok(reply))) => {
            let spend = super::trial::tidy(reply.spend.clone());
            hold.settle(&spend);
            Asked::Replied(Box::new(TargetReply { spend, ..reply }))
        }
        Ok(Ok(Err(failure))) => Asked::Failed(failure),
        Ok(Err(panic)) => {
            let words = panic_words(&*panic);
            Asked::Failed(Failure::new(FailureKind::TargetError, format!("the target panicked: {words}")))
        }
        Err(_) => {
            let words = format!("the target gave no answer within {} ms", timeout.as_millis());
            Asked::Failed(Failure::new(FailureKind::Timeout, words))
        }
    }
}

/// A uniform draw from [0, 1) that depends on run, trial and attempt alone.
fn jitter(seed: u64, key: &TrialKey, attempt: u32) -> f64 {
    let digest = Digester::new()
        .part("seed", &seed.to_le_bytes())
        .part("example", key.example.as_str().as_bytes())
        .part("trial", &key.trial.to_le_bytes())
        .part("attempt", &attempt.to_le_bytes())
        .finish();
    // Twelve hexadecimal digits: 48 bits.
    let state = u64::from_str_radix(digest.short(), 16).unwrap_or(seed);
    Pcg64Mcg::seed_from_u64(state).random()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ExampleId;

    #[test]
    fn jitter_is_the_same_for_the_same_attempt_and_spread_over_others() {
        let key = |trial| TrialKey { example: ExampleId::new("a"), trial };
        assert_eq!(jitter(1, &key(0), 1), jitter(1, &key(0), 1));
        let draws: Vec<f64> = (0..1_000).map(|trial| jitter(1, &key(trial), 1)).collect();
        let mean = draws.iter().sum::<f64>() / 1_000.0;
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)) && (mean - 0.5).abs() < 0.05, "{mean}");
    }
}
