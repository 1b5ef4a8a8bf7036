//! Whole files in the vocabularies, each in the ways it is delivered: attributes, span events, log records in both
//! encodings. Golden lines, what repeats and must count once, and the AI SDK's spans as they were recorded.

use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
use prost::Message as _;
use serde_json::{Value, json};

use super::tests::{All, Read, TRACE, envelope, fixtures, list, read, read_fixture, span};
use super::*;
use crate::model::{Message, Part, ScoreOrigin, SpanKind, Usage};

const SPAN: &str = "b2b2b2b2b2b2b2b2";

/// Reads several files into one.
fn read_files(files: &[Vec<u8>]) -> Read {
    let mut all = All::default();
    let mut summary = FileSummary::default();
    for file in files {
        let reader = Box::new(std::io::Cursor::new(file.clone()));
        summary = read_stream("-", reader, None, &ReadOptions::default(), &mut all).unwrap();
        assert_eq!(summary.rejected, 0);
    }
    Read { summary, gathered: all.assembler.drain(), scores: all.scores }
}

/// The result all golden lines are to give.
fn golden(span: &Span) {
    assert_eq!(span.kind, SpanKind::Model);
    assert_eq!(span.trace_id.as_str(), TRACE);
    assert_eq!(span.parent_id.as_ref().unwrap().as_str(), "a1a1a1a1a1a1a1a1");
    let usage =
        Usage { input: Some(120), output: Some(30), cache_read: Some(100), cache_write: None, reasoning: Some(10) };
    assert_eq!((&span.usage, span.usage.total()), (&usage, Some(150)));
    assert_eq!(span.session_id.as_ref().unwrap().as_str(), "s1");
    assert_eq!(span.model.as_ref().unwrap().request.as_deref(), Some("gpt-x"));
    assert_eq!(span.messages_in, [Message::text("user", "hi")]);
    assert_eq!(span.messages_out, [Message::text("assistant", "hello")]);
    assert_eq!(span.finish_reasons, ["stop"]);
}

/// One line of the Collector's file exporter, as it stands.
const A1: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"service.version","value":{"stringValue":"1.4.2"}},{"key":"deployment.environment.name","value":{"stringValue":"production"}}]},"scopeSpans":[{"scope":{"name":"x"},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"b2b2b2b2b2b2b2b2","parentSpanId":"a1a1a1a1a1a1a1a1","name":"chat gpt-x","kind":3,"startTimeUnixNano":"1795248000100000000","endTimeUnixNano":"1795248000900000000","status":{"code":1},"attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.provider.name","value":{"stringValue":"openai"}},{"key":"gen_ai.request.model","value":{"stringValue":"gpt-x"}},{"key":"gen_ai.response.finish_reasons","value":{"arrayValue":{"values":[{"stringValue":"stop"}]}}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"120"}},{"key":"gen_ai.usage.cache_read.input_tokens","value":{"intValue":"100"}},{"key":"gen_ai.usage.output_tokens","value":{"intValue":30}},{"key":"gen_ai.usage.reasoning.output_tokens","value":{"intValue":"10"}},{"key":"gen_ai.conversation.id","value":{"stringValue":"s1"}},{"key":"gen_ai.prompt.name","value":{"stringValue":"support-main"}},{"key":"gen_ai.prompt.version","value":{"stringValue":"7"}},{"key":"gen_ai.input.messages","value":{"stringValue":"[{\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"content\":\"hi\"}]}]"}},{"key":"gen_ai.output.messages","value":{"stringValue":"[{\"role\":\"assistant\",\"parts\":[{\"type\":\"text\",\"content\":\"hello\"}],\"finish_reason\":\"stop\"}]"}}]}]}]}]}"#;

/// The log lines of the older conventions, as they stand.
const A2_LOGS: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1795248000100000000","traceId":"5b8efff798038103d269b633813fc60c","spanId":"b2b2b2b2b2b2b2b2","eventName":"gen_ai.user.message","body":{"kvlistValue":{"values":[{"key":"content","value":{"stringValue":"hi"}}]}}},{"timeUnixNano":"1795248000900000000","traceId":"5b8efff798038103d269b633813fc60c","spanId":"b2b2b2b2b2b2b2b2","attributes":[{"key":"event.name","value":{"stringValue":"gen_ai.choice"}}],"body":{"kvlistValue":{"values":[{"key":"index","value":{"intValue":"0"}},{"key":"finish_reason","value":{"stringValue":"stop"}},{"key":"message","value":{"kvlistValue":{"values":[{"key":"content","value":{"stringValue":"hello"}}]}}}]}}}]}]}]}"#;

