//! `assize traces cost`: what the traces of the lake cost, by model, agent, session, user, or any dimension.
//!
//! A cost that the source stated is taken as it is; one that was computed is computed again with the present table, so
//! that a price that was added later counts. What has no known price is counted and never taken as nothing: the sum
//! without it is a lower bound. Evaluators that ran inside the application stand apart.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::exit::{Done, Failed};
use super::pricing;
use super::project::{Project, World};
use super::sample::opinions;
use super::traces::between;
use crate::config::PriceTable;
use crate::dataset::{Filter, NEGATIVE_FEEDBACK, trace_dimension};
use crate::lake::TraceFilter;
use crate::model::{PRICED_KEY, Span, SpanId, SpanKind, Trace, Usage};
use crate::sys::text::one_line;

/// The row of what has no value in the dimension.
pub const NONE: &str = "(none)";

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Dimension of the rows: `model`, `agent`, `session`, `user`, `tenant`, `prompt_version`, or an attribute.
    pub by: String,
    /// Filter, as typed.
    pub filter: Option<String>,
    /// Begin, as typed.
    pub since: Option<String>,
    /// End, as typed.
    pub until: Option<String>,
}

/// What a group of calls cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CostRow {
    /// Value of the dimension.
    pub name: String,
    /// Traces with at least one of the calls.
    pub traces: u64,
    /// Model calls.
    pub calls: u64,
    /// Tool calls that have a price.
    pub tool_calls: u64,
    /// Tokens of the model calls that say any. Cached and reasoning tokens are parts of input and output.
    pub usage: Usage,
    /// US dollars; `None` when the price of a call is unknown.
    pub cost_usd: Option<f64>,
    /// US dollars of the calls whose price is known: a lower bound where `unknown_calls` is above 0.
    pub known_cost_usd: f64,
    /// Calls whose cost is unknown, for want of tokens or of a price.
    pub unknown_calls: u64,
    /// Of `known_cost_usd`, how much the sources stated.
    pub stated_cost_usd: f64,
    /// Share of the known cost of all rows, in [0, 1]; `None` when that is 0, or when nothing of this row is known.
    pub share: Option<f64>,
    /// US dollars per trace; `None` when the price of a call is unknown.
    pub cost_per_trace_usd: Option<f64>,
}

/// What the traces cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CostReport {
    /// Version of this form.
    pub format: u32,
    /// Dimension of the rows.
    pub by: String,
    /// The groups, the dearest first.
    pub rows: Vec<CostRow>,
    /// All of them together.
    pub total: CostRow,
    /// Evaluators, which are in no row and not in the total; absent when there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluators: Option<CostRow>,
    /// Calls that say their tokens and have no known price, by model.
    pub unknown_models: BTreeMap<String, u64>,
    /// Calls without a cost that do not say their tokens, by model: no price would help.
    pub without_tokens: BTreeMap<String, u64>,
    /// Day up to which the shipped prices are known.
    pub prices_as_of: Option<String>,
    /// Prices of models and tools that the configuration gives; they win.
    pub own_prices: u64,
}

/// Adds up what the traces that fit cost.
pub fn cost(project: &Project, world: &World, ask: &Ask) -> Done<CostReport> {
    let filter = ask.filter.as_deref().map(Filter::parse).transpose().map_err(Failed::usage)?;
    let (since, until) = between(world, ask.since.as_deref(), ask.until.as_deref())?;
    let within = TraceFilter { since, until, ..TraceFilter::default() };
    let lake = project.lake(&world.env)?;
    let mut tally = Tally::new(&ask.by, &project.config.prices);
    let asked = filter.as_ref().is_some_and(|filter| filter.names().contains(&NEGATIVE_FEEDBACK));
    let opinions = opinions(&lake, asked)?;
    for trace in lake.traces(&within).map_err(Failed::instrument)? {
        let trace = trace.map_err(Failed::instrument)?;
        if filter.as_ref().is_none_or(|filter| filter.matches(|name| opinions.dimension(&trace, name))) {
            tally.add(&trace);
        }
    }
    Ok(tally.finish())
}

/// Sums by group while traces go by.
struct Tally<'a> {
    by: &'a str,
    prices: &'a PriceTable,
    rows: BTreeMap<String, CostRow>,
    total: CostRow,
    evaluators: CostRow,
    unknown_models: BTreeMap<String, u64>,
    without_tokens: BTreeMap<String, u64>,
}

