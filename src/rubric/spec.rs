//! The checked meaning of a judge's folder: criterion, scale, inputs, limits, model defaults.
//!
//! Made only by [`JudgeSpec::parse`]; which model is asked, and with what key, is not part of it.

use std::fmt;

use serde_json::{Value, json};

use super::calibration::CalibrationExample;
use super::template::MaterialTemplate;
use crate::model::{Digest, Digester, Direction, Scale};
use crate::sys::text;

/// One kind of material a judge can ask for.
#[derive(Clone, Copy, Debug)]
pub struct InputRow {
    /// Name in `inputs` and `optional_inputs`, and the placeholder in `prompt.md`.
    pub name: &'static str,
    /// What it holds.
    pub summary: &'static str,
    /// Caption in a prompt whose author wrote none.
    pub caption: &'static str,
}

/// All kinds of material, in the order in which a prompt without a `# Material` part shows them: context first, the
/// reference next, what is under test last. `metadata.NAME` and `dimensions.NAME` come besides.
pub const INPUTS: &[InputRow] = &[
    InputRow {
        name: "instructions",
        summary: "standing instructions the agent worked under (its system prompt, a policy)",
        caption: "Standing instructions the agent worked under:",
    },
    InputRow { name: "input", summary: "what the agent was asked", caption: "What the agent was asked:" },
    InputRow {
        name: "tools",
        summary: "the tools the agent could have used, with their descriptions",
        caption: "Tools that were available to the agent:",
    },
    InputRow {
        name: "reference",
        summary: "the expected answer: one acceptable answer, not the only one",
        caption: "The reference, which is one acceptable answer and not the only one:",
    },
    InputRow {
        name: "transcript",
        summary: "the agent's numbered steps: messages, tool calls with results, errors, handoffs",
        caption: "What the agent did, step by step:",
    },
    InputRow {
        name: "tool_calls",
        summary: "only the tool calls among the steps, with arguments, results and errors",
        caption: "The tool calls the agent made, in order:",
    },
    InputRow {
        name: "final_answer",
        summary: "the last text the agent gave the user, read from its trace where there is one",
        caption: "The agent's final answer:",
    },
    InputRow { name: "output", summary: "what the agent gave back", caption: "What the agent gave back:" },
];

/// A kind of material: a name of [`INPUTS`], or one field of metadata or dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InputName {
    /// A name of [`INPUTS`].
    Known(&'static str),
    /// `metadata.NAME` of the example, else of the output.
    Metadata(String),
    /// `dimensions.NAME` of the example, else a dimension of the trace.
    Dimension(String),
}

impl InputName {
    /// Reads a name as written in `judge.toml` or between braces. `trace` is another word for `transcript`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("metadata.") {
            return is_plain(name).then(|| Self::Metadata(name.to_owned()));
        }
        if let Some(name) = text.strip_prefix("dimensions.") {
            return is_plain(name).then(|| Self::Dimension(name.to_owned()));
        }
        let text = if text == "trace" { "transcript" } else { text };
        INPUTS.iter().find(|row| row.name == text).map(|row| Self::Known(row.name))
    }

    /// The caption in a prompt whose author wrote none.
    pub fn caption(&self) -> String {
        match self {
            Self::Known(name) => {
                INPUTS.iter().find(|row| row.name == *name).map_or(*name, |row| row.caption).to_owned()
            }
            Self::Metadata(name) => format!("Known about the example, `{name}`:"),
            Self::Dimension(name) => format!("The example's `{name}`:"),
        }
    }
}

impl fmt::Display for InputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => f.write_str(name),
            Self::Metadata(name) => write!(f, "metadata.{name}"),
            Self::Dimension(name) => write!(f, "dimensions.{name}"),
        }
    }
}

/// Letters, digits, `_` and `-`: names that can stand in a template, a fence line and a folder.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Families of judges in the order in which lists show them: name, and what the judges of it look at.
pub const FAMILIES: &[(&str, &str)] = &[
    ("outcome", "was it done"),
    ("answers", "what was answered or written"),
    ("tools", "calls, their results, and what is told of them"),
    ("planning", "plans, steps and when to stop"),
    ("verification", "whether work was checked, and rightly"),
    ("conversation", "dealing with a person over turns"),
    ("teamwork", "several agents at one task"),
    ("safety", "harm, rules, data, hostile content"),
    ("comparison", "pairs of answers, roots of failures"),
];

/// One label of a labels scale.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSpec {
    /// The label.
    pub label: String,
    /// The value that enters means; a label without one enters none.
    pub value: Option<f64>,
    /// When it is the right one.
    pub description: String,
}

/// The sentence for one level of a number scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchor {
    /// The level.
    pub level: f64,
    /// What it means.
    pub description: String,
}

/// The scores a judge may give, with what each means.
#[derive(Clone, Debug, PartialEq)]
pub enum RubricScale {
    /// `pass` or `fail`.
    Binary {
        /// When `pass` is right; may be empty.
        pass: String,
        /// When `fail` is right; may be empty.
        fail: String,
    },
    /// One of some labels, best first.
    Labels(Vec<LabelSpec>),
    /// A number from `min` to `max`.
    Number {
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
        /// Distance of permitted numbers, counted from `min`; any number in between when absent.
        step: Option<f64>,
        /// Sentences, by level, ascending.
        anchors: Vec<Anchor>,
    },
}

