//! The checked meaning of a judge's folder: criterion, scale, method, inputs, limits, model defaults.
//!
//! Made only by [`JudgeSpec::parse`]; which model is asked, and with what key, is not part of it.

use std::fmt;

use serde_json::{Value, json};

use super::calibration::{CalibrationExample, parse_label};
use super::input::InputName;
use super::method::{Criterion, FewShot, Method, PartFold};
use super::scale::RubricScale;
use super::template::MaterialTemplate;
use crate::model::{Digest, Digester, Direction, Finite, Scale, ScoreValue};
use crate::sys::text;

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

/// Which examples are judged at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Those whose dimension has one of some values.
    Equals {
        /// Dimension of the example, else of its trace.
        dimension: String,
        /// Permitted values.
        equals: Vec<String>,
    },
    /// Those that a filter expression holds for; read by whoever asks, since filters are not a judge's own.
    Filter(String),
}

/// What to do with material longer than `max_input_chars`. It is never cut in silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongInput {
    /// Keep head and tail of the longest pieces; said in the fence line and in the score's details.
    #[default]
    HeadTail,
    /// Do not judge: *unscored*, `input_too_long`.
    Refuse,
    /// Have the longest pieces summed up first, in questions of their own, and judge the summaries.
    Summary,
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
    /// How it comes to its score.
    pub method: Method,
    /// Worked examples that it is shown.
    pub few_shot: Option<FewShot>,
    /// Whether it says how sure it is.
    pub says_sure: bool,
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
    /// Digest of all that can change a finding and is written in the folder: rubric, layout, scale, method, inputs,
    /// condition, limits. The summary counts, since the prompt states it. Family, model, calibration examples and
    /// comments do not.
    pub fn digest(&self) -> Digest {
        let names = |inputs: &[InputName]| inputs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let when = self.when.as_ref().map(|when| match when {
            Condition::Equals { dimension, equals } => json!([dimension, equals]),
            Condition::Filter(filter) => json!(filter),
        });
        let mut settings = json!({
            "scale": self.scale.to_json(),
            "direction": self.direction,
            "inputs": names(&self.inputs),
            "optional_inputs": names(&self.optional_inputs),
            "when": when,
            "max_input_chars": self.max_input_chars,
            "long_input": self.long_input == LongInput::Refuse,
        });
        // Added only where set, so that a judge without them keeps its digest.
        let further = [
            ("method", self.method.to_json()),
            ("summary", (self.long_input == LongInput::Summary).then(|| json!(true))),
            ("few_shot", self.few_shot.map(|shots| json!([shots.count, shots.seed]))),
            ("says_sure", self.says_sure.then(|| json!(true))),
        ];
        for (key, value) in further {
            if let (Some(value), Some(settings)) = (value, settings.as_object_mut()) {
                settings.insert(key.to_owned(), value);
            }
        }
        Digester::new()
            .part("name", self.name.as_bytes())
            .part("version", self.version.as_bytes())
            .part("summary", self.summary.as_bytes())
            .part("rubric", self.rubric.as_bytes())
            .part("layout", self.layout.source().as_bytes())
            .part("settings", crate::model::canonical_json(&settings).as_bytes())
            .finish()
    }

    /// One of several criteria as a judge of its own, with its name, scale and labels: for figures about it. Asking stays
    /// with the whole.
    #[must_use]
    pub fn of_criterion(&self, criterion: &Criterion) -> Self {
        let labelled = |example: &CalibrationExample| {
            let label = example.label.get(&criterion.name)?.clone();
            Some(CalibrationExample { label, ..example.clone() })
        };
        Self {
            name: format!("{}.{}", self.name, criterion.name),
            summary: criterion.summary.clone(),
            scale: criterion.scale.clone(),
            direction: criterion.direction,
            method: Method::Plain,
            calibration: self.calibration.iter().filter_map(labelled).collect(),
            ..self.clone()
        }
    }

    /// A person's label as a score that this judge could give: a number where it gives means of scores.
    pub fn label_value(&self, label: &Value) -> Option<ScoreValue> {
        let value = parse_label(&self.scale, label)?;
        match (self.gives(), &value) {
            (_, ScoreValue::Number { .. }) => Some(value),
            (Scale::Number { .. }, other) => {
                other.number().and_then(Finite::new).map(|number| ScoreValue::Number { number })
            }
            _ => Some(value),
        }
    }

    /// The values it gives, as they enter a run's header; those of its criteria stand with each criterion.
    pub fn gives(&self) -> Scale {
        match &self.method {
            Method::Expected(_) => self.scale.to_number_scale(),
            Method::Parts(parts) if parts.fold == PartFold::Mean => self.scale.to_number_scale(),
            _ => self.scale.to_scale(),
        }
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
