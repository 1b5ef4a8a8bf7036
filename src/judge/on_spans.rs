//! A judge on chosen spans of a trace: each span as if it were the output. How findings are combined is the scorers' rule.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;

use super::{AskSize, Grade, Graded};
use crate::model::{CombineSpans, Digester, GraderInfo, ScoreInput, SpanChoice, Spend, canonical_json};
use crate::provider::OnNotice;
use crate::scorer::{choose, combine, combined};

/// A judge on the spans of a choice.
pub struct JudgeOnSpans {
    inner: Arc<dyn Grade>,
    choice: SpanChoice,
    how: Option<CombineSpans>,
}

impl JudgeOnSpans {
    /// The judge, and how it enters a run's header.
    ///
    /// # Errors
    /// What the judge gives cannot be combined so.
    pub fn new(inner: Arc<dyn Grade>, info: GraderInfo, choice: SpanChoice) -> Result<(GraderInfo, Self), String> {
        let (how, scale) = combined(&choice, &info.scale)?;
        let info = GraderInfo { digest: digest_on(&info, &choice), scale, ..info };
        Ok((info, Self { inner, choice, how }))
    }
}

/// The digest of a grader with the choice of its spans.
pub fn digest_on(info: &GraderInfo, choice: &SpanChoice) -> crate::model::Digest {
    let choice = serde_json::to_value(choice).unwrap_or_default();
    let digester = Digester::new().part("grader", info.digest.as_str().as_bytes());
    digester.part("on", canonical_json(&choice).as_bytes()).finish()
}

#[async_trait]
impl Grade for JudgeOnSpans {
    async fn grade(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>) -> Graded {
        let free = |scored| Graded { scored, spend: Spend::default(), cached: false, took_ms: 0, fatal: None };
        let chosen = match choose(&self.choice, input.output) {
            Ok(chosen) => chosen,
            Err(unscored) => return free(Err(unscored)),
        };
        let asked = chosen.iter().map(|one| async move {
            let input = ScoreInput { example: input.example, output: &one.output };
            self.inner.grade(&input, draw, on_notice).await
        });
        let graded = join_all(asked).await;
        let mut whole = free(Err(crate::model::Unscored::not_applicable("")));
        whole.cached = graded.iter().all(|one| one.cached);
        let mut found = Vec::with_capacity(graded.len());
        for (chosen, one) in chosen.into_iter().zip(graded) {
            whole.spend.add(&one.spend);
            whole.took_ms = whole.took_ms.saturating_add(one.took_ms);
            whole.fatal = whole.fatal.or(one.fatal);
            found.push((chosen, one.scored));
        }
        whole.scored = combine(self.how, found);
        whole
    }

    fn asks(&self, input: &ScoreInput<'_>) -> Vec<AskSize> {
        let chosen = choose(&self.choice, input.output).unwrap_or_default();
        let ask =
            |one: &crate::scorer::Chosen| self.inner.asks(&ScoreInput { example: input.example, output: &one.output });
        chosen.iter().flat_map(ask).collect()
    }
}
