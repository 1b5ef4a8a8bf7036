//! `assize dataset`: list, show, compare, import and export versions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::check::unknown;
use super::dataset_edit::changed;
use super::exit::{Done, Failed};
use super::outputs::plain_file;
use super::project::{Project, World};
use super::redaction;
use crate::config::{self, Problem, Problems};
use crate::dataset::exports::{self, ExportInfo};
use crate::dataset::formats::{self, FormatInfo};
use crate::dataset::{
    self, DatasetDiff, DatasetError, DatasetReader, FieldMapping, FileFormat, Filter, ImportOptions, Importer,
    Provenance, Recognised, RowError, Written, attachments, example_dimension, splits, write_change,
};
use crate::model::{DatasetHeader, Example, Redactions};
use crate::redact::Redactor;
use crate::sys::{files, text};

/// How many rejected rows are told.
const TOLD: usize = 20;
/// Endings of files of examples that are no rows.
const ENDINGS: &[&str] = &["eval", "yaml", "yml"];

/// A version with some of its examples.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Head.
    pub header: DatasetHeader,
    /// Versions there are.
    pub versions: Vec<u32>,
    /// First examples.
    pub examples: Vec<Example>,
    /// What stands in it beside the examples, counted.
    pub contents: Contents,
    /// Heads of all versions, oldest first.
    pub history: Vec<DatasetHeader>,
    /// What a part has of the design in the head, which is that of the whole; absent for the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<PartOfDesign>,
}

/// What stands of a sampling design in a part of a dataset.
#[derive(Debug, PartialEq, Serialize)]
pub struct PartOfDesign {
    /// Examples in the part.
    pub examples: u64,
    /// Examples in the whole version.
    pub whole: u64,
    /// Sum of the weights in the part: how many candidates it stands for. Absent where a probability is not known.
    pub weight: Option<f64>,
    /// The same by stratum, in the order of the design.
    pub strata: Vec<PartOfStratum>,
}

/// What stands of one stratum in a part of a dataset.
#[derive(Debug, PartialEq, Serialize)]
pub struct PartOfStratum {
    /// Name.
    pub name: String,
    /// Candidates the stratum held.
    pub population: u64,
    /// How many of them were chosen for the whole.
    pub chosen: u64,
    /// How many of those stand in the part.
    pub examples: u64,
    /// Sum of their weights. Absent where a probability is not known.
    pub weight: Option<f64>,
}

/// What stands in a version, counted.
#[derive(Debug, Default, Serialize)]
pub struct Contents {
    /// Examples by split.
    pub splits: BTreeMap<String, u64>,
    /// Clusters that stand in more than one split; only rows that named their own split can have them.
    pub straddling: u64,
    /// Examples by tag.
    pub tags: BTreeMap<String, u64>,
    /// Examples by saved slice.
    pub slices: BTreeMap<String, u64>,
    /// Labels by name.
    pub labels: BTreeMap<String, u64>,
    /// Examples with a reference.
    pub references: u64,
    /// Examples with expected calls.
    pub expected_calls: u64,
    /// Examples whose input is a conversation.
    pub conversations: u64,
    /// Attachments, each content once.
    pub attachments: u64,
}

/// What an import did.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// Head of the version that holds the examples now.
    pub header: DatasetHeader,
    /// Whether it was there already.
    pub unchanged: bool,
    /// Files of other tools, with the format each was read as and why.
    pub recognised: Vec<Recognised>,
    /// Rows read.
    pub rows: u64,
    /// Files of which nothing could be used, with the reason; the others are in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unusable: Vec<String>,
    /// Rows left out by the mapping's filter.
    pub filtered: u64,
    /// Rows turned away.
    pub rejected: u64,
    /// The first of them, with place and reason.
    pub rejections: Vec<String>,
    /// What was taken out, by rule and by field.
    #[serde(skip_serializing_if = "Redactions::is_empty")]
    pub redacted: Redactions,
    /// What the user should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Heads of all datasets.
pub fn list(project: &Project) -> Done<Vec<DatasetHeader>> {
    dataset::list(&root(project)).map_err(Failed::usage)
}

/// One version, or a part of one.
pub fn show(project: &Project, wanted: &str, examples: usize) -> Done<Shown> {
    let reader = open(project, wanted)?;
    reader.verify().map_err(Failed::usage)?;
    let header = reader.header().clone();
    let history = dataset::history(&root(project), &header.name).map_err(Failed::usage)?;
    let versions = history.iter().map(|header| header.version).collect();
    let all: Vec<Example> = reader.iter().collect::<Result<_, _>>().map_err(Failed::usage)?;
    let contents = contents(&header, &all)?;
    let whole =
        history.iter().find(|past| past.version == header.version).map_or(header.examples, |past| past.examples);
    let part = part_of_design(&header, whole, &all);
    let examples = all.into_iter().take(examples).collect();
    Ok(Shown { header, versions, examples, contents, history, part })
}

