//! The tables of metrics and measures with their interval plots, for one run and for two.

use serde::Serialize;

use super::plot::{Axis, Plot, Tick, ends, percent};
use crate::compare::{MetricComparison, MetricSummary, Missing};
use crate::model::{Change, Direction, MetricRole, Scale};
use crate::report::beside;
use crate::report::number::{self, Unit};
use crate::report::words::{self, Mark};
use crate::stats::Estimate;
use crate::sys::text::one_line;

/// A table of metrics.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MetricTable {
    /// Rows.
    pub rows: Vec<MetricRow>,
    /// Marks of the common axis; empty when each row has its own.
    pub ticks: Vec<Tick>,
    /// What the axis shows, in words.
    pub axis_note: String,
    /// Head of the last column; empty when the table has none.
    pub last: &'static str,
}

/// One metric.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MetricRow {
    /// `!` or `·`.
    pub sign: &'static str,
    /// Whether it can fail the gate.
    pub gate: bool,
    /// Name.
    pub name: String,
    /// Whether less is better.
    pub lower: bool,
    /// How it moved, or how it stands to its floor.
    pub mark: Option<Mark>,
    /// Mean of the baseline, absent in a run's own report.
    pub baseline: String,
    /// Mean of the candidate or run.
    pub candidate: String,
    /// Difference, ratio, or mean.
    pub point: String,
    /// Its interval.
    pub interval: String,
    /// Plot.
    pub plot: Plot,
    /// Examples.
    pub n: String,
    /// Pairs or cells without a score; empty for none.
    pub unscored: String,
    /// Acceptable value asked for, or a waiver; empty for none.
    pub floor_note: String,
    /// Examples that changed sides: up and down.
    pub moved: Option<(u64, u64)>,
    /// The finding in words.
    pub sentence: String,
    /// What an expert wants to know.
    pub facts: Vec<Fact>,
    /// What must be read beside the finding.
    pub asides: Vec<Fact>,
    /// How often each value occurred.
    pub bars: Vec<Bar>,
    /// How often numbers fell into each range.
    pub histogram: Option<Histogram>,
}

/// A term and what is said of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fact {
    /// Term.
    pub term: &'static str,
    /// Text.
    pub text: String,
}

/// One bar of a distribution.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Bar {
    /// Label or level.
    pub label: String,
    /// How often.
    pub count: String,
    /// Share of all.
    pub share: String,
    /// Length.
    pub width: String,
}

/// Ranges of equal width as columns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Histogram {
    /// Columns.
    pub columns: Vec<Column>,
    /// Least number.
    pub lo: String,
    /// Greatest number.
    pub hi: String,
}

/// One column; heights are out of 40.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Column {
    /// Left end.
    pub x: String,
    /// Width.
    pub width: String,
    /// Top.
    pub y: String,
    /// Height.
    pub height: String,
    /// Range and count in words.
    pub label: String,
}

/// Metrics of two runs on one axis of differences.
pub(super) fn compared(metrics: &[MetricComparison]) -> MetricTable {
    let sizes =
        metrics.iter().filter_map(|metric| Some((metric, range(&metric.scale)?))).flat_map(|(metric, range)| {
            let (lo, hi) = ends(&metric.difference).unwrap_or_default();
            let point = metric.difference.estimate.unwrap_or_default();
            [lo / range, hi / range, point / range, metric.margin / range]
        });
    let axis = Axis::around_zero(sizes);
    let unit_ranges = metrics.iter().filter_map(|metric| range(&metric.scale)).all(|range| range == 1.0);
    let shared = metrics.iter().any(|metric| range(&metric.scale).is_some());
    MetricTable {
        rows: metrics.iter().map(|metric| compared_row(metric, difference_plot(metric, axis))).collect(),
        ticks: if shared { size_ticks(axis, unit_ranges) } else { Vec::new() },
        axis_note: if unit_ranges {
            "difference between candidate and baseline".to_owned()
        } else {
            "difference as a share of each metric's range".to_owned()
        },
        last: "Finding",
    }
}

