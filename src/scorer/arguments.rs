//! How the arguments of a tool call are held against those expected: rules by tool, tolerances, and scorers for single
//! arguments.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::calls::{Expected, parsed};
use super::material::{expected_found, quote_value};
use super::subset::{Tolerance, contained_within, equal};
use super::{Scorer, find};
use crate::model::{Example, ExampleId, Output, Scale, ScoreInput, ToolUse};
use crate::sys::text::one_line;

/// How strictly arguments are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Match {
    /// The expected arguments are there; the call may have others, also inside objects.
    #[default]
    Partial,
    /// The expected arguments and no others.
    Exact,
    /// No argument but the expected ones; some of them may be left out.
    Within,
    /// Arguments are not compared.
    Ignore,
}

/// A scorer that compares one argument.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct Comparator {
    /// Name of the scorer; it must give yes or no.
    scorer: String,
    /// Options of the scorer.
    #[serde(flatten)]
    options: Map<String, Value>,
}

/// The rules of one scorer.
pub(super) struct Rules {
    usual: Match,
    of_tools: BTreeMap<String, Match>,
    tolerance: Tolerance,
    ignore_case: bool,
    comparators: BTreeMap<String, Box<dyn Scorer>>,
    inside: Vec<String>,
}

/// How far a call fits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fit {
    /// Arguments that are as they should be.
    pub met: usize,
    /// Arguments that are looked at.
    pub all: usize,
    /// What is wrong with the others.
    pub faults: Vec<String>,
}

impl Fit {
    /// Whether nothing is wrong.
    pub(super) fn is_full(&self) -> bool {
        self.met == self.all
    }

    /// The share of the call that is right: the tool and each of its arguments count alike.
    pub(super) fn share(&self) -> f64 {
        (1 + self.met) as f64 / (1 + self.all) as f64
    }
}

impl Rules {
    pub(super) fn new(
        usual: Match,
        of_tools: BTreeMap<String, Match>,
        tolerance: Tolerance,
        ignore_case: bool,
        compare: BTreeMap<String, Comparator>,
    ) -> Result<Self, String> {
        let mut comparators = BTreeMap::new();
        let mut inside = Vec::new();
        for (place, comparator) in compare {
            let at = format!("`compare.{}`", one_line(&place, 60));
            let info = find(&comparator.scorer)
                .ok_or_else(|| format!("{at}: no scorer `{}`", one_line(&comparator.scorer, 60)))?;
            let scorer = (info.build)(&Value::Object(comparator.options)).map_err(|error| format!("{at}: {error}"))?;
            if scorer.scale() != Scale::Binary {
                return Err(format!("{at}: `{}` must give yes or no: give it a limit such as `at_least`", info.name));
            }
            inside.push(format!("{}@{}", info.name, info.version));
            inside.extend(scorer.inside());
            comparators.insert(place, scorer);
        }
        Ok(Self { usual, of_tools, tolerance, ignore_case, comparators, inside })
    }

    /// Scorers that compare arguments.
    pub(super) fn inside(&self) -> Vec<String> {
        self.inside.clone()
    }

    /// How far a call is the expected one; `None` when it is of another tool.
    pub(super) fn fit(&self, expected: &Expected, made: &ToolUse) -> Option<Fit> {
        if expected.name != made.name {
            return None;
        }
        let rule = self.of_tools.get(&made.name).copied().unwrap_or(self.usual);
        let Some(wanted) = expected.arguments.as_ref().filter(|_| rule != Match::Ignore) else {
            return Some(Fit::default());
        };
        let none = Value::Object(Map::new());
        let given = made.arguments.as_ref().filter(|value| !value.is_null()).unwrap_or(&none);
        let given = parsed(given);
        Some(match (wanted, &*given) {
            (Value::Object(wanted), Value::Object(given)) => self.objects(rule, &made.name, wanted, given),
            (wanted, given) => {
                let same = self.same(rule, wanted, given);
                let faults =
                    if same { Vec::new() } else { vec![expected_found(&quote_value(wanted), &quote_value(given))] };
                Fit { met: usize::from(same), all: 1, faults }
            }
        })
    }

    fn objects(&self, rule: Match, tool: &str, wanted: &Map<String, Value>, given: &Map<String, Value>) -> Fit {
        let mut fit = Fit::default();
        let keys: BTreeSet<&String> = wanted.keys().chain(given.keys()).collect();
        for key in keys {
            let name = one_line(key, 60);
            match (wanted.get(key), given.get(key)) {
                (Some(_), None) if rule == Match::Within => {}
                (None, Some(_)) if rule == Match::Partial => {}
                (Some(value), Some(other)) => {
                    fit.all += 1;
                    if self.argument(rule, tool, key, value, other) {
                        fit.met += 1;
                    } else {
                        let told = expected_found(&quote_value(value), &quote_value(other));
                        fit.faults.push(format!("`{name}` {told}"));
                    }
                }
                (Some(value), None) => {
                    fit.all += 1;
                    fit.faults.push(format!("`{name}` expected {}, left out", quote_value(value)));
                }
                (None, other) => {
                    fit.all += 1;
                    let other = other.map(quote_value).unwrap_or_default();
                    fit.faults.push(format!("`{name}` not expected, found {other}"));
                }
            }
        }
        fit
    }

    fn argument(&self, rule: Match, tool: &str, key: &str, wanted: &Value, given: &Value) -> bool {
        let own = self.comparators.get(&format!("{tool}.{key}")).or_else(|| self.comparators.get(key));
        let Some(scorer) = own else { return self.same(rule, wanted, given) };
        let mut example = Example::new(ExampleId::new("argument"), Value::Null);
        example.reference = Some(wanted.clone());
        let output = Output { value: given.clone(), ..Output::default() };
        let scored = scorer.score(&ScoreInput { example: &example, output: &output });
        scored.is_ok_and(|score| score.value.number() == Some(1.0))
    }

    fn same(&self, rule: Match, wanted: &Value, given: &Value) -> bool {
        let (wanted, given) = (self.form(wanted), self.form(given));
        match rule {
            Match::Partial => contained_within(&wanted, &given, self.tolerance),
            _ => equal(&wanted, &given, self.tolerance),
        }
    }

    fn form<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        if self.ignore_case { Cow::Owned(lowered(value)) } else { Cow::Borrowed(value) }
    }
}

/// All texts in a value in lower case, keys left as they are.
fn lowered(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.to_lowercase()),
        Value::Array(items) => items.iter().map(lowered).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), lowered(value))).collect()),
        other => other.clone(),
    }
}
