//! Writing what was taken in on a thread of its own, so that reading goes on meanwhile. One piece is written at a time:
//! memory is bounded by that one and the one being gathered.

use std::thread::{self, JoinHandle};

use super::pricing;
use crate::ingest::SinkError;
use crate::lake::{Lake, Written};
use crate::model::{Span, SpanKind, Trace, TraceFault, TraceId, TraceScore, assemble};
use crate::sys::text;

/// What is written together.
#[derive(Default)]
pub(super) struct Piece {
    pub(super) spans: Vec<Span>,
    pub(super) scores: Vec<TraceScore>,
}

/// What became of a piece.
#[derive(Default)]
pub(super) struct Outcome {
    /// What is to be told of each trace.
    pub(super) traces: Vec<Told>,
    /// Spans that were there twice.
    pub(super) duplicates: u64,
    pub(super) spans: Written,
    pub(super) scores: Written,
}

/// What is told of a trace, or of the part of it that was in one piece.
pub(super) struct Told {
    pub(super) id: TraceId,
    /// Names of its faults.
    pub(super) faults: Vec<&'static str>,
    /// Names of models, one for each call without a price.
    pub(super) unpriced: Vec<String>,
}

impl Told {
    pub(super) fn of(trace: &Trace) -> Self {
        let unpriced = trace
            .spans
            .iter()
            .filter(|span| span.kind == SpanKind::Model && pricing::says_tokens(span) && span.cost_usd.is_none());
        Self {
            id: trace.id.clone(),
            faults: trace.faults.iter().map(fault_name).collect(),
            unpriced: unpriced.map(|span| text::one_line(&pricing::unpriced_name(span), 80)).collect(),
        }
    }
}

/// A fault as the report names it.
pub(super) fn fault_name(fault: &TraceFault) -> &'static str {
    match fault {
        TraceFault::MissingParent { .. } => "missing parent",
        TraceFault::SeveralRoots { .. } => "several roots",
        TraceFault::Cycle { .. } => "cycle of parents",
        TraceFault::EndBeforeStart { .. } => "end before start",
        TraceFault::Duplicate { .. } => "span id used twice",
    }
}

/// The piece that is being written, if there is one.
#[derive(Default)]
pub(super) struct Writing(Option<JoinHandle<Result<Outcome, SinkError>>>);

impl Writing {
    /// Begins with a piece. The one before must have been waited for.
    pub(super) fn begin(&mut self, lake: &Lake, piece: Piece) {
        let lake = lake.clone();
        self.0 = Some(thread::spawn(move || write(&lake, piece)));
    }

    /// Waits until what was begun is on disk; `None` when nothing was.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) fn wait(&mut self) -> Result<Option<Outcome>, SinkError> {
        let Some(begun) = self.0.take() else { return Ok(None) };
        match begun.join() {
            Ok(outcome) => outcome.map(Some),
            Err(_) => Err("the thread that writes broke off".into()),
        }
    }
}

fn write(lake: &Lake, piece: Piece) -> Result<Outcome, SinkError> {
    let assembled = assemble(piece.spans);
    let mut outcome = Outcome { duplicates: assembled.duplicates, ..Outcome::default() };
    outcome.spans = lake.write(&assembled.traces)?;
    outcome.scores = lake.write_scores(&piece.scores)?;
    outcome.traces = assembled.traces.iter().map(Told::of).collect();
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SpanId, Usage};

    fn model(trace: &str, id: &str) -> Span {
        let usage = Usage { input: Some(1), output: Some(1), ..Usage::default() };
        Span { usage, ..Span::new(TraceId::from(trace), SpanId::from(id), SpanKind::Model, "chat", 1) }
    }

    #[test]
    fn a_piece_is_on_disk_when_it_was_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::new(folder.path());
        let mut writing = Writing::default();
        assert!(writing.wait().unwrap().is_none());
        let spans = vec![model("a", "1"), model("a", "1"), model("b", "2")];
        writing.begin(&lake, Piece { spans, scores: Vec::new() });
        let outcome = writing.wait().unwrap().unwrap();
        assert_eq!((outcome.spans.added, outcome.duplicates, outcome.traces.len()), (2, 1, 2));
        assert_eq!(outcome.traces[0].unpriced, ["no model named"]);
        assert_eq!(lake.traces_by_id(&[TraceId::from("b")]).unwrap().len(), 1);
        assert!(writing.wait().unwrap().is_none());
    }

    #[test]
    fn a_lake_that_cannot_be_written_is_told_when_it_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("file");
        std::fs::write(&blocker, "x").unwrap();
        let mut writing = Writing::default();
        writing.begin(&Lake::new(&blocker), Piece { spans: vec![model("a", "1")], scores: Vec::new() });
        assert!(writing.wait().is_err());
    }
}
