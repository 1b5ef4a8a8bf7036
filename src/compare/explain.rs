//! Which slices carry a change, and the sentence that says so.
//!
//! A slice stands apart when its change differs from that of all other examples: where everything got worse alike, no
//! slice is to blame. Slices are listed at a false discovery rate of 10 % and named at 5 %. The first named is the one that
//! explains most; the next is looked for among the examples that are left.

use super::{
    ExampleMeta, Explanation, Features, MetricComparison, Origin, Overlap, RunResults, SliceEffect,
    abreast::abreast,
    board::{Board, Scratch, Split},
    contrast::{self, LEVEL, Question},
    measure::Metric,
    pair::{self, Columns, Pairs, Unit},
    slices::adjusted,
    slicing::{self, LEAST, Slice},
    words::{self, Form},
};
use crate::model::{Change, GatePolicy, SliceRate};

/// False discovery rate of slices that are called regressed or improved in the list.
const LISTED_RATE: f64 = 0.10;
/// False discovery rate of slices that are named in the sentence.
const NAMED_RATE: f64 = 0.05;
/// One-sided error of "the slice itself moved".
const OWN_ALPHA: f64 = 0.05;
/// Most slices named.
const NAMED: usize = 3;
/// Most slices listed.
const LISTED: usize = 20;
/// Most candidates for a name that are looked at.
const LOOKED_AT: usize = 50;
/// What a second condition must add to the squared deviation it explains, so that the simpler description wins ties.
const PRICE: f64 = 4.0;

/// Explains every graded metric of a comparison. `metas`, `policy` as they were for the comparison, `found` what it found.
///
/// Each explanation is exploratory. Slices by what the traces or the other graders say are descriptions of what
/// happened, not causes; see [`Origin`].
pub fn explain(
    baseline: &RunResults,
    candidate: &RunResults,
    metas: &[ExampleMeta],
    policy: &GatePolicy,
    found: &[MetricComparison],
    features: &Features,
) -> Vec<Explanation> {
    explain_units(&pair::roster(Some(baseline), candidate, metas, policy), candidate, policy, found, features)
}

/// The same over units that are made already.
pub(super) fn explain_units(
    units: &[Unit<'_>],
    candidate: &RunResults,
    policy: &GatePolicy,
    found: &[MetricComparison],
    features: &Features,
) -> Vec<Explanation> {
    let graders = candidate.header.graders.iter();
    let metrics: Vec<Metric> = graders
        .map(|grader| Metric::of_grader(grader, policy))
        .filter(|metric| found.iter().any(|found| found.name == metric.name))
        .collect();
    let columns = Columns::read_all(units, &metrics);
    let slices = slicing::all(units, features);
    let subjects = metrics.iter().zip(&columns).filter_map(|(metric, columns)| {
        let found = found.iter().find(|found| found.name == metric.name)?;
        let question = Question {
            sign: metric.sign(),
            bounds: metric.bounds(),
            margin: found.margin,
            alpha: policy.alpha,
            anytime: None,
        };
        let (rate, change) = (policy.slice_rate, found.change);
        Some(Subject { units, metric, columns, slices: &slices, question, rate, change })
    });
    abreast(&subjects.collect::<Vec<_>>(), Subject::explain).into_iter().flatten().collect()
}

/// One metric with all that its explanation needs.
struct Subject<'a> {
    units: &'a [Unit<'a>],
    metric: &'a Metric,
    columns: &'a Columns,
    slices: &'a [Slice],
    question: Question,
    rate: SliceRate,
    change: Change,
}

/// A slice that was named, with what was known when it was.
struct Named {
    place: usize,
    split: Split,
    q: f64,
    change: Change,
    members: Vec<u32>,
}

