//! Copies: whether what a dead letter is about stands in its partition a second time.
//!
//! What is buried before its order was asked for, since its key was not believed just then, may be a copy of
//! something handled long ago: whoever knows of a wrong trust file could write it. Or it was copied since its key
//! is believed, and the copy was handled. A receiver that takes a redrive does not ask for the message's own order
//! any more; so it is asked for here, of the log itself. A topic keeps messages as long as they may be old, and
//! what was too old when it was buried is refused for that.

use std::collections::HashMap;

use cybermesh_contracts::dead_letter::DeadLetter;
use cybermesh_contracts::headers::REDRIVE;
use cybermesh_contracts::redrive::Redrive;
use cybermesh_contracts::rejection::Disposition;
use cybermesh_transport::{FetchedRecord, TopicPartition};

use super::desk::Desk;
use super::entry::Position;
use super::original::value_hash;
use super::plan::{Index, Refusal, is_summary};
use super::reader::{ReadError, Scan, partition_exists};
use crate::inbound::guard::burials::from_words;

/// The hash of a value, shortened: there may be millions.
type Short = [u8; 16];

/// Who asks whether a value stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    /// The group that is to take it.
    pub(super) group: String,
    /// Whether the dead letter is signed: then another must be as well to be believed.
    pub(super) is_signed: bool,
}

/// Where values stand.
#[derive(Debug, Default)]
pub(super) struct Copies(HashMap<TopicPartition, OfPartition>);

#[derive(Debug, Default)]
struct OfPartition {
    values: HashMap<Short, OfValue>,
    /// The first offset that was not read.
    unread: i64,
}

#[derive(Debug, Default)]
struct OfValue {
    /// Where it stands first.
    first: Option<i64>,
    askers: Vec<Asking>,
}

/// Who asks about a value, and where it may have been handled for them.
#[derive(Debug)]
struct Asking {
    asker: Asker,
    /// The last place that is no redrive.
    last: Option<i64>,
    /// Two redrives of different places, by what they put back: one of the two is of another place than any that is asked about.
    put_back: [Option<PutBack>; 2],
}

#[derive(Debug, Clone, Copy)]
struct PutBack {
    origin: i64,
    at: i64,
}

impl Asking {
    fn note_put_back(&mut self, origin: i64, at: i64) {
        for put_back in &mut self.put_back {
            match put_back {
                Some(known) if known.origin != origin => {}
                known => {
                    *known = Some(PutBack { origin, at });
                    return;
                }
            }
        }
    }

    /// The last place where what stands at `offset` may have been handled as something else.
    fn elsewhere(&self, offset: i64) -> Option<i64> {
        let last = self.last.filter(|last| *last > offset);
        let others = self.put_back.iter().flatten();
        let others = others.filter(|put_back| put_back.origin != offset);
        others.map(|put_back| put_back.at).chain(last).max()
    }
}

/// Whether the order of what is buried so was never judged, though it is put back in bulk.
const fn is_name_before_order(disposition: Disposition) -> bool {
    matches!(
        disposition,
        Disposition::UnknownKey
            | Disposition::KeyNotAuthorised
            | Disposition::KeyExpired
            | Disposition::Future
    )
}

/// Whether the order of anything `letter` stands for was never judged, though it is put back in bulk. A summary is
/// named after what most of it was, and its words say the rest.
pub(super) fn is_before_order(letter: &DeadLetter) -> bool {
    if !is_summary(letter) {
        return is_name_before_order(letter.disposition());
    }
    from_words(letter.reason()).is_none_or(|all| all.into_iter().any(is_name_before_order))
}

impl Copies {
    /// Will be asked about a record whose value has this SHA-256.
    pub(super) fn ask(&mut self, topic: &str, at: Position, hash: &[u8; 32], asker: &Asker) {
        let partition = TopicPartition::new(topic, at.partition);
        let values = &mut self.0.entry(partition).or_default().values;
        let askers = &mut values.entry(short(hash)).or_default().askers;
        if !askers.iter().any(|known| known.asker == *asker) {
            askers.push(Asking {
                asker: asker.clone(),
                last: None,
                put_back: [None; 2],
            });
        }
    }

