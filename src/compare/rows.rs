//! The list of examples: reduced values side by side, worst shift first.

use std::collections::BTreeMap;

use super::{
    ExampleRow,
    change::Assessed,
    measure::Metric,
    pair::{Column, Unit},
};
use crate::model::Scale;

/// Rows of a comparison. The shift sums gated metrics, or all of them where none is gated.
pub(super) fn compare_rows(units: &[Unit<'_>], assessed: &[Assessed]) -> Vec<ExampleRow> {
    let any_gated = assessed.iter().any(|metric| metric.metric.is_gated());
    let scales: Vec<f64> = assessed
        .iter()
        .map(|metric| {
            let counted = metric.metric.is_gated() || !any_gated;
            let width = width(&metric.metric, &[&metric.columns.baseline, &metric.columns.candidate]);
            if counted && width > 0.0 { metric.metric.sign() / width } else { 0.0 }
        })
        .collect();
    let value = |column: &Column, index: usize| column.values.get(index).and_then(|reduced| reduced.value);
    let shift = |index: usize| {
        let shifts = assessed.iter().zip(&scales).filter_map(|(metric, scale)| {
            let (before, after) = (value(&metric.columns.baseline, index)?, value(&metric.columns.candidate, index)?);
            // The difference of absurd values may be no number at all.
            Some(scale * (after - before)).filter(|shift| shift.is_finite())
        });
        shifts.sum::<f64>()
    };
    let order = ascending(units.len(), shift);
    let fill = |(shift, index): (f64, usize)| {
        let unit = units.get(index)?;
        let side = |there: bool, pick: fn(&Assessed) -> &Column| {
            assessed.iter().filter(move |_| there).map(move |metric| (&metric.metric, pick(metric)))
        };
        let (baseline, unsteady) = values(index, side(unit.baseline.is_some(), |metric| &metric.columns.baseline));
        let (candidate, flaky) = values(index, side(unit.candidate.is_some(), |metric| &metric.columns.candidate));
        Some(row(unit, baseline, candidate, shift, flaky || unsteady))
    };
    order.into_iter().filter_map(fill).collect()
}

/// Rows of one run, worst first: by the mean of the metrics turned and scaled to [0, 1], unscored examples last.
pub(super) fn summarize_rows(units: &[Unit<'_>], metrics: &[(Metric, Column)]) -> Vec<ExampleRow> {
    let any_gated = metrics.iter().any(|(metric, _)| metric.is_gated());
    let scales: Vec<f64> = metrics
        .iter()
        .map(|(metric, column)| {
            let width = width(metric, &[column]);
            let counted = metric.is_gated() || !any_gated;
            if counted && width > 0.0 { metric.sign() / width } else { 0.0 }
        })
        .collect();
    let goodness = |index: usize| {
        let (mut sum, mut count) = (0.0, 0.0);
        for ((_, column), scale) in metrics.iter().zip(&scales) {
            if let Some(value) = column.values.get(index).and_then(|reduced| reduced.value) {
                sum += scale * value;
                count += 1.0;
            }
        }
        if count > 0.0 { sum / count } else { f64::INFINITY }
    };
    let fill = |(_, index): (f64, usize)| {
        let (candidate, flaky) = values(index, metrics.iter().map(|(metric, column)| (metric, column)));
        Some(row(units.get(index)?, BTreeMap::new(), candidate, 0.0, flaky))
    };
    ascending(units.len(), goodness).into_iter().filter_map(fill).collect()
}

/// Indices by a key, then by themselves: units are in the order of their ids.
fn ascending(count: usize, key: impl Fn(usize) -> f64) -> Vec<(f64, usize)> {
    let mut order: Vec<(f64, usize)> = (0..count).map(|index| (key(index), index)).collect();
    order.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    order
}

/// Values by metric at one index, and whether trials of a yes-or-no metric disagree.
fn values<'a>(
    index: usize,
    columns: impl Iterator<Item = (&'a Metric, &'a Column)>,
) -> (BTreeMap<String, Option<f64>>, bool) {
    let mut flaky = false;
    let found = columns
        .map(|(metric, column)| {
            let reduced = column.values.get(index).copied().unwrap_or_default();
            flaky |= metric.scale == Scale::Binary && reduced.flaky();
            (metric.name.clone(), reduced.value)
        })
        .collect();
    (found, flaky)
}

fn row(
    unit: &Unit<'_>,
    baseline: BTreeMap<String, Option<f64>>,
    candidate: BTreeMap<String, Option<f64>>,
    shift: f64,
    flaky: bool,
) -> ExampleRow {
    let dimensions = unit.dimensions.cloned().unwrap_or_default();
    // -0 would be written with its sign.
    ExampleRow { id: unit.id.clone(), dimensions, baseline, candidate, shift: shift + 0.0, flaky }
}

/// The width of a metric's scale, or of the values seen where it is not bounded.
fn width(metric: &Metric, columns: &[&Column]) -> f64 {
    if let Some((least, greatest)) = metric.bounds() {
        return greatest - least;
    }
    let values = columns.iter().flat_map(|column| &column.values).filter_map(|reduced| reduced.value);
    let (least, greatest) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if greatest > least { greatest - least } else { 0.0 }
}
