//! A finished run in one file: journal, examples and outputs by content, with the dataset's manifest and the word by
//! which it is a baseline. Compared where there is no database.
//!
//! The first line is plain text: `assize-bundle VERSION DIGEST BYTES`. What follows is one zstd stream of JSON lines
//! (manifest, contents, journal, end); the digest is that of the stream, the bytes are those it unpacks to. There are no
//! names of files in it. A bundle comes from elsewhere: nothing it says is believed before it is checked, and it never
//! unpacks to more than it says.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Baseline, RunSummary};
use crate::model::{
    CellKey, DatasetHeader, Digest, Event, JournalEntry, RunHeader, RunId, RunStatus, RunTotals, TargetOutcome,
    TrialKey,
};

/// Format version of what is written; every earlier one can be read.
pub const BUNDLE_FORMAT: u32 = 1;
/// First word of every bundle.
const MAGIC: &str = "assize-bundle";
/// Most characters of the first line.
const HEAD_LIMIT: usize = 200;
/// Most bytes that a bundle may unpack to.
const MOST_BYTES: u64 = 4 << 30;
/// How many times its own size a bundle may unpack to, beyond the slack below. Journals of real runs come to 20 to 60.
const MOST_RATIO: u64 = 1_000;
/// Bytes that may be unpacked whatever the ratio.
const RATIO_SLACK: u64 = 16 << 20;
/// Most bytes of one line: one content, packed as text.
const MOST_LINE: u64 = 1 << 30;
/// Largest window of the stream, as a power of two: 128 MiB.
const WINDOW_LOG: u32 = 27;
/// Strength of the compression.
const ZSTD_LEVEL: i32 = 9;

/// What a bundle holds, told before all else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Format version of the bundle; 1 today.
    pub format: u32,
    /// What defines the run, as in its journal.
    pub header: RunHeader,
    /// How it stands.
    pub status: RunStatus,
    /// Counts of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<RunTotals>,
    /// Manifest of the dataset version, where it was at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetHeader>,
    /// The blessing by which the run is a baseline, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blessing: Option<Baseline>,
}

/// One content by its digest: as text where it is UTF-8, else in base64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Content {
    /// Digest of the bytes.
    digest: Digest,
    /// The bytes as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// One line of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BundleLine {
    /// The first.
    Manifest(Box<Manifest>),
    /// Contents, each once, before the journal that refers to them.
    Content(Content),
    /// The journal in its order.
    Entry(Box<JournalEntry>),
    /// The last: how many there were of both.
    End {
        /// Contents.
        contents: u64,
        /// Entries of the journal.
        entries: u64,
    },
}

/// A run as a bundle holds it, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// What it holds.
    pub manifest: Manifest,
    /// The journal, from its first entry without gaps.
    pub entries: Vec<JournalEntry>,
    /// Contents: examples and outputs.
    pub contents: BTreeMap<Digest, Vec<u8>>,
}

/// Why a file is no bundle that can be used. Messages do not name the file: whoever opened it does.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The first line is not that of a bundle.
    #[error("it is no bundle: {0}; `assize bundle export RUN -o FILE` writes one")]
    NotABundle(&'static str),
    /// Written by a newer version.
    #[error("it has format {0}, and this version of assize reads up to {BUNDLE_FORMAT}; use the version that wrote it")]
    TooNew(u64),
    /// The stream is not what the first line says.
    #[error(
        "its content does not have the digest of its first line: it was cut short or changed; copy or export it again"
    )]
    Digest,
    /// It would unpack to too much.
    #[error("it says that it unpacks to {says} bytes from {packed}; at most {most} are taken")]
    TooLarge {
        /// Bytes it says.
        says: u64,
        /// Bytes it has.
        packed: u64,
        /// Bytes that would be taken.
        most: u64,
    },
    /// It unpacks to more or less than it says.
    #[error("it does not unpack to the {0} bytes that its first line says; export it again")]
    Size(u64),
    /// The stream cannot be unpacked.
    #[error("it cannot be unpacked: {0}; copy or export it again")]
    Packing(String),
    /// A line is wrong.
    #[error("line {line} of its content: {cause}")]
    Line {
        /// Line of the unpacked content, from 1.
        line: u64,
        /// What is wrong.
        cause: String,
    },
    /// The run in it has no end.
    #[error("run `{0}` is not finished; `assize run --resume {0}` goes on with it")]
    Unfinished(String),
    /// A content is missing, in a bundle or in the store that one is made from.
    #[error("the content `{0}` is missing, to which the run refers")]
    Missing(Digest),
}

