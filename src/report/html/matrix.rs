//! The page of more than two runs: ranking, pairs and configuration.

use jiff::Timestamp;
use serde::Serialize;

use super::plot::{Axis, Plot, ends};
use super::scatter::{self, Scatter};
use super::{Assets, TOOL, registry, write};
use crate::compare::{Matrix, MatrixMetric};
use crate::report::ReportError;
use crate::report::matrix::{PairRow, RankRow, differences, pairs, ranking};
use crate::report::words;
use crate::sys::text::one_line;

/// Pairs in a table.
const PAIRS: usize = 400;

/// The page.
#[derive(Serialize)]
struct Page<'a> {
    assets: &'a Assets,
    title: String,
    suite: String,
    made_at: String,
    headline: String,
    runs: String,
    metrics: Vec<Section>,
    differences: Vec<DifferenceRow>,
    first: String,
    tool: &'static str,
}

/// One metric.
#[derive(Serialize)]
struct Section {
    anchor: String,
    name: String,
    lower: bool,
    sentence: String,
    ranking: Vec<Ranking>,
    frontier: bool,
    scatter: Option<Scatter>,
    pairs: Vec<PairRow>,
    has_cost: bool,
    has_moved: bool,
}

#[derive(Serialize)]
struct Ranking {
    row: RankRow,
    plot: Plot,
}

#[derive(Serialize)]
struct DifferenceRow {
    run: String,
    what: String,
    before: String,
    after: String,
    meaning: &'static str,
}

/// Renders the page.
pub(in crate::report) fn render(matrix: &Matrix, made_at: Timestamp) -> Result<Vec<u8>, ReportError> {
    let templates = registry()?;
    let assets = Assets::new();
    let suite = matrix.runs.last().map(|run| one_line(&run.suite, 80)).unwrap_or_default();
    let metrics = matrix.metrics.iter().chain(&matrix.measures).enumerate();
    let page = Page {
        assets: &assets,
        title: format!("{suite}: {} runs", matrix.runs.len()),
        suite,
        made_at: made_at.strftime("%-d %B %Y, %H:%M UTC").to_string(),
        headline: one_line(&matrix.headline, 500),
        runs: words::plural(matrix.runs.len() as u64, "run", "runs"),
        metrics: metrics.map(|(place, metric)| section(matrix, metric, place)).collect(),
        differences: differences(matrix)
            .into_iter()
            .map(|(run, what, before, after, meaning)| DifferenceRow { run, what, before, after, meaning })
            .collect(),
        first: matrix.names.first().map(|name| one_line(name, 60)).unwrap_or_default(),
        tool: TOOL,
    };
    let mut bytes = Vec::with_capacity(1 << 16);
    write(&templates, "matrix", &page, &mut bytes)?;
    Ok(bytes)
}

fn section(matrix: &Matrix, metric: &MatrixMetric, place: usize) -> Section {
    let reach = metric.ranking.iter().filter_map(|one| ends(&one.estimate));
    let (low, high) =
        reach.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (lo, hi)| (low.min(lo), high.max(hi)));
    let room = 0.05 * (high - low);
    let axis = Axis::between(low - room, high + room);
    let rows = ranking(matrix, metric);
    let frontier = rows.iter().any(|row| !row.frontier.is_empty());
    let plots = metric.ranking.iter().map(|one| axis.plot(one.estimate.estimate, ends(&one.estimate)));
    let ranking = rows
        .into_iter()
        .zip(plots)
        .map(|(row, mut plot)| {
            plot.label = one_line(&format!("{}: {} {}", row.name, row.point, row.interval), 240);
            Ranking { row, plot }
        })
        .collect();
    let mut pairs = pairs(matrix, metric);
    pairs.truncate(PAIRS);
    Section {
        anchor: format!("m{place}"),
        name: one_line(words::measure_title(&metric.name), 60),
        lower: metric.direction == crate::model::Direction::Lower,
        // The first metric's sentence is the headline already.
        sentence: if metric.sentence == matrix.headline { String::new() } else { one_line(&metric.sentence, 400) },
        ranking,
        frontier,
        scatter: scatter::of_many(matrix, metric),
        has_cost: pairs.iter().any(|pair| !pair.cost.is_empty()),
        has_moved: pairs.iter().any(|pair| !pair.moved.is_empty()),
        pairs,
    }
}
