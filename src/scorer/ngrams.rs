//! Similarity of texts by the runs of words or characters they share: BLEU and chrF, as `sacrebleu` computes them for
//! one sentence.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{acceptable, nearest, quote, reference, similarity, similarity_scale, text_of, too_long};
use super::options::{check_limit, check_share, read, schema_of};
use super::words::{is_space, runs};
use super::{Scorer, ScorerInfo};
use crate::model::{Scale, ScoreInput, Scored, Unscored};

pub(super) const BLEU: ScorerInfo = ScorerInfo {
    name: "bleu",
    version: "1",
    summary: "Gives the BLEU of the output as one sentence, 0 to 1, with the smoothing and tokens of sacrebleu.",
    sample: "any_reference = true",
    schema: schema_of::<BleuOptions>,
    build: build_bleu,
};

pub(super) const CHRF: ScorerInfo = ScorerInfo {
    name: "chrf",
    version: "1",
    summary: "Gives the chrF of the output, 0 to 1: the runs of characters it shares with the reference.",
    sample: "word_order = 2",
    schema: schema_of::<ChrfOptions>,
    build: build_chrf,
};

/// Longest run of words that BLEU looks at.
const BLEU_ORDER: usize = 4;
/// How much recall weighs against precision in chrF.
const CHRF_BETA: f64 = 2.0;

/// How BLEU is read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BleuOptions {
    /// Compare with this instead of the example's reference.
    value: Option<String>,
    /// Pass from this BLEU up, 0 to 1; without it the BLEU itself is the score.
    at_least: Option<f64>,
    /// Whether a reference that is a list holds several acceptable answers, of which all count together.
    #[serde(default)]
    any_reference: bool,
    /// Whether letters of either case are the same.
    #[serde(default)]
    ignore_case: bool,
    /// Longest text taken on, in words.
    #[serde(default = "limit")]
    max_words: usize,
}

/// How chrF is read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChrfOptions {
    /// Compare with this instead of the example's reference.
    value: Option<String>,
    /// Pass from this chrF up, 0 to 1; without it the chrF itself is the score.
    at_least: Option<f64>,
    /// Whether a reference that is a list holds several acceptable answers, the nearest of which counts.
    #[serde(default)]
    any_reference: bool,
    /// Longest run of characters, 1 to 12.
    #[serde(default = "char_order")]
    char_order: usize,
    /// Longest run of words, 0 to 4: 2 is chrF++.
    #[serde(default)]
    word_order: usize,
    /// Whether letters of either case are the same.
    #[serde(default)]
    ignore_case: bool,
    /// Longest text taken on, in characters.
    #[serde(default = "limit")]
    max_chars: usize,
}

fn limit() -> usize {
    100_000
}

fn char_order() -> usize {
    6
}

fn build_bleu(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: BleuOptions = read(options)?;
    check_share("at_least", options.at_least)?;
    check_limit("max_words", options.max_words)?;
    Ok(Box::new(options))
}

fn build_chrf(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: ChrfOptions = read(options)?;
    check_share("at_least", options.at_least)?;
    check_limit("max_chars", options.max_chars)?;
    for (key, order, least, most) in
        [("char_order", options.char_order, 1, 12), ("word_order", options.word_order, 0, 4)]
    {
        if !(least..=most).contains(&order) {
            return Err(format!("`{key}` must lie between {least} and {most}, found `{order}`"));
        }
    }
    Ok(Box::new(options))
}

