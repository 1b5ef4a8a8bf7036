//! A program that scores: a cell as JSON on standard input, the finding as JSON on standard output.
//!
//! One process for each cell, or workers that live on and answer line by line. No shell takes part. Whatever a program
//! does, its whole process group is killed when it is done, late or forgotten; the cell is unscored with the reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::reply::{Answer, question};
use super::{Outside, OutsideInfo, Surroundings, fault, free, read, schema_of};
use crate::judge::{Grade, Graded};
use crate::model::{Digest, Digester, ScoreInput, Scored, Unscored, UnscoredReason};
use crate::provider::OnNotice;
use crate::sys::files::read_bytes;
use crate::sys::process::{Trouble, plain_variables, run};
use crate::sys::text::one_line;
use crate::sys::worker::{NoLine, Worker};
use crate::sys::{SecretText, Secrets};

pub(super) const COMMAND: OutsideInfo = OutsideInfo {
    name: "command",
    version: "1",
    summary: "Asks a program in any language: the cell as JSON in, the finding as JSON out.",
    sample: "command = [\"python3\", \"-c\", \"import json, sys; print(json.dumps({'passed': bool(json.load(sys.stdin)['text'])}))\"]",
    schema: schema_of::<Options>,
    check: |options| check(&read(options)?),
    build,
};

/// Most bytes of one answer unless the options say otherwise.
const ANSWER_LIMIT: usize = 1 << 20;

/// The program, and how it is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Program and arguments, one by one; there is no shell. The program is a name that is looked up, or a path (with
    /// `/`) relative to the configuration.
    #[schemars(length(min = 1))]
    command: Vec<String>,
    /// Workers that live on, each of which reads a cell as one line and writes its finding as one line. Without it a
    /// process for each cell, which reads all of its input and ends.
    #[schemars(range(min = 1, max = 256))]
    workers: Option<usize>,
    /// How an answer is read.
    #[serde(default)]
    answer: Answer,
    /// Time limit of one answer, such as `30s`. Default `30s`.
    timeout: Option<String>,
    /// Most bytes of one answer. Default 1 MiB.
    #[schemars(range(min = 1))]
    answer_limit: Option<usize>,
    /// Folder to run in, relative to the configuration.
    cwd: Option<String>,
    /// Further variables: name to text, or to `{ env = "NAME" }`.
    #[serde(default)]
    env: BTreeMap<String, SecretText>,
    /// Files whose content makes the program what it is, relative to the configuration: a change of one is a change of
    /// the scorer. A program given as a path counts by itself.
    #[serde(default)]
    files: Vec<String>,
}

fn check(options: &Options) -> Result<(), String> {
    if options.command.first().is_none_or(|program| program.trim().is_empty()) {
        return Err("`command` names no program".to_owned());
    }
    time_of(options.timeout.as_deref())?;
    options.answer.check()
}

/// A time limit as written.
pub(super) fn time_of(text: Option<&str>) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(Duration::from_secs(30)) };
    let span = text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    span.filter(|span| !span.is_zero()).ok_or_else(|| format!("`timeout` must be a time such as `30s`, found `{text}`"))
}

struct Program {
    program: PathBuf,
    args: Vec<String>,
    cwd: PathBuf,
    variables: BTreeMap<String, String>,
    secrets: Secrets,
    answer: Answer,
    timeout: Duration,
    limit: usize,
    /// What findings call it.
    who: String,
    calls: AtomicU64,
    pool: Option<Pool>,
}

/// Workers that wait to be asked, and room for those that do not run yet.
struct Pool {
    places: Semaphore,
    idle: Mutex<Vec<Worker>>,
}

