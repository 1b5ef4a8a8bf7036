//! `assize run`: a suite's examples put to a target, graded, journaled. Plans and prices first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use serde::Serialize;

use super::build::{Builder, Parts};
use super::calibrations::Calibrations;
use super::compare::{self, Viewed};
use super::decide::{self, Decision, Until};
use super::examples::{Chosen, open_dataset};
use super::exit::{Done, Exit, Failed};
use super::findings::{self, EXAMPLES_PER_BLOB};
use super::holdout;
use super::outputs;
use super::preflight;
use super::project::{Project, World};
use super::quarantine::today;
use super::refs::find_run;
use super::services::Services;
use super::shards::{self, Shard};
use super::trail;
use crate::compare::Fold;
use crate::config::Suite;
use crate::dataset::{example_dimension, line_of_example};
use crate::model::{
    CancelReason, Digest, Example, Recorded, RunDesign, RunHeader, RunId, RunStatus, SampleDesign, ScoreInput,
};
use crate::provider::BATCH_CONCURRENCY;
use crate::runner::{
    self, Budget, CallEstimate, Control, Examples, Job, Listener, Mode, Options, Order, Plan, Progress, Quantity,
    RunOutcome,
};
use crate::store::Store;
use crate::sys::{self, git};

/// How many examples the price of a run is estimated from.
const ESTIMATE_FROM: usize = 50;

/// Calls without an answer, beyond those that one short outage meets, after which a service is taken for dead.
const SILENCE: u64 = 10;

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// Target; the suite's candidate when absent.
    pub target: Option<String>,
    /// Trials; as the suite says when absent.
    pub trials: Option<u32>,
    /// Only so many examples, of a seeded order.
    pub limit: Option<u64>,
    /// Only the examples of this shard.
    pub shard: Option<Shard>,
    /// Plan only.
    pub dry_run: bool,
    /// Budget in US dollars.
    pub max_cost: Option<f64>,
    /// Greatest part of it that judges may take; as the suite says when absent.
    pub judge_share: Option<f64>,
    /// Ask everything again.
    pub no_cache: bool,
    /// Record answers here.
    pub record: Option<PathBuf>,
    /// Tags as typed, `key=value`.
    pub tags: Vec<String>,
    /// Stop as soon as the verdict against a baseline is settled.
    pub until_decided: Option<Until>,
    /// Run although a gate can never pass.
    pub anyway: bool,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Suite.
    pub suite: Option<String>,
    /// How.
    pub how: How,
    /// Run to go on with, as typed.
    pub resume: Option<String>,
    /// Take the run from another process.
    pub force: bool,
    /// Reports, as typed.
    pub reports: Vec<String>,
    /// Whether a comparison follows.
    pub compared: bool,
}

/// Who watches a run and how it can be stopped.
pub struct Watch<'a> {
    /// Told of the plan before anything is called.
    pub on_plan: &'a (dyn Fn(&Planned) + Sync),
    /// Makes the listeners of a run.
    pub listeners: &'a (dyn Fn(&RunHeader) -> Vec<Box<dyn Listener>> + Sync),
    /// Stops it.
    pub control: Control,
}

/// A plan with what it is a plan of.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// Suite.
    pub suite: String,
    /// Target.
    pub target: String,
    /// Dataset.
    pub dataset: String,
    /// Examples.
    pub examples: u64,
    /// Trials per example.
    pub trials: u32,
    /// Cells, calls, tokens, money.
    pub plan: Plan,
    /// Calls of models: judges, and the target when it is a prompt. Repair asks and retries come on top.
    pub model_calls: u64,
    /// Most of them, where their number is not sure: cascades and trees of questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_model_calls: Option<u64>,
    /// Budget in US dollars.
    pub max_cost: Option<f64>,
    /// Greatest part of it that judges may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_share: Option<f64>,
    /// What a careful reader should know before the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How a run ended.
pub struct RunDone {
    /// The plan it was made by.
    pub planned: Planned,
    /// The run; absent after a dry run.
    pub run: Option<RunId>,
    /// Findings and reports; absent after a dry run.
    pub viewed: Option<Viewed>,
    /// Why it stopped before its end.
    pub stop: Option<CancelReason>,
    /// What came of looking at it while it went on, where that was asked for.
    pub decision: Option<Decision>,
    /// What else went wrong: listeners, cache.
    pub warnings: Vec<String>,
    /// How the command ends.
    pub exit: Exit,
}

