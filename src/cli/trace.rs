//! `assize traces ls` and `assize traces show`: traces as text for people. Decides nothing; every foreign text passes
//! through `sys::text`.

use std::fmt::Write as _;

use super::show::{count, dollars, duration, moment, short, table, thousands};
use crate::lake::TraceRow;
use crate::model::{Span, SpanKind, Trace, TraceFault, TraceScore, Usage};
use crate::ops::traces::{Money, ShownTrace};
use crate::sys::text::one_line;

/// Scores and faults that are listed; `--json` holds all.
const LISTED: usize = 20;

pub fn traces(rows: &[TraceRow]) -> String {
    let row = |r: &TraceRow| {
        vec![
            one_line(r.trace_id.as_str(), 36),
            moment(r.start_ns),
            one_line(r.agent.as_deref().unwrap_or(&r.name), 30),
            thousands(r.spans),
            thousands(r.errors),
            r.duration_ms.map_or("?".to_owned(), duration),
            r.usage.total().map_or("?".to_owned(), thousands),
            r.cost_usd.map_or("?".to_owned(), dollars),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    table(&["trace", "started", "agent", "spans", "errors", "took", "tokens", "cost"], &rows)
}

pub fn trace(shown: &ShownTrace, ascii: bool) -> String {
    let trace = &shown.trace;
    let mut text = head(shown);
    let list = |text: &mut String, what: &str, lines: Vec<String>| {
        for line in lines.iter().take(LISTED) {
            let _ = writeln!(text, "{what:<9} {line}");
        }
        if let Some(more) = lines.len().checked_sub(LISTED).filter(|more| *more > 0) {
            let _ = writeln!(text, "{what:<9} and {more} more; `--json` lists all");
        }
    };
    list(&mut text, "fault", trace.faults.iter().map(fault).collect());
    list(&mut text, "score", shown.scores.iter().map(|score| score_line(score, trace)).collect());
    let bullet = if ascii { "-" } else { "•" };
    for (depth, span) in trace.outline() {
        let indent = "  ".repeat(depth.min(20));
        let _ = writeln!(text, "{indent}{bullet} {}", span_line(span));
        for line in span_texts(span) {
            let _ = writeln!(text, "{indent}    {line}");
        }
    }
    text
}

/// What holds of the whole trace.
fn head(shown: &ShownTrace) -> String {
    let trace = &shown.trace;
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    row("trace", one_line(trace.id.as_str(), 80));
    let said = [("agent", "agent"), ("agent_version", "version"), ("session", "session"), ("user", "user")];
    let parts = said.iter().filter_map(|(dimension, word)| Some((word, trace.dimension(dimension)?)));
    let parts: Vec<String> = parts.map(|(word, value)| format!("{word} {}", one_line(&value, 60))).collect();
    if !parts.is_empty() {
        row("of", parts.join(", "));
    }
    if let Some(start) = trace.spans.iter().map(|span| span.start_ns).min() {
        let took = shown.duration_ms.map_or_else(|| "not ended".to_owned(), |ms| format!("took {}", duration(ms)));
        row("started", format!("{}, {took}", moment(start)));
    }
    let of = |kind: SpanKind| trace.spans.iter().filter(|span| span.kind == kind).count() as u64;
    let failed = trace.spans.iter().filter(|span| span.failed()).count() as u64;
    row(
        "spans",
        format!(
            "{}: {}, {}, {} failed",
            thousands(trace.spans.len() as u64),
            count(of(SpanKind::Model), "model call", "model calls"),
            count(of(SpanKind::Tool), "tool call", "tool calls"),
            thousands(failed)
        ),
    );
    row("tokens", tokens(&shown.usage));
    row("cost", money(&shown.money));
    text
}

fn tokens(usage: &Usage) -> String {
    if usage.is_unknown() {
        return "unknown".to_owned();
    }
    let whole = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), thousands);
    let part = |count: Option<u64>, word: &str| count.map(|count| format!("{} {word}", thousands(count)));
    let side = |count: Option<u64>, word: &str, parts: [Option<String>; 2]| {
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        format!("{} {word}{parts}", whole(count))
    };
    let cached = [part(usage.cache_read, "from a cache"), part(usage.cache_write, "to a cache")];
    let read = side(usage.input, "read", cached);
    format!("{read}, {}", side(usage.output, "written", [part(usage.reasoning, "reasoning"), None]))
}

