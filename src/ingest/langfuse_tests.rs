//! Langfuse's shapes one by one, and twelve exports nobody here made, compared with what their maker reads in them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::json::structured;
use super::tests::{All, Read, TRACE, fixtures, read, read_fixture};
use super::*;
use crate::model::{Message, Part, ScoreOrigin, SpanKind, SpanStatus, TraceFault, Usage};

/// The golden row of the interface: disjoint buckets, content as text.
fn golden() -> Value {
    json!({"id": "b2b2b2b2b2b2b2b2", "traceId": TRACE, "type": "GENERATION", "name": "chat",
        "parentObservationId": "a1a1a1a1a1a1a1a1", "isRootObservation": false, "startTime": "2026-11-21T08:00:00.100Z",
        "endTime": "2026-11-21T08:00:00.900Z", "providedModelName": "gpt-x", "input": "[{\"role\":\"user\",\"content\":\"hi\"}]",
        "output": "{\"role\":\"assistant\",\"content\":\"hello\"}",
        "usageDetails": {"input": 20, "input_cached_tokens": 100, "output": 20, "output_reasoning_tokens": 10, "total": 150},
        "totalCost": 0.0012, "promptName": "support-main", "promptVersion": 7, "sessionId": "s1", "userId": "u1",
        "level": "DEFAULT", "environment": "production", "tags": ["prod"]})
}

/// The same row as blob storage holds it: other spelling, times without a zone, JSON in texts, prices as texts.
fn stored() -> Value {
    json!({"id": "b2b2b2b2b2b2b2b2", "trace_id": TRACE, "type": "GENERATION", "name": "chat",
        "parent_observation_id": "a1a1a1a1a1a1a1a1", "start_time": "2026-11-21 08:00:00.100000",
        "end_time": "2026-11-21 08:00:00.900000", "provided_model_name": "gpt-x",
        "input": "[{\"role\":\"user\",\"content\":\"hi\"}]", "output": "{\"role\":\"assistant\",\"content\":\"hello\"}",
        "usage_details": "{\"input\":20,\"input_cached_tokens\":100,\"output\":20,\"output_reasoning_tokens\":10,\"total\":150}",
        "total_cost": "0.0012", "prompt_name": "support-main", "prompt_version": "7", "session_id": "s1", "user_id": "u1",
        "level": "DEFAULT", "environment": "production", "tags": "[\"prod\"]", "latency": 800, "metadata": {},
        "created_at": "2026-11-21 08:01:00.000000", "is_root_observation": false})
}

#[test]
fn every_shape_of_a_row_gives_the_same_span() {
    let page = json!({"data": [golden()], "meta": {"cursor": "x"}});
    let lines = format!("{}\n", golden());
    let list = json!([golden()]);
    let mut dumped = golden();
    for key in ["usageDetails", "tags"] {
        dumped[key] = Value::String(dumped[key].to_string());
    }
    for text in [golden().to_string(), page.to_string(), lines, list.to_string(), dumped.to_string(), stored().to_string()] {
        let read = read(&text);
        assert_eq!((read.summary.format.as_str(), read.summary.rejected), ("langfuse", 0), "{text}");
        let span = read.only();
        assert_eq!((span.kind, span.name.as_str(), span.status), (SpanKind::Model, "chat", SpanStatus::Unset));
        assert_eq!((span.trace_id.as_str(), span.span_id.as_str()), (TRACE, "b2b2b2b2b2b2b2b2"));
        assert_eq!(span.parent_id.as_ref().unwrap().as_str(), "a1a1a1a1a1a1a1a1");
        assert_eq!((span.start_ns, span.duration_ms()), (1_795_248_000_100_000_000, Some(800.0)));
        let usage =
            Usage { input: Some(120), output: Some(30), cache_read: Some(100), cache_write: None, reasoning: Some(10) };
        assert_eq!(span.usage, usage);
        assert_eq!(span.usage.total(), Some(150));
        assert_eq!((span.session_id.as_ref().unwrap().as_str(), span.user_id.as_deref()), ("s1", Some("u1")));
        assert_eq!(span.model.as_ref().unwrap().request.as_deref(), Some("gpt-x"));
        assert_eq!(span.messages_in, [Message::text("user", "hi")]);
        assert_eq!(span.messages_out, [Message::text("assistant", "hello")]);
        let prompt = span.prompt.as_ref().unwrap();
        assert_eq!((prompt.name.as_deref(), prompt.version.as_deref()), (Some("support-main"), Some("7")));
        assert_eq!(span.cost_usd, Some(0.0012));
        let trace = &read.gathered.traces[0];
        assert_eq!(trace.dimension("tags").as_deref(), Some("[\"prod\"]"));
        assert_eq!(trace.dimension("environment").as_deref(), Some("production"));
        assert_eq!(trace.dimension("user").as_deref(), Some("u1"));
        let native = span.source.native.as_ref().unwrap();
        assert_eq!((native.platform.as_str(), native.trace.as_str()), ("langfuse", TRACE));
        assert_eq!(native.span.as_deref(), Some("b2b2b2b2b2b2b2b2"));
    }
}

