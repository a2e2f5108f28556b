//! Bytes to and from Kafka: TLS, connections, producing, consumer groups. No C is compiled anywhere below it.
//!
//! A [`Client`] is made from a [`ClientConfig`]; producers, consumers and [`Admin`] are made from the client and share
//! its connections. Nothing here knows what the bytes mean, and nothing decides policy: when to resend, when to dial
//! again and when to leave a cluster alone is handed in ([`ResendSchedule`], [`RedialSchedule`](config::RedialSchedule),
//! [`Gate`]).
//!
//! ```
//! use cybermesh_transport::admin::NewTopic;
//! use cybermesh_transport::tls::{Pem, TlsConfig};
//! use cybermesh_transport::{
//!     Address, Admin, Client, ClientConfig, Producer, ProducerConfig, Record, Security,
//! };
//! # use cybermesh_devbroker::{DevBroker, ServerTls, pki::Authority};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let authority = Authority::new("example CA")?;
//! # let server = authority.server().dns("localhost").ip([127, 0, 0, 1]).issue()?;
//! # let node = authority.client("node-1").issue()?;
//! # let broker = DevBroker::builder().tls(ServerTls::mutual(&server, authority.ca_pem())?).start().await?;
//! # let (bootstrap, ca, chain, key) = (broker.bootstrap(), authority.ca_pem(), node.chain_pem(), node.key_pem());
//! let tls = TlsConfig::builder(Pem::new("ca.pem", ca))
//!     .client_certificate(Pem::new("node-1.pem", chain), Pem::new("node-1-key.pem", key))
//!     .build()?;
//! let config = ClientConfig::new(Address::parse_list(&bootstrap)?, Security::Tls(tls));
//! let client = Client::connect(config).await?;
//!
//! let topic = NewTopic::new("ai.anomalies.v1").partitions(3);
//! Admin::new(client.clone()).create_topic(topic).await?;
//!
//! let record = Record {
//!     value: Some("bytes".into()),
//!     ..Record::default()
//! };
//! let producer = Producer::new(client, ProducerConfig::default());
//! let room = producer.reserve("ai.anomalies.v1", 0, record.size_bound()).await?;
//! let appended = room.append(record).await?;
//! assert_eq!(appended.offset, Some(0));
//! # broker.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The parts, in the order data meets them
//!
//! [`config`], [`tls`] and [`sasl`] are what a client is told. `dial` opens a connection, `broker` carries requests over it,
//! `wire` knows their bytes, `cluster` knows whom to ask. [`producer`] and [`record`] are the way out, [`consumer`] the
//! way in, [`admin`] looks after topics. [`hooks`] tell what happens.
//!
//! # Errors
//!
//! Everything that fails does so with a [`TransportError`]: which operation, with whom, and why, as an [`ErrorKind`]
//! that compares and a sentence a person understands. [`TransportError::class`] says what may be done about it. Nothing
//! waits for ever: connecting and every request have a deadline.
//!
//! # Features
//!
//! `simulation` lets a simulation stand in for the machine (module `host`), and is for nothing else.
//!
//! `fuzzing` opens the parsers to fuzz targets and tests, and is for nothing else.
//!
//! `portable-crypto` builds in a second provider of cryptography for TLS, for processors without the instructions the
//! first one needs. It is young and unaudited, and taken only when asked for: see
//! [`ProviderChoice`](tls::ProviderChoice).

pub mod admin;
mod broker;
mod cluster;
pub mod config;
pub mod consumer;
mod dial;
pub mod error;
mod fetch;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod group;
pub mod hooks;
#[doc(hidden)]
pub mod host;
pub mod producer;
pub mod record;
mod route;
pub mod sasl;
pub mod tls;
mod wire;

pub use admin::Admin;
pub use cluster::{Client, Leader, PartitionMetadata, TopicMetadata};
pub use config::{Address, ClientConfig, Security};
pub use consumer::{
    AssignedPartition, Assignor, Committed, Consumer, ConsumerConfig, Event, FetchConfig,
    GroupProtocol, OffsetToCommit, Position, Progress, Reader, RecordBatch, ResetCause,
    StartPolicy,
};
pub use error::{Class, ErrorCode, ErrorKind, TransportError};
pub use hooks::Hooks;
pub use producer::{
    Appended, Delivery, DeliveryError, Gate, Producer, ProducerConfig, ProducerStats,
    ResendSchedule, Reservation, Written,
};
pub use record::{Compression, FetchedRecord, Header, Record, TimestampType, TopicPartition};
pub use sasl::{Sasl, Secret};
pub use wire::{IsolationLevel, OffsetSpec};
