//! Detectors of single steps and of the tree itself: timeouts, orphans.

use std::sync::LazyLock;

use regex::Regex;

use super::{Detector, Found, Rules};

static TIMED_OUT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)timeout|timed[ _-]?out|deadline[ _-]?exceeded").ok());

/// Whether a pattern is found in a text.
pub(super) fn names(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

pub(super) fn timeouts(found: &mut Found<'_>, rules: &Rules) {
    let tree = found.tree;
    for place in tree.places() {
        let step = tree.step(place);
        let took = step.end.map(|end| end - step.start);
        if step.failed() && names(&TIMED_OUT, &step.error_text()) {
            found.add(Detector::Timeout, "explicit", &[place]);
        } else if took.zip(step.timeout_ms).is_some_and(|(took, allowed)| took > allowed) {
            found.add(Detector::Timeout, "exceeded", &[place]);
        } else if took.is_none() && !step.answered && rules.trace_closed != Some(false) {
            found.add(Detector::Timeout, "unfinished", &[place]);
        }
    }
}

pub(super) fn orphans(found: &mut Found<'_>, rules: &Rules) {
    let tree = found.tree;
    let roots: Vec<usize> = tree.places().filter(|place| tree.step(*place).parent.is_none()).collect();
    if roots.len() > 1 {
        found.add(Detector::OrphanSpan, "multiple_roots", &roots);
    }
    for place in tree.places() {
        let step = tree.step(place);
        let Some(parent) = &step.parent else { continue };
        if !tree.knows(parent) {
            found.add(Detector::OrphanSpan, "missing_parent", &[place]);
        }
        if tree.parent(place).is_some_and(|up| step.start < tree.step(up).start - rules.skew_ms) {
            found.add(Detector::OrphanSpan, "starts_before_parent", &[place]);
        }
    }
}
