//! The usual form of messages in an attribute's text, read in one pass: OpenTelemetry's `[{role, parts}]` in JSON.
//!
//! Messages make up most of a trace. Here they are read without a tree in between; whatever is not exactly in this form
//! makes [`read`] give up, and `messages` reads the text from the beginning: this one only has to be right where it
//! answers.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::model::{Message, Part};

use super::super::json::structured;
use super::messages::known_role;
use super::parts::tool_output;

/// The messages of a text and the finish reasons they carry; `None` when it is not in the usual form.
pub(super) fn read(text: &str) -> Option<(Vec<Message>, Vec<String>)> {
    let text = text.trim();
    if !text.starts_with('[') {
        return None;
    }
    let usual: Vec<Usual> = serde_json::from_str(text).ok()?;
    let mut reasons = Vec::new();
    let mut messages = Vec::with_capacity(usual.len());
    for Usual { role, parts, finish_reason } in usual {
        let known = known_role(&role);
        let role = if known == role { role } else { known.to_owned() };
        // An empty role stands for the reader's default, which is not known here.
        if role.is_empty() {
            return None;
        }
        messages.push(Message { role, parts: parts.into_iter().map(|part| part.0).collect() });
        reasons.extend(finish_reason.filter(|reason| !reason.is_empty()));
    }
    (!messages.is_empty()).then_some((messages, reasons))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Usual {
    role: String,
    parts: Vec<UsualPart>,
    #[serde(default)]
    finish_reason: Option<String>,
}

struct UsualPart(Part);

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Type,
    Content,
    Id,
    Name,
    Arguments,
    Response,
    Result,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Text,
    Reasoning,
    ToolCall,
    ToolCallResponse,
}

/// What of a part was met, whatever its kind.
#[derive(Default)]
struct Met {
    kind: Option<Kind>,
    content: Option<String>,
    id: Option<Option<String>>,
    name: Option<String>,
    arguments: Option<Value>,
    result: Option<Value>,
}

impl Met {
    /// The part, when what was met is all that its kind has and nothing else.
    fn part(self) -> Option<Part> {
        let Self { kind, content, id, name, arguments, result } = self;
        let called = id.is_some() || name.is_some() || arguments.is_some() || result.is_some();
        Some(match kind? {
            Kind::Text if !called => Part::Text { content: content? },
            Kind::Reasoning if !called => Part::Reasoning { content: content? },
            Kind::ToolCall if content.is_none() && result.is_none() => {
                let arguments = arguments.map(structured).unwrap_or_default();
                Part::ToolCall { id: id.flatten(), name: name?, arguments }
            }
            Kind::ToolCallResponse if content.is_none() && name.is_none() && arguments.is_none() => {
                Part::ToolResult { id: id.flatten(), result: tool_output(result?) }
            }
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for UsualPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = UsualPart;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a part")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UsualPart, A::Error> {
                let mut met = Met::default();
                while let Some(field) = map.next_key::<Field>()? {
                    // A field that occurs twice is not the usual form.
                    let again = match field {
                        Field::Type => met.kind.replace(map.next_value()?).is_some(),
                        Field::Content => met.content.replace(map.next_value()?).is_some(),
                        Field::Id => met.id.replace(map.next_value()?).is_some(),
                        Field::Name => met.name.replace(map.next_value()?).is_some(),
                        Field::Arguments => met.arguments.replace(map.next_value()?).is_some(),
                        Field::Response | Field::Result => met.result.replace(map.next_value()?).is_some(),
                    };
                    if again {
                        return Err(A::Error::custom("a field occurs twice"));
                    }
                }
                met.part().map(UsualPart).ok_or_else(|| A::Error::custom("not a usual part"))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::messages;
    use super::*;

    fn any_part() -> impl Strategy<Value = Value> {
        let kind = prop_oneof!["text", "reasoning", "tool_call", "tool_call_response", "blob"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-z {}\\[\\]\"0-9]{0,8}".prop_map(Value::from),
            Just(json!("{\"a\": 1}")),
            Just(json!({"type": "json", "value": "[1]"})),
        ];
        let keys = prop_oneof!["content", "id", "name", "arguments", "response", "result", "text"];
        (kind, proptest::collection::btree_map(keys, leaf, 0..4)).prop_map(|(kind, fields)| {
            let mut part: serde_json::Map<String, Value> = fields.into_iter().collect();
            part.insert("type".to_owned(), Value::from(kind));
            Value::Object(part)
        })
    }

    fn any_message() -> impl Strategy<Value = Value> {
        let role = prop_oneof![Just("user"), Just("assistant"), Just("model"), Just("tool"), Just("")];
        let reason = proptest::option::of(prop_oneof![Just(json!("stop")), Just(json!("")), Just(Value::Null)]);
        (role, proptest::collection::vec(any_part(), 0..4), reason, any::<bool>()).prop_map(
            |(role, parts, reason, named)| {
                let mut message = json!({"role": role, "parts": parts});
                if let Some(reason) = reason {
                    message["finish_reason"] = reason;
                }
                if named {
                    message["name"] = json!("x");
                }
                message
            },
        )
    }

    #[test]
    fn the_usual_form_is_read_and_others_are_left() {
        let text = r#" [{"role":"model","parts":[{"type":"text","content":"a\n\"b\""},{"type":"tool_call","id":"c",
            "name":"f","arguments":"{\"x\":1}"}],"finish_reason":"stop"}]"#;
        let (found, reasons) = read(text).unwrap();
        assert_eq!(found[0].role, "assistant");
        assert_eq!(found[0].parts[0], Part::Text { content: "a\n\"b\"".to_owned() });
        let call = Part::ToolCall { id: Some("c".to_owned()), name: "f".to_owned(), arguments: json!({"x": 1}) };
        assert_eq!((&found[0].parts[1], reasons), (&call, vec!["stop".to_owned()]));
        for other in ["[]", "x", "{}", r#"[{"role":"user","content":"x"}]"#, r#"[{"role":"user","parts":[{}]}]"#] {
            assert!(read(other).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn where_it_answers_it_says_what_the_patient_reader_says(
            all in proptest::collection::vec(any_message(), 0..4)
        ) {
            let value = Value::from(all);
            if let Some((found, reasons)) = read(&value.to_string()) {
                prop_assert_eq!(Some(found), messages::read(&value, "nobody"));
                prop_assert_eq!(reasons, messages::finish_reasons(&value));
            }
        }
    }
}
