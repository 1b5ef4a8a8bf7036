//! Drift through the binary: of a suite's metrics over its runs, and of live traces over days.

use serde_json::{Value, json};

use crate::world::World;

/// A suite with a target for each of some versions of an agent, by how many of forty questions it answers.
fn suite(world: &World, grader: &str) {
    let levels = [19, 20, 29, 30, 31];
    let line = |n: u32| {
        let recorded: Vec<Value> = levels
            .iter()
            .map(|level| json!({"variant": format!("v{level}"), "output": {"value": if n < *level { "yes" } else { "no" }}}))
            .collect();
        json!({"id": format!("q{n:02}"), "input": format!("{n}"), "reference": "yes", "recorded": recorded}).to_string()
    };
    world.write("set.jsonl", (0..40).map(line).collect::<Vec<_>>().join("\n"));
    let targets: Vec<String> = levels
        .iter()
        .map(|level| format!("targets.v{level} = {{ kind = \"recorded\", variant = \"v{level}\" }}"))
        .collect();
    let config = format!(
        "[suites.qa]\nfile = \"set.jsonl\"\ncandidate = \"v30\"\n{}\ngraders = [{grader}]\n",
        targets.join("\n")
    );
    world.write("assize.toml", config);
}

const EXACT: &str = "{ name = \"right\", scorer = \"exact\" }";

fn charted<'a>(found: &'a Value, name: &str) -> &'a Value {
    found["charts"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{found}"))
}

#[test]
fn runs_of_a_suite_are_points_of_one_series() {
    let world = World::new();
    suite(&world, EXACT);
    let told = world.run(&["drift"]).expect(2).stderr;
    assert!(told.contains("no complete run yet"), "{told}");
    let run = |level: u32| {
        world.run(&["run", "--target", &format!("v{level}"), "--quiet"]).expect(0);
    };
    for level in [30, 31, 29, 30, 31] {
        run(level);
    }
    let few = world.run(&["drift", "--metric", "right", "--json"]).expect(0).json();
    assert_eq!(charted(&few, "right")["drift"], "steady", "{few}");
    for level in [20, 19, 20] {
        run(level);
    }
    let found = world.run(&["drift", "qa", "--metric", "right", "--json"]).expect(1).json();
    let right = charted(&found, "right");
    assert_eq!((&right["drift"], right["points"].as_array().unwrap().len()), (&json!("worse"), 8), "{right}");
    let sixth = &right["points"][5];
    assert_eq!((&right["change"]["at"], &sixth["n"]), (&sixth["at"], &json!(40)), "{right}");
    assert!((right["change"]["before"].as_f64().unwrap() - 0.755).abs() < 1e-12, "{right}");
    let shown = world.run(&["drift", "--metric", "right"]).expect(1).stdout;
    assert!(shown.contains("WORSE") && shown.contains("it has drifted for the worse"), "{shown}");
    let told = world.run(&["drift", "--metric", "rihgt"]).expect(2).stderr;
    assert!(told.contains("no metric `rihgt`; there is") && told.contains("right"), "{told}");
    // Another grader under the same name begins another series.
    suite(&world, "{ name = \"right\", scorer = \"contains\" }");
    run(20);
    let fresh = world.run(&["drift", "--metric", "right", "--json"]).expect(4).json();
    assert_eq!(charted(&fresh, "right")["points"].as_array().unwrap().len(), 1, "{fresh}");
    let left_out: Vec<&str> = fresh["left_out"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert!(left_out.iter().any(|one| one.contains("graded by another grader")), "{left_out:?}");
}

/// Forty traces of one day, each scored; `good` of ten are right.
pub fn day(number: u64, good: u64) -> String {
    let (hour, minute) = (3_600_000_000_000_u64, 60_000_000_000_u64);
    let midnight = 1_789_948_800_000_000_000 + number * 24 * hour;
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let one = |place: u64| {
        let start = midnight + 8 * hour + place * minute;
        let right = if place % 10 < good { 1.0 } else { 0.0 };
        let score = json!({"name": "gen_ai.evaluation.result", "timeUnixNano": (start + minute).to_string(), "attributes": [
            text("gen_ai.evaluation.name", "right"),
            {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": right}}]});
        let span = json!({
            "traceId": format!("{:032x}", number * 1_000 + place + 1), "spanId": format!("{:016x}", place + 1),
            "name": "answer", "kind": 1, "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": (start + 1_000_000 * (100 + place)).to_string(),
            "attributes": [text("gen_ai.operation.name", "invoke_agent"), text("gen_ai.agent.name", "support")],
            "events": [score],
        });
        json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "t"}, "spans": [span]}]}]})
            .to_string()
    };
    (0..40).map(one).collect::<Vec<_>>().join("\n")
}

