//! The sampling plan: how many of which, as it stands in a configuration, and what that means for strata of known
//! size. Which individuals are chosen is `select`'s.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::allocate::{equal, neyman, proportional};
use super::boost::{Boost, Combine, MOST_RULES, When};
use super::error::DatasetError;
use super::near::NearRule;

/// How a fixed number is shared among strata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allocate {
    /// By size; every stratum gets at least one while there are enough.
    #[default]
    Proportional,
    /// The same number each; what a small stratum cannot fill goes to the others.
    Equal,
    /// By size times the standard deviation of `neyman_by` within the stratum: the least variance for the number.
    Neyman,
}

/// Chances by a risk score.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Risk {
    /// Numeric dimensions and what each counts. Values are divided by their mean over the candidates first, so that
    /// dollars and milliseconds can be added; unknown and negative values count 0.
    pub by: BTreeMap<String, f64>,
    /// Least probability of anyone, in [0, 1); a tenth of the mean probability when absent, so that no weight is more
    /// than ten times the mean. 0 leaves candidates without a score out for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
}

/// What a choice for diversity looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Diverse {
    /// The words of the input; needs no model.
    Inputs,
    /// Embeddings of the input, asked of a model.
    Embeddings,
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
    /// Probability in (0, 1] for each candidate; for each cluster with `cluster_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How many in all: on average with `risk`, clusters with `cluster_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// How `n` is shared among strata.
    pub allocate: Allocate,
    /// Numeric dimension whose spread within strata `allocate = "neyman"` goes by: a cost, a latency, an earlier score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neyman_by: Option<String>,
    /// Probability in [0, 1] by stratum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, f64>,
    /// How many by stratum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// Rules that raise probabilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boost: Vec<Boost>,
    /// How the rates of several rules meet.
    pub combine: Combine,
    /// Chances by a score, scaled so that `n` are chosen on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// Dimension whose values are drawn as wholes (`session`, `user`): all examples of a chosen one are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_by: Option<String>,
    /// Most examples of a chosen cluster, drawn at random in a second stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_cluster: Option<u64>,
    /// Merging of near-duplicates before the choice; off when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near_duplicates: Option<NearRule>,
    /// Choice of `n` that differ most. No probability sample: weights do not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diverse: Option<Diverse>,
}

/// What is done with one stratum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Draw {
    /// Each by itself with this probability.
    Rate(f64),
    /// Exactly so many.
    Count(u64),
    /// Each by itself by its score, so many on average.
    Scored(u64),
}

impl SamplePlan {
    /// Whether the plan makes sense by itself.
    ///
    /// # Errors
    /// [`DatasetError::Plan`] names the key.
    pub fn check(&self) -> Result<(), DatasetError> {
        self.check_numbers()?;
        self.check_strata()?;
        self.check_boost()?;
        self.check_units()
    }

    fn check_numbers(&self) -> Result<(), DatasetError> {
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
        if let Some(rule) = &self.near_duplicates
            && !(rule.threshold > 0.0 && rule.threshold <= 1.0)
        {
            let cause = format!("`{}` is not a similarity above 0 and at most 1", rule.threshold);
            return fail("near_duplicates.threshold", cause);
        }
        Ok(())
    }

    fn check_strata(&self) -> Result<(), DatasetError> {
        if self.stratify_by.is_empty() && !(self.rates.is_empty() && self.counts.is_empty()) {
            return fail("stratify_by", "`rates` and `counts` need dimensions to stratify by".to_owned());
        }
        if let Some(twice) =
            self.stratify_by.iter().enumerate().find(|(i, d)| self.stratify_by.iter().take(*i).any(|e| e == *d))
        {
            return fail("stratify_by", format!("`{}` occurs twice", twice.1));
        }
        if self.allocate == Allocate::Equal && (self.n.is_none() || self.stratify_by.is_empty()) {
            let cause = "`equal` shares a number among strata; give `n` and `stratify_by` (`--count`, `--stratify`)";
            return fail("allocate", cause.to_owned());
        }
        let is_neyman = self.allocate == Allocate::Neyman;
        if is_neyman && (self.n.is_none() || self.stratify_by.is_empty()) {
            let cause = "`neyman` shares a number among strata; give `n` and `stratify_by` (`--count`, `--stratify`)";
            return fail("allocate", cause.to_owned());
        }
        match (&self.neyman_by, is_neyman) {
            (None, true) => {
                let cause = "`neyman` needs a numeric dimension whose spread it goes by, such as `cost`";
                fail("neyman_by", cause.to_owned())
            }
            (Some(_), false) => fail("neyman_by", "it goes with `allocate = \"neyman\"`".to_owned()),
            _ => Ok(()),
        }
    }

