//! A second request where the first one is slow: how many are sent, what they are said to cost, and when none is.

use std::time::Duration;

use assize::model::Event;

use super::{Bench, Suite};
use crate::mock::{Fault, Plan};

/// A bench whose server never answers the request of a place.
async fn silent_at(place: usize, examples: usize, timeout: &str, options: &str) -> Bench {
    let mut script = vec![None; place];
    script.push(Some(Fault::Hang));
    let plan = Plan { script, latency: Duration::from_millis(10), ..Plan::default() };
    let bench = Bench::new(Suite::recorded(examples), plan).await;
    let url = bench.mock.openai_url();
    let provider =
        format!("kind = \"openai\"\nbase_url = \"{url}\"\ntimeout = \"{timeout}\"\nmax_attempts = 3\n{options}");
    bench.configure(&Suite { provider, ..bench.suite.clone() });
    bench
}

impl Bench {
    /// Attempts that failed, by the newest run's journal.
    async fn failed_attempts(&self) -> usize {
        let journal = self.journal(&self.run_id()).await;
        journal.entries.iter().filter(|entry| matches!(entry.event, Event::AttemptFailed { .. })).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_question_is_asked_a_second_time_and_both_are_counted() {
    let bench = silent_at(5, 20, "10s", "hedge = { after = \"2s\" }").await;
    let ran = bench.world.run(&["run"]).expect(0);
    let journal = bench.journal(&bench.run_id()).await;
    journal.check_complete(20, 20);
    assert_eq!((bench.mock.count(), bench.failed_attempts().await), (21, 0));
    let (totals, _) = journal.end();
    // Twenty answers, and one request that was dropped: nobody knows what it cost.
    assert_eq!((totals.scored, totals.judge_spend.calls, totals.judge_spend.unpriced_calls), (20, 21, 1));
    let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("1 questions to `service` were sent a second time"), "{said}");
    assert!(said.contains("may be billed all the same: up to $0.00"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_percentile_of_the_answers_so_far_tells_what_is_slow() {
    let bench = silent_at(39, 60, "10s", "hedge = { after = \"p95\" }").await;
    bench.world.run(&["run"]).expect(0);
    let journal = bench.journal(&bench.run_id()).await;
    journal.check_complete(60, 60);
    assert_eq!(bench.failed_attempts().await, 0, "the silent one was answered by its twin");
    // One in twenty is slower than that by its meaning, so that more than one is sent again; never all.
    let sent = bench.mock.count();
    assert!((61..=80).contains(&sent), "{sent}");
    assert_eq!(journal.end().0.judge_spend.calls, sent as u64, "each request is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_by_default_nor_without_a_free_place_nor_with_little_money() {
    for (options, arguments) in [
        ("", &["run"][..]),
        ("hedge = { after = \"500ms\" }\nmax_concurrency = 1", &["run"]),
        // One call costs $0.0024 at most: it may be paid, twice that may not.
        ("hedge = { after = \"500ms\" }", &["run", "--max-cost", "0.003"]),
    ] {
        let bench = silent_at(0, 1, "3s", options).await;
        bench.world.run(arguments).expect(0);
        // The time limit ends the first attempt, and a retry comes.
        assert_eq!((bench.mock.count(), bench.failed_attempts().await), (2, 1), "{options}");
    }
    let enough = silent_at(0, 1, "10s", "hedge = { after = \"500ms\" }").await;
    enough.world.run(&["run", "--max-cost", "1"]).expect(0);
    assert_eq!((enough.mock.count(), enough.failed_attempts().await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_that_says_nothing_is_refused_with_its_place() {
    for wrong in ["\"soon\"", "\"p100\"", "3"] {
        let bench = silent_at(0, 1, "3s", &format!("hedge = {{ after = {wrong} }}")).await;
        let ran = bench.world.run(&["run"]).expect(2);
        assert!(ran.stderr.contains("hedge") || ran.stderr.contains("providers"), "{}", ran.stderr);
        assert_eq!(bench.mock.count(), 0);
    }
}
