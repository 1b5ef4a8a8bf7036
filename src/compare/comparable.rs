//! Whether two runs measured the same thing with the same instrument.
//!
//! A difference of the instrument forbids the comparison unless it is allowed by name; a difference of the target is
//! what is being compared and only listed.

use super::{Comparability, Difference, RunResults};
use crate::model::{GatePolicy, GraderInfo, GraderKind, MetricRole, RunDesign, RunHeader};

/// Names that allow a whole class of differences; `grader:NAME` allows one grader's.
const CLASSES: &[&str] = &["dataset", "sampler", "trials", "prices", "grader", "judge", "scorer", "rubric", "model"];

/// Whether a text names a difference that can be allowed.
pub fn is_allowance(name: &str) -> bool {
    CLASSES.contains(&name) || name.strip_prefix("grader:").is_some_and(|grader| !grader.is_empty())
}

/// Names under which a difference of two graders can be allowed: `judge` or `scorer` for any difference, `model` when
/// only the model that judges is another, `rubric` when the model is the same.
fn grader_classes(left: &GraderInfo, right: &GraderInfo) -> Vec<&'static str> {
    let mut classes = vec!["grader"];
    if left.kind == GraderKind::Scorer || right.kind == GraderKind::Scorer {
        classes.push("scorer");
    }
    if left.kind == GraderKind::Judge && right.kind == GraderKind::Judge {
        classes.push("judge");
        let same_judge = left.component == right.component && left.version == right.version;
        match left.model == right.model {
            false if same_judge => classes.push("model"),
            true => classes.push("rubric"),
            false => {}
        }
    }
    classes
}

/// Lists all differences between two runs. `allow` holds names such as `dataset`, `sampler`, `grader:NAME`, `judge`,
/// `trials`, `prices`; see [`is_allowance`].
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
    let mut add_as = |what: &str, classes: &[&str], left: String, right: String, blocking: bool| {
        if left != right {
            let allowed = allow.iter().any(|name| name == what || classes.contains(&name.as_str()));
            differences.push(Difference { what: what.to_owned(), baseline: left, candidate: right, blocking, allowed });
        }
    };
    let dataset = |header: &RunHeader| format!("{} {}", header.dataset, header.dataset_digest.short());
    // The digest decides: the same task under another name or version is the same task.
    if before.dataset_digest != after.dataset_digest {
        add_as("dataset", &[], dataset(before), dataset(after), true);
    }
    add_as("sampler", &[], sampler(before), sampler(after), true);
    for name in grader_names(before, after) {
        let (left, right) = (find(before, name), find(after, name));
        let blocking = left.zip(right).is_some_and(|(left, right)| left.digest != right.digest);
        let draws = left.zip(right).is_some_and(|(left, right)| left.draws != right.draws);
        if blocking || draws || left.is_none() || right.is_none() {
            let classes = left.zip(right).map(|(left, right)| grader_classes(left, right)).unwrap_or_default();
            add_as(&format!("grader:{name}"), &classes, shown(left), shown(right), blocking);
        }
    }
    let mut add = |what: &str, left: String, right: String, blocking: bool| add_as(what, &[], left, right, blocking);
    add("trials", before.trials.to_string(), after.trials.to_string(), true);
    let money = policy.metrics.get("cost_usd").is_some_and(|demanded| demanded.role == MetricRole::Gate);
    add("prices", before.price_digest.short().to_owned(), after.price_digest.short().to_owned(), money);
    let commit = |header: &RunHeader| header.git_commit.clone().unwrap_or_else(|| "none".to_owned());
    add("commit", commit(before), commit(after), false);
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

/// How the examples came to be chosen, so that weights of both runs mean the same.
fn sampler(header: &RunHeader) -> String {
    let Some(RunDesign { method, independent, strata }) = &header.design else { return "none".to_owned() };
    let drawn = if *independent { ", each on its own" } else { "" };
    let population: u64 = strata.values().sum();
    format!("{method}{drawn}, {} strata of {population}", strata.len())
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
