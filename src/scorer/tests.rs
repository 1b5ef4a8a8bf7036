//! What holds for every row of the table, and the helpers the families' own tests share.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::model::{
    Example, Output, Score, ScoreValue, Span, SpanKind, SpanStatus, ToolUse, Trace, TraceId, UnscoredReason, Usage,
};

pub(super) fn build(name: &str, options: Value) -> Box<dyn Scorer> {
    let info = find(name).unwrap();
    (info.build)(&options).unwrap_or_else(|error| panic!("{name} {options}: {error}"))
}

pub(super) fn build_error(name: &str, options: Value) -> String {
    match (find(name).unwrap().build)(&options) {
        Ok(_) => panic!("{name} {options}: expected an error"),
        Err(error) => error,
    }
}

pub(super) fn score_pair(name: &str, options: Value, example: &Example, output: &Output) -> Scored {
    build(name, options).score(&ScoreInput { example, output })
}

pub(super) fn score_output(name: &str, options: Value, output: &Output) -> Scored {
    score_pair(name, options, &Example::new("e".into(), json!("question")), output)
}

/// Scores an output value against a reference; null is no reference.
pub(super) fn score(name: &str, options: Value, value: Value, reference: Value) -> Scored {
    let mut example = Example::new("e".into(), json!("question"));
    example.reference = (!reference.is_null()).then_some(reference);
    score_pair(name, options, &example, &Output { value, ..Output::default() })
}

pub(super) fn number(name: &str, options: Value, value: Value, reference: Value) -> f64 {
    score(name, options, value, reference).unwrap().value.number().unwrap()
}

pub(super) fn passes(name: &str, options: Value, value: Value, reference: Value) -> bool {
    match score(name, options, value, reference).unwrap().value {
        ScoreValue::Pass { pass } => pass,
        other => panic!("{name}: expected a pass or fail, found {other}"),
    }
}

/// A span of one millisecond at `start` milliseconds.
pub(super) fn span(id: &str, kind: SpanKind, start: i64) -> Span {
    let fields = json!({"trace_id": "t", "span_id": id, "kind": kind, "name": id, "start_ns": start * 1_000_000,
        "end_ns": (start + 1) * 1_000_000});
    serde_json::from_value(fields).unwrap()
}

/// A trace of tool calls: name, arguments, whether it failed. It ends one millisecond after the last call.
pub(super) fn tool_trace(calls: &[(&str, Value, bool)]) -> Trace {
    let mut spans = vec![span("root", SpanKind::Agent, 0)];
    for (index, (name, arguments, failed)) in calls.iter().enumerate() {
        let tool = ToolUse { name: (*name).to_owned(), arguments: Some(arguments.clone()), ..ToolUse::default() };
        spans.push(Span {
            parent_id: Some("root".into()),
            status: if *failed { SpanStatus::Error } else { SpanStatus::Ok },
            tool: Some(tool),
            ..span(&format!("call{index}"), SpanKind::Tool, index as i64 + 1)
        });
    }
    Trace { id: TraceId::new("t"), session_id: None, spans, faults: Vec::new() }
}

pub(super) fn score_calls(name: &str, options: Value, reference: Value, calls: &[(&str, Value, bool)]) -> Scored {
    let mut example = Example::new("e".into(), json!("x"));
    example.reference = (!reference.is_null()).then_some(reference);
    let output = Output { trace: Some(Arc::new(tool_trace(calls))), ..Output::of_text("x") };
    score_pair(name, options, &example, &output)
}

pub(super) fn number_of_calls(name: &str, options: Value, reference: Value, calls: &[(&str, Value, bool)]) -> f64 {
    score_calls(name, options, reference, calls).unwrap().value.number().unwrap()
}

pub(super) fn calls_pass(name: &str, options: Value, reference: Value, calls: &[(&str, Value, bool)]) -> bool {
    (number_of_calls(name, options, reference, calls) - 1.0).abs() < 1e-12
}

pub(super) fn trip() -> Vec<(&'static str, Value, bool)> {
    vec![
        ("search", json!({"city": "Paris", "limit": 5}), false),
        ("search", json!({"city": "Rome"}), true),
        ("book", json!("{\"city\": \"Paris\", \"nights\": 2.0}"), false),
    ]
}

