//! One question of a judge to its model: retries of form, room and temperature, and what they cost.
//!
//! At most five asks per question: the question, once more with twice the room when it was cut off, one repair that sees
//! only the raw reply, one fresh question (methods 3.3), and once without a temperature where the model takes none.
//! Retries of failed calls are the client's. Never maps a failure to a score.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::judge::JudgeModel;
use crate::model::{
    AnswerFormat, ChatMessage, ChatReply, ChatRequest, Digest, Failure, FailureKind, FinishReason, Spend, Unscored,
    UnscoredReason,
};
use crate::provider::{AskKey, Client, OnNotice};
use crate::rubric::{FRESH_NOTE, ReplyProblem};

/// The form of a reply: what is asked for, how it is read, how it is mended.
pub(super) trait Form: Send + Sync {
    /// What a reply holds.
    type Found: Send;

    /// The form of the answer.
    fn answer(&self) -> AnswerFormat;

    /// How many likely tokens are asked for at each place.
    fn top_logprobs(&self) -> Option<u8> {
        None
    }

    /// Reads a reply.
    fn read(&self, reply: &ChatReply) -> Result<Self::Found, ReplyProblem>;

    /// Messages that have a raw reply put into form; `None` where a fresh question is the only mend.
    fn repair(&self, _raw: &str) -> Option<Vec<ChatMessage>> {
        None
    }

    /// Whether a repaired reply only says what the raw one said.
    fn stands_in(&self, _found: &Self::Found, _raw: &str) -> bool {
        false
    }
}

/// A client, a model and what was learnt about it.
pub(super) struct Asker {
    client: Arc<Client>,
    /// The model.
    pub(super) model: JudgeModel,
    /// Set once the model has refused a temperature; some current models take none.
    no_temperature: AtomicBool,
}

impl Asker {
    pub(super) fn new(client: Arc<Client>, model: JudgeModel) -> Self {
        Self { client, model, no_temperature: AtomicBool::new(false) }
    }

    /// Whether the model takes no temperature although one is set.
    pub(super) fn lost_temperature(&self) -> bool {
        self.model.temperature.is_some() && self.no_temperature.load(Ordering::Relaxed)
    }

    fn request(&self, messages: Vec<ChatMessage>, answer: AnswerFormat, top: Option<u8>, draw: u32) -> ChatRequest {
        let refused = self.no_temperature.load(Ordering::Relaxed);
        ChatRequest {
            model: self.model.name.clone(),
            messages,
            answer,
            temperature: self.model.temperature.filter(|_| !refused),
            max_tokens: Some(self.model.max_tokens),
            seed: self.model.seed.map(|seed| seed.wrapping_add(u64::from(draw))),
            top_logprobs: top,
            extra: self.model.extra.clone(),
        }
    }
}

/// Why a cell ends without a score.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// The reason.
    pub(super) unscored: Unscored,
    /// The failure that every further cell would meet too.
    pub(super) fatal: Option<Failure>,
}

impl End {
    pub(super) fn of(reason: UnscoredReason, detail: impl Into<String>) -> Self {
        Self { unscored: Unscored::new(reason, detail), fatal: None }
    }
}

impl From<ReplyProblem> for End {
    fn from(problem: ReplyProblem) -> Self {
        Self::of(problem.reason, problem.detail)
    }
}

impl From<Unscored> for End {
    fn from(unscored: Unscored) -> Self {
        Self { unscored, fatal: None }
    }
}

/// The asks of one cell with their sums.
pub(super) struct Asking<'a> {
    asker: &'a Asker,
    key: AskKey,
    on_notice: OnNotice<'a>,
    /// What they cost.
    pub(super) spend: Spend,
    /// Whether every answer came from the cache.
    pub(super) cached: bool,
    /// Milliseconds of model time.
    pub(super) took_ms: u64,
    /// How many there were.
    pub(super) asks: u32,
    /// Whether a reply was put into form by a further ask.
    pub(super) repaired: bool,
    /// The model that answered last, where said.
    pub(super) answered_by: Option<String>,
    widened: bool,
}

impl<'a> Asking<'a> {
    pub(super) fn new(asker: &'a Asker, digest: &Digest, draw: u32, on_notice: OnNotice<'a>) -> Self {
        Self {
            asker,
            key: AskKey { asker: digest.clone(), draw },
            on_notice,
            spend: Spend::default(),
            cached: true,
            took_ms: 0,
            asks: 0,
            repaired: false,
            answered_by: None,
            widened: false,
        }
    }

    /// The question, one repair, one fresh question.
    pub(super) async fn question<F: Form>(&mut self, form: &F, messages: &[ChatMessage]) -> Result<F::Found, End> {
        let raw = self.reply(form, messages.to_vec()).await?;
        let problem = match form.read(&raw) {
            Ok(found) => return Ok(found),
            Err(problem) if problem.reason == UnscoredReason::CannotJudge => return Err(problem.into()),
            Err(problem) => problem,
        };
        if problem.repairable
            && let Some(found) = self.repair(form, &raw.text).await?
        {
            self.repaired = true;
            return Ok(found);
        }
        // The note makes the question another one, so that the cache does not give the same reply again.
        let mut again = messages.to_vec();
        if let Some(last) = again.last_mut() {
            last.content.push_str(FRESH_NOTE);
        }
        let raw = self.reply(form, again).await?;
        Ok(form.read(&raw)?)
    }