/// Measures of two runs on one axis of ratios.
pub(super) fn measured(metrics: &[MetricComparison]) -> MetricTable {
    let logs = metrics.iter().filter_map(|metric| metric.ratio.as_ref()).flat_map(|ratio| {
        let (lo, hi) = ends(ratio).unwrap_or((1.0, 1.0));
        [lo, hi, ratio.estimate.unwrap_or(1.0)].map(|ratio| if ratio > 0.0 { ratio.ln() } else { 0.0 })
    });
    let reach = logs.map(f64::abs).fold(0.0, f64::max).exp();
    // Ends of the axis with a round mark between each and no change.
    let steps = [(1.1, 1.05), (1.25, 1.1), (1.5, 1.25), (2.0, 1.5), (4.0, 2.0), (10.0, 3.0), (100.0, 10.0)];
    let (reach, between): (f64, f64) = steps.into_iter().find(|step| step.0 >= reach).unwrap_or((1000.0, 30.0));
    let axis = Axis::between(-reach.ln(), reach.ln());
    let has_ratio = metrics.iter().any(|metric| metric.ratio.is_some());
    let all_lower = metrics.iter().all(|metric| metric.direction == Direction::Lower);
    let marks = [reach.ln(), between.ln(), 0.0, -between.ln(), -reach.ln()];
    let times = |log: f64| format!("×{}", number::plain((log.exp() * 100.0).round() / 100.0));
    let ticks = axis.toward(Direction::Lower).ticks(&marks, times);
    MetricTable {
        rows: metrics.iter().map(|metric| compared_row(metric, ratio_plot(metric, axis))).collect(),
        ticks: if has_ratio && all_lower { ticks } else { Vec::new() },
        axis_note: "candidate over baseline, per example".to_owned(),
        last: "Finding",
    }
}

/// The rows of measures, called what people call them; that less is better need not be said of cost.
pub(super) fn as_measures(mut table: MetricTable) -> MetricTable {
    for row in &mut table.rows {
        row.lower = false;
        row.name = words::measure_title(&row.name).to_owned();
    }
    table
}

/// Metrics of one run on one axis of values.
pub(super) fn summarized(metrics: &[MetricSummary]) -> MetricTable {
    let bounds: Vec<_> = metrics.iter().filter_map(|metric| metric.scale.bounds()).filter(|(lo, hi)| lo < hi).collect();
    let common = bounds.first().copied().filter(|first| bounds.iter().all(|other| other == first));
    let ticks = common.map_or_else(Vec::new, |(lo, hi)| {
        let marks: Vec<f64> = (0..=4).map(|step| lo + (hi - lo) * f64::from(step) / 4.0).collect();
        Axis::between(lo, hi).ticks(&marks, number::plain)
    });
    MetricTable {
        rows: metrics.iter().map(summary_row).collect(),
        axis_note: if ticks.is_empty() {
            "mean over examples, each metric on its own scale,".to_owned()
        } else {
            "mean over examples".to_owned()
        },
        ticks,
        last: if metrics.iter().any(|metric| metric.floor.is_some()) { "Floor" } else { "" },
    }
}

fn range(scale: &Scale) -> Option<f64> {
    scale.bounds().map(|(lo, hi)| hi - lo).filter(|range| range.is_finite() && *range > 0.0)
}

/// Marks without signs: the head of the plot says which side is worse.
pub(super) fn size_ticks(axis: Axis, plain: bool) -> Vec<Tick> {
    let reach = axis.reach();
    let size = |share: f64| {
        if plain { number::plain(share.abs()) } else { format!("{} %", number::plain(share.abs() * 100.0)) }
    };
    axis.ticks(&[-reach, -reach / 2.0, 0.0, reach / 2.0, reach], size)
}

