//! Carries out a field mapping: one row in, one example (with at most one recorded output) out.
//!
//! Merging rows into examples is `assemble`'s; finding the usual names of unmapped fields is `native`'s.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::dialogue::trace_of_messages;
use super::digest::content_id;
use super::error::{DatasetError, Place, RowError};
use super::field::{Condition, Field, amount, take, text, values, whole};
use super::label_rules::LabelField;
use super::mapping::{FieldMapping, FieldRef};
use super::native;
use super::rows::Row;
use super::turns::Turns;
use crate::model::{Digester, Example, ExampleId, Output, Recorded, TraceId, Usage};

/// A mapping with its paths parsed and its expressions compiled. Notes which fields were ever met.
pub struct Extractor {
    filters: Vec<Condition>,
    id: Option<Field>,
    input: Option<Field>,
    reference: Option<Field>,
    cluster: Option<Field>,
    dimensions: Vec<Field>,
    metadata: Vec<Field>,
    labels: Vec<LabelField>,
    recording: Option<RecordingFields>,
    input_met: Cell<bool>,
    all_met: Cell<bool>,
}

struct RecordingFields {
    output: Option<Field>,
    messages: Option<Turns>,
    variant: Option<Field>,
    trial: Option<Field>,
    cost: Option<Field>,
    latency_ms: Option<Field>,
    input_tokens: Option<Field>,
    output_tokens: Option<Field>,
    metadata: Vec<Field>,
}

impl Extractor {
    /// Checks and compiles a mapping.
    ///
    /// # Errors
    /// [`DatasetError::Mapping`] names the key that is wrong.
    pub fn new(mapping: &FieldMapping) -> Result<Self, DatasetError> {
        let one = |key: &str, field: &Option<FieldRef>| field.as_ref().map(|f| Field::new(key, f)).transpose();
        let many = |key: &str, fields: &BTreeMap<String, FieldRef>| {
            fields
                .iter()
                .map(|(name, field)| Field::new(&format!("{key}.{name}"), field))
                .collect::<Result<Vec<_>, _>>()
        };
        let recording = if mapping.has_recording() {
            Some(RecordingFields {
                output: one("output", &mapping.output)?,
                messages: mapping.messages.as_ref().map(Turns::new).transpose()?,
                variant: one("variant", &mapping.variant)?,
                trial: one("trial", &mapping.trial)?,
                cost: one("cost", &mapping.cost)?,
                latency_ms: one("latency_ms", &mapping.latency_ms)?,
                input_tokens: one("input_tokens", &mapping.input_tokens)?,
                output_tokens: one("output_tokens", &mapping.output_tokens)?,
                metadata: many("output_metadata", &mapping.output_metadata)?,
            })
        } else {
            None
        };
        let filters = mapping.filter.as_ref().map_or(&[][..], |filters| filters.as_slice());
        Ok(Self {
            filters: filters.iter().map(Condition::new).collect::<Result<_, _>>()?,
            id: one("id", &mapping.id)?,
            input: one("input", &mapping.input)?,
            reference: one("reference", &mapping.reference)?,
            cluster: one("cluster", &mapping.cluster)?,
            dimensions: many("dimensions", &mapping.dimensions)?,
            metadata: many("metadata", &mapping.metadata)?,
            labels: LabelField::all(mapping)?,
            recording,
            input_met: Cell::new(false),
            all_met: Cell::new(false),
        })
    }

    /// Whether the row meets every condition of `where`.
    pub fn admits(&self, row: &Row) -> bool {
        self.filters.iter().all(|condition| condition.holds(row))
    }

    /// The example a row stands for.
    pub fn example(&self, row: &Row, place: Place<'_>) -> Result<Example, RowError> {
        self.note(row);
        let input = self.input_of(row, place)?;
        let id = self.id_of(row, place, &input)?;
        let mut example = Example::new(id, input);
        example.reference = take(&self.reference, row, place)?;
        example.cluster = text(&self.cluster, row, place)?;
        for field in &self.dimensions {
            if let Some(value) = field.text(row, place)? {
                example.dimensions.insert(field.name.clone(), value);
            }
        }
        example.metadata = values(&self.metadata, row, place)?;
        for label in &self.labels {
            label.take(row, place, &mut example.labels)?;
        }
        if let Some(fields) = &self.recording {
            example.recorded.push(fields.recorded(&example.id, row, place)?);
        }
        Ok(example)
    }

