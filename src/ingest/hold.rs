//! What was read and waits for a detector: nothing passes on before its texts were looked at.

use super::FileSummary;
use super::dialect;
use super::error::Rejected;
use super::raw::LogEvent;
use crate::model::{OnDetectorError, Redactions, Span, TraceScore};
use crate::redact::{DetectorError, Redactor, Seen};

/// Batches of the detector that are gathered before it is asked: fewer questions for small spans.
const BATCHES: usize = 4;
/// Bytes of text held at most; the bound of memory.
const MOST_BYTES: usize = 16 << 20;

/// One thing that was read.
pub(super) enum Held {
    Span(Box<Span>),
    Event(Box<LogEvent>),
    Score(Box<TraceScore>),
    Rejected(Rejected),
}

impl Held {
    /// Gives each text of it with its field.
    fn texts(&mut self, redact: &Redactor, each: &mut dyn FnMut(&str, &mut String)) {
        match self {
            Self::Span(span) => redact.texts_of_span(span, each),
            Self::Event(event) => {
                for (key, value) in &mut event.event.attributes {
                    redact.texts_of_value(key, value, each);
                }
                if let Some(body) = &mut event.event.body {
                    redact.texts_of_value("body", body, each);
                }
            }
            Self::Score(score) => redact.texts_of_score(score, each),
            Self::Rejected(rejected) => {
                each("rejected", &mut rejected.excerpt);
                each("rejected", &mut rejected.found);
            }
        }
    }

    /// What is told of it when it was not looked at: where it stood, nothing that it says.
    fn unseen(self, file: &str, why: &DetectorError) -> Rejected {
        let line = match &self {
            Self::Span(span) => span.source.line,
            Self::Event(event) => event.source.line,
            Self::Score(score) => score.source.line,
            Self::Rejected(rejected) => rejected.line,
        };
        Rejected {
            file: file.to_owned(),
            line,
            field: "record".to_owned(),
            found: "not looked at by the detector".to_owned(),
            expected: format!("an answer ({why}); ingest the file again once it answers"),
            excerpt: String::new(),
        }
    }
}

/// What waits.
#[derive(Default)]
pub(super) struct Hold {
    held: Vec<Held>,
    texts: Vec<String>,
    bytes: usize,
    enough: usize,
}

impl Hold {
    /// Holds one thing.
    pub(super) fn add(&mut self, mut held: Held, redact: &Redactor) {
        self.enough = redact.detector().map_or(1, |detector| detector.batch().saturating_mul(BATCHES));
        let (texts, bytes) = (&mut self.texts, &mut self.bytes);
        held.texts(redact, &mut |_, text| {
            *bytes += text.len();
            texts.push(text.clone());
        });
        self.held.push(held);
    }

    /// Whether the detector should be asked now.
    pub(super) fn is_full(&self) -> bool {
        self.texts.len() >= self.enough || self.bytes >= MOST_BYTES
    }

    /// Asks the detector about everything held and gives it up, without what was found.
    ///
    /// # Errors
    /// It failed and the policy says to stop.
    pub(super) fn look(&mut self, redact: &Redactor, summary: &mut FileSummary) -> Result<Vec<Held>, DetectorError> {
        let held = std::mem::take(&mut self.held);
        let texts = std::mem::take(&mut self.texts);
        self.bytes = 0;
        let Some(detector) = redact.detector() else { return Ok(held) };
        let mut seen = Seen::default();
        match seen.ask(detector, &texts) {
            Ok(()) => Ok(held.into_iter().map(|held| taken_out(held, redact, &seen, &mut summary.redacted)).collect()),
            Err(why) => match detector.on_error() {
                OnDetectorError::Stop => Err(why),
                OnDetectorError::Reject => {
                    Ok(held.into_iter().map(|held| Held::Rejected(held.unseen(&summary.file, &why))).collect())
                }
                OnDetectorError::Continue => {
                    let count = held.len() as u64;
                    *summary.ignored.entry("records the detector did not look at".to_owned()).or_default() += count;
                    Ok(held)
                }
            },
        }
    }
}

