//! The redactor of a project: its policy, the key from the environment, and the way to an outside detector.
//!
//! A detector is a service or a program. Both are asked from ordinary code that waits; the waiting is done here.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::exit::{Done, Failed};
use super::project::{Project, World};
use crate::model::{DetectorForm, OnDetectorError, RedactAction, RedactDetector, RedactPolicy};
use crate::redact::{Detector, DetectorError, Finding, KEY_ENV, Redactor};
use crate::sys::{self, text::one_line};

/// Most bytes of one answer.
const ANSWER_LIMIT: usize = 64 << 20;
/// Variables that a program gets; everything else may hold keys.
const PASSED: &[&str] =
    &["PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "VIRTUAL_ENV"];

/// The redactor as configured; with `wanted` false none at all.
pub(super) fn redactor(project: &Project, world: &World, wanted: bool) -> Done<Option<Redactor>> {
    if !wanted {
        return Ok(None);
    }
    made(&project.config.redact, project, world).map(Some)
}

/// The redactor of the receiver. A row turned away because the detector did not answer would be lost to its sender, so
/// the request as a whole is refused and comes again.
pub(super) fn of_receiver(project: &Project, world: &World) -> Done<Option<Redactor>> {
    let mut policy = project.config.redact.clone();
    if let Some(detector) = policy.detector.as_mut().filter(|found| found.on_error == OnDetectorError::Reject) {
        detector.on_error = OnDetectorError::Stop;
    }
    made(&policy, project, world).map(Some)
}

fn made(policy: &RedactPolicy, project: &Project, world: &World) -> Done<Redactor> {
    let key = world.env.secret(policy.key_env.as_deref().unwrap_or(KEY_ENV));
    let redactor = Redactor::new(policy, key.as_ref()).map_err(|faults| {
        let said: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
        Failed::usage(anyhow!("`[redact]`: {}", said.join("; ")))
    })?;
    Ok(match &policy.detector {
        Some(detector) => redactor.with_detector(outside(policy, detector, project, world)?),
        None => redactor,
    })
}

fn outside(
    policy: &RedactPolicy,
    config: &RedactDetector,
    project: &Project,
    world: &World,
) -> Done<Box<dyn Detector>> {
    let timeout = config.timeout.as_deref().and_then(|text| text.parse::<jiff::SignedDuration>().ok());
    let way = match (&config.url, &config.command) {
        (Some(url), _) => {
            let http = sys::http_client().map_err(Failed::instrument)?;
            let key = match &config.key_env {
                Some(name) => Some(world.env.secret(name).ok_or_else(|| {
                    Failed::usage(anyhow!("`{name}` is not set; `[redact.detector]` needs it as `key_env`"))
                })?),
                None => None,
            };
            Way::Http { http, url: url.clone(), key }
        }
        (None, Some(command)) => {
            let (program, args) = command
                .split_first()
                .map_or((String::new(), Vec::new()), |(program, args)| (program.clone(), args.to_vec()));
            let program = if program.contains('/') { project.path(&program).display().to_string() } else { program };
            let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), world.env.get(name)?.to_owned())));
            let (folder, env) = (project.root.clone(), passed.collect());
            let most = thread::available_parallelism().map_or(1, NonZero::get);
            let (idle, places) = (Mutex::new(Vec::new()), Semaphore::new(most));
            Way::Program(Box::new(Program { program, args, folder, env, idle, places }))
        }
        (None, None) => return Err(Failed::usage(anyhow!("`[redact.detector]` lacks `url` or `command`"))),
    };
    // Taken here and not when it is asked: files are read by threads that know of no runtime.
    let runtime = Handle::try_current().map_err(Failed::instrument)?;
    Ok(Box::new(Outside {
        way,
        runtime,
        form: config.form,
        language: config.language.clone().unwrap_or_else(|| "en".to_owned()),
        min_score: config.min_score.unwrap_or(0.5),
        batch: config.batch.unwrap_or(64),
        timeout: timeout.and_then(|time| Duration::try_from(time).ok()).unwrap_or(Duration::from_secs(30)),
        action: config.action.or(policy.personal).filter(|action| *action != RedactAction::Keep),
        on_error: config.on_error,
    }))
}

struct Outside {
    way: Way,
    runtime: Handle,
    form: DetectorForm,
    language: String,
    min_score: f64,
    batch: usize,
    timeout: Duration,
    action: Option<RedactAction>,
    on_error: OnDetectorError,
}

enum Way {
    Http { http: reqwest::Client, url: String, key: Option<SecretString> },
    Program(Box<Program>),
}

struct Program {
    program: String,
    args: Vec<String>,
    folder: PathBuf,
    env: Vec<(String, String)>,
    /// Running, and asked nothing at the moment.
    idle: Mutex<Vec<Session>>,
    /// As many may run as there are processors; who comes later waits.
    places: Semaphore,
}

