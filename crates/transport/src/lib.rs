//! Bytes to and from Kafka: TLS, connections, producing, consumer groups.

pub mod admin;
mod broker;
mod cluster;
pub mod config;
mod dial;
pub mod error;
pub mod tls;
mod wire;

pub use admin::Admin;
pub use cluster::{Client, Leader, PartitionMetadata, TopicMetadata};
pub use config::{Address, ClientConfig, Security};
pub use error::{Class, ErrorCode, ErrorKind, TransportError};
pub use wire::IsolationLevel;
