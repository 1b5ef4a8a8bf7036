//! Days of live traces put to alert conditions, and breaches to incidents.
//!
//! Each day is held against the days before it that were within the limit and did not fire; while a rule fires its
//! baseline stays where it was.
//! A day with too little is unknown: it neither fires nor clears. What is measured of a trace is the caller's.

use std::collections::BTreeMap;

use serde::Serialize;

use super::drifting::{Charted, DriftPoint, chart};
use crate::model::{Direction, DriftPolicy};
use crate::stats::{
    Alarm, Condition, Gather, Level, Rhythm, Told, cost_ratio, e_detector, error_rate, p95_above, p95_ratio,
    quality_drop, quantile_sorted,
};

/// Fewest judged traces, traces, traces with calls, and calls of a day (methods 1.15).
const LEAST_JUDGED: usize = 30;
const LEAST_TRACES: usize = 20;
const LEAST_CALLING: (usize, f64) = (10, 20.0);
/// Share of the limit below which a firing rule may clear.
const HYSTERESIS: f64 = 0.8;
/// Drop of a score, on a scale from 0 to 1, that the running evidence puts up with.
const TOLERATED: f64 = 0.02;
/// Bet of the running evidence.
const BET: f64 = 0.9;
/// Fewest values of a day that make a point of a chart.
const LEAST_POINT: usize = 5;

/// What is known of one day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    /// The day, `2026-01-31`.
    pub date: String,
    /// Values of scores in the order of time, by name.
    pub scores: BTreeMap<String, Vec<f64>>,
    /// Milliseconds of each trace that ended.
    pub latency_ms: Vec<f64>,
    /// US dollars of each trace whose cost is known.
    pub cost_usd: Vec<f64>,
    /// Repeated calls of each trace.
    pub loops: Vec<f64>,
    /// Failed calls and calls of tools, of each trace that called any.
    pub calls: Vec<(f64, f64)>,
}

/// What is watched.
#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Quality(String),
    Latency,
    Loops,
    ToolErrors,
    Cost,
}

/// A day as a rule saw it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// Day.
    pub day: String,
    /// `unknown`, `ok`, `warn` or `critical`.
    pub level: &'static str,
    /// The estimate, in the rule's unit.
    pub estimate: Option<f64>,
    /// Its one-sided bound.
    pub bound: Option<f64>,
    /// What it was held against.
    pub limit: f64,
    /// Values of the day.
    pub n: u64,
    /// Values it was held against; 0 where the rule has no baseline.
    pub baseline_n: u64,
}

/// Evidence that a score has fallen, added up over all values: it may be looked at at any time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidenced {
    /// Mean below which evidence gathers: the first days', less what is put up with.
    pub m0: f64,
    /// Evidence at which it alarms; the mean number of values between false alarms is at least this.
    pub threshold: f64,
    /// Evidence now.
    pub now: f64,
    /// The day of the first alarm.
    pub alarm: Option<String>,
}

/// One rule over all days.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Watched {
    /// `quality_drop`, `latency_p95`, `loop_count_p95`, `tool_error_rate` or `cost_ratio`.
    pub rule: &'static str,
    /// The score, for `quality_drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// `firing`, `ok`, `unknown`, or `stale` when it has been blind for three days.
    pub state: &'static str,
    /// The day on which it began to fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Beginnings and ends that are to be told: day, `fire` or `resolve`.
    pub events: Vec<(String, &'static str)>,
    /// All days, oldest first.
    pub days: Vec<Seen>,
    /// Running evidence, for `quality_drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidenced>,
}

impl Watched {
    /// Whether it fires at the end.
    pub fn is_firing(&self) -> bool {
        self.state == "firing"
    }

    /// Whether any day could be judged.
    pub fn is_known(&self) -> bool {
        self.days.iter().any(|day| day.level != "unknown")
    }
}

/// Puts days, oldest first and without gaps, to all rules. Scores with values outside 0 to 1 have no rule, only a chart.
pub fn watch(days: &[Day], policy: &DriftPolicy) -> Vec<Watched> {
    let mut rules: Vec<Rule> = names(days).into_iter().filter(|name| is_share(days, name)).map(Rule::Quality).collect();
    rules.extend([Rule::Latency, Rule::Loops, Rule::ToolErrors, Rule::Cost]);
    rules.into_iter().map(|rule| follow(&rule, days, policy)).collect()
}

