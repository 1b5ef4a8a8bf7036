//! Sentences about how the judges of a run worked, made of the figures of `judging`.

use super::judging::FEWEST_AUDITS;
use super::{CascadeFacts, JudgeFacts, MassFacts, OrderFacts, PanelFacts, words};
use crate::model::GatePolicy;
use crate::stats::{Estimate, LEAST_CONSISTENCY};

/// All that is to be told of one judge, a sentence each.
pub(super) fn sentences(facts: &JudgeFacts) -> Vec<String> {
    let mut told = Vec::new();
    told.extend(facts.panel.as_ref().map(panel_sentence));
    told.extend(facts.orders.as_ref().map(order_sentence));
    told.extend(facts.cascade.as_ref().map(cascade_sentence));
    told.extend(facts.masses.as_ref().map(mass_sentence));
    if let Some((differing, pairs)) = facts.flips.filter(|(_, pairs)| *pairs > 0) {
        told.push(format!("asked again, it says something else in {} of pairs of draws", share(differing, pairs)));
    }
    let cells = |count: u64, what: &str| (count > 0).then(|| format!("{} {what}", words::count(count, "cell")));
    told.extend(cells(facts.addressed, "with material that speaks to its judge"));
    told.extend(cells(facts.shortened, "judged on material of which something is left out"));
    told.extend(cells(facts.on_summaries, "judged on summaries by a model"));
    told
}

/// The policy with what runs say against their judges of pairs: metrics whose judge says too often something else in the
/// other order decide nothing (methods 1.13).
pub(super) fn doubting<'a>(policy: &GatePolicy, facts: impl IntoIterator<Item = &'a JudgeFacts>) -> GatePolicy {
    let mut policy = policy.clone();
    for judge in facts {
        let unsteady = judge.orders.as_ref().filter(|orders| !orders.steady);
        // Without a pair that was judged in both orders nothing is known; the unscored cells speak for themselves.
        if let Some((orders, share)) = unsteady.and_then(|orders| Some((orders, orders.consistency?))) {
            let sentence = format!(
                "its judge says the same in both orders on {} of {}, and a judge that decides must on {:.0} %, so that this \
                 metric decides nothing; mend the rubric or choose another model",
                percent_text(share),
                words::count(orders.both, "pair"),
                100.0 * LEAST_CONSISTENCY
            );
            policy.unsteady.entry(judge.metric.clone()).or_insert(sentence);
        }
    }
    policy
}

fn share(part: u64, whole: u64) -> String {
    percent_text(if whole == 0 { 0.0 } else { part as f64 / whole as f64 })
}

fn percent_text(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "not defined".to_owned(), |value| format!("{value:.2}"))
}

fn panel_sentence(panel: &PanelFacts) -> String {
    let failed: u64 = panel.members.iter().map(|member| member.failed).sum();
    let members: Vec<String> = panel
        .members
        .iter()
        .map(|member| {
            let with = member.with_panel.map_or_else(String::new, |share| format!(" {}", percent_text(share)));
            format!("{}{with}", member.member)
        })
        .collect();
    let kappas: Vec<String> =
        panel.pairs.iter().map(|pair| format!("{}/{} {}", pair.one, pair.other, maybe(pair.kappa))).collect();
    let lost = match failed {
        0 => String::new(),
        1 => "; 1 vote was lost to a failure".to_owned(),
        votes => format!("; {votes} votes were lost to failures"),
    };
    format!(
        "its members differ on {} of {}; Krippendorff's alpha {}, flip rate {}; with the panel: {}; kappa {}{lost}",
        panel.split,
        words::count(panel.cells, "cell"),
        maybe(panel.alpha),
        panel.flip_rate.map_or_else(|| "not defined".to_owned(), percent_text),
        members.join(", "),
        kappas.join(", ")
    )
}

fn order_sentence(orders: &OrderFacts) -> String {
    let consistency = orders.consistency.map_or_else(|| "not defined".to_owned(), percent_text);
    let first = orders.first_pick.map_or_else(|| "not defined".to_owned(), percent_text);
    let p = orders.position_bias_p.map_or_else(String::new, |p| format!(", p = {p:.3} for no preference"));
    let one = match orders.one {
        0 => String::new(),
        pairs => format!("; {} had a verdict in one order only", words::count(pairs, "pair")),
    };
    let unsteady = if orders.steady || orders.both == 0 {
        String::new()
    } else {
        format!("; below {:.0} % it looks at the order more than a judge that decides may", 100.0 * LEAST_CONSISTENCY)
    };
    format!(
        "both orders agree on {consistency} of {}; what stands first wins {first} of decided verdicts{p}{one}{unsteady}",
        words::count(orders.both, "pair")
    )
}

fn cascade_sentence(cascade: &CascadeFacts) -> String {
    let effect = match &cascade.effect {
        Some(Estimate { estimate: Some(point), interval, .. }) => {
            let span = interval.as_ref().map_or_else(String::new, |i| format!(" [{:+.3}, {:+.3}]", i.lo, i.hi));
            format!("the metric lies {point:+.3}{span} from what the dear judge alone would give")
        }
        _ => format!("fewer than {FEWEST_AUDITS} audits with values, so that its effect on the metric is not known"),
    };
    let failed = match cascade.failed {
        0 => String::new(),
        cells => format!(" and {cells} where the cheap one failed"),
    };
    format!(
        "the dear judge decided {} of {}{failed}; audits of {} of the sure ones: it differs on {} of {}, {effect}",
        cascade.unsure,
        words::count(cascade.cells, "cell"),
        percent_text(cascade.audit),
        cascade.differing,
        cascade.audited
    )
}

fn mass_sentence(masses: &MassFacts) -> String {
    let instead = match masses.votes_instead {
        0 => String::new(),
        cells => format!("; {} took the score that was written instead", words::count(cells, "cell")),
    };
    match (masses.mean, masses.least) {
        (Some(mean), Some(least)) => {
            format!("scores carry {} of the probability, at least {}{instead}", percent_text(mean), percent_text(least))
        }
        _ => format!("the server told no probabilities{instead}"),
    }
}
