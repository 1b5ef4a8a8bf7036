//! The words and signs that all reports share, so that no two of them name one finding differently.
//!
//! Only words for closed sets (change, verdict, reason, standing); sentences about numbers come with the view.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Subject, number};
use crate::compare::{Comparison, Difference, RunCard, RunView};
use crate::model::{Change, FailureKind, MetricRole, RunStatus, UnscoredReason, Verdict};
use crate::sys::text::one_line;

/// A finding as a word, a sign that works without color, and a class for color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Mark {
    /// `better`, `worse`, `same` or `open`.
    pub tone: &'static str,
    /// One character.
    pub sign: &'static str,
    /// The word.
    pub word: &'static str,
}

/// How a metric moved.
pub(super) fn change(change: Change) -> Mark {
    let (tone, sign) = match change {
        Change::Improved => ("better", "▲"),
        Change::Regressed => ("worse", "▼"),
        Change::Equivalent => ("same", "="),
        Change::Inconclusive => ("open", "?"),
    };
    Mark { tone, sign, word: change.as_str() }
}

/// What a gate answered. A broken instrument gives no verdict on the candidate, whatever the field says.
pub(super) fn verdict(verdict: Option<Verdict>, instrument_failed: bool) -> Mark {
    if instrument_failed {
        return Mark { tone: "open", sign: "⚠", word: "no verdict" };
    }
    match verdict {
        Some(Verdict::Pass) => Mark { tone: "better", sign: "✓", word: "pass" },
        Some(Verdict::Fail) => Mark { tone: "worse", sign: "✗", word: "fail" },
        Some(Verdict::Inconclusive) => Mark { tone: "open", sign: "?", word: "inconclusive" },
        None => Mark { tone: "same", sign: "·", word: "not gated" },
    }
}

/// The verdict of a subject.
pub(super) fn verdict_of(subject: &Subject<'_>) -> Mark {
    match subject {
        Subject::Run(RunView { verdict: found, instrument_failed, .. }) => verdict(*found, *instrument_failed),
        Subject::Comparison(comparison) => verdict(Some(comparison.verdict), comparison.instrument_failed),
    }
}

/// The sign before a metric's name: `!` can fail the gate, `·` informs.
pub(super) fn role_sign(role: MetricRole) -> &'static str {
    match role {
        MetricRole::Gate => "!",
        MetricRole::Inform => "·",
    }
}

/// A measure's name as a person says it; metrics of graders keep theirs.
pub(super) fn measure_title(name: &str) -> &str {
    match name {
        "latency_ms" => "Latency",
        "cost_usd" => "Cost",
        "tokens" => "Tokens",
        other => other,
    }
}

/// How a run stands, as a person says it.
pub(super) fn status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Open => "not finished",
        RunStatus::Complete => "complete",
        RunStatus::Stopped => "stopped before its end",
    }
}

/// Why there is no score, as a person says it.
pub(super) fn unscored(reason: UnscoredReason) -> &'static str {
    match reason {
        UnscoredReason::NotApplicable => "does not apply",
        UnscoredReason::TargetFailed => "target failed",
        UnscoredReason::ReplyUnreadable => "reply could not be read",
        UnscoredReason::OffMenu => "verdict not on the menu",
        UnscoredReason::CannotJudge => "judge could not tell",
        UnscoredReason::JudgeRefused => "judge refused",
        UnscoredReason::ContentFilter => "content filter",
        UnscoredReason::ReplyTruncated => "reply cut off",
        UnscoredReason::InputTooLong => "material too long",
        UnscoredReason::Timeout => "timed out",
        UnscoredReason::RateLimited => "rate limited",
        UnscoredReason::ProviderFailed => "provider failed",
        UnscoredReason::NotRecorded => "not recorded",
        UnscoredReason::NoQuorum => "no quorum",
        UnscoredReason::VotesTied => "votes tied",
        UnscoredReason::NoProbabilities => "no probabilities",
        UnscoredReason::ScorerFault => "scorer broke",
    }
}

/// Why a call failed, as a person says it.
pub(super) fn failure(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Timeout => "timed out",
        FailureKind::RateLimited => "rate limited",
        FailureKind::Server => "server failed",
        FailureKind::Connection => "no connection",
        FailureKind::BadReply => "reply could not be read",
        FailureKind::Untrusted => "certificate not trusted",
        FailureKind::Auth => "key missing or refused",
        FailureKind::NotFound => "not found",
        FailureKind::BadRequest => "request refused",
        FailureKind::Refused => "model refused",
        FailureKind::ContentFilter => "content filter",
        FailureKind::TargetError => "target failed",
        FailureKind::NotRecorded => "not recorded",
        FailureKind::BudgetSpent => "budget spent",
        FailureKind::Cancelled => "run stopped",
    }
}

/// Counts by reason in one line: `reply could not be read (5), timed out (2)`; empty when there are none.
pub(super) fn unscored_counts(counts: &BTreeMap<UnscoredReason, u64>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{} ({})", unscored(*reason), number::count(*count)))
        .collect();
    parts.join(", ")
}

/// `1 example`, `2 examples`.
pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number::count(count), if count == 1 { one } else { many })
}

/// By whose word a run is or was a baseline, where it is one.
pub(super) fn blessed(run: &RunCard) -> Option<String> {
    let blessing = run.blessing.as_ref()?;
    let (by, day) = (&blessing.by, blessing.at.strftime("%Y-%m-%d"));
    Some(format!("blessed by {by} on {day}: {}", blessing.reason))
}

/// Why this run is compared with, and by whose word: each once.
pub(super) fn standing(run: &RunCard) -> Option<String> {
    let blessed = blessed(run);
    match (&run.chosen, blessed) {
        (Some(chosen), Some(blessed)) if !chosen.contains("blessed by") => Some(format!("{chosen}; {blessed}")),
        (Some(chosen), _) => Some(chosen.clone()),
        (None, blessed) => blessed,
    }
}

/// The suite a report is about.
pub(super) fn suite<'a>(subject: &Subject<'a>) -> &'a str {
    &main_run(subject).suite
}

/// The run that is judged: the candidate of a comparison.
pub(super) fn main_run<'a>(subject: &Subject<'a>) -> &'a RunCard {
    match subject {
        Subject::Run(view) => &view.run,
        Subject::Comparison(comparison) => &comparison.candidate,
    }
}

/// In what the two configurations differ, one line each: what is compared, apart from names and digests.
pub(super) fn configuration(comparison: &Comparison) -> Vec<String> {
    let told = ["target.name", "target.digest"];
    let of_target = |what: &str| (what.starts_with("target.") || what == "commit") && !told.contains(&what);
    let differences = comparison.comparability.differences.iter().filter(|one| !one.blocking && of_target(&one.what));
    let line = |one: &Difference| {
        let what = one.what.strip_prefix("target.").unwrap_or(&one.what);
        format!("{}: {} -> {}", one_line(what, 60), one_line(&one.baseline, 100), one_line(&one.candidate, 100))
    };
    differences.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_instrument_never_reads_as_a_verdict() {
        assert_eq!(verdict(Some(Verdict::Pass), true).word, "no verdict");
        assert_eq!(verdict(Some(Verdict::Pass), false).word, "pass");
        assert_eq!(verdict(None, false).word, "not gated");
    }

    #[test]
    fn counts_of_nothing_are_silent() {
        let counts = BTreeMap::from([(UnscoredReason::Timeout, 0), (UnscoredReason::OffMenu, 1200)]);
        assert_eq!(unscored_counts(&counts), "verdict not on the menu (1,200)");
    }
}
