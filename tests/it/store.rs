//! One battery for every back end of the store.
//!
//! Postgres is found in `ASSIZE_TEST_POSTGRES`; `scripts/with-postgres.sh` starts one. Without it those tests say
//! that they are skipped, and fail under `CI`, so that a pipeline cannot lose them in silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use assize::model::{
    CancelReason, CellKey, Digest, Direction, Event, ExampleId, Failure, FailureKind, GraderInfo, GraderKind,
    JournalEntry, RunHeader, RunId, RunStatus, RunTotals, Scale, Score, ScoreValue, Scored, Spend, TargetInfo,
    TargetOutcome, TrialKey, Unscored, UnscoredReason, Usage,
};
use assize::store::{self, AuditEntry, Baseline, OutboxAdded, OutboxMark, OutboxPut, OutboxState, Store, StoreError};
use assize::sys::Env;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

/// A fresh, empty place for a store.
pub struct Place {
    pub address: String,
    schema: Option<(String, String)>,
    folder: tempfile::TempDir,
}

impl Place {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("sqlite:{}", folder.path().join("deep/er/store.db").display());
        Self { address, schema: None, folder }
    }

    /// `None`, said aloud, when there is no Postgres to test with.
    pub fn postgres() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let env = Env::of_process();
        let Some(server) = env.get("ASSIZE_TEST_POSTGRES") else {
            assert!(env.get("CI").is_none(), "ASSIZE_TEST_POSTGRES must be set under CI");
            println!("skipped: ASSIZE_TEST_POSTGRES is not set");
            return None;
        };
        let schema = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let joint = if server.contains('?') { '&' } else { '?' };
        let address = format!("{server}{joint}schema={schema}");
        Some(Self { address, schema: Some((server.to_owned(), schema)), folder: tempfile::tempdir().unwrap() })
    }

    pub fn is_postgres(&self) -> bool {
        self.schema.is_some()
    }

    pub async fn open(&self) -> Arc<dyn Store> {
        store::open(&self.address).await.unwrap()
    }

    /// Runs a statement behind the store's back; gives the first column of each row as text.
    pub async fn raw(&self, statement: &str) -> Result<Vec<Option<String>>, sqlx::Error> {
        let statement = AssertSqlSafe(statement.to_owned());
        match &self.schema {
            None => {
                let mut connection = SqliteConnection::connect(&self.address).await?;
                sqlx::query_scalar(statement).fetch_all(&mut connection).await
            }
            Some((server, schema)) => {
                let mut connection = PgConnection::connect(server).await?;
                let path = AssertSqlSafe(format!("SET search_path = {schema}"));
                sqlx::query(path).execute(&mut connection).await?;
                sqlx::query_scalar(statement).fetch_all(&mut connection).await
            }
        }
    }

    pub async fn end(self, store: Arc<dyn Store>) {
        store.close().await;
        if let Some((_, schema)) = &self.schema {
            self.raw(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
        }
        drop(self.folder);
    }
}

macro_rules! battery {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(place) = super::Place::postgres() {
                    super::$name(place).await;
                }
            })*
        }
    };
}

battery!(
    what_is_appended_is_replayed,
    run_started_comes_first_and_numbers_have_no_gap,
    nothing_is_written_twice_and_a_refused_batch_leaves_nothing,
    of_two_writers_one_wins,
    ids_of_any_kind_are_kept_apart,
    contents_are_kept_by_digest,
    runs_are_listed_with_how_they_stand,
    a_run_is_found_by_part_of_its_id,
    a_claim_keeps_others_out_until_it_ends,
    the_latest_blessing_holds,
    the_audit_trail_is_chained,
    nothing_can_be_changed,
    the_views_say_what_the_journal_says,
    a_store_is_found_again_and_a_newer_one_refused,
    many_may_open_a_new_store_at_once,
    the_outbox_knows_what_is_new_changed_and_the_same,
);

pub fn moment(offset_ns: i64) -> Timestamp {
    let start: Timestamp = "2026-11-21T10:00:00.000000001Z".parse().unwrap();
    start + SignedDuration::from_nanos(offset_ns)
}

