//! What a CI page should point at: gates that failed or stayed open, metrics that got worse, a broken instrument. One list
//! for annotations, code quality and SARIF, so that they never disagree.
//!
//! Points at the line of the gate that decided, since an evaluation has no line of code to blame.

use super::number::{self, Unit};
use super::{Material, Places, Subject, words};
use crate::compare::{MetricComparison, MetricSummary};
use crate::model::{Change, MetricRole, Verdict};
use crate::sys::text::one_line;

/// Most issues of a report.
pub(super) const ISSUES_SHOWN: usize = 200;

/// How much an issue matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// It fails the run.
    Error,
    /// It stayed open.
    Warning,
    /// Worth knowing.
    Note,
}

/// One issue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Issue {
    /// Kind, from a closed set: see [`RULES`].
    pub rule: &'static str,
    /// Metric that it is about; absent for the run as a whole.
    pub metric: Option<String>,
    /// How much it matters.
    pub level: Level,
    /// A few words.
    pub title: String,
    /// All of it, one line.
    pub message: String,
    /// File, from the top of the repository.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
}

/// The kinds of issues, each with a sentence.
pub(super) const RULES: &[(&str, &str)] = &[
    ("gate-failed", "A gate failed: the metric got worse by more than its margin, or misses what is demanded of it."),
    ("gate-open", "A gate is inconclusive: the data do not decide whether the metric got worse."),
    ("gate-waived", "A gate did not pass and is waived."),
    ("got-worse", "A metric that only informs got worse."),
    ("instrument-failed", "There is no verdict, because the instrument failed or the runs cannot be compared."),
    ("verdict", "The verdict of the run as a whole."),
];

/// The issues of a subject, the worst first.
pub(super) fn issues(material: &Material<'_>) -> Vec<Issue> {
    let places = material.places;
    let (headline, reasons, verdict, broken) = match &material.subject {
        Subject::Run(view) => (&view.headline, &view.reasons, view.verdict, view.instrument_failed),
        Subject::Comparison(view) => (&view.headline, &view.reasons, Some(view.verdict), view.instrument_failed),
    };
    let suite = one_line(words::suite(&material.subject), 80);
    let whole = |rule, level, title: String| {
        // The headline is often the first reason in a sentence.
        let further = reasons.iter().filter(|reason| !headline.contains(reason.as_str())).take(5).map(String::as_str);
        let told: Vec<&str> = std::iter::once(headline.as_str()).chain(further).collect();
        let message = one_line(&told.join("; "), 1500);
        let (file, line) = place(places, None);
        Issue { rule, metric: None, level, title, message, file, line }
    };
    if broken {
        return vec![whole("instrument-failed", Level::Error, format!("{suite}: no verdict"))];
    }
    let mut found: Vec<Issue> = match &material.subject {
        Subject::Run(view) => {
            view.metrics.iter().chain(&view.measures).filter_map(|metric| of_run(metric, places)).collect()
        }
        Subject::Comparison(view) => {
            view.metrics.iter().chain(&view.measures).filter_map(|metric| of_pair(metric, places)).collect()
        }
    };
    // A verdict that no metric's own gate explains: too few examples, too much unscored.
    let level = match verdict {
        Some(Verdict::Fail) => Some(Level::Error),
        Some(Verdict::Inconclusive) => Some(Level::Warning),
        Some(Verdict::Pass) | None => None,
    };
    if let Some(level) = level.filter(|level| !found.iter().any(|issue| issue.level == *level)) {
        found.push(whole("verdict", level, format!("{suite}: {}", words::verdict(verdict, false).word)));
    }
    found.sort_by_key(|issue| match issue.level {
        Level::Error => 0,
        Level::Warning => 1,
        Level::Note => 2,
    });
    found.truncate(ISSUES_SHOWN);
    found
}

fn of_pair(metric: &MetricComparison, places: Option<&Places>) -> Option<Issue> {
    let waived = metric.beside.waived.is_some();
    let gate = metric.verdict.filter(|_| metric.role == MetricRole::Gate);
    let (rule, level, word) = match gate {
        _ if waived => ("gate-waived", Level::Note, "waived"),
        Some(Verdict::Fail) => ("gate-failed", Level::Error, "gate failed"),
        Some(Verdict::Inconclusive) => ("gate-open", Level::Warning, "inconclusive"),
        None if metric.change == Change::Regressed => ("got-worse", Level::Note, "regressed, informs only"),
        Some(Verdict::Pass) | None => return None,
    };
    let unit = Unit::of(&metric.name, &metric.scale);
    let (point, interval) = match &metric.ratio {
        Some(ratio) => number::ratio(ratio),
        None => number::difference(unit, &metric.difference),
    };
    let numbers = format!(
        "{} → {}, {point} {interval}, n={}",
        unit.maybe(metric.baseline.estimate),
        unit.maybe(metric.candidate.estimate),
        metric.difference.n
    );
    Some(issue(rule, level, (&metric.name, word), &format!("{} ({numbers})", metric.sentence), places))
}

fn of_run(metric: &MetricSummary, places: Option<&Places>) -> Option<Issue> {
    let (rule, level, word) = match metric.floor.map(|(_, met)| met).filter(|_| metric.role == MetricRole::Gate)? {
        Verdict::Fail => ("gate-failed", Level::Error, "gate failed"),
        Verdict::Inconclusive => ("gate-open", Level::Warning, "inconclusive"),
        Verdict::Pass => return None,
    };
    let (point, interval) = number::mean(Unit::of(&metric.name, &metric.scale), &metric.estimate);
    let message = format!("{} (mean {point} {interval}, n={})", metric.sentence, metric.estimate.n);
    Some(issue(rule, level, (&metric.name, word), &message, places))
}

fn issue(
    rule: &'static str,
    level: Level,
    (metric, word): (&str, &str),
    message: &str,
    places: Option<&Places>,
) -> Issue {
    let (file, line) = place(places, Some(metric));
    let title = format!("{}: {word}", one_line(metric, 80));
    Issue { rule, metric: Some(metric.to_owned()), level, title, message: one_line(message, 1500), file, line }
}

fn place(places: Option<&Places>, metric: Option<&str>) -> (String, usize) {
    let Some(places) = places else { return ("assize.toml".to_owned(), 1) };
    let line = metric.and_then(|metric| places.metrics.get(metric)).copied().unwrap_or(places.gate);
    (places.file.clone(), line.max(1))
}