/// Charts of all that is watched, a point per day.
pub fn charts(days: &[Day]) -> Vec<Charted> {
    let series = |of: &dyn Fn(&Day) -> Option<(usize, f64)>| -> Vec<DriftPoint> {
        let point = |day: &Day| {
            let (n, value) = of(day).filter(|(n, value)| *n >= LEAST_POINT && value.is_finite())?;
            Some(DriftPoint { at: day.date.clone(), run: None, n: n as u64, value })
        };
        days.iter().filter_map(point).collect()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut found = Vec::new();
    for name in names(days) {
        let points = series(&|day| day.scores.get(&name).map(|values| (values.len(), mean(values))));
        found.push(chart(&name, Direction::Higher, points));
    }
    let p95 = |day: &Day| {
        let mut sorted = day.latency_ms.clone();
        sorted.sort_by(f64::total_cmp);
        quantile_sorted(&sorted, 0.95).map(|value| (sorted.len(), value))
    };
    let rate = |day: &Day| {
        let sums = day.calls.iter().fold((0.0, 0.0), |sum, (errors, calls)| (sum.0 + errors, sum.1 + calls));
        (sums.1 > 0.0).then(|| (day.calls.len(), sums.0 / sums.1))
    };
    let lower = |name: &str, points| chart(name, Direction::Lower, points);
    found.push(lower("latency_ms p95", series(&p95)));
    found.push(lower("loop_count", series(&|day| Some((day.loops.len(), mean(&day.loops))))));
    found.push(lower("tool_error_rate", series(&rate)));
    found.push(lower("cost_usd", series(&|day| Some((day.cost_usd.len(), mean(&day.cost_usd))))));
    found.retain(|charted| !charted.points.is_empty());
    found
}

fn names(days: &[Day]) -> Vec<String> {
    let all: std::collections::BTreeSet<&String> = days.iter().flat_map(|day| day.scores.keys()).collect();
    all.into_iter().cloned().collect()
}

fn is_share(days: &[Day], name: &str) -> bool {
    days.iter().filter_map(|day| day.scores.get(name)).flatten().all(|value| (0.0..=1.0).contains(value))
}

fn follow(rule: &Rule, days: &[Day], policy: &DriftPolicy) -> Watched {
    let often = |fire: u32, of: u32| Rhythm {
        fire: fire as usize,
        of: of.max(fire) as usize,
        clear: policy.clear as usize,
        cooldown: policy.cooldown as usize,
    };
    // A day that is surely beyond the limit need not wait for a second one.
    let (mut warned, mut critical) = (Alarm::new(often(policy.fire, policy.of)), Alarm::new(often(1, 1)));
    let mut calm: Vec<&Day> = Vec::new();
    let (mut seen, mut events, mut since) = (Vec::new(), Vec::new(), None);
    for day in days {
        let firing = warned.is_firing() || critical.is_firing();
        let back = calm.len().saturating_sub(policy.baseline_days as usize);
        let before = calm.get(back..).unwrap_or_default();
        let (found, baseline_n, n) = rule.look(before, day, policy, 1.0);
        let breach = if firing { rule.look(before, day, policy, HYSTERESIS).0 } else { found };
        let told = [
            warned.push(breach.level.warns()),
            critical.push(if firing { breach.level.warns() } else { found.level.is_critical() }),
        ];
        let fires = warned.is_firing() || critical.is_firing();
        if fires && !firing {
            since = Some(day.date.clone());
            events.extend(told.contains(&Some(Told::Fire)).then(|| (day.date.clone(), "fire")));
        } else if firing && !fires {
            since = None;
            events.extend(told.contains(&Some(Told::Resolve)).then(|| (day.date.clone(), "resolve")));
        }
        // What is beyond the limit must not become usual before it fires.
        if !fires && found.level.warns() != Some(true) {
            calm.push(day);
        }
        seen.push(Seen {
            day: day.date.clone(),
            level: word(found.level),
            estimate: found.estimate,
            bound: found.lower,
            limit: found.threshold,
            n: n as u64,
            baseline_n: baseline_n as u64,
        });
    }
    let state = match (since.is_some(), warned.is_stale(), seen.last().map(|last| last.level)) {
        (true, _, _) => "firing",
        (false, true, _) => "stale",
        (false, false, None | Some("unknown")) => "unknown",
        _ => "ok",
    };
    let score = if let Rule::Quality(name) = rule { Some(name.clone()) } else { None };
    let evidence = score.as_ref().and_then(|name| evidence(name, days, policy));
    Watched { rule: rule.name(), score, state, since, events, days: seen, evidence }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Unknown => "unknown",
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Critical => "critical",
    }
}

