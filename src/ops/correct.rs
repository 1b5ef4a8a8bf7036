//! What a judge says of a run, raw and set right by people, side by side.
//!
//! Reads stored scores and the dataset's labels; asks nobody. When labels are a random sample of the run's outputs, as
//! `labels queue` draws them, they correct by PPI++. What the judge did on labels from elsewhere corrects yes-or-no
//! figures by Rogan and Gladen, on the belief that it errs here as it did there. Else the figure stands uncorrected,
//! and says so.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde::Serialize;

use super::datasets::open;
use super::exit::{Done, Failed};
use super::findings::{self, Loaded};
use super::project::Project;
use super::refs::find_run;
use crate::model::{Example, ExampleId, GraderInfo, GraderKind, RunHeader, ScoreValue};
use crate::rubric::{JudgeSpec, RubricScale, parse_label, reduce};
use crate::stats::{
    Confusion, Estimate, FEWEST_LABELS, JudgedCounts, PpiSample, Status, Tuning, allocate_labels, mean_weighted,
    ppi_mean, rogan_gladen,
};
use crate::store::Store;

const LEVEL: f64 = 0.95;
/// Labels that advice on labelling speaks of.
const ADVISED_LABELS: u64 = 100;

/// The figure of a judge over a run, and what people make of it.
#[derive(Debug, Serialize)]
pub struct Corrected {
    /// Run.
    pub run: String,
    /// The grader in that run.
    pub grader: String,
    /// What the judge says, over all examples it scored.
    pub raw: Estimate,
    /// Examples of which people labelled outputs that this judge scored in this run.
    pub labels: u64,
    /// Set right by those labels (PPI++, jackknife); `None` when they are too few.
    pub corrected: Option<Estimate>,
    /// How much of the judge is in it, from 0 (labels alone) to 1.
    pub trust: Option<f64>,
    /// Set right by how the judge did on labels from elsewhere (Rogan and Gladen); yes-or-no judges only.
    pub by_its_errors: Option<Estimate>,
    /// Why the figure is not calibrated; `None` when labels of this run correct it.
    pub not_calibrated: Option<String>,
    /// What a careful reader should know.
    pub warnings: Vec<String>,
}

/// Corrects the figure of the judge `spec` over a stored run. `elsewhere` is how it did on its calibration examples.
pub async fn correct(
    project: &Project,
    store: &dyn Store,
    run: &str,
    spec: &JudgeSpec,
    elsewhere: Option<Confusion>,
) -> Done<Corrected> {
    let id = find_run(project, store, run, None).await?;
    let loaded = findings::load(store, &id).await?;
    let header = &loaded.results.header;
    let grader = grader_of(header, spec)?;
    let mut warnings = Vec::new();
    let said = People::of(project, header, spec, &mut warnings);
    let rows = rows(&loaded, &grader.name, &said);
    if grader.version != spec.version {
        warnings.push(format!(
            "the run was judged by version {} of `{}`, this is {}",
            grader.version, spec.name, spec.version
        ));
    }
    let mut found = Corrected {
        run: id.to_string(),
        grader: grader.name.clone(),
        raw: raw(&rows, matches!(spec.scale, RubricScale::Binary { .. })),
        labels: rows.iter().filter(|row| row.person.is_some()).count() as u64,
        corrected: None,
        trust: None,
        by_its_errors: elsewhere.and_then(|confusion| by_its_errors(&rows, header, spec, confusion)),
        not_calibrated: None,
        warnings,
    };
    if (found.labels as usize) < FEWEST_LABELS {
        found.not_calibrated = Some(format!(
            "{} of this run's outputs have labels `{}` of people; {FEWEST_LABELS} are the fewest that correct a figure",
            found.labels, spec.name
        ));
        found.warnings.extend(elsewhere.and_then(|confusion| allocation(found.by_its_errors.as_ref()?, confusion)));
    } else {
        by_labels(&rows, &mut found);
    }
    Ok(found)
}

