//! The catalogue of judges as text for people: the list by families, and one judge in full.
//!
//! What a check or a calibration found is printed by `show`.

use std::fmt::Write as _;

use crate::ops::judges::{Full, Listed};
use crate::report::wrap;
use crate::rubric::FAMILIES;
use crate::sys::text::{for_terminal, one_line};

/// Most characters of a criterion in the list.
const SUMMARY: usize = 240;

/// All judges by family, each with its criterion, within `width` columns.
pub fn list(list: &[Listed], width: usize) -> String {
    let mut text = String::new();
    let longest = |cell: fn(&Listed) -> String| list.iter().map(|judge| cell(judge).chars().count()).max().unwrap_or(0);
    let widths =
        [longest(|judge| one_line(&judge.name, 64)), longest(version), longest(|judge| judge.scale.to_owned())];
    for (family, about) in families(list) {
        let of_family: Vec<&Listed> =
            list.iter().filter(|judge| judge.family.as_deref().unwrap_or_default() == family).collect();
        let _ = writeln!(text, "{}{}", if text.is_empty() { "" } else { "\n" }, heading(&family, about));
        for judge in of_family {
            let cells = [one_line(&judge.name, 64), version(judge), judge.scale.to_owned()];
            let head: String = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
            row(&mut text, &head, &one_line(&judge.summary, SUMMARY), width);
        }
    }
    let own = list.iter().filter(|judge| judge.own).count();
    let examples: usize = list.iter().map(|judge| judge.calibration_examples).sum();
    let _ = writeln!(
        text,
        "\n{} judges ({own} your own), {examples} labelled examples. `judge show NAME` prints one.",
        list.len()
    );
    text
}

/// The families that occur: those of the catalogue in its order, then the users' by name, those without one last.
fn families(list: &[Listed]) -> Vec<(String, &'static str)> {
    let known = FAMILIES.iter().filter(|(name, _)| list.iter().any(|judge| judge.family.as_deref() == Some(name)));
    let mut families: Vec<(String, &'static str)> = known.map(|(name, about)| ((*name).to_owned(), *about)).collect();
    let mut others: Vec<&str> = list.iter().filter_map(|judge| judge.family.as_deref()).collect();
    others.retain(|name| FAMILIES.iter().all(|(known, _)| known != name));
    others.sort_unstable();
    others.dedup();
    families.extend(others.into_iter().map(|name| (name.to_owned(), "")));
    if list.iter().any(|judge| judge.family.is_none()) {
        families.push((String::new(), ""));
    }
    families
}

fn heading(family: &str, about: &str) -> String {
    let mut letters = family.chars();
    let name =
        letters.next().map_or("Without a family".to_owned(), |first| first.to_uppercase().chain(letters).collect());
    if about.is_empty() { name } else { format!("{name}: {about}") }
}

fn version(judge: &Listed) -> String {
    format!("{}{}", one_line(&judge.version, 12), if judge.own { " (own)" } else { "" })
}

/// A head, and beside it a text that goes on below itself.
fn row(text: &mut String, head: &str, body: &str, width: usize) {
    let indent = 2 + head.chars().count();
    // On a narrow terminal a column of few letters reads worse than a line below.
    let beside = width.saturating_sub(indent) >= 30;
    let (first, rest) =
        if beside { (format!("  {head}"), indent) } else { (format!("  {}\n      ", head.trim_end()), 6) };
    let lines = wrap(body, width.saturating_sub(rest));
    let _ = writeln!(text, "{first}{}", lines.join(&format!("\n{}", " ".repeat(rest))));
}

/// One judge: what it asks, needs and may answer, and its rubric.
pub fn full(full: &Full, width: usize) -> String {
    let judge = &full.listed;
    let family = judge.family.as_deref().map(|name| format!(", {}", one_line(name, 64))).unwrap_or_default();
    let mut text = format!(
        "{} version {}{family}{}\n{}\n\n",
        one_line(&judge.name, 64),
        one_line(&judge.version, 40),
        if judge.own { ", your own" } else { "" },
        wrap(&one_line(&judge.summary, 600), width).join("\n")
    );
    let _ = writeln!(text, "Needs     {}", full.inputs.join(", "));
    if !full.optional_inputs.is_empty() {
        let _ = writeln!(text, "May see   {}", full.optional_inputs.join(", "));
    }
    if let Some(method) = &full.method {
        let _ = writeln!(text, "Asks      {}", one_line(method, 200));
    }
    let tags: Vec<String> =
        full.example_tags.iter().map(|(tag, count)| format!("{count} {}", one_line(tag, 40))).collect();
    let tags = if tags.is_empty() { String::new() } else { format!(": {}", tags.join(", ")) };
    let examples = wrap(&format!("{}{tags}", judge.calibration_examples), width.saturating_sub(10));
    let _ = writeln!(text, "Examples  {}", examples.join(&format!("\n{}", " ".repeat(10))));
    let digest = judge.digest.as_deref().unwrap_or("?");
    let _ = writeln!(text, "Digest    {digest}\n\nScores ({} scale), with labelled examples", judge.scale);
    let longest = full.scores.iter().map(|score| score.score.chars().count()).max().unwrap_or(0);
    for score in &full.scores {
        let head = format!("{:<longest$}  {:>3}  ", one_line(&score.score, 64), score.calibration_examples);
        row(&mut text, &head, &one_line(&score.means, 600), width);
    }
    let _ = write!(text, "\n{}\n", for_terminal(&full.rubric));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(name: &str, family: Option<&str>, own: bool) -> Listed {
        Listed {
            name: name.to_owned(),
            version: "1".to_owned(),
            scale: "binary",
            summary: "Is every claim in it carried by a source that the agent was shown before it wrote the answer?"
                .to_owned(),
            family: family.map(str::to_owned),
            own,
            calibration_examples: 20,
            digest: None,
        }
    }

    #[test]
    fn judges_stand_in_families_and_within_the_width() {
        let judges = [
            judge("zeal", Some("safety"), false),
            judge("brevity", Some("house"), true),
            judge("proof", Some("answers"), false),
            judge("odd", None, true),
        ];
        for width in [40, 60, 80, 120] {
            let text = list(&judges, width);
            let places: Vec<usize> =
                ["Answers: what", "proof", "Safety: harm", "zeal", "House\n", "brevity", "Without a family\n", "odd"]
                    .iter()
                    .map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}")))
                    .collect();
            assert!(places.is_sorted(), "{text}");
            assert!(text.contains("1 (own)") && text.contains("4 judges (2 your own), 80 labelled examples"));
            let rows = text.lines().filter(|line| line.starts_with("  "));
            assert!(rows.clone().count() >= 8 && rows.clone().all(|line| line.chars().count() <= width), "{text}");
        }
    }
}
