//! `assize labels`: arguments, calls, printing.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::print::Printer;
use super::show::{count, table, thousands};
use crate::dataset::labels::LabelReport;
use crate::ops::labels::{self, Imported, QueueWanted, Queued, Shown};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// How many disagreements are listed.
const LISTED: usize = 20;

/// `labels`
#[derive(Debug, Subcommand)]
pub enum LabelsVerb {
    /// Make a sheet of outputs for people to label.
    #[command(after_help = "Example:\n  \
        assize labels queue support --name faithful --count 50 --blind --out queue.csv\n  \
        assize labels queue support:dev --question \"Is the tone right?\" --values yes,no \\\n    \
        --out tone.csv\n  \
        assize labels queue support --name faithful --annotators ann,bob --overlap 2 --blind \\\n    \
        --out 'queue-{annotator}.csv'\n\n\
        A blind sheet hides variant, reference, labels and verdicts, and is shuffled by the seed. People fill `value` \
        and perhaps `reason`; rows may be sorted, the key finds them again.")]
    Queue(QueueArgs),
    /// Bring filled sheets back, as a new version of the dataset.
    #[command(after_help = "Example:\n  assize labels import support queue-ann.csv queue-bob.csv\n  \
        assize labels import support old.csv --name faithful --annotator ann\n\n\
        Columns: `value`, and `key` of a queue or `example` (with `variant` and `trial`) of a sheet made by hand; \
        `name`, `annotator`, `reason`. The same person's later label replaces the earlier; others' stay.")]
    Import(ImportArgs),
    /// Count labels by name and person, and say how far people agree.
    #[command(after_help = "Example:\n  assize labels show support --name faithful")]
    Show(ShowArgs),
}

/// `labels queue`
#[derive(Debug, Args)]
pub struct QueueArgs {
    /// `name`, `name@version` or a part of one.
    pub dataset: String,
    /// Name the labels will have; a judge's name brings its question and scale.
    #[arg(long, required_unless_present = "question")]
    pub name: Option<String>,
    /// The question in words.
    #[arg(long)]
    pub question: Option<String>,
    /// Values the question takes, separated by commas; a judge has its own.
    #[arg(long, value_delimiter = ',')]
    pub values: Vec<String>,
    /// Only examples that fit.
    #[arg(long = "where", value_name = "FILTER")]
    pub filter: Option<String>,
    /// How many outputs; all when left out.
    #[arg(long)]
    pub count: Option<usize>,
    /// Seed of choice and order.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How many people look at each output.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub overlap: u64,
    /// Who labels, separated by commas; each gets an equal share.
    #[arg(long, value_delimiter = ',')]
    pub annotators: Vec<String>,
    /// Hide variant, reference, labels and verdicts, and shuffle.
    #[arg(long)]
    pub blind: bool,
    /// Sheet: `.csv` or `.jsonl`; `{annotator}` in its name makes one for each.
    #[arg(long, value_name = "FILE")]
    pub out: String,
    /// Overwrite a sheet that is there.
    #[arg(long)]
    pub force: bool,
}

/// `labels import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Name of the dataset.
    pub dataset: String,
    /// Sheets: CSV or JSON lines.
    #[arg(required = true)]
    pub sheets: Vec<PathBuf>,
    /// Name of the labels, for rows that say none.
    #[arg(long)]
    pub name: Option<String>,
    /// Who labelled, for rows that say none.
    #[arg(long)]
    pub annotator: Option<String>,
}

/// `labels show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// `name`, `name@version` or a part of one.
    pub dataset: String,
    /// Only labels of this name.
    #[arg(long)]
    pub name: Option<String>,
}

/// Carries out a verb.
pub fn run(project: &Project, world: &World, verb: LabelsVerb, printer: &Printer) -> Done<Exit> {
    match verb {
        LabelsVerb::Queue(args) => {
            let wanted = QueueWanted {
                dataset: args.dataset,
                name: args.name,
                question: args.question,
                values: args.values,
                filter: args.filter,
                count: args.count,
                seed: args.seed,
                overlap: usize::try_from(args.overlap).unwrap_or(1),
                annotators: args.annotators,
                blind: args.blind,
                out: args.out,
                force: args.force,
            };
            let done = labels::queue(project, world, &wanted)?;
            printer.result(&done, || queued(&done))?;
        }
        LabelsVerb::Import(args) => {
            let (name, annotator) = (args.name.as_deref(), args.annotator.as_deref());
            let done = labels::import(project, world, &args.dataset, &args.sheets, name, annotator)?;
            printer.result(&done, || imported(&done))?;
        }
        LabelsVerb::Show(args) => {
            let shown = labels::show(project, &args.dataset, args.name.as_deref())?;
            printer.result(&shown, || show(&shown))?;
        }
    }
    Ok(Exit::Pass)
}

