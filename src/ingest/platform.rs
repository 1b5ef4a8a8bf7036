//! What the sources of platforms share: beginning a span of a platform's own ids, tokens, scores, leftovers, and
//! handing all of it to the gate. Knows no platform.

use serde_json::{Map, Value};

use crate::model::{Native, REVISION_KEY, ScoreOrigin, Source, SpanId, SpanStatus, TraceId, TraceScore};

use super::TRUNCATED_KEY;
use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::json::{at, describe, field, is_empty, number, take, take_list, words};
use super::raw::RawSpan;
use super::times::{self, Unit};
use super::{ids, json};

/// What one row gave. Collected before it is handed out, since reading consumes the row.
#[derive(Default)]
pub(super) struct Found {
    pub(super) spans: Vec<RawSpan>,
    pub(super) scores: Vec<TraceScore>,
    pub(super) problems: Vec<Problem>,
    ignored: Vec<(&'static str, u64)>,
}

impl Found {
    /// Counts what is understood and of no use here.
    pub(super) fn ignore(&mut self, what: &'static str, count: u64) {
        self.ignored.push((what, count));
    }

    /// Keeps a span or what is wrong with it.
    pub(super) fn push(&mut self, span: Result<RawSpan, Problem>) {
        match span {
            Ok(span) => self.spans.push(span),
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// Reads a row, which must be an object, with `read`, and hands out what was found. What is wrong with the row
/// costs the row, or the part of it that `read` put among the problems.
pub(super) fn take_row(
    value: Value,
    line: Option<u64>,
    gate: &mut Gate<'_>,
    read: impl FnOnce(Map<String, Value>, &mut Found) -> Result<(), Problem>,
) -> Result<(), IngestError> {
    let excerpt = beginning(&value);
    let mut found = Found::default();
    let read = match value {
        Value::Object(map) => read(map, &mut found),
        other => Err(Problem::new("row", describe(&other), "an object")),
    };
    found.problems.extend(read.err());
    for span in found.spans {
        gate.admit(span, line)?;
    }
    for score in found.scores {
        gate.admit_score(score, line)?;
    }
    for (what, count) in found.ignored {
        gate.ignore(what, count);
    }
    found.problems.into_iter().try_for_each(|problem| gate.reject(problem, line, &excerpt))
}

/// Reads the spans of a row's list `spans`, each with what the row says for all of them where it does not say that
/// itself. What is wrong with one costs that one.
pub(super) fn each_span(
    map: &mut Map<String, Value>,
    shared: &[&str],
    found: &mut Found,
    read: fn(Map<String, Value>, &mut Found) -> Result<(), Problem>,
) -> Result<(), Problem> {
    for inner in take_list(map, &["spans"])? {
        let read = match inner {
            Value::Object(mut inner) => {
                for key in shared {
                    if let Some(value) = map.get(*key) {
                        inner.entry(*key).or_insert_with(|| value.clone());
                    }
                }
                read(inner, found)
            }
            other => Err(Problem::new("`spans[]`", describe(&other), "an object")),
        };
        found.problems.extend(read.err());
    }
    Ok(())
}

/// The first bytes of a value as JSON, for an excerpt; a row may be huge.
fn beginning(value: &Value) -> Vec<u8> {
    struct Short(Vec<u8>);
    impl std::io::Write for Short {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.len() > 2_000 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut short = Short(Vec::new());
    // It fails when there is enough.
    let _ = serde_json::to_writer(&mut short, value);
    short.0
}

/// A span's ids as its platform gives them.
pub(super) struct Ids<'a> {
    pub(super) platform: &'static str,
    pub(super) trace: &'a str,
    pub(super) span: &'a str,
    pub(super) parent: Option<&'a str>,
    pub(super) project: Option<String>,
}

impl Ids<'_> {
    /// A span of these ids that begins at `start_ns`.
    pub(super) fn begin(self, name: String, start_ns: i64) -> RawSpan {
        let span = |id: &str| ids::native_span(self.platform, self.trace, id);
        RawSpan {
            trace_id: ids::native_trace(self.platform, self.trace),
            span_id: span(self.span),
            parent_id: self.parent.filter(|parent| !parent.trim().is_empty() && *parent != self.span).map(span),
            name,
            start_ns,
            native: Some(Native {
                platform: self.platform.to_owned(),
                trace: self.trace.to_owned(),
                span: Some(self.span.to_owned()),
                project: self.project,
            }),
            ..RawSpan::default()
        }
    }
}

/// Takes a moment under one of several keys, whatever its form; without an offset it is UTC.
pub(super) fn moment(map: &mut Map<String, Value>, keys: &[&str]) -> Result<Option<i64>, Problem> {
    times::read(take(map, keys).as_ref(), field(keys).trim_matches('`'), Unit::Unsaid)
}

/// As [`moment`], where it must be there.
pub(super) fn need_moment(map: &mut Map<String, Value>, keys: &[&str]) -> Result<i64, Problem> {
    moment(map, keys)?.ok_or_else(|| Problem::new(field(keys), "missing", "a time, ISO 8601 or since 1970"))
}

/// The moment so many milliseconds after another; `None` for durations that are negative or of no sense.
pub(super) fn after_ms(start_ns: i64, duration: Option<&Value>) -> Option<i64> {
    let nanos = number(duration?)? * 1e6;
    (0.0..9e18).contains(&nanos).then(|| start_ns.checked_add(nanos.round() as i64)).flatten()
}

impl RawSpan {
    /// Sets an attribute that says something.
    pub(super) fn set(&mut self, key: &str, value: Option<impl Into<Value>>) {
        let value = value.map(Into::into).filter(|value| !is_empty(value));
        if let Some(value) = value {
            self.attributes.insert(key.to_owned(), value);
        }
    }

    /// Keeps the fields of an object as attributes `prefix.field`, or another value as `prefix`; nothing is replaced.
    pub(super) fn keep_below(&mut self, prefix: &str, value: Option<Value>) {
        match value.map(json::structured) {
            Some(Value::Object(map)) => {
                for (key, value) in map.into_iter().filter(|(_, value)| !is_empty(value)) {
                    self.attributes.entry(format!("{prefix}.{key}")).or_insert(value);
                }
            }
            Some(value) if !is_empty(&value) => {
                self.attributes.entry(prefix.to_owned()).or_insert(value);
            }
            _ => {}
        }
    }

    /// Notes a failure and what was said about it.
    pub(super) fn fail(&mut self, message: Option<String>) {
        self.status = SpanStatus::Error;
        self.status_message = message.or_else(|| self.status_message.take());
    }

    /// Notes which report of the span this is; see [`REVISION_KEY`].
    pub(super) fn revise(&mut self, revision: Option<i64>) {
        self.set(REVISION_KEY, revision);
    }

    /// Notes that the platform had shortened a side before it was exported.
    pub(super) fn shortened_before(&mut self, side: &str) {
        let entry = self.attributes.entry(TRUNCATED_KEY.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = entry {
            list.push(serde_json::json!({"field": side, "by": "source"}));
        }
    }
}

/// Where a count of input tokens leaves those that were cached.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cache {
    /// Counted within.
    Inside,
    /// Counted beside, as Anthropic does.
    Outside,
    /// The format does not say: passed on under the names by which `dialect` tells or marks it.
    Unsaid,
}

const INPUT: &[&str] = &["input_tokens", "prompt_tokens", "inputTokens", "promptTokens", "promptTokenCount"];
const OUTPUT: &[&str] =
    &["output_tokens", "completion_tokens", "outputTokens", "completionTokens", "candidatesTokenCount"];
const CACHE_READ: &[&str] = &[
    "cache_read_input_tokens",
    "input_token_details.cache_read",
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "prompt_token_details.cache_read",
    "prompt_token_details.raw.cache_read",
    "prompt_cached_tokens",
    "prompt_cache_read_tokens",
    "cachedContentTokenCount",
    "cached_tokens",
];
const CACHE_WRITE: &[&str] = &[
    "cache_creation_input_tokens",
    "cache_write_input_tokens",
    "input_token_details.cache_creation",
    "prompt_token_details.cache_creation",
    "prompt_token_details.raw.cache_creation",
    "prompt_cache_creation_tokens",
    "prompt_cache_write_tokens",
];
const REASONING: &[&str] = &[
    "output_token_details.reasoning",
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "completion_token_details.reasoning",
    "completion_token_details.raw.reasoning",
    "completion_reasoning_tokens",
    "reasoning_output_tokens",
    "reasoning_tokens",
    "thoughtsTokenCount",
];

/// The attributes that tokens are passed on as.
const INPUT_KEY: &str = "gen_ai.usage.input_tokens";
const OUTPUT_KEY: &str = "gen_ai.usage.output_tokens";

/// Passes token counts on; answers whether there were any. Totals are never believed. Nothing read and nothing
/// written is what recorders write when they do not know, so that stays unknown.
pub(super) fn count_tokens(raw: &mut RawSpan, counts: &Map<String, Value>, cache: Cache) -> bool {
    let first = |paths: &[&str]| paths.iter().find_map(|path| at(counts, path));
    let whole = |value: &Value| number(value).filter(|count| *count >= 0.0 && *count < 1e15 && count.fract() == 0.0);
    let counted = |paths: &[&str]| first(paths).and_then(whole).map(|count| count as u64);
    let (input, mut output) = (counted(INPUT), counted(OUTPUT));
    if input.unwrap_or(0) == 0 && output.unwrap_or(0) == 0 {
        return false;
    }
    let (read, write, reasoning) = (counted(CACHE_READ), counted(CACHE_WRITE), counted(REASONING));
    let beside = if cache == Cache::Outside { read.unwrap_or(0) + write.unwrap_or(0) } else { 0 };
    if counts.contains_key("thoughtsTokenCount") {
        // Gemini counts thoughts beside what it answers.
        output = output.map(|output| output + reasoning.unwrap_or(0));
    }
    let (read_key, write_key) = match cache {
        Cache::Unsaid => ("gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_creation_input_tokens"),
        _ => ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    };
    raw.set(INPUT_KEY, input.map(|input| input + beside));
    raw.set(OUTPUT_KEY, output);
    raw.set(read_key, read);
    raw.set(write_key, write);
    raw.set("gen_ai.usage.reasoning.output_tokens", reasoning);
    true
}

/// Whether tokens have been passed on.
pub(super) fn has_tokens(raw: &RawSpan) -> bool {
    raw.attributes.contains_key(INPUT_KEY) || raw.attributes.contains_key(OUTPUT_KEY)
}

/// Passes a stated cost on. Nothing, where no tokens are known, is what recorders write when they cannot price.
pub(super) fn state_cost(raw: &mut RawSpan, cost: Option<&Value>) {
    let cost = cost.and_then(number).filter(|cost| *cost > 0.0 || *cost == 0.0 && has_tokens(raw));
    raw.set("gen_ai.usage.cost", cost);
}

/// A score that stands at a span; at a root it is one of the whole trace. Truth values are 0 and 1, words labels.
pub(super) fn score_of(raw: &RawSpan, name: impl Into<String>, said: &Value) -> TraceScore {
    let mut score = score(raw.native.clone(), name, said);
    score.trace_id = Some(TraceId::new(raw.trace_id.clone()));
    score.span_id = raw.parent_id.is_some().then(|| SpanId::new(raw.span_id.clone()));
    score
}

/// A score of nothing yet.
pub(super) fn score(native: Option<Native>, name: impl Into<String>, said: &Value) -> TraceScore {
    let flag = said.as_bool().map(|flag| f64::from(u8::from(flag)));
    let value = number(said).or(flag);
    TraceScore {
        trace_id: None,
        span_id: None,
        session_id: None,
        name: name.into(),
        value,
        label: if value.is_none() { words(said) } else { None },
        comment: None,
        origin: ScoreOrigin::Unknown,
        author: None,
        at_ns: None,
        source: Source { native, ..Source::default() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counted(counts: Value, cache: Cache) -> Value {
        let mut raw = RawSpan::default();
        count_tokens(&mut raw, counts.as_object().unwrap(), cache);
        let short = |(key, value): (String, Value)| (key.replace("gen_ai.usage.", ""), value);
        Value::Object(raw.attributes.into_iter().map(short).collect())
    }

    #[test]
    fn tokens_of_every_spelling_become_subsets() {
        let same = json!({"input_tokens": 120, "cache_read.input_tokens": 100, "output_tokens": 30,
            "reasoning.output_tokens": 10});
        let openai = json!({"prompt_tokens": "120", "completion_tokens": 30.0, "total_tokens": 9_999,
            "prompt_tokens_details": {"cached_tokens": 100}, "completion_tokens_details": {"reasoning_tokens": 10}});
        let gemini = json!({"promptTokenCount": 120, "candidatesTokenCount": 20, "thoughtsTokenCount": 10,
            "cachedContentTokenCount": 100});
        for counts in [openai, gemini] {
            assert_eq!(counted(counts, Cache::Inside), same);
        }
        let anthropic = json!({"input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 30});
        let outside = json!({"input_tokens": 120, "cache_read.input_tokens": 100, "output_tokens": 30});
        assert_eq!(counted(anthropic, Cache::Outside), outside);
    }

    #[test]
    fn zeros_and_nonsense_are_unknown() {
        for counts in [
            json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
            json!({"prompt_tokens": -3, "completion_tokens": "many"}),
            json!({"prompt_tokens": 1.5}),
            json!({}),
        ] {
            assert_eq!(counted(counts, Cache::Inside), json!({}));
        }
        let mut raw = RawSpan::default();
        state_cost(&mut raw, Some(&json!(0)));
        assert!(raw.attributes.is_empty());
        count_tokens(&mut raw, json!({"prompt_tokens": 5}).as_object().unwrap(), Cache::Inside);
        state_cost(&mut raw, Some(&json!("0")));
        assert_eq!(raw.attributes["gen_ai.usage.cost"], json!(0.0));
    }

    #[test]
    fn durations_that_make_no_sense_give_no_end() {
        assert_eq!(after_ms(5, Some(&json!("1.5"))), Some(1_500_005));
        for bad in [json!(-1), json!(1e300), json!("x"), json!(null), json!([1])] {
            assert_eq!(after_ms(5, Some(&bad)), None, "{bad}");
        }
    }
}
