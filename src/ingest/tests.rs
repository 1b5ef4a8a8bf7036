//! Whole files through the whole reader: good ones in each vocabulary, bad ones of each kind, and real ones.

use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{Message, SpanKind, SpanStatus, Trace, TraceFault, TraceScore};

pub(super) const TRACE: &str = "5b8efff798038103d269b633813fc60c";

/// Everything one reading gave.
pub(super) struct Read {
    pub(super) summary: FileSummary,
    pub(super) gathered: Gathered,
    pub(super) scores: Vec<TraceScore>,
}

/// Takes spans and scores.
#[derive(Default)]
pub(super) struct All {
    pub(super) assembler: Assembler,
    pub(super) scores: Vec<TraceScore>,
}

impl Sink for All {
    fn span(&mut self, span: Span) -> Result<(), SinkError> {
        self.assembler.span(span)
    }

    fn log_event(&mut self, event: LogEvent) -> Result<(), SinkError> {
        self.assembler.log_event(event)
    }

    fn score(&mut self, score: TraceScore) -> Result<(), SinkError> {
        self.scores.push(score);
        Ok(())
    }

    fn rejected(&mut self, rejected: Rejected) -> Result<(), SinkError> {
        self.assembler.rejected(rejected)
    }
}

impl Read {
    pub(super) fn spans(&self) -> Vec<&Span> {
        self.gathered.traces.iter().flat_map(|trace| &trace.spans).collect()
    }

    pub(super) fn only(&self) -> &Span {
        let spans = self.spans();
        assert_eq!(spans.len(), 1, "rejected: {:?}", self.gathered.rejected);
        spans[0]
    }
}

pub(super) fn read_with(bytes: &[u8], options: &ReadOptions<'_>) -> Result<Read, IngestError> {
    let mut all = All::default();
    let reader = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let summary = read_stream("-", reader, None, options, &mut all)?;
    Ok(Read { summary, gathered: all.assembler.drain(), scores: all.scores })
}

pub(super) fn read(bytes: impl AsRef<[u8]>) -> Read {
    read_with(bytes.as_ref(), &ReadOptions::default()).unwrap()
}

pub(super) fn list(attributes: &Value) -> Value {
    let pair = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => json!({"stringValue": text}),
            Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
            Value::Number(number) => json!({"intValue": number.to_string()}),
            Value::Array(items) => {
                let values: Vec<Value> = items.iter().map(|item| json!({"stringValue": item})).collect();
                json!({"arrayValue": {"values": values}})
            }
            other => panic!("{other}"),
        };
        json!({"key": key, "value": value})
    };
    attributes.as_object().unwrap().iter().map(pair).collect()
}

pub(super) fn span(attributes: Value) -> Value {
    json!({"traceId": TRACE.to_uppercase(), "spanId": "b2b2b2b2b2b2b2b2", "parentSpanId": "a1a1a1a1a1a1a1a1",
        "name": "chat gpt-x", "kind": 3, "startTimeUnixNano": "1795248000100000000",
        "endTimeUnixNano": "1795248000900000000", "status": {"code": 1}, "attributes": list(&attributes)})
}

pub(super) fn envelope(spans: &[Value]) -> Value {
    let resource = json!({"service.name": "shop", "service.version": "1.4.2"});
    json!({"resourceSpans": [{"resource": {"attributes": list(&resource)},
        "scopeSpans": [{"scope": {"name": "x"}, "spans": spans}]}]})
}

