//! Reading what an application says about its own answer: output, tokens, money, steps.
//!
//! Lenient in names, strict in kinds: a number that is none or a trace that cannot be read is a failure of the
//! target that names the place, never a silent nothing.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::ingest::{Assembler, Gathered, ReadOptions, Request, read_request};
use crate::model::{Failure, FailureKind, Output, Span, SpanId, ToolUse, Trace, TraceId, Usage};
use crate::sys::text::one_line;

/// Where the parts of a reply are, as JSON pointers.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Output; when unset, `/output` where it exists and the whole reply where it does not.
    pub output: Option<String>,
    /// Steps.
    pub trace: Option<String>,
    /// Tokens.
    pub usage: Option<String>,
    /// US dollars.
    pub cost_usd: Option<String>,
    /// Milliseconds.
    pub latency_ms: Option<String>,
    /// An error that came as a success.
    pub error: Option<String>,
}

/// Reads a JSON reply. `trace_id` is the id that was sent along, for steps that name none.
pub(super) fn read_output(what: &str, reply: &Value, places: &Places, trace_id: &str) -> Result<Output, Failure> {
    let bad = |text: String| Failure::new(FailureKind::TargetError, format!("{what}: {text}"));
    let at = |place: &Option<String>| place.as_ref().and_then(|at| reply.pointer(at)).filter(|value| !value.is_null());
    if let Some(error) = at(&places.error) {
        let text = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
        return Err(bad(format!("said `{}`", one_line(&text, 300))));
    }
    let value = match &places.output {
        Some(place) => reply
            .pointer(place)
            .ok_or_else(|| bad(format!("the reply has nothing at `{place}`: {}", one_line(&reply.to_string(), 200))))?,
        None => reply.get("output").unwrap_or(reply),
    };
    let number = |place: &Option<String>| match at(place) {
        None => Ok(None),
        Some(value) => {
            let number = value.as_f64().filter(|number| number.is_finite() && *number >= 0.0);
            let place = place.as_deref().unwrap_or_default();
            let wrong = || bad(format!("`{place}` is no number of 0 or more: {}", one_line(&value.to_string(), 80)));
            number.map(Some).ok_or_else(wrong)
        }
    };
    let trace = at(&places.trace).map(|trace| read_trace(trace, trace_id)).transpose().map_err(bad)?;
    let mut usage = at(&places.usage).map(read_usage).unwrap_or_default();
    let mut cost_usd = number(&places.cost_usd)?;
    if let Some(trace) = &trace {
        if usage.is_unknown() {
            usage = trace.usage();
        }
        cost_usd = cost_usd.or_else(|| trace.cost_usd());
    }
    let latency_ms = number(&places.latency_ms)?;
    Ok(Output { value: value.clone(), trace: trace.map(Arc::new), usage, cost_usd, latency_ms, ..Output::default() })
}

/// Tokens under the names that applications use.
fn read_usage(value: &Value) -> Usage {
    let first = |names: &[&str]| names.iter().find_map(|name| value.get(name).and_then(Value::as_u64));
    Usage {
        input: first(&["input", "input_tokens", "prompt_tokens"]),
        output: first(&["output", "output_tokens", "completion_tokens"]),
        cache_read: first(&["cache_read", "cache_read_tokens", "cached_tokens"]),
        cache_write: first(&["cache_write", "cache_write_tokens"]),
        reasoning: first(&["reasoning", "reasoning_tokens"]),
    }
}

/// A trace, a list of spans in order, or OTLP in JSON. A span needs `kind` and `name`, a call of a tool only `tool`; ids
/// that are left out are given, and a start that is left out is 0, so that the order of the list holds.
fn read_trace(value: &Value, trace_id: &str) -> Result<Trace, String> {
    if ["resourceSpans", "resource_spans"].iter().any(|key| value.get(key).is_some()) {
        return read_otlp(value, trace_id);
    }
    let spans = value.get("spans").unwrap_or(value);
    let spans = spans.as_array().ok_or("the trace is neither a list of spans nor an object with `spans`")?;
    let mut read = Vec::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        read.push(read_span(span, index, trace_id).map_err(|error| format!("span {index} of the trace: {error}"))?);
    }
    read.sort_by(|left, right| (left.start_ns, &left.span_id).cmp(&(right.start_ns, &right.span_id)));
    let id = value.get("id").and_then(Value::as_str).map(TraceId::from);
    let id = id.or_else(|| read.first().map(|span| span.trace_id.clone())).unwrap_or_else(|| TraceId::from(trace_id));
    let session_id = read.iter().find_map(|span| span.session_id.clone());
    Ok(Trace { id, session_id, spans: read, faults: Vec::new() })
}

/// The trace of the id that was sent along; the largest where the target made up its own.
fn read_otlp(value: &Value, trace_id: &str) -> Result<Trace, String> {
    let mut gathered = Assembler::new();
    let text = value.to_string();
    let request = Request::Json(text.as_bytes());
    read_request(request, "the reply", &ReadOptions::default(), &mut gathered).map_err(|error| error.to_string())?;
    let Gathered { traces, rejected, .. } = gathered.drain();
    let wanted = traces.iter().position(|trace| trace.id.as_str() == trace_id);
    let largest = || (0..traces.len()).max_by_key(|place| traces.get(*place).map(|trace| trace.spans.len()));
    let chosen = wanted.or_else(largest).and_then(|place| traces.into_iter().nth(place));
    chosen.ok_or_else(|| match rejected.first() {
        Some(first) => format!("the trace holds no span that can be read: {first}"),
        None => "the trace holds no span".to_owned(),
    })
}

