//! `assize outcomes`: files of recorded scores of one or more systems become a dataset, runs, and a comparison.
//!
//! Nothing in it is special: it writes the mapping and the suite that a user would, with the `recorded` target and the
//! `recorded_value` scorer, and runs them. The suite is not written to the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::{Map, Value, json};

use super::compare::{self, Compared, Viewed};
use super::exit::{Done, Exit, Failed};
use super::matrix::{self, Many};
use super::outputs;
use super::project::{Project, World};
use super::run::{self, How, Watch};
use crate::config;
use crate::dataset::{FieldMapping, ImportOptions, Importer, Provenance, write_version};
use crate::model::{Example, RunId};

/// Rejected rows that are told.
const TOLD: usize = 5;
/// Share of a score's range that matters when no margin is named.
const MARGIN: f64 = 0.05;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Files.
    pub files: Vec<PathBuf>,
    /// Name of the dataset and suite; the first file's when absent.
    pub name: Option<String>,
    /// Field that names the example.
    pub id: String,
    /// `FIELD` that names the system of a row, or `NAME=FIELD` for each system that has a field of its own. Without any,
    /// each file is a system.
    pub systems: Vec<String>,
    /// System that the others are set against; the first when absent.
    pub baseline: Option<String>,
    /// Scores, `FIELD` or `NAME=FIELD`.
    pub scores: Vec<String>,
    /// Names of scores of which less is better.
    pub lower: Vec<String>,
    /// `NAME=LO..HI`: least and greatest value.
    pub ranges: Vec<String>,
    /// `NAME=NUMBER`: added to every value.
    pub plus: Vec<String>,
    /// `NAME=NUMBER` or `NUMBER`: smallest change that matters; only these scores are gated. Without any, scores of a known
    /// range are gated at a twentieth of it.
    pub margins: Vec<String>,
    /// Field that numbers the trials of an example; where absent, repeated rows are trials in the order of the file.
    pub trial: Option<String>,
    /// Field of the money.
    pub cost: Option<String>,
    /// Field of the milliseconds.
    pub latency: Option<String>,
    /// Field of the independent unit that several examples share, `FIELD` or `FIELD:REGEX`.
    pub cluster: Option<String>,
    /// Dimensions, `FIELD` or `NAME=FIELD`, each perhaps with `:REGEX`.
    pub by: Vec<String>,
    /// Reports, as typed.
    pub reports: Vec<String>,
}

/// What came of it.
pub struct Outcomes {
    /// `name@version` of the dataset.
    pub dataset: String,
    /// Rows that were turned away, and the first of them.
    pub rejected: u64,
    /// The first rejected rows.
    pub rejections: Vec<String>,
    /// Systems with their runs, in the order of the file.
    pub runs: Vec<(String, RunId)>,
    /// What was found.
    pub found: Found,
    /// How the command ends.
    pub exit: Exit,
}

/// One run viewed, two compared, or more in a matrix.
pub enum Found {
    /// One system.
    One(Box<Viewed>),
    /// Two.
    Two(Box<Compared>),
    /// More.
    Many(Box<Many>),
}

/// One score as it is asked for.
struct ScoreAsk {
    name: String,
    field: String,
}

/// Reads the files, runs every system, and compares.
pub async fn outcomes(project: &Project, world: &World, ask: &Ask, watch: &Watch<'_>) -> Done<Outcomes> {
    let scores = scores(ask)?;
    let name = name(ask)?;
    if project.config.suites.contains_key(&name) {
        return Err(Failed::usage(anyhow!("suite `{name}` is configured already; give another `--name`")));
    }
    let mut importer = Importer::new();
    for (file, mapping) in mappings(world, ask, &scores)? {
        importer.add_file(&file, Some(&mapping), ImportOptions::default()).map_err(Failed::usage)?;
    }
    let import = importer.finish().map_err(Failed::usage)?;
    let systems = systems(&import.examples, ask)?;
    let suite = suite(&name, &import.examples, &systems, &scores, ask)?;
    let sources = ask.files.iter().map(|file| file.display().to_string()).collect();
    let provenance = Provenance { sources, ..Provenance::default() };
    let root = project.path(&project.config.datasets);
    let written =
        write_version(&root, &name, &import.examples, provenance, world.clock.as_ref()).map_err(Failed::usage)?;
    let dataset = written.header().reference();
    let project = with_suite(project, &name, suite, &dataset)?;
    let mut runs = Vec::new();
    for system in &systems {
        let how = How { target: Some(system.clone()), ..How::default() };
        let ask = run::Ask { suite: Some(name.clone()), how, ..run::Ask::default() };
        let done = run::run(&project, world, ask, watch).await?;
        match (done.run, done.stop) {
            (Some(run), None) => runs.push((system.clone(), run)),
            _ => return Err(Failed { exit: done.exit, error: anyhow!("the run of `{system}` was stopped") }),
        }
    }
    let (found, exit) = look(&project, world, &runs, &ask.reports).await?;
    let rejections = import.rejected.kept.iter().take(TOLD).map(ToString::to_string).collect();
    Ok(Outcomes { dataset, rejected: import.rejected.total, rejections, runs, found, exit })
}

