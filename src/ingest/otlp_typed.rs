//! The usual form of OTLP/JSON spans, read in one pass: what the Collector and the SDKs write.
//!
//! Attributes make up nearly all of a span and become plain values here without a tree in between. Whatever is not in
//! the usual form (another spelling, an attribute of an odd type, a row that is wrong) makes [`spans`] give up, and the
//! patient reader in `otlp_json` reads the record from the beginning: this one only has to be right where it answers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::model::SpanStatus;

use super::dialect::flatten;
use super::otlp_values::{attributes, double_value, integer};
use super::raw::{Attributes, RawSpan};
use super::{ids, span_json};

/// The spans of one export request; `None` when it is not in the usual form.
pub(super) fn spans(bytes: &[u8]) -> Option<Vec<RawSpan>> {
    let export: Export<'_> = serde_json::from_slice(bytes).ok()?;
    let mut spans = Vec::new();
    for group in export.resource_spans {
        let resource = Arc::new(attributes(group.resource.attributes, "").ok()?);
        for scoped in group.scope_spans {
            for span in scoped.spans {
                let mut raw = span.raw(&resource)?;
                span_json::keep_scope(&mut raw, &scoped.scope);
                spans.push(raw);
            }
        }
    }
    Some(spans)
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Export<'a> {
    #[serde(borrow)]
    resource_spans: Vec<Group<'a>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group<'a> {
    #[serde(default)]
    resource: Resource,
    #[serde(default, borrow)]
    scope_spans: Vec<Scoped<'a>>,
    #[serde(default, rename = "schemaUrl")]
    _schema_url: Option<IgnoredAny>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resource {
    #[serde(default)]
    attributes: Option<Value>,
    #[serde(default, rename = "droppedAttributesCount")]
    _dropped: Option<IgnoredAny>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scoped<'a> {
    #[serde(default)]
    scope: Map<String, Value>,
    #[serde(default, borrow)]
    spans: Vec<TypedSpan<'a>>,
    #[serde(default, rename = "schemaUrl")]
    _schema_url: Option<IgnoredAny>,
}

/// A span as its fields spell it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TypedSpan<'a> {
    #[serde(borrow)]
    trace_id: Word<'a>,
    #[serde(borrow)]
    span_id: Word<'a>,
    #[serde(default, borrow)]
    parent_span_id: Word<'a>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: Option<Value>,
    #[serde(borrow)]
    start_time_unix_nano: Word<'a>,
    #[serde(default, borrow)]
    end_time_unix_nano: Word<'a>,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    attributes: Option<Pairs>,
    #[serde(default)]
    events: Option<Value>,
    #[serde(default)]
    links: Option<Value>,
    #[serde(default)]
    trace_state: Option<Value>,
    #[serde(default)]
    dropped_attributes_count: Option<Value>,
    #[serde(default)]
    dropped_events_count: Option<Value>,
    #[serde(default)]
    dropped_links_count: Option<Value>,
    #[serde(default, rename = "flags")]
    _flags: Option<IgnoredAny>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    #[serde(default)]
    code: Option<Value>,
    #[serde(default)]
    message: Option<String>,
}

impl TypedSpan<'_> {
    /// The same without meaning; `None` when something is not in the usual form.
    fn raw(self, resource: &Arc<Attributes>) -> Option<RawSpan> {
        let parent = self.parent_span_id.0;
        let mut raw = RawSpan {
            trace_id: ids::usual(&self.trace_id.0, 16)?,
            span_id: ids::usual(&self.span_id.0, 8)?,
            parent_id: if parent.is_empty() { None } else { Some(ids::usual(&parent, 8)?) },
            name: self.name,
            start_ns: nanos(&self.start_time_unix_nano.0)?,
            end_ns: match &*self.end_time_unix_nano.0 {
                "" => None,
                text => Some(nanos(text)?),
            },
            status: self.status.code.as_ref().map_or(SpanStatus::Unset, span_json::status_code),
            status_message: self.status.message.filter(|message| !message.trim().is_empty()),
            attributes: flatten(self.attributes.map(|pairs| pairs.0).unwrap_or_default()),
            resource: Arc::clone(resource),
            ..RawSpan::default()
        };
        span_json::keep_kind(&mut raw, self.kind.as_ref());
        let mut rest = Map::new();
        for (key, value) in [
            ("events", self.events),
            ("links", self.links),
            ("traceState", self.trace_state),
            ("droppedAttributesCount", self.dropped_attributes_count),
            ("droppedEventsCount", self.dropped_events_count),
            ("droppedLinksCount", self.dropped_links_count),
        ] {
            if let Some(value) = value {
                rest.insert(key.to_owned(), value);
            }
        }
        span_json::rest(&mut rest, &mut raw).ok()?;
        Some(raw)
    }
}

/// Nanoseconds since 1970 in digits; anything else is for the patient reader.
fn nanos(text: &str) -> Option<i64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|nanos| plain && *nanos > 0)
}

