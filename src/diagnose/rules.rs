//! What detectors are told beforehand: limits, and what only the user knows of his tools.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A resource that calls of a tool use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Name of the tool.
    pub tool: String,
    /// The argument whose value names the resource (`path`).
    pub argument: String,
    /// Whether the tool changes it; else it only reads.
    #[serde(default)]
    pub writes: bool,
}

/// Limits of the detectors, and what they cannot see in a trace. Every key has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Identical calls by one agent, retries left out, that are a loop.
    pub identical_n: usize,
    /// Longest round of different calls that is looked for.
    pub period_max: usize,
    /// Times a round must be repeated to be a loop.
    pub period_reps: usize,
    /// Retries in a row that are a storm.
    pub retry_storm: usize,
    /// Share of the context window from which on it is nearly full.
    pub ctx_ratio: f64,
    /// Share of what a handoff carries that its receiver must be given at least.
    pub handoff_drop: f64,
    /// Milliseconds that a span may start before its parent: clocks differ.
    pub skew_ms: f64,
    /// Tools that may be called again and again, such as those that wait for something.
    pub allow_repeat: BTreeSet<String>,
    /// Full rounds of handing to and fro that are a ping-pong.
    pub pingpong_reps: usize,
    /// Share of its messages that an agent's history may shrink to without a word.
    pub reset_ratio: f64,
    /// Messages that a history must have for its loss to matter.
    pub reset_min_msgs: f64,
    /// Successes of one side effect that are too many.
    pub dup_write_n: usize,
    /// Whether executions of tools are recorded at all. Default: whether the trace has a span of a tool.
    pub tools_instrumented: Option<bool>,
    /// Tools that end the task.
    pub terminal_tools: BTreeSet<String>,
    /// Names of all agents; a handoff to any other is a fault. Default: not checked.
    pub agents: Option<BTreeSet<String>>,
    /// Whether the trace is complete. Default: whether its root has ended.
    pub trace_closed: Option<bool>,
    /// Tools by which a model gives its answer: nothing is executed for them.
    pub output_tools: BTreeSet<String>,
    /// Tools that change something outside, where twice is once too often.
    pub side_effects: BTreeSet<String>,
    /// Resources that tools share.
    pub resources: Vec<Resource>,
    /// Milliseconds that calls of a tool may take, by its name.
    pub timeouts_ms: BTreeMap<String, f64>,
    /// Tokens of context by the name of the model, or its beginning.
    pub context_limits: BTreeMap<String, f64>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            identical_n: 3,
            period_max: 4,
            period_reps: 3,
            retry_storm: 3,
            ctx_ratio: 0.95,
            handoff_drop: 0.5,
            skew_ms: 5.0,
            allow_repeat: BTreeSet::new(),
            pingpong_reps: 2,
            reset_ratio: 0.5,
            reset_min_msgs: 6.0,
            dup_write_n: 2,
            tools_instrumented: None,
            terminal_tools: BTreeSet::new(),
            agents: None,
            trace_closed: None,
            output_tools: BTreeSet::from(["final_result".to_owned()]),
            side_effects: BTreeSet::new(),
            resources: Vec::new(),
            timeouts_ms: BTreeMap::new(),
            context_limits: BTreeMap::new(),
        }
    }
}

impl Rules {
    /// What is wrong with the limits, naming the key.
    pub fn check(&self) -> Result<(), String> {
        let counts = [
            ("identical_n", self.identical_n, 2),
            ("period_max", self.period_max, 1),
            ("period_reps", self.period_reps, 2),
            ("retry_storm", self.retry_storm, 1),
            ("pingpong_reps", self.pingpong_reps, 1),
            ("dup_write_n", self.dup_write_n, 2),
        ];
        if let Some((key, found, least)) = counts.into_iter().find(|(_, found, least)| found < least) {
            return Err(format!("`{key}` must be at least {least}, found `{found}`"));
        }
        if self.period_max > 16 {
            return Err(format!("`period_max` must be at most 16, found `{}`: time grows with it", self.period_max));
        }
        let shares =
            [("ctx_ratio", self.ctx_ratio), ("handoff_drop", self.handoff_drop), ("reset_ratio", self.reset_ratio)];
        if let Some((key, found)) = shares.into_iter().find(|(_, found)| !(0.0..=1.0).contains(found)) {
            return Err(format!("`{key}` must lie between 0 and 1, found `{found}`"));
        }
        let amounts = [("skew_ms", self.skew_ms), ("reset_min_msgs", self.reset_min_msgs)];
        let maps = self.timeouts_ms.iter().map(|(name, found)| (name.as_str(), *found));
        let maps = maps.chain(self.context_limits.iter().map(|(name, found)| (name.as_str(), *found)));
        match amounts.into_iter().chain(maps).find(|(_, found)| !(found.is_finite() && *found >= 0.0)) {
            Some((key, found)) => Err(format!("`{key}` must be a finite number from 0 up, found `{found}`")),
            None => Ok(()),
        }
    }

    /// The rules with what a trace says of itself where they leave it open.
    pub(super) fn settled(&self, tools_instrumented: bool, trace_closed: bool) -> Self {
        Self {
            tools_instrumented: self.tools_instrumented.or(Some(tools_instrumented)),
            trace_closed: self.trace_closed.or(Some(trace_closed)),
            ..self.clone()
        }
    }
}
