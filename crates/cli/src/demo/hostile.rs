//! What must not pass: records of somebody who may write to the topics but holds no trusted key,
//! and one honest message that no handler can take.

use std::time::Duration;

use cybermesh_bridge::Bridge;
use cybermesh_bridge::outbound::{Receipt, SendOptions};
use cybermesh_contracts::envelope::{Envelope, Scope};
use cybermesh_contracts::message::{Draft, Stamp};
use cybermesh_contracts::nonce::Nonce;
use cybermesh_contracts::proto::AnomalyEvent;
use cybermesh_contracts::sign::Signer;
use cybermesh_contracts::{Disposition, Kind, headers};
use cybermesh_transport::admin::Admin;
use cybermesh_transport::{
    Event, FetchConfig, FetchedRecord, Header, Position, Producer, ProducerConfig, Reader, Record,
    StartPolicy, TopicPartition,
};
use prost::Message as _;

use super::ledger::{End, Place, Role};
use super::run::Run;
use super::traffic;
use super::world::{RING, World};
use crate::failure::Failure;

/// Between looks at what the backend has committed.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the backend may take to move past the ring.
const RING_DEADLINE: Duration = Duration::from_secs(60);
/// Longer than the contract's 1 MiB.
const OVERSIZED_BYTES: usize = 1_200_000;

/// Somebody with write permission.
pub(super) struct Attacker<'a> {
    run: &'a Run,
    world: &'a World,
    node: &'a Bridge,
    producer: Producer,
}

impl<'a> Attacker<'a> {
    pub(super) fn new(run: &'a Run, world: &'a World, node: &'a Bridge) -> Self {
        let producer = Producer::new(world.client().clone(), ProducerConfig::default());
        Self {
            run,
            world,
            node,
            producer,
        }
    }

    /// Everything that must not pass, one after the other.
    pub(super) async fn attack(self) -> Result<(), Failure> {
        let victim = self.honest(None).await?;
        let lane = self.read(&victim).await?;
        self.fill_ring(&victim, lane.key.as_deref().unwrap_or_default())
            .await?;

        self.append(
            "replayed: an old copy",
            &victim,
            copy(&lane),
            Disposition::Replay,
        )
        .await?;
        let fresh = self.honest(lane.key.as_deref()).await?;
        let fresh_record = self.read(&fresh).await?;
        self.append(
            "duplicated: a fresh copy",
            &fresh,
            copy(&fresh_record),
            Disposition::Duplicate,
        )
        .await?;
        self.append(
            "one bit flipped",
            &fresh,
            flipped(&fresh_record)?,
            Disposition::SignatureInvalid,
        )
        .await?;
        self.append(
            "signed by an untrusted key",
            &fresh,
            self.untrusted(&fresh)?,
            Disposition::UnknownKey,
        )
        .await?;
        self.append("garbage", &fresh, garbage(64), Disposition::Decode)
            .await?;
        self.append(
            "oversized",
            &fresh,
            garbage(OVERSIZED_BYTES),
            Disposition::Oversize,
        )
        .await?;
        self.poison().await?;
        self.producer
            .close(tokio::time::Instant::now() + Duration::from_secs(5))
            .await;
        Ok(())
    }

    /// One more anomaly that must arrive.
    async fn honest(&self, key: Option<&[u8]>) -> Result<Place, Failure> {
        let options = key.map_or_else(SendOptions::new, |key| SendOptions::new().key(key));
        let draft = traffic::draft(Kind::Anomaly, 0).map_err(Failure::no)?;
        self.run.sending(traffic::draft_identity(&draft));
        let receipt = self
            .node
            .publisher()
            .send_with(draft, options)
            .await
            .map_err(Failure::cluster)?;
        let place = place(receipt)?;
        self.run
            .sent(place.clone(), Kind::Anomaly, Role::Ordinary, End::Handled);
        Ok(place)
    }

    /// A message that verifies, and that its handler can't take.
    async fn poison(&self) -> Result<(), Failure> {
        let draft = traffic::draft(Kind::Anomaly, 0).map_err(Failure::no)?;
        self.run.poison(traffic::draft_identity(&draft));
        let receipt = self
            .node
            .publisher()
            .send(draft)
            .await
            .map_err(Failure::no)?;
        let end = End::Buried(Disposition::AttemptsExhausted);
        self.run.sent(
            place(receipt)?,
            Kind::Anomaly,
            Role::Special("poison: its handler always fails"),
            end,
        );
        Ok(())
    }