/// One model call in five vocabularies: the same facts must come out.
#[test]
fn every_vocabulary_gives_the_same_span() {
    let otel = json!({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-x",
        "gen_ai.response.finish_reasons": ["stop"], "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.cache_read.input_tokens": 100, "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.reasoning.output_tokens": 10, "gen_ai.conversation.id": "s1", "gen_ai.prompt.version": "7",
        "gen_ai.input.messages": "[{\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"content\":\"hi\"}]}]",
        "gen_ai.output.messages": "[{\"role\":\"assistant\",\"parts\":[{\"type\":\"text\",\"content\":\"hello\"}],\"finish_reason\":\"stop\"}]"});
    let openinference = json!({"openinference.span.kind": "LLM", "llm.model_name": "gpt-x", "llm.provider": "openai",
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "hi",
        "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "hello",
        "llm.token_count.prompt": 120, "llm.token_count.prompt_details.cache_read": 100,
        "llm.token_count.completion": 30, "llm.token_count.completion_details.reasoning": 10,
        "llm.finish_reason": "stop", "session.id": "s1", "llm.prompt_template.version": "7", "metadata": "{\"tier\":\"gold\"}"});
    let traceloop = json!({"llm.request.type": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-x",
        "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi", "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": "hello", "gen_ai.completion.0.finish_reason": "stop",
        "gen_ai.usage.prompt_tokens": 120, "gen_ai.usage.completion_tokens": 30,
        "gen_ai.usage.cache_read_input_tokens": 100, "gen_ai.usage.reasoning_tokens": 10,
        "traceloop.association.properties.session_id": "s1", "traceloop.prompt.version": 7});
    let vercel = json!({"operation.name": "ai.streamText.doStream support", "ai.operationId": "ai.streamText.doStream",
        "ai.model.id": "gpt-x", "ai.model.provider": "openai.responses",
        "ai.prompt.messages": "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}]",
        "ai.response.text": "hello", "ai.response.finishReason": "stop", "ai.usage.inputTokens": 120,
        "ai.usage.cachedInputTokens": 100, "ai.usage.outputTokens": 30, "ai.usage.reasoningTokens": 10,
        "ai.telemetry.metadata.sessionId": "s1", "gen_ai.prompt.version": "7"});
    let sentry = json!({"sentry.op": "gen_ai.chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-x",
        "gen_ai.request.messages": "[{\"role\":\"user\",\"content\":\"hi\"}]", "gen_ai.response.text": "hello",
        "gen_ai.usage.input_tokens": 120, "gen_ai.usage.input_tokens.cached": 100, "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.output_tokens.reasoning": 10, "gen_ai.conversation.id": "s1",
        "gen_ai.response.finish_reasons": "[\"stop\"]", "gen_ai.prompt.version": "7"});
    for (dialect, attributes) in [
        ("otel_genai", otel),
        ("openinference", openinference),
        ("openllmetry", traceloop),
        ("vercel", vercel),
        ("sentry", sentry),
    ] {
        let read = read(envelope(&[span(attributes)]).to_string());
        let span = read.only();
        assert_eq!(span.kind, SpanKind::Model, "{dialect}");
        assert_eq!(span.trace_id.as_str(), TRACE);
        assert_eq!(span.parent_id.as_ref().unwrap().as_str(), "a1a1a1a1a1a1a1a1");
        assert_eq!(span.session_id.as_ref().unwrap().as_str(), "s1", "{dialect}");
        assert_eq!(span.messages_in, [Message::text("user", "hi")], "{dialect}");
        assert_eq!(span.messages_out, [Message::text("assistant", "hello")], "{dialect}");
        let model = span.model.as_ref().unwrap();
        assert_eq!((model.request.as_deref(), model.provider.as_deref()), (Some("gpt-x"), Some("openai")), "{dialect}");
        let usage = &span.usage;
        let counts = (usage.input, usage.cache_read, usage.output, usage.reasoning);
        assert_eq!(counts, (Some(120), Some(100), Some(30), Some(10)), "{dialect}");
        assert_eq!(span.finish_reasons, ["stop"], "{dialect}");
        assert_eq!(span.prompt.as_ref().unwrap().version.as_deref(), Some("7"), "{dialect}");
        assert_eq!(span.status, SpanStatus::Ok);
        assert_eq!(span.duration_ms(), Some(800.0));
        assert_eq!(span.attribute("service.name"), Some(&json!("shop")));
        assert_eq!(read.summary.dialects.get(dialect), Some(&1), "{:?}", read.summary.dialects);
        let content = span.attributes.values().any(|value| value == "hello" || value == "hi");
        assert!(!content, "{dialect}: {:?}", span.attributes);
    }
}

#[test]
fn leftovers_stay_verbatim_and_sessions_are_not_invented() {
    let attributes = json!({"gen_ai.operation.name": "chat", "app.tier": "gold", "metadata": "{\"a\":1}"});
    let read = read(envelope(&[span(attributes)]).to_string());
    let span = read.only();
    assert_eq!(span.attributes["app.tier"], json!("gold"));
    assert_eq!(span.attributes["metadata"], json!("{\"a\":1}"));
    assert_eq!(span.attributes["otel.scope.name"], json!("x"));
    assert_eq!(span.session_id, None);
    assert_eq!(span.agent, None);
}

