//! Numbers as people read them: signs that line up, units, as many decimals as mean something.
//!
//! Rounding happens here and nowhere else; nothing is computed from a rounded number.

use crate::model::Scale;
use crate::stats::Estimate;

/// What is written for a number that is not there.
pub(super) const ABSENT: &str = "–";

/// The unit of a metric, which decides how its numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A plain number with this many decimals.
    Plain(usize),
    /// Milliseconds; shown as ms, s or min.
    Milliseconds,
    /// US dollars.
    Dollars,
    /// Tokens.
    Tokens,
}

impl Unit {
    /// The unit of a metric, told from its name for the measures and from its scale for everything else.
    pub(super) fn of(name: &str, scale: &Scale) -> Self {
        match name {
            "latency_ms" => return Self::Milliseconds,
            "cost_usd" => return Self::Dollars,
            "tokens" => return Self::Tokens,
            _ => {}
        }
        match scale.bounds() {
            Some((lo, hi)) if lo.abs().max(hi.abs()) <= 1.0 => Self::Plain(3),
            Some((lo, hi)) if lo.abs().max(hi.abs()) > 100.0 => Self::Plain(1),
            Some(_) => Self::Plain(2),
            None => Self::Plain(3),
        }
    }

    /// A value in this unit.
    pub(super) fn value(self, number: f64) -> String {
        match self {
            Self::Plain(places) => decimal(number, places),
            Self::Milliseconds => milliseconds(number),
            Self::Dollars => dollars(number),
            Self::Tokens => decimal_grouped(number),
        }
    }

    /// A value in this unit, or a dash.
    pub(super) fn maybe(self, number: Option<f64>) -> String {
        number.map_or_else(|| ABSENT.to_owned(), |number| self.value(number))
    }

    /// A difference in this unit, always with its sign.
    pub(super) fn difference(self, number: f64) -> String {
        let text = self.value(number);
        if number > 0.0 && text.chars().any(|c| ('1'..='9').contains(&c)) { format!("+{text}") } else { text }
    }
}

/// The point of a difference and, apart from it, its interval in brackets.
pub(super) fn difference(unit: Unit, estimate: &Estimate) -> (String, String) {
    let point = estimate.estimate.map_or_else(|| ABSENT.to_owned(), |point| unit.difference(point));
    let interval = estimate
        .interval
        .as_ref()
        .map(|interval| format!("[{}, {}]", unit.difference(interval.lo), unit.difference(interval.hi)))
        .unwrap_or_default();
    (point, interval)
}

/// The point of a mean and, apart from it, its interval in brackets.
pub(super) fn mean(unit: Unit, estimate: &Estimate) -> (String, String) {
    let interval = estimate
        .interval
        .as_ref()
        .map(|interval| format!("[{}, {}]", unit.value(interval.lo), unit.value(interval.hi)))
        .unwrap_or_default();
    (unit.maybe(estimate.estimate), interval)
}

/// The point of a ratio and, apart from it, its interval in brackets.
pub(super) fn ratio(estimate: &Estimate) -> (String, String) {
    let places = |size: f64| match size {
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    let times = |number: f64| format!("×{}", decimal(number, places(number.abs())));
    let point = estimate.estimate.map_or_else(|| ABSENT.to_owned(), times);
    let interval = estimate
        .interval
        .as_ref()
        .map(|interval| format!("[{}, {}]", times(interval.lo), times(interval.hi)))
        .unwrap_or_default();
    (point, interval)
}

/// A number with a fixed count of decimals, a real minus sign, and no negative zero.
pub(super) fn decimal(number: f64, places: usize) -> String {
    if !number.is_finite() {
        return ABSENT.to_owned();
    }
    // Past this, fixed decimals are a row of meaningless digits.
    if number.abs() >= 1e9 {
        return format!("{number:.2e}").replace('-', "−");
    }
    let text = format!("{number:.places$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| c == '0' || c == '.') => digits.to_owned(),
        Some(digits) => format!("−{digits}"),
        None => text,
    }
}

/// A number with as many decimals as it has, at most four: a single score, a setting.
pub(super) fn plain(number: f64) -> String {
    let text = decimal(number, 4);
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A whole number in groups of three.
pub(super) fn count(number: u64) -> String {
    group(&number.to_string())
}

/// A probability: three decimals, or `<0.001`.
pub(super) fn probability(p: f64) -> String {
    if p < 0.001 { "<0.001".to_owned() } else { decimal(p, 3) }
}

/// A share of a whole as a percentage without false precision: one decimal only for wholes of a thousand and more.
/// None and all are said of nothing less than none and all.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return ABSENT.to_owned();
    }
    let share = part as f64 / whole as f64 * 100.0;
    let partly = part > 0 && part < whole;
    match decimal(share, usize::from(whole >= 1000 && partly)).as_str() {
        "0" if partly => "<1 %".to_owned(),
        "0.0" if partly => "<0.1 %".to_owned(),
        "100" if partly => ">99 %".to_owned(),
        "100.0" if partly => ">99.9 %".to_owned(),
        share => format!("{share} %"),
    }
}

