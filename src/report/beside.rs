//! What stands beside a metric's finding, as terms with texts that all reports share: the other population, cells and
//! pairs left out, graded levels, broken examples, waivers, ways to decide. Words only; nothing is decided here.

use super::number::{self, Unit};
use super::words;
use crate::compare::{Cells, Comparison, MetricComparison, More, Ordinal, Quarantine};
use crate::model::{Estimand, MetricRole, Verdict};
use crate::stats::Estimate;
use crate::sys::text::one_line;

/// Examples of a list that are named.
const NAMED: usize = 8;

/// A term and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Aside {
    /// Term.
    pub term: &'static str,
    /// Text; foreign names in it are on one line and not yet escaped.
    pub text: String,
    /// Whether it belongs where space is short, because the finding reads differently without it.
    pub loud: bool,
}

/// All that stands beside a metric.
pub(super) fn asides(metric: &MetricComparison) -> Vec<Aside> {
    let unit = Unit::of(&metric.name, &metric.scale);
    let beside = &metric.beside;
    let mut found = Vec::new();
    let mut add = |term: &'static str, text: Option<String>, loud: bool| {
        found.extend(text.map(|text| Aside { term, text, loud }));
    };
    if let Some(both) = &beside.estimands {
        let mark = |estimand: Estimand| if both.decides == estimand { "; decides" } else { "" };
        let says = |estimate: &Estimate, estimand| Some(format!("{}{}", estimated(unit, estimate), mark(estimand)));
        // Of what only informs, or is decided by a ratio, the other population need not be in sight.
        let loud = metric.role == MetricRole::Gate && metric.ratio.is_none();
        add("Projected to production", says(&both.production, Estimand::Production), loud);
        add("Dataset as it is", says(&both.dataset, Estimand::Dataset), loud);
    }
    add("Without pairs", beside.unpaired.as_ref().map(|all| estimated(unit, all)), true);
    let bounds = beside.bounds.map(|(low, high)| {
        format!("{} to {}, whatever the unscored cells hid", unit.difference(low), unit.difference(high))
    });
    add("Bounds", bounds, true);
    let ends = beside.at_ends.map(|(worst, best)| {
        format!("{} with all missing cells at their worst, {} at their best", worst.as_str(), best.as_str())
    });
    add("At both ends", ends, true);
    let broken = beside.broken.as_ref().map(|broken| {
        let named: Vec<String> = broken.examples.iter().take(NAMED).map(|(id, _)| one_line(id.as_str(), 60)).collect();
        let names = if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
        let more = if broken.count > named.len() as u64 { ", ..." } else { "" };
        format!(
            "{} of {} fell by {} or more, {} may{names}{more}",
            words::plural(broken.count, "example", "examples"),
            number::count(broken.of),
            unit.value(broken.drop),
            number::count(broken.allowed)
        )
    });
    add("Guard", broken, beside.broken.as_ref().is_some_and(|broken| broken.count > 0));
    let waived = beside.waived.as_ref().map(|waived| {
        let by = waived.by.as_ref().map(|by| format!(" by {}", one_line(by, 60))).unwrap_or_default();
        let was = words::verdict(Some(waived.verdict), false).word;
        format!("{was}, accepted until {}{by}: {}", waived.until, one_line(&waived.reason, 300))
    });
    add("Waived", waived, true);
    let judge = beside.distrust.as_ref().map(|distrust| &distrust.sentence).or(beside.doubt.as_ref());
    let judge = judge.map(|sentence| one_line(sentence, 300));
    add("Judge", judge, true);
    if let Some(panel) = &beside.ordinal {
        add("Net sign", Some(net_sign(panel)), panel.conflict);
        add("Levels", levels(panel), false);
        let (before, after) = panel.ceiling;
        let at_top = format!("{} → {} of the scores", share(before), share(after));
        add("At the best level", Some(at_top), before.max(after) > 0.8);
    }
    let cells = beside.cells.and_then(|(before, after)| {
        let sides = [("baseline", before), ("candidate", after)].map(|(side, cells)| cells_text(side, &cells));
        let told: Vec<String> = sides.into_iter().flatten().collect();
        (!told.is_empty()).then(|| told.join("; "))
    });
    add("Cells", cells, false);
    add("To decide", to_decide(metric), false);
    found
}

/// `−0.250 [−0.331, −0.174]`.
fn estimated(unit: Unit, estimate: &Estimate) -> String {
    let (point, interval) = number::difference(unit, estimate);
    let n = number::count(estimate.n);
    if interval.is_empty() { format!("{point} (no interval), n={n}") } else { format!("{point} {interval}, n={n}") }
}

