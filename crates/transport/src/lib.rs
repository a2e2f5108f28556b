//! Bytes to and from Kafka: TLS, connections, producing, consumer groups.

pub mod admin;
mod broker;
mod cluster;
pub mod config;
pub mod consumer;
mod dial;
pub mod error;
mod fetch;
mod group;
pub mod producer;
pub mod record;
mod route;
pub mod tls;
mod wire;

pub use admin::Admin;
pub use cluster::{Client, Leader, PartitionMetadata, TopicMetadata};
pub use config::{Address, ClientConfig, Security};
pub use consumer::{
    AssignedPartition, Committed, Consumer, ConsumerConfig, Event, FetchConfig, OffsetToCommit,
    Position, RecordBatch, StartPolicy,
};
pub use error::{Class, ErrorCode, ErrorKind, TransportError};
pub use producer::{
    Appended, Delivery, DeliveryError, Gate, Producer, ProducerConfig, ResendSchedule, Reservation,
    Written,
};
pub use record::{Compression, FetchedRecord, Header, Record, TimestampType, TopicPartition};
pub use wire::IsolationLevel;
