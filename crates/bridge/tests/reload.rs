//! Signing key and limits exchanged under a running bridge, over a broker with mutual TLS.

mod stage;

use std::{fs, sync::atomic::Ordering, time::Duration};

use cybermesh_bridge::{Bridge, SendError, SendOptions, telemetry::Condition};
use cybermesh_contracts::{
    kind::Kind,
    sign::{Ed25519Signer, Signer},
};
use stage::{Stage, anomaly, holds, is_ready, private, put, soon, under_load};

const STOP: Duration = Duration::from_secs(10);
const SETTINGS: Condition = Condition::ReloadRefused("settings");
const SIGNING_KEY: Condition = Condition::ReloadRefused("signing-key");

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

/// Puts a pipe in the place of a file.
fn put_pipe(path: &std::path::Path) {
    let fresh = path.with_extension("pipe");
    let made = std::process::Command::new("mkfifo").arg(&fresh).status();
    assert!(made.expect("mkfifo").success());
    fs::rename(fresh, path).expect("the pipe in the place of the file");
}

#[tokio::test]
async fn a_pipe_in_place_of_the_signing_key_is_refused_and_does_not_end_the_looks() {
    let stage = Stage::set().await;
    let bridge = stage.sender(&[]).start().await.unwrap();
    let file = stage.files.path().join("signing.pem");
    put_pipe(&file);
    bridge.reloader().reload();
    let detail = holds(&bridge, &SIGNING_KEY).await;
    assert!(detail.contains("not a regular file"), "{detail}");
    put(&file, &stage::signer().to_pkcs8_pem().unwrap());
    bridge.reloader().reload();
    is_ready(&bridge).await;
    bridge.stop(STOP).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_file_that_does_not_answer() {
    let stage = Stage::set().await;
    let file = stage.files.path().join("bridge.toml");
    private(&file, "[limits]\nanomaly = \"1@1/s\"\n");
    let settings = stage.settings_from(&file).load().unwrap();
    let builder = Bridge::builder(settings).receives([]);
    let bridge = builder.start().await.unwrap();
    put_pipe(&file);
    bridge.reloader().reload();
    // Opened for writing only once it is opened for reading: from then on the look waits for what is never written.
    let writer = tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(file));
    let writer = soon(writer).await.unwrap().unwrap();
    let stopped = soon(bridge.stop(STOP)).await;
    // The runtime waits for it.
    drop(writer);
    assert!(stopped.is_clean(), "{stopped}");
}
