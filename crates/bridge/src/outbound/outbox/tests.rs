//! A publisher whose outbox is on a disk that fails.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use cybermesh_contracts::{
    headers::Header,
    kind::Kind,
    message::{AnomalyDraft, Draft},
    sign::Ed25519Signer,
};
use cybermesh_devbroker::DevBroker;

use super::{
    Body, DiskFault, Entry, NotKept,
    database::{Change, Database},
    simulated::{Disk, Fault},
};
use crate::{
    Bridge, Receipt, SendError, SendOptions, Settings,
    outbound::{append::partition_of, breaker::BreakerConfig, receipt::NotSent},
    telemetry::Condition,
};

const PATIENCE: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);
const LANE: &str = "one-lane";

/// Whether it is the fault that was meant.
type IsIt = fn(&DiskFault) -> bool;

struct Bench {
    broker: DevBroker,
    disk: Disk,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn set() -> Self {
        let broker = DevBroker::builder()
            .topic("ai.anomalies.v1", 2)
            .topic("ai.dlq", 1);
        Self {
            broker: broker.start().await.expect("a broker"),
            disk: Disk::default(),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    async fn start(&self) -> Bridge {
        let settings = Settings::loader()
            .set("KAFKA_BROKERS", self.broker.bootstrap())
            .set("KAFKA_TLS_ENABLED", "false")
            .set("KAFKA_CONNECT_TIMEOUT_MS", "1000")
            .set("KAFKA_REQUEST_TIMEOUT_MS", "1000")
            .set("KAFKA_RETRY_BACKOFF_MS", "20")
            .set("KAFKA_MAX_RETRIES", "0")
            .set("KAFKA_DELIVERY_TIMEOUT_MS", "3000")
            .set(
                "CYBERMESH_STATE_DIR",
                self.folder.path().to_str().expect("a path"),
            )
            .load()
            .expect("settings");
        let mut breaker = BreakerConfig::default();
        breaker.run = 2;
        breaker.open_for = Duration::from_millis(300);
        breaker.open_for_most = breaker.open_for;
        Bridge::builder(settings)
            .sends([Kind::Anomaly])
            .receives([])
            .signer(Arc::new(Ed25519Signer::from_seed(&[7; 32])))
            .breaker(breaker)
            .seed(1)
            .storage(Box::new(self.disk.clone()))
            .start()
            .await
            .expect("a bridge")
    }
}

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .expect("it did not happen in time")
}

async fn send(bridge: &Bridge) -> Result<Receipt, SendError> {
    send_in(bridge, LANE).await
}

async fn send_in(bridge: &Bridge, key: &str) -> Result<Receipt, SendError> {
    let options = SendOptions::new().key(key);
    soon(bridge.publisher().send_with(draft(), options)).await
}

fn draft() -> Draft {
    AnomalyDraft::builder(uuid::Uuid::new_v4().to_string())
        .anomaly_type("scan")
        .source("edge")
        .severity(3)
        .confidence(0.5)
        .model_version("m")
        .payload("{}")
        .build()
        .expect("a draft")
        .into()
}

/// What an earlier process kept of a message, with a header that says which it was.
fn kept(number: u8, partition: i32, key: &str) -> Entry {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time");
    Entry {
        kind: Kind::Anomaly,
        topic: Arc::from("ai.anomalies.v1"),
        partition: Some(partition),
        key: Some(key.as_bytes().to_vec()),
        headers: vec![Header {
            name: "number".to_owned(),
            value: Some(vec![number]),
        }],
        traceparent: None,
        accepted_at_ms: u64::try_from(now.as_millis()).expect("a time"),
        body: Body::Draft(draft().to_proto()),
    }
}

impl Bench {
    /// Leaves these as an earlier process would, at the places from 1 on.
    fn leave(&self, entries: &[Entry]) {
        let (mut database, _) = Database::open(&mut self.disk.clone()).expect("a file");
        let change = |(place, entry): (u64, &Entry)| {
            let bytes = entry.encode().seal(place);
            Change::Put { place, bytes }
        };
        let changes: Vec<Change> = (1..).zip(entries).map(change).collect();
        database.apply(changes.iter()).expect("written");
    }

