//! From what was written to what it means: defaults filled in, references between parts followed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::check::{nearest_hint, suggestion};
use super::faults::Faults;
use super::gate::{MEASURES, gate};
use super::judging::{self, Others};
use super::place::below;
use super::prices::PriceTable;
use super::raw::{OnInconclusive, Raw, RawGrader, RawProvider, RawSource, RawSuite};
use super::variants::{self, Around};
use crate::model::{DriftPolicy, GatePolicy, RedactPolicy, SpanChoice};
use crate::sys::objects::S3Options;

/// The configuration with its meaning.
#[derive(Clone, Debug)]
pub struct Config {
    /// Store, as `sqlite:PATH` or `postgres://...`.
    pub store: String,
    /// Folder of dataset versions, relative to the file.
    pub datasets: String,
    /// Folder of the user's judges.
    pub judges: String,
    /// Folder of the lake, or `s3://BUCKET/PREFIX`.
    pub lake: String,
    /// Storage behind `s3://` names.
    pub s3: S3Options,
    /// File of the reply cache.
    pub cache: String,
    /// Folder of reports.
    pub reports: String,
    /// Providers by name.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// Models by alias.
    pub models: BTreeMap<String, ModelConfig>,
    /// Platforms to pull traces from, by name.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Places that scores are sent to, by name.
    pub sinks: BTreeMap<String, FeedConfig>,
    /// Who is told when something fires, by name.
    pub alarms: BTreeMap<String, FeedConfig>,
    /// Prices: the shipped table with the user's on top.
    pub prices: PriceTable,
    /// What is taken out before anything is written; checked by the redact module.
    pub redact: RedactPolicy,
    /// What counts as drift.
    pub drift: DriftPolicy,
    /// Suites by name.
    pub suites: BTreeMap<String, Suite>,
    /// Sampling plans by dataset, still to be checked by the use case.
    pub samples: BTreeMap<String, Map<String, Value>>,
}

/// A model service: kind and options, the options still to be checked by the table of providers.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Row of the table of providers.
    pub kind: String,
    /// Options of the endpoint.
    pub options: Map<String, Value>,
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// Most attempts.
    pub max_attempts: u32,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
}

/// A platform: kind and options, the options still to be checked by the table of platforms.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Row of the table of platforms.
    pub kind: String,
    /// Options.
    pub options: Map<String, Value>,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
}

/// A sink or an alarm: kind and options, the options still to be checked by its table.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Row of the table.
    pub kind: String,
    /// Options.
    pub options: Map<String, Value>,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
}

/// A model with its parameters.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Provider by name; known to exist.
    pub provider: String,
    /// Model name as the provider knows it.
    pub model: String,
    /// Temperature.
    pub temperature: Option<f64>,
    /// Most tokens to write.
    pub max_tokens: Option<u32>,
    /// Seed.
    pub seed: Option<u64>,
    /// Further body fields.
    pub extra: Map<String, Value>,
}

/// Which examples a suite runs over.
#[derive(Clone, Debug, PartialEq)]
pub enum DatasetChoice {
    /// `name` or `name@version`.
    Version(String),
    /// A file with an optional field mapping.
    File {
        /// Path relative to the configuration.
        path: String,
        /// Mapping; checked by the dataset module.
        fields: Option<Map<String, Value>>,
    },
}

/// How many calls run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Target calls.
    pub targets: u32,
    /// Judge calls.
    pub judges: u32,
}

/// A suite.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// Examples.
    pub dataset: DatasetChoice,
    /// Trials per example.
    pub trials: u32,
    /// Seed.
    pub seed: u64,
    /// Concurrency.
    pub concurrency: Concurrency,
    /// Budget in US dollars.
    pub max_cost: Option<f64>,
    /// Greatest part of the budget that judges may take, in (0, 1].
    pub judge_share: Option<f64>,
    /// Time limit.
    pub max_time: Option<Duration>,
    /// Targets by name.
    pub targets: BTreeMap<String, TargetConfig>,
    /// The target of a run when none is named.
    pub candidate: String,
    /// The target that stands in for a blessed baseline.
    pub baseline: Option<String>,
    /// Graders in order.
    pub graders: Vec<GraderConfig>,
    /// Demands.
    pub gate: GatePolicy,
    /// What an open finding does to the exit code.
    pub on_inconclusive: OnInconclusive,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
}

/// A target: kind and options, the options still to be checked by the table of targets.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// Kind.
    pub kind: String,
    /// Options.
    pub options: Map<String, Value>,
    /// What stands around it.
    pub around: Around,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
}

