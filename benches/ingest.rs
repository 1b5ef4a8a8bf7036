//! What reading traces costs: the real binary on a generated file of OTLP JSON lines, beside bare parsers of the file.
//!
//! `cargo bench --bench ingest [-- SPANS [TRACES]]` writes a seeded file of agents' traces (100,000 spans unless told
//! otherwise, about 1.6 kB each, traces spread over batches as a Collector spreads them), then prints wall and processor
//! time and peak memory of `assize ingest`, of the same again (nothing is new), and of `assize sample`, with a bare
//! `simd-json` parse and two loops in Python with `orjson`, where that is installed: one that parses each line, and one
//! that takes from each span what `assize ingest` takes. With TRACES, as many small traces (three spans) are ingested into
//! another lake and 10,000 of them sampled, beside DuckDB on the same Parquet files, where `duckdb` for Python is
//! installed. PYTHON in the environment names another interpreter. Figures are read, never asserted.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark speaks, reads what the shell says, and stops at the first surprise"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
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

fn trace(random: &mut Pcg64, number: u64, steps: Range<u64>) -> Vec<Value> {
    let id = format!("{:016x}{number:016x}", random.random::<u64>() | 1);
    let session = format!("conv-{}", number / 3);
    let begin = 1_760_000_000_000_000_000 + number * 40_000_000;
    let root = format!("{:016x}", random.random::<u64>() | 1);
    let mut spans =
        vec![json!({"traceId": id, "spanId": root, "parentSpanId": "", "name": "invoke_agent support", "kind": 1,
        "startTimeUnixNano": begin.to_string(), "endTimeUnixNano": (begin + 9_000_000_000).to_string(), "status": {},
        "attributes": [pair("gen_ai.operation.name", "invoke_agent"), pair("gen_ai.agent.name", "support"),
            pair("gen_ai.conversation.id", &session), pair("user.id", &format!("u{}", number % 977))]})];
    for step in 0..random.random_range(steps) {
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

/// Writes at least so many spans, of traces with so many steps each; gives spans and traces.
fn generate(path: &Path, wanted: usize, steps: Range<u64>) -> (usize, u64) {
    let mut random = Pcg64::seed_from_u64(11);
    let mut out = BufWriter::new(File::create(path).unwrap());
    let resource = json!({"attributes": [pair("service.name", "agents"), pair("service.version", "2.14.1"),
        pair("deployment.environment.name", "prod"), pair("host.name", "node-07"), pair("telemetry.sdk.language", "python")]});
    let (mut waiting, mut written, mut traces) = (Vec::new(), 0, 0);
    while written + waiting.len() < wanted {
        waiting.extend(trace(&mut random, traces, steps.clone()));
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
    (written, traces)
}

fn write_batch(out: &mut impl Write, resource: &Value, spans: Vec<Value>) {
    let line = json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "bench"}, "spans": spans}]}]});
    serde_json::to_writer(&mut *out, &line).unwrap();
    out.write_all(b"\n").unwrap();
}

struct Figures {
    wall: f64,
    /// User and system time of the process, seconds.
    cpu: Option<f64>,
    peak_mb: Option<f64>,
    said: String,
}

/// Processor seconds that a process has used, in steps of a hundredth.
fn cpu(process: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let ticks: Vec<f64> = text.rsplit_once(')')?.1.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // The state is a letter: user and system time are the 11th and 12th number behind it.
    Some((ticks.get(10)? + ticks.get(11)?) / 100.0)
}

/// Runs a program and watches its memory, which the system counts at its peak.
fn measure(folder: &Path, program: &str, arguments: &[&str]) -> Option<Figures> {
    let begun = Instant::now();
    let mut command = Command::new(program);
    let mut child = command.args(arguments).current_dir(folder).stdout(Stdio::piped()).spawn().ok()?;
    let id = child.id().to_string();
    let (mut peak_mb, mut used) = (None, None);
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        let now = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).map(|kb: f64| kb / 1024.0);
        (peak_mb, used) = (now.or(peak_mb), cpu(&id).filter(|_| now.is_some()).or(used));
        std::thread::sleep(Duration::from_millis(5));
    }
    let wall = begun.elapsed().as_secs_f64();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(Figures { wall, cpu: used, peak_mb, said })
}

fn assize(folder: &Path, arguments: &[&str]) -> Figures {
    measure(folder, env!("CARGO_BIN_EXE_assize"), arguments).unwrap()
}

/// A bare parse of every line into a tree, as the reader of a file would do it.
fn bare(path: &Path) -> Figures {
    let (begun, before) = (Instant::now(), cpu("self"));
    let mut objects = 0;
    for line in BufReader::new(File::open(path).unwrap()).split(b'\n') {
        let mut line = line.unwrap();
        let value = simd_json::to_borrowed_value(&mut line).unwrap();
        objects += usize::from(matches!(value, simd_json::BorrowedValue::Object(_)));
    }
    assert!(objects > 0);
    let used = cpu("self").zip(before).map(|(after, before)| after - before);
    Figures { wall: begun.elapsed().as_secs_f64(), cpu: used, peak_mb: None, said: String::new() }
}

const PARSE: &str = r"
import sys, orjson
spans = 0
for line in open(sys.argv[1], 'rb'):
    for group in orjson.loads(line)['resourceSpans']:
        for scoped in group['scopeSpans']:
            spans += len(scoped['spans'])
print(spans)
";

