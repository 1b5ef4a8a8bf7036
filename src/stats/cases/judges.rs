//! Cases of judges against people: agreement, the table of verdicts, what labels correct, scores from probabilities.

use serde_json::{Value, json};

use super::{
    read::{at, count, groups, level, list, maybe_number, nested, number, numbers, part, same_length},
    show::{ends, hi, lo},
};
use crate::stats::{
    Confusion, Estimate, JudgedCounts, LEAST_MASS, Metric, PpiSample, Status, Tuning, Weighting, allocate_labels,
    bootstrap_statistic, cohen_kappa, gwet_ac, kendall_tau_b, krippendorff_alpha, label_mass, pearson, percent,
    ppi_mean, rogan_gladen, spearman,
};

pub(super) fn judge_calibration(input: &Value) -> Result<Value, String> {
    let found = Confusion {
        true_pass: count(input, "tp")?,
        false_fail: count(input, "fn")?,
        true_fail: count(input, "tn")?,
        false_pass: count(input, "fp")?,
    };
    let level = level(input)?;
    Ok(json!({
        "status": if found.n() > 0 { Status::Ok } else { Status::Empty }, "tpr": found.tpr(), "tnr": found.tnr(),
        "tpr_ci": ends(found.tpr_interval(level).as_ref()), "tnr_ci": ends(found.tnr_interval(level).as_ref()),
        "ppv": found.ppv(), "npv": found.npv(), "accuracy": found.accuracy(),
        "balanced_accuracy": found.balanced_accuracy(), "f1": found.f1(), "f1_fail": found.f1_fail(),
        "youden": found.youden(), "mcc": found.mcc(), "kappa": found.kappa(),
    }))
}

pub(super) fn agreement(input: &Value) -> Result<Value, String> {
    let cats = numbers(input, "cats")?;
    let index = |value: &Value| value.as_f64().and_then(|value| cats.iter().position(|cat| *cat == value));
    if at(input, "kind") == "multi" {
        let mut items: Vec<Vec<usize>> = Vec::new();
        for item in list(input, "ratings")? {
            let item = item.as_array().ok_or("`ratings` holds an item that is no list")?;
            items.push(item.iter().filter_map(index).collect());
        }
        let alpha = |metric| krippendorff_alpha(&items, &cats, metric);
        let ac = |weighting| gwet_ac(&items, cats.len(), weighting);
        return Ok(json!({
            "alpha_nominal": alpha(Metric::Nominal), "alpha_ordinal": alpha(Metric::Ordinal),
            "alpha_interval": alpha(Metric::Interval), "ac1": ac(Weighting::None),
            "ac2_linear": ac(Weighting::Linear), "ac2_quadratic": ac(Weighting::Quadratic),
        }));
    }
    let (a, b) = (list(input, "a")?, list(input, "b")?);
    same_length(("a", a), ("b", b))?;
    let pairs: Vec<(usize, usize)> = a.iter().zip(b).filter_map(|(a, b)| index(a).zip(index(b))).collect();
    let values: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (cats[*a], cats[*b])).collect();
    let kappa = |weighting| cohen_kappa(&pairs, cats.len(), weighting);
    if at(input, "kind") == "interval" {
        return kappa_interval(input, &pairs, cats.len());
    }
    let status = match (pairs.is_empty(), kappa(Weighting::None)) {
        (true, _) => Status::Empty,
        (false, None) => Status::Undefined,
        (false, Some(_)) => Status::Ok,
    };
    Ok(json!({
        "status": status, "n": pairs.len(), "percent": percent(&pairs), "kappa": kappa(Weighting::None),
        "kappa_linear": kappa(Weighting::Linear), "kappa_quadratic": kappa(Weighting::Quadratic),
        "spearman": spearman(&values), "kendall_tau_b": kendall_tau_b(&values), "pearson": pearson(&values),
    }))
}

