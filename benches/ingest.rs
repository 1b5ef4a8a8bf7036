//! What reading traces costs: the real binary on a generated file of OTLP JSON lines, beside bare parsers of the file.
//!
//! `cargo bench --bench ingest [-- SPANS]` writes a seeded file of agents' traces (100,000 spans unless told otherwise,
//! about 1.6 kB each, traces spread over batches as a Collector spreads them), then prints time, speed and peak memory
//! of `assize ingest`, of the same again (nothing is new), and of `assize sample`, with the time of a bare `simd-json`
//! parse and of Python's `orjson` loop where that is installed. Figures are read, never asserted.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark speaks, and stops at the first surprise")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};

const WORDS: &[&str] = &[
    "the", "refund", "order", "was", "sent", "to", "customer", "policy", "allows", "return", "within", "thirty",
    "days", "of", "delivery", "when", "seal", "is", "intact", "agent", "confirms", "address", "and", "invoice",
];
const BATCH: usize = 64;

fn text(random: &mut Pcg64, words: usize) -> String {
    (0..words).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect::<Vec<_>>().join(" ")
}

fn pair(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn count(key: &str, value: u32) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn trace(random: &mut Pcg64, number: u64) -> Vec<Value> {
    let id = format!("{:016x}{number:016x}", random.random::<u64>() | 1);
    let session = format!("conv-{}", number / 3);
    let begin = 1_760_000_000_000_000_000 + number * 40_000_000;
    let root = format!("{:016x}", random.random::<u64>() | 1);
    let mut spans =
        vec![json!({"traceId": id, "spanId": root, "parentSpanId": "", "name": "invoke_agent support", "kind": 1,
        "startTimeUnixNano": begin.to_string(), "endTimeUnixNano": (begin + 9_000_000_000).to_string(), "status": {},
        "attributes": [pair("gen_ai.operation.name", "invoke_agent"), pair("gen_ai.agent.name", "support"),
            pair("gen_ai.conversation.id", &session), pair("user.id", &format!("u{}", number % 977))]})];
    for step in 0..random.random_range(4..16_u64) {
        let (words_in, words_out) = (random.random_range(20..120), random.random_range(10..80));
        let (asked, answered) = (text(random, words_in), text(random, words_out));
        let at = begin + step * 500_000_000;
        let message =
            |role: &str, text: &str| json!([{"role": role, "parts": [{"type": "text", "content": text}]}]).to_string();
        let attributes = if step % 3 == 1 {
            vec![
                pair("gen_ai.operation.name", "execute_tool"),
                pair("gen_ai.tool.name", "lookup_order"),
                pair("gen_ai.tool.call.arguments", &json!({"query": asked}).to_string()),
                pair("gen_ai.tool.call.result", &json!({"found": answered}).to_string()),
            ]
        } else {
            vec![
                pair("gen_ai.operation.name", "chat"),
                pair("gen_ai.provider.name", "openai"),
                pair("gen_ai.request.model", "gpt-4o-mini"),
                pair("gen_ai.conversation.id", &session),
                pair("gen_ai.response.finish_reasons", "stop"),
                pair("server.address", "api.openai.com"),
                count("gen_ai.usage.input_tokens", random.random_range(50..5_000)),
                count("gen_ai.usage.output_tokens", random.random_range(5..900)),
                pair("gen_ai.input.messages", &message("user", &asked)),
                pair("gen_ai.output.messages", &message("assistant", &answered)),
            ]
        };
        spans.push(
            json!({"traceId": id, "spanId": format!("{:016x}", random.random::<u64>() | 1), "parentSpanId": root,
            "name": if step % 3 == 1 { "execute_tool lookup_order" } else { "chat gpt-4o-mini" }, "kind": 3,
            "startTimeUnixNano": at.to_string(), "endTimeUnixNano": (at + 400_000_000).to_string(), "status": {},
            "attributes": attributes}),
        );
    }
    spans
}

fn generate(path: &Path, wanted: usize) -> usize {
    let mut random = Pcg64::seed_from_u64(11);
    let mut out = BufWriter::new(File::create(path).unwrap());
    let resource = json!({"attributes": [pair("service.name", "agents"), pair("service.version", "2.14.1"),
        pair("deployment.environment.name", "prod"), pair("host.name", "node-07"), pair("telemetry.sdk.language", "python")]});
    let (mut waiting, mut written, mut traces) = (Vec::new(), 0, 0);
    while written + waiting.len() < wanted {
        waiting.extend(trace(&mut random, traces));
        traces += 1;
        while waiting.len() >= 4 * BATCH {
            let batch: Vec<Value> =
                (0..BATCH).map(|_| waiting.swap_remove(random.random_range(0..waiting.len()))).collect();
            written += batch.len();
            write_batch(&mut out, &resource, batch);
        }
    }
    written += waiting.len();
    write_batch(&mut out, &resource, waiting);
    out.flush().unwrap();
    written
}

fn write_batch(out: &mut impl Write, resource: &Value, spans: Vec<Value>) {
    let line = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "bench"}, "spans": spans}]}]});
    serde_json::to_writer(&mut *out, &line).unwrap();
    out.write_all(b"\n").unwrap();
}

