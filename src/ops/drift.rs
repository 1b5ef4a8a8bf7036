//! `assize drift`: the metrics of a suite over its runs, or scores and measures of live traces over days.
//!
//! Runs are points of one series only while the same examples were graded by the same graders: another judge or dataset
//! is no drift of the agent. Those that differ from the latest are left out, and said to be.

use std::collections::{BTreeMap, HashMap};

use anyhow::anyhow;
use jiff::Timestamp;
use serde::Serialize;

use super::alarms::{self, AlarmTold};
use super::compare::policy_of;
use super::exit::{Done, Exit, Failed};
use super::findings;
use super::project::{Project, World};
use super::standing::weigh;
use super::traces::between;
use crate::compare::{Charted, Day, DriftPoint, Watched, chart, charts, summarize, watch};
use crate::diagnose::{Rules, diagnose};
use crate::lake::TraceFilter;
use crate::model::{Direction, RunHeader, RunStatus, Trace, TraceId};

/// Most windows in a row: a wrong clock must not make a century of them.
const MOST_WINDOWS: usize = 9_000;
const HOUR_NS: i64 = 3_600_000_000_000;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Suite; the only one when absent.
    pub suite: Option<String>,
    /// Live traces of the lake instead of runs.
    pub live: bool,
    /// Only these metrics or scores; all when empty.
    pub metrics: Vec<String>,
    /// Begin of live traces, as typed.
    pub since: Option<String>,
    /// Their end, as typed.
    pub until: Option<String>,
    /// Latest runs that are looked at.
    pub last: u32,
    /// Whether the alarms of the project are told what changed.
    pub alarm: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Drifted {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// `runs` or `traces`.
    pub of: &'static str,
    /// Hours of a window, for traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_hours: Option<u32>,
    /// Suite, for runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Rules over live days.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Watched>,
    /// Charts.
    pub charts: Vec<Charted>,
    /// Runs or scores that were left out, with the reason.
    pub left_out: Vec<String>,
    /// What alarms were told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<AlarmTold>,
}

/// Looks for drift. It fails like a gate when a rule fires or, for runs, a chart has left its limits for the worse; it is
/// inconclusive when nothing could be said at all.
pub async fn drift(project: &Project, world: &World, ask: &Ask) -> Done<(Drifted, Exit)> {
    let mut found = if ask.live { of_traces(project, world, ask)? } else { of_runs(project, world, ask).await? };
    if !ask.metrics.is_empty() {
        let known: Vec<String> = found.charts.iter().map(|charted| charted.name.clone()).collect();
        if let Some(unknown) = ask.metrics.iter().find(|name| !known.contains(name)) {
            return Err(Failed::usage(anyhow!("no metric `{unknown}`; there is {}", known.join(", "))));
        }
        found.charts.retain(|charted| ask.metrics.contains(&charted.name));
        let wanted = |rule: &Watched| rule.score.as_ref().is_some_and(|name| ask.metrics.contains(name));
        found.rules.retain(wanted);
    }
    let fires = match ask.live {
        true => found.rules.iter().any(Watched::is_firing),
        false => found.charts.iter().any(Charted::is_worse),
    };
    let known = found.rules.iter().any(Watched::is_known) || found.charts.iter().any(Charted::is_known);
    let exit = match (fires, known) {
        (true, _) => Exit::GateFailed,
        (false, true) => Exit::Pass,
        (false, false) => Exit::Inconclusive,
    };
    if !ask.alarm {
        return Ok((found, exit));
    }
    found.alarms = alarms::tell(project, world, &found.rules).await?;
    let failed = found.alarms.iter().any(|told| told.what == "failed");
    // That something fires says more than that somebody was not told.
    let exit = if failed && exit != Exit::GateFailed { Exit::Instrument } else { exit };
    Ok((found, exit))
}

async fn of_runs(project: &Project, world: &World, ask: &Ask) -> Done<Drifted> {
    let store = project.store(&world.env).await?;
    let suite = match &ask.suite {
        Some(suite) => suite.clone(),
        None => project.suite(None)?.name.clone(),
    };
    let runs = store.runs(Some(&suite), ask.last).await.map_err(Failed::instrument)?;
    let complete: Vec<_> = runs.into_iter().filter(|run| run.status == RunStatus::Complete).collect();
    let Some(latest) = complete.iter().map(|run| &run.header).max_by_key(|header| header.created_at).cloned() else {
        return Err(Failed::usage(anyhow!("suite `{suite}` has no complete run yet; `assize run` makes one")));
    };
    let mut policy = policy_of(project, world, &suite)?;
    weigh(&mut policy, project, [&latest])?;
    let mut left_out = Vec::new();
    let mut series: BTreeMap<String, (Direction, Vec<DriftPoint>)> = BTreeMap::new();
    let mut headers: Vec<RunHeader> = complete.into_iter().map(|run| run.header).collect();
    headers.sort_by(|left, right| (left.created_at, &left.id).cmp(&(right.created_at, &right.id)));
    for header in headers {
        if header.dataset_digest != latest.dataset_digest {
            let words =
                format!("run {}: another dataset ({} against {})", header.id.short(), header.dataset, latest.dataset);
            left_out.push(words);
            continue;
        }
        let loaded = findings::load(store.as_ref(), &header.id).await?;
        let view = summarize(&loaded.results, &loaded.metas, &policy);
        for metric in view.metrics.iter().chain(&view.measures) {
            let grader = |header: &RunHeader| {
                let found = header.graders.iter().find(|grader| grader.name == metric.name);
                found.map(|grader| grader.digest.clone())
            };
            if grader(&header) != grader(&latest) {
                let words = format!("run {}: `{}` was graded by another grader", header.id.short(), metric.name);
                left_out.push(words);
                continue;
            }
            let Some(value) = metric.estimate.estimate else { continue };
            let at = header.created_at.strftime("%Y-%m-%d %H:%M:%S").to_string();
            let point = DriftPoint { at, run: Some(header.id.to_string()), n: metric.estimate.n, value };
            series.entry(metric.name.clone()).or_insert((metric.direction, Vec::new())).1.push(point);
        }
    }
    let charts = series.into_iter().map(|(name, (direction, points))| Charted {
        distrust: policy.distrusted.get(&name).cloned(),
        doubt: policy.doubted.get(&name).cloned(),
        ..chart(&name, direction, points)
    });
    let charts = charts.collect();
    Ok(Drifted {
        format: 1,
        of: "runs",
        window_hours: None,
        suite: Some(suite),
        rules: Vec::new(),
        charts,
        left_out,
        alarms: Vec::new(),
    })
}

