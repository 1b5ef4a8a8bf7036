//! Redaction through the binary: nothing that is to be taken out is in any file or on the terminal afterwards.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::world::{Ran, World};

const KEY: &str = "sk-ant-api03-Zk3jd82hWq9sLmN4vB7xYt0uQ1w2E3r4";
const MAIL: &str = "ann.miller@example.com";

fn span(number: u32, attributes: &Value) -> Value {
    let pair = |(key, value): (&String, &Value)| json!({"key": key, "value": {"stringValue": value}});
    let attributes: Vec<Value> = attributes.as_object().unwrap().iter().map(pair).collect();
    json!({"traceId": format!("{number:032x}"), "spanId": format!("{number:016x}"), "name": "chat",
        "startTimeUnixNano": "1795248000100000000", "endTimeUnixNano": "1795248000900000000", "attributes": attributes})
}

fn line(spans: &[Value]) -> String {
    json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": spans}]}]}).to_string()
}

/// Two good spans, one that is turned away, one line that is no JSON; all of them hold a key and an address.
fn traces() -> String {
    let messages = json!([{"role": "user", "content": format!("I am {MAIL}, use {KEY}")}]).to_string();
    let chat = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "user.id": MAIL,
        "gen_ai.input.messages": messages, "gen_ai.usage.input_tokens": "12"});
    let tool = json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "mail",
        "gen_ai.tool.call.arguments": json!({"to": MAIL, "password": "correcthorse", "body": json!({"key": KEY}).to_string()}).to_string()});
    let mut bad = span(3, &json!({"note": format!("{MAIL} {KEY}")}));
    bad["traceId"] = json!(format!("not an id but {KEY} of {MAIL}"));
    format!(
        "{}\n{}\n{{\"resourceSpans\": [{{\"broken\": \"{KEY} {MAIL}\"\n",
        line(&[span(1, &chat), bad]),
        line(&[span(2, &tool)])
    )
}

/// Every byte in the folder, Parquet read through the binary, and what was printed.
fn leaks(world: &World, ran: &Ran, value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        if text.contains(value) {
            found.push(name.to_owned());
        }
    }
    for id in ["1", "2"] {
        let id = format!("{:0>32}", id);
        let shown = world.run(&["traces", "show", &id, "--json"]);
        if shown.stdout.contains(value) {
            found.push(format!("trace {id}"));
        }
    }
    files_with(world.folder(), value, &mut found);
    found
}

fn files_with(folder: &Path, value: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_with(&path, value, found);
        } else if path.file_name().is_some_and(|name| name != "in.jsonl" && name != "assize.toml")
            && fs::read(&path).unwrap().windows(value.len()).any(|window| window == value.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
}

fn world(config: &str) -> World {
    let world = World::new();
    world.write("in.jsonl", traces());
    world.write("assize.toml", config);
    world
}

#[test]
fn secrets_never_reach_a_file_and_addresses_only_when_they_may() {
    let world = world("");
    let ran = world.run(&["ingest", "in.jsonl"]).expect(0);
    assert_eq!(leaks(&world, &ran, KEY), Vec::<String>::new());
    assert_eq!(leaks(&world, &ran, "correcthorse"), Vec::<String>::new());
    assert!(ran.stdout.contains("Redacted before writing:") && ran.stdout.contains("anthropic_key"), "{}", ran.stdout);
    assert!(!leaks(&world, &ran, MAIL).is_empty(), "personal data is not asked for");
}

#[test]
fn personal_data_is_taken_out_of_spans_rejected_rows_and_messages() {
    let world = world("[redact]\npersonal = \"mask\"\n");
    let ran = world.run(&["ingest", "in.jsonl", "--json"]).expect(0);
    for value in [KEY, MAIL, "correcthorse"] {
        assert_eq!(leaks(&world, &ran, value), Vec::<String>::new(), "{value}");
    }
    let report = ran.json();
    assert_eq!(report["rejected"], 2, "{report}");
    assert!(world.read(".assize/lake/rejected.jsonl").contains("[email]"));
    let account = &report["redacted"];
    assert!(account["fields"]["messages_in"].as_u64() >= Some(2), "{account}");
    assert!(account["fields"]["tool.arguments"].as_u64() >= Some(3), "{account}");
    assert_eq!(account["fields"]["user_id"], 1, "{account}");
}