pub fn header(id: &str, suite: &str) -> RunHeader {
    RunHeader {
        format: 1,
        id: RunId::new(id),
        suite: suite.to_owned(),
        created_at: moment(0),
        dataset: "refunds@3".to_owned(),
        dataset_digest: Digest::of(b"dataset"),
        examples: 2,
        trials: 1,
        target: TargetInfo {
            kind: "recorded".to_owned(),
            name: "prompt-b".to_owned(),
            digest: Digest::of(b"target"),
            settings: [("model".to_owned(), json!("m-1"))].into(),
        },
        graders: vec![grader("exact", GraderKind::Scorer, 1), grader("helpful", GraderKind::Judge, 2)],
        seed: u64::MAX,
        price_digest: Digest::of(b"prices"),
        tool_version: "0.1.0".to_owned(),
        git_commit: None,
        tags: [("branch".to_owned(), "main".to_owned())].into(),
        example_blobs: Vec::new(),
        until_decided: None,
        design: None,
    }
}

pub fn grader(name: &str, kind: GraderKind, draws: u32) -> GraderInfo {
    GraderInfo {
        name: name.to_owned(),
        kind,
        component: name.to_owned(),
        version: "1".to_owned(),
        digest: Digest::of(name.as_bytes()),
        scale: Scale::Binary,
        direction: Direction::Higher,
        draws,
        model: None,
    }
}

fn trial(example: &str, trial: u32) -> TrialKey {
    TrialKey { example: ExampleId::new(example), trial }
}

fn started(header: &RunHeader) -> Event {
    Event::RunStarted { header: Box::new(header.clone()) }
}

fn output(example: &str) -> Event {
    let outcome = TargetOutcome::Output {
        digest: Digest::of(example.as_bytes()),
        latency_ms: Some(0.1 + 0.2),
        cost_usd: Some(1.0 / 3.0),
        usage: Usage { input: Some(10), output: Some(u64::MAX), ..Usage::default() },
    };
    Event::TargetFinished { trial: trial(example, 0), outcome, spend: Spend::default() }
}

fn score(example: &str, grader: &str, draw: u32, scored: Scored) -> Event {
    let cell = CellKey { trial: trial(example, 0), grader: grader.to_owned(), draw };
    let usage = Usage { input: Some(7), output: Some(3), ..Usage::default() };
    Event::ScoreFinished { cell, scored, spend: Spend::of_call(usage, Some(0.25)), cached: false, took_ms: 12 }
}

fn pass(pass: bool) -> Scored {
    Ok(Score::pass(pass, "because"))
}

fn finished(complete: bool) -> Event {
    Event::RunFinished { totals: RunTotals { scored: 7, ..RunTotals::default() }, complete }
}

fn entries(from: u64, events: Vec<Event>) -> Vec<JournalEntry> {
    let number = |(seq, event): (u64, Event)| JournalEntry { seq, at: moment(seq as i64), event };
    (from..).zip(events).map(number).collect()
}

async fn start(store: &Arc<dyn Store>, id: &str, suite: &str) -> RunId {
    let header = header(id, suite);
    store.append(&header.id, &entries(0, vec![started(&header)])).await.unwrap();
    header.id
}

fn is_conflict(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}

async fn what_is_appended_is_replayed(place: Place) {
    let store = place.open().await;
    let header = header("0190-run-aaaa", "refunds");
    let hostile = "\u{0}\u{1b}[31m \u{202e}'; DROP TABLE journal; -- 🦀 <script>";
    let label = ScoreValue::Label { label: hostile.to_owned(), number: None };
    let failure = Failure::new(FailureKind::RateLimited, hostile).retry_after_ms(Some(7));
    let all = entries(
        0,
        vec![
            started(&header),
            Event::AttemptFailed {
                trial: trial("a", 0),
                grader: Some("helpful".to_owned()),
                attempt: 1,
                failure: failure.clone(),
                retry_in_ms: Some(u64::MAX),
            },
            output("a"),
            score("a", "exact", 0, Ok(Score::number(0.1 + 0.2, hostile).unwrap())),
            score("a", "helpful", 0, Ok(Score::of(label, hostile))),
            score("a", "helpful", 1, Err(Unscored::new(UnscoredReason::OffMenu, hostile))),
            Event::TargetFinished {
                trial: trial("b", 0),
                outcome: TargetOutcome::Failed { failure: failure.clone() },
                spend: Spend::of_call(Usage::default(), None),
            },
            Event::CancelRequested { reason: CancelReason::Fatal { failure } },
            finished(false),
            Event::RunResumed { cells_done: 3 },
            finished(true),
        ],
    );
    store.append(&header.id, &[]).await.unwrap();
    store.append(&header.id, &all[..1]).await.unwrap();
    store.append(&header.id, &all[1..]).await.unwrap();
    assert_eq!(store.replay(&header.id, 0, 1_000).await.unwrap(), all);
    assert_eq!(store.replay(&header.id, 4, 3).await.unwrap(), all[4..7]);
    assert_eq!(store.replay(&header.id, 99, 3).await.unwrap(), []);
    assert_eq!(store.replay(&RunId::new("other"), 0, 3).await.unwrap(), []);
    place.end(store).await;
}