fn build(options: &Value, around: &Surroundings<'_>) -> Result<Outside, String> {
    let options: Options = read(options)?;
    check(&options)?;
    let (typed, args) = options.command.split_first().ok_or("`command` names no program")?;
    let is_path = typed.contains('/') || typed.contains(std::path::MAIN_SEPARATOR);
    let program = if is_path { around.base.join(typed) } else { PathBuf::from(typed) };
    let mut variables = plain_variables(around.env);
    let mut secrets = Secrets::default();
    for (name, text) in &options.env {
        let missing = |name| format!("`env` needs `{name}`, which is not set; run `export {name}=...` first");
        let (value, secret) = text.resolve(around.env).map_err(missing)?;
        variables.insert(name.clone(), value.expose_secret().to_owned());
        if secret {
            secrets.add(value);
        }
    }
    let mut watched: Vec<PathBuf> = options.files.iter().map(|file| around.base.join(file)).collect();
    if is_path {
        watched.push(program.clone());
    }
    let mut digester = Digester::new();
    for path in &watched {
        let content = read_bytes(path).map_err(|error| error.to_string())?;
        digester.add("file", Digest::of(&content).as_str().as_bytes());
    }
    let cwd = options.cwd.as_ref().map_or_else(|| around.base.to_owned(), |cwd| around.base.join(cwd));
    let pool = options.workers.map(|count| Pool { places: Semaphore::new(count.max(1)), idle: Mutex::new(Vec::new()) });
    let (scale, direction) = (options.answer.scale(), options.answer.direction());
    let program = Program {
        program,
        args: args.to_vec(),
        cwd: if cwd.as_os_str().is_empty() { PathBuf::from(".") } else { cwd },
        variables,
        secrets,
        timeout: time_of(options.timeout.as_deref())?,
        limit: options.answer_limit.unwrap_or(ANSWER_LIMIT),
        who: format!("program `{}`", one_line(&options.command.join(" "), 80)),
        answer: options.answer,
        calls: AtomicU64::new(0),
        pool,
    };
    Ok(Outside { grade: Arc::new(program), scale, direction, digest: Some(digester.finish()), model: None })
}

#[async_trait]
impl Grade for Program {
    async fn grade(&self, input: &ScoreInput<'_>, _draw: u32, _on_notice: OnNotice<'_>) -> Graded {
        let started = Instant::now();
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let line = question(input, call).to_string().into_bytes();
        let scored = match &self.pool {
            Some(pool) => self.ask_worker(pool, &line, call).await,
            None => self.ask_process(&line).await,
        };
        let scored = scored.map_err(|mut unscored| {
            unscored.detail = self.secrets.scrub(&unscored.detail);
            unscored
        });
        free(scored, u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.cwd).env_clear().envs(&self.variables);
        command
    }

    async fn ask_process(&self, question: &[u8]) -> Scored {
        let finished = run(self.command(), question, self.limit, self.timeout).await;
        let finished = finished.map_err(|trouble| match trouble {
            Trouble::Io(error) => fault(format!("{} cannot be run: {error}", self.who)),
            Trouble::TooMuchOutput => self.too_much(),
            Trouble::TimedOut { stderr, .. } => self.late(&stderr),
        })?;
        if !finished.status.success() {
            let how = finished.status.to_string();
            return Err(fault(format!("{} ended with {how}{}", self.who, tail(&finished.stderr))));
        }
        self.answer.read(&self.who, trimmed(&finished.stdout))
    }

    async fn ask_worker(&self, pool: &Pool, question: &[u8], call: u64) -> Scored {
        let place = pool.places.acquire().await.map_err(|_| fault("the pool of workers is closed"))?;
        let idle = || pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let mut worker = match waiting {
            Some(worker) => worker,
            None => {
                Worker::start(self.command()).map_err(|error| fault(format!("{} cannot be run: {error}", self.who)))?
            }
        };
        let answer = worker.ask(question, self.limit, self.timeout).await;
        let scored = match answer {
            Ok(line) => {
                let echoed =
                    serde_json::from_slice::<Value>(&line).ok().and_then(|answer| answer.get("call")?.as_u64());
                if echoed.is_some_and(|echoed| echoed != call) {
                    // It is a question behind; so would every later answer be.
                    return Err(fault(format!("{} answered another question than it was asked", self.who)));
                }
                self.answer.read(&self.who, trimmed(&line))
            }
            Err(NoLine::TimedOut) => return Err(self.late(&worker.stderr())),
            Err(NoLine::TooMuch) => return Err(self.too_much()),
            Err(NoLine::Ended) => {
                return Err(fault(format!("{} stopped without an answer{}", self.who, tail(&worker.stderr()))));
            }
        };
        // One whose answer could not be read may stand in the middle of another line.
        let sound = !matches!(&scored, Err(unscored) if unscored.reason == UnscoredReason::ReplyUnreadable);
        if sound {
            idle().push(worker);
        }
        drop(place);
        scored
    }

    fn too_much(&self) -> Unscored {
        fault(format!(
            "{} wrote more than it may ({} bytes for one answer): raise `answer_limit` if it should",
            self.who, self.limit
        ))
    }

    fn late(&self, stderr: &str) -> Unscored {
        let seconds = self.timeout.as_secs_f64();
        let told = format!("{} did not answer within {seconds} s and was killed{}", self.who, tail(stderr));
        Unscored::new(UnscoredReason::Timeout, told)
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

fn tail(stderr: &str) -> String {
    let skipped = stderr.trim().chars().count().saturating_sub(400);
    let end: String = stderr.trim().chars().skip(skipped).collect();
    if end.is_empty() { String::new() } else { format!("; stderr: {}", one_line(&end, 400)) }
}
