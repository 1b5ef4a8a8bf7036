//! What tokens cost. A model that no table names has no known price; that is not a price of zero.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::raw::RawPrice;
use crate::model::{Digest, Usage};

const SHIPPED: &str = include_str!("prices.toml");

/// The shipped table cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("shipped price table cannot be read: {0}")]
pub struct PriceError(String);

/// A price in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Tokens read.
    pub input: f64,
    /// Tokens written, reasoning included.
    pub output: f64,
    /// Tokens read from a cache.
    pub cache_read: f64,
    /// Tokens written to a cache.
    pub cache_write: f64,
}

impl Price {
    /// US dollars of a call; `None` when its tokens are not known. Cached tokens are part of the input: they are
    /// taken out of it before it is priced, never added on top.
    pub fn cost(&self, usage: &Usage) -> Option<f64> {
        let input = usage.input?;
        let output = usage.output?;
        let read = usage.cache_read.unwrap_or(0).min(input);
        let written = usage.cache_write.unwrap_or(0).min(input - read);
        let plain = input - read - written;
        let sum = plain as f64 * self.input
            + read as f64 * self.cache_read
            + written as f64 * self.cache_write
            + output as f64 * self.output;
        Some(sum / 1e6)
    }
}

#[derive(Deserialize)]
struct Shipped {
    prices: BTreeMap<String, RawPrice>,
}

/// Prices by model name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceTable {
    prices: BTreeMap<String, Price>,
}

impl PriceTable {
    /// The shipped table.
    pub fn shipped() -> Result<Self, PriceError> {
        let shipped: Shipped = toml::from_str(SHIPPED).map_err(|error| PriceError(error.to_string()))?;
        Ok(Self::of(&shipped.prices))
    }

    /// The shipped table with the user's prices on top.
    pub fn shipped_with(own: &BTreeMap<String, RawPrice>) -> Self {
        // The shipped table is read in a test of this file; unreadable here would mean no prices, not wrong ones.
        let mut table = Self::shipped().unwrap_or_default();
        table.prices.extend(Self::of(own).prices);
        table
    }

    fn of(raw: &BTreeMap<String, RawPrice>) -> Self {
        let price = |raw: &RawPrice| Price {
            input: raw.input,
            output: raw.output,
            cache_read: raw.cache_read.unwrap_or(raw.input),
            cache_write: raw.cache_write.unwrap_or(raw.input),
        };
        Self { prices: raw.iter().map(|(name, raw)| (name.clone(), price(raw))).collect() }
    }

    /// The price of a model: its own name, or the name without a dated snapshot (`-2025-08-07`, `-20250807`) or a
    /// vendor prefix (`openai/`).
    pub fn find(&self, model: &str) -> Option<Price> {
        let bare = model.rsplit('/').next().unwrap_or(model);
        [model, bare, undated(bare)].iter().find_map(|name| self.prices.get(*name).copied())
    }

    /// US dollars of a call; `None` when the model or its tokens are unknown.
    pub fn cost(&self, model: &str, usage: &Usage) -> Option<f64> {
        self.find(model)?.cost(usage)
    }

    /// Digest of the table, so that runs reckoned with different prices are told apart.
    pub fn digest(&self) -> Digest {
        let text: String = self
            .prices
            .iter()
            .map(|(name, p)| format!("{name}:{}:{}:{}:{}\n", p.input, p.output, p.cache_read, p.cache_write))
            .collect();
        Digest::of(text.as_bytes())
    }
}

fn undated(model: &str) -> &str {
    let tail_is_date = |tail: &str| {
        let digits = tail.bytes().filter(u8::is_ascii_digit).count();
        digits == 8 && tail.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    [11, 9]
        .iter()
        .filter_map(|length| model.len().checked_sub(*length).and_then(|cut| model.split_at_checked(cut)))
        .find(|(_, tail)| tail.strip_prefix('-').is_some_and(tail_is_date))
        .map_or(model, |(head, _)| head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_are_not_paid_twice() {
        let price = Price { input: 2.0, output: 8.0, cache_read: 0.5, cache_write: 2.5 };
        let usage = Usage {
            input: Some(1_000_000),
            output: Some(500_000),
            cache_read: Some(400_000),
            cache_write: Some(100_000),
            reasoning: Some(100_000),
        };
        // 500k plain x 2 + 400k x 0.5 + 100k x 2.5 + 500k x 8, per million.
        assert_eq!(price.cost(&usage), Some(1.0 + 0.2 + 0.25 + 4.0));
        assert_eq!(price.cost(&Usage { input: Some(1), ..Usage::default() }), None);
    }

    #[test]
    fn snapshots_and_prefixes_find_their_model_and_others_have_no_price() {
        let table = PriceTable::shipped().unwrap();
        assert!(!table.prices.is_empty());
        let known = table.prices.keys().next().unwrap();
        let price = table.find(known);
        assert_eq!(table.find(&format!("{known}-2025-08-07")), price);
        assert_eq!(table.find(&format!("{known}-20250807")), price);
        assert_eq!(table.find(&format!("openai/{known}")), price);
        assert_eq!(table.find("no-such-model"), None);
        assert_eq!(table.find("é-2025"), None);
    }
}