async fn look(project: &Project, world: &World, runs: &[(String, RunId)], reports: &[String]) -> Done<(Found, Exit)> {
    let store = project.store(&world.env).await?;
    match runs {
        [(_, only)] => {
            let wanted = outputs::plan(reports, &world.here)?;
            let viewed = compare::view_run(project, world, store.as_ref(), only, &wanted).await?;
            let exit = viewed.exit;
            Ok((Found::One(Box::new(viewed)), exit))
        }
        [(_, baseline), (_, candidate)] => {
            let wanted = outputs::plan(reports, &world.here)?;
            let pair = (baseline, candidate);
            let compared = compare::compare_runs(project, world, store.as_ref(), pair, &[], &wanted, None).await?;
            let exit = compared.exit;
            Ok((Found::Two(Box::new(compared)), exit))
        }
        several => {
            let wanted = matrix::plan(reports, world)?;
            let ids: Vec<RunId> = several.iter().map(|(_, run)| run.clone()).collect();
            let many = matrix::compare_runs(project, world, store.as_ref(), &ids, &[], &wanted).await?;
            let exit = many.exit;
            Ok((Found::Many(Box::new(many)), exit))
        }
    }
}

/// `NAME=FIELD`, or a field that is its own name.
fn named(typed: &str) -> (String, String) {
    match typed.split_once('=') {
        Some((name, field)) => (name.trim().to_owned(), field.trim().to_owned()),
        None => (typed.to_owned(), typed.to_owned()),
    }
}

/// A name that can be a metric and a key.
fn plain(name: &str) -> String {
    let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    safe.trim_matches('_').to_owned()
}

fn scores(ask: &Ask) -> Done<Vec<ScoreAsk>> {
    let typed: Vec<String> = match (ask.scores.is_empty(), wide(ask)) {
        (false, true) => {
            return Err(Failed::usage(anyhow!(
                "`--system NAME=FIELD` says which field holds a system's score; leave `--score` out, or name the field \
                 of the system with `--system FIELD`"
            )));
        }
        (true, true) => vec!["score".to_owned()],
        (true, false) => return Err(Failed::usage(anyhow!("name at least one field with `--score FIELD`"))),
        (false, false) => ask.scores.clone(),
    };
    typed
        .iter()
        .map(|text| {
            let (name, field) = named(text);
            let name = plain(&name);
            if name.is_empty() || field.is_empty() {
                return Err(Failed::usage(anyhow!("expected `--score FIELD` or `--score NAME=FIELD`, found `{text}`")));
            }
            Ok(ScoreAsk { name, field })
        })
        .collect()
}

/// Whether each system has a field of its own.
fn wide(ask: &Ask) -> bool {
    ask.systems.iter().any(|system| system.contains('='))
}

fn name(ask: &Ask) -> Done<String> {
    let name = ask.name.clone().or_else(|| ask.files.first().map(|file| stem(file))).map(|name| plain(&name));
    name.filter(|name| !name.is_empty()).ok_or_else(|| Failed::usage(anyhow!("name the dataset with `--name NAME`")))
}

/// Each file with the mapping it is read by; a file with a field per system is read once for each.
fn mappings(world: &World, ask: &Ask, scores: &[ScoreAsk]) -> Done<Vec<(PathBuf, FieldMapping)>> {
    let mut found = Vec::new();
    for file in &ask.files {
        let path = world.here.join(file);
        let variants: Vec<(Value, Option<String>)> = match ask.systems.as_slice() {
            [] => vec![(json!({ "value": stem(file) }), None)],
            [field] if !field.contains('=') => vec![(json!(field), None)],
            several => {
                let odd = several.iter().find(|system| !system.contains('='));
                if let Some(odd) = odd {
                    let why = anyhow!("`--system {odd}` beside others: write `--system NAME=FIELD` for each system");
                    return Err(Failed::usage(why));
                }
                several
                    .iter()
                    .map(|system| named(system))
                    .map(|(name, field)| (json!({ "value": name }), Some(field)))
                    .collect()
            }
        };
        for (variant, field) in variants {
            let mapping = mapping(ask, scores, variant, field.as_deref());
            let mapping = serde_json::from_value(mapping).map_err(Failed::usage)?;
            found.push((path.clone(), mapping));
        }
    }
    Ok(found)
}