    /// Reads the partitions that are asked about; `index` knows of all dead letters.
    pub(super) async fn look(&mut self, desk: &Desk, index: &Index) -> Result<(), ReadError> {
        for (partition, asked) in &mut self.0 {
            asked.read_on(desk, partition, index).await?;
        }
        Ok(())
    }

    /// Reads what has come since to the partition of a record, where its value is asked about.
    pub(super) async fn look_again(
        &mut self,
        desk: &Desk,
        index: &Index,
        (topic, at, hash): (&str, Position, &[u8; 32]),
    ) -> Result<(), ReadError> {
        let partition = TopicPartition::new(topic, at.partition);
        match self.0.get_mut(&partition) {
            Some(asked) if asked.values.contains_key(&short(hash)) => {
                asked.read_on(desk, &partition, index).await
            }
            _ => Ok(()),
        }
    }

    /// Whether this record may be put back for `group`, for what stands elsewhere.
    ///
    /// # Errors
    /// It is a copy, or was copied to where the group may have handled it.
    pub(super) fn judge(
        &self,
        (topic, at, hash): (&str, Position, &[u8; 32]),
        group: &str,
    ) -> Result<(), Refusal> {
        let partition = TopicPartition::new(topic, at.partition);
        let asked = self.0.get(&partition);
        let Some(value) = asked.and_then(|asked| asked.values.get(&short(hash))) else {
            return Ok(());
        };
        let position = |offset| Position { offset, ..at };
        if let Some(first) = value.first.filter(|first| *first < at.offset) {
            return Err(Refusal::CopyOf(position(first)));
        }
        let askers = value.askers.iter();
        let last = askers
            .filter(|asking| asking.asker.group == group)
            .filter_map(|asking| asking.elsewhere(at.offset))
            .max();
        last.map_or(Ok(()), |last| Err(Refusal::CopiedTo(position(last))))
    }
}

impl OfPartition {
    async fn read_on(
        &mut self,
        desk: &Desk,
        partition: &TopicPartition,
        index: &Index,
    ) -> Result<(), ReadError> {
        let topic = &partition.topic;
        if !partition_exists(desk, topic, partition.partition).await? {
            return Ok(());
        }
        let from = vec![(partition.clone(), self.unread)];
        // Behind a transaction that is still open as well: it would be handled as soon as that ends.
        let mut scan = Scan::uncommitted(desk, topic, from).await?;
        let end = scan.end_of(partition.partition);
        while let Some((_, record)) = scan.next().await? {
            self.note(partition, &record, index);
        }
        self.unread = end.unwrap_or(self.unread);
        Ok(())
    }

    fn note(&mut self, partition: &TopicPartition, record: &FetchedRecord, index: &Index) {
        let hash = value_hash(record.value.as_deref());
        let Some(value) = self.values.get_mut(&short(&hash)) else {
            return;
        };
        value.first.get_or_insert(record.offset);
        // Its own order is not judged, and it counts once, for one group: as what it puts back.
        let mut headers = record.headers.iter();
        if let Some(redrive) = headers.find(|header| header.name == REDRIVE) {
            let redrive = redrive.value.as_deref().map(Redrive::parse);
            if let Some(Ok(redrive)) = redrive {
                let terms = redrive.terms();
                let askers = value.askers.iter_mut();
                askers
                    .filter(|asking| terms.is_for(Some(&asking.asker.group)))
                    .for_each(|asking| asking.note_put_back(terms.origin_offset, record.offset));
            }
            return;
        }
        let at = Position {
            partition: partition.partition,
            offset: record.offset,
        };
        for asking in &mut value.askers {
            let place = (asking.asker.group.as_str(), &*partition.topic, at);
            if !index.keeps_from_handling(place, &hash, asking.asker.is_signed) {
                asking.last = Some(record.offset);
            }
        }
    }
}

fn short(hash: &[u8; 32]) -> Short {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *hash;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}
