//! Selection by hash: who is chosen depends on the seed and the id alone, never on the order of arrival.
//!
//! A candidate's place on the unit interval is a hash of seed and id. By rate, those below their rate are chosen, so a
//! higher rate always contains a lower one's choice; by number, the lowest of each stratum are, which is a simple
//! random sample without replacement. Both record the probability with which each was chosen: weights 1/p make
//! estimates unbiased for the candidates (Horvitz and Thompson 1952).
//!
//! Near-duplicates are merged first. Who stands for a group is the lowest of another hash, so any of its `m` members
//! with chance `1/m`; chosen with probability `p` after that, its probability in both phases is `p/m` and its weight
//! `m/p` is the sum of the weights of all it stands for. In expectation the total is that of the whole population,
//! however much the members of a group differ. Only candidates of one stratum, one cluster (where clusters are drawn)
//! and the same rules are merged, so that no error is hidden behind a success.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::boost::{When, tail};
use super::candidate::Candidate;
use super::decision::{Decided, Decision};
use super::error::DatasetError;
use super::near::{self, NearRule};
use super::outcome;
use super::sampling::SamplePlan;
use crate::model::SampleDesign;

/// How one candidate was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Stratum.
    pub stratum: String,
    /// Probability in (0, 1] with which the design chose it; absent where it is not known (a choice for diversity).
    pub probability: Option<f64>,
    /// The cluster it was drawn with, where clusters were drawn.
    pub cluster: Option<String>,
    /// How many near-duplicates it stands for, itself included.
    pub represents: u64,
    /// Ids of the others it stands for, the first of them.
    pub merged: Vec<String>,
    /// Why it was chosen.
    pub decision: Decision,
}

/// What was chosen, and the design as it was carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The chosen, by id.
    pub chosen: BTreeMap<String, Chosen>,
    /// The design with populations, rates and counts; its filter is the caller's to fill.
    pub design: SampleDesign,
    /// The decision on every candidate, by id; empty unless asked for.
    pub decided: Vec<Decided>,
    /// What a careful reader should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Takes candidates one by one and chooses at the end. Holds of each what the plan looks at.
#[derive(Clone, Debug)]
pub struct Selector {
    plan: SamplePlan,
    candidates: HashMap<String, Candidate>,
    moved: u64,
}

/// All candidates, ready to be chosen from by any seed.
#[derive(Clone, Debug)]
pub struct Frame {
    pub(super) plan: SamplePlan,
    /// Sorted by id.
    pub(super) items: Vec<Item>,
    /// Names of strata, sorted.
    pub(super) strata: Vec<String>,
    /// Value from which on each rule holds, for the long tails.
    pub(super) thresholds: Vec<Option<f64>>,
    /// Places of near-duplicates.
    pub(super) groups: Vec<Vec<usize>>,
    /// Embeddings by id.
    pub(super) vectors: HashMap<String, Vec<f32>>,
    pub(super) moved: u64,
}

/// One candidate of a frame.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub id: String,
    pub stratum: usize,
    pub cluster: Option<String>,
    pub flags: u64,
    pub numbers: Vec<Option<f64>>,
    pub text: Option<String>,
}

/// The candidate's place in [0, 1): the top 53 bits of a hash of seed and id, so that no place rounds up to 1.
pub fn hash_unit(seed: u64, id: &str) -> f64 {
    place(hash(seed, id))
}

