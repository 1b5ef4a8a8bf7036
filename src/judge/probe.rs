//! Changes to a labelled output that must not change a fair judge's score: more words, other formatting, the same said
//! otherwise, the other order of a pair.
//!
//! The changes are by rule and without a model, so that a probe is the same every time and costs only the judge's calls.

use serde_json::Value;

use super::Labelled;
use crate::model::Output;

/// One kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Empty phrases around the output, about half as long again.
    Length,
    /// The same words with Markdown headings, bold type and a list.
    Formatting,
    /// The same said otherwise: contractions, synonyms, white space.
    Paraphrase,
    /// The two answers of a pair in the other order; the score that is expected is turned around, too.
    Order,
}

/// Two ways to say the same.
const SAME: &[(&str, &str)] = &[
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("did not", "didn't"),
    ("cannot", "can't"),
    ("is not", "isn't"),
    ("are not", "aren't"),
    ("it is", "it's"),
    ("you are", "you're"),
    ("I have", "I've"),
    ("I will", "I'll"),
    ("we will", "we'll"),
    ("at the moment", "currently"),
    ("because", "since"),
    ("however", "though"),
    ("for example", "for instance"),
    ("perhaps", "maybe"),
    ("a lot of", "many"),
    ("start", "begin"),
    ("help", "assist"),
    ("buy", "purchase"),
];

const BEFORE: &str =
    "Thank you for reaching out about this. I have looked into it carefully, and here is what I can tell you.";
const AFTER: &str = "I hope this covers what you were looking for. Please do not hesitate to get back to me at any time should \
                     anything be left open; it is always a pleasure to go over things once more.";

impl Probe {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Length, Self::Formatting, Self::Paraphrase, Self::Order];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Formatting => "formatting",
            Self::Paraphrase => "paraphrase",
            Self::Order => "order",
        }
    }

    /// The changed example; `None` where the change does not apply or changes nothing.
    pub fn twist(self, labelled: &Labelled) -> Option<Labelled> {
        if self == Self::Order {
            return turned(labelled);
        }
        let text = labelled.output.value.as_str().filter(|text| !text.trim().is_empty())?;
        let twisted = match self {
            Self::Length => format!("{BEFORE}\n\n{text}\n\n{AFTER}"),
            Self::Formatting => formatted(text),
            _ => said_otherwise(text),
        };
        let output = Output { value: Value::String(twisted.clone()), ..labelled.output.clone() };
        (twisted != text).then(|| Labelled { output, ..labelled.clone() })
    }
}

/// A heading, and each paragraph as a point whose first words are bold.
fn formatted(text: &str) -> String {
    let point = |line: &str| match line.split_once(' ') {
        Some((first, rest)) => format!("- **{first}** {rest}"),
        None => format!("- **{line}**"),
    };
    let lines: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(point).collect();
    format!("## Answer\n\n{}\n", lines.join("\n"))
}

/// Each phrase that occurs is said in its other way; either way round.
fn said_otherwise(text: &str) -> String {
    let mut text = text.to_owned();
    for (one, other) in SAME {
        let padded = |phrase: &str| format!(" {phrase} ");
        if text.contains(&padded(one)) {
            text = text.replace(&padded(one), &padded(other));
        } else if text.contains(&padded(other)) {
            text = text.replace(&padded(other), &padded(one));
        }
    }
    text
}

fn turned(labelled: &Labelled) -> Option<Labelled> {
    let (first, second) =
        (labelled.example.metadata.get("answer_1")?.clone(), labelled.example.metadata.get("answer_2")?.clone());
    if first == second {
        return None;
    }
    let mut turned = labelled.clone();
    turned.example.metadata.insert("answer_1".to_owned(), second);
    turned.example.metadata.insert("answer_2".to_owned(), first);
    Some(turned)
}

/// The family of a model by its name: who made it, as far as the name says so.
pub fn family(model: &str) -> Option<&'static str> {
    const FAMILIES: &[(&str, &str)] = &[
        ("gpt", "openai"),
        ("chatgpt", "openai"),
        ("o1", "openai"),
        ("o3", "openai"),
        ("o4", "openai"),
        ("claude", "anthropic"),
        ("gemini", "google"),
        ("gemma", "google"),
        ("llama", "meta"),
        ("mistral", "mistral"),
        ("mixtral", "mistral"),
        ("magistral", "mistral"),
        ("qwen", "alibaba"),
        ("deepseek", "deepseek"),
        ("grok", "xai"),
        ("command", "cohere"),
        ("nova", "amazon"),
        ("phi", "microsoft"),
    ];
    let lowered = model.to_lowercase();
    let words = || lowered.split(|c: char| !c.is_ascii_alphanumeric());
    let begins = |word: &str, name: &str| {
        word.strip_prefix(name).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == 'o'))
    };
    FAMILIES.iter().find(|(name, _)| words().any(|word| begins(word, name))).map(|(_, family)| *family)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Example, ExampleId, ScoreValue};

    fn labelled(output: &str) -> Labelled {
        Labelled {
            example: Example::new(ExampleId::new("e"), "q".into()),
            output: Output::of_text(output),
            expected: ScoreValue::Pass { pass: true },
            people: Vec::new(),
            reason: String::new(),
            tags: Vec::new(),
        }
    }

    #[test]
    fn each_change_keeps_the_words_that_matter() {
        let plain = labelled("You cannot book it, because it is sold out.\nPlease start again.");
        let text = |probe: Probe| probe.twist(&plain).unwrap().output.text();
        assert!(text(Probe::Length).contains("sold out.\nPlease start again.") && text(Probe::Length).len() > 300);
        assert!(text(Probe::Formatting).contains("- **You** cannot book it, because it is sold out.\n- **Please**"));
        assert_eq!(text(Probe::Paraphrase), "You can't book it, since it's sold out.\nPlease begin again.");
        assert!(Probe::Order.twist(&plain).is_none(), "there is no pair");
        assert!(Probe::Paraphrase.twist(&labelled("Nothing to say here")).is_none());
        assert!(Probe::Length.twist(&labelled("  ")).is_none());
    }

    #[test]
    fn a_pair_is_turned_around() {
        let mut pair = labelled("");
        pair.example.metadata.insert("answer_1".into(), json!("a"));
        pair.example.metadata.insert("answer_2".into(), json!("b"));
        let turned = Probe::Order.twist(&pair).unwrap().example.metadata;
        assert_eq!((&turned["answer_1"], &turned["answer_2"]), (&json!("b"), &json!("a")));
    }

    #[test]
    fn families_are_told_by_the_name_alone() {
        for (name, expected) in [
            ("gpt-4o-2024-08-06", Some("openai")),
            ("openai/gpt-5.4-mini", Some("openai")),
            ("o3-mini", Some("openai")),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", Some("anthropic")),
            ("gemini-2.5-pro", Some("google")),
            ("Llama-3.3-70B-Instruct", Some("meta")),
            ("Qwen3-32B", Some("alibaba")),
            ("supernova-2", None),
            ("our-own-model", None),
        ] {
            assert_eq!(family(name), expected, "{name}");
        }
    }
}
