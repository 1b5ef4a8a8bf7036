//! Adjusted p-values for families of tests. An absent p (not testable) leaves the family and stays absent.

/// Holm (1979): the probability of any false finding stays below the level, whatever the dependence.
pub fn holm(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let order = sorted(p);
    let count = order.len();
    let mut adjusted = vec![None; p.len()];
    let mut greatest = 0.0_f64;
    for (rank, (index, value)) in order.into_iter().enumerate() {
        greatest = greatest.max(((count - rank) as f64 * value).min(1.0));
        adjusted[index] = Some(greatest);
    }
    adjusted
}

/// Benjamini and Hochberg (1995): the expected share of false findings, for independent or positively dependent tests.
pub fn benjamini_hochberg(p: &[Option<f64>]) -> Vec<Option<f64>> {
    step_up(p, 1.0)
}

/// Benjamini and Yekutieli (2001): the same under any dependence, at a price.
pub fn benjamini_yekutieli(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let count = p.iter().flatten().count();
    step_up(p, (1..=count).map(|rank| 1.0 / rank as f64).sum())
}

/// Bonferroni: for comparison only; Holm is never less powerful.
pub fn bonferroni(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let count = p.iter().flatten().count() as f64;
    p.iter().map(|value| value.map(|value| (value * count).min(1.0))).collect()
}

fn step_up(p: &[Option<f64>], factor: f64) -> Vec<Option<f64>> {
    let order = sorted(p);
    let count = order.len() as f64;
    let mut adjusted = vec![None; p.len()];
    let mut least = 1.0_f64;
    for (rank, (index, value)) in order.into_iter().enumerate().rev() {
        least = least.min(value * factor * count / (rank + 1) as f64);
        adjusted[index] = Some(least);
    }
    adjusted
}

/// Defined p-values with their places, ascending; equal ones keep their order.
fn sorted(p: &[Option<f64>]) -> Vec<(usize, f64)> {
    let mut order: Vec<(usize, f64)> =
        p.iter().enumerate().filter_map(|(index, value)| value.map(|value| (index, value))).collect();
    order.sort_by(|left, right| left.1.total_cmp(&right.1));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn adjusting_never_lowers_a_p_and_keeps_the_order(p in proptest::collection::vec(0.0..1.0f64, 0..30)) {
            let family: Vec<Option<f64>> = p.iter().copied().map(Some).collect();
            for adjusted in [holm(&family), benjamini_hochberg(&family), benjamini_yekutieli(&family)] {
                for (index, value) in adjusted.iter().enumerate() {
                    let value = value.unwrap();
                    prop_assert!(value >= p[index] - 1e-15 && value <= 1.0);
                    for (other, higher) in adjusted.iter().enumerate() {
                        prop_assert!(p[index] > p[other] || value <= higher.unwrap());
                    }
                }
            }
        }
    }
}
