//! Similarity of texts by the words they share.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{common_subsequence, nearest, similarity_scale, too_long};
use super::options::{check_limit, check_share, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Scale, ScoreInput, Scored, Unscored};

pub(super) const ROUGE_1: ScorerInfo = ScorerInfo {
    name: "rouge_1",
    version: "1",
    summary: "Gives the ROUGE-1 F-measure against the reference: the words both have.",
    sample: "at_least = 0.4",
    schema: schema_of::<RougeOptions>,
    build: |options| build_rouge(options, Shared::Runs(1)),
};

pub(super) const ROUGE_2: ScorerInfo = ScorerInfo {
    name: "rouge_2",
    version: "1",
    summary: "Gives the ROUGE-2 F-measure against the reference: the pairs of neighbouring words both have.",
    sample: "any_reference = true",
    schema: schema_of::<RougeOptions>,
    build: |options| build_rouge(options, Shared::Runs(2)),
};

pub(super) const ROUGE_L: ScorerInfo = ScorerInfo {
    name: "rouge_l",
    version: "1",
    summary: "Gives the ROUGE-L F-measure against the reference: the words both have in the same order.",
    sample: "tokenizer = \"unicode\"",
    schema: schema_of::<RougeOptions>,
    build: |options| build_rouge(options, Shared::Order),
};

pub(super) const TOKEN_F1: ScorerInfo = ScorerInfo {
    name: "token_f1",
    version: "1",
    summary: "Gives the F1 of the words shared with the reference, normalized as in SQuAD.",
    sample: "any_reference = true",
    schema: schema_of::<F1Options>,
    build: build_f1,
};

/// How a text is cut into words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Tokenizer {
    /// As Google's `rouge_score` without stemming: lower case, then runs of `a` to `z` and `0` to `9`. Letters with
    /// accents split words, and other scripts have no words at all.
    #[default]
    Rouge,
    /// Lower case, then runs of letters and digits of any script; characters of scripts that are written without
    /// spaces are words by themselves.
    Unicode,
}

/// What two texts share.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shared {
    /// Runs of so many neighbouring words, each as often as the side that has it less often.
    Runs(usize),
    /// Words in the same order.
    Order,
}

/// How ROUGE is read. Words are not stemmed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RougeOptions {
    /// Compare with this instead of the example's reference.
    value: Option<String>,
    /// Pass from this F-measure up, 0 to 1; without it the F-measure itself is the score.
    at_least: Option<f64>,
    /// How a text is cut into words.
    #[serde(default)]
    tokenizer: Tokenizer,
    /// Whether a reference that is a list holds several acceptable answers, the nearest of which counts.
    #[serde(default)]
    any_reference: bool,
    /// Longest text taken on, in words; time is the product of both lengths.
    #[serde(default = "word_limit")]
    max_words: usize,
}

fn word_limit() -> usize {
    10_000
}

fn build_rouge(options: &Value, shared: Shared) -> Result<Box<dyn Scorer>, String> {
    let options: RougeOptions = read(options)?;
    check_share("at_least", options.at_least)?;
    check_limit("max_words", options.max_words)?;
    Ok(Box::new(Rouge { options, shared }))
}

struct Rouge {
    options: RougeOptions,
    shared: Shared,
}

impl Rouge {
    fn compare(&self, expected: &str, found: &str) -> Result<f64, Unscored> {
        let mut numbers = HashMap::new();
        let blank = expected.trim().is_empty();
        let options = &self.options;
        let expected = number_words(words(expected, options.tokenizer), &mut numbers);
        let found = number_words(words(found, options.tokenizer), &mut numbers);
        if expected.is_empty() {
            if blank {
                return Err(Unscored::not_applicable("the reference is empty: give it at least one word"));
            }
            let mend = match options.tokenizer {
                Tokenizer::Rouge => ": set `tokenizer = \"unicode\"` for other scripts than Latin",
                Tokenizer::Unicode => "",
            };
            return Err(Unscored::not_applicable(format!("the reference has no words to compare{mend}")));
        }
        for (what, words) in [("reference", &expected), ("output", &found)] {
            if words.len() > options.max_words {
                return Err(too_long(what, words.len(), "words", ("max_words", options.max_words)));
            }
        }
        match self.shared {
            Shared::Order => Ok(f_measure(common_subsequence(&expected, &found), expected.len(), found.len())),
            Shared::Runs(length) if expected.len() < length => {
                let detail = format!("the reference has fewer than {length} words: use `rouge_1` or `rouge_l`");
                Err(Unscored::not_applicable(detail))
            }
            Shared::Runs(length) => {
                let (expected, found) = (runs(&expected, length), runs(&found, length));
                let shared = expected.iter().map(|(run, often)| *often.min(found.get(run).unwrap_or(&0))).sum();
                Ok(f_measure(shared, expected.values().sum(), found.values().sum()))
            }
        }
    }
}

