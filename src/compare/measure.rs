//! What is compared: metrics of graders and the measures every output carries (latency, cost, tokens).

use crate::model::{Direction, GatePolicy, GraderInfo, MetricRole, Scale, TargetOutcome};

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
    /// Smallest change that matters as the user set it; `None` when the policy does not name the metric.
    pub margin: Option<f64>,
    /// Acceptable value of the run itself.
    pub floor: Option<f64>,
}

impl Metric {
    /// A grader's metric under a policy.
    pub fn of_grader(grader: &GraderInfo, policy: &GatePolicy) -> Self {
        Self::new(&grader.name, Source::Grader, grader.direction, grader.scale.clone(), policy)
    }

    /// A measure under a policy.
    pub fn of_measure(measure: Measure, policy: &GatePolicy) -> Self {
        let scale = Scale::Number { min: Some(0.0), max: None };
        Self::new(measure.name, Source::Measure(measure), Direction::Lower, scale, policy)
    }

    fn new(name: &str, source: Source, direction: Direction, scale: Scale, policy: &GatePolicy) -> Self {
        let demanded = policy.metrics.get(name);
        Self {
            name: name.to_owned(),
            source,
            role: demanded.map_or(MetricRole::Inform, |demanded| demanded.role),
            direction,
            scale,
            margin: demanded.map(|demanded| demanded.margin).filter(|margin| margin.is_finite() && *margin >= 0.0),
            floor: demanded.and_then(|demanded| demanded.floor).filter(|floor| floor.is_finite()),
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
