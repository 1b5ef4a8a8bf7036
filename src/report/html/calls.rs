//! The tool calls of two traces beside each other, so that a missing, an added and a changed call meet the eye. What a
//! call should have been is for scorers to say; this only shows.

use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::text::plain;
use crate::model::{ToolUse, Trace};
use crate::sys::text::{one_line, shorten};

/// Calls of one trace that are set beside each other: the work grows with their number.
const CALLS_SHOWN: usize = 80;
/// Characters of one call's arguments or result.
const TEXT_LIMIT: usize = 400;

/// Two calls of the same tool, or one that only one side made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct CallRow {
    /// The baseline's call.
    pub base: Option<CallView>,
    /// The candidate's call.
    pub cand: Option<CallView>,
    /// `same`, `changed`, `gone` or `new`.
    pub how: &'static str,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct CallView {
    /// Tool.
    pub name: String,
    /// Arguments.
    pub arguments: String,
    /// Result; only where the calls differ.
    pub result: String,
}

/// Aligns the calls of two traces by their tools, in order. Nothing when neither made any, or when all are the same.
pub(super) fn aligned(base: &Trace, cand: &Trace) -> Vec<CallRow> {
    let (before, after) = (calls(base), calls(cand));
    let names = |calls: &[ToolUse]| calls.iter().map(|call| call.name.clone()).collect::<Vec<_>>();
    let mut rows = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, &names(&before), &names(&after)) {
        let (old, new) = (before.get(op.old_range()), after.get(op.new_range()));
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        if let DiffOp::Equal { .. } = op {
            rows.extend(old.iter().zip(new).map(|(old, new)| pair(old, new)));
        } else {
            rows.extend(old.iter().map(|call| CallRow { base: Some(view(call, true)), cand: None, how: "gone" }));
            rows.extend(new.iter().map(|call| CallRow { base: None, cand: Some(view(call, true)), how: "new" }));
        }
    }
    if rows.iter().all(|row| row.how == "same") { Vec::new() } else { rows }
}

fn calls(trace: &Trace) -> Vec<ToolUse> {
    let mut calls = trace.tools_used();
    calls.truncate(CALLS_SHOWN);
    calls
}

fn pair(old: &ToolUse, new: &ToolUse) -> CallRow {
    let same = old.arguments == new.arguments;
    let how = if same { "same" } else { "changed" };
    CallRow { base: Some(view(old, !same)), cand: Some(view(new, !same)), how }
}

fn view(call: &ToolUse, with_result: bool) -> CallView {
    let text = |value: &Option<serde_json::Value>| {
        value.as_ref().map(|value| shorten(&one_line(&plain(value).0, 4 * TEXT_LIMIT), TEXT_LIMIT)).unwrap_or_default()
    };
    CallView {
        name: one_line(&call.name, 60),
        arguments: text(&call.arguments),
        result: if with_result { text(&call.result) } else { String::new() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Span, SpanId, SpanKind, TraceId};

    fn trace(calls: &[(&str, i64)]) -> Trace {
        let spans = calls.iter().enumerate().map(|(place, (name, argument))| Span {
            tool: Some(ToolUse {
                arguments: Some(json!({"x": argument})),
                name: (*name).to_owned(),
                ..ToolUse::default()
            }),
            ..Span::new(TraceId::from("t"), SpanId::from(&*place.to_string()), SpanKind::Tool, *name, place as i64)
        });
        crate::model::assemble(spans.collect::<Vec<_>>()).traces.remove(0)
    }

    #[test]
    fn calls_meet_by_tool_and_order() {
        let rows = aligned(&trace(&[("a", 1), ("b", 1), ("c", 1)]), &trace(&[("a", 1), ("c", 2), ("d", 1)]));
        let hows: Vec<_> = rows.iter().map(|row| row.how).collect();
        assert_eq!(hows, ["same", "gone", "changed", "new"]);
        assert_eq!(rows[2].cand.as_ref().map(|call| call.arguments.contains('2')), Some(true));
    }

    #[test]
    fn equal_calls_are_not_worth_a_table() {
        assert_eq!(aligned(&trace(&[("a", 1)]), &trace(&[("a", 1)])), []);
    }
}