#[test]
fn messages_in_a_log_file_join_their_spans() {
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": "1795248000100000000", "traceId": TRACE, "spanId": "b2b2b2b2b2b2b2b2",
            "eventName": "gen_ai.user.message",
            "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "hi"}}]}}},
        {"timeUnixNano": "1795248000900000000", "traceId": TRACE, "spanId": "b2b2b2b2b2b2b2b2",
            "attributes": [{"key": "event.name", "value": {"stringValue": "gen_ai.choice"}}],
            "body": {"kvlistValue": {"values": [
                {"key": "index", "value": {"intValue": "0"}}, {"key": "finish_reason", "value": {"stringValue": "stop"}},
                {"key": "message", "value": {"kvlistValue": {"values": [
                    {"key": "content", "value": {"stringValue": "hello"}}]}}}]}}},
        {"timeUnixNano": "1", "traceId": TRACE, "spanId": "cccccccccccccccc", "eventName": "gen_ai.user.message",
            "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "lost"}}]}}},
        {"timeUnixNano": "1", "body": {"stringValue": "GET /"}},
    ]}]}]});
    let spans = envelope(&[span(json!({"gen_ai.operation.name": "chat", "gen_ai.system": "openai"}))]);
    for text in [format!("{logs}\n{spans}\n"), format!("{spans}\n{logs}\n")] {
        let read = read(text);
        assert_eq!(read.only().messages_in, [Message::text("user", "hi")]);
        assert_eq!(read.only().messages_out, [Message::text("assistant", "hello")]);
        assert_eq!(read.only().finish_reasons, ["stop"]);
        assert_eq!((read.summary.log_events, read.gathered.unjoined, read.summary.rejected), (3, 1, 0));
        assert_eq!(read.summary.ignored.values().sum::<u64>(), 1);
    }
}

#[test]
fn bare_spans_of_the_sdks_are_read() {
    let python = json!({"name": "run", "context": {"trace_id": format!("0x{TRACE}"), "span_id": "0xb2b2b2b2b2b2b2b2"},
        "kind": "SpanKind.INTERNAL", "parent_id": null, "start_time": "2026-11-21T08:00:00.100000Z",
        "end_time": "2026-11-21T08:00:00.900000Z", "status": {"status_code": "ERROR", "description": "broke"},
        "attributes": {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"},
        "events": [{"name": "exception", "timestamp": "2026-11-21T08:00:00.8Z",
            "attributes": {"exception.type": "KeyError", "exception.message": "x"}}],
        "links": [], "resource": {"attributes": {"service.name": "shop"}, "schema_url": ""}});
    let javascript = json!({"name": "ai.toolCall", "spanContext": {"traceId": TRACE, "spanId": "c3c3c3c3c3c3c3c3"},
        "parentSpanContext": {"traceId": TRACE, "spanId": "b2b2b2b2b2b2b2b2"}, "status": {"code": 0},
        "startTime": [1_795_248_000, 200_000_000], "endTime": [1_795_248_000, 300_000_000],
        "attributes": {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "weather", "ai.toolCall.id": "c",
            "ai.toolCall.args": "{\"city\":\"Paris\"}", "ai.toolCall.result": "\"rainy\""}});
    let phoenix = json!({"id": "1", "name": "llm", "context": {"trace_id": TRACE, "span_id": "d4d4d4d4d4d4d4d4"},
        "span_kind": "LLM", "parent_id": "b2b2b2b2b2b2b2b2", "start_time": "2026-11-21T08:00:00.4+00:00",
        "end_time": null, "status_code": "OK", "attributes": {"llm": {"model_name": "gpt-x",
            "input_messages": [{"message": {"role": "user", "content": "hi"}}]}}, "events": []});
    let read = read(json!({"spans": [python, javascript, phoenix]}).to_string());
    assert_eq!(read.summary.rejected, 0, "{:?}", read.gathered.rejected);
    let spans = read.spans();
    assert_eq!(
        spans.iter().map(|span| span.kind).collect::<Vec<_>>(),
        [SpanKind::Agent, SpanKind::Tool, SpanKind::Model]
    );
    assert!(spans[0].failed());
    let error = spans[0].error.as_ref().unwrap();
    assert_eq!((error.kind.as_deref(), error.message.as_deref()), (Some("KeyError"), Some("broke")));
    assert_eq!(spans[0].agent_name(), Some("support"));
    let tool = spans[1].tool.as_ref().unwrap();
    assert_eq!((tool.name.as_str(), tool.arguments.clone()), ("weather", Some(json!({"city": "Paris"}))));
    assert_eq!(spans[2].messages_in, [Message::text("user", "hi")]);
    assert!(read.gathered.traces[0].faults.is_empty());
}

#[test]
fn long_decimal_ids_keep_every_digit() {
    let text = r#"{"spans": [{"name": "x", "start_time": 1758026593210770000, "context":
        {"trace_id": 100927429609276267646756448943279827607, "span_id": 12324293800750531911}}]}"#;
    let read = read(text);
    assert_eq!(
        read.only().trace_id.as_str(),
        format!("{:032x}", 100_927_429_609_276_267_646_756_448_943_279_827_607_u128)
    );
    assert_eq!(read.only().span_id.as_str(), format!("{:016x}", 12_324_293_800_750_531_911_u64));
}

