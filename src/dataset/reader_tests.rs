//! Versions on disk: written once, found again, never changed unseen.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::dataset::{Provenance, Written, list, resolve, versions, write_version};
use crate::model::{Label, Output, Recorded};
use crate::sys::{FixedClock, files};

fn clock() -> FixedClock {
    FixedClock::new(Timestamp::UNIX_EPOCH, SignedDuration::from_secs(1))
}

fn examples(count: usize) -> Vec<Example> {
    (0..count)
        .map(|index| {
            let mut example = Example::new(ExampleId::new(format!("e{index}")), json!({"q": index, "w": 0.1}));
            example.inclusion_probability = Some((index + 1) as f64 / 7.0_f64.max(count as f64));
            let output = Output::of_text(format!("out {index}"));
            example.recorded.push(Recorded { variant: Some("v1".into()), trial: 0, output });
            example
        })
        .collect()
}

fn write(root: &Path, examples: &[Example]) -> Result<Written, DatasetError> {
    let provenance = Provenance { description: Some("d".into()), sources: vec!["s".into()], design: None };
    write_version(root, "airline", examples, provenance, &clock())
}

#[test]
fn a_version_is_written_once_and_read_back() {
    let root = tempfile::tempdir().unwrap();
    let all = examples(20);
    let Written::New(header) = write(root.path(), &all).unwrap() else { panic!("not new") };
    assert_eq!((header.version, header.examples, header.variants["v1"]), (1, 20, 20));
    let mut shuffled = all.clone();
    shuffled.reverse();
    assert!(matches!(write(root.path(), &shuffled).unwrap(), Written::Unchanged(same) if same == header));
    let reader = DatasetReader::open(root.path(), "airline").unwrap();
    assert_eq!((reader.header(), reader.len()), (&header, 20));
    reader.verify().unwrap();
    let read: Vec<Example> = reader.iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(read, all);
    assert_eq!(reader.find(&"e7".into()).unwrap().unwrap(), all[7]);
    assert_eq!(reader.find(&"nobody".into()).unwrap(), None);
    assert!(reader.example(20).unwrap_err().to_string().contains("`airline@1` has 20 examples"));
}

#[test]
fn nulls_that_json_does_not_keep_do_not_break_the_digest() {
    let root = tempfile::tempdir().unwrap();
    let messages = json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "null"}}]},
        {"role": "tool", "tool_call_id": "c", "content": null}
    ]);
    let trace = crate::dataset::trace_of_messages(&messages, "t".into()).unwrap();
    assert_eq!(trace.tools_used()[0].result, Some(json!(null)));
    let mut example = examples(1).remove(0);
    example.reference = Some(json!(null));
    example.recorded[0].output.trace = Some(trace.into());
    write(root.path(), &[example.clone()]).unwrap();
    DatasetReader::open(root.path(), "airline").unwrap().verify().unwrap();
    assert!(matches!(write(root.path(), &[example]).unwrap(), Written::Unchanged(_)));
}

#[test]
fn a_changed_label_or_output_is_a_new_version_of_the_same_task() {
    let root = tempfile::tempdir().unwrap();
    let mut all = examples(3);
    write(root.path(), &all).unwrap();
    all[0].labels.push(Label { name: "good".into(), value: json!(true), ..Label::default() });
    let second = write(root.path(), &all).unwrap().header().clone();
    let first = DatasetReader::open(root.path(), "airline@1").unwrap();
    assert_eq!((second.version, &second.digest), (2, &first.header().digest));
    assert_ne!(second.recorded_digest, first.header().recorded_digest);
    assert_eq!(versions(root.path(), "airline").unwrap(), [1, 2]);
    assert_eq!(list(root.path()).unwrap(), [second]);
    assert_eq!(DatasetReader::open(root.path(), "airline@latest").unwrap().header().version, 2);
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let root = tempfile::tempdir().unwrap();
    let none = resolve(root.path(), "airline").unwrap_err().to_string();
    assert!(none.contains("there are none yet"), "{none}");
    write(root.path(), &examples(1)).unwrap();
    assert!(resolve(root.path(), "airlin").unwrap_err().to_string().contains("did you mean `airline`?"));
    assert!(resolve(root.path(), "zzz").unwrap_err().to_string().contains("there are: airline"));
    let version = resolve(root.path(), "airline@9").unwrap_err().to_string();
    assert_eq!(version, "dataset `airline` has no version `9`; it has 1");
    assert!(resolve(root.path(), "airline@x").is_err());
    for bad in
        ["", ".", "..", "a/b", "../x", "a\\b", ".hidden", "-x", "a b", "con", "COM1.x", "a.", "ä", &"x".repeat(101)]
    {
        assert!(matches!(resolve(root.path(), bad), Err(DatasetError::Name { .. })), "{bad}");
    }
    assert!(crate::dataset::check_name("tau-bench_v1.2").is_ok());
}

