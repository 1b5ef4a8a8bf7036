//! Numbers as a manager reads them, and the sentences made of them. No finding is made here.

use super::{
    Beside, Cells, MetricComparison, More,
    contrast::{LEVEL, POWER},
    measure::Metric,
};
use crate::{
    model::{Change, Direction, Estimand, Scale, UnscoredReason},
    stats::{Estimate, Interval, Status},
};

/// How values of a metric are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A share of yes, in percent; changes in points.
    Percent,
    /// A number with this many decimals.
    Number(usize),
    /// Milliseconds, or seconds from one second.
    Millis,
    /// US dollars.
    Dollars,
    /// Whole things.
    Count,
}

impl Form {
    /// The form of a metric.
    pub fn of(metric: &Metric) -> Self {
        match (metric.name.as_str(), metric.is_measure()) {
            ("latency_ms", true) => Self::Millis,
            ("cost_usd", true) => Self::Dollars,
            (_, true) => Self::Count,
            _ if metric.scale == Scale::Binary => Self::Percent,
            _ => Self::Number(metric.bounds().map_or(3, |(least, greatest)| match greatest - least {
                width if width <= 2.0 => 3,
                width if width <= 20.0 => 2,
                _ => 1,
            })),
        }
    }

    /// A value.
    pub fn level(self, value: f64) -> String {
        let sign = if value < 0.0 { "−" } else { "" };
        match self {
            Self::Percent => format!("{:.1} %", 100.0 * value),
            _ => format!("{sign}{}", self.magnitude(value)),
        }
    }

    /// A change with its sign.
    pub fn shift(self, change: f64) -> String {
        let text = self.size(change);
        let rounds_to_nothing = !text.chars().any(|digit| ('1'..='9').contains(&digit));
        match (rounds_to_nothing, change < 0.0) {
            (true, _) => text,
            (false, true) => format!("−{text}"),
            (false, false) => format!("+{text}"),
        }
    }

    /// How large a change is, without sign.
    pub fn size(self, change: f64) -> String {
        match self {
            Self::Percent => format!("{:.1} points", 100.0 * change.abs()),
            _ => self.magnitude(change),
        }
    }

    /// An interval of changes.
    pub fn span(self, interval: &Interval) -> String {
        let bare = |text: String| text.trim_end_matches(" points").to_owned();
        format!(
            "{} interval {} to {}",
            level_text(interval.level),
            bare(self.shift(interval.lo)),
            bare(self.shift(interval.hi))
        )
    }

    fn magnitude(self, value: f64) -> String {
        let value = value.abs();
        match self {
            Self::Percent => format!("{:.1} %", 100.0 * value),
            Self::Number(decimals) => format!("{value:.decimals$}"),
            Self::Millis if value >= 1_000.0 => format!("{:.2} s", value / 1_000.0),
            Self::Millis => format!("{value:.0} ms"),
            Self::Dollars if value >= 1.0 => format!("${value:.2}"),
            Self::Dollars => format!("${value:.5}"),
            Self::Count if value >= 100.0 => format!("{value:.0}"),
            Self::Count => format!("{value:.1}"),
        }
    }
}

/// `95 %`.
pub(super) fn level_text(level: f64) -> String {
    percent(level)
}

/// A share in percent, with a decimal only where it says something.
pub(super) fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if (value - value.round()).abs() < 0.05 { format!("{value:.0} %") } else { format!("{value:.1} %") }
}

/// `p = 0.031`, or `p < 0.001`.
pub(super) fn p_text(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

/// `1 example`, `3 examples`.
pub(super) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A name of a slice or label from foreign data, on one line, at most 60 characters, without control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect();
    if text.chars().count() > 60 {
        shown.push('…');
    }
    shown
}

