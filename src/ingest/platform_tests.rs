//! Rows of every platform through the whole reader: the same call of a model must come out of each, bad rows must
//! cost only themselves, and neither order nor repetition may change the traces.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::All;
use super::*;
use crate::model::{Message, ScoreOrigin, SpanKind, SpanStatus, Trace, TraceFault, TraceScore};

const START: i64 = 1_795_248_000_100_000_000;

/// Everything one reading gave.
struct Taken {
    scores: Vec<TraceScore>,
    rejected: Vec<Rejected>,
    traces: Vec<Trace>,
    duplicates: u64,
    summary: FileSummary,
}

impl Taken {
    fn spans(&self) -> Vec<&Span> {
        self.traces.iter().flat_map(|trace| &trace.spans).collect()
    }

    fn only(&self) -> &Span {
        let spans = self.spans();
        assert_eq!(spans.len(), 1, "{:?}", self.rejected);
        spans[0]
    }

    fn model(&self) -> &Span {
        let found = self.spans().into_iter().find(|span| span.kind == SpanKind::Model);
        found.unwrap_or_else(|| panic!("no model span; rejected: {:?}", self.rejected))
    }
}

fn read_as(text: &str, format: Option<&str>) -> Taken {
    let mut all = All::default();
    let reader = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
    let summary = read_stream("-", reader, format, &ReadOptions::default(), &mut all).unwrap();
    let Gathered { traces, duplicates, rejected, .. } = all.assembler.drain();
    Taken { scores: all.scores, rejected, traces, duplicates, summary }
}

fn read_rows(rows: &[Value]) -> Taken {
    read_as(&rows.iter().map(|row| format!("{row}\n")).collect::<String>(), None)
}

fn read_row(row: &Value) -> Taken {
    read_rows(std::slice::from_ref(row))
}

fn langsmith() -> Value {
    json!({"id": "0198aaaa-0000-7000-8000-0000000000b2", "name": "ChatOpenAI", "run_type": "LLM", "status": "SUCCESS",
        "start_time": "2026-11-21T08:00:00.100000Z", "end_time": "2026-11-21T08:00:00.900000Z",
        "trace_id": "5b8efff7-9803-8103-d269-b633813fc60c", "is_root": false,
        "parent_run_ids": ["5b8efff7-9803-8103-d269-b633813fc60c"],
        "dotted_order": "20261121T080000000000Z5b8efff7-9803-8103-d269-b633813fc60c.20261121T080000100000Z0198aaaa-0000-7000-8000-0000000000b2",
        "thread_id": "s1", "project_id": "p", "inputs": {"messages": [[{"type": "human", "content": "hi"}]]},
        "outputs": {"generations": [[{"text": "hello", "message": {"lc": 1, "kwargs": {"content": "hello",
            "usage_metadata": {"input_tokens": 120, "output_tokens": 30, "total_tokens": 150,
                "input_token_details": {"cache_read": 100}, "output_token_details": {"reasoning": 10}}}}}]]},
        "prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150, "total_cost": "0.0012",
        "extra": {"metadata": {"ls_model_name": "gpt-x", "ls_provider": "openai", "tier": "gold"}},
        "feedback_stats": {"thumbs": {"n": 1, "avg": 1.0, "comments": ["good"], "sources": ["{\"type\": \"app\"}"]}}})
}

/// The same run in halves, as an SDK sends it.
fn langsmith_body() -> Value {
    let mut post = langsmith();
    let mut patch = json!({"id": post["id"], "trace_id": post["trace_id"], "dotted_order": post["dotted_order"]});
    for key in ["end_time", "outputs", "status", "prompt_tokens", "completion_tokens", "total_cost"] {
        patch[key] = post[key].take();
    }
    post["run_type"] = json!("llm");
    post["outputs"] = json!({});
    json!({"post": [post], "patch": [patch]})
}

fn braintrust() -> Value {
    json!({"id": "row-b2", "_xact_id": "1000197", "created": "2026-11-21T08:00:00.9Z", "project_id": "p", "log_id": "g",
        "root_span_id": "a1", "span_id": "b2", "span_parents": ["a1"], "is_root": false,
        "span_attributes": {"name": "chat", "type": "llm"}, "input": [{"role": "user", "content": "hi"}],
        "output": [{"role": "assistant", "content": "hello"}],
        "metadata": {"model": "gpt-x", "session_id": "s1", "tier": "gold"},
        "metrics": {"start": 1_795_248_000.1, "end": 1_795_248_000.9, "prompt_tokens": 120, "prompt_cached_tokens": 100,
            "completion_tokens": 30, "completion_reasoning_tokens": 10, "tokens": 150, "estimated_cost": 0.0012},
        "scores": {"thumbs": 1}, "tags": null})
}

fn opik() -> Value {
    json!({"trace": {"id": "5b8efff7-9803-8103-d269-b633813fc60c", "name": "support", "thread_id": "s1",
            "start_time": "2026-11-21T08:00:00Z", "end_time": "2026-11-21T08:00:01Z", "input": {"q": "hi"},
            "output": {"a": "hello"}, "feedback_scores": [
                {"name": "thumbs", "value": 1.0, "reason": "good", "source": "ui", "created_by": "ann"}]},
        "spans": [{"id": "0198aaaa-0000-7000-8000-0000000000b2", "trace_id": "5b8efff7-9803-8103-d269-b633813fc60c",
            "parent_span_id": null, "type": "llm", "name": "chat", "model": "gpt-x", "provider": "openai",
            "start_time": "2026-11-21T08:00:00.100Z", "end_time": "2026-11-21T08:00:00.900Z",
            "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150,
                "original_usage.prompt_tokens_details.cached_tokens": 100,
                "original_usage.completion_tokens_details.reasoning_tokens": 10},
            "input": {"messages": [{"role": "user", "content": "hi"}]}, "metadata": {"tier": "gold"},
            "output": {"choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]},
            "total_estimated_cost": 0.0012}],
        "attachments": [], "downloaded_at": "2026-11-21T09:00:00", "project_name": "p"})
}

