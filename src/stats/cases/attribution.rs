//! Cases of failures placed in traces.

use serde_json::{Map, Value, json};

use super::read::{at, list, nested, not_read, word};
use crate::stats::{Culprit, Marks, span_attribution, step_attribution, steps_within};

pub(super) fn attribution(input: &Value) -> Result<Value, String> {
    match word(input, "kind")? {
        "trail" => spans(input),
        "who_when" => steps(input),
        _ => Err(not_read(input, "kind")),
    }
}

fn spans(input: &Value) -> Result<Value, String> {
    type Named = Vec<(String, String)>;
    let mut traces: Vec<(Named, Named)> = Vec::new();
    for trace in list(input, "traces")? {
        // A finding that is missing is an empty one.
        let found = if at(trace, "pred").is_null() { Vec::new() } else { nested(trace, "pred")? };
        traces.push((nested(trace, "gt")?, found));
    }
    let borrowed: Vec<_> = traces.iter().map(|(truth, found)| (marks(truth), marks(found))).collect();
    let found = span_attribution(&borrowed);
    Ok(json!({
        "location_accuracy": found.location, "joint_accuracy": found.joint, "mean_category_f1": found.category_f1,
        "weighted_f1": found.weighted_f1,
    }))
}

fn marks(named: &[(String, String)]) -> Marks<'_> {
    named.iter().map(|(span, category)| (span.as_str(), category.as_str())).collect()
}

fn steps(input: &Value) -> Result<Value, String> {
    let mut items = Vec::new();
    for item in list(input, "items")? {
        let truth = culprit(at(item, "gt")).ok_or("`gt` has no `agent` and whole `step`")?;
        items.push((truth, culprit(at(item, "pred"))));
    }
    let found = step_attribution(&items);
    let within: Map<String, Value> =
        [1, 3, 5].iter().map(|steps| (steps.to_string(), json!(steps_within(&items, *steps)))).collect();
    Ok(json!({
        "agent_accuracy": found.agent, "step_accuracy": found.step, "joint_accuracy": found.joint, "step_tol": within,
    }))
}

/// `None` also for a finding that cannot be read: it counts as wrong.
fn culprit(value: &Value) -> Option<Culprit<'_>> {
    Some(Culprit { agent: value.get("agent")?.as_str()?, step: value.get("step")?.as_i64()? })
}
