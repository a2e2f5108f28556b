//! A sender and a receiver on a broker, each a process of its own: messages a second from the one's
//! first to the other's last, and what processor time each took.

use std::process::Stdio;

use cybermesh_transport::admin::NewTopic;
use cybermesh_transport::tls::{Pem, TlsConfig};
use cybermesh_transport::{Address, Admin, Client, ClientConfig, Security};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::report::EndToEnd;
use crate::roles::Took;
use crate::{Failure, clock};

/// Partitions of the topic.
const PARTITIONS: i32 = 3;

/// A broker, and the settings that reach it.
pub(crate) struct Place {
    name: &'static str,
    settings: Vec<(&'static str, String)>,
}

/// What differs from run to run.
pub(crate) struct Case {
    name: &'static str,
    /// `CYBERMESH_ENVELOPE`.
    envelope: &'static str,
    /// What the receiver asks of envelopes.
    rule: &'static str,
    /// `CYBERMESH_VERIFY`.
    verify: &'static str,
}

pub(crate) const CASES: [Case; 4] = [
    Case {
        name: "envelope off, strict",
        envelope: "off",
        rule: "off",
        verify: "strict",
    },
    Case {
        name: "envelope off, batch",
        envelope: "off",
        rule: "off",
        verify: "batch",
    },
    Case {
        name: "envelope on, strict",
        envelope: "on",
        rule: "required",
        verify: "strict",
    },
    Case {
        name: "envelope on, batch",
        envelope: "on",
        rule: "required",
        verify: "batch",
    },
];

impl Place {
    /// The cluster that the environment names.
    pub(crate) fn of_environment() -> Result<Self, Failure> {
        let mut settings = Vec::new();
        for name in [
            "KAFKA_BROKERS",
            "KAFKA_CA_CERT",
            "KAFKA_CLIENT_CERT",
            "KAFKA_CLIENT_KEY",
        ] {
            let value = std::env::var(name).map_err(|_| format!("{name} is not set"))?;
            settings.push((name, value));
        }
        Ok(Self {
            name: "Apache Kafka",
            settings,
        })
    }

    fn setting(&self, name: &str) -> Option<&str> {
        let mut settings = self.settings.iter();
        settings
            .find(|(of, _)| *of == name)
            .map(|(_, value)| value.as_str())
    }

    async fn client(&self) -> Result<Client, Failure> {
        let addresses = Address::parse_list(self.setting("KAFKA_BROKERS").unwrap_or_default())?;
        let file = |name| -> Result<Option<Pem>, Failure> {
            let Some(path) = self.setting(name) else {
                return Ok(None);
            };
            Ok(Some(Pem::new(path, std::fs::read(path)?)))
        };
        let security = match file("KAFKA_CA_CERT")? {
            None => Security::Plaintext,
            Some(ca) => {
                let mut tls = TlsConfig::builder(ca);
                if let (Some(cert), Some(key)) =
                    (file("KAFKA_CLIENT_CERT")?, file("KAFKA_CLIENT_KEY")?)
                {
                    tls = tls.client_certificate(cert, key);
                }
                Security::Tls(tls.build()?)
            }
        };
        Ok(Client::connect(ClientConfig::new(addresses, security)).await?)
    }
}

/// The built-in broker in a process of its own.
pub(crate) struct Devbroker {
    child: Child,
    bootstrap: String,
}

impl Devbroker {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let mut child = ourselves()?
            .arg("broker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        Ok(Self {
            child,
            bootstrap: line.ok_or("the built-in broker ended")?,
        })
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            name: "devbroker",
            settings: vec![
                ("KAFKA_BROKERS", self.bootstrap.clone()),
                ("KAFKA_TLS_ENABLED", "false".to_owned()),
            ],
        }
    }

    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        self.child.wait().await?;
        Ok(())
    }
}

/// Runs one case, on topics of its own.
pub(crate) async fn run(place: &Place, case: Case, count: u64) -> Result<EndToEnd, Failure> {
    let tag = format!("bench.{}", clock::unix_ms());
    let dead_letters = format!("{tag}.dlq");
    let admin = Admin::new(place.client().await?);
    for (topic, partitions) in [(&tag, PARTITIONS), (&dead_letters, 1)] {
        let topic = NewTopic::new(topic.as_str()).partitions(partitions);
        admin.create_topic(topic.replication_factor(1)).await?;
    }
    let child = |role: &str| -> Result<Command, Failure> {
        let mut command = ourselves()?;
        command
            .args([role, "--count", &count.to_string()])
            .args(
                (role == "receive")
                    .then_some(["--envelope", case.rule])
                    .into_iter()
                    .flatten(),
            )
            .envs(place.settings.iter().map(|(name, value)| (name, value)))
            .env("KAFKA_TOPIC_ANOMALY", &tag)
            .env("KAFKA_TOPIC_DLQ", &dead_letters)
            .env("KAFKA_CONSUMER_GROUP", &tag)
            .env("CYBERMESH_NODE_ID", "bench")
            .env("CYBERMESH_AUDIENCE", "bench")
            .env("CYBERMESH_RATE_LIMIT_ANOMALY", "off")
            .env("CYBERMESH_ENVELOPE", case.envelope)
            .env("CYBERMESH_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if role == "receive" {
            command.env("CYBERMESH_VERIFY", case.verify);
        }
        Ok(command)
    };
    let receiver = child("receive")?.spawn()?;
    let sender = child("send")?.spawn()?;
    let (sent, received) = tokio::try_join!(took(sender), took(receiver))?;
    for topic in [&tag, &dead_letters] {
        admin.delete_topic(topic).await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (messages, ms) = (
        count as f64,
        received.ended_unix_ms.saturating_sub(sent.begun_unix_ms) as f64,
    );
    Ok(EndToEnd {
        over: place.name.to_owned(),
        case: case.name.to_owned(),
        messages: count,
        messages_per_second: messages / ms * 1e3,
        sender_cpu_seconds: sent.cpu_seconds / messages * 1e5,
        receiver_cpu_seconds: received.cpu_seconds / messages * 1e5,
    })
}

/// What a child says it took.
async fn took(child: Child) -> Result<Took, Failure> {
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        return Err(format!("a child process: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// This program again, ended with us.
pub(crate) fn ourselves() -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.kill_on_drop(true);
    Ok(command)
}
