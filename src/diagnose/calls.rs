//! Detectors of tool calls: loops, retries, errors nobody looked at, side effects twice, races, work after the end.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Kind, Print, Tree, plain};
use super::{Counts, Detector, Found, Rules};

/// A call with what it is the same as.
type Printed = (usize, Option<Print>);

/// All detectors of calls, and the counts of the trace.
pub(super) fn look(found: &mut Found<'_>, rules: &Rules) -> Counts {
    let tree = found.tree;
    let groups = tree.identical_calls();
    let mut retries = BTreeSet::new();
    let mut loop_count = 0;
    for ((_, (tool, _)), calls) in &groups {
        let again = |pair: &[usize]| match pair {
            [before, now] if tree.step(*before).failed() => Some(*now),
            _ => None,
        };
        retries.extend(calls.windows(2).filter_map(again));
        let own: Vec<usize> = calls.iter().copied().filter(|call| !retries.contains(call)).collect();
        runs(found, rules, calls, &retries);
        if !rules.allow_repeat.contains(tool) {
            loop_count += own.len().saturating_sub(1) as u64;
            identical(found, rules, &own);
        }
    }
    periods(found, rules, &retries);
    unhandled(found);
    side_effects(found, rules);
    races(found);
    after_the_end(found, rules);
    let names: BTreeSet<&String> = tree.places().filter_map(|place| tree.step(place).agent.as_ref()).collect();
    Counts {
        tool_calls: tree.tool_calls().count() as u64,
        tool_errors: tree.tool_calls().filter(|place| tree.step(*place).failed()).count() as u64,
        retry_count: retries.len() as u64,
        loop_count,
        llm_calls: tree.model_calls().count() as u64,
        agents: names.len() as u64,
        max_depth: tree.max_depth(),
    }
}

/// The same call over and over.
fn identical(found: &mut Found<'_>, rules: &Rules, calls: &[usize]) {
    if calls.len() < rules.identical_n.max(1) {
        return;
    }
    let results: BTreeSet<Option<String>> =
        calls.iter().map(|call| found.tree.step(*call).result.as_ref().map(plain)).collect();
    let subtype = if results.len() == 1 { "identical_no_progress" } else { "identical_changing_result" };
    found.add(Detector::ToolLoop, subtype, calls);
}

/// The same round of different calls over and over, by each agent.
fn periods(found: &mut Found<'_>, rules: &Rules, retries: &BTreeSet<usize>) {
    let tree = found.tree;
    let mut rows: BTreeMap<Option<&str>, Vec<Printed>> = BTreeMap::new();
    for place in tree.tool_calls().filter(|place| !retries.contains(place)) {
        let step = tree.step(place);
        if step.tool.as_ref().is_none_or(|tool| !rules.allow_repeat.contains(tool)) {
            rows.entry(tree.owner(place)).or_default().push((place, step.fingerprint()));
        }
    }
    for row in rows.values() {
        for period in 2..=rules.period_max {
            rounds(found, rules, row, period);
        }
    }
}

fn rounds(found: &mut Found<'_>, rules: &Rules, row: &[Printed], period: usize) {
    let mut start = 0;
    while let Some(block) = row.get(start..start + period) {
        let distinct: BTreeSet<&Print> = block.iter().filter_map(|(_, print)| print.as_ref()).collect();
        let same = |chunk: &&[Printed]| chunk.iter().map(|(_, print)| print).eq(block.iter().map(|(_, print)| print));
        let repeats = row.get(start..).unwrap_or_default().chunks_exact(period).take_while(same).count();
        if distinct.len() == period && repeats >= rules.period_reps.max(1) {
            let calls = row.iter().skip(start).take(repeats * period).map(|(place, _)| *place);
            found.add(Detector::ToolLoop, format!("period_{period}"), &calls.collect::<Vec<_>>());
            start += repeats * period;
        } else {
            start += 1;
        }
    }
}

