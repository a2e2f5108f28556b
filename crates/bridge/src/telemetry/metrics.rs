//! The numbers, made with the OpenTelemetry API and shown as Prometheus text.
//!
//! Labels come from settings and closed sets, never from message content. Instrument names leave
//! out what a Prometheus exporter appends (`_total`, the unit `_seconds`), so that what is scraped
//! carries the specification's names exactly, through our own exporter or through a caller's.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use cybermesh_contracts::{kind::Kind, rejection::Disposition};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter, MeterProvider, UpDownCounter},
};
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};

/// Buckets of durations that contain a network, as the messaging conventions advise; seconds.
const NETWORK_SECONDS: [f64; 14] = [
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
    /// Of a kind declared ignored.
    Ignored,
}

impl SkipReason {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::OtherGroup => "other-group",
            Self::Handler => "handler",
            Self::Ignored => "ignored",
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
pub struct Metrics(Arc<Instruments>);

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

    operation_duration: Histogram<f64>,
    process_duration: Histogram<f64>,
    client_sent: Counter<u64>,
    client_consumed: Counter<u64>,

    sign_duration: Histogram<f64>,
    verify_duration: Histogram<f64>,
    rejected: Counter<u64>,
    skipped: Counter<u64>,
    retries: Counter<u64>,
    dlq_requests: Counter<u64>,
    dlq_failures: Counter<u64>,
    breaker_state: Gauge<u64>,
    breaker_transitions: Counter<u64>,
    rate_limited: Counter<u64>,
    inflight: UpDownCounter<i64>,
    oldest_unfinished: Gauge<f64>,
    trust_keys: Gauge<u64>,
    trust_reload_failures: Counter<u64>,
    partitions: Arc<Partitions>,

    counts: Counts,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    send_failed: AtomicU64,
    bytes_sent: AtomicU64,
    received: AtomicU64,
    processed: AtomicU64,
    receive_failed: AtomicU64,
}

