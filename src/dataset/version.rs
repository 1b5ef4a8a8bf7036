//! Immutable dataset versions on disk: `<root>/<name>/<version>/{dataset.json, examples.jsonl}`.
//!
//! A version appears whole or not at all and is never written again. Reading one is `reader`'s.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::digest::TaskDigester;
use super::error::{DatasetError, did_you_mean};
use super::filter::Slices;
use super::import::variants_of;
use super::lines::{example_of_line, line_of_example};
use super::{attachments, splits};
use crate::model::{
    DatasetHeader, Digest, Example, ExampleId, Lineage, Operation, Parent, SampleDesign, Splits, TraceId,
};
use crate::sys::{Clock, files, text};

/// Format of the files this program writes and reads.
pub const FORMAT: u32 = 1;
/// Name of the head's file.
pub(super) const HEAD: &str = "dataset.json";
/// Name of the file of examples.
pub(super) const EXAMPLES: &str = "examples.jsonl";

/// Where the examples of a new version come from.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// What the dataset is, in words.
    pub description: Option<String>,
    /// Files, or the lake.
    pub sources: Vec<String>,
    /// How it was sampled; absent when it was taken whole.
    pub design: Option<SampleDesign>,
}

/// What a new version does to the one before it, beside its examples.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What is done.
    pub operation: Operation,
    /// Version the examples were taken from; the latest when absent.
    pub parent: Option<Parent>,
    /// Another division into splits; the latest version's when absent.
    pub splits: Option<Splits>,
    /// Freezes the holdout of this version.
    pub freeze: bool,
    /// Lifts the freeze of the latest version: its holdout may change.
    pub thaw: bool,
    /// Other saved slices; the latest version's when absent.
    pub slices: Option<Slices>,
}

/// What [`write_version`] did.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// A new version was written.
    New(DatasetHeader),
    /// The latest version has the same examples; nothing was written.
    Unchanged(DatasetHeader),
}

impl Written {
    /// The head of the version that holds the examples now.
    pub fn header(&self) -> &DatasetHeader {
        match self {
            Self::New(header) | Self::Unchanged(header) => header,
        }
    }
}

/// A version that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetRef {
    /// Name.
    pub name: String,
    /// Version, from 1.
    pub version: u32,
    /// Its folder.
    pub folder: PathBuf,
    /// Part that is meant, a split or a saved slice; absent for the whole.
    pub part: Option<String>,
}

/// Whether a name is safe as a folder on every system: 1 to 100 letters, digits, `-`, `_`, `.` of ASCII, not
/// beginning with `.` or `-`, not a reserved device name.
///
/// # Errors
/// [`DatasetError::Name`] says why not.
pub fn check_name(name: &str) -> Result<(), DatasetError> {
    const RESERVED: &[&str] = &["con", "prn", "aux", "nul"];
    let device = |stem: &str| {
        let numbered = stem.len() == 4 && (stem.starts_with("com") || stem.starts_with("lpt"));
        RESERVED.contains(&stem) || (numbered && stem.ends_with(|c: char| c.is_ascii_digit()))
    };
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let cause = match name {
        "" => "it is empty",
        long if long.len() > 100 => "it is longer than 100 characters",
        odd if !odd.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) => {
            "it holds another character"
        }
        hidden if hidden.starts_with(['.', '-']) => "it begins with `.` or `-`",
        dotted if dotted.ends_with('.') => "it ends with `.`",
        _ if device(&stem) => "it is the name of a device on some systems",
        _ => return Ok(()),
    };
    Err(DatasetError::Name { name: text::one_line(name, 80), cause })
}

/// Writes examples as the next version of a dataset, unless the latest version holds the same. Splits and slices of
/// the latest version go on; new examples get their split by its rule.
///
/// # Errors
/// The name is not allowed, there are no examples, two share an id, an attachment is not kept, the frozen holdout would
/// change, or a file cannot be written.
pub fn write_version(
    root: &Path,
    name: &str,
    examples: &[Example],
    provenance: Provenance,
    clock: &dyn Clock,
) -> Result<Written, DatasetError> {
    let operation = Operation::new(if provenance.design.is_some() { "sample" } else { "import" });
    let change = Change { operation, ..Change::default() };
    write_change(root, name, examples.to_vec(), provenance, change, clock)
}

