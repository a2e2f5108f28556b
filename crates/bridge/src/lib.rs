//! Policy between signed messages and Kafka: limits, retries, breaker, replay, dispatch, dead letters, telemetry.
#![forbid(unsafe_code)]

pub mod bridge;
pub mod clock;
mod connect;
pub mod dlq;
pub mod handler;
pub mod inbound;
pub mod keys;
pub mod outbound;
pub mod settings;
pub mod state;
pub mod telemetry;
pub mod trust;

pub use bridge::Bridge;
pub use outbound::{Publisher, Receipt, SendError, SendOptions};
pub use settings::Settings;