fn a2_span() -> Value {
    span(json!({"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-x",
        "gen_ai.usage.input_tokens": 120, "gen_ai.usage.cache_read.input_tokens": 100, "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.reasoning.output_tokens": 10, "gen_ai.conversation.id": "s1"}))
}

#[test]
fn golden_a1_current_opentelemetry() {
    let read = read(format!("{A1}\n"));
    golden(read.only());
    let prompt = read.only().prompt.as_ref().unwrap();
    assert_eq!((prompt.name.as_deref(), prompt.version.as_deref()), (Some("support-main"), Some("7")));
    let trace = &read.gathered.traces[0];
    assert_eq!(trace.dimension("environment").as_deref(), Some("production"));
    assert_eq!(trace.dimension("service.version").as_deref(), Some("1.4.2"));
}

#[test]
fn golden_a2_older_opentelemetry_with_logs_in_a_second_file() {
    let spans = envelope(&[a2_span()]).to_string().into_bytes();
    let logs = A2_LOGS.as_bytes().to_vec();
    for files in [[spans.clone(), logs.clone()], [logs, spans]] {
        golden(read_files(&files).only());
    }
}

#[test]
fn golden_a3_openinference_as_phoenix_returns_it() {
    let attributes = r#"{"openinference.span.kind":"LLM","llm.model_name":"gpt-x","llm.provider":"openai","llm.input_messages.0.message.role":"user","llm.input_messages.0.message.content":"hi","llm.output_messages.0.message.role":"assistant","llm.output_messages.0.message.content":"hello","llm.token_count.prompt":120,"llm.token_count.prompt_details.cache_read":100,"llm.token_count.completion":30,"llm.token_count.completion_details.reasoning":10,"llm.finish_reason":"stop","session.id":"s1","user.id":"u1","llm.prompt_template.version":"7","metadata":"{\"tier\":\"gold\"}","tag.tags":["prod"]}"#;
    let read = read(bare(attributes));
    let span = read.only();
    golden(span);
    assert_eq!((span.user_id.as_deref(), &span.attributes["metadata"]), (Some("u1"), &json!("{\"tier\":\"gold\"}")));
    assert_eq!(span.prompt.as_ref().unwrap().version.as_deref(), Some("7"));
    assert_eq!(read.gathered.traces[0].dimension("tags").as_deref(), Some("[\"prod\"]"));
}

/// A span with attributes in a plain map.
fn bare(attributes: &str) -> String {
    format!(
        r#"{{"name":"chat","context":{{"trace_id":"{TRACE}","span_id":"{SPAN}"}},"parent_id":"a1a1a1a1a1a1a1a1","start_time":"2026-11-21T08:00:00.1Z","end_time":"2026-11-21T08:00:00.9Z","attributes":{attributes}}}"#
    )
}

#[test]
fn golden_a4_older_traceloop() {
    let attributes = r#"{"llm.request.type":"chat","gen_ai.system":"openai","gen_ai.request.model":"gpt-x","gen_ai.prompt.0.role":"user","gen_ai.prompt.0.content":"hi","gen_ai.completion.0.role":"assistant","gen_ai.completion.0.content":"hello","gen_ai.completion.0.finish_reason":"stop","gen_ai.usage.prompt_tokens":120,"gen_ai.usage.completion_tokens":30,"gen_ai.usage.cache_read_input_tokens":100,"gen_ai.usage.reasoning_tokens":10,"traceloop.association.properties.session_id":"s1","traceloop.prompt.key":"support-main","traceloop.prompt.version":7}"#;
    let read = read(bare(attributes));
    golden(read.only());
    let prompt = read.only().prompt.as_ref().unwrap();
    assert_eq!((prompt.name.as_deref(), prompt.version.as_deref()), (Some("support-main"), Some("7")));
}

