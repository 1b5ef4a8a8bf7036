//! Commands of the user around a run and around each trial: databases that are filled, servers that are started.
//!
//! The hooks of a trial get what the target gets, as JSON on stdin, and know the trial by variables of the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::TargetCall;
use super::command::how_it_ended;
use crate::model::{Failure, FailureKind};
use crate::sys::process::{Trouble, plain_variables, run};
use crate::sys::text::one_line;
use crate::sys::{Env, SecretText, Secrets};

/// Most bytes of a hook's standard output, which is read and thrown away.
const STDOUT_LIMIT: usize = 16 << 20;

/// Commands around a run and its trials. Program and arguments, no shell.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Once before the first trial; when it fails, the run does not begin.
    pub set_up: Option<Vec<String>>,
    /// Before each attempt of a trial; when it fails, the trial has failed.
    pub before_each: Option<Vec<String>>,
    /// After each attempt of a trial that was begun, however it ended; when it fails, the trial has failed.
    pub after_each: Option<Vec<String>>,
    /// Once after the last trial.
    pub tear_down: Option<Vec<String>>,
    /// Time limit of one hook.
    pub timeout: Duration,
    /// Variables of the environment.
    pub variables: BTreeMap<String, String>,
    /// What must not be shown.
    pub(crate) secrets: Secrets,
    /// Folder that they run in.
    pub cwd: PathBuf,
}

impl Hooks {
    /// Hooks with their variables: those every program gets, the named ones, and the given ones.
    ///
    /// # Errors
    /// A variable that is not set.
    pub fn with_variables(
        self,
        env: &Env,
        given: &BTreeMap<String, SecretText>,
        passed: &[String],
    ) -> Result<Self, String> {
        let mut hooks = self;
        hooks.variables = plain_variables(env);
        super::command::add_variables(&mut hooks.variables, &mut hooks.secrets, env, given, passed, "`hooks.env")?;
        Ok(hooks)
    }

    /// Whether there is none around trials.
    pub fn none_around_trials(&self) -> bool {
        self.before_each.is_none() && self.after_each.is_none()
    }

    /// Carries out one hook of the run.
    ///
    /// # Errors
    /// How it failed.
    pub async fn once(&self, name: &str, hook: Option<&Vec<String>>) -> Result<(), Failure> {
        let Some(line) = hook else { return Ok(()) };
        self.carry_out(name, line, &BTreeMap::new(), b"").await
    }

    /// Carries out one hook of a trial.
    ///
    /// # Errors
    /// How it failed.
    pub async fn around(
        &self,
        name: &str,
        hook: Option<&Vec<String>>,
        call: &TargetCall<'_>,
        input: &Value,
    ) -> Result<(), Failure> {
        let Some(line) = hook else { return Ok(()) };
        let variables = trial_variables(call);
        self.carry_out(name, line, &variables, input.to_string().as_bytes()).await
    }

    async fn carry_out(
        &self,
        name: &str,
        line: &[String],
        more: &BTreeMap<String, String>,
        input: &[u8],
    ) -> Result<(), Failure> {
        let shown = one_line(&line.join(" "), 120);
        let fail = |kind, text: String| {
            Failure::new(kind, self.secrets.scrub(&format!("hook `{name}` (`{shown}`) {text}"))).not_repeated()
        };
        let Some((program, arguments)) = line.split_first() else {
            return Err(fail(FailureKind::TargetError, "names no program".to_owned()));
        };
        let mut command = Command::new(program_at(program, &self.cwd));
        command.args(arguments).current_dir(&self.cwd).env_clear().envs(&self.variables).envs(more);
        match run(command, input, STDOUT_LIMIT, self.timeout).await {
            Ok(finished) if finished.status.success() => Ok(()),
            Ok(finished) => {
                let said = one_line(&self.secrets.scrub(finished.stderr.trim()), 300);
                let said = if said.is_empty() { String::new() } else { format!("; stderr: {said}") };
                Err(fail(FailureKind::TargetError, format!("{}{said}", how_it_ended(finished.status))))
            }
            Err(Trouble::TimedOut { .. }) => {
                let text = format!("did not end within {} s and was killed", self.timeout.as_secs_f64());
                Err(fail(FailureKind::TargetError, text))
            }
            Err(Trouble::TooMuchOutput) => {
                Err(fail(FailureKind::TargetError, format!("wrote more than {STDOUT_LIMIT} bytes to stdout")))
            }
            Err(Trouble::Io(error)) => Err(fail(FailureKind::TargetError, format!("cannot be run: {error}"))),
        }
    }
}

/// A program as it is started: a name is looked up, a path is relative to a folder.
pub(super) fn program_at(program: &str, base: &Path) -> PathBuf {
    let is_path = program.contains('/') || program.contains(std::path::MAIN_SEPARATOR);
    if is_path { base.join(program) } else { PathBuf::from(program) }
}

/// What programs around and under a trial may know of it.
pub(super) fn trial_variables(call: &TargetCall<'_>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("ASSIZE_EXAMPLE".to_owned(), call.example.id.as_str().replace('\0', "")),
        ("ASSIZE_TRIAL".to_owned(), call.trial.to_string()),
        ("ASSIZE_ATTEMPT".to_owned(), call.attempt.to_string()),
    ]);
    if let Some(folder) = &call.stage.folder {
        variables.insert("ASSIZE_FOLDER".to_owned(), folder.display().to_string());
    }
    if let Some(ids) = &call.stage.trace {
        variables.insert("TRACEPARENT".to_owned(), ids.traceparent());
    }
    if let Some(endpoint) = &call.stage.collector {
        variables.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint.clone());
        // What most exporters speak over this port; theirs may differ by language.
        variables.insert("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "http/protobuf".to_owned());
    }
    variables
}
