//! A server that fails: by chance in every way there is, for good, or by not being there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use assize::model::{Scored, UnscoredReason};

use super::{Bench, KEY, Suite, closed_port, files_with, marker};
use crate::mock::{Fault, Plan, Seen};
use crate::store::Place;

const EXAMPLES: usize = 150;

/// Every fault there is, often enough that some calls run out of attempts.
fn all_faults(seed: u64) -> Plan {
    let chances = vec![
        (Fault::Status(500), 0.06),
        (Fault::Status(503), 0.03),
        (Fault::RateLimited(Some(0.05)), 0.05),
        (Fault::RateLimited(None), 0.02),
        (Fault::Overloaded, 0.01),
        (Fault::Reset, 0.05),
        (Fault::Hang, 0.01),
        (Fault::Truncated, 0.05),
        (Fault::NotJson, 0.03),
        (Fault::WrongShape, 0.03),
        (Fault::Huge, 0.01),
        (Fault::EmptyChoices, 0.02),
        (Fault::WrongSchema, 0.03),
        (Fault::BrokenJson, 0.02),
        (Fault::Refusal, 0.03),
        (Fault::ContentFilter, 0.02),
        (Fault::PromptFiltered, 0.02),
        (Fault::Length, 0.04),
    ];
    Plan { seed, chances, ..Plan::default() }
}

/// How a cell must end whose last call ended like this.
fn end_of(fault: Option<&Fault>) -> Option<UnscoredReason> {
    use UnscoredReason as Reason;
    Some(match fault? {
        Fault::Status(_) | Fault::Reset | Fault::Truncated | Fault::NotJson => Reason::ProviderFailed,
        Fault::WrongShape | Fault::Huge | Fault::EmptyChoices => Reason::ProviderFailed,
        Fault::RateLimited(_) | Fault::Overloaded => Reason::RateLimited,
        Fault::Hang => Reason::Timeout,
        Fault::WrongSchema | Fault::BrokenJson => Reason::ReplyUnreadable,
        Fault::Refusal => Reason::JudgeRefused,
        Fault::ContentFilter | Fault::PromptFiltered => Reason::ContentFilter,
        Fault::Length => Reason::ReplyTruncated,
        Fault::NoQuota => unreachable!("it stops the run"),
    })
}

/// Faults after which asking the same again can help.
fn is_passing(fault: &Fault) -> bool {
    let lasting = matches!(
        fault,
        Fault::WrongSchema
            | Fault::BrokenJson
            | Fault::Refusal
            | Fault::ContentFilter
            | Fault::PromptFiltered
            | Fault::Length
    );
    !lasting
}

/// The questions about one example in the order in which they came. Repairs do not show the material, so they are
/// not among them.
fn questions(seen: &[Seen], number: usize) -> Vec<&Seen> {
    seen.iter().filter(|seen| seen.body["messages"].to_string().contains(&marker(number))).collect()
}

