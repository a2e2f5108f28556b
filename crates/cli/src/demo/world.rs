//! Where the demo takes place: a broker, two parties with keys, eight topics.

use std::sync::Arc;
use std::time::Duration;

use cybermesh_bridge::bridge::Builder;
use cybermesh_bridge::{Bridge, Settings};
use cybermesh_contracts::Kind;
use cybermesh_contracts::sign::{Ed25519Signer, Signer};
use cybermesh_contracts::trust::{Right, TrustStore, TrustedKey};
use cybermesh_devbroker::pki::{Authority, Identity};
use cybermesh_devbroker::{DevBroker, ServerTls};
use cybermesh_transport::admin::{Admin, NewTopic};
use cybermesh_transport::tls::{Pem, TlsConfig};
use cybermesh_transport::{Client, Security};

use crate::args::SettingsArgs;
use crate::config;
use crate::failure::Failure;

/// The replay ring, in offsets: short, so that an old copy is old soon.
pub(super) const RING: u32 = 64;
/// Attempts before the poison message is given up.
const ATTEMPTS: &str = "2";
const PARTITIONS: i32 = 3;
/// Above the contract's 1 MiB, so that the oversized message reaches the receiver.
const MAX_MESSAGE_BYTES: &str = "4194304";

/// One end of the wire.
pub(super) struct Party {
    pub(super) settings: Settings,
    pub(super) signer: Arc<Ed25519Signer>,
    trust: TrustStore,
    security: Option<Security>,
}

/// Everything that stands before the first message is sent.
pub(super) struct World {
    pub(super) node: Party,
    pub(super) backend: Party,
    /// A key that nobody trusts.
    pub(super) stranger: Ed25519Signer,
    /// Where it is, for the report.
    pub(super) cluster: String,
    broker: Option<DevBroker>,
    /// Connected for administration and for playing the attacker.
    pub(super) operator: Bridge,
}

impl Party {
    /// A bridge of this party; the caller adds handlers.
    pub(super) fn bridge(&self) -> Builder {
        let builder = Bridge::builder(self.settings.clone())
            .signer(Arc::<Ed25519Signer>::clone(&self.signer))
            .trust(self.trust.clone());
        match &self.security {
            Some(security) => builder.security(security.clone()),
            None => builder,
        }
    }
}

impl World {
    /// Makes keys and certificates, and connects to the built-in broker or the cluster of the settings.
    pub(super) async fn new(kafka: bool, args: &SettingsArgs) -> Result<Self, Failure> {
        let (node_key, backend_key) = (Arc::new(key()?), Arc::new(key()?));
        let stranger = key()?;
        let suffix = uuid::Uuid::new_v4().simple().to_string();
        let run = format!("demo-{}", &suffix[..8]);
        let (broker, security) = if kafka {
            (None, None)
        } else {
            let (broker, node, backend) = built_in().await?;
            (Some(broker), Some((node, backend)))
        };
        let (node_security, backend_security) = security.unzip();
        let party = |role: &str,
                     own: &Arc<Ed25519Signer>,
                     other: (&str, &Arc<Ed25519Signer>, &[Kind]),
                     security| {
            let settings = settings(role, &run, broker.as_ref(), args)?;
            let (name, signer, kinds) = other;
            let trusted = TrustedKey::new(
                name,
                signer.public_key(),
                kinds.iter().copied().map(Right::Kind),
            )
            .map_err(Failure::no)?;
            // A party whose own key may sign dead letters signs them.
            let own_rights = [Right::DeadLetter];
            let own_key =
                TrustedKey::new(role, own.public_key(), own_rights).map_err(Failure::no)?;
            Ok::<_, Failure>(Party {
                settings,
                signer: Arc::clone(own),
                trust: TrustStore::of([trusted, own_key]).map_err(Failure::no)?,
                security,
            })
        };
        let node = party(
            "node",
            &node_key,
            ("backend", &backend_key, &Kind::CONTROL),
            node_security,
        )?;
        let backend = party(
            "backend",
            &backend_key,
            ("node", &node_key, &Kind::NODE),
            backend_security,
        )?;
        let operator = node
            .bridge()
            .sends([])
            .receives([])
            .start()
            .await
            .map_err(Failure::start)?;
        let cluster = match &broker {
            Some(broker) => format!("the built-in broker at {}", broker.bootstrap()),
            None => {
                let brokers: Vec<_> = node
                    .settings
                    .kafka
                    .brokers
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                brokers.join(", ")
            }
        };
        Ok(Self {
            node,
            backend,
            stranger,
            cluster,
            broker,
            operator,
        })
    }

    /// The connection of somebody who may write to the topics.
    pub(super) fn client(&self) -> &Client {
        self.operator.client()
    }

