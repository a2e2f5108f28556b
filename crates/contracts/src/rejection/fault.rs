//! What exactly is wrong, where a reason alone does not say.

use thiserror::Error;

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
    #[error("its claimed key is not in the trust store")]
    UnknownKey,
    /// Its key may not redrive.
    #[error("its claimed key may not sign redrives")]
    NotAuthorised,
    /// Its key was withdrawn.
    #[error("its claimed key is revoked")]
    Revoked,
    /// Its key's window does not cover it.
    #[error("its claimed key's window does not cover it")]
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
}
