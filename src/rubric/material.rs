//! What a judge is shown of one example and output: the pieces its inputs name, cut to its limit and never in silence.
//!
//! A missing required piece makes the judge *not applicable*. The output is never missing: an agent that answered
//! nothing is judged on nothing, or the worst failures would drop out of the score.

use serde_json::Value;

use super::attack::addresses_judge;
use super::fence::fence;
use super::input::InputName;
use super::method::{Over, Pair};
use super::spec::{Condition, JudgeSpec, LongInput};
use super::transcript::{Shortened, TranscriptPart, head_tail, tool_calls, transcript, transcript_parts};
use crate::model::{ScoreInput, Trace, Unscored, UnscoredReason};

/// Why a judge is given nothing to judge.
pub type NotGiven = Unscored;

/// A piece that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Name of the piece.
    pub piece: String,
    /// Characters of the whole.
    pub chars: usize,
    /// Characters left out.
    pub left_out: usize,
}

/// The pieces of one judgement, before fencing.
#[derive(Clone, Debug)]
pub struct Material {
    pieces: Vec<Piece>,
}

/// One piece.
#[derive(Clone, Debug)]
struct Piece {
    name: InputName,
    /// `None` when there is none.
    text: Option<Shortened>,
    /// Name in the fence line where its own would tell too much.
    title: Option<&'static str>,
    /// What else the fence line says.
    note: Option<String>,
}

/// What fencing found in the pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Pieces that were cut.
    pub cuts: Vec<Cut>,
    /// Invisible characters that were made visible.
    pub hidden_characters: usize,
    /// Passages that looked like fences or chat-template tokens.
    pub fence_like: usize,
    /// Passages that address a judge: piece, kind, excerpt.
    pub attacks: Vec<(String, &'static str, String)>,
}

impl Material {
    /// Collects what the judge needs, cut as its policy says. Policies that ask first (summaries, parts) leave it long.
    ///
    /// # Errors
    /// *Unscored*: not applicable when the condition is not met or a required piece is missing; input too long when
    /// the judge refuses long material.
    pub fn collect(spec: &JudgeSpec, input: &ScoreInput<'_>) -> Result<Self, NotGiven> {
        let mut material = Self::whole(spec, input)?;
        let total = material.chars();
        if total > spec.max_input_chars {
            match spec.long_input {
                LongInput::Refuse => {
                    let detail = format!("{total} characters of material, the judge takes {}", spec.max_input_chars);
                    return Err(Unscored::new(UnscoredReason::InputTooLong, detail));
                }
                LongInput::HeadTail => material.shorten(input, spec.max_input_chars),
                LongInput::Summary => {}
            }
        }
        Ok(material)
    }

    /// Collects what the judge needs, uncut.
    ///
    /// # Errors
    /// *Unscored*, not applicable: the condition is not met or a required piece is missing.
    pub fn whole(spec: &JudgeSpec, input: &ScoreInput<'_>) -> Result<Self, NotGiven> {
        check_condition(spec, input)?;
        let required = spec.inputs.iter().map(|name| (name, true));
        let optional = spec.optional_inputs.iter().map(|name| (name, false));
        let mut pieces = Vec::new();
        for (name, required) in required.chain(optional) {
            let text = piece(name, input, usize::MAX);
            if text.is_none() && required {
                return Err(Unscored::not_applicable(format!("the example has no `{name}`, which the judge needs")));
            }
            pieces.push(Piece { name: name.clone(), text, title: None, note: None });
        }
        Ok(Self { pieces })
    }

    /// Collects what the judge needs of an example that is only shown, within a budget of characters.
    ///
    /// # Errors
    /// As [`Material::whole`].
    pub fn within(spec: &JudgeSpec, input: &ScoreInput<'_>, budget: usize) -> Result<Self, NotGiven> {
        let mut material = Self::whole(spec, input)?;
        if material.chars() > budget {
            material.shorten(input, budget);
        }
        Ok(material)
    }

    /// Characters of all pieces together.
    pub fn chars(&self) -> usize {
        self.pieces.iter().filter_map(|piece| piece.text.as_ref()).map(|text| text.chars).sum()
    }

