//! `assize dataset split|tag|slice|attach|log|verify|export`: arguments, calls, printing.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::print::Printer;
use super::show::{count, table, thousands};
use crate::dataset::FILTER_HELP;
use crate::dataset::splits::HOLDOUT;
use crate::model::{DatasetHeader, Operation};
use crate::ops::dataset_edit::{self, Edited, SplitAsk, TagAsk};
use crate::ops::dataset_verify::{self, Verified};
use crate::ops::datasets::{self, Contents};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// Verbs that make a version of a version, or tell about versions.
#[derive(Debug, Subcommand)]
pub enum EditVerb {
    /// Divide a dataset and freeze its holdout: as `name:holdout`, `name:dev` (and `name:train`) ever after.
    #[command(after_help = "Example:\n  assize dataset split support --holdout 0.2\n  \
                            assize dataset split support --holdout 0.2 --dev 0.3 --by user --seed 7\n  \
                            assize dataset split support --thaw \"three references were wrong\"\n\n\
        An example's split follows from its cluster and the seed alone: it never moves when the dataset grows, and \
        clusters never part. A version that would change a frozen holdout is refused. After a thaw, `split NAME` \
        alone freezes again; `sample` and `dataset import` have a `--thaw` of their own for one version.")]
    Split(SplitArgs),
    /// Tag examples that fit, as a new version.
    #[command(after_help = format!("Example:\n  assize dataset tag support --where 'turns>5 or cost>1' --tag hard\n  \
                            assize dataset tag support --where tag=hard --tag hard --remove\n\n{FILTER_HELP}"))]
    Tag(TagArgs),
    /// Save a slice with the dataset: a name for a filter, in `--where`, as `name:slice`, and in comparisons.
    #[command(after_help = format!("Example:\n  assize dataset slice support costly 'cost>0.5 and tier!=free'\n  \
                            assize dataset show support:costly\n\n{FILTER_HELP}"))]
    Slice(SliceArgs),
    /// Add local files to an example; kept once, by their digest.
    #[command(after_help = "Example:\n  assize dataset attach claims claim-17 photo.png invoice.pdf")]
    Attach(AttachArgs),
    /// Tell how a dataset came to be, newest version first.
    Log {
        /// Name of the dataset.
        dataset: String,
    },
    /// Read everything again and say what is not what was written: versions, holdouts, attachments.
    Verify {
        /// `name` (all its versions) or `name@version`; everything when left out.
        dataset: Option<String>,
    },
    /// Write a version or a part of one for other tools.
    #[command(after_help = "Formats:\n  jsonl         everything, what `assize dataset import` reads\n  \
        csv, parquet  one row per example, for spreadsheets and data frames; import reads them back\n  \
        promptfoo     test cases as JSON\n  openai-evals  samples as JSON lines\n  \
        langfuse      dataset items as JSON\n  langsmith     examples as JSON\n\n\
        Example:\n  assize dataset export support:dev --out dev.csv\n  \
                            assize dataset export support@3 --format langfuse --out items.json")]
    Export(ExportArgs),
}

/// `dataset split`
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Share of the holdout, between 0 and 1. Left out, what is there is frozen again.
    #[arg(long, value_name = "SHARE")]
    pub holdout: Option<f64>,
    /// Share of `dev`; the rest is `train`. Without it the rest is `dev`.
    #[arg(long, value_name = "SHARE", requires = "holdout")]
    pub dev: Option<f64>,
    /// What is never divided: `cluster` (the example itself where it has none), `id`, or a dimension.
    #[arg(long, value_name = "UNIT", default_value = "cluster")]
    pub by: String,
    /// Key of the hash.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Lift the freeze, and say why; kept in the history.
    #[arg(long, value_name = "REASON")]
    pub thaw: Option<String>,
}

/// `dataset tag`
#[derive(Debug, Args)]
pub struct TagArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Tag; may be repeated.
    #[arg(long = "tag", required = true)]
    pub tags: Vec<String>,
    /// Only examples that fit; all when left out.
    #[arg(long = "where", value_name = "FILTER")]
    pub filter: Option<String>,
    /// Take the tags away.
    #[arg(long)]
    pub remove: bool,
}

/// `dataset slice`
#[derive(Debug, Args)]
pub struct SliceArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the slice.
    pub slice: String,
    /// Filter expression.
    #[arg(value_name = "FILTER", required_unless_present = "forget")]
    pub filter: Option<String>,
    /// Forget the slice.
    #[arg(long, conflicts_with = "filter")]
    pub forget: bool,
}

