//! Where a change sits: every metric in every value of every dimension.
//!
//! Exploratory: all tests of the comparison form one family held at a false discovery rate of 10 %. Slices too small to
//! test are shown without a finding.

use std::collections::BTreeMap;

use super::{
    SliceComparison, SliceSummary,
    abreast::abreast,
    change::Assessed,
    contrast::{self, Question},
    measure::Metric,
    pair::{Column, Pairs, Sample, Unit},
};
use crate::{
    model::{Change, GatePolicy, SliceRate},
    stats::{benjamini_hochberg, benjamini_yekutieli},
};

/// Fewest examples of a slice that is shown.
const SHOWN: usize = 5;
/// Fewest pairs of a slice that is tested (methods 1.6).
const TESTED: usize = 20;
/// Most values of one dimension that are shown: the largest. A dimension with more is an id in disguise.
const VALUES: usize = 30;
/// False discovery rate of the findings.
const RATE: f64 = 0.10;

/// A dimension's value with the units that have it.
struct Slice<'a> {
    dimension: &'a str,
    value: &'a str,
    members: Vec<usize>,
}

/// Slices of the units that pass the filter, by dimension and value; those with all units or too few are left out.
fn slices<'a>(units: &[Unit<'a>], keep: fn(&Unit<'_>) -> bool) -> Vec<Slice<'a>> {
    let mut groups: BTreeMap<&str, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
    let mut total = 0;
    for (index, unit) in units.iter().enumerate().filter(|(_, unit)| keep(unit)) {
        total += 1;
        for (dimension, value) in unit.dimensions.into_iter().flatten() {
            groups.entry(dimension).or_default().entry(value).or_default().push(index);
        }
    }
    let mut found = Vec::new();
    for (dimension, values) in groups {
        let mut shown: Vec<Slice<'_>> = values
            .into_iter()
            .filter(|(_, members)| members.len() >= SHOWN && members.len() < total)
            .map(|(value, members)| Slice { dimension, value, members })
            .collect();
        shown.sort_by(|left, right| right.members.len().cmp(&left.members.len()).then(left.value.cmp(right.value)));
        shown.truncate(VALUES);
        found.extend(shown);
    }
    found
}

/// p after the correction for the number of slices that the policy asks for.
pub(super) fn adjusted(rate: SliceRate, family: &[Option<f64>]) -> Vec<Option<f64>> {
    match rate {
        SliceRate::Bh => benjamini_hochberg(family),
        SliceRate::By => benjamini_yekutieli(family),
    }
}

/// Every graded metric in every slice, the most credible change first.
pub(super) fn compare_slices(units: &[Unit<'_>], assessed: &[Assessed], policy: &GatePolicy) -> Vec<SliceComparison> {
    let mut slices = slices(units, |unit| unit.is_paired());
    // Estimates want clusters together: one sorting for each slice and not one for each of its metrics.
    for slice in &mut slices {
        slice.members.sort_by_key(|member| units.get(*member).map(|unit| (unit.stratum, unit.cluster)));
    }
    let metrics = assessed.iter().filter(|metric| !metric.unpaired);
    let cells: Vec<_> = metrics.flat_map(|metric| slices.iter().map(move |slice| (metric, slice))).collect();
    let compared = abreast(&cells, |(metric, slice)| compare_slice(units, metric, slice, policy));
    let (family, mut found): (Vec<Option<f64>>, Vec<SliceComparison>) = compared.into_iter().flatten().unzip();
    for ((slice, q), p) in found.iter_mut().zip(adjusted(policy.slice_rate, &family)).zip(&family) {
        slice.q = q.filter(|_| p.is_some());
        let turned = slice.difference.estimate.map_or(0.0, |change| match slice.direction {
            crate::model::Direction::Higher => change,
            crate::model::Direction::Lower => -change,
        });
        if slice.q.is_some_and(|q| q <= RATE) && turned != 0.0 {
            slice.change = if turned > 0.0 { Change::Improved } else { Change::Regressed };
        }
    }
    let mut ranked: Vec<(Option<f64>, SliceComparison)> = family.into_iter().zip(found).collect();
    // Equal q values are common after the step-up; the raw p keeps the order of evidence.
    ranked.sort_by(|(p, left), (other, right)| {
        let credible = |q: Option<f64>, p: Option<f64>| (q.unwrap_or(2.0), p.unwrap_or(2.0));
        let (a, b) = (credible(left.q, *p), credible(right.q, *other));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then_with(|| {
            let size = |slice: &SliceComparison| slice.difference.estimate.unwrap_or(0.0).abs();
            size(right).total_cmp(&size(left))
        })
    });
    ranked.into_iter().map(|(_, slice)| slice).collect()
}

/// One metric in one slice, with the p of its change where the slice is large enough; `None` where it is too small to be
/// shown.
fn compare_slice(
    units: &[Unit<'_>],
    metric: &Assessed,
    slice: &Slice<'_>,
    policy: &GatePolicy,
) -> Option<(Option<f64>, SliceComparison)> {
    let pairs = Pairs::of(units, &metric.columns, slice.members.iter().copied());
    if pairs.len() < SHOWN {
        return None;
    }
    let question = Question {
        sign: metric.metric.sign(),
        bounds: metric.metric.bounds(),
        margin: metric.comparison.margin,
        alpha: policy.alpha,
        anytime: None,
    };
    let contrast = contrast::paired(&pairs, &question);
    let p = contrast.p_two_sided().filter(|_| pairs.len() >= TESTED);
    let found = SliceComparison {
        dimension: slice.dimension.to_owned(),
        value: slice.value.to_owned(),
        metric: metric.metric.name.clone(),
        direction: metric.metric.direction,
        baseline: contrast::arm(&pairs.baseline, question.bounds),
        candidate: contrast::arm(&pairs.candidate, question.bounds),
        difference: contrast.estimate,
        q: None,
        change: Change::Inconclusive,
    };
    Some((p, found))
}

/// Every graded metric in every slice of one run, by dimension, value and metric.
pub(super) fn summarize_slices(units: &[Unit<'_>], metrics: &[(Metric, Column)]) -> Vec<SliceSummary> {
    let mut found = Vec::new();
    for slice in slices(units, |_| true) {
        for (metric, column) in metrics {
            let sample = Sample::of(units, column, slice.members.iter().copied());
            if sample.values.len() < SHOWN {
                continue;
            }
            found.push(SliceSummary {
                dimension: slice.dimension.to_owned(),
                value: slice.value.to_owned(),
                metric: metric.name.clone(),
                estimate: contrast::arm(&sample, metric.bounds()),
            });
        }
    }
    found
}
