//! Whether a judge is better than chance, as its calibration says, and the metrics that decide nothing because it is
//! not. How calibrations are kept is `calibrations`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agreement::Coefficient;
use super::calibrations::{Calibrations, Entry};
use super::exit::Done;
use super::project::Project;
use crate::judge;
use crate::model::{GatePolicy, GraderInfo, GraderKind, RunHeader};
use crate::stats::newcombe;

/// What a calibration says of a judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Credibly better than chance.
    Informative,
    /// Better than chance, but not credibly: too few labels, or too little agreement.
    Unclear,
    /// Not better than chance.
    Chance,
}

impl Standing {
    /// By a measure that chance makes 0, and the lower end of its interval.
    pub fn of(measure: Option<f64>, lower: Option<f64>) -> Self {
        match (measure, lower) {
            (Some(measure), _) if measure <= 0.0 => Self::Chance,
            (Some(_), Some(lower)) if lower > 0.0 => Self::Informative,
            _ => Self::Unclear,
        }
    }
}

/// Whether a judge is better than chance, with the figures that say so. A yes-or-no judge by its rates on both kinds of
/// labels (methods 1.11), others by agreement or correlation. One that always says the same is no better.
pub(super) fn standing_of(report: &judge::CalibrationReport, beyond: &[Coefficient]) -> (Standing, String) {
    let (passes, fails) = (report.true_pass, report.true_fail);
    if passes.n > 0 && fails.n > 0 {
        let share = |tally: judge::Tally| 100.0 * tally.k as f64 / tally.n as f64;
        // The share of passes among what people passed, less that among what people failed.
        let lower = newcombe((fails.n - fails.k, fails.n), (passes.k, passes.n), 0.95).map(|interval| interval.lo);
        let informed = (share(passes) + share(fails)) / 100.0 - 1.0;
        let evidence = format!(
            "it passed {:.0} % of the {} outputs that people passed and failed {:.0} % of the {} that they failed",
            share(passes),
            passes.n,
            share(fails),
            fails.n
        );
        return (Standing::of(Some(informed), lower), evidence);
    }
    let pairs = &report.numbers.pairs;
    let flat = |of: fn(&(f64, f64)) -> f64| pairs.windows(2).all(|two| of(&two[0]).total_cmp(&of(&two[1])).is_eq());
    if pairs.len() > 1 && flat(|pair| pair.1) && !flat(|pair| pair.0) {
        return (Standing::Chance, format!("it gave all {} outputs the same score", pairs.len()));
    }
    match beyond.iter().find(|found| found.name != "AC1") {
        Some(found) => {
            let lower = found.interval.as_ref().map(|interval| interval.lo);
            let words = format!(
                "{} {:.2} over {} labels",
                found.name,
                found.estimate,
                report.accuracy.n.max(pairs.len() as u64)
            );
            (Standing::of(Some(found.estimate), lower), words)
        }
        None => (Standing::Unclear, "labels or judgements do not vary".to_owned()),
    }
}

/// Puts into a policy what is known of the judges of runs: metrics whose judge is no better than chance, and those whose
/// judge is not credibly better, each with the sentence that says so.
pub fn weigh<'a>(
    policy: &mut GatePolicy,
    project: &Project,
    runs: impl IntoIterator<Item = &'a RunHeader>,
) -> Done<()> {
    let known = Calibrations::read(project)?;
    for grader in runs.into_iter().flat_map(|header| &header.graders) {
        let Some(entry) = of(&known, grader) else { continue };
        match entry.standing {
            Some(Standing::Chance) => policy.distrusted.insert(grader.name.clone(), chance(entry)),
            Some(Standing::Unclear) => policy.doubted.insert(grader.name.clone(), unclear(entry)),
            Some(Standing::Informative) | None => None,
        };
    }
    Ok(())
}

fn chance(entry: &Entry) -> String {
    format!(
        "judge `{}` with model `{}` is no better than chance{} ({}, calibrated on {}), so that this metric decides nothing; \
         mend the rubric or choose another model, and run `assize judge calibrate {}` again",
        entry.judge,
        entry.model,
        entry.criterion.as_ref().map(|name| format!(" in `{name}`")).unwrap_or_default(),
        entry.evidence,
        entry.on,
        entry.judge
    )
}

fn unclear(entry: &Entry) -> String {
    format!(
        "judge `{}` with model `{}` is not credibly better than chance ({}, {} labels, calibrated on {}); label more \
         outputs and run `assize judge calibrate {}` again",
        entry.judge, entry.model, entry.evidence, entry.labels, entry.on, entry.judge
    )
}

/// The calibration of the judge that a run's grader is.
fn of<'a>(known: &'a Calibrations, grader: &GraderInfo) -> Option<&'a Entry> {
    let judge = grader.kind == GraderKind::Judge;
    known.calibration.iter().find(|entry| judge && entry.judge == grader.component && entry.digest == grader.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_what_the_measure_says_and_doubt_what_its_interval_says() {
        assert_eq!(Standing::of(Some(0.0), Some(-0.4)), Standing::Chance);
        assert_eq!(Standing::of(Some(-0.2), None), Standing::Chance);
        assert_eq!(Standing::of(Some(0.3), Some(-0.1)), Standing::Unclear);
        assert_eq!(Standing::of(Some(0.3), None), Standing::Unclear);
        assert_eq!(Standing::of(None, None), Standing::Unclear);
        assert_eq!(Standing::of(Some(0.6), Some(0.2)), Standing::Informative);
    }
}
