//! Several draws of one judge on one output, reduced to one value for showing, with how much they disagreed.
//!
//! Estimates use the draws themselves (the mean of the distribution beats its mode, methods 3.1); this is for people
//! and for the judge's health.

use crate::model::{Finite, ScoreValue};

/// Draws put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Votes {
    /// The majority of yes-no and label draws, the mean of numbers. `None` without draws, and on a tie: a tie is a
    /// finding of its own, which no rule should hide.
    pub value: Option<ScoreValue>,
    /// How many draws gave a value.
    pub draws: u32,
    /// How many draws agree with `value`; for numbers, with the most frequent number.
    pub agreeing: u32,
    /// Pairs of draws that differ.
    pub flipped_pairs: u64,
    /// Pairs of draws.
    pub pairs: u64,
}

impl Votes {
    /// Share of pairs of draws that differ, in [0, 1]: the chance that asking again changes the answer. `None` with
    /// fewer than two draws. Summed over examples, use the pair counts.
    pub fn flip_rate(&self) -> Option<f64> {
        (self.pairs > 0).then(|| self.flipped_pairs as f64 / self.pairs as f64)
    }
}

/// Reduces the draws that gave a value; unscored draws are left to the caller, which counts them by reason.
///
/// Values of different kinds (a changed scale) are never merged: they count as different votes.
pub fn reduce(draws: &[ScoreValue]) -> Votes {
    let mut groups: Vec<(&ScoreValue, u32)> = Vec::new();
    for draw in draws {
        match groups.iter_mut().find(|(value, _)| same(value, draw)) {
            Some((_, count)) => *count += 1,
            None => groups.push((draw, 1)),
        }
    }
    let count = draws.len() as u64;
    let pairs = count * count.saturating_sub(1) / 2;
    let equal_pairs: u64 = groups.iter().map(|(_, n)| u64::from(*n) * u64::from(n.saturating_sub(1)) / 2).sum();
    let agreeing = groups.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let leaders: Vec<&ScoreValue> = groups.iter().filter(|(_, n)| *n == agreeing).map(|(value, _)| *value).collect();
    let value = mean(draws).or(match leaders.as_slice() {
        [leader] => Some((*leader).clone()),
        _ => None,
    });
    Votes {
        value,
        draws: u32::try_from(draws.len()).unwrap_or(u32::MAX),
        agreeing,
        flipped_pairs: pairs - equal_pairs,
        pairs,
    }
}

/// The mean when all draws are numbers.
fn mean(draws: &[ScoreValue]) -> Option<ScoreValue> {
    let numbers: Vec<f64> = draws
        .iter()
        .map(|draw| match draw {
            ScoreValue::Number { number } => Some(number.get()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let number = Finite::new(numbers.iter().sum::<f64>() / numbers.len() as f64)?;
    Some(ScoreValue::Number { number })
}

fn same(left: &ScoreValue, right: &ScoreValue) -> bool {
    match (left, right) {
        (ScoreValue::Label { label: left, .. }, ScoreValue::Label { label: right, .. }) => left == right,
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(pass: bool) -> ScoreValue {
        ScoreValue::Pass { pass }
    }

    fn number(number: f64) -> ScoreValue {
        ScoreValue::Number { number: Finite::new(number).unwrap() }
    }

    #[test]
    fn the_majority_wins_and_flips_are_counted() {
        let votes = reduce(&[pass(true), pass(false), pass(true)]);
        assert_eq!(votes.value, Some(pass(true)));
        assert_eq!((votes.agreeing, votes.flipped_pairs, votes.pairs), (2, 2, 3));
        assert_eq!(votes.flip_rate(), Some(2.0 / 3.0));
    }

    #[test]
    fn a_tie_and_nothing_have_no_value() {
        assert_eq!(reduce(&[pass(true), pass(false)]).value, None);
        let none = reduce(&[]);
        assert_eq!((none.value.clone(), none.flip_rate()), (None, None));
        assert_eq!(reduce(&[pass(true)]).flip_rate(), None);
    }

    #[test]
    fn numbers_are_averaged() {
        let votes = reduce(&[number(4.0), number(5.0), number(4.0)]);
        assert_eq!(votes.value, Some(number(13.0 / 3.0)));
        assert_eq!((votes.agreeing, votes.flipped_pairs), (2, 2));
    }

    #[test]
    fn labels_are_compared_by_name() {
        let label = |name: &str, value: f64| ScoreValue::Label { label: name.into(), number: Finite::new(value) };
        let votes = reduce(&[label("good", 1.0), label("bad", 0.0), label("good", 1.0)]);
        assert_eq!(votes.value, Some(label("good", 1.0)));
    }
}
