//! Selection by hash: who is chosen depends on the seed and the id alone, never on the order of arrival.
//!
//! A candidate's place on the unit interval is a hash of seed and id. By rate, those below the rate are chosen, so a
//! higher rate always contains a lower one's choice; by number, the lowest of each stratum are, which is a simple
//! random sample without replacement. Both record the probability with which each was chosen: weights 1/p make
//! estimates unbiased for the candidates (Horvitz and Thompson 1952).

use std::collections::{BTreeMap, HashMap};

use super::error::DatasetError;
use super::sampling::{Draw, SamplePlan};
use crate::model::{SampleDesign, Stratum};

/// One thing that could be chosen: an example's key, with the stratum it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Key of the example, or trace id.
    pub id: String,
    /// Name of the stratum; see [`stratum_name`].
    pub stratum: String,
}

/// How one candidate was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Stratum.
    pub stratum: String,
    /// Probability in (0, 1] with which the design chose it.
    pub probability: f64,
}

/// What was chosen, and the design as it was carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The chosen, by id.
    pub chosen: BTreeMap<String, Chosen>,
    /// The design with populations, rates and counts; its filter is the caller's to fill.
    pub design: SampleDesign,
    /// What a careful reader should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Takes candidates one by one and chooses at the end. Holds an id and a number per candidate.
pub struct Selector {
    plan: SamplePlan,
    strata: Vec<String>,
    stratum_index: HashMap<String, u32>,
    candidates: HashMap<String, u32>,
    moved: u64,
}

/// The name of a stratum: `status=error,tier=free`; `all` where there are no dimensions, `(none)` for an absent value.
pub fn stratum_name(dimensions: &[String], lookup: impl Fn(&str) -> Option<String>) -> String {
    if dimensions.is_empty() {
        return "all".to_owned();
    }
    let part = |name: &String| format!("{name}={}", lookup(name).unwrap_or_else(|| "(none)".to_owned()));
    dimensions.iter().map(part).collect::<Vec<_>>().join(",")
}

/// The candidate's place in [0, 1): the top 53 bits of a hash of seed and id, so that no place rounds up to 1.
pub fn hash_unit(seed: u64, id: &str) -> f64 {
    (hash(seed, id) >> 11) as f64 / (1_u64 << 53) as f64
}

fn hash(seed: u64, id: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"assize.sample.1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(id.as_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

impl Selector {
    /// An empty selection by a plan.
    ///
    /// # Errors
    /// The plan is wrong; see [`SamplePlan::check`].
    pub fn new(plan: SamplePlan) -> Result<Self, DatasetError> {
        plan.check()?;
        let (strata, stratum_index, candidates) = (Vec::new(), HashMap::new(), HashMap::new());
        Ok(Self { plan, strata, stratum_index, candidates, moved: 0 })
    }

    /// Takes one candidate. An id met again is the same candidate (another trace of the same example); where its
    /// strata differ, the first in alphabetical order holds, so that the order of arrival does not matter.
    pub fn offer(&mut self, candidate: Candidate) {
        let index = match self.stratum_index.get(&candidate.stratum) {
            Some(index) => *index,
            None => {
                let index = u32::try_from(self.strata.len()).unwrap_or(u32::MAX);
                self.strata.push(candidate.stratum.clone());
                self.stratum_index.insert(candidate.stratum.clone(), index);
                index
            }
        };
        let Some(known) = self.candidates.get_mut(&candidate.id) else {
            self.candidates.insert(candidate.id, index);
            return;
        };
        if *known != index {
            self.moved += 1;
            let name = |index: u32| self.strata.get(index as usize);
            if name(index) < name(*known) {
                *known = index;
            }
        }
    }

    /// How many candidates there are so far.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Chooses.
    ///
    /// # Errors
    /// [`DatasetError::NothingSelected`] when there are no candidates or none was chosen.
    pub fn finish(self) -> Result<Selection, DatasetError> {
        if self.candidates.is_empty() {
            let cause = "there are no candidates; widen the filter or look at what was left out and why".to_owned();
            return Err(DatasetError::NothingSelected { cause });
        }
        let Self { plan, strata, candidates, moved, .. } = self;
        let total = candidates.len();
        let mut members: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
        for (id, index) in candidates {
            let name = strata.get(index as usize).cloned().unwrap_or_default();
            members.entry(name).or_default().push((hash(plan.seed, &id), id));
        }
        let populations: BTreeMap<String, u64> =
            members.iter().map(|(name, ids)| (name.clone(), ids.len() as u64)).collect();
        let draws = plan.draws(&populations);
        let mut chosen = BTreeMap::new();
        let mut done = Vec::new();
        for (name, ids) in members {
            let population = ids.len() as u64;
            let (ids, rate) = draw(draws.get(&name).copied().unwrap_or(Draw::Count(0)), ids);
            done.push(Stratum { name: name.clone(), population, rate, chosen: ids.len() as u64 });
            chosen.extend(ids.into_iter().map(|id| (id, Chosen { stratum: name.clone(), probability: rate })));
        }
        if chosen.is_empty() {
            let cause = format!("the plan chose none of {total} candidates; raise `rate`, or give `n`");
            return Err(DatasetError::NothingSelected { cause });
        }
        let warnings = warnings(&plan, &populations, &done, moved);
        let design = SampleDesign {
            method: plan.method().to_owned(),
            seed: plan.seed,
            stratify_by: plan.stratify_by,
            strata: done,
            filter: None,
        };
        Ok(Selection { chosen, design, warnings })
    }
}

/// The chosen ids of one stratum and the probability each had.
fn draw(draw: Draw, mut ids: Vec<(u64, String)>) -> (Vec<String>, f64) {
    let population = ids.len();
    let rate = match draw {
        Draw::Rate(rate) => {
            ids.retain(|(hash, _)| ((hash >> 11) as f64 / (1_u64 << 53) as f64) < rate);
            rate
        }
        Draw::Count(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(population);
            if count > 0 && count < population {
                // Only the smallest are needed, not their order.
                ids.select_nth_unstable(count - 1);
            }
            ids.truncate(count);
            count as f64 / population.max(1) as f64
        }
    };
    (ids.into_iter().map(|(_, id)| id).collect(), rate)
}

fn warnings(plan: &SamplePlan, populations: &BTreeMap<String, u64>, done: &[Stratum], moved: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    for name in plan.unmet(populations) {
        let hint =
            super::error::did_you_mean(&name, populations.keys().map(|full| full.rsplit('=').next().unwrap_or(full)));
        warnings.push(format!("no candidate is in stratum `{name}`{hint}"));
    }
    let empty: Vec<&str> = done.iter().filter(|s| s.chosen == 0).map(|s| s.name.as_str()).collect();
    if !empty.is_empty() {
        let shown = crate::sys::text::one_line(&empty.join("`, `"), 200);
        warnings.push(format!(
            "nothing was chosen from {} strata (`{shown}`): the sample says nothing about them",
            empty.len()
        ));
    }
    if moved > 0 {
        warnings.push(format!(
            "{moved} traces are in another stratum than the rest of their example; the first by name was taken"
        ));
    }
    warnings
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
