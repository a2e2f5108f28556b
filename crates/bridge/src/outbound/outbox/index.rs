//! What is in the outbox, in order, and what may go past it: a state machine.
//!
//! - Every message has a *place*, a number that only grows, given out where the order of its partition is decided. It
//!   is the message's key on disk, so what comes back from the transport stands where it stood, whichever task gets
//!   here first.
//! - A *lane* is a topic and a key; messages without one share a lane of their topic. While entries of a lane wait, new
//!   messages of that lane go behind them. One that was handed to the transport waits no more: what follows goes behind
//!   it there, and comes back behind it.
//! - A partition is *held* from the first message of it that the transport gave up and that is kept here, until all
//!   that the transport had of it has come back or is in the log: only then is it known in which order they go.
//! - What is signed and may be in the log blocks its partition: its nonce is older than any that follows, and
//!   receivers go by order. It goes first and alone, until it is acknowledged; several go as they were signed, whatever
//!   their places: one accepted early may have been signed late.
//! - A topic's partitions may become more. Drafts with keys are put where their keys are then, all of a topic at once and
//!   before any of it goes: else one that waits for its old partition is passed by what came later, for the new one.
//!
//! Lanes are told apart by a hash; two that share one only wait for each other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
    time::Duration,
};

use cybermesh_contracts::{kind::Kind, partition::murmur2};
use tokio::time::Instant;

use crate::outbound::append::partition_of_hash;

/// What an entry takes beside its bytes on disk, counted against the bound; in memory it takes less.
pub(crate) const BESIDE_ITS_BYTES: u64 = 256;

/// Where the entries of a topic go, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    /// By their keys, and nobody knows how many partitions there are.
    Unplaced,
    /// They have no key: one partition after the other.
    Keyless,
    /// To this partition.
    Partition(i32),
}

/// Entries that go one after the other.
pub(crate) type Group = (Arc<str>, Slot);

/// What is known of an entry without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) kind: Kind,
    pub(crate) topic: Arc<str>,
    pub(crate) slot: Slot,
    /// It may be in the log, as this signing left it.
    doubtful: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) accepted_at_ms: u64,
    /// The same by the clock that nobody sets; `None` where an earlier process accepted it.
    accepted_at: Option<Instant>,
    /// The murmur2 of its key.
    key_hash: Option<u32>,
    lane: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not on disk yet.
    Writing,
    Waiting,
    /// Read, and not handed to the transport yet.
    Taken,
    /// The transport has it.
    OnItsWay,
}

/// A message to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Arrival<'a> {
    pub(crate) kind: Kind,
    pub(crate) topic: &'a Arc<str>,
    pub(crate) key: Option<&'a [u8]>,
    /// The partition that its key has, or that it is signed for.
    pub(crate) partition: Option<i32>,
    /// Which signing it is of, where it may be in the log.
    pub(crate) doubtful: Option<u64>,
    /// On disk.
    pub(crate) bytes: usize,
    pub(crate) accepted_at_ms: u64,
    /// `None` where an earlier process accepted it.
    pub(crate) accepted_at: Option<Instant>,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the transport, with this place.
    On(u64),
    /// Behind what waits here.
    Behind,
}

/// How much may be kept, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    pub(crate) when_full: WhenFull,
}

/// What becomes of a message that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused.
    Refuse,
    /// The oldest make room for it.
    DropOldest,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) bytes: u64,
    pub(crate) limit: u64,
}

/// A message was taken in.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) place: u64,
    /// What made room for it.
    pub(crate) dropped: Vec<(u64, Held)>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Messages that the transport has.
    on_their_way: usize,
    held: bool,
    /// What blocks it: which signing it is of, and its place.
    in_doubt: BTreeSet<(u64, u64)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    bounds: Bounds,
    next_place: u64,
    entries: BTreeMap<u64, Held>,
    bytes: u64,
    /// How many entries of a lane are not on their way.
    lanes: HashMap<u64, u32>,
    /// How many are.
    lanes_on_their_way: HashMap<u64, u32>,
    /// What is not on its way, in the order in which it goes.
    groups: BTreeMap<Group, BTreeSet<u64>>,
    partitions: BTreeMap<(Arc<str>, i32), Partition>,
    /// How many partitions the drafts of a topic are put in.
    counts: HashMap<Arc<str>, i32>,
    hashing: RandomState,
}

