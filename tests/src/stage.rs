//! What a scenario plays on: a broker, topics of its own, keys and who trusts them.

use std::collections::BTreeMap;
use std::path::Path;

use cybermesh_contracts::kind::Kind;
use cybermesh_devbroker::DevBroker;
use cybermesh_transport::admin::NewTopic;
use cybermesh_transport::tls::{Pem, TlsConfig};
use cybermesh_transport::{Address, Admin, Client, ClientConfig, Security};
use tempfile::TempDir;

use crate::cluster::{Broker, CertificateFiles, Cluster};
use crate::identity::{Identity, trust_file};
use crate::scenario::Over;

/// Everything a scenario needs; fresh for each, gone after it.
#[derive(Debug)]
pub struct Stage {
    over: Over,
    cluster: Cluster,
    node: Identity,
    backend: Identity,
    tag: String,
    dir: TempDir,
}

impl Stage {
    /// A stage over `over`; topics are not made yet.
    ///
    /// # Panics
    /// When it cannot be set.
    pub async fn new(over: Over) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let cluster = Cluster::new(over, dir.path()).await;
        let [node, backend] = ["node", "backend"].map(|name| Identity::new(dir.path(), name));
        let tag = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        Self {
            over,
            cluster,
            node,
            backend,
            tag,
            dir,
        }
    }

    /// The same stage at IPv6 addresses alone.
    ///
    /// # Panics
    /// When this machine has no IPv6.
    pub async fn at_ipv6(mut self) -> Self {
        self.cluster = self.cluster.at_ipv6().await;
        self
    }

    /// The same names, keys and folder on another cluster, which has nothing of the first: the built-in broker alone.
    ///
    /// # Panics
    /// When it cannot be set.
    pub async fn on_another_cluster(mut self) -> Self {
        let dir = self.dir.path().join("another");
        std::fs::create_dir(&dir).expect("a folder");
        self.cluster = Cluster::new(Over::Devbroker, &dir).await;
        self
    }

    /// What it is over.
    pub fn over(&self) -> Over {
        self.over
    }

    /// The broker.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The built-in broker, for its faults and its view of the log.
    ///
    /// # Panics
    /// When the stage is over Apache Kafka.
    pub fn devbroker(&self) -> &DevBroker {
        match self.cluster.broker() {
            Broker::Devbroker(broker) => broker,
            Broker::Kafka(_) => panic!("this stage is over Apache Kafka"),
        }
    }

    /// The node's key.
    pub fn node(&self) -> &Identity {
        &self.node
    }

    /// The backend's key.
    pub fn backend(&self) -> &Identity {
        &self.backend
    }

    /// A folder that is gone after the scenario.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `name`, made this stage's own: nobody else uses it on the same cluster.
    pub fn own(&self, name: &str) -> String {
        format!("{name}.{}", self.tag)
    }

    /// The topic of `kind` on this stage.
    pub fn topic(&self, kind: Kind) -> String {
        self.own(kind.default_topic())
    }

    /// The dead-letter topic on this stage.
    pub fn dead_letter_topic(&self) -> String {
        self.own("ai.dlq")
    }

    /// Transport security with the client certificate `client`, trusting the cluster's authority.
    ///
    /// # Panics
    /// When a file cannot be read or used.
    pub fn tls(&self, client: Option<&CertificateFiles>) -> TlsConfig {
        tls(&self.cluster.tls().ca, client)
    }

    /// A client's configuration with the right certificate.
    pub fn client_config(&self) -> ClientConfig {
        self.client_config_at(self.cluster.bootstrap())
    }

    /// The same at another address.
    ///
    /// # Panics
    /// When the address is none.
    pub fn client_config_at(&self, bootstrap: &str) -> ClientConfig {
        let addresses = Address::parse_list(bootstrap).expect("an address");
        ClientConfig::new(
            addresses,
            Security::Tls(self.tls(Some(&self.cluster.tls().client))),
        )
    }

    /// A connected client.
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn client(&self) -> Client {
        Client::connect(self.client_config())
            .await
            .expect("a client")
    }

    /// Makes a topic.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn make_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name)
            .partitions(partitions)
            .replication_factor(1)
            // More than a message may take, so that one too large can be there.
            .config("max.message.bytes", "4194304");
        Admin::new(self.client().await)
            .create_topic(topic)
            .await
            .expect("a topic");
    }

    /// Makes the topics of all kinds and the one of dead letters.
    ///
    /// # Panics
    /// When one cannot be made.
    pub async fn make_topics(&self, partitions: i32) {
        for topic in Kind::ALL.map(|kind| self.topic(kind)) {
            self.make_topic(&topic, partitions).await;
        }
        self.make_topic(&self.dead_letter_topic(), 1).await;
    }

    /// The trust store of a receiver that believes node and backend, each what its role signs.
    pub fn trust_entries(&self) -> [String; 2] {
        let rights = ["dead_letter"];
        [
            self.node.trust_entry(&Kind::NODE, &rights),
            self.backend.trust_entry(&Kind::CONTROL, &rights),
        ]
    }

    /// The environment of a process on this stage: how it reaches the cluster, its topics, key,
    /// trust store and group.
    pub fn environment(&self, role: Role) -> BTreeMap<String, String> {
        let (name, identity) = match role {
            Role::Node => ("node", &self.node),
            Role::Backend => ("backend", &self.backend),
        };
        let tls = self.cluster.tls();
        let trust = trust_file(
            self.dir(),
            &format!("{name}-trust.toml"),
            &self.trust_entries(),
        );
        let text = |path: &Path| path.display().to_string();
        let mut vars: BTreeMap<String, String> = [
            ("KAFKA_BROKERS", self.cluster.bootstrap().to_owned()),
            ("KAFKA_CA_CERT", text(&tls.ca)),
            ("KAFKA_CLIENT_CERT", text(&tls.client.cert)),
            ("KAFKA_CLIENT_KEY", text(&tls.client.key)),
            ("KAFKA_CONSUMER_GROUP", self.own(name)),
            ("KAFKA_TOPIC_DLQ", self.dead_letter_topic()),
            ("CYBERMESH_ROLE", name.to_owned()),
            ("CYBERMESH_NODE_ID", self.own(name)),
            ("CYBERMESH_AUDIENCE", self.own("audience")),
            ("CYBERMESH_SIGNING_KEY", text(identity.key_file())),
            ("CYBERMESH_TRUST", text(&trust)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for kind in Kind::ALL {
            vars.insert(
                format!("KAFKA_TOPIC_{}", kind.as_str().to_uppercase()),
                self.topic(kind),
            );
        }
        vars
    }
}

/// Which end of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends the node's kinds, handles the control kinds.
    Node,
    /// The other way round.
    Backend,
}

/// Transport security from files.
///
/// # Panics
/// When a file cannot be read or used.
pub fn tls(ca: &Path, client: Option<&CertificateFiles>) -> TlsConfig {
    let pem = |path: &Path| {
        Pem::new(
            path.display().to_string(),
            std::fs::read(path).expect("a PEM file"),
        )
    };
    let mut builder = TlsConfig::builder(pem(ca));
    if let Some(client) = client {
        builder = builder.client_certificate(pem(&client.cert), pem(&client.key));
    }
    builder.build().expect("a TLS configuration")
}
