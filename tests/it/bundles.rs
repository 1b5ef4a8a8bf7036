//! Bundles through the binary: a run in a file goes wherever a run goes, and a bad file goes nowhere.

use std::fs;

use crate::world::World;

const CONFIG: &str = r#"
[suites.qa]
file = "examples.jsonl"
candidate = "now"
[suites.qa.targets.now]
kind = "recorded"
variant = "a"
[suites.qa.targets.worse]
kind = "recorded"
variant = "b"
[[suites.qa.graders]]
name = "answered"
scorer = "contains"
[suites.qa.gate.metrics]
answered = { margin = 0.05 }
"#;

/// A project with two recorded variants: `a` is right, `b` is wrong on every fourth question.
fn project() -> World {
    let world = World::new();
    world.write("assize.toml", CONFIG);
    let recorded = |variant: &str, n: usize, wrong: bool| {
        let text = if wrong { "no idea".to_owned() } else { format!("answer is {n}") };
        format!("{{\"variant\": \"{variant}\", \"output\": {{\"value\": \"{text}\"}}}}")
    };
    let line = |n: usize| {
        let both = [recorded("a", n, false), recorded("b", n, n.is_multiple_of(4))].join(", ");
        format!(
            "{{\"id\": \"q-{n}\", \"input\": \"What is {n}?\", \"reference\": \"answer is {n}\", \"recorded\": [{both}]}}\n"
        )
    };
    world.write("examples.jsonl", (1..=80).map(line).collect::<String>());
    world
}

/// The project with both variants run and the first exported to `main.assize`.
fn exported() -> World {
    let world = project();
    world.run(&["run", "qa"]).expect(0);
    let ran = world.run(&["bundle", "export", "latest", "-o", "main.assize"]).expect(0);
    assert!(ran.stdout.contains("main.assize") && ran.stdout.contains("events"), "{}", ran.stdout);
    world.run(&["run", "qa", "--target", "worse"]).expect(0);
    world
}

/// A folder with the bundles of a project and nothing else.
fn elsewhere(from: &World, names: &[&str]) -> World {
    let there = World::new();
    for name in names {
        there.write(name, fs::read(from.path(name)).unwrap());
    }
    there
}

#[test]
fn two_files_are_compared_where_there_is_no_database() {
    let world = exported();
    world.run(&["bundle", "export", "latest", "-o", "out/worse.assize"]).expect(0);
    let there = elsewhere(&world, &["main.assize", "out/worse.assize"]);
    there.write("assize.toml", CONFIG);
    let compared = there.run(&["compare", "main.assize", "out/worse.assize", "--json"]).expect(1).json();
    let direct = world.run(&["compare", "main.assize", "latest", "--suite", "qa", "--json"]).expect(1).json();
    assert_eq!(compared["comparison"], direct["comparison"], "the same findings as from the store");
    assert!(!there.path(".assize").exists(), "no store was made");
    let pair = "main.assize..out/worse.assize";
    there.run(&["report", pair, "--report", "markdown=comment.md", "--report", "html=report.html"]).expect(0);
    assert!(there.read("comment.md").contains("regressed") && there.read("report.html").contains("no idea"));
    there.run(&["report", "main.assize"]).expect(0);
    assert!(!there.path(".assize").exists(), "no store was made");
}

#[test]
fn a_file_taken_in_twice_is_there_once_and_gives_the_same_bytes() {
    let world = exported();
    let there = elsewhere(&world, &["main.assize"]);
    there.write("assize.toml", CONFIG);
    there.write("examples.jsonl", world.read("examples.jsonl"));
    let first = there.run(&["bundle", "import", "main.assize", "--json"]).expect(0).json();
    assert_eq!((&first["already"], &first["suite"]), (&false.into(), &"qa".into()));
    let again = there.run(&["bundle", "import", "main.assize"]).expect(0);
    assert!(again.stdout.contains("already"), "{}", again.stdout);
    assert_eq!(there.run(&["runs", "--json"]).expect(0).json().as_array().unwrap().len(), 1);
    there.run(&["bundle", "export", "latest", "-o", "again.assize"]).expect(0);
    assert_eq!(fs::read(there.path("again.assize")).unwrap(), fs::read(world.path("main.assize")).unwrap());
    let doctor = there.run(&["doctor", "--offline"]).expect(0);
    assert!(doctor.stdout.contains("audit"), "{}", doctor.stdout);
}

