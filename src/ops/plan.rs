//! `assize plan`: how many examples, trials and draws a wished margin takes, from a pilot or from assumed rates.

use anyhow::anyhow;
use serde::Serialize;

use super::compare::{all_metas, policy_of};
use super::examples::open_dataset;
use super::exit::{Done, Failed};
use super::findings;
use super::project::{Project, World};
use super::refs::find_run;
use super::standing::weigh;
use crate::compare::{self, DEFAULT_POWER, Forecast, RunResults, Spread, Wish};
use crate::config::{GraderUse, Suite};
use crate::model::{GatePolicy, GraderInfo, GraderKind, MetricRole};
use crate::store::Store;

/// What the variance is taken from when no run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Assumed {
    /// Share of examples that change sides, and how much of that is chance.
    Discordance(f64, f64),
    /// Standard deviation over examples, and the correlation of two versions.
    Deviation(f64, f64),
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Suite.
    pub suite: Option<String>,
    /// Run, or two as `BASE..CANDIDATE`.
    pub pilot: Option<String>,
    /// Only this metric.
    pub metric: Option<String>,
    /// Smallest change that matters; as the gate says when absent.
    pub margin: Option<f64>,
    /// Probability of finding what is there.
    pub power: Option<f64>,
    /// Examples; those of the suite's dataset when absent.
    pub examples: Option<u64>,
    /// Most examples there can be.
    pub most: Option<u64>,
    /// Trials.
    pub trials: Option<u32>,
    /// Draws.
    pub draws: Option<u32>,
    /// US dollars for both runs.
    pub budget: Option<f64>,
    /// Instead of a pilot.
    pub assumed: Option<Assumed>,
    /// Correlation of the true scores of two versions, for a pilot of one run.
    pub correlation: Option<f64>,
    /// US dollars of one example, one trial, one draw, where not as the pilot paid.
    pub costs: (Option<f64>, Option<f64>, Option<f64>),
}

/// A plan.
#[derive(Debug, Serialize)]
pub struct Planned {
    /// Suite; absent when everything was assumed.
    pub suite: Option<String>,
    /// The pilot's runs by their short ids.
    pub pilot: Vec<String>,
    /// One-sided error probability.
    pub alpha: f64,
    /// One forecast per metric.
    pub forecasts: Vec<Forecast>,
    /// Gates that can never pass with the examples and trials of now.
    pub hopeless: Vec<String>,
    /// Metrics whose judge is no better than chance by its calibration, or not credibly so: no number of examples mends
    /// that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub judges: Vec<String>,
}

/// Plans.
pub async fn plan(project: &Project, world: &World, ask: Ask) -> Done<Planned> {
    check(&ask)?;
    if let Some(assumed) = ask.assumed {
        return from_assumed(project, world, &ask, assumed);
    }
    let store = project.store(&world.env).await?;
    let pilot = pilot(project, store.as_ref(), &ask).await?;
    let suite = pilot.candidate.results.header.suite.clone();
    let mut policy = policy_of(project, world, &suite)?;
    let runs = pilot.baseline.iter().chain([&pilot.candidate]);
    weigh(&mut policy, project, runs.map(|loaded| &loaded.results.header))?;
    let metas = match &pilot.baseline {
        Some(baseline) => all_metas(baseline, &pilot.candidate),
        None => pilot.candidate.metas.clone(),
    };
    let baseline = pilot.baseline.as_ref().map(|loaded| &loaded.results);
    let candidate = &pilot.candidate.results;
    let found = compare::spreads(baseline, candidate, &metas, &policy, ask.correlation.unwrap_or(0.9));
    let shown = chosen(found, &ask, &policy, &suite)?;
    let judges = judges(&policy, &shown);
    let of_run = &candidate.header;
    let mut forecasts = Vec::new();
    for spread in shown {
        let grader = of_run.graders.iter().find(|grader| grader.name == spread.metric);
        let width = grader.and_then(|grader| grader.scale.bounds()).map_or(1.0, |(least, greatest)| greatest - least);
        let margin = policy.metrics.get(&spread.metric).and_then(|metric| metric.margin).unwrap_or(0.05 * width);
        let wish = Wish {
            margin: ask.margin.unwrap_or(margin),
            alpha: policy.alpha,
            power: ask.power.unwrap_or(DEFAULT_POWER),
            examples: ask.examples.unwrap_or(of_run.examples),
            most: ask.most,
            trials: ask.trials.unwrap_or(of_run.trials),
            draws: ask.draws.or_else(|| grader.map(|grader| grader.draws)).unwrap_or(1),
            cost: costs(candidate, &ask, grader),
            budget: ask.budget,
        };
        forecasts.push(compare::forecast(spread, &wish));
    }
    let units = ask.examples.unwrap_or(of_run.examples);
    let trials = ask.trials.unwrap_or(of_run.trials);
    let hopeless = compare::hopeless(&policy, &of_run.graders, (units, trials), true);
    Ok(Planned {
        suite: Some(suite),
        pilot: pilot.names(),
        alpha: policy.alpha,
        forecasts,
        hopeless: hopeless.into_iter().map(|found| format!("{}: {}", found.metric, found.reason)).collect(),
        judges,
    })
}

