//! A metric over time put to charts: has it left where it was, and since when.
//!
//! For people, not for gates: the charts take the points for independent while nothing changes (methods 1.14), and each
//! point is a whole run or a whole day. What may wake somebody is decided in `watching`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Direction;
use crate::stats::{change_point, change_point_p, cusum, ewma, sd_of_steps};

/// Slack and decision limit of the cumulative sum, in standard deviations.
const SLACK: f64 = 0.5;
const DECISION: f64 = 5.0;
/// Weight of the newest point and width of the limits of the moving average.
const NEWEST: f64 = 0.2;
const WIDTH: f64 = 3.0;
/// Fewest points that say what is usual.
const LEAST_USUAL: usize = 4;
/// Random orders that a change point is held against; their seed is fixed.
const ORDERS: u32 = 999;
const SEED: u64 = 20_261;
/// p from which on a change point is not told in the sentence.
const CREDIBLE: f64 = 0.01;

/// One point of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DriftPoint {
    /// When: a day, or the moment of a run.
    pub at: String,
    /// The run, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Examples or traces behind it.
    pub n: u64,
    /// The figure.
    pub value: f64,
}

/// Where a series stands at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// Too few points, or none that vary.
    #[default]
    Unknown,
    /// Where it was.
    Steady,
    /// Beyond its limits on the good side.
    Better,
    /// Beyond its limits on the bad side.
    Worse,
}

/// A chart that left its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// The first point beyond them; `None` when all are within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_beyond: Option<String>,
    /// The last value of the chart on the side of its worse arm: of the sums in standard deviations, of the average in
    /// the metric's unit.
    pub last: f64,
    /// What it is held against at the end.
    pub limit: (f64, f64),
}

/// The moment at which a series changed most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shift {
    /// The first point after it.
    pub at: String,
    /// Mean before.
    pub before: f64,
    /// Mean after.
    pub after: f64,
    /// Chance of so clear a change if the order meant nothing.
    pub p: f64,
}

/// A series with what its charts say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Charted {
    /// Metric.
    pub name: String,
    /// Which way is better.
    pub direction: Direction,
    /// Points, oldest first.
    pub points: Vec<DriftPoint>,
    /// How many of the first points say what is usual.
    pub usual_points: u64,
    /// Their mean.
    pub usual: Option<f64>,
    /// Standard deviation of single points, from the steps between them.
    pub sd: Option<f64>,
    /// Cumulative sums (Page), slack 1/2 and limit 5 standard deviations.
    pub cusum: Option<Limits>,
    /// Moving average (Roberts), weight 0.2 and limits at 3 standard deviations.
    pub ewma: Option<Limits>,
    /// The change point.
    pub change: Option<Shift>,
    /// Where it stands.
    pub drift: Drift,
    /// The finding in words.
    pub sentence: String,
    /// Why its judge cannot be believed: the chart is shown and decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distrust: Option<String>,
    /// Why its judge may not be better than chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

impl Charted {
    /// Whether it has drifted for the worse, by a judge that can be believed.
    pub fn is_worse(&self) -> bool {
        self.drift == Drift::Worse && self.distrust.is_none()
    }

    /// Whether it says anything.
    pub fn is_known(&self) -> bool {
        self.drift != Drift::Unknown && self.distrust.is_none()
    }

    /// Whether it has too few points to say what is usual.
    pub fn is_short(&self) -> bool {
        self.usual.is_none()
    }
}

