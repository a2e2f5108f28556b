//! What becomes of a draft that its topic, not the cluster, refuses.

use std::fmt::Debug;

use cybermesh_contracts::{headers::Header, message::Draft};
use cybermesh_transport::{DeliveryError, ErrorCode, Written};
use futures_util::future::BoxFuture;

/// Writes `produce-failed` dead letters.
pub(crate) trait BuryDraft: Debug + Send + Sync {
    /// Writes one, and waits until it is acknowledged or given up; which of the two is for its own
    /// metrics to say, the sender's caller has the draft and is told that it was not sent.
    fn bury<'a>(&'a self, failed: FailedDraft<'a>) -> BoxFuture<'a, ()>;
}

/// A draft that was certainly not written, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailedDraft<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) key: &'a [u8],
    /// The caller's.
    pub(crate) headers: &'a [Header],
    /// Never the signed message: somebody could inject it.
    pub(crate) draft: &'a Draft,
    pub(crate) attempts: u32,
    /// Unix milliseconds.
    pub(crate) first_failed_at_ms: u64,
    pub(crate) reason: &'a str,
}

/// Whether the topic is at fault, for all that is known: a broker answered, and refused for good.
pub(super) fn is_topics_fault(error: &DeliveryError) -> bool {
    error.written() == Written::No
        && matches!(
            error.error().error_code(),
            Some(
                ErrorCode::MessageTooLarge
                    | ErrorCode::InvalidRecord
                    | ErrorCode::PolicyViolation
                    | ErrorCode::TopicAuthorizationFailed
                    | ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::InvalidTopic
            )
        )
}
