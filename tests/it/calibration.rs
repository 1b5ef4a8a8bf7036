//! Judges on trial, through the binary and against a model server: recorded judgements of others give the figures that
//! other programs give, kept calibrations are used and grow old, a judge that moved, leans or gives way is found out.

use std::collections::BTreeMap;
use std::fs;

use assize::model::{Event, JournalEntry, ScoreValue, Scored};
use assize::store;
use serde_json::{Value, json};

use crate::mock::{Mock, Plan};
use crate::world::{World, fixtures};

/// What stands in the input of an example, and of no other one.
fn marker(number: usize) -> String {
    format!("#{number:05}#")
}

fn judgement(score: impl Into<Value>) -> Value {
    json!({"evidence": [], "reasoning": "It is as it is.", "score": score.into(), "cannot_judge": null,
        "injection_attempt": false})
}

/// A chat completion's choice with these words.
fn says(text: &str) -> Value {
    json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}})
}

/// A project with one judge of its own, called `own`, and a model at the mock.
fn project(mock: &Mock, scale: &str) -> World {
    let mut world = World::new();
    world.set("OPENAI_API_KEY", "sk-test-0123456789abcdefghijklmnop");
    let toml = format!(
        "name = \"own\"\nversion = \"1\"\nsummary = \"Which is better?\"\ninputs = [\"input\", \"output\"]\n[scale]\n{scale}\n"
    );
    world.write("judges/own/judge.toml", toml);
    world.write("judges/own/prompt.md", "Say which is better. In doubt, the first.");
    configure(&world, mock);
    world
}

fn configure(world: &World, mock: &Mock) {
    let text = format!(
        "[providers.service]\nkind = \"openai\"\nbase_url = \"{}\"\n\
         [models.judge]\nprovider = \"service\"\nmodel = \"gpt-test\"\n\
         [suites.qa]\nfile = \"examples.jsonl\"\ntargets.now = {{ kind = \"recorded\" }}\n\
         graders = [{{ judge = \"own\", model = \"judge\" }}]\n",
        mock.openai_url()
    );
    world.write("assize.toml", text);
}

