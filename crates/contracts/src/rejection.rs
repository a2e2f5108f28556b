//! Why a record is not believed, and what then becomes of it.
//!
//! [`Reason`] is a closed set that can be compared; each maps to one [`Disposition`], the name under
//! which the record is buried or counted.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::kind::Kind;
use crate::redrive::Terms;
use crate::sign::PublicKey;

/// Why a record was not believed, and by whom it claimed to be signed.
///
/// Until the signature has been verified the signer is only claimed, and the text says so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Rejection {
    reason: Reason,
    claimed: Option<PublicKey>,
    redriven: Option<Box<Terms>>,
}

impl Rejection {
    /// A rejection of a record that carries `claimed` as its public key, where it carries one.
    #[must_use]
    pub const fn new(reason: Reason, claimed: Option<PublicKey>) -> Self {
        Self {
            reason,
            claimed,
            redriven: None,
        }
    }

    /// The same rejection, of a record that came by this redrive.
    #[must_use]
    pub fn with_redrive(mut self, terms: Option<Terms>) -> Self {
        self.redriven = terms.map(Box::new);
        self
    }

    /// What was wrong.
    #[must_use]
    pub const fn reason(&self) -> &Reason {
        &self.reason
    }

    /// What becomes of the record.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        self.reason.disposition()
    }

    /// The public key inside the message, where it could be read and is 32 bytes long.
    #[must_use]
    pub const fn claimed(&self) -> Option<PublicKey> {
        self.claimed
    }

    /// The terms of the redrive by which the record came, where one was verified.
    #[must_use]
    pub fn redriven(&self) -> Option<&Terms> {
        self.redriven.as_deref()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)
    }
}

/// The first demand of the contract that a record failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// The value is longer than a receiver reads.
    #[error("value of {bytes} bytes; at most {limit} are accepted")]
    Oversize {
        /// Its length.
        bytes: usize,
        /// The most accepted.
        limit: usize,
    },
    /// No protobuf message of this kind.
    #[error("{0}")]
    Decode(DecodeFault),
    /// A rule of the contract is broken.
    #[error("{0}")]
    Contract(Violation),
    /// The claimed key is not in the trust store.
    #[error("claimed signer is not in the trust store")]
    UnknownKey,
    /// The claimed key may not sign this kind.
    #[error("claimed signer \"{id}\" may not sign {kind}")]
    KeyNotAuthorised {
        /// The trust store's name for the key.
        id: Arc<str>,
        /// What it tried to sign.
        kind: Kind,
    },
    /// The signed time lies outside the key's window, or the window closed too long ago.
    #[error("claimed signer \"{id}\": {fault}")]
    KeyExpired {
        /// The trust store's name for the key.
        id: Arc<str>,
        /// Which side of the window.
        fault: WindowFault,
    },
    /// The claimed key was withdrawn.
    #[error("claimed signer \"{id}\" is revoked")]
    KeyRevoked {
        /// The trust store's name for the key.
        id: Arc<str>,
    },
    /// The signature is not the claimed key's over this message.
    #[error("signature is not that of claimed signer \"{id}\"")]
    SignatureInvalid {
        /// The trust store's name for the key.
        id: Arc<str>,
    },
    /// The key's envelope rule is `required` and there is none.
    #[error("no cm-envelope header, which the trust store requires of signer \"{id}\"")]
    EnvelopeMissing {
        /// The trust store's name for the key.
        id: Arc<str>,
    },
    /// There is an envelope, and it does not hold.
    #[error("cm-envelope of signer \"{id}\": {fault}")]
    EnvelopeInvalid {
        /// The trust store's name for the key.
        id: Arc<str>,
        /// What is wrong with it.
        fault: EnvelopeFault,
    },
    /// A signed time lies later than the tolerance allows.
    #[error(
        "{field} is {ahead_ms} ms ahead of the receiver's clock; {tolerance_ms} ms are accepted"
    )]
    Future {
        /// `ts`, `timestamp` or `nonce`.
        field: &'static str,
        /// How far ahead, milliseconds.
        ahead_ms: u64,
        /// How far is accepted, milliseconds.
        tolerance_ms: u64,
    },
    /// A signed time is older than what a topic keeps.
    #[error("{field} is {age_ms} ms old; {max_age_ms} ms are accepted")]
    Stale {
        /// `ts`, `timestamp` or `nonce`.
        field: &'static str,
        /// Its age, milliseconds.
        age_ms: u64,
        /// The oldest accepted, milliseconds.
        max_age_ms: u64,
    },
    /// There is a redrive header, and it does not hold.
    #[error("cm-redrive: {0}")]
    RedriveInvalid(RedriveFault),
    /// The redrive is meant for another consumer group.
    #[error("redriven for another group")]
    OtherGroup,
}

