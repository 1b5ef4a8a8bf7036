//! Doubles: examples, targets, graders, stores and listeners that do as a test tells them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use assize::compare::{Fold, RunResults};
use assize::judge::{Grade, Graded};
use assize::model::{
    Digest, Event, Example, ExampleId, Failure, GraderKind, JournalEntry, Output, RunHeader, RunId, RunTotals, Score,
    ScoreInput, Scored, Spend, TargetInfo, TrialKey, Usage,
};
use assize::provider::OnNotice;
use assize::runner::{Control, Examples, Grader, Job, Listener, Mode, Options, RunError, RunOutcome, Work, execute};
use assize::scorer::Scorer;
use assize::store::{
    self, AuditEntry, AuditRecord, Baseline, OutboxAdded, OutboxEntry, OutboxMark, OutboxPut, OutboxState, RunSummary,
    Store, StoreError,
};
use assize::sys::{FixedClock, RetryPolicy};
use assize::target::{Target, TargetCall, TargetReply};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::store::{grader, header, moment};

/// Examples made when they are loaded; knows how many are alive.
pub struct Made {
    pub count: usize,
    pub broken: Option<usize>,
    alive: Mutex<Vec<Weak<Example>>>,
    pub most_alive: AtomicUsize,
}

impl Made {
    pub fn new(count: usize) -> Self {
        Self { count, broken: None, alive: Mutex::default(), most_alive: AtomicUsize::new(0) }
    }
}

impl Examples for Made {
    fn len(&self) -> usize {
        self.count
    }

    fn id(&self, index: usize) -> Result<ExampleId, String> {
        Ok(ExampleId::new(format!("e{index}")))
    }

    fn load(&self, index: usize) -> Result<Arc<Example>, String> {
        if self.broken == Some(index) {
            return Err("the line is torn".to_owned());
        }
        let example = Arc::new(Example::new(self.id(index)?, json!(format!("input {index}"))));
        let mut alive = self.alive.lock().unwrap();
        alive.retain(|example| example.strong_count() > 0);
        alive.push(Arc::downgrade(&example));
        self.most_alive.fetch_max(alive.len(), Ordering::Relaxed);
        Ok(example)
    }
}

/// Counts what runs at the same time.
#[derive(Default)]
pub struct Gauge {
    now: AtomicU32,
    pub most: AtomicU32,
    pub calls: AtomicU32,
}

impl Gauge {
    fn enter(self: &Arc<Self>) -> impl Drop + use<> {
        struct Leave(Arc<Gauge>);
        impl Drop for Leave {
            fn drop(&mut self) {
                self.0.now.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
        Leave(Arc::clone(self))
    }

    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }
}

type Answer = dyn Fn(&str, u32, u32) -> Result<(String, f64), Failure> + Send + Sync;

/// A target that answers by a rule of (example, trial, attempt).
pub struct Scripted {
    pub answer: Box<Answer>,
    pub delay: Duration,
    pub digest: Digest,
    pub retried: bool,
    pub gauge: Arc<Gauge>,
}

impl Scripted {
    pub fn new(answer: impl Fn(&str, u32, u32) -> Result<(String, f64), Failure> + Send + Sync + 'static) -> Self {
        Self {
            answer: Box::new(answer),
            delay: Duration::ZERO,
            digest: Digest::of(b"target"),
            retried: true,
            gauge: Arc::default(),
        }
    }

    pub fn echo() -> Self {
        Self::new(|example, trial, _| Ok((format!("{example}/{trial}"), 0.0)))
    }
}

#[async_trait]
impl Target for Scripted {
    fn info(&self) -> TargetInfo {
        let name = "scripted".to_owned();
        TargetInfo { kind: "command".to_owned(), name, digest: self.digest.clone(), settings: BTreeMap::new() }
    }

    async fn run(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let _inside = self.gauge.enter();
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let (text, cost) = (self.answer)(call.example.id.as_str(), call.trial, call.attempt)?;
        let output = Output { cost_usd: Some(cost), latency_ms: Some(1.5), ..Output::of_text(text) };
        Ok(TargetReply { output, spend: Spend::of_call(Usage::default(), Some(cost)), cached: false })
    }

