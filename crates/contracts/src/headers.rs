//! Kafka headers: the names that mean something here, and what our records carry.
//!
//! Headers are unsigned (the signatures of `cm-*` headers cover other things than headers), so the
//! topic alone decides a record's kind on receipt, and handlers get headers marked as unsigned.

use thiserror::Error;

use crate::kind::Kind;

/// Version of the contract; always [`CONTRACT_VERSION`].
pub const VERSION: &str = "version";
/// The kind's name. For people and tools: receivers go by the topic.
pub const TYPE: &str = "type";
/// The value's media type; always [`PROTOBUF`].
pub const CONTENT_TYPE: &str = "content-type";
/// W3C trace context, where a trace is active.
pub const TRACEPARENT: &str = "traceparent";
/// The envelope signature (see [`envelope`](crate::envelope)).
pub const ENVELOPE: &str = "cm-envelope";
/// The permission to judge an old message again (see "Redrive" in the contract).
pub const REDRIVE: &str = "cm-redrive";
/// The signature of a dead letter.
pub const DEAD_LETTER: &str = "cm-dead-letter";
/// When the outbox took a message that was sent later, Unix milliseconds.
pub const SPOOLED_AT: &str = "cm-spooled-at";

/// What [`VERSION`] holds.
pub const CONTRACT_VERSION: &str = "1";
/// What [`CONTENT_TYPE`] holds.
pub const PROTOBUF: &str = "application/x-protobuf";

/// Prefix of the headers that this project signs or relies on.
pub const OWN_PREFIX: &str = "cm-";
/// Prefix of a dead letter's headers.
pub const DEAD_LETTER_PREFIX: &str = "dlq.";

/// The most that key, headers and value of a record of ours take together, bytes.
///
/// Kafka's default batch limit is 1 048 588, overhead included.
pub const MAX_RECORD_BYTES: usize = 1_000_000;

/// A header of a record about to be produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value; Kafka knows null.
    pub value: Option<Vec<u8>>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            value: Some(value.into()),
        }
    }
}

/// A caller's header whose name is not theirs to set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "header \"{name}\" is reserved: callers may set neither version, type and content-type nor names that start \
     with cm- or dlq."
)]
pub struct ReservedHeader {
    name: String,
}

/// Whether a caller may set a header of this name.
///
/// # Errors
/// [`ReservedHeader`] for `version`, `type`, `content-type`, `cm-*` and `dlq.*`, compared without
/// regard to ASCII case.
pub fn permit(name: &str) -> Result<(), ReservedHeader> {
    let lower = name.to_ascii_lowercase();
    let reserved = [VERSION, TYPE, CONTENT_TYPE].contains(&lower.as_str())
        || lower.starts_with(OWN_PREFIX)
        || lower.starts_with(DEAD_LETTER_PREFIX);
    if reserved {
        Err(ReservedHeader {
            name: name.to_owned(),
        })
    } else {
        Ok(())
    }
}

/// The headers of a record we produce, in the order of the contract: `version`, `type`,
/// `content-type`, `traceparent` where there is one, `cm-envelope` where there is one, the caller's.
///
/// # Errors
/// [`ReservedHeader`] where a caller's header is not theirs to set.
pub fn for_record(
    kind: Kind,
    traceparent: Option<&str>,
    envelope: Option<&[u8]>,
    callers: &[Header],
) -> Result<Vec<Header>, ReservedHeader> {
    let mut headers = vec![
        Header::new(VERSION, CONTRACT_VERSION),
        Header::new(TYPE, kind.as_str()),
        Header::new(CONTENT_TYPE, PROTOBUF),
    ];
    headers.extend(traceparent.map(|value| Header::new(TRACEPARENT, value)));
    headers.extend(envelope.map(|value| Header::new(ENVELOPE, value)));
    for header in callers {
        permit(&header.name)?;
        headers.push(header.clone());
    }
    Ok(headers)
}

/// What key, headers (names and values) and value take together, to be held against
/// [`MAX_RECORD_BYTES`].
#[must_use]
pub fn record_bytes(key: Option<&[u8]>, headers: &[Header], value: &[u8]) -> usize {
    let headers: usize = headers
        .iter()
        .map(|header| header.name.len() + header.value.as_ref().map_or(0, Vec::len))
        .sum();
    key.map_or(0, <[u8]>::len) + headers + value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ours_are_refused_in_any_case() {
        for name in [
            "version",
            "TYPE",
            "Content-Type",
            "cm-envelope",
            "CM-x",
            "dlq.reason",
        ] {
            assert!(permit(name).is_err(), "{name}");
        }
        for name in ["traceparent", "versions", "cm", "dlq", "tenant"] {
            assert!(permit(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn headers_stand_in_the_order_of_the_contract() {
        let callers = [Header::new("tenant", "a"), Header::new("tenant", "b")];
        let headers =
            for_record(Kind::Commit, Some("00-ab-cd-01"), Some(&[1; 77]), &callers).unwrap();
        let names: Vec<_> = headers.iter().map(|header| header.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "version",
                "type",
                "content-type",
                "traceparent",
                "cm-envelope",
                "tenant",
                "tenant"
            ]
        );
        assert_eq!(record_bytes(Some(b"key"), &callers, b"value"), 3 + 14 + 5);
    }
}
