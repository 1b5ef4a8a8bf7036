//! Results as text for people, but for those of verbs with a file of their own. Decides nothing; every foreign text passes through `sys::text`.

use std::fmt::Write as _;

pub use super::table::{count, dollars, duration, short, table, thousands};
use crate::lake::TraceRow;
use crate::model::{CancelReason, RunId, RunStatus, Span, SpanKind, Trace};
use crate::ops::demo::Demo;
use crate::ops::doctor::{Look, Standing};
use crate::ops::init::Started;
use crate::ops::judges::{Calibrated, Checked, Full, Listed, Share};
use crate::ops::run::Planned;
use crate::store::{Baseline, RunSummary};
use crate::sys::text::one_line;

pub fn started(done: &Started) -> String {
    let mut text = format!("A project in {}:\n", done.folder.components().collect::<std::path::PathBuf>().display());
    for file in &done.files {
        let _ = writeln!(text, "  {file}");
    }
    text.push_str("\nNext:\n  assize run\n  assize bless latest -m \"first\"\n  assize ci\n");
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

fn share(share: &Share) -> String {
    let interval = share.interval.as_ref().map(|i| format!(" [{:.2}, {:.2}]", i.lo, i.hi)).unwrap_or_default();
    format!("{}/{}{interval}", share.k, share.n)
}

pub fn calibrated(done: &Calibrated) -> String {
    let mut text = format!("{} asked of {}\n  agreement    {}\n", done.judge, done.model, share(&done.accuracy));
    if let Some(sensitivity) = &done.sensitivity {
        let _ = writeln!(text, "  of passes    {}", share(sensitivity));
    }
    if let Some(specificity) = &done.specificity {
        let _ = writeln!(text, "  of failures  {}", share(specificity));
    }
    if !done.confusion.is_empty() {
        let rows: Vec<Vec<String>> =
            done.confusion.iter().map(|(a, b, n)| vec![one_line(a, 40), one_line(b, 40), thousands(*n)]).collect();
        let _ = write!(text, "\n{}", table(&["people", "judge", "examples"], &rows));
    }
    for (reason, n) in &done.unscored {
        let _ = writeln!(text, "unscored: {n} {reason}");
    }
    for (example, people, judge, reason) in &done.disagreements {
        let _ = writeln!(text, "differs on {example}: people say {people}, the judge {judge}. {reason}");
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
    let row = |r: &TraceRow| {
        let started = jiff::Timestamp::from_nanosecond(i128::from(r.start_ns))
            .map(|t| t.strftime("%Y-%m-%d %H:%M:%S").to_string());
        vec![
            one_line(r.trace_id.as_str(), 36),
            started.unwrap_or_else(|_| "?".to_owned()),
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