/// A text that is looked at and not kept: a part of the record where it stands there without escapes.
#[derive(Default)]
struct Word<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Word<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Word<'de>, E> {
                Ok(Word(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word<'de>, E> {
                Ok(Word(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A list of `{key, value}`.
struct Pairs(Attributes);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of attributes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs, A::Error> {
                let mut pairs = Attributes::new();
                while let Some(pair) = seq.next_element::<Pair>()? {
                    pairs.insert(pair.key, pair.value.map_or(Value::Null, |value| value.0));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    key: String,
    #[serde(default)]
    value: Option<Any>,
}

/// An `AnyValue` as plain JSON.
struct Any(Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Any;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute's value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
                let Some(kind) = map.next_key::<Kind>()? else { return Ok(Any(Value::Null)) };
                let value = match kind {
                    Kind::String => Value::String(map.next_value()?),
                    Kind::Int => integer(map.next_value()?),
                    Kind::Bool => Value::Bool(map.next_value()?),
                    Kind::Double => double_value(map.next_value()?),
                    Kind::Array => {
                        let list: AnyList = map.next_value()?;
                        list.values.into_iter().map(|value| value.0).collect()
                    }
                    Kind::Kvlist => {
                        let list: PairList = map.next_value()?;
                        Value::Object(list.values.0.into_iter().collect())
                    }
                };
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(Any(value)),
                    Some(_) => Err(A::Error::custom("more than one value")),
                }
            }
        }
        deserializer.deserialize_map(One)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier)]
enum Kind {
    #[serde(rename = "stringValue")]
    String,
    #[serde(rename = "intValue")]
    Int,
    #[serde(rename = "boolValue")]
    Bool,
    #[serde(rename = "doubleValue")]
    Double,
    #[serde(rename = "arrayValue")]
    Array,
    #[serde(rename = "kvlistValue")]
    Kvlist,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyList {
    values: Vec<Any>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PairList {
    values: Pairs,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::otlp_json::patient;
    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[ -~é\u{1f600}]{0,12}".prop_map(|text| json!({"stringValue": text})),
            any::<i64>().prop_map(|number| json!({"intValue": number.to_string()})),
            any::<i32>().prop_map(|number| json!({"intValue": number})),
            any::<bool>().prop_map(|flag| json!({"boolValue": flag})),
            (-1e9..1e9).prop_map(|number: f64| json!({"doubleValue": number})),
            Just(json!({"doubleValue": "NaN"})),
            Just(json!({"bytesValue": "AAE="})),
            Just(json!({"stringValue": 5})),
            Just(json!({})),
            Just(Value::Null),
            Just(json!("bare")),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|list| json!({"arrayValue": {"values": list}})),
                proptest::collection::vec(("[a-c]", inner), 0..4).prop_map(|list| {
                    let pairs: Vec<Value> =
                        list.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
                    json!({"kvlistValue": {"values": pairs}})
                }),
            ]
        })
    }

    fn any_span() -> impl Strategy<Value = Value> {
        let ids = prop_oneof![Just("5B8EFFF798038103D269B633813FC60C"), Just("S+3qd7szucXygDceriHplw=="), Just("bad")];
        let keys = prop_oneof![Just("gen_ai.operation.name"), Just("llm.input_messages.0.message.role"), Just("a.b")];
        let pairs = proptest::collection::vec((keys, any_value()), 0..5);
        (ids, pairs, any::<bool>(), "[0-9a-f]{16}").prop_map(|(trace, pairs, more, span)| {
            let attributes: Vec<Value> =
                pairs.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
            let mut made = json!({"traceId": trace, "spanId": span, "name": "x", "kind": 3, "flags": 1,
                "startTimeUnixNano": "1795248000100000000", "attributes": attributes});
            if more {
                made["endTimeUnixNano"] = json!(1_795_248_000_900_000_000_i64);
                made["status"] = json!({"code": 2, "message": "broken"});
                made["events"] = json!([{"name": "e", "timeUnixNano": "5", "attributes": []}]);
                made["links"] = json!([{"traceId": trace, "spanId": span}]);
                made["traceState"] = json!("ot=th:8");
                made["droppedAttributesCount"] = json!(2);
            }
            made
        })
    }

    #[test]
    fn the_usual_form_is_read_and_others_are_left() {
        let usual = json!({"resourceSpans": [{"resource": {"attributes": [{"key": "service.name",
            "value": {"stringValue": "shop"}}]}, "scopeSpans": [{"scope": {"name": "s", "version": "1"}, "spans": [
            {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "b2b2b2b2b2b2b2b2", "name": "chat",
            "startTimeUnixNano": "1", "attributes": [{"key": "n", "value": {"intValue": "7"}}]}]}]}]});
        let read = spans(usual.to_string().as_bytes()).unwrap();
        assert_eq!(
            (read.len(), &read[0].attributes["n"], &read[0].resource["service.name"]),
            (1, &json!(7), &json!("shop"))
        );
        assert_eq!(read[0].attributes["otel.scope.name"], json!("s"));
        for other in [r#"{"resource_spans": []}"#, "[]", r#"{"resourceSpans": [], "resourceLogs": []}"#, "{", "{}"] {
            assert!(spans(other.as_bytes()).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn where_it_answers_it_says_what_the_patient_reader_says(
            groups in proptest::collection::vec(proptest::collection::vec(any_span(), 0..3), 0..3),
        ) {
            let groups: Vec<Value> = groups.into_iter().map(|spans| json!({"resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "shop"}}]}, "schemaUrl": "x",
                "scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]})).collect();
            let text = json!({"resourceSpans": groups}).to_string();
            if let Some(read) = spans(text.as_bytes()) {
                prop_assert_eq!(Ok(read), patient(text.as_bytes()));
            }
        }
    }
}