#[test]
fn golden_a5_vercel_whose_outer_span_repeats_the_usage() {
    let inner = r#"{"operation.name":"ai.streamText.doStream support","ai.operationId":"ai.streamText.doStream","ai.model.id":"gpt-x","ai.model.provider":"openai.responses","ai.prompt.messages":"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}]","ai.response.text":"hello","ai.response.finishReason":"stop","ai.usage.inputTokens":120,"ai.usage.cachedInputTokens":100,"ai.usage.outputTokens":30,"ai.usage.reasoningTokens":10,"ai.response.msToFirstChunk":210,"ai.telemetry.functionId":"support","ai.telemetry.metadata.userId":"u1","ai.telemetry.metadata.sessionId":"s1"}"#;
    let outer = json!({"name": "ai.streamText", "context": {"trace_id": TRACE, "span_id": "a1a1a1a1a1a1a1a1"},
        "start_time": "2026-11-21T08:00:00Z", "attributes": {"ai.operationId": "ai.streamText", "ai.model.id": "gpt-x",
        "ai.prompt": "{\"prompt\":\"hi\"}", "ai.response.text": "hello", "ai.usage.inputTokens": 120,
        "ai.usage.outputTokens": 30, "ai.telemetry.functionId": "support"}});
    let read = read(format!("{}\n{outer}\n", bare(inner)));
    let trace = &read.gathered.traces[0];
    golden(&trace.spans[1]);
    assert_eq!((trace.spans[1].user_id.as_deref(), trace.spans[1].agent_name()), (Some("u1"), Some("support")));
    assert_eq!((trace.spans[0].kind, trace.usage().total()), (SpanKind::Step, Some(150)));
}

