//! What a dead letter is about: the original record, whether it is still where it was, and what a
//! receiver would say of it today.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_contracts::RecordView;
use cybermesh_contracts::dead_letter::{Content, Copy, DeadLetter, Flood, Reference};
use cybermesh_contracts::headers::REDRIVE;
use cybermesh_contracts::message::Message;
use cybermesh_contracts::rejection::{Disposition, Reason, Rejection};
use cybermesh_contracts::sign::PublicKey;
use cybermesh_contracts::verify::{Bounds, Verified};
use cybermesh_transport::{FetchedRecord, Header};
use sha2::{Digest, Sha256};

use super::desk::Desk;
use super::entry::Position;
use super::reader::{ReadError, partition_exists, record_at, records_between};

/// What the values of one summary may take, bytes; and with keys and headers, whatever it says itself.
const MOST_BYTES: u64 = 256 << 20;
const MOST_BYTES_READ: u64 = 2 * MOST_BYTES;
/// How many there may be of one summary: what a second brings.
const MOST_RECORDS: u64 = 200_000;

/// A record as it was before it was buried, without a header that had put it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Where it was first.
    pub at: Position,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}

/// Whether the original is still where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is, and is what was buried; several for a summary.
    There(Vec<Original>),
    /// Another record is in its place. What differs.
    Differs(&'static str),
    /// It is not, and the dead letter has a copy.
    GoneButCopied(Box<Original>),
    /// It is not, and there is no copy.
    Gone,
    /// A summary stands for some of the records there, and does not say which.
    SomeOfThem {
        /// How many it stands for.
        count: u64,
    },
    /// A summary stands for more than is taken into memory.
    TooMuch {
        /// How many it stands for.
        count: u64,
        /// Bytes of all their values.
        bytes: u64,
    },
    /// There never was a record: the dead letter holds a draft.
    Draft,
    /// Its topic carries no kind by our settings.
    NoKind,
    /// There is no such topic or partition any more.
    NoTopic,
}

/// What a receiver with our settings and our trust store would say of an original today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Today {
    /// It verifies. Its order is not judged: a copy of something handled before verifies too.
    Verifies {
        /// The signer's name in the trust store.
        signer: Arc<str>,
    },
    /// It was signed for a time that has not come: putting it back now would settle that time, and have all
    /// of its signer's messages up to then buried as replays.
    NotYet {
        /// How far ahead, milliseconds.
        ahead_ms: u64,
    },
    /// It does not verify.
    Rejected {
        /// What it would be buried as.
        disposition: Disposition,
        /// Why.
        reason: String,
    },
}

/// Looks for what `letter` is about.
///
/// # Errors
/// [`ReadError`]: it could not be looked for.
pub(super) async fn find(desk: &Desk, letter: &DeadLetter) -> Result<Origin, ReadError> {
    if letter.disposition() == Disposition::ProduceFailed {
        return Ok(Origin::Draft);
    }
    let origin = letter.origin();
    let (Some(partition), Some(offset)) = (origin.partition, origin.offset) else {
        return Ok(Origin::Draft);
    };
    if desk.settings().topics.kind_of(&origin.topic).is_none() {
        return Ok(Origin::NoKind);
    }
    if !partition_exists(desk, &origin.topic, partition).await? {
        return Ok(Origin::NoTopic);
    }
    let at = Position { partition, offset };
    match letter.content() {
        Content::Reference(many) if many.count > 1 => summary(desk, &origin.topic, at, many).await,
        Content::Reference(one) => {
            let Some(record) = record_at(desk, &origin.topic, at).await? else {
                return Ok(Origin::Gone);
            };
            if value_hash(record.value.as_deref()) != one.sha256 {
                return Ok(Origin::Differs("value"));
            }
            Ok(Origin::There(vec![Original::of(partition, &record)]))
        }
        Content::Copy(copy) => {
            let copied = Original::copied(at, copy);
            let Some(record) = record_at(desk, &origin.topic, at).await? else {
                return Ok(Origin::GoneButCopied(Box::new(copied)));
            };
            let there = Original::of(partition, &record);
            Ok(match there.differs_from(&copied) {
                Some(part) => Origin::Differs(part),
                None => Origin::There(vec![there]),
            })
        }
    }
}

/// The originals of a summary, where it stands for all that is there from its first offset to its last.
async fn summary(
    desk: &Desk,
    topic: &str,
    first: Position,
    reference: &Reference,
) -> Result<Origin, ReadError> {
    let (count, bytes) = (reference.count, reference.length);
    if bytes > MOST_BYTES || count > MOST_RECORDS {
        return Ok(Origin::TooMuch { count, bytes });
    }
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let last = reference.last_offset.unwrap_or(first.offset);
    let most = (most, MOST_BYTES_READ);
    let Some(records) = records_between(desk, topic, first, last, most).await? else {
        return Ok(Origin::SomeOfThem { count });
    };
    if records.is_empty() {
        return Ok(Origin::Gone);
    }
    if records.len() != most.0 {
        return Ok(Origin::SomeOfThem { count });
    }
    if hash_of_all(topic, first.partition, &records) != Some(reference.sha256) {
        return Ok(Origin::Differs("the hash of their values"));
    }
    let originals = records
        .iter()
        .map(|record| Original::of(first.partition, record));
    Ok(Origin::There(originals.collect()))
}

