//! Strengths of several versions from pairwise wins: Bradley and Terry's model (1952) by maximum likelihood.
//!
//! A tie is half a win for each. Where a version never lost, or the versions fall into groups that never met, the
//! likelihood has no maximum: that is a status, and a prior of virtual ties is only taken when asked for.

use nalgebra::{DMatrix, DVector};

use super::{Status, bootstrap::resamples, moments, quantile::quantile_sorted};

/// Fitted strengths; empty where not defined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BradleyTerry {
    /// Separation where a version (or group) won or lost everything against the rest, disconnected where groups never
    /// met, insufficient for fewer than two versions, undefined for a matrix that is none.
    pub status: Status,
    /// Log-strengths, centred to mean 0.
    pub strengths: Vec<f64>,
    /// Standard errors of the differences of two strengths, from the observed information.
    pub se: Vec<Vec<f64>>,
}

impl BradleyTerry {
    /// The strengths on the scale of chess: 400 points are odds of ten to one, 1000 is the mean.
    pub fn elo(&self) -> Vec<f64> {
        self.strengths.iter().map(|strength| 400.0 / std::f64::consts::LN_10 * strength + 1000.0).collect()
    }
}

/// Fits `wins[i][j]`, the wins of i over j. `prior` (0 for none) adds half of itself to both directions of every pair.
pub fn bradley_terry(wins: &[Vec<f64>], prior: f64) -> BradleyTerry {
    let refuse = |status| BradleyTerry { status, ..BradleyTerry::default() };
    let count = wins.len();
    let square = wins.iter().all(|row| row.len() == count && row.iter().all(|wins| *wins >= 0.0 && wins.is_finite()));
    if !(square && prior >= 0.0 && prior.is_finite()) {
        return refuse(Status::Undefined);
    }
    match count {
        0 => return refuse(Status::Empty),
        1 => return refuse(Status::Insufficient),
        _ => {}
    }
    let table = DMatrix::from_fn(count, count, |i, j| if i == j { 0.0 } else { wins[i][j] + 0.5 * prior });
    if reached(count, |i, j| table[(i, j)] > 0.0 || table[(j, i)] > 0.0) < count {
        return refuse(Status::Disconnected);
    }
    // Strongly connected: everyone is reached from the first, forwards and backwards.
    let forwards = reached(count, |i, j| table[(i, j)] > 0.0);
    let backwards = reached(count, |i, j| table[(j, i)] > 0.0);
    if forwards < count || backwards < count {
        return refuse(Status::Separation);
    }
    let Some((strengths, covariance)) = newton(&table) else { return refuse(Status::Separation) };
    let center = strengths.mean();
    let se = |i: usize, j: usize| {
        let variance = covariance[(i, i)] + covariance[(j, j)] - 2.0 * covariance[(i, j)];
        if i == j { 0.0 } else { variance.max(0.0).sqrt() }
    };
    BradleyTerry {
        status: Status::Ok,
        strengths: strengths.iter().map(|strength| strength - center).collect(),
        se: (0..count).map(|i| (0..count).map(|j| se(i, j)).collect()).collect(),
    }
}

/// How many are reached from the first along edges.
fn reached(count: usize, edge: impl Fn(usize, usize) -> bool) -> usize {
    let mut seen = vec![false; count];
    let mut open = vec![0];
    while let Some(from) = open.pop() {
        if std::mem::replace(&mut seen[from], true) {
            continue;
        }
        open.extend((0..count).filter(|to| !seen[*to] && edge(from, *to)));
    }
    seen.iter().filter(|seen| **seen).count()
}

