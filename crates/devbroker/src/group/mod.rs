//! Consumer groups as state machines on the caller's time: by the classic protocol, where members divide, and by that of
//! KIP-848, where the coordinator does ([`consumer`]).
//!
//! Of the classic one [`member`] is one member, [`rebalance`] the group's states and how it gets from one generation to
//! the next (`membership` holds who may enter and leave, `timers` what happens by itself), [`offsets`] what groups commit,
//! [`subscription`] which topics a member reads,
//! [`coordinator`] all groups of the broker. Requests that wait for other members are given a
//! [`Ticket`] and answered through [`Replies`], maybe much later.

mod consumer;
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

pub(crate) use consumer::{
    Assignor, Beat, Beaten, ConsumerGroup, Place, Times as ConsumerTimes, Topics,
};
pub(crate) use coordinator::{Coordinator, SessionBounds};
pub(crate) use member::{
    JoinRequest, Joined, JoinedMember, Replies, Reply, SyncRequest, Synced, Ticket,
};
pub use offsets::CommittedOffset;
pub(crate) use offsets::{CommitRequest, PartitionCommit};
pub(crate) use rebalance::Group;
pub use rebalance::GroupState;
pub use view::{GroupMember, GroupView};
