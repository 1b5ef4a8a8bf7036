//! Expected tool calls beside those made: the best pairing, in order or in any, and the difference line by line.

use serde_json::{Value, json};

use super::arguments::{Fit, Rules};
use super::calls::Expected;
use super::material::quote_value;
use crate::model::{ToolUse, Unscored, UnscoredReason};
use crate::stats::assign;
use crate::sys::text::one_line;

/// Steps of the search for the best pairing in any order.
const MAX_STEPS: usize = 50_000_000;
/// Lines of a difference that are kept.
const LINES: usize = 60;
/// Characters of the lines that an explanation shows.
const SHOWN: usize = 2_000;

/// One line of the difference.
#[derive(Clone, Debug, PartialEq)]
enum Line {
    /// A call as expected.
    Same(usize, usize),
    /// A call of the expected tool with other arguments.
    Changed(usize, usize),
    /// Expected and not made.
    Missing(usize),
    /// Made and not expected.
    Extra(usize),
}

/// Expected calls and made ones, paired.
pub(super) struct Aligned<'a> {
    rules: &'a Rules,
    expected: &'a [Expected],
    made: &'a [ToolUse],
    lines: Vec<Line>,
    /// Expected calls that were made as expected.
    pub full: usize,
    /// Sum over the best pairs of how far each fits, 0 to 1.
    pub credit: f64,
}

impl<'a> Aligned<'a> {
    /// Pairs as many calls as possible that fit whole, and then those of the same tool that fit best.
    pub(super) fn new(
        rules: &'a Rules,
        expected: &'a [Expected],
        made: &'a [ToolUse],
        ordered: bool,
    ) -> Result<Self, Unscored> {
        let (rows, columns) = (expected.len(), made.len());
        let shorter = rows.min(columns);
        if !ordered && rows.saturating_mul(columns).saturating_mul(shorter) > MAX_STEPS {
            let detail = format!("{columns} calls against {rows} expected ones are too many to pair: expect fewer");
            return Err(Unscored::new(UnscoredReason::InputTooLong, detail));
        }
        // How far each pair fits, and whether whole; row by row.
        let fits: Vec<(f64, bool)> = expected
            .iter()
            .flat_map(|call| made.iter().map(move |other| (call, other)))
            .map(|(call, other)| rules.fit(call, other).map_or((0.0, false), |fit| (fit.share(), fit.is_full())))
            .collect();
        let at = |row: usize, column: usize| fits.get(row * columns + column).copied().unwrap_or((0.0, false));
        // A pair that fits whole is worth more than any number of pairs that do not.
        let whole = (shorter + 1) as f64;
        let first_whole = |row, column| {
            let (share, full) = at(row, column);
            if full { share + whole } else { share }
        };
        let best = |row, column| at(row, column).0;
        let (mates, credited) = if ordered {
            (in_order(rows, columns, first_whole), in_order(rows, columns, best))
        } else {
            (assign(rows, columns, first_whole), assign(rows, columns, best))
        };
        let pairs = |mates: &[Option<usize>]| {
            mates.iter().enumerate().filter_map(|(row, mate)| Some(at(row, (*mate)?))).collect::<Vec<_>>()
        };
        let full = pairs(&mates).iter().filter(|(_, full)| *full).count();
        let credit = pairs(&credited).iter().map(|(share, _)| share).sum();
        Ok(Self { rules, expected, made, lines: lines(&mates, columns, at, ordered), full, credit })
    }

    /// F1 of the credit: twice the sum over the number of expected and made calls, 0 to 1.
    pub(super) fn f1(&self) -> f64 {
        let all = self.expected.len() + self.made.len();
        if all == 0 { 1.0 } else { (2.0 * self.credit / all as f64).clamp(0.0, 1.0) }
    }

    fn fit(&self, row: usize, column: usize) -> Fit {
        let pair = self.expected.get(row).zip(self.made.get(column));
        pair.and_then(|(expected, made)| self.rules.fit(expected, made)).unwrap_or_default()
    }

    fn line(&self, line: &Line) -> String {
        let wanted = |row: usize| self.expected.get(row).map(Expected::shown).unwrap_or_default();
        let did = |column: usize| self.made.get(column).map(shown).unwrap_or_default();
        match line {
            Line::Same(_, column) => format!("= {}", did(*column)),
            Line::Changed(row, column) => {
                let name = self.made.get(*column).map(|call| one_line(&call.name, 60)).unwrap_or_default();
                let faults = self.fit(*row, *column).faults;
                let more = if faults.len() > 4 { format!("; and {} more", faults.len() - 4) } else { String::new() };
                let told: Vec<String> = faults.into_iter().take(4).collect();
                format!("~ `{name}`: {}{more}", told.join("; "))
            }
            Line::Missing(row) => format!("- {} (expected, not made)", wanted(*row)),
            Line::Extra(column) => format!("+ {} (made, not expected)", did(*column)),
        }
    }

    /// The difference, a call on each line: `=` as expected, `~` with other arguments, `-` missing, `+` besides.
    pub(super) fn told(&self) -> String {
        let mut text = String::new();
        for (place, line) in self.lines.iter().enumerate() {
            let line = self.line(line);
            if place == LINES || text.chars().count() + line.chars().count() > SHOWN {
                text.push_str(&format!("\n… and {} more", self.lines.len() - place));
                break;
            }
            text.push('\n');
            text.push_str(&line);
        }
        text
    }