/// US dollars, with more decimals the smaller the sum.
pub(super) fn dollars(number: f64) -> String {
    if !number.is_finite() {
        return ABSENT.to_owned();
    }
    let size = number.abs();
    let sign = if number < 0.0 { "−" } else { "" };
    if size >= 1000.0 {
        return format!("{sign}${}", group(&format!("{size:.0}")));
    }
    let places = match size {
        size if size >= 1.0 || size == 0.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.001 => 4,
        _ => 6,
    };
    format!("{sign}${size:.places$}")
}

/// A time in the unit that suits its size.
pub(super) fn milliseconds(number: f64) -> String {
    let size = number.abs();
    if size >= 120_000.0 {
        format!("{} min", decimal(number / 60_000.0, 1))
    } else if size >= 1000.0 {
        format!("{} s", decimal(number / 1000.0, if size >= 10_000.0 { 1 } else { 2 }))
    } else if size >= 10.0 || size == 0.0 {
        format!("{} ms", decimal(number, 0))
    } else {
        format!("{} ms", decimal(number, 2))
    }
}

fn decimal_grouped(number: f64) -> String {
    let text = decimal(number, usize::from(number.abs() < 10.0));
    match text.split_once('−') {
        Some((_, digits)) => format!("−{}", group(digits)),
        None => group(&text),
    }
}

fn group(digits: &str) -> String {
    let whole = digits.split('.').next().unwrap_or(digits).len();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, character) in digits.chars().enumerate() {
        if index > 0 && index < whole && (whole - index).is_multiple_of(3) && character.is_ascii_digit() {
            text.push(',');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_real_and_zero_has_none() {
        assert_eq!(decimal(-0.0834, 3), "−0.083");
        assert_eq!(decimal(-0.0001, 3), "0.000");
        assert_eq!(Unit::Plain(3).difference(0.05), "+0.050");
        assert_eq!(Unit::Plain(3).difference(0.0001), "0.000");
        assert_eq!(decimal(f64::NAN, 3), ABSENT);
        assert_eq!(decimal(-1.5e12, 3), "−1.50e12");
    }

    #[test]
    fn units_follow_size() {
        assert_eq!(milliseconds(841.4), "841 ms");
        assert_eq!(milliseconds(2412.0), "2.41 s");
        assert_eq!(milliseconds(-190_000.0), "−3.2 min");
        assert_eq!(dollars(0.00042), "$0.000420");
        assert_eq!(dollars(0.0123), "$0.0123");
        assert_eq!(dollars(-12.5), "−$12.50");
        assert_eq!(dollars(12345.6), "$12,346");
        assert_eq!(Unit::Tokens.value(3412.4), "3,412");
        assert_eq!(Unit::Tokens.difference(-1234.0), "−1,234");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn decimals_are_not_finer_than_the_count() {
        assert_eq!(percent(1, 3), "33 %");
        assert_eq!(percent(1, 3000), "<0.1 %");
        assert_eq!(percent(889, 890), ">99 %");
        assert_eq!(percent(890, 890), "100 %");
        assert_eq!(percent(0, 0), ABSENT);
        assert_eq!(plain(0.5), "0.5");
        assert_eq!(plain(100.0), "100");
        assert_eq!(probability(0.0002), "<0.001");
    }
}
