//! How the judges of a run worked: agreement of panels, both orders of pairs, what cascades do, probabilities behind
//! scores, draws that differ, material that speaks to its judge.
//!
//! About the instrument, not the target. Made of what stands in the scores' details; the sentences are made here, with the
//! numbers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunResults;
use super::few::Few;
use super::judging_words::sentences;
use crate::model::{
    Asked, Cascaded, ExampleId, GraderInfo, GraderKind, Judged, Masses, Orders, Scale, Score, ScoreValue, Scored, Vote,
};
use crate::stats::{
    BothOrders, Estimate, Metric as Distance, Pairwise, Preferred, Weighting, cohen_kappa, krippendorff_alpha,
    mean_cr2, pairwise, percent,
};

const LEVEL: f64 = 0.95;

/// Fewest audited cells for which the effect of a cascade is told.
pub(super) const FEWEST_AUDITS: u64 = 5;

/// How the judge behind one metric worked in one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgeFacts {
    /// Metric.
    pub metric: String,
    /// Cells with a score.
    pub scored: u64,
    /// Of pairs of draws on one trial, how many differ, and how many there are; absent with one draw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flips: Option<(u64, u64)>,
    /// Probabilities behind expected scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masses: Option<MassFacts>,
    /// Both orders of pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<OrderFacts>,
    /// Votes of a panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panel: Option<PanelFacts>,
    /// A cascade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<CascadeFacts>,
    /// Cells whose material addresses a judge, as found by patterns or said by the judge.
    pub addressed: u64,
    /// Cells judged on material of which something was left out.
    pub shortened: u64,
    /// Cells judged on summaries by a model.
    pub on_summaries: u64,
    /// All of it in words, a sentence each.
    pub sentences: Vec<String>,
}

/// Probabilities behind expected scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MassFacts {
    /// Cells with probabilities.
    pub cells: u64,
    /// Mean share of the probability that lay on scores; absent without any.
    pub mean: Option<f64>,
    /// The least such share.
    pub least: Option<f64>,
    /// Cells whose written score stands in, because probabilities were missing or too low.
    pub votes_instead: u64,
}

/// Both orders of pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderFacts {
    /// Pairs with a verdict in both orders.
    pub both: u64,
    /// Pairs with a verdict in one order only.
    pub one: u64,
    /// Share of pairs with both verdicts on which they agree.
    pub consistency: Option<f64>,
    /// Of verdicts other than a tie, the share that chose what stood first; one half is no bias.
    pub first_pick: Option<f64>,
    /// Exact two-sided p that the judge has no preference for a place.
    pub position_bias_p: Option<f64>,
    /// Whether the judge is steady enough under a swap to decide anything.
    pub steady: bool,
    /// Mean of the verdicts of both orders: how often the first piece is the better one, ties counting half.
    pub win_rate: Estimate,
}

/// One member of a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberFacts {
    /// Who.
    pub member: String,
    /// Cells with its vote.
    pub votes: u64,
    /// Cells in which it failed and has no vote.
    pub failed: u64,
    /// Mean of its votes as numbers; absent where they have none.
    pub mean: Option<f64>,
    /// Of cells with a score, the share in which its vote is that score.
    pub with_panel: Option<f64>,
}

/// Two members of a panel on the cells in which both have a vote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberPair {
    /// One.
    pub one: String,
    /// The other.
    pub other: String,
    /// Cells.
    pub cells: u64,
    /// Share on which they agree.
    pub agreement: Option<f64>,
    /// Cohen's kappa; absent where it is not defined.
    pub kappa: Option<f64>,
}

/// Votes of a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PanelFacts {
    /// Cells with two votes or more.
    pub cells: u64,
    /// Of those, cells whose votes differ.
    pub split: u64,
    /// Krippendorff's alpha of the votes; absent where it is not defined.
    pub alpha: Option<f64>,
    /// Of pairs of votes on one cell, the share that differ: the chance that another member says something else.
    pub flip_rate: Option<f64>,
    /// Members.
    pub members: Vec<MemberFacts>,
    /// Each two of them.
    pub pairs: Vec<MemberPair>,
}

/// What a cascade did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CascadeFacts {
    /// Cells to which it applied.
    pub cells: u64,
    /// Cells in which the dear judge decided, because the cheap one was not sure.
    pub unsure: u64,
    /// The same because the cheap one failed.
    pub failed: u64,
    /// Sure cells that the dear judge saw all the same, and answered.
    pub audited: u64,
    /// Audited cells on which the two judges differ.
    pub differing: u64,
    /// Probability with which a sure cell is audited.
    pub audit: f64,
    /// How far the metric lies above what the dear judge alone would have given: share of sure cells times the mean of
    /// cheap minus dear over audited ones. Absent where values are missing or audits too few.
    pub effect: Option<Estimate>,
}

