//! What goes out: a score about a trace, or the figures of a whole run. Data, their keys and digests; no IO.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use uuid::Uuid;

use crate::model::{Digest, Digester, Direction, GraderKind, Span, Trace, canonical_json};
use crate::sys::text::shorten;

/// Longest explanation that is sent, characters: platforms cut or refuse longer ones.
const LONGEST_TEXT: usize = 4_000;
/// Namespace of the ids made here; any fixed value would do, and it must never change.
const NAMESPACE: Uuid = Uuid::from_u128(0x9d3f_5c1e_7b6a_4c52_8f0e_a551_2e00_feed);

/// What a score is about, in the words of the platform the trace came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// Platform the trace was read from; absent for OpenTelemetry, which has no platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Trace, as that platform calls it.
    pub trace: String,
    /// The step that stands for the trace there; absent where only the trace has an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
    /// The last step that has an id there, for platforms that know steps only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Project there, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Trace id here: 32 hexadecimal digits for OpenTelemetry.
    pub trace_id: String,
    /// Span id here of the root.
    pub span_id: String,
    /// When the trace began.
    pub began: Timestamp,
}

impl Subject {
    /// What names a trace outside; `None` for a trace without spans or with an impossible time.
    pub fn of(trace: &Trace) -> Option<Self> {
        let root = trace.root()?;
        let native = |span: &Span| span.source.native.clone();
        let about = native(root).or_else(|| trace.spans.iter().find_map(native));
        let last = trace.spans.iter().rev().filter_map(native).find_map(|native| native.span);
        Some(Self {
            platform: about.as_ref().map(|native| native.platform.clone()),
            trace: about.as_ref().map_or_else(|| trace.id.to_string(), |native| native.trace.clone()),
            span: match &about {
                Some(_) => native(root).and_then(|native| native.span),
                None => Some(root.span_id.to_string()),
            },
            last: last.or_else(|| about.is_none().then(|| root.span_id.to_string())),
            project: about.and_then(|native| native.project),
            trace_id: trace.id.to_string(),
            span_id: root.span_id.to_string(),
            began: Timestamp::from_nanosecond(i128::from(root.start_ns)).ok()?,
        })
    }
}

/// Who graded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grader {
    /// Scorer or judge.
    pub kind: GraderKind,
    /// Its own name.
    pub component: String,
    /// Its version.
    pub version: String,
    /// Beginning of the digest of all that can change its findings: another one is another series.
    pub digest: String,
    /// Model of a judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Grader {
    /// The name with what tells one series from another.
    pub fn series(&self) -> String {
        format!("assize/{}@{}", self.component, self.digest)
    }
}

/// One score about one trace. At least one of `value` and `label` is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// Metric.
    pub name: String,
    /// The number; for yes and no 1 and 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Yes or no, where the grader says that and is asked once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<bool>,
    /// The word, of graders that give words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Least and greatest value the grader can give, where both are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<(f64, f64)>,
    /// Which way is better.
    pub direction: Direction,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// Who graded.
    pub grader: Grader,
    /// Probability with which the example was chosen, where it was sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion_probability: Option<f64>,
    /// Which run found it.
    pub run: RunRef,
    /// Example of that run.
    pub example: String,
    /// Trial.
    pub trial: u32,
}

/// Which run something comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRef {
    /// Id.
    pub id: String,
    /// Suite.
    pub suite: String,
    /// Target.
    pub target: String,
    /// Dataset.
    pub dataset: String,
    /// When it was started.
    pub at: Timestamp,
}

/// One number of a run: a gauge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Name, as Prometheus has it.
    pub name: String,
    /// What it says, in one sentence.
    pub help: String,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Finite.
    pub value: f64,
}

/// The figures of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Which run.
    pub run: RunRef,
    /// Its numbers.
    pub figures: Vec<Figure>,
}

/// One thing to send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// A score about a trace.
    Score(Box<Finding>),
    /// Figures of a run.
    Figures(Box<Figures>),
}

impl Entry {
    /// What makes it the same entry when it is sent again: trace, metric and grader, or the run. The value is no part of
    /// it, so that a changed score replaces the one that was sent.
    pub fn key(&self) -> String {
        match self {
            Self::Score(found) => {
                let platform = found.subject.platform.as_deref().unwrap_or("otel");
                let parts =
                    [platform, &found.subject.trace, &found.name, &found.grader.component, &found.grader.digest];
                format!("score:{}", parts.map(escaped).join(":"))
            }
            Self::Figures(figures) => format!("run:{}", figures.run.id),
        }
    }

    /// Digest of what it says and where it goes. Which run found it is no part of it: a run again that finds the same
    /// sends nothing.
    pub fn digest(&self, destination: &str) -> Digest {
        let said = match self {
            Self::Score(found) => {
                let mut said = found.clone();
                said.run = RunRef {
                    id: String::new(),
                    suite: String::new(),
                    target: String::new(),
                    dataset: String::new(),
                    at: Timestamp::UNIX_EPOCH,
                };
                (said.example, said.trial) = (String::new(), 0);
                serde_json::to_value(said)
            }
            Self::Figures(figures) => serde_json::to_value(figures),
        };
        let said = said.map(|said| canonical_json(&said)).unwrap_or_default();
        Digester::new().part("to", destination.as_bytes()).part("says", said.as_bytes()).finish()
    }
}