fn mlflow() -> Value {
    let dumped = |value: Value| Value::from(value.to_string());
    json!({"info": {"trace_id": "tr-5b8efff798038103d269b633813fc60c",
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "p"}},
            "request_time": "2026-11-21T08:00:00Z", "state": "OK",
            "trace_metadata": {"mlflow.trace.session": "s1", "mlflow.trace.user": "u1", "tier": "gold"},
            "tags": {"mlflow.traceName": "agent"}, "assessments": [{"assessment_name": "thumbs", "source":
                {"source_type": "HUMAN", "source_id": "ann"}, "feedback": {"value": true}, "rationale": "good"}]},
        "data": {"spans": [{"trace_id": "W47/95gDgQPSabYzgT/GDA==", "span_id": "srKysrKysrI=",
            "parent_span_id": "oaGhoaGhoaE=", "name": "chat", "start_time_unix_nano": START,
            "end_time_unix_nano": START + 800_000_000, "events": [], "status": {"code": "STATUS_CODE_OK", "message": ""},
            "attributes": {"mlflow.spanType": dumped(json!("CHAT_MODEL")), "mlflow.llm.model": dumped(json!("gpt-x")),
                "mlflow.llm.provider": dumped(json!("openai")),
                "mlflow.spanInputs": dumped(json!({"messages": [{"role": "user", "content": "hi"}]})),
                "mlflow.spanOutputs": dumped(json!({"choices": [
                    {"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]})),
                "mlflow.chat.tokenUsage": dumped(json!({"input_tokens": 120, "output_tokens": 30, "total_tokens": 150,
                    "cache_read_input_tokens": 100})),
                "mlflow.llm.cost": dumped(json!({"input_cost": 0.001, "output_cost": 0.0002, "total_cost": 0.0012})),
                "tier": dumped(json!("gold"))}}]}})
}

fn phoenix() -> Value {
    json!({"id": "U3Bhbjox", "name": "ChatCompletion", "context": {"trace_id": "5b8efff798038103d269b633813fc60c",
            "span_id": "b2b2b2b2b2b2b2b2"}, "span_kind": "LLM", "parent_id": "a1a1a1a1a1a1a1a1",
        "start_time": "2026-11-21T08:00:00.1+00:00", "end_time": "2026-11-21T08:00:00.9+00:00", "status_code": "OK",
        "status_message": "", "events": [], "attributes": {"llm.model_name": "gpt-x", "llm.provider": "openai",
            "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "hi",
            "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "hello",
            "llm.token_count.prompt": 120, "llm.token_count.prompt_details.cache_read": 100,
            "llm.token_count.completion": 30, "llm.token_count.completion_details.reasoning": 10,
            "llm.finish_reason": "stop", "session.id": "s1", "user.id": "u1", "llm.prompt_template.version": "7",
            "llm.cost.total": 0.0012, "metadata.tier": "gold", "tag.tags": ["prod"],
            "annotations.0.annotation.name": "thumbs", "annotations.0.annotation.score": 1,
            "annotations.0.annotation.explanation": "good", "annotations.0.annotation.annotator_kind": "HUMAN"}})
}

fn helicone() -> Value {
    json!({"request_id": "r1", "request_created_at": "2026-11-21T08:00:00.1Z",
        "response_created_at": "2026-11-21T08:00:00.9Z", "request_model": "gpt-x", "provider": "OPENAI",
        "response_status": 200, "delay_ms": 800, "prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150,
        "prompt_cache_read_tokens": 100, "reasoning_tokens": 10, "request_user_id": "u1", "cost": 0.0012,
        "properties": {"Helicone-Session-Id": "s1", "Helicone-Session-Path": "/support/chat",
            "Helicone-Session-Name": "support", "tier": "gold"},
        "request_body": {"messages": [{"role": "user", "content": "hi"}]},
        "response_body": {"choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]},
        "scores": {"thumbs": 1}})
}

fn sentry() -> Value {
    json!({"id": "b2b2b2b2b2b2b2b2", "trace": "5b8efff798038103d269b633813fc60c", "parent_span": "a1a1a1a1a1a1a1a1",
        "span.op": "gen_ai.chat", "span.duration": 800, "timestamp": "2026-11-21T08:00:00.100+00:00",
        "gen_ai.request.model": "gpt-x", "gen_ai.request.messages": "[{\"role\":\"user\",\"content\":\"hi\"}]",
        "gen_ai.response.text": "hello", "gen_ai.usage.input_tokens": 120, "gen_ai.usage.input_tokens.cached": 100,
        "gen_ai.usage.output_tokens": 30, "gen_ai.usage.output_tokens.reasoning": 10, "gen_ai.agent.name": "support",
        "gen_ai.conversation.id": "s1", "gen_ai.cost.total_tokens": 0.0012, "project": "p", "metadata.tier": "gold"})
}

fn agentops() -> Value {
    json!({"trace_id": "5b8efff798038103d269b633813fc60c", "project_id": "p", "tags": ["prod"], "spans": [
        {"span_id": "b2b2b2b2b2b2b2b2", "parent_span_id": "a1a1a1a1a1a1a1a1", "span_name": "chat",
            "span_kind": "SPAN_KIND_CLIENT", "start_time": "2026-11-21T08:00:00.1", "end_time": null, "duration": 800,
            "status_code": "STATUS_CODE_OK", "status_message": "", "span_attributes": {
                "agentops": {"span": {"kind": "llm"}}, "session": {"id": "s1"}, "metadata": {"tier": "gold"},
                "gen_ai": {"system": "openai", "request": {"model": "gpt-x"},
                    "prompt": [{"role": "user", "content": "hi"}],
                    "completion": [{"role": "assistant", "content": "hello", "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 120, "completion_tokens": 30, "cache_read_input_tokens": 100,
                        "reasoning_tokens": 10, "total_cost": 0.0012}}}}]})
}

fn datadog() -> Value {
    json!({"trace_id": "5b8efff798038103d269b633813fc60c", "span_id": "2", "parent_id": "1", "name": "chat",
        "start_ns": START, "duration": 800_000_000, "status": "ok",
        "tags": ["ml_app:p", "env:prod", "session_id:s1", "service:shop", "tier:gold"],
        "meta": {"span.kind": "llm", "model_name": "gpt-x", "model_provider": "openai",
            "input": {"messages": [{"role": "user", "content": "hi"}]},
            "output": {"messages": [{"role": "assistant", "content": "hello"}]}, "metadata": {"tier": "gold"}},
        "metrics": {"input_tokens": 120, "cache_read_input_tokens": 100, "output_tokens": 30,
            "reasoning_output_tokens": 10, "total_tokens": 150, "total_cost": 0.0012}})
}

fn weave() -> Value {
    json!({"id": "0198aaaa-0000-7000-8000-0000000000b2", "project_id": "p",
        "op_name": "weave:///e/p/op/openai.chat.completions.create:abc", "parent_id": "0198aaaa-0000-7000-8000-0000000000a1",
        "trace_id": "5b8efff7-9803-8103-d269-b633813fc60c", "thread_id": "s1", "started_at": "2026-11-21T08:00:00.1Z",
        "ended_at": "2026-11-21T08:00:00.9Z", "attributes": {"tier": "gold"},
        "inputs": {"messages": [{"role": "user", "content": "hi"}], "model": "gpt-x"},
        "output": {"choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]},
        "summary": {"usage": {"gpt-x": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150, "requests": 1,
                "prompt_tokens_details": {"cached_tokens": 100}, "completion_tokens_details": {"reasoning_tokens": 10}}},
            "weave": {"status": "success", "latency_ms": 800, "costs": {"gpt-x": {
                    "prompt_tokens_total_cost": 0.001, "completion_tokens_total_cost": 0.0002}},
                "feedback": [{"feedback_type": "wandb.annotation.thumbs", "payload": {"value": true}, "creator": "ann"}]}}})
}

type Golden = (&'static str, fn() -> Value);
const GOLDEN: &[Golden] = &[
    ("langsmith", langsmith),
    ("langsmith", langsmith_body),
    ("braintrust", braintrust),
    ("opik", opik),
    ("mlflow", mlflow),
    ("phoenix", phoenix),
    ("helicone", helicone),
    ("sentry", sentry),
    ("agentops", agentops),
    ("datadog", datadog),
    ("weave", weave),
];

/// One call of a model on every platform: the same facts must come out.
#[test]
fn every_platform_gives_the_same_call() {
    for (platform, row) in GOLDEN {
        let taken = read_row(&row());
        assert_eq!(taken.summary.format, *platform);
        assert!(taken.rejected.is_empty(), "{platform}: {:?}", taken.rejected);
        let span = taken.model();
        assert_eq!((span.start_ns, span.duration_ms()), (START, Some(800.0)), "{platform}");
        assert!(span.parent_id.is_some(), "{platform}");
        assert_eq!(taken.traces[0].session_id.as_ref().unwrap().as_str(), "s1", "{platform}");
        let model = span.model.as_ref().unwrap();
        assert_eq!(model.request.as_ref().or(model.response.as_ref()).unwrap(), "gpt-x", "{platform}");
        assert_eq!(span.messages_in, [Message::text("user", "hi")], "{platform}");
        assert_eq!(span.messages_out, [Message::text("assistant", "hello")], "{platform}");
        let counts = (span.usage.input, span.usage.cache_read, span.usage.output, span.usage.reasoning);
        // MLflow has no field for reasoning.
        let reasoning = (*platform != "mlflow").then_some(10);
        assert_eq!(counts, (Some(120), Some(100), Some(30), reasoning), "{platform}");
        let cost = span.cost_usd.unwrap_or_default();
        assert!((cost - 0.0012).abs() < 1e-12, "{platform}: {:?}", span.cost_usd);
        assert_ne!(span.status, SpanStatus::Error, "{platform}");
        let gold = span.attributes.values().any(|value| value == "gold");
        assert!(gold, "{platform}: {:?}", span.attributes);
        let content = span.attributes.values().any(|value| value == "hello" || value == "hi");
        assert!(!content, "{platform}: {:?}", span.attributes);
        let native = span.source.native.as_ref().unwrap();
        assert_eq!(native.platform, *platform);
        assert!(native.span.is_some() && !native.trace.is_empty(), "{platform}");
        if !["phoenix", "helicone"].contains(platform) {
            assert_eq!(native.project.as_deref(), Some("p"), "{platform}");
        }
        if ["5b8efff798038103d269b633813fc60c", "5b8efff7-9803-8103-d269-b633813fc60c"].contains(&native.trace.as_str())
        {
            assert_eq!(span.trace_id.as_str(), "5b8efff798038103d269b633813fc60c", "{platform}");
        }
    }
}

#[test]
fn scores_of_others_come_along() {
    for (platform, row, origin) in [
        ("langsmith", langsmith(), ScoreOrigin::Annotator),
        ("braintrust", braintrust(), ScoreOrigin::Unknown),
        ("opik", opik(), ScoreOrigin::Annotator),
        ("mlflow", mlflow(), ScoreOrigin::Annotator),
        ("phoenix", phoenix(), ScoreOrigin::Annotator),
        ("helicone", helicone(), ScoreOrigin::Evaluator),
        ("weave", weave(), ScoreOrigin::Annotator),
    ] {
        let taken = read_row(&row);
        assert_eq!(taken.scores.len(), 1, "{platform}: {:?}", taken.scores);
        let score = &taken.scores[0];
        assert_eq!((score.name.as_str(), score.value, score.origin), ("thumbs", Some(1.0), origin), "{platform}");
        assert_eq!(score.trace_id.as_ref(), Some(&taken.traces[0].id), "{platform}");
        assert_eq!(score.source.native.as_ref().unwrap().platform, platform);
        // Opik's and MLflow's stand at the trace.
        let whole = ["opik", "mlflow"].contains(&platform);
        assert_eq!(score.span_id.as_ref(), (!whole).then(|| &taken.model().span_id), "{platform}");
        if ["langsmith", "opik", "mlflow", "phoenix"].contains(&platform) {
            assert_eq!(score.comment.as_deref(), Some("good"), "{platform}");
        }
    }
}

/// An answer of the interface saved whole, a list, and lines are the same rows.
#[test]
fn rows_may_come_wrapped_in_a_list_or_in_an_answer() {
    for (platform, row, list) in [
        ("langsmith", langsmith(), "items"),
        ("langsmith", langsmith(), "runs"),
        ("braintrust", braintrust(), "events"),
        ("opik", opik()["spans"][0].clone(), "content"),
        ("mlflow", mlflow(), "traces"),
        ("phoenix", phoenix(), "data"),
        ("helicone", helicone(), "data"),
        ("sentry", sentry(), "data"),
        ("datadog", json!({"id": "x", "type": "span", "attributes": datadog()}), "data"),
        ("weave", weave(), "calls"),
    ] {
        let lines = read_row(&row);
        let answer = read_as(&serde_json::to_string_pretty(&json!({list: [row], "next_cursor": "c"})).unwrap(), None);
        let array = read_as(&serde_json::to_string_pretty(&json!([row])).unwrap(), None);
        for other in [answer, array] {
            assert_eq!(other.summary.format, platform);
            assert_eq!(without_lines(other.traces), without_lines(lines.traces.clone()), "{platform}");
        }
    }
}

fn without_lines(mut traces: Vec<Trace>) -> Vec<Trace> {
    for span in traces.iter_mut().flat_map(|trace| &mut trace.spans) {
        span.source.line = None;
    }
    traces
}

#[test]
fn bare_otlp_spans_are_not_taken_for_a_platforms() {
    let sdk = json!({"name": "chat", "context": {"trace_id": "0x5b8efff798038103d269b633813fc60c",
        "span_id": "0xb2b2b2b2b2b2b2b2"}, "kind": "SpanKind.INTERNAL", "parent_id": null,
        "start_time": "2026-11-21T08:00:00Z", "end_time": null, "status": {"status_code": "OK"}, "attributes":
            {"run_type": "x", "op_name": "x", "meta": "x", "request_id": "r"}, "events": [], "links": []});
    assert_eq!(read_row(&sdk).summary.format, "otlp_json");
}

#[test]
fn times_without_an_offset_and_numbers_in_texts_are_read() {
    let mut row = langsmith();
    row["start_time"] = json!("2026-11-21T08:00:00.100");
    row["outputs"] = json!({"generations": null, "text": "hello"});
    row["prompt_tokens"] = json!("120");
    row["completion_tokens"] = json!("30");
    row["prompt_token_details"] = json!({"raw": {"cache_read": "100"}});
    let taken = read_row(&row);
    let span = taken.only();
    assert_eq!((span.start_ns, span.usage.input, span.usage.cache_read), (START, Some(120), Some(100)));
    let mut row = braintrust();
    row["metrics"]["start"] = json!("1795248000.1");
    row["metrics"]["prompt_tokens"] = json!("120");
    let taken = read_row(&row);
    assert_eq!((taken.only().start_ns, taken.only().usage.input), (START, Some(120)));
}

#[test]
fn nulls_are_absent_everywhere() {
    for (platform, row) in GOLDEN {
        // Nothing but what every row must have.
        let needed = [
            "id",
            "run_type",
            "trace_id",
            "trace",
            "span_id",
            "span.op",
            "timestamp",
            "start_time",
            "started_at",
            "op_name",
            "span_attributes",
            "root_span_id",
            "_xact_id",
            "created",
            "request_id",
            "request_created_at",
            "context",
            "span_kind",
            "status_code",
            "attributes",
            "start_ns",
            "meta",
            "spans",
            "info",
            "data",
            "post",
            "patch",
            "start_time_unix_nano",
            "span_name",
            "dotted_order",
            "trace_location",
            "request_time",
        ];
        let mut row = row();
        blank(&mut row, &needed);
        let taken = read_row(&row);
        assert_eq!(taken.summary.format, *platform);
        assert!(taken.rejected.is_empty(), "{platform}: {:?}", taken.rejected);
        let span = taken.spans()[0];
        assert!(span.usage.is_unknown() && span.cost_usd.is_none(), "{platform}: {span:?}");
    }
}

fn blank(value: &mut Value, needed: &[&str]) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if needed.contains(&key.as_str()) { blank(value, needed) } else { *value = Value::Null }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| blank(item, needed)),
        _ => {}
    }
}

#[test]
fn what_is_missing_is_named_and_mended() {
    for (row, gone, field, expected) in [
        (sentry(), "timestamp", "`timestamp`", "field=timestamp"),
        (braintrust(), "span_id", "", ""),
        (helicone(), "request_created_at", "`request_created_at`", "a time"),
        (weave(), "trace_id", "`trace_id`", "the id of the trace"),
        (datadog(), "span_id", "`span_id`", "the id of the span"),
        (phoenix(), "context", "`traceId`", "hexadecimal"),
    ] {
        let format = read_row(&row).summary.format;
        let mut bad = row.clone();
        bad.as_object_mut().unwrap().remove(gone);
        let taken = read_as(&format!("{row}\n{bad}\n{row}\n"), Some(&format));
        if field.is_empty() {
            assert!(taken.rejected.is_empty(), "{format}: the row's own id stands in");
            continue;
        }
        assert_eq!(taken.rejected.len(), 1, "{format}");
        let rejected = &taken.rejected[0];
        assert_eq!((rejected.field.as_str(), rejected.line), (field, Some(2)), "{format}");
        assert!(rejected.expected.contains(expected) && rejected.found == "missing", "{format}: {rejected}");
        assert!(rejected.excerpt.starts_with('{'), "{format}");
    }
}

#[test]
fn of_rows_written_again_the_newest_stays() {
    let mut newer = braintrust();
    newer["_xact_id"] = json!("1000198");
    newer["output"] = json!("x");
    for rows in [[braintrust(), newer.clone()], [newer.clone(), braintrust()]] {
        let taken = read_rows(&rows);
        assert_eq!(taken.model().messages_out, [Message::text("assistant", "x")]);
        assert_eq!((taken.duplicates, &taken.traces[0].faults.len()), (1, &1), "{:?}", taken.traces[0].faults);
        assert!(!taken.traces[0].faults.iter().any(|fault| matches!(fault, TraceFault::Duplicate { .. })));
    }
    for (platform, row) in GOLDEN {
        let once = read_row(&row());
        let twice = read_rows(&[row(), row()]);
        assert_eq!(once.traces, twice.traces, "{platform}");
    }
}

#[test]
fn halves_of_a_run_are_put_together_wherever_they_stand() {
    let whole = read_row(&langsmith_body());
    assert_eq!((whole.summary.spans, whole.only().finish_reasons.len()), (1, 0));
    let body = langsmith_body();
    let (post, patch) = (json!({"post": body["post"]}), json!({"patch": body["patch"]}));
    for rows in [[post.clone(), patch.clone()], [patch.clone(), post]] {
        assert_eq!(without_lines(read_rows(&rows).traces), without_lines(whole.traces.clone()));
    }
    // A patch alone still knows its place and time by its path; without a path it is turned away.
    let alone = read_row(&patch);
    assert_eq!((alone.only().start_ns, alone.only().parent_id.is_some()), (START, true));
    let nothing = read_as("{\"patch\": [{\"outputs\": {}}, 7], \"post\": 3}", Some("langsmith"));
    assert_eq!((nothing.rejected.len(), nothing.spans().len()), (3, 0));
}

#[test]
fn streams_without_usage_and_zeros_are_unknown() {
    let mut row = langsmith();
    row["outputs"] = json!({"choices": [{"message": {"role": "assistant", "content": "hello"},
        "finish_reason": {"index": 0, "delta": {}, "finish_reason": "stop"}}], "usage_metadata": null});
    for (tokens, cost) in [(json!(0), json!("0")), (Value::Null, Value::Null)] {
        row["prompt_tokens"] = tokens.clone();
        row["completion_tokens"] = tokens;
        row["total_cost"] = cost;
        let taken = read_row(&row);
        let span = taken.only();
        assert!(span.usage.is_unknown() && span.cost_usd.is_none(), "{:?}", span.usage);
        assert_eq!(span.finish_reasons, ["stop"]);
        assert_eq!(span.messages_out, [Message::text("assistant", "hello")]);
    }
}

#[test]
fn runs_of_tools_chains_and_agents_keep_what_they_are() {
    let base = |kind: &str| {
        json!({"id": format!("0198aaaa-0000-7000-8000-0000000000{kind:0>2.2}"), "trace_id": "t", "name": kind,
            "run_type": kind, "start_time": "2026-11-21T08:00:00Z", "parent_run_id": "r"})
    };
    let mut tool = base("tool");
    tool["inputs"] = json!({"input": "{'city': 'Paris'}"});
    tool["extra"] = json!({"metadata": {"ls_model_name": "inherited"}});
    tool["outputs"] = json!({"output": {"lc": 1, "type": "constructor", "id": ["langchain", "ToolMessage"],
        "kwargs": {"content": "rainy", "tool_call_id": "c1"}}});
    let mut chain = base("chain");
    chain["name"] = json!("LangGraph");
    chain["outputs"] = json!({"messages": [{"type": "human", "content": "hi"}, {"type": "ai", "content": "hello"}],
        "steps": 3});
    chain["error"] = json!("ValueError('x')");
    chain["extra"] = json!({"metadata": {"thread_id": "s1", "user_id": "u1", "revision_id": "r7"}});
    let taken = read_rows(&[tool, chain, base("retriever"), base("made up")]);
    let find = |name: &str| taken.spans().into_iter().find(|span| span.name == name).unwrap();
    let used = find("tool").tool.as_ref().unwrap();
    assert_eq!((used.call_id.as_deref(), used.result.clone()), (Some("c1"), Some(json!("rainy"))));
    assert_eq!(used.arguments, Some(json!({"city": "Paris"})));
    assert_eq!(
        (find("tool").model.as_ref(), &find("tool").attributes["metadata.ls_model_name"]),
        (None, &json!("inherited"))
    );
    let agent = find("LangGraph");
    assert_eq!((agent.kind, agent.status), (SpanKind::Agent, SpanStatus::Error));
    assert_eq!(agent.error.as_ref().unwrap().message.as_deref(), Some("ValueError('x')"));
    assert_eq!(agent.messages_out.last(), Some(&Message::text("assistant", "hello")));
    assert_eq!(agent.attributes["output.steps"], json!(3));
    let (session, user) = (agent.session_id.as_ref().unwrap().as_str(), agent.user_id.as_deref());
    assert_eq!((session, user), ("s1", Some("u1")));
    assert_eq!(agent.agent.as_ref().unwrap().version.as_deref(), Some("r7"));
    assert_eq!((find("retriever").kind, find("made up").kind), (SpanKind::Retrieval, SpanKind::Other));
}

#[test]
fn bulk_exports_of_langsmith_hold_json_in_texts() {
    let row = langsmith();
    let mut texts = row.clone();
    for key in ["inputs", "outputs", "extra", "feedback_stats", "parent_run_ids"] {
        texts[key] = Value::from(row[key].to_string());
    }
    let (left, right) = (read_row(&row), read_row(&texts));
    assert_eq!((left.traces, left.scores.len()), (right.traces, right.scores.len()));
    let mut plain = row;
    (plain["inputs"], plain["outputs"]) = (json!("hi"), json!(["hello"]));
    let taken = read_row(&plain);
    assert_eq!((taken.only().input.clone(), taken.only().output.clone()), (Some(json!("hi")), Some(json!(["hello"]))));
    let mut short = langsmith();
    for key in ["inputs", "outputs"] {
        short.as_object_mut().unwrap().remove(key);
        short[format!("{key}_preview")] = json!("hi…");
    }
    let taken = read_row(&short);
    assert_eq!(taken.only().attributes[TRUNCATED_KEY].as_array().unwrap().len(), 2);
    assert_eq!(taken.only().input, Some(json!("hi…")));
}

#[test]
fn feedback_of_langsmith_names_its_run_and_who_gave_it() {
    let row = langsmith();
    let voice = |run: &Value, source: &str| {
        json!({"id": "f", "run_id": run, "trace_id": row["trace_id"], "session_id": "p", "key": "ok", "score": null,
            "value": "pass", "comment": "why", "feedback_source": {"type": source, "user_id": "ann"},
            "created_at": "2026-11-21T09:00:00"})
    };
    let mut lost = voice(&row["id"], "app");
    lost["trace_id"] = Value::Null;
    let rows =
        [voice(&row["id"], "app"), voice(&row["trace_id"], "model"), voice(&row["id"], "api"), row.clone(), lost];
    let taken = read_rows(&rows);
    assert_eq!((taken.summary.format.as_str(), taken.rejected.len()), ("langsmith", 1));
    let origins: Vec<ScoreOrigin> = taken.scores.iter().map(|score| score.origin).collect();
    let expected = [ScoreOrigin::Annotator, ScoreOrigin::Evaluator, ScoreOrigin::Unknown, ScoreOrigin::Annotator];
    assert_eq!(origins, expected);
    let (first, whole) = (&taken.scores[0], &taken.scores[1]);
    assert_eq!((first.span_id.as_ref(), whole.span_id.as_ref()), (Some(&taken.only().span_id), None));
    assert_eq!((first.trace_id.as_ref(), first.label.as_deref()), (Some(&taken.only().trace_id), Some("pass")));
    assert_eq!((first.author.as_deref(), first.at_ns.is_some()), (Some("ann"), true));
    let mut mixed = langsmith();
    mixed["feedback_stats"]["thumbs"] = json!({"n": 3, "avg": 0.5, "values": {"a": 1, "b": 2},
        "sources": ["{\"type\": \"app\"}", "{\"type\": \"model\"}"]});
    let score = read_row(&mixed).scores.remove(0);
    assert_eq!((score.origin, score.value, score.label), (ScoreOrigin::Unknown, Some(0.5), None));
    assert_eq!(score.comment.as_deref(), Some("mean of 3"));
}

#[test]
fn conversations_of_sentry_say_what_they_do_without_an_operation() {
    let row = |id: &str, kind: &str| {
        json!({"span_id": id, "trace": "t", "parent_span": "", "span.name": kind, "precise.start_ts": 1_795_248_000.1,
            "precise.finish_ts": 1_795_248_000.9, "span.status": "internal_error", "gen_ai.operation.type": kind,
            "gen_ai.response.object": "{\"a\": 1}", "release": "shop@7", "project": "p"})
    };
    let taken = read_rows(&[row("a", "ai_client"), row("b", "tool"), row("c", "agent"), row("d", "else")]);
    let kinds: Vec<SpanKind> = taken.spans().iter().map(|span| span.kind).collect();
    for kind in [SpanKind::Model, SpanKind::Tool, SpanKind::Agent, SpanKind::Other] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let span = taken.model();
    assert_eq!((span.start_ns, span.duration_ms(), span.failed()), (START, Some(800.0), true));
    assert_eq!(span.error.as_ref().unwrap().kind.as_deref(), Some("internal_error"));
    assert_eq!(span.messages_out[0].plain_text(), "{\"a\": 1}");
    assert_eq!(span.attribute("service.version"), Some(&json!("shop@7")));
}

#[test]
fn scorers_inside_a_trace_are_evaluators_and_score_what_is_above_them() {
    let mut root = braintrust();
    root["span_id"] = json!("a1");
    root["id"] = json!("row-a1");
    root["span_parents"] = Value::Null;
    root["span_attributes"] = json!({"name": "support", "type": "task"});
    root["scores"] = Value::Null;
    let mut scorer = braintrust();
    scorer["span_id"] = json!("c3");
    scorer["id"] = json!("row-c3");
    scorer["span_attributes"] = json!({"name": "judge", "type": "llm", "purpose": "scorer"});
    scorer["scores"] = json!({"helpful": 0.5, "none": null});
    let taken = read_rows(&[scorer, root, braintrust()]);
    let judge = taken.spans().into_iter().find(|span| span.name == "judge").unwrap();
    assert_eq!(judge.kind, SpanKind::Evaluator);
    assert_eq!(judge.source.native.as_ref().unwrap().span.as_deref(), Some("row-c3"));
    let helpful = taken.scores.iter().find(|score| score.name == "helpful").unwrap();
    assert_eq!((helpful.span_id.as_ref(), helpful.origin), (None, ScoreOrigin::Evaluator));
    assert!(taken.traces[0].faults.is_empty(), "{:?}", taken.traces[0].faults);
    assert_eq!(taken.traces[0].usage().input, Some(120));
}

#[test]
fn paths_of_a_session_are_a_tree() {
    let at = |id: &str, path: &str, time: &str| {
        let mut row = helicone();
        row["request_id"] = json!(id);
        row["request_created_at"] = json!(format!("2026-11-21T08:00:0{time}Z"));
        row["properties"]["Helicone-Session-Path"] = json!(path);
        row
    };
    let rows =
        [at("r1", "/support/chat", "0.5"), at("r2", "/support/chat", "0.7"), at("r3", "/support/find/rank", "0.2")];
    let mut swapped = rows.clone();
    swapped.reverse();
    let taken = read_rows(&rows);
    assert_eq!(taken.traces.len(), 1);
    assert_eq!(without_lines(taken.traces.clone()), without_lines(read_rows(&swapped).traces));
    let trace = &taken.traces[0];
    assert!(trace.faults.is_empty(), "{:?}", trace.faults);
    let outline: Vec<(usize, &str)> =
        trace.outline().into_iter().map(|(depth, span)| (depth, span.name.as_str())).collect();
    assert_eq!(outline, [(0, "support"), (1, "support"), (2, "find"), (3, "rank"), (2, "chat"), (2, "chat")]);
    assert_eq!(trace.spans[0].start_ns, START + 100_000_000);
    let alone = {
        let mut row = helicone();
        row["properties"] = json!({});
        row["response_status"] = json!(429);
        row["response_body"] = json!({"error": {"message": "slow down"}});
        read_row(&row)
    };
    let span = alone.only();
    assert!(span.parent_id.is_none() && span.failed());
    let error = span.error.as_ref().unwrap();
    assert_eq!((error.kind.as_deref(), error.message.as_deref()), (Some("429"), Some("slow down")));
}

#[test]
fn anthropic_bodies_behind_helicone_count_cached_tokens_once() {
    let mut row = helicone();
    row["provider"] = json!("ANTHROPIC");
    row["prompt_tokens"] = json!(20);
    row["request_body"] =
        json!({"model": "claude-x", "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}]});
    row["response_body"] = json!({"type": "message", "role": "assistant", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "hello"}],
        "usage": {"input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 30}});
    let taken = read_row(&row);
    let span = taken.model();
    assert_eq!((span.usage.input, span.usage.cache_read), (Some(120), Some(100)));
    assert_eq!((span.messages_in.len(), span.finish_reasons.as_slice()), (2, ["end_turn".to_owned()].as_slice()));
}

#[test]
fn tables_of_phoenix_and_annotations_of_their_own_are_read() {
    let mut frame = json!({"context.trace_id": "5b8efff798038103d269b633813fc60c", "context.span_id": "b2b2b2b2b2b2b2b2",
        "name": "llm", "span_kind": "LLM", "parent_id": null, "start_time": START / 1_000_000, "end_time": null,
        "status_code": "ERROR", "status_message": "broke", "attributes.llm.model_name": "gpt-x",
        "attributes.output.value": null, "attributes.trace.annotations.0.annotation.name": "ok",
        "attributes.trace.annotations.0.annotation.label": "pass",
        "attributes.session.id": "s1", "attributes.session.annotations.1.annotation.name": "mood",
        "attributes.session.annotations.1.annotation.score": 0.5});
    frame["attributes.llm.input_messages"] = json!([{"message.role": "user", "message.content": "hi"}]);
    let note = json!({"id": "x", "span_id": "b2b2b2b2b2b2b2b2", "name": "task", "annotator_kind": "LLM",
        "result": {"score": "0.5", "label": "half", "explanation": "why"}, "identifier": "judge@1", "metadata": {}});
    let taken = read_as(&format!("{frame}\n{note}\n"), None);
    let span = taken.only();
    assert_eq!((span.start_ns, span.failed()), (START, true));
    assert_eq!(span.model.as_ref().unwrap().request.as_deref(), Some("gpt-x"));
    let find = |name: &str| taken.scores.iter().find(|score| score.name == name).unwrap();
    let (ok, mood, task) = (find("ok"), find("mood"), find("task"));
    assert_eq!((ok.trace_id.is_some(), ok.span_id.is_none(), ok.label.as_deref()), (true, true, Some("pass")));
    assert_eq!((mood.session_id.as_ref().unwrap().as_str(), mood.trace_id.is_none()), ("s1", true));
    assert_eq!((task.value, task.label.as_deref(), task.author.as_deref()), (Some(0.5), Some("half"), Some("judge@1")));
    assert_eq!((task.span_id.as_ref(), task.origin), (Some(&span.span_id), ScoreOrigin::Evaluator));
    assert!(!span.attributes.keys().any(|key| key.contains("annotation")), "{:?}", span.attributes);
}

#[test]
fn older_and_shorter_traces_of_mlflow_are_read() {
    let old = json!({"info": {"request_id": "tr-5b8efff798038103d269b633813fc60c", "experiment_id": "7",
            "timestamp_ms": 1, "request_metadata": [{"key": "mlflow.trace.session", "value": "s1"}], "tags": {"v": "2"}},
        "data": {"spans": [{"name": "chat", "context": {"span_id": "0xb2b2b2b2b2b2b2b2", "trace_id": "0x1"},
            "parent_id": null, "start_time": START, "end_time": START + 5, "status_code": "ERROR", "status_message": "x",
            "attributes": {"mlflow.spanType": "\"LLM\""}, "events": []}]}});
    let server = json!({"traces": [{"trace_info": {"trace_id": "tr-5b8efff798038103d269b633813fc60c"}, "spans": [
        {"trace_id": "W47/95gDgQPSabYzgT/GDA==", "span_id": "srKysrKysrI=", "name": "chat",
            "start_time_unix_nano": START.to_string(), "attributes": [
                {"key": "mlflow.spanType", "value": {"string_value": "\"LLM\""}}]}]}]});
    for document in [&old, &server] {
        let taken = read_row(document);
        assert_eq!(taken.summary.format, "mlflow");
        let span = taken.only();
        assert_eq!((span.kind, span.trace_id.as_str()), (SpanKind::Model, "5b8efff798038103d269b633813fc60c"));
        assert_eq!(span.span_id.as_str(), "b2b2b2b2b2b2b2b2");
    }
    let taken = read_row(&old);
    assert!(taken.only().failed() && taken.only().attributes["tags.v"] == json!("2"));
    let short = json!({"trace_id": "tr-1", "trace_location": {}, "request_time": "2026-11-21T08:00:00Z", "assessments": [
        {"assessment_name": "truth", "expectation": {"value": "x"}},
        {"assessment_name": "old", "valid": false, "feedback": {"value": 1}},
        {"assessment_name": "grounded", "feedback": {"value": "yes"}, "source": {"source_type": "LLM_JUDGE"}}]});
    let taken = read_row(&short);
    assert_eq!((taken.spans().len(), taken.scores.len()), (0, 1));
    assert_eq!((taken.scores[0].label.as_deref(), taken.scores[0].value), (Some("yes"), None));
    assert_eq!(taken.summary.ignored.values().sum::<u64>(), 3, "{:?}", taken.summary.ignored);
}

#[test]
fn the_export_interface_of_datadog_and_its_tools_are_read() {
    let row = json!({"trace_id": "t", "span_id": "9", "parent_id": "undefined", "name": "chat", "ml_app": "shop",
        "start_ms": START / 1_000_000, "duration": 5_000_000.0, "span_kind": "llm", "status": "error",
        "status_message": "broke", "model_name": "gpt-x", "metrics": {}, "error": {"type": "Timeout", "stack": "at x"},
        "input": {"messages": [{"role": "tool", "content": "", "tool_results": [{"tool_id": "c1", "result": "rainy"}]}]},
        "output": {"messages": [{"role": "assistant", "tool_calls": [
            {"tool_id": "c2", "name": "weather", "arguments": {"city": "Paris"}}]}]}, "tags": ["session_id:s1"]});
    let taken = read_row(&json!({"data": [{"attributes": row}]}));
    let span = taken.only();
    assert_eq!((span.parent_id.as_ref(), span.start_ns, span.duration_ms()), (None, START, Some(5.0)));
    assert_eq!((span.failed(), span.error.as_ref().unwrap().kind.as_deref()), (true, Some("Timeout")));
    assert_eq!(span.source.native.as_ref().unwrap().project.as_deref(), Some("shop"));
    let shown = serde_json::to_value((&span.messages_in, &span.messages_out)).unwrap();
    let expected = json!([
        [{"role": "tool", "parts": [{"type": "tool_result", "id": "c1", "result": "rainy"}]}],
        [{"role": "assistant", "parts": [
            {"type": "tool_call", "id": "c2", "name": "weather", "arguments": {"city": "Paris"}}]}]]);
    assert_eq!(shown, expected);
    let mut sent = datadog();
    for key in ["tags", "session_id"] {
        sent.as_object_mut().unwrap().remove(key);
    }
    sent["parent_id"] = json!("undefined");
    sent["evaluation"] = json!({"helpful": {"value": true, "assessment": "pass", "reasoning": "why"},
        "topic": {"value": "weather"}, "broken": 7});
    let body = json!({"data": {"type": "span", "attributes": {"ml_app": "shop", "session_id": "s1", "tags": ["env:prod"],
        "spans": [sent.clone(), {"span_id": 1}]}}});
    let taken = read_row(&body);
    assert_eq!((taken.summary.format.as_str(), taken.rejected.len()), ("datadog", 1));
    assert_eq!(taken.only().session_id.as_ref().unwrap().as_str(), "s1");
    assert_eq!(taken.only().attribute("deployment.environment.name"), Some(&json!("prod")));
    let said = |score: &TraceScore| (score.name.clone(), score.value, score.label.clone(), score.comment.clone());
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        ("helpful".to_owned(), Some(1.0), text("pass"), text("why")),
        ("topic".to_owned(), None, text("weather"), None),
    ];
    assert_eq!(taken.scores.iter().map(said).collect::<Vec<_>>(), expected);
    let mut dropped = datadog();
    dropped["collection_errors"] = json!(["dropped_io"]);
    dropped["meta"]["output"] = json!({"value": "[This value has been dropped]"});
    let taken = read_row(&dropped);
    assert!(taken.only().messages_out.is_empty() && taken.only().attributes.contains_key(TRUNCATED_KEY));
}

#[test]
fn calls_of_weave_are_told_by_their_names_and_sums_are_not_calls() {
    let mut root = weave();
    root["id"] = json!("root");
    root["parent_id"] = Value::Null;
    root["op_name"] = json!("weave:///e/p/op/Agent.run:abc");
    root["inputs"] = json!({"question": "hi"});
    root["output"] = json!("hello");
    root["summary"]["usage"]["other"] = json!({"input_tokens": 5, "output_tokens": 1});
    root["exception"] = json!("boom");
    let mut scorer = weave();
    scorer["id"] = json!("scorer");
    scorer["op_name"] = json!("weave:///e/p/op/Judge.score:abc");
    scorer["output"] = json!({"ok": true});
    scorer["summary"]["weave"]["feedback"] = json!([
        {"feedback_type": "wandb.runnable.judge", "payload": {"output": {"score": 0.25}}},
        {"feedback_type": "wandb.reaction.1", "payload": {"emoji": "x"}},
        {"feedback_type": "wandb.note.1", "payload": {"note": "n"}}, {"feedback_type": "mine", "payload": 7}]);
    let taken = read_rows(&[root, scorer]);
    let find = |name: &str| taken.spans().into_iter().find(|span| span.name == name).unwrap();
    assert_eq!((find("Agent.run").kind, find("Judge.score").kind), (SpanKind::Step, SpanKind::Evaluator));
    assert!(find("Agent.run").failed() && find("Agent.run").output == Some(json!("hello")));
    let said: Vec<_> =
        taken.scores.iter().map(|score| (score.name.as_str(), score.value, score.label.as_deref())).collect();
    assert_eq!(said[1..], [("judge", Some(0.25), None), ("reaction", None, Some("x"))]);
    assert_eq!(taken.summary.ignored["scores without a value"], 1);
}

#[test]
fn traces_and_spans_of_opik_may_come_apart() {
    let file = opik();
    let mut trace = file["trace"].clone();
    trace["last_updated_at"] = json!("2026-11-21T08:01:00Z");
    trace["error_info"] = json!({"exception_type": "KeyError", "message": "k", "traceback": "t"});
    let taken = read_rows(&[file["spans"][0].clone(), file["trace"].clone(), trace]);
    assert_eq!(taken.summary.format, "opik");
    let whole = &taken.traces[0];
    assert!(whole.faults.is_empty() && whole.spans.len() == 2, "{:?}", whole.faults);
    let root = whole.root().unwrap();
    assert_eq!((root.kind, root.failed(), root.input.clone()), (SpanKind::Step, true, Some(json!({"q": "hi"}))));
    assert_eq!(root.source.native.as_ref().unwrap().span, None);
}

fn hostile() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof!["", "[\\[\\]{}\":a0,]{0,8}", "\\PC{0,12}", "-1", "1e999", "NaN"].prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{"role": [], "content": {"type": 1}}, null, [[[]]]])),
        Just((0..200).fold(json!(1), |inner, _| json!([inner]))),
        Just(
            (0..100).fold(json!("x"), |inner, _| json!({"messages": [inner], "lc": 1, "kwargs": {}, "generations": 3}))
        ),
    ]
}

