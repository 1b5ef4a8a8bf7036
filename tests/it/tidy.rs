//! Holds the shape of the house: floors, module heads, pure floors, paths and tables in the documents.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor; a module imports only from lower floors. The same table stands in ARCHITECTURE.md.
const FLOORS: &[(&str, u8)] = &[
    ("model", 0),
    ("stats", 0),
    ("diagnose", 1),
    ("sys", 1),
    ("config", 2),
    ("dataset", 2),
    ("redact", 2),
    ("rubric", 2),
    ("scorer", 2),
    ("compare", 2),
    ("feed", 3),
    ("ingest", 3),
    ("lake", 3),
    ("provider", 3),
    ("store", 3),
    ("report", 3),
    ("judge", 4),
    ("target", 4),
    ("receive", 4),
    ("runner", 5),
    ("ops", 6),
    ("cli", 7),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Source files with the module each belongs to and its text without comments.
fn sources() -> Vec<(PathBuf, String, String)> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    files.sort();
    let mut sources = Vec::new();
    for path in files {
        let inside = path.strip_prefix(&src).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        if inside.components().count() == 1 {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        sources.push((path, module, text));
    }
    sources
}

/// Whether a file is compiled for tests only: its parent declares it under `#[cfg(test)]`.
fn is_test_only(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let folder = path.parent().unwrap();
    let parents = [folder.join("mod.rs"), folder.with_extension("rs")];
    let others = beside(folder);
    let mut texts = parents.iter().chain(&others).filter_map(|parent| fs::read_to_string(parent).ok());
    texts.any(|text| {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let path_line = format!("#[path = \"{name}.rs\"]");
        lines.iter().enumerate().any(|(place, line)| {
            let declares = *line == format!("mod {name};") || *line == path_line;
            let attributes = lines[..place].iter().rev().take_while(|line| line.starts_with("#["));
            declares && attributes.into_iter().any(|line| *line == "#[cfg(test)]")
        })
    })
}

/// The other files of a folder: any of them may declare a test file by `#[path]`.
fn beside(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    rust_files(folder, &mut files);
    files
}

fn code_only(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn modules_import_only_from_lower_floors() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut faults = Vec::new();
    for (path, module, text) in sources() {
        // Words of the dependencies, such as `super::model`, do not matter: only whole-crate paths cross rooms.
        let floor = *floors.get(module.as_str()).unwrap_or_else(|| panic!("module `{module}` stands on no floor"));
        for part in code_only(&text).split("crate::").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            match floors.get(name.as_str()) {
                Some(other) if name != module && *other >= floor => {
                    faults.push(format!(
                        "{}: `{module}` (floor {floor}) imports `{name}` (floor {other})",
                        path.display()
                    ));
                }
                _ => {}
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_module_folder_stands_on_a_floor() {
    let mut folders: Vec<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut known: Vec<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(folders, known);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, _, text)| !text.starts_with("//! "))
        .map(|(path, _, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "files without a `//!` head: {silent:?}");
}

#[test]
fn the_lower_floors_are_pure() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut faults = Vec::new();
    for (path, module, text) in sources() {
        if floors[module.as_str()] > 2 || module == "sys" || is_test_only(&path) {
            continue;
        }
        // Tests may touch files; rules may not.
        let rules = code_only(text.split("#[cfg(test)]").next().unwrap());
        for word in ["std::fs", "std::net", "tokio", "reqwest", "async fn", "std::env", "println!", "rand::rng"] {
            if rules.contains(word) {
                faults.push(format!("{}: `{word}`", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "floors 0 to 2 do no IO and wait for nothing:\n{}", faults.join("\n"));
}

#[test]
fn only_the_command_line_prints() {
    let faults: Vec<String> = sources()
        .into_iter()
        .filter(|(path, module, _)| module != "cli" && !is_test_only(path))
        .filter(|(_, _, text)| {
            let code = code_only(text.split("#[cfg(test)]").next().unwrap());
            code.contains("println!") || code.contains("print!(") || code.contains("process::exit")
        })
        .map(|(path, _, _)| path.display().to_string())
        .collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn paths_named_in_the_architecture_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut missing = Vec::new();
    for word in text.split(['`', ' ', '\n', '(', ')', ',']) {
        let looks_like_path = ["src/", "tests/", "judges/", "datasets/", "reports/", "benches/", "scripts/"]
            .iter()
            .any(|head| word.starts_with(head));
        if looks_like_path && !word.contains(['<', '*']) && !root().join(word.trim_end_matches(['.', ':'])).exists() {
            missing.push(word.to_owned());
        }
    }
    assert!(missing.is_empty(), "ARCHITECTURE.md names paths that do not exist: {missing:?}");
}

#[test]
fn the_floors_in_the_architecture_are_those_of_the_test() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (module, floor) in FLOORS {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{module}` |")));
        let row = row.unwrap_or_else(|| panic!("ARCHITECTURE.md lacks a row for `{module}`"));
        assert!(row.contains(&format!("| {floor} |")), "wrong floor in: {row}");
    }
}

#[test]
fn the_exit_codes_in_the_readme_are_those_of_the_program() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    for (exit, meaning) in assize::ops::Exit::ALL {
        let row = format!("| {} | {meaning} |", exit.code());
        assert!(text.contains(&row), "README.md lacks the row: {row}");
    }
}

#[test]
fn no_file_is_a_house_of_its_own() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _, _)| !is_test_only(path))
        .filter(|(_, _, text)| text.split("#[cfg(test)]").next().unwrap().lines().count() > 600)
        .map(|(path, _, text)| format!("{} ({} lines)", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "files over 600 lines before their tests: {long:?}");
}
