//! A lake in a temporary folder, and a property: however spans are written, they are read as if assembled at once.

use std::collections::BTreeMap;

use polars::prelude::{LazyFrame, PlRefPath, col};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{
    AgentRef, ModelRef, SessionId, Span, SpanId, SpanKind, SpanStatus, Trace, TraceFault, TraceScore, assemble,
};
use crate::sys::files;

const DAY: i64 = 86_400_000_000_000;
const NOON: i64 = 1_795_262_400_000_000_000;

fn span(trace: &str, id: &str, parent: Option<&str>, start: i64) -> Span {
    let mut span: Span = serde_json::from_value(json!({
        "trace_id": trace, "span_id": id, "kind": "step", "name": format!("{trace}{id}"), "start_ns": start,
        "end_ns": start + 5_000_000, "resource": {"service.name": "shop"},
    }))
    .unwrap();
    span.parent_id = parent.map(SpanId::from);
    span
}

fn traces(spans: impl IntoIterator<Item = Span>) -> Vec<Trace> {
    assemble(spans).traces
}

fn lake() -> (tempfile::TempDir, Lake) {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::new(folder.path().join("lake"));
    (folder, lake)
}

fn all(lake: &Lake, filter: &TraceFilter) -> Vec<Trace> {
    lake.traces(filter).unwrap().collect::<Result<_, _>>().unwrap()
}

fn everything(lake: &Lake) -> Vec<Trace> {
    all(lake, &TraceFilter::default())
}

fn days(lake: &Lake) -> Vec<String> {
    lake.days().unwrap().into_iter().map(|day| day.date.to_string()).collect()
}

#[test]
fn what_is_written_is_read_back_and_never_written_twice() {
    let (_folder, lake) = lake();
    let mut rich = span("a", "1", None, NOON);
    rich.attributes.insert("k".to_owned(), json!({"nested": ["\u{1f600}", null, 1.5]}));
    rich.messages_in = vec![crate::model::Message::text("user", "hi")];
    let written = traces([rich, span("a", "2", Some("1"), NOON + 1), span("b", "1", None, NOON + DAY)]);
    let report = lake.write(&written).unwrap();
    assert_eq!((report.added, report.already_there, report.parts.len()), (3, 0, 2));
    assert_eq!(everything(&lake), written);
    let mut elsewhere = written.clone();
    elsewhere[0].spans[0].source.file = Some("another.json".to_owned());
    let again = lake.write(&elsewhere).unwrap();
    assert_eq!((again.added, again.already_there, again.parts.len()), (0, 3, 0));
    assert_eq!(lake.stats().unwrap().spans, 3);
    let names: Vec<_> =
        report.parts.iter().flat_map(|part| files::list_folder(part.parent().unwrap()).unwrap()).collect();
    assert_eq!(names, report.parts);
}

#[test]
fn a_new_price_list_does_not_make_new_spans() {
    let (_folder, lake) = lake();
    let priced = |cost: f64| {
        let mut span = span("a", "1", None, NOON);
        span.cost_usd = Some(cost);
        span.attributes.insert(crate::model::PRICED_KEY.to_owned(), json!(true));
        traces([span])
    };
    lake.write(&priced(0.1)).unwrap();
    assert_eq!(lake.write(&priced(0.2)).unwrap().already_there, 1);
    assert_eq!(everything(&lake), priced(0.1));
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let (_folder, lake) = lake();
    assert!(everything(&lake).is_empty());
    assert!(lake.list(&TraceFilter::default(), 10).unwrap().is_empty());
    assert_eq!(lake.stats().unwrap(), LakeStats::default());
    assert_eq!(lake.write(&[]).unwrap(), Written::default());
    let error = lake.trace("abc").unwrap_err().to_string();
    assert!(error.starts_with("no trace `abc` in lake"), "{error}");
}