impl Reason {
    /// The name under which such a record is buried or counted.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Oversize { .. } => Disposition::Oversize,
            Self::Decode(_) => Disposition::Decode,
            Self::Contract(_) => Disposition::Contract,
            Self::UnknownKey => Disposition::UnknownKey,
            Self::KeyNotAuthorised { .. } => Disposition::KeyNotAuthorised,
            Self::KeyExpired { .. } => Disposition::KeyExpired,
            Self::KeyRevoked { .. } => Disposition::KeyRevoked,
            Self::SignatureInvalid { .. } => Disposition::SignatureInvalid,
            Self::EnvelopeMissing { .. } => Disposition::EnvelopeMissing,
            Self::EnvelopeInvalid { .. } => Disposition::EnvelopeInvalid,
            Self::Future { .. } => Disposition::Future,
            Self::Stale { .. } => Disposition::Stale,
            Self::RedriveInvalid(_) => Disposition::RedriveInvalid,
            Self::OtherGroup => Disposition::OtherGroup,
        }
    }
}

/// Why a value is no protobuf message of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeFault {
    /// The record's value is null (a tombstone).
    #[error("null value")]
    NullValue,
    /// Not protobuf, a known field with another wire type, or a string that is not UTF-8.
    #[error("{0}")]
    Malformed(String),
}

/// A rule of the contract that a message breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A string or bytes field of a length that is not accepted.
    #[error("{field} of {bytes} bytes; accepted are {min} to {max}")]
    Length {
        /// The field's name in the proto file.
        field: &'static str,
        /// Its length, bytes.
        bytes: usize,
        /// The least accepted.
        min: usize,
        /// The most accepted.
        max: usize,
    },
    /// A string with more characters than are emitted.
    #[error("{field} of {characters} characters; at most {max} are emitted")]
    Characters {
        /// The field's name in the proto file.
        field: &'static str,
        /// Its length in characters.
        characters: usize,
        /// The most emitted.
        max: usize,
    },
    /// A repeated field with too few or too many entries.
    #[error("{field} has {entries}{} entries; accepted are {min} to {max}", if *.more { " or more" } else { "" })]
    Entries {
        /// The field's name in the proto file.
        field: &'static str,
        /// How many were counted.
        entries: usize,
        /// Whether counting stopped there.
        more: bool,
        /// The least accepted.
        min: usize,
        /// The most accepted.
        max: usize,
    },
    /// A value outside what is accepted.
    #[error("{field} is out of range; accepted is {accepted}")]
    Range {
        /// The field's name in the proto file.
        field: &'static str,
        /// What is accepted, in words.
        accepted: &'static str,
    },
    /// A name that is none of a closed set.
    #[error("{field} is none of {accepted}")]
    NotOneOf {
        /// The field's name in the proto file.
        field: &'static str,
        /// The set.
        accepted: &'static str,
    },
    /// Not an identifier of the demanded form.
    #[error("{field} is not {accepted}")]
    NotUuid {
        /// The field's name in the proto file.
        field: &'static str,
        /// The demanded form, in words.
        accepted: &'static str,
    },
    /// `alg` is something else than `Ed25519`.
    #[error("alg is not \"Ed25519\"")]
    Algorithm,
    /// `producer_id` is not what the trust store expects of the key.
    #[error("producer_id is not that of the claimed signer's key")]
    ProducerId,
    /// A hash field is not the SHA-256 of what it stands for.
    #[error("{field} is not the SHA-256 of {of}")]
    Hash {
        /// The hash's field.
        field: &'static str,
        /// What it should be the hash of.
        of: &'static str,
    },
    /// A field that must hold a JSON object does not.
    #[error("{field} is not the JSON object it must be: {fault}")]
    Json {
        /// The field's name in the proto file.
        field: &'static str,
        /// What is wrong with it.
        fault: JsonFault,
    },
}

