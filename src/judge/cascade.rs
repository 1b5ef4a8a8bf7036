//! A cheap judge first, a dear one where the cheap one is not sure.
//!
//! A share of the sure cells, drawn by hashes so that it is known and repeatable, is shown to the dear judge all the same.
//! That changes no score: it measures what the cascade does to the metric, which `compare` reports.

use std::sync::Arc;

use async_trait::async_trait;

use super::{AskSize, Grade, Graded};
use crate::dataset::hash_unit;
use crate::model::{
    Asked, Cascaded, Digest, Digester, Finite, GraderInfo, Judged, Score, ScoreInput, ScoreValue, Scored, Spend,
    UnscoredReason,
};
use crate::provider::OnNotice;
use crate::rubric::{Sure, reduce};

/// How it is told whether the cheap judge is sure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SureBy {
    /// It says so; at least this.
    Declared(Sure),
    /// The likeliest score's share of the probability on scores is at least this.
    Probability(f64),
    /// So many draws, of which at least this share agree.
    Votes {
        /// Draws of the cheap judge per draw of the cascade.
        draws: u32,
        /// Share that must agree, in (0, 1].
        share: f64,
    },
}

/// A cheap judge and a dear one.
pub struct Cascade {
    cheap: (Arc<dyn Grade>, GraderInfo),
    dear: (Arc<dyn Grade>, GraderInfo),
    sure_by: SureBy,
    audit: Finite,
    seed: u64,
}

/// What the cheap judge found.
struct Cheap {
    scored: Scored,
    sure: bool,
    sureness: String,
}

impl Cascade {
    /// A cascade that audits sure cells with probability `audit`, in [0, 1].
    pub fn new(
        cheap: (Arc<dyn Grade>, GraderInfo),
        dear: (Arc<dyn Grade>, GraderInfo),
        sure_by: SureBy,
        audit: Finite,
        seed: u64,
    ) -> Self {
        Self { cheap, dear, sure_by, audit, seed }
    }

    /// How it enters a run's header.
    pub fn info(&self) -> GraderInfo {
        let (cheap, dear) = (&self.cheap.1, &self.dear.1);
        let rule = format!("{:?} {} {}", self.sure_by, self.audit.get(), self.seed);
        let model = |info: &GraderInfo| info.model.clone().unwrap_or_default();
        GraderInfo {
            digest: Digester::new()
                .part("cheap", cheap.digest.as_str().as_bytes())
                .part("dear", dear.digest.as_str().as_bytes())
                .part("rule", rule.as_bytes())
                .finish(),
            model: Some(format!("{}, then {} where unsure", model(cheap), model(dear))),
            ..cheap.clone()
        }
    }

    async fn ask_cheap(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>, sum: &mut Sum) -> Cheap {
        let SureBy::Votes { draws, share } = self.sure_by else {
            let scored = sum.add(self.cheap.0.grade(input, draw, on_notice).await);
            let (sure, sureness) = scored.as_ref().map_or((false, String::new()), |score| self.sureness(score));
            return Cheap { scored, sure, sureness };
        };
        let mut found = Vec::new();
        for vote in 0..draws {
            found.push(sum.add(self.cheap.0.grade(input, draw * draws + vote, on_notice).await));
        }
        let values: Vec<ScoreValue> = found.iter().flatten().map(|score| score.value.clone()).collect();
        let votes = reduce(&values);
        let agreeing = f64::from(votes.agreeing) / f64::from(draws.max(1));
        let sureness = format!("{} of {draws} draws agree", votes.agreeing);
        let best = votes.value.as_ref().and_then(|value| {
            let same = |score: &&Score| score.value == *value;
            let chosen = found.iter().flatten().find(same).or_else(|| found.iter().flatten().next())?;
            Some(Score { value: value.clone(), ..chosen.clone() })
        });
        match (best, found.into_iter().find(Result::is_err)) {
            (Some(score), _) => Cheap { scored: Ok(score), sure: agreeing >= share - 1e-9, sureness },
            (None, Some(failed)) => Cheap { scored: failed, sure: false, sureness },
            (None, None) => {
                let tied = crate::model::Unscored::new(UnscoredReason::VotesTied, sureness.clone());
                Cheap { scored: Err(tied), sure: false, sureness }
            }
        }
    }

