//! Traces in: foreign exports, in whatever format and vocabulary, become spans of the one model.
//!
//! A *source* knows a wire format (`otlp_json`, `otlp_protobuf`) or the rows of a platform (`langsmith`, `weave`);
//! `dialect` knows the vocabularies attributes are written in; `Gate` in `admit` is the one door every span passes.
//! Adding a source is one file and one row of [`SOURCES`]. Nothing is stored here, and one bad row never costs the
//! good ones around it.
//!
//! Memory: JSON lines and protobuf are read record by record, a top-level JSON array element by element. One record
//! is held whole, so a pretty-printed single document is as large in memory as it is; `max_record_bytes` bounds it.
//! Runs that come in halves (LangSmith's SDKs) are held until the file ends.

mod admit;
mod agentops;
pub mod api;
mod assemble;
mod bodies;
mod braintrust;
mod clickhouse;
mod datadog;
mod dialect;
mod error;
mod helicone;
mod hold;
mod ids;
mod inspect;
mod inspect_events;
mod item;
mod json;
mod langfuse;
mod langfuse_rows;
mod langsmith;
mod log_records;
mod mapped;
mod mlflow;
mod open;
mod opik;
mod otlp_json;
mod otlp_proto_rows;
mod otlp_protobuf;
mod otlp_typed;
mod otlp_values;
mod parallel;
mod phoenix;
mod platform;
mod raw;
mod records;
mod request;
mod rows;
mod sentry;
mod shape;
mod span_json;
mod table;
mod times;
mod weave;

#[cfg(test)]
mod dialect_tests;
#[cfg(test)]
mod langfuse_tests;
#[cfg(test)]
mod platform_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::{Redactions, Span};
use crate::redact::Redactor;

use admit::Gate;
use open::Opened;

pub use admit::{Sink, TRUNCATED_KEY};
pub use assemble::{Assembler, Gathered, Taken, join_late};
pub use error::{IngestError, Rejected, SinkError};
pub use item::Item;
pub use mapped::{TimeUnit, TraceMapping};
pub use open::Head;
pub use raw::{Attributes, Event, LogEvent};
pub use request::{METRIC_POINTS, Request, RequestError, read_request};

/// A wire format that can be read.
#[derive(Clone, Copy)]
pub struct SourceInfo {
    /// Name, as given by a user who does not want it recognised.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// Says why the head is of this format; `None` when it is not.
    pub recognise: fn(&Head<'_>) -> Option<String>,
    read: fn(Opened, &mut Gate<'_>) -> Result<(), IngestError>,
    /// Reads one row of the platform's interface, which is also a record of its export files; `None` for formats
    /// that no interface speaks.
    row: Option<rows::RowFn>,
}

/// All wire formats, the most specific first: the first that recognises a file reads it.
pub const SOURCES: &[SourceInfo] = &[
    inspect::SOURCE,
    langfuse::SOURCE,
    langsmith::SOURCE,
    braintrust::SOURCE,
    mlflow::SOURCE,
    phoenix::SOURCE,
    helicone::SOURCE,
    sentry::SOURCE,
    agentops::SOURCE,
    datadog::SOURCE,
    weave::SOURCE,
    opik::SOURCE,
    clickhouse::SOURCE,
    otlp_json::SOURCE,
    otlp_protobuf::SOURCE,
    mapped::SOURCE,
];

/// Prices a span in US dollars; `None` when it cannot.
pub type Price<'a> = &'a (dyn Fn(&Span) -> Option<f64> + Sync);

/// How to read.
#[derive(Clone, Copy)]
pub struct ReadOptions<'a> {
    /// Records longer than this are rejected; also the bound of memory. 256 MiB unless told otherwise.
    pub max_record_bytes: usize,
    /// Texts longer than this are shortened, with a mark, and listed in [`TRUNCATED_KEY`]. 1 MiB unless told otherwise.
    pub max_field_bytes: usize,
    /// Prices model calls that do not state their cost; they are marked with [`crate::model::PRICED_KEY`].
    pub price: Option<Price<'a>>,
    /// Which field of a row is what, for files of no format known here; they are read as `mapped`.
    pub map: Option<&'a TraceMapping>,
    /// Takes secrets and personal data out of everything before it is handed on; nothing is taken out without it.
    pub redact: Option<&'a Redactor>,
}

impl Default for ReadOptions<'_> {
    fn default() -> Self {
        Self { max_record_bytes: 256 << 20, max_field_bytes: 1 << 20, price: None, map: None, redact: None }
    }
}

