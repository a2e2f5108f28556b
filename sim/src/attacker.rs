//! Somebody who may write to the topic and holds no key: garbage, changed messages, keys of their own, copies.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cybermesh_contracts::envelope::{Envelope, Scope};
use cybermesh_contracts::headers;
use cybermesh_contracts::message::{AnomalyDraft, Draft, Stamp};
use cybermesh_contracts::nonce::{Next, NonceSource};
use cybermesh_contracts::proto::AnomalyEvent;
use cybermesh_devbroker::LogRecord;
use cybermesh_transport::host::Process;
use cybermesh_transport::{
    Address, Client, ClientConfig, Header, Producer, ProducerConfig, Record, Security,
};
use prost::Message as _;

use crate::clock::BEGIN_MS;
use crate::dice::Dice;
use crate::machine::{Disk, SimMachine};
use crate::world::{PARTITIONS, TOPIC, World};

/// The header by which a record is known as forged when the log is read, and what may become of it.
pub(crate) const MARK: &str = "sim-forged";

/// What of the original was marked as a copy.
pub(crate) const COPY: &str = "copy";

pub(crate) struct Attacker {
    world: Arc<World>,
    dice: Dice,
    process: Process,
}

impl Attacker {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let process = Process::new(Arc::new(SimMachine {
            name: "attacker".to_owned(),
            network: world.network.clone(),
            dice: world.dice("attacker's machine"),
            disk: Arc::new(Disk::default()),
            recorder: world.recorder.clone(),
            bug: None,
        }));
        Self {
            world: Arc::clone(world),
            dice: world.dice("attacker"),
            process,
        }
    }

    /// Writes a record that is to be buried.
    pub(crate) async fn forge(&self) {
        let choice = self.dice.within(0..=3);
        let (fates, record) = match choice {
            0 => {
                let mut garbage = vec![0; 40];
                self.dice.fill(&mut garbage);
                garbage[0] = 0xff;
                ("decode", plain(garbage))
            }
            1 => match self.original() {
                Some(original) => (
                    "signature-invalid envelope-invalid contract",
                    spoilt(&original),
                ),
                None => return,
            },
            2 => match self.original() {
                // Whole, and in another partition than it was signed for.
                Some(original) => {
                    let partition = (original.partition + 1) % PARTITIONS;
                    self.write("envelope-invalid", partition, as_it_was(&original))
                        .await;
                    return;
                }
                None => return,
            },
            _ => {
                let partition = self.a_partition();
                if let Some(record) = self.own(partition) {
                    self.write("unknown-key", partition, record).await;
                }
                return;
            }
        };
        self.write(fates, self.a_partition(), record).await;
    }

    /// Writes a record again that is in the log already.
    pub(crate) async fn copy(&self) {
        if let Some(original) = self.original() {
            self.write(COPY, original.partition, as_it_was(&original))
                .await;
        }
    }

    /// A genuine record of the log.
    fn original(&self) -> Option<LogRecord> {
        let log = self.world.broker.log(TOPIC);
        let is_genuine = |record: &&LogRecord| record.headers.iter().all(|(name, _)| name != MARK);
        let genuine: Vec<&LogRecord> = log.records().iter().filter(is_genuine).collect();
        self.dice.pick(&genuine).map(|record| (*record).clone())
    }

    /// A message signed by a key that nobody trusts.
    fn own(&self, partition: i32) -> Option<Record> {
        let mut id = [0; 16];
        self.dice.fill(&mut id);
        let id = uuid::Builder::from_random_bytes(id).into_uuid().to_string();
        let signer = self.world.signer_of("attacker");
        let draft: Draft = AnomalyDraft::builder(id)
            .anomaly_type("port-scan")
            .source("attacker")
            .severity(1)
            .confidence(0.1)
            .model_version("x")
            .build()
            .ok()?
            .into();
        let now_ms = BEGIN_MS + self.world.recorder.now_ms();
        let mut nonces = NonceSource::ephemeral(7);
        let Ok(Next::Nonce(nonce)) = nonces.next(now_ms, || 7) else {
            return None;
        };
        let stamp = Stamp {
            now_ms,
            nonce: Some(nonce),
        };
        let signed = draft.sign(signer.as_ref(), stamp).ok()?;
        let key = b"lane-0";
        let scope = Scope {
            audience: "sim",
            topic: TOPIC,
            partition,
            key: Some(key),
            value: &signed.value,
        };
        let envelope = Envelope::sign(signer.as_ref(), &scope).ok()?;
        let mut record = plain(signed.value);
        record.key = Some(Bytes::from_static(key));
        record.headers.push(Header {
            name: headers::ENVELOPE.into(),
            value: Some(Bytes::copy_from_slice(&envelope.encode())),
        });
        Some(record)
    }

    async fn write(&self, fates: &str, partition: i32, mut record: Record) {
        record.headers.push(Header {
            name: MARK.into(),
            value: Some(Bytes::copy_from_slice(fates.as_bytes())),
        });
        let bootstrap = self.world.bootstrap();
        let writing = self.process.spawn(async move {
            let Ok(brokers) = Address::parse_list(&bootstrap) else {
                return;
            };
            let config = ClientConfig::new(brokers, Security::Plaintext)
                .client_id("attacker")
                .request_timeout(Duration::from_secs(3));
            let Ok(client) = Client::connect(config).await else {
                return;
            };
            let producer = Producer::new(client, ProducerConfig::default());
            if let Ok(room) = producer
                .reserve(TOPIC, partition, record.size_bound())
                .await
            {
                // Whether it came to the log is read there.
                let _ = room.append(record).await;
            }
        });
        let _ = tokio::time::timeout(Duration::from_secs(5), writing).await;
    }

    fn a_partition(&self) -> i32 {
        let last = u64::try_from(PARTITIONS - 1).unwrap_or(0);
        i32::try_from(self.dice.within(0..=last)).unwrap_or(0)
    }
}

fn plain(value: Vec<u8>) -> Record {
    Record {
        value: Some(value.into()),
        ..Record::default()
    }
}

fn as_it_was(original: &LogRecord) -> Record {
    let headers = original.headers.iter().map(|(name, value)| Header {
        name: name.as_str().into(),
        value: value.clone(),
    });
    Record {
        key: original.key.clone(),
        value: original.value.clone(),
        headers: headers.collect(),
        ..Record::default()
    }
}

/// Another severity than was signed.
fn spoilt(original: &LogRecord) -> Record {
    let mut record = as_it_was(original);
    let value = original.value.clone().unwrap_or_default();
    if let Ok(mut event) = AnomalyEvent::decode(value) {
        event.source.push_str("-changed");
        record.value = Some(event.encode_to_vec().into());
    }
    record
}
