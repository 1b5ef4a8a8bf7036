//! The HTML report in a real browser: it looks right on wide and narrow screens, light and dark, and runs nothing but
//! its own script, whatever traces and judges say.

#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/hostile.rs"]
mod hostile;
#[path = "browser/reader.rs"]
mod reader;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::mock::{Mock, Plan};
use crate::world::World;

use chromium::{Chromium, Screen, installed};

const INSPECT: &str = include_str!("browser/inspect.js");
/// Opens sections and the first examples with all their steps, as a curious reader would.
const OPEN_ALL: &str = "(async () => {
    document.querySelectorAll('details:not(.example *):not(.example)').forEach(d => { d.open = true });
    const examples = Array.from(document.querySelectorAll('details.example')).slice(0, 60);
    examples.forEach(d => { d.open = true });
    // What is in an example is made when it is opened.
    await new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)));
    examples.slice(0, 12).forEach(d => d.querySelectorAll('details').forEach(d => { d.open = true }));
})()";

const SCREENS: [Screen; 4] = [
    Screen { width: 1400, dark: false, scripts: true },
    Screen { width: 1400, dark: true, scripts: true },
    Screen { width: 400, dark: false, scripts: true },
    Screen { width: 400, dark: true, scripts: true },
];

fn url(file: &Path) -> String {
    format!("file://{}", file.display()).replace(' ', "%20")
}

/// Leaves a picture where a developer can look at it: `target/tmp/reports`.
fn keep(browser: &mut Chromium, name: &str, screen: Screen) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports");
    std::fs::create_dir_all(&folder).unwrap();
    let scheme = if screen.dark { "dark" } else { "light" };
    let picture = STANDARD.decode(browser.screenshot()).unwrap();
    std::fs::write(folder.join(format!("{name}-{}-{scheme}.png", screen.width)), picture).unwrap();
}

/// What holds of a report on every screen, closed and opened.
fn check(browser: &mut Chromium, name: &str, file: &Path, title: &str) {
    for screen in SCREENS {
        browser.open(&url(file), screen);
        keep(browser, name, screen);
        for state in ["closed", "opened"] {
            let what = format!("{name}, {screen:?}, {state}");
            let found = browser.value(INSPECT);
            assert!(found["scroll"].as_u64() <= found["width"].as_u64(), "{what} scrolls sideways: {found}");
            assert_eq!(found["wide"], Value::Array(Vec::new()), "{what}");
            assert_eq!(found["faint"], Value::Array(Vec::new()), "{what}");
            assert_eq!(found["paper"].as_f64().unwrap() < 0.2, screen.dark, "{what}: {found}");
            assert_eq!(found["title"], title, "{what}");
            assert_eq!(found["pwned"], "undefined", "{what}");
            assert_eq!((&found["scripts"], &found["foreign"]), (&1.into(), &0.into()), "{what}");
            assert_eq!(found["handlers"], 0, "{what}");
            assert_eq!(found["filter"], true, "our own script did not run: {what}");
            browser.value(OPEN_ALL);
        }
        assert_quiet(browser, name, file);
    }
}

/// No request but the file's own, no error, no breach of the policy, no dialog, no other page.
fn assert_quiet(browser: &Chromium, name: &str, file: &Path) {
    let loads = |event: &&Value| event["params"]["request"]["url"] != url(file);
    let requests: Vec<&Value> = browser.events(&["Network.requestWillBeSent"]).into_iter().filter(loads).collect();
    assert!(requests.is_empty(), "{name} asked for {requests:?}");
    let loud =
        ["Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"];
    let loud = browser.events(&loud);
    assert!(loud.is_empty(), "{name}: {loud:?}");
    let frames = browser.events(&["Page.frameNavigated"]);
    assert_eq!(frames.len(), 1, "{name}: {frames:?}");
}

/// Without scripts all is there; only the filter, which needs one, is not offered.
fn check_without_scripts(browser: &mut Chromium, file: &Path) {
    browser.open(&url(file), Screen { scripts: false, ..SCREENS[0] });
    let found = browser.value(INSPECT);
    assert_eq!(found["filter"], false, "{found}");
    assert!(found["examples"].as_u64().unwrap() > 40 && found["text"].as_u64().unwrap() > 5000, "{found}");
    assert_eq!(found["scroll"], found["width"]);
}

