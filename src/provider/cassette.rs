//! Recorded answers: written while live, read by `replay`. JSON lines, one answer each.
//!
//! A line holds digests and the reply, never a prompt, a header or a key. Appended in one write, so that a line is
//! there whole or not at all; a torn last line is left out when read. When a key occurs twice the last line holds:
//! recording again over an old file renews it.
//!
//! **Which answer fits.** First the line with the same request (prompt, model, parameters, form of the answer), draw
//! and asker. Where there is none, any line with the same request and draw: the asker is left out then, because a
//! judge whose request is the same byte for byte differs only in how it reads the reply, and a check in CI should not
//! demand a new recording for that. The reply cache is stricter on purpose: there a live model can be asked instead.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::AskKey;
use crate::model::{ChatReply, ChatRequest, Digest, Digester};
use crate::sys::files::{FileError, LineFile, create_folder};

/// One recorded answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Digest of request, draw and asker.
    pub key: Digest,
    /// Digest of the request alone.
    pub request_digest: Digest,
    /// Draw or trial number.
    pub draw: u32,
    /// Digest of who asked.
    pub asker: Digest,
    /// The reply.
    pub reply: ChatReply,
    /// Milliseconds the model took.
    pub took_ms: u64,
    /// Model name of the request.
    pub model: String,
}

impl Recording {
    /// The recording of an answer.
    pub fn new(request: &ChatRequest, key: &AskKey, reply: ChatReply, took_ms: u64) -> Self {
        let request_digest = request_digest(request);
        Self {
            key: exact_key(&request_digest, key),
            request_digest,
            draw: key.draw,
            asker: key.asker.clone(),
            reply,
            took_ms,
            model: request.model.clone(),
        }
    }
}

/// Digest of all of a request: model, messages, form of the answer, parameters.
pub(super) fn request_digest(request: &ChatRequest) -> Digest {
    // A request is plain data with text keys, which always has a JSON form.
    Digest::of_json(&serde_json::to_value(request).unwrap_or_default())
}

fn exact_key(request: &Digest, key: &AskKey) -> Digest {
    Digester::new()
        .part("request", request.as_str().as_bytes())
        .part("draw", &key.draw.to_le_bytes())
        .part("asker", key.asker.as_str().as_bytes())
        .finish()
}

/// The first 128 bits of a digest: what indexes hold, a quarter of its text.
fn bits(digest: &Digest) -> u128 {
    let hex = digest.as_str().get(3..35).unwrap_or_default();
    u128::from_str_radix(hex, 16).unwrap_or_default()
}

/// A cassette cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line is not a recording.
    #[error("cassette `{}` line {line} is not a recorded answer: {cause}; remove the line or record again", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line that is not blank, from 1.
        line: usize,
        /// What is wrong.
        cause: String,
    },
}

/// What of a line is held in memory.
#[derive(Deserialize)]
struct Head {
    key: Digest,
    request_digest: Digest,
    draw: u32,
    model: String,
}

enum Lines {
    File(LineFile),
    Memory(Vec<String>),
}

impl Lines {
    fn len(&self) -> usize {
        match self {
            Self::File(file) => file.len(),
            Self::Memory(lines) => lines.len(),
        }
    }

    fn line(&self, index: usize) -> Result<Vec<u8>, FileError> {
        Ok(match self {
            Self::File(file) => file.line(index)?.unwrap_or_default(),
            Self::Memory(lines) => lines.get(index).map(|line| line.as_bytes().to_vec()).unwrap_or_default(),
        })
    }
}

/// Recorded answers, indexed. Replies stay in the file until they are asked for.
pub struct Cassette {
    name: PathBuf,
    lines: Lines,
    exact: HashMap<u128, u32>,
    by_request: HashMap<(u128, u32), u32>,
    models: BTreeSet<String>,
}

impl Cassette {
    /// Reads through a file (plain JSON lines, not compressed) and notes where each answer is.
    pub fn open(path: &Path) -> Result<Self, CassetteError> {
        let lines = LineFile::open(path)?;
        Self::index(path.to_owned(), Lines::File(lines))
    }

    /// A cassette that is part of the program; `name` is what messages call it.
    pub fn of_text(name: &str, text: &str) -> Result<Self, CassetteError> {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        Self::index(PathBuf::from(name), Lines::Memory(lines))
    }