async fn run_started_comes_first_and_numbers_have_no_gap(place: Place) {
    let store = place.open().await;
    let id = RunId::new("run-1");
    let first = store.append(&id, &entries(0, vec![output("a")])).await;
    assert!(matches!(first, Err(StoreError::Failed { .. })), "{first:?}");
    start(&store, "run-1", "s").await;
    let gap = store.append(&id, &entries(2, vec![output("a")])).await.unwrap_err().to_string();
    assert!(gap.contains("entry 1 is next"), "{gap}");
    let mut torn = entries(1, vec![output("a"), output("b")]);
    torn[1].seq = 5;
    assert!(store.append(&id, &torn).await.is_err());
    let again = store.append(&id, &entries(1, vec![started(&header("run-1", "s"))])).await;
    assert!(matches!(again, Err(StoreError::Failed { .. })), "{again:?}");
    assert_eq!(store.replay(&id, 0, 9).await.unwrap().len(), 1);
    // More rows than one insert takes.
    let many: Vec<Event> = (0..333).map(|number| output(&format!("e{number}"))).collect();
    store.append(&id, &entries(1, many)).await.unwrap();
    assert_eq!(store.replay(&id, 0, 1_000).await.unwrap().len(), 334);
    place.end(store).await;
}

async fn nothing_is_written_twice_and_a_refused_batch_leaves_nothing(place: Place) {
    let store = place.open().await;
    let id = start(&store, "run-1", "s").await;
    assert!(is_conflict(&store.append(&id, &entries(0, vec![started(&header("run-1", "s"))])).await));
    store.append(&id, &entries(1, vec![output("a"), score("a", "exact", 0, pass(true))])).await.unwrap();
    // The same number, the same target, the same cell.
    assert!(is_conflict(&store.append(&id, &entries(2, vec![output("b")])).await));
    assert!(is_conflict(&store.append(&id, &entries(3, vec![output("b"), output("a")])).await));
    let twice = vec![score("a", "helpful", 0, pass(true)), score("a", "exact", 0, pass(false))];
    assert!(is_conflict(&store.append(&id, &entries(3, twice)).await));
    assert_eq!(store.replay(&id, 0, 9).await.unwrap().len(), 3);
    // Another run has cells of its own.
    let other = start(&store, "run-2", "s").await;
    store.append(&other, &entries(1, vec![output("a"), score("a", "exact", 0, pass(true))])).await.unwrap();
    place.end(store).await;
}

async fn of_two_writers_one_wins(place: Place) {
    let store = place.open().await;
    let other = place.open().await;
    let id = start(&store, "run-1", "s").await;
    for seq in 1..20 {
        let left = entries(seq, vec![output(&format!("left-{seq}"))]);
        let right = entries(seq, vec![output(&format!("right-{seq}"))]);
        let (left, right) = tokio::join!(store.append(&id, &left), other.append(&id, &right));
        assert_eq!(u8::from(left.is_ok()) + u8::from(right.is_ok()), 1, "{left:?} {right:?}");
        assert!(is_conflict(&left) || is_conflict(&right), "{left:?} {right:?}");
    }
    assert_eq!(store.replay(&id, 0, 99).await.unwrap().len(), 20);
    other.close().await;
    place.end(store).await;
}

