//! Published results recomputed from recorded data, where that data lies beside the project.

use std::{collections::BTreeMap, io::Read, path::PathBuf};

use serde_json::Value;

use super::testing::{gate, number, output, pass, put, run};
use super::*;
use crate::model::{Change, ExampleId, GatePolicy, Scale, Verdict};

/// A gzip file of the fixtures as text; `None`, with a word on the terminal, when it is not there.
fn fixture(path: &str) -> Option<String> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    #[expect(clippy::disallowed_methods, reason = "tests find fixtures by an environment variable")]
    let named = std::env::var("ASSIZE_SHARED").map(PathBuf::from);
    let path = named.unwrap_or(beside).join("fixtures").join(path);
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: no fixtures at {}", path.display());
        return None;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(text)
}

/// SWE-bench Verified, two agents on the same 500 instances.
#[test]
fn swebench_gpt5_against_mini() {
    let Some(text) = fixture("swebench_verified/per_instance.csv.gz") else { return };
    let mut runs: BTreeMap<String, RunResults> = BTreeMap::new();
    let mut metas = BTreeMap::new();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    for record in reader.records() {
        let record = record.unwrap();
        let (name, id) = (&record[1], &record[2]);
        let results = runs.entry(name.to_owned()).or_insert_with(|| run(name, &[("resolved", Scale::Binary)]));
        put(results, id, 0, "resolved", pass(&record[3] == "1"));
        output(results, id, 0, 1.0, record[4].parse().unwrap_or(f64::NAN));
        let repository = id.split("__").next().unwrap().to_owned();
        metas.insert(id.to_owned(), repository);
    }
    let of = |start: &str| runs.iter().find(|(name, _)| name.starts_with(start)).unwrap().1;
    let (mini, full) = (of("GPT-5 mini"), of("GPT-5 (2025"));
    let plain: Vec<ExampleMeta> = metas
        .iter()
        .map(|(id, repository)| ExampleMeta {
            id: ExampleId::from(id.as_str()),
            cluster: id.clone(),
            weight: 1.0,
            stratum: None,
            probability: None,
            diverse: false,
            dimensions: BTreeMap::from([("repository".to_owned(), repository.clone())]),
        })
        .collect();
    let found = compare(mini, full, &plain, &gate(&["resolved"], 0.02), &[]);
    let metric = &found.metrics[0];
    let moved = metric.discordance.as_ref().unwrap();
    assert!((metric.difference.estimate.unwrap() - 0.052).abs() < 1e-12);
    assert_eq!((moved.improved, moved.worsened), (54, 28));
    assert!((moved.exact_p - 0.00544).abs() < 5e-6, "{}", moved.exact_p);
    assert_eq!((metric.change, found.verdict), (Change::Improved, Verdict::Pass));
    let mut clustered = plain;
    for meta in &mut clustered {
        meta.cluster = meta.dimensions["repository"].clone();
    }
    let by_repository = compare(mini, full, &clustered, &gate(&["resolved"], 0.02), &[]);
    println!("{}\n{}", by_repository.metrics[0].sentence, by_repository.metrics[0].expert);
    assert_eq!(by_repository.metrics[0].difference.method, "cr2_t");
    assert_eq!(by_repository.metrics[0].difference.clusters, 12);
}

/// tau-bench airline: 50 tasks, four trials each; published pass^1 to pass^4 are .420, .273, .220, .200.
#[test]
fn taubench_airline_counts_tasks_not_trials() {
    let Some(text) = fixture("taubench_airline/gpt-4o-airline.json.gz") else { return };
    let trials: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut results = run("gpt-4o", &[("reward", Scale::Binary)]);
    results.header.trials = 4;
    for trial in &trials {
        let passed = trial["reward"].as_f64().unwrap() == 1.0;
        put(
            &mut results,
            &trial["task_id"].to_string(),
            trial["trial"].as_u64().unwrap() as u32,
            "reward",
            pass(passed),
        );
    }
    let view = summarize(&results, &[], &GatePolicy::default());
    let metric = &view.metrics[0];
    println!("{}", metric.sentence);
    assert_eq!(metric.estimate.n, 50);
    assert!((metric.estimate.estimate.unwrap() - 0.420).abs() < 1e-12);
    assert!((metric.estimate.se.unwrap() - 0.052).abs() < 5e-4, "{:?}", metric.estimate.se);
    assert!(metric.sentence.contains("42.0 %, 27.3 %, 22.0 %, 20.0 %"), "{}", metric.sentence);
    assert!(view.examples.iter().any(|row| row.flaky));
}

/// AlpacaEval 2 publishes win rate and standard error, in percent, of each system over 805 instructions.
#[test]
fn alpacaeval_win_rates_and_errors() {
    let Some(text) = fixture("alpacaeval2/preferences.csv.gz") else { return };
    let published = [
        ("claude-2", 17.188240356708075, 1.17482825615589),
        ("gpt-3.5-turbo-1106", 9.177964561962735, 0.8904117511864436),
        ("gpt-3.5-turbo-1106_concise", 7.41586497762733, 0.8374438113826953),
        ("alpaca-7b", 2.591450540223603, 0.4870855382635108),
    ];
    let scale = Scale::Number { min: Some(0.0), max: Some(1.0) };
    let mut runs: BTreeMap<String, RunResults> = BTreeMap::new();
    for record in csv::Reader::from_reader(text.as_bytes()).records() {
        let record = record.unwrap();
        let results = runs.entry(record[0].to_owned()).or_insert_with(|| run(&record[0], &[("win", scale.clone())]));
        // The benchmark counts a preference that is missing as none; here it has no score.
        let Ok(value) = record[4].parse::<f64>() else { continue };
        put(results, &record[2], 0, "win", number(value - 1.0));
    }
    for (name, rate, error) in published {
        let estimate = summarize(&runs[name], &[], &GatePolicy::default()).metrics[0].estimate.clone();
        println!("{name}: {:?} {:?} of {}", estimate.estimate, estimate.se, estimate.n);
        assert!((100.0 * estimate.estimate.unwrap() - rate).abs() < 1e-4, "{name}");
        assert!((100.0 * estimate.se.unwrap() - error).abs() < 1e-4, "{name}");
    }
}
