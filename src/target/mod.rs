//! Targets: the thing under test. One file per kind and one row in [`TARGETS`].
//!
//! A target does one attempt of one trial; the runner owns retries, time limits and concurrency. The `recorded`
//! target returns what the dataset already holds, so scoring production traces is the same run as any other.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{Example, Failure, Output, Spend, TargetInfo};
use crate::provider::{ModelHandle, OnNotice};
use crate::sys::{Clock, Env};

mod body;
mod collect;
mod command;
mod foreign;
mod hooks;
mod http;
mod poll;
mod pool;
mod prompt;
mod recorded;
mod sse;
mod stage;
mod staged;
mod talk;
mod template;

pub use collect::{Collected, Collector};
pub use hooks::Hooks;
pub use stage::{Stage, TraceIds};
pub use staged::{Staged, Staging};
pub use talk::{Goals, Talk, User};

/// One attempt of one trial.
pub struct TargetCall<'a> {
    /// The example.
    pub example: &'a Example,
    /// Trial number, from 0.
    pub trial: u32,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Time limit of this attempt.
    pub timeout: Duration,
    /// Takes notices of calls that a target retries by itself (models behind `prompt`).
    pub on_notice: OnNotice<'a>,
    /// What is around it: trace, folder, conversation.
    pub stage: &'a Stage,
}

/// What one attempt gave.
#[derive(Clone, Debug)]
pub struct TargetReply {
    /// The output.
    pub output: Output,
    /// What it cost now; recorded outputs cost nothing, whatever they once cost.
    pub spend: Spend,
    /// Whether it came from the reply cache.
    pub cached: bool,
}

/// The thing under test.
#[async_trait]
pub trait Target: Send + Sync {
    /// What identifies it in the run's header.
    fn info(&self) -> TargetInfo;

    /// Runs one attempt.
    async fn run(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure>;

    /// Whether the runner should repeat transient failures. Targets that ask through [`crate::provider::Client`]
    /// say no: there is one retry layer.
    fn retried_by_runner(&self) -> bool {
        true
    }

    /// Time limit of one attempt and most attempts, where it has its own; else the run's hold.
    fn limits(&self) -> (Option<Duration>, Option<u32>) {
        (None, None)
    }

    /// How long an attempt may go on beyond its time limit, to end what it started and to gather what comes late.
    fn overtime(&self) -> Duration {
        Duration::ZERO
    }

    /// Most attempts that it carries out at once; `None` where it does not care.
    fn width(&self) -> Option<usize> {
        None
    }

    /// Gets ready, once, before the first attempt of a run: ports, set-up of the user's. Nothing was paid yet.
    ///
    /// # Errors
    /// What is missing; the run does not begin.
    async fn open(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Cleans up, once, after the last attempt; says what went wrong, which changes no finding.
    async fn close(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a target is built with.
pub struct BuildContext<'a> {
    /// What a person calls it: the variant's name.
    pub name: &'a str,
    /// Where secrets come from.
    pub env: &'a Env,
    /// Connections.
    pub http: &'a reqwest::Client,
    /// Time, for ids of traces.
    pub clock: Arc<dyn Clock>,
    /// Models of the configuration by alias; says why there is none.
    pub models: &'a (dyn Fn(&str) -> Result<ModelHandle, String> + 'a),
    /// Folder that relative paths start from.
    pub base: &'a Path,
}

/// Builds a target from its options and what is around it.
pub type BuildTarget = fn(&Value, &BuildContext<'_>) -> Result<Box<dyn Target>, String>;

/// One row of the table of targets.
pub struct TargetKindInfo {
    /// Name in the configuration: `target = "NAME"`.
    pub name: &'static str,
    /// One sentence for help and the reference.
    pub summary: &'static str,
    /// A working set of options as TOML.
    pub sample: &'static str,
    /// JSON Schema of the options, closed.
    pub schema: fn() -> Value,
    /// Builds it from options; says what is wrong, naming the key. Reads secrets and files, and calls nothing.
    pub build: BuildTarget,
}

/// All targets, sorted by name.
pub const TARGETS: &[TargetKindInfo] = &[
    TargetKindInfo {
        name: "command",
        summary: "a program of yours: the example as JSON on stdin, the output on stdout",
        sample: command::SAMPLE,
        schema: command::schema,
        build: command::build,
    },
    TargetKindInfo {
        name: "http",
        summary: "a server of yours: one request per trial, the output found in the reply by a JSON pointer",
        sample: http::SAMPLE,
        schema: http::schema,
        build: http::build,
    },
    TargetKindInfo {
        name: "prompt",
        summary: "a prompt template put to a model of the configuration",
        sample: prompt::SAMPLE,
        schema: prompt::schema,
        build: prompt::build,
    },
    TargetKindInfo {
        name: "recorded",
        summary: "the outputs that the dataset already holds: nothing is called, nothing is paid",
        sample: recorded::SAMPLE,
        schema: recorded::schema,
        build: recorded::build,
    },
];

/// Looks a target up by name.
pub fn find(name: &str) -> Option<&'static TargetKindInfo> {
    TARGETS.iter().find(|info| info.name == name)
}

/// Reads options; the error names the key as far as it is known.
fn options<T: DeserializeOwned>(options: &Value) -> Result<T, String> {
    // Null is what an absent table becomes.
    let empty = Value::Object(serde_json::Map::new());
    let options = if options.is_null() { &empty } else { options };
    T::deserialize(options).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{SystemClock, http_client};

    #[test]
    fn the_table_is_sorted_and_its_samples_build() {
        let names: Vec<_> = TARGETS.iter().map(|info| info.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        let http = http_client().unwrap();
        let env = Env::of_pairs(&[("APP_TOKEN", "0123456789")]);
        let client = Arc::new(crate::provider::Client::new(Arc::new(crate::provider::Replay::new(Arc::new(
            crate::provider::Cassette::of_text("empty", "").unwrap(),
        )))));
        let models = |alias: &str| Ok(ModelHandle::new(Arc::clone(&client), alias));
        let folder = tempfile::tempdir().unwrap();
        let context = BuildContext {
            name: "v2",
            env: &env,
            http: &http,
            clock: Arc::new(SystemClock),
            models: &models,
            base: folder.path(),
        };
        for info in TARGETS {
            let sample: Value = toml::from_str(info.sample).unwrap();
            let schema = (info.schema)();
            assert_eq!(schema["additionalProperties"], false, "{}", info.name);
            assert!(jsonschema::is_valid(&schema, &sample), "{}", info.name);
            let target = (info.build)(&sample, &context).unwrap();
            assert_eq!((target.info().kind.as_str(), target.info().name.as_str()), (info.name, "v2"));
            let mut wrong = sample.clone();
            wrong["no_such_option"] = Value::Bool(true);
            assert!((info.build)(&wrong, &context).err().unwrap().contains("no_such_option"));
        }
    }
}
