//! Datasets as versioned things through the binary: splits, tags, slices, labels, attachments, exports, history.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::world::{World, fixtures};

/// Sixty examples of twenty sessions, two recorded variants each.
fn support(world: &World) {
    let mut lines = String::new();
    for n in 0..60 {
        let recorded: Vec<Value> = ["old", "new"]
            .iter()
            .map(|v| json!({"variant": v, "trial": 0, "output": {"value": format!("{v} says {}", n % 5)}}))
            .collect();
        let line = json!({"id": format!("t{n}"), "input": format!("question {n}"), "reference": format!("old says {}", n % 5),
            "cluster": format!("s{}", n / 3), "dimensions": {"tier": if n % 2 == 0 { "free" } else { "pro" }},
            "metadata": {"turns_taken": n % 7}, "recorded": recorded});
        lines += &format!("{line}\n");
    }
    world.write("support.jsonl", lines);
    world.run(&["dataset", "import", "support", "support.jsonl"]).expect(0);
}

fn suite(world: &World, dataset: &str) {
    let config = format!(
        r#"
[suites.s]
dataset = "{dataset}"
candidate = "new"
graders = [{{ name = "same", scorer = "exact" }}]
[suites.s.targets]
old = {{ kind = "recorded", variant = "old" }}
new = {{ kind = "recorded", variant = "new" }}
"#
    );
    world.write("assize.toml", config);
}

/// Exported examples by id.
fn examples(world: &World, reference: &str) -> BTreeMap<String, Value> {
    let lines = world.run(&["dataset", "export", reference]).expect(0).stdout;
    let read = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    lines.lines().map(read).map(|example| (example["id"].as_str().unwrap().to_owned(), example)).collect()
}

fn ids(world: &World, reference: &str) -> BTreeSet<String> {
    examples(world, reference).into_keys().collect()
}

#[test]
fn a_holdout_is_frozen_and_parts_are_named() {
    let world = World::new();
    support(&world);
    let done =
        world.run(&["dataset", "split", "support", "--holdout", "0.3", "--seed", "1", "--json"]).expect(0).json();
    assert_eq!(done["header"]["splits"]["frozen"]["since"], 2);
    let (holdout, dev) = (ids(&world, "support:holdout"), ids(&world, "support@2:dev"));
    assert!(holdout.len() > 5 && dev.len() > 20, "{} and {}", holdout.len(), dev.len());
    assert!(holdout.is_disjoint(&dev) && holdout.len() + dev.len() == 60);
    let sessions = |part: &str| -> BTreeSet<String> {
        examples(&world, part).values().map(|e| e["cluster"].as_str().unwrap().to_owned()).collect()
    };
    assert!(sessions("support:holdout").is_disjoint(&sessions("support:dev")));
    assert!(world.run(&["dataset", "export", "support:tset"]).expect(2).stderr.contains("holdout"));

    // A grown file keeps every example where it was; a changed holdout is refused, a changed dev is not.
    let more = world.read("support.jsonl") + "{\"id\": \"t60\", \"input\": \"new\", \"cluster\": \"s99\"}\n";
    world.write("more.jsonl", &more);
    world.run(&["dataset", "import", "support", "more.jsonl"]).expect(0);
    assert!(ids(&world, "support@3:holdout").is_superset(&holdout));
    assert!(ids(&world, "support@3:dev").is_superset(&dev));
    let edit = |id: &str| {
        let changed: Vec<String> = more
            .lines()
            .map(|line| {
                let mut example: Value = serde_json::from_str(line).unwrap();
                if example["id"] == id {
                    example["reference"] = json!("edited");
                }
                example.to_string()
            })
            .collect();
        world.write("edited.jsonl", changed.join("\n"));
        world.run(&["dataset", "import", "support", "edited.jsonl"])
    };
    let held = holdout.first().unwrap();
    let refused = edit(held).expect(2).stderr;
    assert!(refused.contains(&format!("`{held}` would change")) && refused.contains("--thaw"), "{refused}");
    edit(dev.first().unwrap()).expect(0);
    world.run(&["dataset", "split", "support", "--thaw", " "]).expect(2);
    world.run(&["dataset", "split", "support", "--thaw", "a reference was wrong"]).expect(0);
    edit(held).expect(0);
    world.run(&["dataset", "split", "support"]).expect(0);
    edit(&ids(&world, "support:holdout").pop_last().unwrap()).expect(2);
    let log = world.run(&["dataset", "log", "support"]).expect(0).stdout;
    assert!(log.contains("a reference was wrong") && log.contains("import edited.jsonl"), "{log}");
    world.run(&["dataset", "verify"]).expect(0);
    let diff = world.run(&["dataset", "diff", "support@1", "support@2"]).expect(0).stdout;
    assert!(diff.contains("60 changed") && diff.contains("splits changed") && diff.contains(": split"), "{diff}");
}

