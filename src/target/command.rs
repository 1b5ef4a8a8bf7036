//! A program under test: the example as JSON on standard input, the output on standard output.
//!
//! No shell takes part: program and arguments are given one by one, so nothing in an example is ever run.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use super::foreign::{Places, read_output};
use super::http::{resolved, traceparent};
use super::template::context_of;
use super::{BuildContext, Target, TargetCall, TargetReply, options};
use crate::model::{Digest, Digester, Failure, FailureKind, Output, Spend, TargetInfo, canonical_json};
use crate::sys::files::read_bytes;
use crate::sys::process::{Finished, Trouble, plain_variables, run};
use crate::sys::text::one_line;
use crate::sys::{Clock, SecretText, Secrets};

pub(super) const SAMPLE: &str = r#"command = ["python3", "-c", "import json, sys; print(json.load(sys.stdin)['input'])"]
"#;

/// Most bytes of standard output unless the options say otherwise.
const STDOUT_LIMIT: usize = 16 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Program and arguments, one by one; there is no shell. The program is a name that is looked up, or a path (with
    /// `/`) relative to the configuration.
    #[schemars(length(min = 1))]
    command: Vec<String>,
    /// Folder to run in, relative to the configuration.
    cwd: Option<String>,
    /// Further variables: name to text, or to `{ env = "NAME" }`.
    #[serde(default)]
    env: BTreeMap<String, SecretText>,
    /// Variables passed on as they are, by name.
    #[serde(default)]
    pass_env: Vec<String>,
    /// Files whose content makes the program what it is, relative to the configuration: a change of one is a change
    /// of the target. A program given as a path counts by itself.
    #[serde(default)]
    files: Vec<String>,
    /// How standard output is read.
    #[serde(default)]
    format: Format,
    /// Most bytes of standard output.
    #[schemars(range(min = 1))]
    stdout_limit: Option<usize>,
}

/// How standard output is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// JSON when it is an object with `output`, else text.
    #[default]
    Auto,
    /// A JSON object with `output` or `error`, and perhaps `usage`, `cost_usd`, `latency_ms`, `trace`.
    Json,
    /// Text.
    Text,
}

pub(super) fn schema() -> Value {
    schemars::schema_for!(Options).to_value()
}

pub(super) fn build(value: &Value, context: &BuildContext<'_>) -> Result<Box<dyn Target>, String> {
    let read: Options = options(value)?;
    let (typed, args) = match read.command.split_first() {
        Some((program, args)) if !program.trim().is_empty() => (program.clone(), args.to_vec()),
        _ => return Err("`command` names no program".to_owned()),
    };
    let is_path = typed.contains('/') || typed.contains(std::path::MAIN_SEPARATOR);
    let program = if is_path { context.base.join(&typed) } else { PathBuf::from(&typed) };
    let mut variables = plain_variables(context.env);
    let mut secrets = Secrets::default();
    let named = read.pass_env.iter().map(|name| (name.clone(), passed(name)));
    for (name, text) in named.chain(read.env.clone()) {
        let value = resolved(&format!("`env.{name}`"), &text, context, &mut secrets)?;
        variables.insert(name, value);
    }
    let mut watched: Vec<PathBuf> = read.files.iter().map(|file| context.base.join(file)).collect();
    if is_path {
        watched.push(program.clone());
    }
    let cwd = read.cwd.as_ref().map_or_else(|| context.base.to_owned(), |cwd| context.base.join(cwd));
    let places = |name: &str| Some(format!("/{name}"));
    Ok(Box::new(CommandTarget {
        name: context.name.to_owned(),
        digest: digest_of(value, &watched)?,
        line: read.command.join(" "),
        program,
        args,
        cwd: if cwd.as_os_str().is_empty() { PathBuf::from(".") } else { cwd },
        variables,
        secrets,
        format: read.format,
        stdout_limit: read.stdout_limit.unwrap_or(STDOUT_LIMIT),
        places: Places {
            output: places("output"),
            trace: places("trace"),
            usage: places("usage"),
            cost_usd: places("cost_usd"),
            latency_ms: places("latency_ms"),
            error: places("error"),
        },
        clock: Arc::clone(&context.clock),
    }))
}

fn passed(name: &str) -> SecretText {
    SecretText::Variable(crate::sys::EnvironmentText { env: name.to_owned(), prefix: String::new() })
}

/// The options name variables and do not hold their values, so no secret enters the digest.
fn digest_of(value: &Value, watched: &[PathBuf]) -> Result<Digest, String> {
    let mut digester = Digester::new().part("kind", b"command").part("options", canonical_json(value).as_bytes());
    for path in watched {
        let content = read_bytes(path).map_err(|error| error.to_string())?;
        digester.add("file", Digest::of(&content).as_str().as_bytes());
    }
    Ok(digester.finish())
}

