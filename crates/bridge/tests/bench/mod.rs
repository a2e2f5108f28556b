//! A broker, a backend that signs commits, and a node that subscribes to them.
#![expect(clippy::unwrap_used, reason = "the bench is part of tests")]
#![allow(dead_code, reason = "each test file uses its part of the bench")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cybermesh_bridge::clock::{SystemClock, WallClock};
use cybermesh_bridge::dlq::{DeadLetterConfig, DeadLetterSigning, DeadLetters};
use cybermesh_bridge::handler::{Context, Handlers, Verdict};
use cybermesh_bridge::inbound::{Patience, StateSigning, Subscriber, SubscriberParts};
use cybermesh_bridge::settings::Settings;
use cybermesh_bridge::telemetry::{Exposition, Health};
use cybermesh_contracts::dead_letter::{DeadLetter, Form};
use cybermesh_contracts::envelope::{Envelope, Scope};
use cybermesh_contracts::headers;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::{Commit, CommitDraft, Draft, Stamp};
use cybermesh_contracts::record::RecordView;
use cybermesh_contracts::sign::{Ed25519Signer, Signer};
use cybermesh_contracts::trust::{Right, TrustStore, TrustedKey};
use cybermesh_contracts::verify::Verified;
use cybermesh_devbroker::{DevBroker, TimestampType as BrokerTimestamps, TopicSpec};
use cybermesh_transport::{
    Address, Client, ClientConfig, Header, Producer, ProducerConfig, Record, Security,
    producer::FixedSchedule,
};
use tokio::sync::watch;

pub(crate) const TOPIC: &str = "control.commits.v1";
pub(crate) const DEAD: &str = "ai.dlq";
pub(crate) const GROUP: &str = "node-group";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, a backend that signs commits, and a node's trust in it.
pub(crate) struct Bench {
    pub(crate) broker: DevBroker,
    pub(crate) client: Client,
    pub(crate) producer: Producer,
    pub(crate) backend: Ed25519Signer,
    pub(crate) node: Arc<Ed25519Signer>,
    pub(crate) trust: watch::Sender<Arc<TrustStore>>,
    pub(crate) health: Health,
}

impl Bench {
    pub(crate) async fn start(topics: &[(&str, usize)]) -> Self {
        let topics = topics.iter();
        Self::over(topics.map(|(topic, partitions)| TopicSpec::new(topic, *partitions))).await
    }

    /// A topic of one partition in which the broker's own time counts.
    pub(crate) async fn start_appending_by_its_clock(topic: &str) -> Self {
        let topic = TopicSpec::new(topic, 1).timestamps(BrokerTimestamps::LogAppendTime);
        Self::over([topic, TopicSpec::new(DEAD, 1)]).await
    }

