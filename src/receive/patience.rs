//! How long a log record waits for its span. Log records come before their spans mostly: a span is sent when it ends.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ingest::LogEvent;
use crate::model::{SpanId, TraceId};

/// Longest wait for a span since its first log record came.
const LONGEST: Duration = Duration::from_secs(3600);
/// Most bytes that may wait; the latest come first. A sender of log records without spans must not fill the memory.
const MOST_BYTES: usize = 64 << 20;

/// Remembers since when log records wait for which span. A restart begins to count anew.
#[derive(Debug, Default)]
pub struct Patience {
    since: HashMap<(TraceId, SpanId), Instant>,
}

impl Patience {
    /// Whether log records of the same span wait already.
    pub fn knows(&self, event: &LogEvent) -> bool {
        self.since.contains_key(&key(event))
    }

    /// Parts what is to wait on from what waited long enough; the latter is counted. `waiting` is everything that
    /// waits at `now`; the order stays.
    pub fn part(&mut self, waiting: Vec<LogEvent>, now: Instant) -> (Vec<LogEvent>, usize) {
        self.part_within(waiting, now, MOST_BYTES)
    }

    fn part_within(&mut self, waiting: Vec<LogEvent>, now: Instant, most_bytes: usize) -> (Vec<LogEvent>, usize) {
        let mut weights: HashMap<(TraceId, SpanId), usize> = HashMap::new();
        for event in &waiting {
            *weights.entry(key(event)).or_default() += event.weight();
        }
        let mut spans: Vec<_> =
            weights.into_iter().map(|(key, weight)| (*self.since.get(&key).unwrap_or(&now), key, weight)).collect();
        spans.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let mut bytes = 0_usize;
        self.since.clear();
        for (since, key, weight) in spans {
            bytes = bytes.saturating_add(weight);
            if now.saturating_duration_since(since) < LONGEST && bytes <= most_bytes {
                self.since.insert(key, since);
            }
        }
        let before = waiting.len();
        let on: Vec<LogEvent> = waiting.into_iter().filter(|event| self.since.contains_key(&key(event))).collect();
        let given_up = before - on.len();
        (on, given_up)
    }
}

fn key(event: &LogEvent) -> (TraceId, SpanId) {
    (event.trace_id.clone(), event.span_id.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(span: &str) -> LogEvent {
        let event = json!({"trace_id": "t", "span_id": span, "event": {"name": "x"}, "source": {}});
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn an_hour_after_the_first_record_of_a_span_its_records_are_given_up() {
        let mut patience = Patience::default();
        let begun = Instant::now();
        assert!(!patience.knows(&event("a")));
        assert_eq!(patience.part(vec![event("a")], begun), (vec![event("a")], 0));
        assert!(patience.knows(&event("a")) && !patience.knows(&event("b")));
        let later = begun + LONGEST / 2;
        let both = vec![event("a"), event("a"), event("b")];
        assert_eq!(patience.part(both.clone(), later), (both.clone(), 0));
        assert_eq!(patience.part(both, begun + LONGEST), (vec![event("b")], 2));
        assert_eq!(patience.part(Vec::new(), begun + LONGEST), (Vec::new(), 0));
        assert_eq!(patience.part(vec![event("b")], later + LONGEST), (vec![event("b")], 0));
    }

    #[test]
    fn where_too_much_waits_the_oldest_goes() {
        let mut patience = Patience::default();
        let begun = Instant::now();
        patience.part(vec![event("old")], begun);
        let room = event("old").weight() + event("new").weight() - 1;
        let both = vec![event("old"), event("new")];
        assert_eq!(patience.part_within(both, begun + LONGEST / 9, room), (vec![event("new")], 1));
    }
}
