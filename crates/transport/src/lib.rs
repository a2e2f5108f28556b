//! Bytes to and from Kafka: TLS, connections, producing, consumer groups.

mod broker;
pub mod config;
mod dial;
pub mod error;
pub mod tls;
mod wire;

pub use config::{Address, ClientConfig, Security};
pub use error::{Class, ErrorCode, ErrorKind, TransportError};
pub use wire::IsolationLevel;
