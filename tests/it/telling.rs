//! What a user is told whose words mean nothing: which name, what is near, what there is. And what one bad file costs.

use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::world::{Ran, World};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/demo");

fn with_traces() -> World {
    let world = World::new();
    let files = ["1.8", "2.0"].map(|version| format!("{DEMO}/traces-{version}.jsonl.gz"));
    world.run(&["ingest", &files[0], &files[1]]).expect(0);
    world
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is not in:\n{}", ran.stderr);
    }
}

#[test]
fn a_dimension_that_no_trace_carries_makes_no_dataset() {
    let world = with_traces();
    let flags = ["--stratify", "--cluster", "--reference", "--variant", "--key", "--dimensions", "--risk"];
    let wrong = flags.iter().flat_map(|flag| [*flag, "ticket.intnet"]);
    let asked: Vec<&str> = ["sample", "x", "--count", "20"].into_iter().chain(wrong).collect();
    let ran = world.run(&asked).expect(2);
    for flag in flags.iter().filter(|flag| **flag != "--dimensions") {
        says(&ran, &[&format!("no trace carries `ticket.intnet`, which `{flag}`")]);
    }
    says(&ran, &["did you mean `ticket.intent`?", "latency_ms", "customer.tier"]);
    says(
        &world.run(&["sample", "x", "--dimensions", "tier,nosuch"]).expect(2),
        &["`tier`", "`nosuch`, which `--dimensions`"],
    );
    let drawn = ["sample", "x", "--cluster-by", "ticket.intnet", "--count", "5"];
    says(&world.run(&drawn).expect(2), &["which `--cluster-by` names"]);
    assert!(!world.path("datasets/x").exists());
    // By narrow columns alone, and through files.
    let narrow = ["sample", "x", "--key", "trace_id", "--variant", "servce.version", "--count", "5"];
    says(&world.run(&narrow).expect(2), &["did you mean `service.version`?"]);
    let file = format!("{DEMO}/traces-1.8.jsonl.gz");
    says(
        &world.run(&["sample", "x", "--from", &file, "--stratify", "nothing", "--count", "3"]).expect(2),
        &["nothing"],
    );
    says(
        &world.run(&["sample", "x", "--boost", "tier.x=y=1", "--rate", "0.1"]).expect(2),
        &["no trace carries `tier.x`"],
    );
    // What only other traces carry is worth a note; a condition that excludes nothing, too.
    let ran = world.run(&["sample", "y", "--where", "nosuch!=1", "--key", "ticket.id", "--json"]).expect(0).json();
    assert!(ran["warnings"].to_string().contains("no trace at all carries `nosuch`"), "{}", ran["warnings"]);
}

#[test]
fn an_empty_lake_a_narrow_filter_and_an_unknown_name_are_told_apart() {
    let empty = World::new();
    for verb in [&["sample", "x"][..], &["sample", "x", "--where", "a=1"]] {
        says(&empty.run(verb).expect(2), &["the lake is empty", "assize ingest"]);
    }
    assert!(empty.run(&["traces", "ls"]).expect(0).stdout.starts_with("The lake is empty"));
    let world = with_traces();
    let sample = |filter: &str| world.run(&["sample", "x", "--where", filter]).expect(2);
    says(
        &sample("ticket.intent=refnd"),
        &["no trace of 356 fits `ticket.intent=refnd`", "`ticket.intent` is `order_status` (88), `refund` (80)"],
    );
    says(&sample("ticket.intnt=refund"), &["no trace carries `ticket.intnt`", "did you mean `ticket.intent`?"]);
    says(&world.run(&["sample", "x", "--since", "2100-01-01"]).expect(2), &["began from", "--since"]);
    let list = |more: &[&str]| world.run(&[&["traces", "ls"], more].concat()).expect(0).stdout;
    assert!(list(&["--where", "ticket.intent=refnd"]).contains("No trace of 356 fits"));
    assert!(list(&["--where", "ticket.intnt=refund"]).contains("did you mean `ticket.intent`?"));
    assert_eq!(list(&["--where", "ticket.intent=refnd", "--json"]).trim(), "[]");
}

