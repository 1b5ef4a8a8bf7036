//! `assize serve`: real requests over sockets to the real binary; what was answered is in the lake afterwards,
//! whatever happens to the process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::{Value, json};

use crate::world::World;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A receiver of its own, ended with the test.
struct Serving {
    child: Child,
    http: String,
    grpc: String,
}

impl Serving {
    fn start(world: &World, arguments: &[&str]) -> Self {
        let mut all = vec!["serve", "--otlp", "127.0.0.1:0", "--grpc", "127.0.0.1:0"];
        all.extend(arguments);
        let mut child = world.start(&all);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut http, mut grpc) = (String::new(), String::new());
        while http.is_empty() || grpc.is_empty() {
            let line = lines.next().expect("the receiver says where it listens").unwrap();
            if let Some((_, at)) = line.split_once("over HTTP on http://") {
                http = at.trim_end_matches("/v1/traces").to_owned();
            }
            if let Some((_, at)) = line.split_once("over gRPC on ") {
                grpc = at.to_owned();
            }
        }
        // Nobody reads on: a full pipe would hold the process.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, http, grpc }
    }

    fn stop(mut self) -> (i32, Value) {
        let status = std::process::Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        (code, serde_json::from_str(&out).unwrap_or(Value::String(out)))
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn post(&self, path: &str, kind: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A refusal may come before all of a large body is read.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer") + 4;
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[at..].to_vec())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn span(trace: u8, id: u8) -> Span {
    let text = |text: &str| AnyValue { value: Some(ProtoValue::StringValue(text.to_owned())) };
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        name: "chat".to_owned(),
        start_time_unix_nano: 1_795_248_000_100_000_000,
        end_time_unix_nano: 1_795_248_000_900_000_000,
        attributes: vec![KeyValue {
            key: "gen_ai.operation.name".to_owned(),
            value: Some(text("chat")),
            ..KeyValue::default()
        }],
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

fn json_request(trace: &str, id: &str) -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": trace, "spanId": id, "name": "chat",
        "startTimeUnixNano": "1795248000100000000", "endTimeUnixNano": "1795248000900000000",
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]}]}]}]})
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn listed(world: &World) -> Vec<String> {
    let rows = world.run(&["--json", "traces", "ls", "--limit", "1000"]).expect(0).json();
    let mut ids: Vec<String> =
        rows.as_array().unwrap().iter().map(|row| row["trace_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn every_form_of_request_reaches_the_lake_and_bad_spans_are_told_to_the_sender() {
    let world = World::new();
    let serving = Serving::start(&world, &["--json"]);
    let (status, body) = serving.post("/v1/traces", PROTOBUF, &[], &request(vec![span(1, 1)]).encode_to_vec());
    assert_eq!((status, body.len()), (200, 0));
    let packed = gzip(&request(vec![span(2, 2), span(0, 9)]).encode_to_vec());
    let (status, body) = serving.post("/v1/traces", PROTOBUF, &[("content-encoding", "gzip")], &packed);
    let partial = ExportTraceServiceResponse::decode(body.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!((status, partial.rejected_spans), (200, 1));
    assert!(partial.error_message.contains("trace_id"), "{}", partial.error_message);
    let hex = |digit: &str, count: usize| digit.repeat(count);
    let body = json_request(&hex("a", 32), &hex("b", 16)).to_string();
    assert_eq!(serving.post("/v1/traces", JSON, &[], body.as_bytes()), (200, b"{}".to_vec()));
    let zeros = json_request(&hex("0", 32), &hex("b", 16)).to_string();
    let (status, body) = serving.post("/v1/traces", JSON, &[("content-encoding", "gzip")], &gzip(zeros.as_bytes()));
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["partialSuccess"]["rejectedSpans"]), (200, &json!("1")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Endpoint::new(format!("http://{}", serving.grpc)).unwrap();
        let mut client = TraceServiceClient::new(channel.connect().await.unwrap());
        let answer = client.export(request(vec![span(3, 3)])).await.unwrap().into_inner();
        assert_eq!(answer.partial_success, None);
    });
    let (status, _) = serving.post("/v1/metrics", JSON, &[], b"{}");
    assert_eq!(status, 200);
    let (code, report) = serving.stop();
    assert_eq!((code, &report["added"], &report["rejected"]), (0, &json!(4), &json!(2)), "{report}");
    assert_eq!(listed(&world), ["01".repeat(16), "02".repeat(16), "03".repeat(16), hex("a", 32)]);
    assert_eq!(world.read(".assize/lake/rejected.jsonl").lines().count(), 2);
}

#[test]
fn what_is_no_request_is_refused_in_words() {
    let mut world = World::new();
    world.set("ASSIZE_OTLP_TOKEN", "open-sesame");
    let serving = Serving::start(&world, &["--json"]);
    let good = request(vec![span(1, 1)]).encode_to_vec();
    let token = ("authorization", "Bearer open-sesame");
    let status = |path, kind, headers: &[(&str, &str)], body: &[u8]| {
        let (status, body) = serving.post(path, kind, headers, body);
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    assert_eq!(status("/v1/traces", PROTOBUF, &[], &good).0, 401);
    assert_eq!(status("/v1/traces", PROTOBUF, &[("authorization", "Bearer open")], &good).0, 401);
    assert_eq!(status("/v1/metrics", PROTOBUF, &[], &good).0, 401);
    let (code, text) = status("/v1/traces", PROTOBUF, &[token], b"\xff\xff\xff not protobuf");
    assert!(code == 400 && text.contains("not an OTLP export request"), "{code} {text}");
    let (code, text) = status("/v1/traces", JSON, &[token], b"{\"resourceSpans\": [");
    assert!(code == 400 || text.contains("partialSuccess"), "{code} {text}");
    assert_eq!(status("/v1/traces", JSON, &[token], b"hello").0, 400);
    assert_eq!(status("/v1/traces", "text/plain", &[token], b"hello").0, 415);
    assert_eq!(status("/v1/traces", JSON, &[token, ("content-encoding", "br")], b"x").0, 415);
    assert_eq!(status("/v1/traces", JSON, &[token, ("content-encoding", "gzip")], b"not gzip").0, 400);
    let bomb = gzip(&vec![b' '; 80 << 20]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(status("/v1/traces", JSON, &[token, ("content-encoding", "gzip")], &bomb).0, 413);
    assert_eq!(status("/v1/nothing", JSON, &[token], b"{}").0, 404);
    assert_eq!(status("/v1/traces", PROTOBUF, &[token], &good).0, 200);
    let empty = ExportLogsServiceRequest::default().encode_to_vec();
    assert_eq!(status("/v1/logs", PROTOBUF, &[token], &empty).0, 200);
    let (code, report) = serving.stop();
    assert_eq!((code, &report["spans"]), (0, &json!(1)), "{report}");
}

#[test]
fn what_was_answered_survives_a_kill_and_is_there_once() {
    let world = World::new();
    // Longer than the test: nothing reaches the lake before the kill.
    let serving = Serving::start(&world, &["--flush", "3600"]);
    for id in 1..=20 {
        let body = request(vec![span(id, id)]).encode_to_vec();
        assert_eq!(serving.post("/v1/traces", PROTOBUF, &[], &body).0, 200);
    }
    serving.kill();
    assert!(listed(&world).is_empty());
    let serving = Serving::start(&world, &["--json"]);
    // A sender that heard nothing sends again.
    assert_eq!(serving.post("/v1/traces", PROTOBUF, &[], &request(vec![span(7, 7)]).encode_to_vec()).0, 200);
    let (code, report) = serving.stop();
    assert_eq!((code, &report["added"], &report["already_there"]), (0, &json!(20), &json!(1)), "{report}");
    assert_eq!(listed(&world).len(), 20);
    assert_eq!(std::fs::read_dir(world.path(".assize/lake/spool")).unwrap().count(), 0);
}

#[test]
fn spans_are_in_the_lake_soon_after_they_came() {
    let world = World::new();
    let serving = Serving::start(&world, &["--flush", "1"]);
    let body = request(vec![span(1, 1)]).encode_to_vec();
    assert_eq!(serving.post("/v1/traces", PROTOBUF, &[], &body).0, 200);
    let begun = Instant::now();
    while listed(&world).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing arrived");
        std::thread::sleep(Duration::from_millis(200));
    }
    serving.kill();
}

#[test]
fn an_address_that_cannot_be_used_is_an_error_with_a_mend() {
    let world = World::new();
    let ran = world.run(&["serve", "--otlp", "nowhere"]).expect(2);
    assert!(
        ran.stderr.contains("cannot listen on `nowhere`") && ran.stderr.contains("127.0.0.1:4318"),
        "{}",
        ran.stderr
    );
}

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

/// Two events of a model call, in the form that SDKs sent before they wrote messages into attributes.
fn json_logs(span: &str) -> Value {
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": "1795248000100000000", "traceId": TRACE, "spanId": span, "eventName": "gen_ai.user.message",
            "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "where is my parcel"}}]}}},
        {"timeUnixNano": "1795248000900000000", "traceId": TRACE, "spanId": span,
            "attributes": [{"key": "event.name", "value": {"stringValue": "gen_ai.choice"}}],
            "body": {"kvlistValue": {"values": [{"key": "index", "value": {"intValue": "0"}},
                {"key": "message", "value": {"kvlistValue": {"values": [
                    {"key": "content", "value": {"stringValue": "on its way"}}]}}}]}}}]}]}]})
}

