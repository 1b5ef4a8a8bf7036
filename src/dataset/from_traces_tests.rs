//! Traces as production makes them, seen as examples.

use super::*;
use crate::dataset::{SamplePlan, Selector, digest_of, trace_of_messages};
use crate::model::{SessionId, TraceId, Usage};

/// A trace of one question and one answer, `start` seconds after 1970.
fn trace(id: &str, question: &str, answer: &str, start: i64) -> Trace {
    let messages = json!([{"role": "user", "content": question}, {"role": "assistant", "content": answer}]);
    let mut trace = trace_of_messages(&messages, TraceId::new(id)).unwrap();
    for (offset, span) in trace.spans.iter_mut().enumerate() {
        span.start_ns = start * 1_000_000_000 + offset as i64;
        span.end_ns = Some(span.start_ns + 500_000_000);
    }
    trace.spans[1].usage = Usage { input: Some(10), output: Some(5), ..Usage::default() };
    trace.spans[1].cost_usd = Some(0.01);
    trace
}

fn with(mut trace: Trace, pairs: &[(&str, &str)]) -> Arc<Trace> {
    for (name, value) in pairs {
        trace.spans[0].attributes.insert((*name).to_owned(), json!(value));
    }
    Arc::new(trace)
}

fn mapping(text: &str) -> TraceMapping {
    toml::from_str(text).unwrap()
}

#[test]
fn variants_of_one_ticket_are_one_example() {
    let mapping =
        mapping("key = 'ticket.id'\nvariant = 'service.version'\ndimensions = ['intent', 'mood']\nreference = 'gold'");
    let traces = vec![
        with(
            trace("t3", "refund  me", "B", 30),
            &[("ticket.id", "7"), ("service.version", "2"), ("intent", "refund"), ("mood", "x")],
        ),
        with(
            trace("t2", "refund me", "A again", 20),
            &[("ticket.id", "7"), ("service.version", "1"), ("intent", "refund"), ("mood", "y")],
        ),
        with(
            trace("t1", "refund me", "A", 10),
            &[("ticket.id", "7"), ("service.version", "1"), ("intent", "refund"), ("gold", "yes")],
        ),
        with(trace("t4", "no ticket", "C", 40), &[]),
        Arc::new(Trace { id: TraceId::new("t5"), session_id: None, spans: Vec::new(), faults: Vec::new() }),
    ];
    let made = examples_from_traces(traces.clone(), &mapping, None, &Opinions::default()).unwrap();
    assert_eq!(made.left_out, BTreeMap::from([(LeftOut::NoInput, 1), (LeftOut::NoKey, 1)]));
    assert_eq!(made.examples.len(), 1);
    let example = &made.examples[0];
    assert_eq!((example.id.as_str(), &example.input), ("7", &json!("refund me")));
    assert_eq!(example.reference, Some(json!("yes")));
    assert_eq!(example.dimensions, BTreeMap::from([("intent".to_owned(), "refund".to_owned())]));
    assert_eq!(made.mixed_dimensions, BTreeMap::from([("mood".to_owned(), 1)]));
    assert_eq!(made.other_inputs, 0);
    let recorded: Vec<_> =
        example.recorded.iter().map(|r| (r.variant.as_deref().unwrap(), r.trial, r.output.text())).collect();
    assert_eq!(recorded, [("1", 0, "A".to_owned()), ("1", 1, "A again".to_owned()), ("2", 0, "B".to_owned())]);
    let lineage: Vec<&str> = example.lineage.traces.iter().map(TraceId::as_str).collect();
    assert_eq!(lineage, ["t1", "t2", "t3"]);
    let mut reversed = traces;
    reversed.reverse();
    let again = examples_from_traces(reversed, &mapping, None, &Opinions::default()).unwrap();
    assert_eq!(digest_of(&again.examples), digest_of(&made.examples));
}

#[test]
fn the_same_question_is_the_same_example_and_sessions_cluster() {
    let mut first = trace("a", "What is  it?", "x", 1);
    first.session_id = Some(SessionId::new("s1"));
    let traces =
        vec![Arc::new(first), Arc::new(trace("b", "What is it?\n", "y", 2)), Arc::new(trace("c", "Else?", "z", 3))];
    let made = examples_from_traces(traces, &TraceMapping::default(), None, &Opinions::default()).unwrap();
    assert_eq!(made.examples.len(), 2);
    let example = made.examples.iter().find(|example| example.recorded.len() == 2).unwrap();
    assert_eq!(example.cluster.as_deref(), Some("s1"));
    assert!(example.id.as_str().starts_with("in-"));
}

#[test]
fn what_the_trace_knows_goes_with_the_output() {
    let mut failed = trace("a", "q", "x", 1);
    failed.spans[1].status = SpanStatus::Error;
    failed.spans[1].error = Some(crate::model::SpanError { kind: Some("Timeout".into()), message: None });
    let traces = vec![with(failed, &[("user.feedback.score", "1"), ("rating", "4")])];
    let made =
        examples_from_traces(traces, &mapping("output_metadata = ['rating']"), None, &Opinions::default()).unwrap();
    let output = &made.examples[0].recorded[0].output;
    assert_eq!((output.cost_usd, output.latency_ms, output.usage.total()), (Some(0.01), Some(500.000001), Some(15)));
    assert_eq!(output.metadata["status"], json!("error"));
    assert_eq!(output.metadata["error"]["kind"], json!("Timeout"));
    assert_eq!((&output.metadata["user.feedback.score"], &output.metadata["rating"]), (&json!("1"), &json!(4)));
    assert_eq!(output.metadata["started_at"], json!("1970-01-01T00:00:01Z"));
    assert!(output.trace.is_some());
}

#[test]
fn only_the_chosen_are_made_and_carry_their_probability() {
    let traces: Vec<Arc<Trace>> =
        (0..40).map(|i| Arc::new(trace(&format!("t{i}"), &format!("q{}", i / 2), "x", i))).collect();
    let mapping = TraceMapping::default();
    let plan = SamplePlan { n: Some(5), ..SamplePlan::default() };
    let reader = CandidateReader::new(&plan).unwrap();
    let mut selector = Selector::new(plan).unwrap();
    for trace in &traces {
        selector.offer(mapping.candidate(trace, &reader, &Opinions::default()).unwrap());
    }
    let selection = selector.finish().unwrap();
    assert_eq!(selection.design.strata[0].population, 20);
    let made = examples_from_traces(traces, &mapping, Some(&selection), &Opinions::default()).unwrap();
    assert_eq!((made.examples.len(), made.left_out[&LeftOut::NotChosen]), (5, 30));
    assert!(made.examples.iter().all(|e| e.inclusion_probability == Some(0.25) && e.recorded.len() == 2));
}

#[test]
fn nothing_left_says_why() {
    let empty = Trace { id: TraceId::new("t"), session_id: None, spans: Vec::new(), faults: Vec::new() };
    let error = examples_from_traces([Arc::new(empty)], &TraceMapping::default(), None, &Opinions::default())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("nothing selected: none of 1 traces") && error.contains("1: no span says"), "{error}");
    assert!(
        examples_from_traces([], &TraceMapping::default(), None, &Opinions::default())
            .unwrap_err()
            .to_string()
            .contains("no traces")
    );
}
