//! Small languages and texts: filters, configurations, mappings, replies of judges, and what is redacted.
//! The name of the program says which.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use assize::dataset::{FieldMapping, Filter};
use assize::redact::Redactor;
use assize::rubric::{LabelSpec, RubricScale, parse_reply};
use libfuzzer_sys::fuzz_target;

fn which() -> &'static str {
    static WHICH: OnceLock<String> = OnceLock::new();
    WHICH.get_or_init(|| {
        let program = std::env::args().next().unwrap_or_default();
        program.rsplit('/').next().and_then(|name| name.strip_prefix("text_")).unwrap_or("filter").to_owned()
    })
}

fn redactor() -> &'static Redactor {
    static REDACTOR: OnceLock<Redactor> = OnceLock::new();
    REDACTOR.get_or_init(|| {
        let policy = toml::from_str("personal = \"mask\"").expect("a policy");
        Redactor::new(&policy, None).map_err(|_| ()).expect("a redactor")
    })
}

/// Each kind of scale; the first byte of the text says which.
fn scale(text: &str) -> RubricScale {
    let label = |label: &str, value| LabelSpec { label: label.to_owned(), value, description: String::new() };
    match text.bytes().next().unwrap_or_default() % 3 {
        0 => RubricScale::Binary { pass: String::new(), fail: String::new() },
        1 => RubricScale::Labels(vec![label("good", Some(1.0)), label("bad", Some(0.0)), label("unclear", None)]),
        _ => RubricScale::Number { min: 1.0, max: 5.0, step: Some(1.0), anchors: Vec::new() },
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match which() {
        "filter" => {
            if let Ok(filter) = Filter::parse(text) {
                filter.matches(|name| Some(name.to_owned()));
                filter.matches(|_| None);
            }
        }
        "config" => drop(assize::config::parse(text, Path::new("assize.toml"))),
        "mapping" => drop(toml::from_str::<FieldMapping>(text)),
        "reply" => drop(parse_reply(&scale(text), text)),
        "redact" => {
            let mut redacted = text.to_owned();
            let mut account = assize::model::Redactions::default();
            redactor().text("field", &mut redacted, &mut account);
            assert!(account.total() > 0 || redacted == text, "changed without being counted");
        }
        other => panic!("no target `{other}`"),
    }
});