    fn index(name: PathBuf, lines: Lines) -> Result<Self, CassetteError> {
        let mut cassette =
            Self { name, lines, exact: HashMap::new(), by_request: HashMap::new(), models: BTreeSet::new() };
        for index in 0..cassette.lines.len() {
            let line = cassette.lines.line(index)?;
            let head: Head = match serde_json::from_slice(&line) {
                Ok(head) => head,
                // A process that was killed while writing leaves half a line at the end.
                Err(error) if error.is_eof() && index + 1 == cassette.lines.len() => break,
                Err(error) => return Err(cassette.bad_line(index, &error)),
            };
            let at = u32::try_from(index).unwrap_or(u32::MAX);
            cassette.exact.insert(bits(&head.key), at);
            cassette.by_request.insert((bits(&head.request_digest), head.draw), at);
            cassette.models.insert(head.model);
        }
        Ok(cassette)
    }

    /// The answer to a request; see the head of this file for which one fits.
    pub fn find(&self, request: &ChatRequest, key: &AskKey) -> Result<Option<Recording>, CassetteError> {
        let digest = request_digest(request);
        let exact = self.exact.get(&bits(&exact_key(&digest, key)));
        let Some(index) = exact.or_else(|| self.by_request.get(&(bits(&digest), key.draw))) else { return Ok(None) };
        let index = *index as usize;
        let line = self.lines.line(index)?;
        serde_json::from_slice(&line).map(Some).map_err(|error| self.bad_line(index, &error))
    }

    /// Whether a request is there in another draw.
    pub fn has_other_draw(&self, request: &ChatRequest) -> bool {
        let digest = bits(&request_digest(request));
        (0..16).any(|draw| self.by_request.contains_key(&(digest, draw)))
    }

    /// Models that were recorded.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(String::as_str)
    }

    /// How many answers can be found.
    pub fn len(&self) -> usize {
        self.exact.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
    }

    /// What messages call it.
    pub fn name(&self) -> &Path {
        &self.name
    }

    fn bad_line(&self, index: usize, error: &serde_json::Error) -> CassetteError {
        CassetteError::Line { path: self.name.clone(), line: index + 1, cause: error.to_string() }
    }
}

/// Writes answers down while they are given.
pub struct Recorder {
    path: PathBuf,
    state: Mutex<RecorderState>,
}

struct RecorderState {
    file: File,
    /// Key to the digest of its last reply: the same answer is not written twice.
    written: HashMap<u128, u128>,
}

impl Recorder {
    /// Opens a cassette for appending; makes file and folder.
    pub fn open(path: &Path) -> Result<Self, CassetteError> {
        let fail = |cause| CassetteError::File(FileError::new("write", path, cause));
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            create_folder(folder)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(fail)?;
        let mut written = HashMap::new();
        let old = Cassette::open(path)?;
        for index in old.exact.values() {
            let line = old.lines.line(*index as usize)?;
            let recording: Recording =
                serde_json::from_slice(&line).map_err(|error| old.bad_line(*index as usize, &error))?;
            written.insert(bits(&recording.key), reply_bits(&recording.reply));
        }
        mend_end(&mut file).map_err(fail)?;
        Ok(Self { path: path.to_owned(), state: Mutex::new(RecorderState { file, written }) })
    }

    /// Appends an answer unless the same one is already there.
    pub fn record(&self, recording: &Recording) -> Result<(), FileError> {
        let fail = |cause: std::io::Error| FileError::new("write", &self.path, cause);
        let mut line = serde_json::to_string(recording).map_err(|error| fail(error.into()))?;
        line.push('\n');
        let (key, reply) = (bits(&recording.key), reply_bits(&recording.reply));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.written.get(&key) == Some(&reply) {
            return Ok(());
        }
        // One write in append mode: lines of several processes do not run into each other.
        state.file.write_all(line.as_bytes()).map_err(fail)?;
        state.written.insert(key, reply);
        Ok(())
    }
}

fn reply_bits(reply: &ChatReply) -> u128 {
    bits(&Digest::of_json(&serde_json::to_value(reply).unwrap_or_default()))
}

