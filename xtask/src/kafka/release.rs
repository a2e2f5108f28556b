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

/// Modules of tests that are of what not all releases have, with the first that has it: groups that their coordinator
/// divides (KIP-848), and offsets by topic ids, which 4.1 has and does not offer.
const LATER_MODULES: [(&str, Release); 2] = [
    ("::since_kafka_4::", Release([4, 0, 0])),
    ("::since_kafka_4_3::", Release([4, 3, 0])),
];

impl Release {
    /// The modules of tests that are of what this release does not have.
    pub(crate) fn modules_to_skip(self) -> impl Iterator<Item = &'static str> {
        let later = LATER_MODULES.iter().filter(move |(_, since)| self < *since);
        later.map(|(module, _)| *module)
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

    #[test]
    fn tests_of_what_a_release_does_not_have_are_skipped() {
        let skipped = |text: &str| -> Vec<_> {
            let release: Release = text.parse().unwrap();
            release.modules_to_skip().collect()
        };
        let (groups, offsets) = ("::since_kafka_4::", "::since_kafka_4_3::");
        assert_eq!(skipped("3.9.2"), [groups, offsets]);
        assert_eq!(skipped("4.1.0"), [offsets]);
        assert!(skipped("4.3.0").is_empty());
    }
}
