//! Quality against what it costs as a picture: a point with both intervals for each run, and the frontier of those whose
//! means none beats on both. A point stands out unless another run is credibly better and not dearer.
//!
//! Up is better and left is cheaper. Points are lettered, so that names of any length stand below the picture.

use serde::Serialize;

use super::plot::{Axis, percent};
use crate::compare::{Frontier, Matrix, MatrixMetric};
use crate::model::{Change, Scale};
use crate::report::number::{Unit, decimal};
use crate::report::words;
use crate::stats::Estimate;
use crate::sys::text::one_line;

/// Most points: there are as many letters.
const MOST: usize = 26;
/// Marks on an axis, about.
const TICKS: f64 = 4.0;

/// The picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Scatter {
    /// What it shows, in words.
    pub label: String,
    /// What is measured upwards and to the right.
    pub up: String,
    pub right: String,
    pub points: Vec<Dot>,
    /// The frontier, as straight pieces.
    pub steps: Vec<Piece>,
    pub ticks_up: Vec<Tick>,
    pub ticks_right: Vec<Tick>,
}

/// A straight piece in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Piece {
    pub x: String,
    pub y: String,
    pub x2: String,
    pub y2: String,
}

/// A mark of an axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tick {
    pub at: String,
    pub text: String,
    pub anchor: &'static str,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Dot {
    pub letter: String,
    pub name: String,
    /// Its figures in words.
    pub words: String,
    pub x: String,
    pub y: String,
    /// Whether no other run is credibly better and not dearer.
    pub best: bool,
    pub across: Option<Piece>,
    pub along: Option<Piece>,
}

/// A run with its two estimates.
struct Given<'a> {
    name: &'a str,
    quality: &'a Estimate,
    spent: &'a Estimate,
    /// Whether another is credibly better and not dearer.
    beaten: bool,
}

/// Both runs of a comparison.
pub(super) fn of_two(one: &Frontier) -> Option<Scatter> {
    let dearer = one.spent_ratio.interval.as_ref().map(|ends| (ends.lo > 1.0, ends.hi < 1.0));
    let beaten = |change: Change, saves: bool| one.quality == change && !saves && dearer.is_some();
    let (candidate_dearer, baseline_dearer) = dearer.unwrap_or_default();
    let given = [
        Given {
            name: "baseline",
            quality: &one.baseline.quality,
            spent: &one.baseline.mean,
            beaten: beaten(Change::Improved, candidate_dearer),
        },
        Given {
            name: "candidate",
            quality: &one.candidate.quality,
            spent: &one.candidate.mean,
            beaten: beaten(Change::Regressed, baseline_dearer),
        },
    ];
    scatter(&given, (&one.metric, Unit::of(&one.metric, &Scale::Binary)), &one.spent)
}

/// All runs of a matrix by one metric of a grader; `None` where fewer than two have a known cost.
pub(super) fn of_many(matrix: &Matrix, metric: &MatrixMetric) -> Option<Scatter> {
    if metric.direction == crate::model::Direction::Lower {
        return None;
    }
    let costs = matrix.measures.iter().find(|measure| measure.name == "cost_usd" && measure.name != metric.name)?;
    let given: Vec<Given<'_>> = metric
        .ranking
        .iter()
        .filter_map(|ranked| {
            let spent = &costs.ranking.iter().find(|other| other.run == ranked.run)?.estimate;
            let beaten = !ranked.beaten_by.is_empty();
            Some(Given { name: matrix.names.get(ranked.run)?, quality: &ranked.estimate, spent, beaten })
        })
        .collect();
    scatter(&given, (&metric.name, Unit::of(&metric.name, &metric.scale)), "cost_usd")
}