#[test]
fn looks_at_a_holdout_are_counted_and_said() {
    let world = World::new();
    support(&world);
    world.run(&["dataset", "split", "support", "--holdout", "0.3"]).expect(0);
    suite(&world, "support:dev");
    let dev = world.run(&["run", "s", "--json"]).expect(0);
    assert!(!dev.stderr.contains("holdout"), "{}", dev.stderr);
    assert!(dev.json()["plan"]["dataset"].as_str().unwrap().ends_with(":dev"));
    suite(&world, "support:holdout");
    assert!(world.run(&["run", "s"]).expect(0).stderr.contains("no earlier run looked"));
    suite(&world, "support");
    let whole = world.run(&["run", "s"]).expect(0).stderr;
    assert!(whole.contains("includes the frozen holdout") && whole.contains("1 earlier run looked"), "{whole}");
    suite(&world, "support@2:holdout");
    let dry = world.run(&["run", "s", "--dry-run", "--json"]).expect(0);
    assert!(dry.json()["plan"]["notes"][0].as_str().unwrap().contains("2 earlier runs"), "{}", dry.stdout);
}

#[test]
fn tags_and_slices_are_found_again_in_filters_and_comparisons() {
    let world = World::new();
    support(&world);
    suite(&world, "support");
    world.run(&["run", "s", "--target", "old"]).expect(0);
    let tagged = world.run(&[
        "dataset",
        "tag",
        "support",
        "--where",
        "turns_taken>4 and not tier=free",
        "--tag",
        "hard",
        "--json",
    ]);
    let tagged = tagged.expect(0).json();
    let touched = tagged["touched"].as_u64().unwrap();
    assert!((5..20).contains(&touched), "{touched}");
    world.run(&["dataset", "slice", "support", "paying", "tier=pro or tag=hard"]).expect(0);
    world.run(&["dataset", "slice", "support", "easy", "not tag=hard and paying"]).expect(0);
    let (hard, easy) = (examples(&world, "support:easy"), examples(&world, "support:paying"));
    assert_eq!(hard.len() as u64 + touched, easy.len() as u64);
    assert!(
        world
            .run(&["dataset", "tag", "support", "--where", "harrd", "--tag", "x"])
            .expect(2)
            .stderr
            .contains("easy, paying")
    );
    world.run(&["dataset", "tag", "support", "--where", "tier=nobody", "--tag", "x"]).expect(2);
    // Tagging changes no task: a run before it and a run after it can be compared.
    world.run(&["run", "s"]).expect(0);
    let runs = world.run(&["runs", "--json"]).expect(0).json();
    let id = |place: usize| runs[place]["header"]["id"].as_str().unwrap().to_owned();
    let compared = world.run(&["compare", &id(1), &id(0), "--json"]);
    let compared = compared.json();
    let slices: BTreeSet<&str> =
        compared["comparison"]["slices"].as_array().unwrap().iter().map(|s| s["dimension"].as_str().unwrap()).collect();
    assert!(slices.contains("tag.hard") && slices.contains("slice.paying") && slices.contains("tier"), "{slices:?}");
    let shown = world.run(&["dataset", "show", "support"]).expect(0).stdout;
    assert!(shown.contains("Tags: hard") && shown.contains("paying") && shown.contains("History:"), "{shown}");
    world.run(&["dataset", "slice", "support", "paying", "--forget"]).expect(2);
    world.run(&["dataset", "slice", "support", "easy", "--forget"]).expect(0);
}

