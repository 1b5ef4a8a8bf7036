//! One trial from its example to its last cell: the target, then scorers at once, then judges under their limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};

use super::budget::Payee;
use super::dispatch::{Closed, panic_words};
use super::execute::Bench;
use super::resume::{Place, Slot};
use super::target_call::{Asked, ask, attempt_failed};
use super::{Grader, RunError, Work};
use crate::judge::{Grade, Graded};
use crate::model::{
    CancelReason, CellKey, Digest, Event, Example, Failure, Output, ScoreInput, Scored, Spend, TargetOutcome, TrialKey,
    Unscored, UnscoredReason,
};
use crate::provider::Notice;
use crate::scorer::Scorer;

/// Why a worker has to give up.
pub(super) enum Broken {
    /// The dispatcher is gone; it has said why.
    Closed,
    /// Something that the run cannot go on without.
    Fault(RunError),
}

impl From<Closed> for Broken {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// Runs what is left of a trial. When the run stops meanwhile, what was not run is not journaled.
pub(super) async fn run(bench: &Bench, slot: Slot) -> Result<(), Broken> {
    let example =
        bench.examples.load(slot.index).map_err(|cause| Broken::Fault(bench.bad_example(slot.index, cause)))?;
    let key = TrialKey { example: example.id.clone(), trial: slot.trial };
    let missing = bench.progress.missing(slot);
    match bench.progress.outcome(slot) {
        Some(TargetOutcome::Output { digest, .. }) => {
            let output = reload(bench, digest).await?;
            let (scorers, judges) = split(bench, missing);
            let input = ScoreInput { example: &example, output: &output };
            let events = score_all(&key, &scorers, &input);
            if !events.is_empty() {
                bench.outbox.send(events, None).await?;
            }
            judge_all(bench, &key, &judges, &input).await
        }
        Some(TargetOutcome::Failed { failure }) => {
            let events = give_up(bench, &key, &missing, failure);
            Ok(bench.outbox.send(events, None).await?)
        }
        None => run_target(bench, &key, &example, missing).await,
    }
}

async fn run_target(bench: &Bench, key: &TrialKey, example: &Example, missing: Vec<Place>) -> Result<(), Broken> {
    let reply = match ask(bench, key, example).await {
        Asked::Left => return Ok(()),
        Asked::Failed(failure) => {
            let cells = give_up(bench, key, &missing, &failure);
            let mut events = vec![Event::TargetFinished {
                trial: key.clone(),
                outcome: TargetOutcome::Failed { failure },
                spend: Spend::default(),
            }];
            events.extend(cells);
            return Ok(bench.outbox.send(events, None).await?);
        }
        Asked::Replied(reply) => reply,
    };
    let output = reply.output;
    let bytes = serde_json::to_vec(&output).map_err(|cause| Broken::Fault(bench.damaged(cause.to_string())))?;
    let digest = Digest::of(&bytes);
    let outcome = TargetOutcome::Output {
        digest: digest.clone(),
        latency_ms: output.latency_ms.filter(|number| number.is_finite()),
        cost_usd: output.cost_usd.filter(|number| number.is_finite()),
        usage: output.usage.clone(),
    };
    let (scorers, judges) = split(bench, missing);
    let input = ScoreInput { example, output: &output };
    // One message: scorers cost nothing, so their findings are as durable as the output they are about.
    let mut events = vec![Event::TargetFinished { trial: key.clone(), outcome, spend: reply.spend }];
    events.extend(score_all(key, &scorers, &input));
    bench.outbox.send(events, Some((digest, bytes))).await?;
    judge_all(bench, key, &judges, &input).await
}

/// The output of a trial that an earlier sitting ran.
async fn reload(bench: &Bench, digest: &Digest) -> Result<Output, Broken> {
    let bytes = bench.store.get_blob(digest).await.map_err(|error| Broken::Fault(error.into()))?;
    let Some(bytes) = bytes else {
        return Err(Broken::Fault(bench.damaged(format!("output `{}` is not in the store", digest.short()))));
    };
    serde_json::from_slice(&bytes)
        .map_err(|cause| Broken::Fault(bench.damaged(format!("output `{}`: {cause}", digest.short()))))
}

/// Cells of scorers and cells of judges.
fn split<'a>(bench: &'a Bench, missing: Vec<Place>) -> (Vec<ScorerCell<'a>>, Vec<JudgeCell<'a>>) {
    let mut scorers = Vec::new();
    let mut judges = Vec::new();
    for place in missing {
        match bench.graders.get(place.grader) {
            Some(Grader { info, work: Work::Scorer(scorer) }) => {
                scorers.push((info.name.as_str(), place.draw, &**scorer))
            }
            Some(Grader { info, work: Work::Judge(judge) }) => judges.push((info.name.as_str(), place.draw, &**judge)),
            None => {}
        }
    }
    (scorers, judges)
}

