//! A trace as numbered steps for a judge: who said what, which tool was called with what result, what went wrong.
//!
//! Model names, system prompts and evaluator spans are left out: a judge must not recognize its own family, and a
//! score given inside the application is not evidence. Histories repeat in every model call; each message is shown
//! once. Nothing is cut in silence: what is left out is counted, in the text and in the result.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::method::Over;
use crate::model::{Message, Part, Span, SpanKind, Trace};

/// Text within a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortened {
    /// The text.
    pub text: String,
    /// Characters of the whole.
    pub chars: usize,
    /// Characters of the whole that are not in `text`.
    pub left_out: usize,
}

/// Limits of one field that are tried from wide to narrow before whole steps are left out.
const FIELD_LIMITS: &[usize] = &[usize::MAX, 16_000, 8_000, 4_000, 2_000, 1_000, 500, 250];

/// One step: a heading and fields under it.
struct Step {
    heading: String,
    fields: Vec<(&'static str, String)>,
    failed: bool,
    depth: usize,
}

/// The steps of a trace within `budget` characters.
pub fn transcript(trace: &Trace, budget: usize) -> Shortened {
    fit(&steps(trace), budget)
}

/// A run of steps of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptPart {
    /// The steps, numbered as in the whole.
    pub text: Shortened,
    /// Number of the first, from 1.
    pub first: usize,
    /// Number of the last.
    pub last: usize,
}

/// The steps of a trace in parts of at most `room` characters each; a single step beyond that is shortened, and says so.
/// At least one part, which may be empty.
pub fn transcript_parts(trace: &Trace, over: Over, room: usize) -> Vec<TranscriptPart> {
    let steps = steps(trace);
    let whole = render_all(&steps, usize::MAX);
    let mut parts: Vec<(usize, usize)> = Vec::new();
    let mut size = 0;
    for (index, text) in whole.iter().enumerate() {
        let length = text.chars().count();
        let begins = match over {
            Over::Room => size + length > room,
            Over::Steps(count) => index.is_multiple_of(count.max(1)),
            Over::Turns => steps.get(index).is_some_and(|step| step.heading == "user says"),
        };
        match parts.last_mut() {
            Some(part) if !begins => {
                part.1 = index + 1;
                size += length;
            }
            _ => {
                parts.push((index, index + 1));
                size = length;
            }
        }
    }
    if parts.is_empty() {
        parts.push((0, 0));
    }
    parts.into_iter().map(|(from, to)| part_of(&steps, &whole, (from, to), room)).collect()
}

fn part_of(steps: &[Step], whole: &[String], (from, to): (usize, usize), room: usize) -> TranscriptPart {
    let full: String = whole.get(from..to).unwrap_or_default().concat();
    let chars = full.chars().count();
    let mut text = full;
    for limit in FIELD_LIMITS.iter().skip(1) {
        if text.chars().count() <= room {
            break;
        }
        let narrow = steps.iter().enumerate().skip(from).take(to - from);
        text = narrow.map(|(index, step)| render(index + 1, step, *limit)).collect();
    }
    let text = head_tail(text.trim_end(), room).text;
    let left_out = chars.saturating_sub(text.chars().count() + 1);
    TranscriptPart { text: Shortened { text, chars, left_out }, first: from + 1, last: to }
}

/// Only the tool calls of a trace within `budget` characters; the empty text when there are none.
pub fn tool_calls(trace: &Trace, budget: usize) -> Shortened {
    let mut calls: Vec<Step> = executed_calls(trace);
    if calls.is_empty() {
        calls = trace
            .tools_used()
            .into_iter()
            .map(|tool| Step {
                heading: format!("tool `{}` is asked for", tool.name),
                fields: tool.arguments.iter().map(|value| ("arguments", value_text(value))).collect(),
                failed: false,
                depth: 0,
            })
            .collect();
    }
    fit(&calls, budget)
}

fn executed_calls(trace: &Trace) -> Vec<Step> {
    let mut walk = Walk::new(trace);
    let mut calls = Vec::new();
    for (depth, span) in trace.outline() {
        if walk.enter(depth, span) && span.kind == SpanKind::Tool {
            let mut step = tool_step(&walk.actor(), span);
            step.depth = 0;
            calls.push(step);
        }
    }
    calls
}

/// Keeps the head and the tail of a text, with a mark between them that says how much is left out.
pub fn head_tail(text: &str, budget: usize) -> Shortened {
    let chars = text.chars().count();
    if chars <= budget {
        return Shortened { text: text.to_owned(), chars, left_out: 0 };
    }
    let room = budget.saturating_sub(48);
    let tail = room * 2 / 5;
    let head = room - tail;
    let left_out = chars - head - tail;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(chars - tail).collect();
    Shortened { text: format!("{start}[… {left_out} characters left out …]{end}"), chars, left_out }
}

