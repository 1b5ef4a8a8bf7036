//! Recorded data that nobody here wrote, through the binary. Skips by name when it is not beside the repository.

use std::fs;

use crate::world::{World, fixtures};

fn close(found: &serde_json::Value, wanted: f64, tolerance: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what} is missing: {found}"));
    assert!((found - wanted).abs() <= tolerance, "{what}: found {found}, expected {wanted}");
}

#[test]
fn four_trials_of_fifty_tasks_are_fifty_observations() {
    let Some(folder) = fixtures("tau-bench") else { return };
    let world = World::new();
    let file = folder.join("taubench_airline/gpt-4o-airline.json.gz");
    world.write(
        "tau.toml",
        r#"
id = "task_id"
input = "info.task.instruction"
reference = "info.task.actions"
trial = "trial"
messages = "traj"
dimensions = { user = "info.task.user_id" }
output_metadata = { reward = "reward" }
"#,
    );
    world.write(
        "assize.toml",
        r#"
[suites.tau]
dataset = "tau"
trials = 4
targets.gpt4o = { kind = "recorded" }
graders = [{ name = "success", scorer = "recorded_value", field = "reward", as = "pass" }]
"#,
    );
    world.run(&["dataset", "import", "tau", file.to_str().unwrap(), "--map", "tau.toml"]).expect(0);
    let view = world.run(&["run", "tau", "--json"]).expect(0).json();
    let success = &view["view"]["metrics"][0]["estimate"];
    close(&success["estimate"], 0.420, 1e-12, "pass rate");
    close(&success["se"], 0.052, 0.0005, "standard error by task");
    assert_eq!(success["n"], 50);
}

#[test]
fn two_coding_agents_on_the_same_instances() {
    let Some(folder) = fixtures("swe-bench") else { return };
    let world = World::new();
    let file = folder.join("swebench_verified/per_instance.csv.gz");
    world.write(
        "swe.toml",
        r#"
id = "instance_id"
input = "instance_id"
variant = "name"
cost = "cost"
dimensions = { repository = { field = "instance_id", regex = "^(.*)__" } }
output_metadata = { resolved = "resolved" }
"#,
    );
    world.write(
        "assize.toml",
        r#"
[suites.swe]
dataset = "swe"
candidate = "gpt5"
graders = [{ name = "resolved", scorer = "recorded_value", field = "resolved", as = "pass" }]
gate.metrics.resolved = { margin = 0.02 }
[suites.swe.targets]
gpt5 = { kind = "recorded", variant = "GPT-5 (2025-08-07) (medium reasoning)" }
mini = { kind = "recorded", variant = "GPT-5 mini (2025-08-07) (medium reasoning)" }
"#,
    );
    world.run(&["dataset", "import", "swe", file.to_str().unwrap(), "--map", "swe.toml"]).expect(0);
    let mini = world.run(&["run", "swe", "--target", "mini", "--json"]).expect(0).json();
    let big = world.run(&["run", "swe", "--target", "gpt5", "--json"]).expect(0).json();
    let id = |run: &serde_json::Value| run["run"].as_str().unwrap().to_owned();
    let compared = world.run(&["compare", &id(&mini), &id(&big), "--json"]).expect(0).json();
    let resolved = &compared["comparison"]["metrics"][0];
    close(&resolved["difference"]["estimate"], 0.052, 1e-9, "difference");
    assert_eq!(resolved["discordance"]["improved"], 54);
    assert_eq!(resolved["discordance"]["worsened"], 28);
    close(&resolved["discordance"]["exact_p"], 0.00544, 0.000005, "exact McNemar p");
}

#[test]
fn every_otlp_fixture_is_ingested() {
    let Some(folder) = fixtures("OTLP files") else { return };
    for name in ["traces/otlp_capture", "traces/otlp_examples"] {
        for entry in fs::read_dir(folder.join(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            let world = World::new();
            let report = world.run(&["ingest", path.to_str().unwrap(), "--json"]).expect(0).json();
            assert_eq!(report["rejected"], 0, "{}: {report}", path.display());
        }
    }
    let world = World::new();
    let capture = folder.join("traces/otlp_capture/openllmetry.otlp.json");
    let report = world.run(&["ingest", capture.to_str().unwrap(), "--json"]).expect(0).json();
    assert!(report["spans"].as_u64().unwrap() > 0, "{report}");
    let again = world.run(&["ingest", capture.to_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!(again["added"], 0, "a second ingest of the same file changes nothing: {again}");
}
