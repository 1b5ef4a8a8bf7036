//! `assize push`: sends the scores of a run back to where its traces came from, and its figures to where metrics go.
//!
//! Every entry goes through the outbox in the store: put there first, delivered then, marked at last. What was sent
//! just so is not sent again, what changed is sent anew, what was turned away is kept with its reason. Cells without a
//! score are counted and never sent as a number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;
use serde_json::Value;

use super::exit::{Done, Exit, Failed};
use super::project::{Project, World};
use super::{compare, findings, refs, trail};
use crate::compare::{Fold, RunResults, TrialResult, summarize};
use crate::feed::{
    self, Entry, FeedOptions, Figure, Figures, Finding, Formed, Grader, Machine, Outcome, Outlet, RunRef, SinkInfo,
    Stop, Subject, Wire,
};
use crate::model::{ExampleId, GraderInfo, RunId, Scale, Score, ScoreValue, TargetOutcome};
use crate::report;
use crate::store::{OutboxAdded, OutboxMark, OutboxPut, OutboxState, Store};
use crate::sys;

/// How long one push holds a sink before it must say that it lives.
const HOLDS: Duration = Duration::from_secs(900);
/// Rejections that are told; all are in the outbox.
const TOLD: usize = 10;
/// Entries that a dry run shows; all are counted.
const SHOWN: usize = 20;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Run: an id, a part of one, `latest`, `baseline`.
    pub run: String,
    /// Suite, for `latest` and `baseline`.
    pub suite: Option<String>,
    /// Only this sink; all when absent.
    pub to: Option<String>,
    /// Send nothing; say what would be sent.
    pub dry_run: bool,
    /// Send at most so many entries to each sink; the others wait.
    pub limit: Option<u64>,
    /// Send again what was turned away before.
    pub rejected: bool,
}

/// What a push did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pushed {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// Run.
    pub run: String,
    /// Whether nothing was sent on purpose.
    pub dry_run: bool,
    /// Cells with a score.
    pub scored: u64,
    /// Cells without, by reason; none of them is sent.
    pub unscored: BTreeMap<String, u64>,
    /// Trials with scores whose trace is not known; none of those is sent.
    pub without_trace: u64,
    /// Each sink.
    pub sinks: Vec<SinkPushed>,
}

/// What one sink was sent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SinkPushed {
    /// Name.
    pub sink: String,
    /// Kind.
    pub kind: String,
    /// Entries of this run for it.
    pub entries: u64,
    /// Of those, new to the outbox.
    pub new: u64,
    /// Of those, changed since they were sent.
    pub changed: u64,
    /// Of those, in the outbox just so.
    pub same: u64,
    /// Scores that it cannot be told, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Taken by it in this push.
    pub sent: u64,
    /// Turned away by it in this push.
    pub rejected: u64,
    /// Still to be sent.
    pub waiting: u64,
    /// The first of what was turned away, in words.
    pub rejections: Vec<String>,
    /// Requests, repetitions among them.
    pub requests: u64,
    /// Repetitions.
    pub retries: u64,
    /// Why it was stopped, and the mend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The first of what would be sent, of a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_send: Vec<Value>,
}

/// A sink, ready.
struct Ready {
    name: String,
    info: &'static SinkInfo,
    options: FeedOptions,
    outlet: Box<dyn Outlet>,
    /// What of the options decides where things go.
    destination: String,
}

/// Sends the scores of a run. It ends as a failure of the instrument where a sink did not take everything.
pub async fn push(project: &Project, world: &World, ask: &Ask) -> Done<(Pushed, Exit)> {
    let sinks = sinks(project, ask.to.as_deref())?;
    let store = project.store(&world.env).await?;
    let run = refs::find_run(project, store.as_ref(), &ask.run, ask.suite.as_deref()).await?;
    let mut fold = Fold::new();
    findings::replay(store.as_ref(), &run, &mut fold).await?;
    let results = fold.finish().map_err(Failed::instrument)?;
    let mut pushed = Pushed { format: 1, run: run.to_string(), dry_run: ask.dry_run, ..Pushed::default() };
    let mut entries = scores(store.as_ref(), &results, &mut pushed).await?;
    entries.push(figures(project, world, store.as_ref(), &run).await?);
    let machine = Machine {
        http: sys::http_client().map_err(Failed::instrument)?,
        clock: world.clock.clone(),
        env: world.env.clone(),
    };
    for sink in sinks {
        let mut said = SinkPushed { sink: sink.name.clone(), kind: sink.info.name.to_owned(), ..SinkPushed::default() };
        let formed = form(&sink, &entries, &mut said);
        if ask.dry_run {
            dry(store.as_ref(), &sink, &formed, &mut said).await?;
        } else {
            send(store.as_ref(), world, &machine, &sink, &formed, ask, &mut said).await?;
        }
        pushed.sinks.push(said);
    }
    if !ask.dry_run {
        let detail: Vec<String> = pushed
            .sinks
            .iter()
            .map(|said| format!("{}: {} sent, {} rejected", said.sink, said.sent, said.rejected))
            .collect();
        let actor = trail::actor(project, world);
        trail::record(store.as_ref(), world, &actor, "push", run.as_str(), &detail.join("; ")).await?;
    }
    let bad = pushed.sinks.iter().any(|said| said.stopped.is_some() || said.rejected > 0);
    Ok((pushed, if bad { Exit::Instrument } else { Exit::Pass }))
}

