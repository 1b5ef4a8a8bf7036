//! Variants of a suite's targets: written short, expanded into targets as if each had been written out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::check::suggestion;
use super::faults::Faults;
use super::place::below;
use super::raw::{RawAround, RawCollect, RawConversation, RawHooks, RawSuite, RawTarget};
use super::validate::{TargetConfig, duration};
use crate::model::canonical_json;

/// Most combinations of one matrix: more is a mistake in the configuration.
const MOST: usize = 1000;

/// What stands around a target, with its meaning.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Time limit of one attempt.
    pub timeout: Option<Duration>,
    /// Most attempts.
    pub attempts: Option<u32>,
    /// Where spans are received, and how long late ones are waited for.
    pub collect: Option<(String, Duration)>,
    /// Commands around run and trials, with the time limit of one.
    pub hooks: Option<(RawHooks, Duration)>,
    /// Whether each trial has a folder of its own.
    pub isolate: bool,
    /// The trial is a conversation.
    pub conversation: Option<RawConversation>,
}

impl Around {
    /// Whether there is nothing.
    pub fn is_bare(&self) -> bool {
        let Self { timeout, attempts, collect, hooks, isolate, conversation } = self;
        let nothing = timeout.is_none() && attempts.is_none() && collect.is_none();
        nothing && hooks.is_none() && !isolate && conversation.is_none()
    }
}

/// All targets of a suite: those written out, variants, combinations.
pub(super) fn targets(raw: &RawSuite, pointer: &str, faults: &mut Faults) -> BTreeMap<String, TargetConfig> {
    let mut all: BTreeMap<String, (RawTarget, String)> = BTreeMap::new();
    for (name, target) in &raw.targets {
        all.insert(name.clone(), (target.clone(), below(&format!("{pointer}/targets"), name)));
    }
    add_variants(raw, pointer, &mut all, faults);
    for (name, matrix) in &raw.matrix {
        let pointer = below(&format!("{pointer}/matrix"), name);
        let Some((base, _)) = find(&matrix.extends, &pointer, &all, faults) else { continue };
        let combinations: usize = matrix.axes.values().map(Vec::len).product();
        if combinations > MOST || combinations == 0 {
            let told = format!("makes {combinations} variants; expected 1 to {MOST}");
            faults.add(&format!("{pointer}/axes"), told);
            continue;
        }
        for (suffix, set) in combined(&matrix.axes) {
            let target = changed(&base, &set, &pointer, faults);
            add(format!("{name}{suffix}"), target, &pointer, &mut all, faults);
        }
    }
    all.into_iter().map(|(name, (raw, pointer))| (name, target(raw, pointer, faults))).collect()
}

/// Variants may extend variants: each is taken once what it extends is known.
fn add_variants(raw: &RawSuite, pointer: &str, all: &mut BTreeMap<String, (RawTarget, String)>, faults: &mut Faults) {
    let mut left: Vec<&String> = raw.variants.keys().collect();
    while !left.is_empty() {
        let known = |name: &&String| raw.variants.get(*name).is_some_and(|variant| all.contains_key(&variant.extends));
        let (now, later): (Vec<&String>, Vec<&String>) = left.iter().copied().partition(known);
        if now.is_empty() {
            for name in later {
                let Some(variant) = raw.variants.get(name) else { continue };
                let pointer = format!("{}/extends", below(&format!("{pointer}/variants"), name));
                if raw.variants.contains_key(&variant.extends) {
                    faults.add(&pointer, "extends itself in a circle; let one of them extend a target");
                } else {
                    find(&variant.extends, &pointer, all, faults);
                }
            }
            return;
        }
        for name in now {
            let Some(variant) = raw.variants.get(name) else { continue };
            let pointer = below(&format!("{pointer}/variants"), name);
            let Some((base, _)) = all.get(&variant.extends).cloned() else { continue };
            let target = changed(&base, &variant.set, &format!("{pointer}/set"), faults);
            add(name.clone(), target, &pointer, all, faults);
        }
        left = later;
    }
}

