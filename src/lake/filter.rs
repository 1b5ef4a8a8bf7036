//! Which traces a reader wants.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{SessionId, Span, Trace};

/// Conditions on a trace; all must hold, an empty filter takes every trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceFilter {
    /// Earliest start of a trace (its first span), inclusive.
    pub since: Option<Timestamp>,
    /// Latest start of a trace, exclusive.
    pub until: Option<Timestamp>,
    /// Dimensions that must have these values; names as in [`Trace::dimension`].
    pub attributes: BTreeMap<String, String>,
    /// Only traces with a span that says it failed.
    pub only_errors: bool,
    /// Only traces of this session.
    pub session: Option<SessionId>,
}

impl TraceFilter {
    /// Whether a trace fulfils all conditions.
    pub fn matches(&self, trace: &Trace) -> bool {
        let Some(start) = trace.spans.first().map(|span| span.start_ns) else { return false };
        self.in_time(start)
            && (!self.only_errors || trace.spans.iter().any(Span::failed))
            && self.session.as_ref().is_none_or(|session| trace.session_id.as_ref() == Some(session))
            && self.attributes.iter().all(|(key, value)| trace.dimension(key).as_ref() == Some(value))
    }

    /// Whether a start, in nanoseconds since 1970, lies between the bounds.
    pub(crate) fn in_time(&self, start_ns: i64) -> bool {
        let nanos = |time: Timestamp| time.as_nanosecond();
        self.since.is_none_or(|since| nanos(since) <= i128::from(start_ns))
            && self.until.is_none_or(|until| i128::from(start_ns) < nanos(until))
    }
}
