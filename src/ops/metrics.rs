//! The page that Prometheus scrapes: the latest complete run of each suite, and what the traces of the last day say by
//! model, tool and agent.
//!
//! Made from the store and the lake when asked for, at most once in a while. Labels are bounded: names of suites,
//! metrics and targets, and the commonest models, tools, agents and scores.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::compare::policy_of;
use super::exit::{Done, Failed};
use super::findings;
use super::project::{Project, World};
use crate::compare::{RunView, summarize};
use crate::lake::{Lake, LakeError, TraceFilter};
use crate::model::{RunId, RunStatus};
use crate::report::{Gauge, Labels, prometheus_page};
use crate::store::Store;

/// The stretch of traces that live gauges speak of.
const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// A page younger than this is given again.
const FRESH: Duration = Duration::from_secs(10);
/// Live gauges younger than this are given again: they read a day of the lake.
const LIVE_FRESH: Duration = Duration::from_secs(60);
/// Latest runs that are looked through for one of each suite.
const RUNS: u32 = 500;
/// Suites on the page.
const SUITES: usize = 50;
/// Models, tools, agents or scores on the page, the commonest.
const GROUPS: usize = 20;

/// Makes pages.
pub struct Metrics {
    project: Project,
    world: World,
    store: Arc<dyn Store>,
    lake: Lake,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    page: Option<(Instant, String)>,
    live: Option<(Instant, Vec<Gauge>)>,
    /// Findings by suite, so that a run is folded once.
    views: BTreeMap<String, (RunId, RunView)>,
}

impl Metrics {
    /// Opens store and lake.
    pub async fn open(project: &Project, world: &World) -> Done<Self> {
        let store = project.store(&world.env).await?;
        let lake = project.lake(&world.env)?;
        Ok(Self { project: project.clone(), world: world.clone(), store, lake, kept: Mutex::default() })
    }

    /// The page as it is now.
    pub async fn page(&self) -> Done<String> {
        let mut kept = self.kept.lock().await;
        if let Some((_, page)) = kept.page.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return Ok(page.clone());
        }
        self.look(&mut kept.views).await?;
        if kept.live.as_ref().is_none_or(|(made, _)| made.elapsed() >= LIVE_FRESH) {
            kept.live = Some((Instant::now(), self.live().await?));
        }
        let views: Vec<RunView> = kept.views.values().map(|(_, view)| view.clone()).collect();
        let live = kept.live.as_ref().map(|(_, gauges)| gauges.as_slice()).unwrap_or_default();
        let page = prometheus_page(&views, live);
        kept.page = Some((Instant::now(), page.clone()));
        Ok(page)
    }

    /// Brings the findings of each suite up to its latest complete run.
    async fn look(&self, views: &mut BTreeMap<String, (RunId, RunView)>) -> Done<()> {
        let runs = self.store.runs(None, RUNS).await.map_err(Failed::instrument)?;
        let mut latest: BTreeMap<String, RunId> = BTreeMap::new();
        for run in runs.into_iter().filter(|run| run.status == RunStatus::Complete) {
            // Newest first.
            latest.entry(run.header.suite).or_insert(run.header.id);
        }
        for (suite, run) in latest.into_iter().take(SUITES) {
            if views.get(&suite).is_some_and(|(known, _)| *known == run) {
                continue;
            }
            let loaded = findings::load(self.store.as_ref(), &run).await?;
            let policy = policy_of(&self.project, &self.world, &suite)?;
            let mut view = summarize(&loaded.results, &loaded.metas, &policy);
            // Rows of examples are of no use here and may be many.
            view.examples = Vec::new();
            views.insert(suite, (run, view));
        }
        Ok(())
    }

    async fn live(&self) -> Done<Vec<Gauge>> {
        let now = self.world.clock.now();
        let since = now.checked_sub(SignedDuration::try_from(WINDOW).unwrap_or_default()).ok();
        let within = TraceFilter { since, ..TraceFilter::default() };
        let lake = self.lake.clone();
        let read = tokio::task::spawn_blocking(move || live(&lake, &within)).await.map_err(Failed::instrument)?;
        read.map_err(Failed::instrument)
    }
}

