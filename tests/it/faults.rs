//! Runs of the real binary against a model server that fails on purpose, and runs that are killed, interrupted or out
//! of money: every cell ends with one outcome, and nothing is paid twice that was not in flight.
//!
//! What a single call does about a fault is tested beside `providers`; this is about whole runs.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use assize::model::{CellKey, Event, JournalEntry, RunTotals, Scored, Spend, TrialKey};
use assize::store;
use serde_json::{Value, json};

use crate::mock::{Mock, Plan};
use crate::store::Place;
use crate::world::{Ran, World, ran};

mod frugal;
mod hedged;
mod killed;
mod place;
mod replies;
mod server;
mod stopped;
mod trusted;

/// A key as long as real ones.
const KEY: &str = "sk-test-0123456789abcdefghijklmnop";
/// Calls at a time, of targets and of judges each.
const AT_A_TIME: usize = 8;

/// A suite with its project folder, its model server and its store.
struct Bench {
    world: World,
    mock: Mock,
    place: Option<Place>,
    suite: Suite,
}

/// What the configuration of a bench says.
#[derive(Clone)]
struct Suite {
    examples: usize,
    provider: String,
    target: &'static str,
    more: &'static str,
}

impl Suite {
    /// Recorded outputs before a judge.
    fn recorded(examples: usize) -> Self {
        Self { examples, provider: String::new(), target: "kind = \"recorded\"", more: "" }
    }

    /// A prompt before a scorer and a judge: two calls of a model for each example.
    fn prompt(examples: usize) -> Self {
        let target = "kind = \"prompt\"\nmodel = \"judge\"\nuser = \"Answer: {{input}}\"";
        let more = "[[suites.qa.graders]]\nname = \"answered\"\nscorer = \"contains\"\nvalues = [\"evidence\"]\n";
        Self { examples, provider: String::new(), target, more }
    }

    fn text(&self, base_url: &str) -> String {
        let Self { provider, target, more, .. } = self;
        let provider = match provider.is_empty() {
            true => format!("kind = \"openai\"\nbase_url = \"{base_url}\"\ntimeout = \"3s\"\nmax_attempts = 3"),
            false => provider.clone(),
        };
        format!(
            r#"
[providers.service]
{provider}
[models.judge]
provider = "service"
model = "test-model"
max_tokens = 200
[prices.test-model]
input = 1.0
output = 4.0
[suites.qa]
file = "examples.jsonl"
concurrency = {{ targets = {AT_A_TIME}, judges = {AT_A_TIME} }}
[suites.qa.targets.now]
{target}
{more}
[[suites.qa.graders]]
judge = "answer_relevance"
model = "judge"
"#
        )
    }
}

/// What stands in the input of an example, and of no other one, whatever is asked about it.
fn marker(number: usize) -> String {
    format!("#{number:04}#")
}

/// A judgement, as a judge gives it.
fn judgement(score: impl Into<Value>) -> Value {
    json!({"evidence": [], "reasoning": "It is as it is.", "score": score.into(), "cannot_judge": null,
        "injection_attempt": false})
}

/// What the model says unless a test says otherwise.
fn judgements() -> Vec<Value> {
    ["pass", "pass", "fail"].map(judgement).to_vec()
}

impl Bench {
    /// In a SQLite store.
    async fn new(suite: Suite, plan: Plan) -> Self {
        Self::at(None, suite, plan).await
    }

    /// In a store of its own.
    async fn at(place: Option<Place>, suite: Suite, plan: Plan) -> Self {
        let answers = if plan.answers.is_empty() { judgements() } else { plan.answers.clone() };
        let mock = Mock::start(Plan { answers, ..plan }).await;
        let mut world = World::new();
        world.set("OPENAI_API_KEY", KEY);
        if let Some(place) = &place {
            world.set("ASSIZE_STORE", &place.address);
        }
        let example = |number: usize| {
            let input = format!("What is the answer to question {}?", marker(number));
            format!("{}\n", json!({"id": format!("q-{number}"), "input": input, "output": format!("It is {number}.")}))
        };
        world.write("examples.jsonl", (0..suite.examples).map(example).collect::<String>());
        let bench = Self { world, mock, place, suite };
        bench.configure(&bench.suite);
        bench
    }

    /// Writes the configuration anew.
    fn configure(&self, suite: &Suite) {
        self.world.write("assize.toml", suite.text(&self.mock.openai_url()));
    }

    /// The id of the newest run.
    fn run_id(&self) -> String {
        let runs = self.world.run(&["runs", "--json"]).expect(0).json();
        runs[0]["header"]["id"].as_str().unwrap().to_owned()
    }

    /// The journal of a run as the store has it.
    async fn journal(&self, run: &str) -> Journal {
        let address = match &self.place {
            Some(place) => place.address.clone(),
            None => format!("sqlite:{}", self.world.path(".assize/assize.sqlite").display()),
        };
        let store = store::open(&address).await.unwrap();
        let summary = store.find_run(run).await.unwrap();
        let entries = store.replay(&summary.header.id, 0, u32::MAX).await.unwrap();
        store.close().await;
        Journal { entries }
    }

    async fn end(self) {
        if let Some(place) = self.place {
            let store = place.open().await;
            place.end(store).await;
        }
    }
}

/// Everything a run wrote down.
struct Journal {
    entries: Vec<JournalEntry>,
}

impl Journal {
    fn cells(&self) -> BTreeMap<CellKey, Vec<(Scored, Spend)>> {
        let mut cells: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for entry in &self.entries {
            if let Event::ScoreFinished { cell, scored, spend, .. } = &entry.event {
                cells.entry(cell.clone()).or_default().push((scored.clone(), spend.clone()));
            }
        }
        cells
    }

    fn trials(&self) -> BTreeMap<TrialKey, usize> {
        let mut trials = BTreeMap::new();
        for entry in &self.entries {
            if let Event::TargetFinished { trial, .. } = &entry.event {
                *trials.entry(trial.clone()).or_default() += 1;
            }
        }
        trials
    }

    /// How often the run began and went on.
    fn sittings(&self) -> usize {
        let begins = |entry: &&JournalEntry| matches!(entry.event, Event::RunStarted { .. } | Event::RunResumed { .. });
        self.entries.iter().filter(begins).count()
    }

    /// The counts of the last end, and whether it was one.
    #[track_caller]
    fn end(&self) -> (&RunTotals, bool) {
        match &self.entries.last().unwrap().event {
            Event::RunFinished { totals, complete } => (totals, *complete),
            other => panic!("the journal ends with {other:?}"),
        }
    }

    /// Checks that no number is missing and that nothing has two outcomes.
    #[track_caller]
    fn check(&self) {
        let numbers: Vec<u64> = self.entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
        assert!(self.trials().values().all(|times| *times == 1), "a trial has two outcomes");
        assert!(self.cells().values().all(|outcomes| outcomes.len() == 1), "a cell has two outcomes");
    }

    /// Checks that the run is complete with so many trials and cells, each with one outcome.
    #[track_caller]
    fn check_complete(&self, trials: usize, cells: usize) {
        self.check();
        assert_eq!((self.trials().len(), self.cells().len()), (trials, cells));
        let (totals, complete) = self.end();
        assert!(complete);
        assert_eq!((totals.cells_planned, totals.cells_done()), (cells as u64, cells as u64));
    }
}

/// Waits until something holds; gives up with a message after a while.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Every file below a folder that holds a text, whatever else it holds.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A port of the loopback that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Sends a signal by its name.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for the end of a child and takes what it said.
fn finish(child: Child) -> Ran {
    ran(child.wait_with_output().unwrap())
}