#[test]
fn late_spans_go_to_their_trace_or_are_joined_when_read() {
    let (_folder, lake) = lake();
    lake.write(&traces([span("a", "1", None, NOON)])).unwrap();
    lake.write(&traces([span("a", "2", Some("1"), NOON + DAY)])).unwrap();
    assert_eq!(days(&lake), ["2026-11-21"]);
    lake.write(&traces([span("a", "3", Some("1"), NOON + 5 * DAY), span("b", "1", None, NOON + 5 * DAY)])).unwrap();
    assert_eq!(days(&lake), ["2026-11-21", "2026-11-26"]);
    let found = everything(&lake);
    assert_eq!(
        found.iter().map(|trace| (trace.id.as_str(), trace.spans.len())).collect::<Vec<_>>(),
        [("a", 3), ("b", 1)]
    );
    assert!(found[0].faults.is_empty());
    assert_eq!(lake.trace("a").unwrap(), found[0]);
    let rows = lake.list(&TraceFilter::default(), 10).unwrap();
    assert_eq!(rows, [TraceRow::of(&found[1]).unwrap(), TraceRow::of(&found[0]).unwrap()]);
    let since = TraceFilter { since: Some("2026-11-26T00:00:00Z".parse().unwrap()), ..TraceFilter::default() };
    assert_eq!(all(&lake, &since), found[1..]);
    assert_eq!(lake.list(&since, 10).unwrap().len(), 1);
}

#[test]
fn a_child_written_before_its_root_is_no_root() {
    let (_folder, lake) = lake();
    lake.write(&traces([span("a", "2", Some("1"), NOON + 1)])).unwrap();
    lake.write(&traces([span("a", "1", None, NOON)])).unwrap();
    let rows = lake.list(&TraceFilter::default(), 10).unwrap();
    assert_eq!((rows[0].name.as_str(), rows[0].spans), ("a1", 2));
}

#[test]
fn a_newer_version_of_a_span_wins_and_is_said() {
    let (_folder, lake) = lake();
    let mut open = span("a", "1", None, NOON);
    open.end_ns = None;
    lake.write(&traces([open])).unwrap();
    lake.write(&traces([span("a", "1", None, NOON)])).unwrap();
    let trace = lake.trace("a").unwrap();
    assert_eq!(trace.spans.len(), 1);
    assert!(trace.spans[0].end_ns.is_some());
    assert_eq!(trace.faults, [TraceFault::Duplicate { span: "1".into() }]);
    let rows = lake.list(&TraceFilter::default(), 10).unwrap();
    assert_eq!(rows, [TraceRow::of(&trace).unwrap()]);
    // Two versions that met before writing: one is stored, the fault is remembered.
    let mut other = span("b", "1", None, NOON);
    other.end_ns = None;
    let both = traces([other, span("b", "1", None, NOON)]);
    lake.write(&both).unwrap();
    assert_eq!(lake.trace("b").unwrap(), both[0]);
}

#[test]
fn ids_may_be_shortened_while_they_are_unique() {
    let (_folder, lake) = lake();
    lake.write(&traces([span("abc1", "1", None, NOON), span("abc2", "1", None, NOON), span("abc", "1", None, NOON)]))
        .unwrap();
    assert_eq!(lake.trace("abc1").unwrap().id.as_str(), "abc1");
    assert_eq!(lake.trace("abc").unwrap().id.as_str(), "abc");
    let error = lake.trace("ab").unwrap_err().to_string();
    assert_eq!(error, "`ab` is the beginning of several trace ids (abc, abc1, abc2, …); give more digits");
    assert!(matches!(lake.trace("b"), Err(LakeError::NoSuchTrace { .. })));
    assert!(matches!(lake.trace(""), Err(LakeError::NoSuchTrace { .. })));
    let some = lake.traces_by_id(&["abc2".into(), "nope".into()]).unwrap();
    assert_eq!(some.len(), 1);
}

