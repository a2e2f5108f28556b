//! Which dead letters are put back, and why the others are not.
//!
//! Decides; reads, signs and writes nothing. Whoever may write to the dead-letter topic must gain nothing by
//! it: what is not signed by a trusted key of ours moves nothing without an operator's word, and never
//! stands in the way of what is.

use std::collections::{HashMap, HashSet};

use cybermesh_contracts::dead_letter::{Content, DeadLetter, DeadLetterFault};
use cybermesh_contracts::headers::DEAD_LETTER;
use cybermesh_contracts::redrive::MAX_COUNT;
use cybermesh_contracts::rejection::Disposition;
use sha2::{Digest, Sha256};

use super::copies::is_before_order;
use super::entry::{Entry, Position, Standing};
use super::journal::{Done, Key, Ledger};
use super::original::{Origin, Original, Today, value_hash};
use super::stretches::Stretches;
use crate::inbound::guard::burials::from_words;

/// What an operator asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// One record was named: then its disposition is no obstacle.
    pub one: bool,
    /// The group that is to take it, instead of the one that buried it.
    pub for_group: Option<String>,
    /// Dead letters without a signature count as well. Anybody who may write to the dead-letter topic can
    /// have any genuine message handled once more by that.
    pub danger_unsigned: bool,
    /// The copy in the dead letter stands for an original that is no longer there.
    pub danger_origin_gone: bool,
}

/// Why something is not put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The record is none of ours, or contradicts itself.
    #[error("no dead letter: {0}")]
    NoLetter(DeadLetterFault),
    /// It carries a signature that does not count.
    #[error("forged: {0}")]
    Forged(DeadLetterFault),
    /// It carries no signature.
    #[error("unsigned: anybody who may write to the topic could have made it (--danger-unsigned)")]
    Unsigned,
    /// It holds a draft.
    #[error(
        "a draft that was never signed, of which its sender was told: send it anew, nothing can be put back"
    )]
    Draft,
    /// Not what our own state may have caused.
    #[error("{0}: only by itself, by its position")]
    Disposition(Disposition),
    /// It stands for messages of more than one kind of trouble, and old copies may be among them.
    #[error(
        "a summary that stands for other than what our own state may have caused as well, such as old copies, and does not say which is which"
    )]
    Mixed,
    /// Nobody is named who is to take it.
    #[error("it names no group; say which is to take it (--for-group)")]
    NoGroup,
    /// It was redriven as often as that is accepted.
    #[error("put back {MAX_COUNT} times, and no receiver takes it once more")]
    TooOften,
    /// There is no such topic or partition any more.
    #[error("its topic or partition is not there any more")]
    NoTopic,
    /// Our settings give its topic to no kind.
    #[error("its topic carries no kind by these settings")]
    NoKind,
    /// The original is not there any more.
    #[error("the original is gone from its topic; there is a copy (--danger-origin-gone)")]
    OriginGone,
    /// The same, and there is no copy.
    #[error("the original is gone from its topic, and there is no copy")]
    NothingLeft,
    /// Something else is there.
    #[error("what is in the original's place differs: {0}")]
    OriginDiffers(&'static str),
    /// A summary that does not say which.
    #[error(
        "a summary of {count} records that are not all there is from its first offset to its last: it does not say which"
    )]
    SomeOfThem {
        /// How many it stands for.
        count: u64,
    },
    /// A summary of more than is taken into memory.
    #[error("a summary of {count} records of {bytes} bytes, more than is taken at once")]
    TooMuch {
        /// How many it stands for.
        count: u64,
        /// Bytes of all their values.
        bytes: u64,
    },
    /// The original would not be believed.
    #[error("it would only be buried again, as {disposition}: {reason}")]
    WouldNotVerify {
        /// As what.
        disposition: Disposition,
        /// Why.
        reason: String,
    },
    /// The same stood in its partition before, and nobody judged its order.
    #[error("a copy of what stood at {0} before: only by itself, by its position")]
    CopyOf(Position),
    /// The same stands in its partition behind it, and may have been taken there: nobody judged the order of this one.
    #[error(
        "the same stands at {0} as well, and may have been handled there: only by itself, by its position"
    )]
    CopiedTo(Position),
    /// Its time has not come.
    #[error(
        "it is {ahead_ms} ms ahead of our clock: put back before its time, it would make replays of its signer's \
         messages up to then"
    )]
    NotYet {
        /// How far ahead, milliseconds.
        ahead_ms: u64,
    },
    /// It was put back.
    #[error("put back already, redrive {count} of {MAX_COUNT}")]
    Redriven {
        /// Which time that was.
        count: u8,
    },
    /// It was put back, and nobody knows whether Kafka has it.
    #[error(
        "put back with an unknown outcome; a run with --yes finds out where that can still be told"
    )]
    Unknown,
    /// Another dead letter is about the same record, for the same group.
    #[error("{0} is about the same record")]
    SameRecord(Position),
    /// An operator has dealt with it.
    #[error("discarded")]
    Discarded,
}

