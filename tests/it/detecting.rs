//! Failure modes in traces, through the binary: reference cases, the verb, the scorer, the dimension, real traces.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{World, fixtures};

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// A line of OTLP with one trace: an agent that calls tools. Each call is its name, arguments, and whether it failed.
fn trace(number: u64, calls: &[(&str, &str, bool)]) -> String {
    let (minute, start) = (60_000_000_000_u64, 1_790_000_000_000_000_000 + number * 3_600_000_000_000);
    let trace = format!("{:032x}", number + 1);
    let span = |id: usize, more: Value| {
        let mut span = json!({
            "traceId": trace, "spanId": format!("{id:016x}"), "name": "step", "kind": 1,
            "startTimeUnixNano": (start + id as u64 * 1_000_000_000).to_string(),
            "endTimeUnixNano": (start + id as u64 * 1_000_000_000 + 500_000_000).to_string(),
        });
        for (key, value) in more.as_object().unwrap() {
            span[key] = value.clone();
        }
        span
    };
    let root = json!({"name": "invoke_agent support", "endTimeUnixNano": (start + minute).to_string(), "attributes": [
        text("gen_ai.operation.name", "invoke_agent"), text("gen_ai.agent.name", "support"),
        text("input.value", &format!("what of case {number} of {}?", ["refunds", "returns", "seats", "meals"][number as usize % 4])), text("output.value", "an answer")]});
    let mut spans = vec![span(1, root)];
    for (place, (name, arguments, failed)) in calls.iter().enumerate() {
        let call = json!({"name": format!("execute_tool {name}"), "parentSpanId": format!("{:016x}", 1),
            "status": {"code": if *failed { 2 } else { 1 }},
            "attributes": [text("gen_ai.operation.name", "execute_tool"), text("gen_ai.tool.name", name),
                text("gen_ai.tool.call.arguments", arguments), text("gen_ai.tool.call.result", "{\"ok\": true}")]});
        spans.push(span(place + 2, call));
    }
    json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "t"}, "spans": spans}]}]})
        .to_string()
}

/// Four traces: one that loops, one that ends on an error, two that are fine.
fn world() -> World {
    let world = World::new();
    let loops = [("search", "{\"q\": 1}", false); 4];
    let fails = [("search", "{\"q\": 2}", false), ("pay", "{\"sum\": 5}", true)];
    let fine = [("search", "{\"q\": 3}", false), ("pay", "{\"sum\": 6}", false)];
    let lines = [trace(0, &loops), trace(1, &fails), trace(2, &fine), trace(3, &fine)];
    world.write("traces.jsonl", lines.join("\n"));
    world.run(&["ingest", "traces.jsonl"]).expect(0);
    world
}

#[test]
fn every_reference_case_agrees_and_own_ones_cover_the_same_methods() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let world = World::new();
    let run = |folder: &Path| world.run(&["selftest", "--cases", folder.to_str().unwrap(), "--json"]).expect(0).json();
    let methods = |done: &Value| -> Vec<String> {
        let list = done["methods"].as_array().unwrap();
        list.iter().map(|method| method["method"].as_str().unwrap().to_owned()).collect()
    };
    let mine = run(&own);
    assert!(methods(&mine).contains(&"detectors".to_owned()));
    let Some(folder) = fixtures("reference cases of all methods") else { return };
    let folder = folder.parent().unwrap().join("goldens");
    let theirs = run(&folder);
    let files = fs::read_dir(&folder).unwrap().count() as u64;
    assert_eq!((&theirs["files"], &theirs["unknown"]), (&json!(files), &json!([])));
    assert_eq!((&theirs["disagree"], &theirs["unread"]), (&json!(0), &json!(0)), "{theirs}");
    assert!(theirs["agree"].as_u64().unwrap() > 600, "{}", theirs["agree"]);
    let lacking: Vec<String> = methods(&theirs).into_iter().filter(|name| !methods(&mine).contains(name)).collect();
    assert!(lacking.is_empty(), "no values of our own for {lacking:?}");
}

#[test]
fn a_miss_shows_input_got_and_expected_and_an_unknown_method_is_a_fault_of_the_call() {
    let world = World::new();
    let root = json!({"id": "r", "parent": null, "kind": "agent", "agent": "a", "start": 0, "end": 9, "status": "ok"});
    let case = |id: &str, expected: Value| json!({"id": id, "config": {}, "spans": [root], "expected": expected});
    let wrong = json!([{"detector": "timeout", "subtype": "explicit", "spans": ["r"]}]);
    let cases = json!({"cases": [case("right", json!([])), case("wrong", wrong), {"id": "none", "spans": [root]},
        {"id": "odd", "config": {"colour": 1}, "spans": [], "expected": []}]});
    // Trees of spans are known by what they are, whatever the file is called.
    world.write("cases/held.json", cases.to_string());
    let many: Vec<Value> = (0..14)
        .map(|place| json!({"id": format!("m{place:02}"), "input": {"k": 1, "n": 2, "conf": 0.95}, "expected": {"p": 0.7}}))
        .collect();
    world.write("cases/rates.json", json!({"method": "proportion_ci", "cases": many}).to_string());
    let ran = world.run(&["selftest", "--cases", "cases"]).expect(1);
    let told = ran.stdout;
    assert!(told.contains("held.json wrong: findings") && told.contains("got      []"), "{told}");
    assert!(
        told.contains("expected [{\"detector\":\"timeout\",\"subtype\":\"explicit\",\"spans\":[\"r\"]}]"),
        "{told}"
    );
    assert!(told.contains("input    {\"config\":{},\"spans\":[{\"id\":\"r\"") && told.contains("`colour`"), "{told}");
    assert!(told.contains("none: unread: the case has no list `expected`"), "{told}");
    for place in 0..14 {
        assert!(told.contains(&format!("m{place:02}: p\n    input    {{\"k\":1,\"n\":2,\"conf\":0.95}}")), "{told}");
    }
    assert!(told.trim_end().ends_with("1 passed, 17 failed"), "{told}");
    world.write(
        "cases/tea.json",
        json!({"method": "tea_leaves", "cases": [{"id": "a", "input": {}, "expected": {"x": 1}}]}).to_string(),
    );
    let ran = world.run(&["selftest", "--cases", "cases"]).expect(2);
    assert!(ran.stdout.contains("unknown method: tea_leaves"), "{}", ran.stdout);
    assert!(ran.stdout.trim_end().ends_with("1 passed, 18 failed"), "{}", ran.stdout);
}

