//! `run --until-decided`: looks at a run while it goes on, stops it when its verdict is settled, and reckons what that saved.
//!
//! The verdict is `compare`'s, over the examples so far; here is only when to look.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use serde::Serialize;

use super::compare::{all_metas, policy_of};
use super::examples::Chosen;
use super::exit::{Done, Failed};
use super::findings::{self, Loaded};
use super::project::{Project, World};
use super::refs::{find_run, no_baseline};
use super::run::Planned;
use super::standing::weigh;
use crate::compare::{self, Comparison, ExampleMeta, Fold, RunResults};
use crate::model::{
    Event, GatePolicy, GraderKind, JournalEntry, MetricRole, RunHeader, RunId, RunTotals, UntilDecided, Verdict,
    trial_place,
};
use crate::runner::{Control, Examples, Listener};
use crate::store::Store;

/// Share by which a run grows between two looks. Looking costs no validity, only the time of a comparison.
const GROWTH: f64 = 0.03;

/// How a run that stops early is asked for.
#[derive(Clone, Debug, Default)]
pub struct Until {
    /// Run to compare with, as typed; the blessed one when absent.
    pub baseline: Option<String>,
    /// Differences allowed by name.
    pub allow: Vec<String>,
}

/// What a run is looked at with.
pub struct Plan {
    /// What stands in the header.
    pub marked: UntilDecided,
    /// Places of the examples in the order of their trial.
    pub order: Arc<Vec<u32>>,
    baseline: Loaded,
    metas: Vec<ExampleMeta>,
    policy: GatePolicy,
    allow: Vec<String>,
}

/// What came of looking.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// Run that it was compared with.
    pub baseline: RunId,
    /// Whether the run stopped because its verdict was settled.
    pub settled: bool,
    /// The verdict over the examples that count.
    pub verdict: Verdict,
    /// Whether it is about the instrument, not the target.
    pub instrument_failed: bool,
    /// It in one sentence.
    pub headline: String,
    /// How often the run was looked at.
    pub looks: u64,
    /// What stopping saved.
    pub savings: Savings,
}

/// What a run took, of what it would have taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Savings {
    /// Examples that were begun, and of how many.
    pub examples: (u64, u64),
    /// Calls of the target (or recorded outputs read), and of how many.
    pub trials: (u64, u64),
    /// Answers of judges, from the cache or not, and of how many.
    pub judge_answers: (u64, u64),
    /// US dollars spent on calls with a known price.
    pub spent_usd: f64,
    /// US dollars that the rest would have cost at the same price per trial; `None` where nothing was spent or some
    /// calls have no known price.
    pub saved_usd: Option<f64>,
}

/// Makes ready to look at a run, or refuses before anything is spent. `earlier` is the run that goes on.
pub async fn prepare(
    project: &Project,
    world: &World,
    store: &dyn Store,
    until: &Until,
    header: &RunHeader,
    examples: &Chosen,
    earlier: Option<&UntilDecided>,
) -> Done<Plan> {
    let baseline = match (earlier, &until.baseline) {
        (Some(marked), _) => marked.baseline.clone(),
        (None, Some(wanted)) => find_run(project, store, wanted, Some(&header.suite)).await?,
        (None, None) => match store.baseline(&header.suite).await.map_err(Failed::instrument)? {
            Some(baseline) => baseline.run,
            None => return Err(no_baseline(&header.suite)),
        },
    };
    let mut policy = policy_of(project, world, &header.suite)?;
    if !policy.metrics.values().any(|demanded| demanded.role == MetricRole::Gate) {
        return Err(Failed::usage(anyhow!(
            "`--until-decided` needs a gate, and suite `{}` gates no metric; name one under its `gate`",
            header.suite
        )));
    }
    let baseline = findings::load(store, &baseline).await?;
    weigh(&mut policy, project, [&baseline.results.header, header])?;
    refuse_chance(&policy)?;
    let rule = UntilDecided::RULE.to_owned();
    let marked = UntilDecided { baseline: baseline.results.header.id.clone(), rule };
    let mut metas = Vec::with_capacity(examples.len());
    for index in 0..examples.len() {
        let example = examples.load(index).map_err(|error| Failed::usage(anyhow!(error)))?;
        metas.push(ExampleMeta::of(&example));
    }
    let order = Arc::new(order(&metas, header.seed));
    let plan = Plan { marked, order, baseline, metas, policy, allow: until.allow.clone() };
    plan.refuse_the_incomparable(header)?;
    Ok(plan)
}

/// A metric whose judge is no better than chance is never settled: the run would go on to its end and decide nothing.
fn refuse_chance(policy: &GatePolicy) -> Done<()> {
    let gated = policy.metrics.iter().filter(|(_, demanded)| demanded.role == MetricRole::Gate);
    match gated.filter_map(|(name, _)| policy.distrusted.get_key_value(name)).next() {
        Some((name, sentence)) => {
            Err(Failed::usage(anyhow!("`--until-decided` can decide nothing: `{name}`: {sentence}")))
        }
        None => Ok(()),
    }
}

/// Clusters in their seeded order, the examples of each as in the dataset.
fn order(metas: &[ExampleMeta], seed: u64) -> Vec<u32> {
    let mut places: Vec<(usize, &ExampleMeta)> = metas.iter().enumerate().collect();
    places.sort_by_cached_key(|(place, meta)| (trial_place(seed, &meta.cluster), meta.cluster.clone(), *place));
    places.into_iter().filter_map(|(place, _)| u32::try_from(place).ok()).collect()
}

