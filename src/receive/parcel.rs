//! What one request holds.

use crate::ingest::{Item, LogEvent, Rejected, Sink, SinkError};
use crate::model::{Span, TraceScore};

/// Gathers what one request holds, and the first reason for turning something away.
#[derive(Default)]
pub(super) struct Parcel {
    pub(super) items: Vec<Item>,
    pub(super) first_rejection: Option<String>,
}

impl Sink for Parcel {
    fn span(&mut self, span: Span) -> Result<(), SinkError> {
        self.items.span(span)
    }

    fn log_event(&mut self, event: LogEvent) -> Result<(), SinkError> {
        self.items.log_event(event)
    }

    fn score(&mut self, score: TraceScore) -> Result<(), SinkError> {
        self.items.score(score)
    }

    fn rejected(&mut self, rejected: Rejected) -> Result<(), SinkError> {
        if self.first_rejection.is_none() {
            self.first_rejection = Some(rejected.to_string());
        }
        self.items.rejected(rejected)
    }
}
