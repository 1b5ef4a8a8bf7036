//! The tables of a lake and what their columns mean, as data: for `assize traces tables`, for messages about queries,
//! and for `docs/lake.md`, which a test compares with this.
//!
//! Times are UTC without a zone mark. What is not known is empty, never 0.

use std::fmt::Write as _;

use polars::prelude::{DataType, Field, Schema, TimeUnit};
use serde::Serialize;

/// A table that queries know.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TableInfo {
    /// Its name in SQL.
    pub name: &'static str,
    /// What a row is.
    pub summary: &'static str,
    /// Whether it lies in files of its own; the others are reckoned from these.
    pub stored: bool,
    /// Its columns, in order.
    pub columns: &'static [ColumnInfo],
}

/// A column of a table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ColumnInfo {
    /// Its name.
    pub name: &'static str,
    /// Its type: `text`, `long`, `double`, `bool`, `datetime` (nanoseconds, UTC).
    pub kind: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

const fn column(name: &'static str, kind: &'static str, meaning: &'static str) -> ColumnInfo {
    ColumnInfo { name, kind, meaning }
}

/// All tables.
pub const TABLES: &[TableInfo] = &[
    TableInfo { name: "spans", summary: "one row per span; in queries each span once", stored: true, columns: SPANS },
    TableInfo { name: "traces", summary: "one row per trace", stored: false, columns: TRACES },
    TableInfo { name: "sessions", summary: "one row per session", stored: false, columns: SESSIONS },
    TableInfo {
        name: "scores",
        summary: "one row per score that a user, an annotator or a foreign judge gave",
        stored: true,
        columns: SCORES,
    },
    TableInfo {
        name: "attributes",
        summary: "one row per attribute of a span or its resource that no field of the span holds; unpacks whole spans",
        stored: false,
        columns: ATTRIBUTES,
    },
];

const SPANS: &[ColumnInfo] = &[
    column("trace_id", "text", "the trace"),
    column("span_id", "text", "the span"),
    column("parent_id", "text", "the span above; empty at a root"),
    column("session_id", "text", "the conversation, where the span names one"),
    column("user_id", "text", "the user, where the span names one"),
    column("kind", "text", "`model`, `tool`, `agent`, `retriever`, `evaluator`, `step`, ..."),
    column("name", "text", "name of the span"),
    column("start", "datetime", "begin"),
    column("end", "datetime", "end; empty while open"),
    column("duration_ms", "double", "end minus start; empty while open or negative"),
    column("status", "text", "`unset`, `ok`, `error`"),
    column("error_kind", "text", "kind of the error"),
    column("error_message", "text", "message of the error, at most 1,000 characters"),
    column("agent_name", "text", "the agent"),
    column("agent_version", "text", "its version"),
    column("model_request", "text", "the model that was asked for"),
    column("model_response", "text", "the model that answered"),
    column("provider", "text", "who serves the model"),
    column("prompt_name", "text", "the prompt"),
    column("prompt_version", "text", "its version"),
    column("tool_name", "text", "the tool"),
    column("input_tokens", "long", "tokens read, those from a cache included"),
    column("output_tokens", "long", "tokens written, reasoning included"),
    column("cache_read_tokens", "long", "part of `input_tokens`: read from a cache"),
    column("cache_write_tokens", "long", "part of `input_tokens`: written to a cache"),
    column("reasoning_tokens", "long", "part of `output_tokens`: reasoning"),
    column("cost_usd", "double", "US dollars, where stated or priced"),
    column("service_name", "text", "`service.name` of the resource"),
    column("root", "bool", "stands for its trace; in files as far as known when written, in queries true of the whole"),
    column(
        "counted",
        "bool",
        "counts in tokens: no evaluator span nor below one, no model span that repeats what one below it says; as `root`",
    ),
    column(
        "paid",
        "bool",
        "counts in cost: a tool with a cost, or of model spans inside each other the innermost that states one; as `root`",
    ),
    column("duplicate", "bool", "differing versions of the span were met; this one was kept"),
    column("digest", "text", "of the span's content without where it was read and without a computed price"),
    column(
        "input_digest",
        "text",
        "of what the user asked, apart from white space; in the row of the root, as far as known when written",
    ),
    column("trace_key", "long", "first eight bytes of the digest of `trace_id`: cheap to look up"),
    column("span_bytes", "long", "length of `span`"),
    column("span", "text", "the whole span as JSON"),
];

