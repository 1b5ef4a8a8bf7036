//! What is compared: metrics of graders and the measures every output carries (latency, cost, tokens).

use super::Distrust;
use crate::model::{
    Direction, GatePolicy, GraderInfo, Guard, MetricRole, OnMissing, Scale, TargetOutcome, UnscoredReason,
};

/// A measure that a target's output states of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    /// Name: also the metric's name in a policy.
    pub name: &'static str,
    /// Reads it from how a trial ended; `None` when unknown or the target failed.
    pub read: fn(&TargetOutcome) -> Option<f64>,
}

/// All measures, in the order reports show them. Less is better for each.
pub(super) const MEASURES: &[Measure] = &[
    Measure { name: "latency_ms", read: latency },
    Measure { name: "cost_usd", read: cost },
    Measure { name: "tokens", read: tokens },
];

fn latency(outcome: &TargetOutcome) -> Option<f64> {
    match outcome {
        TargetOutcome::Output { latency_ms, .. } => latency_ms.filter(|value| value.is_finite() && *value >= 0.0),
        TargetOutcome::Failed { .. } => None,
    }
}

fn cost(outcome: &TargetOutcome) -> Option<f64> {
    match outcome {
        TargetOutcome::Output { cost_usd, .. } => cost_usd.filter(|value| value.is_finite() && *value >= 0.0),
        TargetOutcome::Failed { .. } => None,
    }
}

fn tokens(outcome: &TargetOutcome) -> Option<f64> {
    match outcome {
        TargetOutcome::Output { usage, .. } => usage.total().map(|count| count as f64),
        TargetOutcome::Failed { .. } => None,
    }
}

/// Where a metric's values come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Cells of the grader with the metric's name.
    Grader,
    /// Outcomes of the target.
    Measure(Measure),
}

/// The value that cells without a score get; `None` leaves them out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Fill {
    /// Cells that the instrument left unscored.
    pub unscored: Option<f64>,
    /// Cells of trials whose target failed.
    pub target_failed: Option<f64>,
}

impl Fill {
    /// The value for a reason.
    pub fn of(self, reason: UnscoredReason) -> Option<f64> {
        match reason {
            UnscoredReason::TargetFailed => self.target_failed,
            other if other.is_instrument_failure() => self.unscored,
            _ => None,
        }
    }
}

/// A metric with all that its comparison depends on.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    /// Name of the grader or measure.
    pub name: String,
    /// Where its values come from.
    pub source: Source,
    /// Gate or inform.
    pub role: MetricRole,
    /// Which way is better.
    pub direction: Direction,
    /// Values it can have.
    pub scale: Scale,
    /// Smallest change that matters as the user set it, for measures as a share of the baseline; `None` when the policy
    /// says nothing.
    pub margin: Option<f64>,
    /// Acceptable value of the run itself.
    pub floor: Option<f64>,
    /// What is done with cells that the instrument left unscored, and with those of failed targets.
    pub on_missing: (OnMissing, OnMissing),
    /// The value that follows from it.
    pub fill: Fill,
    /// Greatest share of unscored cells.
    pub max_unscored: f64,
    /// Limit on single examples.
    pub guard: Option<Guard>,
    /// Draws per trial that the run planned.
    pub draws: u32,
    /// Why its margin cannot be used; the metric then has no finding.
    pub fault: Option<String>,
    /// Why its judge cannot be believed; the finding is shown and decides nothing.
    pub distrust: Option<Distrust>,
    /// Why its judge may not be better than chance; the finding decides, and this is told beside it.
    pub doubt: Option<String>,
}

impl Metric {
    /// A grader's metric under a policy.
    pub fn of_grader(grader: &GraderInfo, policy: &GatePolicy) -> Self {
        let metric = Self::new(&grader.name, Source::Grader, grader.direction, grader.scale.clone(), policy);
        Self { draws: grader.draws.max(1), ..metric }
    }

    /// A measure under a policy.
    pub fn of_measure(measure: Measure, policy: &GatePolicy) -> Self {
        let scale = Scale::Number { min: Some(0.0), max: None };
        Self::new(measure.name, Source::Measure(measure), Direction::Lower, scale, policy)
    }