fn steps(trace: &Trace) -> Vec<Step> {
    let mut walk = Walk::new(trace);
    let mut steps = Vec::new();
    let outline = trace.outline();
    for (index, (depth, span)) in outline.iter().enumerate() {
        walk.leave(*depth, &mut steps);
        if !walk.enter(*depth, span) {
            continue;
        }
        let leaf = outline.get(index + 1).is_none_or(|(next, _)| next <= depth);
        let before = steps.len();
        walk.describe(span, leaf, &mut steps);
        for step in steps.iter_mut().skip(before) {
            step.depth = *depth;
        }
    }
    walk.leave(0, &mut steps);
    // Roots and wrappers that say nothing are not shown; their depth would only cost tokens.
    let least = steps.iter().map(|step| step.depth).min().unwrap_or(0);
    for step in &mut steps {
        step.depth -= least;
    }
    steps
}

/// The way through the outline: agents and evaluators above, messages already shown.
struct Walk {
    agents: Vec<(usize, String, Vec<Message>)>,
    evaluator: Option<usize>,
    shown: BTreeMap<(String, String), usize>,
    executed: BTreeSet<String>,
    has_tool_spans: bool,
}

impl Walk {
    fn new(trace: &Trace) -> Self {
        let executed = trace.tool_spans().filter_map(|span| span.tool.as_ref());
        Self {
            agents: Vec::new(),
            evaluator: None,
            shown: BTreeMap::new(),
            executed: executed.map(|tool| tool.call_id.clone().unwrap_or_else(|| tool.name.clone())).collect(),
            has_tool_spans: trace.tool_spans().next().is_some(),
        }
    }

    /// Ends the agents that the walk has left; what they answered and nobody showed yet becomes a step.
    fn leave(&mut self, depth: usize, steps: &mut Vec<Step>) {
        while self.agents.last().is_some_and(|(level, _, _)| *level >= depth) {
            if let Some((level, name, answers)) = self.agents.pop() {
                for message in answers.iter().filter(|message| message.role == "assistant") {
                    let text = message.plain_text();
                    if !text.trim().is_empty() && self.count(&message.role, &text) == 0 {
                        self.note(&message.role, &text);
                        steps.push(Step { depth: level, ..say(&name, text) });
                    }
                }
            }
        }
    }

    /// Enters a span; false inside an evaluator.
    fn enter(&mut self, depth: usize, span: &Span) -> bool {
        if self.evaluator.is_some_and(|level| depth <= level) {
            self.evaluator = None;
        }
        if self.evaluator.is_none() && span.kind == SpanKind::Evaluator {
            self.evaluator = Some(depth);
        }
        if self.evaluator.is_some() {
            return false;
        }
        self.agents.retain(|(level, _, _)| *level < depth);
        if span.kind == SpanKind::Agent {
            let name = span.agent_name().unwrap_or(&span.name).to_owned();
            self.agents.push((depth, name, span.messages_out.clone()));
        } else if let Some(name) = span.agent_name()
            && self.agents.last().is_none_or(|(_, current, _)| current != name)
        {
            self.agents.push((depth, name.to_owned(), Vec::new()));
        }
        true
    }

    fn actor(&self) -> String {
        self.agents.last().map_or_else(|| "agent".to_owned(), |(_, name, _)| name.clone())
    }

    fn count(&self, role: &str, text: &str) -> usize {
        self.shown.get(&(role.to_owned(), text.to_owned())).copied().unwrap_or(0)
    }

    fn note(&mut self, role: &str, text: &str) {
        *self.shown.entry((role.to_owned(), text.to_owned())).or_default() += 1;
    }

