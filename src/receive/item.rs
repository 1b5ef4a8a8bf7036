//! One thing received, in the form it has in the spool.

use serde::{Deserialize, Serialize};

use crate::ingest::{LogEvent, Rejected, Sink, SinkError};
use crate::model::{Span, TraceScore};

/// What the gate hands out, as data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A span.
    Span(Box<Span>),
    /// An event apart from its span.
    Event(Box<LogEvent>),
    /// A score that someone else gave.
    Score(Box<TraceScore>),
    /// A row turned away.
    Rejected(Box<Rejected>),
}

impl Item {
    /// Hands it on.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn give(self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        match self {
            Self::Span(span) => sink.span(*span),
            Self::Event(event) => sink.log_event(*event),
            Self::Score(score) => sink.score(*score),
            Self::Rejected(rejected) => sink.rejected(*rejected),
        }
    }
}

/// Gathers what one request holds.
#[derive(Default)]
pub(super) struct Parcel {
    pub(super) items: Vec<Item>,
    pub(super) first_rejection: Option<String>,
}

impl Sink for Parcel {
    fn span(&mut self, span: Span) -> Result<(), SinkError> {
        self.items.push(Item::Span(Box::new(span)));
        Ok(())
    }

    fn log_event(&mut self, event: LogEvent) -> Result<(), SinkError> {
        self.items.push(Item::Event(Box::new(event)));
        Ok(())
    }

    fn score(&mut self, score: TraceScore) -> Result<(), SinkError> {
        self.items.push(Item::Score(Box::new(score)));
        Ok(())
    }

    fn rejected(&mut self, rejected: Rejected) -> Result<(), SinkError> {
        if self.first_rejection.is_none() {
            self.first_rejection = Some(rejected.to_string());
        }
        self.items.push(Item::Rejected(Box::new(rejected)));
        Ok(())
    }
}
