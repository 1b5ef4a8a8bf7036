//! Trials of a judge beyond agreement: does it still say what it said (`drift`), does it say the same of outputs that
//! differ in nothing that matters (`probe`), does it hold against attacks (`attack`), and what its kept calibration makes
//! of a run (`correct`).

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde::Serialize;

use super::agreement::Share;
use super::calibrations::{Calibrations, Entry};
use super::correct::{Corrected, correct};
use super::exit::{Done, Exit, Failed};
use super::judges::{CalibrateAsk, answered_by, labelled, whole_judge};
use super::project::{Project, World};
use super::quarantine::today;
use super::refs::find_run;
use super::services::Services;
use crate::judge::{self, Attack, CalibrateOptions, CalibrationReport, Judge, Labelled, Probe, Tally, attacks, family};
use crate::model::{Output, ScoreValue};
use crate::rubric::addresses_judge;
use crate::stats::{Estimate, PairedCounts, mcnemar, welch};

const LEVEL: f64 = 0.95;
/// Share of changed answers above which a judge has moved, whichever way, when the interval lies above it.
const BORNE: f64 = 0.1;

/// How answers changed between two askings of the same examples.
#[derive(Clone, Debug, Serialize)]
pub struct Moves {
    /// Examples that both times have an answer, and those of them that changed.
    pub changed: Share,
    /// Changed to a higher score.
    pub up: u64,
    /// Changed to a lower one.
    pub down: u64,
    /// Chance of so uneven a split of ups and downs when there is no direction (McNemar, exact).
    pub p: Option<f64>,
}

impl Moves {
    fn of(pairs: &[(ScoreValue, ScoreValue)], report: &CalibrationReport) -> Self {
        let changed = |(then, now): &&(ScoreValue, ScoreValue)| !report.same(then, now);
        let moved: Vec<&(ScoreValue, ScoreValue)> = pairs.iter().filter(changed).collect();
        let gain = |(then, now): &&&(ScoreValue, ScoreValue)| Some(now.number()? - then.number()?);
        let up = moved.iter().filter(|pair| gain(pair).is_some_and(|gain| gain > 0.0)).count() as u64;
        let down = moved.iter().filter(|pair| gain(pair).is_some_and(|gain| gain < 0.0)).count() as u64;
        let n = pairs.len() as u64;
        let p = mcnemar(PairedCounts { improved: up, worsened: down, n }).map(|tests| tests.exact);
        Self { changed: Share::of(Tally { k: moved.len() as u64, n }), up, down, p }
    }

    /// Whether this is more than a wavering judge does by itself.
    fn matter(&self) -> bool {
        let often = self.changed.interval.as_ref().is_some_and(|interval| interval.lo > BORNE);
        often || self.p.is_some_and(|p| p < 1.0 - LEVEL)
    }
}

/// Whether a judge still says what it said when it was calibrated.
#[derive(Debug, Serialize)]
pub struct Drift {
    /// Judge.
    pub judge: String,
    /// Model as it is asked for.
    pub model: String,
    /// Day of the calibration.
    pub calibrated_on: String,
    /// Its age in days.
    pub age_days: i64,
    /// Whether it is too old to be relied on.
    pub expired: bool,
    /// The model that answered then, by its own word.
    pub answered_by_then: Option<String>,
    /// The model that answers now.
    pub answered_by_now: Option<String>,
    /// How answers changed.
    pub moves: Moves,
    /// Agreement with the labels now.
    pub accuracy: Share,
    /// Examples without an answer now.
    pub unscored: u64,
    /// Whether the judge is another one than was calibrated.
    pub drifted: bool,
}

