//! A comment for a pull request: GitHub-flavored Markdown, at most 60 kB, with a marker so that it can be replaced.
//!
//! Foreign text is one line, escaped, and cannot mention people, refer to issues or become a link.

use super::explained;
use super::moves;
use super::number::{self, Unit};
use super::{Material, ReportError, Subject, words};
use crate::compare::{Comparison, ExampleRow, MetricComparison, MetricSummary, Missing, RunCard, RunView};
use crate::model::{Change, Verdict};
use crate::sys::text::one_line;

/// Bytes of a whole comment; GitHub refuses more than 65,536 characters.
const SIZE_LIMIT: usize = 60_000;
/// Bytes kept for what is said at the end.
const CLOSING_ROOM: usize = 600;
/// Rows of metrics.
const METRICS_SHOWN: usize = 60;
/// Rows of slices.
const SLICES_SHOWN: usize = 20;
/// Rows of examples.
const EXAMPLES_SHOWN: usize = 10;
/// Characters of a reason.
const REASON_LIMIT: usize = 300;

/// Renders the comment.
pub(super) fn render(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    let subject = &material.subject;
    let mut page = Page { text: String::new(), left_out: 0 };
    page.text.push_str(&format!("<!-- assize:{} -->\n", marker(words::suite(subject))));
    page.push(&opening(subject));
    match subject {
        Subject::Run(view) => run_sections(view, &mut page),
        Subject::Comparison(view) => comparison_sections(view, &mut page),
    }
    page.push(&examples(material));
    page.close(material);
    Ok(page.text.into_bytes())
}

struct Page {
    text: String,
    left_out: usize,
}

impl Page {
    /// Adds a section whole, or counts it as left out: half a table is worse than none.
    fn push(&mut self, section: &str) {
        if section.is_empty() {
            return;
        }
        if self.text.len() + section.len() + CLOSING_ROOM > SIZE_LIMIT {
            self.left_out += 1;
            return;
        }
        self.text.push_str(section);
        self.text.push('\n');
    }

    fn close(&mut self, material: &Material<'_>) {
        if self.left_out > 0 {
            let parts = words::plural(self.left_out as u64, "section", "sections");
            self.text.push_str(&format!("{parts} left out for size; the HTML report has all.\n\n"));
        }
        let made = material.made_at.strftime("%-d %b %Y %H:%M UTC");
        self.text.push_str(&format!(
            "<sub>! can fail the gate · informs only. Brackets are intervals. Made {made} by assize {}.</sub>\n",
            env!("CARGO_PKG_VERSION")
        ));
    }
}

/// The suite's name as it may stand in an HTML comment.
fn marker(suite: &str) -> String {
    let safe: String =
        suite.chars().map(|c| if c.is_ascii_alphanumeric() || "_.".contains(c) { c } else { '-' }).collect();
    let folded = safe.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    folded.chars().take(100).collect()
}

fn opening(subject: &Subject<'_>) -> String {
    let mark = words::verdict_of(subject);
    let (headline, reasons, verdict, broken) = match subject {
        Subject::Run(view) => (&view.headline, &view.reasons, view.verdict, view.instrument_failed),
        Subject::Comparison(view) => (&view.headline, &view.reasons, Some(view.verdict), view.instrument_failed),
    };
    let alert = match verdict {
        _ if broken => "IMPORTANT",
        Some(Verdict::Fail) => "CAUTION",
        Some(Verdict::Inconclusive) => "WARNING",
        Some(Verdict::Pass) => "TIP",
        None => "NOTE",
    };
    let mut text = format!("### {} {}: {}\n\n", mark.sign, escape(words::suite(subject), 80), mark.word);
    text.push_str(&format!("> [!{alert}]\n> **{}**\n", escape(headline, 400)));
    if !reasons.is_empty() {
        text.push_str(">\n");
    }
    for reason in reasons.iter().take(12) {
        text.push_str(&format!("> - {}\n", escape(reason, 400)));
    }
    if reasons.len() > 12 {
        text.push_str(&format!("> - and {} more\n", reasons.len() - 12));
    }
    text
}