/// A hash as a place in [0, 1).
pub(super) fn place(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

pub(super) fn hash(seed: u64, id: &str) -> u64 {
    hash_of(b"assize.sample.1", seed, id)
}

/// Hashes for other choices than who is chosen (who stands for a group) have a tag of their own: they must not depend
/// on each other.
pub(super) fn hash_of(tag: &[u8], seed: u64, id: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(tag);
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
        Ok(Self { plan, candidates: HashMap::new(), moved: 0 })
    }

    /// Takes one candidate. An id met again is the same candidate (another trace of the same example); where its
    /// strata differ, the first in alphabetical order holds, so that the order of arrival does not matter.
    pub fn offer(&mut self, candidate: Candidate) {
        match self.candidates.get_mut(&candidate.id) {
            Some(known) => self.moved += u64::from(known.join(candidate)),
            None => drop(self.candidates.insert(candidate.id.clone(), candidate)),
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

    /// Chooses by the plan's seed.
    ///
    /// # Errors
    /// [`DatasetError::NothingSelected`] when there are no candidates or none was chosen.
    pub fn finish(self) -> Result<Selection, DatasetError> {
        let frame = self.frame()?;
        frame.choose(frame.plan.seed, false)
    }

    /// Sorts the candidates, finds who is in the long tails and who is near whom.
    ///
    /// # Errors
    /// [`DatasetError::NothingSelected`] without candidates; [`DatasetError::Plan`] when no candidate has a numeric
    /// dimension that the plan goes by.
    pub fn frame(self) -> Result<Frame, DatasetError> {
        let Self { plan, candidates, moved } = self;
        if candidates.is_empty() {
            let cause = "there are no candidates; widen the filter or look at what was left out and why".to_owned();
            return Err(DatasetError::NothingSelected { cause });
        }
        let mut candidates: Vec<Candidate> = candidates.into_values().collect();
        candidates.sort_by(|left, right| left.id.cmp(&right.id));
        let strata: BTreeSet<&str> = candidates.iter().map(|candidate| candidate.stratum.as_str()).collect();
        let strata: Vec<String> = strata.into_iter().map(str::to_owned).collect();
        let item = |of: Candidate| Item {
            stratum: strata.binary_search(&of.stratum).unwrap_or_default(),
            id: of.id,
            cluster: of.cluster,
            flags: of.flags,
            numbers: of.numbers,
            text: of.text,
        };
        let items: Vec<Item> = candidates.into_iter().map(item).collect();
        let (thresholds, groups, vectors) = (Vec::new(), Vec::new(), HashMap::new());
        let mut frame = Frame { plan, items, strata, thresholds, groups, vectors, moved };
        frame.check_numbers()?;
        frame.flag_tails();
        frame.find_near();
        Ok(frame)
    }
}

impl Frame {
    /// How many candidates there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none; a frame is never made of none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Ids and inputs of the candidates, where the plan looks at inputs.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.items.iter().filter_map(|item| Some((item.id.as_str(), item.text.as_deref()?)))
    }

    /// Gives the embeddings that a choice for diversity goes by.
    #[must_use]
    pub fn with_vectors(mut self, vectors: HashMap<String, Vec<f32>>) -> Self {
        self.vectors = vectors;
        self
    }

    /// Chooses by a seed. `keep` lists the decision on every candidate.
    ///
    /// # Errors
    /// [`DatasetError::NothingSelected`] when none was chosen; [`DatasetError::Plan`] when a floor cannot be kept.
    pub fn choose(&self, seed: u64, keep: bool) -> Result<Selection, DatasetError> {
        let standing = self.standing(seed);
        let fates = super::draw::draw(self, seed, &standing)?;
        outcome::selection(self, seed, &standing, &fates, keep)
    }

    /// Where a numeric dimension stands in the candidates.
    pub(super) fn number_at(&self, name: &str) -> Option<usize> {
        self.plan.numbers().iter().position(|known| known == name)
    }

    fn check_numbers(&self) -> Result<(), DatasetError> {
        for (index, name) in self.plan.numbers().iter().enumerate() {
            if !self.items.iter().any(|item| item.numbers.get(index).copied().flatten().is_some()) {
                let cause =
                    format!("no candidate has a number in the dimension `{name}`, and its values are to be ordered");
                return Err(DatasetError::Plan { key: self.plan.key_of_number(name).to_owned(), cause });
            }
        }
        Ok(())
    }

    fn flag_tails(&mut self) {
        for (rule, boost) in self.plan.boost.clone().iter().enumerate() {
            let threshold = match boost.read() {
                Ok(When::Top { share, of }) => self.number_at(&of).and_then(|at| {
                    let number = |item: &Item| item.numbers.get(at).copied().flatten();
                    let from = tail(self.items.iter().filter_map(number), share)?;
                    for item in &mut self.items {
                        if number(item).is_some_and(|value| value >= from) {
                            item.flags |= 1 << rule;
                        }
                    }
                    Some(from)
                }),
                _ => None,
            };
            self.thresholds.push(threshold);
        }
    }

    fn find_near(&mut self) {
        let Some(rule) = &self.plan.near_duplicates else { return };
        let mut known: HashMap<(usize, u64, Option<&str>), u64> = HashMap::new();
        let mut cells = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let cluster = self.plan.cluster_by.as_ref().and(item.cluster.as_deref().or(Some(&item.id)));
            let next = known.len() as u64;
            cells.push(*known.entry((item.stratum, item.flags, cluster)).or_insert(next));
        }
        self.groups = with_texts(&self.items, rule, |texts| near::groups(texts, &cells, rule.threshold));
    }

    /// How many each candidate stands for by a seed: 1 alone, 0 where another one does.
    fn standing(&self, seed: u64) -> Vec<u64> {
        let mut standing = vec![1; self.items.len()];
        for group in &self.groups {
            let first = self.stands_for(group, seed);
            for member in group {
                if let Some(standing) = standing.get_mut(*member) {
                    *standing = if Some(*member) == first { group.len() as u64 } else { 0 };
                }
            }
        }
        standing
    }

    /// Who stands for a group.
    pub(super) fn stands_for(&self, group: &[usize], seed: u64) -> Option<usize> {
        let hash = |place: &usize| self.items.get(*place).map(|item| hash_of(b"assize.near.1", seed, &item.id));
        group.iter().copied().min_by_key(hash)
    }
}

/// Calls with the normalised texts of the items; an item without a text is only near itself.
fn with_texts<T>(items: &[Item], rule: &NearRule, call: impl FnOnce(&[&str]) -> T) -> T {
    let text = |item: &Item| item.text.as_deref().map_or_else(|| item.id.clone(), |text| rule.normalize(text));
    let texts: Vec<String> = items.iter().map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    call(&texts)
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod simulation;
