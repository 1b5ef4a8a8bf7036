//! Reference cases: foreign input to an estimator's answer, and that answer against what a file expects.
//!
//! A file names its method, its tolerance and cases of `input` and `expected`. Here is the table from the name of a
//! method to the code that answers its cases, and the comparison. Reading files, walking folders and printing is done
//! elsewhere. Cases are foreign: one that cannot be read is an error in words, never a panic.

mod attribution;
mod compare;
mod differences;
mod judges;
mod means;
mod plans;
mod preferences;
mod rates;
mod read;
mod show;
mod watching;

use serde_json::Value;

pub use compare::{Miss, compare_case};

/// Answers the input of one case as its file spells answers; the error says what in the input cannot be read.
pub type Adapter = fn(&Value) -> Result<Value, String>;

/// Method name in a file to the code that answers its cases.
pub const ADAPTERS: &[(&str, Adapter)] = &[
    ("agreement", judges::agreement),
    ("alerts", watching::alerts),
    ("attribution", attribution::attribution),
    ("bootstrap", differences::bootstrap),
    ("bradley_terry", preferences::bradley_terry_fit),
    ("clustered_se", means::clustered_se),
    ("drift", watching::drift),
    ("effect_size", differences::effect_size),
    ("gate", differences::gate),
    ("judge_calibration", judges::judge_calibration),
    ("judge_scores", judges::judge_scores),
    ("length_controlled", preferences::length_control),
    ("mcnemar", rates::mcnemar_tests),
    ("mean_ci", means::mean_ci),
    ("multiple_testing", plans::multiple_testing),
    ("paired_t", differences::paired),
    ("pairwise", preferences::both_orders),
    ("pass_at_k", rates::pass_at_k),
    ("permutation", differences::permutation),
    ("power", plans::power),
    ("ppi", judges::ppi),
    ("proportion_ci", rates::proportion_ci),
    ("quantile", means::quantile_bounds),
    ("rogan_gladen", judges::corrected_rate),
    ("sequential", watching::sequential),
    ("tost", differences::tost),
    ("unpaired", differences::unpaired),
    ("variance_components", plans::variance_components),
    ("weighted", means::weighted),
    ("wilcoxon", differences::wilcoxon),
];

/// The code behind a method's name; `None` for a method that is not known.
pub fn adapter_of(method: &str) -> Option<Adapter> {
    ADAPTERS.iter().find(|(name, _)| *name == method).map(|(_, adapter)| *adapter)
}

/// The answer to one case of a method, from its `input`; the error names what is missing or cannot be read.
pub fn run_case(method: &str, case: &Value) -> Result<Value, String> {
    let adapter = adapter_of(method).ok_or_else(|| format!("no method is called `{method}`"))?;
    adapter(case.get("input").ok_or("the case has no `input`")?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_said() {
        let told = |method: &str, input: Value| run_case(method, &json!({ "input": input })).unwrap_err();
        assert_eq!(run_case("mean_ci", &json!({})).unwrap_err(), "the case has no `input`");
        assert_eq!(told("means", json!({})), "no method is called `means`");
        assert_eq!(told("mean_ci", json!({})), "`x` is missing");
        assert_eq!(told("mean_ci", json!({ "x": [1, "two"] })), "`x` holds \"two\", which is no number");
        assert_eq!(told("proportion_ci", json!({ "k": 5, "n": 3, "conf": 0.95 })), "`k` is 5, more than `n`, 3");
        assert_eq!(told("proportion_ci", json!({ "k": 5, "n": 9, "conf": 95 })), "`conf` is 95, not between 0 and 1");
        assert_eq!(
            told("gate", json!({ "kind": "u", "margin": 0, "alpha": 0.05 })),
            "`kind` is \"u\", which is not read"
        );
    }

    /// Keys that some adapter reads, so that broken values reach the code behind them.
    const KEYS: &[&str] = &[
        "k",
        "n",
        "conf",
        "x",
        "y",
        "w",
        "a",
        "b",
        "d",
        "p",
        "pi",
        "cluster",
        "strata",
        "kind",
        "margin",
        "alpha",
        "cats",
        "ratings",
        "indices",
        "trials",
        "groups",
        "delta",
        "tp",
        "fn",
        "tn",
        "fp",
        "range",
        "shift",
        "improved",
        "worsened",
        "both_pass",
        "both_fail",
        "n_a",
        "n_b",
        "power",
        "c",
        "threshold",
        "m0",
        "lambdas",
        "sd",
        "baseline",
        "current",
        "n_min",
        "breach",
        "est",
        "se",
        "df",
        "scale_range",
    ];

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3_i64..9).prop_map(Value::from),
            (-2.0..2.0_f64).prop_map(Value::from),
            prop_oneof![Just(1e308), Just(-1e308), Just(1e-308)].prop_map(Value::from),
            prop_oneof![
                "[ab]",
                "t",
                "binary",
                "zero_variance",
                "poisson",
                "multi",
                "one_way",
                "nested",
                "t_power",
                "trail",
                "who_when",
                "asymptotic",
                "predmix_eb",
                "changepoint",
                "machine",
                "p95_threshold"
            ]
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| prop::collection::vec(inner, 0..6).prop_map(Value::from))
    }

    proptest! {
        #[test]
        fn broken_cases_never_panic(
            method in 0..ADAPTERS.len(),
            input in prop::collection::btree_map(prop::sample::select(KEYS), values(), 0..20),
        ) {
            let object: serde_json::Map<String, Value> =
                input.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            match (ADAPTERS[method].1)(&Value::Object(object)) {
                Ok(found) => prop_assert!(found.is_object() || found.is_null()),
                Err(words) => prop_assert!(!words.is_empty()),
            }
        }
    }
}
