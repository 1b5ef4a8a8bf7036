//! Whatever is wrong with what a user gives: a clear error with its place and the mend, the good rows go on, and
//! nothing already stored is lost.

use std::fs;
use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};

use crate::mock::{Mock, Plan};
use crate::world::{Ran, World, ran};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn span(id: &str, parent: &str, with: &Value) -> Value {
    let mut span = json!({
        "traceId": TRACE, "spanId": id, "parentSpanId": parent, "name": id,
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000",
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}],
    });
    span.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    span
}

fn line(span: &Value) -> String {
    json!({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span]}]}]}).to_string()
}

fn good(id: &str) -> String {
    line(&span(id, "", &json!({})))
}

const A1: &str = "00000000000000a1";

/// A project with one suite over `examples.jsonl`, an agent that answers and a scorer.
const CONFIG: &str = r#"
[suites.qa]
file = "examples.jsonl"
[suites.qa.targets.agent]
kind = "command"
command = ["sh", "-c", "echo '{\"output\": \"yes\"}'"]
[[suites.qa.graders]]
scorer = "contains"
values = ["yes"]
"#;

const EXAMPLES: &str = "{\"id\": \"a\", \"input\": \"q\"}\n{\"id\": \"b\", \"input\": \"r\"}\n";

fn project() -> World {
    let world = World::new();
    world.write("assize.toml", CONFIG);
    world.write("examples.jsonl", EXAMPLES);
    world
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(all.contains(word), "lacks {word:?}:\n{all}");
    }
}

