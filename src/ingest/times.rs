//! Points in time in all the forms they are exported in, brought to nanoseconds since 1970 in UTC.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::error::Problem;
use super::json::describe;

/// The unit of plain numbers in a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    /// The field's name says nanoseconds.
    Nanos,
    /// Not said: told by magnitude, which is unambiguous for times between 1973 and 5138.
    Unsaid,
}

/// Reads a time; `None` when absent, empty or zero (OTLP: unknown).
pub(crate) fn read(value: Option<&Value>, field: &str, unit: Unit) -> Result<Option<i64>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let nanos = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => match number.as_u64() {
            Some(number) => of_integer(number, unit),
            None => number.as_f64().and_then(|number| of_double(number, unit)),
        },
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => of_text(text.trim(), unit),
        // JavaScript tracers write [seconds, nanoseconds].
        Value::Array(pair) => match pair.as_slice() {
            [seconds, nanos] => seconds.as_i64().zip(nanos.as_i64()).and_then(|(seconds, nanos)| {
                seconds.checked_mul(1_000_000_000).and_then(|seconds| seconds.checked_add(nanos))
            }),
            _ => None,
        },
        _ => None,
    };
    match nanos {
        Some(0) => Ok(None),
        Some(nanos) => Ok(Some(nanos)),
        None => {
            let expected = "nanoseconds since 1970 or an ISO 8601 time between 1970 and 2262";
            Err(Problem::new(format!("`{field}`"), describe(value), expected))
        }
    }
}

fn of_integer(number: u64, unit: Unit) -> Option<i64> {
    let factor = match (unit, number) {
        (Unit::Nanos, _) => 1,
        (Unit::Unsaid, 0..100_000_000_000) => 1_000_000_000,
        (Unit::Unsaid, 100_000_000_000..100_000_000_000_000) => 1_000_000,
        (Unit::Unsaid, 100_000_000_000_000..100_000_000_000_000_000) => 1_000,
        (Unit::Unsaid, _) => 1,
    };
    i64::try_from(number).ok()?.checked_mul(factor)
}

fn of_double(number: f64, unit: Unit) -> Option<i64> {
    if !number.is_finite() || number < 0.0 {
        return None;
    }
    // Whole units first, so that the integral part keeps its precision.
    let whole = of_integer(number.trunc() as u64, unit)?;
    if unit == Unit::Unsaid && number < 1e11 {
        // A double that counts seconds since 1970 holds microseconds, no more.
        return whole.checked_add((number.fract() * 1e6).round() as i64 * 1_000);
    }
    Some(whole)
}

fn of_text(text: &str, unit: Unit) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return of_integer(text.parse().ok()?, unit);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return nanos(time);
    }
    // Without an offset: UTC, as tracers that write `utcnow().isoformat()` mean it.
    if let Ok(time) = text.parse::<DateTime>() {
        return nanos(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    text.parse::<f64>().ok().and_then(|number| of_double(number, unit))
}

fn nanos(time: Timestamp) -> Option<i64> {
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NANOS: i64 = 1_795_248_000_100_000_000;

    #[test]
    fn every_form_gives_the_same_moment() {
        for form in [
            json!(NANOS),
            json!(NANOS.to_string()),
            json!([1_795_248_000, 100_000_000]),
            json!("2026-11-21T08:00:00.1Z"),
            json!("2026-11-21T09:00:00.100+01:00"),
            json!("2026-11-21T08:00:00.1"),
            json!("2026-11-21 08:00:00.1"),
            json!(1_795_248_000_100_i64),
            json!(1_795_248_000_100_000_i64),
        ] {
            assert_eq!(read(Some(&form), "start_time", Unit::Unsaid), Ok(Some(NANOS)), "{form}");
        }
        assert_eq!(read(Some(&json!(1_795_248_000.1)), "start", Unit::Unsaid), Ok(Some(NANOS)));
    }

    #[test]
    fn zero_is_unknown_and_nonsense_is_named() {
        assert_eq!(read(Some(&json!("0")), "t", Unit::Nanos), Ok(None));
        assert_eq!(read(Some(&json!(5)), "t", Unit::Nanos), Ok(Some(5)));
        for bad in [json!(true), json!("soon"), json!(u64::MAX), json!([1]), json!(-5), json!({"a": 1})] {
            let problem = read(Some(&bad), "startTimeUnixNano", Unit::Nanos).unwrap_err();
            assert_eq!(problem.field, "`startTimeUnixNano`", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_refused(text in any::<String>(), number in any::<f64>(), integer in any::<i64>()) {
            for unit in [Unit::Nanos, Unit::Unsaid] {
                for value in [json!(text), json!(number), json!(integer), json!([integer, integer])] {
                    let _ = read(Some(&value), "t", unit);
                }
            }
        }
    }
}
