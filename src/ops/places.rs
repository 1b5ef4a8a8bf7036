//! Where in the user's repository a finding is pointed at: the line of the gate that decided it.

use super::project::Project;
use crate::report::Places;
use crate::sys::git;

/// The lines of a suite's gate; `None` where no file configures it.
pub(super) fn of(project: &Project, suite: &str) -> Option<Places> {
    let found = project.config.suites.get(suite)?;
    let file = project.file.canonicalize().ok()?;
    // CI pages name files from the top of the repository.
    let top = git::top(&project.root).and_then(|top| top.canonicalize().ok());
    let inside = top.and_then(|top| file.strip_prefix(top).ok().map(std::path::Path::to_owned));
    let name = inside.or_else(|| file.file_name().map(Into::into))?;
    let line = |keys: &[&str]| project.faults.line_of(keys).max(1);
    let metrics = found.gate.metrics.keys();
    Some(Places {
        file: name.to_string_lossy().replace('\\', "/"),
        gate: line(&["suites", suite, "gate"]),
        metrics: metrics.map(|metric| (metric.clone(), line(&["suites", suite, "gate", "metrics", metric]))).collect(),
    })
}
