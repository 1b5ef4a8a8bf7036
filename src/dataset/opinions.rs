//! What others said about traces: the scores that count for each, and the one dimension that is read from them.
//!
//! Where the scores are stored, and whether they are needed at all, is the caller's.

use std::collections::HashMap;

use super::dimension::trace_dimension;
use super::features::negative_feedback;
use crate::model::{SessionId, Trace, TraceId, TraceScore};

/// The dimension that scores decide, beside attributes: whether a user or annotator was displeased.
pub const NEGATIVE_FEEDBACK: &str = "negative_feedback";

/// Scores by what they are about.
#[derive(Clone, Debug, Default)]
pub struct Opinions {
    traces: HashMap<TraceId, Vec<TraceScore>>,
    sessions: HashMap<SessionId, Vec<TraceScore>>,
}

impl Opinions {
    /// Sorts scores by trace; those that name only a session count for every trace of it.
    pub fn new(scores: impl IntoIterator<Item = TraceScore>) -> Self {
        let mut opinions = Self::default();
        for score in scores {
            match (&score.trace_id, &score.session_id) {
                (Some(trace), _) => opinions.traces.entry(trace.clone()).or_default().push(score),
                (None, Some(session)) => opinions.sessions.entry(session.clone()).or_default().push(score),
                (None, None) => {}
            }
        }
        opinions
    }

    /// A dimension of a trace, as [`trace_dimension`] gives it, with what is known here.
    pub fn dimension(&self, trace: &Trace, name: &str) -> Option<String> {
        if name == NEGATIVE_FEEDBACK {
            return negative_feedback(trace, self.of(trace)).map(|said| said.to_string());
        }
        trace_dimension(trace, name)
    }

    fn of(&self, trace: &Trace) -> impl Iterator<Item = &TraceScore> {
        let session = trace.session_id.as_ref().and_then(|session| self.sessions.get(session));
        self.traces.get(&trace.id).into_iter().chain(session).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ScoreOrigin, Source};

    fn score(trace: Option<&str>, session: Option<&str>, value: f64) -> TraceScore {
        TraceScore {
            trace_id: trace.map(TraceId::new),
            span_id: None,
            session_id: session.map(SessionId::new),
            name: "thumbs".into(),
            value: Some(value),
            label: None,
            comment: None,
            origin: ScoreOrigin::User,
            author: None,
            at_ns: None,
            source: Source::default(),
        }
    }

    #[test]
    fn a_score_counts_for_its_trace_and_one_of_a_session_for_all_of_it() {
        let trace = |id: &str, session: Option<&str>| Trace {
            id: TraceId::new(id),
            session_id: session.map(SessionId::new),
            spans: Vec::new(),
            faults: Vec::new(),
        };
        let opinions =
            Opinions::new([score(Some("a"), Some("s"), 1.0), score(None, Some("u"), 0.0), score(None, None, 0.0)]);
        let said = |trace: &Trace| opinions.dimension(trace, NEGATIVE_FEEDBACK);
        assert_eq!(said(&trace("a", Some("s"))).as_deref(), Some("false"));
        assert_eq!(said(&trace("b", Some("s"))), None, "the score names a trace of the session, not the session");
        assert_eq!(said(&trace("a", Some("u"))).as_deref(), Some("true"));
        assert_eq!(said(&trace("c", Some("u"))).as_deref(), Some("true"));
        assert_eq!(opinions.dimension(&trace("c", Some("u")), "session").as_deref(), None);
    }
}
