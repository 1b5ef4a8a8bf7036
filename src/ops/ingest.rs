//! `assize ingest`: traces from files, folders, stdin or platforms into the lake. One bad row never costs the good ones.

use std::collections::HashSet;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::exit::{Done, Failed};
pub use super::intake::IngestReport;
use super::intake::{Stop, Taker, rejected_file};
use super::pricing;
use super::project::{Project, World};
use super::pull;
pub use super::pull::How as PullHow;
use super::redaction;
use super::stored::Stored;
use crate::config;
use crate::ingest::api::PullProgress;
use crate::ingest::{FileSummary, IngestError, ReadOptions, Rejected, TraceMapping, read_file, read_stream};
use crate::lake::Lake;
use crate::model::{Span, Trace, TraceScore};
use crate::sys::{files, text};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Files, folders, `s3://BUCKET/PREFIX`, `-`, names of sources in the configuration.
    pub sources: Vec<String>,
    /// Format, when not by content.
    pub format: Option<String>,
    /// File of a mapping, for rows of no known format.
    pub map: Option<PathBuf>,
    /// Where rejected rows are kept; beside the lake when absent.
    pub rejected: Option<PathBuf>,
    /// How platforms are pulled.
    pub pull: PullHow,
    /// Write everything as it came, whatever `[redact]` says.
    pub no_redact: bool,
}

/// Reads sources into the lake. When nothing at all could be used, that is an error; else what was bad is reported.
/// `note` takes what the user should know before it is done, `on_progress` is told how far pulls are.
pub async fn ingest(
    project: &Project,
    world: &World,
    ask: Ask,
    note: &dyn Fn(&str),
    on_progress: &dyn Fn(&PullProgress<'_>),
) -> Done<IngestReport> {
    let lake = project.lake(&world.env)?;
    let sources = expand(project, world, &ask.sources, note)?;
    only_pulls(&ask.pull, &sources)?;
    let price = |span: &Span| pricing::price(&project.config.prices, span);
    let redactor = redaction::redactor(project, world, !ask.no_redact)?;
    let map = ask.map.as_deref().map(|path| mapping(world, path)).transpose()?;
    let options =
        ReadOptions { price: Some(&price), map: map.as_ref(), redact: redactor.as_ref(), ..ReadOptions::default() };
    let mut taker = taker(project, world, &ask, Some(&lake));
    taker.report.warnings.extend(redactor.iter().flat_map(|redactor| redactor.warnings().to_vec()));
    let stop = taker.stop();
    let listening = tokio::spawn(stop_on_interrupt(stop.clone()));
    let mut first_error = None;
    for source in &sources {
        if stop.asked() {
            break;
        }
        match source {
            Source::Platform(name) => {
                match pull::pull(project, world, name, &ask.pull, &options, &mut taker, on_progress).await? {
                    Ok((file, summary)) => {
                        taker.report.add_file(file);
                        taker.report.pulls.push(summary);
                    }
                    Err(error) => unusable(&mut taker, &mut first_error, error),
                }
            }
            local => match read_local(local, &ask, &options, &mut taker) {
                Ok(Ok(summary)) => taker.report.add_file(summary),
                Ok(Err(IngestError::Unrecognised { file, .. })) if matches!(local, Source::Found(_)) => {
                    taker.report.left_alone.push(file);
                }
                Ok(Err(error)) => unusable(&mut taker, &mut first_error, anyhow!(error)),
                Err(_) if stop.asked() => break,
                Err(failed) => return Err(failed),
            },
        }
    }
    listening.abort();
    taker.report.interrupted = stop.asked();
    if taker.report.files.is_empty() && first_error.is_none() && !taker.report.left_alone.is_empty() {
        first_error = Some(anyhow!("no file is in a known format; `--format` and `--map` say what they are"));
    }
    finish(taker, first_error).map(|read| read.report)
}

/// Refuses what bounds a pull where a file is read: a file is read whole, because a bound would cut its traces.
fn only_pulls(how: &PullHow, sources: &[Source]) -> Done<()> {
    let said = [
        ("--since", how.since.is_some()),
        ("--until", how.until.is_some()),
        ("--limit", how.limit.is_some()),
        ("--restart", how.restart),
    ];
    let Some((name, _)) = said.into_iter().find(|(_, said)| *said) else { return Ok(()) };
    let Some(file) = sources.iter().find_map(Source::file) else { return Ok(()) };
    Err(Failed::usage(anyhow!(
        "`{name}` bounds what is pulled from a platform under `[sources]`, and `{file}` is a file, which is read whole; \
         leave `{name}` out, and give it to `assize sample` or `assize traces query` instead"
    )))
}

async fn stop_on_interrupt(stop: Stop) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.ask();
    }
}

