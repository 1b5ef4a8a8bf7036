//! Scores that stand in traces: OpenTelemetry's `gen_ai.evaluation.result` events and OpenInference's annotations.
//!
//! They become scores of others, not attributes: a score is about a span, it is not part of what the span did.

use std::ops::Bound;

use serde_json::Value;

use crate::model::{ScoreOrigin, SessionId, Source, SpanId, TraceId, TraceScore};

use super::super::raw::{Attributes, RawSpan};
use super::bag::{Bag, as_text};

/// The event of OpenTelemetry that carries a score.
pub(crate) const EVALUATION: &str = "gen_ai.evaluation.result";

/// The score of an evaluation event; `None` when it does not say what was scored. Where it belongs is the caller's.
pub(crate) fn of_event(attributes: &Attributes, at_ns: Option<i64>) -> Option<TraceScore> {
    let text = |keys: &[&str]| keys.iter().find_map(|key| attributes.get(*key).and_then(as_text));
    let name = text(&["gen_ai.evaluation.name"])?;
    let kind = text(&["gen_ai.evaluation.evaluator.type"]).unwrap_or_default();
    Some(TraceScore {
        trace_id: None,
        span_id: None,
        session_id: text(&["gen_ai.conversation.id"]).map(SessionId::new),
        value: attributes.get("gen_ai.evaluation.score.value").and_then(number),
        label: text(&["gen_ai.evaluation.score.label"]),
        comment: text(&["gen_ai.evaluation.explanation", "error.type"]),
        origin: origin(&kind, &name).unwrap_or(ScoreOrigin::Evaluator),
        author: text(&["gen_ai.evaluation.evaluator.id", "gen_ai.evaluation.evaluator.name"]),
        name,
        at_ns,
        source: Source::default(),
    })
}

/// A number, a truth value or the text of a number.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// Who scored, by the word for the scorer, else by the name of the score.
pub(crate) fn origin(kind: &str, name: &str) -> Option<ScoreOrigin> {
    match kind.to_lowercase().as_str() {
        "human" | "annotator" => Some(ScoreOrigin::Annotator),
        "user" | "end_user" => Some(ScoreOrigin::User),
        "" => name.to_lowercase().contains("feedback").then_some(ScoreOrigin::User),
        _ => Some(ScoreOrigin::Evaluator),
    }
}

/// Takes the scores out of a span's events and attributes.
pub(crate) fn take(raw: &mut RawSpan) -> Vec<TraceScore> {
    let mut scores: Vec<TraceScore> = Vec::new();
    raw.events.retain(|event| {
        let score = if event.name == EVALUATION { of_event(&event.attributes, event.time_ns) } else { None };
        let keep = score.is_none();
        scores.extend(score);
        keep
    });
    for score in &mut scores {
        score.span_id = Some(SpanId::new(raw.span_id.clone()));
    }
    // An annotation names its scope by its prefix; without one it is about the span.
    for (scope, list, one) in LISTS {
        annotations(raw, list, one, *scope, &mut scores);
    }
    for score in &mut scores {
        score.trace_id =
            Some(TraceId::new(raw.trace_id.clone())).filter(|_| score.session_id.is_none() || score.span_id.is_some());
    }
    scores
}

#[derive(Clone, Copy, PartialEq)]
enum Scope {
    Span,
    Trace,
    Session,
}

/// Lists of annotations: what they are about, their prefix, the word that each of them stands under.
const LISTS: &[(Scope, &str, &str)] = &[
    (Scope::Span, "annotations.", "annotation"),
    (Scope::Span, "evaluations.", "evaluation"),
    (Scope::Trace, "trace.annotations.", "annotation"),
    (Scope::Trace, "trace.evaluations.", "evaluation"),
    (Scope::Session, "session.annotations.", "annotation"),
    (Scope::Session, "session.evaluations.", "evaluation"),
];

