//! The broker under a stage: the built-in one, or Apache Kafka as handed in by environment.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cybermesh_devbroker::pki::{Authority, Identity};
use cybermesh_devbroker::{DevBroker, ServerTls};

use crate::identity::write_private;
use crate::scenario::Over;

/// A broker, and how a client reaches it.
#[derive(Debug)]
pub struct Cluster {
    broker: Broker,
    bootstrap: String,
    tls: TlsFiles,
    expired: CertificateFiles,
    /// How the built-in broker speaks.
    speech: Option<ServerTls>,
}

/// What answers.
#[derive(Debug)]
pub enum Broker {
    /// In this process; faults on request.
    Devbroker(Box<DevBroker>),
    /// Outside.
    Kafka(KafkaEnv),
}

/// The PEM files of a client.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Who signed the brokers' certificates.
    pub ca: PathBuf,
    /// Ours.
    pub client: CertificateFiles,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The chain, own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What is handed in of Apache Kafka beside its address.
#[derive(Debug, Clone)]
pub struct KafkaEnv {
    /// The folder with Kafka's programs.
    pub jars: PathBuf,
    /// Key and chain of the client in one file, for them.
    pub keystore: PathBuf,
    /// Where a proxy connects to.
    pub behind_proxy: String,
    /// Where clients that come through it are told to connect to.
    pub proxy: String,
}

impl Cluster {
    /// The cluster for `over`, with its files in `dir`.
    ///
    /// # Panics
    /// When it cannot be had.
    pub async fn new(over: Over, dir: &Path) -> Self {
        match over {
            Over::Devbroker => Self::devbroker(dir).await,
            Over::Kafka => Self::kafka(),
        }
    }

    async fn devbroker(dir: &Path) -> Self {
        let authority = Authority::new("test CA").expect("an authority");
        let server = authority
            .server()
            .dns("localhost")
            .ip([127, 0, 0, 1])
            .ip(Ipv6Addr::LOCALHOST)
            .issue();
        let server = server.expect("a server certificate");
        let client = authority
            .client("test-client")
            .issue()
            .expect("a client certificate");
        let expired = authority.client("expired-client").expired().issue();
        let tls = ServerTls::mutual(&server, authority.ca_pem()).expect("a TLS configuration");
        let broker = DevBroker::builder()
            .tls(tls.clone())
            // As the brokers of Apache Kafka are set up here.
            .consumer_groups(Duration::from_secs(6), Duration::from_millis(500))
            .start()
            .await
            .expect("the built-in broker");
        let ca = dir.join("ca.pem");
        std::fs::write(&ca, authority.ca_pem()).expect("the authority's file");
        Self {
            bootstrap: broker.bootstrap(),
            broker: Broker::Devbroker(Box::new(broker)),
            tls: TlsFiles {
                ca,
                client: CertificateFiles::write(dir, "client", &client),
            },
            expired: CertificateFiles::write(
                dir,
                "expired",
                &expired.expect("an expired certificate"),
            ),
            speech: Some(tls),
        }
    }

    fn kafka() -> Self {
        let kafka = KafkaEnv {
            jars: var("TESTS_KAFKA_JARS").into(),
            keystore: var("TESTS_KAFKA_KEYSTORE").into(),
            behind_proxy: var("TESTS_KAFKA_BEHIND_PROXY"),
            proxy: var("TESTS_KAFKA_PROXY"),
        };
        let files = |cert: &str, key: &str| CertificateFiles {
            cert: var(cert).into(),
            key: var(key).into(),
        };
        Self {
            bootstrap: var("KAFKA_BROKERS"),
            broker: Broker::Kafka(kafka),
            tls: TlsFiles {
                ca: var("KAFKA_CA_CERT").into(),
                client: files("KAFKA_CLIENT_CERT", "KAFKA_CLIENT_KEY"),
            },
            expired: files("TESTS_KAFKA_EXPIRED_CERT", "TESTS_KAFKA_EXPIRED_KEY"),
            speech: None,
        }
    }

    /// The same at IPv6 addresses alone: another built-in broker, or another listener of Apache Kafka.
    ///
    /// # Panics
    /// When this machine has no IPv6.
    pub(crate) async fn at_ipv6(mut self) -> Self {
        if let Some(speech) = &self.speech {
            let builder = DevBroker::builder().tls(speech.clone());
            let builder = builder.bind((Ipv6Addr::LOCALHOST, 0).into());
            let broker = builder.start().await.expect("a broker at [::1]");
            self.bootstrap = broker.bootstrap();
            self.broker = Broker::Devbroker(Box::new(broker));
        } else {
            self.bootstrap = var("TESTS_KAFKA_IPV6");
            assert!(!self.bootstrap.is_empty(), "no IPv6 loopback here");
        }
        self
    }

    /// What answers.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// `host:port` to begin with.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What a client that may come in shows and trusts.
    pub fn tls(&self) -> &TlsFiles {
        &self.tls
    }

    /// A certificate of the right authority whose time is over.
    pub fn expired(&self) -> &CertificateFiles {
        &self.expired
    }
}

impl CertificateFiles {
    /// Writes them to `dir`.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write(dir: &Path, name: &str, identity: &Identity) -> Self {
        let cert = dir.join(format!("{name}.pem"));
        let key = dir.join(format!("{name}.tls.key"));
        std::fs::write(&cert, identity.chain_pem()).expect("a certificate file");
        write_private(&key, identity.key_pem().as_bytes());
        Self { cert, key }
    }
}

pub(crate) fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: there is no Apache Kafka to run over; use `cargo xtask test`, or \
             `cargo xtask kafka up` and source target/kafka/env, or leave these tests out with `--skip ::kafka::`"
        )
    })
}