#[test]
fn bad_rows_are_named_and_good_ones_go_on() {
    let good = |id: u8| {
        let mut span = span(json!({"gen_ai.operation.name": "chat"}));
        span["spanId"] = json!(format!("{id:016x}"));
        span
    };
    let broken = |key: &str, value: Value| {
        let mut span = good(9);
        span[key] = value;
        span
    };
    let mut invalid = envelope(&[good(7)]).to_string().into_bytes();
    let at = invalid.windows(4).position(|window| window == b"chat").unwrap();
    invalid[at] = 0xff;
    let whole = envelope(&[good(8)]).to_string();
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (envelope(&[good(1), broken("traceId", json!("abc")), good(2)]).to_string().into_bytes(), "`traceId`"),
        (envelope(&[broken("traceId", json!("0".repeat(32)))]).to_string().into_bytes(), "`traceId`"),
        (envelope(&[broken("spanId", json!(true))]).to_string().into_bytes(), "`spanId`"),
        (envelope(&[broken("startTimeUnixNano", json!("soon"))]).to_string().into_bytes(), "`startTimeUnixNano`"),
        (envelope(&[broken("startTimeUnixNano", json!(0))]).to_string().into_bytes(), "`startTimeUnixNano`"),
        (envelope(&[broken("name", json!({}))]).to_string().into_bytes(), "`name`"),
        (envelope(&[broken("attributes", json!(3))]).to_string().into_bytes(), "`attributes`"),
        (json!({"resourceSpans": 5}).to_string().into_bytes(), "`resourceSpans`"),
        (whole.as_bytes()[..whole.len() / 2].to_vec(), "record"),
        (b"not json".to_vec(), "record"),
        (invalid, "record"),
        (json!({"hello": 1}).to_string().into_bytes(), "record"),
        (b"7".to_vec(), "record"),
    ];
    let mut file = Vec::new();
    for (row, _) in &rows {
        file.extend_from_slice(row);
        file.push(b'\n');
    }
    file.extend_from_slice(envelope(&[good(3)]).to_string().as_bytes());
    let read = read(&file);
    assert_eq!(read.spans().len(), 3);
    assert_eq!(read.gathered.rejected.len(), rows.len());
    for (index, (rejected, (_, field))) in read.gathered.rejected.iter().zip(&rows).enumerate() {
        assert!(rejected.field.ends_with(field), "{rejected}");
        assert_eq!((rejected.file.as_str(), rejected.line), ("-", Some(index as u64 + 1)), "{rejected}");
        assert!(!rejected.found.is_empty() && !rejected.expected.is_empty());
        assert!(rejected.excerpt.chars().count() <= 300);
    }
    let place = &read.gathered.rejected[0].field;
    assert_eq!(place, "`resourceSpans[0].scopeSpans[0].spans[1]` `traceId`");
}

#[test]
fn broken_structure_is_stated_and_kept() {
    let part = |id: &str, parent: &str, start: u64, end: u64| {
        json!({"traceId": TRACE, "spanId": id.repeat(16), "parentSpanId": parent.repeat(16), "name": id,
            "startTimeUnixNano": start, "endTimeUnixNano": end})
    };
    let spans = [part("1", "", 10, 5), part("2", "3", 11, 12), part("3", "2", 11, 12), part("4", "9", 11, 12)];
    let read = read(format!("{}\n{}\n", envelope(&spans), envelope(&spans[..1])));
    let trace: &Trace = &read.gathered.traces[0];
    let id = |id: &str| crate::model::SpanId::new(id.repeat(16));
    let expected = [
        TraceFault::MissingParent { span: id("4") },
        TraceFault::Cycle { span: id("2") },
        TraceFault::Cycle { span: id("3") },
        TraceFault::EndBeforeStart { span: id("1") },
    ];
    assert_eq!(trace.faults, expected);
    assert_eq!((trace.spans.len(), read.gathered.duplicates), (4, 1));
    assert_eq!(trace.spans[0].duration_ms(), None);
}