    async fn over(topics: impl IntoIterator<Item = TopicSpec>) -> Self {
        let mut builder = DevBroker::builder();
        for topic in topics {
            builder = builder.topic_with(topic);
        }
        let broker = builder.start().await.unwrap();
        let client = connect(&broker).await;
        let producer = Producer::new(client.clone(), ProducerConfig::default());
        let backend = Ed25519Signer::from_seed(&[1; 32]);
        let node = Arc::new(Ed25519Signer::from_seed(&[2; 32]));
        let key = |id, signer: &Ed25519Signer, rights: Vec<Right>| {
            TrustedKey::new(id, signer.public_key(), rights).unwrap()
        };
        let store = TrustStore::of([
            key("backend-1", &backend, vec![Right::Kind(Kind::Commit)]),
            key("node-1", &node, vec![Right::DeadLetter]),
        ])
        .unwrap();
        Self {
            broker,
            client,
            producer,
            backend,
            node,
            trust: watch::Sender::new(Arc::new(store)),
            health: Health::new(),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings_with("CYBERMESH_HANDLER_TIMEOUT", "1s")
    }

    pub(crate) fn settings_with(&self, name: &str, value: &str) -> Settings {
        Settings::loader()
            .set("KAFKA_BROKERS", self.broker.bootstrap())
            .set("KAFKA_TLS_ENABLED", "false")
            .set("KAFKA_CONSUMER_GROUP", GROUP)
            .set("KAFKA_SESSION_TIMEOUT_MS", "6000")
            .set("KAFKA_HEARTBEAT_INTERVAL_MS", "200")
            .set("CYBERMESH_HANDLER_ATTEMPTS", "2")
            .set("CYBERMESH_REPLAY_RING", "16")
            .set(name, value)
            .load()
            .unwrap()
    }

    pub(crate) fn parts(&self, client: Client, handlers: Handlers) -> SubscriberParts {
        let config = DeadLetterConfig {
            topic: DEAD.into(),
            form: Form::Json,
            group: Some(GROUP.to_owned()),
            node: Some("node-1".to_owned()),
            audience: String::new(),
        };
        let (node, trust) = (Arc::clone(&self.node), self.trust.subscribe());
        let public_key = node.public_key();
        let signing = DeadLetterSigning {
            signer: Box::new(move || {
                trust
                    .borrow()
                    .key(&public_key)
                    .is_some_and(|key| key.may(Right::DeadLetter))
                    .then(|| Arc::clone(&node) as _)
            }),
        };
        let producer = ProducerConfig {
            schedule: Arc::new(FixedSchedule {
                delay: Duration::from_millis(20),
                resends: 1,
            }),
            ..ProducerConfig::default()
        };
        let producer = Producer::new(client.clone(), producer);
        let dead_letters = DeadLetters::new(client.clone(), producer, config, Some(signing));
        SubscriberParts {
            client,
            dead_letters,
            trust: self.trust.subscribe(),
            state_signing: StateSigning::none(),
            state: None,
            clock: Arc::new(SystemClock),
            metrics: Exposition::new().unwrap().metrics(),
            health: self.health.clone(),
            receives: Kind::CONTROL.to_vec(),
            handlers: handlers
                .ignore(Kind::Reputation)
                .ignore(Kind::PolicyUpdate)
                .ignore(Kind::EvidenceRequest),
            patience: Patience::default(),
        }
    }

    pub(crate) async fn subscribe(&self, handlers: Handlers) -> Subscriber {
        let client = connect(&self.broker).await;
        Subscriber::start(&self.settings(), self.parts(client, handlers))
            .await
            .unwrap()
    }

    /// A signed commit of this height, with its envelope for a partition.
    pub(crate) fn signed(&self, height: i64, partition: i32) -> Record {
        self.signed_at(height, partition, SystemClock.unix_ms())
    }

    pub(crate) fn signed_at(&self, height: i64, partition: i32, now_ms: u64) -> Record {
        let draft = Draft::Commit(
            CommitDraft::builder(height, [7; 32], [8; 32])
                .build()
                .unwrap(),
        );
        let stamp = Stamp {
            now_ms,
            nonce: None,
        };
        let value = draft.sign(&self.backend, stamp).unwrap().value;
        let key = draft.default_key();
        let scope = Scope {
            audience: "",
            topic: TOPIC,
            partition,
            key: Some(&key),
            value: &value,
        };
        let envelope = Envelope::sign(&self.backend, &scope).unwrap().encode();
        Record {
            key: Some(key.into()),
            value: Some(value.into()),
            headers: vec![Header::new(headers::ENVELOPE, envelope.to_vec())],
            timestamp_ms: i64::try_from(now_ms).unwrap(),
        }
    }

    pub(crate) async fn append(&self, partition: i32, record: Record) -> i64 {
        let reservation = self
            .producer
            .reserve(TOPIC, partition, record.size_bound())
            .await
            .unwrap();
        reservation.append(record).await.unwrap().offset.unwrap()
    }

    /// The same by a producer that knows nothing of the topic yet.
    pub(crate) async fn append_by_another(&self, partition: i32, record: Record) -> i64 {
        let client = connect(&self.broker).await;
        let producer = Producer::new(client, ProducerConfig::default());
        let reservation = producer.reserve(TOPIC, partition, record.size_bound());
        let appended = reservation.await.unwrap().append(record).await;
        appended.unwrap().offset.unwrap()
    }

    pub(crate) async fn committed(&self, partition: i32, offset: i64) {
        let wait = self.broker.wait_until(|broker| {
            broker
                .committed(GROUP, TOPIC, partition)
                .is_some_and(|committed| {
                    assert!(committed.offset <= offset, "committed beyond what was sent");
                    committed.offset == offset
                })
        });
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }

    /// Disposition of each dead letter by the offset of its origin.
    pub(crate) fn dispositions(&self) -> BTreeMap<i64, String> {
        let log = self.broker.log(DEAD);
        log.records()
            .iter()
            .map(|record| {
                let headers: Vec<(&str, Option<&[u8]>)> = record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_deref()))
                    .collect();
                let view = RecordView {
                    key: record.key.as_deref(),
                    headers: &headers,
                    ..RecordView::new(DEAD, record.value.as_deref())
                };
                let letter = DeadLetter::parse(&view).unwrap();
                letter
                    .verify(&self.trust.borrow(), &[""])
                    .expect("signed by the node");
                let offset = letter.origin().offset.unwrap();
                (offset, letter.disposition().to_string())
            })
            .collect()
    }
}

pub(crate) async fn connect(broker: &DevBroker) -> Client {
    let bootstrap = Address::parse_list(&broker.bootstrap()).unwrap();
    Client::connect(ClientConfig::new(bootstrap, Security::Plaintext))
        .await
        .unwrap()
}

/// Heights in the order they were handled to the end.
pub(crate) type Handled = Arc<Mutex<Vec<i64>>>;

pub(crate) fn recording(handled: &Handled) -> Handlers {
    let handled = Arc::clone(handled);
    Handlers::new().register(move |message: Verified<Commit>, _: Context| {
        let handled = Arc::clone(&handled);
        async move {
            handled.lock().unwrap().push(message.message().height());
            Ok(Verdict::Done)
        }
    })
}