#[test]
fn filters_select_by_every_condition() {
    let (_folder, lake) = lake();
    let mut failed = span("a", "1", None, NOON);
    failed.status = SpanStatus::Error;
    failed.session_id = Some("s".into());
    failed.attributes.insert("tenant \"x\"".to_owned(), json!("gold \"1\""));
    failed.agent = Some(AgentRef { name: Some("support".to_owned()), ..AgentRef::default() });
    let mut model = span("b", "2", Some("1"), NOON + 1);
    model.kind = SpanKind::Model;
    model.model = Some(ModelRef { request: Some("gpt-x".to_owned()), ..ModelRef::default() });
    model.attributes.insert("n".to_owned(), json!(7));
    lake.write(&traces([failed, span("b", "1", None, NOON), model, span("c", "1", None, NOON + DAY)])).unwrap();
    let ids = |filter: &TraceFilter| -> String {
        let traces: Vec<String> = all(&lake, filter).into_iter().map(|trace| trace.id.to_string()).collect();
        let mut rows: Vec<String> =
            lake.list(filter, 10).unwrap().into_iter().map(|row| row.trace_id.to_string()).collect();
        rows.sort();
        assert_eq!(traces, rows, "{filter:?}");
        rows.concat()
    };
    let by = |key: &str, value: &str| TraceFilter {
        attributes: BTreeMap::from([(key.to_owned(), value.to_owned())]),
        ..TraceFilter::default()
    };
    assert_eq!(ids(&TraceFilter { only_errors: true, ..TraceFilter::default() }), "a");
    assert_eq!(ids(&TraceFilter { session: Some(SessionId::from("s")), ..TraceFilter::default() }), "a");
    assert_eq!(ids(&by("agent", "support")), "a");
    assert_eq!(ids(&by("model", "gpt-x")), "b");
    assert_eq!(ids(&by("status", "ok")), "bc");
    assert_eq!(ids(&by("tenant \"x\"", "gold \"1\"")), "a");
    assert_eq!(ids(&by("n", "7")), "b");
    assert_eq!(ids(&by("n", "8")), "");
    assert_eq!(ids(&by("service.name", "shop")), "abc");
    assert_eq!(ids(&by("name", "c1")), "c");
    let until = Some("2026-11-22T00:00:00Z".parse().unwrap());
    assert_eq!(ids(&TraceFilter { until, ..TraceFilter::default() }), "ab");
    assert_eq!(ids(&TraceFilter { since: until, ..TraceFilter::default() }), "c");
    assert_eq!(ids(&TraceFilter { since: until, ..by("service.name", "shop") }), "c");
}

#[test]
fn lists_are_newest_first_and_no_longer_than_asked() {
    let (_folder, lake) = lake();
    let id = |day: i64| format!("t{day:02}");
    lake.write(&traces((0..20).map(|day| span(&id(day), "1", None, NOON + day * DAY)))).unwrap();
    let rows = lake.list(&TraceFilter::default(), 3).unwrap();
    let ids: Vec<&str> = rows.iter().map(|row| row.trace_id.as_str()).collect();
    assert_eq!(ids, ["t19", "t18", "t17"]);
    let stats = lake.stats().unwrap();
    assert_eq!((stats.days, stats.parts, stats.spans, stats.traces), (20, 20, 20, 20));
    assert_eq!((stats.first_ns, stats.last_ns), (Some(NOON), Some(NOON + 19 * DAY)));
}

#[test]
fn columns_are_typed_and_narrow() {
    let (_folder, lake) = lake();
    let mut model = span("a", "1", None, NOON);
    model.usage.input = Some(7);
    model.cost_usd = Some(0.5);
    let report = lake.write(&traces([model])).unwrap();
    let path = PlRefPath::try_from_path(&report.parts[0]).unwrap();
    let scan = LazyFrame::scan_parquet(path, Default::default()).unwrap();
    let columns = ["start", "duration_ms", "input_tokens", "cost_usd", "root", "service_name", "parent_id"];
    let table = scan.select(columns.map(col)).collect().unwrap();
    let types: Vec<String> = table.columns().iter().map(|column| column.dtype().to_string()).collect();
    assert_eq!(types, ["datetime[ns]", "f64", "i64", "f64", "bool", "str", "str"]);
    assert_eq!(table.column("duration_ms").unwrap().f64().unwrap().get(0), Some(5.0));
    assert_eq!(table.column("parent_id").unwrap().null_count(), 1);
}

