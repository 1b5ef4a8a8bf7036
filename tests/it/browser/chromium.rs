//! A headless Chromium spoken to over its debugging pipe: no driver, no socket, no port.
//!
//! The DevTools protocol is JSON messages that end with a NUL. The browser reads them from descriptor 3 and writes to
//! descriptor 4; a shell puts its own stdin and stdout there, so the parent needs nothing but ordinary pipes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for one answer; a page of several megabytes on a busy machine needs some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
];

/// How a page is shown.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub width: u32,
    pub dark: bool,
    pub scripts: bool,
}

/// A running browser with one page; ended when dropped.
pub struct Chromium {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    events: VecDeque<Value>,
    session: Option<String>,
    last_id: u64,
    _profile: tempfile::TempDir,
}

/// The installed browser. Where nothing may be skipped (CI, `scripts/test`), its absence fails the test.
pub fn installed(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        let required = ["CI", "ASSIZE_REQUIRE_ALL"].iter().any(|name| std::env::var_os(name).is_some());
        assert!(!required, "{test} needs a browser: install `chromium` from the system's packages");
        println!("skipped: {test}: no chromium, chromium-browser or google-chrome in PATH");
    }
    found
}

impl Chromium {
    pub fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, messages) = channel();
        thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { continue };
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser =
            Self { child, input, messages, events: VecDeque::new(), session: None, last_id: 0, _profile: profile };
        browser.open_page();
        browser
    }

    fn open_page(&mut self) {
        let target = self.ask("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.ask("Target.attachToTarget", attach);
        self.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.ask(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Sends a command and waits for its result; events that come meanwhile are kept.
    #[track_caller]
    pub fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let mut message = self.next(until).unwrap_or_else(|why| panic!("{method}: {why}"));
            if message["id"] == self.last_id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push_back(message);
        }
    }

    fn next(&mut self, until: Instant) -> Result<Value, RecvTimeoutError> {
        self.messages.recv_timeout(until.saturating_duration_since(Instant::now()))
    }

    /// Opens a file on a screen, and waits until it is laid out; from then on its events are kept.
    #[track_caller]
    pub fn open(&mut self, url: &str, screen: Screen) {
        let metrics = json!({"width": screen.width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if screen.dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", features);
        self.ask("Emulation.setScriptExecutionDisabled", json!({"value": !screen.scripts}));
        // A fragment alone would not load the page again.
        self.ask("Page.navigate", json!({"url": "about:blank"}));
        self.events.clear();
        let until = Instant::now() + PATIENCE;
        self.ask("Page.navigate", json!({"url": url}));
        while !self.loaded(url) {
            let event = self.next(until).unwrap_or_else(|why| panic!("{url}: {why}"));
            self.events.push_back(event);
        }
        // What the blank page still had to say does not belong to this one.
        while self.events.front().is_some_and(|event| !shows(event, url)) {
            self.events.pop_front();
        }
    }

    fn loaded(&self, url: &str) -> bool {
        let mut since = self.events.iter().skip_while(|event| !shows(event, url));
        since.any(|event| event["method"] == "Page.loadEventFired")
    }

    /// The value of an expression in the page, outside its policy.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.ask("Runtime.evaluate", ask);
        assert!(result.get("exceptionDetails").is_none(), "{result}");
        result["result"]["value"].take()
    }

    /// Events of some kinds since the page was opened.
    pub fn events(&self, methods: &[&str]) -> Vec<&Value> {
        self.events.iter().filter(|event| methods.iter().any(|method| event["method"] == *method)).collect()
    }

    /// The upper part of the page as a PNG in base 64.
    pub fn screenshot(&mut self) -> String {
        self.ask("Page.captureScreenshot", json!({"format": "png"}))["data"].as_str().unwrap().to_owned()
    }
}

/// Whether the event says that the page now shows this file.
fn shows(event: &Value, url: &str) -> bool {
    let file = url.split('#').next().unwrap_or(url);
    event["method"] == "Page.frameNavigated" && event["params"]["frame"]["url"] == file
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.input.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