/// Asks a judge again about the examples of its calibration, past the cache.
pub async fn drift(project: &Project, world: &World, ask: &CalibrateAsk) -> Done<(Drift, Exit)> {
    let services = Services::open(project, world, true, None).await?;
    let judge = whole_judge(project, &services, &ask.judge, &ask.model)?;
    let entry = kept(project, &judge)?;
    let ask = CalibrateAsk { dataset: entry.dataset.clone(), ..ask.clone() };
    let (mut examples, _) = labelled(project, judge.spec(), &ask)?;
    examples.retain(|labelled| entry.anchors.contains_key(labelled.example.id.as_str()));
    let report = grade(&judge, &examples).await?;
    let then = |id: &str| {
        let text = entry.anchors.get(id)?;
        let typed = text.parse::<f64>().map_or_else(|_| text.as_str().into(), |number| serde_json::json!(number));
        judge.spec().label_value(&typed)
    };
    let pairs: Vec<(ScoreValue, ScoreValue)> =
        report.rows.iter().filter_map(|row| Some((then(&row.example)?, row.found.clone()?))).collect();
    if pairs.is_empty() {
        let what = format!("no example of the calibration of `{}` has an answer both times", judge.spec().name);
        return Err(Failed::instrument(anyhow!("{what}; run `assize judge calibrate` again")));
    }
    let moves = Moves::of(&pairs, &report);
    let drifted = moves.matter();
    let found = Drift {
        judge: judge.spec().name.clone(),
        model: judge.model().name.clone(),
        calibrated_on: entry.on.to_string(),
        age_days: entry.age_days(today(world)),
        expired: entry.is_expired(today(world)),
        answered_by_then: entry.answered_by.clone(),
        answered_by_now: answered_by(&report, &judge.model().name),
        accuracy: Share::of(report.accuracy),
        unscored: report.rows.iter().filter(|row| row.found.is_none()).count() as u64,
        moves,
        drifted,
    };
    Ok((found, if drifted { Exit::GateFailed } else { Exit::Pass }))
}

/// The kept calibration of exactly this judge.
fn kept(project: &Project, judge: &Judge) -> Done<Entry> {
    let (name, model) = (&judge.spec().name, &judge.model().name);
    let known = Calibrations::read(project)?;
    let entry = known.calibration.into_iter().find(|entry| entry.judge == *name && entry.model == *model);
    let usage = |why: &str| {
        Failed::usage(anyhow!(
            "judge `{name}` with model `{model}` {why}; run `assize judge calibrate {name}` with it first"
        ))
    };
    let entry = entry.ok_or_else(|| usage("was never calibrated here"))?;
    if entry.digest != *judge.digest() {
        return Err(usage("has changed since it was calibrated"));
    }
    Ok(entry)
}

async fn grade(judge: &Judge, examples: &[Labelled]) -> Done<CalibrationReport> {
    let options = CalibrateOptions { draws: judge.spec().draws, concurrency: 16 };
    let report = judge::calibrate(judge, judge.spec(), examples, options, &|_| {}).await;
    match &report.fatal {
        Some(failure) => Err(Failed::instrument(failure.clone())),
        None => Ok(report),
    }
}

/// What a judge does when nothing that matters changes.
#[derive(Debug, Serialize)]
pub struct Probed {
    /// Judge.
    pub judge: String,
    /// Model.
    pub model: String,
    /// Labelled examples.
    pub examples: u64,
    /// By kind of change.
    pub probes: Vec<Bias>,
    /// Leniency towards outputs of models of the judge's own family against others'; `None` where it is not known which
    /// model wrote what, or one side is empty.
    pub own_family: Option<OwnFamily>,
    /// US dollars spent.
    pub cost_usd: f64,
}

/// What one kind of change does.
#[derive(Debug, Serialize)]
pub struct Bias {
    /// `length`, `formatting`, `paraphrase` or `order`.
    pub probe: &'static str,
    /// How answers changed; `None` where the change applies to no example.
    pub moves: Option<Moves>,
    /// Whether the change moves the judge more than a wavering judge would move by itself.
    pub biased: bool,
}

/// How much better than people think a judge finds its own family.
#[derive(Debug, Serialize)]
pub struct OwnFamily {
    /// The family.
    pub family: &'static str,
    /// Outputs of it.
    pub own: u64,
    /// Outputs of others.
    pub others: u64,
    /// Mean of judge minus people on its own, minus the same on the others (Welch).
    pub difference: Estimate,
}

