//! What an ingest, a pull or a receiver did, in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::show::{count, thousands};
use crate::ingest::api::PullSummary;
use crate::model::Redactions;
use crate::ops::ingest::{IngestReport, Rejects};
use crate::sys::text::{for_terminal, one_line};

pub fn ingested(report: &IngestReport) -> String {
    let mut text = format!(
        "{} with {} from {}; {} new to the lake, {} there already.\n",
        count(report.traces, "trace", "traces"),
        count(report.spans, "span", "spans"),
        from(report),
        thousands(report.added),
        thousands(report.already_there),
    );
    for line in recognised(report) {
        let _ = writeln!(text, "{line}");
    }
    for pull in &report.pulls {
        let _ = writeln!(text, "{}", pulled(pull));
    }
    if report.scores > 0 {
        let _ = writeln!(
            text,
            "{} that others gave; {} new to the lake, {} there already.",
            count(report.scores, "score", "scores"),
            thousands(report.scores_added),
            thousands(report.scores_already_there),
        );
    }
    let mut ignored: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in report.files.iter().flat_map(|file| &file.ignored) {
        *ignored.entry(kind).or_default() += count;
    }
    if !ignored.is_empty() {
        let kinds: Vec<String> = ignored.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        let _ = writeln!(text, "Of no use here: {}.", kinds.join(", "));
    }
    if !report.faults.is_empty() {
        let faults: Vec<String> = report.faults.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        let _ = writeln!(text, "Faults of structure, kept as they are: {}.", faults.join(", "));
    }
    if report.duplicates > 0 {
        let _ = writeln!(text, "{} met twice and kept once.", count(report.duplicates, "span was", "spans were"));
    }
    if report.unjoined > 0 {
        let _ = writeln!(
            text,
            "warning: {} a span that is neither here nor in the lake: what they say is in no trace. Ingest the file of \
             their spans, then this one again.",
            count(report.unjoined, "log record names", "log records name"),
        );
    }
    if report.joined_late > 0 {
        let records = count(report.joined_late, "log record", "log records");
        let _ = writeln!(text, "{records} joined spans that the lake held already.");
    }
    if report.unpriced_calls > 0 {
        let _ = writeln!(
            text,
            "{} of a model without a known price ({}): their cost is unknown; add it under `[prices]`.",
            count(report.unpriced_calls, "call", "calls"),
            report.unpriced_models.keys().take(8).cloned().collect::<Vec<_>>().join(", ")
        );
    }
    text.push_str(&redacted(&report.redacted));
    if !report.left_alone.is_empty() {
        let names: Vec<String> = report.left_alone.iter().take(5).map(|name| one_line(name, 80)).collect();
        let more = report.left_alone.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let files = count(report.left_alone.len() as u64, "file", "files");
        let _ = writeln!(text, "Left alone, in no known format: {files} ({}{more}).", names.join(", "));
    }
    for unusable in &report.unusable {
        let _ = writeln!(text, "Not read: {unusable}");
    }
    if report.rejected > 0 {
        let _ = writeln!(text, "{} rejected:", count(report.rejected, "record was", "records were"));
        for rejection in &report.rejections {
            let _ = writeln!(text, "  {rejection}");
        }
        if let Some(path) = &report.rejected_file {
            let _ =
                writeln!(text, "All of them are kept in {}; `assize ingest --rejected` lists them.", path.display());
        }
    }
    if report.cut_off > 0 {
        let files = count(report.cut_off, "file breaks", "files break");
        let _ = writeln!(text, "{files} off: what stands before is in the lake; ingest the whole file again.");
    }
    if report.interrupted {
        text.push_str(
            "Interrupted: what was read is in the lake. The same command again goes on; nothing is kept twice.\n",
        );
    }
    text
}

/// What the spans came from: files, or whoever sent them to the receiver.
fn from(report: &IngestReport) -> String {
    let files = report.files.len() as u64;
    let sent = report.files.iter().all(|file| file.file.starts_with("otlp") && file.file.contains("://"));
    if sent && files > 0 { count(files, "sender", "senders") } else { count(files, "file", "files") }
}

/// How many rejected rows are listed.
const TOLD: usize = 20;

/// Formats, each with how many files and why the first of them was taken for it.
fn recognised(report: &IngestReport) -> Vec<String> {
    let mut formats: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    // What was pulled is told with the pull.
    let pulled: Vec<&str> = report.pulls.iter().map(|pull| pull.source.as_str()).collect();
    for file in report.files.iter().filter(|file| !pulled.contains(&file.file.as_str())) {
        formats.entry(&file.format).or_insert((0, &file.why_recognised)).0 += 1;
    }
    let line = |(format, (files, why)): (&str, (u64, &str))| match files {
        1 => format!("Read as {format}: {}.", one_line(why, 200)),
        _ => format!("Read as {format}: {files} files, the first for {}.", one_line(why, 200)),
    };
    formats.into_iter().map(line).collect()
}

/// Rows that were turned away, as they are kept.
pub fn rejected(rows: &Rejects) -> String {
    if rows.rows.is_empty() {
        return "No row was ever turned away.\n".to_owned();
    }
    let mut text = String::new();
    let told = rows.rows.iter().skip(rows.rows.len().saturating_sub(TOLD));
    for row in told {
        let _ = writeln!(text, "{row}");
        let _ = writeln!(text, "    {}", for_terminal(&row.excerpt));
    }
    let total = rows.rows.len();
    let last = if total > TOLD { format!("; these are the last {TOLD}") } else { String::new() };
    let _ = writeln!(
        text,
        "{} turned away{last}. All are in {}",
        count(total as u64, "row was", "rows were"),
        rows.file.display()
    );
    text
}

/// What a pull did, in one or two lines.
fn pulled(pull: &PullSummary) -> String {
    let mut text = format!(
        "{} ({}): {} in {}, {}",
        pull.source,
        pull.platform,
        count(pull.rows, "row", "rows"),
        count(pull.requests, "request", "requests"),
        pull.how
    );
    if pull.retries > 0 {
        let _ = write!(text, "; {} sent again", count(pull.retries, "request was", "requests were"));
    }
    if pull.partial_answers > 0 {
        let _ = write!(text, "; {} only a part (207)", count(pull.partial_answers, "answer was", "answers were"));
    }
    match &pull.stopped {
        Some(why) => {
            let _ = write!(text, ".\nStopped, with everything kept that came: {}.", for_terminal(why));
        }
        None if pull.complete => text.push('.'),
        None => text.push_str("; there is more, the next pull goes on from here."),
    }
    text
}

/// What was taken out, by rule and by field; nothing when nothing was.
pub fn redacted(account: &Redactions) -> String {
    if account.is_empty() {
        return String::new();
    }
    let listed = |counts: &BTreeMap<String, u64>| {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        let more = counts.len().saturating_sub(8);
        let told: Vec<String> = counts.iter().take(8).map(|(name, count)| format!("{count} {name}")).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", told.join(", "))
    };
    format!(
        "Redacted before writing: {} ({}); in {}.\n",
        count(account.total(), "value", "values"),
        listed(&account.rules),
        listed(&account.fields)
    )
}
