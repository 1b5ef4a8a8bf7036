//! What dashboards and receivers read: the page for Prometheus, the shipped dashboards and rules, events over OTLP,
//! alarms.
//!
//! Prometheus' own programs are used where they are installed (Debian's package `prometheus`); without them those checks
//! say that they are skipped, and fail under `CI`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use assize::ops::metrics::LIVE;
use assize::report::FAMILIES;
use assize::sys::Env;
use regex::Regex;
use serde_json::{Value, json};

use crate::drifting::day;
use crate::feeds::sinks::{Ask, Fault, Server};
use crate::feeds::{push, sink, world};
use crate::store::Place;
use crate::world::World;

const DASHBOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");

/// A program of the package `prometheus`; `None`, said aloud, where it is not installed.
fn program(name: &str) -> Option<PathBuf> {
    let env = Env::of_process();
    let folders = env.get("PATH").unwrap_or_default().split(':').map(PathBuf::from).collect::<Vec<_>>();
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        assert!(env.get("CI").is_none(), "{name} must be installed under CI: Debian's package `prometheus`");
        println!("skipped: {name} is not installed");
    }
    found
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `assize serve` with these flags, and the addresses it names.
fn serving(world: &World, arguments: &[&str], wanted: &str) -> (Running, String) {
    let mut child = world.start(&[&["serve"], arguments].concat());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let at = lines.by_ref().map(Result::unwrap).find_map(|line| Some(line.split_once(wanted)?.1.to_owned())).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    (Running(child), at)
}

