//! Careful spreads against matrices, against textbook forms, and in simulations where plain errors fail.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;
use crate::stats::{Design, Estimate, clustered_mean, mean_designed};

fn parts(values: &[f64], weights: &[f64], clusters: &[usize]) -> Vec<Part> {
    let sum: f64 = weights.iter().sum();
    let mean: f64 = values.iter().zip(weights).map(|(y, w)| y * w / sum).sum();
    let count = clusters.iter().max().unwrap() + 1;
    let mut parts = vec![Part { total: 0.0, share: 0.0, own: 0.0, kept: 1.0 }; count];
    for ((y, w), c) in values.iter().zip(weights).zip(clusters) {
        let p = w / sum;
        parts[*c].total += p * (y - mean);
        parts[*c].share += p;
        parts[*c].own += p * p;
    }
    parts
}

/// The same without the floor: bias-reduced variance and degrees of freedom from the matrix of units.
fn by_matrix(parts: &[Part]) -> (f64, f64) {
    let own: f64 = parts.iter().map(|part| part.own).sum();
    let covariance = |c: usize, d: usize| {
        let (a, b) = (parts[c], parts[d]);
        let same = if c == d { a.own } else { 0.0 };
        same - b.share * a.own - a.share * b.own + a.share * b.share * own
    };
    let scale = |c: usize| parts[c].own / covariance(c, c);
    let n = parts.len();
    let a = |c: usize, d: usize| (scale(c) * scale(d)).sqrt() * covariance(c, d);
    let trace: f64 = (0..n).map(|c| a(c, c)).sum();
    let square: f64 = (0..n).flat_map(|c| (0..n).map(move |d| (c, d))).map(|(c, d)| a(c, d).powi(2)).sum();
    let variance: f64 = (0..n).map(|c| scale(c) * parts[c].total.powi(2)).sum();
    (variance, trace * trace / square)
}

proptest! {
    #[test]
    fn sums_over_units_equal_the_matrix(
        rows in proptest::collection::vec((-3.0_f64..3.0, 0.2_f64..9.0, 0_usize..5), 12..40),
    ) {
        let values: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let weights: Vec<f64> = rows.iter().map(|row| row.1).collect();
        // Five clusters at least, of sizes that differ.
        let clusters: Vec<usize> = rows.iter().enumerate().map(|(n, row)| if n < 5 { n } else { row.2 }).collect();
        let parts = parts(&values, &weights, &clusters);
        let (variance, df) = by_matrix(&parts);
        let found = of_units(&parts).unwrap();
        prop_assert!((found.df - df).abs() < 1e-9 * df, "{} and {df}", found.df);
        let floored = variance.max(floor(&parts));
        prop_assert!((found.se * found.se - floored).abs() < 1e-9 * floored);
    }

    #[test]
    fn equal_weights_give_the_closed_form_of_cr2(
        rows in proptest::collection::vec((-3.0_f64..3.0, 0_usize..6), 20..60),
    ) {
        let values: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let clusters: Vec<usize> = rows.iter().enumerate().map(|(n, row)| if n < 6 { n } else { row.1 }).collect();
        let parts = parts(&values, &vec![2.5; rows.len()], &clusters);
        let (textbook, found) = (clustered_mean(&values, &clusters), of_units(&parts).unwrap());
        let floored = textbook.se_cr2.unwrap().max(floor(&parts).sqrt());
        prop_assert!((found.se - floored).abs() < 1e-9 && (found.df - textbook.df.unwrap()).abs() < 1e-9);
    }

    #[test]
    fn bounds_and_p_values_are_of_one_mind(
        point in -1.0_f64..1.0, se in 0.01_f64..1.0, df in 1.0_f64..200.0, skew in -1.5_f64..1.5, alpha in 0.001_f64..0.2,
    ) {
        let spread = Spread { se, df, skew };
        let (lo, hi) = bounds(point, spread, alpha);
        let reach = t_quantile(1.0 - alpha, df) * se;
        prop_assert!(lo <= point - reach + 1e-9 && point + reach <= hi + 1e-9, "never in");
        prop_assert!((p_above(point, spread, lo) - alpha).abs() < 1e-6, "{}", p_above(point, spread, lo));
        prop_assert!((p_below(point, spread, hi) - alpha).abs() < 1e-6, "{}", p_below(point, spread, hi));
        prop_assert!((unturned(turned(0.7, skew), skew) - 0.7).abs() < 1e-6);
    }
}