#[test]
fn plans_that_mean_nothing_are_refused_with_their_flag() {
    let world = with_traces();
    let sample = |more: &[&str]| world.run(&[&["sample", "x"], more].concat()).expect(2);
    says(&sample(&["--allocate", "equal", "--count", "20"]), &["`allocate`", "--stratify"]);
    says(&sample(&["--count", "0"]), &["'--count <COUNT>'", "at least 1"]);
    let boost = sample(&["--rate", "0.1", "--boost", "eror=1"]);
    says(&boost, &["no rule is called `eror`; did you mean `errors`? (there is `errors`", "`loops`"]);
    says(
        &sample(&["--risk", "ticket.intent", "--count", "9"]),
        &["`risk`", "no candidate has a number in the dimension `ticket.intent`"],
    );
    let many = world.run(&["sample", "all", "--key", "ticket.id", "--count", "5000"]).expect(0).stdout;
    assert!(many.contains("5,000 were asked for and there are 178 candidates: all are taken"), "{many}");
    let near = ["sample", "near", "--key", "trace_id", "--near-duplicates", "0.5", "--count", "20"];
    let near = world.run(&near).expect(0).stdout;
    assert!(near.contains("stands for it and carries its weight"), "{near}");
}

#[test]
fn a_part_shows_its_own_share_of_the_design() {
    let world = with_traces();
    let sample = ["sample", "s", "--key", "ticket.id", "--stratify", "ticket.intent", "--count", "60"];
    world.run(&sample).expect(0);
    world.run(&["dataset", "split", "s", "--holdout", "0.4"]).expect(0);
    world.run(&["dataset", "slice", "s", "refunds", "ticket.intent=refund"]).expect(0);
    let shown = |part: &str| world.run(&["dataset", "show", part, "--json"]).expect(0).json();
    let (whole, dev, holdout) = (shown("s"), shown("s:dev"), shown("s:holdout"));
    assert!(whole["part"].is_null());
    let sum = |of: &str| -> f64 { [&dev, &holdout].iter().map(|part| part["part"][of].as_f64().unwrap()).sum() };
    assert_eq!((sum("examples"), dev["part"]["whole"].as_u64()), (60.0, Some(60)));
    assert!((sum("weight") - 178.0).abs() < 1e-6, "weights of the parts add up to the population");
    let strata = |part: &Value| part["part"]["strata"].as_array().unwrap().clone();
    for ((stratum, dev), holdout) in
        whole["header"]["design"]["strata"].as_array().unwrap().iter().zip(strata(&dev)).zip(strata(&holdout))
    {
        assert_eq!((&stratum["name"], &stratum["population"]), (&dev["name"], &dev["population"]));
        let both = dev["examples"].as_u64().unwrap() + holdout["examples"].as_u64().unwrap();
        assert_eq!(stratum["chosen"].as_u64(), Some(both));
    }
    let text = world.run(&["dataset", "show", "s:dev"]).expect(0).stdout;
    assert!(text.contains("Design of the whole: stratified") && text.contains("in this part"), "{text}");
    assert!(text.contains("refunds"), "slices are told: {text}");
    // A saved slice is asked for by its name, in filters too.
    let tagged = |filter: &str| {
        let done = world.run(&["dataset", "tag", "s", "--where", filter, "--tag", "t", "--json"]).expect(0).json();
        world.run(&["dataset", "tag", "s", "--tag", "t", "--remove"]).expect(0);
        done["touched"].as_u64().unwrap()
    };
    assert_eq!(tagged("slice=refunds"), shown("s:refunds")["header"]["examples"].as_u64().unwrap());
    assert_eq!(tagged("slice=refunds") + tagged("slice != refunds"), 60);
    let wrong = world.run(&["dataset", "tag", "s", "--where", "slice=refund", "--tag", "t"]).expect(2);
    says(&wrong, &["did you mean `refunds`?"]);
}

/// A log as Inspect writes it: samples by id and epoch, each with its own input.
fn eval_log(world: &World, name: &str, (task, model): (&str, &str), samples: &[(u64, u64, &str)]) -> String {
    let path = world.path(name);
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let mut add = |name: String, value: Value| {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(value.to_string().as_bytes()).unwrap();
    };
    let eval = json!({"task": task, "task_id": "i", "run_id": "r", "model": model, "dataset": {"name": task}});
    add("header.json".to_owned(), json!({"version": 2, "status": "success", "eval": eval}));
    for (id, epoch, input) in samples {
        let sample = json!({"id": id, "epoch": epoch, "input": input, "target": "t",
            "output": {"choices": [{"message": {"role": "assistant", "content": "said"}}]}});
        add(format!("samples/{id}_epoch_{epoch}.json"), sample);
    }
    zip.finish().unwrap();
    path.display().to_string()
}

