//! More than two runs: all pairs with corrected p-values, ranks with intervals, and what differs from the first.
//!
//! Each pair of runs is compared over the examples both have, as two runs alone would be. The pairs of one metric are one
//! family.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Comparability, ExampleMeta, Frontier, RunCard, RunResults,
    change::{self, Assessed, Setting},
    comparability, contrast,
    frontier::frontier_of,
    measure::{MEASURES, Metric},
    pair::{self, Column, Columns, Sample, Taking},
    words::{self, Form},
};
use crate::model::{Change, Direction, GatePolicy, MetricRole, Scale};
use crate::stats::{Estimate, benjamini_hochberg, holm};

/// Family-wise error of a pair called different, and of ranks that hold all at once.
const ALPHA: f64 = 0.05;

/// Several runs, compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Matrix {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// The runs, in the order they were named. Places elsewhere count from 0 in this list.
    pub runs: Vec<RunCard>,
    /// A short name of each, different from all others.
    pub names: Vec<String>,
    /// Each later run against the first, in order.
    pub differences: Vec<Comparability>,
    /// Whether every run can be compared with the first.
    pub comparable: bool,
    /// The finding in one sentence.
    pub headline: String,
    /// Metrics of graders that every run has, in the suite's order.
    pub metrics: Vec<MatrixMetric>,
    /// Latency, cost, tokens.
    pub measures: Vec<MatrixMetric>,
}

/// One metric over all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MatrixMetric {
    /// Name.
    pub name: String,
    /// Gate or inform.
    pub role: MetricRole,
    /// Which way is better.
    pub direction: Direction,
    /// Values it can have.
    pub scale: Scale,
    /// Runs from the best to the worst.
    pub ranking: Vec<Ranked>,
    /// All pairs, in the order of the runs.
    pub pairs: Vec<PairCompared>,
    /// The ranking in one sentence.
    pub sentence: String,
    /// Why its judge cannot be believed: no pair then differs, and no run is beaten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distrust: Option<String>,
    /// Why its judge may not be better than chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

/// A run among the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ranked {
    /// Place of the run in the list.
    pub run: usize,
    /// Its mean over the examples it has a value for.
    pub estimate: Estimate,
    /// Best and worst rank that go with the intervals of its pairs: 1 more than the runs credibly better, and the count
    /// of runs less those credibly worse.
    pub rank: (usize, usize),
    /// The same after Holm's correction over all pairs: all ranks hold at once.
    pub rank_all_at_once: (usize, usize),
    /// Runs that are credibly better (after Holm) on this metric and not dearer: it is off the frontier. Only for metrics
    /// of graders, where costs are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beaten_by: Vec<usize>,
}

/// Two runs on one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairCompared {
    /// Place of the first.
    pub baseline: usize,
    /// Place of the second.
    pub candidate: usize,
    /// Second minus first over the examples both have.
    pub difference: Estimate,
    /// The ratio that decides for cost, latency and tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Estimate>,
    /// The finding against the margin; a change that does not survive Holm over all pairs is inconclusive.
    pub change: Change,
    /// Two-sided p of no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// The same after Holm over all pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_holm: Option<f64>,
    /// The same after Benjamini-Hochberg over all pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<f64>,
    /// Pairs that changed sides: better, worse; for yes-or-no metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<(u64, u64)>,
    /// Exact McNemar p of a yes-or-no metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact_p: Option<f64>,
    /// What quality costs in both, for metrics of graders: one entry for each thing that is spent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frontier: Vec<Frontier>,
}

/// Compares all pairs of runs. `metas`, `policy`, `allow` as for two.
pub fn compare_many(runs: &[RunResults], metas: &[ExampleMeta], policy: &GatePolicy, allow: &[String]) -> Matrix {
    let differences: Vec<Comparability> = match runs.split_first() {
        Some((first, rest)) => rest.iter().map(|run| comparability(first, run, policy, allow)).collect(),
        None => Vec::new(),
    };
    let (metrics, count) = shared_metrics(runs, policy);
    let mut tables: Vec<MatrixMetric> = metrics.iter().map(|metric| empty(metric, runs, metas, policy)).collect();
    for (left, baseline) in runs.iter().enumerate() {
        for (right, candidate) in runs.iter().enumerate().skip(left + 1) {
            let units = pair::roster(Some(baseline), candidate, metas, policy);
            let columns = Columns::read_all(&units, &metrics);
            let setting = Setting::of(&units, (baseline, candidate), policy, None);
            let assessed: Vec<Assessed> = metrics
                .iter()
                .cloned()
                .zip(columns)
                .map(|(metric, columns)| change::assess(metric, columns, &setting))
                .collect();
            let found: Vec<_> = assessed.iter().map(|metric| metric.comparison.clone()).collect();
            let mut frontiers = frontier_of(&units, candidate, policy, &found);
            for (table, comparison) in tables.iter_mut().zip(found) {
                let (mine, rest) = frontiers.into_iter().partition(|one| one.metric == table.name);
                frontiers = rest;
                table.pairs.push(compared((left, right), comparison, mine));
            }
        }
    }
    tables.iter_mut().for_each(|table| finish(table, runs.len()));
    let names = names(runs);
    for (table, metric) in tables.iter_mut().zip(&metrics) {
        table.sentence = sentence(table, metric, &names);
    }
    let comparable = differences.iter().all(|one| one.comparable);
    let measures = tables.split_off(count).into_iter().filter(|table| !table.ranking.is_empty()).collect();
    let believed = || tables.iter().filter(|table| table.distrust.is_none());
    let lead = believed().find(|table| table.role == MetricRole::Gate).or(believed().next()).or(tables.first());
    let headline = match lead {
        _ if !comparable => not_comparable(&differences, &names),
        Some(table) => table.sentence.clone(),
        None => "The runs have no metric in common.".to_owned(),
    };
    Matrix {
        format: 1,
        runs: runs.iter().map(|run| RunCard::of(&run.header, &run.totals, run.status)).collect(),
        names,
        differences,
        comparable,
        headline,
        metrics: tables,
        measures,
    }
}

