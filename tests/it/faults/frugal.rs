//! What is asked again after a change, and what is not: exact counts of calls, run after run over one cache.

use serde_json::json;

use super::{Bench, Suite};
use crate::mock::Plan;

const EXAMPLES: usize = 30;

/// Runs and gives how many calls the server saw.
#[track_caller]
fn calls(bench: &Bench, arguments: &[&str]) -> usize {
    let before = bench.mock.count();
    bench.world.run(&[&["run"], arguments].concat()).expect(0);
    bench.mock.count() - before
}

/// Replaces a text in a file of the project; it must be there.
#[track_caller]
fn change(bench: &Bench, file: &str, from: &str, to: &str) {
    let text = bench.world.read(file);
    assert!(text.contains(from), "{file} has no `{from}`");
    bench.world.write(file, text.replacen(from, to, 1));
}

/// The shipped judge as one of the user's own, so that it can be changed.
fn own_judge(bench: &Bench) {
    for name in ["judge.toml", "prompt.md", "calibration.jsonl"] {
        let text = std::fs::read(format!("{}/judges/answer_relevance/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        bench.world.write(&format!("judges/answer_relevance/{name}"), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_makes_exactly_the_calls_it_needs() {
    let bench =
        Bench::new(Suite::recorded(EXAMPLES), Plan { answers: vec![super::judgement("pass")], ..Plan::default() });
    let bench = bench.await;
    own_judge(&bench);
    assert_eq!(calls(&bench, &[]), EXAMPLES);
    assert_eq!(calls(&bench, &[]), 0, "the same again");
    // Nothing that a model would see.
    change(&bench, "assize.toml", "timeout = \"3s\"", "timeout = \"4s\" # patient");
    change(&bench, "assize.toml", "output = 4.0", "output = 5.0");
    assert_eq!(calls(&bench, &[]), 0, "prices, comments and patience change no answer");
    // One output, one input.
    change(&bench, "examples.jsonl", "It is 3.", "It is 3!");
    assert_eq!(calls(&bench, &[]), 1, "an output");
    change(&bench, "examples.jsonl", "question #0007#", "question  #0007#");
    assert_eq!(calls(&bench, &[]), 1, "an input");
    // Everything that all questions share.
    change(&bench, "assize.toml", "max_tokens = 200", "max_tokens = 201");
    assert_eq!(calls(&bench, &[]), EXAMPLES, "a parameter");
    change(&bench, "assize.toml", "max_tokens = 201", "max_tokens = 200");
    assert_eq!(calls(&bench, &[]), 0, "a parameter put back");
    change(&bench, "assize.toml", "max_tokens = 200", "max_tokens = 200\ntemperature = 0.5");
    assert_eq!(calls(&bench, &[]), EXAMPLES, "another parameter");
    change(&bench, "assize.toml", "model = \"test-model\"", "model = \"test-model-b\"");
    assert_eq!(calls(&bench, &[]), EXAMPLES, "the model");
    change(&bench, "judges/answer_relevance/prompt.md", "is relevant", "is  relevant");
    assert_eq!(calls(&bench, &[]), EXAMPLES, "a byte of the rubric");
    // Draws: those that are there are kept.
    change(&bench, "assize.toml", "model = \"judge\"", "model = \"judge\"\ndraws = 3");
    assert_eq!(calls(&bench, &[]), 2 * EXAMPLES, "two more draws");
    change(&bench, "assize.toml", "draws = 3", "draws = 2");
    assert_eq!(calls(&bench, &[]), 0, "fewer draws");
    assert_eq!(calls(&bench, &["--no-cache"]), 2 * EXAMPLES, "asked for anew");
    assert_eq!(calls(&bench, &[]), 0, "and kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_prompt_of_the_target_asks_the_target_and_judges_only_what_changed() {
    let bench =
        Bench::new(Suite::prompt(EXAMPLES), Plan { answers: vec![super::judgement("pass")], ..Plan::default() });
    let bench = bench.await;
    assert_eq!(calls(&bench, &[]), 2 * EXAMPLES);
    assert_eq!(calls(&bench, &[]), 0);
    change(&bench, "assize.toml", "Answer: {{input}}", "Answer:  {{input}}");
    // The mock's target says the same as before, so that the judge's questions are the same, too.
    assert_eq!(calls(&bench, &[]), EXAMPLES);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_by_many_at_once_is_asked_once() {
    let plan = Plan { latency: std::time::Duration::from_millis(300), ..Plan::default() };
    let bench = Bench::new(Suite::recorded(8), plan).await;
    let same = |n: usize| format!("{}\n", json!({"id": format!("twin-{n}"), "input": "Is it so?", "output": "It is."}));
    bench.world.write("examples.jsonl", (0..8).map(same).collect::<String>());
    assert_eq!(calls(&bench, &[]), 1, "eight cells, one question");
    let journal = bench.journal(&bench.run_id()).await;
    journal.check_complete(8, 8);
    assert_eq!(journal.end().0.judge_spend.calls, 1, "and one bill");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_is_looked_at_and_pruned() {
    let bench =
        Bench::new(Suite::prompt(EXAMPLES), Plan { answers: vec![super::judgement("pass")], ..Plan::default() });
    let bench = bench.await;
    let empty = bench.world.run(&["cache", "ls"]).expect(0);
    assert!(empty.stdout.contains("No answers are kept") && !bench.world.path(".assize/cache.sqlite").exists());
    assert_eq!(calls(&bench, &[]), 2 * EXAMPLES);
    let held = bench.world.run(&["cache", "ls", "--json"]).expect(0).json();
    let shares = held["shares"].as_array().unwrap();
    let named: Vec<(&str, u64)> =
        shares.iter().map(|share| (share["asker"].as_str().unwrap(), share["entries"].as_u64().unwrap())).collect();
    assert_eq!((held["entries"].as_u64(), named.len()), (Some(2 * EXAMPLES as u64), 2), "{held}");
    assert!(named.iter().any(|(name, _)| name.starts_with("answer_relevance ")), "{named:?}");
    assert!(named.contains(&("now", EXAMPLES as u64)), "{named:?}");
    let text = bench.world.run(&["cache", "ls"]).expect(0).stdout;
    assert!(text.contains("60 answers in") && text.contains("test-model"), "{text}");
    // Without a word nothing goes; with a choice and without `--yes` neither.
    bench.world.run(&["cache", "prune"]).expect(2);
    let would = bench.world.run(&["cache", "prune", "--judge", "answer_relevance"]).expect(0).stdout;
    assert!(would.contains("Would take out 30 answers") && would.contains("--yes"), "{would}");
    assert_eq!(calls(&bench, &[]), 0);
    let wrong = bench.world.run(&["cache", "prune", "--judge", "answer_relevanc"]).expect(2).stderr;
    assert!(wrong.contains("known: answer_relevance, now"), "{wrong}");
    for nothing in [&["--older-than", "1d"][..], &["--max-size", "1GB"], &["--model", "other"]] {
        let said = bench.world.run(&[&["cache", "prune", "--yes"], nothing].concat()).expect(0).stdout;
        assert!(said.contains("No answer is chosen"), "{said}");
    }
    let gone = bench.world.run(&["cache", "prune", "--judge", "answer_relevance", "--yes", "--json"]).expect(0).json();
    assert_eq!((&gone["entries"], &gone["done"]), (&json!(EXAMPLES), &json!(true)));
    assert_eq!(calls(&bench, &[]), EXAMPLES, "only what was taken out is asked anew");
    bench.world.run(&["cache", "prune", "--max-size", "0", "--yes"]).expect(0);
    assert_eq!(calls(&bench, &[]), 2 * EXAMPLES);
    bench.world.run(&["cache", "prune", "--all", "--yes"]).expect(0);
    assert_eq!(bench.world.run(&["cache", "ls", "--json"]).expect(0).json()["entries"], 0);
}
