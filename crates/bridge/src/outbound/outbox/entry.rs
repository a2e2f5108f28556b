//! One message in the outbox, and its form on disk.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | state: 0 draft, 1 signed |
//! | 8 | when it was accepted, Unix milliseconds |
//! | 4 | partition, -1 where it is not known |
//! | 1 + n | kind's name |
//! | 2 + n | topic |
//! | 4 + n | key; length `0xFFFFFFFF` for none |
//! | 4 + n | trace context; length `0xFFFFFFFF` for none |
//! | 4 … | the caller's headers: how many, then of each name and value, each 4 + n |
//! | 8, 8, 4 … | signed alone: which signing it is of, the record's time, and all its headers |
//! | 4 + n | the draft's protobuf, or the signed record's value |
//! | 8 | SHA-256 over all before and the place, cut |
//!
//! Numbers are big-endian. What is signed and was given up unwritten becomes a draft again: signing only fills fields
//! that a draft leaves out, so nothing is kept twice.

use std::sync::Arc;

use cybermesh_contracts::{
    headers::Header,
    kind::Kind,
    message::{Draft, Invalid},
};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const DRAFT: u8 = 0;
const SIGNED: u8 = 1;
const NONE: u32 = u32::MAX;
const CHECKSUM_BYTES: usize = 8;

/// A message that waits in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its kind.
    pub kind: Kind,
    /// The topic it goes to.
    pub topic: Arc<str>,
    /// The partition: of what is signed the one it was signed for, of a draft the one its key had when it came, if known.
    pub partition: Option<i32>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The caller's headers.
    pub headers: Vec<Header>,
    /// The W3C trace context.
    pub traceparent: Option<String>,
    /// When it was accepted, Unix milliseconds.
    pub accepted_at_ms: u64,
    /// The message.
    pub body: Body,
}

/// What there is of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// It was certainly not sent; it is signed when it goes.
    Draft(Vec<u8>),
    /// It may have been sent, and goes byte for byte.
    Signed {
        /// Which signing it is of, counted with the places: what was signed later has a higher number, whatever the clock
        /// said.
        signing: u64,
        /// The record's time, Unix milliseconds.
        timestamp_ms: i64,
        /// The record's headers, in order.
        headers: Vec<Header>,
        /// The record's value.
        value: Vec<u8>,
    },
}

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEntry {
    /// Its checksum is not that of its content.
    #[error("the checksum is wrong")]
    Checksum,
    /// A later version wrote it.
    #[error("it is of version {0}, and this program knows version {VERSION}")]
    Version(u8),
    /// It is not what its version says.
    #[error("it ends too early, or says what cannot be")]
    Content,
}

impl Entry {
    /// Its state's name: `draft` or `signed`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.body {
            Body::Draft(_) => "draft",
            Body::Signed { .. } => "signed",
        }
    }

    /// The message without what signing fills.
    ///
    /// # Errors
    /// [`Invalid`] where the bytes are no message of its kind.
    pub fn draft(&self) -> Result<Draft, Invalid> {
        let (Body::Draft(bytes) | Body::Signed { value: bytes, .. }) = &self.body;
        Draft::from_proto(self.kind, bytes)
    }

    /// Its bytes but for the checksum, which needs its place.
    pub(super) fn encode(&self) -> Unsealed {
        let mut out = Vec::with_capacity(256);
        let (state, content) = match &self.body {
            Body::Draft(bytes) => (DRAFT, bytes),
            Body::Signed { value, .. } => (SIGNED, value),
        };
        out.extend([VERSION, state]);
        out.extend(self.accepted_at_ms.to_be_bytes());
        out.extend(self.partition.unwrap_or(-1).to_be_bytes());
        let kind = self.kind.as_str().as_bytes();
        out.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
        out.extend(kind);
        out.extend(short(self.topic.len()).to_be_bytes());
        out.extend(self.topic.as_bytes());
        put(&mut out, self.key.as_deref());
        put(&mut out, self.traceparent.as_deref().map(str::as_bytes));
        put_headers(&mut out, &self.headers);
        if let Body::Signed {
            signing,
            timestamp_ms,
            headers,
            ..
        } = &self.body
        {
            out.extend(signing.to_be_bytes());
            out.extend(timestamp_ms.to_be_bytes());
            put_headers(&mut out, headers);
        }
        put(&mut out, Some(content));
        let digest = Sha256::new().chain_update(&out);
        Unsealed { bytes: out, digest }
    }

    pub(super) fn decode(place: u64, bytes: &[u8]) -> Result<Self, NoEntry> {
        let (content, sum) = bytes
            .split_at_checked(bytes.len().saturating_sub(CHECKSUM_BYTES))
            .filter(|(content, _)| !content.is_empty())
            .ok_or(NoEntry::Content)?;
        if sum != checksum(place, content) {
            return Err(NoEntry::Checksum);
        }
        let mut rest = Rest(content);
        let version = rest.array::<1>()?[0];
        if version != VERSION {
            return Err(NoEntry::Version(version));
        }
        let state = rest.array::<1>()?[0];
        let accepted_at_ms = u64::from_be_bytes(rest.array()?);
        let partition = i32::from_be_bytes(rest.array()?);
        let kind_length = rest.array::<1>()?[0];
        let kind = text(rest.take(kind_length.into())?)?;
        let topic_length = u16::from_be_bytes(rest.array()?);
        let topic = text(rest.take(topic_length.into())?)?;
        let key = rest.bytes()?.map(<[u8]>::to_vec);
        let traceparent = rest.bytes()?.map(text).transpose()?.map(str::to_owned);
        let headers = rest.headers()?;
        let signed = match state {
            DRAFT => None,
            SIGNED => Some((
                u64::from_be_bytes(rest.array()?),
                i64::from_be_bytes(rest.array()?),
                rest.headers()?,
            )),
            _ => return Err(NoEntry::Content),
        };
        let content = rest.bytes()?.ok_or(NoEntry::Content)?.to_vec();
        if !rest.0.is_empty() {
            return Err(NoEntry::Content);
        }
        Ok(Self {
            kind: kind.parse().map_err(|_| NoEntry::Content)?,
            topic: topic.into(),
            partition: (partition >= 0).then_some(partition),
            key,
            headers,
            traceparent,
            accepted_at_ms,
            body: match signed {
                None => Body::Draft(content),
                Some((signing, timestamp_ms, headers)) => Body::Signed {
                    signing,
                    timestamp_ms,
                    headers,
                    value: content,
                },
            },
        })
    }
}