/// Writes examples as the next version, saying what is done. See [`write_version`].
///
/// # Errors
/// As [`write_version`].
pub fn write_change(
    root: &Path,
    name: &str,
    mut examples: Vec<Example>,
    provenance: Provenance,
    change: Change,
    clock: &dyn Clock,
) -> Result<Written, DatasetError> {
    check_name(name)?;
    if examples.is_empty() {
        let cause = format!("dataset `{name}` would have no examples");
        return Err(DatasetError::NothingSelected { cause });
    }
    check_ids(&examples)?;
    attachments::check_kept(root, name, &examples)?;
    let latest = latest(root, name)?;
    let mut rule = change.splits.clone().or_else(|| latest.as_ref().and_then(|latest| latest.splits.clone()));
    if let Some(splits) = &rule {
        splits::assign(splits, &mut examples)?;
    }
    if let Some(latest) = latest.as_ref().filter(|_| !change.thaw) {
        splits::check_frozen(root, latest, &examples)?;
    }
    let (body, digest, recorded_digest) = body_of(&examples)?;
    let before = latest.as_ref().map_or(0, |latest| latest.version);
    if let Some(splits) = &mut rule {
        let earlier = latest.as_ref().and_then(|latest| latest.splits.as_ref()?.frozen.as_ref()).map(|f| f.since);
        let earlier = earlier.filter(|_| !change.thaw);
        let freeze = change.freeze || earlier.is_some();
        splits.frozen = freeze.then(|| splits::frozen(&examples, earlier.unwrap_or(before + 1)));
    }
    let slices = change.slices.or_else(|| latest.as_ref().map(|latest| latest.slices.clone())).unwrap_or_default();
    if let Some(latest) = &latest {
        let same = latest.digest == digest && latest.recorded_digest == recorded_digest;
        if same && latest.splits == rule && latest.slices == slices {
            return Ok(Written::Unchanged(latest.clone()));
        }
    }
    let header = DatasetHeader {
        format: FORMAT,
        name: name.to_owned(),
        version: before + 1,
        part: None,
        digest,
        recorded_digest,
        examples: examples.len() as u64,
        created_at: clock.now(),
        description: provenance.description,
        sources: provenance.sources,
        design: provenance.design,
        variants: variants_of(&examples),
        splits: rule,
        slices,
        parent: change.parent.or_else(|| latest.as_ref().map(parent_of)),
        operation: Some(change.operation),
    };
    publish(root, header, &body)
}

fn publish(root: &Path, mut header: DatasetHeader, body: &str) -> Result<Written, DatasetError> {
    // Another process may take the number first; then the next one is tried. The bound only ends a broken file system.
    for _ in 0..1_000 {
        let folder = folder_of(root, &header.name, header.version);
        let head = serde_json::to_string_pretty(&header).map_err(|error| damaged(&folder, error.to_string()))?;
        if files::publish_folder(&folder, &[(HEAD, head.as_bytes()), (EXAMPLES, body.as_bytes())])? {
            return Ok(Written::New(header));
        }
        header.version += 1;
    }
    Err(damaged(&folder_of(root, &header.name, header.version), "no free version number was found".to_owned()))
}

/// What a version made from this one remembers of it.
pub fn parent_of(header: &DatasetHeader) -> Parent {
    Parent { version: header.version, digest: header.digest.clone(), recorded_digest: header.recorded_digest.clone() }
}

/// The head of the latest version, if there is one.
fn latest(root: &Path, name: &str) -> Result<Option<DatasetHeader>, DatasetError> {
    let latest = versions(root, name)?.into_iter().max();
    latest.map(|version| read_header(&folder_of(root, name, version))).transpose()
}

/// Heads of all versions of a dataset, oldest first.
///
/// # Errors
/// No such dataset, or a head cannot be read.
pub fn history(root: &Path, name: &str) -> Result<Vec<DatasetHeader>, DatasetError> {
    resolve(root, name)?;
    versions(root, name)?.into_iter().map(|version| read_header(&folder_of(root, name, version))).collect()
}

/// The lines of the examples and their digests. Digests are taken of what the lines say when read again: JSON does
/// not tell a null from an absent field, and a version must match its own digest.
fn body_of(examples: &[Example]) -> Result<(String, Digest, Digest), DatasetError> {
    let mut body = String::new();
    let mut digester = TaskDigester::new();
    for (index, example) in examples.iter().enumerate() {
        let line = line_of_example(example)?;
        digester.push(&example_of_line(line.as_bytes(), Path::new(EXAMPLES), index as u64 + 1)?);
        body.push_str(&line);
        body.push('\n');
    }
    let (digest, recorded_digest) = digester.finish();
    Ok((body, digest, recorded_digest))
}

fn check_ids(examples: &[Example]) -> Result<(), DatasetError> {
    let mut seen: HashMap<&ExampleId, usize> = HashMap::with_capacity(examples.len());
    for (index, example) in examples.iter().enumerate() {
        if let Some(first) = seen.insert(&example.id, index) {
            let place = |index: usize| match examples.get(index).map(|example| &example.lineage) {
                Some(lineage) => match (&lineage.file, lineage.line) {
                    (Some(file), Some(line)) => format!("`{file}` line {line}"),
                    _ => format!("example {}", index + 1),
                },
                None => format!("example {}", index + 1),
            };
            return Err(DatasetError::DuplicateId {
                id: example.id.clone(),
                first: place(first),
                second: place(index),
            });
        }
    }
    Ok(())
}

