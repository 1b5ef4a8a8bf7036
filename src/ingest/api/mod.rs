//! Traces out of platforms: one pager per platform and one row in [`PLATFORMS`]; one driver that does all IO.
//!
//! A pager says what to ask next and cuts the answer into rows; the source of the same name in
//! [`super::SOURCES`] gives rows their meaning. The driver sends, waits, tries again, keeps the place. Nothing here
//! knows the lake: whoever takes the spans keeps them when told to.

mod agentops;
mod braintrust;
mod checkpoint;
mod clickhouse;
mod datadog;
mod driver;
mod helicone;
mod langfuse;
mod langsmith;
mod mlflow;
mod opik;
mod options;
mod pager;
mod phoenix;
mod sentry;
mod weave;
mod wire;

use std::cell::Cell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub use checkpoint::Checkpoint;
pub use driver::{Pull, PullFailed, PullProgress, PullSummary, RowTaker};
pub use options::ApiOptions;
pub use pager::{Answer, Body, Page, Pager, Plan, Request, Shape};

use super::admit::Gate;
use super::rows::RowFn;
use super::{FileSummary, IngestError, LogEvent, ReadOptions, Rejected, SOURCES, Sink, SinkError};
use crate::model::{Span, TraceScore};

/// A secret a platform asks for, by the variable it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Option that names another variable.
    pub option: &'static str,
    /// Variable when the option is absent.
    pub variable: &'static str,
    /// Whether the platform can do without.
    pub required: bool,
}

const KEY: KeyInfo = KeyInfo { option: "key_env", variable: "", required: true };
const SECRET: KeyInfo = KeyInfo { option: "secret_env", variable: "", required: true };

impl KeyInfo {
    const fn named(self, variable: &'static str) -> Self {
        Self { variable, ..self }
    }

    const fn optional(self) -> Self {
        Self { required: false, ..self }
    }
}

/// The secrets of one source.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The first.
    pub key: Option<SecretString>,
    /// The second.
    pub secret: Option<SecretString>,
}

/// Headers that carry secrets.
pub type SecretHeaders = Vec<(&'static str, SecretString)>;

/// Makes a pager from the beginning, or from a place; says which option or that the place cannot be used.
type NewPager = fn(&Plan, Option<Value>) -> Result<Box<dyn Pager>, String>;

/// A platform that can be pulled from.
#[derive(Clone, Copy)]
pub struct PlatformInfo {
    /// Name in the configuration: `kind = "NAME"`; also the name of the source that reads its rows.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// Address when the source names none.
    pub url: Option<&'static str>,
    /// Secrets, by variable of the environment.
    pub keys: &'static [KeyInfo],
    /// Requests per minute when the source names no other number: well below what the platform allows.
    pub requests_per_minute: u32,
    /// Options it takes beside the common ones.
    pub takes: &'static [&'static str],
    /// Options it cannot do without.
    pub requires: &'static [&'static str],
    /// A working set of options as TOML.
    pub sample: &'static str,
    headers: fn(&Keys, &ApiOptions) -> SecretHeaders,
    new: NewPager,
}

impl PlatformInfo {
    /// JSON Schema of the options, closed.
    pub fn schema(&self) -> Value {
        options::schema(self.takes, self.requires)
    }

    /// A pager from the beginning, or from a place.
    ///
    /// # Errors
    /// An option or the place cannot be used.
    pub fn pager(&self, plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
        (self.new)(plan, place)
    }

    /// Finds what the schema does not show to be wrong with options.
    ///
    /// # Errors
    /// Says what.
    pub fn check(&self, options: &ApiOptions) -> Result<(), String> {
        options.timeout()?;
        options.overlap()?;
        options.since(jiff::Timestamp::UNIX_EPOCH)?;
        if let Some(url) = &options.url {
            wire::base(url)?;
        }
        let plan = Plan { options: options.clone(), since: None, until: jiff::Timestamp::UNIX_EPOCH };
        self.pager(&plan, None).map(drop)
    }

    /// Whether there is a reader for its rows.
    pub fn has_reader(&self) -> bool {
        self.reader().is_some()
    }

