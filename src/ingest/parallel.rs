//! Records of a file read by several threads and handed on in the order of the file.
//!
//! One thread cuts the file into records, as many as there are processors parse them and give them their meaning, each
//! through a gate of its own, and the caller's thread hands everything to its sink in the order of the file: results
//! do not depend on how many threads there are. What waits is bounded by a few pieces per thread.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::item::Item;
use super::open::{Head, Opened};
use super::records::{Records, Step};
use super::{FileSummary, ReadOptions};

/// Bytes of records that are passed between threads at once.
const PIECE: usize = 1 << 20;

/// Pieces under way for each thread at most.
const AHEAD: usize = 4;

/// Some records in a row.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    /// End in `bytes` and line of each record, with what is wrong where it could not be cut out.
    records: Vec<(usize, u64, Option<Problem>)>,
}

/// What became of a piece.
struct Read {
    items: Vec<Item>,
    summary: FileSummary,
    failed: Option<IngestError>,
}

/// Cuts a file into records and gives each to `record`, which may run on any thread.
///
/// # Errors
/// Those of `record` and of the gate's sink; the first in the order of the file.
pub(super) fn each_record<F>(opened: Opened, gate: &mut Gate<'_>, record: F) -> Result<(), IngestError>
where
    F: Fn(&[u8], Option<u64>, &mut Gate<'_>) -> Result<(), IngestError> + Sync,
{
    let head = opened.head().bytes.to_vec();
    let head = Head { bytes: &head, whole: opened.head().whole };
    let mut records = Records::new(opened, head, gate.options.max_record_bytes);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    // A file that fits into one piece is done before threads are there.
    if head.whole || threads == 1 {
        while let Some(piece) = next_piece(&mut records) {
            read_piece(&piece, gate, &record)?;
        }
        return Ok(());
    }
    let (options, file) = (gate.options, gate.summary.file.clone());
    thread::scope(|scope| {
        let (to_readers, pieces) = sync_channel(threads);
        // A piece may begin only when an earlier one has been handed on: what waits for a slow piece is bounded.
        let (allow, allowed) = sync_channel(AHEAD * threads);
        for _ in 0..AHEAD * threads {
            let _ = allow.try_send(());
        }
        let (to_caller, done) = sync_channel(threads);
        let pieces = Arc::new(Mutex::new(pieces));
        scope.spawn(move || cut(records, &allowed, &to_readers));
        for _ in 0..threads {
            let (to_caller, pieces, record, file) = (to_caller.clone(), Arc::clone(&pieces), &record, &file);
            scope.spawn(move || work(&pieces, &to_caller, options, file, record));
        }
        // Channels live as long as those who use them: whoever ends, the others find nobody to speak to and end too.
        drop((to_caller, pieces));
        hand_on(done, &allow, gate)
    })
}

fn cut(mut records: Records<Opened>, allowed: &Receiver<()>, to_readers: &SyncSender<(u64, Piece)>) {
    let mut number = 0;
    while allowed.recv().is_ok()
        && let Some(piece) = next_piece(&mut records)
    {
        if to_readers.send((number, piece)).is_err() {
            return;
        }
        number += 1;
    }
}

fn next_piece(records: &mut Records<Opened>) -> Option<Piece> {
    let mut piece = Piece::default();
    let mut buffer = Vec::new();
    while piece.bytes.len() < PIECE {
        let (line, problem) = match records.next(&mut buffer) {
            Step::End => break,
            Step::Bad(line, problem) => (line, Some(problem)),
            Step::Record(line) => (line, None),
        };
        if piece.bytes.is_empty() {
            // The first one as it is: a record may be large, and copying it would hold it twice.
            piece.bytes = std::mem::take(&mut buffer);
        } else {
            piece.bytes.extend_from_slice(&buffer);
        }
        piece.records.push((piece.bytes.len(), line, problem));
    }
    (!piece.records.is_empty()).then_some(piece)
}

fn read_piece<F>(piece: &Piece, gate: &mut Gate<'_>, record: &F) -> Result<(), IngestError>
where
    F: Fn(&[u8], Option<u64>, &mut Gate<'_>) -> Result<(), IngestError>,
{
    let mut begin = 0;
    for (end, line, problem) in &piece.records {
        let bytes = piece.bytes.get(begin..*end).unwrap_or_default();
        begin = *end;
        match problem {
            Some(problem) => gate.reject(problem.clone(), Some(*line), bytes)?,
            None => record(bytes, Some(*line), gate)?,
        }
    }
    Ok(())
}

fn work<F>(
    pieces: &Mutex<Receiver<(u64, Piece)>>,
    to_caller: &SyncSender<(u64, Read)>,
    options: &ReadOptions<'_>,
    file: &str,
    record: &F,
) where
    F: Fn(&[u8], Option<u64>, &mut Gate<'_>) -> Result<(), IngestError>,
{
    loop {
        let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, piece)) = next else { return };
        let mut items = Vec::new();
        let summary = FileSummary { file: file.to_owned(), ..FileSummary::default() };
        let mut gate = Gate::new(options, summary, &mut items);
        let read = read_piece(&piece, &mut gate, record);
        let (summary, failed) = match (read, gate.finish()) {
            (Ok(()), Ok(summary)) => (summary, None),
            (Err(error), Ok(summary)) => (summary, Some(error)),
            (_, Err(error)) => (FileSummary::default(), Some(error)),
        };
        if to_caller.send((number, Read { items, summary, failed })).is_err() {
            return;
        }
    }
}

/// Hands pieces on in order; those that come early wait.
fn hand_on(done: Receiver<(u64, Read)>, allow: &SyncSender<()>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let mut early: BTreeMap<u64, Read> = BTreeMap::new();
    let mut next = 0;
    for (number, read) in done {
        early.insert(number, read);
        while let Some(read) = early.remove(&next) {
            next += 1;
            gate.pass_on(read.items, read.summary)?;
            // The cutter may have reached the end and gone.
            let _ = allow.try_send(());
            if let Some(error) = read.failed {
                return Err(error);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Assembler, IngestError, LogEvent, ReadOptions, Rejected, Sink, SinkError, read_stream};
    use crate::model::Span;

    /// Three thousand spans, some five pieces; every five-hundredth line is broken.
    fn lines() -> Vec<u8> {
        let mut text = String::new();
        for number in 1..=3000 {
            if number % 500 == 0 {
                text.push_str("{\"resourceSpans\": oops}\n");
                continue;
            }
            let span = json!({"traceId": format!("{number:032x}"), "spanId": format!("{number:016x}"), "name": "x".repeat(1500),
                "startTimeUnixNano": "1795248000100000000"});
            text.push_str(&json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string());
            text.push('\n');
        }
        text.into_bytes()
    }

    #[test]
    fn order_and_counts_are_those_of_the_file() {
        let mut assembler = Assembler::new();
        let reader = Box::new(std::io::Cursor::new(lines()));
        let summary = read_stream("-", reader, None, &ReadOptions::default(), &mut assembler).unwrap();
        assert_eq!((summary.spans, summary.rejected), (2994, 6));
        let gathered = assembler.drain();
        let bad: Vec<Option<u64>> = gathered.rejected.iter().map(|rejected| rejected.line).collect();
        assert_eq!(bad, [500, 1000, 1500, 2000, 2500, 3000].map(Some));
        assert_eq!(gathered.traces.len(), 2994);
    }

    /// Takes so many spans and no more.
    struct Full(usize);

    impl Sink for Full {
        fn span(&mut self, _: Span) -> Result<(), SinkError> {
            self.0 = self.0.checked_sub(1).ok_or("disk is full")?;
            Ok(())
        }
        fn log_event(&mut self, _: LogEvent) -> Result<(), SinkError> {
            Ok(())
        }
        fn rejected(&mut self, _: Rejected) -> Result<(), SinkError> {
            Ok(())
        }
    }

    #[test]
    fn a_taker_that_fails_ends_the_reading() {
        for room in [0, 1, 700, 2993] {
            let reader = Box::new(std::io::Cursor::new(lines()));
            let read = read_stream("-", reader, None, &ReadOptions::default(), &mut Full(room));
            assert!(matches!(read, Err(IngestError::Sink { .. })), "{room}: {read:?}");
        }
    }
}
