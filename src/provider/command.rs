//! A program in place of a model: the question as JSON on standard input, the answer on standard output.
//!
//! For models with an interface of their own: a local library, a gateway, a rule that somebody trusts. One process
//! per question, without a shell.
//!
//! **In**: `{"model", "messages": [{"role", "content"}], "answer": {"type": "text" | "json", "name", "schema"},
//! "temperature", "max_tokens", "seed", "top_logprobs", "draw"}`. **Out**: an object with `text` (a text) or `json` (any
//! value), and perhaps `finish`, `model`, `usage`, `tokens`; or `error` (a text) with `kind` (`rate_limited`,
//! `server`, `refused`, ...). What is no such object is taken as the text of the answer.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{AskKey, Attempted, BuildContext, ChatModel, EndpointOptions, ProviderError};
use crate::model::{ChatReply, ChatRequest, Digest, Failure, FailureKind, FinishReason, TokenChance, Usage};
use crate::sys::Secrets;
use crate::sys::process::{self, Finished, Trouble};
use crate::sys::text::one_line;

/// Most bytes of an answer.
const STDOUT_LIMIT: usize = 16 << 20;

/// A program that answers.
pub(super) struct Program {
    endpoint: String,
    program: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
    variables: BTreeMap<String, String>,
    secrets: Secrets,
    /// The command as it is configured: what a cached answer hangs on.
    line: String,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    json: Option<Value>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    kind: Option<FailureKind>,
    #[serde(default)]
    finish: Option<FinishReason>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Usage,
    #[serde(default)]
    tokens: Option<Vec<TokenChance>>,
}

impl Program {
    pub fn new(options: &EndpointOptions, context: &BuildContext<'_>) -> Result<Self, ProviderError> {
        let bad =
            |cause: &str| ProviderError::BadOption { endpoint: context.endpoint.to_owned(), cause: cause.to_owned() };
        let missing = "`command` is missing: give the program and its arguments, like `[\"python3\", \"judge.py\"]`";
        let (typed, args) = options.command.split_first().ok_or_else(|| bad(missing))?;
        if typed.trim().is_empty() {
            return Err(bad("`command` names no program"));
        }
        let is_path = typed.contains('/') || typed.contains(std::path::MAIN_SEPARATOR);
        let program = if is_path { context.base.join(typed) } else { PathBuf::from(typed) };
        let mut secrets = Secrets::default();
        let mut variables = process::plain_variables(context.env);
        for name in options.key_env.iter().chain(&options.pass_env) {
            let missing =
                || ProviderError::MissingKey { endpoint: context.endpoint.to_owned(), variable: name.clone() };
            let value = context.env.get(name).ok_or_else(missing)?.to_owned();
            secrets.add(value.clone().into());
            variables.insert(name.clone(), value);
        }
        let folder = if context.base == Path::new("") { PathBuf::from(".") } else { context.base.to_owned() };
        Ok(Self {
            endpoint: context.endpoint.to_owned(),
            program,
            args: args.to_vec(),
            folder,
            variables,
            secrets,
            line: options.command.join(" "),
        })
    }

    fn failure(&self, kind: FailureKind, text: &str) -> Failure {
        let text =
            self.secrets.scrub(&format!("endpoint `{}` (`{}`) {text}", self.endpoint, one_line(&self.line, 120)));
        Failure::new(kind, text)
    }

    fn failure_of(&self, trouble: Trouble, timeout: Duration) -> Failure {
        match trouble {
            Trouble::TimedOut { .. } => {
                let text = format!("did not answer within {} s and was killed", timeout.as_secs_f64());
                self.failure(FailureKind::Timeout, &text)
            }
            Trouble::TooMuchOutput => {
                self.failure(FailureKind::BadReply, &format!("wrote more than {STDOUT_LIMIT} bytes"))
            }
            Trouble::Io(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                self.failure(FailureKind::NotFound, &format!("cannot be started: {error}; check `command`"))
            }
            Trouble::Io(error) => self.failure(FailureKind::Connection, &format!("cannot be run: {error}")),
        }
    }