    /// The two pieces of a pair, each in the other's place when `swapped`, under names that tell only the place.
    #[must_use]
    pub fn paired(mut self, pair: &Pair, swapped: bool) -> Self {
        let place = |material: &Self, name: &InputName| material.pieces.iter().position(|piece| piece.name == *name);
        if let (Some(first), Some(second)) = (place(&self, &pair.first), place(&self, &pair.second)) {
            let text = |at: usize| self.pieces.get(at).and_then(|piece| piece.text.clone());
            let (one, other) = (text(first), text(second));
            let (shown_first, shown_second) = if swapped { (other, one) } else { (one, other) };
            for (index, text, title) in [(first, shown_first, "first"), (second, shown_second, "second")] {
                if let Some(piece) = self.pieces.get_mut(index) {
                    piece.text = text;
                    piece.title = Some(title);
                }
            }
        }
        self
    }

    /// Pieces that are longer than an equal share of the budget allows: name, text, and the characters it may have.
    pub fn too_long(&self, budget: usize) -> Vec<(InputName, String, usize)> {
        if self.chars() <= budget {
            return Vec::new();
        }
        let share = self.share(budget);
        let long = self.pieces.iter().filter_map(|piece| Some((piece, piece.text.as_ref()?)));
        long.filter(|(_, text)| text.chars > share)
            .map(|(piece, text)| (piece.name.clone(), text.text.clone(), share))
            .collect()
    }

    /// Puts a summary in a piece's place; its fence line says so.
    pub fn put_summary(&mut self, name: &InputName, summary: &str) {
        if let Some(piece) = self.pieces.iter_mut().find(|piece| piece.name == *name) {
            let chars = piece.text.as_ref().map_or(0, |text| text.chars);
            piece.note = Some(format!("a summary by a model, of {chars} characters"));
            piece.text = Some(head_tail(summary, usize::MAX));
        }
    }

    /// The same material once for each part of the record of steps, with words that say which part it is.
    ///
    /// # Errors
    /// *Unscored*, input too long: what stands beside the record leaves no room for it, or it has more than `most`
    /// parts.
    pub fn parted(
        &self,
        input: &ScoreInput<'_>,
        over: Over,
        budget: usize,
        most: usize,
    ) -> Result<Vec<(Self, String)>, NotGiven> {
        let record = InputName::Known("transcript");
        let beside: usize = self
            .pieces
            .iter()
            .filter(|piece| piece.name != record)
            .filter_map(|piece| piece.text.as_ref())
            .map(|text| text.chars)
            .sum();
        let too_long = |detail: String| Unscored::new(UnscoredReason::InputTooLong, detail);
        let room = budget.saturating_sub(beside);
        if room < budget / 4 {
            return Err(too_long(format!("{beside} characters beside the record; the judge takes {budget} in all")));
        }
        let Some(trace) = input.output.trace.as_deref() else { return Ok(vec![(self.clone(), String::new())]) };
        let parts = transcript_parts(trace, over, room);
        if parts.len() > most {
            return Err(too_long(format!("the record has {} parts; the judge takes {most}", parts.len())));
        }
        let of = parts.len();
        let material = |(index, part): (usize, TranscriptPart)| {
            let mut material = self.clone();
            let words = format!("steps {} to {}", part.first, part.last);
            if let Some(piece) = material.pieces.iter_mut().find(|piece| piece.name == record) {
                piece.text = Some(part.text);
                if of > 1 {
                    piece.note = Some(format!("part {} of {of}, {words}; the others are judged apart", index + 1));
                }
            }
            (material, words)
        };
        Ok(parts.into_iter().enumerate().map(material).collect())
    }

    /// What each piece may have: an equal share, and what short ones leave goes to the long ones.
    fn share(&self, budget: usize) -> usize {
        let mut lengths: Vec<usize> =
            self.pieces.iter().filter_map(|piece| piece.text.as_ref()).map(|text| text.chars).collect();
        lengths.sort_unstable();
        let mut left = budget;
        let mut share = budget;
        for (index, length) in lengths.iter().enumerate() {
            share = left / (lengths.len() - index).max(1);
            if *length > share {
                break;
            }
            left -= length;
        }
        share
    }

    fn shorten(&mut self, input: &ScoreInput<'_>, budget: usize) {
        let share = self.share(budget);
        for one in &mut self.pieces {
            if one.text.as_ref().is_some_and(|text| text.chars > share) {
                one.text = piece(&one.name, input, share);
            }
        }
    }

