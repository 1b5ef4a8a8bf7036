//! Between events and rows: what both dialects write and read. No SQL here.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::audit::{AuditEntry, AuditRecord};
use super::{Baseline, RunSummary, StoreError};
use crate::model::{
    CellKey, Digest, Event, JournalEntry, RunHeader, RunId, RunStatus, ScoreValue, Scored, Spend, TargetOutcome,
    TrialKey,
};

/// zstd level of blobs: traces are repetitive text, higher levels gain little and cost much.
const ZSTD_LEVEL: i32 = 3;
/// Longest text in an indexed column, bytes. Postgres refuses index rows above 2,700.
const KEY_LIMIT: usize = 400;
/// Largest content that is unpacked, bytes.
const BLOB_LIMIT: usize = 1 << 31;

/// A row of the journal without its run id; the fields are the columns.
#[derive(Default)]
pub(super) struct Row {
    pub seq: i64,
    pub at: String,
    pub kind: &'static str,
    pub status: Option<&'static str>,
    pub example_id: Option<String>,
    pub trial: Option<i64>,
    pub grader: Option<String>,
    pub draw: Option<i64>,
    pub value: Option<f64>,
    pub label: Option<String>,
    pub unscored: Option<&'static str>,
    pub failure: Option<&'static str>,
    pub cached: Option<bool>,
    pub took_ms: Option<i64>,
    pub latency_ms: Option<f64>,
    pub cost_usd: Option<f64>,
    pub tokens_in: Option<i64>,
    pub tokens_out: Option<i64>,
    pub spent_usd: Option<f64>,
    pub unpriced_calls: Option<i64>,
    pub body: String,
}

/// A row of the audit trail as both drivers give it.
pub(super) type AuditRow = (i64, String, String, String, String, String, String, String);
/// A blessing as both drivers give it.
pub(super) type BaselineRow = (String, String, String, String, String);
/// Header, standing event and last `run_finished` of a run.
pub(super) type SummaryRow = (String, Option<String>, Option<String>);

impl Row {
    /// The row of an entry.
    pub(super) fn of(entry: &JournalEntry) -> Result<Self, StoreError> {
        let body = serde_json::to_string(&entry.event).map_err(|cause| failed("encode an event", cause))?;
        let mut row = Self { seq: to_i64(entry.seq), at: time_text(entry.at), body, ..Self::default() };
        row.fill(&entry.event);
        Ok(row)
    }

    fn fill(&mut self, event: &Event) {
        match event {
            Event::RunStarted { .. } => self.stand("run_started", RunStatus::Open),
            Event::RunResumed { .. } => self.stand("run_resumed", RunStatus::Open),
            Event::RunFinished { complete: true, .. } => self.stand("run_finished", RunStatus::Complete),
            Event::RunFinished { complete: false, .. } => self.stand("run_finished", RunStatus::Stopped),
            Event::CancelRequested { .. } => self.kind = "cancel_requested",
            Event::AttemptFailed { trial, grader, failure, .. } => {
                self.kind = "attempt_failed";
                self.set_trial(trial);
                self.grader = grader.as_deref().map(key);
                self.failure = Some(failure.kind.as_str());
            }
            Event::TargetFinished { trial, outcome, spend } => {
                self.kind = "target_finished";
                self.set_trial(trial);
                self.set_outcome(outcome);
                self.set_spend(spend);
            }
            Event::ScoreFinished { cell, scored, spend, cached, took_ms } => {
                self.kind = "score_finished";
                self.set_cell(cell);
                self.set_scored(scored);
                self.set_spend(spend);
                self.tokens_in = spend.usage.input.map(to_i64);
                self.tokens_out = spend.usage.output.map(to_i64);
                self.cached = Some(*cached);
                self.took_ms = Some(to_i64(*took_ms));
            }
        }
    }

    fn stand(&mut self, kind: &'static str, status: RunStatus) {
        self.kind = kind;
        self.status = Some(match status {
            RunStatus::Open => "open",
            RunStatus::Complete => "complete",
            RunStatus::Stopped => "stopped",
        });
    }