    fn retried_by_runner(&self) -> bool {
        self.retried
    }
}

/// A scorer that is a function.
pub struct Rule(pub Box<dyn Fn(&ScoreInput<'_>) -> Scored + Send + Sync>);

impl Scorer for Rule {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        (self.0)(input)
    }
}

type Verdict = dyn Fn(&str, u32) -> Graded + Send + Sync;

/// A judge that grades by a rule of (output text, draw).
pub struct Juror {
    pub verdict: Box<Verdict>,
    pub delay: Duration,
    pub gauge: Arc<Gauge>,
}

impl Juror {
    pub fn new(verdict: impl Fn(&str, u32) -> Graded + Send + Sync + 'static) -> Self {
        Self { verdict: Box::new(verdict), delay: Duration::ZERO, gauge: Arc::default() }
    }

    /// Passes what has an even length; each call costs as much.
    pub fn of_price(cost: f64) -> Self {
        Self::new(move |text, draw| graded(Ok(Score::pass((text.len() + draw as usize).is_multiple_of(2), text)), cost))
    }
}

pub fn graded(scored: Scored, cost: f64) -> Graded {
    Graded { scored, spend: Spend::of_call(Usage::default(), Some(cost)), cached: false, took_ms: 3, fatal: None }
}

#[async_trait]
impl Grade for Juror {
    async fn grade(&self, input: &ScoreInput<'_>, draw: u32, _: OnNotice<'_>) -> Graded {
        let _inside = self.gauge.enter();
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        (self.verdict)(&input.output.text(), draw)
    }
}

/// What a [`Faulty`] store does at an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written, and trying again helps.
    Once,
    /// It is written, and yet an error comes back.
    AnswerLost,
    /// Nothing is written from here on.
    ForGood,
}

/// A store that fails at the `at`-th append, from 1.
pub struct Faulty {
    pub inner: Arc<dyn Store>,
    pub fault: Fault,
    pub at: usize,
    pub appends: AtomicUsize,
}

#[async_trait]
impl Store for Faulty {
    async fn append(&self, run: &RunId, entries: &[JournalEntry]) -> Result<(), StoreError> {
        let number = self.appends.fetch_add(1, Ordering::SeqCst) + 1;
        let lost = Err(StoreError::Failed { action: "append", cause: "the connection broke".to_owned() });
        match self.fault {
            Fault::Once if number == self.at => lost,
            Fault::AnswerLost if number == self.at => {
                self.inner.append(run, entries).await?;
                lost
            }
            // Of a kind that is not tried again, so that tests need not wait.
            Fault::ForGood if number >= self.at => {
                Err(StoreError::Unreadable { what: "disk".to_owned(), cause: "it burns".to_owned() })
            }
            _ => self.inner.append(run, entries).await,
        }
    }

    async fn outbox_put(&self, sink: &str, entries: &[OutboxPut], now: Timestamp) -> Result<OutboxAdded, StoreError> {
        self.inner.outbox_put(sink, entries, now).await
    }

    async fn outbox_list(&self, sink: &str, state: OutboxState, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        self.inner.outbox_list(sink, state, limit).await
    }

    async fn outbox_get(&self, sink: &str, key: &str) -> Result<Option<OutboxEntry>, StoreError> {
        self.inner.outbox_get(sink, key).await
    }

    async fn outbox_mark(&self, sink: &str, marks: &[OutboxMark], now: Timestamp) -> Result<(), StoreError> {
        self.inner.outbox_mark(sink, marks, now).await
    }

    async fn outbox_again(&self, sink: &str) -> Result<u64, StoreError> {
        self.inner.outbox_again(sink).await
    }

    async fn outbox_count(&self, sink: &str) -> Result<Vec<(OutboxState, u64)>, StoreError> {
        self.inner.outbox_count(sink).await
    }

    async fn replay(&self, run: &RunId, from: u64, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        self.inner.replay(run, from, limit).await
    }

    async fn put_blobs(&self, blobs: &[(Digest, Vec<u8>)]) -> Result<(), StoreError> {
        self.inner.put_blobs(blobs).await
    }

    async fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get_blob(digest).await
    }

    async fn runs(&self, suite: Option<&str>, limit: u32) -> Result<Vec<RunSummary>, StoreError> {
        self.inner.runs(suite, limit).await
    }

