//! ClickHouse: the table of spans that the OpenTelemetry Collector's exporter writes, by SQL over HTTP.
//!
//! Filter and window are part of the query. Pages go by key, not by offset: the next one begins behind the last
//! row's time, trace and span, so that each page costs the same. Values are bound as parameters, never written into
//! the query, except for the user's own condition.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pager::{Answer, Body, Page, Pager, Plan, Request, Shape, place_of, restore, text};
use super::{KEY, Keys, PlatformInfo, header};
use crate::ingest::json::describe;

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "clickhouse",
    summary: "ClickHouse: the `otel_traces` table of the OpenTelemetry Collector",
    url: Some("http://localhost:8123"),
    keys: &[KEY.named("CLICKHOUSE_PASSWORD").optional()],
    requests_per_minute: 600,
    takes: &["key_env", "user", "project", "table", "filter"],
    requires: &[],
    sample: "url = \"http://localhost:8123\"\ntable = \"otel.otel_traces\"\nfilter = \"ServiceName = 'shop'\"\n",
    headers: |keys: &Keys, options| {
        let mut headers = header("x-clickhouse-key", &keys.key);
        headers.extend(options.user.iter().map(|user| ("x-clickhouse-user", user.as_str().into())));
        headers
    },
    new,
};

/// The exporter's columns. Times as numbers: their text depends on the server's time zone.
const COLUMNS: &str = "toUnixTimestamp64Nano(t.Timestamp) AS TimestampNanos, TraceId, SpanId, ParentSpanId, \
     TraceState, SpanName, SpanKind, ServiceName, ResourceAttributes, ScopeName, ScopeVersion, SpanAttributes, \
     Duration, StatusCode, StatusMessage, \
     arrayMap(at -> toUnixTimestamp64Nano(at), t.Events.Timestamp) AS EventsTimestampNanos, \
     t.Events.Name AS EventsName, t.Events.Attributes AS EventsAttributes, t.Links.TraceId AS LinksTraceId, \
     t.Links.SpanId AS LinksSpanId, t.Links.TraceState AS LinksTraceState, t.Links.Attributes AS LinksAttributes";

/// Key of the last row handed out.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Last {
    nanos: String,
    trace: String,
    span: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    last: Option<Last>,
    done: bool,
}

struct ClickHouse {
    plan: Plan,
    table: String,
    filter: Option<String>,
    state: State,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let table = plan.options.table.clone().unwrap_or_else(|| "otel_traces".to_owned());
    let named: Vec<String> = table.split('.').map(|part| format!("`{}`", part.trim_matches('`'))).collect();
    if named.len() > 2 || table.contains(['\\', ' ', ';']) || named.iter().any(|part| part == "``") {
        return Err(format!("`table` must be `table` or `database.table`, found `{table}`"));
    }
    let filter = plan.text_filter("ServiceName = 'shop'")?;
    Ok(Box::new(ClickHouse {
        plan: plan.clone(),
        table: named.join("."),
        filter,
        state: restore(place, State::default())?,
    }))
}

impl ClickHouse {
    fn limit(&self) -> u32 {
        self.plan.page_size(5000, 100_000)
    }

    fn ask(&self) -> Request {
        let mut conditions = vec!["t.Timestamp < fromUnixTimestamp64Nano({until:Int64})".to_owned()];
        let mut values = vec![("until", self.plan.until.as_nanosecond().to_string())];
        if let Some(since) = self.plan.since {
            conditions.push("t.Timestamp >= fromUnixTimestamp64Nano({since:Int64})".to_owned());
            values.push(("since", since.as_nanosecond().to_string()));
        }
        if let Some(service) = &self.plan.options.project {
            conditions.push("ServiceName = {service:String}".to_owned());
            values.push(("service", escaped(service)));
        }
        if let Some(last) = &self.state.last {
            // The first condition repeats what the second says, for the partitions' sake.
            conditions.push("t.Timestamp >= fromUnixTimestamp64Nano({nanos:Int64})".to_owned());
            conditions.push(
                "(t.Timestamp, TraceId, SpanId) > (fromUnixTimestamp64Nano({nanos:Int64}), {trace:String}, {span:String})"
                    .to_owned(),
            );
            let trace = escaped(&last.trace);
            values.extend([("nanos", last.nanos.clone()), ("trace", trace), ("span", escaped(&last.span))]);
        }
        conditions.extend(self.filter.iter().map(|filter| format!("({filter}\n)")));
        let query = format!(
            "SELECT {COLUMNS}\nFROM {} AS t\nWHERE {}\nORDER BY t.Timestamp, TraceId, SpanId\nLIMIT {}\nFORMAT JSONEachRow",
            self.table,
            conditions.join("\n  AND "),
            self.limit()
        );
        // Without waiting for the end, an error in the middle of the answer would come after a good status.
        let ask = Request { post: true, path: "/".to_owned(), body: Body::Text(query), ..Request::default() };
        values
            .iter()
            .fold(ask.query("wait_end_of_query", 1), |ask, (name, value)| ask.query(&format!("param_{name}"), value))
    }
}

/// Parameters are read in ClickHouse's own escaping.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

impl Pager for ClickHouse {
    fn next(&self) -> Option<Request> {
        if self.state.done { None } else { Some(self.ask()) }
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        let rows = answer.lines()?;
        self.state.done = rows.len() < self.limit() as usize;
        if let Some(row) = rows.last() {
            let key = |at: &str| row.pointer(at).and_then(|value| value.as_str().map(str::to_owned));
            let last = text(row, "/TimestampNanos")
                .zip(key("/TraceId").zip(key("/SpanId")))
                .map(|(nanos, (trace, span))| Last { nanos, trace, span });
            let wrong = || Shape::new(describe(row), "rows with `TimestampNanos`, `TraceId` and `SpanId`");
            self.state.last = Some(last.ok_or_else(wrong)?);
        }
        Ok(Page::turned(rows))
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}