async fn every_cell_ends(bench: Bench) {
    let ran = bench.world.run(&["run", "--json"]).expect(0);
    let view = ran.json();
    let run = view["run"].as_str().unwrap().to_owned();
    let journal = bench.journal(&run).await;
    journal.check_complete(EXAMPLES, EXAMPLES);
    let seen = bench.mock.seen();
    let cells = journal.cells();
    let mut expected: BTreeMap<UnscoredReason, u64> = BTreeMap::new();
    let mut repaired = 0;
    for (cell, outcomes) in &cells {
        let number = cell.trial.example.as_str().trim_start_matches("q-").parse().unwrap();
        let asked = questions(&seen, number);
        let faults: Vec<_> = asked.iter().map(|seen| seen.fault.as_ref()).collect();
        let end = end_of(*faults.last().unwrap());
        let (scored, _): &(Scored, _) = &outcomes[0];
        match (scored, end) {
            (Ok(_), None) => {}
            // The repair put a broken reply into form, as far as the reply holds the score.
            (Ok(score), Some(UnscoredReason::ReplyUnreadable)) if score.details["repaired"] == true => repaired += 1,
            (Err(unscored), Some(reason)) => {
                *expected.entry(reason).or_default() += 1;
                assert_eq!(unscored.reason, reason, "{number}: {unscored:?} after {faults:?}");
                assert!(!unscored.detail.is_empty() && !unscored.detail.contains(KEY), "{unscored:?}");
            }
            _ => panic!("{number}: {scored:?} after {faults:?}"),
        }
        // An answer ends the asking: nothing is asked after it, and lasting ends are not asked again as they were.
        let answered = faults.iter().filter(|fault| fault.is_none()).count();
        assert!(answered <= 1 && (answered == 0 || faults.last().unwrap().is_none()), "{number}: {faults:?}");
        let lasting = faults.iter().flatten().filter(|fault| !is_passing(fault)).count();
        assert!(lasting <= 3, "{number}: {faults:?}");
    }
    let scored = EXAMPLES as u64 - expected.values().sum::<u64>();
    let (totals, _) = journal.end();
    assert_eq!((totals.scored, &totals.unscored), (scored, &expected));
    for reason in [UnscoredReason::ProviderFailed, UnscoredReason::JudgeRefused, UnscoredReason::ContentFilter] {
        assert!(expected.contains_key(&reason), "the faults did not reach {reason:?}: {expected:?}");
    }
    println!(
        "{} requests for {EXAMPLES} cells: {scored} scored ({repaired} repaired), unscored {expected:?}",
        seen.len()
    );
    // The report that is made again from the store says the same.
    let again = bench.world.run(&["report", &run, "--json"]).expect(0).json();
    assert_eq!(again["metrics"], view["view"]["metrics"]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_ends_scored_or_with_the_reason_of_its_last_call() {
    every_cell_ends(Bench::new(Suite::recorded(EXAMPLES), all_faults(7)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_ends_on_postgres() {
    let Some(place) = Place::postgres() else { return };
    every_cell_ends(Bench::at(Some(place), Suite::recorded(EXAMPLES), all_faults(8)).await).await;
}

/// Twenty refusals for rate, twenty errors of the server, eight unusable bodies (of which four are billed), four calls
/// that hang and eight resets among the first four hundred calls: 5, 5, 2, 1 and 2 %.
fn everyday_faults() -> Vec<Option<Fault>> {
    let fate = |place: usize| match place {
        place if place % 20 == 3 => Some(Fault::RateLimited(Some(0.05))),
        place if place % 20 == 13 => Some(Fault::Status(500)),
        place if place % 100 == 7 => Some(Fault::NotJson),
        place if place % 100 == 57 => Some(Fault::Truncated),
        place if place % 100 == 51 => Some(Fault::Hang),
        place if place % 50 == 31 => Some(Fault::Reset),
        _ => None,
    };
    (0..400).map(fate).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everyday_faults_cost_no_cell_and_no_call_that_could_be_spared() {
    let script = everyday_faults();
    let faults = script.iter().flatten().count();
    let bench = Bench::new(Suite::recorded(400), Plan { script, ..Plan::default() }).await;
    // Enough attempts that no cell meets a fault each time, wherever the faults fall.
    let provider =
        format!("kind = \"openai\"\nbase_url = \"{}\"\ntimeout = \"2s\"\nmax_attempts = 8", bench.mock.openai_url());
    bench.configure(&Suite { provider, ..bench.suite.clone() });
    bench.world.run(&["run"]).expect(0);
    let journal = bench.journal(&bench.run_id()).await;
    journal.check_complete(400, 400);
    let (totals, _) = journal.end();
    assert_eq!((totals.scored, totals.unscored.len()), (400, 0));
    assert_eq!((faults, bench.mock.count(), bench.mock.billed()), (60, 460, 404));
    // Each cell was answered once; a truncated answer says nothing of its tokens and stands in no total.
    assert_eq!(totals.judge_spend.calls, 400);
    let answered = bench.mock.seen().iter().filter(|seen| seen.fault.is_none()).count();
    assert_eq!(answered, 400, "one answer for each cell");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gated_metric_with_many_unscored_cells_gives_no_verdict() {
    let gate = "[suites.qa.gate.metrics]\nanswer_relevance = { floor = 0.01 }\n";
    let suite = Suite { more: gate, ..Suite::recorded(30) };
    let bench = Bench::new(suite, Plan { chances: vec![(Fault::Refusal, 0.3)], ..Plan::default() }).await;
    let ran = bench.world.run(&["run"]).expect(3);
    assert!(ran.stdout.contains("unscored"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_stops_the_run_early_and_is_shown_nowhere() {
    let mut bench = Bench::new(Suite::recorded(EXAMPLES), Plan { key: Some(KEY), ..Plan::default() }).await;
    let wrong = "sk-wrong-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    bench.world.set("OPENAI_API_KEY", wrong);
    let arguments = ["run", "--record", "cassette.jsonl", "--report", "html=run.html", "--report", "json=run.json"];
    let ran = bench.world.run(&arguments).expect(3);
    let calls = bench.mock.count();
    assert!(calls <= 2 * super::AT_A_TIME, "{calls} calls with a wrong key");
    let run = bench.run_id();
    for part in ["check the key in `OPENAI_API_KEY`", "assize run --resume"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    for key in [wrong, KEY] {
        assert!(!ran.stdout.contains(key) && !ran.stderr.contains(key), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(files_with(bench.world.folder(), key), Vec::<String>::new());
    }
    assert!(bench.journal(&run).await.cells().is_empty(), "a cell that was not asked has no outcome");
    bench.world.set("OPENAI_API_KEY", KEY);
    bench.world.run(&["run", "--resume", &run]).expect(0);
    bench.journal(&run).await.check_complete(EXAMPLES, EXAMPLES);
    assert_eq!((bench.mock.count(), files_with(bench.world.folder(), KEY)), (calls + EXAMPLES, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_is_told_before_anything_is_asked() {
    let mut bench = Bench::new(Suite::recorded(3), Plan::default()).await;
    bench.world.set("OPENAI_API_KEY", "");
    let ran = bench.world.run(&["run"]);
    assert!(ran.code == 2 && ran.stderr.contains("OPENAI_API_KEY"), "{}: {}", ran.code, ran.stderr);
    assert_eq!(bench.mock.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_stops_the_run_and_the_rest_is_kept_for_later() {
    let bench = Bench::new(Suite::recorded(EXAMPLES), Plan::default()).await;
    let address = format!("http://127.0.0.1:{}/v1", closed_port());
    let provider = format!("kind = \"openai\"\nbase_url = \"{address}\"\ntimeout = \"2s\"\nmax_attempts = 2");
    bench.configure(&Suite { provider, ..bench.suite.clone() });
    let start = Instant::now();
    let ran = bench.world.run(&["run"]).expect(3);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let said = ran.stderr.to_lowercase();
    assert!(said.contains("connection refused") && said.contains(&address), "{said}");
    assert!(said.contains("--resume"), "{said}");
    let run = bench.run_id();
    let lost = bench.journal(&run).await.cells();
    assert!(lost.len() < EXAMPLES / 2, "{} cells were given up", lost.len());
    assert!(lost.values().all(|outcomes| {
        outcomes[0].0.as_ref().is_err_and(|unscored| unscored.reason == UnscoredReason::ProviderFailed)
    }));
    // The server is back.
    bench.configure(&bench.suite);
    bench.world.run(&["run", "--resume", &run]).expect(0);
    let journal = bench.journal(&run).await;
    journal.check_complete(EXAMPLES, EXAMPLES);
    assert_eq!(bench.mock.count(), EXAMPLES - lost.len());
    println!("{} cells of {EXAMPLES} given up before the run was stopped", lost.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_which_nothing_could_be_graded_is_no_success() {
    let bench = Bench::new(Suite::recorded(5), Plan { chances: vec![(Fault::Refusal, 1.0)], ..Plan::default() }).await;
    let ran = bench.world.run(&["run"]).expect(3);
    assert!(ran.stdout.contains("answer_relevance: the grader failed on 100"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_live_is_replayed_without_a_call() {
    let plan = Plan { chances: vec![(Fault::Status(500), 0.1), (Fault::BrokenJson, 0.1)], ..Plan::default() };
    let bench = Bench::new(Suite::recorded(EXAMPLES), plan).await;
    bench.world.run(&["run", "--record", "cassette.jsonl"]).expect(0);
    let (live, calls) = (bench.run_id(), bench.mock.count());
    let provider = "kind = \"replay\"\ncassette = \"cassette.jsonl\"".to_owned();
    bench.configure(&Suite { provider, ..bench.suite.clone() });
    bench.world.run(&["run"]).expect(0);
    let replayed = bench.run_id();
    assert!(live != replayed && bench.mock.count() == calls);
    let (live, replayed) = (bench.journal(&live).await, bench.journal(&replayed).await);
    let scores = |journal: &super::Journal| -> BTreeMap<_, _> {
        journal.cells().into_iter().map(|(cell, outcomes)| (cell, outcomes[0].0.clone())).collect()
    };
    assert_eq!(scores(&live), scores(&replayed));
    let spent = &replayed.end().0.judge_spend;
    assert_eq!((replayed.end().0.cells_done(), spent.calls, spent.cost_usd), (EXAMPLES as u64, 0, 0.0));
}
