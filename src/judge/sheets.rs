//! One question for several criteria, shared by the graders of a suite that stand for one criterion each.
//!
//! Whichever grader comes first asks; the others wait for the answer and take their part. What the ask cost stands with
//! the first. Only what still waits for a taker is kept.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::asking::End;
use super::forms::Criteria;
use super::judge::Judge;
use super::{AskSize, Grade, Graded};
use crate::model::{Digest, Digester, Failure, Judged, Score, ScoreInput, Scored, Spend, canonical_json};
use crate::provider::OnNotice;
use crate::rubric::{Method, Wanted};

/// Most sheets that wait for takers; a resumed run may have graders that never come.
const MOST_WAITING: usize = 4_096;

/// What one ask gave all criteria.
struct Asked {
    scored: Vec<Scored>,
    spend: Spend,
    /// Whether anything was asked at all.
    asked: bool,
    cached: bool,
    took_ms: u64,
    fatal: Option<Failure>,
}

struct Waiting {
    answer: Arc<OnceCell<Asked>>,
    takers: usize,
}

#[derive(Default)]
struct Shelf {
    waiting: HashMap<Digest, Waiting>,
    order: VecDeque<Digest>,
}

/// A judge of several criteria with what it was asked and nobody took yet.
pub(super) struct Sheets {
    judge: Arc<Judge>,
    criteria: usize,
    shelf: Mutex<Shelf>,
}

impl Sheets {
    pub(super) fn new(judge: Arc<Judge>, criteria: usize) -> Self {
        Self { judge, criteria, shelf: Mutex::default() }
    }

    /// The answer of a cell, to be asked by whoever waits first. Gone from the shelf once every criterion had it.
    fn take(&self, key: Digest) -> Arc<OnceCell<Asked>> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if !shelf.waiting.contains_key(&key) {
            shelf.order.push_back(key.clone());
            shelf.waiting.insert(key.clone(), Waiting { answer: Arc::default(), takers: 0 });
            while shelf.waiting.len() > MOST_WAITING {
                let Some(oldest) = shelf.order.pop_front() else { break };
                shelf.waiting.remove(&oldest);
            }
        }
        let Some(waiting) = shelf.waiting.get_mut(&key) else { return Arc::default() };
        waiting.takers += 1;
        let answer = Arc::clone(&waiting.answer);
        if waiting.takers >= self.criteria {
            shelf.waiting.remove(&key);
            shelf.order.retain(|other| *other != key);
        }
        answer
    }

    async fn ask(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>) -> Asked {
        let judge = &self.judge;
        let mut asking = judge.asking(draw, on_notice);
        let outcome = self.scores(input, &mut asking).await;
        let (scored, fatal) = match outcome {
            Ok(scored) => (scored, None),
            Err(End { unscored, fatal }) => (vec![Err(unscored); self.criteria], fatal),
        };
        let asked = asking.asks > 0;
        let cached = asked && asking.cached;
        Asked { scored, spend: asking.spend, asked, cached, took_ms: asking.took_ms, fatal }
    }

    async fn scores(&self, input: &ScoreInput<'_>, asking: &mut super::asking::Asking<'_>) -> Result<Vec<Scored>, End> {
        let judge = &self.judge;
        let mut material = judge.material(input)?;
        let judged = Judged { summary_based: judge.sum_up(&mut material, asking).await?, ..Judged::default() };
        let Method::Criteria(criteria) = &judge.spec.method else { return Ok(Vec::new()) };
        let prompt = judge.prompt(Wanted::Criteria(criteria), &material, &judge.shots_for(input))?;
        let form = Criteria { criteria, schema: &judge.schema };
        let sheet = asking.question(&form, &prompt.messages).await?;
        let one = |judgement: Result<_, crate::rubric::ReplyProblem>| -> Result<Score, crate::model::Unscored> {
            match judgement {
                Ok(judgement) => Ok(judge.to_score(judgement, (&prompt, &material), asking, &judged)),
                Err(problem) => Err(crate::model::Unscored::new(problem.reason, problem.detail)),
            }
        };
        Ok(sheet.judgements.into_iter().map(one).collect())
    }
}

/// One criterion of a judge of several.
pub(super) struct CriterionJudge {
    sheets: Arc<Sheets>,
    place: usize,
}

impl CriterionJudge {
    pub(super) fn new(sheets: Arc<Sheets>, place: usize) -> Self {
        Self { sheets, place }
    }
}

#[async_trait]
impl Grade for CriterionJudge {
    async fn grade(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>) -> Graded {
        let answer = self.sheets.take(key(input, draw));
        let mut asked_here = false;
        let ask = async {
            asked_here = true;
            self.sheets.ask(input, draw, on_notice).await
        };
        let asked = answer.get_or_init(|| ask).await;
        let nothing = || Err(crate::model::Unscored::not_applicable("the judge has no such criterion"));
        Graded {
            scored: asked.scored.get(self.place).cloned().unwrap_or_else(nothing),
            spend: if asked_here { asked.spend.clone() } else { Spend::default() },
            cached: asked.cached || (asked.asked && !asked_here),
            took_ms: if asked_here { asked.took_ms } else { 0 },
            fatal: asked.fatal.clone(),
        }
    }

    /// The first criterion stands for the asks of all; the others ask nothing, which is known.
    fn asks(&self, input: &ScoreInput<'_>) -> Vec<AskSize> {
        if self.place == 0 { self.sheets.judge.sizes(input) } else { vec![AskSize::default()] }
    }
}

/// Names what is judged: example, output, draw.
fn key(input: &ScoreInput<'_>, draw: u32) -> Digest {
    let output = serde_json::to_value(input.output).unwrap_or_default();
    Digester::new()
        .part("example", input.example.id.as_str().as_bytes())
        .part("output", canonical_json(&output).as_bytes())
        .part("draw", &draw.to_le_bytes())
        .finish()
}
