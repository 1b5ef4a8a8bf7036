//! `assize report`: a report made again from the store, or the page over many runs, and opening either.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::Value;

use super::args::ReportArgs;
use super::print::Printer;
use super::verbs::{print_comparison, reports_to_stdout, viewed_text};
use crate::ops::compare::{self, Again};
use crate::ops::index::{self, Indexed};
use crate::ops::{Done, Exit, Failed, Project, World, Written};
use crate::sys::browse;

/// Carries it out. A report is not a gate: that it could be made is success.
pub(super) async fn run(project: &Project, world: &World, mut args: ReportArgs, printer: &Printer) -> Done<Exit> {
    let Some(subject) = args.subject.take() else {
        let done = over_runs(project, world, args, printer).await?;
        return Ok(done);
    };
    if args.open && !args.reports.iter().any(|report| report.starts_with("html=")) {
        let place = index::place(project, world, &subject, args.suite.as_deref()).await?;
        args.reports.push(format!("html={}", place.display()));
    }
    let suite = args.suite.as_deref();
    let written = match compare::report(project, world, &subject, suite, &args.allow, &args.reports).await? {
        Again::Comparison(compared) => {
            print_comparison(&compared, world, printer, Value::Null)?;
            compared.written
        }
        Again::Run(viewed) => {
            if !reports_to_stdout(&viewed.written, printer)? {
                printer.result(&viewed.view, || viewed_text(&viewed, world, printer))?;
            }
            viewed.written
        }
    };
    let page = written.iter().find(|one: &&Written| one.form == "html").and_then(|one| one.path.as_deref());
    if args.open {
        open(
            page.ok_or_else(|| Failed::usage(anyhow!("`--open` needs a file: name one with `--report html=PATH`")))?,
            world,
        )?;
    }
    Ok(Exit::Pass)
}

async fn over_runs(project: &Project, world: &World, args: ReportArgs, printer: &Printer) -> Done<Exit> {
    let path = match args.reports.as_slice() {
        [] => None,
        [one] if one.starts_with("html=") && one != "html=-" => Some(PathBuf::from(one.trim_start_matches("html="))),
        _ => {
            return Err(Failed::usage(anyhow!(
                "`--index` makes one page: name it with `--report html=PATH`, or nothing"
            )));
        }
    };
    let ask = index::Ask { suite: args.suite, last: args.last, path };
    let done = index::index(project, world, &ask).await?;
    printer.result(&done, || told(&done))?;
    if args.open {
        open(&done.path, world)?;
    }
    Ok(Exit::Pass)
}

fn told(done: &Indexed) -> String {
    let mut text = format!("{} runs: {}\n", done.runs, done.path.display());
    for line in &done.left_out {
        text.push_str(&format!("left out: {line}\n"));
    }
    text
}

fn open(path: &Path, world: &World) -> Done<()> {
    browse::open(path, world.env.get("BROWSER")).map_err(|error| {
        Failed::usage(anyhow!(
            "cannot open {}: no browser was found ({error}); set BROWSER to a program, or open the file yourself",
            path.display()
        ))
    })
}
