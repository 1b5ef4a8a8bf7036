//! The summary printed when a run or comparison ends: verdict first, one line per metric, nothing after the findings.
//!
//! Plain text by default; color, ASCII and width are the caller's word, because only it knows the terminal.

use anstyle::{AnsiColor, Style};

use super::explained;
use super::layout::{Cell, Row, Table, wrap};
use super::{Material, ReportError, Subject, beside, number, words};
use crate::compare::{Comparison, MetricComparison, MetricSummary, Missing, RunCard, RunView, SliceComparison};
use crate::model::Change;
use crate::sys::text::one_line;

/// How a terminal wants its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalStyle {
    /// Whether escape sequences for color and weight may be written.
    pub color: bool,
    /// Whether only ASCII may be written.
    pub ascii: bool,
    /// Columns; less than 40 counts as 40.
    pub width: usize,
}

impl Default for TerminalStyle {
    fn default() -> Self {
        Self { color: false, ascii: false, width: 80 }
    }
}

/// Slices shown, the most credible changes.
const SLICES_SHOWN: usize = 5;
/// Reasons shown.
const REASONS_SHOWN: usize = 8;
/// Characters of a metric's name.
const NAME_LIMIT: usize = 32;

/// Renders with the default style, as `--format terminal` into a file does.
pub(super) fn render(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    Ok(terminal(material, TerminalStyle::default()).into_bytes())
}

/// Renders for a terminal of a known style.
pub fn terminal(material: &Material<'_>, style: TerminalStyle) -> String {
    let mut page = Page { style, text: String::new() };
    match material.subject {
        Subject::Run(view) => page.run(view),
        Subject::Comparison(comparison) => page.comparison(comparison),
    }
    if style.ascii { to_ascii(&page.text) } else { page.text }
}

struct Page {
    style: TerminalStyle,
    text: String,
}

impl Page {
    fn run(&mut self, view: &RunView) {
        let subject = Subject::Run(view);
        self.verdict(&subject, &view.headline, &view.reasons);
        let run = &view.run;
        let mut facts = vec![("run", card(run)), ("covers", run_coverage(run))];
        facts.extend(words::blessed(run).map(|text| ("baseline", one_line(&text, 300))));
        self.facts(&facts);
        let rows = view.metrics.iter().map(|metric| self.summary_row(metric)).collect();
        self.table("metrics", rows);
        let rows = view.measures.iter().map(|metric| self.summary_row(metric)).collect();
        self.table("measures", rows);
        self.sentences("repeated trials", explained::repeated(view).iter().map(String::as_str));
        self.sentences("what quality costs", explained::costs(view).iter().map(String::as_str));
        self.sentences("judges", explained::judges(&view.judges).iter().map(String::as_str));
        let unscored = view.metrics.iter().map(|metric| (&metric.name, words::unscored_counts(&metric.unscored)));
        self.unscored(unscored.filter(|(_, counts)| !counts.is_empty()));
        self.spend(&[("target", run.totals.target_spend.cost_usd), ("judges", run.totals.judge_spend.cost_usd)]);
    }

    fn comparison(&mut self, comparison: &Comparison) {
        let subject = Subject::Comparison(comparison);
        self.verdict(&subject, &comparison.headline, &comparison.reasons);
        let mut facts = vec![("baseline", card(&comparison.baseline))];
        facts.extend(words::standing(&comparison.baseline).map(|text| ("", one_line(&text, 300))));
        facts.push(("candidate", card(&comparison.candidate)));
        facts.push(("compared", coverage(comparison)));
        self.facts(&facts);
        self.sentences("configuration", words::configuration(comparison).iter().map(String::as_str));
        let rows = comparison.metrics.iter().map(|metric| self.metric_row(metric)).collect();
        self.table("metrics", rows);
        let rows = comparison.measures.iter().map(|metric| self.metric_row(metric)).collect();
        self.table("measures", rows);
        let told = explained::told(comparison).into_iter().map(|one| one.sentence.as_str());
        self.sentences("where it sits", told);
        self.sentences(
            "what quality costs",
            explained::frontiers(comparison).into_iter().map(|one| one.sentence.as_str()),
        );
        self.beside(comparison);
        self.sentences("judges", explained::both_judges(comparison).iter().map(String::as_str));
        let moved: Vec<&SliceComparison> =
            comparison.slices.iter().filter(|slice| decided(slice.change)).take(SLICES_SHOWN).collect();
        let rows = moved.iter().map(|slice| self.slice_row(slice, comparison)).collect();
        self.table("slices that moved", rows);
        let unscored = comparison.metrics.iter().map(|metric| (&metric.name, missing(&metric.missing)));
        self.unscored(unscored.filter(|(_, counts)| !counts.is_empty()));
        let (base, cand) = (&comparison.baseline.totals, &comparison.candidate.totals);
        self.spend(&[
            ("baseline judges", base.judge_spend.cost_usd),
            ("candidate target", cand.target_spend.cost_usd),
            ("candidate judges", cand.judge_spend.cost_usd),
        ]);
    }

