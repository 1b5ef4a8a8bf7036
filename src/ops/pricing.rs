//! What a span of a trace costs by the price table: which call it was, in which service tier, on which day.

use jiff::Timestamp;
use serde_json::Value;

use crate::config::{Call, PriceTable};
use crate::model::{Span, SpanKind};

/// Attributes that name the service tier, the answer's word before the wish.
const TIERS: &[&str] = &[
    "gen_ai.openai.response.service_tier",
    "openai.response.service_tier",
    "gen_ai.response.service_tier",
    "gen_ai.usage.service_tier",
    "service_tier",
    "gen_ai.openai.request.service_tier",
    "openai.request.service_tier",
    "gen_ai.request.service_tier",
];
/// Attributes that hold a call's parameters as JSON.
const PARAMETERS: &[&str] = &["llm.invocation_parameters", "gen_ai.request.parameters"];
/// Attributes that count tokens written to a cache that keeps them for an hour.
const WRITTEN_1H: &[&str] = &[
    "gen_ai.usage.cache_creation.ephemeral_1h_input_tokens",
    "gen_ai.usage.cache_creation.ephemeral_1h.input_tokens",
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
];

/// US dollars of a model or tool call by the table; `None` when it has no known price.
pub(super) fn price(prices: &PriceTable, span: &Span) -> Option<f64> {
    match span.kind {
        SpanKind::Model => {
            let model = span.model.as_ref()?;
            let call = call(span);
            let names = [&model.response, &model.request];
            names.into_iter().flatten().find_map(|name| prices.cost_of(name, &span.usage, &call))
        }
        SpanKind::Tool => prices.tool(&span.tool.as_ref()?.name),
        _ => None,
    }
}

/// Whether the source says the tokens that a price needs: without them no price would help.
pub(super) fn says_tokens(span: &Span) -> bool {
    span.usage.input.is_some() && span.usage.output.is_some()
}

/// The name a call without a price is told under: its model, with the service tier where that is what lacks.
pub(super) fn unpriced_name(span: &Span) -> String {
    let model = span.model.as_ref().and_then(|model| model.response.as_ref().or(model.request.as_ref()));
    let model = model.map_or("no model named", String::as_str);
    match tier(span) {
        Some(tier) => format!("{model} ({tier})"),
        None => model.to_owned(),
    }
}

fn call(span: &Span) -> Call {
    let count = |key: &&str| span.attributes.get(*key).and_then(Value::as_u64);
    Call {
        at: Timestamp::from_nanosecond(i128::from(span.start_ns)).ok().filter(|_| span.start_ns > 0),
        tier: tier(span),
        cache_write_1h: WRITTEN_1H.iter().find_map(count),
    }
}

/// The service tier, when it is not the standard one.
fn tier(span: &Span) -> Option<String> {
    let said = TIERS.iter().find_map(|key| span.attributes.get(*key)?.as_str()).map(str::to_lowercase);
    let wished = || {
        let parameters = PARAMETERS.iter().find_map(|key| match span.attributes.get(*key)? {
            Value::String(text) => serde_json::from_str::<Value>(text).ok(),
            other => Some(other.clone()),
        });
        parameters.and_then(|parameters| Some(parameters.get("service_tier")?.as_str()?.to_lowercase()))
    };
    let tier = said.or_else(wished)?;
    (!["", "default", "auto", "standard", "standard_only", "on_demand"].contains(&tier.as_str())).then_some(tier)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{SpanId, ToolUse, TraceId, Usage};

    fn call_of(model: &str, attributes: Value) -> Span {
        let mut span =
            Span::new(TraceId::from("t"), SpanId::from("s"), SpanKind::Model, "chat", 1_763_000_000_000_000_000);
        span.model = Some(crate::model::ModelRef { request: Some(model.to_owned()), ..Default::default() });
        span.usage = Usage { input: Some(1_000_000), output: Some(100_000), ..Usage::default() };
        span.attributes = serde_json::from_value(attributes).unwrap();
        span
    }

    #[test]
    fn a_tier_changes_the_price_and_an_unknown_one_makes_it_unknown() {
        let prices = PriceTable::shipped().unwrap();
        // gpt-5: 1.25 + 0.1 x 10.
        for (attributes, expected) in [
            (json!({}), Some(2.25)),
            (json!({"gen_ai.openai.response.service_tier": "default"}), Some(2.25)),
            (json!({"gen_ai.openai.response.service_tier": "batch"}), Some(1.125)),
            (json!({"llm.invocation_parameters": "{\"service_tier\": \"flex\"}"}), Some(1.125)),
            (json!({"service_tier": "priority"}), Some(4.5)),
            (json!({"service_tier": "turbo"}), None),
        ] {
            assert_eq!(price(&prices, &call_of("gpt-5-2025-08-07", attributes.clone())), expected, "{attributes}");
        }
        assert_eq!(unpriced_name(&call_of("gpt-5", json!({"service_tier": "turbo"}))), "gpt-5 (turbo)");
    }

    #[test]
    fn old_calls_cost_what_they_cost_then() {
        let prices = PriceTable::shipped().unwrap();
        let mut span = call_of("o3", json!({}));
        assert_eq!(price(&prices, &span), Some(2.8));
        span.start_ns = 1_746_000_000_000_000_000;
        assert_eq!(price(&prices, &span), Some(14.0));
    }

    #[test]
    fn writes_for_an_hour_cost_more() {
        let prices = PriceTable::shipped().unwrap();
        let key = "gen_ai.usage.cache_creation.ephemeral_1h_input_tokens";
        let mut span = call_of("claude-haiku-4-5", json!({key: 400_000}));
        span.usage = Usage { input: Some(1_000_000), output: Some(0), cache_write: Some(500_000), ..Usage::default() };
        // 500k x 1 + 100k x 1.25 + 400k x 2.
        assert_eq!(price(&prices, &span), Some(0.5 + 0.125 + 0.8));
    }

    #[test]
    fn tools_cost_what_the_user_says() {
        let tools = std::collections::BTreeMap::from([("web_*".to_owned(), 0.01)]);
        let prices = PriceTable::shipped_with(&Default::default(), &tools);
        let mut span = Span::new(TraceId::from("t"), SpanId::from("s"), SpanKind::Tool, "x", 1);
        span.tool = Some(ToolUse { name: "web_search".to_owned(), call_id: None, arguments: None, result: None });
        assert_eq!(price(&prices, &span), Some(0.01));
    }
}
