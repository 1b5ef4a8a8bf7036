//! Walks the reference values: every case of every method must be read and must agree.
//!
//! Two folders: `tests/goldens`, which the project carries, and the larger set beside it when it is there.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::cases::{ADAPTERS, adapter_of, compare_case, run_case};

/// Files of the larger set that name no method: trees of spans, which another module answers.
const ELSEWHERE: &[&str] = &["detectors", "detectors.json"];

#[test]
fn own_goldens() {
    let counts = walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens"));
    let lacking: Vec<&str> =
        ADAPTERS.iter().map(|(name, _)| *name).filter(|name| !counts.contains_key(*name)).collect();
    assert!(lacking.is_empty(), "each method has its own values: {lacking:?}");
}

#[test]
fn shared_goldens() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    // A test may look at the environment; nothing that ships does.
    #[expect(clippy::disallowed_methods, reason = "tests find fixtures by an environment variable")]
    let named = std::env::var("ASSIZE_SHARED").map(Into::into);
    let folder = named.unwrap_or(beside).join("goldens");
    if !folder.is_dir() {
        println!("skipped: no fixtures at {}", folder.display());
        return;
    }
    let counts = walk(&folder);
    let own = walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens"));
    let lacking: Vec<&String> = counts.keys().filter(|method| !own.contains_key(*method)).collect();
    assert!(lacking.is_empty(), "methods without values of our own: {lacking:?}");
    println!("{} cases agree: {counts:?}", counts.values().sum::<usize>());
    assert!(counts.values().sum::<usize>() > 300, "{counts:?}");
}

/// Cases that agreed, by method.
fn walk(folder: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut faults = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        for case in file["cases"].as_array().unwrap() {
            let place = format!("{name} {}", case["id"]);
            let method = file["method"].as_str().unwrap_or(&name);
            if adapter_of(method).is_none() && ELSEWHERE.contains(&method) {
                continue;
            }
            let found = run_case(method, case).and_then(|found| compare_case(&found, case, &file["tolerance"]));
            match found {
                Ok(misses) if misses.is_empty() => *counts.entry(method.to_owned()).or_default() += 1,
                Ok(misses) => faults.extend(misses.iter().map(|miss| format!("{place} {miss}"))),
                Err(error) => faults.push(format!("{place}: {error}")),
            }
        }
    }
    assert!(faults.is_empty(), "{} disagree:\n{}", faults.len(), faults.join("\n"));
    counts
}
