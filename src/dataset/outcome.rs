//! What a draw gave: the chosen with their probabilities, the design as it was carried out, and what a careful reader
//! should know. Draws nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use super::decision::Decided;
use super::draw::Fate;
use super::error::{DatasetError, did_you_mean};
use super::select::{Chosen, Frame, Item, Selection};
use crate::model::{ClusterCounts, MergedNear, RuleCounts, SampleDesign, Stratum, WeightSummary};
use crate::sys::text::{one_line, thousands};

/// How many of those that one stands for are named with it.
const NAMED: usize = 20;

/// Sums over some candidates.
#[derive(Clone, Default)]
struct Sums {
    population: u64,
    drawable: u64,
    chosen: u64,
    expected: f64,
    /// Least and greatest probability of the draw.
    chances: Option<(f64, f64)>,
    weight: f64,
    squares: f64,
    weights: Option<(f64, f64)>,
}

impl Sums {
    fn add(&mut self, standing: u64, fate: &Fate) {
        self.population += 1;
        if standing == 0 {
            return;
        }
        self.drawable += 1;
        self.chosen += u64::from(fate.chosen);
        let Some(chance) = fate.probability else { return };
        self.expected += chance;
        self.chances = Some(widen(self.chances, chance));
        if fate.chosen && chance > 0.0 {
            let weight = standing as f64 / chance;
            self.weight += weight;
            self.squares += weight * weight;
            self.weights = Some(widen(self.weights, weight));
        }
    }

    fn effective(&self) -> Option<f64> {
        (self.squares > 0.0).then(|| self.weight * self.weight / self.squares)
    }

    /// The one probability of all, or their mean.
    fn rate(&self) -> f64 {
        match self.chances {
            Some((least, greatest)) if least.total_cmp(&greatest).is_eq() => least,
            _ => self.expected / self.drawable.max(1) as f64,
        }
    }
}

fn widen(range: Option<(f64, f64)>, value: f64) -> (f64, f64) {
    range.map_or((value, value), |(least, greatest)| (least.min(value), greatest.max(value)))
}

/// Puts together what was chosen.
pub(super) fn selection(
    frame: &Frame,
    seed: u64,
    standing: &[u64],
    fates: &[Fate],
    keep: bool,
) -> Result<Selection, DatasetError> {
    let chosen = chosen(frame, seed, standing, fates);
    if chosen.is_empty() {
        let cause = format!("the plan chose none of {} candidates; raise `rate`, or give `n`", frame.items.len());
        return Err(DatasetError::NothingSelected { cause });
    }
    let mut whole = Sums::default();
    let mut strata = vec![Sums::default(); frame.strata.len()];
    let mut decisions: BTreeMap<String, u64> = BTreeMap::new();
    for (item, standing, fate) in rows(frame, standing, fates) {
        whole.add(standing, fate);
        if let Some(sums) = strata.get_mut(item.stratum) {
            sums.add(standing, fate);
        }
        *decisions.entry(fate.decision.as_str().to_owned()).or_default() += 1;
    }
    let known = frame.plan.diverse.is_none();
    let done: Vec<Stratum> = frame.strata.iter().zip(&strata).map(|(name, sums)| stratum(name, sums, known)).collect();
    let design = SampleDesign {
        method: frame.plan.method().to_owned(),
        probability_sample: known,
        seed,
        stratify_by: frame.plan.stratify_by.clone(),
        strata: done,
        filter: None,
        plan: serde_json::to_value(&frame.plan).ok(),
        rules: rules(frame, fates),
        clusters: clusters(frame, standing, fates),
        near_duplicates: frame.plan.near_duplicates.as_ref().map(|rule| MergedNear {
            threshold: rule.threshold,
            merged: frame.groups.iter().map(|group| group.len() as u64 - 1).sum(),
            groups: frame.groups.len() as u64,
            largest: frame.groups.iter().map(|group| group.len() as u64).max().unwrap_or(1),
        }),
        weights: summary(&whole, known),
        decisions,
        left_out: BTreeMap::new(),
        checkpoint: None,
        reopened: 0,
    };
    let warnings = warnings(frame, &design, &whole);
    let decided = if keep { decided(frame, seed, standing, fates) } else { Vec::new() };
    Ok(Selection { chosen, design, decided, warnings })
}

