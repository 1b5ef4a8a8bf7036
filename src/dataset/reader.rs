//! Reads a dataset example by example in bounded memory, wherever it lives: a version on disk or a plain file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::digest::{TaskDigester, digest_of};
use super::dimension::example_dimension;
use super::error::{DatasetError, Rejections};
use super::filter::Filter;
use super::import::{ImportOptions, Importer, variants_of};
use super::lines::example_of_line;
use super::mapping::FieldMapping;
use super::version::{EXAMPLES, FORMAT, damaged, read_header, resolve};
use crate::model::{DatasetHeader, Digest, Example, ExampleId};
use crate::sys::files::LineFile;
use crate::sys::{Clock, text};

/// A dataset that can be read in any order. Holds the ids and, for a version, where each line begins.
pub struct DatasetReader {
    header: DatasetHeader,
    source: Source,
    places: HashMap<ExampleId, usize>,
    rejected: Rejections,
}

enum Source {
    Lines(Box<Lines>),
    Memory(Vec<Example>),
}

/// A version on disk: all of its lines, and which of them are meant.
struct Lines {
    folder: PathBuf,
    path: PathBuf,
    lines: LineFile,
    /// Digests of the whole version, as its head has them.
    sealed: (Digest, Digest),
    /// Lines of the part that is meant; `None` for all.
    chosen: Option<Vec<usize>>,
}

impl Lines {
    /// The example on a line of the file; `None` beyond its end.
    fn on_line(&self, line: usize) -> Result<Option<Example>, DatasetError> {
        let Some(bytes) = self.lines.line(line)? else { return Ok(None) };
        Ok(Some(example_of_line(&bytes, &self.path, line as u64 + 1)?))
    }
}

/// The part of a line that says whose it is; the rest is skipped without being built.
#[derive(Deserialize)]
struct IdOnly {
    id: ExampleId,
}

impl DatasetReader {
    /// Opens `name`, `name@3` or a part of one, `name@3:holdout`, below the root of all datasets.
    ///
    /// # Errors
    /// No such version or part, or its files do not belong together (lines missing, ids twice).
    pub fn open(root: &Path, wanted: &str) -> Result<Self, DatasetError> {
        let found = resolve(root, wanted)?;
        let whole = Self::open_folder(&found.folder)?;
        match &found.part {
            Some(part) => whole.part(part),
            None => Ok(whole),
        }
    }

    /// The part of a dataset that stands in a split or fits a saved slice; a split of that name comes first. Digests
    /// and counts of the head become those of the part.
    ///
    /// # Errors
    /// No example stands there, or one cannot be read.
    pub fn part(mut self, name: &str) -> Result<Self, DatasetError> {
        let mut splits = std::collections::BTreeSet::new();
        for example in self.iter() {
            splits.extend(example?.split);
        }
        let slice = self.header.slices.get(name).filter(|_| !splits.contains(name));
        let filter = match slice {
            Some(text) => {
                Some(Filter::parse_with(text, &self.header.slices).map_err(|error| self.no_part(name, error))?)
            }
            None => None,
        };
        let belongs = |example: &Example| match &filter {
            Some(filter) => filter.matches(|name| example_dimension(example, name)),
            None => example.split.as_deref() == Some(name),
        };
        let (mut chosen, mut digester, mut places) = (Vec::new(), TaskDigester::new(), HashMap::new());
        let mut variants = std::collections::BTreeMap::new();
        for index in 0..self.len() {
            let example = self.example(index)?;
            if belongs(&example) {
                digester.push(&example);
                for (variant, count) in variants_of([&example]) {
                    *variants.entry(variant).or_default() += count;
                }
                places.insert(example.id, chosen.len());
                chosen.push(index);
            }
        }
        if chosen.is_empty() {
            let have: Vec<&str> =
                splits.iter().chain(self.header.slices.keys()).map(String::as_str).filter(|n| *n != name).collect();
            let hint = if have.is_empty() {
                "nothing else; `assize dataset split` makes splits".into()
            } else {
                have.join(", ")
            };
            return Err(self.no_part(name, format!("no example stands there; there is {}", text::one_line(&hint, 300))));
        }
        (self.header.digest, self.header.recorded_digest) = digester.finish();
        self.header.examples = chosen.len() as u64;
        self.header.variants = variants;
        self.header.part = Some(name.to_owned());
        self.places = places;
        match &mut self.source {
            Source::Lines(lines) => lines.chosen = Some(chosen),
            Source::Memory(examples) => {
                let mut index = 0;
                examples.retain(|_| {
                    index += 1;
                    chosen.binary_search(&(index - 1)).is_ok()
                });
            }
        }
        Ok(self)
    }

    fn no_part(&self, part: &str, why: impl std::fmt::Display) -> DatasetError {
        DatasetError::NoSuchPart {
            reference: format!("{}@{}", self.header.name, self.header.version),
            part: text::one_line(part, 80),
            hint: format!(": {why}"),
        }
    }

