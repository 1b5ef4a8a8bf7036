//! `assize drift`: its arguments and its tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;

use super::print::Printer;
use super::show::table;
use crate::compare::{Charted, Drift, Limits, Seen, Watched};
use crate::ops::drift::{self, Ask, Drifted};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// Shown below the help of the verb.
pub const EXAMPLES: &str = "Example:\n  assize drift support\n  assize drift --live --since 30d\n  \
                            assize drift --live --metric correct --json\n  \
                            assize drift --live --since 30d --alarm";

/// `drift`
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// Suite whose runs are looked at; may be left out when there is only one.
    #[arg(conflicts_with = "live")]
    pub suite: Option<String>,
    /// Live traces of the lake, day by day, instead of runs.
    #[arg(long)]
    pub live: bool,
    /// Only this metric or score; may be repeated.
    #[arg(long = "metric", value_name = "NAME")]
    pub metrics: Vec<String>,
    /// Only traces that began at or after this: a time, a date, or how far back (`30d`).
    #[arg(long, value_name = "WHEN", requires = "live")]
    pub since: Option<String>,
    /// Only traces that began before this.
    #[arg(long, value_name = "WHEN", requires = "live")]
    pub until: Option<String>,
    /// Latest runs that are looked at.
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "live")]
    pub last: u32,
    /// Tell the alarms under `[alarms]` what began to fire and what is over since they were last told.
    #[arg(long, requires = "live")]
    pub alarm: bool,
}

/// Carries it out.
pub async fn run(project: &Project, world: &World, args: DriftArgs, printer: &Printer) -> Done<Exit> {
    let DriftArgs { suite, live, metrics, since, until, last, alarm } = args;
    let ask = Ask { suite, live, metrics, since, until, last, alarm };
    let (found, exit) = drift::drift(project, world, &ask).await?;
    printer.result(&found, || text(&found))?;
    Ok(exit)
}

fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 { 0 } else { 3 };
    // What rounds to nothing has no sign.
    let text = format!("{value:.digits$}");
    if text.trim_start_matches(['-', '0', '.']).is_empty() { text.trim_start_matches('-').to_owned() } else { text }
}

fn text(found: &Drifted) -> String {
    let mut text = match &found.suite {
        Some(suite) => format!("Runs of {}\n", one_line(suite, 60)),
        None => match found.window_hours.filter(|hours| *hours < 24) {
            Some(hours) => format!("Live traces by windows of {hours} hours (UTC)\n"),
            None => "Live traces by day (UTC)\n".to_owned(),
        },
    };
    if !found.rules.is_empty() {
        let rows: Vec<Vec<String>> = found.rules.iter().map(rule).collect();
        text.push_str(&table(&["rule", "state", "last day", "level", "estimate", "bound", "limit", "n"], &rows));
        for watched in &found.rules {
            for (day, what) in &watched.events {
                let what = if *what == "fire" { "fired" } else { "cleared" };
                let _ = writeln!(text, "{day}  {} {what}", title(watched));
            }
            if let Some((evidence, day)) =
                watched.evidence.as_ref().and_then(|found| Some((found, found.alarm.as_ref()?)))
            {
                let _ = writeln!(
                    text,
                    "{day}  {}: running evidence passed {:.0} that its mean fell below {}",
                    title(watched),
                    evidence.threshold,
                    number(evidence.m0)
                );
            }
        }
        text.push('\n');
    }
    if !found.charts.is_empty() {
        let rows: Vec<Vec<String>> = found.charts.iter().map(chart).collect();
        text.push_str(&table(&["metric", "points", "usual", "now", "cusum", "ewma", "changed", "p", "drift"], &rows));
        for charted in found.charts.iter().filter(|charted| charted.drift != Drift::Steady && !charted.is_short()) {
            let _ = writeln!(text, "{}.", one_line(&charted.sentence, 300));
        }
        for (points, names) in short(&found.charts) {
            let _ = writeln!(
                text,
                "{points} points are too few to say what is usual; charts take 5: {}.",
                names.join(", ")
            );
        }
        for charted in &found.charts {
            if let Some(sentence) = charted.distrust.as_ref().or(charted.doubt.as_ref()) {
                let _ = writeln!(text, "{}: {}.", one_line(&charted.name, 40), one_line(sentence, 400));
            }
        }
    }
    for left_out in &found.left_out {
        let _ = writeln!(text, "left out: {}", one_line(left_out, 200));
    }
    for told in &found.alarms {
        let why = told.why.as_ref().map(|why| format!(": {}", one_line(why, 300))).unwrap_or_default();
        let _ = writeln!(text, "alarm {}: {} {}{why}", one_line(&told.alarm, 60), one_line(&told.key, 100), told.what);
    }
    text.truncate(text.trim_end().len());
    text
}

/// Names of the charts with too few points, by how many they have.
fn short(charts: &[Charted]) -> BTreeMap<usize, Vec<String>> {
    let mut short: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for charted in charts.iter().filter(|charted| charted.is_short()) {
        short.entry(charted.points.len()).or_default().push(one_line(&charted.name, 40));
    }
    short
}

fn title(watched: &Watched) -> String {
    match &watched.score {
        Some(name) => format!("{} of {}", watched.rule, one_line(name, 40)),
        None => watched.rule.to_owned(),
    }
}

fn rule(watched: &Watched) -> Vec<String> {
    let state = match (&watched.since, watched.state) {
        (Some(since), _) => format!("FIRING since {since}"),
        (None, state) => state.to_owned(),
    };
    let or = |value: Option<f64>| value.map_or("?".to_owned(), number);
    let last = watched.days.last();
    let of = |read: fn(&Seen) -> Option<f64>| or(last.and_then(read));
    let size = last.map_or_else(String::new, |seen| match seen.baseline_n {
        0 => seen.n.to_string(),
        before => format!("{} against {before}", seen.n),
    });
    vec![
        title(watched),
        state,
        last.map(|seen| seen.day.clone()).unwrap_or_default(),
        last.map_or("unknown", |seen| seen.level).to_owned(),
        of(|seen| seen.estimate),
        of(|seen| seen.bound),
        of(|seen| Some(seen.limit)),
        size,
    ]
}

fn chart(charted: &Charted) -> Vec<String> {
    let or = |value: Option<f64>| value.map_or("?".to_owned(), number);
    let beyond = |limits: &Option<Limits>| match limits {
        None => "?".to_owned(),
        Some(limits) => limits.first_beyond.clone().unwrap_or_else(|| "within".to_owned()),
    };
    let drift = match charted.drift {
        Drift::Unknown => "unknown",
        Drift::Steady => "steady",
        Drift::Better => "better",
        Drift::Worse => "WORSE",
    };
    vec![
        one_line(&charted.name, 40),
        charted.points.len().to_string(),
        or(charted.usual),
        or(charted.points.last().map(|point| point.value)),
        beyond(&charted.cusum),
        beyond(&charted.ewma),
        charted.change.as_ref().map(|change| change.at.clone()).unwrap_or_default(),
        charted.change.as_ref().map(|change| format!("{:.3}", change.p)).unwrap_or_default(),
        drift.to_owned(),
    ]
}
