//! What users did with an answer: thumbs, asking again, and how much they changed before they took it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::edit::ratio;
use super::material::{expected_found, quote, quote_value, similarity_scale, text_of, too_long};
use super::options::{check_limit, check_share, read, schema_of};
use super::path::Path;
use super::{Scorer, ScorerInfo};
use crate::model::{Scale, Score, ScoreInput, Scored, Unscored, UnscoredReason};

pub(super) const FEEDBACK: ScorerInfo = ScorerInfo {
    name: "feedback",
    version: "1",
    summary: "Reads what users did: a thumb, asking again, or the share of the output kept in the text they accepted.",
    sample: "sign = \"accepted\"\nfield = \"output.metadata.accepted_text\"\nat_least = 0.8",
    schema: schema_of::<Options>,
    build,
};

/// Words for a thumb up and a thumb down, in any case.
const UP: &[&str] = &[
    "up",
    "thumbs_up",
    "thumbs up",
    "thumbsup",
    "👍",
    "like",
    "liked",
    "positive",
    "good",
    "helpful",
    "true",
    "yes",
    "1",
];
const DOWN: &[&str] = &[
    "down",
    "thumbs_down",
    "thumbs down",
    "thumbsdown",
    "👎",
    "dislike",
    "disliked",
    "negative",
    "bad",
    "unhelpful",
    "false",
    "no",
    "0",
    "-1",
];
/// Places of each sign when none is named.
const THUMBS: &[&str] =
    &["feedback", "user_feedback", "thumbs", "thumb", "rating", "trace.feedback", "trace.user_feedback"];
const REGENERATED: &[&str] =
    &["regenerated", "regenerate", "retry", "retried", "regenerations", "trace.regenerated", "trace.regenerations"];
const ACCEPTED: &[&str] = &["accepted_text", "accepted", "edited_text", "final_text", "trace.accepted_text"];

/// What is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Sign {
    /// A thumb up or down: up passes.
    #[default]
    Thumbs,
    /// Whether, or how often, the user asked for another answer: passes when never.
    Regenerated,
    /// The text the user accepted in the end: gives how much of the output is in it, 0 to 1, as the ratio of insertions
    /// and deletions.
    Accepted,
}

/// What is read, and where it stands. Nothing said is no finding: most users say nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What is read.
    #[serde(default)]
    sign: Sign,
    /// Where it stands: a path such as `output.metadata.rating`, or `trace.KEY` for an attribute. The usual names of
    /// the sign in the output's metadata and the trace when left out.
    field: Option<String>,
    /// For `accepted`: pass from this share up; without it the share itself is the score.
    at_least: Option<f64>,
    /// For `accepted`: longest text taken on, in characters; time is the product of both lengths.
    #[serde(default = "limit")]
    max_chars: usize,
}

fn limit() -> usize {
    10_000
}

struct Feedback {
    options: Options,
    places: Vec<Path>,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    check_share("at_least", options.at_least)?;
    check_limit("max_chars", options.max_chars)?;
    if options.at_least.is_some() && options.sign != Sign::Accepted {
        return Err("`at_least` means something only with `sign = \"accepted\"`".to_owned());
    }
    let usual = match options.sign {
        Sign::Thumbs => THUMBS,
        Sign::Regenerated => REGENERATED,
        Sign::Accepted => ACCEPTED,
    };
    let places = match &options.field {
        Some(field) => vec![Path::parse("field", field)?],
        None => usual.iter().map(|field| Path::parse("field", field)).collect::<Result<_, _>>()?,
    };
    Ok(Box::new(Feedback { options, places }))
}

