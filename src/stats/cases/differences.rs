//! Cases of two versions against each other: paired, unpaired, resampled, ranked, gated.

use serde_json::{Value, json};

use super::{
    read::{
        at, count, groups, level, maybe_numbers, nested, not_read, number, numbers, probability, same_length, word,
    },
    show::{ends, hi, lo},
};
use crate::stats::{
    Finding, PairedCounts, Status, Zeros, bootstrap_mean, effect_sizes, equal_differences, newcombe, paired_t,
    rate_effects, sign_flip, signed_rank, signed_rank_exact, signs, t_margin, tango_margin, two_sided_p, welch,
};

/// Most values of which every resample is tried: 7^7 are a million.
const ENUMERATED: usize = 7;

pub(super) fn gate(input: &Value) -> Result<Value, String> {
    let (margin, alpha) = (number(input, "margin")?, probability(input, "alpha")?);
    let test = match word(input, "kind")? {
        "t" => t_margin(number(input, "est")?, number(input, "se")?, number(input, "df")?, margin, alpha),
        "binary" => {
            let (improved, worsened, n) = (count(input, "improved")?, count(input, "worsened")?, count(input, "n")?);
            if improved + worsened > n {
                return Err(format!("{} discordant pairs are more than `n`, {n}", improved + worsened));
            }
            tango_margin(PairedCounts { improved, worsened, n }, margin, alpha)
        }
        "zero_variance" => {
            let (value, range) = (number(input, "c")?, number(input, "scale_range")?);
            equal_differences(value, count(input, "n")?, range, margin, alpha)
        }
        "insufficient" => None,
        _ => return Err(not_read(input, "kind")),
    };
    let Some(test) = test else {
        return Ok(json!({
            "verdict": "inconclusive", "reason": "insufficient", "lower": null, "upper": null, "p_worse": null,
            "p_better": null, "p_noninf": null, "p_tost": null, "non_inferior": false, "material_regression": false,
            "material_improvement": false,
        }));
    };
    let verdict = match test.finding() {
        Finding::Better => "improved",
        Finding::Worse => "regressed",
        Finding::Equivalent => "equivalent",
        Finding::Open => "inconclusive",
    };
    Ok(json!({
        "verdict": verdict, "lower": test.bounds.lower, "upper": test.bounds.upper, "p_worse": test.p_worse,
        "p_better": test.p_better, "p_noninf": test.p_not_inferior, "p_tost": test.p_equivalent(),
        "non_inferior": test.non_inferior(), "material_regression": test.material_regression(),
        "material_improvement": test.material_improvement(),
    }))
}

pub(super) fn tost(input: &Value) -> Result<Value, String> {
    let alpha = probability(input, "alpha")?;
    let found = paired_t(&maybe_numbers(input, "a")?, &maybe_numbers(input, "b")?, 1.0 - 2.0 * alpha);
    let margin = number(input, "margin")?;
    let test =
        found.delta.zip(found.se.zip(found.df)).and_then(|(delta, (se, df))| t_margin(delta, se, df, margin, alpha));
    Ok(json!({
        "status": found.status, "delta": found.delta,
        "p_lower": test.and_then(|test| test.p_not_inferior), "p_upper": test.and_then(|test| test.p_not_superior),
        "p_tost": test.and_then(|test| test.p_equivalent()),
        "ci90": ends(found.interval.as_ref()),
    }))
}

pub(super) fn paired(input: &Value) -> Result<Value, String> {
    let (a, b) = (maybe_numbers(input, "a")?, maybe_numbers(input, "b")?);
    same_length(("a", &a), ("b", &b))?;
    let found = paired_t(&a, &b, level(input)?);
    let point = (found.status == Status::ZeroVariance).then_some(found.delta).flatten();
    Ok(json!({
        "status": found.status, "n": found.n, "n_dropped": found.n_dropped, "delta": found.delta,
        "se_paired": found.se, "se_unpaired": found.se_unpaired, "corr": found.correlation, "t": found.t,
        "df": found.df, "p_two_sided": found.p_two_sided, "p_less": found.p_less,
        "lo": point.or(lo(found.interval.as_ref())), "hi": point.or(hi(found.interval.as_ref())),
    }))
}

