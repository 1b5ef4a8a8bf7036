//! The seam to an outside detector: which texts it is asked about, and what its findings do to them.
//!
//! The detector itself is somebody else's: a service or a program, reached through a trait. Texts are put to it after
//! every other rule, so it never sees a secret that those found.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::Redactor;
use crate::model::{Message, OnDetectorError, Part, RedactAction, Redactions, Span, TraceScore};

/// Something a detector found in a text; places in characters, not bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// First character.
    pub start: usize,
    /// One after the last.
    pub end: usize,
    /// What it is, in the detector's words.
    pub kind: String,
}

/// Why a detector gave no findings.
#[derive(Debug, thiserror::Error)]
#[error("the detector under `[redact.detector]` failed: {0}")]
pub struct DetectorError(pub String);

/// Finds in texts what patterns cannot.
pub trait Detector: Send + Sync {
    /// Findings for each text, in the order of the texts.
    ///
    /// # Errors
    /// It did not answer in time, or not with one list for each text.
    fn detect(&self, texts: &[&str]) -> Result<Vec<Vec<Finding>>, DetectorError>;
    /// Most texts of one question.
    fn batch(&self) -> usize;
    /// What happens when it fails.
    fn on_error(&self) -> OnDetectorError;
    /// What is done with what it finds.
    fn action(&self) -> RedactAction;
}

/// Texts that were looked at, with what was found in them. Every model call repeats the conversation so far, so each
/// text is asked about once.
#[derive(Default)]
pub struct Seen {
    found: HashMap<String, Vec<Finding>>,
}

impl Seen {
    /// Asks about texts, in batches.
    ///
    /// # Errors
    /// As the detector.
    pub fn ask(&mut self, detector: &dyn Detector, texts: &[String]) -> Result<(), DetectorError> {
        let mut wanted: Vec<&str> =
            texts.iter().map(String::as_str).filter(|text| !self.found.contains_key(*text)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut answers = Vec::new();
        for batch in wanted.chunks(detector.batch().max(1)) {
            let findings = detector.detect(batch)?;
            if findings.len() != batch.len() {
                let said = format!("it answered for {} of {} texts", findings.len(), batch.len());
                return Err(DetectorError(said));
            }
            answers.extend(batch.iter().map(|text| (*text).to_owned()).zip(findings));
        }
        self.found.extend(answers);
        Ok(())
    }

    /// What was found in a text that was asked about.
    fn of(&self, text: &str) -> &[Finding] {
        self.found.get(text).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Takes each text with the field it stands in.
type Each<'a> = &'a mut dyn FnMut(&str, &mut String);

impl Redactor {
    /// Gives every text of a span that a detector should see.
    pub fn texts_of_span(&self, span: &mut Span, each: Each<'_>) {
        let mut names = vec![("name", &mut span.name)];
        let error = span.error.as_mut().and_then(|error| error.message.as_mut());
        names.extend(error.map(|message| ("error.message", message)));
        for (field, text) in names {
            self.give(field, text, each);
        }
        for (field, messages) in [("messages_in", &mut span.messages_in), ("messages_out", &mut span.messages_out)] {
            messages.iter_mut().for_each(|message| self.give_message(field, message, each));
        }
        let tool = span
            .tool
            .iter_mut()
            .flat_map(|tool| [("tool.arguments", tool.arguments.as_mut()), ("tool.result", tool.result.as_mut())]);
        let raw = [("input", span.input.as_mut()), ("output", span.output.as_mut())];
        for (field, value) in raw.into_iter().chain(tool) {
            if let Some(value) = value {
                self.texts_of_value(field, value, each);
            }
        }
        for (key, value) in span.attributes.iter_mut().chain(Arc::make_mut(&mut span.resource)) {
            self.texts_of_value(key, value, each);
        }
    }

    /// Gives every text of a score that a detector should see.
    pub fn texts_of_score(&self, score: &mut TraceScore, each: Each<'_>) {
        for (field, text) in [("score.comment", score.comment.as_mut()), ("score.label", score.label.as_mut())] {
            if let Some(text) = text {
                self.give(field, text, each);
            }
        }
    }

    /// Gives every text of a value that a detector should see.
    pub fn texts_of_value(&self, field: &str, value: &mut Value, each: Each<'_>) {
        match value {
            Value::String(text) => self.give(field, text, each),
            Value::Array(items) => items.iter_mut().for_each(|item| self.texts_of_value(field, item, each)),
            Value::Object(map) => {
                for (key, item) in map.iter_mut() {
                    self.texts_of_value(&format!("{field}.{key}"), item, each);
                }
            }
            _ => {}
        }
    }

    fn give_message(&self, field: &str, message: &mut Message, each: Each<'_>) {
        for part in &mut message.parts {
            match part {
                Part::Text { content } | Part::Reasoning { content } => self.give(field, content, each),
                Part::ToolCall { arguments: value, .. } | Part::ToolResult { result: value, .. } => {
                    self.texts_of_value(field, value, each);
                }
                Part::Other { value } => self.texts_of_value(field, value, each),
            }
        }
    }

    /// Texts without two letters in a row hold no name, and protected fields are nobody's business.
    fn give(&self, field: &str, text: &mut String, each: Each<'_>) {
        let letters =
            text.as_bytes().windows(2).any(|pair| pair.iter().all(|byte| byte.is_ascii_alphabetic() || *byte > 127));
        let kept = self.fields.find(field).is_some_and(|rule| rule.action == RedactAction::Keep);
        if letters && !kept {
            each(field, text);
        }
    }

    /// Applies to a text what a detector found in it.
    pub fn apply(&self, seen: &Seen, field: &str, text: &mut String, account: &mut Redactions) {
        let findings = seen.of(text);
        if findings.is_empty() {
            return;
        }
        let action = self.detector().map_or(RedactAction::Mask, Detector::action);
        let mut ranges: Vec<(Range<usize>, String)> =
            findings.iter().filter_map(|finding| Some((bytes_of(text, finding)?, name_of(&finding.kind)))).collect();
        ranges.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
        let mut redacted = String::with_capacity(text.len());
        let mut from = 0;
        for (range, kind) in ranges {
            let value = text.get(range.clone()).unwrap_or_default();
            if range.start < from || self.scanner.is_allowed(value, &kind) {
                continue;
            }
            account.note(&format!("detector:{kind}"), field);
            redacted.push_str(text.get(from..range.start).unwrap_or_default());
            match self.stand_in(action, &kind, value) {
                Some(stand_in) => redacted.push_str(&stand_in),
                None => {
                    *text = "[dropped]".to_owned();
                    return;
                }
            }
            from = range.end;
        }
        redacted.push_str(text.get(from..).unwrap_or_default());
        *text = redacted;
    }
}

/// The bytes of a finding, kept within the text; `None` when it is empty or what we put there ourselves.
fn bytes_of(text: &str, finding: &Finding) -> Option<Range<usize>> {
    let at = |place: usize| text.char_indices().nth(place).map_or(text.len(), |(byte, _)| byte);
    let range = at(finding.start)..at(finding.end);
    let ours = text.get(..range.start)?.ends_with('[') && text.get(range.end..)?.starts_with([']', ':']);
    (range.start < range.end && !ours).then_some(range)
}

/// The detector's word, fit to stand in brackets in a text.
fn name_of(kind: &str) -> String {
    let name: String = kind.chars().filter(|c| c.is_alphanumeric() || *c == '_').take(40).collect();
    if name.is_empty() { "found".to_owned() } else { name.to_lowercase() }
}
