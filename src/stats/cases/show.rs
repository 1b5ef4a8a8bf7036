//! Answers as the files spell them.

use serde_json::{Value, json};

use crate::stats::{Estimate, Interval, Status};

/// Both ends, or null.
pub(super) fn ends(interval: Option<&Interval>) -> Value {
    interval.map_or(Value::Null, |interval| json!([interval.lo, interval.hi]))
}

/// The lower end.
pub(super) fn lo(interval: Option<&Interval>) -> Option<f64> {
    interval.map(|interval| interval.lo)
}

/// The upper end.
pub(super) fn hi(interval: Option<&Interval>) -> Option<f64> {
    interval.map(|interval| interval.hi)
}

/// Point, error and ends. For equal values the files give a standard error of 0 and a point; the estimate leaves both
/// out on purpose, so they are put in here.
pub(super) fn spread(estimate: &Estimate) -> Value {
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

/// One object with the keys of both.
pub(super) fn with(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}
