//! The way out, over a broker with mutual TLS.

mod stage;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use cybermesh_bridge::{
    Receipt, SendError, SendOptions,
    clock::PLAUSIBLE_FROM_MS,
    outbound::receipt::{Invalid, NotSent, TooLarge, Unknown},
    telemetry::{Condition, SendCounts},
};
use cybermesh_contracts::{
    kind::Kind,
    message::{
        Action, CustodyEntry, EvidenceDraft, EvidenceRequestDraft, Message, PolicyDraft,
        PolicyUpdateDraft, ReputationDraft, RequestType, RuleType,
    },
    partition::partition_for_key,
};
use cybermesh_devbroker::{Api, ErrorCode, Fault, LogRecord, TopicLog};
use futures_util::future::join_all;
use stage::{SetClock, Stage, anomaly, anomaly_with, commit, nonce, now_ms, soon, verified};

const STOP: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_sent_anomaly_is_in_the_log_as_the_receipt_says_and_a_strict_receiver_believes_it() {
    let stage = Stage::set().await;
    let bridge = stage.sender(&[]).start().await.unwrap();
    let draft = anomaly();
    let key = cybermesh_contracts::message::Draft::from(draft.clone()).default_key();
    let options = SendOptions::new()
        .header("tenant", "a")
        .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let receipt = soon(bridge.publisher().send_with(draft, options))
        .await
        .unwrap();

    let log = stage.broker.log("ai.anomalies.v1");
    let [record] = log.records() else {
        panic!("{} records", log.len())
    };
    let partition = partition_for_key(&key, 3.try_into().unwrap());
    let expected = Receipt::Logged {
        topic: "ai.anomalies.v1".into(),
        partition,
        offset: Some(record.offset),
    };
    assert_eq!(receipt, expected);
    assert_eq!(record.partition, partition);
    assert!(now_ms().abs_diff(u64::try_from(record.timestamp_ms).unwrap()) < 60_000);
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(
        text.contains("bridge_sign_duration_seconds_count 1"),
        "{text}"
    );
    assert_eq!(record.key.as_deref(), Some(key.as_slice()));
    let names: Vec<_> = record
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "version",
            "type",
            "content-type",
            "traceparent",
            "cm-envelope",
            "tenant"
        ]
    );
    verified(Kind::Anomaly, record);

    let report = bridge.stop(STOP).await;
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn every_kind_can_be_sent_and_is_believed() {
    let stage = Stage::set().await;
    let bridge = stage.sender(&[]).start().await.unwrap();
    let publisher = bridge.publisher();
    let id = || uuid::Uuid::new_v4().to_string();
    let custody = CustodyEntry {
        ref_hash: [1; 32],
        actor_id: [2; 32],
        ts_s: 1,
        signature: [3; 64],
    };
    let evidence = EvidenceDraft::builder(id())
        .evidence_type("pcap")
        .proof("bytes")
        .custody(custody)
        .build()
        .unwrap();
    let policy = PolicyDraft::builder(id())
        .action("block")
        .rule("r1")
        .trace_id([1; 16])
        .event_time_ms(now_ms())
        .build()
        .unwrap();
    let update = PolicyUpdateDraft::builder(id(), Action::Add, RuleType::Blacklist, "{}")
        .build()
        .unwrap();
    let request = EvidenceRequestDraft::builder(id(), RequestType::RequestAdditional)
        .build()
        .unwrap();
    soon(publisher.send_anomaly(anomaly())).await.unwrap();
    soon(publisher.send_evidence(evidence)).await.unwrap();
    soon(publisher.send_policy(policy)).await.unwrap();
    soon(publisher.send(commit(7))).await.unwrap();
    soon(
        publisher.send(
            ReputationDraft::builder(id(), Kind::Anomaly, [9; 32])
                .score(-5)
                .build()
                .unwrap(),
        ),
    )
    .await
    .unwrap();
    soon(publisher.send(update)).await.unwrap();
    soon(publisher.send(request)).await.unwrap();
    for kind in Kind::ALL {
        let log = stage.broker.log(kind.default_topic());
        assert_eq!(log.len(), 1, "{kind}");
        verified(kind, &log.records()[0]);
    }
    bridge.stop(STOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_partition_is_in_nonce_order_whoever_sends() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[("KAFKA_LINGER_MS", "1"), ("KAFKA_BATCH_BYTES", "2048")])
        .start()
        .await
        .unwrap();
    let tasks = (0..8).map(|_| {
        let publisher = bridge.publisher().clone();
        tokio::spawn(async move {
            for _ in 0..40 {
                publisher.send(anomaly()).await.unwrap();
            }
        })
    });
    for task in soon(join_all(tasks)).await {
        task.unwrap();
    }
    let log = stage.broker.log("ai.anomalies.v1");
    assert_eq!(log.len(), 320);
    let mut last = BTreeMap::new();
    for record in log.records() {
        let nonce = nonce(record);
        let before = last.insert(record.partition, nonce);
        assert!(
            before.is_none_or(|before| before < nonce),
            "partition {} offset {}",
            record.partition,
            record.offset
        );
    }
    assert_eq!(bridge.metrics().send.messages_sent, 320);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn sends_begun_together_arrive_in_the_order_in_which_they_were_begun() {
    let stage = Stage::set().await;
    let bridge = stage.sender(&[]).start().await.unwrap();
    let publisher = bridge.publisher();
    let drafts: Vec<_> = (0..600).map(|_| anomaly()).collect();
    let begun: Vec<String> = drafts
        .iter()
        .map(|draft| {
            let key = cybermesh_contracts::message::Draft::from(draft.clone()).default_key();
            String::from_utf8(key).unwrap()
        })
        .collect();
    let sending = drafts
        .into_iter()
        .map(|draft| publisher.send_with(draft, SendOptions::new().key("one-lane")));
    let sent = soon(join_all(sending)).await;
    assert!(sent.iter().all(Result::is_ok));
    let log = stage.broker.log("ai.anomalies.v1");
    let arrived: Vec<String> = log
        .records()
        .iter()
        .map(|record| match verified(Kind::Anomaly, record).message() {
            Message::Anomaly(anomaly) => anomaly.id().to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(arrived, begun);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn sends_without_a_key_share_a_partition_until_a_batch_is_full_and_are_believed() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[("KAFKA_BATCH_BYTES", "6000")])
        .start()
        .await
        .unwrap();
    for _ in 0..24 {
        let unkeyed = SendOptions::new().without_key();
        soon(bridge.publisher().send_with(anomaly(), unkeyed))
            .await
            .unwrap();
    }
    let mut each = [0; 3];
    let log = stage.broker.log("ai.anomalies.v1");
    for record in log.records() {
        assert_eq!(record.key, None);
        verified(Kind::Anomaly, record);
        each[usize::try_from(record.partition).unwrap()] += 1;
    }
    // One after the other is filled: whoever spreads evenly would have eight everywhere and never two in a row.
    assert!(each.iter().all(|count| *count >= 4), "{each:?}");
    let partitions: Vec<i32> = in_send_order(&log)
        .iter()
        .map(|record| record.partition)
        .collect();
    let moves = partitions
        .windows(2)
        .filter(|pair| pair[0] != pair[1])
        .count();
    assert!((2..=8).contains(&moves), "{partitions:?}");
    bridge.stop(STOP).await;
}

/// By nonce, which is the order in which one publisher signed.
fn in_send_order(log: &TopicLog) -> Vec<&LogRecord> {
    let mut records: Vec<&LogRecord> = log.records().iter().collect();
    records.sort_by_key(|record| nonce(record));
    records
}

#[tokio::test]
async fn an_answer_that_was_lost_leads_to_one_record_and_a_receipt() {
    let stage = Stage::set().await;
    let lost = stage
        .broker
        .fault(Fault::drop_after_apply(Api::Produce).once());
    let bridge = stage.sender(&[]).start().await.unwrap();
    let receipt = soon(bridge.publisher().send(anomaly())).await.unwrap();
    assert!(receipt.is_logged());
    assert_eq!(lost.hits(), 1);
    assert_eq!(stage.broker.log("ai.anomalies.v1").len(), 1);
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(text.contains("bridge_retries_total 1"), "{text}");
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_topic_that_refuses_gets_its_draft_buried_and_the_caller_told() {
    let stage = Stage::set().await;
    stage.broker.fault(
        Fault::error(Api::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED).topic("ai.anomalies.v1"),
    );
    let bridge = stage.sender(&[]).start().await.unwrap();
    let refused = soon(bridge.publisher().send(anomaly())).await.unwrap_err();
    assert!(
        matches!(refused, SendError::NotSent(NotSent::GivenUp(_))),
        "{refused}"
    );
    let letters = stage.broker.log("ai.dlq");
    let [letter] = letters.records() else {
        panic!("{} dead letters", letters.len())
    };
    let header = |name: &str| {
        letter
            .headers
            .iter()
            .find(|(found, _)| found == name)
            .and_then(|(_, value)| value.clone())
    };
    assert_eq!(
        header("dlq.disposition").as_deref(),
        Some(b"produce-failed".as_slice())
    );
    assert!(
        letter
            .key
            .as_deref()
            .unwrap()
            .starts_with(b"produce/ai.anomalies.v1/")
    );
    assert_eq!(
        bridge.metrics().send,
        SendCounts {
            messages_sent: 0,
            messages_failed: 1,
            bytes_sent: 0
        }
    );
    bridge.stop(STOP).await;
}

/// What a sender is told when its topic answers `code`, and the bridge that sent.
async fn answered_with(stage: &Stage, code: ErrorCode) -> (SendError, cybermesh_bridge::Bridge) {
    let fault = Fault::error(Api::Produce, code).topic("ai.anomalies.v1");
    stage.broker.fault(fault);
    let bridge = stage
        .sender(&[("KAFKA_MAX_RETRIES", "1")])
        .start()
        .await
        .expect("a bridge");
    let refused = soon(bridge.publisher().send(anomaly()))
        .await
        .expect_err("a refusal");
    (refused, bridge)
}

#[tokio::test]
async fn what_its_topic_is_at_fault_for_is_buried_and_named_to_the_caller() {
    for (code, name) in [
        (ErrorCode::MESSAGE_TOO_LARGE, "too_large"),
        (ErrorCode::INVALID_RECORD, "invalid"),
        (ErrorCode::POLICY_VIOLATION, "not_sent"),
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "not_sent"),
        (ErrorCode::TOPIC_AUTHORIZATION_FAILED, "not_sent"),
    ] {
        let stage = Stage::set().await;
        let (refused, bridge) = answered_with(&stage, code).await;
        assert_eq!(refused.as_str(), name, "{refused}");
        let letters = stage.broker.log("ai.dlq");
        assert_eq!(letters.len(), 1, "{refused}");
        let attempts = letters.records()[0]
            .headers
            .iter()
            .find(|(name, _)| name == "dlq.attempts");
        let attempts = attempts.unwrap().1.as_deref().unwrap();
        assert_ne!(attempts, b"0", "{refused}");
        let text = bridge.exposition().unwrap().text().unwrap();
        assert!(text.contains("bridge_dlq_requests_total 1"), "{text}");
        bridge.stop(STOP).await;
    }
}

#[tokio::test]
async fn what_the_cluster_is_at_fault_for_is_not_buried() {
    let stage = Stage::set().await;
    let (refused, bridge) = answered_with(&stage, ErrorCode::NOT_ENOUGH_REPLICAS).await;
    assert!(!refused.may_be_written(), "{refused}");
    assert!(stage.broker.log("ai.dlq").is_empty());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_may_have_been_written_is_not_buried_though_its_topic_refuses_it_later() {
    let stage = Stage::set().await;
    stage
        .broker
        .fault(Fault::drop_after_apply(Api::Produce).once());
    let refuses = Fault::error(Api::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    stage.broker.fault(refuses.topic("ai.anomalies.v1").skip(1));
    let bridge = stage.sender(&[]).start().await.unwrap();
    let refused = soon(bridge.publisher().send(anomaly())).await.unwrap_err();
    assert!(refused.may_be_written(), "{refused}");
    assert_eq!(stage.broker.log("ai.anomalies.v1").len(), 1);
    assert!(stage.broker.log("ai.dlq").is_empty());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_refused_draft_that_cannot_be_buried_is_counted() {
    let stage = Stage::set().await;
    let closed = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    stage
        .broker
        .fault(Fault::error(Api::Produce, closed).topic("ai.dlq"));
    let (_, bridge) = answered_with(&stage, closed).await;
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(text.contains("bridge_dlq_failures_total 1"), "{text}");
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn closing_finishes_what_is_on_its_way() {
    let stage = Stage::set().await;
    let late = Fault::delay(Api::Produce, Duration::from_millis(300));
    stage.broker.fault(late);
    let bridge = stage.sender(&[]).start().await.unwrap();
    let sent = soon(bridge.publisher().enqueue(anomaly())).await.unwrap();
    let report = soon(bridge.stop(STOP)).await;
    assert_eq!(report.publisher.logged, 1, "{report:?}");
    assert!(soon(sent.receipt()).await.unwrap().is_logged());
}

#[tokio::test]
async fn flushing_sends_what_lingers_and_waits_for_it() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[("KAFKA_LINGER_MS", "30000")])
        .start()
        .await
        .unwrap();
    let sent = soon(bridge.publisher().enqueue(anomaly())).await.unwrap();
    soon(bridge.flush()).await;
    assert_eq!(stage.broker.log("ai.anomalies.v1").len(), 1);
    assert!(soon(sent.receipt()).await.unwrap().is_logged());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_message_the_broker_finds_too_large_says_so() {
    let stage = Stage::set().await;
    stage
        .broker
        .fault(Fault::error(Api::Produce, ErrorCode::MESSAGE_TOO_LARGE).topic("ai.anomalies.v1"));
    let bridge = stage.sender(&[]).start().await.unwrap();
    let refused = soon(bridge.publisher().send(anomaly())).await.unwrap_err();
    assert!(
        matches!(refused, SendError::TooLarge(TooLarge::Broker { .. })),
        "{refused}"
    );
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_can_never_be_sent_is_refused_before_anything_is_spent_on_it() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[])
        .sends([Kind::Anomaly])
        .start()
        .await
        .unwrap();
    let publisher = bridge.publisher();
    let reserved = publisher
        .send_with(anomaly(), SendOptions::new().header("cm-envelope", "x"))
        .await
        .unwrap_err();
    assert!(
        matches!(reserved, SendError::Invalid(Invalid::Header(_))),
        "{reserved}"
    );
    let untraced = publisher
        .send_with(anomaly(), SendOptions::new().traceparent("1-2-3"))
        .await
        .unwrap_err();
    assert_eq!(untraced, SendError::Invalid(Invalid::Traceparent));
    let other = publisher.send(commit(1)).await.unwrap_err();
    assert_eq!(other, SendError::Invalid(Invalid::Kind(Kind::Commit)));
    let large = publisher
        .send_with(
            anomaly(),
            SendOptions::new().header("big", vec![0; 1_000_000]),
        )
        .await
        .unwrap_err();
    assert!(
        matches!(
            large,
            SendError::TooLarge(TooLarge::Contract {
                limit: 1_000_000,
                ..
            })
        ),
        "{large}"
    );
    assert_eq!(stage.broker.requests(Api::Produce), 0);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_the_buffer_could_never_hold_is_refused_at_once() {
    let stage = Stage::set().await;
    let least = [("KAFKA_BUFFER_BYTES", "2000000")];
    let bridge = stage.sender(&least).start().await.unwrap();
    // Names and values of nothing, which take room on their way all the same.
    let many = (0..210_000).fold(SendOptions::new(), |options, _| options.header("", ""));
    let refused = bridge.publisher().send_with(anomaly(), many).await;
    let Err(SendError::TooLarge(TooLarge::Buffer { bytes, limit })) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        bytes > 2_000_000 && limit == 2_000_000,
        "{bytes} of {limit}"
    );
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn exactly_the_largest_record_goes_and_one_byte_more_does_not() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[("KAFKA_COMPRESSION", "none")])
        .start()
        .await
        .unwrap();
    let publisher = bridge.publisher();
    let padded = |bytes: usize| SendOptions::new().header("pad", vec![b'x'; bytes]);
    let draft = anomaly();
    let too_much = soon(publisher.send_with(draft.clone(), padded(999_600)))
        .await
        .unwrap_err();
    let SendError::TooLarge(TooLarge::Contract { bytes, limit }) = too_much else {
        panic!("{too_much}")
    };
    let largest = 999_600 - (bytes - limit);
    let refused = soon(publisher.send_with(draft.clone(), padded(largest + 1)))
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        SendError::TooLarge(TooLarge::Contract {
            bytes: limit + 1,
            limit
        })
    );
    soon(publisher.send_with(draft, padded(largest)))
        .await
        .unwrap();
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn beyond_the_rate_limit_a_caller_waits_up_to_its_deadline() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[("limits.anomaly", "2@1/s")])
        .start()
        .await
        .unwrap();
    let publisher = bridge.publisher();
    // All are begun before the first of them waits for anything but the limit.
    let impatient = SendOptions::new().deadline(Duration::from_millis(20));
    let (first, second, patient, impatient) = soon(async {
        tokio::join!(
            publisher.send(anomaly()),
            publisher.send(anomaly()),
            publisher.send(anomaly()),
            publisher.send_with(anomaly(), impatient),
        )
    })
    .await;
    assert!(
        first.is_ok() && second.is_ok() && patient.is_ok(),
        "{first:?} {second:?} {patient:?}"
    );
    let SendError::RateLimited { retry_after } = impatient.unwrap_err() else {
        panic!("not limited")
    };
    assert!(
        retry_after > Duration::from_secs(1) && retry_after <= Duration::from_secs(2),
        "{retry_after:?}"
    );
    soon(publisher.send(commit(1))).await.unwrap();
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(
        text.contains(r#"bridge_rate_limited_total{type="anomaly"} 1"#),
        "{text}"
    );
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_deadline_that_passes_on_the_way_leaves_the_outcome_unknown_and_it_is_counted_when_it_comes()
 {
    let stage = Stage::set().await;
    let held = stage
        .broker
        .fault(Fault::hold_after_apply(Api::Produce).once());
    let bridge = stage
        .sender(&[("KAFKA_REQUEST_TIMEOUT_MS", "15000")])
        .start()
        .await
        .unwrap();
    // Long enough to connect and send, also on a busy machine.
    let deadline = Duration::from_secs(2);
    let late = soon(
        bridge
            .publisher()
            .send_with(anomaly(), SendOptions::new().deadline(deadline)),
    )
    .await
    .unwrap_err();
    assert_eq!(late, SendError::Unknown(Unknown::DeadlinePassed(deadline)));
    assert!(late.may_be_written());
    assert_eq!(held.hits(), 1);
    assert_eq!(bridge.metrics().send, SendCounts::default());
    held.release();
    let report = bridge.stop(STOP).await;
    assert_eq!(
        (report.publisher.logged, report.publisher.failed),
        (1, 0),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_while_others_have_their_turn_leaves_nothing_in_the_log() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[("limits.anomaly", "off")])
        .start()
        .await
        .unwrap();
    let publisher = bridge.publisher();
    // What is waited for once is there: where its partitions are.
    soon(publisher.send(anomaly())).await.unwrap();
    let mut placed = 1;
    // Of the turns that a task has before others have theirs (128, as tokio counts), so many are left for it.
    for left in 0..16 {
        tokio::task::yield_now().await;
        for _ in left..128 {
            tokio::task::coop::consume_budget().await;
        }
        let mut enqueuing = std::pin::pin!(publisher.enqueue(anomaly()));
        let enqueued = poll_fn(|cx| Poll::Ready(enqueuing.as_mut().poll(cx))).await;
        // Where it has to wait for anything it goes away.
        placed += usize::from(matches!(enqueued, Poll::Ready(Ok(_))));
    }
    soon(bridge.flush()).await;
    assert_eq!(stage.broker.log("ai.anomalies.v1").len(), placed);
    assert!((2..17).contains(&placed), "{placed}");
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_back() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[("KAFKA_LINGER_MS", "50")])
        .start()
        .await
        .unwrap();
    let publisher = bridge.publisher().clone();
    let task = tokio::spawn(async move { publisher.send(anomaly()).await });
    soon(
        stage
            .broker
            .wait_until(|broker| broker.requests(Api::InitProducerId) > 0),
    )
    .await;
    task.abort();
    let _ = task.await;
    let later = soon(bridge.publisher().send(anomaly())).await.unwrap();
    assert!(later.is_logged());
    soon(bridge.flush()).await;
    let report = bridge.stop(STOP).await;
    assert!(report.is_clean(), "{report:?}");
    let log = stage.broker.log("ai.anomalies.v1");
    assert!(log.len() == 1 || log.len() == 2, "{}", log.len());
    for record in log.records() {
        verified(Kind::Anomaly, record);
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_opens_the_breaker_and_is_left_alone() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[
            ("KAFKA_REQUEST_TIMEOUT_MS", "300"),
            ("KAFKA_CONNECT_TIMEOUT_MS", "300"),
            ("KAFKA_MAX_RETRIES", "8"),
        ])
        .start()
        .await
        .unwrap();
    soon(bridge.publisher().send(anomaly())).await.unwrap();
    stage.broker.go_down().await;
    let first = bridge.publisher().clone();
    let first = tokio::spawn(async move {
        first
            .send_with(
                anomaly(),
                SendOptions::new().deadline(Duration::from_secs(8)),
            )
            .await
    });
    let unready = async {
        while !bridge
            .health()
            .conditions()
            .iter()
            .any(|(condition, _)| *condition == Condition::BreakerOpen)
        {
            tokio::task::yield_now().await;
        }
    };
    soon(unready).await;
    let refused = soon(bridge.publisher().send(anomaly())).await.unwrap_err();
    let SendError::BreakerOpen { retry_after } = refused else {
        panic!("{refused}")
    };
    assert!(retry_after <= Duration::from_secs(36));
    let text = bridge.exposition().unwrap().text().unwrap();
    assert!(text.contains("bridge_breaker_state 2"), "{text}");
    let report = bridge.stop(Duration::from_millis(200)).await;
    assert_eq!(report.publisher.abandoned, 1, "{report:?}");
    let given_up = soon(first).await.unwrap().unwrap_err();
    assert!(
        matches!(given_up, SendError::NotSent(_) | SendError::Unknown(_)),
        "{given_up}"
    );
}

#[tokio::test]
async fn nothing_is_signed_by_a_clock_that_cannot_be_right() {
    let stage = Stage::set().await;
    let clock = Arc::new(SetClock(AtomicU64::new(PLAUSIBLE_FROM_MS - 1)));
    let bridge = stage
        .sender(&[])
        .clock(Arc::<SetClock>::clone(&clock))
        .start()
        .await
        .unwrap();
    let refused = soon(bridge.publisher().send(anomaly())).await.unwrap_err();
    assert_eq!(
        refused,
        SendError::NotSent(NotSent::Clock {
            unix_ms: PLAUSIBLE_FROM_MS - 1
        })
    );
    assert!(
        bridge
            .health()
            .conditions()
            .iter()
            .any(|(condition, _)| *condition == Condition::Clock)
    );
    assert!(stage.broker.log("ai.anomalies.v1").is_empty());
    clock.0.store(now_ms(), Ordering::Relaxed);
    soon(bridge.publisher().send(anomaly())).await.unwrap();
    assert!(bridge.health().is_ready());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_restart_with_a_state_folder_goes_on_beyond_every_earlier_nonce() {
    let stage = Stage::set().await;
    let state = stage.files.path().join("state");
    let more = [("CYBERMESH_STATE_DIR", state.to_str().unwrap())];
    for _ in 0..3 {
        let bridge = stage.sender(&more).start().await.unwrap();
        for _ in 0..3 {
            soon(
                bridge
                    .publisher()
                    .send_with(anomaly_with("{}"), SendOptions::new().key("one-lane")),
            )
            .await
            .unwrap();
        }
        bridge.stop(STOP).await;
    }
    let log = stage.broker.log("ai.anomalies.v1");
    let nonces: Vec<_> = log.records().iter().map(nonce).collect();
    assert_eq!(nonces.len(), 9);
    assert!(nonces.is_sorted_by(|a, b| a < b), "{nonces:?}");
    assert!(
        nonces
            .iter()
            .all(|nonce| nonce.instance() == nonces[0].instance())
    );
}

#[tokio::test]
async fn an_endless_deadline_is_a_deadline_too() {
    let stage = Stage::set().await;
    let bridge = stage.sender(&[]).start().await.unwrap();
    let endless = SendOptions::new().deadline(Duration::MAX);
    assert!(
        soon(bridge.publisher().send_with(anomaly(), endless))
            .await
            .is_ok()
    );
    assert!(soon(bridge.stop(Duration::MAX)).await.is_clean());
}

#[tokio::test]
async fn a_closed_publisher_takes_nothing_and_says_so() {
    let stage = Stage::set().await;
    let bridge = stage.sender(&[]).start().await.unwrap();
    let publisher = bridge.publisher().clone();
    soon(publisher.send(anomaly())).await.unwrap();
    bridge.stop(STOP).await;
    assert_eq!(publisher.send(anomaly()).await, Err(SendError::Closed));
}

#[tokio::test]
async fn what_waits_for_the_rate_limit_is_told_at_once_that_the_publisher_closes() {
    let stage = Stage::set().await;
    let bridge = stage
        .sender(&[("limits.anomaly", "1@1/s")])
        .start()
        .await
        .unwrap();
    soon(bridge.publisher().send(anomaly())).await.unwrap();
    let publisher = bridge.publisher().clone();
    let many = (0..30).map(|_| publisher.send(anomaly()));
    let (waited, report) = soon(async { tokio::join!(join_all(many), bridge.stop(STOP)) }).await;
    assert!(
        waited.iter().all(|sent| *sent == Err(SendError::Closed)),
        "{waited:?}"
    );
    assert_eq!(report.publisher.abandoned, 0);
}

#[tokio::test]
async fn one_deadline_holds_for_the_wait_before_the_transport_and_the_delivery_together() {
    let stage = Stage::set().await;
    let settings = [
        ("KAFKA_DELIVERY_TIMEOUT_MS", "2000"),
        ("CYBERMESH_RATE_LIMIT_ANOMALY", "1@1/s"),
    ];
    let bridge = stage.sender(&settings).start().await.unwrap();
    soon(bridge.publisher().send(anomaly())).await.unwrap();
    let held = stage.broker.fault(Fault::hold(Api::Produce));
    let begun = std::time::Instant::now();
    // It waits a second for its token, and then for an answer.
    let error = soon(bridge.publisher().send(anomaly())).await.unwrap_err();
    let took = begun.elapsed();
    assert!(matches!(error, SendError::Unknown(_)), "{error}");
    assert!(took < Duration::from_millis(2_600), "{took:?}");
    held.release();
    assert!(bridge.stop(STOP).await.publisher.abandoned == 0);
}
