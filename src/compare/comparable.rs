//! Whether two runs measured the same thing with the same instrument.
//!
//! A difference of the instrument forbids the comparison unless it is allowed by name; a difference of the target is
//! what is being compared and only listed.

use super::{Comparability, Difference, RunResults};
use crate::model::{GatePolicy, GraderInfo, MetricRole, RunHeader};

/// Lists all differences between two runs. `allow` holds names such as `dataset`, `grader:NAME`, `trials`, `prices`.
///
/// A grader that only one run has does not forbid anything: its metric is not compared. Other prices forbid only where
/// money is gated.
pub fn comparability(
    baseline: &RunResults,
    candidate: &RunResults,
    policy: &GatePolicy,
    allow: &[String],
) -> Comparability {
    let (before, after) = (&baseline.header, &candidate.header);
    let mut differences = Vec::new();
    let mut add = |what: &str, left: String, right: String, blocking: bool| {
        if left != right {
            let allowed = allow.iter().any(|name| name == what);
            differences.push(Difference { what: what.to_owned(), baseline: left, candidate: right, blocking, allowed });
        }
    };
    let dataset = |header: &RunHeader| format!("{} {}", header.dataset, header.dataset_digest.short());
    // The digest decides: the same task under another name or version is the same task.
    if before.dataset_digest != after.dataset_digest {
        add("dataset", dataset(before), dataset(after), true);
    }
    for name in grader_names(before, after) {
        let (left, right) = (find(before, name), find(after, name));
        let blocking = left.zip(right).is_some_and(|(left, right)| left.digest != right.digest);
        let draws = left.zip(right).is_some_and(|(left, right)| left.draws != right.draws);
        if blocking || draws || left.is_none() || right.is_none() {
            add(&format!("grader:{name}"), shown(left), shown(right), blocking);
        }
    }
    add("trials", before.trials.to_string(), after.trials.to_string(), true);
    let money = policy.metrics.get("cost_usd").is_some_and(|demanded| demanded.role == MetricRole::Gate);
    add("prices", before.price_digest.short().to_owned(), after.price_digest.short().to_owned(), money);
    add("target.kind", before.target.kind.clone(), after.target.kind.clone(), false);
    add("target.name", before.target.name.clone(), after.target.name.clone(), false);
    add("target.digest", before.target.digest.short().to_owned(), after.target.digest.short().to_owned(), false);
    let keys: std::collections::BTreeSet<&String> =
        before.target.settings.keys().chain(after.target.settings.keys()).collect();
    for key in keys {
        let value = |header: &RunHeader| {
            header.target.settings.get(key).map_or_else(
                || "not set".to_owned(),
                |value| match value.as_str() {
                    Some(text) => text.to_owned(),
                    None => value.to_string(),
                },
            )
        };
        add(&format!("target.{key}"), value(before), value(after), false);
    }
    let comparable = differences.iter().all(|difference| !difference.blocking || difference.allowed);
    Comparability { comparable, differences }
}

/// Names of both runs' graders in the candidate's order, then the baseline's own.
fn grader_names<'a>(before: &'a RunHeader, after: &'a RunHeader) -> Vec<&'a str> {
    let mut names: Vec<&str> = after.graders.iter().map(|grader| grader.name.as_str()).collect();
    names.extend(before.graders.iter().map(|g| g.name.as_str()).filter(|name| find(after, name).is_none()));
    names
}

fn find<'a>(header: &'a RunHeader, name: &str) -> Option<&'a GraderInfo> {
    header.graders.iter().find(|grader| grader.name == name)
}

fn shown(grader: Option<&GraderInfo>) -> String {
    let Some(grader) = grader else { return "absent".to_owned() };
    let model = grader.model.as_ref().map(|model| format!(" on {model}")).unwrap_or_default();
    let draws = if grader.draws > 1 { format!(", {} draws", grader.draws) } else { String::new() };
    format!("{} {}{model}{draws}, {}", grader.component, grader.version, grader.digest.short())
}