    fn set_trial(&mut self, trial: &TrialKey) {
        self.example_id = Some(key(trial.example.as_str()));
        self.trial = Some(i64::from(trial.trial));
    }

    fn set_cell(&mut self, cell: &CellKey) {
        self.set_trial(&cell.trial);
        self.grader = Some(key(&cell.grader));
        self.draw = Some(i64::from(cell.draw));
    }

    fn set_outcome(&mut self, outcome: &TargetOutcome) {
        match outcome {
            TargetOutcome::Output { latency_ms, cost_usd, usage, .. } => {
                self.latency_ms = *latency_ms;
                self.cost_usd = *cost_usd;
                self.tokens_in = usage.input.map(to_i64);
                self.tokens_out = usage.output.map(to_i64);
            }
            TargetOutcome::Failed { failure } => self.failure = Some(failure.kind.as_str()),
        }
    }

    fn set_scored(&mut self, scored: &Scored) {
        match scored {
            Ok(score) => {
                self.value = score.value.number();
                if let ScoreValue::Label { label, .. } = &score.value {
                    self.label = Some(storable(label).into_owned());
                }
            }
            Err(unscored) => self.unscored = Some(unscored.reason.as_str()),
        }
    }

    fn set_spend(&mut self, spend: &Spend) {
        self.spent_usd = Some(spend.cost_usd);
        self.unpriced_calls = Some(to_i64(spend.unpriced_calls));
    }
}

/// Reads a row of the journal back.
pub(super) fn entry(run: &RunId, (seq, at, body): (i64, String, String)) -> Result<JournalEntry, StoreError> {
    read_entry(run, seq, &at, &body)
}

/// Entries to one row of [`Stretch`]. Rows cost the driver more than what stands in them.
pub(super) const STRETCH: i64 = 64;

/// Numbers, times and events of some entries in one text: fields and entries apart by line breaks, of which JSON has
/// none.
pub(super) type Stretch = String;

/// Reads stretches of a journal back, in the order of the entries.
pub(super) fn stretches(run: &RunId, found: &[Option<Stretch>]) -> Result<Vec<JournalEntry>, StoreError> {
    let mut entries = Vec::with_capacity(found.len() * STRETCH as usize);
    for stretch in found.iter().flatten() {
        let mut lines = stretch.split('\n');
        while let Some(seq) = lines.next() {
            let what = || format!("entry {seq} of run `{run}`");
            let number = seq.parse().map_err(|cause| unreadable(what(), cause))?;
            let (Some(at), Some(body)) = (lines.next(), lines.next()) else {
                return Err(unreadable(what(), "it ends before its event"));
            };
            entries.push(read_entry(run, number, at, body)?);
        }
    }
    // No database promises an order inside a group.
    entries.sort_by_key(|entry| entry.seq);
    Ok(entries)
}

fn read_entry(run: &RunId, seq: i64, at: &str, body: &str) -> Result<JournalEntry, StoreError> {
    let what = || format!("entry {seq} of run `{run}`");
    let event = match common_event(body) {
        Some(event) => event,
        None => serde_json::from_str(body).map_err(|cause| unreadable(what(), cause))?,
    };
    Ok(JournalEntry { seq: to_u64(seq), at: time(at).map_err(|cause| unreadable(what(), cause))?, event })
}

/// The two events that journals are made of, read in one go: a tag inside the object has everything behind it kept aside
/// first. `None` for all others and for what does not read like them.
fn common_event(body: &str) -> Option<Event> {
    #[derive(Deserialize)]
    struct Target {
        trial: TrialKey,
        outcome: TargetOutcome,
        spend: Spend,
    }
    #[derive(Deserialize)]
    struct Cell {
        cell: CellKey,
        scored: Scored,
        spend: Spend,
        cached: bool,
        took_ms: u64,
    }
    if body.starts_with(r#"{"event":"score_finished","#) {
        let Cell { cell, scored, spend, cached, took_ms } = serde_json::from_str(body).ok()?;
        return Some(Event::ScoreFinished { cell, scored, spend, cached, took_ms });
    }
    if body.starts_with(r#"{"event":"target_finished","#) {
        let Target { trial, outcome, spend } = serde_json::from_str(body).ok()?;
        return Some(Event::TargetFinished { trial, outcome, spend });
    }
    None
}

