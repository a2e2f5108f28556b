//! Somebody who may write to the topics: garbage, forgeries and copies.
//!
//! Each of their records carries a header, which no signature covers and no receiver minds, that says what may become of
//! it, so that it is known again in the log whatever its sender was told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_checker::Fate;
use cybermesh_contracts::kind::Kind;
use cybermesh_tests::drafts::draft;
use cybermesh_tests::forge::{Forgery, flipped};
use cybermesh_tests::identity::Identity;
use cybermesh_transport::consumer::{FetchConfig, Reader};
use cybermesh_transport::{
    Event, FetchedRecord, Header, Position, Producer, ProducerConfig, Record, StartPolicy,
    TopicPartition,
};
use tokio::time::{Instant, timeout};

use crate::diary::Diary;
use crate::dice::Dice;
use crate::world::{KINDS, PARTITIONS, World};

/// What tells their records, and the fates of each, from all others.
pub(crate) const MARK: &str = "x-chaos";
/// Genuine records that may be copied.
const KNOWN: usize = 2000;
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Deed {
    Garbage,
    Flipped,
    Untrusted,
    Copied,
    CopiedElsewhere,
}

const DEEDS: [Deed; 5] = [
    Deed::Garbage,
    Deed::Flipped,
    Deed::Untrusted,
    Deed::Copied,
    Deed::CopiedElsewhere,
];

impl Deed {
    fn name(self) -> &'static str {
        match self {
            Self::Garbage => "wrote garbage to",
            Self::Flipped => "wrote a genuine record with a bit changed to",
            Self::Untrusted => "wrote a record signed by a key that nobody believes to",
            Self::Copied => "copied a record within",
            Self::CopiedElsewhere => "copied a record of another partition to",
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Flipped => "flipped",
            Self::Untrusted => "untrusted",
            Self::Copied => "copied",
            Self::CopiedElsewhere => "copied-elsewhere",
        }
    }
}

/// What may become of a record with this mark, and whether it is a copy.
pub(crate) fn fates(mark: &str) -> (bool, Vec<Fate>) {
    let buried = |disposition: &str| Fate::Buried(disposition.to_owned());
    match mark {
        "garbage" => (false, vec![buried("decode")]),
        "flipped" => (false, vec![buried("signature-invalid")]),
        "untrusted" => (false, vec![buried("unknown-key")]),
        "copied-elsewhere" => (true, vec![buried("envelope-invalid")]),
        _ => (true, vec![buried("replay"), Fate::Skipped]),
    }
}

/// Works until `until`.
pub(crate) async fn run(world: Arc<World>, diary: Arc<Diary>, mut dice: Dice, until: Instant) {
    let producer = Producer::new(world.client.clone(), ProducerConfig::default());
    let reader = Reader::new(
        world.client.clone(),
        FetchConfig::default(),
        StartPolicy::Earliest,
    );
    for topic in world.topics() {
        for partition in 0..PARTITIONS {
            reader.begin(
                &TopicPartition::new(topic.as_str(), partition),
                Position::Earliest,
            );
        }
    }
    let nobody = Identity::new(world.stage.dir(), "nobody");
    let mut known = VecDeque::new();
    let mut count = 0;
    loop {
        let next =
            Instant::now() + dice.between(Duration::from_millis(200), Duration::from_millis(1500));
        if next >= until {
            return;
        }
        while let Ok(event) = tokio::time::timeout_at(next, reader.next()).await {
            if let Some(Event::Records(batch)) = event {
                learn(&mut known, &batch.partition, batch.records);
            }
        }
        let deed = *dice.one_of(&DEEDS);
        count += 1;
        let Some((to, mut record)) = record(deed, &mut dice, &known, &world, &nobody, count) else {
            continue;
        };
        record.headers.push(Header::new(MARK, deed.mark()));
        diary.deed(deed.name(), &format!("{to}"));
        let room = producer.reserve(&to.topic, to.partition, record.size_bound());
        if let Ok(Ok(room)) = timeout(ACKNOWLEDGED_WITHIN, room).await {
            // Whether it is written is seen in the log.
            let _ = timeout(ACKNOWLEDGED_WITHIN, room.append(record)).await;
        }
    }
}

fn learn(
    known: &mut VecDeque<(TopicPartition, FetchedRecord)>,
    partition: &TopicPartition,
    records: Vec<FetchedRecord>,
) {
    for record in records {
        if record.headers.iter().all(|header| &*header.name != MARK) {
            known.push_back((partition.clone(), record));
        }
    }
    while known.len() > KNOWN {
        known.pop_front();
    }
}

fn record(
    deed: Deed,
    dice: &mut Dice,
    known: &VecDeque<(TopicPartition, FetchedRecord)>,
    world: &World,
    nobody: &Identity,
    count: u32,
) -> Option<(TopicPartition, Record)> {
    let partition = i32::try_from(dice.below(u64::try_from(PARTITIONS).ok()?)).ok()?;
    match deed {
        Deed::Garbage => {
            let topic = dice.one_of(&world.topics()).clone();
            let value = Bytes::from_static(b"\xff\xff\xff garbage");
            let record = cybermesh_tests::forge::record("garbage", Some(value), Vec::new());
            Some((TopicPartition::new(topic, partition), record))
        }
        Deed::Untrusted => {
            let kind: Kind = *dice.one_of(&KINDS);
            let topic = world.stage.topic(kind);
            let audience = world.stage.own("audience");
            let mut forgery = Forgery::new(nobody.signer(), &audience, &topic);
            forgery.partition = partition;
            let record = forgery.record(&draft(kind), count);
            Some((TopicPartition::new(topic, partition), record))
        }
        Deed::Flipped | Deed::Copied | Deed::CopiedElsewhere => {
            let (from, genuine) = known
                .get(usize::try_from(dice.below(u64::try_from(known.len()).ok()?.max(1))).ok()?)?;
            let mut copy = Record {
                key: genuine.key.clone(),
                value: genuine.value.clone(),
                headers: genuine.headers.clone(),
                timestamp_ms: cybermesh_tests::log::now_ms(),
            };
            let mut to = from.clone();
            match deed {
                // The signature is not the last field; its last byte lies behind key and algorithm: 34 + 9 bytes, and one.
                Deed::Flipped => {
                    copy.value = copy
                        .value
                        .map(|value| flipped(&value, SEAL_BEHIND_SIGNATURE))
                }
                Deed::CopiedElsewhere => to.partition = (from.partition + 1) % PARTITIONS,
                _ => {}
            }
            Some((to, copy))
        }
    }
}

/// Bytes behind the signature: the public key (tag, length, 32 bytes) and the algorithm (tag, length, `Ed25519`).
const SEAL_BEHIND_SIGNATURE: usize = 34 + 9;
