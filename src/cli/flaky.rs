//! `assize flaky`: arguments, calls, printing.

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use super::print::Printer;
use super::show::table;
use crate::compare::{Flaky, FlakyRow};
use crate::ops::flaky::{self, Came, FlakyReport, Look, PutAway, Return};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// Rows of a metric that are listed.
const LISTED: usize = 20;

/// `flaky`
#[derive(Debug, Subcommand)]
pub enum FlakyVerb {
    /// Say which examples come out differently when nothing has changed, and whether target or grader wavers.
    #[command(after_help = "Example:\n  assize run support --trials 5\n  assize flaky ls support --min-rate 0.2\n\n\
        Looks at the newest complete runs of one target over one task. The flip rate is the chance that two trials of an \
        example disagree.")]
    Ls(LsArgs),
    /// Leave examples out of the gate until a day; they stay in every report.
    #[command(
        after_help = "Example:\n  assize flaky quarantine q-17 q-40 --suite support -m \"tool times out, #412\" --until 14d\n\n\
        Writes `quarantine.toml` beside the configuration, to be reviewed and committed. The verdict with all examples \
        stands beside the gate's."
    )]
    Quarantine(QuarantineArgs),
    /// Take an example back into the gate, with a reason and runs that show that it holds.
    #[command(
        after_help = "Example:\n  assize run support --trials 5\n  assize flaky return q-17 -m \"tool mended in #430\""
    )]
    Return(ReturnArgs),
}

/// `flaky ls`
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Suite; may be left out when there is only one.
    pub suite: Option<String>,
    /// Target; that of the newest run when left out.
    #[arg(long)]
    pub target: Option<String>,
    /// At most so many runs, the newest.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub runs: u32,
    /// Least flip rate that is listed.
    #[arg(long, value_name = "RATE", default_value_t = 0.1)]
    pub min_rate: f64,
}

/// `flaky quarantine`
#[derive(Debug, Args)]
pub struct QuarantineArgs {
    /// Examples.
    #[arg(required = true, value_name = "EXAMPLE")]
    pub examples: Vec<String>,
    /// Suite; may be left out when there is only one.
    #[arg(long)]
    pub suite: Option<String>,
    /// Why.
    #[arg(long, short = 'm')]
    pub reason: String,
    /// Last day, such as `2026-12-31`, or so many days from today.
    #[arg(long, default_value = "14d", value_name = "DAY")]
    pub until: String,
    /// Who; from git or the environment when left out.
    #[arg(long)]
    pub by: Option<String>,
}

/// `flaky return`
#[derive(Debug, Args)]
pub struct ReturnArgs {
    /// Example.
    pub example: String,
    /// Suite; may be left out when there is only one.
    #[arg(long)]
    pub suite: Option<String>,
    /// What was mended.
    #[arg(long, short = 'm')]
    pub reason: String,
    /// Although it wavered since, or was not run since.
    #[arg(long)]
    pub anyway: bool,
    /// Who; from git or the environment when left out.
    #[arg(long)]
    pub by: Option<String>,
}

/// Carries one out.
pub async fn run(project: &Project, world: &World, verb: FlakyVerb, printer: &Printer) -> Done<Exit> {
    match verb {
        FlakyVerb::Ls(args) => {
            let look = Look { suite: args.suite, target: args.target, runs: args.runs, threshold: args.min_rate };
            let report = flaky::list(project, world, &look).await?;
            printer.result(&report, || listed(&report))?;
        }
        FlakyVerb::Quarantine(args) => {
            let ask = PutAway {
                suite: args.suite,
                examples: args.examples,
                reason: args.reason,
                until: args.until,
                by: args.by,
            };
            let made = flaky::quarantine(project, world, ask).await?;
            printer.result(&made, || {
                let names: Vec<String> = made.iter().map(|entry| one_line(entry.example.as_str(), 60)).collect();
                let until = made.first().map(|entry| entry.until.to_string()).unwrap_or_default();
                format!("In quarantine until {until}: {}. Commit `quarantine.toml`.", names.join(", "))
            })?;
        }
        FlakyVerb::Return(args) => {
            let ask = Return {
                suite: args.suite,
                example: args.example,
                reason: args.reason,
                anyway: args.anyway,
                by: args.by,
            };
            let came = flaky::take_back(project, world, ask).await?;
            printer.result(&came, || returned(&came))?;
        }
    }
    Ok(Exit::Pass)
}

