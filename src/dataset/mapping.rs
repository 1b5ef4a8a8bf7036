//! The field mapping: which field of a foreign row is what in an example.
//!
//! Only its shape, as it stands in TOML or JSON; `extract` carries it out. What belongs to the example (input,
//! reference, dimensions, cluster, metadata, labels) must be the same in every row with the same id; what belongs
//! to the recording (output, trial, variant, cost, latency, output metadata) may differ from row to row.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Which field of a row is what. Paths are names, dotted paths (`info.task.user_id`) or JSON pointers
/// (`/info/task/user_id`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldMapping {
    /// JSON pointer to the list of rows in a JSON file whose root is an object: `/data/examples`. An object there is
    /// one row, so `rows = ""` takes each file of a folder as one row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// Further files whose rows belong to rows of this one, such as labels kept apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<OneOrMany<JoinRule>>,
    /// Which rows to take; a row must meet every condition.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<OneOrMany<RowFilter>>,
    /// Id of the example; rows with the same id are merged. Without it: usual names, else a digest of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FieldRef>,
    /// Input. Without it: usual names (`input`, `question`, `prompt`, ...).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<FieldRef>,
    /// Expected answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<FieldRef>,
    /// Independent unit that several examples share: a session, a user, a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<FieldRef>,
    /// Dimensions to slice by: name to field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, FieldRef>,
    /// Further facts about the example, for templates and scorers: name to field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, FieldRef>,
    /// Findings of people: name (usually of a judge) to one field, or to a list with one field per annotator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, OneOrMany<LabelRef>>,
    /// Recorded output. Without it, where `messages` is mapped: the last text of the assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<FieldRef>,
    /// Recorded dialogue in the chat format of OpenAI; becomes the output's trace, so that tool scorers work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<MessagesRef>,
    /// Which version or configuration made the recorded output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<FieldRef>,
    /// Trial number of the recorded output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<FieldRef>,
    /// Numbers repeated rows of one id and variant as trials 0, 1, 2 in the order of the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub number_trials: bool,
    /// Money the recorded output cost, US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<FieldRef>,
    /// Milliseconds the recorded output took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<FieldRef>,
    /// Tokens read for the recorded output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<FieldRef>,
    /// Tokens written for the recorded output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<FieldRef>,
    /// Further facts about the recorded output (a reward, a status): name to field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub output_metadata: BTreeMap<String, FieldRef>,
}

impl FieldMapping {
    /// Whether the mapping describes recorded outputs at all.
    pub fn has_recording(&self) -> bool {
        let single = [
            &self.output,
            &self.variant,
            &self.trial,
            &self.cost,
            &self.latency_ms,
            &self.input_tokens,
            &self.output_tokens,
        ];
        self.number_trials
            || self.messages.is_some()
            || !self.output_metadata.is_empty()
            || single.into_iter().any(Option::is_some)
    }
}

/// A field: a bare path, or a rule.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum FieldRef {
    /// A path.
    Path(String),
    /// A path with a regular expression, several fields as one object, or a fixed value.
    Rule(Box<FieldRule>),
}

/// The long form of a field. Exactly one of `field`, `fields` and `value` is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldRule {
    /// Path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Several fields gathered into one object: name to field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, FieldRef>,
    /// A fixed value for every row, such as the variant that a whole file was recorded with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Regular expression on the field's text; its first group, else the whole match, is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Added to the field's whole number, which may be written as text: `-1` turns steps counted from 1 into places
    /// counted from 0, and `0` makes a number of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Rows without the field are taken without it instead of being rejected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl From<&str> for FieldRef {
    fn from(path: &str) -> Self {
        Self::Path(path.to_owned())
    }
}

/// A finding of a person: a bare path, or a rule.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LabelRef {
    /// A path.
    Path(String),
    /// A field with who said it and why.
    Rule(Box<LabelRule>),
}

/// The long form of a label: a field with who said it and why, perhaps for each element of a list. Exactly one of
/// `field`, `fields` and `value` is given.
// The fields of a field rule stand here again: serde cannot flatten a shared struct and still refuse unknown keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelRule {
    /// Path of a list whose elements give one label each, such as the failed steps of a dialogue. The paths of this
    /// rule are then paths within an element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// Path of what was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Several fields as one object, such as step, agent and category of a failure: name to field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, FieldRef>,
    /// A fixed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// As in a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// As in a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Rows without the field have no such label.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Why it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FieldRef>,
    /// Who said it; `{ value = "..." }` where the data do not say. Without it, the field's path stands for the
    /// annotator where a label has several fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotator: Option<FieldRef>,
}

/// A recorded dialogue: a bare path, or a rule.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum MessagesRef {
    /// A path of messages in the chat format of OpenAI.
    Path(String),
    /// Turns in another form.
    Rule(Box<MessagesRule>),
}

