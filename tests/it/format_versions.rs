//! What every released version wrote is read by this one; the table of formats is that of the program; files fit schemas.
//!
//! `tests/samples/formats/N` holds what the release with versions N wrote. A new version gets a folder; none is changed.

use std::fs;
use std::path::{Path, PathBuf};

use assize::ops::schema::{FORMATS, schema};
use assize::store::Bundle;
use serde_json::Value;

use crate::world::World;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/formats")
}

/// A world with the files of a release.
fn released(version: &str) -> World {
    fn copy(from: &Path, name: &str, world: &World) {
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{name}{}", path.file_name().unwrap().to_string_lossy());
            if path.is_dir() {
                copy(&path, &format!("{name}/"), world);
            } else {
                world.write(&name, fs::read(&path).unwrap());
            }
        }
    }
    let world = World::new();
    copy(&samples().join(version), "", &world);
    world
}

fn fits(name: &str, value: &Value) {
    let schema = schema(name).map_err(|failed| failed.error).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(faults.is_empty(), "{name}: {faults:?}");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_version_that_is_written_has_a_sample() {
    for format in FORMATS.iter().filter(|format| format.schema.is_some()) {
        assert!(samples().join(format.version.to_string()).is_dir(), "no sample of {} {}", format.name, format.version);
    }
}

#[test]
fn the_table_of_formats_is_that_of_the_program() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md")).unwrap();
    let rows: Vec<&str> =
        text.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 5).collect();
    let mut expected = Vec::new();
    let names = assize::ops::schema::names();
    for format in FORMATS {
        let schema = format.schema.map_or("none".to_owned(), |name| format!("`{name}`"));
        let row = format!("| {} | {} | {schema} |", format.name, format.version);
        assert!(rows.iter().any(|line| line.starts_with(&row)), "docs/formats.md lacks: {row}");
        let told = format!("{} {}", format.name, format.version);
        assert!(text.split("## Changes").nth(1).unwrap().contains(&told), "no change tells of {told}");
        assert!(format.schema.is_none_or(|name| names.iter().any(|known| known == name)), "{}", format.name);
        expected.push(row);
    }
    assert_eq!(rows.len(), expected.len() + 1, "a row of a format that there is not: {rows:?}");
}

#[test]
fn what_the_first_release_wrote_is_read() {
    let world = released("1");
    let compared = world.run(&["compare", "run.assize", "worse.assize", "--json"]).expect(4).json();
    let before = json(&world.read("comparison.json"));
    for part in ["metrics", "verdict", "pairing", "comparability", "examples"] {
        assert_eq!(compared["comparison"][part], before[part], "{part}");
    }
    world.run(&["bundle", "import", "run.assize"]).expect(0);
    world.run(&["bless", "run.assize", "-m", "read again"]).expect(0);
    let shown = world.run(&["dataset", "show", "qa@1", "--json"]).expect(0).stdout;
    assert!(shown.contains("What is 1?"), "{shown}");
    world.run(&["run", "qa", "--anyway", "--target", "worse"]).expect(0);
    let quarantined = world.run(&["flaky", "ls", "--json"]).expect(0).stdout;
    assert!(quarantined.contains("two answers are right"), "{quarantined}");
    let back: assize::compare::Comparison = serde_json::from_value(before).unwrap();
    assert_eq!(back.baseline.blessing.unwrap().by, "Ada");
    let _: assize::compare::RunView = serde_json::from_value(json(&world.read("run.json"))).unwrap();
}

#[test]
fn files_and_events_fit_their_schemas() {
    let world = released("1");
    fits("report.comparison", &json(&world.read("comparison.json")));
    fits("report.run", &json(&world.read("run.json")));
    world.read("rows.jsonl").lines().for_each(|line| fits("report.row", &json(line)));
    fits("dataset.header", &json(&world.read("datasets/qa/1/dataset.json")));
    world.read("datasets/qa/1/examples.jsonl").lines().for_each(|line| fits("dataset.example", &json(line)));
    let quarantine: Value = toml::from_str(&world.read("quarantine.toml")).unwrap();
    fits("quarantine", &quarantine);
    let bytes = fs::read(world.path("worse.assize")).unwrap();
    for entry in Bundle::read(&bytes).unwrap().entries {
        fits("journal.entry", &serde_json::to_value(&entry).unwrap());
    }
    let cut = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let lines = String::from_utf8(zstd::decode_all(&bytes[cut..]).unwrap()).unwrap();
    lines.lines().for_each(|line| fits("bundle.line", &json(line)));
}

#[test]
fn a_later_version_is_refused_and_says_so() {
    let world = released("1");
    let later = world.read("datasets/qa/1/dataset.json").replacen("\"format\": 1", "\"format\": 9", 1);
    world.write("datasets/qa/1/dataset.json", later);
    let ran = world.run(&["dataset", "show", "qa@1"]).expect(2);
    assert!(ran.stderr.contains("9") && ran.stderr.contains("newer"), "{}", ran.stderr);
}
