//! Files exchanged under a running bridge, over a broker with mutual TLS.
#![expect(clippy::unwrap_used, reason = "what fails here fails its test")]

mod stage;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cybermesh_bridge::{Bridge, SendError, SendOptions, telemetry::Condition};
use cybermesh_contracts::{
    kind::Kind,
    sign::{Ed25519Signer, Signer},
};
use cybermesh_devbroker::{DevBroker, ServerTls, pki::Authority};
use stage::{Stage, anomaly, private, soon};

const STOP: Duration = Duration::from_secs(10);
const CERTIFICATES: Condition = Condition::ReloadRefused("certificates");
const SETTINGS: Condition = Condition::ReloadRefused("settings");
const SIGNING_KEY: Condition = Condition::ReloadRefused("signing-key");

/// Puts a file in the place of another, whole, as a rotation does.
fn put(path: &Path, content: &str) {
    let fresh = path.with_extension("fresh");
    private(&fresh, content);
    fs::rename(fresh, path).unwrap();
}

/// Sends without a pause until told to end; gives back how many, each of which was acknowledged.
fn under_load(bridge: &Bridge) -> (Arc<AtomicBool>, tokio::task::JoinHandle<usize>) {
    let (publisher, end) = (bridge.publisher().clone(), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&end);
    let load = tokio::spawn(async move {
        let mut sent = 0;
        while !told.load(Ordering::Relaxed) {
            publisher.send(anomaly()).await.unwrap();
            sent += 1;
        }
        sent
    });
    (end, load)
}

