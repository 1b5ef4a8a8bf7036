//! What a log record says about a model call: messages for a span, or a score. Knows no encoding.

use crate::model::{Source, SpanId, TraceId, TraceScore};

use super::admit::Gate;
use super::dialect::{EVALUATION, is_message_event, score_of_event};
use super::error::IngestError;
use super::raw::{Attributes, Event, LogEvent};

/// How records are counted that say nothing of the kind.
pub(super) const OTHER: &str = "log records that carry no message of a model";

/// What a record says.
pub(super) enum Said {
    /// Something about a span of the same ingest.
    Event(LogEvent),
    /// What someone else thought of a trace, a span or a session.
    Score(TraceScore),
}

impl Said {
    /// Hands it out.
    pub(super) fn admit(self, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
        match self {
            Self::Event(event) => gate.admit_event(event, line),
            Self::Score(score) => gate.admit_score(score, line),
        }
    }
}

/// The name of a record: its own field, else the attribute older emitters used, which is taken out.
pub(super) fn name(field: Option<String>, attributes: &mut Attributes) -> Option<String> {
    let attribute = attributes.remove("event.name").and_then(|value| value.as_str().map(str::to_owned));
    field.filter(|name| !name.is_empty()).or(attribute).filter(|name| name == EVALUATION || is_message_event(name))
}

/// What an event that came as a record says; `None` when it names nothing to join it to.
pub(super) fn said(trace_id: Option<String>, span_id: Option<String>, event: Event) -> Option<Said> {
    if event.name == EVALUATION {
        let mut score = score_of_event(&event.attributes, event.time_ns)?;
        score.trace_id = trace_id.map(TraceId::new);
        score.span_id = span_id.filter(|_| score.trace_id.is_some()).map(SpanId::new);
        return (score.trace_id.is_some() || score.session_id.is_some()).then_some(Said::Score(score));
    }
    let (trace_id, span_id) = trace_id.zip(span_id)?;
    let source = Source::default();
    Some(Said::Event(LogEvent { trace_id: TraceId::new(trace_id), span_id: SpanId::new(span_id), event, source }))
}
