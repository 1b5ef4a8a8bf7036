//! What the gate hands out, as data: to be passed between threads, or written down.

use serde::{Deserialize, Serialize};

use crate::model::{Span, TraceScore};

use super::admit::Sink;
use super::error::{Rejected, SinkError};
use super::raw::LogEvent;

/// One thing the gate hands out.
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

/// Everything that was handed out, in order.
impl Sink for Vec<Item> {
    fn span(&mut self, span: Span) -> Result<(), SinkError> {
        self.push(Item::Span(Box::new(span)));
        Ok(())
    }

    fn log_event(&mut self, event: LogEvent) -> Result<(), SinkError> {
        self.push(Item::Event(Box::new(event)));
        Ok(())
    }

    fn score(&mut self, score: TraceScore) -> Result<(), SinkError> {
        self.push(Item::Score(Box::new(score)));
        Ok(())
    }

    fn rejected(&mut self, rejected: Rejected) -> Result<(), SinkError> {
        self.push(Item::Rejected(Box::new(rejected)));
        Ok(())
    }
}
