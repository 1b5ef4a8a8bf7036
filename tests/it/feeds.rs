//! Scores on their way out: `assize push` against fakes that answer and fail as the platforms document.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

#[path = "../mock/sinks.rs"]
pub mod sinks;

use crate::world::{Ran, World};
use sinks::{Fault, KEY, SECRET, Server};

/// Kind of the fake, kind of the sink, its options.
const PLACES: &[(&str, &str, &str)] = &[
    ("langfuse", "langfuse", ""),
    ("langfuse_v3", "langfuse", ""),
    ("langsmith", "langsmith", ""),
    ("phoenix", "phoenix", ""),
    ("braintrust", "braintrust", ""),
    ("opik", "opik", "project = \"p\""),
    ("mlflow", "mlflow", ""),
    ("weave", "weave", "project = \"entity/project\""),
    ("datadog", "datadog", "project = \"shop\""),
    ("helicone", "helicone", ""),
    ("webhook", "webhook", ""),
];

/// Three traces as a platform calls them; the third has no score of `quality`.
pub fn dataset(kind: &str, quality: [Value; 3], reasons: &str) -> String {
    let line = |n: usize| {
        let native = match kind {
            "opik" => format!("01980000-0000-7000-8000-00000000000{n}"),
            "mlflow" => format!("tr-{n}"),
            _ => format!("native-{n}"),
        };
        let hex = format!("5b8efff798038103d269b633813f000{n}");
        let span = json!({
            "trace_id": hex, "span_id": format!("a1a1a1a1a1a1000{n}"), "kind": "agent", "name": "support",
            "start_ns": 1_795_248_000_000_000_000_i64 + n as i64, "end_ns": 1_795_248_001_000_000_000_i64,
            "source": {"native": {"platform": kind, "trace": native, "span": format!("span-{n}"), "project": "project-1"}},
        });
        let output = json!({
            "value": format!("answer {n} {reasons}"),
            "trace": {"id": hex, "spans": [span]},
            "metadata": {"quality": quality[n], "solved": n == 1, "tone": "polite"},
        });
        let example =
            json!({"id": format!("e{n}"), "input": format!("question {n}"), "recorded": [{"output": output}]});
        format!("{example}\n")
    };
    (0..3).map(line).collect()
}

const SUITE: &str = r#"
[suites.s]
file = "examples.jsonl"
targets.app = { kind = "recorded" }
graders = [
    { name = "quality", scorer = "recorded_value", field = "quality", as = "number", min = 0.0, max = 1.0 },
    { name = "solved", scorer = "recorded_value", field = "solved", as = "pass" },
    { name = "tone", scorer = "recorded_value", field = "tone", as = "label", labels = { polite = 1.0, rude = 0.0 } },
]
"#;

/// A world with a run whose scores can go to a fake.
pub fn world(kind: &str, sink: &str) -> World {
    let mut world = World::new();
    for name in [
        "LANGFUSE_PUBLIC_KEY",
        "LANGSMITH_API_KEY",
        "PHOENIX_API_KEY",
        "BRAINTRUST_API_KEY",
        "OPIK_API_KEY",
        "MLFLOW_TRACKING_TOKEN",
        "WANDB_API_KEY",
        "DD_API_KEY",
        "HELICONE_API_KEY",
        "ASSIZE_WEBHOOK_TOKEN",
    ] {
        world.set(name, KEY);
    }
    world.set("LANGFUSE_SECRET_KEY", SECRET);
    world.write("assize.toml", format!("{SUITE}\n{sink}"));
    world.write("examples.jsonl", dataset(kind, [json!(0.25), json!(1.0), Value::Null], ""));
    world.run(&["run"]).expect(0);
    world
}

pub fn sink(kind: &str, url: &str, options: &str) -> String {
    format!("[sinks.out]\nkind = \"{kind}\"\nurl = \"{url}\"\nrequests_per_minute = 600000\n{options}\n")
}

pub fn push(world: &World, more: &[&str], code: i32) -> (Value, Ran) {
    let arguments: Vec<&str> = ["push", "latest", "--json"].iter().chain(more).copied().collect();
    let ran = world.run(&arguments).expect(code);
    (ran.json(), ran)
}