fn rows<'a>(
    frame: &'a Frame,
    standing: &'a [u64],
    fates: &'a [Fate],
) -> impl Iterator<Item = (&'a Item, u64, &'a Fate)> {
    frame.items.iter().zip(standing).zip(fates).map(|((item, standing), fate)| (item, *standing, fate))
}

fn chosen(frame: &Frame, seed: u64, standing: &[u64], fates: &[Fate]) -> BTreeMap<String, Chosen> {
    let mut chosen: BTreeMap<String, Chosen> = BTreeMap::new();
    for (item, standing, fate) in rows(frame, standing, fates).filter(|(_, _, fate)| fate.chosen) {
        let of = Chosen {
            stratum: frame.strata.get(item.stratum).cloned().unwrap_or_default(),
            probability: fate.probability.map(|chance| chance / standing.max(1) as f64),
            cluster: item.cluster.clone(),
            represents: standing,
            merged: Vec::new(),
            decision: fate.decision,
        };
        chosen.insert(item.id.clone(), of);
    }
    for group in &frame.groups {
        let id = |place: &usize| frame.items.get(*place).map(|item| &item.id);
        let Some(first) = frame.stands_for(group, seed) else { continue };
        if let Some(of) = id(&first).and_then(|id| chosen.get_mut(id)) {
            let others = group.iter().filter(|place| **place != first);
            of.merged = others.filter_map(id).take(NAMED).cloned().collect();
        }
    }
    chosen
}

fn stratum(name: &str, sums: &Sums, known: bool) -> Stratum {
    Stratum {
        name: name.to_owned(),
        population: sums.population,
        rate: if known { sums.rate() } else { sums.chosen as f64 / sums.drawable.max(1) as f64 },
        chosen: sums.chosen,
        expected: known.then_some(sums.expected),
        weight: known.then_some(sums.weight),
        effective: sums.effective(),
    }
}

fn summary(sums: &Sums, known: bool) -> WeightSummary {
    WeightSummary {
        population: sums.population,
        drawable: sums.drawable,
        chosen: sums.chosen,
        expected: known.then_some(sums.expected),
        weight: known.then_some(sums.weight),
        effective: sums.effective(),
        design_effect: sums.effective().map(|effective| sums.chosen as f64 / effective),
        least: sums.weights.map(|(least, _)| least),
        greatest: sums.weights.map(|(_, greatest)| greatest),
    }
}

fn rules(frame: &Frame, fates: &[Fate]) -> Vec<RuleCounts> {
    let counts = |(rule, boost): (usize, &super::boost::Boost)| {
        let held = || frame.items.iter().zip(fates).filter(|(item, _)| item.flags >> rule & 1 == 1);
        RuleCounts {
            rule: boost.when.clone(),
            rate: boost.rate,
            threshold: frame.thresholds.get(rule).copied().flatten(),
            population: held().count() as u64,
            chosen: held().filter(|(_, fate)| fate.chosen).count() as u64,
        }
    };
    frame.plan.boost.iter().enumerate().map(counts).collect()
}

fn clusters(frame: &Frame, standing: &[u64], fates: &[Fate]) -> Option<ClusterCounts> {
    let by = frame.plan.cluster_by.clone()?;
    let name = |item: &'_ Item| (item.cluster.is_some(), item.cluster.clone().unwrap_or_else(|| item.id.clone()));
    let alive = || rows(frame, standing, fates).filter(|(_, standing, _)| *standing > 0);
    let all: BTreeSet<_> = alive().map(|(item, _, _)| name(item)).collect();
    let chosen: BTreeSet<_> = alive().filter(|(_, _, fate)| fate.chosen).map(|(item, _, _)| name(item)).collect();
    Some(ClusterCounts { by, population: all.len() as u64, chosen: chosen.len() as u64, most: frame.plan.per_cluster })
}

