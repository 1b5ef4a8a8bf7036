//! Faults of the place a run is made in: the disk, the store, the name service, the network between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use assize::model::UnscoredReason;
use sqlx::{Connection, SqliteConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{AT_A_TIME, Bench, Suite, closed_port, judgement, wait_until};
use crate::mock::Plan;

const EXAMPLES: usize = 120;

fn steady() -> Plan {
    Plan { latency: Duration::from_millis(10), answers: vec![judgement("pass")], ..Plan::default() }
}

/// The bench with another address for its model server.
fn at(bench: &Bench, address: &str) {
    let provider = format!("kind = \"openai\"\nbase_url = \"{address}\"\ntimeout = \"2s\"\nmax_attempts = 2");
    bench.configure(&Suite { provider, ..bench.suite.clone() });
}

/// The run that could not go on is told what to do, and goes on from there when the fault is mended.
async fn mended(bench: &Bench) {
    let run = bench.run_id();
    let lost = bench.journal(&run).await.cells();
    assert!(lost.len() < EXAMPLES / 2, "{} cells were given up", lost.len());
    // A name server that says nothing makes it a matter of time.
    let reasons = [UnscoredReason::ProviderFailed, UnscoredReason::Timeout];
    assert!(lost.values().all(|ends| ends[0].0.as_ref().is_err_and(|unscored| reasons.contains(&unscored.reason))));
    bench.configure(&bench.suite);
    bench.world.run(&["run", "--resume", &run]).expect(0);
    bench.journal(&run).await.check_complete(EXAMPLES, EXAMPLES);
    assert_eq!(bench.mock.count(), EXAMPLES - lost.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_knows_stops_the_run_in_words() {
    let bench = Bench::new(Suite::recorded(EXAMPLES), steady()).await;
    at(&bench, "http://model.invalid/v1");
    let start = Instant::now();
    let ran = bench.world.run(&["run"]).expect(3);
    let said = ran.stderr.to_lowercase();
    assert!(said.contains("model.invalid") && said.contains("--resume"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    mended(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_speak_tls_stops_the_run_in_words() {
    let bench = Bench::new(Suite::recorded(EXAMPLES), steady()).await;
    at(&bench, &bench.mock.openai_url().replace("http:", "https:"));
    let ran = bench.world.run(&["run"]).expect(3);
    let said = ran.stderr.to_lowercase();
    assert!(said.contains("https://127.0.0.1") && said.contains("--resume"), "{said}");
    assert!(said.contains("tls") || said.contains("ssl") || said.contains("corrupt message"), "{said}");
    assert_eq!(bench.mock.count(), 0);
    mended(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_used_and_a_dead_one_is_named() {
    let mut bench = Bench::new(Suite::recorded(EXAMPLES), steady()).await;
    at(&bench, "http://model.invalid/v1");
    bench.world.set("http_proxy", &format!("http://127.0.0.1:{}", closed_port()));
    let ran = bench.world.run(&["run"]).expect(3);
    assert!(ran.stderr.to_lowercase().contains("refused"), "{}", ran.stderr);
    let run = bench.run_id();
    bench.world.set("http_proxy", &bench.mock.url());
    bench.world.run(&["run", "--resume", &run]).expect(0);
    bench.journal(&run).await.check_complete(EXAMPLES, EXAMPLES);
    let lost = EXAMPLES - bench.mock.count();
    assert!(lost < EXAMPLES / 2, "{lost} cells were given up");
    assert!(bench.mock.seen().iter().all(|seen| seen.header("host") == "model.invalid"), "it passed through the proxy");
}

/// Answers the first request of each connection and is then silent on it, as a connection is whose other end went away
/// without a word.
async fn half_open(listener: TcpListener, asked: Arc<AtomicUsize>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let asked = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut stream = stream;
            if read_request(&mut stream).await {
                asked.fetch_add(1, Ordering::SeqCst);
                let content = judgement("pass").to_string();
                let body = serde_json::json!({"model": "m", "choices": [{"finish_reason": "stop",
                    "message": {"content": content}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
                let body = body.to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: keep-alive";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            // Kept open, read by nobody.
            tokio::time::sleep(Duration::from_secs(3600)).await;
            drop(stream);
        });
    }
}

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut text = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer).await else { return false };
        text.extend_from_slice(&buffer[..read]);
        let so_far = String::from_utf8_lossy(&text);
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let length = head
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next().and_then(|number| number.trim().parse::<usize>().ok()));
        if body.len() >= length.unwrap_or(0) {
            return true;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_went_dead_cost_a_wait_and_no_cell() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let server = tokio::spawn(half_open(listener, Arc::clone(&asked)));
    let bench = Bench::new(Suite::recorded(24), steady()).await;
    let provider = format!("kind = \"openai\"\nbase_url = \"{address}\"\ntimeout = \"1s\"\nmax_attempts = 3");
    bench.configure(&Suite { provider, ..bench.suite.clone() });
    bench.world.run(&["run"]).expect(0);
    let journal = bench.journal(&bench.run_id()).await;
    journal.check_complete(24, 24);
    let (totals, _) = journal.end();
    assert_eq!((totals.scored, totals.judge_spend.calls), (24, 24));
    assert_eq!(asked.load(Ordering::SeqCst), 24, "no question was answered twice");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_run_in_words_and_costs_only_what_was_in_flight() {
    let bench = Bench::new(Suite::recorded(EXAMPLES), steady()).await;
    // Room for the schema and some cells.
    let ran = bench.world.run_limited(280, &["run"]).expect(3);
    let said = ran.stderr.to_lowercase();
    assert!(said.contains("disk") || said.contains("full") || said.contains("too large"), "{said}");
    let run = bench.run_id();
    let journal = bench.journal(&run).await;
    journal.check();
    let (kept, asked) = (journal.cells().len(), bench.mock.count());
    assert!(kept < EXAMPLES, "the disk was not full");
    bench.world.run(&["run", "--resume", &run, "--force"]).expect(0);
    bench.journal(&run).await.check_complete(EXAMPLES, EXAMPLES);
    let again = bench.mock.count() - EXAMPLES;
    println!("{kept} cells kept of {asked} asked; {again} calls made again");
    assert!(again <= 4 * AT_A_TIME, "{again} calls were made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_process_locks_for_a_while_loses_nothing() {
    let bench = Bench::new(Suite::recorded(EXAMPLES), steady()).await;
    let child = bench.world.start(&["run"]);
    wait_until("calls", || bench.mock.count() > AT_A_TIME);
    let file = bench.world.path(".assize/assize.sqlite");
    let mut other = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    sqlx::query("PRAGMA busy_timeout = 20000").execute(&mut other).await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let held_up = bench.mock.count();
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    super::finish(child).expect(0);
    assert!(held_up < EXAMPLES, "the run did not wait for the store");
    bench.journal(&bench.run_id()).await.check_complete(EXAMPLES, EXAMPLES);
    assert_eq!(bench.mock.count(), EXAMPLES);
}
