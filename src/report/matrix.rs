//! Reports of more than two runs: ranking and pairs of each metric, as text, Markdown, JSON and a page.

use jiff::Timestamp;
use serde::Serialize;

use super::layout::wrap;
use super::number::{self, Unit};
use super::words;
use super::{ReportError, html};
use crate::compare::{Matrix, MatrixMetric, PairCompared, Ranked};
use crate::model::Direction;
use crate::sys::text::one_line;

/// Forms in which several runs can be reported.
pub const MATRIX_FORMS: &[&str] = &["html", "json", "markdown", "terminal"];
/// Characters of a run's name.
const NAME: usize = 44;
/// Pairs in a text for people.
const PAIRS: usize = 30;
/// Name of the schema of the document.
const SCHEMA: &str = "assize-matrix-v1.schema.json";

/// Renders one form.
///
/// # Errors
/// The form is not one of [`MATRIX_FORMS`], or it could not be made.
pub fn matrix_report(form: &'static str, matrix: &Matrix, made_at: Timestamp) -> Result<Vec<u8>, ReportError> {
    match form {
        "terminal" => Ok(matrix_text(matrix, 80).into_bytes()),
        "markdown" => Ok(markdown(matrix, made_at).into_bytes()),
        "json" => json(matrix, made_at),
        "html" => html::render_matrix(matrix, made_at),
        other => Err(ReportError { form, cause: format!("several runs have no form `{other}`") }),
    }
}

fn json(matrix: &Matrix, made_at: Timestamp) -> Result<Vec<u8>, ReportError> {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(rename = "$schema")]
        schema: &'static str,
        made_at: Timestamp,
        #[serde(flatten)]
        matrix: &'a Matrix,
    }
    let document = Document { schema: SCHEMA, made_at, matrix };
    let mut bytes =
        serde_json::to_vec_pretty(&document).map_err(|error| ReportError { form: "json", cause: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// One line of a ranking.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RankRow {
    /// `1`, `1–3`.
    pub rank: String,
    /// The same, all at once.
    pub rank_all: String,
    /// Run.
    pub name: String,
    /// Mean.
    pub point: String,
    /// Interval.
    pub interval: String,
    /// Examples.
    pub n: String,
    /// What beats it, or that it is on the frontier.
    pub frontier: String,
}

/// One line of the pairs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PairRow {
    /// The first.
    pub baseline: String,
    /// The second.
    pub candidate: String,
    /// Second minus first, or the ratio.
    pub point: String,
    /// Its interval.
    pub interval: String,
    /// Changed sides.
    pub moved: String,
    /// p after Holm.
    pub holm: String,
    /// q.
    pub q: String,
    /// Cost ratio with interval.
    pub cost: String,
    /// The finding.
    pub word: &'static str,
    /// Its tone.
    pub tone: &'static str,
    /// Its sign.
    pub sign: &'static str,
}

/// The ranking of a metric as text.
pub(super) fn ranking(matrix: &Matrix, metric: &MatrixMetric) -> Vec<RankRow> {
    let unit = Unit::of(&metric.name, &metric.scale);
    let costs = metric.pairs.iter().any(|pair| pair.frontier.iter().any(|one| one.spent == "cost_usd"));
    let row = |one: &Ranked| {
        let (point, interval) = number::mean(unit, &one.estimate);
        let beaten: Vec<String> = one.beaten_by.iter().map(|run| name(matrix, *run)).collect();
        RankRow {
            rank: span(one.rank),
            rank_all: span(one.rank_all_at_once),
            name: name(matrix, one.run),
            point,
            interval,
            n: number::count(one.estimate.n),
            frontier: match (costs, beaten.as_slice()) {
                (false, _) => String::new(),
                (true, []) => "on the frontier".to_owned(),
                (true, beaten) => format!("beaten by {}", beaten.join(", ")),
            },
        }
    };
    metric.ranking.iter().map(row).collect()
}

