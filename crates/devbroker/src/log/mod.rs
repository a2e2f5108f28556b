//! The log of a partition, in memory.
//!
//! [`batch`] reads and patches the header of a batch, [`producers`] judges the sequences of
//! idempotent producers, [`transactions`] knows the open and the aborted ones, [`partition`] keeps the batches,
//! [`leadership`] knows who answers for it, [`topic`] groups partitions under a name
//! with their settings, [`view`] shows a log to tests.

mod batch;
mod leadership;
mod partition;
mod producers;
mod settings;
mod topic;
mod transactions;
mod view;

pub(crate) use batch::BatchHeader;
pub(crate) use partition::{AppendRefused, Appended, BadRecord, PartitionLog};
pub use settings::TimestampType;
pub(crate) use settings::{SettingRow, TopicSettings};
pub(crate) use topic::{Topic, name_is_legal};
pub use transactions::TransactionEnd;
pub use view::{LogRecord, ProducerStamp, TopicLog};