/// A run that is planned and not yet begun.
pub(super) struct Ready<'a> {
    pub suite: &'a Suite,
    pub how: How,
    pub planned: Planned,
    header: RunHeader,
    examples: Chosen,
    parts: Parts,
    resumed: bool,
    looks: Option<Arc<decide::Plan>>,
    pub warnings: Vec<String>,
}

/// A run that is begun: what is carried out, and what is left to look at when it has ended.
pub(super) struct Begun {
    pub job: Job,
    watcher: Option<(Arc<decide::Plan>, decide::Looks)>,
}

/// What a run is asked with beside [`How`].
#[derive(Clone, Copy, Default)]
pub(super) struct Around<'a> {
    /// Run that goes on.
    pub earlier: Option<&'a RunHeader>,
    /// Whether a comparison follows.
    pub compared: bool,
}

/// Runs a suite, or goes on with a run.
pub async fn run(project: &Project, world: &World, ask: Ask, watch: &Watch<'_>) -> Done<RunDone> {
    let wanted = outputs::plan(&ask.reports, &world.here)?;
    let store = project.store(&world.env).await?;
    let earlier = match &ask.resume {
        Some(wanted) => {
            let id = find_run(project, store.as_ref(), wanted, None).await?;
            Some(store.find_run(id.as_str()).await.map_err(Failed::instrument)?.header)
        }
        None => None,
    };
    let suite_name = earlier.as_ref().map(|header| header.suite.clone()).or_else(|| ask.suite.clone());
    let suite = project.suite(suite_name.as_deref())?;
    let services = Services::open(project, world, ask.how.no_cache, ask.how.record.as_ref()).await?;
    let how = How {
        target: earlier.as_ref().map(|header| header.target.name.clone()).or_else(|| ask.how.target.clone()),
        ..ask.how.clone()
    };
    let around = Around { earlier: earlier.as_ref(), compared: ask.compared };
    let ready = prepare(project, world, (store.as_ref(), &services), suite, how, around).await?;
    (watch.on_plan)(&ready.planned);
    let (planned, mut warnings) = (ready.planned.clone(), ready.warnings.clone());
    if ready.how.dry_run {
        let exit = Exit::Pass;
        return Ok(RunDone { planned, run: None, viewed: None, stop: None, decision: None, warnings, exit });
    }
    let Begun { mut job, watcher } = begin(project, world, (&store, &services), ready, watch).await?;
    if earlier.is_some() {
        job.mode = Mode::Resume { force: ask.force };
    }
    let (outcome, more) = carry_out(job).await?;
    let viewed = compare::view_run(project, world, store.as_ref(), &outcome.run, &wanted).await?;
    warnings.extend(services.warnings());
    warnings.extend(more);
    warnings.extend(compare::unscored_causes(&viewed.details));
    warnings.extend(compare::hostile_material(&viewed.details));
    let mut finished = viewed.exit;
    let mut decision = None;
    if let Some((plan, looks)) = &watcher {
        let results = findings::load(store.as_ref(), &outcome.run).await?.results;
        let settled = matches!(outcome.stop, Some(CancelReason::Decided { .. }));
        let found = plan.decision(&results, settled, looks.count(), &planned);
        finished =
            compare::exit_of(found.verdict, found.instrument_failed, compare::on_inconclusive(project, &suite.name));
        decision = Some(found);
    }
    let exit = exit_of(&outcome, finished);
    let run = Some(outcome.run);
    Ok(RunDone { planned, run, viewed: Some(viewed), stop: outcome.stop, decision, warnings, exit })
}

