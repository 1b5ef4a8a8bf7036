//! The columns of a part: one row per span.
//!
//! What is often filtered, grouped or summed has a typed column that any engine can read; `span` holds the whole
//! span, so no column is a promise to keep for ever. `schema` says what each means.

use polars::prelude::{Column, DataFrame, DataType, IntoColumn, NamedFrom, PolarsResult, Series, TimeUnit};
use serde_json::Value;

use crate::model::{Digest, Span, SpanStatus, TraceId};

use super::encode::encode;

/// Longest error message in its own column, characters; the span holds all of it.
const MESSAGE: usize = 1000;

/// A span ready to be written.
pub(crate) struct Row<'a> {
    pub(crate) span: &'a Span,
    /// The span as JSON.
    pub(crate) text: String,
    /// Digest of what the span says; see [`encode`].
    pub(crate) digest: String,
    pub(crate) root: bool,
    pub(crate) counted: bool,
    pub(crate) paid: bool,
    pub(crate) duplicate: bool,
    /// Digest of what the user asked, in the row of the root.
    pub(crate) input_digest: Option<String>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(span: &'a Span) -> Self {
        let (text, digest) = encode(span);
        Self { span, text, digest, root: false, counted: true, paid: false, duplicate: false, input_digest: None }
    }
}

/// A short key of a trace id: equal ids have equal keys; unequal ids almost never do, and readers check.
pub(crate) fn trace_key(id: &TraceId) -> i64 {
    let digest = Digest::of(id.as_str().as_bytes());
    let head = digest.as_str().get(3..19).unwrap_or("0");
    u64::from_str_radix(head, 16).unwrap_or(0).cast_signed()
}

/// The frame of one part.
pub(crate) fn frame(rows: &[Row<'_>]) -> PolarsResult<DataFrame> {
    let text = |name: &str, read: fn(&Span) -> Option<&str>| {
        let values: Vec<Option<&str>> = rows.iter().map(|row| read(row.span)).collect();
        Series::new(name.into(), values).into_column()
    };
    let long = |name: &str, read: fn(&Span) -> Option<u64>| {
        let values: Vec<Option<i64>> =
            rows.iter().map(|row| read(row.span).and_then(|count| i64::try_from(count).ok())).collect();
        Series::new(name.into(), values).into_column()
    };
    let double = |name: &str, read: fn(&Span) -> Option<f64>| {
        let values: Vec<Option<f64>> = rows.iter().map(|row| read(row.span)).collect();
        Series::new(name.into(), values).into_column()
    };
    let flag = |name: &str, read: fn(&Row<'_>) -> bool| {
        let values: Vec<bool> = rows.iter().map(read).collect();
        Series::new(name.into(), values).into_column()
    };
    let error_message: Vec<Option<String>> = rows
        .iter()
        .map(|row| Some(row.span.error.as_ref()?.message.as_ref()?.chars().take(MESSAGE).collect()))
        .collect();
    let inputs: Vec<Option<&str>> = rows.iter().map(|row| row.input_digest.as_deref()).collect();
    let digests: Vec<&str> = rows.iter().map(|row| row.digest.as_str()).collect();
    let keys: Vec<i64> = rows.iter().map(|row| trace_key(&row.span.trace_id)).collect();
    let bytes: Vec<i64> = rows.iter().map(|row| i64::try_from(row.text.len()).unwrap_or(i64::MAX)).collect();
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let columns = vec![
        text("trace_id", |span| Some(span.trace_id.as_str())),
        text("span_id", |span| Some(span.span_id.as_str())),
        text("parent_id", |span| span.parent_id.as_ref().map(|id| id.as_str())),
        text("session_id", |span| span.session_id.as_ref().map(|id| id.as_str())),
        text("user_id", |span| span.user_id.as_deref()),
        text("kind", |span| Some(span.kind.as_str())),
        text("name", |span| Some(&span.name)),
        time("start", rows.iter().map(|row| Some(row.span.start_ns)).collect())?,
        time("end", rows.iter().map(|row| row.span.end_ns).collect())?,
        double("duration_ms", Span::duration_ms),
        text("status", |span| Some(status(span.status))),
        text("error_kind", |span| span.error.as_ref()?.kind.as_deref()),
        Series::new("error_message".into(), error_message).into_column(),
        text("agent_name", Span::agent_name),
        text("agent_version", |span| span.agent.as_ref()?.version.as_deref()),
        text("model_request", |span| span.model.as_ref()?.request.as_deref()),
        text("model_response", |span| span.model.as_ref()?.response.as_deref()),
        text("provider", |span| span.model.as_ref()?.provider.as_deref()),
        text("prompt_name", |span| span.prompt.as_ref()?.name.as_deref()),
        text("prompt_version", |span| span.prompt.as_ref()?.version.as_deref()),
        text("tool_name", |span| span.tool.as_ref().map(|tool| tool.name.as_str())),
        long("input_tokens", |span| span.usage.input),
        long("output_tokens", |span| span.usage.output),
        long("cache_read_tokens", |span| span.usage.cache_read),
        long("cache_write_tokens", |span| span.usage.cache_write),
        long("reasoning_tokens", |span| span.usage.reasoning),
        double("cost_usd", |span| span.cost_usd),
        text("service_name", |span| span.resource.get("service.name").and_then(Value::as_str)),
        flag("root", |row| row.root),
        flag("counted", |row| row.counted),
        flag("paid", |row| row.paid),
        flag("duplicate", |row| row.duplicate),
        Series::new("digest".into(), digests).into_column(),
        Series::new("input_digest".into(), inputs).into_column(),
        Series::new("trace_key".into(), keys).into_column(),
        Series::new("span_bytes".into(), bytes).into_column(),
        Series::new("span".into(), texts).into_column(),
    ];
    DataFrame::new(rows.len(), columns)
}

pub(crate) fn time(name: &str, values: Vec<Option<i64>>) -> PolarsResult<Column> {
    Ok(Series::new(name.into(), values).cast(&DataType::Datetime(TimeUnit::Nanoseconds, None))?.into_column())
}

fn status(status: SpanStatus) -> &'static str {
    match status {
        SpanStatus::Unset => "unset",
        SpanStatus::Ok => "ok",
        SpanStatus::Error => "error",
    }
}