impl<'a> Tally<'a> {
    fn new(by: &'a str, prices: &'a PriceTable) -> Self {
        let total = CostRow { name: "total".to_owned(), ..CostRow::default() };
        let evaluators = CostRow { name: "evaluators".to_owned(), ..CostRow::default() };
        let (unknown_models, without_tokens) = (BTreeMap::new(), BTreeMap::new());
        Self { by, prices, rows: BTreeMap::new(), total, evaluators, unknown_models, without_tokens }
    }

    fn add(&mut self, trace: &Trace) {
        let evaluators = trace.evaluator_spans();
        let spans: HashMap<&SpanId, &Span> = trace.spans.iter().map(|span| (&span.span_id, span)).collect();
        let wrappers = wrappers(trace, &spans);
        let mut met: HashSet<String> = HashSet::new();
        let (mut any, mut judged) = (false, false);
        for span in trace.spans.iter().filter(|span| !wrappers.contains(&span.span_id)) {
            let Some(call) = Counted::of(span, self.prices) else { continue };
            if evaluators.contains(&span.span_id) {
                judged = true;
                self.evaluators.count(span, &call);
                continue;
            }
            any = true;
            if call.cost.is_none() {
                let lacks =
                    if pricing::says_tokens(span) { &mut self.unknown_models } else { &mut self.without_tokens };
                *lacks.entry(one_line(&pricing::unpriced_name(span), 80)).or_default() += 1;
            }
            let name = group(self.by, trace, span, &spans).unwrap_or_else(|| NONE.to_owned());
            let row =
                self.rows.entry(name.clone()).or_insert_with(|| CostRow { name: name.clone(), ..CostRow::default() });
            row.count(span, &call);
            row.traces += u64::from(met.insert(name));
            self.total.count(span, &call);
        }
        self.total.traces += u64::from(any);
        self.evaluators.traces += u64::from(judged);
    }

    fn finish(mut self) -> CostReport {
        let sum = self.total.known_cost_usd;
        let close = |row: &mut CostRow| {
            row.cost_usd = (row.unknown_calls == 0).then_some(row.known_cost_usd);
            row.cost_per_trace_usd = row.cost_usd.filter(|_| row.traces > 0).map(|cost| cost / row.traces as f64);
            let known = row.cost_usd.is_some() || row.known_cost_usd > 0.0;
            row.share = (known && sum > 0.0).then(|| row.known_cost_usd / sum);
        };
        let mut rows: Vec<CostRow> = self.rows.into_values().collect();
        rows.iter_mut().for_each(close);
        close(&mut self.total);
        close(&mut self.evaluators);
        self.evaluators.share = None;
        rows.sort_by(|left, right| {
            right
                .known_cost_usd
                .total_cmp(&left.known_cost_usd)
                .then_with(|| right.unknown_calls.cmp(&left.unknown_calls))
                .then_with(|| left.name.cmp(&right.name))
        });
        CostReport {
            format: 1,
            by: self.by.to_owned(),
            rows,
            total: self.total,
            evaluators: (self.evaluators.calls + self.evaluators.tool_calls > 0).then_some(self.evaluators),
            unknown_models: self.unknown_models,
            without_tokens: self.without_tokens,
            prices_as_of: self.prices.as_of().map(|day| day.to_string()),
            own_prices: self.prices.own() as u64,
        }
    }
}

impl CostRow {
    /// Several rows as one. How many traces they have together, and what a trace costs, cannot be told from them: a
    /// trace may be in several.
    pub fn together<'a>(name: String, rows: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self { name, cost_usd: Some(0.0), ..Self::default() };
        for row in rows {
            sum.calls += row.calls;
            sum.tool_calls += row.tool_calls;
            sum.usage = sum.usage.plus(&row.usage);
            sum.cost_usd = sum.cost_usd.zip(row.cost_usd).map(|(left, right)| left + right);
            sum.known_cost_usd += row.known_cost_usd;
            sum.unknown_calls += row.unknown_calls;
            sum.stated_cost_usd += row.stated_cost_usd;
            sum.share = sum.share.into_iter().chain(row.share).reduce(|left, right| left + right);
        }
        sum
    }

    fn count(&mut self, span: &Span, call: &Counted) {
        match span.kind {
            SpanKind::Model => self.calls += 1,
            _ => self.tool_calls += 1,
        }
        if span.kind == SpanKind::Model {
            self.usage = self.usage.plus(&span.usage);
        }
        match call.cost {
            Some(cost) => {
                self.known_cost_usd += cost;
                self.stated_cost_usd += if call.stated { cost } else { 0.0 };
            }
            None => self.unknown_calls += 1,
        }
    }
}

