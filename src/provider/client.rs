//! The one way models are asked: cache, limits, the one retry layer, recording, money.
//!
//! Knows neither wire formats nor what is asked. One client stands for one endpoint, so that its limits hold for all
//! who ask there.
//!
//! **Key of the cache**: wire format and address, the whole request, asker and draw. A changed byte in prompt, model
//! or parameters, a further draw, a changed judge or another server is asked anew.
//!
//! **What counts as an attempt**: all of them, except that a refusal for rate does not count while the endpoint goes
//! on answering others: then the call is not failing, it is waiting its turn, and only the deadline ends it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Map;
use tokio::time::{Instant, sleep};

use super::cassette::request_digest;
use super::flight::Flights;
use super::limits::{Gate, Permit};
use super::{
    Answer, AskKey, Attempted, CacheEntry, CacheUse, ChatModel, Notice, OnNotice, Recorder, Recording, ReplyCache,
};
use crate::model::{
    AnswerFormat, ChatMessage, ChatReply, ChatRequest, Digest, Digester, Failure, FailureKind, Role, Spend, Usage,
};
use crate::sys::RetryPolicy;

mod builder;
mod hedging;
mod tally;

pub use builder::{ClientBuilder, PriceFn};
pub use hedging::{Hedge, Thrift};
use hedging::{Hedging, Sent, Twin};
pub use tally::ClientStats;
use tally::{Counters, count};

/// Most attempts whatever counts: an end even where every refusal is somebody else's answer.
const MOST_ATTEMPTS: u32 = 100;

/// Share of the price that an answer of a batch costs, at every service that takes batches.
const BATCH_PRICE: f64 = 0.5;

/// Asks one endpoint: cache, limits, retries, recording, money.
pub struct Client {
    model: Arc<dyn ChatModel>,
    endpoint: String,
    retry: RetryPolicy,
    deadline: Duration,
    gate: Gate,
    cache: Option<(Arc<ReplyCache>, CacheUse)>,
    recorder: Option<Arc<Recorder>>,
    price: Option<PriceFn>,
    hedging: Option<Hedging>,
    flights: Flights<Result<Answer, Failure>>,
    counters: Counters,
}

impl Client {
    /// Asks; gives the last failure when all attempts failed. Every failed attempt is a notice, the last one with no
    /// further attempt announced; so is a parameter that the server refused and that is left out from then on.
    ///
    /// What a failed ask cost is in [`ClientStats::lost`]. Dropping the future stops the call; a server may bill it
    /// nevertheless.
    pub async fn ask(&self, request: &ChatRequest, key: &AskKey, on_notice: OnNotice<'_>) -> Result<Answer, Failure> {
        count(&self.counters.asks);
        let cache_key = self.cache_key(request, key);
        let alone = self.ask_alone(request, key, &cache_key, on_notice);
        let (result, asked_here) = self.flights.share(&cache_key, alone).await;
        if asked_here {
            return result;
        }
        count(&self.counters.shared);
        result.map(|answer| Answer { spend: Spend::default(), cached: true, ..answer })
    }

    /// Finds out with one tiny question, past cache and recording, whether the endpoint answers for a model. Gives
    /// the name under which it answered.
    pub async fn smoke(&self, model: &str) -> Result<String, Failure> {
        if let Some(known) = self.model.knows(model) {
            return known.map(|()| model.to_owned());
        }
        let request = ChatRequest {
            model: model.to_owned(),
            messages: vec![ChatMessage { role: Role::User, content: "Reply with the word ok.".to_owned() }],
            answer: AnswerFormat::Text,
            temperature: None,
            max_tokens: Some(16),
            seed: None,
            top_logprobs: None,
            extra: Map::new(),
        };
        let key = AskKey { asker: Digest::of(b"smoke"), draw: 0 };
        let digest = self.cache_key(&request, &key);
        let answer = self.ask_live(&request, &key, &digest, &|_| {}).await?;
        Ok(answer.reply.model.unwrap_or(request.model))
    }

    /// What a reply costs by the price table, whether or not it was paid now; `None` when not known. The name that
    /// was asked for is looked up first, then the one that answered.
    pub fn cost_usd(&self, asked: &str, reply: &ChatReply) -> Option<f64> {
        self.price_of(asked, reply.model.as_deref(), &reply.usage)
    }