/// Imports rows with the findings of several people as a dataset.
fn import(world: &World, rows: &[Value], people: &[&str]) {
    world.write("rows.jsonl", rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    let people: Vec<String> = people.iter().map(|name| format!("'{name}'")).collect();
    let map = format!("id = 'id'\ninput = 'input'\noutput = 'output'\n[labels]\nown = [{}]\n", people.join(", "));
    world.write("map.toml", map);
    world.run(&["dataset", "import", "d", "rows.jsonl", "--map", "map.toml"]).expect(0);
}

const CALIBRATE: [&str; 7] = ["judge", "calibrate", "own", "--model", "judge", "--dataset", "d"];

fn coefficient(done: &Value, name: &str) -> f64 {
    let all = done["beyond_chance"].as_array().unwrap();
    let found = all.iter().find(|found| found["name"] == name).unwrap_or_else(|| panic!("{name}: {done}"));
    found["estimate"].as_f64().unwrap()
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

/// Expected figures: scikit-learn 1.9.1 (kappa), krippendorff 0.9.0 (alpha), Gwet's formula in numpy (AC1), on the majority
/// of three annotators and the recorded verdicts.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_verdicts_of_pandalm_give_the_figures_of_other_programs() {
    let Some(folder) = fixtures("PandaLM calibration") else { return };
    let read = |name: &str| -> Vec<Value> {
        serde_json::from_slice(&fs::read(folder.join("pandalm").join(name)).unwrap()).unwrap()
    };
    let (people, judge) = (read("testset-v1.json"), read("gpt-3.5-turbo-testset-v1.json"));
    let word = |value: &Value| match value.to_string().trim_matches('"') {
        "1" => "first",
        "2" => "second",
        _ => "tie",
    };
    let mut choices = Vec::new();
    let mut rows = Vec::new();
    for (place, (row, verdict)) in people.iter().zip(&judge).enumerate() {
        let said = match verdict["gpt_result"].as_str().unwrap() {
            "garbage" => "garbage".to_owned(),
            found => judgement(word(&json!(found))).to_string(),
        };
        choices.push((marker(place), says(&said)));
        rows.push(
            json!({"id": place, "input": marker(place), "output": row["response1"], "a1": word(&row["annotator1"]),
            "a2": word(&row["annotator2"]), "a3": word(&row["annotator3"])}),
        );
    }
    // What cannot be read is not mended into a score either.
    let mock = Mock::start(Plan { choices, answer: Some(json!("garbage")), ..Plan::default() }).await;
    let world = project(
        &mock,
        "type = \"labels\"\nlabels = [{ label = \"first\" }, { label = \"second\" }, { label = \"tie\" }]",
    );
    import(&world, &rows, &["a1", "a2", "a3"]);
    let ran = world.run(&[&CALIBRATE[..], &["--json"]].concat()).expect(0);
    let done = ran.json();
    assert_eq!((&done["accuracy"]["k"], &done["accuracy"]["n"]), (&json!(697), &json!(974)));
    assert_eq!(done["unscored"], json!([["reply_unreadable", 25]]));
    near(coefficient(&done, "kappa"), 0.492_864_715_302_892_44);
    near(coefficient(&done, "AC1"), 0.605_150_352_776_920_1);
    near(coefficient(&done, "alpha"), 0.491_942_777_042_990_7);
    assert_eq!((&done["people"]["people"], &done["people"]["examples"]), (&json!(3), &json!(999)));
    assert_eq!(done["people"]["agreement"], json!({"k": 2757, "n": 2997}));
    assert_eq!(done["people"]["with_judge"], json!({"k": 2064, "n": 2922}));
    near(done["people"]["alpha"].as_f64().unwrap(), 0.864_220_685_196_081_6);
    // The third digit of every figure hangs on what is done with the 25.
    let policy = |place: usize, name: &str| done["policies"][place][name].as_f64();
    assert_eq!((policy(0, "n"), policy(1, "n"), policy(2, "n")), (Some(974.0), Some(999.0), Some(999.0)));
    near(policy(0, "accuracy").unwrap(), 697.0 / 974.0);
    near(policy(1, "accuracy").unwrap(), 697.0 / 999.0);
    near(policy(2, "kappa").unwrap(), 0.475_507_589_283_386);
    near(policy(2, "alpha").unwrap(), 0.474_267_990_874_784_55);
    let text = world.run(&CALIBRATE).expect(0).stdout;
    for part in ["left out", "counted as wrong", "a score of their own", "0.716", "0.698", "0.493", "0.476"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Expected figures: scipy 1.17.1 (pearsonr, spearmanr, kendalltau), alpha by its formula in numpy, checked against
/// krippendorff 0.9.0 on the first set.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_scores_of_unieval_give_the_correlations_of_other_programs() {
    let Some(folder) = fixtures("UniEval calibration") else { return };
    let sets = [
        (
            "qags_xsum_result",
            "consistency",
            1,
            239,
            0.461_375_878_735_718_8,
            0.487_920_478_668_825_76,
            0.399_217_974_880_129_3,
            0.374_920_561_207_543_13,
        ),
        (
            "sfres_result",
            "naturalness",
            6,
            1181,
            0.367_251_924_784_475_16,
            0.333_398_869_853_518_1,
            0.247_093_968_876_451_8,
            -0.816_227_225_405_559_4,
        ),
    ];
    for (file, score, most, n, pearson, spearman, kendall, alpha) in sets {
        let text = fs::read(folder.join("unieval").join(file).with_extension("json")).unwrap();
        let texts: Vec<Value> = serde_json::from_slice(&text).unwrap();
        let choice = |(place, row): (usize, &Value)| {
            (marker(place), says(&judgement(row["predict_scores"][score].clone()).to_string()))
        };
        let choices = texts.iter().enumerate().map(choice).collect();
        let row = |(place, row): (usize, &Value)| json!({"id": place, "input": marker(place), "output": row["system_output"], "a1": row["scores"][score]});
        let rows: Vec<Value> = texts.iter().enumerate().map(row).collect();
        let mock = Mock::start(Plan { choices, ..Plan::default() }).await;
        let world = project(&mock, &format!("type = \"number\"\nmin = 0\nmax = {most}"));
        import(&world, &rows, &["a1"]);
        let done = world.run(&[&CALIBRATE[..], &["--json"]].concat()).expect(0).json();
        assert_eq!((&done["accuracy"]["n"], &done["policies"]), (&json!(n), &Value::Null), "{file}");
        near(coefficient(&done, "Pearson"), pearson);
        near(coefficient(&done, "Spearman"), spearman);
        near(coefficient(&done, "Kendall"), kendall);
        near(coefficient(&done, "alpha"), alpha);
        // People say 0 or 1 of the first set, so that a cut can be found on one half and checked on the other.
        let cut = &done["threshold"];
        assert_eq!(cut.is_null(), most > 1, "{file}: {cut}");
        if most == 1 {
            let (chosen, checked) = (cut["chosen_on"].as_u64().unwrap(), cut["accuracy"]["n"].as_u64().unwrap());
            assert_eq!(chosen + checked, n);
            assert!(chosen.abs_diff(checked) < 50 && (0.0..=1.0).contains(&cut["at"].as_f64().unwrap()), "{cut}");
            let share = cut["accuracy"]["k"].as_f64().unwrap() / checked as f64;
            assert!(share > 0.6, "{cut}");
        }
    }
}

/// Thirty labelled examples of the judge itself, two thirds of which people pass.
fn own_examples(world: &World) {
    let row = |n: usize| {
        let (label, output) = if n.is_multiple_of(3) {
            ("fail", "It is not so.")
        } else {
            ("pass", "You cannot know, because it is new.")
        };
        json!({"id": format!("e{n}"), "input": marker(n), "output": output, "label": label, "reason": "r"}).to_string()
    };
    world.write("judges/own/calibration.jsonl", (0..30).map(|n| row(n) + "\n").collect::<String>());
}

/// A judge that says what people say, but for the examples in `turned`, of which it says the opposite.
fn as_people(turned: std::ops::Range<usize>) -> Vec<(String, Value)> {
    let answer = |n: usize| if n.is_multiple_of(3) == turned.contains(&n) { "pass" } else { "fail" };
    (0..30).map(|n| (marker(n), says(&judgement(answer(n)).to_string()))).collect()
}

const BINARY: &str = "type = \"binary\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_moved_is_found_out_and_one_that_wavers_is_not() {
    let mock = Mock::start(Plan { choices: as_people(0..0), ..Plan::default() }).await;
    let world = project(&mock, BINARY);
    own_examples(&world);
    let never = world.run(&["judge", "drift", "own", "--model", "judge"]).expect(2);
    assert!(never.stderr.contains("was never calibrated here"), "{}", never.stderr);
    world.run(&["judge", "calibrate", "own", "--model", "judge"]).expect(0);
    let same = world.run(&["judge", "drift", "own", "--model", "judge", "--json"]).expect(0).json();
    assert_eq!((&same["moves"]["changed"]["k"], &same["moves"]["changed"]["n"]), (&json!(0), &json!(30)));
    assert_eq!((&same["answered_by_now"], &same["age_days"]), (&json!("gpt-test-2026-01-01"), &json!(0)));
    assert_eq!(mock.count(), 60, "drift asks past the cache");
    // Two of thirty turned is what any judge may do; twelve is another judge.
    let wavers = Mock::start(Plan { choices: as_people(0..2), ..Plan::default() }).await;
    configure(&world, &wavers);
    let found = world.run(&["judge", "drift", "own", "--model", "judge"]).expect(0);
    assert!(found.stdout.contains("holds") && found.stdout.contains("2/30"), "{}", found.stdout);
    let moved = Mock::start(Plan { choices: as_people(0..12), ..Plan::default() }).await;
    configure(&world, &moved);
    let found = world.run(&["judge", "drift", "own", "--model", "judge"]).expect(1);
    assert!(found.stdout.contains("HAS MOVED") && found.stdout.contains("12/30"), "{}", found.stdout);
    let json = world.run(&["judge", "drift", "own", "--model", "judge", "--json"]).expect(1).json();
    // Four of the twelve were failed by people and pass now, eight the other way.
    assert_eq!((&json["moves"]["up"], &json["moves"]["down"], &json["drifted"]), (&json!(4), &json!(8), &json!(true)));
    assert_eq!(json["accuracy"]["k"], 18);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_calibration_corrects_a_run_until_it_is_old_or_of_another_judge() {
    let mock = Mock::start(Plan { choices: as_people(0..6), answer: Some(judgement("pass")), ..Plan::default() }).await;
    let world = project(&mock, BINARY);
    own_examples(&world);
    let example =
        |n: usize| json!({"id": format!("q{n}"), "input": format!("Is it {n}?"), "output": "Yes."}).to_string();
    world.write("examples.jsonl", (0..20).map(|n| example(n) + "\n").collect::<String>());
    world.run(&["judge", "calibrate", "own", "--model", "judge"]).expect(0);
    world.run(&["run"]).expect(0);
    let asked = mock.count();
    let found = world.run(&["judge", "correct", "own", "--model", "judge", "--json"]).expect(0).json();
    // 16 of 20 passes and 8 of 10 failures are found: (1 - 0.2) / (0.8 + 0.8 - 1) lies beyond 1 and is cut there.
    assert_eq!((&found["raw"]["estimate"], &found["by_its_errors"]["estimate"]), (&json!(1.0), &json!(1.0)));
    assert_eq!(found["by_its_errors"]["method"], "rogan_gladen");
    assert_eq!(mock.count(), asked, "no model is asked");
    let kept = world.read("calibrations.toml");
    let on = kept.lines().find(|line| line.starts_with("on = ")).unwrap();
    world.write("calibrations.toml", kept.replace(on, "on = \"2020-01-02\""));
    let old = world.run(&["judge", "correct", "own", "--model", "judge"]).expect(2);
    assert!(old.stderr.contains("days old") && old.stderr.contains("--anyway"), "{}", old.stderr);
    world.run(&["judge", "correct", "own", "--model", "judge", "--anyway"]).expect(0);
    let told = world.run(&["run"]).expect(0);
    assert!(told.stderr.contains("was calibrated") && told.stderr.contains("days ago"), "{}", told.stderr);
    world.write("judges/own/prompt.md", "Say which is better. In doubt, the second.");
    let other = world.run(&["judge", "correct", "own", "--model", "judge"]).expect(2);
    assert!(other.stderr.contains("has changed since it was calibrated"), "{}", other.stderr);
    assert!(world.run(&["run"]).expect(0).stderr.contains("has changed since it was calibrated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_likes_many_words_is_found_out() {
    let likes = ("Thank you for reaching out".to_owned(), says(&judgement("pass").to_string()));
    let choices = std::iter::once(likes).chain(as_people(0..0)).collect();
    let mock = Mock::start(Plan { choices, ..Plan::default() }).await;
    let world = project(&mock, BINARY);
    own_examples(&world);
    let found = world.run(&["judge", "probe", "own", "--model", "judge", "--json"]).expect(0).json();
    let probe =
        |name: &str| found["probes"].as_array().unwrap().iter().find(|probe| probe["probe"] == name).unwrap().clone();
    let length = probe("length");
    assert_eq!(
        (&length["moves"]["up"], &length["moves"]["down"], &length["biased"]),
        (&json!(10), &json!(0), &json!(true))
    );
    let formatting = probe("formatting");
    assert_eq!((&formatting["moves"]["changed"]["k"], &formatting["moves"]["changed"]["n"]), (&json!(0), &json!(30)));
    assert_eq!((&formatting["biased"], &probe("order")["moves"]), (&json!(false), &Value::Null));
    // The shorter of the two outputs has no phrase that could be said otherwise but one.
    assert_eq!(probe("paraphrase")["moves"]["changed"]["n"], 30);
    let text = world.run(&["judge", "probe", "own", "--model", "judge"]).expect(0).stdout;
    assert!(text.contains("BIASED") && text.contains("applies to no example"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_is_lenient_with_its_own_family_and_that_is_said() {
    let mock = Mock::start(Plan { answer: Some(judgement("pass")), ..Plan::default() }).await;
    let world = project(&mock, BINARY);
    let row = |n: usize| {
        let (writer, label) = if n.is_multiple_of(2) { ("gpt-5", "fail") } else { ("claude-9", "pass") };
        json!({"id": n, "input": marker(n), "output": "It is so.", "a1": label, "writer": writer})
    };
    let rows: Vec<Value> = (0..20).map(row).collect();
    world.write("rows.jsonl", rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    world.write(
        "map.toml",
        "id = 'id'\ninput = 'input'\noutput = 'output'\nvariant = 'writer'\n[labels]\nown = ['a1']\n",
    );
    world.run(&["dataset", "import", "d", "rows.jsonl", "--map", "map.toml"]).expect(0);
    let found = world.run(&["judge", "probe", "own", "--model", "judge", "--dataset", "d", "--json"]).expect(0).json();
    let own = &found["own_family"];
    assert_eq!((&own["family"], &own["own"], &own["others"]), (&json!("openai"), &json!(10), &json!(10)), "{found}");
    assert_eq!(own["difference"]["estimate"], 1.0, "it passes all, and people fail what its family wrote");
}

#[tokio::test(flavor = "multi_thread")]
async fn attacks_that_turn_a_judge_are_named() {
    let mock = Mock::start(Plan { answer: Some(judgement("fail")), ..Plan::default() }).await;
    let world = project(&mock, BINARY);
    own_examples(&world);
    let held = world.run(&["judge", "attack", "own", "--model", "judge", "--json"]).expect(0).json();
    let attacks = assize::judge::attacks().len();
    assert!(attacks >= 60);
    assert_eq!(
        (&held["turned"]["k"], &held["turned"]["n"], &held["unscored"]),
        (&json!(0), &json!(attacks), &json!(0))
    );
    let found = assize::judge::attacks().iter().filter(|attack| attack.found).count();
    assert_eq!(held["found"], found);
    let weak = vec![("HUMMINGBIRD".to_owned(), says(&judgement("pass").to_string()))];
    let mock = Mock::start(Plan { choices: weak, answer: Some(judgement("fail")), ..Plan::default() }).await;
    configure(&world, &mock);
    let turned = world.run(&["judge", "attack", "own", "--model", "judge"]).expect(1).stdout;
    assert!(turned.contains("repeat-word (canary): pass") && turned.contains(&format!("1/{attacks}")), "{turned}");
}

/// The whole corpus as outputs of a run: a judge that fails them all and quotes them, in its evidence and in the open, and
/// the same again from a recording.
#[tokio::test(flavor = "multi_thread")]
async fn no_attack_turns_a_score_by_being_quoted_live_or_replayed() {
    let attacks = assize::judge::attacks();
    let mut choices = Vec::new();
    let mut rows = String::new();
    for (place, attack) in attacks.iter().enumerate() {
        let mut honest = judgement("fail");
        honest["evidence"] = json!([attack.text]);
        honest["injection_attempt"] = json!(attack.found);
        for (way, reply) in
            [honest.to_string(), format!("{}\n{honest}", attack.text), format!("{honest}\n{}", attack.text)]
                .iter()
                .enumerate()
        {
            let number = 3 * place + way;
            choices.push((marker(number), says(reply)));
            rows += &format!(
                "{}\n",
                json!({"id": format!("{}-{way}", attack.id), "input": marker(number), "output": attack.text})
            );
        }
    }
    let mock = Mock::start(Plan { choices, answer: Some(judgement("pass")), ..Plan::default() }).await;
    let world = project(&mock, BINARY);
    world.write("examples.jsonl", rows);
    let live = world.run(&["run", "--record", "cassette.jsonl"]);
    assert!(live.stderr.contains("hold text that addresses a judge"), "{}", live.stderr);
    let found = scores(&world).await;
    assert_eq!(found.len(), 3 * attacks.len());
    let with = |pass: bool| {
        let value = ScoreValue::Pass { pass };
        found.values().filter(|scored| scored.as_ref().is_ok_and(|score| score.value == value)).count()
    };
    assert_eq!(with(true), 0, "an attack that is quoted is no judgement");
    let failed = with(false);
    assert!(failed >= 2 * attacks.len(), "{failed} of {} keep their score", found.len());
    println!(
        "{} attacks quoted in three ways: {failed} fail, {} unscored, none passes",
        attacks.len(),
        found.len() - failed
    );
    let provider = "[providers.service]\nkind = \"replay\"\ncassette = \"cassette.jsonl\"\n";
    let config = world.read("assize.toml");
    let rest = config.split_once("[models.judge]").unwrap().1;
    world.write("assize.toml", format!("{provider}[models.judge]{rest}"));
    let asked = mock.count();
    world.run(&["run"]);
    assert_eq!((scores(&world).await, mock.count()), (found, asked));
}

/// The scores of the newest run by example, as the store has them.
async fn scores(world: &World) -> BTreeMap<String, Scored> {
    let store = store::open(&format!("sqlite:{}", world.path(".assize/assize.sqlite").display())).await.unwrap();
    let run = store.runs(None, 1).await.unwrap().remove(0);
    let entries = store.replay(&run.header.id, 0, u32::MAX).await.unwrap();
    store.close().await;
    let score = |entry: JournalEntry| match entry.event {
        Event::ScoreFinished { cell, scored, .. } => Some((cell.trial.example.as_str().to_owned(), scored)),
        _ => None,
    };
    entries.into_iter().filter_map(score).collect()
}
