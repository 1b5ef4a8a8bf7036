//! Why it moved: slices that stand apart, near examples that did not move, and what quality costs.

use std::collections::HashMap;

use serde::Serialize;

use crate::compare::{Comparison, Contrasting, Explanation, Frontier, RepeatedCompared, RunView, SliceEffect};
use crate::report::moves::MetricFacts;
use crate::report::number::{self, Unit};
use crate::report::words::{self, Mark};
use crate::sys::text::one_line;

/// Slices per metric.
const SLICES: usize = 10;
/// Examples per metric.
const EXAMPLES: usize = 3;

type Facts = HashMap<String, MetricFacts>;

/// The section.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Why {
    pub metrics: Vec<WhyMetric>,
    pub frontier: Vec<FrontierRow>,
    pub frontier_words: Vec<String>,
    pub repeated: Vec<RepeatedRow>,
    pub repeated_words: Vec<String>,
    /// How the judges worked.
    pub judges: Vec<String>,
}

/// One metric explained.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WhyMetric {
    pub name: String,
    pub sentence: String,
    pub slices: Vec<WhySlice>,
    pub tested: String,
    pub examples: Vec<NearRow>,
}

/// One slice against the rest.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WhySlice {
    pub named: bool,
    pub words: String,
    pub also: String,
    pub origin: &'static str,
    pub n: String,
    pub share: String,
    pub inside: String,
    pub interval: String,
    pub outside: String,
    pub shrunk: String,
    pub of_change: String,
    pub q: String,
    pub mark: Mark,
    pub overlap: String,
}

/// An example that got worse beside its nearest that did not.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NearRow {
    pub worse: String,
    pub worse_change: String,
    pub held: String,
    pub held_change: String,
    pub alike: String,
    pub differs: String,
}

/// What quality costs in both runs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FrontierRow {
    pub metric: String,
    pub spent: String,
    pub baseline: String,
    pub candidate: String,
    pub ratio: String,
    pub spent_ratio: String,
    pub equal: String,
}

/// Chances over k trials, as changes.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RepeatedRow {
    pub metric: String,
    pub k: String,
    pub any: String,
    pub all: String,
}

/// Builds the section of a comparison.
pub(super) fn why(view: &Comparison, facts: &Facts) -> Why {
    let told = view.explanations.iter().filter(|one| one.tested > 0);
    let frontier_words = crate::report::explained::frontiers(view);
    Why {
        metrics: told.map(|one| metric(one, facts)).collect(),
        frontier: view.frontier.iter().map(frontier).collect(),
        frontier_words: frontier_words.into_iter().map(|one| one_line(&one.sentence, 500)).collect(),
        repeated: view.repeated.iter().filter(|one| one.k > 1).map(repeated).collect(),
        repeated_words: Vec::new(),
        judges: lines(crate::report::explained::both_judges(view)),
    }
}

fn lines(lines: Vec<String>) -> Vec<String> {
    lines.iter().map(|line| one_line(line, 900)).collect()
}

/// Builds what the section has for one run.
pub(super) fn of_run(view: &RunView) -> Why {
    Why {
        judges: lines(crate::report::explained::judges(&view.judges)),
        frontier_words: lines(crate::report::explained::costs(view)),
        repeated_words: lines(crate::report::explained::repeated(view)),
        ..Why::default()
    }
}

fn metric(explanation: &Explanation, facts: &Facts) -> WhyMetric {
    let unit = facts.get(&explanation.metric).map_or(Unit::Plain(3), |fact| fact.unit);
    let named = explanation.named.iter().map(|effect| slice(effect, unit, true));
    let is_named = |effect: &&SliceEffect| explanation.named.iter().any(|named| named.words == effect.words);
    let others = explanation.slices.iter().filter(|effect| !is_named(effect)).map(|effect| slice(effect, unit, false));
    WhyMetric {
        name: one_line(&explanation.metric, 60),
        sentence: one_line(&explanation.sentence, 900),
        slices: named.chain(others).take(SLICES).collect(),
        tested: words::plural(explanation.tested, "slice", "slices"),
        examples: explanation.contrasting.iter().take(EXAMPLES).map(|pair| near(pair, unit)).collect(),
    }
}

fn slice(effect: &SliceEffect, unit: Unit, named: bool) -> WhySlice {
    let (inside, interval) = number::difference(unit, &effect.inside);
    let shift = |value: Option<f64>| value.map_or_else(|| number::ABSENT.to_owned(), |value| unit.difference(value));
    let percent = |share: f64| format!("{} %", number::decimal(100.0 * share, 0));
    WhySlice {
        named,
        words: one_line(&effect.words, 160),
        also: one_line(&effect.also.join(", "), 200),
        origin: match effect.conditions.iter().map(|condition| condition.origin).max().unwrap_or_default() {
            crate::compare::Origin::Example => "example",
            crate::compare::Origin::Trace => "trace, either run",
            crate::compare::Origin::Outcome => "outcome, either run",
        },
        n: number::count(effect.examples),
        share: percent(effect.share),
        inside,
        interval,
        outside: shift(effect.outside.estimate),
        shrunk: shift(effect.shrunk),
        of_change: effect.share_of_change.map_or_else(String::new, percent),
        q: effect.q.map_or_else(|| number::ABSENT.to_owned(), number::probability),
        mark: words::change(effect.change),
        overlap: effect.overlap.as_ref().map_or_else(String::new, |overlap| {
            let left = shift(overlap.without.estimate);
            one_line(&format!("{} in {}; {left} without them", percent(overlap.share), overlap.with), 200)
        }),
    }
}

fn near(pair: &Contrasting, unit: Unit) -> NearRow {
    let differs: Vec<String> =
        pair.differs.iter().take(4).map(|(name, mine, theirs)| format!("{name}: {mine} / {theirs}")).collect();
    NearRow {
        worse: one_line(pair.worse.as_str(), 60),
        worse_change: unit.difference(pair.worse_change),
        held: one_line(pair.held.as_str(), 60),
        held_change: unit.difference(pair.held_change),
        alike: format!("{} %", number::decimal(100.0 * pair.alike, 0)),
        differs: one_line(&differs.join("; "), 240),
    }
}

fn frontier(one: &Frontier) -> FrontierRow {
    let scale = crate::model::Scale::Number { min: Some(0.0), max: None };
    let unit = Unit::of(&one.spent, &scale);
    let ratio = |estimate: &crate::stats::Estimate| {
        let (point, interval) = number::ratio(estimate);
        format!("{point} {interval}")
    };
    let mean = |estimate: &crate::stats::Estimate| {
        let (point, interval) = number::mean(unit, estimate);
        format!("{point} {interval}")
    };
    FrontierRow {
        metric: one_line(&one.metric, 60),
        spent: words::measure_title(&one.spent).to_owned(),
        baseline: mean(&one.baseline.per_good),
        candidate: mean(&one.candidate.per_good),
        ratio: ratio(&one.per_good_ratio),
        spent_ratio: ratio(&one.spent_ratio),
        equal: one.ratio_at_equal_quality.as_ref().map(ratio).unwrap_or_default(),
    }
}

fn repeated(one: &RepeatedCompared) -> RepeatedRow {
    let shift = |estimate: &crate::stats::Estimate| {
        let (point, interval) = number::difference(Unit::Plain(3), estimate);
        format!("{point} {interval}")
    };
    RepeatedRow {
        metric: one_line(&one.metric, 60),
        k: number::count(one.k),
        any: shift(&one.pass_at_k),
        all: shift(&one.pass_hat_k),
    }
}
