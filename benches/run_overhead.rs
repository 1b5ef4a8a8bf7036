//! What a run costs beside the model: the real binary against a mock model server on the same machine.
//!
//! `cargo bench --bench run_overhead` prints wall time, its ratio to the ideal `cells x latency / concurrency`, and CPU
//! of the program alone (the server runs in this process). Figures are read, never asserted: see `benches/README.md`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark speaks, and stops at the first surprise")]

#[path = "../tests/mock/mod.rs"]
#[expect(dead_code, reason = "the benchmark uses a part of the test server")]
mod mock;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mock::{Mock, Plan};

/// Judgements of one run.
const CELLS: usize = 2_000;

struct Figures {
    wall: f64,
    cpu: f64,
}

fn write_project(folder: &Path, address: &str, concurrency: usize) {
    let mut examples = String::new();
    for number in 0..CELLS {
        let _ = writeln!(
            examples,
            r#"{{"id":"q{number}","input":"What is the capital of country {number}?","output":"The capital of country {number} is city {number}."}}"#
        );
    }
    fs::write(folder.join("examples.jsonl"), examples).unwrap();
    let config = format!(
        r#"
[providers.mock]
kind = "openai"
base_url = "{address}"
key_env = "BENCH_KEY"
max_concurrency = {concurrency}
[models.judge]
provider = "mock"
model = "mock"
[suites.bench]
file = "examples.jsonl"
concurrency = {{ targets = {concurrency}, judges = {concurrency} }}
targets.recorded = {{ kind = "recorded" }}
graders = [{{ judge = "answer_relevance", model = "judge" }}]
"#
    );
    fs::write(folder.join("assize.toml"), config).unwrap();
}

/// Runs the binary under the shell's own clock, which counts the CPU of the child.
fn measure(folder: &Path, arguments: &str) -> Figures {
    let script = format!("TIMEFORMAT='%R %U %S'; time {} {arguments} >/dev/null 2>err", env!("CARGO_BIN_EXE_assize"));
    let output =
        Command::new("bash").arg("-c").arg(script).current_dir(folder).env("BENCH_KEY", "none").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, user, system] = numbers[..] else {
        panic!("no figures: {text} {}", fs::read_to_string(folder.join("err")).unwrap_or_default())
    };
    Figures { wall, cpu: user + system }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let empty = tempfile::tempdir().unwrap();
    let start = measure(empty.path(), "runs");
    println!("start-up (assize runs on an empty store): {:.3} s wall, {:.3} s CPU\n", start.wall, start.cpu);
    println!("| latency | concurrency | wall s | ideal s | wall / ideal | judgements/s | CPU s per 1,000 |");
    println!("|---|---|---|---|---|---|---|");
    for (latency_ms, concurrency) in [(0, 100), (100, 100), (100, 1_000)] {
        let plan = Plan { latency: Duration::from_millis(latency_ms), ..Plan::default() };
        let mock = Mock::start(plan).await;
        let folder = tempfile::tempdir().unwrap();
        write_project(folder.path(), &mock.openai_url(), concurrency);
        let path = folder.path().to_owned();
        let figures = tokio::task::spawn_blocking(move || measure(&path, "run --quiet")).await.unwrap();
        assert_eq!(mock.count(), CELLS, "every judgement is one request");
        let ideal = CELLS as f64 * latency_ms as f64 / 1_000.0 / concurrency as f64;
        let ratio = if ideal > 0.0 { format!("{:.2}", figures.wall / ideal) } else { "-".to_owned() };
        println!(
            "| {latency_ms} ms | {concurrency} | {:.2} | {ideal:.2} | {ratio} | {:.0} | {:.3} |",
            figures.wall,
            CELLS as f64 / figures.wall,
            (figures.cpu - start.cpu) / (CELLS as f64 / 1_000.0),
        );
    }
}
