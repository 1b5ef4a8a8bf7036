//! One metric in both runs: pairs, difference, finding, power, and the words for it.

use super::{
    Beside, Discordance, Estimands, MetricComparison, RunResults,
    contrast::{self, Contrast, Question, decision_interval},
    looking::Looking,
    measure::Metric,
    ordinal::ordinal,
    pair::{self, Columns, Pairs, Sample, Taking, Unit},
    remedy::{UnitCosts, remedies},
    words::{self, Form},
};
use crate::{
    model::{Change, Estimand, GatePolicy, GraderKind, Scale},
    stats::{Estimate, Finding, Interval, MarginTest, Status, mcnemar, sign_flip},
};

/// Share of the baseline's mean that counts as a change of a measure when the user names no margin.
const MEASURE_MARGIN: f64 = 0.05;
/// Share of a bounded scale's width that counts as a change when the user names no margin (methods 1.7).
const SCALE_MARGIN: f64 = 0.05;
/// Share of pairs left out from which the unpaired difference is shown beside the paired one (methods 1.0).
const MANY_MISSING: f64 = 0.1;
/// Clusters below which the sign-flip test is shown beside the interval (methods 1.3).
const FEW_CLUSTERS: u64 = 30;
/// Share of unscored cells from which the bounds of what they could change are shown (methods 1.0).
const SHOWN_FAILURES: f64 = 0.01;
/// Share of the best level from which a graded scale says little (methods 1.4).
const CEILING: f64 = 0.8;

/// What all metrics of a comparison have in common.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    /// Examples of both runs.
    pub units: &'a [Unit<'a>],
    /// Baseline and candidate.
    pub runs: (&'a RunResults, &'a RunResults),
    /// One-sided error probability.
    pub alpha: f64,
    /// For the sign-flip test where it draws.
    pub seed: u64,
    /// How means are taken.
    pub taking: Taking,
    /// What one more of each costs.
    pub costs: Option<UnitCosts>,
    /// How far a run has got that was looked at while it went on.
    pub looking: Option<Looking>,
}

impl<'a> Setting<'a> {
    /// The setting of two runs under a policy.
    pub fn of(
        units: &'a [Unit<'a>],
        runs: (&'a RunResults, &'a RunResults),
        policy: &GatePolicy,
        looking: Option<Looking>,
    ) -> Self {
        Self {
            units,
            runs,
            alpha: policy.alpha,
            seed: runs.1.header.seed,
            taking: Taking::of(policy, runs.1),
            costs: UnitCosts::of(runs.1),
            looking,
        }
    }

    /// Whether measuring the same examples again gives the same values: recorded outputs and code.
    fn is_fixed(&self, metric: &Metric) -> bool {
        let recorded = |run: &RunResults| run.header.target.kind == "recorded";
        let code = |run: &RunResults| {
            let graders = &run.header.graders;
            graders.iter().all(|grader| grader.name != metric.name || grader.kind == GraderKind::Scorer)
        };
        recorded(self.runs.0) && recorded(self.runs.1) && code(self.runs.0) && code(self.runs.1)
    }
}

/// A metric compared, with what the gate and the slices need besides what is shown.
#[derive(Clone, Debug)]
pub(super) struct Assessed {
    /// The metric.
    pub metric: Metric,
    /// Both sides over all units.
    pub columns: Columns,
    /// The finding so far; words are made by [`Assessed::put_into_words`].
    pub comparison: MetricComparison,
    /// One-sided p of "worse by more than the margin".
    pub p_material: Option<f64>,
    /// Whether the runs were compared without pairs.
    pub unpaired: bool,
    /// Examples that the weights amount to.
    pub effective: u64,
    /// Most trials per example, per side.
    pub trials: (u32, u32),
    /// The same with all missing cells at their worst and at their best for the candidate, where the gate asks for both.
    pub ends: Option<Box<(Assessed, Assessed)>>,
    /// The contrast that decides: of differences, or of log ratios for measures.
    deciding: Estimate,
    decision: Option<Interval>,
    notes: Vec<String>,
}

impl Assessed {
    /// How its values are written.
    pub fn form(&self) -> Form {
        Form::of(&self.metric)
    }

    /// Adds a remark to the expert's line.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Writes sentence and expert line; last, because the gate may still have changed the finding.
    pub fn put_into_words(&mut self) {
        let form = self.form();
        self.comparison.sentence = words::sentence(&self.comparison, form, self.decision.as_ref());
        self.comparison.expert = words::expert(&self.comparison, self.decision.as_ref(), &self.deciding, &self.notes);
    }
}

