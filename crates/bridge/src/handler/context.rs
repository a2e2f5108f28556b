//! Where a message came from: what Kafka says about it, which nobody signed.

use std::sync::Arc;

use crate::inbound::origin::Origin;

/// What a handler learns beside the message.
///
/// Only the [`Verified`](cybermesh_contracts::verify::Verified) message is vouched for by its
/// signer. What stands here comes from the log: whoever may write to the topic chose the headers
/// and the timestamp, and, where the signer sends no envelope, the key too.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) origin: Arc<Origin>,
    pub(crate) attempt: u32,
}

impl Context {
    /// The topic the message was read from.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.origin.topic
    }

    /// The partition it was read from.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.origin.partition
    }

    /// Its offset there.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.origin.offset
    }

    /// The record's timestamp in Unix milliseconds: the producer's word, or the broker's where
    /// the topic has log-append time. Not signed.
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        self.origin.timestamp_ms
    }

    /// The record's key, signed only where the message's envelope is valid.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.origin.key.as_deref()
    }

    /// The record's headers in the order of the log, duplicates and nulls as they stand.
    /// **Nobody signed them.**
    pub fn unsigned_headers(&self) -> impl ExactSizeIterator<Item = (&str, Option<&[u8]>)> {
        self.origin
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// The last header of this name that has a value. **Nobody signed it.**
    #[must_use]
    pub fn unsigned_header(&self, name: &str) -> Option<&[u8]> {
        self.origin
            .headers
            .iter()
            .rev()
            .filter(|(candidate, _)| candidate == name)
            .find_map(|(_, value)| value.as_deref())
    }

    /// Which attempt at this message this is in this process, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}
