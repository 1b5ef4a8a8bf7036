//! Batches: many questions handed over together, answered within a day at half the price.
//!
//! A [`Batched`] stands where a live endpoint would: each ask waits until its answer comes. Questions are gathered
//! until none has come for a moment, handed over, and the batch is looked after until it ends. What is under way is
//! written down **before** it is waited for, under the digest of each question, so that another process which asks the
//! same again takes up the old batch instead of paying twice. What a batch cannot answer, and handfuls that are not
//! worth one, are asked live.
//!
//! How a batch is handed over and collected is the affair of one file per interface. Retries are the client's.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::{AskKey, Attempted, ChatModel};
use crate::model::{ChatReply, ChatRequest, Digest, Failure, FailureKind, canonical_json};
use crate::sys::files::{append_line, read_text};

mod anthropic;
mod openai;

pub(super) use anthropic::AnthropicBatches;
pub(super) use openai::OpenAiBatches;

/// Most questions of one batch, and most bytes: below the limits of every service (50,000 and 100,000; 100 MB and more).
const MOST: usize = 20_000;
const MOST_BYTES: usize = 80 << 20;

/// Tells who waits: the answer, or that it must be asked live.
type Tell = oneshot::Sender<Option<Attempted>>;

/// How a service takes batches.
#[async_trait]
pub(super) trait BatchService: Send + Sync {
    /// The body of a question.
    fn body(&self, request: &ChatRequest) -> Value;

    /// Hands questions over, each under its name; gives the batch's name at the service.
    async fn submit(&self, questions: &[(String, Value)]) -> Result<String, Failure>;

    /// Whether a batch has ended, whatever way.
    async fn ended(&self, batch: &str) -> Result<bool, Failure>;

    /// What an ended batch answered, by name. Questions that are not in it were not answered.
    async fn collect(&self, batch: &str) -> Result<HashMap<String, Answered>, Failure>;
}

/// What a batch says to one question.
pub(super) enum Answered {
    /// The reply, read as the live one would be.
    Reply(Box<Attempted>),
    /// It failed in the batch; asked live it may not.
    Failed,
}

/// When a batch is worth it, and how often it is looked after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Fewer questions than this are asked live.
    pub least: usize,
    /// How long nothing must come before what is there is handed over.
    pub quiet: Duration,
    /// First wait between two looks; it grows to `slowest`.
    pub look: Duration,
    /// Longest wait between two looks.
    pub slowest: Duration,
    /// How long a batch is waited for.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            least: 20,
            quiet: Duration::from_secs(2),
            look: Duration::from_secs(10),
            slowest: Duration::from_secs(120),
            longest: Duration::from_secs(25 * 3600),
        }
    }
}

/// One line of the file of batches under way.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Noted {
    /// Handed over.
    Sent {
        /// Its name at the service.
        batch: String,
        /// Names of its questions.
        questions: Vec<String>,
    },
    /// Collected, or given up.
    Done {
        /// Its name at the service.
        batch: String,
    },
}

/// An endpoint that is asked in batches.
pub(super) struct Batched {
    live: Arc<dyn ChatModel>,
    inner: Arc<Inner>,
}

struct Inner {
    service: Box<dyn BatchService>,
    endpoint: String,
    identity: String,
    file: PathBuf,
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    gathered: Vec<Waiting>,
    /// Whether a task gathers already.
    gathering: bool,
    last_came: Option<Instant>,
    /// Questions of batches under way: the batch by question.
    under_way: HashMap<String, String>,
    /// Who waits for a question of a batch under way.
    waiting: HashMap<String, Vec<Tell>>,
    /// Batches that are looked after in this process.
    followed: BTreeMap<String, Vec<String>>,
}

struct Waiting {
    name: String,
    body: Value,
    tell: Tell,
}