fn of(pushed: &Value, key: &str) -> u64 {
    pushed["sinks"][0][key].as_u64().unwrap_or_else(|| panic!("{key} in {pushed:#}"))
}

/// Sends a request that reads, or one that writes.
fn writes(server: &Server) -> usize {
    let reads = |path: &str| path.ends_with("/health") || path.ends_with("/feedback/query");
    server.asks().iter().filter(|ask| ask.method != "GET" && !reads(&ask.path)).count()
}

#[test]
fn every_place_gets_every_score_once_and_a_second_push_changes_nothing() {
    for (fake, kind, options) in PLACES {
        let server = Server::start(fake, &[]);
        let world = world(kind, &sink(kind, &server.url, options));
        let (pushed, _) = push(&world, &[], 0);
        // Three times two graders, and two of `quality`: the third has no value and is not sent as 0.
        let figures = u64::from(*kind == "webhook");
        assert_eq!((of(&pushed, "sent"), of(&pushed, "rejected")), (8 + figures, 0), "{fake}: {pushed:#}");
        assert_eq!(pushed["unscored"], json!({"not_applicable": 1}), "{fake}");
        assert_eq!(server.scores().len() as u64, 8 + figures, "{fake}: {:#?}", server.scores());
        let (held, asked, changes) = (server.scores(), writes(&server), server.changes());
        let (again, _) = push(&world, &[], 0);
        assert_eq!((of(&again, "sent"), of(&again, "same"), of(&again, "waiting")), (0, 8 + figures, 0), "{fake}");
        // Nor does a run again that finds the same; only its figures are those of another run.
        world.run(&["run"]).expect(0);
        let (rerun, _) = push(&world, &[], 0);
        assert_eq!((of(&rerun, "sent"), of(&rerun, "same")), (figures, 8), "{fake}");
        if figures == 0 {
            assert_eq!((server.scores(), writes(&server), server.changes()), (held, asked, changes), "{fake}");
        }
        // Another finding of the same grader on the same trace: changed there, or added where nothing can be changed.
        world.write("examples.jsonl", dataset(kind, [json!(0.5), json!(1.0), Value::Null], ""));
        world.run(&["run"]).expect(0);
        let (changed, _) = push(&world, &[], 0);
        assert_eq!((of(&changed, "changed"), of(&changed, "sent")), (1, 1 + figures), "{fake}: {changed:#}");
        let more = if *kind == "datadog" { 1 } else { 2 * figures };
        assert_eq!(server.scores().len() as u64, 8 + figures + more, "{fake}: {:#?}", server.scores());
        let text = format!("{:?}", server.scores());
        assert!(text.contains("0.5") || text.contains("50"), "{fake}: {text}");
    }
}

#[test]
fn a_wrong_key_stops_at_once_and_is_never_shown() {
    for (fake, kind, options) in PLACES {
        for status in [401, 403, 404] {
            let server = Server::start(fake, &[(0, Fault::Status(status)), (1, Fault::Status(status))]);
            let api = if *fake == "langfuse" {
                "api = \"v4\""
            } else if *fake == "langfuse_v3" {
                "api = \"v3\""
            } else {
                ""
            };
            let world = world(kind, &sink(kind, &server.url, &format!("{options}\n{api}")));
            let (pushed, ran) = push(&world, &[], 3);
            let stopped =
                pushed["sinks"][0]["stopped"].as_str().unwrap_or_else(|| panic!("{fake} {status}: {pushed:#}"));
            assert!(stopped.contains(&status.to_string()) && stopped.contains("check"), "{fake} {status}: {stopped}");
            let figures = u64::from(*kind == "webhook");
            assert_eq!((of(&pushed, "sent"), of(&pushed, "waiting")), (0, 8 + figures), "{fake} {status}");
            assert_eq!(server.asks().len(), 1, "{fake} {status}: {:?}", server.asks());
            for said in [&ran.stdout, &ran.stderr] {
                assert!(!said.contains(KEY) && !said.contains(SECRET), "{fake} {status}: {said}");
            }
        }
    }
}