/// What `assize ingest` takes from a span, and a text and a digest of it; nothing is grouped, checked or stored.
const EXTRACT: &str = r"
import sys, hashlib, orjson
fields = {'gen_ai.conversation.id': 'session_id', 'user.id': 'user_id', 'gen_ai.operation.name': 'kind',
    'gen_ai.agent.name': 'agent', 'gen_ai.request.model': 'model', 'gen_ai.provider.name': 'provider',
    'gen_ai.tool.name': 'tool', 'gen_ai.usage.input_tokens': 'input', 'gen_ai.usage.output_tokens': 'output'}
nested = {'gen_ai.input.messages': 'messages_in', 'gen_ai.output.messages': 'messages_out',
    'gen_ai.tool.call.arguments': 'arguments', 'gen_ai.tool.call.result': 'result'}
size = 0
for line in open(sys.argv[1], 'rb'):
    for group in orjson.loads(line)['resourceSpans']:
        resource = {pair['key']: next(iter(pair['value'].values()), None) for pair in group['resource']['attributes']}
        for scoped in group['scopeSpans']:
            for span in scoped['spans']:
                row = {'trace_id': span['traceId'], 'span_id': span['spanId'], 'parent_id': span.get('parentSpanId') or None,
                    'name': span['name'], 'start_ns': int(span['startTimeUnixNano']),
                    'end_ns': int(span['endTimeUnixNano']), 'resource': resource}
                rest = row['attributes'] = {}
                for pair in span['attributes']:
                    key, (kind, value) = pair['key'], next(iter(pair['value'].items()), (None, None))
                    if kind == 'intValue': value = int(value)
                    if key in fields: row[fields[key]] = value
                    elif key in nested:
                        try: row[nested[key]] = orjson.loads(value)
                        except orjson.JSONDecodeError: row[nested[key]] = value
                    else: rest[key] = value
                text = orjson.dumps(row)
                row['digest'] = hashlib.blake2b(text, digest_size=32).hexdigest()
                size += len(text)
print(size)
";

const DUCKDB: &str = r#"
import sys, duckdb
parts = f"read_parquet('{sys.argv[1]}/spans/*/*.parquet')"
print(duckdb.sql(f"""WITH chosen AS (SELECT trace_id FROM (SELECT trace_id,
    bool_or(parent_id IS NULL AND "end" IS NOT NULL) AS ended, max("end") AS latest FROM {parts} GROUP BY trace_id)
    WHERE ended AND latest IS NOT NULL ORDER BY hash(trace_id) LIMIT 10000)
    SELECT count(*), count(DISTINCT trace_id), sum(length(span)) FROM {parts} JOIN chosen USING (trace_id)""").fetchall())
"#;

fn python(folder: &Path, program: &str, argument: &str) -> Option<Figures> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    measure(folder, &python, &["-c", program, argument])
}

fn show(what: &str, figures: &Figures, megabytes: Option<f64>, bar: &Figures) {
    let shown =
        |value: Option<f64>, places: usize| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.places$}"));
    let speed = shown(megabytes.map(|megabytes| megabytes / figures.wall), 0);
    let (wall, times) = (figures.wall, bar.wall / figures.wall);
    println!(
        "| {what} | {wall:.2} | {} | {speed} | {times:.2} | {} |",
        shown(figures.cpu, 2),
        shown(figures.peak_mb, 0)
    );
}

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let (wanted, traces): (usize, Option<usize>) = (numbers.next().unwrap_or(100_000), numbers.next());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let (spans, _) = generate(&file, wanted, 4..16);
    let megabytes = fs::metadata(&file).unwrap().len() as f64 / 1e6;
    println!("{spans} spans, {megabytes:.0} MB\n");
    println!("| what | wall s | processor s | MB/s | times simd-json | peak MB |\n|---|---|---|---|---|---|");
    let (first, second) = (bare(&file), bare(&file));
    let bar = if first.wall < second.wall { first } else { second };
    let row = |what: &str, figures: &Figures| show(what, figures, Some(megabytes), &bar);
    row("bare simd-json parse", &bar);
    let name = file.to_str().unwrap();
    for (what, program) in [("orjson in Python, parse only", PARSE), ("orjson in Python, like work", EXTRACT)] {
        if let Some(figures) = python(folder.path(), program, name) {
            row(what, &figures);
        }
    }
    let (first, again) = (assize(folder.path(), &["ingest", name]), assize(folder.path(), &["ingest", name]));
    row("assize ingest", &first);
    row("the same again", &again);
    let sample = ["sample", "bench", "--key", "trace_id", "--count", "10000"];
    row("assize sample --count 10000", &assize(folder.path(), &sample));
    println!("\n{}{}", first.said, again.said);
    if let Some(traces) = traces {
        sampling(traces, &sample);
    }
}

/// Samples 10,000 of many small traces.
fn sampling(wanted: usize, sample: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traces.jsonl");
    let (spans, traces) = generate(&file, wanted * 3, 2..3);
    assize(folder.path(), &["ingest", file.to_str().unwrap()]);
    fs::remove_file(&file).unwrap();
    println!("{traces} traces, {spans} spans\n");
    println!("| what | wall s | processor s | MB/s | times DuckDB | peak MB |\n|---|---|---|---|---|---|");
    let lake = folder.path().join(".assize/lake");
    let other = python(folder.path(), DUCKDB, lake.to_str().unwrap());
    let sampled = assize(folder.path(), sample);
    let bar = other.as_ref().unwrap_or(&sampled);
    if let Some(other) = &other {
        show("DuckDB: choose 10,000 by hash, read their spans", other, None, bar);
    }
    show("assize sample --count 10000", &sampled, None, bar);
    println!("\n{}", sampled.said);
}