pub(super) fn damaged(folder: &Path, cause: String) -> DatasetError {
    DatasetError::Damaged { folder: folder.to_owned(), cause }
}

pub(super) fn folder_of(root: &Path, name: &str, version: u32) -> PathBuf {
    root.join(name).join(version.to_string())
}

/// The head of a version.
///
/// # Errors
/// It is missing, unreadable, or of a newer format.
pub(super) fn read_header(folder: &Path) -> Result<DatasetHeader, DatasetError> {
    let path = folder.join(HEAD);
    let text = files::read_text(&path)?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| damaged(folder, format!("`{HEAD}` is not JSON: {error}")))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        let found = format.map_or("none".to_owned(), |format| format.to_string());
        let cause = format!("its format is {found}, this program reads {FORMAT}; a newer program may have written it");
        return Err(damaged(folder, cause));
    }
    serde_json::from_value(value).map_err(|error| damaged(folder, format!("`{HEAD}`: {error}")))
}

/// Version numbers of a dataset, ascending; empty when it does not exist.
pub fn versions(root: &Path, name: &str) -> Result<Vec<u32>, DatasetError> {
    check_name(name)?;
    let number = |path: &PathBuf| {
        let text = path.file_name()?.to_str()?;
        text.parse::<u32>().ok().filter(|number| *number > 0 && number.to_string() == text)
    };
    let mut numbers: Vec<u32> = files::list_folder(&root.join(name))?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Content digests of traces by id.
pub type Seen = HashMap<TraceId, HashSet<Digest>>;

/// The part of a line that says which traces it was made of; the rest is skipped without being built.
#[derive(Deserialize)]
struct LineageOnly {
    #[serde(default)]
    lineage: Lineage,
}

/// Adds the traces that a version was made of. A version written before digests were kept has traces without any.
///
/// # Errors
/// The version cannot be read.
pub fn seen_in(root: &Path, name: &str, version: u32, seen: &mut Seen) -> Result<(), DatasetError> {
    let folder = folder_of(root, name, version);
    let lines = files::LineFile::open(&folder.join(EXAMPLES))?;
    for index in 0..lines.len() {
        let line = lines.line(index)?.unwrap_or_default();
        let found: LineageOnly = serde_json::from_slice(&line)
            .map_err(|error| damaged(&folder, format!("`{EXAMPLES}` line {}: {error}", index + 1)))?;
        let Lineage { traces, digests, .. } = found.lineage;
        let mut digests = digests.into_iter();
        for trace in traces {
            seen.entry(trace).or_default().extend(digests.next());
        }
    }
    Ok(())
}

/// Heads of the latest version of every dataset, sorted by name.
pub fn list(root: &Path) -> Result<Vec<DatasetHeader>, DatasetError> {
    let mut headers = Vec::new();
    for name in names(root)? {
        if let Some(version) = versions(root, &name)?.into_iter().max() {
            headers.push(read_header(&folder_of(root, &name, version))?);
        }
    }
    Ok(headers)
}

/// Names of folders that can be datasets.
fn names(root: &Path) -> Result<Vec<String>, DatasetError> {
    let mut names = Vec::new();
    for path in files::list_folder(root)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A file beside the datasets (a README) is none of them.
        if check_name(name).is_ok() && versions(root, name).is_ok_and(|versions| !versions.is_empty()) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Finds `name` (its latest version) or `name@3`, with a part of it as `name:dev` or `name@3:holdout`. Whether the
/// part exists is found out on reading.
///
/// # Errors
/// No such dataset or version; says what there is.
pub fn resolve(root: &Path, wanted: &str) -> Result<DatasetRef, DatasetError> {
    let (wanted, part) = wanted.split_once(':').map_or((wanted, None), |(whole, part)| (whole, Some(part.to_owned())));
    let (name, version) = wanted.split_once('@').map_or((wanted, None), |(name, version)| (name, Some(version)));
    let have = versions(root, name)?;
    let Some(latest) = have.last().copied() else {
        let names = names(root)?;
        let hint = match did_you_mean(name, names.iter().map(String::as_str)) {
            near if !near.is_empty() => near,
            _ if names.is_empty() => "; there are none yet: import or sample one".to_owned(),
            _ => format!("; there are: {}", text::one_line(&names.join(", "), 300)),
        };
        return Err(DatasetError::NoSuchDataset { name: text::one_line(name, 80), root: root.to_owned(), hint });
    };
    let version = match version {
        None | Some("latest") => latest,
        Some(text) => match text.parse::<u32>().ok().filter(|number| have.contains(number)) {
            Some(number) => number,
            None => {
                let have: Vec<String> = have.iter().map(u32::to_string).collect();
                return Err(DatasetError::NoSuchVersion {
                    name: name.to_owned(),
                    version: format!("`{}`", text::one_line(text, 40)),
                    have: have.join(", "),
                });
            }
        },
    };
    Ok(DatasetRef { name: name.to_owned(), version, folder: folder_of(root, name, version), part })
}
