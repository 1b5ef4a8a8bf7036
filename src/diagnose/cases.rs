//! Reference cases of detectors: trees of steps and what must be found in them.
//!
//! A case holds `config`, `spans`, the list `expected` and perhaps `metrics`. Reading files and comparing answers is
//! done elsewhere. Cases are foreign: one that cannot be read is an error in words, never a panic.

use serde_json::{Value, json};

use super::tree::{Step, Tree};
use super::{Rules, look};

/// Name of the method in files of cases.
pub const METHOD: &str = "detectors";

/// Whether a case is one of trees, whatever its file is called.
pub fn is_tree(case: &Value) -> bool {
    input(case).get("spans").is_some_and(Value::is_array)
}

/// Where `config` and `spans` stand: in the case itself or in its `input`.
fn input(case: &Value) -> &Value {
    case.get("input").filter(|input| input.is_object()).unwrap_or(case)
}

/// What is put in, for people to see.
pub fn shown_input(case: &Value) -> Value {
    let input = input(case);
    json!({ "config": input.get("config"), "spans": input.get("spans") })
}

/// The answer to a case: `findings` and `metrics`.
pub fn run_case(case: &Value) -> Result<Value, String> {
    let input = input(case);
    let rules = match input.get("config") {
        None | Some(Value::Null) => Rules::default(),
        Some(config) => serde_json::from_value(config.clone()).map_err(|error| format!("`config`: {error}"))?,
    };
    let spans = input.get("spans").ok_or("the case has no `spans`")?;
    let steps: Vec<Step> = serde_json::from_value(spans.clone()).map_err(|error| format!("`spans`: {error}"))?;
    // A case that does not say so is complete, and its tools are recorded.
    let found = look(&Tree::new(steps), &rules.settled(true, true));
    let findings = found
        .findings
        .iter()
        .map(|one| json!({ "detector": one.detector, "subtype": one.subtype, "spans": one.spans }));
    Ok(json!({ "findings": findings.collect::<Vec<_>>(), "metrics": found.counts }))
}

/// What a case expects, in the shape of an answer; the error says that it expects nothing.
pub fn expected(case: &Value) -> Result<Value, String> {
    let list = case.get("expected").and_then(Value::as_array).ok_or("the case has no list `expected`")?;
    let mut list = list.clone();
    let key = |finding: &Value| {
        let word = |key: &str| finding.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let spans = finding.get("spans").and_then(Value::as_array).cloned().unwrap_or_default();
        (word("detector"), word("subtype"), spans.iter().map(Value::to_string).collect::<Vec<_>>())
    };
    for spans in list.iter_mut().filter_map(|finding| finding.get_mut("spans")?.as_array_mut()) {
        spans.sort_by_key(Value::to_string);
    }
    list.sort_by_key(key);
    // A detector says a thing once, however often it meets it.
    list.dedup();
    let mut expected = json!({ "findings": list });
    if let (Some(metrics), Value::Object(map)) = (case.get("metrics"), &mut expected) {
        map.insert("metrics".to_owned(), metrics.clone());
    }
    Ok(expected)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Cases of a file that do not agree, and how many there are.
    fn walk(path: &Path) -> (usize, Vec<String>) {
        let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let cases = file["cases"].as_array().unwrap();
        let wrong = cases.iter().filter_map(|case| {
            let (found, wanted) = (run_case(case).unwrap(), expected(case).unwrap());
            let agrees = found["findings"] == wanted["findings"] && found["metrics"] == wanted["metrics"];
            (!agrees).then(|| format!("{} {}: {found} against {wanted}", case["id"], case["title"]))
        });
        (cases.len(), wrong.collect())
    }

    #[test]
    fn own_trees_agree_and_show_every_detector() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/detectors.json");
        let (count, wrong) = walk(&path);
        assert!(count > 50 && wrong.is_empty(), "{}", wrong.join("\n"));
        let text = fs::read_to_string(path).unwrap();
        for detector in super::super::Detector::ALL {
            assert!(text.contains(&format!("\"detector\": \"{}\"", detector.as_str())), "{detector:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let told = |case: Value| run_case(&case).unwrap_err();
        assert_eq!(told(json!({})), "the case has no `spans`");
        assert!(told(json!({"config": {"n": 1}, "spans": []})).starts_with("`config`: unknown field"));
        assert!(told(json!({"spans": [{"start": "soon"}]})).starts_with("`spans`: "));
        assert!(expected(&json!({"expected": {}})).is_err());
        assert_eq!(run_case(&json!({"spans": []})).unwrap()["metrics"]["max_depth"], 0);
        // A key that says nothing is as good as none.
        let null = json!({"spans": [{"id": "a", "kind": null, "finish_reasons": null, "compaction": null, "end": 1}]});
        assert_eq!(run_case(&null).unwrap()["findings"], json!([]));
    }
}