async fn holds(bridge: &Bridge, condition: &Condition) -> String {
    soon(async {
        loop {
            let conditions = bridge.health().conditions();
            if let Some((_, detail)) = conditions.iter().find(|(held, _)| held == condition) {
                return detail.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn is_ready(bridge: &Bridge) {
    soon(async {
        while !bridge.health().is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_signing_key_exchanged_under_load_signs_what_comes_next_and_no_send_fails() {
    let stage = Stage::set().await;
    let limits = [("limits.anomaly", "off")];
    let bridge = stage.sender(&limits).start().await.unwrap();
    let (end, load) = under_load(&bridge);
    let next = Ed25519Signer::from_seed(&[9; 32]);
    let file = stage.files.path().join("signing.pem");
    put(&file, &next.to_pkcs8_pem().unwrap());
    bridge.reloader().reload();

    let key = next.public_key();
    let signed_anew = |value: &[u8]| value.windows(32).any(|part| part == key.as_bytes());
    let topic = Kind::Anomaly.default_topic();
    soon(stage.broker.wait_until(|broker| {
        let values = broker.log(topic).values();
        values.iter().any(|value| signed_anew(value))
    }))
    .await;
    end.store(true, Ordering::Relaxed);
    let sent = load.await.unwrap();
    assert_eq!(stage.broker.log(topic).len(), sent);
    bridge.publisher().send(anomaly()).await.unwrap();
    let log = stage.broker.log(topic);
    let anew = log
        .values()
        .iter()
        .filter(|value| signed_anew(value))
        .count();
    assert!(anew >= 2, "{anew} of {}", log.len());
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_signing_key_that_others_may_read_leaves_the_old_one_in_force_and_is_said() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::set().await;
    let bridge = stage.sender(&[]).start().await.unwrap();
    let file = stage.files.path().join("signing.pem");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    put(&file, "no key");
    bridge.reloader().reload();
    let detail = holds(&bridge, &SIGNING_KEY).await;
    assert!(detail.contains("signing.pem"), "{detail}");
    bridge.publisher().send(anomaly()).await.unwrap();
    let metrics = bridge.exposition().unwrap().text().unwrap();
    assert!(
        metrics.contains(r#"bridge_reload_failures_total{what="signing-key"} 1"#),
        "{metrics}"
    );
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_certificate_exchanged_under_load_is_shown_by_new_connections_and_no_send_fails() {
    let authority = Authority::new("one CA").unwrap();
    let server = authority.server().dns("localhost").ip([127, 0, 0, 1]);
    let tls = ServerTls::mutual(&server.issue().unwrap(), authority.ca_pem()).unwrap();
    let stage = Stage {
        broker: broker(tls).await,
        files: tempfile::tempdir().unwrap(),
    };
    let file = |name: &str| stage.files.path().join(name);
    let first = authority.client("node-1").issue().unwrap();
    private(&file("ca.pem"), authority.ca_pem());
    private(&file("cert.pem"), first.chain_pem());
    private(&file("key.pem"), first.key_pem());
    private(
        &file("signing.pem"),
        &stage::signer().to_pkcs8_pem().unwrap(),
    );
    let limits = [("limits.anomaly", "off")];
    let bridge = stage.sender(&limits).start().await.unwrap();
    let (end, load) = under_load(&bridge);

    let second = authority.client("node-1").issue().unwrap();
    put(&file("cert.pem"), second.chain_pem());
    bridge.reloader().reload();
    // A certificate without its key: what was in force stays.
    holds(&bridge, &CERTIFICATES).await;
    put(&file("key.pem"), second.key_pem());
    bridge.reloader().reload();
    is_ready(&bridge).await;
    let shown = || {
        stage
            .broker
            .connections()
            .into_iter()
            .map(|seen| seen.certificate)
    };
    assert!(shown().all(|shown| shown.as_ref() == Some(first.certificate())));

    stage.broker.disconnect_clients().await;
    soon(stage.broker.wait_until(|broker| {
        let connections = broker.connections();
        !connections.is_empty()
            && connections
                .iter()
                .all(|seen| seen.certificate.as_ref() == Some(second.certificate()))
    }))
    .await;
    end.store(true, Ordering::Relaxed);
    assert!(load.await.unwrap() > 0);
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn authorities_are_exchanged_for_connections_made_from_then_on() {
    let stage = Stage::set().await;
    let trail = stage.files.path().join("audit.ndjson");
    let settings = [("audit.file", trail.to_str().unwrap())];
    let bridge = stage.sender(&settings).start().await.unwrap();
    let ca = stage.files.path().join("ca.pem");
    let ours = fs::read_to_string(&ca).unwrap();
    put(&ca, Authority::new("another CA").unwrap().ca_pem());
    bridge.reloader().reload();
    soon(async {
        // Written within a second: the audit trail tells when it is done.
        while !fs::read_to_string(&trail)
            .unwrap()
            .contains(r#""what":"certificates""#)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let metrics = bridge.exposition().unwrap().text().unwrap();
    assert!(
        metrics.contains("bridge_certificate_expiry_seconds{file="),
        "{metrics}"
    );
    stage.broker.disconnect_clients().await;
    let hurry = || SendOptions::new().deadline(Duration::from_millis(400));
    let refused = bridge.publisher().send_with(anomaly(), hurry()).await;
    assert!(refused.is_err(), "{refused:?}");
    put(&ca, &ours);
    bridge.reloader().reload();
    soon(async {
        while bridge
            .publisher()
            .send_with(anomaly(), hurry())
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn limits_of_the_settings_file_apply_while_running_and_a_bad_file_leaves_them() {
    let stage = Stage::set().await;
    let file = stage.files.path().join("bridge.toml");
    let limited = "[limits]\nanomaly = \"1@1/s\"\n";
    private(&file, limited);
    let settings = stage.settings_from(&file).load().unwrap();
    let bridge = Bridge::builder(settings)
        .receives([])
        .start()
        .await
        .unwrap();
    let at_once = || SendOptions::new().deadline(Duration::from_millis(300));
    let publisher = bridge.publisher().clone();
    publisher.send(anomaly()).await.unwrap();
    let send = || publisher.send_with(anomaly(), at_once());
    assert!(matches!(send().await, Err(SendError::RateLimited { .. })));

    put(&file, "[limits]\nanomaly = \"soon\"\n");
    bridge.reloader().reload();
    let detail = holds(&bridge, &SETTINGS).await;
    assert!(detail.contains("CYBERMESH_RATE_LIMIT_ANOMALY"), "{detail}");
    put(&file, "[limits]\nanomaly = \"off\"\n[send]\nlinger = 9\n");
    bridge.reloader().reload();
    is_ready(&bridge).await;
    for _ in 0..20 {
        send().await.unwrap();
    }
    bridge.stop(STOP).await;
}

async fn broker(tls: ServerTls) -> DevBroker {
    let mut broker = DevBroker::builder().tls(tls).topic("ai.dlq", 1);
    for kind in Kind::ALL {
        broker = broker.topic(kind.default_topic(), 3);
    }
    broker.start().await.unwrap()
}