#[test]
fn refusals_for_rate_and_broken_servers_are_sat_out() {
    for (fake, kind, options) in PLACES {
        let server =
            Server::start(fake, &[(0, Fault::TooMany(0.2)), (1, Fault::Status(503)), (2, Fault::TooMany(0.1))]);
        let world = world(kind, &sink(kind, &server.url, options));
        let started = Instant::now();
        let (pushed, _) = push(&world, &[], 0);
        assert!(started.elapsed().as_millis() >= 300, "{fake}: Retry-After is a floor");
        assert_eq!((of(&pushed, "retries"), of(&pushed, "waiting")), (3, 0), "{fake}: {pushed:#}");
        assert!(server.scores().len() >= 8, "{fake}");
    }
}

#[test]
fn what_hangs_is_left_waiting_and_the_next_push_sends_it_once() {
    for (fake, kind, options) in PLACES {
        let server = Server::start(fake, &[]);
        let world = world(kind, &sink(kind, &server.url, &format!("{options}\ntimeout = \"300ms\"\nmax_attempts = 1")));
        server.fail_next(Fault::Gone);
        let (pushed, _) = push(&world, &[], 3);
        let figures = u64::from(*kind == "webhook");
        assert_eq!((of(&pushed, "sent"), of(&pushed, "waiting")), (0, 8 + figures), "{fake}: {pushed:#}");
        assert!(pushed["sinks"][0]["stopped"].is_string(), "{fake}");
        // Done there, and the answer too late: whether it was taken is not known, so it is sent again.
        server.fail_next(Fault::Slow(900));
        push(&world, &[], 3);
        let (pushed, _) = push(&world, &[], 0);
        assert_eq!(of(&pushed, "waiting"), 0, "{fake}: {pushed:#}");
        // Only where nothing can tell a repetition is it there twice: what was in the batch that hung.
        let twice = if *kind == "datadog" { 8 } else { 0 };
        assert_eq!(server.scores().len() as u64, 8 + figures + twice, "{fake}: {:#?}", server.scores());
    }
}

#[test]
fn of_a_partial_answer_only_what_was_turned_away_is_kept_back() {
    let server = Server::start("langfuse", &[]);
    let world = world("langfuse", &sink("langfuse", &server.url, ""));
    let suite = SUITE.replace(
        "graders = [",
        "graders = [\n    { name = \"poisoned\", scorer = \"contains\", values = [\"poison\"] },",
    );
    world.write("assize.toml", format!("{suite}\n{}", sink("langfuse", &server.url, "")));
    world.run(&["run"]).expect(0);
    let (pushed, _) = push(&world, &[], 3);
    assert_eq!((of(&pushed, "sent"), of(&pushed, "rejected")), (8, 3), "{pushed:#}");
    let told = pushed["sinks"][0]["rejections"][0].as_str().unwrap();
    assert!(told.contains("poisoned") && told.contains("read-only"), "{told}");
    let asked = writes(&server);
    assert_eq!(asked, 1, "a batch answered with 207 is not sent again");
    // Nor by the next push; only when that is asked for, and then nothing but what was turned away.
    let (pushed, _) = push(&world, &[], 0);
    assert_eq!((of(&pushed, "sent"), of(&pushed, "rejected"), writes(&server)), (0, 0, asked), "{pushed:#}");
    let (pushed, _) = push(&world, &["--rejected"], 3);
    assert_eq!((of(&pushed, "sent"), of(&pushed, "rejected"), writes(&server)), (0, 3, asked + 1), "{pushed:#}");
}

#[test]
fn one_bad_entry_does_not_cost_the_others() {
    let server = Server::start("phoenix", &[]);
    let world = world("phoenix", &sink("phoenix", &server.url, ""));
    let lines = dataset("phoenix", [json!(0.25), json!(1.0), json!(0.75)], "").replace("\"span-1\"", "\"dead-1\"");
    world.write("examples.jsonl", lines);
    world.run(&["run"]).expect(0);
    let (pushed, _) = push(&world, &[], 3);
    assert_eq!((of(&pushed, "sent"), of(&pushed, "rejected")), (6, 3), "{pushed:#}");
    assert!(pushed["sinks"][0]["rejections"][0].as_str().unwrap().contains("does not know the span"));
    assert_eq!(server.scores().len(), 6);
}