impl Rule {
    fn name(&self) -> &'static str {
        match self {
            Self::Quality(_) => "quality_drop",
            Self::Latency => "latency_p95",
            Self::Loops => "loop_count_p95",
            Self::ToolErrors => "tool_error_rate",
            Self::Cost => "cost_ratio",
        }
    }

    /// The condition of a day, its limit times `factor`, with the values of the baseline and of the day.
    fn look(&self, before: &[&Day], now: &Day, policy: &DriftPolicy, factor: f64) -> (Condition, usize, usize) {
        let all = |of: &dyn Fn(&Day) -> Vec<f64>| before.iter().flat_map(|day| of(day)).collect::<Vec<f64>>();
        let unknown = |threshold: f64| Condition { threshold, ..Condition::default() };
        match self {
            Self::Quality(name) => {
                let of = |day: &Day| day.scores.get(name).cloned().unwrap_or_default();
                let (before, now) = (all(&of), of(now));
                let found = quality_drop(&before, &now, policy.quality_drop * factor, LEAST_JUDGED, policy.alpha);
                (found, before.len(), now.len())
            }
            Self::Latency => {
                let (before, now) = (all(&|day| day.latency_ms.clone()), &now.latency_ms);
                let found = match policy.latency_p95_ms {
                    Some(limit) => Some(p95_above(now, limit * factor, LEAST_TRACES, policy.alpha)),
                    None if before.len() < LEAST_TRACES => None,
                    None => p95_ratio(&before, now, (policy.latency_ratio * factor, 0.0), LEAST_TRACES, policy.alpha),
                };
                let baseline = if policy.latency_p95_ms.is_some() { 0 } else { before.len() };
                (found.unwrap_or_else(|| unknown(0.0)), baseline, now.len())
            }
            Self::Loops => {
                let (before, now) = (all(&|day| day.loops.clone()), &now.loops);
                let enough = before.len() >= LEAST_TRACES;
                let limits = (policy.loop_ratio * factor, 1.0);
                let found = p95_ratio(&before, now, limits, LEAST_TRACES, policy.alpha).filter(|_| enough);
                (found.unwrap_or_else(|| unknown(policy.loop_ratio)), before.len(), now.len())
            }
            Self::ToolErrors => {
                let found = error_rate(&now.calls, policy.tool_error_rate * factor, LEAST_CALLING, policy.alpha);
                (found, 0, now.calls.len())
            }
            Self::Cost => {
                let (before, now) = (all(&|day| day.cost_usd.clone()), &now.cost_usd);
                let limits = (policy.cost_ratio * factor, policy.min_spend_usd);
                (cost_ratio(&before, now, limits, LEAST_TRACES, policy.alpha), before.len(), now.len())
            }
        }
    }
}

