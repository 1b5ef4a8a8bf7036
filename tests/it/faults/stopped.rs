//! Runs that a person or the budget stops, and answers that were paid for already.

use std::time::Duration;

use super::{AT_A_TIME, Bench, Suite, finish, signal, wait_until};
use crate::mock::{Fault, Plan};
use crate::store::Place;

const EXAMPLES: usize = 120;
/// What one judgement costs: 100 tokens read at 1 and 20 written at 4 US dollars per million, 40 of those read from
/// the provider's own cache at the same price.
const PRICE: f64 = 180e-6;

/// The command that a stopped run says to go on with.
fn advice(stderr: &str) -> Vec<String> {
    let line = stderr.lines().find(|line| line.contains("assize run --resume")).unwrap_or_else(|| panic!("{stderr}"));
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

async fn interrupted(bench: Bench) {
    let child = bench.world.start(&["run"]);
    wait_until("calls", || bench.mock.count() > EXAMPLES / 2);
    signal(&child, "INT");
    let stopped = finish(child).expect(130);
    let run = bench.run_id();
    let journal = bench.journal(&run).await;
    journal.check();
    let (totals, complete) = journal.end();
    let judged = journal.cells().keys().filter(|cell| cell.grader == "answer_relevance").count();
    assert!(!complete && totals.cells_done() < totals.cells_planned);
    assert_eq!(bench.mock.count(), journal.trials().len() + judged, "what was in flight is finished and kept");
    let command = advice(&stopped.stderr);
    bench.world.run(&command.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    bench.journal(&run).await.check_complete(EXAMPLES, 2 * EXAMPLES);
    assert_eq!(bench.mock.count(), 2 * EXAMPLES, "nothing is asked twice");
    bench.end().await;
}

fn slow() -> Plan {
    Plan { latency: Duration::from_millis(40), ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_finishes_what_is_in_flight_and_says_how_to_go_on() {
    interrupted(Bench::new(Suite::prompt(EXAMPLES), slow()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_on_postgres() {
    let Some(place) = Place::postgres() else { return };
    interrupted(Bench::at(Some(place), Suite::prompt(EXAMPLES), slow()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_drops_what_is_in_flight() {
    let bench = Bench::new(Suite::recorded(30), Plan { latency: Duration::from_secs(2), ..Plan::default() }).await;
    let child = bench.world.start(&["run"]);
    wait_until("calls", || bench.mock.count() >= AT_A_TIME);
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(100));
    let second = std::time::Instant::now();
    signal(&child, "INT");
    finish(child).expect(130);
    assert!(second.elapsed() < Duration::from_millis(1_500), "{:?}", second.elapsed());
    let run = bench.run_id();
    let journal = bench.journal(&run).await;
    journal.check();
    assert!(!journal.end().1);
    bench.world.run(&["run", "--resume", &run, "--limit", "3"]).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_holds_and_a_greater_one_goes_on() {
    let bench = Bench::new(Suite::recorded(EXAMPLES), Plan::default()).await;
    let limit = 0.015;
    let stopped = bench.world.run(&["run", "--max-cost", &limit.to_string()]).expect(5);
    let run = bench.run_id();
    let journal = bench.journal(&run).await;
    journal.check();
    let (totals, complete) = journal.end();
    let spent = totals.judge_spend.cost_usd;
    assert!(!complete && spent <= limit && spent > limit / 2.0, "{spent}");
    assert!((spent - PRICE * bench.mock.count() as f64).abs() < 1e-9, "{spent} for {} calls", bench.mock.count());
    let more = ["--max-cost", "1"].map(str::to_owned);
    let command: Vec<String> = advice(&stopped.stderr).into_iter().chain(more).collect();
    bench.world.run(&command.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    bench.journal(&run).await.check_complete(EXAMPLES, EXAMPLES);
    assert_eq!(bench.mock.count(), EXAMPLES, "nothing is asked twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn judges_stop_at_their_share_of_the_budget() {
    let bench = Bench::new(Suite::prompt(EXAMPLES), Plan::default()).await;
    let (limit, share) = (0.02, 0.25);
    let arguments = ["run", "--max-cost", &limit.to_string(), "--judge-share", &share.to_string()];
    let stopped = bench.world.run(&arguments).expect(5);
    assert!(
        stopped.stderr.contains("stops at $0.02") && stopped.stderr.contains("judges at $0.005"),
        "{}",
        stopped.stderr
    );
    let journal = bench.journal(&bench.run_id()).await;
    let (totals, complete) = journal.end();
    let (judges, targets) = (totals.judge_spend.cost_usd, totals.target_spend.cost_usd);
    assert!(!complete && judges <= limit * share && judges > limit * share / 2.0, "{judges}");
    assert!(judges + targets <= limit, "{judges} and {targets}");
    let said = bench.world.run(&["run", "--judge-share", "1.5"]).expect(2).stderr;
    assert!(said.contains("--judge-share") && said.contains("from 0.01 to 1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_counts_answers_that_were_billed_and_of_no_use() {
    let plan = Plan { chances: vec![(Fault::EmptyChoices, 0.5)], ..Plan::default() };
    let bench = Bench::new(Suite::recorded(EXAMPLES), plan).await;
    let provider =
        format!("kind = \"openai\"\nbase_url = \"{}\"\ntimeout = \"3s\"\nmax_attempts = 1", bench.mock.openai_url());
    bench.configure(&Suite { provider, ..bench.suite.clone() });
    let limit = 0.01;
    let stopped = bench.world.run(&["run", "--max-cost", &limit.to_string()]).expect(5);
    let paid = PRICE * bench.mock.billed() as f64;
    let found = bench.journal(&bench.run_id()).await.end().0.judge_spend.cost_usd;
    // The most that one more cell could cost is held back, so the end comes somewhat before the limit.
    assert!(paid <= limit && paid > 0.7 * limit, "{paid} was paid, of which {found} gave a finding");
    assert!(found < paid && stopped.stderr.contains("could not be used"), "{found}: {}", stopped.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_not_paid_again_unless_asked_for() {
    let bench = Bench::new(Suite::prompt(40), Plan::default()).await;
    let mut calls = Vec::new();
    for flags in [&["run"][..], &["run"], &["run", "--no-cache"], &["run"]] {
        let before = bench.mock.count();
        bench.world.run(flags).expect(0);
        calls.push(bench.mock.count() - before);
        let journal = bench.journal(&bench.run_id()).await;
        journal.check_complete(40, 80);
        let totals = journal.end().0;
        let paid = totals.judge_spend.calls + totals.target_spend.calls;
        assert_eq!(paid as usize, bench.mock.count() - before);
    }
    assert_eq!(calls, [80, 0, 80, 0]);
}
