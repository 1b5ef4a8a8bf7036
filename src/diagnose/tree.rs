//! Steps of a trace as detectors see them: sorted, with owners and ancestors; no cycle, whatever the parents say.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::model::canonical_json;

/// Tool and canonical arguments of a call.
pub(super) type Print = (String, String);
/// Calls of one agent with one print, in order.
pub(super) type Groups<'a> = BTreeMap<(Option<&'a str>, Print), Vec<usize>>;

/// What a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Agent,
    Llm,
    Tool,
    Handoff,
    Retrieval,
    #[default]
    #[serde(other)]
    Other,
}

/// What a step said of its success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    Ok,
    Error,
    #[default]
    #[serde(other)]
    Unset,
}

/// A tool that a model was offered.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Offered {
    pub name: String,
    pub schema: Option<Value>,
}

/// A call that a model asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Requested {
    pub id: Option<String>,
    pub name: String,
    pub arguments: Option<Value>,
}

/// A result that a model was shown.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Shown {
    pub id: Option<String>,
    pub content: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    pub truncated: bool,
}

/// A resource that a tool used.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Used {
    pub key: String,
    pub mode: String,
}

impl Used {
    pub(super) fn writes(&self) -> bool {
        self.mode.starts_with('w')
    }
}

/// One step. Times are milliseconds; fields that a kind has not are empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub id: String,
    pub parent: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub kind: Kind,
    pub agent: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub start: f64,
    pub end: Option<f64>,
    /// That it has an outcome, so that it ended although nothing says when.
    #[serde(skip)]
    pub answered: bool,
    #[serde(deserialize_with = "or_default")]
    pub status: Said,
    pub error_type: Option<String>,
    pub error_message: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub finish_reasons: Vec<String>,
    pub input_tokens: Option<f64>,
    pub output_tokens: Option<f64>,
    pub max_tokens: Option<f64>,
    pub context_limit: Option<f64>,
    pub output_text: Option<String>,
    pub tools: Option<Vec<Offered>>,
    #[serde(deserialize_with = "or_default")]
    pub tool_calls: Vec<Requested>,
    #[serde(deserialize_with = "or_default")]
    pub tool_results: Vec<Shown>,
    pub input_messages: Option<f64>,
    #[serde(deserialize_with = "or_default")]
    pub compaction: bool,
    pub refusal: Option<Value>,
    pub tool: Option<String>,
    pub call_id: Option<String>,
    pub arguments: Option<Value>,
    pub result: Option<Value>,
    pub timeout_ms: Option<f64>,
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<Used>,
    #[serde(deserialize_with = "or_default")]
    pub side_effect: bool,
    pub from: Option<String>,
    pub to: Option<String>,
    pub payload_tokens: Option<f64>,
}

/// Null is as good as no key.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Step {
    pub(super) fn failed(&self) -> bool {
        self.status == Said::Error
    }

    /// What the step says of its error.
    pub(super) fn error_text(&self) -> String {
        [&self.error_type, &self.error_message].into_iter().flatten().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Tool and arguments, the same for the same call however it is written; `None` where either is not recorded.
    pub(super) fn fingerprint(&self) -> Option<Print> {
        let tool = self.tool.clone()?;
        Some((tool, canonical_arguments(self.arguments.as_ref()?)))
    }
}

/// Arguments in one form: JSON inside a text is read, and what cannot be read is trimmed.
pub(super) fn canonical_arguments(arguments: &Value) -> String {
    match arguments {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner) => canonical_json(&inner),
            Err(_) => text.trim().to_owned(),
        },
        other => canonical_json(other),
    }
}

/// A value as text with single spaces.
pub(super) fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            // A text that holds an object is the same as the object.
            Ok(inner) if inner.is_object() || inner.is_array() => canonical_json(&inner),
            _ => text.clone(),
        },
        other => canonical_json(other),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All steps of a trace, sorted by start and id.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    steps: Vec<Step>,
    parents: Vec<Option<usize>>,
    owners: Vec<Option<String>>,
    agents_above: Vec<Option<usize>>,
    depths: Vec<u64>,
    places: HashMap<String, usize>,
    blank: Step,
}

impl Tree {
    pub(super) fn new(mut steps: Vec<Step>) -> Self {
        steps.sort_by(|left, right| left.start.total_cmp(&right.start).then_with(|| left.id.cmp(&right.id)));
        let mut places = HashMap::new();
        for (place, step) in steps.iter().enumerate() {
            places.entry(step.id.clone()).or_insert(place);
        }
        let mut parents: Vec<Option<usize>> = steps
            .iter()
            .enumerate()
            .map(|(own, step)| step.parent.as_ref().and_then(|id| places.get(id)).copied().filter(|up| *up != own))
            .collect();
        let order = top_down(&mut parents);
        let mut tree = Self {
            owners: vec![None; steps.len()],
            agents_above: vec![None; steps.len()],
            depths: vec![1; steps.len()],
            steps,
            parents,
            places,
            blank: Step::default(),
        };
        order.into_iter().for_each(|place| tree.settle(place));
        tree
    }