fn mapping(ask: &Ask, scores: &[ScoreAsk], variant: Value, own: Option<&str>) -> Value {
    let mut map = Map::new();
    map.insert("id".to_owned(), json!(ask.id));
    map.insert("input".to_owned(), json!(ask.id));
    map.insert("variant".to_owned(), variant);
    let recorded = scores.iter().map(|score| {
        let field = own.unwrap_or(&score.field);
        (score.name.clone(), json!({ "field": field, "optional": true }))
    });
    map.insert("output_metadata".to_owned(), Value::Object(recorded.collect()));
    match &ask.trial {
        Some(trial) => map.insert("trial".to_owned(), json!(trial)),
        None => map.insert("number_trials".to_owned(), json!(true)),
    };
    for (key, field) in [("cost", &ask.cost), ("latency_ms", &ask.latency)] {
        if let Some(field) = field {
            map.insert(key.to_owned(), json!({ "field": field, "optional": true }));
        }
    }
    map.extend(ask.cluster.as_ref().map(|typed| ("cluster".to_owned(), field(typed))));
    if !ask.by.is_empty() {
        let dimensions = ask.by.iter().map(|typed| {
            let (name, rest) = named(typed);
            let name = name.split(':').next().unwrap_or(&name).to_owned();
            (name, field(&rest))
        });
        map.insert("dimensions".to_owned(), Value::Object(dimensions.collect()));
    }
    Value::Object(map)
}

/// `FIELD`, or `FIELD:REGEX`.
fn field(typed: &str) -> Value {
    match typed.split_once(':') {
        Some((field, regex)) => json!({ "field": field, "regex": regex }),
        None => json!(typed),
    }
}

/// A file's name up to its first point.
fn stem(file: &Path) -> String {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("recorded");
    name.split('.').next().unwrap_or(name).to_owned()
}

/// The systems that are recorded: as they were typed, else by name, the baseline first.
fn systems(examples: &[Example], ask: &Ask) -> Done<Vec<String>> {
    let recorded = examples.iter().flat_map(|example| &example.recorded).filter_map(|one| one.variant.clone());
    let there: BTreeSet<String> = recorded.collect();
    let typed: Vec<String> = match ask.systems.as_slice() {
        [] => ask.files.iter().map(|file| stem(file)).collect(),
        several => several.iter().map(|system| named(system).0).collect(),
    };
    let mut found: Vec<String> = Vec::new();
    for system in typed.into_iter().filter(|system| there.contains(system)).chain(there.iter().cloned()) {
        if !found.contains(&system) {
            found.push(system);
        }
    }
    if let Some(baseline) = &ask.baseline {
        let Some(place) = found.iter().position(|system| system == baseline) else {
            return Err(Failed::usage(anyhow!("no system `{baseline}` is recorded; there is {}", found.join(", "))));
        };
        let first = found.remove(place);
        found.insert(0, first);
    }
    Ok(found)
}

/// What a score's values are: all yes or no, or numbers.
fn is_yes_or_no(examples: &[Example], score: &str) -> bool {
    let values = examples.iter().flat_map(|example| &example.recorded).filter_map(|one| one.output.metadata.get(score));
    let plain = |value: &Value| match value {
        Value::Bool(_) => true,
        Value::Number(number) => number.as_f64().is_some_and(|number| number == 0.0 || number == 1.0),
        Value::String(text) => {
            matches!(
                text.trim().to_lowercase().as_str(),
                "" | "0"
                    | "1"
                    | "0.0"
                    | "1.0"
                    | "true"
                    | "false"
                    | "yes"
                    | "no"
                    | "pass"
                    | "fail"
                    | "passed"
                    | "failed"
            )
        }
        Value::Null => true,
        _ => false,
    };
    values.into_iter().all(plain)
}

/// The suite as it would stand in the configuration.
fn suite(name: &str, examples: &[Example], systems: &[String], scores: &[ScoreAsk], ask: &Ask) -> Done<Value> {
    let (Some(last), Some(first)) = (systems.last(), systems.first()) else {
        return Err(Failed::usage(anyhow!("no row names a system; `--system FIELD` says where it stands")));
    };
    let targets: Map<String, Value> =
        systems.iter().map(|system| (system.clone(), json!({ "kind": "recorded", "variant": system }))).collect();
    let settings = Settings::of(ask, scores)?;
    let graders: Vec<Value> =
        scores.iter().map(|score| settings.grader(score, is_yes_or_no(examples, &score.name))).collect();
    let most = examples.iter().flat_map(|example| &example.recorded).map(|one| one.trial).max().unwrap_or(0);
    let mut suite = json!({
        "candidate": last, "trials": most + 1, "targets": targets, "graders": graders,
        // A row that is not there is no failure of a system.
        "gate": { "max_target_failures": 1.0, "metrics": settings.gates(scores, examples) },
    });
    if let Some(object) = suite.as_object_mut().filter(|_| first != last) {
        object.insert("baseline".to_owned(), json!(first));
    }
    Ok(json!({ "suites": { name: suite } }))
}