fn comparison_sections(view: &Comparison, page: &mut Page) {
    let pairing = &view.pairing;
    page.push(&format!(
        "Baseline {} → candidate {} · {} of {} · {} each{}\n",
        card(&view.baseline),
        card(&view.candidate),
        words::plural(pairing.paired, "paired example", "paired examples"),
        escape(&view.candidate.dataset, 80),
        words::plural(view.candidate.trials.into(), "trial", "trials"),
        if pairing.only_baseline + pairing.only_candidate > 0 {
            format!(" · {} in one run only", number::count(pairing.only_baseline + pairing.only_candidate))
        } else {
            String::new()
        },
    ));
    page.push(&comparison_table("", &view.metrics));
    page.push(&comparison_table("**Cost and speed**\n\n", &view.measures));
    page.push(&beside(view));
    page.push(&why(view));
    page.push(&slices(view));
    page.push(&judges(explained::both_judges(view)));
    page.push(&unscored(view.metrics.iter().map(|metric| (metric.name.as_str(), missing_words(&metric.missing)))));
}

/// Where the change sits and what quality costs: a sentence each, and the slices behind a click.
fn why(view: &Comparison) -> String {
    let told = explained::told(view);
    let lines: Vec<String> = told
        .iter()
        .map(|one| one.sentence.as_str())
        .chain(explained::frontiers(view).iter().map(|one| one.sentence.as_str()))
        .map(|sentence| format!("- {}\n", escape(sentence, 600)))
        .collect();
    let mut text = if lines.is_empty() { String::new() } else { format!("{}\n", lines.concat()) };
    let facts = moves::facts(&Subject::Comparison(view));
    for explanation in told {
        let moved = explained::moved(explanation);
        if moved.is_empty() {
            continue;
        }
        let unit = facts.get(&explanation.metric).map_or(Unit::Plain(3), |fact| fact.unit);
        text.push_str(&format!(
            "<details><summary>{} of {} stand apart in {}</summary>\n\n\
             | Slice | Inside | Outside | n | q | Overlap |\n|:--|:--|--:|--:|--:|:--|\n",
            moved.len(),
            words::plural(explanation.tested, "slice", "slices"),
            escape(&explanation.metric, 60)
        ));
        for slice in moved.iter().take(SLICES_SHOWN) {
            let (point, interval) = number::difference(unit, &slice.inside);
            let overlap = slice.overlap.as_ref().map_or_else(String::new, |overlap| {
                format!("{} % in {}", number::decimal(100.0 * overlap.share, 0), overlap.with)
            });
            text.push_str(&format!(
                "| {} | **{point}** {} | {} | {} | {} | {} |\n",
                escape(&slice.words, 160),
                money_safe(&interval),
                slice.outside.estimate.map_or_else(|| number::ABSENT.to_owned(), |value| unit.difference(value)),
                number::count(slice.examples),
                slice.q.map_or_else(|| number::ABSENT.to_owned(), number::probability),
                escape(&overlap, 160),
            ));
        }
        text.push_str("\n</details>\n");
    }
    text
}

fn run_sections(view: &RunView, page: &mut Page) {
    page.push(&format!(
        "{} · {} · {} of {} trials gave an output\n",
        card(&view.run),
        escape(&view.run.dataset, 80),
        number::count(view.run.totals.trials_ok),
        number::count(view.run.totals.trials_planned),
    ));
    page.push(&summary_table("", &view.metrics));
    page.push(&summary_table("**Cost and speed**\n\n", &view.measures));
    let lines = explained::repeated(view).into_iter().chain(explained::costs(view));
    page.push(&lines.map(|line| format!("- {}\n", escape(&line, 600))).collect::<String>());
    page.push(&judges(explained::judges(&view.judges)));
    page.push(&unscored(
        view.metrics.iter().map(|metric| (metric.name.as_str(), words::unscored_counts(&metric.unscored))),
    ));
}

/// How the judges worked, behind a click: about the instrument, not the target.
fn judges(lines: Vec<String>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("- {}\n", escape(line, 900))).collect();
    format!("<details><summary>How the judges worked</summary>\n\n{lines}\n</details>\n")
}

fn comparison_table(title: &str, metrics: &[MetricComparison]) -> String {
    if metrics.is_empty() {
        return String::new();
    }
    let mut text = format!("{title}|   | Metric | Baseline | Candidate | Difference | n | Unscored | Finding |\n");
    text.push_str("|:-:|:--|--:|--:|:--|--:|--:|:--|\n");
    for metric in metrics.iter().take(METRICS_SHOWN) {
        let unit = Unit::of(&metric.name, &metric.scale);
        let (point, interval) = match &metric.ratio {
            Some(ratio) => number::ratio(ratio),
            None => number::difference(unit, &metric.difference),
        };
        let interval = money_safe(&interval);
        let mark = words::change(metric.change);
        let moved =
            metric.discordance.as_ref().map(|d| format!(" ({}↑ {}↓)", d.improved, d.worsened)).unwrap_or_default();
        text.push_str(&format!(
            "| {} | {} | {} | {} | **{point}** {interval}{moved} | {} | {} | {} {} |\n",
            words::role_sign(metric.role),
            escape(&metric.name, 60),
            unit.maybe(metric.baseline.estimate),
            unit.maybe(metric.candidate.estimate),
            number::count(metric.difference.n),
            left_out(&metric.missing),
            mark.sign,
            mark.word,
        ));
    }
    text + more(metrics.len(), METRICS_SHOWN).as_str()
}

