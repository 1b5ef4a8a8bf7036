//! `assize ci` in a scratch git repository: every exit code reached by a real cause, with its comment and reports.

use std::process::Command;

use crate::world::World;

const AGENT: &str = r#"
import json, sys
example = json.load(sys.stdin)
number = int(example["id"].split("-")[1])
mode = open("mode").read().strip()
wrong = {
    "good": number % 10 == 0,
    "worse": number % 10 == 0 or (number % 3 == 0),
    "open": (number % 10 == 0 and number > 30) or number in (1, 2, 4),
    "crash": False,
}[mode]
if mode == "crash":
    sys.exit("the agent fell over")
json.dump({"output": "no idea" if wrong else f"the answer is {number}"}, sys.stdout)
"#;

const CONFIG: &str = r#"
[suites.qa]
file = "examples.jsonl"
candidate = "agent"
[suites.qa.targets.agent]
kind = "command"
command = ["python3", "-S", "-E", "agent.py"]
[[suites.qa.graders]]
name = "answered"
scorer = "contains"
[suites.qa.gate.metrics]
answered = { margin = 0.05 }
"#;

fn repository() -> World {
    let world = World::new();
    world.write("agent.py", AGENT);
    world.write("assize.toml", CONFIG);
    world.write("mode", "good");
    let topic = |number: usize| if number.is_multiple_of(3) { "billing" } else { "shipping" };
    let examples: String = (1..=90)
        .map(|n| {
            format!(
                "{{\"id\": \"q-{n}\", \"input\": \"What is {n}?\", \"reference\": \"answer is {n}\", \
                 \"dimensions\": {{\"topic\": \"{}\"}}}}\n",
                topic(n)
            )
        })
        .collect();
    world.write("examples.jsonl", examples);
    for arguments in [
        &["init", "-q"][..],
        &["add", "."],
        &["-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "-qm", "start"],
    ] {
        let done = Command::new("git").current_dir(world.folder()).args(arguments).status().unwrap();
        assert!(done.success(), "git {arguments:?}");
    }
    world
}

fn with_baseline() -> World {
    let world = repository();
    world.run(&["run", "qa"]).expect(0);
    world.run(&["bless", "latest", "-m", "first", "--by", "test"]).expect(0);
    world
}

#[test]
fn an_unchanged_agent_passes() {
    let world = with_baseline();
    let ran = world
        .run(&["ci", "--report", "markdown=comment.md", "--report", "junit=junit.xml", "--report", "html=report.html"])
        .expect(0);
    assert!(ran.stdout.contains("answered"), "{}", ran.stdout);
    assert!(world.read("comment.md").starts_with("<!-- assize:qa -->"));
    assert!(world.read("junit.xml").contains("<testsuite"));
    assert!(world.read("report.html").starts_with("<!doctype html>"));
}

#[test]
fn a_regression_fails_the_gate_and_names_the_slice() {
    let world = with_baseline();
    world.write("mode", "worse");
    let ran = world.run(&["ci", "--json", "--report", "markdown=comment.md", "--report", "junit=junit.xml"]).expect(1);
    let comparison = ran.json();
    assert_eq!(comparison["comparison"]["verdict"], "fail");
    assert_eq!(comparison["comparison"]["metrics"][0]["change"], "regressed");
    assert_eq!(comparison["comparison"]["slices"][0]["value"], "billing");
    let comment = world.read("comment.md");
    assert!(comment.contains("billing") && comment.contains("regressed"), "{comment}");
    assert!(world.read("junit.xml").contains("<failure"), "{}", world.read("junit.xml"));
}

#[test]
fn an_open_finding_exits_with_four_or_as_the_user_says() {
    let world = with_baseline();
    world.write("mode", "open");
    let ran = world.run(&["ci"]).expect(4);
    assert!(ran.stdout.contains("inconclusive"), "{}", ran.stdout);
    let lenient = CONFIG
        .replace("[suites.qa.gate.metrics]", "[suites.qa.gate]\non_inconclusive = \"pass\"\n[suites.qa.gate.metrics]");
    world.write("assize.toml", &lenient);
    world.run(&["ci"]).expect(0);
    world.write("assize.toml", lenient.replace("\"pass\"", "\"fail\""));
    world.run(&["ci"]).expect(1);
}

#[test]
fn a_target_that_falls_over_is_an_instrument_failure_not_a_regression() {
    let world = with_baseline();
    world.write("mode", "crash");
    let ran = world.run(&["ci", "--report", "markdown=comment.md"]).expect(3);
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(all.contains("the agent fell over") || world.read("comment.md").contains("fail"), "{all}");
}

#[test]
fn without_a_baseline_the_error_names_both_ways_out() {
    let world = repository();
    let ran = world.run(&["ci"]).expect(2);
    assert!(ran.stderr.contains("assize bless") && ran.stderr.contains("`baseline`"), "{}", ran.stderr);
}

#[test]
fn a_changed_dataset_is_refused_unless_named() {
    let world = with_baseline();
    let examples = world.read("examples.jsonl").replace("What is 7?", "What is seven?");
    world.write("examples.jsonl", examples);
    let ran = world.run(&["ci"]).expect(3);
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("dataset"), "{}", ran.stdout);
    world.run(&["ci", "--allow", "dataset"]).expect(0);
}

#[test]
fn an_unwritable_report_is_found_before_anything_runs() {
    let world = with_baseline();
    let before = world.run(&["runs", "--json"]).expect(0).json();
    let ran = world.run(&["ci", "--report", "html=agent.py/report.html"]).expect(2);
    assert!(ran.stderr.contains("nothing was run yet"), "{}", ran.stderr);
    assert_eq!(world.run(&["runs", "--json"]).expect(0).json(), before);
}