#[test]
fn live_scores_fire_when_they_fall_and_say_since_when() {
    let world = World::new();
    let none = world.run(&["drift", "--live"]).expect(2).stderr;
    assert!(none.contains("no trace in that time"), "{none}");
    let calm: Vec<String> = (0..9).map(|number| day(number, 9)).collect();
    world.write("calm.jsonl", calm.join("\n"));
    world.run(&["ingest", "calm.jsonl"]).expect(0);
    let calm = world.run(&["drift", "--live", "--json"]).expect(0).json();
    let rule = |found: &Value, name: &str| -> Value {
        let rules = found["rules"].as_array().unwrap();
        rules.iter().find(|rule| rule["rule"] == name).unwrap_or_else(|| panic!("{found}")).clone()
    };
    assert_eq!(rule(&calm, "quality_drop")["state"], "ok");
    assert_eq!(rule(&calm, "latency_p95")["state"], "ok");
    assert_eq!(rule(&calm, "tool_error_rate")["state"], "stale", "no tool was called: unknown, not fine");
    world.write("bad.jsonl", [day(9, 3), day(10, 3)].join("\n"));
    world.run(&["ingest", "bad.jsonl"]).expect(0);
    let found = world.run(&["drift", "--live", "--json"]).expect(1).json();
    let quality = rule(&found, "quality_drop");
    assert_eq!((&quality["state"], &quality["score"]), (&json!("firing"), &json!("right")), "{quality}");
    assert_eq!(
        (&quality["since"], &quality["evidence"]["alarm"]),
        (&json!("2026-09-30"), &json!("2026-09-30")),
        "{quality}"
    );
    assert_eq!(quality["days"][9]["level"], "critical");
    let shown = world.run(&["drift", "--live"]).expect(1).stdout;
    assert!(
        shown.contains("FIRING since 2026-09-30") && shown.contains("2026-09-30  quality_drop of right fired"),
        "{shown}"
    );
    assert_eq!(shown.matches("points are too few").count(), 0, "{shown}");
    // Windows of six hours begin when they begin, and what has too few points is told once.
    world.write("assize.toml", "[drift]\nwindow_hours = 6\n");
    let windows = world.run(&["drift", "--live", "--json"]).json();
    assert_eq!(windows["window_hours"], 6);
    let first = windows["rules"][0]["days"][0]["day"].as_str().unwrap().to_owned();
    assert!(first.ends_with(":00") && first.len() == 16, "{first}");
    world.write("assize.toml", "[drift]\nwindow_hours = 5\n");
    assert!(world.run(&["drift", "--live"]).expect(2).stderr.contains("a divisor of 24"));
    world.write("assize.toml", "");
    let short = world.run(&["drift", "--live", "--since", "2026-09-29", "--until", "2026-10-01"]).stdout;
    assert_eq!(short.matches("points are too few to say what is usual").count(), 1, "{short}");
    // A limit of the user's own, and one that cannot be.
    world.write("assize.toml", "[drift]\nquality_drop = 90\n");
    world.run(&["drift", "--live"]).expect(0);
    world.write("assize.toml", "[drift]\nfire = 3\nof = 2\nalpha = 0.9\n");
    let told = world.run(&["drift", "--live"]).expect(2).stderr;
    assert!(told.contains("set `of` to at least `fire`") && told.contains("drift.alpha"), "{told}");
}
