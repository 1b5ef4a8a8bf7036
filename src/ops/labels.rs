//! `assize labels`: sheets for people, their labels back onto the dataset, and how far they agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::dataset_edit::{filter, fits_filter, whole, write};
use super::datasets::open;
use super::exit::{Done, Failed};
use super::outputs::plain_file;
use super::project::{Project, World};
use crate::dataset::labels::{
    self, Answer, LabelReport, Merge, Merged, QueueAsk, QueueRow, read_sheet, write_csv, write_jsonl,
};
use crate::dataset::{Change, Rejections};
use crate::judge;
use crate::model::{DatasetHeader, Example, Operation};
use crate::sys::{files, text};

/// How many rejected rows are told.
const TOLD: usize = 20;
/// How many of them, where not one row is good: they mostly say the same.
const TOLD_OF_ALL: usize = 3;

/// Column of a sheet that holds the labels.
const VALUE: &str = "value";
/// Most columns of a sheet that are told.
const MOST_COLUMNS: usize = 60;

/// Where a sheet's name says whose it is.
const PLACEHOLDER: &str = "{annotator}";

/// What is asked of a queue.
#[derive(Debug, Default)]
pub struct QueueWanted {
    /// Dataset, or a part of one.
    pub dataset: String,
    /// Name of the labels.
    pub name: Option<String>,
    /// The question in words.
    pub question: Option<String>,
    /// Values it takes.
    pub values: Vec<String>,
    /// Which examples.
    pub filter: Option<String>,
    /// How many outputs.
    pub count: Option<usize>,
    /// Seed.
    pub seed: u64,
    /// People per output.
    pub overlap: usize,
    /// Who.
    pub annotators: Vec<String>,
    /// Hide what could lead.
    pub blind: bool,
    /// Sheet.
    pub out: String,
    /// Overwrite a sheet that is there.
    pub force: bool,
}

/// What a queue gave.
#[derive(Debug, Serialize)]
pub struct Queued {
    /// Dataset.
    pub dataset: String,
    /// Name of the labels.
    pub name: String,
    /// Sheets with their rows.
    pub sheets: Vec<(PathBuf, usize)>,
    /// Outputs in them.
    pub items: usize,
    /// Outputs left out because enough people have labelled them.
    pub labelled: usize,
    /// Outputs left out by the count.
    pub left: usize,
    /// Whether the examples have no recorded outputs, so that they themselves are asked about.
    pub without_outputs: bool,
}

/// Makes sheets for people.
pub fn queue(project: &Project, world: &World, wanted: &QueueWanted) -> Done<Queued> {
    let name = match (&wanted.name, &wanted.question) {
        (Some(name), _) => name.clone(),
        (None, Some(question)) => slug(question),
        (None, None) => {
            return Err(Failed::usage(anyhow!("name a judge with `--name`, or ask with `--question TEXT`")));
        }
    };
    let asked = judge_of(project, &name)?;
    let answer = match (&asked, wanted.values.as_slice()) {
        (Some(_), [_, ..]) => {
            return Err(Failed::usage(anyhow!("`{name}` is a judge and has a scale; leave `--values` out")));
        }
        (Some((answer, _)), []) => answer.clone(),
        (None, []) => Answer::Free,
        (None, values) => Answer::OneOf(values.to_vec()),
    };
    let reader = open(project, &wanted.dataset)?;
    let filter = filter(&reader, wanted.filter.as_deref())?;
    let mut examples: Vec<Example> = reader.iter().collect::<Result<_, _>>().map_err(Failed::usage)?;
    examples.retain(|example| fits_filter(filter.as_ref(), example));
    let summary = asked.map(|(_, summary)| summary);
    let ask = QueueAsk {
        question: wanted.question.clone().or(summary).unwrap_or_else(|| name.clone()),
        allowed: answer.shown(),
        count: wanted.count,
        seed: wanted.seed,
        overlap: wanted.overlap,
        annotators: wanted.annotators.clone(),
        blind: wanted.blind,
        name: name.clone(),
    };
    let queue = labels::queue(&examples, &ask).map_err(Failed::usage)?;
    let sheets = sheets(world, wanted, &queue.rows)?;
    let mut written = Vec::new();
    for (path, rows) in &sheets {
        let is_csv = path.extension().is_some_and(|ending| ending == "csv");
        let bytes = if is_csv { write_csv(rows).map_err(Failed::usage)? } else { write_jsonl(rows) };
        files::write_atomic(path, &bytes).map_err(Failed::usage)?;
        written.push((path.clone(), rows.len()));
    }
    Ok(Queued {
        dataset: reader.header().reference(),
        name,
        sheets: written,
        items: queue.items,
        labelled: queue.labelled,
        left: queue.left,
        without_outputs: examples.iter().all(|example| example.recorded.is_empty()),
    })
}