#[test]
fn pseudonyms_join_across_files_and_need_a_key() {
    let config = "[redact]\npersonal = \"pseudonym\"\nfields = { user_id = \"pseudonym\" }\n";
    let mut keyed = world(config);
    keyed.set("ASSIZE_REDACT_KEY", "a long enough key for a test");
    let user = |world: &World| {
        world.run(&["ingest", "in.jsonl"]).expect(0);
        let shown = world.run(&["traces", "show", &format!("{:0>32}", 1), "--json"]).expect(0).json();
        let user = shown["spans"][0]["user_id"].as_str().unwrap().to_owned();
        let text = shown["spans"][0]["messages_in"].to_string();
        (user, text)
    };
    let (name, text) = user(&keyed);
    let digest = name.strip_prefix("[user_id:").and_then(|rest| rest.strip_suffix(']')).unwrap();
    assert!(digest.len() == 12 && text.contains(&format!("[email:{digest}]")), "{name} in {text}");
    let mut again = world(config);
    again.set("ASSIZE_REDACT_KEY", "a long enough key for a test");
    assert_eq!(user(&again).0, name);
    let plain = world(config);
    let ran = plain.run(&["ingest", "in.jsonl"]).expect(0);
    assert!(ran.stderr.contains("`ASSIZE_REDACT_KEY` is not set"), "{}", ran.stderr);
    assert_eq!(user(&plain).0, "[user_id]");
}

#[test]
fn nothing_is_taken_out_when_that_is_asked_for() {
    let world = world("[redact]\npersonal = \"mask\"\n");
    let ran = world.run(&["ingest", "in.jsonl", "--no-redact"]).expect(0);
    assert!(!leaks(&world, &ran, KEY).is_empty() && !leaks(&world, &ran, MAIL).is_empty());
}

#[test]
fn a_detector_that_fails_stops_the_reading_or_costs_the_rows() {
    let config = |on_error: &str| {
        format!("[redact.detector]\ncommand = [\"sh\", \"-c\", \"read line; exit 1\"]\non_error = \"{on_error}\"\n")
    };
    let stopped = world(&config("stop"));
    let ran = stopped.run(&["ingest", "in.jsonl"]).expect(3);
    assert!(
        ran.stderr.contains("the detector under `[redact.detector]` failed: it ended without an answer"),
        "{}",
        ran.stderr
    );
    assert_eq!(leaks(&stopped, &ran, MAIL), Vec::<String>::new());

    let rejecting = world(&config("reject"));
    let ran = rejecting.run(&["ingest", "in.jsonl", "--json"]).expect(0);
    assert_eq!((ran.json()["added"].as_u64(), ran.json()["rejected"].as_u64()), (Some(0), Some(4)), "{}", ran.stdout);
    assert_eq!(leaks(&rejecting, &ran, MAIL), Vec::<String>::new());

    let going_on = world(&config("continue"));
    let ran = going_on.run(&["ingest", "in.jsonl", "--json"]).expect(0);
    assert_eq!(ran.json()["added"], 2);
    assert!(ran.stdout.contains("records the detector did not look at"), "{}", ran.stdout);
}

#[test]
fn a_program_finds_names_and_is_asked_line_by_line() {
    let program = r#"
import json, re, sys
for line in sys.stdin:
    texts = json.loads(line)["text"]
    found = [[{"start": m.start(), "end": m.end(), "entity_type": "PERSON", "score": 0.9} for m in re.finditer("Grüning", t)] for t in texts]
    print(json.dumps(found), flush=True)
"#;
    let world = World::new();
    world.write("detector.py", program);
    world.write(
        "assize.toml",
        "[redact.detector]\ncommand = [\"python3\", \"detector.py\"]\nform = \"presidio\"\nbatch = 2\n",
    );
    let spans: Vec<Value> =
        (1..=20).map(|number| span(number, &json!({"note": format!("für Frau Grüning, Fall {number}")}))).collect();
    world.write("in.jsonl", line(&spans));
    let ran = world.run(&["ingest", "in.jsonl", "--json"]).expect(0);
    assert_eq!(ran.json()["redacted"]["rules"]["detector:person"], 20, "{}", ran.stdout);
    let shown = world.run(&["traces", "show", &format!("{:032x}", 20), "--json"]).expect(0).json();
    assert_eq!(shown["spans"][0]["attributes"]["note"], "für Frau [person], Fall 20");
}