/// What is asked of one group of spans: its word, where its name stands, which spans it has.
const GROUPED: &[(&str, &str, &str)] = &[
    ("model", "COALESCE(model_response, model_request)", "kind = 'model' AND counted"),
    ("tool", "COALESCE(tool_name, name)", "kind = 'tool'"),
    ("agent", "COALESCE(agent_name, name)", "kind = 'agent'"),
];

/// Gauges of the live traces; none where the lake is empty.
fn live(lake: &Lake, within: &TraceFilter) -> Result<Vec<Gauge>, LakeError> {
    let mut page = Live::default();
    let rows = |sql: &str| -> Result<Vec<Map<String, Value>>, LakeError> {
        let answer = lake.query(sql, within)?;
        Ok((0..answer.len()).filter_map(|at| answer.object(at)).collect())
    };
    let whole = "SELECT COUNT(*) AS traces, SUM(CASE WHEN errors > 0 THEN 1 ELSE 0 END) AS errors, \
                 QUANTILE_CONT(duration_ms, 0.5) AS p50, QUANTILE_CONT(duration_ms, 0.95) AS p95, \
                 COUNT(cost_usd) AS priced, SUM(cost_usd) AS cost FROM traces";
    for row in rows(whole)? {
        page.add("assize_live_traces", &[], number(&row, "traces"));
        page.add("assize_live_trace_errors", &[], number(&row, "errors"));
        page.quantiles("assize_live_latency_seconds", &[], &row);
        page.add("assize_live_cost_usd", &[], priced(&row));
    }
    for (word, name, which) in GROUPED {
        let sql = format!(
            "SELECT {name} AS name, COUNT(*) AS calls, SUM(CASE WHEN status = 'error' THEN 1 ELSE 0 END) AS errors, \
             QUANTILE_CONT(duration_ms, 0.5) AS p50, QUANTILE_CONT(duration_ms, 0.95) AS p95, \
             COUNT(input_tokens) AS input_known, SUM(input_tokens) AS input, \
             COUNT(output_tokens) AS output_known, SUM(output_tokens) AS output, \
             COUNT(CASE WHEN paid THEN cost_usd END) AS priced, SUM(CASE WHEN paid THEN cost_usd END) AS cost, \
             SUM(CASE WHEN paid AND cost_usd IS NULL THEN 1 ELSE 0 END) AS unpriced \
             FROM spans WHERE {which} GROUP BY {name} ORDER BY calls DESC, name"
        );
        let found = rows(&sql)?;
        page.add("assize_live_groups_left_out", &[("group", word)], Some(found.len().saturating_sub(GROUPS) as f64));
        for row in found.into_iter().take(GROUPS) {
            page.group(word, &row);
        }
    }
    let scores = "SELECT name, COUNT(value) AS scores, AVG(value) AS mean FROM scores WHERE value IS NOT NULL \
                  GROUP BY name ORDER BY scores DESC, name";
    for row in rows(scores)?.into_iter().take(GROUPS) {
        let name = row.get("name").and_then(Value::as_str).unwrap_or_default();
        page.add("assize_live_scores", &[("score", name)], number(&row, "scores"));
        page.add("assize_live_score_mean", &[("score", name)], number(&row, "mean"));
    }
    Ok(page.gauges())
}

fn number(row: &Map<String, Value>, key: &str) -> Option<f64> {
    row.get(key).and_then(Value::as_f64)
}

/// A sum of money, where any of it is known.
fn priced(row: &Map<String, Value>) -> Option<f64> {
    number(row, "cost").filter(|_| number(row, "priced").is_some_and(|count| count > 0.0))
}

