//! Live progress of a run: a bar on a terminal, a plain line every ten seconds anywhere else.
//!
//! Fed with journal entries in order; all times come from them, so a replay shows what the live run showed. Writes
//! to stderr or to what it is given, never to stdout, and never stops a run: a failed write is ignored.

use std::io::Write;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::{number, words};
use crate::model::{CancelReason, Event, FailureKind, JournalEntry, RunTotals};
use crate::sys::text::one_line;

/// Seconds between plain lines.
const LINE_EVERY_S: f64 = 10.0;
/// Seconds before a rate means something.
const RATE_AFTER_S: f64 = 1.0;

enum Display {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

/// Shows how far a run is, what it costs and what goes wrong.
pub struct Progress {
    display: Display,
    budget_usd: Option<f64>,
    in_flight: Option<u64>,
    throttled: u64,
    started: Option<(Timestamp, u64)>,
    now: Option<Timestamp>,
    last_line: Option<Timestamp>,
}

impl Progress {
    /// A bar on stderr, redrawn in place.
    pub fn bar(budget_usd: Option<f64>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        // A template that does not parse would be a slip in this file; the default style then serves.
        if let Ok(style) = ProgressStyle::with_template("  {bar:24} {wide_msg}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Self::new(Display::Bar(bar), budget_usd)
    }

    /// A line every ten seconds of the run, for logs.
    pub fn lines(to: Box<dyn Write + Send>, budget_usd: Option<f64>) -> Self {
        Self::new(Display::Lines(to), budget_usd)
    }

    fn new(display: Display, budget_usd: Option<f64>) -> Self {
        Self { display, budget_usd, in_flight: None, throttled: 0, started: None, now: None, last_line: None }
    }

    /// Calls under way, where the caller knows it.
    pub fn set_in_flight(&mut self, calls: u64) {
        self.in_flight = Some(calls);
    }

    /// Takes the next entry and the counts after it.
    pub fn on_entry(&mut self, entry: &JournalEntry, totals: &RunTotals) {
        let done = work(totals).0;
        self.now = Some(entry.at);
        match &entry.event {
            Event::RunStarted { .. } | Event::RunResumed { .. } => {
                // What an earlier process did says nothing about the speed of this one.
                self.started = Some((entry.at, done));
                self.last_line = Some(entry.at);
            }
            Event::AttemptFailed { failure, .. } if failure.kind == FailureKind::RateLimited => self.throttled += 1,
            Event::CancelRequested { reason } => self.say(&format!("stopping: {}", cancel_words(reason))),
            _ => {}
        }
        if self.started.is_none() {
            self.started = Some((entry.at, done));
        }
        self.show(totals);
    }

    /// Shows the last counts and ends the display.
    pub fn finish(&mut self, totals: &RunTotals) {
        let line = self.line(totals);
        match &mut self.display {
            Display::Bar(bar) => bar.finish_and_clear(),
            Display::Lines(to) => write_line(to, &line),
        }
    }

    fn show(&mut self, totals: &RunTotals) {
        // A long run has a million entries and a line every ten seconds: nothing is worded that is not shown.
        let due = self.last_line.is_none_or(|last| self.now.is_some_and(|now| seconds(last, now) >= LINE_EVERY_S));
        if matches!(self.display, Display::Lines(_)) && !due {
            return;
        }
        let line = self.line(totals);
        let (done, planned) = work(totals);
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_length(planned);
                bar.set_position(done);
                bar.set_message(line);
            }
            Display::Lines(to) => {
                write_line(to, &line);
                self.last_line = self.now;
            }
        }
    }

    fn say(&mut self, line: &str) {
        match &mut self.display {
            Display::Bar(bar) => bar.println(format!("  {line}")),
            Display::Lines(to) => write_line(to, line),
        }
    }

    /// The counts in one line.
    fn line(&self, totals: &RunTotals) -> String {
        let (done, planned) = work(totals);
        let mut parts =
            vec![format!("{}/{}", number::count(done), number::count(planned)), number::percent(done, planned)];
        if let Some(rate) = self.rate(done) {
            parts.push(format!("{}/s", number::decimal(rate, if rate < 10.0 { 1 } else { 0 })));
            let left = planned.saturating_sub(done) as f64 / rate;
            if left > 0.0 {
                parts.push(format!("ETA {}", span(left)));
            }
        }
        parts.push(self.spend(totals));
        let instrument = totals.instrument_failures();
        let counts = [
            ("target errors", totals.trials_failed),
            ("unscored", instrument),
            ("retries", totals.retries),
            ("throttled", self.throttled),
        ];
        parts.extend(
            counts.iter().filter(|(_, count)| *count > 0).map(|(what, n)| format!("{what} {}", number::count(*n))),
        );
        parts.extend(self.in_flight.map(|calls| format!("in flight {}", number::count(calls))));
        parts.retain(|part| !part.is_empty());
        parts.join("  ")
    }

