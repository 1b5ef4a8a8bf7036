//! The list of examples, worst first: one line each with what moved, opened where details were given.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::opened::{self, Opened};
use super::text;
use crate::compare::{ExampleDetail, ExampleRow};
use crate::model::{Digest, Direction, ExampleId};
use crate::report::moves::{self, MetricFacts, Move};
use crate::report::{Material, Subject, number, words};
use crate::sys::text::one_line;

/// Rows in the file. Each takes about a kilobyte; a browser lays out only those that are looked at.
const ROWS_SHOWN: usize = 10_000;
/// Metrics named in a row.
const CHIPS_SHOWN: usize = 4;
/// Metrics that the list can be sorted by.
const SORTS_OFFERED: usize = 12;

/// The list's head.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Head {
    /// Whether two runs are compared.
    pub compared: bool,
    /// How many rows, in words.
    pub count: String,
    /// How many of each kind.
    pub kinds: Vec<Kind>,
    /// Metrics the list can be sorted by, in the order of [`ExampleView::keys`].
    pub sorts: Vec<String>,
    /// Whether there are none.
    pub empty: bool,
}

/// One choice of the filter.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Kind {
    /// Word in the row's state.
    pub state: &'static str,
    /// Text of the choice.
    pub text: String,
}

/// What the list left out.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Tail {
    /// Sentences.
    pub notes: Vec<String>,
}

/// One example.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ExampleView {
    /// Id of the element: made here, never foreign text.
    pub anchor: String,
    /// Id of the example.
    pub id: String,
    /// First line of the input.
    pub excerpt: String,
    /// Dimensions.
    pub dimensions: Vec<(String, String)>,
    /// Class for color.
    pub tone: &'static str,
    /// Sign of the tone.
    pub sign: &'static str,
    /// Tone as a word.
    pub word: &'static str,
    /// Words that the filter looks for.
    pub state: String,
    /// One number for each metric of [`Head::sorts`], less is worse; `x` where there is none.
    pub keys: String,
    /// Metrics that moved.
    pub chips: Vec<Chip>,
    /// Metrics not named.
    pub more: String,
    /// Whether trials disagree.
    pub flaky: bool,
    /// What is shown when opened.
    pub opened: Option<Opened>,
    /// Page that has it opened.
    pub link: String,
}

/// How an example stands in a list.
pub(super) enum Form {
    /// A row.
    Row,
    /// A row that leads to the page where it is opened.
    Link(String),
    /// A row that can be opened.
    Opened,
}

/// One metric in a row.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Chip {
    /// Metric.
    pub metric: String,
    /// What happened to it.
    pub text: String,
    /// Class.
    pub tone: &'static str,
    /// Sign.
    pub sign: &'static str,
}

/// All that is needed to build the rows one by one.
pub(super) struct List<'a> {
    rows: &'a [ExampleRow],
    compared: bool,
    facts: HashMap<String, MetricFacts>,
    details: HashMap<&'a ExampleId, &'a ExampleDetail>,
    anchors: Vec<String>,
    sorts: Vec<String>,
    given: usize,
}

impl<'a> List<'a> {
    /// The list of a subject.
    pub(super) fn of(material: &Material<'a>) -> Self {
        let (rows, compared): (&[ExampleRow], bool) = match material.subject {
            Subject::Run(view) => (&view.examples, false),
            Subject::Comparison(view) => (&view.examples, true),
        };
        let shown = rows.get(..ROWS_SHOWN).unwrap_or(rows);
        let sorts = match material.subject {
            Subject::Run(view) => names(view.metrics.iter().map(|metric| &metric.name)),
            Subject::Comparison(view) => names(view.metrics.iter().map(|metric| &metric.name)),
        };
        Self {
            rows,
            compared,
            sorts,
            facts: moves::facts(&material.subject),
            details: moves::by_id(material.details),
            anchors: anchors(shown),
            given: material.details.len(),
        }
    }

    /// How many rows go into the file.
    pub(super) fn shown(&self) -> usize {
        self.anchors.len()
    }

    /// Whether a row could be opened.
    pub(super) fn has_details(&self, index: usize) -> bool {
        self.rows.get(index).is_some_and(|row| self.details.contains_key(&row.id))
    }

    /// What stands above all rows.
    pub(super) fn head(&self) -> Head {
        Head {
            count: words::plural(self.rows.len() as u64, "example", "examples"),
            empty: self.rows.is_empty(),
            ..self.head_of(&(0..self.shown()).collect::<Vec<_>>())
        }
    }

    /// What stands above some of the rows.
    pub(super) fn head_of(&self, indices: &[usize]) -> Head {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for row in indices.iter().filter_map(|index| self.rows.get(*index)) {
            let moved = moves::moves(row, &self.facts, self.compared);
            for state in self.states(row, &moved) {
                *counts.entry(state).or_default() += 1;
            }
        }
        let choices: &[(&str, &str)] = if self.compared {
            &[
                ("worse", "worse"),
                ("better", "better"),
                ("same", "unchanged"),
                ("unscored", "unscored"),
                ("flaky", "flaky"),
            ]
        } else {
            &[("worse", "with a failed check"), ("unscored", "unscored"), ("flaky", "flaky")]
        };
        let kinds = choices
            .iter()
            .filter_map(|(state, text)| Some((state, text, *counts.get(state)?)))
            .map(|(state, text, count)| Kind { state, text: format!("{text} ({})", number::count(count)) })
            .collect();
        Head {
            compared: self.compared,
            count: words::plural(indices.len() as u64, "example", "examples"),
            kinds,
            sorts: self.sorts.iter().map(|name| one_line(name, 40)).collect(),
            empty: indices.is_empty(),
        }
    }

