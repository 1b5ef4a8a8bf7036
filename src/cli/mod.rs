//! The command line: arguments to a use case, its result to text or JSON, its outcome to an exit code.
//!
//! The only place that prints. stdout carries what was asked for, stderr everything else.

pub mod args;
pub mod cost;
mod dataset_edit;
pub mod flaky;
mod ingested;
mod labels;
pub mod lake;
pub mod plan;
mod print;
mod progress;
pub mod query;
mod sample;
mod serve;
mod show;
mod verbs;

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