fn find(
    wanted: &str,
    pointer: &str,
    all: &BTreeMap<String, (RawTarget, String)>,
    faults: &mut Faults,
) -> Option<(RawTarget, String)> {
    let found = all.get(wanted).cloned();
    if found.is_none() {
        let known: Vec<String> = all.keys().cloned().collect();
        faults.add(pointer, format!("no target `{wanted}` to extend{}", suggestion(wanted, &known)));
    }
    found
}

fn add(
    name: String,
    target: Option<RawTarget>,
    pointer: &str,
    all: &mut BTreeMap<String, (RawTarget, String)>,
    faults: &mut Faults,
) {
    if let Some((_, other)) = all.get(&name) {
        let other = super::place::readable(other);
        faults.add(pointer, format!("a second target is named `{name}`, after `{other}`; give one another name"));
    } else if let Some(target) = target {
        all.insert(name, (target, pointer.to_owned()));
    }
}

/// A target with some keys set otherwise.
fn changed(base: &RawTarget, set: &Map<String, Value>, pointer: &str, faults: &mut Faults) -> Option<RawTarget> {
    let mut written = base.written.clone();
    merge(&mut written, set);
    match RawTarget::read(&written) {
        Ok(target) => Some(target),
        Err(error) => {
            faults.add(pointer, error);
            None
        }
    }
}

fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Every combination of values, with what it adds to the name.
fn combined(axes: &BTreeMap<String, Vec<Value>>) -> Vec<(String, Map<String, Value>)> {
    let mut all = vec![(String::new(), Map::new())];
    for (path, values) in axes {
        let mut next = Vec::with_capacity(all.len() * values.len());
        for (suffix, set) in &all {
            for value in values {
                let mut set = set.clone();
                merge(&mut set, &nested(path, value));
                next.push((format!("{suffix}-{}", word(value)), set));
            }
        }
        all = next;
    }
    all
}

/// `a.b` = v as `{a: {b: v}}`.
fn nested(path: &str, value: &Value) -> Map<String, Value> {
    let (key, inner) = match path.split_once('.') {
        Some((key, rest)) => (key, Value::Object(nested(rest, value))),
        None => (path, value.clone()),
    };
    Map::from_iter([(key.to_owned(), inner)])
}

/// A value as a part of a name.
fn word(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| canonical_json(value), str::to_owned);
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_') { c } else { '_' };
    let word: String = text.chars().take(40).map(plain).collect();
    if word.is_empty() { "none".to_owned() } else { word }
}

fn target(raw: RawTarget, pointer: String, faults: &mut Faults) -> TargetConfig {
    let around = around(raw.around, &pointer, faults);
    TargetConfig { kind: raw.kind, options: raw.options, around, pointer }
}

fn around(raw: RawAround, pointer: &str, faults: &mut Faults) -> Around {
    let mut time = |text: &Option<String>, key: &str, default: Duration| {
        let found = text.as_ref().map(|text| duration(text, &format!("{pointer}/{key}"), faults));
        found.map_or(default, Option::unwrap_or_default)
    };
    let timeout = raw.timeout.is_some().then(|| time(&raw.timeout, "timeout", Duration::ZERO));
    let at = |address: Option<&String>| address.cloned().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let collect = match &raw.collect {
        None | Some(RawCollect::Wanted(false)) => None,
        Some(RawCollect::Wanted(true)) => Some((at(None), GRACE)),
        Some(RawCollect::At(place)) => Some((at(place.address.as_ref()), time(&place.grace, "collect/grace", GRACE))),
    };
    let hooks = raw.hooks.map(|hooks| {
        let limit = time(&hooks.timeout, "hooks/timeout", HOOK);
        (hooks, limit)
    });
    if let Some((hooks, _)) = &hooks {
        for (name, line) in hooks.lines() {
            if line.is_some_and(|line| line.first().is_none_or(|program| program.trim().is_empty())) {
                faults.add(&format!("{pointer}/hooks/{name}"), "names no program");
            }
        }
    }
    if raw.attempts == Some(0) {
        faults.add(&format!("{pointer}/attempts"), "expected 1 or more, found 0");
    }
    let isolate = raw.isolate.unwrap_or(false);
    Around { timeout, attempts: raw.attempts, collect, hooks, isolate, conversation: raw.conversation }
}