/// Kappa over given resamples of clusters of items; items of which a side has no rating are none.
fn kappa_interval(input: &Value, pairs: &[(usize, usize)], categories: usize) -> Result<Value, String> {
    let resamples: Vec<Vec<usize>> = nested(input, "indices")?;
    let clusters = groups(input, "cluster", pairs.len())?;
    let kappa = |items: &[usize]| {
        let drawn: Vec<(usize, usize)> = items.iter().filter_map(|item| pairs.get(*item).copied()).collect();
        cohen_kappa(&drawn, categories, Weighting::None)
    };
    let found = bootstrap_statistic(&clusters, resamples, level(input)?, kappa);
    Ok(json!({
        "kappa": found.estimate, "se": found.se, "percentile": ends(found.percentile.as_ref()),
        "n_undefined": found.undefined,
    }))
}

pub(super) fn ppi(input: &Value) -> Result<Value, String> {
    let weights = |key: &str| if at(input, key).is_null() { Ok(Vec::new()) } else { numbers(input, key) };
    let (labels, judged, unlabelled) = (numbers(input, "Y")?, numbers(input, "F")?, numbers(input, "FU")?);
    let (weights, unlabelled_weights) = (weights("w")?, weights("w_unlabeled")?);
    let sample = PpiSample {
        labels: &labels,
        judged: &judged,
        unlabelled: &unlabelled,
        weights: &weights,
        unlabelled_weights: &unlabelled_weights,
    };
    let tuning = maybe_number(input, "lam")?.map_or(Tuning::Least, Tuning::Fixed);
    let found = ppi_mean(sample, tuning, level(input)?);
    // The files give a point where nothing varies; the estimate gives no interval on purpose.
    let point = |estimate: &Estimate| estimate.estimate.filter(|_| estimate.status == Status::ZeroVariance);
    let (normal, jackknife) = (&found.normal, &found.jackknife);
    Ok(json!({
        "status": normal.status, "lam": found.tuning, "estimate": normal.estimate,
        "se": point(normal).map(|_| 0.0).or(normal.se),
        "lo": point(normal).or(lo(normal.interval.as_ref())), "hi": point(normal).or(hi(normal.interval.as_ref())),
        "jackknife_t": point(jackknife).map_or_else(|| ends(jackknife.interval.as_ref()), |at| json!([at, at])),
    }))
}

pub(super) fn corrected_rate(input: &Value) -> Result<Value, String> {
    let ((passed, items), (hits, passes)) = (part(input, "judged_pass", "n")?, part(input, "tp", "m1")?);
    let (rejected, fails) = part(input, "tn", "m0")?;
    let calibration =
        Confusion { true_pass: hits, false_fail: passes - hits, true_fail: rejected, false_pass: fails - rejected };
    let found = rogan_gladen(JudgedCounts { passed, items, calibration }, level(input)?);
    let allocated = match (at(input, "labels").is_null(), calibration.tpr(), calibration.tnr()) {
        (false, Some(sensitivity), Some(specificity)) => {
            allocate_labels(count(input, "labels")?, number(input, "expected_pass")?, sensitivity, specificity)
        }
        _ => None,
    };
    Ok(json!({
        "status": found.status, "naive": found.naive, "estimate": found.estimate,
        "estimate_unclipped": found.unclipped, "se_delta": found.se, "lo": lo(found.interval.as_ref()),
        "hi": hi(found.interval.as_ref()), "labels_of_passes": allocated,
    }))
}

pub(super) fn judge_scores(input: &Value) -> Result<Value, String> {
    let tokens: Vec<(String, f64)> = nested(input, "tokens")?;
    let labels = at(input, "labels").as_object().ok_or("`labels` is no object")?;
    let mut scores = Vec::new();
    for (label, score) in labels {
        scores.push((label.as_str(), score.as_f64().ok_or_else(|| format!("label `{label}` has no number"))?));
    }
    let least = maybe_number(input, "min_mass")?.unwrap_or(LEAST_MASS);
    let tokens: Vec<(&str, f64)> = tokens.iter().map(|(text, log)| (text.as_str(), *log)).collect();
    let found = label_mass(&tokens, &scores, least);
    Ok(json!({
        "status": found.status, "mass": found.mass, "expected": found.expected, "normalised": found.normalised,
        "entropy": found.entropy, "argmax": found.mode,
    }))
}
