//! Reading records: as a member of a group, or alone.

mod config;
mod event;

pub use config::{ConsumerConfig, FetchConfig, Position, StartPolicy};
pub use event::{AssignedPartition, Committed, Event, OffsetToCommit, RecordBatch};