/// Waits until a flush has put what waits into a file of its own.
fn wait_for_rest(world: &World) {
    let begun = Instant::now();
    let is_rest = |name: &str| name.ends_with(".rest.jsonl");
    while !std::fs::read_dir(world.path(".assize/lake/spool"))
        .unwrap()
        .any(|entry| is_rest(&entry.unwrap().file_name().to_string_lossy()))
    {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing waits");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn log_records_wait_for_their_span_over_flushes_and_over_a_kill() {
    let world = World::new();
    let serving = Serving::start(&world, &["--flush", "1"]);
    let logs = json_logs("b2b2b2b2b2b2b2b2").to_string();
    assert_eq!(serving.post("/v1/logs", JSON, &[], logs.as_bytes()), (200, b"{}".to_vec()));
    wait_for_rest(&world);
    // Long enough for one more flush.
    std::thread::sleep(Duration::from_millis(1500));
    serving.kill();
    let serving = Serving::start(&world, &["--flush", "1", "--json"]);
    let stray = json_logs("c3c3c3c3c3c3c3c3").to_string();
    assert_eq!(serving.post("/v1/logs", JSON, &[], stray.as_bytes()).0, 200);
    std::thread::sleep(Duration::from_millis(1500));
    let span = json_request(TRACE, "b2b2b2b2b2b2b2b2").to_string();
    assert_eq!(serving.post("/v1/traces", JSON, &[], span.as_bytes()).0, 200);
    let (code, report) = serving.stop();
    assert_eq!((code, &report["added"], &report["unjoined"]), (0, &json!(1), &json!(0)), "{report}");
    assert!(
        report["warnings"][0].as_str().unwrap().starts_with("log records that still wait for their spans: 2;"),
        "{report}"
    );
    let shown = world.run(&["--json", "traces", "show", TRACE]).expect(0).stdout;
    assert!(shown.contains("where is my parcel") && shown.contains("on its way"), "{shown}");
    assert_eq!(shown.matches("where is my parcel").count(), 1, "{shown}");
}

#[test]
fn log_records_without_a_span_are_told_by_an_ingest_too() {
    let world = World::new();
    world.write("logs.json", json_logs("b2b2b2b2b2b2b2b2").to_string());
    world.write("span.json", json_request(TRACE, "b2b2b2b2b2b2b2b2").to_string());
    let ran = world.run(&["ingest", "logs.json"]).expect(0);
    assert!(
        ran.stdout.contains("warning: 2 log records name a span that is neither here nor in the lake"),
        "{}",
        ran.stdout
    );
    let report = world.run(&["--json", "ingest", "logs.json", "span.json"]).expect(0).json();
    assert_eq!((&report["added"], &report["unjoined"]), (&json!(1), &json!(0)), "{report}");
}

/// What a trace says, but for the marks of how its log records came.
fn said(world: &World) -> Value {
    let mut trace = world.run(&["--json", "traces", "show", TRACE]).expect(0).json();
    for span in trace["spans"].as_array_mut().unwrap() {
        span["source"] = Value::Null;
        span["attributes"].as_object_mut().unwrap().remove("assize.revision");
    }
    trace
}

#[test]
fn log_records_that_come_after_their_span_was_written_join_it_once() {
    let whole = World::new();
    whole.write("logs.json", json_logs("b2b2b2b2b2b2b2b2").to_string());
    whole.write("span.json", json_request(TRACE, "b2b2b2b2b2b2b2b2").to_string());
    whole.run(&["ingest", "logs.json", "span.json"]).expect(0);
    let expected = said(&whole);
    assert!(expected.to_string().contains("on its way"), "{expected}");
    let world = World::new();
    let serving = Serving::start(&world, &["--flush", "1", "--json"]);
    let span = json_request(TRACE, "b2b2b2b2b2b2b2b2").to_string();
    assert_eq!(serving.post("/v1/traces", JSON, &[], span.as_bytes()).0, 200);
    while listed(&world).is_empty() {
        std::thread::sleep(Duration::from_millis(200));
    }
    // The answer first, then the question and the answer again: a sender that heard nothing sends twice.
    let mut records = json_logs("b2b2b2b2b2b2b2b2");
    let all = records.clone();
    records["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array_mut().unwrap().remove(0);
    for logs in [&records, &all, &all] {
        assert_eq!(serving.post("/v1/logs", JSON, &[], logs.to_string().as_bytes()).0, 200);
        std::thread::sleep(Duration::from_millis(1500));
    }
    let (code, report) = serving.stop();
    assert_eq!((code, &report["joined_late"], &report["unjoined"]), (0, &json!(2), &json!(0)), "{report}");
    assert_eq!(said(&world), expected);
    world.run(&["lake", "compact"]).expect(0);
    assert_eq!(said(&world), expected);
    // The span itself, sent again, changes nothing.
    world.write("span.json", span);
    world.run(&["ingest", "span.json"]).expect(0);
    assert_eq!(said(&world), expected);
    let spans = world.run(&["--json", "traces", "query", "SELECT COUNT(*) AS n FROM spans"]).expect(0).json();
    assert_eq!(spans, json!([{"n": 1}]));
}

#[test]
fn a_log_file_read_after_its_spans_joins_them_and_reading_it_again_changes_nothing() {
    let world = World::new();
    world.write("span.json", json_request(TRACE, "b2b2b2b2b2b2b2b2").to_string());
    world.write("logs.json", json_logs("b2b2b2b2b2b2b2b2").to_string());
    world.run(&["ingest", "span.json"]).expect(0);
    let ran = world.run(&["ingest", "logs.json"]).expect(0);
    assert!(ran.stdout.contains("2 log records joined spans that the lake held already."), "{}", ran.stdout);
    let before = said(&world);
    assert_eq!(before["faults"], Value::Null, "{before}");
    let report = world.run(&["--json", "ingest", "logs.json"]).expect(0).json();
    assert_eq!((&report["joined_late"], &report["unjoined"]), (&Value::Null, &json!(0)), "{report}");
    assert_eq!(said(&world), before);
    let input = world.run(&["--json", "traces", "query", "SELECT input, output FROM traces"]).expect(0).json();
    assert_eq!(input, json!([{"input": "where is my parcel", "output": "on its way"}]));
}

#[test]
fn metrics_are_turned_away_in_words_and_counted() {
    let point = json!({"asInt": "1", "timeUnixNano": "1795248000100000000"});
    let metrics = json!([{"name": "a", "gauge": {"dataPoints": [point, point]}},
        {"name": "b", "histogram": {"dataPoints": [{"count": "1"}]}}]);
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).to_string();
    let number = NumberDataPoint::default();
    let sum = Data::Sum(Sum { data_points: vec![number.clone(), number], ..Sum::default() });
    let metric = Metric { name: "c".to_owned(), data: Some(sum), ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    let request = ExportMetricsServiceRequest { resource_metrics };
    let world = World::new();
    let serving = Serving::start(&world, &["--json"]);
    let (status, answer) = serving.post("/v1/metrics", JSON, &[], body.as_bytes());
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["partialSuccess"]["rejectedDataPoints"]), (200, &json!("3")), "{answer}");
    assert!(answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains("metrics are not"), "{answer}");
    let (status, answer) = serving.post("/v1/metrics", PROTOBUF, &[], &request.encode_to_vec());
    let partial = ExportMetricsServiceResponse::decode(answer.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!((status, partial.rejected_data_points), (200, 2));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let channel = tonic::transport::Endpoint::new(format!("http://{}", serving.grpc)).unwrap();
        let mut client = MetricsServiceClient::new(channel.connect().await.unwrap());
        client.export(request).await.unwrap().into_inner()
    });
    assert_eq!(answer.partial_success.unwrap().rejected_data_points, 2);
    assert_eq!(serving.post("/v1/metrics", JSON, &[], b"{}"), (200, b"{}".to_vec()));
    assert_eq!(serving.post("/v1/metrics", JSON, &[], b"{broken").0, 400);
    let (code, report) = serving.stop();
    let ignored = |at: usize| report["files"][at]["ignored"]["data points of metrics"].as_u64().unwrap();
    assert_eq!((code, ignored(0) + ignored(1), &report["rejected"]), (0, 7, &json!(0)), "{report}");
}

