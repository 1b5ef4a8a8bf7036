//! A text for Prometheus: findings of suites in the 0.0.4 exposition format, as a file for the textfile collector or a
//! page that is scraped.
//!
//! Labels are bounded: suite, metric, target, side and closed sets of words. No example, run or slice becomes a
//! label. The file replaces the one before it; whoever writes it does so atomically.

use std::collections::BTreeMap;

use super::{Material, ReportError, Subject};
use crate::compare::{RunCard, RunView};
use crate::model::{Change, UnscoredReason, Verdict};
use crate::stats::Estimate;
use crate::sys::text::one_line;

/// Series per metric name beyond which the rest is dropped: a guard against a suite with thousands of graders.
const METRICS_LIMIT: usize = 200;

/// Renders the file.
pub(super) fn render(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    Ok(families(material.subject).text().into_bytes())
}

/// One sample: a gauge.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Finite.
    pub value: f64,
}

/// Every sample of a run, for those who speak another language than Prometheus.
pub fn samples(view: &RunView) -> Vec<Sample> {
    let page = families(Subject::Run(view));
    let of = |(name, help): &(&'static str, &'static str)| {
        let samples = page.samples.get(name).into_iter().flatten();
        let sample = |(labels, value): &(Labels, f64)| Sample { name, help, labels: labels.clone(), value: *value };
        samples.map(sample).collect::<Vec<_>>()
    };
    FAMILIES.iter().flat_map(of).collect()
}

/// The findings of several runs on one page, each suite with its latest run, and further gauges behind them.
pub fn prometheus_page(runs: &[RunView], more: &[Gauge]) -> String {
    let mut page = Families::default();
    for view in runs {
        page.subject(Subject::Run(view));
    }
    let mut text = page.text();
    for gauge in more {
        head(&mut text, gauge.name, gauge.help);
        for (labels, value) in gauge.samples.iter().filter(|(_, value)| value.is_finite()) {
            sample(&mut text, gauge.name, labels, *value);
        }
    }
    text
}

/// A gauge that no run has.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    /// Name.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Labels and values.
    pub samples: Vec<(Labels, f64)>,
}

/// Labels by name.
pub type Labels = Vec<(String, String)>;

fn families(subject: Subject<'_>) -> Families {
    let mut page = Families::default();
    page.subject(subject);
    page
}

/// Families with their help, in the order of the file; all are gauges.
pub const FAMILIES: &[(&str, &str)] = &[
    ("assize_verdict", "Verdict of the gate: 1 for the word that holds, 0 for the others."),
    ("assize_run_timestamp_seconds", "When the run was started, seconds since 1970."),
    ("assize_run_trials", "Trials of the run by how the target ended."),
    ("assize_run_cells", "Cells of the run that have a score."),
    ("assize_run_unscored_cells", "Cells of the run without a score, by reason."),
    ("assize_run_retries", "Attempts of the run that failed and were tried again."),
    ("assize_run_cost_usd", "Money the run cost by who spent it, US dollars; a lower bound where prices are unknown."),
    ("assize_score_mean", "Mean score over examples."),
    ("assize_score_ci_lower", "Lower end of the interval of the mean."),
    ("assize_score_ci_upper", "Upper end of the interval of the mean."),
    ("assize_score_examples", "Examples behind the mean."),
    ("assize_score_unscored_cells", "Cells of the metric without a score, by reason."),
    ("assize_latency_seconds", "Latency of the target over trials, seconds, by statistic."),
    ("assize_cost_usd", "Cost of the target per trial, US dollars, by statistic."),
    ("assize_tokens", "Tokens of the target per trial, by statistic."),
    ("assize_compared_examples", "Examples present in both runs."),
    ("assize_difference", "Candidate minus baseline, in the unit of the metric (latency in seconds)."),
    ("assize_difference_ci_lower", "Lower end of the interval of the difference."),
    ("assize_difference_ci_upper", "Upper end of the interval of the difference."),
    ("assize_ratio", "Candidate over baseline."),
    ("assize_ratio_ci_lower", "Lower end of the interval of the ratio."),
    ("assize_ratio_ci_upper", "Upper end of the interval of the ratio."),
    ("assize_change", "How the metric moved: 1 for the word that holds, 0 for the others."),
];