#[test]
fn bad_trace_rows_are_named_with_their_lines_and_the_good_ones_go_on() {
    let world = World::new();
    let mut file = [
        good(A1),
        "{\"resourceSpans\": [{\"torn\": ".to_owned(),
        "{\"resourceSpans\": \"text\"}".to_owned(),
        line(&span("abc", "", &json!({}))),
        line(&span("00000000000000a2", "", &json!({"traceId": "0af7"}))),
        line(&span("00000000000000a3", "", &json!({"startTimeUnixNano": "soon"}))),
        line(&span("00000000000000a4", A1, &json!({}))),
        "not json".to_owned(),
    ]
    .join("\n")
    .into_bytes();
    file.extend_from_slice(b"\n{\"resourceSpans\": \"\xff\xfe\"}\n");
    let torn = good("00000000000000a5");
    file.extend_from_slice(&torn.as_bytes()[..torn.len() - 40]);
    world.write("bad.jsonl", file);
    let report = world.run(&["ingest", "bad.jsonl", "--json"]).expect(0).json();
    assert_eq!((report["added"].as_u64(), report["rejected"].as_u64()), (Some(2), Some(8)), "{report:#}");
    let rejections: Vec<&str> = report["rejections"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for (place, words) in [
        ("line 2:", "cut off"),
        ("line 3:", "expected a list"),
        ("line 4:", "expected 16 hexadecimal digits"),
        ("line 5:", "expected 32 hexadecimal digits"),
        ("line 6:", "`startTimeUnixNano` is the text `soon`"),
        ("line 8:", "expected one complete JSON value"),
        ("line 9:", "UTF-8"),
        ("line 10:", "cut off"),
    ] {
        assert!(rejections.iter().any(|row| row.contains(place) && row.contains(words)), "{place} {rejections:#?}");
    }
    let kept = fs::read_to_string(report["rejected_file"].as_str().unwrap()).unwrap();
    assert_eq!(kept.lines().filter(|row| serde_json::from_str::<Value>(row).is_ok()).count(), 8);
}

#[test]
fn faults_of_structure_are_counted_and_shown_and_nothing_is_dropped() {
    let world = World::new();
    let (b1, b2, c1) = ("00000000000000b1", "00000000000000b2", "00000000000000c1");
    let other = json!({"traceId": "1af7651916cd43dd8448eb211c80319c"});
    let rows = [
        good(A1),
        good(A1),
        line(&span(b1, b2, &other)),
        line(&span(b2, b1, &other)),
        line(&span(c1, "00000000000000ff", &json!({"traceId": "2af7651916cd43dd8448eb211c80319c"}))),
        line(&span("00000000000000d1", A1, &json!({"endTimeUnixNano": "1600000000000000000"}))),
    ];
    world.write("odd.jsonl", rows.join("\n"));
    let ran = world.run(&["ingest", "odd.jsonl"]).expect(0);
    says(&ran, &["cycle of parents", "1 end before start", "1 missing parent", "1 span was met twice", "5 new"]);
    let shown = world.run(&["traces", "show", "1af7"]).expect(0);
    says(&shown, &[b1, b2, "fault     the parents of span 00000000000000b1 form a circle"]);
    // A second time nothing is new, and nothing is there twice.
    says(&world.run(&["ingest", "odd.jsonl"]).expect(0), &["0 new to the lake, 5 there already"]);
}

#[test]
fn an_unusable_file_costs_only_itself() {
    let world = World::new();
    world.write("good.jsonl", good(A1));
    world.write("empty.jsonl", "");
    world.write("odd.txt", "once upon a time");
    let ran = world.run(&["ingest", "empty.jsonl", "missing.jsonl", "odd.txt", "good.jsonl"]).expect(2);
    says(&ran, &["1 new to the lake", "empty.jsonl` is empty", "missing.jsonl`: No such file", "otlp_json"]);
    let alone = world.run(&["ingest", "missing.jsonl"]).expect(2);
    says(&alone, &["error: cannot read", "missing.jsonl"]);
    assert_eq!(world.run(&["traces", "ls", "--json"]).expect(0).json().as_array().unwrap().len(), 1);
}

#[test]
fn a_field_of_a_hundred_megabytes_is_shortened_in_bounded_memory() {
    let world = World::new();
    let huge = line(&span(
        A1,
        "",
        &json!({"attributes": [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "huge", "value": {"stringValue": "@"}}]}),
    ));
    let (before, after) = huge.split_once('@').unwrap();
    let mut file = fs::File::create(world.path("huge.jsonl")).unwrap();
    file.write_all(before.as_bytes()).unwrap();
    for _ in 0..100 {
        file.write_all(&[b'x'; 1 << 20]).unwrap();
    }
    writeln!(file, "{after}\n{}", good("00000000000000a2")).unwrap();
    drop(file);
    // A process may not hold more than this; the text itself is held twice while it is read.
    let mut command = Command::new("sh");
    let binary = world.command(&["ingest", "huge.jsonl", "--json"]);
    command.args(["-c", "ulimit -v 2500000; exec \"$0\" ingest huge.jsonl --json"]).arg(binary.get_program());
    let ran = ran(command.current_dir(world.folder()).output().unwrap()).expect(0);
    let report = ran.json();
    assert_eq!((report["added"].as_u64(), report["files"][0]["shortened"].as_u64()), (Some(2), Some(1)), "{report:#}");
    let shown = world.run(&["traces", "show", TRACE, "--json"]).expect(0);
    assert!(
        shown.stdout.len() < 3 << 20 && shown.stdout.contains("bytes left out by assize"),
        "{}",
        shown.stdout.len()
    );
}

#[test]
fn rejected_rows_of_a_plain_file_are_told_with_the_run() {
    let world = project();
    let mut rows =
        format!("{EXAMPLES}{{\"id\": \"a\", \"input\": \"again\"}}\n{{\"input\": \n{{\"id\": \"c\"}}\n[1]\n")
            .into_bytes();
    rows.extend_from_slice(b"{\"id\": \"e\", \"input\": \"\xff\"}\n7\n");
    world.write("examples.jsonl", rows);
    let ran = world.run(&["run", "--json"]).expect(0);
    let done = ran.json();
    assert_eq!(done["plan"]["examples"], 2);
    let warning = done["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("6 rows were rejected") && warning.ends_with("and 1 more"), "{warning}");
    for place in ["line 3, field `id`", "line 4", "line 5, field `input`", "line 6", "line 7"] {
        assert!(warning.contains(place), "{place}: {warning}");
    }
    says(&ran, &["warning: 6 rows were rejected"]);
}

#[test]
fn a_dataset_with_duplicate_ids_names_both_lines() {
    let world = World::new();
    world.write("dup.jsonl", "{\"id\": \"a\", \"input\": \"q\"}\n{\"id\": \"a\", \"input\": \"z\"}\n");
    let ran = world.run(&["dataset", "import", "d", "dup.jsonl"]).expect(0);
    says(&ran, &["1 row was rejected", "dup.jsonl` line 2, field `id`", "dup.jsonl` line 1 has too"]);
    // A version that somebody edited by hand is refused, and the other version stays as it was.
    let lines = world.path("datasets/d/1/examples.jsonl");
    let lines = if lines.exists() { lines } else { find(&world.path("datasets/d"), "examples.jsonl") };
    let row = fs::read_to_string(&lines).unwrap();
    fs::write(&lines, row.repeat(2)).unwrap();
    let ran = world.run(&["dataset", "show", "d"]).expect(2);
    says(&ran, &["damaged", "2 lines"]);
}

fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|found| found == name) {
                return path;
            }
        }
    }
    panic!("no {name}");
}

