//! Imports as users meet them: good files, bad files, and real ones.

use std::io::Write;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sys::files;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        files::write_atomic(&path, bytes.as_ref()).unwrap();
        path
    }
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn import(name: &str, bytes: impl AsRef<[u8]>, mapping: &str) -> Result<Import, DatasetError> {
    let folder = Folder::new();
    let mapping: Option<FieldMapping> = (!mapping.is_empty()).then(|| toml::from_str(mapping).unwrap());
    import_file(&folder.file(name, bytes), mapping.as_ref())
}

fn failure(name: &str, bytes: impl AsRef<[u8]>, mapping: &str) -> String {
    import(name, bytes, mapping).unwrap_err().to_string()
}

#[test]
fn the_same_rows_give_the_same_examples_in_every_format() {
    let rows = [("a", "q1", "r1"), ("b", "q2", "r2")];
    let objects: Vec<Value> = rows.iter().map(|(i, q, r)| json!({"id": i, "question": q, "answer": r})).collect();
    let lines: String = objects.iter().map(|row| format!("{row}\n")).collect();
    let csv: String = std::iter::once("id,question,answer\n".into())
        .chain(rows.iter().map(|(i, q, r)| format!("{i},{q},{r}\n")))
        .collect();
    let mut frame = polars::df!("id" => ["a", "b"], "question" => ["q1", "q2"], "answer" => ["r1", "r2"]).unwrap();
    let mut parquet = Vec::new();
    polars::prelude::ParquetWriter::new(&mut parquet).finish(&mut frame).unwrap();
    let array = json!(objects).to_string();
    let object = json!({"meta": {"n": 2}, "data": objects}).to_string();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("d.jsonl", lines.clone().into()),
        ("d.jsonl.gz", gz(lines.as_bytes())),
        ("misnamed.json", lines.into()),
        ("d.json", array.into()),
        ("o.json", object.into()),
        ("d.csv", csv.clone().into()),
        ("d.csv.gz", gz(csv.as_bytes())),
        ("bom.csv", format!("\u{feff}{csv}").into()),
        ("d.tsv", csv.replace(',', "\t").into()),
        ("d.parquet", parquet),
    ];
    let expected = import("x.json", json!(objects).to_string(), "").unwrap();
    let digest = crate::dataset::digest_of(&expected.examples);
    for (name, bytes) in files {
        let got = import(name, bytes, "").unwrap();
        assert_eq!(crate::dataset::digest_of(&got.examples), digest, "{name}");
        assert_eq!((got.rows, got.rejected.total), (2, 0), "{name}");
    }
    assert_eq!(expected.examples[1].lineage.line, Some(2));
}

#[test]
fn bad_rows_are_named_and_good_ones_go_on() {
    let lines = b"{\"input\": \"a\"}\nnot json\n\n{\"input\": \"b\xff\"}\n[1]\n{\"other\": 1}\n{\"input\": \"c\"}";
    let got = import("d.jsonl", lines, "").unwrap();
    assert_eq!((got.examples.len(), got.rows, got.rejected.total), (2, 6, 4));
    let at: Vec<(u64, &str)> = got.rejected.kept.iter().map(|e| (e.line, e.field.as_str())).collect();
    assert_eq!(at, [(2, ""), (4, ""), (5, ""), (6, "input")]);
    assert!(got.rejected.kept[1].found.contains("not UTF-8"));
}

#[test]
fn ragged_and_undecodable_csv_rows_are_rejected_with_their_line() {
    let csv = b"id,input\n1,\"two\nlines\"\n2\n3,x,y\n4,\xff\n5,ok\n";
    let got = import("d.csv", csv, "").unwrap();
    let ids: Vec<&str> = got.examples.iter().map(|example| example.id.as_str()).collect();
    assert_eq!(ids, ["1", "5"]);
    let at: Vec<u64> = got.rejected.kept.iter().map(|error| error.line).collect();
    assert_eq!(at, [4, 5, 6]);
    assert!(got.rejected.kept[0].to_string().contains("found 1 columns, expected 2"), "{}", got.rejected.kept[0]);
    assert_eq!(got.rejected.kept[2].field, "input");
}

