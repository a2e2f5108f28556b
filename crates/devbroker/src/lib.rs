//! A small Kafka-compatible broker in one process, for demos and tests, with faults on request.
//!
//! A [`DevBroker`] listens on a port of this machine, or as a cluster on several, and speaks Kafka's own protocol, plaintext or
//! over mutual TLS (with certificates from [`pki`]), with SASL where [`ServerSasl`] says so, to any client. It keeps everything in
//! memory and shows it to the test: logs record by record, groups, committed offsets. A
//! [`Fault`] makes it fail in a chosen way at a chosen request.
//!
//! ```
//! use cybermesh_devbroker::pki::Authority;
//! use cybermesh_devbroker::{Api, DevBroker, ErrorCode, Fault, ServerTls};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::new("test CA")?;
//! let server = authority.server().dns("localhost").ip([127, 0, 0, 1]).issue()?;
//! let broker = DevBroker::builder()
//!     .topic("ai.anomalies.v1", 3)
//!     .tls(ServerTls::mutual(&server, authority.ca_pem())?)
//!     .start()
//!     .await?;
//!
//! // The answer to the first produce is lost, and the partition has no leader for a moment.
//! let lost = broker.fault(Fault::drop_after_apply(Api::Produce).once());
//! broker.fault(Fault::error(Api::Produce, ErrorCode::NOT_LEADER_OR_FOLLOWER).skip(1).once());
//!
//! // … here a client of `broker.bootstrap()` sends; then the log tells what arrived:
//! assert_eq!(broker.log("ai.anomalies.v1").values(), Vec::<Vec<u8>>::new());
//! assert_eq!(lost.hits(), 0);
//! broker.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is real, and what is not
//!
//! Real, as Apache Kafka 4.1 does it: batches kept as the bytes the producer sent, checked and with
//! their offset written in; idempotence with the five-batch cache; long polls and size limits of
//! fetches, with the last batch cut short; consumer groups of the classic protocol with
//! generations, timeouts and static members, and those that the coordinator divides (KIP-848) with epochs,
//! reconciliation, fencing and both of Kafka's assignors in short; offset metadata and its limit; topic ids; leaders,
//! leader epochs and coordinators spread over several brokers, and refusals with the right error
//! where another one is asked; topics, partitions, settings, records and groups managed by Kafka's
//! own tools; one request of a connection at a time, so that a waiting JoinGroup or Fetch holds up
//! what is behind it; the version ranges, as far as the message library goes (OffsetCommit and
//! OffsetFetch end at 9). Kafka's console clients and tools and librdkafka are tested against it.
//!
//! Replication is told of, not done: brokers share one log, replicas lag only where a test holds
//! them back ([`hold_back_replica`](DevBroker::hold_back_replica)), and another replica leads at
//! once when a leader stops; the end of a log is lost where a test has it lost
//! ([`elect_unclean`](DevBroker::elect_unclean)). Of transactions there is what readers see: batches
//! that a test puts in with [`append_unchecked`](DevBroker::append_unchecked) and ends with
//! [`end_transaction`](DevBroker::end_transaction); producers cannot begin one.
//!
//! Of the two group protocols each group has one: where Kafka takes members of the classic one into a group that
//! it divides, and back, they are refused here, and subscriptions by pattern too.
//!
//! Not there: a transaction coordinator, SASL by GSSAPI, quotas, access control lists (but
//! [`Fault::deny`]), settings of brokers, compaction, retention by time, automatic topic creation, and
//! anything on disk. Requests are bounded
//! (8 MiB and 100 000 elements), logs are not unless the topic sets `retention.bytes`. Timers
//! follow tokio's clock; a paused clock runs ahead whenever everything waits for a socket, so
//! tests over a connection run on real time.

mod api;
mod broker;
mod error_code;
mod fault;
mod group;
mod handler;
mod log;
pub mod pki;
mod record;
mod sasl;
mod wire;

/// Has the example of the read-me tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;

pub use api::Api;
pub use broker::{
    Builder, ConnectionInfo, DevBroker, FetchSession, PartitionLeader, ServerTls, StartError,
    TlsError, TopicSpec,
};
pub use error_code::ErrorCode;
pub use fault::{Fault, FaultHandle, Operation, Resource};
pub use group::{CommittedOffset, GroupMember, GroupState, GroupView};
pub use log::{LogRecord, ProducerStamp, TimestampType, TopicLog, TransactionEnd};
pub use sasl::ServerSasl;