#[test]
fn a_wrong_policy_is_told_with_its_lines() {
    let world = world(
        "[redact]\npersonal = \"msk\"\nkinds = { emial = \"mask\" }\n\n[[redact.patterns]]\nname = \"x\"\npattern = \"(\"\n",
    );
    let ran = world.run(&["ingest", "in.jsonl"]).expect(2);
    for expected in [
        "assize.toml:2: `redact.personal`",
        "assize.toml:3: `redact.kinds.emial`",
        "assize.toml:7: `redact.patterns[0].pattern`",
    ] {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

#[test]
fn an_import_is_redacted_when_asked() {
    let world = world("[redact]\npersonal = \"mask\"\n");
    world.write("qa.jsonl", format!("{}\n", json!({"id": "1", "input": format!("I am {MAIL}"), "reference": KEY})));
    world.run(&["dataset", "import", "plain", "qa.jsonl"]).expect(0);
    let ran = world.run(&["dataset", "import", "qa", "qa.jsonl", "--redact"]).expect(0);
    assert!(ran.stdout.contains("Redacted before writing: 2 values"), "{}", ran.stdout);
    let kept = world.run(&["dataset", "export", "qa"]).expect(0).stdout;
    assert!(!kept.contains(MAIL) && !kept.contains(KEY) && kept.contains("I am [email]"), "{kept}");
    assert!(world.run(&["dataset", "export", "plain"]).expect(0).stdout.contains(MAIL));
}

/// A service that finds `Grüning` in whatever it is sent, and counts how often it was asked.
fn service(asked: Arc<AtomicUsize>, status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut length, mut head) = (0, String::new());
            while stream.read_line(&mut head).unwrap() > 2 {
                let lower = head.to_lowercase();
                length = lower.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
                head.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            asked.fetch_add(1, Ordering::SeqCst);
            let question: Value = serde_json::from_slice(&body).unwrap();
            let results: Vec<Value> = question["texts"].as_array().unwrap().iter().map(found_in).collect();
            let answer = json!({"results": results}).to_string();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
            stream.get_mut().write_all(format!("{head}{answer}").as_bytes()).unwrap();
        }
    });
    format!("http://{address}/detect")
}

fn found_in(text: &Value) -> Value {
    let text = text.as_str().unwrap();
    let at = text.find("Grüning").map(|at| text[..at].chars().count());
    at.map_or(json!([]), |start| json!([{"start": start, "end": start + 7, "kind": "person"}]))
}

#[test]
fn a_service_is_asked_in_batches_and_its_failure_names_no_text() {
    let spans: Vec<Value> =
        (1..=30).map(|number| span(number, &json!({"note": format!("für Frau Grüning, Fall {number}")}))).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let world = World::new();
    world.write("in.jsonl", line(&spans));
    let config = |url: &str| format!("[redact.detector]\nurl = \"{url}\"\nbatch = 10\naction = \"mask\"\n");
    world.write("assize.toml", config(&service(asked.clone(), "200 OK")));
    let ran = world.run(&["ingest", "in.jsonl", "--json"]).expect(0);
    assert_eq!(ran.json()["redacted"]["rules"]["detector:person"], 30, "{}", ran.stdout);
    // Thirty notes and one name, which is the same in all of them: some more than three questions, far from sixty.
    let questions = asked.load(Ordering::SeqCst);
    assert!((3..=8).contains(&questions), "{questions}");
    assert!(leaks(&world, &ran, "Grüning").is_empty());
    let broken = World::new();
    broken.write("in.jsonl", line(&spans));
    broken.write("assize.toml", config(&service(asked, "500 Internal Server Error")));
    let ran = broken.run(&["ingest", "in.jsonl"]).expect(3);
    assert!(ran.stderr.contains("it answered 500") && !ran.stderr.contains("Frau"), "{}", ran.stderr);
}
