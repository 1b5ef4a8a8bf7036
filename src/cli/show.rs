//! Results as text for people. Decides nothing; every foreign text passes through `sys::text`.

use std::fmt::Write as _;

use crate::dataset::{ChangedExample, DatasetDiff, Recognised};
use crate::lake::TraceRow;
use crate::model::{CancelReason, DatasetHeader, ExampleId, RunId, RunStatus, Span, SpanKind, Trace};
use crate::ops::datasets::{Imported, Shown};
use crate::ops::demo::Demo;
use crate::ops::doctor::{Look, Standing};
use crate::ops::init::Started;
use crate::ops::judges::{Checked, Full, Listed};
use crate::ops::run::Planned;
use crate::store::{Baseline, RunSummary};
use crate::sys::text::one_line;

/// A table of left-aligned columns, two spaces apart.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut row = String::new();
        for (cell, width) in cells.zip(&widths) {
            let pad = width.saturating_sub(cell.chars().count());
            let _ = write!(row, "{cell}{}  ", " ".repeat(pad));
        }
        let _ = writeln!(text, "{}", row.trim_end());
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// `1 trace`, `2 traces`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { many })
}

pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in so many significant digits, never fewer than its whole part has; whole numbers whole.
pub fn short(number: f64, digits: u8) -> String {
    if number == number.trunc() && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    let last = i32::from(digits) - 1;
    let decimals = last - number.abs().log10().floor().clamp(-9.0, f64::from(last)) as i32;
    let text = format!("{number:.*}", usize::try_from(decimals).unwrap_or(0));
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

pub fn dollars(amount: f64) -> String {
    if amount > 0.0 && amount < 0.000_05 {
        return "<$0.0001".to_owned();
    }
    if amount >= 1.0 { format!("${amount:.2}") } else { format!("${amount:.4}") }
}

/// A span of time as people say it.
fn duration(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

pub fn started(done: &Started) -> String {
    let mut text = format!("A project in {}:\n", done.folder.components().collect::<std::path::PathBuf>().display());
    for file in &done.files {
        let _ = writeln!(text, "  {file}");
    }
    text.push_str("\nNext:\n  assize run\n  assize bless latest -m \"first\"\n  assize ci\n");
    text
}

pub fn design(header: &DatasetHeader) -> String {
    let mut text = String::new();
    if !header.variants.is_empty() {
        let variants: Vec<String> =
            header.variants.iter().map(|(name, n)| format!("{} ({n})", one_line(name, 40))).collect();
        let _ = writeln!(text, "Recorded variants: {}.", variants.join(", "));
    }
    if let Some(design) = &header.design {
        let _ = writeln!(text, "Design: {}, seed {}.", design.method, design.seed);
        let rows: Vec<Vec<String>> = design
            .strata
            .iter()
            .map(|s| {
                vec![one_line(&s.name, 50), s.population.to_string(), s.chosen.to_string(), format!("{:.4}", s.rate)]
            })
            .collect();
        if design.probability_sample {
            text.push_str(&table(&["stratum", "held", "chosen", "probability"], &rows));
        } else {
            text.push_str("No probability sample: estimates from it say nothing about all traces.\n");
        }
    }
    text
}

pub fn datasets(headers: &[DatasetHeader]) -> String {
    if headers.is_empty() {
        return "No dataset yet: `assize sample` makes one from traces, `assize dataset import` from a file."
            .to_owned();
    }
    let row = |h: &DatasetHeader| {
        vec![
            h.reference(),
            h.examples.to_string(),
            h.variants.len().to_string(),
            h.digest.short().to_owned(),
            h.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
        ]
    };
    table(&["dataset", "examples", "variants", "digest", "made"], &headers.iter().map(row).collect::<Vec<_>>())
}

pub fn dataset(shown: &Shown) -> String {
    let header = &shown.header;
    let mut text = format!("{}: {}\n", header.reference(), count(header.examples, "example", "examples"));
    if let Some(description) = &header.description {
        let _ = writeln!(text, "{}", one_line(description, 300));
    }
    let versions: Vec<String> = shown.versions.iter().map(u32::to_string).collect();
    let _ = writeln!(
        text,
        "Made {} from {}. Versions: {}.",
        header.created_at,
        header.sources.join(", "),
        versions.join(", ")
    );
    let _ = writeln!(
        text,
        "Digest of the task {}, of recorded outputs {}.",
        header.digest.short(),
        header.recorded_digest.short()
    );
    text.push_str(&super::dataset_edit::contents(header, &shown.contents));
    text.push_str(&design(header));
    if shown.history.len() > 1 {
        let until: Vec<DatasetHeader> =
            shown.history.iter().filter(|past| past.version <= header.version).rev().cloned().collect();
        let _ = write!(text, "\nHistory:\n{}", super::dataset_edit::log(&until));
    }
    for example in &shown.examples {
        let _ = writeln!(text, "\n{}", one_line(example.id.as_str(), 80));
        let _ = writeln!(text, "  input      {}", one_line(&example.input_text(), 200));
        if let Some(reference) = &example.reference {
            let _ = writeln!(text, "  reference  {}", one_line(&reference.to_string(), 200));
        }
        if let Some(calls) = &example.expected_calls {
            let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let _ = writeln!(text, "  calls      {}", one_line(&names, 200));
        }
        for attachment in &example.attachments {
            let kind = attachment.media_type.as_deref().unwrap_or("unknown type");
            let name = one_line(&attachment.name, 80);
            let _ = writeln!(text, "  attached   {name} ({}, {} bytes)", one_line(kind, 60), attachment.bytes);
        }
        let tags: Vec<&str> = example.split.iter().chain(&example.tags).map(String::as_str).collect();
        if !tags.is_empty() {
            let _ = writeln!(text, "  in         {}", one_line(&tags.join(", "), 200));
        }
        for (name, value) in &example.dimensions {
            let _ = writeln!(text, "  {}  {}", one_line(name, 40), one_line(value, 80));
        }
        for recorded in &example.recorded {
            let variant = recorded.variant.as_deref().unwrap_or("recorded");
            let _ = writeln!(
                text,
                "  {} #{}  {}",
                one_line(variant, 40),
                recorded.trial,
                one_line(&recorded.output.text(), 200)
            );
        }
        for label in &example.labels {
            let who = label.annotator.as_deref().unwrap_or("somebody");
            let about = label.variant.as_deref().map(|v| format!(" of {}", one_line(v, 40))).unwrap_or_default();
            let value = one_line(&label.value.to_string(), 80);
            let _ =
                writeln!(text, "  label      {}{about}: {value} by {}", one_line(&label.name, 40), one_line(who, 40));
        }
    }
    text
}

/// How many examples of each kind of difference are listed.
const DIFFERENCES: usize = 20;

pub fn dataset_diff(diff: &DatasetDiff) -> String {
    let mut text = format!("{}\n", diff.summary());
    if !diff.head.is_empty() {
        let _ = writeln!(text, "Beside the examples: {} changed.", diff.head.join(", "));
    }
    let mut part = |mark: char, lines: Vec<String>| {
        for line in lines.iter().take(DIFFERENCES) {
            let _ = writeln!(text, "  {mark} {line}");
        }
        if let Some(more) = lines.len().checked_sub(DIFFERENCES).filter(|more| *more > 0) {
            let _ = writeln!(text, "  {mark} and {more} more; `--json` lists all");
        }
    };
    let ids = |ids: &[ExampleId]| ids.iter().map(|id| one_line(id.as_str(), 100)).collect();
    part('+', ids(&diff.added));
    part('-', ids(&diff.removed));
    let changed =
        |change: &ChangedExample| format!("{}: {}", one_line(change.id.as_str(), 100), change.fields.join(", "));
    part('~', diff.changed.iter().map(changed).collect());
    text
}

/// Formats of other tools, each with the first reason and how many files.
fn formats_met(recognised: &[Recognised]) -> Vec<(&str, &str, u64)> {
    let mut met: Vec<(&str, &str, u64)> = Vec::new();
    for file in recognised {
        match met.iter_mut().find(|(format, ..)| *format == file.format) {
            Some((_, _, files)) => *files += 1,
            None => met.push((file.format, &file.why, 1)),
        }
    }
    met
}

pub fn imported(done: &Imported) -> String {
    let verb = if done.unchanged { "is unchanged:" } else { "has" };
    let mut text = format!(
        "{} {verb} {} from {}.\n",
        done.header.reference(),
        count(done.header.examples, "example", "examples"),
        count(done.rows, "row", "rows")
    );
    for (format, why, files) in formats_met(&done.recognised) {
        let _ = writeln!(text, "Read as {format} ({}): {why}.", count(files, "file", "files"));
    }
    if done.filtered > 0 {
        let by = if done.recognised.is_empty() { "the mapping's filter" } else { "the format's rules" };
        let _ = writeln!(text, "{} left out by {by}.", count(done.filtered, "row was", "rows were"));
    }
    if done.rejected > 0 {
        let _ = writeln!(text, "{} rejected:", count(done.rejected, "row was", "rows were"));
        for rejection in &done.rejections {
            let _ = writeln!(text, "  {rejection}");
        }
    }
    text.push_str(&super::ingested::redacted(&done.redacted));
    text.push_str(&design(&done.header));
    text
}

pub fn plan(planned: &Planned) -> String {
    let plan = &planned.plan;
    let trials = if planned.trials == 1 { "1 trial".to_owned() } else { format!("{} trials", planned.trials) };
    let mut text = format!(
        "Plan: {} on {} ({}, {trials} each): {}",
        planned.target,
        planned.dataset,
        count(planned.examples, "example", "examples"),
        count(plan.cells, "cell", "cells"),
    );
    if plan.cells_done > 0 {
        let _ = write!(text, ", {} done already", thousands(plan.cells_done));
    }
    text.push('.');
    if let Some(total) = plan.total().filter(|total| planned.model_calls > 0 && total.tokens.high > 0.0) {
        let _ = write!(
            text,
            "\n  {}, about {} to {} tokens, ",
            count(planned.model_calls, "model call", "model calls"),
            thousands(total.tokens.low as u64),
            thousands(total.tokens.high as u64)
        );
        if total.unpriced && total.cost_usd.high == 0.0 {
            text.push_str("price unknown");
        } else {
            let _ = write!(text, "{} to {}", dollars(total.cost_usd.low), dollars(total.cost_usd.high));
            if total.unpriced {
                text.push_str(" and some calls without a known price");
            }
        }
        match planned.max_cost {
            Some(limit) => {
                let _ = write!(text, "; the run stops at {}.", dollars(limit));
            }
            None => text.push('.'),
        }
    }
    for note in &planned.notes {
        let _ = write!(text, "\n  Note: {}.", one_line(note, 400));
    }
    text
}

pub fn stopped(stop: &CancelReason, run: &RunId) -> String {
    let why = match stop {
        CancelReason::Decided { looks, .. } => {
            return format!("The verdict is settled, seen at look {looks}: the rest was not run.");
        }
        CancelReason::Interrupted => "Interrupted.".to_owned(),
        CancelReason::BudgetSpent => "The budget is spent.".to_owned(),
        CancelReason::DeadlinePassed => "The time is spent.".to_owned(),
        CancelReason::Fatal { failure } => {
            format!("Stopped, because every further call would fail: {}", one_line(&failure.to_string(), 400))
        }
    };
    format!("{why}\nEverything done is kept. Go on with:\n  assize run --resume {}", run.short())
}

pub fn runs(runs: &[RunSummary]) -> String {
    if runs.is_empty() {
        return "No run yet: `assize run` makes one.".to_owned();
    }
    let row = |run: &RunSummary| {
        let status = match run.status {
            RunStatus::Open => "open",
            RunStatus::Complete => "complete",
            RunStatus::Stopped if run.header.until_decided.is_some() => "stopped early",
            RunStatus::Stopped => "stopped",
        };
        let scored =
            run.totals.as_ref().map_or("?".to_owned(), |totals| format!("{}/{}", totals.scored, totals.cells_planned));
        vec![
            run.header.id.short().to_owned(),
            run.header.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
            one_line(&run.header.suite, 30),
            one_line(&run.header.target.name, 30),
            one_line(&run.header.dataset, 40),
            scored,
            status.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    table(&["run", "started", "suite", "target", "dataset", "scored", "status"], &rows)
}

pub fn blessed(baseline: &Baseline) -> String {
    format!(
        "Run {} is now the baseline of {}, blessed by {}: {}",
        baseline.run.short(),
        one_line(&baseline.suite, 60),
        one_line(&baseline.by, 100),
        one_line(&baseline.reason, 200)
    )
}

pub fn judges(list: &[Listed]) -> String {
    let row = |judge: &Listed| {
        vec![
            judge.name.clone(),
            judge.version.clone(),
            judge.scale.to_owned(),
            if judge.own { "own" } else { "shipped" }.to_owned(),
            one_line(&judge.summary, 160),
        ]
    };
    table(&["judge", "version", "scale", "from", "criterion"], &list.iter().map(row).collect::<Vec<_>>())
}

pub fn judge(full: &Full) -> String {
    format!(
        "{} {} ({} scale, {} calibration examples)\n{}\nNeeds: {}\nDigest: {}\n\n{}\n",
        full.listed.name,
        full.listed.version,
        full.listed.scale,
        full.listed.calibration_examples,
        full.listed.summary,
        full.inputs.join(", "),
        full.digest,
        full.rubric
    )
}

pub fn checked(checked: &[Checked]) -> String {
    let mut text = String::new();
    for judge in checked {
        if judge.findings.is_empty() {
            let _ = writeln!(text, "{}: nothing to mend.", judge.judge);
            continue;
        }
        let _ = writeln!(text, "{}:", judge.judge);
        for (severity, what, mend) in &judge.findings {
            let mend = if mend.is_empty() { String::new() } else { format!(" ({mend})") };
            let _ = writeln!(text, "  {severity}: {what}{mend}");
        }
    }
    text
}

pub fn looks(looks: &[Look]) -> String {
    let mut text = String::new();
    for look in looks {
        let mark = match look.standing {
            Standing::Ok => "ok    ",
            Standing::Note => "note  ",
            Standing::Broken => "BROKEN",
        };
        let _ =
            writeln!(text, "{mark}  {:<20} {}", look.what, look.found.replace('\n', "\n                             "));
    }
    text
}

pub fn traces(rows: &[TraceRow]) -> String {
    if rows.is_empty() {
        return "No trace fits: `assize ingest` fills the lake.".to_owned();
    }
    let row = |r: &TraceRow| {
        let started = jiff::Timestamp::from_nanosecond(i128::from(r.start_ns))
            .map(|t| t.strftime("%Y-%m-%d %H:%M:%S").to_string());
        vec![
            one_line(r.trace_id.as_str(), 36),
            started.unwrap_or_else(|_| "?".to_owned()),
            one_line(r.agent.as_deref().unwrap_or(&r.name), 30),
            r.spans.to_string(),
            r.errors.to_string(),
            r.duration_ms.map_or("?".to_owned(), duration),
            r.usage.total().map_or("?".to_owned(), thousands),
            r.cost_usd.map_or("?".to_owned(), dollars),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    table(&["trace", "started", "agent", "spans", "errors", "took", "tokens", "cost"], &rows)
}

pub fn trace(trace: &Trace, ascii: bool) -> String {
    let mut text = format!("{}\n", one_line(trace.id.as_str(), 80));
    if let Some(session) = &trace.session_id {
        let _ = writeln!(text, "session {}", one_line(session.as_str(), 80));
    }
    for fault in &trace.faults {
        let _ = writeln!(text, "fault: {}", one_line(&serde_json::to_string(fault).unwrap_or_default(), 200));
    }
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
    line
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

pub fn demo(done: &Demo, comparison: &str) -> String {
    format!(
        "{}\nThe whole report:  {}\nThe project:       {}   (try `cd` there and `assize runs`, `assize traces ls --errors`)\n",
        comparison.trim_end(),
        done.report.display(),
        done.folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_not_rounded_away() {
        let six: Vec<String> =
            [0.0, 3.0, 0.000_123_456_789, 1234.5678, 1e-12, -2.5].map(|number| short(number, 6)).into();
        assert_eq!(six, ["0", "3", "0.000123457", "1234.57", "0.000000000001", "-2.5"]);
        let four: Vec<String> = [0.25, 19.666_67, 99.996, 123_449.6].map(|number| short(number, 4)).into();
        assert_eq!(four, ["0.25", "19.67", "100", "123450"]);
    }
}
