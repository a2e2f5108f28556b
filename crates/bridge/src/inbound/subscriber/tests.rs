//! That settings mean what they say: each reaches the part that goes by it.

use super::*;
use crate::settings::{OnExhausted, OnHang};
use cybermesh_transport::IsolationLevel;

fn settings(values: &[(&str, &str)]) -> Settings {
    let mut loader = Settings::loader()
        .set("KAFKA_BROKERS", "localhost:9092")
        .set("KAFKA_TLS_ENABLED", "false")
        .set("KAFKA_CONSUMER_GROUP", "readers");
    for (name, value) in values {
        loader = loader.set(*name, *value);
    }
    loader.load().unwrap()
}

fn consumer(values: &[(&str, &str)]) -> ConsumerConfig {
    consumer_config(&settings(values), ["t".into()].into_iter())
}

fn pipeline(values: &[(&str, &str)]) -> PipelineConfig {
    pipeline_config(&settings(values), HashMap::new(), Patience::default())
}

#[test]
fn a_member_joins_and_reads_as_the_settings_say() {
    let config = consumer(&[
        ("KAFKA_AUTO_OFFSET_RESET", "latest"),
        ("KAFKA_ISOLATION", "read_uncommitted"),
        ("KAFKA_ASSIGNOR", "roundrobin"),
        ("KAFKA_GROUP_INSTANCE_ID", "node-7"),
        ("KAFKA_RACK", "eu-west-1a"),
        ("KAFKA_SESSION_TIMEOUT_MS", "9000"),
        ("KAFKA_HEARTBEAT_INTERVAL_MS", "1100"),
        ("KAFKA_REBALANCE_TIMEOUT_MS", "77000"),
        ("KAFKA_MAX_INFLIGHT_BYTES", "8000000"),
    ]);
    assert_eq!(&*config.group, "readers");
    assert_eq!(config.start, StartPolicy::Latest);
    assert_eq!(config.fetch.isolation, IsolationLevel::ReadUncommitted);
    assert_eq!(config.assignors, [Assignor::RoundRobin]);
    assert_eq!(config.instance_id.as_deref(), Some("node-7"));
    assert_eq!(config.fetch.rack.as_deref(), Some("eu-west-1a"));
    assert_eq!(config.session_timeout, Duration::from_secs(9));
    assert_eq!(config.heartbeat_interval, Duration::from_millis(1_100));
    assert_eq!(config.rebalance_timeout, Duration::from_secs(77));
    assert_eq!(config.fetch.buffer_bytes, 2_000_000);
}

#[test]
fn where_the_settings_say_nothing_only_what_is_committed_is_read_and_nothing_is_skipped() {
    let config = consumer(&[]);
    assert_eq!(config.start, StartPolicy::Earliest);
    assert_eq!(config.fetch.isolation, IsolationLevel::ReadCommitted);
    assert_eq!(config.assignors, [Assignor::Range]);
    assert_eq!((config.instance_id, config.fetch.rack), (None, None));
    let none = consumer(&[("KAFKA_AUTO_OFFSET_RESET", "none")]);
    assert_eq!(none.start, StartPolicy::None);
}

#[test]
fn who_divides_the_group_and_how_is_as_the_settings_say() {
    let classic = consumer(&[]);
    assert_eq!(classic.protocol, GroupProtocol::Classic);
    let auto = consumer(&[
        ("KAFKA_GROUP_PROTOCOL", "auto"),
        ("KAFKA_ASSIGNOR", "cooperative-sticky,range"),
    ]);
    assert_eq!(auto.protocol, GroupProtocol::Auto);
    assert_eq!(
        auto.assignors,
        [Assignor::CooperativeSticky, Assignor::Range]
    );
    assert_eq!(auto.server_assignor, None);
    let by_itself = consumer(&[("KAFKA_GROUP_PROTOCOL", "consumer")]);
    assert_eq!(by_itself.protocol, GroupProtocol::Consumer);
    assert_eq!(by_itself.server_assignor, None);
    for name in ["uniform", "range"] {
        let asked = consumer(&[
            ("KAFKA_GROUP_PROTOCOL", "consumer"),
            ("KAFKA_ASSIGNOR", name),
        ]);
        assert_eq!(asked.server_assignor.as_deref(), Some(name));
    }
}

#[test]
fn messages_are_handled_and_given_up_as_the_settings_say() {
    let config = pipeline(&[
        ("KAFKA_MAX_INFLIGHT", "77"),
        ("KAFKA_MAX_INFLIGHT_BYTES", "8000000"),
        ("CYBERMESH_HANDLER_ATTEMPTS", "9"),
        ("CYBERMESH_HANDLER_TIMEOUT", "7s"),
        ("CYBERMESH_REVOKE_TIMEOUT", "8s"),
        ("CYBERMESH_ON_EXHAUSTED", "pause"),
        ("CYBERMESH_HANG_AFTER", "11s"),
        ("CYBERMESH_ON_HANG", "leave"),
        ("CYBERMESH_DLQ_RATE", "12@13/s"),
    ]);
    assert_eq!(config.max_inflight, 77);
    assert_eq!(config.max_inflight_bytes, 6_000_000);
    assert_eq!(config.retry.attempts.get(), 9);
    assert_eq!(config.retry.on_exhausted, OnExhausted::Pause);
    assert_eq!(config.handler_timeout, Duration::from_secs(7));
    assert_eq!(config.revoke_timeout, Duration::from_secs(8));
    assert_eq!(config.hang_after, Duration::from_secs(11));
    assert_eq!(config.on_hang, OnHang::Leave);
    let rate = BurialRate {
        per_second: 13,
        burst: 12,
    };
    assert_eq!(config.guard, GuardPolicy::On(rate));
    let unguarded = pipeline(&[("CYBERMESH_GUARD", "off")]);
    assert_eq!(unguarded.guard, GuardPolicy::Off);
}

#[test]
fn a_subscriber_of_nothing_is_refused() {
    let refused = topics(&settings(&[]), &[]);
    assert!(matches!(refused, Err(SubscriberError::NothingToReceive)));
    let topics = topics(&settings(&[]), &[Kind::Commit, Kind::Policy]).unwrap();
    assert_eq!(
        topics.get(Kind::Policy.default_topic()),
        Some(&Kind::Policy)
    );
    assert_eq!(topics.len(), 2);
}

/// The settings refuse it before; a program may still name a kind twice.
#[test]
fn a_topic_that_would_be_read_twice_is_refused_by_its_name() {
    let refused = topics(&settings(&[]), &[Kind::Commit, Kind::Commit]).unwrap_err();
    assert!(matches!(refused, SubscriberError::SharedTopic { .. }));
    assert!(refused.to_string().contains(Kind::Commit.default_topic()));
}
