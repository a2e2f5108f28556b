//! What a bridge counted, and what it left where.

use std::time::Duration;

use crate::{
    inbound::SubscriberReport,
    outbound::PublisherReport,
    telemetry::{ReceiveCounts, SendCounts},
};

/// The specification's counts, both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The way out.
    pub send: SendCounts,
    /// The way in.
    pub receive: ReceiveCounts,
}

/// What an orderly stop left where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// What the way in left, where there was one.
    pub subscriber: Option<SubscriberReport>,
    /// What the way out left.
    pub publisher: PublisherReport,
    /// Dead letters that were on their way at the deadline.
    pub dead_letters_abandoned: usize,
    /// How long it took.
    pub took: Duration,
}

impl StopReport {
    /// Whether nothing was left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.subscriber
            .as_ref()
            .is_none_or(SubscriberReport::is_clean)
            && self.publisher.abandoned == 0
            && self.dead_letters_abandoned == 0
    }
}
