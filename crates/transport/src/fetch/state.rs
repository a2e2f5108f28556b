//! Where each partition is read next, and what was fetched of it and not yet delivered.
//!
//! Fetching runs ahead of delivery by a bounded amount. Records are made only as they are delivered, so what lies here
//! is as large as it was on the wire. A seek, a pause and a revocation take effect on the next event: nothing that was
//! fetched before gets past them. Answers carry the incarnation of the partition they were asked for, so that one that
//! comes after a seek is recognised and dropped.

mod agreement;
mod answers;
mod ends;
mod epochs;
mod partition;
mod replica;
mod tenure;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    consumer::{AssignedPartition, Event, FetchConfig, Position, Progress},
    record::TopicPartition,
    wire::TopicId,
};
use epochs::Epochs;
use partition::Partition;
use tenure::Given;
pub(crate) use tenure::Tenure;

/// Bytes of memory in one event at which it is full.
const EVENT_BYTES: usize = 1024 * 1024;
/// Shortest and longest wait before a partition that failed is asked for again.
const RETRY_FROM: Duration = Duration::from_millis(100);
const RETRY_UP_TO: Duration = Duration::from_secs(5);
/// Resets of a partition that wait for a caller who is slow to take them: with more, it is asked for no more until then. A
/// broker could have any number of them wait.
const MOST_RESETS: usize = 2;

/// One life of a partition, from a begin or seek to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incarnation(u64);

/// What is to be asked about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Of its leader: which offset this position is.
    Resolve(Position),
    /// Of its leader: where this epoch, the one of the last record read, ends in its log (KIP-320).
    Validate(i32),
    /// Records.
    Fetch(Next),
}

/// The records that are wanted next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) offset: i64,
    /// The epoch of the record before.
    pub(super) last_epoch: Option<i32>,
    /// The topic they are to be of; `None` for whichever has the name.
    pub(super) topic_id: Option<TopicId>,
    /// The broker to be asked instead of the leader.
    pub(super) replica: Option<i32>,
    /// Whether the leader may send us to a replica nearby.
    pub(super) may_be_sent_on: bool,
}

/// What is known of a partition's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeaderView {
    /// The topic's id; `None` with brokers that have none.
    pub(super) topic_id: Option<TopicId>,
    /// -1 with brokers that do not tell.
    pub(super) epoch: i32,
}

/// The answer to a fetch.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) records: Bytes,
    pub(super) aborted: Vec<(i64, i64)>,
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start_offset: i64,
    /// The id it was asked for and given by; `None` where that was a name.
    pub(super) topic_id: Option<TopicId>,
    /// The epoch the leader was asked in, -1 for none.
    pub(super) leader_epoch: i32,
}

/// An answer held bytes, and not one whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CutOff {
    /// What was asked for.
    pub(super) offset: i64,
}

/// All partitions of one reader.
#[derive(Debug)]
pub(crate) struct FetchState {
    config: FetchConfig,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// The only partitions that may be begun; `None` for any.
    held: Option<BTreeSet<TopicPartition>>,
    events: VecDeque<Event>,
    /// The partition that was served last: the others come first.
    served: Option<TopicPartition>,
    next_incarnation: u64,
    /// Which assignment gave each partition.
    given: BTreeMap<TopicPartition, Given>,
    /// Assignments told.
    told: u64,
    /// Those of them that the caller was given.
    heard: u64,
    ended: bool,
}

impl FetchState {
    /// A state that reads whatever is begun.
    pub(crate) fn unrestricted(config: FetchConfig) -> Self {
        Self {
            config,
            partitions: BTreeMap::new(),
            held: None,
            events: VecDeque::new(),
            served: None,
            next_incarnation: 0,
            given: BTreeMap::new(),
            told: 0,
            heard: 0,
            ended: false,
        }
    }

    /// A state that reads only what [`hold`](Self::hold) allows.
    pub(crate) fn of_member(config: FetchConfig) -> Self {
        Self {
            held: Some(BTreeSet::new()),
            ..Self::unrestricted(config)
        }
    }

