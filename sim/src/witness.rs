//! Takes note of what the brokers have, beside whoever asks them: commits, dead letters, who is in the group, and at
//! the end the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cybermesh_checker::{Event, Fate, LogRecord as Read, Place, Why};
use cybermesh_contracts::proto::AnomalyEvent;
use cybermesh_devbroker::{Api, LogRecord};
use prost::Message as _;
use sha2::{Digest, Sha256};

use crate::attacker::{COPY, MARK};
use crate::world::{DEAD_LETTERS, GROUP, PARTITIONS, TOPIC, World};

/// What was seen last.
#[derive(Default)]
struct Seen {
    committed: BTreeMap<i32, i64>,
    dead_letters: usize,
    generation: i32,
    joins: u64,
}

/// Takes note until it is dropped.
pub(crate) async fn watch(world: Arc<World>) {
    let mut seen = Seen::default();
    loop {
        world.broker.wait_until(|_| seen.look(&world)).await;
    }
}

impl Seen {
    /// Notes what is new. Never satisfied, so that it is asked at every change.
    fn look(&mut self, world: &World) -> bool {
        let broker = &world.broker;
        let generation = broker.group(GROUP).map_or(0, |group| group.generation);
        // A member that takes itself for lost may come back into the same generation.
        let joins = broker.requests(Api::JoinGroup);
        if (generation, joins) != (self.generation, self.joins) {
            (self.generation, self.joins) = (generation, joins);
            world.recorder.note(format_args!("generation {generation}"));
            // Where all is well, whoever leaves has committed what could be.
            let why = match world.plan.is_calm() {
                true => Why::Rebalanced,
                false => Why::LostSession,
            };
            for partition in 0..PARTITIONS {
                world.recorder.event(Event::Redelivery {
                    group: GROUP.to_owned(),
                    topic: TOPIC.to_owned(),
                    partition,
                    why,
                });
            }
        }
        let letters = broker.log(DEAD_LETTERS);
        for letter in letters.records().iter().skip(self.dead_letters) {
            if let Some(event) = buried(letter) {
                world.recorder.event(event);
            }
        }
        self.dead_letters = letters.len();
        for partition in 0..PARTITIONS {
            let Some(committed) = broker.committed(GROUP, TOPIC, partition) else {
                continue;
            };
            if self.committed.insert(partition, committed.offset) != Some(committed.offset) {
                world.recorder.event(Event::Committed {
                    process: None,
                    group: GROUP.to_owned(),
                    topic: TOPIC.to_owned(),
                    partition,
                    offset: committed.offset,
                    generation: Some(i64::from(generation)),
                });
            }
        }
        false
    }
}

fn buried(letter: &LogRecord) -> Option<Event> {
    let text = |name: &str| {
        let mut headers = letter.headers.iter();
        let (_, value) = headers.find(|(found, _)| found == name)?;
        String::from_utf8(value.as_ref()?.to_vec()).ok()
    };
    Some(Event::Buried {
        group: text("dlq.group")?,
        place: Place {
            topic: text("dlq.origin.topic")?,
            partition: text("dlq.origin.partition")?.parse().ok()?,
            offset: text("dlq.origin.offset")?.parse().ok()?,
        },
        disposition: text("dlq.disposition")?,
        acknowledged: true,
    })
}

/// Whether everything that is in the log is done for the group, and what was on disk is in the log.
pub(crate) fn is_done(world: &World) -> bool {
    committed_to_the_end(world) && drained(world)
}

fn drained(world: &World) -> bool {
    let spooled = world.recorder.spooled();
    let log = world.broker.log(TOPIC);
    let ids: BTreeSet<_> = log
        .records()
        .iter()
        .filter_map(|record| reading(record).id)
        .collect();
    spooled.iter().all(|id| ids.contains(id))
}

fn committed_to_the_end(world: &World) -> bool {
    (0..PARTITIONS).all(|partition| {
        let log = world.broker.partition_log(TOPIC, partition);
        let end = log.records().last().map_or(0, |record| record.offset + 1);
        let committed = world.broker.committed(GROUP, TOPIC, partition);
        committed.map_or(0, |committed| committed.offset) >= end
    })
}

/// Reads the logs and the group's offsets, as they stand at the end.
pub(crate) fn read(world: &World) {
    for partition in 0..PARTITIONS {
        let log = world.broker.partition_log(TOPIC, partition);
        let mut records = Vec::new();
        for record in log.records() {
            let read = reading(record);
            if let Some(event) = forged(record, &read) {
                world.recorder.event(event);
            }
            records.push(read);
        }
        let end = log.records().last().map_or(0, |record| record.offset + 1);
        world.recorder.event(Event::Log {
            topic: TOPIC.to_owned(),
            partition,
            start: 0,
            end,
            records,
        });
        if let Some(committed) = world.broker.committed(GROUP, TOPIC, partition) {
            world.recorder.event(Event::Offsets {
                group: GROUP.to_owned(),
                topic: TOPIC.to_owned(),
                partition,
                offset: committed.offset,
            });
        }
    }
}

fn reading(record: &LogRecord) -> Read {
    let value = record.value.clone().unwrap_or_default();
    let event = AnomalyEvent::decode(value.clone()).ok();
    let nonce = event.as_ref().map(|event| {
        format!(
            "{} {}",
            hex::encode(&event.pubkey),
            hex::encode(&event.nonce)
        )
    });
    let key = record.key.as_ref();
    Read {
        offset: record.offset,
        id: event.map(|event| event.id),
        lane: key.map(|key| String::from_utf8_lossy(key).into_owned()),
        identity: Some(hex::encode(Sha256::digest(&value))),
        nonce,
    }
}

fn forged(record: &LogRecord, read: &Read) -> Option<Event> {
    let (_, mark) = record.headers.iter().find(|(name, _)| name == MARK)?;
    let mark = String::from_utf8(mark.as_ref()?.to_vec()).ok()?;
    let copy = mark == COPY;
    let fates = match copy {
        // Skipped within the ring, a replay beyond it.
        true => vec![Fate::Skipped, Fate::Buried("replay".to_owned())],
        false => mark
            .split(' ')
            .map(|fate| Fate::Buried(fate.to_owned()))
            .collect(),
    };
    Some(Event::Forged {
        place: Place::new(TOPIC, record.partition, record.offset),
        id: read.id.clone(),
        copy,
        fates,
    })
}
