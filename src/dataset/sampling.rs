//! The sampling plan: how many of which strata, as it stands in a configuration, and what that means for strata of
//! known size. Which individuals are chosen is `select`'s.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::DatasetError;

/// How a fixed number is shared among strata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allocate {
    /// By size; every stratum gets at least one while there are enough.
    #[default]
    Proportional,
    /// The same number each; what a small stratum cannot fill goes to the others.
    Equal,
}

/// A sampling design as the user writes it. Nothing given means all candidates.
///
/// `rate` chooses each candidate by itself with that probability, so sizes vary; `n` gives an exact size. `rates` and
/// `counts` name strata: by the value where there is one dimension (`error`), else in full (`status=error,tier=free`);
/// strata they do not name fall back to `rate`, or are not sampled at all when there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplePlan {
    /// Seed of the hash that chooses: the same seed on the same candidates always chooses the same.
    pub seed: u64,
    /// Dimensions whose values define the strata; none means one stratum.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stratify_by: Vec<String>,
    /// Probability in (0, 1] for each candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How many in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// How `n` is shared among strata.
    pub allocate: Allocate,
    /// Probability in [0, 1] by stratum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, f64>,
    /// How many by stratum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
}

/// What is done with one stratum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Draw {
    /// Each by itself with this probability.
    Rate(f64),
    /// Exactly so many.
    Count(u64),
}

impl SamplePlan {
    /// Whether the plan makes sense by itself.
    ///
    /// # Errors
    /// [`DatasetError::Plan`] names the key.
    pub fn check(&self) -> Result<(), DatasetError> {
        let fail = |key: &str, cause: String| Err(DatasetError::Plan { key: key.to_owned(), cause });
        if let Some(rate) = self.rate
            && !(rate > 0.0 && rate <= 1.0)
        {
            return fail("rate", format!("`{rate}` is not a probability above 0 and at most 1"));
        }
        if let Some((stratum, rate)) = self.rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(*rate)) {
            return fail(&format!("rates.{stratum}"), format!("`{rate}` is not a probability from 0 to 1"));
        }
        if self.n == Some(0) {
            return fail("n", "0 chooses nothing; give at least 1".to_owned());
        }
        if self.n.is_some() && (self.rate.is_some() || !self.rates.is_empty() || !self.counts.is_empty()) {
            return fail("n", "`n` cannot stand beside `rate`, `rates` or `counts`; keep one of them".to_owned());
        }
        if !self.counts.is_empty() && !self.rates.is_empty() {
            return fail("counts", "`counts` cannot stand beside `rates`; keep one of them".to_owned());
        }
        if self.stratify_by.is_empty() && !(self.rates.is_empty() && self.counts.is_empty()) {
            return fail("stratify_by", "`rates` and `counts` need dimensions to stratify by".to_owned());
        }
        if let Some(twice) =
            self.stratify_by.iter().enumerate().find(|(i, d)| self.stratify_by.iter().take(*i).any(|e| e == *d))
        {
            return fail("stratify_by", format!("`{}` occurs twice", twice.1));
        }
        Ok(())
    }

    /// `uniform`, or `stratified` where there are dimensions.
    pub(super) fn method(&self) -> &'static str {
        if self.stratify_by.is_empty() { "uniform" } else { "stratified" }
    }

    /// What to do with each stratum, given how many candidates each holds.
    pub(super) fn draws(&self, populations: &BTreeMap<String, u64>) -> BTreeMap<String, Draw> {
        if let Some(n) = self.n {
            let shares = match self.allocate {
                Allocate::Proportional => proportional(n, populations),
                Allocate::Equal => equal(n, populations),
            };
            return shares.into_iter().map(|(name, count)| (name, Draw::Count(count))).collect();
        }
        populations.keys().map(|name| (name.clone(), self.draw_of(name))).collect()
    }

    fn draw_of(&self, stratum: &str) -> Draw {
        if let Some(count) = self.named(&self.counts, stratum) {
            return Draw::Count(*count);
        }
        if let Some(rate) = self.named(&self.rates, stratum) {
            return Draw::Rate(*rate);
        }
        let listed = !self.rates.is_empty() || !self.counts.is_empty();
        Draw::Rate(self.rate.unwrap_or(if listed { 0.0 } else { 1.0 }))
    }

    /// The entry for a stratum, by its full name or, with one dimension, by its value alone.
    fn named<'a, T>(&self, entries: &'a BTreeMap<String, T>, stratum: &str) -> Option<&'a T> {
        let value = match self.stratify_by.as_slice() {
            [only] => stratum.strip_prefix(only.as_str()).and_then(|rest| rest.strip_prefix('=')),
            _ => None,
        };
        entries.get(stratum).or_else(|| entries.get(value?))
    }

    /// Strata that `rates` or `counts` name and that no candidate is in.
    pub(super) fn unmet(&self, populations: &BTreeMap<String, u64>) -> Vec<String> {
        let full = |name: &str| match self.stratify_by.as_slice() {
            [only] => vec![name.to_owned(), format!("{only}={name}")],
            _ => vec![name.to_owned()],
        };
        let met = |name: &&String| full(name).iter().any(|name| populations.contains_key(name));
        self.rates.keys().chain(self.counts.keys()).filter(|name| !met(name)).cloned().collect()
    }
}

