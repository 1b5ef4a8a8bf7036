//! Tokens and money, in the subset semantics of [`Usage`].

use serde_json::{Map, Value};

use crate::model::Usage;

use super::super::json::structured;
use super::bag::{Bag, as_amount, as_count};
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
    of_objects(bag, &mut usage);
    let cached = usage.cache_read.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
    if let Some(input) = usage.input {
        let anthropic = provider.is_some_and(|provider| provider.to_lowercase().contains("anthropic"));
        if cached > input {
            usage.input = Some(input.saturating_add(cached));
        } else if cached > 0 && underscored && anthropic {
            bag.insert(AMBIGUOUS, Value::Bool(true));
        }
    }
    let total = usage.total();
    for key in keys::TOTAL_TOKENS {
        if total.is_some() && bag.get(key).and_then(as_count) == total {
            bag.remove(key);
        }
    }
    usage
}

/// Fills gaps from JSON that holds several counts in one attribute.
fn of_objects(bag: &Bag, usage: &mut Usage) {
    let objects = |keys: &'static [&str]| {
        keys.iter().filter_map(|key| match structured(bag.get(key)?.clone()) {
            Value::Object(map) => Some(map),
            _ => None,
        })
    };
    let buckets = objects(keys::USAGE_BUCKETS).map(|map| of_buckets(&map));
    let stated = objects(keys::USAGE_OBJECTS).map(|map| of_object(&map));
    let details = objects(keys::USAGE_DETAILS).map(|map| details(&map));
    for found in buckets.chain(stated) {
        if usage.is_unknown() {
            *usage = found;
        }
    }
    for found in details {
        usage.cache_read = usage.cache_read.or(found.cache_read);
        usage.cache_write = usage.cache_write.or(found.cache_write);
        usage.reasoning = usage.reasoning.or(found.reasoning);
    }
}

/// LangChain's `usage_metadata` and MLflow's `tokenUsage`: parts are subsets of what they are part of.
fn of_object(map: &Map<String, Value>) -> Usage {
    let below = |key: &str| map.get(key).and_then(Value::as_object).map(details).unwrap_or_default();
    let (read, written, beside) = (below("input_token_details"), below("output_token_details"), details(map));
    Usage {
        input: map.get("input_tokens").and_then(as_count),
        output: map.get("output_tokens").and_then(as_count),
        cache_read: read.cache_read.or(beside.cache_read),
        cache_write: read.cache_write.or(beside.cache_write),
        reasoning: written.reasoning.or(beside.reasoning),
    }
}

fn details(map: &Map<String, Value>) -> Usage {
    let count = |keys: &[&str]| keys.iter().find_map(|key| map.get(*key).and_then(as_count));
    Usage {
        cache_read: count(&["cache_read", "cache_read_input_tokens"]),
        cache_write: count(&["cache_creation", "cache_creation_input_tokens"]),
        reasoning: count(&["reasoning"]),
        ..Usage::default()
    }
}

/// Adds Langfuse's buckets up.
///
/// They are meant to be disjoint: `input` and `input_cached_tokens` side by side. Recorders that pass on a provider's
/// own counts write subsets instead (`prompt_details.*` always are). The stated total tells which: where it is no
/// more than the two plain buckets, the others are part of them.
pub(crate) fn of_buckets(map: &Map<String, Value>) -> Usage {
    let mut sides = [Side::default(), Side::default()];
    let mut usage = Usage::default();
    for (key, value) in map {
        let (Some(count), key) = (as_count(value), key.to_lowercase()) else { continue };
        let Some(bucket) = bucket(&key) else { continue };
        if let Some(side) = sides.get_mut(usize::from(bucket.output)) {
            let sum = if bucket.plain { &mut side.plain } else { &mut side.other };
            if !bucket.subset {
                *sum = Some(sum.unwrap_or(0).saturating_add(count));
            }
        }
        let part = match bucket.part {
            Some(Part::CacheRead) => &mut usage.cache_read,
            Some(Part::CacheWrite) => &mut usage.cache_write,
            Some(Part::Reasoning) => &mut usage.reasoning,
            None => continue,
        };
        *part = Some(part.unwrap_or(0).saturating_add(count));
    }
    let [input, output] = sides;
    let total = map.get("total").or_else(|| map.get("total_tokens")).and_then(as_count);
    let plain = input.plain.unwrap_or(0).saturating_add(output.plain.unwrap_or(0));
    let subsets = input.plain.is_some() && output.plain.is_some() && total == Some(plain);
    usage.input = input.sum(subsets);
    usage.output = output.sum(subsets);
    usage
}

/// One side of the buckets: the plain one and all others.
#[derive(Default)]
struct Side {
    plain: Option<u64>,
    other: Option<u64>,
}

impl Side {
    fn sum(&self, subsets: bool) -> Option<u64> {
        match (self.plain, self.other) {
            (Some(plain), Some(other)) if !subsets => Some(plain.saturating_add(other)),
            (Some(plain), _) => Some(plain),
            (None, other) => other,
        }
    }
}

enum Part {
    CacheRead,
    CacheWrite,
    Reasoning,
}

struct Bucket {
    output: bool,
    plain: bool,
    subset: bool,
    part: Option<Part>,
}

