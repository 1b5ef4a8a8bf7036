//! Moments as people type them: a time, a date, or how far back from now.
//!
//! The present moment is an argument. How sources write times is `ingest`'s business.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Begin and end of a stretch of time, each open where it is absent.
pub type Window = (Option<Timestamp>, Option<Timestamp>);

/// Reads a moment: a time with its offset, a date (its first moment in UTC), or how far back from now.
///
/// # Errors
/// The text is none of these; says what was expected, by the `name` of the option.
pub fn moment(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && let Ok(start) = date.to_zoned(TimeZone::UTC)
    {
        return Ok(start.timestamp());
    }
    let back = text.parse::<Span>().ok().filter(|span| span.is_positive());
    let back = back.and_then(|span| now.to_zoned(TimeZone::UTC).checked_sub(span).ok());
    back.map(|moment| moment.timestamp()).ok_or_else(|| {
        format!(
            "`{name}` must be a time (`2026-11-01T00:00:00Z`), a date (`2026-11-01`) or how far back (`7d`), found `{text}`"
        )
    })
}

/// Reads `--since` and `--until`, each as [`moment`] does.
///
/// # Errors
/// As [`moment`].
pub fn window(since: Option<&str>, until: Option<&str>, now: Timestamp) -> Result<Window, String> {
    let read = |name: &str, text: Option<&str>| text.map(|text| moment(name, text, now)).transpose();
    Ok((read("--since", since)?, read("--until", until)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_dates_or_spans_back() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let read = |text: &str| moment("since", text, now).map(|time| time.to_string());
        assert_eq!(read("2026-11-01T00:00:00+01:00").unwrap(), "2026-10-31T23:00:00Z");
        assert_eq!(read("2026-11-01").unwrap(), "2026-11-01T00:00:00Z");
        assert_eq!(read("7d").unwrap(), "2026-11-14T12:00:00Z");
        assert_eq!(read("90m").unwrap(), "2026-11-21T10:30:00Z");
        for bad in ["", "yesterday", "-7d", "7"] {
            assert!(read(bad).unwrap_err().contains("`since` must be"), "{bad}");
        }
        let (since, until) = window(Some("1d"), None, now).unwrap();
        assert_eq!((since.unwrap().to_string().as_str(), until), ("2026-11-20T12:00:00Z", None));
        assert!(window(None, Some("soon"), now).unwrap_err().contains("`--until` must be"));
    }
}
