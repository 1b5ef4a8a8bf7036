//! The verbs as a user types them, from an empty folder to a report: what they print, write and refuse.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::world::World;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/demo");
const VERBS: &[&str] = &[
    "",
    "demo",
    "init",
    "ingest",
    "sample",
    "dataset",
    "dataset ls",
    "dataset show",
    "dataset diff",
    "dataset import",
    "dataset export",
    "run",
    "runs",
    "compare",
    "ci",
    "bless",
    "report",
    "judge",
    "judge ls",
    "judge show",
    "judge check",
    "judge calibrate",
    "traces",
    "traces ls",
    "traces show",
    "doctor",
    "schema",
    "completions",
];

fn started() -> World {
    let world = World::new();
    world.run(&["init"]).expect(0);
    world
}

/// A world with the traces of the demo in its lake.
fn with_traces() -> World {
    let world = World::new();
    let files = ["1.8", "2.0"].map(|version| format!("{DEMO}/traces-{version}.jsonl.gz"));
    world.run(&["ingest", &files[0], &files[1]]).expect(0);
    world
}

fn names(of: &Value, key: &str) -> Vec<String> {
    of.as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_new_project_runs_blesses_and_passes_without_key_or_network() {
    let world = started();
    let ran = world.run(&["run", "--json"]).expect(0).json();
    assert_eq!(ran["view"]["metrics"][1]["unscored"], json!({}), "{ran:#}");
    let blessed = world.run(&["bless", "latest", "-m", "x", "--by", "me", "--json"]).expect(0).json();
    assert_eq!((blessed["by"].as_str(), blessed["reason"].as_str()), (Some("me"), Some("x")));
    let ci = world.run(&["ci"]).expect(0);
    assert!(ci.stdout.contains("PASS"), "{}", ci.stdout);
    for form in ["html", "md", "xml"] {
        assert!(world.path(&format!(".assize/reports/ci-support.{form}")).is_file(), "{form}");
    }
    assert_eq!(world.run(&["runs", "--json"]).expect(0).json().as_array().unwrap().len(), 2);
    let config = world.read("assize.toml");
    let again = world.run(&["init"]).expect(2);
    assert!(again.stderr.contains("already has assize.toml") && again.stderr.contains("nothing was written"));
    assert_eq!(world.read("assize.toml"), config);
}

#[test]
fn judges_are_listed_shown_and_checked_and_your_own_wins() {
    let world = started();
    let list = world.run(&["judge", "ls", "--json"]).expect(0).json();
    let (all, own): (Vec<_>, Vec<_>) =
        (names(&list, "name"), list.as_array().unwrap().iter().filter(|row| row["own"] == true).collect());
    assert!(all.contains(&"tone".to_owned()) && own.len() == 1 && own[0]["name"] == "reply_is_complete", "{list:#}");
    world.run(&["judge", "check"]).expect(0);
    let checked = world.run(&["judge", "check", "reply_is_complete", "--json"]).expect(0).json();
    assert_eq!(checked, json!([{"judge": "reply_is_complete", "findings": []}]));
    let shipped = world.run(&["judge", "show", "tone", "--json"]).expect(0).json();
    for name in ["judge.toml", "prompt.md", "calibration.jsonl"] {
        let text = fs::read_to_string(format!("{}/judges/tone/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        world.write(&format!("judges/tone/{name}"), text.replace("Judge how it is said", "Judge only how it is said"));
    }
    let own = world.run(&["judge", "show", "tone", "--json"]).expect(0).json();
    assert_eq!((shipped["own"].as_bool(), own["own"].as_bool()), (Some(false), Some(true)));
    assert!(own["digest"] != shipped["digest"] && own["rubric"].as_str().unwrap().contains("only how it is said"));
    world.run(&["judge", "check", "tone"]).expect(0);
    let unknown = world.run(&["judge", "show", "toen"]).expect(2);
    assert!(unknown.stderr.contains("did you mean `tone`?"), "{}", unknown.stderr);
}

#[test]
fn a_dataset_goes_out_and_comes_in_unchanged() {
    let world = started();
    let first = world.run(&["dataset", "import", "qa", "datasets/support.jsonl", "--json"]).expect(0).json();
    assert_eq!((first["header"]["version"].as_u64(), first["rejected"].as_u64()), (Some(1), Some(0)));
    world.run(&["dataset", "export", "qa", "--out", "out.jsonl"]).expect(0);
    assert_eq!(world.run(&["dataset", "export", "qa"]).expect(0).stdout, world.read("out.jsonl"));
    let again = world.run(&["dataset", "import", "qa", "out.jsonl", "--json"]).expect(0).json();
    assert_eq!((&again["unchanged"], &again["header"]["digest"]), (&json!(true), &first["header"]["digest"]));
    let changed = world.read("out.jsonl").lines().skip(1).fold(String::new(), |text, line| text + line + "\n");
    world.write("less.jsonl", changed + "{\"id\": \"new\", \"input\": \"Is it new?\"}\n");
    world.run(&["dataset", "import", "qa", "less.jsonl"]).expect(0);
    let diff = world.run(&["dataset", "diff", "qa@1", "qa@2", "--json"]).expect(0).json();
    assert_eq!((diff["added"].clone(), diff["removed"].as_array().unwrap().len()), (json!(["new"]), 1));
    let list = world.run(&["dataset", "ls", "--json"]).expect(0).json();
    assert_eq!((list[0]["name"].as_str(), list[0]["version"].as_u64()), (Some("qa"), Some(2)));
    let shown = world.run(&["dataset", "show", "qa@1", "--json", "--examples", "2"]).expect(0).json();
    assert_eq!((shown["versions"].clone(), shown["examples"].as_array().unwrap().len()), (json!([1, 2]), 2));
    let mapped = world.write("qa.csv", "q,a\nWhat?,That\n");
    assert!(mapped.is_file());
    let arguments = ["dataset", "import", "csv", "qa.csv", "--field", "input=q", "--field", "reference=a", "--json"];
    assert_eq!(world.run(&arguments).expect(0).json()["header"]["examples"], 1);
    let wrong = world.run(&["dataset", "import", "csv", "qa.csv", "--field", "inptu=q"]).expect(2);
    assert!(wrong.stderr.contains("did you mean `input`?"), "{}", wrong.stderr);
}

#[test]
fn a_sample_is_the_same_whatever_the_order_and_states_its_probabilities() {
    let world = with_traces();
    let common = ["--key", "ticket.id", "--variant", "service.version", "--json"];
    let sample = |name: &str, more: &[&str]| {
        world.run(&[&["sample", name], &common[..], more].concat()).expect(0).json()["header"].clone()
    };
    let stratified = sample("strata", &["--stratify", "ticket.intent", "--count", "30"]);
    let design = &stratified["design"];
    let strata = design["strata"].as_array().unwrap();
    assert_eq!((stratified["examples"].as_u64(), strata.len()), (Some(30), 6), "{stratified:#}");
    let rows = lines(&world.run(&["dataset", "export", "strata"]).expect(0).stdout);
    let mut weight = 0.0;
    for row in &rows {
        let stratum = strata.iter().find(|stratum| stratum["name"] == row["stratum"]).unwrap();
        let chosen = stratum["chosen"].as_f64().unwrap() / stratum["population"].as_f64().unwrap();
        let probability = row["inclusion_probability"].as_f64().unwrap();
        assert!((probability - chosen).abs() < 1e-12, "{probability} {chosen}");
        weight += 1.0 / probability;
        assert_eq!(row["recorded"].as_array().unwrap().len(), 2, "both versions of the agent");
    }
    // Weights add up to the population: 178 tickets.
    assert!((weight - 178.0).abs() < 1e-6, "{weight}");
    let rate = sample("rate", &["--rate", "0.25"]);
    assert_eq!(rate["design"]["strata"][0]["rate"], 0.25);
    assert!((25..=65).contains(&rate["examples"].as_u64().unwrap()), "{rate}");
    let rows = lines(&world.run(&["dataset", "export", "rate"]).expect(0).stdout);
    assert!(rows.iter().all(|row| row["inclusion_probability"] == 0.25));
    // Files in the other order, read without the lake: the same examples; another seed: others.
    let files = ["2.0", "1.8"].map(|version| format!("{DEMO}/traces-{version}.jsonl.gz"));
    let from = ["--from", &files[0], "--from", &files[1], "--rate", "0.25"];
    let turned = sample("turned", &from);
    assert_eq!((&turned["digest"], &turned["recorded_digest"]), (&rate["digest"], &rate["recorded_digest"]));
    assert_ne!(sample("seeded", &["--rate", "0.25", "--seed", "9"])["digest"], rate["digest"]);
    // A greater rate only adds: what was chosen stays chosen.
    let ids = |name: &str| -> BTreeSet<String> {
        let rows = lines(&world.run(&["dataset", "export", name]).expect(0).stdout);
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    sample("more", &["--rate", "0.5"]);
    assert!(ids("more").is_superset(&ids("rate")));
}

#[test]
fn traces_are_listed_and_shown() {
    let world = with_traces();
    insta::assert_snapshot!("traces_in_a_list", world.run(&["traces", "ls", "--limit", "5"]).expect(0).stdout);
    insta::assert_snapshot!(
        "failed_traces_in_a_list",
        world.run(&["traces", "ls", "--errors", "--limit", "3"]).expect(0).stdout
    );
    let trace = "47b207f52c5c9f67d55ba849085094e2";
    insta::assert_snapshot!("a_trace_as_a_tree", world.run(&["traces", "show", &trace[..8]]).expect(0).stdout);
    let ascii = world.run(&["traces", "show", trace, "--ascii"]).expect(0).stdout;
    assert!(!ascii.contains('•') && ascii.contains("- agent"), "{ascii}");
    let refunds = world.run(&["traces", "ls", "--where", "ticket.intent=refund", "--limit", "500", "--json"]).expect(0);
    assert_eq!(refunds.json().as_array().unwrap().len(), 80);
    // A second reading adds nothing.
    let again = world.run(&["ingest", &format!("{DEMO}/traces-1.8.jsonl.gz"), "--json"]).expect(0).json();
    assert_eq!(again["added"], 0);
}

#[test]
fn doctor_says_what_is_there_and_what_is_missing() {
    let mut world = started();
    // The model that the starter configures is used by nothing: without its key, every run still works.
    let looks = world.run(&["doctor", "--offline", "--json"]).expect(0).json();
    let found = |looks: &Value, what: &str| {
        let look = looks.as_array().unwrap().iter().find(|look| look["what"] == what).cloned();
        look.unwrap_or_else(|| panic!("{what}: {looks:#}"))
    };
    assert_eq!(found(&looks, "suite support")["standing"], "ok");
    let model = found(&looks, "model judge");
    assert_eq!(model["standing"], "note");
    assert!(model["found"].as_str().unwrap().contains("OPENAI_API_KEY"), "{model}");
    let used = "[[suites.support.graders]]\njudge = \"tone\"\nmodel = \"judge\"\n\n# What is demanded.";
    world.write("assize.toml", world.read("assize.toml").replace("# What is demanded.", used));
    let looks = world.run(&["doctor", "--offline", "--json"]).expect(3).json();
    assert_eq!(found(&looks, "model judge")["standing"], "broken");
    world.set("OPENAI_API_KEY", "sk-very-secret");
    let ran = world.run(&["doctor", "--offline", "--json"]).expect(0);
    assert_eq!(found(&ran.json(), "model judge")["standing"], "note");
    assert!(!ran.stdout.contains("sk-very-secret"));
}

#[test]
fn schemas_are_json_and_fit_what_is_shipped() {
    let world = started();
    let names = world.run(&["schema", "--json"]).expect(0).json();
    for name in names.as_array().unwrap() {
        let schema = world.run(&["schema", name.as_str().unwrap()]).expect(0).json();
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let schema = world.run(&["schema", "config"]).expect(0).json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for text in [world.read("assize.toml"), fs::read_to_string(format!("{DEMO}/assize.toml")).unwrap()] {
        let config: Value = toml::from_str(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&config).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
    }
    // Every key that can be written stands in the commented configuration, so that nobody must read a schema.
    let text = world.read("assize.toml");
    let mut keys = BTreeSet::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.len() > 40, "{keys:?}");
    let absent: Vec<&String> = keys
        .iter()
        .filter(|key| {
            *key != "$schema" && !regex::Regex::new(&format!(r"\b{key}\b\]?\s*[=.\]]")).unwrap().is_match(&text)
        })
        .collect();
    assert_eq!(absent, Vec::<&String>::new());
}

fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect_keys(value, keys));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

#[test]
fn completions_know_every_verb() {
    let script = World::new().run(&["completions", "bash"]).expect(0).stdout;
    for verb in VERBS.iter().filter(|verb| !verb.is_empty() && !verb.contains(' ')) {
        assert!(script.contains(verb), "{verb}");
    }
}

#[test]
fn reports_come_from_the_store_and_come_out_the_same() {
    let world = started();
    world.run(&["run"]).expect(0);
    world.run(&["run"]).expect(0);
    let runs = world.run(&["runs", "--json"]).expect(0).json();
    let ids: Vec<&str> = runs.as_array().unwrap().iter().filter_map(|run| run["header"]["id"].as_str()).collect();
    // What a report needs is in the store: neither dataset nor agent nor configuration is.
    for gone in ["assize.toml", "datasets/support.jsonl", "agent.py"] {
        let _ = fs::remove_file(world.path(gone));
    }
    let forms = ["html", "junit", "prometheus", "markdown", "json", "terminal"];
    for subject in [ids[0].to_owned(), format!("{}..{}", ids[1], ids[0])] {
        for round in ["one", "two"] {
            let mut arguments = vec!["report".to_owned(), subject.clone()];
            for form in forms {
                arguments.extend(["--report".to_owned(), format!("{form}={round}.{form}")]);
            }
            world.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
        }
        for form in forms {
            let read = |round: &str| without_moments(&world.read(&format!("{round}.{form}")));
            let (one, two) = (read("one"), read("two"));
            let differ = one.lines().zip(two.lines()).find(|(one, two)| one != two);
            assert!(one == two, "{form} of {subject}: {differ:?}");
        }
        assert!(world.read("one.junit").contains("<testsuite") && world.read("one.html").contains("</html>"));
    }
    let stdout = world.run(&["report", ids[0], "--report", "markdown=-"]).expect(0).stdout;
    assert!(stdout.contains("right\\_answer"), "{stdout}");
}

/// A report without the moment it was made at.
fn without_moments(text: &str) -> String {
    let mut text = text.to_owned();
    for moment in [
        r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z?",
        r"\d{1,2} \w{3,9} \d{4},? \d{2}:\d{2}(:\d{2})?( UTC)?",
        r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}(:\d{2})?( UTC)?",
    ] {
        text = regex::Regex::new(moment).unwrap().replace_all(&text, "[moment]").into_owned();
    }
    text
}

#[test]
fn the_demo_ends_with_its_verdict_and_can_be_run_again() {
    let world = World::new();
    for _ in 0..2 {
        let demo = world.run(&["demo", "--json", "--quiet"]).expect(0).json();
        let comparison = &demo["comparison"];
        assert_eq!(comparison["verdict"], "fail");
        assert!(!comparison.to_string().contains("not_recorded"), "every answer of the judge is in the cassette");
        let slices = comparison["slices"].as_array().unwrap();
        let moved = |value: &str, change: &str| {
            let fits = |slice: &&Value| {
                slice["dimension"] == "ticket.intent" && slice["value"] == value && slice.to_string().contains(change)
            };
            assert!(slices.iter().any(|slice| fits(&slice)), "{value} {change}: {slices:#?}");
        };
        moved("refund", "regressed");
        moved("order_status", "improved");
        assert!(fs::read_to_string(demo["report"].as_str().unwrap()).unwrap().contains("</html>"));
    }
    let ran = world.run(&["demo", "--quiet"]).expect(0);
    assert!(ran.stdout.contains("FAIL") && ran.stdout.contains("ticket.intent=refund"), "{}", ran.stdout);
    let config = ["--config", ".assize-demo/assize.toml"];
    assert_eq!(world.run(&[&["runs", "--json"], &config[..]].concat()).expect(0).json().as_array().unwrap().len(), 6);
}

#[test]
fn help_of_every_verb() {
    let world = World::new();
    let mut whole = String::new();
    // What holds for every verb is shown once.
    let global = regex::Regex::new(r"(?s)\n\nWith every verb:\n.*?(\n\n[A-Z]|\z)").unwrap();
    for verb in VERBS {
        let arguments: Vec<&str> = verb.split_whitespace().chain(["--help"]).collect();
        let help = world.run(&arguments).expect(0).stdout;
        let help = if verb.is_empty() { help } else { global.replace(&help, "$1").into_owned() };
        whole.push_str(&format!("$ assize {verb}\n{}\n\n", help.trim_end()));
    }
    insta::assert_snapshot!("help", whole);
}