#[test]
fn every_mistake_of_a_configuration_comes_at_once_with_its_line_and_a_suggestion() {
    let world = project();
    world.write(
        "assize.toml",
        r#"[providers.p]
kind = "opnai"
timeot = "3s"
[models.j]
provider = "p"
model = "m"
[suites.s]
file = "examples.jsonl"
fields = { inptu = "q" }
trials = "many"
trails = 3
[suites.s.targets.t]
kind = "recoded"
[suites.s.targets.u]
kind = "command"
comand = ["x"]
[[suites.s.graders]]
scorer = "contians"
[[suites.s.graders]]
judge = "tone"
[[suites.s.graders]]
name = "words"
scorer = "contains"
valeus = ["x"]
[[suites.s.graders]]
judge = "toen"
model = "jj"
[suites.s.gate.metrics]
wrods = {}
tone = {}
"#,
    );
    for verb in [&["run"][..], &["runs"], &["doctor", "--offline"], &["traces", "ls"]] {
        let ran = world.run(verb).expect(2);
        for (line, words) in [
            (2, "no provider `opnai` (did you mean `openai`?)"),
            (3, "unknown key; did you mean `timeout`?"),
            (7, "has several targets; say which one is judged with `candidate`: t, u"),
            (9, "unknown key; did you mean `input`?"),
            (10, "expected a whole number, found text `\"many\"`"),
            (11, "unknown key; did you mean `trials`?"),
            (13, "no target kind `recoded` (did you mean `recorded`?)"),
            (16, "unknown key; did you mean `command`?"),
            (18, "no scorer `contians` (did you mean `contains`?)"),
            (19, "judge `tone` lacks the key `model`: one of j"),
            (24, "unknown key; did you mean `values`?"),
            (26, "no judge `toen` (did you mean `tone`?)"),
            (27, "no model `jj` under `[models]`; did you mean `j`?"),
            (29, "no grader of this name in the suite; did you mean `words`?"),
        ] {
            let told =
                ran.stderr.lines().any(|row| row.contains(&format!("assize.toml:{line}: ")) && row.contains(words));
            assert!(told, "lacks {line} {words}:\n{}", ran.stderr);
        }
    }
    // Verbs that write no configuration and read none still help to mend it.
    world.run(&["schema", "config"]).expect(0);
    world.write("assize.toml", "[suites.s\n");
    says(&world.run(&["run"]).expect(2), &["assize.toml:1:", "not valid TOML"]);
}

const JUDGED: &str = r#"
[providers.p]
kind = "openai"
base_url = "URL"
max_attempts = 2
timeout = "2s"
[models.j]
provider = "p"
model = "m"
[suites.qa]
file = "examples.jsonl"
[suites.qa.targets.agent]
kind = "command"
command = ["sh", "-c", "echo '{\"output\": \"yes\"}'"]
[[suites.qa.graders]]
judge = "JUDGE"
model = "j"
"#;

#[test]
fn a_judge_with_an_unknown_placeholder_is_told_by_check_run_and_list() {
    let mut world = project();
    world.set("OPENAI_API_KEY", "k");
    world.run(&["init", "starter"]).expect(0);
    let folder = world.path("starter/judges/reply_is_complete");
    for name in ["judge.toml", "prompt.md", "calibration.jsonl"] {
        world.write(&format!("judges/reply_is_complete/{name}"), fs::read(folder.join(name)).unwrap());
    }
    let prompt = world.read("judges/reply_is_complete/prompt.md") + "\n# Material\n\n{{input}}\n\n{{outptu}}\n";
    world.write("judges/reply_is_complete/prompt.md", prompt);
    says(&world.run(&["judge", "check", "reply_is_complete"]).expect(2), &["prompt.md line", "`outptu`"]);
    world.write("assize.toml", JUDGED.replace("JUDGE", "reply_is_complete"));
    let ran = world.run(&["run"]).expect(2);
    says(&ran, &["assize.toml:15: `suites.qa.graders[0]`", "`outptu`"]);
    // The list goes on with the others and says where to look.
    let list = world.run(&["judge", "ls"]).expect(0).stdout;
    let words = list.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("tone") && words.contains("`assize judge check reply_is_complete` says why"), "{list}");
}