/// The rows of each sheet, all paths looked at before anything is written.
fn sheets(world: &World, wanted: &QueueWanted, rows: &[QueueRow]) -> Done<BTreeMap<PathBuf, Vec<QueueRow>>> {
    if wanted.out.contains(PLACEHOLDER) && wanted.annotators.is_empty() {
        return Err(Failed::usage(anyhow!("`{PLACEHOLDER}` in `--out` needs `--annotators`")));
    }
    let mut sheets: BTreeMap<PathBuf, Vec<QueueRow>> = BTreeMap::new();
    for row in rows {
        let file = wanted.out.replace(PLACEHOLDER, &slug(&row.annotator));
        sheets.entry(world.here.join(file)).or_default().push(row.clone());
    }
    for path in sheets.keys() {
        plain_file(path)?;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !["csv", "jsonl"].contains(&ending) {
            return Err(Failed::usage(anyhow!("`{}` should end in `.csv` or `.jsonl`", path.display())));
        }
        if path.exists() && !wanted.force {
            return Err(Failed::usage(anyhow!(
                "`{}` is there and may hold somebody's work; name another file, or overwrite it with `--force`",
                path.display()
            )));
        }
    }
    Ok(sheets)
}

/// A text as a name: its letters and digits in lower case, joined by `-`.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let joined = words.map(str::to_lowercase).collect::<Vec<_>>().join("-");
    joined.chars().take(60).collect()
}

/// The values and the criterion of a judge; `None` when there is no judge of that name.
fn judge_of(project: &Project, name: &str) -> Done<Option<(Answer, String)>> {
    let folder = project.path(&project.config.judges);
    match judge::find(name, Some(&folder)) {
        Ok(files) => {
            let spec = files.parse().map_err(|problems| Failed::usage(judge::CatalogueError::wrong(name, problems)))?;
            Ok(Some((Answer::Scale(spec.scale.to_scale()), spec.summary)))
        }
        Err(judge::CatalogueError::NotFound { .. }) => Ok(None),
        Err(error) => Err(Failed::usage(error)),
    }
}

/// What an import of labels did.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// Head of the version that holds the labels now.
    pub header: DatasetHeader,
    /// Whether nothing changed.
    pub unchanged: bool,
    /// Labels that are new.
    pub added: u64,
    /// Labels that took the place of an earlier one of the same person.
    pub replaced: u64,
    /// Labels that were there already.
    pub same: u64,
    /// Rows without a value.
    pub blank: u64,
    /// Rows turned away.
    pub rejected: u64,
    /// The first of them, with place and reason.
    pub rejections: Vec<String>,
}

