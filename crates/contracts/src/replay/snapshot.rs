//! A partition's settled values as of one watermark, and their bytes.

use super::budget::BytesLeft;
use super::claim::{Value, second_ms};
use super::limits::RingLimits;
use super::table::{KeyEntry, MAX_INSTANCES_PER_KEY, Table};
use super::varint;
use crate::sign::KeyId;

const FOLD: u8 = 0b0000_0001;
const SECOND: u8 = 0b0000_0010;
const INSTANCES_SHIFT: u32 = 4;
const KNOWN_FLAGS: u8 = 0b1111_0011;
const KEY_BYTES: usize = 8;
const FLAGS_BYTES: usize = 1;
/// An instance's id.
const INSTANCE_BYTES: usize = 4;

/// The settled values of a partition as of one watermark: what travels with its commit.
///
/// Made by [`PartitionReplay::checkpoint`](super::PartitionReplay::checkpoint), written by
/// [`seal`](Self::seal).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub(super) ring_first: i64,
    pub(super) table: Table,
}

impl Snapshot {
    /// Nothing is settled, and nothing is to be read back below `offset`: what an operator commits who
    /// wants everything from there on to be accepted again.
    ///
    /// It differs from a commit without a state: that one has the ring read back from the log, and the
    /// oldest time in it binds every signer that is not there.
    #[must_use]
    pub fn nothing_settled(offset: i64) -> Self {
        Self {
            ring_first: offset,
            table: Table::default(),
        }
    }

    /// The ring's first offset: everything accepted below it is in here, the rest is in the log.
    #[must_use]
    pub const fn ring_first(&self) -> i64 {
        self.ring_first
    }

    /// How many values are listed by themselves, folds of keys included.
    #[must_use]
    pub fn listed(&self) -> usize {
        self.table.times_ms().count()
    }

    /// What binds every signer that is not listed, in Unix milliseconds; 0 where nothing does.
    #[must_use]
    pub const fn floor_ms(&self) -> u64 {
        self.table.floor_ms
    }

    /// Whether a ring of at most the accepted size lies between its first offset and `committed`.
    pub(super) fn suits(&self, committed: i64) -> bool {
        self.ring_first >= 0
            && self.ring_first <= committed
            && committed - self.ring_first <= i64::from(RingLimits::MAX_OFFSETS)
    }