#[test]
fn a_dry_run_and_a_limit_send_no_more_than_they_say() {
    let server = Server::start("langfuse", &[]);
    let world = world(
        "langfuse",
        &sink("langfuse", &server.url, "environment = \"production\"\nmetrics = [\"quality\", \"tone\"]"),
    );
    let (dry, _) = push(&world, &["--dry-run"], 0);
    assert_eq!((of(&dry, "entries"), of(&dry, "waiting"), server.asks().len()), (5, 5, 0), "{dry:#}");
    let body = &dry["sinks"][0]["would_send"][0];
    assert_eq!((&body["environment"], &body["traceId"]), (&json!("production"), &json!("native-0")));
    let (first, _) = push(&world, &["--limit", "2"], 0);
    assert_eq!((of(&first, "sent"), of(&first, "waiting"), server.scores().len()), (2, 3, 2), "{first:#}");
    let (rest, _) = push(&world, &[], 0);
    assert_eq!((of(&rest, "sent"), server.scores().len()), (3, 5), "{rest:#}");
    let names: BTreeMap<String, usize> = server.scores().values().fold(BTreeMap::new(), |mut names, score| {
        *names.entry(score["name"].as_str().unwrap().to_owned()).or_default() += 1;
        names
    });
    assert_eq!(names, BTreeMap::from([("quality".to_owned(), 2), ("tone".to_owned(), 3)]));
}

#[test]
fn what_cannot_be_said_there_is_told_and_left_out() {
    let server = Server::start("braintrust", &[]);
    let world = world("braintrust", &sink("braintrust", &server.url, ""));
    let suite = SUITE.replace("as = \"number\", min = 0.0, max = 1.0", "as = \"number\"");
    world.write("assize.toml", format!("{suite}\n{}", sink("braintrust", &server.url, "")));
    world.write("examples.jsonl", dataset("braintrust", [json!(4.0), json!(0.5), Value::Null], ""));
    world.run(&["run"]).expect(0);
    let (pushed, _) = push(&world, &[], 0);
    assert_eq!(pushed["sinks"][0]["left_out"], json!({"Braintrust takes scores from 0 to 1, and it is 4": 1}));
    assert_eq!(of(&pushed, "sent"), 7);
    // Traces of another platform are not for this one.
    world.write("examples.jsonl", dataset("langsmith", [json!(0.5), json!(0.5), Value::Null], ""));
    world.run(&["run"]).expect(0);
    let (pushed, ran) = push(&world, &["--dry-run"], 0);
    let why = "its trace came from langsmith, which braintrust does not know";
    assert_eq!(pushed["sinks"][0]["left_out"], json!({why: 8}), "{}", ran.stdout);
}

#[test]
fn configuration_and_keys_are_asked_for_in_plain_words() {
    let world = world("langfuse", "");
    let none = world.run(&["push", "latest"]).expect(2);
    assert!(none.stderr.contains("no sink in") && none.stderr.contains("[sinks.NAME]"), "{}", none.stderr);
    for (text, told) in [
        ("[sinks.out]\nkind = \"langfuze\"", "did you mean `langfuse`?"),
        ("[sinks.out]\nkind = \"langfuse\"\nproject = \"x\"", "project"),
        ("[sinks.out]\nkind = \"langfuse\"\nenvironment = \"Production\"", "lower-case letters"),
        ("[sinks.out]\nkind = \"weave\"", "project"),
        ("[sinks.out]\nkind = \"webhook\"", "url"),
        ("[sinks.out]\nkind = \"phoenix\"\nurl = \"ftp://x\"", "http"),
        ("[alarms.a]\nkind = \"slak\"", "did you mean `slack`?"),
        ("[alarms.a]\nkind = \"pagerduty\"\nseverity = \"loud\"", "critical, error, warning, info"),
    ] {
        world.write("assize.toml", format!("{SUITE}\n{text}\n"));
        let ran = world.run(&["runs"]).expect(2);
        assert!(ran.stderr.contains(told), "{text}\n{}", ran.stderr);
    }
    world.write("assize.toml", format!("{SUITE}\n[sinks.out]\nkind = \"langfuse\"\nkey_env = \"NOT_THERE\"\n"));
    let (pushed, _) = push(&world, &[], 3);
    assert!(pushed["sinks"][0]["stopped"].as_str().unwrap().contains("`NOT_THERE`, which is not set"), "{pushed:#}");
    let unknown = world.run(&["push", "latest", "--to", "uot"]).expect(2);
    assert!(unknown.stderr.contains("did you mean `out`?"), "{}", unknown.stderr);
}