impl Held {
    /// Whether it may be in the log.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubtful.is_some()
    }
}

impl Index {
    pub(crate) fn new(bounds: Bounds, next_place: u64) -> Self {
        Self {
            bounds,
            next_place,
            entries: BTreeMap::new(),
            bytes: 0,
            lanes: HashMap::new(),
            lanes_on_their_way: HashMap::new(),
            groups: BTreeMap::new(),
            partitions: BTreeMap::new(),
            counts: HashMap::new(),
            hashing: RandomState::new(),
        }
    }

    /// Takes in what an earlier process left; beyond the bounds too, for it was promised.
    pub(crate) fn found(&mut self, place: u64, arrival: &Arrival<'_>) {
        let mut held = self.held_for(arrival);
        held.phase = Phase::Waiting;
        let last = place.max(held.doubtful.unwrap_or_default());
        self.next_place = self.next_place.max(last.saturating_add(1));
        self.insert(place, held);
    }

    /// Whether a message goes to the transport; if so it counts as on its way until [`settled`](Self::settled).
    pub(crate) fn admit(&mut self, topic: &Arc<str>, partition: i32, key: Option<&[u8]>) -> Way {
        if self.is_behind(topic, key)
            || self.is_blocked(topic, partition)
            || self.is_on_its_way_elsewhere(topic, partition, key)
        {
            return Way::Behind;
        }
        self.partition(topic, partition).on_their_way += 1;
        Way::On(self.place())
    }

    /// Whether entries wait that a message of this topic and key must not pass.
    pub(crate) fn is_behind(&self, topic: &Arc<str>, key: Option<&[u8]>) -> bool {
        self.lanes.contains_key(&self.lane(topic, key))
    }

    /// Whether this key was in another partition when what is on its way from here was sent: should that come back, it
    /// would be behind.
    fn is_on_its_way_elsewhere(
        &self,
        topic: &Arc<str>,
        partition: i32,
        key: Option<&[u8]>,
    ) -> bool {
        let (Some(key), Some(counted)) = (key, self.counts.get(topic)) else {
            return false;
        };
        partition_of_hash(murmur2(key), *counted) != partition
            && self
                .lanes_on_their_way
                .contains_key(&self.lane(topic, Some(key)))
    }

    /// Whether nothing new may go to this partition.
    pub(crate) fn is_blocked(&self, topic: &Arc<str>, partition: i32) -> bool {
        self.partitions
            .get(&(Arc::clone(topic), partition))
            .is_some_and(|partition| partition.held || !partition.in_doubt.is_empty())
    }

    /// The transport gave up a message of this partition that is kept here.
    pub(crate) fn hold(&mut self, topic: &Arc<str>, partition: i32) {
        self.partition(topic, partition).held = true;
    }

    /// The transport is done with a message of this partition. `true` where it is to take new ones again: it was held,
    /// and nothing of it is on its way any more.
    pub(crate) fn settled(&mut self, topic: &Arc<str>, partition: i32) -> bool {
        let found = self.partition(topic, partition);
        found.on_their_way = found.on_their_way.saturating_sub(1);
        let resumed = found.held && found.on_their_way == 0;
        if resumed {
            found.held = false;
        }
        self.forget(topic, partition);
        resumed
    }

    /// Takes a message in, at its place where it has one already. It waits for its disk until [`stored`](Self::stored).
    pub(crate) fn accept(
        &mut self,
        place: Option<u64>,
        arrival: &Arrival<'_>,
    ) -> Result<Accepted, Full> {
        let held = self.held_for(arrival);
        let limit = self.bounds.bytes;
        let beyond = self.bytes.saturating_add(held.bytes).saturating_sub(limit);
        let room = match self.bounds.when_full {
            WhenFull::Refuse => (beyond == 0).then(Vec::new),
            WhenFull::DropOldest => self.oldest_waiting(beyond),
        };
        let oldest = room.ok_or(Full {
            bytes: self.bytes,
            limit,
        })?;
        let dropped = oldest
            .into_iter()
            .filter_map(|place| Some((place, self.remove(place)?)))
            .collect();
        let place = place.unwrap_or_else(|| self.place());
        self.insert(place, held);
        Ok(Accepted { place, dropped })
    }

