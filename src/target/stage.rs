//! What is around one attempt of one trial: its trace, its folder, what was said before. Knows no kind of target.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::TargetCall;
use crate::model::{ChatMessage, Digest};
use crate::sys::{Clock, new_run_id};

/// What is around one attempt. Empty where nothing was asked for.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    /// The trace that the attempt belongs to; the target makes up one where there is none.
    pub trace: Option<TraceIds>,
    /// Where the target shall send its spans: the base address of an OTLP receiver.
    pub collector: Option<String>,
    /// A folder of the trial's own.
    pub folder: Option<PathBuf>,
    /// What was said before, when the trial is a conversation; the example's input is then what the user says now.
    pub said: Option<Vec<ChatMessage>>,
}

impl Stage {
    /// Nothing around.
    pub const BARE: Self = Self { trace: None, collector: None, folder: None, said: None };
}

/// The ids that a trial's spans are found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// Trace, 32 hexadecimal digits.
    pub trace: String,
    /// The span that the target's own spans are children of, 16 hexadecimal digits.
    pub span: String,
}

impl TraceIds {
    /// Fresh ones.
    pub fn new(clock: &dyn Clock) -> Self {
        let trace: String = new_run_id(clock).as_str().chars().filter(char::is_ascii_hexdigit).collect();
        let span = Digest::of(trace.as_bytes()).as_str().chars().skip(3).take(16).collect();
        Self { trace, span }
    }

    /// Those of a call, or fresh ones.
    pub(super) fn of(call: &TargetCall<'_>, clock: &dyn Clock) -> Self {
        call.stage.trace.clone().unwrap_or_else(|| Self::new(clock))
    }

    /// The header of the W3C trace context (level 1) that carries them, sampled.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }
}

/// What is shown to a target of its example. The reference is not among it: the answer must not leak into the question.
pub(super) fn context_of(call: &TargetCall<'_>) -> Value {
    let example = call.example;
    let mut context = json!({
        "id": example.id,
        "input": example.input,
        "trial": call.trial,
        "metadata": example.metadata,
        "dimensions": example.dimensions,
    });
    let Some(said) = &call.stage.said else { return context };
    let now = json!({"role": "user", "content": example.input_text()});
    let messages = said.iter().map(|message| json!(message)).chain([now]).collect();
    context["messages"] = Value::Array(messages);
    context["turn"] = json!(said.iter().filter(|message| message.role == crate::model::Role::User).count());
    // The same over all turns, for a target that keeps the conversation itself.
    context["session"] = json!(call.stage.trace.as_ref().map(|ids| ids.trace.as_str()));
    context
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::SystemClock;

    #[test]
    fn trace_context_has_its_form() {
        let ids = TraceIds::new(&SystemClock);
        let header = ids.traceparent();
        let parts: Vec<_> = header.split('-').collect();
        assert_eq!((parts[0], parts[1], parts[3]), ("00", ids.trace.as_str(), "01"));
        assert_eq!((parts[1].len(), parts[2].len()), (32, 16));
        assert_ne!(TraceIds::new(&SystemClock).trace, ids.trace);
    }
}