pub(super) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop_oneof![Just("NaN"), Just("1e999"), Just("-0"), Just("{"), Just("\u{0}"), Just("```json")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-c.]{0,3}|name|arguments", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn sample(info: &ScorerInfo) -> Value {
    let table: toml::Table = toml::from_str(info.sample).unwrap_or_else(|error| panic!("{}: {error}", info.name));
    serde_json::to_value(table).unwrap()
}

/// Every scorer with its sample options, and once more with none where it can do without.
fn all_scorers() -> &'static [(&'static str, Box<dyn Scorer>)] {
    static ALL: LazyLock<Vec<(&'static str, Box<dyn Scorer>)>> = LazyLock::new(build_all);
    &ALL
}

fn build_all() -> Vec<(&'static str, Box<dyn Scorer>)> {
    let with_sample = SCORERS.iter().map(|info| (info.name, (info.build)(&sample(info)).unwrap()));
    let bare = SCORERS.iter().filter_map(|info| Some((info.name, (info.build)(&json!({})).ok()?)));
    with_sample.chain(bare).collect()
}

/// What must hold of any finding: it is on the scale, it says why, and in few words.
fn check(name: &str, scorer: &dyn Scorer, scored: Scored) {
    let score: Score = match scored {
        Ok(score) => score,
        Err(unscored) => {
            assert!(!unscored.detail.is_empty() && unscored.detail.chars().count() < 1000, "{name}: {unscored:?}");
            assert_ne!(unscored.reason, UnscoredReason::ScorerFault, "{name}: {unscored:?}");
            return;
        }
    };
    let told = score.explanation.unwrap_or_else(|| panic!("{name}: no explanation"));
    assert!(told.chars().count() < 3000, "{name}: {told}");
    let hidden = |c: char| crate::sys::text::is_hidden(c) && c != '\n';
    assert!(!told.chars().any(hidden), "{name}: {told:?}");
    let value = score.value.number();
    match (scorer.scale(), &score.value) {
        (Scale::Binary, ScoreValue::Pass { .. }) | (Scale::Labels { .. }, ScoreValue::Label { .. }) => {}
        (Scale::Number { min, max }, ScoreValue::Number { number }) => {
            let number = number.get();
            assert!(min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max), "{name}: {number}");
        }
        (scale, value) => panic!("{name}: {value} is not on {scale:?}"),
    }
    assert!(value.is_none_or(f64::is_finite), "{name}");
}

#[test]
fn names_are_sorted_unique_and_plain() {
    let names: Vec<&str> = SCORERS.iter().map(|info| info.name).collect();
    let sorted: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names, sorted.into_iter().collect::<Vec<_>>());
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())));
    assert!(SCORERS.iter().all(|info| !info.version.is_empty()));
    assert!(find("exact").is_some() && find("exakt").is_none());
}

#[test]
fn summaries_are_one_sentence() {
    for info in SCORERS {
        let inner = info.summary.trim_end_matches('.');
        assert!(info.summary.ends_with('.') && !inner.contains(". ") && !inner.contains('\n'), "{}", info.name);
        assert!(info.summary.len() <= 120 && info.summary.starts_with(char::is_uppercase), "{}", info.name);
    }
}

#[test]
fn samples_fit_their_schema_and_build() {
    for info in SCORERS {
        let options = sample(info);
        let schema = (info.schema)();
        let errors: Vec<String> = jsonschema::validator_for(&schema)
            .unwrap_or_else(|error| panic!("{}: {error}", info.name))
            .iter_errors(&options)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", info.name);
        (info.build)(&options).unwrap_or_else(|error| panic!("{}: {error}", info.name));
        assert!(info.sample.lines().all(|line| line.contains(" = ")), "{}", info.name);
    }
}