/// Compares one metric.
pub(super) fn assess(metric: Metric, columns: Columns, setting: &Setting<'_>) -> Assessed {
    let units = setting.units;
    let pairs = Pairs::whole(units, &columns, setting.taking, setting.is_fixed(&metric));
    let baseline_mean = contrast::arm(&pairs.baseline, metric.bounds()).estimate;
    let margin = margin_of(&metric, baseline_mean);
    let anytime = setting.looking.map(|looking| looking.horizon);
    let question = Question { sign: metric.sign(), bounds: metric.bounds(), margin, alpha: setting.alpha, anytime };
    let (found, arms) = if pairs.len() > 0 {
        let arms = (pairs.baseline.clone(), pairs.candidate.clone());
        (contrast::paired(&pairs, &question), arms)
    } else {
        let side = |column| Sample::whole(units, column, setting.taking);
        let arms = (side(&columns.baseline), side(&columns.candidate));
        (contrast::unpaired(&arms.0, &arms.1, &question), arms)
    };
    let mut difference = pair::with_reach(found.estimate.clone(), units);
    let missing = columns.missing(units);
    difference.n_dropped = missing.no_baseline_score + missing.no_candidate_score + missing.neither;
    let ratio = if metric.is_measure() { log_ratio(&pairs, &question, baseline_mean) } else { None };
    let by_ratio = ratio.is_some();
    let (deciding, question_asked) = ratio.clone().unwrap_or_else(|| (found.clone(), question));
    let usable = metric.fault.is_none();
    let test = deciding.test.as_ref().filter(|_| usable);
    let change = test.map_or(Change::Inconclusive, |test| change_of(test.finding()));
    let flagged = |flag: fn(&MarginTest) -> bool| test.is_some_and(flag);
    // A change seen on the log scale is told in the metric's own unit, at the baseline's mean.
    let own_unit = |size: f64| if by_ratio { baseline_mean.map(|mean| mean * size.exp_m1()) } else { Some(size) };
    let comparison = MetricComparison {
        name: metric.name.clone(),
        role: metric.role,
        direction: metric.direction,
        scale: metric.scale.clone(),
        baseline: contrast::arm(&arms.0, metric.bounds()),
        candidate: contrast::arm(&arms.1, metric.bounds()),
        difference,
        ratio: ratio.as_ref().map(|(log, _)| exponentiated(&log.estimate)),
        margin,
        change,
        p_worse: deciding.p_worse.filter(|_| usable),
        p_better: deciding.p_better.filter(|_| usable),
        p_worse_adjusted: None,
        non_inferior: flagged(MarginTest::non_inferior),
        material_regression: flagged(MarginTest::material_regression),
        // Its tests take the number of pairs for fixed.
        discordance: discordance(&pairs, &metric).filter(|_| anytime.is_none()),
        missing,
        detectable: deciding.detectable(&question_asked).and_then(own_unit),
        examples_needed: None,
        verdict: None,
        sentence: String::new(),
        expert: String::new(),
        beside: Beside::default(),
    };
    let mut decision = test.map(|test| decision_interval(test, question.sign));
    let mut deciding_estimate = pair::with_reach(deciding.estimate.clone(), units);
    if by_ratio {
        decision = decision.map(|bounds| Interval { lo: bounds.lo.exp(), hi: bounds.hi.exp(), ..bounds });
        deciding_estimate.method = if anytime.is_some() { "log_ratio_anytime" } else { "log_ratio_t" }.to_owned();
    }
    let mut assessed = Assessed {
        p_material: deciding.p_material,
        unpaired: found.unpaired,
        effective: if found.unpaired {
            pair::effective(&arms.0.weights).min(pair::effective(&arms.1.weights))
        } else {
            pair::effective(&pairs.baseline.weights)
        },
        trials: pairs.trials,
        ends: None,
        deciding: deciding_estimate,
        decision,
        notes: Vec::new(),
        metric,
        columns,
        comparison,
    };
    look_beside(&mut assessed, &pairs, &question, setting);
    second_looks(&mut assessed, &pairs, setting);
    if let Some(fault) = assessed.metric.fault.clone() {
        assessed.note(fault);
    } else if assessed.comparison.change == Change::Inconclusive && anytime.is_none() {
        // Forecasts are for a fixed number of examples; somebody who looks all the time needs more.
        let ways = remedies(&deciding, &question_asked, &pairs, setting.costs);
        let examples = ways.iter().find(|way| way.more == super::More::Examples);
        assessed.comparison.examples_needed = examples.map(|way| way.count);
        assessed.comparison.beside.to_decide = ways;
    }
    assessed
}

