//! ClickHouse's HTTP interface for the one query that is asked: by a small reading of that query, or by the real
//! engine where there is one.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Ask, COUNT, FIRST, KEY, Platform, Reply, call_id, root_id, trace_id};

/// The exporter's table, as the OpenTelemetry Collector makes it.
pub const TABLE: &str = "CREATE TABLE otel.otel_traces (Timestamp DateTime64(9), TraceId String, SpanId String, \
    ParentSpanId String, TraceState String, SpanName LowCardinality(String), SpanKind LowCardinality(String), \
    ServiceName LowCardinality(String), ResourceAttributes Map(LowCardinality(String), String), ScopeName String, \
    ScopeVersion String, SpanAttributes Map(LowCardinality(String), String), Duration UInt64, \
    StatusCode LowCardinality(String), StatusMessage String, Events Nested (Timestamp DateTime64(9), \
    Name LowCardinality(String), Attributes Map(LowCardinality(String), String)), Links Nested (TraceId String, \
    SpanId String, TraceState String, Attributes Map(LowCardinality(String), String))) ENGINE = MergeTree \
    PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))";

/// Who answers.
pub enum Engine {
    /// Rows held here.
    Rows(Vec<Value>),
    /// A Python with the `chdb` package, which is ClickHouse in a library, and the folder of its data.
    Real { python: PathBuf, data: PathBuf },
}

pub struct ClickHouse(pub Engine);

/// Spans of `traces` traces, as the query names their columns.
pub fn rows(traces: usize) -> Vec<Value> {
    (0..traces).flat_map(|n| [row(n, false), row(n, true)]).collect()
}

pub fn row(n: usize, call: bool) -> Value {
    let start = (FIRST + 60 * n as i64) * 1_000_000_000 + if call { 100_000_000 } else { 0 };
    let attributes = if call {
        json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-x", "gen_ai.usage.input_tokens": "120",
            "gen_ai.usage.cache_read.input_tokens": "100", "gen_ai.usage.output_tokens": "30",
            "gen_ai.conversation.id": "s1",
            "gen_ai.input.messages": "[{\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"content\":\"hi\"}]}]",
            "gen_ai.output.messages": "[{\"role\":\"assistant\",\"parts\":[{\"type\":\"text\",\"content\":\"hello\"}],\"finish_reason\":\"stop\"}]"})
    } else {
        json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support", "gen_ai.conversation.id": "s1"})
    };
    json!({"TimestampNanos": start, "TraceId": trace_id(n), "SpanId": if call { call_id(n) } else { root_id(n) },
        "ParentSpanId": if call { root_id(n) } else { String::new() }, "TraceState": "",
        "SpanName": if call { "chat gpt-x" } else { "invoke_agent support" },
        "SpanKind": if call { "Client" } else { "Internal" }, "ServiceName": "shop",
        "ResourceAttributes": {"service.name": "shop", "service.version": "1.4.2"}, "ScopeName": "x", "ScopeVersion": "1",
        "SpanAttributes": attributes, "Duration": 800_000_000, "StatusCode": "Ok", "StatusMessage": "",
        "EventsTimestampNanos": [start + 1], "EventsName": ["note"], "EventsAttributes": [{"k": "v"}],
        "LinksTraceId": [], "LinksSpanId": [], "LinksTraceState": [], "LinksAttributes": []})
}

/// The statement that puts a row into the real table.
pub fn insert(row: &Value) -> String {
    let nanos = row["TimestampNanos"].as_i64().unwrap();
    let text = |key: &str| format!("'{}'", row[key].as_str().unwrap().replace('\'', "\\'"));
    let map = |value: &Value| {
        let pairs = value.as_object().unwrap().iter().map(|(key, value)| {
            format!("'{key}', '{}'", value.as_str().unwrap().replace('\\', "\\\\").replace('\'', "\\'"))
        });
        format!("map({})", pairs.collect::<Vec<_>>().join(", "))
    };
    format!(
        "INSERT INTO otel.otel_traces SELECT fromUnixTimestamp64Nano({nanos}), {}, {}, {}, '', {}, {}, {}, {}, 'x', '1', \
         {}, 800000000, 'Ok', '', [fromUnixTimestamp64Nano({})], ['note'], [map('k', 'v')], [], [], [], []",
        text("TraceId"),
        text("SpanId"),
        text("ParentSpanId"),
        text("SpanName"),
        text("SpanKind"),
        text("ServiceName"),
        map(&row["ResourceAttributes"]),
        map(&row["SpanAttributes"]),
        nanos + 1
    )
}