    /// The same for programs.
    pub(super) fn details(&self) -> Value {
        let lines = self.lines.iter().take(LINES).map(|line| {
            let (mark, row, column) = match line {
                Line::Same(row, column) => ("same", Some(*row), Some(*column)),
                Line::Changed(row, column) => ("changed", Some(*row), Some(*column)),
                Line::Missing(row) => ("missing", Some(*row), None),
                Line::Extra(column) => ("extra", None, Some(*column)),
            };
            let tool = row.and_then(|row| self.expected.get(row)).map(|call| call.name.as_str());
            let tool = tool.or_else(|| column.and_then(|column| self.made.get(column)).map(|call| call.name.as_str()));
            let faults = row.zip(column).map(|(row, column)| self.fit(row, column).faults).unwrap_or_default();
            json!({ "mark": mark, "tool": tool, "expected": row, "made": column, "faults": faults })
        });
        lines.collect()
    }
}

fn shown(call: &ToolUse) -> String {
    let name = one_line(&call.name, 60);
    match call.arguments.as_ref().filter(|value| !value.is_null()) {
        Some(arguments) => format!("`{name}` with {}", quote_value(arguments)),
        None => format!("`{name}`"),
    }
}

/// The pairing in order whose gains sum up highest; for each row its column.
fn in_order(rows: usize, columns: usize, gain: impl Fn(usize, usize) -> f64) -> Vec<Option<usize>> {
    // `sums[row][column]`: the most that rows and columns from there on can give.
    let mut sums = vec![vec![0.0_f64; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            let pair = gain(row, column);
            let both = if pair > 0.0 { pair + sums[row + 1][column + 1] } else { 0.0 };
            sums[row][column] = both.max(sums[row + 1][column]).max(sums[row][column + 1]);
        }
    }
    let mut mates = vec![None; rows];
    let (mut row, mut column) = (0, 0);
    while row < rows && column < columns {
        let pair = gain(row, column);
        let here = sums[row][column];
        if pair > 0.0 && here <= pair + sums[row + 1][column + 1] {
            mates[row] = Some(column);
            row += 1;
            column += 1;
        } else if here <= sums[row + 1][column] {
            row += 1;
        } else {
            column += 1;
        }
    }
    mates
}

/// The difference in the order of the calls made where order counts, else of those expected.
fn lines(
    mates: &[Option<usize>],
    columns: usize,
    at: impl Fn(usize, usize) -> (f64, bool),
    ordered: bool,
) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut next = 0;
    for (row, mate) in mates.iter().enumerate() {
        match mate {
            Some(column) => {
                if ordered {
                    lines.extend((next..*column).map(Line::Extra));
                    next = column + 1;
                }
                lines.push(if at(row, *column).1 { Line::Same(row, *column) } else { Line::Changed(row, *column) });
            }
            None => lines.push(Line::Missing(row)),
        }
    }
    let taken = |column: &usize| !ordered && mates.contains(&Some(*column));
    lines.extend((next..columns).filter(|column| !taken(column)).map(Line::Extra));
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::arguments::Match;
    use super::super::subset::Tolerance;
    use super::*;

    fn call(name: &str, arguments: Value) -> ToolUse {
        ToolUse { name: name.to_owned(), arguments: Some(arguments), ..ToolUse::default() }
    }

    fn wanted(name: &str, arguments: Value) -> Expected {
        Expected { name: name.to_owned(), arguments: Some(arguments) }
    }

    fn rules() -> Rules {
        Rules::new(Match::Exact, BTreeMap::new(), Tolerance::default(), false, BTreeMap::new()).unwrap()
    }

    #[test]
    fn the_difference_stands_line_by_line() {
        let expected = [wanted("a", json!({"x": 1})), wanted("b", json!({"y": "p"})), wanted("c", json!({}))];
        let made = [call("a", json!({"x": 1})), call("d", json!({})), call("b", json!({"y": "q", "z": 2}))];
        let rules = rules();
        let aligned = Aligned::new(&rules, &expected, &made, true).unwrap();
        let told = aligned.told();
        let lines: Vec<&str> = told.lines().skip(1).collect();
        assert_eq!(lines[0], "= `a` with `{\"x\":1}`");
        assert_eq!(lines[1], "+ `d` with `{}` (made, not expected)");
        assert_eq!(lines[2], "~ `b`: `y` expected `\"p\"`, found `\"q\"`; `z` not expected, found `2`");
        assert_eq!(lines[3], "- `c` with `{}` (expected, not made)");
        assert_eq!(aligned.full, 1);
        // a is whole, of b the tool alone of three things is right.
        assert!(
            (aligned.credit - (1.0 + 1.0 / 3.0)).abs() < 1e-12
                && (aligned.f1() - 2.0 * aligned.credit / 6.0).abs() < 1e-12
        );
    }

    proptest! {
        #[test]
        fn any_order_gives_at_least_as_much_as_in_order(
            left in proptest::collection::vec((0..3_u8, 0..3_u8), 0..7), right in proptest::collection::vec((0..3_u8, 0..3_u8), 0..7),
        ) {
            let name = |tool: u8| format!("t{tool}");
            let expected: Vec<Expected> = left.iter().map(|(tool, x)| wanted(&name(*tool), json!({"x": x}))).collect();
            let made: Vec<ToolUse> = right.iter().map(|(tool, x)| call(&name(*tool), json!({"x": x}))).collect();
            let rules = rules();
            let ordered = Aligned::new(&rules, &expected, &made, true).unwrap();
            let any = Aligned::new(&rules, &expected, &made, false).unwrap();
            prop_assert!(any.full >= ordered.full && any.credit >= ordered.credit - 1e-9);
            prop_assert!((0.0..=1.0).contains(&any.f1()));
            for aligned in [ordered, any] {
                let rows = aligned.lines.iter().filter(|line| !matches!(line, Line::Extra(_))).count();
                let columns = aligned.lines.iter().filter(|line| !matches!(line, Line::Missing(_))).count();
                prop_assert_eq!((rows, columns), (expected.len(), made.len()), "each call stands on one line");
            }
        }
    }
}