async fn ids_of_any_kind_are_kept_apart(place: Place) {
    let store = place.open().await;
    let id = start(&store, "run-1", "s").await;
    let ids =
        ["x".repeat(9_000), "x".repeat(9_001), "a\0b".to_owned(), "a\0c".to_owned(), String::new(), " ".to_owned()];
    let all = entries(1, ids.iter().map(|id| output(id)).collect());
    store.append(&id, &all).await.unwrap();
    assert_eq!(store.replay(&id, 1, 99).await.unwrap(), all);
    for example in &ids {
        assert!(is_conflict(&store.append(&id, &entries(7, vec![output(example)])).await));
    }
    place.end(store).await;
}

async fn contents_are_kept_by_digest(place: Place) {
    let store = place.open().await;
    let contents =
        [Vec::new(), b"small".to_vec(), (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect(), vec![0, 159, 146]];
    let blobs: Vec<(Digest, Vec<u8>)> = contents.iter().map(|bytes| (Digest::of(bytes), bytes.clone())).collect();
    store.put_blobs(&[]).await.unwrap();
    store.put_blobs(&blobs[..2]).await.unwrap();
    store.put_blobs(&blobs).await.unwrap();
    store.put_blobs(&[blobs[1].clone(), blobs[1].clone()]).await.unwrap();
    for (digest, bytes) in &blobs {
        assert_eq!(store.get_blob(digest).await.unwrap().as_ref(), Some(bytes));
    }
    assert_eq!(store.get_blob(&Digest::of(b"never kept")).await.unwrap(), None);
    assert!(store.put_blobs(&[(Digest::of(b"one"), b"two".to_vec())]).await.is_err());
    let damage = "UPDATE blobs SET bytes = (SELECT bytes FROM blobs WHERE size = 0) WHERE size = 5";
    place.raw(damage).await.unwrap();
    let error = store.get_blob(&blobs[1].0).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    place.end(store).await;
}

async fn runs_are_listed_with_how_they_stand(place: Place) {
    let store = place.open().await;
    assert_eq!(store.runs(None, 9).await.unwrap(), []);
    for (number, suite) in ["a", "b", "a"].into_iter().enumerate() {
        let mut header = header(&format!("run-{number}"), suite);
        header.created_at = moment(number as i64 * 1_000_000_000);
        store.append(&header.id, &entries(0, vec![started(&header)])).await.unwrap();
    }
    let ids = |runs: Vec<store::RunSummary>| runs.iter().map(|run| run.header.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(store.runs(None, 9).await.unwrap()), ["run-2", "run-1", "run-0"]);
    assert_eq!(ids(store.runs(None, 1).await.unwrap()), ["run-2"]);
    assert_eq!(ids(store.runs(Some("a"), 9).await.unwrap()), ["run-2", "run-0"]);
    assert_eq!(ids(store.runs(Some("none"), 9).await.unwrap()), Vec::<String>::new());

    let id = RunId::new("run-0");
    let standing = [
        (output("a"), RunStatus::Open, None),
        (finished(false), RunStatus::Stopped, Some(7)),
        (Event::RunResumed { cells_done: 0 }, RunStatus::Open, Some(7)),
        (Event::CancelRequested { reason: CancelReason::Interrupted }, RunStatus::Open, Some(7)),
        (finished(true), RunStatus::Complete, Some(7)),
    ];
    for (seq, (event, status, scored)) in (1..).zip(standing) {
        store.append(&id, &entries(seq, vec![event])).await.unwrap();
        let found = store.find_run("run-0").await.unwrap();
        assert_eq!((found.status, found.totals.map(|totals| totals.scored)), (status, scored), "entry {seq}");
    }
    let mut expected = header("run-0", "a");
    expected.created_at = moment(0);
    assert_eq!(store.find_run("run-0").await.unwrap().header, expected);
    place.end(store).await;
}

async fn a_run_is_found_by_part_of_its_id(place: Place) {
    let store = place.open().await;
    let error = store.find_run("abcd").await.unwrap_err().to_string();
    assert!(error.contains("holds no runs yet"), "{error}");
    for id in ["0190aaaa-1111", "0190aaaa-2222", "0190bbbb-2222", "0190aaaa-11%_"] {
        start(&store, id, "s").await;
    }
    let find = async |wanted: &str| store.find_run(wanted).await.map(|run| run.header.id.to_string());
    assert_eq!(find("0190aaaa-1111").await.unwrap(), "0190aaaa-1111");
    assert_eq!(find("1111").await.unwrap(), "0190aaaa-1111");
    assert_eq!(find("0190b").await.unwrap(), "0190bbbb-2222");
    assert_eq!(find("a-11%_").await.unwrap(), "0190aaaa-11%_");
    for (wanted, hint) in
        [("111", "at least 4"), ("2222", "give more"), ("0190", "give more"), ("%%%%", "the latest are")]
    {
        let error = find(wanted).await.unwrap_err().to_string();
        assert!(error.contains(hint), "{wanted}: {error}");
    }
    assert!(find("x\0yz1").await.is_err());
    place.end(store).await;
}

async fn a_claim_keeps_others_out_until_it_ends(place: Place) {
    let store = place.open().await;
    let id = RunId::new("run-1");
    let at = |second: i64| moment(second * 1_000_000_000);
    assert!(store.claim(&id, "one", at(0), at(30)).await.unwrap());
    assert!(!store.claim(&id, "two", at(10), at(40)).await.unwrap());
    assert!(store.claim(&id, "one", at(10), at(40)).await.unwrap(), "renewed");
    assert!(!store.claim(&id, "two", at(35), at(65)).await.unwrap(), "the renewal counts");
    assert!(store.claim(&id, "two", at(40), at(70)).await.unwrap(), "the lease has ended");
    assert!(!store.claim(&id, "one", at(41), at(71)).await.unwrap());
    store.release(&id, "one").await.unwrap();
    assert!(!store.claim(&id, "one", at(42), at(72)).await.unwrap(), "only the holder gives it back");
    store.release(&id, "two").await.unwrap();
    assert!(store.claim(&id, "one", at(43), at(73)).await.unwrap());
    assert!(store.claim(&RunId::new("run-2"), "two", at(43), at(73)).await.unwrap(), "another run is free");

    let other = place.open().await;
    let free = RunId::new("run-3");
    let (left, right) = tokio::join!(store.claim(&free, "l", at(0), at(9)), other.claim(&free, "r", at(0), at(9)));
    assert_ne!(left.unwrap(), right.unwrap());
    other.close().await;
    place.end(store).await;
}

async fn the_latest_blessing_holds(place: Place) {
    let store = place.open().await;
    assert_eq!(store.baseline("s").await.unwrap(), None);
    let bless = |run: &str, offset: i64| Baseline {
        suite: "s".to_owned(),
        run: RunId::new(run),
        by: "ada".to_owned(),
        at: moment(offset),
        reason: "it is better".to_owned(),
    };
    // The clock of the second blesser goes wrong: the order of writing counts.
    for baseline in [bless("run-1", 10), bless("run-2", 5)] {
        store.bless(&baseline).await.unwrap();
    }
    assert_eq!(store.baseline("s").await.unwrap(), Some(bless("run-2", 5)));
    assert_eq!(store.blessings("s").await.unwrap(), [bless("run-2", 5), bless("run-1", 10)]);
    assert_eq!(store.blessings("other").await.unwrap(), []);
    place.end(store).await;
}

fn audit_entry(subject: &str) -> AuditEntry {
    AuditEntry {
        at: moment(0),
        actor: "ada\0".to_owned(),
        action: "bless".to_owned(),
        subject: subject.to_owned(),
        detail: "because".to_owned(),
    }
}

async fn the_audit_trail_is_chained(place: Place) {
    let store = place.open().await;
    let other = place.open().await;
    assert_eq!(store.audit_verify().await.unwrap().records, 0);
    for number in 0..10 {
        let (left, right) = (audit_entry(&format!("l{number}")), audit_entry(&format!("r{number}")));
        let (left, right) = tokio::join!(store.audit(&left), other.audit(&right));
        assert_ne!(left.unwrap().seq, right.unwrap().seq);
    }
    let check = store.audit_verify().await.unwrap();
    assert_eq!((check.records, check.broken), (20, None));
    let trail = store.audit_trail(1, 99).await.unwrap();
    assert_eq!(check.head.as_deref(), trail.last().map(|record| record.digest.as_str()));
    assert_eq!(store.audit_trail(19, 99).await.unwrap(), trail[18..]);
    other.close().await;

    let unlock = match &place.schema {
        None => "DROP TRIGGER audit_no_update",
        Some(_) => "ALTER TABLE audit DISABLE TRIGGER audit_no_change",
    };
    place.raw(unlock).await.unwrap();
    place.raw("UPDATE audit SET actor = 'eve' WHERE seq = 7").await.unwrap();
    let check = store.audit_verify().await.unwrap();
    assert_eq!((check.records, check.broken.map(|(seq, _)| seq)), (6, Some(7)));
    place.end(store).await;
}

async fn nothing_can_be_changed(place: Place) {
    let store = place.open().await;
    let id = start(&store, "run-1", "s").await;
    store.append(&id, &entries(1, vec![output("a")])).await.unwrap();
    store.audit(&audit_entry("run-1")).await.unwrap();
    let baseline =
        Baseline { suite: "s".to_owned(), run: id.clone(), by: "ada".to_owned(), at: moment(0), reason: String::new() };
    store.bless(&baseline).await.unwrap();
    for statement in [
        "UPDATE journal SET value = 1",
        "DELETE FROM journal",
        "UPDATE runs SET suite = 'other'",
        "DELETE FROM runs",
        "UPDATE baselines SET actor = 'eve'",
        "DELETE FROM baselines",
        "UPDATE audit SET actor = 'eve'",
        "DELETE FROM audit",
    ] {
        let error = place.raw(statement).await.expect_err(statement).to_string();
        assert!(error.contains("append-only"), "{statement}: {error}");
    }
    if place.schema.is_some() {
        assert!(place.raw("TRUNCATE journal").await.is_err());
    }
    place.end(store).await;
}

async fn the_views_say_what_the_journal_says(place: Place) {
    let store = place.open().await;
    let id = start(&store, "run-1", "refunds").await;
    let number = |number: f64| Ok(Score::number(number, "").unwrap());
    let events = vec![
        output("a"),
        score("a", "helpful", 0, number(1.0)),
        score("a", "helpful", 1, number(0.0)),
        output("b"),
        score("b", "helpful", 0, number(1.0)),
        score("b", "helpful", 1, Err(Unscored::new(UnscoredReason::Timeout, "late"))),
        output("c"),
        score("c", "helpful", 0, Err(Unscored::not_applicable("no reference"))),
        score("c", "helpful", 1, Err(Unscored::not_applicable("no reference"))),
        finished(true),
    ];
    store.append(&id, &entries(1, events)).await.unwrap();
    let one =
        async |what: &str, from: &str| place.raw(&format!("SELECT CAST({what} AS TEXT) FROM {from}")).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(one("COUNT(*)", "scores").await, [text("6")]);
    assert_eq!(one("COUNT(value)", "scores WHERE suite = 'refunds'").await, [text("3")]);
    assert_eq!(one("unscored", "scores WHERE example_id = 'b' ORDER BY draw").await, [None, text("timeout")]);
    assert_eq!(one("COUNT(cost_usd)", "targets WHERE target = 'prompt-b'").await, [text("3")]);
    assert_eq!(one("run_status", "run_metrics").await, [text("complete")]);
    // Example means 0.5 and 1.0; the third has no value and is not zero.
    assert_eq!(one("mean", "run_metrics WHERE metric = 'helpful'").await, [text("0.75")]);
    assert_eq!(one("examples", "run_metrics").await, [text("2")]);
    assert_eq!(one("unscored", "run_metrics").await, [text("3")]);
    assert_eq!(one("instrument_failures", "run_metrics").await, [text("1")]);
    assert_eq!(one("spent_usd", "run_metrics").await, [text("1.5")]);
    place.end(store).await;
}

async fn a_store_is_found_again_and_a_newer_one_refused(place: Place) {
    let store = place.open().await;
    let id = start(&store, "run-1", "s").await;
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.find_run("run-1").await.unwrap().header.id, id);
    let newer = match &place.schema {
        None => "INSERT INTO _sqlx_migrations VALUES (99, 'later', CURRENT_TIMESTAMP, TRUE, X'00', 0)",
        Some(_) => "INSERT INTO _sqlx_migrations VALUES (99, 'later', now(), TRUE, '\\x00', 0)",
    };
    place.raw(newer).await.unwrap();
    let error = store::open(&place.address).await.err().expect("refused").to_string();
    assert!(error.contains("version 99") && error.contains("newer"), "{error}");
    place.end(store).await;
}

