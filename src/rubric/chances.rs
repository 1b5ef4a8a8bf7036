//! The probabilities of the scores a judge might have written, at the place where it wrote one.
//!
//! Finds the place in the tokens of a reply and gives tokens the names of the scores they begin; the arithmetic is
//! `stats::label_mass`.

use super::scale::RubricScale;
use crate::model::TokenChance;
use crate::stats::{LabelMass, label_mass};

/// The masses of the scores of a scale in a reply; `None` when the reply has no place of a score, or tells no
/// probabilities there. `alone`: the reply is the score and nothing else.
pub fn score_masses(scale: &RubricScale, tokens: &[TokenChance], alone: bool, least_mass: f64) -> Option<LabelMass> {
    let menu = scale.menu()?;
    let labels: Vec<(&str, f64)> = menu.iter().filter_map(|(label, value)| Some((label.as_str(), (*value)?))).collect();
    let place = tokens.get(place_of_score(tokens, alone)?)?;
    let named = chances(place).into_iter().map(|(text, log)| (name_of(&text, &labels), log));
    let named: Vec<(String, f64)> = named.collect();
    let told: Vec<(&str, f64)> = named.iter().map(|(text, log)| (text.as_str(), *log)).collect();
    Some(label_mass(&told, &labels, least_mass))
}

/// The likeliest score's share of what lies on scores; `None` where no token begins a score.
pub fn likeliest_share(scale: &RubricScale, tokens: &[TokenChance], alone: bool) -> Option<f64> {
    let menu = scale.menu()?;
    let labels: Vec<(&str, f64)> = menu.iter().map(|(label, value)| (label.as_str(), value.unwrap_or(0.0))).collect();
    let place = tokens.get(place_of_score(tokens, alone)?)?;
    let mut masses = vec![0.0_f64; labels.len()];
    for (text, log) in chances(place) {
        let name = name_of(&text, &labels);
        if let Some(index) = labels.iter().position(|(label, _)| *label == name)
            && let Some(mass) = masses.get_mut(index)
            && log.is_finite()
        {
            *mass += log.exp();
        }
    }
    let whole: f64 = masses.iter().sum();
    (whole > 0.0).then(|| masses.iter().copied().fold(0.0, f64::max) / whole)
}

/// The likely tokens of a place; the token that was written is one of them even where the server lists none.
fn chances(place: &TokenChance) -> Vec<(String, f64)> {
    let mut chances = place.top.clone();
    if !chances.iter().any(|(text, _)| *text == place.text) {
        chances.push((place.text.clone(), place.logprob));
    }
    chances
}

/// The token in which the score begins.
fn place_of_score(tokens: &[TokenChance], alone: bool) -> Option<usize> {
    let text: String = tokens.iter().map(|token| token.text.as_str()).collect();
    let after = if alone { 0 } else { value_of_score(&text)? };
    let start = after + text.get(after..)?.find(|c: char| !is_decoration(c))?;
    let mut end = 0;
    tokens.iter().position(|token| {
        end += token.text.len();
        end > start
    })
}

/// Where the value of the last member `"score"` begins. A member in escaped quotes is a quotation.
fn value_of_score(text: &str) -> Option<usize> {
    let key = "\"score\"";
    let mut from = text.len();
    while let Some(found) = text.get(..from).and_then(|head| head.rfind(key)) {
        let after = found + key.len();
        let rest = text.get(after..)?;
        let escaped = text.get(..found).is_some_and(|head| head.ends_with('\\'));
        if !escaped && rest.trim_start().starts_with(':') {
            return Some(after + rest.find(':')? + 1);
        }
        from = found;
    }
    None
}

fn is_decoration(c: char) -> bool {
    c.is_whitespace() || "\"'`*_".contains(c)
}

/// The score that a token is or begins; else the token as it is. What begins several is none of them.
fn name_of(token: &str, labels: &[(&str, f64)]) -> String {
    let word = token.trim_matches(is_decoration).to_lowercase();
    if word.is_empty() {
        return token.to_owned();
    }
    let exact = labels.iter().find(|(label, _)| label.to_lowercase() == word);
    let mut begun = labels.iter().filter(|(label, _)| label.to_lowercase().starts_with(&word));
    let only = match (begun.next(), begun.next()) {
        (Some(label), None) => Some(label),
        _ => None,
    };
    exact.or(only).map_or_else(|| token.to_owned(), |(label, _)| (*label).to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::scale::LabelSpec;
    use super::*;
    use crate::stats::Status;

    fn token(text: &str, top: &[(&str, f64)]) -> TokenChance {
        let top: Vec<(String, f64)> = top.iter().map(|(text, p)| ((*text).to_owned(), p.ln())).collect();
        TokenChance { text: text.into(), logprob: top.first().map_or(-0.01, |(_, log)| *log), top }
    }

    fn stars() -> RubricScale {
        RubricScale::Number { min: 1.0, max: 5.0, step: Some(1.0), anchors: Vec::new() }
    }

    fn labels() -> RubricScale {
        let label = |label: &str, value| LabelSpec { label: label.into(), value: Some(value), description: "".into() };
        RubricScale::Labels(vec![label("correct", 1.0), label("partly_correct", 0.5), label("incorrect", 0.0)])
    }

    #[test]
    fn the_expected_score_is_the_mean_over_the_place_of_the_score() {
        let tokens = [token(" ", &[]), token("4", &[("4", 0.6), ("5", 0.3), ("The", 0.1)])];
        let found = score_masses(&stars(), &tokens, true, 0.5).unwrap();
        assert!((found.mass - 0.9).abs() < 1e-12);
        assert!((found.expected.unwrap() - (4.0 * 0.6 + 5.0 * 0.3) / 0.9).abs() < 1e-12);
        assert!((likeliest_share(&stars(), &tokens, true).unwrap() - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn in_a_reply_with_reasons_the_last_score_counts_and_quotes_do_not() {
        let mut tokens = vec![
            token("{\"reasoning\": \"it says \\\"score\\\": 1", &[]),
            token("\", \"score", &[]),
            token("\":", &[]),
            token(" \"", &[]),
        ];
        tokens.push(token("part", &[("part", 0.5), ("in", 0.2), ("correct", 0.2), ("c", 0.05), ("x", 0.05)]));
        tokens.push(token("ly_correct\"}", &[]));
        let found = score_masses(&labels(), &tokens, false, 0.5).unwrap();
        // `c` begins `correct` alone.
        assert!((found.mass - 0.95).abs() < 1e-12, "{found:?}");
        assert!((found.expected.unwrap() - (0.25 + 0.25) / 0.95).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn without_probabilities_there_is_no_mass() {
        assert_eq!(score_masses(&stars(), &[], true, 0.5), None);
        let low = [token("4", &[("4", 0.2), ("The", 0.7)])];
        assert_eq!(score_masses(&stars(), &low, true, 0.5).unwrap().status, Status::LowMass);
        let none = [token("Well", &[("Well", 0.9)])];
        assert_eq!(score_masses(&stars(), &none, true, 0.5).unwrap().status, Status::Missing);
        assert_eq!(score_masses(&stars(), &[token("no member", &[])], false, 0.5), None);
    }
}