/// Vocabularies that frameworks and platforms write on OpenTelemetry spans.
#[test]
fn vocabularies_of_frameworks_and_platforms_are_understood() {
    let mlflow = json!({"mlflow.spanType": "\"CHAT_MODEL\"", "mlflow.llm.model": "\"gpt-x\"", "mlflow.llm.provider": "\"openai\"",
        "mlflow.spanInputs": "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
        "mlflow.spanOutputs": "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}",
        "mlflow.chat.tokenUsage": "{\"input_tokens\":120,\"output_tokens\":30,\"total_tokens\":150,\"cache_read_input_tokens\":100}",
        "mlflow.llm.cost": "{\"input_cost\":0.1,\"output_cost\":0.2,\"total_cost\":0.3}",
        "mlflow.trace.session": "\"s1\"", "mlflow.trace.user": "\"u1\""});
    let langsmith = json!({"langsmith.span.kind": "llm", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-x",
        "gen_ai.prompt": "{\"messages\":[[{\"lc\":1,\"type\":\"constructor\",\"id\":[\"langchain\",\"schema\",\"HumanMessage\"],\"kwargs\":{\"content\":\"hi\",\"type\":\"human\"}}]]}",
        "gen_ai.completion": "{\"generations\":[[{\"text\":\"hello\",\"message\":{\"lc\":1,\"type\":\"constructor\",\"id\":[\"AIMessage\"],\"kwargs\":{\"content\":\"hello\"}}}]]}",
        "langsmith.usage_metadata": "{\"input_tokens\":120,\"output_tokens\":30,\"total_tokens\":150,\"input_token_details\":{\"cache_read\":100}}",
        "llm.finish_reason": "stop", "langsmith.metadata.thread_id": "s1", "langsmith.metadata.user_id": "u1", "langsmith.span.tags": ["prod"]});
    let logfire = json!({"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-x",
        "events": "[{\"content\":\"hi\",\"role\":\"user\",\"event.name\":\"gen_ai.user.message\"},{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hello\"},\"event.name\":\"gen_ai.choice\"}]",
        "gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 30, "gen_ai.usage.details.cache_read_tokens": 100,
        "gen_ai.response.finish_reasons": ["stop"], "logfire.msg": "chat gpt-x", "session.id": "s1", "user.id": "u1", "operation.cost": 0.3});
    for (dialect, attributes, cost) in
        [("mlflow", mlflow, Some(0.3)), ("langsmith", langsmith, None), ("logfire", logfire, Some(0.3))]
    {
        let read = read(bare(&attributes.to_string()));
        let span = read.only();
        assert_eq!(span.kind, SpanKind::Model, "{dialect}");
        assert_eq!(span.messages_in, [Message::text("user", "hi")], "{dialect}");
        assert_eq!(span.messages_out, [Message::text("assistant", "hello")], "{dialect}");
        let counts = (span.usage.input, span.usage.output, span.usage.cache_read);
        assert_eq!(counts, (Some(120), Some(30), Some(100)), "{dialect}");
        assert_eq!(
            (span.session_id.as_ref().unwrap().as_str(), span.user_id.as_deref()),
            ("s1", Some("u1")),
            "{dialect}"
        );
        let model = span.model.as_ref().unwrap();
        assert_eq!((model.request.as_deref(), model.provider.as_deref()), (Some("gpt-x"), Some("openai")), "{dialect}");
        assert_eq!(
            (span.finish_reasons.as_slice(), span.cost_usd),
            (["stop".to_owned()].as_slice(), cost),
            "{dialect}"
        );
    }
    let agent = json!({"agent_name": "qa", "model_name": "gpt-x", "logfire.msg": "qa run", "gen_ai.usage.input_tokens": 120,
        "pydantic_ai.all_messages": "[{\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"content\":\"hi\"}]},{\"role\":\"assistant\",\"parts\":[{\"type\":\"text\",\"content\":\"hello\"}]}]",
        "final_result": "hello"});
    let read_agent = read(bare(&agent.to_string()));
    let span = read_agent.only();
    assert_eq!((span.kind, span.agent_name()), (SpanKind::Agent, Some("qa")));
    assert_eq!((span.messages_in.len(), span.messages_out.len()), (1, 1));
    let tool = json!({"gen_ai.tool.name": "weather", "gen_ai.tool.call.id": "c1", "tool_arguments": "{\"city\":\"Paris\"}",
        "tool_response": "rainy", "logfire.msg": "running tool: weather"});
    let read_tool = read(bare(&tool.to_string()));
    let tool = read_tool.only().tool.as_ref().unwrap();
    assert_eq!((tool.call_id.as_deref(), &tool.arguments), (Some("c1"), &Some(json!({"city": "Paris"}))));
    assert_eq!(tool.result, Some(json!("rainy")));
    let sentry = json!({"sentry.op": "gen_ai.execute_tool", "gen_ai.tool.name": "weather", "gen_ai.tool.input": "{\"city\":\"Paris\"}",
        "gen_ai.tool.output": "rainy"});
    let read_sentry = read(bare(&sentry.to_string()));
    let tool = read_sentry.only().tool.as_ref().unwrap();
    assert_eq!((&tool.arguments, &tool.result), (&Some(json!({"city": "Paris"})), &Some(json!("rainy"))));
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(ProtoValue::StringValue(value.to_owned())) }
}

fn pairs(values: Vec<(&str, AnyValue)>) -> Vec<KeyValue> {
    let pair =
        |(key, value): (&str, AnyValue)| KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() };
    values.into_iter().map(pair).collect()
}

fn object(values: Vec<(&str, AnyValue)>) -> AnyValue {
    AnyValue { value: Some(ProtoValue::KvlistValue(KeyValueList { values: pairs(values) })) }
}

fn record(name: &str, time: u64) -> LogRecord {
    LogRecord {
        time_unix_nano: time,
        trace_id: (0..16).map(|at| u8::from_str_radix(&TRACE[2 * at..2 * at + 2], 16).unwrap()).collect(),
        span_id: vec![0xb2; 8],
        event_name: name.to_owned(),
        ..LogRecord::default()
    }
}

fn protobuf(records: Vec<LogRecord>) -> Vec<u8> {
    let scope = ScopeLogs { log_records: records, ..ScopeLogs::default() };
    let resource = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    LogsData { resource_logs: vec![resource] }.encode_to_vec()
}

const INPUT: &str = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#;
const OUTPUT: &str = r#"[{"role":"assistant","parts":[{"type":"text","content":"hello"}],"finish_reason":"stop"}]"#;