impl Refusal {
    /// Whether nothing is wrong: it is dealt with already, or was not asked for.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        matches!(
            self,
            Self::Disposition(_) | Self::Redriven { .. } | Self::SameRecord(_) | Self::Discarded
        )
    }
}

/// The dead letters of a topic by what they are about: burials are repeated after a crash, and what was
/// redriven is buried again under the same key with a higher count.
///
/// A topic that was made again has other records at the same places: what differs in its value is another record.
#[derive(Debug, Default)]
pub struct Index {
    signed: HashMap<Short, Best>,
    unsigned: HashMap<Short, Best>,
    /// Where each signature was met first: whoever may write to the topic can append what stands there again.
    seals: HashMap<Short, Position>,
    /// The signatures of those that are discarded.
    discarded: HashSet<Short>,
    /// What signed summaries stand for wholly, by group, topic and partition.
    summed: HashMap<Short, Stretches>,
}

/// A hash, shortened: there may be millions.
type Short = [u8; 16];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Best {
    count: u8,
    at: Position,
    /// None of those about the same record is put back in bulk without a look for copies.
    keeps: bool,
}

impl Index {
    /// Takes note of a record of the topic.
    pub fn note(&mut self, entry: &Entry) {
        let Ok(read) = &entry.read else { return };
        let best = match read.standing {
            Standing::Signed(_) => &mut self.signed,
            Standing::Unsigned => &mut self.unsigned,
            Standing::Forged(_) => return,
        };
        if let Some(seal) = seal(entry) {
            self.seals.entry(seal).or_insert(entry.at);
        }
        let letter = &read.letter;
        let keeps = keeps_from_handling(letter);
        let Some((key, hash)) = own_key(letter) else {
            if keeps && matches!(read.standing, Standing::Signed(_)) {
                self.note_summary(letter);
            }
            return;
        };
        let this = Best {
            count: letter.redrive_count(),
            at: entry.at,
            keeps,
        };
        let best = best.entry(short(&key, &hash)).or_insert(this);
        let keeps = best.keeps && keeps;
        if this.count > best.count {
            *best = this;
        }
        best.keeps = keeps;
    }

    /// A summary does not say which: only one that stands for all of its range is known to stand for one of it.
    fn note_summary(&mut self, letter: &DeadLetter) {
        let Content::Reference(reference) = letter.content() else {
            return;
        };
        let origin = letter.origin();
        let (Some(first), Some(last), Some(partition)) = (
            reference.first_offset,
            reference.last_offset,
            origin.partition,
        ) else {
            return;
        };
        let span = last
            .checked_sub(first)
            .and_then(|span| u64::try_from(span).ok());
        if span.and_then(|span| span.checked_add(1)) != Some(reference.count) {
            return;
        }
        let group = letter.group().unwrap_or_default();
        let place = place(group, &origin.topic, partition);
        self.summed.entry(place).or_default().add(first, last);
    }