/// A port of the loopback that counts who comes.
fn listener() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    thread::spawn(move || {
        for _ in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, heard)
}

#[test]
fn the_demo_report_reads_well_on_every_screen() {
    let Some(program) = installed("the_demo_report_reads_well_on_every_screen") else { return };
    let world = World::new();
    world.run(&["demo", "--dir", "demo"]).expect(0);
    let file = world.path("demo/report.html");
    let mut browser = Chromium::start(&program);
    check(&mut browser, "demo", &file, "support: fail");
    check_without_scripts(&mut browser, &file);
    check_own_script(&mut browser, &file);
}

/// The filter narrows the list, and an address with an example's anchor opens that example.
fn check_own_script(browser: &mut Chromium, file: &Path) {
    browser.open(&url(file), SCREENS[0]);
    let shown = "Array.from(document.querySelectorAll('.example')).filter(row => !row.hidden).length";
    let all = browser.value(shown).as_u64().unwrap();
    let narrowed = browser.value(&format!(
        "(() => {{ const box = document.getElementById('filter-text'); box.value = 'refund tool_faithfulness';
            box.dispatchEvent(new Event('input')); return {shown} }})()"
    ));
    assert!(narrowed.as_u64().unwrap() > 0 && narrowed.as_u64().unwrap() < all, "{narrowed} of {all}");
    let anchor = browser.value("document.querySelectorAll('details.example')[20].dataset.anchor");
    browser.open(&format!("{}#{}", url(file), anchor.as_str().unwrap()), SCREENS[2]);
    assert_eq!(browser.value("document.querySelectorAll('details.example')[20].open"), true);
    assert_eq!(browser.value("document.querySelectorAll('details.example')[20].querySelectorAll('.opened').length"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_runs_nothing_loads_nothing_and_breaks_nothing() {
    let test = "hostile_text_runs_nothing_loads_nothing_and_breaks_nothing";
    let Some(program) = installed(test) else { return };
    let (port, heard) = listener();
    let mock = Mock::start(Plan { answer: Some(hostile::verdict(port)), ..Plan::default() }).await;
    let mut world = World::new();
    world.set("OPENAI_API_KEY", "test");
    hostile::project(&world, port, &mock.openai_url());
    tokio::task::spawn_blocking(move || {
        report(&world);
        let mut browser = Chromium::start(&program);
        let title = "hostile: ";
        for (name, file, verdict) in [("hostile", "compare.html", "fail"), ("hostile-run", "run.html", "not gated")] {
            check(&mut browser, name, &world.path(file), &format!("{title}{verdict}"));
            check_without_scripts(&mut browser, &world.path(file));
        }
        thread::sleep(Duration::from_millis(200));
        assert_eq!(heard.load(Ordering::SeqCst), 0, "the report reached the network");
    })
    .await
    .unwrap();
    assert!(mock.count() > 0);
}

/// Traces to reports of both kinds, through the binary.
fn report(world: &World) {
    world.run(&["ingest", "old.jsonl", "new.jsonl"]).expect(0);
    let sample = ["sample", "hostile", "--key", "ticket.id", "--variant", "service.version", "--stratify"];
    world.run(&[&sample[..], &["ticket.intent"]].concat()).expect(0);
    let id = |ran: &Value| ran["run"].as_str().unwrap().to_owned();
    let old = id(&world.run(&["run", "hostile", "--target", "old", "--json"]).expect(0).json());
    let new = id(&world.run(&["run", "hostile", "--target", "new", "--json"]).expect(0).json());
    world.run(&["compare", &old, &new, "--report", "html=compare.html"]);
    world.run(&["report", &new, "--report", "html=run.html"]).expect(0);
    for name in ["compare", "run"] {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reports/hostile-{name}-browser.html"));
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::copy(world.path(&format!("{name}.html")), kept).unwrap();
    }
    let page = world.read("compare.html");
    for part in ["&lt;iframe srcdoc=", "\\u{202e}", "\\u{1b}[2J", "&lt;/details&gt;", "]]&gt;", "characters left out"] {
        assert!(page.contains(part), "the report lacks `{part}`");
    }
}
