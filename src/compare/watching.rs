//! Windows of live traces, days or hours, put to alert conditions, and breaches to incidents.
//!
//! Each window is held against those before it that were within the limit and did not fire; while a rule fires its
//! baseline stays where it was. Where the hour of the week counts, these are the same hours of four weeks: what comes back
//! every night or every weekend is no drift. All rules and scores share one budget of false alarms.
//! A day with too little is unknown: it neither fires nor clears. What is measured of a trace is the caller's.

use std::collections::BTreeMap;

use serde::Serialize;

use super::drifting::{Charted, DriftPoint, chart};
use crate::model::{Direction, DriftPolicy};
use crate::stats::{
    Alarm, Condition, Gather, Level, Rhythm, Told, cost_ratio, e_detector_against, error_rate, p95_above, p95_ratio,
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
/// Weeks that say what is usual at an hour of the week (methods 1.15).
const WEEKS: usize = 4;
/// Fewest values of a day that make a point of a chart.
const LEAST_POINT: usize = 5;

/// What is known of one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    /// The day, `2026-01-31`, or the beginning of the window, `2026-01-31 06:00`.
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
    /// Mean below which evidence gathers: the first days', less what is put up with; where the hour of the week counts,
    /// the mean of these over its hours.
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
    let scores = rules.len();
    rules.extend([Rule::Latency, Rule::Loops, Rule::ToolErrors, Rule::Cost]);
    // Each score is watched twice: by its rule and by running evidence.
    let share = policy.false_alarms_per_week / 7.0 / (rules.len() + scores) as f64;
    let alpha = policy.alpha.min(share / policy.windows_a_day() as f64);
    let policy = DriftPolicy { alpha, ..policy.clone() };
    rules.into_iter().map(|rule| follow(&rule, days, &policy, share)).collect()
}

/// The latest calm windows.
fn latest<'a>(calm: &[&'a Day], policy: &DriftPolicy) -> Vec<&'a Day> {
    let back = calm.len().saturating_sub(policy.windows_a_day() * policy.baseline_days as usize);
    calm.get(back..).unwrap_or_default().to_vec()
}

/// Of the usual windows, by their places, those of the same hours of the week in the latest four weeks that have them.
fn same_hours<'a>(usual: &[(usize, &'a Day)], place: usize, week: usize) -> Vec<&'a Day> {
    let alike = usual.iter().rev().filter(|(other, _)| (place - other).is_multiple_of(week));
    alike.take(WEEKS).map(|(_, day)| *day).collect()
}

/// Charts of all that is watched, a point per window.
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

