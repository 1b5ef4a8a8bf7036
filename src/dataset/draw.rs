//! The draw itself: units of a frame (examples, or clusters of them), the probability of each, and who is in.
//!
//! Adds nothing up; `outcome` tells what the draw gave.

use std::collections::BTreeMap;

use super::decision::Decision;
use super::diverse::{Place, farthest};
use super::error::DatasetError;
use super::near::Shingles;
use super::poisson::scaled;
use super::sampling::{Diverse, Draw};
use super::select::{Frame, Item, hash, hash_of, place};

/// What the draw means for one candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fate {
    pub decision: Decision,
    pub chosen: bool,
    /// Probability of the draw, before the chance of standing for a group.
    pub probability: Option<f64>,
}

/// What is drawn as a whole.
struct Unit {
    hash: u64,
    stratum: usize,
    /// Places of its candidates; at least one.
    members: Vec<usize>,
    flags: u64,
}

/// A unit after the draw.
#[derive(Clone, Copy)]
struct Drawn {
    probability: f64,
    decision: Decision,
    chosen: bool,
}

/// The fate of every candidate, by place; of those that another one stands for too.
pub(super) fn draw(frame: &Frame, seed: u64, standing: &[u64]) -> Result<Vec<Fate>, DatasetError> {
    let none = Fate { decision: Decision::NearDuplicate, chosen: false, probability: None };
    let mut fates = vec![none; frame.items.len()];
    if let Some(diverse) = frame.plan.diverse {
        draw_diverse(frame, diverse, seed, standing, &mut fates);
        return Ok(fates);
    }
    let units = units(frame, seed, standing);
    let drawn = draw_units(frame, &units)?;
    for (unit, drawn) in units.iter().zip(&drawn) {
        second_stage(frame, seed, unit, *drawn, &mut fates);
    }
    Ok(fates)
}

fn units(frame: &Frame, seed: u64, standing: &[u64]) -> Vec<Unit> {
    let alive =
        frame.items.iter().enumerate().filter(|(place, _)| standing.get(*place).is_some_and(|count| *count > 0));
    if frame.plan.cluster_by.is_none() {
        let unit = |(place, item): (usize, &Item)| Unit {
            hash: hash(seed, &item.id),
            stratum: item.stratum,
            members: vec![place],
            flags: item.flags,
        };
        return alive.map(unit).collect();
    }
    // A candidate without a cluster is one of its own.
    let mut clusters: BTreeMap<(bool, &str), Unit> = BTreeMap::new();
    for (place, item) in alive {
        let name = item.cluster.as_deref();
        let key = (name.is_some(), name.unwrap_or(&item.id));
        let tag: &[u8] = if key.0 { b"assize.cluster.1" } else { b"assize.single.1" };
        let unit = clusters.entry(key).or_insert_with(|| Unit {
            hash: hash_of(tag, seed, key.1),
            stratum: item.stratum,
            members: Vec::new(),
            flags: 0,
        });
        unit.members.push(place);
        unit.flags |= item.flags;
    }
    clusters.into_values().collect()
}

fn draw_units(frame: &Frame, units: &[Unit]) -> Result<Vec<Drawn>, DatasetError> {
    let plan = &frame.plan;
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); frame.strata.len()];
    for (index, unit) in units.iter().enumerate() {
        if let Some(members) = members.get_mut(unit.stratum) {
            members.push(index);
        }
    }
    let named = || frame.strata.iter().zip(&members).filter(|(_, members)| !members.is_empty());
    let populations = named().map(|(name, members)| (name.clone(), members.len() as u64)).collect();
    let spreads = named().filter_map(|(name, members)| Some((name.clone(), spread(frame, units, members)?))).collect();
    let draws = plan.draws(&populations, &spreads);
    let scores = scores(frame, units);
    let idle = Drawn { probability: 0.0, decision: Decision::NoChance, chosen: false };
    let mut drawn = vec![idle; units.len()];
    for (name, members) in named() {
        let done = match draws.get(name).copied().unwrap_or(Draw::Count(0)) {
            Draw::Rate(rate) => {
                let hit = if rate >= 1.0 { Decision::All } else { Decision::Rate };
                let alone = |index: &usize| by_itself(frame, units, *index, rate, (hit, Decision::RateMissed));
                members.iter().map(|index| (*index, alone(index))).collect()
            }
            Draw::Scored(count) => {
                let of: Vec<f64> = members.iter().map(|index| scores.get(*index).copied().unwrap_or(0.0)).collect();
                let floor = plan.risk.as_ref().and_then(|risk| risk.floor);
                let words = (Decision::Risk, Decision::RiskMissed);
                let alone = |(index, chance): (&usize, f64)| (*index, by_itself(frame, units, *index, chance, words));
                members.iter().zip(scaled(&of, count as f64, floor)?).map(alone).collect()
            }
            Draw::Count(count) => lowest(units, members, count),
        };
        for (index, new) in done {
            if let Some(drawn) = drawn.get_mut(index) {
                *drawn = new;
            }
        }
    }
    Ok(drawn)
}

/// A unit on its own: in when its place lies below its rate, raised by the rules that hold. `words` are for in and out.
fn by_itself(frame: &Frame, units: &[Unit], index: usize, base: f64, words: (Decision, Decision)) -> Drawn {
    let (place, flags) = units.get(index).map_or((1.0, 0), |unit| (place(unit.hash), unit.flags));
    let probability = raised(frame, base, flags);
    let chosen = place < probability;
    let decision = match chosen {
        true if place >= base => Decision::Rule,
        true => words.0,
        false if probability <= 0.0 => Decision::NoChance,
        false => words.1,
    };
    Drawn { probability, decision, chosen }
}

