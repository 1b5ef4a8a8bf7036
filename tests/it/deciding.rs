//! `run --until-decided`: stops when the verdict is settled, says so in the store, and is compared as what it is.

use serde_json::{Value, json};

use crate::world::World;

/// 800 examples with recorded outputs of four versions; `clustered` puts two into one session.
fn project(clustered: bool) -> World {
    let world = World::new();
    let mut lines = String::new();
    for n in 0..800_u32 {
        let good = n % 10 != 0;
        let versions =
            [("old", good), ("same", good), ("worse", good && n % 4 != 1), ("slightly", good && n % 50 != 7)];
        let recorded: Vec<Value> = versions
            .iter()
            .map(|(name, good)| {
                let value = if *good { "yes" } else { "no" };
                json!({"variant": name, "trial": 0, "output": {"value": value, "cost_usd": 0.01}})
            })
            .collect();
        let cluster = if clustered { format!("s{}", n / 2) } else { format!("t{n}") };
        let line = json!({"id": format!("t{n}"), "input": format!("question {n}"), "reference": "yes",
            "cluster": cluster, "recorded": recorded});
        lines += &format!("{line}\n");
    }
    world.write("set.jsonl", lines);
    world.write(
        "assize.toml",
        r#"
[suites.s]
dataset = "set"
candidate = "worse"
graders = [{ name = "right", scorer = "exact" }]
gate.metrics.right = { margin = 0.05 }
[suites.s.targets]
old = { kind = "recorded", variant = "old" }
same = { kind = "recorded", variant = "same" }
worse = { kind = "recorded", variant = "worse" }
slightly = { kind = "recorded", variant = "slightly" }
"#,
    );
    world.run(&["dataset", "import", "set", "set.jsonl"]).expect(0);
    world.run(&["run", "s", "--target", "old"]).expect(0);
    world.run(&["bless", "latest", "-m", "first", "--by", "test"]).expect(0);
    world
}

#[test]
fn a_clear_regression_stops_the_run() {
    let world = project(false);
    let ran = world.run(&["run", "s", "--until-decided", "--json"]).expect(1);
    let done = ran.json();
    let decision = &done["decision"];
    assert_eq!((&decision["settled"], &decision["verdict"]), (&json!(true), &json!("fail")), "{decision}");
    assert_eq!(done["stop"]["reason"], "decided");
    assert_eq!(done["stop"]["rule"], "gate_by_confidence_sequences");
    let trials = &decision["savings"]["trials"];
    assert!(trials[0].as_u64().unwrap() < 400 && trials[1] == 800, "{trials}");
    assert!(ran.stderr.contains("saved") && ran.stderr.contains("settled"), "{}", ran.stderr);

    // The store knows, and a comparison made again says the same by the same intervals.
    let runs = world.run(&["runs"]).expect(0).stdout;
    assert!(runs.contains("stopped early"), "{runs}");
    let again = world.run(&["compare", "baseline", "latest", "--json"]).expect(1).json();
    let metric = &again["comparison"]["metrics"][0];
    assert_eq!(metric["difference"]["method"], "anytime_empirical_bernstein");
    assert_eq!(metric["change"], "regressed");
    assert!(metric.get("discordance").is_none(), "{metric}");
    let reasons = again["comparison"]["reasons"].to_string();
    assert!(reasons.contains("looked at while it went on") && reasons.contains("of 800 examples count"), "{reasons}");
    assert!(!reasons.contains("was stopped before its end"), "{reasons}");
}

#[test]
fn no_change_stops_the_run_as_soon_as_it_is_shown() {
    let world = project(true);
    let done = world.run(&["run", "s", "--target", "same", "--until-decided", "--json"]).expect(0).json();
    let decision = &done["decision"];
    assert_eq!((&decision["settled"], &decision["verdict"]), (&json!(true), &json!("pass")), "{decision}");
    assert!(decision["savings"]["trials"][0].as_u64().unwrap() < 800, "{decision}");
    let again = world.run(&["compare", "baseline", "latest", "--json"]).expect(0).json();
    assert_eq!(again["comparison"]["metrics"][0]["change"], "equivalent");
    let found = &again["comparison"]["metrics"][0]["difference"];
    assert_eq!(found["n"].as_u64().unwrap() % 2, 0, "whole sessions only: {found}");
    assert!(found["interval"]["lo"].as_f64().unwrap() > -0.1, "{found}");
}

#[test]
fn what_is_not_settled_goes_to_its_end_and_keeps_its_intervals() {
    let world = project(false);
    let done = world.run(&["run", "s", "--target", "slightly", "--until-decided", "--limit", "60", "--json"]);
    let done = done.expect(4).json();
    assert_eq!(done["decision"]["settled"], false);
    assert_eq!(done["decision"]["savings"]["trials"], json!([60, 60]));
    assert_eq!(done["stop"], Value::Null);
    let again = world.run(&["compare", "baseline", "latest", "--json"]).expect(4).json();
    assert_eq!(again["comparison"]["metrics"][0]["difference"]["method"], "anytime_empirical_bernstein");
}

#[test]
fn one_command_stops_early_and_writes_the_comparison() {
    let world = project(false);
    let ran = world.run(&["ci", "--until-decided", "--report", "markdown=comment.md"]).expect(1);
    assert!(ran.stdout.contains("regressed"), "{}", ran.stdout);
    assert!(world.read("comment.md").contains("looked at while it went on"), "{}", world.read("comment.md"));
}

#[test]
fn what_could_never_be_settled_is_refused_before_it_costs_anything() {
    let world = project(false);
    let config = world.read("assize.toml");
    world.write("assize.toml", config.replace("gate.metrics.right = { margin = 0.05 }", ""));
    let told = world.run(&["run", "s", "--until-decided"]).expect(2).stderr;
    assert!(told.contains("gates no metric"), "{told}");
    world.write("assize.toml", config.replace("scorer = \"exact\"", "scorer = \"contains\""));
    let told = world.run(&["run", "s", "--until-decided"]).expect(2).stderr;
    assert!(told.contains("grader:right") && told.contains("run the baseline again"), "{told}");
    world.write("assize.toml", &config);
    let told = world.run(&["run", "s", "--baseline", "latest"]).expect(2).stderr;
    assert!(told.contains("--until-decided"), "{told}");
}
