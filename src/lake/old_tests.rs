//! Lakes that an earlier version of the program wrote: columns that came later are missing in their parts.

use polars::prelude::{IntoLazy, ParquetReader, ParquetWriter, SerReader};
use serde_json::{Value, json};

use super::*;
use crate::model::{Message, ModelRef, Span, SpanId, SpanKind, Trace, TraceId, assemble};

const NOON: i64 = 1_795_262_400_000_000_000;
const QUERIES: [&str; 6] = [
    "SELECT COUNT(*) AS n FROM spans",
    "SELECT trace_id, span_id, root, counted, paid, duplicate, cost_usd FROM spans ORDER BY trace_id, span_id",
    "SELECT trace_id, cost_usd, input_tokens, model_calls, input FROM traces ORDER BY trace_id",
    "SELECT SUM(cost_usd) AS cost, COUNT(*) AS calls FROM spans WHERE paid",
    "SELECT session_id, cost_usd FROM sessions",
    "SELECT COUNT(*) AS n FROM traces",
];

fn call(trace: &str, id: &str, parent: Option<&str>, cost: Option<f64>) -> Span {
    let mut span = Span::new(TraceId::new(trace), SpanId::new(id), SpanKind::Model, "chat", NOON);
    span.parent_id = parent.map(SpanId::from);
    span.session_id = Some("s".into());
    span.end_ns = Some(NOON + 1_000_000);
    span.model = Some(ModelRef { request: Some("m".to_owned()), ..ModelRef::default() });
    span.usage.input = Some(10);
    span.usage.output = Some(2);
    span.cost_usd = cost;
    span.messages_in = vec![Message::text("user", "hi")];
    span
}

/// A model call around another that repeats it, a judge beside them, and a trace without a price.
fn written() -> Vec<Trace> {
    let mut judge = call("a", "4", Some("1"), Some(9.0));
    judge.kind = SpanKind::Evaluator;
    let (outer, inner) = (call("a", "2", Some("1"), Some(0.5)), call("a", "3", Some("2"), Some(0.25)));
    let mut root = call("a", "1", None, None);
    root.kind = SpanKind::Agent;
    assemble([root, outer, inner, judge, call("b", "1", None, None)]).traces
}

fn answers(lake: &Lake) -> Vec<Vec<Value>> {
    let rows = |sql: &&str| {
        let answer = lake.query(sql, &TraceFilter::default()).unwrap();
        (0..answer.len()).map(|at| Value::Object(answer.object(at).unwrap())).collect()
    };
    QUERIES.iter().map(rows).collect()
}

/// Writes each part again without some columns, as a version that did not know them did.
fn forget(lake: &Lake, columns: &[&str]) {
    for part in lake.days().unwrap().into_iter().flat_map(|day| day.parts) {
        let table = ParquetReader::new(std::fs::File::open(&part).unwrap()).finish().unwrap();
        let mut table = table.drop_many(columns.iter().copied());
        ParquetWriter::new(std::fs::File::create(&part).unwrap()).finish(&mut table).unwrap();
    }
}

fn lakes() -> (tempfile::TempDir, Lake, Lake) {
    let folder = tempfile::tempdir().unwrap();
    let (now, old) = (Lake::new(folder.path().join("now")), Lake::new(folder.path().join("old")));
    now.write(&written()).unwrap();
    old.write(&written()).unwrap();
    forget(&old, &["paid", "input_digest"]);
    (folder, now, old)
}

#[test]
fn a_lake_without_the_later_columns_gives_the_same_answers() {
    let (_folder, now, old) = lakes();
    let expected = answers(&now);
    assert_eq!(expected[3], [json!({"cost": 0.25, "calls": 2})]);
    assert_eq!(answers(&old), expected);
    let all = TraceFilter::default();
    assert_eq!(old.list(&all, 10).unwrap(), now.list(&all, 10).unwrap());
    assert_eq!(old.trace("a").unwrap(), now.trace("a").unwrap());
    assert_eq!(old.stats().unwrap().spans, 5);
    let inputs = |lake: &Lake| {
        let mut found = Vec::new();
        lake.narrow(&all, &[], true, |trace| found.push((trace.trace_id.to_string(), trace.input_digest))).unwrap();
        found.sort();
        found
    };
    assert_eq!(inputs(&old), inputs(&now));
    assert!(inputs(&old).iter().all(|(_, digest)| digest.is_some()));
}

#[test]
fn parts_with_and_without_the_later_columns_are_read_and_compacted_together() {
    let (_folder, now, old) = lakes();
    let more = assemble([call("c", "1", None, Some(1.0)), call("a", "5", Some("1"), Some(2.0))]).traces;
    now.write(&more).unwrap();
    old.write(&more).unwrap();
    let expected = answers(&now);
    assert_eq!(answers(&old), expected);
    assert_eq!(old.write(&written()).unwrap().added, 0, "what is there is known");
    let done = old.compact(None, true).unwrap();
    assert_eq!((done.parts_after, done.rewritten), (1, 1));
    assert_eq!(answers(&old), expected);
    assert_eq!(old.compact(None, true).unwrap().rewritten, 0);
}

#[test]
fn a_compaction_fills_in_the_marks_of_an_old_part() {
    let (_folder, now, old) = lakes();
    assert_eq!(old.compact(None, false).unwrap().rewritten, 1);
    assert_eq!(answers(&old), answers(&now), "counting changes nothing");
    assert_eq!(old.compact(None, true).unwrap().rewritten, 1);
    let part = old.days().unwrap().remove(0).parts.remove(0);
    let table = ParquetReader::new(std::fs::File::open(&part).unwrap()).finish().unwrap();
    assert_eq!(table.column("paid").unwrap().null_count(), 0);
    assert_eq!(table.lazy().collect_schema().unwrap().len(), schema::polars_schema("spans").len());
    assert_eq!(answers(&old), answers(&now));
}

#[test]
fn a_deletion_from_an_old_part_leaves_the_rest() {
    let (_folder, now, old) = lakes();
    for lake in [&now, &old] {
        assert_eq!(lake.delete(&Whose::Trace("b".into()), true).unwrap().spans, 1);
    }
    assert_eq!(answers(&old), answers(&now));
}
