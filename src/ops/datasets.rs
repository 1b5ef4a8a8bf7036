//! `assize dataset`: list, show, compare, import and export versions.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::exit::{Done, Failed};
use super::outputs::plain_file;
use super::project::{Project, World};
use crate::config::{self, Problem, Problems};
use crate::dataset::{
    self, DatasetDiff, DatasetReader, FieldMapping, Provenance, Written, import_file, line_of_example, write_version,
};
use crate::model::{DatasetHeader, Example};
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
}

/// Makes a version from a file.
pub fn import(project: &Project, world: &World, ask: ImportAsk) -> Done<Imported> {
    let mapping = mapping(world, ask.map.as_deref(), &ask.fields)?;
    let file = world.here.join(&ask.file);
    let import = import_file(&file, mapping.as_ref()).map_err(Failed::usage)?;
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
        rejections: import.rejected.kept.iter().take(TOLD).map(ToString::to_string).collect(),
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
