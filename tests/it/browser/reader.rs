//! A reader of a report of many examples: keyboard, filter, order, pages beside the report, paper, and the page over
//! many runs.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::chromium::{Chromium, Screen, installed};
use super::{SCREENS, assert_quiet, keep, url};
use crate::world::World;

const COUNT: usize = 1300;
const CONFIG: &str = r#"
[suites.tickets]
dataset = "tickets"
candidate = "new"
[suites.tickets.targets.old]
kind = "recorded"
variant = "old"
[suites.tickets.targets.new]
kind = "recorded"
variant = "new"
[[suites.tickets.graders]]
name = "right"
scorer = "contains"
[[suites.tickets.graders]]
name = "overlap"
scorer = "token_f1"
[suites.tickets.gate.metrics]
right = { margin = 0.05 }
"#;

/// Two runs of many examples; every seventh got worse, every eleventh better.
fn project() -> (World, String, String) {
    let world = World::new();
    world.write("assize.toml", CONFIG);
    let mut rows = String::new();
    for number in 0..COUNT {
        let said = |right: bool| if right { format!("It is answer-{number}.") } else { "I cannot say.".to_owned() };
        let (old, new) = (number % 11 != 0, number % 7 != 0 || number % 11 == 0);
        for (variant, right) in [("old", old), ("new", new)] {
            let row = json!({"id": format!("ticket-{number:04}"), "question": format!("What about parcel {number}?"),
                "expected": format!("answer-{number}"), "variant": variant, "answer": said(right)});
            writeln!(rows, "{row}").unwrap();
        }
    }
    world.write("rows.jsonl", rows);
    let fields = ["id=id", "input=question", "reference=expected", "output=answer", "variant=variant"];
    let fields = fields.iter().flat_map(|field| ["--field", field]);
    let import: Vec<&str> = ["dataset", "import", "tickets", "rows.jsonl"].into_iter().chain(fields).collect();
    world.run(&import).expect(0);
    let run = |target: &str| {
        let done = world.run(&["run", "tickets", "--target", target, "--json"]).expect(0).json();
        done["run"].as_str().unwrap().to_owned()
    };
    let (old, new) = (run("old"), run("new"));
    (world, old, new)
}

fn press(browser: &mut Chromium, key: &str, text: &str) {
    let code = match key {
        "Enter" => 13,
        "Tab" => 9,
        _ => 0,
    };
    let event = json!({"type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": code});
    browser.ask("Input.dispatchKeyEvent", event);
    browser.ask("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}));
}

/// Waits until the rows that are held back at first are elements.
fn whole(browser: &mut Chromium) {
    let rows = "(async () => { while (document.querySelector('#example-list > noscript'))
        await new Promise(done => setTimeout(done, 20)); return document.querySelectorAll('.example').length })()";
    assert_eq!(browser.value(rows), COUNT);
}

const FIRST: &str = "Array.from(document.querySelectorAll('.example')).find(row => !row.hidden)";

#[test]
fn a_reader_finds_her_way_through_many_examples() {
    let Some(program) = installed("a_reader_finds_her_way_through_many_examples") else { return };
    let (world, old, new) = project();
    world.run(&["report", &format!("{old}..{new}"), "--report", "html=all of it.html"]).expect(0);
    let file = world.path("all of it.html");
    let mut browser = Chromium::start(&program);
    with_the_keyboard(&mut browser, &file);
    in_another_order(&mut browser);
    on_pages_of_their_own(&mut browser, &world, &file);
    without_scripts(&mut browser, &file);
    on_paper(&mut browser, &file);
    // A report of the same name with fewer examples leaves no page behind that nothing links to.
    assert!(world.path("all of it-examples/0002.html").is_file());
    world.run(&["report", "--index", "--report", "html=index.html"]).expect(0);
    over_many_runs(&mut browser, &world.path("index.html"));
}

fn with_the_keyboard(browser: &mut Chromium, file: &Path) {
    browser.open(&url(file), SCREENS[0]);
    whole(browser);
    press(browser, "/", "/");
    assert_eq!(browser.value("document.activeElement.id"), "filter-text");
    browser.ask("Input.insertText", json!({"text": "ticket-007"}));
    assert_eq!(browser.value("document.getElementById('filter-count').textContent"), "10 of 1300 shown");
    for _ in 0..4 {
        press(browser, "Tab", "");
    }
    // Past the two choices and the button stands the first row that is shown.
    assert_eq!(browser.value(&format!("({FIRST}).contains(document.activeElement)")), true);
    assert_eq!(browser.value(&format!("({FIRST}).querySelectorAll('.opened').length")), 0);
    press(browser, "Enter", "\r");
    let opened = browser.value(&format!(
        "(async () => {{ await new Promise(done => setTimeout(done, 100)); const row = {FIRST};
            return row.open && row.querySelector('.opened').innerText }})()"
    ));
    assert!(opened.as_str().unwrap().contains("What about parcel"), "{opened}");
    keep(browser, "reader", SCREENS[0]);
    press(browser, "j", "j");
    assert_eq!(browser.value(&format!("({FIRST}).contains(document.activeElement)")), false);
    press(browser, "k", "k");
    assert_eq!(browser.value(&format!("({FIRST}).contains(document.activeElement)")), true);
    assert_quiet(browser, "reader", file);
}

