//! Each format as its tool writes it, through the whole import; and text that no tool wrote.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::dataset::{Import, ImportOptions, Importer, import_file};
use crate::sys::files;

fn import(name: &str, bytes: impl AsRef<[u8]>) -> Result<Import, DatasetError> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    files::write_atomic(&path, bytes.as_ref()).unwrap();
    import_file(&path, None)
}

/// The examples of a file that must be recognised as one of that format, without a rejected row.
#[track_caller]
fn read_as(format: &str, name: &str, text: &str) -> Vec<Example> {
    let import = import(name, text).unwrap();
    let met: Vec<&str> = import.recognised.iter().map(|recognised| recognised.format).collect();
    assert_eq!(met, [format]);
    assert!(import.rejected.is_empty(), "{:?}", import.rejected);
    import.examples
}

#[test]
fn promptfoo_results_are_variants_and_trials_of_a_test() {
    let result = |provider: &str, question: &str, pass: bool, cached: bool| {
        json!({"cost": 0.001, "latencyMs": 250, "score": f64::from(u8::from(pass)), "success": pass,
            "gradingResult": {"pass": pass, "score": 1, "reason": "ok", "componentResults": [
                {"pass": pass, "score": 1, "reason": "r", "assertion": {"type": "icontains", "value": "paris"}}]},
            "prompt": {"raw": format!("Q: {question}"), "label": "short"}, "promptIdx": 0,
            "provider": {"id": provider, "label": ""}, "vars": {"question": question},
            "response": {"output": "Paris", "cached": cached, "tokenUsage": {"total": 12, "prompt": 10, "completion": 2}},
            "testCase": {"description": "d", "vars": {"question": question},
                "assert": [{"type": "llm-rubric", "value": "is polite"}, {"type": "icontains", "value": "paris"}]},
            "testIdx": 0})
    };
    let results = [
        result("openai:a", "q1", true, false),
        result("openai:b", "q1", false, false),
        result("openai:a", "q1", true, true),
        result("openai:a", "q2", true, false),
    ];
    let file = json!({"evalId": "e", "results": {"version": 3, "results": results, "stats": {}}, "config": {}});
    let examples = read_as("promptfoo", "r.json", &file.to_string());
    assert_eq!(examples.len(), 2);
    let first = &examples[0];
    assert_eq!((&first.input, &first.reference), (&json!({"question": "q1"}), &Some(json!("paris"))));
    let names: Vec<(Option<&str>, u32)> = first.recorded.iter().map(|r| (r.variant.as_deref(), r.trial)).collect();
    assert_eq!(names, [(Some("openai:a | short"), 0), (Some("openai:a | short"), 1), (Some("openai:b | short"), 0)]);
    let output = &first.recorded[0].output;
    assert_eq!((&output.value, output.cost_usd, output.latency_ms), (&json!("Paris"), Some(0.001), Some(250.0)));
    assert_eq!((output.usage.input, output.usage.output), (Some(10), Some(2)));
    assert_eq!(
        (&output.metadata["pass"], &output.metadata["assertions"][0]["type"]),
        (&json!(true), &json!("icontains"))
    );
    assert_eq!(first.recorded[1].output.latency_ms, None, "a cached answer says nothing about time");
}

#[test]
fn promptfoo_tests_are_read_from_yaml_json_and_csv() {
    let yaml = "prompts: [p]\ndefaultTest:\n  vars: {tone: kind}\n  assert:\n    - type: llm-rubric\n      value: polite\n\
                tests:\n  - description: capitals\n    vars:\n      country: [France, Italy]\n    assert:\n      - type: contains\n        value: a\n      - type: equals\n        value: Paris\n  - vars: {country: Spain, tone: curt}\n";
    let examples = read_as("promptfoo_tests", "promptfooconfig.yaml", yaml);
    let inputs: Vec<&Value> = examples.iter().map(|example| &example.input).collect();
    assert_eq!(
        inputs,
        [
            &json!({"country": "France", "tone": "kind"}),
            &json!({"country": "Italy", "tone": "kind"}),
            &json!({"country": "Spain", "tone": "curt"})
        ]
    );
    assert_eq!((&examples[0].reference, &examples[2].reference), (&Some(json!("Paris")), &None));
    assert_eq!(examples[0].metadata["assert"].as_array().unwrap().len(), 3);
    let list = json!([{"vars": {"x": 1}, "assert": [{"type": "equals", "value": "file://x.js"}]}]).to_string();
    assert_eq!(read_as("promptfoo_tests", "tests.json", &list)[0].reference, None);
    let csv = "q,__expected,__expected2,__description\nhi,similar(0.8): hello there,contains: e,greets\nbye,so long: see you,,\n";
    let examples = read_as("promptfoo_tests", "tests.csv", csv);
    assert_eq!(examples[0].metadata["assert"][0], json!({"type": "similar", "value": "hello there", "threshold": 0.8}));
    assert_eq!((&examples[0].input, &examples[0].metadata["description"]), (&json!({"q": "hi"}), &json!("greets")));
    assert_eq!(examples[1].reference, Some(json!("so long: see you")));
}

