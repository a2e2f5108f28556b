//! Whether an authentic message is new: order decides, not the wall clock.
//!
//! Each authentic message has a signer and a value that grows ([`Claim`]). Per partition the
//! receiver keeps a *ring*, the accepted messages among the last offsets ([`RingLimits`]), and for
//! every signer *settled*, the highest value among its accepted messages that left the ring.
//! Reordering inside the ring is tolerated; an old copy never passes, however long its signer was
//! silent; memory is one small entry a signer. [`PartitionReplay`] judges. What is settled travels
//! with the offset commits of the consumer group ([`Snapshot::seal`], within a [`Budget`]), and
//! [`ReadBack`] makes a judge of it again after a restart or a rebalance.
//!
//! Nothing in here does I/O or reads a clock.
//!
//! ```
//! use cybermesh_contracts::replay::{Claim, Claims, Judgement, PartitionReplay, RingLimits};
//! use cybermesh_contracts::sign::KeyId;
//!
//! let key = KeyId([7; 8]);
//! let message = |timestamp_s| Claims::of(Claim::with_timestamp(key, timestamp_s, [timestamp_s as u8; 32]));
//! let mut partition = PartitionReplay::at_start_of_log(RingLimits::default(), 0);
//!
//! assert_eq!(partition.judge(0, 300, &message(10)), Judgement::Accepted);
//! assert_eq!(partition.judge(1, 300, &message(10)), Judgement::Duplicate);
//! assert_eq!(partition.judge(5000, 300, &message(11)), Judgement::Accepted);
//! partition.committed(5001); // far enough for the first message to leave the ring
//! assert_eq!(partition.judge(5001, 300, &message(10)), Judgement::Replay);
//! ```

mod budget;
mod claim;
mod handled;
mod limits;
mod metadata;
mod partition_replay;
mod read_back;
mod ring;
mod settled;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod varint;

pub use self::budget::Budget;
pub use self::claim::{Claim, Claims, SignerId};
pub use self::handled::Handled;
pub use self::limits::{RingLimits, RingOutOfRange};
pub use self::metadata::{Binding, StateKeys, StateRefused};
pub use self::partition_replay::{Judgement, PartitionReplay};
pub use self::read_back::{Origin, ReadBack};
pub use self::snapshot::Snapshot;