impl Scorer for BleuOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let choices = match &self.value {
            Some(text) => vec![text.as_str().into()],
            None => {
                acceptable(reference(input, None, "value")?, self.any_reference)?.into_iter().map(text_of).collect()
            }
        };
        let words = |what: &str, text: &str| {
            let text = if self.ignore_case { text.to_lowercase() } else { text.to_owned() };
            let words = tokens_13a(&text);
            if words.len() > self.max_words {
                return Err(too_long(what, words.len(), "words", ("max_words", self.max_words)));
            }
            Ok(words)
        };
        let answers = choices.iter().map(|text| words("reference", text)).collect::<Result<Vec<_>, _>>()?;
        let answers: Vec<Vec<String>> = answers.into_iter().filter(|words| !words.is_empty()).collect();
        if answers.is_empty() {
            return Err(Unscored::not_applicable("the reference is empty: give it at least one word"));
        }
        let found = input.output.text();
        let number = bleu(&words("output", &found)?, &answers);
        let against = choices.first().map(|text| quote(text)).unwrap_or_default();
        let others = choices.len().saturating_sub(1);
        let against = if others > 0 { format!("{against} and {others} more") } else { against };
        similarity(number, self.at_least, &against, &quote(&found))
    }

    fn scale(&self) -> Scale {
        similarity_scale(self.at_least)
    }
}

impl Scorer for ChrfOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let compare = |expected: &str, found: &str| {
            for (what, text) in [("reference", expected), ("output", found)] {
                let length = text.chars().count();
                if length > self.max_chars {
                    return Err(too_long(what, length, "characters", ("max_chars", self.max_chars)));
                }
            }
            if expected.trim().is_empty() {
                return Err(Unscored::not_applicable("the reference is empty: give it at least one word"));
            }
            let form = |text: &str| if self.ignore_case { text.to_lowercase() } else { text.to_owned() };
            Ok(chrf(&form(expected), &form(found), self.char_order, self.word_order))
        };
        nearest(input, self.value.as_deref(), self.any_reference, self.at_least, compare)
    }

    fn scale(&self) -> Scale {
        similarity_scale(self.at_least)
    }
}

/// BLEU of one sentence: each run counts at most as often as the reference that has it most often; an order without a
/// match is smoothed by halving (`exp`), orders longer than the sentence are left out (effective order), and sentences
/// shorter than the nearest reference are penalized.
fn bleu(found: &[String], references: &[Vec<String>]) -> f64 {
    let mut logs = 0.0;
    let mut order = 0;
    let mut halvings = 1.0;
    let mut any = false;
    for length in 1..=BLEU_ORDER {
        let own = runs(found, length);
        let all: usize = own.values().sum();
        if all == 0 {
            break;
        }
        let counted: Vec<HashMap<&[String], usize>> = references.iter().map(|words| runs(words, length)).collect();
        let most = |run: &[String]| counted.iter().filter_map(|counts| counts.get(run)).max().copied().unwrap_or(0);
        let shared: usize = own.iter().map(|(run, often)| *often.min(&most(run))).sum();
        order = length;
        any |= shared > 0;
        let precision = if shared > 0 {
            shared as f64 / all as f64
        } else {
            halvings *= 2.0;
            1.0 / (halvings * all as f64)
        };
        logs += precision.ln();
    }
    if !any {
        return 0.0;
    }
    let nearest = references.iter().map(Vec::len).min_by_key(|length| (length.abs_diff(found.len()), *length));
    let nearest = nearest.unwrap_or_default() as f64;
    let own = found.len() as f64;
    let brevity = if own < nearest { (1.0 - nearest / own).exp() } else { 1.0 };
    (brevity * (logs / order as f64).exp()).clamp(0.0, 1.0)
}

/// The words of the tokenizer `13a` of the machine translation workshops.
fn tokens_13a(text: &str) -> Vec<String> {
    #[expect(clippy::unwrap_used, reason = "the expressions are fixed and compiled by every test")]
    static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        [
            (Regex::new(r"([{-~\[-` -&(-+:-@/])").unwrap(), " $1 "),
            (Regex::new(r"([^0-9])([.,])").unwrap(), "$1 $2 "),
            (Regex::new(r"([.,])([^0-9])").unwrap(), " $1 $2"),
            (Regex::new(r"([0-9])(-)").unwrap(), "$1 $2 "),
        ]
    });
    let text = text.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let mut text = format!(" {text} ");
    for (pattern, by) in RULES.iter() {
        text = pattern.replace_all(&text, *by).into_owned();
    }
    text.split(is_space).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Precision and recall of the runs of every order, averaged over the orders that both texts have, as an F-measure.