#[test]
fn too_many_combinations_are_refused() {
    let values: Vec<u32> = (0..200).collect();
    let list = json!([{"vars": {"a": values, "b": values, "c": values}, "assert": []}]).to_string();
    assert!(import("t.json", list).unwrap_err().to_string().contains("at most 10000 tests"));
}

#[test]
fn openai_evals_samples_and_records_are_read() {
    let samples = "{\"input\": [{\"role\": \"user\", \"content\": \"2+2?\"}], \"ideal\": [\"4\", \"four\"]}\n";
    let examples = read_as("openai_evals", "s.jsonl", samples);
    assert_eq!(examples[0].reference, Some(json!(["4", "four"])));
    let log = [
        json!({"spec": {"completion_fns": ["gpt-4"], "eval_name": "add.dev.v0", "run_id": "r"}}),
        json!({"run_id": "r", "event_id": 0, "sample_id": "add.dev.1", "type": "sampling",
            "data": {"prompt": [{"role": "user", "content": "2+2?"}], "sampled": ["4"], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}}),
        json!({"run_id": "r", "event_id": 2, "sample_id": "add.dev.2", "type": "sampling",
            "data": {"prompt": "3+3?", "sampled": ["7"]}}),
        json!({"run_id": "r", "event_id": 1, "sample_id": "add.dev.1", "type": "match",
            "data": {"correct": true, "expected": "4", "picked": "4", "sampled": "4"}}),
        json!({"final_report": {"accuracy": 0.5}}),
    ];
    let log: String = log.iter().map(|line| format!("{line}\n")).collect();
    let examples = read_as("openai_evals_log", "l.jsonl", &log);
    assert_eq!((examples.len(), examples[0].id.as_str()), (2, "add.dev.1"));
    let recorded = &examples[0].recorded[0];
    assert_eq!((recorded.variant.as_deref(), &recorded.output.value), (Some("gpt-4"), &json!("4")));
    assert_eq!((&recorded.output.metadata["correct"], recorded.output.usage.input), (&json!(true), Some(9)));
    assert_eq!(examples[0].reference, Some(json!("4")));
}

#[test]
fn deepeval_goldens_keep_tools_and_contexts() {
    let goldens = json!([{"input": "Rome?", "actual_output": "Sunny", "expected_output": "sun", "context": ["c"],
        "retrieval_context": ["r1", "r2"], "tools_called": [{"name": "look", "input_parameters": {"city": "Rome"}, "output": "sunny"}],
        "expected_tools": [{"name": "look"}], "additional_metadata": {"k": 1}, "completion_time": 1.5, "name": null}]);
    let example = &read_as("deepeval", "g.json", &goldens.to_string())[0];
    let output = &example.recorded[0].output;
    assert_eq!((example.reference.as_ref(), output.latency_ms), (Some(&json!("sun")), Some(1500.0)));
    let tools = output.trace.as_ref().unwrap().tools_used();
    assert_eq!(
        (tools[0].arguments.as_ref(), tools[0].result.as_ref()),
        (Some(&json!({"city": "Rome"})), Some(&json!("sunny")))
    );
    assert_eq!((&example.metadata["expected_tools"], &example.metadata["k"]), (&json!([{"name": "look"}]), &json!(1)));
    let csv = "input,actual_output,expected_output,context,retrieval_context\nq,,e,a|b,\n";
    let example = &read_as("deepeval", "g.csv", csv)[0];
    assert!(example.recorded.is_empty());
    assert_eq!(example.metadata["context"], json!(["a", "b"]));
}

