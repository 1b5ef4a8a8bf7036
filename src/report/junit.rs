//! JUnit XML: one test case per gate, with the reasons as its text, so that a CI page says why.
//!
//! Only gates fail. An example that got worse is evidence for a gate, not a failure of its own: counted alone it
//! would turn a passing comparison red, so the worst ones stand in the text of the gate they speak for.
//!
//! | Finding                   | JUnit                                             |
//! |---------------------------|---------------------------------------------------|
//! | pass, or the metric informs | success                                         |
//! | fail                      | `failure`                                         |
//! | inconclusive              | `skipped` with the reason: neither green nor red  |
//! | waived                    | `skipped` with the waiver: it did not hold        |
//! | instrument failed         | `error` on the case `verdict`; its gates `skipped` |

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite, XmlString};

use super::moves::{self, Move};
use super::number::{self, Unit};
use super::{Material, ReportError, Subject, words};
use crate::compare::{ExampleRow, MetricComparison, MetricSummary, RunCard};
use crate::model::{MetricRole, Verdict};
use crate::sys::text::{for_terminal, one_line, shorten};

/// Characters of the text of one test case.
const TEXT_LIMIT: usize = 20_000;
/// Examples named in the text of a gate.
const EXAMPLES_SHOWN: usize = 10;
/// Metrics listed.
const METRICS_SHOWN: usize = 500;

/// Renders the report.
pub(super) fn render(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    let subject = &material.subject;
    let suite_name = one_line(words::suite(subject), 200);
    let mut suite = TestSuite::new(xml(&suite_name));
    properties(&mut suite, material);
    suite.add_test_case(verdict_case(subject, &suite_name));
    let evidence = Evidence::of(material);
    match subject {
        Subject::Run(view) => {
            for metric in view.metrics.iter().chain(&view.measures).take(METRICS_SHOWN) {
                suite.add_test_case(summary_case(metric, view.instrument_failed, &suite_name, &evidence));
            }
        }
        Subject::Comparison(view) => {
            for metric in view.metrics.iter().chain(&view.measures).take(METRICS_SHOWN) {
                suite.add_test_case(comparison_case(metric, view.instrument_failed, &suite_name, &evidence));
            }
        }
    }
    let mut report = Report::new("assize");
    report.add_test_suite(suite);
    let mut bytes = Vec::new();
    report.serialize(&mut bytes).map_err(|error| ReportError { form: "junit", cause: error.to_string() })?;
    Ok(bytes)
}

fn properties(suite: &mut TestSuite, material: &Material<'_>) {
    let mut add = |name: &str, value: &str| {
        suite.add_property(Property::new(xml(name), xml(&one_line(value, 300))));
    };
    let mut side = |side: &str, run: &RunCard| {
        add(&format!("{side}.run"), run.id.as_str());
        add(&format!("{side}.target"), &run.target.name);
        add(&format!("{side}.dataset"), &run.dataset);
        if let Some(standing) = words::standing(run) {
            add(&format!("{side}.standing"), &standing);
        }
    };
    match material.subject {
        Subject::Run(view) => side("run", &view.run),
        Subject::Comparison(view) => {
            side("baseline", &view.baseline);
            side("candidate", &view.candidate);
        }
    }
    add("made_at", &material.made_at.to_string());
    add("tool", concat!("assize ", env!("CARGO_PKG_VERSION")));
}

fn verdict_case(subject: &Subject<'_>, suite: &str) -> TestCase {
    let (headline, reasons, verdict, broken) = match subject {
        Subject::Run(view) => (&view.headline, &view.reasons, view.verdict, view.instrument_failed),
        Subject::Comparison(view) => (&view.headline, &view.reasons, Some(view.verdict), view.instrument_failed),
    };
    let text: String = reasons.iter().map(|reason| format!("- {}\n", for_terminal(reason))).collect();
    let status = if broken {
        told(TestCaseStatus::non_success(NonSuccessKind::Error), "instrument_failed", headline, &text)
    } else {
        status_of(verdict, headline, &text)
    };
    case("verdict", suite, status, &format!("{headline}\n{text}"))
}

fn comparison_case(metric: &MetricComparison, broken: bool, suite: &str, evidence: &Evidence<'_>) -> TestCase {
    let unit = Unit::of(&metric.name, &metric.scale);
    let (point, interval) = match &metric.ratio {
        Some(ratio) => number::ratio(ratio),
        None => number::difference(unit, &metric.difference),
    };
    let message = format!(
        "{}: {} → {}, {point} {interval}, n={}",
        metric.change.as_str(),
        unit.maybe(metric.baseline.estimate),
        unit.maybe(metric.candidate.estimate),
        metric.difference.n
    );
    let text = format!("{}\n{}\n{}", metric.sentence, metric.expert, evidence.of_metric(&metric.name));
    if let Some(waived) = metric.beside.waived.as_ref().filter(|_| !broken) {
        let by = waived.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let was = words::verdict(Some(waived.verdict), false).word;
        let message = format!("{was}, waived until {}{by}: {}; {message}", waived.until, waived.reason);
        let status = told(TestCaseStatus::skipped(), "waived", &message, &text);
        return case(&metric.name, &format!("{suite}.gates"), status, &format!("{message}\n{text}"));
    }
    metric_case(&metric.name, gate_of(metric.role, metric.verdict), broken, suite, (&message, &text))
}

