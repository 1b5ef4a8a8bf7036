//! GitLab's code quality report: a list of issues, each with a fingerprint that stays while the issue does.
//!
//! Fields as GitLab documents them: `description`, `check_name`, `fingerprint`, `severity`, `location.path`,
//! `location.lines.begin`.

use serde::Serialize;

use super::issues::{Level, issues};
use super::{Material, ReportError, words};
use crate::model::Digester;

#[derive(Serialize)]
struct Issue<'a> {
    description: String,
    check_name: &'a str,
    fingerprint: String,
    severity: &'a str,
    location: Location<'a>,
}

#[derive(Serialize)]
struct Location<'a> {
    path: &'a str,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: usize,
}

/// Renders the list; empty where there is nothing to point at.
pub(super) fn render(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    let found = issues(material);
    let suite = words::suite(&material.subject);
    let issues: Vec<Issue<'_>> = found
        .iter()
        .map(|issue| Issue {
            description: format!("{}: {}", issue.title, issue.message),
            check_name: issue.rule,
            fingerprint: fingerprint(suite, issue.rule, issue.metric.as_deref()),
            severity: match issue.level {
                Level::Error => "critical",
                Level::Warning => "minor",
                Level::Note => "info",
            },
            location: Location { path: &issue.file, lines: Lines { begin: issue.line } },
        })
        .collect();
    let mut bytes =
        serde_json::to_vec_pretty(&issues).map_err(|error| ReportError { form: "gitlab", cause: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The identity of an issue over runs: what it is about, not its numbers or its line.
pub(super) fn fingerprint(suite: &str, rule: &str, metric: Option<&str>) -> String {
    let digest = Digester::new()
        .part("suite", suite.as_bytes())
        .part("rule", rule.as_bytes())
        .part("metric", metric.unwrap_or_default().as_bytes())
        .finish();
    digest.hex().and_then(|hex| hex.get(..32)).unwrap_or_default().to_owned()
}
