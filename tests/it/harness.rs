//! Files of other harnesses through the binary: recorded ones, each checked against what stands in it, and broken ones.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::world::{World, fixtures};

fn mapping(name: &str) -> String {
    format!("{}/datasets/mappings/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// All examples of a dataset.
fn examples(world: &World, name: &str) -> Vec<Value> {
    let lines = world.run(&["dataset", "export", name]).expect(0).stdout;
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn labels<'a>(example: &'a Value, name: &str) -> Vec<&'a Value> {
    let all = example["labels"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter(|label| label["name"] == name).collect()
}

/// Head and samples of an Inspect log, read without the program.
fn inspect_log(path: &Path) -> (Value, Vec<Value>) {
    if path.extension().is_some_and(|end| end == "json") {
        let mut log = json_of(path);
        let samples = log["samples"].take();
        return (log, samples.as_array().unwrap().clone());
    }
    let mut zip = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let (mut head, mut samples) = (Value::Null, Vec::new());
    for index in 0..zip.len() {
        let entry = zip.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        if name == "header.json" {
            head = serde_json::from_reader(entry).unwrap();
        } else if name.starts_with("samples/") {
            samples.push(serde_json::from_reader(entry).unwrap());
        }
    }
    (head, samples)
}

fn inspect_logs(folder: &Path) -> Vec<PathBuf> {
    let mut logs: Vec<PathBuf> =
        fs::read_dir(folder.join("traces/inspect_logs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.sort();
    logs
}

fn events<'a>(samples: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let all = samples.iter().flat_map(|sample| sample["events"].as_array().map_or(&[][..], Vec::as_slice));
    all.filter(|event| event["event"] == kind).collect()
}

#[test]
fn every_inspect_log_is_ingested_with_the_tokens_it_states() {
    let Some(folder) = fixtures("Inspect logs as traces") else { return };
    let logs = inspect_logs(&folder);
    assert_eq!(logs.len(), 9);
    for log in logs {
        let (head, samples) = inspect_log(&log);
        let world = World::new();
        let report = world.run(&["ingest", log.to_str().unwrap(), "--json"]).expect(0).json();
        let name = log.display();
        assert_eq!(report["rejected"], 0, "{name}: {report}");
        assert_eq!(report["traces"], samples.len(), "{name}");
        assert_eq!(report["faults"], json!({}), "{name}");
        let scores: usize =
            samples.iter().filter_map(|sample| sample["scores"].as_object()).map(serde_json::Map::len).sum();
        assert_eq!(report["scores"], scores, "{name}");
        let traces = world.run(&["traces", "ls", "--json"]).expect(0).json();
        let spans: Vec<Value> = traces
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| {
                let id = row["trace_id"].as_str().or_else(|| row["id"].as_str()).unwrap();
                world.run(&["traces", "show", id, "--json"]).expect(0).json()["spans"].as_array().unwrap().clone()
            })
            .collect();
        let of = |kind: &str| spans.iter().filter(|span| span["kind"] == kind).collect::<Vec<_>>();
        assert_eq!(of("agent").len(), samples.len(), "{name}");
        assert!(!serde_json::to_string(&spans).unwrap().contains("attachment://"), "{name}: unresolved references");
        if events(&samples, "model").is_empty() {
            continue;
        }
        assert_eq!(of("model").len(), events(&samples, "model").len(), "{name}");
        assert_eq!(of("tool").len(), events(&samples, "tool").len(), "{name}");
        let sum = |key: &str| of("model").iter().filter_map(|span| span["usage"][key].as_u64()).sum::<u64>();
        let stated = |key: &str| {
            let models = head["stats"]["model_usage"].as_object().unwrap().values();
            models.filter_map(|usage| usage[key].as_u64()).sum::<u64>()
        };
        assert_eq!((sum("input"), sum("output")), (stated("input_tokens"), stated("output_tokens")), "{name}");
        assert_eq!(sum("cache_read"), stated("input_tokens_cache_read"), "{name}");
    }
}

#[test]
fn messages_kept_once_in_a_pool_come_back_to_every_call() {
    let Some(folder) = fixtures("Inspect message pool") else { return };
    let log = folder.join("traces/inspect_logs/log__test_eval_log__log_message_deduplication.eval");
    let (_, samples) = inspect_log(&log);
    let expected: Vec<u64> = events(&samples, "model")
        .iter()
        .map(|event| {
            let ranges = event["input_refs"].as_array().unwrap().iter();
            ranges.map(|range| range[1].as_u64().unwrap() - range[0].as_u64().unwrap()).sum()
        })
        .collect();
    assert_eq!(expected, [1, 3, 5, 7, 9, 11]);
    let world = World::new();
    world.run(&["ingest", log.to_str().unwrap()]).expect(0);
    let rows = world.run(&["traces", "ls", "--json"]).expect(0).json();
    let id = rows[0]["trace_id"].as_str().or_else(|| rows[0]["id"].as_str()).unwrap();
    let trace = world.run(&["traces", "show", id, "--json"]).expect(0).json();
    let calls = trace["spans"].as_array().unwrap().iter().filter(|span| span["kind"] == "model");
    let found: Vec<u64> = calls.map(|span| span["messages_in"].as_array().unwrap().len() as u64).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_inspect_log_is_a_dataset() {
    let Some(folder) = fixtures("Inspect logs as datasets") else { return };
    for log in inspect_logs(&folder) {
        let (head, samples) = inspect_log(&log);
        let world = World::new();
        let done = world.run(&["dataset", "import", "d", log.to_str().unwrap(), "--json"]).expect(0).json();
        assert_eq!((&done["rejected"], &done["recognised"][0]["format"]), (&json!(0), &json!("inspect")), "{done}");
        let found = examples(&world, "d");
        assert_eq!(found.len(), samples.len());
        for sample in &samples {
            let id = sample["id"].as_str().map_or_else(|| sample["id"].to_string(), str::to_owned);
            let id = format!("{}/{id}", head["eval"]["task"].as_str().unwrap());
            let example = found.iter().find(|example| example["id"] == id.as_str()).unwrap();
            if sample["input"].is_string() {
                assert_eq!(example["input"], sample["input"]);
            }
            if sample["target"] != "" {
                assert_eq!(example["reference"], sample["target"]);
            }
            let recorded = &example["recorded"][0];
            assert_eq!(recorded["variant"], head["eval"]["model"]);
            assert_eq!(recorded["trial"].as_u64().unwrap() + 1, sample["epoch"].as_u64().unwrap());
            for (name, score) in sample["scores"].as_object().into_iter().flatten() {
                let expected = match score["value"].as_str() {
                    Some("C") => json!(1.0),
                    Some("I") => json!(0.0),
                    _ => score["value"].clone(),
                };
                assert_eq!(recorded["output"]["metadata"][name], expected, "{}", log.display());
            }
        }
    }
}

#[test]
fn who_and_when_keeps_agent_step_and_reason() {
    let Some(folder) = fixtures("Who&When") else { return };
    let world = World::new();
    let logs = folder.join("whowhen");
    let map = mapping("whowhen");
    let done = world.run(&["dataset", "import", "w", logs.to_str().unwrap(), "--map", &map, "--json"]).expect(0).json();
    assert_eq!((&done["rows"], &done["rejected"]), (&json!(30), &json!(0)));
    let found = examples(&world, "w");
    assert_eq!(found.len(), 30);
    for number in 1..=30 {
        let raw = json_of(&logs.join(format!("{number}.json")));
        let example = found.iter().find(|example| example["id"] == raw["question_ID"]).unwrap();
        let [agent] = labels(example, "failure_agent")[..] else { panic!("{example}") };
        assert_eq!((&agent["value"], &agent["reason"]), (&raw["mistake_agent"], &raw["mistake_reason"]));
        let [step] = labels(example, "failure_step")[..] else { panic!("{example}") };
        assert_eq!(step["value"].to_string(), raw["mistake_step"].as_str().unwrap());
        let turns = raw["history"].as_array().unwrap();
        let spans = example["recorded"][0]["output"]["trace"]["spans"].as_array().unwrap();
        let rest = spans.last().unwrap()["kind"] == "step";
        assert_eq!(spans.len(), turns.len() + 1 + usize::from(rest), "one span per turn and the agent");
        // Spans and turns are in one order, so that the labelled step can be found.
        let at = step["value"].as_u64().unwrap() as usize;
        let name = &spans[at + 1]["agent"]["name"];
        assert!(name == &turns[at]["name"] || spans[at + 1]["kind"] == "tool", "{number}: {name}");
    }
}

#[test]
fn agentrx_failures_are_joined_and_counted_from_zero() {
    let Some(folder) = fixtures("AgentRx") else { return };
    let folder = folder.join("agentrx_tau_retail");
    let (runs, marks) = (json_of(&folder.join("trajectories.json")), json_of(&folder.join("labels.json")));
    let world = World::new();
    let map = mapping("agentrx");
    // The whole folder may be given: the file that is joined is no file of examples.
    for source in [folder.join("trajectories.json"), folder.clone()] {
        let done =
            world.run(&["dataset", "import", "a", source.to_str().unwrap(), "--map", &map, "--json"]).expect(0).json();
        assert_eq!((&done["rows"], &done["rejected"]), (&json!(10), &json!(0)));
    }
    let found = examples(&world, "a");
    assert_eq!(found.len(), 10);
    let mut failures = 0;
    for mark in marks.as_array().unwrap() {
        let id = mark["trajectory_id"].to_string();
        let example = found.iter().find(|example| example["id"] == id.as_str()).unwrap();
        let run = runs.as_array().unwrap().iter().find(|run| run["task_id"] == mark["trajectory_id"]).unwrap();
        let said = labels(example, "failure");
        assert_eq!(said.len(), mark["failures"].as_array().unwrap().len());
        for (label, failure) in said.iter().zip(mark["failures"].as_array().unwrap()) {
            failures += 1;
            let place = label["value"]["step"].as_u64().unwrap();
            assert_eq!(place + 1, failure["step_number"].as_u64().unwrap());
            assert_eq!(run["traj"][place as usize]["index"], failure["step_number"]);
            assert_eq!(label["value"]["category"], failure["failure_category"]);
            assert_eq!(label["reason"], failure["step_reason"]);
        }
        assert_eq!(labels(example, "root_cause")[0]["value"], mark["root_cause"]["failure_id"]);
    }
    assert_eq!(failures, 18);
}

#[test]
fn mast_has_a_label_for_each_of_fourteen_modes() {
    let Some(folder) = fixtures("MAST") else { return };
    let file = folder.join("mast/traces_with_three_annotators.json");
    let raw = json_of(&file);
    let world = World::new();
    world.run(&["dataset", "import", "m", file.to_str().unwrap(), "--map", &mapping("mast")]).expect(0);
    let found = examples(&world, "m");
    assert_eq!(found.len(), 5);
    for (example, log) in found.iter().zip(raw.as_array().unwrap()) {
        let said = example["labels"].as_array().unwrap();
        assert_eq!(said.len(), 14);
        let failures: u64 = said.iter().filter_map(|label| label["value"].as_u64()).sum();
        assert_eq!(failures, log["human_label_summary"]["total_failures"]);
        assert_eq!(labels(example, "weak_verification")[0]["value"], log["human_labels"]["3.3"]);
        assert_eq!(example["recorded"][0]["output"]["value"], log["trace_text"]);
    }
}

#[test]
fn every_shipped_mapping_is_sound() {
    let world = World::new();
    for name in ["whowhen", "agentrx", "mast", "taubench"] {
        let map = mapping(name);
        world.write("rows.json", r#"[{"x": 1}]"#);
        let refused = world.run(&["dataset", "import", "x", "rows.json", "--map", &map]).expect(2).stderr;
        // The mapping is taken; what is refused is a file that has none of its fields.
        assert!(refused.contains("rows.json") || refused.contains("labels.json"), "{name}: {refused}");
        assert!(!refused.contains(&format!("{name}.toml")), "{name}: {refused}");
    }
}

#[test]
fn several_annotators_of_one_question_are_several_labels() {
    let world = World::new();
    let row = json!({"id": 1, "input": "q", "votes": {"ann": true, "bob": false, "cy": true}});
    world.write("rows.jsonl", row.to_string());
    let map = "id = 'id'\ninput = 'input'\n[labels]\nok = ['votes.ann', 'votes.bob', { field = 'votes.cy', annotator = { value = 'Cy' } }]";
    world.write("map.toml", map);
    world.run(&["dataset", "import", "v", "rows.jsonl", "--map", "map.toml"]).expect(0);
    let example = &examples(&world, "v")[0];
    let said: Vec<(&Value, &Value)> = labels(example, "ok").iter().map(|l| (&l["annotator"], &l["value"])).collect();
    assert_eq!(
        said,
        [(&json!("votes.ann"), &json!(true)), (&json!("votes.bob"), &json!(false)), (&json!("Cy"), &json!(true))]
    );
}

#[test]
fn tau_bench_actions_are_expected_tool_calls() {
    let Some(folder) = fixtures("tau-bench mapping") else { return };
    let file = folder.join("taubench_airline/gpt-4o-airline.json.gz");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(fs::File::open(&file).unwrap()), &mut bytes).unwrap();
    let raw: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    let world = World::new();
    let done = world.run(&["dataset", "import", "t", file.to_str().unwrap(), "--map", &mapping("taubench"), "--json"]);
    assert_eq!(done.expect(0).json()["rows"], 200);
    let found = examples(&world, "t");
    assert_eq!(found.len(), 50);
    for row in &raw {
        let example = found.iter().find(|example| example["id"] == row["task_id"].to_string().as_str()).unwrap();
        let trials = example["recorded"].as_array().unwrap();
        assert_eq!(trials.len(), 4);
        let trial = trials.iter().find(|recorded| recorded["trial"] == row["trial"]).unwrap();
        assert_eq!(trial["output"]["metadata"]["reward"], row["reward"]);
        assert_eq!(example["reference"], row["info"]["task"]["actions"]);
    }
    world.write(
        "assize.toml",
        "[suites.t]\ndataset = 't'\ntrials = 4\ntargets.gpt4o = { kind = 'recorded' }\n\
         graders = [{ name = 'calls', scorer = 'tool_used', ignore_arguments = true }]\n",
    );
    let view = world.run(&["run", "t", "--json"]);
    let scored = view.json()["view"]["metrics"][0]["estimate"]["n"].as_u64();
    assert!(scored.is_some_and(|n| n > 40), "{}{}", view.stdout, view.stderr);
}

#[test]
fn broken_archives_are_refused_in_words() {
    let world = World::new();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("header.json", options).unwrap();
    zip.write_all(br#"{"eval": {"task": "t", "task_id": "i", "run_id": "r", "created": "2025-01-01T00:00:00Z"}}"#)
        .unwrap();
    zip.start_file("samples/1_epoch_1.json", options).unwrap();
    zip.write_all(
        br#"{"id": 1, "epoch": 1, "input": "q", "target": "a", "scores": {"s": {"value": NaN}}, "events": []}"#,
    )
    .unwrap();
    zip.start_file("samples/2_epoch_1.json", options).unwrap();
    zip.write_all(br#"{"id": 2, "#).unwrap();
    let whole = zip.finish().unwrap().into_inner();
    world.write("log.eval", &whole);
    world.write("cut.eval", &whole[..whole.len() - 40]);
    let report = world.run(&["ingest", "log.eval", "--json"]).expect(0).json();
    assert_eq!((&report["traces"], &report["rejected"]), (&json!(1), &json!(1)));
    assert!(report["rejections"][0].as_str().unwrap().contains("samples/2_epoch_1.json"), "{report}");
    let done = world.run(&["dataset", "import", "d", "log.eval", "--json"]).expect(0).json();
    assert_eq!((&done["rows"], &done["rejected"]), (&json!(2), &json!(1)));
    let report = world.run(&["ingest", "cut.eval", "--json"]).json();
    let said = report["rejections"][0].as_str().unwrap();
    assert!(
        said.contains("cut.eval") && said.contains("no whole zip archive") && said.contains("copy it again"),
        "{said}"
    );
    let refused = world.run(&["dataset", "import", "c", "cut.eval"]).expect(2).stderr;
    assert!(refused.contains("cut.eval") && refused.contains("copy it again"), "{refused}");
}

#[test]
fn an_archive_that_unpacks_without_end_is_refused() {
    let world = World::new();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("header.json", zip::write::SimpleFileOptions::default()).unwrap();
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..300 {
        zip.write_all(&zeros).unwrap();
    }
    world.write("bomb.eval", zip.finish().unwrap().into_inner());
    let report = world.run(&["ingest", "bomb.eval", "--json"]).json();
    assert!(report["rejections"][0].as_str().unwrap().contains("unpacks to more than"), "{report}");
}

#[test]
fn a_format_is_said_and_can_be_named() {
    let world = World::new();
    world.write("s.jsonl", r#"{"input": [{"role": "user", "content": "2+2"}], "ideal": "4"}"#);
    let said = world.run(&["dataset", "import", "s", "s.jsonl"]).expect(0).stdout;
    assert!(said.contains("Read as openai_evals (1 file): rows with `input` and `ideal`."), "{said}");
    let named =
        world.run(&["dataset", "import", "s", "s.jsonl", "--format", "openai_evals", "--json"]).expect(0).json();
    assert_eq!(named["recognised"][0]["why"], "named by the user");
    let plain = world.run(&["dataset", "import", "s", "s.jsonl", "--format", "rows", "--json"]).expect(0).json();
    assert_eq!((&plain["recognised"], &plain["unchanged"]), (&json!([]), &json!(true)));
    let wrong = world.run(&["dataset", "import", "s", "s.jsonl", "--format", "openai_eval"]).expect(2).stderr;
    assert!(wrong.contains("did you mean `openai_evals`?"), "{wrong}");
    let both =
        world.run(&["dataset", "import", "s", "s.jsonl", "--format", "rows", "--field", "input=input"]).expect(2);
    assert!(both.stderr.contains("--format"), "{}", both.stderr);
}

#[test]
fn rows_of_any_table_are_traces_by_a_mapping() {
    let world = World::new();
    world.write(
        "calls.csv",
        "conversation,at,question,answer,model,in,out,usd,intent\n\
         c1,2026-11-20T10:00:00Z,Hi,Hello,m-1,10,3,0.5,greet\nc2,2026-11-20T10:01:00Z,Bye\n\
         c3,2026-11-20T10:02:00Z,\"A, b\",C,m-1,7,2,0.25,other\n",
    );
    let map = "trace_id = 'conversation'\nstart = 'at'\ninput = 'question'\noutput = 'answer'\nmodel = 'model'\n\
               input_tokens = 'in'\noutput_tokens = 'out'\ncost = 'usd'\nattributes = { 'ticket.intent' = 'intent' }\n";
    world.write("map.toml", map);
    let report = world.run(&["ingest", "calls.csv", "--map", "map.toml", "--json"]).expect(0).json();
    assert_eq!(
        (&report["traces"], &report["rejected"], &report["files"][0]["format"]),
        (&json!(2), &json!(1), &json!("mapped"))
    );
    let said = report["rejections"][0].as_str().unwrap();
    assert!(said.contains("`") && said.contains("line 3") && said.contains("3 columns; expected 9"), "{said}");
    let rows = world.run(&["traces", "ls", "--where", "ticket.intent=greet", "--json"]).expect(0).json();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    world.write("slip.toml", map.replace("'usd'", "'price'"));
    let report = world.run(&["ingest", "calls.csv", "--map", "slip.toml", "--json"]).expect(0).json();
    let said = report["rejections"].to_string();
    assert!(said.contains("`cost` of the mapping") && said.contains("`price`") && said.contains("`usd`"), "{said}");
    world.write("bad.toml", "traceid = 'x'");
    let wrong = world.run(&["ingest", "calls.csv", "--map", "bad.toml"]).expect(2).stderr;
    assert!(wrong.contains("traceid") && wrong.contains("bad.toml"), "{wrong}");
}