struct Side<'a> {
    run: &'a RunCard,
    side: &'static str,
}

impl Side<'_> {
    fn labels(&self, more: &[(&str, &str)]) -> Labels {
        let own = [("suite", self.run.suite.as_str()), ("target", self.run.target.name.as_str()), ("side", self.side)];
        own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}

#[derive(Default)]
struct Families {
    samples: BTreeMap<&'static str, Vec<(Labels, f64)>>,
}

impl Families {
    /// Adds all that a run or a comparison says.
    fn subject(&mut self, subject: Subject<'_>) {
        match subject {
            Subject::Run(view) => {
                let side = Side { run: &view.run, side: "run" };
                self.run(&side);
                self.verdict(&side, view.verdict, view.instrument_failed);
                for metric in view.metrics.iter().chain(&view.measures).take(METRICS_LIMIT) {
                    self.mean(&side, &metric.name, &metric.estimate, &metric.unscored);
                    self.quantiles(&side, &metric.name, metric.p50, metric.p95);
                }
            }
            Subject::Comparison(view) => {
                let base = Side { run: &view.baseline, side: "baseline" };
                let cand = Side { run: &view.candidate, side: "candidate" };
                self.run(&base);
                self.run(&cand);
                self.verdict(&cand, Some(view.verdict), view.instrument_failed);
                self.add("assize_compared_examples", &cand.labels(&[]), view.pairing.paired as f64);
                for metric in view.metrics.iter().chain(&view.measures).take(METRICS_LIMIT) {
                    self.mean(&base, &metric.name, &metric.baseline, &metric.missing.baseline_reasons);
                    self.mean(&cand, &metric.name, &metric.candidate, &metric.missing.candidate_reasons);
                    self.change(&cand, &metric.name, &metric.difference, metric.change);
                    if let Some(ratio) = &metric.ratio {
                        self.estimate("assize_ratio", &cand.labels(&[("metric", &metric.name)]), ratio, 1.0);
                    }
                }
            }
        }
    }

    fn add(&mut self, family: &'static str, labels: &Labels, value: f64) {
        if value.is_finite() {
            self.samples.entry(family).or_default().push((labels.clone(), value));
        }
    }

    fn run(&mut self, side: &Side<'_>) {
        let totals = &side.run.totals;
        self.add("assize_run_timestamp_seconds", &side.labels(&[]), side.run.created_at.as_second() as f64);
        for (outcome, count) in [("ok", totals.trials_ok), ("failed", totals.trials_failed)] {
            self.add("assize_run_trials", &side.labels(&[("outcome", outcome)]), count as f64);
        }
        self.add("assize_run_cells", &side.labels(&[]), totals.scored as f64);
        for (reason, count) in &totals.unscored {
            self.add("assize_run_unscored_cells", &side.labels(&[("reason", reason.as_str())]), *count as f64);
        }
        self.add("assize_run_retries", &side.labels(&[]), totals.retries as f64);
        for (who, spend) in [("target", &totals.target_spend), ("judge", &totals.judge_spend)] {
            self.add("assize_run_cost_usd", &side.labels(&[("spender", who)]), spend.cost_usd);
        }
    }

    fn verdict(&mut self, side: &Side<'_>, verdict: Option<Verdict>, broken: bool) {
        let held = if broken { "instrument_failed" } else { verdict.map_or("not_gated", Verdict::as_str) };
        for word in ["pass", "fail", "inconclusive", "instrument_failed", "not_gated"] {
            self.add("assize_verdict", &side.labels(&[("verdict", word)]), f64::from(u8::from(word == held)));
        }
    }