#[test]
fn platforms_dataset_rows_are_read() {
    let langsmith = "{\"id\": \"e1\", \"inputs\": {\"q\": 1}, \"outputs\": {\"a\": 2}, \"dataset_id\": \"d\", \"metadata\": {\"dataset_split\": [\"test\"], \"k\": \"v\"}, \"source_run_id\": \"0198-ab\"}\n";
    let example = &read_as("langsmith", "e.jsonl", langsmith)[0];
    assert_eq!((&example.input, example.reference.as_ref()), (&json!({"q": 1}), Some(&json!({"a": 2}))));
    assert_eq!((example.dimensions["split"].as_str(), &example.metadata["k"]), ("test", &json!("v")));
    assert_eq!(example.lineage.traces[0].as_str(), "0198ab");
    let langfuse = json!([
        {"id": "i1", "datasetId": "d", "input": {"q": 1}, "expectedOutput": "a", "sourceTraceId": "t1", "status": "ACTIVE", "metadata": null},
        {"id": "i2", "datasetId": "d", "input": {"q": 2}, "expectedOutput": "b", "sourceTraceId": null, "status": "ARCHIVED"}]);
    let wrapped = json!({"data": langfuse, "meta": {"page": 1}}).to_string();
    let examples = read_as("langfuse", "i.json", &wrapped);
    assert_eq!((examples.len(), examples[0].id.as_str(), examples[0].lineage.traces[0].as_str()), (1, "i1", "t1"));
    assert!(examples[0].metadata.is_empty(), "{:?}", examples[0].metadata);
}

#[test]
fn ragas_rows_are_turns_and_dialogues() {
    let single =
        "{\"user_input\": \"q\", \"response\": \"a\", \"retrieved_contexts\": [\"c\"], \"reference\": \"r\"}\n";
    let example = &read_as("ragas", "r.jsonl", single)[0];
    assert_eq!((&example.recorded[0].output.value, example.reference.as_ref()), (&json!("a"), Some(&json!("r"))));
    let first = json!([{"question": "q", "answer": "said", "contexts": ["c"], "ground_truth": "right"}]);
    let example = &read_as("ragas", "r.json", &first.to_string())[0];
    assert_eq!(
        (&example.recorded[0].output.value, example.reference.as_ref()),
        (&json!("said"), Some(&json!("right")))
    );
    let multi = json!([{"user_input": [{"content": "Rome?", "type": "human"},
        {"content": "", "type": "ai", "tool_calls": [{"name": "look", "args": {"city": "Rome"}}]},
        {"content": "sunny", "type": "tool"}, {"content": "Sunny.", "type": "ai"}],
        "reference_tool_calls": [{"name": "look", "args": {"city": "Rome"}}], "reference": "sun"}]);
    let example = &read_as("ragas", "m.json", &multi.to_string())[0];
    assert_eq!(example.input, json!([{"role": "user", "content": "Rome?"}]));
    let output = &example.recorded[0].output;
    assert_eq!(
        (&output.value, output.trace.as_ref().unwrap().tools_used()[0].result.as_ref()),
        (&json!("Sunny."), Some(&json!("sunny")))
    );
    assert_eq!(example.metadata["expected_tools"], json!([{"name": "look", "arguments": {"city": "Rome"}}]));
}