    /// The pieces between fences, and what was found in them. A piece that is not there is `None`.
    pub(super) fn fenced(&self, code: &str) -> (Vec<(InputName, Option<String>)>, Findings) {
        let mut findings = Findings::default();
        let mut fenced = Vec::new();
        for piece in &self.pieces {
            let Some(text) = &piece.text else {
                fenced.push((piece.name.clone(), None));
                continue;
            };
            let title = piece.title.map_or_else(|| piece.name.to_string(), str::to_owned);
            let length = match (text.left_out, text.text.trim().is_empty()) {
                (0, true) => Some("empty".to_owned()),
                (0, false) => None,
                (left_out, _) => Some(format!("{left_out} of {} characters are left out", text.chars)),
            };
            let notes: Vec<String> = piece.note.iter().cloned().chain(length).collect();
            let note = (!notes.is_empty()).then(|| notes.join("; "));
            if text.left_out > 0 {
                findings.cuts.push(Cut { piece: title.clone(), chars: text.chars, left_out: text.left_out });
            }
            let shown = fence(code, &title, note.as_deref(), &text.text);
            findings.hidden_characters += shown.hidden;
            findings.fence_like += shown.fence_like;
            let attacks = addresses_judge(&text.text).into_iter();
            findings.attacks.extend(attacks.map(|attack| (title.clone(), attack.kind, attack.excerpt)));
            fenced.push((piece.name.clone(), Some(shown.text)));
        }
        (fenced, findings)
    }

    /// How many of a judge's quotes are not in the material. A quote is there when it is a step number that exists or
    /// words that occur, whatever the white space, punctuation and case; with an ellipsis, each part counts.
    pub fn quotes_not_found(&self, quotes: &[String]) -> usize {
        let squashed: Vec<String> = self.texts().map(squash).collect();
        quotes.iter().filter(|quote| !self.holds(quote.trim(), &squashed)).count()
    }

    fn holds(&self, quote: &str, squashed: &[String]) -> bool {
        let step = quote.trim_start_matches("step ").trim_matches(|c: char| c == '[' || c == ']' || c == '#');
        if step.parse::<u32>().is_ok() {
            let mark = format!("[{step}]");
            return self.texts().any(|text| text.contains(&mark));
        }
        let mut parts = quote.split("...").flat_map(|part| part.split('…')).map(squash).filter(|part| !part.is_empty());
        parts.all(|part| squashed.iter().any(|text| text.contains(part.as_str())))
    }

    /// The texts of all pieces.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| piece.text.as_ref()).map(|text| text.text.as_str())
    }
}

/// Letters and digits only, lower case: what survives re-quoting.
fn squash(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn check_condition(spec: &JudgeSpec, input: &ScoreInput<'_>) -> Result<(), NotGiven> {
    // A filter expression is read and applied by whoever asks.
    let Some(Condition::Equals { dimension: wanted, equals }) = &spec.when else { return Ok(()) };
    let found = dimension(wanted, input);
    if found.as_ref().is_some_and(|found| equals.contains(found)) {
        return Ok(());
    }
    let found = found.map_or("absent".to_owned(), |found| format!("`{found}`"));
    Err(Unscored::not_applicable(format!("dimension `{wanted}` is {found}, the judge wants `{}`", equals.join("`, `"))))
}

fn dimension(name: &str, input: &ScoreInput<'_>) -> Option<String> {
    let own = input.example.dimensions.get(name).cloned();
    own.or_else(|| input.output.trace.as_ref().and_then(|trace| trace.dimension(name)))
}

fn metadata<'a>(name: &str, input: &ScoreInput<'a>) -> Option<&'a Value> {
    let found = input.example.metadata.get(name).or_else(|| input.output.metadata.get(name));
    found.filter(|value| !value.is_null())
}

/// One piece within a budget; `None` when there is none.
fn piece(name: &InputName, input: &ScoreInput<'_>, budget: usize) -> Option<Shortened> {
    let trace = input.output.trace.as_deref().filter(|trace| !trace.spans.is_empty());
    let text = match name {
        InputName::Known("transcript") => return trace.map(|trace| transcript(trace, budget)).filter(is_there),
        InputName::Known("tool_calls") => return trace.map(|trace| tool_calls(trace, budget)).filter(is_there),
        InputName::Known("output") => readable(&input.output.value),
        InputName::Known("final_answer") => {
            let last = trace.and_then(Trace::final_output);
            readable(last.as_ref().unwrap_or(&input.output.value))
        }
        InputName::Known("input") => readable(Some(&input.example.input).filter(|value| !value.is_null())?),
        InputName::Known("reference") => readable(input.example.reference.as_ref().filter(|value| !value.is_null())?),
        InputName::Known("instructions") => instructions(input, trace)?,
        InputName::Known("tools") => tools(input, trace)?,
        InputName::Known(_) => return None,
        InputName::Metadata(name) => readable(metadata(name, input)?),
        InputName::Dimension(name) => dimension(name, input)?,
    };
    Some(head_tail(&text, budget))
}

