//! Gates that can never pass, or never fail, whatever the candidate does: found before money is spent.
//!
//! Only what is certain from the policy, the scales and the number of examples; forecasts are the planner's.

use super::measure::{MEASURES, Metric};
use crate::{
    model::{Direction, FailOn, GatePolicy, GraderInfo, Scale},
    stats::{PairedCounts, equal_differences, tango_margin},
};

/// Most examples that are tried when looking for how many would do.
const MOST: u64 = 10_000_000;

/// A gate that makes no sense with so many examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hopeless {
    /// Metric.
    pub metric: String,
    /// What cannot be and what would mend it.
    pub reason: String,
    /// Whether it holds for every candidate; else only for one that changes nothing.
    pub certain: bool,
}

/// Looks at every gated metric of a run with so many independent examples and trials.
///
/// `compared`: whether there will be a comparison; else only what is asked of the run itself is looked at.
pub fn hopeless(
    policy: &GatePolicy,
    graders: &[GraderInfo],
    (units, trials): (u64, u32),
    compared: bool,
) -> Vec<Hopeless> {
    let measures = MEASURES.iter().map(|measure| Metric::of_measure(*measure, policy));
    let metrics = graders.iter().map(|grader| Metric::of_grader(grader, policy)).chain(measures);
    let mut found = Vec::new();
    for metric in metrics.filter(Metric::is_gated) {
        let plain = metric.scale == Scale::Binary && trials == 1 && metric.draws == 1;
        let mut add = |certain: bool, reason: String| {
            found.push(Hopeless { metric: metric.name.clone(), reason, certain });
        };
        if let Some(fault) = &metric.fault {
            add(true, fault.clone());
            continue;
        }
        if valueless(&metric) {
            add(
                true,
                "its labels have no declared values, so that nothing can be compared; give them values".to_owned(),
            );
            continue;
        }
        if let Some(reason) = floor(&metric, units, policy, plain) {
            add(true, reason);
        }
        if compared && units < policy.min_pairs {
            let asked = policy.min_pairs;
            add(true, format!("the gate asks for {asked} pairs and there are {units} independent examples"));
        } else if compared && let Some(reason) = unchanged(&metric, units, policy, plain) {
            add(plain, reason);
        }
        if let Some(reason) = metric.guard.as_ref().zip(metric.width()).and_then(|(guard, width)| {
            (guard.drop > width).then(|| {
                format!("its guard looks for falls of {} on a scale of {width}: nothing can fall so far", guard.drop)
            })
        }) {
            add(false, reason);
        }
    }
    found
}

fn valueless(metric: &Metric) -> bool {
    matches!(&metric.scale, Scale::Labels { labels } if labels.iter().all(|(_, value)| value.is_none()))
}

/// A floor beyond the scale, or beyond what so many perfect examples can show.
fn floor(metric: &Metric, units: u64, policy: &GatePolicy, plain: bool) -> Option<String> {
    let (floor, (worst, best)) = (metric.floor?, metric.ends()?);
    let word = match metric.direction {
        Direction::Higher => "floor",
        Direction::Lower => "ceiling",
    };
    let ahead = metric.sign() * (best - floor);
    if ahead < 0.0 {
        return Some(format!("its {word} of {floor} lies beyond the best value of its scale, {best}"));
    }
    if !plain {
        return None;
    }
    // All perfect: the bound of Clopper and Pearson is alpha^(1/n) of the way from the worst to the best.
    let share = ahead / (best - worst).abs();
    let needed = (policy.alpha.ln() / (-share).ln_1p()).ceil();
    if needed.is_nan() || needed <= units as f64 {
        return None;
    }
    let mend = if needed.is_finite() && needed < MOST as f64 {
        format!("it takes {needed:.0}, or a lower demand")
    } else {
        "no number is enough; ask for less".to_owned()
    };
    Some(format!(
        "its {word} of {floor} cannot be shown with {units} examples, even if all of them are perfect: {mend}"
    ))
}