#[test]
fn a_root_is_a_root_whatever_parent_it_names() {
    let mut row = golden();
    row["isRootObservation"] = json!(true);
    let read_root = read(row.to_string());
    assert_eq!(read_root.only().parent_id, None);
    assert_eq!(read_root.only().attributes["langfuse.observation.foreign_parent"], json!("a1a1a1a1a1a1a1a1"));
    let mut empty = stored();
    empty["parent_observation_id"] = json!("");
    assert_eq!(read(empty.to_string()).only().parent_id, None);
}

#[test]
fn errors_levels_kinds_and_foreign_ids_are_kept() {
    let row = json!({"id": "obs-1", "traceId": "my trace", "type": "TOOL", "name": "search", "startTime": "2026-11-21T08:00:00Z",
        "traceName": "t", "level": "ERROR", "statusMessage": "timed out", "input": {"q": "x"}, "output": null,
        "parentObservationId": "obs-0", "totalCost": 0, "costDetails": {}, "usageDetails": {}, "latency": 12.5,
        "metadata": {"tier": "gold"}, "release": "r1", "version": "v2"});
    let read = read(row.to_string());
    let span = read.only();
    assert_eq!((span.kind, span.status), (SpanKind::Tool, SpanStatus::Error));
    assert_eq!(span.error.as_ref().unwrap().message.as_deref(), Some("timed out"));
    assert_eq!(span.tool.as_ref().unwrap().arguments, Some(json!({"q": "x"})));
    assert_eq!((span.cost_usd, span.usage.is_unknown(), span.end_ns), (None, true, None));
    assert_eq!((span.trace_id.as_str().len(), span.span_id.as_str().len()), (32, 16));
    assert_eq!(span.parent_id.as_ref().unwrap().as_str(), ids::native_span("langfuse", "my trace", "obs-0"));
    assert_eq!(span.attributes["langfuse.observation.metadata.tier"], json!("gold"));
    assert_eq!(span.agent.as_ref().unwrap().version.as_deref(), Some("v2"));
    for (kind, expected) in [
        ("SPAN", SpanKind::Step),
        ("AGENT", SpanKind::Agent),
        ("CHAIN", SpanKind::Step),
        ("RETRIEVER", SpanKind::Retrieval),
        ("EMBEDDING", SpanKind::Retrieval),
        ("EVALUATOR", SpanKind::Evaluator),
        ("GUARDRAIL", SpanKind::Guardrail),
        ("EVENT", SpanKind::Other),
        ("GENERATION", SpanKind::Model),
    ] {
        let mut row = row.clone();
        row["type"] = json!(kind);
        assert_eq!(super::tests::read(row.to_string()).only().kind, expected, "{kind}");
    }
}