fn difference_plot(metric: &MetricComparison, shared: Axis) -> Plot {
    let interval = ends(&metric.difference);
    let point = metric.difference.estimate;
    let (axis, range) = match range(&metric.scale) {
        Some(range) => (shared, range),
        None => {
            let (lo, hi) = interval.unwrap_or_default();
            (Axis::around_zero([lo, hi, point.unwrap_or_default(), metric.margin].into_iter()), 1.0)
        }
    };
    let axis = axis.toward(metric.direction);
    let mut plot = axis.plot(point.map(|p| p / range), interval.map(|(lo, hi)| (lo / range, hi / range)));
    if metric.margin > 0.0 {
        plot.band = Some(axis.stretch(-metric.margin / range, metric.margin / range));
    }
    finish_plot(plot, &axis, metric)
}

fn ratio_plot(metric: &MetricComparison, shared: Axis) -> Plot {
    let Some(ratio) = &metric.ratio else { return difference_plot(metric, shared) };
    let axis = shared.toward(metric.direction);
    let log = |number: f64| (number > 0.0).then(|| number.ln());
    let interval = ends(ratio).and_then(|(lo, hi)| Some((log(lo)?, log(hi)?)));
    finish_plot(axis.plot(ratio.estimate.and_then(log), interval), &axis, metric)
}

fn finish_plot(mut plot: Plot, axis: &Axis, metric: &MetricComparison) -> Plot {
    let mark = words::change(metric.change);
    plot.zero = Some(percent(axis.place(0.0)));
    plot.tone = mark.tone;
    plot.hollow = metric.change == Change::Inconclusive;
    let (point, interval) = shown(metric);
    plot.label = format!("{}: {point} {interval}, {}", one_line(&metric.name, 100), mark.word);
    plot
}

/// Ratio where there is one, else difference: point and interval.
fn shown(metric: &MetricComparison) -> (String, String) {
    match &metric.ratio {
        Some(ratio) => number::ratio(ratio),
        None => number::difference(Unit::of(&metric.name, &metric.scale), &metric.difference),
    }
}

fn compared_row(metric: &MetricComparison, plot: Plot) -> MetricRow {
    let unit = Unit::of(&metric.name, &metric.scale);
    let (point, interval) = shown(metric);
    let missing = &metric.missing;
    let unscored = missing.no_baseline_score + missing.no_candidate_score + missing.neither;
    MetricRow {
        sign: words::role_sign(metric.role),
        gate: metric.role == MetricRole::Gate,
        name: one_line(&metric.name, 100),
        lower: metric.direction == Direction::Lower,
        mark: Some(words::change(metric.change)),
        baseline: unit.maybe(metric.baseline.estimate),
        candidate: unit.maybe(metric.candidate.estimate),
        point,
        interval,
        plot,
        n: number::count(metric.difference.n),
        unscored: if unscored > 0 { number::count(unscored) } else { String::new() },
        floor_note: metric
            .beside
            .waived
            .as_ref()
            .map_or_else(String::new, |waived| format!("waived until {}", waived.until)),
        moved: metric.discordance.as_ref().map(|moved| (moved.improved, moved.worsened)),
        sentence: one_line(&metric.sentence, 1000),
        facts: compared_facts(metric, unit),
        asides: asides(metric, true),
        bars: Vec::new(),
        histogram: None,
    }
}

fn compared_facts(metric: &MetricComparison, unit: Unit) -> Vec<Fact> {
    let mut facts = Facts::default();
    facts.add("In short", Some(metric.expert.clone()));
    facts.add("Gate", metric.verdict.map(|verdict| words::verdict(Some(verdict), false).word.to_owned()));
    if metric.ratio.is_some() {
        let (point, interval) = number::difference(unit, &metric.difference);
        facts.add("Difference", Some(format!("{point} {interval}")));
    }
    facts.add("Smallest change that matters", (metric.margin > 0.0).then(|| margin_words(metric, unit)));
    let p = |p: Option<f64>| p.map(number::probability);
    facts.add("p that it is worse", p(metric.p_worse));
    facts.add("after correction for several gates", p(metric.p_worse_adjusted));
    facts.add("p that it is better", p(metric.p_better));
    facts.add("Shown to be", shown_to_be(metric));
    facts.add(
        "Changed sides",
        metric.discordance.as_ref().map(|moved| {
            let p = number::probability(moved.mid_p);
            format!("{} to pass, {} to fail (McNemar mid-p {p})", moved.improved, moved.worsened)
        }),
    );
    facts
        .add("Would find in 4 of 5 tries", metric.detectable.map(|least| format!("a change of {}", unit.value(least))));
    facts.0.extend(asides(metric, false));
    facts.estimate(&metric.difference);
    facts.add("Left out", missing_words(&metric.missing));
    facts.0
}