fn grader_of<'a>(header: &'a RunHeader, spec: &JudgeSpec) -> Done<&'a GraderInfo> {
    let judges = || header.graders.iter().filter(|grader| grader.kind == GraderKind::Judge);
    judges().find(|grader| grader.component == spec.name).ok_or_else(|| {
        let names: Vec<&str> = judges().map(|grader| grader.component.as_str()).collect();
        let there = if names.is_empty() {
            "no judge scored it".to_owned()
        } else {
            format!("judges of it: {}", names.join(", "))
        };
        Failed::usage(anyhow!("run `{}` has no scores of judge `{}`; {there}", header.id, spec.name))
    })
}

/// Labels of people by example, each with the trial it is about.
#[derive(Default)]
struct People {
    labels: BTreeMap<ExampleId, Vec<(Option<u32>, f64)>>,
}

impl People {
    /// Labels are about recorded outputs, so that a target that makes its own has none.
    fn of(project: &Project, header: &RunHeader, spec: &JudgeSpec, warnings: &mut Vec<String>) -> Self {
        if header.target.kind != "recorded" {
            warnings.push(format!(
                "outputs of a `{}` target are new in each run, so that no label is about them",
                header.target.kind
            ));
            return Self::default();
        }
        // Labels make a version of their own, so that those of a run stand in a later one than it saw.
        let name = header.dataset.rsplit_once('@').map_or(header.dataset.as_str(), |(name, _)| name);
        let Ok(reader) = open(project, name) else {
            warnings.push(format!("dataset `{name}` is not here, and labels stand in it"));
            return Self::default();
        };
        if reader.header().digest != header.dataset_digest {
            warnings.push(format!("dataset `{name}` has other examples since; labels of those that remain are used"));
        }
        let variant = header.target.settings.get("variant").and_then(|name| name.as_str());
        let (mut labels, mut foreign) = (BTreeMap::new(), 0_u64);
        for example in reader.iter() {
            let Ok(example) = example else {
                warnings.push(format!("dataset `{name}` cannot be read to its end"));
                break;
            };
            let (found, unread) = labels_of(&example, spec, variant);
            foreign += unread;
            if !found.is_empty() {
                labels.insert(example.id, found);
            }
        }
        if foreign > 0 {
            warnings.push(format!("{foreign} labels `{}` are not on the judge's scale and were left out", spec.name));
        }
        Self { labels }
    }
}

/// Labels on the judge's scale, and how many are not on it.
fn labels_of(example: &Example, spec: &JudgeSpec, variant: Option<&str>) -> (Vec<(Option<u32>, f64)>, u64) {
    let fits = |name: &Option<String>| variant.is_none() || name.is_none() || name.as_deref() == variant;
    let named = || example.labels.iter().filter(|label| label.name == spec.name && fits(&label.variant));
    let read: Vec<(Option<u32>, f64)> =
        named().filter_map(|label| Some((label.trial, parse_label(&spec.scale, &label.value)?.number()?))).collect();
    let unread = named().count() - read.len();
    (read, unread as u64)
}

/// One example as the judge and, perhaps, people see it.
struct Row {
    cluster: String,
    weight: f64,
    /// Mean of the judge over the trials.
    judge: f64,
    /// Mean of people, and of the judge over the same trials.
    person: Option<(f64, f64)>,
}