fn in_another_order(browser: &mut Chromium) {
    let order = |value: &str| {
        format!(
            "(() => {{ const text = document.getElementById('filter-text'); text.value = '';
                text.dispatchEvent(new Event('input')); const sort = document.getElementById('filter-sort');
                sort.value = '{value}'; sort.dispatchEvent(new Event('change'));
                return Array.from(document.querySelectorAll('.example .ex-sub code')).map(code => code.textContent) }})()"
        )
    };
    let worst = browser.value(&order(""));
    let (worst, count) = (worst[0].as_str().unwrap().to_owned(), worst.as_array().unwrap().len());
    let number = |id: &str| id.trim_start_matches("ticket-").parse::<usize>().unwrap();
    assert!(number(&worst) % 7 == 0 && number(&worst) % 11 != 0, "{worst}");
    let best = browser.value(&order("last"));
    assert_eq!(best.as_array().unwrap().last().unwrap(), worst.as_str());
    let by_id = browser.value(&order("id"));
    let ids: Vec<&str> = by_id.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(ids.is_sorted() && ids.len() == count, "{:?}", &ids[..5]);
    let by_metric = browser.value(&order("0"));
    assert_eq!(number(by_metric[0].as_str().unwrap()) % 7, 0);
    assert_eq!(browser.value("document.querySelectorAll('#filter-sort option').length"), 5);
}

fn on_pages_of_their_own(browser: &mut Chromium, world: &World, file: &Path) {
    browser.open(&url(file), SCREENS[0]);
    whole(browser);
    let links =
        browser.value("Array.from(document.querySelectorAll('.example a.row')).map(a => a.getAttribute('href'))");
    let links: Vec<&str> = links.as_array().unwrap().iter().map(|link| link.as_str().unwrap()).collect();
    assert_eq!(links.len(), COUNT - 500);
    let (path, anchor) = links[300].split_once('#').unwrap();
    assert_eq!(path, "all%20of%20it-examples/0002.html");
    let beside = world.path("all of it-examples/0002.html");
    browser.open(&format!("{}#{anchor}", url(&beside)), SCREENS[2]);
    let open = browser.value("Array.from(document.querySelectorAll('details.example')).filter(d => d.open).length");
    assert_eq!(open, 1);
    let wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(browser.value(wide), true);
    keep(browser, "reader-page", SCREENS[2]);
    let back = browser.value("document.querySelector('nav a').href");
    assert_eq!(back, url(file));
    assert_eq!(browser.value("document.querySelectorAll('.example').length"), 250);
}

fn without_scripts(browser: &mut Chromium, file: &Path) {
    browser.open(&url(file), Screen { scripts: false, ..SCREENS[0] });
    assert_eq!(browser.value("document.querySelectorAll('.example').length"), COUNT);
    assert_eq!(browser.value("document.querySelectorAll('.example .opened').length"), 500);
    assert_eq!(browser.value("getComputedStyle(document.querySelector('noscript')).display"), "contents");
}

fn on_paper(browser: &mut Chromium, file: &Path) {
    browser.open(&url(file), SCREENS[0]);
    let paper = browser.ask("Page.printToPDF", json!({"pageRanges": "1-2"}));
    // `%PDF-` in base 64.
    let paper = paper["data"].as_str().unwrap();
    assert!(paper.starts_with("JVBERi") && paper.len() > 20_000, "{}", paper.len());
}

fn over_many_runs(browser: &mut Chromium, file: &Path) {
    for screen in SCREENS {
        browser.open(&url(file), screen);
        keep(browser, "index", screen);
        let wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(browser.value(wide), true, "{screen:?}");
        assert_eq!(browser.value("document.scripts.length"), 0);
        assert_eq!(browser.value("document.querySelectorAll('.runs tbody tr').length"), 2);
        // Two runs of the same dataset and grader are joined; each metric has its chart.
        assert_eq!(browser.value("document.querySelectorAll('.trend').length"), 2);
        assert_eq!(browser.value("document.querySelectorAll('.trend .trend-line').length"), 2);
        assert_eq!(browser.value("document.querySelectorAll('.trend .trend-dot').length"), 4);
        assert_quiet(browser, "index", file);
    }
}