    /// Sends anomalies into the victim's partition until it lies more than a ring behind what the
    /// backend has committed.
    async fn fill_ring(&self, victim: &Place, key: &[u8]) -> Result<(), Failure> {
        let past = victim.offset + i64::from(RING) + 1;
        let mut last = victim.offset;
        while last <= past {
            last = self.honest(Some(key)).await?.offset;
        }
        let partition = TopicPartition::new(victim.topic.as_str(), victim.partition);
        let group = &self.world.backend.settings.kafka.group;
        let admin = Admin::new(self.world.client().clone());
        let committed = async {
            loop {
                let found = admin.committed(group, vec![partition.clone()]).await;
                let offset = found
                    .ok()
                    .and_then(|found| found.into_iter().next())
                    .and_then(|(_, committed)| committed)
                    .map_or(0, |committed| committed.offset);
                if offset > past {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(RING_DEADLINE, committed)
            .await
            .map_err(|_| {
                Failure::no(format!(
                    "the backend did not commit past offset {past} of {} within {RING_DEADLINE:?}",
                    victim.topic
                ))
            })
    }

    /// Appends a record behind `near`, as whoever may write to the topic can.
    async fn append(
        &self,
        name: &'static str,
        near: &Place,
        record: Record,
        disposition: Disposition,
    ) -> Result<(), Failure> {
        let reservation = self
            .producer
            .reserve(&near.topic, near.partition, record.size_bound())
            .await
            .map_err(Failure::cluster)?;
        let appended = reservation.append(record).await.map_err(Failure::cluster)?;
        let place = Place {
            topic: near.topic.clone(),
            partition: near.partition,
            offset: appended.offset.ok_or_else(unknown_offset)?,
        };
        let end = if disposition.buried() {
            End::Buried(disposition)
        } else {
            End::Skipped(disposition)
        };
        self.run
            .sent(place, Kind::Anomaly, Role::Special(name), end);
        Ok(())
    }

    /// The record at `place`, as anybody who may read sees it.
    async fn read(&self, place: &Place) -> Result<FetchedRecord, Failure> {
        let reader = Reader::new(
            self.world.client().clone(),
            FetchConfig::default(),
            StartPolicy::Earliest,
        );
        let partition = TopicPartition::new(place.topic.as_str(), place.partition);
        reader.begin(&partition, Position::Offset(place.offset));
        while let Some(event) = reader.next().await {
            match event {
                Event::Records(batch) => {
                    if let Some(record) = batch
                        .records
                        .into_iter()
                        .find(|record| record.offset == place.offset)
                    {
                        return Ok(record);
                    }
                }
                Event::Failed(error) if error.class() != cybermesh_transport::Class::Retriable => {
                    return Err(Failure::cluster(error));
                }
                _ => {}
            }
        }
        Err(Failure::no(format!(
            "the record at {} can't be read",
            place.name()
        )))
    }

    /// A message that is right in everything but who signed it.
    fn untrusted(&self, near: &Place) -> Result<Record, Failure> {
        let draft: Draft = traffic::draft(Kind::Anomaly, 0).map_err(Failure::no)?;
        let key = draft.default_key();
        let now_ms = super::run::now_ms();
        let nonce = Nonce::new(now_ms, 1, 0);
        let signer: &dyn Signer = &self.world.stranger;
        let signed = draft
            .sign(
                signer,
                Stamp {
                    now_ms,
                    nonce: Some(nonce),
                },
            )
            .map_err(Failure::no)?;
        let scope = Scope {
            audience: &self.world.node.settings.node.audience,
            topic: &near.topic,
            partition: near.partition,
            key: Some(&key),
            value: &signed.value,
        };
        let envelope = Envelope::sign(signer, &scope)
            .map_err(Failure::no)?
            .encode();
        Ok(Record {
            key: Some(key.clone().into()),
            value: Some(signed.value.clone().into()),
            headers: vec![Header::new(headers::ENVELOPE, envelope.to_vec())],
            timestamp_ms: i64::try_from(now_ms).unwrap_or(i64::MAX),
        })
    }
}

fn place(receipt: Receipt) -> Result<Place, Failure> {
    match receipt {
        Receipt::Logged {
            topic,
            partition,
            offset: Some(offset),
            ..
        } => Ok(Place {
            topic: topic.to_string(),
            partition,
            offset,
        }),
        _ => Err(unknown_offset()),
    }
}

fn unknown_offset() -> Failure {
    Failure::no("the broker has a message but no longer knows at which offset; run the demo again")
}

fn copy(record: &FetchedRecord) -> Record {
    Record {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        timestamp_ms: record.timestamp_ms,
    }
}

/// The record with the last bit of its nonce turned over, which the signature covers.
fn flipped(record: &FetchedRecord) -> Result<Record, Failure> {
    let value = record.value.clone().unwrap_or_default();
    let mut event = AnomalyEvent::decode(value)
        .map_err(|error| Failure::no(format!("the message read back is no anomaly: {error}")))?;
    if let Some(last) = event.nonce.last_mut() {
        *last ^= 1;
    }
    Ok(Record {
        value: Some(event.encode_to_vec().into()),
        ..copy(record)
    })
}

/// Bytes that are no message; the same each time.
fn garbage(length: usize) -> Record {
    let mut state = 0x9e37_79b9_u32;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    })
    .take(length)
    .collect();
    Record {
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
        timestamp_ms: i64::try_from(super::run::now_ms()).unwrap_or(i64::MAX),
    }
}