/// Builds, chooses, plans and prices. Nothing is called.
pub(super) async fn prepare<'a>(
    project: &Project,
    world: &World,
    (store, services): (&dyn Store, &Services),
    suite: &'a Suite,
    how: How,
    Around { earlier, compared }: Around<'_>,
) -> Done<Ready<'a>> {
    let target = how.target.as_deref().unwrap_or(&suite.candidate);
    let parts = Builder::new(project, world, services).parts(suite, target)?;
    let examples = choose(project, world, suite, &how, earlier)?;
    let mut warnings: Vec<String> = examples.warning().into_iter().collect();
    warnings.extend(examples.reach());
    let header = header(project, world, suite, &how, &parts, &examples, earlier)?;
    let looked = earlier.and_then(|header| header.until_decided.clone());
    let until =
        how.until_decided.clone().filter(|_| earlier.is_none()).or_else(|| looked.as_ref().map(|_| Until::default()));
    let looks = match &until {
        Some(until) => {
            Some(Arc::new(decide::prepare(project, world, store, until, &header, &examples, looked.as_ref()).await?))
        }
        None => None,
    };
    let header = RunHeader { until_decided: looks.as_ref().map(|plan| plan.marked.clone()), ..header };
    let notes = preflight::check(suite, &parts, &examples, header.trials, (compared, how.anyway))?;
    let mut planned = plan(project, suite, store, &header, &examples, &parts, &how).await?;
    planned.notes.extend(notes);
    if compared {
        planned.notes.extend(preflight::forecasts(store, suite, &header).await?);
    }
    planned.notes.extend(Calibrations::read(project)?.notes(&header.graders, today(world)));
    planned.notes.extend(holdout::note(project, store, examples.header(), &header.id).await?);
    let resumed = earlier.is_some();
    Ok(Ready { suite, how, planned, header, examples, parts, resumed, looks, warnings })
}

/// Keeps the examples, tells the trail, and puts the job together.
pub(super) async fn begin(
    project: &Project,
    world: &World,
    (store, services): (&Arc<dyn Store>, &Services),
    ready: Ready<'_>,
    watch: &Watch<'_>,
) -> Done<Begun> {
    let Ready { suite, how, planned, header, examples, parts, resumed, looks: plan, .. } = ready;
    let header = keep_examples(store.as_ref(), header, &examples).await?;
    let action = if resumed { "resume" } else { "run" };
    let detail = format!("suite {}, target {}, {}", header.suite, header.target.name, header.dataset);
    let actor = trail::actor(project, world);
    trail::record(store.as_ref(), world, &actor, action, header.id.as_str(), &detail).await?;
    let mut listeners = (watch.listeners)(&header);
    let mut options = options(suite, &how, &planned, services.waits_long());
    if let Some(width) = parts.target.width() {
        options.target_concurrency = options.target_concurrency.min(width);
    }
    options.lost = services.lost();
    options.thrift = services.thrift();
    let mut watcher = None;
    if let Some(plan) = plan {
        let fold = if resumed { decide::earlier(store.as_ref(), &header.id).await? } else { Fold::new() };
        let (listener, counted) = plan.watcher(fold, watch.control.clone());
        listeners.push(listener);
        options.order = Order::Given(Arc::clone(&plan.order));
        watcher = Some((plan, counted));
    }
    let job = Job {
        mode: Mode::Fresh,
        examples: Arc::new(examples),
        target: parts.target,
        graders: parts.graders,
        store: Arc::clone(store),
        clock: world.clock.clone(),
        listeners,
        options,
        control: watch.control.clone(),
        header,
    };
    Ok(Begun { job, watcher })
}

/// Gets the target ready, runs the job, and cleans up whatever came of it. Gives what went wrong beside it.
pub(super) async fn carry_out(job: Job) -> Done<(RunOutcome, Vec<String>)> {
    let target = Arc::clone(&job.target);
    let opened = target.open().await;
    let ended = match opened {
        Ok(()) => runner::execute(job).await.map_err(Failed::instrument),
        Err(failure) => Err(Failed::instrument(anyhow!("the run does not begin: {}", failure.message))),
    };
    let mut warnings = target.close().await;
    let outcome = ended?;
    warnings.extend(outcome.listener_failures.iter().cloned());
    Ok((outcome, warnings))
}

pub(super) fn exit_of(outcome: &RunOutcome, finished: Exit) -> Exit {
    match (outcome.status, &outcome.stop) {
        (RunStatus::Complete, _) | (_, Some(CancelReason::Decided { .. })) => finished,
        (_, Some(CancelReason::Interrupted)) => Exit::Interrupted,
        (_, Some(CancelReason::BudgetSpent | CancelReason::DeadlinePassed)) => Exit::BudgetSpent,
        (_, Some(CancelReason::Fatal { .. }) | None) => Exit::Instrument,
    }
}

