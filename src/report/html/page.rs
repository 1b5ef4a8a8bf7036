//! The page as a whole: what stands above and below the list of examples.

use serde::Serialize;

use super::explained::{self, Why};
use super::metrics::{self, MetricTable};
use super::origin::{self, LeftOut, Origin};
use super::slices::{self, PartTable, SliceTable};
use super::{Assets, TOOL};
use crate::compare::{Comparison, MetricComparison, RunCard, RunView};
use crate::model::Change;
use crate::report::words::{self, Mark};
use crate::report::{Material, Subject, moves, number};
use crate::sys::text::one_line;

/// Reasons of the verdict shown.
const REASONS_SHOWN: usize = 40;

/// Everything above the list of examples.
#[derive(Serialize)]
pub(super) struct Top<'a> {
    assets: &'a Assets,
    title: String,
    suite: String,
    made_at: String,
    compared: bool,
    verdict: Mark,
    headline: String,
    reasons: Vec<String>,
    sides: Vec<SideCard>,
    configuration: Vec<String>,
    tiles: Vec<Tile>,
    nav: Vec<NavItem>,
    metrics: MetricTable,
    measures: MetricTable,
    slices: SliceTable,
    parts: PartTable,
    why: Why,
}

/// A link to a section.
#[derive(Clone, Copy, Serialize)]
struct NavItem {
    anchor: &'static str,
    text: &'static str,
}

/// A run as the page introduces it.
#[derive(Serialize)]
struct SideCard {
    title: &'static str,
    side: &'static str,
    name: String,
    kind: String,
    run: String,
    started: String,
    standing: &'static str,
}

/// One figure to take away.
#[derive(Serialize)]
struct Tile {
    label: &'static str,
    figures: Vec<Figure>,
    note: String,
}

/// A figure, or one of two, with its class.
#[derive(Serialize)]
struct Figure {
    text: String,
    tone: &'static str,
}

impl Tile {
    fn new(label: &'static str, figure: String, tone: &'static str, note: String) -> Self {
        Self { label, figures: vec![Figure { text: figure, tone }], note }
    }
}

/// Everything below the list of examples.
#[derive(Serialize)]
pub(super) struct Bottom {
    compared: bool,
    left_out: LeftOut,
    origin: Origin,
    made_at: String,
    tool: &'static str,
    assets: Assets,
}

/// Builds the upper part.
pub(super) fn top<'a>(material: &Material<'a>, assets: &'a Assets) -> Top<'a> {
    let subject = &material.subject;
    let facts = moves::facts(subject);
    let suite = one_line(words::suite(subject), 80);
    let verdict = words::verdict_of(subject);
    let (headline, reasons) = match subject {
        Subject::Run(view) => (view.headline.as_str(), view.reasons.as_slice()),
        Subject::Comparison(view) => (view.headline.as_str(), view.reasons.as_slice()),
    };
    let (compared, sides, tiles, metrics, measures, slices, parts) = match subject {
        Subject::Run(view) => (
            false,
            vec![side_card("Run", "cand", &view.run)],
            run_tiles(view),
            metrics::summarized(&view.metrics),
            metrics::as_measures(metrics::summarized(&view.measures)),
            slices::summarized(&view.slices, &facts),
            PartTable::default(),
        ),
        Subject::Comparison(view) => (
            true,
            vec![side_card("Baseline", "base", &view.baseline), side_card("Candidate", "cand", &view.candidate)],
            comparison_tiles(view),
            metrics::compared(&view.metrics),
            metrics::as_measures(metrics::measured(&view.measures)),
            slices::compared(&view.slices, &facts),
            slices::parts(&view.breakdown),
        ),
    };
    let mut measures = measures;
    if !compared {
        // Milliseconds and dollars have no axis in common.
        measures.ticks.clear();
    }
    let why = match subject {
        Subject::Run(view) => explained::of_run(view),
        Subject::Comparison(view) => explained::why(view, &facts),
    };
    let nav = nav(&metrics, &measures, &slices, &parts, &why);
    Top {
        assets,
        title: format!("{suite}: {}", verdict.word),
        suite,
        made_at: material.made_at.strftime("%-d %B %Y, %H:%M UTC").to_string(),
        compared,
        verdict,
        headline: one_line(headline, 500),
        reasons: reasons.iter().take(REASONS_SHOWN).map(|reason| one_line(reason, 800)).collect(),
        sides,
        configuration: match subject {
            Subject::Run(_) => Vec::new(),
            Subject::Comparison(view) => words::configuration(view),
        },
        tiles,
        nav,
        metrics,
        measures,
        slices,
        parts,
        why,
    }
}

/// Builds the lower part.
pub(super) fn bottom(material: &Material<'_>) -> Bottom {
    let (compared, left_out, origin) = match material.subject {
        Subject::Run(view) => (false, origin::left_out_of_run(view), origin::of_run(view)),
        Subject::Comparison(view) => (true, origin::left_out_of_comparison(view), origin::of_comparison(view)),
    };
    Bottom {
        compared,
        left_out,
        origin,
        made_at: material.made_at.strftime("%-d %B %Y, %H:%M:%S UTC").to_string(),
        tool: TOOL,
        assets: Assets::new(),
    }
}