/// Both generations of the conventions through every channel: the same conversation comes out.
#[test]
fn every_channel_delivers_the_same_conversation() {
    let details = "gen_ai.client.inference.operation.details";
    let content = json!({"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT});
    let mut on_event = a2_span();
    on_event["events"] =
        json!([{"name": details, "timeUnixNano": "1795248000900000000", "attributes": list(&content)}]);
    let mut old_events = a2_span();
    old_events["events"] = json!([
        {"name": "gen_ai.user.message", "timeUnixNano": "1795248000100000000", "attributes": list(&json!({"content": "hi"}))},
        {"name": "gen_ai.choice", "timeUnixNano": "1795248000900000000",
            "attributes": list(&json!({"finish_reason": "stop", "message": "{\"role\":\"assistant\",\"content\":\"hello\"}"}))}]);
    let mut prompts = a2_span();
    prompts["events"] = json!([
        {"name": "gen_ai.content.prompt", "timeUnixNano": "1795248000100000000",
            "attributes": list(&json!({"gen_ai.prompt": "[{\"role\":\"user\",\"content\":\"hi\"}]"}))},
        {"name": "gen_ai.choice", "timeUnixNano": "1795248000900000000", "attributes": list(&json!({"finish_reason": "stop"}))},
        {"name": "gen_ai.content.completion", "timeUnixNano": "1795248000900000000",
            "attributes": list(&json!({"gen_ai.completion": "[{\"role\":\"assistant\",\"content\":\"hello\"}]"}))}]);
    let in_span = |span: Value| vec![envelope(&[span]).to_string().into_bytes()];
    let plain = envelope(&[a2_span()]).to_string().into_bytes();
    let logged = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1795248000900000000", "traceId": TRACE,
        "spanId": SPAN, "eventName": details, "attributes": list(&content)}]}]}]});
    let in_body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1795248000900000000", "traceId": TRACE,
        "spanId": SPAN, "eventName": details, "body": {"kvlistValue": {"values": list(&content)}}}]}]}]});
    let mut binary_details = record(details, 1_795_248_000_900_000_000);
    binary_details.attributes =
        pairs(vec![("gen_ai.input.messages", text(INPUT)), ("gen_ai.output.messages", text(OUTPUT))]);
    let mut asked = record("gen_ai.user.message", 1_795_248_000_100_000_000);
    asked.body = Some(object(vec![("content", text("hi"))]));
    // Older emitters have no field for the name, and some no time but the observed one.
    let mut chosen = record("", 0);
    chosen.observed_time_unix_nano = 1_795_248_000_900_000_000;
    chosen.attributes = pairs(vec![("event.name", text("gen_ai.choice"))]);
    chosen.body =
        Some(object(vec![("finish_reason", text("stop")), ("message", object(vec![("content", text("hello"))]))]));
    for (channel, files) in [
        ("span event", in_span(on_event)),
        ("older span events", in_span(old_events)),
        ("content events", in_span(prompts)),
        ("log record", vec![plain.clone(), logged.to_string().into_bytes()]),
        ("body of a log record", vec![in_body.to_string().into_bytes(), plain.clone()]),
        ("protobuf log record", vec![plain.clone(), protobuf(vec![binary_details])]),
        ("older protobuf log records", vec![protobuf(vec![chosen, asked]), plain]),
    ] {
        let read = read_files(&files);
        assert_eq!((read.gathered.unjoined, read.spans().len()), (0, 1), "{channel}");
        golden(read.only());
    }
}

#[test]
fn protobuf_logs_are_framed_and_counted_like_spans() {
    let mut framed = Vec::new();
    for message in
        [protobuf(vec![record("gen_ai.user.message", 5), record("app.started", 6)]), protobuf(vec![record("", 7)])]
    {
        framed.extend((message.len() as u32).to_be_bytes().iter().chain(&message));
    }
    let read = read_files(&[framed]);
    assert_eq!((read.summary.format.as_str(), read.summary.log_events), ("otlp_protobuf", 1));
    assert_eq!((read.gathered.unjoined, read.summary.ignored.values().sum::<u64>()), (1, 2));
}

