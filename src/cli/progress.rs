//! Progress of a run on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal};

use crate::model::{Event, JournalEntry, RunTotals};
use crate::report::Progress;
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