struct Figures {
    wall: f64,
    peak_mb: f64,
    said: String,
}

/// Runs the binary and watches its memory, which the system counts at its peak.
fn measure(folder: &Path, arguments: &[&str]) -> Figures {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_assize"))
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        peak = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).map_or(peak, |kb: f64| kb.max(peak));
        std::thread::sleep(Duration::from_millis(5));
    }
    let wall = begun.elapsed().as_secs_f64();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Figures { wall, peak_mb: peak / 1024.0, said: String::from_utf8_lossy(&output.stdout).into_owned() }
}

/// A bare parse of every line into a tree, as the reader of a file would do it.
fn bare(path: &Path) -> f64 {
    let begun = Instant::now();
    let mut objects = 0;
    for line in BufReader::new(File::open(path).unwrap()).split(b'\n') {
        let mut line = line.unwrap();
        let value = simd_json::to_borrowed_value(&mut line).unwrap();
        objects += usize::from(matches!(value, simd_json::BorrowedValue::Object(_)));
    }
    assert!(objects > 0);
    begun.elapsed().as_secs_f64()
}

const PYTHON: &str = "
import sys, time, orjson
begun = time.time(); spans = 0
for line in open(sys.argv[1], 'rb'):
    for group in orjson.loads(line)['resourceSpans']:
        for scoped in group['scopeSpans']:
            for span in scoped['spans']:
                flat = {a['key']: next(iter(a['value'].values())) for a in span['attributes']}
                for key in ('gen_ai.input.messages', 'gen_ai.output.messages'):
                    if key in flat: flat[key] = orjson.loads(flat[key])
                spans += 1
print(time.time() - begun)
";

fn python(path: &Path) -> Option<f64> {
    let output = Command::new("python3").args(["-c", PYTHON]).arg(path).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn main() {
    let wanted = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(100_000);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let spans = generate(&file, wanted);
    let megabytes = fs::metadata(&file).unwrap().len() as f64 / 1e6;
    println!("{spans} spans, {megabytes:.0} MB\n");
    let parse = bare(&file).min(bare(&file));
    println!("| what | wall s | MB/s | against simd-json | peak MB |\n|---|---|---|---|---|");
    let row = |what: &str, wall: f64, peak: Option<f64>| {
        let peak = peak.map_or_else(|| "-".to_owned(), |peak| format!("{peak:.0}"));
        println!("| {what} | {wall:.2} | {:.0} | {:.2} | {peak} |", megabytes / wall, parse / wall);
    };
    row("bare simd-json parse", parse, None);
    if let Some(wall) = python(&file) {
        row("orjson loop in Python, nothing stored", wall, None);
    }
    let name = file.to_str().unwrap();
    let first = measure(folder.path(), &["ingest", name]);
    row("assize ingest", first.wall, Some(first.peak_mb));
    let again = measure(folder.path(), &["ingest", name]);
    row("the same again", again.wall, Some(again.peak_mb));
    let sampled = measure(folder.path(), &["sample", "bench", "--key", "trace_id", "--count", "10000"]);
    row("assize sample --count 10000", sampled.wall, Some(sampled.peak_mb));
    println!("\n{}{}", first.said, again.said);
}
