//! All reports over realistic and over hostile findings.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

mod sample;

use std::collections::HashSet;
use std::path::PathBuf;

use assize::report::{Material, REPORTERS, Subject, TerminalStyle, find, terminal};
use jiff::Timestamp;

use sample::{REALISTIC, Sample};

fn made_at() -> Timestamp {
    Timestamp::from_second(1_795_260_000).unwrap()
}

fn compare(sample: &Sample, form: &str) -> String {
    let (comparison, details) = sample.comparison();
    let material =
        Material { subject: Subject::Comparison(&comparison), details: &details, made_at: made_at(), places: None };
    let bytes = (find(form).unwrap().render)(&material).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn run(sample: &Sample, form: &str) -> String {
    let (view, details) = sample.run();
    let material = Material { subject: Subject::Run(&view), details: &details, made_at: made_at(), places: None };
    let bytes = (find(form).unwrap().render)(&material).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Leaves a report where a developer can open it: `target/tmp/reports`.
fn keep(name: &str, text: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reports");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

/// Everything a hostile trace may hold, around the text itself so that lookups by name still work.
fn hostile(text: &str) -> String {
    format!(
        "{text}<script>alert(1)</script><img src=x onerror=alert(2)>\" onmouseover=\"alert(3)' javascript:alert(4) \
         </style><style>*{{display:none}}</style> {{{{headline}}}} {{{{{{assets.css}}}}}} \u{1b}[31m\u{7} \u{202e}\u{200b} \
         \u{0} ]]> <!-- --> \\ud800 =HYPERLINK(\"http://evil.example\") @everyone #1 | `code` [x](http://evil.example)"
    )
}

const HOSTILE: Sample = Sample { rows: 12, opened: 12, trials: 2, text: hostile };

#[test]
fn reporters_are_sorted_and_found() {
    let names: Vec<&str> = REPORTERS.iter().map(|info| info.name).collect();
    assert_eq!(
        names,
        [
            "annotations",
            "csv",
            "gitlab",
            "html",
            "json",
            "jsonl",
            "junit",
            "markdown",
            "parquet",
            "prometheus",
            "sarif",
            "terminal",
        ]
    );
    assert!(find("pdf").is_none());
}

#[test]
fn comparison_in_the_terminal() {
    let text = compare(&REALISTIC, "terminal");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn run_in_the_terminal() {
    let text = run(&REALISTIC, "terminal");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn terminals_get_what_they_can_show() {
    let (comparison, details) = REALISTIC.comparison();
    let material =
        Material { subject: Subject::Comparison(&comparison), details: &details, made_at: made_at(), places: None };
    let plain = terminal(&material, TerminalStyle { color: false, ascii: true, width: 100 });
    assert!(plain.is_ascii());
    assert!(plain.contains("up") && plain.contains("->"));
    let color = terminal(&material, TerminalStyle { color: true, ascii: false, width: 120 });
    assert!(color.contains("\u{1b}["));
    let row = color.lines().find(|line| line.contains("task_completion") && line.contains("n=")).unwrap();
    assert!(row.contains("regressed") && row.contains('↓'), "{row}");
}

#[test]
fn comparison_in_markdown() {
    insta::assert_snapshot!(compare(&REALISTIC, "markdown"));
}

#[test]
fn run_in_markdown() {
    insta::assert_snapshot!(run(&REALISTIC, "markdown"));
}

#[test]
fn comparison_in_junit() {
    insta::assert_snapshot!(compare(&REALISTIC, "junit"));
}

#[test]
fn run_in_prometheus() {
    insta::assert_snapshot!(run(&REALISTIC, "prometheus"));
}

#[test]
fn comparison_in_prometheus_is_well_formed() {
    let text = compare(&HOSTILE, "prometheus");
    let mut declared = HashSet::new();
    let mut seen = HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(declared.insert(rest.split(' ').next().unwrap().to_owned()), "declared twice: {line}");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            assert!(declared.contains(series.split('{').next().unwrap()), "{line}");
            assert!(seen.insert(series.to_owned()), "series twice: {line}");
        }
    }
    assert!(text.contains("assize_verdict{") && text.contains("} 1\n"));
}

#[test]
fn json_reads_back_as_the_view() {
    let text = compare(&REALISTIC, "json");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["$schema"], "assize-comparison-v1.schema.json");
    assert_eq!(value["made_at"], made_at().to_string());
    let back: assize::compare::Comparison = serde_json::from_value(value).unwrap();
    assert_eq!(back, REALISTIC.comparison().0);
}

#[test]
fn html_is_self_contained() {
    for (name, page) in [("comparison.html", compare(&REALISTIC, "html")), ("run.html", run(&REALISTIC, "html"))] {
        keep(name, &page);
        check_page(&page);
        assert!(page.contains("support-0001") && page.contains("Statistics"));
    }
    let several = Sample { trials: 3, opened: 6, ..REALISTIC };
    check_page(&compare(&several, "html"));
}

#[test]
fn html_gives_hostile_text_no_effect() {
    for (name, page) in [("hostile.html", compare(&HOSTILE, "html")), ("hostile-run.html", run(&HOSTILE, "html"))] {
        keep(name, &page);
        check_page(&page);
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("{{headline}}"), "a template in foreign text must stay text");
    }
}

/// What must hold of every page, whatever it shows.
fn check_page(page: &str) {
    let lower = page.to_lowercase();
    assert_eq!(lower.matches("<script").count(), 1);
    assert_eq!(lower.matches("<style").count(), 1);
    assert_eq!(lower.matches("<!--").count(), 0);
    assert!(lower.contains("default-src 'none'") || lower.contains("default-src &#39;none&#39;"));
    for banned in
        ["<img", "<iframe", "<object", "<embed", "<link", "<base", "src=\"", "href=\"http", "href=\"javascript"]
    {
        assert!(!lower.contains(banned), "found {banned}");
    }
    assert!(!page.contains(['\u{1b}', '\u{0}', '\u{202e}', '\u{200b}', '\u{7}']));
    check_tags(page);
}

/// Tags nest, attributes are quoted and known, ids are unique, links within the page lead somewhere.
fn check_tags(page: &str) {
    let body = without_raw(page);
    let mut open: Vec<String> = Vec::new();
    let (mut ids, mut links) = (HashSet::new(), Vec::new());
    let tag = regex::Regex::new(r#"<(/?)([a-zA-Z0-9]+)((?:\s+[a-zA-Z0-9-]+(?:="[^"<>]*")?)*)\s*(/?)>"#).unwrap();
    let attribute = regex::Regex::new(r#"([a-zA-Z0-9-]+)(?:="([^"]*)")?"#).unwrap();
    let mut found = 0;
    for parts in tag.captures_iter(&body) {
        found += 1;
        let name = parts[2].to_lowercase();
        for parts in attribute.captures_iter(&parts[3]) {
            assert!(!parts[1].starts_with("on") && &parts[1] != "style", "attribute {}", &parts[1]);
            let value = parts.get(2).map_or("", |value| value.as_str()).to_owned();
            match &parts[1] {
                "id" => assert!(ids.insert(value.clone()), "id twice: {value}"),
                "href" => links.push(value),
                _ => {}
            }
        }
        let void = ["meta", "br", "input", "hr"].contains(&name.as_str()) || !parts[4].is_empty();
        match &parts[1] {
            "/" => assert_eq!(open.pop().as_deref(), Some(name.as_str()), "tags do not nest"),
            _ if !void => open.push(name),
            _ => {}
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    // The doctype is the one `<` that is no tag.
    assert_eq!(body.matches('<').count(), found + 1, "a stray `<`");
    for link in links {
        let target = link.strip_prefix('#').expect("only links within the page");
        assert!(ids.contains(target), "no target for {link}");
    }
}

/// The page without the text of its style sheet and script.
fn without_raw(page: &str) -> String {
    let mut text = page.to_owned();
    for name in ["style", "script"] {
        let start = text.find(&format!("<{name}>")).unwrap() + name.len() + 2;
        let end = text[start..].find(&format!("</{name}>")).unwrap() + start;
        text.replace_range(start..end, "");
    }
    text
}

#[test]
fn the_policy_admits_the_inlined_script_and_style() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let page = compare(&REALISTIC, "html");
    for name in ["style", "script"] {
        let start = page.find(&format!("<{name}>")).unwrap() + name.len() + 2;
        let end = page[start..].find(&format!("</{name}>")).unwrap() + start;
        let hash = sha2::Sha256::digest(&page.as_bytes()[start..end]);
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        assert!(page.contains(&format!("{name}-src &#39;sha256-{hash}&#39;")), "{name}");
    }
}

#[test]
fn a_megabyte_word_stays_small() {
    let long = Sample { rows: 3, opened: 3, trials: 1, text: |text| format!("{text}{}", "x".repeat(1 << 20)) };
    let (mut comparison, mut details) = REALISTIC.comparison();
    comparison.examples.truncate(3);
    details.truncate(3);
    for detail in &mut details {
        detail.input = serde_json::Value::String((long.text)("input"));
        detail.candidate[0].output = Some(serde_json::Value::String((long.text)("output")));
        detail.candidate[0].scores[0].scored = Ok(assize::model::Score::pass(false, (long.text)("reason")));
    }
    let material =
        Material { subject: Subject::Comparison(&comparison), details: &details, made_at: made_at(), places: None };
    for info in REPORTERS {
        let bytes = (info.render)(&material).unwrap();
        assert!(bytes.len() < 600_000, "{} is {} bytes", info.name, bytes.len());
    }
}

#[test]
fn hostile_text_is_harmless_everywhere() {
    for form in ["terminal", "markdown", "junit", "prometheus", "annotations", "csv", "gitlab", "sarif"] {
        for text in [compare(&HOSTILE, form), run(&HOSTILE, form)] {
            keep(&format!("hostile.{form}.txt"), &text);
            assert!(!text.contains(['\u{1b}', '\u{0}', '\u{202e}', '\u{7}']), "{form}");
        }
    }
    let markdown = compare(&HOSTILE, "markdown");
    assert!(markdown.len() <= 60_000);
    assert!(!markdown.contains("<script") && !markdown.contains("<img") && !markdown.contains("@everyone"));
    assert!(!markdown.contains("http://evil"));
    let junit = compare(&HOSTILE, "junit");
    assert!(!junit.contains("<script") && !junit.contains("]]>"));
}

#[test]
fn markdown_keeps_its_size_with_many_metrics() {
    let (mut comparison, details) = HOSTILE.comparison();
    let metric = comparison.metrics[0].clone();
    comparison.metrics = (0..3000)
        .map(|n| assize::compare::MetricComparison { name: format!("metric {n}"), ..metric.clone() })
        .collect();
    let material =
        Material { subject: Subject::Comparison(&comparison), details: &details, made_at: made_at(), places: None };
    let bytes = (find("markdown").unwrap().render)(&material).unwrap();
    assert!(bytes.len() <= 60_000, "{}", bytes.len());
}

#[test]
fn big_runs_are_listed_up_to_a_limit_and_say_so() {
    let big = Sample { rows: 10_500, opened: 20, ..REALISTIC };
    let page = compare(&big, "html");
    check_page(&page);
    assert!(page.contains("500 further examples are not listed here"));
    assert!(page.contains("for 20 of 10,500 examples"));
}

#[test]
fn empty_findings_make_a_page() {
    let (mut comparison, _) = REALISTIC.comparison();
    comparison.metrics.clear();
    comparison.measures.clear();
    comparison.slices.clear();
    comparison.breakdown.clear();
    comparison.examples.clear();
    comparison.headline.clear();
    comparison.reasons.clear();
    let details = Vec::new();
    let material =
        Material { subject: Subject::Comparison(&comparison), details: &details, made_at: made_at(), places: None };
    for info in REPORTERS {
        // No row and no line is what there is to say of nothing.
        let silent = info.name == "jsonl";
        assert!((info.render)(&material).unwrap().is_empty() == silent, "{}", info.name);
    }
    check_page(&String::from_utf8((find("html").unwrap().render)(&material).unwrap()).unwrap());
}

#[test]
#[ignore = "prints sizes and times; run by hand"]
fn measure() {
    for (rows, opened) in [(1000, 100), (1000, 1000), (10_000, 100), (10_000, 1000)] {
        let (comparison, details) = Sample { rows, opened, ..REALISTIC }.comparison();
        let material =
            Material { subject: Subject::Comparison(&comparison), details: &details, made_at: made_at(), places: None };
        for info in REPORTERS {
            let start = std::time::Instant::now();
            let bytes = (info.render)(&material).unwrap();
            println!("{rows} rows, {opened} opened, {}: {} kB, {:?}", info.name, bytes.len() / 1024, start.elapsed());
        }
    }
}
