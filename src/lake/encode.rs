//! A span as the text that a lake keeps of it, and the digest of what it says; both in one pass.
//!
//! The text is the span's JSON to the letter: the field list here is checked by the compiler, the result by a test.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use serde_json::Value;

use crate::model::{
    AgentRef, Digest, Message, ModelRef, PRICED_KEY, PromptRef, SessionId, Span, SpanError, SpanId, SpanKind,
    SpanStatus, ToolUse, TraceId, Usage,
};

/// The fields before the money.
#[derive(Serialize)]
struct Head<'a> {
    trace_id: &'a TraceId,
    span_id: &'a SpanId,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    kind: SpanKind,
    name: &'a str,
    start_ns: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_ns: Option<i64>,
    status: SpanStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a SpanError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a AgentRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a ModelRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a PromptRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a ToolUse>,
    #[serde(skip_serializing_if = "<[Message]>::is_empty")]
    messages_in: &'a [Message],
    #[serde(skip_serializing_if = "<[Message]>::is_empty")]
    messages_out: &'a [Message],
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a Usage>,
}

/// JSON that is being written, with the places of what does not enter the digest.
#[derive(Default)]
struct Text {
    json: Vec<u8>,
    left_out: Vec<Range<usize>>,
}

/// The JSON of a span, and the digest of what it says without where it was read and without a price that was computed:
/// neither a copied file nor a new price list makes it another span.
pub(crate) fn encode(span: &Span) -> (String, String) {
    let Span {
        trace_id,
        span_id,
        parent_id,
        session_id,
        user_id,
        kind,
        name,
        start_ns,
        end_ns,
        status,
        error,
        agent,
        model,
        prompt,
        tool,
        messages_in,
        messages_out,
        input,
        output,
        usage,
        cost_usd,
        finish_reasons,
        attributes,
        resource,
        source,
    } = span;
    let head = Head {
        trace_id,
        span_id,
        parent_id: parent_id.as_ref(),
        session_id: session_id.as_ref(),
        user_id: user_id.as_deref(),
        kind: *kind,
        name,
        start_ns: *start_ns,
        end_ns: *end_ns,
        status: *status,
        error: error.as_ref(),
        agent: agent.as_ref(),
        model: model.as_ref(),
        prompt: prompt.as_ref(),
        tool: tool.as_ref(),
        messages_in,
        messages_out,
        input: input.as_ref(),
        output: output.as_ref(),
        usage: Some(usage).filter(|usage| !usage.is_unknown()),
    };
    let mut text = Text { json: Vec::with_capacity(2048), left_out: Vec::new() };
    text.value(&head);
    // The brace comes at the end.
    text.json.pop();
    let priced = attributes.contains_key(PRICED_KEY);
    if let Some(cost) = cost_usd {
        let begin = text.json.len();
        text.field("cost_usd", cost);
        text.leave_out(begin, priced);
    }
    if !finish_reasons.is_empty() {
        text.field("finish_reasons", finish_reasons);
    }
    text.attributes(attributes);
    if !resource.is_empty() {
        text.field("resource", resource);
    }
    text.raw(",\"source\":");
    let digest = text.digest();
    text.value(source);
    text.raw("}");
    (String::from_utf8(text.json).unwrap_or_default(), digest)
}

impl Text {
    fn raw(&mut self, json: &str) {
        self.json.extend_from_slice(json.as_bytes());
    }

    fn value(&mut self, value: &impl Serialize) {
        // Into memory, and with texts for keys, nothing can fail.
        let _ = serde_json::to_writer(&mut self.json, value);
    }

    fn field(&mut self, name: &str, value: &impl Serialize) {
        self.raw(",\"");
        self.raw(name);
        self.raw("\":");
        self.value(value);
    }

    fn leave_out(&mut self, begin: usize, really: bool) {
        self.left_out.extend(really.then_some(begin..self.json.len()));
    }

    fn attributes(&mut self, attributes: &BTreeMap<String, Value>) {
        if attributes.is_empty() {
            return;
        }
        let begin = self.json.len();
        self.raw(",\"attributes\":{");
        for (at, (key, value)) in attributes.iter().enumerate() {
            let begin = self.json.len();
            if at > 0 {
                self.raw(",");
            }
            let after = self.json.len();
            self.value(key);
            self.raw(":");
            self.value(value);
            if key == PRICED_KEY && at == 0 && attributes.len() > 1 {
                // The first one has its comma behind it.
                self.left_out.push(after..self.json.len() + 1);
            } else {
                self.leave_out(begin, key == PRICED_KEY);
            }
        }
        self.raw("}");
        if attributes.len() == 1 && attributes.contains_key(PRICED_KEY) {
            self.left_out.pop();
            self.leave_out(begin, true);
        }
    }