fn choose(project: &Project, world: &World, suite: &Suite, how: &How, earlier: Option<&RunHeader>) -> Done<Chosen> {
    let reader = open_dataset(project, world, &suite.dataset)?;
    let seed = earlier.map_or(suite.seed, |header| header.seed);
    let shard = earlier.map_or(how.shard, Shard::of_run);
    // The number of a shard's examples is no limit: it says nothing of which they are.
    let limit = earlier.map(|header| header.examples).filter(|_| shard.is_none()).or(how.limit);
    let chosen = Chosen::of(reader, limit, seed)?;
    match shard {
        Some(shard) => chosen.shard(shard, seed),
        None => Ok(chosen),
    }
}

fn header(
    project: &Project,
    world: &World,
    suite: &Suite,
    how: &How,
    parts: &Parts,
    examples: &Chosen,
    earlier: Option<&RunHeader>,
) -> Done<RunHeader> {
    let dataset = examples.header();
    let now = world.clock.now();
    Ok(RunHeader {
        format: RunHeader::FORMAT,
        id: earlier.map_or_else(|| sys::new_run_id(world.clock.as_ref()), |header| header.id.clone()),
        suite: suite.name.clone(),
        created_at: earlier.map_or(now, |header| header.created_at),
        dataset: examples.name(),
        dataset_digest: dataset.digest.clone(),
        examples: examples.len() as u64,
        trials: earlier.map_or(how.trials.unwrap_or(suite.trials), |header| header.trials),
        target: parts.target.info(),
        graders: parts.graders.iter().map(|grader| grader.info.clone()).collect(),
        seed: earlier.map_or(suite.seed, |header| header.seed),
        price_digest: project.config.prices.digest(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: git::commit(&project.root),
        tags: earlier.map_or_else(|| tags(&how.tags, how.shard), |header| Ok(header.tags.clone()))?,
        example_blobs: earlier.map(|header| header.example_blobs.clone()).unwrap_or_default(),
        until_decided: None,
        design: dataset.design.as_ref().and_then(design),
    })
}

/// What standard errors need of a sampling design; `None` for a choice that has no probabilities.
fn design(design: &SampleDesign) -> Option<RunDesign> {
    let given = |key: &str| design.plan.as_ref().and_then(|plan| plan.get(key)).is_some_and(|value| !value.is_null());
    // An exact number, or numbers by stratum and nothing by rate, fix how many are chosen; all else is chance.
    let exact = (given("n") && !given("risk")) || (given("counts") && !given("rates") && !given("rate"));
    design.probability_sample.then(|| RunDesign {
        method: design.method.clone(),
        independent: !exact,
        strata: design.strata.iter().map(|stratum| (stratum.name.clone(), stratum.population)).collect(),
    })
}

fn tags(typed: &[String], shard: Option<Shard>) -> Done<BTreeMap<String, String>> {
    let split = |text: &String| match text.split_once('=') {
        Some((key, _)) if key.starts_with("assize.") => {
            Err(Failed::usage(anyhow!("`--tag {text}`: keys that begin with `assize.` are the program's own")))
        }
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failed::usage(anyhow!("expected `--tag KEY=VALUE`, found `{text}`"))),
    };
    let shard = shard.map(|shard| Ok((shards::TAG.to_owned(), shard.to_string())));
    typed.iter().map(split).chain(shard).collect()
}

async fn plan(
    project: &Project,
    suite: &Suite,
    store: &dyn Store,
    header: &RunHeader,
    examples: &Chosen,
    parts: &Parts,
    how: &How,
) -> Done<Planned> {
    let progress = if header.example_blobs.is_empty() {
        Progress::fresh(header)
    } else {
        Progress::read(store, header, examples).await.map_err(Failed::instrument)?.0
    };
    let mut plan = Plan::of(&progress);
    let estimate = |example: &Example, grader: Option<&str>| estimate_cell(project, parts, example, grader);
    plan.estimate(examples, ESTIMATE_FROM, &estimate).map_err(|error| Failed::usage(anyhow!(error)))?;
    let judges = plan.judge_calls();
    let asked = if header.target.kind == "prompt" { plan.target_calls() } else { 0 };
    Ok(Planned {
        suite: suite.name.clone(),
        target: header.target.name.clone(),
        dataset: header.dataset.clone(),
        examples: header.examples,
        trials: header.trials,
        model_calls: judges.0 + asked,
        most_model_calls: (judges.1 > judges.0).then_some(judges.1 + asked),
        plan,
        max_cost: how.max_cost.or(suite.max_cost),
        judge_share: how.judge_share.or(suite.judge_share),
        notes: Vec::new(),
    })
}

