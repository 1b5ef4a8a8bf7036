//! Control that passes between agents, as the spans of a trace tell it. Says nothing of right and wrong.

use super::read;
use super::rules::Rules;
use super::tree::Kind;
use crate::model::{SpanId, Trace};

/// One agent passes control to another, or calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// The agent that had control; unknown where no span names it.
    pub from: Option<String>,
    /// The agent that takes it; unknown where no span names it.
    pub to: Option<String>,
    /// The span that tells it.
    pub span: SpanId,
}

/// Handoffs in order of time: spans of handoffs, and agents that run inside another one of another name.
pub fn handoffs(trace: &Trace) -> Vec<Handoff> {
    let tree = read::tree(trace, &Rules::default());
    let mut found: Vec<Handoff> = Vec::new();
    for place in tree.places() {
        let step = tree.step(place);
        let span = SpanId::new(step.id.clone());
        match step.kind {
            Kind::Handoff => {
                let from = step.from.as_deref().or_else(|| tree.owner(place)).map(str::to_owned);
                found.push(Handoff { from, to: step.to.clone(), span });
            }
            Kind::Agent => {
                let (Some(own), Some(above)) = (tree.owner(place), tree.agent_above(place)) else { continue };
                let from = tree.owner(above);
                // A handoff span before it has told the same already.
                let told = found.last().is_some_and(|last| last.to.as_deref() == Some(own));
                if from != Some(own) && !told {
                    found.push(Handoff { from: from.map(str::to_owned), to: Some(own.to_owned()), span });
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether the trace names any agent.
pub fn names_agents(trace: &Trace) -> bool {
    let tree = read::tree(trace, &Rules::default());
    tree.places().any(|place| tree.owner(place).is_some())
}