/// Passes and trials of an arm of yes-or-no values; `None` when any value is another.
fn passes(values: &[f64]) -> Option<(u64, u64)> {
    let binary = values.iter().all(|value| *value == 0.0 || *value == 1.0);
    binary.then(|| (values.iter().sum::<f64>() as u64, values.len() as u64))
}

pub(super) fn unpaired(input: &Value) -> Result<Value, String> {
    let (a, b, level) = (numbers(input, "a")?, numbers(input, "b")?, level(input)?);
    let found = welch(&a, &b, level);
    let rates = passes(&a).zip(passes(&b)).and_then(|(a, b)| newcombe(a, b, level));
    Ok(json!({
        "status": found.status, "delta": found.estimate, "se": found.se, "df": found.df,
        "t": found.estimate.zip(found.se).map(|(point, se)| point / se), "p_two_sided": two_sided_p(&found),
        "lo": lo(found.interval.as_ref()), "hi": hi(found.interval.as_ref()), "newcombe": ends(rates.as_ref()),
    }))
}

pub(super) fn permutation(input: &Value) -> Result<Value, String> {
    let d = numbers(input, "d")?;
    let shift = if at(input, "shift").is_null() { 0.0 } else { number(input, "shift")? };
    let found = sign_flip(&d, &groups(input, "cluster", d.len())?, shift, 0, 0);
    Ok(json!({
        "status": found.status, "two_sided": found.two_sided, "less": found.less, "greater": found.greater,
        "studentized_two_sided": found.studentized,
    }))
}

pub(super) fn bootstrap(input: &Value) -> Result<Value, String> {
    let x = numbers(input, "x")?;
    let clusters = groups(input, "cluster", x.len())?;
    let resamples: Vec<Vec<usize>> = if at(input, "enumerate") == true {
        if x.len() > ENUMERATED {
            return Err(format!("`enumerate` is for up to {ENUMERATED} values, not {}", x.len()));
        }
        every_resample(x.len())
    } else {
        nested(input, "indices")?
    };
    let found = bootstrap_mean(&x, &clusters, &resamples, level(input)?)
        .ok_or("no mean can be taken: no values, no `indices`, or one beyond the clusters")?;
    Ok(json!({
        "status": Status::Ok, "theta": found.estimate, "se": found.se, "percentile": ends(Some(&found.percentile)),
        "basic": ends(Some(&found.basic)), "z0": found.bias, "a": found.acceleration, "bca": ends(found.bca.as_ref()),
    }))
}

fn every_resample(n: usize) -> Vec<Vec<usize>> {
    (0..n.pow(n as u32)).map(|code| (0..n).map(|place| code / n.pow(place as u32) % n).collect()).collect()
}

pub(super) fn wilcoxon(input: &Value) -> Result<Value, String> {
    let d = numbers(input, "d")?;
    let found = signs(&d);
    let show = |zeros| {
        let test = signed_rank(&d, zeros);
        test.p_two_sided
            .map(|p| json!({ "statistic": test.statistic, "p_two_sided": p, "p_less": test.p_less }))
            .unwrap_or(Value::Null)
    };
    let exact = signed_rank_exact(&d).map(|(two, less)| json!({ "p_two_sided": two, "p_less": less }));
    Ok(json!({
        "status": found.status, "n": d.len(), "n_nonzero": found.nonzero, "net_sign": found.net_sign,
        "superiority": found.superiority, "rank_biserial": found.rank_biserial, "w_plus": found.w_plus,
        "w_minus": found.w_minus, "wilcox": show(Zeros::Drop), "pratt": show(Zeros::Pratt), "exact": exact,
    }))
}

pub(super) fn effect_size(input: &Value) -> Result<Value, String> {
    let (a, b) = (numbers(input, "a")?, numbers(input, "b")?);
    let found = effect_sizes(&a, &b);
    let rates = passes(&a).zip(passes(&b)).and_then(|(a, b)| rate_effects(a, b));
    Ok(json!({
        "status": if found.cliffs_delta.is_some() { Status::Ok } else { Status::Empty },
        "cohen_d": found.cohen_d, "hedges_g": found.hedges_g, "cohen_dz": found.cohen_dz,
        "cliffs_delta": found.cliffs_delta, "a12": found.a12(), "magnitude": found.magnitude(),
        "risk_difference": rates.map(|rates| rates.risk_difference), "cohen_h": rates.map(|rates| rates.cohen_h),
        "odds_ratio_haldane": rates.map(|rates| rates.odds_ratio),
    }))
}
