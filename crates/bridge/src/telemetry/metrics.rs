//! The numbers, made with the OpenTelemetry API and shown as Prometheus text.
//!
//! Labels come from settings and closed sets, never from message content. Instrument names leave
//! out what a Prometheus exporter appends (`_total`, the unit `_seconds`), so that what is scraped
//! carries the specification's names exactly, through our own exporter or through a caller's.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cybermesh_contracts::{kind::Kind, rejection::Disposition};
use cybermesh_transport::Client;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter},
};

use super::expiries::Expiries;
use super::messaging::{Messaging, Surroundings};
use super::partitions::{PartitionGauges, Partitions};
use super::replay_alarm::{ReplayAlarm, ReplayStart};
use super::spool::Spool;

/// Buckets of durations that contain a network, as the messaging conventions advise; seconds.
pub(super) const NETWORK_SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Buckets of durations of pure computing (sign, verify); seconds.
const COMPUTE_SECONDS: [f64; 12] = [
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1,
];

/// Why a message was passed over without being buried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// An exact copy of one already accepted.
    Duplicate,
    /// Older than the maximum age.
    Stale,
    /// Redriven for another group.
    OtherGroup,
    /// The handler's verdict.
    Handler,
    /// Handled beyond the committed offset before a restart or a rebalance.
    HandledBefore,
}

impl SkipReason {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::OtherGroup => "other-group",
            Self::Handler => "handler",
            Self::HandledBefore => "handled-before",
        }
    }
}

/// What the way out counted since it was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendCounts {
    /// Messages acknowledged by Kafka.
    pub messages_sent: u64,
    /// Messages that were not, whatever the reason.
    pub messages_failed: u64,
    /// Bytes of the values acknowledged.
    pub bytes_sent: u64,
}

/// How a message left the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Left {
    /// Kafka has it.
    Sent,
    /// It was older than `CYBERMESH_OUTBOX_AGE`.
    Expired,
    /// It made room for newer ones.
    Dropped,
    /// Its topic refuses it for good.
    Refused,
    /// Its topic refuses it for good now, and may have it since an earlier attempt.
    Unknown,
    /// It could not be read back.
    Unreadable,
}

impl Left {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What the way in counted since it was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiveCounts {
    /// Messages fetched.
    pub messages_received: u64,
    /// Messages whose handler was done with them.
    pub messages_processed: u64,
    /// Messages rejected, given up, or refused by their handler.
    pub messages_failed: u64,
}

/// Where metrics are written. Cheap to clone; all clones write to the same numbers.
#[derive(Clone)]
pub struct Metrics {
    instruments: Arc<Instruments>,
    around: Surroundings,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("send", &self.send_counts())
            .field("receive", &self.receive_counts())
            .finish()
    }
}

struct Instruments {
    sent: Counter<u64>,
    failed: Counter<u64>,
    bytes_sent: Counter<u64>,
    send_latency: Histogram<f64>,
    received: Counter<u64>,
    processed: Counter<u64>,
    processing_latency: Histogram<f64>,

    messaging: Messaging,

    sign_duration: Histogram<f64>,
    verify_duration: Histogram<f64>,
    rejected: Counter<u64>,
    skipped: Counter<u64>,
    replay_state_alarms: Counter<u64>,
    replay_starts: Counter<u64>,
    replay_read_back: Histogram<f64>,
    replay_state_room: Gauge<u64>,
    retries: Counter<u64>,
    dlq_requests: Counter<u64>,
    dlq_failures: Counter<u64>,
    dlq_spilled: Counter<u64>,
    formerly_trusted: Counter<u64>,
    held_back: Counter<u64>,
    breaker_state: Gauge<u64>,
    breaker_transitions: Counter<u64>,
    rate_limited: Counter<u64>,
    inflight: UpDownCounter<i64>,
    oldest_unfinished: Gauge<f64>,
    trust_keys: Gauge<u64>,
    trust_reload_failures: Counter<u64>,
    reload_failures: Counter<u64>,
    expiries: Arc<Expiries>,
    partitions: Arc<Partitions>,
    spooled: Counter<u64>,
    unspooled: Counter<u64>,
    spool: Arc<Spool>,