#[test]
fn pydantic_and_adk_sets_are_read() {
    let yaml = "name: capitals\ncases:\n  - name: france\n    inputs: {country: France}\n    expected_output: Paris\n    metadata: {level: easy}\n    evaluators: [EqualsExpected]\n";
    let example = &read_as("pydantic_evals", "c.yaml", yaml)[0];
    assert_eq!((example.id.as_str(), example.reference.as_ref()), ("france", Some(&json!("Paris"))));
    assert_eq!(
        (&example.metadata["level"], &example.metadata["evaluators"]),
        (&json!("easy"), &json!(["EqualsExpected"]))
    );
    let turn = |asked: &str, answered: &str| {
        json!({"invocation_id": "i", "user_content": {"parts": [{"text": asked}], "role": "user"},
            "final_response": {"parts": [{"text": answered}], "role": "model"},
            "intermediate_data": {"tool_uses": [{"args": {"n": 6}, "name": "roll", "id": null}]}})
    };
    let set = json!({"eval_set_id": "s", "eval_cases": [
        {"eval_id": "one", "conversation": [turn("roll", "6")], "session_input": {"app_name": "a"}},
        {"eval_id": "two", "conversation": [turn("roll", "6"), turn("again", "5")]}]});
    let examples = read_as("adk", "s.evalset.json", &set.to_string());
    assert_eq!((&examples[0].input, examples[0].reference.as_ref()), (&json!("roll"), Some(&json!("6"))));
    assert_eq!((&examples[1].input, examples[1].reference.as_ref()), (&json!(["roll", "again"]), Some(&json!("5"))));
    assert_eq!(examples[1].metadata["expected_tools"].as_array().unwrap().len(), 2);
    let old = json!([{"query": "hi", "expected_tool_use": [{"tool_name": "roll", "tool_input": {"n": 6}}], "reference": "ok"}]);
    let example = &read_as("adk", "old.test.json", &old.to_string())[0];
    assert_eq!(example.metadata["expected_tools"], json!([{"name": "roll", "arguments": {"n": 6}}]));
}

#[test]
fn rows_of_no_format_keep_their_usual_names() {
    for rows in [
        json!([{"id": 1, "input": "q", "expected": "a", "output": "o"}]),
        json!([{"question": "q", "answer": "a"}]),
        json!([{"input": "q", "expected_output": "a"}]),
    ] {
        let import = import("rows.json", rows.to_string()).unwrap();
        assert!(import.recognised.is_empty(), "{:?}", import.recognised);
        assert_eq!(import.examples[0].reference, Some(json!("a")));
    }
    let deepeval = json!([{"input": "q", "actual_output": "o", "tools_called": []}]).to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.json");
    files::write_atomic(&path, deepeval.as_bytes()).unwrap();
    let mut importer = Importer::new();
    importer.add_rows(&path, None, ImportOptions::default()).unwrap();
    assert!(importer.finish().unwrap().recognised.is_empty());
}

#[test]
fn a_format_that_does_not_exist_is_named_with_the_nearest() {
    let error = find("promptfo").err().unwrap().to_string();
    assert!(error.contains("did you mean `promptfoo`?") && error.contains("inspect"), "{error}");
    assert!(find(USUAL_NAMES).unwrap().is_none());
}

#[test]
fn broken_files_say_what_to_do() {
    let error = import("c.yaml", "cases:\n  - inputs: [1\n").unwrap_err().to_string();
    assert!(error.contains("c.yaml"), "{error}");
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + (1..12)
            .map(|n| {
                let name = |n: u8| char::from(b'a' + n);
                format!("{}: &{} [{}]\n", name(n), name(n), vec![format!("*{}", name(n - 1)); 9].join(","))
            })
            .collect::<String>()
            .as_str()
        + "tests: *l\n";
    assert!(import("bomb.yaml", bomb).is_err());
    let error = import("cut.eval", b"PK\x03\x04 and nothing more").unwrap_err().to_string();
    assert!(error.contains("cut.eval") && error.contains("zip archive"), "{error}");
}

proptest! {
    #[test]
    fn any_row_is_read_or_refused(text in ".{0,12}", number in any::<i64>()) {
        let place = Place { file: Path::new("f"), line: 1 };
        let values = [json!(text), json!(number), json!([text]), json!({ "name": text }), json!([{"role": text, "parts": [text]}]), json!(null)];
        let fields = ["id", "input", "inputs", "ideal", "vars", "assert", "testCase", "response", "events", "user_input", "response",
            "conversation", "messages", "output", "scores", "epoch", "tools_called", "expected_tools", "provider", "metadata", "name"];
        for value in &values {
            for other in &values {
                let row = fields.iter().enumerate().map(|(n, name)| ((*name).to_owned(), if n % 2 == 0 { value } else { other }.clone()));
                let row = Value::Object(row.collect());
                for format in FORMATS {
                    let _ = format.examples(row.clone(), place);
                }
            }
        }
    }
}
