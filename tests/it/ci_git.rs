//! `assize ci` in a scratch git repository with real branches: which run becomes the baseline, and what a regression, an
//! improvement, a wavering change and a broken service come to in comment, exit code and JUnit.

use std::process::Command;

use serde_json::{Value, json};

use crate::world::{Ran, World};

/// What the agent of a branch answers is recorded in the dataset, by variant; the branch says which variant is tried. So no
/// process is started for each of the answers, and nothing of what is told depends on the machine.
const CONFIG: &str = r#"
[suites.qa]
file = "examples.jsonl"
candidate = "agent"
trials = 2
[suites.qa.targets.agent]
kind = "recorded"
variant = "good"
[[suites.qa.graders]]
name = "answered"
scorer = "contains"
[suites.qa.gate.metrics]
answered = { margin = 0.05 }
"#;

/// Where the search of the agent is down: it answers nothing.
const DOWN: &str = r#"kind = "command"
command = ["sh", "-c", "echo connect to search.internal: connection refused >&2; exit 1"]"#;

/// An example with the answers of every variant in both trials.
fn example(n: usize) -> String {
    let wrong = |variant: &str, trial: usize| match variant {
        "good" => n.is_multiple_of(5),
        "worse" => n.is_multiple_of(5) || n.is_multiple_of(3),
        "better" => false,
        // As often wrong as the good one, but elsewhere and not in both trials.
        _ => (n * 7 + trial * 3) % 5 == 1,
    };
    let mut recorded = Vec::new();
    for variant in ["good", "worse", "better", "wavers"] {
        for trial in 0..2 {
            let value = if wrong(variant, trial) { "no idea".to_owned() } else { format!("the answer is {n}") };
            recorded.push(json!({ "variant": variant, "trial": trial, "output": { "value": value } }));
        }
    }
    let example = json!({
        "id": format!("q-{n}"), "input": format!("What is {n}?"), "reference": format!("answer is {n}"), "recorded": recorded
    });
    format!("{example}\n")
}

/// Reports that the four stories are told in.
const REPORTS: &[&str] = &[
    "--report",
    "markdown=out/comment.md",
    "--report",
    "junit=out/junit.xml",
    "--report",
    "sarif=out/assize.sarif",
    "--report",
    "gitlab=out/gitlab.json",
    "--report",
    "annotations=out/annotations.txt",
];