#[test]
fn schemas_are_closed_and_describe_every_option() {
    for info in SCORERS {
        let schema = (info.schema)();
        assert_eq!(schema["type"], json!("object"), "{}", info.name);
        assert_eq!(schema["additionalProperties"], json!(false), "{}", info.name);
        assert!(!schema.to_string().contains("\"$ref\":"), "{}", info.name);
        for (key, option) in schema["properties"].as_object().unwrap_or(&Map::new()) {
            let described = option["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described, "`{key}` of {} has no description: {option}", info.name);
        }
    }
}

#[test]
fn unknown_options_are_refused_by_name() {
    for info in SCORERS {
        let mut options = sample(info);
        options["no_such_option"] = json!(1);
        let Err(error) = (info.build)(&options) else { panic!("{} takes an unknown option", info.name) };
        assert!(error.contains("`no_such_option`"), "{}: {error}", info.name);
        assert!(!error.ends_with('.') && !error.contains('\n'), "{}: {error}", info.name);
    }
}

#[test]
fn options_of_the_wrong_kind_never_panic() {
    for info in SCORERS {
        let schema = (info.schema)();
        for key in schema["properties"].as_object().unwrap_or(&Map::new()).keys() {
            for odd in
                [Value::Null, json!(-1), json!(1e308), json!(""), json!([]), json!({}), json!([[1]]), json!(true)]
            {
                let mut options = sample(info);
                options[key] = odd;
                if let Err(error) = (info.build)(&options) {
                    assert!(!error.is_empty() && !error.contains('\n'), "{}: {error}", info.name);
                }
            }
        }
    }
}

#[test]
fn empty_and_huge_outputs_are_scored() {
    let huge = "word, 1 {\"a\": [1, 2]} I'm sorry \u{202e}\u{1b}[31m ".repeat(5_000);
    let texts = [json!(""), Value::Null, json!("\u{0}"), json!(huge), json!(vec![0; 50_000])];
    for (name, scorer) in all_scorers() {
        for value in &texts {
            for reference in [None, Some(json!("")), Some(json!("word")), Some(json!([])), Some(json!({}))] {
                let mut example = Example::new("e".into(), Value::Null);
                example.reference = reference;
                let output = Output { value: value.clone(), ..Output::default() };
                check(name, scorer.as_ref(), scorer.score(&ScoreInput { example: &example, output: &output }));
            }
        }
    }
}

#[test]
fn a_missing_reference_says_how_to_mend_it() {
    for name in [
        "bleu",
        "chrf",
        "contains",
        "edit_distance",
        "exact",
        "jaro_winkler",
        "json_diff",
        "json_subset",
        "numeric",
        "rouge_1",
        "rouge_l",
        "token_f1",
    ] {
        let unscored = score(name, json!({}), json!("x"), Value::Null).unwrap_err();
        assert_eq!(unscored.reason, UnscoredReason::NotApplicable, "{name}");
        assert!(unscored.detail.contains("give the example a `reference` or set `value`"), "{name}: {unscored:?}");
    }
}

fn figure() -> impl Strategy<Value = Option<f64>> {
    proptest::option::of(prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(-0.0), 0.0..1e6])
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[ -~]{0,40}",
        "([-+]?[0-9]{1,4}[,.eE%$ ]){0,6}",
        "([\\[\\]{}\":, ]|```|json){0,20}",
        "(I |can't |sorry|, |help |with |\"|that\\.|not ){0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_scorer_panics_on_anything(
        value in prop_oneof![json_value(), text().prop_map(Value::from)],
        reference in proptest::option::of(prop_oneof![json_value(), text().prop_map(Value::from)]),
        metadata in proptest::collection::btree_map("reward|finish_reason|stop_reason|[a-z]{1,3}", json_value(), 0..4),
        (latency_ms, cost_usd, tokens) in (figure(), figure(), any::<Option<u64>>()),
        calls in proptest::option::of(proptest::collection::vec(("search|book|.{0,5}", json_value(), any::<bool>()), 0..5)),
    ) {
        let mut example = Example::new("e".into(), value.clone());
        example.reference = reference;
        example.metadata = metadata.clone();
        let trace = calls.map(|calls| {
            let calls: Vec<(&str, Value, bool)> = calls.iter().map(|(n, a, f)| (n.as_str(), a.clone(), *f)).collect();
            Arc::new(tool_trace(&calls))
        });
        let usage = Usage { input: tokens, output: tokens, ..Usage::default() };
        let output = Output { value, trace, usage, cost_usd, latency_ms, metadata };
        for (name, scorer) in all_scorers() {
            let input = ScoreInput { example: &example, output: &output };
            let scored = scorer.score(&input);
            prop_assert_eq!(&scored, &scorer.score(&input), "{} is not deterministic", name);
            check(name, scorer.as_ref(), scored);
        }
    }
}
