//! Spans, in any order and from any number of places, put together to traces.
//!
//! A pure function of the set of spans: neither their order nor how they were split over files changes the result.
//! Here and not in `ingest`, because the lake assembles what it reads back by the same rules.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{REVISION_KEY, SessionId, Source, Span, SpanId, Trace, TraceFault, TraceId};

/// What [`assemble`] made of a set of spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assembled {
    /// Traces sorted by (earliest start, id); spans of each sorted by (start, id).
    pub traces: Vec<Trace>,
    /// Spans left out because an equal one was kept, whatever file each came from.
    pub duplicates: u64,
}

/// Groups spans by trace, leaves out equal ones, and states the faults of each trace.
///
/// Two spans with the same ids and different content are two reports of one step: the one with the later end is
/// kept, then the one with more content, then the greater text, so that the choice never depends on order; the trace
/// gets a [`TraceFault::Duplicate`]. Where the source says which report is newer ([`REVISION_KEY`]), that one is kept
/// and the older ones are duplicates like equal ones: no fault.
pub fn assemble(spans: impl IntoIterator<Item = Span>) -> Assembled {
    let mut groups: HashMap<TraceId, Vec<Span>> = HashMap::new();
    for span in spans {
        match groups.get_mut(&span.trace_id) {
            Some(group) => group.push(span),
            None => {
                groups.insert(span.trace_id.clone(), vec![span]);
            }
        }
    }
    let mut assembled = Assembled::default();
    for (id, spans) in groups {
        let (trace, duplicates) = trace_of(id, spans);
        assembled.traces.push(trace);
        assembled.duplicates += duplicates;
    }
    let start = |trace: &Trace| trace.spans.first().map(|span| span.start_ns);
    assembled.traces.sort_by(|left, right| (start(left), &left.id).cmp(&(start(right), &right.id)));
    assembled
}

fn trace_of(id: TraceId, mut spans: Vec<Span>) -> (Trace, u64) {
    let met = spans.len() as u64;
    spans.sort_by(|left, right| left.span_id.cmp(&right.span_id));
    let mut kept: Vec<Span> = Vec::with_capacity(spans.len());
    let mut faults = Vec::new();
    let mut same: Vec<Span> = Vec::new();
    let mut superseded = 0;
    for span in spans {
        if same.first().is_some_and(|first| first.span_id != span.span_id) {
            superseded += settle(std::mem::take(&mut same), &mut kept, &mut faults);
        }
        same.push(span);
    }
    superseded += settle(same, &mut kept, &mut faults);
    kept.sort_by(|left, right| (left.start_ns, &left.span_id).cmp(&(right.start_ns, &right.span_id)));
    let duplicates = met - kept.len() as u64 - superseded;
    faults.extend(structural_faults(&kept));
    faults.sort();
    let mut trace = Trace { id, session_id: None, spans: kept, faults };
    trace.session_id = session_of(&trace);
    (trace, duplicates)
}

/// Keeps one of several spans with the same id; answers how many differing ones were superseded.
fn settle(mut same: Vec<Span>, kept: &mut Vec<Span>, faults: &mut Vec<TraceFault>) -> u64 {
    if same.len() < 2 {
        kept.append(&mut same);
        return 0;
    }
    let newest = same.iter().map(revision).max().flatten();
    same.retain(|span| revision(span) == newest);
    // Keyed by content without the place it was read, so that one export under two names is one span. The platform's
    // own ids are content.
    let mut versions: BTreeMap<(Option<i64>, usize, String), (Span, Source)> = BTreeMap::new();
    for mut span in same {
        let source = std::mem::take(&mut span.source);
        span.source.native.clone_from(&source.native);
        let text = serde_json::to_string(&span).unwrap_or_default();
        let entry = versions.entry((span.end_ns, text.len(), text)).or_insert_with(|| (span, source.clone()));
        if (&source.file, source.line) < (&entry.1.file, entry.1.line) {
            entry.1 = source;
        }
    }
    let superseded = versions.len().saturating_sub(1) as u64;
    if let Some((_, (mut span, source))) = versions.pop_last() {
        if superseded > 0 {
            faults.push(TraceFault::Duplicate { span: span.span_id.clone() });
        }
        span.source = source;
        kept.push(span);
    }
    superseded
}