fn part_of_design(header: &DatasetHeader, whole: u64, examples: &[Example]) -> Option<PartOfDesign> {
    let design = header.design.as_ref().filter(|_| header.part.is_some())?;
    let weight = |of: &mut dyn Iterator<Item = &Example>| -> Option<f64> {
        of.map(|example| example.inclusion_probability.map(|chance| 1.0 / chance)).sum()
    };
    let strata = design.strata.iter().map(|stratum| {
        let inside = || examples.iter().filter(|example| example.stratum.as_deref() == Some(stratum.name.as_str()));
        PartOfStratum {
            name: stratum.name.clone(),
            population: stratum.population,
            chosen: stratum.chosen,
            examples: inside().count() as u64,
            weight: weight(&mut inside()),
        }
    });
    Some(PartOfDesign {
        examples: examples.len() as u64,
        whole,
        weight: weight(&mut examples.iter()),
        strata: strata.collect(),
    })
}

fn contents(header: &DatasetHeader, examples: &[Example]) -> Done<Contents> {
    let mut found = Contents {
        splits: splits::counts(examples),
        straddling: splits::straddling(examples).len() as u64,
        ..Contents::default()
    };
    let mut digests = BTreeSet::new();
    for example in examples {
        for tag in &example.tags {
            *found.tags.entry(tag.clone()).or_default() += 1;
        }
        for label in &example.labels {
            *found.labels.entry(label.name.clone()).or_default() += 1;
        }
        digests.extend(example.attachments.iter().map(|attachment| &attachment.digest));
        found.references += u64::from(example.reference.is_some());
        found.expected_calls += u64::from(example.expected_calls.is_some());
        found.conversations += u64::from(dataset::turns_of(&example.input).is_some());
    }
    found.attachments = digests.len() as u64;
    for (name, text) in &header.slices {
        let filter = Filter::parse_with(text, &header.slices).map_err(Failed::usage)?;
        let fits = |example: &&Example| filter.matches(|name| example_dimension(example, name));
        found.slices.insert(name.clone(), examples.iter().filter(fits).count() as u64);
    }
    Ok(found)
}

/// The difference of two versions.
pub fn diff(project: &Project, from: &str, to: &str) -> Done<DatasetDiff> {
    dataset::diff(&open(project, from)?, &open(project, to)?).map_err(Failed::usage)
}

/// What is asked of an import.
pub struct ImportAsk {
    /// Name of the dataset.
    pub name: String,
    /// Files of examples, and folders of them.
    pub files: Vec<PathBuf>,
    /// Format, when not by content.
    pub format: Option<String>,
    /// File of the mapping.
    pub map: Option<PathBuf>,
    /// Fields of the mapping, as typed.
    pub fields: Vec<String>,
    /// What the dataset is.
    pub description: Option<String>,
    /// Take secrets and personal data out.
    pub redact: bool,
    /// Why the frozen holdout may change.
    pub thaw: Option<String>,
}

/// Makes a version from files.
pub fn import(project: &Project, world: &World, ask: ImportAsk) -> Done<Imported> {
    let mapping = mapping(world, ask.map.as_deref(), &ask.fields)?;
    if let (Some(format), Some(_)) = (&ask.format, &mapping) {
        return Err(Failed::usage(anyhow!("`--format {format}` and a mapping exclude each other; keep one")));
    }
    let format = ask.format.as_deref().map(|name| formats::find(name).map_err(Failed::usage)).transpose()?;
    let redactor = redaction::redactor(project, world, ask.redact)?;
    if redactor.as_ref().is_some_and(|redactor| redactor.detector().is_some()) {
        let cause = anyhow!("`[redact.detector]` is asked when traces are read, not for datasets; import without it");
        return Err(Failed::usage(cause));
    }
    let mut redacted = Redactions::default();
    let files = expand(world, &ask.files, mapping.as_ref())?;
    let (importer, unusable) = read(&files, format, mapping.as_ref(), redactor.as_ref())?;
    let mut import = importer.finish().map_err(|error| refused(error, redactor.as_ref()))?;
    import.rejected.kept.truncate(TOLD);
    if let Some(redactor) = &redactor {
        import.examples.iter_mut().for_each(|example| redactor.example(example, &mut redacted));
        import.rejected.kept.iter_mut().for_each(|row| row_without(row, redactor, &mut redacted));
    }
    let rejections = import.rejected.kept.iter().map(ToString::to_string).collect();
    for file in &files {
        attachments::take_in(&root(project), &ask.name, &import.examples, file).map_err(Failed::usage)?;
    }
    let sources = ask.files.iter().map(|file| file.display().to_string()).collect();
    let provenance = Provenance { description: ask.description, sources, design: None };
    let change = changed(&root(project), &ask.name, "import", ask.thaw.as_deref())?;
    let clock = world.clock.as_ref();
    let written = write_change(&root(project), &ask.name, import.examples, provenance, change, clock);
    let written = written.map_err(Failed::usage)?;
    Ok(Imported {
        header: written.header().clone(),
        unchanged: matches!(written, Written::Unchanged(_)),
        unusable,
        recognised: import.recognised,
        rows: import.rows,
        filtered: import.filtered,
        rejected: import.rejected.total,
        rejections,
        redacted,
        warnings: redactor.iter().flat_map(|redactor| redactor.warnings().to_vec()).collect(),
    })
}