    /// Whether the cheap judge was sure, and by what; one that does not tell is not.
    fn sureness(&self, score: &Score) -> (bool, String) {
        let judged = Judged::of(score).unwrap_or_default();
        match self.sure_by {
            SureBy::Declared(least) => {
                let said = judged.sure.as_deref().and_then(Sure::parse);
                let word = said.map_or("not said", Sure::as_str);
                (said.is_some_and(|said| said >= least), word.to_owned())
            }
            SureBy::Probability(least) => match judged.likeliest {
                Some(share) => (share.get() >= least, format!("{:.3}", share.get())),
                None => (false, "no probabilities told".to_owned()),
            },
            SureBy::Votes { .. } => (false, String::new()),
        }
    }

    fn is_audited(&self, input: &ScoreInput<'_>, draw: u32) -> bool {
        let name = Digest::of(format!("{}\n{draw}", input.example.id).as_bytes());
        hash_unit(self.seed, name.as_str()) < self.audit.get()
    }
}

/// The cost of a cell.
struct Sum {
    graded: Graded,
}

impl Sum {
    fn add(&mut self, graded: Graded) -> Scored {
        let sum = &mut self.graded;
        sum.spend.add(&graded.spend);
        sum.took_ms = sum.took_ms.saturating_add(graded.took_ms);
        sum.cached &= graded.cached;
        sum.fatal = sum.fatal.take().or(graded.fatal);
        graded.scored
    }
}

#[async_trait]
impl Grade for Cascade {
    async fn grade(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>) -> Graded {
        let nothing = crate::model::Unscored::new(UnscoredReason::ScorerFault, "nothing was asked");
        let graded = Graded { scored: Err(nothing), spend: Spend::default(), cached: true, took_ms: 0, fatal: None };
        let mut sum = Sum { graded };
        let cheap = self.ask_cheap(input, draw, on_notice, &mut sum).await;
        let not_applicable =
            cheap.scored.as_ref().is_err_and(|unscored| unscored.reason == UnscoredReason::NotApplicable);
        if not_applicable || sum.graded.fatal.is_some() {
            return Graded { scored: cheap.scored, ..sum.graded };
        }
        let why = match (&cheap.scored, cheap.sure) {
            (Ok(_), true) if self.is_audited(input, draw) => Asked::Audit,
            (Ok(_), true) => Asked::Sure,
            (Ok(_), false) => Asked::Unsure,
            (Err(_), _) => Asked::Failed,
        };
        let dear = match why {
            Asked::Sure => None,
            _ => Some(sum.add(self.dear.0.grade(input, draw, on_notice).await)),
        };
        let value = |scored: &Scored| scored.as_ref().ok().map(|score| score.value.clone());
        let told = Cascaded {
            why,
            cheap: value(&cheap.scored),
            dear: dear.as_ref().and_then(value),
            sureness: cheap.sureness,
            audit: self.audit,
        };
        let decided = match (why, dear) {
            (Asked::Unsure | Asked::Failed, Some(dear)) => dear,
            _ => cheap.scored,
        };
        let scored = match decided {
            Ok(mut score) => {
                Judged { cascade: Some(told), ..Judged::of(&score).unwrap_or_default() }.put(&mut score);
                Ok(score)
            }
            Err(unscored) => {
                let found = Judged::of_unscored(&unscored).unwrap_or_default();
                Err(Judged { cascade: Some(told), ..found }.put_unscored(unscored))
            }
        };
        Graded { scored, ..sum.graded }
    }