fn get(address: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A world with a run and with traces of today.
fn full() -> World {
    let world = world("langfuse", "");
    let now = jiff::Timestamp::now().as_nanosecond() - 3_600_000_000_000;
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |id: u32, kind: &str, more: Vec<Value>, failed: bool| {
        let attributes: Vec<Value> = [text("gen_ai.operation.name", kind)].into_iter().chain(more).collect();
        json!({
            "traceId": format!("{:032x}", id / 10 + 1), "spanId": format!("{id:016x}"), "name": format!("{kind} {id}"),
            "parentSpanId": if kind == "invoke_agent" { String::new() } else { format!("{:016x}", id / 10 * 10 + 1) },
            "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 250_000_000).to_string(),
            "status": {"code": if failed { 2 } else { 1 }}, "attributes": attributes,
        })
    };
    let count = |key: &str, count: u32| json!({"key": key, "value": {"intValue": count.to_string()}});
    let mut spans = Vec::new();
    for trace in 0..4 {
        spans.push(span(trace * 10 + 1, "invoke_agent", vec![text("gen_ai.agent.name", "support")], false));
        let model = vec![text("gen_ai.request.model", "no-such-model"), count("gen_ai.usage.input_tokens", 100)];
        spans.push(span(trace * 10 + 2, "chat", model, false));
        spans.push(span(trace * 10 + 3, "execute_tool", vec![text("gen_ai.tool.name", "search")], trace == 0));
    }
    let line =
        json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": spans}]}]});
    world.write("spans.jsonl", line.to_string());
    world.run(&["ingest", "spans.jsonl"]).expect(0);
    world
}

#[test]
fn the_page_says_what_the_store_and_the_lake_say() {
    let world = full();
    let (_running, at) = serving(&world, &["--metrics", "127.0.0.1:0"], "metrics on http://");
    let at = at.trim_end_matches("/metrics");
    let (status, page) = get(at, "/metrics", "");
    assert_eq!(status, 200, "{page}");
    for line in [
        "assize_score_mean{suite=\"s\",target=\"app\",side=\"run\",metric=\"quality\"} 0.625",
        "assize_run_unscored_cells{suite=\"s\",target=\"app\",side=\"run\",reason=\"not_applicable\"} 1",
        "assize_live_traces 4",
        "assize_live_trace_errors 1",
        "assize_live_tool_calls{tool=\"search\"} 4",
        "assize_live_tool_errors{tool=\"search\"} 1",
        "assize_live_agent_spans{agent=\"support\"} 4",
        "assize_live_model_tokens{model=\"no-such-model\",direction=\"input\"} 400",
        "assize_live_model_latency_seconds{model=\"no-such-model\",stat=\"p95\"} 0.25",
        "assize_live_model_unpriced_calls{model=\"no-such-model\"} 4",
    ] {
        assert!(page.contains(line), "{line}\nin\n{page}");
    }
    // A price that is not known is no cost of 0.
    assert!(!page.contains("assize_live_model_cost_usd{") && !page.contains("assize_live_cost_usd "), "{page}");
    let names: BTreeSet<&str> = FAMILIES.iter().chain(LIVE).map(|(name, _)| *name).collect();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(names.contains(name), "{line}");
    }
    assert_eq!(get(at, "/health", "").0, 200);
    let Some(promtool) = program("promtool") else { return };
    let run = world.run(&["runs", "--json"]).expect(0).json()[0]["header"]["id"].as_str().unwrap().to_owned();
    world.run(&["report", &run, "--report", "prometheus=run.prom"]).expect(0);
    for text in [page, world.read("run.prom")] {
        let mut child = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let said = child.wait_with_output().unwrap();
        assert!(
            said.status.success(),
            "{}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

#[test]
fn a_page_with_a_token_is_shown_to_nobody_else() {
    let mut world = full();
    world.set("ASSIZE_OTLP_TOKEN", "token-0123456789");
    let (_running, at) = serving(&world, &["--metrics", "127.0.0.1:0"], "metrics on http://");
    let at = at.trim_end_matches("/metrics");
    assert_eq!(get(at, "/metrics", "").0, 401);
    assert_eq!(get(at, "/metrics", "authorization: Bearer wrong\r\n").0, 401);
    assert_eq!(get(at, "/metrics", "authorization: Bearer token-0123456789\r\n").0, 200);
}

#[test]
fn a_real_prometheus_scrapes_the_page() {
    let Some(prometheus) = program("prometheus") else { return };
    let world = full();
    let (_running, at) = serving(&world, &["--metrics", "127.0.0.1:0"], "metrics on http://");
    let at = at.trim_end_matches("/metrics");
    // Free a moment ago; another process may take it, which the query below would show.
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let config = world.write(
        "prometheus.yml",
        format!(
            "global: {{ scrape_interval: 1s }}\nrule_files: [{DASHBOARDS}/alerts.yml]\n\
             scrape_configs: [{{ job_name: assize, static_configs: [{{ targets: ['{at}'] }}] }}]\n"
        ),
    );
    let child = Command::new(prometheus)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", world.path("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _prometheus = Running(child);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = assize::sys::http_client().unwrap();
    let ask = |query: &str| {
        let url = format!("http://127.0.0.1:{port}/api/v1/query");
        runtime.block_on(async {
            let reply = client.get(url).query(&[("query", query)]).send().await.ok()?;
            reply.json::<Value>().await.ok()
        })
    };
    let started = Instant::now();
    let found = loop {
        let found = ask("assize_score_mean{metric=\"quality\"}").unwrap_or_default();
        if found["data"]["result"].as_array().is_some_and(|found| !found.is_empty()) {
            break found;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{found}");
        std::thread::sleep(Duration::from_millis(300));
    };
    assert_eq!(found["data"]["result"][0]["value"][1], "0.625", "{found}");
    // Every query of the dashboards is understood, too.
    for (file, target) in targets("prometheus") {
        let expr = target["expr"].as_str().unwrap();
        let expr = ["suite", "metric", "model", "tool", "agent"]
            .iter()
            .fold(expr.to_owned(), |expr, name| expr.replace(&format!("${name}"), ".*"));
        let said = ask(&expr).unwrap_or_default();
        assert_eq!(said["status"], "success", "{file}: {expr}: {said}");
    }
}

/// Dashboards of a kind with their file names.
fn boards(kind: &str) -> Vec<(String, Value)> {
    let mut found: Vec<(String, Value)> = fs::read_dir(Path::new(DASHBOARDS).join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap()))
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found
}

fn targets(kind: &str) -> Vec<(String, Value)> {
    let of = |(file, board): (String, Value)| {
        let panels = board["panels"].as_array().unwrap().clone();
        let targets = panels.into_iter().flat_map(|panel| panel["targets"].as_array().unwrap().clone());
        targets.map(move |target| (file.clone(), target)).collect::<Vec<_>>()
    };
    boards(kind).into_iter().flat_map(of).collect()
}

#[test]
fn dashboards_and_rules_name_only_what_there_is() {
    let names: BTreeSet<&str> = FAMILIES.iter().chain(LIVE).map(|(name, _)| *name).collect();
    let word = Regex::new(r"\bassize_[a-z0-9_]+").unwrap();
    let mut used = BTreeSet::new();
    for (file, board) in boards("prometheus").into_iter().chain(boards("postgres")) {
        let ids: BTreeSet<u64> =
            board["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), board["panels"].as_array().unwrap().len(), "{file}");
        for panel in board["panels"].as_array().unwrap() {
            let place = &panel["gridPos"];
            assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{file}: {panel}");
        }
    }
    for (file, target) in targets("prometheus") {
        for name in word.find_iter(target["expr"].as_str().unwrap()) {
            assert!(names.contains(name.as_str()), "{file}: {}", name.as_str());
            used.insert(name.as_str().to_owned());
        }
    }
    assert!(used.len() > 20, "{used:?}");
    let rules = fs::read_to_string(format!("{DASHBOARDS}/alerts.yml")).unwrap();
    for name in word.find_iter(&rules) {
        assert!(names.contains(name.as_str()), "alerts.yml: {}", name.as_str());
    }
    let titles: BTreeSet<String> = boards("prometheus")
        .iter()
        .map(|(_, board)| board["title"].as_str().unwrap().replace("assize: ", ""))
        .collect();
    let wanted = ["overview", "models", "agents", "tools", "quality", "cost"].map(str::to_owned);
    assert_eq!(titles, BTreeSet::from(wanted));
    let Some(promtool) = program("promtool") else { return };
    let said = Command::new(promtool).args(["check", "rules", &format!("{DASHBOARDS}/alerts.yml")]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

/// The queries as a database gets them from Grafana.
fn expanded(sql: &str) -> String {
    let filter = Regex::new(r"\$__timeFilter\(\w+\)").unwrap();
    filter.replace_all(sql, "1 = 1").replace("$suite", "'s'").replace("$metric", "'quality'")
}

async fn queries_are_understood(place: Place) {
    let store = place.open().await;
    for (file, target) in targets("postgres") {
        let sql = expanded(target["rawSql"].as_str().unwrap());
        let count = format!("SELECT CAST(COUNT(*) AS TEXT) FROM ({sql}) AS answer");
        place.raw(&count).await.unwrap_or_else(|error| panic!("{file}: {sql}: {error}"));
    }
    for view in ["scores", "targets", "run_metrics", "run_totals", "unscored_reasons", "deliveries"] {
        let documented = columns_of(view);
        let listed = match place.is_postgres() {
            true => format!(
                "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{view}' \
                 AND table_schema = current_schema() ORDER BY ordinal_position"
            ),
            false => format!("SELECT name FROM pragma_table_info('{view}') ORDER BY cid"),
        };
        let found: Vec<String> = place.raw(&listed).await.unwrap().into_iter().flatten().collect();
        assert_eq!(found, documented, "docs/database.md about `{view}`");
    }
    place.end(store).await;
}

/// The columns that docs/database.md gives a view.
fn columns_of(view: &str) -> Vec<String> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/database.md")).unwrap();
    let (_, rest) = text.split_once(&format!("### `{view}`")).unwrap_or_else(|| panic!("no part about `{view}`"));
    let part = rest.split("\n### ").next().unwrap();
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_dashboards_fit_the_views_of_sqlite() {
    queries_are_understood(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_dashboards_fit_the_views_of_postgres() {
    if let Some(place) = Place::postgres() {
        queries_are_understood(place).await;
    }
}

#[test]
fn events_over_otlp_arrive_as_scores_of_the_judged_traces() {
    for format in ["protobuf", "json"] {
        let receiving = World::new();
        let (mut running, at) = serving(&receiving, &["--otlp", "127.0.0.1:0", "--flush", "1"], "over HTTP on http://");
        let url = format!("http://{}", at.trim_end_matches("/v1/traces"));
        let sending = world("langfuse", &sink("otlp", &url, &format!("format = \"{format}\"")));
        let (pushed, _) = push(&sending, &[], 3);
        // Our receiver keeps events and has no use for measurements, which it says: they are turned away, and told.
        let said = &pushed["sinks"][0];
        assert_eq!((&said["sent"], &said["rejected"]), (&json!(8), &json!(1)), "{format}: {pushed:#}");
        assert!(said["rejections"][0].as_str().unwrap().contains("metrics are not"), "{pushed:#}");
        let (again, _) = push(&sending, &[], 0);
        assert_eq!(again["sinks"][0]["sent"], 0, "{format}: {again:#}");
        let pid = running.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert!(running.0.wait().unwrap().success());
        let judged = "SELECT COUNT(*) AS scores FROM scores WHERE span_id = 'a1a1a1a1a1a10001' AND author = 'recorded_value' \
                      AND trace_id = '5b8efff798038103d269b633813f0001'";
        let found = receiving.run(&["traces", "query", judged, "--json"]).expect(0);
        assert!(found.stdout.replace(' ', "").contains("\"scores\":3"), "{format}: {}", found.stdout);
    }
}

#[test]
fn alarms_are_told_once_and_told_when_it_is_over() {
    let server = Server::start("taker", &[(0, Fault::Status(500))]);
    let mut world = World::new();
    world.set("HOOK", &format!("{}/services/T0/secret-path-0123456789", server.url));
    world.set("PAGERDUTY_ROUTING_KEY", "routing-key-0123456789");
    world.write(
        "assize.toml",
        format!(
            "[alarms.team]\nkind = \"slack\"\nurl_env = \"HOOK\"\nrequests_per_minute = 600000\n\
             [alarms.duty]\nkind = \"pagerduty\"\nurl = \"{0}\"\nrequests_per_minute = 600000\n\
             [alarms.manager]\nkind = \"alertmanager\"\nurl = \"{0}\"\nrequests_per_minute = 600000\n",
            server.url
        ),
    );
    let calm: Vec<String> = (0..9).map(|number| day(number, 9)).collect();
    world.write("calm.jsonl", calm.join("\n"));
    world.run(&["ingest", "calm.jsonl"]).expect(0);
    world.run(&["drift", "--live", "--alarm"]).expect(0);
    assert_eq!(server.asks().len(), 0, "nothing fires, and nothing fired before");
    let fallen: Vec<String> = (9..12).map(|number| day(number, 5)).collect();
    world.write("fallen.jsonl", fallen.join("\n"));
    world.run(&["ingest", "fallen.jsonl"]).expect(0);
    let told = world.run(&["drift", "--live", "--alarm", "--json"]).expect(1).json();
    let whats: Vec<&str> = told["alarms"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["fired"; 3], "{told:#}");
    let asks = server.asks();
    // One of them was tried twice: the first answer was 500.
    assert_eq!(asks.len(), 4, "{asks:#?}");
    let of =
        |path: &str| -> Vec<Value> { server.asks().iter().filter(|ask| ask.path == path).map(Ask::json).collect() };
    let duty = of("/v2/enqueue");
    assert_eq!(
        (&duty.last().unwrap()["event_action"], &duty.last().unwrap()["routing_key"]),
        (&json!("trigger"), &json!("routing-key-0123456789"))
    );
    assert_eq!(of("/api/v2/alerts")[0][0]["labels"]["score"], "right");
    assert!(
        of("/services/T0/secret-path-0123456789")[0]["text"]
            .as_str()
            .unwrap()
            .contains("quality_drop of right fires since")
    );
    // It still fires: nobody is told again.
    world.run(&["drift", "--live", "--alarm"]).expect(1);
    assert_eq!(server.asks().len(), 4);
    let good: Vec<String> = (12..18).map(|number| day(number, 9)).collect();
    world.write("good.jsonl", good.join("\n"));
    world.run(&["ingest", "good.jsonl"]).expect(0);
    let over = world.run(&["drift", "--live", "--alarm", "--json"]).expect(0);
    let whats: Vec<String> =
        over.json()["alarms"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(whats, ["resolved"; 3], "{}", over.stdout);
    let duty = of("/v2/enqueue");
    assert_eq!(duty.last().unwrap()["event_action"], "resolve");
    assert_eq!(duty.last().unwrap()["dedup_key"], duty[0]["dedup_key"]);
    for said in [&over.stdout, &over.stderr] {
        assert!(!said.contains("secret-path") && !said.contains("routing-key"), "{said}");
    }
    // A hook that is refused is told without its address.
    server.fail_next(Fault::Status(404));
    world.write("again.jsonl", (18..21).map(|number| day(number, 4)).collect::<Vec<_>>().join("\n"));
    world.run(&["ingest", "again.jsonl"]).expect(0);
    let refused = world.run(&["drift", "--live", "--alarm"]).expect(1);
    assert!(refused.stdout.contains("failed: alarm `"), "{}", refused.stdout);
    assert!(!refused.stdout.contains("secret-path"), "{}", refused.stdout);
}

#[test]
fn figures_of_runs_arrive_at_statsd() {
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let world =
        world("langfuse", &format!("[sinks.out]\nkind = \"statsd\"\nurl = \"{address}\"\nformat = \"dogstatsd\"\n"));
    let (pushed, _) = push(&world, &[], 0);
    assert_eq!(pushed["sinks"][0]["sent"], 1, "{pushed:#}");
    let mut packet = [0_u8; 2048];
    let length = socket.recv(&mut packet).unwrap();
    let text = String::from_utf8_lossy(&packet[..length]).into_owned();
    assert!(text.lines().all(|line| line.starts_with("assize.") && line.contains("|g|#suite:s")), "{text}");
    // The figures of that run are known to have been sent.
    let (again, _) = push(&world, &[], 0);
    assert_eq!(again["sinks"][0]["sent"], 0, "{again:#}");
}
