//! The command line: arguments to a use case, its result to text or JSON, its outcome to an exit code.
//!
//! The only place that prints. stdout carries what was asked for, stderr everything else.

pub mod args;
pub mod bundle;
pub mod cache;
mod calibrated;
pub mod cost;
mod dataset;
mod dataset_edit;
mod decided;
pub mod diagnose;
pub mod drift;
pub mod flaky;
mod ingested;
pub mod judge_trials;
mod judges;
mod labels;
pub mod lake;
mod man;
mod matrix;
pub mod outcomes;
pub mod plan;
mod print;
mod progress;
pub mod push;
pub mod query;
pub mod replay;
mod report;
mod sample;
mod selftest;
mod serve;
mod show;
mod table;
mod trace;
mod verbs;
pub mod versus;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};

use crate::ops::{Exit, Project, World};
use crate::sys::{Env, SystemClock, text};
use args::{Cli, Verb};
use print::Printer;

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Verb::Completions { shell } = &cli.verb {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut Cli::command(), "assize", &mut script);
        return finish(Printer::plain().bytes(&script).map(|()| Exit::Pass));
    }
    if let Verb::Man { dir } = &cli.verb {
        return finish(man::write(Cli::command(), dir.as_deref(), &Printer::plain()));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print::to_stderr(&format!("error: cannot start: {error}"));
            return ExitCode::from(Exit::Instrument.code());
        }
    };
    let done = runtime.block_on(run(cli));
    // Files and sockets of work that was given up must not keep the process alive.
    runtime.shutdown_background();
    finish(done)
}

fn finish(done: Result<Exit, crate::ops::Failed>) -> ExitCode {
    match done {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failed) => {
            print::to_stderr(&format!("error: {}", text::for_terminal(&print::chain(&failed.error))));
            ExitCode::from(failed.exit.code())
        }
    }
}

async fn run(cli: Cli) -> Result<Exit, crate::ops::Failed> {
    let env = Env::of_process();
    let here = std::env::current_dir().map_err(crate::ops::Failed::usage)?;
    let printer = Printer::new(&cli, &env);
    let world = World { env, clock: Arc::new(SystemClock), here };
    let project = Project::find(cli.config.as_deref(), &world.here);
    verbs::run(cli, project, &world, &printer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns that help has at most: lines that are broken by hand and are longer would be broken twice.
    const WIDEST: usize = 96;

    fn look_at(command: &clap::Command, found: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines: Vec<&str> = help.lines().collect();
        let flows = |line: &&str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
        for (place, line) in lines.iter().enumerate() {
            let after_flowing = place > 0 && lines.get(place - 1).is_some_and(flows);
            if (line.starts_with(' ') && line.chars().count() > WIDEST) || (flows(line) && after_flowing) {
                found.push(format!("{}: {line}", command.get_name()));
            }
        }
        command.get_subcommands().for_each(|inner| look_at(inner, found));
    }

    #[test]
    fn help_is_broken_in_one_place_only() {
        let mut found = Vec::new();
        look_at(&Cli::command(), &mut found);
        assert!(found.is_empty(), "examples fit {WIDEST} columns, paragraphs are one line each:\n{}", found.join("\n"));
    }
}