/// CR2 of Pustejovsky and Tipton (2018) for weighted least squares with an intercept and clusters of one, by numpy
/// 2.4.6: `p=w/w.sum(); H=np.tile(p,(n,1)); M=np.eye(n)-H; B=M@M.T; A=1/np.sqrt(np.diag(B)); e=y-p@y;
/// V=((p*A*e)**2).sum(); G=(p*A)[:,None]*M; P=G@G.T; df=np.trace(P)**2/(P*P).sum()`.
#[test]
fn units_of_one_value_equal_weighted_least_squares() {
    let y = [0.2, 0.5, -0.1, 0.9, 0.4, 0.0, 0.7, -0.3];
    let w = [20.0, 1.0, 1.0, 1.0, 20.0, 1.0, 20.0, 1.0];
    let parts = parts(&y, &w, &[0, 1, 2, 3, 4, 5, 6, 7]);
    let (variance, df) = by_matrix(&parts);
    assert!((variance - WLS.0).abs() < 1e-12 && (df - WLS.1).abs() < 1e-9, "{variance} {df}");
    let found = of_units(&parts).unwrap();
    assert!((found.df - WLS.1).abs() < 1e-9);
}

/// `V` and `df` of the lines above.
const WLS: (f64, f64) = (0.018264915964811855, 2.0356733027629756);

/// Four of thirty equal units that changed by one: the floor is where the plain variance is; with fewer it stands alone.
#[test]
fn four_changed_units_are_taken_for_granted() {
    let spread = |changed: usize| {
        let values: Vec<f64> = (0..30).map(|n| if n < changed { 1.0 } else { 0.0 }).collect();
        let clusters: Vec<usize> = (0..30).collect();
        let plain = clustered_mean(&values, &clusters).se_cr2.unwrap();
        (of_units(&parts(&values, &[1.0; 30], &clusters)).unwrap().se, plain)
    };
    let (one, plain) = spread(1);
    assert!(one > 1.7 * plain && one < 2.0 * plain, "{one} {plain}");
    let (six, plain) = spread(6);
    assert!((six - plain).abs() < 1e-12);
    assert!(of_units(&[]).is_none());
}

/// Differences of a world: most examples do not change, a quarter weighs twenty times as much.
fn sparse(random: &mut Pcg64, n: usize, weighted: bool) -> (Vec<f64>, Vec<f64>) {
    let one = |random: &mut Pcg64| {
        let changes = random.random_bool(0.1);
        if changes { if random.random_bool(0.75) { -1.0 } else { 1.0 } } else { 0.0 }
    };
    (0..n).map(|_| (one(random), if weighted && random.random_bool(0.25) { 20.0 } else { 1.0 })).unzip()
}

/// How often the truth of -0.05 is covered, and how often it is called smaller than 0.05 in size.
fn tried(weighted: bool, mean: impl Fn(&[f64], &[f64]) -> Estimate) -> (f64, f64) {
    let mut random = Pcg64::seed_from_u64(41);
    let (mut covered, mut equivalent, mut told, tries) = (0, 0, 0, 1_000);
    for _ in 0..tries {
        let (values, weights) = sparse(&mut random, 40, weighted);
        let found = mean(&values, &weights);
        let Some(interval) = &found.interval else { continue };
        told += 1;
        covered += u32::from(interval.lo <= -0.05 && -0.05 <= interval.hi);
        let test = crate::stats::estimate_margin(&found, 1.0, 0.05, 0.05);
        equivalent += u32::from(test.is_some_and(|test| test.finding() == crate::stats::Finding::Equivalent));
    }
    (f64::from(covered) / f64::from(told), f64::from(equivalent) / f64::from(tries))
}

#[test]
fn few_changes_and_unequal_weights_are_covered() {
    for weighted in [false, true] {
        let (covered, equivalent) = tried(weighted, |values, weights| {
            let clusters: Vec<usize> = (0..values.len()).collect();
            mean_designed(values, &Design { weights, clusters: &clusters, ..Design::default() }, None, 0.95)
        });
        assert!(covered > 0.93 && equivalent < 0.05, "weighted {weighted}: {covered} {equivalent}");
    }
}

/// The simulation above can tell: the plain error with units less one degrees of freedom fails it.
#[test]
fn the_plain_error_fails_there() {
    let (covered, equivalent) = tried(true, |values, weights| {
        let clusters: Vec<usize> = (0..values.len()).collect();
        let found = crate::stats::designed(values, &Design { weights, clusters: &clusters, ..Design::default() });
        let (point, se, df) = (found.mean.unwrap(), found.se.unwrap(), found.df.unwrap());
        let reach = t_quantile(0.975, df) * se;
        let interval = crate::stats::Interval::new(point - reach, point + reach, 0.95, "plain");
        let (se, df) = (Some(se).filter(|se| *se > 0.0), Some(df));
        Estimate { estimate: Some(point), interval: se.map(|_| interval), se, df, ..Estimate::default() }
    });
    assert!(covered < 0.85 && equivalent > 0.1, "{covered} {equivalent}");
}