fn scatter(given: &[Given<'_>], (metric, unit): (&str, Unit), spent: &str) -> Option<Scatter> {
    let known: Vec<(&Given<'_>, f64, f64)> = given
        .iter()
        .filter_map(|one| {
            let (x, y) = one.spent.estimate.zip(one.quality.estimate)?;
            (x.is_finite() && y.is_finite()).then_some((one, x, y))
        })
        .take(MOST)
        .collect();
    if known.len() < 2 {
        return None;
    }
    let money = Unit::of(spent, &Scale::Number { min: Some(0.0), max: None });
    let across = axis(known.iter().map(|(one, x, _)| (*x, reach(one.spent, *x))), Some(0.0))?;
    let upward = axis(known.iter().map(|(one, _, y)| (*y, reach(one.quality, *y))), None)?;
    let (x, y) = (|value: f64| across.axis.place(value), |value: f64| 100.0 - upward.axis.place(value));
    let beats = |left: &(&Given<'_>, f64, f64), right: &(&Given<'_>, f64, f64)| {
        left.1 <= right.1 && left.2 >= right.2 && (left.1 < right.1 || left.2 > right.2)
    };
    let is_best = |one: &(&Given<'_>, f64, f64)| !known.iter().any(|other| beats(other, one));
    let piece = |(x1, y1): (f64, f64), (x2, y2): (f64, f64)| Piece {
        x: percent(x1),
        y: percent(y1),
        x2: percent(x2),
        y2: percent(y2),
    };
    let points = known.iter().zip('A'..='Z').map(|(one, letter)| {
        let (given, spent, quality) = *one;
        let told = |unit: Unit, value: f64, estimate: &Estimate| match &estimate.interval {
            Some(ends) => format!("{} [{}, {}]", unit.value(value), unit.value(ends.lo), unit.value(ends.hi)),
            None => unit.value(value),
        };
        let ends = |estimate: &Estimate| estimate.interval.as_ref().map(|ends| (ends.lo, ends.hi));
        Dot {
            letter: letter.to_string(),
            name: one_line(given.name, 60),
            words: format!("{} at {}", told(unit, quality, given.quality), told(money, spent, given.spent)),
            x: percent(x(spent)),
            y: percent(y(quality)),
            best: !given.beaten,
            across: ends(given.spent).map(|(lo, hi)| piece((x(lo), y(quality)), (x(hi), y(quality)))),
            along: ends(given.quality).map(|(lo, hi)| piece((x(spent), y(lo)), (x(spent), y(hi)))),
        }
    });
    let points: Vec<Dot> = points.collect();
    let mut best: Vec<(f64, f64)> =
        known.iter().filter(|one| is_best(one)).map(|(_, spent, quality)| (x(*spent), y(*quality))).collect();
    best.sort_by(|left, right| left.0.total_cmp(&right.0));
    let stairs = best.windows(2).flat_map(|two| match two {
        [(x1, y1), (x2, y2)] => vec![piece((*x1, *y1), (*x2, *y1)), piece((*x2, *y1), (*x2, *y2))],
        _ => Vec::new(),
    });
    let (up, right) = (words::measure_title(metric), words::measure_title(spent));
    let list: Vec<String> = points.iter().map(|dot| format!("{}: {}", dot.name, dot.words)).collect();
    Some(Scatter {
        label: one_line(&format!("{up} against {right} per example. {}", list.join("; ")), 600),
        up: one_line(up, 60),
        right: format!("{} per example", one_line(right, 60)),
        steps: stairs.collect(),
        ticks_up: across_ticks(&upward, unit, y),
        ticks_right: across_ticks(&across, money, x),
        points,
    })
}

/// Ends of the interval, or the point where there is none.
fn reach(estimate: &Estimate, point: f64) -> (f64, f64) {
    let ends = estimate.interval.as_ref().map(|ends| (ends.lo, ends.hi));
    ends.filter(|(lo, hi)| lo.is_finite() && hi.is_finite()).unwrap_or((point, point))
}

/// An axis with the distance of its marks.
struct Scaled {
    axis: Axis,
    lo: f64,
    hi: f64,
    step: f64,
}

/// An axis that holds all points with their intervals and ends at round numbers.
fn axis(values: impl Iterator<Item = (f64, (f64, f64))>, least: Option<f64>) -> Option<Scaled> {
    let (mut lo, mut hi) = (f64::INFINITY, f64::NEG_INFINITY);
    for (point, (from, to)) in values {
        lo = lo.min(from).min(point);
        hi = hi.max(to).max(point);
    }
    let width = (hi - lo).max(1e-9 * hi.abs().max(1e-3));
    let decade = 10_f64.powf((width / TICKS).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|part| part * decade).find(|step| width / step <= TICKS)?;
    let lo = (lo / step - 0.25).floor() * step;
    let lo = least.map_or(lo, |least| lo.max(least));
    let hi = (hi / step + 0.25).ceil() * step;
    Some(Scaled { axis: Axis::between(lo, hi), lo, hi, step })
}

fn across_ticks(scaled: &Scaled, unit: Unit, place: impl Fn(f64) -> f64) -> Vec<Tick> {
    let count = ((scaled.hi - scaled.lo) / scaled.step).round().clamp(1.0, 20.0) as u32;
    let mark = |number: u32| {
        let value = scaled.lo + f64::from(number) * scaled.step;
        let anchor = match number {
            0 => "start",
            last if last == count => "end",
            _ => "middle",
        };
        Tick { at: percent(place(value)), text: short(unit.value(value), value), anchor }
    };
    (0..=count).map(mark).collect()
}

/// A mark's text; rounding must not make a sign of nothing.
fn short(text: String, value: f64) -> String {
    if value.abs() < 1e-12 { decimal(0.0, 0) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Interval;

    fn estimate(point: f64, half: f64) -> Estimate {
        let interval = Some(Interval::new(point - half, point + half, 0.95, "t"));
        Estimate { estimate: Some(point), interval, ..Estimate::default() }
    }

    fn picture(points: &[(f64, f64)]) -> Option<Scatter> {
        let estimates: Vec<(Estimate, Estimate)> =
            points.iter().map(|(cost, quality)| (estimate(*cost, 0.01), estimate(*quality, 0.02))).collect();
        let given: Vec<Given<'_>> =
            estimates.iter().map(|(spent, quality)| Given { name: "run", quality, spent, beaten: false }).collect();
        scatter(&given, ("right", Unit::of("right", &Scale::Binary)), "cost_usd")
    }

    #[test]
    fn the_frontier_is_those_that_none_beats_on_both() {
        let found = picture(&[(0.10, 0.5), (0.20, 0.7), (0.30, 0.6), (0.40, 0.9)]).unwrap();
        // Two steps of two pieces each: from A to B, and past C to D.
        assert_eq!(found.steps.len(), 4);
        let ends: Vec<(&str, &str)> =
            found.steps.iter().skip(1).step_by(2).map(|piece| (piece.x2.as_str(), piece.y2.as_str())).collect();
        let of = |place: usize| (found.points[place].x.as_str(), found.points[place].y.as_str());
        assert_eq!(ends, [of(1), of(3)]);
        assert_eq!(found.points.iter().map(|dot| dot.letter.as_str()).collect::<Vec<_>>(), ["A", "B", "C", "D"]);
        assert!(found.label.contains("per example") && found.label.contains("90"), "{}", found.label);
    }

    #[test]
    fn better_is_up_and_cheaper_is_left() {
        let found = picture(&[(0.10, 0.9), (0.40, 0.5)]).unwrap();
        let number = |text: &str| text.trim_end_matches('%').parse::<f64>().unwrap();
        let [a, b] = found.points.as_slice() else { panic!("two points") };
        assert!(number(&a.x) < number(&b.x) && number(&a.y) < number(&b.y), "{a:?} {b:?}");
        assert!(found.steps.is_empty(), "one beats the other on both");
    }

    #[test]
    fn one_run_or_no_cost_is_no_picture() {
        assert_eq!(picture(&[(0.1, 0.5)]), None);
        assert_eq!(picture(&[(0.1, 0.5), (f64::NAN, 0.5)]), None);
        assert!(picture(&[(0.1, 0.5), (0.1, 0.5)]).is_some());
    }
}
