//! `assize outcomes`: its arguments and its printing.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::print::Printer;
use super::{matrix, verbs};
use crate::ops::outcomes::{Ask, Found, Outcomes, outcomes};
use crate::ops::{Done, Exit, Project, World};

/// `outcomes`
#[derive(Debug, Args)]
pub struct OutcomesArgs {
    /// Files of recorded scores: CSV, JSON lines, JSON or Parquet.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Field that names the example; what pairs the systems.
    #[arg(long, value_name = "FIELD")]
    pub id: String,
    /// Field that names the system of a row; or NAME=FIELD, once for each system whose score has a field of its own.
    /// Without it each file is a system.
    #[arg(long = "system", value_name = "[NAME=]FIELD")]
    pub systems: Vec<String>,
    /// System that the others are set against; the first when left out.
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,
    /// Field of a score; may be repeated. Values that are all yes or no are shares, others means.
    #[arg(long = "score", value_name = "[NAME=]FIELD")]
    pub scores: Vec<String>,
    /// Score of which less is better.
    #[arg(long, value_name = "NAME")]
    pub lower: Vec<String>,
    /// Least and greatest value of a score.
    #[arg(long = "range", value_name = "NAME=LOW..HIGH", allow_hyphen_values = true)]
    pub ranges: Vec<String>,
    /// Number added to every value of a score.
    #[arg(long, value_name = "[NAME=]NUMBER", allow_hyphen_values = true)]
    pub plus: Vec<String>,
    /// Smallest change of a score that matters; only scores with one are gated. Without any: a twentieth of the range of
    /// each score that is yes or no or has a `--range`.
    #[arg(long = "margin", value_name = "[NAME=]NUMBER")]
    pub margins: Vec<String>,
    /// Field that numbers the trials of an example. Without it, rows of one example and system are trials in their order.
    #[arg(long, value_name = "FIELD")]
    pub trial: Option<String>,
    /// Field of the money a row cost, in US dollars.
    #[arg(long, value_name = "FIELD")]
    pub cost: Option<String>,
    /// Field of the milliseconds a row took.
    #[arg(long, value_name = "FIELD")]
    pub latency: Option<String>,
    /// Field of what several examples share, such as a session or a repository, perhaps with a regular expression.
    #[arg(long, value_name = "FIELD[:REGEX]")]
    pub cluster: Option<String>,
    /// Dimension to slice by; may be repeated.
    #[arg(long, value_name = "[NAME=]FIELD[:REGEX]")]
    pub by: Vec<String>,
    /// Name of the dataset and suite; the file's when left out.
    #[arg(long)]
    pub name: Option<String>,
    /// Reports to write, as `form=path`; may be repeated. Path `-` is stdout.
    #[arg(long = "report", value_name = "FORM=PATH")]
    pub reports: Vec<String>,
}

/// Carries it out.
pub async fn run(project: &Project, world: &World, args: OutcomesArgs, printer: &Printer) -> Done<Exit> {
    let ask = Ask {
        files: args.files,
        name: args.name,
        id: args.id,
        systems: args.systems,
        baseline: args.baseline,
        scores: args.scores,
        lower: args.lower,
        ranges: args.ranges,
        plus: args.plus,
        margins: args.margins,
        trial: args.trial,
        cost: args.cost,
        latency: args.latency,
        cluster: args.cluster,
        by: args.by,
        reports: args.reports,
    };
    // Replaying recorded rows is no work to watch.
    let quiet = Printer { quiet: true, ..*printer };
    let done = verbs::watched(&quiet, async |watch| outcomes(project, world, &ask, watch).await).await?;
    tell(&done, printer);
    match &done.found {
        Found::One(viewed) => {
            if !verbs::reports_to_stdout(&viewed.written, printer)? {
                let json = json!({
                    "format": 1, "dataset": done.dataset, "runs": done.runs, "view": viewed.view,
                    "reports": viewed.written, "exit": done.exit.code(),
                });
                printer.result(&json, || verbs::viewed_text(viewed, world, printer))?;
            }
        }
        Found::Two(compared) => {
            let extra = json!({ "dataset": done.dataset, "runs": done.runs });
            verbs::print_comparison(compared, world, printer, extra)?;
        }
        Found::Many(many) => {
            if printer.json && many.written.iter().all(|report| report.text.is_none()) {
                let json = json!({
                    "format": 1, "dataset": done.dataset, "runs": done.runs, "matrix": many.matrix,
                    "reports": many.written, "exit": done.exit.code(),
                });
                printer.result(&json, String::new)?;
            } else {
                matrix::print(many, printer)?;
            }
        }
    }
    Ok(done.exit)
}

fn tell(done: &Outcomes, printer: &Printer) {
    for rejection in &done.rejections {
        printer.note(&format!("rejected: {rejection}"));
    }
    if done.rejected as usize > done.rejections.len() {
        printer.note(&format!("rejected: and {} more", done.rejected as usize - done.rejections.len()));
    }
    for (system, run) in &done.runs {
        printer.note(&format!("{} of {}: run {}", crate::sys::text::one_line(system, 60), done.dataset, run.short()));
    }
}