#[test]
fn logs_of_several_tasks_are_one_dataset() {
    let world = World::new();
    let maths = [(1, 1, "1+1?"), (1, 2, "1+1?"), (2, 1, "2+2?")];
    let one = eval_log(&world, "a.eval", ("maths", "m1"), &maths);
    let other = eval_log(&world, "b.eval", ("maths", "m2"), &maths);
    let facts = eval_log(&world, "c.eval", ("facts", "m1"), &[(1, 1, "Capital? A or B"), (1, 2, "Capital? B or A")]);
    let done = world.run(&["dataset", "import", "d", &one, &other, &facts, "--json"]).expect(0).json();
    assert_eq!((&done["rejected"], &done["header"]["examples"]), (&json!(0), &json!(4)), "{done:#}");
    let text = world.run(&["dataset", "export", "d"]).expect(0).stdout;
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<(&str, &str, usize)> = rows
        .iter()
        .map(|row| {
            let task = row["dimensions"]["task"].as_str().unwrap();
            (row["id"].as_str().unwrap(), task, row["recorded"].as_array().unwrap().len())
        })
        .collect();
    let expected =
        [("maths/1", "maths", 4), ("maths/2", "maths", 2), ("facts/1", "facts", 1), ("facts/1#2", "facts", 1)];
    assert_eq!(found, expected);
    // The same log again says nothing new: all of its rows are turned away, and the others are in.
    let again = world.run(&["dataset", "import", "e", &one, &other, &facts, &one, "--json"]).expect(2).json();
    assert_eq!(again["header"]["examples"], 4);
    let unusable = again["unusable"][0].as_str().unwrap();
    assert!(unusable.contains("all 3 rows") && unusable.contains("a.eval"), "{unusable}");
    let cut = world.write("cut.eval", b"PK\x03\x04 and nothing more").display().to_string();
    let text = world.run(&["dataset", "import", "f", &cut, &one]).expect(2).stdout;
    assert!(
        text.contains("f@1 has 2 examples") && text.contains("Left out whole") && text.contains("cut.eval"),
        "{text}"
    );
    says(&world.run(&["dataset", "import", "g", &cut]).expect(2), &["cut.eval"]);
}

#[test]
fn files_are_written_where_out_says_in_the_form_of_their_ending() {
    let world = World::new();
    world.write("q.jsonl", "{\"id\": \"a\", \"input\": \"?\"}\n");
    world.run(&["dataset", "import", "q", "q.jsonl"]).expect(0);
    let export = |more: &[&str]| world.run(&[&["dataset", "export", "q"], more].concat());
    says(&export(&["--out", "q.xyz"]).expect(2), &["no format ends in `.xyz`", "`.parquet`", "langsmith"]);
    says(&export(&["--out", "q.json"]).expect(2), &["several formats end in `.json`", "`--format promptfoo`"]);
    says(&export(&["--out", "q.csv", "--format", "prquet"]).expect(2), &["did you mean `parquet`?"]);
    assert!(!world.path("q.xyz").exists() && !world.path("q.json").exists());
    export(&["--out", "q.xyz", "--format", "csv"]).expect(0);
    export(&["--out", "plain"]).expect(0);
    assert_eq!(export(&[]).expect(0).stdout, world.read("plain"));
    let query = ["traces", "query", "SELECT 1 AS a FROM spans", "--out", "a.xyz"];
    says(&world.run(&query).expect(2), &["`--out a.xyz` has no ending", "`.parquet`"]);
}

#[test]
fn a_word_that_names_nothing_to_ingest_is_told_what_there_is() {
    let world = World::new();
    says(
        &world.run(&["ingest", "prod"]).expect(2),
        &["`prod` is neither a file or folder here nor a source", "there is none"],
    );
    world.write(
        "assize.toml",
        "[sources.production]\nkind = \"phoenix\"\nurl = \"http://127.0.0.1:1\"\nproject = \"p\"\n",
    );
    says(&world.run(&["ingest", "prodction"]).expect(2), &["did you mean `production`?", "there is production"]);
    says(&world.run(&["ingest", "no/such.json"]).expect(2), &["no/such.json"]);
}

