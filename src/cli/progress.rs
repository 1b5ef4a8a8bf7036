//! Progress of runs and pulls on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal};
use std::sync::Mutex;

use crate::ingest::api::PullProgress;
use crate::model::{Event, JournalEntry, RunTotals};
use crate::report::{Progress, PullDisplay};
use crate::runner::Listener;

/// Shows progress as the runner's listener.
struct Shown(Progress);

impl Listener for Shown {
    fn name(&self) -> &str {
        "progress"
    }

    fn on_entry(&mut self, entry: &JournalEntry, totals: &RunTotals) -> Result<(), String> {
        self.0.on_entry(entry, totals);
        if matches!(entry.event, Event::RunFinished { .. }) {
            self.0.finish(totals);
        }
        Ok(())
    }
}

/// The listeners of a run; none when the user wants quiet.
pub fn listeners(quiet: bool, budget_usd: Option<f64>) -> Vec<Box<dyn Listener>> {
    if quiet {
        return Vec::new();
    }
    let progress = if io::stderr().is_terminal() {
        Progress::bar(budget_usd)
    } else {
        Progress::lines(Box::new(io::stderr()), budget_usd)
    };
    vec![Box::new(Shown(progress))]
}

/// Shows how far pulls are; nothing when the user wants quiet.
pub struct Pulling(Mutex<Option<PullDisplay>>);

impl Pulling {
    /// Waits for the first page before anything is drawn.
    pub fn new(quiet: bool) -> Self {
        let display = if quiet {
            None
        } else if io::stderr().is_terminal() {
            Some(PullDisplay::spinner())
        } else {
            Some(PullDisplay::lines(Box::new(io::stderr())))
        };
        Self(Mutex::new(display))
    }

    /// Shows one state.
    pub fn show(&self, at: &PullProgress<'_>) {
        if let Ok(mut display) = self.0.lock()
            && let Some(display) = display.as_mut()
        {
            display.show(at.source, at.rows, at.pages, at.retries);
        }
    }

    /// Takes the display away.
    pub fn finish(&self) {
        if let Ok(mut display) = self.0.lock()
            && let Some(display) = display.take()
        {
            display.finish();
        }
    }
}