/// `dataset attach`
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Id of the example.
    pub example: String,
    /// Files.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// `dataset export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// `name`, `name@version` or a part of one, `name@version:split`.
    pub dataset: String,
    /// File to write to instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Format. Default: by the ending of `--out`, else `jsonl`.
    #[arg(long)]
    pub format: Option<String>,
}

/// Carries out a verb.
pub fn run(project: &Project, world: &World, verb: EditVerb, printer: &Printer) -> Done<Exit> {
    let edited = match verb {
        EditVerb::Split(args) => {
            let SplitArgs { dataset, holdout, dev, by, seed, thaw } = args;
            dataset_edit::split(project, world, &SplitAsk { dataset, holdout, dev, by, seed, thaw })?
        }
        EditVerb::Tag(args) => {
            let TagArgs { dataset, tags, filter, remove } = args;
            dataset_edit::tag(project, world, &TagAsk { dataset, tags, filter, remove })?
        }
        EditVerb::Slice(args) => {
            dataset_edit::slice(project, world, &args.dataset, &args.slice, args.filter.as_deref())?
        }
        EditVerb::Attach(args) => dataset_edit::attach(project, world, &args.dataset, &args.example, &args.files)?,
        EditVerb::Log { dataset } => {
            let headers = dataset_edit::log(project, &dataset)?;
            printer.result(&headers, || log(&headers))?;
            return Ok(Exit::Pass);
        }
        EditVerb::Verify { dataset } => {
            let (found, exit) = dataset_verify::verify(project, dataset.as_deref())?;
            printer.result(&found, || verified(&found))?;
            return Ok(exit);
        }
        EditVerb::Export(args) => return export(project, world, &args, printer),
    };
    printer.result(&edited, || edited_text(&edited))?;
    Ok(Exit::Pass)
}

fn export(project: &Project, world: &World, args: &ExportArgs, printer: &Printer) -> Done<Exit> {
    let done = datasets::export(project, world, &args.dataset, args.format.as_deref(), args.out.as_deref())?;
    for note in &done.notes {
        printer.note(&format!("note: {note}"));
    }
    match (done.bytes, &args.out) {
        (None, Some(path)) => {
            printer.note(&format!("{} written to {}.", count(done.examples, "example", "examples"), path.display()));
        }
        (bytes, _) => printer.bytes(&bytes.unwrap_or_default())?,
    }
    Ok(Exit::Pass)
}

fn edited_text(edited: &Edited) -> String {
    let header = &edited.header;
    let verb = if edited.unchanged { "is unchanged:" } else { "has" };
    let mut text = format!("{} {verb} {}", header.reference(), count(header.examples, "example", "examples"));
    match header.operation.as_ref().filter(|_| !edited.unchanged).map(|operation| operation.name.as_str()) {
        Some("tag") => drop(write!(text, ", {} of them changed", edited.touched)),
        Some("slice") => drop(write!(text, ", {} of them in the slice", edited.touched)),
        _ => {}
    }
    text.push_str(".\n");
    text.push_str(&splits(header, &edited.splits));
    text
}

/// Splits with their sizes, wanted and got, and whether the holdout is frozen.
fn splits(header: &DatasetHeader, counts: &std::collections::BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    if counts.is_empty() {
        return text;
    }
    let total: u64 = counts.values().sum();
    let share = |n: u64| format!("{:.1} %", 100.0 * n as f64 / total.max(1) as f64);
    let wanted = |name: &str| {
        let shares = header.splits.iter().flat_map(|splits| &splits.shares);
        shares.filter(|(known, _)| known == name).map(|(_, share)| format!("{:.1} %", 100.0 * share)).next()
    };
    let rows: Vec<Vec<String>> = counts
        .iter()
        .map(|(name, n)| {
            let frozen = header.splits.as_ref().and_then(|splits| splits.frozen.as_ref()).filter(|_| name == HOLDOUT);
            let note = frozen.map(|f| format!("frozen since version {}, {}", f.since, f.digest.short()));
            vec![
                one_line(name, 40),
                thousands(*n),
                share(*n),
                wanted(name).unwrap_or_else(|| "-".to_owned()),
                note.unwrap_or_default(),
            ]
        })
        .collect();
    text.push_str(&table(&["split", "examples", "share", "wanted", ""], &rows));
    if let Some(rule) = &header.splits {
        let _ = writeln!(text, "By {}, seed {}.", one_line(&rule.by, 40), rule.seed);
    }
    text
}