impl Scorer for Rouge {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let compare = |expected: &str, found: &str| self.compare(expected, found);
        let options = &self.options;
        nearest(input, options.value.as_deref(), options.any_reference, options.at_least, compare)
    }

    fn scale(&self) -> Scale {
        similarity_scale(self.options.at_least)
    }
}

/// Runs of `length` neighbours, each with how often it stands there.
pub(super) fn runs<T: Eq + std::hash::Hash>(items: &[T], length: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    for run in items.windows(length.max(1)) {
        *counts.entry(run).or_default() += 1;
    }
    counts
}

/// Whether Python cuts words there: its white space has four separators that Unicode's has not.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// How the F1 of shared words is read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct F1Options {
    /// Compare with this instead of the example's reference.
    value: Option<String>,
    /// Pass from this F1 up, 0 to 1; without it the F1 itself is the score.
    at_least: Option<f64>,
    /// Whether a reference that is a list holds several acceptable answers, the nearest of which counts.
    #[serde(default)]
    any_reference: bool,
}

fn build_f1(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: F1Options = read(options)?;
    check_share("at_least", options.at_least)?;
    Ok(Box::new(options))
}

impl Scorer for F1Options {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let compare = |expected: &str, found: &str| Ok(squad_f1(expected, found));
        nearest(input, self.value.as_deref(), self.any_reference, self.at_least, compare)
    }

    fn scale(&self) -> Scale {
        similarity_scale(self.at_least)
    }
}

/// Harmonic mean of precision and recall for `shared` of `expected` and `found` words; 0 where nothing is shared.
fn f_measure(shared: usize, expected: usize, found: usize) -> f64 {
    if shared == 0 {
        return 0.0;
    }
    let (precision, recall) = (shared as f64 / found as f64, shared as f64 / expected as f64);
    2.0 * precision * recall / (precision + recall)
}