#[test]
fn evaluation_results_are_scores_in_every_channel() {
    let name = "gen_ai.evaluation.result";
    let said = json!({"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.82,
        "gen_ai.evaluation.score.label": "pass", "gen_ai.evaluation.explanation": "on topic",
        "gen_ai.evaluation.evaluator.id": "judge"});
    let mut with_event = a2_span();
    with_event["events"] = json!([{"name": name, "timeUnixNano": "1795248000900000000", "attributes": list(&said)}]);
    let log = |trace: &str, span: &str, attributes: &Value| {
        json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1795248000900000000", "traceId": trace,
            "spanId": span, "eventName": name, "attributes": list(attributes)}]}]}]})
        .to_string()
        .into_bytes()
    };
    let number = AnyValue { value: Some(ProtoValue::DoubleValue(0.82)) };
    let mut binary = record(name, 1_795_248_000_900_000_000);
    binary.attributes = pairs(vec![
        ("gen_ai.evaluation.name", text("relevance")),
        ("gen_ai.evaluation.score.value", number),
        ("gen_ai.evaluation.score.label", text("pass")),
        ("gen_ai.evaluation.explanation", text("on topic")),
        ("gen_ai.evaluation.evaluator.id", text("judge")),
    ]);
    let in_span = envelope(&[with_event]).to_string().into_bytes();
    for file in [in_span, log(TRACE, SPAN, &said), protobuf(vec![binary])] {
        let read = read_files(&[file]);
        let [score] = read.scores.as_slice() else { panic!("{:?}", read.scores) };
        assert_eq!(
            (score.trace_id.as_ref().unwrap().as_str(), score.span_id.as_ref().unwrap().as_str()),
            (TRACE, SPAN)
        );
        assert_eq!((score.name.as_str(), score.value, score.label.as_deref()), ("relevance", Some(0.82), Some("pass")));
        assert_eq!((score.comment.as_deref(), score.author.as_deref()), (Some("on topic"), Some("judge")));
        assert_eq!((score.origin, score.at_ns), (ScoreOrigin::Evaluator, Some(1_795_248_000_900_000_000)));
        assert_eq!((read.summary.scores, read.summary.log_events), (1, 0));
    }
    let whole = read_files(&[log(TRACE, "", &said)]);
    assert_eq!((whole.scores[0].trace_id.is_some(), whole.scores[0].span_id.is_some()), (true, false));
    let nowhere = read_files(&[log("", "", &said)]);
    assert_eq!((nowhere.scores.len(), nowhere.summary.ignored.values().sum::<u64>()), (0, 1));
    let failed = json!({"gen_ai.evaluation.name": "relevance", "error.type": "timeout"});
    let unscored = read_files(&[log(TRACE, SPAN, &failed)]);
    assert_eq!((unscored.scores.len(), unscored.summary.ignored["scores without a value"]), (0, 1));
}

#[test]
fn trace_states_tell_how_likely_a_trace_was_kept() {
    let mut sampled = a2_span();
    sampled["traceState"] = json!("vendor=a,ot=rv:6e6d1a75832a2f;th:c");
    let read = read(envelope(&[sampled]).to_string());
    let attributes = &read.only().attributes;
    assert_eq!(attributes["assize.upstream_probability"], json!(0.25));
    assert_eq!(attributes["otel.trace_state"], json!("vendor=a,ot=rv:6e6d1a75832a2f;th:c"));
    assert_eq!(read.gathered.traces[0].dimension("assize.upstream_probability").as_deref(), Some("0.25"));
}

#[test]
fn who_and_where_are_dimensions_whatever_they_are_called() {
    for (attributes, dimension, expected) in [
        (json!({"tenant.id": "acme"}), "tenant", "acme"),
        (json!({"organization.id": "acme"}), "tenant", "acme"),
        (json!({"langsmith.span.tags": ["prod"]}), "tags", "[\"prod\"]"),
        (json!({"tag.tags": ["prod"], "tags": "own"}), "tags", "own"),
        (json!({"langfuse.environment": "staging"}), "environment", "staging"),
        (json!({"enduser.id": "u1"}), "user", "u1"),
        (json!({"app.tier": "gold"}), "app.tier", "gold"),
    ] {
        let read = read(bare(&attributes.to_string()));
        assert_eq!(read.gathered.traces[0].dimension(dimension).as_deref(), Some(expected), "{attributes}");
    }
}

