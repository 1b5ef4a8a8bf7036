//! One example opened: what was asked, what came out on each side, what the graders said, and the steps behind it.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::calls::{self, CallRow};
use super::diff::{self, Marked, Segment};
use super::spans::{self, TraceView};
use super::text::{self, Block};
use crate::compare::{ExampleDetail, ScoreDetail, TrialDetail};
use crate::model::{Asked, Direction, Judged, Score, ScoreValue, Trace, Unscored};
use crate::report::moves::{self, MetricFacts};
use crate::report::{number, words};
use crate::sys::text::{one_line, shorten};

/// Trials shown of one example.
const TRIALS_SHOWN: usize = 5;
/// Graders shown of one trial.
const GRADERS_SHOWN: usize = 40;
/// Draws shown of one grader.
const DRAWS_SHOWN: usize = 7;
/// Lines shown of how a score came about.
const HOW_SHOWN: usize = 30;
/// Characters of one explanation.
const REASON_LIMIT: usize = 3000;

/// One example opened.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Opened {
    /// Input.
    pub input: Vec<Block>,
    /// Reference.
    pub reference: Vec<Block>,
    /// Trials.
    pub trials: Vec<TrialView>,
    /// Trials not shown, in words.
    pub more: String,
}

/// One trial on all sides.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TrialView {
    /// `Trial 1`; empty when there is only one.
    pub title: String,
    /// Baseline and candidate, or only the run.
    pub sides: Vec<SideView>,
    /// What is to be said of the marks.
    pub note: String,
    /// Graders.
    pub graders: Vec<GraderView>,
    /// Tool calls of both sides beside each other, where they differ.
    pub calls: Vec<CallRow>,
    /// Whether any side has steps.
    pub has_traces: bool,
}

/// One side of a trial.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SideView {
    /// `Baseline`, `Candidate` or `Output`.
    pub title: &'static str,
    /// Its class.
    pub side: &'static str,
    /// Whether there is a trial at all.
    pub present: bool,
    /// Output in segments.
    pub output: Vec<Segment>,
    /// Whether the output is data rather than prose.
    pub mono: bool,
    /// Whether the output is the empty text.
    pub empty: bool,
    /// Why the target failed.
    pub failure: String,
    /// Time, tokens, money.
    pub cost: String,
    /// Steps.
    pub trace: Option<TraceView>,
}

/// One grader on all sides.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GraderView {
    /// Name.
    pub name: String,
    /// Draws per side, in the order of the sides.
    pub sides: Vec<GraderSide>,
}

/// One grader on one side.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GraderSide {
    /// `Baseline`, `Candidate` or nothing.
    pub title: &'static str,
    /// Draws.
    pub draws: Vec<DrawView>,
}

/// One draw.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DrawView {
    /// `draw 1`; empty when there is only one.
    pub label: String,
    /// Value, or why there is none.
    pub value: String,
    /// Sign of the value.
    pub sign: &'static str,
    /// Class.
    pub tone: &'static str,
    /// Explanation.
    pub reason: String,
    /// How it came about: votes, orders, questions, parts.
    pub how: Vec<String>,
    /// What it rests on.
    pub evidence: Vec<String>,
}

/// Opens an example.
pub(super) fn open(detail: &ExampleDetail, facts: &HashMap<String, MetricFacts>, compared: bool) -> Opened {
    let numbers: BTreeSet<u32> = detail.baseline.iter().chain(&detail.candidate).map(|trial| trial.trial).collect();
    let several = numbers.len() > 1;
    let of = |side: &'_ [TrialDetail], number: u32| side.iter().position(|trial| trial.trial == number);
    let trials = numbers
        .iter()
        .take(TRIALS_SHOWN)
        .map(|number| {
            let baseline = of(&detail.baseline, *number).and_then(|index| detail.baseline.get(index));
            let candidate = of(&detail.candidate, *number).and_then(|index| detail.candidate.get(index));
            let title = if several { format!("Trial {}", number + 1) } else { String::new() };
            if compared {
                let sides = [("Baseline", "base", baseline), ("Candidate", "cand", candidate)];
                trial_view(title, &sides, facts)
            } else {
                trial_view(title, &[("Output", "cand", candidate)], facts)
            }
        })
        .collect();
    let more = numbers.len().saturating_sub(TRIALS_SHOWN) as u64;
    Opened {
        input: text::blocks(&detail.input),
        reference: detail.reference.as_ref().map(text::blocks).unwrap_or_default(),
        trials,
        more: if more > 0 {
            words::plural(more, "more trial is in the store", "more trials are in the store")
        } else {
            String::new()
        },
    }
}