/// The pairs of a metric as text.
pub(super) fn pairs(matrix: &Matrix, metric: &MatrixMetric) -> Vec<PairRow> {
    let unit = Unit::of(&metric.name, &metric.scale);
    let row = |pair: &PairCompared| {
        let (point, interval) = match &pair.ratio {
            Some(ratio) => number::ratio(ratio),
            None => number::difference(unit, &pair.difference),
        };
        let p = |p: Option<f64>| p.map_or_else(|| number::ABSENT.to_owned(), number::probability);
        let cost = pair.frontier.iter().find(|one| one.spent == "cost_usd");
        let mark = words::change(pair.change);
        PairRow {
            baseline: name(matrix, pair.baseline),
            candidate: name(matrix, pair.candidate),
            point,
            interval,
            moved: pair.moved.map_or_else(String::new, |(up, down)| format!("{up}↑ {down}↓")),
            holm: p(pair.p_holm),
            q: p(pair.q),
            cost: cost.map_or_else(String::new, |one| {
                let (point, interval) = number::ratio(&one.spent_ratio);
                // The ratio where both did equally well: what the same quality costs.
                let equal = one.ratio_at_equal_quality.as_ref().filter(|equal| equal.estimate.is_some()).map(|equal| {
                    let (point, interval) = number::ratio(equal);
                    format!("; {point} {interval} where both were good")
                });
                format!("{point} {interval}{}", equal.unwrap_or_default())
            }),
            word: mark.word,
            tone: mark.tone,
            sign: mark.sign,
        }
    };
    metric.pairs.iter().map(row).collect()
}

/// What differs between the first run and each other, as lines.
pub(super) fn differences(matrix: &Matrix) -> Vec<(String, String, String, String, &'static str)> {
    let mut rows = Vec::new();
    for (place, one) in matrix.differences.iter().enumerate() {
        let names = |difference: &&crate::compare::Difference| {
            // Two names and two digests of two targets say nothing more than that there are two.
            let sides = [place + 1, 0].map(|run| matrix.runs.get(run).map(|run| run.target.name.as_str()));
            difference.what == "target.digest"
                || sides == [Some(difference.candidate.as_str()), Some(difference.baseline.as_str())]
        };
        for difference in one.differences.iter().filter(|difference| !names(difference)) {
            let meaning = match (difference.blocking, difference.allowed) {
                (true, false) => "not comparable",
                (true, true) => "allowed",
                (false, _) => "what is compared",
            };
            rows.push((
                name(matrix, place + 1),
                one_line(&difference.what, 60),
                one_line(&difference.baseline, 80),
                one_line(&difference.candidate, 80),
                meaning,
            ));
        }
    }
    rows
}

fn name(matrix: &Matrix, run: usize) -> String {
    one_line(matrix.names.get(run).map(String::as_str).unwrap_or_default(), NAME)
}

fn span((best, worst): (usize, usize)) -> String {
    if best == worst { best.to_string() } else { format!("{best}–{worst}") }
}

fn direction(metric: &MatrixMetric) -> &'static str {
    if metric.direction == Direction::Lower { " (less is better)" } else { "" }
}

