//! Tables and numbers as text: widths, alignment, separators, units. Knows nothing of what they are about.

use std::fmt::Write as _;

pub use crate::sys::text::thousands;

/// A table, two spaces between columns. Columns of numbers stand at the right, so that digits of one weight stand below
/// each other; all others, and the first, at the left.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let columns: Vec<(usize, bool)> =
        widths.into_iter().enumerate().map(|(at, width)| (width, at > 0 && holds_numbers(rows, at))).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut row = String::new();
        for (cell, (width, at_right)) in cells.zip(&columns) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let _ = if *at_right { write!(row, "{pad}{cell}  ") } else { write!(row, "{cell}{pad}  ") };
        }
        let _ = writeln!(text, "{}", row.trim_end());
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Words that stand where a number is not known or means nothing.
const NO_NUMBER: &[&str] = &["", "-", "?", "unknown", "not defined"];

/// Whether a column holds numbers, with their units, and nothing else.
fn holds_numbers(rows: &[Vec<String>], at: usize) -> bool {
    let cells = || rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.trim());
    cells().any(is_number) && cells().all(|cell| NO_NUMBER.contains(&cell) || is_number(cell))
}

fn is_number(cell: &str) -> bool {
    let bare = cell.strip_prefix("at least ").unwrap_or(cell).trim_start_matches(['<', '$', '-', '+', '$']);
    let number = bare.trim_end_matches([' ', '%', 'm', 's']);
    number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
}

/// `1 trace`, `2 traces`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { many })
}

/// A number in so many significant digits, never fewer than its whole part has; whole numbers whole.
pub fn short(number: f64, digits: u8) -> String {
    if number == number.trunc() && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    let last = i32::from(digits) - 1;
    let decimals = last - number.abs().log10().floor().clamp(-9.0, f64::from(last)) as i32;
    let text = format!("{number:.*}", usize::try_from(decimals).unwrap_or(0));
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// US dollars.
pub fn dollars(amount: f64) -> String {
    if amount > 0.0 && amount < 0.000_05 {
        return "<$0.0001".to_owned();
    }
    if amount >= 1.0 { format!("${amount:.2}") } else { format!("${amount:.4}") }
}

/// A moment in UTC, to the millisecond.
pub fn moment(nanos: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanos));
    time.map_or_else(|_| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string())
}

/// A span of time as people say it.
pub fn duration(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_right_and_words_at_the_left() {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let rows = [row(["a", "1,024", "$0.50", "2026-11-21"]), row(["bb", "-", "<$0.0001", "7"])];
        let text = table(&["name", "held", "cost", "day"], &rows);
        let wanted = "name   held      cost  day\na     1,024     $0.50  2026-11-21\nbb        -  <$0.0001  7\n";
        assert_eq!(text, wanted);
        assert_eq!(table(&["n", "m"], &[row(["1", "-", "", ""])]), "n  m\n1  -\n");
        assert!(["12.5 %", "340 ms", "1.2 s", "at least $3.10", "-2.5"].into_iter().all(is_number));
        assert!(!["@1", "s", "%", "1/2", "12 of 13", "1c9e44d0", ""].into_iter().any(is_number));
    }

    #[test]
    fn numbers_are_short_and_not_rounded_away() {
        let six: Vec<String> =
            [0.0, 3.0, 0.000_123_456_789, 1234.5678, 1e-12, -2.5].map(|number| short(number, 6)).into();
        assert_eq!(six, ["0", "3", "0.000123457", "1234.57", "0.000000000001", "-2.5"]);
        let four: Vec<String> = [0.25, 19.666_67, 99.996, 123_449.6].map(|number| short(number, 4)).into();
        assert_eq!(four, ["0.25", "19.67", "100", "123450"]);
    }
}