    /// It is on disk.
    pub(crate) fn stored(&mut self, place: u64) {
        if let Some(held) = self.entries.get_mut(&place)
            && held.phase == Phase::Writing
        {
            held.phase = Phase::Waiting;
        }
    }

    /// The groups of which something may go now, and what kind of work that is.
    pub(crate) fn ready(&self) -> Vec<Group> {
        let waits = |places: &BTreeSet<u64>| {
            let first = places.first().and_then(|place| self.entries.get(place));
            first.is_some_and(|held| held.phase == Phase::Waiting)
        };
        self.groups
            .iter()
            .filter(|((topic, slot), places)| match slot {
                Slot::Unplaced => waits(places),
                // An older one of its lane may be among those.
                _ if self
                    .groups
                    .contains_key(&(Arc::clone(topic), Slot::Unplaced)) =>
                {
                    false
                }
                Slot::Keyless => waits(places),
                Slot::Partition(partition) => {
                    let of = self.partitions.get(&(Arc::clone(topic), *partition));
                    let held = of.is_some_and(|of| of.held);
                    let first_in_doubt = of.and_then(|of| of.in_doubt.first());
                    let may_go = match first_in_doubt {
                        None => waits(places),
                        // Alone: what is on its way comes back, or is acknowledged, first.
                        Some((_, place)) => {
                            of.is_some_and(|of| of.on_their_way == 0)
                                && self
                                    .entries
                                    .get(place)
                                    .is_some_and(|held| held.phase == Phase::Waiting)
                        }
                    };
                    !held && may_go
                }
            })
            .map(|(group, _)| group.clone())
            .collect()
    }

    /// The next entries of a group, which nobody else gets then: what is in doubt first and alone, else drafts.
    pub(crate) fn take(&mut self, group: &Group, most: usize, most_bytes: u64) -> Vec<u64> {
        let doubtful = match group.1 {
            Slot::Partition(partition) => self
                .partitions
                .get(&(Arc::clone(&group.0), partition))
                .map(|of| &of.in_doubt)
                .filter(|places| !places.is_empty()),
            Slot::Unplaced | Slot::Keyless => None,
        };
        let taken = match (doubtful, self.groups.get(group)) {
            (Some(doubtful), _) => {
                let in_order = doubtful.iter().map(|(_, place)| *place);
                self.first_of(in_order, most, most_bytes)
            }
            (None, Some(places)) => self.first_of(places.iter().copied(), most, most_bytes),
            (None, None) => Vec::new(),
        };
        for place in &taken {
            if let Some(held) = self.entries.get_mut(place) {
                held.phase = Phase::Taken;
            }
        }
        taken
    }

    /// As many of these as wait, up to the first that does not or is too much.
    fn first_of(
        &self,
        places: impl Iterator<Item = u64>,
        most: usize,
        most_bytes: u64,
    ) -> Vec<u64> {
        let mut first = Vec::new();
        let mut bytes = 0_u64;
        for place in places.take(most) {
            let Some(held) = self.entries.get(&place) else {
                continue;
            };
            let fits = first.is_empty() || bytes.saturating_add(held.bytes) <= most_bytes;
            if held.phase != Phase::Waiting || !fits {
                break;
            }
            bytes = bytes.saturating_add(held.bytes);
            first.push(place);
        }
        first
    }

    /// The topic has so many partitions: its drafts are put where their keys are then. `false`, and nothing is changed,
    /// while some of them were taken for where they were before; nothing more of the topic goes until they are settled.
    pub(crate) fn counted(&mut self, topic: &Arc<str>, partitions: i32) -> bool {
        if self.counts.get(topic) == Some(&partitions) {
            return true;
        }
        let mut moved = Vec::new();
        for (place, held) in &self.entries {
            if held.topic != *topic || held.doubtful.is_some() {
                continue;
            }
            let Some(hash) = held.key_hash else {
                continue;
            };
            if matches!(held.phase, Phase::Taken | Phase::OnItsWay) {
                return false;
            }
            let now = partition_of_hash(hash, partitions);
            if held.slot != Slot::Partition(now) {
                moved.push((*place, now));
            }
        }
        self.counts.insert(Arc::clone(topic), partitions);
        for (place, partition) in moved {
            self.put_in(place, partition);
        }
        true
    }

