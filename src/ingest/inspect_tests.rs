//! Inspect logs of each age, as far as spans differ: steps, spans beside tool events, tool events inside their spans.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Assembler, FileSummary, Gathered, ReadOptions, read_stream};
use crate::model::{Span, SpanKind, Trace};

fn read(sample: &Value) -> (FileSummary, Gathered) {
    let log = json!({"version": 2, "status": "success", "eval": {"task": "t", "task_id": "i", "run_id": "r",
        "created": "2025-01-01T00:00:00Z", "model": "openai/m"}, "samples": [sample]});
    let mut assembler = Assembler::new();
    let reader = Box::new(std::io::Cursor::new(log.to_string().into_bytes()));
    let summary = read_stream("log.json", reader, None, &ReadOptions::default(), &mut assembler).unwrap();
    (summary, assembler.drain())
}

fn at(second: u32) -> String {
    format!("2025-01-01T00:00:{second:02}Z")
}

fn span<'a>(trace: &'a Trace, kind: SpanKind, name: &str) -> &'a Span {
    trace.spans.iter().find(|span| span.kind == kind && span.name == name).unwrap()
}

#[test]
fn a_tool_event_and_its_span_are_one_wherever_the_event_stands() {
    for inside in [false, true] {
        let events = json!([
            {"event": "span_begin", "timestamp": at(1), "id": "s", "type": "solver", "name": "solve"},
            {"event": "span_begin", "timestamp": at(2), "id": "p", "parent_id": "s", "type": "tool", "name": "bash"},
            {"event": "tool", "timestamp": at(2), "completed": at(5), "uuid": "u", "span_id": if inside { "p" } else { "s" },
                "id": "c", "function": "bash", "arguments": {"cmd": "ls"}, "result": "x",
                "error": {"type": "timeout", "message": "too slow"}},
            {"event": "model", "timestamp": at(3), "span_id": "p", "model": "openai/inner", "input": [],
                "output": {"choices": [], "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}},
            {"event": "span_end", "timestamp": at(5), "id": "p"},
            {"event": "span_end", "timestamp": at(6), "id": "s"}
        ]);
        let (summary, gathered) = read(&json!({"id": 1, "epoch": 1, "input": "q", "target": "", "events": events}));
        assert_eq!((summary.spans, summary.rejected), (4, 0));
        let trace = &gathered.traces[0];
        assert!(trace.faults.is_empty(), "{:?}", trace.faults);
        let tool = span(trace, SpanKind::Tool, "bash");
        assert_eq!(tool.parent_id.as_ref(), Some(&span(trace, SpanKind::Step, "solve").span_id), "inside: {inside}");
        assert_eq!(span(trace, SpanKind::Model, "chat openai/inner").parent_id.as_ref(), Some(&tool.span_id));
        assert_eq!((tool.duration_ms(), tool.failed()), (Some(3000.0), true));
        assert_eq!(tool.error.as_ref().unwrap().kind.as_deref(), Some("timeout"));
        let model = span(trace, SpanKind::Model, "chat openai/inner").model.as_ref().unwrap();
        assert_eq!((model.provider.as_deref(), model.request.as_deref()), (Some("openai"), Some("inner")));
    }
}

#[test]
fn steps_of_older_logs_nest_and_hold_what_happens_in_them() {
    let events = json!([
        {"event": "step", "action": "begin", "timestamp": at(1), "type": "solver", "name": "outer"},
        {"event": "step", "action": "begin", "timestamp": at(2), "type": "solver", "name": "inner"},
        {"event": "model", "timestamp": at(2), "model": "m", "input": [{"role": "user", "content": "q"}], "cache": "read",
            "output": {"model": "m-1", "choices": [{"message": {"role": "assistant", "content": "a"}, "stop_reason": "stop"}],
                "usage": {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10}}},
        {"event": "step", "action": "end", "timestamp": at(3), "type": "solver", "name": "inner"},
        {"event": "subtask", "timestamp": at(3), "name": "plan", "input": {"a": 1}, "result": "done", "events": [
            {"event": "tool", "timestamp": at(3), "id": "c", "function": "f", "arguments": {}, "result": 1}]},
        {"event": "step", "action": "end", "timestamp": at(4), "type": "solver", "name": "outer"},
        {"event": "logger", "timestamp": at(4)}
    ]);
    let (summary, gathered) = read(&json!({"id": "s", "epoch": 2, "input": "q", "target": "a", "events": events,
        "score": {"value": "C"}}));
    assert_eq!((summary.spans, summary.scores, summary.ignored["Inspect events `logger`"]), (6, 1, 1));
    let trace = &gathered.traces[0];
    let (outer, inner) = (span(trace, SpanKind::Step, "outer"), span(trace, SpanKind::Step, "inner"));
    let call = span(trace, SpanKind::Model, "chat m");
    assert_eq!((inner.parent_id.as_ref(), call.parent_id.as_ref()), (Some(&outer.span_id), Some(&inner.span_id)));
    assert!(call.usage.is_unknown(), "an answer from the cache cost nothing");
    assert_eq!(call.attributes["inspect.cached_usage"]["input_tokens"], 5);
    let plan = span(trace, SpanKind::Step, "plan");
    assert_eq!((plan.parent_id.as_ref(), &plan.output), (Some(&outer.span_id), &Some(json!("done"))));
    assert_eq!(span(trace, SpanKind::Tool, "f").parent_id.as_ref(), Some(&plan.span_id));
    let root = trace.root().unwrap();
    assert_eq!((root.duration_ms(), &root.attributes["inspect.sample.epoch"]), (Some(3000.0), &json!(2)));
    assert_eq!(root.resource["service.name"], "t");
}

#[test]
fn a_sample_without_an_id_costs_itself_only() {
    let (summary, gathered) = read(&json!({"epoch": 1, "input": "q"}));
    assert_eq!((summary.spans, summary.rejected), (0, 1));
    assert!(gathered.rejected[0].to_string().contains("`id` of `samples[0]`"), "{}", gathered.rejected[0]);
}

proptest! {
    #[test]
    fn any_events_are_read(kinds in proptest::collection::vec("span_begin|span_end|step|model|tool|subtask|x", 0..8),
        text in ".{0,6}", number in any::<f64>(), same in "a|b") {
        for value in [json!(text), json!(number), json!([text]), json!({"message": text}), Value::Null] {
            let events: Vec<Value> = kinds
                .iter()
                .map(|kind| json!({"event": kind, "timestamp": value, "id": same, "span_id": same, "parent_id": same,
                    "type": "tool", "name": same, "function": same, "uuid": value, "completed": value, "action": text,
                    "working_time": number, "output": value, "input": value, "input_refs": value, "error": value,
                    "events": value}))
                .collect();
            let (summary, _) = read(&json!({"id": same, "epoch": value, "input": value, "events": events, "scores": value,
                "messages": value, "output": value, "target": value}));
            prop_assert!(summary.spans >= 1);
        }
    }
}
