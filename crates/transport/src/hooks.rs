//! What a client does, told as it happens, for whoever wants to count or to log it.
//!
//! [`Hooks`] has a method for each kind of event, all of which do nothing by default; hand one in by
//! [`ClientConfig::hooks`](crate::ClientConfig::hooks). Methods are called on the tasks that do the work, between two
//! steps of it: they must return at once and wait for nothing. One that panics is logged, and harms nothing else.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Address;
use crate::error::TransportError;
use crate::record::TopicPartition;

/// What a connection is for; each broker has up to one of each for a client, a consumer and a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Metadata, coordinators, administration, producer ids, offsets of partitions.
    Control,
    /// Produce requests.
    Produce,
    /// Fetch requests, which wait at the broker.
    Fetch,
    /// Heartbeats, commits, offset fetches, leaving.
    Coordinator,
    /// JoinGroup and SyncGroup, which wait for the other members.
    Join,
}

/// An attempt to connect, ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Connecting<'a> {
    /// With which broker.
    pub broker: &'a Address,
    /// What for.
    pub purpose: Purpose,
    /// Resolving, connecting, TLS, versions and SASL together.
    pub took: Duration,
    /// Whether there is a connection now, or why not.
    pub outcome: Result<(), &'a TransportError>,
}

/// A connection that has ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Disconnected<'a> {
    /// With which broker.
    pub broker: &'a Address,
    /// What it was for.
    pub purpose: Purpose,
    /// How long it was open.
    pub after: Duration,
    /// Why, in words.
    pub reason: &'a str,
}

/// A request that left, and what came of it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Requested<'a> {
    /// Of which broker.
    pub broker: &'a Address,
    /// What the connection is for.
    pub purpose: Purpose,
    /// The protocol's name of the request, as in `Produce`.
    pub api: &'static str,
    /// From when it was put in line on the connection until the answer was read, or it was given up.
    pub took: Duration,
    /// The size of the answer's body in bytes; 0 where there is none.
    pub answer_bytes: usize,
    /// Whether it was answered; error codes within an answer are the business of whoever asked.
    pub outcome: Result<(), &'a TransportError>,
}

/// A broker asked us to send nothing for a while (KIP-219), which we do.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Throttled<'a> {
    /// Which broker.
    pub broker: &'a Address,
    /// The connection that rests.
    pub purpose: Purpose,
    /// The protocol's name of the request whose answer said so.
    pub api: &'static str,
    /// For how long, as far as it is obeyed.
    pub time: Duration,
}

/// An attempt to write a batch of records, ended. A batch that is sent again comes again.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct BatchWritten<'a> {
    /// Where to.
    pub partition: &'a TopicPartition,
    /// How many records it holds.
    pub records: usize,
    /// Its size on the wire, compressed.
    pub bytes: usize,
    /// Whether the broker has it, or why that is not so or not known.
    pub outcome: Result<(), &'a TransportError>,
}

/// Records of one partition, handed to the caller.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct BatchRead<'a> {
    /// Where from.
    pub partition: &'a TopicPartition,
    /// How many; 0 where a stretch of the log holds none for us.
    pub records: usize,
    /// The position after them.
    pub next_offset: i64,
}

/// What a rebalance does to a member.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Rebalanced<'a> {
    /// It gets these partitions, besides those it keeps.
    Assigned {
        /// Of the generation that gives them; the member epoch in groups of the new protocol.
        generation: i32,
        /// Which; may be none.
        partitions: &'a [TopicPartition],
    },
    /// It is to give these up.
    Revoked {
        /// Which.
        partitions: &'a [TopicPartition],
    },
    /// These are no longer its own.
    Lost {
        /// Which.
        partitions: &'a [TopicPartition],
        /// How that came to light.
        reason: &'a TransportError,
    },
}

/// Told what a client does. See the [module](self).
pub trait Hooks: Send + Sync + fmt::Debug {
    /// An attempt to connect has ended.
    fn connecting(&self, _connecting: &Connecting<'_>) {}
    /// A connection has ended.
    fn disconnected(&self, _disconnected: &Disconnected<'_>) {}
    /// A request was answered or given up after it had left.
    fn requested(&self, _requested: &Requested<'_>) {}
    /// A broker asks for patience.
    fn throttled(&self, _throttled: &Throttled<'_>) {}
    /// An attempt to write a batch has ended.
    fn batch_written(&self, _batch: &BatchWritten<'_>) {}
    /// Records are handed to the caller.
    fn batch_read(&self, _batch: &BatchRead<'_>) {}
    /// Partitions of a group's member come and go.
    fn rebalanced(&self, _group: &str, _rebalanced: &Rebalanced<'_>) {}
}

/// The caller's hooks, if there are any.
#[derive(Debug, Clone, Default)]
pub(crate) struct HooksInUse(Option<Arc<dyn Hooks>>);

impl HooksInUse {
    pub(crate) fn new(hooks: Arc<dyn Hooks>) -> Self {
        Self(Some(hooks))
    }

    /// Tells it, where somebody listens.
    pub(crate) fn tell(&self, tell: impl FnOnce(&dyn Hooks)) {
        let Some(hooks) = &self.0 else {
            return;
        };
        // What the caller's code breaks in its own state is the caller's; ours is not in its hands.
        if catch_unwind(AssertUnwindSafe(|| tell(&**hooks))).is_err() {
            tracing::error!("a hook has panicked");
        }
    }
}
