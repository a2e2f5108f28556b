//! A release of Apache Kafka.

use std::fmt;
use std::str::FromStr;

/// What the tests run against where nothing else is said.
const DEFAULT: [u32; 3] = [4, 1, 0];

/// The first that [`super::cluster`] can set up: older ones make no SCRAM users while they format (KIP-900).
const OLDEST: [u32; 3] = [3, 5, 0];

/// A release by the number that Maven Central has it under, as in `3.9.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release([u32; 3]);

impl Release {
    /// Whether groups may be divided by their coordinator (KIP-848).
    pub(crate) fn has_new_groups(self) -> bool {
        self >= Self([4, 0, 0])
    }
}

impl Default for Release {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(formatter, "{major}.{minor}.{patch}")
    }
}

/// Why a text names no release.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("three numbers with dots between are expected, 3.5.0 or later, as in 4.1.0")]
pub(crate) struct NoRelease;

impl FromStr for Release {
    type Err = NoRelease;

    fn from_str(text: &str) -> Result<Self, NoRelease> {
        let mut numbers = text.split('.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let (Some(major), Some(minor), Some(patch), None) = (next(), next(), next(), next()) else {
            return Err(NoRelease);
        };
        let release = [major, minor, patch];
        (release >= OLDEST)
            .then_some(Self(release))
            .ok_or(NoRelease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_three_numbers_and_not_too_old() {
        for text in ["3.5.2", "4.1.0", "4.10.0"] {
            let release: Release = text.parse().unwrap();
            assert_eq!(release.to_string(), text);
        }
        for text in ["", "4", "4.1", "4.1.0.0", "4.1.x", "3.4.9", "v4.1.0"] {
            assert_eq!(text.parse::<Release>(), Err(NoRelease), "{text}");
        }
        let [later, earlier]: [Release; 2] = ["3.10.0", "3.9.2"].map(|text| text.parse().unwrap());
        assert!(later > earlier);
    }
}
