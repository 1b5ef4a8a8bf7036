//! Redaction through the binary: nothing that is to be taken out is in any file or on the terminal afterwards.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
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
    let ran = rejecting.run(&["ingest", "in.jsonl", "--json"]).expect(2);
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

/// More than one piece of work: a few hundred lines, 200 KiB at least, each with a name to find.
fn long_file() -> String {
    let note = |number| json!({"note": format!("für Frau Grüning, Fall {number}: {}", "lang und breit ".repeat(40))});
    let text: String = (1..=300).map(|number| format!("{}\n", line(&[span(number, &note(number))]))).collect();
    assert!(text.len() > 200 << 10, "{}", text.len());
    text
}

#[test]
fn a_service_is_asked_about_large_files_too() {
    let world = World::new();
    world.write("in.jsonl", long_file());
    let url = service(Arc::default(), "200 OK");
    world.write("assize.toml", format!("[redact.detector]\nurl = \"{url}\"\naction = \"mask\"\n"));
    let ran = world.run(&["ingest", "in.jsonl", "--json"]).expect(0);
    assert_eq!((ran.json()["added"].as_u64(), ran.json()["rejected"].as_u64()), (Some(300), Some(0)));
    assert_eq!(ran.json()["redacted"]["rules"]["detector:person"], 300, "{}", ran.stdout);
    assert_eq!(leaks(&world, &ran, "Grüning"), Vec::<String>::new());
}

#[test]
fn no_more_programs_run_than_there_are_processors() {
    let program = r#"
import json, os, sys
open("started.%d" % os.getpid(), "w").close()
for line in sys.stdin:
    texts = json.loads(line)["texts"]
    found = [[{"start": t.find("Grüning"), "end": t.find("Grüning") + 7, "kind": "person"}] if "Grüning" in t else [] for t in texts]
    print(json.dumps({"results": found}), flush=True)
"#;
    let world = World::new();
    world.write("detector.py", program);
    world.write("in.jsonl", long_file());
    world.write("assize.toml", "[redact.detector]\ncommand = [\"python3\", \"detector.py\"]\nbatch = 4\n");
    let ran = world.run(&["ingest", "in.jsonl", "--json"]).expect(0);
    assert_eq!(ran.json()["redacted"]["rules"]["detector:person"], 300, "{}", ran.stdout);
    let names = fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let started = names.filter(|name| name.to_string_lossy().starts_with("started.")).count();
    let processors = thread::available_parallelism().unwrap().get();
    assert!((1..=processors).contains(&started), "{started} programs for {processors} processors");
}

/// A receiver of its own, ended with the test.
struct Serving(Child, String);

impl Serving {
    fn start(world: &World) -> Self {
        let mut child = world.start(&["serve", "--otlp", "127.0.0.1:0", "--json"]);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let at = lines.find_map(|line| Some(line.unwrap().split_once("over HTTP on http://")?.1.to_owned()));
        let at = at.expect("the receiver says where it listens").trim_end_matches("/v1/traces").to_owned();
        thread::spawn(move || lines.for_each(drop));
        Self(child, at)
    }