/// What must be read beside the tables: the other population, waivers, broken examples, quarantine.
fn beside(view: &Comparison) -> String {
    let metrics = view.metrics.iter().chain(&view.measures);
    let asides = metrics.flat_map(|metric| super::beside::asides(metric).into_iter().map(move |aside| (metric, aside)));
    let mut lines: Vec<String> = asides
        .filter(|(_, aside)| aside.loud)
        .take(METRICS_SHOWN)
        .map(|(metric, aside)| {
            let (name, text) = (escape(&metric.name, 60), escape(&aside.text, 600));
            format!("- {name}, {}: {text}\n", aside.term.to_lowercase())
        })
        .collect();
    lines.extend(super::beside::quarantine(view).iter().map(|text| format!("- {}\n", escape(text, 600))));
    lines.concat()
}

fn summary_table(title: &str, metrics: &[MetricSummary]) -> String {
    if metrics.is_empty() {
        return String::new();
    }
    let mut text = format!("{title}|   | Metric | Mean | Interval | p50 | p95 | n | Unscored | Floor |\n");
    text.push_str("|:-:|:--|--:|:--|--:|--:|--:|--:|:--|\n");
    for metric in metrics.iter().take(METRICS_SHOWN) {
        let unit = Unit::of(&metric.name, &metric.scale);
        let (point, interval) = number::mean(unit, &metric.estimate);
        let interval = money_safe(&interval);
        let floor = metric.floor.map(|(floor, met)| {
            let mark = words::verdict(Some(met), false);
            format!("{} {} {}", unit.value(floor), mark.sign, mark.word)
        });
        text.push_str(&format!(
            "| {} | {} | **{point}** | {interval} | {} | {} | {} | {} | {} |\n",
            words::role_sign(metric.role),
            escape(&metric.name, 60),
            unit.maybe(metric.p50),
            unit.maybe(metric.p95),
            number::count(metric.estimate.n),
            number::count(metric.unscored.values().sum()),
            floor.unwrap_or_default(),
        ));
    }
    text + more(metrics.len(), METRICS_SHOWN).as_str()
}

fn slices(view: &Comparison) -> String {
    let moved: Vec<_> =
        view.slices.iter().filter(|slice| matches!(slice.change, Change::Regressed | Change::Improved)).collect();
    if moved.is_empty() {
        return String::new();
    }
    let worse = moved.iter().filter(|slice| slice.change == Change::Regressed).count();
    let facts = moves::facts(&Subject::Comparison(view));
    let mut text = format!(
        "<details><summary>Slices that moved: {worse} worse, {} better</summary>\n\n\
         | Slice | Metric | Difference | n | q | Finding |\n|:--|:--|:--|--:|--:|:--|\n",
        moved.len() - worse
    );
    for slice in moved.iter().take(SLICES_SHOWN) {
        let unit = facts.get(&slice.metric).map_or(Unit::Plain(3), |fact| fact.unit);
        let (point, interval) = number::difference(unit, &slice.difference);
        let interval = money_safe(&interval);
        let mark = words::change(slice.change);
        text.push_str(&format!(
            "| {} = {} | {} | **{point}** {interval} | {} | {} | {} {} |\n",
            escape(&slice.dimension, 40),
            escape(&slice.value, 60),
            escape(&slice.metric, 60),
            number::count(slice.difference.n),
            slice.q.map_or_else(|| number::ABSENT.to_owned(), number::probability),
            mark.sign,
            mark.word,
        ));
    }
    text.push_str(&more(moved.len(), SLICES_SHOWN));
    text + "\n</details>\n"
}

fn unscored<'a>(entries: impl Iterator<Item = (&'a str, String)>) -> String {
    let lines: Vec<String> = entries
        .filter(|(_, counts)| !counts.is_empty())
        .take(METRICS_SHOWN)
        .map(|(name, counts)| format!("- {}: {counts}\n", escape(name, 60)))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("<details><summary>Unscored, by reason</summary>\n\n{}\n</details>\n", lines.concat())
}

