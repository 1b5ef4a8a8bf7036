//! Reports: renderings of finished findings for people and machines, one file per form, one row in [`REPORTERS`].
//!
//! A reporter decides nothing and looks nothing up: all numbers and words about numbers come in a view made by
//! `compare`. All text in it may be hostile.

mod annotations;
mod beside;
mod explained;
mod flat;
mod gitlab;
mod html;
mod issues;
mod json;
mod junit;
mod layout;
mod markdown;
mod matrix;
mod moves;
mod number;
mod progress;
mod prometheus;
mod pulling;
mod sarif;
mod terminal;
mod words;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::compare::{Comparison, Details, RunView};

pub use flat::FlatRow;
pub use html::IndexedRun;
pub use layout::wrap;
pub use matrix::{MATRIX_FORMS, matrix_report, matrix_text};
pub use progress::Progress;
pub use prometheus::{FAMILIES, Gauge, Labels, Sample, prometheus_page, samples};
pub use pulling::PullDisplay;
pub use terminal::{TerminalStyle, terminal, to_ascii};

/// What is reported.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// One run.
    Run(&'a RunView),
    /// Two runs.
    Comparison(&'a Comparison),
}

/// All that a reporter gets.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// The findings.
    pub subject: Subject<'a>,
    /// Opened examples; may be empty or fewer than the rows.
    pub details: &'a Details,
    /// When the report is made.
    pub made_at: Timestamp,
    /// Where in the user's repository findings are pointed at, where that is known.
    pub places: Option<&'a Places>,
}

/// The lines of a suite's gate in the user's repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The configuration, from the top of the repository.
    pub file: String,
    /// Line of the gate, from 1.
    pub gate: usize,
    /// Lines of what is demanded of single metrics.
    pub metrics: BTreeMap<String, usize>,
}

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the {form} report: {cause}")]
pub struct ReportError {
    /// Form.
    pub form: &'static str,
    /// Why.
    pub cause: String,
}

/// A report with what it would not hold itself.
pub struct Paged {
    /// The report.
    pub main: Vec<u8>,
    /// Files of a folder beside it: name and content.
    pub beside: Vec<(String, Vec<u8>)>,
}

/// Renders a report that may put a part of itself into a folder beside it, named in its links by the second argument.
pub type RenderPages = fn(&Material<'_>, &Folder) -> Result<Paged, ReportError>;

/// Where the files beside a report go, as links name it.
pub struct Folder {
    /// From the report to the folder, encoded for an address.
    pub link: String,
    /// From the folder back to the report, encoded for an address.
    pub back: String,
}

/// One row of the table of reporters.
pub struct ReporterInfo {
    /// Name: `--format NAME`.
    pub name: &'static str,
    /// Ending of the file it is written to.
    pub extension: &'static str,
    /// One sentence for help.
    pub summary: &'static str,
    /// Renders.
    pub render: fn(&Material<'_>) -> Result<Vec<u8>, ReportError>,
    /// Renders it with files beside it, where it can.
    pub pages: Option<RenderPages>,
}

/// The page over many runs.
///
/// # Errors
/// When it cannot be rendered.
pub fn index(runs: Vec<IndexedRun>, made_at: Timestamp) -> Result<Vec<u8>, ReportError> {
    html::render_index(runs, made_at)
}

/// All reporters, sorted by name.
pub const REPORTERS: &[ReporterInfo] = &[
    ReporterInfo {
        name: "annotations",
        extension: "txt",
        summary: "Workflow commands of GitHub Actions: failed and open gates at their line of the configuration.",
        render: annotations::render,
        pages: None,
    },
    ReporterInfo {
        name: "csv",
        extension: "csv",
        summary: "One row per example and metric for spreadsheets.",
        render: flat::csv,
        pages: None,
    },
    ReporterInfo {
        name: "gitlab",
        extension: "json",
        summary: "GitLab's code quality list: failed and open gates, with fingerprints that stay.",
        render: gitlab::render,
        pages: None,
    },
    ReporterInfo {
        name: "html",
        extension: "html",
        summary: "One self-contained page for people: verdict, metrics, slices, examples with what changed and why.",
        render: html::render,
        pages: Some(html::render_pages),
    },
    ReporterInfo {
        name: "json",
        extension: "json",
        summary: "All findings and rows under a versioned schema, for programs.",
        render: json::render,
        pages: None,
    },
    ReporterInfo {
        name: "jsonl",
        extension: "jsonl",
        summary: "One row per example and metric as JSON lines, for programs.",
        render: flat::jsonl,
        pages: None,
    },
    ReporterInfo {
        name: "junit",
        extension: "xml",
        summary: "One test case per gate with its reasons, for CI pages.",
        render: junit::render,
        pages: None,
    },
    ReporterInfo {
        name: "markdown",
        extension: "md",
        summary: "A comment for a pull request, at most 60 kB, with a marker so that it can be replaced.",
        render: markdown::render,
        pages: None,
    },
    ReporterInfo {
        name: "parquet",
        extension: "parquet",
        summary: "One row per example and metric as Parquet, for data frames and query engines.",
        render: flat::parquet,
        pages: None,
    },
    ReporterInfo {
        name: "prometheus",
        extension: "prom",
        summary: "Gauges for the textfile collector: means, intervals, unscored, cost, latency, verdict.",
        render: prometheus::render,
        pages: None,
    },
    ReporterInfo {
        name: "sarif",
        extension: "sarif",
        summary: "SARIF 2.1.0: failed and open gates for code scanning.",
        render: sarif::render,
        pages: None,
    },
    ReporterInfo {
        name: "terminal",
        extension: "txt",
        summary: "The summary a run ends with, as plain text of 80 columns.",
        render: terminal::render,
        pages: None,
    },
];

/// Looks a reporter up by name.
pub fn find(name: &str) -> Option<&'static ReporterInfo> {
    REPORTERS.iter().find(|info| info.name == name)
}
