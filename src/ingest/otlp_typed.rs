//! The usual form of OTLP/JSON spans, read in one pass: what the Collector and the SDKs write.
//!
//! Attributes make up nearly all of a span and become plain values here without a tree in between. Whatever is not in
//! the usual form (another spelling, an attribute of an odd type, a row that is wrong) makes [`spans`] give up, and the
//! patient reader in `otlp_json` reads the record from the beginning: this one only has to be right where it answers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::otlp_values::{attributes, double_value, integer};
use super::raw::{Attributes, RawSpan};
use super::span_json;

/// The spans of one export request; `None` when it is not in the usual form.
pub(super) fn spans(bytes: &[u8]) -> Option<Vec<RawSpan>> {
    let export: Export = serde_json::from_slice(bytes).ok()?;
    let mut spans = Vec::new();
    for group in export.resource_spans {
        let resource = attributes(group.resource.attributes, "").ok()?;
        for scoped in group.scope_spans {
            for span in scoped.spans {
                let mut raw = span_json::read_with(span.rest, Some(span.attributes), &resource).ok()?;
                span_json::keep_scope(&mut raw, &scoped.scope);
                spans.push(raw);
            }
        }
    }
    Some(spans)
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Export {
    resource_spans: Vec<Group>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group {
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    scope_spans: Vec<Scoped>,
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
struct Scoped {
    #[serde(default)]
    scope: Map<String, Value>,
    #[serde(default)]
    spans: Vec<TypedSpan>,
    #[serde(default, rename = "schemaUrl")]
    _schema_url: Option<IgnoredAny>,
}

/// A span with its attributes read and the rest as it came.
struct TypedSpan {
    attributes: Attributes,
    rest: Map<String, Value>,
}

impl<'de> Deserialize<'de> for TypedSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = TypedSpan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TypedSpan, A::Error> {
                let mut attributes: Option<Pairs> = None;
                let mut rest = Map::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == "attributes" && attributes.is_none() {
                        attributes = Some(map.next_value()?);
                    } else if rest.insert(key.into_owned(), map.next_value()?).is_some() {
                        return Err(A::Error::custom("a field occurs twice"));
                    }
                }
                Ok(TypedSpan { attributes: attributes.map(|pairs| pairs.0).unwrap_or_default(), rest })
            }
        }
        deserializer.deserialize_map(Fields)
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
                let Some(key) = map.next_key::<Cow<'de, str>>()? else { return Ok(Any(Value::Null)) };
                let value = match key.as_ref() {
                    "stringValue" => Value::String(map.next_value()?),
                    "intValue" => integer(map.next_value()?),
                    "boolValue" => Value::Bool(map.next_value()?),
                    "doubleValue" => double_value(map.next_value()?),
                    "arrayValue" => {
                        let list: AnyList = map.next_value()?;
                        list.values.into_iter().map(|value| value.0).collect()
                    }
                    "kvlistValue" => {
                        let list: PairList = map.next_value()?;
                        Value::Object(list.values.0.into_iter().collect())
                    }
                    _ => return Err(A::Error::custom("not a usual value")),
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
