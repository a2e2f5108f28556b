//! What can be seen from outside: numbers ([`metrics`]), health ([`health`]), and the address that
//! shows them ([`serve`]); and what is written down to be proved later ([`audit`]).

pub mod audit;
mod expiries;
mod exposition;
pub mod health;
#[cfg(test)]
mod levels;
mod messaging;
pub mod metrics;
pub(crate) mod otlp;
mod partitions;
mod progress;
mod replay_alarm;
pub mod serve;
mod spool;
pub(crate) mod vitals;

pub use audit::{Audit, AuditEvent};
pub use exposition::{Exposition, ExpositionError};
pub use health::{Condition, Health};
pub use metrics::{Left, Metrics, ReceiveCounts, SendCounts, SkipReason};
pub use partitions::PartitionGauges;
pub(crate) use progress::Beat;
pub use progress::STUCK_AFTER;
pub use replay_alarm::{ReplayAlarm, ReplayStart};
pub use serve::{OpsServer, ServeError};