async fn many_may_open_a_new_store_at_once(place: Place) {
    let openings: Vec<_> = (0..8)
        .map(|_| {
            let address = place.address.clone();
            tokio::spawn(async move { store::open(&address).await })
        })
        .collect();
    for opening in openings {
        opening.await.unwrap().unwrap().close().await;
    }
    let store = place.open().await;
    start(&store, "run-1", "s").await;
    place.end(store).await;
}

#[tokio::test]
async fn a_sqlite_file_is_private_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/store.db");
    let store = store::open(path.to_str().unwrap()).await.unwrap();
    start(&store, "run-1", "s").await;
    #[cfg(unix)]
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
    store.close().await;
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn places_that_are_no_store_are_refused_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "these are notes and no database".repeat(100)).unwrap();
    let open = async |place: &str| store::open(place).await.err().expect("refused").to_string();
    for place in ["", "sqlite:", "mysql://ada:s3cret@host/db", "postgres://ada:s3cret@127.0.0.1:1/db"] {
        let error = open(place).await;
        assert!(error.starts_with("cannot open store `") && !error.contains("s3cret"), "{error}");
    }
    assert!(open(folder.path().to_str().unwrap()).await.contains("directory"));
    assert!(open(text.to_str().unwrap()).await.contains("not a database"));
    assert_eq!(std::fs::read_to_string(&text).unwrap().len(), 3_100, "it was not touched");
}

