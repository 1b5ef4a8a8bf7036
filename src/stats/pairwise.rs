//! Two versions side by side, judged in both orders: win rate, and whether the judge looks at the order instead.
//!
//! Which text was shown first is undone before: verdicts name versions. Strengths of three or more versions are
//! `bradley_terry`'s work.

use super::{
    Estimate, Interval, Status,
    cluster::mean_cr2,
    dist::{binomial_cdf, normal_quantile},
    moments,
};

/// Position consistency below which a judge must not gate (methods 1.13).
pub const LEAST_CONSISTENCY: f64 = 0.7;

/// Fewest examples for which length is taken out of a win rate.
const FEWEST_FOR_LENGTH: usize = 10;

/// What a judge preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preferred {
    /// The baseline, A.
    Baseline,
    /// The candidate, B.
    Candidate,
    /// Neither.
    Tie,
}

impl Preferred {
    /// What the candidate scores.
    fn score(self) -> f64 {
        match self {
            Self::Baseline => 0.0,
            Self::Tie => 0.5,
            Self::Candidate => 1.0,
        }
    }
}

/// Verdicts on one example; `None` where the judge gave none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BothOrders {
    /// With the baseline shown first.
    pub baseline_first: Option<Preferred>,
    /// With the candidate shown first.
    pub candidate_first: Option<Preferred>,
}

impl BothOrders {
    fn score(self) -> Option<f64> {
        let scores: Vec<f64> = self.given().map(Preferred::score).collect();
        moments::mean(&scores)
    }

    fn given(self) -> impl Iterator<Item = Preferred> {
        [self.baseline_first, self.candidate_first].into_iter().flatten()
    }

    /// What both orders agree on; verdicts that differ are a tie (the conservative rule of MT-bench).
    fn agreed(self) -> Option<Preferred> {
        match (self.baseline_first, self.candidate_first) {
            (Some(first), Some(second)) if first != second => Some(Preferred::Tie),
            (first, second) => first.or(second),
        }
    }
}

/// A pairwise comparison; `None` where not defined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairwise {
    /// Mean score of the candidate over examples, its interval cut to 0 and 1.
    pub win_rate: Estimate,
    /// Examples that both orders give to the baseline, that they give to the candidate, and the rest.
    pub baseline: u64,
    /// See [`Self::baseline`].
    pub candidate: u64,
    /// See [`Self::baseline`].
    pub ties: u64,
    /// Share of the candidate's examples minus the baseline's.
    pub net: Option<f64>,
    /// Of examples with both verdicts, the share on which they agree.
    pub consistency: Option<f64>,
    /// Of verdicts other than a tie, the share that chose what was shown first; ½ is no bias.
    pub first_pick: Option<f64>,
    /// Exact two-sided p that the judge has no preference for a place, from examples with opposite verdicts.
    pub position_bias_p: Option<f64>,
}

impl Pairwise {
    /// Whether the judge is steady enough under a swap to gate; not without examples judged in both orders.
    pub fn may_gate(&self) -> bool {
        self.consistency.is_some_and(|share| share >= LEAST_CONSISTENCY)
    }
}

/// Compares over `verdicts`, where `clusters[i]` names the cluster of `verdicts[i]`. Examples without any verdict are
/// dropped and counted.
pub fn pairwise(verdicts: &[BothOrders], clusters: &[usize], level: f64) -> Pairwise {
    let scored: Vec<(f64, usize)> =
        verdicts.iter().zip(clusters).filter_map(|(pair, cluster)| Some((pair.score()?, *cluster))).collect();
    let (scores, groups): (Vec<f64>, Vec<usize>) = scored.into_iter().unzip();
    let mut win_rate = mean_cr2(&scores, &groups, Some((0.0, 1.0)), level);
    win_rate.n_dropped = (verdicts.len() - scores.len()) as u64;
    if let Some(interval) = &mut win_rate.interval {
        interval.lo = interval.lo.max(0.0);
        interval.hi = interval.hi.min(1.0);
    }
    let labelled = |wanted: Preferred| verdicts.iter().filter(|pair| pair.agreed() == Some(wanted)).count() as u64;
    let (baseline, candidate) = (labelled(Preferred::Baseline), labelled(Preferred::Candidate));
    let both: Vec<(Preferred, Preferred)> =
        verdicts.iter().filter_map(|pair| pair.baseline_first.zip(pair.candidate_first)).collect();
    let equal = both.iter().filter(|(first, second)| first == second).count();
    Pairwise {
        baseline,
        candidate,
        ties: labelled(Preferred::Tie),
        net: share(candidate as f64 - baseline as f64, scores.len()),
        consistency: share(equal as f64, both.len()),
        first_pick: first_pick(verdicts),
        position_bias_p: position_bias(&both),
        win_rate,
    }
}