/// So many units of the lowest hashes: a simple random sample.
fn lowest(units: &[Unit], members: &[usize], count: u64) -> Vec<(usize, Drawn)> {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(members.len());
    let mut order = members.to_vec();
    if count > 0 && count < order.len() {
        // Only the smallest are needed, not their order. Equal hashes are told apart by who is first.
        order.select_nth_unstable_by_key(count - 1, |index| (units.get(*index).map(|unit| unit.hash), *index));
    }
    let probability = count as f64 / members.len().max(1) as f64;
    let left = if count == 0 { Decision::NoChance } else { Decision::CountReached };
    let drawn = |(rank, index): (usize, usize)| {
        let chosen = rank < count;
        (index, Drawn { probability, decision: if chosen { Decision::Count } else { left }, chosen })
    };
    order.into_iter().enumerate().map(drawn).collect()
}

/// A rate with the rules that hold.
fn raised(frame: &Frame, base: f64, flags: u64) -> f64 {
    if flags == 0 {
        return base;
    }
    let holds = |(rule, _): &(usize, &super::boost::Boost)| flags >> rule & 1 == 1;
    let rates = frame.plan.boost.iter().enumerate().filter(holds).map(|(_, boost)| boost.rate);
    frame.plan.combine.of(std::iter::once(base).chain(rates))
}

/// Standard deviation of the plan's dimension among some units; `None` with fewer than two values.
fn spread(frame: &Frame, units: &[Unit], members: &[usize]) -> Option<f64> {
    let at = frame.number_at(frame.plan.neyman_by.as_deref()?)?;
    let value = |index: &usize| number(frame, units.get(*index)?, at);
    let values: Vec<f64> = members.iter().filter_map(value).collect();
    let count = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count;
    Some((values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt())
}

/// A number of a unit: the greatest of its candidates.
fn number(frame: &Frame, unit: &Unit, at: usize) -> Option<f64> {
    let of = |place: &usize| frame.items.get(*place)?.numbers.get(at).copied().flatten();
    unit.members.iter().filter_map(of).reduce(f64::max)
}

/// Risk scores of all units; empty without a risk.
fn scores(frame: &Frame, units: &[Unit]) -> Vec<f64> {
    let Some(risk) = &frame.plan.risk else { return Vec::new() };
    let mut scores = vec![0.0; units.len()];
    for (name, weight) in &risk.by {
        let Some(at) = frame.number_at(name) else { continue };
        let values: Vec<f64> = units.iter().map(|unit| number(frame, unit, at).unwrap_or(0.0).max(0.0)).collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        if mean > 0.0 {
            scores.iter_mut().zip(&values).for_each(|(score, value)| *score += weight * value / mean);
        }
    }
    scores
}

/// Hands a unit's fate to its candidates; of a large cluster only some are taken.
fn second_stage(frame: &Frame, seed: u64, unit: &Unit, drawn: Drawn, fates: &mut [Fate]) {
    let most = frame.plan.per_cluster.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let mut order = unit.members.clone();
    let share = if order.len() > most { most as f64 / order.len() as f64 } else { 1.0 };
    if share < 1.0 {
        order.sort_by_key(|place| frame.items.get(*place).map(|item| hash_of(b"assize.stage.1", seed, &item.id)));
    }
    let clustered = frame.plan.cluster_by.is_some();
    for (rank, place) in order.into_iter().enumerate() {
        let chosen = drawn.chosen && rank < most;
        let decision = match drawn.decision {
            Decision::NoChance => Decision::NoChance,
            other if !clustered => other,
            _ if chosen => Decision::Cluster,
            _ if drawn.chosen => Decision::ClusterFull,
            _ => Decision::ClusterMissed,
        };
        if let Some(fate) = fates.get_mut(place) {
            *fate = Fate { decision, chosen, probability: Some(drawn.probability * share) };
        }
    }
}

fn draw_diverse(frame: &Frame, by: Diverse, seed: u64, standing: &[u64], fates: &mut [Fate]) {
    let alive: Vec<usize> = (0..frame.items.len()).filter(|at| standing.get(*at).is_some_and(|n| *n > 0)).collect();
    let items: Vec<&Item> = alive.iter().filter_map(|at| frame.items.get(*at)).collect();
    let rule = frame.plan.near_duplicates.clone().unwrap_or_default();
    let place = |item: &&Item| match by {
        Diverse::Inputs => {
            let text = rule.normalize(item.text.as_deref().unwrap_or_default());
            Place::Signature(Shingles::of(&text).signature())
        }
        Diverse::Embeddings => Place::Vector(frame.vectors.get(&item.id).cloned().unwrap_or_default()),
    };
    let places: Vec<Place> = items.iter().map(place).collect();
    let hashes: Vec<u64> = items.iter().map(|item| hash(seed, &item.id)).collect();
    let wanted = frame.plan.n.map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
    for at in &alive {
        if let Some(fate) = fates.get_mut(*at) {
            *fate = Fate { decision: Decision::LessDiverse, chosen: false, probability: None };
        }
    }
    for chosen in farthest(&places, &hashes, wanted) {
        if let Some(fate) = alive.get(chosen).and_then(|at| fates.get_mut(*at)) {
            *fate = Fate { decision: Decision::Diverse, chosen: true, probability: None };
        }
    }
}
