//! Which language the output is written in.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use whatlang::Lang;

use super::material::{expected_found, quote, text_of};
use super::options::{check_share, read, schema_of};
use super::path::Path;
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored, Unscored, UnscoredReason};

pub(super) const LANGUAGE: ScorerInfo = ScorerInfo {
    name: "language",
    version: "1",
    summary: "Passes when the output is written in the expected language, or in that of the input.",
    sample: "expected = \"en\"",
    schema: schema_of::<Options>,
    build,
};

/// Characters that are looked at; more say nothing new.
const LOOKED_AT: usize = 5_000;

/// Codes of two letters of the languages that are told apart.
const SHORT: &[(&str, &str)] = &[
    ("af", "afr"),
    ("am", "amh"),
    ("ar", "ara"),
    ("az", "aze"),
    ("be", "bel"),
    ("bg", "bul"),
    ("bn", "ben"),
    ("ca", "cat"),
    ("cs", "ces"),
    ("cy", "cym"),
    ("da", "dan"),
    ("de", "deu"),
    ("el", "ell"),
    ("en", "eng"),
    ("eo", "epo"),
    ("es", "spa"),
    ("et", "est"),
    ("fa", "pes"),
    ("fi", "fin"),
    ("fr", "fra"),
    ("gu", "guj"),
    ("he", "heb"),
    ("hi", "hin"),
    ("hr", "hrv"),
    ("hu", "hun"),
    ("hy", "hye"),
    ("id", "ind"),
    ("it", "ita"),
    ("ja", "jpn"),
    ("jv", "jav"),
    ("ka", "kat"),
    ("km", "khm"),
    ("kn", "kan"),
    ("ko", "kor"),
    ("la", "lat"),
    ("lt", "lit"),
    ("lv", "lav"),
    ("mk", "mkd"),
    ("ml", "mal"),
    ("mr", "mar"),
    ("my", "mya"),
    ("nb", "nob"),
    ("ne", "nep"),
    ("nl", "nld"),
    ("no", "nob"),
    ("or", "ori"),
    ("pa", "pan"),
    ("pl", "pol"),
    ("pt", "por"),
    ("ro", "ron"),
    ("ru", "rus"),
    ("si", "sin"),
    ("sk", "slk"),
    ("sl", "slv"),
    ("sn", "sna"),
    ("sr", "srp"),
    ("sv", "swe"),
    ("ta", "tam"),
    ("te", "tel"),
    ("th", "tha"),
    ("tk", "tuk"),
    ("tl", "tgl"),
    ("tr", "tur"),
    ("uk", "ukr"),
    ("ur", "urd"),
    ("uz", "uzb"),
    ("vi", "vie"),
    ("yi", "yid"),
    ("zh", "cmn"),
    ("zu", "zul"),
];

/// Which language is expected, and how sure the finding must be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The language: a code (`en`, `eng`, `de-AT`) or its English name. Without it and `expected_from`, the language of
    /// the input.
    expected: Option<String>,
    /// Where the language stands in the data: a path such as `example.dimensions.language`.
    expected_from: Option<String>,
    /// Least confidence, 0 to 1, with which languages must be told; below it there is no score. Short texts are told
    /// badly.
    #[serde(default = "confidence")]
    min_confidence: f64,
}

fn confidence() -> f64 {
    0.5
}

enum Wanted {
    Fixed(Lang),
    From(Path),
    OfInput,
}

struct Language {
    wanted: Wanted,
    least: f64,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    check_share("min_confidence", Some(options.min_confidence))?;
    let wanted = match (&options.expected, &options.expected_from) {
        (Some(_), Some(_)) => return Err("`expected` and `expected_from` are both set: keep one".to_owned()),
        (Some(name), None) => Wanted::Fixed(known(name).ok_or_else(|| {
            format!("`expected` = `{name}` is no language that is told apart: write a code such as `en` or `deu`")
        })?),
        (None, Some(path)) => Wanted::From(Path::parse("expected_from", path)?),
        (None, None) => Wanted::OfInput,
    };
    Ok(Box::new(Language { wanted, least: options.min_confidence }))
}

