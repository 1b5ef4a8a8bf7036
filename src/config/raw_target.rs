//! What may be written about a thing under test: its kind, what stands around it, and variants of it.
//!
//! Part of the shape of `assize.toml`; what the values mean together is checked in `variants` and `validate`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::sys::SecretText;

/// A thing under test.
#[derive(Clone, Debug, JsonSchema)]
pub struct RawTarget {
    /// `recorded`, `http`, `command` or `prompt`.
    pub kind: String,
    /// What stands around it.
    #[serde(flatten)]
    pub around: RawAround,
    /// Options of that kind: see `assize schema target.KIND`.
    #[serde(flatten)]
    pub options: Map<String, Value>,
    /// As it was written, for variants of it.
    #[serde(skip)]
    pub written: Map<String, Value>,
}

impl RawTarget {
    /// Reads one; the error names the key.
    pub(super) fn read(written: &Map<String, Value>) -> Result<Self, String> {
        let mut options = written.clone();
        let kind = match options.remove("kind") {
            Some(Value::String(kind)) => kind,
            _ => return Err("`kind` must be a text such as `command`".to_owned()),
        };
        let own = ["timeout", "attempts", "collect", "hooks", "isolate", "conversation"];
        let mut around = Map::new();
        for key in own {
            if let Some(value) = options.remove(key) {
                let one = Map::from_iter([(key.to_owned(), value.clone())]);
                // One by one, so that the error can name the key.
                RawAround::deserialize(Value::Object(one)).map_err(|error| format!("`{key}`: {error}"))?;
                around.insert(key.to_owned(), value);
            }
        }
        let around = RawAround::deserialize(Value::Object(around)).map_err(|error| error.to_string())?;
        Ok(Self { kind, around, options, written: written.clone() })
    }
}

impl<'de> Deserialize<'de> for RawTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// What may stand around a target of any kind.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct RawAround {
    /// Time limit of one attempt, such as `90s`; of one turn, where the trial is a conversation. Default `60s`. A
    /// `prompt` keeps that of its provider.
    pub timeout: Option<String>,
    /// Most attempts of one trial. Default 5.
    pub attempts: Option<u32>,
    /// Receive the spans that the target sends over OTLP: `true`, or `{ address = "127.0.0.1:4318", grace = "2s" }`. It
    /// is told where by `OTEL_EXPORTER_OTLP_ENDPOINT`, or by the address, and which trace by `TRACEPARENT` or the header.
    pub collect: Option<RawCollect>,
    /// Commands around the run and around each trial.
    pub hooks: Option<RawHooks>,
    /// Give each trial a folder of its own, told by `ASSIZE_FOLDER` and removed afterwards. Hooks around trials imply it.
    pub isolate: Option<bool>,
    /// The trial is a conversation of several turns.
    pub conversation: Option<RawConversation>,
}

/// Whether and where spans are received.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawCollect {
    /// On any free port.
    Wanted(bool),
    /// Where.
    At(RawCollectAt),
}

/// Where spans are received.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCollectAt {
    /// Address to listen on. Default: a free port of this machine, `127.0.0.1:0`.
    pub address: Option<String>,
    /// How long late spans are waited for. Default `2s`.
    pub grace: Option<String>,
}

/// Commands around a run and around each trial: program and arguments, no shell, in the folder of the configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHooks {
    /// Once before the first trial; when it fails, the run does not begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_up: Option<Vec<String>>,
    /// Before each attempt of a trial; when it fails, the trial has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_each: Option<Vec<String>>,
    /// After each attempt of a trial, however it ended; when it fails, the trial has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_each: Option<Vec<String>>,
    /// Once after the last trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tear_down: Option<Vec<String>>,
    /// Time limit of one hook. Default `60s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Further variables: name to text, or to `{ env = "NAME" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, SecretText>,
    /// Variables passed on as they are, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_env: Vec<String>,
}

impl RawHooks {
    /// The hooks by name.
    pub fn lines(&self) -> [(&'static str, Option<&Vec<String>>); 4] {
        [
            ("set_up", self.set_up.as_ref()),
            ("before_each", self.before_each.as_ref()),
            ("after_each", self.after_each.as_ref()),
            ("tear_down", self.tear_down.as_ref()),
        ]
    }
}

/// A conversation as one trial. Without a model, what the user says stands in the example: `turns`, or messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConversation {
    /// Model that plays the user: a name from `[models]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who the user is and what they want; a template over the example. Default: they want its input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Most turns of the user. Default 10.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// What the playing model says when it is done. Default `[DONE]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Texts in a reply of the target that end the conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until: Vec<String>,
}

/// A target with something set otherwise.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawVariant {
    /// The target, or the variant, that it is like.
    pub extends: String,
    /// What differs: keys of the target; tables are merged key by key, everything else is replaced.
    #[serde(default)]
    pub set: Map<String, Value>,
}

/// A target with each combination of the values of some settings: `NAME-VALUE-VALUE`, the settings in the order of
/// their names.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMatrix {
    /// The target, or the variant, that they are like.
    pub extends: String,
    /// Settings with their values: a key of the target, deeper ones with dots (`"env.MODEL"`).
    #[schemars(extend("minProperties" = 1))]
    pub axes: BTreeMap<String, Vec<Value>>,
}