/// The sinks that are meant, made of their options.
fn sinks(project: &Project, to: Option<&str>) -> Done<Vec<Ready>> {
    let known: Vec<&str> = project.config.sinks.keys().map(String::as_str).collect();
    if known.is_empty() {
        let kinds: Vec<&str> = feed::SINKS.iter().map(|info| info.name).collect();
        let mend = format!("add one under `[sinks.NAME]` with `kind` as one of {}", kinds.join(", "));
        return Err(Failed::usage(anyhow!("no sink in `{}`; {mend}", project.file.display())));
    }
    if let Some(name) = to.filter(|name| !known.contains(name)) {
        return Err(Failed::usage(anyhow!("{}", super::check::unknown("sink", name, &known))));
    }
    let wanted = project.config.sinks.iter().filter(|(name, _)| to.is_none_or(|to| to == name.as_str()));
    let ready = |(name, config): (&String, &crate::config::FeedConfig)| {
        let wrong = |message: String| Failed::usage(anyhow!("sink `{name}`: {message}"));
        let info = feed::find(&config.kind).ok_or_else(|| wrong(format!("no kind of sink `{}`", config.kind)))?;
        let options: FeedOptions =
            serde_json::from_value(Value::Object(config.options.clone())).map_err(|error| wrong(error.to_string()))?;
        let outlet = info.outlet(&options).map_err(wrong)?;
        let place = [&options.url, &options.url_env, &options.project, &options.workspace, &options.environment];
        let destination = format!("{} {place:?}", info.name);
        Ok(Ready { name: name.clone(), info, options, outlet, destination })
    };
    wanted.map(ready).collect()
}

/// The scores of a run whose traces are known.
async fn scores(store: &dyn Store, results: &RunResults, pushed: &mut Pushed) -> Done<Vec<Entry>> {
    let mut chances: BTreeMap<ExampleId, f64> = BTreeMap::new();
    findings::each_example(store, results, |example| {
        if let Some(chance) = example.inclusion_probability {
            chances.insert(example.id, chance);
        }
    })
    .await?;
    let header = &results.header;
    let run = run_ref(results);
    let mut entries = Vec::new();
    for (id, example) in &results.examples {
        for (number, trial) in &example.trials {
            count(trial, pushed);
            let scored = trial.scores.values().flatten().any(|(_, scored)| scored.is_ok());
            let Some(TargetOutcome::Output { digest, .. }) = trial.target.as_ref().filter(|_| scored) else { continue };
            let output = findings::output(store, digest).await?;
            let Some(subject) = output.trace.as_deref().and_then(Subject::of) else {
                pushed.without_trace += 1;
                continue;
            };
            for grader in &header.graders {
                let about = (subject.clone(), run.clone(), id.as_str().to_owned(), *number);
                let found =
                    reduced(grader, trial).map(|reduced| finding(grader, reduced, about, chances.get(id).copied()));
                entries.extend(found.map(|found| Entry::Score(Box::new(found))));
            }
        }
    }
    Ok(entries)
}

fn count(trial: &TrialResult, pushed: &mut Pushed) {
    for scored in trial.scores.values().flat_map(BTreeMap::values) {
        match scored {
            Ok(_) => pushed.scored += 1,
            Err(unscored) => *pushed.unscored.entry(unscored.reason.as_str().to_owned()).or_default() += 1,
        }
    }
}

/// What the draws of a cell say together.
struct Reduced {
    value: Option<f64>,
    pass: Option<bool>,
    label: Option<String>,
    explanation: Option<String>,
}

