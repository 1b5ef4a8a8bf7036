//! What a configuration says about components, held against their tables: kinds, names, options.
//!
//! Looks at names and options only. Keys, models and the files of judges are looked at when something is built of
//! them: a verb that needs none of them must not fail for their sake.

use std::path::Path;

use serde_json::{Map, Value};

use super::sample::SampleSpec;
use crate::config::{
    Config, DatasetChoice, Faults, FeedConfig, GraderConfig, GraderUse, Others, ProviderConfig, SourceConfig, Suite,
    TargetConfig,
};
use crate::dataset::FieldMapping;
use crate::feed::{self, FeedOptions, alarm};
use crate::ingest::api;
use crate::judge::{self, CatalogueError};
use crate::provider::{self, EndpointOptions};
use crate::sys::text;
use crate::{redact, scorer, target};

/// Adds everything that is wrong with the components of a configuration whose folder is `root`.
pub fn components(config: &Config, root: &Path, faults: &mut Faults) {
    for config in config.providers.values() {
        provider(config, faults);
    }
    for config in config.sources.values() {
        source(config, faults);
    }
    for config in config.sinks.values() {
        let known: Vec<&str> = feed::SINKS.iter().map(|info| info.name).collect();
        let info =
            feed::find(&config.kind).map(|info| (info.schema(), move |options: &FeedOptions| info.check(options)));
        place(config, "kind of sink", &known, info, faults);
    }
    for config in config.alarms.values() {
        let known: Vec<&str> = alarm::ALARMS.iter().map(|info| info.name).collect();
        let info =
            alarm::find(&config.kind).map(|info| (info.schema(), move |options: &FeedOptions| info.check(options)));
        place(config, "kind of alarm", &known, info, faults);
    }
    for fault in redact::check(&config.redact) {
        faults.add(&format!("/redact{}", fault.pointer), fault.message);
    }
    for (name, table) in &config.samples {
        let pointer = format!("/samples/{}", name.replace('~', "~0").replace('/', "~1"));
        faults.options(&SampleSpec::schema(), &value(table), &pointer, &[]);
    }
    let judges = root.join(&config.judges);
    for suite in config.suites.values() {
        fields(suite, faults);
        for config in suite.targets.values() {
            target(config, faults);
        }
        for config in &suite.graders {
            match &config.with {
                GraderUse::Scorer { scorer, options } => grader(config, scorer, options, faults),
                GraderUse::Judge { judge, others, .. } => {
                    judge_there(judge, &judges, &format!("{}/judge", config.pointer), faults);
                    if let Others::Panel(panel) = others {
                        for (member, ..) in panel.members.iter().filter(|(member, ..)| member != judge) {
                            judge_there(member, &judges, &format!("{}/panel/members", config.pointer), faults);
                        }
                    }
                }
            }
        }
    }
}

/// Other errors are about the files of a judge that is there.
fn judge_there(name: &str, folder: &Path, pointer: &str, faults: &mut Faults) {
    if let Err(error @ CatalogueError::NotFound { .. }) = judge::find(name, Some(folder)) {
        faults.add(pointer, error.to_string());
    }
}

fn provider(config: &ProviderConfig, faults: &mut Faults) {
    if provider::find(&config.kind).is_none() {
        let known: Vec<&str> = provider::PROVIDERS.iter().map(|info| info.name).collect();
        faults.add(&format!("{}/kind", config.pointer), unknown("provider", &config.kind, &known));
    }
    let besides = ["kind", "timeout", "max_attempts"];
    faults.options(&EndpointOptions::schema(), &value(&config.options), &config.pointer, &besides);
}

fn source(config: &SourceConfig, faults: &mut Faults) {
    let Some(platform) = api::find(&config.kind) else {
        let known: Vec<&str> = api::PLATFORMS.iter().map(|info| info.name).collect();
        faults.add(&format!("{}/kind", config.pointer), unknown("platform", &config.kind, &known));
        return;
    };
    let options = value(&config.options);
    if !faults.options(&platform.schema(), &options, &config.pointer, &["kind"]) {
        return;
    }
    let read = serde_json::from_value(options).map_err(|error| error.to_string());
    if let Err(message) = read.and_then(|options| platform.check(&options)) {
        faults.add(&config.pointer, message);
    }
}

/// A sink or an alarm: its schema, and what the schema does not show.
fn place(
    config: &FeedConfig,
    what: &str,
    known: &[&str],
    info: Option<(Value, impl Fn(&FeedOptions) -> Result<(), String>)>,
    faults: &mut Faults,
) {
    let Some((schema, check)) = info else {
        faults.add(&format!("{}/kind", config.pointer), unknown(what, &config.kind, known));
        return;
    };
    let options = value(&config.options);
    if !faults.options(&schema, &options, &config.pointer, &["kind"]) {
        return;
    }
    let read = serde_json::from_value(options).map_err(|error| error.to_string());
    if let Err(message) = read.and_then(|options| check(&options)) {
        faults.add(&config.pointer, message);
    }
}

fn target(config: &TargetConfig, faults: &mut Faults) {
    match target::find(&config.kind) {
        Some(info) => {
            faults.options(&(info.schema)(), &value(&config.options), &config.pointer, &["kind"]);
        }
        None => {
            let known: Vec<&str> = target::TARGETS.iter().map(|info| info.name).collect();
            faults.add(&format!("{}/kind", config.pointer), unknown("target kind", &config.kind, &known));
        }
    }
}

fn grader(config: &GraderConfig, name: &str, options: &Map<String, Value>, faults: &mut Faults) {
    let Some(info) = scorer::find(name) else {
        let known: Vec<&str> = scorer::SCORERS.iter().map(|info| info.name).collect();
        faults.add(&format!("{}/scorer", config.pointer), unknown("scorer", name, &known));
        return;
    };
    let options = value(options);
    if faults.options(&(info.schema)(), &options, &config.pointer, &["name", "scorer"])
        && let Err(message) = (info.build)(&options)
    {
        faults.add(&config.pointer, message);
    }
}

fn fields(suite: &Suite, faults: &mut Faults) {
    let DatasetChoice::File { fields: Some(fields), .. } = &suite.dataset else { return };
    let schema = schemars::schema_for!(FieldMapping).to_value();
    let pointer = format!("{}/fields", suite.pointer);
    if faults.options(&schema, &value(fields), &pointer, &[])
        && let Err(error) = serde_json::from_value::<FieldMapping>(value(fields))
    {
        faults.add(&pointer, error.to_string());
    }
}

fn value(options: &Map<String, Value>) -> Value {
    Value::Object(options.clone())
}

/// The message about a name that no table has.
pub fn unknown(what: &str, wanted: &str, known: &[&str]) -> String {
    let hint = text::nearest(wanted, known.iter().copied());
    let hint = hint.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default();
    format!("no {what} `{wanted}`{hint}; there is {}", known.join(", "))
}
