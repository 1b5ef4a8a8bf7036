//! `assize traces cost`: its arguments and its table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;

use super::print::Printer;
use super::show::{count, dollars, short, table, thousands};
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
    /// At most so many rows in the table; the others are added up in one more. `--csv` and `--json` hold all.
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
    let (shown, others) = report.rows.split_at(limit.min(report.rows.len()));
    let mut rows: Vec<Vec<String>> = shown.iter().map(cells).collect();
    if !others.is_empty() {
        let mut cells = cells(&CostRow::together(count(others.len() as u64, "other", "others"), others));
        for at in [1, 9] {
            cells.get_mut(at).into_iter().for_each(|cell| "-".clone_into(cell));
        }
        rows.push(cells);
    }
    rows.push(cells(&report.total));
    let mut text = table(&head, &rows);
    if report.rows.iter().all(|row| row.name == NONE) {
        let _ = writeln!(text, "No call, nor a span above one, names `{}`.", report.by);
    }
    if let Some(evaluators) = &report.evaluators {
        let _ = writeln!(text, "Evaluators, not in the total: {} in {} calls.", money(evaluators), evaluators.calls);
    }
    if !report.unknown_models.is_empty() {
        let models = named(&report.unknown_models);
        let _ = writeln!(text, "Without a known price: {models}. Add prices under `[prices]`.");
    }
    if !report.without_tokens.is_empty() {
        let models = named(&report.without_tokens);
        let _ = writeln!(text, "Without tokens: {models}. Their tracer has to record them; no price would help.");
    }
    if report.total.unknown_calls > 0 {
        let _ = writeln!(text, "Sums with such calls are lower bounds.");
    }
    if let Some(day) = report.prices_as_of.as_ref().filter(|_| computed(report)) {
        let own = match report.own_prices {
            0 => String::new(),
            n => format!("; {} of your own first", count(n, "price", "prices")),
        };
        let _ = writeln!(text, "Computed costs: shipped list prices as known on {day}{own}.");
    }
    text
}

/// The first names of a count, and how many more there are.
fn named(counts: &BTreeMap<String, u64>) -> String {
    let mut names: Vec<String> = counts.iter().take(10).map(|(name, n)| format!("{name} ({n})")).collect();
    if counts.len() > 10 {
        names.push(format!("{} more", counts.len() - 10));
    }
    names.join(", ")
}

/// Whether a price of the table is in any sum.
fn computed(report: &CostReport) -> bool {
    [Some(&report.total), report.evaluators.as_ref()]
        .into_iter()
        .flatten()
        .any(|row| row.known_cost_usd > row.stated_cost_usd)
}

/// A value of the dimension; one that was computed is not shown to its last bit.
fn name(text: &str) -> String {
    let long = text.split_once('.').is_some_and(|(_, decimals)| decimals.len() > 6);
    match text.parse::<f64>() {
        Ok(number) if long && number.is_finite() => short(number, 6),
        _ => one_line(text, 40),
    }
}

fn cells(row: &CostRow) -> Vec<String> {
    let tokens = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), thousands);
    let part = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), thousands);
    vec![
        name(&row.name),
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