fn read_span(span: &Value, index: usize, trace_id: &str) -> Result<Span, String> {
    let Value::Object(fields) = span else { return Err("it is not an object".to_owned()) };
    let mut fields: Map<String, Value> = fields.clone();
    if let Some(Value::String(name)) = fields.get("tool").cloned() {
        // The short form of a step: `{"tool": "search", "arguments": {...}, "result": ...}`.
        let mut part = |key: &str| fields.remove(key).filter(|value| !value.is_null());
        let tool = json!({"name": name, "arguments": part("arguments"), "result": part("result")});
        fields.entry("kind").or_insert_with(|| json!("tool"));
        fields.entry("name").or_insert_with(|| json!(name));
        fields.insert("tool".to_owned(), tool);
    }
    fields.entry("trace_id").or_insert_with(|| json!(trace_id));
    fields.entry("span_id").or_insert_with(|| json!(SpanId::new(format!("{:016x}", index + 1))));
    fields.entry("start_ns").or_insert_with(|| json!(0));
    let mut span: Span = serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
    if span.kind == crate::model::SpanKind::Tool && span.tool.is_none() {
        let (arguments, result) = (span.input.clone(), span.output.clone());
        span.tool = Some(ToolUse { name: span.name.clone(), call_id: None, arguments, result });
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let at = |place: &str| Some(place.to_owned());
        Places {
            output: None,
            trace: at("/trace"),
            usage: at("/usage"),
            cost_usd: at("/cost_usd"),
            latency_ms: at("/latency_ms"),
            error: at("/error"),
        }
    }

    #[test]
    fn a_full_reply_is_read() {
        let reply = json!({
            "output": {"answer": 42}, "usage": {"prompt_tokens": 10, "completion_tokens": 2}, "cost_usd": 0.5,
            "trace": [
                {"kind": "tool", "name": "search", "input": {"q": "x"}, "output": "found"},
                {"kind": "model", "name": "chat"},
            ],
        });
        let output = read_output("app", &reply, &places(), "t1").unwrap();
        assert_eq!(output.value, json!({"answer": 42}));
        assert_eq!((output.usage.input, output.cost_usd, output.latency_ms), (Some(10), Some(0.5), None));
        let trace = output.trace.unwrap();
        assert_eq!((trace.id.as_str(), trace.spans.len()), ("t1", 2));
        let tools = trace.tools_used();
        assert_eq!((tools[0].name.as_str(), &tools[0].arguments), ("search", &Some(json!({"q": "x"}))));
    }

    #[test]
    fn traces_come_as_steps_or_as_otlp() {
        let steps = json!({"output": 1, "trace": [{"tool": "search", "arguments": {"q": "x"}, "result": ["d1"]}]});
        let trace = read_output("app", &steps, &places(), "t1").unwrap().trace.unwrap();
        assert_eq!(trace.tools_used()[0].arguments, Some(json!({"q": "x"})));
        let span = |trace: &str, name: &str| {
            json!({
                "traceId": trace, "spanId": "00000000000000a1", "name": name, "startTimeUnixNano": "1000",
                "endTimeUnixNano": "2000", "attributes": [
                    {"key": "gen_ai.operation.name", "value": {"stringValue": "execute_tool"}},
                    {"key": "gen_ai.tool.name", "value": {"stringValue": name}},
                ],
            })
        };
        let (ours, other) = ("0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c");
        let otlp = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span(other, "b"), span(ours, "search")]}]}]});
        let trace = read_output("app", &json!({"output": 1, "trace": otlp}), &places(), ours).unwrap().trace.unwrap();
        assert_eq!((trace.id.as_str(), trace.tools_used()[0].name.as_str()), (ours, "search"));
        let none = json!({"output": 1, "trace": {"resourceSpans": []}});
        assert!(read_output("app", &none, &places(), ours).unwrap_err().message.contains("no span"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let fails = |reply: Value| read_output("app", &reply, &places(), "t").unwrap_err();
        assert!(fails(json!({"output": 1, "cost_usd": "much"})).message.contains("`/cost_usd` is no number"));
        assert!(fails(json!({"output": 1, "trace": [{"kind": "tool"}]})).message.contains("span 0"));
        assert!(fails(json!({"output": 1, "trace": 7})).message.contains("spans"));
        assert!(fails(json!({"output": 1, "error": "boom"})).message.contains("said `boom`"));
        let deep = Places { output: Some("/a/b".to_owned()), ..Places::default() };
        let failure = read_output("app", &json!({"a": 1}), &deep, "t").unwrap_err();
        assert!(failure.message.contains("nothing at `/a/b`"), "{failure}");
        assert_eq!(failure.kind, FailureKind::TargetError);
    }
}