/// Scorer or judge.
#[derive(Clone, Debug)]
pub enum GraderUse {
    /// A scorer; options still to be checked by its table row.
    Scorer {
        /// Name in the table of scorers.
        scorer: String,
        /// Options.
        options: Map<String, Value>,
    },
    /// A judge.
    Judge {
        /// Name of the judge.
        judge: String,
        /// Alias of its model; known to exist.
        model: String,
        /// Draws, when not as the judge says.
        draws: Option<u32>,
        /// Who else is asked.
        others: Others,
    },
}

/// A grader.
#[derive(Clone, Debug)]
pub struct GraderConfig {
    /// Name of the metric.
    pub name: String,
    /// What it is.
    pub with: GraderUse,
    /// Spans that are graded in place of the output.
    pub on: Option<SpanChoice>,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
}

/// Follows references and fills in defaults. The configuration is whole only when there are no faults at the end.
pub fn validate(raw: Raw, faults: &mut Faults) -> Config {
    let prices = prices(&raw, faults);
    let providers = raw.providers.into_iter().map(|(name, raw)| (name.clone(), provider(&name, raw, faults)));
    let providers: BTreeMap<_, _> = providers.collect();
    let known_providers: Vec<String> = providers.keys().cloned().collect();
    let mut models = BTreeMap::new();
    for (name, raw) in raw.models {
        if !providers.contains_key(&raw.provider) {
            let hint = suggestion(&raw.provider, &known_providers);
            faults.add(&below(&below("/models", &name), "provider"), format!("no provider `{}`{hint}", raw.provider));
        }
        let model = ModelConfig {
            provider: raw.provider,
            model: raw.model,
            temperature: raw.temperature,
            max_tokens: raw.max_tokens,
            seed: raw.seed,
            extra: raw.extra,
        };
        models.insert(name, model);
    }
    let known_models: Vec<String> = models.keys().cloned().collect();
    let mut suites = BTreeMap::new();
    for (name, raw) in raw.suites {
        let suite = suite(&name, raw, &known_models, faults);
        suites.insert(name, suite);
    }
    let sources = raw.sources.into_iter().map(|(name, raw)| (name.clone(), source(&name, raw, faults))).collect();

    let sinks = raw.sinks.into_iter().map(|(name, raw)| feed("/sinks", name, raw.kind, raw.options)).collect();
    let alarms = raw.alarms.into_iter().map(|(name, raw)| feed("/alarms", name, raw.kind, raw.options)).collect();

    let or = |value: Option<String>, default: &str| value.unwrap_or_else(|| default.to_owned());
    Config {
        store: or(raw.project.store, "sqlite:.assize/assize.sqlite"),
        datasets: or(raw.project.datasets, "datasets"),
        judges: or(raw.project.judges, "judges"),
        lake: or(raw.project.lake, ".assize/lake"),
        s3: S3Options { endpoint: raw.s3.endpoint, region: raw.s3.region },
        cache: or(raw.project.cache, ".assize/cache.sqlite"),
        reports: or(raw.project.reports, ".assize/reports"),
        providers,
        models,
        sources,
        sinks,
        alarms,
        prices,
        redact: raw.redact,
        drift: drift(raw.drift, faults),
        suites,
        samples: raw.samples,
    }
}

/// What the ranges of the schema cannot say.
fn drift(policy: DriftPolicy, faults: &mut Faults) -> DriftPolicy {
    if policy.of < policy.fire {
        let message =
            format!("`{}` of the last `{}` days can never be: set `of` to at least `fire`", policy.fire, policy.of);
        faults.add("/drift/of", message);
    }
    if policy.window_hours == 0 || !24_u32.is_multiple_of(policy.window_hours) {
        let message =
            format!("expected a divisor of 24, found {}: windows must share out the day", policy.window_hours);
        faults.add("/drift/window_hours", message);
    }
    policy
}

fn prices(raw: &Raw, faults: &mut Faults) -> PriceTable {
    for (name, price) in &raw.prices {
        let pointer = below("/prices", name);
        for (tier, factor) in price.tiers.iter().filter(|(_, factor)| !factor.is_finite() || **factor < 0.0) {
            faults.add(
                &below(&format!("{pointer}/tiers"), tier),
                format!("expected a factor of 0 or more, found {factor}"),
            );
        }
        let mut last = None;
        for (index, earlier) in price.earlier.iter().enumerate() {
            let pointer = format!("{pointer}/earlier/{index}/until");
            match earlier.until.parse::<jiff::civil::Date>() {
                Err(_) => {
                    faults.add(&pointer, format!("expected a day such as `2025-06-10`, found `{}`", earlier.until))
                }
                Ok(until) if last.is_some_and(|last| last >= until) => {
                    faults.add(&pointer, "is not after the one before; the oldest comes first")
                }
                Ok(until) => last = Some(until),
            }
        }
    }
    for (name, price) in raw.tool_prices.iter().filter(|(_, price)| !price.is_finite() || **price < 0.0) {
        faults.add(&below("/tool_prices", name), format!("expected US dollars per call, 0 or more, found {price}"));
    }
    PriceTable::shipped_with(&raw.prices, &raw.tool_prices)
}

