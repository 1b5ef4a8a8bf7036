//! `assize traces replay`: arguments, and what came of it step by step.

use std::time::Duration;

use clap::Args;

use super::print::Printer;
use crate::ops::replay::{Ask, Replayed, Standing, Step, replay};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// Shown under the help.
pub const EXAMPLES: &str = "Example:\n  assize traces replay 4bf92f35 --from 2 --set tool.result='{\"status\": \"lost\"}' \\\n    \
                            --upstream http://localhost:11434/v1\n  \
                            assize traces replay 4bf92f35 --set input='Where is A-1002?' --target with_tools";

/// `traces replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Trace id, or its first characters.
    pub trace: String,
    /// Step that is set otherwise; with nothing set, the step from which the real server is asked. Model calls and tool
    /// calls are counted from 1.
    #[arg(long, value_name = "STEP", value_parser = clap::value_parser!(u32).range(1..))]
    pub from: Option<u32>,
    /// What is set: `tool.result=JSON` (at `--from`), or `input=TEXT`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Suite of the target; may be left out when there is only one.
    #[arg(long)]
    pub suite: Option<String>,
    /// Target to run, a `command`; the suite's candidate when left out.
    #[arg(long)]
    pub target: Option<String>,
    /// Variable by which the target learns the address of its model server.
    #[arg(long, value_name = "NAME", default_value = "MODEL_BASE_URL")]
    pub base_url_env: String,
    /// Base address of the real server, asked from the first difference on; its key is the one that the target sends.
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// Time limit of the target in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

/// Carries it out.
pub async fn run(project: &Project, world: &World, args: ReplayArgs, printer: &Printer) -> Done<Exit> {
    let ask = Ask {
        trace: args.trace,
        suite: args.suite,
        target: args.target,
        from: args.from.map(|step| step as usize),
        set: args.set,
        base_url_env: args.base_url_env,
        upstream: args.upstream,
        timeout: Duration::from_secs(args.timeout),
    };
    let done = replay(project, world, &ask).await?;
    for note in &done.notes {
        printer.note(&format!("note: {note}"));
    }
    printer.result(&done, || text(&done))?;
    Ok(if done.failure.is_some() { Exit::Instrument } else { Exit::Pass })
}

fn text(done: &Replayed) -> String {
    let mut lines = vec![format!("Trace {} again, by target {}", done.trace, done.target), String::new()];
    for step in &done.steps {
        lines.extend(step_lines(step));
    }
    lines.push(String::new());
    let shown = |value: &Option<serde_json::Value>| match value {
        Some(serde_json::Value::String(text)) => one_line(text, 300),
        Some(other) => one_line(&other.to_string(), 300),
        None => "nothing".to_owned(),
    };
    match done.diverges_at {
        Some(step) => lines.push(format!("Diverges at step {step}.")),
        None => lines.push("Every step is as it was recorded.".to_owned()),
    }
    lines.push(format!("Recorded  {}", shown(&done.recorded_output)));
    lines.push(match &done.failure {
        Some(failure) => format!("Now       failed: {}", one_line(failure, 400)),
        None => format!("Now       {}", shown(&done.output)),
    });
    lines.join("\n") + "\n"
}

fn step_lines(step: &Step) -> Vec<String> {
    let word = match step.standing {
        Standing::Same => "as recorded",
        Standing::Set => "set",
        Standing::SameAgain => "asked anew, the same",
        Standing::Changed => "asked anew, another answer",
        Standing::New => "new",
        Standing::NotReached => "not reached",
    };
    let name = one_line(&step.name, 40);
    let mut lines = vec![format!("{:>3}  {:<5}  {name:<24}  {word}", step.number, step.kind)];
    let line =
        |sign: char, text: &Option<String>| text.as_ref().map(|text| format!("       {sign} {}", one_line(text, 160)));
    match step.standing {
        Standing::Same | Standing::SameAgain => lines.extend(line(' ', &step.recorded)),
        _ => {
            lines.extend(line('-', &step.recorded));
            lines.extend(line('+', &step.now));
        }
    }
    lines
}
