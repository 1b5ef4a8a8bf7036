//! Tokens and money, in the subset semantics of [`Usage`].

use serde_json::Value;

use crate::model::Usage;

use super::super::json::structured;
use super::bag::{Bag, as_amount};
use super::keys;

/// The attribute that says the token counts can be read in two ways.
const AMBIGUOUS: &str = "assize.usage_ambiguous";

/// Takes tokens out.
///
/// OpenTelemetry, OpenInference and Vercel count cached tokens as part of the input. Anthropic's own counts exclude
/// them, and older instrumentations pass those through under underscored keys: certain when the cached tokens exceed
/// the input, which subsets cannot; otherwise the numbers stay as stated and the span is marked.
pub(super) fn usage(bag: &mut Bag, provider: Option<&str>) -> Usage {
    let underscored =
        bag.has("gen_ai.usage.cache_read_input_tokens") || bag.has("gen_ai.usage.cache_creation_input_tokens");
    let mut usage = Usage {
        input: bag.count(keys::INPUT_TOKENS),
        output: bag.count(keys::OUTPUT_TOKENS),
        cache_read: bag.count(keys::CACHE_READ),
        cache_write: bag.count(keys::CACHE_WRITE),
        reasoning: bag.count(keys::REASONING),
    };
    let cached = usage.cache_read.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
    if let Some(input) = usage.input {
        let anthropic = provider.is_some_and(|provider| provider.to_lowercase().contains("anthropic"));
        if cached > input {
            usage.input = Some(input.saturating_add(cached));
        } else if cached > 0 && underscored && anthropic {
            bag.left.insert(AMBIGUOUS.to_owned(), Value::Bool(true));
        }
    }
    let total = usage.total();
    for key in keys::TOTAL_TOKENS {
        if total.is_some() && bag.left.get(*key).and_then(super::bag::as_count) == total {
            bag.left.remove(*key);
        }
    }
    usage
}

/// Takes a stated cost out: a total, else two halves, else Langfuse's details.
pub(super) fn cost(bag: &mut Bag) -> Option<f64> {
    if let Some(total) = bag.amount(keys::COST) {
        return Some(total);
    }
    for (input, output) in keys::COST_HALVES {
        let half = |key: &str| bag.left.get(key).and_then(as_amount);
        if let (Some(input_cost), Some(output_cost)) = (half(input), half(output)) {
            bag.left.remove(*input);
            bag.left.remove(*output);
            return Some(input_cost + output_cost);
        }
    }
    let details = structured(bag.left.get("langfuse.observation.cost_details")?.clone());
    details.get("total").and_then(as_amount)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(attributes: Value, provider: &str) -> (Usage, Bag) {
        let mut bag = Bag { left: serde_json::from_value(attributes).unwrap() };
        (usage(&mut bag, Some(provider)), bag)
    }

    #[test]
    fn counts_of_each_vocabulary_agree() {
        let expected =
            Usage { input: Some(120), output: Some(30), cache_read: Some(100), cache_write: None, reasoning: Some(10) };
        for attributes in [
            json!({"gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 30, "gen_ai.usage.total_tokens": 150,
                "gen_ai.usage.cache_read.input_tokens": 100, "gen_ai.usage.reasoning.output_tokens": 10}),
            json!({"llm.token_count.prompt": 120, "llm.token_count.completion": 30, "llm.token_count.total": 150,
                "llm.token_count.prompt_details.cache_read": 100, "llm.token_count.completion_details.reasoning": 10}),
            json!({"gen_ai.usage.prompt_tokens": 120, "gen_ai.usage.completion_tokens": "30",
                "gen_ai.usage.cache_read_input_tokens": 100, "gen_ai.usage.reasoning_tokens": 10}),
            json!({"ai.usage.inputTokens": 120, "ai.usage.outputTokens": 30, "ai.usage.cachedInputTokens": 100,
                "ai.usage.reasoningTokens": 10, "ai.usage.totalTokens": 150}),
        ] {
            let (usage, bag) = read(attributes, "openai");
            assert_eq!(usage, expected);
            assert!(bag.left.is_empty(), "{:?}", bag.left);
        }
    }

    #[test]
    fn counts_that_exclude_the_cache_are_completed_or_marked() {
        let anthropic = |input: u64| {
            json!({"gen_ai.usage.input_tokens": input, "gen_ai.usage.output_tokens": 5,
                "gen_ai.usage.cache_read_input_tokens": 100, "gen_ai.usage.cache_creation_input_tokens": 20})
        };
        let (usage, bag) = read(anthropic(30), "anthropic");
        assert_eq!((usage.input, usage.cache_write), (Some(150), Some(20)));
        assert!(bag.left.is_empty());
        let (usage, bag) = read(anthropic(500), "anthropic");
        assert_eq!(usage.input, Some(500));
        assert!(bag.has(AMBIGUOUS));
    }

    #[test]
    fn a_total_that_is_not_the_sum_stays() {
        let (_, bag) = read(json!({"gen_ai.usage.input_tokens": 1, "llm.usage.total_tokens": 9}), "");
        assert!(bag.has("llm.usage.total_tokens"));
    }

    #[test]
    fn costs_are_totals_or_whole_sums() {
        let cost = |attributes: Value| cost(&mut Bag { left: serde_json::from_value(attributes).unwrap() });
        assert_eq!(cost(json!({"llm.cost.total": 0.5, "llm.cost.prompt": 9})), Some(0.5));
        assert_eq!(cost(json!({"gen_ai.usage.input_cost": 0.25, "gen_ai.usage.output_cost": 0.5})), Some(0.75));
        assert_eq!(cost(json!({"gen_ai.usage.input_cost": 0.25})), None);
        assert_eq!(cost(json!({"langfuse.observation.cost_details": "{\"total\": 0.1}"})), Some(0.1));
        assert_eq!(cost(json!({"llm.cost.total": -1})), None);
    }
}