#[test]
fn errors_name_the_folder_or_the_part() {
    let (folder, lake) = lake();
    let report = lake.write(&traces([span("a", "1", None, NOON)])).unwrap();
    std::fs::write(report.parts[0].with_file_name("part-broken.parquet"), b"PAR1 nothing PAR1").unwrap();
    for error in [
        lake.stats().map(|_| ()).unwrap_err(),
        lake.list(&TraceFilter::default(), 1).map(|_| ()).unwrap_err(),
        lake.traces(&TraceFilter::default()).unwrap().find_map(Result::err).unwrap(),
        lake.trace("a").map(|_| ()).unwrap_err(),
        lake.write(&traces([span("a", "2", None, NOON)])).map(|_| ()).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("part-broken.parquet") && text.contains("delete it"), "{text}");
    }
    let blocker = folder.path().join("file");
    std::fs::write(&blocker, b"x").unwrap();
    let text = Lake::new(&blocker).write(&traces([span("a", "1", None, NOON)])).unwrap_err().to_string();
    assert!(text.contains(&blocker.display().to_string()), "{text}");
}

fn any_spans() -> impl Strategy<Value = Vec<(Span, usize)>> {
    let kind = prop_oneof![
        Just(SpanKind::Model),
        Just(SpanKind::Tool),
        Just(SpanKind::Evaluator),
        Just(SpanKind::Agent),
        Just(SpanKind::Step)
    ];
    let count = || proptest::option::of(0_u64..5);
    let facts = (
        (
            "[ab]",
            "[1-5]",
            proptest::option::of("[1-6]"),
            prop_oneof![Just(0_i64), Just(1), 0_i64..7],
            0_i64..4,
            0_usize..3,
        ),
        (kind, count(), count(), proptest::option::of(0_u8..4), any::<bool>(), proptest::option::of("[xy]")),
    );
    let spans =
        facts.prop_map(|((trace, id, parent, day, shift, write), (kind, input, output, cost, failed, session))| {
            let mut span = span(&trace, &id, parent.as_deref(), NOON + day * DAY + shift);
            span.kind = kind;
            span.usage.input = input;
            span.usage.output = output;
            span.cost_usd = cost.map(f64::from);
            span.status = if failed { SpanStatus::Error } else { SpanStatus::Unset };
            span.session_id = session.as_deref().map(SessionId::from);
            span.agent = session.map(|name| AgentRef { name: Some(name), ..AgentRef::default() });
            (span, write)
        });
    proptest::collection::vec(spans, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However spans are spread over writings: reading gives what assembling them at once gives, and listing gives
    /// the rows of what reading gives.
    #[test]
    fn reading_and_listing_agree_with_assembling(spans in any_spans(), errors: bool, session in proptest::option::of("[xy]")) {
        let (_folder, lake) = lake();
        for write in 0..3 {
            let part = spans.iter().filter(|(_, at)| *at == write).map(|(span, _)| span.clone());
            lake.write(&traces(part)).unwrap();
        }
        let expected = traces(spans.into_iter().map(|(span, _)| span));
        let mut found = everything(&lake);
        found.sort_by_key(|trace| (trace.spans[0].start_ns, trace.id.clone()));
        // A version that lost before it was written leaves no content; all else is equal.
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(&found.spans, &expected.spans);
            prop_assert_eq!(&found.faults, &expected.faults);
        }
        prop_assert_eq!(found.len(), expected.len());
        let filter = TraceFilter { only_errors: errors, session: session.as_deref().map(SessionId::from), ..TraceFilter::default() };
        let fitting: Vec<&Trace> = expected.iter().filter(|trace| filter.matches(trace)).collect();
        let mut read = all(&lake, &filter);
        read.sort_by_key(|trace| (trace.spans[0].start_ns, trace.id.clone()));
        prop_assert_eq!(&read.iter().collect::<Vec<_>>(), &fitting);
        let mut rows = lake.list(&filter, 10).unwrap();
        rows.sort_by_key(|row| (row.start_ns, row.trace_id.clone()));
        for (row, trace) in rows.iter().zip(&fitting) {
            prop_assert_eq!(row, &TraceRow::of(trace).unwrap());
        }
        prop_assert_eq!(rows.len(), fitting.len());
    }
}