impl Metrics {
    /// Instruments of `meter`, which may belong to a provider of the caller's.
    pub fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, about: &'static str| {
            meter.u64_counter(name).with_description(about).build()
        };
        let seconds = |name: &'static str, about: &'static str, buckets: &[f64]| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(about)
                .with_boundaries(buckets.to_vec())
                .build()
        };
        let partitions = Arc::new(Partitions::default());
        partitions.observe(meter);
        Self(Arc::new(Instruments {
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

            operation_duration: seconds(
                "messaging.client.operation.duration",
                "Duration of a messaging operation",
                &NETWORK_SECONDS,
            ),
            process_duration: seconds(
                "messaging.process.duration",
                "Duration of processing a message",
                &NETWORK_SECONDS,
            ),
            client_sent: counter(
                "messaging.client.sent.messages",
                "Messages a producer tried to send",
            ),
            client_consumed: counter(
                "messaging.client.consumed.messages",
                "Messages delivered to the application",
            ),

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
            retries: counter(
                "bridge_retries",
                "Batches sent again and handlers called again",
            ),
            dlq_requests: counter("bridge_dlq_requests", "Dead letters to be written"),
            dlq_failures: counter(
                "bridge_dlq_failures",
                "Attempts to write a dead letter that failed",
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
            partitions,
            counts: Counts::default(),
        }))
    }

    /// A message was acknowledged; `latency` from send to receipt.
    pub fn sent(&self, topic: &str, kind: Kind, value_bytes: usize, latency: Duration) {
        let bytes = u64::try_from(value_bytes).unwrap_or(u64::MAX);
        let topic_label = [topic_label(topic)];
        self.0
            .sent
            .add(1, &[topic_label[0].clone(), kind_label(kind)]);
        self.0.bytes_sent.add(bytes, &topic_label);
        self.0
            .send_latency
            .record(latency.as_secs_f64(), &topic_label);
        let messaging = messaging(topic, "send", None);
        self.0
            .operation_duration
            .record(latency.as_secs_f64(), &messaging);
        self.0.client_sent.add(1, &messaging);
        self.0.counts.sent.fetch_add(1, Ordering::Relaxed);
        self.0.counts.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A message was not acknowledged; `error_type` from the closed set of `SendError` names.
    pub fn send_failed(
        &self,
        topic: &str,
        kind: Kind,
        error_type: &'static str,
        latency: Duration,
    ) {
        self.0.failed.add(
            1,
            &[
                topic_label(topic),
                kind_label(kind),
                KeyValue::new("side", "producer"),
            ],
        );
        let messaging = messaging(topic, "send", Some(error_type));
        self.0
            .operation_duration
            .record(latency.as_secs_f64(), &messaging);
        self.0.client_sent.add(1, &messaging);
        self.0.counts.send_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A message was fetched.
    pub fn received(&self, topic: &str, kind: Kind) {
        self.0
            .received
            .add(1, &[topic_label(topic), kind_label(kind)]);
        self.0
            .client_consumed
            .add(1, &messaging(topic, "poll", None));
        self.0.counts.received.fetch_add(1, Ordering::Relaxed);
    }

    /// A handler was done with a message; `latency` from its first dispatch to the verdict.
    pub fn processed(&self, topic: &str, kind: Kind, latency: Duration) {
        self.0
            .processed
            .add(1, &[topic_label(topic), kind_label(kind)]);
        self.0
            .processing_latency
            .record(latency.as_secs_f64(), &[topic_label(topic)]);
        self.0
            .process_duration
            .record(latency.as_secs_f64(), &messaging(topic, "process", None));
        self.0.counts.processed.fetch_add(1, Ordering::Relaxed);
    }

    /// A message was rejected, given up, or refused by its handler.
    pub fn receive_failed(&self, topic: &str, kind: Kind) {
        self.0.failed.add(
            1,
            &[
                topic_label(topic),
                kind_label(kind),
                KeyValue::new("side", "consumer"),
            ],
        );
        self.0.counts.receive_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A message and its envelope were signed.
    pub fn signed(&self, took: Duration) {
        self.0.sign_duration.record(took.as_secs_f64(), &[]);
    }

    /// A record was verified, whatever the answer.
    pub fn verified(&self, took: Duration) {
        self.0.verify_duration.record(took.as_secs_f64(), &[]);
    }

    /// A message was buried.
    pub fn rejected(&self, topic: &str, disposition: Disposition) {
        self.0.rejected.add(
            1,
            &[
                topic_label(topic),
                KeyValue::new("disposition", disposition.as_str()),
            ],
        );
    }

    /// A message was passed over without being buried.
    pub fn skipped(&self, topic: &str, reason: SkipReason) {
        self.0.skipped.add(
            1,
            &[topic_label(topic), KeyValue::new("reason", reason.as_str())],
        );
    }

    /// A batch was sent again, or a handler called again.
    pub fn retried(&self) {
        self.0.retries.add(1, &[]);
    }

    /// A dead letter is to be written.
    pub fn dead_letter_requested(&self) {
        self.0.dlq_requests.add(1, &[]);
    }

    /// An attempt to write a dead letter failed.
    pub fn dead_letter_failed(&self) {
        self.0.dlq_failures.add(1, &[]);
    }

    /// The breaker's state now: 0 closed, 1 half-open, 2 open.
    pub(crate) fn breaker(&self, state: u64) {
        self.0.breaker_state.record(state, &[]);
    }

    /// The breaker changed its state to `to`.
    pub(crate) fn breaker_transition(&self, to: &'static str) {
        self.0
            .breaker_transitions
            .add(1, &[KeyValue::new("to", to)]);
    }

    /// A message was refused by its kind's rate limit.
    pub(crate) fn rate_limited(&self, kind: Kind) {
        self.0.rate_limited.add(1, &[kind_label(kind)]);
    }

    /// `change` messages more (or, negative, fewer) between fetch and verdict.
    pub fn inflight(&self, change: i64) {
        self.0.inflight.add(change, &[]);
    }

    /// Age of the oldest message without a verdict; zero where there is none.
    pub fn oldest_unfinished(&self, age: Duration) {
        self.0.oldest_unfinished.record(age.as_secs_f64(), &[]);
    }

    /// Keys in the trust store now in force.
    pub fn trust_keys(&self, count: usize) {
        self.0
            .trust_keys
            .record(u64::try_from(count).unwrap_or(u64::MAX), &[]);
    }

    /// A trust file did not load; the last good store stays.
    pub fn trust_reload_failed(&self) {
        self.0.trust_reload_failures.add(1, &[]);
    }

    /// The gauges of one assigned partition; they vanish when the handle is dropped (revoked, lost).
    pub fn partition(&self, topic: &str, partition: i32) -> PartitionGauges {
        self.0.partitions.open(topic, partition)
    }

    /// The specification's counts of the way out.
    pub fn send_counts(&self) -> SendCounts {
        let counts = &self.0.counts;
        SendCounts {
            messages_sent: counts.sent.load(Ordering::Relaxed),
            messages_failed: counts.send_failed.load(Ordering::Relaxed),
            bytes_sent: counts.bytes_sent.load(Ordering::Relaxed),
        }
    }

    /// The specification's counts of the way in.
    pub fn receive_counts(&self) -> ReceiveCounts {
        let counts = &self.0.counts;
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

/// Attributes of the OpenTelemetry messaging conventions (1.44).
fn messaging(
    topic: &str,
    operation: &'static str,
    error_type: Option<&'static str>,
) -> Vec<KeyValue> {
    let kind = match operation {
        "poll" => "receive",
        other => other,
    };
    let mut attributes = vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.destination.name", topic.to_owned()),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", kind),
    ];
    attributes.extend(error_type.map(|error| KeyValue::new("error.type", error)));
    attributes
}

/// The handles of one partition; more than one while it is handed over.
type Handles = Vec<Arc<PartitionNumbers>>;

/// Watermark and lag of the partitions held at this moment, read when somebody looks.
#[derive(Default)]
struct Partitions {
    held: Mutex<BTreeMap<(String, i32), Handles>>,
}

#[derive(Default)]
struct PartitionNumbers {
    watermark: AtomicI64,
    lag: AtomicI64,
}

impl Partitions {
    fn observe(self: &Arc<Self>, meter: &Meter) {
        let observed =
            |name: &'static str, about: &'static str, read: fn(&PartitionNumbers) -> i64| {
                let partitions = Arc::clone(self);
                meter
                    .i64_observable_gauge(name)
                    .with_description(about)
                    .with_callback(move |observer| {
                        let held = partitions
                            .held
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner);
                        for ((topic, partition), numbers) in held.iter() {
                            let Some(numbers) = numbers.last() else {
                                continue;
                            };
                            let labels = [
                                topic_label(topic),
                                KeyValue::new("partition", i64::from(*partition)),
                            ];
                            observer.observe(read(numbers), &labels);
                        }
                    })
                    .build();
            };
        observed(
            "bridge_watermark",
            "Offset before which everything is done",
            |numbers| numbers.watermark.load(Ordering::Relaxed),
        );
        observed(
            "bridge_lag",
            "Records between the watermark and the end of the log",
            |numbers| numbers.lag.load(Ordering::Relaxed),
        );
    }

    fn open(self: &Arc<Self>, topic: &str, partition: i32) -> PartitionGauges {
        let numbers = Arc::new(PartitionNumbers::default());
        let key = (topic.to_owned(), partition);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.entry(key.clone())
            .or_default()
            .push(Arc::clone(&numbers));
        PartitionGauges {
            partitions: Arc::clone(self),
            key,
            numbers,
        }
    }
}

/// Watermark and lag of one assigned partition; dropping it takes them off the page.
pub struct PartitionGauges {
    partitions: Arc<Partitions>,
    key: (String, i32),
    numbers: Arc<PartitionNumbers>,
}

impl PartitionGauges {
    /// The offset before which everything is done.
    pub fn watermark(&self, offset: i64) {
        self.numbers.watermark.store(offset, Ordering::Relaxed);
    }

    /// Records between the watermark and the end of the log.
    pub fn lag(&self, records: i64) {
        self.numbers.lag.store(records, Ordering::Relaxed);
    }
}

impl Drop for PartitionGauges {
    fn drop(&mut self) {
        let mut held = self
            .partitions
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = held.get_mut(&self.key) {
            handles.retain(|numbers| !Arc::ptr_eq(numbers, &self.numbers));
            if handles.is_empty() {
                held.remove(&self.key);
            }
        }
    }
}

impl fmt::Debug for PartitionGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionGauges")
            .field("topic", &self.key.0)
            .field("partition", &self.key.1)
            .finish_non_exhaustive()
    }
}

