//! A broker with mutual TLS, and the files a process needs to come in.
#![expect(clippy::unwrap_used, reason = "the stage is part of tests")]
#![allow(dead_code, reason = "each test file uses its part of the stage")]

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cybermesh_bridge::{
    Bridge, Settings,
    bridge::Builder,
    clock::{SystemClock, WallClock},
    settings::Loader,
    telemetry::Condition,
};
use cybermesh_contracts::{
    kind::Kind,
    message::{AnomalyDraft, CommitDraft},
    nonce::Nonce,
    record::RecordView,
    sign::{Ed25519Signer, Signer},
    trust::{Right, TrustStore, TrustedKey},
    verify::{Verified, Verifier},
};
use cybermesh_devbroker::{
    DevBroker, LogRecord, ServerTls,
    pki::{Authority, Identity},
};
use tempfile::TempDir;

pub(crate) const AUDIENCE: &str = "stage";
const SEED: [u8; 32] = [42; 32];

pub(crate) struct Stage {
    pub(crate) broker: DevBroker,
    pub(crate) files: TempDir,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::of_brokers(1).await
    }

    /// With so many brokers.
    pub(crate) async fn of_brokers(brokers: u16) -> Self {
        let authority = Authority::new("stage CA").unwrap();
        let client = authority.client("node-1").issue().unwrap();
        Self::with(brokers, &authority, &client).await
    }

    /// With a broker and a client of this authority.
    pub(crate) async fn of(authority: &Authority, client: &Identity) -> Self {
        Self::with(1, authority, client).await
    }

    async fn with(brokers: u16, authority: &Authority, client: &Identity) -> Self {
        let files = tempfile::tempdir().unwrap();
        private(&files.path().join("ca.pem"), authority.ca_pem());
        private(&files.path().join("cert.pem"), client.chain_pem());
        private(&files.path().join("key.pem"), client.key_pem());
        private(
            &files.path().join("signing.pem"),
            &signer().to_pkcs8_pem().unwrap(),
        );
        let tls = shown_by(authority, authority.ca_pem());
        let mut broker = DevBroker::builder()
            .brokers(brokers)
            .tls(tls)
            .topic("ai.dlq", 1);
        for kind in Kind::ALL {
            broker = broker.topic(kind.default_topic(), 3);
        }
        Self {
            broker: broker.start().await.unwrap(),
            files,
        }
    }

    /// The settings a node would have, and these beside them.
    pub(crate) fn settings(&self, more: &[(&str, &str)]) -> Settings {
        let mut loader = self.loader();
        for (name, value) in more {
            loader = loader.set(*name, *value);
        }
        loader.load().unwrap()
    }

    /// The same out of `file`, and what it does not say.
    pub(crate) fn settings_from(&self, file: &Path) -> Loader {
        self.loader().file(file)
    }

    fn loader(&self) -> Loader {
        let path = |name: &str| self.files.path().join(name).to_str().unwrap().to_owned();
        Settings::loader()
            .set("KAFKA_BROKERS", self.broker.bootstrap())
            .set("KAFKA_CA_CERT", path("ca.pem"))
            .set("KAFKA_CLIENT_CERT", path("cert.pem"))
            .set("KAFKA_CLIENT_KEY", path("key.pem"))
            .set("CYBERMESH_SIGNING_KEY", path("signing.pem"))
            .set("CYBERMESH_AUDIENCE", AUDIENCE)
            .set("KAFKA_RETRY_BACKOFF_MS", "20")
            .set("KAFKA_REQUEST_TIMEOUT_MS", "1000")
    }

    /// A bridge that sends every kind and receives none.
    pub(crate) fn sender(&self, more: &[(&str, &str)]) -> Builder {
        Bridge::builder(self.settings(more))
            .sends(Kind::ALL)
            .receives([])
            .seed(1)
    }
}

/// How a broker of `authority` speaks, which lets in clients of the authorities in `clients`.
pub(crate) fn shown_by(authority: &Authority, clients: &str) -> ServerTls {
    let server = authority.server().dns("localhost").ip([127, 0, 0, 1]);
    ServerTls::mutual(&server.issue().unwrap(), clients).unwrap()
}

pub(crate) fn signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(&SEED)
}

pub(crate) fn trust() -> TrustStore {
    let rights = Kind::ALL.map(Right::Kind);
    TrustStore::of([TrustedKey::new("sender", signer().public_key(), rights).unwrap()]).unwrap()
}

pub(crate) fn anomaly() -> AnomalyDraft {
    anomaly_with(r#"{"note":"seen"}"#)
}

pub(crate) fn anomaly_with(payload: &str) -> AnomalyDraft {
    AnomalyDraft::builder(uuid::Uuid::new_v4().to_string())
        .anomaly_type("port-scan")
        .source("10.0.0.7")
        .severity(7)
        .confidence(0.9)
        .model_version("m-1")
        .payload(payload)
        .build()
        .unwrap()
}

pub(crate) fn commit(height: i64) -> CommitDraft {
    CommitDraft::builder(height, [1; 32], [2; 32])
        .build()
        .unwrap()
}

/// What a receiver with our trust store makes of a record in the log; envelopes required.
pub(crate) fn verified(
    kind: Kind,
    record: &LogRecord,
) -> Verified<cybermesh_contracts::message::Message> {
    let headers: Vec<(&str, Option<&[u8]>)> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref()))
        .collect();
    let view = RecordView {
        topic: kind.default_topic(),
        partition: Some(record.partition),
        offset: record.offset,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
        timestamp_ms: record.timestamp_ms,
        append_time_ms: None,
    };
    Verifier::new(AUDIENCE)
        .verify(&trust(), kind, &view, None)
        .unwrap()
}

pub(crate) fn nonce(record: &LogRecord) -> Nonce {
    verified(Kind::Anomaly, record)
        .message()
        .seal()
        .nonce()
        .unwrap()
}

/// A clock that says what it is told.
#[derive(Debug)]
pub(crate) struct SetClock(pub(crate) std::sync::atomic::AtomicU64);

impl WallClock for SetClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

pub(crate) fn now_ms() -> u64 {
    SystemClock.unix_ms()
}

pub(crate) fn private(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// No test waits longer: what has not happened by then never will.
pub(crate) async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), event)
        .await
        .expect("it did not happen in time")
}

/// Puts a file in the place of another, whole, as a rotation does.
pub(crate) fn put(path: &Path, content: &str) {
    let fresh = path.with_extension("fresh");
    private(&fresh, content);
    fs::rename(fresh, path).unwrap();
}

/// Sends without a pause until told to end; gives back how many, each of which was acknowledged.
pub(crate) fn under_load(bridge: &Bridge) -> (Arc<AtomicBool>, tokio::task::JoinHandle<usize>) {
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

pub(crate) async fn holds(bridge: &Bridge, condition: &Condition) -> String {
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

pub(crate) async fn is_ready(bridge: &Bridge) {
    soon(async {
        while !bridge.health().is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The whole answer to a request for a page.
pub(crate) async fn get(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
