//! Cases of planning and of families: power, variance components, adjusted p-values.

use serde_json::{Value, json};

use super::read::{at, count, maybe_numbers, nested, not_read, number, probability, word};
use crate::stats::{
    Budget, Plan, Status, Variances, allocate, benjamini_hochberg, benjamini_yekutieli, bonferroni, detectable,
    examples_needed, holm, mcnemar_power, nested as nested_components, one_way, t_power,
};

/// Most pairs for which every outcome of McNemar's test is summed: the work grows with the square.
const ENUMERATED: u64 = 20_000;

pub(super) fn multiple_testing(input: &Value) -> Result<Value, String> {
    let (p, alpha) = (maybe_numbers(input, "p")?, number(input, "alpha")?);
    let show = |adjusted: Vec<Option<f64>>| {
        let reject: Vec<bool> = adjusted.iter().map(|p| p.is_some_and(|p| p <= alpha)).collect();
        json!({ "adjusted": adjusted, "reject": reject })
    };
    Ok(json!({
        "holm": show(holm(&p)), "bh": show(benjamini_hochberg(&p)), "by": show(benjamini_yekutieli(&p)),
        "bonferroni": show(bonferroni(&p)),
    }))
}

pub(super) fn power(input: &Value) -> Result<Value, String> {
    let side = at(input, "alternative").as_str();
    let plan = Plan {
        alpha: probability(input, "alpha")?,
        power: if at(input, "power").is_null() { 0.8 } else { probability(input, "power")? },
        one_sided: at(input, "one_sided") == true || side.is_some_and(|side| side != "two-sided"),
    };
    match word(input, "kind")? {
        "normal" => {
            let variance = Variances {
                between: number(input, "omega2")?,
                within_baseline: number(input, "sigma2_a")?,
                within_candidate: number(input, "sigma2_b")?,
                trials_baseline: count(input, "k_a")? as u32,
                trials_candidate: count(input, "k_b")? as u32,
                design_effect: number(input, "deff")?,
            }
            .per_example();
            Ok(json!({
                "n_required": examples_needed(variance, number(input, "delta")?, plan),
                "mde": detectable(variance, count(input, "n")?, plan),
            }))
        }
        "t_power" => {
            let sign = if side == Some("smaller") { -1.0 } else { 1.0 };
            Ok(json!({ "power": t_power(sign * number(input, "effect_size")?, count(input, "n")?, plan) }))
        }
        "mcnemar_exact_power" => {
            let (improved, worsened) = (number(input, "p_improved")?, number(input, "p_worsened")?);
            let n = count(input, "n")?;
            if n > ENUMERATED {
                return Err(format!("`n` is {n}; outcomes are summed up to {ENUMERATED}"));
            }
            Ok(json!({ "power": mcnemar_power(improved, worsened, n, plan.alpha) }))
        }
        _ => Err(not_read(input, "kind")),
    }
}

pub(super) fn variance_components(input: &Value) -> Result<Value, String> {
    let no_replication = |lacking: bool, status: Status| if lacking { json!("no_replication") } else { json!(status) };
    match word(input, "kind")? {
        "one_way" => {
            let found = one_way(&nested::<Vec<Vec<f64>>>(input, "groups")?);
            Ok(json!({
                "status": no_replication(found.ms_between.is_some() && found.within.is_none(), found.status),
                "ms_between": found.ms_between, "ms_within": found.ms_within, "n0": found.n0,
                "var_between": found.between, "var_within": found.within, "icc": found.icc(),
            }))
        }
        "nested" => {
            let found = nested_components(&nested::<Vec<Vec<Vec<f64>>>>(input, "x")?);
            Ok(json!({
                "status": no_replication(found.trial.is_some() && found.draw.is_none(), found.status),
                "var_judge": found.draw, "var_trial": found.trial,
                "var_example": found.example, "ms_example": found.ms_example, "ms_trial": found.ms_trial,
                "predicted_var_mean": found.of_mean,
            }))
        }
        _ => {
            let three = |names: [&str; 3]| -> Result<_, String> {
                Ok((number(input, names[0])?, number(input, names[1])?, number(input, names[2])?))
            };
            let found = allocate(Budget {
                variance: three(["var_example", "var_trial", "var_judge"])?,
                cost: three(["cost_example", "cost_trial", "cost_judge"])?,
            });
            Ok(json!({
                "j_star": found.draws_exact, "k_star": found.trials_exact, "j": found.draws, "k": found.trials,
            }))
        }
    }
}
