//! What everybody works on: topics with three replicas, keys, whom receivers believe, certificates, a small disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_devbroker::pki::Authority;
use cybermesh_tests::cluster::CertificateFiles;
use cybermesh_tests::identity::{Identity, trust_file, write_private};
use cybermesh_tests::stage::Role;
use cybermesh_tests::{Broker, Over, Stage, console, java};
use cybermesh_transport::admin::NewTopic;
use cybermesh_transport::{Admin, Client};

use crate::disk::SmallDisk;
use crate::sender;

pub(crate) const PARTITIONS: i32 = 6;
const LANES: usize = 8;
/// What is sent, and how often.
const SENDERS: [(&str, Kind, u64); 3] = [
    ("policies-1", Kind::PolicyUpdate, 40),
    ("policies-2", Kind::PolicyUpdate, 60),
    ("anomalies-1", Kind::Anomaly, 50),
];
pub(crate) const KINDS: [Kind; 2] = [Kind::PolicyUpdate, Kind::Anomaly];
/// Receivers look at their files every other second.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(6);

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) client: Client,
    pub(crate) group: String,
    bridge: PathBuf,
    authority: Authority,
    /// Entries of the trust store, which only grow.
    trusted: Mutex<Vec<String>>,
    disk: Option<SmallDisk>,
}

impl World {
    /// Makes it, over the cluster of the environment.
    pub(crate) async fn make(bridge: PathBuf) -> Self {
        let stage = Stage::new(Over::Kafka).await;
        let client = stage.client().await;
        let admin = Admin::new(client.clone());
        let kinds = KINDS.map(|kind| (stage.topic(kind), PARTITIONS));
        for (name, partitions) in kinds.into_iter().chain([(stage.dead_letter_topic(), 1)]) {
            let topic = NewTopic::new(&name)
                .partitions(partitions)
                .replication_factor(3)
                .config("min.insync.replicas", "2");
            admin.create_topic(topic).await.expect("a topic");
        }
        let authority = Authority::new("chaos CA").expect("an authority");
        believe_too(&stage, &authority).await;
        let disk = SmallDisk::make(&stage.dir().join("small"));
        let backend = stage.backend();
        let trusted = backend.trust_entry(&[], &["dead_letter", "replay_state"]);
        let group = stage.own("listeners");
        Self {
            stage,
            client,
            group,
            bridge,
            authority,
            trusted: Mutex::new(vec![trusted]),
            disk,
        }
    }

    pub(crate) fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    pub(crate) fn topics(&self) -> Vec<String> {
        KINDS.map(|kind| self.stage.topic(kind)).to_vec()
    }

    /// Where each process writes its log.
    fn log(&self, name: &str) -> PathBuf {
        self.stage.dir().join(format!("{name}.log"))
    }

    /// How each sender is started: with a key, a certificate and a state folder of its own; the first one's folder is on
    /// the small disk.
    pub(crate) fn senders(&self) -> Vec<sender::Recipe> {
        let recipes = SENDERS
            .iter()
            .enumerate()
            .map(|(index, (name, kind, every_ms))| {
                let role = if kind.is_control() {
                    Role::Backend
                } else {
                    Role::Node
                };
                let identity = Identity::new(self.stage.dir(), name);
                self.trust(&identity, *kind);
                let state = match &self.disk {
                    Some(disk) if index == 0 => disk.path().join("state"),
                    _ => self.stage.dir().join(format!("{name}-state")),
                };
                let mut environment = self.environment(name, role, &state);
                let key = identity.key_file().display().to_string();
                environment.insert("CYBERMESH_SIGNING_KEY".to_owned(), key);
                sender::Recipe {
                    name: (*name).to_owned(),
                    bridge: self.bridge.clone(),
                    kind: *kind,
                    environment,
                    lanes: (0..LANES)
                        .map(|_| uuid::Uuid::new_v4().to_string())
                        .collect(),
                    every: Duration::from_millis(*every_ms),
                    log: self.log(name),
                }
            });
        recipes.collect()
    }

