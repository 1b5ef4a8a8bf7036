//! What surrounds a verdict, through the binary: gates that can never pass, cost gates, guards, waivers, plans, flaky
//! examples and their quarantine, and bad input in the configuration.

use serde_json::{Value, json};

use crate::world::World;

const SUITE: &str = r#"
[suites.qa]
file = "examples.jsonl"
candidate = "v2"
targets.v1 = { kind = "recorded", variant = "v1" }
targets.v2 = { kind = "recorded", variant = "v2" }
graders = [{ name = "answered", scorer = "contains" }]
"#;

/// Examples `q-000`, ... with recorded outputs of two variants; `right` says which trial of which variant is right.
fn world(n: usize, trials: u32, gate: &str, right: impl Fn(&str, usize, u32) -> bool) -> World {
    let world = World::new();
    let line = |index: usize| {
        let recorded: Vec<Value> = ["v1", "v2"]
            .iter()
            .flat_map(|variant| (0..trials).map(move |trial| (*variant, trial)))
            .map(|(variant, trial)| {
                let value = if right(variant, index, trial) { format!("it is {index}") } else { "no idea".to_owned() };
                let slower = if variant == "v2" { 1.2 } else { 1.0 };
                let latency = 100.0 * (1.0 + (index % 7) as f64) * slower;
                let output = json!({ "value": value, "latency_ms": latency, "cost_usd": 0.01 });
                json!({ "variant": variant, "trial": trial, "output": output })
            })
            .collect();
        let severity = if index < 5 { "critical" } else { "mild" };
        json!({
            "id": format!("q-{index:03}"),
            "input": format!("what is {index}?"),
            "reference": format!("is {index}"),
            "dimensions": { "severity": severity },
            "recorded": recorded,
        })
        .to_string()
    };
    let lines: Vec<String> = (0..n).map(line).collect();
    world.write("examples.jsonl", lines.join("\n"));
    world.write("assize.toml", format!("{SUITE}trials = {trials}\n{gate}"));
    world
}

/// Runs both variants and gives their ids.
fn both(world: &World) -> (String, String) {
    let run = |target: &str| {
        let ran = world.run(&["run", "qa", "--target", target, "--json"]).expect(0).json();
        ran["run"].as_str().unwrap().to_owned()
    };
    (run("v1"), run("v2"))
}

/// What was printed, with lines that were broken for width put together again.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const MARGIN: &str = "gate.metrics.answered = { margin = 0.05 }\n";

#[test]
fn a_gate_that_can_never_pass_is_refused_before_anything_runs() {
    let world = world(30, 1, MARGIN, |_, _, _| true);
    let refused = world.run(&["ci", "qa", "--baseline", "target:v1"]).expect(2);
    assert!(refused.stderr.contains("can never pass, so nothing was run"), "{}", refused.stderr);
    assert!(refused.stderr.contains("it takes 52, or a wider margin"), "{}", refused.stderr);
    assert_eq!(world.run(&["runs", "--json"]).expect(0).json(), json!([]));
    world.run(&["ci", "qa", "--baseline", "target:v1", "--anyway"]).expect(4);
    let floor = format!("{SUITE}gate.metrics.answered = {{ margin = 0.3, floor = 0.95 }}\n");
    world.write("assize.toml", floor);
    let refused = world.run(&["run", "qa"]).expect(2);
    assert!(refused.stderr.contains("even if all of them are perfect: it takes 59"), "{}", refused.stderr);
    world.run(&["run", "qa", "--anyway"]).expect(4);
}