fn provider(name: &str, raw: RawProvider, faults: &mut Faults) -> ProviderConfig {
    let pointer = below("/providers", name);
    let timeout = raw.timeout.map(|text| duration(&text, &format!("{pointer}/timeout"), faults));
    ProviderConfig {
        kind: raw.kind,
        options: raw.options,
        timeout: timeout.flatten().unwrap_or(Duration::from_secs(60)),
        max_attempts: raw.max_attempts.unwrap_or(5),
        pointer,
    }
}

fn source(name: &str, raw: RawSource, faults: &mut Faults) -> SourceConfig {
    let pointer = below("/sources", name);
    // The name becomes that of a file.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
        faults.add(&pointer, "the name of a source may hold letters, digits, `_`, `-` and `.`, and not begin with `.`");
    }
    SourceConfig { kind: raw.kind, options: raw.options, pointer }
}

fn feed(table: &str, name: String, kind: String, options: Map<String, Value>) -> (String, FeedConfig) {
    let pointer = below(table, &name);
    (name, FeedConfig { kind, options, pointer })
}

pub(super) fn duration(text: &str, pointer: &str, faults: &mut Faults) -> Option<Duration> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    if parsed.is_none_or(|span| span.is_zero()) {
        faults.add(pointer, format!("expected a time such as `90s` or `5m`, found `{text}`"));
        return None;
    }
    parsed
}

fn suite(name: &str, raw: RawSuite, known_models: &[String], faults: &mut Faults) -> Suite {
    let pointer = below("/suites", name);
    let dataset = dataset(&raw, &pointer, faults);
    let targets = variants::targets(&raw, &pointer, faults);
    let known: Vec<String> = targets.keys().cloned().collect();
    let candidate = candidate(&raw, &known, &pointer, faults);
    if let Some(conversation) = targets.values().find_map(|target| unknown_player(target, known_models)) {
        let (pointer, model) = conversation;
        faults.add(&pointer, format!("no model `{model}`{}", suggestion(&model, known_models)));
    }
    if let Some(baseline) = raw.baseline.as_ref().filter(|baseline| !targets.contains_key(*baseline)) {
        faults.add(&format!("{pointer}/baseline"), format!("no target `{baseline}`{}", suggestion(baseline, &known)));
    }
    // Of all graders, broken ones too: a demand on one of those is not a second mistake.
    let metric_names: Vec<String> = raw.graders.iter().filter_map(name_of).collect();
    let names_known =
        metric_names.len() == raw.graders.len() && !faults.has_broken_below(&format!("{pointer}/graders"));
    let graders = graders(raw.graders, &pointer, known_models, faults);
    let gate_pointer = format!("{pointer}/gate");
    let on_inconclusive = raw.gate.on_inconclusive;
    let gate = gate(raw.gate, names_known.then_some(metric_names.as_slice()), &gate_pointer, faults);
    let max_time = raw.max_time.and_then(|text| duration(&text, &format!("{pointer}/max_time"), faults));
    Suite {
        name: name.to_owned(),
        dataset,
        trials: raw.trials.unwrap_or(1),
        seed: raw.seed.unwrap_or(0),
        concurrency: Concurrency {
            targets: raw.concurrency.targets.unwrap_or(8),
            judges: raw.concurrency.judges.unwrap_or(32),
        },
        max_cost: raw.max_cost,
        judge_share: raw.judge_share,
        max_time,
        targets,
        candidate,
        baseline: raw.baseline,
        graders,
        gate,
        on_inconclusive,
        pointer,
    }
}

/// The model that plays a user and is not there.
fn unknown_player(target: &TargetConfig, known_models: &[String]) -> Option<(String, String)> {
    let model = target.around.conversation.as_ref()?.model.as_ref()?;
    (!known_models.contains(model)).then(|| (format!("{}/conversation/model", target.pointer), model.clone()))
}