    fn asks(&self, input: &ScoreInput<'_>) -> Vec<AskSize> {
        let times = match self.sure_by {
            SureBy::Votes { draws, .. } => f64::from(draws),
            _ => 1.0,
        };
        let cheap = self.cheap.0.asks(input).into_iter();
        let cheap = cheap.map(|size| AskSize { least: size.least * times, most: size.most * times, ..size });
        let dear = self.dear.0.asks(input).into_iter();
        cheap.chain(dear.map(|size| AskSize { least: size.least * self.audit.get(), ..size })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Direction, Example, ExampleId, GraderKind, Output, Scale};

    /// Finds what it is told to, by draw.
    struct Says(Vec<(bool, Option<&'static str>)>);

    #[async_trait]
    impl Grade for Says {
        async fn grade(&self, _: &ScoreInput<'_>, draw: u32, _: OnNotice<'_>) -> Graded {
            let (pass, sure) = self.0[draw as usize % self.0.len()];
            let mut score = Score::pass(pass, "because");
            Judged { sure: sure.map(str::to_owned), ..Judged::default() }.put(&mut score);
            let spend = Spend { calls: 1, ..Spend::default() };
            Graded { scored: Ok(score), spend, cached: false, took_ms: 1, fatal: None }
        }
    }

    fn info() -> GraderInfo {
        GraderInfo {
            name: "g".into(),
            kind: GraderKind::Judge,
            component: "j".into(),
            version: "1".into(),
            digest: Digest::of(b"x"),
            scale: Scale::Binary,
            direction: Direction::Higher,
            draws: 1,
            model: Some("m".into()),
        }
    }

    async fn cascade(
        says: Vec<(bool, Option<&'static str>)>,
        by: SureBy,
        audit: f64,
        id: &str,
    ) -> (bool, Cascaded, u64) {
        let dear = (Arc::new(Says(vec![(false, None)])) as Arc<dyn Grade>, info());
        let cheap = (Arc::new(Says(says)) as Arc<dyn Grade>, info());
        let cascade = Cascade::new(cheap, dear, by, Finite::new(audit).unwrap(), 1);
        let example = Example::new(ExampleId::new(id), "q".into());
        let output = Output::of_text("a");
        let graded = cascade.grade(&ScoreInput { example: &example, output: &output }, 0, &|_| {}).await;
        let score = graded.scored.unwrap();
        (
            score.value == ScoreValue::Pass { pass: true },
            Judged::of(&score).unwrap().cascade.unwrap(),
            graded.spend.calls,
        )
    }

    #[tokio::test]
    async fn the_dear_judge_decides_where_the_cheap_one_is_not_sure() {
        let by = SureBy::Declared(Sure::High);
        let (pass, told, calls) = cascade(vec![(true, Some("high"))], by, 0.0, "e").await;
        assert_eq!((pass, told.why, calls), (true, Asked::Sure, 1));
        let (pass, told, calls) = cascade(vec![(true, Some("medium"))], by, 0.0, "e").await;
        assert_eq!((pass, told.why, calls), (false, Asked::Unsure, 2));
        let (_, told, _) = cascade(vec![(true, None)], by, 0.0, "e").await;
        assert_eq!((told.why, told.sureness.as_str()), (Asked::Unsure, "not said"), "silence is no sureness");
        let votes = SureBy::Votes { draws: 3, share: 1.0 };
        let (pass, told, calls) = cascade(vec![(true, None), (true, None), (false, None)], votes, 0.0, "e").await;
        assert_eq!((pass, told.why, calls), (false, Asked::Unsure, 4));
        let (pass, told, calls) = cascade(vec![(true, None)], votes, 0.0, "e").await;
        assert_eq!((pass, told.why, calls), (true, Asked::Sure, 3));
        let (_, told, _) = cascade(vec![(true, None)], SureBy::Probability(0.9), 0.0, "e").await;
        assert_eq!(told.why, Asked::Unsure);
    }

    #[tokio::test]
    async fn an_audit_changes_no_score_and_has_the_declared_share() {
        let mut audited = 0;
        for index in 0..2_000 {
            let by = SureBy::Declared(Sure::High);
            let (pass, told, _) = cascade(vec![(true, Some("high"))], by, 0.2, &format!("e{index}")).await;
            assert!(pass, "the cheap judge's score stands");
            if told.why == Asked::Audit {
                assert_eq!(told.dear, Some(ScoreValue::Pass { pass: false }));
                audited += 1;
            }
        }
        assert!((340..460).contains(&audited), "{audited}: 0.2 of 2,000 within three and a half standard errors");
    }
}