    fn new(name: &str, source: Source, direction: Direction, scale: Scale, policy: &GatePolicy) -> Self {
        let demanded = policy.metrics.get(name).cloned();
        let metric = Self {
            name: name.to_owned(),
            source,
            role: demanded.as_ref().map_or(MetricRole::Inform, |demanded| demanded.role),
            direction,
            scale,
            margin: None,
            floor: None,
            on_missing: (OnMissing::Exclude, OnMissing::Exclude),
            fill: Fill::default(),
            max_unscored: policy.max_unscored,
            guard: None,
            draws: 1,
            fault: None,
            distrust: Distrust::of(name, policy),
            doubt: policy.doubted.get(name).cloned(),
        };
        let Some(demanded) = demanded else { return metric };
        let fault = metric.fault_of(demanded.margin, [demanded.on_unscored, demanded.on_target_failure]);
        let worst = metric.ends().map(|(worst, _)| worst);
        let fill = |what: OnMissing| if what == OnMissing::Fail { worst } else { None };
        Self {
            margin: demanded.margin.filter(|margin| margin.is_finite() && *margin >= 0.0),
            floor: demanded.floor.filter(|floor| floor.is_finite()),
            fill: Fill { unscored: fill(demanded.on_unscored), target_failed: fill(demanded.on_target_failure) },
            on_missing: (demanded.on_unscored, demanded.on_target_failure),
            max_unscored: demanded.max_unscored.unwrap_or(policy.max_unscored),
            guard: demanded.guard,
            fault,
            ..metric
        }
    }

    /// What is wrong with what is demanded of it.
    fn fault_of(&self, margin: Option<f64>, on_missing: [OnMissing; 2]) -> Option<String> {
        let unbounded = self.ends().is_none() && on_missing.iter().any(|what| *what != OnMissing::Exclude);
        match margin {
            Some(margin) if !margin.is_finite() => Some(format!("its margin of {margin} is no number; give 0 or more")),
            Some(margin) if margin < 0.0 => Some(format!("its margin of {margin} is negative; give 0 or more")),
            Some(margin) if self.width().is_some_and(|width| margin >= width) => Some(format!(
                "its margin of {margin} is as wide as its scale, so that every candidate would count as equivalent; \
                 give less"
            )),
            _ if unbounded => Some(
                "cells without a score cannot get the worst value of a scale without bounds; declare its least and \
                 greatest value, or leave them out"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Whether the gate must hold at both ends of what missing cells could be.
    pub fn wants_bounds(&self) -> bool {
        self.on_missing.0 == OnMissing::Bounds || self.on_missing.1 == OnMissing::Bounds
    }

    /// The same metric with missing cells at their worst or at their best, as far as the policy asks for both.
    pub fn at_end(&self, best: bool) -> Self {
        let end = self.ends().map(|(worst, greatest)| if best { greatest } else { worst });
        let fill = |what: OnMissing, now: Option<f64>| if what == OnMissing::Bounds { end } else { now };
        let fill = Fill {
            unscored: fill(self.on_missing.0, self.fill.unscored),
            target_failed: fill(self.on_missing.1, self.fill.target_failed),
        };
        Self { fill, ..self.clone() }
    }

    /// Worst and best value; `None` on a scale without bounds.
    pub fn ends(&self) -> Option<(f64, f64)> {
        let (least, greatest) = self.bounds()?;
        Some(if self.sign() > 0.0 { (least, greatest) } else { (greatest, least) })
    }

    /// Distance of the bounds.
    pub fn width(&self) -> Option<f64> {
        self.bounds().map(|(least, greatest)| greatest - least)
    }

    /// Whether a value lies outside the declared bounds.
    pub fn is_outside(&self, value: f64) -> bool {
        let slack = self.width().map_or(0.0, |width| 1e-9 * width);
        match &self.scale {
            Scale::Number { min, max } => {
                min.is_some_and(|min| value < min - slack) || max.is_some_and(|max| value > max + slack)
            }
            _ => false,
        }
    }

    /// Whether the metric can fail the gate.
    pub fn is_gated(&self) -> bool {
        self.role == MetricRole::Gate
    }

    /// Whether the values come from the target's own outcome.
    pub fn is_measure(&self) -> bool {
        matches!(self.source, Source::Measure(_))
    }

    /// 1 where more is better, -1 where less is.
    pub fn sign(&self) -> f64 {
        match self.direction {
            Direction::Higher => 1.0,
            Direction::Lower => -1.0,
        }
    }

    /// Least and greatest value, where both are known and differ.
    pub fn bounds(&self) -> Option<(f64, f64)> {
        self.scale.bounds().filter(|(least, greatest)| least < greatest)
    }
}
