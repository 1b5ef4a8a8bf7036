//! What is told of a run that stopped as soon as its verdict was settled.

use super::show::{count, dollars, thousands};
use crate::model::RunId;
use crate::ops::decide::Decision;
use crate::sys::text::one_line;

/// What came of looking at a run while it went on, and what stopping saved.
pub fn decided(decision: &Decision, run: &RunId) -> String {
    let saved = &decision.savings;
    let part = |name: &str, (done, all): (u64, u64)| {
        let share = if all > 0 { 100.0 * (all - done.min(all)) as f64 / all as f64 } else { 0.0 };
        format!("{} of {} {name} ({share:.0} % saved)", thousands(done), thousands(all))
    };
    let mut parts = vec![part("examples", saved.examples), part("trials", saved.trials)];
    if saved.judge_answers.1 > 0 {
        parts.push(part("judge answers", saved.judge_answers));
    }
    if saved.spent_usd > 0.0 {
        let rest = saved.saved_usd.map(|usd| format!(", about {} saved", dollars(usd))).unwrap_or_default();
        parts.push(format!("{} spent{rest}", dollars(saved.spent_usd)));
    }
    let how = if decision.settled { "" } else { "Not settled before the end. " };
    format!(
        "{how}{}\n  Looked {} at it against {}: {}.\n  assize compare {} {}",
        one_line(&decision.headline, 600),
        count(decision.looks, "time", "times"),
        decision.baseline.short(),
        parts.join(", "),
        decision.baseline.short(),
        run.short()
    )
}
