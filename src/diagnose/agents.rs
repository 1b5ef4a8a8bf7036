//! Detectors of agents among themselves: delegation in circles, handoffs to nobody, histories that are lost.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Kind, Tree};
use super::{Detector, Found, Rules};

pub(super) fn look(found: &mut Found<'_>, rules: &Rules) {
    nested(found);
    ping_pong(found, rules);
    receivers(found, rules);
    resets(found, rules);
}

/// An agent below one of its own name.
fn nested(found: &mut Found<'_>) {
    let tree = found.tree;
    for place in tree.of_kind(Kind::Agent) {
        let Some(name) = tree.owner(place) else { continue };
        let above = std::iter::successors(tree.agent_above(place), |up| tree.agent_above(*up));
        // The name of a chain of agents that all differ is looked for once per agent: deep chains are cut off.
        let same = above.enumerate().take(1_000).find(|(_, up)| tree.owner(*up) == Some(name));
        if let Some((distance, up)) = same {
            let subtype = if distance == 0 { "self_delegation" } else { "cycle" };
            found.add(Detector::CircularDelegation, subtype, &[up, place]);
        }
    }
}

/// Runs of handoffs to and fro without anything new between them.
fn ping_pong(found: &mut Found<'_>, rules: &Rules) {
    let tree = found.tree;
    let ends = |place: usize| {
        let step = tree.step(place);
        step.from.as_deref().or_else(|| tree.owner(place)).zip(step.to.as_deref()).filter(|(from, to)| from != to)
    };
    let handoffs: Vec<usize> = tree.of_kind(Kind::Handoff).filter(|place| ends(*place).is_some()).collect();
    let news = progress(tree);
    let mut run: Vec<usize> = Vec::new();
    for place in handoffs.into_iter().map(Some).chain([None]) {
        let goes_on = place.is_some_and(|place| {
            run.last().is_some_and(|last| {
                let back = ends(*last).map(|(from, to)| (to, from));
                let between = tree.step(*last).start..=tree.step(place).start;
                ends(place) == back && !news.iter().any(|time| between.contains(time))
            })
        });
        if !goes_on {
            if run.len() >= 2 * rules.pingpong_reps {
                found.add(Detector::CircularDelegation, "ping_pong", &run);
            }
            run.clear();
        }
        run.extend(place);
    }
}

/// When calls succeeded that had not succeeded before.
fn progress(tree: &Tree) -> Vec<f64> {
    let mut seen = BTreeSet::new();
    let fresh = tree.tool_calls().filter(|place| {
        let step = tree.step(*place);
        // A call that cannot be told apart may be new.
        !step.failed() && step.fingerprint().is_none_or(|print| seen.insert(print))
    });
    fresh.map(|place| tree.step(place).start).collect()
}

fn receivers(found: &mut Found<'_>, rules: &Rules) {
    let tree = found.tree;
    for handoff in tree.of_kind(Kind::Handoff) {
        let step = tree.step(handoff);
        let Some(to) = &step.to else { continue };
        let taken = tree.places().any(|place| {
            place != handoff && tree.owner(place) == Some(to.as_str()) && tree.step(place).start >= step.start
        });
        if rules.agents.as_ref().is_some_and(|agents| !agents.contains(to)) {
            found.add(Detector::HandoffFault, "unknown_agent", &[handoff]);
        } else if !taken {
            found.add(Detector::HandoffFault, "no_receiver", &[handoff]);
        }
    }
}

/// Histories that shrink. One invocation of an agent has one history: the next one may begin afresh.
fn resets(found: &mut Found<'_>, rules: &Rules) {
    let tree = found.tree;
    let mut last: BTreeMap<(Option<&str>, Option<usize>), usize> = BTreeMap::new();
    for place in tree.model_calls() {
        let step = tree.step(place);
        let Some(count) = step.input_messages else { continue };
        let before = last.insert((tree.owner(place), tree.agent_above(place)), place);
        let Some(before) = before.filter(|_| !step.compaction) else { continue };
        let had = tree.step(before).input_messages.unwrap_or_default();
        if had >= rules.reset_min_msgs && count < rules.reset_ratio * had {
            found.add(Detector::ContextReset, "message_drop", &[before, place]);
        }
    }
}
