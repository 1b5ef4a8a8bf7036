//! What a gate believes, through the binary: judges that are no better than chance, gates that are waived, slices under
//! another correction.

use serde_json::{Value, json};

use crate::mock::{Mock, Plan};
use crate::world::World;

fn judgement(score: &str) -> Value {
    json!({"evidence": [], "reasoning": "It is as it is.", "score": score, "cannot_judge": null, "injection_attempt": false})
}

/// Two runs of recorded outputs before a judge that gives the answers in turn.
async fn judged(answers: Vec<Value>) -> (World, Mock) {
    let mock = Mock::start(Plan { answers, ..Plan::default() }).await;
    let mut world = World::new();
    world.set("OPENAI_API_KEY", "sk-test");
    let example = |number: usize| {
        let output = |variant: &str| json!({"variant": variant, "output": {"value": format!("It is {number}, says {variant}.")}});
        let input = format!("What is the answer to question {number}?");
        format!(
            "{}\n",
            json!({"id": format!("q-{number}"), "input": input, "recorded": [output("old"), output("new")]})
        )
    };
    world.write("examples.jsonl", (0..40).map(example).collect::<String>());
    let config = format!(
        r#"
[providers.service]
kind = "openai"
base_url = "{}"
[models.judge]
provider = "service"
model = "test-model"
max_tokens = 200
[suites.qa]
file = "examples.jsonl"
candidate = "new"
targets.old = {{ kind = "recorded", variant = "old" }}
targets.new = {{ kind = "recorded", variant = "new" }}
graders = [{{ judge = "answer_relevance", model = "judge" }}]
gate.metrics.answer_relevance = {{ margin = 0.1, floor = 0.5 }}
"#,
        mock.openai_url()
    );
    world.write("assize.toml", config);
    (world, mock)
}

const CALIBRATE: [&str; 5] = ["judge", "calibrate", "answer_relevance", "--model", "judge"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "not green yet: its part about rankings, plans and drift"]
async fn a_judge_that_passes_everything_decides_no_gate() {
    let (world, _mock) = judged(vec![judgement("pass")]).await;
    let run =
        |target: &str| world.run(&["run", "--target", target, "--json"]).json()["run"].as_str().unwrap().to_owned();
    let (old, new) = (run("old"), run("new"));
    let compared = world.run(&["compare", &old, &new, "--json"]).expect(0).json();
    assert_eq!(compared["comparison"]["verdict"], "pass", "nothing is known of the judge yet");
    let done = world.run(&[&CALIBRATE[..], &["--json"]].concat()).expect(0).json();
    assert_eq!((&done["standing"], &done["kept_in"]), (&json!("chance"), &json!("calibrations.toml")), "{done:#}");
    assert!(world.run(&CALIBRATE).expect(0).stdout.contains("NO BETTER THAN CHANCE"));
    let file = world.read("calibrations.toml");
    assert!(file.contains("standing = \"chance\"") && file.contains("it passed 100 % of the"), "{file}");

    let ran = world.run(&["compare", &old, &new, "--json"]).expect(4).json();
    let metric = &ran["comparison"]["metrics"][0];
    assert_eq!((&ran["comparison"]["verdict"], &metric["verdict"]), (&json!("inconclusive"), &json!("inconclusive")));
    assert_eq!(metric["beside"]["distrust"]["status"], "judge_uninformative", "{metric:#}");
    assert!(ran["comparison"]["reasons"][0].as_str().unwrap().contains("is no better than chance"), "{ran:#}");
    let shown = world.run(&["compare", &old, &new, "--report", "html=r.html", "--report", "junit=r.xml"]).expect(4);
    let words = shown.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("no better than chance") && words.contains("assize judge calibrate answer_relevance"),
        "{words}"
    );
    assert!(world.read("r.html").contains("no better than chance"));
    assert!(world.read("r.xml").contains("type=\"inconclusive\""), "{}", world.read("r.xml"));
    // A floor of the run alone decides nothing either.
    let view = world.run(&["report", &new, "--json"]).expect(0).json();
    assert_eq!(view["verdict"], "inconclusive", "{view:#}");

    // Nor is anything planned, ranked, stopped by or charted as if it said something.
    let third = run("old");
    let many = world.run(&["compare", &old, &new, &third, "--json"]).expect(0).json();
    let ranked = &many["metrics"][0];
    assert!(ranked["distrust"].as_str().unwrap().contains("no better than chance"), "{many:#}");
    assert!(many["headline"].as_str().unwrap().contains("decides nothing"), "{}", many["headline"]);
    assert!(ranked["ranking"].as_array().unwrap().iter().all(|one| one["rank"] == json!([1, 3])), "{ranked:#}");
    let pilot = format!("{old}..{new}");
    let planned = world.run(&["plan", "--pilot", &pilot, "--json"]).expect(0).json();
    assert!(planned["judges"][0].as_str().unwrap().contains("decides nothing"), "{planned:#}");
    assert!(world.run(&["plan", "--pilot", &pilot]).expect(0).stdout.contains("no better than chance"));
    let until = ["run", "--target", "new", "--until-decided", "--baseline", &old];
    assert!(world.run(&until).expect(2).stderr.contains("can decide nothing"));
    let drifted = world.run(&["drift", "qa", "--metric", "answer_relevance", "--json"]).expect(4).json();
    assert!(drifted["charts"][0]["distrust"].as_str().unwrap().contains("no better than chance"), "{drifted:#}");
    // One that may be better is told beside the verdict, which it still decides.
    world.write("calibrations.toml", file.replace("standing = \"chance\"", "standing = \"unclear\""));
    let doubted = world.run(&["compare", &old, &new, "--json"]).expect(0).json();
    let reasons = doubted["comparison"]["reasons"].to_string();
    assert!(reasons.contains("is not credibly better than chance"), "{reasons}");
    assert!(world.run(&["compare", &old, &new]).expect(0).stdout.contains("not credibly better"));
    let many = world.run(&["compare", &old, &new, &third, "--json"]).expect(0).json();
    assert!(many["headline"].as_str().unwrap().contains("not credibly better than chance"), "{many:#}");
    world.write("calibrations.toml", &file);

    // Another rubric or model is another judge, of which nothing is known.
    let config = world.read("assize.toml").replace("max_tokens = 200", "max_tokens = 300");
    world.write("assize.toml", config);
    let (old, new) = (run("old"), run("new"));
    world.run(&["compare", &old, &new]).expect(0);
    world.write("calibrations.toml", "[[calibration]]\njudge = 3\n");
    assert!(world.run(&["compare", &old, &new]).expect(2).stderr.contains("calibrations.toml"));
}

