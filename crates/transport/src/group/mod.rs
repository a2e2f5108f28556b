//! Being one of a group: who gets which partition, and how far each was read.
//!
//! There are two protocols. By the classic one (every broker speaks it) the members divide: `membership` decides when to
//! join, sync, give a sign of life, give partitions up; `assignor` divides them among the members when this one leads;
//! `protocol` is the form in which members tell each other what they want and get; `exchange` understands what the
//! coordinator says. By that of KIP-848 the coordinator divides: `consumer_membership` decides when to say what,
//! `pulse` when, and `share` what to give up and what to take.
//!
//! `member` is either; `holding` is what it has; `offsets` stores and reads positions; `coordinator` is who is asked;
//! `task` carries out what the member decides.

mod assignor;
mod consumer_membership;
mod coordinator;
mod exchange;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod holding;
mod member;
mod membership;
pub(crate) mod offsets;
mod protocol;
mod pulse;
mod share;
mod task;

pub use assignor::{Assignor, UnknownAssignor};
pub(crate) use member::new_member_id;
pub(crate) use task::{GroupCommand, GroupTask};
