//! Cases of preferences: pairs in both orders, length, strengths of several versions.

use serde_json::{Value, json};

use super::{
    read::{at, groups, level, list, nested, number, numbers},
    show::spread,
};
use crate::stats::{
    BothOrders, Preferred, Status, bradley_terry, length_controlled, normal_quantile, pairwise, rank_intervals,
};

/// Most versions for which strengths are fitted: the work grows with the cube.
const VERSIONS: usize = 500;

pub(super) fn both_orders(input: &Value) -> Result<Value, String> {
    let verdict = |pair: &Value, key: &str| match at(pair, key) {
        Value::Null => Ok(None),
        value if value == "A" => Ok(Some(Preferred::Baseline)),
        value if value == "B" => Ok(Some(Preferred::Candidate)),
        value if value == "tie" => Ok(Some(Preferred::Tie)),
        value => Err(format!("`{key}` is {value}, none of \"A\", \"B\", \"tie\" and null")),
    };
    let mut verdicts = Vec::new();
    for pair in list(input, "verdicts")? {
        verdicts.push(BothOrders { baseline_first: verdict(pair, "ab")?, candidate_first: verdict(pair, "ba")? });
    }
    let clusters = groups(input, "cluster", verdicts.len())?;
    let found = pairwise(&verdicts, &clusters, level(input)?);
    let rate = spread(&found.win_rate);
    Ok(json!({
        "status": rate["status"], "n": found.win_rate.n, "n_excluded": found.win_rate.n_dropped,
        "win_rate_b": rate["mean"], "se": rate["se"], "lo": rate["lo"], "hi": rate["hi"],
        "wins_a": found.baseline, "wins_b": found.candidate, "ties": found.ties, "net": found.net,
        "position_consistency": found.consistency, "first_pick_rate": found.first_pick,
        "position_bias_p": found.position_bias_p,
    }))
}

pub(super) fn length_control(input: &Value) -> Result<Value, String> {
    let (scores, lengths) = (numbers(input, "y")?, numbers(input, "len_diff")?);
    let found = length_controlled(&scores, &lengths, level(input)?);
    Ok(json!({
        "status": found.status, "raw": found.raw, "lc_win_rate": found.win_rate,
        "coef": found.coefficients.map(|(intercept, slope)| [intercept, slope]), "se_intercept": found.se,
        "lo": found.interval.as_ref().map(|interval| interval.lo),
        "hi": found.interval.as_ref().map(|interval| interval.hi),
    }))
}

pub(super) fn bradley_terry_fit(input: &Value) -> Result<Value, String> {
    let wins: Vec<Vec<f64>> = nested(input, "wins")?;
    if wins.len() > VERSIONS {
        return Err(format!("`wins` has {} rows; strengths are fitted up to {VERSIONS}", wins.len()));
    }
    let prior = if at(input, "prior").is_null() { 0.0 } else { number(input, "prior")? };
    let found = bradley_terry(&wins, prior);
    if found.status != Status::Ok {
        return Ok(json!({ "status": found.status, "beta": null, "se_diff": null, "elo": null, "ranks": null }));
    }
    // Ranks that the normal intervals of the differences leave open.
    let reach = normal_quantile(0.5 + 0.5 * level(input)?);
    let ranks = rank_intervals(wins.len(), |i, j| {
        let (difference, half) = (found.strengths[j] - found.strengths[i], reach * found.se[i][j]);
        (difference - half, difference + half)
    });
    Ok(json!({
        "status": found.status, "beta": found.strengths, "se_diff": found.se, "elo": found.elo(),
        "ranks": ranks.iter().map(|(best, worst)| [best, worst]).collect::<Vec<_>>(),
    }))
}
