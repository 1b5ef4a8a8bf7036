//! What detectors make of spans as dialects leave them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Detector, Resource, Rules, Severity, diagnose};
use crate::model::{Message, Part, Span, SpanKind, SpanStatus, ToolUse, Trace};

fn span(id: &str, parent: Option<&str>, kind: SpanKind, start: i64, end: i64) -> Span {
    Span {
        parent_id: parent.map(Into::into),
        end_ns: Some(end * 1_000_000),
        ..Span::new("t".into(), id.into(), kind, id, start * 1_000_000)
    }
}

fn tool(id: &str, name: &str, arguments: Value, start: i64) -> Span {
    let used = ToolUse { name: name.to_owned(), arguments: Some(arguments), ..ToolUse::default() };
    Span { tool: Some(used), ..span(id, Some("root"), SpanKind::Tool, start, start + 5) }
}

fn trace(spans: Vec<Span>) -> Trace {
    let mut all = vec![span("root", None, SpanKind::Agent, 0, 1_000)];
    all.extend(spans);
    Trace { id: "t".into(), session_id: None, spans: all, faults: Vec::new() }
}

fn told(trace: &Trace, rules: &Rules) -> Vec<(Detector, String, Vec<String>)> {
    diagnose(trace, rules).findings.into_iter().map(|one| (one.detector, one.subtype.into_owned(), one.spans)).collect()
}

fn call(id: &str, name: &str, arguments: Value) -> Part {
    Part::ToolCall { id: Some(id.to_owned()), name: name.to_owned(), arguments }
}

fn result(id: &str, result: Value) -> Message {
    Message { role: "tool".into(), parts: vec![Part::ToolResult { id: Some(id.to_owned()), result }] }
}

fn says(part: Part) -> Message {
    Message { role: "assistant".into(), parts: vec![part] }
}

#[test]
fn what_only_the_user_knows_of_tools_is_taken_from_the_rules() {
    let spans = vec![
        tool("a", "write", json!({"path": "x"}), 10),
        tool("b", "write", json!("{\"path\": \"x\"}"), 12),
        tool("c", "slow", json!({}), 100),
    ];
    assert_eq!(told(&trace(spans.clone()), &Rules::default()), []);
    let rules = Rules {
        side_effects: ["write".to_owned()].into(),
        resources: vec![Resource { tool: "write".into(), argument: "path".into(), writes: true }],
        timeouts_ms: [("slow".to_owned(), 4.0)].into(),
        ..Rules::default()
    };
    let found = diagnose(&trace(spans), &rules);
    let words: Vec<&str> = found.findings.iter().map(|one| one.detector.as_str()).collect();
    assert_eq!(words, ["duplicate_side_effect", "resource_race", "timeout"]);
    assert_eq!(found.findings[0].severity, Severity::Critical);
    assert_eq!((found.counts.tool_calls, found.counts.loop_count), (3, 1));
}

#[test]
fn a_history_shows_each_result_once_and_those_of_earlier_traces_never() {
    let earlier = vec![says(call("old", "get", json!({}))), result("old", json!("7"))];
    let mut asks = span("l1", Some("root"), SpanKind::Model, 10, 20);
    asks.messages_in.clone_from(&earlier);
    asks.messages_out = vec![says(call("c1", "get", json!({"k": 1})))];
    let mut runs = tool("t", "get", json!({"k": 1}), 30);
    runs.tool.as_mut().unwrap().call_id = Some("c1".into());
    runs.tool.as_mut().unwrap().result = Some(json!({"price": 10}));
    let reads = |id: &str, start: i64, content: &str| {
        let mut span = span(id, Some("root"), SpanKind::Model, start, start + 5);
        span.messages_in =
            [earlier.clone(), vec![says(call("c1", "get", json!({"k": 1}))), result("c1", json!(content))]].concat();
        span.messages_out = vec![Message::text("assistant", "done")];
        span
    };
    let right = "{ \"price\": 10 }";
    let honest = trace(vec![asks.clone(), runs.clone(), reads("l2", 40, right), reads("l3", 50, right)]);
    assert_eq!(told(&honest, &Rules::default()), []);
    let altered = trace(vec![asks, runs, reads("l2", 40, "{\"price\": 12}"), reads("l3", 50, "{\"price\": 12}")]);
    let expected = (Detector::FabricatedToolOutput, "altered_result".to_owned(), vec!["l2".to_owned(), "t".to_owned()]);
    assert_eq!(told(&altered, &Rules::default()), [expected]);
}