fn places(value: &Value, at: String, found: &mut Vec<String>) {
    found.push(at.clone());
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                places(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(value, format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// A row of a platform with some of its fields made hostile.
fn spoiled() -> impl Strategy<Value = (&'static str, Vec<Value>)> {
    let change = (any::<prop::sample::Index>(), hostile());
    let row = prop::collection::vec(change, 0..4);
    (0..GOLDEN.len(), prop::collection::vec(row, 1..5)).prop_map(|(at, rows)| {
        let (platform, golden) = GOLDEN[at];
        let spoil = |changes: Vec<(prop::sample::Index, Value)>| {
            let mut row = golden();
            for (place, value) in changes {
                let mut found = Vec::new();
                places(&row, String::new(), &mut found);
                if let Some(slot) = row.pointer_mut(&found[place.index(found.len())]) {
                    *slot = value;
                }
            }
            row
        };
        (platform, rows.into_iter().map(spoil).collect())
    })
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn sorted(mut scores: Vec<TraceScore>) -> Vec<String> {
    scores.iter_mut().for_each(|score| score.source.line = None);
    let mut texts: Vec<String> = scores.iter().map(|score| serde_json::to_string(score).unwrap()).collect();
    texts.sort();
    texts
}

proptest! {
    #[test]
    fn hostile_rows_are_read_or_turned_away((platform, rows) in spoiled()) {
        let taken = read_as(&lines(&rows), Some(platform));
        for span in taken.spans() {
            let text = serde_json::to_string(span).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Span>(&text).unwrap(), span);
            prop_assert!(span.trace_id.as_str().len() == 32 && span.span_id.as_str().len() == 16);
        }
        for score in &taken.scores {
            prop_assert!(score.value.is_none_or(f64::is_finite));
        }
        for rejected in &taken.rejected {
            prop_assert!(!rejected.field.is_empty() && !rejected.expected.is_empty());
        }
    }

    #[test]
    fn order_of_rows_does_not_matter(
        (platform, rows, shuffled) in spoiled().prop_flat_map(|(platform, rows)| {
            (Just(platform), Just(rows.clone()), Just(rows).prop_shuffle())
        })
    ) {
        let (left, right) = (read_as(&lines(&rows), Some(platform)), read_as(&lines(&shuffled), Some(platform)));
        prop_assert_eq!(without_lines(left.traces), without_lines(right.traces));
        prop_assert_eq!(sorted(left.scores), sorted(right.scores));
        prop_assert_eq!(left.rejected.len(), right.rejected.len());
    }

    #[test]
    fn any_json_is_no_row_or_one(value in hostile(), platform in 0..GOLDEN.len()) {
        let taken = read_as(&lines(std::slice::from_ref(&value)), Some(GOLDEN[platform].0));
        let (read, turned_away) = (taken.summary.spans, taken.rejected.len() as u64);
        // A text with separators may be the head of a table without rows.
        let head = value.as_str().is_some_and(|text| text.contains([',', '\t', ';']));
        prop_assert!(read == 0 && (turned_away > 0 || head || value.is_array() || value.is_object()));
    }
}
