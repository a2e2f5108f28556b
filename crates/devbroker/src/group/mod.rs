//! Consumer groups, classic protocol, as state machines on the caller's time.
//!
//! [`member`] is one member, [`rebalance`] the group's states and how it gets from one generation to
//! the next (`membership` holds who may enter and leave, `timers` what happens by itself), [`offsets`] what groups commit,
//! [`subscription`] which topics a member reads,
//! [`coordinator`] all groups of the broker. Requests that wait for other members are given a
//! [`Ticket`] and answered through [`Replies`], maybe much later.

mod coordinator;
mod member;
mod membership;
mod offsets;
mod rebalance;
mod subscription;
#[cfg(test)]
mod tests;
mod timers;
mod view;

pub(crate) use coordinator::{Coordinator, SessionBounds};
pub(crate) use member::{
    JoinRequest, Joined, JoinedMember, Replies, Reply, SyncRequest, Synced, Ticket,
};
pub use offsets::CommittedOffset;
pub(crate) use offsets::{CommitRequest, PartitionCommit};
pub use rebalance::GroupState;
pub use view::{GroupMember, GroupView};
