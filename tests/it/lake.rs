//! The lake through the binary: queries, compaction, retention, deletion, and the same in a bucket.

#[path = "lake/bucket.rs"]
mod bucket;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{World, fixtures};

/// An export of one trace that began at noon of a day in November: a root and a model call below it.
fn otlp(trace: &str, day: u32) -> String {
    let noon = 1_793_534_400_000_000_000_u64 + u64::from(day - 1) * 86_400_000_000_000;
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let number = |key: &str, value: u64| json!({"key": key, "value": {"intValue": value.to_string()}});
    let span = |id: u64, parent: Option<u64>, name: &str, attributes: Value| {
        json!({
            "traceId": trace,
            "spanId": format!("{id:016x}"),
            "parentSpanId": parent.map(|id| format!("{id:016x}")).unwrap_or_default(),
            "name": name,
            "startTimeUnixNano": noon.to_string(),
            "endTimeUnixNano": (noon + 2_000_000_000).to_string(),
            "attributes": attributes,
        })
    };
    let user = attribute("user.id", &format!("u-{day}"));
    let call = json!([
        attribute("gen_ai.operation.name", "chat"),
        attribute("gen_ai.request.model", "gpt-4o-mini"),
        number("gen_ai.usage.input_tokens", 1000),
        number("gen_ai.usage.output_tokens", 100),
        attribute("tenant", "gold"),
        attribute(
            "gen_ai.input.messages",
            &format!(r#"[{{"role":"user","parts":[{{"type":"text","content":"task {day}"}}]}}]"#)
        ),
    ]);
    let spans = [span(1, None, "agent", json!([user])), span(2, Some(1), "chat", call)];
    let file = json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", "shop")]},
        "scopeSpans": [{"scope": {"name": "test"}, "spans": spans}],
    }]});
    file.to_string()
}

fn filled(days: u32) -> World {
    let world = World::new();
    for day in 1..=days {
        world.write("spans.json", otlp(&format!("{day:032x}"), day));
        world.run(&["ingest", "spans.json"]).expect(0);
    }
    world
}

#[test]
fn queries_answer_in_every_form() {
    let world = filled(3);
    let table = world.run(&["traces", "query", "SELECT name, spans, cost_usd, model FROM traces"]).expect(0).stdout;
    assert!(table.starts_with("name   spans"), "{table}");
    let sql = "SELECT user_id, start, input_tokens FROM traces ORDER BY start LIMIT 2";
    let found = world.run(&["traces", "query", sql, "--json"]).expect(0).json();
    let first = json!({"user_id": "u-1", "start": "2026-11-01T12:00:00Z", "input_tokens": 1000});
    assert_eq!(found[0], first);
    let lines = world.run(&["traces", "query", sql, "--format", "jsonl"]).expect(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(lines.lines().next().unwrap()).unwrap(), first);
    let csv = world.run(&["traces", "query", sql, "--format", "csv"]).expect(0).stdout;
    assert_eq!(csv.lines().nth(1), Some("u-1,2026-11-01T12:00:00.000000000Z,1000"));
    world.run(&["traces", "query", sql, "--out", "found.parquet"]).expect(0);
    assert!(fs::read(world.path("found.parquet")).unwrap().starts_with(b"PAR1"));
    let text = world.run(&["traces", "query", sql, "--format", "parquet"]).expect(2).stderr;
    assert!(text.contains("--out FILE"), "{text}");
    let bounded = ["traces", "query", "SELECT user_id FROM traces", "--since", "2026-11-02", "--until", "2026-11-03"];
    assert_eq!(world.run(&[&bounded[..], &["--json"]].concat()).expect(0).json(), json!([{"user_id": "u-2"}]));
    let sql =
        "SELECT t.user_id, a.value FROM traces t JOIN attributes a ON t.trace_id = a.trace_id WHERE a.key = 'tenant'";
    assert_eq!(world.run(&["traces", "query", sql, "--json"]).expect(0).json().as_array().unwrap().len(), 3);
    let text = world.run(&["traces", "query", "SELECT costs FROM traces"]).expect(2).stderr;
    assert!(text.contains("no column `costs`; did you mean `cost_usd`?"), "{text}");
    let text = world.run(&["traces", "tables"]).expect(0).stdout;
    assert!(text.contains("sessions: one row per session"), "{text}");
}

