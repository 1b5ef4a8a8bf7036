//! `assize sample`: its flags, its call, and the design as a page to read.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::dataset::design;
use super::print::Printer;
use super::show::{count, short, table, thousands};
use crate::dataset;
use crate::model::{SampleDesign, Stratum};
use crate::ops::sample::{self, Ask, SampleReport};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// Most strata and rules that are shown; JSON has all.
const SHOWN: usize = 40;

/// `sample`
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// Name of the dataset.
    pub name: String,
    /// Read traces from these files instead of the lake.
    #[arg(long, value_name = "SRC")]
    pub from: Vec<String>,
    /// File with the whole plan. Default: `[samples.NAME]` of assize.toml. Flags win over both.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Choose and show, but write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Show the design in full: expected and got, weights, effective sizes, what was left out.
    #[arg(long)]
    pub explain: bool,
    /// Write the decision on every candidate to this file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    pub decisions: Option<PathBuf>,
    /// What the dataset is, in words.
    #[arg(long)]
    pub description: Option<String>,
    /// Change the frozen holdout with this version, and say why; kept in the history, and frozen again.
    #[arg(long, value_name = "REASON")]
    pub thaw: Option<String>,
    #[command(flatten)]
    design: DesignArgs,
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    examples: ExampleArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Design")]
struct DesignArgs {
    /// How many examples; clusters with `--cluster-by`, on average with `--risk`. Either this or `--rate`; all when
    /// neither is given.
    #[arg(long, conflicts_with = "rate", value_parser = at_least_one)]
    count: Option<u64>,
    /// Share of examples, in (0, 1].
    #[arg(long)]
    rate: Option<f64>,
    /// Dimensions that define strata, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "DIMENSION")]
    stratify: Vec<String>,
    /// How `--count` is split over strata. Default: proportional.
    #[arg(long)]
    allocate: Option<Allocate>,
    /// Numeric dimension whose spread within strata `--allocate neyman` goes by.
    #[arg(long, value_name = "DIMENSION")]
    neyman_by: Option<String>,
    /// Raise the probability of some, as `WHEN=RATE`: `errors=1`, `negative_feedback=1`, `loops=0.5`,
    /// `top 5% of cost=1`, or a filter such as `tier=pro=0.5`. May be repeated.
    #[arg(long, value_name = "WHEN=RATE")]
    boost: Vec<String>,
    /// How the rates of several rules meet. Default: the greatest.
    #[arg(long)]
    combine: Option<Combine>,
    /// Chances by a score of numeric dimensions, as `DIMENSION` or `DIMENSION=WEIGHT`. May be repeated. How many are
    /// chosen varies, so that estimates are ratios: in small samples slightly biased (0.3 to 0.4 % at 140 examples of
    /// a skewed population in our simulation, within noise at 400).
    #[arg(long, value_name = "DIMENSION")]
    risk: Vec<String>,
    /// Least probability by `--risk`. Default: a tenth of the mean.
    #[arg(long, value_name = "PROBABILITY", requires = "risk")]
    risk_floor: Option<f64>,
    /// Draw whole clusters: all examples of a chosen session or user.
    #[arg(long, value_name = "DIMENSION")]
    cluster_by: Option<String>,
    /// Most examples of a chosen cluster.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    per_cluster: Option<u64>,
    /// Merge near-duplicates before choosing: `off`, or the least similarity such as 0.85.
    #[arg(long, value_name = "off|SIMILARITY")]
    near_duplicates: Option<String>,
    /// Inputs that differ in numbers and ids alone are near-duplicates, too.
    #[arg(long, requires = "near_duplicates")]
    ignore_numbers: bool,
    /// Choose the `--count` that differ most. No probability sample: it estimates nothing.
    #[arg(long, value_name = "BY")]
    diverse: Option<Diverse>,
    /// Model under `[models]` that embeds, for `--diverse embeddings`.
    #[arg(long, value_name = "MODEL")]
    embedder: Option<String>,
    /// Seed of the choice. Default: 0.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Which traces")]
struct WhichArgs {
    /// Only traces that fit, such as `ticket.intent=refund,status!=error`.
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<String>,
    /// Only traces that began at or after this: a time, a date, or how far back (`7d`).
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only traces that began before this: a time, a date, or how far back.
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only the N traces that began last.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    newest: Option<u64>,
    /// Only traces after those that the newest version of this dataset saw, or that were open then.
    #[arg(long)]
    since_last: bool,
    /// Only traces that no version of this dataset holds with the same content.
    #[arg(long)]
    only_new: bool,
    /// Idle time after which a trace with an ended root is final. Default: 5m.
    #[arg(long, value_name = "TIME")]
    idle: Option<String>,
    /// Idle time after which a trace without an ended root is taken as it is. Default: 24h.
    #[arg(long, value_name = "TIME")]
    max_age: Option<String>,
    /// Take traces of the lake that may still grow, too.
    #[arg(long)]
    include_open: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Traces to examples")]
struct ExampleArgs {
    /// Dimension that names the task: traces of one task are one example. Default: the input's digest.
    #[arg(long, value_name = "DIMENSION")]
    key: Option<String>,
    /// Dimension that names the variant (version, configuration) behind a trace.
    #[arg(long, value_name = "DIMENSION")]
    variant: Option<String>,
    /// Dimension whose values are not independent. Default: the session.
    #[arg(long, value_name = "DIMENSION")]
    cluster: Option<String>,
    /// Dimensions to keep for slices, separated by commas. Those of `--stratify` are always kept.
    #[arg(long, value_delimiter = ',', value_name = "DIMENSION")]
    dimensions: Vec<String>,
    /// Dimension that holds the expected answer.
    #[arg(long, value_name = "DIMENSION")]
    reference: Option<String>,
}

/// How a number of examples is split over strata.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Allocate {
    /// By the size of the stratum.
    Proportional,
    /// The same for each.
    Equal,
    /// By size and spread.
    Neyman,
}

/// How rates meet.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Combine {
    /// The greatest.
    Max,
    /// As if every rule drew by itself.
    Union,
}