/// Fills a sheet as a person would: sorted by another column, values by a rule.
fn fill(world: &World, sheet: &str, value: impl Fn(&BTreeMap<String, String>) -> String) {
    let text = world.read(sheet);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let mut rows: Vec<BTreeMap<String, String>> = reader
        .records()
        .map(|record| head.iter().cloned().zip(record.unwrap().iter().map(str::to_owned)).collect())
        .collect();
    for row in &mut rows {
        let value = value(row);
        row.insert("value".to_owned(), value);
    }
    rows.sort_by_key(|row| row["output"].clone());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&head).unwrap();
    for row in &rows {
        writer.write_record(head.iter().map(|name| row[name].as_str())).unwrap();
    }
    world.write(sheet, writer.into_inner().unwrap());
}

#[test]
fn labels_go_out_on_sheets_and_come_back() {
    let world = World::new();
    support(&world);
    let queue = |extra: &[&str]| {
        let base =
            ["labels", "queue", "support", "--name", "manner", "--values", "good,bad", "--count", "20", "--blind"];
        world.run(&[&base, extra].concat())
    };
    let people = ["--annotators", "ann,bob", "--overlap", "2", "--out", "q-{annotator}.csv"];
    let done = queue(&[&people[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(done["sheets"].as_array().unwrap().len(), 2);
    let sheet = world.read("q-ann.csv");
    assert!(!sheet.contains("t1,") && !sheet.contains("variant") && sheet.contains("good | bad"), "{sheet}");
    assert!(queue(&people).expect(2).stderr.contains("somebody's work"));
    fill(&world, "q-ann.csv", |row| if row["output"].starts_with("old") { "good" } else { "BAD" }.to_owned());
    fill(&world, "q-bob.csv", |row| match row["output"].ends_with('3') {
        true => "dunno".to_owned(),
        false if row["output"].ends_with('4') => String::new(),
        false => "good".to_owned(),
    });
    let imported = world.run(&["labels", "import", "support", "q-ann.csv", "q-bob.csv"]).expect(0).stdout;
    assert!(imported.contains("`q-bob.csv` line") && imported.contains("one of `good`, `bad`"), "{imported}");
    let shown = world.run(&["labels", "show", "support", "--json"]).expect(0).json();
    let report = &shown["labels"][0];
    let of = |who: &str| report["annotators"][who].clone();
    assert_eq!(of("ann")["good"].as_u64().unwrap() + of("ann")["bad"].as_u64().unwrap(), 20);
    assert_eq!(of("bob").as_object().unwrap().len(), 1);
    assert_eq!(
        report["disagreements"].as_array().unwrap().len() as u64,
        report["pairs"][0]["items"].as_u64().unwrap()
            - (report["pairs"][0]["items"].as_f64().unwrap() * report["pairs"][0]["same"].as_f64().unwrap()).round()
                as u64
    );
    // Labels found their own outputs although the sheet was sorted and blind.
    for example in examples(&world, "support").values() {
        for label in example["labels"].as_array().into_iter().flatten().filter(|label| label["annotator"] == "ann") {
            assert_eq!(label["value"], if label["variant"] == "old" { "good" } else { "bad" }, "{example}");
        }
    }
    let again = world.run(&["labels", "import", "support", "q-ann.csv", "--json"]).expect(0).json();
    assert_eq!((&again["unchanged"], &again["same"]), (&json!(true), &json!(20)));
    let next = world
        .run(&["labels", "queue", "support", "--name", "manner", "--out", "next.jsonl", "--json"])
        .expect(0)
        .json();
    assert_eq!((&next["items"], &next["labelled"]), (&json!(100), &json!(20)));
    // Digest of the task: labels are no part of it.
    let headers = world.run(&["dataset", "log", "support", "--json"]).expect(0).json();
    assert_eq!(headers[0]["digest"], headers[1]["digest"]);
    assert_eq!(headers[0]["parent"]["version"], 1);
}

#[test]
fn values_are_held_against_the_scale_of_the_judge() {
    let world = World::new();
    support(&world);
    let judges = world.run(&["judge", "ls", "--json"]).expect(0).json();
    let judge = judges.as_array().unwrap().iter().find(|judge| judge["scale"] == "binary").unwrap();
    let name = judge["name"].as_str().unwrap();
    world.write("by-hand.csv", "example,variant,value\nt1,old,yes\nt2,new,perhaps\nt3,older,no\n");
    let base = ["labels", "import", "support", "by-hand.csv", "--name", name];
    assert!(world.run(&base).expect(2).stderr.contains("--annotator"));
    let done = world.run(&[&base[..], &["--annotator", "ann", "--json"]].concat()).expect(0).json();
    assert_eq!((&done["added"], &done["rejected"]), (&json!(1), &json!(2)));
    assert!(done["rejections"][0].as_str().unwrap().contains("line 3, field `value`"), "{done}");
    let label = examples(&world, "support")["t1"]["labels"][0].clone();
    assert_eq!(label, json!({"name": name, "value": true, "annotator": "ann", "variant": "old", "trial": 0}));
}

#[test]
fn attachments_are_kept_verified_and_carried() {
    let world = World::new();
    world.write("one.jsonl", "{\"id\": \"a\", \"input\": \"what is on it?\"}\n");
    world.run(&["dataset", "import", "claims", "one.jsonl"]).expect(0);
    world.write("photo.png", b"not really a picture");
    world.run(&["dataset", "attach", "claims", "a", "photo.png"]).expect(0);
    world.run(&["dataset", "attach", "claims", "b", "photo.png"]).expect(2);
    let exported = world.run(&["dataset", "export", "claims", "--out", "out.jsonl"]).expect(0);
    assert!(exported.stderr.contains("out.jsonl.attachments"), "{}", exported.stderr);
    world.run(&["dataset", "import", "copy", "out.jsonl"]).expect(0);
    world.run(&["dataset", "verify"]).expect(0);
    let kept: Vec<_> = fs::read_dir(world.path(".assize/datasets/claims/attachments"))
        .or_else(|_| fs::read_dir(world.path("datasets/claims/attachments")))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(kept.len(), 1);
    fs::write(&kept[0], "changed").unwrap();
    let broken = world.run(&["dataset", "verify"]).expect(3).stdout;
    assert!(
        broken.contains("claims@2") && broken.contains("was changed") && broken.contains("ok      copy@1"),
        "{broken}"
    );
    fs::remove_dir_all(world.path("out.jsonl.attachments")).unwrap();
    assert!(world.run(&["dataset", "import", "third", "out.jsonl"]).expect(2).stderr.contains("not kept"));
}

#[test]
fn exports_come_back_as_the_same_task() {
    let world = World::new();
    support(&world);
    let digest =
        |name: &str| world.run(&["dataset", "show", name, "--json"]).expect(0).json()["header"]["digest"].clone();
    for file in ["d.csv", "d.parquet", "d.jsonl"] {
        world.run(&["dataset", "export", "support", "--out", file]).expect(0);
        let name = file.replace('.', "-");
        world.run(&["dataset", "import", &name, file]).expect(0);
        assert_eq!(digest(&name), digest("support"), "{file}");
    }
    let note =
        world.run(&["dataset", "export", "support", "--out", "items.json", "--format", "langfuse"]).expect(0).stderr;
    assert!(note.contains("no place for recorded outputs"), "{note}");
    let items: Value = serde_json::from_str(&world.read("items.json")).unwrap();
    assert_eq!(items[0]["datasetName"], "support");
    assert!(world.run(&["dataset", "export", "support", "--format", "xml"]).expect(2).stderr.contains("langsmith"));
}

#[test]
fn expected_calls_are_read_by_the_tool_scorers() {
    let world = World::new();
    let turn = |name: &str| {
        json!([{"role": "user", "content": "book it"},
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": name, "arguments": "{\"city\": \"Rome\"}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "ok"}, {"role": "assistant", "content": "done"}])
    };
    let rows = [("a", "book"), ("b", "search")]
        .map(|(id, made)| json!({"id": id, "q": "book it", "traj": turn(made)}).to_string());
    world.write("rows.jsonl", rows.join("\n"));
    world.write("map.toml", "id = \"id\"\ninput = \"q\"\nmessages = \"traj\"\n");
    world.run(&["dataset", "import", "first", "rows.jsonl", "--map", "map.toml"]).expect(0);
    // The expectation is written into an exported line, as a person would.
    let lines: Vec<String> = examples(&world, "first")
        .into_values()
        .map(|mut example| {
            example["expected_calls"] = json!([{"name": "book", "arguments": {"city": "Rome"}}]);
            example.to_string()
        })
        .collect();
    world.write("lines.jsonl", lines.join("\n"));
    world.run(&["dataset", "import", "trips", "lines.jsonl"]).expect(0);
    world.write(
        "assize.toml",
        "[suites.s]\ndataset = \"trips\"\ntargets.r = { kind = \"recorded\" }\n\
         graders = [{ name = \"calls\", scorer = \"tool_sequence\" }]\n",
    );
    let view = world.run(&["run", "s", "--json"]).expect(0).json();
    assert_eq!(view["view"]["metrics"][0]["estimate"]["estimate"], 0.5, "{view}");
    let schema = world.run(&["schema", "dataset.example"]).expect(0).json();
    assert_eq!(schema["required"], json!(["input"]));
    assert!(schema["properties"]["expected_calls"].is_object());
}

#[test]
fn three_annotators_of_recorded_data_agree_as_published() {
    let Some(folder) = fixtures("PandaLM") else { return };
    let world = World::new();
    let text = fs::read_to_string(folder.join("pandalm/testset-v1.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut lines = String::new();
    let mut sheet = String::from("example,name,annotator,value\n");
    for row in &rows {
        let id = row["idx"].as_u64().unwrap();
        let input = json!({"instruction": row["instruction"], "input": row["input"],
            "first": row["response1"], "second": row["response2"]});
        lines += &format!("{}\n", json!({"id": id.to_string(), "input": input, "cluster": row["motivation_app"]}));
        for who in ["annotator1", "annotator2", "annotator3"] {
            sheet += &format!("{id},preference,{who},v{}\n", row[who]);
        }
    }
    world.write("pandalm.jsonl", lines);
    world.write("labels.csv", sheet);
    world.run(&["dataset", "import", "pandalm", "pandalm.jsonl"]).expect(0);
    world.run(&["labels", "import", "pandalm", "labels.csv"]).expect(0);
    let shown = world.run(&["labels", "show", "pandalm", "--json"]).expect(0).json();
    let report = &shown["labels"][0];
    assert_eq!(
        (report["labels"].as_u64(), report["items"].as_u64()),
        (Some(3 * rows.len() as u64), Some(rows.len() as u64))
    );
    // Counted here from the file itself, by another way than the program's.
    let pairs = [("annotator1", "annotator2"), ("annotator1", "annotator3"), ("annotator2", "annotator3")];
    for (place, (left, right)) in pairs.iter().enumerate() {
        let same = rows.iter().filter(|row| row[left] == row[right]).count() as f64 / rows.len() as f64;
        let found = report["pairs"][place]["same"].as_f64().unwrap();
        assert!((found - same).abs() < 1e-12, "{left} and {right}: {found} against {same}");
        let kappa = report["pairs"][place]["kappa"].as_f64().unwrap();
        assert!((0.7..1.0).contains(&kappa), "{kappa}");
    }
    let differ =
        rows.iter().filter(|row| row["annotator1"] != row["annotator2"] || row["annotator2"] != row["annotator3"]);
    assert_eq!(report["disagreements"].as_array().unwrap().len(), differ.count());
}
