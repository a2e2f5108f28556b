//! What can be seen from outside: numbers ([`metrics`]), health ([`health`]), and the address that shows them ([`serve`]).

pub mod health;
pub mod metrics;
pub mod serve;

pub use health::{Condition, Health};
pub use metrics::{
    Exposition, ExpositionError, Metrics, PartitionGauges, ReceiveCounts, SendCounts, SkipReason,
};
pub use serve::{OpsServer, ServeError};
