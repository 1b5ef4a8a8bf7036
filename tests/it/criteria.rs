//! Judges of several criteria on trial, through the binary and against a model server: each criterion is held against
//! labels of its own, by one ask for all of them.

use serde_json::{Value, json};

use crate::mock::{Mock, Plan};
use crate::world::World;

const JUDGE: &str = "name = \"own\"\nversion = \"1\"\nsummary = \"Is it good?\"\ninputs = [\"input\", \"output\"]\n\
    [[criteria]]\nname = \"accuracy\"\nsummary = \"Is it true?\"\nscale = { type = \"number\", min = 1, max = 5, step = 1 }\n\
    [[criteria]]\nname = \"tone\"\nsummary = \"Is it kind?\"\nscale = { type = \"binary\" }\n\
    [[criteria]]\nname = \"length\"\nsummary = \"Is it short?\"\nscale = { type = \"binary\" }\n";

/// People's and the judge's findings of forty outputs: accuracy, tone.
fn found(n: usize) -> [(Value, Value); 2] {
    let word = |pass: bool| json!(if pass { "pass" } else { "fail" });
    let (person, judge) = (n % 5 + 1, (n % 5 + 1 + usize::from(n.is_multiple_of(4))).min(5));
    [(json!(person), json!(judge)), (word(!n.is_multiple_of(3)), word(n.is_multiple_of(3) == n.is_multiple_of(7)))]
}

fn sheet(n: usize) -> Value {
    let one = |score: &Value| json!({"evidence": [], "reasoning": "so", "score": score, "cannot_judge": null});
    let [(_, accuracy), (_, tone)] = found(n);
    let scores = json!({"accuracy": one(&accuracy), "tone": one(&tone), "length": one(&json!("pass"))});
    json!({"injection_attempt": false, "scores": scores})
}

fn marker(n: usize) -> String {
    format!("#{n:05}#")
}

/// A server whose judgements are those above, and a project with the judge.
async fn bench() -> (World, Mock) {
    let says = |n: usize| {
        let message = json!({"role": "assistant", "content": sheet(n).to_string()});
        (marker(n), json!({"index": 0, "finish_reason": "stop", "message": message}))
    };
    let mock = Mock::start(Plan { choices: (0..40).map(says).collect(), ..Plan::default() }).await;
    let mut world = World::new();
    world.set("OPENAI_API_KEY", "sk-test-0123456789abcdefghijklmnop");
    world.write("judges/own/judge.toml", JUDGE);
    world.write("judges/own/prompt.md", "Say how good it is. In doubt, the worse.");
    let text = format!(
        "[providers.service]\nkind = \"openai\"\nbase_url = \"{}\"\n[models.judge]\nprovider = \"service\"\n\
         model = \"gpt-test\"\n[suites.qa]\ndataset = \"d\"\ntargets.now = {{ kind = \"recorded\" }}\n\
         graders = [{{ judge = \"own\", model = \"judge\" }}]\n",
        mock.openai_url()
    );
    world.write("assize.toml", text);
    (world, mock)
}

fn import(world: &World, names: [&str; 2]) {
    let row = |n: usize| {
        let [(accuracy, _), (tone, _)] = found(n);
        format!("{}\n", json!({"id": n, "input": marker(n), "output": "yes", "a": accuracy, "t": tone}))
    };
    world.write("rows.jsonl", (0..40).map(row).collect::<String>());
    let [accuracy, tone] = names;
    let map =
        format!("id = 'id'\ninput = 'input'\noutput = 'output'\n[labels]\n\"{accuracy}\" = 'a'\n\"{tone}\" = 't'\n");
    world.write("map.toml", map);
    world.run(&["dataset", "import", "d", "rows.jsonl", "--map", "map.toml"]).expect(0);
}

const CALIBRATE: [&str; 7] = ["judge", "calibrate", "own", "--model", "judge", "--dataset", "d"];

