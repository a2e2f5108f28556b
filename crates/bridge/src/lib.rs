//! Policy between signed messages and Kafka: limits, retries, breaker, replay, dispatch, dead letters, telemetry.
#![forbid(unsafe_code)]

pub mod clock;
pub mod dlq;
pub mod handler;
pub mod inbound;
pub mod outbound;
pub mod settings;
pub mod state;
pub mod telemetry;

pub use settings::Settings;
