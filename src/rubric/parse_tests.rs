//! Tests of reading a judge's folder.

use super::*;

const GOOD: &str = r#"
name = "j"
version = "1"
summary = "Is it good?"
inputs = ["input", "output"]
[scale]
type = "binary"
"#;

fn seen(toml: &str) -> Vec<(Option<usize>, String)> {
    JudgeSpec::parse("j", toml, "Judge it.", "").unwrap_err().into_iter().map(|p| (p.line, p.at)).collect()
}

#[test]
fn a_small_judge_is_read_with_defaults() {
    let spec = JudgeSpec::parse("j", GOOD, "Judge it.", "").unwrap();
    assert_eq!((spec.draws, spec.long_input, spec.model.temperature), (1, LongInput::HeadTail, None));
    assert_eq!(spec.rubric, "Judge it.");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let toml = "name = \"k\"\nversion = 1\nsumary = \"x\"\ndraws = 0\nlong_input = \"cut\"\ninputs = [\"inptu\"]\n\
            [scale]\ntype = \"number\"\nmin = 5\nmax = 1\n[model]\ntemperature = \"hot\"\ntop_p = 1\n";
    let mut found = seen(toml);
    found.sort();
    let at = |line: usize, key: &str| (Some(line), key.to_owned());
    let mut expected = vec![
        (None, "summary".to_owned()),
        at(1, "name"),
        at(2, "version"),
        at(3, "sumary"),
        at(4, "draws"),
        at(5, "long_input"),
        at(6, "inputs"),
        at(9, "scale.min"),
        at(12, "model.temperature"),
        at(13, "model.top_p"),
    ];
    expected.sort();
    assert_eq!(found, expected);
    let problems = JudgeSpec::parse("j", toml, "x", "").unwrap_err();
    let typo = problems.iter().find(|problem| problem.at == "sumary").unwrap();
    assert_eq!(
        typo.to_string(),
        format!(
            "judge.toml line 3: `sumary`: found an unknown key, expected one of `{}`; did you mean `summary`?",
            KEYS.join("`, `")
        )
    );
}

#[test]
fn broken_toml_is_a_problem_with_a_line() {
    let found = JudgeSpec::parse("j", &format!("{GOOD}\n[model\n"), "x", "").unwrap_err();
    assert!(found.iter().any(|problem| problem.line == Some(9) && problem.expected == "TOML"), "{found:?}");
}

#[test]
fn scales_are_checked() {
    let labels = |rows: &str| GOOD.replace("type = \"binary\"", &format!("type = \"labels\"\nlabels = [{rows}]"));
    let good = r#"{ label = "a", value = 1, description = "x" }, { label = "b", value = 0.5 }, { label = "c" }"#;
    let spec = JudgeSpec::parse("j", &labels(good), "x", "").unwrap();
    assert_eq!(spec.scale.to_scale().bounds(), Some((0.5, 1.0)));
    assert_eq!(seen(&labels(r#"{ label = "a", value = 0 }, { label = "b", value = 1 }"#))[0].1, "scale.labels");
    assert_eq!(seen(&labels(r#"{ label = "a" }, { label = "A" }"#))[0].1, "scale.labels.label");
    assert_eq!(seen(&labels(r#"{ label = "a" }"#))[0].1, "scale.labels");
    let number = |rest: &str| GOOD.replace("type = \"binary\"", &format!("type = \"number\"\n{rest}"));
    let spec =
        JudgeSpec::parse("j", &number("min = 0\nmax = 1\nstep = 0.1\nanchors = { 0 = \"no\", 1 = \"yes\" }"), "x", "");
    assert_eq!(spec.unwrap().scale.levels().unwrap().len(), 11);
    assert_eq!(seen(&number("min = 1\nmax = 5\nstep = 3"))[0].1, "scale.step");
    assert_eq!(seen(&number("min = 1\nmax = 5\nanchors = { 7 = \"x\" }"))[0].1, "scale.anchors");
}

#[test]
fn every_byte_that_matters_changes_the_digest() {
    let digest = |toml: &str, prompt: &str, calibration: &str| {
        JudgeSpec::parse("j", toml, prompt, calibration).unwrap().digest()
    };
    let base = digest(GOOD, "Judge it.", "");
    assert_eq!(base, digest(&format!("# a comment\n{GOOD}"), "Judge it.\r\n", ""));
    assert_eq!(base, digest(GOOD, "Judge it.", r#"{"id":"a","input":"","output":"","label":"pass"}"#));
    assert_ne!(base, digest(GOOD, "Judge It.", ""));
    assert_ne!(base, digest(&GOOD.replace("good", "bad"), "Judge it.", ""));
    assert_ne!(base, digest(&GOOD.replace("\"1\"", "\"2\""), "Judge it.", ""));
    assert_ne!(base, digest(&format!("{GOOD}pass = \"if good\"\n"), "Judge it.", ""));
    assert_ne!(base, digest(&format!("max_input_chars = 5000\n{GOOD}"), "Judge it.", ""));
    assert_ne!(base, digest(GOOD, "Judge it.\n# Material\n{{input}}{{output}}", ""));
}