/// What one cell of a judge will take, from its rendered prompts. The output it will see is known only when it is
/// recorded; else the prompt without it is a lower bound, and the upper bound leaves room for it.
fn estimate_cell(project: &Project, parts: &Parts, example: &Example, grader: Option<&str>) -> Option<CallEstimate> {
    let (_, judge) = parts.judges.iter().find(|(name, _)| Some(name.as_str()) == grader)?;
    let empty = crate::model::Output::default();
    let recorded = example.recorded.first().map(|recorded: &Recorded| &recorded.output);
    let sizes = judge.asks(&ScoreInput { example, output: recorded.unwrap_or(&empty) });
    if sizes.is_empty() && recorded.is_none() {
        return None;
    }
    // A cell that asks nothing costs nothing, which is a price.
    let asks = sizes.iter().any(|size| size.most > 0.0);
    let mut sum = CallEstimate { cost_usd: (!asks).then(Quantity::default), ..CallEstimate::default() };
    for size in &sizes {
        let input = size.prompt_chars as f64 / 4.0;
        let (least, most) = (80.0, f64::from(size.max_output_tokens));
        let times = |low: f64, high: f64| Quantity { low: size.least * low, high: size.most * high };
        let price = project.config.prices.find(&size.model).filter(|_| size.most > 0.0);
        let cost = price.map(|price| {
            times(
                (input * price.input + least * price.output) / 1e6,
                (1.25 * input * price.input + most * price.output) / 1e6,
            )
        });
        sum.calls = sum.calls.plus(times(1.0, 1.0));
        sum.tokens = sum.tokens.plus(times(input + least, 1.25 * input + most));
        match cost {
            Some(cost) => sum.cost_usd = Some(sum.cost_usd.unwrap_or_default().plus(cost)),
            None => sum.unpriced |= size.most > 0.0,
        }
    }
    Some(sum)
}

/// Keeps the examples of a run in the store, without what is recorded for them, so that reports need no dataset. Saved
/// slices become dimensions, so that a comparison shows them.
async fn keep_examples(store: &dyn Store, mut header: RunHeader, examples: &Chosen) -> Done<RunHeader> {
    if !header.example_blobs.is_empty() {
        return Ok(header);
    }
    let mut chunk = Vec::new();
    let slices = examples.slices()?;
    for index in 0..examples.len() {
        let example = examples.load(index).map_err(|error| Failed::usage(anyhow!(error)))?;
        let mut bare = Example { recorded: Vec::new(), labels: Vec::new(), ..(*example).clone() };
        for (name, slice) in &slices {
            let fits = slice.matches(|name| example_dimension(&example, name));
            bare.dimensions.insert(format!("slice.{name}"), if fits { "yes" } else { "no" }.to_owned());
        }
        chunk.extend_from_slice(line_of_example(&bare).map_err(Failed::usage)?.as_bytes());
        chunk.push(b'\n');
        if (index + 1) % EXAMPLES_PER_BLOB == 0 || index + 1 == examples.len() {
            let digest = Digest::of(&chunk);
            let bytes = std::mem::take(&mut chunk);
            store.put_blobs(&[(digest.clone(), bytes)]).await.map_err(Failed::instrument)?;
            header.example_blobs.push(digest);
        }
    }
    Ok(header)
}

fn options(suite: &Suite, how: &How, planned: &Planned, in_batches: bool) -> Options {
    // A batch is as large as the number of cells that may wait for it.
    let judges = if in_batches { BATCH_CONCURRENCY } else { suite.concurrency.judges };
    Options {
        target_concurrency: suite.concurrency.targets as usize,
        judge_concurrency: judges as usize,
        budget: Budget {
            max_cost_usd: how.max_cost.or(suite.max_cost),
            judge_share: how.judge_share.or(suite.judge_share),
            max_time: suite.max_time,
            max_silence: Some(SILENCE + u64::from(suite.concurrency.targets.max(judges))),
            judge_call_usd: planned.plan.judge_cell_usd(),
            ..Budget::default()
        },
        ..Options::default()
    }
}