    pub(crate) fn listener(&self, name: &str) -> crate::listener::Recipe {
        let state = self.stage.dir().join(format!("{name}-state"));
        crate::listener::Recipe {
            name: name.to_owned(),
            bridge: self.bridge.clone(),
            group: self.group.clone(),
            topics: self.topics(),
            environment: self.environment(name, Role::Backend, &state),
            log: self.log(name),
        }
    }

    fn environment(&self, name: &str, role: Role, state: &Path) -> BTreeMap<String, String> {
        let mut environment = self.stage.environment(role);
        let files = CertificateFiles::write(self.stage.dir(), name, &self.certificate(name));
        let text = |path: &Path| path.display().to_string();
        let own = [
            ("CYBERMESH_TRUST", text(&self.trust_path())),
            ("CYBERMESH_STATE_DIR", text(state)),
            ("KAFKA_CLIENT_CERT", text(&files.cert)),
            ("KAFKA_CLIENT_KEY", text(&files.key)),
            // Soon enough that a sender gives up, and a listener is given up, while a broker is away.
            ("KAFKA_REQUEST_TIMEOUT_MS", "5000".to_owned()),
            ("KAFKA_RETRY_BACKOFF_MS", "200".to_owned()),
            ("KAFKA_DELIVERY_TIMEOUT_MS", "12000".to_owned()),
            ("KAFKA_SESSION_TIMEOUT_MS", "8000".to_owned()),
            ("KAFKA_HEARTBEAT_INTERVAL_MS", "1000".to_owned()),
            ("CYBERMESH_LOG_FORMAT", "json".to_owned()),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        environment
    }

    fn certificate(&self, name: &str) -> cybermesh_devbroker::pki::Identity {
        self.authority.client(name).issue().expect("a certificate")
    }

    /// Gives everybody of these names a new certificate.
    pub(crate) fn exchange_certificates<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let fresh = self.stage.dir().join("fresh");
            fs::create_dir_all(&fresh).expect("a folder");
            let files = CertificateFiles::write(&fresh, name, &self.certificate(name));
            for file in [files.key, files.cert] {
                let to = self.stage.dir().join(file.file_name().expect("a name"));
                fs::rename(&file, to).expect("a file in its place");
            }
        }
    }

    /// Has receivers believe a new key, and when they do, has its sender sign by it.
    pub(crate) async fn exchange_key(&self, recipe: &sender::Recipe) {
        let fresh = self.stage.dir().join("fresh");
        fs::create_dir_all(&fresh).expect("a folder");
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let identity = Identity::new(&fresh, &format!("{}-{}", recipe.name, &unique[..8]));
        self.trust(&identity, recipe.kind);
        tokio::time::sleep(READ_AGAIN_AFTER).await;
        let to = &recipe.environment["CYBERMESH_SIGNING_KEY"];
        fs::rename(identity.key_file(), to).expect("a key in its place");
    }

    fn trust_path(&self) -> PathBuf {
        self.stage.dir().join("trust.toml")
    }

    fn trust(&self, identity: &Identity, kind: Kind) {
        let mut trusted = self.trusted.lock().expect("no panic while it was held");
        trusted.push(identity.trust_entry(&[kind], &["dead_letter"]));
        let fresh = trust_file(self.stage.dir(), "trust.toml.new", &trusted);
        fs::rename(fresh, self.trust_path()).expect("a trust store in its place");
    }
}

/// Has the brokers let in whom this authority vouches for, beside their own clients.
async fn believe_too(stage: &Stage, authority: &Authority) {
    let Broker::Kafka(kafka) = stage.cluster().broker() else {
        panic!("chaos is made over Apache Kafka");
    };
    let own = &stage.cluster().tls().ca;
    let both = stage.dir().join("both-ca.pem");
    let text = fs::read_to_string(own).expect("the authority");
    write_private(&both, (text + authority.ca_pem()).as_bytes());
    let properties = console::properties_with(stage, &kafka.keystore, own);
    let location = "listener.name.tls.ssl.truststore.location";
    let change = format!("{location}={}", both.display());
    java::configure_brokers(stage, &properties, &[&change]).await;
}
