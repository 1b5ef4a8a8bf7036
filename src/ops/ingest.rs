//! `assize ingest`: traces from files, folders or stdin into the lake. One bad row never costs the good ones.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::exit::{Done, Failed};
pub use super::intake::IngestReport;
use super::intake::{Taker, rejected_file};
use super::pricing;
use super::project::{Project, World};
use super::redaction;
use crate::ingest::{IngestError, ReadOptions, read_file, read_stream};
use crate::lake::Lake;
use crate::model::{Span, Trace};
use crate::sys::files;
use anyhow::anyhow;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Files, folders, `-`.
    pub sources: Vec<String>,
    /// Format, when not by content.
    pub format: Option<String>,
    /// Where rejected rows are kept; beside the lake when absent.
    pub rejected: Option<PathBuf>,
    /// Write everything as it came, whatever `[redact]` says.
    pub no_redact: bool,
}

/// Reads sources into the lake. When nothing at all could be used, that is an error; else what was bad is reported.
pub fn ingest(project: &Project, world: &World, ask: Ask) -> Done<IngestReport> {
    let lake = Lake::new(project.path(&project.config.lake));
    read(project, world, &ask, Some(&lake)).map(|(report, _)| report)
}

/// Reads sources into memory, for sampling from files.
pub fn read_traces(project: &Project, world: &World, sources: &[String]) -> Done<(IngestReport, Vec<Trace>)> {
    let ask = Ask { sources: sources.to_vec(), ..Ask::default() };
    read(project, world, &ask, None)
}

fn read(project: &Project, world: &World, ask: &Ask, lake: Option<&Lake>) -> Done<(IngestReport, Vec<Trace>)> {
    let sources = expand(world, &ask.sources)?;
    let prices = &project.config.prices;
    let price = |span: &Span| pricing::price(prices, span);
    let redactor = redaction::redactor(project, world, !ask.no_redact)?;
    let options = ReadOptions { price: Some(&price), redact: redactor.as_ref(), ..ReadOptions::default() };
    let rejected_to = match &ask.rejected {
        Some(path) => world.here.join(path),
        None => rejected_file(project),
    };
    let mut taker = Taker::new(rejected_to, lake);
    taker.report.warnings.extend(redactor.iter().flat_map(|redactor| redactor.warnings().to_vec()));
    let mut first_error = None;
    for source in &sources {
        let format = ask.format.as_deref();
        let summary = match source {
            Source::Stdin => read_stream("-", Box::new(BufReader::new(std::io::stdin())), format, &options, &mut taker),
            Source::File(path) => read_file(path, format, &options, &mut taker),
        };
        match summary {
            Ok(summary) => taker.report.add_file(summary),
            Err(error @ (IngestError::Sink { .. } | IngestError::Detector { .. })) => {
                return Err(Failed::instrument(error));
            }
            Err(error) => {
                taker.report.unusable.push(error.to_string());
                first_error = first_error.or(Some(error));
            }
        }
    }
    taker.flush().map_err(|error| Failed::instrument(anyhow!("{error}")))?;
    let Taker { report, kept, .. } = taker;
    match first_error {
        Some(error) if report.files.is_empty() => Err(Failed::usage(error)),
        _ => Ok((report, kept)),
    }
}

enum Source {
    Stdin,
    File(PathBuf),
}

/// Files of all sources; folders are read recursively, hidden files left out.
fn expand(world: &World, sources: &[String]) -> Done<Vec<Source>> {
    let mut expanded = Vec::new();
    for source in sources {
        if source == "-" {
            expanded.push(Source::Stdin);
            continue;
        }
        let path = world.here.join(source);
        if path.is_dir() {
            let mut found = Vec::new();
            walk(&path, &mut found)?;
            if found.is_empty() {
                return Err(Failed::usage(anyhow!("folder `{}` holds no file", path.display())));
            }
            expanded.extend(found.into_iter().map(Source::File));
        } else {
            expanded.push(Source::File(path));
        }
    }
    Ok(expanded)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Done<()> {
    for path in files::list_folder(folder).map_err(Failed::usage)? {
        let hidden = path.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