    async fn find_run(&self, wanted: &str) -> Result<RunSummary, StoreError> {
        self.inner.find_run(wanted).await
    }

    async fn claim(&self, run: &RunId, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        self.inner.claim(run, holder, now, until).await
    }

    async fn release(&self, run: &RunId, holder: &str) -> Result<(), StoreError> {
        self.inner.release(run, holder).await
    }

    async fn bless(&self, baseline: &Baseline) -> Result<(), StoreError> {
        self.inner.bless(baseline).await
    }

    async fn baseline(&self, suite: &str) -> Result<Option<Baseline>, StoreError> {
        self.inner.baseline(suite).await
    }

    async fn blessings(&self, suite: &str) -> Result<Vec<Baseline>, StoreError> {
        self.inner.blessings(suite).await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<AuditRecord, StoreError> {
        self.inner.audit(entry).await
    }

    async fn audit_trail(&self, from: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.inner.audit_trail(from, limit).await
    }
}

/// A listener that is a function.
pub struct Ear<F>(pub &'static str, pub F);

impl<F: FnMut(&JournalEntry, &RunTotals) -> Result<(), String> + Send> Listener for Ear<F> {
    fn name(&self) -> &str {
        self.0
    }

    fn on_entry(&mut self, entry: &JournalEntry, totals: &RunTotals) -> Result<(), String> {
        (self.1)(entry, totals)
    }
}

type Heard = Arc<Mutex<Vec<(JournalEntry, RunTotals)>>>;

/// A listener that writes all down, and where it writes.
pub fn recorder() -> (Box<dyn Listener>, Heard) {
    let heard = Heard::default();
    let ear = Ear("recorder", {
        let heard = Arc::clone(&heard);
        move |entry: &JournalEntry, totals: &RunTotals| {
            heard.lock().unwrap().push((entry.clone(), totals.clone()));
            Ok(())
        }
    });
    (Box::new(ear), heard)
}

/// A small run that can be set up again and again.
pub struct World {
    _folder: tempfile::TempDir,
    pub store: Arc<dyn Store>,
    pub examples: Arc<Made>,
    pub trials: u32,
    pub target: Arc<Scripted>,
    pub graders: Vec<(&'static str, u32, Part)>,
    pub options: Options,
    pub control: Control,
}

/// A grader that several jobs can share.
#[derive(Clone)]
pub enum Part {
    Rule(Arc<dyn Fn(&ScoreInput<'_>) -> Scored + Send + Sync>),
    Juror(Arc<Juror>),
}

impl Part {
    pub fn rule(rule: impl Fn(&ScoreInput<'_>) -> Scored + Send + Sync + 'static) -> Self {
        Self::Rule(Arc::new(rule))
    }

    pub fn juror(juror: Juror) -> Self {
        Self::Juror(Arc::new(juror))
    }
}

pub const RUN: &str = "0190aaaa-run";

impl World {
    /// So many examples, one target that echoes, a scorer, and a judge of two draws.
    pub async fn new(examples: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(folder.path().join("store.db").to_str().unwrap()).await.unwrap();
        let length = Part::rule(|input| Ok(Score::number(input.output.text().len() as f64, "").unwrap()));
        let juror = Part::juror(Juror::of_price(0.01));
        Self {
            _folder: folder,
            store,
            examples: Arc::new(Made::new(examples)),
            trials: 1,
            target: Arc::new(Scripted::echo()),
            graders: vec![("length", 1, length), ("even", 2, juror)],
            options: Options {
                retry: RetryPolicy { base: Duration::from_millis(1), max_attempts: 3, ..RetryPolicy::default() },
                ..Options::default()
            },
            control: Control::new(),
        }
    }

    pub fn header(&self) -> RunHeader {
        let infos = self.graders.iter().map(|(name, draws, part)| {
            let kind = if matches!(part, Part::Rule(_)) { GraderKind::Scorer } else { GraderKind::Judge };
            grader(name, kind, *draws)
        });
        RunHeader {
            examples: self.examples.len() as u64,
            trials: self.trials,
            target: self.target.info(),
            graders: infos.collect(),
            seed: 7,
            ..header(RUN, "suite")
        }
    }

    pub fn job(&self, mode: Mode, listeners: Vec<Box<dyn Listener>>) -> Job {
        let header = self.header();
        let parts = self.graders.iter().map(|(_, _, part)| part.clone());
        let graders = header.graders.iter().cloned().zip(parts).map(|(info, part)| {
            let work = match part {
                Part::Rule(rule) => Work::Scorer(Box::new(Rule(Box::new(move |input| rule(input))))),
                Part::Juror(juror) => Work::Judge(juror),
            };
            Grader { info, work }
        });
        Job {
            graders: graders.collect(),
            header,
            mode,
            examples: Arc::clone(&self.examples) as Arc<dyn Examples>,
            target: Arc::clone(&self.target) as Arc<dyn Target>,
            store: Arc::clone(&self.store),
            clock: Arc::new(FixedClock::new(moment(0), SignedDuration::from_micros(1))),
            listeners,
            options: self.options.clone(),
            control: self.control.clone(),
        }
    }

    pub async fn run(&self) -> Result<RunOutcome, RunError> {
        execute(self.job(Mode::Fresh, Vec::new())).await
    }

    pub async fn resume(&self) -> Result<RunOutcome, RunError> {
        execute(self.job(Mode::Resume { force: false }, Vec::new())).await
    }

    /// The same world with an empty store.
    pub async fn empty(&self) -> Self {
        let fresh = Self::new(0).await;
        Self {
            examples: Arc::new(Made::new(self.examples.count)),
            trials: self.trials,
            target: Arc::clone(&self.target),
            graders: self.graders.clone(),
            options: self.options.clone(),
            ..fresh
        }
    }

    pub async fn journal(&self) -> Vec<JournalEntry> {
        journal_of(&*self.store).await
    }
}

pub async fn journal_of(store: &dyn Store) -> Vec<JournalEntry> {
    store.replay(&RunId::new(RUN), 0, u32::MAX).await.unwrap()
}

pub fn fold(journal: &[JournalEntry]) -> RunResults {
    let mut fold = Fold::new();
    journal.iter().for_each(|entry| fold.push(entry.clone()).unwrap());
    fold.finish().unwrap()
}

/// Checks what must hold of every journal, finished or not; gives its fold.
pub fn check(journal: &[JournalEntry]) -> RunResults {
    let mut totals: Option<RunTotals> = None;
    let mut targets: HashMap<TrialKey, bool> = HashMap::new();
    let mut cells = BTreeSet::new();
    let mut fold_so_far = Fold::new();
    for (expected, entry) in journal.iter().enumerate() {
        assert_eq!(entry.seq, expected as u64, "numbers run without gaps");
        assert_eq!(matches!(entry.event, Event::RunStarted { .. }), expected == 0, "`run_started` is first, and once");
        match &entry.event {
            Event::TargetFinished { trial, outcome, .. } => {
                let ok = matches!(outcome, assize::model::TargetOutcome::Output { .. });
                assert_eq!(targets.insert(trial.clone(), ok), None, "{trial:?} ended twice");
            }
            Event::ScoreFinished { cell, scored, .. } => {
                let ok = targets.get(&cell.trial).unwrap_or_else(|| panic!("{cell:?} before its target"));
                let for_target = matches!(scored, Err(unscored)
                    if unscored.reason == assize::model::UnscoredReason::TargetFailed);
                assert_eq!(for_target, !ok, "{cell:?}");
                assert!(cells.insert(cell.clone()), "{cell:?} scored twice");
            }
            Event::RunFinished { totals: told, complete } => {
                assert_eq!(fold_so_far.totals(), Some(told), "totals are the fold of what came before");
                totals = Some(told.clone());
                if *complete {
                    assert_eq!(expected + 1, journal.len(), "nothing follows a complete run");
                }
            }
            _ => {}
        }
        fold_so_far.push(entry.clone()).unwrap();
    }
    let results = fold_so_far.finish().unwrap();
    let header = &results.header;
    if results.status == assize::model::RunStatus::Complete {
        let trials = header.examples * u64::from(header.trials);
        let per_trial: u64 = header.graders.iter().map(|grader| u64::from(grader.draws)).sum();
        assert_eq!(targets.len() as u64, trials);
        assert_eq!(cells.len() as u64, trials * per_trial, "each target is followed by one score per grader and draw");
        assert_eq!(totals.as_ref(), Some(&results.totals));
    }
    results
}