/// The hash of hashes that a summary has.
fn hash_of_all(topic: &str, partition: i32, records: &[FetchedRecord]) -> Option<[u8; 32]> {
    let mut flood: Option<Flood> = None;
    for record in records {
        let view = RecordView {
            partition: Some(partition),
            offset: record.offset,
            ..RecordView::new(topic, record.value.as_deref())
        };
        match &mut flood {
            Some(flood) => flood.add(&view),
            none => *none = Some(Flood::starting_with(&view)),
        }
    }
    flood.map(|flood| flood.sha256())
}

/// SHA-256 of a value; 32 zero bytes for a null one, as dead letters have it.
pub(super) fn value_hash(value: Option<&[u8]>) -> [u8; 32] {
    value.map_or([0; 32], |value| Sha256::digest(value).into())
}

impl Original {
    fn of(partition: i32, record: &FetchedRecord) -> Self {
        Self {
            at: Position {
                partition,
                offset: record.offset,
            },
            key: record.key.clone(),
            value: record.value.clone(),
            headers: without_redrive(record.headers.iter().cloned()),
        }
    }

    fn copied(at: Position, copy: &Copy) -> Self {
        let headers = copy.headers.iter().map(|header| Header {
            name: header.name.clone(),
            value: header.value.clone().map(Bytes::from),
        });
        Self {
            at,
            key: copy.key.clone().map(Bytes::from),
            value: copy.value.clone().map(Bytes::from),
            headers: without_redrive(headers),
        }
    }

    /// SHA-256 of its value.
    pub(super) fn hash(&self) -> [u8; 32] {
        value_hash(self.value.as_deref())
    }

    /// What of it is another than of the copy, if anything is.
    fn differs_from(&self, copy: &Self) -> Option<&'static str> {
        if self.value != copy.value {
            Some("value")
        } else if self.key != copy.key {
            Some("key")
        } else if self.headers != copy.headers {
            Some("headers")
        } else {
            None
        }
    }

    /// What a receiver would say of it, put back into its place in `topic` at `now_ms`. What was buried at
    /// `unjudged_at_ms` before its age was asked for must not have been too old then.
    #[must_use]
    pub fn today(
        &self,
        desk: &Desk,
        topic: &str,
        now_ms: i64,
        unjudged_at_ms: Option<i64>,
    ) -> Today {
        match self.judge(desk, topic, now_ms) {
            None => Today::Rejected {
                disposition: Disposition::NoHandler,
                reason: "its topic carries no kind".to_owned(),
            },
            Some(Ok(verified)) => Today::Verifies {
                signer: Arc::clone(&verified.signer().id),
            },
            Some(Err(rejection)) => match (rejection.reason(), rejection.claimed()) {
                (Reason::Stale { .. }, _)
                    if unjudged_at_ms
                        .is_some_and(|then_ms| self.was_stale(desk, topic, then_ms)) =>
                {
                    rejected(&rejection)
                }
                // Age is judged last, and of a redriven message not at all: its redrive is held against the clock.
                (Reason::Stale { .. }, Some(key)) => match desk.trust().key(&key) {
                    Some(key) => Today::Verifies {
                        signer: Arc::clone(key.shared_id()),
                    },
                    None => rejected(&rejection),
                },
                (Reason::Future { ahead_ms, .. }, _) => Today::NotYet {
                    ahead_ms: *ahead_ms,
                },
                _ => rejected(&rejection),
            },
        }
    }

    fn was_stale(&self, desk: &Desk, topic: &str, then_ms: i64) -> bool {
        let judged = self.judge(desk, topic, then_ms);
        judged.is_some_and(|judged| {
            judged.is_err_and(|then| then.disposition() == Disposition::Stale)
        })
    }

    /// Who claims to have signed it, where that can be read; no signature is looked at.
    #[must_use]
    pub fn claimed(&self, desk: &Desk, topic: &str) -> Option<PublicKey> {
        match self.judge(desk, topic, 0)? {
            Ok(verified) => Some(verified.signer().public_key),
            Err(rejection) => rejection.claimed(),
        }
    }

    /// No tolerance: what is put back early settles a time to come.
    fn judge(
        &self,
        desk: &Desk,
        topic: &str,
        now_ms: i64,
    ) -> Option<Result<Verified<Message>, Rejection>> {
        let kind = desk.settings().topics.kind_of(topic)?;
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_deref()))
            .collect();
        let record = RecordView {
            partition: Some(self.at.partition),
            offset: self.at.offset,
            key: self.key.as_deref(),
            headers: &headers,
            ..RecordView::new(topic, self.value.as_deref())
        };
        let bounds = Bounds {
            now_ms,
            max_age: desk.settings().replay.max_age,
            future_tolerance: Duration::ZERO,
        };
        let verifier = desk.verifier();
        Some(verifier.verify(desk.trust(), kind, &record, Some(&bounds)))
    }
}

/// The original that a dead letter has a copy of, whether it is still in its place or not.
pub(super) fn copy_of(letter: &DeadLetter) -> Option<Original> {
    let origin = letter.origin();
    let at = Position {
        partition: origin.partition?,
        offset: origin.offset?,
    };
    match letter.content() {
        Content::Copy(copy) => Some(Original::copied(at, copy)),
        Content::Reference(_) => None,
    }
}

fn without_redrive(headers: impl Iterator<Item = Header>) -> Vec<Header> {
    headers.filter(|header| header.name != REDRIVE).collect()
}

fn rejected(rejection: &Rejection) -> Today {
    Today::Rejected {
        disposition: rejection.disposition(),
        reason: rejection.to_string(),
    }
}