/// One score of a grader on one trial: the mean of its draws, the label where they agree. `None` without any score.
fn reduced(grader: &GraderInfo, trial: &TrialResult) -> Option<Reduced> {
    let draws: Vec<&Score> =
        trial.scores.get(&grader.name)?.values().filter_map(|scored| scored.as_ref().ok()).collect();
    let first = draws.first()?;
    let numbers: Vec<f64> = draws.iter().filter_map(|score| score.value.number()).collect();
    let labels: BTreeSet<&str> = draws
        .iter()
        .filter_map(|score| match &score.value {
            ScoreValue::Label { label, .. } => Some(label.as_str()),
            _ => None,
        })
        .collect();
    let value = (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64);
    let label = (labels.len() == 1).then(|| labels.first().map(|label| (*label).to_owned())).flatten();
    if value.is_none() && label.is_none() {
        return None;
    }
    let pass = match &first.value {
        // The mean of several draws is a number, and so is every score of such a grader.
        ScoreValue::Pass { pass } if grader.draws <= 1 => Some(*pass),
        _ => None,
    };
    Some(Reduced { value, pass, label, explanation: first.explanation.clone() })
}

fn finding(
    grader: &GraderInfo,
    reduced: Reduced,
    (subject, run, example, trial): (Subject, RunRef, String, u32),
    inclusion_probability: Option<f64>,
) -> Finding {
    Finding {
        subject,
        name: grader.name.clone(),
        value: reduced.value,
        pass: reduced.pass,
        label: reduced.label.filter(|_| matches!(grader.scale, Scale::Labels { .. })),
        bounds: grader.scale.bounds(),
        direction: grader.direction,
        explanation: reduced.explanation,
        grader: Grader {
            kind: grader.kind,
            component: grader.component.clone(),
            version: grader.version.clone(),
            digest: grader.digest.short().to_owned(),
            model: grader.model.clone(),
        },
        inclusion_probability,
        run,
        example,
        trial,
    }
}

fn run_ref(results: &RunResults) -> RunRef {
    let header = &results.header;
    RunRef {
        id: header.id.to_string(),
        suite: header.suite.clone(),
        target: header.target.name.clone(),
        dataset: header.dataset.clone(),
        at: header.created_at,
    }
}

/// The figures of the run, as Prometheus has them.
async fn figures(project: &Project, world: &World, store: &dyn Store, run: &RunId) -> Done<Entry> {
    let loaded = findings::load(store, run).await?;
    let policy = compare::policy_of(project, world, &loaded.results.header.suite)?;
    let view = summarize(&loaded.results, &loaded.metas, &policy);
    let figure = |sample: report::Sample| Figure {
        name: sample.name.to_owned(),
        help: sample.help.to_owned(),
        labels: sample.labels,
        value: sample.value,
    };
    let figures = report::samples(&view).into_iter().map(figure).collect();
    Ok(Entry::Figures(Box::new(Figures { run: run_ref(&loaded.results), figures })))
}

/// What a sink is to be sent; what it cannot be told is counted by reason.
fn form(sink: &Ready, entries: &[Entry], said: &mut SinkPushed) -> Vec<OutboxPut> {
    let mut formed: BTreeMap<String, OutboxPut> = BTreeMap::new();
    for entry in entries {
        match entry {
            Entry::Score(found) if !sink.info.scores || !sink.options.wants(&found.name) => continue,
            Entry::Figures(_) if !sink.info.figures => continue,
            _ => {}
        }
        let key = entry.key();
        let id = feed::id_of(sink.info.name, &key);
        match sink.info.can_know(entry).and_then(|()| sink.outlet.form(entry, id)) {
            Ok(payload) => {
                let digest = entry.digest(&sink.destination).as_str().to_owned();
                formed.insert(key.clone(), OutboxPut { key, digest, payload: payload.to_string() });
            }
            Err(why) => *said.left_out.entry(why).or_default() += 1,
        }
    }
    said.entries = formed.len() as u64;
    formed.into_values().collect()
}

/// Says what would be sent.
async fn dry(store: &dyn Store, sink: &Ready, formed: &[OutboxPut], said: &mut SinkPushed) -> Done<()> {
    for put in formed {
        let known = store.outbox_get(&sink.name, &put.key).await.map_err(Failed::instrument)?;
        match known {
            Some(known) if known.put.digest == put.digest => {
                said.same += 1;
                if known.state != OutboxState::Waiting {
                    continue;
                }
            }
            Some(_) => said.changed += 1,
            None => said.new += 1,
        }
        said.waiting += 1;
        if said.would_send.len() < SHOWN {
            said.would_send.extend(serde_json::from_str::<Value>(&put.payload));
        }
    }
    Ok(())
}