/// Metrics as Prometheus text, from a provider of their own: nothing process-wide is installed.
#[derive(Clone)]
pub struct Exposition {
    registry: prometheus::Registry,
    provider: SdkMeterProvider,
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

/// The metrics text could not be made.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be exported: {0}")]
pub struct ExpositionError(String);

impl Exposition {
    /// A provider with a Prometheus exporter.
    ///
    /// # Errors
    /// Where the exporter refuses to register.
    pub fn new() -> Result<Self, ExpositionError> {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| ExpositionError(error.to_string()))?;
        let provider = SdkMeterProvider::builder()
            .with_resource(Resource::builder_empty().build())
            .with_reader(exporter)
            .build();
        Ok(Self { registry, provider })
    }

    /// Metrics that are shown here.
    pub fn metrics(&self) -> Metrics {
        Metrics::new(&self.provider.meter("cybermesh-bridge"))
    }

    /// All metrics in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// Where a family cannot be encoded.
    pub fn text(&self) -> Result<String, ExpositionError> {
        let mut text = String::new();
        prometheus::TextEncoder::new()
            .encode_utf8(&self.registry.gather(), &mut text)
            .map_err(|error| ExpositionError(error.to_string()))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl FnOnce(&Metrics)) -> String {
        let exposition = Exposition::new().unwrap();
        let metrics = exposition.metrics();
        write(&metrics);
        exposition.text().unwrap()
    }