fn words(text: &str, tokenizer: Tokenizer) -> Vec<String> {
    let lower = text.to_lowercase();
    let mut words = Vec::new();
    let mut word = String::new();
    for character in lower.chars() {
        let belongs = match tokenizer {
            Tokenizer::Rouge => character.is_ascii_alphanumeric(),
            Tokenizer::Unicode => character.is_alphanumeric(),
        };
        let alone = belongs && stands_alone(character);
        if (!belongs || alone) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if alone {
            words.push(character.to_string());
        } else if belongs {
            word.push(character);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Thai, Lao, Myanmar, Khmer, kana and Chinese characters: scripts without spaces between words.
fn stands_alone(character: char) -> bool {
    matches!(character,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn number_words(words: Vec<String>, numbers: &mut HashMap<String, u32>) -> Vec<u32> {
    words
        .into_iter()
        .map(|word| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(word).or_insert(next)
        })
        .collect()
}

/// F1 of shared words as in the SQuAD 2.0 evaluation: where either side has no words, 1 when both have none.
fn squad_f1(expected: &str, found: &str) -> f64 {
    let (expected, found) = (squad_words(expected), squad_words(found));
    if expected.is_empty() || found.is_empty() {
        return if expected.is_empty() && found.is_empty() { 1.0 } else { 0.0 };
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in &expected {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0;
    for word in &found {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    f_measure(shared, expected.len(), found.len())
}

/// Lower case, ASCII punctuation dropped, English articles dropped, cut at white space: in that order.
fn squad_words(text: &str) -> Vec<String> {
    #[expect(clippy::unwrap_used, reason = "the expression is fixed and compiled by every test")]
    static ARTICLES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(?:a|an|the)\b").unwrap());
    let plain: String = text.to_lowercase().chars().filter(|character| !character.is_ascii_punctuation()).collect();
    ARTICLES.replace_all(&plain, " ").split(is_space).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{build_error, number, passes, score};
    use crate::model::UnscoredReason;

    /// Output, reference, ROUGE-L F-measure, SQuAD F1, normalized Levenshtein similarity.
    ///
    /// `pip install rouge-score==0.1.2 rapidfuzz==3.14.6`, then for each pair
    /// `RougeScorer(["rougeL"]).score(reference, output)["rougeL"].fmeasure`,
    /// `rapidfuzz.distance.Levenshtein.normalized_similarity(output, reference)`, and for SQuAD a Python function that
    /// follows `normalize_answer` and `compute_f1` of its `evaluate-v2.0.py` (no package carries them).
    const REFERENCES: &[(&str, &str, f64, f64, f64)] = &[
        (
            "The quick brown dog jumps on the log.",
            "The quick brown fox jumps over the lazy dog.",
            0.5882352941176471,
            0.6153846153846153,
            0.7727272727272727,
        ),
        ("the gunman kill police", "police killed the gunman", 0.5, 0.6666666666666666, 0.125),
        (
            "A refund of 1234.50 USD will be issued on May 20, 2024.",
            "Your refund of $1,234.50 was issued on 2024-05-20.",
            0.48000000000000004,
            0.5263157894736842,
            0.5454545454545454,
        ),
        ("The Denver Broncos!", "Denver Broncos", 0.8, 1.0, 0.736842105263158),
        ("naive cafe deja vu", "naïve café—déjà vu", 0.2, 0.28571428571428575, 0.7222222222222222),
        ("the", "the a an", 0.5, 1.0, 0.375),
        ("sitting", "kitten", 0.0, 0.0, 0.5714285714285714),
        (
            "book HAT136, HAT039 in economy without insurance",
            "HAT136 and HAT039, economy; no insurance",
            0.6153846153846153,
            0.6153846153846153,
            0.6041666666666667,
        ),
        ("ab thecat istanbul", "a_b the-cat İstanbul", 0.0, 0.6666666666666666, 0.85),
    ];

    #[test]
    fn values_equal_those_of_the_usual_packages() {
        for (output, reference, rouge, f1, edit) in REFERENCES {
            for (name, expected) in [("rouge_l", rouge), ("token_f1", f1), ("edit_distance", edit)] {
                let found = number(name, json!({}), json!(output), json!(reference));
                assert!((found - expected).abs() < 1e-9, "{name} of `{output}`: {found}, expected {expected}");
            }
        }
    }

    #[test]
    fn thresholds_turn_numbers_into_passes() {
        let options = |least: f64| json!({ "at_least": least });
        assert!(passes("edit_distance", options(0.57), json!("sitting"), json!("kitten")));
        assert!(!passes("edit_distance", options(0.58), json!("sitting"), json!("kitten")));
        assert!(passes("rouge_l", options(0.5), json!("the gunman kill police"), json!("police killed the gunman")));
        assert!(build_error("token_f1", options(1.5)).contains("`at_least`"));
    }

    #[test]
    fn the_nearest_of_several_answers_counts() {
        let best = number("token_f1", json!({"any_reference": true}), json!("NYC"), json!(["New York", "NYC!"]));
        assert!((best - 1.0).abs() < 1e-12);
    }

    #[test]
    fn other_scripts_need_the_unicode_tokenizer() {
        let (output, reference) = (json!("東京は首都です"), json!("東京は日本の首都です"));
        let refused = score("rouge_l", json!({}), output.clone(), reference.clone()).unwrap_err();
        assert_eq!(refused.reason, UnscoredReason::NotApplicable);
        assert!(refused.detail.contains("unicode"));
        // 7 of 7 and 7 of 10 characters in order.
        let found = number("rouge_l", json!({"tokenizer": "unicode"}), output, reference);
        assert!((found - 14.0 / 17.0).abs() < 1e-12, "{found}");
    }

    #[test]
    fn long_texts_are_refused_not_waited_for() {
        let long = "ab ".repeat(50_000);
        for name in ["edit_distance", "rouge_l"] {
            let refused = score(name, json!({}), json!(long), json!("x")).unwrap_err();
            assert_eq!(refused.reason, UnscoredReason::InputTooLong, "{name}");
        }
        assert!(build_error("edit_distance", json!({"max_chars": 0})).contains("`max_chars`"));
    }
}