fn sql(lake: &Lake, query: &str) -> Vec<Vec<serde_json::Value>> {
    let answer = lake.query(query, &TraceFilter::default()).unwrap();
    (0..answer.len()).map(|at| answer.row(at).unwrap()).collect()
}

const TOTALS: &[&str] = &[
    "SELECT COUNT(*), SUM(input_tokens), SUM(cost_usd), SUM(span_bytes) FROM spans WHERE counted",
    "SELECT trace_id, span_id, root, counted, duplicate, digest, span FROM spans ORDER BY trace_id, span_id",
    "SELECT * FROM traces ORDER BY trace_id",
    "SELECT * FROM sessions ORDER BY session_id",
    "SELECT key, value, COUNT(*) AS n FROM attributes GROUP BY key, value ORDER BY key, value",
];

fn same_rows(lake: &Lake, traces: &[Trace]) {
    let answer = lake.query("SELECT * FROM traces ORDER BY trace_id", &TraceFilter::default()).unwrap();
    let mut traces: Vec<&Trace> = traces.iter().collect();
    traces.sort_by_key(|trace| trace.id.clone());
    assert_eq!(answer.len(), traces.len());
    for (at, trace) in traces.into_iter().enumerate() {
        let row = answer.object(at).unwrap();
        let usage = trace.usage();
        let said = |name: &str| json!(trace.dimension(name));
        let text = |value: Option<serde_json::Value>| match value {
            Some(serde_json::Value::String(text)) => json!(text),
            Some(other) => json!(other.to_string()),
            None => json!(null),
        };
        let evaluators = trace.evaluator_spans();
        let repeating = trace.repeating_spans();
        let left_out = |span: &Span| evaluators.contains(&span.span_id) || repeating.contains(&span.span_id);
        let calls = |kind| trace.spans.iter().filter(|span| span.kind == kind && !left_out(span)).count();
        let expected = [
            ("trace_id", json!(trace.id)),
            ("name", json!(trace.root().unwrap().name)),
            ("session_id", json!(trace.session_id)),
            ("agent_name", said("agent")),
            ("user_id", said("user")),
            ("model", said("model")),
            ("status", said("status")),
            ("service_name", said("service.name")),
            ("spans", json!(trace.spans.len())),
            ("errors", json!(trace.spans.iter().filter(|span| span.failed()).count())),
            ("model_calls", json!(calls(SpanKind::Model))),
            ("tool_calls", json!(calls(SpanKind::Tool))),
            ("input_tokens", json!(usage.input)),
            ("output_tokens", json!(usage.output)),
            ("cost_usd", json!(trace.cost_usd())),
            ("duration_ms", json!(trace.duration_ms())),
            ("input", text(trace.input())),
            ("output", text(trace.final_output())),
        ];
        for (name, value) in expected {
            assert_eq!(row[name], value, "{name} of {trace:#?}");
        }
    }
}

#[test]
fn tables_are_as_documented() {
    let (_folder, lake) = lake();
    lake.write(&traces([span("a", "1", None, NOON)])).unwrap();
    for table in TABLES {
        let answer = lake.query(&format!("SELECT * FROM {}", table.name), &TraceFilter::default()).unwrap();
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(answer.columns(), names, "{}", table.name);
        let kinds: Vec<&str> = table.columns.iter().map(|column| column.kind).collect();
        assert_eq!(answer.kinds(), kinds, "{}", table.name);
    }
}

#[test]
fn the_documentation_of_the_tables_is_true() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lake.md")).unwrap();
    assert!(text.contains(&markdown()), "docs/lake.md must hold:\n{}", markdown());
}