    /// Name of the endpoint in the configuration.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What of the endpoint can change an answer; for digests of those who ask.
    pub fn identity(&self) -> String {
        self.model.identity()
    }

    /// Whether answers may take far longer than calls do: they come in batches.
    pub fn waits_long(&self) -> bool {
        self.model.patience().is_some()
    }

    async fn ask_alone(
        &self,
        request: &ChatRequest,
        key: &AskKey,
        cache_key: &Digest,
        on_notice: OnNotice<'_>,
    ) -> Result<Answer, Failure> {
        if let Some(answer) = self.look_up(cache_key).await {
            count(&self.counters.cache_hits);
            self.record(request, key, &answer);
            return Ok(answer);
        }
        let answer = self.ask_live(request, key, cache_key, on_notice).await?;
        if let Some((cache, CacheUse::ReadWrite | CacheUse::Refresh)) = &self.cache {
            let entry = CacheEntry { reply: answer.reply.clone(), took_ms: answer.took_ms };
            cache.put(cache_key, &key.asker, &request.model, &entry).await;
        }
        self.record(request, key, &answer);
        Ok(answer)
    }

    async fn look_up(&self, key: &Digest) -> Option<Answer> {
        let (cache, CacheUse::ReadWrite | CacheUse::ReadOnly) = self.cache.as_ref()? else { return None };
        let entry = cache.get(key).await?;
        Some(Answer { reply: entry.reply, spend: Spend::default(), cached: true, took_ms: entry.took_ms })
    }

    fn record(&self, request: &ChatRequest, key: &AskKey, answer: &Answer) {
        let Some(recorder) = &self.recorder else { return };
        let recording = Recording::new(request, key, answer.reply.clone(), answer.took_ms);
        if let Err(error) = recorder.record(&recording) {
            let mut warning = self.counters.record_warning.lock().unwrap_or_else(PoisonError::into_inner);
            warning.get_or_insert_with(|| format!("an answer could not be recorded: {error}"));
        }
    }

    /// Asks the endpoint until it answers; `digest` only seeds the jitter of the waits.
    async fn ask_live(
        &self,
        request: &ChatRequest,
        key: &AskKey,
        digest: &Digest,
        on_notice: OnNotice<'_>,
    ) -> Result<Answer, Failure> {
        let mut call = Call { latest: Instant::now() + self.deadline, attempt: 0, counted: 0, spend: Spend::default() };
        loop {
            call.attempt += 1;
            let jitter = uniform(digest, call.attempt);
            let answered_before = self.counters.answered.load(Ordering::Relaxed);
            let failure = match self.attempt(request, key, &mut call, jitter, on_notice).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let others_are_answered = self.counters.answered.load(Ordering::Relaxed) > answered_before;
            if failure.kind != FailureKind::RateLimited || !others_are_answered {
                call.counted += 1;
            }
            let (failure, wait) = self.wait_after(&call, failure, jitter);
            on_notice(Notice { attempt: call.attempt, failure: failure.clone(), retry_in: wait });
            let Some(wait) = wait else {
                self.counters.lost.lock().unwrap_or_else(PoisonError::into_inner).add(&call.spend);
                return Err(failure);
            };
            count(&self.counters.retries);
            sleep(wait).await;
        }
    }

    /// The wait before the next attempt, or none with the reason in the failure.
    fn wait_after(&self, call: &Call, mut failure: Failure, jitter: f64) -> (Failure, Option<Duration>) {
        let most = self.retry.max_attempts.max(1);
        if call.counted >= most || call.attempt >= MOST_ATTEMPTS || most == 1 {
            return (failure, None);
        }
        // Refusals that do not count lengthen the wait all the same.
        let wait = self.retry.delay(call.attempt.min(most - 1), &failure, jitter);
        match wait {
            Some(wait) if Instant::now() + wait > call.latest => {
                let text = format!(
                    "; not tried again, because the next attempt in {:.0} s would lie beyond the deadline of {:.0} s",
                    wait.as_secs_f64(),
                    self.deadline.as_secs_f64()
                );
                failure.message.push_str(&text);
                (failure, None)
            }
            wait => (failure, wait),
        }
    }