impl Batched {
    /// Batches beside a live endpoint; takes up what the file says is under way.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(
        live: Arc<dyn ChatModel>,
        service: Box<dyn BatchService>,
        endpoint: &str,
        file: PathBuf,
        pace: Pace,
    ) -> Result<Self, String> {
        let mut under_way = HashMap::new();
        for (batch, questions) in unfinished(&file)? {
            under_way.extend(questions.into_iter().map(|question| (question, batch.clone())));
        }
        let state = Mutex::new(State { under_way, ..State::default() });
        let identity = live.identity();
        let inner = Inner { service, endpoint: endpoint.to_owned(), identity, file, pace, state };
        Ok(Self { live, inner: Arc::new(inner) })
    }

    /// The name of a question: the same in every process.
    fn name(&self, body: &Value, key: &AskKey) -> String {
        let text = format!("{} {} {} {}", self.inner.identity, canonical_json(body), key.asker.as_str(), key.draw);
        // Services take at most 64 characters of letters, digits, `_` and `-`.
        let digest = Digest::of(text.as_bytes());
        digest.as_str().chars().filter(char::is_ascii_alphanumeric).take(48).collect()
    }
}

/// Batches that were handed over and not collected, with their questions.
fn unfinished(file: &std::path::Path) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut open = BTreeMap::new();
    if !file.exists() {
        return Ok(open);
    }
    let text = read_text(file).map_err(|error| error.to_string())?;
    // A torn last line is a batch whose name was lost with the process: nothing can be done about it.
    for noted in text.lines().filter_map(|line| serde_json::from_str::<Noted>(line).ok()) {
        match noted {
            Noted::Sent { batch, questions } => {
                open.insert(batch, questions);
            }
            Noted::Done { batch } => {
                open.remove(&batch);
            }
        }
    }
    Ok(open)
}

#[async_trait]
impl ChatModel for Batched {
    async fn attempt(&self, request: &ChatRequest, timeout: Duration) -> Result<ChatReply, Failure> {
        self.live.attempt(request, timeout).await
    }

    async fn attempt_for(&self, request: &ChatRequest, key: &AskKey, timeout: Duration) -> Attempted {
        let body = self.inner.service.body(request);
        let name = self.name(&body, key);
        let (tell, told) = oneshot::channel();
        Inner::take(&self.inner, Waiting { name, body, tell });
        let latest = Instant::now() + self.inner.pace.longest;
        match timeout_at(latest, told).await {
            Ok(Ok(Some(answered))) => answered,
            Ok(Ok(None) | Err(_)) => self.live.attempt_for(request, key, timeout).await,
            Err(_) => {
                let hours = self.inner.pace.longest.as_secs() / 3600;
                let text = format!(
                    "endpoint `{}`: the batch did not end within {hours} h; the same run again takes it up",
                    self.inner.endpoint
                );
                Attempted::of(Err(Failure::new(FailureKind::Timeout, text)))
            }
        }
    }

    fn identity(&self) -> String {
        // A batch answers as the live endpoint does, and shares its cache.
        self.live.identity()
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.inner.pace.longest)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a batch under way that has the question, or gathers it for the next.
    fn take(this: &Arc<Self>, waiting: Waiting) {
        let mut state = this.state();
        if let Some(batch) = state.under_way.get(&waiting.name).cloned() {
            state.waiting.entry(waiting.name).or_default().push(waiting.tell);
            if !state.followed.contains_key(&batch) {
                let questions = state.under_way.iter().filter(|(_, of)| **of == batch).map(|(name, _)| name.clone());
                let questions = questions.collect();
                state.followed.insert(batch.clone(), questions);
                tokio::spawn(Self::follow(Arc::clone(this), batch));
            }
            return;
        }
        state.gathered.push(waiting);
        state.last_came = Some(Instant::now());
        if !state.gathering {
            state.gathering = true;
            tokio::spawn(Self::gather(Arc::clone(this)));
        }
    }

    /// Waits until nothing more comes, then hands over what is there.
    async fn gather(this: Arc<Self>) {
        loop {
            let (last, full) = {
                let state = this.state();
                (state.last_came.unwrap_or_else(Instant::now), state.gathered.len() >= MOST)
            };
            let ready = last + this.pace.quiet;
            if full || Instant::now() >= ready {
                break;
            }
            tokio::time::sleep_until(ready).await;
        }
        let gathered = {
            let mut state = this.state();
            state.gathering = false;
            std::mem::take(&mut state.gathered)
        };
        for part in parts(gathered) {
            Self::hand_over(&this, part).await;
        }
    }