#[test]
fn scores_are_written_once_and_found_by_trace() {
    let (_folder, lake) = lake();
    let score = |trace: Option<&str>, name: &str, value: f64, at: Option<i64>| TraceScore {
        trace_id: trace.map(Into::into),
        span_id: None,
        session_id: Some("s".into()),
        name: name.to_owned(),
        value: Some(value),
        label: Some("good".to_owned()),
        comment: None,
        origin: crate::model::ScoreOrigin::User,
        author: None,
        at_ns: at,
        source: crate::model::Source { file: Some("a.json".to_owned()), ..Default::default() },
    };
    let scores = [
        score(Some("a"), "thumbs", 1.0, Some(NOON)),
        score(Some("b"), "thumbs", 0.0, None),
        score(None, "stars", 4.0, Some(NOON)),
    ];
    let written = lake.write_scores(&scores).unwrap();
    assert_eq!((written.added, written.already_there, written.parts.len()), (3, 0, 2));
    let mut copied = scores.clone();
    copied[0].source.file = Some("b.json".to_owned());
    let again = lake.write_scores(&copied).unwrap();
    assert_eq!((again.added, again.already_there), (0, 3));
    assert_eq!(lake.scores_of(&["a".into(), "b".into()]).unwrap(), [scores[1].clone(), scores[0].clone()]);
    lake.write_scores(&[score(Some("c"), "thumbs", 1.0, Some(NOON))]).unwrap();
    assert_eq!(lake.stats().unwrap().scores, 4);
    let done = lake.compact(None, true).unwrap();
    assert_eq!((done.parts_before, done.parts_after), (3, 2));
    assert_eq!(lake.stats().unwrap().scores, 4);
    assert_eq!(
        sql(&lake, "SELECT trace_id, value FROM scores WHERE name = 'thumbs' ORDER BY trace_id"),
        [[json!("a"), json!(1.0)], [json!("b"), json!(0.0)], [json!("c"), json!(1.0)]]
    );
}

#[test]
fn what_a_query_lacks_is_said() {
    let (_folder, lake) = lake();
    lake.write(&traces([span("a", "1", None, NOON)])).unwrap();
    let error = |query: &str| lake.query(query, &TraceFilter::default()).unwrap_err().to_string();
    let text = error("SELECT durations_ms FROM traces");
    assert!(text.starts_with("no column `durations_ms`; did you mean `duration_ms`?"), "{text}");
    assert!(text.contains("The columns of `traces` are trace_id, session_id"), "{text}");
    let text = error("SELECT * FROM trace");
    assert!(text.starts_with("no table `trace`; did you mean `traces`? the tables are spans"), "{text}");
    let text = error("SELECT name FRUM spans");
    assert!(text.starts_with("the query cannot be answered: "), "{text}");
}

#[test]
fn a_query_reads_only_the_columns_it_names_and_skips_by_its_filter() {
    let (_folder, lake) = lake();
    lake.write(&traces([span("a", "1", None, NOON), span("b", "1", None, NOON + DAY)])).unwrap();
    let views = lake.views(&TraceFilter::default()).unwrap();
    let plan = views.spans().unwrap().filter(col("trace_id").eq(polars::prelude::lit("a"))).select([col("name")]);
    let plan = plan.describe_optimized_plan().unwrap();
    assert!(plan.contains("PROJECT 2/") && plan.contains("SELECTION"), "{plan}");
    let plan = views.traces().unwrap().select([col("trace_id"), col("cost_usd")]).describe_optimized_plan().unwrap();
    assert!(!plan.contains("col(\"span\")"), "{plan}");
}

#[test]
fn bounds_of_a_query_choose_what_began_between_them() {
    let (_folder, lake) = lake();
    lake.write(&traces((0..4).map(|day| span(&format!("t{day}"), "1", None, NOON + day * DAY)))).unwrap();
    let within = TraceFilter {
        since: Some("2026-11-22T00:00:00Z".parse().unwrap()),
        until: Some("2026-11-24T00:00:00Z".parse().unwrap()),
        ..TraceFilter::default()
    };
    for table in ["traces", "spans", "attributes"] {
        let answer = lake.query(&format!("SELECT DISTINCT trace_id FROM {table} ORDER BY trace_id"), &within).unwrap();
        assert_eq!([answer.row(0), answer.row(1)], [Some(vec![json!("t1")]), Some(vec![json!("t2")])]);
        assert_eq!(answer.len(), 2);
    }
}

