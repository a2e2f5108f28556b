//! The start and the end of a bridge as a whole, over a broker with mutual TLS.
#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod stage;

use std::{fs, sync::Arc, time::Duration};

use cybermesh_bridge::{
    Bridge,
    handler::{Context, Handlers, Verdict},
    telemetry::Condition,
};
use cybermesh_contracts::{
    headers,
    kind::Kind,
    message::Anomaly,
    sign::Signer,
    trust::{Right, TrustStore, TrustedKey},
    verify::Verified,
};
use stage::{Stage, anomaly, signer, soon, trust};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc},
};

const STOP: Duration = Duration::from_secs(10);

/// Handlers of a backend that say when they begin and wait for a permit.
fn waiting(begun: mpsc::UnboundedSender<()>, gate: Arc<Semaphore>) -> Handlers {
    Handlers::new()
        .register(move |_: Verified<Anomaly>, _: Context| {
            let (begun, gate) = (begun.clone(), Arc::clone(&gate));
            async move {
                // A test that is over listens no more.
                let _ = begun.send(());
                let _permit = gate.acquire().await;
                Ok(Verdict::Done)
            }
        })
        .ignore(Kind::Evidence)
        .ignore(Kind::Policy)
}

async fn backend(stage: &Stage, store: TrustStore, more: &[(&str, &str)]) -> Bridge {
    let mut settings = vec![("role", "backend")];
    settings.extend_from_slice(more);
    let (begun, _) = mpsc::unbounded_channel();
    Bridge::builder(stage.settings(&settings))
        .trust(store)
        .handlers(waiting(begun, Arc::new(Semaphore::new(1))))
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_stop_is_seen_while_it_waits_for_handlers_and_what_it_did_is_in_the_trail() {
    let stage = Stage::set().await;
    let trail = stage.files.path().join("audit.ndjson");
    let settings = [
        ("role", "backend"),
        ("audit.file", trail.to_str().unwrap()),
        ("ops.listen", "127.0.0.1:0"),
    ];
    let (begun, mut begins) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let bridge = Bridge::builder(stage.settings(&settings))
        .trust(trust())
        .handlers(waiting(begun, Arc::clone(&gate)))
        .start()
        .await
        .unwrap();
    let sender = stage.sender(&[]).start().await.unwrap();
    soon(sender.publisher().send(anomaly())).await.unwrap();
    soon(begins.recv()).await.unwrap();
    let (health, ops) = (bridge.health().clone(), bridge.ops_address().unwrap());

    let stopping = tokio::spawn(bridge.stop(STOP));
    soon(async {
        let is_stopping = |held: &(Condition, String)| held.0 == Condition::Stopping;
        while !health.conditions().iter().any(is_stopping) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    TcpStream::connect(ops).await.unwrap();
    gate.add_permits(1);
    let report = soon(stopping).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(TcpStream::connect(ops).await.is_err());
    let trail = fs::read_to_string(trail).unwrap();
    assert!(trail.contains("stopping"), "{trail}");
    sender.stop(STOP).await;
}

#[tokio::test]
async fn dead_letters_are_signed_by_a_key_that_our_own_trust_store_lets_and_by_no_other() {
    let own = |rights: Vec<Right>| TrustedKey::new("own", signer().public_key(), rights).unwrap();
    let all = || Kind::ALL.map(Right::Kind).to_vec();
    let letting = || [all(), vec![Right::DeadLetter]].concat();
    // Somebody has to be trusted, or nothing is received.
    let other = || {
        let key = cybermesh_contracts::sign::Ed25519Signer::from_seed(&[3; 32]).public_key();
        TrustedKey::new("other", key, all()).unwrap()
    };
    for (key, signed) in [
        (own(letting()), true),
        (own(all()), false),
        (own(letting()).revoked(), false),
    ] {
        let stage = Stage::set().await;
        let store = TrustStore::of([key, other()]).unwrap();
        let bridge = backend(&stage, store, &[]).await;
        let client = bridge.client().clone();
        let producer = cybermesh_transport::Producer::new(client, Default::default());
        let record = cybermesh_transport::Record {
            key: None,
            value: Some(bytes::Bytes::from_static(b"\xff")),
            headers: Vec::new(),
            timestamp_ms: 0,
        };
        let topic = Kind::Anomaly.default_topic();
        let reservation = producer
            .reserve(topic, 0, record.size_bound())
            .await
            .unwrap();
        reservation.append(record).await.unwrap();
        soon(
            stage
                .broker
                .wait_until(|broker| broker.log("ai.dlq").len() == 1),
        )
        .await;
        let log = stage.broker.log("ai.dlq");
        let mut headers = log.records()[0].headers.iter();
        let has = headers.any(|(name, _)| name == headers::DEAD_LETTER);
        assert_eq!(has, signed);
        bridge.stop(STOP).await;
    }
}
