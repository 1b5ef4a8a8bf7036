//! Where it moved: slices, agents and tools.

use std::collections::HashMap;

use serde::Serialize;

use super::metrics::size_ticks;
use super::plot::{Axis, Plot, Tick, ends, percent};
use crate::compare::{Breakdown, BreakdownSide, SliceComparison, SliceSummary};
use crate::model::Change;
use crate::report::moves::MetricFacts;
use crate::report::number::{self, Unit};
use crate::report::words::{self, Mark};
use crate::sys::text::one_line;

/// Slices shown at once.
const FIRST: usize = 12;
/// Slices in the file.
const SHOWN: usize = 300;
/// Agents and tools shown at once.
const PARTS_FIRST: usize = 20;
/// Agents and tools in the file.
const PARTS_SHOWN: usize = 200;

/// All slices: some shown, some behind a click, the rest counted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SliceTable {
    /// Shown at once.
    pub first: Vec<SliceRow>,
    /// Behind a click.
    pub rest: Vec<SliceRow>,
    /// How many are behind the click.
    pub rest_count: String,
    /// What is not in the file.
    pub note: String,
    /// Marks of the axis.
    pub ticks: Vec<Tick>,
}

/// One metric in one slice.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SliceRow {
    /// How it moved; absent in a run's own report.
    pub mark: Option<Mark>,
    /// Dimension.
    pub dimension: String,
    /// Its value.
    pub value: String,
    /// Metric.
    pub metric: String,
    /// Mean of the baseline.
    pub baseline: String,
    /// Mean of the candidate or run.
    pub candidate: String,
    /// Difference or mean.
    pub point: String,
    /// Interval.
    pub interval: String,
    /// Plot.
    pub plot: Plot,
    /// Examples.
    pub n: String,
    /// False discovery rate.
    pub q: String,
}

/// Facts of metrics by name.
type Facts = HashMap<String, MetricFacts>;

/// Slices of two runs, most credible first as they came.
pub(super) fn compared(slices: &[SliceComparison], facts: &Facts) -> SliceTable {
    let range = |slice: &SliceComparison| {
        facts
            .get(&slice.metric)
            .and_then(|fact| fact.scale.bounds())
            .map(|(lo, hi)| hi - lo)
            .filter(|range| *range > 0.0)
    };
    // A slice of three examples has an interval of the whole range: points and decided slices set the axis, long
    // intervals are cut at its edge.
    let sizes = slices.iter().take(SHOWN).filter_map(|slice| Some((slice, range(slice)?))).map(|(slice, range)| {
        let point = slice.difference.estimate.unwrap_or_default().abs();
        let far = ends(&slice.difference).map_or(0.0, |(lo, hi)| lo.abs().max(hi.abs()));
        let decided = matches!(slice.change, Change::Regressed | Change::Improved);
        if decided { far / range } else { point / range }
    });
    let axis = Axis::around_zero(sizes);
    let rows = slices.iter().take(SHOWN).map(|slice| {
        let range = range(slice);
        let unit = unit(facts, &slice.metric);
        let (point, interval) = number::difference(unit, &slice.difference);
        let mark = words::change(slice.change);
        let own = axis.toward(slice.direction);
        let scaled = |number: f64| range.map(|range| number / range);
        let mut plot = own.plot(
            slice.difference.estimate.and_then(scaled),
            ends(&slice.difference).and_then(|(lo, hi)| Some((scaled(lo)?, scaled(hi)?))),
        );
        plot.zero = Some(percent(own.place(0.0)));
        plot.tone = mark.tone;
        plot.hollow = slice.change == Change::Inconclusive;
        plot.label =
            one_line(&format!("{} {}, {}: {point} {interval}", slice.dimension, slice.value, slice.metric), 240);
        SliceRow {
            mark: Some(mark),
            dimension: one_line(&slice.dimension, 40),
            value: one_line(&slice.value, 60),
            metric: one_line(&slice.metric, 60),
            baseline: unit.maybe(slice.baseline.estimate),
            candidate: unit.maybe(slice.candidate.estimate),
            point,
            interval,
            plot,
            n: number::count(slice.difference.n),
            q: slice.q.map_or_else(|| number::ABSENT.to_owned(), number::probability),
        }
    });
    let unit_ranges = slices.iter().filter_map(range).all(|range| range == 1.0);
    table(rows.collect(), slices.len(), size_ticks(axis, unit_ranges))
}