#[test]
fn a_trace_without_one_root_gets_a_step_that_stands_for_it() {
    let one = json!({"id": "o1", "traceId": "t1", "type": "SPAN", "name": "one", "startTime": "2026-11-21T08:00:01Z",
        "endTime": "2026-11-21T08:00:02Z"});
    let mut two = one.clone();
    (two["id"], two["name"]) = (json!("o2"), json!("two"));
    let trace = |observations: Vec<Value>| {
        json!({"id": "t1", "timestamp": "2026-11-21T08:00:00Z", "name": "support", "input": {"q": "x"}, "output": "y",
            "sessionId": "s1", "userId": "u1", "tags": ["prod"], "release": "r1", "environment": "production",
            "metadata": {"tier": "gold"}, "htmlPath": "/p", "latency": 3.0, "totalCost": 0, "observations": observations,
            "scores": [{"id": "c", "name": "correct", "value": 1, "source": "ANNOTATION", "dataType": "BOOLEAN",
                "stringValue": "True", "traceId": "t1", "observationId": "o1", "authorUserId": "ann",
                "timestamp": "2026-11-21T09:00:00Z"}]})
    };
    let both = read(trace(vec![one.clone(), two.clone()]).to_string());
    let gathered = &both.gathered.traces[0];
    assert_eq!((gathered.spans.len(), gathered.faults.len(), both.summary.rejected), (3, 0, 0));
    let root = gathered.root().unwrap();
    assert_eq!((root.kind, root.name.as_str(), root.input.as_ref()), (SpanKind::Step, "support", Some(&json!({"q": "x"}))));
    assert_eq!((root.duration_ms(), root.output.as_ref()), (Some(2000.0), Some(&json!("y"))));
    assert_eq!(root.attributes["langfuse.trace.metadata.tier"], json!("gold"));
    assert_eq!(gathered.dimension("session").as_deref(), Some("s1"));
    let [score] = both.scores.as_slice() else { panic!("{:?}", both.scores) };
    assert_eq!((score.value, score.label.as_deref(), score.origin), (Some(1.0), Some("True"), ScoreOrigin::Annotator));
    assert_eq!((score.span_id.as_ref(), score.author.as_deref()), (Some(&gathered.spans[1].span_id), Some("ann")));
    // The older model apart: the row of the trace and the rows of its observations meet in the same tree.
    let mut alone = trace(Vec::new());
    alone.as_object_mut().unwrap().retain(|key, _| key != "observations" && key != "scores");
    alone["bookmarked"] = json!(false);
    let apart = read(format!("{two}\n{alone}\n{one}\n"));
    let parents = |read: &Read| {
        let spans = read.gathered.traces[0].spans.iter();
        spans.map(|span| (span.span_id.clone(), span.parent_id.clone())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(parents(&apart), parents(&both));
    assert!(apart.gathered.traces[0].faults.is_empty());
    // Without the row of the trace that is said, and the spans stay usable.
    let headless = read(format!("{one}\n{two}\n"));
    assert!(matches!(headless.gathered.traces[0].faults.as_slice(), [TraceFault::MissingParent { .. }, _]));
    // With one root, what the trace says goes there.
    let single = read(trace(vec![one]).to_string());
    let root = single.only();
    assert_eq!((root.name.as_str(), root.input.as_ref()), ("one", Some(&json!({"q": "x"}))));
    assert_eq!(root.attributes["langfuse.trace.name"], json!("support"));
}

#[test]
fn scores_tell_who_gave_them() {
    let score = |source: &str, name: &str, kind: &str, value: Value, word: Value| {
        json!({"id": "c", "timestamp": "2026-11-21 09:00:00.000000", "trace_id": TRACE, "observation_id": "", "name": name,
            "value": value, "source": source, "data_type": kind, "string_value": word, "comment": "why"})
    };
    let text = [
        score("EVAL", "toxicity", "NUMERIC", json!(0.25), json!(null)),
        score("ANNOTATION", "correct", "BOOLEAN", json!(0), json!("False")),
        score("API", "user-feedback", "CATEGORICAL", json!(2), json!("good")),
        score("API", "length", "NUMERIC", json!("-1.5"), json!("")),
        score("API", "note", "TEXT", json!(0), json!("too long")),
        json!({"id": "d", "timestamp": "2026-11-21 09:00:00", "session_id": "s1", "trace_id": null, "name": "csat", "value": 4,
            "source": "API", "data_type": "NUMERIC"}),
        json!({"id": "e", "timestamp": "2026-11-21 09:00:00", "dataset_run_id": "r", "name": "recall", "value": 0.5,
            "source": "API", "data_type": "NUMERIC"}),
        json!({"id": "f", "timestamp": "2026-11-21 09:00:00", "trace_id": TRACE, "value": 1, "data_type": "NUMERIC"}),
    ];
    let read = read(text.map(|row| row.to_string()).join("\n"));
    let shown: Vec<_> = read
        .scores
        .iter()
        .map(|score| (score.name.as_str(), score.value, score.label.as_deref(), score.origin, score.trace_id.is_some()))
        .collect();
    assert_eq!(
        shown,
        [
            ("toxicity", Some(0.25), None, ScoreOrigin::Evaluator, true),
            ("correct", Some(0.0), Some("False"), ScoreOrigin::Annotator, true),
            ("user-feedback", None, Some("good"), ScoreOrigin::User, true),
            ("length", Some(-1.5), None, ScoreOrigin::Unknown, true),
            ("note", None, Some("too long"), ScoreOrigin::Unknown, true),
            ("csat", Some(4.0), None, ScoreOrigin::Unknown, false),
        ]
    );
    assert_eq!(read.summary.ignored["scores of experiments"], 1);
    assert_eq!((read.summary.scores, read.summary.rejected), (6, 1));
    assert!(read.gathered.rejected[0].field.contains("name"), "{:?}", read.gathered.rejected);
}

#[test]
fn a_bad_row_costs_that_row_only() {
    let text = format!(
        "{}\n{{\"parentObservationId\": null, \"traceId\": \"x\"}}\n7\n{}\n",
        golden(),
        json!({"id": "o", "traceId": "x", "startTime": "soon", "type": "SPAN"})
    );
    let read = read(text);
    assert_eq!((read.spans().len(), read.summary.rejected), (1, 3));
    assert!(read.gathered.rejected[2].field.contains("startTime"), "{:?}", read.gathered.rejected);
    assert_eq!(read.gathered.rejected[2].line, Some(4));
}

/// One side of an observation as it is compared: who speaks, what is said or given back, which tools are called.
#[derive(Debug, PartialEq)]
struct Turn {
    role: String,
    said: Value,
    calls: Vec<(Option<String>, String, Value)>,
}

fn ours(messages: &[Message]) -> Vec<Turn> {
    let turn = |message: &Message| {
        let mut turn = Turn { role: message.role.clone(), said: Value::Null, calls: Vec::new() };
        for part in &message.parts {
            match part {
                Part::Text { content } => turn.said = structured(Value::from(content.as_str())),
                Part::ToolResult { result, .. } => turn.said = result.clone(),
                Part::ToolCall { id, name, arguments } => turn.calls.push((id.clone(), name.clone(), arguments.clone())),
                Part::Reasoning { .. } | Part::Other { .. } => {}
            }
        }
        turn
    };
    messages.iter().map(turn).collect()
}

/// What the maker of the exports reads in them. Left aside are the fields the model of a message has no place for:
/// `name`, `type`, `tools` (what was on offer) and `json` (what else the object held).
fn theirs(expected: &[Value]) -> Vec<Turn> {
    let turn = |item: &Value| {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let calls = item.get("tool_calls").and_then(Value::as_array).cloned().unwrap_or_default();
        Turn {
            role: match item["role"].as_str().unwrap_or("assistant") {
                "model" => "assistant",
                other => other,
            }
            .to_owned(),
            said: item.get("content").filter(|content| *content != "").cloned().map(structured).unwrap_or_default(),
            calls: calls
                .iter()
                .map(|call| {
                    (text(&call["id"]), call["name"].as_str().unwrap().to_owned(), structured(call["arguments"].clone()))
                })
                .collect(),
        }
    };
    expected.iter().map(turn).collect()
}

/// Where we read something else than the maker of the exports, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[];

#[test]
fn twelve_exports_give_the_messages_their_maker_reads() {
    let Some(folder) = fixtures() else { return };
    let mut differing = Vec::new();
    let mut compared = 0;
    for file in exports(&folder) {
        let name = file.file_name().unwrap().to_string_lossy().replace(".trace.json", "");
        let read = read_fixture(&file);
        let expected = folder.join(format!("langfuse/expected_chatml/{name}.chatml.json"));
        let expected: Value = serde_json::from_slice(&std::fs::read(expected).unwrap()).unwrap();
        for (id, sides) in expected.as_object().unwrap() {
            let span = read.spans().into_iter().find(|span| span.span_id.as_str() == id).unwrap();
            for (side, messages, raw) in
                [("input", &span.messages_in, &span.input), ("output", &span.messages_out, &span.output)]
            {
                let Some(data) = sides[side]["data"].as_array() else {
                    // Not read there: here nothing may be lost.
                    let tool = span.tool.as_ref().and_then(|tool| if side == "input" { tool.arguments.as_ref() } else { tool.result.as_ref() });
                    assert!(
                        sides.get(side).is_none() || !messages.is_empty() || raw.is_some() || tool.is_some(),
                        "{name} {id} {side}"
                    );
                    continue;
                };
                compared += 1;
                // An object that is no message is passed on there and raw content here.
                let passed_on = data.iter().all(|item| item.get("role").is_none() && item.get("json").is_some());
                let same = if passed_on && messages.is_empty() {
                    let found = raw.clone().or_else(|| span.tool.as_ref()?.result.clone()).unwrap_or_default();
                    let items = data.iter().map(|item| item["json"].clone()).collect::<Vec<_>>();
                    found == Value::Array(items.clone()) || items == [found]
                } else {
                    ours(messages) == theirs(data)
                };
                if !same {
                    println!("{name} {id} {side}\n  ours {:?}\n  raw {raw:?}\n theirs {:?}", ours(messages), theirs(data));
                    differing.push((name.clone(), id.clone(), side));
                }
            }
        }
    }
    let listed: Vec<_> = DIFFERENCES.iter().map(|(place, _, _)| (*place).to_owned()).collect();
    let differing: Vec<String> = differing.into_iter().map(|(name, id, side)| format!("{name} {id} {side}")).collect();
    assert_eq!(differing, listed, "of {compared}");
}

fn exports(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("langfuse/exports")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 12);
    files
}