impl Scorer for Feedback {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let found = self.places.iter().find_map(|path| Some((path.written(), path.find(input)?)));
        let (at, value) =
            found.ok_or_else(|| Unscored::not_applicable("the user said and did nothing that is recorded"))?;
        let off = |wanted: &str| {
            let told = expected_found(wanted, &quote_value(&value));
            Unscored::new(UnscoredReason::OffMenu, format!("at `{at}`: {told}"))
        };
        match self.options.sign {
            Sign::Thumbs => {
                let up = thumb(&value).ok_or_else(|| off("a thumb up or down"))?;
                Ok(Score::pass(up, format!("thumb {} at `{at}`", if up { "up" } else { "down" })))
            }
            Sign::Regenerated => {
                let times = match &*value {
                    Value::Bool(again) => u64::from(*again),
                    Value::Number(times) => times.as_u64().ok_or_else(|| off("how often"))?,
                    other => u64::from(thumb(other).ok_or_else(|| off("whether or how often"))?),
                };
                Ok(Score::pass(times == 0, format!("asked for another answer {times} times (at `{at}`)")))
            }
            Sign::Accepted => self.accepted(&input.output.text(), &text_of(&value)),
        }
    }

    fn scale(&self) -> Scale {
        if self.options.sign == Sign::Accepted { similarity_scale(self.options.at_least) } else { Scale::Binary }
    }
}

impl Feedback {
    fn accepted(&self, output: &str, accepted: &str) -> Scored {
        let (output, accepted): (Vec<char>, Vec<char>) = (output.chars().collect(), accepted.chars().collect());
        for (what, text) in [("output", &output), ("accepted text", &accepted)] {
            if text.len() > self.options.max_chars {
                return Err(too_long(what, text.len(), "characters", ("max_chars", self.options.max_chars)));
            }
        }
        let kept = ratio(&accepted, &output);
        let text: String = accepted.iter().collect();
        let told = format!("{kept:.4} of the output is in the accepted text {}", quote(&text));
        let score = match self.options.at_least {
            Some(least) => Some(Score::pass(kept >= least, told)),
            None => Score::number(kept, told),
        };
        let mut score = score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the share is not finite"))?;
        score.details = json!({ "kept": kept });
        Ok(score)
    }
}

fn thumb(value: &Value) -> Option<bool> {
    match value {
        Value::Object(map) => {
            ["thumb", "thumbs", "rating", "value", "score"].iter().find_map(|key| map.get(*key)).and_then(thumb)
        }
        scalar => {
            let word = text_of(scalar).trim().to_lowercase();
            let word = word.strip_suffix(".0").unwrap_or(&word);
            if UP.contains(&word) { Some(true) } else { DOWN.contains(&word).then_some(false) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{build_error, score_output};
    use super::*;
    use crate::model::Output;

    fn of(options: Value, key: &str, value: Value) -> Scored {
        let mut output = Output::of_text("kitten");
        output.metadata.insert(key.to_owned(), value);
        score_output("feedback", options, &output)
    }

    #[test]
    fn thumbs_are_read_in_their_usual_forms() {
        for up in [json!(true), json!(1), json!(1.0), json!("Thumbs_Up"), json!("👍"), json!({"rating": "up"})] {
            assert_eq!(of(json!({}), "feedback", up.clone()).unwrap().value.number(), Some(1.0), "{up}");
        }
        for down in [json!(false), json!(0), json!(-1), json!("bad"), json!("👎")] {
            assert_eq!(of(json!({}), "rating", down.clone()).unwrap().value.number(), Some(0.0), "{down}");
        }
        assert_eq!(of(json!({}), "feedback", json!(7)).unwrap_err().reason, UnscoredReason::OffMenu);
        assert_eq!(of(json!({}), "other", json!(1)).unwrap_err().reason, UnscoredReason::NotApplicable);
    }

    #[test]
    fn asking_again_and_editing_are_told() {
        let again = |value: Value| of(json!({"sign": "regenerated"}), "regenerations", value).unwrap().value.number();
        assert_eq!((again(json!(0)), again(json!(2)), again(json!(true))), (Some(1.0), Some(0.0), Some(0.0)));
        let kept = of(json!({"sign": "accepted"}), "accepted_text", json!("sitting")).unwrap().value.number().unwrap();
        // rapidfuzz 3.14.6: `Indel.normalized_similarity("kitten", "sitting")`.
        assert!((kept - 0.6153846153846154).abs() < 1e-12, "{kept}");
        let same = of(json!({"sign": "accepted", "at_least": 1.0, "field": "mine"}), "mine", json!("kitten"));
        assert_eq!(same.unwrap().value.number(), Some(1.0));
        assert!(build_error("feedback", json!({"at_least": 0.5})).contains("`at_least`"));
    }
}
