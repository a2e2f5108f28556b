use std::time::Duration;

use cybermesh_contracts::{kind::Kind, rejection::Disposition};

use super::*;
use crate::telemetry::{ReceiveCounts, SendCounts, SkipReason};

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
            0,
            Kind::Anomaly,
            100,
            Duration::from_millis(20),
        );
        metrics.send_failed(
            "ai.anomalies.v1",
            None,
            Kind::Anomaly,
            "not_sent",
            Duration::from_millis(1),
        );
        metrics.received("control.commits.v1", 0, Kind::Commit);
        metrics.processed(
            "control.commits.v1",
            0,
            Kind::Commit,
            Duration::from_millis(3),
        );
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
    gauges.flood_guard_paused(true);
    let held = exposition.text().unwrap();
    assert!(
        held.contains(r#"bridge_watermark{partition="3",topic="t"} 41"#),
        "{held}"
    );
    assert!(
        held.contains(r#"bridge_lag{partition="3",topic="t"} 7"#),
        "{held}"
    );
    let paused = r#"bridge_flood_guard_paused{partition="3",topic="t"}"#;
    assert!(held.contains(&format!("{paused} 1")), "{held}");
    gauges.flood_guard_paused(false);
    let goes_on = exposition.text().unwrap();
    assert!(goes_on.contains(&format!("{paused} 0")), "{goes_on}");
    drop(gauges);
    let released = exposition.text().unwrap();
    assert!(!released.contains(r#"partition="3""#), "{released}");
}

#[test]
fn the_counts_agree_with_what_was_written() {
    let exposition = Exposition::new().unwrap();
    let metrics = exposition.metrics();
    metrics.sent("t", 0, Kind::Anomaly, 5, Duration::ZERO);
    metrics.sent("t", 0, Kind::Anomaly, 6, Duration::ZERO);
    metrics.send_failed("t", None, Kind::Anomaly, "unknown", Duration::ZERO);
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
