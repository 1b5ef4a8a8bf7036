//! Holds `docs/scorers.md` to the tables it is made from. `ASSIZE_WRITE_DOCS=1` writes it anew.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::OUTSIDE;
use crate::scorer::SCORERS;

const HEAD: &str = "# Scorers

A scorer is a grader made of code: the same output has the same score on every machine. Each stands in a suite as

```toml
[[suites.NAME.graders]]
name = \"what the metric is called\"        # the scorer's own name when left out
scorer = \"NAME\"
# the options below
```

What a scorer cannot say (no reference, no trace, nothing recorded) is *not applicable*; what it fails at is unscored
with the reason. Neither is ever 0. Options that do not fit are refused with their line before anything runs.

**Spans instead of the output.** Every scorer and every judge takes `on`, and then grades chosen spans of the trace, each
as if it were the output, with what is below it as its trace:

```toml
on = { kind = \"tool\", name = \"search*\", agent = \"helper\", which = \"each\", combine = \"all\" }
```

`kind` is agent, model, tool, retrieval, handoff, guardrail, step or other; `*` stands for any text. `which` is `each`,
`first`, `last` or `all` (the outputs as one list). `combine` makes one finding of `each`: `all`, `any` or `mean` of yes
and no, `mean`, `min` or `max` of numbers. Where no span fits it does not apply.

**Tool calls.** The modes of other harnesses under the names used here, for `tool_sequence`: strict is `order = \"exact\"`,
unordered is `same_calls`, superset is `any_order` (others may stand beside), subset is `subset`, in-order is `in_order`.
Every finding that is not full marks shows the difference call by call: `=` as expected, `~` with other arguments,
`-` expected and not made, `+` made and not expected.

**Texts.** BLEU and chrF are those of sacrebleu for one sentence, divided by 100; ROUGE is that of rouge-score without
stemming, edit distances and Jaro-Winkler are those of rapidfuzz: `tests/texts/text.json` holds the values and the
command that made them. There is no METEOR and no stemmer: no kept library has them.

This page is made from the tables of scorers; a test holds it to them.
";

/// Text of the whole page.
fn page() -> String {
    let scorers = SCORERS.iter().map(|info| (info.name, info.summary, info.sample, (info.schema)()));
    let outside = OUTSIDE.iter().map(|info| (info.name, info.summary, info.sample, (info.schema)()));
    let all: BTreeMap<&str, (&str, &str, Value)> =
        scorers.chain(outside).map(|(name, summary, sample, schema)| (name, (summary, sample, schema))).collect();
    let mut page = HEAD.to_owned();
    for (name, (summary, sample, schema)) in all {
        page.push_str(&format!("\n## {name}\n\n{summary}\n\n```toml\nscorer = \"{name}\"\n"));
        if !sample.is_empty() {
            page.push_str(sample.trim_end());
            page.push('\n');
        }
        page.push_str("```\n");
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let none = serde_json::Map::new();
        let options = schema["properties"].as_object().unwrap_or(&none);
        if !options.is_empty() {
            page.push_str("\n| option | |\n|---|---|\n");
        }
        for (key, option) in options {
            let told = option["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
            let default = option.get("default").filter(|value| !value.is_null());
            let default = match default.filter(|value| !value.is_object() && !value.is_array()) {
                Some(value) => format!(" Default `{value}`."),
                None if required.contains(&key.as_str()) => " Needed.".to_owned(),
                None => String::new(),
            };
            page.push_str(&format!("| `{key}` | {told}{}{default} |\n", words(option)));
        }
    }
    page
}

/// The words that an option takes.
fn words(option: &Value) -> String {
    let listed = option["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let choices = option["oneOf"].as_array().into_iter().flatten().filter_map(|choice| choice["const"].as_str());
    let words: Vec<String> = listed.chain(choices).map(|word| format!("`{word}`")).collect();
    if words.is_empty() { String::new() } else { format!(" One of {}.", words.join(", ")) }
}

#[test]
fn the_page_of_scorers_is_that_of_the_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scorers.md");
    let page = page();
    if std::env::var_os("ASSIZE_WRITE_DOCS").is_some() {
        fs::write(path, &page).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/scorers.md is not that of the tables: run this test with ASSIZE_WRITE_DOCS=1");
}

#[test]
fn rows_keep_the_rules_of_the_table() {
    let mut names: Vec<&str> = OUTSIDE.iter().map(|info| info.name).collect();
    assert!(names.is_sorted() && names.iter().all(|name| crate::scorer::find(name).is_none()));
    names.dedup();
    assert_eq!(names.len(), OUTSIDE.len());
    for info in OUTSIDE {
        let table: toml::Table = toml::from_str(info.sample).unwrap();
        let sample = serde_json::to_value(table).unwrap();
        let schema = (info.schema)();
        assert!(jsonschema::is_valid(&schema, &sample), "{}", info.name);
        (info.check)(&sample).unwrap();
        assert_eq!(schema["additionalProperties"], Value::Bool(false), "{}", info.name);
        assert!(info.summary.ends_with('.') && info.summary.len() <= 120, "{}", info.name);
        for (key, option) in schema["properties"].as_object().unwrap() {
            assert!(option["description"].is_string() || option["$ref"].is_string(), "`{key}` of {}", info.name);
        }
        let mut odd = sample;
        odd["no_such_option"] = serde_json::json!(1);
        assert!((info.check)(&odd).unwrap_err().contains("no_such_option"), "{}", info.name);
    }
}