#[test]
fn an_unknown_ending_of_out_is_refused_with_the_known_ones() {
    let world = filled(1);
    let sql = "SELECT name FROM traces";
    for name in ["found.xls", "found", "found.csv.gz"] {
        let ran = world.run(&["traces", "query", sql, "--out", name]).expect(2);
        let told = "`.csv`, `.json`, `.jsonl`, `.ndjson`, `.parquet`, `.txt`, or name the form with `--format`";
        assert!(ran.stderr.contains(&format!("`--out {name}`")) && ran.stderr.contains(told), "{}", ran.stderr);
        assert!(!world.path(name).exists());
    }
    world.run(&["traces", "query", sql, "--out", "found.xls", "--format", "csv"]).expect(0);
    world.run(&["traces", "query", sql, "--out", "FOUND.CSV"]).expect(0);
    assert_eq!(world.read("found.xls"), world.read("FOUND.CSV"));
    world.run(&["traces", "query", sql, "--out", "found.txt"]).expect(0);
    assert_eq!(world.read("found.txt"), "name\nagent\n");
}

#[test]
fn a_trace_is_deleted_by_the_beginning_of_its_id_when_that_is_one() {
    let world = World::new();
    let ids = [format!("aa{:030x}", 1), format!("ab{:030x}", 2)];
    for (at, id) in ids.iter().enumerate() {
        world.write("spans.json", otlp(id, at as u32 + 1));
        world.run(&["ingest", "spans.json"]).expect(0);
    }
    let ran = world.run(&["lake", "delete", "--trace", "a", "--yes"]).expect(2);
    assert!(ran.stderr.contains("beginning of several trace ids") && ran.stderr.contains(&ids[1]), "{}", ran.stderr);
    let dry = world.run(&["lake", "delete", "--trace", "aa"]).expect(0).stdout;
    assert!(dry.contains(&format!("Would take out trace {}: 1 trace, 2 spans", ids[0])), "{dry}");
    let done = world.run(&["lake", "delete", "--trace", "aa", "--yes", "--json"]).expect(0).json();
    assert_eq!((&done["traces"], &done["trace"]), (&json!(1), &json!(ids[0])));
    let none = world.run(&["lake", "delete", "--trace", "ffff"]).expect(0).stdout;
    assert!(none.contains("Nothing of that is in the lake."), "{none}");
    assert_eq!(world.run(&["lake", "stats", "--json"]).expect(0).json()["traces"], 1);
}

#[test]
fn a_dry_run_says_what_a_tidying_would_do_and_changes_nothing() {
    let world = World::new();
    for id in 1..=3 {
        world.write("spans.json", otlp(&format!("{id:032x}"), 1));
        world.run(&["ingest", "spans.json"]).expect(0);
    }
    let mut before = Vec::new();
    files_below(&world.path(".assize/lake/spans"), &mut before);
    let dry = world.run(&["lake", "compact", "--dry-run"]).expect(0).stdout;
    assert!(dry.contains("3 files would become 1 in 1 day.") && dry.contains("Nothing was changed"), "{dry}");
    let dry = world.run(&["lake", "expire", "--older-than", "1d", "--dry-run"]).expect(0).stdout;
    assert!(dry.contains("Nothing"), "{dry}");
    let mut after = Vec::new();
    files_below(&world.path(".assize/lake/spans"), &mut after);
    assert_eq!(before, after);
    world.run(&["lake", "expire", "--older-than", "1d", "--dry-run", "--yes"]).expect(2);
    let ran = world.run(&["lake", "expire", "--older-than", "30"]).expect(2);
    assert!(ran.stderr.contains("`--older-than` is `30`; expected days or weeks with their unit"), "{}", ran.stderr);
    assert_eq!(world.run(&["lake", "compact", "--json"]).expect(0).json()["done"], true);
}

#[test]
fn tables_show_times_to_the_millisecond_and_files_keep_them_whole() {
    let world = World::new();
    let text = otlp(&format!("{:032x}", 1), 1).replace("1793534400000000000", "1793534400123456789");
    world.write("spans.json", text);
    world.run(&["ingest", "spans.json"]).expect(0);
    let sql = "SELECT start FROM traces";
    let table = world.run(&["traces", "query", sql]).expect(0).stdout;
    assert_eq!(table, "start\n2026-11-01T12:00:00.123Z\n");
    assert!(world.run(&["traces", "query", sql, "--json"]).expect(0).stdout.contains("12:00:00.123456789Z"));
}

#[test]
fn text_of_traces_cannot_speak_to_the_terminal() {
    let world = World::new();
    world.write("spans.json", otlp(&format!("{:032x}", 1), 1).replace("\"agent\"", "\"\\u001b[31mred\\nline\""));
    world.run(&["ingest", "spans.json"]).expect(0);
    let table = world.run(&["traces", "query", "SELECT name, trace_id FROM traces"]).expect(0).stdout;
    assert!(!table.contains('\u{1b}') && table.lines().count() == 2, "{table}");
}

