//! What becomes of a record that is not handled.

use std::fmt;

/// What becomes of a record that is not handled: a closed set of names for dead letters, logs and
/// metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its own name; the contract lists them")]
pub enum Disposition {
    Oversize,
    Decode,
    Contract,
    UnknownKey,
    KeyNotAuthorised,
    KeyExpired,
    KeyRevoked,
    SignatureInvalid,
    EnvelopeMissing,
    EnvelopeInvalid,
    Future,
    Replay,
    RedriveInvalid,
    HandlerRejected,
    AttemptsExhausted,
    HandlerPanic,
    NoHandler,
    ProduceFailed,
    Duplicate,
    Stale,
    OtherGroup,
}

impl Disposition {
    /// Every disposition: those that bury first, then those that are only counted.
    pub const ALL: [Self; 21] = [
        Self::Oversize,
        Self::Decode,
        Self::Contract,
        Self::UnknownKey,
        Self::KeyNotAuthorised,
        Self::KeyExpired,
        Self::KeyRevoked,
        Self::SignatureInvalid,
        Self::EnvelopeMissing,
        Self::EnvelopeInvalid,
        Self::Future,
        Self::Replay,
        Self::RedriveInvalid,
        Self::HandlerRejected,
        Self::AttemptsExhausted,
        Self::HandlerPanic,
        Self::NoHandler,
        Self::ProduceFailed,
        Self::Duplicate,
        Self::Stale,
        Self::OtherGroup,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oversize => "oversize",
            Self::Decode => "decode",
            Self::Contract => "contract",
            Self::UnknownKey => "unknown-key",
            Self::KeyNotAuthorised => "key-not-authorised",
            Self::KeyExpired => "key-expired",
            Self::KeyRevoked => "key-revoked",
            Self::SignatureInvalid => "signature-invalid",
            Self::EnvelopeMissing => "envelope-missing",
            Self::EnvelopeInvalid => "envelope-invalid",
            Self::Future => "future",
            Self::Replay => "replay",
            Self::RedriveInvalid => "redrive-invalid",
            Self::HandlerRejected => "handler-rejected",
            Self::AttemptsExhausted => "attempts-exhausted",
            Self::HandlerPanic => "handler-panic",
            Self::NoHandler => "no-handler",
            Self::ProduceFailed => "produce-failed",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::OtherGroup => "other-group",
        }
    }

    /// The disposition of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|disposition| disposition.as_str() == name)
    }

    /// Whether the record goes to the dead-letter topic; the others are skipped and counted.
    #[must_use]
    pub const fn buried(self) -> bool {
        !matches!(self, Self::Duplicate | Self::Stale | Self::OtherGroup)
    }

    /// Whether it may be redriven in bulk: what our own state may have caused. Any other takes one
    /// explicit record at a time.
    #[must_use]
    pub const fn redriven_by_default(self) -> bool {
        matches!(
            self,
            Self::HandlerRejected
                | Self::AttemptsExhausted
                | Self::HandlerPanic
                | Self::NoHandler
                | Self::UnknownKey
                | Self::KeyNotAuthorised
                | Self::KeyExpired
                | Self::Future
        )
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disposition_is_found_by_its_name_and_three_are_not_buried() {
        for disposition in Disposition::ALL {
            assert_eq!(
                Disposition::from_name(disposition.as_str()),
                Some(disposition)
            );
        }
        let skipped = Disposition::ALL
            .iter()
            .filter(|disposition| !disposition.buried());
        assert_eq!(skipped.count(), 3);
    }
}
