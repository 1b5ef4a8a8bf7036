//! Cases of judges against people: agreement and the table of verdicts.

use serde_json::{Value, json};

use super::{
    read::{at, count, level, list, numbers, same_length},
    show::ends,
};
use crate::stats::{
    Confusion, Metric, Status, Weighting, cohen_kappa, gwet_ac, kendall_tau_b, krippendorff_alpha, pearson, percent,
    spearman,
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