    fn describe(&mut self, span: &Span, leaf: bool, steps: &mut Vec<Step>) {
        let actor = self.actor();
        match span.kind {
            SpanKind::Agent => {
                self.history(&span.messages_in, &actor, steps);
                steps.push(plain(format!("{actor} begins"), span));
            }
            SpanKind::Model => {
                self.history(&span.messages_in, &actor, steps);
                let before = steps.len();
                for message in &span.messages_out {
                    self.message(message, &actor, steps);
                }
                if let Some(output) = span.output.as_ref().filter(|_| span.messages_out.is_empty()) {
                    steps.push(say(&actor, value_text(output)));
                }
                if span.failed() {
                    steps.push(plain(format!("{actor}'s model call fails"), span));
                } else if before == steps.len() && span.messages_out.is_empty() && span.output.is_none() {
                    steps.push(plain(format!("{actor} calls its model; what it said is not recorded"), span));
                }
            }
            SpanKind::Tool => steps.push(tool_step(&actor, span)),
            SpanKind::Handoff => steps.push(with_content(format!("{actor} hands over: {}", span.name), span)),
            SpanKind::Retrieval => steps.push(with_content(format!("{actor} searches: {}", span.name), span)),
            SpanKind::Guardrail => steps.push(with_content(format!("guardrail {}", span.name), span)),
            SpanKind::Step | SpanKind::Other if leaf => {
                steps.push(with_content(format!("{} {}", span.kind.as_str(), span.name), span));
            }
            SpanKind::Step | SpanKind::Other if span.failed() => {
                steps.push(plain(format!("{} {}", span.kind.as_str(), span.name), span));
            }
            SpanKind::Step | SpanKind::Other | SpanKind::Evaluator => {}
        }
    }

    /// Messages of a history that were not shown before. The same words said twice are two messages: the n-th
    /// occurrence in a history is new when fewer than n were shown.
    fn history(&mut self, messages: &[Message], actor: &str, steps: &mut Vec<Step>) {
        let mut met: BTreeMap<(String, String), usize> = BTreeMap::new();
        for message in messages {
            let key = (message.role.clone(), message_key(message));
            let occurrence = met.entry(key.clone()).or_default();
            *occurrence += 1;
            if *occurrence > self.count(&key.0, &key.1) {
                self.message(message, actor, steps);
            }
        }
    }

    fn message(&mut self, message: &Message, actor: &str, steps: &mut Vec<Step>) {
        self.note(&message.role, &message_key(message));
        if message.role == "system" || message.role == "developer" {
            return;
        }
        let speaker = if message.role == "assistant" { actor } else { message.role.as_str() };
        for part in &message.parts {
            match part {
                Part::Text { content } if !content.trim().is_empty() => steps.push(say(speaker, content.clone())),
                Part::Reasoning { content } if !content.trim().is_empty() => {
                    let fields = vec![("", content.clone())];
                    steps.push(Step { heading: format!("{speaker} thinks"), fields, failed: false, depth: 0 });
                }
                Part::ToolCall { id, name, arguments } if !self.executed.contains(id.as_ref().unwrap_or(name)) => {
                    let fields = vec![("arguments", value_text(arguments))];
                    steps.push(Step {
                        heading: format!("{speaker} asks for tool `{name}`"),
                        fields,
                        failed: false,
                        depth: 0,
                    });
                }
                Part::ToolResult { result, .. } if !self.has_tool_spans => {
                    let fields = vec![("", value_text(result))];
                    steps.push(Step { heading: "a tool answers".to_owned(), fields, failed: false, depth: 0 });
                }
                Part::Other { value } => {
                    let fields = vec![("", value_text(value))];
                    steps.push(Step { heading: format!("{speaker} gives"), fields, failed: false, depth: 0 });
                }
                _ => {}
            }
        }
    }
}

/// What makes a message the same message when it comes back in a history.
fn message_key(message: &Message) -> String {
    match message.parts.as_slice() {
        [Part::Text { content }] => content.clone(),
        parts => serde_json::to_string(parts).unwrap_or_else(|_| message.plain_text()),
    }
}

fn say(speaker: &str, text: String) -> Step {
    Step { heading: format!("{speaker} says"), fields: vec![("", text)], failed: false, depth: 0 }
}

fn plain(heading: String, span: &Span) -> Step {
    let mut step = Step { heading, fields: Vec::new(), failed: span.failed(), depth: 0 };
    step.fields.extend(error_field(span));
    step
}

fn with_content(heading: String, span: &Span) -> Step {
    let mut step = plain(heading, span);
    let fields = [("input", &span.input), ("output", &span.output)];
    let content = fields.into_iter().filter_map(|(name, value)| Some((name, value_text(value.as_ref()?))));
    step.fields.splice(0..0, content);
    step
}

fn tool_step(actor: &str, span: &Span) -> Step {
    let name = span.tool.as_ref().map_or(span.name.as_str(), |tool| tool.name.as_str());
    let mut fields = Vec::new();
    let tool = span.tool.as_ref();
    if let Some(arguments) = tool.and_then(|tool| tool.arguments.as_ref()).or(span.input.as_ref()) {
        fields.push(("arguments", value_text(arguments)));
    }
    match tool.and_then(|tool| tool.result.as_ref()).or(span.output.as_ref()) {
        Some(result) => fields.push(("result", value_text(result))),
        None if !span.failed() => fields.push(("result", "(not recorded)".to_owned())),
        None => {}
    }
    fields.extend(error_field(span));
    Step { heading: format!("{actor} calls tool `{name}`"), fields, failed: span.failed(), depth: 0 }
}