    fn read(&self, finished: &Finished) -> Result<ChatReply, Failure> {
        let stderr = one_line(&self.secrets.scrub(finished.stderr.trim()), 300);
        if !finished.status.success() {
            let text = format!("ended with {}; stderr: {stderr}", finished.status);
            return Err(self.failure(FailureKind::Server, &text));
        }
        let text = String::from_utf8_lossy(&finished.stdout);
        let text = text.trim_end_matches(['\n', '\r']);
        let said = serde_json::from_str::<Value>(text).ok().filter(is_answer);
        let plain = |text: &str| ChatReply {
            text: self.secrets.scrub_reply(text.to_owned()),
            finish: FinishReason::Stop,
            model: None,
            usage: Usage::default(),
            tokens: None,
        };
        let Some(said) = said else {
            if text.trim().is_empty() {
                return Err(self.failure(FailureKind::BadReply, &format!("wrote nothing; stderr: {stderr}")));
            }
            return Ok(plain(text));
        };
        let said: Said = serde_json::from_value(said).map_err(|error| {
            self.failure(FailureKind::BadReply, &format!("wrote an answer of another form: {error}"))
        })?;
        if let Some(error) = said.error {
            return Err(
                self.failure(said.kind.unwrap_or(FailureKind::Server), &format!("said: {}", one_line(&error, 300)))
            );
        }
        let text = said.text.or_else(|| said.json.map(|json| json.to_string())).unwrap_or_default();
        let finish = said.finish.unwrap_or(FinishReason::Stop);
        Ok(ChatReply { finish, model: said.model, usage: said.usage, tokens: said.tokens, ..plain(&text) })
    }
}

/// Whether an output is an answer in our form, not the text of one: a judge's JSON is often an object, too.
fn is_answer(value: &Value) -> bool {
    ["text", "json", "error"].iter().any(|name| value.get(name).is_some())
}

#[async_trait]
impl ChatModel for Program {
    async fn attempt(&self, request: &ChatRequest, timeout: Duration) -> Result<ChatReply, Failure> {
        let key = AskKey { asker: Digest::of(b""), draw: 0 };
        self.attempt_for(request, &key, timeout).await.result
    }

    async fn attempt_for(&self, request: &ChatRequest, key: &AskKey, timeout: Duration) -> Attempted {
        let mut question = serde_json::to_value(request).unwrap_or_default();
        if let Some(fields) = question.as_object_mut() {
            fields.insert("draw".to_owned(), json!(key.draw));
        }
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.folder).env_clear().envs(&self.variables);
        let finished = process::run(command, format!("{question}\n").as_bytes(), STDOUT_LIMIT, timeout).await;
        Attempted::of(match finished {
            Ok(finished) => self.read(&finished),
            Err(trouble) => Err(self.failure_of(trouble, timeout)),
        })
    }

    fn identity(&self) -> String {
        format!("command {}", self.line)
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{AnswerFormat, ChatMessage, Role};
    use crate::sys::{Env, SystemClock, http_client};

    fn program(script: &str) -> Program {
        let http = http_client().unwrap();
        let path = std::env::temp_dir();
        let env = Env::of_pairs(&[("PATH", "/usr/bin:/bin"), ("TOKEN", "tok-0123456789abcdef")]);
        let context = BuildContext {
            endpoint: "mine",
            env: &env,
            http: &http,
            clock: Arc::new(SystemClock),
            base: &path,
            state: &path,
        };
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let options = EndpointOptions { command, pass_env: vec!["TOKEN".to_owned()], ..EndpointOptions::default() };
        Program::new(&options, &context).unwrap()
    }

    async fn ask(script: &str) -> Result<ChatReply, Failure> {
        let request = ChatRequest {
            model: "m".to_owned(),
            messages: vec![ChatMessage { role: Role::User, content: "the question".to_owned() }],
            answer: AnswerFormat::Text,
            temperature: None,
            max_tokens: None,
            seed: None,
            top_logprobs: None,
            extra: serde_json::Map::new(),
        };
        program(script).attempt(&request, Duration::from_secs(10)).await
    }

    #[tokio::test]
    async fn the_question_comes_in_and_the_answer_goes_out() {
        let echo =
            r#"grep -q 'the question' && echo '{"text": "seen", "model": "m-1", "usage": {"input": 3, "output": 1}}'"#;
        let reply = ask(echo).await.unwrap();
        assert_eq!((reply.text.as_str(), reply.model.as_deref(), reply.usage.input), ("seen", Some("m-1"), Some(3)));
        assert_eq!(ask("echo just text").await.unwrap().text, "just text");
        assert_eq!(ask(r#"echo '{"verdict": true}'"#).await.unwrap().text, r#"{"verdict": true}"#);
        assert_eq!(ask(r#"echo '{"json": {"verdict": true}}'"#).await.unwrap().text, r#"{"verdict":true}"#);
    }

    #[tokio::test]
    async fn failures_are_told_apart_and_show_no_secret() {
        let failure = ask("echo \"bad $TOKEN\" >&2; exit 3").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Server);
        assert!(failure.message.contains("exit status: 3") && !failure.message.contains("tok-0123"), "{failure}");
        let limited = ask(r#"echo '{"error": "slow down", "kind": "rate_limited"}'"#).await.unwrap_err();
        assert_eq!(limited.kind, FailureKind::RateLimited);
        assert_eq!(ask("true").await.unwrap_err().kind, FailureKind::BadReply);
    }
}