fn summary_case(metric: &MetricSummary, broken: bool, suite: &str, evidence: &Evidence<'_>) -> TestCase {
    let unit = Unit::of(&metric.name, &metric.scale);
    let (point, interval) = number::mean(unit, &metric.estimate);
    let floor = metric.floor.map(|(floor, _)| format!(", floor {}", unit.value(floor))).unwrap_or_default();
    let message = format!("mean {point} {interval}, n={}{floor}", metric.estimate.n);
    let unscored = words::unscored_counts(&metric.unscored);
    let unscored = if unscored.is_empty() { unscored } else { format!("unscored: {unscored}\n") };
    let text = format!("{}\n{unscored}{}", metric.sentence, evidence.of_metric(&metric.name));
    metric_case(&metric.name, gate_of(metric.role, metric.floor.map(|(_, met)| met)), broken, suite, (&message, &text))
}

fn gate_of(role: MetricRole, verdict: Option<Verdict>) -> Option<Verdict> {
    verdict.filter(|_| role == MetricRole::Gate)
}

fn metric_case(name: &str, gate: Option<Verdict>, broken: bool, suite: &str, told_as: (&str, &str)) -> TestCase {
    let (message, text) = told_as;
    let status = if broken && gate.is_some() {
        told(TestCaseStatus::skipped(), "instrument_failed", &format!("no verdict: {message}"), text)
    } else {
        status_of(gate, message, text)
    };
    let class = if gate.is_some() { format!("{suite}.gates") } else { format!("{suite}.informs") };
    case(name, &class, status, &format!("{message}\n{text}"))
}

fn status_of(verdict: Option<Verdict>, message: &str, text: &str) -> TestCaseStatus {
    match verdict {
        Some(Verdict::Fail) => told(TestCaseStatus::non_success(NonSuccessKind::Failure), "fail", message, text),
        Some(Verdict::Inconclusive) => told(TestCaseStatus::skipped(), "inconclusive", message, text),
        Some(Verdict::Pass) | None => TestCaseStatus::success(),
    }
}

fn told(mut status: TestCaseStatus, kind: &str, message: &str, text: &str) -> TestCaseStatus {
    status.set_type(kind).set_message(xml(&one_line(message, 1000))).set_description(xml(&shorten(text, TEXT_LIMIT)));
    status
}

fn case(name: &str, class: &str, status: TestCaseStatus, text: &str) -> TestCase {
    let plain = matches!(status, TestCaseStatus::Success { .. });
    let mut case = TestCase::new(xml(&one_line(name, 200)), status);
    case.set_classname(xml(class));
    if plain {
        case.set_system_out(xml(&shorten(text, TEXT_LIMIT)));
    }
    case
}

/// The rows that speak for a gate.
struct Evidence<'a> {
    material: &'a Material<'a>,
    worst: Vec<(&'a ExampleRow, Vec<Move>)>,
}

impl<'a> Evidence<'a> {
    fn of(material: &'a Material<'a>) -> Self {
        let (rows, compared) = match material.subject {
            Subject::Run(view) => (&view.examples, false),
            Subject::Comparison(view) => (&view.examples, true),
        };
        let facts = moves::facts(&material.subject);
        let worst = rows
            .iter()
            .map(|row| (row, moves::moves(row, &facts, compared)))
            .filter(|(_, moved)| moved.iter().any(|one| one.tone == "worse"))
            .collect();
        Self { material, worst }
    }

    fn of_metric(&self, metric: &str) -> String {
        let details = moves::by_id(self.material.details);
        let found: Vec<_> = self
            .worst
            .iter()
            .filter_map(|(row, moved)| moved.iter().find(|m| m.metric == metric && m.tone == "worse").map(|m| (row, m)))
            .collect();
        let mut text = String::new();
        for (row, moved) in found.iter().take(EXAMPLES_SHOWN) {
            let why = details.get(&row.id).and_then(|detail| moves::explanation(detail, metric)).unwrap_or_default();
            let why = if why.is_empty() { String::new() } else { format!(": {}", one_line(why, 400)) };
            text.push_str(&format!("- {} {}{why}\n", one_line(row.id.as_str(), 120), moved.text()));
        }
        if found.len() > EXAMPLES_SHOWN {
            text.push_str(&format!("- and {} more\n", found.len() - EXAMPLES_SHOWN));
        }
        text
    }
}

/// Text that XML 1.0 can hold: controls become visible escapes, and so do the two noncharacters it forbids.
fn xml(text: &str) -> XmlString {
    let safe = for_terminal(text).replace('\u{fffe}', "\\u{fffe}").replace('\u{ffff}', "\\u{ffff}");
    XmlString::new(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_forbids_is_escaped() {
        assert_eq!(xml("a\u{0}b\u{1b}[31m\u{ffff}").as_str(), "a\\u{0}b\\u{1b}[31m\\u{ffff}");
    }

    #[test]
    fn an_open_question_is_neither_green_nor_red() {
        assert!(matches!(status_of(Some(Verdict::Inconclusive), "m", "t"), TestCaseStatus::Skipped { .. }));
        assert!(matches!(status_of(Some(Verdict::Fail), "m", "t"), TestCaseStatus::NonSuccess { .. }));
        assert!(matches!(status_of(None, "m", "t"), TestCaseStatus::Success { .. }));
    }
}