    async fn attempt(
        &self,
        request: &ChatRequest,
        key: &AskKey,
        call: &mut Call,
        jitter: f64,
        on_notice: OnNotice<'_>,
    ) -> Result<Answer, Failure> {
        let entered = self.gate.enter(estimate(request), call.latest, self.retry.base, jitter).await;
        let permit = entered.map_err(|wait| self.rests_too_long(wait))?;
        if call.attempt == 1 {
            // Waiting in line behind others is not a part of this call.
            call.latest = Instant::now() + self.deadline;
        }
        count(&self.counters.attempts);
        let Sent { attempted, permit, took_ms, twin } = self.send(request, key, permit).await;
        let dropped = matches!(twin, Twin::Dropped);
        if let Twin::Failed(attempted, permit) = twin
            && let Err(failure) = self.take_in(*attempted, request, call, on_notice)
        {
            self.heed(&permit, &failure);
            on_notice(Notice { attempt: call.attempt, failure, retry_in: Some(Duration::ZERO) });
        }
        let (batched, recorded_ms) = (attempted.batched, attempted.recorded_ms);
        match self.take_in(attempted, request, call, on_notice) {
            Ok(reply) => {
                count(&self.counters.answered);
                permit.answered(reply.usage.total());
                if recorded_ms.is_none() {
                    let cost = self.cost_usd(&request.model, &reply);
                    let cost = cost.map(|cost| if batched { cost * BATCH_PRICE } else { cost });
                    call.spend.add(&Spend::of_call(reply.usage.clone(), cost));
                    if dropped {
                        self.note_dropped(cost);
                        call.spend.add(&Spend::of_call(Usage::default(), None));
                    }
                }
                let took_ms = recorded_ms.unwrap_or(took_ms);
                Ok(Answer { reply, spend: std::mem::take(&mut call.spend), cached: false, took_ms })
            }
            Err(failure) => {
                self.heed(&permit, &failure);
                Err(failure)
            }
        }
    }

    /// Takes in what an attempt says beside its result: limits, notes, what was billed for nothing.
    fn take_in(
        &self,
        attempted: Attempted,
        request: &ChatRequest,
        call: &mut Call,
        on_notice: OnNotice<'_>,
    ) -> Result<ChatReply, Failure> {
        self.gate.heed(&attempted.allowance);
        for failure in attempted.notes {
            on_notice(Notice { attempt: call.attempt, failure, retry_in: Some(Duration::ZERO) });
        }
        if let Some(usage) = attempted.wasted {
            let cost = self.price_of(&request.model, None, &usage);
            call.spend.add(&Spend::of_call(usage, cost));
        }
        attempted.result
    }

    /// A request was dropped for its faster twin. The spend says that nobody knows what it cost; limits of money count
    /// it at its twin's price.
    fn note_dropped(&self, cost: Option<f64>) {
        let mut dropped = self.counters.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.add(&Spend::of_call(Usage::default(), cost));
    }

    /// Draws the conclusions for the whole endpoint.
    fn heed(&self, permit: &Permit<'_>, failure: &Failure) {
        if failure.kind == FailureKind::RateLimited {
            count(&self.counters.throttled);
            permit.throttled();
        }
        if let Some(wait) = failure.retry_after_ms {
            self.gate.rest(Duration::from_millis(wait));
        }
    }

    fn rests_too_long(&self, wait: Duration) -> Failure {
        let text = format!(
            "endpoint `{}` asked to be left alone for {:.0} s more, which is beyond the deadline of {:.0} s",
            self.endpoint,
            wait.as_secs_f64(),
            self.deadline.as_secs_f64()
        );
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Failure::new(FailureKind::RateLimited, text).retry_after_ms(Some(wait))
    }

    fn price_of(&self, asked: &str, answered: Option<&str>, usage: &Usage) -> Option<f64> {
        let price = self.price.as_ref().filter(|_| !usage.is_unknown())?;
        price(asked, usage).or_else(|| price(answered?, usage)).filter(|cost| cost.is_finite())
    }

    fn cache_key(&self, request: &ChatRequest, key: &AskKey) -> Digest {
        Digester::new()
            .part("endpoint", self.model.identity().as_bytes())
            .part("request", request_digest(request).as_str().as_bytes())
            .part("asker", key.asker.as_str().as_bytes())
            .part("draw", &key.draw.to_le_bytes())
            .finish()
    }
}