/// Whether a candidate that changes nothing at all would stay open.
fn unchanged(metric: &Metric, units: u64, policy: &GatePolicy, plain: bool) -> Option<String> {
    if policy.fail_on == FailOn::MaterialRegression {
        return None;
    }
    let (width, alpha) = (metric.width()?, policy.alpha);
    let margin = metric.margin.unwrap_or(0.05 * width);
    if margin <= 0.0 {
        return (policy.fail_on == FailOn::NotNonInferior || policy.fail_on == FailOn::Strict)
            .then(|| "with a margin of 0 no candidate that changes nothing can pass; give it a margin".to_owned());
    }
    let shown = |n: u64| {
        let test = if plain {
            tango_margin(PairedCounts { n, ..PairedCounts::default() }, margin, alpha)
        } else {
            equal_differences(0.0, n, width, margin, alpha)
        };
        test.is_some_and(|test| test.non_inferior())
    };
    if shown(units.max(2)) {
        return None;
    }
    let mut enough = units.max(2);
    while !shown(enough) && enough < MOST {
        enough *= 2;
    }
    let mut too_few = units.max(1);
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        if shown(middle) { enough = middle } else { too_few = middle }
    }
    Some(format!(
        "{units} examples cannot show that nothing got worse by its margin of {margin}, even if every one comes out the \
         same: it takes {enough}, or a wider margin"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{gate, run};
    use super::*;
    use crate::model::Guard;

    fn of(policy: &GatePolicy, n: u64, trials: u32) -> Vec<(bool, String)> {
        let graders = run("r", &[("ok", Scale::Binary)]).header.graders;
        hopeless(policy, &graders, (n, trials), true).into_iter().map(|found| (found.certain, found.reason)).collect()
    }

    #[test]
    fn the_number_that_is_named_is_the_least_that_does() {
        let policy = gate(&["ok"], 0.05);
        let found = of(&policy, 20, 1);
        assert!(found[0].0 && found[0].1.contains("it takes 52,"), "{found:?}");
        assert_eq!(of(&policy, 52, 1), []);
        assert_eq!(of(&policy, 51, 1).len(), 1);
        let repeated = of(&policy, 40, 5);
        assert!(!repeated[0].0 && repeated[0].1.contains("it takes 59,"), "trials may vary: {repeated:?}");
    }

    #[test]
    fn floors_that_perfection_does_not_reach() {
        let mut policy = gate(&["ok"], 0.4);
        let mut with = |floor, n| {
            policy.metrics.get_mut("ok").unwrap().floor = Some(floor);
            of(&policy, n, 1)
        };
        // 0.05^(1/58) = 0.9497, 0.05^(1/59) = 0.9505.
        assert!(with(0.95, 58)[0].1.contains("it takes 59"), "{:?}", with(0.95, 58));
        assert_eq!(with(0.95, 59), []);
        assert!(with(1.0, 500)[0].1.contains("no number is enough"));
        assert!(with(1.2, 500)[0].1.contains("beyond the best value"));
    }

    #[test]
    fn margins_and_guards_that_mean_nothing() {
        let mut policy = gate(&["ok"], 0.05);
        let mut with = |margin: f64| {
            policy.metrics.get_mut("ok").unwrap().margin = Some(margin);
            of(&policy, 200, 1)
        };
        assert!(with(1.0)[0].1.contains("as wide as its scale"));
        assert!(with(-0.1)[0].1.contains("negative"));
        assert!(with(f64::NAN)[0].1.contains("no number"));
        assert_eq!(with(0.0), [], "the default policy only looks for regressions then");
        policy.metrics.get_mut("ok").unwrap().margin = Some(0.05);
        policy.metrics.get_mut("ok").unwrap().guard = Some(Guard { drop: 2.0, allowed: 0, only: [].into() });
        assert!(of(&policy, 200, 1)[0].1.contains("nothing can fall so far"));
        policy.min_pairs = 300;
        assert!(of(&policy, 200, 1)[0].1.contains("asks for 300 pairs"));
    }
}