/// What calibrations say against the judges of the metrics shown.
fn judges(policy: &GatePolicy, shown: &[Spread]) -> Vec<String> {
    let said = |spread: &Spread| {
        let name = &spread.metric;
        let sentence = policy.distrusted.get(name).or_else(|| policy.doubted.get(name))?;
        Some(format!("{name}: {sentence}"))
    };
    shown.iter().filter_map(said).collect()
}

fn check(ask: &Ask) -> Done<()> {
    let wrong = |text: String| Err(Failed::usage(anyhow!(text)));
    let share = |name: &str, value: Option<f64>, least: f64| match value {
        Some(value) if !(value >= least && value < 1.0) => {
            wrong(format!("`--{name} {value}`: expected a number from {least} and below 1"))
        }
        _ => Ok(()),
    };
    share("power", ask.power, 0.05)?;
    share("correlation", ask.correlation, -0.999)?;
    let (example, trial, draw) = ask.costs;
    let amounts = [
        ("budget", ask.budget),
        ("margin", ask.margin),
        ("example-cost", example),
        ("trial-cost", trial),
        ("draw-cost", draw),
    ];
    for (name, value) in amounts {
        if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
            return wrong(format!("`--{name} {value}`: expected a number of 0 or more"));
        }
    }
    match ask.assumed {
        Some(Assumed::Discordance(share, noise)) if !(share > 0.0 && share <= 1.0 && (0.0..=1.0).contains(&noise)) => {
            wrong(format!("`--discordant {share} --noise {noise}`: both are shares, the first above 0 and at most 1"))
        }
        Some(Assumed::Deviation(sd, _)) if !(sd > 0.0 && sd.is_finite()) => {
            wrong(format!("`--sd {sd}`: expected a standard deviation above 0"))
        }
        _ => Ok(()),
    }
}

/// Without a pilot there is no money known but what is said.
fn from_assumed(project: &Project, world: &World, ask: &Ask, assumed: Assumed) -> Done<Planned> {
    let suite = project.suite(ask.suite.as_deref()).ok();
    let examples = match (ask.examples, suite) {
        (Some(examples), _) => examples,
        (None, Some(suite)) => open_dataset(project, world, &suite.dataset)?.len() as u64,
        (None, None) => return Err(Failed::usage(anyhow!("say how many examples there are: `--examples N`"))),
    };
    let policy = suite.map(|suite| suite.gate.clone()).unwrap_or_default();
    let name = ask.metric.clone().unwrap_or_else(|| "metric".to_owned());
    let gated = policy.metrics.get(&name).and_then(|metric| metric.margin);
    let (spread, margin) = match assumed {
        Assumed::Discordance(share, noise) => (Spread::of_discordance(&name, share, noise), gated.unwrap_or(0.05)),
        Assumed::Deviation(sd, correlation) => {
            let Some(margin) = ask.margin.or(gated) else {
                return Err(Failed::usage(anyhow!("say what change matters on that scale: `--margin M`")));
            };
            (Spread::of_deviation(&name, sd, correlation), margin)
        }
    };
    let (example, trial, draw) = ask.costs;
    let costs = (example.unwrap_or(0.0), trial.unwrap_or(0.0), draw.unwrap_or(0.0));
    let wish = Wish {
        margin: ask.margin.unwrap_or(margin),
        alpha: policy.alpha,
        power: ask.power.unwrap_or(DEFAULT_POWER),
        examples,
        most: ask.most,
        trials: ask.trials.or_else(|| suite.map(|suite| suite.trials)).unwrap_or(1),
        draws: ask.draws.or_else(|| suite.and_then(|suite| draws_of(suite, &name))).unwrap_or(1),
        cost: costs,
        budget: ask.budget,
    };
    Ok(Planned {
        suite: suite.map(|suite| suite.name.clone()),
        pilot: Vec::new(),
        alpha: policy.alpha,
        forecasts: vec![compare::forecast(spread, &wish)],
        hopeless: Vec::new(),
        judges: Vec::new(),
    })
}