#[test]
fn an_edited_version_is_found_out() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &examples(3)).unwrap();
    let folder = root.path().join("airline/1");
    let path = folder.join(EXAMPLES);
    let original = files::read_text(&path).unwrap();
    let edit = |text: String| {
        files::write_atomic(&path, text.as_bytes()).unwrap();
        DatasetReader::open_folder(&folder).and_then(|reader| reader.verify()).unwrap_err().to_string()
    };
    assert!(edit(original.replace("\"q\":1", "\"q\":9")).contains("do not match the digest"));
    assert!(edit(original.replace("out 1", "out 9")).contains("recorded outputs, labels"));
    assert!(edit(original.lines().take(2).collect::<Vec<_>>().join("\n")).contains("has 2 lines, its head says 3"));
    let double = edit(original.replace("\"e2\"", "\"e0\""));
    assert!(double.contains("duplicate id `e0`") && double.contains("line 1") && double.contains("line 3"), "{double}");
    assert!(edit(original.replacen("{\"id\"", "{id", 1)).contains("line 1"));
    files::write_atomic(&path, original.as_bytes()).unwrap();
    let head = folder.join(super::super::version::HEAD);
    let text = files::read_text(&head).unwrap();
    files::write_atomic(&head, text.replace("\"format\": 1", "\"format\": 2").as_bytes()).unwrap();
    assert!(DatasetReader::open_folder(&folder).err().unwrap().to_string().contains("newer program"));
    files::write_atomic(&head, b"{").unwrap();
    assert!(DatasetReader::open_folder(&folder).is_err());
}

#[test]
fn nothing_and_duplicates_are_not_written() {
    let root = tempfile::tempdir().unwrap();
    assert!(write(root.path(), &[]).unwrap_err().to_string().starts_with("nothing selected"));
    let mut twice = examples(2);
    twice[1].id = twice[0].id.clone();
    let error = write(root.path(), &twice).unwrap_err().to_string();
    assert!(error.contains("duplicate id `e0`: example 1 and example 2"), "{error}");
    assert_eq!(versions(root.path(), "airline").unwrap(), Vec::<u32>::new());
}

#[test]
fn writers_at_once_get_a_number_each() {
    let root = tempfile::tempdir().unwrap();
    let numbers: std::collections::BTreeSet<u32> = std::thread::scope(|scope| {
        let started: Vec<_> = (1..=8)
            .map(|count| {
                let root = root.path();
                scope.spawn(move || write(root, &examples(count)).unwrap().header().version)
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(numbers, (1..=8).collect());
    for number in numbers {
        DatasetReader::open(root.path(), &format!("airline@{number}")).unwrap().verify().unwrap();
    }
}

#[test]
fn a_plain_file_is_read_like_a_version() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("my tasks.csv");
    files::write_atomic(&path, b"id,input\n1,x\n2\n3,y\n").unwrap();
    let reader = open_file(&path, None, &clock()).unwrap();
    assert_eq!((reader.header().reference().as_str(), reader.len(), reader.rejected().total), ("my-tasks@0", 2, 1));
    assert_eq!(reader.example(1).unwrap().id.as_str(), "3");
    reader.verify().unwrap();
}