type ScorerCell<'a> = (&'a str, u32, &'a dyn Scorer);
type JudgeCell<'a> = (&'a str, u32, &'a dyn Grade);

fn give_up(bench: &Bench, key: &TrialKey, missing: &[Place], failure: &Failure) -> Vec<Event> {
    let unscored = Unscored::new(UnscoredReason::TargetFailed, failure.to_string());
    let cell = |place: &Place| {
        let grader = bench.graders.get(place.grader)?.info.name.as_str();
        Some(score_finished(key, grader, place.draw, free(Err(unscored.clone()), 0)))
    };
    missing.iter().filter_map(cell).collect()
}

fn score_all(key: &TrialKey, cells: &[ScorerCell<'_>], input: &ScoreInput<'_>) -> Vec<Event> {
    let score = |(name, draw, scorer): &ScorerCell<'_>| {
        let started = Instant::now();
        let scored = catch_unwind(AssertUnwindSafe(|| scorer.score(input))).unwrap_or_else(|panic| {
            let words = format!("the scorer panicked: {}", panic_words(&*panic));
            Err(Unscored::new(UnscoredReason::ScorerFault, words))
        });
        score_finished(key, name, *draw, free(scored, millis(started)))
    };
    cells.iter().map(score).collect()
}

async fn judge_all(
    bench: &Bench,
    key: &TrialKey,
    cells: &[JudgeCell<'_>],
    input: &ScoreInput<'_>,
) -> Result<(), Broken> {
    let mut asked: FuturesUnordered<_> = cells.iter().map(|cell| judge_one(bench, key, *cell, input)).collect();
    while let Some(done) = asked.next().await {
        done?;
    }
    Ok(())
}

async fn judge_one(
    bench: &Bench,
    key: &TrialKey,
    (name, draw, judge): JudgeCell<'_>,
    input: &ScoreInput<'_>,
) -> Result<(), Broken> {
    let slot = tokio::select! {
        biased;
        () = bench.halt.stopping() => return Ok(()),
        slot = bench.judge_slots.acquire() => slot,
    };
    let Ok(_slot) = slot else { return Ok(()) };
    let hold = tokio::select! {
        biased;
        () = bench.halt.stopping() => return Ok(()),
        hold = bench.ledger.hold(Payee::Judge) => hold,
    };
    let Ok(hold) = hold else {
        bench.halt.stop(CancelReason::BudgetSpent);
        return Ok(());
    };
    let on_notice = |notice: Notice| {
        bench.outbox.notice(attempt_failed(key, Some(name), notice.attempt, notice.failure, notice.retry_in));
    };
    let started = Instant::now();
    let graded = AssertUnwindSafe(judge.grade(input, draw, &on_notice)).catch_unwind().await;
    let mut graded = graded.unwrap_or_else(|panic| {
        let words = format!("the judge panicked: {}", panic_words(&*panic));
        free(Err(Unscored::new(UnscoredReason::ScorerFault, words)), millis(started))
    });
    graded.spend = tidy(graded.spend);
    hold.settle(&graded.spend);
    if let Some(failure) = graded.fatal {
        // Not journaled: once the key or the name is mended, a resumed run asks again.
        bench.halt.stop(CancelReason::Fatal { failure });
        return Ok(());
    }
    Ok(bench.outbox.send(vec![score_finished(key, name, draw, graded)], None).await?)
}

fn score_finished(key: &TrialKey, grader: &str, draw: u32, graded: Graded) -> Event {
    let cell = CellKey { trial: key.clone(), grader: grader.to_owned(), draw };
    let Graded { scored, spend, cached, took_ms, .. } = graded;
    Event::ScoreFinished { cell, scored, spend, cached, took_ms }
}

/// Money that can be written down: JSON knows no NaN. A sum that is not a number is an unknown one.
pub(super) fn tidy(mut spend: Spend) -> Spend {
    if !(spend.cost_usd.is_finite() && spend.cost_usd >= 0.0) {
        spend.cost_usd = 0.0;
        spend.unpriced_calls = spend.calls.max(1);
    }
    spend
}

fn millis(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A finding that cost nothing.
fn free(scored: Scored, took_ms: u64) -> Graded {
    Graded { scored, spend: Spend::default(), cached: false, took_ms, fatal: None }
}