async fn the_outbox_knows_what_is_new_changed_and_the_same(place: Place) {
    let store = place.open().await;
    let put = |key: &str, digest: &str| OutboxPut {
        key: key.to_owned(),
        digest: digest.to_owned(),
        payload: "{\"x\": \"nul \0\"}".to_owned(),
    };
    let mark = |key: &str, digest: &str, state: OutboxState| OutboxMark {
        key: key.to_owned(),
        digest: digest.to_owned(),
        state,
        error: (state == OutboxState::Rejected).then(|| "no such trace".to_owned()),
    };
    let added = |new, changed, same| OutboxAdded { new, changed, same };
    let both = [put("a", "1"), put("b", "1")];
    assert_eq!(store.outbox_put("s", &both, moment(0)).await.unwrap(), added(2, 0, 0));
    assert_eq!(store.outbox_put("s", &both, moment(1)).await.unwrap(), added(0, 0, 2));
    assert_eq!(store.outbox_put("other", &both[..1], moment(1)).await.unwrap(), added(1, 0, 0));
    let marks = [mark("a", "1", OutboxState::Sent), mark("b", "1", OutboxState::Rejected)];
    store.outbox_mark("s", &marks, moment(2)).await.unwrap();
    let counts = store.outbox_count("s").await.unwrap();
    assert_eq!(counts, [(OutboxState::Rejected, 1), (OutboxState::Sent, 1)]);
    let rejected = store.outbox_get("s", "b").await.unwrap().unwrap();
    assert_eq!((rejected.error.as_deref(), rejected.attempts, rejected.sent_at), (Some("no such trace"), 1, None));
    assert!(store.outbox_list("s", OutboxState::Waiting, 9).await.unwrap().is_empty());
    // Changed: it waits again, and is known to have been sent before.
    assert_eq!(store.outbox_put("s", &[put("a", "2")], moment(3)).await.unwrap(), added(0, 1, 0));
    let waiting = store.outbox_list("s", OutboxState::Waiting, 9).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].sent_at, waiting[0].attempts), (1, Some(moment(2)), 0));
    // A mark about what it was before is of no effect.
    store.outbox_mark("s", &[mark("a", "1", OutboxState::Sent)], moment(4)).await.unwrap();
    assert_eq!(store.outbox_list("s", OutboxState::Waiting, 9).await.unwrap().len(), 1);
    assert_eq!(store.outbox_again("s").await.unwrap(), 1);
    assert_eq!(store.outbox_list("s", OutboxState::Waiting, 9).await.unwrap().len(), 2);
    assert_eq!(store.outbox_count("other").await.unwrap(), [(OutboxState::Waiting, 1)]);
    place.end(store).await;
}