/// Asks a judge about its labelled examples, and about each of them changed in what must not matter.
pub async fn probe(project: &Project, world: &World, ask: &CalibrateAsk) -> Done<Probed> {
    let services = Services::open(project, world, false, None).await?;
    let judge = whole_judge(project, &services, &ask.judge, &ask.model)?;
    let (examples, _) = labelled(project, judge.spec(), ask)?;
    let plain = grade(&judge, &examples).await?;
    let found: BTreeMap<&str, &ScoreValue> =
        plain.rows.iter().filter_map(|row| Some((row.example.as_str(), row.found.as_ref()?))).collect();
    let (mut probes, mut cost_usd) = (Vec::new(), plain.spend.cost_usd);
    for probe in Probe::ALL {
        let twisted: Vec<Labelled> = examples.iter().filter_map(|labelled| probe.twist(labelled)).collect();
        let report = grade(&judge, &twisted).await?;
        cost_usd += report.spend.cost_usd;
        let turn = |value: &ScoreValue| if probe == Probe::Order { mirrored(value) } else { value.clone() };
        let pairs: Vec<(ScoreValue, ScoreValue)> = report
            .rows
            .iter()
            .filter_map(|row| Some((turn(found.get(row.example.as_str())?), row.found.clone()?)))
            .collect();
        let moves = (!pairs.is_empty()).then(|| Moves::of(&pairs, &report));
        let biased = moves.as_ref().is_some_and(Moves::matter);
        probes.push(Bias { probe: probe.as_str(), moves, biased });
    }
    let own_family = own_family(&judge.model().name, &examples, &plain);
    let (judge, model) = (judge.spec().name.clone(), judge.model().name.clone());
    Ok(Probed { judge, model, examples: examples.len() as u64, probes, own_family, cost_usd })
}

/// The answer about a pair in the other order.
fn mirrored(value: &ScoreValue) -> ScoreValue {
    match value {
        ScoreValue::Label { label, number } => {
            let label = match label.as_str() {
                "first" => "second",
                "second" => "first",
                other => other,
            };
            let number = number.and_then(|number| crate::model::Finite::new(1.0 - number.get()));
            ScoreValue::Label { label: label.to_owned(), number }
        }
        other => other.clone(),
    }
}

fn own_family(model: &str, examples: &[Labelled], report: &CalibrationReport) -> Option<OwnFamily> {
    let own_name = family(model)?;
    let writers: BTreeMap<&str, &'static str> = examples
        .iter()
        .filter_map(|labelled| Some((labelled.example.id.as_str(), family(&writer(labelled)?)?)))
        .collect();
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for row in &report.rows {
        let Some(writer) = writers.get(row.example.as_str()) else { continue };
        let Some((found, person)) = row.found.as_ref().and_then(ScoreValue::number).zip(row.expected.number()) else {
            continue;
        };
        if *writer == own_name { &mut own } else { &mut others }.push(found - person);
    }
    (!own.is_empty() && !others.is_empty()).then(|| OwnFamily {
        family: own_name,
        own: own.len() as u64,
        others: others.len() as u64,
        difference: welch(&others, &own, LEVEL),
    })
}

/// The model that wrote an output: named by the output, the example, or the variant.
fn writer(labelled: &Labelled) -> Option<String> {
    let named = |data: Option<&serde_json::Value>| data.and_then(|name| name.as_str()).map(str::to_owned);
    let variant = || labelled.example.recorded.first().and_then(|recorded| recorded.variant.clone());
    named(labelled.output.metadata.get("model"))
        .or_else(|| named(labelled.example.metadata.get("model")))
        .or_else(variant)
}

/// What became of the attacks.
#[derive(Debug, Serialize)]
pub struct Attacked {
    /// Judge.
    pub judge: String,
    /// Model.
    pub model: String,
    /// The labelled example that every attack was put behind.
    pub example: String,
    /// What the judge says of it without any.
    pub score: String,
    /// Attacks, and those that turned the score to a better one.
    pub turned: Share,
    /// The attacks that turned it: name, kind, score.
    pub which: Vec<(String, String, String)>,
    /// Attacks without a score.
    pub unscored: u64,
    /// Attacks in which text that addresses the judge was found without a model.
    pub found: u64,
    /// Attacks of which the judge itself said that the material tries to steer it.
    pub noticed: u64,
    /// US dollars spent.
    pub cost_usd: f64,
}

