//! Files to examples: reads rows, maps them, merges those that share an id, and keeps account of all that happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::assemble::Assembler;
use super::error::{DatasetError, Place, Rejections, did_you_mean};
use super::extract::Extractor;
use super::mapping::FieldMapping;
use super::native;
use super::rows::{FileFormat, Limits, Row, read_rows};
use crate::model::Example;
use crate::sys::text;

/// Rows looked at to list the fields a file has, for messages.
const LOOKED_AT: u64 = 50;

/// How to read a file, apart from the mapping.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// Format; by the file's name when absent.
    pub format: Option<FileFormat>,
    /// Bounds on what is taken into memory.
    pub limits: Limits,
}

/// What an import gave.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The examples, in the order in which their ids were first met.
    pub examples: Vec<Example>,
    /// Rows that were turned away.
    pub rejected: Rejections,
    /// Rows read in all, rejected and filtered ones included.
    pub rows: u64,
    /// Rows that `where` left out.
    pub filtered: u64,
    /// Files read, in order.
    pub files: Vec<PathBuf>,
}

impl Import {
    /// How many examples each variant has recordings for; recordings without a variant are left out.
    pub fn variants(&self) -> BTreeMap<String, u64> {
        variants_of(&self.examples)
    }
}

/// How many examples each variant has recordings for.
pub(super) fn variants_of<'a>(examples: impl IntoIterator<Item = &'a Example>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for example in examples {
        let names: BTreeSet<&str> = example.recorded.iter().filter_map(|r| r.variant.as_deref()).collect();
        for name in names {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Reads one file. See [`Importer`].
pub fn import_file(path: &Path, mapping: Option<&FieldMapping>) -> Result<Import, DatasetError> {
    let mut importer = Importer::new();
    importer.add_file(path, mapping, ImportOptions::default())?;
    importer.finish()
}

/// Reads one file or several into one set of examples, such as the recordings of two variants in a file each.
#[derive(Default)]
pub struct Importer {
    assembler: Assembler,
    rejected: Rejections,
    rows: u64,
    filtered: u64,
    files: Vec<PathBuf>,
}

impl Importer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file. Without a mapping the usual names of fields are recognised.
    ///
    /// Bad rows are kept aside and counted; good rows go on.
    ///
    /// # Errors
    /// The file cannot be read, has no rows, none of its rows has a mapped field, or all of them were rejected.
    pub fn add_file(
        &mut self,
        path: &Path,
        mapping: Option<&FieldMapping>,
        options: ImportOptions,
    ) -> Result<(), DatasetError> {
        let extractor = mapping.map(Extractor::new).transpose()?;
        let number_trials = mapping.is_some_and(|mapping| mapping.number_trials);
        let pointer = mapping.and_then(|mapping| mapping.rows.as_deref());
        let mut file = FileImport { path, extractor, number_trials, known: BTreeSet::new(), count: Count::default() };
        let mut rejected = Rejections::default();
        self.assembler.begin_file(path);
        let assembler = &mut self.assembler;
        read_rows(path, options.format, pointer, options.limits, &mut |row| {
            file.count.rows += 1;
            if let Err(error) = row.and_then(|row| file.take(row, assembler)) {
                rejected.push(error);
            }
            Ok(())
        })?;
        file.check(&rejected)?;
        self.rows += file.count.rows;
        self.filtered += file.count.filtered;
        self.files.push(path.to_owned());
        let total = self.rejected.total + rejected.total;
        rejected.kept.into_iter().for_each(|error| self.rejected.push(error));
        self.rejected.total = total;
        Ok(())
    }

    /// The examples and the account.
    ///
    /// # Errors
    /// [`DatasetError::NothingSelected`] when `where` left no row.
    pub fn finish(self) -> Result<Import, DatasetError> {
        let examples = self.assembler.finish();
        if examples.is_empty() {
            let cause = format!("`where` left out all {} rows; widen it or correct its value", self.filtered);
            return Err(DatasetError::NothingSelected { cause });
        }
        let Self { rejected, rows, filtered, files, .. } = self;
        Ok(Import { examples, rejected, rows, filtered, files })
    }
}

/// One file on its way in.
struct FileImport<'a> {
    path: &'a Path,
    extractor: Option<Extractor>,
    number_trials: bool,
    known: BTreeSet<String>,
    count: Count,
}

#[derive(Default)]
struct Count {
    rows: u64,
    filtered: u64,
    taken: u64,
    with_input: u64,
}

impl FileImport<'_> {
    fn take(&mut self, row: Row, assembler: &mut Assembler) -> Result<(), super::RowError> {
        if self.count.rows <= LOOKED_AT {
            note_fields(&row.fields, "", 3, &mut self.known);
        }
        let place = Place { file: self.path, line: row.line };
        let line = row.line;
        let mut example = match &self.extractor {
            Some(extractor) if !extractor.admits(&row) => {
                self.count.filtered += 1;
                return Ok(());
            }
            Some(extractor) => extractor.example(&row, place)?,
            None => {
                self.count.with_input += u64::from(native::input_of(&row.fields).is_some());
                native::example_of(row.fields, place)?
            }
        };
        if example.lineage.file.is_none() && example.lineage.traces.is_empty() {
            example.lineage.file = Some(self.path.display().to_string());
            example.lineage.line = Some(line);
        }
        assembler.add(example, place, self.number_trials)?;
        self.count.taken += 1;
        Ok(())
    }

    /// What can only be said after the last row: the faults of the file or the mapping as a whole.
    fn check(&self, rejected: &Rejections) -> Result<(), DatasetError> {
        if self.count.rows == 0 {
            return Err(DatasetError::Empty { file: self.path.to_owned() });
        }
        if let Some((key, path)) = self.never_met() {
            let known: Vec<String> = self.known.iter().take(40).map(|name| format!("`{name}`")).collect();
            return Err(DatasetError::NoSuchField {
                file: self.path.to_owned(),
                hint: did_you_mean(&path, self.known.iter().map(String::as_str)),
                key,
                path,
                known: text::one_line(&known.join(", "), 1_000),
            });
        }
        match rejected.kept.first() {
            Some(first) if self.count.taken == 0 => Err(DatasetError::AllRejected {
                file: self.path.to_owned(),
                count: rejected.total,
                first: Box::new(first.clone()),
            }),
            _ => Ok(()),
        }
    }

    fn never_met(&self) -> Option<(String, String)> {
        // Rows that could not even be read say nothing about fields.
        if self.known.is_empty() {
            return None;
        }
        let Some(extractor) = &self.extractor else {
            return (self.count.with_input == 0).then(|| ("input".to_owned(), "input".to_owned()));
        };
        let filter = extractor.filter_never_met();
        filter.or_else(|| if self.count.filtered < self.count.rows { extractor.never_met() } else { None })
    }
}

/// Notes the paths of a row's fields, `depth` levels deep.
fn note_fields(value: &Value, prefix: &str, depth: usize, known: &mut BTreeSet<String>) {
    let Value::Object(map) = value else { return };
    for (name, inner) in map {
        if known.len() >= 500 {
            return;
        }
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if depth > 1 {
            note_fields(inner, &path, depth - 1, known);
        }
        known.insert(path);
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