#[test]
fn files_that_are_no_datasets_say_why() {
    assert!(failure("d.jsonl", "", "").contains("holds no rows"));
    assert!(failure("d.json", " \n", "").contains("holds no rows"));
    assert!(failure("d.json", "[]", "").contains("holds no rows"));
    assert!(failure("d.csv", "id,input\n", "").contains("holds no rows"));
    assert!(failure("d.csv", "", "").contains("holds no rows"));
    assert!(failure("d.parquet", "", "").contains("holds no rows"));
    assert!(failure("d.parquet", "id,input\n1,x", "").contains("PAR1"));
    assert!(failure("d.xlsx", "x", "").contains("`.parquet`"));
    assert!(failure("d.json", "[{\"input\": }]", "").contains("line 1 column"));
    assert!(failure("d.json", "3", "").contains("expected a list of objects"));
    assert!(failure("d.json", r#"{"a": [{"x": 1}], "b": [{"y": 1}]}"#, "").contains("`/a`, `/b`"));
    assert!(failure("d.csv", "id,id\n1,2", "").contains("occurs twice"));
    assert!(failure("d.jsonl", "nope\nnope", "").contains("all 2 rows"));
    let missing = import_file(Path::new("/nonexistent/d.csv"), None).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read `/nonexistent/d.csv`"), "{missing}");
    let folder = Folder::new();
    let cut = folder.file("cut.csv.gz", &gz(b"id,input\n1,x\n")[..20]);
    assert!(import_file(&cut, None).is_err());
}

#[test]
fn a_field_no_row_has_is_one_error_with_a_suggestion() {
    let csv = "instance_id,prompt\n1,x\n2,y\n";
    let error = failure("d.csv", csv, "id = 'instnce_id'");
    assert!(error.contains("`instnce_id`") && error.contains("did you mean `instance_id`?"), "{error}");
    assert!(error.contains("`prompt`"), "{error}");
    let nested = failure("d.json", r#"[{"info": {"task": {"text": "q"}}}]"#, "input = 'info.task.txt'");
    assert!(nested.contains("did you mean `info.task.text`?"), "{nested}");
    assert!(failure("d.csv", "a,b\n1,2\n", "").contains("has the field `input`"));
    let filter = failure("d.csv", csv, "where = { field = 'nam', equals = 'x' }");
    assert!(filter.contains("for `where`"), "{filter}");
}

#[test]
fn a_field_some_rows_lack_rejects_them_unless_it_is_optional() {
    let lines = "{\"input\": \"a\", \"gold\": 1}\n{\"input\": \"b\"}\n{\"input\": \"c\", \"gold\": null}\n";
    let strict = import("d.jsonl", lines, "reference = 'gold'").unwrap();
    assert_eq!((strict.examples.len(), strict.rejected.total), (2, 1));
    let error = strict.rejected.kept[0].to_string();
    assert!(error.contains("line 2, field `gold`") && error.contains("optional = true"), "{error}");
    let lenient = import("d.jsonl", lines, "reference = { field = 'gold', optional = true }").unwrap();
    assert_eq!((lenient.examples.len(), lenient.rejected.total), (3, 0));
    assert_eq!(lenient.examples[1].reference, None);
}

#[test]
fn rows_of_one_id_become_variants_and_trials() {
    let csv =
        "task,agent,run,ok,usd,text\na,v1,0,1,0.5,out1\na,v1,1,0,,out2\na,v2,0,true,0.25,out3\na,v2,0,1,1,again\n";
    let mapping =
        "id='task'\ninput='task'\nvariant='agent'\ntrial='run'\ncost='usd'\noutput='text'\n[output_metadata]\nok='ok'";
    let got = import("d.csv", csv, mapping).unwrap();
    assert_eq!((got.examples.len(), got.rejected.total), (1, 1));
    assert!(got.rejected.kept[0].to_string().contains("line 5") && got.rejected.kept[0].found.contains("line 4"));
    let recorded = &got.examples[0].recorded;
    let shape: Vec<_> = recorded.iter().map(|r| (r.variant.as_deref().unwrap(), r.trial, r.output.cost_usd)).collect();
    assert_eq!(shape, [("v1", 0, Some(0.5)), ("v1", 1, None), ("v2", 0, Some(0.25))]);
    assert_eq!((&recorded[0].output.metadata["ok"], &recorded[2].output.metadata["ok"]), (&json!(1), &json!(true)));
    assert_eq!(got.variants(), BTreeMap::from([("v1".to_owned(), 1), ("v2".to_owned(), 1)]));
}

#[test]
fn two_files_with_a_fixed_variant_each_make_one_dataset() {
    let folder = Folder::new();
    let mut importer = Importer::new();
    for (name, output) in [("v1", "x"), ("v2", "y")] {
        let file =
            folder.file(&format!("{name}.jsonl"), format!("{{\"id\": 1, \"input\": \"q\", \"out\": \"{output}\"}}"));
        let mapping = toml::from_str(&format!("output = 'out'\nvariant = {{ value = '{name}' }}")).unwrap();
        importer.add_file(&file, Some(&mapping), ImportOptions::default()).unwrap();
    }
    let got = importer.finish().unwrap();
    assert_eq!((got.examples.len(), got.examples[0].recorded.len(), got.files.len()), (1, 2, 2));
}

#[test]
fn filters_expressions_and_gathered_fields_work() {
    let lines = r#"{"n":"x","inst":"org__a-1","i":"do","t":"it","h1":1,"h2":2}
{"n":"y","inst":"org__b-2","i":"do","t":"that","h1":1,"h2":1}
{"n":"z","inst":"plain","i":"do","t":"what","h1":1,"h2":1}"#;
    let mapping = r#"
        id = "inst"
        input = { fields = { instruction = "i", text = "t" } }
        cluster = { field = "inst", regex = "^(.*?)__" }
        labels = { winner = ["h1", "h2"] }
        where = { field = "n", in = ["x", "z"] }
    "#;
    let got = import("d.jsonl", lines, mapping).unwrap();
    assert_eq!((got.examples.len(), got.filtered, got.rejected.total), (1, 1, 1));
    let example = &got.examples[0];
    assert_eq!(example.input, json!({"instruction": "do", "text": "it"}));
    assert_eq!(example.cluster.as_deref(), Some("org"));
    let labels: Vec<_> = example.labels.iter().map(|l| (l.annotator.as_deref().unwrap(), l.value.clone())).collect();
    assert_eq!(labels, [("h1", json!(1)), ("h2", json!(2))]);
    assert!(got.rejected.kept[0].expected.contains("text that matches"));
    let none = failure("d.jsonl", lines, "input = 't'\nwhere = { field = 'n', equals = 'nobody' }");
    assert!(none.starts_with("nothing selected") && none.contains("all 3 rows"), "{none}");
}

#[test]
fn a_wrong_mapping_names_the_key() {
    let lines = "{\"input\": 1}";
    assert!(failure("d.jsonl", lines, "input = ''").contains("wrong at `input`"));
    assert!(failure("d.jsonl", lines, "id = { field = 'a', regex = '(' }").contains("wrong at `id`"));
    assert!(failure("d.jsonl", lines, "[dimensions]\nx = {}").contains("wrong at `dimensions.x`"));
    assert!(failure("d.jsonl", lines, "where = { field = 'a' }").contains("exactly one of `equals`"));
    assert!(failure("d.json", "{\"a\": {\"b\": 3}}", "rows = '/a/b'").contains("at `/a/b` there is `3`"));
}

#[test]
fn rows_without_id_are_named_by_content_and_repeats_name_both_lines() {
    let got = import("d.jsonl", "{\"input\": \"same\"}\n{\"input\": \"same\"}\n{\"input\": \"other\"}", "").unwrap();
    assert_eq!((got.examples.len(), got.rejected.total), (2, 1));
    let error = got.rejected.kept[0].to_string();
    assert!(error.contains("line 2") && error.contains("line 1 has too"), "{error}");
    assert!(got.examples[0].id.as_str().starts_with("in-"));
}

#[test]
fn an_empty_id_is_rejected_and_an_empty_dimension_is_absent() {
    let lines = "{\"k\": \"\", \"input\": 1, \"d\": \"x\"}\n{\"k\": \"a\", \"input\": 1, \"d\": \" \"}";
    let got = import("d.jsonl", lines, "id = 'k'\ndimensions = { d = 'd' }").unwrap();
    assert_eq!((got.examples.len(), got.rejected.kept[0].field.as_str()), (1, "k"));
    assert!(got.examples[0].dimensions.is_empty());
}

#[test]
fn a_huge_field_is_read_within_the_limit_and_rejected_beyond_it() {
    let folder = Folder::new();
    let huge = "x".repeat(3 << 20);
    let lines = format!("{{\"input\": \"{huge}\"}}\n{{\"input\": \"small\"}}\n");
    let file = folder.file("d.jsonl", &lines);
    assert_eq!(import_file(&file, None).unwrap().examples.len(), 2);
    let options = ImportOptions { format: None, limits: Limits { row_bytes: 1 << 20, file_bytes: 1 << 20 } };
    let run = |path: &Path| {
        let mut importer = Importer::new();
        importer.add_file(path, None, options).and_then(|()| importer.finish())
    };
    let got = run(&file).unwrap();
    assert_eq!((got.examples.len(), got.rejected.kept[0].line), (1, 1));
    let csv = run(&folder.file("d.csv", format!("input\n{huge}\nsmall\n"))).unwrap();
    assert_eq!((csv.examples.len(), csv.rejected.kept[0].line), (1, 2));
    let error = run(&folder.file("d.json", format!("[{{\"input\": \"{huge}\"}}]"))).unwrap_err().to_string();
    assert!(error.contains("longer than 1048576 bytes"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_usize..4) {
        let name = ["d.jsonl", "d.json", "d.csv", "d.parquet"][kind];
        let mapping = "id='a'\ninput='b.c'\nmessages={field='d', optional=true}\ncost='e'\ntrial='f'";
        let _ = import(name, &bytes, "");
        let _ = import(name, &bytes, mapping);
    }

    #[test]
    fn every_csv_row_is_taken_or_rejected(rows in proptest::collection::vec("[a-c,\"\n]{0,12}", 1..20)) {
        let csv = format!("id,input\n{}", rows.join("\n"));
        if let Ok(got) = import("d.csv", csv, "") {
            prop_assert_eq!(got.examples.len() as u64 + got.rejected.total, got.rows);
        }
    }
}

/// A folder of real data beside the project; absent in most checkouts.
fn fixture(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests find the shared fixtures by it")]
    let shared =
        std::env::var("ASSIZE_SHARED").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").into());
    let path = Path::new(&shared).join("fixtures").join(name);
    if !path.exists() {
        println!("skipped: no fixtures");
        return None;
    }
    Some(path)
}

fn import_fixture(name: &str, mapping: &str) -> Option<Import> {
    let mapping: FieldMapping = toml::from_str(mapping).unwrap();
    Some(import_file(&fixture(name)?, Some(&mapping)).unwrap())
}

#[test]
fn taubench_becomes_fifty_examples_of_four_trials() {
    let mapping = r#"
        id = "task_id"
        input = "info.task.instruction"
        reference = "info.task.actions"
        messages = "traj"
        trial = "trial"
        variant = { value = "gpt-4o" }
        dimensions = { user = "/info/task/user_id" }
        output_metadata = { reward = "reward" }
    "#;
    let Some(got) = import_fixture("taubench_airline/gpt-4o-airline.json.gz", mapping) else { return };
    assert_eq!((got.examples.len(), got.rows, got.rejected.total), (50, 200, 0));
    assert!(got.examples.iter().all(|example| example.recorded.len() == 4));
    let outputs: Vec<_> = got.examples.iter().flat_map(|example| &example.recorded).map(|r| &r.output).collect();
    let reward: f64 = outputs.iter().filter_map(|output| output.metadata["reward"].as_f64()).sum();
    assert!((reward / 200.0 - 0.42).abs() < 0.05, "{reward}");
    let tools: usize = outputs.iter().map(|output| output.trace.as_ref().unwrap().tools_used().len()).sum();
    assert!(tools > 500, "{tools}");
    let with_result =
        outputs.iter().flat_map(|o| o.trace.as_ref().unwrap().tools_used()).filter(|t| t.result.is_some());
    println!("reward {reward}, tools {tools}, with result {}", with_result.count());
    assert!(outputs.iter().all(|output| output.value.is_string()));
    let root = tempfile::tempdir().unwrap();
    let clock = crate::sys::FixedClock::new(jiff::Timestamp::UNIX_EPOCH, jiff::SignedDuration::ZERO);
    let provenance = crate::dataset::Provenance::default();
    crate::dataset::write_version(root.path(), "airline", &got.examples, provenance, &clock).unwrap();
    crate::dataset::DatasetReader::open(root.path(), "airline@1").unwrap().verify().unwrap();
    println!("bytes {}", files::read_bytes(&root.path().join("airline/1/examples.jsonl")).unwrap().len());
}

#[test]
fn swebench_becomes_five_hundred_examples_of_five_variants() {
    let mapping = r#"
        id = "instance_id"
        input = "instance_id"
        variant = "name"
        cost = "cost"
        cluster = { field = "instance_id", regex = "^(.*)__" }
        dimensions = { repo = { field = "instance_id", regex = "^(.*)__" } }
        output_metadata = { resolved = "resolved", api_calls = "api_calls" }
    "#;
    let Some(got) = import_fixture("swebench_verified/per_instance.csv.gz", mapping) else { return };
    assert_eq!((got.examples.len(), got.rows, got.rejected.total), (500, 2500, 0));
    let variants = got.variants();
    assert_eq!(variants.len(), 5);
    assert!(variants.values().all(|count| *count == 500), "{variants:?}");
    let clusters: BTreeSet<_> = got.examples.iter().filter_map(|example| example.cluster.clone()).collect();
    assert_eq!(clusters.len(), 12);
    let outputs = || got.examples.iter().flat_map(|example| &example.recorded).map(|recorded| &recorded.output);
    println!("with cost {}", outputs().filter(|output| output.cost_usd.is_some()).count());
    assert!(outputs().all(|output| output.metadata["resolved"].is_number()));
}

#[test]
fn pandalm_and_unieval_become_labelled_examples() {
    let pandalm = r#"
        id = "idx"
        input = { fields = { instruction = "instruction", text = "input", response1 = "response1", response2 = "response2" } }
        labels = { preference = ["annotator1", "annotator2", "annotator3"] }
        dimensions = { application = "motivation_app", pair = "cmp_key" }
    "#;
    if let Some(got) = import_fixture("pandalm/testset-v1.json", pandalm) {
        assert_eq!((got.examples.len(), got.rejected.total), (999, 0));
        assert!(got.examples.iter().all(|example| example.labels.len() == 3));
    }
    let unieval = r#"
        id = "doc_id"
        input = "source"
        reference = "reference"
        output = "system_output"
        labels = { overall = "scores.overall" }
    "#;
    if let Some(got) = import_fixture("unieval/sfres_result.json", unieval) {
        assert_eq!((got.examples.len(), got.rejected.total), (1181, 0));
    }
}