    fn mean(&mut self, side: &Side<'_>, metric: &str, estimate: &Estimate, unscored: &BTreeMap<UnscoredReason, u64>) {
        if let Some((family, factor)) = measure_family(metric) {
            if let Some(mean) = estimate.estimate {
                self.add(family, &side.labels(&[("stat", "mean")]), mean * factor);
            }
            return;
        }
        let labels = side.labels(&[("metric", metric)]);
        if let Some(mean) = estimate.estimate {
            self.add("assize_score_mean", &labels, mean);
        }
        if let Some(interval) = &estimate.interval {
            let labels = side.labels(&[("metric", metric), ("level", &interval.level.to_string())]);
            self.add("assize_score_ci_lower", &labels, interval.lo);
            self.add("assize_score_ci_upper", &labels, interval.hi);
        }
        self.add("assize_score_examples", &labels, estimate.n as f64);
        for (reason, count) in unscored {
            let labels = side.labels(&[("metric", metric), ("reason", reason.as_str())]);
            self.add("assize_score_unscored_cells", &labels, *count as f64);
        }
    }

    fn quantiles(&mut self, side: &Side<'_>, metric: &str, p50: Option<f64>, p95: Option<f64>) {
        let Some((family, factor)) = measure_family(metric) else { return };
        for (stat, value) in [("p50", p50), ("p95", p95)] {
            if let Some(value) = value {
                self.add(family, &side.labels(&[("stat", stat)]), value * factor);
            }
        }
    }

    fn change(&mut self, side: &Side<'_>, metric: &str, difference: &Estimate, change: Change) {
        let labels = side.labels(&[("metric", metric)]);
        let factor = measure_family(metric).map_or(1.0, |(_, factor)| factor);
        self.estimate("assize_difference", &labels, difference, factor);
        for word in [Change::Improved, Change::Regressed, Change::Equivalent, Change::Inconclusive] {
            let labels = side.labels(&[("metric", metric), ("change", word.as_str())]);
            self.add("assize_change", &labels, f64::from(u8::from(word == change)));
        }
    }

    fn estimate(&mut self, family: &'static str, labels: &Labels, estimate: &Estimate, factor: f64) {
        let (lower, upper) = match family {
            "assize_ratio" => ("assize_ratio_ci_lower", "assize_ratio_ci_upper"),
            _ => ("assize_difference_ci_lower", "assize_difference_ci_upper"),
        };
        if let Some(point) = estimate.estimate {
            self.add(family, labels, point * factor);
        }
        if let Some(interval) = &estimate.interval {
            let mut labels = labels.clone();
            labels.push(("level".to_owned(), interval.level.to_string()));
            self.add(lower, &labels, interval.lo * factor);
            self.add(upper, &labels, interval.hi * factor);
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (family, help) in FAMILIES {
            let Some(samples) = self.samples.get(family) else { continue };
            head(&mut text, family, help);
            for (labels, value) in samples {
                sample(&mut text, family, labels, *value);
            }
        }
        text
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
}

fn sample(text: &mut String, name: &str, labels: &Labels, value: f64) {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
    text.push_str(&format!("{name}{labels} {value}\n"));
}

/// The family of a measure and the factor to its base unit; `None` for metrics of graders.
fn measure_family(metric: &str) -> Option<(&'static str, f64)> {
    match metric {
        "latency_ms" => Some(("assize_latency_seconds", 1e-3)),
        "cost_usd" => Some(("assize_cost_usd", 1.0)),
        "tokens" => Some(("assize_tokens", 1.0)),
        _ => None,
    }
}

/// A label value: one short line with backslash and quote escaped.
fn escape(value: &str) -> String {
    one_line(value, 120).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_end_early() {
        assert_eq!(escape("a\"} 1\nb\\"), "a\\\"} 1 b\\\\");
    }

    #[test]
    fn what_is_not_a_number_is_not_written() {
        let mut page = Families::default();
        page.add("assize_score_mean", &Vec::new(), f64::NAN);
        assert_eq!(page.text(), "");
    }
}
