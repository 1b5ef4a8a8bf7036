//! What can be typed: verbs, flags and their help. Says nothing about how anything is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::sample::SampleArgs;
use crate::ops::shards::Shard;

/// Did your LLM agents get better or worse? Traces in, an honest verdict out.
#[derive(Debug, Parser)]
#[command(name = "assize", version, max_term_width = 100, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Configuration file; by default `assize.toml` here or in a folder above.
    #[arg(long, short, global = true, help_heading = EVERYWHERE, value_name = "FILE", env = "ASSIZE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the result as JSON on stdout, and nothing else there.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Colors on stdout: `auto` (a terminal, and NO_COLOR is not set), `always` or `never`.
    #[arg(
        long, global = true, help_heading = EVERYWHERE, value_name = "WHEN", default_value = "auto",
        hide_possible_values = true
    )]
    pub color: ColorWhen,
    /// ASCII only: no arrows, no boxes.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub ascii: bool,
    /// Nothing on stderr but errors.
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags of every verb stand apart from its own.
const EVERYWHERE: &str = "With every verb";

const AFTER_HELP: &str = "\
Start here:
  assize demo                 the whole loop on shipped data: no key, no network
  assize init                 a commented assize.toml, a dataset and a CI workflow

Exit codes:
  0 pass, 1 a gate failed, 2 usage or configuration, 3 the instrument failed, 4 inconclusive,
  5 budget spent, 130 interrupted";

/// When to color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// When stdout is a terminal and NO_COLOR is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the whole loop on shipped data: no key, no network; ends with a verdict and an HTML report.
    Demo(DemoArgs),
    /// Write a commented assize.toml, a small dataset, an agent to try and a CI workflow.
    Init(InitArgs),
    /// Read traces into the lake: files, folders, `-` for stdin, or a platform under `[sources]`.
    #[command(after_help = "Example:\n  assize ingest traces/*.jsonl.gz otlp/\n  assize ingest - < spans.json\n  \
                            assize ingest production --since 7d")]
    Ingest(IngestArgs),
    /// Receive traces as they are made, over OTLP, into the lake.
    #[command(after_help = "Example:\n  assize serve --otlp 127.0.0.1:4318\n  \
                            OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 python agent.py")]
    Serve(super::serve::ServeArgs),
    /// Make a dataset version from traces, by a recorded design.
    #[command(after_help = "Example:\n  assize sample support --key ticket.id --variant service.version \\\n    \
                            --stratify ticket.intent --count 200")]
    Sample(Box<SampleArgs>),
    /// List, show, compare, import, split, tag and export datasets.
    #[command(subcommand)]
    Dataset(DatasetVerb),
    /// Sheets for people to label, their labels back, and how far they agree.
    #[command(subcommand)]
    Labels(super::labels::LabelsVerb),
    /// Run a suite: trials, graders, journal. Plans and prices first.
    #[command(
        after_help = "Example:\n  assize run support --dry-run\n  assize run support --target v2 --max-cost 3\n  \
                            assize run --resume 7f3a91c2"
    )]
    Run(RunArgs),
    /// List runs.
    Runs(RunsArgs),
    /// Compare two runs: findings, verdict, report. More than two are ranked, with all pairs.
    #[command(after_help = "Example:\n  assize compare 1c9e44d0 7f3a91c2 --report html=report.html\n  \
                            assize compare baseline latest --suite support\n  \
                            assize compare 1c9e44d0 7f3a91c2 0b55e1aa")]
    Compare(CompareArgs),
    /// Compare systems by scores that are recorded already: a file of rows becomes runs, in one command.
    #[command(
        after_help = "Example:\n  assize outcomes scores.csv --id task --system model --score resolved --cost usd\n  \
                            assize outcomes old.csv new.csv --id question --score correct\n  \
                            assize outcomes wide.csv --id question --system old=score_old --system new=score_new"
    )]
    Outcomes(Box<super::outcomes::OutcomesArgs>),
    /// Run, compare with the baseline, gate and write the PR comment, in one command.
    #[command(after_help = "Example:\n  assize ci support --report markdown=comment.md --report junit=junit.xml")]
    Ci(CiArgs),
    /// Run two variants side by side, call by call in turns, and compare them: one verdict, one report.
    #[command(after_help = super::versus::EXAMPLES)]
    Versus(super::versus::VersusArgs),
    /// Say how many examples, trials and draws a wished margin takes, and at what price.
    #[command(after_help = super::plan::EXAMPLES)]
    Plan(super::plan::PlanArgs),
    /// List examples that waver, put them in quarantine, take them back.
    #[command(subcommand)]
    Flaky(super::flaky::FlakyVerb),
    /// Say whether a suite's metrics over its runs, or live traces over days, have left where they were.
    #[command(after_help = super::drift::EXAMPLES)]
    Drift(super::drift::DriftArgs),
    /// Send the scores of a run back to the platforms its traces came from, and its figures to where metrics go.
    #[command(after_help = super::push::EXAMPLES)]
    Push(super::push::PushArgs),
    /// Make a run the baseline of its suite: the only way a baseline moves.
    Bless(BlessArgs),
    /// Write a finished run to one file, or take such a file in: comparisons without a database.
    #[command(subcommand, after_help = super::bundle::EXAMPLES)]
    Bundle(super::bundle::BundleVerb),
    /// Make a report again from the store.
    #[command(after_help = "Example:\n  assize report 7f3a91c2 --report html=run.html\n  \
                            assize report 1c9e44d0..7f3a91c2 --report markdown=-")]
    Report(ReportArgs),
    /// List, show, check and calibrate judges.
    #[command(subcommand)]
    Judge(JudgeVerb),
    /// List, show and query traces of the lake.
    #[command(subcommand)]
    Traces(TracesVerb),
    /// Count, compact and prune the lake.
    #[command(subcommand)]
    Lake(super::lake::LakeVerb),
    /// Say what the cache of answers holds, and take a part of it out.
    #[command(subcommand)]
    Cache(super::cache::CacheVerb),
    /// Test the statistics: simulations through the real comparison, labels permuted in your own run, reference cases.
    #[command(after_help = super::selftest::EXAMPLES)]
    Selftest(super::selftest::SelftestArgs),
    /// Say what is configured, from where, and whether it really works.
    Doctor(DoctorArgs),
    /// Print a JSON Schema: the configuration, a mapping, a report, or the options of a component.
    Schema(SchemaArgs),
    /// Print a completion script for a shell.
    Completions {
        /// Shell.
        shell: Shell,
    },
    /// Write manual pages, one for each verb, or print the first one.
    Man {
        /// Folder for `assize.1`, `assize-run.1` and the others; without it the page of the program is printed.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for everything the demo makes; it can be explored afterwards.
    #[arg(long, value_name = "DIR", default_value = ".assize-demo")]
    pub dir: PathBuf,
}