#[test]
fn tools_that_are_not_recorded_are_unknown_and_those_of_the_provider_ran_there() {
    let mut asks = span("l1", Some("root"), SpanKind::Model, 10, 20);
    asks.messages_out = vec![says(call("c1", "get", json!({})))];
    let silent = diagnose(&trace(vec![asks.clone()]), &Rules::default());
    assert_eq!((silent.findings.len(), silent.unknown.as_slice()), (0, [Detector::FabricatedToolOutput].as_slice()));
    let recorded = Rules { tools_instrumented: Some(true), ..Rules::default() };
    assert_eq!(told(&trace(vec![asks.clone()]), &recorded).len(), 1);
    asks.messages_out.push(result("c1", json!("found by the provider")));
    assert_eq!(told(&trace(vec![asks]), &recorded), []);
}

#[test]
fn calls_without_ids_are_matched_by_what_is_called() {
    let mut asks = span("l1", Some("root"), SpanKind::Model, 10, 20);
    let nameless = |arguments: Value| Part::ToolCall { id: None, name: "get".into(), arguments };
    asks.messages_out = vec![says(nameless(json!({"k": 1}))), says(nameless(json!({"k": 2})))];
    let one = vec![asks.clone(), tool("t1", "get", json!({"k": 2}), 30)];
    let expected = (Detector::FabricatedToolOutput, "call_without_execution".to_owned(), vec!["l1".to_owned()]);
    // The other call takes what is left: arguments may have been repaired on the way.
    assert_eq!(told(&trace(one), &Rules::default()), [expected]);
    let mut named = tool("t1", "get", json!({"k": 2}), 30);
    named.tool.as_mut().unwrap().call_id = Some("made-up-by-the-framework".into());
    let both = vec![asks.clone(), named, tool("t2", "get", json!({"k": 1}), 31)];
    assert_eq!(told(&trace(both), &Rules::default()), []);
    let both = vec![asks, tool("t1", "get", json!({"k": 2}), 30), tool("t2", "get", json!("{\"k\": 1}"), 31)];
    assert_eq!(told(&trace(both), &Rules::default()), []);
}

#[test]
fn limits_and_offered_tools_are_read_from_attributes() {
    let mut call_of = span("l1", Some("root"), SpanKind::Model, 10, 20);
    call_of.usage.output = Some(64);
    call_of.usage.input = Some(7_900);
    call_of.model = Some(crate::model::ModelRef { request: Some("small-8k-latest".into()), ..Default::default() });
    call_of.attributes.insert("llm.invocation_parameters".into(), json!("{\"max_tokens\": 64}"));
    call_of.attributes.insert(
        "gen_ai.tool.definitions".into(),
        json!([{"type": "function", "function": {"name": "wx", "parameters": {"type": "object", "required": ["city"]}}}]),
    );
    call_of.messages_out = vec![says(call("c", "wx", json!({"days": 3})))];
    let rules = Rules { context_limits: [("small".to_owned(), 8_192.0)].into(), ..Rules::default() };
    let words: Vec<String> = told(&trace(vec![call_of]), &rules).into_iter().map(|(_, subtype, _)| subtype).collect();
    assert_eq!(words, ["near_limit", "schema_violation", "token_limit_inferred"]);
}