#[test]
fn a_compaction_that_was_killed_changes_nothing_that_is_read() {
    let (folder, lake) = lake();
    for id in ["1", "2", "3"] {
        lake.write(&traces([span("a", id, Some("0"), NOON)])).unwrap();
    }
    let before = (everything(&lake), TOTALS.iter().map(|query| sql(&lake, query)).collect::<Vec<_>>());
    let copy = folder.path().join("copy");
    let day = lake.days().unwrap().remove(0);
    std::fs::create_dir(&copy).unwrap();
    for part in &day.parts {
        std::fs::copy(part, copy.join(part.file_name().unwrap())).unwrap();
    }
    assert_eq!(lake.compact(None, true).unwrap().parts_after, 1);
    // As a crash would leave it: the new part is there, and the old ones still are.
    for part in &day.parts {
        std::fs::copy(copy.join(part.file_name().unwrap()), part).unwrap();
    }
    assert_eq!(lake.days().unwrap()[0].parts.len(), 4);
    let after = (everything(&lake), TOTALS.iter().map(|query| sql(&lake, query)).collect::<Vec<_>>());
    assert_eq!(before, after);
    assert_eq!(lake.stats().unwrap().spans, 3);
    let done = lake.compact(None, true).unwrap();
    assert_eq!((done.parts_before, done.parts_after, done.superseded), (4, 1, 3));
    assert_eq!(lake.compact(None, true).unwrap().rewritten, 0);
}

#[test]
fn two_tidyings_do_not_meet() {
    let (_folder, lake) = lake();
    lake.write(&traces([span("a", "1", None, NOON)])).unwrap();
    let alone = lake.alone().unwrap();
    assert!(matches!(lake.compact(None, true), Err(LakeError::Busy { .. })));
    drop(alone);
    assert!(lake.compact(None, true).is_ok());
}

#[test]
fn a_superseded_version_that_a_compaction_left_out_is_not_taken_in_again() {
    let (_folder, lake) = lake();
    let mut open = span("a", "1", None, NOON);
    open.end_ns = None;
    lake.write(&traces([open.clone()])).unwrap();
    lake.write(&traces([span("a", "1", None, NOON)])).unwrap();
    let before = lake.trace("a").unwrap();
    assert_eq!(lake.compact(None, true).unwrap().superseded, 1);
    assert_eq!(lake.trace("a").unwrap(), before);
    assert_eq!(lake.write(&traces([open])).unwrap().already_there, 1);
}