impl Subject<'_> {
    fn explain(&self) -> Option<Explanation> {
        let mut out = vec![false; self.units.len()];
        let board = Board::of(self.units, self.columns, self.question.sign, &out);
        if board.count < 2 * LEAST {
            return None;
        }
        let splits = self.splits(&board);
        let tested = splits.iter().flatten().count() as u64;
        let mut named: Vec<Named> = Vec::new();
        let (mut rest, mut rest_splits) = (None, None);
        while named.len() < NAMED {
            let (on, of) = (rest.as_ref().unwrap_or(&board), rest_splits.as_ref().unwrap_or(&splits));
            let Some(next) = self.choose(on, of, &out) else { break };
            for member in &next.members {
                if let Some(left_out) = out.get_mut(*member as usize) {
                    *left_out = true;
                }
            }
            named.push(next);
            let smaller = Board::of(self.units, self.columns, self.question.sign, &out);
            rest_splits = Some(self.splits(&smaller));
            rest = Some(smaller);
        }
        let prior = Prior::of(&board, splits.iter().flatten());
        let told: Vec<SliceEffect> = named
            .iter()
            .filter_map(|one| {
                let slice = self.slices.get(one.place)?;
                let mut effect = self.effect(slice, &one.members, &one.split, &board, &prior);
                (effect.q, effect.change) = (Some(one.q), one.change);
                Some(effect)
            })
            .collect();
        Some(Explanation {
            metric: self.metric.name.clone(),
            direction: self.metric.direction,
            change: self.change,
            sentence: self.sentence(&told, tested),
            slices: self.list(&board, &splits, &prior, &named),
            named: told,
            tested,
            rate: self.rate,
            contrasting: Vec::new(),
        })
    }

    fn splits(&self, board: &Board) -> Vec<Option<Split>> {
        let mut scratch = Scratch::default();
        self.slices
            .iter()
            .map(|slice| {
                (!slice.is_of(&self.metric.name)).then(|| board.split(&slice.members, LEAST, &mut scratch)).flatten()
            })
            .collect()
    }

    /// The slice that explains most among those that credibly stand apart and moved themselves.
    fn choose(&self, board: &Board, splits: &[Option<Split>], out: &[bool]) -> Option<Named> {
        let family: Vec<Option<f64>> = splits.iter().map(|split| split.map(|split| split.p)).collect();
        let adjusted = adjusted(self.rate, &family);
        let mut candidates: Vec<(f64, usize, Split, f64)> = splits
            .iter()
            .zip(adjusted)
            .enumerate()
            .filter_map(|(place, (split, q))| {
                let (split, q) = (split.as_ref()?, q.filter(|q| *q <= NAMED_RATE)?);
                let apart = split.inside * (split.inside - split.outside) > 0.0;
                let slice = self.slices.get(place)?;
                let price = PRICE * (slice.conditions.len() - 1) as f64;
                apart.then(|| (trust(slice.origin()) * (split.gain - price), place, *split, q))
            })
            .collect();
        candidates.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        candidates.into_iter().take(LOOKED_AT).find_map(|(_, place, split, q)| {
            let slice = self.slices.get(place)?;
            let stays = |member: &&u32| {
                !out.get(**member as usize).copied().unwrap_or(false) && board.change(**member).is_some()
            };
            let members: Vec<u32> = slice.members.iter().filter(stays).copied().collect();
            let found = self.contrast(&members);
            let (p, change) = match split.inside < 0.0 {
                true => (found.p_worse, Change::Regressed),
                false => (found.p_better, Change::Improved),
            };
            p.filter(|p| *p <= OWN_ALPHA).map(|_| Named { place, split, q, change, members })
        })
    }

    fn contrast(&self, members: &[u32]) -> contrast::Contrast {
        contrast::paired(&self.pairs(members), &self.question)
    }

    fn pairs(&self, members: &[u32]) -> Pairs {
        Pairs::of(self.units, self.columns, members.iter().map(|member| *member as usize))
    }

    fn effect(&self, slice: &Slice, members: &[u32], split: &Split, board: &Board, prior: &Prior) -> SliceEffect {
        self.effect_of(slice, &self.pairs(members), split, board, prior).0
    }

    /// The effect with the contrast that it shows.
    fn effect_of(
        &self,
        slice: &Slice,
        pairs: &Pairs,
        split: &Split,
        board: &Board,
        prior: &Prior,
    ) -> (SliceEffect, contrast::Contrast) {
        let sign = self.question.sign;
        let found = contrast::paired(pairs, &self.question);
        let words = slice.words();
        let also: Vec<String> = slice.also.iter().map(slicing::in_words).filter(|other| *other != words).collect();
        let effect = SliceEffect {
            conditions: slice.conditions.clone(),
            words,
            also,
            examples: split.n as u64,
            share: split.n as f64 / board.count.max(1) as f64,
            baseline: contrast::arm(&pairs.baseline, self.question.bounds),
            candidate: contrast::arm(&pairs.candidate, self.question.bounds),
            inside: found.estimate.clone(),
            outside: split.outside_estimate(sign, LEVEL),
            shrunk: Some(sign * prior.shrunk(split)),
            share_of_change: board.is_clear().then(|| split.sum / board.total()),
            p: Some(split.p),
            q: None,
            change: Change::Inconclusive,
            overlap: None,
        };
        (effect, found)
    }

    /// The slices with the most evidence, over all examples.
    fn list(&self, board: &Board, splits: &[Option<Split>], prior: &Prior, named: &[Named]) -> Vec<SliceEffect> {
        let family: Vec<Option<f64>> = splits.iter().map(|split| split.map(|split| split.p)).collect();
        let adjusted = adjusted(self.rate, &family);
        let mut order: Vec<(usize, Split, f64)> = splits
            .iter()
            .zip(adjusted)
            .enumerate()
            .filter_map(|(place, (split, q))| Some((place, (*split)?, q?)))
            .collect();
        order.sort_by(|a, b| a.1.p.total_cmp(&b.1.p).then(b.1.gain.total_cmp(&a.1.gain)).then(a.0.cmp(&b.0)));
        let listed = order.into_iter().take(LISTED).filter_map(|(place, split, q)| {
            let slice = self.slices.get(place)?;
            let (mut effect, found) = self.effect_of(slice, &self.pairs(&slice.members), &split, board, prior);
            effect.q = Some(q);
            let moved = |p: Option<f64>| p.is_some_and(|p| p <= OWN_ALPHA);
            effect.change = match split.inside - split.outside {
                apart if q <= LISTED_RATE && apart < 0.0 && moved(found.p_worse) => Change::Regressed,
                apart if q <= LISTED_RATE && apart > 0.0 && moved(found.p_better) => Change::Improved,
                _ => Change::Inconclusive,
            };
            effect.overlap = self.overlap(place, slice, named);
            Some(effect)
        });
        listed.collect()
    }

    /// The named slice that shares most with this one.
    fn overlap(&self, place: usize, slice: &Slice, named: &[Named]) -> Option<Overlap> {
        let shared = |one: &Named| {
            let size = slice.members.iter().filter(|member| one.members.binary_search(member).is_ok()).count();
            size as f64 / slice.members.len().max(1) as f64
        };
        let others = named.iter().filter(|one| one.place != place);
        let (share, most) = others.map(|one| (shared(one), one)).max_by(|left, right| left.0.total_cmp(&right.0))?;
        let with = self.slices.get(most.place)?.words();
        let left: Vec<u32> =
            slice.members.iter().filter(|member| most.members.binary_search(member).is_err()).copied().collect();
        Some(Overlap { with, share, without: self.contrast(&left).estimate })
    }

    fn sentence(&self, named: &[SliceEffect], tested: u64) -> String {
        let (name, form) = (words::title(&self.metric.name), Form::of(self.metric));
        let parts: Vec<String> = named.iter().map(|effect| self.told(effect, form)).collect();
        match (named.first(), self.change) {
            (Some(first), Change::Regressed | Change::Improved) if first.change == self.change => {
                let noun = if self.change == Change::Regressed { "regression" } else { "improvement" };
                format!("{name}: the {noun} is in examples where {}.", parts.join("; next, where "))
            }
            (Some(first), _) => {
                let verb = if first.change == Change::Regressed { "got worse" } else { "got better" };
                let head = if parts.len() > 1 { "moved" } else { verb };
                format!("{name} {head} in examples where {}.", parts.join("; next, where "))
            }
            (None, _) if tested == 0 => format!("{name}: no slice is large enough to be tested."),
            (None, Change::Regressed | Change::Improved) => {
                format!(
                    "{name}: no slice stands apart from the rest; the change is spread over the examples ({}).",
                    tests(tested)
                )
            }
            (None, _) => format!("{name}: no slice moved apart from the rest ({}).", tests(tested)),
        }
    }

    /// `intent = refund: from 91.0 % to 52.0 % (−39.0 points; 95 % interval −46.1 to −31.9; 200 examples), against −0.2
    /// points in the other 1800`.
    fn told(&self, effect: &SliceEffect, form: Form) -> String {
        let mut text = effect.words.clone();
        if effect.conditions.iter().any(|condition| condition.origin == Origin::Trace) {
            text.push_str(" in either run");
        }
        if let (Some(before), Some(after)) = (effect.baseline.estimate, effect.candidate.estimate) {
            text.push_str(&format!(", from {} to {}", form.level(before), form.level(after)));
        }
        let mut facts: Vec<String> = effect.inside.estimate.map(|change| form.shift(change)).into_iter().collect();
        facts.extend(effect.inside.interval.as_ref().map(|interval| form.span(interval)));
        facts.push(words::count(effect.examples, "example"));
        text.push_str(&format!(" ({})", facts.join("; ")));
        if let Some(outside) = effect.outside.estimate {
            text.push_str(&format!(", against {} in the other {}", form.shift(outside), effect.outside.n));
        }
        if let Some(share) = effect.share_of_change.filter(|share| (0.0..=1.0).contains(share)) {
            text.push_str(&format!(", {} of the whole change", words::percent((100.0 * share).round() / 100.0)));
        }
        text
    }
}

