//! Verbs that make a version of a version: split and thaw, tag, save a slice, attach files. And the history of it all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;
use serde_json::json;

use super::datasets::{open, root};
use super::exit::{Done, Failed};
use super::project::{Project, World};
use crate::dataset::{
    self, Change, DatasetReader, Filter, Provenance, Written, attachments, example_dimension, parent_of, splits,
    write_change,
};
use crate::model::{DatasetHeader, Example, ExampleId, Operation, Splits};
use crate::sys::{files, text};

/// What an edit did.
#[derive(Debug, Serialize)]
pub struct Edited {
    /// Head of the version that holds the examples now.
    pub header: DatasetHeader,
    /// Whether it was there already.
    pub unchanged: bool,
    /// Examples it touched.
    pub touched: u64,
    /// Examples by split, where there are any.
    pub splits: BTreeMap<String, u64>,
}

/// What is asked of a split.
#[derive(Debug, Default)]
pub struct SplitAsk {
    /// Dataset.
    pub dataset: String,
    /// Share of the holdout; absent to freeze or thaw what is there.
    pub holdout: Option<f64>,
    /// Share of `dev`.
    pub dev: Option<f64>,
    /// Unit that is never divided.
    pub by: String,
    /// Key of the hash.
    pub seed: u64,
    /// Why the freeze is lifted.
    pub thaw: Option<String>,
}

/// Divides a dataset and freezes its holdout; or lifts the freeze.
pub fn split(project: &Project, world: &World, ask: &SplitAsk) -> Done<Edited> {
    let (reader, mut examples) = whole(project, &ask.dataset)?;
    let header = reader.header();
    let known = header.splits.clone();
    check_thaw(ask.thaw.as_deref(), header)?;
    let thaw = ask.thaw.is_some();
    let rule: Splits = match (ask.holdout, known) {
        (Some(holdout), _) => splits::plan(holdout, ask.dev, &ask.by, ask.seed).map_err(Failed::usage)?,
        (None, Some(known)) => known,
        (None, None) => {
            return Err(Failed::usage(anyhow!("`{}` has no splits yet; give `--holdout 0.2`", header.reference())));
        }
    };
    splits::assign(&rule, &mut examples).map_err(Failed::usage)?;
    let counts = splits::counts(&examples);
    if !counts.contains_key(splits::HOLDOUT) || counts.len() < 2 {
        let units = if rule.by == "id" { "examples" } else { "clusters" };
        return Err(Failed::usage(anyhow!(
            "all examples fall into one split: there are too few {units} for these shares; add examples or try another \
             `--seed`"
        )));
    }
    let freeze = ask.holdout.is_some() || !thaw;
    let mut operation = Operation::new(if freeze { "split" } else { "thaw" }).with("by", rule.by.as_str());
    if freeze {
        operation = operation.with("seed", rule.seed);
        for (name, share) in &rule.shares {
            operation = operation.with(name, *share);
        }
    }
    operation = operation.with("thaw", json!(ask.thaw));
    let touched = examples.len() as u64;
    let change = Change { operation, splits: Some(rule), freeze, thaw, ..Change::default() };
    write(project, world, &reader, examples, change, touched)
}

/// Whether a freeze may be lifted: there is one, and a reason is given.
fn check_thaw(reason: Option<&str>, header: &DatasetHeader) -> Done<()> {
    let Some(reason) = reason else { return Ok(()) };
    if reason.trim().is_empty() {
        return Err(Failed::usage(anyhow!("`--thaw` needs a reason: why may the holdout change?")));
    }
    if header.splits.as_ref().is_none_or(|splits| splits.frozen.is_none()) {
        return Err(Failed::usage(anyhow!("nothing is frozen in `{}`", header.reference())));
    }
    Ok(())
}

/// What a version made of new examples does to the one before it. With a reason to thaw, the holdout may change once:
/// what the new version holds is frozen in turn.
pub(super) fn changed(root: &Path, name: &str, operation: &str, thaw: Option<&str>) -> Done<Change> {
    let operation = Operation::new(operation);
    let Some(reason) = thaw else { return Ok(Change { operation, ..Change::default() }) };
    match dataset::history(root, name).map_err(Failed::usage)?.last() {
        Some(latest) => check_thaw(thaw, latest)?,
        None => return Err(Failed::usage(anyhow!("nothing is frozen in `{name}`"))),
    }
    let operation = operation.with("thaw", reason);
    Ok(Change { operation, freeze: true, thaw: true, ..Change::default() })
}

/// What is asked of a tagging.
#[derive(Debug, Default)]
pub struct TagAsk {
    /// Dataset.
    pub dataset: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Which examples; all when absent.
    pub filter: Option<String>,
    /// Takes the tags away.
    pub remove: bool,
}

/// Tags examples, or takes tags away.
pub fn tag(project: &Project, world: &World, ask: &TagAsk) -> Done<Edited> {
    let (reader, mut examples) = whole(project, &ask.dataset)?;
    for tag in &ask.tags {
        check_word("tag", tag)?;
    }
    let filter = filter(&reader, ask.filter.as_deref())?;
    let (mut fits, mut touched) = (0, 0);
    for example in &mut examples {
        if !fits_filter(filter.as_ref(), example) {
            continue;
        }
        fits += 1;
        let before = example.tags.clone();
        for tag in &ask.tags {
            if ask.remove {
                example.tags.remove(tag);
            } else {
                example.tags.insert(tag.clone());
            }
        }
        touched += u64::from(example.tags != before);
    }
    if fits == 0 {
        return Err(Failed::usage(anyhow!("no example of `{}` fits; nothing was tagged", reader.header().reference())));
    }
    let operation = Operation::new("tag")
        .with(if ask.remove { "remove" } else { "tag" }, ask.tags.join(", "))
        .with("where", json!(ask.filter));
    write(project, world, &reader, examples, Change { operation, ..Change::default() }, touched)
}

