//! Cases of means and quantiles: plain, clustered, weighted, from a sampling design.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    read::{at, groups, level, maybe_number, names, number, numbers, probability, same_length},
    show::{ends, spread, with},
};
use crate::stats::{
    Status, Strata, clustered_mean, empirical_bernstein, hajek, hoeffding, mean_cr2, mean_t, moments, poisson_sample,
    quantile, t_quantile,
};

pub(super) fn mean_ci(input: &Value) -> Result<Value, String> {
    let (x, level) = (numbers(input, "x")?, level(input)?);
    let limits = if at(input, "range").is_null() { Vec::new() } else { numbers(input, "range")? };
    let found = mean_t(&x, None, level);
    let range = limits.first().copied().zip(limits.get(1).copied());
    let bounded = range.map(|range| {
        json!({
            "status": if x.is_empty() { Status::Empty } else if x.len() == 1 { Status::Insufficient } else { Status::Ok },
            "hoeffding": ends(hoeffding(&x, range, level).as_ref()),
            "empirical_bernstein": ends(empirical_bernstein(&x, range, level).as_ref()),
        })
    });
    let sd = moments::variance(&x).map(|variance| if moments::all_equal(&x) { 0.0 } else { variance.sqrt() });
    Ok(with(spread(&found), json!({ "n": found.n, "sd": sd, "bounded": bounded })))
}

pub(super) fn clustered_se(input: &Value) -> Result<Value, String> {
    let x = numbers(input, "x")?;
    let clusters = groups(input, "cluster", x.len())?;
    let found = clustered_mean(&x, &clusters);
    let estimate = mean_cr2(&x, &clusters, None, level(input)?);
    let flat = |se: Option<f64>| se.map(|se| if found.all_equal { 0.0 } else { se });
    Ok(with(
        spread(&estimate),
        json!({
            "n": found.n, "clusters": found.clusters, "df_bm": found.df, "design_effect": found.design_effect(),
            "se_naive": flat(found.se_naive), "se_cr0": flat(found.se_cr0), "se_cr1": flat(found.se_cr1),
            "se_cr2": flat(found.se_cr2),
        }),
    ))
}

pub(super) fn weighted(input: &Value) -> Result<Value, String> {
    if at(input, "kind") == "poisson" {
        return poisson(input);
    }
    let (y, w) = (numbers(input, "y")?, numbers(input, "w")?);
    same_length(("y", &y), ("w", &w))?;
    let clusters = groups(input, "cluster", y.len())?;
    let has_strata = !at(input, "strata").is_null();
    let (stratum, called) = if has_strata { names(input, "strata", y.len())? } else { (Vec::new(), Vec::new()) };
    let shares = at(input, "sampling_fraction").as_object();
    let fraction: Option<BTreeMap<usize, f64>> = shares.map(|shares| {
        let share = |name: &String| shares.get(name).and_then(Value::as_f64);
        called.iter().enumerate().filter_map(|(place, name)| Some((place, share(name)?))).collect()
    });
    let found = hajek(&y, &w, &clusters, &Strata { of: &stratum, fraction: fraction.as_ref() });
    let status = match (found.mean, found.se) {
        (None, _) => "empty",
        (Some(_), None) if found.singleton_stratum => "singleton_stratum",
        (Some(_), None) => "insufficient",
        (Some(_), Some(_)) if moments::all_equal(&y) => "zero_variance",
        (Some(_), Some(_)) => "ok",
    };
    let level = level(input)?;
    let half = found.se.zip(found.df).map(|(se, df)| t_quantile(0.5 + 0.5 * level, df) * se);
    Ok(json!({
        "status": status, "mean": found.mean, "se": found.se, "df": found.df,
        "lo": found.mean.zip(half).map(|(mean, half)| mean - half),
        "hi": found.mean.zip(half).map(|(mean, half)| mean + half),
        "kish_neff": found.effective, "kish_deff": found.effective.map(|effective| y.len() as f64 / effective),
    }))
}

fn poisson(input: &Value) -> Result<Value, String> {
    let (y, pi) = (numbers(input, "y")?, numbers(input, "pi")?);
    same_length(("y", &y), ("pi", &pi))?;
    let found = poisson_sample(&y, &pi);
    let size = maybe_number(input, "N")?;
    let per = |value: Option<f64>| value.zip(size).map(|(value, size)| value / size);
    let (total, total_se) = found.total.unzip();
    let (mean, mean_se) = found.mean.unzip();
    Ok(json!({
        "status": if found.total.is_some() { Status::Ok } else { Status::Empty },
        "ht_total": total, "ht_total_se": total_se, "N_hat": found.size,
        "ht_mean": per(total), "ht_mean_se": per(total_se), "hajek_mean": mean, "hajek_se": mean_se,
    }))
}

pub(super) fn quantile_bounds(input: &Value) -> Result<Value, String> {
    let p = number(input, "p")?;
    let found = quantile(&numbers(input, "x")?, p, probability(input, "conf")?);
    Ok(json!({
        "status": if found.estimate.is_some() { Status::Ok } else { Status::Empty }, "estimate": found.estimate,
        "lo": found.lower.map(|(value, _)| value), "hi": found.upper.map(|(value, _)| value),
        "lo_rank": found.lower.map(|(_, rank)| rank), "hi_rank": found.upper.map(|(_, rank)| rank),
    }))
}