    fn check_boost(&self) -> Result<(), DatasetError> {
        for boost in &self.boost {
            boost.read()?;
        }
        if self.boost.len() > MOST_RULES {
            return fail("boost", format!("there are {} rules; at most {MOST_RULES} are read", self.boost.len()));
        }
        let fixed = (self.n.is_some() && self.risk.is_none()) || !self.counts.is_empty();
        if !self.boost.is_empty() && fixed {
            let cause = "a rule raises a probability, and `n` (`--count`) or `counts` fix a size; give `rate` for those that \
                         no rule holds for";
            return fail("boost", cause.to_owned());
        }
        if !self.boost.is_empty() && self.risk.is_none() && self.rate.is_none() && self.rates.is_empty() {
            let cause = "without a `rate` everything is chosen, and no rule can raise that; give the `rate` of those \
                         that no rule holds for";
            return fail("boost", cause.to_owned());
        }
        let Some(risk) = &self.risk else { return Ok(()) };
        if self.n.is_none() {
            return fail("risk", "it needs `n` (`--count`), the number to choose on average".to_owned());
        }
        if risk.by.is_empty() {
            return fail("risk.by", "it names no dimension; give one, such as `cost = 1`".to_owned());
        }
        if let Some((name, weight)) = risk.by.iter().find(|(_, weight)| !(weight.is_finite() && **weight > 0.0)) {
            return fail(&format!("risk.by.{name}"), format!("`{weight}` is not a number above 0"));
        }
        match risk.floor {
            Some(floor) if !(0.0..1.0).contains(&floor) => {
                fail("risk.floor", format!("`{floor}` is not a probability from 0 to below 1"))
            }
            _ => Ok(()),
        }
    }

    fn check_units(&self) -> Result<(), DatasetError> {
        if self.cluster_by.is_some() && !self.stratify_by.is_empty() {
            let cause = "clusters are drawn as wholes, and the examples of one may lie in several strata, so that \
                         neither design would be kept; use one of the two, or a filter for each stratum";
            return fail("cluster_by", cause.to_owned());
        }
        if self.per_cluster.is_some() && self.cluster_by.is_none() {
            return fail("per_cluster", "it needs `cluster_by`".to_owned());
        }
        if self.per_cluster == Some(0) {
            return fail("per_cluster", "0 chooses nothing; give at least 1".to_owned());
        }
        if self.diverse.is_none() {
            return Ok(());
        }
        let others = [
            ("rate", self.rate.is_some()),
            ("stratify_by", !self.stratify_by.is_empty()),
            ("boost", !self.boost.is_empty()),
            ("risk", self.risk.is_some()),
            ("cluster_by", self.cluster_by.is_some()),
        ];
        if let Some((other, _)) = others.iter().find(|(_, set)| *set) {
            let cause = format!("a choice for diversity has no probabilities, so `{other}` means nothing in it");
            return fail("diverse", cause);
        }
        if self.n.is_none() {
            return fail("diverse", "it needs `n` (`--count`), the number to choose".to_owned());
        }
        Ok(())
    }