fn error_field(span: &Span) -> Option<(&'static str, String)> {
    let error = span.error.as_ref();
    let parts: Vec<&str> =
        error.into_iter().flat_map(|error| [error.kind.as_deref(), error.message.as_deref()]).flatten().collect();
    match (span.failed(), parts.is_empty()) {
        (_, false) => Some(("error", parts.join(": "))),
        (true, true) => Some(("error", "it failed; nothing more is recorded".to_owned())),
        (false, true) => None,
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

/// Renders within a budget: first by shortening long fields, then by leaving out steps in the middle.
fn fit(steps: &[Step], budget: usize) -> Shortened {
    let whole: Vec<String> = render_all(steps, usize::MAX);
    let chars = length(&whole);
    for limit in FIELD_LIMITS {
        let rendered = if *limit == usize::MAX { whole.clone() } else { render_all(steps, *limit) };
        if length(&rendered) <= budget {
            let text = rendered.concat().trim_end().to_owned();
            let left_out = if *limit == usize::MAX { 0 } else { cut_by(steps, *limit) };
            return Shortened { text, chars, left_out };
        }
    }
    let narrow = render_all(steps, FIELD_LIMITS.last().copied().unwrap_or(250));
    let kept = choose(steps, &narrow, budget);
    let mut text = String::new();
    let mut gap = 0;
    for (index, rendered) in narrow.iter().enumerate() {
        if kept.contains(&index) {
            push_gap(&mut text, &mut gap);
            text.push_str(rendered);
        } else {
            gap += 1;
        }
    }
    push_gap(&mut text, &mut gap);
    let text = text.trim_end().to_owned();
    let left_out = chars.saturating_sub(text.chars().count());
    Shortened { text, chars, left_out }
}

fn push_gap(text: &mut String, gap: &mut usize) {
    if *gap > 0 {
        text.push_str(&format!("[… {gap} steps left out …]\n"));
        *gap = 0;
    }
}

/// Steps to keep: failures first (at most a quarter of the budget), then from both ends inward.
fn choose(steps: &[Step], rendered: &[String], budget: usize) -> BTreeSet<usize> {
    let mut kept = BTreeSet::new();
    let size = |index: usize| rendered.get(index).map_or(0, |text| text.chars().count());
    let mut left = budget.saturating_sub(64);
    let mut for_failures = left / 4;
    for (index, _) in steps.iter().enumerate().filter(|(_, step)| step.failed) {
        if size(index) + 32 <= for_failures {
            for_failures -= size(index) + 32;
            left -= size(index) + 32;
            kept.insert(index);
        }
    }
    let count = steps.len();
    for distance in 0..count.div_ceil(2) {
        for index in [distance, count - 1 - distance] {
            if kept.contains(&index) {
                continue;
            }
            if size(index) > left {
                return kept;
            }
            left -= size(index);
            kept.insert(index);
        }
    }
    kept
}

fn render_all(steps: &[Step], limit: usize) -> Vec<String> {
    steps.iter().enumerate().map(|(index, step)| render(index + 1, step, limit)).collect()
}

fn render(number: usize, step: &Step, limit: usize) -> String {
    let indent = "  ".repeat(step.depth.min(8));
    let mut text = format!("{indent}[{number}] {}", head_tail(&step.heading, limit.min(400)).text);
    for (name, value) in &step.fields {
        let value = if limit == usize::MAX { value.clone() } else { head_tail(value, limit).text };
        match *name {
            "" => text.push_str(&format!(": {}", indented(&value, &indent))),
            name => text.push_str(&format!("\n{indent}    {name}: {}", indented(&value, &indent))),
        }
    }
    text.push('\n');
    text
}

/// Further lines of a value stand deeper than any step, so that content cannot pose as a step of its own.
fn indented(value: &str, indent: &str) -> String {
    value.trim_end().replace('\n', &format!("\n{indent}      "))
}

fn length(rendered: &[String]) -> usize {
    rendered.iter().map(|text| text.chars().count()).sum()
}

fn cut_by(steps: &[Step], limit: usize) -> usize {
    steps.iter().flat_map(|step| &step.fields).map(|(_, value)| head_tail(value, limit).left_out).sum()
}

#[cfg(test)]
#[path = "transcript_tests.rs"]
mod tests;