    /// The digest of what was written so far.
    fn digest(&self) -> String {
        if self.left_out.is_empty() {
            return Digest::of(&self.json).to_string();
        }
        let mut said = Vec::with_capacity(self.json.len());
        let mut from = 0;
        for range in &self.left_out {
            said.extend_from_slice(self.json.get(from..range.start).unwrap_or_default());
            from = range.end;
        }
        said.extend_from_slice(self.json.get(from..).unwrap_or_default());
        Digest::of(&said).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::{Native, Part, Source};

    /// The definition, step by step: JSON of the span without its price, cut before the source.
    fn slow(span: &Span) -> (String, String) {
        let text = serde_json::to_string(span).unwrap();
        let mut plain = span.clone();
        if plain.attributes.remove(PRICED_KEY).is_some() {
            plain.cost_usd = None;
        }
        let plain = serde_json::to_string(&plain).unwrap();
        let source = serde_json::to_string(&span.source).unwrap();
        let content = plain.strip_suffix('}').unwrap().strip_suffix(source.as_str()).unwrap();
        (text, Digest::of(content.as_bytes()).to_string())
    }

    fn full() -> Span {
        let mut span = Span::new("t\"".into(), "s".into(), SpanKind::Model, "chat \u{1f600}", 5);
        span.parent_id = Some("p".into());
        span.session_id = Some("c".into());
        span.user_id = Some("u".to_owned());
        span.end_ns = Some(9);
        span.status = SpanStatus::Error;
        span.error = Some(SpanError { kind: Some("k".to_owned()), message: None });
        span.agent = Some(AgentRef { name: Some("a".to_owned()), ..AgentRef::default() });
        span.model = Some(ModelRef { request: Some("m".to_owned()), ..ModelRef::default() });
        span.prompt = Some(PromptRef { version: Some("1".to_owned()), ..PromptRef::default() });
        let said = json!({"cost_usd": 1, "assize.cost_priced": true});
        span.tool =
            Some(ToolUse { name: "f".to_owned(), call_id: None, arguments: Some(said.clone()), result: Some(said) });
        span.messages_in = vec![Message::text("user", "a\nb")];
        span.messages_out =
            vec![Message { role: "assistant".to_owned(), parts: vec![Part::Other { value: json!(1) }] }];
        span.input = Some(json!("\"cost_usd\":0.5,"));
        span.output = Some(json!([1.5, null]));
        span.usage = Usage { input: Some(1), output: Some(2), ..Usage::default() };
        span.cost_usd = Some(0.1 + 0.2);
        span.finish_reasons = vec!["stop".to_owned()];
        span.resource = Arc::new(BTreeMap::from([("service.name".to_owned(), json!("shop"))]));
        let native = Native { platform: "p".to_owned(), trace: "t".to_owned(), span: None, project: None };
        span.source = Source { file: Some("f".to_owned()), line: Some(3), dialect: None, native: Some(native) };
        span
    }

    proptest! {
        #[test]
        fn the_text_is_the_spans_and_the_digest_is_as_defined(
            keys in proptest::collection::btree_set("[a-z.]{1,20}", 0..4), priced: bool, bare: bool, cost: bool,
        ) {
            let mut span = if bare { Span::new("t".into(), "s".into(), SpanKind::Step, "", 1) } else { full() };
            span.attributes = keys.into_iter().map(|key| (key.clone(), json!({"x": key}))).collect();
            span.cost_usd = span.cost_usd.filter(|_| cost);
            if priced {
                span.attributes.insert(PRICED_KEY.to_owned(), json!(true));
            }
            prop_assert_eq!(encode(&span), slow(&span));
        }
    }

    #[test]
    fn a_digest_of_an_older_lake_is_still_the_same() {
        let mut span = full();
        span.attributes.insert(PRICED_KEY.to_owned(), json!(true));
        let digest = "b3:940a54f142aff2c4a26300013d3ce3c665184206ac073a56b90dd993f729e72c";
        assert_eq!((encode(&span).1.as_str(), slow(&span).1.as_str()), (digest, digest));
    }
}