/// What stands in a version, for `dataset show`.
pub fn contents(header: &DatasetHeader, found: &Contents) -> String {
    let mut text = String::new();
    let kinds = [
        (found.references, "a reference"),
        (found.expected_calls, "expected tool calls"),
        (found.conversations, "a conversation as input"),
    ];
    let with: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} with {what}", thousands(*n))).collect();
    if !with.is_empty() {
        let _ = writeln!(text, "{}.", with.join(", "));
    }
    let named = |map: &std::collections::BTreeMap<String, u64>| {
        map.iter().map(|(name, n)| format!("{} ({})", one_line(name, 60), thousands(*n))).collect::<Vec<_>>().join(", ")
    };
    for (title, map) in [("Tags", &found.tags), ("Labels", &found.labels)] {
        if !map.is_empty() {
            let _ = writeln!(text, "{title}: {}.", named(map));
        }
    }
    if found.attachments > 0 {
        let _ = writeln!(text, "{}.", count(found.attachments, "attachment", "attachments"));
    }
    match header.part {
        None => text.push_str(&splits(header, &found.splits)),
        // Shares are those of the whole, and a split holds nothing but itself.
        Some(_) if found.splits.len() > 1 => {
            let _ = writeln!(text, "Splits: {}.", named(&found.splits));
        }
        Some(_) => {}
    }
    if found.straddling > 0 {
        let clusters = count(found.straddling, "cluster stands", "clusters stand");
        let _ = writeln!(text, "Note: {clusters} in more than one split, so the splits are not independent.");
    }
    if !header.slices.is_empty() {
        let rows: Vec<Vec<String>> = header
            .slices
            .iter()
            .map(|(name, filter)| {
                let n = found.slices.get(name).copied().unwrap_or_default();
                vec![one_line(name, 40), thousands(n), one_line(filter, 100)]
            })
            .collect();
        text.push_str(&table(&["slice", "examples", "where"], &rows));
    }
    text
}

/// How versions came to be; those given first stand first.
pub fn log(headers: &[DatasetHeader]) -> String {
    let row = |header: &DatasetHeader| {
        let from = header.parent.as_ref().map(|parent| format!("from @{}", parent.version)).unwrap_or_default();
        vec![
            format!("@{}", header.version),
            header.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
            thousands(header.examples),
            header.digest.short().to_owned(),
            from,
            header
                .operation
                .as_ref()
                .map_or_else(|| one_line(&header.sources.join(", "), 80), |o| operation(header, o)),
        ]
    };
    table(&["version", "made", "examples", "task", "", "by"], &headers.iter().map(row).collect::<Vec<_>>())
}

fn operation(header: &DatasetHeader, operation: &Operation) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => one_line(text, 60),
        other => one_line(&other.to_string(), 60),
    };
    let mut told: Vec<String> = operation
        .arguments
        .iter()
        .map(|(name, value)| match *name == operation.name {
            true => word(value),
            false => format!("{name}: {}", word(value)),
        })
        .collect();
    if operation.name == "import" || operation.name == "sample" {
        told.insert(0, one_line(&header.sources.join(", "), 80));
    }
    if let Some(design) = header.design.as_ref().filter(|_| operation.name == "sample") {
        told.push(format!("{}, seed {}", design.method, design.seed));
        told.extend(design.filter.as_ref().map(|filter| format!("where {}", one_line(filter, 60))));
    }
    format!("{} {}", operation.name, told.join("; ")).trim_end().to_owned()
}

fn verified(found: &[Verified]) -> String {
    if found.is_empty() {
        return "No dataset yet.".to_owned();
    }
    let mut text = String::new();
    for version in found {
        let attached = match version.attachments {
            0 => String::new(),
            n => format!(", {}", count(n, "attachment", "attachments")),
        };
        let examples = count(version.examples, "example", "examples");
        let word = if version.problems.is_empty() { "ok" } else { "BROKEN" };
        let _ = writeln!(text, "{:<6}  {}: {examples}{attached}", word, one_line(&version.dataset, 120));
        for problem in &version.problems {
            let _ = writeln!(text, "        {}", one_line(problem, 600));
        }
    }
    let broken = found.iter().filter(|version| !version.problems.is_empty()).count() as u64;
    if broken > 0 {
        let _ = writeln!(text, "{} broken.", count(broken, "version is", "versions are"));
    }
    text
}