struct CommandTarget {
    name: String,
    digest: Digest,
    /// Program and arguments as they are shown.
    line: String,
    program: PathBuf,
    args: Vec<String>,
    cwd: PathBuf,
    variables: BTreeMap<String, String>,
    secrets: Secrets,
    format: Format,
    stdout_limit: usize,
    places: Places,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Target for CommandTarget {
    fn info(&self) -> TargetInfo {
        let settings = BTreeMap::from([("command".to_owned(), json!(one_line(&self.line, 200)))]);
        TargetInfo { kind: "command".to_owned(), name: self.name.clone(), digest: self.digest.clone(), settings }
    }

    async fn run(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let (trace_id, traceparent) = traceparent(self.clock.as_ref());
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.cwd).env_clear().envs(&self.variables);
        command.env("TRACEPARENT", &traceparent);
        let mut input = context_of(call.example, call.trial).to_string();
        input.push('\n');
        let started = Instant::now();
        let finished = run(command, input.as_bytes(), self.stdout_limit, call.timeout).await;
        let took_ms = started.elapsed().as_secs_f64() * 1000.0;
        let finished = finished.map_err(|trouble| self.failure_of(trouble, call))?;
        if !finished.status.success() {
            let how = how_it_ended(finished.status);
            return Err(self.failure(FailureKind::TargetError, &format!("{how}{}", self.tail(&finished.stderr))));
        }
        let mut output = self.read(&finished, &trace_id)?;
        output.latency_ms = output.latency_ms.or(Some(took_ms));
        output.metadata.insert("trace_id".to_owned(), json!(trace_id));
        let mut spend = Spend::of_call(output.usage.clone(), output.cost_usd);
        if output.cost_usd.is_none() && output.usage.is_unknown() {
            // A program that says nothing of tokens or money is not a model call without a price.
            spend.unpriced_calls = 0;
        }
        Ok(TargetReply { output, spend, cached: false })
    }
}

impl CommandTarget {
    fn read(&self, finished: &Finished, trace_id: &str) -> Result<Output, Failure> {
        let parsed = match self.format {
            Format::Text => None,
            _ => serde_json::from_slice::<Value>(&finished.stdout).ok(),
        };
        let answers = |value: &Value| value.get("output").is_some() || value.get("error").is_some();
        let what = format!("target `{}`", self.name);
        match (self.format, parsed) {
            (Format::Json, Some(value)) if answers(&value) => read_output(&what, &value, &self.places, trace_id),
            (Format::Json, _) => {
                let start = one_line(&String::from_utf8_lossy(&finished.stdout), 120);
                let text = format!("stdout is no JSON object with `output`: `{start}`{}", self.tail(&finished.stderr));
                Err(self.failure(FailureKind::TargetError, &text))
            }
            (_, Some(value)) if value.get("output").is_some() => read_output(&what, &value, &self.places, trace_id),
            _ => {
                let text = String::from_utf8_lossy(&finished.stdout);
                // One line break is how programs end their output, not a part of it.
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(Output::of_text(text.strip_suffix('\r').unwrap_or(text)))
            }
        }
        .map_err(|mut failure| {
            failure.message = self.secrets.scrub(&failure.message);
            failure
        })
    }

    fn failure_of(&self, trouble: Trouble, call: &TargetCall<'_>) -> Failure {
        match trouble {
            Trouble::TimedOut(stderr) => {
                let seconds = call.timeout.as_secs_f64();
                let text = format!("did not end within {seconds} s and was killed{}", self.tail(&stderr));
                self.failure(FailureKind::Timeout, &text)
            }
            Trouble::TooMuchOutput => {
                let text = format!("wrote more than {} bytes; raise `stdout_limit` if it should", self.stdout_limit);
                self.failure(FailureKind::TargetError, &text)
            }
            // It will not be there for the next trial either.
            Trouble::Io(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                let text = format!("cannot be started in `{}`: {error}; check `program` and `cwd`", shown(&self.cwd));
                self.failure(FailureKind::NotFound, &text)
            }
            Trouble::Io(error) => self.failure(FailureKind::Connection, &format!("cannot be run: {error}")),
        }
    }

    fn failure(&self, kind: FailureKind, text: &str) -> Failure {
        let line = one_line(&self.line, 120);
        Failure::new(kind, self.secrets.scrub(&format!("target `{}` (`{line}`) {text}", self.name)))
    }

    fn tail(&self, stderr: &str) -> String {
        // Scrubbed before it is cut: a cut through a key would leave a part of it.
        let clean = self.secrets.scrub(stderr.trim());
        let skipped = clean.chars().count().saturating_sub(500);
        let end: String = clean.chars().skip(skipped).collect();
        if end.is_empty() {
            "; it said nothing on stderr".to_owned()
        } else {
            format!("; stderr: {}", one_line(&end, 500))
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn how_it_ended(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            return format!("was killed by signal {signal}");
        }
    }
    status.code().map_or_else(|| "did not end well".to_owned(), |code| format!("ended with exit code {code}"))
}