fn taken_out(mut held: Held, redact: &Redactor, seen: &Seen, account: &mut Redactions) -> Held {
    let before = account.total();
    held.texts(redact, &mut |field, text| redact.apply(seen, field, text, account));
    if let Held::Span(span) = &mut held
        && account.total() > before
    {
        dialect::digest_prompt_again(span);
    }
    held
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::admit::Gate;
    use super::super::error::IngestError;
    use super::super::item::Item;
    use super::super::raw::RawSpan;
    use super::super::{FileSummary, ReadOptions};
    use super::*;
    use crate::model::{Digest, RedactAction, RedactPolicy};
    use crate::redact::{Detector, Finding};
    use crate::sys::files::FileError;

    /// Finds `Ann`; fails where it reads `fail`.
    struct Names;

    impl Detector for Names {
        fn detect(&self, texts: &[&str]) -> Result<Vec<Vec<Finding>>, DetectorError> {
            if texts.contains(&"fail") {
                return Err(DetectorError("told to".to_owned()));
            }
            let find = |text: &&str| {
                let start = text.find("Ann")?;
                Some(Finding { start, end: start + 3, kind: "person".to_owned() })
            };
            Ok(texts.iter().map(|text| find(text).into_iter().collect()).collect())
        }
        fn batch(&self) -> usize {
            64
        }
        fn on_error(&self) -> OnDetectorError {
            OnDetectorError::Stop
        }
        fn action(&self) -> RedactAction {
            RedactAction::Mask
        }
    }

    /// One span through a gate whose reading ended so.
    fn ended(name: &str, read: Result<(), IngestError>) -> (Result<FileSummary, IngestError>, Vec<Item>) {
        let redactor = Redactor::new(&RedactPolicy::default(), None).unwrap().with_detector(Box::new(Names));
        let options = ReadOptions { redact: Some(&redactor), ..ReadOptions::default() };
        let mut items: Vec<Item> = Vec::new();
        let mut gate = Gate::new(&options, FileSummary::default(), &mut items);
        let messages = json!([{"role": "system", "content": "You help Ann."}, {"role": "user", "content": "hi"}]);
        let attributes = [("gen_ai.operation.name", json!("chat")), ("gen_ai.input.messages", messages)];
        let raw = RawSpan {
            trace_id: "1".repeat(32),
            span_id: "1".repeat(16),
            name: name.to_owned(),
            start_ns: 1,
            attributes: attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            ..RawSpan::default()
        };
        gate.admit(raw, Some(1)).unwrap();
        let ended = gate.end(read);
        (ended, items)
    }

    fn broken() -> IngestError {
        FileError::new("read", std::path::Path::new("f"), std::io::Error::other("cable pulled")).into()
    }

    #[test]
    fn the_digest_of_a_prompt_is_that_of_what_the_detector_left() {
        let (summary, items) = ended("chat", Ok(()));
        assert_eq!(summary.unwrap().spans, 1);
        let [Item::Span(span)] = items.as_slice() else { panic!("{items:?}") };
        assert_eq!(span.messages_in[0].plain_text(), "You help [person].");
        let digest = span.prompt.as_ref().unwrap().digest.as_deref();
        assert_eq!(digest, Some(Digest::of(b"You help [person].").as_str()));
    }

    #[test]
    fn what_was_read_before_a_file_broke_is_handed_on_unless_it_cannot_be_looked_at() {
        let (failed, items) = ended("chat", Err(broken()));
        assert!(matches!(failed, Err(IngestError::File(_))), "{failed:?}");
        assert!(matches!(items.as_slice(), [Item::Span(span)] if !format!("{span:?}").contains("Ann")), "{items:?}");
        let (failed, items) = ended("fail", Err(broken()));
        assert!(matches!(failed, Err(IngestError::Detector { .. })) && items.is_empty(), "{failed:?} {items:?}");
        let cause = DetectorError("gone".to_owned());
        let (failed, items) = ended("chat", Err(IngestError::Detector { file: "f".to_owned(), cause }));
        assert!(matches!(failed, Err(IngestError::Detector { .. })) && items.is_empty(), "{failed:?} {items:?}");
    }
}