fn nav(
    metrics: &MetricTable,
    measures: &MetricTable,
    slices: &SliceTable,
    parts: &PartTable,
    why: &Why,
) -> Vec<NavItem> {
    let items = [
        (true, "verdict", "Verdict"),
        (!metrics.rows.is_empty(), "metrics", "Metrics"),
        (!measures.rows.is_empty(), "measures", "Cost and speed"),
        (!why.metrics.is_empty(), "why", "Where it sits"),
        (!why.frontier_words.is_empty(), "frontier", "What quality costs"),
        (!why.repeated.is_empty() || !why.repeated_words.is_empty(), "repeated", "Repeated trials"),
        (!why.judges.is_empty(), "judges", "Judges"),
        (!slices.first.is_empty(), "slices", "Slices"),
        (!parts.first.is_empty(), "parts", "Agents and tools"),
        (true, "examples", "Examples"),
        (true, "left-out", "Left out"),
        (true, "origin", "Provenance"),
        (true, "reading", "How to read this"),
    ];
    items.iter().filter(|(shown, _, _)| *shown).map(|(_, anchor, text)| NavItem { anchor, text }).collect()
}

fn side_card(title: &'static str, side: &'static str, run: &RunCard) -> SideCard {
    SideCard {
        title,
        side,
        name: one_line(&run.target.name, 60),
        kind: one_line(&run.target.kind, 20),
        run: one_line(run.id.short(), 12),
        started: run.created_at.strftime("%-d %b %Y, %H:%M UTC").to_string(),
        standing: words::status(run.status),
    }
}

fn comparison_tiles(view: &Comparison) -> Vec<Tile> {
    let alone = view.pairing.only_baseline + view.pairing.only_candidate;
    let trials = words::plural(view.candidate.trials.into(), "trial each", "trials each");
    let note = if alone > 0 { format!("{trials}, {} in one run only", number::count(alone)) } else { trials };
    let mut tiles = vec![
        Tile::new("Paired examples", number::count(view.pairing.paired), "same", note),
        changes_tile(&view.metrics),
    ];
    for (name, label) in [("cost_usd", "Cost"), ("latency_ms", "Latency"), ("tokens", "Tokens")] {
        if let Some(metric) = view.measures.iter().find(|metric| metric.name == name) {
            tiles.extend(ratio_tile(label, metric));
        }
    }
    tiles
}

fn changes_tile(metrics: &[MetricComparison]) -> Tile {
    let count = |change: Change| metrics.iter().filter(|metric| metric.change == change).count();
    let (worse, better, same) = (count(Change::Regressed), count(Change::Improved), count(Change::Equivalent));
    let figure = |change: Change, count: usize| {
        let mark = words::change(change);
        Figure { text: format!("{} {count}", mark.sign), tone: if count > 0 { mark.tone } else { "same" } }
    };
    Tile {
        label: "Metrics",
        figures: vec![figure(Change::Regressed, worse), figure(Change::Improved, better)],
        note: format!("{same} equivalent, {} inconclusive", metrics.len() - worse - better - same),
    }
}

fn ratio_tile(label: &'static str, metric: &MetricComparison) -> Option<Tile> {
    let ratio = metric.ratio.as_ref()?;
    ratio.estimate?;
    let unit = number::Unit::of(&metric.name, &metric.scale);
    let (base, cand) = (unit.maybe(metric.baseline.estimate), unit.maybe(metric.candidate.estimate));
    let tone = words::change(metric.change).tone;
    Some(Tile::new(label, number::ratio(ratio).0, tone, format!("{base} → {cand}")))
}

fn run_tiles(view: &RunView) -> Vec<Tile> {
    let totals = &view.run.totals;
    let done = totals.cells_done();
    let failures = totals.instrument_failures();
    let unscored = if failures > 0 {
        format!("{} unscored by the instrument", number::count(failures))
    } else {
        format!("{} of {}", number::count(totals.scored), number::count(done))
    };
    let planned = format!("of {} planned", number::count(totals.trials_planned));
    let mut tiles = vec![
        Tile::new("Trials with an output", number::count(totals.trials_ok), "same", planned),
        Tile::new("Cells scored", number::percent(totals.scored, done), "same", unscored),
    ];
    for (name, label) in [("cost_usd", "Cost per trial"), ("latency_ms", "Latency"), ("tokens", "Tokens")] {
        let Some(metric) = view.measures.iter().find(|metric| metric.name == name) else { continue };
        let unit = number::Unit::of(&metric.name, &metric.scale);
        let quantiles = match (metric.p50, metric.p95) {
            (Some(p50), Some(p95)) => format!("p50 {}, p95 {}", unit.value(p50), unit.value(p95)),
            _ => String::new(),
        };
        tiles.push(Tile::new(label, unit.maybe(metric.estimate.estimate), "same", quantiles));
    }
    tiles
}
