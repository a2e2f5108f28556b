//! Times as people give them and read them.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(i64);

impl Moment {
    /// Unix milliseconds.
    pub(super) const fn unix_ms(self) -> i64 {
        self.0
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, now_ms())
            .map(Self)
            .ok_or_else(|| {
                "no time; give Unix milliseconds, one such as 2026-01-31T10:00:00Z, or 30m, 2h, 7d (ago)"
                    .to_owned()
            })
    }
}

fn parse(text: &str, now_ms: i64) -> Option<i64> {
    if let Ok(ms) = text.parse::<i64>() {
        return (ms >= 0).then_some(ms);
    }
    let unit = |unit: char| text.strip_suffix(unit)?.parse::<u32>().ok().map(i64::from);
    let units = [
        ('s', 1_000),
        ('m', 60_000),
        ('h', 3_600_000),
        ('d', 86_400_000),
    ];
    if let Some(ago_ms) = units
        .into_iter()
        .find_map(|(name, ms)| unit(name).map(|count| count * ms))
    {
        return Some(now_ms.saturating_sub(ago_ms).max(0));
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000)
        .ok()
        .filter(|ms| *ms >= 0)
}

/// A time of a record, to the second; as a number where it is none that people know.
pub(super) fn written(unix_ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_ms.div_euclid(1000))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| unix_ms.to_string())
}

/// The system's clock, Unix milliseconds.
pub(super) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_a_date_or_so_long_ago() {
        let now_ms = 1_760_000_000_000;
        assert_eq!(parse("1750000000000", now_ms), Some(1_750_000_000_000));
        assert_eq!(parse("30m", now_ms), Some(now_ms - 1_800_000));
        assert_eq!(parse("7d", now_ms), Some(now_ms - 7 * 86_400_000));
        assert_eq!(parse("2025-10-09T08:53:20Z", now_ms), Some(now_ms));
        assert_eq!(parse("2025-10-09T10:53:20+02:00", now_ms), Some(now_ms));
        for text in [
            "",
            "-5",
            "yesterday",
            "5w",
            "m",
            "-3m",
            "1969-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text, now_ms), None, "{text}");
        }
    }

    #[test]
    fn what_is_printed_can_be_given_back() {
        assert_eq!(written(1_760_000_000_999), "2025-10-09T08:53:20Z");
        assert_eq!(written(i64::MAX), i64::MAX.to_string());
    }
}