/// Whether entries may follow the last number of a run's journal: the first is `run_started`, there are no gaps.
pub(super) fn check_order(run: &RunId, last: Option<i64>, entries: &[JournalEntry]) -> Result<(), StoreError> {
    let Some(first) = entries.first() else { return Ok(()) };
    let expected = last.map_or(0, |last| to_u64(last) + 1);
    if first.seq < expected {
        return Err(StoreError::Conflict { run: run.clone() });
    }
    for (entry, expected) in entries.iter().zip(expected..) {
        if entry.seq != expected {
            let cause = format!("entry {} of run `{run}` would leave a gap: entry {expected} is next", entry.seq);
            return Err(StoreError::Failed { action: "append", cause });
        }
        if (expected == 0) != matches!(entry.event, Event::RunStarted { .. }) {
            let cause = format!("entry {expected} of run `{run}`: `run_started` comes first, and once");
            return Err(StoreError::Failed { action: "append", cause });
        }
    }
    Ok(())
}

/// The header that the entries start a run with, if they do.
pub(super) fn started(entries: &[JournalEntry]) -> Option<&RunHeader> {
    entries.iter().find_map(|entry| match &entry.event {
        Event::RunStarted { header } => Some(&**header),
        _ => None,
    })
}

/// Reads a run's summary back.
pub(super) fn summary((header, standing, finished): SummaryRow) -> Result<RunSummary, StoreError> {
    let header: RunHeader = parse("run header", &header)?;
    let what = || format!("standing of run `{}`", header.id);
    let status = match standing.map(|body| parse::<Event>(&what(), &body)).transpose()? {
        Some(Event::RunFinished { complete: true, .. }) => RunStatus::Complete,
        Some(Event::RunFinished { complete: false, .. }) => RunStatus::Stopped,
        _ => RunStatus::Open,
    };
    let totals = match finished.map(|body| parse::<Event>(&what(), &body)).transpose()? {
        Some(Event::RunFinished { totals, .. }) => Some(totals),
        _ => None,
    };
    Ok(RunSummary { header, status, totals })
}

/// Picks the one run that was meant from those that match.
pub(super) fn pick(wanted: &str, matching: &[String], latest: &[RunSummary]) -> Result<RunId, StoreError> {
    let refuse = |hint: String| Err(StoreError::NoSuchRun { wanted: wanted.to_owned(), hint });
    if let Some(exact) = matching.iter().find(|id| *id == wanted) {
        return Ok(RunId::new(exact.as_str()));
    }
    if wanted.chars().count() < 4 {
        return refuse("; give at least 4 characters of its id".to_owned());
    }
    match matching {
        [] if latest.is_empty() => refuse(", which holds no runs yet".to_owned()),
        [] => {
            let known: Vec<String> = latest.iter().map(|run| format!("`{}`", run.header.id.short())).collect();
            refuse(format!("; the latest are {}", known.join(", ")))
        }
        [only] => Ok(RunId::new(only.as_str())),
        several => {
            let ids: Vec<String> = several.iter().take(5).map(|id| format!("`{id}`")).collect();
            refuse(format!(" by that text alone: it fits {} and perhaps more; give more of the id", ids.join(", ")))
        }
    }
}

/// Reads a blessing back.
pub(super) fn baseline((suite, run, by, at, reason): BaselineRow) -> Result<Baseline, StoreError> {
    let at = time(&at).map_err(|cause| unreadable(format!("baseline of suite `{suite}`"), cause))?;
    Ok(Baseline { suite, run: RunId::new(run), by, at, reason })
}