/// `share`: false alarms a day that may be expected of this rule.
fn follow(rule: &Rule, days: &[Day], policy: &DriftPolicy, share: f64) -> Watched {
    let often = |fire: u32, of: u32| Rhythm {
        fire: fire as usize,
        of: of.max(fire) as usize,
        clear: policy.clear as usize,
        cooldown: policy.cooldown as usize,
    };
    // A day that is surely beyond the limit need not wait for a second one.
    let (mut warned, mut critical) = (Alarm::new(often(policy.fire, policy.of)), Alarm::new(often(1, 1)));
    let mut calm: Vec<&Day> = Vec::new();
    // What the hours of the week are like is learnt from all of the first weeks: held against other hours, the nights of
    // these may fire, and are usual all the same.
    let mut usual: Vec<(usize, &Day)> = Vec::new();
    let week = 7 * policy.windows_a_day();
    let (mut seen, mut events, mut since) = (Vec::new(), Vec::new(), None);
    for (place, day) in days.iter().enumerate() {
        let firing = warned.is_firing() || critical.is_firing();
        let learning = place < WEEKS * week;
        let seasonal = policy.by_hour_of_week() && !learning;
        let before = if seasonal { same_hours(&usual, place, week) } else { latest(&calm, policy) };
        let (found, baseline_n, n) = rule.look(&before, day, policy, 1.0);
        let breach = if firing { rule.look(&before, day, policy, HYSTERESIS).0 } else { found };
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
        let is_calm = !fires && found.level.warns() != Some(true);
        calm.extend(is_calm.then_some(day));
        usual.extend((is_calm || learning).then_some((place, day)));
        seen.push(Seen {
            day: day.date.clone(),
            level: word(found.level),
            estimate: found.estimate,
            // A t bound knows no ends of the scale; a share is never below 0.
            bound: found.lower.map(|lower| if *rule == Rule::ToolErrors { lower.max(0.0) } else { lower }),
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
    let evidence = score.as_ref().and_then(|name| evidence(name, days, policy, share));
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
fn evidence(name: &str, days: &[Day], policy: &DriftPolicy, share: f64) -> Option<Evidenced> {
    let week = 7 * policy.windows_a_day();
    let seasonal = policy.by_hour_of_week() && days.len() > WEEKS * week;
    let first = if seasonal { WEEKS * week } else { policy.windows_a_day() * policy.baseline_days as usize };
    let (first, rest) = days.split_at_checked(first)?;
    let of = |day: &Day| day.scores.get(name).cloned().unwrap_or_default();
    let usual: Vec<f64> = first.iter().flat_map(of).collect();
    if usual.len() < LEAST_JUDGED {
        return None;
    }
    let least = |usual: &[f64]| (usual.iter().sum::<f64>() / usual.len() as f64 - TOLERATED).max(0.0);
    let all = least(&usual);
    let by_hour: Vec<f64> = (0..week)
        .map(|hour| first.iter().skip(hour).step_by(week).filter(|_| seasonal).flat_map(of).collect::<Vec<f64>>())
        .map(|usual| if usual.len() < LEAST_JUDGED { all } else { least(&usual) })
        .collect();
    let mut values: Vec<(&Day, (f64, f64))> = Vec::new();
    for (place, day) in rest.iter().enumerate() {
        let m0 = by_hour.get((first.len() + place) % week).copied().unwrap_or(all);
        values.extend(of(day).into_iter().map(|value| (day, (value, m0))));
    }
    let a_day = values.len() as f64 / rest.len().max(1) as f64 * policy.windows_a_day() as f64;
    let threshold = policy.false_alarm_every.max(a_day / share);
    let pairs: Vec<(f64, f64)> = values.iter().map(|(_, pair)| *pair).collect();
    let found = e_detector_against(&pairs, BET, Gather::Sum, threshold)?;
    Some(Evidenced {
        m0: pairs.iter().map(|(_, m0)| m0).sum::<f64>() / pairs.len().max(1) as f64,
        threshold,
        now: found.path.last().copied()?,
        alarm: found.alarm.and_then(|place| values.get(place)).map(|(day, _)| day.date.clone()),
    })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

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

    /// Six weeks of windows of six hours, 120 judged traces each; by night six of ten pass and by day nine, and from `fall`
    /// on so many fewer everywhere.
    fn nightly(seed: u64, fall: usize, fewer: f64) -> Vec<Day> {
        let mut random = rand_pcg::Pcg64::seed_from_u64(seed);
        let window = |number: usize| {
            let rate = if number % 4 < 2 { 0.6 } else { 0.9 } - if number >= fall { fewer } else { 0.0 };
            let scores = (0..120).map(|_| f64::from(u8::from(random.random_bool(rate)))).collect();
            Day { date: format!("{number:03}"), scores: [("right".to_owned(), scores)].into(), ..Day::default() }
        };
        (0..6 * 28).map(window).collect()
    }

    fn six_hours(hour_of_week: Option<bool>) -> DriftPolicy {
        DriftPolicy { window_hours: 6, hour_of_week, ..DriftPolicy::default() }
    }

    #[test]
    fn what_comes_back_every_night_is_no_drift() {
        let (mut with, mut without, mut found_late) = (0, 0, 0);
        for seed in 0..20 {
            let days = nightly(seed, usize::MAX, 0.0);
            // The first four weeks have no hours of the week to be held against.
            let late = |watched: &Watched| watched.events.iter().any(|(day, what)| *what == "fire" && **day >= *"112");
            let fired = |policy: &DriftPolicy| u32::from(late(of(&watch(&days, policy), "quality_drop")));
            with += fired(&six_hours(None));
            without += fired(&six_hours(Some(false)));
            let fell = nightly(seed, 140, 0.35);
            found_late += u32::from(late(of(&watch(&fell, &six_hours(None)), "quality_drop")));
        }
        assert!(with <= 1 && without == 20 && found_late >= 19, "{with} {without} {found_late}");
        let days = nightly(3, usize::MAX, 0.0);
        let evidence = |hour_of_week| {
            let found = watch(&days, &six_hours(hour_of_week));
            of(&found, "quality_drop").evidence.clone().unwrap()
        };
        assert_eq!(evidence(None).alarm, None, "{:?}", evidence(None));
        assert!(evidence(Some(false)).alarm.is_some(), "{:?}", evidence(Some(false)));
    }

    /// Ten scores where nothing happens, for 26 weeks of days: the budget is for all of them together.
    #[test]
    fn the_budget_of_false_alarms_is_shared() {
        let policy = |false_alarms_per_week| DriftPolicy {
            false_alarms_per_week,
            alpha: 0.2,
            quality_drop: 0.0,
            fire: 1,
            of: 1,
            ..DriftPolicy::default()
        };
        let fires = |false_alarms_per_week: f64| -> usize {
            let mut random = rand_pcg::Pcg64::seed_from_u64(5);
            let mut values = || (0..60).map(|_| f64::from(u8::from(random.random_bool(0.8)))).collect::<Vec<f64>>();
            let day = |number: usize| Day {
                date: format!("{number:03}"),
                scores: (0..10).map(|score| (format!("s{score}"), values())).collect(),
                ..Day::default()
            };
            let days: Vec<Day> = (0..26 * 7).map(day).collect();
            let found = watch(&days, &policy(false_alarms_per_week));
            assert!(
                found.iter().filter_map(|watched| watched.evidence.as_ref()).all(|found| found.threshold >= 1_000.0)
            );
            found.iter().flat_map(|watched| &watched.events).filter(|(_, what)| *what == "fire").count()
        };
        let (tight, loose) = (fires(0.5), fires(50.0));
        assert!(tight <= 13 && loose > 60, "{tight} in 26 weeks at one in two, {loose} at 50 a week");
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