fn queued(done: &Queued) -> String {
    let name = one_line(&done.name, 60);
    let mut text =
        format!("{} of {} to label `{name}`:\n", count(done.items as u64, "output", "outputs"), done.dataset);
    for (path, rows) in &done.sheets {
        let _ = writeln!(text, "  {} ({})", path.display(), count(*rows as u64, "row", "rows"));
    }
    if done.labelled > 0 {
        let _ = writeln!(text, "{} left out: labelled already.", count(done.labelled as u64, "was", "were"));
    }
    if done.left > 0 {
        let _ = writeln!(text, "{} for another time.", count(done.left as u64, "is left", "are left"));
    }
    if done.without_outputs {
        text.push_str("Note: nothing is recorded for these examples, so the examples themselves are asked about.\n");
    }
    let dataset = done.dataset.split(['@', ':']).next().unwrap_or_default();
    let _ = writeln!(text, "Fill `value` and `reason`, then: assize labels import {dataset} SHEET");
    text
}

fn imported(done: &Imported) -> String {
    let mut text = match done.unchanged {
        true => format!("{} is unchanged: all {} were there already", done.header.reference(), done.same),
        false => format!(
            "{}: {} added, {} replaced, {} there already",
            done.header.reference(),
            count(done.added, "label", "labels"),
            done.replaced,
            done.same
        ),
    };
    text.push_str(".\n");
    if done.blank > 0 {
        let _ = writeln!(text, "{} without a value, not labelled yet.", count(done.blank, "row is", "rows are"));
    }
    if done.rejected > 0 {
        let _ = writeln!(text, "{} rejected:", count(done.rejected, "row was", "rows were"));
        for row in &done.rejections {
            let _ = writeln!(text, "  {row}");
        }
        let more = done.rejected.saturating_sub(done.rejections.len() as u64);
        if more > 0 {
            let _ = writeln!(text, "  and {} more", thousands(more));
        }
    }
    text
}

fn show(shown: &Shown) -> String {
    if shown.labels.is_empty() {
        return format!("{} has no labels yet: `assize labels queue` makes a sheet for people.", shown.dataset);
    }
    shown.labels.iter().map(report).collect::<Vec<_>>().join("\n")
}

fn report(found: &LabelReport) -> String {
    let mut text = format!(
        "{}: {} on {}, {} by several people.\n",
        one_line(&found.name, 80),
        count(found.labels, "label", "labels"),
        count(found.items, "output", "outputs"),
        found.shared
    );
    let rows: Vec<Vec<String>> = found
        .annotators
        .iter()
        .map(|(who, values)| {
            let told: Vec<String> = values.iter().map(|(value, n)| format!("{} {n}", one_line(value, 30))).collect();
            vec![one_line(who, 40), thousands(values.values().sum()), one_line(&told.join(", "), 120)]
        })
        .collect();
    text.push_str(&table(&["annotator", "labels", "values"], &rows));
    let number = |value: Option<f64>| value.map_or_else(|| "not defined".to_owned(), |value| format!("{value:.3}"));
    if found.shared > 0 {
        let _ = writeln!(text, "Krippendorff's alpha ({}): {}.", found.metric, number(found.alpha));
    }
    if !found.pairs.is_empty() {
        let rows: Vec<Vec<String>> = found
            .pairs
            .iter()
            .map(|pair| {
                let same = pair.same.map_or_else(|| "-".to_owned(), |same| format!("{:.1} %", 100.0 * same));
                let (left, right) = (one_line(&pair.left, 30), one_line(&pair.right, 30));
                vec![format!("{left}, {right}"), thousands(pair.items), same, number(pair.kappa)]
            })
            .collect();
        text.push_str(&table(&["pair", "outputs", "same", "kappa"], &rows));
    }
    if !found.disagreements.is_empty() {
        let _ = writeln!(text, "They differ on {}:", count(found.disagreements.len() as u64, "output", "outputs"));
    }
    for row in found.disagreements.iter().take(LISTED) {
        let said: Vec<String> =
            row.said.iter().map(|(who, value)| format!("{} {}", one_line(who, 30), one_line(value, 40))).collect();
        let output = match (&row.variant, row.trial) {
            (Some(variant), Some(trial)) => format!(" ({} #{trial})", one_line(variant, 40)),
            (None, Some(trial)) => format!(" (#{trial})"),
            _ => String::new(),
        };
        let _ = writeln!(text, "  {}{output}: {}", one_line(&row.example, 60), said.join(", "));
    }
    let more = found.disagreements.len().saturating_sub(LISTED);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more; `--json` lists all");
    }
    text
}