/// One cell: with a score, or with what was found before there was none.
struct Cell<'a> {
    example: &'a ExampleId,
    score: Option<&'a Score>,
    judged: Judged,
}

/// How the judges of a run worked; nothing of those of which there is nothing to tell.
pub fn judge_facts(results: &RunResults) -> Vec<JudgeFacts> {
    let judges = results.header.graders.iter().filter(|grader| grader.kind == GraderKind::Judge);
    judges.map(|grader| of_grader(results, grader)).filter(|facts| !facts.sentences.is_empty()).collect()
}

fn of_grader(results: &RunResults, grader: &GraderInfo) -> JudgeFacts {
    let cells = cells(results, &grader.name);
    let has = |cell: &Cell<'_>, key: &str| cell.score.is_some_and(|score| score.details.get(key).is_some());
    let marked = |key: &str| cells.iter().filter(|cell| has(cell, key)).count() as u64;
    let addressed = |cell: &&Cell<'_>| ["addresses_judge", "injection_attempt"].iter().any(|key| has(cell, key));
    let mut facts = JudgeFacts {
        metric: grader.name.clone(),
        scored: cells.iter().filter(|cell| cell.score.is_some()).count() as u64,
        flips: (grader.draws > 1).then(|| flips(results, &grader.name)),
        masses: masses(&cells),
        orders: orders(&cells, &grader.scale),
        panel: panel(&cells),
        cascade: cascade(&cells),
        addressed: cells.iter().filter(addressed).count() as u64,
        shortened: marked("input_truncated"),
        on_summaries: cells.iter().filter(|cell| cell.judged.summary_based).count() as u64,
        sentences: Vec::new(),
    };
    facts.sentences = sentences(&facts);
    facts
}

fn cells<'a>(results: &'a RunResults, grader: &str) -> Vec<Cell<'a>> {
    let mut cells = Vec::new();
    for (example, result) in &results.examples {
        for trial in result.trials.values() {
            for scored in trial.scores.get(grader).into_iter().flat_map(Few::values) {
                let judged = scored.as_ref().map_or_else(Judged::of_unscored, Judged::of);
                cells.push(Cell { example, score: scored.as_ref().ok(), judged: judged.unwrap_or_default() });
            }
        }
    }
    cells
}

/// Pairs of draws of one trial that differ, and all pairs.
fn flips(results: &RunResults, grader: &str) -> (u64, u64) {
    let trials = results.examples.values().flat_map(|example| example.trials.values());
    let mut counts = (0, 0);
    for draws in trials.filter_map(|trial| trial.scores.get(grader)) {
        let values: Vec<&ScoreValue> = draws.values().filter_map(value_of).collect();
        let (differing, pairs) = differing(&values);
        counts = (counts.0 + differing, counts.1 + pairs);
    }
    counts
}

fn value_of(scored: &Scored) -> Option<&ScoreValue> {
    scored.as_ref().ok().map(|score| &score.value)
}

fn differing(values: &[&ScoreValue]) -> (u64, u64) {
    let mut counts = (0, 0);
    for (place, one) in values.iter().enumerate() {
        for other in values.iter().skip(place + 1) {
            counts = (counts.0 + u64::from(one != other), counts.1 + 1);
        }
    }
    counts
}

