//! From a draft to an acknowledged record.
//!
//! [`publisher`] is what callers hold. [`limit`] and [`breaker`] say whether a message may go now,
//! [`gate`] asks the breaker before each of the transport's attempts, [`retry`] says when a batch
//! goes again, `probe` asks whether a cluster that was away is back, [`outbox`] keeps what cannot be sent now. [`nonces`] gives each message its place in our order; [`receipt`] is how it ends.
mod append;
pub mod breaker;
mod failed;
pub mod gate;
mod jitter;
pub mod limit;
pub mod nonces;
pub mod options;
pub mod outbox;
mod outcome;
mod probe;
pub mod publisher;
pub mod receipt;
pub mod retry;

pub use options::SendOptions;
pub use outbox::OutboxStatus;
pub use publisher::{Enqueued, Publisher, PublisherReport};
pub use receipt::{Receipt, SendError};
