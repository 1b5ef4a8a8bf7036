//! SARIF 2.1.0: the issues as results of a static check, for GitHub code scanning and other readers of the format.

use serde_json::{Value, json};

use super::gitlab::fingerprint;
use super::issues::{Issue, Level, RULES, issues};
use super::{Material, ReportError, words};
use crate::sys::text::one_line;

/// Where the schema of the format is.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// Where the program is described.
const HOME: &str = "https://github.com/your-org/assize";

/// Renders one run with one result per issue.
pub(super) fn render(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    let suite = words::suite(&material.subject);
    let found = issues(material);
    let rules: Vec<Value> =
        RULES.iter().map(|(id, sentence)| json!({ "id": id, "shortDescription": { "text": sentence } })).collect();
    let results: Vec<Value> = found.iter().map(|issue| result(issue, suite)).collect();
    let run = words::main_run(&material.subject);
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "assize",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": HOME,
                "rules": rules,
            } },
            "automationDetails": { "id": format!("assize/{}/", plain(suite)) },
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {
                "suite": one_line(suite, 200),
                "run": run.id,
                "target": one_line(&run.target.name, 200),
                "dataset": one_line(&run.dataset, 200),
            },
        }],
    });
    let mut bytes = serde_json::to_vec_pretty(&document)
        .map_err(|error| ReportError { form: "sarif", cause: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn result(issue: &Issue, suite: &str) -> Value {
    let level = match issue.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    };
    json!({
        "ruleId": issue.rule,
        "ruleIndex": RULES.iter().position(|(id, _)| *id == issue.rule),
        "level": level,
        "message": { "text": message(&format!("{}: {}", issue.title, issue.message)) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&issue.file), "uriBaseId": "%SRCROOT%" },
            "region": { "startLine": issue.line },
        } }],
        "partialFingerprints": { "assize/v1": fingerprint(suite, issue.rule, issue.metric.as_deref()) },
    })
}

/// Plain text of a message: brackets would be read as links, braces as places to fill in.
fn message(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]");
    escaped.replace('{', "{{").replace('}', "}}")
}

/// A relative path as a relative reference.
fn uri(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// Letters, digits, `-` and `_` of a name.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_no_links_and_paths_are_references() {
        assert_eq!(message("[x](1) {0}"), "\\[x\\](1) {{0}}");
        assert_eq!(uri("evals/a b#ü.toml"), "evals/a%20b%23%C3%BC.toml");
    }
}
