//! Fitting text into columns: wrapping and tables that fall back to two lines per row where one does not fit.
//!
//! Widths are counted in characters; names are expected to be mostly narrow ones.

use super::words::Mark;

/// One cell of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    right: bool,
    tone: &'static str,
    join: &'static str,
}

impl Cell {
    /// Text that begins at the column's left edge.
    pub(super) fn left(text: String) -> Self {
        Self { text, ..Self::default() }
    }

    /// Text that ends at the column's right edge.
    pub(super) fn right(text: String) -> Self {
        Self { text, right: true, ..Self::default() }
    }

    /// The same with a tone for color.
    pub(super) fn toned(self, tone: &'static str) -> Self {
        Self { tone, ..self }
    }

    /// The same with a sign between it and the next cell in place of the gap; a space for a narrow gap.
    pub(super) fn joined(self, join: &'static str) -> Self {
        Self { join, ..self }
    }
}

/// One row: a sign, cells, and a closing word.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// One character before the row.
    pub sign: String,
    /// Cells; the same count in all rows.
    pub cells: Vec<Cell>,
    /// Closing word with its tone.
    pub verdict: Option<(Mark, String)>,
}

/// Rows that share columns.
pub(super) struct Table {
    /// Rows.
    pub rows: Vec<Row>,
}

/// How many cells stay on the first of two lines: the name and the values.
const HEAD_CELLS: usize = 3;

impl Table {
    /// The table's lines, none longer than `width` if it can be helped. `paint` gets text and tone.
    pub(super) fn lines(&self, width: usize, paint: impl Fn(&str, &str) -> String) -> Vec<String> {
        let widths = self.widths();
        let unpainted = |text: &str, _: &str| text.to_owned();
        let one_line = self
            .rows
            .iter()
            .flat_map(|row| row_lines(row, &widths, true, &unpainted))
            .all(|line| length(line.trim_end()) <= width);
        self.rows.iter().flat_map(|row| row_lines(row, &widths, one_line, &paint)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
        (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| row.cells.get(column)).map(|cell| length(&cell.text)).max())
            .map(|width| width.unwrap_or(0))
            .collect()
    }
}

fn row_lines(row: &Row, widths: &[usize], one_line: bool, paint: &impl Fn(&str, &str) -> String) -> Vec<String> {
    let closing = row.verdict.as_ref().map(|(mark, text)| paint(text, mark.tone)).unwrap_or_default();
    let cells: Vec<(&Cell, usize)> = row.cells.iter().zip(widths.iter().copied()).filter(|(_, w)| *w > 0).collect();
    if one_line {
        return vec![format!("  {} {}  {closing}", row.sign, join(&cells, paint))];
    }
    let (head, tail) = cells.split_at(HEAD_CELLS.min(cells.len()));
    let tail: Vec<(&Cell, usize)> =
        tail.iter().filter(|(cell, _)| !cell.text.is_empty()).map(|(cell, _)| (*cell, length(&cell.text))).collect();
    let mut lines = vec![format!("  {} {}  {closing}", row.sign, join(head, paint))];
    if !tail.is_empty() {
        lines.push(format!("      {}", join(&tail, paint)));
    }
    lines
}

fn join(cells: &[(&Cell, usize)], paint: &impl Fn(&str, &str) -> String) -> String {
    let mut line = String::new();
    let mut gap = String::new();
    for (cell, width) in cells {
        line.push_str(&gap);
        let padding = " ".repeat(width.saturating_sub(length(&cell.text)));
        let text = paint(&cell.text, cell.tone);
        line.push_str(&if cell.right { padding + text.as_str() } else { text + padding.as_str() });
        gap = match cell.join {
            "" => "  ".to_owned(),
            " " => " ".to_owned(),
            sign => format!(" {sign} "),
        };
    }
    line
}

/// Breaks text into lines of at most `width` characters at spaces; words longer than a line are cut.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        used += word.len();
        line.extend(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_asked() {
        let lines = wrap("a verylongwordthatdoesnotfit and some more words", 10);
        assert!(lines.iter().all(|line| line.chars().count() <= 10), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), "averylongwordthatdoesnotfitandsomemorewords");
    }

    #[test]
    fn a_wide_row_takes_two_lines() {
        let cells = ["name", "0.1", "0.2", "a long tail that does not fit in here"];
        let cells: Vec<Cell> = cells.iter().map(|text| Cell::left((*text).to_owned())).collect();
        let row = Row { sign: "!".to_owned(), cells, verdict: None };
        let table = Table { rows: vec![row] };
        assert_eq!(table.lines(100, |text, _| text.to_owned()).len(), 1);
        let narrow = table.lines(40, |text, _| text.to_owned());
        assert_eq!(narrow, ["  ! name  0.1  0.2  ", "      a long tail that does not fit in here"]);
    }
}