fn decided(frame: &Frame, seed: u64, standing: &[u64], fates: &[Fate]) -> Vec<Decided> {
    let mut stands: BTreeMap<usize, usize> = BTreeMap::new();
    for group in &frame.groups {
        if let Some(first) = frame.stands_for(group, seed) {
            stands.extend(group.iter().filter(|place| **place != first).map(|place| (*place, first)));
        }
    }
    let row = |(place, (item, standing, fate)): (usize, (&Item, u64, &Fate))| Decided {
        id: item.id.clone(),
        stratum: frame.strata.get(item.stratum).cloned().unwrap_or_default(),
        chosen: fate.chosen,
        decision: fate.decision,
        probability: fate.probability.map(|chance| chance / standing.max(1) as f64),
        represents: standing,
        near_duplicate_of: stands.get(&place).and_then(|first| frame.items.get(*first)).map(|item| item.id.clone()),
        rules: (frame.plan.boost.iter().enumerate())
            .filter(|(rule, _)| item.flags >> rule & 1 == 1)
            .map(|(_, boost)| boost.when.clone())
            .collect(),
    };
    rows(frame, standing, fates).enumerate().map(row).collect()
}

/// What to say where more is asked for than there is.
fn too_many_asked(frame: &Frame, design: &SampleDesign) -> Option<String> {
    let asked = frame.plan.n?;
    let (there, units) = match &design.clusters {
        Some(clusters) => (clusters.population, "clusters"),
        None => (design.weights.drawable, "candidates"),
    };
    let without = if design.weights.population > design.weights.drawable { "without near-duplicates " } else { "" };
    (asked > there).then(|| {
        let (asked, there) = (thousands(asked), thousands(there));
        format!("{asked} were asked for and {without}there are {there} {units}: all are taken")
    })
}

fn warnings(frame: &Frame, design: &SampleDesign, whole: &Sums) -> Vec<String> {
    let mut warnings = Vec::new();
    let populations: BTreeMap<String, u64> =
        design.strata.iter().map(|stratum| (stratum.name.clone(), stratum.population)).collect();
    for name in frame.plan.unmet(&populations) {
        let hint = did_you_mean(&name, populations.keys().map(|full| full.rsplit('=').next().unwrap_or(full)));
        warnings.push(format!("no candidate is in stratum `{name}`{hint}"));
    }
    let empty: Vec<&str> = design.strata.iter().filter(|s| s.chosen == 0).map(|s| s.name.as_str()).collect();
    if !empty.is_empty() {
        let shown = one_line(&empty.join("`, `"), 200);
        warnings.push(format!(
            "nothing was chosen from {} strata (`{shown}`): the sample says nothing about them",
            empty.len()
        ));
    }
    warnings.extend(too_many_asked(frame, design));
    let without = design.decisions.get("no_chance").copied().unwrap_or(0);
    if without > 0 && empty.is_empty() {
        let without = thousands(without);
        warnings.push(format!("{without} candidates had no chance at all: the sample says nothing about them"));
    }
    for rule in design.rules.iter().filter(|rule| rule.population == 0) {
        warnings.push(format!("no candidate fits the rule `{}`", one_line(&rule.rule, 100)));
    }
    if frame.moved > 0 {
        warnings.push(format!(
            "{} traces are in another stratum than the rest of their example; the first by name was taken",
            thousands(frame.moved)
        ));
    }
    if !design.probability_sample {
        warnings.push(
            "this is not a probability sample: it shows the range of inputs, and no mean over it estimates the \
             population's"
                .to_owned(),
        );
    }
    if let (Some((least, greatest)), Some(effective)) = (whole.weights, whole.effective())
        && greatest > least * (1.0 + 1e-9)
    {
        if effective < 30.0 {
            warnings.push(format!("the weights leave an effective sample of {effective:.1} examples"));
        }
        if whole.chosen > 10 && greatest > 0.1 * whole.weight {
            warnings.push("one example carries more than 10 % of the weight".to_owned());
        }
    }
    warnings
}
