//! Results as text for people, but for those of verbs with a file of their own. Decides nothing; every foreign text passes through `sys::text`.

use std::fmt::Write as _;

pub use super::table::{count, dollars, duration, moment, short, table, thousands};
use crate::model::{CancelReason, RunId, RunStatus};
use crate::ops::bless::Listed;
use crate::ops::demo::Demo;
use crate::ops::doctor::{Look, Standing};
use crate::ops::init::Started;
use crate::ops::judges::Checked;
use crate::ops::run::Planned;
use crate::store::Baseline;
use crate::sys::text::one_line;

pub fn started(done: &Started) -> String {
    let mut text = format!("A project in {}:\n", done.folder.components().collect::<std::path::PathBuf>().display());
    for file in &done.files {
        let _ = writeln!(text, "  {file}");
    }
    text.push_str("\nNext:\n  assize run\n  assize bless latest -m \"first\"\n  assize ci\n");
    text
}

pub fn plan(planned: &Planned) -> String {
    let plan = &planned.plan;
    let trials = if planned.trials == 1 { "1 trial".to_owned() } else { format!("{} trials", planned.trials) };
    let mut text = format!(
        "Plan: {} on {} ({}, {trials} each): {}",
        planned.target,
        planned.dataset,
        count(planned.examples, "example", "examples"),
        count(plan.cells, "cell", "cells"),
    );
    if plan.cells_done > 0 {
        let _ = write!(text, ", {} done already", thousands(plan.cells_done));
    }
    text.push('.');
    if let Some(total) = plan
        .total()
        .filter(|total| planned.most_model_calls.unwrap_or(planned.model_calls) > 0 && total.tokens.high > 0.0)
    {
        let _ = write!(
            text,
            "\n  {}, about {} to {} tokens, ",
            match planned.most_model_calls {
                Some(most) => format!("{} to {} model calls", thousands(planned.model_calls), thousands(most)),
                None => count(planned.model_calls, "model call", "model calls"),
            },
            thousands(total.tokens.low as u64),
            thousands(total.tokens.high as u64)
        );
        if total.unpriced && total.cost_usd.high == 0.0 {
            text.push_str("price unknown");
        } else {
            let _ = write!(text, "{} to {}", dollars(total.cost_usd.low), dollars(total.cost_usd.high));
            if total.unpriced {
                text.push_str(" and some calls without a known price");
            }
        }
        match planned.max_cost {
            Some(limit) => {
                let _ = write!(text, "; the run stops at {}", dollars(limit));
                let judges = planned.judge_share.map(|share| format!(", judges at {}", dollars(limit * share)));
                let _ = write!(text, "{}.", judges.unwrap_or_default());
            }
            None => text.push('.'),
        }
    }
    for note in &planned.notes {
        let _ = write!(text, "\n  Note: {}.", one_line(note, 400).trim_end_matches('.'));
    }
    text
}

pub fn stopped(stop: &CancelReason, run: &RunId) -> String {
    let why = match stop {
        CancelReason::Decided { looks, .. } => {
            return format!("The verdict is settled, seen at look {looks}: the rest was not run.");
        }
        CancelReason::Interrupted => "Interrupted.".to_owned(),
        CancelReason::BudgetSpent => "The budget is spent.".to_owned(),
        CancelReason::DeadlinePassed => "The time is spent.".to_owned(),
        CancelReason::Fatal { failure } => {
            format!("Stopped, because every further call would fail: {}", one_line(&failure.to_string(), 400))
        }
    };
    format!("{why}\nEverything done is kept. Go on with:\n  assize run --resume {}", run.short())
}

pub fn runs(runs: &[Listed]) -> String {
    if runs.is_empty() {
        return "No run yet: `assize run` makes one.".to_owned();
    }
    let row = |listed: &Listed| {
        let run = &listed.summary;
        let status = match run.status {
            RunStatus::Open => "open",
            RunStatus::Complete => "complete",
            RunStatus::Stopped if run.header.until_decided.is_some() => "stopped early",
            RunStatus::Stopped => "stopped",
        };
        let scored =
            run.totals.as_ref().map_or("?".to_owned(), |totals| format!("{}/{}", totals.scored, totals.cells_planned));
        vec![
            run.header.id.short().to_owned(),
            run.header.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
            one_line(&run.header.suite, 30),
            one_line(&run.header.target.name, 30),
            one_line(&run.header.dataset, 40),
            scored,
            status.to_owned(),
            match (listed.baseline, &listed.blessing) {
                (true, _) => "yes",
                (false, Some(_)) => "was",
                (false, None) => "",
            }
            .to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    let mut text = table(&["run", "started", "suite", "target", "dataset", "scored", "status", "baseline"], &rows);
    for listed in runs.iter().filter(|listed| listed.baseline) {
        let Some(blessing) = &listed.blessing else { continue };
        let _ = write!(
            text,
            "\nBaseline of {}: run {}, blessed by {} on {}: {}",
            one_line(&blessing.suite, 60),
            blessing.run.short(),
            one_line(&blessing.by, 100),
            blessing.at.strftime("%Y-%m-%d %H:%M"),
            one_line(&blessing.reason, 200)
        );
    }
    text
}

pub fn blessed(baseline: &Baseline) -> String {
    format!(
        "Run {} is now the baseline of {}, blessed by {}: {}",
        baseline.run.short(),
        one_line(&baseline.suite, 60),
        one_line(&baseline.by, 100),
        one_line(&baseline.reason, 200)
    )
}

pub fn checked(checked: &[Checked]) -> String {
    let mut text = String::new();
    for judge in checked {
        if judge.findings.is_empty() {
            let _ = writeln!(text, "{}: nothing to mend.", judge.judge);
            continue;
        }
        let _ = writeln!(text, "{}:", judge.judge);
        for (severity, what, mend) in &judge.findings {
            let mend = if mend.is_empty() { String::new() } else { format!(" ({mend})") };
            let _ = writeln!(text, "  {severity}: {what}{mend}");
        }
    }
    text
}

pub fn looks(looks: &[Look]) -> String {
    let mut text = String::new();
    for look in looks {
        let mark = match look.standing {
            Standing::Ok => "ok    ",
            Standing::Note => "note  ",
            Standing::Broken => "BROKEN",
        };
        let _ =
            writeln!(text, "{mark}  {:<20} {}", look.what, look.found.replace('\n', "\n                             "));
    }
    text
}

pub fn demo(done: &Demo, comparison: &str) -> String {
    format!(
        "{}\nThe whole report:  {}\nThe project:       {}   (try `cd` there and `assize runs`, `assize traces ls --errors`)\n",
        comparison.trim_end(),
        done.report.display(),
        done.folder.display()
    )
}