    /// The numbers in a partition's log, in order.
    fn numbers(&self, partition: i32) -> Vec<u8> {
        let log = self.broker.log("ai.anomalies.v1");
        let number = |headers: &[(String, Option<bytes::Bytes>)]| {
            let (_, value) = headers.iter().find(|(name, _)| name == "number")?;
            value.as_ref()?.first().copied()
        };
        log.records()
            .iter()
            .filter(|record| record.partition == partition)
            .filter_map(|record| number(&record.headers))
            .collect()
    }
}

#[tokio::test]
async fn while_the_disk_refuses_nothing_is_told_as_kept_and_it_works_again_when_it_takes_more() {
    let is_full = |fault: &DiskFault| matches!(fault, DiskFault::Full(_));
    let is_read_only = |fault: &DiskFault| matches!(fault, DiskFault::ReadOnly(_));
    let faults: [(Fault, IsIt); 2] = [(Fault::Full, is_full), (Fault::ReadOnly, is_read_only)];
    for (fault, is_it) in faults {
        let bench = Bench::set().await;
        let bridge = bench.start().await;
        bench.broker.go_down().await;
        bench.disk.fail(Some(fault));
        let mut kept = 0;
        let refused = loop {
            match send(&bridge).await {
                Ok(Receipt::Spooled { .. }) => kept += 1,
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        let SendError::NotSent(NotSent::NotKept {
            refusal: NotKept::Disk(said),
            ..
        }) = &refused
        else {
            panic!("{refused}")
        };
        assert!(is_it(said), "{said}");
        let conditions = bridge.health().conditions();
        assert!(
            conditions
                .iter()
                .any(|(held, _)| *held == Condition::Outbox),
            "{conditions:?}"
        );
        bench.disk.fail(None);
        soon(async { while send(&bridge).await.is_err() {} }).await;
        kept += 1;
        bench.broker.come_up().await.expect("a broker");
        let mut status = bridge.publisher().outbox().expect("an outbox");
        soon(status.wait_for(|status| status.entries == 0))
            .await
            .expect("it lives");
        assert_eq!(bench.broker.log("ai.anomalies.v1").len(), kept, "{fault:?}");
        bridge.stop(STOP).await;
    }
}

#[tokio::test]
async fn what_cannot_be_signed_on_disk_is_not_sent_and_goes_when_it_can() {
    let bench = Bench::set().await;
    let bridge = bench.start().await;
    bench.broker.go_down().await;
    send(&bridge).await.expect("spooled");
    bench.disk.fail(Some(Fault::Sync));
    let failures = {
        let mut status = bridge.publisher().outbox().expect("an outbox");
        let before = status.borrow().failures;
        bench.broker.come_up().await.expect("a broker");
        soon(status.wait_for(|status| status.failures > before))
            .await
            .expect("it lives")
            .failures
    };
    assert!(failures > 0);
    assert_eq!(bench.broker.log("ai.anomalies.v1").len(), 0);
    bench.disk.fail(None);
    let mut status = bridge.publisher().outbox().expect("an outbox");
    soon(status.wait_for(|status| status.entries == 0))
        .await
        .expect("it lives");
    assert_eq!(bench.broker.log("ai.anomalies.v1").len(), 1);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_is_signed_while_something_before_it_becomes_doubtful_waits_for_that() {
    let bench = Bench::set().await;
    let bridge = bench.start().await;
    bench.broker.go_down().await;
    send(&bridge).await.expect("spooled");
    bench.disk.fail(Some(Fault::ReadOnly));
    let mut status = bridge.publisher().outbox().expect("an outbox");
    let before = status.borrow().failures;
    bench.broker.come_up().await.expect("a broker");
    soon(status.wait_for(|status| status.failures > before))
        .await
        .expect("it lives");

    // On its way, in the same partition, while the one before it is being signed.
    let lost = bench
        .broker
        .fault(cybermesh_devbroker::Fault::hold(cybermesh_devbroker::Api::Produce).once());
    let partition = |key: &str| partition_of(key.as_bytes(), 2);
    let other = (0..)
        .map(|number| format!("other-{number}"))
        .find(|key| partition(key) == partition(LANE))
        .expect("a key");
    let doubtful = async { send_in(&bridge, &other).await };
    let meanwhile = async {
        soon(async {
            while lost.hits() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            bench.disk.stall(Some(b"cm-spooled-at"));
            bench.disk.fail(None);
            while !bench.disk.has_stalled() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Given up, with an outcome that nobody knows, before the disk goes on.
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            bench.disk.stall(None);
        })
        .await;
    };
    let (kept, ()) = tokio::join!(doubtful, meanwhile);
    assert!(matches!(kept, Ok(Receipt::Spooled { .. })), "{kept:?}");
    soon(status.wait_for(|status| status.entries == 0))
        .await
        .expect("it lives");
    let log = bench.broker.log("ai.anomalies.v1");
    let keys: Vec<_> = log
        .records()
        .iter()
        .map(|record| record.key.clone().expect("a key"))
        .collect();
    assert_eq!(keys, [other.as_bytes(), LANE.as_bytes()]);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_was_kept_with_fewer_partitions_is_not_passed_by_what_came_after_they_became_more() {
    let bench = Bench::set().await;
    let of = |key: &str, partitions| partition_of(key.as_bytes(), partitions);
    let key_of = |now: i32| {
        let mut keys = (0..).map(|number| format!("key-{number}"));
        let found = keys.find(|key| of(key, 2) == 0 && of(key, 4) == now);
        found.expect("a key")
    };
    let (stays, moves) = (key_of(0), key_of(2));
    // More than go together stand before the first of its lane.
    let mut entries = vec![kept(0, 0, &stays); 600];
    entries.extend([kept(1, 0, &moves), kept(2, 2, &moves), kept(3, 0, &moves)]);
    bench.leave(&entries);
    assert!(bench.broker.grow_topic("ai.anomalies.v1", 4));
    let bridge = bench.start().await;
    let mut status = bridge.publisher().outbox().expect("an outbox");
    soon(status.wait_for(|status| status.entries == 0))
        .await
        .expect("it lives");
    assert_eq!(bench.numbers(2), [1, 2, 3]);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_is_signed_for_a_partition_that_is_gone_waits_and_its_key_goes_by_way_of_the_outbox() {
    let bench = Bench::set().await;
    let gone = Entry {
        body: Body::Signed {
            signing: 1,
            timestamp_ms: 1,
            headers: Vec::new(),
            value: draft().to_proto(),
        },
        ..kept(1, 7, LANE)
    };
    bench.leave(&[gone]);
    let bridge = bench.start().await;
    let mut status = bridge.publisher().outbox().expect("an outbox");
    let sent = send(&bridge).await;
    assert!(matches!(sent, Ok(Receipt::Spooled { .. })), "{sent:?}");
    // Tried more than once, and not given up for that.
    soon(status.wait_for(|status| status.failures > 2 && status.entries == 1))
        .await
        .expect("it lives");
    assert_eq!(bench.broker.log("ai.anomalies.v1").len(), 1);
    assert_eq!(status.borrow().first, Some(1));
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn what_grows_too_old_is_counted_as_unknown_where_it_may_be_in_the_log() {
    let bench = Bench::set().await;
    let draft_of_long_ago = Entry {
        accepted_at_ms: 1,
        ..kept(1, 0, LANE)
    };
    let in_doubt = Entry {
        body: Body::Signed {
            signing: 2,
            timestamp_ms: 1,
            headers: Vec::new(),
            value: draft().to_proto(),
        },
        ..draft_of_long_ago.clone()
    };
    bench.leave(&[draft_of_long_ago, in_doubt]);
    let bridge = bench.start().await;
    let mut status = bridge.publisher().outbox().expect("an outbox");
    soon(status.wait_for(|status| status.entries == 0))
        .await
        .expect("it lives");
    let text = bridge.exposition().expect("metrics").text().expect("text");
    for how in ["expired", "unknown"] {
        let counted = text.lines().find(|line| {
            line.starts_with("bridge_outbox_left_total{") && line.contains(&format!("\"{how}\""))
        });
        assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{text}");
    }
    bridge.stop(STOP).await;
}