#[test]
fn giant_fields_are_shortened_and_giant_records_refused() {
    let giant = "x".repeat(3 << 20);
    let attributes = json!({"gen_ai.operation.name": "chat", "big": giant.clone(),
        "gen_ai.input.messages": json!([{"role": "user", "content": giant}]).to_string()});
    let text = format!("{}\n{}\n", envelope(&[span(attributes)]), envelope(&[span(json!({}))]));
    let read = read(&text);
    assert_eq!(read.summary.shortened, 2);
    let span = read.spans().into_iter().find(|span| span.attributes.contains_key("big")).unwrap();
    let listed = json!([{"field": "messages_in", "bytes": 3 << 20}, {"field": "big", "bytes": 3 << 20}]);
    assert_eq!(span.attributes[TRUNCATED_KEY], listed);
    let kept = span.messages_in[0].plain_text();
    assert!(kept.len() < (1 << 20) + 100 && kept.contains("bytes left out"));
    let small = ReadOptions { max_record_bytes: 1 << 20, ..ReadOptions::default() };
    let read = read_with(text.as_bytes(), &small).unwrap();
    assert_eq!((read.spans().len(), read.summary.rejected), (1, 1));
    let rejected = &read.gathered.rejected[0];
    assert!(rejected.expected.contains("max_record_bytes") && rejected.line == Some(1), "{rejected}");
}

#[test]
fn a_file_that_gives_nothing_says_why() {
    let fail = |bytes: &[u8]| read_with(bytes, &ReadOptions::default()).map(|_| ()).unwrap_err().to_string();
    assert!(fail(b" \n").contains("is empty") && fail(b"").contains("is empty"));
    let unknown = fail(b"{\"hello\": \x1b[31m1}");
    assert!(unknown.contains("otlp_json, otlp_protobuf") && !unknown.contains('\u{1b}'), "{unknown}");
    let mut assembler = Assembler::new();
    let missing = read_file(Path::new("/no/such/file.json"), None, &ReadOptions::default(), &mut assembler);
    assert!(missing.unwrap_err().to_string().starts_with("cannot read `/no/such/file.json`"));
    let reader = Box::new(std::io::Cursor::new(b"{}".to_vec()));
    let format = read_stream("-", reader, Some("nope"), &ReadOptions::default(), &mut assembler);
    assert!(format.unwrap_err().to_string().contains("no trace format is called `nope`"));
}

#[test]
fn a_failing_taker_stops_the_reading() {
    struct Full;
    impl Sink for Full {
        fn span(&mut self, _: Span) -> Result<(), SinkError> {
            Err("disk full".into())
        }
        fn log_event(&mut self, _: LogEvent) -> Result<(), SinkError> {
            Ok(())
        }
        fn rejected(&mut self, _: Rejected) -> Result<(), SinkError> {
            Ok(())
        }
    }
    let text = envelope(&[span(json!({}))]).to_string().into_bytes();
    let reader = Box::new(std::io::Cursor::new(text));
    let error = read_stream("-", reader, None, &ReadOptions::default(), &mut Full).unwrap_err();
    assert_eq!(error.to_string(), "stopped at `-`: disk full");
}

#[test]
fn a_half_character_does_not_cost_the_record() {
    let text = envelope(&[span(json!({"app": "cut HERE"}))]).to_string().replace("HERE", "\\ud83d");
    let read = read(text);
    assert_eq!(read.only().attributes["app"], json!("cut \u{fffd}"));
    assert_eq!(read.summary.ignored.values().sum::<u64>(), 1);
}

#[test]
fn prices_fill_gaps_only() {
    let price = |_: &Span| Some(0.5);
    let options = ReadOptions { price: Some(&price), ..ReadOptions::default() };
    let cost = |attributes: Value| {
        read_with(envelope(&[span(attributes)]).to_string().as_bytes(), &options).unwrap().only().cost_usd
    };
    assert_eq!(cost(json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1})), Some(0.5));
    assert_eq!(
        cost(json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1, "llm.cost.total": 0.1})),
        Some(0.1)
    );
    assert_eq!(cost(json!({"gen_ai.operation.name": "chat"})), None);
    // A tool may have a price too; an agent only repeats what its calls cost.
    assert_eq!(cost(json!({"gen_ai.operation.name": "execute_tool"})), Some(0.5));
    assert_eq!(cost(json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 1})), None);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compression_is_transparent_and_a_cut_stream_keeps_its_beginning() {
    let mut lines = String::new();
    for id in 1..2000_u64 {
        // Ids that do not compress well, so that the cut falls inside the data.
        let id = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut span = span(json!({}));
        span["spanId"] = json!(format!("{id:016x}"));
        span["parentSpanId"] = json!(format!("{:016x}", id.rotate_left(13)));
        lines.push_str(&envelope(&[span]).to_string());
        lines.push('\n');
    }
    for packed in [gzip(lines.as_bytes()), zstd::encode_all(lines.as_bytes(), 1).unwrap()] {
        assert_eq!(read(&packed).spans().len(), 1999);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut");
        std::fs::write(&path, &packed[..packed.len() * 2 / 3]).unwrap();
        let mut assembler = Assembler::new();
        let summary = read_file(&path, None, &ReadOptions::default(), &mut assembler).unwrap();
        assert!(summary.spans > 500 && summary.spans < 1999, "{summary:?}");
        assert_eq!(summary.rejected, 1);
        let gathered = assembler.drain();
        assert_eq!(gathered.rejected[0].field, "stream");
    }
}

