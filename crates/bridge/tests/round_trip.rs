//! A node and a backend, each a bridge of its own, over a broker with mutual TLS.

mod stage;

use std::time::Duration;

use cybermesh_bridge::{
    Bridge,
    bridge::StartError,
    handler::{Context, HandlerError, Handlers, Verdict},
};
use cybermesh_contracts::{
    kind::Kind,
    message::{Anomaly, Commit},
    sign::{Ed25519Signer, Signer},
    trust::{Right, TrustStore, TrustedKey},
    verify::Verified,
};
use stage::{Stage, anomaly, commit, private, soon, trust};
use tokio::sync::mpsc;

const STOP: Duration = Duration::from_secs(10);

/// Handlers of a backend that pass anomalies on and do not care for the rest.
fn passing_on(seen: mpsc::UnboundedSender<String>) -> Handlers {
    Handlers::new()
        .register(move |message: Verified<Anomaly>, _: Context| {
            let seen = seen.clone();
            async move {
                seen.send(message.message().id().to_owned())
                    .map_err(|_| HandlerError::permanent("nobody listens"))?;
                Ok(Verdict::Done)
            }
        })
        .ignore(Kind::Evidence)
        .ignore(Kind::Policy)
}

#[tokio::test]
async fn a_nodes_anomaly_reaches_the_backends_handler_and_the_backends_commit_the_nodes() {
    let stage = Stage::set().await;
    let (seen_by_backend, mut anomalies) = mpsc::unbounded_channel();
    let (seen_by_node, mut commits) = mpsc::unbounded_channel();
    let backend = Bridge::builder(stage.settings(&[("role", "backend")]))
        .trust(trust())
        .handlers(passing_on(seen_by_backend))
        .start()
        .await
        .unwrap();
    let node = Bridge::builder(stage.settings(&[("role", "node"), ("node.id", "n-1")]))
        .trust(trust())
        .handle(move |message: Verified<Commit>, _: Context| {
            let seen = seen_by_node.clone();
            async move {
                seen.send(message.message().height())
                    .map_err(|_| HandlerError::permanent("nobody listens"))?;
                Ok(Verdict::Done)
            }
        })
        .ignore(Kind::Reputation)
        .ignore(Kind::PolicyUpdate)
        .ignore(Kind::EvidenceRequest)
        .start()
        .await
        .unwrap();

    let draft = anomaly();
    let id = cybermesh_contracts::message::Draft::from(draft.clone()).default_key();
    soon(node.publisher().send_anomaly(draft)).await.unwrap();
    soon(backend.publisher().send(commit(12))).await.unwrap();
    assert_eq!(soon(anomalies.recv()).await.unwrap().into_bytes(), id);
    assert_eq!(soon(commits.recv()).await, Some(12));

    for bridge in [node, backend] {
        let report = bridge.stop(STOP).await;
        assert!(report.is_clean(), "{report:?}");
    }
    let committed: i64 = (0..3)
        .filter_map(|partition| {
            stage
                .broker
                .committed("cybermesh-backend", "ai.anomalies.v1", partition)
        })
        .map(|committed| committed.offset)
        .sum();
    assert_eq!(committed, 1);
}

#[tokio::test]
async fn a_kind_without_a_handler_is_refused_before_anything_is_connected() {
    let stage = Stage::set().await;
    let settings = stage.settings(&[("role", "backend")]);
    let refused = Bridge::builder(settings)
        .trust(trust())
        .start()
        .await
        .unwrap_err();
    assert!(matches!(refused, StartError::Handlers(_)), "{refused}");
    assert!(stage.broker.connections().is_empty());
}

#[tokio::test]
async fn all_files_that_are_wrong_are_named_at_once() {
    let stage = Stage::set().await;
    let trust_file = stage.files.path().join("trust.toml");
    private(&trust_file, "version = 1\n[[key]]\n");
    let settings = stage.settings(&[
        ("KAFKA_CA_CERT", "/nowhere/ca.pem"),
        ("CYBERMESH_SIGNING_KEY", "/nowhere/key.pem"),
        ("CYBERMESH_TRUST", trust_file.to_str().unwrap()),
    ]);
    let refused = Bridge::builder(settings)
        .handlers(ignoring_all())
        .start()
        .await
        .unwrap_err();
    let StartError::Settings(refused) = refused else {
        panic!("{refused}")
    };
    let named: Vec<_> = refused
        .problems()
        .iter()
        .map(|problem| problem.name.as_str())
        .collect();
    assert_eq!(
        named,
        ["KAFKA_CA_CERT", "CYBERMESH_SIGNING_KEY", "CYBERMESH_TRUST"]
    );
    assert!(
        refused
            .to_string()
            .contains("\"/nowhere/ca.pem\": no such file; give the path of the PEM bundle"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_trust_store_without_a_key_for_a_kind_received_is_refused() {
    let stage = Stage::set().await;
    let key = Ed25519Signer::from_seed(&[7; 32]).public_key();
    let store =
        TrustStore::of([TrustedKey::new("k", key, [Right::Kind(Kind::Commit)]).unwrap()]).unwrap();
    let refused = Bridge::builder(stage.settings(&[]))
        .trust(store)
        .handlers(ignoring_all())
        .start()
        .await
        .unwrap_err();
    assert!(matches!(&refused, StartError::Settings(_)), "{refused:?}");
    assert!(
        refused
            .to_string()
            .contains("no key that may sign reputation"),
        "{refused}"
    );
}

fn ignoring_all() -> Handlers {
    Kind::CONTROL
        .into_iter()
        .fold(Handlers::new(), Handlers::ignore)
}
