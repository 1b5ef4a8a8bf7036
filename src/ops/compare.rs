//! `assize compare` and `assize report`: findings from the store, reports from findings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::anyhow;

use super::bundles;
use super::decide::metas_of;
use super::evidence::{self, Evidence};
use super::exit::{Done, Exit, Failed};
use super::findings::{self, Loaded};
use super::outputs::{self, Wanted, Written};
use super::places;
use super::project::{Project, World};
use super::quarantine::{Quarantine, today};
use super::refs::find_run;
use super::standing::weigh;
use crate::compare::{self, Blessing, Comparison, Details, Difference, ExampleMeta, RunCard, RunView, TrialDetail};
use crate::config::OnInconclusive;
use crate::model::{GatePolicy, RunId, Verdict};
use crate::report::{Material, Subject};
use crate::store::Store;
use crate::sys::text;

/// A comparison with what its reports need.
pub struct Compared {
    /// Findings.
    pub comparison: Comparison,
    /// Opened examples.
    pub details: Details,
    /// Reports written.
    pub written: Vec<Written>,
    /// How the command ends.
    pub exit: Exit,
}

/// A run's findings with what its reports need.
pub struct Viewed {
    /// Findings.
    pub view: RunView,
    /// Opened examples.
    pub details: Details,
    /// Reports written.
    pub written: Vec<Written>,
    /// How the command ends.
    pub exit: Exit,
}

/// What is asked of a comparison.
pub struct Ask<'a> {
    /// Run compared against, as typed.
    pub baseline: &'a str,
    /// Run being judged, as typed.
    pub candidate: &'a str,
    /// Suite, for `baseline` and `latest`.
    pub suite: Option<&'a str>,
    /// Differences allowed by name.
    pub allow: &'a [String],
    /// Reports, as typed.
    pub reports: &'a [String],
}

/// Compares two runs of the store.
pub async fn compare(project: &Project, world: &World, ask: Ask<'_>) -> Done<Compared> {
    let wanted = outputs::plan(ask.reports, &world.here)?;
    check_allowances(ask.allow)?;
    let (store, names) = bundles::open(project, world, &[ask.baseline, ask.candidate]).await?;
    let mut ids = Vec::new();
    for name in &names {
        ids.push(find_run(project, store.as_ref(), name, ask.suite).await?);
    }
    let [baseline, candidate] = ids.as_slice() else { return Err(Failed::usage(anyhow!("two runs are compared"))) };
    compare_runs(project, world, store.as_ref(), (baseline, candidate), ask.allow, &wanted, None).await
}

/// Compares two known runs and writes the reports. `chosen` says why this baseline, where a rule chose it.
pub async fn compare_runs(
    project: &Project,
    world: &World,
    store: &dyn Store,
    (baseline, candidate): (&RunId, &RunId),
    allow: &[String],
    wanted: &[Wanted],
    chosen: Option<String>,
) -> Done<Compared> {
    let (baseline, candidate) = findings::load_both(store, baseline, candidate).await?;
    let suite = &candidate.results.header.suite;
    let mut policy = policy_of(project, world, suite)?;
    weigh(&mut policy, project, [&baseline.results.header, &candidate.results.header])?;
    let metas = metas_of(&baseline, &candidate);
    let Evidence { features, breakdown } = evidence::gather(store, &baseline, &candidate).await?;
    let (before, after) = (&baseline.results, &candidate.results);
    let mut comparison = compare::compare_with(before, after, &metas, &policy, allow, &features);
    comparison.breakdown = breakdown;
    evidence::set_beside(store, &baseline, &candidate, &mut comparison).await?;
    comparison.baseline.chosen = chosen;
    bless_card(store, &mut comparison.baseline, &baseline).await?;
    bless_card(store, &mut comparison.candidate, &candidate).await?;
    let details = findings::details(store, Some(&baseline.results), &candidate.results, &comparison.examples).await?;
    comparison.comparability.differences.extend(served(&details));
    let subject = Subject::Comparison(&comparison);
    let places = places::of(project, suite);
    let made_at = world.clock.now();
    let written = outputs::write(wanted, &Material { subject, details: &details, made_at, places: places.as_ref() })?;
    let exit = exit_of(comparison.verdict, comparison.instrument_failed, on_inconclusive(project, suite));
    Ok(Compared { comparison, details, written, exit })
}

