//! What goes out comes back; what other tools read has their shape.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dataset::{DatasetReader, digest_of, import_file};
use crate::model::{Attachment, Digest, ExpectedCall, Label, Output, Recorded};
use crate::sys::{FixedClock, files};

fn header(examples: &[Example]) -> DatasetHeader {
    let clock = FixedClock::new(jiff::Timestamp::UNIX_EPOCH, jiff::SignedDuration::ZERO);
    DatasetReader::of_examples("qa", examples.to_vec(), &clock).unwrap().header().clone()
}

fn render(format: &str, examples: &[Example]) -> Vec<u8> {
    (find(format).unwrap().render)(&Exported { header: &header(examples), examples }).unwrap()
}

fn json_of(format: &str, examples: &[Example]) -> Value {
    serde_json::from_slice(&render(format, examples)).unwrap()
}

fn full() -> Example {
    let mut example = Example::new("=cmd()".into(), json!([{"role": "user", "content": "hi"}]));
    example.reference = Some(json!("-1"));
    example.cluster = Some("@c".into());
    example.stratum = Some("s".into());
    example.split = Some("dev".into());
    example.inclusion_probability = Some(1.0 / 3.0);
    example.tags = ["a, b", "hard"].map(str::to_owned).into();
    example.dimensions = [("tier", "pro"), ("empty", ""), ("sum", "=1+1"), ("d.e", "x")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    example.metadata = [("n".to_owned(), json!(3)), ("deep".to_owned(), json!({"x": [1.5, null]}))].into();
    let arguments = json!({"city": "Rome"}).as_object().cloned();
    example.expected_calls = Some(vec![ExpectedCall { name: "book".into(), arguments }]);
    example.attachments.push(Attachment { name: "a".into(), media_type: None, digest: Digest::of(b"x"), bytes: 1 });
    example.labels.push(Label { name: "ok".into(), value: json!(true), trial: Some(0), ..Label::default() });
    example.recorded.push(Recorded { variant: Some("v".into()), trial: 0, output: Output::of_text("out") });
    example
}

fn there_and_back(format: &str, examples: &[Example]) -> Vec<Example> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("d.{}", find(format).unwrap().extension));
    files::write_atomic(&path, &render(format, examples)).unwrap();
    let import = import_file(&path, None).unwrap();
    assert!(import.rejected.is_empty(), "{format}: {:?}", import.rejected);
    import.examples
}

#[test]
fn our_own_forms_lose_nothing() {
    let mut plain = Example::new("2".into(), json!("q, \"quoted\"\r\nline"));
    plain.expected_calls = Some(Vec::new());
    let mut odd = Example::new("3".into(), json!("=1"));
    odd.reference = Some(json!(3));
    let examples = [full(), plain, odd];
    for format in ["csv", "parquet", "jsonl"] {
        let mut again = there_and_back(format, &examples);
        let digests = digest_of(&again);
        again.iter_mut().for_each(|example| example.lineage = crate::model::Lineage::default());
        assert_eq!(again, examples, "{format}");
        assert_eq!(digests, digest_of(&examples), "{format}");
    }
}

#[test]
fn no_cell_of_a_csv_is_a_formula() {
    let text = String::from_utf8(render("csv", &[full()])).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    for record in reader.records() {
        for cell in &record.unwrap() {
            assert!(!crate::dataset::labels::is_formula(cell), "{cell}");
        }
    }
}

#[test]
fn other_tools_find_what_they_look_for() {
    let mut text = Example::new("2".into(), json!("q"));
    text.reference = Some(json!(["a", "b"]));
    let examples = [full(), text];
    let promptfoo = json_of("promptfoo", &examples);
    assert_eq!(promptfoo[0]["vars"]["messages"][0]["content"], "hi");
    assert_eq!(
        promptfoo[1],
        json!({"description": "2", "vars": {"input": "q", "reference": ["a", "b"]}, "metadata": {"id": "2"}})
    );
    let evals = String::from_utf8(render("openai-evals", &examples)).unwrap();
    let second: Value = serde_json::from_str(evals.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&second["input"], &second["ideal"]), (&json!([{"role": "user", "content": "q"}]), &json!(["a", "b"])));
    let langfuse = json_of("langfuse", &examples);
    assert_eq!((&langfuse[1]["datasetName"], &langfuse[1]["id"]), (&json!("qa"), &json!("qa/2")));
    assert_eq!(langfuse[0]["metadata"]["expected_calls"][0]["name"], "book");
    let langsmith = json_of("langsmith", &examples);
    assert_eq!((&langsmith[1]["inputs"], &langsmith[0]["split"]), (&json!({"input": "q"}), &json!("dev")));
    assert_eq!(langsmith[1]["outputs"], json!({"output": ["a", "b"]}));
    assert_eq!(langsmith[1]["id"], json_of("langsmith", &examples[1..])[0]["id"]);
}

proptest! {
    #[test]
    fn any_text_survives_a_spreadsheet(input in ".{0,12}", reference in ".{0,12}", cluster in ".{1,6}", value in ".{0,8}") {
        let mut example = Example::new("e".into(), json!(input));
        example.reference = Some(json!(reference));
        example.cluster = Some(cluster);
        example.dimensions.insert("k".into(), value.clone());
        example.metadata.insert("m".into(), json!(value));
        let examples = [example];
        for format in ["csv", "parquet"] {
            prop_assert_eq!(digest_of(&there_and_back(format, &examples)).0, digest_of(&examples).0);
        }
    }
}