    /// The entries, with as many of the lowest values folded into the floor as `budget` asks for;
    /// none where not even the floor fits.
    pub(super) fn entries_within(&self, budget: BytesLeft) -> Option<Vec<u8>> {
        let whole = encode(&self.table);
        if budget.fits(whole.len()) {
            return Some(whole);
        }
        let mut times: Vec<u64> = self.table.times_ms().collect();
        times.sort_unstable();
        times.dedup();
        // Folding everything up to `times[n]` leaves less the larger n is: find the least that fits. Only that is written:
        // a table may have ten thousands of entries, and a commit waits for its state.
        let fits = |n: usize| {
            let length = |time: &u64| encoded_len(&self.table, Some(*time));
            times.get(n).is_some_and(|time| budget.fits(length(time)))
        };
        let (mut low, mut high) = (0, times.len());
        while low < high {
            let middle = low.midpoint(high);
            if fits(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let cut = times.get(low).filter(|_| fits(low))?;
        Some(encode(&self.table.folded_up_to(*cut)))
    }
}

/// How many bytes [`encode`] writes of a table, or of what is left of it once everything up to a time is
/// [folded](Table::folded_up_to).
pub(super) fn encoded_len(table: &Table, folded_up_to_ms: Option<u64>) -> usize {
    let floor_ms = table.floor_ms.max(folded_up_to_ms.unwrap_or(0));
    let is_left = |time_ms: u64| folded_up_to_ms.is_none() || time_ms > floor_ms;
    let newest = newest_ms(table, is_left);
    let mut keys: u64 = 0;
    let mut bytes = varint::len(floor_ms) + varint::len(newest);
    for entry in table.keys.values() {
        let fold = (entry.fold_ms > 0 && is_left(entry.fold_ms))
            .then(|| varint::len(newest - entry.fold_ms));
        let second = entry
            .second
            .filter(|second| is_left(second_ms(*second)))
            .map(varint::len);
        let instances = entry
            .instances
            .values()
            .filter(|value| is_left(value.time))
            .map(|value| {
                INSTANCE_BYTES
                    + varint::len(newest - value.time)
                    + varint::len(u64::from(value.counter))
            });
        let values = fold.into_iter().chain(second).chain(instances);
        let (count, length) = values.fold((0_usize, 0), |(count, sum), length| {
            (count + 1, sum + length)
        });
        // A key of which nothing is left is listed no longer.
        if count > 0 || folded_up_to_ms.is_none() {
            keys += 1;
            bytes += KEY_BYTES + FLAGS_BYTES + length;
        }
    }
    bytes + varint::len(keys)
}

/// The newest nonce time or fold among those that are left.
fn newest_ms(table: &Table, is_left: impl Fn(u64) -> bool) -> u64 {
    let times = table.keys.values().flat_map(|entry| {
        let instances = entry.instances.values().map(|value| value.time);
        instances.chain([entry.fold_ms])
    });
    times.filter(|time| is_left(*time)).max().unwrap_or(0)
}

/// Writes the entries of a table.
pub(super) fn encode(table: &Table) -> Vec<u8> {
    let newest = newest_ms(table, |_| true);
    let mut out = Vec::new();
    varint::put(&mut out, table.floor_ms);
    varint::put(&mut out, newest);
    let keys = u64::try_from(table.keys.len()).unwrap_or(u64::MAX);
    varint::put(&mut out, keys);
    for (key, entry) in &table.keys {
        out.extend_from_slice(key.as_bytes());
        // A key lists at most eight instances, so its flags are one byte.
        let listed = u8::try_from(entry.instances.len()).unwrap_or(u8::MAX >> INSTANCES_SHIFT);
        let mut flags = listed << INSTANCES_SHIFT;
        if entry.fold_ms > 0 {
            flags |= FOLD;
        }
        if entry.second.is_some() {
            flags |= SECOND;
        }
        out.push(flags);
        if entry.fold_ms > 0 {
            varint::put(&mut out, newest - entry.fold_ms);
        }
        if let Some(second) = entry.second {
            varint::put(&mut out, second);
        }
        for (instance, value) in &entry.instances {
            out.extend_from_slice(&instance.to_be_bytes());
            varint::put(&mut out, newest - value.time);
            varint::put(&mut out, u64::from(value.counter));
        }
    }
    out
}

/// Reads what [`encode`] wrote off the front; nothing where the bytes are anything else.
///
/// Memory follows the bytes that are there, never the count that they claim.
pub(super) fn decode(bytes: &mut &[u8]) -> Option<Table> {
    let floor_ms = varint::take(bytes)?;
    let newest = varint::take(bytes)?;
    let keys = varint::take(bytes)?;
    let mut table = Table {
        floor_ms,
        ..Table::default()
    };
    for _ in 0..keys {
        let key = KeyId(take(bytes)?);
        if table
            .keys
            .last_key_value()
            .is_some_and(|(last, _)| *last >= key)
        {
            return None;
        }
        table.keys.insert(key, decode_key(bytes, newest)?);
    }
    Some(table)
}

fn decode_key(bytes: &mut &[u8], newest: u64) -> Option<KeyEntry> {
    let [flags] = take(bytes)?;
    let listed = usize::from(flags >> INSTANCES_SHIFT);
    if flags & !KNOWN_FLAGS != 0 || listed > MAX_INSTANCES_PER_KEY {
        return None;
    }
    let mut entry = KeyEntry::default();
    if flags & FOLD != 0 {
        entry.fold_ms = newest.checked_sub(varint::take(bytes)?)?;
    }
    if flags & SECOND != 0 {
        entry.second = Some(varint::take(bytes)?);
    }
    for _ in 0..listed {
        let instance = u32::from_be_bytes(take(bytes)?);
        let time = newest.checked_sub(varint::take(bytes)?)?;
        let counter = u32::try_from(varint::take(bytes)?).ok()?;
        let last = entry.instances.last_key_value();
        if last.is_some_and(|(last, _)| *last >= instance) {
            return None;
        }
        entry.instances.insert(instance, Value { time, counter });
    }
    Some(entry)
}

pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
