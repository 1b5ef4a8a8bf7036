//! Trace and span ids in all the forms they are exported in, brought to lower-case hexadecimal.
//!
//! OTLP/JSON says hexadecimal; protobuf-minded exporters write base64, Python tracers write decimal numbers or a
//! `0x` prefix. W3C Trace Context declares ids of all zeros invalid.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

use crate::model::Digester;

use super::error::Problem;
use super::json::describe;

/// Why an id could not be read.
#[derive(Debug, PartialEq)]
pub(crate) enum IdError {
    /// A JSON number too long for a double: the record must be parsed again with long integers quoted.
    Rounded,
    /// Wrong for good.
    Wrong(Problem),
}

/// Reads an id of `bytes` bytes; `None` when absent, empty, or all zeros where `zeros_are_absent`.
pub(crate) fn read(
    value: Option<&Value>,
    field: &str,
    bytes: usize,
    zeros_are_absent: bool,
) -> Result<Option<String>, IdError> {
    let wrong = |found: String| {
        let expected = format!("{} hexadecimal digits, not all zero", bytes * 2);
        IdError::Wrong(Problem::new(format!("`{field}`"), found, expected))
    };
    let hex = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(number) => decimal(u128::from(number), bytes),
            None if number.is_f64() && number.as_f64().is_some_and(|number| number >= 1e18) => {
                return Err(IdError::Rounded);
            }
            None => None,
        },
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => of_text(text.trim(), bytes),
        Some(_) => None,
    };
    match hex {
        Some(hex) if hex.bytes().all(|byte| byte == b'0') => {
            if zeros_are_absent {
                Ok(None)
            } else {
                Err(wrong("all zeros".to_owned()))
            }
        }
        Some(hex) => Ok(Some(hex)),
        None => Err(wrong(value.map_or_else(String::new, describe))),
    }
}

/// An id of `bytes` bytes in the usual form: lower-case hexadecimal digits, not all zero. Others are for [`read`].
pub(crate) fn usual(text: &str, bytes: usize) -> Option<String> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (digits && text.len() == bytes * 2 && text.bytes().any(|byte| byte != b'0')).then(|| text.to_owned())
}

/// The trace id for what a platform calls a trace: its own digits where they are 128 bits in hexadecimal or a UUID,
/// else a digest of the platform's name and id. The same export always gives the same id.
pub(crate) fn native_trace(platform: &str, id: &str) -> String {
    native(&[platform, id], id, 16)
}

/// The span id for what a platform calls a span of a trace: its own digits where they are 64 bits in hexadecimal,
/// else a digest of platform, trace and id.
pub(crate) fn native_span(platform: &str, trace: &str, id: &str) -> String {
    native(&[platform, trace, id], id, 8)
}

fn native(parts: &[&str], id: &str, bytes: usize) -> String {
    let plain = id.replace('-', "");
    let is_hex = plain.len() == bytes * 2 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && plain.bytes().any(|byte| byte != b'0') {
        return plain.to_ascii_lowercase();
    }
    let mut digester = Digester::new();
    for part in parts {
        digester.add("native", part.as_bytes());
    }
    digester.finish().as_str().trim_start_matches("b3:").chars().take(bytes * 2).collect()
}

/// The id of raw bytes, as protobuf carries it.
pub(crate) fn of_bytes(id: &[u8], field: &str, bytes: usize) -> Result<Option<String>, Problem> {
    if id.is_empty() {
        return Ok(None);
    }
    if id.len() != bytes {
        return Err(Problem::new(format!("`{field}`"), format!("{} bytes", id.len()), format!("{bytes} bytes")));
    }
    Ok(id.iter().any(|byte| *byte != 0).then(|| to_hex(id)))
}

fn of_text(text: &str, bytes: usize) -> Option<String> {
    let text = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let all_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() == bytes * 2 && all_hex(text) {
        return Some(text.to_ascii_lowercase());
    }
    // A UUID as trace id: the digits without their dashes.
    if text.len() == bytes * 2 + 4 && text.bytes().filter(|byte| *byte == b'-').count() == 4 {
        let digits = text.replace('-', "");
        return (digits.len() == bytes * 2 && all_hex(&digits)).then(|| digits.to_ascii_lowercase());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().and_then(|number| decimal(number, bytes));
    }
    let plain = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let decoded = STANDARD_NO_PAD.decode(plain).ok()?;
    (decoded.len() == bytes).then(|| to_hex(&decoded))
}

fn decimal(number: u128, bytes: usize) -> Option<String> {
    let hex = format!("{number:0width$x}", width = bytes * 2);
    (hex.len() == bytes * 2).then_some(hex)
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn trace(value: Value) -> Result<Option<String>, IdError> {
        read(Some(&value), "traceId", 16, false)
    }

    #[test]
    fn every_form_gives_the_same_digits() {
        let hex = "4bedea77bb33b9c5f280371eae21e997";
        for form in [
            "4BEDEA77BB33B9C5F280371EAE21E997",
            "0x4bedea77bb33b9c5f280371eae21e997",
            "S+3qd7szucXygDceriHplw==",
            "S-3qd7szucXygDceriHplw",
            "4bedea77-bb33-b9c5-f280-371eae21e997",
            "100927429609276267646756448943279827351",
        ] {
            assert_eq!(trace(json!(form)), Ok(Some(hex.to_owned())), "{form}");
        }
        assert_eq!(trace(json!(255)), Ok(Some(format!("{:032x}", 255))));
        assert_eq!(read(Some(&json!("  ")), "x", 8, false), Ok(None));
    }

    #[test]
    fn wrong_ids_are_named_and_rounded_ones_are_told_apart() {
        assert_eq!(trace(json!(1.0092742960927627e38)), Err(IdError::Rounded));
        for bad in [json!("abc"), json!("0".repeat(32)), json!(true), json!(-1), json!("zz".repeat(16)), json!(1.5)] {
            match trace(bad.clone()) {
                Err(IdError::Wrong(problem)) => {
                    assert_eq!(problem.expected, "32 hexadecimal digits, not all zero");
                }
                other => panic!("{bad}: {other:?}"),
            }
        }
        assert_eq!(read(Some(&json!("0000000000000000")), "parentSpanId", 8, true), Ok(None));
        assert!(of_bytes(&[1, 2], "span_id", 8).is_err());
        assert_eq!(of_bytes(&[0; 8], "span_id", 8), Ok(None));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(Some(id)) = trace(json!(text)) {
                prop_assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
        }
    }
}
