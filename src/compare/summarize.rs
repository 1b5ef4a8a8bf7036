//! One run to its finished view: means, distributions, floors, slices, and whether the instrument held.

use super::{
    ExampleMeta, MetricSummary, RunCard, RunResults, RunView,
    contrast::{self, LEVEL},
    distribution::distribution,
    frontier::cost_of_good,
    gate, judge_facts,
    judging_words::doubting,
    measure::{MEASURES, Metric},
    pair::{self, Column, Sample, Taking, Unit},
    repeated::repeated,
    rows, slices,
    words::{self, Form},
};
use crate::{
    model::{GatePolicy, MetricRole, RunStatus, Scale, Verdict},
    stats::{Estimate, Status, quantile_sorted, repeats},
};

/// Sums up one run under a policy.
///
/// The verdict is about floors and the instrument only; it is `None` when no gated metric has a floor and the instrument
/// held, since nothing absolute was asked.
pub fn summarize(results: &RunResults, metas: &[ExampleMeta], policy: &GatePolicy) -> RunView {
    let judges = judge_facts(results);
    let policy = &doubting(policy, &judges);
    let units = pair::roster(None, results, metas, policy);
    let taking = Taking::of(policy, results);
    // Bounds for a fixed number of examples do not hold where the findings said when to stop; the comparison has others.
    let looked_at = results.header.until_decided.is_some();
    let bare = if looked_at { without_floors(policy) } else { policy.clone() };
    let policy = &bare;
    let mut defined: Vec<Metric> =
        results.header.graders.iter().map(|grader| Metric::of_grader(grader, policy)).collect();
    defined.extend(MEASURES.iter().map(|measure| Metric::of_measure(*measure, policy)));
    let columns = Column::read_all(units.iter().map(|unit| unit.candidate), &defined);
    let (measured, graded): (Vec<_>, Vec<_>) = defined
        .into_iter()
        .zip(columns)
        .filter(|(metric, column)| !metric.is_measure() || column.has_values())
        .partition(|(metric, _)| metric.is_measure());
    let metrics: Vec<MetricSummary> =
        graded.iter().map(|(metric, column)| summary(metric, column, &units, results, (taking, policy))).collect();
    let measures: Vec<MetricSummary> =
        measured.iter().map(|(metric, column)| summary(metric, column, &units, results, (taking, policy))).collect();
    let all: Vec<&(Metric, Column)> = graded.iter().chain(&measured).collect();
    let mut ruling = rule(&all, &units, results, policy);
    if looked_at {
        ruling.reasons.push(
            "the run stops when its comparison is settled: intervals of the run alone do not allow for that, and floors \
             are held against it in the comparison"
                .to_owned(),
        );
    }
    let headline = headline(&ruling, &metrics, results);
    RunView {
        format: 1,
        run: RunCard::of(&results.header, &results.totals, results.status),
        verdict: ruling.verdict,
        instrument_failed: ruling.instrument_failed,
        headline,
        reasons: ruling.reasons,
        slices: slices::summarize_slices(&units, &graded),
        repeated: repeated(results, metas, policy),
        cost_of_good: cost_of_good(results, metas, policy),
        judges,
        examples: rows::summarize_rows(&units, &graded),
        metrics,
        measures,
    }
}

fn without_floors(policy: &GatePolicy) -> GatePolicy {
    let mut bare = policy.clone();
    bare.metrics.values_mut().for_each(|demanded| demanded.floor = None);
    bare
}

struct Ruling {
    verdict: Option<Verdict>,
    instrument_failed: bool,
    reasons: Vec<String>,
}