    async fn hand_over(this: &Arc<Self>, part: Vec<Waiting>) {
        let mut questions: BTreeMap<String, (Value, Vec<Tell>)> = BTreeMap::new();
        for waiting in part {
            questions.entry(waiting.name).or_insert_with(|| (waiting.body, Vec::new())).1.push(waiting.tell);
        }
        let (mut bodies, mut tells) = (Vec::new(), Vec::new());
        for (name, (body, tell)) in questions {
            tells.push((name.clone(), tell));
            bodies.push((name, body));
        }
        if bodies.len() < this.pace.least {
            return answer_live(tells);
        }
        // A refused batch is no failure of its questions: the live endpoint tells what is wrong, if anything is.
        let Ok(batch) = this.service.submit(&bodies).await else { return answer_live(tells) };
        let names: Vec<String> = bodies.into_iter().map(|(name, _)| name).collect();
        // The batch is paid whether or not it is noted, so a full disk only costs the taking up.
        let _ = this.note(&Noted::Sent { batch: batch.clone(), questions: names.clone() });
        {
            let mut state = this.state();
            for (name, tell) in tells {
                state.under_way.insert(name.clone(), batch.clone());
                state.waiting.entry(name).or_default().extend(tell);
            }
            state.followed.insert(batch.clone(), names);
        }
        tokio::spawn(Self::follow(Arc::clone(this), batch));
    }

    /// Looks after a batch until it has ended, and tells everybody.
    async fn follow(this: Arc<Self>, batch: String) {
        let mut answers = this.wait_for(&batch).await;
        let _ = this.note(&Noted::Done { batch: batch.clone() });
        let mut state = this.state();
        for name in state.followed.remove(&batch).unwrap_or_default() {
            state.under_way.remove(&name);
            let mut tells = state.waiting.remove(&name).unwrap_or_default();
            let answered = match answers.remove(&name) {
                Some(Answered::Reply(attempted)) => Some(Attempted { batched: true, ..*attempted }),
                Some(Answered::Failed) | None => None,
            };
            // Identical asks are one in the client already, so all but one are rare: the answer goes to the first.
            if let Some(first) = tells.pop() {
                let _ = first.send(answered);
            }
            for tell in tells {
                let _ = tell.send(None);
            }
        }
    }

    async fn wait_for(&self, batch: &str) -> HashMap<String, Answered> {
        let mut wait = self.pace.look;
        let latest = Instant::now() + self.pace.longest;
        while Instant::now() < latest {
            sleep(wait).await;
            wait = (wait * 2).min(self.pace.slowest);
            match self.service.ended(batch).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(failure) if failure.kind.is_transient() => continue,
                Err(_) => break,
            }
            match self.service.collect(batch).await {
                Ok(answers) => return answers,
                Err(failure) if failure.kind.is_transient() => {}
                Err(_) => break,
            }
        }
        HashMap::new()
    }

    fn note(&self, noted: &Noted) -> Result<(), String> {
        let line = serde_json::to_string(noted).map_err(|error| error.to_string())?;
        // On a line of its own, even behind the torn one of a process that was killed while writing.
        append_line(&self.file, &format!("\n{line}")).map_err(|error| error.to_string())
    }
}

fn answer_live(tells: Vec<(String, Vec<Tell>)>) {
    for tell in tells.into_iter().flat_map(|(_, tells)| tells) {
        // Who has gone away needs no answer.
        let _ = tell.send(None);
    }
}

/// Questions in batches that every service takes.
fn parts(gathered: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut parts: Vec<Vec<Waiting>> = Vec::new();
    let mut bytes = 0;
    for waiting in gathered {
        let size = waiting.body.to_string().len() + 200;
        match parts.last_mut().filter(|part| part.len() < MOST && bytes + size <= MOST_BYTES) {
            Some(part) => {
                bytes += size;
                part.push(waiting);
            }
            None => {
                bytes = size;
                parts.push(vec![waiting]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests;