/// `init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Folder to write to.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

/// `ingest`
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// Files, folders (read recursively), `s3://BUCKET/PREFIX`, `-` for stdin, or names under `[sources]`, which are
    /// pulled.
    #[arg(required_unless_present = "rejected", value_name = "SRC")]
    pub sources: Vec<String>,
    /// Pull what begins at or after this: a time, a date, or how far back (`7d`). Default: where the last pull ended.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Pull what begins before this. Default: now.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Pull at most so many rows; the next pull goes on from there.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Forget where the last pull ended.
    #[arg(long)]
    pub restart: bool,
    /// Form of the input; `auto` finds it out by content and says why.
    #[arg(long, default_value = "auto")]
    pub format: String,
    /// TOML file that says which field of a row of spans or interactions is what.
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub map: Option<PathBuf>,
    /// Read nothing; list the rows that were turned away so far, the last 20 or with `--json` all.
    #[arg(long, conflicts_with_all = ["sources", "since", "until", "limit", "restart", "map"])]
    pub rejected: bool,
    /// Where rejected rows are kept. Default: beside the lake.
    #[arg(long, value_name = "FILE")]
    pub rejected_file: Option<PathBuf>,
    /// Write secrets and personal data as they came, whatever `[redact]` says.
    #[arg(long)]
    pub no_redact: bool,
}

