//! Agreement of raters beyond chance: Cohen, Krippendorff, Gwet, and correlations of ordered categories.
//!
//! Categories are given by index in their order; what they mean is the caller's. Statistics that are not defined (a
//! rater who never varies, agreement by chance that is certain) are `None`.

use super::moments;

/// How far apart two categories count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// Same or not.
    None,
    /// By steps.
    Linear,
    /// By squared steps.
    Quadratic,
}

/// The distance that Krippendorff's alpha uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Same or not.
    Nominal,
    /// By ranks.
    Ordinal,
    /// By squared difference of values.
    Interval,
}

/// Share of pairs in the same category.
pub fn percent(pairs: &[(usize, usize)]) -> Option<f64> {
    let same = pairs.iter().filter(|(left, right)| left == right).count();
    (!pairs.is_empty()).then(|| same as f64 / pairs.len() as f64)
}

/// Cohen's kappa (1960, 1968) of two raters over `categories` categories.
pub fn cohen_kappa(pairs: &[(usize, usize)], categories: usize, weighting: Weighting) -> Option<f64> {
    if pairs.is_empty() || pairs.iter().any(|(left, right)| *left >= categories || *right >= categories) {
        return None;
    }
    let n = pairs.len() as f64;
    let (mut left, mut right) = (vec![0.0; categories], vec![0.0; categories]);
    let mut observed = 0.0;
    for (a, b) in pairs {
        left[*a] += 1.0;
        right[*b] += 1.0;
        observed += disagreement(*a, *b, weighting);
    }
    let mut expected = 0.0;
    for (a, x) in left.iter().enumerate() {
        for (b, y) in right.iter().enumerate() {
            expected += x * y * disagreement(a, b, weighting);
        }
    }
    (expected > 0.0).then(|| 1.0 - observed * n / expected)
}

fn disagreement(a: usize, b: usize, weighting: Weighting) -> f64 {
    let steps = a.abs_diff(b) as f64;
    match weighting {
        Weighting::None => f64::from(u8::from(a != b)),
        Weighting::Linear => steps,
        Weighting::Quadratic => steps * steps,
    }
}

/// Krippendorff's alpha (2011) over items, each with the ratings it got; items with fewer than two do not count.
///
/// `values` are the numbers of the categories, ascending; used for interval distance.
pub fn krippendorff_alpha(items: &[Vec<usize>], values: &[f64], metric: Metric) -> Option<f64> {
    let size = values.len();
    if items.iter().flatten().any(|rating| *rating >= size) {
        return None;
    }
    let mut matrix = vec![vec![0.0_f64; size]; size];
    for item in items.iter().filter(|item| item.len() > 1) {
        let share = 1.0 / (item.len() as f64 - 1.0);
        for (place, a) in item.iter().enumerate() {
            for (other, b) in item.iter().enumerate() {
                if place != other {
                    matrix[*a][*b] += share;
                }
            }
        }
    }
    let totals: Vec<f64> = matrix.iter().map(|row| row.iter().sum()).collect();
    let n: f64 = totals.iter().sum();
    let (mut observed, mut expected) = (0.0, 0.0);
    for a in 0..size {
        for b in 0..size {
            let distance = distance(a, b, values, &totals, metric);
            observed += matrix[a][b] * distance;
            expected += totals[a] * totals[b] * distance;
        }
    }
    (n > 1.0 && expected > 0.0).then(|| 1.0 - (n - 1.0) * observed / expected)
}

fn distance(a: usize, b: usize, values: &[f64], totals: &[f64], metric: Metric) -> f64 {
    match metric {
        Metric::Nominal => f64::from(u8::from(a != b)),
        Metric::Interval => (values[a] - values[b]).powi(2),
        Metric::Ordinal => {
            let (low, high) = (a.min(b), a.max(b));
            let between: f64 = totals[low..=high].iter().sum();
            (between - 0.5 * (totals[low] + totals[high])).powi(2)
        }
    }
}