    /// What stands below the rows. `unopened` rows had details that no longer fitted.
    pub(super) fn tail(&self, unopened: usize) -> Tail {
        let mut notes = Vec::new();
        let beyond = self.rows.len() - self.shown();
        if beyond > 0 {
            let rows = words::plural(beyond as u64, "further example is", "further examples are");
            notes.push(format!("{rows} not listed here; the JSON report has all."));
        }
        if self.given < self.rows.len() && self.given > 0 {
            notes.push(format!(
                "Inputs, outputs and traces are in this report for {} of {}; the store has the others.",
                number::count(self.given as u64),
                words::plural(self.rows.len() as u64, "example", "examples")
            ));
        }
        if unopened > 0 {
            let rows = words::plural(unopened as u64, "example", "examples");
            notes.push(format!(
                "{rows} could not be opened here because the file would be too large; written to a file, the report \
                 opens them on pages beside it."
            ));
        }
        Tail { notes }
    }

    /// One row.
    pub(super) fn example(&self, index: usize, form: Form) -> Option<ExampleView> {
        let row = self.rows.get(index)?;
        let moved = moves::moves(row, &self.facts, self.compared);
        let detail = self.details.get(&row.id).copied();
        let tone = self.tone(row, &moved);
        let moving: Vec<&Move> = moved.iter().filter(|one| one.tone != "same" || !self.compared).collect();
        let still = moved.len() - moving.len();
        let shown = moving.len().min(CHIPS_SHOWN);
        Some(ExampleView {
            anchor: self.anchors.get(index)?.clone(),
            id: one_line(row.id.as_str(), 60),
            excerpt: detail.map(|detail| text::excerpt(&detail.input)).unwrap_or_default(),
            dimensions: row
                .dimensions
                .iter()
                .take(6)
                .map(|(name, value)| (one_line(name, 30), one_line(value, 40)))
                .collect(),
            tone,
            sign: moves::sign(tone),
            word: if self.compared { compared_word(tone) } else { run_word(tone) },
            state: self.states(row, &moved).join(" "),
            keys: self.keys(row),
            chips: moving.iter().take(CHIPS_SHOWN).map(|one| chip(one)).collect(),
            more: more_words(moving.len() - shown, shown, still),
            flaky: row.flaky,
            opened: detail
                .filter(|_| matches!(form, Form::Opened))
                .map(|detail| opened::open(detail, &self.facts, self.compared)),
            link: if let Form::Link(page) = form { page } else { String::new() },
        })
    }

    /// What the list is sorted by when a metric is asked for: its change, or its value in a run's own report.
    fn keys(&self, row: &ExampleRow) -> String {
        let of = |side: &BTreeMap<String, Option<f64>>, name: &str| side.get(name).copied().flatten();
        let key = |name: &String| {
            let before = if self.compared { of(&row.baseline, name)? } else { 0.0 };
            let lower = self.facts.get(name).is_some_and(|facts| facts.direction == Direction::Lower);
            let change = of(&row.candidate, name)? - before;
            Some(if lower { -change } else { change })
        };
        let keys = self.sorts.iter().map(|name| key(name).map_or_else(|| "x".to_owned(), |key| format!("{key:.6}")));
        keys.collect::<Vec<_>>().join(" ")
    }

    /// The shift decides; where no gated metric moved, whatever did.
    fn tone(&self, row: &ExampleRow, moved: &[Move]) -> &'static str {
        if !self.compared {
            return moved.iter().map(|one| one.tone).find(|tone| *tone == "worse").unwrap_or("same");
        }
        match row.shift {
            shift if shift < 0.0 => "worse",
            shift if shift > 0.0 => "better",
            _ => "same",
        }
    }

    fn states(&self, row: &ExampleRow, moved: &[Move]) -> Vec<&'static str> {
        let mut states = vec![self.tone(row, moved)];
        if moved.iter().any(|one| one.tone == "open") {
            states.push("unscored");
        }
        if row.flaky {
            states.push("flaky");
        }
        states
    }
}

fn names<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    all.take(SORTS_OFFERED).cloned().collect()
}

fn compared_word(tone: &str) -> &'static str {
    match tone {
        "worse" => "worse",
        "better" => "better",
        _ => "unchanged",
    }
}

fn run_word(tone: &str) -> &'static str {
    if tone == "worse" { "failed a check" } else { "" }
}

fn chip(one: &Move) -> Chip {
    Chip { metric: one_line(&one.metric, 40), text: one_line(&one.text(), 40), tone: one.tone, sign: one.sign() }
}

/// What stays the same is worth a word only where nothing else is said.
fn more_words(hidden: usize, named: usize, still: usize) -> String {
    match (hidden, still) {
        (0, 0) => String::new(),
        (0, _) if named > 0 => String::new(),
        (0, _) => "unchanged".to_owned(),
        (hidden, _) => format!("{hidden} more"),
    }
}

/// Element ids made of digests of example ids: stable between reports, safe in addresses, and unique.
fn anchors(rows: &[ExampleRow]) -> Vec<String> {
    let mut seen = HashSet::with_capacity(rows.len());
    rows.iter()
        .enumerate()
        .map(|(index, row)| {
            let anchor = format!("example-{}", Digest::of(row.id.as_str().as_bytes()).short());
            if seen.insert(anchor.clone()) { anchor } else { format!("{anchor}-{index}") }
        })
        .collect()
}
