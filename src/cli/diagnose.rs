//! `assize traces diagnose`: its arguments and its tables.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::print::Printer;
use super::show::{count, table};
use crate::diagnose::Severity;
use crate::ops::diagnose::{self, Ask, Found, OneTrace, Summary};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// Findings of one trace that are listed; `--json` has all.
const LISTED: usize = 50;

/// Shown below the help of the verb.
pub const EXAMPLES: &str = "Example:\n  assize traces diagnose --since 7d\n  assize traces diagnose 4bf92f35\n  \
                            assize traces diagnose --where \"agent=support\" --severity high --fail";

/// How bad a finding must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Least {
    /// All.
    Medium,
    /// The answer is probably affected.
    High,
    /// What was done or said is wrong.
    Critical,
}

/// `traces diagnose`
#[derive(Debug, Args)]
pub struct DiagnoseArgs {
    /// One trace, by its id or its first characters; without it all that fit.
    #[arg(conflicts_with_all = ["filter", "since", "until"])]
    pub trace: Option<String>,
    /// Only traces that fit, such as `ticket.intent=refund`.
    #[arg(long = "where", value_name = "FILTER")]
    pub filter: Option<String>,
    /// Only traces that began at or after this: a time, a date, or how far back (`7d`).
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only traces that began before this.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Limits of the detectors and what only you know of your tools, in a TOML file; `assize schema
    /// scorer.failure_modes` lists the keys below `rules`.
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Least severity that counts.
    #[arg(long, value_name = "LEVEL", default_value = "medium")]
    pub severity: Least,
    /// Exit with 1 where anything is found.
    #[arg(long)]
    pub fail: bool,
}

/// Carries it out.
pub fn run(project: &Project, world: &World, args: DiagnoseArgs, printer: &Printer) -> Done<Exit> {
    let severity = match args.severity {
        Least::Medium => Severity::Medium,
        Least::High => Severity::High,
        Least::Critical => Severity::Critical,
    };
    let DiagnoseArgs { trace, filter, since, until, rules, fail, .. } = args;
    let ask = Ask { trace, filter, since, until, rules, severity, fail };
    let (found, exit) = diagnose::run(project, world, &ask)?;
    printer.result(&found, || match &found {
        Found::One(one) => one_trace(one),
        Found::Many(summary) => many(summary),
    })?;
    Ok(exit)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn one_trace(one: &OneTrace) -> String {
    let names: HashMap<&str, &str> =
        one.trace.spans.iter().map(|span| (span.span_id.as_str(), span.name.as_str())).collect();
    let mut text = format!("trace {}\n", one_line(one.trace.id.as_str(), 80));
    let rows: Vec<Vec<String>> = one
        .diagnosis
        .findings
        .iter()
        .take(LISTED)
        .map(|finding| {
            let spans = finding.spans.iter().take(4).map(|id| {
                let name = names.get(id.as_str()).copied().unwrap_or_default();
                format!("{} ({})", one_line(name, 30), one_line(id, 16))
            });
            let more = finding.spans.len().saturating_sub(4);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            vec![
                word(finding.severity).to_owned(),
                finding.detector.as_str().to_owned(),
                finding.subtype.to_string(),
                format!("{}{more}", spans.collect::<Vec<_>>().join(", ")),
            ]
        })
        .collect();
    if rows.is_empty() {
        text.push_str("nothing was found\n");
    } else {
        text.push_str(&table(&["severity", "detector", "form", "spans"], &rows));
    }
    let left = one.diagnosis.findings.len().saturating_sub(LISTED);
    if left > 0 {
        let _ = writeln!(text, "{left} more findings; `--json` has all.");
    }
    for detector in &one.diagnosis.unknown {
        let _ = writeln!(text, "{} cannot say: no span of a tool is recorded", detector.as_str());
    }
    let counts = &one.diagnosis.counts;
    let _ = write!(
        text,
        "{}, {} failed; {}, {}; {}; {}; depth {}",
        count(counts.tool_calls, "tool call", "tool calls"),
        counts.tool_errors,
        count(counts.retry_count, "retry", "retries"),
        count(counts.loop_count, "repeated call", "repeated calls"),
        count(counts.llm_calls, "model call", "model calls"),
        count(counts.agents, "agent", "agents"),
        counts.max_depth
    );
    text
}

fn many(summary: &Summary) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let rows: Vec<Vec<String>> = summary
        .kinds
        .iter()
        .map(|kind| {
            vec![
                word(kind.severity).to_owned(),
                kind.detector.as_str().to_owned(),
                kind.subtype.clone(),
                kind.traces.to_string(),
                kind.share.map_or("?".to_owned(), percent),
                kind.interval.as_ref().map_or(String::new(), |i| format!("[{}, {}]", percent(i.lo), percent(i.hi))),
                kind.examples.first().map(|id| one_line(id.as_str(), 32)).unwrap_or_default(),
            ]
        })
        .collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text = table(&["severity", "detector", "form", "traces", "share", "95 % interval", "for example"], &rows);
    }
    for (detector, traces) in &summary.unknown {
        let traces = count(*traces, "trace", "traces");
        let _ = writeln!(text, "{} cannot say in {traces}: no span of a tool is recorded", detector.as_str());
    }
    let _ = write!(text, "{} of {} have a finding", summary.affected, count(summary.traces, "trace", "traces"));
    text
}