/// Brings the labels of sheets onto a dataset, as a new version.
pub fn import(
    project: &Project,
    world: &World,
    wanted: &str,
    sheets: &[PathBuf],
    name: Option<&str>,
    annotator: Option<&str>,
) -> Done<Imported> {
    let (reader, mut examples) = whole(project, wanted)?;
    let mut judges: BTreeMap<String, Option<Answer>> = BTreeMap::new();
    for (found, sheet) in names_in(world, sheets, name)? {
        let answer = judge_of(project, &found).map_err(|failed| Failed {
            error: failed.error.context(format!("`{}` names the judge `{found}`", sheet.display())),
            ..failed
        })?;
        judges.insert(found, answer.map(|(answer, _)| answer));
    }
    let answers = |name: &str| judges.get(name).cloned().flatten();
    let mut merge = Merge::new(&mut examples, &answers, name, annotator);
    for sheet in sheets {
        let path = world.here.join(sheet);
        read_sheet(&path, |row| merge.take(sheet, row)).map_err(Failed::usage)?;
    }
    let Merged { added, replaced, same, blank, rejected } = merge.finish();
    if added + replaced + same == 0 {
        return Err(Failed::usage(no_label(&rejected)));
    }
    let files: Vec<String> = sheets.iter().map(|sheet| sheet.display().to_string()).collect();
    let operation = Operation::new("label")
        .with("files", files.join(", "))
        .with("annotator", annotator)
        .with("added", added)
        .with("replaced", replaced);
    let change = Change { operation, ..Change::default() };
    let edited = write(project, world, &reader, examples, change, added + replaced)?;
    Ok(Imported {
        header: edited.header,
        unchanged: edited.unchanged,
        added,
        replaced,
        same,
        blank,
        rejected: rejected.total,
        rejections: rejected.kept.iter().take(TOLD).map(ToString::to_string).collect(),
    })
}

fn no_label(rejected: &Rejections) -> anyhow::Error {
    let first: String = rejected.kept.iter().take(TOLD_OF_ALL).map(|row| format!("\n  {row}")).collect();
    match rejected.total.saturating_sub(TOLD_OF_ALL as u64) {
        _ if rejected.is_empty() => anyhow!("no row has a value yet: fill the column `value`"),
        0 => anyhow!("no label was taken; {} rows are wrong:{first}", rejected.total),
        more => anyhow!("no label was taken; all {} rows are wrong:{first}\n  and {more} more", rejected.total),
    }
}

/// Names that the rows of sheets have, each with a sheet that has it. A sheet without a column of values is refused
/// here, once instead of for every row.
fn names_in(world: &World, sheets: &[PathBuf], name: Option<&str>) -> Done<BTreeMap<String, PathBuf>> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let none = Path::new("--name");
    found.extend(name.map(|name| (name.to_owned(), none.to_owned())));
    for sheet in sheets {
        let (mut has_values, mut columns) = (false, BTreeSet::new());
        read_sheet(&world.here.join(sheet), |row| {
            let Ok(row) = row else { return };
            let Some(fields) = row.fields.as_object() else { return };
            has_values |= fields.contains_key(VALUE);
            if columns.len() < MOST_COLUMNS {
                columns.extend(fields.keys().cloned());
            }
            let named = fields.get("name").and_then(|name| name.as_str()).map(|name| name.trim().to_owned());
            found.extend(named.filter(|name| !name.is_empty()).map(|name| (name, sheet.clone())));
        })
        .map_err(Failed::usage)?;
        if !has_values && !columns.is_empty() {
            let near = text::nearest(VALUE, columns.iter().map(String::as_str));
            let near = near.map_or_else(|| ".".to_owned(), |near| format!("; is it `{}`?", text::one_line(near, 60)));
            let columns = text::one_line(&columns.into_iter().collect::<Vec<_>>().join(", "), 300);
            return Err(Failed::usage(anyhow!(
                "`{}` has no column `{VALUE}`, which holds the labels{near} It has: {columns}",
                sheet.display(),
            )));
        }
    }
    Ok(found)
}

/// Labels of a dataset.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Dataset.
    pub dataset: String,
    /// Examples.
    pub examples: u64,
    /// One report per name.
    pub labels: Vec<LabelReport>,
}

/// How many labels there are, by whom, and how far people agree.
pub fn show(project: &Project, wanted: &str, name: Option<&str>) -> Done<Shown> {
    let reader = open(project, wanted)?;
    let examples: Vec<Example> = reader.iter().collect::<Result<_, _>>().map_err(Failed::usage)?;
    let reports = labels::report(&examples, name);
    if let (Some(name), true) = (name, reports.is_empty()) {
        let have: Vec<String> = labels::report(&examples, None).into_iter().map(|report| report.name).collect();
        let have =
            if have.is_empty() { "there are none yet".to_owned() } else { format!("there is {}", have.join(", ")) };
        return Err(Failed::usage(anyhow!("no labels `{name}` in `{}`; {have}", reader.header().reference())));
    }
    Ok(Shown { dataset: reader.header().reference(), examples: examples.len() as u64, labels: reports })
}