/// What stands beside the finding: loud ones in sight, the others with the statistics.
fn asides(metric: &MetricComparison, loud: bool) -> Vec<Fact> {
    let found = beside::asides(metric).into_iter().filter(|aside| aside.loud == loud);
    found.map(|aside| Fact { term: aside.term, text: one_line(&aside.text, 1000) }).collect()
}

/// Measures have a margin in their own unit only where no ratio is tested.
fn margin_words(metric: &MetricComparison, unit: Unit) -> String {
    if metric.ratio.is_some() { number::plain(metric.margin) } else { unit.value(metric.margin) }
}

fn shown_to_be(metric: &MetricComparison) -> Option<String> {
    match (metric.material_regression, metric.non_inferior) {
        (true, _) => Some("worse by more than the smallest change that matters".to_owned()),
        (_, true) => Some("no worse than the smallest change that matters".to_owned()),
        _ => None,
    }
}

/// What a comparison had to leave out, in words.
pub(super) fn missing_words(missing: &Missing) -> Option<String> {
    let parts = [
        (missing.no_baseline_score, "without a baseline score"),
        (missing.no_candidate_score, "without a candidate score"),
        (missing.neither, "without either"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", number::count(*count)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[derive(Default)]
struct Facts(Vec<Fact>);

impl Facts {
    fn add(&mut self, term: &'static str, text: Option<String>) {
        self.0.extend(text.filter(|text| !text.is_empty()).map(|text| Fact { term, text: one_line(&text, 1000) }));
    }

    fn estimate(&mut self, estimate: &Estimate) {
        let clustered = estimate.clusters > 0 && estimate.clusters != estimate.n;
        self.add("Independent clusters", clustered.then(|| number::count(estimate.clusters)));
        let method = match &estimate.interval {
            Some(interval) => {
                format!(
                    "{}; interval {} at {} %",
                    estimate.method,
                    interval.method,
                    number::plain(interval.level * 100.0)
                )
            }
            None => estimate.method.clone(),
        };
        self.add("Method", Some(method));
        for warning in estimate.warnings.iter().take(10) {
            self.add("Note", Some(warning.clone()));
        }
    }
}

fn summary_row(metric: &MetricSummary) -> MetricRow {
    let unit = Unit::of(&metric.name, &metric.scale);
    let (point, interval) = number::mean(unit, &metric.estimate);
    let (lo, hi) = metric.scale.bounds().filter(|(lo, hi)| lo < hi).unwrap_or_else(|| {
        let (lo, hi) = ends(&metric.estimate).unwrap_or_default();
        let most = [hi, metric.p95.unwrap_or_default(), metric.floor.map_or(0.0, |(floor, _)| floor)];
        (lo.min(0.0), most.into_iter().fold(0.0, f64::max) * 1.1)
    });
    let axis = Axis::between(lo, hi);
    let mut plot = axis.plot(metric.estimate.estimate, ends(&metric.estimate));
    let mark = metric.floor.map(|(_, met)| words::verdict(Some(met), false));
    plot.floor = metric.floor.map(|(floor, _)| percent(axis.place(floor)));
    plot.tone = mark.map_or("same", |mark| mark.tone);
    plot.label = format!("{}: {point} {interval}", one_line(&metric.name, 100));
    let unscored: u64 = metric.unscored.values().sum();
    let mut facts = Facts::default();
    let bound = if metric.direction == Direction::Lower { "at most" } else { "at least" };
    let asked = metric.floor.map(|(floor, _)| format!("{bound} {}", unit.value(floor)));
    facts.add("Asked for", asked.clone());
    facts.add("Median over trials", metric.p50.map(|p50| unit.value(p50)));
    facts.add("95th percentile", metric.p95.map(|p95| unit.value(p95)));
    let histogram = histogram(&metric.distribution, unit);
    // Of a yes-or-no metric the mean says it all.
    let bars = if histogram.is_some() || metric.scale == Scale::Binary { Vec::new() } else { bars(metric) };
    facts.add("Values", (metric.scale == Scale::Binary).then(|| value_counts(metric)));
    facts.add("Unscored", Some(words::unscored_counts(&metric.unscored)));
    facts.estimate(&metric.estimate);
    MetricRow {
        sign: words::role_sign(metric.role),
        gate: metric.role == MetricRole::Gate,
        name: one_line(&metric.name, 100),
        lower: metric.direction == Direction::Lower,
        mark,
        baseline: String::new(),
        candidate: String::new(),
        point,
        interval,
        plot,
        n: number::count(metric.estimate.n),
        unscored: if unscored > 0 { number::count(unscored) } else { String::new() },
        floor_note: asked.unwrap_or_default(),
        moved: None,
        sentence: one_line(&metric.sentence, 1000),
        facts: facts.0,
        asides: Vec::new(),
        bars,
        histogram,
    }
}

fn value_counts(metric: &MetricSummary) -> String {
    let counts: Vec<String> =
        bars(metric).iter().map(|bar| format!("{} {} ({})", bar.label, bar.count, bar.share)).collect();
    counts.join(", ")
}

/// Columns for a distribution whose every row is a range, `1495 to 2598`.
fn histogram(distribution: &[(String, u64)], unit: Unit) -> Option<Histogram> {
    const HEIGHT: f64 = 40.0;
    let number = |text: &str| text.replace('−', "-").parse::<f64>().ok();
    let ranges: Option<Vec<(f64, f64, u64)>> = distribution
        .iter()
        .map(|(label, count)| {
            let (lo, hi) = label.split_once(" to ")?;
            Some((number(lo)?, number(hi)?, *count))
        })
        .collect();
    let ranges = ranges.filter(|ranges| ranges.len() > 1)?;
    let most = ranges.iter().map(|(_, _, count)| *count).max()?.max(1) as f64;
    let width = 100.0 / ranges.len() as f64;
    let columns = ranges.iter().enumerate().map(|(index, (lo, hi, count))| {
        // Few are not none.
        let least = if *count > 0 { 2.0 } else { 0.0 };
        let height = (*count as f64 / most * HEIGHT).max(least);
        Column {
            x: percent(width * index as f64),
            width: percent(width * 0.94),
            y: number::decimal(HEIGHT - height, 1),
            height: number::decimal(height, 1),
            label: format!("{} to {}: {}", unit.value(*lo), unit.value(*hi), number::count(*count)),
        }
    });
    Some(Histogram { columns: columns.collect(), lo: unit.value(ranges.first()?.0), hi: unit.value(ranges.last()?.1) })
}

fn bars(metric: &MetricSummary) -> Vec<Bar> {
    let distribution = &metric.distribution;
    let all: u64 = distribution.iter().map(|(_, count)| count).sum();
    let most = distribution.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    distribution
        .iter()
        .take(12)
        .map(|(label, count)| Bar {
            label: one_line(label, 40),
            count: number::count(*count),
            share: number::percent(*count, all),
            width: percent(*count as f64 / most as f64 * 100.0),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_columns_and_values_do_not() {
        let rows = [("1495 to 2598".to_owned(), 99), ("2598 to 3701".to_owned(), 0), ("3701 to 4804".to_owned(), 1)];
        let found = histogram(&rows, Unit::Milliseconds).unwrap();
        assert_eq!((found.lo.as_str(), found.hi.as_str()), ("1.50 s", "4.80 s"));
        let heights: Vec<&str> = found.columns.iter().map(|column| column.height.as_str()).collect();
        assert_eq!(heights, ["40.0", "0.0", "2.0"]);
        assert_eq!(histogram(&[("good".to_owned(), 3), ("a to b".to_owned(), 3)], Unit::Plain(3)), None);
    }
}