/// Slices of one run.
pub(super) fn summarized(slices: &[SliceSummary], facts: &Facts) -> SliceTable {
    let rows = slices.iter().take(SHOWN).map(|slice| {
        let unit = unit(facts, &slice.metric);
        let (point, interval) = number::mean(unit, &slice.estimate);
        let bounds = facts.get(&slice.metric).and_then(|fact| fact.scale.bounds());
        let (lo, hi) = bounds.unwrap_or_else(|| (0.0, ends(&slice.estimate).map_or(1.0, |(_, hi)| hi * 1.1)));
        let mut plot = Axis::between(lo, hi).plot(slice.estimate.estimate, ends(&slice.estimate));
        plot.label =
            one_line(&format!("{} {}, {}: {point} {interval}", slice.dimension, slice.value, slice.metric), 240);
        SliceRow {
            mark: None,
            dimension: one_line(&slice.dimension, 40),
            value: one_line(&slice.value, 60),
            metric: one_line(&slice.metric, 60),
            baseline: String::new(),
            candidate: String::new(),
            point,
            interval,
            plot,
            n: number::count(slice.estimate.n),
            q: String::new(),
        }
    });
    table(rows.collect(), slices.len(), Vec::new())
}

fn table(mut rows: Vec<SliceRow>, all: usize, ticks: Vec<Tick>) -> SliceTable {
    let rest = rows.split_off(FIRST.min(rows.len()));
    let beyond = all.saturating_sub(SHOWN) as u64;
    let note = if beyond > 0 {
        format!("{} are in the JSON report only.", words::plural(beyond, "further slice", "further slices"))
    } else {
        String::new()
    };
    SliceTable { first: rows, rest_count: number::count(rest.len() as u64), rest, note, ticks }
}

fn unit(facts: &Facts, metric: &str) -> Unit {
    facts.get(metric).map_or(Unit::Plain(3), |fact| fact.unit)
}

/// One agent or tool, both sides.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PartRow {
    /// `agent` or `tool`.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// Calls of baseline and candidate.
    pub calls: Pair,
    /// Failed calls with their share.
    pub errors: Pair,
    /// Mean time of a call.
    pub time: Pair,
    /// Tokens.
    pub tokens: Pair,
    /// Money of the agent's model calls.
    pub cost: Pair,
    /// Length of the baseline's bar of time.
    pub bar_baseline: String,
    /// Length of the candidate's.
    pub bar_candidate: String,
}

/// Two texts.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Pair {
    /// Of the baseline.
    pub baseline: String,
    /// Of the candidate.
    pub candidate: String,
}

/// Agents and tools: some shown, some behind a click, the rest counted.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct PartTable {
    /// Shown at once.
    pub first: Vec<PartRow>,
    /// Behind a click.
    pub rest: Vec<PartRow>,
    /// How many are behind the click.
    pub rest_count: String,
    /// What is not in the file.
    pub note: String,
}

/// Agents and tools of two runs.
pub(super) fn parts(breakdown: &[Breakdown]) -> PartTable {
    let mut first = part_rows(breakdown);
    let rest = first.split_off(PARTS_FIRST.min(first.len()));
    let note = match breakdown.len().saturating_sub(PARTS_SHOWN) as u64 {
        0 => String::new(),
        beyond => format!("{} in the JSON report only.", words::plural(beyond, "further one is", "further ones are")),
    };
    PartTable { first, rest_count: number::count(rest.len() as u64), rest, note }
}

fn part_rows(breakdown: &[Breakdown]) -> Vec<PartRow> {
    let time = |side: &Option<BreakdownSide>| side.as_ref().and_then(|side| side.mean_ms).unwrap_or(0.0);
    let longest = breakdown.iter().map(|part| time(&part.baseline).max(time(&part.candidate))).fold(1e-9, f64::max);
    breakdown
        .iter()
        .take(PARTS_SHOWN)
        .map(|part| PartRow {
            kind: part_kind(&part.kind),
            name: one_line(&part.name, 80),
            calls: pair(part, |side| Some(number::count(side.calls))),
            errors: pair(part, |side| {
                let share = number::percent(side.errors, side.calls);
                Some(if side.errors > 0 { format!("{} ({share})", number::count(side.errors)) } else { "0".to_owned() })
            }),
            time: pair(part, |side| side.mean_ms.map(number::milliseconds)),
            tokens: pair(part, |side| side.tokens.map(number::count)),
            cost: pair(part, |side| side.cost_usd.map(number::dollars)),
            bar_baseline: percent(time(&part.baseline) / longest * 100.0),
            bar_candidate: percent(time(&part.candidate) / longest * 100.0),
        })
        .collect()
}

/// The kind is written into a class, so only known words get there.
fn part_kind(kind: &str) -> &'static str {
    match kind {
        "agent" => "agent",
        "tool" => "tool",
        _ => "other",
    }
}

fn pair(part: &Breakdown, text: impl Fn(&BreakdownSide) -> Option<String>) -> Pair {
    let of = |side: &Option<BreakdownSide>| side.as_ref().and_then(&text).unwrap_or_else(|| number::ABSENT.to_owned());
    Pair { baseline: of(&part.baseline), candidate: of(&part.candidate) }
}