/// The name of a metric as the head of a sentence.
pub(super) fn title(metric: &str) -> String {
    let words = match metric {
        "latency_ms" => "latency",
        "cost_usd" => "cost",
        other => other,
    };
    let spaced = words.replace(['_', '-'], " ");
    let mut letters = spaced.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The finding of a comparison in one sentence.
///
/// `decision`: the one-sided bounds that the finding rests on. The 95 % interval is shown; where it alone would seem to
/// say something else, the p-value that decided stands beside it.
pub(super) fn sentence(found: &MetricComparison, form: Form, decision: Option<&Interval>) -> String {
    let name = title(&found.name);
    let (Some(before), Some(after), Some(change)) =
        (found.baseline.estimate, found.candidate.estimate, found.difference.estimate)
    else {
        return absent(found, &name);
    };
    let levels = format!("from {} to {}", form.level(before), form.level(after));
    let inside = evidence(found, form, decision, change);
    match found.change {
        Change::Improved | Change::Regressed => {
            let verb = if change < 0.0 { "fell" } else { "rose" };
            let more = if found.material_regression && found.margin > 0.0 {
                format!(" by more than the margin of {}", form.size(found.margin))
            } else {
                String::new()
            };
            format!("{name} {verb} {levels} ({inside}): {}{more}.", found.change.as_str())
        }
        Change::Equivalent => {
            format!(
                "{name} stayed within {} of the baseline, {levels} ({inside}): equivalent.",
                form.size(found.margin)
            )
        }
        Change::Inconclusive => {
            let outlook = ways(&found.beside);
            if found.difference.status == Status::NoInformation {
                let same = format!("{name} is the same in {}, {}", all_of(found.difference.n), form.level(after));
                return match outlook {
                    Some(outlook) => format!("{same}, too few to call it equivalent: inconclusive; {outlook}."),
                    None => format!("{same}: inconclusive, no change was seen."),
                };
            }
            let outlook = outlook.map(|outlook| format!("; {outlook}")).unwrap_or_default();
            format!("{name} went {levels} ({inside}): inconclusive{outlook}.")
        }
    }
}

/// `about 310 examples would decide it ($4.20), or 5 trials of each ($2.10)`; `None` where nothing would.
pub(super) fn ways(beside: &Beside) -> Option<String> {
    let mut told = beside.to_decide.iter().map(|way| {
        let price = way.price_usd.map(|price| format!(" (about {})", Form::Dollars.level(price)));
        (way, price.unwrap_or_default())
    });
    let (first, price) = told.next()?;
    let head = match first.more {
        More::Examples => format!("about {} examples would decide it{price}", first.count),
        More::Trials => format!("about {} trials of each example would decide it{price}", first.count),
        More::Draws => format!("about {} draws of the judge would decide it{price}", first.count),
    };
    let rest = told.map(|(way, price)| match way.more {
        More::Examples => format!("or {} examples{price}", way.count),
        More::Trials => format!("or {} trials of each{price}", way.count),
        More::Draws => format!("or {} draws of the judge{price}", way.count),
    });
    Some(std::iter::once(head).chain(rest).collect::<Vec<_>>().join(", "))
}

/// `all 20 examples`, `the one example`.
fn all_of(n: u64) -> String {
    if n == 1 { "the one example".to_owned() } else { format!("all {n} examples") }
}

fn evidence(found: &MetricComparison, form: Form, decision: Option<&Interval>, change: f64) -> String {
    let mut parts = vec![form.shift(change)];
    let Some(interval) = &found.difference.interval else {
        parts.extend(found.ratio.as_ref().and_then(ratio_text));
        parts.push(covers(found));
        return parts.join("; ");
    };
    parts.push(form.span(interval));
    parts.extend(found.ratio.as_ref().and_then(ratio_text));
    if found.ratio.is_none() {
        let across = interval.lo <= 0.0 && interval.hi >= 0.0;
        let outside = interval.lo <= -found.margin || interval.hi >= found.margin;
        match found.change {
            Change::Regressed if across => parts.extend(found.p_worse.map(|p| format!("one-sided {}", p_text(p)))),
            Change::Improved if across => parts.extend(found.p_better.map(|p| format!("one-sided {}", p_text(p)))),
            Change::Equivalent if outside => parts.extend(decision.map(|interval| form.span(interval))),
            _ => {}
        }
    }
    parts.push(covers(found));
    parts.join("; ")
}

/// `500 examples in 12 clusters, CR2 t, none left out`: what the figures rest on.
fn covers(found: &MetricComparison) -> String {
    let estimate = &found.difference;
    let clusters = match estimate.clusters {
        clusters if clusters == estimate.n || clusters == 0 => String::new(),
        clusters => format!(" in {}", count(clusters, "cluster")),
    };
    let method = match method_name(found.ratio.as_ref().unwrap_or(estimate)) {
        "" => String::new(),
        name => format!(", {}", name.trim_end()),
    };
    let missing = &found.missing;
    let left_out = match missing.no_baseline_score + missing.no_candidate_score + missing.neither {
        0 => "none left out".to_owned(),
        some => format!("{some} left out"),
    };
    format!("{}{clusters}{method}, {left_out}", count(estimate.n, "example"))
}

/// `×1.12 for a typical example, 95 % interval ×1.05 to ×1.20`.
fn ratio_text(ratio: &Estimate) -> Option<String> {
    let point = ratio.estimate?;
    Some(match &ratio.interval {
        Some(interval) => format!(
            "×{point:.2} for a typical example, {} interval ×{:.2} to ×{:.2}",
            level_text(interval.level),
            interval.lo,
            interval.hi
        ),
        None => format!("×{point:.2} for a typical example"),
    })
}

fn absent(found: &MetricComparison, name: &str) -> String {
    let absurd = found.difference.status == Status::Undefined && found.difference.n > 0;
    let side = match (found.baseline.estimate, found.candidate.estimate) {
        _ if absurd => "has scores too large to be reckoned with",
        (None, None) => "has no score with a value in either run",
        (None, Some(_)) => "has no score with a value in the baseline",
        (Some(_), None) => "has no score with a value in the candidate",
        (Some(_), Some(_)) => "cannot be compared",
    };
    let missing = &found.missing;
    let reasons: Vec<String> = [("baseline", &missing.baseline_reasons), ("candidate", &missing.candidate_reasons)]
        .into_iter()
        .filter(|(_, reasons)| !reasons.is_empty())
        .map(|(run, reasons)| format!("{run}: {}", reasons_text(reasons)))
        .collect();
    let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
    format!("{name} {side}{why}: inconclusive.")
}

/// `3 timeout, 1 off_menu`.
pub(super) fn reasons_text(reasons: &std::collections::BTreeMap<UnscoredReason, u64>) -> String {
    reasons.iter().map(|(reason, cells)| format!("{cells} {}", reason.as_str())).collect::<Vec<_>>().join(", ")
}

/// The line an expert wants: sizes, method, intervals, p-values, power, and what was left out.
pub(super) fn expert(
    found: &MetricComparison,
    decision: Option<&Interval>,
    deciding: &Estimate,
    notes: &[String],
) -> String {
    let mut parts = vec![size_text(deciding), method_text(deciding)];
    if let Some(interval) = decision {
        let times = if deciding.method == "log_ratio_t" { "×" } else { "" };
        parts.push(format!(
            "{} interval {times}{} to {times}{}",
            level_text(interval.level),
            plain(interval.lo),
            plain(interval.hi)
        ));
    }
    if let Some(interval) = found.difference.interval.as_ref().filter(|_| found.ratio.is_none()) {
        let (lo, hi) = (plain(interval.lo), plain(interval.hi));
        parts.push(format!("{} interval {lo} to {hi}", level_text(interval.level)));
    }
    if let (Some(worse), Some(better)) = (found.p_worse, found.p_better) {
        let adjusted = found
            .p_worse_adjusted
            .map(|p| format!(" (Holm {})", p_text(p).trim_start_matches("p = ")))
            .unwrap_or_default();
        parts.push(format!("one-sided {} worse{adjusted}, {} better", p_text(worse), p_text(better)));
    }
    if let Some(moved) = &found.discordance {
        parts.push(format!(
            "{} improved and {} worsened, exact McNemar {}, mid-p {}",
            moved.improved,
            moved.worsened,
            p_text(moved.exact_p),
            p_text(moved.mid_p).trim_start_matches("p = ")
        ));
    }
    if let Some(size) = found.detectable {
        parts.push(format!("detectable at {} power: {}", percent(POWER), plain(size)));
    }
    let missing = &found.missing;
    let left_out = missing.no_baseline_score + missing.no_candidate_score + missing.neither;
    if left_out > 0 {
        parts.push(format!(
            "{} left out: {} without baseline score, {} without candidate score, {} without both",
            count(left_out, "pair"),
            missing.no_baseline_score,
            missing.no_candidate_score,
            missing.neither
        ));
    } else {
        parts.push("none left out".to_owned());
    }
    parts.extend(deciding.warnings.iter().cloned());
    parts.extend(beside_text(found));
    parts.extend(notes.iter().cloned());
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// What stands beside the finding, for the expert.
fn beside_text(found: &MetricComparison) -> Vec<String> {
    let beside = &found.beside;
    let mut parts = Vec::new();
    if let Some(both) = &beside.estimands {
        let (other, name) = match both.decides {
            Estimand::Production => (&both.dataset, "on the dataset as it is"),
            Estimand::Dataset => (&both.production, "projected to production"),
        };
        parts.push(format!("{name} {}", number_and_interval(other)));
    }
    if let Some(all) = &beside.unpaired {
        parts.push(format!(
            "more than 10 % of the pairs are left out; over all scored examples, without pairs, the difference is {}",
            number_and_interval(all)
        ));
    }
    if let Some((low, high)) = beside.bounds {
        parts.push(format!(
            "whatever the unscored cells hid, the difference lies between {} and {}",
            plain(low),
            plain(high)
        ));
    }
    if let Some(panel) = &beside.ordinal {
        let p = panel.wilcoxon_p.map(|p| format!(", Wilcoxon {}", p_text(p))).unwrap_or_default();
        parts.push(format!("net sign {}{p}", number_and_interval(&panel.net_sign)));
    }
    if let Some((before, after)) = &beside.cells {
        let told = [("baseline", before), ("candidate", after)].map(|(side, cells)| cells_text(side, cells));
        parts.extend(told.into_iter().flatten());
    }
    parts
}

/// `−0.041 (95 % interval −0.07 to −0.012)`.
pub(super) fn number_and_interval(estimate: &Estimate) -> String {
    let Some(point) = estimate.estimate else { return "not known".to_owned() };
    match &estimate.interval {
        Some(interval) => {
            format!("{} ({} interval {} to {})", plain(point), percent(LEVEL), plain(interval.lo), plain(interval.hi))
        }
        None => format!("{} (no interval)", plain(point)),
    }
}

/// Where the cells of a side went, when not all have a value.
fn cells_text(side: &str, cells: &Cells) -> Option<String> {
    let parts: Vec<String> = [
        (cells.without_value, "with a label that has no value"),
        (cells.instrument, "where the grader failed"),
        (cells.target_failed, "where the target failed"),
        (cells.not_applicable, "to which it does not apply"),
        (cells.not_run, "not run"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    (!parts.is_empty()).then(|| format!("of {} cells of the {side}: {}", cells.planned, parts.join(", ")))
}

fn size_text(estimate: &Estimate) -> String {
    match estimate.clusters {
        clusters if clusters == estimate.n => format!("n = {}", estimate.n),
        clusters => format!("n = {} in {}", estimate.n, count(clusters, "cluster")),
    }
}

/// A method as people call it; empty where there is none.
fn method_name(estimate: &Estimate) -> &str {
    match estimate.method.as_str() {
        "student_t" => "paired t",
        "cr2_t" => "CR2 t",
        "hajek_t" => "Hájek t",
        "hajek_stratified_t" => "Hájek t, stratified",
        "hajek_poisson_t" => "Hájek t, Poisson sampling",
        "tango" => "Tango score",
        "independent_t" => "Welch t",
        "wilson" => "Wilson",
        "log_ratio_t" => "paired t of log ratios ",
        "none" => "",
        other => other,
    }
}

fn method_text(estimate: &Estimate) -> String {
    let name = method_name(estimate);
    if name.is_empty() {
        return String::new();
    }
    let df = estimate.df.map(|df| format!("({})", plain(df))).unwrap_or_default();
    let error = estimate.se.map(|se| format!(", SE {}", plain(se))).unwrap_or_default();
    let status = match estimate.status {
        Status::Ok => "",
        Status::Empty => ", nothing to compare",
        Status::Insufficient => ", the variance cannot be estimated",
        Status::ZeroVariance => ", all differences equal",
        Status::NoInformation => ", all differences are zero",
        Status::Undefined | Status::LowMass | Status::Missing => ", not defined",
        Status::JudgeUninformative => ", the judge is no better than chance",
        Status::JudgeUnsteady => ", the judge goes by the order",
        Status::Separation => ", one side wins everything",
        Status::Disconnected => ", not all have met",
        Status::SingletonStratum => ", a stratum has a single unit",
    };
    format!("{name}{df}{error}{status}")
}

/// A number with three significant digits and a true minus sign.
pub(super) fn plain(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{:.decimals$}", value.abs());
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if value < 0.0 { format!("−{text}") } else { text.to_owned() }
}

/// `regressed by 8.3 points`.
pub(super) fn moved(found: &MetricComparison, form: Form) -> String {
    match found.difference.estimate {
        Some(change) => format!("{} {} by {}", found.name, found.change.as_str(), form.size(change)),
        None => format!("{} {}", found.name, found.change.as_str()),
    }
}

/// `at least` for metrics where more is better, `at most` where less is.
pub(super) fn demand(direction: Direction) -> &'static str {
    match direction {
        Direction::Higher => "at least",
        Direction::Lower => "at most",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(Form::Percent.shift(-0.0833), "−8.3 points");
        assert_eq!(Form::Percent.shift(-0.00001), "0.0 points");
        assert_eq!(Form::Percent.level(0.8167), "81.7 %");
        assert_eq!(Form::Millis.shift(1_520.0), "+1.52 s");
        assert_eq!(Form::Dollars.level(0.0123), "$0.01230");
        assert_eq!(Form::Number(2).level(-0.5), "−0.50");
        assert_eq!((percent(0.95), percent(0.125)), ("95 %".to_owned(), "12.5 %".to_owned()));
        assert_eq!((plain(-0.08333), plain(83.12), plain(1234.0)), ("−0.0833".into(), "83.1".into(), "1234".into()));
        assert_eq!(title("task_completion"), "Task completion");
    }

    #[test]
    fn foreign_names_stay_on_one_line() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(quoted(&"x".repeat(90)).chars().count(), 61);
    }
}