    /// Whether a dead letter tells that what stands there was not handled, nor will be by a bulk redrive without a
    /// look for copies. Where only what is signed counts, what is not signed tells nothing.
    pub(super) fn keeps_from_handling(
        &self,
        (group, topic, at): (&str, &str, Position),
        hash: &[u8; 32],
        only_signed: bool,
    ) -> bool {
        let short = short(&Key::new(group, topic, at), hash);
        let unsigned = || self.unsigned.get(&short).filter(|_| !only_signed);
        match self.signed.get(&short).or_else(unsigned) {
            Some(of_its_own) => of_its_own.keeps,
            None => {
                let stretches = self.summed.get(&place(group, topic, at.partition));
                stretches.is_some_and(|stretches| stretches.has(at.offset))
            }
        }
    }

    /// Takes note that a record of the topic is discarded.
    pub(super) fn discard(&mut self, entry: &Entry) {
        self.discarded.extend(seal(entry));
    }

    /// Whether the same dead letter, signature and all, is discarded: in which partition it is met first is chance.
    pub(super) fn is_discarded(&self, entry: &Entry) -> bool {
        seal(entry).is_some_and(|seal| self.discarded.contains(&seal))
    }

    /// Where the same dead letter, signature and all, stood before.
    pub(super) fn earlier(&self, entry: &Entry) -> Option<Position> {
        let first = self.seals.get(&seal(entry)?).copied();
        first.filter(|first| *first != entry.at)
    }

    /// The dead letter about this record that counts, unless it is the one `at`. What is not signed does not
    /// stand in the way of what is.
    fn other(
        &self,
        (key, hash): (&Key, &[u8; 32]),
        standing: &Standing,
        at: Position,
    ) -> Option<Position> {
        let short = short(key, hash);
        let signed = self.signed.get(&short);
        let best = match standing {
            Standing::Signed(_) => signed,
            Standing::Unsigned | Standing::Forged(_) => {
                signed.or_else(|| self.unsigned.get(&short))
            }
        };
        best.map(|best| best.at).filter(|best| *best != at)
    }
}

fn short(key: &Key, hash: &[u8; 32]) -> Short {
    let both = Sha256::new().chain_update(key.as_str()).chain_update(hash);
    cut(both.finalize().into())
}

fn place(group: &str, topic: &str, partition: i32) -> Short {
    // No topic has a slash in its name.
    cut(Sha256::digest(format!("{group}/{topic}/{partition}")).into())
}

fn cut(hash: [u8; 32]) -> Short {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = hash;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// The signature of a dead letter that a key of ours signed: of the same content alone there is the same.
fn seal(entry: &Entry) -> Option<Short> {
    let read = entry.read.as_ref().ok()?;
    if !matches!(read.standing, Standing::Signed(_)) {
        return None;
    }
    let mut headers = entry.record.headers.iter();
    let seal = headers.find(|header| header.name == DEAD_LETTER)?;
    // What a signed summary says may be written as one about a single message, under the same signature.
    let digest = Sha256::new()
        .chain_update([u8::from(is_summary(&read.letter))])
        .chain_update(seal.value.as_deref()?);
    Some(cut(digest.finalize().into()))
}

/// The key of a dead letter about one record, and the SHA-256 of the record's value.
fn own_key(letter: &DeadLetter) -> Option<(Key, [u8; 32])> {
    let origin = letter.origin();
    let at = Position {
        partition: origin.partition?,
        offset: origin.offset?,
    };
    let hash = match letter.content() {
        Content::Copy(copy) => value_hash(copy.value.as_deref()),
        Content::Reference(reference) => reference.sha256,
    };
    let group = letter.group().unwrap_or_default();
    (!is_summary(letter)).then(|| (Key::new(group, &origin.topic, at), hash))
}

pub(super) fn is_summary(letter: &DeadLetter) -> bool {
    matches!(letter.content(), Content::Reference(reference) if reference.count > 1)
}

/// Whether a summary stands for anything that is put back one by one alone. It is named after what most of it
/// was: whoever floods a partition with one thing could hide another in it, such as a copy of what was handled
/// long ago, which verifies.
fn is_mixed(letter: &DeadLetter) -> bool {
    let may_all = || {
        from_words(letter.reason())
            .is_some_and(|all| all.into_iter().all(Disposition::redriven_by_default))
    };
    is_summary(letter) && !may_all()
}

/// Whether what it stands for was not handled, nor is put back in bulk without a look for copies.
fn keeps_from_handling(letter: &DeadLetter) -> bool {
    let is_in_bulk = letter.disposition().redriven_by_default() && !is_mixed(letter);
    is_before_order(letter) || !is_in_bulk
}

/// What can be said of a dead letter before its original is looked for: the group that takes it, and the
/// count it would have.
///
/// # Errors
/// [`Refusal`].
pub(super) fn admit<'a>(
    entry: &'a Entry,
    asked: &'a Asked,
    is_discarded: bool,
) -> Result<(&'a str, u8), Refusal> {
    let read = entry
        .read
        .as_ref()
        .map_err(|fault| Refusal::NoLetter(fault.clone()));
    if is_discarded && !asked.one {
        return Err(Refusal::Discarded);
    }
    let read = read?;
    match &read.standing {
        Standing::Forged(fault) => return Err(Refusal::Forged(fault.clone())),
        Standing::Unsigned if !asked.danger_unsigned => return Err(Refusal::Unsigned),
        Standing::Unsigned | Standing::Signed(_) => {}
    }
    let letter = &read.letter;
    if letter.disposition() == Disposition::ProduceFailed {
        return Err(Refusal::Draft);
    }
    if !asked.one && !letter.disposition().redriven_by_default() {
        return Err(Refusal::Disposition(letter.disposition()));
    }
    if is_mixed(letter) {
        return Err(Refusal::Mixed);
    }
    let group = asked.for_group.as_deref().or(letter.group());
    let group = group.ok_or(Refusal::NoGroup)?;
    let count = letter.redrive_count().saturating_add(1);
    if count > MAX_COUNT {
        return Err(Refusal::TooOften);
    }
    Ok((group, count))
}