/// `dataset`
#[derive(Debug, Subcommand)]
pub enum DatasetVerb {
    /// List datasets and versions.
    Ls,
    /// Show one version: counts, design, splits, tags, labels, history, first examples.
    Show {
        /// `name`, `name@version` or a part of one, `name:holdout`.
        dataset: String,
        /// How many examples to show.
        #[arg(long, default_value_t = 3)]
        examples: usize,
    },
    /// Say what changed between two versions.
    Diff {
        /// Older version.
        from: String,
        /// Newer version.
        to: String,
    },
    /// Make a version from files of examples: JSON lines, JSON, CSV, Parquet, or the files of other tools.
    #[command(after_help = "Example:\n  assize dataset import qa examples.csv --map mapping.toml\n  \
                            assize dataset import qa qa.jsonl --field input=question --field reference=answer\n  \
                            assize dataset import mmlu logs/*.eval")]
    Import {
        /// Name of the dataset.
        name: String,
        /// Files, or folders of them.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Format of another tool, such as `inspect`, or `rows` for none; by content when left out.
        #[arg(long, conflicts_with_all = ["map", "fields"])]
        format: Option<String>,
        /// TOML file with the field mapping.
        #[arg(long, value_name = "FILE")]
        map: Option<PathBuf>,
        /// One field of the mapping, as `key=path`.
        #[arg(long = "field", value_name = "KEY=PATH")]
        fields: Vec<String>,
        /// What the dataset is, in words.
        #[arg(long)]
        description: Option<String>,
        /// Take secrets and personal data out as `[redact]` says.
        #[arg(long)]
        redact: bool,
        /// Change the frozen holdout with this version, and say why; kept in the history, and frozen again.
        #[arg(long, value_name = "REASON")]
        thaw: Option<String>,
    },
    /// Verbs with a file of their own.
    #[command(flatten)]
    Edit(super::dataset_edit::EditVerb),
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Suite; may be left out when there is only one.
    pub suite: Option<String>,
    /// How to run.
    #[command(flatten)]
    pub how: RunHow,
    /// Go on with a stopped or killed run.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["suite", "target", "trials", "limit", "shard", "until_decided"])]
    pub resume: Option<String>,
    /// Run that `--until-decided` compares with: an id, its last characters, or `baseline`. By default the blessed run.
    #[arg(long, value_name = "RUN", requires = "until_decided")]
    pub baseline: Option<String>,
    /// Take over a run that another process seems to hold.
    #[arg(long, requires = "resume")]
    pub force: bool,
    /// Reports to write, as `form=path`; may be repeated. Path `-` is stdout.
    #[arg(long = "report", value_name = "FORM=PATH")]
    pub reports: Vec<String>,
}

/// How a run is made; shared by `run` and `ci`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunHow {
    /// Target to try; the suite's candidate when left out.
    #[arg(long)]
    pub target: Option<String>,
    /// Trials per example; as the suite says when left out.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub trials: Option<u32>,
    /// Only the first N examples of a seeded order.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Only the examples of one of several shards, such as `1/4`; `assize bundle merge` puts the shards together.
    #[arg(long, value_name = "N/OF", conflicts_with = "limit")]
    pub shard: Option<Shard>,
    /// Plan and price, then stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Most US dollars this run may spend.
    #[arg(long, value_name = "USD")]
    pub max_cost: Option<f64>,
    /// Greatest part of it that judges may take, from 0.01 to 1.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub judge_share: Option<f64>,
    /// Ask everything again, whatever the cache holds.
    #[arg(long)]
    pub no_cache: bool,
    /// Record every answer of the models in this cassette, for `kind = "replay"`.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Tags kept with the run, as `key=value`.
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub tags: Vec<String>,
    /// Try examples in a seeded random order and stop as soon as the gate's verdict against the baseline is settled.
    #[arg(long)]
    pub until_decided: bool,
    /// Run although a gate can never pass with so many examples.
    #[arg(long)]
    pub anyway: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.01..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0.01 to 1".to_owned())
}

/// `runs`
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Only of this suite.
    pub suite: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
}

/// `compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Run compared against: an id, its last characters, `baseline`, `latest` or a bundle (`FILE.assize`).
    pub baseline: String,
    /// Run being judged.
    pub candidate: String,
    /// Further runs: all are ranked, and every pair is compared.
    #[arg(value_name = "RUN")]
    pub others: Vec<String>,
    /// Suite, for `baseline` and `latest`; may be left out when there is only one.
    #[arg(long)]
    pub suite: Option<String>,
    /// Difference that is allowed, by its name: `dataset`, `sampler`, `trials`, `prices`, `grader:NAME`, `judge`,
    /// `rubric`, `model`, `scorer`.
    #[arg(long = "allow", value_name = "WHAT")]
    pub allow: Vec<String>,
    /// Reports to write, as `form=path`; may be repeated. Path `-` is stdout.
    #[arg(long = "report", value_name = "FORM=PATH")]
    pub reports: Vec<String>,
}

/// `ci`
#[derive(Debug, Args)]
pub struct CiArgs {
    /// Suite; may be left out when there is only one.
    pub suite: Option<String>,
    /// How to run.
    #[command(flatten)]
    pub how: RunHow,
    /// Baseline: a run, a bundle (`FILE.assize`), `baseline` (the blessed one), `merge-base` or `merge-base:REF` (the newest
    /// run at the merge base in git), `tag:KEY=VALUE` (the newest run with that tag), or `target:NAME` to run that target
    /// now. By default the blessed run, else the suite's `baseline` target.
    #[arg(long)]
    pub baseline: Option<String>,
    /// Folder of bundles in which the baseline is looked for, too; without `--baseline` at the merge base.
    #[arg(long, value_name = "DIR")]
    pub bundles: Option<PathBuf>,
    /// Write the candidate's run to this bundle, whatever the verdict.
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Difference that is allowed, by its name.
    #[arg(long = "allow", value_name = "WHAT")]
    pub allow: Vec<String>,
    /// Reports to write, as `form=path`; may be repeated. By default HTML, Markdown and JUnit in the reports folder.
    #[arg(long = "report", value_name = "FORM=PATH")]
    pub reports: Vec<String>,
}

/// `bless`
#[derive(Debug, Args)]
pub struct BlessArgs {
    /// Run: an id, its last characters, `latest` or a bundle (`FILE.assize`).
    pub run: String,
    /// Why.
    #[arg(long, short = 'm')]
    pub reason: String,
    /// Who; from git or the environment when left out.
    #[arg(long)]
    pub by: Option<String>,
    /// Suite, for `latest`.
    #[arg(long)]
    pub suite: Option<String>,
}

/// `report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A run, or two as `BASE..CANDIDATE`; each may be a bundle (`FILE.assize`).
    #[arg(required_unless_present = "index", conflicts_with = "index")]
    pub subject: Option<String>,
    /// The page over many runs instead: how each metric went, run by run. Written to `index.html` in the folder of
    /// reports, or where `--report html=PATH` says.
    #[arg(long, conflicts_with = "allow")]
    pub index: bool,
    /// Latest runs in that page.
    #[arg(long, value_name = "N", default_value_t = 50, requires = "index")]
    pub last: u32,
    /// Open the HTML report; it is written to the folder of reports unless `--report html=PATH` names another place.
    #[arg(long)]
    pub open: bool,
    /// Suite, for `baseline`, `latest` and the page over many runs.
    #[arg(long)]
    pub suite: Option<String>,
    /// Difference that is allowed, by its name.
    #[arg(long = "allow", value_name = "WHAT")]
    pub allow: Vec<String>,
    /// Reports to write, as `form=path`; may be repeated. By default the terminal form on stdout.
    #[arg(long = "report", value_name = "FORM=PATH")]
    pub reports: Vec<String>,
}

/// `judge`
#[derive(Debug, Subcommand)]
pub enum JudgeVerb {
    /// List judges, shipped and your own.
    Ls,
    /// Print a judge: rubric, scale, prompt.
    Show {
        /// Judge.
        judge: String,
    },
    /// Find faults in judges: placeholders, scale, examples. All when none is named.
    Check {
        /// Judges.
        judges: Vec<String>,
    },
    /// Ask a judge about its labelled examples and say how far it agrees with them. What it comes to is kept in
    /// `calibrations.toml`: a judge that is no better than chance decides no gate.
    Calibrate {
        /// Which judge, on which labels.
        #[command(flatten)]
        trial: super::judge_trials::TrialArgs,
        /// Correct what the judge says of this run: by people's labels of its outputs, and by the judge's errors.
        #[arg(long)]
        run: Option<String>,
    },
    /// Verbs with a file of their own.
    #[command(flatten)]
    Trial(super::judge_trials::TrialVerb),
}

/// `traces`
#[derive(Debug, Subcommand)]
pub enum TracesVerb {
    /// List traces, newest first.
    Ls {
        /// Only traces that fit, such as `ticket.intent=refund`.
        #[arg(long = "where", value_name = "FILTER")]
        filter: Option<String>,
        /// Only traces with a failed span.
        #[arg(long)]
        errors: bool,
        /// Only traces that began at or after this: a time, a date, or how far back (`7d`).
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Add up what calls cost, by model, agent, session, user or any attribute.
    Cost(super::cost::CostArgs),
    /// Show one trace as a tree of spans.
    Show {
        /// Trace id, or its first characters.
        trace: String,
    },
    /// Run a target again on a trace with another input or tool result: recorded answers until it diverges.
    #[command(after_help = super::replay::EXAMPLES)]
    Replay(Box<super::replay::ReplayArgs>),
    /// Find failure modes in the spans: loops, races, lost handoffs, made-up results and others.
    #[command(after_help = super::diagnose::EXAMPLES)]
    Diagnose(super::diagnose::DiagnoseArgs),
    /// Answer SQL over the tables `spans`, `traces`, `sessions`, `scores` and `attributes`.
    #[command(
        after_help = "Example:\n  assize traces query \"SELECT model_response, SUM(cost_usd) AS cost FROM spans \\\n    \
                            WHERE paid GROUP BY model_response\"\n  \
                            assize traces query \"SELECT * FROM traces WHERE errors > 0\" --out failed.csv"
    )]
    Query(super::query::QueryArgs),
    /// Say what tables and columns a query may name.
    Tables,
}

/// `doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Do not ask the models anything.
    #[arg(long)]
    pub offline: bool,
}

/// `schema`
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// `config`, `dataset.example`, `mapping`, `journal.entry`, `bundle.line`, `report.run`, `report.comparison`, `scorer.NAME`,
    /// `target.KIND` and others; lists the names when left out.
    pub name: Option<String>,
}