/// Evidence over all values after the first days, which say what is usual.
fn evidence(name: &str, days: &[Day], policy: &DriftPolicy) -> Option<Evidenced> {
    let (first, rest) = days.split_at_checked(policy.baseline_days as usize)?;
    let usual: Vec<f64> = first.iter().filter_map(|day| day.scores.get(name)).flatten().copied().collect();
    if usual.len() < LEAST_JUDGED {
        return None;
    }
    let m0 = (usual.iter().sum::<f64>() / usual.len() as f64 - TOLERATED).max(0.0);
    let values: Vec<(&Day, f64)> = rest
        .iter()
        .flat_map(|day| day.scores.get(name).into_iter().flatten().map(move |value| (day, *value)))
        .collect();
    let numbers: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    let found = e_detector(&numbers, m0, BET, Gather::Sum, policy.false_alarm_every)?;
    Some(Evidenced {
        m0,
        threshold: policy.false_alarm_every,
        now: found.path.last().copied()?,
        alarm: found.alarm.and_then(|place| values.get(place)).map(|(day, _)| day.date.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixty judged traces a day; `good` of ten pass.
    fn day(number: usize, good: usize) -> Day {
        let scores: Vec<f64> = (0..60).map(|place| f64::from(u8::from(place % 10 < good))).collect();
        Day {
            date: format!("2026-01-{:02}", number + 1),
            scores: [("right".to_owned(), scores)].into(),
            latency_ms: (0..60).map(|place| 100.0 + f64::from(place)).collect(),
            calls: (0..60).map(|place| (f64::from(u8::from(place % 20 == 0)), 2.0)).collect(),
            ..Day::default()
        }
    }

    fn of<'a>(found: &'a [Watched], rule: &str) -> &'a Watched {
        found.iter().find(|watched| watched.rule == rule).unwrap()
    }

    #[test]
    fn a_fall_fires_at_once_when_sure_and_clears_when_it_is_over() {
        let good = |number: usize| if (10..13).contains(&number) { 4 } else { 9 };
        let days: Vec<Day> = (0..20).map(|number| day(number, good(number))).collect();
        let found = watch(&days, &DriftPolicy::default());
        let quality = of(&found, "quality_drop");
        let events: Vec<(&str, &str)> = quality.events.iter().map(|(day, what)| (day.as_str(), *what)).collect();
        assert_eq!(events, [("2026-01-11", "fire"), ("2026-01-15", "resolve")], "{quality:?}");
        assert_eq!((quality.state, quality.days[10].level), ("ok", "critical"));
        // The bad days are in no baseline: what came after is held against good ones.
        assert_eq!(quality.days[13].estimate, Some(0.0));
        let evidence = quality.evidence.as_ref().unwrap();
        assert!(matches!(evidence.alarm.as_deref(), Some("2026-01-11" | "2026-01-12")), "{evidence:?}");
        assert_eq!(of(&found, "latency_p95").state, "ok");
        assert_eq!(of(&found, "loop_count_p95").state, "stale");
        assert!(!of(&found, "cost_ratio").is_known());
    }

    #[test]
    fn what_only_warns_must_last() {
        // Fifteen points lower: beyond the limit, and its bound is not.
        let lower = |number: usize, from: usize| {
            let mut day = day(number, 9);
            if number >= from {
                let scores = day.scores.get_mut("right").unwrap();
                *scores = (0..60).map(|place| f64::from(u8::from(place % 60 < 45))).collect();
            }
            day
        };
        let days: Vec<Day> = (0..10).map(|number| lower(number, 9)).collect();
        let found = watch(&days, &DriftPolicy::default());
        let once = of(&found, "quality_drop");
        assert_eq!((once.days[9].level, once.state), ("warn", "ok"), "{once:?}");
        let days: Vec<Day> = (0..11).map(|number| lower(number, 9)).collect();
        let found = watch(&days, &DriftPolicy::default());
        assert_eq!(of(&found, "quality_drop").since.as_deref(), Some("2026-01-11"));
    }

    #[test]
    fn tools_that_fail_are_told_without_a_baseline() {
        let mut bad = day(0, 9);
        bad.calls = (0..60).map(|place| (f64::from(u8::from(place % 2 == 0)), 1.0)).collect();
        let found = watch(&[bad], &DriftPolicy::default());
        assert_eq!((of(&found, "tool_error_rate").state, of(&found, "quality_drop").state), ("firing", "unknown"));
    }

    #[test]
    fn each_day_is_a_point_and_scores_of_another_scale_have_a_chart_only() {
        let mut days: Vec<Day> = (0..9).map(|number| day(number, 8)).collect();
        for day in &mut days {
            day.scores.insert("stars".into(), vec![4.0; 10]);
        }
        let names: Vec<String> = charts(&days).into_iter().map(|charted| charted.name).collect();
        assert_eq!(names, ["right", "stars", "latency_ms p95", "tool_error_rate"]);
        assert!(watch(&days, &DriftPolicy::default()).iter().all(|watched| watched.score.as_deref() != Some("stars")));
    }
}