/// What was typed of single scores.
struct Settings {
    lower: Vec<String>,
    ranges: BTreeMap<String, (f64, f64)>,
    plus: BTreeMap<String, f64>,
    margins: BTreeMap<String, f64>,
}

impl Settings {
    fn of(ask: &Ask, scores: &[ScoreAsk]) -> Done<Self> {
        let known = |name: &str| {
            let there: Vec<&str> = scores.iter().map(|score| score.name.as_str()).collect();
            if there.contains(&name) {
                return Ok(());
            }
            Err(Failed::usage(anyhow!("no score `{name}`; there is {}", there.join(", "))))
        };
        let only = scores.first().map(|score| score.name.clone()).unwrap_or_default();
        let number = |flag: &str, text: &String| -> Done<(String, f64)> {
            let (name, value) =
                text.split_once('=').map_or((only.as_str(), text.as_str()), |(name, value)| (name, value));
            known(name)?;
            let value = value.trim().parse::<f64>().ok().filter(|value| value.is_finite());
            value
                .map(|value| (name.to_owned(), value))
                .ok_or_else(|| Failed::usage(anyhow!("expected `--{flag} NAME=NUMBER`, found `{text}`")))
        };
        for name in &ask.lower {
            known(name)?;
        }
        let mut ranges = BTreeMap::new();
        for text in &ask.ranges {
            let parsed = text.split_once('=').and_then(|(name, range)| {
                let (low, high) = range.split_once("..")?;
                Some((name, low.trim().parse::<f64>().ok()?, high.trim().parse::<f64>().ok()?))
            });
            let Some((name, low, high)) = parsed.filter(|(_, low, high)| low < high) else {
                return Err(Failed::usage(anyhow!("expected `--range NAME=LOW..HIGH`, found `{text}`")));
            };
            known(name)?;
            ranges.insert(name.to_owned(), (low, high));
        }
        Ok(Self {
            lower: ask.lower.clone(),
            ranges,
            plus: ask.plus.iter().map(|text| number("plus", text)).collect::<Done<_>>()?,
            margins: ask.margins.iter().map(|text| number("margin", text)).collect::<Done<_>>()?,
        })
    }

    fn grader(&self, score: &ScoreAsk, yes_or_no: bool) -> Value {
        let lower = self.lower.contains(&score.name);
        let range = self.ranges.get(&score.name);
        let plus = self.plus.get(&score.name);
        let field = format!("output.metadata.{}", score.name);
        let mut grader = Map::new();
        grader.insert("name".to_owned(), json!(score.name));
        grader.insert("scorer".to_owned(), json!("recorded_value"));
        grader.insert("field".to_owned(), json!(field));
        if yes_or_no && range.is_none() && plus.is_none() {
            grader.insert("as".to_owned(), json!("pass"));
            if lower {
                grader.insert("negate".to_owned(), json!(true));
            }
            return Value::Object(grader);
        }
        grader.insert("as".to_owned(), json!("number"));
        if let Some((low, high)) = range {
            grader.insert("min".to_owned(), json!(low));
            grader.insert("max".to_owned(), json!(high));
        }
        grader.extend(plus.map(|plus| ("plus".to_owned(), json!(plus))));
        if lower {
            grader.insert("better".to_owned(), json!("lower"));
        }
        Value::Object(grader)
    }

    /// Demands: the margins typed, else a twentieth of each range that is known (methods 1.7).
    fn gates(&self, scores: &[ScoreAsk], examples: &[Example]) -> Value {
        let margin = |score: &ScoreAsk| {
            if !self.margins.is_empty() {
                return self.margins.get(&score.name).copied();
            }
            match self.ranges.get(&score.name) {
                Some((low, high)) => Some(MARGIN * (high - low)),
                None => is_yes_or_no(examples, &score.name).then_some(MARGIN),
            }
        };
        let gated = scores.iter().filter_map(|score| Some((score.name.clone(), json!({ "margin": margin(score)? }))));
        Value::Object(gated.collect())
    }
}

/// The project with the suite in it, read as a configuration is read.
fn with_suite(project: &Project, name: &str, mut suite: Value, dataset: &str) -> Done<Project> {
    if let Some(suite) = suite.get_mut("suites").and_then(|suites| suites.get_mut(name)).and_then(Value::as_object_mut)
    {
        suite.insert("dataset".to_owned(), json!(dataset));
    }
    let text = toml::to_string(&suite).map_err(Failed::instrument)?;
    let (read, faults) = config::parse(&text, Path::new("outcomes")).map_err(Failed::usage)?;
    faults.done(Path::new("outcomes")).map_err(Failed::usage)?;
    let mut project = project.clone();
    project.config.suites.extend(read.suites);
    Ok(project)
}
