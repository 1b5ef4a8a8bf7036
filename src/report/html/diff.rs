//! What changed between two outputs, word by word, within a bounded amount of work.
//!
//! The work of a difference grows with length times change, so long texts are compared by lines and the longest
//! not at all. Texts with little in common are not marked: a page of color says nothing.

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

/// Words per side compared word by word.
const WORDS_LIMIT: usize = 1200;
/// Lines per side compared line by line.
const LINES_LIMIT: usize = 1200;
/// Least share of common text for marks to help.
const LEAST_COMMON: f64 = 0.2;

/// A stretch of text and whether the other side has it too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Segment {
    /// The text.
    pub text: String,
    /// Whether only this side has it.
    pub changed: bool,
}

/// Both sides in segments, or why they are not marked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Marked {
    /// Nothing differs.
    Same,
    /// Baseline and candidate.
    Sides(Vec<Segment>, Vec<Segment>),
    /// Too long or too different.
    Not(&'static str),
}

/// Compares two texts.
pub(super) fn mark(baseline: &str, candidate: &str) -> Marked {
    if baseline == candidate {
        return Marked::Same;
    }
    let words = |text: &str| text.split_whitespace().take(WORDS_LIMIT + 1).count();
    let lines = |text: &str| text.lines().take(LINES_LIMIT + 1).count();
    let diff = if words(baseline).max(words(candidate)) <= WORDS_LIMIT {
        TextDiff::from_words(baseline, candidate)
    } else if lines(baseline).max(lines(candidate)) <= LINES_LIMIT {
        TextDiff::from_lines(baseline, candidate)
    } else {
        return Marked::Not("too long to mark what changed");
    };
    let changes: Vec<(ChangeTag, &str)> =
        diff.iter_all_changes().map(|change| (change.tag(), change.value())).collect();
    if common_share(&changes) < LEAST_COMMON {
        return Marked::Not("too different to mark what changed");
    }
    Marked::Sides(side(&changes, ChangeTag::Delete), side(&changes, ChangeTag::Insert))
}

/// Share of the characters of both sides that both have; spaces do not count, since all texts have them in common.
fn common_share(changes: &[(ChangeTag, &str)]) -> f64 {
    let (mut common, mut all) = (0, 0);
    for (tag, text) in changes {
        let size = text.chars().filter(|character| !character.is_whitespace()).count();
        let times = if *tag == ChangeTag::Equal { 2 } else { 1 };
        common += if *tag == ChangeTag::Equal { size * times } else { 0 };
        all += size * times;
    }
    if all == 0 { 1.0 } else { common as f64 / all as f64 }
}

fn side(changes: &[(ChangeTag, &str)], own: ChangeTag) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let of_side: Vec<_> = changes.iter().filter(|(tag, _)| *tag == ChangeTag::Equal || *tag == own).collect();
    for (index, (tag, text)) in of_side.iter().enumerate() {
        let is_own = |neighbor: Option<&&(ChangeTag, &str)>| neighbor.is_some_and(|(tag, _)| *tag == own);
        // A space between two changed words is marked with them, so that a changed phrase is one stretch.
        let bridges = text.trim().is_empty()
            && !text.contains('\n')
            && is_own(index.checked_sub(1).and_then(|before| of_side.get(before)))
            && is_own(of_side.get(index + 1));
        let changed = *tag == own || bridges;
        match segments.last_mut() {
            Some(last) if last.changed == changed => last.text.push_str(text),
            _ => segments.push(Segment { text: (*text).to_owned(), changed }),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(segments: &[Segment]) -> String {
        segments.iter().map(|s| if s.changed { format!("[{}]", s.text) } else { s.text.clone() }).collect()
    }

    #[test]
    fn changed_phrases_are_one_stretch() {
        let Marked::Sides(base, cand) = mark("we refund all of it today", "we refund half the sum today") else {
            panic!("not marked");
        };
        assert_eq!(text(&base), "we refund [all of it] today");
        assert_eq!(text(&cand), "we refund [half the sum] today");
    }

    #[test]
    fn strangers_are_not_marked() {
        assert_eq!(mark("a b", "a b"), Marked::Same);
        assert!(matches!(mark("one two three four", "five six seven eight nine"), Marked::Not(_)));
    }

    #[test]
    fn hostile_lengths_end_soon() {
        let base = "a b ".repeat(1 << 17);
        let cand = "b c ".repeat(1 << 17);
        assert!(matches!(mark(&base, &cand), Marked::Not(_)));
        assert!(matches!(mark(&"x\n".repeat(5000), &"y\n".repeat(5000)), Marked::Not(_)));
    }
}
