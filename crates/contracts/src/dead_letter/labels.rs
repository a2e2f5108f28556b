//! The `dlq.*` headers, and the aliases that other tools read.

/// The headers that a dead letter's signature covers, in the order in which it does.
pub const SIGNED_HEADERS: [&str; 13] = [
    FORMAT,
    DISPOSITION,
    REASON,
    ORIGIN_TOPIC,
    ORIGIN_PARTITION,
    ORIGIN_OFFSET,
    ORIGIN_TIMESTAMP,
    GROUP,
    ATTEMPTS,
    FIRST_FAILED_AT,
    LAST_FAILED_AT,
    NODE,
    REDRIVE_COUNT,
];

pub(super) const FORMAT: &str = "dlq.format";
pub(super) const DISPOSITION: &str = "dlq.disposition";
pub(super) const REASON: &str = "dlq.reason";
pub(super) const ORIGIN_TOPIC: &str = "dlq.origin.topic";
pub(super) const ORIGIN_PARTITION: &str = "dlq.origin.partition";
pub(super) const ORIGIN_OFFSET: &str = "dlq.origin.offset";
pub(super) const ORIGIN_TIMESTAMP: &str = "dlq.origin.timestamp";
pub(super) const GROUP: &str = "dlq.group";
pub(super) const ATTEMPTS: &str = "dlq.attempts";
pub(super) const FIRST_FAILED_AT: &str = "dlq.first-failed-at";
pub(super) const LAST_FAILED_AT: &str = "dlq.last-failed-at";
pub(super) const NODE: &str = "dlq.node";
pub(super) const REDRIVE_COUNT: &str = "dlq.redrive-count";

pub(super) const ORIGINAL_KEY: &str = "dlq.original-key";
pub(super) const ORIGINAL_PREFIX: &str = "dlq.original.";

pub(super) const ALIAS_TOPIC: &str = "kafka_dlt-original-topic";
pub(super) const ALIAS_PARTITION: &str = "kafka_dlt-original-partition";
pub(super) const ALIAS_OFFSET: &str = "kafka_dlt-original-offset";

/// The values of the signed headers, as bytes on the wire, in the order of [`SIGNED_HEADERS`].
pub(super) type Labels<T> = [Option<T>; SIGNED_HEADERS.len()];
