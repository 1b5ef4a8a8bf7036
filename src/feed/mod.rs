//! What goes out: scores pushed back to the platforms that traces came from, OpenTelemetry, StatsD, webhooks; alarms.
//! One file and one row of [`SINKS`] for each place; alarms have a table of their own.
//!
//! A sink says what an entry becomes there, and sends batches of that. Order, repetition and what was sent before are
//! the outbox's, which lies in the store and is driven by the use case; nothing here knows it.

pub mod alarm;
mod braintrust;
mod datadog;
mod deliver;
mod entry;
mod helicone;
mod langfuse;
mod langsmith;
mod mlflow;
mod opik;
mod options;
mod otlp;
mod otlp_json;
mod phoenix;
mod statsd;
mod weave;
mod webhook;
mod wire;

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

pub use deliver::{Delivered, deliver};
pub use entry::{Entry, Figure, Figures, Finding, Grader, RunRef, Subject, id_of, told};
pub use options::FeedOptions;
pub use wire::{Door, KeyInfo, Keys, SecretHeaders, Stop, Wire};

/// An entry in the form of a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Formed {
    /// Key of the entry.
    pub key: String,
    /// Its id there.
    pub id: Uuid,
    /// What is sent.
    pub body: Value,
    /// Whether an earlier form of it was taken before.
    pub again: bool,
}

/// What became of an entry that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The place has it.
    Taken,
    /// The place will not have it, and why.
    Rejected(String),
}

/// One place that entries are sent to.
#[async_trait]
pub trait Outlet: Send + Sync {
    /// What an entry becomes there.
    ///
    /// # Errors
    /// Why it cannot be said there: a value outside the place's range, a trace it cannot know.
    fn form(&self, entry: &Entry, id: Uuid) -> Result<Value, String>;

    /// Sends entries, at most a batch of them; an outcome for each, in their order.
    ///
    /// # Errors
    /// When there is no answer for them.
    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop>;
}

/// Which traces a place can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    /// Those that were read from it.
    Own,
    /// Those, and those of OpenTelemetry, which keep their ids wherever they are sent.
    OwnAndOtel,
    /// Any.
    Any,
}

/// A place that entries can be sent to.
#[derive(Clone, Copy)]
pub struct SinkInfo {
    /// Name in the configuration: `kind = "NAME"`.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// Address when the sink names none.
    pub url: Option<&'static str>,
    /// Secrets, by variable of the environment.
    pub keys: &'static [KeyInfo],
    /// Requests per minute when the sink names no other number.
    pub requests_per_minute: u32,
    /// Entries sent at a time, at most.
    pub batch: usize,
    /// Which traces it can know.
    pub knows: Knows,
    /// Whether it takes scores of single traces.
    pub scores: bool,
    /// Whether it takes the figures of a run.
    pub figures: bool,
    /// Options it takes beside the common ones.
    pub takes: &'static [&'static str],
    /// Options it cannot do without.
    pub requires: &'static [&'static str],
    /// A working set of options as TOML.
    pub sample: &'static str,
    headers: fn(&Keys, &FeedOptions) -> SecretHeaders,
    new: fn(&FeedOptions) -> Result<Box<dyn Outlet>, String>,
}

impl SinkInfo {
    /// JSON Schema of the options, closed.
    pub fn schema(&self) -> Value {
        options::schema(self.takes, self.requires)
    }

    /// The sink with its options.
    ///
    /// # Errors
    /// An option cannot be used.
    pub fn outlet(&self, options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
        (self.new)(options)
    }

    /// Finds what the schema does not show to be wrong with options.
    ///
    /// # Errors
    /// Says what.
    pub fn check(&self, options: &FeedOptions) -> Result<(), String> {
        options.timeout()?;
        if let Some(url) = options.url.as_ref().filter(|_| self.name != statsd::SINK.name) {
            wire::base(url)?;
        }
        self.outlet(options).map(drop)
    }

    /// The way to it, for [`Wire::open`].
    pub fn door<'a>(&self, name: &'a str, options: &'a FeedOptions, machine: &Machine) -> Door<'a> {
        Door {
            what: "sink",
            name,
            kind: self.name,
            url: self.url,
            keys: self.keys,
            requests_per_minute: self.requests_per_minute,
            headers: self.headers,
            options,
            http: machine.http.clone(),
            clock: machine.clock.clone(),
            env: machine.env.clone(),
        }
    }

    /// Entries of one batch.
    pub fn batch_of(&self, options: &FeedOptions) -> usize {
        options.batch.map_or(self.batch, |wanted| self.batch.min(wanted as usize)).max(1)
    }

