//! What can go wrong while traces are read: a whole file that cannot be used, or one row of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::redact::DetectorError;
use crate::sys::files::FileError;
use crate::sys::text;

/// Longest excerpt of foreign text in a [`Rejected`], in characters.
const EXCERPT: usize = 300;

/// An error of whoever takes the spans.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// A file that gave nothing because it could not be read at all, or a reading that was stopped.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is nothing in it.
    #[error("`{file}` is empty; check that the export that wrote it has finished")]
    Empty {
        /// The file.
        file: String,
    },
    /// Its form is known, and nothing of it can be read.
    #[error("`{file}` cannot be read as {form} ({cause}); nothing was taken from it, export it again")]
    Unreadable {
        /// The file.
        file: String,
        /// The form.
        form: &'static str,
        /// Why, in one line.
        cause: String,
    },
    /// No source knows the content.
    #[error("`{file}` is in no format known here; it begins with `{excerpt}`; give one of {known} as format")]
    Unrecognised {
        /// The file.
        file: String,
        /// How it begins.
        excerpt: String,
        /// Names of the sources.
        known: String,
    },
    /// The named source does not exist.
    #[error("no trace format is called `{format}`; known are {known}")]
    UnknownFormat {
        /// What was asked for.
        format: String,
        /// Names of the sources.
        known: String,
    },
    /// The detector of what must not be written did not answer; reading was stopped.
    #[error(
        "stopped at `{file}`: {cause}; nothing that it has not looked at was written; `on_error` under `[redact.detector]` says what happens then"
    )]
    Detector {
        /// The file being read.
        file: String,
        /// Why.
        cause: DetectorError,
    },
    /// The taker of spans failed; reading was stopped.
    #[error("stopped at `{file}`: {cause}")]
    Sink {
        /// The file being read.
        file: String,
        /// What the taker said.
        cause: SinkError,
    },
}

/// One row that was not taken; the rows around it were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The file, `-` for standard input.
    pub file: String,
    /// One-based line where the record begins; absent in binary files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The field or thing that is wrong.
    pub field: String,
    /// What was found. Hostile text, made safe for a terminal.
    pub found: String,
    /// What was expected instead, or what to do about it.
    pub expected: String,
    /// The beginning and end of the record, at most about 300 characters, made safe for a terminal.
    pub excerpt: String,
}

impl Rejected {
    /// Whether it is no row but the place where a file breaks off.
    pub fn is_cut(&self) -> bool {
        self.field != "record" && self.found.starts_with("cut off")
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        write!(f, ": {} is {}; expected {}", self.field, self.found, self.expected)
    }
}

/// What is wrong with a row, before it is known where the row stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) field: String,
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), found: found.into(), expected: expected.into() }
    }

    pub(crate) fn at(self, file: &str, line: Option<u64>, record: &[u8]) -> Rejected {
        Rejected {
            file: file.to_owned(),
            line,
            field: self.field,
            found: text::one_line(&self.found, EXCERPT),
            expected: self.expected,
            excerpt: excerpt(record),
        }
    }
}

/// The head of foreign bytes as one safe line. Looks at no more than it shows, since records may be huge.
pub(crate) fn excerpt(record: &[u8]) -> String {
    let head = record.get(..4 * EXCERPT).unwrap_or(record);
    let mut line = text::one_line(&String::from_utf8_lossy(head), EXCERPT);
    // Escaping can lengthen the line again.
    if let Some((end, _)) = line.char_indices().nth(EXCERPT) {
        line.truncate(end);
    }
    line
}
