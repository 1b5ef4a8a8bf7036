//! What calls cost. A model that no table names has no known price; that is not a price of zero.
//!
//! A call is priced by its day, its service tier and its length. What is not known of it is taken as usual: now, the
//! standard tier. A tier without a factor makes the price unknown rather than wrong.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;

use super::model_names::{candidates, fits};
use super::raw::{RawAbove, RawEarlier, RawPrice};
use crate::model::{Digest, Usage};

const SHIPPED: &str = include_str!("prices.toml");

/// The shipped table cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("shipped price table cannot be read: {0}")]
pub struct PriceError(String);

/// What is known of a call beside its tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// When it was made; now when not known.
    pub at: Option<Timestamp>,
    /// Service tier other than the standard one: `batch`, `flex`, `priority`.
    pub tier: Option<String>,
    /// The part of the tokens written to a cache that keeps them for an hour.
    pub cache_write_1h: Option<u64>,
}

/// A price in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Tokens read.
    pub input: f64,
    /// Tokens written, reasoning included unless that has a price of its own.
    pub output: f64,
    /// Tokens read from a cache.
    pub cache_read: f64,
    /// Tokens written to a cache.
    pub cache_write: f64,
    /// Tokens written to a cache that keeps them for an hour.
    pub cache_write_1h: f64,
    /// Tokens spent on reasoning.
    pub reasoning: f64,
}

impl Price {
    fn new(input: f64, output: f64, cache_read: Option<f64>, cache_write: Option<f64>) -> Self {
        let cache_write = cache_write.unwrap_or(input);
        let cache_read = cache_read.unwrap_or(input);
        Self { input, output, cache_read, cache_write, cache_write_1h: cache_write, reasoning: output }
    }

    /// US dollars of a call; `None` when its tokens are not known. Cached tokens are part of the input and reasoning
    /// is part of the output: they are taken out before the rest is priced, never added on top.
    pub fn cost(&self, usage: &Usage) -> Option<f64> {
        self.cost_with(usage, 0)
    }

    fn cost_with(&self, usage: &Usage, written_1h: u64) -> Option<f64> {
        let input = usage.input?;
        let output = usage.output?;
        let read = usage.cache_read.unwrap_or(0).min(input);
        let written = usage.cache_write.unwrap_or(0).min(input - read);
        let hour = written_1h.min(written);
        let plain = input - read - written;
        let reasoning = usage.reasoning.unwrap_or(0).min(output);
        let sum = plain as f64 * self.input
            + read as f64 * self.cache_read
            + (written - hour) as f64 * self.cache_write
            + hour as f64 * self.cache_write_1h
            + (output - reasoning) as f64 * self.output
            + reasoning as f64 * self.reasoning;
        Some(sum / 1e6)
    }
}

/// The price of a model over time, tiers and lengths.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    now: Price,
    above: Option<(u64, Price)>,
    tiers: BTreeMap<String, f64>,
    /// Prices with the first day they no longer held, the oldest first.
    earlier: Vec<(Date, Price)>,
}

impl Entry {
    fn of(raw: &RawPrice) -> Self {
        let mut now = Price::new(raw.input, raw.output, raw.cache_read, raw.cache_write);
        now.cache_write_1h = raw.cache_write_1h.unwrap_or(now.cache_write);
        now.reasoning = raw.reasoning.unwrap_or(now.output);
        let above = |above: &RawAbove| {
            (above.tokens, Price::new(above.input, above.output, above.cache_read, above.cache_write))
        };
        let earlier = |earlier: &RawEarlier| {
            let price = Price::new(earlier.input, earlier.output, earlier.cache_read, earlier.cache_write);
            Some((earlier.until.parse().ok()?, price))
        };
        Self {
            now,
            above: raw.above.as_ref().map(above),
            tiers: raw.tiers.clone(),
            earlier: raw.earlier.iter().filter_map(earlier).collect(),
        }
    }

    fn cost(&self, usage: &Usage, call: &Call) -> Option<f64> {
        let day = call.at.map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date());
        let before = day.and_then(|day| self.earlier.iter().find(|(until, _)| day < *until));
        let long = self.above.as_ref().filter(|(tokens, _)| usage.input.is_some_and(|input| input > *tokens));
        // Prices of long calls are those of today: what they were before is not kept.
        let price = match (before, long) {
            (Some((_, price)), _) | (None, Some((_, price))) => price,
            (None, None) => &self.now,
        };
        let factor = match &call.tier {
            Some(tier) => *self.tiers.get(tier)?,
            None => 1.0,
        };
        price.cost_with(usage, call.cache_write_1h.unwrap_or(0)).map(|cost| cost * factor)
    }
}