/// What a choice for diversity looks at.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Diverse {
    /// The words of the input.
    Inputs,
    /// Embeddings of the input.
    Embeddings,
}

fn at_least_one(typed: &str) -> Result<u64, String> {
    let number = typed.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a whole number of at least 1".to_owned())
}

impl SampleArgs {
    fn ask(self) -> Ask {
        let Self { design, which, examples, .. } = self;
        Ask {
            name: self.name,
            from: self.from,
            plan: self.plan,
            dry_run: self.dry_run,
            thaw: self.thaw,
            decisions: self.decisions,
            description: self.description,
            count: design.count,
            rate: design.rate,
            stratify: design.stratify,
            allocate: design.allocate.map(|allocate| match allocate {
                Allocate::Proportional => dataset::Allocate::Proportional,
                Allocate::Equal => dataset::Allocate::Equal,
                Allocate::Neyman => dataset::Allocate::Neyman,
            }),
            neyman_by: design.neyman_by,
            boost: design.boost,
            combine: design.combine.map(|combine| match combine {
                Combine::Max => dataset::Combine::Max,
                Combine::Union => dataset::Combine::Union,
            }),
            risk: design.risk,
            risk_floor: design.risk_floor,
            cluster_by: design.cluster_by,
            per_cluster: design.per_cluster,
            near_duplicates: design.near_duplicates,
            ignore_numbers: design.ignore_numbers,
            diverse: design.diverse.map(|diverse| match diverse {
                Diverse::Inputs => dataset::Diverse::Inputs,
                Diverse::Embeddings => dataset::Diverse::Embeddings,
            }),
            embedder: design.embedder,
            seed: design.seed,
            filter: which.filter,
            since: which.since,
            until: which.until,
            newest: which.newest,
            since_last: which.since_last,
            only_new: which.only_new,
            idle: which.idle,
            max_age: which.max_age,
            include_open: which.include_open,
            key: examples.key,
            variant: examples.variant,
            cluster: examples.cluster,
            dimensions: examples.dimensions,
            reference: examples.reference,
        }
    }
}

/// Carries it out.
pub async fn run(project: &Project, world: &World, args: SampleArgs, printer: &Printer) -> Done<Exit> {
    let explain = args.explain || args.dry_run;
    let report = sample::sample(project, world, args.ask()).await?;
    printer.result(&report, || sampled(&report, explain))?;
    Ok(Exit::Pass)
}

/// What a sampling did, as text; `explain` shows the design in full.
pub fn sampled(report: &SampleReport, explain: bool) -> String {
    let header = &report.header;
    let examples = count(header.examples, "example", "examples");
    let traces = count(report.traces, "trace", "traces");
    let mut text = match (report.dry_run, report.unchanged) {
        (true, _) => {
            format!("{} would have {examples} from {traces}; nothing was written.\n", one_line(&header.name, 100))
        }
        (false, true) => format!("{} is unchanged: {examples} from {traces}.\n", header.reference()),
        (false, false) => format!("{} has {examples} from {traces}.\n", header.reference()),
    };
    for (reason, n) in &report.left_out {
        let _ = writeln!(text, "Left out {}: {reason}.", count(*n, "trace", "traces"));
    }
    if explain {
        text.push_str(&explained(&report.design));
    } else {
        text.push_str(&near_duplicates(&report.design));
        text.push_str(&design(header, None));
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "Note: {warning}.");
    }
    if let Some(path) = &report.decisions {
        let _ = writeln!(text, "Every decision is in {}.", path.display());
    }
    text
}