/// Rows that were turned away.
#[derive(Clone, Debug, Serialize)]
pub struct Rejects {
    /// The file they are kept in.
    pub file: PathBuf,
    /// Each once, in the order met.
    pub rows: Vec<Rejected>,
}

/// Lists the rows that were turned away so far; one that was met again in a later ingest is one row.
pub fn rejects(project: &Project, world: &World, file: Option<&Path>) -> Done<Rejects> {
    let file = file.map_or_else(|| rejected_file(project), |file| world.here.join(file));
    let mut rows: Vec<Rejected> = Vec::new();
    let mut seen = HashSet::new();
    if file.is_file() {
        for line in files::read_text(&file).map_err(Failed::usage)?.lines().filter(|line| seen.insert(line.to_owned()))
        {
            // A line that a crash tore says nothing any more.
            rows.extend(serde_json::from_str::<Rejected>(line).ok());
        }
    }
    Ok(Rejects { file, rows })
}

/// What was read into memory.
#[derive(Debug)]
pub struct InMemory {
    /// What was read and what was turned away.
    pub report: IngestReport,
    /// The traces.
    pub traces: Vec<Trace>,
    /// What others said about them.
    pub scores: Vec<TraceScore>,
}

/// Reads files into memory, for sampling from them.
pub fn read_traces(project: &Project, world: &World, sources: &[String]) -> Done<InMemory> {
    let ask = Ask { sources: sources.to_vec(), ..Ask::default() };
    let price = |span: &Span| pricing::price(&project.config.prices, span);
    let redactor = redaction::redactor(project, world, !ask.no_redact)?;
    let options = ReadOptions { price: Some(&price), redact: redactor.as_ref(), ..ReadOptions::default() };
    let mut taker = taker(project, world, &ask, None);
    taker.report.warnings.extend(redactor.iter().flat_map(|redactor| redactor.warnings().to_vec()));
    let mut first_error = None;
    for source in &expand_files(project, world, &ask.sources)? {
        match read_local(source, &ask, &options, &mut taker)? {
            Ok(summary) => taker.report.add_file(summary),
            Err(error) => unusable(&mut taker, &mut first_error, anyhow!(error)),
        }
    }
    finish(taker, first_error)
}

fn taker<'a>(project: &Project, world: &World, ask: &Ask, lake: Option<&'a Lake>) -> Taker<'a> {
    let rejected_to = match &ask.rejected {
        Some(path) => world.here.join(path),
        None => rejected_file(project),
    };
    Taker::new(rejected_to, lake)
}

/// Reads one file or stdin. The inner error costs that file only.
fn read_local(
    source: &Source,
    ask: &Ask,
    options: &ReadOptions<'_>,
    taker: &mut Taker<'_>,
) -> Done<Result<FileSummary, IngestError>> {
    let format = ask.format.as_deref();
    let summary = match source {
        Source::File(path) | Source::Found(path) => read_file(path, format, options, taker),
        Source::Stored(stored) => stored.read(format, options, taker)?,
        _ => read_stream("-", Box::new(BufReader::new(std::io::stdin())), format, options, taker),
    };
    match summary {
        Err(error @ (IngestError::Sink { .. } | IngestError::Detector { .. })) => Err(Failed::instrument(error)),
        other => Ok(other),
    }
}

