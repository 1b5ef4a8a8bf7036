//! Live progress of a pull: a spinner on a terminal, a plain line every ten seconds anywhere else.
//!
//! Writes to stderr or to what it is given, never to stdout, and never stops a pull: a failed write is ignored.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::sys::text::one_line;

/// Time between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Time before a rate means something.
const RATE_AFTER: Duration = Duration::from_secs(1);

enum Display {
    Spinner(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

/// Shows rows and their rate.
pub struct PullDisplay {
    display: Display,
    /// The source shown, and since when.
    current: Option<(String, Instant)>,
    last_line: Instant,
}

impl PullDisplay {
    /// A spinner on stderr, redrawn in place.
    pub fn spinner() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // A template that does not parse would be a slip in this file; the default style then serves.
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Self::new(Display::Spinner(bar))
    }

    /// A line every ten seconds, for logs.
    pub fn lines(to: Box<dyn Write + Send>) -> Self {
        Self::new(Display::Lines(to))
    }

    fn new(display: Display) -> Self {
        Self { display, current: None, last_line: Instant::now() }
    }

    /// Shows how far a source is.
    pub fn show(&mut self, source: &str, rows: u64, pages: u64, retries: u64) {
        let began = match &self.current {
            Some((name, began)) if name == source => *began,
            _ => {
                let now = Instant::now();
                self.current = Some((source.to_owned(), now));
                now
            }
        };
        match &mut self.display {
            Display::Spinner(bar) => {
                bar.set_message(line(source, rows, pages, retries, began.elapsed()));
                bar.tick();
            }
            Display::Lines(to) if self.last_line.elapsed() >= LINE_EVERY => {
                let _ = writeln!(to, "{}", line(source, rows, pages, retries, began.elapsed()));
                self.last_line = Instant::now();
            }
            Display::Lines(_) => {}
        }
    }

    /// Takes the display away.
    pub fn finish(self) {
        if let Display::Spinner(bar) = self.display {
            bar.finish_and_clear();
        }
    }
}

fn line(source: &str, rows: u64, pages: u64, retries: u64, took: Duration) -> String {
    let mut line = format!("{}: {rows} rows in {pages} pages", one_line(source, 60));
    if took >= RATE_AFTER {
        line.push_str(&format!(", {:.0} rows/s", rows as f64 / took.as_secs_f64()));
    }
    if retries > 0 {
        line.push_str(&format!(", {retries} tried again"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_rows_rate_and_repeats() {
        assert_eq!(line("prod", 500, 1, 0, Duration::ZERO), "prod: 500 rows in 1 pages");
        let later = line("prod", 500, 2, 3, Duration::from_secs(5));
        assert_eq!(later, "prod: 500 rows in 2 pages, 100 rows/s, 3 tried again");
    }
}