#[test]
fn a_missing_key_is_told_before_anything_runs() {
    let world = project();
    world.write("assize.toml", JUDGED.replace("JUDGE", "tone").replace("URL", "http://127.0.0.1:9/v1"));
    let ran = world.run(&["run"]).expect(2);
    says(&ran, &["assize.toml:15:", "`OPENAI_API_KEY`, which is not set", "export OPENAI_API_KEY"]);
    assert_eq!(world.run(&["runs", "--json"]).expect(0).json(), json!([]));
}

#[tokio::test]
async fn a_wrong_key_stops_the_run_and_what_is_done_is_kept() {
    let answer = json!({
        "evidence": [], "reasoning": "it fits", "score": "fitting", "cannot_judge": null, "injection_attempt": false,
    });
    let mock = Mock::start(Plan { key: Some("right"), answer: Some(answer), ..Plan::default() }).await;
    let mut world = project();
    world.write("assize.toml", JUDGED.replace("JUDGE", "tone").replace("URL", &mock.openai_url()));
    world.set("OPENAI_API_KEY", "sk-wrong-and-secret");
    let world = std::sync::Arc::new(world);
    let other = world.clone();
    let stopped = tokio::task::spawn_blocking(move || other.run(&["run"]).expect(3)).await.unwrap();
    says(&stopped, &["every further call would fail", "assize run --resume"]);
    let all = format!("{}{}", stopped.stdout, stopped.stderr);
    assert!(!all.contains("sk-wrong-and-secret"), "{all}");
    let mut world = std::sync::Arc::into_inner(world).unwrap();
    world.set("OPENAI_API_KEY", "right");
    let id = world.run(&["runs", "--json"]).expect(0).json()[0]["header"]["id"].as_str().unwrap().to_owned();
    let resumed = tokio::task::spawn_blocking(move || world.run(&["run", "--resume", &id, "--json"])).await.unwrap();
    assert_eq!(resumed.expect(0).json()["view"]["metrics"][0]["unscored"], json!({}));
}

#[test]
fn a_provider_out_of_reach_is_an_instrument_failure_with_its_cause() {
    let mut world = project();
    world.set("OPENAI_API_KEY", "k");
    world.write("assize.toml", JUDGED.replace("JUDGE", "tone").replace("URL", "http://127.0.0.1:9/v1"));
    let ran = world.run(&["run"]).expect(3);
    says(&ran, &["tone: provider failed (2)", "warning: tone is unscored somewhere (provider failed)", "127.0.0.1:9"]);
}

#[test]
fn report_paths_and_forms_are_checked_before_anything_runs() {
    let world = project();
    world.write("file", "");
    for (report, words) in [
        ("htlm=x.html", "no report form `htlm` (did you mean `html`?)"),
        ("html", "expected `--report FORM=PATH`"),
        ("html=file/x.html", "nothing was run yet"),
        ("html=.", "it is a folder"),
        ("html=/dev/full", "is a device or a pipe"),
        ("json=/dev/null", "the path `-` is stdout"),
    ] {
        says(&world.run(&["run", "--report", report]).expect(2), &[words]);
    }
    assert_eq!(world.run(&["runs", "--json"]).expect(0).json(), json!([]));
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    world.run(&["dataset", "import", "d", "examples.jsonl"]).expect(0);
    says(&world.run(&["dataset", "export", "d", "--out", "/dev/null"]).expect(2), &["is a device or a pipe"]);
}

/// A file system of a few kilobytes; only the superuser can make one.
struct Tiny(std::path::PathBuf);

