//! A score from the probabilities of the labels that a judge might have written (as G-Eval does), not from the one it
//! happened to write.
//!
//! Knows tokens and labels, not how a provider reports them.

use super::Status;

/// Share of the probability that must lie on labels for a score; below, sampling is the better way (methods 1.4).
pub const LEAST_MASS: f64 = 0.5;

/// An expected score; `None` where not defined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelMass {
    /// Low mass where labels carry too little probability, missing where no token is a label.
    pub status: Status,
    /// Probability on labels.
    pub mass: f64,
    /// Mean score under the probabilities of the labels.
    pub expected: Option<f64>,
    /// The same from 0 (lowest label) to 1 (highest); `None` when the labels have one score.
    pub normalised: Option<f64>,
    /// How undecided the judge is, in nats.
    pub entropy: Option<f64>,
    /// Score of the likeliest label, the lowest of several.
    pub mode: Option<f64>,
}

/// Expected score from `tokens`, each a text and its log-probability at the place of the score, and `labels`, each a
/// text and its score. A token counts when it is a label but for white space around it. Log-probabilities that are
/// not finite count nowhere.
pub fn label_mass(tokens: &[(&str, f64)], labels: &[(&str, f64)], least_mass: f64) -> LabelMass {
    let mut found: Vec<(f64, f64)> = Vec::new();
    for (label, score) in labels.iter().filter(|(_, score)| score.is_finite()) {
        let same = tokens.iter().filter(|(token, log)| token.trim() == *label && log.is_finite());
        let probabilities: Vec<f64> = same.map(|(_, log)| log.exp()).collect();
        if !probabilities.is_empty() {
            found.push((*score, probabilities.iter().sum()));
        }
    }
    let mass: f64 = found.iter().map(|(_, probability)| probability).sum();
    if found.is_empty() || mass <= 0.0 || !mass.is_finite() {
        return LabelMass { status: Status::Missing, ..LabelMass::default() };
    }
    if mass < least_mass {
        return LabelMass { status: Status::LowMass, mass, ..LabelMass::default() };
    }
    let expected: f64 = found.iter().map(|(score, probability)| score * probability / mass).sum();
    let scores = || labels.iter().map(|(_, score)| *score);
    let (least, most) = (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
    let entropy: f64 = found.iter().map(|(_, p)| p / mass).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
    found.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.total_cmp(&right.0)));
    LabelMass {
        status: Status::Ok,
        mass,
        expected: Some(expected),
        normalised: (most > least).then(|| (expected - least) / (most - least)),
        entropy: Some(entropy),
        mode: found.first().map(|(score, _)| *score),
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    const FIVE: [(&str, f64); 5] = [("1", 1.0), ("2", 2.0), ("3", 3.0), ("4", 4.0), ("5", 5.0)];

    #[test]
    fn statuses() {
        let status = |tokens: &[(&str, f64)]| label_mass(tokens, &FIVE, LEAST_MASS).status;
        assert_eq!(status(&[]), Status::Missing);
        assert_eq!(status(&[("The", -0.1), ("45", -0.1), ("4", f64::NAN)]), Status::Missing);
        assert_eq!(status(&[("4", -2.0), ("The", -0.2)]), Status::LowMass);
        assert_eq!(status(&[(" 4\n", -0.2)]), Status::Ok);
        assert_eq!(label_mass(&[("1", 0.0)], &[("1", 1.0)], 0.5).normalised, None);
    }

    #[test]
    fn the_lowest_of_equal_labels_is_the_mode() {
        let half = 0.5_f64.ln();
        assert_eq!(label_mass(&[("5", half), ("2", half)], &FIVE, 0.5).mode, Some(2.0));
    }

    /// Slow definition: the mean of many labels drawn from the probabilities, those beside the labels drawn again.
    #[test]
    fn the_expected_score_is_the_mean_of_draws() {
        let tokens = [("4", -0.9), (" 5", -1.6), ("4 ", -2.5), ("three", -1.8), ("1", -3.0)];
        let found = label_mass(&tokens, &FIVE, 0.5);
        let mut random = Pcg64::seed_from_u64(1);
        let (mut sum, mut drawn) = (0.0, 0.0);
        while drawn < 200_000.0 {
            let mut place = random.random_range(0.0..1.0);
            for (token, log) in tokens {
                let log: f64 = log;
                place -= log.exp();
                if place < 0.0 {
                    if let Ok(score) = token.trim().parse::<f64>() {
                        sum += score;
                        drawn += 1.0;
                    }
                    break;
                }
            }
        }
        assert!((found.expected.unwrap() - sum / drawn).abs() < 0.01, "{found:?} {}", sum / drawn);
    }
}