/// What is wrong with JSON that must be an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JsonFault {
    /// Not JSON by RFC 8259.
    #[error("no JSON by RFC 8259, at byte {at}")]
    Syntax {
        /// Where reading stopped.
        at: usize,
    },
    /// Nested deeper than 128.
    #[error("nested deeper than 128, at byte {at}")]
    Depth {
        /// Where the 129th level opens.
        at: usize,
    },
    /// JSON, but not an object.
    #[error("JSON, but no object")]
    NotAnObject,
    /// An object with the same key twice.
    #[error("the same key twice in one object, at byte {at}")]
    DuplicateKey {
        /// Where the second one starts.
        at: usize,
    },
    /// A member that must be there, as a number, is not.
    #[error("no number \"{key}\"")]
    NoNumber {
        /// The member's key.
        key: &'static str,
    },
    /// A member says something else than the field of the same name.
    #[error("\"{key}\" differs from the field of that name")]
    Differs {
        /// The member's key.
        key: &'static str,
    },
}

/// On which side of a key's window a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WindowFault {
    /// Signed before the key counts.
    #[error("signed before the key's not_before")]
    NotYet,
    /// Signed after the key stopped counting.
    #[error("signed after the key's not_after")]
    Expired,
    /// Signed in time, but read too long after the key stopped counting.
    #[error("the key's not_after is longer ago than messages may be old")]
    LongExpired,
}

/// What is wrong with an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EnvelopeFault {
    /// Not a header of 77 bytes of version 1.
    #[error("not the 77 bytes of version 1")]
    Malformed,
    /// The header stands more than once.
    #[error("stands more than once")]
    Repeated,
    /// Made by another key than the message.
    #[error("made by another key than the message")]
    OtherKey,
    /// Made for another partition.
    #[error("made for partition {made_for}, read from partition {read_from}")]
    OtherPartition {
        /// What the envelope names.
        made_for: i32,
        /// What the record was read from.
        read_from: i32,
    },
    /// The signature does not hold for this record in any accepted audience and topic.
    #[error("signature does not hold for this topic, key, value and audience")]
    Signature,
}

/// What is wrong with a redrive header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RedriveFault {
    /// Not a header of the right length and version.
    #[error("not of version 1, or of another length")]
    Malformed,
    /// The header stands more than once.
    #[error("stands more than once")]
    Repeated,
    /// Its key is not in the trust store.
    #[error("its key is not in the trust store")]
    UnknownKey,
    /// Its key may not redrive.
    #[error("its key may not sign redrives")]
    NotAuthorised,
    /// Its key was withdrawn.
    #[error("its key is revoked")]
    Revoked,
    /// Its key's window does not cover it.
    #[error("its key's window does not cover it")]
    Window,
    /// The signature does not hold for this record.
    #[error("signature does not hold for this topic, value and audience")]
    Signature,
    /// Written to another partition than it was made for.
    #[error("made for partition {made_for}, read from partition {read_from}")]
    OtherPartition {
        /// What the header names.
        made_for: i32,
        /// What the record was read from.
        read_from: i32,
    },
    /// Redriven more than five times, or not once.
    #[error("count {count}; accepted are 1 to 5")]
    Count {
        /// What the header says.
        count: u8,
    },
    /// Valid for longer than an hour after signing, or for no time at all.
    #[error("it does not expire within an hour of signing")]
    Lifetime,
    /// Judged after it expired.
    #[error("expired")]
    Expired,
    /// Signed later than the tolerance allows.
    #[error("signed in the future")]
    Future,
    /// Signed longer ago than a message may be old.
    #[error("signed too long ago")]
    Stale,
}

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