    /// The form of the design in one word.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self { diverse: Some(_), .. } => "diverse",
            Self { cluster_by: Some(_), .. } => "clustered",
            Self { risk: Some(_), .. } => "poisson",
            Self { boost, .. } if !boost.is_empty() => "boosted",
            Self { stratify_by, .. } if stratify_by.is_empty() => "uniform",
            _ => "stratified",
        }
    }

    /// Names of the numeric dimensions the plan looks at, sorted; [`super::Candidate::numbers`] follows this order.
    pub fn numbers(&self) -> Vec<String> {
        let mut names: Vec<String> = self.neyman_by.iter().cloned().collect();
        names.extend(self.risk.iter().flat_map(|risk| risk.by.keys().cloned()));
        names.extend(self.boost.iter().filter_map(|boost| match boost.read() {
            Ok(When::Top { of, .. }) => Some(of),
            _ => None,
        }));
        names.sort();
        names.dedup();
        names
    }

    /// The key of the plan under which a numeric dimension stands.
    pub fn key_of_number(&self, name: &str) -> &'static str {
        match self {
            Self { neyman_by: Some(by), .. } if by == name => "neyman_by",
            Self { risk: Some(risk), .. } if risk.by.contains_key(name) => "risk",
            _ => "boost",
        }
    }

    /// Names of all dimensions the plan looks at.
    pub fn dimensions(&self) -> Vec<String> {
        let mut names = self.numbers();
        names.extend(self.stratify_by.iter().chain(&self.cluster_by).cloned());
        names.extend(self.boost_names());
        names.sort();
        names.dedup();
        names
    }

    /// Names of the dimensions that rules look at.
    pub fn boost_names(&self) -> Vec<String> {
        let names = |boost: &Boost| match boost.read() {
            Ok(When::Filter(filter)) => filter.names().into_iter().map(str::to_owned).collect(),
            Ok(When::Top { of, .. }) => vec![of],
            Err(_) => Vec::new(),
        };
        self.boost.iter().flat_map(names).collect()
    }

    /// Whether it looks at the text of inputs.
    pub fn reads_inputs(&self) -> bool {
        self.near_duplicates.is_some() || self.diverse.is_some()
    }

    /// What to do with each stratum, given how many units each holds and how much they vary.
    pub(super) fn draws(
        &self,
        populations: &BTreeMap<String, u64>,
        spreads: &BTreeMap<String, f64>,
    ) -> BTreeMap<String, Draw> {
        if let Some(n) = self.n {
            let shares = match self.allocate {
                Allocate::Proportional => proportional(n, populations),
                Allocate::Equal => equal(n, populations),
                Allocate::Neyman => neyman(n, populations, spreads),
            };
            let draw = if self.risk.is_some() { Draw::Scored } else { Draw::Count };
            return shares.into_iter().map(|(name, count)| (name, draw(count))).collect();
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

fn fail(key: &str, cause: String) -> Result<(), DatasetError> {
    Err(DatasetError::Plan { key: key.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    }

    #[test]
    fn named_strata_and_the_rest() {
        let plan: SamplePlan =
            toml::from_str("stratify_by = ['status']\nrate = 0.05\nrates = { error = 1.0 }").unwrap();
        plan.check().unwrap();
        let draws = plan.draws(&sizes(&[("status=error", 3), ("status=ok", 100)]), &BTreeMap::new());
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
        assert_eq!(key("n = 5\nallocate = 'neyman'"), "allocate");
        assert_eq!(key("n = 5\nallocate = 'equal'"), "allocate");
        assert_eq!(key("stratify_by = ['a']\nallocate = 'equal'"), "allocate");
        assert_eq!(key("n = 5\nallocate = 'neyman'\nstratify_by = ['a']"), "neyman_by");
        assert_eq!(key("n = 5\nneyman_by = 'cost'"), "neyman_by");
        assert_eq!(key("n = 5\nboost = [{ when = 'errors', rate = 1.0 }]"), "boost");
        assert_eq!(key("boost = [{ when = 'errors', rate = 1.0 }]"), "boost");
        assert_eq!(key("rate = 0.1\nboost = [{ when = 'errors', rate = 3.0 }]"), "boost");
        assert_eq!(key("risk = { by = { cost = 1 } }"), "risk");
        assert_eq!(key("n = 5\nrisk = {}"), "risk.by");
        assert_eq!(key("n = 5\nrisk = { by = { cost = -1.0 } }"), "risk.by.cost");
        assert_eq!(key("n = 5\ncluster_by = 'user'\nstratify_by = ['a']"), "cluster_by");
        assert_eq!(key("per_cluster = 2"), "per_cluster");
        assert_eq!(key("diverse = 'inputs'"), "diverse");
        assert_eq!(key("diverse = 'inputs'\nrate = 0.5"), "diverse");
        assert_eq!(key("near_duplicates = { threshold = 1.5 }"), "near_duplicates.threshold");
        assert!(toml::from_str::<SamplePlan>("sede = 1").is_err());
    }
}
