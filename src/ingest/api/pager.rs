//! What every platform's pager speaks: the next request, the answer to it, a page of rows.
//!
//! A pager does no IO and knows no clock, so that it can be tested word by word; the driver sends and waits.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::options::ApiOptions;
use crate::ingest::json::describe;

/// What is asked of a platform, whichever page it is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Options of the source.
    pub options: ApiOptions,
    /// Traces that begin before are not wanted; all when absent.
    pub since: Option<Timestamp>,
    /// Traces that begin at or after are not wanted. Fixed for a whole pull, so that pages do not shift.
    pub until: Timestamp,
}

impl Plan {
    /// Rows to ask for at a time: as configured, at most what the platform allows.
    pub(super) fn page_size(&self, default: u32, most: u32) -> u32 {
        self.options.page_size.unwrap_or(default).clamp(1, most)
    }

    /// The beginning of the window for platforms that must be given one.
    pub(super) fn since_or(&self, days_back: i64) -> Timestamp {
        let back = jiff::SignedDuration::from_hours(24 * days_back);
        self.since.unwrap_or_else(|| self.until.checked_sub(back).unwrap_or(self.until))
    }

    /// The project, which the platform cannot do without.
    pub(super) fn project(&self, what: &str) -> Result<String, String> {
        self.options.project.clone().ok_or_else(|| format!("`project` is missing: {what}"))
    }

    /// The filter, where the platform takes a text.
    pub(super) fn text_filter(&self, example: &str) -> Result<Option<String>, String> {
        match &self.options.filter {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!("`filter` must be a text like `{example}`, found {}", describe(other))),
        }
    }
}

/// A body that is sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// JSON.
    Json(Value),
    /// Plain text.
    Text(String),
}

/// The next thing to ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// `POST` instead of `GET`.
    pub post: bool,
    /// Path below the platform's address; a whole address where `foreign`.
    pub path: String,
    /// Query, not yet encoded.
    pub query: Vec<(String, String)>,
    /// Body.
    pub body: Body,
    /// Field of the JSON body that the driver puts the key into.
    pub key_field: Option<&'static str>,
    /// Statuses that the pager understands beside success.
    pub accepts: &'static [u16],
    /// The address is that of a store elsewhere, signed by the platform: no key goes along.
    pub foreign: bool,
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    pub(super) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { post: true, path: path.into(), body: Body::Json(body), ..Self::default() }
    }

    pub(super) fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a query where there is a value.
    pub(super) fn query_opt(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(super) fn accepting(mut self, statuses: &'static [u16]) -> Self {
        self.accepts = statuses;
        self
    }
}

/// An answer of success, or of a status the request accepts.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// The `Link` header.
    pub link: Option<String>,
    /// Body, bounded.
    pub body: Vec<u8>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as one JSON value.
    pub(super) fn json(&self) -> Result<Value, Shape> {
        crate::ingest::json::parse(&self.body).map_err(|problem| Shape::new(problem.found, "a JSON document"))
    }

    /// The body as JSON lines.
    pub(super) fn lines(&self) -> Result<Vec<Value>, Shape> {
        let lines = self.body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let value = |(at, line)| {
            crate::ingest::json::parse(line)
                .map_err(|problem| Shape::new(format!("line {}: {}", at + 1, problem.found), "one JSON value per line"))
        };
        lines.enumerate().map(value).collect()
    }
}

/// An answer that is not what the platform documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What came.
    pub found: String,
    /// What should have.
    pub expected: String,
}

impl Shape {
    pub(super) fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { found: found.into(), expected: expected.into() }
    }
}

/// What an answer holds.
#[derive(Debug, Default)]
pub struct Page {
    /// Rows for the source's reader.
    pub rows: Vec<Value>,
    /// What tells this page from the others, where it is a page of a list; the rows themselves when empty.
    pub ids: Vec<String>,
    /// Whether a page of a list was turned. Details of single rows are none.
    pub turned: bool,
    /// A token that opens the next requests.
    pub token: Option<SecretString>,
}

impl Page {
    /// A page of a list.
    pub(super) fn turned(rows: Vec<Value>) -> Self {
        Self { rows, turned: true, ..Self::default() }
    }

    /// A page of a list that names what is fetched next.
    pub(super) fn named(ids: Vec<String>) -> Self {
        Self { ids, turned: true, ..Self::default() }
    }

    /// Something beside the list.
    pub(super) fn detail(rows: Vec<Value>) -> Self {
        Self { rows, ..Self::default() }
    }
}

/// Pages through one platform.
pub trait Pager: Send {
    /// The next request; `None` when everything has been asked.
    fn next(&self) -> Option<Request>;
    /// Takes the answer to that request.
    ///
    /// # Errors
    /// When the answer is not of the documented shape.
    fn take(&mut self, answer: Answer) -> Result<Page, Shape>;
    /// Where it stands, for going on later. Repeats no row that was handed out, or those of one page.
    fn place(&self) -> Value;
    /// Told that the key was refused: whether a new token can be asked for.
    fn refused(&mut self) -> bool {
        false
    }
}

/// The place to go on from, else the first.
pub(super) fn restore<S: DeserializeOwned>(place: Option<Value>, first: S) -> Result<S, String> {
    match place {
        None => Ok(first),
        Some(place) => {
            serde_json::from_value(place).map_err(|error| format!("the place of the checkpoint is unreadable: {error}"))
        }
    }
}

/// A place as JSON.
pub(super) fn place_of(state: &impl Serialize) -> Value {
    serde_json::to_value(state).unwrap_or(Value::Null)
}

/// Takes the list under a key.
pub(super) fn list(answer: &mut Value, key: &str) -> Result<Vec<Value>, Shape> {
    match answer.get_mut(key).map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        // Protobuf's JSON leaves empty lists out; an answer without any other sign of an error is empty.
        Some(Value::Null) => Ok(Vec::new()),
        Some(other) => Err(Shape::new(format!("{} as `{key}`", describe(&other)), format!("a list as `{key}`"))),
        None => Err(Shape::new(describe(answer), format!("an object with the list `{key}`"))),
    }
}

/// A text or number at a JSON pointer, as text; empty counts as absent.
pub(super) fn text(answer: &Value, pointer: &str) -> Option<String> {
    match answer.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The texts under a key of each row.
pub(super) fn texts(rows: &[Value], pointer: &str) -> Vec<String> {
    rows.iter().filter_map(|row| text(row, pointer)).collect()
}

/// Whether a text is a UUID: what platforms call a project's id, as against its name.
pub(super) fn is_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok()
}

/// A foreign text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => safe.push(char::from(byte)),
            other => safe.push_str(&format!("%{other:02X}")),
        }
    }
    safe
}