#[test]
fn bad_gates_are_told_with_their_lines() {
    let gate = "[suites.qa.gate]\nmetrics.answered = { guard = { drop = 0.0 } }\n\
                metrics.latency_ms = { margin = -0.1 }\nmetrics.answred = {}\n\
                [[suites.qa.gate.waivers]]\nmetric = \"tone\"\nreason = \" \"\nuntil = \"soon\"\n";
    let world = world(60, 1, gate, |_, _, _| true);
    let ran = world.run(&["run", "qa"]).expect(2);
    for words in [
        "latency_ms.margin",
        "above 0, found `0`",
        "did you mean `answered`",
        "a waiver needs a reason",
        "no gated metric `tone`",
        "expected the last day of the waiver",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    world.write("assize.toml", format!("{SUITE}gate.metrics.answered = {{ margin = inf }}\n"));
    let ran = world.run(&["run", "qa"]).expect(2);
    assert!(ran.stderr.contains("expected a finite number"), "{}", ran.stderr);
    let wide = format!("{SUITE}gate.metrics.answered = {{ margin = 2.0 }}\n");
    world.write("assize.toml", wide);
    let ran = world.run(&["run", "qa"]).expect(2);
    assert!(ran.stderr.contains("every candidate would count as equivalent"), "{}", ran.stderr);
}

#[test]
fn latency_is_gated_by_its_ratio() {
    let gate = format!("{MARGIN}gate.metrics.latency_ms = {{ margin = 0.1 }}\n");
    let world = world(80, 1, &gate, |_, _, _| true);
    let (one, two) = both(&world);
    let ran = world.run(&["compare", &one, &two, "--json"]).expect(1).json();
    let latency = &ran["comparison"]["measures"][0];
    assert_eq!(
        (latency["name"].as_str(), latency["verdict"].as_str()),
        (Some("latency_ms"), Some("fail")),
        "{latency:#}"
    );
    assert!((latency["ratio"]["estimate"].as_f64().unwrap() - 1.2).abs() < 1e-9);
    let wide = format!("{SUITE}{MARGIN}gate.metrics.latency_ms = {{ margin = 0.3 }}\n");
    world.write("assize.toml", wide);
    world.run(&["compare", &one, &two]).expect(0);
}

#[test]
fn guards_waivers_and_their_reports() {
    let guarded =
        "gate.metrics.answered = { margin = 0.05, guard = { drop = 1.0, only = { severity = \"critical\" } } }\n";
    // One critical example breaks, one mild one is mended.
    let world = world(150, 1, guarded, |variant, index, _| if variant == "v1" { index != 9 } else { index != 2 });
    let (one, two) = both(&world);
    let ran = world.run(&["compare", &one, &two, "--report", "html=r.html", "--report", "markdown=r.md"]).expect(1);
    assert!(unwrapped(&ran.stdout).contains("1 example of 5 fell by 100.0 points or more (q-002)"), "{}", ran.stdout);
    assert!(world.read("r.html").contains("q-002") && world.read("r.md").contains("guard"), "{}", world.read("r.md"));
    let waived = format!(
        "{SUITE}{guarded}[[suites.qa.gate.waivers]]\nmetric = \"answered\"\nreason = \"the tool is replaced\"\n\
         until = \"2999-12-31\"\nby = \"Ann\"\n"
    );
    world.write("assize.toml", &waived);
    let ran = world.run(&["compare", &one, &two, "--report", "html=r.html"]).expect(0);
    assert!(unwrapped(&ran.stdout).contains("waived until 2999-12-31 by Ann: the tool is replaced"), "{}", ran.stdout);
    assert!(world.read("r.html").contains("waived until 2999-12-31"));
    world.write("assize.toml", waived.replace("2999-12-31", "2020-12-31"));
    let ran = world.run(&["compare", &one, &two]).expect(1);
    assert!(unwrapped(&ran.stdout).contains("its waiver ended on 2020-12-31"), "{}", ran.stdout);
}

#[test]
fn a_name_that_allows_nothing_is_refused() {
    let world = world(60, 1, MARGIN, |_, _, _| true);
    let (one, two) = both(&world);
    let ran = world.run(&["compare", &one, &two, "--allow", "judgee"]).expect(2);
    assert!(ran.stderr.contains("no such difference; there is dataset, sampler"), "{}", ran.stderr);
    world.run(&["compare", &one, &two, "--allow", "judge"]).expect(0);
}

#[test]
fn a_plan_from_a_pilot_and_from_assumed_rates() {
    // Every fourth example is a coin: it alternates between trials, out of step between the variants.
    let coin = |variant: &str, index: usize, trial: u32| {
        !index.is_multiple_of(4)
            || (index / 4 + trial as usize + usize::from(variant == "v2") * (index / 8 % 2)).is_multiple_of(2)
    };
    let world = world(80, 4, MARGIN, coin);
    let none = world.run(&["plan", "qa"]).expect(2);
    assert!(none.stderr.contains("assize plan --discordant"), "{}", none.stderr);
    let (one, two) = both(&world);
    let pair = format!("{one}..{two}");
    let ran =
        world.run(&["plan", "--pilot", &pair, "--margin", "0.02", "--trial-cost", "0.01", "--json"]).expect(0).json();
    let made = &ran["forecasts"][0];
    let spread = &made["spread"];
    // Twenty coins of 80 with four trials each: within variance (1/4) · (4/3) · 0.25.
    assert!((spread["trial"].as_f64().unwrap() - 0.25 / 3.0).abs() < 1e-9, "{spread:#}");
    assert_eq!((made["metric"].as_str(), made["margin"].as_f64()), (Some("answered"), Some(0.02)));
    let needed = made["examples_needed"].as_u64().unwrap();
    assert!(needed > 80, "{made:#}");
    assert!(made["cheapest"]["price_usd"].as_f64().unwrap() > 0.0 && made["trials_needed"].as_u64().unwrap() > 4);
    assert!(made["curve"].as_array().unwrap().iter().any(|point| point["efficient"] == true));
    let text = world.run(&["plan", "qa", "--pilot", &two]).expect(0);
    assert!(text.stdout.contains("assumed to correlate at 0.9"), "{}", text.stdout);
    assert!(text.stdout.contains("sees") && text.stdout.contains("proves"), "{}", text.stdout);
    let assumed = world
        .run(&["plan", "--discordant", "0.12", "--noise", "0", "--examples", "200", "--margin", "0.05", "--json"])
        .expect(0)
        .json();
    assert_eq!(assumed["forecasts"][0]["examples_needed"], 412);
    for (flag, value) in [("--discordant", "1.5"), ("--margin", "-1"), ("--power", "1.2"), ("--sd", "0")] {
        let mut arguments = vec!["plan", "--examples", "50", flag, value];
        if flag != "--discordant" && flag != "--sd" {
            arguments.extend(["--discordant", "0.1"]);
        }
        world.run(&arguments).expect(2);
    }
}

const AGENT: &str = r#"
import json, sys, os
example = json.load(sys.stdin)
number = int(example["id"].split("-")[1])
path = os.path.join("count", example["id"])
os.makedirs("count", exist_ok=True)
seen = int(open(path).read()) if os.path.exists(path) else 0
open(path, "w").write(str(seen + 1))
mended = os.path.exists("mended")
wrong = number == 3 and seen % 2 == 1 and not mended
json.dump({"output": "no idea" if wrong else f"it is {number}"}, sys.stdout)
"#;

#[test]
fn flaky_examples_go_into_quarantine_and_come_back() {
    let world = World::new();
    world.write("agent.py", AGENT);
    let examples: Vec<String> = (0..12)
        .map(|n| {
            json!({ "id": format!("q-{n}"), "input": format!("{n}?"), "reference": format!("is {n}") }).to_string()
        })
        .collect();
    world.write("examples.jsonl", examples.join("\n"));
    let config = "[suites.qa]\nfile = \"examples.jsonl\"\ntrials = 4\n\
         targets.agent = { kind = \"command\", command = [\"python3\", \"-S\", \"-E\", \"agent.py\"] }\n\
         graders = [{ name = \"answered\", scorer = \"contains\" }]\n\
         gate.metrics.answered = { margin = 0.3 }\ngate.min_pairs = 5\n";
    world.write("assize.toml", config);
    world.run(&["flaky", "ls"]).expect(2);
    world.run(&["run"]).expect(0);
    world.run(&["bless", "latest", "-m", "x", "--by", "me"]).expect(0);
    world.run(&["run"]).expect(0);
    let list = world.run(&["flaky", "ls", "--json"]).expect(0).json();
    let rows = list["metrics"][0]["rows"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0]["example"].as_str(), rows[0]["source"].as_str()), (1, Some("q-3"), Some("target")));
    assert_eq!((rows[0]["trials"].as_u64(), rows[0]["passes"].as_u64()), (Some(8), Some(4)));
    let typo = world.run(&["flaky", "quarantine", "q-33", "-m", "times out"]).expect(2);
    assert!(typo.stderr.contains("no example `q-33`"), "{}", typo.stderr);
    world.run(&["flaky", "quarantine", "q-3", "-m", " "]).expect(2);
    world.run(&["flaky", "quarantine", "q-3", "-m", "x", "--until", "2020-01-01"]).expect(2);
    world.run(&["flaky", "quarantine", "q-3", "-m", "x", "--until", "400d"]).expect(2);
    world.run(&["flaky", "quarantine", "q-3", "-m", "tool times out", "--until", "14d", "--by", "me"]).expect(0);
    assert!(world.read("quarantine.toml").contains("reason = \"tool times out\""), "{}", world.read("quarantine.toml"));
    let ran = world.run(&["compare", "baseline", "latest", "--report", "html=r.html"]).expect(0);
    assert!(
        ran.stdout.contains("In quarantine as flaky, and out of the gate: 1 example (8.3 %): q-3"),
        "{}",
        ran.stdout
    );
    assert!(unwrapped(&ran.stdout).contains("With all examples the verdict is the same, pass"), "{}", ran.stdout);
    assert!(world.read("r.html").contains("In quarantine as flaky"));
    let shown = world.run(&["flaky", "ls"]).expect(0);
    assert!(shown.stdout.contains("in quarantine") && shown.stdout.contains("tool times out"), "{}", shown.stdout);
    let unseen = world.run(&["flaky", "return", "q-3", "-m", "mended"]).expect(2);
    assert!(unseen.stderr.contains("0 trials were run since"), "{}", unseen.stderr);
    world.run(&["run"]).expect(0);
    let stays = world.run(&["flaky", "return", "q-3", "-m", "mended"]).expect(2);
    assert!(stays.stderr.contains("it wavered since: 2 of 4 trials passed on `answered`"), "{}", stays.stderr);
    world.run(&["flaky", "return", "q-4", "-m", "mended"]).expect(2);
    world.write("mended", "");
    world.run(&["flaky", "quarantine", "q-3", "-m", "mended, to be watched", "--by", "me"]).expect(0);
    world.run(&["run"]).expect(0);
    let back = world.run(&["flaky", "return", "q-3", "-m", "tool mended", "--by", "me"]).expect(0);
    assert!(back.stdout.contains("counts again: 4 trials since agree"), "{}", back.stdout);
    let file = world.read("quarantine.toml");
    assert!(file.contains("[[returned]]") && !file.contains("[[quarantine]]"), "{file}");
    world.write("quarantine.toml", "[[quarantine]]\nsuite = \"qa\"\n");
    let broken = world.run(&["compare", "baseline", "latest"]).expect(2);
    assert!(broken.stderr.contains("quarantine.toml"), "{}", broken.stderr);
}
