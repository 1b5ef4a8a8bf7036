//! Traces to examples: what was asked becomes the input, what was answered a recorded output.
//!
//! Traces that share a key are one example; their variants and repetitions are its recordings. Which traces are
//! taken is `select`'s choice, how they are found the lake's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::candidate::{Candidate, CandidateReader};
use super::digest::id_of_input;
use super::error::DatasetError;
use super::features::feedback;
use super::opinions::Opinions;
use super::select::Selection;
use crate::model::{Digest, Example, ExampleId, Lineage, Output, Recorded, SpanStatus, Trace};

/// How traces are read as examples. Names are those of [`Opinions::dimension`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TraceMapping {
    /// Dimension that tells which traces are the same task, such as `ticket.id`; without it the input does, apart
    /// from white space. `trace_id` makes every trace an example of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Dimension that tells versions apart, such as `agent_version` or `service.version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Dimension of the independent unit; the session when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Dimension that holds the expected answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Dimensions to keep for slicing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dimensions: Vec<String>,
    /// Dimensions to keep with each recorded output, since they may differ between recordings (a rating, a score).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_metadata: Vec<String>,
}

/// Why a trace did not become an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftOut {
    /// No span says what was asked.
    NoInput,
    /// The dimension of `key` is not in the trace.
    NoKey,
    /// The sampling design did not choose it.
    NotChosen,
}

impl LeftOut {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoInput => "no span says what was asked",
            Self::NoKey => "the key's dimension is not in the trace",
            Self::NotChosen => "not chosen by the sampling design",
        }
    }
}

/// What came of the traces.
#[derive(Clone, Debug, Default)]
pub struct FromTraces {
    /// The examples, sorted by id.
    pub examples: Vec<Example>,
    /// Traces that were left out, by reason.
    pub left_out: BTreeMap<LeftOut, u64>,
    /// Traces whose input differs from the first of their example.
    pub other_inputs: u64,
    /// Dimensions left out because the traces of an example disagree on them, with how many examples.
    pub mixed_dimensions: BTreeMap<String, u64>,
}

impl TraceMapping {
    /// The id of the example a trace belongs to.
    ///
    /// # Errors
    /// Why it belongs to none.
    pub fn key_of(&self, trace: &Trace, opinions: &Opinions) -> Result<ExampleId, LeftOut> {
        let input = input_of(trace).ok_or(LeftOut::NoInput)?;
        match &self.key {
            None => Ok(id_of_input(&task_digest(&input))),
            Some(name) => {
                let key = opinions.dimension(trace, name).filter(|key| !key.trim().is_empty());
                key.map(ExampleId::new).ok_or(LeftOut::NoKey)
            }
        }
    }

    /// The candidate a trace stands for in a sampling design: the unit is the example, not the trace.
    ///
    /// # Errors
    /// Why it cannot be chosen at all.
    pub fn candidate(
        &self,
        trace: &Trace,
        reader: &CandidateReader,
        opinions: &Opinions,
    ) -> Result<Candidate, LeftOut> {
        let id = self.key_of(trace, opinions)?.as_str().to_owned();
        Ok(reader.read(id, |name| opinions.dimension(trace, name), || input_of(trace)))
    }
}

/// Makes examples of traces; of the chosen ones where a selection is given. The order of the traces does not matter.
///
/// # Errors
/// [`DatasetError::NothingSelected`] when no trace is left, with the counts by reason.
pub fn examples_from_traces(
    traces: impl IntoIterator<Item = Arc<Trace>>,
    mapping: &TraceMapping,
    selection: Option<&Selection>,
    opinions: &Opinions,
) -> Result<FromTraces, DatasetError> {
    let mut made = FromTraces::default();
    let mut groups: BTreeMap<ExampleId, Vec<Arc<Trace>>> = BTreeMap::new();
    let mut seen = 0_u64;
    for trace in traces {
        seen += 1;
        let key = mapping.key_of(&trace, opinions);
        let chosen = |id: &ExampleId| selection.is_none_or(|s| s.chosen.contains_key(id.as_str()));
        match key {
            Ok(id) if chosen(&id) => groups.entry(id).or_default().push(trace),
            Ok(_) => *made.left_out.entry(LeftOut::NotChosen).or_default() += 1,
            Err(reason) => *made.left_out.entry(reason).or_default() += 1,
        }
    }
    if groups.is_empty() {
        let reasons: Vec<String> =
            made.left_out.iter().map(|(why, count)| format!("{count}: {}", why.as_str())).collect();
        let reasons = if reasons.is_empty() { "there are no traces".to_owned() } else { reasons.join("; ") };
        return Err(DatasetError::NothingSelected {
            cause: format!("none of {seen} traces became an example ({reasons})"),
        });
    }
    for (id, mut group) in groups {
        group.sort_by(|left, right| (start_of(left), &left.id).cmp(&(start_of(right), &right.id)));
        group.dedup_by(|later, first| later.id == first.id);
        let chosen = selection.and_then(|selection| selection.chosen.get(id.as_str()));
        let mut example = example_of(id, &group, (mapping, opinions), &mut made);
        example.stratum = chosen.map(|chosen| chosen.stratum.clone());
        example.inclusion_probability = chosen.and_then(|chosen| chosen.probability);
        if let Some(drawn) = chosen.and_then(|chosen| chosen.cluster.as_ref()) {
            // The unit that was drawn is the unit that is independent.
            example.cluster = Some(drawn.clone());
        }
        example.represents = chosen.map(|chosen| chosen.represents).filter(|count| *count > 1);
        example.lineage.chosen_by = chosen.map(|chosen| chosen.decision.as_str().to_owned());
        let merged = chosen.iter().flat_map(|chosen| &chosen.merged);
        example.lineage.merged = merged.map(|id| ExampleId::new(id.as_str())).collect();
        made.examples.push(example);
    }
    Ok(made)
}