fn is_there(text: &Shortened) -> bool {
    !text.text.is_empty()
}

/// Standing instructions: metadata, else system messages of the input, else those of the trace's first model call.
fn instructions(input: &ScoreInput<'_>, trace: Option<&Trace>) -> Option<String> {
    let named = ["instructions", "system_prompt", "policy"].into_iter().find_map(|name| metadata(name, input));
    if let Some(value) = named {
        return Some(readable(value));
    }
    let of_input: Vec<String> = messages(&input.example.input)
        .into_iter()
        .filter(|(role, _)| role == "system" || role == "developer")
        .map(|(_, text)| text)
        .collect();
    if !of_input.is_empty() {
        return Some(of_input.join("\n\n"));
    }
    let spans = trace?.outline();
    spans.into_iter().find_map(|(_, span)| {
        let first = span.messages_in.iter().find(|message| message.role == "system" || message.role == "developer")?;
        Some(first.plain_text()).filter(|text| !text.trim().is_empty())
    })
}

/// Tools on offer: metadata, else what the first model call of the trace was given.
fn tools(input: &ScoreInput<'_>, trace: Option<&Trace>) -> Option<String> {
    if let Some(value) = ["tools", "available_tools"].into_iter().find_map(|name| metadata(name, input)) {
        return Some(tool_list(value));
    }
    const ATTRIBUTES: &[&str] = &["gen_ai.tool.definitions", "llm.tools", "gen_ai.request.tools", "tools"];
    let spans = trace?.outline();
    spans.into_iter().find_map(|(_, span)| {
        let value = ATTRIBUTES.iter().find_map(|name| span.attributes.get(*name))?;
        Some(match value {
            Value::String(text) => {
                serde_json::from_str(text).map_or_else(|_| text.clone(), |parsed| tool_list(&parsed))
            }
            other => tool_list(other),
        })
    })
}

/// One tool per line, with its description and parameters where they are known.
fn tool_list(value: &Value) -> String {
    let Value::Array(items) = value else { return readable(value) };
    let lines: Vec<String> = items
        .iter()
        .map(|item| {
            let inner = item.get("function").unwrap_or(item);
            let Some(name) = inner.get("name").and_then(Value::as_str) else { return format!("- {}", readable(item)) };
            let mut line = format!("- {name}");
            if let Some(text) = inner.get("description").and_then(Value::as_str) {
                line.push_str(&format!(": {text}"));
            }
            let parameters = ["parameters", "input_schema", "inputSchema"].into_iter().find_map(|key| inner.get(key));
            if let Some(parameters) = parameters {
                line.push_str(&format!("\n  parameters: {parameters}"));
            }
            line
        })
        .collect();
    lines.join("\n")
}

/// A value as a person would want to read it: text as it is, a conversation by turns, other JSON indented.
fn readable(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => {
            let turns = messages(other);
            if turns.is_empty() {
                return serde_json::to_string_pretty(other).unwrap_or_else(|_| other.to_string());
            }
            let shown = turns.iter().filter(|(role, _)| role != "system" && role != "developer");
            shown.map(|(role, text)| format!("{role}: {text}")).collect::<Vec<_>>().join("\n\n")
        }
    }
}

/// Role and text of each message when a value is a conversation; empty when it is not.
fn messages(value: &Value) -> Vec<(String, String)> {
    let list = match value {
        Value::Array(list) => list,
        Value::Object(map) if map.len() == 1 => match map.get("messages") {
            Some(Value::Array(list)) => list,
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let turn = |item: &Value| {
        let role = item.get("role")?.as_str()?.to_owned();
        let content = item.get("content").or_else(|| item.get("parts"))?;
        let text = match content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts.iter().map(part_text).collect::<Vec<_>>().join("\n"),
            other => other.to_string(),
        };
        // Calls for tools stand beside the content in the commonest form.
        let calls = item.get("tool_calls").filter(|calls| !calls.is_null());
        Some((role, calls.map_or_else(|| text.clone(), |calls| format!("{text}\ntool calls: {calls}"))))
    };
    list.iter().map(turn).collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn part_text(part: &Value) -> String {
    let text = part.get("text").or_else(|| part.get("content")).and_then(Value::as_str);
    text.map_or_else(|| part.to_string(), str::to_owned)
}
