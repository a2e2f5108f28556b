//! When all faults are over: whether everything comes to its end, and what is in the logs then by another's word.

use std::collections::BTreeMap;
use std::time::Duration;

use cybermesh_checker::{Event, LogRecord, Place};
use cybermesh_tests::log::LoggedRecord;
use cybermesh_tests::{console, log::now_ms};
use cybermesh_transport::{
    Admin, IsolationLevel, OffsetSpec, Producer, ProducerConfig, Record, TopicPartition,
};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use crate::attacker;
use crate::diary::Diary;
use crate::message;
use crate::world::{KINDS, PARTITIONS, World};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What was seen to be committed is noted so much later: what was handled before it is heard of by then.
const HEARD_AFTER_MS: u64 = 3000;

fn partitions(world: &World) -> Vec<TopicPartition> {
    let topics = world.topics();
    let all = topics
        .iter()
        .flat_map(|topic| (0..PARTITIONS).map(|one| TopicPartition::new(topic.as_str(), one)));
    all.collect()
}

/// What the group has committed, as far as anybody answers.
async fn committed(world: &World) -> Option<BTreeMap<TopicPartition, i64>> {
    let admin = Admin::new(world.client.clone());
    let committed = admin
        .committed(&world.group, partitions(world))
        .await
        .ok()?;
    let offsets = committed
        .into_iter()
        .filter_map(|(partition, committed)| Some((partition, committed?.offset)));
    Some(offsets.collect())
}

fn note_commits(
    world: &World,
    diary: &Diary,
    noted: &mut BTreeMap<TopicPartition, i64>,
    found: BTreeMap<TopicPartition, i64>,
) {
    for (partition, offset) in found {
        if noted.insert(partition.clone(), offset) == Some(offset) {
            continue;
        }
        let event = Event::Committed {
            process: None,
            group: world.group.clone(),
            topic: partition.topic.to_string(),
            partition: partition.partition,
            offset,
            generation: None,
        };
        diary.note_at(diary.now() + HEARD_AFTER_MS, event);
    }
}

/// Notes what the group commits, as it is seen; never ends.
pub(crate) async fn watch_commits(world: &World, diary: &Diary) {
    let mut noted = BTreeMap::new();
    loop {
        sleep(2 * LOOK_EVERY).await;
        if let Some(found) = committed(world).await {
            note_commits(world, diary, &mut noted, found);
        }
    }
}

/// Waits until the group has committed all there is; how long that took, or `None` where it did not come to that.
pub(crate) async fn settled(world: &World, patience: Duration) -> Option<Duration> {
    let since = Instant::now();
    while since.elapsed() < patience {
        let ends = partitions(world)
            .into_iter()
            .map(|one| (one, OffsetSpec::Latest));
        let ends = world
            .client
            .list_offsets(IsolationLevel::ReadCommitted, ends)
            .await;
        if let (Ok(ends), Some(committed)) = (ends, committed(world).await) {
            let is_done = |(partition, end): (
                &TopicPartition,
                &Option<cybermesh_transport::consumer::FoundOffset>,
            )| {
                let end = end.map_or(0, |end| end.offset);
                end == 0 || committed.get(partition).is_some_and(|at| *at >= end)
            };
            if ends.iter().all(is_done) {
                return Some(since.elapsed());
            }
        }
        sleep(LOOK_EVERY).await;
    }
    None
}

/// Notes what Kafka's own programs say of logs, dead letters and offsets. Nobody reads the topics any more.
pub(crate) async fn read(world: &World, diary: &Diary) {
    for kind in KINDS {
        let topic = world.stage.topic(kind);
        let mut records: BTreeMap<i32, Vec<LogRecord>> =
            (0..PARTITIONS).map(|one| (one, Vec::new())).collect();
        for record in log(world, &topic, PARTITIONS).await {
            if let Some(mark) = record.header(attacker::MARK) {
                let (copy, fates) = attacker::fates(mark);
                let place = Place::new(&topic, record.partition, record.offset);
                diary.note_at(
                    0,
                    Event::Forged {
                        place,
                        id: None,
                        copy,
                        fates,
                    },
                );
            }
            records
                .entry(record.partition)
                .or_default()
                .push(known(kind, &record));
        }
        for (partition, records) in records {
            let end = records.last().map_or(0, |last| last.offset + 1);
            let topic = topic.clone();
            diary.note(Event::Log {
                topic,
                partition,
                start: 0,
                end,
                records,
            });
        }
        for (partition, offset) in world
            .stage
            .committed(&world.group, &topic, PARTITIONS)
            .await
        {
            let (group, topic) = (world.group.clone(), topic.clone());
            diary.note(Event::Offsets {
                group,
                topic,
                partition,
                offset,
            });
        }
    }
    for letter in log(world, &world.stage.dead_letter_topic(), 1).await {
        if let Some((at, event)) = buried(diary, &letter) {
            diary.note_at(at, event);
        }
    }
}

fn known(kind: cybermesh_contracts::kind::Kind, record: &LoggedRecord) -> LogRecord {
    let value = record.value.as_deref().unwrap_or_default();
    let known = message::logged(kind, value);
    let key = record
        .key
        .as_deref()
        .and_then(|key| std::str::from_utf8(key).ok());
    LogRecord {
        offset: record.offset,
        id: known.as_ref().map(|(id, _)| id.clone()),
        lane: key.map(str::to_owned),
        identity: Some(hex::encode(Sha256::digest(value))),
        nonce: known.and_then(|(_, nonce)| nonce),
    }
}

/// A dead letter of the group, and when it was decided on.
fn buried(diary: &Diary, letter: &LoggedRecord) -> Option<(u64, Event)> {
    let number = |name: &str| letter.header(name)?.parse::<i64>().ok();
    let place = Place::new(
        letter.header("dlq.origin.topic")?,
        i32::try_from(number("dlq.origin.partition")?).ok()?,
        number("dlq.origin.offset")?,
    );
    let at = diary.at_unix_ms(number("dlq.last-failed-at")?);
    let event = Event::Buried {
        group: letter.header("dlq.group")?.to_owned(),
        place,
        disposition: letter.header("dlq.disposition")?.to_owned(),
        acknowledged: true,
    };
    Some((at, event))
}

/// All records of a topic, by Kafka's own consumer: up to one that is written to the end of each partition for that.
async fn log(world: &World, topic: &str, partitions: i32) -> Vec<LoggedRecord> {
    let mark = bytes::Bytes::from(uuid::Uuid::new_v4().to_string());
    let producer = Producer::new(world.client.clone(), ProducerConfig::default());
    for partition in 0..partitions {
        let record = Record {
            key: None,
            value: Some(mark.clone()),
            headers: Vec::new(),
            timestamp_ms: now_ms(),
        };
        let room = producer
            .reserve(topic, partition, record.size_bound())
            .await
            .expect("room");
        room.append(record).await.expect("a record at the end");
    }
    let mut ends = 0;
    let is_mark = |record: &LoggedRecord| record.value.as_ref() == Some(&mark);
    let mut records = console::read_until(&world.stage, topic, |record| {
        ends += i32::from(is_mark(record));
        ends == partitions
    })
    .await;
    records.retain(|record| !is_mark(record));
    records
}