    fn verdict(&mut self, subject: &Subject<'_>, headline: &str, reasons: &[String]) {
        let mark = words::verdict_of(subject);
        let badge = format!("{} {}", mark.sign, mark.word.to_uppercase());
        let indent = badge.chars().count() + 2;
        let lines = wrap(&one_line(headline, 600), self.width() - indent);
        let badge = self.ink(&badge, mark.tone, true);
        for (index, line) in lines.iter().enumerate() {
            let line = self.ink(line, "", true);
            let lead = if index == 0 { format!("{badge}  ") } else { " ".repeat(indent) };
            self.line(&format!("{lead}{line}"));
        }
        if lines.is_empty() {
            self.line(&badge);
        }
        for reason in reasons.iter().take(REASONS_SHOWN) {
            for (index, line) in wrap(&one_line(reason, 600), self.width() - 4).iter().enumerate() {
                self.line(&format!("  {} {line}", if index == 0 { "-" } else { " " }));
            }
        }
        if reasons.len() > REASONS_SHOWN {
            self.line(&format!("  - and {} more", reasons.len() - REASONS_SHOWN));
        }
        self.line("");
    }

    fn facts(&mut self, facts: &[(&str, String)]) {
        let name_width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, text) in facts {
            for (index, line) in wrap(text, self.width() - name_width - 4).iter().enumerate() {
                let lead = if index == 0 { *name } else { "" };
                let lead = self.ink(&format!("{lead:<name_width$}"), "faint", false);
                self.line(&format!("  {lead}  {line}"));
            }
        }
    }

    fn metric_row(&self, metric: &MetricComparison) -> Row {
        let unit = number::Unit::of(&metric.name, &metric.scale);
        let (point, interval) = match &metric.ratio {
            Some(ratio) => number::ratio(ratio),
            None => number::difference(unit, &metric.difference),
        };
        let mark = words::change(metric.change);
        let moved = metric.discordance.as_ref();
        let (up, down) = if self.style.ascii { (" up", " down") } else { ("↑", "↓") };
        Row {
            sign: words::role_sign(metric.role).to_owned(),
            cells: vec![
                Cell::left(one_line(&metric.name, NAME_LIMIT)),
                Cell::right(unit.maybe(metric.baseline.estimate)).joined("→"),
                Cell::left(unit.maybe(metric.candidate.estimate)),
                Cell::right(point).toned(mark.tone).joined(" "),
                Cell::left(interval),
                Cell::left(format!("n={}", number::count(metric.difference.n))),
                Cell::left(moved.map_or_else(String::new, |d| format!("{}{up} {}{down}", d.improved, d.worsened))),
            ],
            verdict: Some((mark, mark.word.to_owned())),
        }
    }

    fn summary_row(&self, metric: &MetricSummary) -> Row {
        let unit = number::Unit::of(&metric.name, &metric.scale);
        let (point, interval) = number::mean(unit, &metric.estimate);
        let quantiles = match (metric.p50, metric.p95) {
            (Some(p50), Some(p95)) => format!("p50 {}  p95 {}", unit.value(p50), unit.value(p95)),
            _ => String::new(),
        };
        let floor = metric.floor.map(|(floor, met)| {
            let mark = words::verdict(Some(met), false);
            (mark, format!("floor {} {}", unit.value(floor), mark.word))
        });
        Row {
            sign: words::role_sign(metric.role).to_owned(),
            cells: vec![
                Cell::left(one_line(&metric.name, NAME_LIMIT)),
                Cell::right(point).joined(" "),
                Cell::left(interval),
                Cell::left(format!("n={}", number::count(metric.estimate.n))),
                Cell::left(quantiles),
            ],
            verdict: floor,
        }
    }

    fn slice_row(&self, slice: &SliceComparison, comparison: &Comparison) -> Row {
        let metrics = comparison.metrics.iter().chain(&comparison.measures);
        let scale = metrics.into_iter().find(|metric| metric.name == slice.metric).map(|metric| &metric.scale);
        let unit = scale.map_or(number::Unit::Plain(3), |scale| number::Unit::of(&slice.metric, scale));
        let (point, interval) = number::difference(unit, &slice.difference);
        let mark = words::change(slice.change);
        Row {
            sign: mark.sign.to_owned(),
            cells: vec![
                Cell::left(one_line(&format!("{}={}", slice.dimension, slice.value), NAME_LIMIT)),
                Cell::left(one_line(&slice.metric, 20)),
                Cell::right(point).toned(mark.tone).joined(" "),
                Cell::left(interval),
                Cell::left(format!("n={}", number::count(slice.difference.n))),
            ],
            verdict: None,
        }
    }

    fn table(&mut self, title: &str, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        self.line("");
        let title = self.ink(title, "faint", false);
        self.line(&format!("  {title}"));
        let style = self.style;
        let table = Table { rows };
        for line in table.lines(self.width(), |text, tone| paint(style, text, tone, false)) {
            self.line(&line);
        }
    }

    fn sentences<'a>(&mut self, title: &str, sentences: impl Iterator<Item = &'a str>) {
        let mut head = Some(title);
        for sentence in sentences {
            if let Some(title) = head.take() {
                self.line("");
                let title = self.ink(title, "faint", false);
                self.line(&format!("  {title}"));
            }
            for (index, line) in wrap(&one_line(sentence, 900), self.width() - 6).iter().enumerate() {
                self.line(&format!("  {}{line}", if index == 0 { "" } else { "    " }));
            }
        }
    }

    /// What must be read beside the tables: the other population, waivers, broken examples, quarantine.
    fn beside(&mut self, comparison: &Comparison) {
        let metrics = comparison.metrics.iter().chain(&comparison.measures);
        let asides = metrics.flat_map(|metric| beside::asides(metric).into_iter().map(move |aside| (metric, aside)));
        let mut lines: Vec<String> = asides
            .filter(|(_, aside)| aside.loud)
            .map(|(metric, aside)| {
                let term = aside.term.to_lowercase();
                format!("{}, {term}: {}", one_line(&metric.name, NAME_LIMIT), one_line(&aside.text, 600))
            })
            .collect();
        lines.extend(beside::wavering(comparison));
        lines.extend(beside::quarantine(comparison));
        if lines.is_empty() {
            return;
        }
        self.line("");
        let title = self.ink("beside", "faint", false);
        self.line(&format!("  {title}"));
        for text in lines {
            for (index, line) in wrap(&text, self.width() - 6).iter().enumerate() {
                self.line(&format!("  {}{line}", if index == 0 { "" } else { "    " }));
            }
        }
    }

    fn unscored<'a>(&mut self, entries: impl Iterator<Item = (&'a String, String)>) {
        let entries: Vec<_> = entries.collect();
        if entries.is_empty() {
            return;
        }
        self.line("");
        let title = self.ink("unscored", "faint", false);
        self.line(&format!("  {title}"));
        for (name, counts) in entries {
            let text = format!("{}: {counts}", one_line(name, NAME_LIMIT));
            for (index, line) in wrap(&text, self.width() - 6).iter().enumerate() {
                self.line(&format!("  {}{line}", if index == 0 { "" } else { "    " }));
            }
        }
    }

    fn spend(&mut self, parts: &[(&str, f64)]) {
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, sum)| *sum > 0.0)
            .map(|(who, sum)| format!("{who} {}", number::dollars(*sum)))
            .collect();
        if !parts.is_empty() {
            self.line("");
            self.facts(&[("spent", parts.join(", "))]);
        }
    }

    fn width(&self) -> usize {
        self.style.width.max(40)
    }

    fn ink(&self, text: &str, tone: &str, bold: bool) -> String {
        paint(self.style, text, tone, bold)
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

fn paint(style: TerminalStyle, text: &str, tone: &str, bold: bool) -> String {
    if !style.color || text.is_empty() {
        return text.to_owned();
    }
    let ink = match tone {
        "better" => Style::new().fg_color(Some(AnsiColor::Cyan.into())).bold(),
        "worse" => Style::new().fg_color(Some(AnsiColor::Red.into())).bold(),
        "open" => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        "faint" => Style::new().dimmed(),
        _ => Style::new(),
    };
    let ink = if bold { ink.bold() } else { ink };
    format!("{ink}{text}{ink:#}")
}

fn decided(change: Change) -> bool {
    matches!(change, Change::Improved | Change::Regressed)
}

fn card(run: &RunCard) -> String {
    let name = one_line(&run.target.name, 40);
    let run_id = one_line(run.id.short(), 12);
    format!("{name} · run {run_id} · {}", run.created_at.strftime("%-d %b %Y %H:%M UTC"))
}

fn coverage(comparison: &Comparison) -> String {
    let pairing = &comparison.pairing;
    let mut text = format!(
        "{} of {}, {} each",
        words::plural(pairing.paired, "paired example", "paired examples"),
        one_line(&comparison.candidate.dataset, 60),
        words::plural(comparison.candidate.trials.into(), "trial", "trials"),
    );
    if pairing.only_baseline > 0 {
        text.push_str(&format!("; {} only in the baseline", number::count(pairing.only_baseline)));
    }
    if pairing.only_candidate > 0 {
        text.push_str(&format!("; {} only in the candidate", number::count(pairing.only_candidate)));
    }
    text
}

fn run_coverage(run: &RunCard) -> String {
    let totals = &run.totals;
    let mut text = format!(
        "{} of {}, {} each; {}",
        words::plural(totals.trials_planned / u64::from(run.trials.max(1)), "example", "examples"),
        one_line(&run.dataset, 60),
        words::plural(run.trials.into(), "trial", "trials"),
        words::status(run.status),
    );
    if totals.trials_failed > 0 {
        text.push_str(&format!(
            "; target failed in {}/{} trials",
            number::count(totals.trials_failed),
            number::count(totals.trials_planned)
        ));
    }
    text
}

fn missing(missing: &Missing) -> String {
    let sides = [("baseline", &missing.baseline_reasons), ("candidate", &missing.candidate_reasons)];
    let parts: Vec<String> = sides
        .iter()
        .map(|(side, reasons)| (side, words::unscored_counts(reasons)))
        .filter(|(_, counts)| !counts.is_empty())
        .map(|(side, counts)| format!("{side} {counts}"))
        .collect();
    parts.join("; ")
}

/// The same text in ASCII: known signs get a plain twin, other characters an escape.
pub fn to_ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '−' | '–' => plain.push('-'),
            '→' => plain.push_str("->"),
            '×' => plain.push('x'),
            '·' => plain.push('.'),
            '▲' => plain.push('^'),
            '▼' => plain.push('v'),
            '✓' => plain.push('+'),
            '✗' => plain.push('x'),
            '⚠' => plain.push('!'),
            '…' => plain.push_str("..."),
            other if other.is_ascii() => plain.push(other),
            other => plain.extend(other.escape_unicode()),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_means_ascii() {
        let text = to_ascii("✗ FAIL −0.083 → ×1.2 ▼ é");
        assert!(text.is_ascii());
        assert_eq!(text, "x FAIL -0.083 -> x1.2 v \\u{e9}");
    }

    #[test]
    fn color_is_off_unless_asked_for() {
        assert_eq!(paint(TerminalStyle::default(), "x", "worse", true), "x");
        let style = TerminalStyle { color: true, ..TerminalStyle::default() };
        assert!(paint(style, "x", "worse", false).starts_with('\u{1b}'));
    }
}