#[test]
fn the_token_is_asked_for_before_the_body_is_read() {
    let mut world = World::new();
    world.set("ASSIZE_OTLP_TOKEN", "open-sesame");
    let serving = Serving::start(&world, &[]);
    let mut stream = TcpStream::connect(&serving.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The body is announced and never sent.
    let head = format!("POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: 1000\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 401");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let channel = tonic::transport::Endpoint::new(format!("http://{}", serving.grpc)).unwrap();
        let mut client = TraceServiceClient::new(channel.connect().await.unwrap());
        client.export(request(vec![span(3, 3)])).await.unwrap_err()
    });
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    serving.kill();
}

#[test]
fn answers_speak_of_what_was_sent_and_totals_are_told_by_sender() {
    let world = World::new();
    let serving = Serving::start(&world, &["--json"]);
    let bad = json_logs("b2b2b2b2b2b2b2b2").to_string().replace("b2b2b2b2b2b2b2b2", "nonsense");
    let (status, body) = serving.post("/v1/logs", JSON, &[], bad.as_bytes());
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["partialSuccess"]["rejectedLogRecords"]), (200, &json!("2")), "{answer}");
    for id in ["b2b2b2b2b2b2b2b2", "c3c3c3c3c3c3c3c3"] {
        assert_eq!(serving.post("/v1/traces", JSON, &[], json_request(TRACE, id).to_string().as_bytes()).0, 200);
    }
    let other = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "started"}}]}]}]});
    assert_eq!(serving.post("/v1/logs", JSON, &[], other.to_string().as_bytes()).0, 200);
    let (code, report) = serving.stop();
    let sender = &report["files"][0];
    assert_eq!((code, report["files"].as_array().unwrap().len()), (0, 1), "{report}");
    assert_eq!((&sender["file"], &sender["spans"]), (&json!("otlp://127.0.0.1"), &json!(2)), "{report}");
    assert_eq!(sender["dialects"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 2);
    assert_eq!(sender["ignored"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 1);
    let shown = world.run(&["--json", "traces", "show", TRACE]).expect(0).stdout;
    assert!(shown.contains("\"otlp://127.0.0.1\""), "{shown}");
}

#[test]
fn two_receivers_never_write_to_one_lake() {
    let world = World::new();
    let serving = Serving::start(&world, &["--json"]);
    let ran = world.run(&["serve", "--otlp", "127.0.0.1:0"]).expect(2);
    assert!(ran.stderr.contains("another receiver writes to this lake"), "{}", ran.stderr);
    let body = request(vec![span(1, 1)]).encode_to_vec();
    assert_eq!(serving.post("/v1/traces", PROTOBUF, &[], &body).0, 200);
    let (code, report) = serving.stop();
    assert_eq!((code, &report["added"]), (0, &json!(1)), "{report}");
    // Its lock went with it.
    assert_eq!(Serving::start(&world, &["--json"]).stop().0, 0);
}