/// Metrics that every run has, then all measures; and how many of the former.
fn shared_metrics(runs: &[RunResults], policy: &GatePolicy) -> (Vec<Metric>, usize) {
    let everywhere = |name: &str| runs.iter().all(|run| run.header.graders.iter().any(|grader| grader.name == name));
    let graders = runs.last().map(|run| run.header.graders.as_slice()).unwrap_or_default();
    let mut metrics: Vec<Metric> = graders
        .iter()
        .filter(|grader| everywhere(&grader.name))
        .map(|grader| Metric::of_grader(grader, policy))
        .collect();
    let count = metrics.len();
    metrics.extend(MEASURES.iter().map(|measure| Metric::of_measure(*measure, policy)));
    (metrics, count)
}

/// A table with the runs' own means; runs without a value are not in it.
fn empty(metric: &Metric, runs: &[RunResults], metas: &[ExampleMeta], policy: &GatePolicy) -> MatrixMetric {
    let ranked = runs.iter().enumerate().filter_map(|(run, results)| {
        let units = pair::roster(None, results, metas, policy);
        let column = Column::read_all(units.iter().map(|unit| unit.candidate), std::slice::from_ref(metric)).pop()?;
        let sample = Sample::whole(&units, &column, Taking::of(policy, results));
        let estimate = pair::with_reach(contrast::arm(&sample, metric.bounds()), &units);
        estimate.estimate.is_some().then_some(Ranked {
            run,
            estimate,
            rank: (1, runs.len()),
            rank_all_at_once: (1, runs.len()),
            beaten_by: Vec::new(),
        })
    });
    MatrixMetric {
        name: metric.name.clone(),
        role: metric.role,
        direction: metric.direction,
        scale: metric.scale.clone(),
        ranking: ranked.collect(),
        pairs: Vec::new(),
        sentence: String::new(),
        distrust: metric.distrust.as_ref().map(|distrust| distrust.sentence.clone()),
        doubt: metric.doubt.clone(),
    }
}

fn compared(
    (baseline, candidate): (usize, usize),
    found: super::MetricComparison,
    frontier: Vec<Frontier>,
) -> PairCompared {
    let p = found.p_worse.zip(found.p_better).map(|(worse, better)| (2.0 * worse.min(better)).min(1.0));
    PairCompared {
        baseline,
        candidate,
        p,
        moved: found.discordance.as_ref().map(|moved| (moved.improved, moved.worsened)),
        exact_p: found.discordance.as_ref().map(|moved| moved.exact_p),
        difference: found.difference,
        ratio: found.ratio,
        change: found.change,
        p_holm: None,
        q: None,
        frontier,
    }
}

/// Corrects the p-values of a table and ranks its runs.
fn finish(table: &mut MatrixMetric, runs: usize) {
    let family: Vec<Option<f64>> = table.pairs.iter().map(|pair| pair.p).collect();
    for ((pair, adjusted), q) in table.pairs.iter_mut().zip(holm(&family)).zip(benjamini_hochberg(&family)) {
        (pair.p_holm, pair.q) = (adjusted, q);
        // Marked by the same rule as the headline counts: all pairs at once.
        if matches!(pair.change, Change::Regressed | Change::Improved) && adjusted.is_none_or(|p| p > ALPHA) {
            pair.change = Change::Inconclusive;
        }
        if table.distrust.is_some() {
            pair.change = Change::Inconclusive;
        }
    }
    let sign = if table.direction == Direction::Lower { -1.0 } else { 1.0 };
    let ranked = table.ranking.len().min(runs);
    for one in table.ranking.iter_mut().filter(|_| table.distrust.is_none()) {
        // Methods 1.13: how many are credibly above, how many credibly below.
        let count = |above: bool, found: &dyn Fn(&PairCompared, usize) -> Option<bool>| {
            table.pairs.iter().filter(|pair| found(pair, one.run) == Some(above)).count()
        };
        let each = |pair: &PairCompared, run: usize| other_is_better(pair, run, sign);
        let all =
            |pair: &PairCompared, run: usize| pair.p_holm.filter(|p| *p <= ALPHA).and_then(|_| leans(pair, run, sign));
        one.rank = (1 + count(true, &each), ranked.saturating_sub(count(false, &each)).max(1));
        one.rank_all_at_once = (1 + count(true, &all), ranked.saturating_sub(count(false, &all)).max(1));
        one.beaten_by = table
            .pairs
            .iter()
            .filter(|pair| all(pair, one.run) == Some(true) && other_is_not_dearer(pair, one.run))
            .map(|pair| if pair.baseline == one.run { pair.candidate } else { pair.baseline })
            .collect();
    }
    table.ranking.sort_by(|left, right| {
        let value = |one: &Ranked| sign * one.estimate.estimate.unwrap_or(f64::NEG_INFINITY);
        value(right).total_cmp(&value(left)).then(left.run.cmp(&right.run))
    });
}

