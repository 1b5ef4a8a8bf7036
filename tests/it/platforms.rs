//! Rows of platforms through the binary: recorded bodies of an SDK, and what a user sees of an export with faults.

use std::fs;

use serde_json::{Value, json};

use crate::world::{World, fixtures};

/// Tokens as a body of LangSmith's SDKs states them; nothing where the stream stated none.
fn stated(body: &Value) -> Value {
    let usage = &body["patch"][0]["outputs"]["usage_metadata"];
    match usage.is_object() {
        true => json!({"input": usage["input_tokens"], "output": usage["output_tokens"],
            "cache_read": usage["input_token_details"]["cache_read"],
            "reasoning": usage["output_token_details"]["reasoning"]}),
        false => Value::Null,
    }
}

#[test]
fn bodies_of_langsmiths_sdks_keep_their_tokens() {
    let Some(folder) = fixtures("langsmith bodies") else { return };
    let world = World::new();
    let mut unknown = 0;
    let mut files = 0;
    for entry in fs::read_dir(folder.join("traces/langsmith")).unwrap() {
        let path = entry.unwrap().path();
        let body: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let report = world.run(&["ingest", path.to_str().unwrap(), "--json"]).expect(0).json();
        assert_eq!((&report["rejected"], &report["spans"]), (&json!(0), &json!(1)), "{report}");
        assert_eq!(report["files"][0]["format"], "langsmith");
        let id = body["post"][0]["trace_id"].as_str().unwrap().replace('-', "");
        let trace = world.run(&["traces", "show", &id, "--json"]).expect(0).json();
        let span = &trace["spans"][0];
        assert_eq!(span["usage"], stated(&body), "{}", path.display());
        assert_eq!(span["kind"], "model");
        assert_eq!(span["finish_reasons"], json!(["stop"]), "{}", path.display());
        let said = &body["patch"][0]["outputs"]["choices"][0]["message"]["content"];
        assert_eq!(span["messages_out"], json!([{"role": "assistant", "parts": [{"type": "text", "content": said}]}]));
        let asked = &body["post"][0]["inputs"]["messages"][0]["content"];
        assert_eq!(span["messages_in"], json!([{"role": "user", "parts": [{"type": "text", "content": asked}]}]));
        assert_eq!(span["model"]["request"], body["post"][0]["inputs"]["model"]);
        assert_eq!(span["source"]["native"]["trace"], body["post"][0]["trace_id"]);
        unknown += usize::from(span["usage"].is_null());
        files += 1;
    }
    assert_eq!((files, unknown), (8, 2), "the two streams without usage stay unknown");
}

#[test]
fn an_export_with_faults_gives_what_is_sound_and_says_the_rest() {
    let world = World::new();
    let row = |id: &str, xact: u64, output: &str| {
        json!({"id": id, "_xact_id": xact.to_string(), "created": "2026-11-21T08:00:00Z", "project_id": "p", "log_id": "g",
            "root_span_id": "a1", "span_id": id, "span_parents": (id != "a1").then_some(["a1"]),
            "span_attributes": {"name": "chat", "type": "llm"}, "input": [{"role": "user", "content": "hi"}],
            "output": output, "metadata": {"model": "gpt-x"}, "scores": {"thumbs": 1},
            "metrics": {"start": 1_795_248_000.1, "end": 1_795_248_000.9, "prompt_tokens": 120, "completion_tokens": 30}})
    };
    let mut late = row("b4", 1, "x");
    late["metrics"]["start"] = json!("yesterday");
    let lines = [row("b2", 2, "new"), row("b2", 1, "old and longer"), row("a1", 1, "x"), late, json!(["no row"])];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    world.write("rows.jsonl", text);
    let report = world.run(&["ingest", "rows.jsonl", "--json"]).expect(0).json();
    assert_eq!(report["files"][0]["format"], "braintrust");
    assert_eq!((&report["rejected"], &report["traces"], &report["scores"]), (&json!(2), &json!(1), &json!(3)));
    let said = report["rejections"].to_string();
    assert!(said.contains("line 4: `start` is the text `yesterday`") && said.contains("line 5: row is"), "{said}");
    let listed = world.run(&["traces", "ls", "--json"]).expect(0).json();
    let id = listed[0]["trace_id"].as_str().unwrap_or_default().to_owned();
    let trace = world.run(&["traces", "show", &id, "--json"]).expect(0).json();
    let answers = trace["spans"].to_string();
    assert!(answers.contains("\"new\"") && !answers.contains("old and longer"), "{answers}");
    // The same export again adds nothing.
    let again = world.run(&["ingest", "rows.jsonl", "--json"]).expect(0).json();
    assert_eq!(again["added"], 0);
}