/// A program that is running and waits for the next line.
struct Session {
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Detector for Outside {
    fn detect(&self, texts: &[&str]) -> Result<Vec<Vec<Finding>>, DetectorError> {
        let question = match self.form {
            DetectorForm::Plain => json!({"texts": texts, "language": self.language}),
            DetectorForm::Presidio => json!({"text": texts, "language": self.language}),
        };
        // Reading is ordinary code, on a thread of the runtime or on one of its own. On the former other work goes on
        // while this one waits; on the latter there is none to make way for.
        let answer = tokio::task::block_in_place(|| self.runtime.block_on(self.ask(&question)))?;
        findings(&answer, self.min_score)
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn on_error(&self) -> OnDetectorError {
        self.on_error
    }

    fn action(&self) -> RedactAction {
        self.action.unwrap_or(RedactAction::Mask)
    }
}

impl Outside {
    async fn ask(&self, question: &Value) -> Result<Value, DetectorError> {
        let late = || DetectorError(format!("no answer within {} ms", self.timeout.as_millis()));
        match &self.way {
            Way::Http { http, url, key } => {
                let mut request = http.post(url).json(question);
                if let Some(key) = key {
                    request = request.bearer_auth(key.expose_secret());
                }
                let answered = tokio::time::timeout(self.timeout, post(request)).await.map_err(|_| late())?;
                answered.map_err(DetectorError)
            }
            Way::Program(program) => {
                let _place = program.places.acquire().await.map_err(|error| DetectorError(error.to_string()))?;
                // Taken out while it is asked: one that failed is not asked again.
                let running = program.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut running = match running {
                    Some(running) => running,
                    None => program.start()?,
                };
                let line = tokio::time::timeout(self.timeout, running.ask(question)).await.map_err(|_| late())?;
                let answer = line.map_err(DetectorError)?;
                program.idle.lock().unwrap_or_else(PoisonError::into_inner).push(running);
                Ok(answer)
            }
        }
    }
}

impl Program {
    fn start(&self) -> Result<Session, DetectorError> {
        let Self { program, args, folder, env, .. } = self;
        let mut command = Command::new(program);
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder.as_path() };
        command.args(args).current_dir(folder).env_clear().envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| DetectorError(format!("cannot start `{program}`: {error}")))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(to), Some(from)) => Ok(Session { _child: child, to, from: BufReader::new(from) }),
            _ => Err(DetectorError(format!("`{program}` has no pipes"))),
        }
    }
}

impl Session {
    async fn ask(&mut self, question: &Value) -> Result<Value, String> {
        let mut line = question.to_string();
        line.push('\n');
        self.to.write_all(line.as_bytes()).await.map_err(|error| format!("it takes no more lines: {error}"))?;
        self.to.flush().await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        let limited = &mut tokio::io::AsyncReadExt::take(&mut self.from, ANSWER_LIMIT as u64);
        match limited.read_line(&mut answer).await {
            Ok(0) => Err("it ended without an answer".to_owned()),
            Ok(_) => serde_json::from_str(&answer)
                .map_err(|error| format!("its line is no JSON ({error}): {}", answer.len())),
            Err(error) => Err(error.to_string()),
        }
    }
}

async fn post(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let mut answer = request.send().await.map_err(|error| sys::failure_of_transport("it", &error).message)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_LIMIT {
            return Err(format!("more than {ANSWER_LIMIT} bytes of answer"));
        }
    }
    if !status.is_success() {
        // The body is not told: services like to repeat what they were sent.
        return Err(format!("it answered {}", status.as_u16()));
    }
    serde_json::from_slice(&body).map_err(|error| format!("its answer is no JSON: {error}"))
}

/// Findings in either form: a list for each text, alone or under `results`.
fn findings(answer: &Value, min_score: f64) -> Result<Vec<Vec<Finding>>, DetectorError> {
    let unreadable = |what: &str| DetectorError(format!("its answer has {what}"));
    let lists = answer.get("results").unwrap_or(answer).as_array().ok_or_else(|| unreadable("no list of results"))?;
    let mut all = Vec::with_capacity(lists.len());
    for list in lists {
        let mut found = Vec::new();
        for item in list.as_array().ok_or_else(|| unreadable("a result that is no list"))? {
            let place = |name: &str| item.get(name).and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
            let (Some(start), Some(end)) = (place("start"), place("end")) else {
                return Err(unreadable("a finding without `start` and `end`"));
            };
            let kind = ["kind", "entity_type", "type"].iter().find_map(|name| item.get(*name)?.as_str());
            let score = item.get("score").and_then(Value::as_f64).unwrap_or(1.0);
            if score >= min_score {
                found.push(Finding { start, end, kind: one_line(kind.unwrap_or("found"), 40) });
            }
        }
        all.push(found);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_low_scores_left_out() {
        let plain = json!({"results": [[{"start": 0, "end": 3, "kind": "person"}], []]});
        let presidio = json!([[{"start": 0, "end": 3, "entity_type": "person", "score": 0.85},
            {"start": 4, "end": 5, "entity_type": "x", "score": 0.2}], []]);
        let expected = vec![vec![Finding { start: 0, end: 3, kind: "person".to_owned() }], vec![]];
        assert_eq!(findings(&plain, 0.5).unwrap(), expected);
        assert_eq!(findings(&presidio, 0.5).unwrap(), expected);
    }

    #[test]
    fn an_answer_of_another_shape_is_an_error_not_an_empty_finding() {
        for answer in [json!({"error": "x"}), json!([{"start": 1}]), json!([[{"start": 1}]]), json!("no")] {
            assert!(findings(&answer, 0.5).is_err(), "{answer}");
        }
    }
}
