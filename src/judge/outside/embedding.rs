//! How near the meaning of an output is to its reference: the cosine of their embeddings, from any endpoint that embeds.
//!
//! Asked through the endpoint's client: its limits, retries, cache and prices hold.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::webhook::unscored;
use super::{Outside, OutsideInfo, Surroundings, endpoint_of, fault, free, read, schema_of};
use crate::judge::{AskSize, Grade, Graded};
use crate::model::{
    AnswerFormat, ChatMessage, ChatRequest, Digest, Digester, Direction, Role, Scale, Score, ScoreInput, Scored,
    Unscored, UnscoredReason,
};
use crate::provider::{AskKey, ModelHandle, OnNotice};
use crate::sys::text::one_line;

pub(super) const EMBEDDING: OutsideInfo = OutsideInfo {
    name: "embedding",
    version: "1",
    summary: "Gives the cosine of the embeddings of output and reference, from any endpoint that embeds.",
    sample: "embedder = \"embed\"\nat_least = 0.8",
    schema: schema_of::<Options>,
    check: |options| check(&read(options)?),
    build,
};

/// Longest text that is sent, characters.
const LONGEST: usize = 20_000;

/// The model, and what is compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Model that embeds: a name from `[models]` whose provider speaks OpenAI's format.
    embedder: String,
    /// Compare with this instead of the example's reference.
    value: Option<String>,
    /// Pass from this cosine up, -1 to 1; without it the cosine itself is the score.
    at_least: Option<f64>,
    /// Whether a reference that is a list holds several acceptable answers, the nearest of which counts.
    #[serde(default)]
    any_reference: bool,
}

fn check(options: &Options) -> Result<(), String> {
    match options.at_least {
        Some(least) if !(-1.0..=1.0).contains(&least) => {
            Err(format!("`at_least` must lie between -1 and 1, found `{least}`"))
        }
        _ => Ok(()),
    }
}

struct Cosine {
    model: ModelHandle,
    asker: Digest,
    options: Options,
}

fn build(options: &Value, around: &Surroundings<'_>) -> Result<Outside, String> {
    let options: Options = read(options)?;
    check(&options)?;
    let model = (around.embedders)(&options.embedder).map_err(|error| format!("`embedder`: {error}"))?;
    let identity = format!("{} {}", endpoint_of(&model.client), model.model);
    let digest = Digester::new().part("embedder", identity.as_bytes()).finish();
    let scale =
        if options.at_least.is_some() { Scale::Binary } else { Scale::Number { min: Some(-1.0), max: Some(1.0) } };
    let name = model.model.clone();
    let grade = Arc::new(Cosine { model, asker: Digest::of(b"embedding"), options });
    Ok(Outside { grade, scale, direction: Direction::Higher, digest: Some(digest), model: Some(name) })
}

impl Cosine {
    /// The output and the acceptable answers, as texts.
    fn texts(&self, input: &ScoreInput<'_>) -> Result<Vec<String>, Unscored> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let answers = match (&self.options.value, &input.example.reference) {
            (Some(value), _) => vec![value.clone()],
            (None, Some(Value::Array(items))) if self.options.any_reference => items.iter().map(text).collect(),
            (None, Some(value)) if !value.is_null() => vec![text(value)],
            _ => {
                let told = "there is nothing to compare with: give the example a `reference` or set `value`";
                return Err(Unscored::not_applicable(told));
            }
        };
        let mut texts = vec![input.output.text()];
        texts.extend(answers);
        if texts.iter().any(|text| text.trim().is_empty()) || texts.len() < 2 {
            return Err(Unscored::not_applicable("an empty text has no meaning to compare"));
        }
        match texts.iter().map(|text| text.chars().count()).max() {
            Some(length) if length > LONGEST => Err(Unscored::new(
                UnscoredReason::InputTooLong,
                format!("a text has {length} characters, more than the {LONGEST} that are embedded"),
            )),
            _ => Ok(texts),
        }
    }

    fn request(&self, texts: &[String]) -> ChatRequest {
        let message = |text: &String| ChatMessage { role: Role::User, content: text.clone() };
        ChatRequest {
            model: self.model.model.clone(),
            messages: texts.iter().map(message).collect(),
            answer: AnswerFormat::Text,
            temperature: None,
            max_tokens: None,
            seed: None,
            top_logprobs: None,
            extra: Map::new(),
        }
    }

    fn finding(&self, texts: &[String], reply: &str) -> Scored {
        let vectors: Vec<Vec<f64>> =
            serde_json::from_str(reply).map_err(|error| fault(format!("the embeddings cannot be read: {error}")))?;
        let (own, answers) = vectors.split_first().ok_or_else(|| fault("no embedding came back"))?;
        let cosines: Vec<f64> = answers.iter().filter_map(|other| cosine(own, other)).collect();
        let best = cosines.iter().copied().reduce(f64::max).ok_or_else(|| fault("an embedding has no length"))?;
        let shown = |text: Option<&String>| text.map(|text| one_line(text, 120)).unwrap_or_default();
        let told = format!("cosine {best:.4} of `{}` to `{}`", shown(texts.first()), shown(texts.get(1)));
        let score = match self.options.at_least {
            Some(least) => Some(Score::pass(best >= least, format!("expected at least {least}, found {told}"))),
            None => Score::number(best, told),
        };
        let mut score = score.ok_or_else(|| fault("the cosine is not finite"))?;
        score.details = json!({ "cosine": best });
        Ok(score)
    }
}

/// Between -1 and 1; `None` where a vector has no length, or lengths differ.
fn cosine(left: &[f64], right: &[f64]) -> Option<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let norm = (dot(left, left) * dot(right, right)).sqrt();
    (left.len() == right.len() && norm > 0.0).then(|| (dot(left, right) / norm).clamp(-1.0, 1.0))
}

#[async_trait]
impl Grade for Cosine {
    async fn grade(&self, input: &ScoreInput<'_>, _draw: u32, on_notice: OnNotice<'_>) -> Graded {
        let texts = match self.texts(input) {
            Ok(texts) => texts,
            Err(unscored) => return free(Err(unscored), 0),
        };
        // The same texts have the same embeddings, whichever example or draw asks.
        let key = AskKey { asker: self.asker.clone(), draw: 0 };
        match self.model.client.ask(&self.request(&texts), &key, on_notice).await {
            Ok(answer) => Graded {
                scored: self.finding(&texts, &answer.reply.text),
                spend: answer.spend,
                cached: answer.cached,
                took_ms: answer.took_ms,
                fatal: None,
            },
            Err(failure) => {
                let fatal = failure.kind.stops_the_run().then(|| failure.clone());
                Graded { fatal, ..free(Err(unscored(&failure)), 0) }
            }
        }
    }

    fn asks(&self, input: &ScoreInput<'_>) -> Vec<AskSize> {
        let Ok(texts) = self.texts(input) else { return Vec::new() };
        let prompt_chars = texts.iter().map(|text| text.chars().count()).sum();
        vec![AskSize { model: self.model.model.clone(), prompt_chars, max_output_tokens: 0, least: 1.0, most: 1.0 }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_is_that_of_the_angle() {
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), Some(0.0));
        assert!(cosine(&[1.0, 1.0], &[2.0, 2.0]).is_some_and(|same| (same - 1.0).abs() < 1e-12));
        assert_eq!(cosine(&[1.0, 0.0], &[-3.0, 0.0]), Some(-1.0));
        assert_eq!((cosine(&[0.0], &[1.0]), cosine(&[1.0], &[1.0, 2.0])), (None, None));
    }
}