    /// The key of a draft has this partition.
    fn put_in(&mut self, place: u64, partition: i32) {
        let Some(held) = self.entries.get(&place) else {
            return;
        };
        let before = (Arc::clone(&held.topic), held.slot);
        if let Some(held) = self.entries.get_mut(&place) {
            held.slot = Slot::Partition(partition);
        }
        self.leave_group(&before, place);
        self.groups
            .entry((before.0, Slot::Partition(partition)))
            .or_default()
            .insert(place);
    }

    /// A taken entry goes to the transport, for this partition.
    pub(crate) fn on_its_way(&mut self, place: u64, partition: i32) {
        let Some(held) = self.entries.get_mut(&place) else {
            return;
        };
        held.phase = Phase::OnItsWay;
        let (lane, group) = (held.lane, (Arc::clone(&held.topic), held.slot));
        let topic = Arc::clone(&held.topic);
        leave(&mut self.lanes, lane);
        *self.lanes_on_their_way.entry(lane).or_default() += 1;
        self.leave_group(&group, place);
        self.partition(&topic, partition).on_their_way += 1;
    }

    /// A taken entry, or one that the transport gave up, waits again.
    pub(crate) fn waits_again(&mut self, place: u64) {
        let Some(held) = self.entries.get_mut(&place) else {
            return;
        };
        let before = std::mem::replace(&mut held.phase, Phase::Waiting);
        let (lane, group) = (held.lane, (Arc::clone(&held.topic), held.slot));
        if before == Phase::OnItsWay {
            leave(&mut self.lanes_on_their_way, lane);
            *self.lanes.entry(lane).or_default() += 1;
            self.groups.entry(group).or_default().insert(place);
        }
    }

    /// What was a draft may be in the log of this partition, as this signing left it.
    pub(crate) fn in_doubt(&mut self, place: u64, partition: i32, signing: u64) {
        self.put_in_if_waiting(place, partition);
        let Some(held) = self.entries.get_mut(&place) else {
            return;
        };
        let signing = *held.doubtful.get_or_insert(signing);
        let topic = Arc::clone(&held.topic);
        self.partition(&topic, partition)
            .in_doubt
            .insert((signing, place));
    }

    /// Whether it may be in the log.
    pub(crate) fn is_in_doubt(&self, place: u64) -> bool {
        self.entries
            .get(&place)
            .is_some_and(|held| held.doubtful.is_some())
    }

    /// It is in the log, or given up for good.
    pub(crate) fn remove(&mut self, place: u64) -> Option<Held> {
        let held = self.entries.remove(&place)?;
        self.bytes = self.bytes.saturating_sub(held.bytes);
        if held.phase == Phase::OnItsWay {
            leave(&mut self.lanes_on_their_way, held.lane);
        } else {
            leave(&mut self.lanes, held.lane);
            self.leave_group(&(Arc::clone(&held.topic), held.slot), place);
        }
        if let Slot::Partition(partition) = held.slot {
            if let Some(signing) = held.doubtful {
                self.partition(&held.topic, partition)
                    .in_doubt
                    .remove(&(signing, place));
            }
            self.forget(&held.topic, partition);
        }
        Some(held)
    }

    /// Takes out what is older than this and waits. One behind a younger one goes when that does.
    ///
    /// What this process accepted has to be so old by both clocks: a time of day that was set forward makes nothing old.
    pub(crate) fn expire(&mut self, now_ms: u64, now: Instant, age: Duration) -> Vec<(u64, Held)> {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let before_ms = now_ms.saturating_sub(age_ms);
        let is_old = |held: &Held| {
            let lasted = |since| now.saturating_duration_since(since) >= age;
            held.accepted_at_ms < before_ms && held.accepted_at.is_none_or(lasted)
        };
        let mut expired = Vec::new();
        for (place, held) in &self.entries {
            if !is_old(held) {
                break;
            }
            if held.phase == Phase::Waiting {
                expired.push(*place);
            }
        }
        expired
            .into_iter()
            .filter_map(|place| Some((place, self.remove(place)?)))
            .collect()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What they take, in bytes as they are counted against the bound.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the first of them was accepted.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.entries.values().next().map(|held| held.accepted_at_ms)
    }