fn scores<'a>(trial: &Option<&'a TrialDetail>) -> std::slice::Iter<'a, ScoreDetail> {
    trial.map_or([].as_slice(), |trial| trial.scores.as_slice()).iter()
}

/// Title, class and trial of a side.
type Side<'a> = (&'static str, &'static str, Option<&'a TrialDetail>);

fn trial_view(title: String, sides: &[Side<'_>], facts: &HashMap<String, MetricFacts>) -> TrialView {
    // One scale of time for both sides, so that their bars can be compared.
    let traces = sides.iter().filter_map(|(_, _, trial)| trial.as_ref()?.trace.as_ref());
    let whole_ns = traces.map(|trace| spans::length_ns(trace)).fold(1.0, f64::max);
    let mut views: Vec<SideView> = sides.iter().map(|side| side_view(side, whole_ns)).collect();
    let mut note = String::new();
    let gave_output = |side: &SideView| side.present && side.failure.is_empty();
    if let [base, cand] = views.as_mut_slice()
        && gave_output(base)
        && gave_output(cand)
    {
        note = mark_sides(base, cand);
    }
    let traces: Vec<&Trace> = sides.iter().filter_map(|(_, _, trial)| trial.as_ref()?.trace.as_deref()).collect();
    let calls = if let [base, cand] = traces.as_slice() { calls::aligned(base, cand) } else { Vec::new() };
    TrialView {
        title,
        calls,
        has_traces: views.iter().any(|side| side.trace.is_some()),
        sides: views,
        note,
        graders: graders(sides, facts),
    }
}

fn side_view((title, side, trial): &Side<'_>, whole_ns: f64) -> SideView {
    let Some(trial) = trial else {
        return SideView {
            title,
            side,
            present: false,
            output: Vec::new(),
            mono: false,
            empty: false,
            failure: String::new(),
            cost: String::new(),
            trace: None,
        };
    };
    let (output, mono) = trial.output.as_ref().map(text::plain).unwrap_or_default();
    let failure = trial.failure.as_ref();
    let time = trial.latency_ms.map(number::milliseconds).unwrap_or_default();
    let cost = spans::cost_words(&trial.usage, trial.cost_usd);
    SideView {
        title,
        side,
        present: true,
        empty: output.is_empty() && failure.is_none(),
        output: vec![Segment { text: shorten(&output, text::BLOCK_LIMIT), changed: false }],
        mono,
        failure: failure
            .map(|f| format!("{}: {}", words::failure(f.kind), shorten(&f.message, REASON_LIMIT)))
            .unwrap_or_default(),
        cost: [time, cost].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "),
        trace: trial.trace.as_ref().map(|trace| spans::trace_view(trace, whole_ns)),
    }
}

fn mark_sides(base: &mut SideView, cand: &mut SideView) -> String {
    let text = |side: &SideView| side.output.iter().map(|segment| segment.text.as_str()).collect::<String>();
    match diff::mark(&text(base), &text(cand)) {
        Marked::Same => "both outputs are the same".to_owned(),
        Marked::Not(why) => why.to_owned(),
        Marked::Sides(left, right) => {
            base.output = left;
            cand.output = right;
            String::new()
        }
    }
}

fn graders(sides: &[Side<'_>], facts: &HashMap<String, MetricFacts>) -> Vec<GraderView> {
    let mut names: Vec<&str> = Vec::new();
    for score in sides.iter().flat_map(|(_, _, trial)| scores(trial)) {
        if !names.contains(&score.grader.as_str()) && names.len() < GRADERS_SHOWN {
            names.push(&score.grader);
        }
    }
    names.sort_by_key(|name| facts.get(*name).map_or(usize::MAX, |fact| fact.place));
    let lower = |name: &str| facts.get(name).is_some_and(|fact| fact.direction == Direction::Lower);
    names
        .iter()
        .map(|name| GraderView {
            name: one_line(name, 60),
            sides: sides
                .iter()
                .map(|(title, _, trial)| {
                    let draws: Vec<&ScoreDetail> = scores(trial).filter(|score| score.grader == *name).collect();
                    let title = if sides.len() > 1 { title } else { "" };
                    GraderSide { title, draws: draw_views(&draws, lower(name)) }
                })
                .collect(),
        })
        .collect()
}

fn draw_views(draws: &[&ScoreDetail], lower: bool) -> Vec<DrawView> {
    let several = draws.len() > 1;
    draws
        .iter()
        .take(DRAWS_SHOWN)
        .map(|score| {
            let label = if several { format!("draw {}", score.draw + 1) } else { String::new() };
            match &score.scored {
                Ok(found) => scored_view(label, found, lower),
                Err(unscored) => unscored_view(label, unscored),
            }
        })
        .collect()
}

fn scored_view(label: String, score: &Score, lower: bool) -> DrawView {
    let (sign, tone) = match &score.value {
        ScoreValue::Pass { pass } if *pass != lower => ("✓", "better"),
        ScoreValue::Pass { .. } => ("✗", "worse"),
        _ => ("", "same"),
    };
    let value = match &score.value {
        ScoreValue::Pass { pass } => moves::yes_no(*pass, lower).to_owned(),
        ScoreValue::Number { number } => number::plain(number.get()),
        ScoreValue::Label { label, number: Some(number) } => {
            format!("{} ({})", one_line(label, 60), number::plain(number.get()))
        }
        other => one_line(&other.to_string(), 60),
    };
    DrawView {
        label,
        value,
        sign,
        tone,
        reason: score.explanation.as_deref().map(|text| shorten(text, REASON_LIMIT)).unwrap_or_default(),
        how: how(Judged::of(score)),
        evidence: score.evidence.iter().take(8).map(|text| one_line(text, 400)).collect(),
    }
}

/// How a score came about, a line for each vote, order, question or part.
fn how(judged: Option<Judged>) -> Vec<String> {
    let Some(judged) = judged else { return Vec::new() };
    let value = |value: &Option<ScoreValue>| value.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    let mut lines = Vec::new();
    for vote in &judged.votes {
        let weight = vote.weight.map_or_else(String::new, |weight| format!(", weight {}", number::plain(weight.get())));
        let why = vote.unscored.map_or_else(String::new, |reason| format!(" ({})", words::unscored(reason)));
        let said = vote.reasoning.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        lines.push(format!("{} votes {}{why}{weight}{said}", vote.member, value(&vote.value)));
    }
    if let Some(orders) = &judged.orders {
        lines.push(format!("as declared {}, swapped {}", value(&orders.declared), value(&orders.swapped)));
    }
    if let Some(cascade) = &judged.cascade {
        let why = match cascade.why {
            Asked::Sure => "sure",
            Asked::Audit => "sure, audited",
            Asked::Unsure => "not sure, the dear judge decided",
            Asked::Failed => "failed, the dear judge decided",
        };
        let dear = cascade.dear.as_ref().map_or_else(String::new, |dear| format!(", dear {dear}"));
        lines.push(format!("cheap {} ({}; {why}){dear}", value(&cascade.cheap), cascade.sureness));
    }
    lines.extend(judged.path.iter().map(|step| format!("{}: {}. {}", step.question, step.answer, step.reasoning)));
    lines.extend(judged.parts.iter().map(|part| format!("{}: {}", part.part, value(&part.value))));
    if let Some(mass) = judged.masses.as_ref().and_then(|masses| masses.mass) {
        let written = judged.masses.as_ref().and_then(|masses| masses.written);
        let written = written.map_or_else(String::new, |written| format!(", written {}", number::plain(written.get())));
        lines.push(format!("mass on scores {}{written}", number::plain(mass.get())));
    }
    lines.iter().take(HOW_SHOWN).map(|line| one_line(line, 600)).collect()
}

fn unscored_view(label: String, unscored: &Unscored) -> DrawView {
    DrawView {
        label,
        value: format!("unscored: {}", words::unscored(unscored.reason)),
        sign: "∅",
        tone: "open",
        reason: shorten(&unscored.detail, REASON_LIMIT),
        how: how(Judged::of_unscored(unscored)),
        evidence: Vec::new(),
    }
}
