//! Where a change sits, many runs, and recorded scores, through the binary: on data made here and on data nobody here wrote.

use std::fmt::Write as _;

use serde_json::Value;

use crate::world::{World, fixtures};

#[track_caller]
fn close(found: &Value, wanted: f64, tolerance: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what} is missing: {found}"));
    assert!((found - wanted).abs() <= tolerance, "{what}: found {found}, expected {wanted}");
}

/// A number made of a text, spread evenly over [0, 1): the same on every machine.
fn draw(text: &str) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes().chain(*b"........") {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        hash ^= hash >> 29;
    }
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// 2,000 tickets answered by two versions; the newer loses a quarter of those about refunds by phone.
fn tickets() -> String {
    let mut csv = "ticket,version,solved,usd,intent,channel,tier\n".to_owned();
    for index in 0..2_000 {
        let pick = |what: &str, of: &[&'static str]| of[(draw(&format!("{what}{index}")) * of.len() as f64) as usize];
        let intent = pick("intent", &["refund", "billing", "login", "shipping"]);
        let channel = pick("channel", &["phone", "mail", "chat"]);
        let tier = pick("tier", &["gold", "plain"]);
        let before = draw(&format!("base{index}")) < 0.85;
        let again = if draw(&format!("redraw{index}")) < 0.2 { draw(&format!("new{index}")) < 0.85 } else { before };
        let lost = intent == "refund" && channel == "phone" && draw(&format!("lost{index}")) < 0.5;
        for (version, solved, usd) in [("v1", before, 0.02), ("v2", again && !lost, 0.01)] {
            let usd = usd * (1.0 + draw(&format!("usd{version}{index}")));
            writeln!(csv, "t{index},{version},{},{usd:.5},{intent},{channel},{tier}", u8::from(solved)).unwrap();
        }
    }
    csv
}

const TICKETS: [&str; 17] = [
    "outcomes",
    "tickets.csv",
    "--id",
    "ticket",
    "--system",
    "version",
    "--score",
    "solved",
    "--cost",
    "usd",
    "--by",
    "intent",
    "--by",
    "channel",
    "--by",
    "tier",
    "--margin=0.02",
];

#[test]
fn a_planted_regression_is_named_in_every_report() {
    let world = World::new();
    world.write("tickets.csv", tickets());
    let reports = ["--report", "html=r.html", "--report", "markdown=r.md", "--report", "terminal=r.txt"];
    let arguments: Vec<&str> = TICKETS.iter().chain(&reports).copied().chain(["--json"]).collect();
    let done = world.run(&arguments).expect(1).json();
    let explanation = &done["comparison"]["explanations"][0];
    assert_eq!(explanation["named"][0]["words"], "channel = phone and intent = refund", "{explanation:#}");
    let headline = done["comparison"]["headline"].as_str().unwrap();
    assert!(headline.contains("mostly where channel = phone and intent = refund"), "{headline}");
    let sentence = explanation["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("Solved: the regression is in examples where"), "{sentence}");
    assert_eq!(explanation["contrasting"].as_array().unwrap().len(), 3, "{explanation:#}");
    assert!(explanation["slices"].as_array().unwrap().iter().any(|slice| slice["overlap"]["share"].is_f64()));
    let cost =
        done["comparison"]["frontier"].as_array().unwrap().iter().find(|one| one["spent"] == "cost_usd").unwrap();
    assert!(cost["per_good_ratio"]["interval"]["hi"].as_f64().unwrap() < 0.7, "{cost:#}");
    for report in ["r.html", "r.md", "r.txt"] {
        let text = world.read(report).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("the regression is in examples where channel = phone and intent = refund"), "{report}");
        assert!(text.contains("a good answer costs"), "{report}");
    }
}

#[test]
fn the_same_rows_in_other_shapes_are_the_same_comparison() {
    let world = World::new();
    let mut wide = "id,old,new\n".to_owned();
    let (mut old, mut new) = ("id,correct\n".to_owned(), "id,correct\n".to_owned());
    for index in 0..60 {
        let (a, b) = (u8::from(index % 3 == 0), u8::from(index % 2 == 0));
        writeln!(wide, "q{index},{a},{b}").unwrap();
        writeln!(old, "q{index},{a}").unwrap();
        writeln!(new, "q{index},{b}").unwrap();
    }
    for (name, text) in [("wide.csv", wide), ("old.csv", old), ("new.csv", new)] {
        world.write(name, text);
    }
    let shapes: [&[&str]; 2] = [
        &["outcomes", "wide.csv", "--id", "id", "--system", "old=old", "--system", "new=new", "--json"],
        &["outcomes", "old.csv", "new.csv", "--id", "id", "--score", "correct", "--name", "two", "--json"],
    ];
    for arguments in shapes {
        let done = world.run(arguments).expect(0).json();
        let metric = &done["comparison"]["metrics"][0];
        close(&metric["difference"]["estimate"], 10.0 / 60.0, 1e-12, "difference");
        assert_eq!((&metric["discordance"]["improved"], &metric["discordance"]["worsened"]), (&20.into(), &10.into()));
        assert_eq!(done["comparison"]["baseline"]["target"]["name"], "old");
    }
    // The runs are in the store like any others.
    let runs = world.run(&["runs", "--json"]).expect(0).json();
    assert_eq!(runs.as_array().unwrap().len(), 4);
}

#[test]
fn what_cannot_be_read_says_how_to_mend_it() {
    let world = World::new();
    world.write("a.csv", "id,s\n1,1\n2,0\n");
    world.write("rows.csv", "id,system,s\n1,a,1\n1,b,nonsense\n2,a,0\n2,b,1\n,a,1\n");
    let refused = |arguments: &[&str], wanted: &str| {
        let ran = world.run(arguments).expect(2);
        assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
    };
    refused(&["outcomes", "a.csv", "--id", "id"], "--score FIELD");
    refused(&["outcomes", "a.csv", "--id", "id", "--score", "s", "--range", "s=5..1"], "--range NAME=LOW..HIGH");
    refused(&["outcomes", "a.csv", "--id", "id", "--score", "s", "--margin", "x=1"], "no score `x`; there is s");
    refused(&["outcomes", "a.csv", "--id", "id", "--system", "a=s", "--score", "s"], "leave `--score` out");
    refused(&["outcomes", "a.csv", "--id", "none", "--score", "s"], "none");
    refused(&["compare", "a", "b", "c", "--report", "junit=x.xml"], "has no form `junit`");
    let done = world.run(&["outcomes", "rows.csv", "--id", "id", "--system", "system", "--score", "s", "--json"]);
    assert!(done.stderr.contains("rejected:"), "a row without an id is told: {}", done.stderr);
    let missing = &done.json()["comparison"]["metrics"][0]["missing"];
    assert_eq!(missing["candidate_reasons"]["off_menu"], 1, "nonsense is no score, and no 0: {missing}");
}

#[test]
fn taubench_chances_over_four_trials() {
    let Some(folder) = fixtures("tau-bench pass^k") else { return };
    let world = World::new();
    let file = folder.join("taubench_airline/gpt-4o-airline.json.gz");
    let file = file.to_str().unwrap();
    let arguments =
        ["outcomes", file, "--id", "task_id", "--trial", "trial", "--score", "reward", "--name", "tau", "--json"];
    let done = world.run(&arguments).expect(0).json();
    let rows = done["view"]["repeated"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    // Published: pass^1 to pass^4. pass@k from the same counts of passes, by C(n-c, k)/C(n, k) over 50 tasks.
    let mut last = 0.0;
    for (row, published) in rows.iter().zip([0.420, 0.273, 0.220, 0.200]) {
        close(&row["pass_hat_k"]["estimate"], published, 0.0005, "pass^k");
        let any = row["pass_at_k"]["estimate"].as_f64().unwrap();
        assert!(any > last, "{any} after {last}");
        last = any;
        assert_eq!(row["pass_hat_k"]["n"], 50);
    }
    close(&rows[0]["pass_at_k"]["estimate"], 0.420, 1e-12, "pass@1");
    let shares: f64 = done["view"]["examples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| f64::from(u8::from(row["candidate"]["reward"].as_f64().unwrap() > 0.0)))
        .sum();
    close(&rows[3]["pass_at_k"]["estimate"], shares / 50.0, 1e-12, "pass@4 is the share of tasks ever solved");
}

#[test]
fn alpacaeval_equals_its_leaderboard() {
    let Some(folder) = fixtures("AlpacaEval") else { return };
    let world = World::new();
    let file = folder.join("alpacaeval2/preferences.csv.gz");
    let done = world
        .run(&[
            "outcomes",
            file.to_str().unwrap(),
            "--id",
            "instruction_idx",
            "--system",
            "model",
            "--score",
            "win=preference",
            "--plus=-1",
            "--range",
            "win=0..1",
            "--by",
            "dataset",
            "--name",
            "alpaca",
            "--json",
        ])
        .expect(0)
        .json();
    let matrix = &done["matrix"];
    let names: Vec<&str> = matrix["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let published = std::fs::read_to_string(folder.join("alpacaeval2/leaderboard_published.csv")).unwrap();
    let mut checked = 0;
    for row in csv::Reader::from_reader(published.as_bytes()).records() {
        let row = row.unwrap();
        let place = names.iter().position(|name| *name == &row[0]).unwrap_or_else(|| panic!("{} is missing", &row[0]));
        let ranking = matrix["metrics"][0]["ranking"].as_array().unwrap();
        let estimate = &ranking.iter().find(|one| one["run"] == place).unwrap()["estimate"];
        let (rate, error): (f64, f64) = (row[1].parse().unwrap(), row[2].parse().unwrap());
        close(&estimate["estimate"], rate / 100.0, 1e-6, "win rate");
        close(&estimate["se"], error / 100.0, 1e-6, "standard error");
        checked += 1;
    }
    assert_eq!(checked, 4);
    let place = |wanted: &str| names.iter().position(|name| *name == wanted).unwrap();
    let (plain, concise) = (place("gpt-3.5-turbo-1106"), place("gpt-3.5-turbo-1106_concise"));
    let pairs = matrix["metrics"][0]["pairs"].as_array().unwrap();
    let of = |a: usize, b: usize| pairs.iter().find(|pair| pair["baseline"] == a && pair["candidate"] == b);
    let (pair, sign) =
        of(concise, plain).map(|pair| (pair, 1.0)).or(of(plain, concise).map(|pair| (pair, -1.0))).unwrap();
    let difference = sign * pair["difference"]["estimate"].as_f64().unwrap();
    assert!((difference - 0.0176).abs() < 5e-5, "{difference}");
    close(&pair["difference"]["se"], 0.0066, 5e-5, "paired standard error");
    let alone = |run: usize| {
        let ranking = matrix["metrics"][0]["ranking"].as_array().unwrap();
        ranking.iter().find(|one| one["run"] == run).unwrap()["estimate"]["se"].as_f64().unwrap()
    };
    let unpaired = alone(plain).hypot(alone(concise));
    assert!((unpaired - 0.0122).abs() < 5e-5, "unpaired standard error {unpaired}");
}

#[test]
fn five_coding_agents_by_all_pairs() {
    let Some(folder) = fixtures("SWE-bench, all pairs") else { return };
    let world = World::new();
    let file = folder.join("swebench_verified/per_instance.csv.gz");
    let done = world
        .run(&[
            "outcomes",
            file.to_str().unwrap(),
            "--id",
            "instance_id",
            "--system",
            "name",
            "--score",
            "resolved",
            "--cost",
            "cost",
            "--by",
            "repository=instance_id:^(.*)__",
            "--name",
            "swe",
            "--json",
            "--report",
            "html=m.html",
            "--report",
            "markdown=m.md",
            "--report",
            "terminal=m.txt",
        ])
        .expect(0)
        .json();
    let matrix = &done["matrix"];
    let table = &matrix["metrics"][0];
    let pairs = table["pairs"].as_array().unwrap();
    assert_eq!((matrix["runs"].as_array().unwrap().len(), pairs.len()), (5, 10));
    let p = |pair: &Value, key: &str| pair[key].as_f64().unwrap();
    // Holm and Benjamini-Hochberg by their definitions.
    let mut order: Vec<usize> = (0..10).collect();
    order.sort_by(|a, b| p(&pairs[*a], "p").total_cmp(&p(&pairs[*b], "p")));
    let mut greatest = 0.0_f64;
    for (rank, place) in order.iter().enumerate() {
        greatest = greatest.max(((10 - rank) as f64 * p(&pairs[*place], "p")).min(1.0));
        close(&pairs[*place]["p_holm"], greatest, 1e-12, "Holm");
        let least = order[rank..]
            .iter()
            .enumerate()
            .map(|(more, later)| p(&pairs[*later], "p") * 10.0 / (rank + more + 1) as f64)
            .fold(1.0, f64::min);
        close(&pairs[*place]["q"], least, 1e-12, "Benjamini-Hochberg");
    }
    let names: Vec<&str> = matrix["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let place = |start: &str| names.iter().position(|name| name.starts_with(start)).unwrap();
    let (full, mini) = (place("GPT-5 (2025"), place("GPT-5 mini"));
    let pair = pairs
        .iter()
        .find(|pair| {
            [full, mini].contains(&(p(pair, "baseline") as usize))
                && [full, mini].contains(&(p(pair, "candidate") as usize))
        })
        .unwrap();
    close(&pair["exact_p"], 0.00544, 5e-6, "exact McNemar p");
    for pair in pairs {
        let cost = pair["frontier"].as_array().unwrap().iter().find(|one| one["spent"] == "cost_usd").unwrap();
        let equal = &cost["ratio_at_equal_quality"];
        assert!(equal["interval"]["lo"].as_f64().unwrap() > 0.0 && equal["n"].as_u64().unwrap() > 100, "{equal}");
    }
    // The costs of the file itself, over the instances that both solved.
    let mut rows: std::collections::BTreeMap<(String, String), (bool, f64)> = Default::default();
    let mut text = String::new();
    let packed = std::fs::File::open(&file).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
    for row in csv::Reader::from_reader(text.as_bytes()).records() {
        let row = row.unwrap();
        if let Ok(cost) = row[4].parse() {
            rows.insert((row[1].to_owned(), row[2].to_owned()), (&row[3] == "1", cost));
        }
    }
    let (first, second) = (p(pair, "baseline") as usize, p(pair, "candidate") as usize);
    let (mut below, mut above, mut both) = (0.0, 0.0, 0);
    for ((name, instance), (solved, cost)) in &rows {
        let other = rows.get(&(names[second].to_owned(), instance.clone()));
        if let (true, true, Some((true, dearer))) = (name == names[first], *solved, other) {
            (below, above, both) = (below + cost, above + dearer, both + 1);
        }
    }
    let cost = pair["frontier"].as_array().unwrap().iter().find(|one| one["spent"] == "cost_usd").unwrap();
    close(&cost["ratio_at_equal_quality"]["estimate"], above / below, 1e-9, "cost ratio where both solved");
    assert_eq!(cost["ratio_at_equal_quality"]["n"], both);
    for report in ["m.html", "m.md", "m.txt"] {
        let text = world.read(report);
        assert!(text.contains("rank") || text.contains("Rank"), "{report}");
        assert!(names.iter().all(|name| text.contains(name.split(" (").next().unwrap())), "{report}");
    }
}