fn draws_of(suite: &Suite, metric: &str) -> Option<u32> {
    suite.graders.iter().find(|grader| grader.name == metric).and_then(|grader| match &grader.with {
        GraderUse::Judge { draws, .. } => *draws,
        GraderUse::Scorer { .. } => None,
    })
}

struct Pilot {
    baseline: Option<findings::Loaded>,
    candidate: findings::Loaded,
}

impl Pilot {
    fn names(&self) -> Vec<String> {
        let runs = self.baseline.iter().chain([&self.candidate]);
        runs.map(|loaded| loaded.results.header.id.short().to_owned()).collect()
    }
}

/// The runs as typed; else the blessed one with the latest, else the latest alone.
async fn pilot(project: &Project, store: &dyn Store, ask: &Ask) -> Done<Pilot> {
    let suite = ask.suite.as_deref();
    let (baseline, candidate) = match ask.pilot.as_deref() {
        Some(text) => match text.split_once("..") {
            Some((baseline, candidate)) => (
                Some(find_run(project, store, baseline, suite).await?),
                find_run(project, store, candidate, suite).await?,
            ),
            None => (None, find_run(project, store, text, suite).await?),
        },
        None => {
            let name = project.suite(suite)?.name.clone();
            let latest = store.runs(Some(&name), 1).await.map_err(Failed::instrument)?.into_iter().next();
            let Some(latest) = latest.map(|run| run.header.id) else {
                return Err(Failed::usage(anyhow!(
                    "suite `{name}` has no run to plan from; make a small one (`assize run {name} --limit 30 --trials 3`), \
                     or say what you expect: `assize plan --discordant 0.12`"
                )));
            };
            let blessed = store.baseline(&name).await.map_err(Failed::instrument)?.map(|found| found.run);
            (blessed.filter(|run| *run != latest), latest)
        }
    };
    let baseline = match baseline {
        Some(run) => Some(findings::load(store, &run).await?),
        None => None,
    };
    Ok(Pilot { baseline, candidate: findings::load(store, &candidate).await? })
}

/// What one more example, trial and draw of this grader cost in the pilot, unless it is said. A trial carries the target
/// and all other graders.
fn costs(run: &RunResults, ask: &Ask, grader: Option<&GraderInfo>) -> (f64, f64, f64) {
    let totals = &run.totals;
    let trials = (totals.trials_ok + totals.trials_failed).max(1) as f64;
    let (example, trial, draw) = ask.costs;
    let judge = grader.filter(|grader| grader.kind == GraderKind::Judge);
    let per_call = totals.judge_spend.cost_usd / totals.judge_spend.calls.max(1) as f64;
    let of_draw = draw.unwrap_or(if judge.is_some() { per_call } else { 0.0 });
    let draws = f64::from(judge.map_or(0, |judge| judge.draws));
    let whole = (totals.target_spend.cost_usd + totals.judge_spend.cost_usd) / trials;
    (example.unwrap_or(0.0), trial.unwrap_or((whole - draws * per_call).max(0.0)), of_draw)
}

/// The metric asked for, else the gated ones, else all.
fn chosen(found: Vec<Spread>, ask: &Ask, policy: &GatePolicy, suite: &str) -> Done<Vec<Spread>> {
    let known: Vec<String> = found.iter().map(|spread| spread.metric.clone()).collect();
    if let Some(wanted) = &ask.metric {
        let one: Vec<Spread> = found.into_iter().filter(|spread| spread.metric == *wanted).collect();
        if one.is_empty() {
            let there = if known.is_empty() { "none has two scored examples".to_owned() } else { known.join(", ") };
            return Err(Failed::usage(anyhow!(
                "no metric `{wanted}` to plan in the pilot of suite `{suite}`; there is {there}"
            )));
        }
        return Ok(one);
    }
    let is_gated =
        |spread: &Spread| policy.metrics.get(&spread.metric).is_some_and(|metric| metric.role == MetricRole::Gate);
    if found.iter().any(is_gated) {
        return Ok(found.into_iter().filter(is_gated).collect());
    }
    if found.is_empty() {
        return Err(Failed::usage(anyhow!(
            "the pilot of suite `{suite}` has no metric with two scored examples; nothing can be planned from it"
        )));
    }
    Ok(found)
}
