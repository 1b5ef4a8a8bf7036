//! A folder of reference cases, put to the code that answers users.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use serde::Serialize;
use serde_json::{Value, json};

use crate::diagnose::cases as trees;
use crate::ops::exit::{Done, Failed};
use crate::stats::cases::{Miss, adapter_of, compare_case, run_case};
use crate::sys::{files, text};

/// Longest text of a value that is told.
const TOLD: usize = 200;

/// What came of a folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CasesDone {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// Files read.
    pub files: u64,
    /// Cases that agree.
    pub agree: u64,
    /// Cases with a place that does not.
    pub disagree: u64,
    /// Cases that nothing answers, or that cannot be read.
    pub unread: u64,
    /// Methods that nothing answers, and files that are not in the format.
    pub unknown: Vec<String>,
    /// By method.
    pub methods: Vec<MethodCases>,
}

/// What came of one method.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MethodCases {
    /// Name as in its files.
    pub method: String,
    /// Cases.
    pub cases: u64,
    /// Cases that agree.
    pub agree: u64,
    /// Cases with a place that does not.
    pub disagree: u64,
    /// Cases that nothing answers, or that cannot be read.
    pub unread: u64,
    /// Every place that does not agree, and every case that was not read.
    pub faults: Vec<Fault>,
}

/// One place that does not agree, or one case that was not read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    /// File.
    pub file: String,
    /// Id of the case.
    pub case: String,
    /// Path of keys inside `expected`; `None` where the case was not read.
    pub place: Option<String>,
    /// What was answered.
    pub found: Option<Value>,
    /// What the case expects.
    pub expected: Option<Value>,
    /// Input of the case.
    pub input: Value,
    /// The fault in words.
    pub words: String,
}

/// Runs every `.json` file of a folder, in the order of their names.
pub fn run(folder: &Path) -> Done<CasesDone> {
    let mut paths = files::list_folder(folder).map_err(Failed::usage)?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    if paths.is_empty() {
        return Err(Failed::usage(anyhow!(
            "no `.json` file in `{}`; name a folder of reference cases",
            folder.display()
        )));
    }
    let mut methods: BTreeMap<String, MethodCases> = BTreeMap::new();
    for path in &paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = files::read_bytes(path).map_err(Failed::usage)?;
        read(&name, &bytes, &mut methods);
    }
    let mut done = CasesDone { format: 1, files: paths.len() as u64, ..CasesDone::default() };
    for method in methods.into_values() {
        if method.method != trees::METHOD && adapter_of(&method.method).is_none() {
            done.unknown.push(method.method.clone());
        }
        done.agree += method.agree;
        done.disagree += method.disagree;
        done.unread += method.unread;
        done.methods.push(method);
    }
    Ok(done)
}

/// One file; one that is not in the format counts as one case that was not read.
fn read(name: &str, bytes: &[u8], methods: &mut BTreeMap<String, MethodCases>) {
    let file: Result<Value, String> = serde_json::from_slice(bytes).map_err(|error| format!("it is no JSON: {error}"));
    let parts = file.and_then(|file| {
        let cases = file.get("cases").and_then(Value::as_array).ok_or("it has no list of `cases`")?.clone();
        // A file that names no method is called after it, unless it holds trees of spans.
        let trees = (!cases.is_empty() && cases.iter().all(trees::is_tree)).then_some(trees::METHOD);
        let stem = name.trim_end_matches(".json").trim_start_matches("stats_");
        let method = file.get("method").and_then(Value::as_str).or(trees).unwrap_or(stem).to_owned();
        Ok((method, cases, file.get("tolerance").cloned().unwrap_or_default()))
    });
    let (method, cases, tolerance) = match parts {
        Ok(parts) => parts,
        Err(words) => {
            let found = of(methods, name);
            found.cases += 1;
            found.unread += 1;
            found.faults.push(unread(name, "", &Value::Null, words));
            return;
        }
    };
    let found = of(methods, &method);
    for case in &cases {
        one(name, &method, case, &tolerance, found);
    }
}

fn of<'a>(methods: &'a mut BTreeMap<String, MethodCases>, name: &str) -> &'a mut MethodCases {
    let fresh = || MethodCases { method: name.to_owned(), ..MethodCases::default() };
    methods.entry(name.to_owned()).or_insert_with(fresh)
}

fn one(file: &str, method: &str, case: &Value, tolerance: &Value, found: &mut MethodCases) {
    found.cases += 1;
    let id = case.get("id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).unwrap_or_default();
    let input = match method {
        trees::METHOD => trees::shown_input(case),
        _ => case.get("input").cloned().unwrap_or_default(),
    };
    match misses(method, case, tolerance) {
        Err(words) => {
            found.unread += 1;
            found.faults.push(unread(file, &id, &input, words));
        }
        Ok(misses) if misses.is_empty() => found.agree += 1,
        Ok(misses) => {
            found.disagree += 1;
            found.faults.extend(misses.into_iter().map(|miss| Fault {
                file: file.to_owned(),
                case: id.clone(),
                words: text::one_line(&miss.to_string(), TOLD),
                place: Some(miss.place),
                found: miss.found,
                expected: Some(miss.expected),
                input: input.clone(),
            }));
        }
    }
}

/// Where the answer to a case is not what it expects; the error says what cannot be read.
fn misses(method: &str, case: &Value, tolerance: &Value) -> Result<Vec<Miss>, String> {
    if method == trees::METHOD {
        let expected = json!({ "expected": trees::expected(case)? });
        return compare_case(&trees::run_case(case)?, &expected, tolerance);
    }
    compare_case(&run_case(method, case)?, case, tolerance)
}

fn unread(file: &str, case: &str, input: &Value, words: String) -> Fault {
    Fault {
        file: file.to_owned(),
        case: case.to_owned(),
        place: None,
        found: None,
        expected: None,
        input: input.clone(),
        words: text::one_line(&words, TOLD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_counted_once() {
        let mut methods = BTreeMap::new();
        let file = br#"{"method": "multiple_testing", "tolerance": {"abs": 1e-9, "rel": 0}, "cases": [
            {"id": "a", "input": {"p": [0.01, 0.5], "alpha": 0.05}, "expected": {"holm": {"adjusted": [0.02, 0.5]}}},
            {"id": "b", "input": {"p": [0.01, 0.5], "alpha": 0.05}, "expected": {"holm": {"adjusted": [0.03, 0.5]}}},
            {"id": 3, "input": {"p": "none", "alpha": 0.05}, "expected": {"holm": {}}}]}"#;
        read("m.json", file, &mut methods);
        read(
            "t.json",
            br#"{"method": "tea_leaves", "cases": [{"id": "a", "input": {}, "expected": {"x": 1}}]}"#,
            &mut methods,
        );
        read("broken.json", b"{", &mut methods);
        let of = |name: &str| methods.get(name).unwrap();
        let known = of("multiple_testing");
        assert_eq!((known.cases, known.agree, known.disagree, known.unread), (3, 1, 1, 1), "{known:?}");
        assert_eq!(known.faults[0].place.as_deref(), Some("holm.adjusted[0]"));
        assert_eq!((of("tea_leaves").unread, of("broken.json").unread), (1, 1));
    }
}