/// Strengths against the first, which is 0, with their covariance (its row and column are 0). `None` when the
/// likelihood is so flat that no maximum is found.
fn newton(table: &DMatrix<f64>) -> Option<(DVector<f64>, DMatrix<f64>)> {
    let count = table.nrows();
    let mut strengths = DVector::zeros(count);
    for _ in 0..200 {
        let (gradient, information) = derivatives(table, &strengths);
        let factor = information.cholesky()?;
        let step = factor.solve(&gradient);
        let before = likelihood(table, &strengths);
        let mut share = 1.0;
        let next = loop {
            let mut next = strengths.clone();
            for (place, change) in step.iter().enumerate() {
                next[place + 1] += share * change;
            }
            // Concave: a step that does not climb was too long, down to what rounding can tell.
            if likelihood(table, &next) >= before - 1e-12 * before.abs() || share < 1e-6 {
                break next;
            }
            share *= 0.5;
        };
        let moved = (&next - &strengths).amax();
        strengths = next;
        if !moved.is_finite() {
            return None;
        }
        if moved <= 1e-12 * strengths.amax().max(1.0) {
            let (_, information) = derivatives(table, &strengths);
            let inverse = information.cholesky()?.inverse();
            let covariance =
                DMatrix::from_fn(count, count, |i, j| if i * j == 0 { 0.0 } else { inverse[(i - 1, j - 1)] });
            return Some((strengths, covariance));
        }
    }
    None
}

/// Chance that a strength ahead by `lead` wins.
fn win(lead: f64) -> f64 {
    1.0 / (1.0 + (-lead).exp())
}

fn likelihood(table: &DMatrix<f64>, strengths: &DVector<f64>) -> f64 {
    let pairs = (0..table.nrows()).flat_map(|i| (0..table.nrows()).map(move |j| (i, j)));
    // ln(1 / (1 + e^-lead)), without overflow for a lead far behind.
    let log_win = |lead: f64| if lead < 0.0 { lead - lead.exp().ln_1p() } else { -(-lead).exp().ln_1p() };
    moments::sum(pairs.filter(|(i, j)| i != j).map(|(i, j)| table[(i, j)] * log_win(strengths[i] - strengths[j])))
}

/// Gradient and observed information of all strengths but the first.
fn derivatives(table: &DMatrix<f64>, strengths: &DVector<f64>) -> (DVector<f64>, DMatrix<f64>) {
    let count = table.nrows();
    let mut gradient = DVector::zeros(count - 1);
    let mut information = DMatrix::zeros(count - 1, count - 1);
    for i in 1..count {
        for j in (0..count).filter(|j| *j != i) {
            let met = table[(i, j)] + table[(j, i)];
            let chance = win(strengths[i] - strengths[j]);
            let weight = met * chance * (1.0 - chance);
            gradient[i - 1] += table[(i, j)] - met * chance;
            information[(i - 1, i - 1)] += weight;
            if j > 0 {
                information[(i - 1, j - 1)] -= weight;
            }
        }
    }
    (gradient, information)
}

/// One comparison of two versions on one example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bout {
    /// Example (or cluster) that it was fought on: the unit that is resampled.
    pub example: usize,
    /// One version.
    pub first: usize,
    /// The other.
    pub second: usize,
    /// What the second scored: 1 for a win, ½ for a tie, 0 for a loss.
    pub second_scored: f64,
}

/// Wins of each of `versions` over each other; bouts of versions beyond them, and of one against itself, count
/// nowhere.
pub fn wins(versions: usize, bouts: &[Bout]) -> Vec<Vec<f64>> {
    let mut wins = vec![vec![0.0; versions]; versions];
    for bout in bouts.iter().filter(|bout| bout.first.max(bout.second) < versions && bout.first != bout.second) {
        wins[bout.second][bout.first] += bout.second_scored;
        wins[bout.first][bout.second] += 1.0 - bout.second_scored;
    }
    wins
}

/// Differences of strengths over resampled examples, and the ranks that they leave open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// The fit of all bouts; the rest is empty unless it is defined.
    pub fit: BradleyTerry,
    /// Standard deviation of each difference over the resamples.
    pub se: Vec<Vec<f64>>,
    /// Bounds of `strength[j] - strength[i]`, at `[i][j]`.
    pub bounds: Vec<Vec<(f64, f64)>>,
    /// Best and worst rank of each version.
    pub ranks: Vec<(usize, usize)>,
    /// Resamples in which no strengths could be fitted; more than a few mean that a prior is needed.
    pub refused: u32,
}