/// Runs SQL in the real engine.
pub fn real(python: &Path, data: &Path, sql: &str) -> Result<Vec<u8>, String> {
    let script = "import sys\nfrom chdb import session\ns = session.Session(sys.argv[1])\n\
                  out = s.query(sys.stdin.read(), 'JSONEachRow')\nsys.stdout.write(str(out))";
    let mut child = Command::new(python)
        .args(["-c", script, data.to_str().unwrap()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn parameter<'a>(ask: &'a Ask, name: &str) -> Option<&'a str> {
    ask.query(&format!("param_{name}"))
}

/// Reads the query as far as it matters, and says what it does not know.
fn select(rows: &[Value], ask: &Ask) -> Result<Vec<Value>, String> {
    let sql = &ask.text;
    let number = |name: &str| parameter(ask, name).and_then(|text| text.parse::<i64>().ok());
    for (name, kind) in [
        ("until", "Int64"),
        ("since", "Int64"),
        ("nanos", "Int64"),
        ("trace", "String"),
        ("span", "String"),
        ("service", "String"),
    ] {
        if sql.contains(&format!("{{{name}:{kind}}}")) != parameter(ask, name).is_some() {
            return Err(format!("Code: 456. DB::Exception: Substitution `{name}` is not set"));
        }
    }
    if !sql.contains("FROM `otel`.`otel_traces` AS t") || !sql.contains("ORDER BY t.Timestamp, TraceId, SpanId") {
        return Err("Code: 60. DB::Exception: Unknown table expression identifier".to_owned());
    }
    let limit: usize =
        sql.split("LIMIT ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().parse().unwrap();
    let key = |row: &Value| {
        (
            row["TimestampNanos"].as_i64().unwrap(),
            row["TraceId"].as_str().unwrap().to_owned(),
            row["SpanId"].as_str().unwrap().to_owned(),
        )
    };
    let last = number("nanos")
        .map(|nanos| (nanos, parameter(ask, "trace").unwrap().to_owned(), parameter(ask, "span").unwrap().to_owned()));
    let chats_only = sql.contains("(SpanAttributes['gen_ai.operation.name'] = 'chat'\n)");
    let mut found: Vec<Value> = rows
        .iter()
        .filter(|row| {
            let at = key(row).0;
            number("since").is_none_or(|since| at >= since)
                && number("until").is_none_or(|until| at < until)
                && parameter(ask, "service").is_none_or(|service| row["ServiceName"] == service)
                && last.as_ref().is_none_or(|last| key(row) > *last)
                && (!chats_only || row["SpanAttributes"]["gen_ai.operation.name"] == "chat")
        })
        .cloned()
        .collect();
    found.sort_by_key(key);
    found.truncate(limit);
    Ok(found)
}

impl Platform for ClickHouse {
    fn opens(&self, ask: &Ask) -> bool {
        ask.header("x-clickhouse-key") == KEY && ask.header("x-clickhouse-user") == "reader"
    }

    fn answer(&self, ask: &Ask) -> Reply {
        if !ask.post || ask.path != "/" || ask.query("wait_end_of_query") != Some("1") {
            return Reply::nowhere();
        }
        match &self.0 {
            Engine::Rows(rows) => match select(rows, ask) {
                Ok(rows) => Reply::lines(&rows),
                Err(error) => Reply { body: error.into_bytes(), ..Reply::refuse(400, "") },
            },
            Engine::Real { python, data } => {
                // The HTTP interface binds parameters; the library is told by statements.
                let names = ask.query.iter().filter(|(name, _)| name.starts_with("param_"));
                let bind: String =
                    names.map(|(name, value)| format!("SET {name} = '{}'; ", value.replace('\'', "\\'"))).collect();
                match real(python, data, &format!("{bind}{}", ask.text)) {
                    Ok(body) => Reply { body, ..Reply::json(Value::Null) },
                    Err(error) => Reply { body: error.into_bytes(), ..Reply::refuse(400, "") },
                }
            }
        }
    }

    fn expected(&self) -> Vec<Value> {
        rows(COUNT)
    }

    fn options(&self) -> &'static str {
        "user = \"reader\"\ntable = \"otel.otel_traces\"\nproject = \"shop\"\npage_size = 4"
    }
}
