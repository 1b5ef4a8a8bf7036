//! Recorded exports of many tools through the binary: every file is taken whole.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::{World, fixtures};

/// What lies among the exports and holds no trace.
const NO_TRACE: &[(&str, &str)] = &[
    ("capture-results.json", "a summary of how the spans beside it were recorded"),
    ("README.md", "a text for people"),
    ("gen-ai-input-messages.json", "a JSON schema"),
    ("gen-ai-output-messages.json", "a JSON schema"),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What is read from an export is compared with these in a test of their own.
        if path.ends_with("expected_chatml") {
            continue;
        }
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn recorded_exports_are_taken_without_a_rejected_row() {
    let Some(folder) = fixtures("recorded exports") else { return };
    let world = World::new();
    world.write("assize.toml", "");
    let mut taken = 0;
    for kind in ["langfuse", "any_agent", "openinference", "otlp_capture", "otlp_examples"] {
        for file in files(&folder.join("traces").join(kind)) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let path = file.to_str().unwrap();
            if NO_TRACE.iter().any(|(other, _)| *other == name) {
                let ran = world.run(&["ingest", path]);
                assert_ne!(ran.code, 0, "{path}");
                assert!(ran.stderr.contains("in no format known here"), "{path}: {}", ran.stderr);
                continue;
            }
            let report = world.run(&["ingest", path, "--json"]).expect(0).json();
            assert_eq!(report["rejected"], 0, "{path}: {report}");
            let format = if kind == "langfuse" { "langfuse" } else { "otlp_json" };
            assert_eq!(report["files"][0]["format"], format, "{path}");
            taken += 1;
        }
    }
    assert!(taken >= 12 + 4 + 10 + 1 + 4, "{taken} files");
}

#[test]
fn a_download_of_langfuse_is_shown_with_its_answer() {
    let Some(folder) = fixtures("a download of Langfuse") else { return };
    let world = World::new();
    world.write("assize.toml", "");
    let file = folder.join("traces/langfuse/exports/google-adk-2025-08-28.trace.json");
    let report = world.run(&["ingest", file.to_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!((&report["traces"], &report["spans"], &report["scores"]), (&1.into(), &5.into(), &2.into()));
    let shown = world.run(&["traces", "ls", "--json"]).expect(0).json();
    let shown = &shown[0];
    assert_eq!((&shown["session_id"], &shown["agent"]), (&"demo-session".into(), &"hello_agent".into()));
    assert_eq!((&shown["usage"]["input"], &shown["usage"]["output"]), (&67.into(), &9.into()));
    assert!((shown["cost_usd"].as_f64().unwrap() - 1.03e-5).abs() < 1e-12, "{shown}");
}