impl Bundle {
    /// The run as a store lists it.
    pub fn summary(&self) -> RunSummary {
        let Manifest { header, status, totals, .. } = self.manifest.clone();
        RunSummary { header, status, totals }
    }

    /// The bytes of the file. The same run gives the same bytes.
    ///
    /// # Errors
    /// The run is not finished, or a content is missing.
    pub fn write(&self) -> Result<Vec<u8>, BundleError> {
        let packing = |error: std::io::Error| BundleError::Packing(error.to_string());
        let mut check = Checker::default();
        let mut plain = 0_u64;
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(packing)?;
        let mut put = |line: &BundleLine| -> Result<(), BundleError> {
            check.take(line).map_err(|cause| cause.at(0))?;
            let mut bytes = serde_json::to_vec(line).map_err(|error| BundleError::Packing(error.to_string()))?;
            bytes.push(b'\n');
            plain += bytes.len() as u64;
            encoder.write_all(&bytes).map_err(packing)
        };
        put(&BundleLine::Manifest(Box::new(self.manifest.clone())))?;
        for (digest, bytes) in &self.contents {
            put(&BundleLine::Content(Content::of(digest, bytes)))?;
        }
        for entry in &self.entries {
            put(&BundleLine::Entry(Box::new(entry.clone())))?;
        }
        put(&BundleLine::End { contents: self.contents.len() as u64, entries: self.entries.len() as u64 })?;
        check.finish()?;
        let packed = encoder.finish().map_err(packing)?;
        let mut file = format!("{MAGIC} {BUNDLE_FORMAT} {} {plain}\n", Digest::of(&packed)).into_bytes();
        file.extend_from_slice(&packed);
        Ok(file)
    }

    /// Reads and checks the bytes of a file.
    ///
    /// # Errors
    /// Whatever is not as a bundle is written.
    pub fn read(file: &[u8]) -> Result<Self, BundleError> {
        let mut manifest = None;
        let mut entries = Vec::new();
        let mut contents = BTreeMap::new();
        let plain = each_line(file, |line| {
            match line {
                BundleLine::Manifest(found) => manifest = Some(*found),
                BundleLine::Content(content) => {
                    let bytes = content.bytes().unwrap_or_default();
                    contents.insert(content.digest, bytes);
                }
                BundleLine::Entry(entry) => entries.push(*entry),
                BundleLine::End { .. } => {}
            }
            true
        })?;
        let manifest = manifest.ok_or(BundleError::Size(plain))?;
        Ok(Self { manifest, entries, contents })
    }

    /// Reads the manifest alone; the digest of the whole is checked.
    ///
    /// # Errors
    /// As for [`Bundle::read`], as far as it is read.
    pub fn peek(file: &[u8]) -> Result<Manifest, BundleError> {
        let mut manifest = None;
        let plain = each_line(file, |line| {
            if let BundleLine::Manifest(found) = line {
                manifest = Some(*found);
            }
            false
        })?;
        manifest.ok_or(BundleError::Size(plain))
    }
}

impl Content {
    fn of(digest: &Digest, bytes: &[u8]) -> Self {
        let digest = digest.clone();
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { digest, text: Some(text.to_owned()), base64: None },
            Err(_) => Self { digest, text: None, base64: Some(STANDARD.encode(bytes)) },
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        match (&self.text, &self.base64) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(packed)) => STANDARD.decode(packed).map_err(|error| format!("not base64: {error}")),
            _ => Err("a content needs `text` or `base64`".to_owned()),
        }
    }
}