#[test]
fn a_sheet_without_values_is_one_error() {
    let world = World::new();
    world.write("q.jsonl", "{\"id\": \"a\", \"input\": \"?\"}\n");
    world.run(&["dataset", "import", "q", "q.jsonl"]).expect(0);
    let rows: String = (0..60).map(|n| format!("a,{n}\n")).collect();
    world.write("sheet.csv", format!("example,values\n{rows}"));
    let ran = world.run(&["labels", "import", "q", "sheet.csv", "--name", "n", "--annotator", "me"]).expect(2);
    says(&ran, &["has no column `value`", "is it `values`?", "It has: example, values"]);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    let rows: String = (0..60).map(|n| format!("x{n},yes\n")).collect();
    world.write("sheet.csv", format!("example,value\n{rows}"));
    let ran = world.run(&["labels", "import", "q", "sheet.csv", "--name", "n", "--annotator", "me"]).expect(2);
    says(&ran, &["all 60 rows are wrong", "and 57 more"]);
}

#[test]
fn keys_and_choices_of_the_configuration_are_told_the_nearest_and_all() {
    let world = World::new();
    let faults = |text: &str| {
        world.write("assize.toml", text);
        world.run(&["runs"]).expect(2).stderr
    };
    let plan = faults(
        "[samples.x]\nfliter = \"a=1\"\nstratify_by = [\"a\"]\n[samples.x.design]\nrats = 0.1\ncombine = \"most\"\n",
    );
    for word in [
        "`samples.x.fliter`: unknown key",
        "`where`",
        "did you mean `design.stratify_by`?",
        "did you mean `rate`?",
        "`neyman_by`",
        "expected one of `max`, `union`, found text `\"most\"`",
    ] {
        assert!(plan.contains(word), "`{word}` is not in:\n{plan}");
    }
    let optional = faults(
        "[suites.s]\ndataset = \"d\"\ntargets.t = { kind = \"recorded\" }\ngraders = [{ scorer = \"exact\" }]\n\
         gate.fail_on = \"regresed\"\n",
    );
    assert!(optional.contains("expected one of") && optional.contains("did you mean `regressed`?"), "{optional}");
    let number = faults(
        "[suites.s]\ndataset = \"d\"\ntargets.t = { kind = \"recorded\" }\ngraders = [{ scorer = \"exact\" }]\n\
         gate.fail_on = 3\n",
    );
    assert!(number.contains("`regressed`") && number.contains("found number `3`"), "{number}");
    world.write("assize.toml", "");
    world.write("q.csv", "q\n?\n");
    let mapped = |map: &str| {
        world.write("m.toml", map);
        world.run(&["dataset", "import", "q", "q.csv", "--map", "m.toml"]).expect(2).stderr
    };
    let rule = mapped("input = { feild = \"q\" }\n");
    assert!(rule.contains("did you mean `field`?") && rule.contains("`regex`"), "{rule}");
    let form = mapped("input = 3\n");
    assert!(form.contains("expected text in quotes or a table, found number `3`"), "{form}");
}

#[test]
fn a_frozen_holdout_changes_by_import_and_sample_for_a_reason() {
    let world = with_traces();
    let sample = |more: &[&str]| world.run(&[&["sample", "s", "--key", "ticket.id", "--count", "60"], more].concat());
    sample(&[]).expect(0);
    says(&sample(&["--thaw", "because"]).expect(2), &["nothing is frozen"]);
    world.run(&["dataset", "split", "s", "--holdout", "0.4"]).expect(0);
    says(&sample(&["--seed", "9"]).expect(2), &["frozen since version 2", "--thaw REASON"]);
    says(&sample(&["--seed", "9", "--thaw", " "]).expect(2), &["needs a reason"]);
    sample(&["--seed", "9", "--thaw", "the agent was replaced"]).expect(0);
    let head = world.run(&["dataset", "show", "s", "--json"]).expect(0).json()["header"].clone();
    assert_eq!(head["splits"]["frozen"]["since"], 3, "what the new version holds is frozen in turn: {head:#}");
    says(&sample(&["--seed", "11"]).expect(2), &["frozen since version 3"]);
    let held = world.run(&["dataset", "export", "s:holdout"]).expect(0).stdout;
    world.write("less.jsonl", held.lines().skip(1).collect::<Vec<_>>().join("\n"));
    says(&world.run(&["dataset", "import", "s", "less.jsonl"]).expect(2), &["frozen since version 3"]);
    world.run(&["dataset", "import", "s", "less.jsonl", "--thaw", "one was wrong"]).expect(0);
    let log = world.run(&["dataset", "log", "s"]).expect(0).stdout;
    assert!(log.contains("the agent was replaced") && log.contains("thaw: one was wrong"), "{log}");
    world.run(&["dataset", "verify"]).expect(0);
}