/// The AI SDK's newer spans follow the conventions; the agent's span adds its calls up.
#[test]
fn an_agent_span_that_adds_up_is_not_counted_again() {
    let spans = [
        (
            "a1a1a1a1a1a1a1a1",
            "",
            json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support",
            "gen_ai.usage.input_tokens": 30, "gen_ai.usage.output_tokens": 3}),
        ),
        (
            "a2a2a2a2a2a2a2a2",
            "a1a1a1a1a1a1a1a1",
            json!({"gen_ai.operation.name": "agent_step", "gen_ai.usage.input_tokens": 30}),
        ),
        (
            "a3a3a3a3a3a3a3a3",
            "a2a2a2a2a2a2a2a2",
            json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-x",
            "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 1}),
        ),
        (
            "a4a4a4a4a4a4a4a4",
            "a2a2a2a2a2a2a2a2",
            json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather"}),
        ),
        (
            "a5a5a5a5a5a5a5a5",
            "a4a4a4a4a4a4a4a4",
            json!({"openinference.span.kind": "LLM", "llm.token_count.prompt": 20,
            "llm.token_count.completion": 2}),
        ),
        // A second instrumentation records the same call below.
        (
            "a6a6a6a6a6a6a6a6",
            "a5a5a5a5a5a5a5a5",
            json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 20,
            "gen_ai.usage.output_tokens": 2}),
        ),
        ("a7a7a7a7a7a7a7a7", "a1a1a1a1a1a1a1a1", json!({"openinference.span.kind": "EVALUATOR"})),
        (
            "a8a8a8a8a8a8a8a8",
            "a7a7a7a7a7a7a7a7",
            json!({"openinference.span.kind": "LLM", "llm.token_count.prompt": 999}),
        ),
    ];
    let spans: Vec<Value> = spans
        .into_iter()
        .map(|(id, parent, attributes)| {
            let mut one = span(attributes);
            (one["spanId"], one["parentSpanId"]) = (json!(id), json!(parent));
            one
        })
        .collect();
    let read = read(envelope(&spans).to_string());
    let usage = read.gathered.traces[0].usage();
    assert_eq!((usage.input, usage.output), (Some(30), Some(3)));
}

/// Kind, model asked and answering, tokens in and out, finish reasons, messages in by role, last words in, answer.
type Expected<'a> = (&'a str, SpanKind, Option<&'a str>, (u64, Option<u64>), usize, &'a str, Option<&'a str>);

#[test]
fn the_ten_spans_of_the_ai_sdk_are_what_they_were() {
    use SpanKind::{Model, Retrieval, Step};
    let Some(folder) = fixtures() else { return };
    let (haiku, sum) = ("Write a haiku about programming.", "And what is 3 + 3?");
    let (eggs, poem) = ("Generate a simple recipe for scrambled eggs.", "Write a short poem about TypeScript.");
    let fox = "The quick brown fox jumps over the lazy dog.";
    let answered = Some("gpt-4o-mini-2024-07-18");
    let (verse, eggs_out) = (Some("Lines of code align,"), Some("{\"name\":\"Scrambled Eggs\""));
    let six = Some("3 + 3 equals 6.");
    let poem_out = Some("In code’s embrace, where types align,");
    let expected: [Expected<'_>; 10] = [
        ("39d6e9b3ddec9996", Model, answered, (14, Some(20)), 1, haiku, verse),
        ("648be1dfd8e521b6", Step, None, (14, Some(20)), 1, haiku, verse),
        ("6c0201026326855d", Model, answered, (50, Some(9)), 4, sum, six),
        ("d3661934fbcf93fd", Step, None, (50, Some(9)), 4, sum, six),
        ("bf098ec12458e605", Model, answered, (63, Some(156)), 1, eggs, eggs_out),
        ("25ec6d8e42789717", Step, None, (63, Some(156)), 1, eggs, eggs_out),
        ("5a81ef3ffb5d8603", Model, answered, (15, Some(112)), 1, poem, poem_out),
        ("c8be0dc143acbe03", Step, None, (15, Some(112)), 1, poem, poem_out),
        ("53e12604843b0399", Retrieval, None, (10, None), 0, fox, None),
        ("06a62ec64ae5b0a2", Retrieval, None, (10, None), 0, fox, None),
    ];
    let read = read_fixture(&folder.join("openinference/vercel_v6_spans/all-spans.json"));
    assert_eq!(read.spans().len(), expected.len());
    for (id, kind, response, (input, output), count, asked, answer) in expected {
        let span = read.spans().into_iter().find(|span| span.span_id.as_str() == id).unwrap();
        assert_eq!((span.kind, span.parent_id.as_ref(), span.failed()), (kind, None, false), "{id}");
        let model = span.model.as_ref().unwrap();
        let request = if kind == Retrieval { "text-embedding-3-small" } else { "gpt-4o-mini" };
        assert_eq!((model.request.as_deref(), model.response.as_deref()), (Some(request), response), "{id}");
        assert_eq!((model.provider.as_deref(), span.messages_in.len()), (Some("openai"), count), "{id}");
        assert_eq!((span.usage.input, span.usage.output), (Some(input), output), "{id}");
        let reasons: &[String] = if kind == Retrieval { &[] } else { &["stop".to_owned()] };
        assert_eq!(span.finish_reasons, reasons, "{id}");
        let last = span.messages_in.last().map(Message::plain_text);
        let raw = span.input.as_ref().and_then(|input| input.as_str().or_else(|| input[0].as_str()).map(str::to_owned));
        assert_eq!(last.or(raw).as_deref(), Some(asked), "{id}");
        let said = span.messages_out.first().map(Message::plain_text);
        assert_eq!(said.is_some(), answer.is_some(), "{id}");
        assert!(said.unwrap_or_default().starts_with(answer.unwrap_or_default()), "{id}");
        assert!(span.duration_ms().is_some_and(|duration| duration > 0.0), "{id}");
        assert!(span.attributes.contains_key("ai.telemetry.metadata.testCategory"), "{id}");
    }
    for trace in &read.gathered.traces {
        assert!(trace.usage().total().is_some(), "{}", trace.id);
    }
}