    #[test]
    fn the_seven_metrics_of_the_specification_carry_its_names_and_labels_exactly() {
        let text = shown(|metrics| {
            metrics.sent(
                "ai.anomalies.v1",
                Kind::Anomaly,
                100,
                Duration::from_millis(20),
            );
            metrics.send_failed(
                "ai.anomalies.v1",
                Kind::Anomaly,
                "not_sent",
                Duration::from_millis(1),
            );
            metrics.received("control.commits.v1", Kind::Commit);
            metrics.processed("control.commits.v1", Kind::Commit, Duration::from_millis(3));
            metrics.receive_failed("control.commits.v1", Kind::Commit);
        });
        for line in [
            r#"kafka_messages_sent_total{topic="ai.anomalies.v1",type="anomaly"} 1"#,
            r#"kafka_messages_failed_total{side="producer",topic="ai.anomalies.v1",type="anomaly"} 1"#,
            r#"kafka_messages_failed_total{side="consumer",topic="control.commits.v1",type="commit"} 1"#,
            r#"kafka_bytes_sent_total{topic="ai.anomalies.v1"} 100"#,
            r#"kafka_send_latency_seconds_bucket{topic="ai.anomalies.v1",le="0.025"} 1"#,
            r#"kafka_send_latency_seconds_bucket{topic="ai.anomalies.v1",le="0.01"} 0"#,
            r#"kafka_send_latency_seconds_count{topic="ai.anomalies.v1"} 1"#,
            r#"kafka_messages_received_total{topic="control.commits.v1",type="commit"} 1"#,
            r#"kafka_messages_processed_total{topic="control.commits.v1",type="commit"} 1"#,
            r#"kafka_processing_latency_seconds_count{topic="control.commits.v1"} 1"#,
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "missing {line} in\n{text}"
            );
        }
        assert!(!text.contains("_total_total"), "{text}");
        assert!(!text.contains("seconds_seconds"), "{text}");
    }

    #[test]
    fn our_own_metrics_carry_the_names_of_the_design() {
        let text = shown(|metrics| {
            metrics.signed(Duration::from_micros(30));
            metrics.verified(Duration::from_micros(60));
            metrics.rejected("t", Disposition::Decode);
            metrics.skipped("t", SkipReason::OtherGroup);
            metrics.retried();
            metrics.dead_letter_requested();
            metrics.dead_letter_failed();
            metrics.breaker(2);
            metrics.breaker_transition("open");
            metrics.rate_limited(Kind::Policy);
            metrics.inflight(3);
            metrics.inflight(-1);
            metrics.oldest_unfinished(Duration::from_millis(1500));
            metrics.trust_keys(4);
            metrics.trust_reload_failed();
        });
        for line in [
            r#"bridge_sign_duration_seconds_bucket{le="0.00005"} 1"#,
            "bridge_verify_duration_seconds_count 1",
            r#"bridge_rejected_total{disposition="decode",topic="t"} 1"#,
            r#"bridge_skipped_total{reason="other-group",topic="t"} 1"#,
            "bridge_retries_total 1",
            "bridge_dlq_requests_total 1",
            "bridge_dlq_failures_total 1",
            "bridge_breaker_state 2",
            r#"bridge_breaker_transitions_total{to="open"} 1"#,
            r#"bridge_rate_limited_total{type="policy"} 1"#,
            "bridge_inflight_messages 2",
            "bridge_oldest_unfinished_seconds 1.5",
            "bridge_trust_keys 4",
            "bridge_trust_reload_failures_total 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "missing {line} in\n{text}"
            );
        }
    }

    #[test]
    fn a_partition_that_was_taken_away_is_no_longer_shown() {
        let exposition = Exposition::new().unwrap();
        let metrics = exposition.metrics();
        let gauges = metrics.partition("t", 3);
        gauges.watermark(41);
        gauges.lag(7);
        let held = exposition.text().unwrap();
        assert!(
            held.contains(r#"bridge_watermark{partition="3",topic="t"} 41"#),
            "{held}"
        );
        assert!(
            held.contains(r#"bridge_lag{partition="3",topic="t"} 7"#),
            "{held}"
        );
        drop(gauges);
        let released = exposition.text().unwrap();
        assert!(!released.contains("bridge_watermark{"), "{released}");
    }

    #[test]
    fn the_counts_agree_with_what_was_written() {
        let exposition = Exposition::new().unwrap();
        let metrics = exposition.metrics();
        metrics.sent("t", Kind::Anomaly, 5, Duration::ZERO);
        metrics.sent("t", Kind::Anomaly, 6, Duration::ZERO);
        metrics.send_failed("t", Kind::Anomaly, "unknown", Duration::ZERO);
        assert_eq!(
            metrics.send_counts(),
            SendCounts {
                messages_sent: 2,
                messages_failed: 1,
                bytes_sent: 11
            }
        );
        assert_eq!(metrics.receive_counts(), ReceiveCounts::default());
    }
}