/// Puts each attack of the shipped corpus behind an output that the judge finds bad, and counts what turns.
pub async fn attack(project: &Project, world: &World, ask: &CalibrateAsk) -> Done<(Attacked, Exit)> {
    let services = Services::open(project, world, false, None).await?;
    let judge = whole_judge(project, &services, &ask.judge, &ask.model)?;
    let (examples, _) = labelled(project, judge.spec(), ask)?;
    let plain = grade(&judge, &examples).await?;
    let (base, score) = worst(&examples, &plain).ok_or_else(|| {
        Failed::usage(anyhow!(
            "judge `{}` finds none of the labelled outputs bad that people find bad; there is nothing to turn",
            judge.spec().name
        ))
    })?;
    let attacked: Vec<Labelled> = attacks().iter().map(|attack| with_attack(base, attack)).collect();
    let report = grade(&judge, &attacked).await?;
    let better = |value: &ScoreValue| value.number().zip(score.number()).is_some_and(|(now, then)| now > then);
    let which: Vec<(String, String, String)> = report
        .rows
        .iter()
        .zip(attacks())
        .filter_map(|(row, attack)| Some((row.found.as_ref().filter(|value| better(value))?, attack)))
        .map(|(value, attack)| (attack.id.clone(), attack.kind.clone(), value.to_string()))
        .collect();
    let noticed = |row: &&judge::Row| row.scores.iter().any(|score| score.details["injection_attempt"] == true);
    let turned = Share::of(Tally { k: which.len() as u64, n: report.rows.len() as u64 });
    let exit = if which.is_empty() { Exit::Pass } else { Exit::GateFailed };
    let found = Attacked {
        judge: judge.spec().name.clone(),
        model: judge.model().name.clone(),
        example: base.example.id.to_string(),
        score: score.to_string(),
        turned,
        which,
        unscored: report.rows.iter().filter(|row| row.found.is_none()).count() as u64,
        found: attacks().iter().filter(|attack| !addresses_judge(&attack.text).is_empty()).count() as u64,
        noticed: report.rows.iter().filter(noticed).count() as u64,
        cost_usd: plain.spend.cost_usd + report.spend.cost_usd,
    };
    Ok((found, exit))
}

/// The first output that is worst by people's word and by the judge's, among those with a text.
fn worst<'a>(examples: &'a [Labelled], report: &CalibrationReport) -> Option<(&'a Labelled, ScoreValue)> {
    let rows = || examples.iter().zip(&report.rows).filter(|(labelled, _)| !labelled.output.text().trim().is_empty());
    let least = rows().filter_map(|(labelled, _)| labelled.expected.number()).reduce(f64::min)?;
    let best = rows().filter_map(|(labelled, _)| labelled.expected.number()).reduce(f64::max)?;
    rows().find_map(|(labelled, row)| {
        let found = row.found.clone()?;
        let bad = labelled.expected.number() == Some(least) && found.number().is_some_and(|number| number < best);
        bad.then_some((labelled, found))
    })
}

fn with_attack(base: &Labelled, attack: &Attack) -> Labelled {
    let mut attacked = base.clone();
    let text = format!("{}\n\n{}", base.output.text(), attack.text);
    attacked.output = Output { value: text.into(), ..base.output.clone() };
    attacked
}

/// Sets a judge's figure of a run right by its kept calibration; asks nobody.
pub async fn correct_run(project: &Project, world: &World, ask: &CalibrateAsk, anyway: bool) -> Done<Corrected> {
    let services = Services::open(project, world, false, None).await?;
    let judge = whole_judge(project, &services, &ask.judge, &ask.model)?;
    let entry = kept(project, &judge)?;
    let name = &judge.spec().name;
    if entry.is_expired(today(world)) && !anyway {
        return Err(Failed::usage(anyhow!(
            "the calibration of `{name}` is {} days old; run `assize judge calibrate {name}` again, or go on with \
             `--anyway`",
            entry.age_days(today(world))
        )));
    }
    let store = project.store(&world.env).await?;
    let wanted = ask.run.as_deref().unwrap_or("latest");
    let id = find_run(project, store.as_ref(), wanted, None).await?;
    let header = store.find_run(id.as_str()).await.map_err(Failed::instrument)?.header;
    let graders = || header.graders.iter().filter(|grader| grader.component == *name);
    if graders().count() > 0 && graders().all(|grader| grader.digest != entry.digest) && !anyway {
        return Err(Failed::usage(anyhow!(
            "run `{id}` was judged by another `{name}` (rubric, model or parameters differ) than was calibrated; judge it \
             again, or go on with `--anyway`"
        )));
    }
    correct(project, store.as_ref(), id.as_str(), judge.spec(), entry.errors).await
}