    /// Every topic of the demo.
    pub(super) fn topics(&self) -> Vec<String> {
        let topics = &self.node.settings.topics;
        let mut names: Vec<String> = Kind::ALL.map(|kind| topics.of(kind).to_owned()).to_vec();
        names.push(topics.dlq.clone());
        names
    }

    /// How messages are protected on the way.
    pub(super) fn transport(&self) -> &'static str {
        let tls = &self.node.settings.tls;
        match (tls.enabled, self.broker.is_some() || tls.cert.is_some()) {
            (true, true) => "mutual TLS",
            (true, false) => "TLS",
            (false, _) => "plaintext",
        }
    }

    /// Makes the demo's topics.
    pub(super) async fn make_topics(&self) -> Result<(), Failure> {
        let admin = Admin::new(self.client().clone());
        for name in self.topics() {
            let topic = NewTopic::new(&name)
                .partitions(PARTITIONS)
                .config("max.message.bytes", MAX_MESSAGE_BYTES);
            admin.create_topic(topic).await.map_err(Failure::cluster)?;
        }
        Ok(())
    }

    /// Deletes the topics where the cluster outlives the demo, and closes; says what was left behind.
    pub(super) async fn end(self) -> Vec<String> {
        let mut left = Vec::new();
        if self.broker.is_none() {
            let admin = Admin::new(self.client().clone());
            for name in self.topics() {
                use cybermesh_transport::ErrorCode::UnknownTopicOrPartition;
                match admin.delete_topic(&name).await {
                    Err(error) if error.error_code() != Some(UnknownTopicOrPartition) => {
                        left.push(format!("topic {name} was left behind: {error}"));
                    }
                    _ => {}
                }
            }
        }
        self.operator.stop(Duration::from_secs(5)).await;
        if let Some(broker) = self.broker {
            broker.stop().await;
        }
        left
    }
}

/// A broker with mutual TLS, and the credentials of its two clients.
async fn built_in() -> Result<(DevBroker, Security, Security), Failure> {
    let authority = Authority::new("cybermesh demo").map_err(Failure::no)?;
    let server = authority
        .server()
        .dns("localhost")
        .ip([127, 0, 0, 1])
        .issue()
        .map_err(Failure::no)?;
    let tls = ServerTls::mutual(&server, authority.ca_pem()).map_err(Failure::no)?;
    let broker = DevBroker::builder()
        .tls(tls)
        .start()
        .await
        .map_err(Failure::no)?;
    let client = |name: &str| {
        let identity = authority.client(name).issue().map_err(Failure::no)?;
        client_security(&authority, &identity)
    };
    let (node, backend) = (client("node")?, client("backend")?);
    Ok((broker, node, backend))
}

fn client_security(authority: &Authority, identity: &Identity) -> Result<Security, Failure> {
    TlsConfig::builder(Pem::new("the demo's authority", authority.ca_pem()))
        .client_certificate(
            Pem::new("the demo's certificate", identity.chain_pem()),
            Pem::new("the demo's key", identity.key_pem()),
        )
        .build()
        .map(Security::Tls)
        .map_err(Failure::usage)
}

/// The demo's own settings; for a real cluster, on top of those that say how to reach it.
fn settings(
    role: &str,
    run: &str,
    broker: Option<&DevBroker>,
    args: &SettingsArgs,
) -> Result<Settings, Failure> {
    let mut loader = match broker {
        Some(broker) => Settings::loader().set("kafka.brokers", broker.bootstrap()),
        None => config::loader(args),
    };
    for (key, value) in [
        ("role", role),
        ("kafka.group", &format!("{run}-{role}")),
        ("node.id", &format!("{run}-{role}")),
        ("node.audience", run),
        ("node.state_dir", ""),
        ("ops.listen", ""),
        ("keys.signing", ""),
        ("keys.trust", ""),
        ("replay.ring", &RING.to_string()),
        ("receive.handler_attempts", ATTEMPTS),
        ("receive.start", "earliest"),
        ("topics.dlq", &format!("{run}-dlq")),
    ] {
        loader = loader.set(key, value);
    }
    for kind in Kind::ALL {
        let name = kind.as_str();
        loader = loader
            .set(
                format!("topics.{name}"),
                format!("{run}-{}", name.replace('_', "-")),
            )
            .set(format!("limits.{name}"), "off");
    }
    config::finish(loader)
}

fn key() -> Result<Ed25519Signer, Failure> {
    let mut seed = zeroize::Zeroizing::new([0u8; 32]);
    getrandom::fill(&mut *seed)
        .map_err(|error| Failure::no(format!("no randomness from the system: {error}")))?;
    Ok(Ed25519Signer::from_seed(&seed))
}
