//! What scorers compare and how they say it: references, quotes, similarity scores.
//!
//! Holds no rule of any one scorer.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde_json::Value;

use crate::model::{Scale, Score, ScoreInput, Scored, Unscored, UnscoredReason};
use crate::sys::text::one_line;

/// Characters of foreign text that an explanation quotes.
const QUOTED: usize = 120;

/// A value as text: a JSON string unquoted, anything else as JSON.
pub(super) fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// A text as an explanation shows it: one line, shortened, marked off from the words around it.
pub(super) fn quote(text: &str) -> String {
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    format!("`{}`", one_line(text, QUOTED))
}

/// A value as an explanation shows it.
pub(super) fn quote_value(value: &Value) -> String {
    format!("`{}`", one_line(&value.to_string(), QUOTED))
}

/// The sentence every finding is told in.
pub(super) fn expected_found(expected: &str, found: &str) -> String {
    format!("expected {expected}, found {found}")
}

/// What to compare with: the fixed value of the options, else the example's reference. `option` names the key that
/// would take the place of a reference; empty when the scorer has none.
pub(super) fn reference<'a>(
    input: &ScoreInput<'a>,
    fixed: Option<&'a Value>,
    option: &str,
) -> Result<&'a Value, Unscored> {
    fixed.or(input.example.reference.as_ref()).filter(|value| !value.is_null()).ok_or_else(|| missing(option))
}

fn missing(option: &str) -> Unscored {
    let other = if option.is_empty() { String::new() } else { format!(" or set `{option}`") };
    Unscored::not_applicable(format!("there is nothing to compare with: give the example a `reference`{other}"))
}

/// The acceptable answers in a reference: the elements of a list where `any` is set, else the reference itself.
pub(super) fn acceptable(reference: &Value, any: bool) -> Result<Vec<&Value>, Unscored> {
    match reference {
        Value::Array(items) if any && items.is_empty() => {
            Err(Unscored::not_applicable("the reference is an empty list: give it at least one acceptable answer"))
        }
        Value::Array(items) if any => Ok(items.iter().collect()),
        one => Ok(vec![one]),
    }
}

/// Scores the output against the nearest acceptable answer. An answer that cannot be compared is passed over as long
/// as another can.
pub(super) fn nearest(
    input: &ScoreInput<'_>,
    fixed: Option<&str>,
    any: bool,
    at_least: Option<f64>,
    compare: impl Fn(&str, &str) -> Result<f64, Unscored>,
) -> Scored {
    let found = input.output.text();
    let choices: Vec<Cow<'_, str>> = match fixed {
        Some(text) => vec![Cow::Borrowed(text)],
        None => acceptable(reference(input, None, "value")?, any)?.into_iter().map(text_of).collect(),
    };
    let mut best: Option<(f64, &str)> = None;
    let mut refused = None;
    for choice in &choices {
        match compare(choice, &found) {
            Ok(number) if best.is_none_or(|(most, _)| number > most) => best = Some((number, choice)),
            Ok(_) => {}
            Err(unscored) => refused = Some(unscored),
        }
    }
    match (best, refused) {
        (Some((number, choice)), _) => similarity(number, at_least, &quote(choice), &quote(&found)),
        (None, Some(unscored)) => Err(unscored),
        (None, None) => Err(Unscored::not_applicable("the reference holds no answer")),
    }
}

/// A similarity between 0 and 1: the number itself, or pass from `at_least` up.
pub(super) fn similarity(number: f64, at_least: Option<f64>, against: &str, found: &str) -> Scored {
    let shown = format!("{number:.4}");
    let score = match at_least {
        Some(least) => {
            let told = expected_found(&format!("a similarity of at least {least} to {against}"), found);
            let mut score = Score::pass(number >= least, format!("{told} ({shown})"));
            score.details = serde_json::json!({ "similarity": number });
            Some(score)
        }
        None => Score::number(number, format!("similarity {shown}: {}", expected_found(against, found))),
    };
    score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the similarity is not a finite number"))
}

/// Scale of a similarity.
pub(super) fn similarity_scale(at_least: Option<f64>) -> Scale {
    if at_least.is_some() { Scale::Binary } else { Scale::Number { min: Some(0.0), max: Some(1.0) } }
}

