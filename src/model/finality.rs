//! When a trace is whole: its root has ended and nothing came for a while. And the digest by which a trace that grew
//! later is told from the one that was sampled.

use serde::{Deserialize, Serialize};

use super::{Digest, Digester, PRICED_KEY, Source, Span, Trace};

/// Whether a trace can still grow, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// Its root has ended, and it was idle for long enough.
    Final,
    /// Its root never ended or never came, and nothing was added for so long that nothing will be.
    Abandoned,
    /// No root has ended yet.
    Running,
    /// Its root has ended, and spans came only just now.
    Settling,
}

impl Finality {
    /// Whether more spans are to be expected.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Settling)
    }
}

/// How long to wait, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalityRule {
    /// Idle time after which a trace with an ended root is final.
    pub idle_ns: i64,
    /// Idle time after which a trace without an ended root is abandoned.
    pub max_age_ns: i64,
}

impl Default for FinalityRule {
    /// Five minutes, one day.
    fn default() -> Self {
        Self { idle_ns: 300 * 1_000_000_000, max_age_ns: 86_400 * 1_000_000_000 }
    }
}

/// What tells whether a trace is final; narrow columns know as much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Whether a span without a parent has ended.
    pub root_ended: bool,
    /// Latest start or end of a span, nanoseconds since 1970.
    pub latest_ns: i64,
}

impl Activity {
    /// Judges at a moment, nanoseconds since 1970.
    ///
    /// A trace that lies in the future by more than the idle time was stamped by another clock, so that idleness
    /// cannot be told: then its root alone decides.
    pub fn judge(self, now_ns: i64, rule: FinalityRule) -> Finality {
        let idle = now_ns.saturating_sub(self.latest_ns);
        let other_clock = idle < rule.idle_ns.saturating_neg();
        match self.root_ended {
            true if idle >= rule.idle_ns || other_clock => Finality::Final,
            true => Finality::Settling,
            false if idle >= rule.max_age_ns => Finality::Abandoned,
            false => Finality::Running,
        }
    }
}

impl Trace {
    /// When it last grew, and whether its root has ended. A root that has not come yet has not ended: exporters send
    /// it last.
    pub fn activity(&self) -> Activity {
        let latest = self.spans.iter().map(|span| span.end_ns.map_or(span.start_ns, |end| end.max(span.start_ns)));
        Activity {
            root_ended: self.spans.iter().any(|span| span.parent_id.is_none() && span.end_ns.is_some()),
            latest_ns: latest.max().unwrap_or_default(),
        }
    }

    /// Whether it can still grow, at a moment in nanoseconds since 1970.
    pub fn finality(&self, now_ns: i64, rule: FinalityRule) -> Finality {
        self.activity().judge(now_ns, rule)
    }

    /// Digest of what its spans say, whatever their order; without where they were read and without computed prices,
    /// so that neither a copied file nor a new price list makes it another trace.
    pub fn content_digest(&self) -> Digest {
        let mut parts: Vec<Digest> = self.spans.iter().map(digest_of_span).collect();
        parts.sort();
        let mut digester = Digester::new().part("trace", self.id.as_str().as_bytes());
        for part in &parts {
            digester.add("span", part.as_str().as_bytes());
        }
        digester.finish()
    }
}

fn digest_of_span(span: &Span) -> Digest {
    let mut bare = Span { source: Source::default(), ..span.clone() };
    if bare.attributes.remove(PRICED_KEY).is_some() {
        bare.cost_usd = None;
    }
    // A span always serialises; a failure would digest as nothing.
    Digest::of(serde_json::to_string(&bare).unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{SpanId, SpanKind, TraceId};

    const MINUTE: i64 = 60 * 1_000_000_000;

    fn span(id: &str, parent: Option<&str>, start: i64, end: Option<i64>) -> Span {
        let mut span = Span::new(TraceId::new("t"), SpanId::new(id), SpanKind::Agent, id, start * MINUTE);
        span.parent_id = parent.map(SpanId::from);
        span.end_ns = end.map(|end| end * MINUTE);
        span
    }

    fn trace(spans: Vec<Span>) -> Trace {
        Trace { id: TraceId::new("t"), session_id: None, spans, faults: Vec::new() }
    }

    #[test]
    fn a_trace_is_final_when_its_root_ended_and_nothing_comes() {
        let rule = FinalityRule::default();
        let at = |trace: &Trace, minute: i64| trace.finality(minute * MINUTE, rule);
        let ended = trace(vec![span("r", None, 0, Some(10)), span("c", Some("r"), 1, Some(9))]);
        assert_eq!([at(&ended, 14), at(&ended, 15)], [Finality::Settling, Finality::Final]);
        let late = trace(vec![span("r", None, 0, Some(10)), span("late", Some("r"), 14, None)]);
        assert_eq!([at(&late, 15), at(&late, 19)], [Finality::Settling, Finality::Final]);
        let running = trace(vec![span("r", None, 0, None), span("c", Some("r"), 1, Some(9))]);
        assert_eq!([at(&running, 60), at(&running, 9 + 1440)], [Finality::Running, Finality::Abandoned]);
        let rootless = trace(vec![span("c", Some("r"), 1, Some(9))]);
        assert_eq!([at(&rootless, 60), at(&rootless, 9 + 1440)], [Finality::Running, Finality::Abandoned]);
    }

    #[test]
    fn a_trace_of_another_clock_is_judged_by_its_root() {
        let rule = FinalityRule::default();
        let ended = trace(vec![span("r", None, 100, Some(110))]);
        assert_eq!(ended.finality(0, rule), Finality::Final);
        assert_eq!(ended.finality(108 * MINUTE, rule), Finality::Settling);
        assert_eq!(trace(vec![span("r", None, 100, None)]).finality(0, rule), Finality::Running);
    }

    #[test]
    fn the_digest_follows_content_and_nothing_else() {
        let base = trace(vec![span("r", None, 0, Some(10)), span("c", Some("r"), 1, Some(9))]);
        let digest = base.content_digest();
        let mut same = base.clone();
        same.spans.reverse();
        same.spans[0].source.line = Some(7);
        same.spans[0].attributes.insert(PRICED_KEY.to_owned(), json!(true));
        same.spans[0].cost_usd = Some(0.5);
        assert_eq!(same.content_digest(), digest);
        let mut late = base.clone();
        late.spans.push(span("late", Some("r"), 20, None));
        assert_ne!(late.content_digest(), digest);
        let mut stated = base;
        stated.spans[0].cost_usd = Some(0.5);
        assert_ne!(stated.content_digest(), digest);
    }
}