    /// Whether the place can know the trace of an entry.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn can_know(&self, entry: &Entry) -> Result<(), String> {
        let Entry::Score(found) = entry else { return Ok(()) };
        let from = found.subject.platform.as_deref();
        let knows = match self.knows {
            Knows::Any => true,
            Knows::Own => from == Some(self.name),
            Knows::OwnAndOtel => from.is_none() || from == Some(self.name),
        };
        if knows {
            return Ok(());
        }
        Err(format!("its trace came from {}, which {} does not know", from.unwrap_or("OpenTelemetry"), self.name))
    }
}

/// What a place needs of the machine.
#[derive(Clone)]
pub struct Machine {
    /// Connections.
    pub http: reqwest::Client,
    /// Clock.
    pub clock: std::sync::Arc<dyn crate::sys::Clock>,
    /// Environment.
    pub env: crate::sys::Env,
}

/// All sinks, by name.
pub const SINKS: &[SinkInfo] = &[
    braintrust::SINK,
    datadog::SINK,
    helicone::SINK,
    langfuse::SINK,
    langsmith::SINK,
    mlflow::SINK,
    opik::SINK,
    otlp::SINK,
    phoenix::SINK,
    statsd::SINK,
    weave::SINK,
    webhook::SINK,
];

/// The sink of a name.
pub fn find(name: &str) -> Option<&'static SinkInfo> {
    SINKS.iter().find(|sink| sink.name == name)
}

/// The score of an entry, for sinks that take no figures.
fn finding(entry: &Entry) -> Result<&Finding, String> {
    match entry {
        Entry::Score(found) => Ok(found),
        Entry::Figures(_) => Err("figures of runs are not taken there".to_owned()),
    }
}

/// The id a platform gave the step that stands for the trace.
fn span_of(found: &Finding) -> Result<&str, String> {
    found.subject.span.as_deref().ok_or_else(|| "its trace has no step with an id of the platform".to_owned())
}

/// What is told of a score beside its value, in one object.
fn about(found: &Finding) -> Value {
    serde_json::json!({
        "source": "assize",
        "grader": found.grader.component,
        "grader_version": found.grader.version,
        "grader_digest": found.grader.digest,
        "judge_model": found.grader.model,
        "inclusion_probability": found.inclusion_probability,
        "run": found.run.id,
        "suite": found.run.suite,
        "target": found.run.target,
    })
}

/// All of a batch turned away in part, where nothing says which part: none of it may be sent again by itself.
fn turned_away(count: u64, of: usize, why: &str) -> Vec<Outcome> {
    let reason = format!("{count} of a batch of {of} were turned away and the answer does not say which: {why}");
    vec![Outcome::Rejected(reason); of]
}

/// One outcome for all of a batch.
fn all_taken(batch: &[Formed]) -> Vec<Outcome> {
    vec![Outcome::Taken; batch.len()]
}

#[cfg(test)]
mod tests {
    use super::entry::samples::{figures, score};
    use super::*;

    #[test]
    fn every_sink_has_a_sample_that_fits_its_schema() {
        for sink in SINKS {
            let sample: Value = toml::from_str(sink.sample).unwrap();
            assert!(jsonschema::is_valid(&sink.schema(), &sample), "{}: {sample}", sink.name);
            let options: FeedOptions = serde_json::from_value(sample).unwrap();
            sink.check(&options).unwrap_or_else(|error| panic!("{}: {error}", sink.name));
        }
        let names: Vec<&str> = SINKS.iter().map(|sink| sink.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted);
    }

    #[test]
    fn a_place_is_not_sent_traces_it_cannot_know() {
        let (from_langfuse, from_otel) = (score(|_| ()), score(|found| found.subject.platform = None));
        let knows = |name: &str, entry: &Entry| find(name).unwrap().can_know(entry).is_ok();
        assert!(knows("langfuse", &from_langfuse) && knows("langfuse", &from_otel));
        assert!(!knows("langsmith", &from_langfuse) && !knows("langsmith", &from_otel));
        assert!(knows("otlp", &from_langfuse) && knows("webhook", &from_otel));
        let said = find("braintrust").unwrap().can_know(&from_langfuse).unwrap_err();
        assert_eq!(said, "its trace came from langfuse, which braintrust does not know");
    }

    #[test]
    fn what_a_sink_does_not_take_it_refuses() {
        for sink in SINKS {
            let options: FeedOptions = toml::from_str(sink.sample).unwrap();
            let outlet = sink.outlet(&options).unwrap();
            let id = Uuid::nil();
            assert_eq!(outlet.form(&figures(), id).is_ok(), sink.figures, "{}", sink.name);
            if !sink.scores {
                assert!(outlet.form(&score(|_| ()), id).is_err(), "{}", sink.name);
            }
        }
    }
}