/// The examples of a suite; where they are not said, something empty that only a configuration with faults holds.
fn dataset(raw: &RawSuite, pointer: &str, faults: &mut Faults) -> DatasetChoice {
    match (&raw.dataset, &raw.file) {
        (Some(_), Some(_)) => faults.add(pointer, "has both `dataset` and `file`; keep one"),
        (None, None) => {
            let message = "lacks `dataset` (a dataset by name) or `file` (a file of examples)";
            faults.lacks(pointer, &["dataset", "file"], message);
        }
        (Some(_), None) if raw.fields.is_some() => {
            let message = "`fields` belongs to `file`; a dataset version needs no mapping";
            faults.add(&format!("{pointer}/fields"), message);
        }
        _ => {}
    }
    match &raw.file {
        Some(path) => DatasetChoice::File { path: path.clone(), fields: raw.fields.clone() },
        None => DatasetChoice::Version(raw.dataset.clone().unwrap_or_default()),
    }
}

/// The candidate of a suite; where it is not known, something empty that only a configuration with faults holds.
fn candidate(raw: &RawSuite, known: &[String], pointer: &str, faults: &mut Faults) -> String {
    match (&raw.candidate, known) {
        (_, []) => {
            let message = "has no target; add one, such as `v2 = { kind = \"recorded\" }`";
            faults.add(&format!("{pointer}/targets"), message);
        }
        (Some(name), _) if !known.contains(name) => {
            faults.add(&format!("{pointer}/candidate"), format!("no target `{name}`{}", suggestion(name, known)));
        }
        (None, [_, _, ..]) => {
            let message =
                format!("has several targets; say which one is judged with `candidate`: {}", known.join(", "));
            faults.lacks(pointer, &["candidate"], message);
        }
        _ => {}
    }
    raw.candidate.clone().or_else(|| known.first().cloned()).unwrap_or_default()
}

fn name_of(raw: &RawGrader) -> Option<String> {
    [&raw.name, &raw.scorer, &raw.judge].into_iter().find_map(Clone::clone)
}

fn graders(raw: Vec<RawGrader>, suite: &str, known_models: &[String], faults: &mut Faults) -> Vec<GraderConfig> {
    let mut graders: Vec<GraderConfig> = Vec::new();
    if raw.is_empty() {
        faults.add(&format!("{suite}/graders"), "has no grader; a run without one measures nothing");
    }
    for (index, raw) in raw.into_iter().enumerate() {
        let pointer = format!("{suite}/graders/{index}");
        let Some((own_name, with)) = grader_use(&raw, &pointer, known_models, faults) else { continue };
        let name = raw.name.unwrap_or(own_name);
        if graders.iter().any(|other| other.name == name) {
            faults.add(&pointer, format!("a second grader is named `{name}`; give one of them another `name`"));
        }
        if MEASURES.contains(&name.as_str()) {
            faults.add(&pointer, format!("`{name}` is measured in every run; give this grader another `name`"));
        }
        graders.push(GraderConfig { name, with, on: raw.on, pointer });
    }
    graders
}

fn grader_use(
    raw: &RawGrader,
    pointer: &str,
    known_models: &[String],
    faults: &mut Faults,
) -> Option<(String, GraderUse)> {
    match (&raw.scorer, &raw.judge) {
        (Some(scorer), None) => {
            let keys = [
                ("model", raw.model.is_some()),
                ("draws", raw.draws.is_some()),
                ("panel", raw.panel.is_some()),
                ("cascade", raw.cascade.is_some()),
            ];
            for (key, set) in keys {
                if set {
                    faults.add(&format!("{pointer}/{key}"), format!("`{key}` belongs to a judge, not to a scorer"));
                }
            }
            Some((scorer.clone(), GraderUse::Scorer { scorer: scorer.clone(), options: raw.options.clone() }))
        }
        (None, Some(judge)) => {
            let known = ["name", "judge", "model", "draws", "panel", "cascade", "on"].map(str::to_owned);
            for key in raw.options.keys() {
                faults.add(&below(pointer, key), format!("unknown key{}", suggestion(key, &known)));
            }
            let others = judging::others(raw, judge, pointer, known_models, faults);
            if !matches!(others, Others::Panel(_)) {
                judging::check_model(raw.model.as_deref(), judge, pointer, known_models, faults);
            }
            let model = raw.model.clone().unwrap_or_default();
            Some((judge.clone(), GraderUse::Judge { judge: judge.clone(), model, draws: raw.draws, others }))
        }
        (Some(_), Some(_)) => {
            faults.add(pointer, "has both `scorer` and `judge`; make two graders of it");
            None
        }
        (None, None) => {
            let known = ["scorer", "judge"].map(str::to_owned);
            let hint = raw.options.keys().map(|key| nearest_hint(key, &known)).find(|hint| !hint.is_empty());
            let message = format!("lacks `scorer` or `judge`{}", hint.unwrap_or_default());
            faults.lacks(pointer, &["scorer", "judge"], message);
            None
        }
    }
}
