//! What a trace shows beside its own numbers: tool calls made again and again, and what users thought of the answer.

use std::collections::HashMap;

use serde_json::Value;

use crate::model::{ScoreOrigin, Span, Trace, TraceScore, canonical_json};

/// How often a tool was called with arguments it had been called with before.
pub(super) fn repeated_calls(trace: &Trace) -> u64 {
    let mut seen: HashMap<(String, String), u64> = HashMap::new();
    for call in trace.tools_used() {
        let arguments = call.arguments.as_ref().map(canonical_json).unwrap_or_default();
        *seen.entry((call.name, arguments)).or_default() += 1;
    }
    seen.values().map(|count| count - 1).sum()
}

/// Whether a user or annotator was displeased, by attributes of the spans and by scores that others gave; `None` when
/// nobody said anything that can be read.
pub(super) fn negative_feedback<'a>(trace: &Trace, scores: impl IntoIterator<Item = &'a TraceScore>) -> Option<bool> {
    let attributes = trace.spans.iter().flat_map(feedback).filter_map(|(name, value)| displeased(name, value));
    let people = scores.into_iter().filter(|score| matches!(score.origin, ScoreOrigin::User | ScoreOrigin::Annotator));
    let scored = people.filter_map(|score| match (score.value, &score.label) {
        (Some(value), _) => displeased_number(&score.name, value),
        (None, Some(label)) => displeased_word(label),
        (None, None) => None,
    });
    attributes.chain(scored).reduce(|left, right| left || right)
}

/// Attributes in which tracers keep what the user thought of the answer.
pub(super) fn feedback(span: &Span) -> impl Iterator<Item = (&String, &Value)> {
    let telling =
        |name: &str| name.contains("feedback") || name.contains("user_rating") || name.contains("user.rating");
    span.attributes.iter().filter(move |(name, _)| telling(&name.to_lowercase()))
}

fn displeased(name: &str, value: &Value) -> Option<bool> {
    match value {
        Value::Bool(pleased) => Some(!pleased),
        Value::Number(number) => displeased_number(name, number.as_f64()?),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => displeased_number(name, number),
            _ => displeased_word(text),
        },
        _ => None,
    }
}

/// Stars go from 1 to 5 and two of them are no praise; anything else is a thumb, down at 0 and below.
fn displeased_number(name: &str, number: f64) -> Option<bool> {
    let name = name.to_lowercase();
    let stars = name.contains("rating") || name.contains("stars");
    number.is_finite().then_some(if stars { number <= 2.0 } else { number <= 0.0 })
}

fn displeased_word(word: &str) -> Option<bool> {
    const DOWN: &[&str] =
        &["negative", "bad", "down", "thumbs_down", "thumbs-down", "thumb_down", "dislike", "false", "no", "👎"];
    const UP: &[&str] =
        &["positive", "good", "up", "thumbs_up", "thumbs-up", "thumb_up", "like", "true", "yes", "neutral", "👍"];
    let word = word.trim().to_lowercase();
    if DOWN.contains(&word.as_str()) { Some(true) } else { UP.contains(&word.as_str()).then_some(false) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Source, SpanId, SpanKind, ToolUse, TraceId};

    fn span(kind: SpanKind) -> Span {
        Span::new(TraceId::new("t"), SpanId::new("s"), kind, "n", 0)
    }

    fn trace(spans: Vec<Span>) -> Trace {
        Trace { id: TraceId::new("t"), session_id: None, spans, faults: Vec::new() }
    }

    #[test]
    fn a_loop_is_the_same_call_again() {
        let call = |arguments: Value| {
            let mut span = span(SpanKind::Tool);
            span.tool = Some(ToolUse { name: "search".into(), arguments: Some(arguments), ..ToolUse::default() });
            span
        };
        let same = || call(json!({"q": "a", "n": 1}));
        assert_eq!(repeated_calls(&trace(vec![same(), same(), call(json!({"q": "b"})), same()])), 2);
        assert_eq!(repeated_calls(&trace(vec![])), 0);
    }

    #[test]
    fn displeasure_is_read_from_attributes_and_scores_of_people() {
        let said = |name: &str, value: Value| {
            let mut span = span(SpanKind::Agent);
            span.attributes.insert(name.to_owned(), value);
            negative_feedback(&trace(vec![span]), [])
        };
        assert_eq!(said("user.feedback", json!("thumbs_down")), Some(true));
        assert_eq!(said("app.Feedback.score", json!(1)), Some(false));
        assert_eq!(said("user_rating", json!("2")), Some(true));
        assert_eq!(said("user_rating", json!(4)), Some(false));
        assert_eq!(said("feedback.text", json!("well, it depends")), None);
        assert_eq!(said("other", json!("bad")), None);
        let score = |origin: ScoreOrigin, value: f64| TraceScore {
            trace_id: Some(TraceId::new("t")),
            span_id: None,
            session_id: None,
            name: "thumbs".into(),
            value: Some(value),
            label: None,
            comment: None,
            origin,
            author: None,
            at_ns: None,
            source: Source::default(),
        };
        let empty = trace(vec![]);
        assert_eq!(negative_feedback(&empty, &[score(ScoreOrigin::User, 0.0)]), Some(true));
        assert_eq!(negative_feedback(&empty, &[score(ScoreOrigin::Evaluator, 0.0)]), None, "a judge is no user");
    }
}