fn net_sign(panel: &Ordinal) -> String {
    let mut text = estimated(Unit::Plain(3), &panel.net_sign);
    if let Some(superiority) = panel.superiority {
        text.push_str(&format!("; the candidate is the higher one in {}", share(superiority)));
    }
    if let Some(p) = panel.wilcoxon_p {
        text.push_str(&format!("; Wilcoxon p {}", number::probability(p)));
    }
    if panel.conflict {
        text.push_str("; contradicts the mean");
    }
    text
}

/// `4: 0 → 6, 5: 60 → 54`.
fn levels(panel: &Ordinal) -> Option<String> {
    let rows: Vec<String> = panel
        .levels
        .iter()
        .map(|(level, before, after)| {
            format!("{}: {} → {}", one_line(level, 40), number::count(*before), number::count(*after))
        })
        .collect();
    (!rows.is_empty()).then(|| rows.join(", "))
}

fn cells_text(side: &str, cells: &Cells) -> Option<String> {
    let parts: Vec<String> = [
        (cells.without_value, "labels without a value"),
        (cells.instrument, "where the grader failed"),
        (cells.target_failed, "where the target failed"),
        (cells.not_applicable, "to which it does not apply"),
        (cells.not_run, "not run"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", number::count(count)))
    .collect();
    let (scored, planned) = (number::count(cells.scored), number::count(cells.planned));
    (!parts.is_empty()).then(|| format!("{side} {scored} of {planned} with a value, {}", parts.join(", ")))
}

/// `about 310 examples ($4.20), or 5 trials of each ($2.10)`.
pub(super) fn to_decide(metric: &MetricComparison) -> Option<String> {
    let ways: Vec<String> = metric
        .beside
        .to_decide
        .iter()
        .map(|way| {
            let price = way.price_usd.map(|price| format!(" ({})", number::dollars(price))).unwrap_or_default();
            let count = number::count(way.count);
            match way.more {
                More::Examples => format!("about {count} examples{price}"),
                More::Trials => format!("{count} trials of each{price}"),
                More::Draws => format!("{count} draws of the judge{price}"),
            }
        })
        .collect();
    (!ways.is_empty()).then(|| ways.join(", or "))
}

/// How many examples of the candidate waver, in a sentence; nothing where none does.
pub(super) fn wavering(comparison: &Comparison) -> Option<String> {
    let all = comparison.examples.len() as u64;
    let count = comparison.examples.iter().filter(|row| row.flaky).count() as u64;
    let examples = words::plural(count, "example", "examples");
    (count > 0 && comparison.candidate.trials > 1).then(|| {
        format!(
            "{examples} of {} waver: trials of the candidate disagree on a yes-or-no metric; `assize flaky ls` names them.",
            number::count(all)
        )
    })
}

/// What the gate left out as flaky, in sentences.
pub(super) fn quarantine(comparison: &Comparison) -> Vec<String> {
    let Some(Quarantine { examples, share: part, verdict_with_all, with_all }) = &comparison.quarantine else {
        return Vec::new();
    };
    let named: Vec<String> = examples.iter().take(NAMED).map(|(id, _)| one_line(id.as_str(), 60)).collect();
    let more = if examples.len() > named.len() { ", ..." } else { "" };
    let mut told = vec![format!(
        "In quarantine as flaky, and out of the gate: {} ({}): {}{more}.",
        words::plural(examples.len() as u64, "example", "examples"),
        share(*part),
        named.join(", ")
    )];
    let word = |verdict: Verdict| words::verdict(Some(verdict), false).word;
    let metrics: Vec<String> = with_all
        .iter()
        .map(|metric| {
            let unit = comparison
                .metrics
                .iter()
                .chain(&comparison.measures)
                .find(|found| found.name == metric.metric)
                .map_or(Unit::Plain(3), |found| Unit::of(&found.name, &found.scale));
            let change = metric.difference.map_or_else(String::new, |change| format!(" {}", unit.difference(change)));
            format!("{}{change} {}", one_line(&metric.metric, 60), metric.change.as_str())
        })
        .collect();
    let same = *verdict_with_all == comparison.verdict;
    told.push(format!(
        "With all examples the verdict {} {}: {}.",
        if same { "is the same," } else { "would be" },
        word(*verdict_with_all),
        metrics.join(", ")
    ));
    told
}

fn share(share: f64) -> String {
    format!("{} %", number::decimal(100.0 * share, if (0.0995..0.9005).contains(&share) { 0 } else { 1 }))
}