fn chrf(expected: &str, found: &str, char_order: usize, word_order: usize) -> f64 {
    let characters = |text: &str| text.chars().filter(|c| !is_space(*c)).collect::<Vec<char>>();
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0_usize);
    let mut add = |counts: (usize, usize, usize)| {
        let (shared, own, theirs) = counts;
        if own > 0 && theirs > 0 {
            precision += shared as f64 / own as f64;
            recall += shared as f64 / theirs as f64;
            orders += 1;
        }
    };
    let (left, right) = (characters(expected), characters(found));
    (1..=char_order).for_each(|length| add(overlap(&left, &right, length)));
    let (left, right) = (chrf_words(expected), chrf_words(found));
    (1..=word_order).for_each(|length| add(overlap(&left, &right, length)));
    let (precision, recall) = (precision / orders.max(1) as f64, recall / orders.max(1) as f64);
    if precision + recall <= 0.0 {
        return 0.0;
    }
    let factor = CHRF_BETA * CHRF_BETA;
    ((1.0 + factor) * precision * recall / (factor * precision + recall)).clamp(0.0, 1.0)
}

/// Runs that both have, that the found one has, and that the expected one has.
fn overlap<T: Eq + std::hash::Hash>(expected: &[T], found: &[T], length: usize) -> (usize, usize, usize) {
    let (expected, found) = (runs(expected, length), runs(found, length));
    let shared = found.iter().map(|(run, often)| *often.min(expected.get(run).unwrap_or(&0))).sum();
    (shared, found.values().sum(), expected.values().sum())
}

/// Words with one sign of punctuation at an end cut off, as chrF++ cuts them.
fn chrf_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        let mut characters = word.chars();
        let (first, last) = (characters.next(), characters.next_back());
        match (first, last) {
            (Some(_), Some(last)) if last.is_ascii_punctuation() => {
                let (head, tail) = word.split_at(word.len() - last.len_utf8());
                words.extend([head, tail]);
            }
            (Some(first), Some(_)) if first.is_ascii_punctuation() => {
                let (head, tail) = word.split_at(first.len_utf8());
                words.extend([head, tail]);
            }
            _ => words.push(word),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::tests::{build_error, number, score};
    use crate::model::UnscoredReason;

    #[test]
    fn values_equal_those_of_sacrebleu_rouge_score_and_rapidfuzz() {
        let goldens: Value = serde_json::from_str(include_str!("../../tests/texts/text.json")).unwrap();
        let cases = goldens["cases"].as_array().unwrap();
        assert!(cases.len() > 50);
        for case in cases {
            let options = case["options"].clone();
            let name = case["scorer"].as_str().unwrap();
            let found = number(name, options, case["output"].clone(), case["reference"].clone());
            let expected = case["value"].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-6, "{case}: found {found}");
        }
    }

    #[test]
    fn an_empty_reference_measures_nothing() {
        for name in ["bleu", "chrf"] {
            let refused = score(name, json!({}), json!("x"), json!(" ")).unwrap_err();
            assert_eq!(refused.reason, UnscoredReason::NotApplicable, "{name}");
        }
        assert!(build_error("chrf", json!({"char_order": 0})).contains("`char_order`"));
        assert!(build_error("chrf", json!({"word_order": 9})).contains("`word_order`"));
    }

    proptest! {
        #[test]
        fn a_text_is_most_like_itself(words in proptest::collection::vec("[a-z]{1,6}", 1..20), other in ".{0,40}") {
            let text = words.join(" ");
            for name in ["bleu", "chrf"] {
                let same = number(name, json!({}), json!(text), json!(text));
                prop_assert!((same - 1.0).abs() < 1e-9, "{}: {}", name, same);
                let apart = number(name, json!({}), json!(other), json!(text));
                prop_assert!(apart <= same + 1e-12, "{}: {}", name, apart);
            }
        }
    }
}