#[test]
fn everything_of_a_user_goes_and_nothing_else() {
    let (_folder, lake) = lake();
    let of = |trace: &str, id: &str, user: &str, session: &str, start: i64| {
        let mut span = span(trace, id, None, start);
        span.user_id = Some(user.to_owned());
        span.session_id = Some(session.into());
        span
    };
    lake.write(&traces([
        of("a", "1", "u", "s", NOON),
        of("b", "1", "v", "t", NOON),
        of("c", "1", "u", "s", NOON + DAY),
    ]))
    .unwrap();
    lake.write(&traces([span("a", "2", Some("1"), NOON + 9 * DAY)])).unwrap();
    let score = |value: serde_json::Value| serde_json::from_value::<TraceScore>(value).unwrap();
    lake.write_scores(&[
        score(json!({"trace_id": "a", "name": "x", "value": 1.0})),
        score(json!({"session_id": "s", "name": "x", "value": 1.0})),
        score(json!({"trace_id": "b", "name": "x", "value": 1.0})),
        score(json!({"trace_id": "b", "name": "y", "value": 1.0, "author": "u"})),
    ])
    .unwrap();
    let whose = Whose::User("u".to_owned());
    let counted = lake.delete(&whose, false).unwrap();
    assert_eq!((counted.traces, counted.spans, counted.scores, counted.days), (2, 3, 3, 4));
    assert_eq!(lake.stats().unwrap().spans, 4);
    assert_eq!(lake.delete(&whose, true).unwrap(), counted);
    assert_eq!(everything(&lake).iter().map(|trace| trace.id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!((lake.stats().unwrap().scores, lake.stats().unwrap().days), (1, 1));
    assert_eq!(lake.delete(&whose, true).unwrap(), Removed::default());
    assert_eq!(lake.delete(&Whose::Session("t".into()), true).unwrap().scores, 1);
    assert_eq!(lake.stats().unwrap(), LakeStats::default());
}

#[test]
fn old_days_go_but_for_what_is_kept() {
    let (_folder, lake) = lake();
    lake.write(&traces((0..4).map(|day| span(&format!("t{day}"), "1", None, NOON + day * DAY)))).unwrap();
    let keep = std::collections::HashSet::from(["t0".into()]);
    let before = "2026-11-23".parse().unwrap();
    let done = lake.expire(before, &keep, true).unwrap();
    assert_eq!((done.traces, done.spans, done.parts_removed, done.parts_rewritten), (1, 1, 1, 0));
    assert_eq!(days(&lake), ["2026-11-21", "2026-11-23", "2026-11-24"]);
    assert_eq!(lake.expire(before, &Default::default(), true).unwrap().traces, 1);
    assert_eq!(days(&lake), ["2026-11-23", "2026-11-24"]);
}

#[test]
fn readers_that_lose_parts_to_a_compaction_look_again() {
    let (_folder, lake) = lake();
    for at in 0..30 {
        lake.write(&traces([span(&format!("t{at:02}"), "1", None, NOON + at % 3 * DAY)])).unwrap();
    }
    let mut reading = lake.traces(&TraceFilter::default()).unwrap();
    let first = reading.next().unwrap().unwrap();
    lake.compact(None, true).unwrap();
    let mut ids: Vec<String> = reading.map(|trace| trace.unwrap().id.to_string()).collect();
    ids.push(first.id.to_string());
    ids.sort();
    assert_eq!(ids, (0..30).map(|at| format!("t{at:02}")).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Order and split of the spans change nothing that is read, counted or answered; neither does a compaction.
    #[test]
    fn neither_order_nor_split_nor_compaction_changes_the_lake(
        (spans, shuffled) in any_spans().prop_flat_map(|spans| (Just(spans.clone()), Just(spans).prop_shuffle())),
    ) {
        let (_folder, once) = lake();
        let whole = traces(spans.iter().map(|(span, _)| span.clone()));
        once.write(&whole).unwrap();
        same_rows(&once, &whole);
        let totals = |lake: &Lake| TOTALS.iter().map(|query| sql(lake, query)).collect::<Vec<_>>();
        let counts = |lake: &Lake| {
            let stats = lake.stats().unwrap();
            (stats.spans, stats.traces, stats.errors, stats.first_ns, stats.last_ns)
        };
        let read = |lake: &Lake| {
            let mut traces = everything(lake);
            traces.sort_by_key(|trace| trace.id.clone());
            traces
        };
        let expected = (read(&once), totals(&once), counts(&once));
        let (_folder, pieces) = lake();
        for write in 0..3 {
            let part = shuffled.iter().filter(|(_, at)| *at == write).map(|(span, _)| span.clone());
            pieces.write(&traces(part)).unwrap();
        }
        prop_assert_eq!(&(read(&pieces), totals(&pieces), counts(&pieces)), &expected);
        pieces.compact(None, true).unwrap();
        prop_assert_eq!(&(read(&pieces), totals(&pieces), counts(&pieces)), &expected);
        prop_assert_eq!(pieces.compact(None, true).unwrap().rewritten, 0);
        once.compact(None, true).unwrap();
        prop_assert_eq!(&(read(&once), totals(&once), counts(&once)), &expected);
    }
}

#[test]
fn only_questions_about_the_tables_are_answered() {
    let (_folder, lake) = lake();
    lake.write(&traces([span("a", "1", None, NOON)])).unwrap();
    let ask = |sql: &str| lake.query(sql, &TraceFilter::default()).map(|answer| answer.len());
    for bad in ["drop table spans", "delete from traces", "create table x as select * from spans", "", "-- x"] {
        assert!(ask(bad).unwrap_err().to_string().contains("SELECT"), "{bad}");
    }
    let error = ask("SELECT * FROM read_csv('/etc/passwd')").unwrap_err().to_string();
    assert!(error.contains("read_csv") && error.contains("only the tables"), "{error}");
    assert_eq!(ask(" (select name from spans)").unwrap(), 1);
    assert_eq!(ask("WITH s AS (SELECT * FROM spans) SELECT name FROM s").unwrap(), 1);
}