    fn post(&self, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        let head =
            format!("host: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        stream.write_all(format!("POST /v1/traces HTTP/1.1\r\n{head}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }

    fn stop(mut self) -> i32 {
        assert!(Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap().success());
        self.0.wait().unwrap().code().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A good span and one that is turned away, with a name and an address.
fn sent() -> String {
    let note = json!({"note": format!("für Frau Grüning, {MAIL}")});
    let mut bad = span(2, &note);
    bad["traceId"] = json!(format!("no id, Frau Grüning {MAIL}"));
    line(&[span(1, &note), bad])
}

#[test]
fn what_is_received_is_looked_at_before_it_is_on_disk() {
    let world = World::new();
    let url = service(Arc::default(), "200 OK");
    world.write("assize.toml", format!("[redact]\npersonal = \"mask\"\n\n[redact.detector]\nurl = \"{url}\"\n"));
    let serving = Serving::start(&world);
    let (status, answer) = serving.post(&sent());
    assert_eq!(status, 200, "{answer}");
    let check = |when: &str| {
        for value in ["Grüning", MAIL] {
            let mut found = Vec::new();
            files_with(world.folder(), value, &mut found);
            assert!(found.is_empty() && !answer.contains(value), "{when}: {value} in {found:?} or {answer}");
        }
    };
    let mut spooled = Vec::new();
    files_with(world.folder(), "Frau [person]", &mut spooled);
    assert!(spooled.iter().any(|file| file.contains("spool")), "{spooled:?}");
    check("in the spool");
    assert_eq!(serving.stop(), 0);
    check("in the lake");
    assert!(world.read(".assize/lake/rejected.jsonl").contains("[person]"));
    let shown = world.run(&["traces", "show", &format!("{:032x}", 1), "--json"]).expect(0).json();
    assert_eq!(shown["spans"][0]["attributes"]["note"], "für Frau [person], [email]");
}

#[test]
fn a_receiver_whose_detector_fails_has_it_sent_again() {
    let world = World::new();
    let url = service(Arc::default(), "500 Internal Server Error");
    world.write("assize.toml", format!("[redact.detector]\nurl = \"{url}\"\non_error = \"reject\"\n"));
    let serving = Serving::start(&world);
    let (status, answer) = serving.post(&sent());
    assert!(status == 503 && answer.contains("it answered 500") && !answer.contains("Grüning"), "{answer}");
    let mut found = Vec::new();
    files_with(world.folder(), "Grüning", &mut found);
    assert_eq!((serving.stop(), found), (0, Vec::new()));
}

/// Messages that came as log records and as events beside the attributes that say them.
fn logged() -> String {
    let ids = |number: u32| (format!("{number:032x}"), format!("{number:016x}"));
    let log = |name: &str, attributes: Value, body: Value| {
        let (trace, span) = ids(1);
        let pair = |(key, value): (&String, &Value)| json!({"key": key, "value": {"stringValue": value}});
        let list = |value: &Value| value.as_object().unwrap().iter().map(pair).collect::<Vec<_>>();
        json!({"timeUnixNano": "1795248000200000000", "traceId": trace, "spanId": span, "eventName": name,
            "attributes": list(&attributes), "body": {"kvlistValue": {"values": list(&body)}}})
    };
    let none = || json!({});
    let messages = json!([{"role": "user", "content": "MARK-IN"}]).to_string();
    let records = [
        log("gen_ai.system.message", none(), json!({"content": "MARK-IN"})),
        log("gen_ai.user.message", none(), json!({"content": "MARK-IN"})),
        log("gen_ai.assistant.message", none(), json!({"content": "MARK-IN"})),
        log("gen_ai.tool.message", none(), json!({"content": "MARK-IN"})),
        log("gen_ai.content.prompt", json!({"gen_ai.prompt": "MARK-IN"}), none()),
        log("gen_ai.client.inference.operation.details", json!({"gen_ai.input.messages": messages}), none()),
        log(
            "gen_ai.choice",
            none(),
            json!({"message": json!({"content": "MARK-OUT"}).to_string(), "finish_reason": "stop"}),
        ),
    ];
    let mut told = span(2, &json!({"gen_ai.operation.name": "chat", "gen_ai.input.messages": messages}));
    told["events"] = json!([{"name": "gen_ai.user.message", "timeUnixNano": "1795248000200000000",
        "attributes": [{"key": "content", "value": {"stringValue": "MARK-IN"}}]}]);
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]});
    format!("{logs}\n{}\n", line(&[span(1, &json!({"gen_ai.operation.name": "chat"})), told]))
}

