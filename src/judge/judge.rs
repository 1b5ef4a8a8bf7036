//! One judge with its model: from an output to a score or a reason why there is none.
//!
//! What is asked, and how often, is the rubric's method (`methods`); one question's retries are `asking`'s. Never maps a
//! failure to a score.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::asking::{Asker, Asking, End};
use super::condition::WhenFilter;
use super::sheets::{CriterionJudge, Sheets};
use super::shots::Shots;
use super::{AskSize, Grade, Graded};
use crate::model::{
    ChatMessage, Digest, Digester, GraderInfo, GraderKind, Judged, Score, ScoreInput, Unscored, UnscoredReason,
    canonical_json,
};
use crate::provider::{Client, OnNotice};
use crate::rubric::{
    JudgeSpec, Judgement, Material, Method, PARSER_VERSION, PROMPT_VERSION, Prompt, Shot, Wanted, render, wanted_schema,
};

/// The model a judge asks, with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeModel {
    /// Name as the provider knows it.
    pub name: String,
    /// Sampling temperature; not sent when absent.
    pub temperature: Option<f64>,
    /// Most tokens of a reply.
    pub max_tokens: u32,
    /// Seed; the draw number is added.
    pub seed: Option<u64>,
    /// Further fields of the provider's body, verbatim.
    pub extra: Map<String, Value>,
}

impl JudgeModel {
    /// A model with the judge's own defaults.
    pub fn of_defaults(name: impl Into<String>, spec: &JudgeSpec) -> Self {
        let defaults = &spec.model;
        Self {
            name: name.into(),
            temperature: defaults.temperature,
            max_tokens: defaults.max_tokens,
            seed: defaults.seed,
            extra: Map::new(),
        }
    }
}

/// A rubric, a client and a model.
pub struct Judge {
    pub(super) spec: Arc<JudgeSpec>,
    pub(super) asker: Asker,
    /// Schema of the main question; null where the reply is free text.
    pub(super) schema: Value,
    pub(super) shots: Shots,
    when: WhenFilter,
    digest: Digest,
    /// Likely tokens that somebody outside the judge will look at.
    top: Option<u8>,
}

impl Judge {
    /// Puts a judge together.
    pub fn new(spec: Arc<JudgeSpec>, client: Arc<Client>, model: JudgeModel) -> Self {
        let schema = main_question(&spec).and_then(wanted_schema).unwrap_or_default();
        let when = WhenFilter::of(&spec);
        let asker = Asker::new(client, model);
        let mut judge = Self { spec, asker, schema, shots: Shots::default(), when, digest: Digest::of(b""), top: None };
        judge.digest = judge.digest_now();
        judge
    }

    /// The same judge with worked examples.
    #[must_use]
    pub fn with_shots(mut self, shots: Shots) -> Self {
        self.shots = shots;
        self.digest = self.digest_now();
        self
    }

    /// The same judge asking for the probabilities of its score, for whoever goes by them.
    #[must_use]
    pub fn with_probabilities(mut self, top: u8) -> Self {
        self.top = Some(top);
        self.digest = self.digest_now();
        self
    }

    fn digest_now(&self) -> Digest {
        let model = &self.asker.model;
        let parameters = json!({
            "model": model.name,
            "temperature": model.temperature,
            "max_tokens": model.max_tokens,
            "seed": model.seed,
            "extra": model.extra,
        });
        let mut digester = Digester::new()
            .part("spec", self.spec.digest().as_str().as_bytes())
            .part("schema", canonical_json(&self.schema).as_bytes())
            .part("prompt", PROMPT_VERSION.as_bytes())
            .part("parser", PARSER_VERSION.as_bytes())
            .part("parameters", canonical_json(&parameters).as_bytes());
        if let Some(shots) = self.shots.digest() {
            digester = digester.part("shots", shots.as_str().as_bytes());
        }
        if let Some(top) = self.top {
            digester = digester.part("top", &[top]);
        }
        digester.finish()
    }

    /// Its rubric.
    pub fn spec(&self) -> &JudgeSpec {
        &self.spec
    }

    /// The model it asks.
    pub fn model(&self) -> &JudgeModel {
        &self.asker.model
    }

    /// Digest of all that can change its findings: rubric, method, layout, scale, wording, reading rules, worked
    /// examples, model, parameters.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How it enters a run's header under the name the suite gives it.
    pub fn info(&self, name: &str, draws: u32) -> GraderInfo {
        GraderInfo {
            name: name.to_owned(),
            kind: GraderKind::Judge,
            component: self.spec.name.clone(),
            version: self.spec.version.clone(),
            digest: self.digest.clone(),
            scale: self.spec.gives(),
            direction: self.spec.direction,
            draws,
            model: Some(self.asker.model.name.clone()),
        }
    }

    /// The graders of a suite that it is: itself, or one for each criterion, `NAME.CRITERION`, which share their asks.
    pub fn graders(self: Arc<Self>, name: &str, draws: u32) -> Vec<(GraderInfo, Arc<dyn Grade>)> {
        let Method::Criteria(criteria) = &self.spec.method else {
            let info = self.info(name, draws);
            return vec![(info, self as Arc<dyn Grade>)];
        };
        let sheets = Arc::new(Sheets::new(Arc::clone(&self), criteria.len()));
        let one = |(place, criterion): (usize, &crate::rubric::Criterion)| {
            let info = GraderInfo {
                name: format!("{name}.{}", criterion.name),
                digest: Digester::new()
                    .part("judge", self.digest.as_str().as_bytes())
                    .part("criterion", criterion.name.as_bytes())
                    .finish(),
                scale: criterion.scale.to_scale(),
                direction: criterion.direction,
                ..self.info(name, draws)
            };
            let judge: Arc<dyn Grade> = Arc::new(CriterionJudge::new(Arc::clone(&sheets), place));
            (info, judge)
        };
        criteria.iter().enumerate().map(one).collect()
    }

