//! Cases of what is watched over time: evidence that adds up, charts, alert conditions and the alarm.

use serde_json::{Value, json};

use super::{
    means::quantile_bounds,
    read::{count, list, not_read, number, numbers, probability, same_length, word},
};
use crate::stats::{
    Alarm, Condition, Evidence, Gather, Rhythm, Sequence, Told, asymptotic, change_point, cost_ratio, cusum,
    e_detector, e_process, empirical_bernstein_sequence, error_rate, ewma, is_small_spend, mixture_sprt,
    normal_mixture, p95_above, p95_ratio, quality_drop,
};

/// Points of the scale by which quality must fall: the files take it for granted.
const DROP: f64 = 10.0;

pub(super) fn sequential(input: &Value) -> Result<Value, String> {
    let x = numbers(input, "x")?;
    let intervals = |found: Sequence| {
        let pairs: Vec<Option<[f64; 2]>> = found.intervals.iter().map(|i| i.map(|(lo, hi)| [lo, hi])).collect();
        json!({ "rho": found.rho, "cs": pairs })
    };
    match word(input, "kind")? {
        "normal_mixture" => {
            let (sigma, v_opt) = (number(input, "sigma")?, number(input, "v_opt")?);
            Ok(intervals(normal_mixture(&x, sigma, probability(input, "alpha")?, v_opt)))
        }
        "asymptotic" => Ok(intervals(asymptotic(&x, probability(input, "alpha")?, number(input, "t_star")?))),
        "predmix_eb" => Ok(intervals(empirical_bernstein_sequence(&x, probability(input, "alpha")?))),
        "msprt" => {
            let (theta0, sigma, tau) = (number(input, "theta0")?, number(input, "sigma")?, number(input, "tau")?);
            Ok(json!({ "p": mixture_sprt(&x, theta0, sigma, tau) }))
        }
        "e_process" => {
            let bets = numbers(input, "lambdas")?;
            let found = e_process(&x, number(input, "m0")?, &bets, number(input, "threshold")?);
            let found = found.ok_or("`lambdas` holds no bet, or one that could lose more than all")?;
            Ok(json!({ "e": found.path, "alarm": found.alarm }))
        }
        "e_detector" => {
            let (m0, bet, threshold) = (number(input, "m0")?, number(input, "lam")?, number(input, "threshold")?);
            let run = |gather| -> Result<Evidence, String> {
                e_detector(&x, m0, bet, gather, threshold).ok_or_else(|| "`lam` could lose more than all".to_owned())
            };
            let (sum, most) = (run(Gather::Sum)?, run(Gather::Most)?);
            Ok(json!({
                "e_sr": sum.path, "e_sr_alarm": sum.alarm, "e_cusum": most.path, "e_cusum_alarm": most.alarm,
            }))
        }
        _ => Err(not_read(input, "kind")),
    }
}

pub(super) fn drift(input: &Value) -> Result<Value, String> {
    match word(input, "kind")? {
        "quantile" => quantile_bounds(input),
        "cusum" => {
            let (mean, sd) = (number(input, "mu")?, number(input, "sd")?);
            let found = cusum(&numbers(input, "x")?, mean, sd, number(input, "k")?, number(input, "h")?);
            let found = found.ok_or("`sd` is not above 0")?;
            Ok(json!({ "high": found.high, "low": found.low, "alarm": found.alarm }))
        }
        "ewma" => {
            let (mean, sd) = (number(input, "mu")?, number(input, "sd")?);
            let found = ewma(&numbers(input, "x")?, mean, sd, number(input, "lam")?, number(input, "L")?);
            let found = found.ok_or("`sd` is not above 0, or `lam` not between 0 and 1")?;
            let limits: Vec<[f64; 2]> = found.limits.iter().map(|(lo, hi)| [*lo, *hi]).collect();
            Ok(json!({ "z": found.path, "limits": limits, "alarm": found.alarm }))
        }
        "changepoint" => Ok(change_point(&numbers(input, "x")?).map_or(
            Value::Null,
            |found| json!({ "split": found.split, "t": found.t, "mean_left": found.left, "mean_right": found.right }),
        )),
        _ => Err(not_read(input, "kind")),
    }
}

pub(super) fn alerts(input: &Value) -> Result<Value, String> {
    let least = || count(input, "n_min").map(|least| least as usize);
    let alpha = || probability(input, "alpha");
    match word(input, "kind")? {
        "machine" => machine(input),
        "quality_drop" => {
            let (before, now) = (numbers(input, "baseline")?, numbers(input, "current")?);
            let found = quality_drop(&before, &now, DROP, least()?, alpha()?);
            Ok(told(&found, json!({ "drop": found.estimate, "p": found.p, "lower": found.lower })))
        }
        "p95_threshold" => {
            let found = p95_above(&numbers(input, "x")?, number(input, "threshold")?, least()?, alpha()?);
            Ok(told(&found, json!({ "p95": found.estimate, "lower": found.lower })))
        }
        "p95_ratio" => {
            let (before, now) = (numbers(input, "baseline")?, numbers(input, "current")?);
            let limits = (number(input, "ratio")?, number(input, "floor")?);
            let found = p95_ratio(&before, &now, limits, least()?, alpha()?).unwrap_or_default();
            let more = json!({ "threshold": found.threshold, "p95": found.estimate, "lower": found.lower });
            Ok(told(&found, more))
        }
        "rate" => {
            let (errors, calls) = (numbers(input, "errors")?, numbers(input, "calls")?);
            same_length(("errors", &errors), ("calls", &calls))?;
            let traces: Vec<(f64, f64)> = errors.into_iter().zip(calls).collect();
            let least = (count(input, "min_traces")? as usize, number(input, "min_calls")?);
            let found = error_rate(&traces, number(input, "threshold")?, least, alpha()?);
            Ok(told(&found, json!({ "rate": found.estimate, "se": found.se, "lower": found.lower })))
        }
        "cost_ratio" => {
            let (before, now) = (numbers(input, "baseline")?, numbers(input, "current")?);
            let min_spend = number(input, "min_spend")?;
            let found = cost_ratio(&before, &now, (number(input, "ratio")?, min_spend), least()?, alpha()?);
            let ignored = is_small_spend(&now, min_spend);
            Ok(told(&found, json!({ "ratio": found.estimate, "lower": found.lower, "ignored": ignored })))
        }
        _ => Err(not_read(input, "kind")),
    }
}

fn told(found: &Condition, more: Value) -> Value {
    let level = json!({ "warn": found.level.warns(), "critical": found.level.is_critical() });
    super::show::with(level, more)
}

fn machine(input: &Value) -> Result<Value, String> {
    let size = |key: &str| count(input, key).map(|size| size as usize);
    let rhythm = Rhythm { fire: size("m")?, of: size("n")?, clear: size("clear_n")?, cooldown: size("cooldown")? };
    let mut alarm = Alarm::new(rhythm);
    let (mut states, mut events) = (Vec::new(), Vec::new());
    for (step, breach) in list(input, "breach")?.iter().enumerate() {
        let known = breach.as_bool();
        if known.is_none() && !breach.is_null() {
            return Err(format!("`breach` holds {breach}, which is neither yes, no nor null"));
        }
        let word = match alarm.push(known) {
            Some(Told::Fire) => Some("fire"),
            Some(Told::Resolve) => Some("resolve"),
            None => None,
        };
        events.extend(word.map(|word| json!([step, word])));
        states.push(if alarm.is_firing() { "firing" } else { "ok" });
    }
    Ok(json!({ "states": states, "events": events }))
}