fn share(part: f64, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part / whole as f64)
}

fn first_pick(verdicts: &[BothOrders]) -> Option<f64> {
    let count = |wanted: BothOrders| -> usize {
        let hit = |said: Option<Preferred>, wanted: Option<Preferred>| usize::from(said == wanted);
        let both = |pair: &BothOrders| {
            hit(pair.baseline_first, wanted.baseline_first) + hit(pair.candidate_first, wanted.candidate_first)
        };
        verdicts.iter().map(both).sum()
    };
    let (baseline, candidate) = (Some(Preferred::Baseline), Some(Preferred::Candidate));
    let first = count(BothOrders { baseline_first: baseline, candidate_first: candidate });
    let second = count(BothOrders { baseline_first: candidate, candidate_first: baseline });
    share(first as f64, first + second)
}

/// Opposite verdicts follow a place: the first both times, or the second both times.
fn position_bias(both: &[(Preferred, Preferred)]) -> Option<f64> {
    let count = |wanted| both.iter().filter(|pair| **pair == wanted).count() as u64;
    let first = count((Preferred::Baseline, Preferred::Candidate));
    let second = count((Preferred::Candidate, Preferred::Baseline));
    let opposite = first + second;
    (opposite > 0).then(|| (2.0 * binomial_cdf(first.min(second), opposite, 0.5)).min(1.0))
}

/// A win rate with the length of the texts taken out; `None` where not defined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LengthControlled {
    /// Insufficient below ten examples, zero variance where lengths never differ, separation where length alone tells
    /// the winner (or one side wins all).
    pub status: Status,
    /// Mean score, length and all.
    pub raw: Option<f64>,
    /// What the mean would be, were both texts equally long.
    pub win_rate: Option<f64>,
    /// Its interval, from the intercept's.
    pub interval: Option<Interval>,
    /// Intercept and slope.
    pub coefficients: Option<(f64, f64)>,
    /// Standard error of the intercept, in logits.
    pub se: Option<f64>,
}

/// Logistic regression of `scores` (0 to 1, the candidate's) on `tanh(difference / sd)` of the lengths (candidate minus
/// baseline). Undefined for lists of unequal length and scores outside 0 to 1.
pub fn length_controlled(scores: &[f64], lengths: &[f64], level: f64) -> LengthControlled {
    let refuse = |status| LengthControlled { status, raw: moments::mean(scores), ..LengthControlled::default() };
    let in_range = scores.iter().all(|score| (0.0..=1.0).contains(score));
    if scores.len() != lengths.len() || !in_range || !moments::all_finite(lengths) {
        return LengthControlled { status: Status::Undefined, ..LengthControlled::default() };
    }
    if scores.is_empty() {
        return refuse(Status::Empty);
    }
    let sd = moments::variance(lengths).map(f64::sqrt).filter(|_| !moments::all_equal(lengths));
    let Some(sd) = sd.filter(|_| scores.len() >= FEWEST_FOR_LENGTH) else {
        let few = scores.len() < FEWEST_FOR_LENGTH;
        return refuse(if few { Status::Insufficient } else { Status::ZeroVariance });
    };
    let x: Vec<f64> = lengths.iter().map(|length| (length / sd).tanh()).collect();
    if separated(scores, &x) {
        return refuse(Status::Separation);
    }
    let Some(fit) = logistic(scores, &x) else { return refuse(Status::Separation) };
    let (intercept, slope) = fit.coefficients;
    let half = normal_quantile(0.5 + 0.5 * level) * fit.se;
    LengthControlled {
        status: Status::Ok,
        raw: moments::mean(scores),
        win_rate: Some(logit(intercept)),
        interval: Some(Interval::new(logit(intercept - half), logit(intercept + half), level, "logistic_length")),
        coefficients: Some((intercept, slope)),
        se: Some(fit.se),
    }
}

