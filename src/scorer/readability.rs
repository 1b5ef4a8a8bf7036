//! How hard English text is to read, by the lengths of its sentences and words.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::material::expected_found;
use super::options::{check_bounds, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Direction, Scale, Score, ScoreInput, Scored, Unscored, UnscoredReason};

pub(super) const READABILITY: ScorerInfo = ScorerInfo {
    name: "readability",
    version: "1",
    summary: "Gives the Flesch reading ease or the Flesch-Kincaid grade of English text, or passes between limits.",
    sample: "measure = \"grade\"\nat_most = 9",
    schema: schema_of::<Options>,
    build,
};

/// Which figure is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Measure {
    /// Flesch reading ease: 206.835 - 1.015 words per sentence - 84.6 syllables per word. About 0 (hard) to 100 (easy).
    #[default]
    ReadingEase,
    /// Flesch-Kincaid grade: 0.39 words per sentence + 11.8 syllables per word - 15.59. Years of school in the USA.
    Grade,
}

/// Which figure, and between which limits. Syllables of a word are its groups of `a`, `e`, `i`, `o`, `u`, `y`; a last
/// `e` is silent unless it follows `l` after a consonant; every word has at least one. Sentences end at `.`, `!`, `?`
/// before white space or the end.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Which figure is given.
    #[serde(default)]
    measure: Measure,
    /// Pass from this figure up; without limits the figure is the score.
    at_least: Option<f64>,
    /// Pass up to this figure.
    at_most: Option<f64>,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    for (key, value) in [("at_least", options.at_least), ("at_most", options.at_most)] {
        if value.is_some_and(|number| !number.is_finite()) {
            return Err(format!("`{key}` must be a finite number"));
        }
    }
    check_bounds(("at_least", "at_most"), options.at_least, options.at_most)?;
    Ok(Box::new(options))
}

impl Options {
    fn has_limits(&self) -> bool {
        self.at_least.is_some() || self.at_most.is_some()
    }
}

impl Scorer for Options {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let text = input.output.text();
        let counts = Counts::of(&text);
        if counts.words == 0 {
            return Err(Unscored::not_applicable("the output has no word of Latin letters, so nothing to measure"));
        }
        let words = counts.words as f64;
        let (length, syllables) = (words / counts.sentences.max(1) as f64, counts.syllables as f64 / words);
        let (what, figure) = match self.measure {
            Measure::ReadingEase => ("reading ease", 206.835 - 1.015 * length - 84.6 * syllables),
            Measure::Grade => ("grade", 0.39 * length + 11.8 * syllables - 15.59),
        };
        let shown = format!(
            "{what} {figure:.1} ({} words, {} sentences, {} syllables)",
            counts.words, counts.sentences, counts.syllables
        );
        let score = if self.has_limits() {
            let fits =
                self.at_least.is_none_or(|least| figure >= least) && self.at_most.is_none_or(|most| figure <= most);
            let limits = match (self.at_least, self.at_most) {
                (Some(least), Some(most)) => format!("a {what} of {least} to {most}"),
                (Some(least), None) => format!("a {what} of at least {least}"),
                (_, most) => format!("a {what} of at most {}", most.unwrap_or_default()),
            };
            Some(Score::pass(fits, expected_found(&limits, &shown)))
        } else {
            Score::number(figure, shown)
        };
        let mut score = score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the figure is not finite"))?;
        score.details = json!({
            "figure": figure, "words": counts.words, "sentences": counts.sentences, "syllables": counts.syllables
        });
        Ok(score)
    }

    fn scale(&self) -> Scale {
        if self.has_limits() { Scale::Binary } else { Scale::Number { min: None, max: None } }
    }

    fn direction(&self) -> Direction {
        let lower = self.measure == Measure::Grade && !self.has_limits();
        if lower { Direction::Lower } else { Direction::Higher }
    }
}

struct Counts {
    words: usize,
    sentences: usize,
    syllables: usize,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut counts = Self { words: 0, sentences: 0, syllables: 0 };
        let mut open = false;
        for token in text.split_whitespace() {
            for word in token.split(|c: char| !is_latin(c) && c != '\'' && c != '’') {
                if word.chars().any(is_latin) {
                    counts.words += 1;
                    counts.syllables += syllables(word);
                    open = true;
                }
            }
            let end = token.trim_end_matches(['"', '\'', ')', ']', '”', '’']);
            if open && end.ends_with(['.', '!', '?']) {
                counts.sentences += 1;
                open = false;
            }
        }
        counts.sentences += usize::from(open);
        counts
    }
}

fn is_latin(character: char) -> bool {
    character.is_ascii_alphabetic() || (('\u{c0}'..='\u{24f}').contains(&character) && character.is_alphabetic())
}

fn syllables(word: &str) -> usize {
    let letters: Vec<char> = word.to_lowercase().chars().filter(|c| is_latin(*c)).collect();
    let vowel = |c: char| "aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýÿ".contains(c);
    let starts = letters.iter().enumerate().filter(|(place, letter)| {
        vowel(**letter) && (*place == 0 || letters.get(place - 1).is_none_or(|before| !vowel(*before)))
    });
    let count = starts.count();
    let silent = match letters.as_slice() {
        [.., before, 'l', 'e'] if !vowel(*before) => false,
        [.., before, 'e'] => !vowel(*before),
        _ => false,
    };
    count.saturating_sub(usize::from(silent)).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{build_error, number, passes, score};
    use super::*;

    #[test]
    fn syllables_follow_the_rule() {
        for (word, count) in [
            ("cat", 1),
            ("table", 2),
            ("cake", 1),
            ("queue", 1),
            ("the", 1),
            ("readability", 5),
            ("rhythm", 1),
            ("don't", 1),
        ] {
            assert_eq!(syllables(word), count, "{word}");
        }
    }

    #[test]
    fn figures_are_those_of_the_formulas() {
        // 10 words, 2 sentences, 12 syllables: counted by hand.
        let text = json!("The cat sat on the mat. It was very happy!");
        let ease = number("readability", json!({}), text.clone(), Value::Null);
        assert!((ease - (206.835 - 1.015 * 5.0 - 84.6 * 12.0 / 10.0)).abs() < 1e-9, "{ease}");
        let grade = number("readability", json!({"measure": "grade"}), text.clone(), Value::Null);
        assert!((grade - (0.39 * 5.0 + 11.8 * 1.2 - 15.59)).abs() < 1e-9, "{grade}");
        assert!(passes("readability", json!({"measure": "grade", "at_most": 5}), text, Value::Null));
        assert!(score("readability", json!({}), json!("東京"), Value::Null).is_err());
        assert!(build_error("readability", json!({"at_least": 3, "at_most": 2})).contains("`at_least`"));
    }
}
