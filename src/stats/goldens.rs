//! Walks the reference values: every case of every implemented method must be read and must agree.
//!
//! Two folders: `tests/goldens`, which the project carries, and the larger set beside it when it is there. A file
//! names its method, its tolerance and cases of input and expected output; a key that no adapter returns fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use serde_json::{Map, Value, json};

use super::*;

type Adapter = fn(&Value) -> Value;

/// Method name in the file to the code that answers its cases.
const ADAPTERS: &[(&str, Adapter)] = &[
    ("agreement", agreement),
    ("bootstrap", bootstrap),
    ("clustered_se", clustered_se),
    ("effect_size", effect_size),
    ("gate", gate),
    ("judge_calibration", judge_calibration),
    ("mcnemar", mcnemar_case),
    ("mean_ci", mean_ci),
    ("multiple_testing", multiple_testing),
    ("paired_t", paired_case),
    ("pass_at_k", pass_at_k_case),
    ("permutation", permutation),
    ("power", power),
    ("proportion_ci", proportion_ci),
    ("quantile", quantile_case),
    ("tost", tost),
    ("unpaired", unpaired),
    ("variance_components", variance_components),
    ("weighted", weighted),
    ("wilcoxon", wilcoxon),
];

#[test]
fn own_goldens() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens"));
    let counts = walk(&folder);
    assert!(counts.len() == ADAPTERS.len(), "each method has its own values: {counts:?}");
}

#[test]
fn shared_goldens() {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared"));
    // A test may look at the environment; nothing that ships does.
    #[expect(clippy::disallowed_methods, reason = "tests find fixtures by an environment variable")]
    let named = std::env::var("ASSIZE_SHARED").map(PathBuf::from);
    let folder = named.unwrap_or(beside).join("goldens");
    if !folder.is_dir() {
        println!("skipped: no fixtures at {}", folder.display());
        return;
    }
    let counts = walk(&folder);
    println!("{} cases agree: {counts:?}", counts.values().sum::<usize>());
    assert!(counts.values().sum::<usize>() > 300, "{counts:?}");
}

/// Cases that agreed, by method.
fn walk(folder: &PathBuf) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut faults = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let Some(method) = file["method"].as_str() else { continue };
        for case in file["cases"].as_array().unwrap() {
            // Quantiles live among the drift cases; the rest of that file is another module's.
            let kind = case["input"]["kind"].as_str();
            let name = if method == "drift" && kind == Some("quantile") { "quantile" } else { method };
            let Some((_, adapter)) = ADAPTERS.iter().find(|(known, _)| *known == name) else { continue };
            let found = adapter(&case["input"]);
            let tolerance = if case["tol"].is_object() { &case["tol"] } else { &file["tolerance"] };
            let place = format!("{} {}", path.file_name().unwrap().to_string_lossy(), case["id"]);
            let before = faults.len();
            compare(&place, &found, &case["expected"], tolerance, &mut faults);
            *counts.entry(name.to_owned()).or_default() += usize::from(faults.len() == before);
        }
    }
    assert!(faults.is_empty(), "{} disagree:\n{}", faults.len(), faults.join("\n"));
    counts
}

