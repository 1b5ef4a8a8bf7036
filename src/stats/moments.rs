//! Sums, means and standard deviations that the estimators share, and the rule for "all values are equal".

/// Sum with Neumaier's compensation, so that long columns far from zero keep their digits.
pub(super) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
        total = next;
    }
    total + lost
}

/// Arithmetic mean; `None` without values.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| sum(values.iter().copied()) / values.len() as f64)
}

/// Sum of squared distances from `center`.
pub(super) fn squares(values: &[f64], center: f64) -> f64 {
    sum(values.iter().map(|value| (value - center) * (value - center)))
}

/// Sample variance with n-1 below; `None` for fewer than two values.
pub(super) fn variance(values: &[f64]) -> Option<f64> {
    let center = mean(values)?;
    (values.len() > 1).then(|| squares(values, center) / (values.len() - 1) as f64)
}

/// Whether all values are equal up to rounding: `max - min <= 1e-12 max(1, max|x|)` (methods 1.0).
pub(super) fn all_equal(values: &[f64]) -> bool {
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for &value in values {
        min = min.min(value);
        max = max.max(value);
    }
    values.is_empty() || max - min <= 1e-12 * min.abs().max(max.abs()).max(1.0)
}

/// Whether every value is neither infinite nor NaN.
pub(super) fn all_finite(values: &[f64]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// Average ranks from 1, ties sharing the mean of theirs, with the sizes of the groups of ties.
pub(super) fn ranks(values: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&left, &right| values[left].total_cmp(&values[right]));
    let mut ranks = vec![0.0; values.len()];
    let mut groups = Vec::new();
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        for &index in &order[start..end] {
            ranks[index] = (start + end + 1) as f64 / 2.0;
        }
        groups.push(end - start);
        start = end;
    }
    (ranks, groups)
}
