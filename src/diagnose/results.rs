//! The detector of results that no tool gave: calls that never ran, results nobody asked for, results that changed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::tree::{Kind, Requested, Shown, Tree, canonical_arguments, plain};
use super::{Detector, Found, Rules};

pub(super) fn look(found: &mut Found<'_>, rules: &Rules) {
    let runs = Runs::of(found, rules);
    let tree = found.tree;
    let mut shown: HashMap<&str, Vec<(usize, &Shown)>> = HashMap::new();
    for place in tree.model_calls() {
        for result in &tree.step(place).tool_results {
            if let Some(id) = &result.id {
                shown.entry(id).or_default().push((place, result));
            }
        }
    }
    let mut requested: HashSet<&str> = HashSet::new();
    for (place, call, run) in &runs.asked {
        let Some(id) = call.id.as_deref() else {
            if run.is_none() {
                found.add(Detector::FabricatedToolOutput, "call_without_execution", &[*place]);
            }
            continue;
        };
        requested.insert(id);
        if run.is_some() {
            continue;
        }
        let later = shown.get(id).and_then(|results| results.iter().find(|(other, _)| other > place));
        match later {
            Some((other, _)) => {
                found.add(Detector::FabricatedToolOutput, "result_without_execution", &[*place, *other]);
            }
            None => found.add(Detector::FabricatedToolOutput, "call_without_execution", &[*place]),
        }
    }
    for (id, results) in shown {
        for (place, result) in results {
            match runs.by_id.get(id) {
                // A provider may give one id to several calls; which of them is shown, the id does not say.
                Some(ran) if ran.iter().all(|run| is_altered(found, *run, result)) => {
                    let first = ran.first().copied().unwrap_or(place);
                    found.add(Detector::FabricatedToolOutput, "altered_result", &[place, first]);
                }
                Some(_) => {}
                None if !requested.contains(id) => {
                    found.add(Detector::FabricatedToolOutput, "unrequested_result", &[place]);
                }
                None => {}
            }
        }
    }
}

/// Which execution answers which call.
struct Runs<'a> {
    /// Calls that models asked for, with the execution of each.
    asked: Vec<(usize, &'a Requested, Option<usize>)>,
    /// Executions by the id of the call, in order; never empty.
    by_id: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Runs<'a> {
    /// By id; where either side names none, by what is called, in order. A call that has an id is never given an
    /// execution that has another.
    fn of(found: &Found<'a>, rules: &Rules) -> Self {
        let tree = found.tree;
        let ran = |place: &usize| matches!(tree.step(*place).kind, Kind::Tool | Kind::Handoff);
        let mut by_id: HashMap<&str, Vec<usize>> = HashMap::new();
        for place in tree.places().filter(ran) {
            if let Some(id) = &tree.step(place).call_id {
                by_id.entry(id).or_default().push(place);
            }
        }
        let calls =
            tree.model_calls().flat_map(|place| tree.step(place).tool_calls.iter().map(move |call| (place, call)));
        let calls: Vec<(usize, &Requested)> =
            calls.filter(|(_, call)| !rules.output_tools.contains(&call.name)).collect();
        let wanted: HashSet<&str> = calls.iter().filter_map(|(_, call)| call.id.as_deref()).collect();
        let mut free: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for place in tree.places().filter(ran) {
            let step = tree.step(place);
            if step.call_id.as_deref().is_none_or(|id| !wanted.contains(id)) {
                free.entry(step.tool.as_deref().unwrap_or_default()).or_default().push(place);
            }
        }
        let mut asked = Vec::new();
        for (place, call) in calls {
            let known = call.id.as_deref().and_then(|id| by_id.get(id)?.first()).copied();
            let run = known.or_else(|| take(tree, free.get_mut(call.name.as_str())?, place, call));
            if let Some((run, id)) = run.zip(call.id.as_deref()) {
                by_id.entry(id).or_insert_with(|| vec![run]);
            }
            asked.push((place, call, run));
        }
        Self { asked, by_id }
    }
}

/// Takes the first execution that can be the one of a call: with the same arguments, else any that began later.
fn take(tree: &Tree, free: &mut Vec<usize>, place: usize, call: &Requested) -> Option<usize> {
    let start = tree.step(place).start;
    let fits = |run: &usize| {
        let step = tree.step(*run);
        step.start >= start && (call.id.is_none() || step.call_id.is_none())
    };
    let wanted = call.arguments.as_ref().map(canonical_arguments);
    let same = |run: &usize| fits(run) && tree.step(*run).arguments.as_ref().map(canonical_arguments) == wanted;
    let at = free.iter().position(same).or_else(|| free.iter().position(fits))?;
    Some(free.remove(at))
}

/// Whether a model was shown something else than the tool gave. A tool that failed is shown by its error.
fn is_altered(found: &Found<'_>, run: usize, shown: &Shown) -> bool {
    let step = found.tree.step(run);
    let (Some(given), Some(content)) = (&step.result, &shown.content) else { return false };
    let (given, content) = (plain(given), plain(content));
    let told = step.failed() && step.error_message.as_ref().is_some_and(|text| content.contains(text.trim()));
    let prefix = shown.truncated && given.starts_with(content.trim_end_matches(['.', '…']).trim_end());
    given != content && !prefix && !told
}