/// Cuts half a line off the end, so that what is appended starts on a line of its own and the file stays readable.
fn mend_end(file: &mut File) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut block = [0_u8; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let wanted = usize::try_from(end - start).unwrap_or(block.len()).min(block.len());
        let Some(part) = block.get_mut(..wanted) else { break };
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end == length {
        return Ok(());
    }
    // A last line without its break may still be whole: an editor can have taken the break away.
    file.seek(SeekFrom::Start(end))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    if serde_json::from_slice::<Recording>(&tail).is_ok() { file.write_all(b"\n") } else { file.set_len(end) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::model::{AnswerFormat, ChatMessage, FinishReason, Role, Usage};

    fn request(text: &str) -> ChatRequest {
        ChatRequest {
            model: "m".to_owned(),
            messages: vec![ChatMessage { role: Role::User, content: text.to_owned() }],
            answer: AnswerFormat::Text,
            temperature: None,
            max_tokens: None,
            seed: None,
            top_logprobs: None,
            extra: Map::new(),
        }
    }

    fn key(asker: &str, draw: u32) -> AskKey {
        AskKey { asker: Digest::of(asker.as_bytes()), draw }
    }

    fn reply(text: &str) -> ChatReply {
        ChatReply {
            text: text.to_owned(),
            finish: FinishReason::Stop,
            model: None,
            usage: Usage::default(),
            tokens: None,
        }
    }

    #[test]
    fn what_is_recorded_is_found_and_the_last_line_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/cassette.jsonl");
        let recorder = Recorder::open(&path).unwrap();
        for text in ["old", "new", "new"] {
            recorder.record(&Recording::new(&request("q"), &key("a", 0), reply(text), 5)).unwrap();
        }
        drop(recorder);
        Recorder::open(&path).unwrap().record(&Recording::new(&request("q"), &key("a", 0), reply("new"), 9)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2, "the same answer is written once");
        let cassette = Cassette::open(&path).unwrap();
        let found = |text: &str, key| cassette.find(&request(text), &key).unwrap().map(|found| found.reply.text);
        assert_eq!(found("q", key("a", 0)).as_deref(), Some("new"));
        assert_eq!(found("q", key("other judge", 0)).as_deref(), Some("new"));
        assert_eq!(found("q", key("a", 1)), None, "another draw is another question");
        assert_eq!(found("q!", key("a", 0)), None, "another byte is another question");
        assert!(cassette.has_other_draw(&request("q")));
    }

    #[test]
    fn the_asker_decides_where_both_are_recorded() {
        let line = |asker: &str, text: &str| {
            serde_json::to_string(&Recording::new(&request("q"), &key(asker, 0), reply(text), 1)).unwrap()
        };
        let cassette = Cassette::of_text("c", &format!("{}\n\n{}\n", line("a", "one"), line("b", "two"))).unwrap();
        assert_eq!(cassette.find(&request("q"), &key("a", 0)).unwrap().unwrap().reply.text, "one");
        assert_eq!(cassette.find(&request("q"), &key("b", 0)).unwrap().unwrap().reply.text, "two");
    }

    #[test]
    fn half_a_line_is_left_out_and_cut_off_and_a_wrong_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.jsonl");
        let whole = serde_json::to_string(&Recording::new(&request("q"), &key("a", 0), reply("x"), 1)).unwrap();
        std::fs::write(&path, format!("{whole}\n{}", &whole[..whole.len() / 2])).unwrap();
        assert_eq!(Cassette::open(&path).unwrap().len(), 1);
        let recorder = Recorder::open(&path).unwrap();
        recorder.record(&Recording::new(&request("q2"), &key("a", 0), reply("y"), 1)).unwrap();
        assert_eq!(Cassette::open(&path).unwrap().len(), 2);
        let error = Cassette::of_text("c", &format!("{whole}\n<<<<<<< ours\n{whole}")).err().unwrap().to_string();
        assert!(error.contains("`c` line 2"), "{error}");
    }

    #[test]
    fn requests_differ_by_every_field() {
        let mut requests = vec![request("q"); 6];
        requests[1].temperature = Some(0.0);
        requests[2].extra.insert("top_p".to_owned(), json!(0.5));
        requests[3].model = "m2".to_owned();
        requests[4].answer = AnswerFormat::Json { name: "v".to_owned(), schema: json!({}) };
        requests[5].seed = Some(0);
        let digests: BTreeSet<_> = requests.iter().map(request_digest).collect();
        assert_eq!(digests.len(), 6);
    }
}