/// A part of a key without the mark that divides parts.
fn escaped(part: &str) -> String {
    part.replace('%', "%25").replace(':', "%3A")
}

/// The id of an entry on a platform: a UUID of version 5 over the platform and the entry's key. The same entry has the
/// same id whoever sends it, and however often.
pub fn id_of(kind: &str, key: &str) -> Uuid {
    let digest = Sha1::new().chain_update(NAMESPACE.as_bytes()).chain_update(format!("{kind}\n{key}")).finalize();
    let mut bytes = [0_u8; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

/// An explanation as it is sent.
pub fn told(explanation: &str) -> String {
    shorten(explanation, LONGEST_TEXT)
}

#[cfg(test)]
pub mod samples {
    //! Entries that the tests of sinks share.
    use super::*;

    pub fn finding() -> Finding {
        Finding {
            subject: Subject {
                platform: Some("langfuse".to_owned()),
                trace: "5b8efff798038103d269b633813fc60c".to_owned(),
                span: Some("a1a1a1a1a1a1a1a1".to_owned()),
                last: Some("b2b2b2b2b2b2b2b2".to_owned()),
                project: Some("p1".to_owned()),
                trace_id: "5b8efff798038103d269b633813fc60c".to_owned(),
                span_id: "a1a1a1a1a1a1a1a1".to_owned(),
                began: "2026-11-21T08:00:00.1Z".parse().unwrap(),
            },
            name: "task_success".to_owned(),
            value: Some(0.82),
            pass: None,
            label: None,
            bounds: Some((0.0, 1.0)),
            direction: Direction::Higher,
            explanation: Some("it did what was asked".to_owned()),
            grader: Grader {
                kind: GraderKind::Judge,
                component: "task_success".to_owned(),
                version: "3".to_owned(),
                digest: "abcdef12".to_owned(),
                model: Some("gpt-x".to_owned()),
            },
            inclusion_probability: Some(0.1),
            run: RunRef {
                id: "run-1".to_owned(),
                suite: "s".to_owned(),
                target: "v2".to_owned(),
                dataset: "d@1".to_owned(),
                at: "2026-11-21T09:00:00Z".parse().unwrap(),
            },
            example: "e1".to_owned(),
            trial: 0,
        }
    }

    pub fn score(change: impl FnOnce(&mut Finding)) -> Entry {
        let mut found = finding();
        change(&mut found);
        Entry::Score(Box::new(found))
    }

    pub fn figures() -> Entry {
        let labels = vec![("suite".to_owned(), "s".to_owned()), ("metric".to_owned(), "task success".to_owned())];
        let figure = Figure { name: "assize_score_mean".to_owned(), help: "Mean.".to_owned(), labels, value: 0.75 };
        let latency = Figure { name: "assize_latency_seconds".to_owned(), ..figure.clone() };
        Entry::Figures(Box::new(Figures { run: finding().run, figures: vec![figure, latency] }))
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{finding, score};
    use super::*;

    #[test]
    fn the_same_finding_of_another_run_is_the_same_entry() {
        let entry = score(|_| ());
        let again = score(|found| {
            found.run.id = "run-2".to_owned();
            found.run.at = Timestamp::UNIX_EPOCH;
            found.example = "e2".to_owned();
        });
        assert_eq!((entry.key(), entry.digest("x")), (again.key(), again.digest("x")));
        let changed = score(|found| found.value = Some(0.81));
        assert_eq!(entry.key(), changed.key());
        assert_ne!(entry.digest("x"), changed.digest("x"));
        assert_ne!(entry.digest("x"), entry.digest("y"), "another destination");
        let regraded = score(|found| found.grader.digest = "00".to_owned());
        assert_ne!(entry.key(), regraded.key(), "another grader is another series");
    }

    #[test]
    fn ids_are_of_version_five_and_stay() {
        // uuid.uuid5(uuid.UUID('9d3f5c1e-7b6a-4c52-8f0e-a5512e00feed'), 'langfuse\nscore:x') in Python.
        assert_eq!(id_of("langfuse", "score:x").to_string(), "3e113723-8f0d-5362-a46f-44e2614cd6f0");
        assert_ne!(id_of("langsmith", "score:x"), id_of("langfuse", "score:x"));
        assert_eq!(id_of("langfuse", "score:x").get_version_num(), 5);
    }

    #[test]
    fn parts_of_a_key_cannot_run_into_each_other() {
        let key = |trace: &str, name: &str| {
            let mut found = finding();
            (found.subject.trace, found.name) = (trace.to_owned(), name.to_owned());
            Entry::Score(Box::new(found)).key()
        };
        assert_ne!(key("a:b", "c"), key("a", "b:c"));
        assert_ne!(key("a%3Ab", "c"), key("a:b", "c"));
    }
}
