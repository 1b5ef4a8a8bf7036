//! Similarity of texts by the characters that differ.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{nearest, similarity_scale, too_long};
use super::options::{check_limit, check_share, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Scale, ScoreInput, Scored, Unscored};

pub(super) const EDIT_DISTANCE: ScorerInfo = ScorerInfo {
    name: "edit_distance",
    version: "1",
    summary: "Gives 1 minus the Levenshtein distance to the reference over the longer length, in characters.",
    sample: "at_least = 0.8",
    schema: schema_of::<EditOptions>,
    build: build_edit,
};

/// How the distance is read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EditOptions {
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
        let form = |text: &str| if self.ignore_case { text.to_lowercase() } else { text.to_owned() };
        let (expected, found): (Vec<char>, Vec<char>) =
            (form(expected).chars().collect(), form(found).chars().collect());
        for (what, text) in [("reference", &expected), ("output", &found)] {
            if text.len() > self.max_chars {
                return Err(too_long(what, text.len(), "characters", ("max_chars", self.max_chars)));
            }
        }
        let longest = expected.len().max(found.len());
        if longest == 0 {
            return Ok(1.0);
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