fn returned(came: &Came) -> String {
    let name = one_line(came.returned.example.as_str(), 60);
    let evidence = match came.wavers.first() {
        Some(row) => {
            format!("it still wavers on {} ({} of {} trials passed)", one_line(&row.metric, 40), row.passes, row.trials)
        }
        None if came.trials == 0 => "nothing was seen of it since".to_owned(),
        None => format!("{} trials since agree", came.trials),
    };
    format!("`{name}` counts again: {evidence}. Commit `quarantine.toml`.")
}

fn listed(report: &FlakyReport) -> String {
    let runs = report.runs.len();
    let mut text = format!(
        "{} of target {}, {} run{}{}\n",
        one_line(&report.suite, 40),
        one_line(&report.target, 40),
        runs,
        if runs == 1 { "" } else { "s" },
        if report.left_out > 0 {
            format!("; {} left out: another target or dataset, not complete, or older", report.left_out)
        } else {
            String::new()
        }
    );
    if report.metrics.is_empty() {
        text.push_str("No yes-or-no metric: flips are counted on those only.\n");
    }
    for metric in &report.metrics {
        text.push_str(&of_metric(metric, report));
    }
    for (title, entries) in [("in quarantine", &report.quarantined), ("quarantine is over", &report.expired)] {
        if entries.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{title}");
        let rows: Vec<Vec<String>> = entries
            .iter()
            .map(|entry| {
                let reason = one_line(&entry.reason, 60);
                vec![
                    one_line(entry.example.as_str(), 40),
                    format!("until {}", entry.until),
                    one_line(&entry.by, 30),
                    reason,
                ]
            })
            .collect();
        text.push_str(&table(&["example", "", "by", "reason"], &rows));
    }
    text
}

fn of_metric(metric: &Flaky, report: &FlakyReport) -> String {
    let name = one_line(&metric.metric, 40);
    let Some(rate) = metric.flip_rate.estimate else {
        return format!("\n{name}: every example has one trial so far; run again, or with `--trials 3`\n");
    };
    let interval = metric
        .flip_rate
        .interval
        .as_ref()
        .map(|interval| format!(", 95 % interval {} to {}", percent(interval.lo), percent(interval.hi)))
        .unwrap_or_default();
    let mut text = format!(
        "\n{name}: {} of {} examples waver; two trials of an example disagree {} of the time{interval}\n",
        metric.rows.len(),
        metric.examples,
        percent(rate)
    );
    if metric.rows.is_empty() {
        return text;
    }
    let away = |row: &FlakyRow| report.quarantined.iter().any(|entry| entry.example == row.example);
    let share = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), percent);
    let rows: Vec<Vec<String>> = metric
        .rows
        .iter()
        .take(LISTED)
        .map(|row| {
            vec![
                one_line(row.example.as_str(), 40),
                format!("{}/{}", row.passes, row.trials),
                percent(row.flip_rate),
                share(row.within_runs),
                share(row.between_runs),
                row.source.as_str().to_owned(),
                if away(row) { "quarantine".to_owned() } else { String::new() },
            ]
        })
        .collect();
    text.push_str(&table(&["example", "passed", "flips", "in runs", "between", "who", ""], &rows));
    if metric.rows.len() > LISTED {
        let _ = writeln!(text, "{} more; `--json` has all", metric.rows.len() - LISTED);
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
