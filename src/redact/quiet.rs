//! Whether a span can be left as it is, told in one look at all of its texts together: nearly every span can.
//!
//! Right only where it says yes; every other span is walked through field by field in `walk`, which decides.

use serde_json::Value;

use super::{Redactor, checks};
use crate::model::{Message, Part, Span};

/// Texts of a span, one after another, and whether a name among them tells of a secret.
struct Gathered {
    all: String,
    telling: bool,
}

impl Redactor {
    /// Whether no rule finds anything in a span beside its resource.
    pub(super) fn is_quiet(&self, span: &Span) -> bool {
        // A pattern of the user's may be bound to the ends of a text, which are not seen here; a rule about fields takes
        // out what has no pattern, a card may be a number.
        if self.fields.len() > 0 || !self.scanner.is_plain() {
            return false;
        }
        let mut gathered = Gathered { all: String::with_capacity(2048), telling: false };
        gathered.span(span);
        !gathered.telling && !gathered.all.contains("\"pass") && !self.scanner.may_find(&gathered.all)
    }
}

impl Gathered {
    fn text(&mut self, text: &str) {
        self.all.push_str(text);
        // Between two texts: what would only be found across them sends the span the long way, and is not found there.
        self.all.push('\0');
    }

    fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a String>) {
        texts.into_iter().for_each(|text| self.text(text));
    }

    fn name(&mut self, name: &str) {
        self.telling |= checks::is_telling(name);
        self.text(name);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().for_each(|item| self.value(item)),
            Value::Object(map) => {
                for (key, value) in map {
                    self.name(key);
                    // `{"key": "password", "value": "..."}` names its value beside it.
                    if let (Some(name), "key" | "name") = (value.as_str(), key.as_str()) {
                        self.telling |= checks::is_telling(name);
                    }
                    self.value(value);
                }
            }
            _ => {}
        }
    }

    fn messages(&mut self, messages: &[Message]) {
        for message in messages {
            self.text(&message.role);
            for part in &message.parts {
                match part {
                    Part::Text { content } | Part::Reasoning { content } => self.text(content),
                    Part::ToolCall { name, arguments, .. } => {
                        self.text(name);
                        self.value(arguments);
                    }
                    Part::ToolResult { result, .. } => self.value(result),
                    Part::Other { value } => self.value(value),
                }
            }
        }
    }

    fn span(&mut self, span: &Span) {
        self.text(&span.name);
        self.messages(&span.messages_in);
        self.messages(&span.messages_out);
        for value in span.input.iter().chain(&span.output) {
            self.value(value);
        }
        if let Some(tool) = &span.tool {
            self.text(&tool.name);
            tool.arguments.iter().chain(&tool.result).for_each(|value| self.value(value));
        }
        if let Some(error) = &span.error {
            self.texts(error.message.iter().chain(&error.kind));
        }
        if let Some(agent) = &span.agent {
            self.texts(agent.name.iter().chain(&agent.id).chain(&agent.version));
        }
        self.texts(&span.user_id);
        if let Some(session) = &span.session_id {
            self.text(session.as_str());
        }
        self.texts(&span.finish_reasons);
        for (key, value) in &span.attributes {
            self.name(key);
            self.value(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::{RedactAction, RedactPolicy, Redactions, SpanKind, ToolUse};

    fn any_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-z ]{0,6}",
            Just("sk-".to_owned()),
            "[A-Za-z0-9]{20,24}",
            Just("password".to_owned()),
            Just("Bearer ".to_owned()),
            Just("{\"pass\": \"x1y2z3\"}".to_owned()),
            Just("api_key=".to_owned()),
            Just("\\u0073k-".to_owned()),
            Just("://u:p4ss@h".to_owned()),
        ];
        proptest::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any_text().prop_map(Value::from), any::<u32>().prop_map(Value::from)];
        let key = prop_oneof![
            "[a-z]{1,3}",
            Just("key".to_owned()),
            Just("value".to_owned()),
            Just("p_w_d".to_owned()),
            any_text()
        ];
        leaf.prop_recursive(2, 8, 3, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map(key.clone(), inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn in_a_quiet_span_nothing_is_found(
            text in any_text(), name in any_text(), value in any_value(), other in any_value(), at in 0_usize..6,
        ) {
            let redactor = Redactor::new(&RedactPolicy::default(), None).unwrap();
            let mut span = Span::new("t".into(), "s".into(), SpanKind::Tool, "x", 1);
            match at {
                0 => span.messages_in = vec![Message::text("user", text)],
                1 => span.tool = Some(ToolUse { name: text, arguments: Some(value), result: Some(other), call_id: None }),
                2 => span.input = Some(value),
                3 => span.messages_out = vec![Message { role: text, parts: vec![Part::Other { value }] }],
                4 => span.name = text,
                _ => { span.attributes.insert(name, value); }
            }
            if redactor.is_quiet(&span) {
                let (before, mut found) = (span.clone(), Redactions::default());
                redactor.walk(&mut span, &mut found);
                prop_assert!(found.is_empty(), "{before:?}: {found:?}");
                prop_assert_eq!(span, before);
            }
        }
    }

    #[test]
    fn plain_spans_are_quiet_and_told_names_are_not() {
        let redactor = Redactor::new(&RedactPolicy::default(), None).unwrap();
        let mut span = Span::new("t".into(), "s".into(), SpanKind::Tool, "execute_tool refund", 1);
        span.messages_in = vec![Message::text("user", "Where is my order?")];
        span.attributes.insert("gen_ai.usage.input_tokens".to_owned(), json!(7));
        assert!(redactor.is_quiet(&span));
        for (key, value) in
            [("p_w_d", json!("x")), ("a", json!({"Client Secret": "x"})), ("b", json!({"key": "pwd", "value": "x"}))]
        {
            let mut span = span.clone();
            span.attributes.insert(key.to_owned(), value);
            assert!(!redactor.is_quiet(&span), "{key}");
        }
        let policy = RedactPolicy { fields: [("user_id".to_owned(), RedactAction::Drop)].into(), ..Default::default() };
        assert!(!Redactor::new(&policy, None).unwrap().is_quiet(&span));
    }
}
