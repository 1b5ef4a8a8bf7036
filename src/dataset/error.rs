//! What can go wrong with datasets: one bad row, or the whole thing.
//!
//! A [`RowError`] is about one row and never stops the others; a [`DatasetError`] stops.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::model::ExampleId;
use crate::sys::files::FileError;
use crate::sys::text;

/// How much of a foreign value a message shows, in characters.
const SHOWN: usize = 80;

/// How many rejected rows are kept word for word; the rest are only counted.
const KEPT: usize = 1_000;

/// One row that was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The file.
    pub file: PathBuf,
    /// One-based line, or row where the format has no lines (JSON arrays, Parquet).
    pub line: u64,
    /// The field as the mapping or the row names it; empty when the row as a whole is at fault.
    pub field: String,
    /// What was there; safe to print.
    pub found: String,
    /// What should have been there.
    pub expected: String,
}

impl RowError {
    /// An error at a place; foreign text in `found` is made safe and short.
    pub fn new(place: Place<'_>, field: &str, found: &str, expected: impl Into<String>) -> Self {
        Self {
            file: place.file.to_owned(),
            line: place.line,
            field: text::one_line(field, SHOWN),
            found: text::one_line(found, SHOWN * 3),
            expected: expected.into(),
        }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` line {}", self.file.display(), self.line)?;
        if !self.field.is_empty() {
            write!(f, ", field `{}`", self.field)?;
        }
        write!(f, ": found {}, expected {}", self.found, self.expected)
    }
}

impl std::error::Error for RowError {}

/// A row's place.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file.
    pub file: &'a Path,
    /// One-based line or row.
    pub line: u64,
}

impl Place<'_> {
    /// `file:line`, for naming the other of two rows.
    pub fn short(&self) -> String {
        format!("`{}` line {}", self.file.display(), self.line)
    }
}

/// Shows a foreign value in a message: quoted, safe, short.
pub(super) fn shown(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(map) => {
            let keys: Vec<&str> = map.keys().map(String::as_str).take(6).collect();
            format!("an object with {}", text::one_line(&keys.join(", "), SHOWN))
        }
        Value::String(content) => format!("`{}`", text::one_line(content, SHOWN)),
        scalar => format!("`{scalar}`"),
    }
}

/// Rejected rows: the first thousand in words, all of them counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    /// The first ones.
    pub kept: Vec<RowError>,
    /// How many there are in all.
    pub total: u64,
}

impl Rejections {
    /// Adds one.
    pub fn push(&mut self, error: RowError) {
        self.total += 1;
        if self.kept.len() < KEPT {
            self.kept.push(error);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

/// A dataset cannot be read, made or found.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// One row, where a single row was asked for.
    #[error("{0}")]
    Row(Box<RowError>),
    /// The file as a whole is not what its format says.
    #[error("cannot read `{}` as {format}: {cause}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// `CSV`, `JSON`, `JSONL`, `Parquet`.
        format: &'static str,
        /// What is wrong, and how to mend it.
        cause: String,
    },
    /// The file has no rows at all.
    #[error("`{}` holds no rows; a dataset needs at least one", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// Every row was turned away.
    #[error("all {count} rows of `{}` were rejected; the first: {first}", file.display())]
    AllRejected {
        /// The file.
        file: PathBuf,
        /// How many.
        count: u64,
        /// The first reason.
        first: Box<RowError>,
    },
    /// No row has a mapped field.
    #[error("no row of `{}` has the field `{path}` that the mapping names for `{key}`{hint}; it has: {known}", file.display())]
    NoSuchField {
        /// The file.
        file: PathBuf,
        /// Key of the mapping.
        key: String,
        /// The path it names.
        path: String,
        /// A suggestion, or nothing.
        hint: String,
        /// Fields that exist.
        known: String,
    },
    /// No format of that name.
    #[error("no dataset format is called `{name}`{hint}; known are {known}")]
    UnknownFormat {
        /// The name; safe to print.
        name: String,
        /// A suggestion, or nothing.
        hint: String,
        /// Names there are.
        known: String,
    },
    /// The mapping itself is wrong.
    #[error("field mapping is wrong at `{key}`: {cause}")]
    Mapping {
        /// Key of the mapping.
        key: String,
        /// Why, and what would be right.
        cause: String,
    },
    /// An example has no JSON form.
    #[error("example `{id}` cannot be written as JSON: {cause}")]
    Unwritable {
        /// The example.
        id: ExampleId,
        /// Why.
        cause: String,
    },
    /// Nothing is left to work with.
    #[error("nothing selected: {cause}")]
    NothingSelected {
        /// What was asked of what, and how to widen it.
        cause: String,
    },
    /// Two examples share an id.
    #[error("duplicate id `{id}`: {first} and {second}; give each example its own `id`")]
    DuplicateId {
        /// The id.
        id: ExampleId,
        /// One place.
        first: String,
        /// The other place.
        second: String,
    },
    /// A name that cannot be a folder everywhere.
    #[error("dataset name `{name}` is not allowed: {cause}; use letters, digits, `-`, `_` and `.`")]
    Name {
        /// The name; safe to print.
        name: String,
        /// Why.
        cause: &'static str,
    },
    /// No such dataset.
    #[error("no dataset `{name}` in `{}`{hint}", root.display())]
    NoSuchDataset {
        /// The name; safe to print.
        name: String,
        /// Folder of all datasets.
        root: PathBuf,
        /// What there is instead.
        hint: String,
    },
    /// No such version.
    #[error("dataset `{name}` has no version {version}; it has {have}")]
    NoSuchVersion {
        /// The name.
        name: String,
        /// What was asked for.
        version: String,
        /// What there is.
        have: String,
    },
    /// A version's files do not belong together.
    #[error("dataset version `{}` is damaged: {cause}; versions are immutable: restore it from where it came, or import the edited examples as a new version", folder.display())]
    Damaged {
        /// Folder of the version.
        folder: PathBuf,
        /// What does not fit.
        cause: String,
    },
    /// Neither a split nor a saved slice has that name, or nothing stands in it.
    #[error("`{reference}` has no part `{part}`{hint}")]
    NoSuchPart {
        /// `name@version`.
        reference: String,
        /// What was asked for; safe to print.
        part: String,
        /// What there is instead.
        hint: String,
    },
    /// The division into splits is wrong.
    #[error("cannot split by `{key}`: {cause}")]
    Split {
        /// Argument that is wrong.
        key: String,
        /// Why, and what would be right.
        cause: String,
    },
    /// A later version would change the frozen holdout.
    #[error(
        "the holdout of `{name}` is frozen since version {since} and this would change {count} of its examples: {first}; \
         keep them as they are, or say why they may change, with `--thaw REASON` of `sample` and `dataset import`, or \
         with `assize dataset split {name} --thaw REASON` before another edit"
    )]
    Frozen {
        /// The dataset.
        name: String,
        /// Version in which it was frozen.
        since: u32,
        /// How many examples would change.
        count: u64,
        /// The first of them, with what would happen to it.
        first: String,
    },
    /// An attachment is missing or is not what its digest says.
    #[error("attachment `{name}` ({digest}) {cause}")]
    Attachment {
        /// Its name; safe to print.
        name: String,
        /// Its digest, shortened; safe to print.
        digest: String,
        /// What is wrong, and how to mend it.
        cause: String,
    },
    /// The sampling plan is wrong.
    #[error("sampling plan is wrong at {}: {cause}", key_and_flag(key))]
    Plan {
        /// Key of the plan.
        key: String,
        /// Why, and what would be right.
        cause: String,
    },
}

impl DatasetError {
    /// Whether it is about the content of one file, so that others beside it can still be used.
    pub fn is_of_one_file(&self) -> bool {
        matches!(self, Self::AllRejected { .. } | Self::Empty { .. } | Self::Format { .. })
    }
}

/// Flags of `assize sample` for keys of a plan, where the names differ.
const FLAGS: &[(&str, &str)] = &[
    ("n", "--count"),
    ("stratify_by", "--stratify"),
    ("near_duplicates.threshold", "--near-duplicates"),
    ("risk.floor", "--risk-floor"),
];

/// A key of a plan as people know it: with its flag where that has another name.
fn key_and_flag(key: &str) -> String {
    let flag = FLAGS.iter().find(|(known, _)| *known == key).map(|(_, flag)| format!(" (`{flag}`)"));
    format!("`{key}`{}", flag.unwrap_or_default())
}

impl From<RowError> for DatasetError {
    fn from(error: RowError) -> Self {
        Self::Row(Box::new(error))
    }
}

/// `; did you mean ...?` for the nearest known name, or nothing when none is near.
pub(super) fn did_you_mean<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = text::nearest(wanted, known);
    nearest.map_or_else(String::new, |name| format!("; did you mean `{}`?", text::one_line(name, SHOWN)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_error_names_file_line_field_found_and_expected() {
        let place = Place { file: Path::new("data.csv"), line: 7 };
        let error = RowError::new(place, "cost", &shown(&json!("\u{1b}[31mfree")), "a number");
        assert_eq!(error.to_string(), "`data.csv` line 7, field `cost`: found `\\u{1b}[31mfree`, expected a number");
    }

    #[test]
    fn the_nearest_name_is_offered_and_only_when_near() {
        assert_eq!(did_you_mean("instnce_id", ["instance_id", "cost"]), "; did you mean `instance_id`?");
        assert_eq!(did_you_mean("zzz", ["instance_id", "cost"]), "");
    }

    #[test]
    fn rejections_are_counted_beyond_those_kept() {
        let mut rejections = Rejections::default();
        for line in 0..1_500 {
            rejections.push(RowError::new(Place { file: Path::new("f"), line }, "", "x", "y"));
        }
        assert_eq!((rejections.kept.len(), rejections.total), (1_000, 1_500));
    }
}
