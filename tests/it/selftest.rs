//! `assize selftest` through the binary: simulation, permuted labels, reference cases.

use std::path::Path;

use serde_json::{Value, json};

use crate::world::World;

#[test]
fn the_quick_simulation_keeps_its_promises_whatever_the_threads() {
    let world = World::new();
    let run = |threads: &str| {
        let ran = world.run(&["selftest", "--quick", "--replicates", "50", "--threads", threads, "--json"]);
        ran.expect(0).json()
    };
    let (one, two) = (run("1"), run("2"));
    assert_eq!(one, two);
    assert_eq!(one["failed"], 0, "{one}");
    let named = |what: &str| one["checks"].as_array().unwrap().iter().any(|check| check["what"] == what);
    for what in ["regressed where nothing changed", "interval holds the truth", "mean wait for a false alarm"] {
        assert!(named(what), "{what}: {one}");
    }
    let text = world.run(&["selftest", "--quick", "--replicates", "5"]).stdout;
    assert!(text.contains("promise") && text.contains("power off the plan"), "{text}");
}

#[test]
fn reference_cases_agree_and_a_wrong_one_fails() {
    let world = World::new();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let done = world.run(&["selftest", "--cases", own.to_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!((&done["disagree"], &done["unread"]), (&json!(0), &json!(0)));
    assert!(done["agree"].as_u64().unwrap() > 80, "{}", done["agree"]);
    let case = |expected: f64| {
        json!({"method": "sequential", "tolerance": {"rel": 1e-9, "abs": 1e-12}, "cases": [
            {"id": "c1", "input": {"kind": "msprt", "x": [0.0], "theta0": 0.0, "sigma": 1.0, "tau": 1.0},
             "expected": {"p": [expected]}},
            {"id": "c2", "input": {"kind": "horoscope", "x": []}, "expected": {"p": []}}]})
    };
    world.write("cases/a.json", case(0.5).to_string());
    let text = world.run(&["selftest", "--cases", "cases"]).expect(1).stdout;
    assert!(text.contains("a.json c1: p[0]") && text.contains("got      1.0\n    expected 0.5"), "{text}");
    assert!(text.contains("horoscope") && text.contains("0 passed, 2 failed"), "{text}");
    assert!(world.run(&["selftest", "--cases", "nowhere"]).expect(2).stderr.contains("nowhere"));
}

/// Three trials of 60 examples of an agent that got much worse.
fn runs(world: &World) {
    let mut lines = String::new();
    for n in 0..60_u32 {
        let output = |variant: &str, trial: u32, good: bool| json!({"variant": variant, "trial": trial, "output": {"value": if good { "yes" } else { "no" }}});
        let recorded: Vec<Value> = (0..3)
            .flat_map(|trial| [output("old", trial, (n + trial) % 7 != 0), output("new", trial, (n + trial) % 3 != 0)])
            .collect();
        lines +=
            &format!("{}\n", json!({"id": format!("t{n}"), "input": "?", "reference": "yes", "recorded": recorded}));
    }
    world.write("set.jsonl", lines);
    world.write(
        "assize.toml",
        r#"
[suites.s]
dataset = "set"
candidate = "new"
graders = [{ name = "right", scorer = "exact" }]
gate.metrics.right = { margin = 0.05 }
[suites.s.targets]
old = { kind = "recorded", variant = "old" }
new = { kind = "recorded", variant = "new" }
"#,
    );
    world.run(&["dataset", "import", "set", "set.jsonl"]).expect(0);
}

#[test]
fn permuted_labels_of_real_runs_find_nothing() {
    let world = World::new();
    runs(&world);
    let run = |target: &str, trials: &str| {
        let done = world.run(&["run", "s", "--target", target, "--trials", trials, "--json"]).json();
        done["run"].as_str().unwrap().to_owned()
    };
    let (old, new) = (run("old", "1"), run("new", "1"));
    world.run(&["compare", &old, &new]).expect(1);
    let pair = format!("{old}..{new}");
    let done = world.run(&["selftest", "--run", &pair, "--replicates", "300", "--json"]).expect(0).json();
    assert_eq!((&done["examples"], &done["replicates"]), (&json!(60), &json!(300)));
    let rates = &done["metrics"][0];
    assert!(rates["regressed"].as_f64().unwrap() <= done["bound"].as_f64().unwrap(), "{done}");
    assert!(rates["regressed"].as_f64().unwrap() > 0.0, "{done}");

    let told = world.run(&["selftest", "--run", &old]).expect(2).stderr;
    assert!(told.contains("one trial"), "{told}");
    let repeated = run("old", "3");
    let text = world.run(&["selftest", "--run", &repeated, "--replicates", "100"]).expect(0).stdout;
    assert!(text.contains("60 examples") && text.contains("pass"), "{text}");
}
