//! Logs of Inspect AI: the head and the samples of a `.eval` archive or a JSON log.
//!
//! Newer logs keep long texts once under `attachments` and messages once in a pool; [`InspectSample`] puts them back
//! where they belong. What a sample means is told by `inspect` here and by the source of traces in `ingest`.

use std::cell::Cell;
use std::io::{BufRead, Read};
use std::ops::Range;

use serde_json::{Map, Value};

use crate::model::Usage;
use crate::sys::archive::{Archive, MAGIC};

/// Texts that stand for an attachment begin so, today and in logs of 2024.
const REFERENCES: &[&str] = &["attachment://", "tc://"];

/// An opened log.
pub struct InspectLog {
    /// Head: `version`, `status`, `eval`, `plan`, `stats`.
    pub head: Value,
    samples: Samples,
    limit: u64,
}

enum Samples {
    Archive(Archive, std::vec::IntoIter<String>),
    List(std::iter::Enumerate<std::vec::IntoIter<Value>>),
}

/// Whether a file's beginning is that of a log: an archive, or a JSON log.
pub fn is_inspect_log(head: &[u8]) -> Option<String> {
    let has = |text: &str| head.windows(text.len()).any(|window| window == text.as_bytes());
    if head.starts_with(MAGIC) {
        return ["_journal/start.json", "header.json", "samples/"]
            .into_iter()
            .find(|name| has(name))
            .map(|name| format!("zip archive with `{name}`"));
    }
    let json = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().starts_with(b"{");
    (json && has("\"eval\"") && has("\"task_id\"") && has("\"run_id\""))
        .then(|| "JSON log with `eval`, `task_id` and `run_id`".to_owned())
}

impl InspectLog {
    /// Opens a log. `limit` bounds the bytes of a JSON log, and of each entry of an archive once unpacked.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file and what to do.
    pub fn open(reader: &mut dyn BufRead, limit: u64) -> Result<Self, String> {
        let head = reader.fill_buf().map_err(|error| format!("unreadable ({error})"))?;
        if head.starts_with(MAGIC) || !matches!(head.trim_ascii_start().first(), Some(b'{' | 0xef)) {
            return Self::open_archive(reader, limit);
        }
        let mut bytes = Vec::new();
        reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| format!("cut off ({error})"))?;
        if bytes.len() as u64 > limit {
            return Err(format!(
                "a JSON log of more than {limit} bytes, which must be read whole; convert it to `.eval`"
            ));
        }
        let mut log = parse(bytes)?;
        let samples = match log.get_mut("samples").map(Value::take) {
            Some(Value::Array(samples)) => samples,
            _ => Vec::new(),
        };
        Ok(Self { head: log, samples: Samples::List(samples.into_iter().enumerate()), limit })
    }

    fn open_archive(mut reader: &mut dyn BufRead, limit: u64) -> Result<Self, String> {
        let mut archive = Archive::open(&mut reader, limit).map_err(|error| error.to_string())?;
        // A log whose run was killed has no header, only what was known at its start.
        let mut head = None;
        for name in ["header.json", "_journal/start.json"] {
            if head.is_none() {
                head = archive.read(name).map_err(|error| error.to_string())?;
            }
        }
        let head = head.ok_or("a zip archive without `header.json`: no log of Inspect")?;
        let mut names: Vec<String> = archive.names();
        names.retain(|name| name.starts_with("samples/") && name.ends_with(".json"));
        names.sort();
        names.dedup();
        Ok(Self { head: parse(head)?, samples: Samples::Archive(archive, names.into_iter()), limit })
    }

    /// The next sample with the name it has in the log; `None` after the last.
    pub fn next_sample(&mut self) -> Option<(String, Result<InspectSample, String>)> {
        let (name, sample) = match &mut self.samples {
            Samples::Archive(archive, names) => {
                let name = names.next()?;
                let bytes = archive.read(&name).map_err(|error| error.to_string());
                let sample = bytes.and_then(|bytes| parse(bytes.unwrap_or_default()));
                (name, sample)
            }
            Samples::List(items) => {
                let (index, sample) = items.next()?;
                (format!("samples[{index}]"), Ok(sample))
            }
        };
        Some((name, sample.and_then(|sample| InspectSample::new(sample, self.limit))))
    }
}

/// One sample with what its references stand for.
pub struct InspectSample {
    /// Its fields, references as they were written.
    pub fields: Map<String, Value>,
    attachments: Map<String, Value>,
    pool: Vec<Value>,
    /// Bytes that references may still become; a small log must not unfold into a huge one.
    left: Cell<u64>,
}