    /// Takes over from the step above, which is settled.
    fn settle(&mut self, place: usize) {
        let up = self.parent(place);
        let owner = self.step(place).agent.clone().or_else(|| self.owner(up?).map(str::to_owned));
        let above = up.and_then(|up| if self.step(up).kind == Kind::Agent { Some(up) } else { self.agent_above(up) });
        let depth = up.and_then(|up| self.depths.get(up)).map_or(1, |depth| depth + 1);
        set(&mut self.owners, place, owner);
        set(&mut self.agents_above, place, above);
        set(&mut self.depths, place, depth);
    }

    /// A step; a blank one for a place that does not exist.
    pub(super) fn step(&self, place: usize) -> &Step {
        self.steps.get(place).unwrap_or(&self.blank)
    }

    pub(super) fn places(&self) -> std::ops::Range<usize> {
        0..self.steps.len()
    }

    pub(super) fn of_kind(&self, kind: Kind) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.places().filter(move |place| self.step(*place).kind == kind)
    }

    pub(super) fn model_calls(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.of_kind(Kind::Llm)
    }

    pub(super) fn tool_calls(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.of_kind(Kind::Tool)
    }

    pub(super) fn parent(&self, place: usize) -> Option<usize> {
        self.parents.get(place).copied().flatten()
    }

    /// Whether the parent that a step names is there.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    /// Name of the agent that a step belongs to: its own, else that of the nearest step above that has one.
    pub(super) fn owner(&self, place: usize) -> Option<&str> {
        self.owners.get(place).and_then(Option::as_deref)
    }

    /// The nearest agent's step above.
    pub(super) fn agent_above(&self, place: usize) -> Option<usize> {
        self.agents_above.get(place).copied().flatten()
    }

    pub(super) fn is_above(&self, upper: usize, lower: usize) -> bool {
        std::iter::successors(self.parent(lower), |place| self.parent(*place)).any(|place| place == upper)
    }

    pub(super) fn max_depth(&self) -> u64 {
        if self.steps.is_empty() { 0 } else { self.depths.iter().copied().max().unwrap_or(0) }
    }

    /// Tool calls by agent and fingerprint, each group in order; calls that cannot be told apart are in none.
    pub(super) fn identical_calls(&self) -> Groups<'_> {
        let mut groups = Groups::new();
        for place in self.tool_calls() {
            if let Some(print) = self.step(place).fingerprint() {
                groups.entry((self.owner(place), print)).or_default().push(place);
            }
        }
        groups
    }
}

fn set<T>(values: &mut [T], place: usize, value: T) {
    if let Some(own) = values.get_mut(place) {
        *own = value;
    }
}

/// Places with every parent before its children. Where parents form a cycle, its first step becomes a root.
fn top_down(parents: &mut [Option<usize>]) -> Vec<usize> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); parents.len()];
    for (place, parent) in parents.iter().enumerate() {
        if let Some(below) = parent.and_then(|parent| children.get_mut(parent)) {
            below.push(place);
        }
    }
    let mut seen = vec![false; parents.len()];
    let mut order = Vec::with_capacity(parents.len());
    let roots = (0..parents.len()).filter(|place| parents.get(*place).copied().flatten().is_none());
    let starts: Vec<usize> = roots.chain(0..parents.len()).collect();
    for start in starts {
        if seen.get(start).copied().unwrap_or(true) {
            continue;
        }
        set(parents, start, parents.get(start).copied().flatten().filter(|up| seen.get(*up) == Some(&true)));
        let mut waiting = vec![start];
        while let Some(place) = waiting.pop() {
            if seen.get(place) == Some(&false) {
                set(&mut seen, place, true);
                order.push(place);
                waiting.extend(children.get(place).into_iter().flatten().copied());
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str, parent: Option<&str>) -> Step {
        Step { id: id.to_owned(), parent: parent.map(str::to_owned), ..Step::default() }
    }

    #[test]
    fn parents_that_form_a_cycle_end_somewhere() {
        let tree =
            Tree::new(vec![step("a", Some("b")), step("b", Some("a")), step("c", Some("b")), step("d", Some("d"))]);
        assert_eq!(tree.max_depth(), 3);
        assert_eq!((tree.parent(0), tree.parent(1), tree.parent(3)), (None, Some(0), None));
        assert!(tree.is_above(0, 2) && !tree.is_above(2, 0));
        assert_eq!(Tree::new(Vec::new()).max_depth(), 0);
    }

    #[test]
    fn a_long_chain_is_no_stack_overflow() {
        let chain = (0..100_000).map(|n| step(&format!("{n:06}"), (n > 0).then(|| format!("{:06}", n - 1)).as_deref()));
        assert_eq!(Tree::new(chain.collect()).max_depth(), 100_000);
    }

    #[test]
    fn arguments_have_one_form() {
        let canonical = |value: Value| canonical_arguments(&value);
        let one = canonical(serde_json::json!({"b": 2, "a": 1}));
        assert_eq!(one, canonical(serde_json::json!("{\"a\": 1, \"b\": 2}")));
        assert_eq!(canonical(serde_json::json!(" not { json ")), "not { json");
    }
}