impl Tiny {
    fn mount(world: &World) -> Option<Self> {
        let folder = world.path("tiny");
        fs::create_dir_all(&folder).unwrap();
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&folder).output();
        done.is_ok_and(|done| done.status.success()).then_some(Self(folder))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_found_before_anything_runs() {
    let world = project();
    let Some(tiny) = Tiny::mount(&world) else {
        println!("skipped: a_full_disk_is_found_before_anything_runs: no right to mount");
        return;
    };
    fs::write(tiny.0.join("filler"), vec![0; 64 << 10]).unwrap();
    let ran = world.run(&["run", "--report", "html=tiny/report.html"]).expect(2);
    says(&ran, &["No space left", "nothing was run yet"]);
    assert_eq!(world.run(&["runs", "--json"]).expect(0).json(), json!([]));
    // A store that fills up while it is used ends the run as an instrument failure.
    fs::remove_file(tiny.0.join("filler")).unwrap();
    let mut world = world;
    world.set("ASSIZE_STORE", "sqlite:tiny/store.sqlite");
    let ran = world.run(&["run"]).expect(3);
    says(&ran, &["full"]);
}

#[test]
fn a_store_that_cannot_be_used_is_named_and_left_alone() {
    let mut world = project();
    world.run(&["run"]).expect(0);
    let store = world.path(".assize/assize.sqlite");
    let names =
        ["assize.sqlite", "assize.sqlite-wal", "assize.sqlite-shm"].map(|name| world.path(".assize").join(name));
    let whole = names.clone().map(|path| (fs::read(&path).ok(), fs::remove_file(path)).0);
    fs::write(&store, b"this was never a database, or is no more").unwrap();
    for verb in [&["runs"][..], &["run"]] {
        says(&world.run(verb).expect(3), &["assize.sqlite", "not a database", "`store` under `[project]`"]);
    }
    assert_eq!(fs::read(&store).unwrap(), b"this was never a database, or is no more");
    for (path, bytes) in names.iter().zip(whole) {
        let _ = fs::remove_file(path);
        bytes.into_iter().for_each(|bytes| fs::write(path, bytes).unwrap());
    }
    assert_eq!(world.run(&["runs", "--json"]).expect(0).json().as_array().unwrap().len(), 1);
    for place in ["sqlite:examples.jsonl/x.sqlite", "postgres://nobody@127.0.0.1:1/none"] {
        world.set("ASSIZE_STORE", place);
        says(&world.run(&["run"]).expect(3), &["cannot open store", "`ASSIZE_STORE` says where the store is"]);
    }
    assert!(world.read("examples.jsonl").starts_with("{\"id\""));
}

#[test]
fn nothing_selected_is_a_usage_error_that_says_why() {
    let world = project();
    for (verb, words) in [
        (&["run", "nosuch"][..], "no suite `nosuch`"),
        (&["run", "--limit", "0"], "`--limit 0` selects nothing"),
        (&["run", "--trials", "0"], "'--trials <TRIALS>'"),
        (&["run", "--target", "nosuch"], "has no target `nosuch`; there is agent"),
        (&["run", "--tag", "loose"], "expected `--tag KEY=VALUE`"),
        (&["compare", "latest", "latest"], "no run in the store yet"),
        (&["traces", "show", "ffff"], "`assize traces ls`"),
        (&["sample", "s"], "`assize ingest` fills it"),
        (&["sample", "s", "--rate", "2"], "not a probability"),
        (&["dataset", "show", "nosuch"], "no dataset `nosuch`"),
        (&["traces", "ls", "--since", "yesterday"], "`--since` must be a time"),
        (&["schema", "scorer.contians"], "no schema `scorer.contians`"),
    ] {
        says(&world.run(verb).expect(2), &[words]);
    }
    world.write("good.jsonl", good(A1));
    world.run(&["ingest", "good.jsonl"]).expect(0);
    says(
        &world.run(&["sample", "s", "--where", "name=nosuch"]).expect(2),
        &["no trace of 1 fits `name=nosuch`", "`name` is"],
    );
    world.write("examples.jsonl", "");
    says(&world.run(&["run"]).expect(2), &["examples.jsonl` holds no rows"]);
    fs::remove_file(world.path("examples.jsonl")).unwrap();
    says(&world.run(&["run"]).expect(2), &["cannot read", "examples.jsonl"]);
    let empty = World::new();
    says(&empty.run(&["run"]).expect(2), &["no `assize.toml`", "`assize init` writes one"]);
}
