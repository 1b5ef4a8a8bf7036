//! All slices of the paired examples that a change is looked for in: each value of each dimension, and pairs of them.
//!
//! Which slices there are depends on nothing that a run scored, so that the tests over them are honest. Knows no metric.

use std::collections::{BTreeMap, HashMap};

use super::{Condition, Features, Origin, features, pair::Unit, words};

/// Fewest examples of a slice (methods 1.6).
pub(super) const LEAST: usize = 20;
/// Most values of one dimension: the largest. A dimension with more is an id in disguise.
const VALUES: usize = 30;
/// Most slices by one condition: the largest.
const SINGLES: usize = 400;
/// Most slices by two conditions: the largest.
const PAIRS: usize = 600;
/// Most members of all slices by two conditions together, so that work stays within sight of the data.
const MEMBERS: usize = 2_000_000;
/// A pair of conditions must leave out at least this share of either slice, else it says nothing new.
const NARROWER: f64 = 0.8;

/// Examples that meet one or two conditions.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// Other conditions that exactly these examples meet.
    pub also: Vec<Condition>,
    /// Places of the units, ascending.
    pub members: Vec<u32>,
}

impl Slice {
    /// The origin that is farthest from the example itself.
    pub fn origin(&self) -> Origin {
        self.conditions.iter().map(|condition| condition.origin).max().unwrap_or_default()
    }

    /// Whether a condition is the metric's own finding.
    pub fn is_of(&self, metric: &str) -> bool {
        self.conditions.iter().any(|condition| features::is_own(&condition.dimension, metric))
    }

    /// `intent = refund and tier = gold`.
    pub fn words(&self) -> String {
        self.conditions.iter().map(in_words).collect::<Vec<_>>().join(" and ")
    }
}

/// A condition in words.
pub(super) fn in_words(condition: &Condition) -> String {
    format!("{} = {}", words::quoted(&condition.dimension), words::quoted(&condition.value))
}

/// A set of units, one bit each.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn of(members: &[u32], size: usize) -> Self {
        let mut words = vec![0_u64; size.div_ceil(64)];
        for member in members {
            if let Some(word) = words.get_mut(*member as usize / 64) {
                *word |= 1 << (member % 64);
            }
        }
        Self(words)
    }

    fn shared(&self, other: &Self) -> usize {
        self.0.iter().zip(&other.0).map(|(left, right)| (left & right).count_ones() as usize).sum()
    }

    fn has(&self, member: u32) -> bool {
        self.0.get(member as usize / 64).is_some_and(|word| word >> (member % 64) & 1 == 1)
    }
}

/// All slices, those by one condition first, each group from the largest.
pub(super) fn all(units: &[Unit<'_>], features: &Features) -> Vec<Slice> {
    let singles = singles(units, features);
    let bits: Vec<Bits> = singles.iter().map(|slice| Bits::of(&slice.members, units.len())).collect();
    let mut candidates = Vec::new();
    for (left, one) in singles.iter().enumerate() {
        for (right, other) in singles.iter().enumerate().skip(left + 1) {
            let crossed = one.conditions.iter().zip(&other.conditions).all(|(a, b)| a.dimension != b.dimension);
            let (Some(a), Some(b), true) = (bits.get(left), bits.get(right), crossed) else { continue };
            let size = a.shared(b);
            let narrower = size as f64 <= NARROWER * one.members.len().min(other.members.len()) as f64;
            if size >= LEAST && narrower {
                candidates.push((size, left, right));
            }
        }
    }
    candidates.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut room = MEMBERS;
    let mut found = Vec::new();
    for (size, left, right) in candidates.into_iter().take(PAIRS) {
        let (Some(one), Some(other), Some(within)) = (singles.get(left), singles.get(right), bits.get(right)) else {
            continue;
        };
        room = match room.checked_sub(size) {
            Some(room) => room,
            None => break,
        };
        let mut conditions: Vec<Condition> = one.conditions.iter().chain(&other.conditions).cloned().collect();
        conditions.sort_by(|a, b| (a.origin, &a.dimension).cmp(&(b.origin, &b.dimension)));
        found.push(Slice {
            conditions,
            also: Vec::new(),
            members: one.members.iter().copied().filter(|member| within.has(*member)).collect(),
        });
    }
    singles.into_iter().chain(found).collect()
}

/// Slices by one condition; of those with the same members, one, which knows the others.
fn singles(units: &[Unit<'_>], features: &Features) -> Vec<Slice> {
    let mut dimensions: BTreeMap<(Origin, &str), BTreeMap<&str, Vec<u32>>> = BTreeMap::new();
    let mut total = 0;
    for (place, unit) in units.iter().enumerate().filter(|(_, unit)| unit.is_paired()) {
        total += 1;
        let own = unit.dimensions.into_iter().flatten();
        let own = own.map(|(dimension, value)| (Origin::Example, dimension.as_str(), value.as_str()));
        let known = features.of(unit.id);
        let known = known.map(|feature| (feature.origin, feature.dimension.as_str(), feature.value.as_str()));
        for (origin, dimension, value) in own.chain(known) {
            let values = dimensions.entry((origin, dimension)).or_default();
            values.entry(value).or_default().push(place as u32);
        }
    }
    let mut slices = Vec::new();
    for ((origin, dimension), values) in dimensions {
        let mut kept: Vec<(&str, Vec<u32>)> = values
            .into_iter()
            .filter(|(_, members)| members.len() >= LEAST && total - members.len() >= LEAST)
            .collect();
        kept.sort_by(|left, right| right.1.len().cmp(&left.1.len()).then(left.0.cmp(right.0)));
        slices.extend(kept.into_iter().take(VALUES).map(|(value, members)| Slice {
            conditions: vec![Condition { dimension: dimension.to_owned(), value: value.to_owned(), origin }],
            also: Vec::new(),
            members,
        }));
    }
    let mut distinct: Vec<Slice> = Vec::new();
    let mut places: HashMap<Bits, usize> = HashMap::new();
    for slice in slices {
        let next = distinct.len();
        let place = *places.entry(Bits::of(&slice.members, units.len())).or_insert(next);
        match distinct.get_mut(place) {
            Some(first) => first.also.extend(slice.conditions),
            None => distinct.push(slice),
        }
    }
    distinct.sort_by_key(|slice| std::cmp::Reverse(slice.members.len()));
    distinct.truncate(SINGLES);
    distinct
}
