//! `assize versus`: arguments, and the printing of what came of it.

use clap::Args;
use serde_json::json;

use super::args::RunHow;
use super::print::Printer;
use super::show;
use super::verbs::{how, print_comparison, watched};
use crate::ops::versus::{Ask, VersusDone, versus};
use crate::ops::{Done, Exit, Failed, Project, World};

/// Shown under the help.
pub const EXAMPLES: &str = "Example:\n  assize versus\n  assize versus small large --suite support --trials 3\n  \
                            assize versus small large --report html=report.html";

/// `versus`
#[derive(Debug, Args)]
pub struct VersusArgs {
    /// Target that is compared against; the suite's `baseline` when left out.
    pub baseline: Option<String>,
    /// Target that is judged; the suite's candidate when left out.
    pub candidate: Option<String>,
    /// Suite; may be left out when there is only one.
    #[arg(long)]
    pub suite: Option<String>,
    /// How to run; limits of money hold for each of the two runs.
    #[command(flatten)]
    pub how: RunHow,
    /// Difference that is allowed, by its name.
    #[arg(long = "allow", value_name = "WHAT")]
    pub allow: Vec<String>,
    /// Reports to write, as `form=path`; may be repeated. By default HTML and Markdown in the reports folder.
    #[arg(long = "report", value_name = "FORM=PATH")]
    pub reports: Vec<String>,
}

/// Carries it out.
pub async fn run(project: &Project, world: &World, args: VersusArgs, printer: &Printer) -> Done<Exit> {
    if args.how.target.is_some() || args.how.until_decided {
        let text = "`versus` runs two named targets to their end; leave out `--target` and `--until-decided`";
        return Err(Failed::usage(anyhow::anyhow!(text)));
    }
    let (baseline, candidate) = match (args.baseline, args.candidate) {
        // One name alone is the candidate: the baseline is the suite's.
        (Some(only), None) => (None, Some(only)),
        both => both,
    };
    let ask =
        Ask { suite: args.suite, baseline, candidate, how: how(args.how), allow: args.allow, reports: args.reports };
    let done = watched(printer, async |watch| versus(project, world, ask, watch).await).await?;
    for warning in &done.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    for side in &done.sides {
        if let (Some(stop), Some(run)) = (&side.stop, &side.run) {
            printer.note(&show::stopped(stop, run));
        }
    }
    let runs = json!(done.sides.each_ref().map(|side| &side.run));
    match &done.compared {
        Some(compared) => print_comparison(compared, world, printer, json!({"runs": runs}))?,
        None => printer.result(&without(&done), String::new)?,
    }
    Ok(done.exit)
}

fn without(done: &VersusDone) -> serde_json::Value {
    let sides = done.sides.each_ref().map(|side| json!({"plan": side.planned, "run": side.run, "stop": side.stop}));
    json!({"format": 1, "sides": sides, "warnings": done.warnings, "exit": done.exit.code()})
}