/// One ask under way.
struct Call {
    latest: Instant,
    attempt: u32,
    counted: u32,
    spend: Spend,
}

/// A number from [0, 1) that is the same in every run: waits are spread and yet repeatable.
fn uniform(digest: &Digest, attempt: u32) -> f64 {
    let mixed = Digester::new().part(digest.as_str(), &attempt.to_le_bytes()).finish();
    let bits = mixed.as_str().get(3..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    bits as f64 / (1_u64 << 52) as f64
}

/// Tokens a call will use, roughly: four characters each, and the answer at its limit. Corrected after the call.
fn estimate(request: &ChatRequest) -> u64 {
    let read: usize = request.messages.iter().map(|message| message.content.len()).sum();
    (read as u64) / 4 + u64::from(request.max_tokens.unwrap_or(256))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::model::FinishReason;

    /// Gives the scripted failures one after another, then answers.
    struct Scripted(Mutex<Vec<Failure>>);

    #[async_trait]
    impl ChatModel for Scripted {
        async fn attempt(&self, request: &ChatRequest, _timeout: Duration) -> Result<ChatReply, Failure> {
            let failure = self.0.lock().unwrap().pop();
            match failure {
                Some(failure) => Err(failure),
                None => Ok(ChatReply {
                    text: "ok".to_owned(),
                    finish: FinishReason::Stop,
                    model: Some(format!("{}-2026", request.model)),
                    usage: Usage { input: Some(10), output: Some(5), ..Usage::default() },
                    tokens: None,
                }),
            }
        }
    }

    fn client(failures: Vec<Failure>) -> ClientBuilder {
        Client::builder(Arc::new(Scripted(Mutex::new(failures))))
    }

    fn request() -> ChatRequest {
        ChatRequest {
            model: "m".to_owned(),
            messages: vec![ChatMessage { role: Role::User, content: "q".to_owned() }],
            answer: AnswerFormat::Text,
            temperature: None,
            max_tokens: None,
            seed: None,
            top_logprobs: None,
            extra: Map::new(),
        }
    }

    fn key() -> AskKey {
        AskKey { asker: Digest::of(b"test"), draw: 0 }
    }

    #[test]
    fn jitter_is_repeatable_and_spread() {
        let draws: Vec<f64> = (1..=100).map(|attempt| uniform(&Digest::of(b"x"), attempt)).collect();
        assert_eq!(draws[0], uniform(&Digest::of(b"x"), 1));
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 100.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }

    #[tokio::test]
    async fn the_dated_name_has_a_price_when_the_asked_one_has_none() {
        let price: PriceFn = Arc::new(|model, usage| (model == "m-2026").then(|| usage.total().unwrap() as f64));
        let client = client(Vec::new()).price(price).build();
        let answer = client.ask(&request(), &key(), &|_| {}).await.unwrap();
        assert_eq!((answer.spend.cost_usd, answer.spend.unpriced_calls), (15.0, 0));
    }

    #[tokio::test]
    async fn a_wait_beyond_the_deadline_is_not_begun() {
        let refusal = Failure::new(FailureKind::RateLimited, "429").retry_after_ms(Some(86_400_000));
        let client = client(vec![refusal]).endpoint("e").build();
        let failure = client.ask(&request(), &key(), &|_| {}).await.unwrap_err();
        assert!(failure.message.contains("beyond the deadline"), "{failure}");
        let failure = client.ask(&request(), &key(), &|_| {}).await.unwrap_err();
        assert!(failure.message.contains("`e` asked to be left alone"), "{failure}");
        assert_eq!(client.stats().attempts, 1, "the second ask was not even sent");
    }

    #[tokio::test]
    async fn notices_tell_every_failed_attempt_and_the_last() {
        let failures = vec![Failure::new(FailureKind::Server, "500"); 3];
        let client = client(failures)
            .retry(RetryPolicy { max_attempts: 3, base: Duration::from_millis(1), ..RetryPolicy::default() })
            .build();
        let told = Mutex::new(Vec::new());
        let tell = |notice: Notice| told.lock().unwrap().push((notice.attempt, notice.retry_in.is_some()));
        client.ask(&request(), &key(), &tell).await.unwrap_err();
        assert_eq!(*told.lock().unwrap(), [(1, true), (2, true), (3, false)]);
    }
}
