//! Being one of a group: who gets which partition, and how far each was read.
//!
//! The classic protocol (every broker speaks it): `membership` decides when to join, sync, give a sign of life, give
//! partitions up, and `holding` is what it has; `assignor` divides them among the members when this one leads; `protocol` is the form in which
//! members tell each other what they want and get; `offsets` stores and reads positions; `coordinator` is who is asked and
//! `exchange` understands what it says; `task` carries out what the
//! membership decides.

mod assignor;
mod coordinator;
mod exchange;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod holding;
mod membership;
pub(crate) mod offsets;
mod protocol;
mod task;

pub use assignor::{Assignor, UnknownAssignor};
pub(crate) use task::{GroupCommand, GroupTask};