    /// Work per second since this process began; `None` while that is too short to tell.
    fn rate(&self, done: u64) -> Option<f64> {
        let (since, before) = self.started?;
        let elapsed = seconds(since, self.now?);
        let rate = done.saturating_sub(before) as f64 / elapsed;
        (elapsed >= RATE_AFTER_S && rate > 0.0).then_some(rate)
    }

    fn spend(&self, totals: &RunTotals) -> String {
        let spent = totals.target_spend.cost_usd + totals.judge_spend.cost_usd;
        let open = totals.target_spend.unpriced_calls + totals.judge_spend.unpriced_calls > 0;
        // Where some calls have no price, the sum is a lower bound and says so.
        let bound = if open { "≥" } else { "" };
        match self.budget_usd {
            Some(budget) => format!("{bound}{} of {}", number::dollars(spent), number::dollars(budget)),
            None if spent > 0.0 => format!("{bound}{}", number::dollars(spent)),
            None => String::new(),
        }
    }
}

/// Done and planned: cells, or trials for a suite without graders.
fn work(totals: &RunTotals) -> (u64, u64) {
    if totals.cells_planned > 0 {
        (totals.cells_done(), totals.cells_planned)
    } else {
        (totals.trials_ok + totals.trials_failed, totals.trials_planned)
    }
}

fn write_line(to: &mut Box<dyn Write + Send>, line: &str) {
    // Nobody can be told that stderr is gone.
    let _ = writeln!(to, "{line}").and_then(|()| to.flush());
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

fn cancel_words(reason: &CancelReason) -> String {
    match reason {
        CancelReason::Interrupted => "interrupted; calls under way are finished first".to_owned(),
        CancelReason::BudgetSpent => "the budget is spent".to_owned(),
        CancelReason::DeadlinePassed => "the time is up".to_owned(),
        CancelReason::Decided { .. } => "the verdict is settled; calls under way are finished first".to_owned(),
        CancelReason::Fatal { failure } => {
            format!("{} ({})", one_line(&failure.message, 300), words::failure(failure.kind))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::{Failure, TrialKey, UnscoredReason};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn entry(seq: u64, second: i64, event: Event) -> JournalEntry {
        JournalEntry { seq, at: Timestamp::from_second(1_795_255_200 + second).unwrap(), event }
    }

    fn throttled() -> Event {
        Event::AttemptFailed {
            trial: TrialKey { example: "e".into(), trial: 0 },
            grader: None,
            attempt: 1,
            failure: Failure::new(FailureKind::RateLimited, "429"),
            retry_in_ms: Some(10),
        }
    }

    #[test]
    fn lines_come_every_ten_seconds_with_rate_and_spend() {
        let sink = Sink::default();
        let mut progress = Progress::lines(Box::new(sink.clone()), Some(5.0));
        let mut totals = RunTotals { cells_planned: 1200, scored: 200, ..RunTotals::default() };
        progress.on_entry(&entry(0, 0, Event::RunResumed { cells_done: 200 }), &totals);
        totals.scored = 250;
        progress.on_entry(&entry(1, 5, throttled()), &totals);
        totals.scored = 298;
        totals.unscored.insert(UnscoredReason::Timeout, 2);
        totals.judge_spend.cost_usd = 0.84;
        progress.on_entry(&entry(2, 10, throttled()), &totals);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        // 100 cells of this process in 10 s; the 200 from before the resumption do not count.
        assert_eq!(text, "300/1,200  25.0 %  10/s  ETA 1 min 30 s  $0.840 of $5.00  unscored 2  throttled 2\n");
    }

    #[test]
    fn an_unpriced_call_makes_the_sum_a_lower_bound() {
        let mut totals = RunTotals::default();
        totals.judge_spend.cost_usd = 1.5;
        totals.judge_spend.unpriced_calls = 1;
        assert_eq!(Progress::lines(Box::new(Sink::default()), None).spend(&totals), "≥$1.50");
    }

    #[test]
    fn time_left_is_read_at_a_glance() {
        assert_eq!([span(5.2), span(64.0), span(7320.0)], ["5 s", "1 min 04 s", "2 h 02 min"]);
    }
}
