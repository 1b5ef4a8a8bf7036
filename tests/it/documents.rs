//! Documents that are made from the program or run against it: the reference of the configuration, the tour, the
//! manual pages. A document that says what no longer holds fails here.
//!
//! `ASSIZE_WRITE_DOCS=1` writes the reference anew instead of checking it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};

use crate::world::World;

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_reference_of_the_configuration_is_made_from_its_schema() {
    let schema = World::new().run(&["schema", "config"]).expect(0).json();
    let made = Reference::of(&schema);
    let file = document("docs/configuration.md");
    if std::env::var_os("ASSIZE_WRITE_DOCS").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == made, "docs/configuration.md is not what the schema says; write it with ASSIZE_WRITE_DOCS=1");
    // A section of each depth, a bound, a choice and a default are there.
    for part in ["## `[suites.NAME.gate]`", "## `[[suites.NAME.graders]]`", "0.01 to 1", "`regressed`", "Default 1."] {
        assert!(made.contains(part), "the reference lacks {part}");
    }
}

/// The reference while it is written.
struct Reference<'a> {
    definitions: &'a Map<String, Value>,
    text: String,
}

impl<'a> Reference<'a> {
    fn of(schema: &'a Value) -> String {
        let mut reference = Self { definitions: schema["$defs"].as_object().unwrap(), text: String::new() };
        reference.text.push_str(
            "# Configuration\n\nEvery key of `assize.toml`. This page is made from the program's own schema \
             (`assize schema config`); `assize init`\nwrites a commented file to start from, and options of scorers, \
             targets and sources are printed by\n`assize schema scorer.NAME`, `target.NAME` and `source.NAME`.\n",
        );
        reference.section("", schema);
        reference.text
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let named = |reference: &str| self.definitions.get(reference.trim_start_matches("#/$defs/"));
        if let Some(found) = schema["$ref"].as_str().and_then(named) {
            return self.resolve(found);
        }
        let choices = schema["anyOf"].as_array().or(schema["allOf"].as_array());
        let real: Vec<&Value> = choices.into_iter().flatten().filter(|choice| choice["type"] != "null").collect();
        match real.as_slice() {
            [only] => self.resolve(only),
            _ => schema,
        }
    }

    fn section(&mut self, path: &str, schema: &'a Value) {
        let Some(properties) = schema["properties"].as_object() else { return };
        let mut inner = Vec::new();
        let mut rows = String::new();
        for (key, property) in properties.iter().filter(|(key, _)| !key.starts_with('$')) {
            let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let found = self.resolve(property);
            let (named, listed) = (self.resolve(&found["additionalProperties"]), self.resolve(&found["items"]));
            if found["properties"].is_object() {
                inner.push((full, property, found, false));
            } else if named["properties"].is_object() {
                inner.push((format!("{full}.NAME"), property, named, false));
            } else if listed["properties"].is_object() {
                inner.push((full, property, listed, true));
            } else {
                let words = words(property).or_else(|| words(found)).unwrap_or_default();
                writeln!(rows, "| `{key}` | {} | {} |", kind(found).replace('|', "\\|"), words.replace('|', "\\|"))
                    .unwrap();
            }
        }
        if !rows.is_empty() {
            write!(self.text, "\n| key | value | what |\n|---|---|---|\n{rows}").unwrap();
        }
        for (full, property, found, list) in inner {
            let heading = if list { format!("[[{full}]]") } else { format!("[{full}]") };
            write!(self.text, "\n## `{heading}`\n").unwrap();
            if let Some(words) = words(property).or_else(|| words(found)) {
                write!(self.text, "\n{words}\n").unwrap();
            }
            // A table within itself is described once.
            if full.split('.').count() < 8 {
                self.section(&full, found);
            }
        }
    }
}

fn words(schema: &Value) -> Option<String> {
    schema["description"].as_str().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What a value may be, in words.
fn kind(schema: &Value) -> String {
    let choices: Vec<&str> = match schema["enum"].as_array() {
        Some(all) => all.iter().filter_map(Value::as_str).collect(),
        None => schema["oneOf"].as_array().into_iter().flatten().filter_map(|one| one["const"].as_str()).collect(),
    };
    if !choices.is_empty() {
        return choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        _ => Vec::new(),
    };
    let bounds = match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(low), Some(high)) => format!(", {low} to {high}"),
        (Some(low), None) => format!(", at least {low}"),
        (None, Some(high)) => format!(", at most {high}"),
        (None, None) => String::new(),
    };
    match types.as_slice() {
        ["integer" | "number"] => format!("number{bounds}"),
        ["boolean"] => "true or false".to_owned(),
        ["string"] => "text".to_owned(),
        ["array"] => "list".to_owned(),
        ["object"] => "table".to_owned(),
        [] => "any".to_owned(),
        several => several.join(" or "),
    }
}

/// Commands of a document: its `sh` blocks, a command a line. A comment `# exit N` says how it ends; the default is 0.
fn commands(text: &str) -> Vec<(String, i32)> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let code = line.rsplit_once("# exit ").and_then(|(_, code)| code.trim().parse().ok()).unwrap_or(0);
            (line.to_owned(), code)
        })
        .collect()
}

#[test]
fn the_tour_can_be_taken() {
    let world = World::new();
    let text = std::fs::read_to_string(document("docs/tour.md")).unwrap();
    let commands = commands(&text);
    assert!(commands.len() >= 15, "{}", commands.len());
    let program = Path::new(env!("CARGO_BIN_EXE_assize")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut folder = world.folder().to_owned();
    for (line, code) in commands {
        if let Some(to) = line.strip_prefix("cd ") {
            folder.push(to.split_whitespace().next().unwrap());
            continue;
        }
        let ran = Command::new("bash").args(["-c", &line]).current_dir(&folder).env("PATH", &path).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.code(), Some(code), "`{line}` said:\n{said}");
    }
}

#[test]
fn there_is_a_manual_page_for_each_verb() {
    let world = World::new();
    let first = world.run(&["man"]).expect(0).stdout;
    assert!(first.starts_with(".ie") && first.contains(".SH SUBCOMMANDS"), "{first}");
    world.run(&["man", "--dir", "man"]).expect(0);
    let help = world.run(&["--help"]).expect(0).stdout;
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs = verbs.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    // `help` is the help of the others.
    let verbs: Vec<&str> = verbs.filter(|verb| *verb != "help").collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs {
        let page = world.read(&format!("man/assize-{verb}.1"));
        assert!(page.contains(".SH SYNOPSIS"), "{verb}: {page}");
    }
}