fn of_traces(project: &Project, world: &World, ask: &Ask) -> Done<Drifted> {
    let (since, until) = between(world, ask.since.as_deref(), ask.until.as_deref())?;
    let within = TraceFilter { since, until, ..TraceFilter::default() };
    let lake = project.lake(&world.env)?;
    let hours = project.config.drift.window_hours;
    let window_ns = i64::from(hours) * HOUR_NS;
    // By the number of the window since 1970.
    let mut days: BTreeMap<i64, Day> = BTreeMap::new();
    let mut began: HashMap<TraceId, i64> = HashMap::new();
    for trace in lake.traces(&within).map_err(Failed::instrument)? {
        let trace = trace.map_err(Failed::instrument)?;
        let Some(start) = trace.spans.iter().map(|span| span.start_ns).min() else { continue };
        let window = start.div_euclid(window_ns);
        began.insert(trace.id.clone(), window);
        measure(days.entry(window).or_default(), &trace);
    }
    if days.is_empty() {
        return Err(Failed::usage(anyhow!("no trace in that time; `assize lake stats` says what there is")));
    }
    let mut left_out = Vec::new();
    let mut scores = lake.scores().map_err(Failed::instrument)?;
    scores.sort_by_key(|score| score.at_ns);
    let (mut wordy, mut elsewhere) = (BTreeMap::<String, u64>::new(), 0_u64);
    for score in scores {
        // A score counts for the window of its trace: a judge may be days behind.
        let Some(window) = score.trace_id.as_ref().and_then(|id| began.get(id)) else {
            elsewhere += 1;
            continue;
        };
        match score.value {
            Some(value) => days.entry(*window).or_default().scores.entry(score.name).or_default().push(value),
            None => *wordy.entry(score.name).or_default() += 1,
        }
    }
    left_out.extend(wordy.into_iter().map(|(name, n)| format!("{n} scores `{name}`: they are words, not numbers")));
    if elsewhere > 0 {
        left_out.push(format!("{elsewhere} scores: they are of no trace in that time"));
    }
    let days = without_gaps(days, hours)?;
    for (name, _) in days.iter().flat_map(|day| &day.scores).collect::<BTreeMap<_, _>>() {
        let outside = days.iter().filter_map(|day| day.scores.get(name)).flatten().any(|v| !(0.0..=1.0).contains(v));
        if outside {
            left_out
                .push(format!("scores `{name}` from the rules: they lie outside 0 to 1, so that no drop is defined"));
        }
    }
    let rules = watch(&days, &project.config.drift);
    Ok(Drifted {
        format: 1,
        of: "traces",
        window_hours: Some(hours),
        suite: None,
        rules,
        charts: charts(&days),
        left_out,
        alarms: Vec::new(),
    })
}

/// The day of a window, with its beginning where it is shorter.
fn label(window: i64, hours: u32) -> Option<String> {
    let ns = window.checked_mul(i64::from(hours) * HOUR_NS)?;
    let moment = Timestamp::from_nanosecond(i128::from(ns)).ok()?;
    Some(moment.strftime(if hours < 24 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d" }).to_string())
}

fn measure(day: &mut Day, trace: &Trace) {
    day.latency_ms.extend(trace.duration_ms());
    day.cost_usd.extend(trace.cost_usd());
    let counts = diagnose(trace, &Rules::default()).counts;
    day.loops.push(counts.loop_count as f64);
    if counts.tool_calls > 0 {
        day.calls.push((counts.tool_errors as f64, counts.tool_calls as f64));
    }
}

/// All windows from the first to the last; those without a trace are empty, and so unknown to every rule.
fn without_gaps(mut known: BTreeMap<i64, Day>, hours: u32) -> Done<Vec<Day>> {
    let Some((first, last)) = known.keys().next().copied().zip(known.keys().next_back().copied()) else {
        return Ok(Vec::new());
    };
    if usize::try_from(last - first).is_ok_and(|more| more >= MOST_WINDOWS) {
        return Err(Failed::usage(anyhow!(
            "the traces span more than {MOST_WINDOWS} windows of {hours} hours; name a shorter time with `--since` and \
             `--until`"
        )));
    }
    let of = |window: i64| {
        let date = label(window, hours).unwrap_or_else(|| window.to_string());
        Day { date, ..known.remove(&window).unwrap_or_default() }
    };
    Ok((first..=last).map(of).collect())
}
