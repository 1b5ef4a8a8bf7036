//! Cases of rates: one rate, paired rates, repeats.

use serde_json::{Value, json};

use super::{
    read::{count, level, list, part},
    show::{ends, spread},
};
use crate::stats::{
    PairedCounts, Status, clopper_pearson, clopper_pearson_lower, mcnemar, normal_sf, pass_at_k as chance_of_any,
    pass_hat_k, proportion, repeats, tango,
};

pub(super) fn proportion_ci(input: &Value) -> Result<Value, String> {
    let ((k, n), level) = (part(input, "k", "n")?, level(input)?);
    let found = proportion(k, n, level);
    Ok(json!({
        "status": found.status, "estimate": found.estimate,
        "wilson": ends(found.interval.as_ref()),
        "clopper_pearson": ends(clopper_pearson(k, n, level).as_ref()),
        "cp_lower_onesided": clopper_pearson_lower(k, n, 1.0 - level),
    }))
}

pub(super) fn mcnemar_tests(input: &Value) -> Result<Value, String> {
    let (improved, worsened) = (count(input, "improved")?, count(input, "worsened")?);
    let n = count(input, "both_pass")? + count(input, "both_fail")? + improved + worsened;
    let counts = PairedCounts { improved, worsened, n };
    let (tests, estimate) = (mcnemar(counts), tango(counts, level(input)?));
    let chi2 = tests.and_then(|tests| tests.chi2_corrected);
    Ok(json!({
        "status": estimate.status, "delta": estimate.estimate, "exact": tests.map(|tests| tests.exact),
        "mid_p": tests.map(|tests| tests.mid_p), "mid_p_less": tests.map(|tests| tests.mid_p_worse),
        "chi2_cc_stat": chi2,
        "chi2_cc_p": chi2.map(|chi2| 2.0 * normal_sf(chi2.sqrt())),
        "tango": ends(estimate.interval.as_ref()),
    }))
}

pub(super) fn pass_at_k(input: &Value) -> Result<Value, String> {
    let k = count(input, "k")?;
    let tasks = list(input, "trials")?.iter().map(|task| part(task, "c", "n").map(|(passes, trials)| (trials, passes)));
    let counts: Vec<(u64, u64)> = tasks.collect::<Result<_, _>>()?;
    let clusters: Vec<usize> = (0..counts.len()).collect();
    let found = repeats(&counts, &clusters, k, level(input)?);
    let each = |value: fn(u64, u64, u64) -> Option<f64>| -> Vec<f64> {
        counts.iter().filter_map(|(trials, passes)| value(*trials, *passes, k)).collect()
    };
    Ok(json!({
        "per_task_pass_at_k": each(chance_of_any), "per_task_pass_hat_k": each(pass_hat_k),
        "n_excluded": found.excluded, "pass_at_k": spread(&found.pass_at_k), "pass_hat_k": spread(&found.pass_hat_k),
        "pass_1": found.pass_1, "consistency": found.consistency(),
        "status": if counts.is_empty() { Status::Empty } else { found.pass_at_k.status },
    }))
}
