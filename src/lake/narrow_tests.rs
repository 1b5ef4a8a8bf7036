//! Narrow columns say what whole traces say.

use std::collections::BTreeMap;

use super::*;
use crate::model::{AgentRef, Message, ModelRef, SessionId, Span, SpanId, SpanKind, SpanStatus, assemble};

const NOON: i64 = 1_795_262_400_000_000_000;

fn span(trace: &str, id: &str, parent: Option<&str>, start: i64) -> Span {
    let mut span = Span::new(TraceId::new(trace), SpanId::new(id), SpanKind::Agent, format!("{trace}{id}"), start);
    span.parent_id = parent.map(SpanId::from);
    span.end_ns = Some(start + 5_000_000);
    span
}

fn all(lake: &Lake) -> BTreeMap<String, NarrowTrace> {
    let names: Vec<String> = MEASURED.iter().chain(IN_COLUMNS).map(|name| (*name).to_owned()).collect();
    let mut found = BTreeMap::new();
    lake.narrow(&TraceFilter::default(), &names, true, |trace| {
        assert!(found.insert(trace.trace_id.to_string(), trace).is_none(), "each trace once");
    })
    .unwrap();
    found
}

#[test]
fn columns_and_whole_traces_agree() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::new(folder.path());
    let mut root = span("a", "1", None, NOON);
    root.session_id = Some(SessionId::from("s"));
    root.user_id = Some("u".to_owned());
    root.agent = Some(AgentRef { name: Some("desk".to_owned()), version: Some("2".to_owned()), id: None });
    let mut model = span("a", "2", Some("1"), NOON + 1_000_000);
    model.kind = SpanKind::Model;
    model.model = Some(ModelRef { request: Some("m".to_owned()), ..ModelRef::default() });
    model.usage.input = Some(7);
    model.usage.output = Some(3);
    model.cost_usd = Some(0.25);
    model.messages_in = vec![Message::text("user", "My  oven\nis broken.")];
    let mut open = span("b", "1", None, NOON + 7);
    open.end_ns = None;
    open.status = SpanStatus::Error;
    let orphan = span("c", "9", Some("gone"), NOON + 86_400_000_000_000);
    let late = span("a", "3", Some("1"), NOON + 9_000_000_000);
    let far = span("b", "2", Some("1"), NOON + 5 * 86_400_000_000_000);
    // Written in pieces, and one of them some days later.
    lake.write(&assemble([root, model, open, orphan]).traces).unwrap();
    lake.write(&assemble([late]).traces).unwrap();
    lake.write(&assemble([far]).traces).unwrap();
    let found = all(&lake);
    let names: Vec<&'static str> = MEASURED.iter().chain(IN_COLUMNS).copied().filter(|name| *name != ID).collect();
    let whole: Vec<Trace> = lake.traces(&TraceFilter::default()).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), 3);
    for trace in &whole {
        assert_eq!(found[trace.id.as_str()], NarrowTrace::of(trace, &names, true).unwrap());
    }
    assert!(found["a"].activity.root_ended && !found["b"].activity.root_ended && !found["c"].activity.root_ended);
    assert_eq!(found["a"].dimension("model").as_deref(), Some("m"));
    assert_eq!(found["a"].dimension("trace_id").as_deref(), Some("a"));
    // Each dimension alone is what it is among all.
    for name in MEASURED.iter().chain(IN_COLUMNS) {
        lake.narrow(&TraceFilter::default(), &[(*name).to_owned()], false, |trace| {
            assert_eq!(trace.dimension(name), found[trace.trace_id.as_str()].dimension(name), "{name}");
        })
        .unwrap();
    }
    assert_eq!(found["c"].dimension("cost"), None);
    assert!(found["a"].input_digest.is_some() && found["b"].input_digest.is_none());
    // Whole in one part, nothing is opened for it: the column tells.
    let alone = Lake::new(folder.path().join("alone"));
    let whole = lake.trace("a").unwrap();
    alone.write(std::slice::from_ref(&whole)).unwrap();
    let told = alone.views(&TraceFilter::default()).unwrap().inputs().collect().unwrap();
    assert_eq!(told.height(), 1);
    assert_eq!(all(&alone)["a"].input_digest, input_digest(&whole));
    assert!(narrow_dimension("user") && !narrow_dimension("ticket.id"));
}