    fn reader(&self) -> Option<RowFn> {
        SOURCES.iter().find(|source| source.name == self.name).and_then(|source| source.row)
    }
}

/// All platforms, by name.
pub const PLATFORMS: &[PlatformInfo] = &[
    agentops::PLATFORM,
    braintrust::PLATFORM,
    clickhouse::PLATFORM,
    datadog::PLATFORM,
    helicone::PLATFORM,
    langfuse::PLATFORM,
    langsmith::PLATFORM,
    mlflow::PLATFORM,
    opik::PLATFORM,
    phoenix::PLATFORM,
    sentry::PLATFORM,
    weave::PLATFORM,
];

/// The platform of a name.
pub fn find(name: &str) -> Option<&'static PlatformInfo> {
    PLATFORMS.iter().find(|platform| platform.name == name)
}

/// Pulls what a source has into `sink`, page by page through the one gate.
///
/// # Errors
/// When the source cannot be asked at all, or `sink` fails. A pull that is stopped on its way is no error: the
/// summary says why, and what came is kept.
pub async fn pull(
    pull: &Pull<'_>,
    options: &ReadOptions<'_>,
    sink: &mut dyn Sink,
) -> Result<(FileSummary, PullSummary), PullFailed> {
    let row = pull
        .platform
        .reader()
        .ok_or_else(|| PullFailed::NoReader { name: pull.name.to_owned(), platform: pull.platform.name })?;
    let newest = Cell::new(None);
    let mut watched = Watched { sink, newest: &newest };
    let summary = FileSummary {
        file: pull.name.to_owned(),
        format: pull.platform.name.to_owned(),
        why_recognised: "pulled from the platform".to_owned(),
        ..FileSummary::default()
    };
    let mut feed = Feed { gate: Gate::new(options, summary, &mut watched), row, newest: &newest };
    let pulled = pull.run(&mut feed).await?;
    Ok((feed.gate.finish()?, pulled))
}

/// Gives rows their meaning and lets them through the gate.
struct Feed<'a> {
    gate: Gate<'a>,
    row: RowFn,
    newest: &'a Cell<Option<i64>>,
}

impl RowTaker for Feed<'_> {
    fn take(&mut self, rows: Vec<Value>) -> Result<(), IngestError> {
        rows.into_iter().try_for_each(|row| (self.row)(row, None, &mut self.gate))
    }

    fn keep(&mut self) -> Result<(), IngestError> {
        self.gate.keep()
    }

    fn newest_ns(&self) -> Option<i64> {
        self.newest.get()
    }
}

/// Passes everything on and remembers when the newest span began.
struct Watched<'a> {
    sink: &'a mut dyn Sink,
    newest: &'a Cell<Option<i64>>,
}

impl Sink for Watched<'_> {
    fn span(&mut self, span: Span) -> Result<(), SinkError> {
        self.newest.set(self.newest.get().max(Some(span.start_ns)));
        self.sink.span(span)
    }

    fn log_event(&mut self, event: LogEvent) -> Result<(), SinkError> {
        self.sink.log_event(event)
    }

    fn score(&mut self, score: TraceScore) -> Result<(), SinkError> {
        self.sink.score(score)
    }

    fn rejected(&mut self, rejected: Rejected) -> Result<(), SinkError> {
        self.sink.rejected(rejected)
    }

    fn keep(&mut self) -> Result<(), SinkError> {
        self.sink.keep()
    }
}

fn header(name: &'static str, secret: &Option<SecretString>) -> SecretHeaders {
    secret.iter().map(|secret| (name, secret.clone())).collect()
}

fn bearer(key: &Option<SecretString>) -> SecretHeaders {
    let value = |key: &SecretString| SecretString::from(format!("Bearer {}", key.expose_secret()));
    header("authorization", &key.as_ref().map(value))
}

fn basic(keys: &Keys) -> SecretHeaders {
    let (Some(user), Some(password)) = (&keys.key, &keys.secret) else { return Vec::new() };
    let pair = STANDARD.encode(format!("{}:{}", user.expose_secret(), password.expose_secret()));
    vec![("authorization", SecretString::from(format!("Basic {pair}")))]
}