/// What the conventions' own schema allows is read, and nothing of it falls through but media.
#[test]
fn every_part_the_schemas_of_opentelemetry_allow_is_read() {
    let Some(folder) = fixtures() else { return };
    let parts = json!([
        {"type": "text", "content": "hi"},
        {"type": "reasoning", "content": "hm"},
        {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Paris"}},
        {"type": "tool_call_response", "id": "c1", "response": {"sky": "rainy"}},
        {"type": "server_tool_call", "id": "c2", "name": "search", "server_tool_call": {"type": "web", "query": "x"}},
        {"type": "server_tool_call_response", "id": "c2", "server_tool_call_response": {"type": "web", "hits": 2}},
        {"type": "uri", "modality": "image", "uri": "https://example.com/a.png", "mime_type": "image/png"},
        {"type": "file", "modality": "document", "file_id": "f1"},
        {"type": "blob", "modality": "audio", "content": "AAE="},
        {"type": "made_up", "x": 1},
    ]);
    let input = json!([{"role": "user", "name": "ann", "parts": parts}]);
    let output = json!([{"role": "assistant", "parts": parts, "finish_reason": "stop"}]);
    for (side, messages) in [("input", &input), ("output", &output)] {
        let schema = folder.join(format!("openinference/genai_json_schemas/gen-ai-{side}-messages.json"));
        let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
        jsonschema::validate(&schema, messages).unwrap_or_else(|error| panic!("{side}: {error}"));
        let key = format!("gen_ai.{side}.messages");
        // As text, as spans hold it, and as a structure, as records may.
        for value in [messages.clone(), Value::String(messages.to_string())] {
            let attributes = json!({"gen_ai.operation.name": "chat", key.as_str(): value});
            let read = read(bare(&attributes.to_string()));
            let span = read.only();
            let found = if side == "input" { &span.messages_in } else { &span.messages_out };
            let kept: Vec<&str> = found[0]
                .parts
                .iter()
                .map(|part| match part {
                    Part::Other { value } => value["type"].as_str().unwrap(),
                    Part::Text { .. } => "Text",
                    Part::Reasoning { .. } => "Reasoning",
                    Part::ToolCall { .. } => "ToolCall",
                    Part::ToolResult { .. } => "ToolResult",
                })
                .collect();
            let expected = [
                "Text",
                "Reasoning",
                "ToolCall",
                "ToolResult",
                "ToolCall",
                "ToolResult",
                "uri",
                "file",
                "blob",
                "made_up",
            ];
            assert_eq!(kept, expected, "{side}");
        }
    }
}
