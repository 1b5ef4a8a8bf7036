//! Names that mean nothing, and filters that leave nothing.

use serde_json::json;

use super::*;
use crate::model::{Span, assemble};

fn traces(attributes: &[serde_json::Value]) -> Vec<Trace> {
    let span = |(place, attributes): (usize, &serde_json::Value)| -> Span {
        let value = json!({"trace_id": format!("t{place}"), "span_id": "s", "kind": "agent", "name": "answer",
            "start_ns": 1_763_000_000_000_000_000_i64, "attributes": attributes});
        serde_json::from_value(value).unwrap()
    };
    assemble(attributes.iter().enumerate().map(span)).traces
}

fn two() -> Vec<Trace> {
    traces(&[json!({"ticket.intent": "refund", "cost_center": 3}), json!({"ticket.intent": "cancel", "turns": [1, 2]})])
}

fn asked(name: &str) -> Asked {
    Asked { name: name.to_owned(), place: "`--stratify`", matters: true }
}

fn why(filter: &str, traces: Vec<Trace>) -> Option<String> {
    let filter = Filter::parse(filter).unwrap();
    let why = why_none(traces.into_iter().map(Ok), Some(&filter), &Opinions::default()).unwrap();
    why.map(|failed| failed.error.to_string())
}

#[test]
fn a_name_that_one_trace_carries_is_no_longer_missing() {
    let mut census = Census::new(["ticket.intent", "cost_center", "agnet", "intent"].map(asked).to_vec());
    let known = census.search(two().into_iter().map(Ok), &Opinions::default()).unwrap();
    let missing: Vec<&str> = census.missing.iter().map(|asked| asked.name.as_str()).collect();
    assert_eq!(missing, ["agnet", "intent"]);
    let refusal = known.refusal(&census.missing).unwrap().error.to_string();
    assert!(refusal.contains("no trace carries `agnet`, which `--stratify` names; did you mean `agent`?"), "{refusal}");
    assert!(refusal.contains("did you mean `ticket.intent`?"), "the last part of a name is near: {refusal}");
    assert!(refusal.contains("Attributes of these traces: ticket.intent, cost_center, turns."), "{refusal}");
    assert!(known.refusal(&[]).is_none());
}

#[test]
fn a_filter_that_leaves_nothing_is_told_the_names_or_the_values() {
    let unknown = why("tciket.intent=refund", two()).unwrap();
    assert!(unknown.contains("`--where` names; did you mean `ticket.intent`?"), "{unknown}");
    let narrow = why("ticket.intent=refnd and cost_center>5", two()).unwrap();
    assert!(narrow.starts_with("no trace of 2 fits `ticket.intent=refnd and cost_center>5`"), "{narrow}");
    assert!(narrow.contains("`ticket.intent` is `cancel` (1), `refund` (1)"), "{narrow}");
    let many: Vec<_> = (0..20).map(|n| json!({"n": n})).collect();
    assert!(why("n>100", traces(&many)).unwrap().contains("`n` is a number from 0 to 19"));
    assert_eq!(why("a=1", Vec::new()), None);
}

#[test]
fn hostile_names_are_shown_not_obeyed() {
    let known = Known::default();
    let refusal = known.refusal(&[asked("\u{1b}[31m")]).unwrap().error.to_string();
    assert!(!refusal.contains('\u{1b}') && refusal.contains("Attributes of these traces: none."), "{refusal}");
}