/// The user's margin, or a twentieth of the scale, in the metric's own unit; of measures it is a share of the baseline's
/// mean. 0 where neither is known.
fn margin_of(metric: &Metric, baseline_mean: Option<f64>) -> f64 {
    if metric.is_measure() {
        let share = metric.margin.unwrap_or(MEASURE_MARGIN);
        return baseline_mean.map_or(0.0, |mean| share * mean.abs());
    }
    let of_scale = || metric.width().map(|width| SCALE_MARGIN * width);
    metric.margin.or_else(of_scale).unwrap_or(0.0)
}

/// The change that a finding says.
pub(super) fn change_of(finding: Finding) -> Change {
    match finding {
        Finding::Better => Change::Improved,
        Finding::Worse => Change::Regressed,
        Finding::Equivalent => Change::Equivalent,
        Finding::Open => Change::Inconclusive,
    }
}

/// The contrast of logarithms, and what it is tested against; `None` unless every pair is above 0 on both sides.
fn log_ratio(pairs: &Pairs, question: &Question, baseline_mean: Option<f64>) -> Option<(Contrast, Question)> {
    let logs = |sample: &Sample| Sample {
        values: sample.values.iter().map(|value| value.ln()).collect(),
        plain: false,
        ..sample.clone()
    };
    let positive = |sample: &Sample| sample.values.iter().all(|value| *value > 0.0);
    if pairs.len() == 0 || !positive(&pairs.baseline) || !positive(&pairs.candidate) {
        return None;
    }
    let share = baseline_mean.filter(|mean| *mean > 0.0).map_or(MEASURE_MARGIN, |mean| question.margin / mean);
    let asked = Question { bounds: None, margin: share.ln_1p(), ..*question };
    let pairs = Pairs { baseline: logs(&pairs.baseline), candidate: logs(&pairs.candidate), ..pairs.clone() };
    Some((contrast::paired(&pairs, &asked), asked))
}

/// A mean of log ratios as a ratio of geometric means.
fn exponentiated(log: &Estimate) -> Estimate {
    Estimate {
        estimate: log.estimate.map(f64::exp),
        se: None,
        interval: log.interval.as_ref().map(|i| Interval::new(i.lo.exp(), i.hi.exp(), i.level, "log_ratio_t")),
        method: "log_ratio_t".to_owned(),
        ..log.clone()
    }
}

fn discordance(pairs: &Pairs, metric: &Metric) -> Option<Discordance> {
    if metric.scale != Scale::Binary || pairs.trials != (1, 1) || !pairs.is_plain() {
        return None;
    }
    let mut counts = pairs.counts();
    let tests = mcnemar(counts)?;
    if metric.sign() < 0.0 {
        std::mem::swap(&mut counts.improved, &mut counts.worsened);
    }
    Some(Discordance { improved: counts.improved, worsened: counts.worsened, exact_p: tests.exact, mid_p: tests.mid_p })
}

/// Fills in what stands beside the finding.
fn look_beside(assessed: &mut Assessed, pairs: &Pairs, question: &Question, setting: &Setting<'_>) {
    let units = setting.units;
    let metric = &assessed.metric;
    let planned = |run: &RunResults| {
        let examples = run.header.examples.max(run.examples.len() as u64);
        examples * u64::from(run.header.trials.max(1)) * u64::from(metric.draws)
    };
    let columns = &assessed.columns;
    let cells = (columns.baseline.cells(planned(setting.runs.0)), columns.candidate.cells(planned(setting.runs.1)));
    let ordinal = ordinal(metric, pairs, &assessed.deciding, setting.runs);
    let graded = !metric.is_measure();
    let beside = Beside {
        cells: graded.then_some(cells),
        estimands: estimands(assessed, pairs, question, setting),
        bounds: if graded { bounds(assessed, units, question) } else { None },
        unpaired: without_pairs(assessed, pairs, question, setting),
        ordinal,
        ..Beside::default()
    };
    assessed.comparison.beside = beside;
}

