//! `assize judge drift|probe|attack|correct`: their words, calls, printing.

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use super::calibrated::{corrected, share};
use super::print::Printer;
use super::show::table;
use crate::ops::judge_trials::{self, Attacked, Drift, Moves, Probed};
use crate::ops::judges::CalibrateAsk;
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// Verbs of `judge` that put one on trial.
#[derive(Debug, Subcommand)]
pub enum TrialVerb {
    /// Ask a judge again what it was asked when it was calibrated, and say whether it still answers the same.
    #[command(after_help = "Example:\n  assize judge drift groundedness --model judge\n\n\
        Hosted models change under their names. Asks past the cache; exit code 1 when the judge has moved.")]
    Drift(TrialArgs),
    /// Change labelled outputs in what must not matter (length, formatting, wording, order) and count changed scores.
    Probe(TrialArgs),
    /// Put the shipped attacks behind an output that the judge finds bad, and count those that turn the score.
    #[command(after_help = "Example:\n  assize judge attack answer_relevance --model judge\n\n\
        One labelled output, one question per attack. Exit code 1 when an attack turned the score.")]
    Attack(TrialArgs),
    /// Set a judge's figure of a run right by its kept calibration. Asks no model.
    Correct {
        /// Which judge.
        #[command(flatten)]
        trial: TrialArgs,
        /// Run: an id, its last characters, or `latest`.
        #[arg(long, default_value = "latest")]
        run: String,
        /// Although the calibration is old or of another version.
        #[arg(long)]
        anyway: bool,
    },
}

/// Which judge, with which model, on which labels.
#[derive(Debug, Args)]
pub struct TrialArgs {
    /// Judge.
    pub judge: String,
    /// Model: a name from `[models]`.
    #[arg(long)]
    pub model: String,
    /// Dataset with labels of people, in place of the judge's own examples.
    #[arg(long)]
    pub dataset: Option<String>,
    /// Name of the labels; that of the judge when left out.
    #[arg(long, requires = "dataset")]
    pub label: Option<String>,
    /// Variant of the recorded outputs.
    #[arg(long, requires = "dataset")]
    pub variant: Option<String>,
}

impl TrialArgs {
    /// As a use case takes it.
    pub fn ask(self, run: Option<String>) -> CalibrateAsk {
        let Self { judge, model, dataset, label, variant } = self;
        CalibrateAsk { judge, model, run, dataset, label, variant }
    }
}

/// Carries one out.
pub async fn run(project: &Project, world: &World, verb: TrialVerb, printer: &Printer) -> Done<Exit> {
    match verb {
        TrialVerb::Drift(args) => {
            let (found, exit) = judge_trials::drift(project, world, &args.ask(None)).await?;
            printer.result(&found, || drifted(&found))?;
            return Ok(exit);
        }
        TrialVerb::Probe(args) => {
            let found = judge_trials::probe(project, world, &args.ask(None)).await?;
            printer.result(&found, || probed(&found))?;
        }
        TrialVerb::Attack(args) => {
            let (found, exit) = judge_trials::attack(project, world, &args.ask(None)).await?;
            printer.result(&found, || attacked(&found))?;
            return Ok(exit);
        }
        TrialVerb::Correct { trial, run, anyway } => {
            let found = judge_trials::correct_run(project, world, &trial.ask(Some(run)), anyway).await?;
            printer.result(&found, || corrected(&found).trim_start().to_owned())?;
        }
    }
    Ok(Exit::Pass)
}

fn moves(moves: &Moves) -> String {
    let p = moves.p.map(|p| format!(", p = {p:.3}")).unwrap_or_default();
    format!("{}; {} up, {} down{p}", share(&moves.changed), moves.up, moves.down)
}

fn drifted(found: &Drift) -> String {
    let verdict = if found.drifted { "HAS MOVED" } else { "holds" };
    let mut text = format!("{} with {}: {verdict}\n", one_line(&found.judge, 60), one_line(&found.model, 60));
    let _ = writeln!(text, "  changed      {}", moves(&found.moves));
    let _ = writeln!(text, "  agreement    {} with the labels now", share(&found.accuracy));
    let old = if found.expired { ": too old, calibrate again" } else { "" };
    let _ = writeln!(text, "  calibrated   {}, {} days ago{old}", found.calibrated_on, found.age_days);
    let name =
        |name: &Option<String>| name.as_deref().map_or("several or unknown".to_owned(), |name| one_line(name, 60));
    let (then, now) = (name(&found.answered_by_then), name(&found.answered_by_now));
    if then != now {
        let _ = writeln!(text, "  answered by  {now} now, {then} then");
    }
    if found.unscored > 0 {
        let _ = writeln!(text, "  unscored     {}", found.unscored);
    }
    text
}

fn probed(found: &Probed) -> String {
    let head = format!(
        "{} with {} on {} labelled examples: scores that change when nothing that matters does\n",
        one_line(&found.judge, 60),
        one_line(&found.model, 60),
        found.examples
    );
    let row = |bias: &judge_trials::Bias| {
        let figures = bias.moves.as_ref().map_or_else(|| "applies to no example".to_owned(), moves);
        vec![bias.probe.to_owned(), figures, if bias.biased { "BIASED".to_owned() } else { String::new() }]
    };
    let rows: Vec<Vec<String>> = found.probes.iter().map(row).collect();
    let mut text = format!("{head}{}", table(&["probe", "changed", ""], &rows));
    if let Some(own) = &found.own_family {
        let figure = own.difference.estimate.map_or("not known".to_owned(), |estimate| format!("{estimate:+.3}"));
        let interval = own.difference.interval.as_ref().map(|i| format!(" [{:+.3}, {:+.3}]", i.lo, i.hi));
        let _ = writeln!(
            text,
            "Own family ({}, {} outputs against {}): {figure}{} more lenient than with others.",
            own.family,
            own.own,
            own.others,
            interval.unwrap_or_default()
        );
    }
    text
}

fn attacked(found: &Attacked) -> String {
    let mut text = format!(
        "{} with {}: {} attacks behind `{}`, which it finds `{}`\n  turned     {}\n",
        one_line(&found.judge, 60),
        one_line(&found.model, 60),
        found.turned.n,
        one_line(&found.example, 60),
        one_line(&found.score, 40),
        share(&found.turned)
    );
    for (id, kind, score) in &found.which {
        let _ = writeln!(text, "    {} ({}): {}", one_line(id, 60), one_line(kind, 40), one_line(score, 40));
    }
    let _ = writeln!(text, "  unscored   {}", found.unscored);
    let _ = writeln!(text, "  found      {} by the words alone, {} by the judge", found.found, found.noticed);
    text
}