/// Puts entries into the outbox and delivers what waits there.
async fn send(
    store: &dyn Store,
    world: &World,
    machine: &Machine,
    sink: &Ready,
    formed: &[OutboxPut],
    ask: &Ask,
    said: &mut SinkPushed,
) -> Done<()> {
    // Before anything is put: a key that is missing is to be told before work is done.
    let wire = Wire::open(&sink.info.door(&sink.name, &sink.options, machine));
    let OutboxAdded { new, changed, same } =
        store.outbox_put(&sink.name, formed, world.clock.now()).await.map_err(Failed::instrument)?;
    (said.new, said.changed, said.same) = (new, changed, same);
    if ask.rejected {
        store.outbox_again(&sink.name).await.map_err(Failed::instrument)?;
    }
    match wire {
        Ok(mut wire) => {
            // Two pushes at once would send everything twice.
            let claim = RunId::new(format!("outbox/{}", sink.name));
            let holder = sys::new_run_id(world.clock.as_ref()).to_string();
            if hold(store, world, &claim, &holder).await? {
                let done = deliver(store, world, sink, &mut wire, ask.limit, (&claim, &holder), said).await;
                store.release(&claim, &holder).await.map_err(Failed::instrument)?;
                done?;
                (said.requests, said.retries) = (wire.requests, wire.retries);
            } else {
                said.stopped =
                    Some(format!("another push to `{}` is going on; wait for it, then push again", sink.name));
            }
        }
        Err(cause) => said.stopped = Some(cause),
    }
    let counts = store.outbox_count(&sink.name).await.map_err(Failed::instrument)?;
    said.waiting = counts.iter().filter(|(state, _)| *state == OutboxState::Waiting).map(|(_, count)| count).sum();
    Ok(())
}

async fn hold(store: &dyn Store, world: &World, claim: &RunId, holder: &str) -> Done<bool> {
    let now = world.clock.now();
    let until = now.checked_add(HOLDS).unwrap_or(now);
    store.claim(claim, holder, now, until).await.map_err(Failed::instrument)
}

async fn deliver(
    store: &dyn Store,
    world: &World,
    sink: &Ready,
    wire: &mut Wire,
    limit: Option<u64>,
    (claim, holder): (&RunId, &str),
    said: &mut SinkPushed,
) -> Done<()> {
    let batch = sink.info.batch_of(&sink.options) as u64;
    loop {
        let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(said.sent + said.rejected));
        let most = u32::try_from(batch.min(room)).unwrap_or(u32::MAX);
        if most == 0 {
            return Ok(());
        }
        let listed = store.outbox_list(&sink.name, OutboxState::Waiting, most).await.map_err(Failed::instrument)?;
        if listed.is_empty() {
            return Ok(());
        }
        if !hold(store, world, claim, holder).await? {
            said.stopped = Some("another push took over".to_owned());
            return Ok(());
        }
        let formed: Vec<Formed> = listed
            .iter()
            .map(|entry| Formed {
                id: feed::id_of(sink.info.name, &entry.put.key),
                key: entry.put.key.clone(),
                body: serde_json::from_str(&entry.put.payload).unwrap_or_default(),
                again: entry.sent_at.is_some(),
            })
            .collect();
        let done = feed::deliver(sink.outlet.as_ref(), wire, &formed).await;
        let mut marks = Vec::with_capacity(listed.len());
        for (entry, outcome) in listed.iter().zip(&done.outcomes) {
            let (state, error) = match outcome {
                Outcome::Taken => (OutboxState::Sent, None),
                Outcome::Rejected(why) => (OutboxState::Rejected, Some(wire.scrub(why))),
            };
            said.sent += u64::from(state == OutboxState::Sent);
            said.rejected += u64::from(state == OutboxState::Rejected);
            if let Some(why) = error.as_ref().filter(|_| said.rejections.len() < TOLD) {
                said.rejections.push(format!("{}: {why}", entry.put.key));
            }
            let (key, digest) = (entry.put.key.clone(), entry.put.digest.clone());
            marks.push(OutboxMark { key, digest, state, error });
        }
        let stopped = done.stopped.map(|stop| match stop {
            Stop::Refused(why) | Stop::Bad(why) | Stop::Failed(why) => wire.scrub(&why),
        });
        // Those that were tried and not answered stay where they are, with the reason.
        let untold = listed.iter().skip(done.outcomes.len()).filter(|_| stopped.is_some());
        marks.extend(untold.map(|entry| OutboxMark {
            key: entry.put.key.clone(),
            digest: entry.put.digest.clone(),
            state: OutboxState::Waiting,
            error: stopped.clone(),
        }));
        store.outbox_mark(&sink.name, &marks, world.clock.now()).await.map_err(Failed::instrument)?;
        if stopped.is_some() {
            said.stopped = stopped;
            return Ok(());
        }
    }
}