fn compare(place: &str, found: &Value, expected: &Value, tolerance: &Value, faults: &mut Vec<String>) {
    match (found, expected) {
        (Value::Object(left), Value::Object(right)) => {
            for (key, value) in right {
                match left.get(key) {
                    Some(found) => compare(&format!("{place}.{key}"), found, value, tolerance, faults),
                    None => faults.push(format!("{place}.{key} is not read")),
                }
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{place}[{index}]"), left, right, tolerance, faults);
            }
        }
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            let room = tolerance["abs"].as_f64().unwrap() + tolerance["rel"].as_f64().unwrap() * right.abs();
            if (left - right).abs() > room {
                faults.push(format!("{place}: found {left:e}, expected {right:e}"));
            }
        }
        (left, right) if left == right => {}
        (left, right) => faults.push(format!("{place}: found {left}, expected {right}")),
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().map(|items| items.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
}

fn maybe_numbers(value: &Value) -> Vec<Option<f64>> {
    value.as_array().map(|items| items.iter().map(Value::as_f64).collect()).unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// Names to numbers in the order of the names; every value its own when there are none.
fn groups(value: &Value, n: usize) -> Vec<usize> {
    let Some(items) = value.as_array() else { return (0..n).collect() };
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    let names: BTreeSet<&String> = texts.iter().collect();
    texts.iter().map(|text| names.iter().position(|name| *name == text).unwrap()).collect()
}

fn ends(interval: Option<&Interval>) -> Value {
    interval.map_or(Value::Null, |interval| json!([interval.lo, interval.hi]))
}

fn lo(interval: Option<&Interval>) -> Option<f64> {
    interval.map(|interval| interval.lo)
}

fn hi(interval: Option<&Interval>) -> Option<f64> {
    interval.map(|interval| interval.hi)
}

/// Point, error and ends as the files have them. For equal values they give a standard error of 0 and a point; the
/// estimate leaves both out on purpose, so they are put in here.
fn spread(estimate: &Estimate) -> Value {
    let equal = (estimate.status == Status::ZeroVariance).then_some(0.0);
    let point = equal.and(estimate.estimate);
    json!({
        "status": estimate.status,
        "mean": estimate.estimate,
        "se": estimate.se.or(equal),
        "df": estimate.df,
        "lo": point.or(lo(estimate.interval.as_ref())),
        "hi": point.or(hi(estimate.interval.as_ref())),
    })
}

fn with(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

fn proportion_ci(input: &Value) -> Value {
    let (k, n, level) = (count(&input["k"]), count(&input["n"]), number(&input["conf"]));
    let found = proportion(k, n, level);
    json!({
        "status": found.status, "estimate": found.estimate,
        "wilson": ends(found.interval.as_ref()),
        "clopper_pearson": ends(clopper_pearson(k, n, level).as_ref()),
        "cp_lower_onesided": clopper_pearson_lower(k, n, 1.0 - level),
    })
}

fn mean_ci(input: &Value) -> Value {
    let (x, level) = (numbers(&input["x"]), number(&input["conf"]));
    let ends_of = numbers(&input["range"]);
    let found = mean_t(&x, None, level);
    let range = ends_of.first().copied().zip(ends_of.get(1).copied());
    let bounded = range.map(|range| {
        json!({
            "status": if x.is_empty() { Status::Empty } else if x.len() == 1 { Status::Insufficient } else { Status::Ok },
            "hoeffding": ends(hoeffding(&x, range, level).as_ref()),
            "empirical_bernstein": ends(empirical_bernstein(&x, range, level).as_ref()),
        })
    });
    let sd = moments::variance(&x).map(|variance| if moments::all_equal(&x) { 0.0 } else { variance.sqrt() });
    with(spread(&found), json!({ "n": found.n, "sd": sd, "bounded": bounded }))
}

fn clustered_se(input: &Value) -> Value {
    let x = numbers(&input["x"]);
    let clusters = groups(&input["cluster"], x.len());
    let found = clustered_mean(&x, &clusters);
    let estimate = mean_cr2(&x, &clusters, None, number(&input["conf"]));
    let flat = |se: Option<f64>| se.map(|se| if found.all_equal { 0.0 } else { se });
    with(
        spread(&estimate),
        json!({
            "n": found.n, "clusters": found.clusters, "df_bm": found.df, "design_effect": found.design_effect(),
            "se_naive": flat(found.se_naive), "se_cr0": flat(found.se_cr0), "se_cr1": flat(found.se_cr1),
            "se_cr2": flat(found.se_cr2),
        }),
    )
}

fn weighted(input: &Value) -> Value {
    if input["kind"] == "poisson" {
        return poisson(input);
    }
    let (y, w) = (numbers(&input["y"]), numbers(&input["w"]));
    let clusters = groups(&input["cluster"], y.len());
    let stratum = if input["strata"].is_null() { Vec::new() } else { groups(&input["strata"], y.len()) };
    let fraction: Option<BTreeMap<usize, f64>> = input["sampling_fraction"]
        .as_object()
        .map(|shares| shares.values().enumerate().map(|(index, share)| (index, number(share))).collect());
    let strata = Strata { of: &stratum, fraction: fraction.as_ref() };
    let found = hajek(&y, &w, &clusters, &strata);
    let level = number(&input["conf"]);
    let equal = moments::all_equal(&y);
    let status = match (found.mean, found.se) {
        (None, _) => json!("empty"),
        (Some(_), None) if found.singleton_stratum => json!("singleton_stratum"),
        (Some(_), None) => json!("insufficient"),
        (Some(_), Some(_)) if equal => json!("zero_variance"),
        (Some(_), Some(_)) => json!("ok"),
    };
    if stratum.is_empty() && !equal {
        let estimate = mean_hajek(&y, &w, &clusters, None, level);
        assert_eq!((estimate.estimate, estimate.se), (found.mean, found.se), "one formula behind both");
    }
    let half = found.se.zip(found.df).map(|(se, df)| t_quantile(0.5 + 0.5 * level, df) * se);
    json!({
        "status": status, "mean": found.mean, "se": found.se, "df": found.df,
        "lo": found.mean.zip(half).map(|(mean, half)| mean - half),
        "hi": found.mean.zip(half).map(|(mean, half)| mean + half),
        "kish_neff": found.effective, "kish_deff": found.effective.map(|effective| y.len() as f64 / effective),
    })
}

fn poisson(input: &Value) -> Value {
    let found = poisson_sample(&numbers(&input["y"]), &numbers(&input["pi"]));
    let size = input["N"].as_f64();
    let per = |value: Option<f64>| value.zip(size).map(|(value, size)| value / size);
    let (total, total_se) = found.total.unzip();
    let (mean, mean_se) = found.mean.unzip();
    json!({
        "status": if found.total.is_some() { Status::Ok } else { Status::Empty },
        "ht_total": total, "ht_total_se": total_se, "N_hat": found.size,
        "ht_mean": per(total), "ht_mean_se": per(total_se), "hajek_mean": mean, "hajek_se": mean_se,
    })
}

fn mcnemar_case(input: &Value) -> Value {
    let cell = |name: &str| count(&input[name]);
    let counts = PairedCounts {
        improved: cell("improved"),
        worsened: cell("worsened"),
        n: cell("both_pass") + cell("both_fail") + cell("improved") + cell("worsened"),
    };
    let level = input["conf"].as_f64().unwrap_or(0.95);
    let (tests, estimate) = (mcnemar(counts), tango(counts, level));
    let chi2 = tests.and_then(|tests| tests.chi2_corrected);
    json!({
        "status": estimate.status, "delta": estimate.estimate, "exact": tests.map(|tests| tests.exact),
        "mid_p": tests.map(|tests| tests.mid_p), "mid_p_less": tests.map(|tests| tests.mid_p_worse),
        "chi2_cc_stat": chi2,
        "chi2_cc_p": chi2.map(|chi2| 2.0 * normal_sf(chi2.sqrt())),
        "tango": ends(estimate.interval.as_ref()),
    })
}

fn gate(input: &Value) -> Value {
    let (margin, alpha) = (number(&input["margin"]), number(&input["alpha"]));
    let test = match input["kind"].as_str().unwrap() {
        "t" => t_margin(number(&input["est"]), number(&input["se"]), number(&input["df"]), margin, alpha),
        "binary" => {
            let cell = |name: &str| count(&input[name]);
            let counts = PairedCounts { improved: cell("improved"), worsened: cell("worsened"), n: cell("n") };
            tango_margin(counts, margin, alpha)
        }
        "zero_variance" => {
            equal_differences(number(&input["c"]), count(&input["n"]), number(&input["scale_range"]), margin, alpha)
        }
        "insufficient" => equal_differences(0.0, count(&input["n"]), 1.0, margin, alpha),
        other => panic!("unread kind {other}"),
    };
    let Some(test) = test else { return json!({ "verdict": "inconclusive", "reason": "insufficient" }) };
    let verdict = match test.finding() {
        Finding::Better => "improved",
        Finding::Worse => "regressed",
        Finding::Equivalent => "equivalent",
        Finding::Open => "inconclusive",
    };
    json!({
        "verdict": verdict, "lower": test.bounds.lower, "upper": test.bounds.upper, "p_worse": test.p_worse,
        "p_better": test.p_better, "p_noninf": test.p_not_inferior, "p_tost": test.p_equivalent(),
        "non_inferior": test.non_inferior(), "material_regression": test.material_regression(),
        "material_improvement": test.material_improvement(),
    })
}

fn tost(input: &Value) -> Value {
    let alpha = number(&input["alpha"]);
    let found = paired_t(&maybe_numbers(&input["a"]), &maybe_numbers(&input["b"]), 1.0 - 2.0 * alpha);
    let test = found
        .delta
        .zip(found.se.zip(found.df))
        .and_then(|(delta, (se, df))| t_margin(delta, se, df, number(&input["margin"]), alpha));
    json!({
        "status": found.status, "delta": found.delta,
        "p_lower": test.and_then(|test| test.p_not_inferior), "p_upper": test.and_then(|test| test.p_not_superior),
        "p_tost": test.and_then(|test| test.p_equivalent()),
        "ci90": ends(found.interval.as_ref()),
    })
}

fn paired_case(input: &Value) -> Value {
    let level = input["conf"].as_f64().unwrap_or(0.95);
    let found = paired_t(&maybe_numbers(&input["a"]), &maybe_numbers(&input["b"]), level);
    let point = (found.status == Status::ZeroVariance).then_some(found.delta).flatten();
    json!({
        "status": found.status, "n": found.n, "n_dropped": found.n_dropped, "delta": found.delta,
        "se_paired": found.se, "se_unpaired": found.se_unpaired, "corr": found.correlation, "t": found.t,
        "df": found.df, "p_two_sided": found.p_two_sided, "p_less": found.p_less,
        "lo": point.or(lo(found.interval.as_ref())), "hi": point.or(hi(found.interval.as_ref())),
    })
}

fn unpaired(input: &Value) -> Value {
    let (a, b, level) = (numbers(&input["a"]), numbers(&input["b"]), number(&input["conf"]));
    let found = welch(&a, &b, level);
    let binary = a.iter().chain(&b).all(|value| *value == 0.0 || *value == 1.0);
    let arm = |values: &[f64]| (values.iter().sum::<f64>() as u64, values.len() as u64);
    json!({
        "status": found.status, "delta": found.estimate, "se": found.se, "df": found.df,
        "t": found.estimate.zip(found.se).map(|(point, se)| point / se), "p_two_sided": two_sided_p(&found),
        "lo": lo(found.interval.as_ref()), "hi": hi(found.interval.as_ref()),
        "newcombe": if binary { ends(newcombe(arm(&a), arm(&b), level).as_ref()) } else { Value::Null },
    })
}

fn permutation(input: &Value) -> Value {
    let d = numbers(&input["d"]);
    let found = sign_flip(&d, &groups(&input["cluster"], d.len()), number(&input["shift"]), 0, 0);
    json!({
        "status": found.status, "two_sided": found.two_sided, "less": found.less, "greater": found.greater,
        "studentized_two_sided": found.studentized,
    })
}

fn bootstrap(input: &Value) -> Value {
    let x = numbers(&input["x"]);
    let clusters = groups(&input["cluster"], x.len());
    let resamples: Vec<Vec<usize>> = if input["enumerate"] == true {
        every_resample(x.len())
    } else {
        serde_json::from_value(input["indices"].clone()).unwrap()
    };
    let found = bootstrap_mean(&x, &clusters, &resamples, number(&input["conf"])).unwrap();
    json!({
        "theta": found.estimate, "se": found.se, "percentile": ends(Some(&found.percentile)),
        "basic": ends(Some(&found.basic)), "z0": found.bias, "a": found.acceleration, "bca": ends(found.bca.as_ref()),
    })
}

fn every_resample(n: usize) -> Vec<Vec<usize>> {
    (0..n.pow(n as u32)).map(|code| (0..n).map(|place| code / n.pow(place as u32) % n).collect()).collect()
}

fn multiple_testing(input: &Value) -> Value {
    let (p, alpha) = (maybe_numbers(&input["p"]), number(&input["alpha"]));
    let show = |adjusted: Vec<Option<f64>>| {
        let reject: Vec<bool> = adjusted.iter().map(|p| p.is_some_and(|p| p <= alpha)).collect();
        json!({ "adjusted": adjusted, "reject": reject })
    };
    json!({
        "holm": show(holm(&p)), "bh": show(benjamini_hochberg(&p)), "by": show(benjamini_yekutieli(&p)),
        "bonferroni": show(bonferroni(&p)),
    })
}

fn power(input: &Value) -> Value {
    let plan = Plan {
        alpha: number(&input["alpha"]),
        power: input["power"].as_f64().unwrap_or(0.8),
        one_sided: input["one_sided"] == true || input["alternative"].as_str().is_some_and(|side| side != "two-sided"),
    };
    match input["kind"].as_str().unwrap() {
        "normal" => {
            let variance = Variances {
                between: number(&input["omega2"]),
                within_baseline: number(&input["sigma2_a"]),
                within_candidate: number(&input["sigma2_b"]),
                trials_baseline: count(&input["k_a"]) as u32,
                trials_candidate: count(&input["k_b"]) as u32,
                design_effect: number(&input["deff"]),
            }
            .per_example();
            json!({
                "n_required": examples_needed(variance, number(&input["delta"]), plan),
                "mde": detectable(variance, count(&input["n"]), plan),
            })
        }
        "t_power" => {
            let sign = if input["alternative"] == "smaller" { -1.0 } else { 1.0 };
            json!({ "power": t_power(sign * number(&input["effect_size"]), count(&input["n"]), plan) })
        }
        "mcnemar_exact_power" => {
            let (improved, worsened) = (number(&input["p_improved"]), number(&input["p_worsened"]));
            json!({ "power": mcnemar_power(improved, worsened, count(&input["n"]), plan.alpha) })
        }
        other => panic!("unread kind {other}"),
    }
}

fn quantile_case(input: &Value) -> Value {
    let found = quantile(&numbers(&input["x"]), number(&input["p"]), number(&input["conf"]));
    json!({
        "status": if found.estimate.is_some() { Status::Ok } else { Status::Empty }, "estimate": found.estimate,
        "lo": found.lower.map(|(value, _)| value), "hi": found.upper.map(|(value, _)| value),
        "lo_rank": found.lower.map(|(_, rank)| rank), "hi_rank": found.upper.map(|(_, rank)| rank),
    })
}

fn pass_at_k_case(input: &Value) -> Value {
    let counts: Vec<(u64, u64)> =
        input["trials"].as_array().unwrap().iter().map(|task| (count(&task["n"]), count(&task["c"]))).collect();
    let k = count(&input["k"]);
    let clusters: Vec<usize> = (0..counts.len()).collect();
    let found = repeats(&counts, &clusters, k, 0.95);
    let each = |value: fn(u64, u64, u64) -> Option<f64>| -> Vec<f64> {
        counts.iter().filter_map(|(trials, passes)| value(*trials, *passes, k)).collect()
    };
    json!({
        "per_task_pass_at_k": each(pass_at_k), "per_task_pass_hat_k": each(pass_hat_k), "n_excluded": found.excluded,
        "pass_at_k": spread(&found.pass_at_k), "pass_hat_k": spread(&found.pass_hat_k), "pass_1": found.pass_1,
        "consistency": found.consistency(),
    })
}

fn wilcoxon(input: &Value) -> Value {
    let d = numbers(&input["d"]);
    let found = signs(&d);
    let show = |zeros| {
        let test = signed_rank(&d, zeros);
        test.p_two_sided
            .map(|p| json!({ "statistic": test.statistic, "p_two_sided": p, "p_less": test.p_less }))
            .unwrap_or(Value::Null)
    };
    let exact = signed_rank_exact(&d).map(|(two, less)| json!({ "p_two_sided": two, "p_less": less }));
    json!({
        "status": found.status, "n": d.len(), "n_nonzero": found.nonzero, "net_sign": found.net_sign,
        "superiority": found.superiority, "rank_biserial": found.rank_biserial, "w_plus": found.w_plus,
        "w_minus": found.w_minus, "wilcox": show(Zeros::Drop), "pratt": show(Zeros::Pratt), "exact": exact,
    })
}

fn effect_size(input: &Value) -> Value {
    let (a, b) = (numbers(&input["a"]), numbers(&input["b"]));
    let found = effect_sizes(&a, &b);
    let binary = a.iter().chain(&b).all(|value| *value == 0.0 || *value == 1.0);
    let arm = |values: &[f64]| (values.iter().sum::<f64>() as u64, values.len() as u64);
    let rates = if binary { rate_effects(arm(&a), arm(&b)) } else { None };
    json!({
        "status": if found.cliffs_delta.is_some() { Status::Ok } else { Status::Empty },
        "cohen_d": found.cohen_d, "hedges_g": found.hedges_g, "cohen_dz": found.cohen_dz,
        "cliffs_delta": found.cliffs_delta, "a12": found.a12(), "magnitude": found.magnitude(),
        "risk_difference": rates.map(|rates| rates.risk_difference), "cohen_h": rates.map(|rates| rates.cohen_h),
        "odds_ratio_haldane": rates.map(|rates| rates.odds_ratio),
    })
}

fn variance_components(input: &Value) -> Value {
    match input["kind"].as_str().unwrap() {
        "one_way" => {
            let found = one_way(&serde_json::from_value::<Vec<Vec<f64>>>(input["groups"].clone()).unwrap());
            json!({
                "status": if found.ms_between.is_some() && found.within.is_none() { json!("no_replication") }
                    else { json!(found.status) },
                "ms_between": found.ms_between, "ms_within": found.ms_within, "n0": found.n0,
                "var_between": found.between, "var_within": found.within, "icc": found.icc(),
            })
        }
        "nested" => {
            let found = nested(&serde_json::from_value::<Vec<Vec<Vec<f64>>>>(input["x"].clone()).unwrap());
            json!({
                "status": if found.trial.is_some() && found.draw.is_none() { json!("no_replication") }
                    else { json!(found.status) },
                "var_judge": found.draw, "var_trial": found.trial,
                "var_example": found.example, "ms_example": found.ms_example, "ms_trial": found.ms_trial,
                "predicted_var_mean": found.of_mean,
            })
        }
        _ => {
            let three =
                |names: [&str; 3]| (number(&input[names[0]]), number(&input[names[1]]), number(&input[names[2]]));
            let found = allocate(Budget {
                variance: three(["var_example", "var_trial", "var_judge"]),
                cost: three(["cost_example", "cost_trial", "cost_judge"]),
            });
            json!({
                "j_star": found.draws_exact, "k_star": found.trials_exact, "j": found.draws, "k": found.trials,
            })
        }
    }
}

fn judge_calibration(input: &Value) -> Value {
    let cell = |name: &str| count(&input[name]);
    let found =
        Confusion { true_pass: cell("tp"), false_fail: cell("fn"), true_fail: cell("tn"), false_pass: cell("fp") };
    json!({
        "status": if found.n() > 0 { Status::Ok } else { Status::Empty }, "tpr": found.tpr(), "tnr": found.tnr(),
        "tpr_ci": ends(found.tpr_interval(0.95).as_ref()), "tnr_ci": ends(found.tnr_interval(0.95).as_ref()),
        "ppv": found.ppv(), "npv": found.npv(), "accuracy": found.accuracy(),
        "balanced_accuracy": found.balanced_accuracy(), "f1": found.f1(), "f1_fail": found.f1_fail(),
        "youden": found.youden(), "mcc": found.mcc(), "kappa": found.kappa(),
    })
}

fn agreement(input: &Value) -> Value {
    let cats = numbers(&input["cats"]);
    let index = |value: &Value| value.as_f64().and_then(|value| cats.iter().position(|cat| *cat == value));
    if input["kind"] == "multi" {
        let items: Vec<Vec<usize>> = input["ratings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.as_array().unwrap().iter().filter_map(index).collect())
            .collect();
        let alpha = |metric| krippendorff_alpha(&items, &cats, metric);
        let ac = |weighting| gwet_ac(&items, cats.len(), weighting);
        return json!({
            "alpha_nominal": alpha(Metric::Nominal), "alpha_ordinal": alpha(Metric::Ordinal),
            "alpha_interval": alpha(Metric::Interval), "ac1": ac(Weighting::None),
            "ac2_linear": ac(Weighting::Linear), "ac2_quadratic": ac(Weighting::Quadratic),
        });
    }
    let side = |name: &str| input[name].as_array().unwrap().clone();
    let pairs: Vec<(usize, usize)> =
        side("a").iter().zip(&side("b")).filter_map(|(a, b)| index(a).zip(index(b))).collect();
    let values: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (cats[*a], cats[*b])).collect();
    let kappa = |weighting| cohen_kappa(&pairs, cats.len(), weighting);
    let mut found = Map::new();
    let status = match (pairs.is_empty(), kappa(Weighting::None)) {
        (true, _) => Status::Empty,
        (false, None) => Status::Undefined,
        (false, Some(_)) => Status::Ok,
    };
    found.insert("status".into(), json!(status));
    found.insert("n".into(), json!(pairs.len()));
    found.insert("percent".into(), json!(percent(&pairs)));
    found.insert("kappa".into(), json!(kappa(Weighting::None)));
    found.insert("kappa_linear".into(), json!(kappa(Weighting::Linear)));
    found.insert("kappa_quadratic".into(), json!(kappa(Weighting::Quadratic)));
    found.insert("spearman".into(), json!(spearman(&values)));
    found.insert("kendall_tau_b".into(), json!(kendall_tau_b(&values)));
    found.insert("pearson".into(), json!(pearson(&values)));
    Value::Object(found)
}