/// Ranks versions by resampling whole examples, which keeps the dependence of bouts on the same example.
///
/// Bounds are percentiles at a two-sided `level` of `count` resamples from `seed`.
pub fn rank_by_examples(versions: usize, bouts: &[Bout], prior: f64, count: u32, seed: u64, level: f64) -> Ranking {
    let fit = bradley_terry(&wins(versions, bouts), prior);
    if fit.status != Status::Ok {
        return Ranking { fit, ..Ranking::default() };
    }
    let mut order: Vec<Bout> = bouts.to_vec();
    order.sort_by_key(|bout| bout.example);
    let examples: Vec<&[Bout]> = order.chunk_by(|left, right| left.example == right.example).collect();
    let mut fits: Vec<Vec<f64>> = Vec::new();
    for resample in resamples(examples.len(), count, seed) {
        let drawn: Vec<Bout> = resample.iter().flat_map(|example| examples[*example]).copied().collect();
        let found = bradley_terry(&wins(versions, &drawn), prior);
        if found.status == Status::Ok {
            fits.push(found.strengths);
        }
    }
    let refused = count - fits.len() as u32;
    let difference = |i: usize, j: usize| -> Vec<f64> {
        let mut values: Vec<f64> = fits.iter().map(|strengths| strengths[j] - strengths[i]).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let alpha = 0.5 * (1.0 - level);
    let table: Vec<Vec<(f64, (f64, f64))>> = (0..versions)
        .map(|i| {
            (0..versions)
                .map(|j| {
                    let values = difference(i, j);
                    let at = |p: f64, otherwise: f64| quantile_sorted(&values, p).unwrap_or(otherwise);
                    let bounds = (at(alpha, f64::NEG_INFINITY), at(1.0 - alpha, f64::INFINITY));
                    (moments::variance(&values).map_or(f64::INFINITY, f64::sqrt), bounds)
                })
                .collect()
        })
        .collect();
    let ranks = rank_intervals(versions, |i, j| table[i][j].1);
    let (se, bounds) = table.into_iter().map(|row| row.into_iter().unzip()).unzip();
    Ranking { fit, se, bounds, ranks, refused }
}

/// Best and worst rank of each of `versions`, 1 being the strongest: from `1 + #{j: credibly above i}` to
/// `versions - #{j: credibly below i}`. `bounds(i, j)` are those of j minus i.
pub fn rank_intervals(versions: usize, bounds: impl Fn(usize, usize) -> (f64, f64)) -> Vec<(usize, usize)> {
    (0..versions)
        .map(|i| {
            let others = || (0..versions).filter(move |j| *j != i);
            let above = others().filter(|j| bounds(i, *j).0 > 0.0).count();
            let below = others().filter(|j| bounds(i, *j).1 < 0.0).count();
            (1 + above, versions - below)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn statuses() {
        let status = |wins: &[&[f64]], prior| {
            let rows: Vec<Vec<f64>> = wins.iter().map(|row| row.to_vec()).collect();
            bradley_terry(&rows, prior).status
        };
        assert_eq!(status(&[], 0.0), Status::Empty);
        assert_eq!(status(&[&[0.0]], 0.0), Status::Insufficient);
        assert_eq!(status(&[&[0.0, 3.0], &[0.0, 0.0]], 0.0), Status::Separation);
        assert_eq!(status(&[&[0.0, 3.0], &[0.0, 0.0]], 1.0), Status::Ok);
        assert_eq!(status(&[&[0.0, 0.0], &[0.0, 0.0]], 0.0), Status::Disconnected);
        assert_eq!(status(&[&[0.0, -1.0], &[1.0, 0.0]], 0.0), Status::Undefined);
        assert_eq!(status(&[&[0.0, 1.0], &[1.0]], 0.0), Status::Undefined);
        assert_eq!(status(&[&[0.0, 1.0], &[1.0, 0.0]], f64::NAN), Status::Undefined);
    }

    #[test]
    fn a_landslide_still_converges() {
        let found = bradley_terry(&[vec![0.0, 1e6], vec![1e-3, 0.0]], 0.0);
        assert_eq!(found.status, Status::Ok);
        assert!((found.strengths[0] - found.strengths[1] - (1e9_f64).ln()).abs() < 1e-6, "{found:?}");
    }

    /// Slow definition: the fixed point `p_i = W_i / sum_j n_ij / (p_i + p_j)` of Zermelo, by iteration.
    #[test]
    fn newton_finds_the_fixed_point() {
        let mut random = Pcg64::seed_from_u64(2);
        for count in 2..7 {
            let wins: Vec<Vec<f64>> = (0..count)
                .map(|_| (0..count).map(|_| f64::from(random.random_range(1..30_u8)) * 0.5).collect())
                .collect();
            let mut worth = vec![1.0_f64; count];
            for _ in 0..20_000 {
                for i in 0..count {
                    let others = || (0..count).filter(|j| *j != i);
                    let won: f64 = others().map(|j| wins[i][j]).sum();
                    worth[i] = won / others().map(|j| (wins[i][j] + wins[j][i]) / (worth[i] + worth[j])).sum::<f64>();
                }
            }
            let center = worth.iter().map(|worth| worth.ln()).sum::<f64>() / count as f64;
            for (found, worth) in bradley_terry(&wins, 0.0).strengths.iter().zip(&worth) {
                assert!((found - (worth.ln() - center)).abs() < 1e-9, "{found} {}", worth.ln() - center);
            }
        }
    }

    /// Four versions, 60 examples, ten rounds: true differences lie in their bounds, true ranks in theirs.
    #[test]
    fn bounds_and_ranks_cover_the_truth() {
        let truth = [0.9, 0.3, 0.0, -0.8];
        let (mut covered, mut of, mut ranked) = (0, 0, 0);
        for round in 0..10 {
            let mut random = Pcg64::seed_from_u64(100 + round);
            let mut bouts = Vec::new();
            for example in 0..60 {
                for first in 0..4 {
                    for second in first + 1..4 {
                        let lead: f64 = truth[second] - truth[first];
                        let won = random.random_range(0.0..1.0) < win(lead);
                        bouts.push(Bout { example, first, second, second_scored: f64::from(u8::from(won)) });
                    }
                }
            }
            let found = rank_by_examples(4, &bouts, 0.0, 200, round, 0.95);
            assert_eq!(found.refused, 0);
            for i in 0..4 {
                for j in (0..4).filter(|j| *j != i) {
                    let (lo, hi) = found.bounds[i][j];
                    covered += i32::from(lo <= truth[j] - truth[i] && truth[j] - truth[i] <= hi);
                    of += 1;
                    assert!((found.se[i][j] / found.fit.se[i][j] - 1.0).abs() < 0.35, "{found:?}");
                }
                ranked += i32::from(found.ranks[i].0 <= i + 1 && i < found.ranks[i].1);
            }
        }
        assert!(f64::from(covered) / f64::from(of) > 0.88, "{covered} of {of}");
        assert!(ranked >= 38, "{ranked} of 40");
    }

    #[test]
    fn ranks_from_bounds() {
        let strengths = [2.0, 0.1, 0.0];
        let bounds = |i: usize, j: usize| (strengths[j] - strengths[i] - 0.5, strengths[j] - strengths[i] + 0.5);
        assert_eq!(rank_intervals(3, bounds), [(1, 1), (2, 3), (2, 3)]);
    }

    #[test]
    fn a_seed_fixes_the_ranking() {
        let bouts: Vec<Bout> = (0..40)
            .map(|example| Bout {
                example,
                first: example % 3,
                second: (example + 1) % 3,
                second_scored: [0.0, 0.5, 1.0, 1.0][example % 4],
            })
            .collect();
        assert_eq!(rank_by_examples(3, &bouts, 0.0, 50, 4, 0.9), rank_by_examples(3, &bouts, 0.0, 50, 4, 0.9));
    }
}