/// Reads all files. One of which nothing can be used costs itself alone, unless there is no other; its reason is given.
fn read(
    files: &[PathBuf],
    format: Option<Option<&'static FormatInfo>>,
    mapping: Option<&FieldMapping>,
    redactor: Option<&Redactor>,
) -> Done<(Importer, Vec<String>)> {
    let options = ImportOptions::default();
    let mut importer = Importer::new();
    let (mut unusable, mut first) = (Vec::new(), None);
    for file in files {
        let added = match format {
            Some(Some(format)) => importer.add_format(file, format, "named by the user".to_owned(), options.limits),
            Some(None) => importer.add_rows(file, None, options),
            None => importer.add_file(file, mapping, options),
        };
        let Err(error) = added else { continue };
        let costs_itself = error.is_of_one_file();
        let failed = refused(error, redactor);
        if !costs_itself {
            return Err(failed);
        }
        unusable.push(failed.error.to_string());
        first.get_or_insert(failed);
    }
    match first {
        Some(failed) if unusable.len() == files.len() => Err(failed),
        _ => Ok((importer, unusable)),
    }
}

/// A refusal that tells nothing which is to be taken out.
fn refused(mut error: DatasetError, redactor: Option<&Redactor>) -> Failed {
    if let Some(redactor) = redactor {
        let account = &mut Redactions::default();
        match &mut error {
            DatasetError::Row(row) | DatasetError::AllRejected { first: row, .. } => {
                row_without(row, redactor, account)
            }
            DatasetError::Format { cause, .. } => redactor.text("rejected", cause, account),
            _ => {}
        }
    }
    Failed::usage(error)
}

/// Takes what the policy says out of what a rejected row tells. Half a value is not known any more, so what was
/// shortened is not shown.
fn row_without(row: &mut RowError, redactor: &Redactor, account: &mut Redactions) {
    let field = row.field.clone();
    for told in [&mut row.field, &mut row.found, &mut row.expected] {
        if text::may_be_shortened(told) {
            "[not shown: too long to be looked at]".clone_into(told);
        }
    }
    redactor.text(&field, &mut row.found, account);
    redactor.text("rejected", &mut row.field, account);
    redactor.text("rejected", &mut row.expected, account);
}

/// The files to read: of a folder all that end as datasets do, by name, but for those that a mapping joins to others.
fn expand(world: &World, files: &[PathBuf], mapping: Option<&FieldMapping>) -> Done<Vec<PathBuf>> {
    let joins = mapping.and_then(|mapping| mapping.join.as_ref()).map_or(&[][..], |joins| joins.as_slice());
    let mut all = Vec::new();
    for file in files {
        let path = world.here.join(file);
        if !path.is_dir() {
            all.push(path);
            continue;
        }
        let mut inside = files::list_folder(&path).map_err(Failed::usage)?;
        inside.retain(|file| {
            let joined = joins.iter().any(|join| path.join(&join.file) == *file);
            let ends = file.extension().and_then(|end| end.to_str()).is_some_and(|end| ENDINGS.contains(&end));
            file.is_file() && !joined && (ends || FileFormat::of_name(file).is_some())
        });
        if inside.is_empty() {
            return Err(Failed::usage(anyhow!("folder `{}` holds no file of examples", path.display())));
        }
        inside.sort();
        all.extend(inside);
    }
    Ok(all)
}