fn rule(metrics: &[&(Metric, Column)], units: &[Unit<'_>], results: &RunResults, policy: &GatePolicy) -> Ruling {
    let gated = || metrics.iter().filter(|(metric, _)| metric.is_gated());
    let asked = policy.metrics.values().any(|demanded| demanded.role == MetricRole::Gate);
    let mut faults: Vec<String> = gate::target_failures(results, "run", policy).into_iter().collect();
    // Where nothing is gated, a grader that failed everywhere still is no success.
    let dead = |column: &Column| !asked && column.failure_rate() == Some(1.0);
    let watched = metrics.iter().filter(|(metric, column)| metric.is_gated() || dead(column));
    faults.extend(watched.filter_map(|(metric, column)| gate::unscored_fault(metric, column, "run")));
    let floors: Vec<(Verdict, String)> = gated()
        .filter_map(|(metric, column)| {
            gate::check_floor(metric, units, column, Taking::of(policy, results), policy, None)
        })
        .collect();
    let mut open: Vec<String> = gated()
        .filter(|(_, column)| !column.has_values())
        .map(|(metric, _)| format!("{}: it is gated and has no score with a value", metric.name))
        .collect();
    open.extend(
        policy
            .metrics
            .iter()
            .filter(|(_, demanded)| demanded.role == MetricRole::Gate)
            .filter(|(name, _)| !metrics.iter().any(|(metric, _)| metric.name == **name))
            .map(|(name, _)| format!("{name}: it is gated, but the run has no grader or measure of that name")),
    );
    if asked && results.status != RunStatus::Complete && results.header.until_decided.is_none() {
        let totals = &results.totals;
        open.push(format!(
            "the run is not finished: {} of {} cells are done",
            totals.cells_done(),
            totals.cells_planned
        ));
    }
    let worst = floors.iter().map(|(verdict, _)| *verdict).max();
    let verdict = match worst {
        _ if !faults.is_empty() && asked => Some(Verdict::Inconclusive),
        Some(Verdict::Fail) => Some(Verdict::Fail),
        _ if !open.is_empty() => Some(Verdict::Inconclusive),
        worst => worst,
    };
    let mut told = floors;
    // Failures before what stayed open before what passed.
    told.sort_by_key(|(verdict, _)| std::cmp::Reverse(*verdict));
    let instrument_failed = !faults.is_empty();
    let mut reasons = faults;
    let (failed, rest): (Vec<_>, Vec<_>) = told.into_iter().partition(|(verdict, _)| *verdict == Verdict::Fail);
    reasons.extend(failed.into_iter().map(|(_, reason)| reason));
    reasons.extend(open);
    reasons.extend(rest.into_iter().map(|(_, reason)| reason));
    Ruling { verdict, instrument_failed, reasons }
}

fn headline(ruling: &Ruling, metrics: &[MetricSummary], results: &RunResults) -> String {
    let first = ruling.reasons.first().map_or("", String::as_str);
    match ruling.verdict {
        _ if ruling.instrument_failed => format!("No verdict: {first}."),
        Some(Verdict::Fail) => format!("Below what is asked: {first}."),
        Some(Verdict::Inconclusive) => format!("Not decided: {first}."),
        Some(Verdict::Pass) => format!("As good as asked: {first}."),
        None => {
            let lead = metrics.iter().find(|metric| metric.role == MetricRole::Gate).or(metrics.first());
            let examples = words::count(results.examples.len() as u64, "example");
            match lead {
                Some(metric) => metric.sentence.clone(),
                None => format!("{examples} ran and nothing graded them."),
            }
        }
    }
}

fn summary(
    metric: &Metric,
    column: &Column,
    units: &[Unit<'_>],
    results: &RunResults,
    (taking, policy): (Taking, &GatePolicy),
) -> MetricSummary {
    let sample = Sample::whole(units, column, taking);
    let mut estimate = pair::with_reach(contrast::arm(&sample, metric.bounds()), units);
    estimate.n_dropped = (units.len() - sample.values.len()) as u64;
    let trials = if metric.is_measure() { trial_values(metric, results) } else { Vec::new() };
    let floor = gate::check_floor(metric, units, column, taking, policy, None).map(|(verdict, _)| verdict);
    let sentence = sentence(metric, column, &estimate, repeats_text(metric, column, units).as_deref());
    MetricSummary {
        name: metric.name.clone(),
        role: metric.role,
        direction: metric.direction,
        scale: metric.scale.clone(),
        unscored: column.reasons.clone(),
        distribution: distribution(metric, results),
        p50: quantile_sorted(&trials, 0.5),
        p95: quantile_sorted(&trials, 0.95),
        floor: metric.floor.zip(floor),
        sentence,
        estimate,
    }
}

/// All trials' values of a measure, ascending.
pub(super) fn trial_values(metric: &Metric, results: &RunResults) -> Vec<f64> {
    let super::measure::Source::Measure(measure) = metric.source else { return Vec::new() };
    let trials = results.examples.values().flat_map(|example| example.trials.values());
    let mut values: Vec<f64> = trials.filter_map(|trial| trial.target.as_ref()).filter_map(measure.read).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn sentence(metric: &Metric, column: &Column, estimate: &Estimate, repeats: Option<&str>) -> String {
    let (name, form) = (words::title(&metric.name), Form::of(metric));
    let failures = column.instrument_failures();
    let left_out = match failures {
        0 => String::new(),
        cells => format!("; the grader failed on {}", words::count(cells, "cell")),
    };
    let Some(point) = estimate.estimate else {
        let why = match column.reasons.is_empty() {
            false => format!(": {}", words::reasons_text(&column.reasons)),
            true if column.scored > 0 => {
                ": its labels have no declared values, only their distribution is shown".to_owned()
            }
            true => String::new(),
        };
        return format!("{name} has no mean{why}.");
    };
    let interval = match (&estimate.interval, estimate.status) {
        (Some(interval), _) => format!(
            "{} interval {} to {}, ",
            words::level_text(LEVEL),
            form.level(interval.lo),
            form.level(interval.hi)
        ),
        (None, Status::Insufficient) => "no interval from so little, ".to_owned(),
        (None, _) => String::new(),
    };
    let clusters = if estimate.clusters < estimate.n {
        format!(" in {}", words::count(estimate.clusters, "cluster"))
    } else {
        String::new()
    };
    let repeats = repeats.map(|text| format!("; {text}")).unwrap_or_default();
    format!(
        "{name} is {} ({interval}{}{clusters}){repeats}{left_out}.",
        form.level(point),
        words::count(estimate.n, "example")
    )
}

/// `all of 4 trials pass on 20.0 % of the examples (pass^1 to pass^4: 42.0 %, 27.3 %, 22.0 %, 20.0 %)`.
fn repeats_text(metric: &Metric, column: &Column, units: &[Unit<'_>]) -> Option<String> {
    if metric.scale != Scale::Binary {
        return None;
    }
    let scored = || column.values.iter().zip(units).filter(|(reduced, _)| reduced.trials > 0);
    let most = u64::from(scored().map(|(reduced, _)| reduced.trials).max()?);
    // A trial between 0 and 1 is a split vote of draws: neither passed nor failed.
    if most < 2 || scored().any(|(reduced, _)| reduced.passed + reduced.failed != reduced.trials) {
        return None;
    }
    let counts: Vec<(u64, u64)> =
        scored().map(|(reduced, _)| (u64::from(reduced.trials), u64::from(reduced.passed))).collect();
    let clusters: Vec<usize> = scored().map(|(_, unit)| unit.cluster).collect();
    let series: Vec<f64> =
        (1..=most.min(8)).filter_map(|k| repeats(&counts, &clusters, k, LEVEL).pass_hat_k.estimate).collect();
    let (k, last) = (series.len(), series.last()?);
    let shown: Vec<String> = series.iter().map(|value| Form::Percent.level(*value)).collect();
    Some(format!(
        "all of {k} trials pass on {} of the examples (pass^1 to pass^{k}: {})",
        Form::Percent.level(*last),
        shown.join(", ")
    ))
}