/// Saves a slice with a dataset, or forgets it.
pub fn slice(project: &Project, world: &World, wanted: &str, name: &str, expression: Option<&str>) -> Done<Edited> {
    let (reader, examples) = whole(project, wanted)?;
    check_word("slice", name)?;
    let mut slices = reader.header().slices.clone();
    let reserved = examples.iter().any(|example| example.split.as_deref() == Some(name));
    if reserved {
        return Err(Failed::usage(anyhow!("`{name}` is a split of this dataset; give the slice another name")));
    }
    let mut touched = 0;
    match expression {
        Some(expression) => {
            slices.insert(name.to_owned(), expression.to_owned());
            let filter = Filter::parse_with(expression, &slices).map_err(Failed::usage)?;
            touched = examples.iter().filter(|example| fits_filter(Some(&filter), example)).count() as u64;
            if touched == 0 {
                return Err(Failed::usage(anyhow!("no example of `{}` fits `{filter}`", reader.header().reference())));
            }
        }
        None if slices.remove(name).is_none() => {
            return Err(Failed::usage(anyhow!("there is no slice `{}` to forget", text::one_line(name, 80))));
        }
        None => {}
    }
    // A slice may stand in others: what is left must still be readable.
    for text in slices.values() {
        Filter::parse_with(text, &slices).map_err(Failed::usage)?;
    }
    let operation = Operation::new("slice").with("name", name).with("where", json!(expression));
    write(project, world, &reader, examples, Change { operation, slices: Some(slices), ..Change::default() }, touched)
}

/// Adds local files to one example.
pub fn attach(project: &Project, world: &World, wanted: &str, id: &str, paths: &[PathBuf]) -> Done<Edited> {
    let (reader, mut examples) = whole(project, wanted)?;
    let name = reader.header().name.clone();
    let place = reader.position(&ExampleId::new(id));
    let example = place.and_then(|place| examples.get_mut(place)).ok_or_else(|| {
        let (id, dataset) = (text::one_line(id, 80), reader.header().reference());
        Failed::usage(anyhow!(
            "no example `{id}` in `{dataset}`; `assize dataset show {name} --examples 20` lists some"
        ))
    })?;
    let mut names = Vec::new();
    for path in paths {
        let bytes = files::read_bytes(&world.here.join(path)).map_err(Failed::usage)?;
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let kept = attachments::keep(&root(project), &name, &file, None, &bytes).map_err(Failed::usage)?;
        example.attachments.retain(|known| known.name != kept.name);
        example.attachments.push(kept);
        names.push(file);
    }
    let operation = Operation::new("attach").with("example", id).with("files", names.join(", "));
    write(project, world, &reader, examples, Change { operation, ..Change::default() }, 1)
}

/// Heads of all versions, newest first.
pub fn log(project: &Project, name: &str) -> Done<Vec<DatasetHeader>> {
    let name = name.split(['@', ':']).next().unwrap_or_default();
    let mut headers = dataset::history(&root(project), name).map_err(Failed::usage)?;
    headers.reverse();
    Ok(headers)
}

/// Tags and slices are words: they stand alone in filters, and after a dot in names of slices.
fn check_word(what: &str, name: &str) -> Done<()> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !name.is_empty() && name.chars().count() <= 60 && name.chars().all(plain) {
        return Ok(());
    }
    let shown = text::one_line(name, 80);
    Err(Failed::usage(anyhow!("{what} `{shown}` is not allowed; use up to 60 letters, digits, `-`, `_`, `.` and `/`")))
}

/// A whole version with its examples. An edit of a part would lose the rest.
pub(super) fn whole(project: &Project, wanted: &str) -> Done<(DatasetReader, Vec<Example>)> {
    let reader = open(project, wanted)?;
    if let Some(part) = &reader.header().part {
        let name = &reader.header().name;
        return Err(Failed::usage(anyhow!(
            "a new version is made of a whole one: name `{name}` without `:{part}`, and say which examples with \
             `--where`, such as `--where split={part}`"
        )));
    }
    let examples = reader.iter().collect::<Result<_, _>>().map_err(Failed::usage)?;
    Ok((reader, examples))
}

/// A filter that may name the saved slices of a dataset.
pub(super) fn filter(reader: &DatasetReader, text: Option<&str>) -> Done<Option<Filter>> {
    text.map(|text| Filter::parse_with(text, &reader.header().slices)).transpose().map_err(Failed::usage)
}

/// Whether an example fits; every example fits no filter.
pub(super) fn fits_filter(filter: Option<&Filter>, example: &Example) -> bool {
    filter.is_none_or(|filter| filter.matches(|name| example_dimension(example, name)))
}

/// Writes the next version with everything that the version it was made from says of itself.
pub(super) fn write(
    project: &Project,
    world: &World,
    from: &DatasetReader,
    examples: Vec<Example>,
    change: Change,
    touched: u64,
) -> Done<Edited> {
    let header = from.header();
    let provenance = Provenance {
        description: header.description.clone(),
        sources: header.sources.clone(),
        design: header.design.clone(),
    };
    let change = Change { parent: Some(parent_of(header)), ..change };
    let counts = splits::counts(&examples);
    let written = write_change(&root(project), &header.name, examples, provenance, change, world.clock.as_ref());
    let written = written.map_err(Failed::usage)?;
    Ok(Edited {
        header: written.header().clone(),
        unchanged: matches!(written, Written::Unchanged(_)),
        touched,
        splits: counts,
    })
}