#[test]
fn a_file_is_a_baseline_and_can_be_blessed() {
    let world = exported();
    let there = elsewhere(&world, &["main.assize", "examples.jsonl", "assize.toml"]);
    let reports = ["--report", "markdown=comment.md", "--report", "junit=junit.xml"];
    let ran = there.run(&[&["ci", "--baseline", "main.assize", "--target", "worse"][..], &reports].concat()).expect(1);
    assert!(ran.stderr.contains("from bundle") && ran.stderr.contains("main.assize"), "{}", ran.stderr);
    assert!(there.read("comment.md").contains("from bundle") && there.read("junit.xml").contains("baseline.standing"));
    let ran = there.run(&["bless", "main.assize"]);
    assert!(ran.code == 2 && ran.stderr.contains("--reason"), "{}", ran.stderr);
    let ran = there.run(&["bless", "main.assize", "-m", "  "]).expect(2);
    assert!(ran.stderr.contains("needs a reason"), "{}", ran.stderr);
    there.run(&["bless", "main.assize", "-m", "as released", "--by", "Ada"]).expect(0);
    let listed = there.run(&["runs"]).expect(0).stdout;
    assert!(
        listed.contains("blessed by Ada on") && listed.contains("as released") && listed.contains("yes"),
        "{listed}"
    );
    let listed = there.run(&["runs", "--json"]).expect(0).json();
    let blessed: Vec<_> = listed.as_array().unwrap().iter().filter(|run| run["baseline"] == true).collect();
    assert_eq!((blessed.len(), &blessed[0]["blessing"]["reason"]), (1, &"as released".into()));
    there.run(&["report", "baseline..latest", "--report", "markdown=comment.md"]).expect(0);
    assert!(there.read("comment.md").contains("blessed by Ada"), "{}", there.read("comment.md"));
    there.run(&["bundle", "export", "baseline", "-o", "blessed.assize"]).expect(0);
    let far = elsewhere(&there, &["blessed.assize"]);
    let taken = far.run(&["bundle", "import", "blessed.assize"]).expect(0).stdout;
    assert!(taken.contains("Elsewhere it was blessed by Ada"), "{taken}");
    let none = far.run(&["runs", "--json"]).expect(0).json();
    assert_eq!(none[0]["baseline"], false, "a file moves no baseline");
}

#[test]
fn a_bad_file_is_refused_by_name_and_changes_nothing() {
    let world = exported();
    let good = fs::read(world.path("main.assize")).unwrap();
    let line = good.iter().position(|byte| *byte == b'\n').unwrap();
    let mut changed = good.clone();
    changed[line + 40] ^= 1;
    let newer = [b"assize-bundle 7".as_slice(), &good[b"assize-bundle 1".len()..]].concat();
    let zeros = zstd::encode_all(&vec![b'0'; 64 << 20][..], 3).unwrap();
    let digest = assize::model::Digest::of(&zeros);
    let bomb = [format!("assize-bundle 1 {digest} {}\n", 64 << 20).as_bytes(), &zeros].concat();
    let there = elsewhere(&world, &["main.assize", "examples.jsonl", "assize.toml"]);
    for (name, bytes, words) in [
        ("short.assize", &good[..good.len() / 2], "cut short or changed"),
        ("changed.assize", &changed, "cut short or changed"),
        ("newer.assize", &newer, "has format 7"),
        ("bomb.assize", &bomb, "at most"),
        ("other.assize", b"{\"run\": 1}\n", "it is no bundle"),
        ("empty.assize", b"", "it is no bundle"),
    ] {
        there.write(name, bytes);
        for arguments in [
            &["bundle", "import", name][..],
            &["compare", name, "main.assize"],
            &["report", name],
            &["ci", "--baseline", name],
            &["bless", name, "-m", "why"],
        ] {
            let ran = there.run(arguments).expect(2);
            assert!(ran.stderr.contains(words) && ran.stderr.contains(name), "{arguments:?}: {}", ran.stderr);
        }
    }
    let ran = there.run(&["compare", "missing.assize", "main.assize"]).expect(2);
    assert!(ran.stderr.contains("missing.assize"), "{}", ran.stderr);
    assert_eq!(there.run(&["runs", "--json"]).expect(0).json().as_array().unwrap().len(), 0);
}