#[test]
fn a_rule_for_messages_holds_for_those_that_came_as_events() {
    for (rule, gone, stays) in [("messages_in", "MARK-IN", "MARK-OUT"), ("messages_out", "MARK-OUT", "MARK-IN")] {
        let world = World::new();
        world.write("in.jsonl", logged());
        world.write("assize.toml", format!("[redact.fields]\n{rule} = \"drop\"\n"));
        let ran = world.run(&["ingest", "in.jsonl", "--json"]).expect(0);
        assert_eq!(leaks(&world, &ran, gone), Vec::<String>::new(), "{rule}");
        assert!(!leaks(&world, &ran, stays).is_empty(), "{rule}");
        assert!(ran.json()["redacted"]["fields"][rule].as_u64() >= Some(2), "{}", ran.stdout);
    }
    let plain = World::new();
    plain.write("in.jsonl", logged());
    let ran = plain.run(&["ingest", "in.jsonl"]).expect(0);
    assert!(!leaks(&plain, &ran, "MARK-IN").is_empty() && !leaks(&plain, &ran, "MARK-OUT").is_empty());
}

#[test]
fn rejected_rows_of_an_import_are_looked_at_whole() {
    let world = world("[redact]\npersonal = \"mask\"\n");
    // The address stands where a long value is cut in two.
    let cut = format!("{}{MAIL} {}", "x ".repeat(23), "y".repeat(200));
    let bad = |value: &str| format!("{}\n", json!({"id": "2", "input": "b", "inclusion_probability": value}));
    let good = format!("{}\n", json!({"id": "1", "input": "a"}));
    world.write("qa.jsonl", format!("{good}{}{}", bad(MAIL), bad(&cut)));
    let plain = world.run(&["dataset", "import", "plain", "qa.jsonl", "--json"]).expect(0);
    assert!(plain.stdout.contains("ann.mill") && plain.stdout.contains("characters left out"), "{}", plain.stdout);
    let ran = world.run(&["dataset", "import", "qa", "qa.jsonl", "--redact", "--json"]).expect(0);
    assert!(!ran.stdout.contains("ann.m") && ran.stdout.contains("[email]"), "{}", ran.stdout);
    assert_eq!(ran.json()["rejected"], 2);
    // Where every row is turned away, the error tells the first.
    world.write("bad.jsonl", bad(MAIL));
    let ran = world.run(&["dataset", "import", "bad", "bad.jsonl", "--redact"]).expect(2);
    assert!(!ran.stderr.contains(MAIL) && ran.stderr.contains("[email]"), "{}", ran.stderr);
}

/// A bucket with two exports, one of which is gone once it is asked for.
fn bucket() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let good = format!("{}\n", line(&[span(1, &json!({"note": "good"}))]));
        let entry = |key: &str| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                good.len()
            )
        };
        let list = format!(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix>in</Prefix><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{}{}</ListBucketResult>",
            entry("in/a.jsonl"),
            entry("in/b.jsonl")
        );
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut first, mut head) = (String::new(), String::new());
            stream.read_line(&mut first).unwrap();
            while stream.read_line(&mut head).unwrap() > 2 {
                head.clear();
            }
            let (status, body) = match () {
                () if first.contains("a.jsonl") => ("404 Not Found", "<Error><Message>gone</Message></Error>"),
                () if first.contains("b.jsonl") => ("200 OK", good.as_str()),
                () => ("200 OK", list.as_str()),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    format!("http://{address}")
}

#[test]
fn an_object_that_cannot_be_fetched_costs_that_one_only() {
    let mut world = World::new();
    world.set("AWS_ACCESS_KEY_ID", "id");
    world.set("AWS_SECRET_ACCESS_KEY", "hush");
    world.write("assize.toml", format!("[s3]\nendpoint = \"{}\"\n", bucket()));
    let ran = world.run(&["ingest", "s3://b/in", "--json"]).expect(2);
    assert_eq!(ran.json()["added"], 1, "{}", ran.stdout);
    let unusable = ran.json()["unusable"].to_string();
    assert!(unusable.contains("cannot fetch `s3://b/in/a.jsonl`") && unusable.contains("gone"), "{unusable}");
}
