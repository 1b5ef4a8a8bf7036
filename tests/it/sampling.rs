//! Sampling designs as a user types them: what is chosen, what is stored, what is refused, what comes back later.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::post;
use serde_json::{Value, json};

use crate::world::World;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/demo");

fn with_traces() -> World {
    let world = World::new();
    let files = ["1.8", "2.0"].map(|version| format!("{DEMO}/traces-{version}.jsonl.gz"));
    world.run(&["ingest", &files[0], &files[1]]).expect(0);
    world
}

fn sample(world: &World, name: &str, more: &[&str]) -> Value {
    world.run(&[&["sample", name, "--json"], more].concat()).expect(0).json()
}

fn rows(world: &World, name: &str) -> Vec<Value> {
    let text = world.run(&["dataset", "export", name]).expect(0).stdout;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn weights(rows: &[Value]) -> f64 {
    rows.iter().map(|row| 1.0 / row["inclusion_probability"].as_f64().unwrap()).sum()
}

fn now_ns() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

const MINUTE: u64 = 60 * 1_000_000_000;

/// A trace of one span, `ago` minutes old; without an end where it still runs.
fn span(trace: u64, id: u64, parent: Option<u64>, start: u64, end: Option<u64>, question: &str) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let mut span = json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{id:016x}"), "name": "answer", "kind": 1,
        "startTimeUnixNano": start.to_string(),
        "attributes": [text("gen_ai.operation.name", "invoke_agent"), text("input.value", question),
            text("output.value", "an answer"), text("session.id", &format!("s{}", trace % 5))],
    });
    if let Some(end) = end {
        span["endTimeUnixNano"] = json!(end.to_string());
    }
    if let Some(parent) = parent {
        span["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "t"}, "spans": [span]}]}]})
}

fn ingest(world: &World, name: &str, spans: &[Value]) {
    let text: String = spans.iter().map(|span| format!("{span}\n")).collect();
    let path = world.write(name, text);
    world.run(&["ingest", &path.display().to_string()]).expect(0);
}

#[test]
fn rules_raise_chances_and_every_decision_is_told() {
    let world = with_traces();
    let report = sample(
        &world,
        "boosted",
        &[
            "--key",
            "trace_id",
            "--rate",
            "0.2",
            "--boost",
            "errors=1",
            "--boost",
            "top 5% of cost=0.8",
            "--combine",
            "union",
            "--decisions",
            "decisions.jsonl",
        ],
    );
    assert_eq!(report["narrow"], true, "cost and status are columns");
    let design = &report["design"];
    assert_eq!(design["method"], "boosted");
    let rule = &design["rules"][0];
    assert!(rule["population"].as_u64().unwrap() > 0 && rule["population"] == rule["chosen"], "{rule}");
    let chosen = rows(&world, "boosted");
    let by_rule = chosen.iter().filter(|row| row["lineage"]["chosen_by"] == "rule").count();
    assert!(by_rule > 0 && by_rule < chosen.len());
    let decisions = world.read("decisions.jsonl");
    let decisions: Vec<Value> = decisions.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(decisions.len() as u64, report["traces"].as_u64().unwrap());
    for row in &chosen {
        let told = decisions.iter().find(|told| told["id"] == row["id"]).unwrap();
        assert_eq!((&told["chosen"], &told["probability"]), (&json!(true), &row["inclusion_probability"]));
    }
    let both = decisions
        .iter()
        .find(|told| told["rules"].as_array().is_some_and(|rules| rules.len() == 1 && rules[0] != "errors"));
    if let Some(tail) = both {
        assert!((tail["probability"].as_f64().unwrap() - (1.0 - 0.8 * 0.2)).abs() < 1e-12, "{tail}");
    }
    let counted: u64 = design["decisions"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(counted as usize, decisions.len());
}

#[test]
fn narrow_columns_and_whole_traces_choose_the_same() {
    let world = with_traces();
    let files = ["1.8", "2.0"].map(|version| format!("{DEMO}/traces-{version}.jsonl.gz"));
    let from = ["--from", &files[0], "--from", &files[1]];
    for (index, design) in
        [
            &[
                "--count",
                "40",
                "--stratify",
                "status,agent_version",
                "--allocate",
                "neyman",
                "--neyman-by",
                "latency_ms",
            ][..],
            &["--count", "40", "--risk", "cost=2", "--risk", "latency_ms", "--risk-floor", "0.02"],
            &["--count", "20", "--cluster-by", "session", "--per-cluster", "1"],
            &["--rate", "0.3", "--where", "tokens>500", "--newest", "150"],
        ]
        .into_iter()
        .enumerate()
    {
        let common = [&["--key", "trace_id"], design].concat();
        let (lake, file) = (format!("lake{index}"), format!("file{index}"));
        let narrow = sample(&world, &lake, &common);
        let whole = sample(&world, &file, &[&common[..], &from].concat());
        assert_eq!((&narrow["narrow"], &whole["narrow"]), (&json!(true), &json!(false)));
        assert_eq!(narrow["header"]["digest"], whole["header"]["digest"], "{design:?}");
        assert_eq!(narrow["design"]["strata"], whole["design"]["strata"], "{design:?}");
    }
}

#[test]
fn a_plan_stands_in_a_file_or_the_configuration_and_flags_win() {
    let world = with_traces();
    let plan = "where = \"ticket.intent!=billing\"\n[traces]\nkey = \"ticket.id\"\nvariant = \"service.version\"\n\
                [design]\nn = 30\nstratify_by = [\"ticket.intent\"]\nallocate = \"equal\"\nseed = 7\n";
    world.write("plan.toml", plan);
    let by_file = sample(&world, "by-file", &["--plan", "plan.toml"]);
    let tables =
        plan.replace("[traces]", "[samples.by-config.traces]").replace("[design]", "[samples.by-config.design]");
    world.write("assize.toml", format!("[samples.by-config]\n{tables}"));
    let by_config = sample(&world, "by-config", &[]);
    let flags = [
        "--where",
        "ticket.intent!=billing",
        "--key",
        "ticket.id",
        "--variant",
        "service.version",
        "--count",
        "30",
        "--stratify",
        "ticket.intent",
        "--allocate",
        "equal",
        "--seed",
        "7",
    ];
    let by_flags = sample(&world, "by-flags", &flags);
    assert_eq!(by_file["header"]["digest"], by_flags["header"]["digest"]);
    assert_eq!(by_config["header"]["digest"], by_flags["header"]["digest"]);
    assert_eq!(by_config["design"]["plan"]["n"], 30);
    let fewer = sample(&world, "by-config", &["--count", "12", "--dry-run"]);
    assert_eq!((&fewer["header"]["examples"], &fewer["header"]["version"]), (&json!(12), &json!(0)));
    world.write("bad.toml", "[design]\nrat = 0.5\n");
    let refused = world.run(&["sample", "x", "--plan", "bad.toml"]).expect(2).stderr;
    assert!(refused.contains("bad.toml:2") && refused.contains("did you mean `rate`?"), "{refused}");
    world.write("assize.toml", "[samples.x.design]\nn = \"many\"\n");
    let refused = world.run(&["sample", "x"]).expect(2).stderr;
    assert!(refused.contains("assize.toml:2"), "{refused}");
    let schema = world.run(&["schema", "sample"]).expect(0).json();
    assert!(schema["properties"]["since_last"]["description"].is_string());
}

#[test]
fn designs_that_do_not_go_together_are_refused_in_words() {
    let world = with_traces();
    for (flags, told) in [
        (&["--cluster-by", "user", "--stratify", "status"][..], "several strata"),
        (&["--count", "5", "--boost", "errors=1"], "`rate`"),
        (&["--diverse", "inputs"], "needs `n`"),
        (&["--diverse", "inputs", "--rate", "0.5"], "no probabilities"),
        (&["--count", "5", "--allocate", "neyman"], "stratify_by"),
        (&["--cluster-by", "user", "--cluster", "session"], "leave `--cluster` out"),
        (&["--count", "5", "--risk", "wisdom"], "`wisdom`"),
        (&["--rate", "0.5", "--boost", "often"], "WHEN=RATE"),
        (&["--count", "5", "--near-duplicates", "most"], "`off`"),
        (&["--idle", "soon"], "--idle"),
        (&["--count", "3", "--diverse", "embeddings"], "--embedder"),
    ] {
        let refused = world.run(&[&["sample", "x", "--key", "trace_id"], flags].concat()).expect(2).stderr;
        assert!(refused.contains(told), "{flags:?}: {refused}");
    }
}

#[test]
fn near_duplicates_keep_their_weight() {
    let world = World::new();
    let now = now_ns() - 3_000 * MINUTE;
    let long = "my motion sensor in the hall does not pair with the app any more since the last update, please help";
    let spans: Vec<Value> = (0..60)
        .map(|i| {
            let question = match i {
                0..20 => format!("{long} {i}"),
                _ => format!(
                    "question {i} about the {} of order {}",
                    ["price", "colour", "size"][i as usize % 3],
                    i * 7919
                ),
            };
            span(i + 1, 1, None, now + i * MINUTE, Some(now + i * MINUTE + 5), &question)
        })
        .collect();
    ingest(&world, "spans.jsonl", &spans);
    let report = sample(&world, "near", &["--near-duplicates", "0.85"]);
    let near = &report["design"]["near_duplicates"];
    assert_eq!((&near["merged"], &near["largest"]), (&json!(19), &json!(20)), "{near}");
    let found = rows(&world, "near");
    assert_eq!(found.len(), 41);
    assert!((weights(&found) - 60.0).abs() < 1e-9);
    let stands = found.iter().find(|row| row["represents"] == 20).unwrap();
    assert_eq!(stands["inclusion_probability"], 0.05);
    assert_eq!(stands["lineage"]["merged"].as_array().unwrap().len(), 19);
    let masked = sample(&world, "masked", &["--near-duplicates", "0.85", "--ignore-numbers"]);
    assert_eq!(masked["header"]["examples"], 4, "numbers apart, there are four questions");
    assert!((weights(&rows(&world, "masked")) - 60.0).abs() < 1e-9);
}

#[test]
fn open_traces_wait_and_late_spans_bring_a_trace_back() {
    let world = World::new();
    let now = now_ns();
    let at = |ago: u64| now - ago * MINUTE;
    let ended =
        |trace: u64, ago: u64| span(trace, 1, None, at(ago), Some(at(ago) + MINUTE), &format!("question {trace}"));
    ingest(
        &world,
        "first.jsonl",
        &[
            ended(1, 60),
            ended(2, 50),
            span(3, 1, None, at(40), None, "running"),
            ended(4, 2),
            span(5, 1, None, at(3_000), None, "lost"),
        ],
    );
    let first = sample(&world, "live", &["--key", "trace_id"]);
    assert_eq!(first["header"]["examples"], 3, "{first:#}");
    assert_eq!(first["left_out"]["still running: its root has not ended"], 1);
    assert_eq!(first["left_out"]["still settling: spans came only just now"], 1);
    assert!(first["warnings"].to_string().contains("taken as abandoned"), "{}", first["warnings"]);
    assert_eq!(first["design"]["checkpoint"]["open"].as_array().unwrap().len(), 2);
    let all = sample(&world, "whatever", &["--key", "trace_id", "--include-open"]);
    assert_eq!(all["header"]["examples"], 5);
    // The running one ends, a new one comes, and a late span joins a trace that was sampled.
    ingest(&world, "second.jsonl", &[span(3, 1, None, at(40), Some(at(30)), "running"), ended(6, 1)]);
    ingest(&world, "late.jsonl", &[span(2, 2, Some(1), at(49), Some(at(48)), "sub-step")]);
    let since = sample(&world, "live", &["--key", "trace_id", "--since-last", "--idle", "0s"]);
    let ids: BTreeSet<String> =
        rows(&world, "live").iter().map(|row| row["id"].as_str().unwrap().trim_start_matches('0').to_owned()).collect();
    assert_eq!(ids, BTreeSet::from(["3", "4", "6"].map(str::to_owned)), "open ones come back, seen ones do not");
    assert_eq!(since["header"]["version"], 2);
    let new = sample(&world, "live", &["--key", "trace_id", "--only-new", "--idle", "0s"]);
    let found = rows(&world, "live");
    assert_eq!(found.len(), 1, "only the one that changed: {new:#}");
    assert_eq!(
        (new["design"]["reopened"].as_u64(), found[0]["id"].as_str().unwrap().trim_start_matches('0')),
        (Some(1), "2")
    );
    assert!(new["warnings"].to_string().contains("late spans came"));
    let nothing = world.run(&["sample", "live", "--key", "trace_id", "--since-last", "--idle", "0s"]).expect(2).stderr;
    assert!(nothing.contains("seen by the version before"), "{nothing}");
    // The same through whole traces: another key needs the content.
    let nothing = world.run(&["sample", "live", "--only-new", "--idle", "0s"]).expect(2).stderr;
    assert!(nothing.contains("6: in an earlier version with the same content"), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_for_diversity_asks_for_embeddings_and_has_no_weights() {
    let answer = async |axum::Json(body): axum::Json<Value>| {
        let texts = body["input"].as_array().unwrap();
        // Two kinds of input, told apart by one word; answered out of order.
        let mut data: Vec<Value> = (texts.iter().enumerate())
            .map(|(index, text)| {
                let kind = if text.as_str().unwrap().contains("refund") { [1.0, 0.0] } else { [0.0, 1.0] };
                json!({"index": index, "embedding": kind})
            })
            .collect();
        data.reverse();
        axum::Json(json!({"data": data, "model": body["model"]}))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/embeddings", post(answer))).await });
    let mut world = World::new();
    world.set("EMBED_KEY", "sk-embedding-key-0123456789");
    world.write(
        "assize.toml",
        format!(
            "[providers.local]\nkind = \"openai\"\nbase_url = \"http://{address}/v1\"\nkey_env = \"EMBED_KEY\"\n\
             [models.embed]\nprovider = \"local\"\nmodel = \"small\"\n\
             [suites.s]\ndataset = \"diverse\"\ntargets.t = {{ kind = \"recorded\" }}\n\
             graders = [{{ scorer = \"length\", max = 1000 }}]\n"
        ),
    );
    let now = now_ns() - 3_000 * MINUTE;
    let spans: Vec<Value> = (0..90)
        .map(|i| {
            let question = if i == 41 { "a refund please".to_owned() } else { format!("how do I pair sensor {i}") };
            span(i + 1, 1, None, now + i * MINUTE, Some(now + i * MINUTE + 5), &question)
        })
        .collect();
    tokio::task::spawn_blocking(move || {
        ingest(&world, "spans.jsonl", &spans);
        let report = sample(&world, "diverse", &["--count", "2", "--diverse", "embeddings", "--embedder", "embed"]);
        assert_eq!(report["design"]["probability_sample"], false);
        let found = rows(&world, "diverse");
        assert!(
            found.iter().any(|row| row["input"] == "a refund please"),
            "the one that differs is among two of ninety"
        );
        assert!(found.iter().all(|row| row["inclusion_probability"].is_null()));
        let run = world.run(&["run", "s"]).expect(0);
        assert!(run.stderr.contains("not a probability sample"), "{}", run.stderr);
        let json = world.run(&["run", "s", "--json"]).expect(0).json();
        let told = json["view"]["metrics"][0]["estimate"]["warnings"].to_string();
        assert!(told.contains("not a probability sample"), "{told}");
        let words = sample(&world, "words", &["--count", "3", "--diverse", "inputs"]);
        assert_eq!(words["design"]["method"], "diverse");
        assert!(rows(&world, "words").iter().any(|row| row["input"] == "a refund please"));
    })
    .await
    .unwrap();
}

/// Traces of a Langfuse project, a question each in a session of its own; some with what users said.
fn langfuse(scores: &[(u64, Value)]) -> String {
    let trace = |number: u64| {
        let id = format!("{number:032x}");
        let scores: Vec<Value> =
            scores.iter().filter(|(of, _)| *of == number).map(|(_, score)| score.clone()).collect();
        let stamp = format!("2026-11-20T08:{number:02}:00.000Z");
        let observation = json!({"id": format!("{number:016x}"), "traceId": id, "type": "SPAN", "name": "answer",
            "startTime": stamp, "endTime": stamp, "input": format!("question {number}"), "output": "an answer"});
        json!({"id": id, "timestamp": stamp, "name": "support", "sessionId": format!("s{number}"), "bookmarked": false,
            "input": format!("question {number}"), "output": "an answer", "observations": [observation],
            "scores": scores})
    };
    (1..=40).map(|number| format!("{}\n", trace(number))).collect()
}

fn thumb(number: u64, value: u64) -> (u64, Value) {
    let score = json!({"id": format!("score-{number}"), "traceId": format!("{number:032x}"), "name": "user-feedback",
        "value": value, "dataType": "NUMERIC", "source": "API", "timestamp": "2026-11-20T09:00:00.000Z"});
    (number, score)
}

/// Chances by example.
fn chances(rows: &[Value]) -> std::collections::BTreeMap<String, f64> {
    let chance = |row: &Value| row["inclusion_probability"].as_f64().unwrap();
    rows.iter().map(|row| (row["id"].as_str().unwrap().to_owned(), chance(row))).collect()
}

#[test]
fn what_users_said_raises_chances_from_the_lake_and_from_files_alike() {
    let world = World::new();
    world.write("rows.jsonl", langfuse(&[thumb(7, 0), thumb(8, 1)]));
    // A score that names a session alone counts for the traces in it.
    let of_session = json!({"id": "score-s", "observationId": null, "sessionId": "s11", "name": "user-feedback", "value": 0,
        "dataType": "NUMERIC", "source": "API", "timestamp": "2026-11-20T09:00:00.000Z"});
    world.write("scores.jsonl", format!("{of_session}\n"));
    let ingested = world.run(&["ingest", "rows.jsonl", "scores.jsonl", "--json"]).expect(0).json();
    assert_eq!((&ingested["traces"], &ingested["scores_added"]), (&json!(40), &json!(3)), "{ingested}");
    let design = ["--boost", "negative_feedback=1", "--rate", "0.1", "--key", "trace_id"];
    let files = ["--from", "rows.jsonl", "--from", "scores.jsonl"];
    let disliked = [7, 11].map(|number: u64| format!("{number:032x}"));
    for (name, from) in [("lake", &[][..]), ("files", &files[..])] {
        let report = sample(&world, name, &[&design[..], from].concat());
        assert_eq!(report["design"]["rules"][0]["population"], 2, "{name}: {report}");
        let chances = chances(&rows(&world, name));
        for id in &disliked {
            assert_eq!(chances.get(id), Some(&1.0), "{name}: {chances:?}");
        }
        assert!(
            chances.iter().filter(|(id, _)| !disliked.contains(id)).all(|(_, chance)| *chance < 0.2),
            "{chances:?}"
        );
    }
    // The filter, the strata and the dimension that is kept read the same.
    for (name, from) in [("lake-only", &[][..]), ("files-only", &files[..])] {
        let only = ["--where", "negative_feedback=true", "--key", "trace_id", "--dimensions", "negative_feedback"];
        sample(&world, name, &[&only[..], from].concat());
        let rows = rows(&world, name);
        let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids, disliked.each_ref().map(String::as_str), "{name}");
        assert!(rows.iter().all(|row| row["dimensions"]["negative_feedback"] == "true"), "{rows:?}");
    }
    let listed = world.run(&["traces", "ls", "--where", "negative_feedback=true", "--json"]).expect(0).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
}

#[test]
fn scores_are_read_only_where_the_plan_asks_for_them() {
    let world = World::new();
    world.write("rows.jsonl", langfuse(&[thumb(7, 0)]));
    world.run(&["ingest", "rows.jsonl"]).expect(0);
    let day = world.path(".assize/lake/scores/day=2026-11-20");
    let part = std::fs::read_dir(&day).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&part, "no parquet").unwrap();
    sample(&world, "plain", &["--rate", "0.5", "--key", "trace_id"]);
    sample(&world, "whole", &["--rate", "0.5", "--boost", "loops=1"]);
    for asks in [&["--boost", "negative_feedback=1", "--rate", "0.5"][..], &["--where", "negative_feedback=true"][..]] {
        let failed = world.run(&[&["sample", "asks"], asks].concat()).expect(3);
        assert!(failed.stderr.contains("cannot read lake part"), "{}", failed.stderr);
    }
}

#[test]
fn what_was_wrong_with_the_files_is_said() {
    let world = World::new();
    let mut text = langfuse(&[]);
    text.push_str("{\"id\": \"x\", \"no\": \"row\"}\n");
    world.write("rows.jsonl", text);
    world.write("notes.txt", "not a trace");
    let report = sample(&world, "said", &["--from", "rows.jsonl", "--from", "notes.txt"]);
    let said: Vec<&str> = report["warnings"].as_array().unwrap().iter().map(|said| said.as_str().unwrap()).collect();
    assert!(said.iter().any(|said| said.starts_with("left out whole: ") && said.contains("notes.txt")), "{said:?}");
    let rejected = said.iter().find(|said| said.contains("1 row was turned away")).unwrap();
    assert!(rejected.contains("line 41") && rejected.contains("rejected.jsonl"), "{rejected}");
    let shown = world.run(&["sample", "said", "--from", "rows.jsonl", "--from", "notes.txt"]).expect(0).stdout;
    assert!(shown.contains("Note: left out whole: ") && shown.contains("Note: 1 row was turned away"), "{shown}");
}

#[test]
fn moments_may_be_told_as_how_far_back() {
    let world = World::new();
    let minutes = |ago: u64| now_ns() - ago * MINUTE;
    let at = |number: u64, ago: u64| {
        span(number, number, None, minutes(ago), Some(minutes(ago) + 1), &format!("question {number}"))
    };
    ingest(&world, "spans.jsonl", &[at(1, 60), at(2, 3 * 24 * 60), at(3, 30 * 24 * 60)]);
    let report = sample(&world, "recent", &["--since", "7d", "--until", "1d", "--key", "trace_id"]);
    assert_eq!((&report["traces"], &report["header"]["examples"]), (&json!(1), &json!(1)), "{report}");
    let listed = world.run(&["traces", "ls", "--since", "7d", "--json"]).expect(0).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let count = "SELECT COUNT(*) AS n FROM traces";
    let counted = world.run(&["traces", "query", count, "--since", "2h", "--format", "json"]).expect(0).json();
    assert_eq!(counted, json!([{"n": 1}]));
    world.run(&["traces", "cost", "--since", "7d"]).expect(0);
    for verb in [&["sample", "x"][..], &["traces", "ls"][..], &["traces", "cost"][..]] {
        let wrong = world.run(&[verb, &["--since", "last week"]].concat()).expect(2).stderr;
        assert!(wrong.contains("how far back (`7d`), found `last week`"), "{wrong}");
    }
}

#[test]
fn no_cell_of_a_query_is_a_formula() {
    let world = World::new();
    let named = |number: u64, name: &str| {
        let mut export = span(number, number, None, now_ns(), Some(now_ns() + 1), "a question");
        export["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] = json!(name);
        export
    };
    ingest(&world, "spans.jsonl", &[named(1, "=HYPERLINK(0)"), named(2, "-1.5"), named(3, "plain")]);
    let sql = "SELECT name, -1 AS less FROM spans ORDER BY name";
    let csv = world.run(&["traces", "query", sql, "--format", "csv"]).expect(0).stdout;
    assert_eq!(csv, "name,less\n-1.5,-1\n'=HYPERLINK(0),-1\nplain,-1\n");
}
