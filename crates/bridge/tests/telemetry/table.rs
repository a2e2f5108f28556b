//! The design's table of metrics: what is to be there, of which kind, with which labels exactly.

use crate::exposition::Scrape;

/// A metric of the table.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    /// Each set of labels its lines may carry; one of them at least has to be seen, and the first always.
    pub(crate) labels: &'static [&'static [&'static str]],
}

const fn counter(name: &'static str, labels: &'static [&'static [&'static str]]) -> Metric {
    Metric {
        name,
        kind: "counter",
        labels,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static [&'static str]]) -> Metric {
    Metric {
        name,
        kind: "gauge",
        labels,
    }
}

const fn histogram(name: &'static str, labels: &'static [&'static [&'static str]]) -> Metric {
    Metric {
        name,
        kind: "histogram",
        labels,
    }
}

const NONE: &[&[&str]] = &[&[]];
const TOPIC: &[&[&str]] = &[&["topic"]];
const TOPIC_TYPE: &[&[&str]] = &[&["topic", "type"]];
const TOPIC_PARTITION: &[&[&str]] = &[&["partition", "topic"]];

/// What a send that was acknowledged carries; one that failed after it got a partition; one that got none.
const SENDING: &[&[&str]] = &[
    &[
        "messaging_destination_name",
        "messaging_operation_name",
        "messaging_operation_type",
        "messaging_system",
        "server_address",
        "server_port",
    ],
    &[
        "error_type",
        "messaging_destination_name",
        "messaging_operation_name",
        "messaging_operation_type",
        "messaging_system",
        "server_address",
        "server_port",
    ],
    &[
        "error_type",
        "messaging_destination_name",
        "messaging_operation_name",
        "messaging_operation_type",
        "messaging_system",
    ],
];
/// What a message that was received or processed carries; one whose handler was not done with it.
const RECEIVING: &[&[&str]] = &[
    &[
        "messaging_consumer_group_name",
        "messaging_destination_name",
        "messaging_operation_name",
        "messaging_operation_type",
        "messaging_system",
        "server_address",
        "server_port",
    ],
    &[
        "error_type",
        "messaging_consumer_group_name",
        "messaging_destination_name",
        "messaging_operation_name",
        "messaging_operation_type",
        "messaging_system",
        "server_address",
        "server_port",
    ],
];

/// Left out, the only exception: `bridge_outbox_entries`, `bridge_outbox_bytes` and
/// `bridge_outbox_oldest_seconds`, since there is no outbox yet.
pub(crate) const TABLE: &[Metric] = &[
    counter("kafka_messages_sent_total", TOPIC_TYPE),
    counter("kafka_messages_failed_total", &[&["side", "topic", "type"]]),
    counter("kafka_bytes_sent_total", TOPIC),
    histogram("kafka_send_latency_seconds", TOPIC),
    counter("kafka_messages_received_total", TOPIC_TYPE),
    counter("kafka_messages_processed_total", TOPIC_TYPE),
    histogram("kafka_processing_latency_seconds", TOPIC),
    histogram("messaging_client_operation_duration_seconds", SENDING),
    histogram("messaging_process_duration_seconds", RECEIVING),
    counter("messaging_client_sent_messages_total", SENDING),
    counter("messaging_client_consumed_messages_total", RECEIVING),
    histogram("bridge_sign_duration_seconds", NONE),
    histogram("bridge_verify_duration_seconds", NONE),
    counter("bridge_rejected_total", &[&["disposition", "topic"]]),
    counter("bridge_skipped_total", &[&["reason", "topic"]]),
    counter("bridge_replay_state_alarms_total", &[&["reason"]]),
    counter("bridge_retries_total", NONE),
    counter("bridge_dlq_requests_total", NONE),
    counter("bridge_dlq_failures_total", NONE),
    gauge("bridge_breaker_state", NONE),
    counter("bridge_breaker_transitions_total", &[&["to"]]),
    counter("bridge_rate_limited_total", &[&["type"]]),
    gauge("bridge_inflight_messages", NONE),
    gauge("bridge_oldest_unfinished_seconds", NONE),
    gauge("bridge_watermark", TOPIC_PARTITION),
    gauge("bridge_lag", TOPIC_PARTITION),
    gauge("bridge_trust_keys", NONE),
    counter("bridge_trust_reload_failures_total", NONE),
    gauge("bridge_key_expiry_seconds", &[&["id"]]),
    gauge("bridge_certificate_expiry_seconds", &[&["file"]]),
    gauge("bridge_flood_guard_paused", TOPIC_PARTITION),
];

/// What is shown beyond the table, where it happens.
pub(crate) const BEYOND: &[Metric] = &[
    counter("bridge_dlq_spilled_total", NONE),
    counter("bridge_replay_starts_total", &[&["from"]]),
    histogram("bridge_replay_read_back_duration_seconds", NONE),
    gauge("bridge_replay_state_room_characters", NONE),
    counter("bridge_formerly_trusted_total", &[&["id", "topic"]]),
    counter("bridge_held_back_alarms_total", TOPIC),
    counter("bridge_reload_failures_total", &[&["what"]]),
    counter("bridge_otlp_failures_total", NONE),
];

/// 5 ms to 10 s, as the messaging conventions advise.
const NETWORK: [&str; 15] = [
    "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5",
    "7.5", "10", "+Inf",
];
/// From 10 µs.
const COMPUTING: [&str; 13] = [
    "0.00001", "0.000025", "0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
    "0.01", "0.05", "0.1", "+Inf",
];

/// Everything in which a scrape differs from the table.
pub(crate) fn differences(scrape: &Scrape) -> Vec<String> {
    let mut found = Vec::new();
    for metric in TABLE {
        let first: Vec<String> = metric.labels[0].iter().map(ToString::to_string).collect();
        if !scrape.label_sets(metric.name).contains(&first) {
            found.push(format!("{}: no line with {first:?}", metric.name));
        }
    }
    for (family, kind) in &scrape.kinds {
        let known = TABLE.iter().chain(BEYOND);
        let Some(metric) = known.into_iter().find(|metric| metric.name == family) else {
            found.push(format!("{family}: in no table"));
            continue;
        };
        if kind != metric.kind {
            found.push(format!("{family}: a {kind}, not a {}", metric.kind));
        }
        for labels in scrape.label_sets(family) {
            if !metric.labels.iter().any(|allowed| *allowed == labels) {
                found.push(format!("{family}: labels {labels:?}"));
            }
        }
        if kind == "histogram" {
            let is_computing = family.contains("sign") || family.contains("verify");
            let bounds: &[&str] = if is_computing { &COMPUTING } else { &NETWORK };
            let shown = scrape.bounds(family);
            if !shown.iter().map(String::as_str).eq({
                let mut bounds = bounds.to_vec();
                bounds.sort_unstable();
                bounds
            }) {
                found.push(format!("{family}: buckets {shown:?}"));
            }
        }
    }
    found
}