/// Walks the checked lines of a file until the last, or until `take` says that it has enough; gives the size that the
/// first line says.
fn each_line(file: &[u8], mut take: impl FnMut(BundleLine) -> bool) -> Result<u64, BundleError> {
    let (says, packed) = open(file)?;
    let mut decoder =
        zstd::stream::read::Decoder::new(packed).map_err(|error| BundleError::Packing(error.to_string()))?;
    decoder.window_log_max(WINDOW_LOG).map_err(|error| BundleError::Packing(error.to_string()))?;
    // One byte more than it says, to see whether there is one.
    let mut reader = BufReader::new(decoder.take(says + 1));
    let mut check = Checker::default();
    let mut seen = 0;
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let read = (&mut reader).take(MOST_LINE).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| BundleError::Packing(error.to_string()))? as u64;
        if read == 0 {
            break;
        }
        seen += read;
        if seen > says {
            return Err(BundleError::Size(says));
        }
        let wrong = |cause: String| BundleError::Line { line: number, cause };
        let line: BundleLine = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        check.take(&line).map_err(|cause| cause.at(number))?;
        if !take(line) {
            return Ok(says);
        }
    }
    if seen != says {
        return Err(BundleError::Size(says));
    }
    check.finish()?;
    Ok(says)
}

/// Reads the first line and checks what it says; gives the size of the content and the packed stream.
fn open(file: &[u8]) -> Result<(u64, &[u8]), BundleError> {
    let head = file.get(..file.len().min(HEAD_LIMIT)).unwrap_or_default();
    let end = head.iter().position(|byte| *byte == b'\n').ok_or(BundleError::NotABundle("it has no first line"))?;
    let line = std::str::from_utf8(&head[..end]).map_err(|_| BundleError::NotABundle("its first line is not text"))?;
    let mut words = line.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(BundleError::NotABundle("its first word is not `assize-bundle`"));
    }
    let version = words.next().and_then(|word| word.parse::<u64>().ok());
    let version = version.filter(|version| *version > 0).ok_or(BundleError::NotABundle("it names no format"))?;
    // Asked before all else: a later format may have another first line.
    if version > u64::from(BUNDLE_FORMAT) {
        return Err(BundleError::TooNew(version));
    }
    let digest = words.next().and_then(Digest::parse).ok_or(BundleError::NotABundle("it names no digest"))?;
    let says = words.next().and_then(|word| word.parse::<u64>().ok());
    let says = says.ok_or(BundleError::NotABundle("it names no size"))?;
    if words.next().is_some() {
        return Err(BundleError::NotABundle("its first line says more than it should"));
    }
    let packed = file.get(end + 1..).unwrap_or_default();
    let most = (packed.len() as u64).saturating_mul(MOST_RATIO).saturating_add(RATIO_SLACK).min(MOST_BYTES);
    if says > most {
        return Err(BundleError::TooLarge { says, packed: packed.len() as u64, most });
    }
    if Digest::of(packed) != digest {
        return Err(BundleError::Digest);
    }
    Ok((says, packed))
}

/// What is wrong with a line, before it is known which one it is.
enum Wrong {
    Here(String),
    Whole(BundleError),
}

impl Wrong {
    fn at(self, line: u64) -> BundleError {
        match self {
            Self::Here(cause) => BundleError::Line { line, cause },
            Self::Whole(error) => error,
        }
    }
}

/// Holds the lines of a bundle to their order and to each other; the same for writing and reading.
#[derive(Default)]
struct Checker {
    header: Option<(RunHeader, RunStatus)>,
    contents: BTreeSet<Digest>,
    named: BTreeSet<Digest>,
    entries: u64,
    trials: HashSet<TrialKey>,
    cells: HashSet<CellKey>,
    finished: bool,
    ended: bool,
}