fn tests(tested: u64) -> String {
    format!("{} tested", words::count(tested, "slice"))
}

/// How much of what a slice explains counts when one is chosen: what is known before a run is a better name for a cause
/// than what happened in it, and the findings of other graders are often the same finding again.
fn trust(origin: Origin) -> f64 {
    match origin {
        Origin::Example => 1.0,
        Origin::Trace => 0.7,
        Origin::Outcome => 0.25,
    }
}

/// How far changes of slices differ in truth, by moments (DerSimonian and Laird 1986); overlap between slices makes it a
/// rough guide, which is all that shrinkage needs.
struct Prior {
    mean: f64,
    variance: f64,
}

impl Prior {
    fn of<'a>(board: &Board, splits: impl Iterator<Item = &'a Split>) -> Self {
        let mean = board.mean().unwrap_or(0.0);
        let (mut weight, mut squares, mut excess, mut count) = (0.0, 0.0, 0.0, 0.0);
        for split in splits.filter(|split| split.inside_variance > 0.0) {
            let w = 1.0 / split.inside_variance;
            weight += w;
            squares += w * w;
            excess += w * (split.inside - mean).powi(2);
            count += 1.0;
        }
        let scale: f64 = weight - squares / weight;
        let variance = if count > 1.0 && scale > 0.0 { ((excess - (count - 1.0)) / scale).max(0.0) } else { 0.0 };
        Self { mean, variance }
    }

    /// The change inside a slice, drawn towards the mean.
    fn shrunk(&self, split: &Split) -> f64 {
        let all = self.variance + split.inside_variance;
        let own = if all > 0.0 { self.variance / all } else { 0.0 };
        self.mean + own * (split.inside - self.mean)
    }
}