mod protobuf {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, TracesData};
    use prost::Message as _;

    use super::*;

    fn pair(key: &str, value: ProtoValue) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    fn text(key: &str, value: &str) -> KeyValue {
        pair(key, ProtoValue::StringValue(value.to_owned()))
    }

    fn data(ids: &[u8]) -> TracesData {
        let span = |id: &u8| ProtoSpan {
            trace_id: vec![0x5b; 16],
            span_id: vec![*id; 8],
            name: "chat gpt-x".to_owned(),
            kind: 3,
            start_time_unix_nano: 1_795_248_000_100_000_000,
            end_time_unix_nano: 1_795_248_000_900_000_000,
            attributes: vec![
                text("gen_ai.operation.name", "chat"),
                pair("gen_ai.usage.input_tokens", ProtoValue::IntValue(12)),
                pair("nan", ProtoValue::DoubleValue(f64::NAN)),
                pair("raw", ProtoValue::BytesValue(vec![0, 1])),
            ],
            ..ProtoSpan::default()
        };
        let scope = InstrumentationScope { name: "x".to_owned(), ..InstrumentationScope::default() };
        let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
        let spans = ScopeSpans { scope: Some(scope), spans: ids.iter().map(span).collect(), ..ScopeSpans::default() };
        let one = ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..ResourceSpans::default() };
        TracesData { resource_spans: vec![one] }
    }

    #[test]
    fn a_message_is_read_like_its_json() {
        let read = read(data(&[1]).encode_to_vec());
        assert_eq!(read.summary.format, "otlp_protobuf");
        let span = read.only();
        assert_eq!((span.kind, span.usage.input), (SpanKind::Model, Some(12)));
        assert_eq!(span.span_id.as_str(), "0101010101010101");
        assert_eq!((&span.attributes["nan"], &span.attributes["raw"]), (&json!("NaN"), &json!("AAE=")));
        assert_eq!(span.resource["service.name"], json!("shop"));
    }

    #[test]
    fn sequences_are_read_in_each_framing() {
        let messages = [data(&[1, 2]).encode_to_vec(), data(&[3]).encode_to_vec()];
        let mut framings: Vec<Vec<u8>> = vec![messages.concat(), Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        for message in &messages {
            let packed = zstd::encode_all(message.as_slice(), 1).unwrap();
            let mut varint = Vec::new();
            prost::encode_length_delimiter(message.len(), &mut varint).unwrap();
            framings[1].extend((message.len() as u32).to_be_bytes().iter().chain(message));
            framings[2].extend((packed.len() as u32).to_be_bytes().iter().chain(&packed));
            framings[3].extend(varint.iter().chain(message));
        }
        let line = envelope(&[span(json!({})), span(json!({"a": "b"}))]).to_string();
        let mut other = span(json!({}));
        other["spanId"] = json!("c3c3c3c3c3c3c3c3");
        for text in [
            line,
            envelope(&[other.clone(), {
                other["spanId"] = json!("d3c3c3c3c3c3c3c3");
                other
            }])
            .to_string(),
        ] {
            framings[4].extend((text.len() as u32).to_be_bytes().iter().chain(text.as_bytes()));
        }
        for (index, bytes) in framings.iter().enumerate() {
            let read = read(bytes);
            assert_eq!((read.spans().len(), read.summary.rejected), (3, 0), "{index}: {:?}", read.gathered.rejected);
        }
    }

    #[test]
    fn bad_spans_and_cuts_are_named() {
        let mut bad = data(&[1, 2, 3]);
        let spans = &mut bad.resource_spans[0].scope_spans[0].spans;
        spans[0].span_id = vec![0; 8];
        spans[1].trace_id = vec![1; 5];
        let read_bad = read(bad.encode_to_vec());
        assert_eq!((read_bad.spans().len(), read_bad.summary.rejected), (1, 2));
        assert_eq!(read_bad.gathered.rejected[1].found, "5 bytes");
        let mut cut = data(&[1]).encode_to_vec();
        let second = data(&[2]).encode_to_vec();
        cut.extend(&second[..second.len() - 5]);
        let read_cut = read(cut);
        assert_eq!((read_cut.spans().len(), read_cut.summary.rejected), (1, 1));
        assert!(read_cut.gathered.rejected[0].found.contains("cut off"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..200, flip: u8) {
            for format in ["otlp_protobuf", "otlp_json"] {
                let mut assembler = Assembler::new();
                let reader = Box::new(std::io::Cursor::new(bytes.clone()));
                let _ = read_stream("-", reader, Some(format), &ReadOptions::default(), &mut assembler);
            }
            let mut message = data(&[1, 2]).encode_to_vec();
            let at = at % message.len();
            message[at] ^= flip;
            let _ = read_with(&message, &ReadOptions { max_record_bytes: 1 << 16, ..ReadOptions::default() });
        }
    }
}

/// Trace, span, parent, start, name.
type Line = (String, u8, u8, u8, String);

/// JSON in the neighborhood of OTLP: right keys, wrong types.
fn near_otlp() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("resourceSpans"),
        Just("scopeSpans"),
        Just("spans"),
        Just("resource"),
        Just("attributes"),
        Just("traceId"),
        Just("spanId"),
        Just("startTimeUnixNano"),
        Just("status"),
        Just("events"),
        Just("links"),
        Just("key"),
        Just("value"),
        Just("stringValue"),
        Just("name"),
        Just("resourceLogs"),
        Just("logRecords"),
        Just("eventName"),
        Just("body"),
        Just("context"),
        Just("gen_ai.input.messages"),
        Just("llm"),
        Just("code"),
    ];
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(TRACE)),
        Just(json!("b2b2b2b2b2b2b2b2")),
        Just(json!("gen_ai.choice")),
        "[\\[\\]{}\"a:,0]{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 80, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