/// The summary for a terminal of a width.
pub fn matrix_text(matrix: &Matrix, width: usize) -> String {
    let width = width.max(40);
    let mut text = String::new();
    let line = |text: &mut String, one: &str| {
        text.push_str(one.trim_end());
        text.push('\n');
    };
    for one in wrap(&one_line(&matrix.headline, 600), width) {
        line(&mut text, &one);
    }
    for metric in matrix.metrics.iter().chain(&matrix.measures) {
        line(&mut text, "");
        line(&mut text, &format!("{}{}", one_line(&metric.name, NAME), direction(metric)));
        let rows = ranking(matrix, metric);
        let widest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        for row in &rows {
            let pad = " ".repeat(widest - row.name.chars().count());
            line(
                &mut text,
                &format!("  {:>5}  {}{pad}  {} {}  n={}", row.rank_all, row.name, row.point, row.interval, row.n),
            );
            if row.frontier.starts_with("beaten") {
                for one in wrap(&format!("{}, which costs no more", row.frontier), width - 9) {
                    line(&mut text, &format!("         {one}"));
                }
            }
        }
    }
    for metric in &matrix.metrics {
        let rows = pairs(matrix, metric);
        line(&mut text, "");
        line(
            &mut text,
            &format!(
                "pairs of {}: second minus first; marks and p after Holm, q after Benjamini-Hochberg",
                metric.name
            ),
        );
        for row in rows.iter().take(PAIRS) {
            line(&mut text, &format!("  {} {} → {}", row.sign, row.baseline, row.candidate));
            let cost = if row.cost.is_empty() { String::new() } else { format!("; cost {}", row.cost) };
            let moved = if row.moved.is_empty() { String::new() } else { format!(", {}", row.moved) };
            let facts = format!("{} {}{moved}, p {}, q {}{cost}", row.point, row.interval, row.holm, row.q);
            for one in wrap(&facts, width - 6) {
                line(&mut text, &format!("      {one}"));
            }
        }
        if rows.len() > PAIRS {
            line(&mut text, &format!("  and {} more; `--json` holds all", rows.len() - PAIRS));
        }
    }
    let odd = differences(matrix);
    if !odd.is_empty() {
        line(&mut text, "");
        line(&mut text, &format!("against {}", name(matrix, 0)));
        for (run, what, before, after, meaning) in &odd {
            for one in wrap(&format!("{run}: {what} {before} → {after} ({meaning})"), width - 2) {
                line(&mut text, &format!("  {one}"));
            }
        }
    }
    text
}

fn markdown(matrix: &Matrix, made_at: Timestamp) -> String {
    let escape = super::markdown::escape;
    let mut text = format!("### {}\n\n", escape(&matrix.headline, 400));
    for metric in matrix.metrics.iter().chain(&matrix.measures) {
        text.push_str(&format!("**{}**{}\n\n", escape(&metric.name, 60), direction(metric)));
        text.push_str("| Rank | Run | Mean | Interval | n | |\n|:--|:--|--:|:--|--:|:--|\n");
        for row in ranking(matrix, metric) {
            text.push_str(&format!(
                "| {} | {} | **{}** | {} | {} | {} |\n",
                row.rank_all,
                escape(&row.name, 60),
                escape(&row.point, 40),
                escape(&row.interval, 60),
                row.n,
                escape(&row.frontier, 120)
            ));
        }
        text.push('\n');
    }
    for metric in &matrix.metrics {
        let rows = pairs(matrix, metric);
        text.push_str(&format!(
            "<details><summary>All {} of {}</summary>\n\n| First | Second | Difference | p (Holm) | q (BH) | Cost ratio | Finding |\n\
             |:--|:--|:--|--:|--:|:--|:--|\n",
            words::plural(rows.len() as u64, "pair", "pairs"),
            escape(&metric.name, 60)
        ));
        for row in rows.iter().take(200) {
            text.push_str(&format!(
                "| {} | {} | **{}** {} {} | {} | {} | {} | {} {} |\n",
                escape(&row.baseline, 60),
                escape(&row.candidate, 60),
                escape(&row.point, 40),
                escape(&row.interval, 60),
                row.moved,
                escape(&row.holm, 20),
                escape(&row.q, 20),
                escape(&row.cost, 60),
                row.sign,
                row.word
            ));
        }
        text.push_str("\n</details>\n\n");
    }
    let odd = differences(matrix);
    if !odd.is_empty() {
        text.push_str("<details><summary>What differs from the first run</summary>\n\n");
        text.push_str("| Run | What | First | This | Meaning |\n|:--|:--|:--|:--|:--|\n");
        for (run, what, before, after, meaning) in odd.iter().take(200) {
            let cells = [run, what, before, after].map(|cell| escape(cell, 80));
            text.push_str(&format!("| {} | {meaning} |\n", cells.join(" | ")));
        }
        text.push_str("\n</details>\n\n");
    }
    let made = made_at.strftime("%-d %b %Y %H:%M UTC");
    text.push_str(&format!(
        "<sub>Ranks hold all at once (Holm). Made {made} by assize {}.</sub>\n",
        env!("CARGO_PKG_VERSION")
    ));
    text
}