/// Second looks that can open a finding, and remarks for the expert.
fn second_looks(assessed: &mut Assessed, pairs: &Pairs, setting: &Setting<'_>) {
    let decided = assessed.comparison.change != Change::Inconclusive;
    if let Some(panel) = assessed.comparison.beside.ordinal.clone() {
        if decided && panel.conflict {
            assessed.comparison.change = Change::Inconclusive;
            assessed.comparison.non_inferior = false;
            assessed.note(
                "the mean moved one way and most examples the other, both credibly: no finding (ordinal conflict)",
            );
        }
        let top = panel.ceiling.0.max(panel.ceiling.1);
        if top > CEILING {
            assessed.note(format!(
                "{} of the scores are the best level, so that the scale tells little: make it yes or no, or split it \
                 into questions",
                words::percent(top)
            ));
        }
    }
    let status = assessed.deciding.status;
    let fixed = setting.looking.is_none();
    if fixed
        && status == Status::Ok
        && !pairs.is_plain()
        && pairs.len() > 0
        && assessed.deciding.clusters < FEW_CLUSTERS
    {
        let flips = sign_flip(&pairs.differences(), &pairs.baseline.clusters, 0.0, 9_999, setting.seed);
        if let Some(p) = flips.two_sided {
            let least = 2.0_f64.powi(1 - flips.informative.min(60) as i32);
            let floor = if flips.exact { format!(" (least possible {})", words::plain(least)) } else { String::new() };
            assessed.note(format!("sign-flip two-sided {}{floor}", words::p_text(p)));
        }
    }
    let weightless = setting.units.iter().filter(|unit| unit.weight <= 0.0).count() as u64;
    if weightless > 0 && setting.taking.estimand == Estimand::Production {
        assessed.note(format!(
            "{} without a usable weight (it must be a number above 0) count only in the dataset as it is",
            words::count(weightless, "example")
        ));
    }
    let outside = assessed.columns.baseline.outside + assessed.columns.candidate.outside;
    if outside > 0 {
        assessed.comparison.change = Change::Inconclusive;
        assessed.comparison.non_inferior = false;
        let cells = words::count(outside, "score");
        let lie = if outside == 1 { "lies" } else { "lie" };
        assessed.metric.fault.get_or_insert(format!(
            "{cells} {lie} outside the scale that the grader declares; mend the grader or its bounds"
        ));
    }
}

/// The difference for both populations, where weights differ.
fn estimands(assessed: &Assessed, pairs: &Pairs, question: &Question, setting: &Setting<'_>) -> Option<Estimands> {
    let units = setting.units;
    let weighted = Taking { estimand: Estimand::Production, ..setting.taking };
    let production = match setting.taking.estimand {
        Estimand::Production => pairs.clone(),
        Estimand::Dataset => Pairs::whole(units, &assessed.columns, weighted, setting.is_fixed(&assessed.metric)),
    };
    if pairs.len() == 0 || !production.baseline.is_weighted() {
        return None;
    }
    Some(Estimands {
        dataset: contrast::paired(&production.as_they_are(), question).estimate,
        production: contrast::paired(&production, question).estimate,
        decides: setting.taking.estimand,
    })
}

/// The difference over all scored examples without pairs, where many pairs are missing.
fn without_pairs(assessed: &Assessed, pairs: &Pairs, question: &Question, setting: &Setting<'_>) -> Option<Estimate> {
    let lone = setting.units.iter().filter(|unit| !unit.is_paired()).count() as u64;
    let dropped = (assessed.comparison.difference.n_dropped + lone) as f64;
    if pairs.len() == 0 || dropped <= MANY_MISSING * (dropped + pairs.len() as f64) {
        return None;
    }
    let side = |column| Sample::whole(setting.units, column, setting.taking);
    let arms = (side(&assessed.columns.baseline), side(&assessed.columns.candidate));
    let mut all = contrast::unpaired(&arms.0, &arms.1, question).estimate;
    all.warnings.clear();
    Some(all)
}

/// How far the difference could lie if every example that the instrument left without a value had the worst or the
/// best one; on bounded scales only.
fn bounds(assessed: &Assessed, units: &[Unit<'_>], question: &Question) -> Option<(f64, f64)> {
    let columns = &assessed.columns;
    let rate = |column: &pair::Column| column.failure_rate().unwrap_or(0.0);
    let worst_rate = rate(&columns.baseline).max(rate(&columns.candidate));
    let (least, greatest) = question.bounds.filter(|_| worst_rate > SHOWN_FAILURES)?;
    let (mut weight, mut low, mut high) = (0.0, 0.0, 0.0);
    for ((unit, before), after) in units.iter().zip(&columns.baseline.values).zip(&columns.candidate.values) {
        let range = |reduced: &pair::Reduced| match reduced.value {
            Some(value) => Some((value, value)),
            None if reduced.instrument_failed => Some((least, greatest)),
            None => None,
        };
        if let (Some(before), Some(after)) = (range(before), range(after)) {
            weight += unit.weight;
            low += unit.weight * (after.0 - before.1);
            high += unit.weight * (after.1 - before.0);
        }
    }
    (weight > 0.0).then(|| (low / weight, high / weight))
}