/// Reads a record of the audit trail back.
pub(super) fn audit_record(row: AuditRow) -> Result<AuditRecord, StoreError> {
    let (seq, at, actor, action, subject, detail, previous_digest, digest) = row;
    let at = time(&at).map_err(|cause| unreadable(format!("audit record {seq}"), cause))?;
    let entry = AuditEntry { at, actor, action, subject, detail };
    Ok(AuditRecord { seq: to_u64(seq), entry, previous_digest, digest })
}

/// Number and digest of the last record, as the chain wants them.
pub(super) fn audit_head(head: Option<(i64, String)>) -> Option<(u64, String)> {
    head.map(|(seq, digest)| (to_u64(seq), digest))
}

/// The entry as both dialects keep it, so that its digest fits what is read back.
pub(super) fn storable_audit(entry: &AuditEntry) -> AuditEntry {
    AuditEntry {
        at: entry.at,
        actor: storable(&entry.actor).into_owned(),
        action: storable(&entry.action).into_owned(),
        subject: storable(&entry.subject).into_owned(),
        detail: storable(&entry.detail).into_owned(),
    }
}

/// A content packed: digest, size, bytes.
pub(super) type PackedBlob = (String, i64, Vec<u8>);

/// Packs contents, sorted by digest so that two writers take their locks in the same order; each digest once.
pub(super) fn pack(blobs: &[(Digest, Vec<u8>)]) -> Result<Vec<PackedBlob>, StoreError> {
    let mut compressor =
        zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|cause| failed("compress an output", cause))?;
    let mut sorted: Vec<&(Digest, Vec<u8>)> = blobs.iter().collect();
    sorted.sort_by_key(|(digest, _)| digest);
    sorted.dedup_by_key(|(digest, _)| digest);
    let pack = |(digest, bytes): &(Digest, Vec<u8>)| {
        if Digest::of(bytes) != *digest {
            return Err(failed("keep an output", format!("`{digest}` is not the digest of its bytes")));
        }
        let packed = compressor.compress(bytes).map_err(|cause| failed("compress an output", cause))?;
        Ok((digest.to_string(), to_i64(bytes.len() as u64), packed))
    };
    sorted.into_iter().map(pack).collect()
}

/// Unpacks a content and checks that it is what its digest says.
pub(super) fn unpack(digest: &Digest, size: i64, packed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let what = || format!("output `{}`", digest.short());
    let size = usize::try_from(size).ok().filter(|size| *size <= BLOB_LIMIT);
    let size = size.ok_or_else(|| unreadable(what(), "its size is out of range"))?;
    let bytes = zstd::bulk::decompress(packed, size).map_err(|cause| unreadable(what(), cause))?;
    if Digest::of(&bytes) != *digest {
        return Err(unreadable(what(), "its content does not match its digest"));
    }
    Ok(bytes)
}

/// A time with nine digits, so that text order is time order.
pub(super) fn time_text(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// Text that both dialects can keep: Postgres has no NUL in text.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Text for an indexed column. What cannot be indexed as it is (NUL, great length) is told apart by its digest; the
/// event itself keeps the text whole.
pub(super) fn key(text: &str) -> String {
    if text.len() <= KEY_LIMIT && !text.contains('\0') {
        return text.to_owned();
    }
    let head: String = storable(text).chars().take(KEY_LIMIT / 8).collect();
    format!("{head}…{}", Digest::of(text.as_bytes()))
}

/// The JSON of a header.
pub(super) fn header_text(header: &RunHeader) -> Result<String, StoreError> {
    serde_json::to_string(header).map_err(|cause| failed("encode a run header", cause))
}

/// An operation that failed, with the driver's word.
pub(super) fn failed(action: &'static str, cause: impl std::fmt::Display) -> StoreError {
    StoreError::Failed { action, cause: cause.to_string() }
}

/// A driver's error on writing a run: someone else's entry, or a failure.
pub(super) fn append_error(run: &RunId, error: &sqlx::Error) -> StoreError {
    if error.as_database_error().is_some_and(|error| error.is_unique_violation()) {
        return StoreError::Conflict { run: run.clone() };
    }
    failed("append", error)
}

/// As the databases count. Numbers beyond their range stay whole in the event itself.
pub(super) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn time(text: &str) -> Result<Timestamp, jiff::Error> {
    text.parse()
}

fn parse<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|cause| unreadable(what.to_owned(), cause))
}