/// The models that servers say they answered with, where they differ between the runs: a name in the configuration may
/// stand for another snapshot today. Seen in the examples that the report opens.
fn served(details: &Details) -> Option<Difference> {
    let of = |trials: &mut dyn Iterator<Item = &TrialDetail>| {
        let mut models = BTreeSet::new();
        for trace in trials.filter_map(|trial| trial.trace.as_ref()) {
            models.extend(trace.spans.iter().filter_map(|span| span.model.as_ref()?.response.clone()));
        }
        models.into_iter().collect::<Vec<_>>().join(", ")
    };
    let baseline = of(&mut details.iter().flat_map(|example| &example.baseline));
    let candidate = of(&mut details.iter().flat_map(|example| &example.candidate));
    let differ = baseline != candidate && !baseline.is_empty() && !candidate.is_empty();
    let what = "target.model served".to_owned();
    differ.then_some(Difference { what, baseline, candidate, blocking: false, allowed: false })
}

/// Puts by whose word a run is a baseline on its card.
async fn bless_card(store: &dyn Store, card: &mut RunCard, loaded: &Loaded) -> Done<()> {
    let found = bundles::blessing_of(store, &loaded.results.header).await?;
    card.blessing = found.map(|found| Blessing { by: found.by, at: found.at, reason: found.reason });
    Ok(())
}

/// Findings of one run and its reports.
pub async fn view_run(
    project: &Project,
    world: &World,
    store: &dyn Store,
    run: &RunId,
    wanted: &[Wanted],
) -> Done<Viewed> {
    let loaded = findings::load(store, run).await?;
    let suite = loaded.results.header.suite.clone();
    let mut policy = policy_of(project, world, &suite)?;
    weigh(&mut policy, project, [&loaded.results.header])?;
    let mut view = compare::summarize(&loaded.results, &loaded.metas, &policy);
    bless_card(store, &mut view.run, &loaded).await?;
    let details = findings::details(store, None, &loaded.results, &view.examples).await?;
    let places = places::of(project, &suite);
    let (subject, made_at) = (Subject::Run(&view), world.clock.now());
    let material = Material { subject, details: &details, made_at, places: places.as_ref() };
    let written = outputs::write(wanted, &material)?;
    let exit = match view.verdict {
        Some(verdict) => exit_of(verdict, view.instrument_failed, on_inconclusive(project, &suite)),
        None if view.instrument_failed || measured_nothing(&view) => Exit::Instrument,
        None => Exit::Pass,
    };
    Ok(Viewed { view, details, written, exit })
}

/// Whether a grader gave not one score because it failed each time. Nothing demands that it gives any when it is not
/// gated, but a run whose judge never answered has not done what was asked.
fn measured_nothing(view: &RunView) -> bool {
    view.metrics
        .iter()
        .any(|metric| metric.estimate.n == 0 && metric.unscored.keys().any(|reason| reason.is_instrument_failure()))
}

/// What kept graders from scoring, once per grader and reason, with the words of the first time.
pub fn unscored_causes(details: &Details) -> Vec<String> {
    let mut causes = BTreeMap::new();
    let trials = details.iter().flat_map(|example| &example.candidate);
    for score in trials.flat_map(|trial| &trial.scores) {
        if let Some(unscored) = score.scored.as_ref().err().filter(|unscored| unscored.reason.is_instrument_failure()) {
            let key = (score.grader.clone(), unscored.reason);
            causes.entry(key).or_insert_with(|| text::one_line(&unscored.detail, 300));
        }
    }
    let words = causes.into_iter().map(|((grader, reason), detail)| {
        format!("{grader} is unscored somewhere ({}): {detail}", reason.as_str().replace('_', " "))
    });
    words.collect()
}

/// How many scores were given over material that addresses a judge, found by its words or noticed by the judge; once per
/// grader. Such outputs are worth a look, whatever the score.
pub fn hostile_material(details: &Details) -> Vec<String> {
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let trials = details.iter().flat_map(|example| &example.candidate);
    for score in trials.flat_map(|trial| &trial.scores) {
        let Ok(found) = &score.scored else { continue };
        let is = |name: &str| u64::from(found.details.get(name).is_some_and(|flag| flag == true));
        let (by_words, by_judge) = (is("addresses_judge"), is("injection_attempt"));
        if by_words + by_judge > 0 {
            let count = counts.entry(score.grader.clone()).or_default();
            *count = (count.0 + by_words, count.1 + by_judge);
        }
    }
    let words = counts.into_iter().map(|(grader, (by_words, by_judge))| {
        format!(
            "{grader}: {by_words} outputs hold text that addresses a judge, of {by_judge} the judge says that they try to \
             steer it; look at them before you trust their scores"
        )
    });
    words.collect()
}

