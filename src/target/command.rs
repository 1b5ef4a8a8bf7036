//! A program under test: the example as JSON on standard input, the output on standard output.
//!
//! No shell takes part: program and arguments are given one by one, so nothing in an example is ever run. Either one
//! process per trial, or a pool of long-lived workers that read and write JSON lines.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use super::foreign::{Places, read_output};
use super::hooks::{program_at, trial_variables};
use super::pool::{Broken, Pool, Size};
use super::stage::{TraceIds, context_of};
use super::{BuildContext, Target, TargetCall, TargetReply, options};
use crate::model::{Digest, Digester, Failure, FailureKind, Output, Spend, TargetInfo, canonical_json};
use crate::sys::files::read_bytes;
use crate::sys::process::{OVERTIME, Trouble, plain_variables, run};
use crate::sys::text::one_line;
use crate::sys::{Clock, Env, EnvironmentText, SecretText, Secrets};

pub(super) const SAMPLE: &str = r#"command = ["python3", "-c", "import json, sys; print(json.load(sys.stdin)['input'])"]
"#;

/// Most bytes of standard output unless the options say otherwise.
const STDOUT_LIMIT: usize = 16 << 20;
/// Workers of a pool unless the options say otherwise.
const WORKERS: usize = 4;

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
    /// Most bytes of standard output, per trial.
    #[schemars(range(min = 1))]
    stdout_limit: Option<usize>,
    /// `process` starts the program for each trial, `pool` keeps workers that get one line of JSON per trial and
    /// answer it with one.
    #[serde(default)]
    mode: Mode,
    /// Workers of a pool. Default 4.
    #[schemars(range(min = 1, max = 1024))]
    workers: Option<usize>,
    /// Trials after which a worker of a pool is replaced by a fresh one. Default: never.
    #[schemars(range(min = 1))]
    recycle: Option<u64>,
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