/// A language by a code of two or three letters, perhaps with a region behind it, or by its English name.
fn known(name: &str) -> Option<Lang> {
    let name = name.trim().to_lowercase();
    let code = name.split(['-', '_']).next().unwrap_or_default();
    let long = SHORT.iter().find(|(short, _)| *short == code).map_or(code, |(_, long)| *long);
    Lang::from_code(long).or_else(|| Lang::all().iter().copied().find(|lang| lang.eng_name().to_lowercase() == name))
}

impl Language {
    fn told(&self, what: &str, text: &str) -> Result<(Lang, f64), Unscored> {
        let start: String = text.chars().take(LOOKED_AT).collect();
        let found = whatlang::detect(&start)
            .ok_or_else(|| Unscored::not_applicable(format!("the {what} has no words to tell a language by")))?;
        if found.confidence() < self.least {
            return Err(Unscored::new(
                UnscoredReason::CannotJudge,
                format!(
                    "the {what} looks like {} with confidence {:.2}, less than `min_confidence` = {}",
                    found.lang().eng_name(),
                    found.confidence(),
                    self.least
                ),
            ));
        }
        Ok((found.lang(), found.confidence()))
    }

    fn wanted(&self, input: &ScoreInput<'_>) -> Result<Lang, Unscored> {
        match &self.wanted {
            Wanted::Fixed(lang) => Ok(*lang),
            Wanted::OfInput => Ok(self.told("input", &input.example.input_text())?.0),
            Wanted::From(path) => {
                let at = path.written();
                let value = path
                    .find(input)
                    .ok_or_else(|| Unscored::not_applicable(format!("no language stands at `{at}`")))?;
                let name = text_of(&value).into_owned();
                known(&name).ok_or_else(|| {
                    Unscored::not_applicable(format!("{} at `{at}` is no language that is told apart", quote(&name)))
                })
            }
        }
    }
}

impl Scorer for Language {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let wanted = self.wanted(input)?;
        let (found, confidence) = self.told("output", &input.output.text())?;
        let told = format!("{} (confidence {confidence:.2})", found.eng_name());
        let mut score = Score::pass(found == wanted, expected_found(wanted.eng_name(), &told));
        score.details = json!({ "language": found.code(), "expected": wanted.code(), "confidence": confidence });
        Ok(score)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{build_error, score, score_pair};
    use super::*;
    use crate::model::{Example, Output};

    const GERMAN: &str = "Ihre Buchung wurde storniert, und die Erstattung kommt in den nächsten Tagen auf Ihr Konto.";
    const ENGLISH: &str = "Your booking was cancelled, and the refund will reach your account within a few days.";

    fn passes(options: Value, text: &str) -> bool {
        score("language", options, json!(text), Value::Null).unwrap().value.number() == Some(1.0)
    }

    #[test]
    fn languages_are_told_and_named_in_many_ways() {
        for name in ["de", "deu", "German", "de-AT", "DE_ch"] {
            assert!(passes(json!({"expected": name}), GERMAN), "{name}");
            assert!(!passes(json!({"expected": name}), ENGLISH), "{name}");
        }
        assert!(build_error("language", json!({"expected": "klingon"})).contains("`expected`"));
        assert!(SHORT.iter().all(|(_, long)| Lang::from_code(*long).is_some()));
        assert!(SHORT.is_sorted());
    }

    #[test]
    fn the_input_and_the_data_say_what_is_expected() {
        let mut example =
            Example::new("e".into(), json!("Ich möchte meine Buchung stornieren, bitte helfen Sie mir dabei."));
        example.dimensions.insert("language".to_owned(), "en".to_owned());
        let of = |options: Value, text: &str| score_pair("language", options, &example, &Output::of_text(text));
        assert_eq!(of(json!({}), GERMAN).unwrap().value.number(), Some(1.0));
        assert_eq!(of(json!({}), ENGLISH).unwrap().value.number(), Some(0.0));
        let from = json!({"expected_from": "example.dimensions.language"});
        assert_eq!(of(from, ENGLISH).unwrap().value.number(), Some(1.0));
        assert!(of(json!({"expected_from": "example.metadata.lang"}), ENGLISH).is_err());
        assert!(of(json!({"expected": "en"}), "42").is_err());
    }
}