/// A call that may cost.
struct Counted {
    cost: Option<f64>,
    stated: bool,
}

impl Counted {
    /// `None` for spans that are no call, and for tools without a price, which are free.
    fn of(span: &Span, prices: &PriceTable) -> Option<Self> {
        let priced = span.attributes.contains_key(PRICED_KEY);
        let stated = span.cost_usd.filter(|_| !priced);
        let cost = stated.or_else(|| pricing::price(prices, span));
        match span.kind {
            // A call that failed and says no tokens was not billed.
            SpanKind::Model if cost.is_none() && span.usage.is_unknown() && span.failed() => {
                Some(Self { cost: Some(0.0), stated: false })
            }
            SpanKind::Model => Some(Self { cost, stated: stated.is_some() }),
            SpanKind::Tool if cost.is_some() => Some(Self { cost, stated: stated.is_some() }),
            _ => None,
        }
    }
}

/// Model spans that only wrap another one: they say nothing of tokens or money, what is below them does.
fn wrappers<'a>(trace: &'a Trace, spans: &HashMap<&SpanId, &'a Span>) -> HashSet<&'a SpanId> {
    let bare = |span: &Span| span.usage.is_unknown() && span.cost_usd.is_none();
    let mut found = HashSet::new();
    for span in trace.spans.iter().filter(|span| span.kind == SpanKind::Model && !bare(span)) {
        for above in ancestors(span, spans).filter(|above| above.kind == SpanKind::Model && bare(above)) {
            found.insert(&above.span_id);
        }
    }
    found
}

/// The spans above one, the nearest first; ends where parents form a cycle.
fn ancestors<'a, 'b>(
    span: &'a Span,
    spans: &'b HashMap<&SpanId, &'a Span>,
) -> impl Iterator<Item = &'a Span> + use<'a, 'b> {
    let above = |span: &&'a Span| span.parent_id.as_ref().and_then(|parent| spans.get(parent).copied());
    std::iter::successors(above(&span), move |span| above(span)).take(spans.len())
}

/// Value of the dimension for one call.
fn group(by: &str, trace: &Trace, span: &Span, spans: &HashMap<&SpanId, &Span>) -> Option<String> {
    let own = |keys: &[&str]| {
        let on = |span: &Span| {
            keys.iter()
                .find_map(|key| span.attribute(key))
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        on(span)
            .or_else(|| ancestors(span, spans).find_map(on))
            .or_else(|| keys.iter().find_map(|key| trace.dimension(key)))
    };
    match by {
        "model" => {
            let model = span.model.as_ref().and_then(|model| model.response.clone().or_else(|| model.request.clone()));
            model.or_else(|| span.tool.as_ref().map(|tool| format!("tool {}", tool.name)))
        }
        "agent" => {
            let named = |span: &Span| span.agent_name().map(str::to_owned).or_else(|| Some(span.name.clone()));
            let above = ancestors(span, spans).find(|above| above.kind == SpanKind::Agent).and_then(named);
            above.or_else(|| span.agent_name().map(str::to_owned))
        }
        "session" => span.session_id.as_ref().map(ToString::to_string).or_else(|| trace.dimension("session")),
        "user" => span.user_id.clone().or_else(|| trace.dimension("user")),
        "tenant" => own(&["tenant.id", "tenant", "tenant_id", "organization.id", "org_id"]),
        "prompt_version" => {
            let prompt = span.prompt.as_ref();
            prompt.and_then(|prompt| {
                prompt
                    .version
                    .clone()
                    .or_else(|| prompt.digest.as_ref().map(|digest| digest.chars().take(15).collect()))
            })
        }
        "trace" => Some(trace.id.to_string()),
        other => own(&[other]).or_else(|| trace_dimension(trace, other)),
    }
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;