/// How long late spans are waited for.
const GRACE: Duration = Duration::from_secs(2);
/// Time limit of a hook.
const HOOK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;

    const SUITE: &str = "[suites.s]\nfile = \"x.jsonl\"\ngraders = [{ scorer = \"exact\" }]\ncandidate = \"a\"\n\
                         [suites.s.targets.a]\nkind = \"command\"\ncommand = [\"agent\"]\nenv = { M = \"x\", T = \"0\" }\n";

    fn messages(more: &str) -> Vec<String> {
        let file = Path::new("assize.toml");
        let found = parse(&format!("{SUITE}{more}"), file).and_then(|(_, faults)| faults.done(file));
        let problems = found.err().map(|problems| problems.problems).unwrap_or_default();
        problems.into_iter().map(|problem| format!("{} {}: {}", problem.line, problem.path, problem.message)).collect()
    }

    #[test]
    fn variants_and_combinations_become_targets() {
        let text = format!(
            "{SUITE}[suites.s.variants.b]\nextends = \"a\"\nset = {{ env = {{ M = \"y\" }}, timeout = \"5s\" }}\n\
             [suites.s.variants.c]\nextends = \"b\"\nset.env.T = \"1\"\n\
             [suites.s.matrix.m]\nextends = \"a\"\naxes = {{ \"env.M\" = [\"p/1\", \"q\"], \"env.T\" = [\"0\", \"1\"] }}\n"
        );
        let (config, faults) = parse(&text, Path::new("assize.toml")).unwrap();
        assert!(faults.done(Path::new("x")).is_ok());
        let targets = &config.suites["s"].targets;
        let names: Vec<&str> = targets.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b", "c", "m-p_1-0", "m-p_1-1", "m-q-0", "m-q-1"]);
        let env = |name: &str| targets[name].options["env"].to_string();
        assert_eq!(env("b"), r#"{"M":"y","T":"0"}"#);
        assert_eq!(env("c"), r#"{"M":"y","T":"1"}"#);
        assert_eq!(env("m-q-1"), r#"{"M":"q","T":"1"}"#);
        assert_eq!(targets["c"].around.timeout.unwrap().as_secs(), 5);
        assert!(targets["a"].around.is_bare());
    }

    #[test]
    fn what_cannot_be_expanded_is_told_with_its_line() {
        let same = messages("[suites.s.variants.a]\nextends = \"a\"\n");
        assert!(same[0].contains("a second target is named `a`, after `suites.s.targets.a`"), "{same:?}");
        let unknown = messages("[suites.s.variants.b]\nextends = \"aa\"\n");
        assert!(unknown[0].contains("no target `aa` to extend; did you mean `a`?"), "{unknown:?}");
        let circle = messages("[suites.s.variants.b]\nextends = \"c\"\n[suites.s.variants.c]\nextends = \"b\"\n");
        assert!(circle.len() == 2 && circle[0].contains("circle"), "{circle:?}");
        let twice = messages("[suites.s.matrix.m]\nextends = \"a\"\naxes = { \"env.M\" = [\"p/1\", \"p_1\"] }\n");
        assert!(twice[0].contains("a second target is named `m-p_1`"), "{twice:?}");
        let late = messages("[suites.s.variants.b]\nextends = \"a\"\nset = { timeout = \"soon\" }\n");
        assert!(late[0].contains("expected a time"), "{late:?}");
        let hooks = messages("hooks = { set_up = [] }\n");
        assert!(hooks[0].contains("names no program"), "{hooks:?}");
    }
}