#[test]
fn a_place_that_cannot_be_written_is_found_before_anything_runs() {
    let world = exported();
    let before = world.run(&["runs", "--json"]).expect(0).json();
    let ran = world.run(&["bundle", "export", "latest", "-o", "assize.toml/x.assize"]).expect(2);
    assert!(ran.stderr.contains("assize.toml"), "{}", ran.stderr);
    let ran = world.run(&["ci", "--baseline", "latest", "--export", "assize.toml/x.assize"]).expect(2);
    assert!(ran.stderr.contains("assize.toml"), "{}", ran.stderr);
    assert_eq!(world.run(&["runs", "--json"]).expect(0).json(), before);
    let ran = world.run(&["bundle", "export", "nosuchrun", "-o", "x.assize"]).expect(2);
    assert!(ran.stderr.contains("nosuchrun"), "{}", ran.stderr);
}

#[test]
fn rows_of_scores_are_the_same_in_every_form() {
    let world = exported();
    let reports = ["--report", "csv=s.csv", "--report", "jsonl=s.jsonl", "--report", "parquet=s.parquet"];
    world.run(&[&["compare", "main.assize", "latest"][..], &reports].concat()).expect(1);
    let lines: Vec<serde_json::Value> =
        world.read("s.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 80, "{}", lines.len());
    let worse = lines.iter().filter(|row| row["metric"] == "answered" && row["difference"] == -1.0).count();
    assert_eq!(worse, 20);
    let text = world.read("s.csv");
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let columns = table.headers().unwrap().clone();
    assert_eq!(columns.iter().filter(|name| *name == "difference").count(), 1);
    assert_eq!(table.records().map(Result::unwrap).count(), lines.len());
    // Read back by the reader that datasets are imported with.
    let fields = ["--field", "id=example", "--field", "input=value"];
    let ran = world.run(&[&["dataset", "import", "scores", "s.parquet", "--json"][..], &fields].concat()).expect(0);
    let imported = ran.json();
    assert_eq!((&imported["rows"], &imported["rejected"]), (&lines.len().into(), &0.into()));
}

#[test]
fn shards_are_one_run_again() {
    let world = project();
    world.run(&["run", "qa", "--target", "worse"]).expect(0);
    for shard in ["1/3", "2/3", "3/3"] {
        world.run(&["run", "qa", "--target", "worse", "--shard", shard, "--anyway"]).expect(0);
        let file = format!("shard-{}.assize", &shard[..1]);
        world.run(&["bundle", "export", "latest", "-o", &file]).expect(0);
    }
    let files = ["shard-1.assize", "shard-2.assize", "shard-3.assize"];
    let far = elsewhere(&world, &files);
    far.write("assize.toml", CONFIG);
    far.run(&[&["bundle", "merge"][..], &files, &["-o", "whole.assize"]].concat()).expect(0);
    assert!(!far.path(".assize").exists(), "no store was made");
    let whole = far.run(&["report", "whole.assize", "--json"]).expect(0).json();
    let runs = world.run(&["runs", "--json"]).expect(0).json();
    let once = runs.as_array().unwrap().last().unwrap()["header"]["id"].as_str().unwrap().to_owned();
    let once = world.run(&["report", &once, "--json"]).expect(0).json();
    assert_eq!(whole["metrics"][0]["estimate"], once["metrics"][0]["estimate"], "as if it had been run in one piece");
    assert_eq!((&whole["run"]["totals"]["scored"], &whole["examples"].as_array().unwrap().len()), (&80.into(), &80));
    let ran = far.run(&["bundle", "merge", files[0], files[1], "-o", "x.assize"]).expect(2);
    assert!(ran.stderr.contains("shards are missing: 3"), "{}", ran.stderr);
    let ran = far.run(&["bundle", "merge", files[0], files[1], files[1], "-o", "x.assize"]).expect(2);
    assert!(ran.stderr.contains("are both shard 2/3"), "{}", ran.stderr);
    let ran = far.run(&["bundle", "merge", files[0], "whole.assize", "-o", "x.assize"]).expect(2);
    assert!(ran.stderr.contains("is no shard"), "{}", ran.stderr);
    let ran = world.run(&["run", "qa", "--shard", "4/3"]).expect(2);
    assert!(ran.stderr.contains("NUMBER/OF"), "{}", ran.stderr);
    let ran = world.run(&["run", "qa", "--tag", "assize.shard=1/2"]).expect(2);
    assert!(ran.stderr.contains("program's own"), "{}", ran.stderr);
}