/// What the merging of near-duplicates did, where it did anything.
fn near_duplicates(design: &SampleDesign) -> String {
    let Some(near) = design.near_duplicates.as_ref().filter(|near| near.merged > 0) else { return String::new() };
    format!(
        "Near-duplicates: {} not drawn, because another one much like each stands for it and carries its weight.\n",
        count(near.merged, "candidate was", "candidates were")
    )
}

/// The design in full.
fn explained(design: &SampleDesign) -> String {
    let weights = &design.weights;
    let mut text = format!("\nDesign: {}, seed {}", design.method, design.seed);
    if !design.probability_sample {
        text.push_str("; not a probability sample");
    }
    text.push('\n');
    let mut facts: Vec<(&str, String)> = vec![("candidates", thousands(weights.population))];
    if let Some(near) = &design.near_duplicates {
        let merged = format!(
            "{} in {} alike (similarity {} or more); one of each group stands for it, the largest has {}",
            thousands(near.merged + near.groups),
            count(near.groups, "group", "groups"),
            near.threshold,
            thousands(near.largest)
        );
        facts.push(("near-duplicates", merged));
    }
    if let Some(clusters) = &design.clusters {
        let most = clusters.most.map(|most| format!(", at most {} of each", thousands(most))).unwrap_or_default();
        let (chosen, all) = (thousands(clusters.chosen), thousands(clusters.population));
        facts.push(("clusters", format!("{chosen} of {all} by {}{most}", one_line(&clusters.by, 60))));
    }
    let expected = weights.expected.map(|n| format!(" ({} expected)", legible(n))).unwrap_or_default();
    facts.push(("chosen", format!("{}{expected}", thousands(weights.chosen))));
    if let Some(sum) = weights.weight {
        facts.push(("sum of weights", format!("{} for {}", legible(sum), thousands(weights.population))));
    }
    if let (Some(least), Some(greatest)) = (weights.least, weights.greatest) {
        facts.push(("weights", format!("{} to {}", legible(least), legible(greatest))));
    }
    if let (Some(effective), Some(effect)) = (weights.effective, weights.design_effect) {
        facts.push(("effective size", format!("{} (design effect {effect:.2})", legible(effective))));
    }
    for (name, fact) in facts {
        let _ = writeln!(text, "  {name:<16}{fact}");
    }
    text.push('\n');
    text.push_str(&strata(design));
    text.push_str(&rules(design));
    text.push_str(&decisions(design));
    text
}

fn strata(design: &SampleDesign) -> String {
    let row = |stratum: &Stratum| {
        let of = |value: Option<f64>| value.map(legible).unwrap_or_else(|| "-".to_owned());
        vec![
            one_line(&stratum.name, 44),
            thousands(stratum.population),
            of(stratum.expected),
            thousands(stratum.chosen),
            if design.probability_sample { format!("{:.4}", stratum.rate) } else { "-".to_owned() },
            of(stratum.weight),
            of(stratum.effective),
        ]
    };
    let rows: Vec<Vec<String>> = design.strata.iter().take(SHOWN).map(row).collect();
    let mut text = table(&["stratum", "held", "expected", "chosen", "probability", "weights", "effective"], &rows);
    if design.strata.len() > SHOWN {
        let _ = writeln!(text, "and {} more strata; `--json` has all", design.strata.len() - SHOWN);
    }
    text
}

fn rules(design: &SampleDesign) -> String {
    if design.rules.is_empty() {
        return String::new();
    }
    let row = |rule: &crate::model::RuleCounts| {
        let from = rule.threshold.map(|from| format!(" (from {})", legible(from))).unwrap_or_default();
        vec![
            format!("{}{from}", one_line(&rule.rule, 60)),
            format!("{}", rule.rate),
            thousands(rule.population),
            thousands(rule.chosen),
        ]
    };
    let rows: Vec<Vec<String>> = design.rules.iter().take(SHOWN).map(row).collect();
    format!("\n{}", table(&["rule", "rate", "fit", "chosen"], &rows))
}

fn decisions(design: &SampleDesign) -> String {
    let words: Vec<String> =
        design.decisions.iter().map(|(word, n)| format!("{} {}", thousands(*n), word.replace('_', " "))).collect();
    format!("\nDecisions: {}.\n", words.join(", "))
}

/// A number that is not negative, in as many digits as one reads.
fn legible(value: f64) -> String {
    if value >= 1000.0 { thousands(value.round() as u64) } else { short(value, 4) }
}