fn mapping(world: &World, map: Option<&Path>, fields: &[String]) -> Done<Option<FieldMapping>> {
    let (text, file) = match map {
        Some(path) => (files::read_text(&world.here.join(path)).map_err(Failed::usage)?, path.to_owned()),
        None => (String::new(), PathBuf::from("--field")),
    };
    if map.is_none() && fields.is_empty() {
        return Ok(None);
    }
    let mut typed = text;
    for field in fields {
        let Some((key, path)) = field.split_once('=') else {
            return Err(Failed::usage(anyhow!("expected `--field KEY=PATH`, found `{field}`")));
        };
        // Fields typed on the command line are root keys, so they stand before any table of the file.
        typed = format!("{key} = {}\n{typed}", toml::Value::String(path.to_owned()));
    }
    let schema = schemars::schema_for!(FieldMapping).to_value();
    let value = config::check_text(&typed, &schema, &file).map_err(Failed::usage)?;
    let mapping = serde_json::from_value(value).map_err(|error| {
        let problem = Problem { line: 0, path: String::new(), message: error.to_string() };
        Failed::usage(Problems::new(&file, vec![problem]))
    })?;
    Ok(Some(mapping))
}

/// What an export did.
pub struct Exported {
    /// The bytes for stdout; absent when they were written to a file.
    pub bytes: Option<Vec<u8>>,
    /// How many examples.
    pub examples: u64,
    /// Attachments copied beside the file.
    pub attachments: u64,
    /// What the form cannot carry, and what else should be known.
    pub notes: Vec<String>,
}

/// Writes a version or a part of one in a form of the table of exports; to a file, or gives the bytes for stdout.
/// Without a form, the ending of the file's name says it; without an ending it is our own.
pub fn export(
    project: &Project,
    world: &World,
    wanted: &str,
    format: Option<&str>,
    out: Option<&Path>,
) -> Done<Exported> {
    let out = out.filter(|path| *path != Path::new("-"));
    if let Some(out) = out {
        plain_file(&world.here.join(out))?;
    }
    let info = export_form(format, out)?;
    let reader = open(project, wanted)?;
    let examples: Vec<Example> = reader.iter().collect::<Result<_, _>>().map_err(Failed::usage)?;
    let header = reader.header();
    let bytes = (info.render)(&exports::Exported { header, examples: &examples }).map_err(Failed::usage)?;
    let mut done =
        Exported { bytes: None, examples: examples.len() as u64, attachments: 0, notes: left_out(info, &examples) };
    let attached = examples.iter().any(|example| !example.attachments.is_empty());
    let Some(out) = out else {
        if attached && info.attachments {
            done.notes.push("attachments are copied only beside a file".to_owned());
        }
        done.bytes = Some(bytes);
        return Ok(done);
    };
    let path = world.here.join(out);
    if attached && info.attachments {
        let folder = attachments::folder_beside(&path);
        done.attachments =
            attachments::copy_out(&root(project), &header.name, &examples, &folder).map_err(Failed::usage)?;
        done.notes.push(format!("{} attachments beside it in {}", done.attachments, folder.display()));
    }
    files::write_atomic(&path, &bytes).map_err(Failed::usage)?;
    Ok(done)
}

fn export_form(format: Option<&str>, out: Option<&Path>) -> Done<&'static ExportInfo> {
    if let Some(name) = format {
        let known: Vec<&str> = exports::EXPORTS.iter().map(|info| info.name).collect();
        return exports::find(name).ok_or_else(|| Failed::usage(anyhow!(unknown("export format", name, &known))));
    }
    let ending = out.and_then(Path::extension).map(|ending| ending.to_string_lossy().to_lowercase());
    let ending = ending.unwrap_or_else(|| "jsonl".to_owned());
    if let Some(info) = exports::find(&ending).filter(|info| info.extension == ending) {
        return Ok(info);
    }
    let shown = text::one_line(&ending, 40);
    let several: Vec<String> = exports::EXPORTS
        .iter()
        .filter(|info| info.extension == ending)
        .map(|info| format!("`--format {}`", info.name))
        .collect();
    Err(Failed::usage(match several.is_empty() {
        false => anyhow!("several formats end in `.{shown}`; say which: {}", several.join(", ")),
        true => {
            let known: Vec<&str> = exports::EXPORTS.iter().map(|info| info.name).collect();
            let known = known.join(", ");
            anyhow!("no format ends in `.{shown}`; use `.jsonl`, `.csv` or `.parquet`, or say `--format`: {known}")
        }
    }))
}

/// Says what a form leaves out, only where there is something of the kind.
fn left_out(info: &ExportInfo, examples: &[Example]) -> Vec<String> {
    let any = examples.iter().any(|example| {
        !example.recorded.is_empty() || !example.labels.is_empty() || example.inclusion_probability.is_some()
    });
    if any && !info.leaves_out.is_empty() {
        return vec![format!("`{}` has no place for {}: they were left out", info.name, info.leaves_out)];
    }
    Vec::new()
}

pub(super) fn open(project: &Project, wanted: &str) -> Done<DatasetReader> {
    DatasetReader::open(&root(project), wanted).map_err(Failed::usage)
}

pub(super) fn root(project: &Project) -> PathBuf {
    project.path(&project.config.datasets)
}
