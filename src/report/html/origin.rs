//! What was left out and why, and where the findings come from.

use serde::Serialize;
use serde_json::Value;

use super::metrics::missing_words;
use super::text::plain;
use crate::compare::{Comparison, Difference, RunCard, RunView};
use crate::model::{GraderInfo, GraderKind, Scale};
use crate::report::{beside, number, words};
use crate::sys::text::one_line;

/// Settings of a target shown.
const SETTINGS_SHOWN: usize = 60;

/// What was left out.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct LeftOut {
    /// Sentences about runs as a whole.
    pub notes: Vec<String>,
    /// Metrics with something missing.
    pub rows: Vec<LeftOutRow>,
}

/// What one metric had to leave out.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LeftOutRow {
    /// Metric.
    pub metric: String,
    /// Pairs left out, in words.
    pub pairs: String,
    /// Reasons in the baseline, or in the run.
    pub baseline: String,
    /// Reasons in the candidate.
    pub candidate: String,
    /// Whether the instrument failed more on one side, in words.
    pub differs: String,
}

/// Of a comparison.
pub(super) fn left_out_of_comparison(view: &Comparison) -> LeftOut {
    let pairing = &view.pairing;
    let mut notes = Vec::new();
    let only = [(pairing.only_baseline, "baseline"), (pairing.only_candidate, "candidate")];
    for (count, side) in only.iter().filter(|(count, _)| *count > 0) {
        let text = words::plural(*count, "example is", "examples are");
        notes.push(format!("{text} only in the {side} and not compared."));
    }
    notes.extend(beside::quarantine(view));
    for (run, side) in [(&view.baseline, "baseline"), (&view.candidate, "candidate")] {
        notes.extend(run_notes(run, &format!("of the {side} ")));
    }
    let rows = view.metrics.iter().filter_map(|metric| {
        let missing = &metric.missing;
        let row = LeftOutRow {
            metric: one_line(&metric.name, 100),
            pairs: missing_words(missing).unwrap_or_default(),
            baseline: or_none(words::unscored_counts(&missing.baseline_reasons)),
            candidate: or_none(words::unscored_counts(&missing.candidate_reasons)),
            differs: missing.differs_p.map(differs_words).unwrap_or_default(),
        };
        let nothing = row.pairs.is_empty() && row.baseline == NONE && row.candidate == NONE;
        (!nothing).then_some(row)
    });
    LeftOut { rows: rows.collect(), notes }
}

/// What an empty cell would leave open.
const NONE: &str = "none";

fn or_none(counts: String) -> String {
    if counts.is_empty() { NONE.to_owned() } else { counts }
}

fn differs_words(p: f64) -> String {
    let p_text = number::probability(p);
    if p < 0.05 {
        format!("yes (p {p_text}): the comparison may be biased")
    } else {
        format!("not noticeably (p {p_text})")
    }
}

/// Of a run.
pub(super) fn left_out_of_run(view: &RunView) -> LeftOut {
    let rows = view.metrics.iter().map(|metric| LeftOutRow {
        metric: one_line(&metric.name, 100),
        pairs: String::new(),
        baseline: words::unscored_counts(&metric.unscored),
        candidate: String::new(),
        differs: String::new(),
    });
    LeftOut { notes: run_notes(&view.run, ""), rows: rows.filter(|row| !row.baseline.is_empty()).collect() }
}

fn run_notes(run: &RunCard, whose: &str) -> Vec<String> {
    let totals = &run.totals;
    let mut notes = Vec::new();
    if totals.trials_failed > 0 {
        let planned = number::count(totals.trials_planned);
        let failed = number::count(totals.trials_failed);
        notes.push(format!("The target {whose}failed in {failed} of {planned} trials; these have no output to grade."));
    }
    let done = totals.cells_done();
    if done < totals.cells_planned {
        let open = words::plural(totals.cells_planned - done, "cell", "cells");
        notes.push(format!("{open} {whose}never got an outcome: the run is {}.", words::status(run.status)));
    }
    notes
}

/// Where the findings come from.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Origin {
    /// Whether two runs are compared.
    pub compared: bool,
    /// Respects in which the runs differ.
    pub differences: Vec<DifferenceRow>,
    /// Facts of the runs.
    pub facts: Vec<OriginRow>,
    /// Graders.
    pub graders: Vec<GraderRow>,
}

/// One respect in which the runs differ.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DifferenceRow {
    /// What.
    pub what: String,
    /// In the baseline.
    pub baseline: String,
    /// In the candidate.
    pub candidate: String,
    /// What it means.
    pub meaning: &'static str,
    /// Class.
    pub tone: &'static str,
}

/// One fact of a run or of both.
#[derive(Clone, Debug, Serialize)]
pub(super) struct OriginRow {
    /// What.
    pub what: String,
    /// In the baseline, or in the run.
    pub baseline: String,
    /// In the candidate.
    pub candidate: String,
    /// Whether the sides differ.
    pub differs: bool,
    /// Whether it is an id, a digest or data.
    pub mono: bool,
}

/// One grader.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GraderRow {
    /// Name in the suite.
    pub name: String,
    /// Scorer or judge.
    pub kind: &'static str,
    /// Component and version.
    pub component: String,
    /// Model of a judge.
    pub model: String,
    /// Scale.
    pub scale: String,
    /// Draws.
    pub draws: String,
    /// Short digest.
    pub digest: String,
    /// Whether the baseline had another one.
    pub changed: bool,
}