/// Reads these bytes with their checksum put right; what is an entry is the same when it is written and read again.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    const PLACE: u64 = 7;
    let sealed = [bytes, &checksum(PLACE, bytes)].concat();
    if let Ok(entry) = Entry::decode(PLACE, &sealed) {
        let again = Entry::decode(PLACE, &entry.encode().seal(PLACE));
        assert_eq!(again, Ok(entry));
    }
}

/// An entry that has no place yet.
pub(super) struct Unsealed {
    bytes: Vec<u8>,
    digest: Sha256,
}

impl Unsealed {
    /// What it will take on disk.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + CHECKSUM_BYTES
    }

    pub(super) fn seal(mut self, place: u64) -> Vec<u8> {
        let checksum = cut(self.digest, place);
        self.bytes.extend(checksum);
        self.bytes
    }
}

/// Names and topics are bounded far below this by those who make them.
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.extend(NONE.to_be_bytes()),
        Some(bytes) => {
            out.extend(u32::try_from(bytes.len()).unwrap_or(NONE).to_be_bytes());
            out.extend(bytes);
        }
    }
}

fn put_headers(out: &mut Vec<u8>, headers: &[Header]) {
    out.extend(u32::try_from(headers.len()).unwrap_or(NONE).to_be_bytes());
    for header in headers {
        put(out, Some(header.name.as_bytes()));
        put(out, header.value.as_deref());
    }
}

fn checksum(place: u64, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cut(Sha256::new().chain_update(content), place)
}

fn cut(digest: Sha256, place: u64) -> [u8; CHECKSUM_BYTES] {
    let digest = digest.chain_update(place.to_be_bytes()).finalize();
    let mut cut = [0; CHECKSUM_BYTES];
    cut.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    cut
}

fn text(bytes: &[u8]) -> Result<&str, NoEntry> {
    std::str::from_utf8(bytes).map_err(|_| NoEntry::Content)
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], NoEntry> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(NoEntry::Content)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NoEntry> {
        self.take(N)?.try_into().map_err(|_| NoEntry::Content)
    }

    fn bytes(&mut self) -> Result<Option<&'a [u8]>, NoEntry> {
        match u32::from_be_bytes(self.array()?) {
            NONE => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| NoEntry::Content)?;
                self.take(length).map(Some)
            }
        }
    }

    fn headers(&mut self) -> Result<Vec<Header>, NoEntry> {
        let count = u32::from_be_bytes(self.array()?);
        (0..count)
            .map(|_| {
                let name = text(self.bytes()?.ok_or(NoEntry::Content)?)?.to_owned();
                let value = self.bytes()?.map(<[u8]>::to_vec);
                Ok(Header { name, value })
            })
            .collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers() -> impl Strategy<Value = Vec<Header>> {
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
        let header = ("[a-z-]{0,12}", value).prop_map(|(name, value)| Header { name, value });
        prop::collection::vec(header, 0..4)
    }

    pub(in super::super) fn entry() -> impl Strategy<Value = Entry> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..64);
        let body = prop_oneof![
            bytes().prop_map(Body::Draft),
            (any::<u64>(), any::<i64>(), headers(), bytes()).prop_map(
                |(signing, timestamp_ms, headers, value)| Body::Signed {
                    signing,
                    timestamp_ms,
                    headers,
                    value,
                }
            ),
        ];
        (
            prop::sample::select(Kind::ALL.to_vec()),
            "[a-z.]{1,30}",
            prop::option::of(0..i32::MAX),
            prop::option::of(bytes()),
            headers(),
            prop::option::of("[0-9a-f-]{0,60}"),
            any::<u64>(),
            body,
        )
            .prop_map(
                |(kind, topic, partition, key, headers, traceparent, accepted_at_ms, body)| Entry {
                    kind,
                    topic: topic.into(),
                    partition,
                    key,
                    headers,
                    traceparent,
                    accepted_at_ms,
                    body,
                },
            )
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(entry in entry(), place: u64) {
            prop_assert_eq!(Entry::decode(place, &entry.encode().seal(place)), Ok(entry));
        }

        #[test]
        fn any_bit_that_changed_is_noticed(entry in entry(), place: u64, bit: prop::sample::Index) {
            let mut bytes = entry.encode().seal(place);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Entry::decode(place, &bytes), Err(NoEntry::Checksum));
        }

        #[test]
        fn one_that_stands_in_anothers_place_is_noticed(entry in entry(), place in 1_u64..u64::MAX) {
            prop_assert_eq!(Entry::decode(place - 1, &entry.encode().seal(place)), Err(NoEntry::Checksum));
        }

        #[test]
        fn bytes_of_any_content_under_a_true_checksum_do_no_harm(mut bytes: Vec<u8>, place: u64) {
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            let sum = checksum(place, &bytes);
            bytes.extend(sum);
            if let Ok(entry) = Entry::decode(place, &bytes) {
                prop_assert_eq!(entry.encode().seal(place).len(), bytes.len());
            }
        }
    }
}
