//! Cost and latency by agent and tool, from the traces of two runs.

use std::collections::BTreeMap;

use super::{Breakdown, BreakdownSide};
use crate::model::{Span, SpanKind, Trace};

/// Folds traces one by one, so that they need not be in memory at once.
#[derive(Clone, Debug, Default)]
pub struct BreakdownFold {
    sides: [BTreeMap<(&'static str, String), Tally>; 2],
}

#[derive(Clone, Debug, Default)]
struct Tally {
    calls: u64,
    errors: u64,
    ended: u64,
    milliseconds: f64,
    tokens: Option<u64>,
    cost_usd: Option<f64>,
}

impl BreakdownFold {
    /// An empty fold.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a trace of the baseline.
    pub fn push_baseline(&mut self, trace: &Trace) {
        push(&mut self.sides[0], trace);
    }

    /// Adds a trace of the candidate.
    pub fn push_candidate(&mut self, trace: &Trace) {
        push(&mut self.sides[1], trace);
    }

    /// Agents, then tools, by name.
    pub fn finish(self) -> Vec<Breakdown> {
        let [baseline, candidate] = self.sides;
        let mut found: BTreeMap<_, (Option<BreakdownSide>, Option<BreakdownSide>)> = BTreeMap::new();
        for (key, tally) in baseline {
            found.entry(key).or_default().0 = Some(tally.side());
        }
        for (key, tally) in candidate {
            found.entry(key).or_default().1 = Some(tally.side());
        }
        found
            .into_iter()
            .map(|((kind, name), (baseline, candidate))| Breakdown { kind: kind.to_owned(), name, baseline, candidate })
            .collect()
    }
}

impl Tally {
    fn add(&mut self, span: &Span) {
        self.calls += 1;
        self.errors += u64::from(span.failed());
        if let Some(duration) = span.duration_ms() {
            self.ended += 1;
            self.milliseconds += duration;
        }
    }

    fn side(self) -> BreakdownSide {
        BreakdownSide {
            calls: self.calls,
            errors: self.errors,
            mean_ms: (self.ended > 0).then(|| self.milliseconds / self.ended as f64),
            tokens: self.tokens,
            cost_usd: self.cost_usd,
        }
    }
}

/// The breakdown of two sets of traces; see [`BreakdownFold`] for sets that do not fit in memory.
pub fn breakdown<'a>(
    baseline: impl IntoIterator<Item = &'a Trace>,
    candidate: impl IntoIterator<Item = &'a Trace>,
) -> Vec<Breakdown> {
    let mut fold = BreakdownFold::new();
    baseline.into_iter().for_each(|trace| fold.push_baseline(trace));
    candidate.into_iter().for_each(|trace| fold.push_candidate(trace));
    fold.finish()
}

/// Tallies agent spans and tool spans; tokens and money of a model span go to the agent it names, else to the nearest agent above
/// it. Evaluators and all below them are the instrument's, not the target's.
fn push(side: &mut BTreeMap<(&'static str, String), Tally>, trace: &Trace) {
    let mut above: Vec<(usize, Option<&str>, bool)> = Vec::new();
    for (depth, span) in trace.outline() {
        above.retain(|(level, _, _)| *level < depth);
        let (inherited, within_evaluator) = above.last().map_or((None, false), |(_, agent, inside)| (*agent, *inside));
        let evaluator = within_evaluator || span.kind == SpanKind::Evaluator;
        let named = span.agent_name().or((span.kind == SpanKind::Agent).then_some(span.name.as_str()));
        let agent = named.or(inherited);
        above.push((depth, agent, evaluator));
        if evaluator {
            continue;
        }
        match span.kind {
            SpanKind::Agent => {
                let name = agent.unwrap_or(&span.name).to_owned();
                side.entry(("agent", name)).or_default().add(span);
            }
            SpanKind::Tool => {
                let name = span.tool.as_ref().map_or(&span.name, |tool| &tool.name).clone();
                side.entry(("tool", name)).or_default().add(span);
            }
            SpanKind::Model => {
                let (tokens, cost) = (span.usage.total(), span.cost_usd.filter(|cost| cost.is_finite()));
                if let Some(agent) = agent.filter(|_| tokens.is_some() || cost.is_some()) {
                    let tally = side.entry(("agent", agent.to_owned())).or_default();
                    if let Some(tokens) = tokens {
                        tally.tokens = Some(tally.tokens.unwrap_or(0).saturating_add(tokens));
                    }
                    if let Some(cost) = cost {
                        tally.cost_usd = Some(tally.cost_usd.unwrap_or(0.0) + cost);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn span(id: &str, parent: Option<&str>, kind: &str, name: &str, more: serde_json::Value) -> serde_json::Value {
        let mut span = json!({
            "trace_id": "t", "span_id": id, "kind": kind, "name": name, "start_ns": 0, "end_ns": 2_000_000, "source": {},
        });
        if let Some(parent) = parent {
            span["parent_id"] = json!(parent);
        }
        span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        span
    }

    fn trace(spans: Vec<serde_json::Value>) -> Trace {
        serde_json::from_value(json!({ "id": "t", "spans": spans })).unwrap()
    }

    #[test]
    fn tokens_go_to_the_nearest_agent_and_evaluators_do_not_count() {
        let usage = json!({ "usage": { "input": 90, "output": 10 }, "cost_usd": 0.5 });
        let trace = trace(vec![
            span("a", None, "agent", "planner", json!({})),
            span("b", Some("a"), "agent", "worker", json!({})),
            span("c", Some("b"), "model", "chat", usage.clone()),
            span("d", Some("b"), "tool", "run", json!({ "tool": { "name": "search" }, "status": "error" })),
            span("e", Some("a"), "evaluator", "grade", json!({})),
            span("f", Some("e"), "model", "chat", usage),
        ]);
        let found = breakdown([&trace], []);
        let names: Vec<(&str, &str)> = found.iter().map(|row| (row.kind.as_str(), row.name.as_str())).collect();
        assert_eq!(names, [("agent", "planner"), ("agent", "worker"), ("tool", "search")]);
        let side = |index: usize| found[index].baseline.clone().unwrap();
        assert_eq!((side(0).tokens, side(1).tokens), (None, Some(100)));
        assert_eq!((side(0).cost_usd, side(1).cost_usd), (None, Some(0.5)));
        assert_eq!((side(2).calls, side(2).errors, side(2).mean_ms), (1, 1, Some(2.0)));
        assert!(found.iter().all(|row| row.candidate.is_none()));
    }
}
