//! `assize dataset`: list, show, compare, import and export versions.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::exit::{Done, Failed};
use super::outputs::plain_file;
use super::project::{Project, World};
use super::redaction;
use crate::config::{self, Problem, Problems};
use crate::dataset::{
    self, DatasetDiff, DatasetReader, FieldMapping, FileFormat, ImportOptions, Importer, Provenance, Recognised,
    Written, formats, line_of_example, write_version,
};
use crate::model::{DatasetHeader, Example, Redactions};
use crate::sys::files;

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

/// One version.
pub fn show(project: &Project, wanted: &str, examples: usize) -> Done<Shown> {
    let reader = open(project, wanted)?;
    reader.verify().map_err(Failed::usage)?;
    let header = reader.header().clone();
    let versions = dataset::versions(&root(project), &header.name).map_err(Failed::usage)?;
    let examples = reader.iter().take(examples).collect::<Result<_, _>>().map_err(Failed::usage)?;
    Ok(Shown { header, versions, examples })
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
}

/// Makes a version from files.
pub fn import(project: &Project, world: &World, ask: ImportAsk) -> Done<Imported> {
    let mapping = mapping(world, ask.map.as_deref(), &ask.fields)?;
    if let (Some(format), Some(_)) = (&ask.format, &mapping) {
        return Err(Failed::usage(anyhow!("`--format {format}` and a mapping exclude each other; keep one")));
    }
    let format = ask.format.as_deref().map(|name| formats::find(name).map_err(Failed::usage)).transpose()?;
    let mut importer = Importer::new();
    let options = ImportOptions::default();
    for file in expand(world, &ask.files, mapping.as_ref())? {
        let added = match format {
            Some(Some(format)) => importer.add_format(&file, format, "named by the user".to_owned(), options.limits),
            Some(None) => importer.add_rows(&file, None, options),
            None => importer.add_file(&file, mapping.as_ref(), options),
        };
        added.map_err(Failed::usage)?;
    }
    let mut import = importer.finish().map_err(Failed::usage)?;
    let redactor = redaction::redactor(project, world, ask.redact)?;
    let mut redacted = Redactions::default();
    let mut rejections: Vec<String> = import.rejected.kept.iter().take(TOLD).map(ToString::to_string).collect();
    if let Some(redactor) = &redactor {
        if redactor.detector().is_some() {
            let cause =
                anyhow!("`[redact.detector]` is asked when traces are read, not for datasets; import without it");
            return Err(Failed::usage(cause));
        }
        import.examples.iter_mut().for_each(|example| redactor.example(example, &mut redacted));
        rejections.iter_mut().for_each(|rejection| redactor.text("rejected", rejection, &mut redacted));
    }
    let sources = ask.files.iter().map(|file| file.display().to_string()).collect();
    let provenance = Provenance { description: ask.description, sources, design: None };
    let written = write_version(&root(project), &ask.name, &import.examples, provenance, world.clock.as_ref());
    let written = written.map_err(Failed::usage)?;
    Ok(Imported {
        header: written.header().clone(),
        unchanged: matches!(written, Written::Unchanged(_)),
        recognised: import.recognised,
        rows: import.rows,
        filtered: import.filtered,
        rejected: import.rejected.total,
        rejections,
        redacted,
        warnings: redactor.iter().flat_map(|redactor| redactor.warnings().to_vec()).collect(),
    })
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

/// Writes a version as JSON lines; to a file, or gives the lines for stdout.
pub fn export(project: &Project, world: &World, wanted: &str, to: &str) -> Done<Option<Vec<u8>>> {
    let reader = open(project, wanted)?;
    let mut lines = Vec::new();
    for example in reader.iter() {
        let line = line_of_example(&example.map_err(Failed::usage)?).map_err(Failed::usage)?;
        lines.extend_from_slice(line.as_bytes());
        lines.push(b'\n');
    }
    if to == "-" {
        return Ok(Some(lines));
    }
    let path = world.here.join(to);
    plain_file(&path)?;
    files::write_atomic(&path, &lines).map_err(Failed::usage)?;
    Ok(None)
}

fn open(project: &Project, wanted: &str) -> Done<DatasetReader> {
    DatasetReader::open(&root(project), wanted).map_err(Failed::usage)
}

fn root(project: &Project) -> PathBuf {
    project.path(&project.config.datasets)
}
