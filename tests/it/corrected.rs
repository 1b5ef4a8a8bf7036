//! What a judge says of a run, set right by people's labels, through the binary and a model server.

use std::collections::BTreeMap;

use assize::model::{Event, ScoreValue};
use assize::store;
use serde_json::{Value, json};

use crate::mock::{Mock, Plan};
use crate::world::World;

const EXAMPLES: usize = 120;

fn judgements() -> Vec<Value> {
    let of = |score: &str| {
        json!({"evidence": [], "reasoning": "It is as it is.", "score": score, "cannot_judge": null,
            "injection_attempt": false})
    };
    vec![of("pass"), of("pass"), of("fail")]
}

/// A run of recorded outputs before a judge that passes two of three.
async fn judged() -> (World, Mock) {
    let mock = Mock::start(Plan { answers: judgements(), ..Plan::default() }).await;
    let mut world = World::new();
    world.set("OPENAI_API_KEY", "sk-test");
    let example = |number: usize| {
        let input = format!("What is the answer to question {number}?");
        format!("{}\n", json!({"id": format!("q-{number}"), "input": input, "output": format!("It is {number}.")}))
    };
    world.write("examples.jsonl", (0..EXAMPLES).map(example).collect::<String>());
    let config = format!(
        r#"
[providers.service]
kind = "openai"
base_url = "{}"
[models.judge]
provider = "service"
model = "test-model"
max_tokens = 200
[prices.test-model]
input = 1.0
output = 4.0
[suites.qa]
dataset = "qa"
targets.now = {{ kind = "recorded" }}
graders = [{{ judge = "answer_relevance", model = "judge" }}]
"#,
        mock.openai_url()
    );
    world.write("assize.toml", config);
    world.run(&["dataset", "import", "qa", "examples.jsonl"]).expect(0);
    world.run(&["run"]).expect(0);
    (world, mock)
}

/// What the judge said, by example.
async fn verdicts(world: &World) -> BTreeMap<String, f64> {
    let address = format!("sqlite:{}", world.path(".assize/assize.sqlite").display());
    let store = store::open(&address).await.unwrap();
    let run = store.runs(None, 1).await.unwrap().remove(0).header.id;
    let entries = store.replay(&run, 0, u32::MAX).await.unwrap();
    store.close().await;
    let verdict = |event: Event| match event {
        Event::ScoreFinished { cell, scored: Ok(score), .. } => match score.value {
            ScoreValue::Pass { pass } => Some((cell.trial.example.to_string(), f64::from(u8::from(pass)))),
            _ => None,
        },
        _ => None,
    };
    entries.into_iter().filter_map(|entry| verdict(entry.event)).collect()
}

const CALIBRATE: [&str; 7] = ["judge", "calibrate", "answer_relevance", "--model", "judge", "--run", "latest"];

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_without_labels_says_that_it_is_not_calibrated() {
    let (world, _mock) = judged().await;
    let said = verdicts(&world).await;
    assert_eq!(said.len(), EXAMPLES);
    let found = world.run(&[&CALIBRATE[..], &["--json"]].concat()).expect(0).json()["corrected"].clone();
    let raw = mean(&said.values().copied().collect::<Vec<_>>());
    assert!((found["raw"]["estimate"].as_f64().unwrap() - raw).abs() < 1e-12, "{found:#}");
    assert_eq!((&found["corrected"], &found["labels"]), (&Value::Null, &json!(0)));
    assert!(found["not_calibrated"].as_str().unwrap().contains("20 are the fewest"), "{found:#}");
    let text = world.run(&CALIBRATE).expect(0).stdout;
    assert!(text.contains("NOT CALIBRATED") && text.contains("judge alone"), "{text}");
    let unknown = world.run(&["judge", "calibrate", "tone", "--model", "judge", "--run", "latest"]).expect(2);
    assert!(unknown.stderr.contains("judges of it: answer_relevance"), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_the_run_correct_the_figure() {
    let (world, _mock) = judged().await;
    let said = verdicts(&world).await;
    // People look at every third output; of those the judge passed, they fail one of four.
    let (mut sheet, mut labels, mut judged, mut rest) = ("example,value\n".to_owned(), vec![], vec![], vec![]);
    for number in 0..EXAMPLES {
        let id = format!("q-{number}");
        let judge = said[&id];
        if number % 3 != 0 {
            rest.push(judge);
            continue;
        }
        let person = if judge == 1.0 && number % 4 == 0 { 0.0 } else { judge };
        sheet += &format!("{id},{}\n", if person == 1.0 { "pass" } else { "fail" });
        labels.push(person);
        judged.push(judge);
    }
    world.write("sheet.csv", sheet);
    let import = ["labels", "import", "qa", "sheet.csv", "--name", "answer_relevance", "--annotator", "ann"];
    world.run(&import).expect(0);
    let found = world.run(&[&CALIBRATE[..], &["--json"]].concat()).expect(0).json()["corrected"].clone();
    assert_eq!((&found["labels"], &found["not_calibrated"]), (&json!(40), &Value::Null), "{found:#}");
    let trust = found["trust"].as_f64().unwrap();
    assert!(trust > 0.2 && trust <= 1.0, "{found:#}");
    let expected = trust * mean(&rest) + mean(&labels) - trust * mean(&judged);
    assert!((found["corrected"]["estimate"].as_f64().unwrap() - expected).abs() < 1e-12, "{expected} {found:#}");
    let alone = found["raw"]["estimate"].as_f64().unwrap();
    assert!(expected < alone, "{expected} {alone}: the judge is lenient");
    let text = world.run(&CALIBRATE).expect(0).stdout;
    println!("{text}");
    assert!(text.contains("PPI++ by 40 labels") && !text.contains("NOT CALIBRATED"), "{text}");
}