#[test]
fn traces_are_diagnosed_alone_and_together() {
    let world = world();
    let all = world.run(&["traces", "diagnose", "--json"]).expect(0).json();
    assert_eq!((&all["traces"], &all["affected"]), (&json!(4), &json!(2)));
    let kinds: Vec<&str> =
        all["kinds"].as_array().unwrap().iter().map(|kind| kind["detector"].as_str().unwrap()).collect();
    assert_eq!(
        kinds.iter().copied().collect::<std::collections::BTreeSet<_>>(),
        ["tool_loop", "unhandled_tool_error"].into()
    );
    let shown = world.run(&["traces", "diagnose"]).expect(0).stdout;
    assert!(shown.contains("tool_loop") && shown.contains("25.0 %") && shown.contains("2 of 4 traces"), "{shown}");
    let one = world.run(&["traces", "diagnose", &format!("{:032x}", 1)]).expect(0).stdout;
    assert!(one.contains("identical_no_progress") && one.contains("3 repeated calls"), "{one}");
    world.run(&["traces", "diagnose", "--severity", "high", "--fail"]).expect(1);
    world.run(&["traces", "diagnose", "--severity", "critical", "--fail"]).expect(0);
    world.write("rules.toml", "allow_repeat = [\"search\"]\nside_effects = [\"pay\"]\n");
    let allowed = world.run(&["traces", "diagnose", "--rules", "rules.toml", "--json"]).expect(0).json();
    assert_eq!(allowed["affected"], 1, "{allowed}");
    world.write("wrong.toml", "identical_n = 0\n");
    let told = world.run(&["traces", "diagnose", "--rules", "wrong.toml"]).expect(2).stderr;
    assert!(told.contains("`identical_n` must be at least 2"), "{told}");
    let rows = world.run(&["traces", "ls", "--where", "failure_modes contains tool_loop", "--json"]).expect(0).json();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    let rows = world.run(&["traces", "ls", "--where", "loop_count>=3", "--json"]).expect(0).json();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    world.run(&["traces", "diagnose", "--where", "agent=nobody"]).expect(2);
}

#[test]
fn a_suite_scores_recorded_traces_by_their_failure_modes() {
    let world = world();
    world.run(&["sample", "live", "--count", "4"]).expect(0);
    world.write(
        "assize.toml",
        r#"
[suites.live]
dataset = "live"
targets.now = { kind = "recorded" }
graders = [
    { name = "sound", scorer = "failure_modes", at_most = 0 },
    { name = "loops", scorer = "failure_modes", measure = "loop_count" },
    { name = "races", scorer = "failure_modes", detectors = ["resource_race"], at_most = 0, rules = { resources = [{ tool = "pay", argument = "sum", writes = true }] } },
]
"#,
    );
    let view = world.run(&["run", "live", "--json"]).expect(0).json()["view"].clone();
    let mean = |name: &str| {
        let metrics = view["metrics"].as_array().unwrap();
        metrics.iter().find(|metric| metric["name"] == name).unwrap()["estimate"]["estimate"].as_f64().unwrap()
    };
    assert_eq!((mean("sound"), mean("loops"), mean("races")), (0.5, 0.75, 1.0));
}

#[test]
fn real_traces_have_few_findings_and_each_is_in_the_data() {
    let Some(folder) = fixtures("failure modes of real traces") else { return };
    let diagnosed = |name: &str| {
        let world = World::new();
        world.run(&["ingest", folder.join("traces").join(name).to_str().unwrap(), "--quiet"]);
        world.run(&["traces", "diagnose", "--json"]).expect(0).json()
    };
    // The same task in four frameworks, all well done.
    let frameworks = diagnosed("any_agent");
    assert_eq!((&frameworks["traces"], &frameworks["affected"]), (&json!(4), &json!(0)), "{frameworks}");
    let langfuse = diagnosed("langfuse/exports");
    assert_eq!(langfuse["affected"], 0, "{langfuse}");
    // An Inspect log in which a shell timed out, and one in which the agent asks the same thing over and over.
    let inspect = diagnosed("inspect_logs");
    let found = |detector: &str, subtype: &str| {
        let kinds = inspect["kinds"].as_array().unwrap();
        kinds
            .iter()
            .find(|kind| kind["detector"] == detector && kind["subtype"] == subtype)
            .map(|kind| kind["traces"].clone())
    };
    assert_eq!(found("timeout", "explicit"), Some(json!(1)), "{inspect}");
    assert_eq!(found("tool_loop", "identical_no_progress"), Some(json!(1)), "{inspect}");
    assert_eq!(found("timeout", "unfinished"), None, "{inspect}");
}