/// Longest runs of one call, each after an error.
fn runs(found: &mut Found<'_>, rules: &Rules, calls: &[usize], retries: &BTreeSet<usize>) {
    let mut run: Vec<usize> = Vec::new();
    for call in calls.iter().map(Some).chain([None]) {
        if call.is_none_or(|call| !retries.contains(call)) {
            if let Some(last) = run.last().filter(|_| run.len() > 1) {
                let subtype = match found.tree.step(*last).failed() {
                    true => "retry_exhausted",
                    false if run.len() > rules.retry_storm => "retry_storm",
                    false => "recovered",
                };
                found.add(Detector::Retries, subtype, &run);
            }
            run.clear();
        }
        run.extend(call);
    }
}

/// An agent whose last call failed and that ended well afterwards.
fn unhandled(found: &mut Found<'_>) {
    let tree = found.tree;
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for call in tree.tool_calls() {
        if let Some(agent) = agent_of(tree, call) {
            last.insert(agent, call);
        }
    }
    for (agent, call) in last {
        let (agent, failed) = (tree.step(agent), tree.step(call));
        let afterwards = agent.end.is_some_and(|end| end >= failed.end.unwrap_or(failed.start));
        if failed.failed() && !agent.failed() && afterwards {
            found.add(Detector::UnhandledToolError, "finished_after_error", &[call]);
        }
    }
}

/// The nearest agent above that a call belongs to by name, else the nearest at all.
fn agent_of(tree: &Tree, call: usize) -> Option<usize> {
    let above = || std::iter::successors(tree.agent_above(call), |up| tree.agent_above(*up)).take(1_000);
    above().find(|agent| tree.owner(*agent) == tree.owner(call)).or_else(|| tree.agent_above(call))
}

fn side_effects(found: &mut Found<'_>, rules: &Rules) {
    let tree = found.tree;
    let mut done: BTreeMap<Print, Vec<usize>> = BTreeMap::new();
    for call in tree.tool_calls().filter(|call| tree.step(*call).side_effect && !tree.step(*call).failed()) {
        if let Some(print) = tree.step(call).fingerprint() {
            done.entry(print).or_default().push(call);
        }
    }
    for calls in done.into_values().filter(|calls| calls.len() >= rules.dup_write_n.max(1)) {
        found.add(Detector::DuplicateSideEffect, "same_args", &calls);
    }
}

/// Calls that overlap in time on one resource, at least one of them writing.
fn races(found: &mut Found<'_>) {
    let tree = found.tree;
    let mut users: BTreeMap<&str, BTreeMap<usize, (bool, bool)>> = BTreeMap::new();
    for call in tree.tool_calls() {
        for used in &tree.step(call).resources {
            let (writes, reads) = users.entry(&used.key).or_default().entry(call).or_default();
            *(if used.writes() { writes } else { reads }) = true;
        }
    }
    for calls in users.into_values() {
        let calls: Vec<(usize, (bool, bool))> = calls.into_iter().collect();
        for (place, (first, (writes, _))) in calls.iter().enumerate() {
            let Some(end) = tree.step(*first).end else { continue };
            // Sorted by start: the first that begins later than this one ends is the last to look at.
            let later = calls.iter().skip(place + 1).take_while(|(other, _)| tree.step(*other).start < end);
            for (other, (also, _)) in later {
                let until = tree.step(*other).end.map_or(f64::NEG_INFINITY, |other| other.min(end));
                let overlap = tree.step(*other).start < until;
                if !overlap || !(*writes || *also) || tree.is_above(*first, *other) || tree.is_above(*other, *first) {
                    continue;
                }
                let subtype = if *writes && *also { "write_write" } else { "read_write" };
                found.add(Detector::ResourceRace, subtype, &[*first, *other]);
                if found.is_full(Detector::ResourceRace) {
                    return;
                }
            }
        }
    }
}

fn after_the_end(found: &mut Found<'_>, rules: &Rules) {
    let tree = found.tree;
    let ends = |call: &usize| {
        let step = tree.step(*call);
        !step.failed() && step.tool.as_ref().is_some_and(|tool| rules.terminal_tools.contains(tool))
    };
    let calls: Vec<usize> = tree.of_kind(Kind::Tool).skip_while(|call| !ends(call)).collect();
    if calls.len() > 1 {
        found.add(Detector::WorkAfterTerminal, "tool_calls_after_final", &calls);
    }
}