fn examples(material: &Material<'_>) -> String {
    let (rows, compared) = match material.subject {
        Subject::Run(view) => (&view.examples, false),
        Subject::Comparison(view) => (&view.examples, true),
    };
    let facts = moves::facts(&material.subject);
    let details = moves::by_id(material.details);
    let worse: Vec<(&ExampleRow, Vec<moves::Move>)> = rows
        .iter()
        .map(|row| (row, moves::moves(row, &facts, compared)))
        .filter(|(row, moved)| moved.iter().any(|one| one.tone == "worse") && (!compared || row.shift < 0.0))
        .collect();
    if worse.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "<details><summary>{}</summary>\n\n| Example | What | Why |\n|:--|:--|:--|\n",
        if compared {
            format!("Worst of {} that got worse", words::plural(worse.len() as u64, "example", "examples"))
        } else {
            format!("{} with a failed check", words::plural(worse.len() as u64, "example", "examples"))
        }
    );
    for (row, moved) in worse.iter().take(EXAMPLES_SHOWN) {
        let worst: Vec<&moves::Move> = moved.iter().filter(|one| one.tone == "worse").take(3).collect();
        let what: Vec<String> =
            worst.iter().map(|one| format!("{} {}", escape(&one.metric, 40), escape(&one.text(), 60))).collect();
        let why = worst
            .first()
            .zip(details.get(&row.id))
            .and_then(|(one, detail)| moves::explanation(detail, &one.metric))
            .map(|why| escape(why, REASON_LIMIT))
            .unwrap_or_default();
        text.push_str(&format!("| {} | {} | {why} |\n", escape(row.id.as_str(), 80), what.join("<br>")));
    }
    text.push_str(&more(worse.len(), EXAMPLES_SHOWN));
    text + "\n</details>\n"
}

fn more(all: usize, shown: usize) -> String {
    if all > shown { format!("\nand {} more\n", number::count((all - shown) as u64)) } else { String::new() }
}

/// Two dollar signs in one line would be read as a formula.
fn money_safe(text: &str) -> String {
    if text.matches('$').count() > 1 { text.replace('$', "&#36;") } else { text.to_owned() }
}

fn card(run: &RunCard) -> String {
    format!("**{}** (run {})", escape(&run.target.name, 60), escape(run.id.short(), 12))
}

/// Pairs without a score on one side or both.
fn left_out(missing: &Missing) -> String {
    number::count(missing.no_baseline_score + missing.no_candidate_score + missing.neither)
}

fn missing_words(missing: &Missing) -> String {
    let sides = [("baseline", &missing.baseline_reasons), ("candidate", &missing.candidate_reasons)];
    let parts: Vec<String> = sides
        .iter()
        .map(|(side, reasons)| (side, words::unscored_counts(reasons)))
        .filter(|(_, counts)| !counts.is_empty())
        .map(|(side, counts)| format!("{side}: {counts}"))
        .collect();
    parts.join("; ")
}

/// Foreign text as one line of Markdown that shows as it is and does nothing.
///
/// GitHub finds mentions, issue numbers and bare addresses in the rendered text, where escapes are already gone; a
/// zero-width space is what keeps them from being found.
pub(super) fn escape(text: &str, limit: usize) -> String {
    let line = one_line(text, limit);
    let mut safe = String::with_capacity(line.len() + line.len() / 8);
    for character in line.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '@' | '#' => {
                safe.push(character);
                safe.push('\u{200b}');
            }
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '|' | '~' | '$' => {
                safe.push('\\');
                safe.push(character);
            }
            other => safe.push(other),
        }
    }
    safe.replace("://", ":\u{200b}//").replace("www.", "www\u{200b}.").replace("GH-", "GH\u{200b}-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_act() {
        let safe = escape("@team see #12 | [x](https://evil) <img src=x> `a`\n# h www.evil.com", 200);
        assert!(!safe.contains("@t") && !safe.contains("#1") && !safe.contains("://") && !safe.contains("www."));
        assert!(!safe.contains('<') && !safe.contains('\n') && safe.contains("\\|") && safe.contains("\\["));
    }

    #[test]
    fn a_marker_cannot_leave_its_comment() {
        assert_eq!(marker("a--> <script>"), "a-script");
        assert_eq!(marker("support_agent.v2-x"), "support_agent.v2-x");
    }

    #[test]
    fn a_section_too_many_is_counted() {
        let mut page = Page { text: String::new(), left_out: 0 };
        page.push(&"x".repeat(SIZE_LIMIT));
        page.push("short");
        assert_eq!((page.left_out, page.text.as_str()), (1, "short\n"));
    }
}
