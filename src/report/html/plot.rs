//! Interval plots as numbers: where on a row of 0 to 100 % a point, its interval, its margin and its marks lie.
//!
//! In plots of differences the right side is always the better one, whatever the metric's direction.

use serde::Serialize;

use crate::model::Direction;
use crate::report::number::decimal;
use crate::stats::Estimate;

/// A stretch of a row in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Stretch {
    /// Left end.
    pub x: String,
    /// Right end.
    pub x2: String,
    /// Length.
    pub width: String,
}

/// One row of a plot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Plot {
    /// What the row shows, in words.
    pub label: String,
    /// Class for color.
    pub tone: &'static str,
    /// Whether the dot is hollow (undecided).
    pub hollow: bool,
    /// Changes too small to matter.
    pub band: Option<Stretch>,
    /// No change.
    pub zero: Option<String>,
    /// Interval.
    pub line: Option<Stretch>,
    /// The interval goes on beyond the left edge.
    pub cut_left: bool,
    /// The interval goes on beyond the right edge.
    pub cut_right: bool,
    /// Point.
    pub point: Option<String>,
    /// Acceptable value.
    pub floor: Option<String>,
}

/// One mark of an axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tick {
    /// Place in percent.
    pub x: String,
    /// Text.
    pub text: String,
    /// `start`, `middle` or `end`.
    pub anchor: &'static str,
}

/// From numbers to places on a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    lo: f64,
    hi: f64,
    mirrored: bool,
}

impl Axis {
    /// An axis between two numbers; `lo < hi` or it is widened.
    pub(super) fn between(lo: f64, hi: f64) -> Self {
        if lo.is_finite() && hi.is_finite() && lo < hi {
            Self { lo, hi, mirrored: false }
        } else {
            Self { lo: 0.0, hi: 1.0, mirrored: false }
        }
    }

    /// An axis around zero that reaches the greatest of the sizes, rounded up.
    pub(super) fn around_zero(sizes: impl Iterator<Item = f64>) -> Self {
        let reach = round_up(sizes.filter(|size| size.is_finite()).map(f64::abs).fold(0.0, f64::max));
        Self::between(-reach, reach)
    }

    /// The same axis for a metric of this direction: mirrored where less is better.
    pub(super) fn toward(self, direction: Direction) -> Self {
        Self { mirrored: direction == Direction::Lower, ..self }
    }

    /// Right end.
    pub(super) fn reach(&self) -> f64 {
        self.hi
    }

    /// Place of a number as a percentage, held within the row.
    pub(super) fn place(&self, number: f64) -> f64 {
        let share = ((number - self.lo) / (self.hi - self.lo)).clamp(0.0, 1.0) * 100.0;
        if self.mirrored { 100.0 - share } else { share }
    }

    /// A stretch between two numbers.
    pub(super) fn stretch(&self, from: f64, to: f64) -> Stretch {
        let (a, b) = (self.place(from), self.place(to));
        let (x, x2) = (a.min(b), a.max(b));
        Stretch { x: percent(x), x2: percent(x2), width: percent(x2 - x) }
    }

    /// A row with point and interval on this axis; the caller adds the rest.
    pub(super) fn plot(&self, point: Option<f64>, interval: Option<(f64, f64)>) -> Plot {
        let point = point.filter(|point| point.is_finite());
        let interval = interval.filter(|(lo, hi)| lo.is_finite() && hi.is_finite());
        let below = interval.is_some_and(|(lo, _)| lo < self.lo - 1e-9);
        let above = interval.is_some_and(|(_, hi)| hi > self.hi + 1e-9);
        Plot {
            label: String::new(),
            tone: "same",
            hollow: false,
            band: None,
            zero: None,
            line: interval.map(|(lo, hi)| self.stretch(lo, hi)),
            cut_left: if self.mirrored { above } else { below },
            cut_right: if self.mirrored { below } else { above },
            point: point.map(|point| percent(self.place(point))),
            floor: None,
        }
    }

    /// Marks at the given numbers.
    pub(super) fn ticks(&self, numbers: &[f64], text: impl Fn(f64) -> String) -> Vec<Tick> {
        let last = numbers.len().saturating_sub(1);
        let anchor = |index| match index {
            0 => "start",
            index if index == last => "end",
            _ => "middle",
        };
        let mark = |(index, number): (usize, &f64)| Tick {
            x: percent(self.place(*number)),
            text: text(*number),
            anchor: anchor(index),
        };
        numbers.iter().enumerate().map(mark).collect()
    }
}

/// Ends of an estimate's interval.
pub(super) fn ends(estimate: &Estimate) -> Option<(f64, f64)> {
    estimate.interval.as_ref().map(|interval| (interval.lo, interval.hi))
}

/// A number of percent for an SVG attribute.
pub(super) fn percent(number: f64) -> String {
    format!("{}%", decimal(number, 2).replace('−', "-"))
}

/// The next round number at or above a size; 0.1 for nothing at all.
fn round_up(size: f64) -> f64 {
    if size <= 0.0 {
        return 0.1;
    }
    let decade = 10_f64.powf(size.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|step| step * decade).find(|round| *round >= size * 1.001).unwrap_or(decade * 12.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_is_always_right() {
        let axis = Axis::around_zero([0.18].into_iter());
        assert_eq!(axis.reach(), 0.2);
        assert_eq!(percent(axis.place(0.1)), "75.00%");
        assert_eq!(percent(axis.toward(Direction::Lower).place(0.1)), "25.00%");
        let line = axis.toward(Direction::Lower).stretch(-0.1, 0.1);
        assert_eq!((line.x.as_str(), line.x2.as_str()), ("25.00%", "75.00%"));
    }

    #[test]
    fn what_goes_beyond_the_edge_is_marked() {
        let plot = Axis::between(-0.1, 0.1).plot(Some(0.0), Some((-0.3, 0.05)));
        assert!(plot.cut_left && !plot.cut_right);
        assert_eq!(plot.line.unwrap().x, "0.00%");
        let mirrored = Axis::between(-0.1, 0.1).toward(Direction::Lower).plot(Some(0.0), Some((-0.3, 0.05)));
        assert!(!mirrored.cut_left && mirrored.cut_right);
    }

    #[test]
    fn numbers_that_are_none_are_not_drawn() {
        let plot = Axis::between(f64::NAN, 1.0).plot(Some(f64::INFINITY), Some((f64::NAN, 1.0)));
        assert!(plot.point.is_none() && plot.line.is_none());
    }
}
