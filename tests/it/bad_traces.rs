//! Traces as bad as they come: dialects mixed in one file, Parquet of the wrong shape, ids and times in every form,
//! a process killed in the middle. What can be read is read, the rest is named, and nothing is there twice.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Ran, World};

const NANOS: u64 = 1_795_248_000_100_000_000;

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn span(number: u64, attributes: &[(&str, &str)]) -> Value {
    let attributes: Vec<Value> = attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    json!({"traceId": format!("{number:032x}"), "spanId": format!("{number:016x}"), "name": "chat",
        "startTimeUnixNano": NANOS.to_string(), "endTimeUnixNano": (NANOS + 1_000_000).to_string(),
        "attributes": attributes})
}

fn line(spans: &[Value]) -> String {
    json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": spans}]}]}).to_string()
}

fn ask(world: &World, sql: &str) -> Value {
    world.run(&["traces", "query", sql, "--json"]).expect(0).json()
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(all.contains(word), "lacks {word:?}:\n{all}");
    }
}

#[test]
fn dialects_mixed_in_one_file_are_each_read_as_what_they_are() {
    let messages = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#;
    let spans = [
        span(1, &[("gen_ai.operation.name", "chat"), ("gen_ai.input.messages", messages)]),
        span(
            2,
            &[
                ("openinference.span.kind", "LLM"),
                ("llm.input_messages.0.message.role", "user"),
                ("llm.input_messages.0.message.content", "hi"),
            ],
        ),
        span(3, &[("llm.request.type", "chat"), ("gen_ai.prompt.0.role", "user"), ("gen_ai.prompt.0.content", "hi")]),
        span(
            4,
            &[
                ("ai.operationId", "ai.generateText.doGenerate"),
                ("ai.prompt.messages", r#"[{"role":"user","content":[{"type":"text","text":"hi"}]}]"#),
            ],
        ),
    ];
    let mut lines: Vec<String> = spans.iter().map(|span| line(std::slice::from_ref(span))).collect();
    // All of them once more in one document, under other ids; a bare span; and lines that are none of this.
    let others: Vec<Value> = spans
        .iter()
        .enumerate()
        .map(|(at, span)| {
            let mut span = span.clone();
            span["traceId"] = json!(format!("{:032x}", at + 5));
            span
        })
        .collect();
    lines.push(line(&others));
    let mut bare = spans[0].clone();
    bare["traceId"] = json!(format!("{:032x}", 9));
    bare["attributes"] = json!({"gen_ai.operation.name": "chat", "gen_ai.input.messages": messages});
    lines.push(bare.to_string());
    lines.push(json!({"event": "page_view"}).to_string());
    lines.push("not json".to_owned());
    let world = World::new();
    world.write("mixed.jsonl", lines.join("\n"));
    let report = world.run(&["ingest", "mixed.jsonl", "--json"]).expect(0).json();
    let counts = json!({"otel_genai": 3, "openinference": 2, "openllmetry": 2, "vercel": 2});
    assert_eq!(report["files"][0]["dialects"], counts, "{report:#}");
    assert_eq!((&report["traces"], &report["rejected"]), (&json!(9), &json!(2)), "{report:#}");
    let kinds = ask(&world, "SELECT kind, COUNT(*) AS n FROM spans GROUP BY kind");
    assert_eq!(kinds, json!([{"kind": "model", "n": 9}]));
    let inputs = ask(&world, "SELECT input, COUNT(*) AS n FROM traces GROUP BY input");
    assert_eq!(inputs, json!([{"input": "hi", "n": 9}]));
}

#[test]
fn parquet_of_the_wrong_shape_costs_only_itself_and_says_what_is_wrong() {
    let world = World::new();
    world.write("good.jsonl", line(&[span(1, &[("gen_ai.operation.name", "chat")])]));
    world.run(&["ingest", "good.jsonl"]).expect(0);
    let write = |name: &str, sql: &str| world.run(&["traces", "query", sql, "--out", name]).expect(0);
    // Columns that no reader knows; the right names with wrong types; ids that are missing in each row.
    write("strange.parquet", "SELECT name AS colour, duration_ms AS size FROM spans");
    write("types.parquet", "SELECT duration_ms AS trace_id, root AS span_id, name, root AS start FROM spans");
    write("rows.parquet", "SELECT trace_id AS trace, span_id AS span, name, start AS began FROM spans");
    let whole = fs::read(world.path("rows.parquet")).unwrap();
    world.write("torn.parquet", &whole[..whole.len() / 2]);
    world.write("tail.parquet", [b"PAR1", &whole[whole.len() - 20..]].concat());
    world.write("none.parquet", "trace_id,span_id\n1,2\n");
    world.write("head.parquet", "PAR1");
    let map = "trace_id = \"trace\"\nspan_id = \"span\"\nname = \"name\"\nstart = \"began\"\n";
    world.write("map.toml", map);
    for (file, with_map, told) in [
        ("strange.parquet", false, "in no format known here"),
        ("none.parquet", false, "in no format known here"),
        ("torn.parquet", true, "cannot be read as Parquet"),
        ("tail.parquet", true, "cannot be read as Parquet"),
        ("head.parquet", true, "cannot be read as Parquet"),
    ] {
        let arguments: &[&str] = if with_map { &["ingest", file, "--map", "map.toml"] } else { &["ingest", file] };
        let ran = world.run(arguments).expect(2);
        says(&ran, &[file, told]);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
    // Rows whose cells cannot be what the mapping says are turned away one by one.
    let bad = "trace_id = \"trace_id\"\nspan_id = \"span_id\"\nname = \"name\"\nstart = \"start\"\n";
    world.write("bad.toml", bad);
    let report = world.run(&["ingest", "types.parquet", "--map", "bad.toml", "--json"]).expect(2).json();
    assert_eq!((&report["added"], &report["rejected"]), (&json!(0), &json!(1)), "{report:#}");
    // A row with nothing of what is mapped is no trace; columns that the mapping names and the file lacks are told one
    // by one.
    let report = world.run(&["ingest", "strange.parquet", "--map", "map.toml", "--json"]).expect(2).json();
    assert_eq!((&report["spans"], &report["rejected"]), (&json!(0), &json!(5)), "{report:#}");
    for (field, column) in [("trace_id", "trace"), ("span_id", "span"), ("name", "name"), ("start", "began")] {
        let told = format!("`{field}` of the mapping is mapped to `{column}`, which no row has");
        assert!(report["rejections"].to_string().contains(&told), "{told}: {report:#}");
    }
    // The good one of the same shape goes in beside them.
    let ran = world.run(&["ingest", "torn.parquet", "rows.parquet", "--map", "map.toml", "--json"]).expect(2);
    let report = ran.json();
    assert_eq!(report["spans"], 1, "{report:#}");
    assert!(report["unusable"].to_string().contains("torn.parquet"), "{report:#}");
}

/// `ASSIZE_TEST_LINES` says how many lines; a million takes minutes in a debug build.
#[test]
fn one_bad_line_among_many_costs_that_line_only() {
    let lines: u64 = std::env::var("ASSIZE_TEST_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let bad = lines / 2 + 1;
    let world = World::new();
    let mut file = std::io::BufWriter::new(fs::File::create(world.path("many.jsonl")).unwrap());
    for number in 1..=lines {
        if number == bad {
            writeln!(file, "{{\"resourceSpans\": [{{\"scopeSpans\"").unwrap();
        } else {
            writeln!(
                file,
                "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"{number:032x}\",\"spanId\":\"{number:016x}\",\
                 \"name\":\"n\",\"startTimeUnixNano\":\"{NANOS}\",\"endTimeUnixNano\":\"{}\"}}]}}]}}]}}",
                NANOS + number
            )
            .unwrap();
        }
    }
    drop(file);
    let report = world.run(&["ingest", "many.jsonl", "--json"]).expect(0).json();
    assert_eq!((&report["added"], &report["rejected"]), (&json!(lines - 1), &json!(1)), "{report:#}");
    let told = world.run(&["ingest", "--rejected", "--json"]).expect(0).json();
    assert_eq!(told["rows"][0]["line"], json!(bad), "{told:#}");
    assert_eq!(ask(&world, "SELECT COUNT(*) AS n FROM spans"), json!([{"n": lines - 1}]));
}

#[test]
fn a_truncated_gzip_keeps_its_beginning_and_says_that_it_breaks_off() {
    let world = World::new();
    let lines: Vec<String> = (1..=2_000).map(|number| line(&[span(number, &[("n", &number.to_string())])])).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(lines.join("\n").as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    world.write("cut.jsonl.gz", &packed[..packed.len() / 2]);
    let report = world.run(&["ingest", "cut.jsonl.gz", "--json"]).expect(2).json();
    let kept = report["added"].as_u64().unwrap();
    assert!((500..2_000).contains(&kept), "{report:#}");
    assert_eq!(report["cut_off"], 1, "{report:#}");
    says(&world.run(&["ingest", "cut.jsonl.gz"]).expect(2), &["1 file breaks off", "ingest the whole file again"]);
    world.write("whole.jsonl.gz", &packed);
    let report = world.run(&["ingest", "whole.jsonl.gz", "--json"]).expect(0).json();
    assert_eq!(report["added"].as_u64().unwrap(), 2_000 - kept);
}

#[test]
fn ids_in_every_form_are_one_id_and_all_zeros_are_none() {
    let hex = "4bedea77bb33b9c5f280371eae21e997";
    let number = r#""traceId":100927429609276267646756448943279827351,"#;
    let forms = [
        json!(hex),
        json!(hex.to_uppercase()),
        json!(format!("0x{hex}")),
        json!("S+3qd7szucXygDceriHplw=="),
        json!("S-3qd7szucXygDceriHplw"),
        json!("4bedea77-bb33-b9c5-f280-371eae21e997"),
        json!("100927429609276267646756448943279827351"),
    ];
    let mut lines: Vec<String> = (1..)
        .zip(&forms)
        .map(|(at, form)| {
            let mut span = span(at, &[]);
            span["traceId"] = form.clone();
            line(&[span])
        })
        .collect();
    // A number of 128 bits, which a reader of JSON would round.
    lines.push(line(&[span(8, &[])]).replace(&format!("\"traceId\":\"{:032x}\",", 8), number));
    let mut zero = span(9, &[]);
    zero["traceId"] = json!("0".repeat(32));
    lines.push(line(&[zero]));
    let mut orphan = span(10, &[]);
    orphan["traceId"] = json!(hex);
    orphan["parentSpanId"] = json!("0".repeat(16));
    lines.push(line(&[orphan]));
    let world = World::new();
    world.write("ids.jsonl", lines.join("\n"));
    let report = world.run(&["ingest", "ids.jsonl", "--json"]).expect(0).json();
    assert_eq!((&report["traces"], &report["spans"]), (&json!(1), &json!(9)), "{report:#}");
    assert_eq!(report["rejected"], 1, "{report:#}");
    assert!(report["rejections"][0].as_str().unwrap().contains("all zeros"), "{report:#}");
    let found = ask(&world, "SELECT trace_id, COUNT(*) AS n, COUNT(parent_id) AS parents FROM spans GROUP BY trace_id");
    assert_eq!(found, json!([{"trace_id": hex, "n": 9, "parents": 0}]));
}

#[test]
fn times_in_every_form_are_one_moment_and_clocks_that_run_backwards_are_stated() {
    let forms = [
        json!(NANOS),
        json!(NANOS.to_string()),
        json!("2026-11-21T08:00:00.1Z"),
        json!("2026-11-21T09:00:00.100+01:00"),
        // Without an offset: UTC.
        json!("2026-11-21T08:00:00.100"),
        json!("2026-11-21 08:00:00.1"),
        json!([1_795_248_000, 100_000_000]),
    ];
    let mut lines: Vec<String> = (1..)
        .zip(&forms)
        .map(|(at, form)| {
            let mut span = span(at, &[]);
            span["startTimeUnixNano"] = form.clone();
            line(&[span])
        })
        .collect();
    let mut back = span(8, &[]);
    back["endTimeUnixNano"] = json!((NANOS - 5).to_string());
    let mut child = span(9, &[]);
    child["traceId"] = back["traceId"].clone();
    child["parentSpanId"] = back["spanId"].clone();
    child["startTimeUnixNano"] = json!((NANOS - 3_600_000_000_000).to_string());
    child["endTimeUnixNano"] = json!((NANOS - 3_599_000_000_000).to_string());
    lines.push(line(&[back, child]));
    let world = World::new();
    world.write("times.jsonl", lines.join("\n"));
    let report = world.run(&["ingest", "times.jsonl", "--json"]).expect(0).json();
    assert_eq!((&report["spans"], &report["rejected"]), (&json!(9), &json!(0)), "{report:#}");
    assert_eq!(report["faults"], json!({"end before start": 1}), "{report:#}");
    let moments = ask(&world, "SELECT start, COUNT(*) AS n FROM spans GROUP BY start ORDER BY start");
    assert_eq!(
        moments,
        json!([{"start": "2026-11-21T07:00:00.1Z", "n": 1}, {"start": "2026-11-21T08:00:00.1Z", "n": 8}])
    );
    let backwards = ask(&world, "SELECT span_id, duration_ms FROM spans WHERE duration_ms IS NULL");
    assert_eq!(backwards, json!([{"span_id": format!("{:016x}", 8), "duration_ms": null}]));
    let shown = world.run(&["traces", "show", &format!("{:032x}", 8)]).expect(0);
    says(&shown, &["fault     span 0000000000000008 ends before it starts", "2026-11-21 07:00:00.100"]);
}

#[test]
fn half_a_character_inside_a_message_costs_that_character_only() {
    let messages = r#"[{"role":"user","content":"cut in the middle \ud83d"}]"#;
    let world = World::new();
    let attributes = [("gen_ai.operation.name", "chat"), ("gen_ai.input.messages", messages)];
    world.write("half.jsonl", line(&[span(1, &attributes)]));
    let report = world.run(&["ingest", "half.jsonl", "--json"]).expect(0).json();
    assert_eq!(report["files"][0]["ignored"], json!({"halves of characters, replaced": 1}), "{report:#}");
    world.run(&["sample", "kept", "--count", "1"]).expect(0);
    let shown = world.run(&["dataset", "show", "kept", "--json"]).expect(0).json();
    assert_eq!(shown["examples"][0]["input"], "cut in the middle \u{fffd}", "{shown:#}");
}

/// Everything that can be asked of a lake, in order, but for the folder that the export lay in.
fn lake(world: &World) -> Vec<String> {
    let folder = world.folder().to_str().unwrap();
    [
        "SELECT * FROM spans ORDER BY trace_id, span_id",
        "SELECT * FROM traces ORDER BY trace_id",
        "SELECT * FROM scores ORDER BY digest",
        "SELECT * FROM sessions ORDER BY session_id",
    ]
    .map(|sql| ask(world, sql).to_string().replace(folder, ""))
    .to_vec()
}

fn parts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            parts(&path, found);
        } else if path.extension().is_some_and(|end| end == "parquet") {
            found.push(path);
        }
    }
}

fn part_names(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    parts(&world.path(".assize/lake"), &mut found);
    let mut names: Vec<String> =
        found.iter().map(|part| part.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Whole conversations, with evaluators' scores and a line that is turned away, over several days.
fn export() -> String {
    let mut lines = Vec::new();
    for number in 1..=6_000_u64 {
        let day = (number % 3) * 86_400_000_000_000;
        let (text, session) = (format!("question {number} {}", "word ".repeat(60)), format!("s-{}", number % 50));
        let messages = json!([{"role": "user", "content": text}]).to_string();
        let attributes = [
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.input.messages", messages.as_str()),
            ("session.id", session.as_str()),
        ];
        let mut call = span(number, &attributes);
        call["traceId"] = json!(format!("{:032x}", number / 2 + 1));
        call["startTimeUnixNano"] = json!((NANOS + day).to_string());
        call["endTimeUnixNano"] = json!((NANOS + day + number).to_string());
        lines.push(line(&[call]));
        if number % 100 == 0 {
            lines.push(format!("{{\"resourceSpans\": [{number}"));
        }
    }
    lines.join("\n")
}

#[test]
fn an_ingest_that_was_killed_and_run_again_gives_the_lake_of_one_that_was_not() {
    let text = export();
    let whole = World::new();
    whole.write("in.jsonl", &text);
    let begun = Instant::now();
    whole.run(&["ingest", "in.jsonl"]).expect(0);
    let took = begun.elapsed();
    let expected = lake(&whole);
    assert_eq!(expected[0].matches("\"span_id\":").count(), 6_000);
    let mut interrupted = 0;
    // Early, in the middle, late: while reading, while parts are written, while they are put in place.
    for share in [0.2, 0.5, 0.8, 0.95] {
        let world = World::new();
        world.write("in.jsonl", &text);
        let mut child = world.start(&["ingest", "in.jsonl"]);
        std::thread::sleep(Duration::from_secs_f64(took.as_secs_f64() * share));
        interrupted += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        let again = world.run(&["ingest", "in.jsonl", "--json"]).expect(0).json();
        assert_eq!(again["rejected"], 60, "{again:#}");
        assert!(lake(&world) == expected, "killed after {share} of {took:?}");
        let kept = world.run(&["ingest", "--rejected", "--json"]).expect(0).json();
        assert_eq!(kept["rows"].as_array().unwrap().len(), 60, "each is told once");
        for world in [&world, &whole] {
            world.run(&["lake", "compact"]).expect(0);
        }
        assert_eq!(part_names(&world), part_names(&whole), "killed after {share} of {took:?}");
    }
    assert!(interrupted > 0, "no ingest was still running when it was killed");
}

#[test]
fn what_bounds_a_pull_is_refused_where_a_file_is_read() {
    let world = World::new();
    world.write("good.jsonl", line(&[span(1, &[])]));
    for arguments in [&["--since", "7d"][..], &["--until", "2026-01-01"], &["--limit", "5"], &["--restart"]] {
        let ran = world.run(&[&["ingest", "good.jsonl"], arguments].concat()).expect(2);
        says(&ran, &[arguments[0], "good.jsonl", "a file, which is read whole"]);
    }
    assert_eq!(world.run(&["lake", "stats", "--json"]).expect(0).json()["spans"], 0);
}
