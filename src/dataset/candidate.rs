//! What a sampling design knows of one thing that could be chosen, and how it is read from named dimensions.

use serde_json::Value;

use super::boost::When;
use super::error::DatasetError;
use super::filter::Filter;
use super::sampling::SamplePlan;

/// One thing that could be chosen: an example's key, with all that the plan looks at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Key of the example, or trace id.
    pub id: String,
    /// Name of the stratum; see [`stratum_name`].
    pub stratum: String,
    /// Cluster that is drawn as a whole, where the plan draws clusters.
    pub cluster: Option<String>,
    /// Rules of the plan that hold by a filter, by their place as bits.
    pub flags: u64,
    /// Values of [`SamplePlan::numbers`], in that order; absent where unknown.
    pub numbers: Vec<Option<f64>>,
    /// The input, where the plan looks at it.
    pub text: Option<String>,
}

impl Candidate {
    /// Takes in another trace of the same example. Whatever the order: the first stratum and cluster by name, all
    /// rules, the greatest numbers. Says whether the strata differ.
    pub(super) fn join(&mut self, other: Self) -> bool {
        let moved = other.stratum != self.stratum;
        if other.stratum < self.stratum {
            self.stratum = other.stratum;
        }
        self.cluster = match (self.cluster.take(), other.cluster) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        self.flags |= other.flags;
        for (known, new) in self.numbers.iter_mut().zip(other.numbers) {
            *known = match (*known, new) {
                (Some(known), Some(new)) => Some(known.max(new)),
                (known, new) => known.or(new),
            };
        }
        self.text = match (self.text.take(), other.text) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        moved
    }
}

/// Reads candidates for a plan.
#[derive(Clone, Debug)]
pub struct CandidateReader {
    stratify_by: Vec<String>,
    cluster_by: Option<String>,
    filters: Vec<(usize, Filter)>,
    numbers: Vec<String>,
    reads_inputs: bool,
}

impl CandidateReader {
    /// For a plan.
    ///
    /// # Errors
    /// The plan is wrong; see [`SamplePlan::check`].
    pub fn new(plan: &SamplePlan) -> Result<Self, DatasetError> {
        plan.check()?;
        let mut filters = Vec::new();
        for (index, boost) in plan.boost.iter().enumerate() {
            if let When::Filter(filter) = boost.read()? {
                filters.push((index, filter));
            }
        }
        Ok(Self {
            stratify_by: plan.stratify_by.clone(),
            cluster_by: plan.cluster_by.clone(),
            filters,
            numbers: plan.numbers(),
            reads_inputs: plan.reads_inputs(),
        })
    }

    /// The candidate of a key; `lookup` gives the value of a dimension, `input` what was asked.
    pub fn read(
        &self,
        id: String,
        lookup: impl Fn(&str) -> Option<String>,
        input: impl FnOnce() -> Option<Value>,
    ) -> Candidate {
        let flags = self
            .filters
            .iter()
            .filter(|(_, filter)| filter.matches(&lookup))
            .fold(0, |bits, (index, _)| bits | 1 << index);
        let number = |name: &String| lookup(name)?.trim().parse::<f64>().ok().and_then(rounded);
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Candidate {
            id,
            stratum: stratum_name(&self.stratify_by, &lookup),
            cluster: self.cluster_by.as_ref().and_then(|name| lookup(name)).filter(|name| !name.trim().is_empty()),
            flags,
            numbers: self.numbers.iter().map(number).collect(),
            text: if self.reads_inputs { input().map(text) } else { None },
        }
    }
}

/// A finite number to some twelve digits. Costs are sums, and sums of the same numbers in another order differ in
/// their last digit; a probability must not.
fn rounded(number: f64) -> Option<f64> {
    const DROPPED: u64 = 1 << 12;
    let rounded = f64::from_bits(number.to_bits().wrapping_add(DROPPED / 2) & !(DROPPED - 1));
    (number.is_finite() && rounded.is_finite()).then_some(rounded)
}

/// The name of a stratum: `status=error,tier=free`; `all` where there are no dimensions, `(none)` for an absent value.
pub fn stratum_name(dimensions: &[String], lookup: impl Fn(&str) -> Option<String>) -> String {
    if dimensions.is_empty() {
        return "all".to_owned();
    }
    let part = |name: &String| format!("{name}={}", lookup(name).unwrap_or_else(|| "(none)".to_owned()));
    dimensions.iter().map(part).collect::<Vec<_>>().join(",")
}
