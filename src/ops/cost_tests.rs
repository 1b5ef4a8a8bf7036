//! Figures computed by hand.

use serde_json::{Value, json};

use super::*;
use crate::model::assemble;

fn span(id: &str, parent: Option<&str>, kind: &str, more: Value) -> Span {
    let mut value =
        json!({"trace_id": "t", "span_id": id, "kind": kind, "name": id, "start_ns": 1_763_000_000_000_000_000_i64});
    let map = value.as_object_mut().unwrap();
    map.extend(parent.map(|parent| ("parent_id".to_owned(), json!(parent))));
    map.extend(more.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

fn call(id: &str, parent: &str, model: &str, input: u64, output: u64) -> Span {
    span(id, Some(parent), "model", json!({"model": {"request": model}, "usage": {"input": input, "output": output}}))
}

fn trace(spans: Vec<Span>) -> Trace {
    assemble(spans).traces.remove(0)
}

fn report(by: &str, traces: &[Trace]) -> CostReport {
    let tools = BTreeMap::from([("search".to_owned(), 0.01)]);
    let prices = PriceTable::shipped_with(&BTreeMap::new(), &tools);
    let mut tally = Tally::new(by, &prices);
    traces.iter().for_each(|trace| tally.add(trace));
    tally.finish()
}

/// A planner that calls a helper; each asks a model, the helper uses a tool; a judge ran along.
fn team() -> Trace {
    trace(vec![
        span(
            "planner",
            None,
            "agent",
            json!({"agent": {"name": "planner"}, "user_id": "u1",
            "attributes": {"tenant.id": "acme"}, "usage": {"input": 999, "output": 999}}),
        ),
        call("m1", "planner", "gpt-4o-mini", 1_000_000, 100_000),
        span("step", Some("planner"), "step", json!({})),
        span("helper", Some("step"), "agent", json!({"agent": {"name": "helper"}})),
        call("m2", "helper", "gpt-4.1", 100_000, 10_000),
        span("search", Some("helper"), "tool", json!({"tool": {"name": "search"}})),
        span("free", Some("helper"), "tool", json!({"tool": {"name": "free"}})),
        span("judge", Some("planner"), "evaluator", json!({})),
        call("m3", "judge", "gpt-4o-mini", 1_000_000, 0),
    ])
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn each_agent_has_its_own_calls_and_evaluators_stand_apart() {
    let found = report("agent", &[team()]);
    // planner: 0.15 + 0.1 x 0.6; helper: 0.1 x 2 + 0.01 x 8 + a search of 0.01.
    let rows: Vec<(&str, u64, u64)> =
        found.rows.iter().map(|row| (row.name.as_str(), row.calls, row.tool_calls)).collect();
    assert_eq!(rows, [("helper", 1, 1), ("planner", 1, 0)]);
    close(found.rows[0].cost_usd.unwrap(), 0.29);
    close(found.rows[1].cost_usd.unwrap(), 0.21);
    close(found.total.cost_usd.unwrap(), 0.5);
    close(found.rows[0].share.unwrap(), 0.58);
    close(found.total.cost_per_trace_usd.unwrap(), 0.5);
    assert_eq!((found.total.usage.input, found.total.usage.output), (Some(1_100_000), Some(110_000)));
    close(found.evaluators.unwrap().cost_usd.unwrap(), 0.15);
}

#[test]
fn a_dimension_is_taken_from_the_spans_above() {
    for (by, name) in [("tenant", "acme"), ("tenant.id", "acme"), ("user", "u1"), ("trace", "t")] {
        let found = report(by, &[team()]);
        assert_eq!(found.rows.len(), 1, "{by}");
        assert_eq!(found.rows[0].name, name);
    }
    assert_eq!(report("session", &[team()]).rows[0].name, NONE);
    let models: Vec<String> = report("model", &[team()]).rows.into_iter().map(|row| row.name).collect();
    assert_eq!(models, ["gpt-4.1", "gpt-4o-mini", "tool search"]);
}

#[test]
fn unknown_is_unknown_with_a_lower_bound() {
    let spans = vec![call("a", "x", "gpt-4o-mini", 1_000_000, 0), call("b", "x", "in-house", 1_000, 10)];
    let found = report("agent", &[trace(spans)]);
    let row = &found.rows[0];
    assert_eq!((row.cost_usd, row.cost_per_trace_usd, row.unknown_calls), (None, None, 1));
    close(row.known_cost_usd, 0.15);
    assert_eq!(found.total.cost_usd, None);
    assert_eq!(found.unknown_models, BTreeMap::from([("in-house".to_owned(), 1)]));
    let alone = report("model", &[trace(vec![call("b", "x", "in-house", 1_000, 10)])]);
    assert_eq!((alone.total.cost_usd, alone.total.share), (None, None));
}

#[test]
fn stated_costs_stay_and_computed_ones_are_computed_again() {
    let mut stated = call("a", "x", "gpt-4o-mini", 1_000_000, 0);
    stated.cost_usd = Some(7.0);
    let mut priced = call("b", "x", "gpt-4o-mini", 1_000_000, 0);
    priced.cost_usd = Some(9.0);
    priced.attributes.insert(PRICED_KEY.to_owned(), json!(true));
    let found = report("model", &[trace(vec![stated, priced])]);
    close(found.total.cost_usd.unwrap(), 7.15);
    close(found.total.stated_cost_usd, 7.0);
}

#[test]
fn a_wrapper_is_not_a_second_call_and_a_failed_call_costs_nothing() {
    let wrapper = span("w", None, "model", json!({"model": {"request": "gpt-4o-mini"}}));
    let failed = span("f", None, "model", json!({"model": {"request": "gpt-4o-mini"}, "status": "error"}));
    let silent = span("s", None, "model", json!({"model": {"request": "gpt-4o-mini"}}));
    let found = report("model", &[trace(vec![wrapper, call("a", "w", "gpt-4o-mini", 1_000_000, 0), failed, silent])]);
    assert_eq!((found.total.calls, found.total.unknown_calls), (3, 1));
    close(found.total.known_cost_usd, 0.15);
}

#[test]
fn a_call_without_tokens_does_not_lack_a_price() {
    let silent = span("s", None, "model", json!({"model": {"request": "gpt-4o-mini"}}));
    let half = span("h", None, "model", json!({"model": {"request": "gpt-4o-mini"}, "usage": {"input": 10}}));
    let found = report("model", &[trace(vec![silent, half, call("b", "x", "in-house", 1_000, 10)])]);
    assert_eq!(found.without_tokens, BTreeMap::from([("gpt-4o-mini".to_owned(), 2)]));
    assert_eq!(found.unknown_models, BTreeMap::from([("in-house".to_owned(), 1)]));
}

#[test]
fn what_is_not_known_has_no_share() {
    let found = report("model", &[team(), trace(vec![call("b", "x", "in-house", 1_000, 10)])]);
    let share = |name: &str| found.rows.iter().find(|row| row.name == name).unwrap().share;
    assert_eq!(share("in-house"), None);
    close(share("gpt-4.1").unwrap(), 0.56);
    close(found.total.share.unwrap(), 1.0);
}

#[test]
fn rows_together_are_their_sums_and_a_lower_bound_when_one_is() {
    let found = report("model", &[team(), trace(vec![call("b", "x", "in-house", 1_000, 10)])]);
    let known = CostRow::together("2 others".to_owned(), &found.rows[..2]);
    close(known.cost_usd.unwrap(), 0.49);
    close(known.share.unwrap(), 0.98);
    let all = CostRow::together("others".to_owned(), &found.rows);
    assert_eq!((all.cost_usd, all.unknown_calls, all.calls, all.tool_calls), (None, 1, 3, 1));
    close(all.known_cost_usd, 0.5);
    assert_eq!(all.usage.input, Some(1_101_000));
}

#[test]
fn cached_and_reasoning_tokens_are_parts() {
    let usage = json!({"input": 1_000_000, "cache_read": 400_000, "output": 100_000, "reasoning": 90_000});
    let one = span("a", None, "model", json!({"model": {"request": "gpt-5"}, "usage": usage}));
    let found = report("model", &[trace(vec![one])]);
    // 0.6 x 1.25 + 0.4 x 0.125 + 0.1 x 10.
    close(found.total.cost_usd.unwrap(), 0.75 + 0.05 + 1.0);
    assert_eq!((found.total.usage.cache_read, found.total.usage.reasoning), (Some(400_000), Some(90_000)));
}

#[test]
fn parents_in_a_circle_end() {
    let mut a = call("a", "b", "gpt-4o-mini", 1_000_000, 0);
    a.agent = None;
    let b = span("b", Some("a"), "step", json!({}));
    assert_eq!(report("agent", &[trace(vec![a, b])]).total.calls, 1);
}