/// Shares by size with largest remainders; each stratum gets one first while `n` allows it, because a stratum
/// without a single member cannot be estimated and would bias every projection.
fn proportional(n: u64, populations: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let total: u128 = populations.values().map(|size| u128::from(*size)).sum();
    let n = u128::from(n).min(total);
    let floor = u128::from(n >= populations.len() as u128);
    let mut left = n;
    let mut shares: Vec<(u128, &String, u128)> = Vec::new();
    for (name, size) in populations {
        let exact = n * u128::from(*size);
        let share = (exact / total.max(1)).max(floor.min(u128::from(*size)));
        left = left.saturating_sub(share);
        shares.push((exact % total.max(1), name, share));
    }
    // The minimum of one may have given out more than there is: the largest strata give back.
    let mut given: u128 = shares.iter().map(|(_, _, share)| share).sum();
    while given > n {
        if let Some(largest) = shares.iter_mut().max_by(|a, b| a.2.cmp(&b.2).then_with(|| b.1.cmp(a.1))) {
            largest.2 -= 1;
        }
        given -= 1;
    }
    shares.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    while left > 0 {
        let before = left;
        for (_, name, share) in &mut shares {
            let size = populations.get(*name).map_or(0, |size| u128::from(*size));
            if left > 0 && *share < size {
                *share += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    shares.into_iter().map(|(_, name, share)| (name.clone(), u64::try_from(share).unwrap_or(u64::MAX))).collect()
}

/// The same share each; small strata are taken whole and what they leave goes to the others.
fn equal(n: u64, populations: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut by_size: Vec<(&String, u64)> = populations.iter().map(|(name, size)| (name, *size)).collect();
    by_size.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(b.0)));
    let mut left = n;
    let mut open = by_size.len() as u64;
    let mut shares = BTreeMap::new();
    for (name, size) in by_size {
        let share = (left / open.max(1)).min(size);
        shares.insert(name.clone(), share);
        left -= share;
        open = open.saturating_sub(1);
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sizes(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    }

    #[test]
    fn shares_follow_size_and_keep_the_rare() {
        let shares = proportional(10, &sizes(&[("common", 990), ("rare", 10)]));
        assert_eq!((shares["common"], shares["rare"]), (9, 1));
        assert_eq!(proportional(1, &sizes(&[("a", 5), ("b", 6)])).values().sum::<u64>(), 1);
        let shares = equal(10, &sizes(&[("a", 2), ("b", 100), ("c", 100)]));
        assert_eq!((shares["a"], shares["b"], shares["c"]), (2, 4, 4));
    }

    #[test]
    fn named_strata_and_the_rest() {
        let plan: SamplePlan =
            toml::from_str("stratify_by = ['status']\nrate = 0.05\nrates = { error = 1.0 }").unwrap();
        plan.check().unwrap();
        let draws = plan.draws(&sizes(&[("status=error", 3), ("status=ok", 100)]));
        assert_eq!((draws["status=error"], draws["status=ok"]), (Draw::Rate(1.0), Draw::Rate(0.05)));
        assert_eq!(plan.unmet(&sizes(&[("status=ok", 1)])), ["error"]);
        let only: SamplePlan = toml::from_str("stratify_by = ['s']\ncounts = { x = 2 }").unwrap();
        assert_eq!(only.draw_of("s=y"), Draw::Rate(0.0));
    }

    #[test]
    fn senseless_plans_name_the_key() {
        let key = |text: &str| match toml::from_str::<SamplePlan>(text).unwrap().check().unwrap_err() {
            DatasetError::Plan { key, .. } => key,
            other => panic!("{other}"),
        };
        assert_eq!(key("rate = 0.0"), "rate");
        assert_eq!(key("rate = nan"), "rate");
        assert_eq!(key("n = 0"), "n");
        assert_eq!(key("n = 5\nrate = 0.5"), "n");
        assert_eq!(key("rates = { a = 0.5 }"), "stratify_by");
        assert_eq!(key("stratify_by = ['a']\nrates = { x = 2.0 }"), "rates.x");
        assert_eq!(key("stratify_by = ['a', 'a']"), "stratify_by");
        assert!(toml::from_str::<SamplePlan>("sede = 1").is_err());
    }

    proptest! {
        #[test]
        fn shares_add_up_and_fit(
            sizes in proptest::collection::btree_map("[a-f]{1,2}", 1_u64..500, 1..12), n in 1_u64..3_000,
        ) {
            let total: u64 = sizes.values().sum();
            for shares in [proportional(n, &sizes), equal(n, &sizes)] {
                prop_assert_eq!(shares.values().sum::<u64>(), n.min(total));
                for (name, share) in &shares {
                    prop_assert!(*share <= sizes[name]);
                    prop_assert!(*share > 0 || n < sizes.len() as u64);
                }
            }
        }
    }
}