/// All live gauges with their help, in the order of the page.
pub const LIVE: &[(&str, &str)] = &[
    ("assize_live_traces", "Traces that began in the last 24 hours."),
    ("assize_live_trace_errors", "Of those, traces with a span that failed."),
    ("assize_live_latency_seconds", "Duration of these traces, seconds, by statistic."),
    ("assize_live_cost_usd", "Cost of these traces, US dollars; a lower bound where prices are unknown."),
    (
        "assize_live_groups_left_out",
        "Models, tools or agents beyond the commonest 20, which have no series of their own.",
    ),
    ("assize_live_model_calls", "Model calls of the last 24 hours."),
    ("assize_live_model_errors", "Of those, calls that failed."),
    ("assize_live_model_latency_seconds", "Duration of model calls, seconds, by statistic."),
    ("assize_live_model_tokens", "Tokens of model calls by direction, cached and reasoning tokens included."),
    ("assize_live_model_cost_usd", "Cost of model calls, US dollars; a lower bound where prices are unknown."),
    ("assize_live_model_unpriced_calls", "Model calls whose price is not known: they are not in the cost."),
    ("assize_live_tool_calls", "Tool calls of the last 24 hours."),
    ("assize_live_tool_errors", "Of those, calls that failed."),
    ("assize_live_tool_latency_seconds", "Duration of tool calls, seconds, by statistic."),
    ("assize_live_agent_spans", "Steps of agents in the last 24 hours."),
    ("assize_live_agent_errors", "Of those, steps that failed."),
    ("assize_live_agent_latency_seconds", "Duration of agents' steps, seconds, by statistic."),
    ("assize_live_scores", "Scores that others gave in the last 24 hours."),
    ("assize_live_score_mean", "Their mean."),
];

#[derive(Default)]
struct Live {
    samples: BTreeMap<&'static str, Vec<(Labels, f64)>>,
}

impl Live {
    fn add(&mut self, name: &'static str, labels: &[(&str, &str)], value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            self.samples.entry(name).or_default().push((labels, value));
        }
    }

    fn quantiles(&mut self, name: &'static str, labels: &[(&str, &str)], row: &Map<String, Value>) {
        for stat in ["p50", "p95"] {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("stat", stat)]).collect();
            self.add(name, &labels, number(row, stat).map(|ms| ms * 1e-3));
        }
    }

    fn group(&mut self, word: &str, row: &Map<String, Value>) {
        let name = row.get("name").and_then(Value::as_str).unwrap_or("unknown");
        let own = [(word, name)];
        let (calls, errors) = (number(row, "calls"), number(row, "errors"));
        match word {
            "model" => {
                self.add("assize_live_model_calls", &own, calls);
                self.add("assize_live_model_errors", &own, errors);
                self.quantiles("assize_live_model_latency_seconds", &own, row);
                for (direction, known) in [("input", "input_known"), ("output", "output_known")] {
                    let labels = [(word, name), ("direction", direction)];
                    // A sum over nothing known is not 0.
                    let sum = number(row, direction).filter(|_| number(row, known).is_some_and(|count| count > 0.0));
                    self.add("assize_live_model_tokens", &labels, sum);
                }
                self.add("assize_live_model_cost_usd", &own, priced(row));
                self.add("assize_live_model_unpriced_calls", &own, number(row, "unpriced"));
            }
            "tool" => {
                self.add("assize_live_tool_calls", &own, calls);
                self.add("assize_live_tool_errors", &own, errors);
                self.quantiles("assize_live_tool_latency_seconds", &own, row);
            }
            _ => {
                self.add("assize_live_agent_spans", &own, calls);
                self.add("assize_live_agent_errors", &own, errors);
                self.quantiles("assize_live_agent_latency_seconds", &own, row);
            }
        }
    }

    fn gauges(mut self) -> Vec<Gauge> {
        let gauge = |(name, help): &(&'static str, &'static str)| {
            self.samples.remove(name).map(|samples| Gauge { name, help, samples })
        };
        LIVE.iter().filter_map(gauge).collect()
    }
}