const TRACES: &[ColumnInfo] = &[
    column("trace_id", "text", "the trace"),
    column("session_id", "text", "of the root, else of the first span that names one"),
    column("user_id", "text", "as `session_id`"),
    column("name", "text", "name of the root"),
    column("agent_name", "text", "as `session_id`"),
    column("agent_version", "text", "as `session_id`"),
    column("model", "text", "the model that answered, else the one asked for; as `session_id`"),
    column("prompt_version", "text", "as `session_id`"),
    column("service_name", "text", "as `session_id`"),
    column("start", "datetime", "start of the first span"),
    column("end", "datetime", "end of the last span"),
    column("duration_ms", "double", "end minus start"),
    column("status", "text", "`error` when a span failed, else `ok`"),
    column("spans", "long", "spans"),
    column("model_calls", "long", "model spans that count"),
    column("tool_calls", "long", "tool spans that count"),
    column("errors", "long", "spans that say they failed"),
    column("input_tokens", "long", "of the model spans that count; of the root when none says any"),
    column("output_tokens", "long", "as `input_tokens`"),
    column("cache_read_tokens", "long", "as `input_tokens`"),
    column("cache_write_tokens", "long", "as `input_tokens`"),
    column("reasoning_tokens", "long", "as `input_tokens`"),
    column(
        "cost_usd",
        "double",
        "of the model and tool spans that count, else of the root; empty when a call has no price",
    ),
    column("input", "text", "what the user asked; unpacks whole spans"),
    column("output", "text", "what the user got; unpacks whole spans"),
];

const SESSIONS: &[ColumnInfo] = &[
    column("session_id", "text", "the session"),
    column("user_id", "text", "of the first trace that names one"),
    column("start", "datetime", "start of its first trace"),
    column("end", "datetime", "end of its last trace"),
    column("duration_ms", "double", "end minus start"),
    column("status", "text", "`error` when a trace has one, else `ok`"),
    column("traces", "long", "traces"),
    column("failed_traces", "long", "traces with a failed span"),
    column("spans", "long", "spans"),
    column("model_calls", "long", "as in `traces`"),
    column("tool_calls", "long", "as in `traces`"),
    column("errors", "long", "as in `traces`"),
    column("input_tokens", "long", "as in `traces`"),
    column("output_tokens", "long", "as in `traces`"),
    column("cost_usd", "double", "sum of its traces; empty when one with tokens has no cost"),
];

const SCORES: &[ColumnInfo] = &[
    column("trace_id", "text", "the trace; empty for a score of a whole session"),
    column("span_id", "text", "the span; empty for a score of the whole trace"),
    column("session_id", "text", "the session, where the score names one"),
    column("name", "text", "what was scored"),
    column("value", "double", "the number; truth values are 0 and 1"),
    column("label", "text", "the word"),
    column("comment", "text", "why, in words"),
    column("origin", "text", "who gave it: `user`, `annotator`, `evaluator`, `unknown`"),
    column("author", "text", "the person or program, by name"),
    column("at", "datetime", "when; scores without a time lie in `day=1970-01-01`"),
    column("source", "text", "where it was read, as JSON"),
    column("digest", "text", "of the score's content without where it was read"),
];

const ATTRIBUTES: &[ColumnInfo] = &[
    column("trace_id", "text", "the trace"),
    column("span_id", "text", "the span"),
    column("key", "text", "name of the attribute, such as `tenant`"),
    column("value", "text", "its value; what is not text, as JSON"),
    column("resource", "bool", "of the process that made the span, not of the span itself"),
];

/// The table of a name.
pub(crate) fn table(name: &str) -> Option<&'static TableInfo> {
    TABLES.iter().find(|table| table.name == name)
}

/// The columns of a table as the engine knows them.
pub(crate) fn polars_schema(name: &str) -> Schema {
    let kind = |kind: &str| match kind {
        "long" => DataType::Int64,
        "double" => DataType::Float64,
        "bool" => DataType::Boolean,
        "datetime" => DataType::Datetime(TimeUnit::Nanoseconds, None),
        _ => DataType::String,
    };
    let columns = table(name).into_iter().flat_map(|table| table.columns);
    columns.map(|column| Field::new(column.name.into(), kind(column.kind))).collect()
}

/// All tables as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut text = String::new();
    for table in TABLES {
        let _ = write!(
            text,
            "### `{}`\n\nIt has {}.\n\n| column | type | meaning |\n|---|---|---|\n",
            table.name, table.summary
        );
        for column in table.columns {
            let _ = writeln!(text, "| `{}` | {} | {} |", column.name, column.kind, column.meaning);
        }
        text.push('\n');
    }
    text
}