/// A report made again: of one run, or of two as `BASE..CANDIDATE`.
pub enum Again {
    /// One run.
    Run(Box<Viewed>),
    /// Two runs.
    Comparison(Box<Compared>),
}

/// Makes reports again from the store.
pub async fn report(
    project: &Project,
    world: &World,
    subject: &str,
    suite: Option<&str>,
    allow: &[String],
    reports: &[String],
) -> Done<Again> {
    if let Some((baseline, candidate)) = two_runs(subject) {
        let ask = Ask { baseline, candidate, suite, allow, reports };
        return Ok(Again::Comparison(Box::new(compare(project, world, ask).await?)));
    }
    let wanted = outputs::plan(reports, &world.here)?;
    let (store, names) = bundles::open(project, world, &[subject]).await?;
    let name = names.first().map_or(subject, String::as_str);
    let run = find_run(project, store.as_ref(), name, suite).await?;
    Ok(Again::Run(Box::new(view_run(project, world, store.as_ref(), &run, &wanted).await?)))
}

/// The two sides of `BASE..CANDIDATE`. Points that belong to a path (`../main.assize`) divide nothing.
pub(super) fn two_runs(subject: &str) -> Option<(&str, &str)> {
    let mut cuts = subject.match_indices("..").map(|(place, _)| (&subject[..place], &subject[place + 2..]));
    cuts.find(|(left, right)| !left.is_empty() && !left.ends_with('/') && !right.is_empty())
}

/// The demands of a suite as of today, with its examples in quarantine; a run of a suite that is no longer configured is
/// shown without any.
pub fn policy_of(project: &Project, world: &World, suite: &str) -> Done<GatePolicy> {
    let Some(found) = project.config.suites.get(suite) else { return Ok(GatePolicy::default()) };
    let today = today(world);
    let quarantine = Quarantine::read(project)?.reasons(suite, today);
    Ok(GatePolicy { today: Some(today), quarantine, ..found.gate.clone() })
}

/// Refuses names of differences that there are not: a misspelled one would allow nothing and say nothing.
pub fn check_allowances(allow: &[String]) -> Done<()> {
    match allow.iter().find(|name| !compare::is_allowance(name)) {
        Some(name) => Err(Failed::usage(anyhow!(
            "`--allow {name}`: no such difference; there is dataset, sampler, trials, prices, grader, grader:NAME, \
             judge, scorer, rubric and model"
        ))),
        None => Ok(()),
    }
}

pub(super) fn on_inconclusive(project: &Project, suite: &str) -> OnInconclusive {
    project.config.suites.get(suite).map(|suite| suite.on_inconclusive).unwrap_or_default()
}

pub(super) fn exit_of(verdict: Verdict, instrument_failed: bool, on_inconclusive: OnInconclusive) -> Exit {
    if instrument_failed {
        return Exit::Instrument;
    }
    match (verdict, on_inconclusive) {
        (Verdict::Pass, _) | (Verdict::Inconclusive, OnInconclusive::Pass) => Exit::Pass,
        (Verdict::Fail, _) | (Verdict::Inconclusive, OnInconclusive::Fail) => Exit::GateFailed,
        (Verdict::Inconclusive, OnInconclusive::Report) => Exit::Inconclusive,
    }
}

/// Examples of both runs; where both know one, the candidate's word holds.
pub fn all_metas(baseline: &Loaded, candidate: &Loaded) -> Arc<Vec<ExampleMeta>> {
    if Arc::ptr_eq(&baseline.metas, &candidate.metas) {
        return candidate.metas.clone();
    }
    let known: BTreeSet<_> = candidate.metas.iter().map(|meta| &meta.id).collect();
    let only_baseline = baseline.metas.iter().filter(|meta| !known.contains(&meta.id));
    Arc::new(candidate.metas.iter().chain(only_baseline).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::two_runs;

    #[test]
    fn points_of_paths_divide_nothing() {
        assert_eq!(two_runs("1c9e44d0..7f3a91c2"), Some(("1c9e44d0", "7f3a91c2")));
        assert_eq!(two_runs("../main.assize"), None);
        assert_eq!(two_runs("a/../main.assize"), None);
        assert_eq!(two_runs("../main.assize..latest"), Some(("../main.assize", "latest")));
        assert_eq!(two_runs("main.assize..../b.assize"), Some(("main.assize", "../b.assize")));
        assert_eq!(two_runs("latest.."), None);
    }
}