/// Which report of the span this is, where the source says.
fn revision(span: &Span) -> Option<i64> {
    span.attributes.get(REVISION_KEY).and_then(Value::as_i64)
}

/// Faults that follow from the kept spans alone.
fn structural_faults(spans: &[Span]) -> Vec<TraceFault> {
    let mut faults = Vec::new();
    let places: HashMap<&SpanId, usize> = spans.iter().enumerate().map(|(at, span)| (&span.span_id, at)).collect();
    let parents: Vec<Option<usize>> =
        spans.iter().map(|span| span.parent_id.as_ref().and_then(|id| places.get(id).copied())).collect();
    for (span, parent) in spans.iter().zip(&parents) {
        if span.parent_id.is_some() && parent.is_none() {
            faults.push(TraceFault::MissingParent { span: span.span_id.clone() });
        }
        if span.end_ns.is_some_and(|end| end < span.start_ns) {
            faults.push(TraceFault::EndBeforeStart { span: span.span_id.clone() });
        }
    }
    let roots = spans.iter().filter(|span| span.parent_id.is_none()).count();
    if roots > 1 {
        faults.push(TraceFault::SeveralRoots { count: roots });
    }
    let on_cycle = cycles(&parents);
    faults.extend(
        spans
            .iter()
            .zip(on_cycle)
            .filter(|(_, on_cycle)| *on_cycle)
            .map(|(span, _)| TraceFault::Cycle { span: span.span_id.clone() }),
    );
    faults
}

/// For each place whether following parents from it comes back to it. Linear: each place is walked from once.
fn cycles(parents: &[Option<usize>]) -> Vec<bool> {
    let mut walk_of: Vec<usize> = vec![0; parents.len()];
    let mut on_cycle = vec![false; parents.len()];
    for start in 0..parents.len() {
        let walk = start + 1;
        let mut at = Some(start);
        while let Some(place) = at {
            match walk_of.get_mut(place) {
                Some(seen) if *seen == 0 => *seen = walk,
                Some(seen) if *seen == walk => {
                    mark_cycle(place, parents, &mut on_cycle);
                    break;
                }
                _ => break,
            }
            at = parents.get(place).copied().flatten();
        }
    }
    on_cycle
}

fn mark_cycle(start: usize, parents: &[Option<usize>], on_cycle: &mut [bool]) {
    let mut at = Some(start);
    while let Some(place) = at {
        match on_cycle.get_mut(place) {
            Some(mark) if !*mark => *mark = true,
            _ => break,
        }
        at = parents.get(place).copied().flatten();
    }
}