fn masses(cells: &[Cell<'_>]) -> Option<MassFacts> {
    let all: Vec<&Masses> = cells.iter().filter_map(|cell| cell.judged.masses.as_ref()).collect();
    let told: Vec<f64> = all.iter().filter_map(|masses| Some(masses.mass?.get())).collect();
    (!all.is_empty()).then(|| MassFacts {
        cells: told.len() as u64,
        mean: (!told.is_empty()).then(|| told.iter().sum::<f64>() / told.len() as f64),
        least: told.iter().copied().reduce(f64::min),
        votes_instead: all.iter().filter(|masses| masses.vote_instead).count() as u64,
    })
}

fn orders(cells: &[Cell<'_>], scale: &Scale) -> Option<OrderFacts> {
    let middle = scale.bounds().map(|(least, most)| f64::midpoint(least, most))?;
    let preferred = |value: &Option<ScoreValue>| {
        let number = value.as_ref()?.number()?;
        Some(if number > middle {
            Preferred::Candidate
        } else if number < middle {
            Preferred::Baseline
        } else {
            Preferred::Tie
        })
    };
    // The first piece stands for the candidate: in the declared order it is shown first.
    let both = |orders: &Orders| BothOrders {
        candidate_first: preferred(&orders.declared),
        baseline_first: preferred(&orders.swapped),
    };
    let asked = cells.iter().filter_map(|cell| Some((cell.example, cell.judged.orders.as_ref()?)));
    let (examples, verdicts): (Vec<&ExampleId>, Vec<BothOrders>) =
        asked.map(|(example, orders)| (example, both(orders))).unzip();
    if verdicts.is_empty() {
        return None;
    }
    let found: Pairwise = pairwise(&verdicts, &numbered(&examples), LEVEL);
    let complete = verdicts.iter().filter(|pair| pair.baseline_first.is_some() && pair.candidate_first.is_some());
    let complete = complete.count() as u64;
    Some(OrderFacts {
        both: complete,
        one: verdicts.len() as u64 - complete,
        consistency: found.consistency,
        first_pick: found.first_pick,
        position_bias_p: found.position_bias_p,
        steady: found.may_gate(),
        win_rate: found.win_rate,
    })
}

/// Examples as numbers of clusters.
fn numbered<'a>(examples: &[&'a ExampleId]) -> Vec<usize> {
    let mut known: BTreeMap<&'a ExampleId, usize> = BTreeMap::new();
    let number = |example: &&'a ExampleId| {
        let next = known.len();
        *known.entry(example).or_insert(next)
    };
    examples.iter().map(number).collect()
}

/// The panel's score of a cell, where there is one, and the votes.
type Voted<'a> = (Option<&'a ScoreValue>, &'a [Vote]);

fn panel(cells: &[Cell<'_>]) -> Option<PanelFacts> {
    // Votes that tie or fall short of the quorum count, too: without them members would look as if they agreed.
    let voted: Vec<Voted<'_>> = cells
        .iter()
        .filter(|cell| !cell.judged.votes.is_empty())
        .map(|cell| (cell.score.map(|score| &score.value), cell.judged.votes.as_slice()))
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for vote in voted.iter().flat_map(|(_, votes)| *votes) {
        if !names.contains(&vote.member.as_str()) {
            names.push(&vote.member);
        }
    }
    if names.is_empty() {
        return None;
    }
    let menu = menu(&voted);
    let place = |value: &ScoreValue| menu.iter().position(|(known, _)| *known == value.to_string());
    let items: Vec<Vec<usize>> = voted
        .iter()
        .map(|(_, votes)| votes.iter().filter_map(|vote| place(vote.value.as_ref()?)).collect())
        .filter(|item: &Vec<usize>| item.len() > 1)
        .collect();
    let numbers =
        voted.iter().flat_map(|(_, votes)| *votes).any(|vote| matches!(vote.value, Some(ScoreValue::Number { .. })));
    let values: Vec<f64> = menu.iter().enumerate().map(|(place, (_, value))| value.unwrap_or(place as f64)).collect();
    let distance = if numbers { Distance::Interval } else { Distance::Nominal };
    let mut flipped = (0, 0);
    for (_, votes) in &voted {
        let given: Vec<&ScoreValue> = votes.iter().filter_map(|vote| vote.value.as_ref()).collect();
        let (differing, pairs) = differing(&given);
        flipped = (flipped.0 + differing, flipped.1 + pairs);
    }
    Some(PanelFacts {
        cells: items.len() as u64,
        split: items.iter().filter(|item| item.windows(2).any(|two| two.first() != two.last())).count() as u64,
        alpha: krippendorff_alpha(&items, &values, distance),
        flip_rate: (flipped.1 > 0).then(|| flipped.0 as f64 / flipped.1 as f64),
        members: names.iter().map(|name| member(name, &voted)).collect(),
        pairs: pairs_of(&names, &voted, &menu),
    })
}

/// All scores that were voted for, ascending by value, then by name.
fn menu(voted: &[Voted<'_>]) -> Vec<(String, Option<f64>)> {
    let mut menu: Vec<(String, Option<f64>)> = Vec::new();
    for value in voted.iter().flat_map(|(_, votes)| *votes).filter_map(|vote| vote.value.as_ref()) {
        let entry = (value.to_string(), value.number());
        if !menu.contains(&entry) {
            menu.push(entry);
        }
    }
    let key = |entry: &(String, Option<f64>)| entry.1.unwrap_or(f64::NEG_INFINITY);
    menu.sort_by(|one, other| key(one).total_cmp(&key(other)).then_with(|| one.0.cmp(&other.0)));
    menu
}

fn vote_of<'a>(name: &str, votes: &'a [Vote]) -> Option<&'a Vote> {
    votes.iter().find(|vote| vote.member == name)
}

