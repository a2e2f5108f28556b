//! Where a group is to begin again.

use cybermesh_transport::OffsetSpec;

/// As `--to` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// The oldest record that the log still has.
    Earliest,
    /// What comes in from now on.
    Latest,
    /// This offset.
    Offset(i64),
    /// The first record that is as late, Unix milliseconds.
    Time(i64),
}

impl To {
    /// `earliest`, `latest`, `offset:N` or `time:UNIX_MS`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let accepted = || "one of earliest, latest, offset:N, time:UNIX_MS".to_owned();
        let number = |digits: &str| {
            let number = digits.parse::<i64>().ok().filter(|number| *number >= 0);
            number.ok_or_else(accepted)
        };
        match text.split_once(':') {
            None if text == "earliest" => Ok(Self::Earliest),
            None if text == "latest" => Ok(Self::Latest),
            Some(("offset", digits)) => Ok(Self::Offset(number(digits)?)),
            Some(("time", digits)) => Ok(Self::Time(number(digits)?)),
            _ => Err(accepted()),
        }
    }

    /// What has to be looked up beside the ends of the log.
    pub(super) const fn to_look_up(self) -> Option<OffsetSpec> {
        match self {
            Self::Time(at_ms) => Some(OffsetSpec::AtTime(at_ms)),
            Self::Earliest | Self::Latest | Self::Offset(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::To;

    #[test]
    fn what_is_accepted_is_read_and_nothing_else() {
        assert_eq!(To::parse("earliest"), Ok(To::Earliest));
        assert_eq!(To::parse("latest"), Ok(To::Latest));
        assert_eq!(To::parse("offset:17"), Ok(To::Offset(17)));
        assert_eq!(
            To::parse("time:1760000000000"),
            Ok(To::Time(1_760_000_000_000))
        );
        for text in [
            "",
            "17",
            "offset:",
            "offset:-1",
            "time:noon",
            "begin:1",
            "latest:1",
        ] {
            assert!(To::parse(text).is_err(), "{text:?}");
        }
    }
}
