//! What `[suites.NAME.gate]` means: defaults filled in, waivers and guards checked.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::check::suggestion;
use super::faults::Faults;
use super::place::below;
use super::raw::{RawGate, RawMetric, RawWaiver};
use crate::model::{GatePolicy, MetricPolicy, Waiver};

/// What every run measures of itself, and what can be gated like a grader.
pub(super) const MEASURES: [&str; 3] = ["latency_ms", "cost_usd", "tokens"];

/// The demands of a suite. `graders`: names of its graders, where all of them are known.
pub(super) fn gate(raw: RawGate, graders: Option<&[String]>, pointer: &str, faults: &mut Faults) -> GatePolicy {
    let mut metrics = BTreeMap::new();
    for (name, raw) in raw.metrics {
        let at = below(&format!("{pointer}/metrics"), &name);
        if let Some(graders) = graders {
            let known: Vec<String> = graders.iter().cloned().chain(MEASURES.map(str::to_owned)).collect();
            // A judge of several criteria has a metric for each, `GRADER.CRITERION`; which ones is not known here.
            let criterion = name.split_once('.').is_some_and(|(grader, _)| graders.iter().any(|one| one == grader));
            if !known.contains(&name) && !criterion {
                faults.add(&at, format!("no grader of this name in the suite{}", suggestion(&name, &known)));
            }
        }
        metrics.insert(name, metric(raw, &at, faults));
    }
    let default = GatePolicy::default();
    let waivers = raw.waivers.into_iter().enumerate();
    let waivers =
        waivers.filter_map(|(index, raw)| waiver(raw, &metrics, &format!("{pointer}/waivers/{index}"), faults));
    let waivers = waivers.collect();
    GatePolicy {
        metrics,
        alpha: raw.alpha.unwrap_or(default.alpha),
        fail_on: raw.fail_on.unwrap_or(default.fail_on),
        max_unscored: raw.max_unscored.unwrap_or(default.max_unscored),
        max_target_failures: raw.max_target_failures.unwrap_or(default.max_target_failures),
        min_pairs: raw.min_pairs.unwrap_or(default.min_pairs),
        estimand: raw.estimand.unwrap_or_default(),
        cluster_by: raw.cluster_by,
        collapse_strata: raw.collapse_strata,
        waivers,
        max_quarantined: raw.max_quarantined.unwrap_or(default.max_quarantined),
        ..default
    }
}

fn metric(raw: RawMetric, pointer: &str, faults: &mut Faults) -> MetricPolicy {
    if let Some(drop) = raw.guard.as_ref().map(|guard| guard.drop).filter(|drop| *drop <= 0.0) {
        let message = format!("expected how far one example must fall, above 0, found `{drop}`");
        faults.add(&format!("{pointer}/guard/drop"), message);
    }
    MetricPolicy {
        role: raw.role,
        margin: raw.margin,
        floor: raw.floor,
        on_unscored: raw.on_unscored,
        on_target_failure: raw.on_target_failure,
        max_unscored: raw.max_unscored,
        guard: raw.guard,
    }
}

fn waiver(
    raw: RawWaiver,
    metrics: &BTreeMap<String, MetricPolicy>,
    pointer: &str,
    faults: &mut Faults,
) -> Option<Waiver> {
    if raw.reason.trim().is_empty() {
        faults.add(&format!("{pointer}/reason"), "a waiver needs a reason that others can judge");
    }
    if !metrics.contains_key(&raw.metric) {
        let known: Vec<String> = metrics.keys().cloned().collect();
        let hint = suggestion(&raw.metric, &known);
        faults.add(&format!("{pointer}/metric"), format!("no gated metric `{}` to waive{hint}", raw.metric));
    }
    let Ok(until) = raw.until.parse::<Date>() else {
        let message = format!("expected the last day of the waiver, such as `2026-12-31`, found `{}`", raw.until);
        faults.add(&format!("{pointer}/until"), message);
        return None;
    };
    Some(Waiver { metric: raw.metric, reason: raw.reason, until, by: raw.by })
}
