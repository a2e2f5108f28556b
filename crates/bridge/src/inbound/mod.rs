//! From fetched bytes to a committed offset.
//!
//! Records wait in the backlog of their partition until the budget has room, are judged on worker
//! threads, put back in offset order, checked for replay, handled lane by lane, and counted done
//! by the watermark, the only thing that is ever committed. One flow joins these parts for one
//! partition; the pipeline is the task that carries out what the flows decide.
//!
//! At least once: a message is handled again after its own retry verdict, its deadline or a
//! cancellation, and after a crash or a lost session between its success and the commit that
//! records it. Watermarks are committed once a second while they move, when a partition is
//! revoked, and at the end.

mod attempts;
mod budget;
pub(crate) mod burial;
mod dispatch;
mod effect;
mod flow;
mod former;
mod group;
pub(crate) mod guard;
mod hang;
mod held_back;
pub(crate) mod judge;
mod member;
pub(crate) mod origin;
mod patience;
mod pause;
mod pipeline;
mod reorder;
pub(crate) mod replay;
mod subscriber;
mod verify;
mod watermark;

pub use attempts::RetryPolicy;
pub use origin::TopicPartition;
pub use patience::Patience;
pub use pause::Pause;
pub use pipeline::{LeftBehind, SubscriberReport};
pub use replay::{StateSigning, forget_copy};
pub use subscriber::{ResumeError, Subscriber, SubscriberEnded, SubscriberError, SubscriberParts};