impl InspectSample {
    fn new(sample: Value, limit: u64) -> Result<Self, String> {
        let Value::Object(mut fields) = sample else {
            return Err("not an object; expected a sample with `id`, `epoch` and `input`".to_owned());
        };
        let attachments = match fields.remove("attachments") {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let mut pool = fields
            .remove("message_pool")
            .or_else(|| fields.get_mut("events_data")?.get_mut("messages").map(Value::take));
        let pool = pool.as_mut().and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        Ok(Self { fields, attachments, pool, left: Cell::new(limit.saturating_mul(4)) })
    }

    /// A value with every reference to an attachment replaced by the text it stands for.
    pub fn resolved(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.attachment(text).unwrap_or_else(|| value.clone()),
            Value::Array(items) => items.iter().map(|item| self.resolved(item)).collect(),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(key, item)| (key.clone(), self.resolved(item))).collect())
            }
            other => other.clone(),
        }
    }

    fn attachment(&self, text: &str) -> Option<Value> {
        let key = REFERENCES.iter().find_map(|prefix| text.strip_prefix(prefix))?;
        let found = self.attachments.get(key)?;
        self.spend(found.as_str().map_or(64, str::len))?;
        Some(found.clone())
    }

    fn spend(&self, bytes: usize) -> Option<()> {
        let left = self.left.get().checked_sub(bytes as u64)?;
        self.left.set(left);
        Some(())
    }

    /// A field of the sample, resolved; `None` when absent or null.
    pub fn field(&self, name: &str) -> Option<Value> {
        self.fields.get(name).filter(|value| !value.is_null()).map(|value| self.resolved(value))
    }

    /// The messages into a model call: its own, or those of the pool that it refers to.
    pub fn model_input(&self, event: &Map<String, Value>) -> Vec<Value> {
        let own = event.get("input").and_then(Value::as_array).filter(|items| !items.is_empty());
        if let Some(own) = own {
            return own.iter().map(|message| self.resolved(message)).collect();
        }
        let ranges = event.get("input_refs").and_then(Value::as_array).into_iter().flatten().filter_map(range);
        let mut messages = Vec::new();
        for message in ranges.flat_map(|range| self.pool.get(range).unwrap_or_default()) {
            if self.spend(message.to_string().len()).is_none() {
                break;
            }
            messages.push(self.resolved(message));
        }
        messages
    }
}

/// `[start, end]`, the end not included.
fn range(pair: &Value) -> Option<Range<usize>> {
    let at = |index: usize| pair.get(index)?.as_u64().and_then(|n| usize::try_from(n).ok());
    Some(at(0)?..at(1)?)
}

/// Tokens in subset semantics. Inspect passes on what providers count: some leave cached tokens out of the input.
/// The total tells which, being the sum of all that is counted apart.
pub fn usage_of(said: &Value) -> Usage {
    let count = |key: &str| said.get(key).and_then(Value::as_u64);
    let mut usage = Usage {
        input: count("input_tokens"),
        output: count("output_tokens"),
        cache_read: count("input_tokens_cache_read"),
        cache_write: count("input_tokens_cache_write"),
        reasoning: count("reasoning_tokens"),
    };
    let cached = usage.cache_read.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
    let apart = usage.total().map(|sum| sum.saturating_add(cached));
    let beyond = usage.input.is_some_and(|input| cached > input);
    if cached > 0 && (beyond || count("total_tokens").is_some_and(|total| Some(total) == apart)) {
        usage.input = usage.input.map(|input| input.saturating_add(cached));
    }
    usage
}

fn parse(bytes: Vec<u8>) -> Result<Value, String> {
    serde_json::from_slice(&bytes)
        .or_else(|error| serde_json::from_slice(&without_constants(&bytes)).map_err(|_| error))
        .map_err(|error| format!("not JSON ({error}); copy the log again from where it was written"))
}

/// The same text with `NaN` and `Infinity`, which Python writes and JSON does not know, as null.
fn without_constants(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let (mut at, mut in_text) = (0, false);
    while let Some(byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let constant =
            [&b"NaN"[..], b"-Infinity", b"Infinity"].into_iter().find(|word| !in_text && rest.starts_with(word));
        let length = match (constant, in_text, byte) {
            (Some(word), ..) => {
                plain.extend_from_slice(b"null");
                at += word.len();
                continue;
            }
            (None, true, b'\\') => 2,
            (None, _, b'"') => {
                in_text = !in_text;
                1
            }
            _ => 1,
        };
        plain.extend_from_slice(rest.get(..length).unwrap_or(rest));
        at += length;
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn sample(fields: Value) -> InspectSample {
        InspectSample::new(fields, 100).unwrap()
    }

    #[test]
    fn references_become_what_they_stand_for_within_a_bound() {
        let sample = sample(json!({
            "attachments": {"a": "long text"}, "input": ["attachment://a", {"k": "tc://a"}, "attachment://none"],
            "message_pool": [{"role": "user", "content": "attachment://a"}, {"role": "assistant", "content": "x"}],
        }));
        assert_eq!(sample.field("input"), Some(json!(["long text", {"k": "long text"}, "attachment://none"])));
        let event = json!({"input": [], "input_refs": [[0, 1], [0, 2], [5, 9], "x"]});
        let messages = sample.model_input(event.as_object().unwrap());
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[0]["content"], "long text");
        let many: Vec<Value> = (0..1000).map(|_| json!([0, 2])).collect();
        let event = json!({"input_refs": many});
        assert!(sample.model_input(event.as_object().unwrap()).len() < 20);
    }

    #[test]
    fn cached_tokens_are_added_where_the_total_counts_them_apart() {
        let usage = |value: Value| usage_of(&value);
        let within =
            usage(json!({"input_tokens": 100, "output_tokens": 5, "total_tokens": 105, "input_tokens_cache_read": 90}));
        assert_eq!(within.input, Some(100));
        let apart = usage(json!({"input_tokens": 10, "output_tokens": 5, "total_tokens": 105,
            "input_tokens_cache_read": 80, "input_tokens_cache_write": 10}));
        assert_eq!((apart.input, apart.cache_read), (Some(100), Some(80)));
        assert!(usage(json!(null)).is_unknown());
    }

    #[test]
    fn constants_of_python_are_null_outside_of_texts() {
        let text = br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN", "d\\": NaN}"#;
        let value = parse(text.to_vec()).unwrap();
        assert_eq!(value, json!({"a": null, "b": [null, null], "c": "NaN \" NaN", "d\\": null}));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_log_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = is_inspect_log(&bytes);
            let _ = InspectLog::open(&mut bytes.as_slice(), 1000);
            let _ = without_constants(&bytes);
        }
    }
}