fn rows(loaded: &Loaded, grader: &str, people: &People) -> Vec<Row> {
    let mut rows = Vec::new();
    // What was chosen for diversity speaks for itself alone.
    for meta in loaded.metas.iter().filter(|meta| !meta.diverse) {
        let Some(example) = loaded.results.examples.get(&meta.id) else { continue };
        let scores: BTreeMap<u32, f64> = example
            .trials
            .iter()
            .filter_map(|(trial, result)| {
                let draws: Vec<ScoreValue> =
                    result.scores.get(grader)?.values().flatten().map(|score| score.value.clone()).collect();
                Some((*trial, reduce(&draws).value?.number()?))
            })
            .collect();
        let Some(judge) = mean(scores.values().copied()) else { continue };
        let labels = people.labels.get(&meta.id).map(Vec::as_slice).unwrap_or_default();
        // A label that names no trial is about the only one there is.
        let only = scores.keys().next().copied().filter(|_| scores.len() == 1);
        let pairs: Vec<(f64, f64)> =
            labels.iter().filter_map(|(trial, label)| Some((*label, *scores.get(&trial.or(only)?)?))).collect();
        let person = mean(pairs.iter().map(|pair| pair.0)).zip(mean(pairs.iter().map(|pair| pair.1)));
        rows.push(Row { cluster: meta.cluster.clone(), weight: meta.weight, judge, person });
    }
    rows
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn raw(rows: &[Row], binary: bool) -> Estimate {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let clusters: Vec<usize> = rows
        .iter()
        .map(|row| {
            let next = names.len();
            *names.entry(row.cluster.as_str()).or_insert(next)
        })
        .collect();
    let (values, weights): (Vec<f64>, Vec<f64>) = rows.iter().map(|row| (row.judge, row.weight)).unzip();
    mean_weighted(&values, &weights, &clusters, binary.then_some((0.0, 1.0)), LEVEL)
}

fn by_labels(rows: &[Row], found: &mut Corrected) {
    let labelled = || rows.iter().filter_map(|row| Some((row.person?, row.weight)));
    let rest = || rows.iter().filter(|row| row.person.is_none());
    let sample = ppi_mean(
        PpiSample {
            labels: &labelled().map(|((person, _), _)| person).collect::<Vec<_>>(),
            judged: &labelled().map(|((_, judge), _)| judge).collect::<Vec<_>>(),
            unlabelled: &rest().map(|row| row.judge).collect::<Vec<_>>(),
            weights: &labelled().map(|(_, weight)| weight).collect::<Vec<_>>(),
            unlabelled_weights: &rest().map(|row| row.weight).collect::<Vec<_>>(),
        },
        Tuning::Least,
        LEVEL,
    );
    if found.raw.clusters < found.raw.n {
        let warning =
            "examples share clusters; the corrected interval takes them for independent and may be too narrow";
        found.warnings.push(warning.to_owned());
    }
    found.trust = sample.tuning;
    found.corrected = Some(sample.jackknife);
}

/// Which outputs the next labels should be of, so that they tell most about the judge's errors.
fn allocation(estimate: &Estimate, calibration: Confusion) -> Option<String> {
    let passes = allocate_labels(ADVISED_LABELS, estimate.estimate?, calibration.tpr()?, calibration.tnr()?)?;
    Some(format!(
        "of {ADVISED_LABELS} labels for the judge's calibration examples, about {passes} should be of outputs that people \
         pass and {} of outputs that they fail",
        ADVISED_LABELS - passes
    ))
}

/// Only for one verdict per example, all of equal weight: the estimator counts.
fn by_its_errors(rows: &[Row], header: &RunHeader, spec: &JudgeSpec, calibration: Confusion) -> Option<Estimate> {
    let equal = rows.windows(2).all(|pair| pair[0].weight == pair[1].weight);
    if !matches!(spec.scale, RubricScale::Binary { .. }) || header.trials > 1 || !equal {
        return None;
    }
    let (items, passed) = (rows.len() as u64, rows.iter().filter(|row| row.judge == 1.0).count() as u64);
    let found = rogan_gladen(JudgedCounts { passed, items, calibration }, LEVEL);
    let estimate = Estimate {
        status: found.status,
        n: items,
        clusters: items,
        estimate: found.estimate,
        se: found.se,
        interval: found.interval,
        method: "rogan_gladen".to_owned(),
        ..Estimate::default()
    };
    let beyond = found.unclipped.is_some_and(|share| !(0.0..=1.0).contains(&share));
    Some(if beyond && found.status == Status::Ok {
        estimate.warn("the judge's errors on its calibration examples do not fit this run")
    } else {
        estimate
    })
}