#[test]
fn a_handoff_finds_its_receiver_however_the_name_is_spelt() {
    let pass = |name: &str| {
        let used = ToolUse { name: name.to_owned(), ..ToolUse::default() };
        Span { tool: Some(used), ..span("h", Some("root"), SpanKind::Handoff, 10, 11) }
    };
    let mut receiver = span("Support Agent", Some("root"), SpanKind::Agent, 20, 30);
    receiver.status = SpanStatus::Ok;
    let taken = trace(vec![pass("transfer_to_support_agent"), receiver.clone()]);
    assert_eq!(told(&taken, &Rules::default()), []);
    let lost = trace(vec![pass("transfer_to_billing"), receiver]);
    assert_eq!(told(&lost, &Rules::default())[0].1, "no_receiver");
}

#[test]
fn what_has_an_outcome_has_ended() {
    let mut answered = span("l1", Some("root"), SpanKind::Model, 10, 20);
    (answered.end_ns, answered.messages_out) = (None, vec![Message::text("assistant", "yes")]);
    assert_eq!(told(&trace(vec![answered.clone()]), &Rules::default()), []);
    // A message that holds nothing was not recorded; it is no empty answer and no outcome to read.
    answered.messages_out = vec![Message { role: "assistant".into(), parts: Vec::new() }];
    assert_eq!(told(&trace(vec![answered.clone()]), &Rules::default()), []);
    answered.messages_out = Vec::new();
    assert_eq!(told(&trace(vec![answered]), &Rules::default())[0].1, "unfinished");
}

#[test]
fn evaluators_are_none_of_the_agents_doing() {
    let mut judge = span("judge", Some("root"), SpanKind::Evaluator, 10, 20);
    judge.status = SpanStatus::Error;
    let mut asked = span("asked", Some("judge"), SpanKind::Model, 11, 12);
    asked.finish_reasons = vec!["length".into()];
    let found = diagnose(&trace(vec![judge, asked]), &Rules::default());
    assert_eq!((found.findings.len(), found.counts.llm_calls), (0, 0));
}

fn any_span() -> impl Strategy<Value = Span> {
    let kinds = prop_oneof![
        Just(SpanKind::Agent),
        Just(SpanKind::Model),
        Just(SpanKind::Tool),
        Just(SpanKind::Handoff),
        Just(SpanKind::Evaluator),
        Just(SpanKind::Step)
    ];
    let arguments =
        prop_oneof![Just(json!({})), Just(json!("{")), Just(json!([1])), Just(Value::Null), Just(json!("x"))];
    let parent = proptest::option::of("[a-e]");
    (("[a-e]", parent, kinds, "[mn]"), (-3_i64..9, proptest::option::of(-3_i64..9), arguments, any::<bool>())).prop_map(
        |((id, parent, kind, name), (start, end, arguments, failed))| {
            let mut span = Span::new("t".into(), id.as_str().into(), kind, format!("handoff to {name}"), start);
            (span.parent_id, span.end_ns) = (parent.map(|id| id.as_str().into()), end);
            span.status = if failed { SpanStatus::Error } else { SpanStatus::Unset };
            span.messages_in = vec![result(&name, arguments.clone())];
            span.messages_out = vec![says(call(&id, &name, arguments.clone()))];
            span.tool = Some(ToolUse { name, call_id: Some(id), arguments: Some(arguments), result: None });
            span
        },
    )
}

proptest! {
    #[test]
    fn no_trace_is_too_odd_and_order_does_not_matter(
        (spans, shuffled) in proptest::collection::vec(any_span(), 0..16)
            .prop_flat_map(|spans| (Just(spans.clone()), Just(spans).prop_shuffle()))
    ) {
        let rules = Rules { tools_instrumented: Some(true), terminal_tools: ["m".to_owned()].into(), ..Rules::default() };
        let assembled = |spans: Vec<Span>| crate::model::assemble(spans).traces.into_iter().next();
        let (one, other) = (assembled(spans), assembled(shuffled));
        prop_assert_eq!(one.map(|trace| diagnose(&trace, &rules)), other.map(|trace| diagnose(&trace, &rules)));
    }
}
