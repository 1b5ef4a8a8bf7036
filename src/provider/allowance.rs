//! What a server says is left of its limits, in the headers of every answer.
//!
//! OpenAI and those who follow it write `x-ratelimit-remaining-requests` with a reset like `6m0s`; Anthropic writes
//! `anthropic-ratelimit-requests-remaining` with a date. Waiting is the gate's affair.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

/// The longest that is believed: limits per minute are what can be waited for. A server whose day is used up says so
/// with a refusal.
const LONGEST: Duration = Duration::from_secs(60);

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Left {
    /// How much may still be used.
    pub remaining: f64,
    /// When the limit is whole again, from now; at most a minute.
    pub reset: Duration,
}

/// What is left, as far as it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Allowance {
    /// Calls.
    pub(super) requests: Option<Left>,
    /// Tokens, read and written; the scarcer where the two are counted apart.
    pub(super) tokens: Option<Left>,
}

impl Allowance {
    /// Reads the headers of an answer.
    pub fn read(headers: &HeaderMap, now: Timestamp) -> Self {
        let of = |names: &[(&str, &str)]| {
            let said = names.iter().filter_map(|(remaining, reset)| left(headers, remaining, reset, now));
            said.min_by(|one, other| one.remaining.total_cmp(&other.remaining))
        };
        Self {
            requests: of(&[
                ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
                ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
            ]),
            tokens: of(&[
                ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
                ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
                ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
                ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
            ]),
        }
    }
}

fn left(headers: &HeaderMap, remaining: &str, reset: &str, now: Timestamp) -> Option<Left> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let remaining = text(remaining)?.parse::<f64>().ok().filter(|left| left.is_finite() && *left >= 0.0)?;
    let reset = wait(text(reset)?, now)?;
    Some(Left { remaining, reset: reset.min(LONGEST) })
}

/// `1s`, `6m0s`, `20ms`, `7.66s`, bare seconds, or a date.
fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(date) = text.parse::<Timestamp>() {
        let ms = date.as_millisecond().saturating_sub(now.as_millisecond());
        return Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale = match unit {
            "ms" => 1e-3,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Allowance {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        Allowance::read(&headers, "2026-11-21T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn both_families_of_headers_are_read() {
        let openai = read(&[
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]);
        assert_eq!(openai.requests, Some(Left { remaining: 59.0, reset: Duration::from_secs(1) }));
        assert_eq!(openai.tokens, Some(Left { remaining: 149_984.0, reset: LONGEST }));
        let anthropic = read(&[
            ("anthropic-ratelimit-requests-remaining", "3"),
            ("anthropic-ratelimit-requests-reset", "2026-11-21T10:00:05Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "1000"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-21T09:00:00Z"),
            ("anthropic-ratelimit-output-tokens-remaining", "10"),
            ("anthropic-ratelimit-output-tokens-reset", "2026-11-21T10:00:30Z"),
        ]);
        assert_eq!(anthropic.requests, Some(Left { remaining: 3.0, reset: Duration::from_secs(5) }));
        assert_eq!(anthropic.tokens, Some(Left { remaining: 10.0, reset: Duration::from_secs(30) }), "the scarcer");
    }

    #[test]
    fn what_cannot_be_read_is_not_heeded() {
        for reset in ["", "soon", "1x", "-3s", "1..2s", "999999999999999999999d"] {
            let pairs = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", reset)];
            let found = read(&pairs).requests;
            assert!(found.is_none() || reset.is_empty(), "{reset}: {found:?}");
        }
        assert_eq!(
            read(&[("x-ratelimit-remaining-requests", "NaN"), ("x-ratelimit-reset-requests", "1s")]).requests,
            None
        );
        assert_eq!(wait("20ms", Timestamp::UNIX_EPOCH), Some(Duration::from_millis(20)));
        assert_eq!(wait("7.66s", Timestamp::UNIX_EPOCH), Some(Duration::from_millis(7660)));
    }
}
