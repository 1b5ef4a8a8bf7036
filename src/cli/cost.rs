//! `assize traces cost`: its arguments and its table.

use std::fmt::Write as _;

use clap::Args;

use super::print::Printer;
use super::show::{dollars, table, thousands};
use crate::dataset::labels::guarded;
use crate::ops::cost::{Ask, CostReport, CostRow, NONE, cost};
use crate::ops::{Done, Exit, Failed, Project, World};
use crate::sys::text::one_line;

/// `traces cost`
#[derive(Debug, Args)]
pub struct CostArgs {
    /// Rows: `model`, `agent`, `session`, `user`, `tenant`, `prompt_version`, `trace`, or the name of an attribute.
    #[arg(long, default_value = "model", value_name = "DIMENSION")]
    pub by: String,
    /// Only traces that fit, such as `ticket.intent=refund`.
    #[arg(long = "where", value_name = "FILTER")]
    pub filter: Option<String>,
    /// Only traces that began at or after this: a time, a date, or how far back (`7d`).
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only traces that began before this: a time, a date, or how far back.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// At most so many rows in the table; the others are one row.
    #[arg(long, default_value_t = 30)]
    pub limit: usize,
    /// Print comma-separated values with all rows.
    #[arg(long)]
    pub csv: bool,
}

/// Carries it out.
pub fn run(project: &Project, world: &World, args: CostArgs, printer: &Printer) -> Done<Exit> {
    let ask = Ask { by: args.by, filter: args.filter, since: args.since, until: args.until };
    let report = cost(project, world, &ask)?;
    if args.csv && !printer.json {
        printer.bytes(&csv(&report)?)?;
    } else {
        printer.result(&report, || shown(&report, args.limit))?;
    }
    Ok(Exit::Pass)
}

fn shown(report: &CostReport, limit: usize) -> String {
    if report.total.calls + report.total.tool_calls == 0 {
        return "No call in the traces that fit.".to_owned();
    }
    let head = [
        report.by.as_str(),
        "traces",
        "calls",
        "input",
        "cached",
        "output",
        "reasoning",
        "cost",
        "share",
        "per trace",
        "unknown",
    ];
    let mut rows: Vec<Vec<String>> = report.rows.iter().take(limit).map(cells).collect();
    rows.push(cells(&report.total));
    let mut text = table(&head, &rows);
    if report.rows.len() > limit {
        let _ = writeln!(
            text,
            "{} more rows; `--limit` shows them, `--csv` and `--json` hold all.",
            report.rows.len() - limit
        );
    }
    if report.rows.iter().all(|row| row.name == NONE) {
        let _ = writeln!(text, "No call, nor a span above one, names `{}`.", report.by);
    }
    if let Some(evaluators) = &report.evaluators {
        let _ = writeln!(text, "Evaluators, not in the total: {} in {} calls.", money(evaluators), evaluators.calls);
    }
    if report.total.unknown_calls > 0 {
        let models: Vec<String> =
            report.unknown_models.iter().take(10).map(|(name, n)| format!("{name} ({n})")).collect();
        let _ = writeln!(
            text,
            "Without a known price: {}. Sums with them are lower bounds; add prices under `[prices]`.",
            models.join(", ")
        );
    }
    text
}

fn cells(row: &CostRow) -> Vec<String> {
    let tokens = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), thousands);
    let part = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), thousands);
    vec![
        one_line(&row.name, 40),
        thousands(row.traces),
        thousands(row.calls),
        tokens(row.usage.input),
        part(row.usage.cache_read),
        tokens(row.usage.output),
        part(row.usage.reasoning),
        money(row),
        row.share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", 100.0 * share)),
        row.cost_per_trace_usd.map_or_else(|| "unknown".to_owned(), dollars),
        thousands(row.unknown_calls),
    ]
}

/// A sum as it can be said: known, at least so much, or not known at all.
fn money(row: &CostRow) -> String {
    match row.cost_usd {
        Some(cost) => dollars(cost),
        None if row.known_cost_usd > 0.0 => format!("at least {}", dollars(row.known_cost_usd)),
        None => "unknown".to_owned(),
    }
}

fn csv(report: &CostReport) -> Done<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = [
        report.by.as_str(),
        "traces",
        "calls",
        "tool_calls",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
        "cost_usd",
        "known_cost_usd",
        "unknown_calls",
        "share",
        "cost_per_trace_usd",
    ];
    writer.write_record(head.map(guarded)).map_err(Failed::instrument)?;
    for row in &report.rows {
        let whole = |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let fields = [
            guarded(&row.name),
            row.traces.to_string(),
            row.calls.to_string(),
            row.tool_calls.to_string(),
            whole(row.usage.input),
            whole(row.usage.cache_read),
            whole(row.usage.cache_write),
            whole(row.usage.output),
            whole(row.usage.reasoning),
            number(row.cost_usd),
            row.known_cost_usd.to_string(),
            row.unknown_calls.to_string(),
            number(row.share),
            number(row.cost_per_trace_usd),
        ];
        writer.write_record(fields).map_err(Failed::instrument)?;
    }
    writer.into_inner().map_err(|error| Failed::instrument(anyhow::anyhow!("{error}")))
}
