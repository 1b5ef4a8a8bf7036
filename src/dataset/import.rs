//! Files to examples: reads rows, maps them, merges those that share an id, and keeps account of all that happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::assemble::Assembler;
use super::error::{DatasetError, Place, Rejections, did_you_mean};
use super::extract::Extractor;
use super::formats::{self, FormatInfo};
use super::join::Join;
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
    /// How the rows are written; by the file's name when absent.
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
    /// Formats of other tools that were met.
    pub recognised: Vec<Recognised>,
}

/// A format of another tool that a file was read as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recognised {
    /// The file.
    pub file: PathBuf,
    /// Name of the format.
    pub format: &'static str,
    /// Why that one.
    pub why: String,
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
    recognised: Vec<Recognised>,
}

impl Importer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file. Without a mapping the formats of other tools are recognised, then the usual names of fields.
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
        if mapping.is_none()
            && options.format.is_none()
            && let Some((format, why)) = formats::recognise(path, options.limits)?
        {
            return self.add_format(path, format, why, options.limits);
        }
        self.add_rows(path, mapping, options)
    }

    /// Reads a file as one of a format of another tool; `why` is said to the user.
    ///
    /// # Errors
    /// The file cannot be read, has no rows, or all of them were rejected.
    pub fn add_format(
        &mut self,
        path: &Path,
        format: &'static FormatInfo,
        why: String,
        limits: Limits,
    ) -> Result<(), DatasetError> {
        let mut count = Count::default();
        let mut rejected = Rejections::default();
        self.assembler.begin_file(path);
        let assembler = &mut self.assembler;
        format.open(path, limits, &mut |row| {
            count.rows += 1;
            let taken = row.and_then(|row| {
                let place = Place { file: path, line: row.line };
                let examples = format.examples(row.fields, place)?;
                count.filtered += u64::from(examples.is_empty());
                examples.into_iter().try_for_each(|mut example| {
                    locate(&mut example, place);
                    assembler.add(example, place, format.number_trials)?;
                    count.taken += 1;
                    Ok(())
                })
            });
            if let Err(error) = taken {
                rejected.push(error);
            }
            Ok(())
        })?;
        check_rows(path, &count, &rejected)?;
        self.recognised.push(Recognised { file: path.to_owned(), format: format.name, why });
        self.account(path, &count, rejected);
        Ok(())
    }

    /// Reads a file by a mapping, or by the usual names of fields whatever its content looks like.
    ///
    /// # Errors
    /// As [`Self::add_file`].
    pub fn add_rows(
        &mut self,
        path: &Path,
        mapping: Option<&FieldMapping>,
        options: ImportOptions,
    ) -> Result<(), DatasetError> {
        let extractor = mapping.map(Extractor::new).transpose()?;
        let joins = mapping.and_then(|mapping| mapping.join.as_ref()).map_or(&[][..], |joins| joins.as_slice());
        let joins = joins.iter().map(|rule| Join::open(rule, path, options.limits)).collect::<Result<_, _>>()?;
        let number_trials = mapping.is_some_and(|mapping| mapping.number_trials);
        let pointer = mapping.and_then(|mapping| mapping.rows.as_deref());
        let known = BTreeSet::new();
        let mut file = FileImport { path, extractor, joins, number_trials, known, count: Count::default() };
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
        self.account(path, &file.count, rejected);
        Ok(())
    }

    fn account(&mut self, path: &Path, count: &Count, rejected: Rejections) {
        self.rows += count.rows;
        self.filtered += count.filtered;
        self.files.push(path.to_owned());
        let total = self.rejected.total + rejected.total;
        rejected.kept.into_iter().for_each(|error| self.rejected.push(error));
        self.rejected.total = total;
    }

    /// The examples and the account.
    ///
    /// # Errors
    /// [`DatasetError::NothingSelected`] when `where` left no row.
    pub fn finish(self) -> Result<Import, DatasetError> {
        let examples = self.assembler.finish();
        if examples.is_empty() {
            let cause = match self.recognised.first() {
                Some(recognised) => {
                    format!("the {} rows of `{}` hold no example", self.rows, recognised.file.display())
                }
                None => format!("`where` left out all {} rows; widen it or correct its value", self.filtered),
            };
            return Err(DatasetError::NothingSelected { cause });
        }
        let Self { rejected, rows, filtered, files, recognised, .. } = self;
        Ok(Import { examples, rejected, rows, filtered, files, recognised })
    }
}

/// One file on its way in.
struct FileImport<'a> {
    path: &'a Path,
    extractor: Option<Extractor>,
    joins: Vec<Join>,
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
    fn take(&mut self, mut row: Row, assembler: &mut Assembler) -> Result<(), super::RowError> {
        let place = Place { file: self.path, line: row.line };
        self.joins.iter().try_for_each(|join| join.apply(&mut row, place))?;
        if self.count.rows <= LOOKED_AT {
            note_fields(&row.fields, "", 3, &mut self.known);
        }
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
        locate(&mut example, place);
        assembler.add(example, place, self.number_trials)?;
        self.count.taken += 1;
        Ok(())
    }

    /// What can only be said after the last row: the faults of the file or the mapping as a whole.
    fn check(&self, rejected: &Rejections) -> Result<(), DatasetError> {
        if self.count.rows > 0
            && let Some((key, path)) = self.never_met()
        {
            let known: Vec<String> = self.known.iter().take(40).map(|name| format!("`{name}`")).collect();
            return Err(DatasetError::NoSuchField {
                file: self.path.to_owned(),
                hint: did_you_mean(&path, self.known.iter().map(String::as_str)),
                key,
                path,
                known: text::one_line(&known.join(", "), 1_000),
            });
        }
        check_rows(self.path, &self.count, rejected)
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

/// Says where an example was read, unless it says itself where it comes from.
fn locate(example: &mut Example, place: Place<'_>) {
    if example.lineage.file.is_none() && example.lineage.traces.is_empty() {
        example.lineage.file = Some(place.file.display().to_string());
        example.lineage.line = Some(place.line);
    }
}

/// A file without rows, or without a good one, is an error.
fn check_rows(path: &Path, count: &Count, rejected: &Rejections) -> Result<(), DatasetError> {
    if count.rows == 0 {
        return Err(DatasetError::Empty { file: path.to_owned() });
    }
    match rejected.kept.first() {
        Some(first) if count.taken == 0 => Err(DatasetError::AllRejected {
            file: path.to_owned(),
            count: rejected.total,
            first: Box::new(first.clone()),
        }),
        _ => Ok(()),
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