impl Checker {
    fn take(&mut self, line: &BundleLine) -> Result<(), Wrong> {
        let here = |cause: &str| Err(Wrong::Here(cause.to_owned()));
        if self.ended {
            return here("something follows the end");
        }
        match (line, &self.header) {
            (BundleLine::Manifest(manifest), None) => self.manifest(manifest),
            (BundleLine::Manifest(_), Some(_)) => here("a second manifest"),
            (_, None) => here("the manifest does not come first"),
            (BundleLine::Content(_), Some(_)) if self.entries > 0 => here("a content after the journal began"),
            (BundleLine::Content(content), Some(_)) => self.content(content),
            (BundleLine::Entry(entry), Some(_)) => self.entry(entry),
            (BundleLine::End { contents, entries }, Some(_)) => {
                self.ended = true;
                match (*contents, *entries) == (self.contents.len() as u64, self.entries) {
                    true => Ok(()),
                    false => here("contents or entries are missing"),
                }
            }
        }
    }

    fn manifest(&mut self, manifest: &Manifest) -> Result<(), Wrong> {
        if manifest.format > BUNDLE_FORMAT {
            return Err(Wrong::Whole(BundleError::TooNew(manifest.format.into())));
        }
        let (header, id) = (&manifest.header, manifest.header.id.as_str());
        if header.format > RunHeader::FORMAT {
            let (found, known) = (header.format, RunHeader::FORMAT);
            let cause = format!("the journal has format {found}, and this version reads up to {known}");
            return Err(Wrong::Here(cause));
        }
        // Ids are shown, typed and put into messages.
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Wrong::Here("the run's id is none".to_owned()));
        }
        if manifest.status == RunStatus::Open {
            return Err(Wrong::Whole(BundleError::Unfinished(header.id.short().to_owned())));
        }
        self.named.extend(header.example_blobs.iter().cloned());
        self.header = Some((header.clone(), manifest.status));
        Ok(())
    }

    fn content(&mut self, content: &Content) -> Result<(), Wrong> {
        let bytes = content.bytes().map_err(Wrong::Here)?;
        if Digest::of(&bytes) != content.digest {
            return Err(Wrong::Here("a content has another digest than it says".to_owned()));
        }
        match self.contents.insert(content.digest.clone()) {
            true => Ok(()),
            false => Err(Wrong::Here(format!("content `{}` is there twice", content.digest))),
        }
    }

    fn entry(&mut self, entry: &JournalEntry) -> Result<(), Wrong> {
        let here = |cause: String| Err(Wrong::Here(cause));
        if entry.seq != self.entries {
            return here(format!("entry {} of the journal stands where {} should", entry.seq, self.entries));
        }
        self.entries += 1;
        let first = entry.seq == 0;
        match (&entry.event, &self.header) {
            (Event::RunStarted { header }, Some((known, _))) if first && header.as_ref() == known => {}
            (Event::RunStarted { .. }, _) if first => return here("journal and manifest differ".to_owned()),
            (Event::RunStarted { .. }, _) => return here("the journal begins twice".to_owned()),
            _ if first => return here("the journal does not begin with `run_started`".to_owned()),
            (Event::TargetFinished { trial, outcome, .. }, _) => {
                if let TargetOutcome::Output { digest, .. } = outcome {
                    self.named.insert(digest.clone());
                }
                if !self.trials.insert(trial.clone()) {
                    return here(format!("trial {} of `{}` ends twice", trial.trial, trial.example));
                }
            }
            (Event::ScoreFinished { cell, .. }, _) if !self.cells.insert(cell.clone()) => {
                return here(format!("a cell of `{}` is scored twice", cell.trial.example));
            }
            _ => {}
        }
        self.finished = match (&entry.event, &self.header) {
            (Event::RunFinished { complete, .. }, Some((_, status))) => (*status == RunStatus::Complete) == *complete,
            _ => false,
        };
        Ok(())
    }

    fn finish(&self) -> Result<(), BundleError> {
        let id = self.header.as_ref().map(|(header, _)| header.id.clone()).unwrap_or_else(|| RunId::from("unknown"));
        if !self.ended {
            return Err(BundleError::Packing("it has no last line".to_owned()));
        }
        if !self.finished {
            return Err(BundleError::Unfinished(id.short().to_owned()));
        }
        match self.named.difference(&self.contents).next() {
            Some(digest) => Err(BundleError::Missing(digest.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