impl Plan {
    /// A comparison that nothing could settle must not cost anything.
    fn refuse_the_incomparable(&self, header: &RunHeader) -> Done<()> {
        let mut fold = Fold::new();
        let event = Event::RunStarted { header: Box::new(header.clone()) };
        fold.push(JournalEntry { seq: 0, at: header.created_at, event }).map_err(Failed::instrument)?;
        let empty = fold.finish().map_err(Failed::instrument)?;
        let found = compare::comparability(&self.baseline.results, &empty, &self.policy, &self.allow);
        let blocking: Vec<String> = found
            .differences
            .iter()
            .filter(|difference| difference.blocking && !difference.allowed)
            .map(|difference| format!("`{}`", difference.what))
            .collect();
        if blocking.is_empty() {
            return Ok(());
        }
        Err(Failed::usage(anyhow!(
            "run `{}` is no baseline to stop by: {} differs; run the baseline again as this run is set up",
            self.marked.baseline,
            blocking.join(", ")
        )))
    }

    fn compare(&self, candidate: &RunResults) -> Comparison {
        compare::compare(&self.baseline.results, candidate, &self.metas, &self.policy, &self.allow)
    }

    /// What looks at the run. `fold` holds what an earlier sitting did.
    pub fn watcher(self: &Arc<Self>, fold: Fold, control: Control) -> (Box<dyn Listener>, Looks) {
        let looks = Looks::default();
        let watcher = Watcher { plan: Arc::clone(self), fold, control, next: 0, looks: looks.clone() };
        (Box::new(watcher), looks)
    }

    /// What came of it, over the whole run.
    pub fn decision(&self, results: &RunResults, settled: bool, looks: u64, planned: &Planned) -> Decision {
        let found = self.compare(results);
        Decision {
            baseline: self.marked.baseline.clone(),
            settled,
            verdict: found.verdict,
            instrument_failed: found.instrument_failed,
            headline: found.headline,
            looks,
            savings: savings(results, planned),
        }
    }
}

/// How often a run was looked at; clones count the same run.
#[derive(Clone, Debug, Default)]
pub struct Looks(Arc<Mutex<u64>>);

impl Looks {
    /// How often so far.
    pub fn count(&self) -> u64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) -> u64 {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *looks += 1;
        *looks
    }
}

struct Watcher {
    plan: Arc<Plan>,
    fold: Fold,
    control: Control,
    /// Trials that must have ended before the next look.
    next: u64,
    looks: Looks,
}

impl Listener for Watcher {
    fn name(&self) -> &str {
        "early stopping"
    }

    fn on_entry(&mut self, entry: &JournalEntry, totals: &RunTotals) -> Result<(), String> {
        self.fold.push(entry.clone()).map_err(|error| error.to_string())?;
        let ended = totals.trials_ok + totals.trials_failed;
        let is_finding = matches!(entry.event, Event::TargetFinished { .. } | Event::ScoreFinished { .. });
        if !is_finding || ended < self.next.max(self.plan.policy.min_pairs) || self.control.is_stopped() {
            return Ok(());
        }
        let Some(results) = self.fold.results() else { return Ok(()) };
        self.next = ended + ((ended as f64 * GROWTH) as u64).max(1);
        let looks = self.looks.add();
        let found = self.plan.compare(results);
        if found.verdict != Verdict::Inconclusive && !found.instrument_failed {
            self.control.settle(UntilDecided::RULE, looks);
        }
        Ok(())
    }
}

/// What an earlier sitting journaled, for the one that goes on.
pub async fn earlier(store: &dyn Store, run: &RunId) -> Done<Fold> {
    let mut fold = Fold::new();
    findings::replay(store, run, &mut fold).await?;
    Ok(fold)
}

/// Examples of both runs; where a run was looked at, its own, because they say which there are.
pub fn metas_of(baseline: &Loaded, candidate: &Loaded) -> Arc<Vec<ExampleMeta>> {
    let looked = [candidate, baseline].into_iter().find(|run| run.results.header.until_decided.is_some());
    looked.map_or_else(|| all_metas(baseline, candidate), |run| run.metas.clone())
}

fn savings(results: &RunResults, planned: &Planned) -> Savings {
    let totals = &results.totals;
    let judges = |info: &&crate::model::GraderInfo| info.kind == GraderKind::Judge;
    let draws: u64 = results.header.graders.iter().filter(judges).map(|info| u64::from(info.draws)).sum();
    let answers = results.examples.values().flat_map(|example| example.trials.values()).map(|trial| {
        let of = |info: &crate::model::GraderInfo| {
            trial.scores.get(info.name.as_str()).map_or(0, |draws| draws.len() as u64)
        };
        results.header.graders.iter().filter(judges).map(of).sum::<u64>()
    });
    let ended = totals.trials_ok + totals.trials_failed;
    let spent = totals.target_spend.cost_usd + totals.judge_spend.cost_usd;
    let unpriced = totals.target_spend.unpriced_calls + totals.judge_spend.unpriced_calls;
    let left = totals.trials_planned.saturating_sub(ended);
    Savings {
        examples: (results.examples.len() as u64, planned.examples),
        trials: (ended, totals.trials_planned),
        judge_answers: (answers.sum(), totals.trials_planned * draws),
        spent_usd: spent,
        saved_usd: (spent > 0.0 && unpriced == 0 && ended > 0).then(|| spent / ended as f64 * left as f64),
    }
}