fn money(money: &Money) -> String {
    let how = if money.computed { ", computed from prices" } else { ", as stated" };
    match money.cost_usd {
        Some(cost) => format!("{}{how}", dollars(cost)),
        None if money.known_usd > 0.0 => {
            let calls = count(money.unknown_calls, "call", "calls");
            format!("at least {}{how}; {calls} of unknown cost", dollars(money.known_usd))
        }
        None => "unknown".to_owned(),
    }
}

/// A fault of structure in words.
fn fault(fault: &TraceFault) -> String {
    let named = |span: &crate::model::SpanId| one_line(span.as_str(), 40);
    match fault {
        TraceFault::MissingParent { span } => format!("span {} names a parent that is not here", named(span)),
        TraceFault::SeveralRoots { count } => format!("{} spans have no parent", thousands(*count as u64)),
        TraceFault::Cycle { span } => format!("the parents of span {} form a circle", named(span)),
        TraceFault::EndBeforeStart { span } => format!("span {} ends before it starts", named(span)),
        TraceFault::Duplicate { span } => {
            format!("span {} was met with different contents; the latest was kept", named(span))
        }
    }
}

fn score_line(score: &TraceScore, trace: &Trace) -> String {
    let mut line = one_line(&score.name, 40);
    if let Some(value) = score.value {
        let _ = write!(line, " {}", short(value, 4));
    }
    if let Some(label) = &score.label {
        let _ = write!(line, " {}", one_line(label, 40));
    }
    let _ = write!(line, "  by {}", score.origin.as_str());
    if let Some(author) = &score.author {
        let _ = write!(line, " {}", one_line(author, 40));
    }
    if let Some(id) = &score.span_id {
        let span = trace.spans.iter().find(|span| span.span_id == *id);
        let _ = write!(line, " on span {}", one_line(span.map_or(id.as_str(), |span| &span.name), 40));
    }
    if let Some(comment) = &score.comment {
        let _ = write!(line, ": {}", one_line(comment, 160));
    }
    line
}

fn span_line(span: &Span) -> String {
    let mut line = format!("{:<9} {}", span.kind.as_str(), one_line(&span.name, 60));
    if let Some(ms) = span.duration_ms() {
        let _ = write!(line, "  {}", duration(ms));
    }
    if span.kind == SpanKind::Model {
        if let Some(tokens) = span.usage.total() {
            let _ = write!(line, "  {} tokens", thousands(tokens));
        }
        if let Some(cost) = span.cost_usd {
            let _ = write!(line, "  {}", dollars(cost));
        }
    }
    if span.failed() {
        let why = span.error.as_ref().and_then(|error| error.message.as_deref().or(error.kind.as_deref()));
        let _ = write!(line, "  FAILED {}", one_line(why.unwrap_or(""), 120));
    }
    line.trim_end().to_owned()
}

fn span_texts(span: &Span) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(tool) = &span.tool {
        if let Some(arguments) = &tool.arguments {
            lines.push(format!("asked  {}", one_line(&arguments.to_string(), 160)));
        }
        if let Some(result) = &tool.result {
            lines.push(format!("got    {}", one_line(&result.to_string(), 160)));
        }
    }
    if let Some(last) = span.messages_out.last() {
        let said = last.plain_text();
        if !said.is_empty() {
            lines.push(format!("said   {}", one_line(&said, 200)));
        }
    }
    lines
}