/// The session that the root names, else the first span that names one.
fn session_of(trace: &Trace) -> Option<SessionId> {
    trace
        .root()
        .and_then(|root| root.session_id.clone())
        .or_else(|| trace.spans.iter().find_map(|span| span.session_id.clone()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn span(id: &str, parent: Option<&str>, start: i64, end: Option<i64>) -> Span {
        let mut span: Span = serde_json::from_value(json!({
            "trace_id": "t", "span_id": id, "kind": "step", "name": id, "start_ns": start,
        }))
        .unwrap();
        span.parent_id = parent.map(SpanId::from);
        span.end_ns = end;
        span
    }

    fn only(assembled: Assembled) -> Trace {
        assert_eq!(assembled.traces.len(), 1);
        assembled.traces.into_iter().next().unwrap()
    }

    #[test]
    fn equal_spans_are_counted_and_left_out() {
        let mut again = span("a", None, 1, Some(2));
        again.source.file = Some("other".to_owned());
        let assembled = assemble([span("a", None, 1, Some(2)), again]);
        assert_eq!(assembled.duplicates, 1);
        let trace = only(assembled);
        assert_eq!((trace.spans.len(), trace.faults.len()), (1, 0));
    }

    #[test]
    fn of_two_versions_the_later_end_stays_and_is_said() {
        let assembled = assemble([span("a", None, 1, Some(9)), span("a", None, 1, None), span("a", None, 1, Some(2))]);
        assert_eq!(assembled.duplicates, 0);
        let trace = only(assembled);
        assert_eq!(trace.spans[0].end_ns, Some(9));
        assert_eq!(trace.faults, [TraceFault::Duplicate { span: "a".into() }]);
    }

    #[test]
    fn of_numbered_versions_the_newest_stays_without_a_fault() {
        let version = |revision: i64, end| {
            let mut span = span("a", None, 1, Some(end));
            span.attributes.insert(REVISION_KEY.to_owned(), json!(revision));
            span
        };
        let assembled = assemble([version(2, 5), version(1, 9), span("a", None, 1, Some(10))]);
        assert_eq!(assembled.duplicates, 2);
        let trace = only(assembled);
        assert_eq!((trace.spans[0].end_ns, trace.faults.len()), (Some(5), 0));
    }

    #[test]
    fn orphans_roots_cycles_and_skewed_clocks_are_stated() {
        let trace = only(assemble([
            span("a", None, 1, Some(0)),
            span("b", None, 2, None),
            span("c", Some("gone"), 3, None),
            span("d", Some("e"), 4, None),
            span("e", Some("d"), 5, None),
            span("f", Some("d"), 6, None),
            span("g", Some("g"), 7, None),
        ]));
        let expected = [
            TraceFault::MissingParent { span: "c".into() },
            TraceFault::SeveralRoots { count: 2 },
            TraceFault::Cycle { span: "d".into() },
            TraceFault::Cycle { span: "e".into() },
            TraceFault::Cycle { span: "g".into() },
            TraceFault::EndBeforeStart { span: "a".into() },
        ];
        assert_eq!(trace.faults, expected);
        assert_eq!(trace.outline().len(), 7);
    }

    #[test]
    fn the_session_of_the_root_wins() {
        let mut root = span("a", None, 5, None);
        root.session_id = Some("root".into());
        let mut early = span("b", Some("a"), 1, None);
        early.session_id = Some("child".into());
        assert_eq!(only(assemble([early.clone(), root])).session_id, Some("root".into()));
        assert_eq!(only(assemble([early, span("a", None, 5, None)])).session_id, Some("child".into()));
    }

    fn any_span() -> impl Strategy<Value = Span> {
        let ids = prop_oneof!["a", "b", "c", "d", "e"];
        let parent = proptest::option::of(prop_oneof!["a", "b", "c", "d", "z"]);
        let source = (proptest::option::of("[xy]"), proptest::option::of(0_u64..3));
        (ids, parent, 0_i64..4, proptest::option::of(0_i64..4), "[tu]", "[mn]", source).prop_map(
            |(id, parent, start, end, trace, name, (file, line))| {
                let mut span = span(&id, parent.as_deref(), start, end);
                span.trace_id = TraceId::new(trace);
                span.name = name;
                span.source = Source { dialect: None, file, line, native: None };
                span
            },
        )
    }

    proptest! {
        #[test]
        fn order_does_not_matter(
            (spans, shuffled) in proptest::collection::vec(any_span(), 0..24)
                .prop_flat_map(|spans| (Just(spans.clone()), Just(spans).prop_shuffle()))
        ) {
            prop_assert_eq!(assemble(spans), assemble(shuffled));
        }

        #[test]
        fn assembling_again_changes_only_the_memory_of_duplicates(spans in proptest::collection::vec(any_span(), 0..24)) {
            let once = assemble(spans);
            let again = assemble(once.traces.iter().flat_map(|trace| trace.spans.clone()));
            prop_assert_eq!(again.duplicates, 0);
            for (left, right) in once.traces.iter().zip(&again.traces) {
                prop_assert_eq!(&left.spans, &right.spans);
            }
        }
    }
}