    /// These may be read from now on, and the caller is told so.
    pub(crate) fn assign(&mut self, generation: i32, partitions: Vec<AssignedPartition>) {
        self.told += 1;
        for assigned in &partitions {
            if let Some(held) = &mut self.held {
                held.insert(assigned.partition.clone());
            }
            self.given
                .insert(assigned.partition.clone(), Given::new(self.told, assigned));
        }
        self.tell(Event::Assigned {
            generation,
            partitions,
        });
    }

    /// As [`drop_partitions`](Self::drop_partitions), and nothing the caller says of them counts any more.
    pub(crate) fn lose(&mut self, partitions: &[TopicPartition]) {
        self.drop_partitions(partitions);
        for partition in partitions {
            self.given.remove(partition);
        }
    }

    /// Nothing more of these is fetched or delivered.
    pub(crate) fn drop_partitions(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.note_unheard(partition);
            self.partitions.remove(partition);
            if let Some(held) = &mut self.held {
                held.remove(partition);
            }
        }
        // What was said of them and not yet heard is void.
        self.events.retain(|event| match event {
            Event::Reset { partition, .. } | Event::Corrupt { partition, .. } => {
                !partitions.contains(partition)
            }
            _ => true,
        });
    }

    pub(crate) fn begin(&mut self, partition: &TopicPartition, position: Position) {
        if self
            .held
            .as_ref()
            .is_some_and(|held| !held.contains(partition))
        {
            return;
        }
        // Whoever has not heard that the topic was made again speaks of the old one. Where nothing goes on by itself
        // that is to be heard only after this, though.
        let before = self.partitions.get(partition);
        let stands =
            before.is_some_and(|before| before.halted) && !self.has_reset_to_tell(partition);
        let is_of_the_old =
            self.is_recreated(partition) || before.is_some_and(Partition::is_told_recreated);
        if is_of_the_old && !stands {
            return;
        }
        let incarnation = self.new_incarnation();
        let mut fresh = Partition::new(incarnation, position);
        if let Some(before) = self.partitions.get(partition) {
            fresh.paused = before.paused;
            fresh.ends = before.ends;
            fresh.topic_id = before.topic_id;
            // One that is still to be looked up may be of the new topic already: what is told of that has no position to name.
            fresh.disowned = before.disowned && fresh.position.is_some();
        }
        let given = self.given.get(partition);
        // What the coordinator said is of the topic it was asked about, and not of another one of that name.
        fresh.topic_id = fresh.topic_id.or_else(|| given?.topic_id());
        if let Some(before) = self.partitions.get(partition)
            && before.is_told_recreated()
        {
            fresh.reset = before.reset;
            fresh.begin_at(Position::Earliest);
        }
        let committed = given.and_then(Given::committed);
        if let Some((offset, epoch)) = committed
            && position == Position::Offset(offset)
        {
            fresh.epochs = Epochs::before(offset, epoch);
        }
        self.partitions.insert(partition.clone(), fresh);
    }

    pub(crate) fn set_paused(&mut self, partition: &TopicPartition, paused: bool) {
        if let Some(found) = self.partitions.get_mut(partition) {
            found.paused = paused;
        }
    }

    pub(crate) fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition)?.position
    }

    /// How far each partition that is being read was read, and goes.
    pub(crate) fn progress(&self) -> Vec<Progress> {
        self.partitions
            .iter()
            .map(|(name, partition)| partition.progress(name.clone(), self.config.isolation))
            .collect()
    }

    fn held_bytes(&self) -> usize {
        self.partitions.values().map(Partition::held_bytes).sum()
    }

    /// Where the buffer is full and a partition has nothing to deliver, what paused ones hold is given up: a pause may
    /// last, and its records can be fetched again. Nothing is given up while there is room.
    pub(super) fn make_room(&mut self) {
        let mut held_bytes = self.held_bytes();
        let starves = |one: &Partition| !one.paused && !one.halted && !one.has_undelivered();
        if held_bytes < self.config.buffer_bytes || !self.partitions.values().any(starves) {
            return;
        }
        for partition in self.partitions.values_mut().filter(|one| one.paused) {
            if held_bytes < self.config.buffer_bytes {
                break;
            }
            if partition.held_bytes() > 0 {
                held_bytes -= partition.held_bytes();
                partition.give_up_buffer(Incarnation(self.next_incarnation));
                self.next_incarnation += 1;
            }
        }
    }

    /// A failure that waits to be heard already is not repeated.
    pub(crate) fn tell(&mut self, event: Event) {
        let waits = |error| {
            self.events
                .iter()
                .any(|told| matches!(told, Event::Failed(told) if told == error))
        };
        if !matches!(&event, Event::Failed(error) if waits(error)) {
            self.events.push_back(event);
        }
    }

    /// No event comes after those there are.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.partitions.clear();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended && self.events.is_empty()
    }

    /// Whether a partition was answered since it was begun.
    pub(super) fn knows_its_end(&self, partition: &TopicPartition) -> bool {
        let partition = self.partitions.get(partition);
        partition.is_some_and(|partition| partition.ends.high_watermark >= 0)
    }

    /// What may be asked for at `now`: everything with room that is not being asked for already.
    /// What it is, is for [`meets`](Self::meets) to say, which knows the leader.
    pub(super) fn wanted(&self, now: Instant) -> Vec<(TopicPartition, Incarnation)> {
        let full = self.held_bytes() >= self.config.buffer_bytes;
        let share = usize::try_from(self.config.partition_max_bytes).unwrap_or(usize::MAX);
        let wants = |partition: &Partition| {
            let due = partition.retry_at.is_none_or(|at| at <= now);
            let may_be = !partition.asking && !partition.halted && !partition.faulty && due;
            let has_room = !partition.paused && !full && partition.buffered_bytes < share;
            // Where it is to be read is looked up for lack of anything else to do.
            let is_resolved = matches!(partition.fetch_from, Position::Offset(_));
            may_be && (has_room || !is_resolved)
        };
        let wanted = self
            .partitions
            .iter()
            .filter(|(name, one)| wants(one) && self.resets_to_tell(name) < MOST_RESETS);
        wanted
            .map(|(name, partition)| (name.clone(), partition.incarnation))
            .collect()
    }

    /// When [`wanted`](Self::wanted) will have more by itself.
    pub(super) fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let waiting = self
            .partitions
            .values()
            .filter(|partition| !partition.asking && !partition.halted);
        waiting
            .filter_map(|partition| partition.retry_at)
            .filter(|at| *at > now)
            .min()
    }

    pub(super) fn asking(&mut self, partition: &TopicPartition) {
        if let Some(found) = self.partitions.get_mut(partition) {
            found.asking = true;
        }
    }

    /// The partition as it was when it was asked for; `None` if it has been sought or given up since.
    fn same(
        &mut self,
        partition: &TopicPartition,
        incarnation: Incarnation,
    ) -> Option<&mut Partition> {
        let found = self
            .partitions
            .get_mut(partition)
            .filter(|found| found.incarnation == incarnation)?;
        found.asking = false;
        Some(found)
    }

    /// The next event: what was told first, then records, one partition after the other.
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            self.hear(&event);
            return Some(event);
        }
        let ready = |(name, partition): (&TopicPartition, &Partition)| {
            partition.has_something().then(|| name.clone())
        };
        let after = self.served.as_ref().and_then(|served| {
            let bounds = (
                std::ops::Bound::Excluded(served),
                std::ops::Bound::Unbounded,
            );
            self.partitions
                .range::<TopicPartition, _>(bounds)
                .find_map(ready)
        });
        let name = after.or_else(|| self.partitions.iter().find_map(ready))?;
        self.served = Some(name.clone());
        let partition = self.partitions.get_mut(&name)?;
        Some(partition.deliver(name, &self.config))
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
