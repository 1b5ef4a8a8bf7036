//! A calibration as text for people. Decides nothing; every foreign text passes through `sys::text`.

use std::fmt::Write as _;

use super::show::table;
use crate::judge::Tally;
use crate::ops::judges::{Calibrated, Calibration, Corrected, Policy, Share, Standing};
use crate::stats::{Estimate, Status};
use crate::sys::text::one_line;

/// A share with its interval.
pub(super) fn share(share: &Share) -> String {
    let interval = share.interval.as_ref().map(|i| format!(" [{:.2}, {:.2}]", i.lo, i.hi)).unwrap_or_default();
    format!("{}/{}{interval}", share.k, share.n)
}

/// The figures of a judge, or of each of its criteria.
pub fn calibration(done: &Calibration) -> String {
    match done {
        Calibration::One(done) => calibrated(done),
        Calibration::Each(done) => {
            let mut texts: Vec<String> = done.criteria.iter().map(calibrated).collect();
            let without = done.without_labels.iter();
            texts.extend(
                without.map(|(name, why)| format!("{}.{name} not calibrated: {}\n", done.judge, one_line(why, 300))),
            );
            texts.join("\n")
        }
    }
}

fn calibrated(done: &Calibrated) -> String {
    let mut text = format!("{} asked of {}\n  agreement    {}\n", done.judge, done.model, share(&done.accuracy));
    if let Some(sensitivity) = &done.sensitivity {
        let _ = writeln!(text, "  of passes    {}", share(sensitivity));
    }
    if let Some(specificity) = &done.specificity {
        let _ = writeln!(text, "  of failures  {}", share(specificity));
    }
    for found in &done.beyond_chance {
        let interval = found.interval.as_ref().map(|i| format!(" [{:.2}, {:.2}]", i.lo, i.hi)).unwrap_or_default();
        let _ = writeln!(text, "  {:<12} {:.2}{interval}", found.name, found.estimate);
    }
    let standing = match done.standing {
        Standing::Informative => "better than chance",
        Standing::Unclear => "NOT SHOWN to be better than chance: add labelled examples",
        Standing::Chance => "NO BETTER THAN CHANCE: its metric neither passes nor fails a gate",
    };
    let kept = done.kept_in.map(|file| format!(" (kept in `{file}`; commit it)")).unwrap_or_default();
    let _ = writeln!(text, "  standing     {standing}{kept}");
    if !done.confusion.is_empty() {
        let rows: Vec<Vec<String>> =
            done.confusion.iter().map(|(a, b, n)| vec![one_line(a, 40), one_line(b, 40), n.to_string()]).collect();
        let _ = write!(text, "\n{}", table(&["people", "judge", "examples"], &rows));
    }
    if let Some(people) = &done.people {
        let alpha = people.alpha.map(|alpha| format!(", alpha {alpha:.3}")).unwrap_or_default();
        let of = |tally: Tally| {
            if tally.n == 0 { "-".to_owned() } else { format!("{:.3}", tally.k as f64 / tally.n as f64) }
        };
        let _ = writeln!(
            text,
            "\n{} people on {} examples agree with each other on {} of their pairs{alpha}; the judge with one of them on {}.",
            people.people,
            people.examples,
            of(people.agreement),
            of(people.with_judge)
        );
    }
    if !done.policies.is_empty() {
        let figure = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        let row = |policy: &Policy| {
            let cells = [figure(policy.accuracy), figure(policy.kappa), figure(policy.alpha)];
            [vec![policy.unscored.to_owned(), policy.n.to_string()], cells.to_vec()].concat()
        };
        let rows: Vec<Vec<String>> = done.policies.iter().map(row).collect();
        let head = ["examples without a score", "examples", "agreement", "kappa", "alpha"];
        let _ = write!(text, "\n{}", table(&head, &rows));
    }
    if let Some(cut) = &done.threshold {
        let _ = writeln!(
            text,
            "A yes from {:.3} on, chosen on {} examples; on the others: agreement {}, of yes {}, of no {}.",
            cut.at,
            cut.chosen_on,
            share(&cut.accuracy),
            share(&cut.sensitivity),
            share(&cut.specificity)
        );
    }
    for (why, n) in &done.left_out {
        let _ = writeln!(text, "left out: {n} examples {why}");
    }
    for (reason, n) in &done.unscored {
        let _ = writeln!(text, "unscored: {n} {reason}");
    }
    for (example, people, judge, reason) in &done.disagreements {
        let _ = writeln!(text, "differs on {example}: people say {people}, the judge {judge}. {reason}");
    }
    if let Some(found) = &done.corrected {
        text.push_str(&corrected(found));
    }
    text
}

/// A figure of a run, raw and set right.
pub(super) fn corrected(found: &Corrected) -> String {
    let figure = |estimate: &Estimate| match (estimate.estimate, &estimate.interval) {
        (Some(point), Some(i)) => format!("{point:.3} [{:.3}, {:.3}]", i.lo, i.hi),
        (Some(point), None) => format!("{point:.3} (no interval)"),
        (None, _) => "none".to_owned(),
    };
    let run = one_line(&found.run, 60);
    let mut text = format!("\n{run} as `{}` sees it\n", one_line(&found.grader, 40));
    let badge = if found.not_calibrated.is_some() { "  NOT CALIBRATED" } else { "" };
    let _ = writeln!(text, "  judge alone    {}  of {} examples{badge}", figure(&found.raw), found.raw.n);
    if let Some(estimate) = &found.corrected {
        let trust = found.trust.map(|share| format!(", which trust the judge by {share:.2}")).unwrap_or_default();
        let _ = writeln!(text, "  corrected      {}  PPI++ by {} labels{trust}", figure(estimate), found.labels);
    }
    if let Some(estimate) = &found.by_its_errors {
        let told = match estimate.status {
            Status::JudgeUninformative => {
                "refused: on its calibration examples the judge is no better than chance".to_owned()
            }
            _ => format!("{}  Rogan-Gladen, if it errs here as on its calibration examples", figure(estimate)),
        };
        let _ = writeln!(text, "  by its errors  {told}");
    }
    if let Some(reason) = &found.not_calibrated {
        let _ = writeln!(text, "  not calibrated: {}", one_line(reason, 200));
    } else {
        text.push_str(
            "  The correction holds if the labelled outputs were drawn at random, as `labels queue` draws them.\n",
        );
    }
    let estimates = [Some(&found.raw), found.corrected.as_ref(), found.by_its_errors.as_ref()];
    for warning in estimates.into_iter().flatten().flat_map(|estimate| &estimate.warnings).chain(&found.warnings) {
        let _ = writeln!(text, "  note: {}", one_line(warning, 200));
    }
    text
}