    /// The first entry's place.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.keys().next().copied()
    }

    /// The place that is given out next.
    pub(crate) fn next_place(&self) -> u64 {
        self.next_place
    }

    /// The number of a signing: higher than that of every place and signing before it.
    pub(crate) fn next_signing(&mut self) -> u64 {
        self.place()
    }

    fn place(&mut self) -> u64 {
        let place = self.next_place;
        self.next_place = self.next_place.saturating_add(1);
        place
    }

    /// The oldest that wait and take so many bytes together; `None` where all that wait take less.
    fn oldest_waiting(&self, mut bytes: u64) -> Option<Vec<u64>> {
        let mut oldest = Vec::new();
        for (place, held) in &self.entries {
            if bytes == 0 {
                break;
            }
            if held.phase == Phase::Waiting {
                bytes = bytes.saturating_sub(held.bytes);
                oldest.push(*place);
            }
        }
        (bytes == 0).then_some(oldest)
    }

    fn held_for(&self, arrival: &Arrival<'_>) -> Held {
        let key_hash = arrival.key.map(murmur2);
        let counted = self.counts.get(arrival.topic);
        let slot = match (arrival.partition, key_hash, counted) {
            // Whatever the caller counted: with others of its topic, or it passes them.
            (_, Some(hash), Some(count)) if arrival.doubtful.is_none() => {
                Slot::Partition(partition_of_hash(hash, *count))
            }
            (Some(partition), ..) => Slot::Partition(partition),
            (None, Some(_), _) => Slot::Unplaced,
            (None, None, _) => Slot::Keyless,
        };
        let bytes = u64::try_from(arrival.bytes).unwrap_or(u64::MAX);
        Held {
            kind: arrival.kind,
            topic: Arc::clone(arrival.topic),
            slot,
            doubtful: arrival.doubtful,
            bytes: bytes.saturating_add(BESIDE_ITS_BYTES),
            accepted_at_ms: arrival.accepted_at_ms,
            accepted_at: arrival.accepted_at,
            key_hash,
            lane: self.lane(arrival.topic, arrival.key),
            phase: Phase::Writing,
        }
    }

    fn insert(&mut self, place: u64, held: Held) {
        self.bytes = self.bytes.saturating_add(held.bytes);
        *self.lanes.entry(held.lane).or_default() += 1;
        self.groups
            .entry((Arc::clone(&held.topic), held.slot))
            .or_default()
            .insert(place);
        if let (Some(signing), Slot::Partition(partition)) = (held.doubtful, held.slot) {
            let topic = Arc::clone(&held.topic);
            self.partition(&topic, partition)
                .in_doubt
                .insert((signing, place));
        }
        self.entries.insert(place, held);
    }

    fn put_in_if_waiting(&mut self, place: u64, partition: i32) {
        match self.entries.get_mut(&place) {
            Some(held) if held.phase == Phase::OnItsWay => {
                held.slot = Slot::Partition(partition);
            }
            Some(_) => self.put_in(place, partition),
            None => {}
        }
    }

    fn partition(&mut self, topic: &Arc<str>, partition: i32) -> &mut Partition {
        self.partitions
            .entry((Arc::clone(topic), partition))
            .or_default()
    }

    /// Partitions of which nothing is to be known cost nothing.
    fn forget(&mut self, topic: &Arc<str>, partition: i32) {
        let name = (Arc::clone(topic), partition);
        let idle = self.partitions.get(&name).is_some_and(|partition| {
            !partition.held && partition.on_their_way == 0 && partition.in_doubt.is_empty()
        });
        if idle {
            self.partitions.remove(&name);
        }
    }

    fn leave_group(&mut self, group: &Group, place: u64) {
        if let Some(places) = self.groups.get_mut(group) {
            places.remove(&place);
            if places.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    fn lane(&self, topic: &Arc<str>, key: Option<&[u8]>) -> u64 {
        self.hashing.hash_one((topic, key))
    }
}

/// One less of a lane.
fn leave(lanes: &mut HashMap<u64, u32>, lane: u64) {
    if let Some(count) = lanes.get_mut(&lane) {
        *count -= 1;
        if *count == 0 {
            lanes.remove(&lane);
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
