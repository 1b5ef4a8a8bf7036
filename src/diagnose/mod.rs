//! What went wrong in a trace, seen from its spans alone: loops, retries, races, lost handoffs, made-up results.
//!
//! Rules only, no judge and no opinion: each detector fires on what is recorded, and the same trace gives the same
//! findings everywhere. How spans become the steps that detectors look at is `read`; whether an answer was good is not
//! known here.

mod agents;
mod calls;
pub mod cases;
mod handoffs;
mod model_calls;
mod read;
mod results;
mod rules;
mod shape;
mod tree;

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Trace;
pub use handoffs::{Handoff, handoffs, names_agents};
pub use rules::{Resource, Rules};
use tree::Tree;

/// Findings of one detector that are kept: a hostile trace could have as many as pairs of spans.
const MOST: usize = 1_000;

/// The detectors, sorted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// An agent hands on to one that is above it, to itself, or to and fro without progress.
    CircularDelegation,
    /// The provider's filter or the model itself refused.
    ContentFilter,
    /// The context window was too small or nearly so, or a handoff lost most of what it carried.
    ContextOverflow,
    /// An agent's history shrank between two calls, and nothing says that it was compacted.
    ContextReset,
    /// The same side effect succeeded more than once.
    DuplicateSideEffect,
    /// A model or the root gave an empty answer.
    EmptyOutput,
    /// A tool was asked for and never ran, or a result is not what its tool gave.
    FabricatedToolOutput,
    /// Control was passed to nobody.
    HandoffFault,
    /// Arguments that are no JSON, no object, against the schema, or for a tool that was not offered.
    MalformedToolArgs,
    /// A span without its parent, several roots, or a span before its parent.
    OrphanSpan,
    /// Two tools used one resource at the same time, at least one of them writing.
    ResourceRace,
    /// The same call again after an error.
    Retries,
    /// A step failed by timeout, took longer than allowed, or never ended.
    Timeout,
    /// The same call, or the same round of calls, over and over.
    ToolLoop,
    /// An answer was cut off by the limit on tokens.
    TruncatedOutput,
    /// An agent's last tool call failed, and the agent ended as if nothing had happened.
    UnhandledToolError,
    /// Tools were called after the one that ends the task.
    WorkAfterTerminal,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::CircularDelegation,
        Self::ContentFilter,
        Self::ContextOverflow,
        Self::ContextReset,
        Self::DuplicateSideEffect,
        Self::EmptyOutput,
        Self::FabricatedToolOutput,
        Self::HandoffFault,
        Self::MalformedToolArgs,
        Self::OrphanSpan,
        Self::ResourceRace,
        Self::Retries,
        Self::Timeout,
        Self::ToolLoop,
        Self::TruncatedOutput,
        Self::UnhandledToolError,
        Self::WorkAfterTerminal,
    ];

    /// The word used in files, dimensions and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CircularDelegation => "circular_delegation",
            Self::ContentFilter => "content_filter",
            Self::ContextOverflow => "context_overflow",
            Self::ContextReset => "context_reset",
            Self::DuplicateSideEffect => "duplicate_side_effect",
            Self::EmptyOutput => "empty_output",
            Self::FabricatedToolOutput => "fabricated_tool_output",
            Self::HandoffFault => "handoff_fault",
            Self::MalformedToolArgs => "malformed_tool_args",
            Self::OrphanSpan => "orphan_span",
            Self::ResourceRace => "resource_race",
            Self::Retries => "retries",
            Self::Timeout => "timeout",
            Self::ToolLoop => "tool_loop",
            Self::TruncatedOutput => "truncated_output",
            Self::UnhandledToolError => "unhandled_tool_error",
            Self::WorkAfterTerminal => "work_after_terminal",
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a look.
    #[default]
    Medium,
    /// The answer is probably affected.
    High,
    /// What was done or said is wrong.
    Critical,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Who found it.
    pub detector: Detector,
    /// Which form of it.
    pub subtype: Cow<'static, str>,
    /// Ids of the spans it is about, sorted.
    pub spans: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
}

/// Counts of a trace that alarms are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Tool spans.
    pub tool_calls: u64,
    /// Tool spans that failed.
    pub tool_errors: u64,
    /// Calls whose previous identical call by the same agent failed.
    pub retry_count: u64,
    /// Calls beyond the first of each agent and fingerprint, retries and allowed repeats left out.
    pub loop_count: u64,
    /// Model spans.
    pub llm_calls: u64,
    /// Distinct names of agents.
    pub agents: u64,
    /// Levels of the tree; the root is 1.
    pub max_depth: u64,
}

/// What all detectors say of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What they found, sorted by detector, subtype and spans.
    pub findings: Vec<Finding>,
    /// What is counted whatever was found.
    #[serde(flatten)]
    pub counts: Counts,
    /// Detectors that cannot say, because what they look at is not recorded: unknown, which is not nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Detector>,
}

/// Puts a trace to all detectors. Evaluators and what is below them are left out.
pub fn diagnose(trace: &Trace, rules: &Rules) -> Diagnosis {
    look(&read::tree(trace, rules), &rules.settled(read::has_tools(trace), read::is_closed(trace)))
}

fn look(tree: &Tree, rules: &Rules) -> Diagnosis {
    let mut found = Found { tree, findings: BTreeSet::new(), counts: [0; Detector::ALL.len()] };
    shape::timeouts(&mut found, rules);
    shape::orphans(&mut found, rules);
    model_calls::look(&mut found, rules);
    agents::look(&mut found, rules);
    let counted = calls::look(&mut found, rules);
    let mut unknown = Vec::new();
    if rules.tools_instrumented == Some(false) {
        unknown.push(Detector::FabricatedToolOutput);
    } else {
        results::look(&mut found, rules);
    }
    Diagnosis { findings: found.findings.into_iter().collect(), counts: counted, unknown }
}

/// Findings as they are made.
struct Found<'a> {
    tree: &'a Tree,
    findings: BTreeSet<Finding>,
    counts: [usize; Detector::ALL.len()],
}

impl Found<'_> {
    fn add(&mut self, detector: Detector, subtype: impl Into<Cow<'static, str>>, places: &[usize]) {
        if self.is_full(detector) {
            return;
        }
        let subtype = subtype.into();
        let mut spans: Vec<String> = places.iter().map(|place| self.tree.step(*place).id.clone()).collect();
        spans.sort();
        spans.dedup();
        let severity = self.severity(detector, &subtype, places);
        if self.findings.insert(Finding { detector, subtype, spans, severity }) {
            self.counts.iter_mut().skip(detector as usize).take(1).for_each(|count| *count += 1);
        }
    }

    /// Whether a detector has found so much that no more is kept.
    fn is_full(&self, detector: Detector) -> bool {
        self.counts.get(detector as usize).is_some_and(|count| *count >= MOST)
    }

    fn severity(&self, detector: Detector, subtype: &str, places: &[usize]) -> Severity {
        match (detector, subtype) {
            (Detector::FabricatedToolOutput, "result_without_execution" | "altered_result")
            | (Detector::ResourceRace, "write_write")
            | (Detector::DuplicateSideEffect, _)
            | (Detector::CircularDelegation, "cycle") => Severity::Critical,
            (Detector::ContextOverflow, _)
            | (Detector::Retries, "retry_exhausted")
            | (Detector::UnhandledToolError, _) => Severity::High,
            // Cut off in the middle is a nuisance; the last answer is what the user got.
            (Detector::TruncatedOutput, _) if places.first().copied() == self.tree.model_calls().last() => {
                Severity::High
            }
            _ => Severity::Medium,
        }
    }
}