/// One example of the traces of one key, sorted by start.
fn example_of(
    id: ExampleId,
    group: &[Arc<Trace>],
    (mapping, opinions): (&TraceMapping, &Opinions),
    made: &mut FromTraces,
) -> Example {
    let inputs: Vec<Value> = group.iter().filter_map(|trace| input_of(trace)).collect();
    let first = inputs.first().cloned().unwrap_or_default();
    made.other_inputs += inputs.iter().filter(|input| normalized(input) != normalized(&first)).count() as u64;
    let mut example = Example::new(id, first);
    let all = |name: &str| group.iter().map(|trace| opinions.dimension(trace, name)).collect::<BTreeSet<_>>();
    let reference = mapping.reference.as_deref().into_iter().flat_map(all).flatten().next();
    example.reference = reference.map(|text| json_or_text(&text));
    let cluster = mapping.cluster.as_deref().unwrap_or("session");
    example.cluster = group.iter().find_map(|trace| opinions.dimension(trace, cluster));
    for name in &mapping.dimensions {
        let mut values = all(name);
        if values.len() > 1 {
            *made.mixed_dimensions.entry(name.clone()).or_default() += 1;
        } else if let Some(value) = values.pop_first().flatten() {
            example.dimensions.insert(name.clone(), value);
        }
    }
    let mut trials: BTreeMap<Option<String>, u32> = BTreeMap::new();
    for trace in group {
        let variant = mapping.variant.as_deref().and_then(|name| opinions.dimension(trace, name));
        let trial = trials.entry(variant.clone()).or_default();
        example.recorded.push(Recorded { variant, trial: *trial, output: output_of(trace, mapping, opinions) });
        *trial += 1;
    }
    example.recorded.sort_by(|left, right| (&left.variant, left.trial).cmp(&(&right.variant, right.trial)));
    example.lineage = Lineage {
        traces: group.iter().map(|trace| trace.id.clone()).collect(),
        digests: group.iter().map(|trace| trace.content_digest()).collect(),
        ..Lineage::default()
    };
    example
}

/// What was answered, with the trace itself and what the tracer said about success and feedback.
fn output_of(trace: &Arc<Trace>, mapping: &TraceMapping, opinions: &Opinions) -> Output {
    let mut metadata = BTreeMap::new();
    metadata.insert("trace_id".to_owned(), json!(trace.id));
    if let Some(status) = trace.dimension("status") {
        metadata.insert("status".to_owned(), json!(status));
    }
    if let Some(error) =
        trace.spans.iter().filter(|span| span.status == SpanStatus::Error).find_map(|s| s.error.clone())
    {
        metadata.insert("error".to_owned(), json!(error));
    }
    if let Ok(start) = jiff::Timestamp::from_nanosecond(i128::from(start_of(trace))) {
        metadata.insert("started_at".to_owned(), json!(start.to_string()));
    }
    for (name, value) in trace.spans.iter().flat_map(feedback) {
        metadata.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for name in &mapping.output_metadata {
        if let Some(value) = opinions.dimension(trace, name) {
            metadata.insert(name.clone(), json_or_text(&value));
        }
    }
    Output {
        value: trace.final_output().unwrap_or_default(),
        usage: trace.usage(),
        cost_usd: trace.cost_usd().filter(|cost| cost.is_finite()),
        latency_ms: trace.duration_ms(),
        trace: Some(Arc::clone(trace)),
        metadata,
    }
}

fn start_of(trace: &Trace) -> i64 {
    trace.spans.iter().map(|span| span.start_ns).min().unwrap_or_default()
}

/// What was asked; text of nothing but white space is nothing.
fn input_of(trace: &Trace) -> Option<Value> {
    trace.input().filter(|input| !input.is_null() && input.as_str().is_none_or(|text| !text.trim().is_empty()))
}

/// Digest of what was asked, apart from white space: what tells which traces are the same task where no dimension
/// does. `None` when no span says what was asked.
pub fn input_digest(trace: &Trace) -> Option<Digest> {
    input_of(trace).map(|input| task_digest(&input))
}

fn task_digest(input: &Value) -> Digest {
    Digest::of_json(&normalized(input))
}

/// The form in which inputs are compared: white space folded, for copied and pasted tasks differ in it.
fn normalized(input: &Value) -> Value {
    match input {
        Value::String(text) => Value::String(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        other => other.clone(),
    }
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
#[path = "from_traces_tests.rs"]
mod tests;
