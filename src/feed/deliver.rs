//! Delivers one batch: where the place refuses a batch as wrong, its halves are tried, down to the entry that is wrong.

use super::{Formed, Outcome, Outlet, Stop, Wire};

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Outcomes of the first entries, in their order; fewer than the batch where it was stopped.
    pub outcomes: Vec<Outcome>,
    /// Why the rest was not sent.
    pub stopped: Option<Stop>,
}

/// Sends a batch. What was not sent has no outcome.
pub async fn deliver(outlet: &dyn Outlet, wire: &mut Wire, batch: &[Formed]) -> Delivered {
    let mut done = Delivered::default();
    // The pieces still to be sent, the next one last.
    let mut pieces = vec![batch];
    while let Some(piece) = pieces.pop() {
        if piece.is_empty() {
            continue;
        }
        match outlet.send(wire, piece).await {
            Ok(mut outcomes) => {
                // One outcome for each, whatever a sink gave.
                outcomes.resize(piece.len(), Outcome::Rejected("no word about it in the answer".to_owned()));
                done.outcomes.extend(outcomes);
            }
            Err(Stop::Bad(why)) if piece.len() == 1 => done.outcomes.push(Outcome::Rejected(why)),
            Err(Stop::Bad(_)) => {
                let (first, second) = piece.split_at(piece.len() / 2);
                pieces.extend([second, first]);
            }
            Err(stop) => {
                done.stopped = Some(stop);
                return done;
            }
        }
    }
    done
}