    counts: Counts,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    send_failed: AtomicU64,
    spooled: AtomicU64,
    bytes_sent: AtomicU64,
    received: AtomicU64,
    processed: AtomicU64,
    receive_failed: AtomicU64,
}

impl Metrics {
    /// Instruments of `meter`, which may belong to a provider of the caller's.
    pub fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, about: &'static str| counter(meter, name, about);
        let seconds = |name: &'static str, about: &'static str, buckets: &[f64]| {
            seconds(meter, name, about, buckets)
        };
        let partitions = Arc::new(Partitions::default());
        partitions.observe(meter);
        let expiries = Arc::new(Expiries::default());
        expiries.observe(meter);
        let spool = Arc::new(Spool::default());
        spool.observe(meter);
        let instruments = Instruments {
            sent: counter("kafka_messages_sent", "Messages acknowledged by Kafka"),
            failed: counter(
                "kafka_messages_failed",
                "Messages not sent, or not processed",
            ),
            bytes_sent: counter("kafka_bytes_sent", "Bytes of values acknowledged by Kafka"),
            send_latency: seconds(
                "kafka_send_latency",
                "From send to receipt",
                &NETWORK_SECONDS,
            ),
            received: counter("kafka_messages_received", "Messages fetched"),
            processed: counter(
                "kafka_messages_processed",
                "Messages whose handler was done with them",
            ),
            processing_latency: seconds(
                "kafka_processing_latency",
                "From dispatch to verdict",
                &NETWORK_SECONDS,
            ),

            messaging: Messaging::new(meter),

            sign_duration: seconds(
                "bridge_sign_duration",
                "Signing a message and its envelope",
                &COMPUTE_SECONDS,
            ),
            verify_duration: seconds(
                "bridge_verify_duration",
                "Verifying a record",
                &COMPUTE_SECONDS,
            ),
            rejected: counter("bridge_rejected", "Messages buried, by disposition"),
            skipped: counter("bridge_skipped", "Messages passed over, by reason"),
            replay_state_alarms: counter(
                "bridge_replay_state_alarms",
                "Times less was known of a partition's order than should be, by reason",
            ),
            replay_starts: counter(
                "bridge_replay_starts",
                "Partitions whose order was known again, by what from",
            ),
            replay_read_back: seconds(
                "bridge_replay_read_back_duration",
                "From an assignment's turn to what was accepted before being known",
                &NETWORK_SECONDS,
            ),
            replay_state_room: meter
                .u64_gauge("bridge_replay_state_room_characters")
                .with_description("What the replay state of a partition may take of a commit")
                .build(),
            retries: counter(
                "bridge_retries",
                "Batches sent again and handlers called again",
            ),
            dlq_requests: counter("bridge_dlq_requests", "Dead letters to be written"),
            dlq_failures: counter(
                "bridge_dlq_failures",
                "Attempts to write a dead letter that failed",
            ),
            dlq_spilled: counter(
                "bridge_dlq_spilled",
                "Dead letters the cluster refused for good, kept on disk",
            ),
            formerly_trusted: counter(
                "bridge_formerly_trusted",
                "Rejected messages that verify under a key trusted until lately",
            ),
            held_back: counter(
                "bridge_held_back_alarms",
                "Times a transaction stayed open for a minute and hid what comes after it",
            ),
            breaker_state: meter
                .u64_gauge("bridge_breaker_state")
                .with_description("0 closed, 1 half-open, 2 open")
                .build(),
            breaker_transitions: counter(
                "bridge_breaker_transitions",
                "Changes of the breaker's state",
            ),
            rate_limited: counter(
                "bridge_rate_limited",
                "Messages refused by their kind's rate limit",
            ),
            inflight: meter
                .i64_up_down_counter("bridge_inflight_messages")
                .with_description("Messages between fetch and verdict")
                .build(),
            oldest_unfinished: meter
                .f64_gauge("bridge_oldest_unfinished_seconds")
                .with_description("Age of the oldest message without a verdict")
                .build(),
            trust_keys: meter
                .u64_gauge("bridge_trust_keys")
                .with_description("Keys in the trust store")
                .build(),
            trust_reload_failures: counter(
                "bridge_trust_reload_failures",
                "Trust files that did not load",
            ),
            reload_failures: counter(
                "bridge_reload_failures",
                "Changed files that did not load: signing key, certificates, settings",
            ),
            expiries,
            partitions,
            spooled: counter("bridge_outbox_spooled", "Messages taken into the outbox"),
            unspooled: counter(
                "bridge_outbox_left",
                "Messages that left the outbox: sent, expired, dropped (to make room, or by hand), refused, or unreadable",
            ),
            spool,
            counts: Counts::default(),
        };
        Self {
            instruments: Arc::new(instruments),
            around: Surroundings::default(),
        }
    }

    /// The same numbers, for messages of this cluster: `server.address` and `server.port` then name the
    /// broker that leads a message's partition.
    #[must_use]
    pub fn in_cluster(&self, client: &Client) -> Self {
        Self {
            instruments: Arc::clone(&self.instruments),
            around: self.around.clone().in_cluster(client.clone()),
        }
    }

    /// The same numbers, for messages read by this consumer group: `messaging.consumer.group.name`
    /// then names it.
    #[must_use]
    pub fn in_group(&self, group: &str) -> Self {
        Self {
            instruments: Arc::clone(&self.instruments),
            around: self.around.clone().in_group(group),
        }
    }

    /// A message was acknowledged; `latency` from send to receipt.
    pub fn sent(
        &self,
        topic: &str,
        partition: i32,
        kind: Kind,
        value_bytes: usize,
        latency: Duration,
    ) {
        let bytes = u64::try_from(value_bytes).unwrap_or(u64::MAX);
        let topic_label = [topic_label(topic)];
        self.instruments
            .sent
            .add(1, &[topic_label[0].clone(), kind_label(kind)]);
        self.instruments.bytes_sent.add(bytes, &topic_label);
        self.instruments
            .send_latency
            .record(latency.as_secs_f64(), &topic_label);
        self.instruments
            .messaging
            .sent(&self.around, topic, Some(partition), None, latency);
        self.instruments.counts.sent.fetch_add(1, Ordering::Relaxed);
        self.instruments
            .counts
            .bytes_sent
            .fetch_add(bytes, Ordering::Relaxed);
    }

    /// A message was taken into the outbox.
    pub(crate) fn spooled(&self, topic: &str, kind: Kind) {
        let labels = [topic_label(topic), kind_label(kind)];
        self.instruments.spooled.add(1, &labels);
        self.instruments
            .counts
            .spooled
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A message left the outbox.
    pub(crate) fn unspooled(&self, topic: &str, kind: Kind, how: Left) {
        let how = KeyValue::new("how", how.as_str());
        let labels = [topic_label(topic), kind_label(kind), how];
        self.instruments.unspooled.add(1, &labels);
    }

    /// How many messages were taken into the outbox.
    pub(crate) fn spooled_count(&self) -> u64 {
        self.instruments.counts.spooled.load(Ordering::Relaxed)
    }

    /// The outbox's gauges.
    pub(crate) fn spool(&self) -> &Spool {
        &self.instruments.spool
    }

    /// A message was not acknowledged; `error_type` from the closed set of `SendError` names, `partition`
    /// where it got as far as having one.
    pub fn send_failed(
        &self,
        topic: &str,
        partition: Option<i32>,
        kind: Kind,
        error_type: &'static str,
        latency: Duration,
    ) {
        self.instruments.failed.add(
            1,
            &[
                topic_label(topic),
                kind_label(kind),
                KeyValue::new("side", "producer"),
            ],
        );
        self.instruments
            .messaging
            .sent(&self.around, topic, partition, Some(error_type), latency);
        self.instruments
            .counts
            .send_failed
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A message was fetched.
    pub fn received(&self, topic: &str, partition: i32, kind: Kind) {
        self.instruments
            .received
            .add(1, &[topic_label(topic), kind_label(kind)]);
        self.instruments
            .messaging
            .consumed(&self.around, topic, partition);
        self.instruments
            .counts
            .received
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A handler was done with a message; `latency` of the call that ended it, from dispatch to verdict.
    pub fn processed(&self, topic: &str, partition: i32, kind: Kind, latency: Duration) {
        self.instruments
            .processed
            .add(1, &[topic_label(topic), kind_label(kind)]);
        self.instruments
            .processing_latency
            .record(latency.as_secs_f64(), &[topic_label(topic)]);
        self.instruments
            .messaging
            .processed(&self.around, topic, partition, None, latency);
        self.instruments
            .counts
            .processed
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A handler's call ended and it is not done with the message; `error_type` from a closed set.
    pub(crate) fn process_failed(
        &self,
        topic: &str,
        partition: i32,
        error_type: &'static str,
        latency: Duration,
    ) {
        self.instruments.messaging.processed(
            &self.around,
            topic,
            partition,
            Some(error_type),
            latency,
        );
    }

    /// A message was rejected, given up, or refused by its handler.
    pub fn receive_failed(&self, topic: &str, kind: Kind) {
        self.instruments.failed.add(
            1,
            &[
                topic_label(topic),
                kind_label(kind),
                KeyValue::new("side", "consumer"),
            ],
        );
        self.instruments
            .counts
            .receive_failed
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A message and its envelope were signed.
    pub fn signed(&self, took: Duration) {
        self.instruments
            .sign_duration
            .record(took.as_secs_f64(), &[]);
    }

    /// A record was verified, whatever the answer.
    pub fn verified(&self, took: Duration) {
        self.instruments
            .verify_duration
            .record(took.as_secs_f64(), &[]);
    }

    /// A message was buried.
    pub fn rejected(&self, topic: &str, disposition: Disposition) {
        self.instruments.rejected.add(
            1,
            &[
                topic_label(topic),
                KeyValue::new("disposition", disposition.as_str()),
            ],
        );
    }

    /// A message was passed over without being buried.
    pub fn skipped(&self, topic: &str, reason: SkipReason) {
        self.instruments.skipped.add(
            1,
            &[topic_label(topic), KeyValue::new("reason", reason.as_str())],
        );
    }

    /// Less is known of the order of a partition's messages than should be.
    pub(crate) fn replay_state_alarm(&self, alarm: ReplayAlarm) {
        self.instruments
            .replay_state_alarms
            .add(1, &[KeyValue::new("reason", alarm.as_str())]);
    }

    /// What an assigned partition went on from.
    pub(crate) fn replay_started(&self, from: ReplayStart) {
        self.instruments
            .replay_starts
            .add(1, &[KeyValue::new("from", from.as_str())]);
    }

    /// How long it took until what was accepted before was known.
    pub(crate) fn replay_read_back(&self, took: Duration) {
        self.instruments
            .replay_read_back
            .record(took.as_secs_f64(), &[]);
    }

    /// What the replay state of a partition may take of a commit, in characters.
    pub(crate) fn replay_state_room(&self, characters: usize) {
        let characters = u64::try_from(characters).unwrap_or(u64::MAX);
        self.instruments.replay_state_room.record(characters, &[]);
    }

    /// A batch was sent again, or a handler called again.
    pub fn retried(&self) {
        self.instruments.retries.add(1, &[]);
    }

    /// A dead letter is to be written.
    pub fn dead_letter_requested(&self) {
        self.instruments.dlq_requests.add(1, &[]);
    }

    /// An attempt to write a dead letter failed.
    pub fn dead_letter_failed(&self) {
        self.instruments.dlq_failures.add(1, &[]);
    }

    /// A dead letter that the cluster refuses for good was kept on disk.
    pub fn dead_letter_spilled(&self) {
        self.instruments.dlq_spilled.add(1, &[]);
    }

    /// A rejected message verifies under a key that the trust store named `id` until lately.
    pub fn formerly_trusted(&self, topic: &str, id: &str) {
        let id = KeyValue::new("id", id.to_owned());
        self.instruments
            .formerly_trusted
            .add(1, &[topic_label(topic), id]);
    }

    /// A transaction has stayed open for a minute and hides what comes after it.
    pub(crate) fn held_back(&self, topic: &str) {
        self.instruments.held_back.add(1, &[topic_label(topic)]);
    }

    /// The breaker's state now: 0 closed, 1 half-open, 2 open.
    pub(crate) fn breaker(&self, state: u64) {
        self.instruments.breaker_state.record(state, &[]);
    }

    /// The breaker changed its state to `to`.
    pub(crate) fn breaker_transition(&self, to: &'static str) {
        self.instruments
            .breaker_transitions
            .add(1, &[KeyValue::new("to", to)]);
    }

    /// A message was refused by its kind's rate limit.
    pub(crate) fn rate_limited(&self, kind: Kind) {
        self.instruments.rate_limited.add(1, &[kind_label(kind)]);
    }

    /// `change` messages more (or, negative, fewer) between fetch and verdict.
    pub fn inflight(&self, change: i64) {
        self.instruments.inflight.add(change, &[]);
    }

    /// Age of the oldest message without a verdict; zero where there is none.
    pub fn oldest_unfinished(&self, age: Duration) {
        self.instruments
            .oldest_unfinished
            .record(age.as_secs_f64(), &[]);
    }

    /// Keys in the trust store now in force.
    pub fn trust_keys(&self, count: usize) {
        self.instruments
            .trust_keys
            .record(u64::try_from(count).unwrap_or(u64::MAX), &[]);
    }

    /// A trust file did not load; the last good store stays.
    pub fn trust_reload_failed(&self) {
        self.instruments.trust_reload_failures.add(1, &[]);
    }

    /// A file of this kind changed and did not load.
    pub(crate) fn reload_failed(&self, what: &'static str) {
        self.instruments
            .reload_failures
            .add(1, &[KeyValue::new("what", what)]);
    }

    /// The trusted keys that expire, by their names, with the time in seconds since 1970.
    pub(crate) fn key_expiries(&self, keys: impl Iterator<Item = (String, i64)>) {
        self.instruments.expiries.keys(keys.collect());
    }

    /// The certificate files, with the time they expire in seconds since 1970.
    pub(crate) fn certificate_expiries(&self, files: Vec<(String, i64)>) {
        self.instruments.expiries.certificates(files);
    }

    /// The gauges of one assigned partition; they vanish when the handle is dropped (revoked, lost).
    pub fn partition(&self, topic: &str, partition: i32) -> PartitionGauges {
        self.instruments.partitions.open(topic, partition)
    }

    /// The specification's counts of the way out.
    pub fn send_counts(&self) -> SendCounts {
        let counts = &self.instruments.counts;
        SendCounts {
            messages_sent: counts.sent.load(Ordering::Relaxed),
            messages_failed: counts.send_failed.load(Ordering::Relaxed),
            bytes_sent: counts.bytes_sent.load(Ordering::Relaxed),
        }
    }

    /// The specification's counts of the way in.
    pub fn receive_counts(&self) -> ReceiveCounts {
        let counts = &self.instruments.counts;
        ReceiveCounts {
            messages_received: counts.received.load(Ordering::Relaxed),
            messages_processed: counts.processed.load(Ordering::Relaxed),
            messages_failed: counts.receive_failed.load(Ordering::Relaxed),
        }
    }
}

fn topic_label(topic: &str) -> KeyValue {
    KeyValue::new("topic", topic.to_owned())
}

fn kind_label(kind: Kind) -> KeyValue {
    KeyValue::new("type", kind.as_str())
}

pub(super) fn counter(meter: &Meter, name: &'static str, about: &'static str) -> Counter<u64> {
    meter.u64_counter(name).with_description(about).build()
}

/// A histogram of durations in seconds.
pub(super) fn seconds(
    meter: &Meter,
    name: &'static str,
    about: &'static str,
    buckets: &[f64],
) -> Histogram<f64> {
    meter
        .f64_histogram(name)
        .with_unit("s")
        .with_description(about)
        .with_boundaries(buckets.to_vec())
        .build()
}