/// How the program is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// One process per trial.
    #[default]
    Process,
    /// Long-lived workers over JSON lines.
    Pool,
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
    if read.mode == Mode::Process && (read.workers.is_some() || read.recycle.is_some()) {
        return Err("`workers` and `recycle` belong to `mode = \"pool\"`; set it, or leave them out".to_owned());
    }
    if read.mode == Mode::Pool && read.format == Format::Text {
        return Err("workers of a pool answer with lines of JSON; leave out `format = \"text\"`".to_owned());
    }
    let program = program_at(&typed, context.base);
    let mut variables = plain_variables(context.env);
    let mut secrets = Secrets::default();
    add_variables(&mut variables, &mut secrets, context.env, &read.env, &read.pass_env, "`env")?;
    let mut watched: Vec<PathBuf> = read.files.iter().map(|file| context.base.join(file)).collect();
    if program != Path::new(&typed) {
        watched.push(program.clone());
    }
    let cwd = read.cwd.as_ref().map_or_else(|| context.base.to_owned(), |cwd| context.base.join(cwd));
    let cwd = if cwd.as_os_str().is_empty() { PathBuf::from(".") } else { cwd };
    let stdout_limit = read.stdout_limit.unwrap_or(STDOUT_LIMIT);
    let start = {
        let (program, args, cwd, variables) = (program.clone(), args.clone(), cwd.clone(), variables.clone());
        move || {
            let mut command = Command::new(&program);
            command.args(&args).current_dir(&cwd).env_clear().envs(&variables);
            command
        }
    };
    let size = Size { workers: read.workers.unwrap_or(WORKERS), recycle: read.recycle, line_limit: stdout_limit };
    let places = |name: &str| Some(format!("/{name}"));
    Ok(Box::new(CommandTarget {
        name: context.name.to_owned(),
        digest: digest_of(value, &watched)?,
        line: read.command.join(" "),
        settings: settings_of(&read),
        pool: (read.mode == Mode::Pool).then(|| Pool::new(Box::new(start.clone()), size)),
        start: Box::new(start),
        cwd,
        secrets,
        format: read.format,
        stdout_limit,
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

/// What of the options is worth showing beside the command: variables by their names, values that are no secret.
fn settings_of(read: &Options) -> BTreeMap<String, Value> {
    let mut settings = BTreeMap::from([("command".to_owned(), json!(one_line(&read.command.join(" "), 200)))]);
    for (name, text) in &read.env {
        let shown = match text {
            SecretText::Plain(text) => one_line(text, 80),
            SecretText::Variable(EnvironmentText { env, .. }) => format!("from ${env}"),
        };
        settings.insert(format!("env.{name}"), json!(shown));
    }
    if read.mode == Mode::Pool {
        settings.insert("workers".to_owned(), json!(read.workers.unwrap_or(WORKERS)));
    }
    settings
}

/// Adds variables of the configuration to those of a program, and remembers what must not be shown.
pub(super) fn add_variables(
    variables: &mut BTreeMap<String, String>,
    secrets: &mut Secrets,
    env: &Env,
    given: &BTreeMap<String, SecretText>,
    passed: &[String],
    what: &str,
) -> Result<(), String> {
    let by_name = |name: &String| SecretText::Variable(EnvironmentText { env: name.to_owned(), prefix: String::new() });
    let named = passed.iter().map(|name| (name.clone(), by_name(name)));
    for (name, text) in named.chain(given.clone()) {
        let missing =
            |wanted| format!("{what}.{name}` needs `{wanted}`, which is not set; run `export {wanted}=...` first");
        let (value, _) = text.resolve(env).map_err(missing)?;
        secrets.add_text(&text, env);
        variables.insert(name, value.expose_secret().to_owned());
    }
    Ok(())
}

/// The options name variables and do not hold their values, so no secret enters the digest. How many workers there are
/// is no part of what the program is.
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
    settings: BTreeMap<String, Value>,
    start: Box<dyn Fn() -> Command + Send + Sync>,
    pool: Option<Pool>,
    cwd: PathBuf,
    secrets: Secrets,
    format: Format,
    stdout_limit: usize,
    places: Places,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Target for CommandTarget {
    fn info(&self) -> TargetInfo {
        let settings = self.settings.clone();
        TargetInfo { kind: "command".to_owned(), name: self.name.clone(), digest: self.digest.clone(), settings }
    }

    async fn run(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let ids = TraceIds::of(call, self.clock.as_ref());
        let started = Instant::now();
        let mut output = match &self.pool {
            Some(pool) => self.ask_worker(pool, call, &ids).await?,
            None => self.run_process(call, &ids).await?,
        };
        output.latency_ms = output.latency_ms.or_else(|| Some(started.elapsed().as_secs_f64() * 1000.0));
        output.metadata.insert("trace_id".to_owned(), json!(ids.trace));
        let mut spend = Spend::of_call(output.usage.clone(), output.cost_usd);
        if output.cost_usd.is_none() && output.usage.is_unknown() {
            // A program that says nothing of tokens or money is not a model call without a price.
            spend.unpriced_calls = 0;
        }
        Ok(TargetReply { output, spend, cached: false })
    }

    fn overtime(&self) -> Duration {
        OVERTIME
    }

    fn width(&self) -> Option<usize> {
        self.pool.as_ref().map(Pool::workers)
    }

    async fn close(&self) -> Vec<String> {
        if let Some(pool) = &self.pool {
            pool.close().await;
        }
        Vec::new()
    }
}

impl CommandTarget {
    async fn run_process(&self, call: &TargetCall<'_>, ids: &TraceIds) -> Result<Output, Failure> {
        let mut command = (self.start)();
        command.envs(trial_variables(call)).env("TRACEPARENT", ids.traceparent());
        let mut input = context_of(call).to_string();
        input.push('\n');
        let finished = run(command, input.as_bytes(), self.stdout_limit, call.timeout).await;
        let finished = finished.map_err(|trouble| self.failure_of(trouble, call))?;
        if !finished.status.success() {
            let how = how_it_ended(finished.status);
            return Err(self.failure(FailureKind::TargetError, &format!("{how}{}", self.tail(&finished.stderr))));
        }
        self.read(&finished.stdout, &finished.stderr, &ids.trace)
    }

    async fn ask_worker(&self, pool: &Pool, call: &TargetCall<'_>, ids: &TraceIds) -> Result<Output, Failure> {
        let mut context = context_of(call);
        context["attempt"] = json!(call.attempt);
        context["traceparent"] = json!(ids.traceparent());
        if let Some(endpoint) = &call.stage.collector {
            context["otlp_endpoint"] = json!(endpoint);
        }
        if let Some(folder) = &call.stage.folder {
            context["folder"] = json!(folder.display().to_string());
        }
        let line = pool.ask(context, call.timeout).await.map_err(|broken| match broken {
            Broken::Trouble(trouble) => self.failure_of(trouble, call),
            Broken::Ended { status, started, stderr } => {
                let how = status.map_or_else(|| "closed its stdout".to_owned(), how_it_ended);
                let half = match started.is_empty() {
                    true => "before it answered".to_owned(),
                    false => format!("in the middle of its answer: `{}`", one_line(&started, 120)),
                };
                self.failure(FailureKind::TargetError, &format!("{how} {half}{}", self.tail(&stderr)))
            }
            Broken::OutOfStep { line, stderr } => {
                let text = format!("answered another request than it was asked: `{}`", one_line(&line, 120));
                self.failure(FailureKind::TargetError, &format!("{text}{}", self.tail(&stderr)))
            }
        })?;
        self.read(&line, "", &ids.trace)
    }

    fn read(&self, stdout: &[u8], stderr: &str, trace_id: &str) -> Result<Output, Failure> {
        let parsed = match self.format {
            Format::Text => None,
            _ => serde_json::from_slice::<Value>(stdout).ok(),
        };
        let answers = |value: &Value| value.get("output").is_some() || value.get("error").is_some();
        let what = format!("target `{}`", self.name);
        let json_only = self.format == Format::Json || self.pool.is_some();
        match parsed {
            Some(value) if json_only && answers(&value) => read_output(&what, &value, &self.places, trace_id),
            _ if json_only => {
                let start = one_line(&String::from_utf8_lossy(stdout), 120);
                let tail = if self.pool.is_some() { String::new() } else { self.tail(stderr) };
                let text = format!("stdout is no JSON object with `output`: `{start}`{tail}");
                Err(self.failure(FailureKind::TargetError, &text))
            }
            Some(value) if value.get("output").is_some() => read_output(&what, &value, &self.places, trace_id),
            _ => {
                let text = String::from_utf8_lossy(stdout);
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
            Trouble::TimedOut { stderr, ignored_term } => {
                let seconds = call.timeout.as_secs_f64();
                let how = if ignored_term { "; it ignored TERM" } else { "" };
                let text = format!("did not end within {seconds} s and was killed{how}{}", self.tail(&stderr));
                self.failure(FailureKind::Timeout, &text)
            }
            Trouble::TooMuchOutput => {
                let text = format!("wrote more than {} bytes; raise `stdout_limit` if it should", self.stdout_limit);
                self.failure(FailureKind::TargetError, &text)
            }
            // It will not be there for the next trial either.
            Trouble::Io(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                let folder = self.cwd.display();
                let text = format!("cannot be started in `{folder}`: {error}; check `command` and `cwd`");
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

pub(super) fn how_it_ended(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            return format!("was killed by signal {signal}");
        }
    }
    status.code().map_or_else(|| "did not end well".to_owned(), |code| format!("ended with exit code {code}"))
}