    /// Has a raw reply put into form by a model that does not see the material. `None` when that gives nothing, or
    /// something that the raw reply does not hold.
    async fn repair<F: Form>(&mut self, form: &F, raw: &str) -> Result<Option<F::Found>, End> {
        let Some(messages) = form.repair(raw) else { return Ok(None) };
        let repaired = match self.reply(form, messages).await {
            Ok(reply) => form.read(&reply).ok(),
            // The fresh question may still go through, unless nothing will.
            Err(end) if end.fatal.is_none() => None,
            Err(end) => return Err(end),
        };
        Ok(repaired.filter(|found| form.stands_in(found, raw)))
    }

    /// One question to its reply; asks once more with twice the room when the reply was cut off.
    async fn reply<F: Form>(&mut self, form: &F, messages: Vec<ChatMessage>) -> Result<ChatReply, End> {
        let mut request = self.asker.request(messages, form.answer(), form.top_logprobs(), self.key.draw);
        if self.widened {
            request.max_tokens = request.max_tokens.map(|tokens| tokens.saturating_mul(2));
        }
        let mut reply = self.ask(&mut request).await?;
        if reply.finish == FinishReason::Length && !self.widened {
            self.widened = true;
            request.max_tokens = request.max_tokens.map(|tokens| tokens.saturating_mul(2));
            reply = self.ask(&mut request).await?;
        }
        match reply.finish {
            FinishReason::Length => {
                let room = request.max_tokens.unwrap_or_default();
                let detail = format!("the reply is longer than {room} tokens; raise `max_tokens` of the judge");
                Err(End::of(UnscoredReason::ReplyTruncated, detail))
            }
            FinishReason::ContentFilter => Err(End::of(UnscoredReason::ContentFilter, "the content filter cut in")),
            FinishReason::Refusal => Err(End::of(UnscoredReason::JudgeRefused, excerpt(&reply.text))),
            FinishReason::Stop | FinishReason::ToolCall | FinishReason::Other => Ok(reply),
        }
    }

    /// One ask; once more without a temperature when the model takes none.
    async fn ask(&mut self, request: &mut ChatRequest) -> Result<ChatReply, End> {
        let client = &self.asker.client;
        let mut answer = client.ask(request, &self.key, self.on_notice).await;
        if request.temperature.is_some() && answer.as_ref().is_err_and(refuses_temperature) {
            self.asker.no_temperature.store(true, Ordering::Relaxed);
            request.temperature = None;
            answer = client.ask(request, &self.key, self.on_notice).await;
        }
        let answer = answer.map_err(|failure| end_of_failure(&failure))?;
        self.spend.add(&answer.spend);
        self.cached &= answer.cached;
        self.took_ms = self.took_ms.saturating_add(answer.took_ms);
        self.asks += 1;
        self.answered_by = answer.reply.model.clone();
        Ok(answer.reply)
    }
}

fn refuses_temperature(failure: &Failure) -> bool {
    failure.kind == FailureKind::BadRequest && failure.message.to_ascii_lowercase().contains("temperature")
}

/// The reason of a failed call. Nothing becomes a score.
fn end_of_failure(failure: &Failure) -> End {
    let too_long = || {
        let message = failure.message.to_ascii_lowercase();
        let signs = [
            "context_length",
            "context length",
            "context window",
            "prompt is too long",
            "too many tokens",
            "maximum context",
            "input is too long",
        ];
        signs.iter().any(|sign| message.contains(sign))
    };
    let reason = match failure.kind {
        FailureKind::Timeout => UnscoredReason::Timeout,
        FailureKind::RateLimited => UnscoredReason::RateLimited,
        FailureKind::Refused => UnscoredReason::JudgeRefused,
        FailureKind::ContentFilter => UnscoredReason::ContentFilter,
        FailureKind::NotRecorded => UnscoredReason::NotRecorded,
        FailureKind::BadRequest if too_long() => UnscoredReason::InputTooLong,
        FailureKind::Server
        | FailureKind::Connection
        | FailureKind::BadReply
        | FailureKind::Untrusted
        | FailureKind::Auth
        | FailureKind::NotFound
        | FailureKind::BadRequest
        | FailureKind::TargetError
        | FailureKind::BudgetSpent
        | FailureKind::Cancelled => UnscoredReason::ProviderFailed,
    };
    // A spent budget and a stopped run meet every further cell just as a wrong key does.
    let stops =
        failure.kind.stops_the_run() || matches!(failure.kind, FailureKind::BudgetSpent | FailureKind::Cancelled);
    End { unscored: Unscored::new(reason, failure.message.clone()), fatal: stops.then(|| failure.clone()) }
}

fn excerpt(text: &str) -> String {
    if text.trim().is_empty() {
        return "the judge's model refused without a word".to_owned();
    }
    crate::sys::text::one_line(text, 300)
}