/// Puts a series to the charts. The first half of the points, at least 4, says what is usual.
pub fn chart(name: &str, direction: Direction, points: Vec<DriftPoint>) -> Charted {
    let values: Vec<f64> = points.iter().map(|point| point.value).collect();
    let usual_points = (values.len() / 2).max(LEAST_USUAL);
    let first = values.get(..usual_points).filter(|_| values.len() > usual_points);
    let usual = first.map(|first| first.iter().sum::<f64>() / first.len() as f64);
    let sd = first.and_then(sd_of_steps);
    let at = |place: usize| points.get(place).map(|point| point.at.clone());
    let mut charted = Charted {
        name: name.to_owned(),
        direction,
        usual_points: usual_points.min(values.len()) as u64,
        usual,
        sd,
        cusum: None,
        ewma: None,
        change: change_point(&values)
            .zip(change_point_p(&values, ORDERS, SEED))
            .and_then(|(found, p)| Some(Shift { at: at(found.split)?, before: found.left, after: found.right, p })),
        drift: Drift::Unknown,
        sentence: String::new(),
        points: Vec::new(),
        distrust: None,
        doubt: None,
    };
    if let (Some(mean), Some(sd)) = (usual, sd) {
        let mut sides = Vec::new();
        if let Some(found) = cusum(&values, mean, sd, SLACK, DECISION) {
            let last = |arm: &[f64]| arm.last().copied().unwrap_or(0.0);
            let (high, low) = (last(&found.high), last(&found.low));
            sides.extend((high > DECISION).then_some(1.0));
            sides.extend((low > DECISION).then_some(-1.0));
            let last = if high >= low { high } else { -low };
            charted.cusum = Some(Limits { first_beyond: found.alarm.and_then(at), last, limit: (-DECISION, DECISION) });
        }
        let averaged = ewma(&values, mean, sd, NEWEST, WIDTH);
        let end = averaged.as_ref().and_then(|found| Some((found, *found.path.last()?, *found.limits.last()?)));
        if let Some((found, last, limit)) = end {
            sides.extend((last > limit.1).then_some(1.0));
            sides.extend((last < limit.0).then_some(-1.0));
            charted.ewma = Some(Limits { first_beyond: found.alarm.and_then(at), last, limit });
        }
        let good = if direction == Direction::Higher { 1.0 } else { -1.0 };
        charted.drift = match sides.first() {
            None => Drift::Steady,
            Some(_) if sides.iter().any(|side: &f64| side * good < 0.0) => Drift::Worse,
            Some(_) => Drift::Better,
        };
    }
    charted.points = points;
    charted.sentence = sentence(&charted);
    charted
}

fn sentence(charted: &Charted) -> String {
    let Charted { name, points, .. } = charted;
    let number = |value: f64| format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned();
    let (Some(usual), Some(_), Some(last)) = (charted.usual, charted.sd, points.last()) else {
        return match charted.usual {
            None => format!("{name}: {} points are too few to say what is usual; charts take 5", points.len()),
            Some(_) => format!(
                "{name}: its first {} points are all equal, so that nothing says how much it varies",
                charted.usual_points
            ),
        };
    };
    let head = format!("{name} was {} at first and is {} now", number(usual), number(last.value));
    let since = charted.change.as_ref().filter(|change| change.p <= CREDIBLE).map(|change| {
        format!(
            "; it changed most at {}, from {} to {} (p {:.3})",
            change.at,
            number(change.before),
            number(change.after),
            change.p
        )
    });
    let word = match charted.drift {
        Drift::Worse => "it has drifted for the worse",
        Drift::Better => "it has drifted for the better",
        Drift::Steady | Drift::Unknown => "within what is usual",
    };
    format!("{head}: {word}{}", since.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: impl IntoIterator<Item = f64>) -> Vec<DriftPoint> {
        let point = |(day, value)| DriftPoint { at: format!("day {day}"), run: None, n: 100, value };
        values.into_iter().enumerate().map(point).collect()
    }

    fn wave(place: usize) -> f64 {
        [0.0, 0.01, -0.01, 0.005, -0.005][place % 5]
    }

    #[test]
    fn a_fall_is_worse_for_quality_and_better_for_cost() {
        let fall = |place: usize| 0.8 + wave(place) - if place < 12 { 0.0 } else { 0.1 };
        let found = chart("quality", Direction::Higher, points((0..20).map(fall)));
        assert_eq!(found.drift, Drift::Worse);
        assert_eq!(found.change.as_ref().unwrap().at, "day 12");
        assert!(found.sentence.contains("for the worse; it changed most at day 12"), "{}", found.sentence);
        assert_eq!(chart("cost", Direction::Lower, points((0..20).map(fall))).drift, Drift::Better);
    }

    #[test]
    fn noise_is_steady_and_too_little_is_unknown() {
        let steady = chart("quality", Direction::Higher, points((0..20).map(|place| 0.8 + wave(place))));
        assert_eq!(steady.drift, Drift::Steady, "{}", steady.sentence);
        let few = chart("quality", Direction::Higher, points((0..4).map(wave)));
        assert_eq!((few.drift, few.usual), (Drift::Unknown, None));
        let flat = chart("quality", Direction::Higher, points([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]));
        assert_eq!((flat.drift, flat.sd), (Drift::Unknown, None));
        assert!(flat.sentence.contains("all equal"), "{}", flat.sentence);
    }
}