/// What the name of a bucket says; `None` for totals and for what is no count of tokens.
fn bucket(key: &str) -> Option<Bucket> {
    let part = if key.contains("reasoning") || key.contains("thought") {
        Some(Part::Reasoning)
    } else if !key.contains("cache") {
        None
    } else if key.contains("creation") || key.contains("write") {
        Some(Part::CacheWrite)
    } else {
        Some(Part::CacheRead)
    };
    let read = key.starts_with("input")
        || key.starts_with("prompt")
        || matches!(part, Some(Part::CacheRead | Part::CacheWrite));
    let written = key.starts_with("output") || key.starts_with("completion") || matches!(part, Some(Part::Reasoning));
    if !read && !written || key.contains("cost") || key.contains("price") {
        return None;
    }
    let plain = [
        "input",
        "output",
        "input_tokens",
        "output_tokens",
        "prompt_tokens",
        "completion_tokens",
        "prompttokens",
        "completiontokens",
    ];
    Some(Bucket { output: !read, plain: plain.contains(&key), subset: key.contains("_details."), part })
}

/// Takes a stated cost out: a total, else two halves, else what JSON in an attribute says.
pub(super) fn cost(bag: &mut Bag) -> Option<f64> {
    if let Some(total) = bag.amount(keys::COST) {
        return Some(total);
    }
    for (input, output) in keys::COST_HALVES {
        let half = |key: &str| bag.get(key).and_then(as_amount);
        if let (Some(input_cost), Some(output_cost)) = (half(input), half(output)) {
            bag.remove(input);
            bag.remove(output);
            return Some(input_cost + output_cost);
        }
    }
    let object = |key: &str| bag.get(key).map(|value| structured(value.clone()));
    keys::COST_OBJECTS.iter().find_map(|(key, total)| object(key)?.get(*total).and_then(as_amount))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(attributes: Value, provider: &str) -> (Usage, Bag) {
        let mut bag = Bag::new(serde_json::from_value(attributes).unwrap());
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
            let left = bag.into_left();
            assert!(left.is_empty(), "{left:?}");
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
        assert!(bag.into_left().is_empty());
        let (usage, bag) = read(anthropic(500), "anthropic");
        assert_eq!(usage.input, Some(500));
        assert!(bag.has(AMBIGUOUS));
    }

    #[test]
    fn buckets_are_added_unless_their_total_says_otherwise() {
        let read = |buckets: Value| of_buckets(buckets.as_object().unwrap());
        let expected =
            Usage { input: Some(120), output: Some(30), cache_read: Some(100), cache_write: None, reasoning: Some(10) };
        let disjoint = json!({"input": 20, "input_cached_tokens": 100, "output": 20, "output_reasoning_tokens": 10});
        assert_eq!(read(disjoint.clone()), expected);
        let mut stated = disjoint;
        stated["total"] = json!(150);
        assert_eq!(read(stated), expected);
        let subsets = json!({"input": 120, "input_cached_tokens": 100, "output": 30, "output_reasoning_tokens": 10, "total": 150});
        assert_eq!(read(subsets), expected);
        let passed_on = json!({"input": 120, "prompt_details.cache_read": 100, "output": 30,
            "completion_details.reasoning": 10});
        assert_eq!(read(passed_on), expected);
        let anthropic =
            json!({"input": 5, "output": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20});
        let usage = read(anthropic);
        assert_eq!((usage.input, usage.output), (Some(125), Some(7)));
        assert_eq!((usage.cache_read, usage.cache_write), (Some(100), Some(20)));
        assert!(read(json!({"total": 9, "seconds": 3, "input": "x"})).is_unknown());
    }

    #[test]
    fn counts_in_json_fill_gaps_only() {
        let metadata = json!({"input_tokens": 120, "output_tokens": 30, "total_tokens": 150,
            "input_token_details": {"cache_read": 100}, "output_token_details": {"reasoning": 10}});
        let expected =
            Usage { input: Some(120), output: Some(30), cache_read: Some(100), cache_write: None, reasoning: Some(10) };
        assert_eq!(read(json!({"langsmith.usage_metadata": metadata.to_string()}), "").0, expected);
        let beside = json!({"gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 30,
            "gen_ai.usage.input_token_details": "{\"cache_read\":100}",
            "gen_ai.usage.output_token_details": "{\"reasoning\":10}"});
        assert_eq!(read(beside, "").0, expected);
        let mlflow = json!({"mlflow.chat.tokenUsage": "{\"input_tokens\":120,\"output_tokens\":30,\"cache_read_input_tokens\":100}"});
        assert_eq!(read(mlflow, "").0.cache_read, Some(100));
        let stated = json!({"gen_ai.usage.input_tokens": 1, "langsmith.usage_metadata": metadata});
        assert_eq!(read(stated, "").0.input, Some(1));
    }

    #[test]
    fn a_total_that_is_not_the_sum_stays() {
        let (_, bag) = read(json!({"gen_ai.usage.input_tokens": 1, "llm.usage.total_tokens": 9}), "");
        assert!(bag.has("llm.usage.total_tokens"));
    }

    #[test]
    fn costs_are_totals_or_whole_sums() {
        let cost = |attributes: Value| cost(&mut Bag::new(serde_json::from_value(attributes).unwrap()));
        assert_eq!(cost(json!({"llm.cost.total": 0.5, "llm.cost.prompt": 9})), Some(0.5));
        assert_eq!(cost(json!({"gen_ai.usage.input_cost": 0.25, "gen_ai.usage.output_cost": 0.5})), Some(0.75));
        assert_eq!(cost(json!({"gen_ai.usage.input_cost": 0.25})), None);
        assert_eq!(cost(json!({"langfuse.observation.cost_details": "{\"total\": 0.1}"})), Some(0.1));
        assert_eq!(cost(json!({"llm.cost.total": -1})), None);
    }
}