/// What one file gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSummary {
    /// The file, `-` for standard input.
    pub file: String,
    /// Name of the source that read it.
    pub format: String,
    /// Why that one.
    pub why_recognised: String,
    /// Spans handed out.
    pub spans: u64,
    /// Log records handed out because they may belong to spans.
    pub log_events: u64,
    /// Scores handed out that someone else gave.
    #[serde(default)]
    pub scores: u64,
    /// Rows turned away.
    pub rejected: u64,
    /// Texts shortened.
    pub shortened: u64,
    /// Spans by vocabulary.
    pub dialects: BTreeMap<String, u64>,
    /// What was understood and of no use here, by what it was.
    pub ignored: BTreeMap<String, u64>,
    /// What was taken out, by rule and by field.
    #[serde(default, skip_serializing_if = "Redactions::is_empty")]
    pub redacted: Redactions,
}

impl FileSummary {
    /// Adds the counts of another part of the same file.
    pub(crate) fn add(&mut self, part: Self) {
        self.spans += part.spans;
        self.log_events += part.log_events;
        self.scores += part.scores;
        self.rejected += part.rejected;
        self.shortened += part.shortened;
        self.redacted.merge(&part.redacted);
        for (to, from) in [(&mut self.dialects, part.dialects), (&mut self.ignored, part.ignored)] {
            for (name, count) in from {
                *to.entry(name).or_default() += count;
            }
        }
    }
}

/// Reads one file, compressed or not, into `sink`. `format` names a source; without it the content decides.
///
/// # Errors
/// When the file cannot be opened, is empty or of no known format, or when `sink` fails. Bad rows are not errors.
pub fn read_file(
    path: &Path,
    format: Option<&str>,
    options: &ReadOptions<'_>,
    sink: &mut dyn Sink,
) -> Result<FileSummary, IngestError> {
    read(Opened::path(path)?, format, options, sink)
}

/// Reads a stream such as standard input; `name` stands in for the file's in messages. See [`read_file`].
///
/// # Errors
/// As [`read_file`].
pub fn read_stream(
    name: &str,
    reader: Box<dyn BufRead + Send>,
    format: Option<&str>,
    options: &ReadOptions<'_>,
    sink: &mut dyn Sink,
) -> Result<FileSummary, IngestError> {
    read(Opened::stream(name, reader), format, options, sink)
}

fn read(
    opened: Opened,
    format: Option<&str>,
    options: &ReadOptions<'_>,
    sink: &mut dyn Sink,
) -> Result<FileSummary, IngestError> {
    let file = opened.file.clone();
    let mapped = options.map.map(|_| mapped::SOURCE.name);
    let (source, why) = choose(&opened, format.or(mapped), options.redact)?;
    let summary = FileSummary { file, format: source.name.to_owned(), why_recognised: why, ..FileSummary::default() };
    let mut gate = Gate::new(options, summary, sink);
    let read = (source.read)(opened, &mut gate);
    gate.end(read)
}

fn choose(
    opened: &Opened,
    format: Option<&str>,
    redact: Option<&Redactor>,
) -> Result<(&'static SourceInfo, String), IngestError> {
    let head = opened.head();
    if head.whole && head.trimmed().is_empty() {
        return Err(IngestError::Empty { file: opened.file.clone() });
    }
    let known = || SOURCES.iter().map(|source| source.name).collect::<Vec<_>>().join(", ");
    if let Some(format) = format {
        let named = SOURCES.iter().find(|source| source.name == format);
        return named
            .map(|source| (source, "named by the user".to_owned()))
            .ok_or_else(|| IngestError::UnknownFormat { format: format.to_owned(), known: known() });
    }
    let recognised = SOURCES.iter().find_map(|source| (source.recognise)(&head).map(|why| (source, why)));
    recognised.ok_or_else(|| IngestError::Unrecognised {
        file: opened.file.clone(),
        excerpt: beginning(head.bytes, redact),
        known: known(),
    })
}

/// How a file begins, fit to be shown.
fn beginning(bytes: &[u8], redact: Option<&Redactor>) -> String {
    let shown = redact.map(|redact| redact.record(bytes, &mut Redactions::default()));
    let shown = shown.as_deref().unwrap_or(bytes);
    error::excerpt(shown.get(..80).unwrap_or(shown))
}
