//! The forms of replies a judge asks for, each with its reading and its mend.

use serde_json::Value;

use super::asking::Form;
use crate::model::{AnswerFormat, ChatMessage, ChatReply, TokenChance, UnscoredReason};
use crate::rubric::{
    Criterion, ExpectedScore, Judgement, ReplyProblem, RubricScale, Sheet, nonce, parse_alone, parse_reply,
    parse_sheet, repair_messages, stands_in,
};

fn json_answer(schema: &Value) -> AnswerFormat {
    AnswerFormat::Json { name: "judgement".to_owned(), schema: schema.clone() }
}

/// Evidence, reasons and one score.
pub(super) struct OneScore<'a> {
    pub(super) scale: &'a RubricScale,
    pub(super) schema: &'a Value,
    /// Likely tokens to ask for, where somebody will look at them.
    pub(super) top: Option<u8>,
}

impl Form for OneScore<'_> {
    type Found = (Judgement, Vec<TokenChance>);

    fn answer(&self) -> AnswerFormat {
        json_answer(self.schema)
    }

    fn top_logprobs(&self) -> Option<u8> {
        self.top
    }

    fn read(&self, reply: &ChatReply) -> Result<Self::Found, ReplyProblem> {
        let tokens = self.top.and(reply.tokens.clone()).unwrap_or_default();
        Ok((parse_reply(self.scale, &reply.text)?, tokens))
    }

    fn repair(&self, raw: &str) -> Option<Vec<ChatMessage>> {
        Some(repair_messages(self.scale, raw, &nonce(&[raw])))
    }

    fn stands_in(&self, (judgement, _): &Self::Found, raw: &str) -> bool {
        stands_in(&judgement.value, raw)
    }
}

/// The score alone, with the probabilities of its tokens.
pub(super) struct ScoreAlone<'a> {
    pub(super) scale: &'a RubricScale,
    pub(super) expected: &'a ExpectedScore,
}

impl Form for ScoreAlone<'_> {
    type Found = (Judgement, Vec<TokenChance>);

    fn answer(&self) -> AnswerFormat {
        AnswerFormat::Text
    }

    fn top_logprobs(&self) -> Option<u8> {
        Some(self.expected.top)
    }

    fn read(&self, reply: &ChatReply) -> Result<Self::Found, ReplyProblem> {
        Ok((parse_alone(self.scale, &reply.text)?, reply.tokens.clone().unwrap_or_default()))
    }
}

/// Evidence, reasons and a score for each criterion.
pub(super) struct Criteria<'a> {
    pub(super) criteria: &'a [Criterion],
    pub(super) schema: &'a Value,
}

impl Form for Criteria<'_> {
    type Found = Sheet;

    fn answer(&self) -> AnswerFormat {
        json_answer(self.schema)
    }

    fn read(&self, reply: &ChatReply) -> Result<Self::Found, ReplyProblem> {
        parse_sheet(self.criteria, &reply.text)
    }
}

/// Free text that is not judged.
pub(super) struct FreeText;

impl Form for FreeText {
    type Found = String;

    fn answer(&self) -> AnswerFormat {
        AnswerFormat::Text
    }

    fn read(&self, reply: &ChatReply) -> Result<Self::Found, ReplyProblem> {
        let text = reply.text.trim();
        if text.is_empty() {
            let detail = "the summary of the material is empty".to_owned();
            return Err(ReplyProblem { reason: UnscoredReason::ReplyUnreadable, detail, repairable: false });
        }
        Ok(text.to_owned())
    }
}