/// The text is longer than what the scorer takes on.
pub(super) fn too_long(what: &str, found: usize, unit: &str, limit: (&str, usize)) -> Unscored {
    let (option, limit) = limit;
    Unscored::new(
        UnscoredReason::InputTooLong,
        format!("the {what} has {found} {unit}, more than `{option}` = {limit}: raise it or score shorter texts"),
    )
}

/// Length of a longest common subsequence, by the usual table with two rows; ends that agree are taken off first.
/// Time is the product of the lengths that remain.
pub(super) fn common_subsequence<T: PartialEq>(left: &[T], right: &[T]) -> usize {
    let head = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let (left, right) = (left.get(head..).unwrap_or(&[]), right.get(head..).unwrap_or(&[]));
    let tail = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let left = left.get(..left.len() - tail).unwrap_or(&[]);
    let right = right.get(..right.len() - tail).unwrap_or(&[]);
    head + tail + ordered_matches(left, right, |a, b| a == b)
}

/// Most pairs that match in order, for any relation of matching.
pub(super) fn ordered_matches<A, B>(left: &[A], right: &[B], matches: impl Fn(&A, &B) -> bool) -> usize {
    let mut row = vec![0_usize; right.len() + 1];
    for item in left {
        let mut diagonal = 0;
        let mut before = 0;
        for (cell, other) in row.iter_mut().skip(1).zip(right) {
            let above = *cell;
            *cell = if matches(item, other) { diagonal + 1 } else { above.max(before) };
            diagonal = above;
            before = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A largest set of pairs of `left` and `right` things that match, each used once: for each left one its mate.
/// Augmenting paths, breadth first; a pairing found greedily can miss one that exists.
pub(super) fn pair_up(left: usize, right: usize, mut matches: impl FnMut(usize, usize) -> bool) -> Vec<Option<usize>> {
    // Every index below comes from `0..left` or `0..right`, the lengths of the lists it is used on.
    let mut mate = vec![None; left];
    let mut owner: Vec<Option<usize>> = vec![None; right];
    for start in 0..left {
        let mut came_from: Vec<Option<usize>> = vec![None; right];
        let mut queue = VecDeque::from([start]);
        let mut end = None;
        'search: while let Some(from) = queue.pop_front() {
            for place in 0..right {
                if came_from[place].is_some() || !matches(from, place) {
                    continue;
                }
                came_from[place] = Some(from);
                match owner[place] {
                    Some(other) => queue.push_back(other),
                    None => {
                        end = Some(place);
                        break 'search;
                    }
                }
            }
        }
        while let Some(place) = end {
            let Some(from) = came_from[place] else { break };
            owner[place] = Some(from);
            end = mate[from].replace(place);
        }
    }
    mate
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_search(left: &[u8], right: &[u8]) -> usize {
        match (left, right) {
            ([a, left @ ..], [b, right @ ..]) if a == b => 1 + by_search(left, right),
            ([_, l @ ..], [_, r @ ..]) => by_search(l, right).max(by_search(left, r)),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn the_longest_subsequence_is_found(
            left in proptest::collection::vec(0_u8..3, 0..8),
            right in proptest::collection::vec(0_u8..3, 0..8),
        ) {
            prop_assert_eq!(common_subsequence(&left, &right), by_search(&left, &right));
        }
    }

    proptest! {
        #[test]
        fn a_hidden_perfect_pairing_is_found(
            order in Just((0..7_usize).collect::<Vec<_>>()).prop_shuffle(),
            extra in proptest::collection::vec(any::<bool>(), 49),
        ) {
            let mates = pair_up(7, 7, |a, b| order[a] == b || extra[a * 7 + b]);
            let mut used: Vec<usize> = mates.into_iter().flatten().collect();
            used.sort_unstable();
            prop_assert_eq!(used, (0..7).collect::<Vec<_>>());
        }
    }

    #[test]
    fn quotes_are_short_and_harmless() {
        let shown = quote(&format!("a\u{1b}[31m{}\u{202e}b", "x".repeat(10_000)));
        assert!(shown.len() < 250 && !shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
        assert_eq!(quote(""), "an empty text");
    }
}