fn any_attributes() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        "gen_ai\\.(input|output)\\.messages",
        "gen_ai\\.prompt\\.[0-3]\\.(role|content|tool_calls\\.0\\.name)",
        "llm\\.input_messages\\.[0-9]{1,3}\\.message\\.(role|content)",
        "gen_ai\\.usage\\.(in|out)put_tokens",
        "error.type",
        "openinference.span.kind",
        "gen_ai.operation.name",
        "ai.response.toolCalls",
        "input.value",
        "tool.name",
    ];
    let value = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "chat|TOOL|execute_tool".prop_map(Value::from),
        "[\\[\\]{}\"a:,0]{0,10}".prop_map(Value::from),
        near_otlp(),
    ];
    proptest::collection::btree_map(key, value, 0..8).prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(value in near_otlp()) {
        let mut assembler = Assembler::new();
        let reader = Box::new(std::io::Cursor::new(value.to_string().into_bytes()));
        let _ = read_stream("-", reader, Some("otlp_json"), &ReadOptions::default(), &mut assembler);
        assembler.drain();
    }

    #[test]
    fn any_attributes_make_a_span_that_survives_storage(attributes in any_attributes()) {
        let bare = json!({"traceId": TRACE, "spanId": "b2b2b2b2b2b2b2b2", "startTimeUnixNano": 1, "attributes": attributes});
        let read = read(bare.to_string());
        let span = read.only();
        let text = serde_json::to_string(span).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Span>(&text).unwrap(), span);
    }

    /// Order of lines and how they are split over files do not change the traces.
    #[test]
    fn order_and_files_do_not_matter(
        (lines, shuffled) in proptest::collection::vec(("[ab]", 1_u8..5, 0_u8..5, 1_u8..4, "[xy]"), 1..14)
            .prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle())),
        cut in 0_usize..14,
    ) {
        let text = |lines: &[Line]| {
            lines.iter().map(|(trace, id, parent, start, name)| {
                let span = json!({"traceId": trace.repeat(32), "spanId": format!("{id:016x}"),
                    "parentSpanId": format!("{parent:016x}"), "startTimeUnixNano": start, "name": name});
                let log = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": trace.repeat(32),
                    "spanId": format!("{id:016x}"), "eventName": "gen_ai.user.message", "timeUnixNano": start,
                    "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": name}}]}}}]}]}]});
                format!("{}\n{log}\n", envelope(&[span]))
            }).collect::<String>()
        };
        let gather = |parts: &[&[Line]]| {
            let mut assembler = Assembler::new();
            for part in parts.iter().filter(|part| !part.is_empty()) {
                let reader = Box::new(std::io::Cursor::new(text(part).into_bytes()));
                read_stream("-", reader, None, &ReadOptions::default(), &mut assembler).unwrap();
            }
            let mut gathered = assembler.drain();
            for span in gathered.traces.iter_mut().flat_map(|trace| &mut trace.spans) {
                span.source.line = None;
            }
            gathered
        };
        let cut = cut.min(shuffled.len());
        prop_assert_eq!(gather(&[&lines]), gather(&[&shuffled[..cut], &shuffled[cut..]]));
    }
}

