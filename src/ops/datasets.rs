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
    self, DatasetDiff, DatasetReader, FieldMapping, Provenance, Written, import_file, line_of_example, write_version,
};
use crate::model::{DatasetHeader, Example, Redactions};
use crate::sys::files;

/// How many rejected rows are told.
const TOLD: usize = 20;

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
    /// File of examples.
    pub file: PathBuf,
    /// File of the mapping.
    pub map: Option<PathBuf>,
    /// Fields of the mapping, as typed.
    pub fields: Vec<String>,
    /// What the dataset is.
    pub description: Option<String>,
    /// Take secrets and personal data out.
    pub redact: bool,
}

/// Makes a version from a file.
pub fn import(project: &Project, world: &World, ask: ImportAsk) -> Done<Imported> {
    let mapping = mapping(world, ask.map.as_deref(), &ask.fields)?;
    let file = world.here.join(&ask.file);
    let redactor = redaction::redactor(project, world, ask.redact)?;
    let mut import = import_file(&file, mapping.as_ref()).map_err(Failed::usage)?;
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
    let sources = vec![ask.file.display().to_string()];
    let provenance = Provenance { description: ask.description, sources, design: None };
    let written = write_version(&root(project), &ask.name, &import.examples, provenance, world.clock.as_ref());
    let written = written.map_err(Failed::usage)?;
    Ok(Imported {
        header: written.header().clone(),
        unchanged: matches!(written, Written::Unchanged(_)),
        rows: import.rows,
        filtered: import.filtered,
        rejected: import.rejected.total,
        rejections,
        redacted,
        warnings: redactor.iter().flat_map(|redactor| redactor.warnings().to_vec()).collect(),
    })
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