/// The originals to be put back.
///
/// # Errors
/// [`Refusal`].
pub(super) fn originals(origin: Origin, asked: &Asked) -> Result<Vec<Original>, Refusal> {
    match origin {
        Origin::There(originals) => Ok(originals),
        Origin::GoneButCopied(copy) if asked.danger_origin_gone => Ok(vec![*copy]),
        Origin::GoneButCopied(_) => Err(Refusal::OriginGone),
        Origin::Gone => Err(Refusal::NothingLeft),
        Origin::Differs(what) => Err(Refusal::OriginDiffers(what)),
        Origin::SomeOfThem { count } => Err(Refusal::SomeOfThem { count }),
        Origin::TooMuch { count, bytes } => Err(Refusal::TooMuch { count, bytes }),
        Origin::Draft => Err(Refusal::Draft),
        Origin::NoKind => Err(Refusal::NoKind),
        Origin::NoTopic => Err(Refusal::NoTopic),
    }
}

/// Whether an original of the dead letter `entry` is put back for `group`, for the `count`th time, into the topic with
/// this id.
///
/// # Errors
/// [`Refusal`].
pub(super) fn decide(
    entry: &Entry,
    original: &Original,
    (group, count, topic_id): (&str, u8, &str),
    today: &Today,
    index: &Index,
    ledger: &Ledger,
) -> Result<Key, Refusal> {
    let read = entry
        .read
        .as_ref()
        .map_err(|fault| Refusal::NoLetter(fault.clone()))?;
    let key = Key::new(group, &read.letter.origin().topic, original.at).of_topic(topic_id);
    if let Some(other) = index.other((&key, &original.hash()), &read.standing, entry.at) {
        return Err(Refusal::SameRecord(other));
    }
    match ledger.done(&key) {
        Some(Done::Unknown(_)) => return Err(Refusal::Unknown),
        // What another group buries again has a dead letter of its own, and this one's count says nothing of it.
        Some(Done::Redriven { count: done, .. })
            if done >= count || read.letter.group() != Some(group) =>
        {
            return Err(Refusal::Redriven { count: done });
        }
        Some(Done::Redriven { .. }) | None => {}
    }
    match today {
        Today::Verifies { .. } => Ok(key),
        Today::NotYet { ahead_ms } => Err(Refusal::NotYet {
            ahead_ms: *ahead_ms,
        }),
        Today::Rejected {
            disposition,
            reason,
        } => Err(Refusal::WouldNotVerify {
            disposition: *disposition,
            reason: reason.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