fn unusable(taker: &mut Taker<'_>, first: &mut Option<anyhow::Error>, error: anyhow::Error) {
    taker.report.unusable.push(error.to_string());
    first.get_or_insert(error);
}

fn finish(mut taker: Taker<'_>, first_error: Option<anyhow::Error>) -> Done<InMemory> {
    taker.end().map_err(|error| Failed::instrument(anyhow!("{error}")))?;
    let Taker { report, kept, scores, .. } = taker;
    match first_error {
        Some(error) if report.files.is_empty() && !report.interrupted => Err(Failed::usage(error)),
        _ => Ok(InMemory { report, traces: kept, scores }),
    }
}

fn mapping(world: &World, path: &Path) -> Done<TraceMapping> {
    let text = files::read_text(&world.here.join(path)).map_err(Failed::usage)?;
    let schema = schemars::schema_for!(TraceMapping).to_value();
    let value = config::check_text(&text, &schema, path).map_err(Failed::usage)?;
    serde_json::from_value(value).map_err(Failed::usage)
}

enum Source {
    Stdin,
    File(PathBuf),
    /// A file that stood in a folder.
    Found(PathBuf),
    Platform(String),
    Stored(Stored),
}

impl Source {
    /// Its name where it is no platform.
    fn file(&self) -> Option<String> {
        match self {
            Self::Stdin => Some("-".to_owned()),
            Self::File(path) | Self::Found(path) => Some(path.display().to_string()),
            Self::Stored(stored) => Some(stored.name()),
            Self::Platform(_) => None,
        }
    }
}

/// Files and platforms of all sources. A file wins over a platform of the same name, and that is said.
fn expand(project: &Project, world: &World, sources: &[String], note: &dyn Fn(&str)) -> Done<Vec<Source>> {
    let mut expanded = Vec::new();
    for source in sources {
        let configured = project.config.sources.contains_key(source);
        let exists = world.here.join(source).exists();
        if configured && !exists {
            note(&format!("Pulling from `{source}` as configured under `[sources]`."));
            expanded.push(Source::Platform(source.clone()));
            continue;
        }
        if configured {
            note(&format!("`{source}` is a file here and a platform under `[sources]`: reading the file."));
        } else if !exists && source != "-" && !source.contains(['/', '.']) {
            return Err(Failed::usage(neither(project, source)));
        }
        expanded.extend(expand_files(project, world, std::slice::from_ref(source))?);
    }
    Ok(expanded)
}

/// What is said of a word that names neither a file nor a source.
fn neither(project: &Project, word: &str) -> anyhow::Error {
    let known: Vec<&str> = project.config.sources.keys().map(String::as_str).collect();
    let near = text::nearest(word, known.iter().copied());
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let there = match known.as_slice() {
        [] => "there is none yet".to_owned(),
        known => format!("there is {}", known.join(", ")),
    };
    let word = text::one_line(word, 100);
    let table = project.file.file_name().map_or_else(|| "assize.toml".into(), |name| name.to_string_lossy());
    anyhow!("`{word}` is neither a file or folder here nor a source under `[sources]` of `{table}`{near} ({there})")
}

/// Files of all sources; folders are read recursively, hidden files left out.
fn expand_files(project: &Project, world: &World, sources: &[String]) -> Done<Vec<Source>> {
    let mut expanded = Vec::new();
    for source in sources {
        if source == "-" {
            expanded.push(Source::Stdin);
            continue;
        }
        if let Some(found) = Stored::find(project, world, source) {
            expanded.extend(found?.into_iter().map(Source::Stored));
            continue;
        }
        let path = world.here.join(source);
        if path.is_dir() {
            let mut found = Vec::new();
            walk(&path, &mut found)?;
            if found.is_empty() {
                return Err(Failed::usage(anyhow!("folder `{}` holds no file", path.display())));
            }
            expanded.extend(found.into_iter().map(Source::Found));
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