pub(super) fn fixtures() -> Option<PathBuf> {
    let near = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    let named = crate::sys::Env::of_process().get("ASSIZE_SHARED").map(PathBuf::from);
    let found =
        [named, Some(near)].into_iter().flatten().map(|folder| folder.join("fixtures/traces")).find(|at| at.is_dir());
    if found.is_none() {
        println!("skipped: no fixtures");
    }
    found
}

pub(super) fn read_fixture(path: &Path) -> Read {
    let mut all = All::default();
    let summary = read_file(path, None, &ReadOptions::default(), &mut all).unwrap();
    let read = Read { summary, gathered: all.assembler.drain(), scores: all.scores };
    assert!(read.gathered.rejected.is_empty(), "{:?}", read.gathered.rejected);
    read
}

#[test]
fn real_otlp_files_are_read_whole() {
    let Some(folder) = fixtures() else { return };
    let read = read_fixture(&folder.join("otlp_capture/openllmetry.otlp.json"));
    let model = read.spans().into_iter().find(|span| span.kind == SpanKind::Model).unwrap();
    let usage = &model.usage;
    let counts = (usage.input, usage.output, usage.cache_read, usage.reasoning);
    assert_eq!(counts, (Some(412), Some(27), Some(256), Some(8)));
    assert_eq!(model.messages_in.last(), Some(&Message::text("user", "Where is order A-1187?")));
    assert!(model.messages_out[0].calls_tools());
    for name in ["trace.json", "logs.json", "events.json", "metrics.json"] {
        let read = read_fixture(&folder.join("otlp_examples").join(name));
        assert_eq!(read.spans().len(), usize::from(name == "trace.json"), "{name}");
        let used = read.summary.spans + read.summary.ignored.values().sum::<u64>();
        assert!(used > 0, "{name}: {:?}", read.summary);
    }
}

#[test]
fn real_dumps_of_four_frameworks_give_the_same_tools() {
    let Some(folder) = fixtures() else { return };
    for name in ["AGNO", "LANGCHAIN", "OPENAI", "SMOLAGENTS"] {
        let read = read_fixture(&folder.join(format!("any_agent/{name}_trace.json")));
        assert_eq!(read.gathered.traces.len(), 1, "{name}");
        let trace = &read.gathered.traces[0];
        let tools: Vec<String> = trace.tools_used().into_iter().map(|tool| tool.name).take(2).collect();
        assert_eq!(tools, ["get_current_time", "write_file"], "{name}");
        assert_eq!(trace.root().unwrap().kind, SpanKind::Agent, "{name}");
        assert!(trace.cost_usd().is_some() && trace.usage().total().is_some(), "{name}");
        assert!(trace.input().unwrap().as_str().unwrap().contains("America/New_York"), "{name}");
        assert!(trace.faults.is_empty(), "{name}: {:?}", trace.faults);
        if name != "SMOLAGENTS" {
            let answer = trace.final_output().unwrap();
            assert!(answer.as_str().unwrap().contains("steps"), "{name}: {answer}");
        }
    }
}

#[test]
fn real_vercel_spans_are_read() {
    let Some(folder) = fixtures() else { return };
    let read = read_fixture(&folder.join("openinference/vercel_v6_spans/all-spans.json"));
    let again = read_fixture(&folder.join("openinference/vercel_v6_spans/spans-by-operation.json"));
    assert_eq!(read.spans().len(), again.spans().len());
    let models: Vec<&Span> = read.spans().into_iter().filter(|span| span.kind == SpanKind::Model).collect();
    assert!(!models.is_empty());
    for span in models {
        assert!(!span.messages_in.is_empty() && !span.messages_out.is_empty(), "{}", span.name);
        assert!(span.usage.total().is_some_and(|total| total > 0), "{}", span.name);
        assert_eq!(span.model.as_ref().unwrap().provider.as_deref(), Some("openai"));
    }
}