/// Gwet's AC1 (no weighting) or AC2 (2008): keeps its meaning where nearly all pass and kappa collapses.
pub fn gwet_ac(items: &[Vec<usize>], categories: usize, weighting: Weighting) -> Option<f64> {
    if categories < 2 || items.iter().flatten().any(|rating| *rating >= categories) {
        return None;
    }
    let farthest = disagreement(0, categories - 1, weighting);
    let weight = |a: usize, b: usize| 1.0 - disagreement(a, b, weighting) / farthest;
    let (mut agreed, mut pairable, mut rated) = (0.0, 0.0, 0.0);
    let mut shares = vec![0.0_f64; categories];
    for item in items.iter().filter(|item| !item.is_empty()) {
        let size = item.len() as f64;
        let mut counts = vec![0.0_f64; categories];
        for rating in item {
            counts[*rating] += 1.0;
        }
        rated += 1.0;
        for (share, count) in shares.iter_mut().zip(&counts) {
            *share += count / size;
        }
        if item.len() > 1 {
            pairable += 1.0;
            for (a, count) in counts.iter().enumerate() {
                let weighted: f64 = counts.iter().enumerate().map(|(b, other)| weight(a, b) * other).sum();
                agreed += count * (weighted - 1.0) / (size * (size - 1.0));
            }
        }
    }
    if pairable == 0.0 {
        return None;
    }
    let total: f64 =
        (0..categories).flat_map(|a| (0..categories).map(move |b| (a, b))).map(|(a, b)| weight(a, b)).sum();
    let spread: f64 = shares.iter().map(|share| share / rated).map(|share| share * (1.0 - share)).sum();
    let q = categories as f64;
    let chance = total / (q * (q - 1.0)) * spread;
    (chance < 1.0).then(|| (agreed / pairable - chance) / (1.0 - chance))
}

/// Pearson's correlation; `None` when a side does not vary.
pub fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    if moments::all_equal(&a) || moments::all_equal(&b) {
        return None;
    }
    let (mean_a, mean_b) = (moments::mean(&a)?, moments::mean(&b)?);
    let product = moments::sum(pairs.iter().map(|(x, y)| (x - mean_a) * (y - mean_b)));
    Some((product / (moments::squares(&a, mean_a) * moments::squares(&b, mean_b)).sqrt()).clamp(-1.0, 1.0))
}

/// Spearman's rank correlation.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let ranked: Vec<(f64, f64)> = moments::ranks(&a).0.into_iter().zip(moments::ranks(&b).0).collect();
    pearson(&ranked)
}

/// Kendall's tau-b. Compares all pairs: meant for the hundreds of items that people label.
pub fn kendall_tau_b(pairs: &[(f64, f64)]) -> Option<f64> {
    let (mut net, mut left, mut right) = (0.0, 0.0, 0.0);
    for (index, (a, b)) in pairs.iter().enumerate() {
        for (c, d) in &pairs[index + 1..] {
            let (x, y) = (sign(a - c), sign(b - d));
            net += x * y;
            left += x * x;
            right += y * y;
        }
    }
    (left > 0.0 && right > 0.0).then(|| net / (left * right).sqrt())
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_defined_without_variation() {
        assert_eq!(cohen_kappa(&[(1, 1); 5], 2, Weighting::None), None);
        assert_eq!(krippendorff_alpha(&[vec![1, 1], vec![1, 1]], &[0.0, 1.0], Metric::Nominal), None);
        assert_eq!(pearson(&[(1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(percent(&[]), None);
    }

    #[test]
    fn kappa_collapses_where_ac1_does_not() {
        let mut pairs = vec![(1, 1); 90];
        pairs.extend([(1, 0); 5]);
        pairs.extend([(0, 1); 5]);
        let items: Vec<Vec<usize>> = pairs.iter().map(|(a, b)| vec![*a, *b]).collect();
        assert!(cohen_kappa(&pairs, 2, Weighting::None).unwrap() < 0.0);
        assert!(gwet_ac(&items, 2, Weighting::None).unwrap() > 0.85);
    }
}