    fn input_of(&self, row: &Row, place: Place<'_>) -> Result<Value, RowError> {
        let found = match &self.input {
            Some(field) => field.take(row, place)?,
            None => native::input_of(&row.fields),
        };
        self.input_met.set(self.input_met.get() || found.is_some());
        found.ok_or_else(|| {
            let path = self.input.as_ref().map_or("input", Field::shown_path);
            RowError::new(place, path, "nothing", "an input that is neither absent, empty nor null")
        })
    }

    fn id_of(&self, row: &Row, place: Place<'_>, input: &Value) -> Result<ExampleId, RowError> {
        let Some(field) = &self.id else {
            return native::id_of(&row.fields, place).map(|id| id.unwrap_or_else(|| content_id(input)));
        };
        match field.text(row, place)? {
            Some(id) => Ok(ExampleId::new(id)),
            None if field.optional => Ok(content_id(input)),
            None => Err(RowError::new(place, field.shown_path(), "nothing", "an id (or `optional = true`)")),
        }
    }

    /// Notes which fields a row has, so that a field that no row has can be told from one that rows lack.
    fn note(&self, row: &Row) {
        if !self.all_met.get() {
            let open = self.fields().into_iter().filter(|field| !field.note(row)).count();
            self.all_met.set(open == 0);
        }
    }

    fn fields(&self) -> Vec<&Field> {
        let mut fields: Vec<&Field> = Vec::new();
        fields.extend(self.id.iter().chain(&self.input).chain(&self.reference).chain(&self.cluster));
        fields.extend(self.dimensions.iter().chain(&self.metadata).chain(self.labels.iter().map(LabelField::outer)));
        fields.extend(self.recording.iter().flat_map(RecordingFields::all));
        fields
    }

    /// The first field that no admitted row had, as (mapping key, path); asked after the last row.
    pub fn never_met(&self) -> Option<(String, String)> {
        let missing = self.fields().into_iter().find_map(Field::never_met);
        let no_input = || (!self.input_met.get() && self.input.is_none()).then(|| ("input".into(), "input".into()));
        missing.or_else(no_input)
    }

    /// The first field of `where` that no row had.
    pub fn filter_never_met(&self) -> Option<(String, String)> {
        self.filters.iter().find_map(|condition| condition.field.never_met())
    }
}

impl RecordingFields {
    fn all(&self) -> impl Iterator<Item = &Field> {
        let messages = self.messages.iter().map(Turns::field);
        let first = self.output.iter().chain(messages).chain(&self.variant).chain(&self.trial).chain(&self.cost);
        first.chain(&self.latency_ms).chain(&self.input_tokens).chain(&self.output_tokens).chain(&self.metadata)
    }

    fn recorded(&self, id: &ExampleId, row: &Row, place: Place<'_>) -> Result<Recorded, RowError> {
        let variant = text(&self.variant, row, place)?;
        let trial = whole(&self.trial, row, place)?.unwrap_or(0);
        let trial = u32::try_from(trial).map_err(|_| {
            let path = self.trial.as_ref().map_or("trial", Field::shown_path);
            RowError::new(place, path, &format!("`{trial}`"), "a trial number below 4294967296")
        })?;
        let mut output = Output {
            value: take(&self.output, row, place)?.unwrap_or(Value::Null),
            usage: Usage {
                input: whole(&self.input_tokens, row, place)?,
                output: whole(&self.output_tokens, row, place)?,
                ..Usage::default()
            },
            cost_usd: amount(&self.cost, row, place)?,
            latency_ms: amount(&self.latency_ms, row, place)?,
            metadata: values(&self.metadata, row, place)?,
            ..Output::default()
        };
        if let Some(turns) = &self.messages
            && let Some(dialogue) = turns.take(row, place)?
        {
            let trace = trace_of_messages(&dialogue, trace_id(id, variant.as_deref(), trial)).map_err(|fault| {
                RowError::new(
                    place,
                    &format!("{}{}", turns.field().shown_path(), fault.at),
                    &fault.found,
                    fault.expected,
                )
            })?;
            if self.output.is_none() {
                output.value = trace.final_output().unwrap_or(Value::Null);
            }
            output.trace = Some(trace.into());
        }
        Ok(Recorded { variant, trial, output })
    }
}

/// A stable id for a trace made from a dialogue: the same recording gets the same id at each import.
pub(super) fn trace_id(id: &ExampleId, variant: Option<&str>, trial: u32) -> TraceId {
    let digest = Digester::new()
        .part("example", id.as_str().as_bytes())
        .part("variant", variant.unwrap_or_default().as_bytes())
        .part("trial", &trial.to_le_bytes())
        .finish();
    TraceId::new(digest.as_str().get(3..35).unwrap_or_default())
}
