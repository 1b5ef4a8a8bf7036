//! The page over many runs: how each metric of each suite went, run by run, with its interval, and the runs behind it.
//!
//! A line is drawn only between runs that can be set against each other: another dataset or another grader begins a new
//! one. Comparing is left to `compare`; nothing here is a finding.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Assets, TOOL, registry, write};
use crate::compare::{MetricSummary, RunView};
use crate::model::Direction;
use crate::report::number::{self, Unit};
use crate::report::{ReportError, words};
use crate::sys::text::one_line;

/// Size of a chart in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 120.0;
const PAD: f64 = 8.0;

/// A run of the page.
pub struct IndexedRun {
    /// Its findings; rows of examples are not needed.
    pub view: RunView,
    /// Its own report, as an address from the page.
    pub link: Option<String>,
}

#[derive(Serialize)]
struct Page {
    assets: Assets,
    made_at: String,
    runs: String,
    suites: Vec<Suite>,
    tool: &'static str,
}

#[derive(Serialize)]
struct Suite {
    anchor: String,
    name: String,
    lead: String,
    charts: Vec<Chart>,
    runs: Vec<Row>,
}

/// One metric over the runs.
#[derive(Serialize)]
struct Chart {
    name: String,
    lower: bool,
    latest: String,
    interval: String,
    high: String,
    low: String,
    label: String,
    pieces: Vec<Piece>,
    dots: Vec<Dot>,
}

/// Runs that can be set against each other.
#[derive(Serialize)]
struct Piece {
    band: String,
    line: String,
}

#[derive(Serialize)]
struct Dot {
    x: String,
    y: String,
    title: String,
}

#[derive(Serialize)]
struct Row {
    id: String,
    link: String,
    started: String,
    target: String,
    dataset: String,
    standing: &'static str,
    verdict: words::Mark,
    scored: String,
    cost: String,
}

/// Renders the page; runs in any order.
pub(in crate::report) fn render(mut runs: Vec<IndexedRun>, made_at: Timestamp) -> Result<Vec<u8>, ReportError> {
    runs.sort_by(|a, b| (a.view.run.created_at, &a.view.run.id).cmp(&(b.view.run.created_at, &b.view.run.id)));
    let count = words::plural(runs.len() as u64, "run", "runs");
    let mut suites: BTreeMap<String, Vec<IndexedRun>> = BTreeMap::new();
    for run in runs {
        suites.entry(run.view.run.suite.clone()).or_default().push(run);
    }
    let page = Page {
        assets: Assets::new(),
        made_at: made_at.strftime("%-d %B %Y, %H:%M UTC").to_string(),
        runs: count,
        suites: suites.iter().enumerate().map(|(place, (name, runs))| suite(place, name, runs)).collect(),
        tool: TOOL,
    };
    let mut bytes = Vec::with_capacity(1 << 16);
    write(&registry()?, "index", &page, &mut bytes)?;
    Ok(bytes)
}

fn suite(place: usize, name: &str, runs: &[IndexedRun]) -> Suite {
    let mut metrics: Vec<&str> = Vec::new();
    // The order is that of the latest run; metrics of earlier ones only come after it.
    for view in runs.iter().rev().map(|run| &run.view) {
        for metric in view.metrics.iter().chain(&view.measures) {
            if !metrics.contains(&metric.name.as_str()) {
                metrics.push(&metric.name);
            }
        }
    }
    let span = match (runs.first(), runs.last()) {
        (Some(first), Some(last)) => format!(
            "{} from {} to {}",
            words::plural(runs.len() as u64, "run", "runs"),
            day(first.view.run.created_at),
            day(last.view.run.created_at)
        ),
        _ => String::new(),
    };
    Suite {
        anchor: format!("s{place}"),
        name: one_line(name, 80),
        lead: span,
        charts: metrics.into_iter().filter_map(|metric| chart(metric, runs)).collect(),
        runs: runs.iter().rev().map(row).collect(),
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%-d %B %Y").to_string()
}

fn row(run: &IndexedRun) -> Row {
    let view = &run.view;
    let totals = &view.run.totals;
    Row {
        id: view.run.id.short().to_owned(),
        link: run.link.clone().unwrap_or_default(),
        started: view.run.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
        target: one_line(&view.run.target.name, 40),
        dataset: one_line(&view.run.dataset, 40),
        standing: words::status(view.run.status),
        verdict: words::verdict(view.verdict, view.instrument_failed),
        scored: number::percent(totals.scored, totals.cells_done()),
        cost: number::dollars(totals.target_spend.cost_usd + totals.judge_spend.cost_usd),
    }
}

/// A place in the series: where on the page, what was found, and what it can be joined with.
struct Point<'a> {
    place: usize,
    metric: &'a MetricSummary,
    value: f64,
    ends: (f64, f64),
    /// Digest of dataset and grader.
    same: (String, String),
    title: String,
}