impl RubricScale {
    /// The scale as it enters a run's header.
    pub fn to_scale(&self) -> Scale {
        match self {
            Self::Binary { .. } => Scale::Binary,
            Self::Labels(labels) => {
                Scale::Labels { labels: labels.iter().map(|label| (label.label.clone(), label.value)).collect() }
            }
            Self::Number { min, max, .. } => Scale::Number { min: Some(*min), max: Some(*max) },
        }
    }

    /// The permitted numbers of a stepped number scale with at most 21 of them.
    pub fn levels(&self) -> Option<Vec<f64>> {
        let Self::Number { min, max, step: Some(step), .. } = self else { return None };
        let count = ((max - min) / step).round();
        if !(1.0..=20.0).contains(&count) {
            return None;
        }
        // Multiplied, not summed, so that 0.1 steps do not drift; then rounded to what a person would write.
        Some((0..=count as u32).map(|index| ((min + f64::from(index) * step) * 1e9).round() / 1e9).collect())
    }

    /// `binary`, `labels` or `number`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Binary { .. } => "binary",
            Self::Labels(_) => "labels",
            Self::Number { .. } => "number",
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Binary { pass, fail } => json!({"binary": {"pass": pass, "fail": fail}}),
            Self::Labels(labels) => {
                json!({"labels": labels.iter().map(|l| json!([l.label, l.value, l.description])).collect::<Vec<_>>()})
            }
            Self::Number { min, max, step, anchors } => json!({"number": {
                "min": min, "max": max, "step": step,
                "anchors": anchors.iter().map(|a| json!([a.level, a.description])).collect::<Vec<_>>(),
            }}),
        }
    }
}

/// Judge only examples whose dimension has one of some values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Dimension of the example, else of its trace.
    pub dimension: String,
    /// Permitted values.
    pub equals: Vec<String>,
}

/// What to do with material longer than `max_input_chars`. It is never cut in silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongInput {
    /// Keep head and tail of the longest pieces; said in the fence line and in the score's details.
    #[default]
    HeadTail,
    /// Do not judge: *unscored*, `input_too_long`.
    Refuse,
}

/// What a judge asks of its model unless the suite says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDefaults {
    /// Sampling temperature; not sent when absent.
    pub temperature: Option<f64>,
    /// Most tokens of a reply.
    pub max_tokens: u32,
    /// Seed; the draw number is added.
    pub seed: Option<u64>,
}

/// A judge without its model.
#[derive(Clone, Debug)]
pub struct JudgeSpec {
    /// Name; also the name of its folder.
    pub name: String,
    /// Version of the rubric, as its author counts.
    pub version: String,
    /// The criterion in one sentence.
    pub summary: String,
    /// What kind of judge it is, for lists; one of [`FAMILIES`] or a name of the author's.
    pub family: Option<String>,
    /// Permitted scores.
    pub scale: RubricScale,
    /// Which way is better.
    pub direction: Direction,
    /// Material it cannot do without: where one is missing the judge is *not applicable*.
    pub inputs: Vec<InputName>,
    /// Material it is shown where there is some.
    pub optional_inputs: Vec<InputName>,
    /// Condition on the example.
    pub when: Option<Condition>,
    /// What it asks of its model.
    pub model: ModelDefaults,
    /// Draws per trial unless the suite says otherwise.
    pub draws: u32,
    /// Most characters of material, all pieces together, before escapes and line marks.
    pub max_input_chars: usize,
    /// What happens beyond.
    pub long_input: LongInput,
    /// The rubric: `prompt.md` up to its `# Material` heading.
    pub rubric: String,
    /// How the material is laid out: `prompt.md` below that heading, or made from the inputs.
    pub(super) layout: MaterialTemplate,
    /// Labelled examples.
    pub calibration: Vec<CalibrationExample>,
}

impl JudgeSpec {
    /// Digest of all that can change a finding and is written in the folder: rubric, layout, scale, inputs, condition,
    /// limits. The summary counts, since the prompt states it. Family, model, calibration examples and comments do not.
    pub fn digest(&self) -> Digest {
        let names = |inputs: &[InputName]| inputs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let settings = json!({
            "scale": self.scale.to_json(),
            "direction": self.direction,
            "inputs": names(&self.inputs),
            "optional_inputs": names(&self.optional_inputs),
            "when": self.when.as_ref().map(|when| json!([when.dimension, when.equals])),
            "max_input_chars": self.max_input_chars,
            "long_input": self.long_input == LongInput::Refuse,
        });
        Digester::new()
            .part("name", self.name.as_bytes())
            .part("version", self.version.as_bytes())
            .part("summary", self.summary.as_bytes())
            .part("rubric", self.rubric.as_bytes())
            .part("layout", self.layout.source().as_bytes())
            .part("settings", crate::model::canonical_json(&settings).as_bytes())
            .finish()
    }
}

/// One thing wrong with a judge's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecProblem {
    /// `judge.toml`, `prompt.md` or `calibration.jsonl`.
    pub file: &'static str,
    /// One-based line, where one can be named.
    pub line: Option<usize>,
    /// Key, placeholder or field.
    pub at: String,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// A likely mend.
    pub hint: Option<String>,
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if !self.at.is_empty() {
            write!(f, ": `{}`", self.at)?;
        }
        write!(f, ": found {}, expected {}", self.found, self.expected)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The known name nearest to a mistyped one, as a hint.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    text::nearest(typed, known).map(|name| format!("did you mean `{name}`?"))
}