fn logit(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

/// Whether a threshold on x parts wins from losses, so that the likelihood has no maximum. A score between 0 and 1 is
/// part win, part loss.
fn separated(scores: &[f64], x: &[f64]) -> bool {
    let ends = |keep: &dyn Fn(f64) -> bool| {
        let kept = scores.iter().zip(x).filter(|(score, _)| keep(**score)).map(|(_, x)| *x);
        kept.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let (wins, losses) = (ends(&|score| score > 0.0), ends(&|score| score < 1.0));
    wins.0 >= losses.1 || losses.0 >= wins.1
}

struct Logistic {
    coefficients: (f64, f64),
    se: f64,
}

/// Newton's steps on two coefficients, each halved until it climbs.
fn logistic(scores: &[f64], x: &[f64]) -> Option<Logistic> {
    let likelihood = |(a, b): (f64, f64)| {
        let log = |z: f64| if z < 0.0 { z - z.exp().ln_1p() } else { -(-z).exp().ln_1p() };
        moments::sum(scores.iter().zip(x).map(|(y, x)| y * log(a + b * x) + (1.0 - y) * log(-(a + b * x))))
    };
    let mut at = (0.0, 0.0);
    for _ in 0..200 {
        let (mut gradient, mut information) = ((0.0, 0.0), (0.0, 0.0, 0.0));
        for (y, x) in scores.iter().zip(x) {
            let chance = logit(at.0 + at.1 * x);
            let weight = chance * (1.0 - chance);
            gradient = (gradient.0 + y - chance, gradient.1 + (y - chance) * x);
            information = (information.0 + weight, information.1 + weight * x, information.2 + weight * x * x);
        }
        let determinant = information.0 * information.2 - information.1 * information.1;
        if determinant <= 0.0 {
            return None;
        }
        let step = (
            (information.2 * gradient.0 - information.1 * gradient.1) / determinant,
            (information.0 * gradient.1 - information.1 * gradient.0) / determinant,
        );
        if step.0.abs().max(step.1.abs()) <= 1e-13 * at.0.abs().max(at.1.abs()).max(1.0) {
            return Some(Logistic { coefficients: at, se: (information.2 / determinant).sqrt() });
        }
        let before = likelihood(at);
        let shares = std::iter::successors(Some(1.0), |share| Some(share * 0.5)).take(40);
        let nexts = shares.map(|share| (at.0 + share * step.0, at.1 + share * step.1));
        let climbs = |next: &(f64, f64)| likelihood(*next) >= before - 1e-14 * before.abs();
        at = nexts.into_iter().find(climbs).unwrap_or(at);
    }
    None
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    fn pair(text: &str) -> BothOrders {
        let read = |c: Option<char>| match c {
            Some('A') => Some(Preferred::Baseline),
            Some('B') => Some(Preferred::Candidate),
            Some('t') => Some(Preferred::Tie),
            _ => None,
        };
        let mut letters = text.chars();
        BothOrders { baseline_first: read(letters.next()), candidate_first: read(letters.next()) }
    }

    fn compared(texts: &[&str]) -> Pairwise {
        let verdicts: Vec<BothOrders> = texts.iter().map(|text| pair(text)).collect();
        pairwise(&verdicts, &(0..texts.len()).collect::<Vec<_>>(), 0.95)
    }

    #[test]
    fn a_judge_of_places_may_not_gate() {
        let found = compared(&["AB", "AB", "AB", "AB", "AB", "AB", "BB"]);
        assert_eq!((found.baseline, found.candidate, found.ties), (0, 1, 6));
        assert!((found.position_bias_p.unwrap() - 0.03125).abs() < 1e-12);
        assert!(found.first_pick.unwrap() > 0.9 && !found.may_gate());
        assert!(compared(&["AA", "BB", "tt"]).may_gate());
    }

    #[test]
    fn verdicts_that_fail_are_counted() {
        let found = compared(&["--", "-B", "A-"]);
        assert_eq!((found.win_rate.n, found.win_rate.n_dropped, found.consistency), (2, 1, None));
        assert!(!found.may_gate());
        assert_eq!(compared(&["--"]).win_rate.status, Status::Empty);
    }

    /// Swapping the names of the versions mirrors everything and leaves the judge's habits as they are.
    #[test]
    fn swapped_names_mirror_the_comparison() {
        let texts = ["AB", "BB", "tA", "A-", "BA", "tt", "BB", "AA", "-B"];
        let mirrored: Vec<String> = texts
            .iter()
            .map(|text| {
                let swapped = text.chars().map(|c| match c {
                    'A' => 'B',
                    'B' => 'A',
                    other => other,
                });
                swapped.rev().collect()
            })
            .collect();
        let (one, two) = (compared(&texts), compared(&mirrored.iter().map(String::as_str).collect::<Vec<_>>()));
        assert!((one.win_rate.estimate.unwrap() + two.win_rate.estimate.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!((one.baseline, one.candidate, one.ties), (two.candidate, two.baseline, two.ties));
        assert_eq!((one.first_pick, one.position_bias_p), (two.first_pick, two.position_bias_p));
    }

    /// A judge that follows the place half of the time: the swap undoes it, the rate stays at one half.
    #[test]
    fn swapping_undoes_a_place() {
        let mut random = Pcg64::seed_from_u64(8);
        let (mut covered, mut noticed, rounds) = (0, 0, 200);
        for _ in 0..rounds {
            let mut verdict = |first: Preferred| {
                let coin = random.random_range(0.0..1.0) < 0.5;
                if random.random_range(0.0..1.0) < 0.5 {
                    first
                } else if coin {
                    Preferred::Candidate
                } else {
                    Preferred::Baseline
                }
            };
            let verdicts: Vec<BothOrders> = (0..60)
                .map(|_| BothOrders {
                    baseline_first: Some(verdict(Preferred::Baseline)),
                    candidate_first: Some(verdict(Preferred::Candidate)),
                })
                .collect();
            let found = pairwise(&verdicts, &(0..60).collect::<Vec<_>>(), 0.95);
            noticed += i32::from(found.position_bias_p.unwrap() < 0.05);
            covered += i32::from(found.win_rate.interval.is_some_and(|i| i.lo <= 0.5 && 0.5 <= i.hi));
        }
        assert!(covered >= 182 && noticed > 190, "{covered} and {noticed} of {rounds}");
    }

    #[test]
    fn statuses_of_length() {
        let status = |scores: &[f64], lengths: &[f64]| length_controlled(scores, lengths, 0.95).status;
        let (scores, lengths) = ([1.0, 0.0].repeat(6), vec![3.0; 12]);
        assert_eq!(status(&[], &[]), Status::Empty);
        assert_eq!(status(&scores[..9], &lengths[..9]), Status::Insufficient);
        assert_eq!(status(&scores, &lengths), Status::ZeroVariance);
        let told: Vec<f64> = scores.iter().map(|score| score * 10.0).collect();
        assert_eq!(status(&scores, &told), Status::Separation);
        assert_eq!(status(&[2.0], &[1.0]), Status::Undefined);
        assert_eq!(status(&scores, &[1.0]), Status::Undefined);
    }

    /// Slow definition: at the maximum both residual sums are 0, and the likelihood falls to every side.
    #[test]
    fn the_maximum_is_one() {
        let mut random = Pcg64::seed_from_u64(4);
        let scores: Vec<f64> = (0..80).map(|_| f64::from(random.random_range(0..3_u8)) * 0.5).collect();
        let lengths: Vec<f64> = (0..80).map(|_| random.random_range(-200.0..300.0)).collect();
        let found = length_controlled(&scores, &lengths, 0.95);
        let (a, b) = found.coefficients.unwrap();
        let sd = moments::variance(&lengths).unwrap().sqrt();
        let residuals = scores.iter().zip(&lengths).map(|(y, length)| {
            let x = (length / sd).tanh();
            (y - logit(a + b * x), x)
        });
        let (left, right) = residuals.fold((0.0, 0.0), |sum, (r, x)| (sum.0 + r, sum.1 + r * x));
        assert!(f64::abs(left) < 1e-10 && f64::abs(right) < 1e-10, "{left} {right}");
    }

    /// The candidate only writes more, and the judge likes more: the raw rate is fooled, the controlled one is not.
    #[test]
    fn length_alone_is_no_win() {
        let mut random = Pcg64::seed_from_u64(6);
        let (mut covered, mut fooled, rounds) = (0, 0, 200);
        for _ in 0..rounds {
            let lengths: Vec<f64> = (0..150).map(|_| random.random_range(-100.0..300.0)).collect();
            let sd = moments::variance(&lengths).unwrap().sqrt();
            let scores: Vec<f64> = lengths
                .iter()
                .map(|length| f64::from(u8::from(random.random_range(0.0..1.0) < logit(1.5 * (length / sd).tanh()))))
                .collect();
            let found = length_controlled(&scores, &lengths, 0.95);
            covered += i32::from(found.interval.is_some_and(|i| i.lo <= 0.5 && 0.5 <= i.hi));
            fooled += i32::from(found.raw.unwrap() > 0.55);
        }
        assert!(covered >= 182, "{covered} of {rounds}");
        assert!(fooled > 180, "{fooled}");
    }
}