fn chart(name: &str, runs: &[IndexedRun]) -> Option<Chart> {
    let points: Vec<Point<'_>> = runs.iter().enumerate().filter_map(|(place, run)| point(place, name, run)).collect();
    let last = points.last()?;
    let unit = Unit::of(name, &last.metric.scale);
    let lo = points.iter().map(|point| point.ends.0).fold(f64::INFINITY, f64::min);
    let hi = points.iter().map(|point| point.ends.1).fold(f64::NEG_INFINITY, f64::max);
    let (lo, hi) = if lo < hi { (lo, hi) } else { (lo - 0.5, hi + 0.5) };
    let x = |place: usize| match runs.len() {
        0 | 1 => WIDTH / 2.0,
        many => PAD + (WIDTH - 2.0 * PAD) * place as f64 / (many - 1) as f64,
    };
    let y = |value: f64| HEIGHT - PAD - (HEIGHT - 2.0 * PAD) * (value - lo) / (hi - lo);
    let at = |place: usize, value: f64| format!("{:.1},{:.1}", x(place), y(value));
    let pieces = points.chunk_by(|left, right| left.same == right.same).map(|piece| {
        let upper = piece.iter().map(|point| at(point.place, point.ends.1));
        let lower = piece.iter().rev().map(|point| at(point.place, point.ends.0));
        let line = piece.iter().map(|point| at(point.place, point.value));
        Piece { band: upper.chain(lower).collect::<Vec<_>>().join(" "), line: line.collect::<Vec<_>>().join(" ") }
    });
    let dots = points.iter().map(|point| Dot {
        x: format!("{:.1}", x(point.place)),
        y: format!("{:.1}", y(point.value)),
        title: point.title.clone(),
    });
    let (latest, interval) = number::mean(unit, &last.metric.estimate);
    let title = words::measure_title(name);
    Some(Chart {
        label: format!("{} over {}", one_line(title, 60), words::plural(points.len() as u64, "run", "runs")),
        name: one_line(title, 60),
        lower: last.metric.direction == Direction::Lower,
        latest,
        interval,
        high: unit.value(hi),
        low: unit.value(lo),
        pieces: pieces.collect(),
        dots: dots.collect(),
    })
}

fn point<'a>(place: usize, name: &str, run: &'a IndexedRun) -> Option<Point<'a>> {
    let card = &run.view.run;
    let metric = run.view.metrics.iter().chain(&run.view.measures).find(|metric| metric.name == name)?;
    let value = metric.estimate.estimate.filter(|value| value.is_finite())?;
    let interval = metric.estimate.interval.as_ref().map(|interval| (interval.lo, interval.hi));
    let ends = interval.filter(|(lo, hi)| lo.is_finite() && hi.is_finite()).unwrap_or((value, value));
    let grader = card.graders.iter().find(|grader| grader.name == name);
    let grader = grader.map(|grader| grader.digest.to_string()).unwrap_or_default();
    let (mean, interval) = number::mean(Unit::of(name, &metric.scale), &metric.estimate);
    let when = card.created_at.strftime("%Y-%m-%d %H:%M");
    let title = format!("{mean} {interval} · {} · run {} · {when}", one_line(&card.target.name, 40), card.id.short());
    Some(Point { place, metric, value, ends, same: (card.dataset_digest.to_string(), grader), title })
}