    /// Opens a version by its folder.
    ///
    /// # Errors
    /// As [`DatasetReader::open`].
    pub fn open_folder(folder: &Path) -> Result<Self, DatasetError> {
        let header = read_header(folder)?;
        let path = folder.join(EXAMPLES);
        let lines = LineFile::open(&path)?;
        if lines.len() as u64 != header.examples {
            let cause = format!("`{EXAMPLES}` has {} lines, its head says {}", lines.len(), header.examples);
            return Err(damaged(folder, cause));
        }
        let mut places = HashMap::with_capacity(lines.len());
        for index in 0..lines.len() {
            let line = lines.line(index)?.unwrap_or_default();
            let id = match serde_json::from_slice::<IdOnly>(&line) {
                Ok(found) => found.id,
                Err(_) => example_of_line(&line, &path, index as u64 + 1)?.id,
            };
            if let Some(first) = places.insert(id.clone(), index) {
                let place = |index: usize| format!("`{}` line {}", path.display(), index + 1);
                return Err(DatasetError::DuplicateId { id, first: place(first), second: place(index) });
            }
        }
        let sealed = (header.digest.clone(), header.recorded_digest.clone());
        let lines = Lines { folder: folder.to_owned(), path, lines, sealed, chosen: None };
        let source = Source::Lines(Box::new(lines));
        Ok(Self { header, source, places, rejected: Rejections::default() })
    }

    /// A dataset of examples in memory, as version 0: not yet written, or never to be.
    ///
    /// # Errors
    /// Two examples share an id.
    pub fn of_examples(name: &str, examples: Vec<Example>, clock: &dyn Clock) -> Result<Self, DatasetError> {
        let (digest, recorded_digest) = digest_of(&examples);
        let header = DatasetHeader {
            format: FORMAT,
            name: name.to_owned(),
            version: 0,
            part: None,
            digest,
            recorded_digest,
            examples: examples.len() as u64,
            created_at: clock.now(),
            description: None,
            sources: Vec::new(),
            design: None,
            variants: variants_of(&examples),
            splits: None,
            slices: std::collections::BTreeMap::new(),
            parent: None,
            operation: None,
        };
        let mut places = HashMap::with_capacity(examples.len());
        for (index, example) in examples.iter().enumerate() {
            if let Some(first) = places.insert(example.id.clone(), index) {
                let place = |index: usize| format!("example {}", index + 1);
                let (first, second) = (place(first), place(index));
                return Err(DatasetError::DuplicateId { id: example.id.clone(), first, second });
            }
        }
        Ok(Self { header, source: Source::Memory(examples), places, rejected: Rejections::default() })
    }

    /// The head.
    pub fn header(&self) -> &DatasetHeader {
        &self.header
    }

    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Rows of a plain file that were turned away; none for a version.
    pub fn rejected(&self) -> &Rejections {
        &self.rejected
    }

    /// Place of an example by its id.
    pub fn position(&self, id: &ExampleId) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// One example by its place from 0.
    ///
    /// # Errors
    /// The place is beyond the end, or its line cannot be read.
    pub fn example(&self, index: usize) -> Result<Example, DatasetError> {
        let beyond = || DatasetError::NothingSelected {
            cause: format!(
                "`{}` has {} examples, number {} was asked for",
                self.header.reference(),
                self.len(),
                index + 1
            ),
        };
        match &self.source {
            Source::Memory(examples) => examples.get(index).cloned().ok_or_else(beyond),
            Source::Lines(lines) => {
                let line = match &lines.chosen {
                    Some(chosen) => *chosen.get(index).ok_or_else(beyond)?,
                    None => index,
                };
                lines.on_line(line)?.ok_or_else(beyond)
            }
        }
    }

    /// One example by its id; `None` when there is none.
    ///
    /// # Errors
    /// Its line cannot be read.
    pub fn find(&self, id: &ExampleId) -> Result<Option<Example>, DatasetError> {
        self.position(id).map(|index| self.example(index)).transpose()
    }

    /// All examples in order, one in memory at a time.
    pub fn iter(&self) -> impl Iterator<Item = Result<Example, DatasetError>> {
        (0..self.len()).map(|index| self.example(index))
    }

    /// Reads every example of the whole version and compares both digests with its head.
    ///
    /// # Errors
    /// [`DatasetError::Damaged`] when someone edited the version by hand.
    pub fn verify(&self) -> Result<(), DatasetError> {
        let Source::Lines(whole) = &self.source else { return Ok(()) };
        let mut digester = TaskDigester::new();
        for line in 0..whole.lines.len() {
            if let Some(example) = whole.on_line(line)? {
                digester.push(&example);
            }
        }
        let (digest, recorded_digest) = digester.finish();
        let cause = match (digest == whole.sealed.0, recorded_digest == whole.sealed.1) {
            (true, true) => return Ok(()),
            (false, _) => "inputs, references or other parts of the task do not match the digest in its head",
            (true, false) => "recorded outputs, labels, tags or splits do not match the digest in its head",
        };
        Err(damaged(&whole.folder, cause.to_owned()))
    }
}

/// Reads a plain file (JSONL, JSON, CSV, Parquet) as a dataset in memory: version 0, named after the file.
///
/// Rejected rows are in [`DatasetReader::rejected`]; whether a suite goes on without them is the caller's choice.
///
/// # Errors
/// As [`Importer::add_file`].
pub fn open_file(
    path: &Path,
    mapping: Option<&FieldMapping>,
    clock: &dyn Clock,
) -> Result<DatasetReader, DatasetError> {
    let mut importer = Importer::new();
    importer.add_file(path, mapping, ImportOptions::default())?;
    let import = importer.finish()?;
    let mut reader = DatasetReader::of_examples(&name_of(path), import.examples, clock)?;
    reader.header.sources = vec![path.display().to_string()];
    reader.rejected = import.rejected;
    Ok(reader)
}

/// The file's name without its endings, odd characters replaced.
fn name_of(path: &Path) -> String {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = file.split('.').find(|part| !part.is_empty()).unwrap_or("dataset");
    stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