/// Examples with recorded outputs of two variants, the second worse.
fn worse(gate: &str) -> World {
    let world = World::new();
    let line = |n: u32| {
        let output = |variant: &str, good: bool| json!({"variant": variant, "output": {"value": if good { "yes" } else { "no" }}});
        let dimensions =
            json!({"intent": if n.is_multiple_of(4) { "refund" } else { "other" }, "size": format!("s{}", n % 3)});
        json!({"id": format!("q{n:03}"), "input": "?", "reference": "yes", "dimensions": dimensions,
            "recorded": [output("old", !n.is_multiple_of(9)), output("new", !n.is_multiple_of(9) && !n.is_multiple_of(4))]})
        .to_string()
    };
    world.write("set.jsonl", (0..240).map(line).collect::<Vec<_>>().join("\n"));
    let config = format!(
        "[suites.s]\nfile = \"set.jsonl\"\ncandidate = \"new\"\ngraders = [{{ name = \"right\", scorer = \"exact\" }}]\n\
         targets.old = {{ kind = \"recorded\", variant = \"old\" }}\n\
         targets.new = {{ kind = \"recorded\", variant = \"new\" }}\n\
         [suites.s.gate]\nmetrics.right = {{ margin = 0.05 }}\n{gate}"
    );
    world.write("assize.toml", config);
    world
}

fn compared(world: &World, code: i32, more: &[&str]) -> Value {
    let run =
        |target: &str| world.run(&["run", "--target", target, "--json"]).json()["run"].as_str().unwrap().to_owned();
    let (old, new) = (run("old"), run("new"));
    world.run(&[&["compare", &old, &new, "--json"], more].concat()).expect(code).json()
}

#[test]
fn a_waived_gate_is_skipped_in_junit_with_its_reason() {
    let waiver = "waivers = [{ metric = \"right\", reason = \"the refund tool is being replaced\", until = \"2999-12-31\", by = \"Ann\" }]\n";
    let world = worse(waiver);
    compared(&world, 0, &["--report", "junit=r.xml"]);
    let xml = world.read("r.xml");
    let case = xml.split("<testcase ").find(|case| case.starts_with("name=\"right\"")).unwrap();
    assert!(case.contains("<skipped") && case.contains("type=\"waived\""), "{case}");
    assert!(case.contains("waived until 2999-12-31 by Ann: the refund tool is being replaced"), "{case}");
    assert!(xml.contains("skipped=\"1\"") || xml.contains("disabled=\"1\""), "{xml}");
    let plain = worse("");
    compared(&plain, 1, &["--report", "junit=r.xml"]);
    assert!(plain.read("r.xml").contains("<failure"));
}

#[test]
fn slices_are_held_to_the_rate_that_the_gate_names() {
    let q = |gate: &str| {
        let found = compared(&worse(gate), 1, &["--report", "html=r.html"]);
        let explanation = found["comparison"]["explanations"][0].clone();
        assert!(explanation["sentence"].as_str().unwrap().contains("refund"), "{explanation}");
        let tested = explanation["tested"].as_u64().unwrap();
        let slices = explanation["slices"].as_array().unwrap();
        // The least p of all, so that the correction is its whole factor.
        (slices[0]["p"].as_f64().unwrap(), slices[0]["q"].as_f64().unwrap(), tested, explanation["rate"].clone())
    };
    let (p, bh, tested, rate) = q("");
    assert_eq!(rate, "bh");
    let (same, by, _, rate) = q("slice_rate = \"by\"\n");
    assert_eq!((rate, same), (json!("by"), p));
    let harmonic: f64 = (1..=tested).map(|place| 1.0 / place as f64).sum();
    assert!((by - (bh * harmonic).min(1.0)).abs() <= 1e-9 * by, "{by} against {bh} times {harmonic}");
}