    /// The exact messages of the first question about one output, for people who want to see them.
    ///
    /// # Errors
    /// The reason why the judge does not ask.
    pub fn messages(&self, input: &ScoreInput<'_>) -> Result<Vec<ChatMessage>, Unscored> {
        let mut material = self.material(input)?;
        if let Method::Pair(pair) = &self.spec.method {
            material = material.paired(pair, false);
        }
        let wanted = main_question(&self.spec)
            .ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the judge has no question"))?;
        self.prompt(wanted, &material, &self.shots_for(input)).map(|prompt| prompt.messages)
    }

    /// The material of an output, under the judge's conditions.
    pub(super) fn material(&self, input: &ScoreInput<'_>) -> Result<Material, Unscored> {
        self.when.check(input)?;
        match &self.spec.method {
            Method::Parts(_) => Material::whole(&self.spec, input),
            _ => Material::collect(&self.spec, input),
        }
    }

    pub(super) fn shots_for(&self, input: &ScoreInput<'_>) -> Vec<Shot> {
        self.shots.choose(self.spec.few_shot.as_ref(), input.example)
    }

    pub(super) fn prompt(&self, wanted: Wanted<'_>, material: &Material, shots: &[Shot]) -> Result<Prompt, Unscored> {
        render(&self.spec, wanted, material, shots)
            .map_err(|cause| Unscored::new(UnscoredReason::ScorerFault, format!("the prompt cannot be made: {cause}")))
    }

    /// Likely tokens to ask for with a question for a score.
    pub(super) fn top(&self) -> Option<u8> {
        self.top
    }

    pub(super) fn asking<'a>(&'a self, draw: u32, on_notice: OnNotice<'a>) -> Asking<'a> {
        Asking::new(&self.asker, &self.digest, draw, on_notice)
    }
}

/// The question that a judge asks first.
pub(super) fn main_question(spec: &JudgeSpec) -> Option<Wanted<'_>> {
    Some(match &spec.method {
        Method::Expected(expected) if !expected.reasoned => Wanted::ScoreAlone(&spec.scale),
        Method::Criteria(criteria) => Wanted::Criteria(criteria),
        Method::Tree(tree) => Wanted::Answer(tree.questions.first()?),
        Method::Plain | Method::Expected(_) | Method::Pair(_) | Method::Parts(_) => score_question(spec),
    })
}

/// The question for one score.
pub(super) fn score_question(spec: &JudgeSpec) -> Wanted<'_> {
    if spec.says_sure { Wanted::SureScore(&spec.scale) } else { Wanted::Score(&spec.scale) }
}

#[async_trait]
impl Grade for Judge {
    async fn grade(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>) -> Graded {
        let material = match self.material(input) {
            Ok(material) => material,
            Err(unscored) => return Graded::without_asking(unscored),
        };
        let mut asking = self.asking(draw, on_notice);
        let outcome = self.score(input, material, &mut asking).await;
        asking.graded(outcome)
    }

    fn asks(&self, input: &ScoreInput<'_>) -> Vec<AskSize> {
        self.sizes(input)
    }
}

impl Graded {
    /// An outcome for which nothing was asked.
    pub fn without_asking(unscored: Unscored) -> Self {
        Self { scored: Err(unscored), spend: crate::model::Spend::default(), cached: false, took_ms: 0, fatal: None }
    }
}

impl Asking<'_> {
    /// What a cell comes to with these asks.
    pub(super) fn graded(self, outcome: Result<Score, End>) -> Graded {
        let (scored, fatal) = match outcome {
            Ok(score) => (Ok(score), None),
            Err(End { unscored, fatal }) => (Err(unscored), fatal),
        };
        Graded { scored, spend: self.spend, cached: self.cached, took_ms: self.took_ms, fatal }
    }
}

impl Judge {
    /// A judgement as a score, with what is worth knowing about how it came about.
    pub(super) fn to_score(
        &self,
        judgement: Judgement,
        (prompt, material): (&Prompt, &Material),
        asking: &Asking<'_>,
        judged: &Judged,
    ) -> Score {
        let mut details = prompt.details();
        if judgement.injection_attempt {
            details.insert("injection_attempt".to_owned(), json!(true));
        }
        let not_found = material.quotes_not_found(&judgement.evidence);
        if not_found > 0 {
            details.insert("evidence_not_found".to_owned(), json!(not_found));
        }
        if asking.asks > 1 {
            details.insert("asks".to_owned(), json!(asking.asks));
        }
        if asking.repaired {
            details.insert("repaired".to_owned(), json!(true));
        }
        if let Some(model) = asking.answered_by.as_ref().filter(|model| **model != self.asker.model.name) {
            details.insert("answered_by".to_owned(), json!(model));
        }
        if self.asker.lost_temperature() {
            details.insert("temperature".to_owned(), json!("not taken by the model"));
        }
        let mut score = Score::of(judgement.value, judgement.reasoning);
        score.evidence = judgement.evidence;
        if !details.is_empty() {
            score.details = Value::Object(details);
        }
        judged.put(&mut score);
        score
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