fn member(name: &str, voted: &[Voted<'_>]) -> MemberFacts {
    let own: Vec<(Option<&ScoreValue>, &Vote)> =
        voted.iter().filter_map(|(score, votes)| Some((*score, vote_of(name, votes)?))).collect();
    let given: Vec<&ScoreValue> = own.iter().filter_map(|(_, vote)| vote.value.as_ref()).collect();
    let numbers: Option<Vec<f64>> = given.iter().map(|value| value.number()).collect();
    let numbers = numbers.unwrap_or_default();
    let decided: Vec<bool> = own.iter().filter_map(|(score, vote)| Some((*score)? == vote.value.as_ref()?)).collect();
    let agreeing = decided.iter().filter(|agrees| **agrees).count();
    MemberFacts {
        member: name.to_owned(),
        votes: given.len() as u64,
        failed: (own.len() - given.len()) as u64,
        mean: (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64),
        with_panel: (!decided.is_empty()).then(|| agreeing as f64 / decided.len() as f64),
    }
}

fn pairs_of(names: &[&str], voted: &[Voted<'_>], menu: &[(String, Option<f64>)]) -> Vec<MemberPair> {
    let place = |vote: &Vote| {
        let value = vote.value.as_ref()?.to_string();
        menu.iter().position(|(known, _)| *known == value)
    };
    let mut pairs = Vec::new();
    for (index, one) in names.iter().enumerate() {
        for other in names.iter().skip(index + 1) {
            let both: Vec<(usize, usize)> = voted
                .iter()
                .filter_map(|(_, votes)| Some((place(vote_of(one, votes)?)?, place(vote_of(other, votes)?)?)))
                .collect();
            pairs.push(MemberPair {
                one: (*one).to_owned(),
                other: (*other).to_owned(),
                cells: both.len() as u64,
                agreement: percent(&both),
                kappa: cohen_kappa(&both, menu.len(), Weighting::None),
            });
        }
    }
    pairs
}

fn cascade(cells: &[Cell<'_>]) -> Option<CascadeFacts> {
    let told: Vec<(&ExampleId, &Cascaded)> =
        cells.iter().filter_map(|cell| Some((cell.example, cell.judged.cascade.as_ref()?))).collect();
    let audit = told.first()?.1.audit.get();
    let count = |why: Asked| told.iter().filter(|(_, cascade)| cascade.why == why).count() as u64;
    let audited: Vec<(&ExampleId, &ScoreValue, &ScoreValue)> = told
        .iter()
        .filter(|(_, cascade)| cascade.why == Asked::Audit)
        .filter_map(|(example, cascade)| Some((*example, cascade.cheap.as_ref()?, cascade.dear.as_ref()?)))
        .collect();
    let sure = count(Asked::Sure) + count(Asked::Audit);
    let cells = told.len() as u64;
    let share = if cells > 0 { sure as f64 / cells as f64 } else { 0.0 };
    Some(CascadeFacts {
        cells,
        unsure: count(Asked::Unsure),
        failed: count(Asked::Failed),
        audited: audited.len() as u64,
        differing: audited.iter().filter(|(_, cheap, dear)| cheap != dear).count() as u64,
        audit,
        effect: effect(&audited, share),
    })
}

/// The difference estimator over audited cells, times the share of cells it speaks for. Audits are drawn with one
/// probability, so that their plain mean is that of all sure cells.
fn effect(audited: &[(&ExampleId, &ScoreValue, &ScoreValue)], share: f64) -> Option<Estimate> {
    if (audited.len() as u64) < FEWEST_AUDITS {
        return None;
    }
    let differences: Vec<f64> =
        audited.iter().map(|(_, cheap, dear)| Some(cheap.number()? - dear.number()?)).collect::<Option<_>>()?;
    let examples: Vec<&ExampleId> = audited.iter().map(|(example, ..)| *example).collect();
    let mut effect = mean_cr2(&differences, &numbered(&examples), None, LEVEL);
    effect.estimate = effect.estimate.map(|mean| mean * share);
    effect.se = effect.se.map(|se| se * share);
    if let Some(interval) = &mut effect.interval {
        interval.lo *= share;
        interval.hi *= share;
    }
    effect.method = format!("audit_difference_{}", effect.method);
    Some(effect)
}

#[cfg(test)]
#[path = "judging_tests.rs"]
mod tests;
