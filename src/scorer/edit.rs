//! Similarity of texts by the characters that differ.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{common_subsequence, nearest, similarity_scale, too_long};
use super::options::{check_limit, check_share, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Scale, ScoreInput, Scored, Unscored};

pub(super) const EDIT_DISTANCE: ScorerInfo = ScorerInfo {
    name: "edit_distance",
    version: "1",
    summary: "Gives 1 minus the edit distance to the reference over the length, in characters.",
    sample: "at_least = 0.8",
    schema: schema_of::<EditOptions>,
    build: build_edit,
};

pub(super) const JARO_WINKLER: ScorerInfo = ScorerInfo {
    name: "jaro_winkler",
    version: "1",
    summary: "Gives the Jaro-Winkler similarity to the reference, which suits names and other short texts.",
    sample: "at_least = 0.9\nignore_case = true",
    schema: schema_of::<JaroOptions>,
    build: build_jaro,
};

/// Which distance is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Distance {
    /// Insertions, deletions and replacements, over the longer of the two lengths.
    #[default]
    Levenshtein,
    /// Insertions and deletions only, over the sum of the two lengths: what others call the ratio.
    Indel,
}

/// How the Jaro-Winkler similarity is read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JaroOptions {
    /// Compare with this instead of the example's reference.
    value: Option<String>,
    /// Pass from this similarity up, 0 to 1; without it the similarity itself is the score.
    at_least: Option<f64>,
    /// Whether letters of either case are the same.
    #[serde(default)]
    ignore_case: bool,
    /// Whether a reference that is a list holds several acceptable answers, the nearest of which counts.
    #[serde(default)]
    any_reference: bool,
    /// Longest text taken on, in characters; time is the product of both lengths.
    #[serde(default = "edit_limit")]
    max_chars: usize,
}

fn build_jaro(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: JaroOptions = read(options)?;
    check_share("at_least", options.at_least)?;
    check_limit("max_chars", options.max_chars)?;
    Ok(Box::new(options))
}

impl Scorer for JaroOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let compare = |expected: &str, found: &str| {
            let expected = characters(expected, self.ignore_case);
            let found = characters(found, self.ignore_case);
            within(&expected, &found, self.max_chars)?;
            Ok(strsim::generic_jaro_winkler(&Chars(&expected), &Chars(&found)))
        };
        nearest(input, self.value.as_deref(), self.any_reference, self.at_least, compare)
    }

    fn scale(&self) -> Scale {
        similarity_scale(self.at_least)
    }
}

fn characters(text: &str, ignore_case: bool) -> Vec<char> {
    if ignore_case { text.to_lowercase().chars().collect() } else { text.chars().collect() }
}

fn within(expected: &[char], found: &[char], limit: usize) -> Result<(), Unscored> {
    for (what, text) in [("reference", expected), ("output", found)] {
        if text.len() > limit {
            return Err(too_long(what, text.len(), "characters", ("max_chars", limit)));
        }
    }
    Ok(())
}

/// How the distance is read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EditOptions {
    /// Compare with this instead of the example's reference.
    value: Option<String>,
    /// Pass from this similarity up, 0 to 1; without it the similarity itself is the score.
    at_least: Option<f64>,
    /// Which distance is taken.
    #[serde(default)]
    distance: Distance,
    /// Whether letters of either case are the same.
    #[serde(default)]
    ignore_case: bool,
    /// Whether a reference that is a list holds several acceptable answers, the nearest of which counts.
    #[serde(default)]
    any_reference: bool,
    /// Longest text taken on, in characters; time is the product of both lengths.
    #[serde(default = "edit_limit")]
    max_chars: usize,
}

fn edit_limit() -> usize {
    10_000
}

fn build_edit(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: EditOptions = read(options)?;
    check_share("at_least", options.at_least)?;
    check_limit("max_chars", options.max_chars)?;
    Ok(Box::new(options))
}

impl EditOptions {
    fn compare(&self, expected: &str, found: &str) -> Result<f64, Unscored> {
        let (expected, found) = (characters(expected, self.ignore_case), characters(found, self.ignore_case));
        within(&expected, &found, self.max_chars)?;
        let longest = expected.len().max(found.len());
        if longest == 0 {
            return Ok(1.0);
        }
        if self.distance == Distance::Indel {
            return Ok(ratio(&expected, &found));
        }
        // Ends that agree change no distance, and most comparisons are of nearly equal texts.
        let head = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
        let (expected, found) = (expected.get(head..).unwrap_or(&[]), found.get(head..).unwrap_or(&[]));
        let tail = expected.iter().rev().zip(found.iter().rev()).take_while(|(a, b)| a == b).count();
        let expected = Chars(expected.get(..expected.len() - tail).unwrap_or(&[]));
        let found = Chars(found.get(..found.len() - tail).unwrap_or(&[]));
        let distance = strsim::generic_levenshtein(&expected, &found);
        Ok(1.0 - distance as f64 / longest as f64)
    }
}

/// Twice what both have in the same order over what both have: 1 minus insertions and deletions over both lengths.
pub(super) fn ratio(expected: &[char], found: &[char]) -> f64 {
    let all = expected.len() + found.len();
    if all == 0 { 1.0 } else { (2 * common_subsequence(expected, found)) as f64 / all as f64 }
}

/// Characters in the form `strsim` iterates over.
struct Chars<'a>(&'a [char]);

impl<'a> IntoIterator for &Chars<'a> {
    type Item = &'a char;
    type IntoIter = std::slice::Iter<'a, char>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Scorer for EditOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let compare = |expected: &str, found: &str| self.compare(expected, found);
        nearest(input, self.value.as_deref(), self.any_reference, self.at_least, compare)
    }

    fn scale(&self) -> Scale {
        similarity_scale(self.at_least)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::tests::number;

    proptest! {
        #[test]
        fn the_distance_is_that_of_the_whole_texts(left in "[ab ]{0,12}", right in "[ab ]{0,12}") {
            let found = number("edit_distance", json!({}), json!(left), json!(right));
            prop_assert!((found - strsim::normalized_levenshtein(&left, &right)).abs() < 1e-12);
        }
    }
}
