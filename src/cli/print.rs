//! Writing to stdout and stderr: JSON or text, colors, broken pipes.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args::{Cli, ColorWhen};
use crate::ops::{Exit, Failed};
use crate::sys::Env;

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    /// JSON on stdout.
    pub json: bool,
    /// Colors on stdout.
    pub color: bool,
    /// ASCII only.
    pub ascii: bool,
    /// Nothing on stderr but errors.
    pub quiet: bool,
    /// Columns of the terminal; 80 when it is none.
    pub width: usize,
    /// Whether lines are read by GitHub Actions, which takes some for commands.
    pub commands: bool,
}

impl Printer {
    /// As the flags, the environment and the terminal say.
    pub fn new(cli: &Cli, env: &Env) -> Self {
        let terminal = io::stdout().is_terminal();
        let color = match cli.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && env.get("NO_COLOR").is_none() && env.get("TERM") != Some("dumb"),
        };
        let width = env.get("COLUMNS").and_then(|text| text.parse().ok()).unwrap_or(80_usize).clamp(40, 200);
        let commands = env.get("GITHUB_ACTIONS") == Some("true");
        Self { json: cli.json, color, ascii: cli.ascii, quiet: cli.quiet, width, commands }
    }

    /// No colors, no JSON.
    pub fn plain() -> Self {
        Self { json: false, color: false, ascii: false, quiet: false, width: 80, commands: false }
    }

    /// Prints a result: as JSON when that was asked for, else as the given text.
    pub fn result<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failed> {
        if self.json {
            let mut json = serde_json::to_vec_pretty(value).map_err(Failed::instrument)?;
            json.push(b'\n');
            return self.bytes(&json);
        }
        self.text(&text())
    }

    /// Prints text on stdout, with a line break at the end.
    pub fn text(&self, text: &str) -> Result<(), Failed> {
        if text.is_empty() {
            return Ok(());
        }
        let mut text = if self.commands { no_commands(text) } else { text.to_owned() };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.bytes(text.as_bytes())
    }

    /// Writes bytes to stdout. A reader that went away is not an error: nobody is left to tell.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failed> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failed { exit: Exit::Instrument, error: error.into() })
            }
            _ => Ok(()),
        }
    }

    /// Tells the user something that is not the result.
    pub fn note(&self, text: &str) {
        match (self.quiet, self.commands) {
            (true, _) => {}
            (false, true) => to_stderr(&no_commands(text)),
            (false, false) => to_stderr(text),
        }
    }
}

/// The text with no line that GitHub Actions takes for a command (`::name::`, `##[name]`): a target's or a judge's words
/// must not be able to write one.
fn no_commands(text: &str) -> String {
    let line = |line: &str| {
        let start = line.len() - line.trim_start().len();
        let (lead, rest) = line.split_at(start);
        let rest = rest.replace("##[", "#\u{200b}#[");
        match rest.strip_prefix("::") {
            Some(rest) => format!("{lead}:\u{200b}:{rest}"),
            None => format!("{lead}{rest}"),
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Writes a line to stderr.
pub fn to_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(stderr, "{text}");
}

/// An error with its causes, each once.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::no_commands;

    #[test]
    fn foreign_lines_are_no_commands() {
        let safe = no_commands("pass\n  ::add-mask::x\nsays ##[error]y\na::b");
        assert_eq!(safe, "pass\n  :\u{200b}:add-mask::x\nsays #\u{200b}#[error]y\na::b");
    }
}