pub(super) fn unreadable(what: String, cause: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable { what, cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_be_indexed_stay_distinct() {
        let long = "x".repeat(5_000);
        let longer = "x".repeat(5_001);
        assert!(key(&long).len() < 200);
        assert_ne!(key(&long), key(&longer));
        assert_ne!(key("a\0b"), key("a\0c"));
        assert_eq!(key("plain"), "plain");
    }

    #[test]
    fn times_keep_all_digits_and_sort_as_text() {
        let early: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let late: Timestamp = "2026-11-21T10:00:00.000000001Z".parse().unwrap();
        assert!(time_text(early) < time_text(late));
        assert_eq!(time(&time_text(late)).unwrap(), late);
    }

    #[test]
    fn floats_survive_their_text() {
        for number in [0.1 + 0.2, 1.0 / 3.0, 5e-324, f64::MAX, 2.225_073_858_507_201e-308] {
            let text = serde_json::to_string(&number).unwrap();
            assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), number.to_bits(), "{text}");
        }
    }

    /// Slow definition: the tagged enum itself.
    #[test]
    fn common_events_read_like_all_events() {
        let trial = TrialKey { example: "e\n1".into(), trial: 2 };
        let cell = CellKey { trial: trial.clone(), grader: "g\"".to_owned(), draw: 1 };
        let usage = crate::model::Usage { input: Some(3), ..crate::model::Usage::default() };
        let outcome = TargetOutcome::Output { digest: Digest::of(b"x"), latency_ms: Some(0.1), cost_usd: None, usage };
        let spend = Spend::of_call(crate::model::Usage::default(), Some(0.25));
        let score = crate::model::Score::number(1.0 / 3.0, "why\nso").unwrap();
        let unscored = crate::model::Unscored::new(crate::model::UnscoredReason::Timeout, "late");
        let events = [
            Event::TargetFinished { trial, outcome, spend: spend.clone() },
            Event::ScoreFinished {
                cell: cell.clone(),
                scored: Ok(score),
                spend: spend.clone(),
                cached: true,
                took_ms: 7,
            },
            Event::ScoreFinished { cell, scored: Err(unscored), spend, cached: false, took_ms: 0 },
            Event::RunResumed { cells_done: 4 },
        ];
        for (place, event) in events.iter().enumerate() {
            let body = serde_json::to_string(event).unwrap();
            assert_eq!(common_event(&body).is_some(), place < 3, "{body}");
            let at = time_text(Timestamp::UNIX_EPOCH);
            let text = format!("8\n{at}\n{body}\n7\n{at}\n{body}");
            let found = stretches(&RunId::new("r"), &[None, Some(text)]).unwrap();
            assert_eq!(found.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [7, 8]);
            assert!(found.iter().all(|entry| entry.event == *event), "{found:?}");
        }
        let cut = r#"{"event":"score_finished","cell":1}"#;
        assert!(common_event(cut).is_none() && stretches(&RunId::new("r"), &[Some(format!("1\n2\n{cut}"))]).is_err());
        assert!(stretches(&RunId::new("r"), &[Some("1\n2".to_owned())]).is_err());
    }

    #[test]
    fn a_damaged_content_is_noticed() {
        let bytes = b"an output".to_vec();
        let digest = Digest::of(&bytes);
        let packed = pack(&[(digest.clone(), bytes.clone()), (digest.clone(), bytes.clone())]).unwrap();
        assert_eq!(packed.len(), 1);
        assert_eq!(unpack(&digest, packed[0].1, &packed[0].2).unwrap(), bytes);
        assert!(unpack(&Digest::of(b"other"), packed[0].1, &packed[0].2).is_err());
        assert!(unpack(&digest, packed[0].1, b"not zstd").is_err());
        assert!(pack(&[(Digest::of(b"other"), bytes)]).is_err());
    }
}