#[derive(Deserialize)]
struct Shipped {
    as_of: Date,
    prices: BTreeMap<String, RawPrice>,
}

/// Prices by model name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceTable {
    shipped: BTreeMap<String, Entry>,
    own: BTreeMap<String, Entry>,
    tools: BTreeMap<String, f64>,
    as_of: Option<Date>,
}

impl PriceTable {
    /// The shipped table.
    pub fn shipped() -> Result<Self, PriceError> {
        let shipped: Shipped = toml::from_str(SHIPPED).map_err(|error| PriceError(error.to_string()))?;
        Ok(Self { shipped: entries(&shipped.prices), as_of: Some(shipped.as_of), ..Self::default() })
    }

    /// The shipped table with the user's prices on top.
    pub fn shipped_with(own: &BTreeMap<String, RawPrice>, tools: &BTreeMap<String, f64>) -> Self {
        // The shipped table is read in a test of this file; unreadable here would mean no prices, not wrong ones.
        let table = Self::shipped().unwrap_or_default();
        Self { own: entries(own), tools: tools.clone(), ..table }
    }

    /// The day up to which the shipped prices are known; `None` without them.
    pub fn as_of(&self) -> Option<Date> {
        self.as_of
    }

    /// How many prices of models and tools the user gave.
    pub fn own(&self) -> usize {
        self.own.len() + self.tools.len()
    }

    /// The price of a model today: under its own name, or the name without a dated snapshot (`-2025-08-07`,
    /// `-20250807`), a vendor's prefix (`openai/`) or the form of a cloud platform. The user's prices come first.
    pub fn find(&self, model: &str) -> Option<Price> {
        self.entry(model).map(|entry| entry.now)
    }

    /// US dollars of a call made now; `None` when the model or its tokens are unknown.
    pub fn cost(&self, model: &str, usage: &Usage) -> Option<f64> {
        self.cost_of(model, usage, &Call::default())
    }

    /// US dollars of a call; `None` when the model, its tokens, or the price of its service tier are unknown.
    pub fn cost_of(&self, model: &str, usage: &Usage, call: &Call) -> Option<f64> {
        self.entry(model)?.cost(usage, call)
    }

    /// US dollars of one call of a tool; `None` where the user gave no price.
    pub fn tool(&self, name: &str) -> Option<f64> {
        self.tools.get(name).or_else(|| pattern(&self.tools, name)).copied()
    }

    fn entry(&self, model: &str) -> Option<&Entry> {
        let names = candidates(model);
        let own = || names.iter().find_map(|name| self.own.get(name));
        let fitting = || names.iter().find_map(|name| pattern(&self.own, name));
        let shipped = || names.iter().find_map(|name| self.shipped.get(name));
        own().or_else(fitting).or_else(shipped)
    }

    /// Digest of the table, so that runs reckoned with different prices are told apart.
    pub fn digest(&self) -> Digest {
        let lines = |entries: &BTreeMap<String, Entry>| -> String {
            entries.iter().map(|(name, entry)| format!("{name}:{entry:?}\n")).collect()
        };
        Digest::of(format!("{}{}{:?}", lines(&self.shipped), lines(&self.own), self.tools).as_bytes())
    }
}

fn entries(raw: &BTreeMap<String, RawPrice>) -> BTreeMap<String, Entry> {
    raw.iter().map(|(name, raw)| (name.clone(), Entry::of(raw))).collect()
}