/// A dialogue whose turns are not written in the chat format of OpenAI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagesRule {
    /// Path of the list of turns.
    pub field: String,
    /// Field of a turn that says who speaks; `role` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Field of a turn that holds what was said; `content` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Field of a turn that names the agent or tool; `name` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What each speaker is in a chat: `user`, `assistant`, `tool` or `system`; `"*"` is everyone else. Without it
    /// speakers are roles already.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, String>,
    /// Rows without the dialogue are taken without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// A second file whose rows belong to rows of the first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRule {
    /// The file, beside the one that is imported.
    pub file: String,
    /// Name under which the second file's row stands in the first file's: paths begin with it.
    #[serde(rename = "as")]
    pub name: String,
    /// Field of the first file's rows that is looked up.
    pub key: String,
    /// Field of the second file's rows that must equal it; the same as `key` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// As `rows` of the mapping, for the second file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// Several rows may match and stand there as a list; without it a second match is an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub many: bool,
    /// Rows without a match are taken without it instead of being rejected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Reads a bare path, or a rule in the form of a table. Derived as untagged it would answer every mistake inside with
/// "did not match any variant" and hide which key was wrong.
struct PathOr<R, T> {
    expecting: &'static str,
    of_path: fn(String) -> T,
    of_rule: fn(R) -> T,
}

impl<'de, R: Deserialize<'de>, T> Visitor<'de> for PathOr<R, T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<T, E> {
        Ok((self.of_path)(path.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        R::deserialize(MapAccessDeserializer::new(map)).map(self.of_rule)
    }
}

impl<'de> Deserialize<'de> for FieldRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathOr {
            expecting: "a field path, or a table with `field`, `fields` or `value`",
            of_path: Self::Path,
            of_rule: |rule: FieldRule| Self::Rule(Box::new(rule)),
        })
    }
}

impl<'de> Deserialize<'de> for LabelRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathOr {
            expecting: "a field path, or a table with `field`, `fields` or `value`",
            of_path: Self::Path,
            of_rule: |rule: LabelRule| Self::Rule(Box::new(rule)),
        })
    }
}

impl<'de> Deserialize<'de> for MessagesRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathOr {
            expecting: "a field path, or a table with `field`",
            of_path: Self::Path,
            of_rule: |rule: MessagesRule| Self::Rule(Box::new(rule)),
        })
    }
}

/// One condition on a row. Exactly one of `equals`, `not_equals` and `in` is given; numbers, booleans and texts are
/// compared by their text, so that CSV and JSON behave alike. A row without the field does not meet the condition,
/// except for `not_equals`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowFilter {
    /// Path.
    pub field: String,
    /// The value it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// The value it must not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_equals: Option<Value>,
    /// The values it may have.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub among: Option<Vec<Value>>,
}

/// One thing, or a list of them.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// All of them.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

// Written out instead of derived as untagged: the derived form answers every mistake inside with "did not match any
// variant" and hides which key was wrong.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Form<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("one entry or a list of entries")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::StrDeserializer::new(text)).map(OneOrMany::One)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OneOrMany::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut many = Vec::new();
                while let Some(item) = items.next_element()? {
                    many.push(item);
                }
                Ok(OneOrMany::Many(many))
            }
        }
        deserializer.deserialize_any(Form(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        rows = "/data"
        id = "task_id"
        input = { fields = { instruction = "instruction", text = { field = "input", optional = true } } }
        reference = "info.task.actions"
        cluster = { field = "instance_id", regex = "^(.*)__" }
        messages = "traj"
        variant = { value = "gpt-4o" }
        trial = "trial"
        cost = "cost"
        where = { field = "name", in = ["GPT-5", "GPT-4"] }
        [dimensions]
        user = "info.task.user_id"
        [output_metadata]
        reward = "reward"
        [labels]
        preference = ["annotator1", "annotator2"]
        task_completion = "human_label"
        failure = { each = "note.failures", fields = { step = { field = "n", offset = -1 } }, reason = "why" }
        [[join]]
        file = "labels.json"
        as = "note"
        key = "task_id"
        on = "trajectory_id"
    "#;

    #[test]
    fn toml_is_read_and_written_without_loss() {
        let mapping: FieldMapping = toml::from_str(FULL).unwrap();
        assert!(mapping.has_recording());
        assert_eq!(mapping.labels["preference"].as_slice().len(), 2);
        assert_eq!(mapping.filter.as_ref().unwrap().as_slice()[0].among.as_ref().unwrap().len(), 2);
        let again: FieldMapping = toml::from_str(&toml::to_string(&mapping).unwrap()).unwrap();
        assert_eq!(again, mapping);
        let json: FieldMapping = serde_json::from_str(&serde_json::to_string(&mapping).unwrap()).unwrap();
        assert_eq!(json, mapping);
    }

    #[test]
    fn an_unknown_key_is_named_wherever_it_stands() {
        let top = toml::from_str::<FieldMapping>("refrence = 'a'").unwrap_err().to_string();
        assert!(top.contains("refrence"), "{top}");
        let inner = toml::from_str::<FieldMapping>("input = { feild = 'a' }").unwrap_err().to_string();
        assert!(inner.contains("feild"), "{inner}");
        let filter = toml::from_str::<FieldMapping>("where = { field = 'a', equal = 1 }").unwrap_err().to_string();
        assert!(filter.contains("equal"), "{filter}");
    }

    #[test]
    fn the_schema_accepts_the_mapping() {
        let schema = serde_json::to_value(schemars::schema_for!(FieldMapping)).unwrap();
        let mapping: FieldMapping = toml::from_str(FULL).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&serde_json::to_value(&mapping).unwrap()));
        assert!(!validator.is_valid(&serde_json::json!({"input": {"feild": "x"}})));
    }
}
