//! Datasets: examples, where they come from, and by which design they were sampled.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Digest, ExampleId, Operation, Output, Parent, SampleDesign, Splits, TraceId};

/// What is recorded for an example: the output of one variant of the application in one trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recorded {
    /// Which version or configuration made it (an agent version, a model, a prompt); absent when there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Trial number, from 0.
    #[serde(default)]
    pub trial: u32,
    /// What came out.
    pub output: Output,
}

/// A finding of a person about one example, or about one output recorded for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// What was asked, usually the name of a judge.
    pub name: String,
    /// What the person said.
    pub value: Value,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotator: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Variant of the recorded output that was looked at; absent when the variant has no name, or when the label is
    /// about the example itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Trial of that output; absent when the label is about the example itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u32>,
}

impl Label {
    /// Whether two labels answer the same question about the same thing by the same person: the later replaces the
    /// earlier.
    pub fn replaces(&self, other: &Self) -> bool {
        (&self.name, &self.annotator, &self.variant, self.trial)
            == (&other.name, &other.annotator, &other.variant, other.trial)
    }
}

/// A tool call the agent should make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedCall {
    /// Name of the tool, case-sensitive.
    pub name: String,
    /// Arguments the call must contain; any will do when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Map<String, Value>>,
}

/// A file that belongs to the input (an image, a document): kept once per dataset, found by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attachment {
    /// Name for people and templates; never a path.
    pub name: String,
    /// Media type, such as `image/png`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub bytes: u64,
}

/// Where an example comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lineage {
    /// Traces it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<TraceId>,
    /// Digest of what each of them said when it was read, in the same order: late spans change it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<Digest>,
    /// Why the sampling design chose it, as a word of its decisions (`rate`, `rule`, `risk`, ...).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_by: Option<String>,
    /// Near-duplicates it stands for beside itself, the first of them by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<ExampleId>,
    /// File it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// One-based line or row in that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// One input of a dataset, perhaps with a reference, perhaps with recorded outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Example {
    /// Unique in the dataset, stable across versions.
    pub id: ExampleId,
    /// What is put to the target: text as a JSON string, or structured (messages, variables).
    pub input: Value,
    /// The expected answer, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Value>,
    /// Tool calls the agent should make, in their order. An empty list says that it should make none; absent says
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_calls: Option<Vec<ExpectedCall>>,
    /// Files that belong to the input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Dimensions to slice by (`intent`, `language`, `tier`): name to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
    /// Marks that people or filters set (`hard`, `reviewed`); no part of the task, so that runs before and after a
    /// tagging can be compared.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Split it stands in (`holdout`, `dev`, `train`); no part of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Examples that share a cluster are not independent (a session, a user, a repository).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Stratum of the sampling design.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stratum: Option<String>,
    /// Probability with which the design chose it, in (0, 1]; absent when it was not sampled. Where it stands for
    /// near-duplicates, the chance of being the one that stands for them is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion_probability: Option<f64>,
    /// How many near-duplicates of the population it stands for, itself included; absent when it is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub represents: Option<u64>,
    /// Outputs that are already there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recorded: Vec<Recorded>,
    /// What people said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// What else is known, for templates and scorers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
    /// Where it comes from.
    #[serde(default)]
    pub lineage: Lineage,
}

impl Example {
    /// An example with an id and an input and nothing else.
    pub fn new(id: ExampleId, input: Value) -> Self {
        Self {
            id,
            input,
            reference: None,
            expected_calls: None,
            attachments: Vec::new(),
            dimensions: BTreeMap::new(),
            tags: BTreeSet::new(),
            split: None,
            cluster: None,
            stratum: None,
            inclusion_probability: None,
            represents: None,
            recorded: Vec::new(),
            labels: Vec::new(),
            metadata: BTreeMap::new(),
            lineage: Lineage::default(),
        }
    }

    /// The sampling weight: the inverse inclusion probability, 1 when the example was not sampled.
    pub fn weight(&self) -> f64 {
        match self.inclusion_probability {
            Some(probability) if probability > 0.0 && probability <= 1.0 => 1.0 / probability,
            _ => 1.0,
        }
    }

    /// Whether it was chosen for diversity: by a rule that gives nobody a probability, and so no weight.
    pub fn is_diverse(&self) -> bool {
        self.lineage.chosen_by.as_deref() == Some("diverse")
    }

    /// The unit that is independent of others: the named cluster, or the example itself.
    pub fn cluster_key(&self) -> &str {
        self.cluster.as_deref().unwrap_or(self.id.as_str())
    }

    /// What findings are sliced by: its dimensions, and each tag as `tag.NAME` = `yes`.
    pub fn slice_dimensions(&self) -> BTreeMap<String, String> {
        let tags = self.tags.iter().map(|tag| (format!("tag.{tag}"), "yes".to_owned()));
        self.dimensions.clone().into_iter().chain(tags).collect()
    }

    /// The input as text: a JSON string unquoted, anything else as JSON.
    pub fn input_text(&self) -> String {
        match &self.input {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The head of one immutable dataset version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetHeader {
    /// Format version of the dataset files; 1 today.
    pub format: u32,
    /// Name: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Version, from 1.
    pub version: u32,
    /// Part of the version that is meant, a split or a saved slice; absent for the whole. Never written to a file:
    /// digests and counts are then those of the part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Digest of everything that defines the task: ids, inputs, references, expected calls, attachments, dimensions,
    /// clusters, weights. Recorded outputs, labels, tags and splits are left out, so that two runs on recordings of two
    /// variants share it.
    pub digest: Digest,
    /// Digest of recorded outputs, labels, tags and splits.
    pub recorded_digest: Digest,
    /// How many examples.
    pub examples: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it comes from: files or the lake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// How it was sampled; absent when it was taken whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design: Option<SampleDesign>,
    /// Variants that have recorded outputs, with how many examples each covers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<String, u64>,
    /// How examples are divided into splits; absent when they are not, or when the rows said it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splits: Option<Splits>,
    /// Saved slices: name to filter expression.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slices: BTreeMap<String, String>,
    /// Version it was made from; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// What was done to make it; absent in versions written before histories were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
}

impl DatasetHeader {
    /// `name@version`, with `:part` when only a part is meant.
    pub fn reference(&self) -> String {
        match &self.part {
            Some(part) => format!("{}@{}:{part}", self.name, self.version),
            None => format!("{}@{}", self.name, self.version),
        }
    }
}