fn coefficient(done: &Value, name: &str) -> f64 {
    let all = done["beyond_chance"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {done}"))["estimate"].as_f64().unwrap()
}

/// Expected figures: scikit-learn's `cohen_kappa_score` and `scipy.stats.spearmanr` and `pearsonr` on the formulas above.
#[tokio::test(flavor = "multi_thread")]
async fn each_criterion_has_its_own_confusion_and_coefficients() {
    let (world, mock) = bench().await;
    import(&world, ["own.accuracy", "own.tone"]);
    let done = world.run(&[&CALIBRATE[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(mock.count(), 40, "one ask for all criteria");
    let criteria = done["criteria"].as_array().unwrap();
    let names: Vec<&Value> = criteria.iter().map(|one| &one["judge"]).collect();
    assert_eq!(names, ["own.accuracy", "own.tone"]);
    assert_eq!(done["without_labels"][0][0], "length", "{done:#}");
    let (accuracy, tone) = (&criteria[0], &criteria[1]);
    let agreeing = |place: usize| (0..40).filter(|n| found(*n)[place].0 == found(*n)[place].1).count();
    assert_eq!(accuracy["accuracy"]["k"], agreeing(0));
    assert_eq!((&tone["accuracy"]["k"], &tone["accuracy"]["n"]), (&json!(agreeing(1)), &json!(40)));
    let count = |person: &str, judge: &str| (0..40).filter(|n| found(*n)[1] == (json!(person), json!(judge))).count();
    for (person, judge) in [("pass", "pass"), ("pass", "fail"), ("fail", "pass"), ("fail", "fail")] {
        let cell = tone["confusion"].as_array().unwrap().iter().find(|cell| cell[0] == person && cell[1] == judge);
        assert_eq!(cell.map_or(0, |cell| cell[2].as_u64().unwrap()), count(person, judge) as u64, "{person}/{judge}");
    }
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    near(coefficient(tone, "kappa"), 0.6808510638297873);
    near(coefficient(accuracy, "Spearman"), 0.9608775459480828);
    near(coefficient(accuracy, "Pearson"), 0.9596449173245999);
    let text = world.run(&CALIBRATE).expect(0).stdout;
    for part in ["own.accuracy asked of gpt-test", "own.tone asked of gpt-test", "own.length not calibrated"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(mock.count(), 40, "the second time nothing is asked");

    // Each criterion is kept, and a run finds the entry of each: nothing has changed since.
    let file = world.read("calibrations.toml");
    assert!(file.contains("criterion = \"accuracy\"") && file.contains("criterion = \"tone\""), "{file}");
    let ran = world.run(&["run"]).expect(0);
    assert!(!ran.stderr.contains("has changed since"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_may_bear_the_criterion_alone_and_none_at_all_is_an_error() {
    let (world, _mock) = bench().await;
    import(&world, ["accuracy", "tone"]);
    let done = world.run(&[&CALIBRATE[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(done["criteria"].as_array().unwrap().len(), 2, "{done:#}");
    import(&world, ["something", "else"]);
    let said = world.run(&CALIBRATE).expect(2).stderr;
    assert!(said.contains("own.CRITERION") && said.contains("no criterion of `own` has labels"), "{said}");
    let said = world.run(&["judge", "drift", "own", "--model", "judge"]).expect(2).stderr;
    assert!(said.contains("several criteria"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn own_examples_have_a_label_for_each_criterion() {
    let (world, _mock) = bench().await;
    let line = |n: usize| {
        let [(accuracy, _), (tone, _)] = found(n);
        let label = if n < 30 { json!({"accuracy": accuracy, "tone": tone}) } else { json!({"tone": tone}) };
        format!("{}\n", json!({"id": format!("e-{n}"), "input": marker(n), "output": "yes", "label": label}))
    };
    world.write("judges/own/calibration.jsonl", (0..40).map(line).collect::<String>());
    let done = world.run(&["judge", "calibrate", "own", "--model", "judge", "--json"]).expect(0).json();
    let labels = |place: usize| done["criteria"][place]["accuracy"]["n"].as_u64().unwrap();
    assert_eq!((labels(0), labels(1)), (30, 40), "{done:#}");
    world.write(
        "judges/own/calibration.jsonl",
        "{\"id\": \"a\", \"input\": 1, \"output\": 2, \"label\": {\"tone\": 3}}\n",
    );
    let said = world.run(&["judge", "calibrate", "own", "--model", "judge"]).expect(2).stderr;
    assert!(said.contains("label.tone"), "{said}");
}