/// Of a comparison.
pub(super) fn of_comparison(view: &Comparison) -> Origin {
    let (base, cand) = (run_facts(&view.baseline), run_facts(&view.candidate));
    let facts = pair_up(base, &cand);
    let changed = |grader: &GraderInfo| {
        let before = view.baseline.graders.iter().find(|other| other.name == grader.name);
        before.is_none_or(|before| before.digest != grader.digest)
    };
    Origin {
        compared: true,
        differences: view.comparability.differences.iter().map(difference_row).collect(),
        facts,
        graders: view.candidate.graders.iter().map(|grader| grader_row(grader, changed(grader))).collect(),
    }
}

/// Of a run.
pub(super) fn of_run(view: &RunView) -> Origin {
    let facts = run_facts(&view.run).into_iter().map(|(what, text, mono)| OriginRow {
        what,
        baseline: text,
        candidate: String::new(),
        differs: false,
        mono,
    });
    Origin {
        compared: false,
        differences: Vec::new(),
        facts: facts.collect(),
        graders: view.run.graders.iter().map(|grader| grader_row(grader, false)).collect(),
    }
}

fn difference_row(difference: &Difference) -> DifferenceRow {
    let (meaning, tone) = match (difference.blocking, difference.allowed) {
        (false, _) => ("what is compared", "same"),
        (true, true) => ("changes the measure; allowed by name", "open"),
        (true, false) => ("changes the measure", "worse"),
    };
    DifferenceRow {
        what: one_line(&difference.what, 80),
        baseline: one_line(&difference.baseline, 200),
        candidate: one_line(&difference.candidate, 200),
        meaning,
        tone,
    }
}

/// What, text, and whether it is an id or data.
type RunFact = (String, String, bool);

fn run_facts(run: &RunCard) -> Vec<RunFact> {
    let totals = &run.totals;
    let spend = |cost: f64, unpriced: u64| {
        let bound = if unpriced > 0 { "at least " } else { "" };
        format!("{bound}{}", number::dollars(cost))
    };
    let mut facts: Vec<RunFact> = vec![
        ("Run".to_owned(), one_line(run.id.as_str(), 100), true),
        ("Started".to_owned(), run.created_at.strftime("%-d %b %Y %H:%M:%S UTC").to_string(), false),
        ("Standing".to_owned(), words::status(run.status).to_owned(), false),
        ("Target".to_owned(), one_line(&format!("{} ({})", run.target.name, run.target.kind), 200), false),
        ("Target digest".to_owned(), run.target.digest.short().to_owned(), true),
        ("Dataset".to_owned(), one_line(&run.dataset, 200), false),
        ("Dataset digest".to_owned(), run.dataset_digest.short().to_owned(), true),
        ("Trials per example".to_owned(), number::count(run.trials.into()), false),
        ("Seed".to_owned(), run.seed.to_string(), true),
        ("Commit".to_owned(), run.git_commit.as_deref().map_or_else(absent, |commit| one_line(commit, 100)), true),
        ("Version of assize".to_owned(), one_line(&run.tool_version, 60), false),
        (
            "Spent on the target".to_owned(),
            spend(totals.target_spend.cost_usd, totals.target_spend.unpriced_calls),
            false,
        ),
        ("Spent on judges".to_owned(), spend(totals.judge_spend.cost_usd, totals.judge_spend.unpriced_calls), false),
        ("Attempts repeated".to_owned(), number::count(totals.retries), false),
        ("Answers from the cache".to_owned(), number::count(totals.cached), false),
    ];
    for (name, value) in run.target.settings.iter().take(SETTINGS_SHOWN) {
        facts.push((format!("Setting {}", one_line(name, 60)), setting(value), true));
    }
    facts
}

fn setting(value: &Value) -> String {
    one_line(&plain(value).0, 300)
}

fn absent() -> String {
    number::ABSENT.to_owned()
}

/// Joins the facts of two runs by what they say; facts of one side only get a dash on the other.
fn pair_up(baseline: Vec<RunFact>, candidate: &[RunFact]) -> Vec<OriginRow> {
    let mut rows: Vec<OriginRow> = baseline
        .into_iter()
        .map(|(what, text, mono)| {
            let other = candidate.iter().find(|(name, _, _)| *name == what);
            let other = other.map_or_else(absent, |(_, text, _)| text.clone());
            OriginRow { differs: other != text, what, baseline: text, candidate: other, mono }
        })
        .collect();
    for (what, text, mono) in candidate {
        if !rows.iter().any(|row| row.what == *what) {
            rows.push(OriginRow {
                what: what.clone(),
                baseline: absent(),
                candidate: text.clone(),
                differs: true,
                mono: *mono,
            });
        }
    }
    rows
}

fn grader_row(grader: &GraderInfo, changed: bool) -> GraderRow {
    GraderRow {
        name: one_line(&grader.name, 60),
        kind: match grader.kind {
            GraderKind::Scorer => "scorer",
            GraderKind::Judge => "judge",
        },
        component: one_line(&format!("{} {}", grader.component, grader.version), 80),
        model: grader.model.as_deref().map_or_else(|| number::ABSENT.to_owned(), |model| one_line(model, 60)),
        scale: scale_words(&grader.scale),
        draws: number::count(grader.draws.into()),
        digest: grader.digest.short().to_owned(),
        changed,
    }
}

fn scale_words(scale: &Scale) -> String {
    match scale {
        Scale::Binary => "yes or no".to_owned(),
        Scale::Number { min: Some(min), max: Some(max) } => {
            format!("{} to {}", number::plain(*min), number::plain(*max))
        }
        Scale::Number { min: Some(min), max: None } => format!("{} and more", number::plain(*min)),
        Scale::Number { min: None, max: Some(max) } => format!("{} and less", number::plain(*max)),
        Scale::Number { min: None, max: None } => "any number".to_owned(),
        Scale::Labels { labels } => {
            let names: Vec<String> = labels.iter().take(8).map(|(label, _)| one_line(label, 30)).collect();
            names.join(", ")
        }
    }
}