fn annotations(raw: &mut RawSpan, list: &str, one: &str, scope: Scope, scores: &mut Vec<TraceScore>) {
    let from = (Bound::Included(list), Bound::Unbounded);
    if !raw.attributes.range::<str, _>(from).next().is_some_and(|(key, _)| key.starts_with(list)) {
        return;
    }
    let mut bag = Bag::new(std::mem::take(&mut raw.attributes));
    let items = bag.nested(list).filter(Value::is_array).unwrap_or_default();
    let found: Vec<TraceScore> =
        items.as_array().into_iter().flatten().filter_map(|item| annotation(item.get(one)?)).collect();
    if !found.is_empty() {
        bag.drop_below(list);
    }
    raw.attributes = bag.into_left();
    let session = raw.attributes.get("session.id").and_then(as_text).map(SessionId::new);
    for mut score in found {
        match scope {
            Scope::Span => score.span_id = Some(SpanId::new(raw.span_id.clone())),
            Scope::Trace => {}
            Scope::Session => score.session_id.clone_from(&session),
        }
        score.at_ns = raw.end_ns;
        scores.push(score);
    }
}

fn annotation(value: &Value) -> Option<TraceScore> {
    let text = |key: &str| value.get(key).and_then(as_text);
    let name = text("name")?;
    let kind = text("annotator_kind").unwrap_or_default();
    Some(TraceScore {
        trace_id: None,
        span_id: None,
        session_id: None,
        value: value.get("score").and_then(number),
        label: text("label"),
        comment: text("explanation"),
        origin: origin(&kind, &name).unwrap_or_default(),
        author: text("identifier"),
        name,
        at_ns: None,
        source: Source::default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::raw::Event;
    use super::*;

    fn raw(attributes: Value) -> RawSpan {
        RawSpan {
            trace_id: "t".to_owned(),
            span_id: "s".to_owned(),
            attributes: serde_json::from_value(attributes).unwrap(),
            ..RawSpan::default()
        }
    }

    #[test]
    fn an_evaluation_event_is_a_score_of_its_span() {
        let mut raw = raw(json!({}));
        let attributes = json!({"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": -0.5,
            "gen_ai.evaluation.score.label": "bad", "gen_ai.evaluation.explanation": "off topic",
            "gen_ai.evaluation.evaluator.id": "judge-1"});
        raw.events.push(Event {
            name: EVALUATION.to_owned(),
            time_ns: Some(7),
            attributes: serde_json::from_value(attributes).unwrap(),
            body: None,
        });
        raw.events.push(Event { name: "custom".to_owned(), ..Event::default() });
        let scores = take(&mut raw);
        assert_eq!(raw.events.len(), 1);
        let [score] = scores.as_slice() else { panic!("{scores:?}") };
        assert_eq!((score.trace_id.as_ref().unwrap().as_str(), score.span_id.as_ref().unwrap().as_str()), ("t", "s"));
        assert_eq!(
            (score.value, score.label.as_deref(), score.origin),
            (Some(-0.5), Some("bad"), ScoreOrigin::Evaluator)
        );
        assert_eq!((score.author.as_deref(), score.at_ns), (Some("judge-1"), Some(7)));
    }

    #[test]
    fn annotations_name_their_scope_and_scorer() {
        let mut raw = raw(json!({"session.id": "s1", "annotations.0.annotation.name": "correct",
            "annotations.0.annotation.score": 1, "annotations.0.annotation.annotator_kind": "HUMAN",
            "annotations.1.annotation.name": "tone", "annotations.1.annotation.label": "kind",
            "annotations.1.annotation.annotator_kind": "LLM", "trace.evaluations.0.evaluation.name": "solved",
            "trace.evaluations.0.evaluation.score": 0.5, "session.annotations.0.annotation.name": "user feedback",
            "session.annotations.0.annotation.score": 0}));
        let scores = take(&mut raw);
        assert_eq!(raw.attributes.len(), 1);
        let shown: Vec<_> = scores
            .iter()
            .map(|score| {
                let place = (score.trace_id.is_some(), score.span_id.is_some(), score.session_id.is_some());
                (score.name.as_str(), place, score.origin)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("correct", (true, true, false), ScoreOrigin::Annotator),
                ("tone", (true, true, false), ScoreOrigin::Evaluator),
                ("solved", (true, false, false), ScoreOrigin::Unknown),
                ("user feedback", (false, false, true), ScoreOrigin::User),
            ]
        );
    }
}