#[test]
fn a_deletion_is_counted_first_and_leaves_a_record_without_the_id() {
    let world = filled(3);
    world
        .write(".assize/lake/rejected.jsonl", "{\"excerpt\":\"{\\\"user\\\":\\\"u-2\\\"}\"}\n{\"excerpt\":\"u-22\"}\n");
    let dry = world.run(&["lake", "delete", "--user", "u-2"]).expect(0).stdout;
    assert!(dry.contains("Would take out 1 trace, 2 spans, 0 scores, 1 rejected row"), "{dry}");
    assert_eq!(world.run(&["lake", "stats", "--json"]).expect(0).json()["traces"], 3);
    let done = world.run(&["lake", "delete", "--user", "u-2", "--yes", "--json"]).expect(0).json();
    assert_eq!((&done["traces"], &done["rejected"], &done["done"]), (&json!(1), &json!(1), &json!(true)));
    let subject = done["subject"].as_str().unwrap();
    assert!(subject.starts_with("user ") && !subject.contains("u-2"), "{subject}");
    assert_eq!(world.read(".assize/lake/rejected.jsonl"), "{\"excerpt\":\"u-22\"}\n");
    assert_eq!(world.run(&["lake", "stats", "--json"]).expect(0).json()["traces"], 2);
    let mut held = Vec::new();
    files_below(&world.path(".assize"), &mut held);
    for path in held {
        let bytes = fs::read(&path).unwrap();
        assert!(
            !bytes.windows(3).any(|bytes| bytes == b"u-2") || path.ends_with("rejected.jsonl"),
            "{}",
            path.display()
        );
    }
    let looks = world.run(&["doctor", "--offline", "--json"]).json().to_string();
    assert!(looks.contains("1 records, chain whole"), "{looks}");
}

fn files_below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

#[test]
fn old_days_expire_but_for_what_is_sampled() {
    let world = World::new();
    for (id, day) in [(1, 1), (2, 2)] {
        // Long ago by any clock.
        world.write(
            "spans.json",
            otlp(&format!("{id:032x}"), day).replace("\"17935", "\"12935").replace("\"17936", "\"12936"),
        );
        world.run(&["ingest", "spans.json"]).expect(0);
    }
    world.run(&["sample", "kept", "--count", "1"]).expect(0);
    let dry = world.run(&["lake", "expire", "--older-than", "90d", "--keep-sampled", "--json"]).expect(0).json();
    assert_eq!((&dry["traces"], &dry["done"]), (&json!(1), &json!(false)));
    let done =
        world.run(&["lake", "expire", "--older-than", "90d", "--keep-sampled", "--yes", "--json"]).expect(0).json();
    assert_eq!(done["traces"], 1);
    assert_eq!(world.run(&["lake", "stats", "--json"]).expect(0).json()["traces"], 1);
    world.run(&["lake", "expire", "--older-than", "soon"]).expect(2);
}

#[test]
fn recorded_traces_in_any_order_give_one_lake() {
    let Some(folder) = fixtures("recorded_traces_in_any_order_give_one_lake") else { return };
    let mut files: Vec<String> = Vec::new();
    for name in ["traces/otlp_capture", "traces/otlp_examples"] {
        let entries = fs::read_dir(folder.join(name)).unwrap().map(|entry| entry.unwrap().path());
        let json = entries.filter(|path| path.extension().is_some_and(|end| end == "json"));
        files.extend(json.map(|path| path.to_str().unwrap().to_owned()));
    }
    files.sort();
    let queries = [
        "SELECT * FROM traces ORDER BY trace_id",
        "SELECT * FROM sessions ORDER BY session_id",
        "SELECT trace_id, span_id, root, counted, duplicate, digest FROM spans ORDER BY trace_id, span_id",
        "SELECT key, COUNT(*) AS n FROM attributes GROUP BY key ORDER BY key",
    ];
    let seen = |world: &World| -> Vec<String> {
        let answers = queries.iter().map(|query| world.run(&["traces", "query", query, "--json"]).expect(0).stdout);
        answers.chain([world.run(&["traces", "ls", "--limit", "1000", "--json"]).expect(0).stdout]).collect()
    };
    let once = World::new();
    let mut all = vec!["ingest"];
    all.extend(files.iter().map(String::as_str));
    once.run(&all).expect(0);
    let expected = seen(&once);
    assert!(expected[0].contains("trace_id"), "{}", expected[0]);
    let each = World::new();
    for file in files.iter().rev() {
        each.run(&["ingest", file]).expect(0);
    }
    assert_eq!(seen(&each), expected);
    let done = each.run(&["lake", "compact", "--json"]).expect(0).json();
    assert!(done["parts_after"].as_u64() <= done["parts_before"].as_u64(), "{done}");
    assert_eq!(seen(&each), expected);
    let again = each.run(&all).expect(0);
    assert!(again.stdout.contains("0 new to the lake"), "{}", again.stdout);
}
