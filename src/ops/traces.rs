//! `assize traces`: what is in the lake.

use anyhow::anyhow;
use serde::Serialize;

use super::dimensions::why_nothing_fits;
use super::exit::{Done, Failed};
use super::project::{Project, World};
use super::sample::opinions;
use crate::dataset::{Filter, NEGATIVE_FEEDBACK};
use crate::lake::{Answer, LakeError, TraceFilter, TraceRow};
use crate::model::{PRICED_KEY, Span, Trace, TraceScore, Usage};
use crate::sys::{Window, window};

/// What is asked of the list.
#[derive(Clone, Debug, Default)]
pub struct ListAsk {
    /// Filter, as typed.
    pub filter: Option<String>,
    /// Only with a failed span.
    pub errors: bool,
    /// Begin, as typed.
    pub since: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Traces, newest first.
pub fn list(project: &Project, world: &World, ask: &ListAsk) -> Done<Vec<TraceRow>> {
    let filter = ask.filter.as_deref().map(Filter::parse).transpose().map_err(Failed::usage)?;
    let (since, until) = between(world, ask.since.as_deref(), None)?;
    let within = TraceFilter { since, until, only_errors: ask.errors, ..TraceFilter::default() };
    let lake = project.lake(&world.env)?;
    let Some(filter) = filter else {
        return lake.list(&within, ask.limit).map_err(Failed::instrument);
    };
    // A filter on any attribute needs whole traces; without one the list reads only the columns it shows.
    let opinions = opinions(&lake, filter.names().contains(&NEGATIVE_FEEDBACK))?;
    let mut rows = Vec::new();
    for trace in lake.traces(&within).map_err(Failed::instrument)? {
        let trace = trace.map_err(Failed::instrument)?;
        if filter.matches(|name| opinions.dimension(&trace, name)) {
            rows.extend(TraceRow::of(&trace));
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.start_ns));
    rows.truncate(ask.limit);
    Ok(rows)
}

/// Why a list is empty, with the mend.
pub fn why_none(project: &Project, world: &World, ask: &ListAsk) -> Done<String> {
    let filter = ask.filter.as_deref().map(Filter::parse).transpose().map_err(Failed::usage)?;
    let (since, until) = between(world, ask.since.as_deref(), None)?;
    let within = TraceFilter { since, until, ..TraceFilter::default() };
    let lake = project.lake(&world.env)?;
    let asked = filter.as_ref().is_some_and(|filter| filter.names().contains(&NEGATIVE_FEEDBACK));
    if ask.errors && !lake.list(&within, 1).map_err(Failed::instrument)?.is_empty() {
        return Ok("No trace that fits has a failed span.".to_owned());
    }
    let why = why_nothing_fits(&lake, &within, filter.as_ref(), &opinions(&lake, asked)?)?.error.to_string();
    let mut letters = why.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    Ok(format!("{first}{}.", letters.as_str().trim_end_matches('.')))
}

/// A trace with what holds of the whole.
#[derive(Clone, Debug, Serialize)]
pub struct ShownTrace {
    /// The trace.
    #[serde(flatten)]
    pub trace: Trace,
    /// Tokens, each call counted once.
    pub usage: Usage,
    /// What it cost.
    #[serde(flatten)]
    pub money: Money,
    /// Milliseconds from the first start to the last end; `None` when no span has ended.
    pub duration_ms: Option<f64>,
    /// What others said about it.
    pub scores: Vec<TraceScore>,
}

/// What a trace cost, each call counted once, evaluators left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Money {
    /// US dollars; `None` when the cost of a call is unknown.
    pub cost_usd: Option<f64>,
    /// US dollars of the calls whose cost is known: a lower bound where `unknown_calls` is above 0.
    #[serde(rename = "known_cost_usd")]
    pub known_usd: f64,
    /// Calls with tokens and without a cost.
    pub unknown_calls: u64,
    /// Whether any of it was computed from a price table; else the source stated it.
    pub computed: bool,
}

impl Money {
    fn of(trace: &Trace) -> Self {
        let paid = trace.paid_spans();
        let paid: Vec<&Span> = trace.spans.iter().filter(|span| paid.contains(&span.span_id)).collect();
        Self {
            cost_usd: trace.cost_usd(),
            known_usd: paid.iter().filter_map(|span| span.cost_usd).sum(),
            unknown_calls: paid.iter().filter(|span| span.cost_usd.is_none()).count() as u64,
            computed: paid.iter().any(|span| span.attributes.contains_key(PRICED_KEY)),
        }
    }
}

/// One trace, by its id or its first characters.
pub fn show(project: &Project, world: &World, wanted: &str) -> Done<ShownTrace> {
    let lake = project.lake(&world.env)?;
    let trace = lake.trace(wanted).map_err(Failed::usage)?;
    let scores = lake.scores_of(std::slice::from_ref(&trace.id)).map_err(Failed::instrument)?;
    let (usage, money, duration_ms) = (trace.usage(), Money::of(&trace), trace.duration_ms());
    Ok(ShownTrace { trace, usage, money, duration_ms, scores })
}

/// What is asked of the tables.
#[derive(Clone, Debug, Default)]
pub struct QueryAsk {
    /// The query.
    pub sql: String,
    /// Begin, as typed.
    pub since: Option<String>,
    /// End, as typed.
    pub until: Option<String>,
}

/// Reads `--since` and `--until`, how far back from now included.
pub(super) fn between(world: &World, since: Option<&str>, until: Option<&str>) -> Done<Window> {
    window(since, until, world.clock.now()).map_err(|fault| Failed::usage(anyhow!(fault)))
}

/// Answers SQL.
pub fn query(project: &Project, world: &World, ask: &QueryAsk) -> Done<Answer> {
    let (since, until) = between(world, ask.since.as_deref(), ask.until.as_deref())?;
    let within = TraceFilter { since, until, ..TraceFilter::default() };
    project.lake(&world.env)?.query(&ask.sql, &within).map_err(|error| match error {
        LakeError::Sql(_) => Failed::usage(error),
        _ => Failed::instrument(error),
    })
}