/// Whether the other run of a pair is credibly better than `run` (its whole interval is), credibly worse, or neither.
fn other_is_better(pair: &PairCompared, run: usize, sign: f64) -> Option<bool> {
    let interval = match &pair.ratio {
        Some(ratio) => ratio.interval.as_ref().map(|interval| (interval.lo.ln(), interval.hi.ln())),
        None => pair.difference.interval.as_ref().map(|interval| (interval.lo, interval.hi)),
    };
    let (lo, hi) = interval?;
    let credible = if lo > 0.0 {
        1.0
    } else if hi < 0.0 {
        -1.0
    } else {
        return None;
    };
    turned(pair, run, sign * credible)
}

/// Which way a pair leans as seen from `run`.
fn leans(pair: &PairCompared, run: usize, sign: f64) -> Option<bool> {
    let log = pair.ratio.as_ref().and_then(|ratio| ratio.estimate).map(f64::ln);
    turned(pair, run, sign * log.or(pair.difference.estimate)?)
}

fn turned(pair: &PairCompared, run: usize, value: f64) -> Option<bool> {
    match run {
        run if run == pair.baseline => Some(value > 0.0),
        run if run == pair.candidate => Some(value < 0.0),
        _ => None,
    }
}

/// Whether the other run of a pair does not credibly cost more; unknown costs beat nobody.
fn other_is_not_dearer(pair: &PairCompared, run: usize) -> bool {
    let Some(cost) = pair.frontier.iter().find(|one| one.spent == "cost_usd") else { return false };
    let Some(interval) = &cost.spent_ratio.interval else { return false };
    if pair.baseline == run { interval.lo <= 1.0 } else { interval.hi >= 1.0 }
}

/// Names of the targets; where two are the same, with the end of the run's id.
fn names(runs: &[RunResults]) -> Vec<String> {
    let name = |run: &RunResults| words::quoted(&run.header.target.name);
    runs.iter()
        .map(|run| {
            let same = runs.iter().filter(|other| name(other) == name(run)).count();
            if same > 1 { format!("{} ({})", name(run), run.header.id.short()) } else { name(run) }
        })
        .collect()
}

fn not_comparable(differences: &[Comparability], names: &[String]) -> String {
    let odd: Vec<String> = differences
        .iter()
        .zip(names.iter().skip(1))
        .filter(|(one, _)| !one.comparable)
        .map(|(one, name)| {
            let what: Vec<&str> =
                one.differences.iter().filter(|d| d.blocking && !d.allowed).map(|d| d.what.as_str()).collect();
            format!("{name} ({})", what.join(", "))
        })
        .collect();
    format!(
        "Not measured alike: against the first run differ {}; `--allow WHAT` says that it does not matter.",
        odd.join(", ")
    )
}

/// `Ok: best is a (70.6 %), rank 1 to 2 of 5; 6 of 10 pairs differ after Holm.`
fn sentence(table: &MatrixMetric, metric: &Metric, names: &[String]) -> String {
    let title = words::title(&table.name);
    if let Some(distrust) = &table.distrust {
        return format!("{title}: {distrust}.");
    }
    let doubt = table.doubt.as_ref().map(|doubt| format!(" But {doubt}.")).unwrap_or_default();
    let Some(first) = table.ranking.first() else { return format!("{title}: no run has a value.") };
    let name = names.get(first.run).map(String::as_str).unwrap_or_default();
    let level = first.estimate.estimate.map(|value| Form::of(metric).level(value)).unwrap_or_default();
    let (best, worst) = first.rank_all_at_once;
    let rank = if best == worst { format!("rank {best}") } else { format!("rank {best} to {worst}") };
    let tested = table.pairs.iter().filter(|pair| pair.p_holm.is_some()).count();
    let differ = table.pairs.iter().filter(|pair| pair.p_holm.is_some_and(|p| p <= ALPHA)).count();
    let pairs = if tested == 1 { "pair differs" } else { "pairs differ" };
    format!(
        "{title}: {name} is first with {level}, {rank} of {}; {differ} of {tested} {pairs} credibly (Holm, {}).{doubt}",
        table.ranking.len(),
        words::percent(ALPHA)
    )
}