fn git(world: &World, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"];
    let done = Command::new("git").current_dir(world.folder()).args(identity).args(arguments).output().unwrap();
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// The project below `evals/` of a repository, with one commit on `main`.
fn repository() -> World {
    let world = World::new();
    world.write("evals/assize.toml", CONFIG);
    world.write(".gitignore", ".assize/\nout/\nbundles/\n");
    world.write("evals/examples.jsonl", (1..=120).map(example).collect::<String>());
    git(&world, &["init", "-q"]);
    git(&world, &["add", "."]);
    git(&world, &["commit", "-qm", "start"]);
    world
}

/// Writes the configuration of an agent that answers otherwise.
fn change(world: &World, mode: &str) {
    let config = match mode {
        "down" => CONFIG.replace("kind = \"recorded\"\nvariant = \"good\"", DOWN),
        _ => CONFIG.replace("variant = \"good\"", &format!("variant = \"{mode}\"")),
    };
    world.write("evals/assize.toml", config);
}

fn assize(world: &World, arguments: &[&str]) -> Ran {
    world.run(&[&["--config", "evals/assize.toml"][..], arguments].concat())
}

/// The repository with a run of `main` kept as a bundle, and a branch on which the agent has another mode. The store is
/// gone: the bundle is all that is left, as on a fresh runner.
fn branch(mode: &str) -> World {
    let world = repository();
    assize(&world, &["run", "qa"]).expect(0);
    assize(&world, &["bundle", "export", "latest", "-o", "bundles/main.assize"]).expect(0);
    std::fs::remove_dir_all(world.path("evals/.assize")).unwrap();
    git(&world, &["checkout", "-qb", "change"]);
    change(&world, mode);
    git(&world, &["commit", "-qam", "another prompt"]);
    // The branch it is meant for goes on meanwhile; the merge base stays.
    git(&world, &["checkout", "-q", "main"]);
    world.write("other", "x");
    git(&world, &["add", "other"]);
    git(&world, &["commit", "-qm", "meanwhile"]);
    git(&world, &["checkout", "-q", "change"]);
    world
}

fn ci(world: &World) -> Ran {
    assize(world, &[&["ci", "--bundles", "bundles"][..], REPORTS].concat())
}

fn sarif(world: &World) -> Vec<Value> {
    let document: Value = serde_json::from_str(&world.read("out/assize.sarif")).unwrap();
    assert_eq!(document["version"], "2.1.0");
    document["runs"][0]["results"].as_array().unwrap().clone()
}

fn gitlab(world: &World) -> Vec<Value> {
    serde_json::from_str(&world.read("out/gitlab.json")).unwrap()
}

/// The line of the configuration on which the gate of the metric stands.
fn gate_line() -> usize {
    CONFIG.lines().position(|line| line.starts_with("answered = ")).unwrap() + 1
}

#[test]
fn a_planted_regression_fails_and_is_pointed_at_everywhere() {
    let mut world = branch("worse");
    world.set("GITHUB_ACTIONS", "true");
    world.set("GITHUB_BASE_REF", "main");
    world.set("GITHUB_STEP_SUMMARY", "out/summary.md");
    world.write("out/summary.md", "before\n");
    let ran = ci(&world).expect(1);
    let base = &git(&world, &["merge-base", "HEAD", "main"])[..12];
    assert!(ran.stderr.contains(&format!("newest of commit {base}, the merge base with `main`")), "{}", ran.stderr);
    let comment = world.read("out/comment.md");
    assert!(comment.starts_with("<!-- assize:qa -->\n### ✗ qa: fail"), "{comment}");
    assert!(comment.contains("regressed") && comment.contains(base) && comment.contains("q-102"), "{comment}");
    let summary = world.read("out/summary.md");
    assert!(summary.starts_with("before\n") && summary.contains("### ✗ qa: fail"), "{summary}");
    let junit = world.read("out/junit.xml");
    assert!(junit.contains("failures=\"2\"") && junit.contains("type=\"fail\"") && junit.contains("q-102"), "{junit}");
    let annotations = world.read("out/annotations.txt");
    let head = format!("::error file=evals/assize.toml,line={},title=answered%3A gate failed::", gate_line());
    assert!(annotations.starts_with(&head), "{annotations}");
    assert!(!ran.stderr.contains("::error"), "asked for in a file, so not in the log: {}", ran.stderr);
    let results = sarif(&world);
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!((&results[0]["ruleId"], &results[0]["level"]), (&"gate-failed".into(), &"error".into()));
    assert_eq!(place["artifactLocation"]["uri"], "evals/assize.toml");
    assert_eq!(place["region"]["startLine"], gate_line());
    let issues = gitlab(&world);
    assert_eq!((&issues[0]["severity"], &issues[0]["check_name"]), (&"critical".into(), &"gate-failed".into()));
    assert_eq!(issues[0]["location"]["lines"]["begin"], gate_line());
    assert_eq!(issues[0]["fingerprint"].as_str().unwrap().len(), 32);
    let log = assize(&world, &["ci", "--bundles", "bundles", "--report", "html=out/report.html"]).expect(1);
    assert!(log.stderr.lines().any(|line| line.starts_with("::error file=evals/assize.toml")), "{}", log.stderr);
}

#[test]
fn an_improvement_passes_and_points_at_nothing() {
    let world = branch("better");
    ci(&world).expect(0);
    let comment = world.read("out/comment.md");
    assert!(comment.contains("### ✓ qa: pass") && comment.contains("▲ improved"), "{comment}");
    let junit = world.read("out/junit.xml");
    assert!(
        junit.contains("failures=\"0\"") && junit.contains("errors=\"0\"") && !junit.contains("<skipped"),
        "{junit}"
    );
    assert_eq!((sarif(&world).len(), gitlab(&world).len()), (0, 0));
    assert_eq!(world.read("out/annotations.txt"), "");
}

#[test]
fn a_change_that_wavers_is_neither_green_nor_red() {
    let world = branch("wavers");
    ci(&world).expect(4);
    let comment = world.read("out/comment.md");
    assert!(comment.contains("### ? qa: inconclusive") && comment.contains("waver"), "{comment}");
    let junit = world.read("out/junit.xml");
    assert!(junit.contains("failures=\"0\"") && junit.contains("type=\"inconclusive\""), "{junit}");
    assert_eq!((&sarif(&world)[0]["ruleId"], &sarif(&world)[0]["level"]), (&"gate-open".into(), &"warning".into()));
    assert!(world.read("out/annotations.txt").starts_with("::warning "));
    assert_eq!(gitlab(&world)[0]["severity"], "minor");
}

#[test]
fn a_service_that_is_down_is_an_error_of_the_instrument_and_no_regression() {
    let world = branch("down");
    ci(&world).expect(3);
    let comment = world.read("out/comment.md");
    assert!(comment.contains("no verdict") && !comment.contains("### ✗"), "{comment}");
    let junit = world.read("out/junit.xml");
    assert!(junit.contains("errors=\"1\"") && junit.contains("failures=\"0\""), "{junit}");
    assert!(junit.contains("instrument_failed"), "{junit}");
    assert_eq!((sarif(&world).len(), &sarif(&world)[0]["ruleId"]), (1, &"instrument-failed".into()));
    assert!(gitlab(&world)[0]["description"].as_str().unwrap().contains("no verdict"));
}

#[test]
fn the_store_serves_the_merge_base_and_commits_before_it_are_named() {
    let world = repository();
    assize(&world, &["run", "qa", "--tag", "release=1.0"]).expect(0);
    world.write("notes", "x");
    git(&world, &["add", "notes"]);
    git(&world, &["commit", "-qm", "no run of this one"]);
    git(&world, &["checkout", "-qb", "change"]);
    change(&world, "worse");
    // Not committed: a run of changed files is no run of that commit.
    let ran = assize(&world, &["ci", "--baseline", "merge-base", "--export", "bundles/change.assize"]).expect(1);
    assert!(ran.stderr.contains("the commit before HEAD, which is on `main`"), "{}", ran.stderr);
    git(&world, &["commit", "-qam", "worse"]);
    let ran = assize(&world, &["ci", "--baseline", "merge-base:main"]).expect(1);
    let told = "1 commit before the merge base with `main`, which has no run of its own";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    let ran = assize(&world, &["ci", "--baseline", "tag:release=1.0"]).expect(1);
    assert!(ran.stderr.contains("newest with tag `release=1.0`"), "{}", ran.stderr);
    assize(&world, &["compare", "bundles/change.assize", "latest"]).expect(0);
    let ran = assize(&world, &["ci", "--baseline", "tag:release=2.0"]).expect(2);
    assert!(ran.stderr.contains("--tag release=2.0"), "{}", ran.stderr);
    let ran = assize(&world, &["ci", "--baseline", "merge-base:nosuchbranch"]).expect(2);
    assert!(ran.stderr.contains("`nosuchbranch`") && ran.stderr.contains("merge-base:REF"), "{}", ran.stderr);
    let ran = assize(&world, &["ci", "--baseline", "merge-base:--output=x"]).expect(2);
    assert!(ran.stderr.contains("git knows no branch") && !world.path("x").exists(), "{}", ran.stderr);
    let ran = assize(&world, &["ci", "--bundles", "nowhere"]).expect(2);
    assert!(ran.stderr.contains("nowhere") && ran.stderr.contains("--bundles"), "{}", ran.stderr);
}

#[test]
fn on_the_branch_itself_the_commit_before_is_meant() {
    let world = repository();
    assize(&world, &["run", "qa"]).expect(0);
    change(&world, "worse");
    git(&world, &["commit", "-qam", "worse, straight to main"]);
    assize(&world, &["run", "qa"]).expect(0);
    let ran = assize(&world, &["ci", "--baseline", "merge-base"]).expect(1);
    assert!(ran.stderr.contains("the commit before HEAD, which is on `main`"), "{}", ran.stderr);
}

#[test]
fn a_first_run_is_told_what_to_do() {
    let world = branch("worse");
    std::fs::remove_file(world.path("bundles/main.assize")).unwrap();
    world.write("bundles/broken.assize", "not a bundle");
    let ran = ci(&world).expect(2);
    assert!(ran.stderr.contains("On a first run") && ran.stderr.contains("assize run qa"), "{}", ran.stderr);
    assert!(!world.path("out/comment.md").exists(), "nothing was compared, so nothing is said of it");
}

#[test]
fn a_shallow_clone_is_told_to_fetch_the_history() {
    let world = branch("worse");
    let origin = format!("file://{}", world.folder().display());
    let runner = World::new();
    git(&runner, &["clone", "-q", "--depth", "1", "--branch", "change", &origin, "work"]);
    let run = |arguments: &[&str]| runner.run(&[&["--config", "work/evals/assize.toml"][..], arguments].concat());
    let ran = run(&["ci", "--baseline", "merge-base:origin/main"]).expect(2);
    assert!(ran.stderr.contains("shallow") && ran.stderr.contains("fetch-depth: 0"), "{}", ran.stderr);
    let bare = World::new();
    bare.write("assize.toml", CONFIG);
    bare.write("examples.jsonl", world.read("evals/examples.jsonl"));
    let ran = bare.run(&["ci", "--baseline", "merge-base"]).expect(2);
    assert!(ran.stderr.contains("no git repository"), "{}", ran.stderr);
}