/// What the longest fitting pattern stands for.
fn pattern<'a, T>(table: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    let fitting = table.iter().filter(|(pattern, _)| pattern.contains('*') && fits(pattern, name));
    fitting.max_by_key(|(pattern, _)| pattern.len()).map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64, output: u64) -> Usage {
        Usage { input: Some(input), output: Some(output), ..Usage::default() }
    }

    fn table(text: &str) -> PriceTable {
        let raw: super::super::Raw = toml::from_str(text).unwrap();
        PriceTable::shipped_with(&raw.prices, &raw.tool_prices)
    }

    fn on(day: &str) -> Call {
        Call { at: Some(format!("{day}T12:00:00Z").parse().unwrap()), ..Call::default() }
    }

    #[test]
    fn cached_and_reasoning_tokens_are_not_paid_twice() {
        let price =
            Price { input: 2.0, output: 8.0, cache_read: 0.5, cache_write: 2.5, cache_write_1h: 4.0, reasoning: 6.0 };
        let usage = Usage {
            input: Some(1_000_000),
            output: Some(500_000),
            cache_read: Some(400_000),
            cache_write: Some(100_000),
            reasoning: Some(100_000),
        };
        // 500k plain x 2 + 400k x 0.5 + 100k x 2.5 + 400k x 8 + 100k x 6, per million.
        assert_eq!(price.cost(&usage), Some(1.0 + 0.2 + 0.25 + 3.2 + 0.6));
        // 40k of those written for an hour: 60k x 2.5 + 40k x 4.
        assert_eq!(price.cost_with(&usage, 40_000), Some(1.0 + 0.2 + 0.15 + 0.16 + 3.2 + 0.6));
        assert_eq!(price.cost(&Usage { input: Some(1), ..Usage::default() }), None);
    }

    #[test]
    fn a_call_is_priced_by_its_day() {
        let table = table(
            "[prices.m]\ninput = 2.0\noutput = 8.0\nearlier = [{ until = \"2024-01-01\", input = 20.0, output = 40.0 }, \
             { until = \"2025-06-10\", input = 10.0, output = 40.0 }]",
        );
        let cost = |call: &Call| table.cost_of("m", &usage(1_000_000, 100_000), call);
        assert_eq!(cost(&on("2023-12-31")), Some(24.0));
        assert_eq!(cost(&on("2024-01-01")), Some(14.0));
        assert_eq!(cost(&on("2025-06-09")), Some(14.0));
        assert_eq!(cost(&on("2025-06-10")), Some(2.8));
        assert_eq!(cost(&Call::default()), Some(2.8));
    }

    #[test]
    fn long_calls_and_tiers_have_their_own_price() {
        let table = table(
            "[prices.m]\ninput = 1.0\noutput = 10.0\nabove = { tokens = 200000, input = 2.0, output = 15.0 }\n\
             tiers = { batch = 0.5 }",
        );
        assert_eq!(table.cost("m", &usage(200_000, 1_000)), Some(0.21));
        assert_eq!(table.cost("m", &usage(200_001, 1_000)), Some(0.415_002));
        let tier = |name: &str| Call { tier: Some(name.to_owned()), ..Call::default() };
        assert_eq!(table.cost_of("m", &usage(200_000, 1_000), &tier("batch")), Some(0.105));
        assert_eq!(table.cost_of("m", &usage(200_000, 1_000), &tier("priority")), None);
    }

    #[test]
    fn own_prices_win_and_patterns_fit_families() {
        let table = table(
            "[prices.gpt-4o]\ninput = 1.0\noutput = 1.0\n[prices.\"gpt-4o*\"]\ninput = 2.0\noutput = 2.0\n\
             [prices.\"in-house-*\"]\ninput = 3.0\noutput = 3.0\n[tool_prices]\nweb_search = 0.01\n\"mcp.*\" = 0.5",
        );
        let input = |model: &str| table.find(model).map(|price| price.input);
        assert_eq!(input("openai/gpt-4o-2024-11-20"), Some(1.0));
        assert_eq!(input("gpt-4o-mini"), Some(2.0));
        assert_eq!(input("in-house-7b"), Some(3.0));
        assert_eq!((table.tool("web_search"), table.tool("mcp.x"), table.tool("y")), (Some(0.01), Some(0.5), None));
    }

    #[test]
    fn snapshots_and_prefixes_find_their_model_and_others_have_no_price() {
        let table = PriceTable::shipped().unwrap();
        assert!(!table.shipped.is_empty());
        let price = table.find("gpt-5");
        assert!(price.is_some());
        for name in ["gpt-5-2025-08-07", "openai/gpt-5", "azure/gpt-5"] {
            assert_eq!(table.find(name), price, "{name}");
        }
        // The first snapshot was dearer than the name is now.
        assert_eq!(table.find("gpt-4o-2024-05-13").map(|price| price.input), Some(5.0));
        for name in ["no-such-model", "é-2025", "gpt-5-something-else", "", "deepseek-r1:free"] {
            assert_eq!(table.find(name), None, "{name}");
        }
    }

    #[test]
    fn shipped_prices_are_sane() {
        let table = PriceTable::shipped().unwrap();
        for (name, entry) in &table.shipped {
            let prices = entry.earlier.iter().map(|(_, price)| price).chain([&entry.now]);
            for price in prices.chain(entry.above.iter().map(|(_, price)| price)) {
                assert!(price.input > 0.0 && price.input <= 200.0 && price.output <= 700.0, "{name}");
                assert!(name.contains("embedding") || price.output >= price.input, "{name}");
                assert!(price.cache_read <= price.input && price.cache_write >= price.input, "{name}");
                assert!(price.cache_write_1h >= price.cache_write, "{name}");
            }
            assert!(entry.tiers.values().all(|factor| (0.1..=3.0).contains(factor)), "{name}");
            assert!(entry.above.is_none_or(|(_, above)| above.input >= entry.now.input), "{name}");
        }
    }
}
